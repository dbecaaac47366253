"""Every kind of mistake is named in the simplest function in which it can be made."""

import itertools
from dataclasses import replace

import check_measured as measured
import independent_ddpm
import injected_mistakes
import numpy as np
import pytest

from dpm_ref import check
from dpm_ref.check import mistakes as making
from dpm_ref.check.conventions import Conventions
from dpm_ref.check.expressions import Context, Expr, Tables, number, op, term, value_of
from dpm_ref.check.mistakes import LOCAL, ODD, Mistake, compose
from dpm_ref.check.mistakes import PLAIN as USUAL
from dpm_ref.check.quantities import QUANTITIES, right

BETA = np.array([0.1, 0.25, 0.2, 0.4])
PLAIN = {"spread": "var", "unit": "nats", "components": "sum", "shape": (4, 5), "first_t": 1}
OTHER = {"spread": "logvar", "unit": "bits", "components": "mean", "shape": (5, 2, 2), "first_t": 0}
SETTINGS = {
    "paper's": measured.Setting(BETA, 0.2, "scalar", PLAIN),
    "other": measured.Setting(BETA, 0.2, "batch", OTHER),
    "deviations": measured.Setting(BETA, 0.2, "scalar", {**PLAIN, "spread": "std"}),
}
DEAR = ("binomial_", "lower_bound", "eq14", "kl_term", "entropy_", "log_weights", "mean_from_eps")
INJECTED = {}
for each in sorted(injected_mistakes.INJECTIONS, key=lambda each: each.subject.startswith(DEAR)):
    INJECTED.setdefault(each.mistake, []).append(each)
AMBIGUOUS = {  # what is named otherwise, or not by itself
    "sum and not mean, the largest weight not put back",
    "both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0)",
    "divided by the variance once, not twice",
    "the marginal before left out",
    "exp(var) where sqrt(var) is meant, or half of it in the exponent",
    "Table App.1's misprint: x_i d_i in the denominator",
    "r left out",
    "precisions added and not inverted",
}


@pytest.mark.parametrize(("k", "mistake"), list(enumerate(sorted({*INJECTED} - AMBIGUOUS))))
def test_a_mistake_is_named_where_it_is_made(k, mistake):
    """Under one of the settings in which it makes a difference."""
    settings = list(SETTINGS.values())
    for setting, each in itertools.product(np.roll(range(3), -(k % 2)), INJECTED[mistake]):
        rng = np.random.default_rng(0)
        row = measured.injected(each, settings[setting], rng, "float64", "float64")
        if row is not None:
            assert row.status == "WRONG"
            assert measured.verdict(each, row) == "diagnosed", str(row)
            return
    pytest.fail("it made no difference anywhere")


def cosine_by(T, offset=0.008, cap=0.999, steps=None):
    kept = np.cos((np.arange(T + 1) / (steps or T) + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.minimum(1 - kept[1:] / kept[:-1], cap)


SCHEDULES = {
    "the cosine schedule with offset = 0.08": ("cosine", cosine_by(50, offset=0.08)),
    "the cosine schedule with offset = 0": ("cosine", cosine_by(50, offset=0)),
    "the cosine schedule with offset = 0.02, cap = 0.9": ("cosine", cosine_by(50, 0.02, 0.9)),
    "the cosine schedule with one step more, the last left out": (
        "cosine",
        cosine_by(50, steps=51),
    ),
    "the cosine schedule with cap = 0.9999": (
        "cosine",
        cosine_by(50, cap=0.9999),
    ),
    "the linear schedule with first = 0.003, last = 0.03": ("linear", np.linspace(0.06, 0.6, 50)),
    "the sigmoid schedule with end = 3": (
        "sigmoid",
        1e-4 + 0.0199 / (1 + np.exp(np.linspace(3, -3, 50))),
    ),
}


@pytest.mark.parametrize("said", SCHEDULES)
@pytest.mark.parametrize("table", ["beta", "abar"])
def test_other_parameters_of_a_named_schedule_are_named_with_their_values(said, table):
    name, beta = SCHEDULES[said]
    wrong = {"beta": beta, "abar": np.cumprod(1 - beta)}[table]
    row = check.run({table: wrong}, beta=(name, 50))[table]
    assert (row.status, row.diagnoses) == ("WRONG", (said,))


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_what_is_no_schedule_of_a_name_is_not_said_to_be_one(name):
    drawn = np.random.default_rng(0).uniform(0.01, 0.5, 50)
    assert check.run({"beta": drawn}, beta=(name, 50))["beta"].diagnoses == ()


ABAR = np.cumprod(1 - BETA)
PREV = np.append(1.0, ABAR[:-1])


def of_t(function):
    """Over the tables at t."""
    tables = np.array([BETA, ABAR, PREV, BETA * (1 - PREV) / (1 - ABAR)]).T
    return lambda *given: function(
        *tables[next(t for t in given if isinstance(t, int)) - 1],
        *(each for each in given if not isinstance(each, int)),
    )


def log_normal(x, mean, var):
    return (-0.5 * np.log(2 * np.pi * var) - 0.5 * (x - mean) ** 2 / var).sum(-1)


def weight(at_end, at, before, after, mean, var):
    steps = log_normal(at, mean, var) - log_normal(
        after, np.sqrt(1 - BETA[:, None, None]) * before, BETA[:, None, None]
    )
    return log_normal(at_end, 0.0, 1.0) + steps.sum(0)


def clipped_step(b, ab, prev, var, xt, e, noise):
    x0 = np.clip((xt - np.sqrt(1 - ab) * e) / np.sqrt(ab), -1, 1)
    e = (xt - np.sqrt(ab) * x0) / np.sqrt(1 - ab)
    return np.sqrt(prev) * x0 + np.sqrt(1 - prev - 0.25 * var) * e + 0.5 * np.sqrt(var) * noise


IN_PLACE = {
    "eps reaches the term of xt too": (
        "mean_from_eps",
        of_t(lambda b, ab, prev, var, xt, e: (xt - b / np.sqrt(1 - ab)) * e / np.sqrt(1 - b)),
    ),
    "x0 reaches noise too": (
        "q_sample",
        of_t(lambda b, ab, prev, var, x0, e: np.sqrt(ab) * x0 + np.sqrt(1 - ab) * x0 * e),
    ),
    "the x^0 predicted in the direction, where the noise is meant": (
        "ddim_step",
        of_t(
            lambda b, ab, prev, var, xt, e, noise: (np.sqrt(prev) + np.sqrt(1 - prev - 0.25 * var))
            * (xt - np.sqrt(1 - ab) * e) / np.sqrt(ab) + 0.5 * np.sqrt(var) * noise
        ),
    ),
    "x^t for x^{t-1} in one place": (
        "log_weights",
        lambda x, mean, var: weight(x[-1], x[1:], x[:-1], x[1:], mean, var),
    ),
    "eta squared in sigma_t": (
        "ddim_step",
        of_t(
            lambda b, ab, prev, var, xt, e, noise: np.sqrt(prev / ab)
            * (xt - np.sqrt(1 - ab) * e) + np.sqrt(1 - prev - 0.0625 * var) * e
            + 0.25 * np.sqrt(var) * noise
        ),
    ),
    "x^0 clipped to [-1, 1], and the noise taken from it": ("ddim_step", of_t(clipped_step)),
    "the largest weight not put back": (
        "log_likelihood",
        lambda log_w: np.log(np.exp(log_w - np.nan_to_num(log_w.max(0), neginf=0)).mean(0)),
    ),
    "bit and p1 swapped, logarithms at least -100: PyTorch's cross entropy": (
        "bernoulli_log_prob",
        lambda bit, p1: -100 * (bit * (1 - p1) + (1 - bit) * p1).sum(-1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("said", IN_PLACE)
def test_a_mistake_in_one_place_is_named_first(said):
    name, wrong = IN_PLACE[said]
    row = check.run({name: wrong}, beta=BETA, eta=0.5)[name]
    assert (row.status, row.diagnoses[0]) == ("WRONG", said)


def test_tables_exchanged_are_named_in_a_step_without_noise_too():
    def inverse(b, ab, prev, var, xt, e, noise):
        x0 = (xt - np.sqrt(1 - prev) * e) / np.sqrt(prev)
        return np.sqrt(ab) * x0 + np.sqrt(1 - ab) * e

    row = check.run({"ddim_step": of_t(inverse)}, beta=BETA)["ddim_step"]
    assert row.diagnoses[0] == "abar_t and abar_{t-1} exchanged"


def test_beta_for_the_posterior_s_variance_is_named_in_a_bound_too():
    beta, post = (x[1:, None, None] for x in (BETA, BETA * (1 - PREV) / (1 - ABAR)))
    right = independent_ddpm.Somebody(BETA).lower_bound

    def wrong(x0, xs, means, var):
        return right(x0, xs, means, var) - 0.5 * (np.log(post / beta) + (beta - post) / var).sum(
            (0, 2)
        )

    row = check.run({"lower_bound": wrong}, beta=BETA)["lower_bound"]
    assert row.diagnoses[0] == "beta_t for the posterior's variance"


# The changes themselves, as texts and values written by hand

X, Y, Z, W = (Expr("input", name=name) for name in "xyzw")
TABLES = ("beta", "alpha", "abar", "one_minus_abar", "abar_prev", "one_minus_abar_prev")
BETA_T, ALPHA, ABAR_T, REST, BEFORE, REST_BEFORE = (Expr("table", name=name) for name in TABLES)
EXACT = Tables.exact(BETA)
Q = QUANTITIES["q_sample"]


def value(node, at=4, **inputs):
    inputs = {"t": np.array([[at]]), **inputs}
    return np.squeeze(value_of(node, Context(inputs, EXACT, (2, 3), [])))


def texts(changes, tree):
    made = [(name, change(tree).text) for name, change in changes]
    assert len(dict(made)) == len(made)
    return dict(made)


def test_a_mistake_is_made_at_its_place_and_expects_its_operation():
    tree = X * op("sqrt", Y + Z)
    wrong = Mistake("", lambda node: node.args[0], path=(1,), expects="sqrt")
    assert wrong.of(tree).text == "x (y + z)"
    assert Mistake("", lambda node: 2 * node).of(tree).text == "2 x (sqrt(y + z))"
    with pytest.raises(ValueError, match="root gone: another mistake stands there"):
        replace(wrong, name="root gone").of(X * Y)


def test_of_two_mistakes_the_deeper_is_made_first_and_what_wraps_the_result_last():
    def logged(said, **where):
        return Mistake(said, lambda node: term(f"{said} of {node.text}", node), **where)

    deep, high = logged("deep", path=(0, 0), expects="input"), logged("high", path=(0,), form=1)
    for first, second in ((deep, high), (high, deep)):
        both = compose(first, second)
        assert both.name == f"{first.name}, and {second.name}"
        assert both.form == first.form
        assert both.of(op("log", op("sqrt", X))).text == "log(high of sqrt(deep of x))"
    whole, top = logged("whole"), logged("top", expects="input")
    assert compose(whole, top).of(X).text == compose(top, whole).of(X).text == "whole of top of x"


def test_changes_are_made_where_a_kind_or_a_property_says_so():
    tree = op("sqrt", X) + op("log", X) + op("exp", term("x", X))
    inner = making._every(lambda node: node.args[0], "sqrt", "log")
    assert inner(tree).text == "x + x + exp(x)"
    twice = making._where(lambda node: 2 * node, lambda node: [node.label], "x")
    assert twice(tree).text == "sqrt(x) + log(x) + exp(2 x)"
    names = {"x": "y", "y": "x", "beta": "alpha"}
    swapped = making._renamed(names, "input")
    assert swapped(X + Y + Z + BETA_T).text == "y + x + z + beta_t"
    by_name = making._by_name({"x": lambda node: 2 * node}, "input")
    assert by_name(X + Y + Expr("table", name="x")).text == "2 x + y + x_t"


def test_small_changes_change_what_they_say():
    changes = {
        "2 x y": making._times(2)(X * Y),
        "sigmoid(x)": making._taken("sigmoid")(X),
        "7": making._constant(7)(X),
        "y": making._inner(op("sqrt", Y)),
        "1 - x": making._complement(X),
        "x z": making._put(1, lambda node: Z)(X * Y),
        "abar_t": making._abar(REST),
        "abar_{t-1}": making._abar(REST_BEFORE),
        "1 - sqrt(abar_t)": making._root_first(op("sqrt", REST)),
        "1 - sqrt(abar_{t-1})": making._one_minus_root(REST_BEFORE),
        "sqrt(abar_t)": making._root_first(op("sqrt", ABAR_T)),
    }
    assert {said: tree.text for said, tree in changes.items()} == {said: said for said in changes}
    for name in ("xt", "xs", "x_1"):
        state = Expr("input", name=name)
        assert making._xt(X + 2 * state) is state
    assert making._xt(X).text == "x"
    assert [value(making._taken("clip", 1.0)(X), x=x) for x in (-3.0, 0.4, 3.0)] == [-1.0, 0.4, 1.0]
    assert [value(making._taken("inside")(X), x=x) for x in (-3.0, 0.4, 3.0)] == [0.0, 0.4, 1.0]
    assert making._set(at="T", name="alpha")(BETA_T).text == "alpha_T"


def test_entries_are_read_as_an_array_of_T_entries_is_misread():
    """Too early at t = 1 from the end, before the start or the start; too late, from the ends."""
    early, late, backwards = making.EARLY, making.LATE, making.REVERSED
    wanted = [(early, [0, 4, 1, 2, 3]), (early, [0, 0, 1, 2, 3]), (early, [0, 1, 1, 2, 3])]
    wanted += [(late, [0, 2, 3, 4, 4]), (late, [0, 2, 3, 4, 1])]
    wanted += [(backwards, [0, 4, 3, 2, 1]), (backwards, [4, 3, 2, 1, 0])]
    assert [(name, move(4).tolist()) for name, move in making.MOVES] == wanted
    assert {move(1).dtype.kind for _, move in making.MOVES} == {"i"}
    assert [move(1)[1] for _, move in making.MOVES] == [1, 0, 1, 1, 1, 1, 0]


def test_tables_follow_from_another_product_or_another_beta():
    other = np.array([1.0, 0.7, 0.6, 0.2, 0.1])
    made = making._product(lambda s: other)(EXACT)
    for name, wanted in {
        "beta": [0.0, *BETA],
        "alpha": [1.0, 0.9, 0.75, 0.8, 0.6],
        "abar": other,
        "one_minus_abar": [0.0, 0.3, 0.4, 0.8, 0.9],
        "abar_prev": [1.0, 1.0, 0.7, 0.6, 0.2],
    }.items():
        assert getattr(made, name) == pytest.approx(wanted)
    made = making._from(lambda beta: beta + [0.1, 0.0, 0.0, 1.0])(EXACT)
    for name, wanted in {
        "beta": [0.0, 0.2, 0.25, 0.2, 1.4],
        "alpha": [1.0, 0.8, 0.75, 0.8, -0.4],
        "abar": [1.0, 0.8, 0.6, 0.48, -0.192],
        "one_minus_abar": [0.0, 0.2, 0.4, 0.52, 1.192],
    }.items():
        assert getattr(made, name) == pytest.approx(wanted)


def test_a_longer_linear_schedule_keeps_its_ends_and_the_product_of_what_is_left_out():
    made = making._longer(EXACT)
    beta = [0.1, 0.175, 0.25, 0.325, 0.4]
    assert made.beta == pytest.approx([0.0, *beta[1:]])
    assert made.alpha == pytest.approx([1.0, 0.825, 0.75, 0.675, 0.6])
    wanted = [1.0, 0.9 * 0.825]
    for alpha in (0.75, 0.675, 0.6):
        wanted.append(wanted[-1] * alpha)
    assert made.abar == pytest.approx(wanted)


def test_what_comes_before_is_another_product_and_beta_1_what_follows():
    made = making._before(lambda s: s.abar[1:])(EXACT)
    assert made.beta is EXACT.beta
    assert made.alpha is EXACT.alpha
    assert made.abar_prev == pytest.approx([1.0, *ABAR])
    assert made.one_minus_abar_prev == pytest.approx([0.0, *(1 - ABAR)])
    made = making._before(lambda s: 1.25 * s.abar[1:], ratio=True)(EXACT)
    assert made.alpha == pytest.approx([1.0, 0.8, 0.75, 0.8, 0.6])
    assert made.beta == pytest.approx([0.0, 0.2, 0.25, 0.2, 0.4])
    assert made.abar_prev == pytest.approx([1.0, *(1.25 * ABAR)])
    assert made.abar is EXACT.abar
    assert making._before(lambda s: s.abar[1:])(EXACT).beta == pytest.approx([0.0, *BETA])


def test_the_continuous_product_is_the_integral_of_a_line_from_beta_1_to_beta_T():
    """Rates of T steps of length 1 / T, so that the line is T times them, and t ends at 1."""
    rates = making.Tables.exact(np.linspace(0.1, 0.4, 4))
    t = np.arange(5) / 4
    integral = 4 * (0.1 * t + (0.4 - 0.1) * t**2 / 2)
    assert making._continuous(rates) == pytest.approx(np.exp(-integral))


def test_a_table_built_twice_is_built_from_what_was_built_first():
    half = making._from(lambda beta: 0.5 * beta)
    twice = making._built(making._before(lambda s: s.beta[1:]))(making._built(half)(BEFORE))
    assert value(twice, at=3) == pytest.approx(0.1)
    again = making._built(making._before(lambda s: s.beta[1:]))
    assert value(making._built(half)(making._built(half)(BETA_T)), at=3) == pytest.approx(0.05)
    assert value(again(BEFORE), at=3) == pytest.approx(0.2)
    assert value(again(BEFORE), at=1) == pytest.approx(0.1)


# What mistakes are called


@pytest.mark.parametrize(
    ("other", "name", "at", "said"),
    [
        ("alpha", "beta", "T", "alpha_T for beta_T"),
        ("one_minus_abar_prev", "one_minus_abar", "t", "abar_{t-1} for abar_t"),
        ("one_minus_abar", "beta", "t", "1 - abar_t for beta_t"),
        ("beta", "one_minus_abar", "t", "beta_t for 1 - abar_t"),
    ],
)
def test_tables_exchanged_are_called_without_what_they_share(other, name, at, said):
    assert making._for(other, name, at) == said


def test_without_a_time_tables_are_those_at_t():
    assert making._for("alpha", "abar") == "alpha_t for abar_t"


def test_a_term_is_called_by_its_label_or_its_only_argument_or_its_text():
    for said, node in {
        "mine": term("mine", X * Y),
        "x": -(BETA_T * X),
        "x y": -(X * Y),
        "beta_t alpha_t": BETA_T * ALPHA,
    }.items():
        assert making._named(node) == said


def test_a_rule_that_fits_is_written_out():
    rules = [
        ("log, exp", "the {3} of {0} in {1}", abs, USUAL),
        ("factor", "{2} left out", min, LOCAL),
        ("sqrt", "root", max, ODD),
    ]

    def found(kinds, node):
        return list(making._matched(rules, kinds, node))

    node = term("mine", op("log", X))
    assert found({"log", "factor"}, node) == [
        ("log, exp", "the logarithm of x in mine", abs, USUAL),
        ("factor", "mine left out", min, LOCAL),
    ]
    assert found({"exp"}, op("exp", Y))[0][1] == "the exponential of y in exp(y)"
    assert found({"exp"}, Y)[0][1] == "the input of y in y"
    assert found({"factor"}, -(X * BETA_T))[0][1] == "x left out"
    assert found({"log, exp", "root"}, node) == []


def test_what_nodes_have_in_common_is_a_label_or_a_function_or_a_name():
    for node, wanted in [
        (term("mine", X * Y), [("", "mine")]),
        (op("sqrt", ABAR_T), [("sqrt of", "abar")]),
        (op("inv", X + Y), [("inv of", "x + y")]),
        (op("square", term("mine", BETA_T)), [("square of", "beta")]),
        (term("mine", op("log", X)), [("", "mine"), ("log of", "x")]),
        (op("exp", X), [("exp of", "x")]),
        (op("read", X, name="std"), [("read of", "x"), ("read", "std")]),
        (op("sigmoid", X), []),
        (BETA_T, [("table", "beta")]),
        (op("max", X), [("max", "")]),
        (op("max", X, name="finite"), [("max", "")]),
        (op("xlogy", 1 - X, X * Y), [("xlogy", "x x y")]),
    ]:
        assert list(making._keys(node)) == wanted


@pytest.mark.parametrize(
    ("node", "parent", "wanted"),
    [
        (BETA_T, "", {"table", "table beta", "table times", "-"}),
        (term("mine", X * Y), "+", {"*", "* ", "* times", "mine", "term"}),
        (2 * X, "first", {"*", "* ", "* times", "-", "term", "number term"}),
        (X * 2, "first", {"*", "* ", "* times", "-", "term"}),
        (number(2), "+", {"number", "number ", "number times", "-", "term", "number term"}),
        (number(2), "*", {"number", "number ", "number times", "-", "factor"}),
        (op("inv", X), "*", {"inv", "inv ", "inv times", "-", "divisor"}),
        (op("inv", op("d")), "*", {"inv", "inv ", "inv times", "-", "divisor d"}),
        (op("d"), "*", {"d", "d ", "d times", "-"}),
        (op("later"), "*", {"later", "later ", "later times", "-"}),
        (op("known"), "*", {"known", "known ", "known times", "-"}),
        (BETA_T, "*", {"table", "table beta", "table times", "-", "factor", "variable factor"}),
        (Expr("input", name="x0"), "+", {"input", "input x0", "input times", "-", "term"}),
        (Expr("input", name="prob"), "", {"input", "input prob", "input times", "-", "bit"}),
        (Expr("other", name="prob"), "", {"other", "other prob", "other times", "-"}),
    ],
)
def test_a_node_is_of_the_kinds_that_rules_name(node, parent, wanted):
    assert making._kinds(Q, node, parent) == wanted


@pytest.mark.parametrize("name", ["bit", "p1", "q1", "prob", "x_prev", "x0", "xt", "x1"])
def test_states_are_bits_where_the_quantity_is_of_bits(name):
    node, of_bits = Expr("input", name=name), replace(Q, name="binomial_posterior")
    assert "bit" in making._kinds(of_bits, node, "")
    assert ("bit" in making._kinds(Q, node, "")) == (not name.startswith("x"))


# Where they are made


def test_a_factor_reaches_one_term_only_and_ratios_stand_upside_down():
    assert texts(making._factors(X * (Y + Z) / W), X * (Y + Z) / W) == {
        "x reaches y only": "1 (y x + z) / w",
        "x reaches z only": "1 (y + z x) / w",
        "x reaches y twice": "x (y x + z) / w",
        "x reaches z twice": "x (y + z x) / w",
        "ratio upside down: (w) / (x)": "(y + z) w / x",
        "ratio upside down: (w) / (y + z)": "x w / (y + z)",
        "division by w reaches y only": "x (y / w + z) 1",
        "division by w reaches z only": "x (y + z / w) 1",
        "division by w reaches y twice": "x (y / w + z) / w",
        "division by w reaches z twice": "x (y + z / w) / w",
    }
    tree = X * REST / Y
    assert texts(making._factors(tree), tree) == {
        "x reaches abar_t only": "1 (1 - abar_t x) / y",
        "division by y reaches abar_t only": "x (1 - abar_t / y) 1",
        "ratio upside down: (y) / (x)": "(1 - abar_t) y / x",
        "ratio upside down: (y) / (1 - abar_t)": "x y / (1 - abar_t)",
    }


def test_a_factor_that_reaches_a_term_twice_is_that_of_the_place():
    """The same sum stands at other times, beside other tables."""
    change = dict(making._factors(X * (Y + Z)))["x reaches y twice"]
    assert change(W * (Y + Z)).text == "w (y w + z)"


def test_what_stands_before_three_terms_reaches_each_alone():
    tree = op("+", X, Y, Z)
    made = texts(making._unshared(tree), tree)
    assert [made[f"{said} reaches y only"] for said in ("1/2", "-1/2", "the minus")] == [
        "2 x + y + 2 z",
        "-2 x + y - 2 z",
        "-1 x + y - 1 z",
    ]
    assert (len(made), made["1/2 reaches z only"]) == (9, "2 x + 2 y + z")
    assert list(making._unshared(X + Y)) == list(making._unshared(op("+", X))) == []


def test_factors_that_reach_nothing_yield_nothing():
    for tree in (
        2 * REST,
        op("later") * REST,
        op("known") * REST,
        X * Y,
        X * BETA_T,
        2 / op("exp", X),
        op("later") / X,
        op("known") / X,
    ):
        assert texts(making._factors(tree), tree) == {}
    tree = (X + Y) / op("d")
    assert texts(making._factors(tree), tree) == {"ratio upside down: (d) / (x + y)": "d / (x + y)"}


def test_of_two_divisors_one_is_multiplied_with():
    tree = X / Y / Z
    assert texts(making._factors(tree), tree) == {
        "multiplied with all but the first divisor: its brackets are missing": "x y z",
        "ratio upside down: (y) / (x)": "y / x / z",
        "ratio upside down: (z) / (x)": "z / x / y",
    }


@pytest.mark.parametrize(
    ("tree", "wanted"),
    [
        (
            X * Y + Z,
            {
                "x reaches z too": "x y + x z",
                "y reaches z too": "x y + y z",
                "z reaches x y too": "z x y + z",
            },
        ),
        (
            X - Y * BETA_T,
            {
                "x reaches y too": "x + x (-y beta_t)",
                "y reaches x too": "y x - y beta_t",
                "beta_t reaches x too": "beta_t x - y beta_t",
            },
        ),
        (
            X / Y + Z,
            {
                "x reaches z too": "x / y + x z",
                "division by y reaches z too": "x / y + z / y",
                "z reaches x / y too": "z x / y + z",
            },
        ),
        (X + 2, {}),
        (X + 2 * Y, {"y reaches x too": "y x + 2 y"}),
        (X * 2 + Y, {"x reaches y too": "x 2 + x y", "y reaches x too": "y x 2 + y"}),
        (X + Y + Z, {}),
    ],
)
def test_a_factor_of_one_of_two_terms_reaches_the_other_too(tree, wanted):
    assert texts(making._misplaced(tree), tree) == wanted


PARTS = {"H_q(X^T|X^0)": 1, "H_q(X^1|X^0)": 2, "E log pi(x^T)": 4, "sum KL": 8}
ONCE = {"{} added T times instead of once": 3, "{} added once per t instead of once": 2}
TOGETHER = {
    "{} left out": -1,
    "sign of {} flipped": -2,
    "{} counted twice": 1,
    "half of {} only": -0.5,
}


def test_parts_of_a_bound_are_added_once_for_each_t_or_left_out_together():
    """Of T = 4; what each adds to the sum of 15."""
    tree = sum((term(label, X * k) for label, k in PARTS.items()), number(0))
    groups = {label: k for label, k in PARTS.items() if label != "sum KL"}
    wanted = {said.format(name): by * k for name, k in groups.items() for said, by in ONCE.items()}
    both = {"H_q(X^T|X^0) - H_q(X^1|X^0)": 3, "KL( q(x^T|x^0) || pi )": 5}
    for name, k in both.items():
        wanted |= {said.format(name): by * k for said, by in (TOGETHER | ONCE).items()}
    made = dict(making._groups(replace(tree, args=tree.args[1:])))
    assert list(made) == list(wanted)
    assert {
        said: value(change(replace(tree, args=tree.args[1:])), x=1.0) - 15
        for said, change in made.items()
    } == wanted


def test_terms_are_no_parts_where_no_divergences_are_summed():
    assert list(making._groups(term("H_q(X^T|X^0)", X) + term("E log pi(x^T)", Y))) == []


def test_each_part_with_a_name_is_doubled_in_the_order_of_names():
    tree = term("second", X) + term("first", Y) * term("second", Z) + W
    made = making.doubled(tree)
    assert list(made) == ["first", "second"]
    assert made["first"].text == "second + (2 first) second + w"
    assert value(made["second"], x=1.0, y=10.0, z=100.0, w=5.0) == 2 + 2000 + 5


def test_a_table_is_exchanged_for_every_other_in_one_place():
    found = list(making._local(REST, (1, 0)))
    assert {m.name: m.change(REST).text for m in found} == {
        "beta_t for 1 - abar_t": "beta_t",
        "alpha_t for 1 - abar_t": "alpha_t",
        "abar_t for 1 - abar_t": "abar_t",
        "abar_{t-1} for 1 - abar_t": "abar_{t-1}",
        "abar_{t-1} for abar_t": "1 - abar_{t-1}",
    }
    assert {(m.rank, m.path, m.expects) for m in found} == {(LOCAL, (1, 0), "table")}
    last = replace(BETA_T, at="T")
    assert next(making._local(last, ())).name == "alpha_T for beta_T"


def test_a_root_reaches_one_factor_only():
    tree = op("sqrt", X * Y * 2)
    found = list(making._local(tree, (2,)))
    assert {m.name: m.change(tree).text for m in found} == {
        "the root reaches x only": "sqrt(x) y 2",
        "the root reaches y only": "x sqrt(y) 2",
    }
    assert {(m.rank, m.path, m.expects) for m in found} == {(LOCAL, (2,), "sqrt")}


def test_factors_and_terms_are_changed_in_one_place_and_parts_are_usual():
    found = list(making._local(X * REST, (1,)))
    assert [(m.name, m.rank, m.expects) for m in found] == [("x reaches abar_t only", LOCAL, "*")]
    found = list(making._local(X + Y, (1,)))
    assert [(m.name, m.rank, m.expects) for m in found] == [
        ("x reaches y too", LOCAL, "+"),
        ("y reaches x too", LOCAL, "+"),
    ]
    found = list(making._local(term("a", X) + term("sum KL", Y), (1,)))[2:]
    assert [(m.name, m.rank, m.path, m.expects) for m in found] == [
        (said.format("a"), USUAL, (1,), "+") for said in ONCE
    ]
    assert [m.name for m in making._local(X + 1 / Y, ())] == [
        *("x reaches y too", "division by y reaches x too"),
    ]
    assert list(making._local(X, ())) == list(making._local(2 * term("sum KL", X), ())) == []


RULES = [
    ("input", "not {1}", lambda node: -node, USUAL),
    ("term", "{2} gone", lambda node: number(0), LOCAL),
    ("factor", "{1} one", lambda node: number(1), ODD),
    ("sqrt", "no root of {0}", lambda node: node.args[0], ODD),
    ("table", "{1} twice", lambda node: 2 * node, USUAL),
]


def ruled(tree, monkeypatch):
    monkeypatch.setattr(making, "RULES", RULES)
    found = making._ruled(Q, tree)
    return [(m.name, m.rank, m.path, m.expects, m.of(tree).text) for m in found]


def test_rules_change_all_places_where_the_same_stands_and_then_each(monkeypatch):
    assert ruled(op("sqrt", X) * (Y + X), monkeypatch) == [
        ("not x", USUAL, (), "", "sqrt(-x) (y - x)"),
        ("sqrt(x) one", ODD, (0,), "sqrt", "1 (y + x)"),
        ("no root of x", ODD, (0,), "sqrt", "x (y + x)"),
        ("not x", LOCAL, (0, 0), "input", "sqrt(-x) (y + x)"),
        ("y + x one", ODD, (1,), "+", "sqrt(x) 1"),
        ("not y", USUAL, (1, 0), "input", "sqrt(x) (-y + x)"),
        ("y gone", USUAL, (1, 0), "input", "sqrt(x) (0 + x)"),
        ("not x", LOCAL, (1, 1), "input", "sqrt(x) (y - x)"),
        ("x gone", USUAL, (1, 1), "input", "sqrt(x) (y + 0)"),
        ("sqrt(x) reaches y only", LOCAL, (), "*", "1 (y sqrt(x) + x)"),
        ("sqrt(x) reaches y twice", LOCAL, (), "*", "sqrt(x) (y sqrt(x) + x)"),
        ("sqrt(x) reaches x only", LOCAL, (), "*", "1 (y + x sqrt(x))"),
        ("sqrt(x) reaches x twice", LOCAL, (), "*", "sqrt(x) (y + x sqrt(x))"),
        ("y reaches x too", LOCAL, (1,), "+", "sqrt(x) (y + y x)"),
        ("x reaches y too", LOCAL, (1,), "+", "sqrt(x) (x y + x)"),
    ]


def test_a_part_with_a_name_is_changed_as_a_term_and_by_its_factors(monkeypatch):
    part = term("mine", X * replace(REST, at="T"))
    found = ruled(part + op("sqrt", part), monkeypatch)
    assert [each[:3] for each in found if " for " not in each[0]] == [
        ("mine gone", USUAL, ()),
        ("x reaches abar_t only", LOCAL, ()),
        ("not x", USUAL, ()),
        ("1 - abar_t twice", USUAL, ()),
        ("mine gone", USUAL, (0,)),
        ("not x", LOCAL, (0, 0)),
        ("x one", ODD, (0, 0)),
        ("1 - abar_T one", ODD, (0, 1)),
        ("1 - abar_T twice", LOCAL, (0, 1)),
        ("x gone", LOCAL, (1,)),
        ("no root of mine", ODD, (1,)),
        ("not x", LOCAL, (1, 0, 0)),
        ("x one", ODD, (1, 0, 0)),
        ("1 - abar_T one", ODD, (1, 0, 1)),
        ("1 - abar_T twice", LOCAL, (1, 0, 1)),
        ("x reaches x too", LOCAL, ()),
        ("1 - abar_T reaches x too", LOCAL, ()),
        ("sqrt(mine) reaches mine too", LOCAL, ()),
        ("x reaches abar_T only", LOCAL, (0,)),
        ("the root reaches x only", LOCAL, (1,)),
        ("the root reaches 1 - abar_T only", LOCAL, (1,)),
        ("x reaches abar_T only", LOCAL, (1, 0)),
    ]
    assert found[0][-1] == "0 + sqrt(0)"
    wrong = list(making._ruled(Q, part + op("sqrt", part)))[1].of(part + op("sqrt", part))
    assert value(wrong, x=2.0) == pytest.approx(0.352 + np.sqrt(0.352))


def test_a_factor_with_a_name_that_stands_twice_is_left_out_of_both(monkeypatch):
    part = term("mine", op("sqrt", X))
    found = ruled(op("exp", Y * part) + Z * part, monkeypatch)
    assert ("mine one", USUAL, (), "", "exp(y 1) + z 1") in found
    assert ("no root of x", ODD, (), "", "exp(y x) + z x") in found


def test_a_sum_with_a_name_that_stands_twice_has_no_ratios(monkeypatch):
    total = term("mine", X + 1 / Y)
    found = ruled(op("exp", total) * op("log", total), monkeypatch)
    assert not [name for name, *_ in found if "upside down" in name]


def test_a_table_that_stands_once_is_called_as_at_t(monkeypatch):
    tree = op("log", replace(BETA_T, at="T"))
    assert ("beta_t twice", USUAL, (0,), "table", "log(2 beta_T)") in ruled(tree, monkeypatch)


def of_tables(tree, monkeypatch):
    monkeypatch.setattr(making, "MOVES", [("moved", lambda T: np.arange(T, -1, -1))])
    monkeypatch.setattr(making, "BUILDS", [("built", lambda s: s._replace(beta=10 * s.abar))])
    return [(m.name, m.of(tree)) for m in making._tables(tree)]


RESTS = [
    "sqrt(1 - abar_t) for 1 - abar_t",
    "1 - sqrt(abar_t) for 1 - abar_t",
    "(1 - abar_t) / abar_t for 1 - abar_t: of x^t / sqrt(abar_t)",
]
ROOT = "1 - sqrt(abar_t) for sqrt(1 - abar_t)"
ROWS = ["the first row's t read for every row", making.ACROSS]


def test_tables_are_read_and_built_and_exchanged_otherwise(monkeypatch):
    made = of_tables(X * BETA_T, monkeypatch)
    assert [name for name, _ in made[:6]] == ["moved", "built", *RESTS, ROOT]
    assert [(name, tree.text) for name, tree in made[6:14]] == [
        ("abar_t for alpha_t", "x (1 - abar_t)"),
        ("abar_{t-1} for alpha_t", "x (1 - abar_{t-1})"),
        ("alpha_t and beta_t exchanged", "x alpha_t"),
        ("alpha_t for beta_t", "x alpha_t"),
        ("abar_t for beta_t", "x abar_t"),
        ("1 - abar_t for beta_t", "x (1 - abar_t)"),
        ("abar_{t-1} for beta_t", "x abar_{t-1}"),
        ("1 - abar_{t-1} for beta_t", "x (1 - abar_{t-1})"),
    ]
    assert [(name, tree.args[1].at) for name, tree in made[14:]] == [
        (ROWS[0], "first row"),
        (ROWS[1], "across"),
    ]
    values = {name: value(tree, x=1.0) for name, tree in made[:2]}
    assert values == pytest.approx({"moved": 0.0, "built": 10 * 0.324})


def test_tables_are_taken_for_others_or_exchanged_with_what_goes_with_them():
    rest, before = "one_minus_abar", "one_minus_abar_prev"
    made = dict(making._together())
    assert len(made) == len([*making._together()]) == 11
    for said, tables in {
        "alpha_t for abar_t": {"abar": "alpha", rest: "beta"},
        "abar_{t-1} for alpha_t": {"alpha": "abar_prev", "beta": before},
        "abar_{t-1} for abar_t": {"abar": "abar_prev", rest: before},
        "abar_t for abar_{t-1}": {"abar_prev": "abar", before: rest},
        "abar_t and 1 - abar_t exchanged": {"abar": rest, rest: "abar"},
        "alpha_t and abar_{t-1} exchanged": {"alpha": "abar_prev", "abar_prev": "alpha"},
        "abar_t and abar_{t-1} exchanged": {
            **{"abar": "abar_prev", rest: before},
            **{"abar_prev": "abar", before: rest},
        },
    }.items():
        assert made[said] == tables


def test_what_is_said_of_1_minus_abar_is_so_of_abar_before_too(monkeypatch):
    tree = op("sqrt", REST) * REST_BEFORE
    made = dict(of_tables(tree, monkeypatch))
    assert [made[name].text for name in (*RESTS, ROOT)] == [
        "(sqrt(sqrt(1 - abar_t))) (sqrt(1 - abar_{t-1}))",
        "(sqrt(1 - sqrt(abar_t))) (1 - sqrt(abar_{t-1}))",
        "(sqrt((1 - abar_t) / abar_t)) ((1 - abar_{t-1}) / abar_{t-1})",
        "(1 - sqrt(abar_t)) (1 - abar_{t-1})",
    ]
    assert set(ROWS).isdisjoint(made)
    assert "t = 1 for t = T" not in made


def test_tables_that_go_together_are_read_apart_from_the_others(monkeypatch):
    def apart(tree):
        made = of_tables(tree, monkeypatch)
        return [(name, tree) for name, tree in made if name.endswith("the other tables not")]

    assert apart(BETA_T * ALPHA) == apart(BETA_T * ABAR_T) == []
    made = apart(BETA_T * ALPHA * ABAR_T)
    assert [name for name, _ in made] == [
        f"alpha_t read one step too {when}, the other tables not"
        for when in ("early", "early", "early", "late", "late")
    ]
    assert [value(tree, at=2) for _, tree in made] == pytest.approx(
        [0.1 * 0.9 * 0.675] * 3 + [0.2 * 0.8 * 0.675] * 2
    )


def test_the_first_and_the_last_step_are_taken_for_others(monkeypatch):
    tree = X * replace(BETA_T, at="T") + replace(ABAR_T, at="1")
    made = of_tables(tree, monkeypatch)
    assert set(ROWS).isdisjoint(dict(made))
    assert [(name, value(each, x=1.0)) for name, each in made[:5]] == [
        ("t = T - 1 for t = T", pytest.approx(0.2 + 0.9)),
        ("t = 1 for t = T", pytest.approx(0.1 + 0.9)),
        ("t = 2 for t = 1", pytest.approx(0.4 + 0.675)),
        ("t = 0 for t = 1", pytest.approx(0.4 + 1.0)),
        ("t = T for t = 1", pytest.approx(0.4 + 0.324)),
    ]


def test_without_tables_none_are_changed(monkeypatch):
    assert of_tables(op("sqrt", X), monkeypatch) == []


MQ, MP, VQ = (Expr("input", name=name) for name in ("mean_q", "mean_p", "var_q"))


def test_arguments_are_exchanged_and_taken_for_those_of_their_kind():
    tree = MQ + VQ * MP
    found = list(making._inputs(QUANTITIES["gaussian_kl"], tree))
    assert [(m.name, m.rank, m.path, m.of(tree).text) for m in found] == [
        ("KL reversed: KL(p || q)", USUAL, (), "mean_p + var_p mean_q"),
        ("mean_q and var_q swapped", USUAL, (), "var_q + mean_q mean_p"),
        ("mean_q and mean_p swapped", USUAL, (), "mean_p + var_q mean_q"),
        ("mean_q and var_p swapped", USUAL, (), "var_p + var_q mean_p"),
        ("var_q and mean_p swapped", USUAL, (), "mean_q + mean_p var_q"),
        ("var_q and var_p swapped", USUAL, (), "mean_q + var_p mean_p"),
        ("mean_p and var_p swapped", USUAL, (), "mean_q + var_q var_p"),
        ("mean_p for mean_q", LOCAL, (), "mean_p + var_q mean_p"),
        ("mean_p for mean_q in one place", LOCAL, (0,), "mean_p + var_q mean_p"),
        ("var_p for var_q", LOCAL, (), "mean_q + var_p mean_p"),
        ("var_p for var_q in one place", LOCAL, (1, 0), "mean_q + var_p mean_p"),
        ("mean_q for mean_p", LOCAL, (), "mean_q + var_q mean_q"),
        ("mean_q for mean_p in one place", LOCAL, (1, 1), "mean_q + var_q mean_q"),
    ]
    assert {m.expects for m in found if m.path} == {"input"}


def test_probabilities_are_exchanged_and_states_of_a_path_and_nothing_else():
    def named(name, *inputs):
        tree = sum((Expr("input", name=each) for each in inputs), number(0))
        return [m.name for m in making._inputs(QUANTITIES[name], tree)]

    both = ["KL reversed: KL(p || q)", "q1 and p1 swapped"]
    assert named("bernoulli_kl", "q1") == [*both, "p1 for q1", "p1 for q1 in one place"]
    assert named("marginal_mean", "x0", "t") == named("gaussian_entropy", "var") == []
    assert named("factor_var", "y") == [
        *("mean and y swapped", "var and y swapped", "y and var_y swapped"),
        *("mean for y", "mean for y in one place"),
    ]
    before, after = "x^{t-1}", "x^t"
    assert named("log_weights", "before", "after", "means") == [
        f"{before} and {after} swapped",
        f"{after} for {before}",
        f"{after} for {before} in one place",
        f"{before} for {after}",
        f"{before} for {after} in one place",
    ]


# Numbers that are found from the values


def test_tables_with_numbers_in_them_are_those_of_any_schedule_and_of_its_name():
    low, high = (1e-5, 1e-4, 1e-3, 0.01), (0.9999, 0.999, 0.9, 0.5, 0.1, 0.02)
    free = [([(0.99999,)], (0.9, 1.0))] * 3
    free += [([high], (1e-6, 1.0)), ([low, high], (1e-6, 1.0))]
    cosine = [([(0.008, 0.9999), (0.999, 0.9999)], (1e-300, np.inf))] * 2

    def starts(beta):
        return [(start, ends) for start, ends, _ in making.fitted(beta)]

    assert starts(BETA) == starts(cosine_by(6)) == free
    assert starts(cosine_by(7)) == starts(cosine_by(7) * (1 + 5e-10)) == free + cosine
    assert starts(cosine_by(7) * (1 + 2e-9)) == starts(cosine_by(7) + 1e-9) == free
    found = making.fitted(cosine_by(7))
    made = [made(np.array([each[0] for each in starts])).name for starts, _, made in found]
    assert made[-2:] == [
        "the cosine schedule with ",
        "the cosine schedule with one step more, the last left out",
    ]


def test_a_number_found_is_part_of_the_name_and_of_the_tables():
    wrong = making._numbered("k is {:.3g}", lambda k: lambda s: s._replace(beta=k * s.beta), AT_2)
    assert (wrong.name, wrong.rank) == ("k is 2", 1)
    assert value(wrong.of(BETA_T), at=4) == pytest.approx(0.8)


def test_two_numbers_are_less_plausible_than_one():
    def build(low, high):
        return making._from(lambda beta: beta.clip(low, high))

    wrong = making._numbered("{:.3g} to {:.3g}", build, np.array([0.15, 0.3]))
    assert (wrong.name, wrong.rank) == ("0.15 to 0.3", making.LOCAL)
    made = [value(wrong.of(BETA_T), at=t) for t in (1, 2, 3, 4)]
    assert made == pytest.approx([0.15, 0.25, 0.2, 0.3])


AT_2 = np.array([2.0])


@pytest.mark.parametrize(
    ("more", "numbers", "said"),
    [
        (0, [0.008 * (1 + 2e-6), 0.9], "cap = 0.9"),
        (0, [0.0081, 0.9], "offset = 0.0081, cap = 0.9"),
        (0, [0.008 * (1 + 5e-7), 0.9], "cap = 0.9"),
        (1, [4e-13, 0.999], "offset = 0, one step more, the last left out"),
        (1, [0.0123456, 0.999], "offset = 0.01235, one step more, the last left out"),
    ],
)
def test_a_schedule_by_other_parameters_is_that_schedule(more, numbers, said):
    usual = {"offset": 0.008, "cap": 0.999}
    wrong = making._respelled("cosine", more, usual, np.array(numbers))
    assert wrong.name == f"the cosine schedule with {said}"
    beta = cosine_by(4, numbers[0], numbers[1], steps=4 + more)
    for t in (1, 2, 3, 4):
        assert value(wrong.of(BETA_T), at=t) == pytest.approx(beta[t - 1])


# Sources of precision loss


def test_constants_are_added_in_each_place_and_form_and_the_first_in_others(monkeypatch):
    monkeypatch.setattr(making, "SMALL", (0.5, 0.25))
    monkeypatch.setattr(making, "_wider", lambda q, made, small: [made, lambda y: made(y) * small])
    monkeypatch.setattr(making, "_places", lambda q, made, small: [lambda y: small - made(y)])
    every, clipped, *_ = list(making.CONSTANTS)
    found = list(making.constants(QUANTITIES["log_snr"], Conventions()))
    assert [(m.name, m.form, m.of(X).text) for m in found if m.name == every] == [
        (every, form, text)
        for text in ("x + 1/2", "(x + 1/2) 1/2", "x + 0.25", "(x + 0.25) 0.25")
        for form in (0, 1)
    ]
    assert [(m.form, value(m.of(X), x=0.3)) for m in found if m.name == clipped] == [
        *((form, 0.0) for form in (0, 1)),
        *((form, pytest.approx(-0.05)) for form in (0, 1)),
    ]


def test_a_variance_of_the_data_widens_every_marginal_and_the_steps_in_proportion():
    tree = REST * REST_BEFORE * BETA_T * ABAR_T
    made = [change(tree).text for change in making._wider(Q, lambda y: y + X, 0.5)]
    wide = "(1 - abar_t + x) (1 - abar_{t-1} + x)"
    assert made == [f"{wide} beta_t abar_t", f"{wide} (beta_t 1.5) abar_t"]
    assert list(making._wider(QUANTITIES["beta"], lambda y: y + X, 0.5)) == []
    assert list(making._wider(QUANTITIES["gaussian_kl"], lambda y: y + X, 0.5)) == []


def test_small_constants_are_put_where_they_guard_something():
    q1, p1, prob = (Expr("input", name=name) for name in ("q1", "p1", "prob"))

    def made(q, tree):
        changes = making._places(q, lambda y: op("inside", y), 0.5)
        return [change(tree).text.replace("inside", "c") for change in changes]

    tree = op("sqrt", X) + op("log", Y) + op("inv", Z) + op("xlogy", q1, p1) + prob
    rooted, logged, inverse, rest = "sqrt(x)", "log(y)", "1 / z", "q1 log(p1) + prob"
    tree_text = " + ".join([rooted, logged, inverse, rest])
    assert tree.text == tree_text
    wanted = [
        tree_text,
        f"sqrt(c(x)) + log(c(y)) + 1 / c(z) + {rest}",
        f"sqrt(c(x)) + {logged} + {inverse} + {rest}",
        f"{rooted} + log(c(y)) + {inverse} + {rest}",
        tree_text,
        tree_text,
        f"{rooted} + {logged} + 1 / c(z) + {rest}",
        tree_text.replace("p1", "c(p1)"),
        tree_text,
        tree_text.replace("q1", "c(q1)"),
        tree_text.replace("p1", "c(p1)"),
        tree_text.replace("prob", "c(prob)"),
        tree_text.replace("q1", "c(q1)").replace("p1", "c(p1)"),
    ]
    assert made(Q, tree) == wanted
    for name in ("beta", "perturbed_bits"):
        assert made(QUANTITIES[name], tree) == [f"c({tree_text})", *wanted]
    assert made(Q, op("read", X))[0] == "c(x)"
    assert made(Q, op("write", X))[4] == "c(x)"
    parts = [term(name, X) for name in making.FACTORS]
    assert made(Q, op("read", X))[5] == "c(x)"
    assert made(Q, parts[0] * parts[1])[8] == " ".join(f"(c({part.text}))" for part in parts)


def rounded(values):
    return np.array([float(np.float32(each)) for each in values])


def test_tables_in_float32_are_rounded_after_every_operation():
    beta = rounded(BETA)
    alpha = rounded(1 - beta)
    running, single, double = np.float32(1.0), [], []
    for each in alpha:
        running = np.float32(running * np.float32(each))
        single.append(float(running))
    double = rounded(np.cumprod(alpha))
    for made, abar in (
        (making._float32(EXACT), np.array(single)),
        (making._float32(EXACT, np.float64), double),
    ):
        for name, wanted in {
            "beta": [0.0, *beta],
            "alpha": [1.0, *alpha],
            "abar": [1.0, *abar],
            "one_minus_abar": [0.0, *rounded(1 - abar)],
            "abar_prev": [1.0, 1.0, *abar[:-1]],
        }.items():
            assert getattr(made, name).tolist() == list(wanted)
            assert getattr(made, name).dtype == np.float64
    back = making._read_back(EXACT)
    ratio = rounded(np.array(single) / np.array([1.0, *single[:-1]]))
    assert back.alpha.tolist() == [1.0, *ratio]
    assert back.beta.tolist() == [0.0, *rounded(1 - ratio)]
    assert back.abar.tolist() == [1.0, *single]


def test_habits_are_those_of_the_tables_that_are_read(monkeypatch):
    known = {"beta rounded": making._float32, "all rounded": making._read_back}
    monkeypatch.setattr(making, "HABITS", known)
    assert making.habits([X]) == {}
    assert list(making.habits([X, ABAR_T])) == ["all rounded"]
    assert list(making.habits([BETA_T])) == list(making.habits([X, ALPHA])) == list(known)
    made = making.habits([BETA_T * X, ABAR_T])
    for name, build in known.items():
        product, alone = made[name]
        assert [product.args[0].built, product.args[1].built, alone.built] == [build, None, build]


def test_all_mistakes_of_a_quantity_are_in_the_order_of_their_ranks(monkeypatch):
    asked = []

    def ways(said, *made):
        def of(q, c, **changed):
            asked.append((said, q.name, c, changed))
            return [(said, tree) for tree in made]

        return of

    rules = [("", "odd {1}", making._times(2), ODD), ("var", "no var", abs, USUAL)]
    monkeypatch.setattr(making, "RESULTS", [*rules, ("state", "plain {0}", abs, USUAL)])
    monkeypatch.setattr(making, "right", lambda q, c, *, x: [x + Y, op("sqrt", Z)])
    monkeypatch.setattr(making, "others", ways("other", X))
    monkeypatch.setattr(making, "undeclared", ways("undeclared", Z))
    monkeypatch.setattr(making, "_inputs", lambda q, tree: [Mistake(f"in {tree.text}", abs)])
    monkeypatch.setattr(making, "_tables", lambda tree: [Mistake(f"at {tree.text}", abs, LOCAL)])
    monkeypatch.setattr(making, "_ruled", lambda q, tree: [Mistake(f"by {tree.text}", abs)])
    q, c = replace(Q, kind="state"), Conventions(spread="std")
    found = making.mistakes(q, c, x=X)
    assert [(m.name, m.rank, m.form, m.expects) for m in found] == [
        ("undeclared", making.DESIGN, 0, "+"),
        ("plain x", USUAL, 0, ""),
        ("other", USUAL, 0, "+"),
        *((f"{said} x + y", USUAL, 0, "") for said in ("in", "by")),
        *((f"{said} sqrt(z)", USUAL, 1, "") for said in ("in", "by")),
        ("at x + y", LOCAL, 0, ""),
        ("at sqrt(z)", LOCAL, 1, ""),
        ("odd x + y", ODD, 0, ""),
    ]
    made = {m.name: m for m in found}
    assert [made[name].of(X + Y).text for name in ("undeclared", "other")] == ["z", "x"]
    assert made["odd x + y"].of(X).text == "2 x"
    assert asked == [(said, q.name, c, {"x": X}) for said in ("other", "undeclared")]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        *((f"posterior_{each}", [0.4]) for each in ("variance", "var")),
        *((f"posterior_{each}", [np.log(0.4)]) for each in ("log_variance", "log_var")),
        *((name, []) for name in ("posterior_mean", "marginal_var", "beta")),
    ],
)
def test_beta_is_a_choice_for_the_posterior_s_variance_and_its_logarithm(name, wanted):
    q, said = QUANTITIES[name], "beta_t for the posterior's variance"
    found = [m for m in making.mistakes(q, Conventions()) if m.name == said]
    assert [value(m.of(right(q, Conventions())[0])) for m in found] == pytest.approx(wanted)
    assert {m.rank for m in found} <= {making.DESIGN}


def test_names_are_those_under_any_spread_and_of_numbers_without_them(monkeypatch):
    def mistakes(q, c):
        return [Mistake(f"{q.name} {c.spread}", abs), Mistake("b", abs)]

    monkeypatch.setattr(making, "mistakes", mistakes)
    monkeypatch.setattr(making, "FITTED", [("at most {:.6g}", 1.0, [1.0], abs)])
    monkeypatch.setattr(making, "QUANTITIES", {"a": QUANTITIES["beta"], "b": Q})
    spreads = ("logvar", "std", "var")
    wanted = [f"{name} {spread}" for name in ("beta", "q_sample") for spread in spreads]
    assert making.names() == ["at most k", "b", *wanted]


def test_the_same_name_twice_is_one_in_two_places():
    one, other = Mistake("a", abs), Mistake("b", abs)
    assert making.compose(one, other).name == "a, and b"
    assert making.compose(one, Mistake("a", abs)).name == "a, in two places"

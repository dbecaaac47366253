"""What is returned under each convention, and what is right too."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy.special import ndtr

from dpm_ref import check
from dpm_ref.check.conventions import Conventions
from dpm_ref.check.expressions import Context, Tables, number, value_of
from dpm_ref.check.quantities import (
    ALIASES,
    QUANTITIES,
    Letters,
    _read,
    _times,
    _words,
    accepted,
    kind_of,
    others,
    right,
    undeclared,
)

BETA = np.array([0.1, 0.25, 0.2, 0.4])
T, ABAR = len(BETA), np.cumprod(1 - BETA)
PREV = np.append(1.0, ABAR[:-1])
POST = BETA * (1 - PREV) / (1 - ABAR)
READ = {"var": lambda v: v, "std": np.square, "logvar": np.exp}
WRITE = {"var": lambda v: v, "std": np.sqrt, "logvar": np.log}


def passes(name, function, **conventions):
    check.run({name: function}, **{"beta": BETA, **conventions}).assert_ok()


@pytest.mark.parametrize("spread", READ)
@pytest.mark.parametrize("unit", ["nats", "bits"])
@pytest.mark.parametrize("components", ["sum", "mean", "none"])
def test_results_pass_as_they_are_declared(spread, unit, components):
    declared = {"spread": spread, "unit": unit, "components": components}
    scale = np.log(2) if unit == "bits" else 1.0
    reduced = {"sum": lambda v: v.sum(-1), "mean": lambda v: v.mean(-1), "none": lambda v: v}

    def divergence(mean_q, var_q, mean_p, var_p):
        v, w = READ[spread](var_q), READ[spread](var_p)
        each = 0.5 * (np.log(w / v) + (v + (mean_q - mean_p) ** 2) / w - 1)
        return reduced[components](each) / scale

    def slope(mean_q, var_q, mean_p, var_p):
        v, w = READ[spread](var_q), READ[spread](var_p)
        by_var = 0.5 / w - 0.5 * v / w**2 - 0.5 * (mean_q - mean_p) ** 2 / w**2
        by = {"var": 1.0, "std": 2 * np.sqrt(w), "logvar": w}[spread]
        return by_var * by / scale / (3 if components == "mean" else 1)

    def product(mean, var, y, var_y):
        v, w = READ[spread](var), READ[spread](var_y)
        return WRITE[spread](1 / (1 / v + 1 / w))

    passes("gaussian_kl", divergence, **declared)
    passes("gaussian_kl_grad_var", slope, **declared)
    passes("factor_var", product, **declared)


def test_a_mean_of_the_batch_is_wanted_of_what_is_said_of_the_whole():
    def entropies(x0, t):
        step = 0.5 * np.log(2 * np.pi * np.e * BETA[t - 1])
        before, now = (0.5 * np.log(2 * np.pi * np.e * (1 - a)) for a in (PREV[t - 1], ABAR[t - 1]))
        return x0.shape[1] * (step + before - now), x0.shape[1] * step

    passes("entropy_bounds", entropies)
    row = check.run({"entropy_lower_bound": lambda x0, t: len(x0) * entropies(x0, t)[0]}, beta=BETA)
    assert "sum over the batch for its mean" in row.rows[0].diagnoses


def test_arguments_are_those_that_the_conventions_leave():
    def of(name, **conventions):
        return QUANTITIES[name].arguments(Conventions(**conventions))

    assert of("reverse_step") == (
        "xt",
        "t",
        "output",
        "noise",
        "reverse_var",
    )
    assert of("reverse_step", reverse_var="beta") == ("xt", "t", "output", "noise")
    assert of("reverse_step", reverse_var="beta", own_noise=True) == ("xt", "t", "output")
    assert of("reverse_step", own_noise=True) == ("xt", "t", "output", "reverse_var")
    assert of("lower_bound", reverse_var="posterior") == ("x0", "xs", "means")
    assert of("log_weights", reverse_var="posterior") == ("trajectory", "means", "vars")


def test_arguments_are_of_their_kind():
    kinds = {
        "time": ("t",),
        "nats": ("log_w",),
        "model": ("model",),
        "var": ("var", "var_q", "vars", "reverse_var"),
        "state": ("x0", "noise", "mean", "means"),
    }
    for kind, names in kinds.items():
        assert {kind_of(name) for name in names} == {kind}


def test_names_of_the_catalogue_have_their_arguments_and_equations():
    q = QUANTITIES["posterior_mean"]
    assert (q.every, q.equation, q.kind) == (("x0", "xt", "t"), "Table App.1", "state")
    known = [QUANTITIES[name] for name in ("posterior_mean", "posterior_var", "marginal_mean")]
    assert [(q.first, q.lenient) for q in known] == [(1, True), (2, False), (1, False)]
    assert QUANTITIES["beta"].drawn == "table"
    assert ALIASES["betas"] == ("beta",)
    assert ALIASES["q_posterior"] == ("posterior_mean", "posterior_var", "posterior_log_var")
    assert QUANTITIES["kernel_mean"].summary == "mean of q(x^t | x^{t-1})"
    assert QUANTITIES["vlb_weight"].summary == "weight of |eps - eps_hat|^2 in the bound, t >= 2"


@pytest.mark.parametrize("taken", ["posterior", "beta"])
def test_the_usual_variances_of_the_first_step_pass_with_a_note(taken):
    first = {"posterior": POST[1], "beta": BETA[0]}[taken]

    def term(model, x0, xt, t):
        out, k = model(xt, t), t - 1
        x0_hat = (xt - np.sqrt(1 - ABAR[k]) * out) / np.sqrt(ABAR[k])

        def mean(x):
            kept = np.sqrt(1 - BETA[k]) * (1 - PREV[k])
            return (np.sqrt(PREV[k]) * BETA[k] * x + kept * xt) / (1 - ABAR[k])

        if t > 1:
            return ((mean(x0) - mean(x0_hat)) ** 2).sum(-1) / 2 / POST[k]
        return (0.5 * (np.log(2 * np.pi * first) + (x0 - x0_hat) ** 2 / first)).sum(-1)

    declared = {"reverse_var": "posterior", "decoder": "gaussian"}
    row = check.run({"vlb_term": term}, beta=BETA, **declared).rows[0]
    note = "" if taken == "posterior" else "at the first t the variance is beta_1"
    assert (row.status, row.message) == ("PASS", note)


def test_a_variance_of_the_first_step_clipped_at_1e_20_passes_with_a_note():
    def term(model, x0, xt, t):
        out, k = model(xt, t), t - 1
        off = x0 - (xt - np.sqrt(1 - ABAR[k]) * out) / np.sqrt(ABAR[k])
        if t > 1:
            c0 = np.sqrt(PREV[k]) * BETA[k] / (1 - ABAR[k])
            return (c0**2 * off**2).sum(-1) / 2 / POST[k]
        above = np.where(x0 > 0.999, 1.0, ndtr((off + 1 / 255) / 1e-10))
        below = np.where(x0 < -0.999, 0.0, ndtr((off - 1 / 255) / 1e-10))
        return -np.log(np.maximum(above - below, 1e-12)).sum(-1)

    row = check.run({"vlb_term": term}, beta=BETA, reverse_var="posterior").rows[0]
    assert row.status == "PASS"
    assert row.message.endswith("; at the first t the variance is clipped at 1e-20")


def test_what_is_right_too_is_so_where_it_can_stand():
    def notes(name, **conventions):
        return set(accepted(QUANTITIES[name], Conventions(**conventions)))

    tanh = "the normal distribution function by tanh, as in DDPM's code"
    assert notes("decoder_log_prob") == {tanh, "the mass of a bin clipped at 1e-12"}
    assert notes("decoder_log_prob", decoder="gaussian") == set()
    assert notes("marginal_mean") == notes("reverse_step") == set()
    assert len(notes("nll")) == len(notes("vlb_term")) == 11
    assert len(notes("nll", decoder="gaussian")) == 3


def test_forms_of_a_formula_are_distinct():
    for q in QUANTITIES.values():
        texts = [tree.text for tree in right(q, Conventions())]
        assert len(set(texts)) == len(texts)
        assert len(texts) <= q.formula.count(";") + 1
    forms = right(QUANTITIES["log_snr"], Conventions())
    first, second = "log(abar_t) - log(1 - abar_t)", "log(abar_t / (1 - abar_t))"
    assert [tree.text for tree in forms] == [first, second]


def test_another_choice_of_model_than_is_declared_is_named():
    def mean_of(xt, t, x0):
        k = t - 1
        kept = np.sqrt(1 - BETA[k]) * (1 - PREV[k])
        return (np.sqrt(PREV[k]) * BETA[k] * x0 + kept * xt) / (1 - ABAR[k])

    def sampled(var):
        return lambda xt, t, output, noise: (
            mean_of(xt, t, output) + (t > 1) * np.sqrt(var[t - 1]) * noise
        )

    row = check.run({"p_sample": sampled(POST)}, beta=BETA, reverse_var="posterior").rows[0]
    assert row.diagnoses == ("model='x0', not 'eps' as declared",)
    row = check.run(
        {"p_sample": sampled(BETA)}, beta=BETA, reverse_var="posterior", model="x0"
    ).rows[0]
    assert row.diagnoses == ("reverse_var='beta', not 'posterior' as declared",)
    passes("p_sample", sampled(BETA), reverse_var="beta", model="x0")


# How the catalogue is read

TEXT = """
@ (3) | times
one other third | x0 t>1 | state | of q(x^t | x^0) | log(abar);
    2 * beta
two | xt t? w | var | a variance | post
both = one two
@ DDPM (5) | table
three | t | table | a table | abar
"""


def test_a_catalogue_is_read_line_by_line():
    quantities, aliases = _read(TEXT)
    assert {name: astuple(q)[1:] for name, q in quantities.items()} == {
        "one": ("(3)", "of q(x^t | x^0)", ("x0", "t"), "state", "times", *FORMS, 2, False),
        "two": ("(3)", "a variance", ("xt", "t", "w"), "var", "times", "post", 1, True),
        "three": ("DDPM (5)", "a table", ("t",), "table", "table", "abar", 1, False),
    }
    assert {q.name for q in quantities.values()} == set(quantities)
    assert aliases == {"other": ("one",), "third": ("one",), "both": ("one", "two")}


FORMS = ("log(abar); 2 * beta",)


def test_words_are_read_with_their_arguments():
    text = "plain = x0\n    - xt\nof(a, b) = op(name = a,\n    value = b)"
    assert _words(text) == {
        "plain": ([], "x0 - xt"),
        "of": (["a", "b"], "op(name = a, value = b)"),
    }


def value(node, **inputs):
    return value_of(node, Context(inputs, Tables.exact(BETA), (2, 3), []))


def test_coefficients_and_variance_of_the_posterior_are_those_of_table_app_1():
    s = _times("T")
    root = np.sqrt
    assert {name: value(node) for name, node in vars(s).items()} == pytest.approx(
        {
            **{"beta": 0.4, "alpha": 0.6, "abar": 0.324, "rest": 0.676},
            **{"abar_prev": 0.54, "rest_prev": 0.46, "post": 0.4 * 0.46 / 0.676},
            **{"c0": root(0.54) * 0.4 / 0.676, "c1": root(0.6) * 0.46 / 0.676},
        }
    )
    assert s.post.label == "the posterior's variance"


def test_a_letter_is_a_word_or_an_argument_or_what_it_was_changed_to():
    letters = Letters(QUANTITIES["q_sample"], Conventions(spread="std"), x0=number(7.0))
    assert letters.read(" x0 * noise").text == "7 noise"
    assert letters["var_y"].parts == [("read", "std", 0.0, "t"), ("input", "var_y", 0.0, "t")]
    assert letters["posterior"](letters["s"], number(2.0), number(3.0))[1] is letters["post"]
    assert letters.meaning(["a", "x0"], "a - x0")(number(5.0), number(2.0)).text == "5 - 2"


# Mistakes that are no change in one place

POSTERIOR = "q(x^{t-1}|x^t,x^0)"
OF_ANY_KL = [
    "KL reversed: KL(p || q)",
    "cross-entropy for the divergence",
    "the entropy of q alone for the divergence",
]
OF_THE_POSTERIOR = [
    f"q(x^{{t-1}}|x^0) for {POSTERIOR}",
    f"q(x^t|x^0) for {POSTERIOR}",
    f"x^0 for the mean of {POSTERIOR}",
    f"the forward kernel at x^t for {POSTERIOR}",
]
BOTH = "the mean of both divergences"
DRAWN = ["flipped, where it is drawn anew", "drawn anew with no chance to come out as before"]
WRONG_WAYS = {
    "binomial_prior_kl": [*OF_ANY_KL, "pi_1 taken as 1/2 in the prior alone", BOTH, *DRAWN],
    "kl_term": [
        *OF_ANY_KL,
        "only the means' part of the divergence",
        *OF_THE_POSTERIOR,
        "the mean of both divergences",
        "KL( q || N(0, 1) ), whatever p is",
        "the means' square alone, variances taken as 1",
        "all but the means' part of the divergence once, not for each component",
        f"beta_t for the variance of {POSTERIOR}",
    ],
    "binomial_kl_term": [
        *OF_ANY_KL,
        *OF_THE_POSTERIOR,
        "the kernel transposed in the likelihood of xt",
        "pi_1 for 1 - pi_1 where x^t is 0",
        "the mean of both divergences",
        *DRAWN,
    ],
    "binomial_entropy_lower_bound": [
        *DRAWN,
        "the upper bound for the lower",
        "H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0)",
        "H_q(X^{t-1}|X^0) and H_q(X^t|X^0) exchanged",
    ],
    "mean_from_v": [
        *OF_THE_POSTERIOR,
        "DDIM's step, without noise, for the mean",
        "(2 - sqrt(alpha_t)) xt + beta_t score / 2: a step of the probability flow",
        "(2 - sqrt(alpha_t)) xt + beta_t score: the reverse diffusion of score-based code",
        "(1 + beta_t / 2) xt + beta_t score: an Euler step of the equation",
        *(f"v taken for {kind}" for kind in ("eps", "x0", "mean", "v", "score")),
    ],
    "factor_var": ["variances added"],
    "gaussian_kl_grad_var": [
        "derivative by q's variance",
        "derivative by the standard deviation",
        "derivative by the log variance",
    ],
    "gaussian_kl_grad_mean": [],
}


@pytest.mark.parametrize("name", WRONG_WAYS)
def test_other_ways_are_those_of_the_quantity(name):
    made = others(QUANTITIES[name], Conventions())
    assert [said for said, _ in made] == WRONG_WAYS[name]


def test_other_ways_have_their_own_formulas():
    made = dict(others(QUANTITIES["kl_term"], Conventions()))
    t = np.array([[4]])
    given = {"x0": 0.5, "xt": 0.2, "t": t, "mean": 0.1, "reverse_var": 0.3}
    mean = (np.sqrt(0.54) * 0.4 * 0.5 + np.sqrt(0.6) * 0.46 * 0.2) / 0.676
    var = 0.4 * 0.46 / 0.676

    def kl(m, v, n, w):
        return 3 * 0.5 * (np.log(w / v) + (v + (m - n) ** 2) / w - 1)

    for said, wanted in {
        "KL reversed: KL(p || q)": kl(0.1, 0.3, mean, var),
        "the mean of both divergences": (kl(0.1, 0.3, mean, var) + kl(mean, var, 0.1, 0.3)) / 2,
        "KL( q || N(0, 1) ), whatever p is": kl(mean, var, 0.0, 1.0),
        "the means' square alone, variances taken as 1": 1.5 * (mean - 0.1) ** 2,
        f"q(x^t|x^0) for {POSTERIOR}": kl(np.sqrt(0.324) * 0.5, 0.676, 0.1, 0.3),
        f"beta_t for the variance of {POSTERIOR}": kl(mean, 0.4, 0.1, 0.3),
    }.items():
        assert value(made[said], **given).item() == pytest.approx(wanted)


def test_an_output_taken_for_another_makes_the_mean_of_that():
    made = dict(others(QUANTITIES["mean_from_v"], Conventions()))
    given = {"xt": 0.2, "v": 0.5, "t": np.array([[4]])}

    def mean(x0):
        return (np.sqrt(0.54) * 0.4 * x0 + np.sqrt(0.6) * 0.46 * 0.2) / 0.676

    for kind, wanted in {
        "x0": mean(0.5),
        "eps": mean((0.2 - np.sqrt(0.676) * 0.5) / np.sqrt(0.324)),
        "mean": 0.5,
    }.items():
        assert np.squeeze(value(made[f"v taken for {kind}"], **given)) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("spread", "ways"),
    [
        ("var", {"standard deviation": 2 * 0.8**0.5, "log variance": 0.8}),
        ("std", {"variance": 1.0, "log variance": 0.8}),
        ("logvar", {"variance": 1.0, "standard deviation": 2 * 0.8**0.5}),
    ],
)
def test_a_derivative_by_another_parameter_is_the_chain_rule_s(spread, ways):
    made = dict(others(QUANTITIES["gaussian_kl_grad_var"], Conventions(spread=spread)))
    made.pop("derivative by q's variance")
    given = {"mean_q": 0.0, "mean_p": 0.5, "var_q": WRITE[spread](0.3), "var_p": WRITE[spread](0.8)}
    by_var = (0.5 - (0.5 * 0.3 + 0.5 * 0.25) / 0.8) / 0.8
    assert {said: value(tree, **given) for said, tree in made.items()} == pytest.approx(
        {f"derivative by the {said}": by_var * by for said, by in ways.items()}
    )


def test_letters_that_mean_something_else_do_so_in_every_other_way():
    q = replace(QUANTITIES["kl_term"], formula="beta * kl(posterior(s, x0, xt), (x0, c0))")
    trees = [tree for _, tree in others(q, Conventions(), beta=number(7.0))]
    assert [tree.text[:2] for tree in trees[:-1]] == ["7 "] * 12
    made = dict(others(QUANTITIES["factor_var"], Conventions(), var=number(7.0)))
    assert made["variances added"].text == "7 + var_y"
    made = dict(others(QUANTITIES["mean_from_v"], Conventions(), v=number(7.0)))
    assert made["v taken for mean"].text == "7"


LAST = "silent=True"
MODELS = ["model='x0'", "model='mean'", "model='v'", "model='score'"]


@pytest.mark.parametrize(
    ("declared", "wanted"),
    [
        ({}, ["reverse_var='posterior'", "reverse_var='beta'", *MODELS]),
        ({"reverse_var": "beta"}, ["reverse_var='posterior'", *MODELS]),
        ({"reverse_var": "beta", "silent": False}, ["reverse_var='posterior'", *MODELS, LAST]),
    ],
)
def test_other_choices_than_the_declared_are_those_that_change_the_formula(declared, wanted):
    c = Conventions(**declared)
    made = [said.partition(", not ") for said, _ in undeclared(QUANTITIES["reverse_step"], c)]
    assert [said for said, *_ in made] == wanted
    assert {end for *_, end in made} == {
        f"{getattr(c, said.partition('=')[0])!r} as declared" for said in wanted
    }


def test_letters_that_mean_something_else_do_so_under_other_choices():
    q = replace(QUANTITIES["reverse_step"], formula="output if c.model == 'eps' else -output")
    made = undeclared(q, Conventions(), output=number(7.0))
    assert [tree.text for _, tree in made] == ["-7"] * 4
    q = replace(q, formula="x0 if c.model == 'eps' else number(7.0)")
    assert undeclared(q, Conventions(), x0=number(7.0)) == []


def inputs_of(name, **conventions):
    trees = right(QUANTITIES[name], Conventions(**conventions))
    return {node.name for tree in trees for _, node in tree.walk() if node.op == "input"}


def test_the_decoder_of_a_loop_is_that_of_the_first_step_and_of_a_term_that_of_its_own():
    assert inputs_of("nll") >= {"out_1", "var_1", "x_1"}
    assert not inputs_of("nll") & {"output", "var_t", "xt"}
    assert inputs_of("vlb_term") >= {"output", "var_t", "xt"}
    assert not inputs_of("vlb_term") & {"out_1", "var_1", "x_1"}


def test_a_rule_for_the_variance_replaces_the_variances_of_a_bound_and_not_of_a_path():
    assert "vars" in inputs_of("lower_bound")
    assert "vars" not in inputs_of("lower_bound", reverse_var="posterior")
    assert "vars" in inputs_of("log_weights", reverse_var="posterior")

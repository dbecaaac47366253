"""The verdict on a function, where it is said to be off, and at which inputs."""

import functools
import json
from types import SimpleNamespace

import independent_ddpm
import numpy as np
import pytest

from dpm_ref import check
from dpm_ref.check import judge
from dpm_ref.check.conventions import Conventions, schedule_of
from dpm_ref.check.expressions import number, op
from dpm_ref.check.judge import (
    Row,
    _beside,
    _bounded,
    _clipped,
    _first,
    _fitted,
    _left,
    _likely,
    _mistakes,
    _over,
    _verdict,
)
from dpm_ref.check.mistakes import Mistake, mistakes
from dpm_ref.check.problems import Answer, Problem, Setting, draws
from dpm_ref.check.quantities import QUANTITIES, accepted, right

LOST = "digits lost, as many as in float32"
BETA = np.array([0.1, 0.25, 0.2, 0.4])
T, ABAR = len(BETA), np.cumprod(1 - BETA)
PREV = np.append(1.0, ABAR[:-1])
POST = BETA * (1 - PREV) / (1 - ABAR)
RIGHT = independent_ddpm.Somebody(BETA)


def row_of(name, function, **conventions):
    return check.run({name: function}, **{"beta": BETA, **conventions}).rows[0]


def mean(x0, t):
    return np.sqrt(ABAR[t - 1]) * x0


def entropy(var):
    return (0.5 * np.log(2 * np.pi * np.e * var)).sum(-1)


def kl(mean_q, var_q, mean_p, var_p):
    return (0.5 * (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1)).sum(-1)


# Verdicts


@pytest.mark.parametrize(("off", "status"), [(0.9e-9, "PASS"), (1.1e-9, "PRECISION")])
def test_nine_digits_pass(off, status):
    assert row_of("marginal_mean", lambda x0, t: mean(x0, t) * (1 + off)).status == status


@pytest.mark.parametrize(("off", "status"), [(0.9e-5, "PASS"), (1.1e-5, "PRECISION")])
def test_five_digits_pass_in_float32(off, status):
    row = row_of("marginal_mean", lambda x0, t: mean(x0, t) * (1 + off), dtype="float32")
    assert row.status == status


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_three_percent_are_wrong_however_lossy_the_code(dtype):
    row = row_of("marginal_mean", lambda x0, t: mean(x0, t) * 1.035, dtype=dtype)
    assert row.status == "WRONG"


def test_digits_are_those_of_the_worst_value_relative_to_its_terms():
    row = row_of("marginal_mean", lambda x0, t: mean(x0, t) * (1 + 1e-10 * (t == 3)))
    assert row.digits == pytest.approx(10.0, abs=0.01)
    assert "10.0 digits" in str(row)
    assert row_of("marginal_mean", mean).digits > 15
    row = row_of("beta", BETA.astype(np.float32))
    worst = np.abs(BETA.astype(np.float32) / BETA - 1).max()
    assert row.digits == pytest.approx(-np.log10(worst), abs=0.01)


@pytest.mark.parametrize(
    ("off", "digits", "said"),
    [
        (1e-5, 6.0, "6.0 digits"),
        (1e-5, 6.5, "6.5 digits of its terms"),
        (1e-9, 12.0, "12.0 digits"),
        (1.1e-9, 12.0, "12.0 digits of its terms"),
    ],
)
def test_digits_beyond_those_of_the_value_are_said_to_be_of_its_terms(off, digits, said):
    row = Row("f", "(1)", "PASS", got=1.0 + off, wanted=1.0, digits=digits)
    assert str(row).endswith(f" {said}")


def test_a_row_whose_value_is_infinite_as_wanted_prints_without_a_warning():
    row = Row("f", "(1)", "PASS", got=np.inf, wanted=np.inf, digits=15.9)
    assert str(row).endswith(" 15.9 digits")


def searched(name, got, change):
    """Whether a change that gives these values, infinities and all, is taken for the mistake."""
    where = Setting(BETA, 0.5, (2, 3))
    (inputs,) = draws(QUANTITIES[name], where, np.random.default_rng(0))
    known = Answer(Problem.of(QUANTITIES[name], where, inputs), np.reshape(got, (-1, 1)), "float64")
    with np.errstate(all="ignore"):
        return judge._search([known], judge._near([known], [Mistake("it", change)]))


def test_names_are_not_given_by_infinities_alone_nor_where_all_that_misses_is_no_number():
    endless = [0.5, np.inf, np.inf, np.inf]
    assert searched("abar", [np.inf] * T, lambda tree: number(np.inf)) == ()
    assert searched("posterior_variance", endless, lambda tree: number(np.inf)) == ()

    def rooted(tree):
        root = op("sqrt", tree - 0.6)  # no number from t = 3 on
        return tree + root - root

    assert searched("abar", np.where(ABAR > 0.6, ABAR, np.nan), rooted) == ()
    with np.errstate(all="ignore"):
        logs = np.log(ABAR - 0.6)
    assert searched("abar", logs, lambda tree: op("log", tree - 0.6)) == ("it",)


def test_digits_are_given_to_a_hundredth():
    digits = row_of("beta", BETA.astype(np.float32)).digits
    assert digits == round(digits, 2)


def test_exact_values_have_all_digits_that_float64_has():
    assert row_of("beta", BETA).digits == 15.9


def test_the_shown_value_is_the_one_that_is_furthest_off():
    row = row_of("beta", BETA * [1.5, 1.2, 2.5, 1.9])
    assert row.worst_input == {"T": 4, "t": 3, "beta": BETA.tolist(), "at": [2, 0]}
    assert (row.got, row.wanted) == pytest.approx((0.5, 0.2))
    assert str(row).startswith("WRONG     beta                         Table App.1  beta_t")
    assert "beta_t at t = 3 (T = 4): got 0.5, wanted 0.2; " in str(row)


def test_a_verdict_is_data_and_numbers_that_json_lacks_are_none():
    data = row_of("marginal_mean", lambda x0, t: x0 * np.nan).to_dict()
    assert (data["status"], data["got"], data["diagnoses"]) == ("WRONG", None, [])
    assert json.loads(json.dumps(data, allow_nan=False))["name"] == "marginal_mean"
    data = row_of("sample_step", lambda m, v, n: m + v * n).to_dict()
    assert isinstance(data["got"], float)
    assert data["diagnoses"][0] == "var without its root"
    assert row_of("gaussian_entropy", lambda var: 1 / 0).to_dict()["digits"] is None


def test_diagnoses_are_said_after_what_was_got():
    said = str(row_of("sample_step", lambda m, v, n: m - np.sqrt(v) * n))
    assert "; looks like: sign of the noise flipped" in said
    said = str(row_of("beta", BETA.astype(np.float32)))
    assert said.endswith("digits agree; the result comes in float32; declare dtype='float32'?")
    assert "looks like" not in said
    assert str(row_of("beta", lambda t: None)).endswith("floating-point numbers are wanted")
    assert str(row_of("beta", BETA)).endswith(" 15.9 digits")
    assert "digits" not in str(row_of("beta", 3 * BETA))


def test_fewer_than_no_digits_are_none():
    row = row_of("gaussian_entropy", lambda v: entropy(np.maximum(v, 1e-5)))
    assert row.status == "PRECISION"
    assert "; 0.0 digits agree; " in str(row)
    assert row.digits < 0


def test_a_right_step_with_a_fixed_variance_passes_without_a_note():
    def step(xt, t, output, noise):
        x0 = (xt - np.sqrt(1 - ABAR[t - 1]) * output) / np.sqrt(ABAR[t - 1])
        k = t - 1
        mean = np.sqrt(PREV[k]) * BETA[k] * x0 + np.sqrt(1 - BETA[k]) * (1 - PREV[k]) * xt
        return mean / (1 - ABAR[k]) + (t > 1) * np.sqrt(POST[k]) * noise

    row = row_of("p_sample", step, reverse_var="posterior")
    assert (row.status, row.message) == ("PASS", "")


def test_a_mistake_beside_lost_digits_is_said_to_be_beside_them():
    def wrong(x0, xt, t):
        abar, k = np.float32(ABAR), t - 1
        prev, beta = np.append(np.float32(1), abar[:-1]), np.float32(BETA)
        x0, xt = np.float32(x0), np.float32(xt)
        mean = np.sqrt(prev[k]) * beta[k] * xt + np.sqrt(1 - beta[k]) * (1 - prev[k]) * x0
        return np.float64(mean / (1 - abar[k]))

    row = row_of("posterior_mean", wrong)
    assert (row.status, row.diagnoses[0]) == ("WRONG", "x0 and xt swapped")
    assert row.message == "and digits are lost"


def test_two_mistakes_are_named_as_a_pair_whether_they_add_up_or_multiply():
    row = row_of("sample_step", lambda m, v, n: m + 0.5 * v * n)
    assert "half of the noise only, and var without its root" in row.diagnoses
    row = row_of("sample_step", lambda m, v, n: 2 * m - np.sqrt(v) * n)
    assert row.diagnoses == ("mean counted twice, and sign of the noise flipped",)
    row = row_of("marginal_mean", lambda x0, t: -ABAR[t - 1] * x0)
    assert len(row.diagnoses) > 0
    assert all("sign" in said and ", and " in said for said in row.diagnoses)


def probe(name, wrong):
    """The answer of a wrong function at its first inputs."""
    setting = Setting(BETA, 0.5, (5, 3), Conventions())
    inputs = next(draws(QUANTITIES[name], setting, np.random.default_rng(1)))
    problem = Problem.of(QUANTITIES[name], setting, inputs)
    return Answer(
        problem, wrong(**{name: inputs[name] for name in QUANTITIES[name].every}), "float64"
    )


ADD_UP = probe("sample_step", lambda mean, var, noise: 2 * mean - np.sqrt(var) * noise)
MULTIPLY = probe("marginal_mean", lambda x0, t: -2 * np.sqrt(ABAR[t - 1]) * x0)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (ADD_UP, {"mean counted twice", "sign of the noise flipped"}),
        (MULTIPLY, {"twice as large: a factor 1/2 is missing, or a 2 too many", "sign flipped"}),
    ],
)
@np.errstate(all="ignore")
def test_pairs_whose_changes_add_up_or_multiply_are_tried_first_and_then_all(answer, names):
    tried = list(_likely([answer]))
    a, b = tried[0]
    assert {a.name, b.name} == names
    known = {id(each) for pair in tried for each in pair}
    every = tried[-len(known) * (len(known) - 1) // 2 :]
    assert len(every) == len(known) * (len(known) - 1) // 2
    assert len(tried) - len(every) < 5
    assert len({frozenset(map(id, pair)) for pair in every}) == len(every)
    ranks = [a.rank + b.rank for a, b in every]
    assert np.mean(ranks[:50]) < np.mean(ranks[-50:])


def test_another_design_is_named_alone_whatever_else_it_can_be_made_by():
    row = row_of("posterior_variance", BETA)
    assert row.diagnoses == ("beta_t for the posterior's variance",)


def test_two_conventions_kept_otherwise_are_named_where_digits_are_lost_too():
    def bits_and_mean(var):
        return np.float64((0.5 * np.log2(2 * np.pi * np.e * np.float32(var))).mean(-1))

    row = row_of("gaussian_entropy", bits_and_mean)
    assert row.diagnoses == (
        "log2 for ln: bits where nats are declared, and mean over components where the sum is "
        "declared",
    )
    assert (row.status, row.message) == ("WRONG", "")


def test_no_mistake_is_paired_with_itself():
    row = row_of("marginal_mean", lambda x0, t: 4 * mean(x0, t))
    assert row.message.endswith("got is wanted times 4")


def test_a_pair_is_named_beside_no_number_at_the_ends_of_the_range_alone():
    def wrong(limit):
        return lambda m, v, n: np.where(v > limit, np.nan, 2 * m - np.sqrt(v) * n)

    row = row_of("sample_step", wrong(1e5))
    assert row.diagnoses == ("mean counted twice, and sign of the noise flipped",)
    assert row.message.startswith(
        "returns nan in 3 of 75 values at the ends of the range only: mean"
    )
    assert row_of("sample_step", wrong(2.0)).diagnoses == ()


def test_one_component_is_the_first_and_the_last_and_not_said_to_be():
    row = row_of(
        "marginal_mean", lambda x0, t: mean(x0, t) * np.where(x0 > 2, 1.31, 1.3), shape=(5, 1)
    )
    assert "component" not in row.message
    first = lambda x0, t: mean(x0, t) + [0.1, 0.0] * (1 + x0**2)  # noqa: E731
    row = row_of("marginal_mean", first, shape=(5, 2))
    assert row.message.endswith("in the first component only")


def test_a_result_of_nothing_but_nan_is_given_no_diagnosis():
    row = row_of("log_snr", lambda t: np.log(-BETA[t - 1]))
    assert (row.status, row.diagnoses) == ("WRONG", ())
    assert row.message == "returns nan in 8 of 8 values, first at t = 1"  # asked for on two batches


# Where it is off

PLACES = {
    "at t = 1 only": lambda t, at: t == 1,
    "at t = 2 only": lambda t, at: t == 2,
    "at t = T only": lambda t, at: t == T,
    "at every t but t = 1": lambda t, at: t != 1,
    "at every t but t = 2": lambda t, at: t != 2,
    "at every t but t = T": lambda t, at: t != T,
    "in the first component only": lambda t, at: at == 0,
    "in the last component only": lambda t, at: at == at[-1],
    "in all but the first component": lambda t, at: at != 0,
    "in all but the last component": lambda t, at: at != at[-1],
    "in 2 of 3 values": lambda t, at: (at % 3 == 0) | (t == 3),
    "everywhere": lambda t, at: True,
}


@pytest.mark.parametrize("place", PLACES)
def test_the_place_of_a_deviation_is_told(place):
    counts = []

    def wrong(x0, t):
        off = PLACES[place](t, np.arange(x0.shape[-1]))
        counts.append(np.broadcast_to(off, x0.shape))
        return mean(x0, t) + 0.1 * off * (1 + x0**2)

    row = row_of("marginal_mean", wrong)
    if "values" in place:
        counts = counts[: len(counts) // 2]
        size = sum(each.size for each in counts)
        place = f"in {sum(each.sum() for each in counts)} of {size} values"
    assert row.message == f"no known mistake, nor two; deviates {place}"


def test_the_place_of_a_deviation_is_counted_as_the_user_counts():
    def wrong(place):
        return lambda x0, t: mean(x0, t + 1) + 0.1 * (t == place) * (1 + x0**2)

    for place, said in ((0, "at t = 0 only"), (1, "at t = 1 only"), (3, "at t = T - 1 only")):
        row = row_of("marginal_mean", wrong(place), first_t=0)
        assert row.message.endswith(said)
        assert row.worst_input["t"] == place


def test_a_deviation_at_the_ends_of_the_range_alone_is_placed_there():
    row = row_of("gaussian_entropy", lambda v: entropy(v) + (v.max() > 1e5))
    assert row.message == (
        "no known mistake, nor two; deviates at the ends of the range only: certainty, tiny or "
        "huge variances, x far out"
    )


def test_no_number_at_the_ends_of_the_range_is_told_with_its_inputs():
    row = row_of("gaussian_entropy", lambda v: entropy(v) * np.where(v.max() > 1e5, np.inf, 1))
    assert row.message == (
        "returns inf in 5 of 25 values at the ends of the range only: "
        f"var = {row.worst_input['var']}"
    )
    assert len(row.worst_input["var"]) == 3


def test_no_number_at_one_time_is_placed_and_counted():
    half = lambda x0, t: mean(x0, t) * np.where(x0 > 0, 1, np.nan ** (t > 2))  # noqa: E731
    row = row_of("marginal_mean", half)
    assert "returns nan in " in row.message
    assert row.message.endswith("values, first at t = 3")
    row = row_of("marginal_mean", lambda x0, t: mean(x0, t + 1) * np.nan ** (t > 1), first_t=0)
    assert row.message.endswith("values, first at t = 2")


@pytest.mark.parametrize("t_shape", ["scalar", "batch"])
def test_no_number_in_a_sum_over_components_is_placed_too(t_shape):
    def kl_term(x0, xt, t, mean, var):
        return x0.sum(-1) * np.nan

    row = row_of("kl_term", kl_term, t_shape=t_shape)
    assert row.message.endswith("values, first at t = 2")


def test_a_fit_that_meets_tables_without_numbers_prints_nothing(capfd):
    beta = schedule_of(beta=("linear", 40))
    abar, q = np.cumprod(1 - beta), QUANTITIES["posterior_mean"]

    def exchanged(x0, xt, t):
        return np.sqrt(1 - beta[t - 1]) * (beta[t - 1] / (1 - abar[t - 1]) * xt + x0)

    for seed in (2, 3):
        known = []
        for shape in ((5, 3), (3, 7)):
            s = Setting(beta, 0.5, shape, Conventions(dtype="float32"))
            for inputs in draws(q, s, np.random.default_rng(seed)):
                got = np.float32(exchanged(inputs["x0"], inputs["xt"], inputs["t"]))
                known.append(Answer(Problem.of(q, s, inputs), np.float64(got), "float32"))
        with np.errstate(all="ignore"):
            assert len(list(_fitted(known))) == 7
    assert capfd.readouterr() == ("", "")


def scaled(calls):
    """A mistake with numbers: their product times what is right; none below 0.1."""

    def made(numbers):
        calls.append(tuple(numbers.tolist()))
        if min(numbers) < 0.1:
            raise ValueError
        return Mistake(f"times {np.prod(numbers):.3f}", lambda tree: float(np.prod(numbers)) * tree)

    return made


@pytest.mark.parametrize(
    ("name", "off", "starts", "found"),
    [
        ("abar", [0.3] * 4, [(0.9, 0.2, 0.8)], True),
        ("abar", [1, 1, 0.3, 0.3], [(0.9, 0.2, 0.8)], True),
        ("abar", [1, 1, 1, 0.3], [(0.9, 0.2, 0.8)], False),  # any number explains one value
        ("abar", [1, 1, 1, 0.3], [(0.9, 0.2), (0.8,)], True),
        ("abar_prev", [1, 1, 1, 0.3], [(0.9, 0.2, 0.8)], True),
        ("abar", [0.3] * 4, [(0.05,)], False),
    ],
)
def test_numbers_in_a_mistake_are_fitted_from_the_best_start(monkeypatch, name, off, starts, found):
    calls, table = [], {"abar": ABAR, "abar_prev": PREV}[name]
    skipped = [(0.5,)], (0.0, 1.0), None
    tried = starts, (0.01, 1.0), scaled(calls)
    several = [skipped] * (off == [1, 1, 1, 0.3] and name == "abar")
    monkeypatch.setattr(judge, "fitted", lambda beta: iter([*several, tried]))
    answer = probe(name, lambda t: (table * off)[t - 1])
    best = (table**2 * off).sum() / (table**2).sum()
    assert [m.name for m in _fitted([answer])] == [f"times {best:.3f}"] * found
    if found:
        size = int(np.prod([len(each) for each in starts]))
        costs = [abs(np.prod(start) - best) for start in calls[:size]]
        assert calls[size] == calls[int(np.argmin(costs))]


def test_constants_are_not_tried_where_it_would_take_minutes():
    def clipped(T):
        setting = Setting(np.full(T, 0.01), 0.5, (2, 2), Conventions())
        inputs = next(draws(QUANTITIES["log_weights"], setting, np.random.default_rng(1)))
        problem = Problem.of(QUANTITIES["log_weights"], setting, inputs)
        return _clipped([Answer(problem, problem.wanted, "float64")])

    assert list(clipped(101)) == []
    assert next(clipped(3))


def test_an_infinity_is_a_value_where_one_is_wanted():
    def log_mean(log_w):
        return np.logaddexp.reduce(log_w) - np.log(len(log_w))

    assert row_of("log_likelihood", log_mean).status == "PASS"
    finite = row_of("log_likelihood", lambda log_w: log_mean(log_w).clip(-1e4))
    assert (finite.status, finite.wanted) == ("WRONG", -np.inf)


@pytest.mark.parametrize("change", [1.3, 0.75])
def test_a_constant_factor_is_told(change):
    row = row_of("marginal_mean", lambda x0, t: mean(x0, t) * change)
    assert row.message.endswith(f"deviates everywhere; got is wanted times {change}")


def test_a_constant_factor_of_any_part_is_told():
    row = row_of("sample_step", lambda mean, var, noise: mean + 0.01 * np.sqrt(var) * noise)
    assert row.message.endswith("; got is wanted with the noise times 0.01")


def test_a_constant_offset_is_told():
    row = row_of("gaussian_entropy", lambda v: entropy(v) - 0.3)
    assert row.message.endswith("deviates everywhere; got is wanted plus -0.3")


def test_a_constant_offset_is_told_though_the_ends_of_the_range_have_another():
    row = row_of("gaussian_entropy", lambda v: entropy(v) - np.where(v.max() > 1e5, 0.7, 0.3))
    assert row.message.endswith("got is wanted plus -0.3")


def test_a_factor_is_told_though_one_entry_is_not_compared():
    weight = 0.5 * BETA**2 / np.append(1.0, POST[1:]) / (1 - BETA) / (1 - ABAR)
    row = row_of("vlb_weight", 1.3729 * weight, reverse_var="posterior")
    assert row.message.endswith("got is wanted times 1.3729")


def test_a_factor_of_three_values_or_fewer_is_not_told():
    def message(beta):
        return check.run({"beta": 1.3729 * np.array(beta)}, beta=beta).rows[0].message

    assert "got is wanted" not in message([0.3])
    assert message([0.3, 0.4]).endswith("deviates everywhere; got is wanted times 1.3729")


def test_a_factor_that_is_not_constant_is_not_told():
    row = row_of("marginal_mean", lambda x0, t: mean(x0, t) * np.where(x0 > 2, 1.31, 1.3))
    assert row.message.endswith("deviates everywhere")


# A call that failed among others


def test_a_call_that_fails_is_placed_among_those_that_do_not():
    row = row_of("marginal_mean", lambda x0, t: mean(x0, t) / (1 if t != 3 else None))
    assert row.message.endswith("called as marginal_mean(x0, t) at t = 3 of 4")
    assert row.worst_input == {"T": 4, "t": 3, "beta": BETA.tolist()}
    assert (row.got, row.wanted) == (None, None)
    row = row_of("marginal_mean", lambda x0, t: mean(x0, t + 1) / (t != 3 or None), first_t=0)
    assert row.message.endswith("at t = 3 of 3")


def test_a_call_that_fails_on_a_batch_of_one_is_placed_too():
    row = row_of("marginal_mean", lambda x0, t: mean(x0, t) / (t != 3 or None), shape=(1, 3))
    assert row.worst_input["t"] == 3


def test_times_of_a_batch_that_fails_are_told():
    def fails(x0, t):
        if t[0] == 1:
            raise RuntimeError("one")
        return np.sqrt(ABAR[t - 1])[:, None] * x0

    row = row_of("marginal_mean", fails, t_shape="batch")
    assert row.message.startswith("raises RuntimeError: one at t among [1, ")
    assert row.message.endswith("] of 4")


def test_a_failure_without_times_or_of_every_call_has_no_place():
    row = row_of("gaussian_entropy", lambda v: entropy(v) / (1 if v.max() < 1e5 else None))
    assert row.message.endswith("called as gaussian_entropy(var)")
    row = row_of("marginal_mean", lambda x0, t: x0 / None)
    assert row.message.endswith("called as marginal_mean(x0, t)")


# At which input


def test_the_inputs_of_a_single_value_are_shown():
    def posterior_mean(x0, xt, t):
        return RIGHT.posterior_mean(x0, xt, t)

    row = row_of("posterior_mean", lambda x0, xt, t: posterior_mean(xt, x0, t))
    i = {name: row.worst_input[name] for name in ("x0", "xt", "t")}
    assert row.wanted == pytest.approx(posterior_mean(**i))
    assert row.got == pytest.approx(posterior_mean(i["xt"], i["x0"], i["t"]))


def test_the_inputs_of_a_row_are_shown():
    row = row_of("gaussian_kl", lambda *a: -kl(*a))
    inputs = {name: np.array(v) for name, v in row.worst_input.items() if name != "at"}
    assert row.wanted == pytest.approx(kl(**inputs))
    assert row.got == pytest.approx(-kl(**inputs))
    assert "T" not in row.worst_input
    assert "beta" not in row.worst_input


def test_weights_of_zero_are_shown_in_words():
    row = row_of("log_likelihood", lambda log_w: np.zeros(log_w.shape[1]) + log_w.max(0).clip(0))
    assert "-inf" in row.worst_input["log_w"]


def test_the_weights_of_a_vector_are_shown():
    def log_mean(log_w):
        return np.logaddexp.reduce(log_w) - np.log(len(log_w))

    row = row_of("log_likelihood", lambda log_w: log_mean(log_w) + 0.1 * (log_w[0] > -1))
    shown = np.array(row.worst_input["log_w"])
    assert row.wanted == pytest.approx(log_mean(shown[:, None])[0])


def test_large_inputs_are_shown_by_their_shape_and_long_schedules_not_at_all():
    long = np.full(17, 0.1)
    row = row_of("eq14", lambda *a: None, beta=long)
    assert row.worst_input == {"T": 17}
    row = row_of("eq14", lambda *a: None, beta=long[1:])
    assert row.worst_input == {"T": 16, "beta": long[1:].tolist()}
    for shape, shown in (((13, 5), ()), ((8, 8), (8, 8))):
        row = row_of(
            "entropy_lower_bound", lambda x0, t: -RIGHT.entropy_lower_bound(x0, t), shape=shape
        )
        assert row.diagnoses[0] == "sign flipped"
        assert np.shape(row.worst_input["x0"]) == shown
        assert shown or row.worst_input["x0"] == "array of shape (13, 5)"


def test_the_time_of_a_result_for_the_whole_batch_is_shown():
    row = row_of("entropy_lower_bound", lambda x0, t: -RIGHT.entropy_lower_bound(x0, t))
    assert row.wanted == pytest.approx(
        RIGHT.entropy_lower_bound(np.array(row.worst_input["x0"]), row.worst_input["t"])
    )


# What a PASS does not say

FIRST = {
    "the exact value": 0.0,
    "the next value": POST[1],
    "beta_1": BETA[0],
    "1 - abar_T, by index -1,": 1 - np.prod(1 - BETA),
    "0.3": 0.3,
    "1e-20": 1e-20,
}


def test_what_stands_there_is_compared_over_the_same_schedule():
    def functions(beta):
        abar = np.cumprod(1 - beta)
        var = beta[1:] * (1 - abar[:-1]) / -np.expm1(np.cumsum(np.log1p(-beta)))[1:]
        return {"posterior_variance": np.append(beta[0], var)}

    row = check.run(functions).rows[0]
    assert row.message.startswith("t = 1 not compared: beta_1 stands there")


@pytest.mark.parametrize("said", FIRST)
def test_what_stands_at_a_posterior_table_s_free_entry_is_told(said):
    row = row_of("posterior_variance", np.append(FIRST[said], POST[1:]))
    assert (row.status, row.message) == ("PASS", f"t = 1 not compared: {said} stands there")


def test_what_stands_at_a_log_variance_s_free_entry_is_told_as_a_logarithm():
    row = row_of("posterior_log_variance", np.log(np.append(BETA[0], POST[1:])))
    assert row.message == "t = 1 not compared: beta_1 stands there"
    row = row_of("posterior_log_variance", np.log(np.append(1e-20, POST[1:])), first_t=0)
    assert row.message == "t = 0 not compared: -46.0517 stands there"


def test_a_first_step_that_is_infinite_or_not_asked_for_is_told():
    weight = 0.5 * (PREV / np.append(1.0, 1 - PREV[1:]) - ABAR / (1 - ABAR))
    row = row_of("vlb_weight_x0", weight)
    assert (row.status, row.message) == ("PASS", "t = 1 not compared: infinite")

    def posterior_log_var(x0, xt, t):
        return np.log(POST[t]) + 0 * x0

    row = row_of("posterior_log_var", posterior_log_var, first_t=0)
    assert (row.status, row.message) == ("PASS", "t = 0 not compared")
    assert row_of("marginal_mean", mean).message == ""
    assert row_of("gaussian_entropy", entropy).message == ""


# Lost digits


def test_arithmetic_in_float32_is_told_and_whether_terms_cancel():
    def single(function):
        return lambda *a: np.float64(function(*map(np.float32, a)))

    row = row_of("gaussian_entropy", single(entropy))
    assert (row.status, row.diagnoses) == ("PRECISION", ("computed in float32",))
    assert row_of("gaussian_kl", single(kl)).diagnoses == ("computed in float32",)


def test_tables_that_give_no_number_explain_no_lost_digits():
    beta = np.array([1e-9, 1e-9])
    snr = 1 / np.cumsum(beta)
    weight = 0.5 * (np.append(np.inf, snr[:-1]) - snr)
    row = row_of("vlb_weight_x0", weight * (1 + 3e-9), beta=beta)
    assert (row.status, row.diagnoses) == ("PRECISION", (LOST,))


def test_a_result_rounded_to_float32_is_no_more_than_that():
    row = row_of("marginal_mean", lambda x0, t: mean(x0, t).astype(np.float32))
    assert (row.status, row.diagnoses) == ("PRECISION", ("the result comes in float32",))
    assert row.message == "declare dtype='float32'?"


def test_float32_that_is_handed_back_as_float64_is_told_by_its_digits():
    row = row_of("marginal_mean", lambda x0, t: np.float64(np.float32(mean(x0, t))))
    assert row.status == "PRECISION"
    assert any("float32" in said for said in row.diagnoses)


# What is found out without the list of mistakes, and beside other decoders


def compared(wanted, got, *, end=False):
    """An answer of numbers alone."""
    problem = SimpleNamespace(wanted=np.array(wanted, dtype=float), end=end, trees=[number(0)])
    problem.quantity, problem.conventions = "a quantity", Conventions()
    problem.value = lambda tree: problem.wanted + tree.value
    made = SimpleNamespace(problem=problem, got=np.array(got, dtype=float), dtype="float64")
    made.defined, made.allowed, made.blurred = np.full(made.got.shape, True), 1e-9, 1e-7
    made.reproduced = functools.partial(Answer.reproduced, made)
    return made


TEN = np.arange(10.0)


def bounded(known, monkeypatch):
    """What is said where one mistake alone is known, for answers of numbers alone."""
    one = {("a quantity", Conventions()): [Mistake("one more", lambda tree: number(1))]}
    monkeypatch.setattr(judge, "mistakes", lambda q, c: one[q, c])
    return _bounded(known)


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [
        (2, np.inf, "clipped to [2, inf]"),
        (-np.inf, 7, "clipped to [-inf, 7]"),
        (2, 7, "clipped to [2, 7]"),
        (6, 8, "clipped to [6, 8]"),
        (1, np.inf, ""),  # two values alone meet the bound
        (-np.inf, np.inf, ""),
        (8, np.inf, ""),  # nothing between the bounds
    ],
)
def test_a_bound_that_several_values_meet_is_told(monkeypatch, least, most, said):
    known = [compared(TEN, TEN.clip(least, most))]
    assert bounded(known, monkeypatch) == ((said,) if said else ())


def test_a_mistake_under_a_bound_is_told_with_it(monkeypatch):
    known = [compared(TEN, (TEN + 1).clip(4) + 0.9e-7)]
    assert bounded(known, monkeypatch) == ("one more, and clipped to [4, inf]",)
    assert bounded([compared(TEN, (TEN + 1).clip(4) + 1.1e-7 * (TEN > 4))], monkeypatch) == ()


def test_a_bound_is_met_more_than_twice_in_each_call(monkeypatch):
    assert bounded([compared(TEN, TEN.clip(2))] * 2, monkeypatch) == ("clipped to [2, inf]",)
    assert bounded([compared(TEN, TEN.clip(1))] * 2, monkeypatch) == ()


def test_what_is_clipped_and_then_changed_is_not_called_clipped(monkeypatch):
    assert bounded([compared(TEN, 2 * TEN.clip(3))], monkeypatch) == ()
    assert bounded([compared(TEN, TEN.clip(3)), compared(TEN, TEN.clip(4))], monkeypatch) == ()


def test_infinities_and_the_ends_of_the_range_are_no_bounds(monkeypatch):
    least = np.r_[[-np.inf] * 3, TEN]
    assert bounded([compared(least, least)], monkeypatch) == ()
    ends = compared([-3, -2, -1, 0], [0, 0, 0, 0], end=True)
    assert bounded([compared(TEN, TEN), ends], monkeypatch) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x / 255, "divided by 255"),
        (lambda x: x / 2.5, "times 0.4"),
        (lambda x: x / -4, "times -0.25"),
        (lambda x: 1.5 * x, "times 1.5"),
        (lambda x: 1e7 * x, "times 1e+07"),
        (lambda x: 0 * x, "times 0"),
        (lambda x: x + 0.25, "plus 0.25"),
    ],
)
@np.errstate(all="raise")
def test_a_factor_of_one_over_a_whole_number_is_a_division(monkeypatch, change, said):
    monkeypatch.setattr(judge, "doubled", lambda tree: {})
    answer = compared(1 + TEN, change(1 + TEN))
    assert judge._relation([answer]) == f"; got is wanted {said}"


@pytest.mark.parametrize(
    ("first_t", "off", "said"),
    [
        (1, [0, 0, 1], "at t = T only"),
        (0, [0, 0, 1], "at t = T - 1 only"),
        (1, [1, 0, 1], "at every t but t = 2"),
        (1, [1, 1, 1], "everywhere"),
    ],
)
def test_a_deviation_is_placed_by_its_time(first_t, off, said):
    answer = compared(np.ones((3, 2)), 1 + 0.1 * np.array(off)[:, None] * [1, 1])
    answer.problem.quantity = SimpleNamespace(every=("t",))
    answer.problem.conventions = Conventions(first_t=first_t)
    answer.problem.inputs, answer.problem.tables = {"t": np.c_[1:4]}, SimpleNamespace(T=3)
    answer.misses = answer.got > 1
    assert judge._where([answer]) == said
    answer.misses[:, 0] = [True, False, False]
    answer.misses[:, 1] = [False, True, False]
    assert judge._where([answer]) == "in 2 of 6 values"


def test_what_a_formula_leaves_is_summed_as_squares_and_at_most():
    answer = compared(TEN, TEN + 3e-9 * (TEN < 3))
    assert _left([answer], number(0)) == pytest.approx((27.0, 3.0))


def beside_tanh(name):
    """Bins by tanh, with this mistake."""
    c = Conventions()
    q, s = QUANTITIES["decoder_log_prob"], Setting(BETA, 0.5, (5, 3), c)
    problems = [Problem.of(q, s, i) for i in draws(q, s, np.random.default_rng(3))]
    made = next(m for m in mistakes(q, c, cdf="tanh") if m.name == name)
    over = [p.over(right(q, c, cdf="tanh")) for p in problems]
    return [
        Answer(p, o.value(made.of(o.trees[0])), "float64")
        for p, o in zip(problems, over, strict=True)
    ]


@np.errstate(all="ignore")
def test_a_mistake_is_found_beside_a_decoder_of_another_form():
    name = "bins twice as wide: 1/127.5 for 1/255"
    answers = beside_tanh(name)[:1]
    ((note, changed), *_) = accepted(answers[0].problem.quantity, Conventions()).items()
    meant = {"": answers, note: _over(answers, changed)}
    assert _first(meant, {"": [], **_beside(meant)}) == (name,)
    every = _mistakes(meant[note], note)
    assert list(judge._near(meant[note], every))
    assert not list(judge._near(meant[note], every, seconds=-1e-9))
    assert _beside({"": answers}) == {}
    assert _first({}, {}) == ()


@np.errstate(all="ignore")
def test_beside_another_form_digits_may_be_lost_only_where_that_is_said():
    (answer,) = beside_tanh("bins twice as wide: 1/127.5 for 1/255")[:1]
    off = Answer(answer.problem, answer.got * (1 + 3e-7), "float64")
    ((note, changed), *_) = accepted(answer.problem.quantity, Conventions()).items()
    meant = {"": [off], note: _over([off], changed)}
    assert _first(meant, _beside(meant)) == ()
    assert _first(meant, _beside(meant), loose=True)


@np.errstate(all="ignore")
def test_of_mistakes_of_one_name_the_nearest_counts(monkeypatch):
    answers = beside_tanh("bins twice as wide: 1/127.5 for 1/255")[:1]
    ((note, changed), *_) = accepted(answers[0].problem.quantity, Conventions()).items()
    meant = {"": answers, note: _over(answers, changed)}
    near, mid, far = (
        Mistake(name, lambda tree, by=by: tree + by)
        for name, by in (("it", 1e-3), ("other", 0.1), ("it", 10.0))
    )
    new = Mistake("new", lambda tree: tree)
    of = {"": [near, far, mid], note: [new, mid, near]}
    monkeypatch.setattr(judge, "_mistakes", lambda known, note: of[note])
    monkeypatch.setattr(judge, "_near", lambda known, candidates: candidates)
    monkeypatch.setattr(judge, "NEAREST", 1)
    meant[note] = [Answer(c.problem, c.problem.wanted, "float64") for c in meant[note]]
    assert _beside(meant)[note] == [near]


@np.errstate(all="ignore")
def test_beside_another_form_the_nearest_are_tried_and_the_plausible_first(monkeypatch):
    name = "bins twice as wide: 1/127.5 for 1/255"
    answers = beside_tanh(name)[:1]
    changed = accepted(answers[0].problem.quantity, Conventions())
    meant = {"": answers} | {note: _over(answers, to) for note, to in changed.items()}
    monkeypatch.setattr(judge, "_near", lambda known, candidates: candidates)
    for most in (1, 40):
        monkeypatch.setattr(judge, "NEAREST", most)
        tried = _beside(meant)
        assert list(tried) == list(changed)
        for found in tried.values():
            assert len(found) == most
            assert name in [m.name for m in found]
            assert [m.rank for m in found] == sorted(m.rank for m in found)
    assert {m.rank for m in found} != {m.rank for m in found[:1]}


def test_mistakes_beside_another_form_are_those_of_its_formula():
    q, c = QUANTITIES["decoder_log_prob"], Conventions()
    problem = next(iter(beside_tanh("bins twice as wide: 1/127.5 for 1/255"))).problem
    for note, changed in {"": {}, **accepted(q, c)}.items():
        made = _mistakes([Answer(problem, problem.wanted, "float64")], note)
        assert made is mistakes(q, c, **changed)


@pytest.mark.parametrize(("units", "status"), [(1.5, "PASS"), (2.5, "PRECISION")])
@np.errstate(all="ignore")
def test_another_form_passes_with_twice_the_room_on_the_scale_of_the_usual_one(units, status):
    answers = []
    for each in beside_tanh("bins twice as wide: 1/127.5 for 1/255"):
        over = each.problem.over(right(QUANTITIES["decoder_log_prob"], Conventions(), cdf="tanh"))
        got = over.wanted + units * Answer(over, over.wanted, "float64").allowed
        answers.append(Answer(each.problem, got, "float64"))
    assert _verdict(answers)[0] == status


@pytest.mark.parametrize(("off", "status"), [(1e-4, "PRECISION"), (1e-3, "WRONG")])
def test_another_form_loses_no_more_digits_than_float32_may(off, status):
    def cdf(x):
        return 0.5 + 0.5 * np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))

    def decoder(x0, mean, var):
        std = np.sqrt(var)
        low, high = ((x0 + side / 255 - mean) / std for side in (-1, 1))
        low, high = (
            0.5 + 0.5 * np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)) for x in (low, high)
        )
        mass = np.where(x0 < -0.999, high, np.where(x0 > 0.999, 1 - low, high - low))
        return (np.log(np.maximum(mass, 1e-12)) * (1 + off)).sum(-1)

    assert row_of("decoder_log_prob", decoder).status == status


def test_a_mistake_in_float32_is_named_without_a_word_on_lost_digits():
    single = ABAR.astype(np.float32)
    row = row_of("marginal_mean", lambda x0, t: single[t - 1] * x0, dtype="float32")
    assert "abar_t without its root" in row.diagnoses
    assert row.message == ""


def test_a_number_in_a_mistake_is_found_though_digits_are_lost():
    single = (0.99 * ABAR).astype(np.float32)
    row = row_of("alphas_cumprod", single.astype(np.float64))
    assert row.diagnoses == ("the product has a factor 0.99 too many",)
    assert row.message == "and digits are lost"


# Small parts and small changes, in float64 throughout


def test_a_change_below_the_digits_of_float32_is_named_where_all_is_float64():
    beta = np.full(4, 1e-8)
    abar = np.cumprod(1 - beta)
    row = row_of("marginal_mean", lambda x0, t: abar[t - 1] * x0, beta=beta)
    assert row.status == "WRONG"
    assert "abar_t without its root" in row.diagnoses
    row = row_of("marginal_mean", lambda x0, t: abar[t - 1] * x0, beta=beta, dtype="float32")
    assert row.status == "PASS"
    noise = 1 + 1e-8 * np.sin(np.arange(99))

    def lossy(x0, t):
        return np.sqrt(abar[t - 1]) * x0 * noise[: x0.size].reshape(x0.shape)

    row = row_of("marginal_mean", lossy, beta=beta)
    assert (row.status, row.diagnoses) == ("PRECISION", (LOST,))

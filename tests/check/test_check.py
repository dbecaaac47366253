"""The check of other implementations: right code passes, each known mistake is named, digits lost
are told from wrong mathematics.
"""

import json

import check_measured as measured
import independent_ddpm
import injected_mistakes
import numpy as np
import pytest
from scipy.special import rel_entr

from dpm_ref import check
from dpm_ref.check import judge
from dpm_ref.check.conventions import Conventions
from dpm_ref.check.mistakes import mistakes
from dpm_ref.check.problems import Problem, Setting, draws
from dpm_ref.check.quantities import ALIASES, QUANTITIES

NAMES = measured.NAMES
BETA = np.array([0.1, 0.25, 0.2, 0.4, 0.3, 0.5])
DDPM = np.linspace(1e-4, 0.02, 1000)
RIGHT = independent_ddpm.Somebody(BETA)


def one(name, function, **conventions):
    """The row of one function, over the schedule of these tests."""
    return check.run({name: function}, **{"beta": BETA, **conventions}).rows[0]


# Right code


@pytest.mark.dear
@pytest.mark.parametrize("k", range(4, 10))
def test_right_code_in_float64_passes_under_any_convention(k):
    rng = np.random.default_rng([1, k])
    rows = measured.honest(measured.any_setting(rng, k), rng, "float64", "float64")
    assert [row.name for row in rows] == NAMES
    assert {row.status for row in rows} == {"PASS"}


@pytest.mark.dear
@pytest.mark.parametrize("k", range(4, 10))
def test_right_code_in_float32_with_tables_in_float64_is_never_wrong(k):
    rng = np.random.default_rng([2, k])
    rows = measured.honest(measured.any_setting(rng, k), rng, "float32", "float64")
    assert {row.status for row in rows} <= {"PASS", "PRECISION"}


@pytest.mark.dear
def test_tables_in_float32_lose_digits_and_are_named():
    rng = np.random.default_rng(3)
    rows = {
        row.name: row
        for row in measured.honest(measured.any_setting(rng, 9), rng, "float32", "float32")
    }
    assert {row.status for row in rows.values()} == {"PASS", "PRECISION"}
    for name in (
        "one_minus_abar",
        "sqrt_one_minus_abar",
        "posterior_variance",
        "posterior_mean",
        "posterior_var",
        "marginal_var",
    ):
        assert rows[name].status == "PRECISION"
        assert any("float32" in habit for habit in rows[name].diagnoses)
        assert rows[name].digits < 6


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_mistake_of_a_formula_can_be_evaluated(name):  # kl_term's on bits raised KeyError
    q, c = QUANTITIES[name], Conventions(shape=(4, 4), t_shape="batch")
    if "model" in q.every:
        return
    inputs = next(draws(q, Setting(BETA, 0.2, (4, 4), c), np.random.default_rng(4)))
    problem = Problem.of(q, Setting(BETA, 0.2, (4, 4), c), inputs)
    for mistake in mistakes(q, c):
        with np.errstate(all="ignore"):
            assert problem.value(mistake.of(problem.trees[mistake.form])).shape == problem.shape


@pytest.mark.dear
@pytest.mark.parametrize("model", ["eps", "mean", "v"])
def test_functions_without_a_known_mistake_crash_nothing(model, monkeypatch):
    monkeypatch.setattr(judge, "PAIRS", 0.1)  # seconds for pairs, of which there are none
    # rates that leave [0, 1] when scaled, and no conversion of a predicted mean: both raised
    wrong = {
        "marginal_var": lambda x0, t: np.full_like(x0, 0.123) * t,
        "p_sample": lambda xt, t, output, noise: 1.37 * output + 0.2 * xt * noise,
        "vlb_term": lambda model, x0, xt, t: (1.37 * x0 + 0.2 * xt * model(xt, t)).sum(-1),
    }
    known = {"model": model, "reverse_var": "beta", "t_shape": "batch"}
    wrong["marginal_var"] = (wrong["marginal_var"], {"t_shape": "scalar"})
    rows = check.run(wrong, beta=np.linspace(1e-4, 0.95, 1100), shape=(3, 2), **known).rows
    assert {row.status for row in rows} == {"WRONG"}
    assert all("no known mistake" in row.message for row in rows)


@pytest.mark.parametrize("name", QUANTITIES)
@np.errstate(all="ignore")
def test_all_forms_of_a_formula_agree(name):
    q, c = QUANTITIES[name], Conventions(shape=(4, 5))
    setting = Setting(BETA, 0.2, (4, 5), c)
    for inputs in draws(q, setting, np.random.default_rng(4)):
        if "model" in q.every:
            continue
        problem = Problem.of(q, setting, inputs)
        known = np.isfinite(problem.wanted)
        for tree in problem.trees[1:]:
            off = np.abs(problem.value(tree) - problem.wanted)
            assert (off <= 1e-12 * problem.size)[known].all()


# Mistakes


@pytest.mark.dear
@pytest.mark.parametrize("kind", ["float64", "float32, tables in float64", "all float32"])
def test_injected_mistakes_never_pass_and_nearly_all_are_named(kind):
    counts, _ = measured.measure_injected(1, *measured.KINDS[kind], fraction=0.04, seed=6)
    assert sum(counts.values()) > 40
    assert set(counts) <= {"diagnosed", "WRONG"}
    assert counts["diagnosed"] >= 0.95 * sum(counts.values())  # a few dozen; the script has all


@pytest.mark.dear
def test_two_mistakes_at_once_are_named_as_a_pair():
    row = one(
        "gaussian_kl",
        lambda m, v, n, w: 2 * ((np.log(v / w) + v / w + (m - n) ** 2 / w - 1) / 2).sum(-1),
    )
    assert row.status == "WRONG"
    assert any("twice" in said and "sign of the log" in said for said in row.diagnoses)


@pytest.mark.dear
def test_a_diagnosis_that_fits_all_inputs_but_one_is_not_given():
    def swapped_but_at_the_end(x0, xt, t):
        return (
            RIGHT.posterior_mean(x0, xt, t) if t == len(BETA) else RIGHT.posterior_mean(xt, x0, t)
        )

    row = one("posterior_mean", swapped_but_at_the_end)
    assert row.diagnoses == ()
    assert "deviates at every t but t = T" in row.message
    assert one("posterior_mean", lambda x0, xt, t: RIGHT.posterior_mean(xt, x0, t)).diagnoses == (
        "x0 and xt swapped",
    )


@pytest.mark.dear
@pytest.mark.parametrize(("wrong_at", "said"), [(2, "at t = 2 only"), (6, "at t = T only")])
def test_a_deviation_at_one_edge_is_placed_there(wrong_at, said):
    row = one(
        "posterior_mean",
        lambda x0, xt, t: RIGHT.posterior_mean(x0, xt, t) + 0.3 * x0**2 * (t == wrong_at),
    )
    assert said in row.message
    assert row.worst_input["t"] == wrong_at


def test_a_constant_factor_or_offset_is_told():
    assert (
        "got is wanted times 1.7"
        in one("q_sample", lambda x0, t, noise: 1.7 * RIGHT.q_sample(x0, t, noise)).message
    )
    assert (
        "got is wanted plus 0.25"
        in one("log_likelihood", lambda log_w: RIGHT.log_likelihood(log_w) + 0.25).message
    )


def test_a_deviation_in_one_component_is_placed_there():
    row = one(
        "marginal_mean",
        lambda x0, t: RIGHT.marginal_mean(x0, t) + 0.1 * (np.arange(x0.shape[-1]) == 0),
    )
    assert "first component only" in row.message


def test_all_mistakes_that_fit_are_listed():
    row = one("alpha", BETA)
    assert {"beta_t for alpha_t", "1 - p for p, or 1 - value"} <= set(row.diagnoses)


def test_mistakes_of_a_network_s_eps_are_named_in_either_way_to_write_it():
    bent = injected_mistakes.renamed(prev=lambda s: s.abar, lost_prev=lambda s: s.lost)
    person = independent_ddpm.Somebody(BETA, bend=bent)
    row = one(
        "mean_from_eps",
        lambda xt, t, eps: person.posterior_mean(person.x0_from_eps(xt, t, eps), xt, t),
    )
    assert "abar_t for abar_{t-1}" in row.diagnoses


# Precision


def ddpm(name, function, **conventions):
    return check.run({name: function}, **{"beta": DDPM, **conventions}).rows[0]


def test_one_minus_abar_from_a_rounded_abar_is_told_from_wrong_mathematics():
    abar = np.cumprod(1 - DDPM).astype(np.float32).astype(np.float64)
    row = ddpm("one_minus_abar", 1 - abar)
    assert row.status == "PRECISION"
    assert row.diagnoses == ("1 - abar taken by subtraction from an abar rounded to float32",)


def test_running_product_in_float32_is_told():
    abar = np.cumprod((1 - DDPM.astype(np.float32)), dtype=np.float32).astype(np.float64)
    row = ddpm("abar", abar)
    assert row.status == "PRECISION"
    assert "tables built in float32: the running product and 1 - abar" in row.diagnoses


def test_clipped_variance_is_told():
    table = independent_ddpm.Somebody(DDPM).formula("posterior_variance")
    row = ddpm("posterior_variance", np.maximum(table, 1e-4))
    assert row.status == "PRECISION"
    assert row.diagnoses == ("a variance, a table or a probability clipped from below",)


def test_constant_added_to_a_variance_is_told():
    row = one("sample_step", lambda mean, var, noise: mean + np.sqrt(var + 1e-5) * noise)
    assert (row.status, row.diagnoses) == (
        "PRECISION",
        ("a small constant added to a variance, a table or a probability",),
    )


def test_clipped_probability_is_told():
    person = independent_ddpm.Somebody(DDPM)
    row = ddpm(
        "binomial_kernel", lambda x, t: np.clip(person.binomial_kernel(x, t), 1e-3, 1 - 1e-3)
    )
    assert (row.status, row.diagnoses) == ("PRECISION", ("a probability clipped at both ends",))


def test_result_in_float32_where_float64_is_declared_is_told():
    row = one("q_sample", lambda x0, t, noise: RIGHT.q_sample(x0, t, noise).astype(np.float32))
    assert row.status == "PRECISION"
    assert "the result comes in float32" in row.diagnoses


def test_result_in_float16_is_told():
    row = one(
        "q_sample",
        lambda x0, t, noise: RIGHT.q_sample(x0, t, noise).astype(np.float16),
        dtype="float32",
    )
    assert row.status == "PRECISION"
    assert "the result comes in float16" in row.diagnoses


def test_a_mistake_is_named_though_digits_are_lost_too():
    bent = injected_mistakes.renamed(prev=lambda s: s.abar, lost_prev=lambda s: s.lost)
    person = independent_ddpm.Somebody(DDPM, table_dtype="float32", bend=bent)
    row = ddpm("posterior_mean", person.posterior_mean)
    assert row.status == "WRONG"
    assert "abar_t for abar_{t-1}" in row.diagnoses


def test_a_mistake_smaller_than_lost_digits_is_not_excused_on_short_schedules():
    wrong = lambda x0, t, noise: RIGHT.q_sample(x0, t, noise) * (1 + 1e-4)  # noqa: E731
    assert one("q_sample", wrong).status == "WRONG"


@pytest.mark.parametrize("beta", [None, DDPM])
def test_beta_in_float32_is_no_more_than_a_result_in_float32(beta):
    functions = lambda beta: {"betas": beta.astype(np.float32)}  # noqa: E731
    row = check.run(functions, beta=beta).rows[0]
    assert row.status == "PRECISION"
    assert row.diagnoses == ("the result comes in float32",)
    assert row.message == "declare dtype='float32'?"


def test_one_way_to_build_tables_is_named_for_all_rows_that_it_explains():
    abar = np.cumprod(1 - DDPM.astype(np.float32), dtype=np.float64).astype(np.float32)
    rest, prev = 1 - abar, np.append(np.float32(1), abar[:-1])
    functions = {
        "alphas_cumprod": abar,
        "one_minus_abar": rest,
        "posterior_variance": DDPM.astype(np.float32) * (1 - prev) / rest,
    }
    rows = check.run(functions, beta=DDPM, dtype="float32").rows
    causes = {row.diagnoses for row in rows if row.status == "PRECISION"}
    assert causes == {("tables rounded to float32 after a product in float64",)}


@pytest.mark.parametrize("cast", [np.float32, np.float64])
def test_bits_and_a_mean_in_float32_are_named_where_float64_nats_and_the_sum_are_declared(cast):
    def functions(beta):
        kept = np.prod(1 - beta.astype(np.float32), dtype=np.float32)
        log_rest = np.log(1 - kept)

        def prior_kl(x0):
            x0 = x0.astype(cast)
            return (0.5 * (np.exp(log_rest) - 1 - log_rest + kept * x0**2)).mean(-1) / cast(
                np.log(2)
            )

        return {"prior_kl": prior_kl}

    row = check.run(functions).rows[0]
    assert row.status == "WRONG"
    assert "log2 for ln: bits where nats are declared" in row.diagnoses[0]
    assert "mean over components where the sum is declared" in row.diagnoses[0]


# Preconditions


WIDE = 2.0 * np.random.default_rng(8).standard_normal((12, 3))


def test_equation_14_is_undefined_on_data_that_break_its_precondition():
    row = one("eq14", RIGHT.eq14, data=WIDE)
    assert row.status == "UNDEFINED"
    assert "equation (14) differs from the mean of K" in row.message
    kept = (WIDE / np.sqrt((WIDE**2).mean())).astype(np.float32)
    assert one("eq14", RIGHT.eq14, data=kept).status == "PASS"


def test_upper_entropy_bound_is_undefined_where_its_condition_fails_and_the_lower_is_not():
    def bounds(x0, t):
        return RIGHT.entropy_lower_bound(x0, t), RIGHT.entropy_upper_bound(x0, t)

    report = check.run({"entropy_bounds": bounds}, beta=BETA, data=WIDE)
    assert [row.status for row in report.rows] == ["PASS", "UNDEFINED"]
    assert "tr Cov" in report["entropy_upper_bound"].message
    assert report.ok


def test_binomial_preconditions_are_checked_too():
    data = np.ones((6, 3))
    person = independent_ddpm.Somebody(BETA, prior=0.2)
    report = check.run(
        {
            "binomial_eq14": person.binomial_eq14,
            "binomial_entropy_upper_bound": person.binomial_entropy_upper_bound,
        },
        beta=BETA,
        prior=0.2,
        data=data,
    )
    assert {row.status for row in report.rows} == {"UNDEFINED"}
    assert not report.ok


def test_the_posterior_of_one_step_is_undefined():
    report = check.run(
        {"posterior": lambda x0, xt, t: 1 / 0, "posterior_variance": np.zeros(1)}, beta=[0.3]
    )
    assert {row.status for row in report.rows} == {"UNDEFINED"}


def test_a_posterior_s_table_may_hold_anything_at_its_first_entry():
    table = RIGHT.formula("posterior_variance")
    for first in (0.0, table[1], np.nan):
        assert one("posterior_variance", np.concatenate([[first], table[1:]])).status == "PASS"


ABAR = np.cumprod(1.0 - BETA)


def test_a_weight_s_table_holds_that_of_the_second_step_at_its_first_entry_as_in_latent_diffusion():
    table = 0.5 * BETA / (1 - BETA) / (1 - ABAR)
    for first, said in ((table[1], "the next value"), (table[0], "the exact value")):
        weight = np.append(first, table[1:])
        row = one("lvlb_weights", weight, reverse_var="beta")
        assert (row.status, row.message) == ("PASS", f"t = 1 not compared: {said} stands there")
        row = one("lvlb_weights", weight, reverse_var="posterior")
        assert row.diagnoses == ("reverse_var='beta', not 'posterior' as declared",)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (1.0, ()),
        (ABAR[0], "abar_1, not 1"),
        (ABAR[-1], "abar_T, not 1: index -1"),
        (0.0, "0, not 1"),
    ],
)
def test_the_first_step_s_mean_is_x0_and_the_product_before_it_is_1(before, said):
    tables = BETA, 1.0 - BETA, ABAR, np.append(before, ABAR[:-1])

    def mean(x0, xt, t):
        beta, alpha, abar, prev = (table[t - 1] for table in tables)
        return (np.sqrt(prev) * beta * x0 + np.sqrt(alpha) * (1 - prev) * xt) / (1 - abar)

    for name, function in {
        "posterior_mean": mean,
        "mean_from_x0": lambda xt, t, x0: mean(x0, xt, t),
        "posterior_coefficient_x0": np.sqrt(tables[3]) * BETA / (1 - ABAR),
    }.items():
        row = one(name, function)
        named = said and (f"the product before the first step is {said}",)
        assert (row.status, row.diagnoses[:1]) == ("WRONG" if said else "PASS", named)
        assert "not compared" not in row.message


@pytest.mark.parametrize(
    ("before", "said"),
    [(1.0, ()), (ABAR[0], ("the product before the first step is abar_1, not 1",))],
)
def test_the_first_step_s_bit_is_that_of_x0_and_its_kl_term_what_the_bit_costs(before, said):
    prev = np.append(before, ABAR[:-1])

    def posterior(x0, xt, t):
        beta, kept = BETA[t - 1], prev[t - 1]
        one = np.where(xt == 1, 1 - beta + 0.5 * beta, 0.5 * beta) * (x0 * kept + 0.5 * (1 - kept))
        zero = np.where(xt == 1, 0.5 * beta, 1 - 0.5 * beta) * (1 - x0 * kept - 0.5 * (1 - kept))
        return one / (one + zero)

    def kl_term(x0, xt, t, prob):
        q = posterior(x0, xt, t)
        return (rel_entr(q, prob) + rel_entr(1 - q, 1 - prob)).sum(-1)

    for name, function in {"binomial_posterior": posterior, "binomial_kl_term": kl_term}.items():
        row = one(name, function)
        assert (row.status, row.diagnoses[:1]) == ("WRONG" if said else "PASS", said)
        assert "not compared" not in row.message


@pytest.mark.parametrize("nothing", [np.nan, None])
def test_the_first_step_s_mean_need_not_exist(nothing):
    def mean(x0, xt, t):
        if t == 1 and nothing is None:
            raise ValueError("q(x^0 | x^1, x^0) is a point")
        return RIGHT.posterior_mean(x0, xt, t) * (nothing if t == 1 else 1.0)

    row = one("posterior_mean", mean)
    assert (row.status, row.message) == ("PASS", "t = 1 not compared")


@pytest.mark.parametrize(("least", "status"), [(1e-30, "PASS"), (1e-6, "PRECISION")])
def test_the_first_step_s_bit_may_be_as_sure_as_code_can_be(least, status):
    def posterior(x0, xt, t):
        return RIGHT.binomial_posterior(x0.clip(least, 1 - least), xt, t)

    assert one("binomial_posterior", posterior).status == status


def test_logarithms_of_the_first_step_s_bits_may_be_undefined():
    def kl_term(x0, xt, t, prob):
        q = RIGHT.binomial_posterior(x0, xt, t)
        parts = q * np.log(q / prob) + (1 - q) * np.log((1 - q) / (1 - prob))
        return np.where(t == 1, np.nan, parts).sum(-1)

    row = one("binomial_kl_term", kl_term)
    assert (row.status, row.message) == ("PASS", "t = 1 not compared")


def test_the_mean_of_weights_that_are_all_zero_is_zero():
    def subtracted(log_w):
        largest = log_w.max(0)
        return largest + np.log(np.exp(log_w - largest).mean(0))

    right = one("log_likelihood", lambda log_w: np.logaddexp.reduce(log_w) - np.log(len(log_w)))
    assert right.status == "PASS"
    assert "returns nan in" in one("log_likelihood", subtracted).message
    assert one("log_likelihood", lambda w: np.nan_to_num(subtracted(w), nan=0.0)).status == "WRONG"


def test_of_values_that_are_equally_far_off_the_first_is_shown():
    assert one("beta", 3.0 * BETA).worst_input["at"] == [0, 0]


def test_a_model_that_returns_two_things_is_explained_where_a_loop_fails():
    row = one("nll", lambda model, x0: 2.0 * model(x0, np.full(len(x0), 1)) * 1.5)
    assert row.message.endswith("the model returns its output and a variance: see reverse_var")


# Malformed functions


def _raise(*_):
    raise RuntimeError("no\nGPU")


def _exit(*_):
    raise SystemExit(3)


def _mutate(x0, t, noise):
    x0 *= 0.5
    return RIGHT.q_sample(2 * x0, t, noise)


def _tell(*_):
    raise ValueError("words " * 99)


def _forever(*arguments):
    return _forever(*arguments)


MALFORMED = {
    "raises": (_raise, "raises RuntimeError: no GPU"),
    "exits": (_exit, "raises SystemExit: 3"),
    "recursion": (_forever, "raises RecursionError"),
    "no function": (3.0, "is no function, but float"),
    "other arguments": (lambda x0: x0, "; called as q_sample(x0, t, noise)"),
    "long message": (_tell, "raises ValueError: " + "words " * 32 + "..."),
    "None": (lambda *_: None, "no array of numbers"),
    "text": (lambda *_: "0.5", "no array of numbers"),
    "object": (lambda *_: object(), "no array of numbers"),
    "ragged": (lambda *_: [[1.0], [1.0, 2.0]], "which is no array"),
    "generator": (lambda *_: (y for y in [1.0]), "no array of numbers"),
    "tuple": (lambda x0, t, noise: (x0, x0), "returns a tuple of 2 where a single array is wanted"),
    "scalar": (lambda *_: 0.5, "returns shape () where"),
    "transposed": (lambda x0, t, noise: x0.T, "returns shape (3, 5) where (5, 3)"),
    "summed": (lambda x0, t, noise: x0.sum(-1), "returns shape (5,) where (5, 3)"),
    "empty": (lambda *_: np.zeros((0, 3)), "shape (0, 3)"),
    "one more axis": (lambda x0, t, noise: x0[None], "returns shape (1, 5, 3) where (5, 3)"),
    "nan": (lambda x0, t, noise: x0 * np.nan, "returns nan in"),
    "inf": (lambda x0, t, noise: x0 / 0, "inf in"),
    "integers": (lambda x0, t, noise: x0.astype(int), "returns dtype int64 where"),
    "bool": (lambda x0, t, noise: x0 > 0, "returns dtype bool"),
    "complex": (lambda x0, t, noise: x0 + 0j, "returns dtype complex128"),
    "mutates": (_mutate, "changes its argument x0 in place"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_functions_are_wrong_and_told_so(name):
    function, said = MALFORMED[name]
    report = check.run({"q_sample": function}, beta=BETA)
    row = report.rows[0]
    assert (row.status, report.ok) == ("WRONG", False)
    assert said in row.message
    assert "\n" not in str(report)
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.dear
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "function",
    [None, _raise, lambda *_: np.nan, lambda *_: np.zeros((2, 2), complex), [], "nothing"],
    ids=["None", "raises", "nan", "complex", "list", "text"],
)
def test_no_subject_passes_a_malformed_function_or_crashes(name, function):
    report = check.run({name: function}, beta=BETA)
    assert [row.status for row in report.rows] == ["WRONG"]
    assert report.rows[0].message


@pytest.mark.dear
@pytest.mark.parametrize(
    "name", ["q_sample", "gaussian_kl", "lower_bound", "posterior_variance", "binomial_posterior"]
)
@pytest.mark.parametrize("size", [1e308, -1e308, 1e-320, 0.0])
def test_values_of_any_size_are_wrong_and_crash_nothing(name, size, monkeypatch):
    monkeypatch.setattr(judge, "PAIRS", 0.1)  # seconds for pairs, of which there are none
    right = independent_ddpm.functions([name], BETA)[name]
    wrong = (
        np.full_like(right, size)
        if isinstance(right, np.ndarray)
        else lambda *a: np.full_like(right(*a), size)
    )
    report = check.run({name: wrong}, beta=BETA)
    assert report.rows[0].status == "WRONG"
    json.dumps(report.to_dict(), allow_nan=False)


def test_nan_at_some_inputs_only_is_wrong_and_placed():
    row = one(
        "q_sample", lambda x0, t, noise: RIGHT.q_sample(x0, t, noise) * (np.nan if t == 3 else 1)
    )
    assert row.status == "WRONG"
    assert "first at t = 3" in row.message
    assert row.diagnoses == ()


def test_an_index_out_of_range_at_the_end_is_told_with_what_it_looks_like():
    row = one(
        "q_sample",
        lambda x0, t, noise: (
            np.sqrt(np.cumprod(1 - BETA)[t]) * x0 + np.sqrt(1 - np.cumprod(1 - BETA)[t]) * noise
        ),
    )
    assert "raises IndexError" in row.message
    assert "at t = 6 of 6" in row.message
    assert row.diagnoses[0] == "t one too large: entry t + 1 of the tables is read"


def test_an_int_where_an_array_of_times_is_expected_is_told():
    row = one("q_sample", lambda x0, t, noise: x0 * t.reshape(-1, 1))
    assert "t_shape='batch'" in row.message


def test_mutation_is_seen_through_a_converter_that_copies():
    row = one("q_sample", _mutate, to_native=np.array, from_native=np.array)
    assert "changes its argument x0 in place" in row.message


def test_a_converter_that_fails_is_told():
    row = one("q_sample", RIGHT.q_sample, to_native=_raise)
    assert row.status == "WRONG"
    assert "to_native raises RuntimeError" in row.message


def test_factories_that_fail_are_told():
    through = "raises RuntimeError: no GPU; beta arrives through to_native"
    for factory, said in ((_raise, through), (lambda beta: 3, "gives int")):
        report = check.run(factory)
        assert not report.ok
        assert said in report.rows[0].message


def test_warnings_of_a_function_are_its_own():
    assert (
        one(
            "gaussian_entropy",
            lambda var: RIGHT.gaussian_entropy(var) + 0 * np.log(np.zeros(1)).clip(0),
        ).status
        == "PASS"
    )


# Interface


@pytest.mark.dear
def test_a_schedule_handed_to_a_factory_shows_what_short_ones_hide():
    def functions(beta):
        return independent_ddpm.functions(
            ["one_minus_abar", "posterior"[:9] + "_mean"], beta, table_dtype="float32"
        )

    assert {row.status for row in check.run(functions).rows} == {"PRECISION"}
    assert check.run(lambda beta: independent_ddpm.functions(NAMES, beta)).ok


def test_tables_may_be_functions_of_t():
    table = RIGHT.formula("abar")
    for t_shape in ("scalar", "batch"):
        assert one("abar", lambda t: table[t - 1], t_shape=t_shape).status == "PASS"
        assert one("abar", lambda t: table[t], t_shape=t_shape, first_t=0).status == "PASS"
    assert one("abar", table.tolist()).status == "PASS"
    assert "returns shape (7,) where (6,) is wanted" in one("abar", np.append(1.0, table)).message


def test_names_of_ddpm_s_code_are_understood():
    tables = {
        "betas": "beta",
        "alphas_cumprod": "abar",
        "alphas_cumprod_prev": "abar_prev",
        "posterior_variance": "posterior_variance",
        "posterior_mean_coef1": "posterior_coefficient_x0",
        "posterior_mean_coef2": "posterior_coefficient_xt",
        "sqrt_one_minus_alphas_cumprod": "sqrt_one_minus_abar",
        "posterior_log_variance_clipped": "posterior_log_variance",
    }
    functions = {name: RIGHT.formula(table) for name, table in tables.items()}
    functions |= {"normal_kl": RIGHT.gaussian_kl, "predict_start_from_noise": RIGHT.x0_from_eps}
    with np.errstate(divide="ignore"):
        report = check.run(functions, beta=BETA)
    assert [row.name for row in report.rows] == list(functions)
    assert report.ok


def test_a_tuple_has_a_row_for_each_part():
    def posterior(x0, xt, t):
        return (
            RIGHT.posterior_mean(x0, xt, t),
            RIGHT.posterior_var(x0, xt, t),
            RIGHT.posterior_log_var(x0, xt, t),
        )

    report = check.run({"q_posterior_mean_variance": posterior}, beta=BETA)
    assert [row.name for row in report.rows] == [
        "posterior_mean",
        "posterior_var",
        "posterior_log_var",
    ]
    assert report.ok
    report = check.run({"q_posterior": lambda *arguments: posterior(*arguments)[:2]}, beta=BETA)
    assert [row.name for row in report.rows] == ["posterior_mean", "posterior_var"]
    row = one("posterior", posterior)
    assert "returns a tuple of 3 where a tuple of 2 is wanted" in row.message


@pytest.mark.parametrize("spread", ["var", "logvar"])
def test_beside_a_log_variance_stands_a_variance(spread):
    """As in DDPM's code, whose divergence takes log variances and whose posterior returns both."""

    def posterior(*arguments):
        return tuple(
            getattr(RIGHT, f"posterior_{part}")(*arguments) for part in ("mean", "var", "log_var")
        )

    def run(change):
        return check.run(
            {"q_posterior": lambda *arguments: change(*posterior(*arguments))},
            beta=BETA,
            spread=spread,
        )

    assert run(lambda mean, var, log_var: (mean, var, log_var)).ok
    assert run(lambda mean, var, log_var: (mean, var)).ok == (spread == "var")
    assert run(lambda mean, var, log_var: (mean, var / 2, log_var))["posterior_var"].diagnoses[
        0
    ] == ("half as large: a factor 2 is missing, or a 1/2 too many")


def test_a_variance_may_be_a_number_or_one_for_each_row():
    var = RIGHT.formula("posterior_variance")
    assert one("posterior_var", lambda x0, xt, t: var[t - 1]).status == "PASS"
    assert one("posterior_var", lambda x0, xt, t: var[t - 1], t_shape="batch").status == "PASS"
    assert (
        one("posterior_var", lambda x0, xt, t: var[t - 1][:, None], t_shape="batch").status
        == "PASS"
    )


def test_images_keep_their_shape():
    shapes = set()

    def q_sample(x0, t, noise):
        shapes.add((x0.shape, noise.shape, np.shape(t)))
        return independent_ddpm.Somebody(BETA, shape=(2, 3, 8, 8)).q_sample(x0, t, noise)

    assert one("q_sample", q_sample, shape=(2, 3, 8, 8), t_shape="batch").status == "PASS"
    assert shapes == {((2, 3, 8, 8), (2, 3, 8, 8), (2,))}


def test_arguments_come_in_the_dtype_and_the_inputs_are_the_same_in_every_run():
    seen = []

    def entropy(var):
        seen.append(var.copy())
        return RIGHT.gaussian_entropy(var)

    for _ in range(2):
        check.run({"gaussian_entropy": entropy}, dtype="float32")
    half = len(seen) // 2
    assert all(np.array_equal(a, b) for a, b in zip(seen[:half], seen[half:], strict=True))
    assert {a.dtype for a in seen} == {np.dtype(np.float32)}
    check.run({"gaussian_entropy": entropy}, dtype="float32", rng=np.random.default_rng(1))
    assert not np.array_equal(seen[0], seen[-half])


def test_a_row_says_what_was_got_and_wanted_at_which_input():
    row = one("sample_step", lambda mean, var, noise: mean + var * noise)
    assert row.status == "WRONG"
    assert "var without its root" in row.diagnoses
    i = row.worst_input
    assert row.got == pytest.approx(i["mean"] + i["var"] * i["noise"], rel=1e-12)
    assert row.wanted == pytest.approx(i["mean"] + np.sqrt(i["var"]) * i["noise"], rel=1e-12)


def test_the_worst_input_is_in_the_user_s_convention():
    row = one(
        "gaussian_entropy",
        lambda logvar: -RIGHT.total((np.log(2 * np.pi * np.e) + logvar) / 2),
        spread="logvar",
    )
    assert row.diagnoses == ("sign flipped",)
    assert row.wanted == pytest.approx(
        ((np.log(2 * np.pi * np.e) + np.array(row.worst_input["var"])) / 2).sum(), rel=1e-6
    )


def test_report_is_text_data_and_an_assertion():
    report = check.run(
        {"q_sample": RIGHT.q_sample, "gaussian_kl": lambda *a: -RIGHT.gaussian_kl(*a)}, beta=BETA
    )
    assert not report.ok
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines] == ["PASS", "WRONG"]
    assert "sign flipped" in lines[1]
    data = json.loads(json.dumps(report.to_dict()))
    assert data["ok"] is False
    assert set(data["rows"][1]) >= {"name", "status", "diagnoses", "worst_input", "got", "wanted"}
    with pytest.raises(AssertionError, match="sign flipped"):
        report.assert_ok()
    check.run({"q_sample": RIGHT.q_sample}, beta=BETA).assert_ok()
    with pytest.raises(KeyError):
        report["nothing"]


def test_precision_fails_a_test_suite_unless_allowed():
    report = check.run({"q_sample": lambda *a: RIGHT.q_sample(*a).astype(np.float32)}, beta=BETA)
    with pytest.raises(AssertionError, match="PRECISION"):
        report.assert_ok()
    report.assert_ok(allow=["PRECISION"])
    with pytest.raises(ValueError, match="allow must hold"):
        report.assert_ok(allow=["WRONG"])


def test_a_report_of_nothing_is_not_ok():
    report = check.run({"eq14": RIGHT.eq14}, beta=BETA, data=WIDE)
    assert not report.ok
    with pytest.raises(AssertionError, match="nothing was compared"):
        report.assert_ok()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (({"posterior_maen": None},), "near it: posterior_mean"),
        (({"x": None},), "--list shows all"),
        (({"training_loss": None},), "near it: loss_weight"),
        (({},), "at least one function"),
        ((3,), "functions must be a mapping"),
        (({"q_sample": None},), "beta must be given"),
    ],
)
def test_functions_that_cannot_be_checked_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        check.run(*arguments)


@pytest.mark.parametrize(
    ("conventions", "said"),
    [
        ({"first_t": 2}, "first_t must be one of 1, 0"),
        ({"first_t": True}, "first_t must be"),
        ({"spread": "sigma"}, "spread must be one of"),
        ({"unit": "bit"}, "unit must be"),
        ({"components": "max"}, "components must be"),
        ({"dtype": "float16"}, "dtype must be"),
        ({"shape": (3,)}, "shape must be a tuple"),
        ({"shape": (0, 2)}, "shape must be a tuple .* of integers >= 1, got"),
        ({"to_native": 3}, "to_native must be a callable"),
        ({"sigma": "std"}, "conventions must be among"),
        ({"prior": 1.0}, "prior must be"),
        ({"prior": None}, "prior must be"),
        ({"prior": "x"}, "prior must be"),
        ({"prior": [0.5, 0.5]}, "prior must be"),
        ({"beta": ("linear", 0)}, "beta must be"),
        ({"beta": ("linear", 10, 3)}, "beta must be"),
        ({"beta": ("linear", 10, {"begin": 1e-4})}, "beta must be"),
        ({"time_limit": np.inf}, "time_limit must be"),
        ({"beta": [0.0]}, "beta must lie"),
        ({"rng": 3}, "rng must be a numpy.random.Generator"),
        ({"data": np.zeros(3)}, "data must have shape"),
        ({"data": np.zeros((4, 2)), "shape": (4, 3)}, "data must have shape"),
        ({"t_shape": "vector"}, "t_shape must be"),
    ],
)
def test_conventions_that_do_not_exist_are_refused(conventions, said):
    with pytest.raises(ValueError, match=said):
        check.run({"q_sample": RIGHT.q_sample}, **{"beta": BETA, **conventions})


def test_no_alias_hides_a_subject():
    assert not set(ALIASES) & set(QUANTITIES)
    assert all(part in QUANTITIES for parts in ALIASES.values() for part in parts)

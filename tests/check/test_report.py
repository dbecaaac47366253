"""What is asked of which function, how often, and what the report says of it."""

import time

import numpy as np
import pytest

from dpm_ref import check
from dpm_ref.check.mistakes import HABITS
from dpm_ref.check.report import agreed

BETA = np.array([0.1, 0.25, 0.2, 0.4])
ABAR = np.cumprod(1 - BETA)


def entropy(var):
    return (0.5 * np.log(2 * np.pi * np.e * var)).sum(-1)


def marginal_mean(x0, t):
    return np.sqrt(ABAR[t - 1]) * x0


def single(array):
    return np.asarray(array).astype(np.float32)


# The report


def three():
    """A report of a right function, one that loses digits, and a wrong one."""
    functions = {
        "abar": ABAR,
        "marginal_mean": lambda x0, t: single(marginal_mean(x0, t)),
        "beta": 3 * BETA,
    }
    return check.run(functions, beta=BETA, prior=0.25)


def test_a_report_is_counted_in_its_representation():
    assert repr(three()) == "<Report 1 PASS, 1 PRECISION, 1 WRONG>"
    assert repr(check.run({"abar": ABAR, "beta": BETA}, beta=BETA)) == "<Report 2 PASS>"
    assert repr(three()["beta"]) == "<Row beta WRONG>"


def test_a_report_is_a_line_for_each_row_under_a_header_of_prior_and_schedule():
    report = three()
    assert [line.split()[:2] for line in str(report).split("\n")] == [
        ["PASS", "abar"],
        ["PRECISION", "marginal_mean"],
        ["WRONG", "beta"],
    ]
    assert report.header == "prior pi_1 = 0.25; T = 4"
    assert report.to_dict()["header"] == report.header
    assert [row["name"] for row in report.to_dict()["rows"]] == ["abar", "marginal_mean", "beta"]
    assert check.run(lambda beta: {"beta": beta}).header == "prior pi_1 = 0.5; schedules drawn"


def test_the_assertion_shows_every_failing_row_and_no_other():
    report = three()
    with pytest.raises(AssertionError) as failed:
        report.assert_ok()
    assert str(failed.value) == f"{report['marginal_mean']}\n{report['beta']}"
    with pytest.raises(AssertionError) as failed:
        report.assert_ok(allow=["PRECISION"])
    assert str(failed.value) == str(report["beta"])


@pytest.mark.parametrize("status", ["WRONG", "pass", "GOOD"])
def test_what_cannot_be_allowed_is_refused(status):
    with pytest.raises(ValueError, match="among PASS, PRECISION and UNDEFINED, got"):
        three().assert_ok(allow=["PASS", status])


def test_nothing_compared_is_allowed_where_undefined_is():
    report = check.run({"posterior_mean": None}, beta=[0.3])
    assert repr(report) == "<Report 1 UNDEFINED>"
    with pytest.raises(AssertionError, match="nothing was compared:\nUNDEFINED"):
        report.assert_ok()
    with pytest.raises(AssertionError, match="nothing was compared"):
        report.assert_ok(allow=["PRECISION"])
    report.assert_ok(allow=["UNDEFINED"])


def test_a_report_of_lost_digits_alone_passes_where_they_are_allowed():
    report = check.run({"beta": single(BETA)}, beta=BETA)
    assert repr(report) == "<Report 1 PRECISION>"
    assert not report.ok
    report.assert_ok(allow=["PRECISION"])


# What is asked


def test_a_function_over_a_schedule_is_asked_on_two_batches_twice():
    shapes = []

    def recorded(x0, t):
        shapes.append((x0.shape, t))
        return marginal_mean(x0, t)

    check.run({"marginal_mean": recorded}, beta=BETA).assert_ok()
    half = len(shapes) // 2
    assert shapes[:half] == shapes[half:]
    assert {shape for shape, _ in shapes} == {(5, 3), (3, 7)}
    assert {t for _, t in shapes} == {1, 2, 3, 4}


def test_functions_without_a_schedule_are_asked_on_one_batch():
    shapes = set()

    def recorded(var):
        shapes.add(var.shape)
        return entropy(var)

    check.run({"gaussian_entropy": recorded}).assert_ok()
    check.run(lambda beta: {"gaussian_entropy": recorded}).assert_ok()
    assert shapes == {(5, 3)}


def test_a_factory_is_asked_for_three_short_schedules_and_ddpm_s():
    seen, shapes = [], set()

    def functions(beta):
        seen.append(beta)
        abar = np.cumprod(1 - beta)

        def mean(x0, t):
            shapes.add((len(beta), x0.shape))
            return np.sqrt(abar[t - 1]) * x0

        return {"marginal_mean": mean}

    check.run(functions).assert_ok()
    assert [len(beta) for beta in seen] == [7, 5, 9, 1000]
    check.run(functions)
    assert all(np.array_equal(a, b) for a, b in zip(seen[:4], seen[4:], strict=True))
    assert all((beta >= 0.05).all() and (beta <= 0.6).all() for beta in seen[:3])
    assert all((single(beta) == beta).all() for beta in seen)
    np.testing.assert_allclose(seen[3], np.linspace(1e-4, 0.02, 1000), rtol=1e-6)
    assert shapes == {(7, (5, 3)), (5, (3, 7)), (9, (4, 2)), (1000, (3, 2))}


def test_a_factory_is_asked_for_the_schedule_that_is_declared():
    seen = []

    def functions(beta):
        seen.append(np.array(beta[1]))
        return {"beta": beta[1]}

    declared = {"to_native": lambda array: ("mine", array)}
    report = check.run(functions, abar=ABAR, **declared)
    assert all(np.allclose(beta, BETA) for beta in seen)
    assert report.header.endswith("T = 4")
    report.assert_ok()


def test_other_inputs_are_drawn_by_a_generator_and_differ_from_one_function_to_the_next():
    seen = {}

    def recorded(name):
        def mean(x, t):
            seen.setdefault(name, x[0, 0])
            return x

        return mean

    def run(**given):
        seen.clear()
        names = ("marginal_mean", "kernel_mean")
        check.run({name: recorded(name) for name in names}, beta=BETA, **given)
        return [seen[name] for name in names]

    fixed, drawn = run(), run(rng=np.random.default_rng(1))
    assert run() == fixed
    assert run(rng=np.random.default_rng(1)) == drawn
    assert run(rng=np.random.default_rng(2)) != drawn
    assert len({*fixed, *drawn}) == 4


def test_the_user_s_data_are_what_functions_are_asked_at():
    data = np.array([[0.5, 1.5], [-1.0, 2.0]])
    seen = set()

    def recorded(x0, t):
        seen.update(map(tuple, x0.tolist()))
        return marginal_mean(x0, t)

    check.run({"marginal_mean": recorded}, beta=BETA, data=data).assert_ok()
    assert seen == set(map(tuple, data.tolist()))


def test_functions_are_asked_again_in_the_reverse_order():
    order = []

    def recorded(name, function):
        def called(*arguments):
            if order[-1:] != [name]:
                order.append(name)
            return function(*arguments)

        return called

    functions = {"gaussian_entropy": entropy, "sample_step": lambda m, v, n: m + np.sqrt(v) * n}
    check.run({name: recorded(name, each) for name, each in functions.items()}).assert_ok()
    assert order == ["gaussian_entropy", "sample_step", "gaussian_entropy"]


def test_after_a_time_out_no_other_call_is_made():
    calls = []

    def slow(var):
        calls.append(var)
        time.sleep(60 if len(calls) % 3 == 2 else 0)
        return entropy(var)

    row = check.run({"gaussian_entropy": slow}, time_limit=0.05).rows[0]
    assert row.message == "did not return within 0.05 s (time_limit)"
    assert len(calls) == 2 + 3


def test_the_time_of_a_function_goes_before_the_run_s():
    slow = {"gaussian_entropy": (lambda var: time.sleep(60), {"time_limit": 0.05})}
    assert "within 0.05 s" in check.run(slow, time_limit=1000.0).rows[0].message


def test_a_factory_that_does_not_return_is_told():
    row = check.run(lambda beta: time.sleep(60), time_limit=0.05).rows[0]
    assert (row.name, row.status) == ("functions", "WRONG")
    assert row.message == "building the functions did not return within 0.05 s (time_limit)"


def test_a_factory_of_something_else_is_told():
    assert check.run(lambda beta: 3).rows[0].message == (
        "building the functions gives int, where a mapping of names to callables is wanted"
    )


def test_a_time_out_is_placed_at_the_call_that_did_not_return():
    def slow(x0, t):
        time.sleep(60 if t == 3 else 0)
        return marginal_mean(x0, t)

    row = check.run({"marginal_mean": slow}, beta=BETA, time_limit=0.05).rows[0]
    assert "did not return within 0.05 s" in row.message
    assert row.worst_input["t"] == 3


def test_of_several_ways_to_lose_digits_the_one_that_explains_most_rows_is_kept():
    rounded, read = list(HABITS)[1], list(HABITS)[4]
    other = "the result comes in float32"
    rows = [
        check.Row("a", "", "PRECISION", (rounded, other, read)),
        check.Row("b", "", "PRECISION", (read,)),
        *(check.Row(name, "", "WRONG", (rounded,)) for name in "cd"),
        check.Row("e", "", "PASS"),
    ]
    kept = [row.diagnoses for row in agreed(rows)]
    assert kept == [(other, read), (read,), (rounded,), (rounded,), ()]


# What is returned the second time


def test_a_result_that_differs_the_second_time_by_rounding_alone_passes():
    calls = []

    def rounding(var):
        calls.append(0)
        return entropy(var) * (1 + 1e-14 * len(calls))

    check.run({"gaussian_entropy": rounding}).assert_ok()


def test_large_results_may_differ_the_second_time_by_as_large_a_rounding():
    calls = []

    def rounding(mean, var, noise):
        calls.append(0)
        return (mean + np.sqrt(var) * noise) * (1 + 1e-11 * len(calls))

    check.run({"sample_step": rounding}).assert_ok()


def test_a_result_that_differs_the_second_time_is_wrong_though_the_first_was_right():
    calls = []

    def worse(var):
        calls.append(0)
        return entropy(var) * (1 + 1e-6 * (len(calls) > 5))

    row = check.run({"gaussian_entropy": worse}).rows[0]
    assert row.status == "WRONG"
    assert row.message.startswith("gives another result when asked again with the same arguments")


def test_an_error_at_the_second_time_alone_is_told():
    calls = []

    def fails(var):
        calls.append(0)
        return entropy(var) if len(calls) <= 5 else 1 / 0

    row = check.run({"gaussian_entropy": fails}).rows[0]
    assert row.message.startswith("asked again, it raises ZeroDivisionError")


# Names


def test_a_part_that_is_left_out_has_no_row_and_an_alias_of_one_its_own_name():
    def mean_only(x0, t):
        return {"mean": marginal_mean(x0, t), "var": 1 - ABAR[t - 1]}

    report = check.run({"marginal": mean_only, "alphas_cumprod": ABAR}, beta=BETA)
    assert [row.name for row in report.rows] == [
        "marginal_mean",
        "marginal_var",
        "alphas_cumprod",
    ]
    report.assert_ok()


def test_of_two_rows_of_one_name_the_first_is_found():
    functions = {"kernel_mean": lambda x, t: np.sqrt(1 - BETA[t - 1]) * x}
    functions["kernel"] = lambda x, t: (0 * x, 0 * x + BETA[t - 1])
    report = check.run(functions, beta=BETA)
    assert [row.status for row in report.rows if row.name == "kernel_mean"] == ["PASS", "WRONG"]
    assert report["kernel_mean"].status == "PASS"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("posterior_maen", "; near it: posterior_mean"),
        (
            "p_mean_variance",
            "; a model's mean is mean_from_eps (or _x0, _v), its whole step p_sample",
        ),
        ("alphas_cumprodd", "; near it: alphas_cumprod"),
        ("xyz", "; python -m dpm_ref.check --list shows all"),
        (3, "; python -m dpm_ref.check --list shows all"),
    ],
)
def test_a_name_that_cannot_be_checked_is_refused_with_those_near_it(name, hint):
    with pytest.raises(ValueError, match=" must ") as refused:
        check.run({name: None}, beta=BETA)
    said = f"functions must have names that can be checked, got {name!r}"
    assert str(refused.value).startswith(said + hint)


def test_functions_of_a_schedule_that_none_declares_are_refused_by_their_name():
    with pytest.raises(ValueError, match=" must ") as refused:
        check.run({"gaussian_entropy": entropy, "q_posterior": None})
    assert str(refused.value).startswith("beta must be given, the schedule that q_posterior")


@pytest.mark.parametrize("own", [{"components": "mean"}, {"unit": "nats"}])
def test_what_bpd_in_a_name_implies_is_said_and_what_is_declared_is_not(own):
    scale = 1 if "unit" in own else np.log(2)

    def prior(x0):
        return (0.5 * (ABAR[-1] * (x0**2 - 1) - np.log(1 - ABAR[-1]))).mean(-1) / scale

    notes = []
    for functions, declared in (({"prior_bpd": (prior, own)}, {}), ({"prior_bpd": prior}, own)):
        row = check.run(functions, beta=BETA, **declared).rows[0]
        assert row.status == "PASS"
        notes.append(row.message)
    assert notes[0] == notes[1]
    assert notes[0] == (
        "components='mean', as its name says" if "unit" in own else "unit='bits', as its name says"
    )


def test_a_pair_of_a_function_and_a_convention_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="conventions must be among"):
        check.run({"gaussian_entropy": (entropy, {"units": "bits"})})

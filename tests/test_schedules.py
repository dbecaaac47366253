"""Schedules and the tables that follow from them, against exact fractions, mpmath and the
schedules' own definitions.
"""

import copy
import pickle
from decimal import Decimal
from fractions import Fraction

import mpmath_oracle
import numpy as np
import pytest

from dpm_ref import BinomialDiffusion, GaussianDiffusion, schedules

EPS = 2.0**-52
BETA = [0.25, 0.5, 0.125, 0.75]  # exact in binary, so that fractions are the truth
BETAS = [Fraction(1, 4), Fraction(1, 2), Fraction(1, 8), Fraction(3, 4)]


def fraction_abar(t):
    result = Fraction(1)
    for beta in BETAS[:t]:
        result *= 1 - beta
    return result


@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_abar_is_the_product_of_what_is_kept(t):
    assert schedules.Schedule(BETA).abar(t) == float(fraction_abar(t))


@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_one_minus_abar_is_its_complement(t):
    assert schedules.Schedule(BETA).one_minus_abar(t) == float(1 - fraction_abar(t))


@pytest.mark.parametrize("t", [2, 3, 4])
def test_posterior_var_is_the_formula_with_abar_of_the_step_before(t):
    truth = BETAS[t - 1] * (1 - fraction_abar(t - 1)) / (1 - fraction_abar(t))
    assert schedules.Schedule(BETA).posterior_var(t) == float(truth)


@pytest.mark.parametrize("t", [2, 3, 4])
def test_posterior_coefficients_are_the_formula(t):
    tables = mpmath_oracle.Tables(BETA)
    truth = [tables.coefficient_x0(t), tables.coefficient_xt(t)]
    assert mpmath_oracle.worst_ulp(schedules.Schedule(BETA).posterior_coefficients(t), truth) <= 0.5


@pytest.mark.parametrize("name", ["sqrt_abar", "sqrt_one_minus_abar"])
@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_roots_are_correctly_rounded(name, t):
    assert (
        mpmath_oracle.ulp_error(
            getattr(schedules.Schedule(BETA), name)(t), getattr(mpmath_oracle.Tables(BETA), name)(t)
        )
        <= 0.5
    )


@pytest.mark.parametrize("name", ["log_abar", "log_one_minus_abar"])
@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_logarithms_are_accurate(name, t):
    assert (
        mpmath_oracle.ulp_error(
            getattr(schedules.Schedule(BETA), name)(t), getattr(mpmath_oracle.Tables(BETA), name)(t)
        )
        <= 4
    )


@pytest.mark.parametrize("beta", [[0.1], [1e-12], [1.0], [0.9, 1.0], [1e-300, 1e-300]])
def test_logarithms_at_the_ends_of_the_range(beta):
    schedule, T = schedules.Schedule(beta), len(beta)
    forgotten, total = (
        beta[-1] == 1.0,
        sum(map(mpmath_oracle.exact, beta)),
    )  # of two rates of 1e-300 the product does not count
    log_abar = -mpmath_oracle.mp.inf if forgotten else mpmath_oracle.mp.log1p(-total)
    log_om = mpmath_oracle.mp.mpf(0) if forgotten else mpmath_oracle.mp.log(total)
    assert (
        mpmath_oracle.worst_ulp(
            [schedule.log_abar(T), schedule.log_one_minus_abar(T)], [log_abar, log_om]
        )
        <= 4
    )


@pytest.mark.parametrize(
    "method",
    [
        "abar",
        "one_minus_abar",
        "sqrt_abar",
        "sqrt_one_minus_abar",
        "log_abar",
        "log_one_minus_abar",
    ],
)
def test_an_array_of_times_gives_an_array_of_its_shape(method):
    schedule, t = schedules.Schedule(BETA), np.array([[1, 4], [3, 2]])
    got = getattr(schedule, method)(t)
    assert got.shape == (2, 2)
    np.testing.assert_array_equal(
        got, [[getattr(schedule, method)(int(s)) for s in row] for row in t]
    )


def test_an_array_of_times_gives_posterior_tables_of_its_shape():
    schedule, t = schedules.Schedule(BETA), np.array([[2, 4], [3, 2]])
    np.testing.assert_array_equal(
        schedule.posterior_var(t), [[schedule.posterior_var(int(s)) for s in row] for row in t]
    )
    for got, which in zip(schedule.posterior_coefficients(t), (0, 1), strict=True):
        np.testing.assert_array_equal(
            got, [[schedule.posterior_coefficients(int(s))[which] for s in row] for row in t]
        )


def test_T_is_the_number_of_rates():
    assert schedules.Schedule(BETA).T == 4


def test_one_step_has_no_posterior():
    with pytest.raises(ValueError, match=r"t must lie in 2\.\.1"):
        schedules.Schedule([0.5]).posterior_var(2)


def test_a_diffusion_has_the_tables_of_its_schedule():
    assert GaussianDiffusion(BETA).log_abar(3) == schedules.Schedule(BETA).log_abar(3)


# The schedules by their definitions


def test_constant_repeats_beta():
    np.testing.assert_array_equal(schedules.constant(3, 0.1), [0.1, 0.1, 0.1])


def test_linear_runs_from_first_to_last():
    np.testing.assert_allclose(
        schedules.linear(5, first=0.1, last=0.5), [0.1, 0.2, 0.3, 0.4, 0.5], rtol=4 * EPS
    )


def test_linear_of_one_step_is_first():
    np.testing.assert_array_equal(schedules.linear(1, first=0.1, last=0.5), [0.1])


@pytest.mark.parametrize(("T", "offset"), [(1, 0.008), (40, 0.008), (1000, 0.1)])
def test_cosine_has_the_abar_of_its_definition(T, offset):
    mp = mpmath_oracle.mp

    def f(t):
        return (
            mp.cos(
                mp.pi
                / 2
                * (mp.mpf(t) / T + mpmath_oracle.exact(offset))
                / (1 + mpmath_oracle.exact(offset))
            )
            ** 2
        )

    truth = [1 - f(t) / f(t - 1) for t in range(1, T)]
    got = schedules.cosine(T, offset=offset)
    np.testing.assert_allclose(
        got[:-1], np.array(truth, dtype=float), rtol=1e-12
    )  # the angles' difference is formed in float64


def test_cosine_is_capped_at_the_largest_rate():
    assert schedules.cosine(10, largest=0.9)[-1] == 0.9
    assert (schedules.cosine(10, largest=0.9)[:-1] < 0.9).all()


@pytest.mark.parametrize(
    ("T", "beta1", "abar_T"), [(40, 1e-5, 1e-3), (2, 0.1, 0.5), (1000, 1e-7, 0.01)]
)
def test_log_snr_linear_is_linear_in_the_log_ratio(T, beta1, abar_T):
    tables = mpmath_oracle.Tables(schedules.log_snr_linear(T, beta1=beta1, abar_T=abar_T))
    log_snr = [float(tables.log_abar(t) - tables.log_one_minus_abar(t)) for t in range(1, T + 1)]
    np.testing.assert_allclose(
        np.diff(log_snr), np.full(T - 1, np.diff(log_snr).mean()), rtol=1e-9
    )  # differences of numbers up to 16


@pytest.mark.parametrize(
    ("T", "beta1", "abar_T"), [(40, 1e-5, 1e-3), (2, 0.1, 0.5), (1000, 1e-7, 0.01)]
)
def test_log_snr_linear_has_the_ends_asked_for(T, beta1, abar_T):
    beta = schedules.log_snr_linear(T, beta1=beta1, abar_T=abar_T)
    assert len(beta) == T
    assert beta[0] == beta1
    assert float(mpmath_oracle.Tables(beta).abar(T)) == pytest.approx(
        abar_T, rel=1e-12
    )  # T roundings of beta, amplified by 1 / (1 - beta)


@pytest.mark.parametrize(
    ("T", "beta1", "abar_T"),
    [(3, 0.1, np.nextafter(0.9, 0)), (1000, 0.9, 0.1 - 1e-14), (2, 1e-5, 1e-17), (2, 0.1, 0.9)],
)
def test_log_snr_linear_refuses_ends_between_which_a_rate_would_round_to_0_or_1(T, beta1, abar_T):
    rule = r"abar_T must lie in \(0, 1 - beta1\), and no rate .* got \S*\d"
    with pytest.raises(ValueError, match=rule):
        schedules.log_snr_linear(T, beta1=beta1, abar_T=abar_T)


@pytest.mark.parametrize("T", [1, 2, 7, 2000])
def test_constant_erasure_takes_the_same_share_at_every_step(T):
    schedule = schedules.Schedule(schedules.constant_erasure(T))
    t = np.arange(1, T + 1)
    np.testing.assert_allclose(
        schedule.abar(t), (T - t) / T, rtol=T * EPS, atol=0
    )  # T roundings of beta


def test_constant_erasure_is_one_over_the_steps_left():
    np.testing.assert_array_equal(schedules.constant_erasure(4), [1 / 4, 1 / 3, 1 / 2, 1.0])


def test_linear_is_that_of_ddpm_where_nothing_is_said():
    np.testing.assert_array_equal(schedules.linear(1000), np.linspace(1e-4, 0.02, 1000))


def test_a_schedule_may_have_one_step():
    assert schedules.constant(1, 0.25).tolist() == [0.25]
    assert schedules.linear(1, first=0.25, last=0.5).tolist() == [0.25]
    assert schedules.cosine(1).shape == schedules.constant_erasure(1).shape == (1,)


def test_unchecked_tables_are_the_checked_ones():
    schedule, t = schedules.Schedule(BETA), np.array([2, 4])
    np.testing.assert_array_equal(schedule.table("abar", t), schedule.abar(t))
    np.testing.assert_array_equal(schedule.table("log_abar", 3), schedule.log_abar(3))
    np.testing.assert_array_equal(schedule.table("posterior_var", t), schedule.posterior_var(t))


def test_the_rates_of_a_schedule_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        schedules.Schedule([0.1, 0.2]).beta[0] = 0.5


@pytest.mark.parametrize("T", [2, 700, 1100])
def test_log_abar_is_finite_where_abar_underflows(T):
    """abar = 0.1^(T - 1) 0.25, down to 1e-1100."""
    schedule = schedules.Schedule([0.75, *[0.9] * (T - 1)])
    truth = mpmath_oracle.Tables(schedule.beta).log_abar(T)
    assert mpmath_oracle.ulp_error(schedule.log_abar(T), truth) <= 4


def test_logarithms_hold_for_any_exponent():
    """As after 140,000 steps that each leave 1e-15."""
    got = schedules._log(Decimal("3e-2100000"), Decimal(1))
    mp = mpmath_oracle.mp
    assert mpmath_oracle.ulp_error(got, mp.log(3) - 2_100_000 * mp.log(10)) <= 4


@pytest.mark.parametrize(
    "copy_of", [copy.copy, copy.deepcopy, lambda q: pickle.loads(pickle.dumps(q))]
)
@pytest.mark.parametrize("q", [GaussianDiffusion([0.1, 0.2]), BinomialDiffusion([0.1, 0.2], [0.3])])
def test_a_copy_of_a_diffusion_is_as_read_only_as_the_diffusion(q, copy_of):
    q.abar(1)
    twin = copy_of(q)
    assert twin == q
    for name in ("beta", "pi1", "pi0"):
        if hasattr(q, name):
            with pytest.raises(ValueError, match="read-only"):
                getattr(twin, name)[...] = 0.9

"""The contract of exactness, class by class, against mpmath at 120 working digits: every row of
`accuracy_table`, and the edges.
"""

import functools

import accuracy_table
import mpmath_oracle
import numpy as np
import pytest

from dpm_ref import Bernoulli, BinomialDiffusion, GaussianDiffusion, bounds, schedules

POINTS = 1500
PROMISES = {
    "Schedule.abar": 0.5,
    "Schedule.one_minus_abar": 0.5,
    "Schedule.sqrt_abar": 0.5,
    "Schedule.sqrt_one_minus_abar": 0.5,
    "Schedule.log_abar": 4,
    "Schedule.log_one_minus_abar": 4,
    "Schedule.posterior_var": 0.5,
    "Schedule.posterior_coefficients of x0": 0.5,
    "Schedule.posterior_coefficients of xt": 0.5,
    "bounds.to_bits": 2,
    "bounds.gaussian_kl": 8,
    "bounds.gaussian_entropy": 4,
    "bounds.bernoulli_kl of pairs": 8,
    "bounds.bernoulli_entropy of pairs": 4,
    "bounds.bernoulli_kl of p alone": 8,
    "bounds.bernoulli_entropy of p alone": 4,
    "information.logit of pairs": 4,
    "information._bernoulli_kl_from_logits": 16,
    "information.log_mean_exp": 2,
    "GaussianDiffusion.kernel: sqrt(1 - beta_t)": 1,
    "GaussianDiffusion.kernel: mean": 2,
    "GaussianDiffusion.marginal: mean": 2,
    "GaussianDiffusion.posterior: mean": 2,
    "GaussianDiffusion.edge: mean": 2,
    "Gaussian.log_prob": 8,
    "bounds.null_log_likelihood, Gaussian": 8,
    "Gaussian.kl of vectors": 8,
    "BinomialDiffusion.kernel: prob1": 8,
    "BinomialDiffusion.kernel: prob0": 8,
    "BinomialDiffusion.marginal: prob1": 8,
    "BinomialDiffusion.marginal: prob0": 8,
    "BinomialDiffusion.posterior: prob1": 8,
    "BinomialDiffusion.posterior: prob0": 8,
    "BinomialDiffusion.edge: prob1": 8,
    "BinomialDiffusion.edge: prob0": 8,
    "bounds.null_log_likelihood, binomial": 8,
    "Bernoulli.log_prob": 8,
    "Bernoulli.kl of vectors": 8,
    "bounds.reverse_entropy_bounds, Gaussian: lower": 4,
    "bounds.reverse_entropy_bounds, Gaussian: upper": 4,
    "bounds.reverse_entropy_bounds, binomial: lower": 4,
    "bounds.reverse_entropy_bounds, binomial: upper": 4,
    "bounds.lower_bound, Gaussian": 4,
    "bounds.lower_bound, binomial": 4,
}


@functools.cache
def measured():
    """Every row of the table on this test's own grid."""
    rng = np.random.default_rng(20)
    return {row.function: row for family in accuracy_table.FAMILIES for row in family(rng, POINTS)}


@pytest.mark.parametrize(
    "family",
    [family for family in accuracy_table.FAMILIES if family is not accuracy_table.bound_rows],
)
def test_a_family_of_functions_keeps_its_promises_on_a_small_grid(family):
    with np.errstate(divide="ignore", invalid="ignore"):  # the obvious formulas leave the floats
        rows = list(family(np.random.default_rng(3), 80))
    for row in rows:
        assert row.worst <= row.promised, row.function


@pytest.mark.parametrize("function", PROMISES)
@pytest.mark.slow
def test_worst_error_is_within_the_promise(function):
    assert measured()[function].worst <= PROMISES[function]


@pytest.mark.slow
def test_every_row_of_the_table_is_held_to_a_promise():
    assert {name: row.promised for name, row in measured().items()} == PROMISES


@pytest.mark.parametrize(
    "function",
    [
        "Schedule.one_minus_abar",
        "bounds.gaussian_kl",
        "bounds.bernoulli_kl of pairs",
        "BinomialDiffusion.posterior: prob0",
    ],
)
@pytest.mark.slow
def test_grid_is_hard_enough_to_reject_the_obvious_formula(function):
    assert measured()[function].obvious > 1000 * PROMISES[function]


# Schedules


@pytest.mark.parametrize(
    "beta",
    [
        np.full(10_000, 1e-12),
        np.full(10_000, 0.02),
        schedules.cosine(10_000),
        np.geomspace(1e-12, 0.5, 10_000),
        1 - np.geomspace(1e-12, 0.5, 1000),
    ],
)
def test_long_schedules_end_correctly_rounded(beta):
    schedule, tables, T = schedules.Schedule(beta), mpmath_oracle.Tables(beta), len(beta)
    x0, xt = schedule.posterior_coefficients(T)
    got = [schedule.abar(T), schedule.one_minus_abar(T), schedule.posterior_var(T), x0, xt]
    truth = [
        tables.abar(T),
        tables.one_minus_abar(T),
        tables.posterior_var(T),
        tables.coefficient_x0(T),
        tables.coefficient_xt(T),
    ]
    assert mpmath_oracle.worst_ulp(got, truth) <= 0.5


def test_beta_below_the_rounding_of_one_is_not_lost():
    schedule = schedules.Schedule([1e-20, 1e-20])
    assert (
        mpmath_oracle.ulp_error(
            schedule.one_minus_abar(2), mpmath_oracle.Tables([1e-20, 1e-20]).one_minus_abar(2)
        )
        <= 0.5
    )


@pytest.mark.parametrize("t", [2, 3, 4])
def test_a_beta_of_one_in_the_middle_leaves_exact_tables(t):
    beta = [0.3, 1.0, 0.25, 0.5]
    schedule, tables = schedules.Schedule(beta), mpmath_oracle.Tables(beta)
    got = [
        schedule.abar(t),
        schedule.one_minus_abar(t),
        schedule.posterior_var(t),
        *schedule.posterior_coefficients(t),
    ]
    truth = [
        tables.abar(t),
        tables.one_minus_abar(t),
        tables.posterior_var(t),
        tables.coefficient_x0(t),
        tables.coefficient_xt(t),
    ]
    assert mpmath_oracle.worst_ulp(got, truth) <= 0.5
    assert schedule.log_abar(t) == -np.inf


def test_log_abar_stays_finite_where_abar_underflows():
    beta = np.full(10_000, 1 - 1e-12)
    schedule = schedules.Schedule(beta)
    assert schedule.abar(10_000) == 0
    assert (
        mpmath_oracle.ulp_error(
            schedule.log_abar(10_000), mpmath_oracle.Tables(beta).log_abar(10_000)
        )
        <= 4
    )


# Divergences and entropies at their edges


def near_laws(rng, n):
    a = rng.uniform(0.01, 100.0, n)
    return a, a * (1 + rng.choice([-1, 1], n) * rng.integers(0, 3, n) * 2.0**-52)


def test_gaussian_kl_of_nearly_equal_laws_is_zero_only_at_equality():
    a, b = near_laws(np.random.default_rng(21), 5000)
    np.testing.assert_array_equal(bounds.gaussian_kl(0.0, a, 0.0, b) == 0, a == b)


def test_gaussian_kl_is_never_negative():
    assert (
        bounds.gaussian_kl(*accuracy_table.variances(np.random.default_rng(22), 20_000)) >= 0
    ).all()


def test_bernoulli_kl_of_nearly_equal_laws_is_zero_only_at_equality():
    a, b = (v / 200 for v in near_laws(np.random.default_rng(23), 5000))
    np.testing.assert_array_equal(bounds.bernoulli_kl(a, b) == 0, a == b)
    np.testing.assert_array_equal(bounds.bernoulli_kl(1 - a, 1 - b, a, b) == 0, a == b)


def test_bernoulli_kl_is_never_negative():
    assert (
        bounds.bernoulli_kl(*accuracy_table.pairs(np.random.default_rng(24), 20_000)) >= 0
    ).all()


def test_bernoulli_kl_of_a_complement_below_the_rounding_of_one_is_not_lost():
    """Both laws read P(1) = 1.0; the pair tells them apart."""
    truth = mpmath_oracle.bernoulli_kl(mpmath_oracle.bit(1.0, 1e-20), mpmath_oracle.bit(1.0, 1e-25))
    assert mpmath_oracle.ulp_error(bounds.bernoulli_kl(1.0, 1.0, 1e-20, 1e-25), truth) <= 8


@pytest.mark.parametrize(
    ("q", "p", "truth"),
    [(0, 0, 0), (1, 1, 0), (0, 1, np.inf), (1, 0, np.inf), (0.5, 0, np.inf), (0.5, 1, np.inf)],
)
def test_bernoulli_kl_at_certain_bits(q, p, truth):
    assert bounds.bernoulli_kl(q, p) == truth


def test_bernoulli_kl_of_a_certain_bit_is_minus_the_log_of_its_probability():
    got = bounds.bernoulli_kl([0, 1, 0, 1], [1e-300, 1e-300, 0.3, 0.3])
    truth = [
        -mpmath_oracle.mp.log1p(-mpmath_oracle.exact(1e-300)),
        -mpmath_oracle.mp.log(mpmath_oracle.exact(1e-300)),
        -mpmath_oracle.mp.log(1 - mpmath_oracle.exact(0.3)),
        -mpmath_oracle.mp.log(mpmath_oracle.exact(0.3)),
    ]
    assert mpmath_oracle.worst_ulp(got, truth) <= 8


def test_bernoulli_entropy_of_certain_bits_is_positive_zero():
    got = bounds.bernoulli_entropy([0.0, 1.0])
    np.testing.assert_array_equal(got, [0.0, 0.0])
    assert not np.signbit(got).any()


def test_bernoulli_entropy_of_a_tiny_probability_is_not_lost():
    assert (
        mpmath_oracle.ulp_error(
            bounds.bernoulli_entropy(1e-300),
            mpmath_oracle.bernoulli_entropy(mpmath_oracle.bit(1e-300)),
        )
        <= 4
    )


def test_gaussian_entropy_near_its_zero_is_exact_to_two_eps():
    var = (1 + np.linspace(-1e-6, 1e-6, 1001)) / (2 * np.pi * np.e)
    gaps = [
        abs(mpmath_oracle.exact(g) - mpmath_oracle.gaussian_entropy(v))
        for g, v in zip(bounds.gaussian_entropy(var), var, strict=True)
    ]
    assert max(gaps) <= 2 * 2.0**-52


# Laws at their edges


@pytest.mark.parametrize("prior", [1e-300, 1e-20, 0.2, 0.5, 1 - 1e-10, 1 - 2.0**-53])
@pytest.mark.parametrize("x0", [0, 1])
@pytest.mark.parametrize("xt", [0, 1])
def test_binomial_posterior_holds_at_both_ends(prior, x0, xt):
    beta = [1e-12, 1e-12, 0.5, 1.0, 1e-12]
    tables, diffusion = mpmath_oracle.Tables(beta), BinomialDiffusion(beta, prior)
    for t in range(2, 6):
        law = diffusion.posterior([x0], [xt], t)
        assert (
            mpmath_oracle.worst_ulp(
                [law.prob1, law.prob0], mpmath_oracle.binomial_posterior(x0, xt, tables, t, prior)
            )
            <= 8
        )


def test_bernoulli_log_prob_of_a_tiny_complement_is_not_lost():
    law = Bernoulli([1e-300], [1.0])
    assert (
        mpmath_oracle.ulp_error(
            law.log_prob([0]), mpmath_oracle.mp.log1p(-mpmath_oracle.exact(1e-300))
        )
        <= 1
    )


@pytest.mark.parametrize("T", [1, 2, 3000])
@pytest.mark.slow
def test_bound_of_a_long_chain_loses_nothing_in_its_sum(T):
    """Against the exact sum of the terms that it returns."""
    beta = np.full(T, 1e-4)
    got = bounds.lower_bound(
        GaussianDiffusion(beta),
        GaussianDiffusion(beta).kernel,
        [0.5],
        rng=np.random.default_rng(25),
    )
    total = mpmath_oracle.mp.fsum(map(mpmath_oracle.exact, got.kl))
    x, tables = mpmath_oracle.mp.mpf("0.5"), mpmath_oracle.Tables(beta)
    ends = [
        mpmath_oracle.gaussian_kl(tables.sqrt_abar(t) * x, tables.one_minus_abar(t), 0, 1)
        for t in (1, T)
    ]
    truth = mpmath_oracle.gaussian_log_prob(0.5, 0, 1) + ends[0] - ends[1] - total
    assert (
        mpmath_oracle.eps_error(
            got.value, truth, total + sum(ends) - mpmath_oracle.gaussian_log_prob(0.5, 0, 1)
        )
        <= 4
    )

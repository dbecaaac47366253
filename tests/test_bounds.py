"""The bound K and the entropy bounds of section 2.6 against sums over all trajectories and
linear-Gaussian algebra.

Where the noise is scripted (`mpmath_oracle.Scripted`), averages over draws are exact, and the
comparison is one of rounding.
"""

import itertools
import math
from types import SimpleNamespace

import mpmath_oracle
import numpy as np
import pytest
from scipy import stats
from statistics_budget import alarm, seed

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, bounds
from dpm_ref.protocols import takes_times

EPS = 2.0**-52
ALARM = alarm(20)  # for each of the p-values in this file
ROUNDING = 64 * EPS  # a few dozen terms of order one, each accurate to a few eps


# One-dimensional Gaussian chains: K and log p in closed form

BETA = [0.2, 0.3, 0.4]
LINEAR = {2: (0.8, 0.1, 0.3), 3: (0.6, -0.2, 0.5)}  # p(x^{t-1}|x^t) = N(slope x^t + shift, var)


def linear_reverse(kernels):
    """Linear kernels as the package takes them."""

    def reverse(xt, t):
        slope, shift, var = map(float, kernels[t])
        return Gaussian(slope * xt + shift, var)

    return reverse


def exact_reverse(chain):
    return {t: chain.reversal(t) for t in range(2, chain.tables.T + 1)}


@pytest.mark.parametrize("x0", [0.0, 1.0, -2.5])
def test_gaussian_bound_is_that_of_the_closed_form(x0):
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        [x0],
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
    )
    assert float(got.value) == pytest.approx(
        float(mpmath_oracle.GaussianChain(BETA).bound(x0, LINEAR)), abs=ROUNDING
    )


@pytest.mark.parametrize("t", [2, 3])
def test_gaussian_kl_terms_are_those_of_the_closed_form(t):
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        [[0.5], [-1.5]],
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
    )
    truth = [
        float(mpmath_oracle.GaussianChain(BETA).expected_kl(x0, t, LINEAR[t])) for x0 in (0.5, -1.5)
    ]
    np.testing.assert_allclose(got.kl[t - 2], truth, rtol=ROUNDING)


def test_gaussian_bound_sums_over_components():
    x0 = [0.5, -1.5, 2.0]
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        x0,
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
    )
    truth = sum(mpmath_oracle.GaussianChain(BETA).bound(x, LINEAR) for x in x0)
    assert float(got.value) == pytest.approx(float(truth), abs=3 * ROUNDING)


def test_gaussian_bound_is_met_by_its_average_over_draws():
    """With real noise: unbiased, and 5 % too much divergence is seen."""
    x0 = np.full((20_000, 1), 1.5)
    got = bounds.lower_bound(GaussianDiffusion(BETA), linear_reverse(LINEAR), x0, rng=seed(1))
    chain = mpmath_oracle.GaussianChain(BETA)
    truth, kl = (
        float(chain.bound(1.5, LINEAR)),
        float(sum(chain.expected_kl(1.5, t, LINEAR[t]) for t in (2, 3))),
    )
    assert stats.ttest_1samp(got.value, truth).pvalue > ALARM
    assert stats.ttest_1samp(got.value - 0.05 * kl, truth).pvalue < ALARM


def test_gaussian_example_of_a_wide_normal_has_the_known_numbers():
    """N(0, 4) with exact reverse kernels: the points -2 and 2 have its first two moments, and K is
    quadratic.
    """
    chain = mpmath_oracle.GaussianChain(BETA, var=4.0)
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(exact_reverse(chain)),
        [[-2.0], [2.0]],
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
    )
    assert [round(float(got.value.mean()), 6), round(got.eq14, 6)] == [-2.486257, -1.682257]


def test_gaussian_log_likelihood_of_a_wide_normal_is_above_its_bound():
    chain = mpmath_oracle.GaussianChain(BETA, var=4.0)
    kernels = exact_reverse(chain)
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)  # log p(x0) is quadratic too
    likelihood = sum(
        w * float(chain.log_prob(2 * x, kernels))
        for x, w in zip(nodes, weights / weights.sum(), strict=True)
    )
    assert round(likelihood, 6) == -2.278771


def test_gaussian_bound_is_tight_on_data_from_the_prior():
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        GaussianDiffusion(BETA).kernel,
        [[-1.0], [1.0]],
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
    )
    assert float(got.value.mean()) == pytest.approx(
        -float(mpmath_oracle.gaussian_entropy(1)), abs=1e-14
    )


def test_gaussian_equation_14_is_tight_on_data_from_the_prior():
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        GaussianDiffusion(BETA).kernel,
        [[-1.0], [1.0]],
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
    )
    assert got.eq14 == pytest.approx(-float(mpmath_oracle.gaussian_entropy(1)), abs=1e-14)


def test_gaussian_equation_14_is_that_of_the_closed_form():
    x0 = [-2.0, 0.5, 3.0]
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        np.reshape(x0, (3, 1)),
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
    )
    assert got.eq14 == pytest.approx(
        float(mpmath_oracle.GaussianChain(BETA).eq14(x0, LINEAR)), abs=ROUNDING
    )


def test_gaussian_equation_14_exceeds_the_bound_by_the_excess_second_moment():
    x0 = np.array([[1.5, -0.5], [2.0, 0.25], [0.0, 1.0]])
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        x0,
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
    )
    excess = (np.mean((x0**2).sum(1)) - 2) * (0.8 * 0.7 * 0.6 + 0.2) / 2
    assert got.eq14 - got.value.mean() == pytest.approx(excess, abs=ROUNDING)


def test_gaussian_learned_edge_gives_the_closed_form_with_its_cross_entropy():
    """p(x0|x1) = N(a x1 + b, v): K = -sum KL + H_q(X^T|x0) + E log pi(x^T) + E log p(x0|x1)."""
    a, b, v, x0 = 0.7, 0.2, 0.4, 1.5
    chain, tables = mpmath_oracle.GaussianChain(BETA), mpmath_oracle.Tables(BETA)
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        [x0],
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
        edge=lambda x1: Gaussian(a * x1 + b, v),
    )
    miss = (x0 - a * tables.sqrt_abar(1) * x0 - b) ** 2 + mpmath_oracle.exact(
        a
    ) ** 2 * tables.one_minus_abar(1)
    to_prior = mpmath_oracle.gaussian_kl(tables.sqrt_abar(3) * x0, tables.one_minus_abar(3), 0, 1)
    truth = -sum(chain.expected_kl(x0, t, LINEAR[t]) for t in (2, 3)) - to_prior
    truth -= (
        mpmath_oracle.mp.log(2 * mpmath_oracle.mp.pi * mpmath_oracle.exact(v))
        + miss / mpmath_oracle.exact(v)
    ) / 2
    assert float(got.value) == pytest.approx(float(truth), abs=ROUNDING)


def test_gaussian_bound_with_every_step_reversed_exactly_is_the_log_likelihood():
    """Data N(0, 4) from a chain whose end is the prior: then, with the true last step, K averages
    to -H(X^0).
    """
    beta = [0.3, 0.4, 1.0]
    chain = mpmath_oracle.GaussianChain(beta, var=4.0)
    slope, shift, var = map(float, chain.reversal(1))
    got = bounds.lower_bound(
        GaussianDiffusion(beta),
        linear_reverse(exact_reverse(chain)),
        [[-2.0], [2.0]],
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
        edge=lambda x1: Gaussian(slope * x1 + shift, var),
    )
    assert float(got.value.mean()) == pytest.approx(
        -float(mpmath_oracle.gaussian_entropy(4)), abs=ROUNDING
    )


# Two bits: K by the sum over all trajectories. Every probability of the forward process below is a
# multiple of 1/32.

DYADIC, PRIOR, DRAWS = [0.5, 0.5, 0.5], [0.25, 0.5], 32**2


def coupled_prob1(y, t):
    """P(x_i = 1) for either bit, depending on both bits of y and on t."""
    return [0.1 * t + 0.3 * y[0] + 0.2 * y[1], 0.7 - 0.1 * t + 0.25 * y[1] - 0.15 * y[0]]


def coupled(t):
    def prob(x, y):
        return mpmath_oracle.vector_prob(x, [mpmath_oracle.bit(p)[:2] for p in coupled_prob1(y, t)])

    return prob


def coupled_reverse(xt, t):
    return Bernoulli(np.stack(coupled_prob1(np.moveaxis(xt, -1, 0), t), -1))


def coupled_edge(x1):
    return coupled_reverse(x1, 1)


COUPLED = {t: coupled(t) for t in (2, 3)}
BITS2 = mpmath_oracle.binary_states(2)


def dyadic_chain(data=None):
    return mpmath_oracle.BinaryChain(data or {(0, 0): 1.0}, DYADIC, PRIOR)


def test_binomial_bound_is_the_sum_over_all_trajectories():
    got = bounds.lower_bound(
        BinomialDiffusion(DYADIC, PRIOR),
        coupled_reverse,
        BITS2,
        rng=mpmath_oracle.Scripted(),
        n_samples=DRAWS,
    )
    truth = [float(dyadic_chain().bound(x0, COUPLED)) for x0 in BITS2]
    np.testing.assert_allclose(got.value, truth, rtol=0, atol=ROUNDING)


def test_binomial_kl_terms_are_sums_over_both_states():
    got = bounds.lower_bound(
        BinomialDiffusion(DYADIC, PRIOR),
        coupled_reverse,
        BITS2,
        rng=mpmath_oracle.Scripted(),
        n_samples=DRAWS,
    )
    truth = [[float(dyadic_chain().expected_kl(x0, t, COUPLED[t])) for x0 in BITS2] for t in (2, 3)]
    np.testing.assert_allclose(got.kl, truth, rtol=0, atol=ROUNDING)


def test_binomial_bound_with_a_learned_edge_is_the_sum_over_all_trajectories():
    got = bounds.lower_bound(
        BinomialDiffusion(DYADIC, PRIOR),
        coupled_reverse,
        BITS2,
        rng=mpmath_oracle.Scripted(),
        n_samples=DRAWS,
        edge=coupled_edge,
    )
    truth = [float(dyadic_chain().bound(x0, COUPLED, coupled(1))) for x0 in BITS2]
    np.testing.assert_allclose(got.value, truth, rtol=0, atol=ROUNDING)


def test_binomial_bound_is_below_the_log_likelihood():
    got = bounds.lower_bound(
        BinomialDiffusion(DYADIC, PRIOR),
        coupled_reverse,
        BITS2,
        rng=mpmath_oracle.Scripted(),
        n_samples=DRAWS,
    )
    truth = [float(dyadic_chain().log_prob(x0, COUPLED)) for x0 in BITS2]
    assert (got.value < truth).all()


@pytest.mark.parametrize("prior", [0.25, 0.5, 0.75])
def test_binomial_bound_is_tight_on_data_from_the_prior(prior):
    x0 = (np.arange(4) < 4 * prior)[:, None]
    diffusion = BinomialDiffusion(DYADIC, prior)
    got = bounds.lower_bound(
        diffusion, diffusion.kernel, x0, rng=mpmath_oracle.Scripted(), n_samples=32
    )
    truth = -float(mpmath_oracle.bernoulli_entropy(mpmath_oracle.bit(prior)))
    assert [float(got.value.mean()), got.eq14] == [pytest.approx(truth, abs=1e-14)] * 2


def test_binomial_equation_14_exceeds_the_bound_by_the_activity_formula():
    x0 = np.array([[1, 1], [0, 1], [1, 1]])
    got = bounds.lower_bound(
        BinomialDiffusion(DYADIC, PRIOR),
        coupled_reverse,
        x0,
        rng=mpmath_oracle.Scripted(),
        n_samples=DRAWS,
    )
    logit = np.log(np.array(PRIOR) / (1 - np.array(PRIOR)))
    excess = -(logit * (x0.mean(0) - PRIOR)).sum() * (0.125 + 0.5)
    assert excess > 0.1
    assert got.eq14 - got.value.mean() == pytest.approx(excess, abs=ROUNDING)


def test_binomial_equation_14_is_that_of_the_enumeration():
    data = {(1, 1): 0.5, (0, 1): 0.5}
    chain = dyadic_chain(data)
    got = bounds.lower_bound(
        BinomialDiffusion(DYADIC, PRIOR),
        coupled_reverse,
        [[1, 1], [0, 1]],
        rng=mpmath_oracle.Scripted(),
        n_samples=DRAWS,
    )
    kl = sum(
        w * chain.expected_kl(x0, t, COUPLED[t]) for x0, w in chain.data.items() for t in (2, 3)
    )
    truth = (
        -kl
        + chain.conditional_entropy(3)
        - chain.conditional_entropy(1)
        - mpmath_oracle.entropy_of(map(chain.pi, BITS2))
    )
    assert got.eq14 == pytest.approx(float(truth), abs=ROUNDING)


def test_binomial_bound_with_every_step_reversed_exactly_is_the_log_likelihood():
    """One bit, P(1) = 3/4, beta_T = 1: with the true last step K averages to -H(X^0)."""
    beta = [0.5, 0.5, 1.0]
    chain = mpmath_oracle.BinaryChain({(1,): 0.75, (0,): 0.25}, beta, [0.25])

    def reversal(xt, t):
        prob1 = {y: float(chain.reversal(t)((1,), (y,))) for y in (0, 1)}
        return Bernoulli(np.where(xt == 1, prob1[1], prob1[0]))

    got = bounds.lower_bound(
        BinomialDiffusion(beta, 0.25),
        reversal,
        [[1], [1], [1], [0]],
        rng=mpmath_oracle.Scripted(),
        n_samples=32,
        edge=lambda x1: reversal(x1, 1),
    )
    assert float(got.value.mean()) == pytest.approx(-float(chain.entropy(0)), abs=ROUNDING)


def test_binomial_bound_is_minus_infinity_where_the_kernel_excludes_a_state():
    got = bounds.lower_bound(
        BinomialDiffusion(DYADIC),
        lambda xt, t: Bernoulli(np.zeros_like(xt)),
        [[1, 0]],
        rng=seed(2),
        n_samples=3,
    )
    assert got.value[0] == -np.inf


# What is asked of the kernel, and what comes back


@pytest.mark.parametrize(
    ("diffusion", "x0"),
    [(GaussianDiffusion([0.3]), [1.5, -0.5]), (BinomialDiffusion([0.3], 0.2), [1, 0])],
)
def test_one_step_has_no_divergence_and_the_bound_is_log_pi(diffusion, x0):
    def refuse(xt, t):
        raise AssertionError("called")

    got = bounds.lower_bound(diffusion, refuse, x0, rng=seed(3), n_samples=4)
    assert got.kl.shape == (0,)
    assert float(got.value) == pytest.approx(float(diffusion.prior(2).log_prob(x0)), abs=ROUNDING)


def test_kernel_is_asked_once_for_each_time_with_an_int_and_a_plain_batch():
    seen = []

    def reverse(xt, t):
        seen.append((t, type(t), xt.shape))
        return Gaussian(xt, 1.0)

    bounds.lower_bound(
        GaussianDiffusion(BETA),
        reverse,
        np.zeros((5, 2)),
        rng=seed(4),
        n_samples=3,
    )
    assert sorted(seen) == [(2, int, (15, 2)), (3, int, (15, 2))]


@pytest.mark.parametrize("shape", [(2,), (5, 2), (3, 5, 2)])
def test_results_have_the_shape_of_the_batch(shape):
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        np.zeros(shape),
        rng=seed(5),
        n_samples=2,
    )
    assert (np.shape(got.value), np.shape(got.stderr), got.kl.shape) == (
        shape[:-1],
        shape[:-1],
        (2, *shape[:-1]),
    )
    assert isinstance(got.eq14, float)


def test_value_is_made_of_the_kl_terms_returned():
    x0 = seed(6).normal(size=(4, 2))
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        x0,
        rng=seed(7),
        n_samples=5,
    )
    zero = dict.fromkeys((2, 3), (0.0, 0.0, 1.0))
    chain = mpmath_oracle.GaussianChain(BETA)
    rest = [
        sum(
            chain.bound(x, zero) + sum(chain.expected_kl(x, t, zero[t]) for t in (2, 3))
            for x in row
        )
        for row in x0
    ]
    np.testing.assert_allclose(
        got.value + got.kl.sum(0), np.array(rest, dtype=float), rtol=0, atol=ROUNDING
    )


def test_a_kernel_may_return_any_object_with_mean_and_var():
    class Foreign:
        def __init__(self, mean):
            self.mean, self.var = mean.tolist(), 0.5  # lists, as a foreign tensor would be read

    x0 = np.array([[0.5], [-1.0]])
    foreign = bounds.lower_bound(
        GaussianDiffusion(BETA), lambda xt, t: Foreign(xt), x0, rng=seed(8)
    )
    own = bounds.lower_bound(
        GaussianDiffusion(BETA), lambda xt, t: Gaussian(xt, 0.5), x0, rng=seed(8)
    )
    np.testing.assert_array_equal(foreign.value, own.value)


def test_an_edge_may_return_any_object_with_prob1():
    class Foreign:
        def __init__(self, prob1):
            self.prob1 = prob1.tolist()

    x0 = np.array([[0], [1]])
    diffusion = BinomialDiffusion(DYADIC)
    foreign = bounds.lower_bound(
        diffusion,
        diffusion.kernel,
        x0,
        rng=seed(9),
        edge=lambda x1: Foreign(0.2 + 0.5 * x1),
    )
    own = bounds.lower_bound(
        diffusion,
        diffusion.kernel,
        x0,
        rng=seed(9),
        edge=lambda x1: Bernoulli(0.2 + 0.5 * x1),
    )
    np.testing.assert_array_equal(foreign.value, own.value)


def test_a_law_over_one_vector_stands_for_the_same_law_everywhere():
    x0 = np.zeros((5, 2))
    diffusion, shift = GaussianDiffusion(BETA), [0.5, -0.5]
    small = bounds.lower_bound(diffusion, lambda xt, t: Gaussian(shift, 1.0), x0, rng=seed(10))
    large = bounds.lower_bound(
        diffusion, lambda xt, t: Gaussian(0 * xt + shift, 1.0), x0, rng=seed(10)
    )
    np.testing.assert_array_equal(small.value, large.value)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda xt: xt[..., :1],
        lambda xt: xt[..., :1, :].repeat(3, -2),
        lambda xt: xt[..., None],
        lambda xt: xt[None, None],
        lambda xt: np.concatenate([xt, xt], -1),
    ],
)
def test_a_law_over_another_shape_is_refused(wrong):
    with pytest.raises(
        ValueError, match=r"reverse must return a law over the state's shape \(5, 2\)"
    ):
        bounds.lower_bound(
            GaussianDiffusion(BETA),
            lambda xt, t: Gaussian(wrong(xt), 1.0),
            np.zeros((5, 2)),
            rng=seed(11),
        )


def test_an_edge_over_another_shape_is_refused():
    with pytest.raises(ValueError, match="edge must return a law over"):
        bounds.lower_bound(
            GaussianDiffusion(BETA),
            linear_reverse(LINEAR),
            np.zeros((5, 2)),
            rng=seed(12),
            edge=lambda x1: Gaussian(x1[..., :1], 1.0),
        )


def test_equation_14_is_nan_with_a_learned_edge():
    diffusion = GaussianDiffusion(BETA)
    assert np.isnan(
        bounds.lower_bound(
            diffusion, diffusion.kernel, [1.0], rng=seed(13), edge=diffusion.edge
        ).eq14
    )


def test_the_paper_s_edge_given_as_a_learned_one_has_the_same_mean():
    diffusion = GaussianDiffusion(BETA)
    got = bounds.lower_bound(
        diffusion,
        linear_reverse(LINEAR),
        [[1.5]],
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
        edge=diffusion.edge,
    )
    assert float(got.value[0]) == pytest.approx(
        float(mpmath_oracle.GaussianChain(BETA).bound(1.5, LINEAR)), abs=ROUNDING
    )


# The noise and the standard error


def test_one_sample_has_no_standard_error():
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        np.zeros((3, 1)),
        rng=seed(14),
    )
    assert np.isnan(got.stderr).all()


def test_standard_error_is_calibrated():
    """Its square is, on average, the variance of one draw over the number of draws."""
    n, x0 = 4, 1.5
    chain = mpmath_oracle.GaussianChain(BETA)
    truth = float(sum(chain.kl_variance(x0, t, LINEAR[t]) for t in (2, 3))) / n
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        np.full((60_000, 1), x0),
        rng=seed(15),
        n_samples=n,
    )
    assert stats.ttest_1samp(got.stderr**2, truth).pvalue > ALARM
    assert (
        stats.ttest_1samp(1.05**2 * got.stderr**2, truth).pvalue < ALARM
    )  # power: 5 % off is seen


def test_values_scatter_as_the_closed_form_says():
    """The variance of K between equal vectors: noise independent between vectors, between times and
    between draws.
    """
    n, x0 = 2, 1.5
    chain = mpmath_oracle.GaussianChain(BETA)
    truth = float(sum(chain.kl_variance(x0, t, LINEAR[t]) for t in (2, 3))) / n
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        np.full((60_000, 1), x0),
        rng=seed(16),
        n_samples=n,
    )
    squares = (got.value - float(chain.bound(x0, LINEAR))) ** 2
    assert stats.ttest_1samp(squares, truth).pvalue > ALARM
    assert stats.ttest_1samp(1.05**2 * squares, truth).pvalue < ALARM  # power: 5 % off is seen


def recorded_states(diffusion, x0, n_samples=1):
    states = {}

    def reverse(xt, t):
        states[t] = xt.copy()
        return diffusion.law(np.full_like(xt, 0.5), 0.5)

    bounds.lower_bound(diffusion, reverse, x0, rng=seed(17), n_samples=n_samples)
    return states


def test_noise_is_independent_between_vectors():
    state = recorded_states(GaussianDiffusion(BETA), np.zeros((2, 20_000, 1)))[2]
    assert stats.pearsonr(*state.reshape(2, 20_000)).pvalue > ALARM


def test_noise_is_independent_between_times():
    states = recorded_states(GaussianDiffusion(BETA), np.zeros((20_000, 1)))
    assert stats.pearsonr(states[2].ravel(), states[3].ravel()).pvalue > ALARM


def test_noise_is_independent_between_draws():
    state = recorded_states(GaussianDiffusion(BETA), np.zeros((20_000, 1)), n_samples=2)[2]
    assert stats.pearsonr(*state.reshape(2, 20_000)).pvalue > ALARM


@pytest.mark.parametrize("t", [2, 3])
def test_gaussian_states_come_from_the_marginal(t):
    abar = [1.0, 0.8, 0.56, 0.336][t]
    state = recorded_states(GaussianDiffusion(BETA), np.full((200_000, 1), 1.5))[t].ravel()
    unit = (state - np.sqrt(abar) * 1.5) / np.sqrt(1 - abar)
    assert stats.kstest(unit, "norm").pvalue > ALARM
    assert stats.kstest(1.05 * unit, "norm").pvalue < ALARM  # power


@pytest.mark.parametrize("t", [2, 3])
def test_binomial_states_come_from_the_marginal(t):
    n, prob1 = (
        200_000,
        float(mpmath_oracle.binomial_marginal(1, mpmath_oracle.Tables(BETA), t, 0.2)[0]),
    )
    ones = int(recorded_states(BinomialDiffusion(BETA, 0.2), np.ones((n, 1)))[t].sum())
    assert stats.binomtest(ones, n, prob1).pvalue > ALARM
    assert stats.binomtest(ones, n, 0.95 * prob1).pvalue < ALARM  # power


def test_averages_do_not_depend_on_how_draws_are_held_in_memory():
    """More draws than one block holds: the scripted noise still alternates, so the average stays
    exact.
    """
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        [1.5],
        rng=mpmath_oracle.Scripted(),
        n_samples=2**18 + 2,
    )
    assert float(got.value) == pytest.approx(
        float(mpmath_oracle.GaussianChain(BETA).bound(1.5, LINEAR)), abs=ROUNDING
    )


def test_more_draws_than_one_block_give_kl_terms_of_the_right_size():
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        [1.5],
        rng=mpmath_oracle.Scripted(),
        n_samples=2**18 + 2,
    )
    truth = [
        float(mpmath_oracle.GaussianChain(BETA).expected_kl(1.5, t, LINEAR[t])) for t in (2, 3)
    ]
    np.testing.assert_allclose(got.kl, truth, rtol=ROUNDING)


# L_null


def test_null_log_likelihood_is_log_pi_for_the_gaussian():
    got = bounds.null_log_likelihood(GaussianDiffusion(BETA), [[0.5, -2.0], [1.0, 0.0]])
    truth = [
        float(sum(mpmath_oracle.gaussian_log_prob(x, 0, 1) for x in row))
        for row in ([0.5, -2.0], [1.0, 0.0])
    ]
    np.testing.assert_allclose(got, truth, rtol=8 * EPS)


@pytest.mark.parametrize("shape", [(2,), (3, 4, 2)])
def test_null_log_likelihood_is_that_of_each_vector(shape):
    got = bounds.null_log_likelihood(GaussianDiffusion(BETA), np.zeros(shape))
    np.testing.assert_allclose(got, np.full(shape[:-1], -np.log(2 * np.pi)), rtol=8 * EPS)


def test_null_log_likelihood_is_log_pi_for_the_binomial():
    got = bounds.null_log_likelihood(BinomialDiffusion(BETA, PRIOR), BITS2)
    np.testing.assert_allclose(
        got, [float(mpmath_oracle.mp.log(dyadic_chain().pi(x))) for x in BITS2], rtol=8 * EPS
    )


# Preconditions


@pytest.mark.parametrize("x0", [[[-2.0, 0.5], [2.0, 1.0]], [[1.0, -1.0]], [[0.25, 0.0]]])
def test_gaussian_preconditions_tell_how_far_equation_14_is_off(x0):
    excess = (np.mean(np.square(x0).sum(1)) - 2) * (0.8 * 0.7 * 0.6 + 0.2) / 2
    assert bounds.preconditions(GaussianDiffusion(BETA), x0).eq14_excess == pytest.approx(
        excess, abs=16 * EPS
    )


@pytest.mark.parametrize("x0", [[[1, 1], [0, 1]], [[0, 0]], [[1, 0], [0, 1], [0, 0], [0, 1]]])
def test_binomial_preconditions_tell_how_far_equation_14_is_off(x0):
    logit = np.log(np.array(PRIOR) / (1 - np.array(PRIOR)))
    excess = -(logit * (np.mean(x0, axis=0) - PRIOR)).sum() * (0.125 + 0.5)
    assert bounds.preconditions(BinomialDiffusion(DYADIC, PRIOR), x0).eq14_excess == pytest.approx(
        excess, abs=16 * EPS
    )


@pytest.mark.parametrize(
    ("diffusion", "x0", "holds"),
    [
        (GaussianDiffusion(BETA), [[-2.0], [2.0]], False),
        (GaussianDiffusion(BETA), [[-1.0], [1.0]], True),
        (BinomialDiffusion(BETA, 0.2), [[0], [1]], False),
        (BinomialDiffusion(BETA, 0.2), [[0], [0]], True),
    ],
)
def test_preconditions_say_whether_the_upper_entropy_bound_applies(diffusion, x0, holds):
    got = bounds.preconditions(diffusion, x0)
    assert got.upper_holds is holds
    assert f"bound of (24) is {'' if holds else 'not '}guaranteed: {got.statement}" in str(got)
    assert f"the mean of K by {got.eq14_excess:.6g} nats on these data" in str(got)


# Equation (24)

DATA = [[1, 1], [0, 1], [1, 1], [1, 0]]
CHAIN = mpmath_oracle.BinaryChain({(1, 1): 0.5, (0, 1): 0.25, (1, 0): 0.25}, BETA, [0.2, 0.6])


@pytest.mark.parametrize("t", [1, 2, 3])
def test_binomial_lower_side_is_the_posterior_entropy_by_enumeration(t):
    got = bounds.reverse_entropy_bounds(BinomialDiffusion(BETA, [0.2, 0.6]), DATA, t)
    assert got.lower == pytest.approx(float(CHAIN.posterior_entropy(t)), abs=16 * EPS)


@pytest.mark.parametrize("t", [1, 2, 3])
def test_binomial_lower_side_is_the_paper_s_sum_of_entropies(t):
    got = bounds.reverse_entropy_bounds(BinomialDiffusion(BETA, [0.2, 0.6]), DATA, t)
    before = CHAIN.conditional_entropy(t - 1) if t > 1 else 0
    assert got.lower == pytest.approx(
        float(CHAIN.step_entropy(t) + before - CHAIN.conditional_entropy(t)), abs=16 * EPS
    )


@pytest.mark.parametrize("t", [1, 2, 3])
def test_binomial_upper_side_is_the_step_entropy_by_enumeration(t):
    got = bounds.reverse_entropy_bounds(BinomialDiffusion(BETA, [0.2, 0.6]), DATA, t)
    assert got.upper == pytest.approx(float(CHAIN.step_entropy(t)), abs=16 * EPS)


@pytest.mark.parametrize("t", [1, 2, 3])
def test_binomial_lower_side_holds(t):
    assert bounds.reverse_entropy_bounds(
        BinomialDiffusion(BETA, [0.2, 0.6]), DATA, t
    ).lower <= CHAIN.reverse_entropy(t)


@pytest.mark.parametrize("prior", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("m", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("t", [1, 2, 3])
def test_binomial_upper_side_holds_where_it_is_said_to(prior, m, t):
    chain = mpmath_oracle.BinaryChain({(1,): m, (0,): 1 - m}, BETA, [prior])
    got = bounds.reverse_entropy_bounds(
        BinomialDiffusion(BETA, prior), [[i < 4 * m] for i in range(4)], t
    )
    assert got.upper_holds is bool(np.log(prior / (1 - prior)) * (m - prior) >= 0)
    assert not got.upper_holds or chain.reverse_entropy(t) <= got.upper + 4 * EPS


def test_binomial_upper_side_fails_on_the_paper_s_counterexample():
    got = bounds.reverse_entropy_bounds(BinomialDiffusion([0.1], 0.2), [[0], [1]], 1)
    truth = float(
        mpmath_oracle.BinaryChain({(0,): 0.5, (1,): 0.5}, [0.1], [0.2]).reverse_entropy(1)
    )
    assert [round(got.upper, 6), round(truth, 6), got.upper_holds] == [0.188404, 0.190205, False]


@pytest.mark.parametrize("t", [1, 2, 3])
@pytest.mark.parametrize("var", [0.25, 1.0, 4.0])
def test_gaussian_sides_are_those_of_the_closed_form(t, var):
    """Two points have the variance; the sides depend on nothing else of the data."""
    x0, tables = [[-(var**0.5), 1.0], [var**0.5, 1.0]], mpmath_oracle.Tables(BETA)
    got = bounds.reverse_entropy_bounds(GaussianDiffusion(BETA), x0, t)
    lower = float(2 * mpmath_oracle.gaussian_entropy(tables.posterior_var(t))) if t > 1 else -np.inf
    assert [got.lower, got.upper] == [
        pytest.approx(lower, abs=8 * EPS),
        pytest.approx(float(2 * mpmath_oracle.gaussian_entropy(BETA[t - 1])), abs=8 * EPS),
    ]


@pytest.mark.parametrize("t", [1, 2, 3])
@pytest.mark.parametrize("var", [0.25, 1.0, 4.0])
def test_gaussian_upper_side_holds_exactly_where_it_is_said_to(t, var):
    x0 = [[-(var**0.5)], [var**0.5]]
    got = bounds.reverse_entropy_bounds(GaussianDiffusion(BETA), x0, t)
    truth = float(mpmath_oracle.GaussianChain(BETA, var=var).reverse_entropy(t))
    assert got.upper_holds is (var <= 1)
    assert (truth <= got.upper + 4 * EPS) is (var <= 1)


@pytest.mark.parametrize("t", [1, 2, 3])
@pytest.mark.parametrize("var", [0.25, 1.0, 4.0])
def test_gaussian_lower_side_holds(t, var):
    got = bounds.reverse_entropy_bounds(GaussianDiffusion(BETA), [[-(var**0.5)], [var**0.5]], t)
    assert got.lower <= mpmath_oracle.GaussianChain(BETA, var=var).reverse_entropy(t)


def test_lower_gaps_sum_to_a_difference_of_mutual_information():
    """sum_{t>=2} [ H_q(X^{t-1}|X^t) - lower_t ] = I(X^0;X^1) - I(X^0;X^T)."""
    diffusion = BinomialDiffusion(BETA, [0.2, 0.6])
    gaps = sum(
        float(CHAIN.reverse_entropy(t)) - bounds.reverse_entropy_bounds(diffusion, DATA, t).lower
        for t in (2, 3)
    )
    mutual = [CHAIN.entropy(t) - CHAIN.conditional_entropy(t) for t in (1, 3)]
    assert gaps == pytest.approx(float(mutual[0] - mutual[1]), abs=1e-14)


def test_upper_gaps_sum_to_a_difference_of_entropies():
    """sum_{t>=2} [ upper_t - H_q(X^{t-1}|X^t) ] = H(X^T) - H(X^1)."""
    diffusion = BinomialDiffusion(BETA, [0.2, 0.6])
    gaps = sum(
        bounds.reverse_entropy_bounds(diffusion, DATA, t).upper - float(CHAIN.reverse_entropy(t))
        for t in (2, 3)
    )
    assert gaps == pytest.approx(float(CHAIN.entropy(3) - CHAIN.entropy(1)), abs=1e-14)


def test_lower_gap_is_the_least_possible_divergence():
    """The exact reverse kernel attains it: sum_x0 E KL_t = H_q(X^{t-1}|X^t) - lower_t."""
    chain = mpmath_oracle.BinaryChain({(1,): 0.75, (0,): 0.25}, DYADIC, [0.25])
    diffusion, x0 = BinomialDiffusion(DYADIC, 0.25), [[1], [1], [1], [0]]

    def reversal(xt, t):
        prob1 = {y: float(chain.reversal(t)((1,), (y,))) for y in (0, 1)}
        return Bernoulli(np.where(xt == 1, prob1[1], prob1[0]))

    got = bounds.lower_bound(diffusion, reversal, x0, rng=mpmath_oracle.Scripted(), n_samples=32)
    gaps = [
        float(chain.reverse_entropy(t)) - bounds.reverse_entropy_bounds(diffusion, x0, t).lower
        for t in (2, 3)
    ]
    np.testing.assert_allclose(got.kl.mean(1), gaps, rtol=0, atol=1e-14)


def test_an_array_of_any_batch_shape_is_one_set_of_data():
    diffusion = BinomialDiffusion(BETA, [0.2, 0.6])
    flat, folded = (
        bounds.reverse_entropy_bounds(diffusion, x, 2)
        for x in (np.array(DATA), np.reshape(DATA, (2, 2, 2)))
    )
    assert flat == pytest.approx(folded, abs=4 * EPS)


def test_one_vector_is_data_too():
    assert bounds.reverse_entropy_bounds(GaussianDiffusion(BETA), [0.5, 1.0], 2).upper_holds is True


# Many times at once


def asked_per_time(kernel):
    def unmarked(xt, t):
        return kernel(xt, t)

    return unmarked


@pytest.mark.parametrize("chunk", [1, 40, 2**18])
@pytest.mark.parametrize("diffusion", [GaussianDiffusion(BETA * 5), BinomialDiffusion(BETA * 5)])
def test_a_kernel_that_takes_times_gives_the_bits_of_one_asked_per_time(
    diffusion, chunk, monkeypatch
):
    x0 = seed(40).integers(2, size=(3, 2, 2)).astype(float)
    one, other = (
        bounds.lower_bound(diffusion, kernel, x0, rng=seed(41), n_samples=2)
        for kernel in (diffusion.kernel, asked_per_time(diffusion.kernel))
    )
    monkeypatch.setattr(bounds, "_HELD", chunk)
    cut = bounds.lower_bound(diffusion, diffusion.kernel, x0, rng=seed(41), n_samples=2)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    if chunk >= x0.size * 2:  # with fewer samples at a time the noise comes in another order
        np.testing.assert_allclose(cut.value, one.value, rtol=1e-14)
        np.testing.assert_array_equal(cut.kl, one.kl)


def test_a_marked_kernel_is_asked_once_for_all_times_with_a_time_for_each_state():
    asked = []

    @takes_times
    def reverse(xt, t):
        asked.append((xt.shape, t.tolist()))
        return Gaussian(xt, 1.0)

    bounds.lower_bound(GaussianDiffusion(BETA), reverse, np.zeros((4, 1)), rng=seed(42))
    assert asked == [((8, 1), [2, 2, 2, 2, 3, 3, 3, 3])]


def test_a_sum_of_ten_thousand_terms_loses_no_digits():
    terms = np.array([1.0, *[1e-17] * 10_000, 3e15, 0.3, -3e15, -1.0])[:, None]
    total, rest = bounds._compensated_sum(terms, np.zeros(1))
    np.testing.assert_allclose(total + rest, [math.fsum(terms[:, 0])], rtol=1e-13)


def test_terms_that_cancel_a_large_edge_leave_the_others_their_digits():
    """log p(x^0|x^1) = KL_2, of order 1e16: what is left of K are the other terms."""

    def reverse(xt, t):
        return Gaussian(np.full_like(xt, 1e8 if t == 2 else 0.1 * t), 1.0)

    def bound(log_edge):
        law = SimpleNamespace(mean=np.zeros((1, 1)), var=1.0, log_prob=lambda x0: log_edge)
        return bounds.lower_bound(diffusion, reverse, [0.3], rng=seed(44), edge=lambda x1: law)

    diffusion = GaussianDiffusion(np.linspace(0.1, 0.5, 8))
    kl = bound(np.zeros(1)).kl
    got = bound(kl[:1])
    assert got.kl[0] > 1e15
    others = math.fsum(kl[1:]) + diffusion.marginal([0.3], 8).kl(diffusion.prior(1))
    assert got.value == pytest.approx(-others, rel=64 * EPS)


@pytest.mark.parametrize(
    ("diffusion", "x0"),
    [
        (GaussianDiffusion(BETA), [[0.5, -1.0], [2.0, 0.0]]),
        (BinomialDiffusion(BETA, 0.2), [[0, 1]]),
    ],
)
def test_fixed_terms_are_the_bound_and_its_divergences_together(diffusion, x0):
    K = bounds.lower_bound(diffusion, diffusion.kernel, x0, rng=seed(45))
    got = bounds.fixed_terms(diffusion, x0)
    np.testing.assert_allclose(got, K.value + K.kl.sum(0), rtol=64 * EPS)


def test_an_infinite_sum_stays_infinite():
    total, rest = bounds._compensated_sum(np.array([[1.0], [-np.inf], [1.0]]), np.zeros(1))
    assert (total + rest).tolist() == [-np.inf]


# An edge with a density of its own: the discretised decoder of Ho et al. 2020, (13)


LEVELS = np.arange(256) / 127.5 - 1
SLOPE, DECODER_STD = 0.95, 0.5


class Decoder:
    """P(x^0 = level | x^1): the mass of N(SLOPE x^1, DECODER_STD^2) in a bin of width 2/255.

    The outermost bins are open.
    """

    def __init__(self, x1):
        self.mean = SLOPE * x1

    def log_prob(self, x0):
        upper = np.where(x0 > 1 - 1e-6, np.inf, x0 + 1 / 255)
        lower = np.where(x0 < -1 + 1e-6, -np.inf, x0 - 1 / 255)
        sides = (stats.norm.cdf((side - self.mean) / DECODER_STD) for side in (upper, lower))
        return np.log(next(sides) - next(sides)).sum(-1)


def enumerated_bins(x1):
    """The probability of each of the 256 levels at one x^1, at 50 digits, one after the other."""
    mean, std = mpmath_oracle.exact(SLOPE * x1), mpmath_oracle.exact(DECODER_STD)
    ends = [(mpmath_oracle.mp.mpf(2 * k - 254) / 255 - mean) / std for k in range(255)]
    below = [0, *(mpmath_oracle.mp.ncdf(end) for end in ends), 1]
    return [high - low for low, high in itertools.pairwise(below)]


def test_the_bins_of_the_decoder_are_all_there_is():
    total = np.exp(Decoder(np.full((256, 1), 0.3)).log_prob(LEVELS[:, None])).sum()
    assert total == pytest.approx(1.0, abs=1e-13)


@pytest.mark.parametrize("level", [0, 1, 128, 200, 255])
def test_a_discretised_decoder_as_edge_gives_the_bound_by_enumeration_of_its_bins(level):
    """The scripted noise is -1 and +1, so that E over x^1 is a mean of two."""
    x0, chain, tables = LEVELS[level], mpmath_oracle.GaussianChain(BETA), mpmath_oracle.Tables(BETA)
    got = bounds.lower_bound(
        GaussianDiffusion(BETA),
        linear_reverse(LINEAR),
        [[x0]],
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
        edge=Decoder,
    )
    root = np.sqrt(0.8) * x0
    points = (root + sign * np.sqrt(0.2) for sign in (-1, 1))
    log_bins = [mpmath_oracle.mp.log(enumerated_bins(x1)[level]) for x1 in points]
    last = mpmath_oracle.gaussian_kl(tables.sqrt_abar(3) * x0, tables.one_minus_abar(3), 0, 1)
    kl = sum(chain.expected_kl(x0, t, LINEAR[t]) for t in (2, 3))
    assert float(got.value[0]) == pytest.approx(float(sum(log_bins) / 2 - last - kl), rel=1e-11)
    assert np.isnan(got.eq14)


# Numbers at the edge of floating point, and arguments that are none


@pytest.mark.parametrize("size", [1e155, 1e200, -1e308])
def test_data_beyond_floating_point_are_refused_before_the_work(size):
    def reverse(xt, t):
        raise AssertionError("called")

    with pytest.raises(ValueError, match=r"log pi\(x0\) must be finite, got -inf at index \(1,\)"):
        bounds.lower_bound(GaussianDiffusion(BETA), reverse, [[0.0], [size]], rng=seed(43))


@pytest.mark.parametrize("size", [1e150, 1e154, 1e155, 1e200, 1.7e308])
def test_huge_data_have_preconditions_and_entropy_bounds_without_a_warning(size):
    diffusion, x0 = GaussianDiffusion(BETA), [[-size], [size], [size]]
    assert bounds.preconditions(diffusion, x0).eq14_excess > 1e299
    assert bounds.reverse_entropy_bounds(diffusion, x0, 2).upper_holds is False
    assert (
        bounds.lower_bound(
            diffusion, diffusion.kernel, x0, rng=seed(44), n_samples=2, edge=diffusion.edge
        ).value[0]
        < -1e290
    )


@pytest.mark.parametrize("own_edge", [True, False])
def test_divergences_whose_sum_over_data_alone_is_beyond_the_floats_raise_no_warning(own_edge):
    diffusion, x0 = GaussianDiffusion([0.1, 0.2]), np.full((20, 2), 1.5e150)
    K = bounds.lower_bound(
        diffusion,
        lambda xt, t: Gaussian(0.9 * diffusion.kernel(xt, t).mean, 1e-8),
        x0,
        rng=seed(46),
        edge=diffusion.edge if own_edge else None,
    )
    assert np.isfinite(K.value).all()
    assert np.isnan(K.eq14) if own_edge else K.eq14 == -np.inf


@pytest.mark.parametrize(
    ("diffusion", "reverse", "edge", "name"),
    [
        (None, lambda xt, t: Gaussian(xt, 1.0), None, "diffusion"),
        (GaussianDiffusion, lambda xt, t: Gaussian(xt, 1.0), None, "diffusion"),
        (GaussianDiffusion(BETA), None, None, "reverse"),
        (GaussianDiffusion(BETA), 0.5, None, "reverse"),
        (GaussianDiffusion(BETA), lambda xt, t: xt, None, "reverse"),
        (GaussianDiffusion(BETA), lambda xt, t: (xt, 1.0), None, "reverse"),
        (GaussianDiffusion(BETA), lambda xt, t: Gaussian(xt, 1.0), 3, "edge"),
        (GaussianDiffusion(BETA), lambda xt, t: Gaussian(xt, 1.0), lambda x1: x1, "edge"),
    ],
)
def test_what_is_no_diffusion_or_kernel_is_refused_by_name(diffusion, reverse, edge, name):
    with pytest.raises((ValueError, TypeError), match=name):
        bounds.lower_bound(diffusion, reverse, [[0.5]], rng=seed(45), edge=edge)


def test_a_mean_over_no_data_or_of_no_diffusion_is_refused():
    for function in (bounds.fixed_terms, bounds.null_log_likelihood, bounds.preconditions):
        with pytest.raises(TypeError, match="diffusion must be"):
            function(None, [[0.5]])
    with pytest.raises(TypeError, match="diffusion must be"):
        bounds.reverse_entropy_bounds(None, [[0.5]], 1)


# Batches


@pytest.mark.parametrize(
    "diffusion", [GaussianDiffusion(BETA), BinomialDiffusion(BETA, [0.2, 0.4])]
)
@pytest.mark.parametrize(
    "function", [bounds.preconditions, lambda d, x: bounds.reverse_entropy_bounds(d, x, 2)]
)
def test_axes_of_a_batch_are_all_averaged_over(diffusion, function):
    x0 = seed(46).integers(2, size=(4, 3, 2)).astype(float)
    flat, stacked = function(diffusion, x0.reshape(12, 2)), function(diffusion, x0)
    np.testing.assert_allclose(stacked[0], flat[0], rtol=1e-13)
    assert stacked[2] == flat[2]


def test_one_sample_has_a_standard_error_for_each_vector_that_is_nan():
    diffusion, x0 = GaussianDiffusion([0.2, 0.3]), np.zeros((4, 3, 2))
    K = bounds.lower_bound(diffusion, diffusion.kernel, x0, rng=seed(47), edge=diffusion.edge)
    assert K.stderr.shape == (4, 3)
    assert np.isnan(K.stderr).all()
    assert K.kl.shape == (1, 4, 3)


def test_two_samples_have_half_their_distance_for_standard_error():
    """The two divergences are those at the states that the kernel was given."""
    diffusion, seen = GaussianDiffusion([0.2, 0.3]), []

    def reverse(xt, t):
        seen.append(xt[:, 0])
        return Gaussian(xt, 1.0)

    x0 = 0.7
    K = bounds.lower_bound(diffusion, reverse, [x0], rng=seed(48), n_samples=2)
    law = diffusion.posterior(np.full((2, 1), x0), seen[0][:, None], 2)
    kl = law.kl(Gaussian(seen[0][:, None], 1.0))
    assert float(K.stderr) == pytest.approx(abs(kl[0] - kl[1]) / 2, rel=1e-12)


def test_to_bits_divides_by_the_log_of_two():
    assert (
        mpmath_oracle.worst_ulp(
            bounds.to_bits([1.0, -3.5, 0.0]), map(mpmath_oracle.to_bits, [1.0, -3.5, 0.0])
        )
        <= 2
    )

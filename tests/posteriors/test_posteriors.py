"""Section 2.5: factors against enumeration and quadrature, what the paper's recipes sample, and what is refused."""

import re

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp

from exact_twists import BinaryTwist, LinearTwist

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, posteriors, schedules
from dpm_ref.exact import BinaryData, BinaryModel, GaussianData, binary_states, state_probabilities
from dpm_ref.posteriors import (
    BernoulliFactor,
    Clamp,
    GaussianFactor,
    LogFactor,
    Perturbed,
    constant,
    diffused,
    noisy_bits,
    of_time,
    tempered,
)
from dpm_ref.reverse import sample_trajectory

ALPHA = 1e-6 / 40  # the false alarms allowed to one comparison of draws
SIGMAS = stats.norm.isf(ALPHA / 2)
ROUNDING = 1e-12


def rng(seed=0):
    return np.random.default_rng(seed)


# Table App.1: the perturbed binomial kernel


def random_cases(n=1000, seed=0):
    """Flip rates and factors of three bits: ordinary ones, tiny ones, certain ones."""
    draw = rng(seed)
    c = draw.random((n, 3))
    r1, r0 = np.exp(draw.normal(scale=3.0, size=(2, n, 3)))
    c[:100] **= 40
    c[100:200] = 1.0 - c[100:200] ** 40
    r1[200:300] *= draw.random((100, 3)) < 0.5
    r0[300:400] *= draw.random((100, 3)) < 0.5
    return c, r1, r0


def enumerated(c, r1, r0):
    """p r / Z and Z over all states of three bits, by products of two numbers."""
    states = binary_states(3)
    product = np.array([np.prod([(c[i] * r1[i]) if x[i] else ((1 - c[i]) * r0[i]) for i in range(3)]) for x in states])
    return product / product.sum(), product.sum()


def test_perturbed_binomial_kernel_equals_enumeration_for_1000_factorised_r():
    for c, r1, r0 in zip(*random_cases(), strict=True):
        product = BernoulliFactor(r1, r0).multiply(Bernoulli(c[None]))
        truth, Z = enumerated(c, r1, r0)
        assert np.abs(state_probabilities(product.law)[0] - truth).max() < ROUNDING
        assert abs(product.log_z[0] - np.log(Z)) < ROUNDING * max(1.0, abs(np.log(Z)))


def test_the_misprinted_perturbed_binomial_kernel_fails_the_enumeration():
    # x_i d_i in the denominator where Table App.1 must have c_i d_i
    states, worst = binary_states(3), []
    for c, r1, r0 in zip(*(part[400:] for part in random_cases()), strict=True):
        d, truth = r1 / (r1 + r0), enumerated(c, r1, r0)[0]
        gaps = []
        for x in states:
            misprint = c * d / (x * d + (1 - c) * (1 - d))
            gaps.append(np.abs(np.prod(np.where(states == 1, misprint, 1 - misprint), axis=1) - truth).max())
        worst.append(max(gaps))
    assert min(worst) > 1e6 * ROUNDING  # for every r
    assert np.median(worst) > 0.5


def test_perturbed_binomial_kernel_keeps_the_digits_of_a_tiny_rate():
    product = BernoulliFactor([1e-100], [1.0]).multiply(Bernoulli([1e-150], [1.0]))
    assert abs(product.law.prob1[0] / 1e-250 - 1.0) < 1e-12


def test_a_factor_that_forbids_what_the_law_wants_has_normaliser_zero_and_no_nan():
    product = BernoulliFactor([1.0, 1.0], [0.0, 1.0]).multiply(Bernoulli([0.0, 0.3]))
    assert product.log_z == -np.inf
    assert np.abs(product.law.prob1 - [0.0, 0.3]).max() < ROUNDING


# Gaussian products


def test_gaussian_product_and_its_normaliser_by_quadrature():
    grid = np.linspace(-12, 12, 24001)
    factor = GaussianFactor([0.7], 0.3, log_scale=-0.4)
    for mean, var in ((0.0, 1.0), (-1.0, 0.05), (2.0, 3.0)):
        density = stats.norm.pdf(grid, mean, var**0.5) * np.exp(-0.4 - (grid - 0.7) ** 2 / 0.6)
        Z = density.sum() * 0.001
        product = factor.multiply(Gaussian([mean], [var]))
        assert abs(product.log_z - np.log(Z)) < 1e-11
        assert np.abs(np.exp(product.law.log_prob(grid[:, None])) - density / Z).max() < 1e-11


def test_an_unobserved_component_is_left_as_it_is():
    law = Gaussian([0.3, 0.1], [0.7, 0.2])
    product = GaussianFactor([5.0, 1.0], [np.inf, 1.0]).multiply(law)
    assert product.law.mean[0] == 0.3
    assert product.law.var[0] == 0.7
    assert abs(product.log_z - GaussianFactor([1.0], 1.0).multiply(Gaussian([0.1], 0.2)).log_z) < ROUNDING


def test_the_evidence_of_a_noisy_observation_is_its_density():
    scale = -0.5 * np.log(2 * np.pi * 0.3)
    assert abs(GaussianFactor([0.7], 0.3, scale).multiply(Gaussian([0.1], 0.5)).log_z - stats.norm.logpdf(0.7, 0.1, 0.8**0.5)) < ROUNDING


def test_a_clamp_is_the_limit_of_a_precise_observation():
    law, var = Gaussian([0.3, -0.2], [0.5, 2.0]), 1e-9
    near = GaussianFactor([1.0, 0.0], [var, np.inf], -0.5 * np.log(2 * np.pi * var)).multiply(law)
    clamp = Clamp([1.0, 0.0], [True, False]).multiply(law)
    assert abs(near.log_z - clamp.log_z) < 1e-8
    assert np.abs(near.law.at([0.1, 0.7]) - clamp.law.at([0.1, 0.7])).max() < 1e-4
    assert clamp.law.at([0.1, 0.7])[0] == 1.0


def test_a_clamp_of_bits_is_the_conditional_law():
    law = Bernoulli([[0.2, 0.9, 0.4]])
    product = Clamp([1.0, 0.0, 0.0], [True, False, True]).multiply(law)
    assert np.array_equal(product.law.prob1, [[1.0, 0.9, 0.0]])
    assert abs(product.log_z[0] - np.log(0.2 * 0.6)) < ROUNDING


# Any r, by its slope


def test_shifted_mean_is_f_mu_plus_f_Sigma_times_the_gradient():
    product = LogFactor(lambda x: np.sin(x).sum(-1), np.cos).multiply(Gaussian([[0.3, 0.4]], [0.1, 0.2]))
    assert np.abs(product.law.mean - (np.array([0.3, 0.4]) + [0.1, 0.2] * np.cos([0.3, 0.4]))).max() < ROUNDING
    assert np.array_equal(product.law.var, [[0.1, 0.2]])
    assert product.log_z is None


def test_shifted_mean_is_right_to_first_order_in_the_variance():
    factor = GaussianFactor([1.0], 0.5)
    smooth = LogFactor(factor.log_r, lambda x: -(x - 1.0) / 0.5)
    pairs = [[r.multiply(Gaussian([0.2], [v])).law.mean[0] for r in (smooth, factor)] for v in (1e-2, 1e-3)]
    gaps = [abs(first_order - exact) for first_order, exact in pairs]
    assert 90 < gaps[0] / gaps[1] < 110


def test_any_factorised_binary_r_given_by_its_log_ratio_is_multiplied_exactly():
    factor = BernoulliFactor([0.2, 3.0, 1.0], [1.5, 0.1, 1.0])
    generic = LogFactor(factor.log_r, lambda x: np.broadcast_to(np.log(factor.r1 / factor.r0), x.shape))
    law = Bernoulli(rng(0).random((20, 3)))
    exact, tilted = factor.multiply(law), generic.multiply(law)
    assert np.abs(exact.law.prob1 - tilted.law.prob1).max() < ROUNDING
    draws = law.sample(rng=rng(1))
    weight = law.log_prob(draws) + generic.log_r(draws) - tilted.law.log_prob(draws)
    assert np.abs(exact.log_z - weight).max() < ROUNDING  # p r / p~ is Z at every state


# r over time


def test_tempered_r_leaves_the_prior_and_ends_in_r():
    factor = GaussianFactor([1.0, 2.0], [0.5, np.inf], log_scale=0.3)
    x = rng(0).normal(size=(5, 2))
    bits = noisy_bits([1, 0, 1], [0.0, 0.1, 0.3])
    for t, share in ((0, 1.0), (1, 0.75), (3, 0.25), (4, 0.0)):
        assert np.abs(tempered(factor, 4)(t).log_r(x) - share * factor.log_r(x)).max() < ROUNDING
        assert np.abs(np.exp(tempered(bits, 4)(t).log_r(binary_states(3))) - np.exp(bits.log_r(binary_states(3))) ** share).max() < ROUNDING
        generic = tempered(LogFactor(factor.log_r), 4)(t)
        assert np.abs(generic.log_r(x) - share * factor.log_r(x)).max() < ROUNDING
    assert tempered(Clamp([1.0], [True]), 4)(4).positive
    assert not tempered(Clamp([1.0], [True]), 4)(3).positive


def test_diffused_factor_of_bits_is_the_twist_of_the_forward_kernel():
    diffusion = BinomialDiffusion([0.1, 0.3, 0.2], [0.2, 0.5, 0.7])
    for factor in (BernoulliFactor([0.2, 3.0, 1.0], [1.5, 0.1, 1.0]), Clamp([1.0, 0.0, 0.0], [True, True, False])):
        twist = BinaryTwist(BinaryModel(diffusion, 3, diffusion.kernel), factor)
        for t in range(4):
            assert np.abs(np.exp(diffused(factor, diffusion)(t).log_r(binary_states(3))) - twist.values[t]).max() < ROUNDING


@pytest.mark.parametrize("factor", [GaussianFactor([1.0, 0.0], [0.5, np.inf], 0.2), Clamp([1.0, 9.0], [True, False])])
def test_diffused_gaussian_factor_is_the_twist_of_standard_normal_data(factor):
    diffusion = GaussianDiffusion([0.1, 0.3, 0.2])
    twist = LinearTwist(GaussianData(diffusion, [0.0, 0.0], np.eye(2)), factor)
    x = rng(1).normal(size=(6, 2))
    for t in (1, 2, 3):
        assert np.abs(diffused(factor, diffusion)(t).log_r(x) - twist.log_r(x, t)).max() < ROUNDING


def test_where_nothing_is_left_of_the_data_a_diffused_factor_is_its_mean_over_the_prior():
    diffusion = GaussianDiffusion([0.1, 1.0])
    factor = GaussianFactor([1.0], 1.0)
    assert abs(diffused(factor, diffusion)(2).log_r([3.0]) - factor.multiply(diffusion.prior(1)).log_z) < ROUNDING
    clamp = Clamp([1.0], [True])
    assert diffused(clamp, diffusion)(2).var[0] == np.inf
    assert abs(diffused(clamp, diffusion)(2).log_r([3.0]) - stats.norm.logpdf(1.0)) < ROUNDING


# What the paper's recipes sample: affine kernels in, mean and variance out


def moments(kernels, d=1):
    """Mean and covariance of x^0 for kernels that are affine, read off their laws at d + 1 states."""
    law = kernels.prior(d)
    mean, cov = np.array(law.mean), np.diag(law.var)
    for t in range(kernels.T, 0, -1):
        law = kernels(np.concatenate([np.zeros((1, d)), np.eye(d)]), t)
        A = (law.mean[1:] - law.mean[0]).T
        mean, cov = A @ mean + law.mean[0], A @ cov @ A.T + np.diag(law.var[0])
    return mean, cov


def stationary(T, abar_T):
    return GaussianDiffusion(1.0 - np.full(T, abar_T) ** (1.0 / T))


OBSERVED = GaussianFactor([1.0], 1.0)


def test_constant_r_samples_p_r_squared_as_T_grows():
    gaps = []
    for T in (200, 2000):
        diffusion = stationary(T, np.exp(-12.0))
        mean, cov = moments(Perturbed(diffusion, diffusion.kernel, constant(OBSERVED)))
        gaps.append(max(abs(mean[0] - 2 / 3), abs(cov[0, 0] - 1 / 3)))  # p r^2: precision 1 + 2, mean 2 / 3
    assert gaps[1] < 0.003
    assert 8 < gaps[0] / gaps[1] < 12  # it closes as 1 / T
    assert abs(mean[0] - 0.5) > 0.16  # and not on p r


def test_tempered_r_misses_by_an_amount_that_depends_on_the_schedule():
    results = []
    for abar_T in (np.exp(-5.0), np.exp(-20.0)):
        diffusion = stationary(2000, abar_T)
        mean, cov = moments(Perturbed(diffusion, diffusion.kernel, tempered(OBSERVED, 2000)))
        results.append((mean[0], cov[0, 0]))
    assert abs(results[0][0] - 0.621) < 0.001  # the limit of the differential equation m' = -m/2 + s (1 - m), v' = 1 - (1 + 2 s) v
    assert abs(results[0][1] - 0.351) < 0.001
    assert abs(results[1][0] - results[0][0]) > 0.02


def test_tempered_numbers_are_those_of_the_differential_equation():
    def rates(tau, y):
        s = tau / 5.0
        return [-y[0] / 2 + s * (1 - y[0]), 1 - (1 + 2 * s) * y[1]]

    mean, var = solve_ivp(rates, (0, 5), [0.0, 1.0], rtol=1e-10, atol=1e-12).y[:, -1]
    assert abs(mean - 0.62096) < 1e-4
    assert abs(var - 0.35082) < 1e-4
    gaps = []
    for T in (500, 1000):
        diffusion = stationary(T, np.exp(-5.0))
        got, cov = moments(Perturbed(diffusion, diffusion.kernel, tempered(OBSERVED, T)))
        gaps.append(np.hypot(got[0] - mean, cov[0, 0] - var))
    assert 1.8 < gaps[0] / gaps[1] < 2.2


def test_the_shifted_mean_has_the_bias_of_the_product():
    diffusion = stationary(2000, np.exp(-12.0))
    smooth = LogFactor(OBSERVED.log_r, lambda x: 1.0 - x)
    mean, cov = moments(Perturbed(diffusion, diffusion.kernel, constant(smooth)))
    assert abs(mean[0] - 2 / 3) < 0.003
    assert abs(cov[0, 0] - 1 / 3) < 0.003


@pytest.mark.parametrize("T", [1, 2, 20, 400])
def test_diffused_r_is_exact_for_data_that_are_the_prior_for_any_T(T):
    diffusion = stationary(T, 0.3)
    mean, cov = moments(Perturbed(diffusion, diffusion.kernel, diffused(OBSERVED, diffusion)))
    assert abs(mean[0] - 0.5) < ROUNDING
    assert abs(cov[0, 0] - 0.5) < ROUNDING


def correlated(T, rho):
    diffusion = stationary(T, np.exp(-10.0))
    data = GaussianData(diffusion, [0.0, 0.0], [[1.0, rho], [rho, 1.0]])
    return diffusion, data.reverse, constant(Clamp([1.0, 0.0], [True, False]))


def test_inpainting_by_clamping_misses_the_conditional_law_at_any_T():
    gaps = []
    for T in (250, 500, 1000):
        mean, cov = moments(Perturbed(*correlated(T, 0.5)), 2)
        gaps.append(abs(mean[1] - 0.347) + abs(cov[1, 1] - 0.824))
    assert gaps[0] > gaps[1] > gaps[2]
    assert abs(mean[1] - 0.347) < 0.008
    assert abs(cov[1, 1] - 0.824) < 0.008
    assert mean[0] == 1.0
    assert abs(mean[1] - 0.5) > 0.14  # the right answer is .5 and .75


def test_inpainting_numbers_are_those_of_the_differential_equation():
    def rates(tau, y):  # the clean pixel is 1 all the time; c = rho abar, abar = e^(tau - 10)
        c = 0.5 * np.exp(tau - 10.0)
        return [y[0] / 2 - (y[0] - c) / (1 - c**2), 1 + 2 * y[1] * (0.5 - 1 / (1 - c**2))]

    mean, var = solve_ivp(rates, (0, 10), [0.0, 1.0], rtol=1e-10, atol=1e-12).y[:, -1]
    assert abs(mean - 0.347) < 5e-4
    assert abs(var - 0.824) < 5e-4


def test_inpainting_of_independent_components_is_exact():
    mean, cov = moments(Perturbed(*correlated(50, 0.0)), 2)
    assert np.abs(mean - [1.0, 0.0]).max() < ROUNDING
    assert np.abs(cov - [[0.0, 0.0], [0.0, 1.0]]).max() < ROUNDING


def test_clamping_bits_of_factorised_data_is_exact_and_of_dependent_data_is_not():
    r = Clamp([1.0, 0.0], [True, False])
    for dependent in (False, True):
        diffusion = BinomialDiffusion(schedules.constant_erasure(50), 0.5)
        pmf = np.array([0.45, 0.05, 0.05, 0.45]) if dependent else np.outer([0.3, 0.7], [0.6, 0.4]).ravel()
        data = BinaryData(diffusion, pmf)
        kernels = Perturbed(diffusion, data.reverse, constant(r), lambda x1, data=data: data.reverse(x1, 1))
        law = state_probabilities(Bernoulli(kernels.prior(2).prob1[None]))[0]
        for t in range(50, 0, -1):
            law = law @ state_probabilities(kernels(binary_states(2), t))
        truth = pmf * [0, 0, 1, 1] / pmf[2:].sum()
        assert (np.abs(law - truth).max() < ROUNDING) != dependent
    assert np.abs(law - truth).max() > 0.05


# Draws


def test_draws_have_the_moments_of_the_kernels():
    diffusion, n = stationary(20, 0.05), 40_000
    kernels = Perturbed(diffusion, diffusion.kernel, constant(OBSERVED))
    mean, cov = moments(kernels)
    path = posteriors.sample(diffusion, diffusion.kernel, constant(OBSERVED), n, 1, rng=rng(0), keep=[20, 0])
    assert abs(path.x0.mean() - mean[0]) < SIGMAS * np.sqrt(cov[0, 0] / n)
    assert abs(path.x0.var() / cov[0, 0] - 1.0) < SIGMAS * np.sqrt(2 / n)
    assert abs(path.x0.var() / (1.05 * cov[0, 0]) - 1.0) > SIGMAS * np.sqrt(2 / n) / 2.5
    assert abs(path.states[20].mean() - 0.5) < SIGMAS * np.sqrt(0.5 / n)  # p~(x^T) = N(1/2, 1/2)
    assert np.array_equal(path.states[0], path.x0)


def test_the_perturbed_trajectory_is_itself_a_reverse_kernel():
    diffusion = stationary(5, 0.5)
    kernels = Perturbed(diffusion, diffusion.kernel, constant(OBSERVED))
    x0 = sample_trajectory(diffusion, kernels, 10, 1, rng=rng(0), edge=lambda x1: kernels(x1, 1)).x0
    assert x0.shape == (10, 1)


def test_a_learned_edge_is_perturbed_in_place_of_the_fixed_one():
    diffusion = stationary(1, 0.5)
    kernels = Perturbed(diffusion, diffusion.kernel, constant(OBSERVED), lambda x1: Gaussian(x1 + 3.0, 1.0))
    assert abs(kernels(np.zeros((1, 1)), 1).mean[0, 0] - 2.0) < ROUNDING


# What is refused


DIFFUSION, BITS = stationary(3, 0.5), BinomialDiffusion([0.1, 0.2, 0.3])


def drawn(r, diffusion=DIFFUSION, d=1, **options):
    return posteriors.sample(diffusion, diffusion.kernel, r, 8, d, **{"rng": rng(), **options})


def log(r):
    def function(x):
        with np.errstate(all="ignore"):
            return np.log(r(x))
    return LogFactor(function, np.zeros_like)


REFUSED = [
    (lambda: GaussianFactor([np.nan], 1.0), "mean must be finite"),
    (lambda: GaussianFactor([0.0], 0.0), "Clamp"),
    (lambda: GaussianFactor([0.0], -1.0), "var must be positive"),
    (lambda: GaussianFactor([0.0], np.nan), "var must be positive"),
    (lambda: GaussianFactor([[0.0]], 1.0), "shape"),
    (lambda: GaussianFactor([0.0], 1.0, np.inf), "log_scale"),
    (lambda: OBSERVED.multiply(Bernoulli([0.5])), "Gaussian law"),
    (lambda: OBSERVED.multiply(Gaussian([0.0, 0.0], 1.0)), "law must have 1 components"),
    (lambda: OBSERVED.log_r([[0.0, 1.0]]), "x must have 1 components"),
    (lambda: OBSERVED.power(1.5), "exponent"),
    (lambda: OBSERVED.diffused(BITS, 1), "GaussianDiffusion"),
    (lambda: OBSERVED.diffused(DIFFUSION, 4), "0..3"),
    (lambda: BernoulliFactor([-1.0], [1.0]), "must not be negative"),
    (lambda: BernoulliFactor([np.nan], [1.0]), "nan"),
    (lambda: BernoulliFactor([np.inf], [1.0]), "inf"),
    (lambda: BernoulliFactor([1.0, 0.0], [1.0, 0.0]), "zero everywhere"),
    (lambda: BernoulliFactor(1.0, 1.0), "d >= 1"),
    (lambda: BernoulliFactor([[1.0]], [[1.0]]), "shape"),
    (lambda: BernoulliFactor.from_logs([-np.inf], [-np.inf]), "zero everywhere"),
    (lambda: BernoulliFactor.from_logs([np.nan], [0.0]), "log_r1"),
    (lambda: BernoulliFactor([1.0], [1.0]).diffused(DIFFUSION, 1), "BinomialDiffusion"),
    (lambda: BernoulliFactor([1.0], [1.0]).log_r([0.5]), "0 or 1"),
    (lambda: BernoulliFactor([1.0], [1.0]).multiply(Gaussian([0.0], 1.0)), "prob1"),
    (lambda: noisy_bits([1], 1.0), "flip_rate"),
    (lambda: noisy_bits([2], 0.1), "bits must be 0 or 1"),
    (lambda: noisy_bits([1], 0.1, seen=[1]), "seen"),
    (lambda: Clamp([1.0], [1]), "seen"),
    (lambda: Clamp([1.0, 2.0], [True]), "seen"),
    (lambda: Clamp([np.inf], [True]), "values"),
    (lambda: Clamp([0.5], [True]).multiply(Bernoulli([0.5])), "values must be 0 or 1"),
    (lambda: Clamp([0.5], [True]).power(-0.1), "exponent"),
    (lambda: log(lambda x: 1.0 + x[..., 0]).diffused(DIFFUSION, 1), "closed form"),
    (lambda: log(lambda x: 1.0 + x).log_r(np.zeros((2, 1))), "shape"),
    (lambda: log(lambda x: -1.0 - x[..., 0]).log_r(np.zeros((2, 1))), "negative"),
    (lambda: log(lambda x: x[..., 0] * np.nan).log_r(np.zeros((2, 1))), "nan"),
    (lambda: LogFactor(lambda x: x[..., 0], lambda x: x * np.inf).multiply(Gaussian([1.0], 1.0)), "slope must be finite"),
    (lambda: LogFactor(lambda x: x[..., 0], lambda x: x[..., 0]).multiply(Gaussian([1.0], 1.0)), "slope must have x's shape"),
    (lambda: drawn(constant(log(lambda x: 0.0 * x[..., 0]))), "positive somewhere"),
    (lambda: drawn(constant(log(lambda x: -1.0 + 0.0 * x[..., 0]))), "negative"),
    (lambda: drawn(constant(log(lambda x: np.nan * x[..., 0]))), "nan"),
    (lambda: drawn(constant(LogFactor(lambda x: x[..., 0]))), "slope"),
    (lambda: drawn(OBSERVED), "callable t -> factor"),
    (lambda: drawn(lambda t: None), "callable t -> factor"),
    (lambda: drawn(tempered(OBSERVED, 2)), "0..2"),
    (lambda: tempered(OBSERVED, 0), "T must be"),
    (lambda: drawn(constant(OBSERVED), rng=0), "Generator"),
    (lambda: drawn(constant(OBSERVED), keep=[4]), "keep"),
    (lambda: drawn(constant(OBSERVED), d=2), "law must have 1 components"),
    (lambda: Perturbed(DIFFUSION, lambda x, t: Gaussian(np.zeros(2), 1.0), constant(OBSERVED)).step([[0.0]], 2), "reverse must"),
    (lambda: Perturbed(DIFFUSION, DIFFUSION.kernel, constant(OBSERVED)).step([[0.0]], 0), "1..3"),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_what_cannot_be_is_refused_by_name(index):
    call, words = REFUSED[index]
    with pytest.raises(ValueError, match=re.escape(words)):
        call()


def test_of_time_asks_for_each_time_and_takes_another_factor_at_0():
    r = of_time(lambda x, t: t * x[..., 0], lambda x, t: np.full(x.shape, float(t)), at_0=OBSERVED)
    assert r(0) is OBSERVED
    assert np.array_equal(r(2).log_r(np.array([[3.0]])), [6.0])
    assert r(2).multiply(Gaussian([1.0], 0.5)).law.mean[0] == 2.0
    assert of_time(lambda x, t: x[..., 0])(0).log_r(np.array([[3.0]]))[0] == 3.0

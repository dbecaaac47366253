"""What the paper's recipes sample, by the moments of affine kernels; draws; what is refused."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from statistics_budget import limit, seed

from dpm_ref import (
    Bernoulli,
    BinomialDiffusion,
    Gaussian,
    GaussianDiffusion,
    bounds,
    likelihood,
    posteriors,
    schedules,
)
from dpm_ref.exact import BinaryData, GaussianData, binary_states, state_probabilities
from dpm_ref.posteriors import (
    Clamp,
    GaussianFactor,
    LogFactor,
    Perturbed,
    constant,
    diffused,
    tempered,
)
from dpm_ref.reverse import sample_trajectory

SIGMAS = limit(4)
ROUNDING = 1e-12


def rng(n=0):
    return np.random.default_rng(n)


# What the paper's recipes sample: affine kernels in, mean and variance out


def moments(kernels, d=1):
    """Mean and covariance of x^0 for affine kernels, read off their laws at d + 1 states."""
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


@pytest.mark.slow
def test_constant_r_samples_p_r_squared_as_T_grows():
    gaps = []
    for T in (200, 2000):
        diffusion = stationary(T, np.exp(-12.0))
        mean, cov = moments(Perturbed(diffusion, diffusion.kernel, constant(OBSERVED)))
        gaps.append(
            max(abs(mean[0] - 2 / 3), abs(cov[0, 0] - 1 / 3))
        )  # p r^2: precision 1 + 2, mean 2 / 3
    assert gaps[1] < 0.003
    assert 8 < gaps[0] / gaps[1] < 12  # it closes as 1 / T
    assert abs(mean[0] - 0.5) > 0.16  # and not on p r


@pytest.mark.slow
def test_tempered_r_misses_by_an_amount_that_depends_on_the_schedule():
    results = []
    for abar_T in (np.exp(-5.0), np.exp(-20.0)):
        diffusion = stationary(2000, abar_T)
        mean, cov = moments(Perturbed(diffusion, diffusion.kernel, tempered(OBSERVED, 2000)))
        results.append((mean[0], cov[0, 0]))
    assert (
        abs(results[0][0] - 0.621) < 0.001
    )  # the limit of the differential equation m' = -m/2 + s (1 - m), v' = 1 - (1 + 2 s) v
    assert abs(results[0][1] - 0.351) < 0.001
    assert abs(results[1][0] - results[0][0]) > 0.02


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        pmf = (
            np.array([0.45, 0.05, 0.05, 0.45])
            if dependent
            else np.outer([0.3, 0.7], [0.6, 0.4]).ravel()
        )
        data = BinaryData(diffusion, pmf)
        kernels = Perturbed(
            diffusion, data.reverse, constant(r), lambda x1, data=data: data.reverse(x1, 1)
        )
        law = state_probabilities(Bernoulli(kernels.prior(2).prob1[None]))[0]
        for t in range(50, 0, -1):
            law = law @ state_probabilities(kernels(binary_states(2), t))
        truth = pmf * [0, 0, 1, 1] / pmf[2:].sum()
        assert (np.abs(law - truth).max() < ROUNDING) != dependent
    assert np.abs(law - truth).max() > 0.05


# Draws


def test_draws_have_the_moments_of_the_kernels():
    diffusion, n = stationary(20, 0.05), 200_000
    kernels = Perturbed(diffusion, diffusion.kernel, constant(OBSERVED))
    mean, cov = moments(kernels)
    path = posteriors.sample(
        diffusion, diffusion.kernel, constant(OBSERVED), n, 1, rng=seed(0), keep=[20, 0]
    )
    assert abs(path.x0.mean() - mean[0]) < SIGMAS * np.sqrt(cov[0, 0] / n)
    assert abs(path.x0.var() / cov[0, 0] - 1.0) < SIGMAS * np.sqrt(2 / n)
    assert abs(path.x0.var() / (1.05 * cov[0, 0]) - 1.0) > SIGMAS * np.sqrt(2 / n)  # power
    assert abs(path.states[20].mean() - 0.5) < SIGMAS * np.sqrt(0.5 / n)  # p~(x^T) = N(1/2, 1/2)
    assert np.array_equal(path.states[0], path.x0)


def test_the_perturbed_trajectory_is_itself_a_reverse_kernel():
    diffusion = stationary(5, 0.5)
    kernels = Perturbed(diffusion, diffusion.kernel, constant(OBSERVED))
    x0 = sample_trajectory(diffusion, kernels, 10, 1, rng=rng(0), edge=lambda x1: kernels(x1, 1)).x0
    assert x0.shape == (10, 1)


def test_a_learned_edge_is_perturbed_in_place_of_the_fixed_one():
    diffusion = stationary(1, 0.5)
    kernels = Perturbed(
        diffusion, diffusion.kernel, constant(OBSERVED), lambda x1: Gaussian(x1 + 3.0, 1.0)
    )
    assert abs(kernels(np.zeros((1, 1)), 1).mean[0, 0] - 2.0) < ROUNDING


def test_draws_end_in_the_edge_that_is_given():
    nothing = constant(GaussianFactor([0.0], np.inf))
    path = drawn(nothing, edge=lambda x1: Gaussian(x1 + 3.0, 1e-20), keep=[1])
    assert np.abs(path.x0 - path.states[1] - 3.0).max() < 1e-8


def test_r_over_time_is_asked_for_the_times_0_to_T_only():
    assert drawn(tempered(OBSERVED, 3)).x0.shape == (8, 1)


def test_it_is_r_of_x0_that_must_not_vanish():
    nowhere, flat = log(lambda x: 0.0 * x[..., 0]), log(lambda x: 1.0 + 0.0 * x[..., 0])
    assert drawn(lambda t: nowhere if t == 1 else flat).x0.shape == (8, 1)
    with pytest.raises(ValueError, match="positive somewhere"):
        drawn(lambda t: flat if t else nowhere)


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
    (lambda: drawn(constant(log(lambda x: 0.0 * x[..., 0]))), "positive somewhere"),
    (lambda: drawn(constant(log(lambda x: -1.0 + 0.0 * x[..., 0]))), "negative"),
    (lambda: drawn(constant(log(lambda x: np.nan * x[..., 0]))), "nan"),
    (lambda: drawn(constant(LogFactor(lambda x: x[..., 0]))), "slope"),
    (
        lambda: drawn(lambda t: LogFactor(lambda x: x[..., 0]) if t == 3 else OBSERVED),
        "got a LogFactor without one at t = 3",
    ),
    (lambda: drawn(OBSERVED), "callable t -> factor"),
    (lambda: drawn(lambda t: None), "callable t -> factor"),
    (lambda: drawn(tempered(OBSERVED, 2)), "0..2"),
    (lambda: drawn(constant(OBSERVED), rng=0), "Generator"),
    (lambda: drawn(constant(OBSERVED), keep=[4]), "keep"),
    (lambda: drawn(constant(OBSERVED), d=2), "law must have 1 components"),
    (
        lambda: Perturbed(DIFFUSION, lambda x, t: Gaussian(np.zeros(2), 1.0), constant(OBSERVED))(
            np.zeros((1, 1)), 2
        ),
        "reverse must",
    ),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_what_cannot_be_is_refused_by_name(index):
    call, words = REFUSED[index]
    with pytest.raises(ValueError, match=re.escape(words)):
        call()


def perturbed(factor=OBSERVED):
    diffusion = GaussianDiffusion([0.1, 0.5])
    return Perturbed(diffusion, diffusion.kernel, constant(factor))


def test_a_perturbed_kernel_takes_lists_of_states():
    got, truth = perturbed()([[0.0], [1.0]], 2), perturbed()(np.array([[0.0], [1.0]]), 2)
    assert got == truth


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: perturbed()([[0.0]], True), "t must be an integer"),
        (lambda: perturbed()([[0.0]], 3), "t must lie in 1..2, got 3"),
        (lambda: perturbed()([[np.nan]], 1), "xt must be finite"),
        (
            lambda: perturbed(SimpleNamespace(multiply=OBSERVED.multiply))([[0.0]], 1),
            "r must be a callable t -> factor (which has positive, log_r and multiply)",
        ),
        (
            lambda: perturbed(
                SimpleNamespace(multiply=None, positive=True, log_r=lambda x: x)
            ).log_r(np.zeros((3, 1)), 1),
            "log r must have shape (3,) for states (3, 1), got shape (3, 1)",
        ),
    ],
)
def test_what_a_perturbed_kernel_cannot_take_is_named(call, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        call()


@pytest.mark.parametrize("name", ["reverse", "edge"])
@pytest.mark.parametrize("estimate", ["lower_bound", "log_likelihood"])
def test_kernels_that_clamp_have_no_density_to_bound(estimate, name):
    diffusion = GaussianDiffusion([0.1, 0.25, 0.5])
    clamped = Perturbed(diffusion, diffusion.kernel, constant(Clamp([1.0, 0.0], [True, False])))
    edge = (lambda x1: clamped(x1, 1)) if name == "edge" else None
    reverse, x0 = clamped if name == "reverse" else diffusion.kernel, np.array([[1.0, 0.0]])
    ask = bounds.lower_bound if estimate == "lower_bound" else likelihood.log_likelihood
    with pytest.raises(ValueError, match="var must be positive"):
        ask(diffusion, reverse, x0, n_samples=4, rng=rng(), edge=edge)

"""Finite data against quadrature over x^0 and x^{t-1}, against enumeration, and against the sampled
bound.
"""

import copy
import itertools
import math
import pickle
from functools import cache, partial
from unittest import mock

import mpmath
import numpy as np
import pytest
from enumerated_bits import EnumeratedBits, MatrixModel
from scipy.integrate import trapezoid
from scipy.special import ndtri
from scipy.stats import norm

import dpm_ref.exact.finite as finite_module
import dpm_ref.exact.ideal as ideal_module
from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, bounds, schedules
from dpm_ref.exact import (
    BinaryModel,
    FiniteData,
    GaussianData,
    LinearModel,
    binary_states,
    entropy,
    gap,
    ideal_bound,
    state_probabilities,
)

LN2 = np.log(2.0)
EPS = np.finfo(float).eps
BETA = [0.1, 0.35, 0.6]
ATOMS, WEIGHTS, VAR = (
    np.array([-1.3, 0.2, 0.9]),
    np.array([0.5, 0.2, 0.3]),
    np.array([0.05, 0.3, 0.1]),
)
GRID = np.linspace(
    -12.0, 12.0, 1201
)  # the trapezoidal rule converges exponentially on what decays like a Gaussian


def line(beta=BETA, var=VAR):
    return FiniteData(GaussianDiffusion(beta), ATOMS[:, None], WEIGHTS, var)


def mixture(x, var=VAR):
    """q(x^0) on a line, as a statistician writes it."""
    return sum(
        w * norm.pdf(x, a, np.sqrt(s))
        for w, a, s in zip(WEIGHTS, ATOMS, np.broadcast_to(var, 3), strict=True)
    )


def forward(x, t, beta=BETA):
    """q(x^t) on a line by quadrature over x^0."""
    abar = np.prod(1 - np.array(beta[:t]))
    density = norm.pdf(np.atleast_1d(x)[:, None], np.sqrt(abar) * GRID, np.sqrt(1 - abar))
    return trapezoid(mixture(GRID) * density, GRID)


@cache
def forward_on_grid(t):
    return mixture(GRID) if t == 0 else forward(GRID, t)


def true_step(xt, t, beta=BETA):
    """q(x^{t-1} | x^t) on the grid, by Bayes' rule and quadrature."""
    joint = forward_on_grid(t - 1) * norm.pdf(
        xt, np.sqrt(1 - beta[t - 1]) * GRID, np.sqrt(beta[t - 1])
    )
    return joint / trapezoid(joint, GRID)


def moments(xt, t):
    step = true_step(xt, t)
    mean = trapezoid(step * GRID, GRID)
    return np.array([mean, trapezoid(step * (GRID - mean) ** 2, GRID)])


# Gaussian atoms


def test_the_marginal_density_is_the_integral_over_the_data():
    for t in (1, 2, 3):
        np.testing.assert_allclose(
            np.exp(line().log_prob([[-2.0], [0.1], [1.5]], t)),
            forward([-2.0, 0.1, 1.5], t),
            rtol=1e-12,
        )


def test_the_density_of_the_data_is_the_mixture():
    np.testing.assert_allclose(
        np.exp(line().log_prob(GRID[:, None], 0)), mixture(GRID), rtol=1e-12, atol=1e-300
    )


@pytest.mark.parametrize("t", [1, 2, 3])
def test_the_ideal_kernel_has_the_moments_of_the_true_step(t):
    for xt in (-1.7, 0.0, 0.4, 2.2):
        law = line().reverse([xt], t)
        np.testing.assert_allclose([law.mean[0], law.var[0]], moments(xt, t), rtol=1e-11)


WRONG_STEPS = {
    "std for var": lambda data, xt, t: (data.reverse(xt, t).mean, np.sqrt(data.reverse(xt, t).var)),
    "t shifted by one": lambda data, xt, t: (
        data.reverse(xt, t + 1).mean,
        data.reverse(xt, t + 1).var,
    ),
    "var forgotten": lambda data, xt, t: (
        line(var=0.0).reverse(xt, t).mean,
        line(var=0.0).reverse(xt, t).var,
    ),
    "variance within atoms only": lambda data, xt, t: (
        data.reverse(xt, t).mean,
        data.diffusion.posterior_var(t),
    ),
    "marginal for posterior": lambda data, xt, t: (
        data.diffusion.marginal(ATOMS @ WEIGHTS[:, None], t).mean,
        1.0,
    ),
    "weights forgotten": lambda data, xt, t: (
        FiniteData(data.diffusion, data.atoms, var=VAR).reverse(xt, t).mean,
        1.0,
    ),
}


@pytest.mark.parametrize("wrong", WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_quadrature_rejects_a_wrong_ideal_kernel(wrong):
    mean, var = wrong(line(), np.array([0.4]), 2)
    assert (
        np.abs(np.array([float(mean[0]), float(np.ravel(var)[0])]) - moments(0.4, 2)).max() > 1e-3
    )


def test_the_true_step_is_that_of_bayes_by_quadrature():
    inside = slice(450, 750)
    for t in (1, 2, 3):
        got = np.exp(line().log_reverse(GRID[inside, None], np.full((300, 1), 0.4), t))
        np.testing.assert_allclose(got, true_step(0.4, t)[inside], rtol=1e-10)


def test_the_true_step_mixes_the_posteriors_of_the_atoms():
    diffusion = GaussianDiffusion(BETA)
    data = FiniteData(diffusion, [[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]], WEIGHTS)
    x_prev, xt = np.array([0.3, -0.2]), np.array([0.8, 0.1])
    for t in (2, 3):
        posteriors = np.exp(
            diffusion.posterior(data.atoms, xt, t).log_prob(np.tile(x_prev, (3, 1)))
        )
        assert np.exp(data.log_reverse(x_prev, xt, t)) == pytest.approx(
            data.responsibilities(xt, t) @ posteriors, rel=1e-13
        )


def test_responsibilities_are_bayes_rule():
    data, xt = line(), 0.4
    abar = np.cumprod(1 - np.array(BETA))
    for t in (1, 2, 3):
        joint = WEIGHTS * norm.pdf(
            xt, np.sqrt(abar[t - 1]) * ATOMS, np.sqrt(abar[t - 1] * VAR + 1 - abar[t - 1])
        )
        np.testing.assert_allclose(data.responsibilities([xt], t), joint / joint.sum(), rtol=1e-13)


def test_a_single_atom_has_the_posterior_for_its_true_step():
    diffusion, xt = GaussianDiffusion([1e-12, 1e-9, 0.3]), np.array([[0.4, -2.0]])
    for t in (2, 3):
        got, truth = (
            FiniteData(diffusion, [[1.0, -1.0]]).reverse(xt, t),
            diffusion.posterior([[1.0, -1.0]], xt, t),
        )
        np.testing.assert_allclose([got.mean, got.var], [truth.mean, truth.var], rtol=1e-14)


def test_variance_between_near_atoms_does_not_cancel():
    """Two atoms 2e-7 apart, far from 0: the second moments agree to 14 digits, the variance is
    still right.
    """
    diffusion = GaussianDiffusion([1e-14, 1e-14, 0.5])
    data = FiniteData(diffusion, [[1.0 - 1e-7], [1.0 + 1e-7]])
    of_x0 = diffusion.posterior_coefficients(2)[0]
    assert data.reverse([1.0], 2).var[0] == pytest.approx(
        float(diffusion.posterior_var(2)) + float(of_x0) ** 2 * 1e-14, rel=1e-6
    )


@pytest.mark.parametrize("var", [1.0, [1.0, 2.0]])
@pytest.mark.parametrize("beta", [1e-20, 1e-40, 1e-150])
def test_a_tiny_beta_keeps_the_variance_between_atoms(beta, var):
    data = FiniteData(GaussianDiffusion([0.5, beta]), [[1.0], [-2.0]], var=var)
    states = rng().standard_normal(20)
    law = data.reverse(states[:, None], 2)
    for row, x in enumerate(states):
        with mpmath.workdps(400):
            mean, variance = moments_of_two(mpmath.mpf(x), mpmath.mpf(beta), np.full(2, var))
        np.testing.assert_allclose(law.mean[row, 0], float(mean), rtol=8 * EPS)
        np.testing.assert_allclose(law.var[row, 0], float(variance), rtol=8 * EPS)


def moments_of_two(x, beta, var):
    """Mean and variance of q(x^1 | x^2) for equal atoms 1 and -2, beta_1 = 1/2, by Bayes' rule."""
    parts = []
    for atom, s in zip([1, -2], var, strict=True):
        u, m = (mpmath.mpf(s) + 1) / 2, atom / mpmath.sqrt(2)
        v = (1 - beta) * u + beta
        gain = mpmath.sqrt(1 - beta) * u / v
        density = mpmath.npdf(x, mpmath.sqrt(1 - beta) * m, mpmath.sqrt(v))
        parts.append((density, m + gain * (x - mpmath.sqrt(1 - beta) * m), beta * u / v))
    whole = sum(density for density, _, _ in parts)
    mean = sum(density * m for density, m, _ in parts) / whole
    return mean, sum(density * (s + (m - mean) ** 2) for density, m, s in parts) / whole


def test_the_ideal_bound_at_a_tiny_beta_is_that_of_a_step_less():
    """At beta_2 = 1e-40 the second step neither costs nor brings anything."""
    atoms, lattices = [[1.0], [-2.0]], {"n_samples": 1600}
    two, one = (
        ideal_bound(
            FiniteData(GaussianDiffusion(beta), atoms, var=1.0), rng=rng(), **lattices
        ).value
        for beta in ([0.5, 1e-40], [0.5])
    )
    assert two == pytest.approx(one, abs=1e-12)


@pytest.mark.parametrize("first", [0.5, None])
@pytest.mark.parametrize("beta", [5e-324, 1e-310, 1e-300, 1e-3, 1.0])
@pytest.mark.parametrize("var", [0.25, 1.0, 4.0])
def test_the_ideal_divergence_holds_from_the_smallest_beta_to_the_largest(first, beta, var):
    """One Gaussian: x^{t-1} given x^t has variance beta_t u / v, with u and v those of x^{t-1} and
    x^t, and given x^0 too it has beta_t (1 - abar_{t-1}) / (1 - abar_t).
    """
    rates = [first or beta, beta, beta]
    data = FiniteData(GaussianDiffusion(rates), [[1.0]], var=var)
    found = data.divergence([[0.3], [1.0], [-7.0]], 3)
    with mpmath.workdps(700):
        before = (1 - mpmath.mpf(rates[0])) * (1 - mpmath.mpf(beta))
        after = before * (1 - mpmath.mpf(beta))
        u, v = (abar * var + 1 - abar for abar in (before, after))
        truth = mpmath.log(u / v * (1 - after) / (1 - before)) / 2
    np.testing.assert_allclose(found, float(truth), rtol=1e-13)


@pytest.mark.parametrize("beta", [[5e-324] * 3, [1e-300] * 3, [5e-324, 0.5], [1.0, 5e-324]])
@pytest.mark.parametrize("var", [1.0, [0.5, 2.0]])
def test_the_gap_at_the_smallest_beta_has_no_part_without_a_number(beta, var):
    data = FiniteData(GaussianDiffusion(beta), [[1.0], [-2.0]], var=var)
    parts = gap(data, rng=rng(), n_samples=64)
    assert np.isfinite([parts.edge, parts.end, *parts.form, parts.stderr]).all()
    assert parts.ideal < data.diffusion.prior(1).log_prob(data.atoms).max()


def test_atoms_that_no_noise_has_touched_are_known_for_certain():
    """Three steps of 5e-324 leave atoms where they are: K* = L_null + log(3) / 2."""
    data = FiniteData(GaussianDiffusion([5e-324] * 3), [[1.0], [-2.0]])
    bound = ideal_bound(data, rng=rng(), n_samples=64)
    assert bound.kl.tolist() == [0.0, 0.0]
    assert bound.value == pytest.approx(bound.null + np.log(3.0) / 2, abs=1e-12)
    assert (data.reverse([[1.0]], 2).var > 0).all()


def test_far_states_keep_their_density():
    assert np.isfinite(line().log_prob([1e6], 2))
    assert line().responsibilities([1e6], 2).sum() == pytest.approx(1.0, abs=1e-15)


def test_data_forgotten_at_once_is_reversed_to_its_moments():
    data = line(beta=[1.0])
    law = data.reverse([[0.7], [-3.0]], 1)
    mean = WEIGHTS @ ATOMS
    np.testing.assert_allclose(law.mean[:, 0], mean, rtol=1e-15)
    np.testing.assert_allclose(law.var[:, 0], WEIGHTS @ (VAR + (ATOMS - mean) ** 2), rtol=1e-14)
    assert data.log_prob([0.7], 1) == pytest.approx(norm.logpdf(0.7), abs=1e-15)


def test_times_may_differ_between_states():
    x, t = np.linspace(-2, 2, 6).reshape(2, 3, 1), np.array([[1, 3, 2], [2, 1, 3]])
    law, single = (
        line().reverse(x, t),
        [[line().reverse(x[i, j], int(t[i, j])) for j in range(3)] for i in range(2)],
    )
    assert law.mean.shape == (2, 3, 1)
    np.testing.assert_array_equal(law.mean, [[one.mean for one in row] for row in single])
    densities = [[line().log_prob(x[i, j], int(t[i, j]) - 1) for j in range(3)] for i in range(2)]
    np.testing.assert_array_equal(line().log_prob(x, t - 1), densities)


def test_blocks_do_not_change_the_result(monkeypatch):
    x = np.linspace(-2, 2, 50)[:, None]
    whole = line().reverse(x, 2), line().log_prob(x, 2)
    monkeypatch.setattr(finite_module, "_BLOCK", 7)
    parts = line().reverse(x, 2), line().log_prob(x, 2)
    np.testing.assert_array_equal([whole[0].mean, whole[0].var], [parts[0].mean, parts[0].var])
    np.testing.assert_array_equal(whole[1], parts[1])


def test_inputs_are_not_changed():
    atoms, xt = np.array([[0.0], [1.0]]), np.array([[0.5]])
    atoms.flags.writeable = xt.flags.writeable = False
    data = FiniteData(GaussianDiffusion(BETA), atoms)
    data.reverse(xt, 2)
    assert (atoms.tolist(), xt.tolist(), data.atoms.flags.writeable) == (
        [[0.0], [1.0]],
        [[0.5]],
        False,
    )


# Binary atoms


BITS = np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]])


def bits(beta=BETA, prior=0.3):
    return FiniteData(BinomialDiffusion(beta, prior), BITS, WEIGHTS)


def test_binary_marginals_are_those_of_the_enumeration():
    truth = EnumeratedBits(bits())
    for t in (0, 1, 2, 3):
        got = np.exp(bits().log_prob(truth.states, t))
        np.testing.assert_allclose(got, truth.marginal(t), rtol=1e-13)


@pytest.mark.parametrize("prior", [0.3, [0.1, 0.5, 0.7, 0.2]], ids=str)
def test_binary_ideal_kernel_is_that_of_the_enumeration(prior):
    truth = EnumeratedBits(bits(prior=prior))
    for t in (1, 2, 3):
        got = bits(prior=prior).reverse(truth.states, t)
        np.testing.assert_allclose([got.prob1, got.prob0], truth.match(t), rtol=1e-13, atol=1e-16)


def test_binary_true_step_is_that_of_the_enumeration():
    truth = EnumeratedBits(bits())
    for t in (1, 2, 3):
        got = bits().log_reverse(truth.states[None, :, :], truth.states[:, None, :], t)
        np.testing.assert_allclose(np.exp(got), truth.reversal(t), rtol=1e-12)


def test_a_state_that_is_no_atom_has_no_responsibilities():
    assert bits().log_prob([0, 0, 0, 0], 0) == -np.inf
    message = r"xt must have positive probability at t = 0, got \[0\. 0\. 0\. 0\.\]"
    with pytest.raises(ValueError, match=message):
        bits().responsibilities([bits().atoms[0], [0, 0, 0, 0]], 0)


def test_binary_atoms_survive_a_complete_erasure():
    data = bits(beta=schedules.constant_erasure(4))
    np.testing.assert_allclose(data.responsibilities([1, 1, 0, 0], 4), WEIGHTS, rtol=1e-14)
    np.testing.assert_allclose(
        data.log_prob([1, 1, 0, 0], 4), 2 * np.log(0.3) + 2 * np.log(0.7), rtol=1e-14
    )


# K*, of binary data


def heartbeat(T, length=20, period=5, prior=0.2):
    return FiniteData(
        BinomialDiffusion(schedules.constant_erasure(T), prior),
        np.tile(np.eye(period), length // period),
    )


def enumerated_bound(data):
    """K of the ideal kernel from the definition of K, over all 2^d states."""
    K = BinaryModel(data.diffusion, data.atoms.shape[1], data.reverse).lower_bound()
    return EnumeratedBits(data).pmf @ K


@pytest.mark.parametrize(
    "data",
    [
        bits(),
        bits(prior=[0.1, 0.5, 0.7, 0.5]),
        bits(prior=0.5),
        heartbeat(5, 10, 5),
        heartbeat(4, 6, 2),
        heartbeat(4, 9, 3, 0.4),
        heartbeat(1, 4, 2),
        FiniteData(BinomialDiffusion(BETA, 0.3), [[1, 1, 0, 0], [0, 0, 1, 1]], [0.25, 0.75]),
        FiniteData(BinomialDiffusion(BETA, [0.3, 0.3, 0.4, 0.4]), [[1, 1, 0, 0], [0, 0, 1, 1]]),
        FiniteData(BinomialDiffusion(BETA, 0.3), [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]),
    ],
    ids=[
        "weights",
        "priors",
        "half",
        "ten bits",
        "two phases",
        "three phases",
        "one step",
        "unequal",
        "unlike priors",
        "parity",
    ],
)
@pytest.mark.slow
def test_the_ideal_bound_is_that_of_all_states(data):
    assert ideal_bound(data).value == pytest.approx(enumerated_bound(data), abs=1e-13)


WRONG_KERNELS = {
    "t shifted by one": lambda data, xt, t: data.reverse(xt, min(t + 1, data.diffusion.T)),
    "0 and 1 exchanged": lambda data, xt, t: Bernoulli(data.reverse(xt, t).prob0),
    "weights forgotten": lambda data, xt, t: FiniteData(data.diffusion, data.atoms).reverse(xt, t),
    "nearest atom's posterior": lambda data, xt, t: data.diffusion.posterior(
        data.atoms[data.responsibilities(xt, t).argmax(-1)], xt, t
    ),
}


@pytest.mark.parametrize("wrong", WRONG_KERNELS.values(), ids=WRONG_KERNELS)
def test_the_ideal_bound_lies_above_that_of_a_wrong_kernel(wrong):
    data = bits()
    model = BinaryModel(data.diffusion, 4, lambda xt, t: wrong(data, xt, t))
    assert EnumeratedBits(data).pmf @ model.lower_bound() < ideal_bound(data).value - 1e-3


def heartbeat_bound_by_counts(T, pi=0.2):
    """K* from its definition: a state matters through its number of ones in each phase, 5^5 cases;
    data in phase 0 by symmetry.
    """
    counts = np.array(list(itertools.product(range(5), repeat=5)))
    ways = np.prod([[math.comb(4, k) for k in row] for row in counts], axis=1)
    total = 0.0
    for t in range(2, T + 1):
        abar, before, beta = (T - t) / T, (T - t + 1) / T, 1 / (T - t + 1)
        on, off = abar + pi * (1 - abar), pi * (1 - abar)  # q(x_i^t = 1 | x_i^0 = 1) and 0
        log_odds = counts * np.log(on / off) + (4 - counts) * np.log(
            (1 - pi) * (1 - abar) / (1 - off)
        )  # of each phase
        share = np.exp(log_odds - log_odds.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        weight = ways * np.exp(
            (counts * np.log(off) + (4 - counts) * np.log(1 - off)).sum(1) + log_odds[:, 0]
        )
        for bit in (0, 1):
            flip = beta * (pi if bit else 1 - pi)
            joint = [
                [
                    (bit * (1 - beta) + flip) * (before * x0 + pi * (1 - before)),
                    ((1 - bit) * (1 - beta) + flip) * (before * (1 - x0) + (1 - pi) * (1 - before)),
                ]
                for x0 in (0, 1)
            ]
            posterior = [
                np.array(pair) / sum(pair) for pair in joint
            ]  # (P(1), P(0)) given x0 = 0 and given 1
            for phase in range(5):
                true = posterior[phase == 0]
                match = (
                    share[:, phase, None] * posterior[1]
                    + (1 - share[:, phase, None]) * posterior[0]
                )
                total += weight @ (
                    (counts if bit else 4 - counts)[:, phase] * (true * np.log(true / match)).sum(1)
                )
    first = np.array([pi / T, (1 - 1 / T) + pi / T])  # q(x_i^1 = 1 | x_i^0)
    ends = [
        p * np.log(p / pi) + (1 - p) * np.log((1 - p) / (1 - pi)) for p in first
    ]  # q(x^T|x^0) is pi
    return 4 * np.log(pi) + 16 * np.log(1 - pi) + 16 * ends[0] + 4 * ends[1] - total


@pytest.mark.parametrize("T", [1000, 2000])
@pytest.mark.slow
def test_the_heartbeat_has_its_ideal_bound(T):
    assert ideal_bound(heartbeat(T)).value == pytest.approx(
        heartbeat_bound_by_counts(T), abs=1e-8
    )  # log(1 - p), T times


@pytest.mark.slow
def test_the_heartbeat_s_ideal_bound_lies_below_that_of_the_true_reversal_and_the_limit():
    got = ideal_bound(heartbeat(1000)).value
    assert got < exact_reversal(heartbeat(1000))[0] < np.log(1 / 5)


@pytest.mark.slow
def test_the_ideal_bound_of_a_single_step_is_log_pi():
    single = FiniteData(BinomialDiffusion([0.3], 0.2), [[0, 1], [1, 1], [0, 0]])
    got = ideal_bound(single)
    assert got.kl.shape == (0,)
    mean = (3 * np.log(0.2) + 3 * np.log(0.8)) / 3
    assert (got.value, got.stderr) == (pytest.approx(mean, rel=1e-14), 0.0)


def test_one_step_of_the_heartbeat_is_a_plain_sum_over_its_states():
    """Fifteen bits, five phases, t = 500 of 1000: E KL_t by 2^15 states, atoms and components,
    without lumping or entropies.
    """
    T, t, pi = 1000, 500, 0.2
    atoms, states = (
        np.tile(np.eye(5), 3),
        (np.arange(2**15)[:, None] >> np.arange(15) & 1).astype(float),
    )
    abar, before, beta = (T - t) / T, (T - t + 1) / T, 1 / (T - t + 1)
    q = np.stack(
        [
            np.prod(
                np.where(states == 1, a * abar + pi * (1 - abar), 1 - a * abar - pi * (1 - abar)),
                axis=1,
            )
            for a in atoms
        ],
        1,
    )
    likelihood1 = np.where(states == 1, 1 - beta + pi * beta, (1 - pi) * beta)
    likelihood0 = np.where(states == 1, pi * beta, 1 - beta + (1 - pi) * beta)
    start1 = atoms * before + pi * (1 - before)
    posteriors = [s * likelihood1 / (s * likelihood1 + (1 - s) * likelihood0) for s in start1]
    match = sum(
        weight[:, None] * posterior
        for weight, posterior in zip((q / q.sum(1, keepdims=True)).T, posteriors, strict=True)
    )
    kl = [p * np.log(p / match) + (1 - p) * np.log((1 - p) / (1 - match)) for p in posteriors]
    truth = sum((q[:, k] @ kl[k]).sum() for k in range(5)) / 5
    got = ideal_bound(heartbeat(T, 15)).kl[t - 2]
    assert got == pytest.approx(truth, rel=1e-10)


@pytest.mark.slow
def test_the_sampled_bound_of_the_ideal_kernel_agrees_with_the_enumeration():
    data = heartbeat(60)
    got = bounds.lower_bound(
        data.diffusion, data.reverse, data.atoms, rng=np.random.default_rng(0), n_samples=800
    )
    stderr = np.sqrt((got.stderr**2).sum()) / 5
    assert abs(got.value.mean() - ideal_bound(data).value) < 5.4 * stderr  # 1e-7 two-sided
    assert abs((got.value - got.kl.sum(0)).mean() - ideal_bound(data).value) > 20 * stderr


@pytest.mark.slow
def test_lattices_agree_with_the_enumeration():
    data = heartbeat(30)
    got, truth = ideal_bound(data, rng=np.random.default_rng(0), n_samples=2048), ideal_bound(data)
    assert (
        abs(got.value - truth.value) < 9 * got.stderr
    )  # 1e-7 two-sided, t with 15 degrees of freedom
    assert got.null == truth.null
    assert np.abs(got.kl - truth.kl).max() < 0.01


def test_bits_that_differ_are_too_many_to_enumerate():
    data = FiniteData(BinomialDiffusion(BETA), np.eye(21))
    with pytest.raises(ValueError, match="at most 1048576 distinguishable states, got 2"):
        ideal_bound(data)


# K* and entropies of Gaussian atoms


def test_the_ideal_bound_on_a_line_is_that_of_quadrature():
    """E KL_t by quadrature over x^t and x^{t-1}: KL( true step || match ) and I(X^{t-1}; X^0 |
    X^t), which is the lower gap of (24).
    """
    data, xs = line(), np.linspace(-7, 7, 141)
    got = ideal_bound(data, rng=np.random.default_rng(0), n_samples=2**14)
    for t in (2, 3):
        steps = np.array([true_step(x, t) for x in xs])
        match = norm.logpdf(
            GRID, *(np.array([moments(x, t) for x in xs]).T[:, :, None] ** [[[1]], [[0.5]]])
        )
        cross = trapezoid(forward(xs, t) * trapezoid(-steps * match, GRID), xs)
        truth = cross - 0.5 * np.log(2 * np.pi * np.e * float(data.diffusion.posterior_var(t)))
        assert got.kl[t - 2] == pytest.approx(truth, abs=1e-4)


def test_the_sampled_bound_of_the_ideal_kernel_agrees_with_lattices():
    data = FiniteData(
        GaussianDiffusion(BETA), [[-1.0, 0.3], [1.2, 0.5], [0.0, -0.8]], WEIGHTS, 0.02
    )
    x0 = data.sample(20_000, rng=np.random.default_rng(1))
    sampled = bounds.lower_bound(
        data.diffusion, data.reverse, x0, rng=np.random.default_rng(2)
    ).value
    got = ideal_bound(data, rng=np.random.default_rng(0), n_samples=2**14)
    stderr = sampled.std() / np.sqrt(len(x0))
    assert got.stderr < stderr / 10
    assert abs(sampled.mean() - got.value) < 5.4 * stderr + 9 * got.stderr


@pytest.mark.slow
def test_the_standard_error_is_honest():
    """Over 40 generators the error in units of the standard error is of order one, and the average
    is unbiased.
    """
    data = FiniteData(GaussianDiffusion(BETA), [[-1.0], [1.0]], [0.3, 0.7])
    truth = ideal_bound(data, rng=np.random.default_rng(0), n_samples=2**17).value
    estimates = [
        ideal_bound(data, rng=np.random.default_rng(seed), n_samples=64) for seed in range(1, 41)
    ]
    z = np.array([(got.value - truth) / got.stderr for got in estimates])
    assert 0.5 < z.std() < 2.0
    assert abs(z.mean()) < 1.0


def roll(m, noise, diffusion):
    """The Swiss roll: m atoms evenly spaced in the curve's angle a = 1.5 pi (1 + 2u), centred,
    scaled to E|x|^2 = 2.
    """
    angle = 1.5 * np.pi * (1 + 2 * (np.arange(m) + 0.5) / m)
    curve = angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    curve -= curve.mean(0)
    var = (curve**2).sum(1).mean() / 2 + noise**2
    return FiniteData(diffusion, curve / np.sqrt(var), var=noise**2 / var)


ROLL = roll(1000, 0.1, GaussianDiffusion(schedules.log_snr_linear(40, beta1=1e-5, abar_T=1e-3)))


@pytest.mark.slow
def test_the_roll_has_its_ideal_bound():
    """Truth: K* - L_null = 4.1484 bits by quadrature over a grid of x^t at every t, with steps of
    0.5 and of 0.8 standard deviations.
    """
    got = ideal_bound(ROLL, rng=np.random.default_rng(0), n_samples=4096)
    assert got.stderr / LN2 < 0.005
    assert abs((got.value - got.null) / LN2 - 4.1484) < 9 * got.stderr / LN2


@pytest.mark.slow
def test_one_step_of_the_roll_is_a_sum_over_a_grid():
    t, step = 25, 0.05
    states = np.stack(np.meshgrid(*2 * [np.arange(-6, 6, step)], indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(ROLL.log_prob(states, t)) * step**2
    assert density.sum() == pytest.approx(1.0, abs=1e-6)
    truth = density @ ROLL.reverse(states, t).entropy() - np.log(
        2 * np.pi * np.e * float(ROLL.diffusion.posterior_var(t))
    )
    coarse = FiniteData(ROLL.diffusion, ROLL.atoms[::4], var=ROLL.var[::4])
    assert ideal_bound(coarse, rng=np.random.default_rng(0), n_samples=2048).kl[
        t - 2
    ] == pytest.approx(truth, abs=2e-3)


@pytest.mark.slow
def test_the_roll_has_its_limit():
    got = entropy(ROLL, 0, rng=np.random.default_rng(0), n_samples=2**14)
    null = bounds.null_log_likelihood(ROLL.diffusion, ROLL.points()[0]).mean()
    assert abs((-got.value - null) / LN2 - 4.4737) < 9 * got.stderr / LN2
    assert got.stderr / LN2 < 0.005


def test_entropy_on_a_line_is_that_of_quadrature():
    for t in (0, 1, 3):
        density = forward_on_grid(t)
        truth = -trapezoid(density * np.log(np.maximum(density, 1e-300)), GRID)
        got = entropy(line(), t, rng=np.random.default_rng(t), n_samples=2**14)
        assert abs(got.value - truth) < 9 * got.stderr
        assert got.stderr < 2e-3


def test_entropy_of_one_wide_atom_is_that_of_a_gaussian():
    data = FiniteData(GaussianDiffusion(BETA), [[0.5, -1.0]], var=0.3)
    truth = GaussianData(data.diffusion, [0.5, -1.0], 0.3 * np.eye(2))
    for t in (0, 2):
        got = entropy(data, t, rng=np.random.default_rng(0), n_samples=2**14)
        assert abs(got.value - truth.entropy(t)) < 9 * got.stderr


def test_binary_entropy_is_that_of_the_enumeration():
    for t in (0, 1, 2, 3):
        truth = EnumeratedBits(bits()).entropy(t)
        assert entropy(bits(), t) == pytest.approx((truth, 0.0), abs=1e-14)


def test_one_gaussian_atom_reaches_what_the_algebra_says():
    data = FiniteData(GaussianDiffusion(BETA), [[0.5]], var=0.3)
    gaussian = GaussianData(data.diffusion, [0.5], [[0.3]])
    got = ideal_bound(data, rng=np.random.default_rng(0), n_samples=16)
    assert got.value == pytest.approx(
        LinearModel(data.diffusion, gaussian.kernels()).averages(gaussian).bound, abs=1e-14
    )
    assert got.stderr < 1e-14


def exact_reversal(data, **lattices):
    """max K, that of the true steps behind the edge T_pi, as the split gap has it."""
    parts = gap(data, **lattices)
    return parts.ideal + parts.form.sum(), parts.stderr


def test_the_gap_s_form_is_what_the_true_steps_of_bits_gain():
    truth = EnumeratedBits(bits())
    edge = state_probabilities(bits().diffusion.edge(truth.states))
    model = MatrixModel(bits().diffusion, [edge, truth.reversal(2), truth.reversal(3)])
    weighted = truth.pmf @ model.lower_bound()
    assert exact_reversal(bits())[0] == pytest.approx(weighted, abs=1e-13)
    assert ideal_bound(bits()).value < weighted - 1e-3


def test_the_true_steps_of_one_gaussian_atom_reach_what_the_algebra_says():
    data = FiniteData(GaussianDiffusion(BETA), [[0.5, 0.0]], var=0.3)
    gaussian = GaussianData(data.diffusion, [0.5, 0.0], 0.3 * np.eye(2))
    truth = LinearModel(data.diffusion, gaussian.kernels()).averages(gaussian).bound
    assert exact_reversal(data, rng=np.random.default_rng(0))[0] == pytest.approx(truth, abs=1e-12)


def test_the_gap_s_form_on_a_line_is_what_the_ideal_kernel_s_shape_costs():
    """sum_t E KL( true step || match ), by quadrature."""
    xs, cost = np.linspace(-7, 7, 281), 0.0
    for t in (2, 3):
        steps = np.array([true_step(x, t) for x in xs])
        mean, var = np.array([moments(x, t) for x in xs]).T[:, :, None]
        ratio = np.log(np.maximum(steps, 1e-300)) - norm.logpdf(GRID, mean, np.sqrt(var))
        cost += trapezoid(forward(xs, t) * trapezoid(steps * ratio, GRID), xs)
    got = gap(line(), rng=np.random.default_rng(0), n_samples=2**14)
    stderr = np.sqrt((got.stderrs[1:-1] ** 2).sum())
    assert abs(got.form.sum() - cost) < 9 * stderr  # 1e-7 two-sided, t with 15 degrees of freedom
    assert cost > 10 * stderr


def test_the_ideal_bound_lies_above_null():
    got = ideal_bound(heartbeat(10, 10))
    assert got.null < got.value < np.log(1 / 5)


# What is known of the data


def test_atoms_that_coincide_are_one():
    q = BinomialDiffusion(BETA, 0.3)
    assert entropy(FiniteData(q, np.eye(5)), 0).value == pytest.approx(np.log(5), rel=1e-15)
    twice = FiniteData(q, [[1, 0], [0, 1], [1, 0]], [0.25, 0.5, 0.25])
    assert entropy(twice, 0).value == pytest.approx(LN2, rel=1e-15)
    assert entropy(FiniteData(q, [[1, 0], [0, 1]], [1.0, 0.0]), 0) == (0.0, 0.0)


@pytest.mark.parametrize("var", [0.0, 0.2, [0.0, 0.4, 0.1]], ids=str)
def test_points_average_quadratics_as_the_data(var):
    atoms = np.array([[-1.0, 0.3], [1.2, 0.5], [0.0, -0.8]])
    points, weights = FiniteData(GaussianDiffusion(BETA), atoms, WEIGHTS, var).points()
    second = (atoms.T * WEIGHTS) @ atoms + (WEIGHTS @ np.broadcast_to(var, 3)) * np.eye(2)
    np.testing.assert_allclose(weights @ points, WEIGHTS @ atoms, rtol=1e-14)
    np.testing.assert_allclose((points.T * weights) @ points, second, rtol=1e-14)


def test_samples_have_the_law_of_the_data():
    draws = line().sample(100_000, rng=np.random.default_rng(0))[:, 0]
    for edge in (-1.2, 0.0, 0.8):
        truth = WEIGHTS @ norm.cdf(edge, ATOMS, np.sqrt(VAR))
        z = ((draws < edge).mean() - truth) / np.sqrt(truth * (1 - truth) / 1e5)
        assert abs(z) < 5.5  # 4e-8 two-sided
        assert (
            0.05 * truth / np.sqrt(truth * (1 - truth) / 1e5) > 11
        )  # a law that is 5 % off is seen


def test_draws_at_every_time_have_the_marginal_law():
    uniform = np.random.default_rng(0).random((100_000, 2))
    for t in (1, 3):
        draws, scale = line().draw(uniform, t)[:, 0], float(line().diffusion.sqrt_abar(t))
        var = scale**2 * VAR + float(line().diffusion.one_minus_abar(t))
        truth = WEIGHTS @ norm.cdf(0.2, scale * ATOMS, np.sqrt(var))
        assert abs((draws < 0.2).mean() - truth) < 5.5 * np.sqrt(truth * (1 - truth) / 1e5)


def test_draws_at_the_ends_of_the_unit_interval_are_finite():
    assert np.isfinite(line().draw([[0.0, 0.0], [1.0, 1.0]], 1)).all()


def test_the_kernel_of_a_user_is_any_callable():
    data = line()
    got = bounds.lower_bound(
        data.diffusion,
        lambda xt, t: Gaussian(data.reverse(xt, t).mean, 1.0),
        [[0.3]],
        rng=np.random.default_rng(0),
    )
    assert got.value.shape == (1,)


def test_divergence_is_the_mean_over_atoms_of_the_divergences():
    """For bits, and for Gaussian atoms without var, of which x^0 is one."""
    for data, x in ((bits(), BITS[:, ::-1]), (FiniteData(Q, BITS, WEIGHTS), BITS[:, ::-1] - 0.3)):
        for t in (2, 3):
            match, given = data.reverse(x, t), data.responsibilities(x, t)
            truth = sum(
                given[:, k] * data.diffusion.posterior(data.atoms[k], x, t).kl(match)
                for k in range(3)
            )
            np.testing.assert_allclose(data.divergence(x, t), truth, rtol=1e-13)


# Draws and lattices


def test_atoms_of_bits_are_drawn_as_they_are_at_time_zero_and_noisy_after_it():
    data = FiniteData(BinomialDiffusion([0.5, 0.5]), [[0.0, 1.0]])
    uniform = np.array([[0.5, 0.01, 0.99]])
    assert data.draw(uniform, 0).tolist() == [[0.0, 1.0]]
    assert data.draw(uniform, 1).tolist() == [[1.0, 0.0]]


def test_an_atom_of_weight_zero_is_never_drawn():
    data = FiniteData(GaussianDiffusion([0.2]), [[5.0], [0.0], [1.0], [7.0]], [0, 0.5, 0.5, 0])
    assert data.draw([[0.0, 0.5], [1 - 2**-53, 0.5], [1.0, 0.5]], 0).tolist() == [[0], [1], [1]]


def test_uniform_numbers_above_a_half_are_positive_noise():
    data = FiniteData(GaussianDiffusion([0.36, 0.5]), [[2.0]])
    got = data.draw(np.array([[0.5, 0.8413447460685429]]), 1)
    np.testing.assert_allclose(got, [[2.0 * 0.8 + 0.6]], rtol=1e-12)


def test_the_first_uniform_number_counts_for_the_atom_above_it():
    data = FiniteData(GaussianDiffusion([0.2]), [[-1.0], [1.0]], var=1.0)
    assert data.draw(np.array([[0.5, 0.5]]), 0).tolist() == [[1.0]]


def test_uniform_numbers_are_kept_a_half_step_off_zero_and_one():
    data = FiniteData(GaussianDiffusion([0.2]), [[0.0]], var=1.0)
    np.testing.assert_allclose(data.draw([[0.0, 0.0]], 0), [[ndtri(2.0**-53)]], rtol=1e-14)


LATTICES = {
    "ideal bound": ideal_bound,
    "entropy": lambda data, **lattices: entropy(data, 1, **lattices),
}
sampled = pytest.mark.parametrize("function", LATTICES.values(), ids=LATTICES)


def two_atoms():
    return FiniteData(GaussianDiffusion([0.2, 0.3]), [[-1.0], [1.5]], [0.25, 0.75])


def rng(seed=0):
    return np.random.default_rng(seed)


@sampled
def test_a_lattice_has_4096_points_in_all_by_default(function):
    default, said = (
        function(two_atoms(), rng=rng()),
        function(two_atoms(), rng=rng(), n_samples=4096),
    )
    assert default[:2] == said[:2]
    assert default[0] != function(two_atoms(), rng=rng(), n_samples=16)[0]


@sampled
def test_samples_are_rounded_up_to_whole_lattices(function):
    for few, many in ((17, 32), (1, 16)):
        got, same = (function(two_atoms(), rng=rng(), n_samples=n) for n in (few, many))
        assert got[:2] == same[:2]


GOLDEN = 0.6180339887498949


@pytest.mark.parametrize(
    ("function", "value", "t"),
    [
        (
            lambda data: entropy(data, 1, rng=rng(3), n_samples=64),
            lambda data, x: -data.log_prob(x, 1),
            1,
        ),
        (
            lambda data: ideal_bound(data, rng=rng(3), n_samples=64),
            lambda data, x: data.divergence(x, 2),
            2,
        ),
    ],
)
def test_standard_errors_are_those_of_the_mean_of_16_lattices(function, value, t):
    data, source = two_atoms(), rng(3)
    lattice = np.stack([np.arange(4) / 4, np.arange(4) * GOLDEN], 1)
    values = [
        value(data, data.draw((lattice + source.random(2)) % 1.0, t)).mean() for _ in range(16)
    ]
    got = function(data)
    mean = got.kl[0] if t == 2 else got.value
    np.testing.assert_allclose(
        [mean, got.stderr], [np.mean(values), np.sqrt(np.var(values) / 15)], rtol=1e-12
    )


# States that are counted together


def test_the_heartbeat_has_126_states():
    states, log_count = ideal_module._distinguishable_states(heartbeat(2))
    assert states.shape == (126, 20)
    np.testing.assert_allclose(np.exp(log_count).sum(), 2.0**20, rtol=1e-12)


@pytest.mark.parametrize(
    "data",
    [
        heartbeat(2, 6, 2),
        heartbeat(2, 6, 3),
        bits(),
        bits(prior=[0.1, 0.5, 0.7, 0.5]),
        FiniteData(BinomialDiffusion(BETA, 0.3), [[1, 1, 0, 0], [0, 0, 1, 1]], [0.25, 0.75]),
        FiniteData(BinomialDiffusion(BETA, [0.3, 0.3, 0.4, 0.4]), [[1, 1, 0, 0], [0, 0, 1, 1]]),
        FiniteData(BinomialDiffusion(BETA, 0.3), [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]),
    ],
    ids=["three each", "three phases", "weights", "priors", "unequal", "unlike priors", "parity"],
)
def test_every_state_is_counted_once_with_its_probability(data):
    """By brute force over all states: their probabilities, and the average divergence."""
    states, log_count = ideal_module._distinguishable_states(data)
    d = data.atoms.shape[1]
    assert set(states.ravel()) <= {0.0, 1.0}
    assert np.exp(log_count).sum() == pytest.approx(2.0**d, rel=1e-13)
    for t in (1, data.diffusion.T):
        all_states = np.sort(data.log_prob(binary_states(d), t))
        counted = np.repeat(data.log_prob(states, t), np.rint(np.exp(log_count)).astype(int))
        np.testing.assert_allclose(np.sort(counted), all_states, rtol=1e-13)
    for t in range(2, data.diffusion.T + 1):
        every = np.exp(data.log_prob(binary_states(d), t)) @ data.divergence(binary_states(d), t)
        assert ideal_bound(data).kl[t - 2] == pytest.approx(every, rel=1e-12)


def test_bits_of_a_single_kind_are_told_apart_by_their_number_of_ones():
    data = FiniteData(BinomialDiffusion([0.25, 0.5], 0.2), [[1, 1, 1, 1], [0, 0, 0, 0]])
    states, log_count = ideal_module._distinguishable_states(data)
    assert sorted(states.sum(1)) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(
        np.exp(log_count)[states.sum(1).argsort()], [1, 4, 6, 4, 1], rtol=1e-13
    )


def test_as_many_states_as_allowed_are_enumerated_and_no_more():
    def states(d):
        diffusion = BinomialDiffusion([0.25, 0.5], np.linspace(0.2, 0.4, d))
        return ideal_module._distinguishable_states(FiniteData(diffusion, np.eye(d)))[0]

    with mock.patch.object(ideal_module, "_MOST_STATES", 4):
        assert len(states(2)) == 4
        with pytest.raises(ValueError, match="at most 4"):
            states(3)


def test_a_bound_by_enumeration_has_no_error():
    assert ideal_bound(FiniteData(BinomialDiffusion([0.25, 0.5]), np.eye(2))).stderr == 0.0


@pytest.mark.parametrize("T", [3, 4])
def test_a_short_heartbeat_has_its_ideal_bound(T):
    assert ideal_bound(heartbeat(T)).value == pytest.approx(heartbeat_bound_by_counts(T), abs=1e-12)


# Digits


@pytest.mark.parametrize("bit", [0.0, 1.0])
def test_a_nearly_certain_bit_keeps_both_members_and_loses_nothing_to_the_match(bit):
    data = FiniteData(BinomialDiffusion([1e-20, 0.5]), [[bit]])
    law = data.reverse([[bit]], 2)
    np.testing.assert_allclose(law.prob0 if bit else law.prob1, 5e-21 / 3, rtol=1e-14)
    assert abs(data.divergence([[bit]], 2).item()) < 1e-30


def test_log_probabilities_of_bits_do_not_underflow():
    data = FiniteData(BinomialDiffusion([1e-200, 0.5], 1e-200), [[0.0], [1.0]], [0.5, 0.5])
    assert data.log_prob([1.0], 1) == pytest.approx(np.log(0.5), rel=1e-15)
    one = FiniteData(BinomialDiffusion([1e-200, 0.5], 1e-200), [[0.0, 0.0]])
    assert one.log_prob([1.0, 1.0], 1) == pytest.approx(-800 * np.log(10.0), rel=1e-15)


def test_weights_in_float32_need_sum_to_one_in_float32_only_and_do_so_in_float64():
    weights = np.array([0.1, 0.2, 0.7], np.float32)
    assert abs(weights.astype(float).sum() - 1) > 1e-9
    got = FiniteData(GaussianDiffusion([0.2]), np.eye(3), weights).weights
    truth = weights.astype(float) / math.fsum(weights.tolist())
    np.testing.assert_allclose(got, truth, rtol=4 * EPS)
    assert math.fsum(got) == pytest.approx(1.0, abs=2 * EPS)


def test_float32_weights_are_refused_beyond_what_a_sum_of_them_can_lose():
    weights = np.full(4096, 1 / 4096, np.float32)
    for off, fits in ((1.0004, True), (1.0035, False)):
        make = partial(FiniteData, GaussianDiffusion([0.2]), np.ones((4096, 1)))
        if fits:
            assert make(weights * np.float32(off)).log_prob([1.0], 1) == pytest.approx(
                norm.logpdf(1.0, np.sqrt(0.8), np.sqrt(0.2)), abs=1e-12
            )
        else:
            with pytest.raises(ValueError, match="weights must be 4096 probabilities that sum"):
                make(weights * np.float32(off))


def test_responsibilities_of_a_far_state_do_not_depend_on_its_neighbours():
    data, far = two_atoms(), [100.0]
    got = data.responsibilities([[0.0], far], 1)[1]
    np.testing.assert_array_equal(got, data.responsibilities(far, 1))


@pytest.mark.parametrize("column", [GaussianDiffusion(BETA), BinomialDiffusion(BETA, 0.3)])
def test_neither_the_batch_nor_the_order_in_memory_changes_a_bit(column):
    draws = rng().integers(0, 2, (40, 30)).astype(float)
    atoms, states = draws[:9], draws[9:]
    data = FiniteData(column, atoms)
    whole = data.reverse(states, 2), data.log_prob(states, 2), data.divergence(states, 2)
    fortran = np.asfortranarray(states)
    ordered = data.reverse(fortran, 2), data.log_prob(fortran, 2), data.divergence(fortran, 2)
    np.testing.assert_array_equal(ordered[1:], whole[1:])
    for name in ("mean", "var") if hasattr(whole[0], "mean") else ("prob1", "prob0"):
        np.testing.assert_array_equal(getattr(ordered[0], name), getattr(whole[0], name))
        rows = [getattr(data.reverse(state, 2), name) for state in states]
        np.testing.assert_array_equal(rows, getattr(whole[0], name))
    alone = [(data.log_prob(state, 2), data.divergence(state, 2)) for state in states]
    np.testing.assert_array_equal(np.transpose(alone), whole[1:])


def test_one_state_at_many_times_has_the_axes_of_the_times():
    data = two_atoms()
    single = [data.log_prob([0.5], 1), data.log_prob([0.5], 2)]
    np.testing.assert_array_equal(data.log_prob([0.5], [1, 2]), single)


def test_times_that_do_not_fit_the_states_are_refused_as_such():
    with pytest.raises(ValueError, match="t must broadcast against the leading axes"):
        two_atoms().log_prob(np.zeros((4, 1)), [1, 2, 1])


def test_the_ideal_kernel_says_that_it_takes_arrays_of_times():
    assert line().reverse.takes_times


@pytest.mark.parametrize("var", [1e-320, 1e-310, 1e-290, 1e300])
def test_extreme_variances_keep_their_density(var):
    data = FiniteData(GaussianDiffusion([0.5]), [[0.0], [1.0]], var=var)
    for x in (0.0, 1.0, np.sqrt(var), 3e150 * np.sqrt(var)):
        with mpmath.workdps(40):
            square = min((mpmath.mpf(x) - atom) ** 2 for atom in (0, 1)) / mpmath.mpf(var)
            twice = 2 if var > 1 else 1  # atoms in reach of each other
            peak = mpmath.log(mpmath.mpf(twice) / 2) - mpmath.log(2 * mpmath.pi * var) / 2
            truth = peak - square / 2
        assert data.log_prob([x], 0) == pytest.approx(float(truth), rel=1e-14)
    assert np.isfinite(data.reverse([0.5], 1).var).all()


def test_states_too_far_for_a_density_have_none_and_no_warning():
    assert line().log_prob([1e200], 2) == -np.inf
    for ask in (line().reverse, line().divergence, line().responsibilities):
        with pytest.raises(ValueError, match="xt must have positive probability at t = 2"):
            ask([1e200], 2)
    with pytest.raises(ValueError, match="xt must have positive density at t = 2"):
        line().log_reverse([0.0], [1e200], 2)


# Doors


Q, B = GaussianDiffusion(BETA), BinomialDiffusion(BETA, 0.3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FiniteData(Q, [1.0, 2.0]), "atoms must have shape \\(m, d\\)"),
        (lambda: FiniteData(Q, [[np.inf]]), "atoms must be finite"),
        (lambda: FiniteData(B, [[0.5]]), "atoms must be 0 or 1"),
        (
            lambda: FiniteData(Q, [[1.0], [2.0]], [0.5]),
            "weights must be 2 probabilities that sum to 1, got",
        ),
        (
            lambda: FiniteData(Q, [[1.0], [2.0]], [0.5, 0.6]),
            "weights must be 2 probabilities that sum to 1, got",
        ),
        (lambda: FiniteData(Q, [[1.0], [2.0]], [1.5, -0.5]), "weights must lie in"),
        (
            lambda: FiniteData(Q, [[1.0]], var=-0.1),
            "var must be one number >= 0 or 1 of them, 0 for bits, got -0.1",
        ),
        (
            lambda: FiniteData(Q, [[1.0]], var=[0.1, 0.1]),
            "var must be one number >= 0 or 1 of them",
        ),
        (lambda: FiniteData(B, [[1.0]], var=0.1), "var must be one number .* 0 for bits, got 0.1"),
        (lambda: FiniteData(Q, [[1.0]]).log_prob([1.0], 0), "t must lie in 1..3"),
        (lambda: FiniteData(Q, [[1.0]]).reverse([1.0], 1), "t must lie in 2..3"),
        (lambda: line().divergence([1.0], 1), "t must lie in 2..3"),
        (lambda: line().reverse([1.0], 0), "t must lie in 1..3"),
        (lambda: line().reverse([1.0], 2.0), "t must be an integer"),
        (lambda: line().reverse([1.0, 2.0], 2), "xt must have 1 components"),
        (lambda: line().log_prob([np.nan], 2), "x must be finite"),
        (lambda: line().log_reverse([1.0, 2.0], [1.0], 2), "x_prev must have 1 components"),
        (lambda: line().sample(0, rng=np.random.default_rng(0)), "n must be an integer >= 1"),
        (lambda: line().sample(1, rng=0), "rng must be a numpy.random.Generator"),
        (lambda: line().draw([[0.5]], 1), "uniform must have 2 components"),
        (lambda: ideal_bound(line(), rng=0), "rng must be a numpy.random.Generator"),
        (
            lambda: ideal_bound(line(), rng=np.random.default_rng(0), n_samples=0),
            "n_samples must be an integer >= 1",
        ),
        (lambda: ideal_bound(bits(), n_samples=-3), "n_samples must be an integer >= 1, got -3"),
        (lambda: entropy(line(), 4, rng=np.random.default_rng(0)), "t must lie in 0..3"),
        (lambda: ideal_bound(line()), "rng must be given for Gaussian data"),
        (lambda: entropy(line(), 1), "rng must be given for Gaussian data"),
        (lambda: gap(line()), "rng must be given for Gaussian data"),
        (
            lambda: gap(line(var=[0.1, 0.0, 0.2]), rng=np.random.default_rng(0)),
            "data must have a var > 0 at every Gaussian atom, .* got \\[0.1, 0. , 0.2\\]",
        ),
    ],
)
def test_bad_input_is_refused_with_the_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: FiniteData(None, [[1.0]]),
            "diffusion must be a GaussianDiffusion or BinomialDiffusion, got None",
        ),
        (lambda: ideal_bound(None), "data must be a FiniteData, got None"),
        (lambda: entropy(None, 1), "data must be a FiniteData, got None"),
        (lambda: gap(None), "data must be a FiniteData, got None"),
    ],
)
def test_arguments_of_a_wrong_type_are_named(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    "copy_of", [copy.copy, copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data))]
)
def test_a_copy_of_finite_data_is_as_read_only_as_the_data(copy_of):
    twin = copy_of(line())
    for name in ("atoms", "weights", "var"):
        np.testing.assert_array_equal(getattr(twin, name), getattr(line(), name))
        with pytest.raises(ValueError, match="read-only"):
            getattr(twin, name)[...] = 0.9
    assert twin.log_prob([0.5], 2) == line().log_prob([0.5], 2)


def test_the_layout_of_the_atoms_changes_no_bit():
    atoms = np.random.default_rng(3).integers(0, 2, (9, 33)) * 1.0
    states = np.random.default_rng(4).integers(0, 2, (7, 33)) * 1.0
    diffusion = BinomialDiffusion([0.3, 0.2, 0.4])
    one, other = (FiniteData(diffusion, each) for each in (atoms, np.asfortranarray(atoms)))
    assert one.log_prob(states, 2).tolist() == other.log_prob(states, 2).tolist()
    assert one.reverse(states, 2) == other.reverse(states, 2)


def test_states_of_several_times_come_back_in_their_own_order():
    two, t = FiniteData(GaussianDiffusion([0.1, 0.2, 0.3]), [[-1.0], [1.0]]), [3, 1, 2, 3, 1]
    x = np.linspace(-2.0, 2.0, 5)[:, None]
    alone = [two.log_prob(row, time) for row, time in zip(x, t, strict=True)]
    assert two.log_prob(x, t).tolist() == [value.item() for value in alone]


def test_states_of_one_time_are_evaluated_in_their_own_order():
    data = FiniteData(GaussianDiffusion([0.1, 0.2]), [[0.0], [1.0]])
    x, t, seen = np.arange(300.0)[:, None], np.tile([2, 1, 1], 100), []
    data._map(lambda rows, time: seen.append(rows) or rows, x, t)
    np.testing.assert_array_equal(np.concatenate(seen), np.concatenate([x[t == 1], x[t == 2]]))

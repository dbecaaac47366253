"""The exact twists against sums over all trajectories, quadrature and Bayes' rule in information
form; each other where two apply.
"""

import itertools

import numpy as np
import pytest
from enumerated_bits import MatrixModel
from exact_twists import BinaryTwist, FiniteTwist, LinearObservation, LinearTwist
from scipy import stats

from dpm_ref import Bernoulli, BinomialDiffusion, GaussianDiffusion, schedules
from dpm_ref.exact import (
    BinaryData,
    BinaryModel,
    FiniteData,
    GaussianData,
    LinearModel,
    binary_states,
)
from dpm_ref.posteriors import BernoulliFactor, Clamp, GaussianFactor, noisy_bits

ROUNDING = 1e-12


def rng(seed=0):
    return np.random.default_rng(seed)


def total_variation(p, q):
    return 0.5 * np.abs(p - q).sum()


# Bits


def random_model(d, T, seed):
    """Rates drawn at random for every bit, state and time: dependent bits, and no reversal of
    anything.
    """
    diffusion = BinomialDiffusion(rng(seed).uniform(0.2, 0.8, T), rng(seed).uniform(0.3, 0.7, d))
    table = rng(seed + 1).uniform(0.02, 0.98, (T + 1, 2**d, d))

    def reverse(xt, t):
        return Bernoulli(table[t][np.asarray(xt, dtype=int) @ 2 ** np.arange(d)[::-1]])

    return BinaryModel(diffusion, d, reverse, lambda x1: reverse(x1, 1)), table


def weight_of_paths(model, table, r):
    """{(x^0, ..., x^T): p(path) r(x^0)}, one product of T + 1 terms to a path."""
    d, T = model.states.shape[1], model.diffusion.T
    states = list(itertools.product((0, 1), repeat=d))
    prior = model.diffusion.pi1
    paths = {}
    for path in itertools.product(range(len(states)), repeat=T + 1):
        p = np.prod([prior[i] if bit else 1 - prior[i] for i, bit in enumerate(states[path[T]])])
        for t in range(T, 0, -1):
            rates = table[t][path[t]]
            p *= np.prod(
                [rates[i] if bit else 1 - rates[i] for i, bit in enumerate(states[path[t - 1]])]
            )
        paths[path] = p * r[path[0]]
    return paths


def test_binary_twist_and_posterior_are_sums_over_all_trajectories():
    model, table = random_model(2, 3, seed=3)
    r = rng(4).random(4)
    twist, plain, weighted = (
        BinaryTwist(model, r),
        weight_of_paths(model, table, np.ones(4)),
        weight_of_paths(model, table, r),
    )
    assert abs(np.exp(twist.log_z) - sum(weighted.values())) < ROUNDING
    for t in range(4):
        sums = np.array(
            [
                [sum(w for path, w in paths.items() if path[t] == k) for k in range(4)]
                for paths in (plain, weighted)
            ]
        )
        assert np.abs(twist.values[t] - sums[1] / sums[0]).max() < ROUNDING
        assert np.abs(twist.log_r(model.states, t) - np.log(sums[1] / sums[0])).max() < ROUNDING
    posterior = np.array(
        [sum(w for path, w in weighted.items() if path[0] == k) for k in range(4)]
    ) / sum(weighted.values())
    assert total_variation(twist.posterior(), posterior) < ROUNDING


@pytest.mark.parametrize("T", [1, 2, 7, 40])
@pytest.mark.parametrize("d", [1, 3, 5])
def test_the_twisted_chain_of_bits_samples_the_posterior_for_any_T(d, T):
    model, _ = random_model(d, T, seed=10 * d + T)
    r = rng(T).random(2**d) ** 4
    r[0] = 0.0
    for chain in (model, BinaryData(model.diffusion, rng(d).dirichlet(np.ones(2**d)))):
        twist = BinaryTwist(chain, r)
        law = twist.start()
        for t in range(T, 0, -1):
            assert np.abs(twist.kernel(t).sum(1) - 1.0).max() < ROUNDING
            law = law @ twist.kernel(t)
        truth = chain.marginal(0) * r
        assert total_variation(law, truth / truth.sum()) < ROUNDING
        assert total_variation(twist.posterior(), truth / truth.sum()) < ROUNDING
        assert abs(twist.log_z - np.log(truth.sum())) < ROUNDING


def test_a_twist_that_is_a_step_late_does_not_sample_the_posterior():
    model, _ = random_model(3, 5, seed=1)
    r = rng(0).random(8)
    twist, law = BinaryTwist(model, r), None
    law = twist.start()
    for t in range(5, 0, -1):
        late = model.reverse_matrix(t) * twist.values[min(t, 5)]
        law = law @ (late / late.sum(1, keepdims=True))
    assert total_variation(law, twist.posterior()) > 0.01


def test_the_slope_over_bits_is_the_log_ratio_of_both_values():
    model, _ = random_model(3, 4, seed=2)
    twist = BinaryTwist(model, rng(1).random(8))
    for t in range(5):
        slope = twist.slope(model.states, t)
        for row, x in enumerate(model.states):
            for i in range(3):
                one, none = x.copy(), x.copy()
                one[i], none[i] = 1, 0
                assert abs(slope[row, i] - (twist.log_r(one, t) - twist.log_r(none, t))) < ROUNDING


def test_a_state_from_which_r_is_out_of_reach_keeps_the_chain_s_kernel():
    stuck = MatrixModel(BinomialDiffusion([0.5, 0.5]), [np.eye(2), np.eye(2)])
    twist = BinaryTwist(stuck, [0.0, 2.0])
    assert np.array_equal(twist.kernel(2), np.eye(2))
    assert np.array_equal(twist.posterior(), [0.0, 1.0])
    assert twist.log_r([0], 2) == -np.inf


# Linear chains


def random_linear(d, T, seed):
    diffusion, draw = GaussianDiffusion(rng(seed).uniform(0.1, 0.5, T)), rng(seed)
    kernels = []
    for _ in range(T):
        root = draw.normal(size=(d, d))
        kernels.append(
            (
                draw.normal(size=(d, d)) * 0.6,
                draw.normal(size=d),
                root @ root.T / d + 0.1 * np.eye(d),
            )
        )
    return LinearModel(diffusion, kernels[1:], kernels[0])


def bayes(mean, cov, H, y, R):
    """N(mean, cov) times N(y; H x, R) in information form: precisions add."""
    precision = np.linalg.inv(cov) + H.T @ np.linalg.inv(R) @ H
    after = np.linalg.inv(precision)
    return after @ (np.linalg.solve(cov, mean) + H.T @ np.linalg.solve(R, y)), after


@pytest.mark.parametrize("T", [1, 2, 10, 50])
@pytest.mark.parametrize("d", [1, 3])
def test_the_twisted_linear_chain_samples_the_posterior_for_any_T(d, T):
    root = rng(d).normal(size=(d, d))
    data = GaussianData(
        GaussianDiffusion(schedules.constant(T, 0.2)),
        rng(5).normal(size=d),
        root @ root.T / d + 0.2 * np.eye(d),
    )
    r = GaussianFactor(rng(6).normal(size=d), rng(7).uniform(0.2, 2.0, d))
    for chain in (data, random_linear(d, T, seed=d + T)):
        twist = LinearTwist(chain, r)
        mean, cov = bayes(*chain.marginal(0), np.eye(d), r.mean, np.diag(r.var))
        for got in (twist.marginal(0), twist.posterior()):
            assert np.abs(got[0] - mean).max() < ROUNDING * max(1, np.abs(mean).max())
            assert np.abs(got[1] - cov).max() < ROUNDING * max(1, np.abs(cov).max())


def test_the_known_example_has_mean_and_variance_one_half_for_any_T():
    for T in (1, 3, 30, 300):
        data = GaussianData(GaussianDiffusion(schedules.constant(T, 0.05)), [0.0], [[1.0]])
        mean, cov = LinearTwist(data, GaussianFactor([1.0], 1.0)).marginal(0)
        assert abs(mean[0] - 0.5) < ROUNDING
        assert abs(cov[0, 0] - 0.5) < ROUNDING


def test_inpainting_one_of_two_correlated_components_gives_their_conditional_law():
    for T in (1, 4, 60):
        data = GaussianData(
            GaussianDiffusion(schedules.constant(T, 0.1)), [0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]]
        )
        twist = LinearTwist(data, Clamp([1.0, 9.0], [True, False]))
        for mean, cov in (twist.marginal(0), twist.posterior()):
            assert np.abs(mean - [1.0, 0.5]).max() < ROUNDING
            assert np.abs(cov - [[0.0, 0.0], [0.0, 0.75]]).max() < ROUNDING
        assert abs(twist.log_z - stats.norm.logpdf(1.0)) < ROUNDING


def test_the_linear_twist_is_the_integral_of_r_over_the_chain():
    model = random_linear(1, 2, seed=8)
    r = GaussianFactor([0.7], 0.4, log_scale=0.3)
    twist = LinearTwist(model, r)
    (A1, b1, S1), (A2, b2, S2) = (
        tuple(float(np.ravel(part)[0]) for part in kernel) for kernel in model.kernels
    )
    z, weight = np.polynomial.hermite_e.hermegauss(150)
    weight = np.outer(weight, weight) / (2 * np.pi)
    for x2 in (-1.0, 0.4):
        x1 = A2 * x2 + b2 + S2**0.5 * z[:, None]
        x0 = A1 * x1 + b1 + S1**0.5 * z
        value = (weight * np.exp(0.3 - (x0 - 0.7) ** 2 / 0.8)).sum()
        assert abs(twist.log_r([x2], 2) - np.log(value)) < 1e-9  # the quadrature's own error


def test_log_z_of_a_linear_twist_is_the_log_density_of_the_observation():
    model = random_linear(3, 4, seed=9)
    H, R = rng(1).normal(size=(2, 3)), np.array([[0.5, 0.1], [0.1, 0.3]])
    y, g = np.array([0.3, -1.0]), np.array([0.1, 0.2])
    twist = LinearTwist(model, LinearObservation(y, H, g, R, 0.0))
    mean, cov = model.marginal(0)
    truth = stats.multivariate_normal(H @ mean + g, H @ cov @ H.T + R).logpdf(y)
    assert abs(twist.log_z - truth) < 1e-10 * abs(truth)
    after = bayes(mean, cov, H, y - g, R)
    for got, exact in zip(twist.marginal(0), after, strict=True):
        assert np.abs(got - exact).max() < 1e-11 * max(1.0, np.abs(exact).max())


def test_the_linear_slope_is_the_gradient_of_log_r():
    model = random_linear(3, 3, seed=11)
    twist = LinearTwist(model, GaussianFactor([0.2, 0.0, -1.0], [0.5, np.inf, 2.0]))
    x, step = rng(2).normal(size=(4, 3)), 1e-5
    for t in range(4):
        centred = [
            (twist.log_r(x + step * e, t) - twist.log_r(x - step * e, t)) / (2 * step)
            for e in np.eye(3)
        ]
        assert (
            np.abs(twist.slope(x, t) - np.stack(centred, -1)).max() < 1e-8
        )  # quadratic: no error but rounding / step


# Finite data


BITS = BinomialDiffusion([0.1, 0.3, 0.4], [0.2, 0.5, 0.6])
ATOMS = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 0]], dtype=float)
WEIGHTS = np.array([0.2, 0.5, 0.3])


def test_the_twist_of_binary_atoms_is_that_of_all_states():
    pmf = np.zeros(8)
    pmf[[1, 5, 6]] = WEIGHTS
    factor = noisy_bits([1, 1, 0], 0.2, [True, False, True])
    finite = FiniteTwist(FiniteData(BITS, ATOMS, WEIGHTS), factor)
    states = BinaryTwist(BinaryData(BITS, pmf), factor)
    all_states = binary_states(3)
    for t in (1, 2, 3):
        assert np.abs(finite.log_r(all_states, t) - states.log_r(all_states, t)).max() < ROUNDING
        assert np.abs(finite.slope(all_states, t) - states.slope(all_states, t)).max() < ROUNDING
    assert np.abs(finite.posterior().weights - states.posterior()[[1, 5, 6]]).max() < ROUNDING
    assert abs(finite.log_z - states.log_z) < ROUNDING
    assert np.array_equal(finite.log_r(ATOMS, 0), factor.log_r(ATOMS))


@pytest.mark.parametrize(
    "r",
    [GaussianFactor([1.0, 0.0], [0.3, np.inf], 0.2), Clamp([0.6, 5.0], [True, False])],
    ids=["noisy", "exact"],
)
def test_the_twist_of_one_spread_atom_is_that_of_a_linear_chain(r):
    diffusion = GaussianDiffusion([0.1, 0.3, 0.4])
    finite = FiniteTwist(FiniteData(diffusion, [[0.5, -0.2]], var=0.3), r)
    linear = LinearTwist(GaussianData(diffusion, [0.5, -0.2], 0.3 * np.eye(2)), r)
    x = rng(3).normal(size=(5, 2))
    for t in (1, 2, 3):
        assert np.abs(finite.log_r(x, t) - linear.log_r(x, t)).max() < ROUNDING
        assert np.abs(finite.slope(x, t) - linear.slope(x, t)).max() < ROUNDING
    mean, cov = linear.posterior()
    assert np.abs(finite.posterior().mean[0] - mean).max() < ROUNDING
    assert np.abs(finite.posterior().var[0] - np.diag(cov)).max() < ROUNDING
    assert abs(finite.log_z - linear.log_z) < ROUNDING


@pytest.mark.parametrize("spread", [[0.05, 0.2], 0.0], ids=["spread", "points"])
def test_the_twist_of_gaussian_atoms_is_an_integral_over_their_mixture(spread):
    diffusion = GaussianDiffusion([0.1, 0.3, 0.4])
    atoms, weights = np.array([[-1.0], [0.8]]), np.array([0.3, 0.7])
    factor = GaussianFactor([0.5], 0.4)
    data = FiniteData(diffusion, atoms, weights, spread)
    twist = FiniteTwist(data, factor)
    std = np.sqrt(
        np.maximum(np.broadcast_to(spread, (2,)), 1e-10)
    )  # a point as a narrow normal law
    for t, xt in ((1, 0.3), (3, -0.8)):
        abar = float(diffusion.abar(t))
        totals = np.zeros(2)
        for atom, weight, s in zip(atoms[:, 0], weights, std, strict=True):
            nodes, gauss = np.polynomial.hermite_e.hermegauss(80)
            x0 = atom + s * nodes
            joint = (
                weight
                * gauss
                / gauss.sum()
                * stats.norm.pdf(xt, np.sqrt(abar) * x0, np.sqrt(1 - abar))
            )
            totals += joint.sum(), joint @ np.exp(-((x0 - 0.5) ** 2) / 0.8)
        assert abs(twist.log_r([xt], t) - np.log(totals[1] / totals[0])) < 1e-9
        step = 1e-5
        centred = (twist.log_r([xt + step], t) - twist.log_r([xt - step], t)) / (2 * step)
        assert abs(twist.slope([xt], t)[0] - centred) < 1e-8


def test_the_posterior_of_finite_data_is_bayes_rule_on_its_density():
    data = FiniteData(GaussianDiffusion([0.1]), [[-1.0], [0.8]], [0.3, 0.7], [0.05, 0.2])
    posterior = FiniteTwist(data, GaussianFactor([0.5], 0.4)).posterior()
    grid = np.linspace(-4, 4, 4001)[:, None]
    product = np.exp(data.log_prob(grid, 0) - (grid[:, 0] - 0.5) ** 2 / 0.8)
    Z = product.sum() * 0.002
    density = (
        posterior.weights * stats.norm.pdf(grid, posterior.mean[:, 0], np.sqrt(posterior.var[:, 0]))
    ).sum(1)
    assert np.abs(density - product / Z).max() < 1e-9
    assert abs(posterior.log_z - np.log(Z)) < 1e-9


def test_draws_of_the_posterior_have_its_mean():
    posterior = FiniteTwist(
        FiniteData(BITS, ATOMS, WEIGHTS), BernoulliFactor([1.0, 3.0, 1.0], [1.0, 1.0, 2.0])
    ).posterior()
    draws = posterior.sample(40_000, rng=rng(0))
    counts = np.array([(draws == atom).all(1).mean() for atom in ATOMS])
    assert np.abs(counts - posterior.weights).max() < 5.5 * 0.5 / 200


def test_draws_around_an_atom_are_its_mean_and_its_spread_times_normal_numbers():
    posterior = FiniteTwist(
        FiniteData(GaussianDiffusion([0.1]), [[2.0, -1.0]], var=0.5),
        Clamp([0.0, 3.0], [False, True]),
    ).posterior()
    same = rng(7)
    same.choice(1, 4, p=[1.0])
    expected = np.array([2.0, 3.0]) + np.sqrt([0.5, 0.0]) * same.standard_normal((4, 2))
    assert np.abs(posterior.sample(4, rng=rng(7)) - expected).max() < ROUNDING
    assert posterior.sample(1, rng=rng(7)).shape == (1, 2)


def test_an_observation_may_be_singular_without_being_refused():
    linear = GaussianData(GaussianDiffusion([0.1, 0.2]), [0.0, 0.0], np.eye(2))
    for R in (np.ones((2, 2)), np.zeros((2, 2))):
        twist = LinearTwist(
            linear, LinearObservation(np.array([1.0, 0.5]), np.eye(2), np.zeros(2), R, 0.0)
        )
        assert (
            abs(
                twist.log_z
                - stats.multivariate_normal([0.0, 0.0], np.eye(2) + R).logpdf([1.0, 0.5])
            )
            < ROUNDING
        )

"""log p(x^0) against enumerated and linear-Gaussian models, its error bars, the sandwich, and the same result from any executor."""

import itertools
import math
import multiprocessing
import pickle
import re
import threading
import tracemalloc
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit, logsumexp

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, _pieces, _weights, bounds, likelihood, schedules
from dpm_ref.exact import BinaryData, BinaryModel, GaussianData, LinearModel, binary_states
from dpm_ref.likelihood import log_likelihood, log_weights, pareto_shape, sandwich
from dpm_ref.reverse import GaussianReverse

ALPHA = 1e-6 / 150  # the false alarms allowed to one comparison; there are fewer than 150
SIGMAS = stats.norm.isf(ALPHA / 2)  # 5.8, two sides
LOWER, UPPER = stats.norm.ppf([ALPHA, 1 - ALPHA])


def rng(seed=0):
    return np.random.default_rng(seed)


def estimate(diffusion, reverse, x0, n_samples=64, seed=0, **options):
    return log_likelihood(diffusion, reverse, x0, n_samples=n_samples, rng=rng(seed), **options)


# Models whose log p(x^0) is known


def lookup(table):
    """The reverse kernel whose rates are a table over times and states, and as edge the same at t = 1."""
    def reverse(xt, t):
        return Bernoulli(table[t][np.asarray(xt, dtype=int) @ 2 ** np.arange(xt.shape[-1])[::-1]])
    return reverse


def random_bits(d, T, seed, learned_edge=False):
    """Rates drawn at random for every bit, state and time: nothing like a reversal."""
    diffusion = BinomialDiffusion(rng(seed).uniform(0.2, 0.7, T), rng(seed).uniform(0.3, 0.7, d))
    reverse = lookup(rng(seed + 1).uniform(0.15, 0.85, (T + 1, 2**d, d)))
    edge = (lambda x1: reverse(x1, 1)) if learned_edge else None
    return diffusion, reverse, edge, binary_states(d)[:4], BinaryModel(diffusion, d, reverse, edge).log_likelihood()[:4]


def nearly_reversed_bits(d, T, seed, noise):
    """The ideal kernel of random data, every one of its rates perturbed: what training would reach."""
    diffusion = BinomialDiffusion(schedules.linear(T, first=0.03, last=0.4), rng(seed).uniform(0.3, 0.7, d))
    data = BinaryData(diffusion, rng(seed + 1).dirichlet(np.full(2**d, 5.0)))
    rates = np.stack([data.reverse(data.states, max(t, 1)).prob1 for t in range(T + 1)])
    reverse = lookup(expit(logit(rates) + noise * rng(seed + 2).standard_normal(rates.shape)))
    log_p = BinaryModel(diffusion, d, reverse).log_likelihood()
    return diffusion, reverse, None, data.states[[0, 1, -3, -1]], log_p[[0, 1, -3, -1]]


def linear_chain(d, T, seed, learned_edge=False):
    """The reversal of Gaussian data with dependent components, made wider and shifted, so that S_t may be diagonal."""
    diffusion, draw = GaussianDiffusion(schedules.linear(T, first=0.1, last=0.5)), rng(seed)
    root = np.eye(d) + 0.3 * draw.standard_normal((d, d))
    data = GaussianData(diffusion, 0.3 * draw.standard_normal(d), root @ root.T)
    wrong = [(A + 0.02 * draw.standard_normal((d, d)), b + 0.05 * draw.standard_normal(d), 1.1 * np.diag(np.diag(S)))
             for A, b, S in (data.reversal(t) for t in range(1, T + 1))]
    model = LinearModel(diffusion, wrong[1:], wrong[0] if learned_edge else None, d=d)
    x0 = 0.7 * draw.standard_normal((4, d))
    return diffusion, model.reverse, model.edge if learned_edge else None, x0, model.log_likelihood(x0)


CASES = {
    "1 bit, T = 1": lambda: random_bits(1, 1, 10, learned_edge=True),
    "1 bit, T = 3": lambda: random_bits(1, 3, 20),
    "2 bits, T = 3": lambda: random_bits(2, 3, 30),
    "2 bits, T = 4, an edge": lambda: random_bits(2, 4, 40, learned_edge=True),
    "3 bits, T = 5": lambda: random_bits(3, 5, 50),
    "5 bits, T = 10": lambda: nearly_reversed_bits(5, 10, 60, 0.3),
    "8 bits, T = 20": lambda: nearly_reversed_bits(8, 20, 70, 0.1),
    "N in 1-D, T = 2": lambda: linear_chain(1, 2, 80),
    "N in 1-D, T = 6, an edge": lambda: linear_chain(1, 6, 90, learned_edge=True),
    "N in 3-D, T = 8": lambda: linear_chain(3, 8, 100),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


# The test of the estimates: z-scores over independent runs


def agrees(z):
    """Whether z-scores are standard normal in their mean and in their mean square."""
    mean, square = z.mean() * math.sqrt(z.size), (z**2).sum()
    return abs(mean) < SIGMAS and stats.chi2.ppf(ALPHA / 2, z.size) < square < stats.chi2.isf(ALPHA / 2, z.size)


def repeated(case, runs, n_samples, seed=1):
    """z-scores, error and estimates of `runs` independent runs, shared out among the data vectors."""
    diffusion, reverse, edge, x0, log_p = case()
    rows = np.resize(np.arange(len(x0)), runs)
    got = estimate(diffusion, reverse, x0[rows], n_samples, seed, edge=edge)
    return (got.value - log_p[rows]) / got.stderr, got, log_p[rows]


@cases
def test_the_estimate_agrees_with_the_exact_value_within_its_error_bars(case):
    z, got, _ = repeated(case, 512, 1024)
    assert got.ess.min() > 100
    assert agrees(z)


@cases
def test_an_error_bar_covers_the_exact_value_in_68_percent_of_runs(case):
    if case().__getitem__(0).T > 6:
        pytest.skip("the short chains are quick enough for the 8192 runs that make 4 points ten standard deviations")
    z, got, _ = repeated(case, 8192, 512, seed=2)
    assert got.ess.min() > 100
    assert abs((np.abs(z) < 1).mean() - stats.chi2.cdf(1, 1)) < 0.04


def test_the_agreement_is_lost_with_error_bars_5_percent_off_or_a_value_off_by_a_quarter_of_one():
    z, _, _ = repeated(CASES["2 bits, T = 3"], 40_000, 256, seed=3)
    assert agrees(z)
    assert not agrees(1.05 * z)
    assert not agrees(z / 1.05)
    assert not agrees(z[:1024] + 0.25)


# Mistakes: log w written out a second time, with what can go wrong in it


def written_out(diffusion, model, path, mistake):
    """log w of linear-Gaussian trajectories x^0..x^T (T+1, n, d), one normal density after the other."""
    def normal(x, mean, var):
        return (-0.5 * np.log(2 * np.pi * var) - 0.5 * (x - mean) ** 2 / var).sum(-1)
    beta, T = diffusion.beta, diffusion.T
    total = 0 if mistake == "prior forgotten" else normal(path[T - 1 if mistake == "prior at x^{T-1}" else T], 0, 1)
    for t in range(1, T + 1):
        used = max(t - 1, 1) if mistake == "reverse kernel of t - 1" else t
        A, b, S = model.kernels[used - 1]
        if t > 1 or mistake != "edge forgotten":
            var = np.sqrt(np.diag(S)) if mistake == "reverse std for var" else np.diag(S)
            total = total + normal(path[t - 1], path[t] @ A.T + b, var)
        rate = beta[max(t - 2, 0)] if mistake == "forward beta of t - 1" else beta[t - 1]
        var = np.sqrt(rate) if mistake == "forward std for var" else rate
        if t > 1 or mistake != "first forward step forgotten":
            total = total - normal(path[t], np.sqrt(1 - rate) * path[t - 1], var)
    return total / math.log(2) if mistake == "log2" else -total if mistake == "upside down" else total


def linear_paths(runs, n, seed):
    """A chain, n trajectories of each of `runs` copies of a data vector, and its log p."""
    diffusion, draw = GaussianDiffusion([0.2, 0.3, 0.4]), rng(seed)
    data = GaussianData(diffusion, [0.3, -0.2], [[0.8, 0.0], [0.0, 1.3]])
    kernels = [(A, b + 0.1, 1.1 * S) for A, b, S in data.kernels()]
    model, x0 = LinearModel(diffusion, kernels), np.array([0.5, -0.4])
    path = [np.broadcast_to(x0, (runs * n, 2))]
    for rate in diffusion.beta:
        path.append(np.sqrt(1 - rate) * path[-1] + np.sqrt(rate) * draw.standard_normal((runs * n, 2)))
    return diffusion, model, np.array(path), model.log_likelihood(x0)


MISTAKES = ["prior forgotten", "prior at x^{T-1}", "reverse kernel of t - 1", "edge forgotten", "reverse std for var",
            "forward beta of t - 1", "forward std for var", "first forward step forgotten", "log2", "upside down"]


def z_of(log_w, runs, log_p):
    w = np.exp(log_w.reshape(runs, -1))
    return (np.log(w.mean(1)) - log_p) / (w.std(1, ddof=1) / w.mean(1) / math.sqrt(w.shape[1]))


def test_the_weights_written_out_pass_the_test_of_the_estimates():
    diffusion, model, path, log_p = linear_paths(512, 512, 4)
    assert agrees(z_of(written_out(diffusion, model, path, None), 512, log_p))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_weight_fails_the_test_of_the_estimates(mistake):
    diffusion, model, path, log_p = linear_paths(512, 512, 4)
    assert not agrees(z_of(written_out(diffusion, model, path, mistake), 512, log_p))


def test_the_mean_of_the_log_weights_is_no_estimate_of_the_log_likelihood():
    diffusion, model, path, log_p = linear_paths(512, 512, 4)
    log_w = log_weights(diffusion, model.reverse, path).reshape(512, -1)
    assert not agrees((log_w.mean(1) - log_p) / (log_w.std(1) / math.sqrt(512)))


def test_log_weights_are_those_written_out():
    diffusion, model, path, _ = linear_paths(1, 200, 5)
    np.testing.assert_allclose(log_weights(diffusion, model.reverse, path), written_out(diffusion, model, path, None), rtol=0, atol=1e-13)


def test_log_weights_with_a_learned_edge_are_those_written_out():
    diffusion, model, path, _ = linear_paths(1, 200, 6)
    learned = LinearModel(diffusion, model.kernels[1:], ([[0.7, 0.1], [0.2, 0.8]], [0.1, -0.1], [[0.3, 0.0], [0.0, 0.4]]))
    got = log_weights(diffusion, learned.reverse, path, edge=learned.edge)
    np.testing.assert_allclose(got, written_out(diffusion, learned, path, None), rtol=0, atol=1e-13)


# Every trajectory of a tiny model


def all_trajectories(diffusion, reverse, edge, x0):
    """q(x^{1..T}|x^0) and w of every trajectory, products of the paper's rates."""
    def prob(rates, x):
        return np.prod(np.where(np.asarray(x) == 1, rates, 1 - np.asarray(rates)))
    pi, beta, states = diffusion.pi1 * np.ones(len(x0)), diffusion.beta, list(itertools.product([0.0, 1.0], repeat=len(x0)))
    q, w = [], []
    for path in itertools.product(states, repeat=len(beta)):
        path = [x0, *path]
        forward = [prob(np.asarray(path[t - 1]) * (1 - beta[t - 1]) + pi * beta[t - 1], path[t]) for t in range(1, len(path))]
        backward = [prob(reverse(np.array([path[t]]), t).prob1[0], path[t - 1]) for t in range(2, len(path))]
        last = np.asarray(path[1]) * (1 - beta[0]) + pi * beta[0] if edge is None else edge(np.array([path[1]])).prob1[0]
        q.append(np.prod(forward))
        w.append(prob(pi, path[-1]) * np.prod(backward) * prob(last, x0) / q[-1])
    return np.array(q), np.array(w)


def bits_with_all_trajectories():
    diffusion, reverse, edge, x0, log_p = random_bits(2, 3, 30)
    return diffusion, reverse, edge, x0[1], log_p[1], *all_trajectories(diffusion, reverse, edge, tuple(x0[1]))


def test_the_average_weight_over_all_trajectories_is_p():
    *_, log_p, q, w = bits_with_all_trajectories()
    assert math.log(q @ w) == pytest.approx(log_p, rel=1e-13)


@pytest.mark.parametrize("learned_edge", [False, True])
def test_log_weights_of_all_trajectories_are_the_products_of_the_rates(learned_edge):
    diffusion, reverse, edge, x0, _ = random_bits(2, 3, 31, learned_edge)
    paths = np.array([[x0[2], *path] for path in itertools.product(binary_states(2), repeat=3)]).swapaxes(0, 1)
    w = all_trajectories(diffusion, reverse, edge, tuple(x0[2]))[1]
    np.testing.assert_allclose(log_weights(diffusion, reverse, paths, edge=edge), np.log(w), rtol=0, atol=1e-14 * diffusion.T * 8)


@pytest.mark.parametrize("n_samples", [1, 2, 7])
def test_exp_of_the_estimate_is_unbiased(n_samples):
    diffusion, reverse, edge, x0, log_p, q, w = bits_with_all_trajectories()
    runs = 40_000
    p = np.exp(estimate(diffusion, reverse, np.tile(x0, (runs, 1)), n_samples, 7, edge=edge).value)
    deviation = math.sqrt((q @ w**2 - (q @ w) ** 2) / (n_samples * runs))
    assert abs(p.mean() - math.exp(log_p)) < SIGMAS * deviation
    assert 0.05 * math.exp(log_p) > SIGMAS * deviation  # 5 % off would be seen


def mean_log_of_mean(q, w, k):
    """E[log mean_k w], exactly: over all multisets of k of the distinct weights."""
    values, which = np.unique(np.round(w, 14), return_inverse=True)
    log_q = np.log(np.bincount(which, q))
    counts = np.array([np.bincount(each, minlength=len(values)) for each in itertools.combinations_with_replacement(range(len(values)), k)])
    ways = math.lgamma(k + 1) - np.array([sum(math.lgamma(c + 1) for c in row) for row in counts])
    return float(np.exp(ways + counts @ log_q) @ np.log(counts @ values / k))


def bias_case():
    """One bit, T = 2, whose four trajectories have very different weights."""
    diffusion = BinomialDiffusion([0.5, 0.6], 0.3)
    reverse, edge = lookup(np.array([[[0.5]] * 2, [[0.05], [0.9]], [[0.1], [0.8]]])), lambda x1: Bernoulli(np.where(x1 == 1, 0.9, 0.05))
    model = BinaryModel(diffusion, 1, reverse, edge)
    q, w = all_trajectories(diffusion, reverse, edge, (1.0,))
    return diffusion, reverse, edge, model.lower_bound()[1], model.log_likelihood()[1], [mean_log_of_mean(q, w, k) for k in range(1, 21)]


def test_k_is_the_first_of_a_rising_sequence_that_stays_below_log_p():
    *_, K, log_p, means = bias_case()
    assert means[0] == pytest.approx(K, rel=1e-13)
    assert (np.diff(means) > 0).all()
    assert means[-1] < log_p
    assert means[-1] > log_p - 0.1 * (log_p - K)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 10])
def test_the_mean_estimate_is_the_member_of_that_sequence(k):
    diffusion, reverse, edge, _, log_p, means = bias_case()
    got = estimate(diffusion, reverse, np.ones((20_000, 1)), k, 8, edge=edge).value
    deviation = got.std() / math.sqrt(got.size)
    assert abs(got.mean() - means[k - 1]) < SIGMAS * deviation
    assert log_p - got.mean() > SIGMAS * deviation  # the bias is seen


def test_the_bias_is_half_the_squared_standard_error():
    *_, q, w = bits_with_all_trajectories()
    exact = [math.log(q @ w) - mean_log_of_mean(*np.array([[0.6, 0.4], [1.0, 1.3]]), k) for k in (20, 40)] if q is None else None
    assert exact is None
    q, w = np.array([0.6, 0.4]), np.array([1.0, 1.3])
    for k in (50, 100):
        bias, var = math.log(q @ w) - mean_log_of_mean(q, w, k), (q @ w**2 / (q @ w) ** 2 - 1) / k
        assert bias == pytest.approx(var / 2, rel=0.01)

"""log p(x^0) against enumerated and linear-Gaussian models, its error bars, the sandwich, and the
same result from any executor.
"""

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
import reliability
import statistics_budget
from picklable import Unfit, failing, plain
from scipy import stats
from scipy.special import expit, logit, logsumexp

from dpm_ref import (
    Bernoulli,
    BinomialDiffusion,
    Gaussian,
    GaussianDiffusion,
    bounds,
    likelihood,
    schedules,
)
from dpm_ref.exact import BinaryData, BinaryModel, GaussianData, LinearModel, binary_states
from dpm_ref.likelihood import from_log_weights, log_likelihood, log_weights, sandwich
from dpm_ref.reverse import GaussianReverse

COMPARISONS = 150  # at most, in this file
ALPHA, SIGMAS = statistics_budget.alarm(COMPARISONS), statistics_budget.limit(COMPARISONS)


def rng(seed=0):
    """For models, and where nothing depends on luck; draws come from `statistics_budget.seed`."""
    return np.random.default_rng(seed)


def estimate(diffusion, reverse, x0, n_samples=64, seed=None, **options):
    """By draws of the statistical test numbered seed; without one they are always the same."""
    draw = rng() if seed is None else statistics_budget.seed(seed)
    return log_likelihood(diffusion, reverse, x0, n_samples=n_samples, rng=draw, **options)


# Models whose log p(x^0) is known


def lookup(table):
    """The reverse kernel whose rates are a table over times and states, and as edge the same at t =
    1.
    """

    def reverse(xt, t):
        return Bernoulli(table[t][np.asarray(xt, dtype=int) @ 2 ** np.arange(xt.shape[-1])[::-1]])

    return reverse


def random_bits(d, T, seed, learned_edge=False):
    """Rates drawn at random for every bit, state and time: nothing like a reversal."""
    diffusion = BinomialDiffusion(rng(seed).uniform(0.6, 0.9, T), rng(seed).uniform(0.3, 0.7, d))
    reverse = lookup(rng(seed + 1).uniform(0.2, 0.8, (T + 1, 2**d, d)))
    edge = (lambda x1: reverse(x1, 1)) if learned_edge else None
    return (
        diffusion,
        reverse,
        edge,
        binary_states(d)[:4],
        BinaryModel(diffusion, d, reverse, edge).log_likelihood()[:4],
    )


def nearly_reversed_bits(d, T, seed, noise):
    """The ideal kernel of random data, every rate perturbed: what training would reach."""
    diffusion = BinomialDiffusion(
        schedules.linear(T, first=0.03, last=0.4), rng(seed).uniform(0.3, 0.7, d)
    )
    data = BinaryData(diffusion, rng(seed + 1).dirichlet(np.full(2**d, 5.0)))
    rates = np.stack([data.reverse(data.atoms, max(t, 1)).prob1 for t in range(T + 1)])
    reverse = lookup(expit(logit(rates) + noise * rng(seed + 2).standard_normal(rates.shape)))
    log_p = BinaryModel(diffusion, d, reverse).log_likelihood()
    return diffusion, reverse, None, data.atoms[[0, 1, -3, -1]], log_p[[0, 1, -3, -1]]


def linear_chain(d, T, seed, learned_edge=False):
    """The reversal of Gaussian data with dependent components, made wider and shifted, so that S_t
    may be diagonal.
    """
    diffusion, draw = GaussianDiffusion(schedules.linear(T, first=0.1, last=0.5)), rng(seed)
    root = np.eye(d) + 0.15 * draw.standard_normal((d, d))
    data = GaussianData(diffusion, 0.3 * draw.standard_normal(d), root @ root.T)
    wrong = [
        (
            A + 0.01 * draw.standard_normal((d, d)),
            b + 0.05 * draw.standard_normal(d),
            1.1 * np.diag(np.diag(S)),
        )
        for A, b, S in (data.reversal(t) for t in range(1, T + 1))
    ]
    model = LinearModel(diffusion, wrong[1:], wrong[0] if learned_edge else None, d=d)
    x0 = 0.7 * draw.standard_normal((4, d))
    return (
        diffusion,
        model.reverse,
        model.edge if learned_edge else None,
        x0,
        model.log_likelihood(x0),
    )


CASES = {  # and the samples with which the estimates are put to the test
    "1 bit, T = 1": (512, lambda: random_bits(1, 1, 10, learned_edge=True)),
    "1 bit, T = 3": (512, lambda: random_bits(1, 3, 20)),
    "2 bits, T = 3": (1024, lambda: random_bits(2, 3, 30)),
    "2 bits, T = 4, an edge": (1024, lambda: random_bits(2, 4, 40, learned_edge=True)),
    "3 bits, T = 5": (512, lambda: nearly_reversed_bits(3, 5, 50, 0.4)),
    "5 bits, T = 10": (512, lambda: nearly_reversed_bits(5, 10, 60, 0.3)),
    "8 bits, T = 20": (256, lambda: nearly_reversed_bits(8, 20, 70, 0.1)),
    "N in 1-D, T = 2": (256, lambda: linear_chain(1, 2, 80)),
    "N in 1-D, T = 6, an edge": (256, lambda: linear_chain(1, 6, 90, learned_edge=True)),
    "N in 3-D, T = 8": (512, lambda: linear_chain(3, 8, 100)),
}
SLOW = {"8 bits, T = 20": pytest.mark.slow}
cases = pytest.mark.parametrize("name", [pytest.param(n, marks=SLOW.get(n, ())) for n in CASES])


# The test of the estimates: z-scores over independent runs


def forward_paths(diffusion, x0, n, seed):
    """n trajectories x^0..x^T of each data vector, (T+1, n, m, d), step by step."""
    path, draw = [np.broadcast_to(x0, (n, *x0.shape))], statistics_budget.seed(seed)
    for t in range(1, diffusion.T + 1):
        path.append(diffusion.kernel(path[-1], t).sample(rng=draw))
    return np.array(path)


def moments_of_z(log_w, n_samples):
    """The mean of z and its mean square, to first order in 1 / sqrt(n) and 1 / n.

    With w of mean 1, standard deviation c and skewness g, and an error e of the mean weight, the
    logarithm's error over its standard error is z = t (1 + e / 2 - e^2 / 6), where t is Student's
    ratio, E t = -g / (2 sqrt(n)) and E t^2 = 1 + (2 + 2 g^2) / n: error bars and values err
    together, and the logarithm bends. The largest of many weights is left out: one that is met once
    in a hundred such runs says nothing of a z from n_samples, and would be most of the skewness.
    """
    w = np.sort(np.exp(log_w - log_w.max()), 0)[:-1]
    c, g = w.std(0) / w.mean(0), stats.skew(w)
    mean = np.mean(c - g) / (2 * math.sqrt(n_samples))
    return float(mean), float(1 + np.mean(2 + 2 * g**2 - 2 * g * c - c**2 / 4) / n_samples)


def agrees(z, moments):
    """Whether z-scores have this mean and mean square.

    The sum of squares is near a gamma variable of its mean and variance.
    """
    mean, square = moments
    beyond = z.mean() - mean
    variance = max(2.0, (z**2).var())
    low, high = (
        stats.gamma.ppf(p, z.size * m**2 / variance, scale=variance / m / z.size)
        for p, m in ((ALPHA / 2, square), (1 - ALPHA / 2, square))
    )
    return abs(beyond) * math.sqrt(z.size) < SIGMAS * z.std() and low < (z**2).mean() < high


def scores(log_w, log_p):
    """z of the runs whose log weights are the columns."""
    w = np.exp(log_w)
    stderr = w.std(0, ddof=1) / w.mean(0) / math.sqrt(len(w))
    return (np.log(w.mean(0)) - log_p) / stderr


def repeated(name, runs, seed=1, n_samples=None):
    """z-scores of `runs` independent runs, shared out among the data vectors; their estimates; and
    the moments of z, from many weights.
    """
    n_samples, (diffusion, reverse, edge, x0, log_p) = n_samples or CASES[name][0], CASES[name][1]()
    rows = np.resize(np.arange(len(x0)), runs)
    got = estimate(diffusion, reverse, x0[rows], n_samples, seed, edge=edge)
    log_w = log_weights(
        diffusion, reverse, forward_paths(diffusion, x0, 16_000, seed + 1000), edge=edge
    )
    return (got.value - log_p[rows]) / got.stderr, got, moments_of_z(log_w, n_samples)


@cases
def test_the_estimate_agrees_with_the_exact_value_within_its_error_bars(name):
    z, got, moments = repeated(name, 512)
    assert np.median(got.ess) > 100
    assert agrees(z, moments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_samples"),
    [
        ("1 bit, T = 1", 238),  # its weights take two values: with 256 samples, in 69.8 percent
        ("1 bit, T = 3", 384),
        ("2 bits, T = 3", 400),
        ("N in 1-D, T = 2", 256),
        ("N in 1-D, T = 6, an edge", 384),
    ],
)
def test_an_error_bar_covers_the_exact_value_in_68_percent_of_runs(name, n_samples):
    """To 4.5 points among 4800 runs, of which 0.3 are for so few samples."""
    z, got, _ = repeated(name, 4800, 2, n_samples)
    share = stats.chi2.cdf(1, 1)
    assert np.median(got.ess) > 100
    apart = SIGMAS * math.sqrt(share * (1 - share) / 4800) + 0.003
    assert abs((np.abs(z) < 1).mean() - share) < apart


@pytest.mark.slow
def test_the_agreement_is_lost_with_error_bars_5_percent_off_or_a_value_off_by_a_third_of_one():
    diffusion, reverse, edge, x0, log_p = CASES["1 bit, T = 1"][1]()
    _, _, moments = repeated("1 bit, T = 1", 2, 3, 256)
    parts = (forward_paths(diffusion, np.resize(x0, (4000, 1)), 256, [3, i]) for i in range(8))
    log_w = np.hstack([log_weights(diffusion, reverse, part, edge=edge) for part in parts])
    z = scores(log_w, np.resize(log_p, 32_000))
    assert agrees(z, moments)
    assert not agrees(1.05 * z, moments)
    assert not agrees(z / 1.05, moments)
    assert not agrees(z[:2048] + 0.33, moments)


# Mistakes: log w written out a second time, with what can go wrong in it


def written_out(diffusion, model, path, mistake):
    """log w of linear-Gaussian trajectories x^0..x^T (T+1, n, d), one normal density after the
    other.
    """

    def normal(x, mean, var):
        return (-0.5 * np.log(2 * np.pi * var) - 0.5 * (x - mean) ** 2 / var).sum(-1)

    beta, T = diffusion.beta, diffusion.T
    total = (
        0
        if mistake == "prior forgotten"
        else normal(path[T - 1 if mistake == "prior at x^{T-1}" else T], 0, 1)
    )
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
    return (
        total / math.log(2) if mistake == "log2" else -total if mistake == "upside down" else total
    )


def linear_paths(n, seed):
    """A chain that is not the prior's, n trajectories of a data vector, and its log p.

    Its weights have tails light enough for z to be near a normal variable.
    """
    diffusion = GaussianDiffusion([0.2, 0.3, 0.4])
    data = GaussianData(diffusion, [0.5, -0.5], [[0.6, 0.0], [0.0, 1.2]])
    model, x0 = (
        LinearModel(diffusion, [(A, b + 0.1, 1.1 * S) for A, b, S in data.kernels()]),
        np.array([0.9, -0.4]),
    )
    return diffusion, model, forward_paths(diffusion, x0, n, seed), model.log_likelihood(x0)


MISTAKES = [
    "prior forgotten",
    "prior at x^{T-1}",
    "reverse kernel of t - 1",
    "edge forgotten",
    "reverse std for var",
    "forward beta of t - 1",
    "forward std for var",
    "first forward step forgotten",
    "log2",
    "upside down",
]


def passes(log_w, log_p):
    """The test of the estimates on 512 runs, whose log weights are given one after the other."""
    columns = log_w.reshape(512, -1).T
    return agrees(scores(columns, log_p), moments_of_z(log_w, len(columns)))


@pytest.fixture(scope="module")
def drawn_paths():
    return linear_paths(512 * 512, 4)


@pytest.fixture
def paths(drawn_paths):
    statistics_budget.seed(4)  # every test of these draws is a statistical one
    return drawn_paths


def test_the_weights_written_out_pass_the_test_of_the_estimates(paths):
    diffusion, model, path, log_p = paths
    assert passes(written_out(diffusion, model, path, None), log_p)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_weight_fails_the_test_of_the_estimates(paths, mistake):
    diffusion, model, path, log_p = paths
    assert not passes(written_out(diffusion, model, path, mistake), log_p)


def test_the_mean_of_the_log_weights_is_no_estimate_of_the_log_likelihood(paths):
    diffusion, model, path, log_p = paths
    log_w = written_out(diffusion, model, path, None).reshape(512, -1)
    assert not agrees((log_w.mean(1) - log_p) / (log_w.std(1) / math.sqrt(512)), (0.0, 1.0))


def test_log_weights_are_those_written_out():
    diffusion, model, path, _ = linear_paths(200, 5)
    np.testing.assert_allclose(
        log_weights(diffusion, model.reverse, path),
        written_out(diffusion, model, path, None),
        rtol=0,
        atol=1e-13,
    )


def test_log_weights_with_a_learned_edge_are_those_written_out():
    diffusion, model, path, _ = linear_paths(200, 6)
    learned = LinearModel(
        diffusion,
        model.kernels[1:],
        ([[0.7, 0.1], [0.2, 0.8]], [0.1, -0.1], [[0.3, 0.0], [0.0, 0.4]]),
    )
    got = log_weights(diffusion, learned.reverse, path, edge=learned.edge)
    np.testing.assert_allclose(got, written_out(diffusion, learned, path, None), rtol=0, atol=1e-13)


# Every trajectory of a tiny model


def all_trajectories(diffusion, reverse, edge, x0):
    """q(x^{1..T}|x^0) and w of every trajectory, products of the paper's rates."""

    def prob(rates, x):
        return np.prod(np.where(np.asarray(x) == 1, rates, 1 - np.asarray(rates)))

    pi, beta, states = (
        diffusion.pi1 * np.ones(len(x0)),
        diffusion.beta,
        list(itertools.product([0.0, 1.0], repeat=len(x0))),
    )
    q, w = [], []
    for path in itertools.product(states, repeat=len(beta)):
        path = [x0, *path]
        forward = [
            prob(np.asarray(path[t - 1]) * (1 - beta[t - 1]) + pi * beta[t - 1], path[t])
            for t in range(1, len(path))
        ]
        backward = [
            prob(reverse(np.array([path[t]]), t).prob1[0], path[t - 1]) for t in range(2, len(path))
        ]
        last = (
            np.asarray(path[1]) * (1 - beta[0]) + pi * beta[0]
            if edge is None
            else edge(np.array([path[1]])).prob1[0]
        )
        q.append(np.prod(forward))
        w.append(prob(pi, path[-1]) * np.prod(backward) * prob(last, x0) / q[-1])
    return np.array(q), np.array(w)


def bit_with_all_trajectories():
    diffusion, reverse, edge, x0, log_p = random_bits(1, 3, 20)
    return (
        diffusion,
        reverse,
        edge,
        x0[1],
        log_p[1],
        *all_trajectories(diffusion, reverse, edge, tuple(x0[1])),
    )


def test_the_average_weight_over_all_trajectories_is_p():
    *_, log_p, q, w = bit_with_all_trajectories()
    assert math.log(q @ w) == pytest.approx(log_p, rel=1e-13)


@pytest.mark.parametrize("learned_edge", [False, True])
def test_log_weights_of_all_trajectories_are_the_products_of_the_rates(learned_edge):
    diffusion, reverse, edge, x0, _ = random_bits(2, 3, 31, learned_edge)
    paths = np.array(
        [[x0[2], *path] for path in itertools.product(binary_states(2), repeat=3)]
    ).swapaxes(0, 1)
    w = all_trajectories(diffusion, reverse, edge, tuple(x0[2]))[1]
    np.testing.assert_allclose(
        log_weights(diffusion, reverse, paths, edge=edge),
        np.log(w),
        rtol=0,
        atol=1e-14 * diffusion.T * 8,
    )


@pytest.mark.parametrize("n_samples", [1, 2, 5])
def test_exp_of_the_estimate_is_unbiased(n_samples):
    diffusion, reverse, edge, x0, log_p, q, w = bit_with_all_trajectories()
    runs = 12_000 // n_samples
    p = np.exp(estimate(diffusion, reverse, np.tile(x0, (runs, 1)), n_samples, 7, edge=edge).value)
    deviation = math.sqrt((q @ w**2 - (q @ w) ** 2) / (n_samples * runs))
    assert abs(p.mean() - math.exp(log_p)) < SIGMAS * deviation
    assert 0.05 * math.exp(log_p) > SIGMAS * deviation  # 5 % off would be seen


def mean_log_of_mean(q, w, k):
    """E[log mean_k w], exactly: over all multisets of k of the distinct weights."""
    values, which = np.unique(np.round(w, 14), return_inverse=True)
    log_q = np.log(np.bincount(which, q))
    counts = np.array(
        [
            np.bincount(each, minlength=len(values))
            for each in itertools.combinations_with_replacement(range(len(values)), k)
        ]
    )
    ways = math.lgamma(k + 1) - np.array([sum(math.lgamma(c + 1) for c in row) for row in counts])
    return float(np.exp(ways + counts @ log_q) @ np.log(counts @ values / k))


def bias_case():
    """One bit, T = 2, whose four trajectories have very different weights."""
    diffusion = BinomialDiffusion([0.5, 0.6], 0.3)
    reverse, edge = (
        lookup(np.array([[[0.5]] * 2, [[0.05], [0.9]], [[0.1], [0.8]]])),
        lambda x1: Bernoulli(np.where(x1 == 1, 0.9, 0.05)),
    )
    model = BinaryModel(diffusion, 1, reverse, edge)
    q, w = all_trajectories(diffusion, reverse, edge, (1.0,))
    return (
        diffusion,
        reverse,
        edge,
        model.lower_bound()[1],
        model.log_likelihood()[1],
        [mean_log_of_mean(q, w, k) for k in range(1, 21)],
    )


def test_k_is_the_first_of_a_rising_sequence_that_stays_below_log_p():
    *_, K, log_p, means = bias_case()
    assert means[0] == pytest.approx(K, rel=1e-13)
    assert (np.diff(means) > 0).all()
    assert means[-1] < log_p
    assert means[-1] > log_p - 0.1 * (log_p - K)


@pytest.mark.parametrize(("k", "runs"), [(1, 5_000), (3, 6_000), (10, 15_000)])
def test_the_mean_estimate_is_the_member_of_that_sequence(k, runs):
    diffusion, reverse, edge, _, log_p, means = bias_case()
    got = estimate(diffusion, reverse, np.ones((runs, 1)), k, 8, edge=edge).value
    deviation = got.std() / math.sqrt(got.size)
    assert abs(got.mean() - means[k - 1]) < SIGMAS * deviation
    assert log_p - got.mean() > SIGMAS * deviation  # the bias is seen


@pytest.mark.parametrize("k", [50, 100])
def test_the_bias_is_half_the_squared_standard_error(k):
    q, w = np.array([0.6, 0.4]), np.array([1.0, 1.3])
    var = (q @ w**2 / (q @ w) ** 2 - 1) / k
    assert math.log(q @ w) - mean_log_of_mean(q, w, k) == pytest.approx(var / 2, rel=0.01)


# Weights that do not vary


def prior_case(column):
    beta = [0.1, 0.3, 0.2, 0.5]
    if column == "gaussian":
        return GaussianDiffusion(beta), rng(9).standard_normal((5, 3))
    return BinomialDiffusion(beta, [0.2, 0.5, 0.9]), binary_states(3)


@pytest.mark.parametrize("column", ["gaussian", "binomial"])
def test_one_sample_is_exact_where_the_model_is_the_forward_process_of_the_prior(column):
    diffusion, x0 = prior_case(column)
    got = estimate(diffusion, diffusion.kernel, x0, 1)
    np.testing.assert_allclose(
        got.value, bounds.null_log_likelihood(diffusion, x0), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("n_samples", [1023, 1024, 1025, 3000])
@pytest.mark.parametrize("column", ["gaussian", "binomial"])
def test_weights_do_not_vary_where_the_model_is_the_forward_process_of_the_prior(column, n_samples):
    diffusion, x0 = prior_case(column)
    got = estimate(diffusion, diffusion.kernel, x0, n_samples)
    np.testing.assert_allclose(
        got.value, bounds.null_log_likelihood(diffusion, x0), rtol=0, atol=1e-12
    )
    assert (got.stderr < 1e-12).all()
    np.testing.assert_allclose(got.ess, n_samples, rtol=1e-12)
    assert got.reliable.all()


def reversed_case(column):
    """Data with independent components that are not the prior's, their exact reversal, beta_T = 1,
    and log q(x^0).
    """
    beta = [0.05, 0.2, 0.4, 1.0]
    if column == "gaussian":
        data = GaussianData(GaussianDiffusion(beta), [0.5, -1.0], np.diag([0.3, 2.5]))
        x0 = rng(10).standard_normal((4, 2))
        return (
            data.diffusion,
            data.reverse,
            lambda x1: data.reverse(x1, 1),
            x0,
            Gaussian([0.5, -1.0], [0.3, 2.5]),
        )
    data = Bernoulli([0.15, 0.7])
    pmf = np.exp(data.log_prob(binary_states(2)))
    exact = BinaryData(BinomialDiffusion(beta, [0.4, 0.6]), pmf / pmf.sum())
    return exact.diffusion, exact.reverse, lambda x1: exact.reverse(x1, 1), binary_states(2), data


reversals = pytest.mark.parametrize("column", ["gaussian", "binomial"])


@reversals
def test_one_sample_is_exact_where_every_step_is_reversed_exactly(column):
    diffusion, reverse, edge, x0, data = reversed_case(column)
    np.testing.assert_allclose(
        estimate(diffusion, reverse, x0, 1, edge=edge).value, data.log_prob(x0), rtol=0, atol=1e-12
    )


@reversals
def test_weights_do_not_vary_where_every_step_is_reversed_exactly(column):
    diffusion, reverse, edge, x0, data = reversed_case(column)
    got = estimate(diffusion, reverse, x0, 2000, edge=edge)
    np.testing.assert_allclose(got.value, data.log_prob(x0), rtol=0, atol=1e-12)
    assert (got.stderr < 1e-12).all()


@reversals
def test_with_the_fixed_edge_they_vary_by_what_the_edge_lacks(column):
    """w = pi(x^0) q(x^1) / pi(x^1)."""
    diffusion, reverse, _, x0, data = reversed_case(column)
    path = forward_paths(diffusion, x0, 400, 11)
    keep, prior = 1 - diffusion.beta[0], diffusion.prior(2)
    if column == "gaussian":
        first = Gaussian(np.sqrt(keep) * data.mean, keep * data.var + 1 - keep)
    else:
        first = Bernoulli(keep * data.prob1 + (1 - keep) * prior.prob1)
    got = log_weights(diffusion, reverse, path)
    np.testing.assert_allclose(
        got,
        prior.log_prob(path[0]) + first.log_prob(path[1]) - prior.log_prob(path[1]),
        rtol=0,
        atol=1e-12,
    )
    assert np.ptp(got, axis=0).min() > 0.1


# The sandwich


def sandwiched(name, n, n_samples, seed=12):
    diffusion, reverse, edge, x0, _ = CASES[name][1]()
    got = sandwich(
        diffusion,
        reverse,
        n,
        x0.shape[1],
        n_samples=n_samples,
        rng=statistics_budget.seed(seed),
        edge=edge,
    )
    if isinstance(diffusion, BinomialDiffusion):
        d = x0.shape[1]
        every = BinaryModel(diffusion, d, reverse, edge).log_likelihood()
        return got, every[got.x0.astype(int) @ 2 ** np.arange(d)[::-1]]
    return got, reverse.__self__.log_likelihood(got.x0)


CLOSING = {  # vectors, for a mean gap of seven of its deviations or more, and samples of each
    "1 bit, T = 3": (500, 1000),
    "2 bits, T = 3": (500, 1000),
    "2 bits, T = 4, an edge": (500, 1000),
    "5 bits, T = 10": (500, 500),
    "8 bits, T = 20": (500, 200),
    "N in 1-D, T = 2": (8000, 50),
    "N in 3-D, T = 8": (500, 500),
}


@pytest.mark.parametrize("name", CLOSING)
def test_the_sandwich_closes_to_a_hundredth_of_a_nat(name):
    """With the vectors and samples that are stated above."""
    got, log_p = sandwiched(name, *CLOSING[name])
    assert 0 < got.upper_mean - got.lower_mean < 0.01
    assert (
        got.lower_mean - 6 * got.lower_stderr < log_p.mean() < got.upper_mean + 6 * got.upper_stderr
    )


@pytest.mark.parametrize("n_samples", [1, 4])
@pytest.mark.parametrize(
    ("name", "n"),
    [("2 bits, T = 3", 3000), ("2 bits, T = 4, an edge", 3000), ("N in 3-D, T = 8", 8000)],
)
def test_the_sandwich_holds_the_exact_value_in_expectation(name, n, n_samples):
    """So few samples leave both gaps wide enough to be seen."""
    got, log_p = sandwiched(name, n, n_samples)
    for gap in (log_p - got.lower, got.upper - log_p):
        assert gap.mean() > SIGMAS * gap.std() / math.sqrt(gap.size)


@pytest.mark.parametrize("n_samples", [1, 3])
def test_the_upper_side_is_unbiased_for_one_over_p(n_samples):
    got, log_p = sandwiched("2 bits, T = 3", 6000, n_samples)
    for side, holds in ((got.upper, True), (got.lower, False)):
        ratio = np.exp(log_p - side)
        assert (abs(ratio.mean() - 1) < SIGMAS * ratio.std() / math.sqrt(ratio.size)) == holds


def test_the_sandwich_draws_its_data_from_the_model():
    got, _ = sandwiched("2 bits, T = 3", 5000, 1)
    diffusion, reverse, *_ = CASES["2 bits, T = 3"][1]()
    expected = 5000 * np.exp(BinaryModel(diffusion, 2, reverse).log_likelihood())
    counts = np.bincount(got.x0.astype(int) @ [2, 1], minlength=4)
    assert ((counts - expected) ** 2 / expected).sum() < stats.chi2.isf(ALPHA, 3)


def test_the_gap_of_the_sandwich_is_at_least_log_k_over_k_plus_1():
    for n_samples in (1, 2, 10):
        got, _ = sandwiched("N in 1-D, T = 2", 500, n_samples)
        assert (got.upper - got.lower >= math.log(n_samples / (n_samples + 1)) - 1e-12).all()


def test_the_sandwich_s_means_are_those_of_its_vectors():
    got, _ = sandwiched("2 bits, T = 3", 100, 5)
    assert got.lower_mean == pytest.approx(got.lower.mean(), rel=1e-14)
    assert got.upper_stderr == pytest.approx(got.upper.std(ddof=1) / 10, rel=1e-12)


def test_one_vector_has_no_standard_error():
    got, _ = sandwiched("2 bits, T = 3", 1, 5)
    assert math.isnan(got.lower_stderr)


def test_a_law_that_is_the_same_for_all_states_is_drawn_anew_for_each():
    diffusion = GaussianDiffusion([0.5, 0.9])
    got = sandwich(
        diffusion,
        lambda xt, t: Gaussian([0.0], 0.5),
        50,
        1,
        n_samples=2,
        rng=rng(),
        edge=lambda x1: Gaussian([0.0], 1.0),
    )
    assert len(np.unique(got.x0)) == 50


# Running sums


@pytest.mark.parametrize("offset", [0.0, -2000.0, 2000.0])
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_sums_of_parts_are_those_of_the_whole(offset, spread):
    log_w = spread * rng(13).standard_normal(1000) + offset
    parts = [likelihood._fold(part) for part in np.split(log_w, [1, 2, 500, 990])]
    sums = parts[0]
    for part in parts[1:]:
        sums = likelihood._merge(sums, part)
    w = np.exp((log_w - log_w.max()).astype(np.longdouble))
    truth = logsumexp(log_w) - math.log(1000)
    assert likelihood._estimates(sums)[0] == pytest.approx(truth, rel=1e-14)
    assert likelihood._estimates(sums)[2] == pytest.approx(
        float(w.sum() ** 2 / (w**2).sum()), rel=1e-12
    )
    assert likelihood._estimates(sums)[1] == pytest.approx(
        float(w.std(ddof=1) / w.mean() / np.sqrt(np.longdouble(1000))), rel=1e-12
    )
    np.testing.assert_array_equal(sums.tail, np.sort(log_w)[::-1][:513])
    np.testing.assert_array_equal(likelihood._fold(log_w).tail, sums.tail)


def test_nearly_equal_weights_keep_the_digits_of_their_spread():
    log_w = 5.0 + 2.0**-40 * rng(14).integers(-8, 9, 1000)  # exactly representable
    halves = (likelihood._fold(part) for part in (log_w[:300], log_w[300:]))
    sums = likelihood._merge(*halves)
    assert likelihood._estimates(sums)[1] == pytest.approx(
        (log_w - 5.0).std(ddof=1) / math.sqrt(1000), rel=1e-3
    )  # eps / 2^-40


def test_zero_weights_count_in_the_mean():
    sums = likelihood._merge(
        likelihood._fold(np.array([-np.inf, -np.inf])),
        likelihood._fold(np.array([0.0, -np.inf])),
    )
    assert likelihood._estimates(sums)[0] == pytest.approx(math.log(0.25), rel=1e-15)
    assert likelihood._estimates(sums)[2] == 1.0


def test_zero_weights_alone_have_the_mean_zero():
    sums = likelihood._merge(*[likelihood._fold(np.array([-np.inf, -np.inf]))] * 2)
    assert likelihood._estimates(sums)[0] == -np.inf
    assert sums.n == 4


def never_one():
    diffusion = BinomialDiffusion([0.1, 0.2])
    return (
        diffusion,
        lambda xt, t: Bernoulli(np.full_like(xt, 0.5)),
        lambda x1: Bernoulli(np.zeros_like(x1)),
    )


def test_a_state_that_the_model_never_visits_has_log_likelihood_minus_infinity():
    diffusion, reverse, edge = never_one()
    got = estimate(diffusion, reverse, [[1.0], [0.0]], 100, edge=edge)
    assert got.value[0] == -np.inf
    assert math.isnan(got.stderr[0])
    assert got.ess[0] == 0
    assert not got.reliable[0]
    assert np.isfinite(got.value[1])


def test_one_sample_has_no_standard_error():
    got = estimate(*CASES["2 bits, T = 3"][1]()[:2], [0, 1], 1)
    assert math.isnan(got.stderr)
    assert got.ess == 1
    assert not got.reliable


def test_log_densities_beyond_floating_point_are_refused():
    diffusion = GaussianDiffusion([0.1, 0.2])
    with pytest.raises(ValueError, match=r"log pi\(x0\) must be finite, got -inf at index \(0,\)"):
        estimate(diffusion, diffusion.kernel, [[1e200, 0.0], [0.0, 0.0]])
    states = np.tile([[0.5], [1e160], [2e160]], (3, 1, 1))
    rule = "must be a number, which the difference of infinite log densities is not, got nan at"
    with pytest.raises(ValueError, match=rf"log w {rule} index \(1,\)"):
        log_weights(diffusion, diffusion.kernel, states)


# The flag


def narrow(shape):
    """T = 1: q(x^1|x^0) = N(0, b), b = .05, narrower than the posterior N(0, v); then w ~ exp( (1/b
    - 1/v) x^2 / 2 ), of shape 1 - b/v.
    """
    v = 0.05 / (1 - shape)  # 1/v = 1 + a^2
    return GaussianDiffusion([0.05]), lambda x1: Gaussian(
        math.sqrt((1 - v) / v) * np.asarray(x1), 1.0
    )


@pytest.mark.parametrize("shape", [0.1, 0.3])
def test_weights_of_finite_variance_are_reliable(shape):
    diffusion, edge = narrow(shape)
    got = estimate(diffusion, diffusion.kernel, np.zeros((40, 1)), 20_000, 15, edge=edge)
    assert got.reliable.sum() >= 35  # of shape .3, one in 2000 is not


def test_weights_of_a_proposal_much_narrower_than_the_posterior_are_flagged():
    """Of shape .93, without a variance: the flag can miss, in a few runs of a hundred."""
    diffusion, edge = narrow(0.93)
    assert (
        estimate(
            diffusion, diffusion.kernel, np.zeros((100, 1)), 20_000, 16, edge=edge
        ).reliable.mean()
        < 0.15
    )


@pytest.mark.parametrize("scale", [3.0, 50.0, 500.0, 5e4])
def test_lognormal_weights_that_are_too_wide_are_flagged(scale):
    log_w = scale * rng(17).standard_normal(10_000)
    assert not from_log_weights(log_w).reliable


@cases
def test_the_estimates_of_the_solvable_models_are_reliable(name):
    """Not significantly fewer than 85 in 100; the least is 90, of 2 bits with an edge."""
    diffusion, reverse, edge, x0, _ = CASES[name][1]()
    got = estimate(diffusion, reverse, np.resize(x0, (64, x0.shape[1])), 2048, 18, edge=edge)
    assert stats.binom.cdf(got.reliable.sum(), 64, 0.85) > ALPHA


@pytest.mark.parametrize(
    ("n", "length"),
    [(25, 5), (200, 40), (1000, 95), (10**4, 300), (10**6, 512), (10**9, 512)],
)
def test_the_tail_is_a_fifth_of_few_samples_and_three_roots_of_many_up_to_a_limit(
    monkeypatch, n, length
):
    """And the weight below it, the threshold."""
    monkeypatch.setattr(likelihood, "_tail_shape", len)
    sums = likelihood._fold(np.arange(1024.0))._replace(n=n)
    assert likelihood._estimates(sums)[3] == length + 1


@pytest.mark.parametrize("n", [5, 24])
def test_too_few_samples_are_never_reliable(n):
    diffusion, x0 = prior_case("gaussian")
    assert not estimate(diffusion, diffusion.kernel, x0, n).reliable.any()


def test_a_few_huge_weights_among_equal_ones_are_flagged():
    log_w = np.zeros(10_000)
    log_w[:3] = 12.0
    assert not from_log_weights(log_w).reliable


def test_weights_that_differ_by_rounding_only_are_reliable():
    log_w = 1e-13 * rng(30).standard_cauchy(10_000).clip(-1000, 1000)
    assert from_log_weights(log_w).reliable


def test_a_few_weights_beyond_floating_point_above_all_others_are_flagged():
    log_w = np.concatenate([np.zeros(30), -1000.0 - np.arange(9970) / 9970])
    assert not from_log_weights(log_w).reliable


@pytest.mark.parametrize("few", [0, 3, 2000])
def test_weights_of_two_values_that_are_near_are_reliable(few):
    log_w = np.zeros(10_000)
    log_w[:few] = 0.5
    assert from_log_weights(log_w).reliable


def pareto_shape(exceedances):
    return likelihood._pareto_shape(np.sort(exceedances))


@pytest.mark.parametrize("shape", [-1.0, -0.5, 0.0, 0.3, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_pareto_shape_of_an_exact_sample_is_its_own(shape, scale):
    """The quantiles of the generalized Pareto law: uniform at -1, exponential at 0; the prior draws
    by 10 / 2010 of the way to .5.
    """
    x = scale * stats.genpareto.isf((np.arange(2000) + 0.5) / 2000, shape)
    assert pareto_shape(x) == pytest.approx(
        (2000 * shape + 5) / 2010, abs=0.05 if shape < -0.5 else 0.015
    )


@pytest.mark.parametrize("shape", [0.2, 0.7, 1.5])
def test_the_pareto_shape_is_near_the_one_of_greatest_likelihood(shape):
    x = stats.genpareto.rvs(shape, size=1000, random_state=19)
    assert pareto_shape(x) == pytest.approx(
        (1000 * stats.genpareto.fit(x, floc=0)[0] + 5) / 1010, abs=0.02
    )


def zhang_stephens(x):
    """Their estimate of the shape from sorted x, in loops, drawn to one half with weight ten."""
    m, grid, largest = len(x), math.floor(30 + math.sqrt(len(x))), x[-1]
    quartile = x[math.floor(m / 4 + 0.5) - 1]
    thetas, logs = [], []
    for j in range(1, grid + 1):
        theta = 1 / largest + (1 - math.sqrt(grid / (j - 0.5))) / (3 * quartile)
        k = math.fsum(math.log1p(-theta * each) for each in x) / m
        thetas.append(theta)
        logs.append(m * (math.log(-theta / k) - k - 1))
    weights = [1 / math.fsum(math.exp(other - one) for other in logs) for one in logs]
    theta = math.fsum(w * each for w, each in zip(weights, thetas, strict=True))
    shape = math.fsum(math.log1p(-theta * each) for each in x) / m
    return (m * shape + 10 * 0.5) / (m + 10)


@pytest.mark.parametrize("m", [5, 6, 7, 9, 30, 95])
def test_the_pareto_shape_is_the_estimate_of_zhang_and_stephens_written_out(m):
    x = np.sort(rng(m).pareto(4.0, m))
    assert likelihood._pareto_shape(x) == pytest.approx(zhang_stephens(x), rel=1e-9)


def test_a_tail_is_the_log_weights_above_the_last():
    falling = np.array([2.0, 1.4, 1.0, 0.7, 0.2, -0.3])
    truth = likelihood._pareto_shape(np.sort(np.exp(falling[:-1]) - np.exp(falling[-1])))
    assert likelihood._tail_shape(falling) == pytest.approx(truth, rel=1e-12)
    assert likelihood._tail_shape(falling[1:]) == -np.inf  # four are no tail
    assert likelihood._tail_shape(np.array([1.0, 4e-12, 3e-12, 2e-12, 1e-12, 0.0])) > -np.inf


def test_the_bulk_shape_is_that_of_the_first_1024_weights():
    wide, near = np.linspace(-20.0, 0.0, 1024), np.linspace(-1e-3, 1e-3, 4000)
    assert not from_log_weights(np.concatenate([wide, near])).reliable
    assert from_log_weights(np.concatenate([near, wide])).reliable


@pytest.mark.parametrize(("excess", "reliable"), [(-1e-9, True), (1e-9, False)])
@pytest.mark.parametrize(("n", "length"), [(100, 20), (10**6, 512)])
def test_a_tail_is_believed_below_its_limit(monkeypatch, n, length, excess, reliable):
    limit = 0.4 + 2 / math.sqrt(length)
    monkeypatch.setattr(likelihood, "_tail_shape", lambda tail: limit + excess)
    sums = likelihood._fold(np.log([1.0, 3.0] * 50))._replace(n=n)
    assert likelihood._estimates(sums)[4] == reliable


@pytest.mark.parametrize(("excess", "reliable"), [(-1e-9, True), (1e-9, False)])
@pytest.mark.parametrize(("n", "limit"), [(100, 1 / 3), (8000, 8**0.125 / 3)])
def test_a_bulk_shape_is_believed_below_a_limit_that_rises_with_n(n, limit, excess, reliable):
    sums = likelihood._fold(np.log([1.0, 3.0] * 50))._replace(n=n, bulk=limit + excess)
    assert likelihood._estimates(sums)[4] == reliable


def test_an_effective_sample_size_of_20_is_enough_and_one_of_19_is_not():
    """One weight in four is not zero: the effective size is exact."""
    got = [from_log_weights([0.0, -np.inf, -np.inf, -np.inf] * k) for k in (20, 19)]
    assert [(float(each.ess), bool(each.reliable)) for each in got] == [(20, True), (19, False)]


def test_a_single_weight_is_its_own_mean():
    assert from_log_weights([0.3]).value == 0.3


def test_no_weights_are_refused_with_the_rule():
    with pytest.raises(ValueError, match=r"log_w must hold weights \(n, \.\.\.\), got shape"):
        from_log_weights(np.zeros((0, 3)))


def test_the_pareto_shape_of_five_is_drawn_towards_one_half():
    assert 0.2 < pareto_shape(-np.log((np.arange(5) + 0.5) / 5)) < 0.5


def test_equal_exceedances_have_a_shape_and_raise_no_warning():
    assert all(pareto_shape(np.ones(m)) < 0 for m in range(5, 600))


def test_a_tail_beyond_floating_point_has_infinite_shape():
    assert pareto_shape([1.0, 1e-10, 1e-100, 1e-290, 1e-310]) == np.inf
    assert pareto_shape([1.0, 1e-10, 1e-100, 1e-290, 1e-295]) < np.inf


# Chunks, tasks, and who does the work


def network_case():
    """A small network as reverse kernel, which can be pickled, and three data vectors."""
    model = GaussianReverse(
        GaussianDiffusion(schedules.linear(6, first=0.02, last=0.4)), 2, hidden=(8, 8)
    )
    params = model.network.init(rng=rng(20)) + 0.1 * rng(21).standard_normal(model.network.size)
    return model.diffusion, model.kernel(params), rng(22).standard_normal((3, 2))


def same(a, b):
    return all(np.array_equal(left, right) for left, right in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_COMPONENTS", 1),
        ("_COMPONENTS", 2**14),
        ("_COMPONENTS", 2**24),
        ("_TASK", (1, 1)),
        ("_TASK", (20_000, 20_000)),
        ("_TASK", (2**30, 2**30)),
        ("_SHARES", 10**9),
    ],
)
def test_results_do_not_depend_on_how_the_work_is_cut(monkeypatch, name, value):
    whole = estimate(*network_case(), 4097)
    monkeypatch.setattr(likelihood, name, value)
    cut = estimate(*network_case(), 4097)
    for left, right in zip(whole, cut, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=0)


@pytest.mark.parametrize("ahead", [1, 3, 7])
def test_an_executor_s_results_do_not_depend_on_how_many_calls_are_ahead(monkeypatch, ahead):
    whole = estimate(*network_case(), 4097)
    monkeypatch.setattr(likelihood, "_TASK", (1, 1))
    monkeypatch.setattr(likelihood, "_AHEAD", ahead)
    with ThreadPoolExecutor(3) as pool:
        cut = estimate(*network_case(), 4097, executor=pool)
    np.testing.assert_allclose(whole.value, cut.value, rtol=1e-12)


def tasks(n_rows, n_samples, T, d=2):
    """The row and the samples of each chunk of each task."""
    rows = np.repeat(np.arange(n_rows)[:, None], d, axis=1)
    cut = likelihood._tasks(rows, n_samples, T, np.random.SeedSequence(0))
    return [[(int(x0[0]), size) for x0, size, _ in task] for task in cut]


def test_the_tasks_are_all_the_samples_once():
    for n_rows, n_samples, T in [
        (1, 1, 1),
        (3, 1024, 5),
        (2, 5000, 200),
        (7, 1025, 1000),
        (100, 3, 2),
    ]:
        chunks = [chunk for task in tasks(n_rows, n_samples, T) for chunk in task]
        samples = [sum(size for row, size in chunks if row == r) for r in range(n_rows)]
        assert samples == [n_samples] * n_rows
        assert max(size for _, size in chunks) <= 1024


def test_a_job_of_some_seconds_has_work_for_many_and_a_large_one_tasks_that_are_worth_sending():
    small, large = (tasks(n_rows, 4096, 40) for n_rows in (24, 1200))
    assert len(small) >= 12
    assert 2**18 < min(sum(size for _, size in task) * 40 for task in large[:-1]) <= 2**19


def test_a_task_that_is_just_full_is_not_cut(monkeypatch):
    monkeypatch.setattr(likelihood, "_TASK", (10, 10))
    assert tasks(3, 5, 1, 1) == [[(0, 5), (1, 5)], [(2, 5)]]


def test_a_component_or_two_count_as_eight():
    assert len(tasks(1, 2**15, 1, 1)[0]) == len(tasks(1, 2**15, 1, 8)[0]) == 2**17 // 8 // 1024
    assert len(tasks(1, 2**15, 1, 9)[0]) == 14


class Shuffled(Executor):
    """Collects calls, and makes them in a random order when the first result is asked for."""

    def __init__(self, seed):
        self.waiting, self.rng, self.order, self.most = [], rng(seed), [], 0

    def submit(self, fn, /, *args, **kwargs):
        executor, number = self, len(self.order) + len(self.waiting)

        class Asked(Future):
            def result(self, timeout=None):
                executor.run()
                return super().result(0)

        future = Asked()
        self.waiting.append((number, future, fn, args))
        self.most = max(self.most, len(self.waiting))
        return future

    def run(self):
        waiting, self.waiting = self.waiting, []
        for i in self.rng.permutation(len(waiting)):
            number, future, fn, args = waiting[i]
            if future.set_running_or_notify_cancel():
                self.order.append(number)
                try:
                    future.set_result(fn(*args))
                except Exception as error:
                    future.set_exception(error)


@pytest.fixture(
    scope="module",
    params=[
        "one process",
        "two processes",
        "three processes",
        "two threads",
        "five threads",
        "shuffled",
    ],
)
def executor(request):
    count = {"one": 1, "two": 2, "three": 3, "five": 5, "shuffled": 0}[request.param.split()[0]]
    if "process" in request.param:
        with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool
    elif "threads" in request.param:
        with ThreadPoolExecutor(count) as pool:
            yield pool
    else:
        yield Shuffled(23)


def test_results_are_the_same_to_the_bit_with_any_executor(monkeypatch, executor):
    monkeypatch.setattr(likelihood, "_TASK", (2048 * 6, 2048 * 6))  # two chunks to a task
    diffusion, reverse, x0 = network_case()
    alone = estimate(diffusion, reverse, x0, 9000)
    assert same(alone, estimate(diffusion, reverse, x0, 9000, executor=executor))
    held = [
        sandwich(diffusion, reverse, 5, 2, n_samples=2000, rng=rng(24), executor=each)
        for each in (None, executor)
    ]
    assert same(*held)


def test_tasks_that_finish_in_any_order_count_in_theirs(monkeypatch):
    monkeypatch.setattr(likelihood, "_TASK", (1, 1))
    monkeypatch.setattr(likelihood, "_AHEAD", 5)
    alone, shuffled = estimate(*network_case(), 9000), Shuffled(25)
    assert same(alone, estimate(*network_case(), 9000, executor=shuffled))
    assert shuffled.order != sorted(shuffled.order)
    assert sorted(shuffled.order) == list(range(27))
    assert shuffled.most == 5


def test_tasks_are_handed_out_so_many_at_a_time(monkeypatch):
    monkeypatch.setattr(likelihood, "_AHEAD", 3)
    handed_out = []

    class Counting(Executor):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            future.set_result(fn(*args))
            handed_out.append(args)
            return future

    results = likelihood._in_order(Counting(), len, iter(["", "a", "bb", "ccc", "dddd"]))
    assert [(n, len(handed_out)) for n in results] == [(0, 3), (1, 3), (2, 3), (3, 5), (4, 5)]


def test_a_result_depends_on_the_seed_alone():
    assert same(estimate(*network_case(), 2000, seed=26), estimate(*network_case(), 2000, seed=26))
    assert not same(
        estimate(*network_case(), 2000, seed=26), estimate(*network_case(), 2000, seed=27)
    )


def test_data_vectors_and_chunks_have_noise_of_their_own():
    diffusion, reverse, x0 = network_case()
    got = estimate(diffusion, reverse, np.tile(x0[0], (50, 1)), 1)
    assert len(np.unique(got.value)) == 50
    assert (
        len({float(estimate(diffusion, reverse, x0[0], n).value) for n in (1024, 2048, 3072)}) == 3
    )


def test_two_calls_with_one_generator_are_independent():
    diffusion, reverse, x0 = network_case()
    one = rng(28)
    assert not same(
        *(log_likelihood(diffusion, reverse, x0, n_samples=100, rng=one) for _ in range(2))
    )


def test_a_failing_worker_raises_the_original_error(executor):
    with pytest.raises(Unfit, match=re.escape("('no such state', 2)")) as caught:
        estimate(GaussianDiffusion([0.1, 0.2]), failing, [[0.0]], 3000, executor=executor)
    assert caught.value.args == ("no such state", 2)


def test_after_a_failure_the_executor_can_be_used_on(executor):
    x0, draw = np.zeros((1, 1)), rng(29)
    with pytest.raises(Unfit):
        log_likelihood(
            GaussianDiffusion([0.1, 0.2]), failing, x0, n_samples=3000, rng=draw, executor=executor
        )
    diffusion, reverse, x0 = network_case()
    assert same(
        estimate(diffusion, reverse, x0, 500),
        estimate(diffusion, reverse, x0, 500, executor=executor),
    )


def test_after_a_failure_what_has_not_begun_is_cancelled(monkeypatch):
    monkeypatch.setattr(likelihood, "_TASK", (1, 1))
    hold, calls = threading.Event(), []

    def reverse(xt, t):
        calls.append(t)
        if len(calls) == 1:
            raise Unfit
        hold.wait(10)
        return Gaussian(xt, 1.0)

    with ThreadPoolExecutor(1) as pool:
        try:
            with pytest.raises(Unfit):
                estimate(GaussianDiffusion([0.1, 0.2]), reverse, [[0.0]], 50 * 1024, executor=pool)
        finally:
            hold.set()
    assert len(calls) <= 3


def test_a_function_that_cannot_be_pickled_says_so():
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises((pickle.PicklingError, AttributeError), match="lambda"),
    ):
        estimate(
            GaussianDiffusion([0.1, 0.2]),
            lambda xt, t: Gaussian(xt, 1.0),
            [[0.0]],
            10,
            executor=pool,
        )


def test_a_user_s_plain_function_is_a_reverse_kernel(executor):
    diffusion, x0 = GaussianDiffusion([0.1, 0.2, 0.3]), np.array([[0.5], [1.0]])
    kernels = [([[0.9]], [0.0], [[float(np.float32(0.1 + 0.1 * t))]]) for t in (2, 3)]
    got = estimate(diffusion, plain, x0, 3000, 0, executor=executor)
    assert (
        np.abs(got.value - LinearModel(diffusion, kernels).log_likelihood(x0)) < SIGMAS * got.stderr
    ).all()


def test_a_reverse_kernel_is_called_with_rows_and_one_integer():
    seen = set()

    def reverse(xt, t):
        seen.add((xt.shape[1:], xt.dtype, type(t), t))
        return Gaussian(xt, 1.0)

    estimate(GaussianDiffusion([0.1, 0.2, 0.3]), reverse, np.zeros((2, 3, 4)), 10)
    assert seen == {((4,), np.dtype(float), int, 2), ((4,), np.dtype(float), int, 3)}


# Memory


def test_the_wider_the_data_the_fewer_are_drawn_at_once():
    seen, diffusion = [], GaussianDiffusion([0.1, 0.2])

    def reverse(xt, t):
        seen.append(len(xt))
        return diffusion.kernel(xt, t)

    for d in (1, 64, 1024):
        estimate(diffusion, reverse, np.zeros((1, d)), 5000)
    assert seen == [5000, *[2048] * 2, 904, *[1024] * 4, 904]


def peak(n_samples, T, n_rows=1):
    diffusion = BinomialDiffusion(np.full(T, 0.3))
    estimate(diffusion, diffusion.kernel, np.ones((n_rows, 1)), 2)
    tracemalloc.start()
    try:
        estimate(diffusion, diffusion.kernel, np.ones((n_rows, 1)), n_samples)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_samples():
    assert peak(400_000, 2) < 1.05 * peak(100_000, 2)


def test_memory_does_not_grow_with_T():
    assert peak(1500, 100) < 1.05 * peak(1500, 20)


def test_what_is_kept_of_many_data_vectors_is_their_numbers_only():
    assert peak(3000, 2, 400) < 1.2 * peak(3000, 2, 100)


# Shapes and doors


@pytest.mark.parametrize("shape", [(2,), (1, 2), (3, 2), (2, 3, 2)])
def test_results_have_the_shape_of_the_batch(shape):
    got = estimate(*CASES["2 bits, T = 3"][1]()[:2], np.zeros(shape), 30)
    assert [column.shape for column in got] == [shape[:-1]] * 5
    assert got.reliable.dtype == bool


def test_data_are_read_and_not_written():
    x0 = np.array([[0.5, 1.0]])
    x0.flags.writeable = False
    estimate(network_case()[0], network_case()[1], x0, 30)
    log_weights(network_case()[0], network_case()[1], np.broadcast_to(x0, (7, 1, 2)))


def test_lists_integers_and_booleans_are_data():
    diffusion, reverse, *_ = CASES["2 bits, T = 3"][1]()
    first = estimate(diffusion, reverse, [[0, 1]], 30)
    assert all(
        same(first, estimate(diffusion, reverse, np.array([[0, 1]], dtype=dtype), 30))
        for dtype in (bool, np.uint8, np.float32)
    )


GAUSS, BITS = GaussianDiffusion([0.1, 0.2]), BinomialDiffusion([0.1, 0.2], [0.3, 0.5])
REFUSED = [
    (lambda: estimate(GAUSS, GAUSS.kernel, [[np.nan]]), "x0 must be finite, got nan"),
    (lambda: estimate(GAUSS, GAUSS.kernel, 1.0), "x0 must have a last axis"),
    (
        lambda: estimate(GAUSS, GAUSS.kernel, np.zeros((0, 2))),
        "x0 must hold at least one data vector",
    ),
    (lambda: estimate(GAUSS, GAUSS.kernel, ["a"]), "x0 must be an array of real numbers"),
    (lambda: estimate(BITS, BITS.kernel, [[0, 2]]), "x0 must be 0 or 1, got 2"),
    (lambda: estimate(BITS, BITS.kernel, [[0, 1, 1]]), "x0 must have 2 components"),
    (lambda: estimate(GAUSS, GAUSS.kernel, [0.0], 0), "n_samples must be an integer >= 1, got 0"),
    (
        lambda: estimate(GAUSS, GAUSS.kernel, [0.0], 10.0),
        "n_samples must be an integer >= 1, got 10.0",
    ),
    (
        lambda: estimate(GAUSS, GAUSS.kernel, [0.0], True),
        "n_samples must be an integer >= 1, got True",
    ),
    (
        lambda: log_likelihood(GAUSS, GAUSS.kernel, [0.0], n_samples=1, rng=0),
        "rng must be a numpy.random.Generator, got 0",
    ),
    (
        lambda: estimate(GAUSS, GAUSS.kernel, [0.0], executor=2),
        "executor must be a concurrent.futures.Executor, got 2",
    ),
    (
        lambda: estimate(GAUSS, lambda xt, t: Gaussian(np.zeros(3), 1.0), [0.0]),
        "reverse must return a law over the state's shape",
    ),
    (
        lambda: estimate(GAUSS, GAUSS.kernel, [0.0], edge=lambda x1: Gaussian(np.zeros(3), 1.0)),
        "edge must return a law over the state's",
    ),
    (
        lambda: estimate(GAUSS, lambda xt, t: 3.0, [0.0]),
        "a Gaussian law must have mean and var, got float",
    ),
    (
        lambda: estimate(GAUSS, lambda xt, t: SimpleNamespace(mean=xt, var=-(xt**2)), [0.0]),
        "var must be positive",
    ),
    (
        lambda: estimate(BITS, lambda xt, t: SimpleNamespace(prob1=xt + 0.5), [[1, 1]]),
        "prob1 must lie in [0, 1], got 1.5",
    ),
    (
        lambda: sandwich(GAUSS, GAUSS.kernel, 0, 2, n_samples=1, rng=rng()),
        "n must be an integer >= 1, got 0",
    ),
    (
        lambda: sandwich(GAUSS, GAUSS.kernel, 1, 0, n_samples=1, rng=rng()),
        "d must be an integer >= 1, got 0",
    ),
    (
        lambda: sandwich(BITS, BITS.kernel, 1, 3, n_samples=1, rng=rng()),
        "d must be the prior's length 2, got 3",
    ),
    (
        lambda: sandwich(GAUSS, GAUSS.kernel, 1, 2, n_samples=0, rng=rng()),
        "n_samples must be an integer >= 1, got 0",
    ),
    (
        lambda: sandwich(GAUSS, GAUSS.kernel, 1, 2, n_samples=1, rng=None),
        "rng must be a numpy.random.Generator, got None",
    ),
    (
        lambda: log_weights(GAUSS, GAUSS.kernel, np.zeros((2, 1))),
        "trajectory must hold x^0..x^T, 3 states, got shape (2, 1)",
    ),
    (
        lambda: log_weights(GAUSS, GAUSS.kernel, np.zeros(3)),
        "trajectory must hold x^0..x^T, 3 states, got shape (3,)",
    ),
    (
        lambda: log_weights(BITS, BITS.kernel, np.full((3, 1, 2), 0.5)),
        "trajectory must be 0 or 1, got 0.5",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_input_is_refused_by_name_rule_and_value(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


# Arguments that are none, and numbers at the edge of floating point


PLAIN = GAUSS.kernel
NAMED = [
    (lambda: estimate(None, PLAIN, [0.0]), "diffusion"),
    (lambda: estimate(GAUSS, None, [0.0]), "reverse"),
    (lambda: estimate(GAUSS, 0.5, [0.0]), "reverse"),
    (lambda: estimate(GAUSS, lambda xt, t: xt, [0.0]), "reverse"),
    (lambda: estimate(GAUSS, PLAIN, [0.0], edge=0.5), "edge"),
    (lambda: estimate(GAUSS, PLAIN, [0.0], edge=lambda x1: x1), "edge"),
    (lambda: sandwich(None, PLAIN, 1, 1, n_samples=1, rng=rng()), "diffusion"),
    (lambda: sandwich(GAUSS, None, 1, 1, n_samples=1, rng=rng()), "reverse"),
    (lambda: log_weights(None, PLAIN, np.zeros((3, 1))), "diffusion"),
    (lambda: log_weights(GAUSS, None, np.zeros((3, 1))), "reverse"),
    (lambda: likelihood.log_forward(None, np.zeros((3, 1))), "diffusion"),
    (lambda: likelihood.log_reverse(GAUSS, 3, np.zeros((3, 1))), "reverse"),
    (lambda: likelihood.log_reverse(GAUSS, PLAIN, np.zeros((3, 1)), edge=0), "edge"),
    (lambda: likelihood.forward_trajectory(GAUSS, [0.0], rng=3), "rng"),
    (lambda: from_log_weights(0.0), "log_w"),
    (lambda: from_log_weights(np.zeros((0, 2))), "log_w"),
    (lambda: from_log_weights(np.zeros((2, 0))), "log_w"),
    (lambda: from_log_weights([0.0, np.nan]), "log_w"),
    (lambda: from_log_weights([0.0, np.inf]), "log_w"),
]


@pytest.mark.parametrize(("call", "name"), NAMED)
def test_an_argument_of_the_wrong_kind_is_refused_by_name(call, name):
    with pytest.raises((ValueError, TypeError), match=name):
        call()


def test_the_sandwich_of_impossible_vectors_raises_no_warning():
    """The model draws zeros that its own density excludes: weights of zero, in both sides."""
    diffusion = BinomialDiffusion([0.1, 0.2])
    law = SimpleNamespace(
        log_prob=lambda x: np.full(len(x), -np.inf), sample=lambda *, rng: np.zeros((4, 1))
    )
    got = sandwich(diffusion, diffusion.kernel, 4, 1, n_samples=3, rng=rng(), edge=lambda x1: law)
    assert (got.lower == -np.inf).all()
    assert got.lower_mean == got.upper_mean == -np.inf
    assert math.isnan(got.lower_stderr)


def test_a_sample_that_is_no_data_is_refused():
    law = SimpleNamespace(log_prob=lambda x: np.zeros(len(x)), sample=lambda *, rng: [[0.5]])
    with pytest.raises(ValueError, match=r"sample must be 0 or 1, got 0\.5"):
        sandwich(BinomialDiffusion([0.1]), PLAIN, 1, 1, n_samples=3, rng=rng(), edge=lambda x1: law)


def test_log_weights_far_apart_have_an_estimate_without_a_warning():
    got = from_log_weights([1e308, -1e308, -np.inf] * 20)
    assert float(got.value) == 1e308
    assert float(got.ess) == pytest.approx(20)
    assert from_log_weights(np.full((30, 2), -np.inf)).reliable.tolist() == [False, False]
    two = from_log_weights(np.r_[np.full(1024, -1.5e308), np.full(30, 1.5e308)])
    assert (float(two.value), float(two.ess)) == (1.5e308, pytest.approx(30))


# Weights of one's own


@pytest.mark.parametrize("n", [1, 2, 24, 25, 1024, 1025, 3000])
def test_given_weights_have_the_estimate_written_out(n):
    log_w = 0.7 * rng(31).standard_normal((n, 3, 2))
    got, w = from_log_weights(log_w), np.exp(log_w)
    assert [column.shape for column in got] == [(3, 2)] * 5
    np.testing.assert_allclose(got.value, np.log(w.mean(0)), rtol=0, atol=1e-13)
    np.testing.assert_allclose(got.ess, w.sum(0) ** 2 / (w**2).sum(0), rtol=1e-12)
    if n == 1:
        assert np.isnan(got.stderr).all()
    else:
        stderr = w.std(0, ddof=1) / w.mean(0) / math.sqrt(n)
        np.testing.assert_allclose(got.stderr, stderr, rtol=1e-12)
    assert (np.isnan(got.pareto_shape) == (n < 25)).all()


def test_given_weights_are_taken_in_chunks_as_drawn_ones_are(monkeypatch):
    sizes, fold = [], likelihood._fold
    monkeypatch.setattr(likelihood, "_fold", lambda part: sizes.append(part.size) or fold(part))
    from_log_weights(np.zeros(3000))
    assert sizes == [1024, 1024, 952]


def test_given_weights_are_judged_as_drawn_ones_are():
    """One data vector, its weights drawn again with the generators of its chunks."""
    diffusion, reverse, x0 = network_case()
    got = estimate(diffusion, reverse, x0[:1], 3000, 32)
    root = np.random.SeedSequence(statistics_budget.seed(32).integers(2**63, size=4).tolist())
    parts = []
    for size, child in zip((1024, 1024, 952), root.spawn(3), strict=True):
        path, draw = [np.repeat(x0[:1], size, 0)], np.random.Generator(np.random.PCG64(child))
        for t in range(1, diffusion.T + 1):
            path.append(diffusion.kernel(path[-1], t).at(draw.standard_normal((size, 2))))
        parts.append(log_weights(diffusion, reverse, np.array(path)))
    again = from_log_weights(np.concatenate(parts))
    for a, b in zip(got, again, strict=True):
        np.testing.assert_allclose(a[0], b, rtol=1e-9)


def test_two_samples_have_half_their_relative_distance_for_standard_error():
    got = from_log_weights(np.log([1.0, 3.0]))
    assert float(got.stderr) == pytest.approx(0.5, rel=1e-14)


@pytest.mark.parametrize("shape", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("d", [1, 10])
def test_the_bulk_shape_is_near_the_tail_s_where_log_weights_are_gamma_variables(shape, d):
    """At 1024 quantiles of k chi^2_d / 2: to a quarter."""
    log_w = shape / 2 * stats.chi2.isf((np.arange(1024) + 0.5) / 1024, d)
    assert likelihood._bulk_shape(log_w) == pytest.approx(shape, rel=0.25)


def test_the_bulk_shape_written_out():
    """Mean 2 above the least; Gini coefficient by its definition, mean distance over twice that."""
    log_w = np.array([5.0, 3.0, 2.0, 2.5, 1.0, 0.5])
    above = log_w - 0.5
    gini = np.abs(above[:, None] - above).mean() / (2 * above.mean())
    wanted = 8 * above.mean() * gini**3
    assert likelihood._bulk_shape(-np.sort(-log_w)) == pytest.approx(wanted, rel=1e-14)
    again = np.append(log_w, [-np.inf, -np.inf])
    assert likelihood._bulk_shape(-np.sort(-again)) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize(("values", "bulk"), [([0.0], 0.0), ([1.0, 1.0, 1.0], 0.0)])
def test_weights_that_do_not_vary_have_no_bulk_shape(values, bulk):
    assert likelihood._bulk_shape(np.array(values)) == bulk


def test_discrete_weights_met_again_and_again_have_no_bulk_shape():
    often = np.repeat([3.0, 2.0, 0.0], 50)
    assert likelihood._bulk_shape(often) == 0.0
    assert likelihood._bulk_shape(np.repeat([3.0, 2.0, 0.0], 2)) == 0.0
    assert likelihood._bulk_shape(np.append([3.0 + 1e-12], often)) == 0.0
    assert likelihood._bulk_shape(often - 1000.0) == 0.0
    assert likelihood._bulk_shape(np.append([7.0], often)) > 0.5  # two fifths of the sum
    assert likelihood._bulk_shape(np.array([0.1, 0.1, 0.0])) > 0.0  # the last is a third


# The rates of the flag: `python tests/reliability.py` in short


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 10])
@pytest.mark.parametrize("n", [100, 300])
def test_the_flag_keeps_its_rates(n, d):
    """P(reliable) >= 85 % at shape .25, >= 97 % at .2; reliable and off by > 4 errors <= 2 %."""
    for shape in (0.2, 0.25, 0.4, 0.5, 0.7, 0.9):
        draw = statistics_budget.seed([n, d, round(100 * shape)])
        good, bad = reliability.rates(shape, d, n, 2000, draw)
        least = {0.2: 0.97, 0.25: 0.85}.get(shape, 0.0)
        assert good >= least - SIGMAS * math.sqrt(least * (1 - least) / 2000)
        assert bad <= 0.02 + SIGMAS * math.sqrt(0.02 / 2000)


@pytest.mark.parametrize(("n", "shares"), [(25, 0.76), (30, 0.52), (50, 0.35), (100, 0.14)])
def test_nearly_equal_weights_are_not_often_called_unreliable(n, shares):
    """With ess / n = .994; the shares are those of an earlier rule, now at most a fifth of them."""
    log_w = 0.0775 * statistics_budget.seed(33).standard_normal((n, 2000))
    got = from_log_weights(log_w)
    assert np.median(got.ess) / n == pytest.approx(0.994, abs=0.002)
    assert 1 - got.reliable.mean() < shares / 5


def test_mass_that_is_never_sampled_leaves_no_trace():
    """What the docstring says: in .999^500 = 60.6 % of runs the estimate is -1.385 +- 0."""
    reliable, wrong, _ = reliability.hidden_rates(500, 2000, statistics_budget.seed(34))
    share = 0.999**500
    assert abs(wrong - share) < SIGMAS * math.sqrt(share * (1 - share) / 2000) + 0.01
    assert reliable == pytest.approx(wrong, abs=0.01)


# Equations (3) and (5)


def test_the_density_of_a_forward_trajectory_is_the_product_of_its_steps():
    diffusion, _, path, _ = linear_paths(20, 35)
    steps = [
        stats.norm.logpdf(path[t], np.sqrt(1 - b) * path[t - 1], np.sqrt(b)).sum(-1)
        for t, b in enumerate(diffusion.beta, start=1)
    ]
    np.testing.assert_allclose(likelihood.log_forward(diffusion, path), sum(steps), rtol=1e-13)


def test_the_density_of_a_reverse_trajectory_is_the_prior_s_times_its_steps():
    diffusion, model, path, _ = linear_paths(20, 36)
    wanted = stats.norm.logpdf(path[-1]).sum(-1)
    for t, (A, b, S) in enumerate(model.kernels, start=1):
        wanted = wanted + stats.norm.logpdf(
            path[t - 1], path[t] @ A.T + b, np.sqrt(np.diag(S))
        ).sum(-1)
    got = likelihood.log_reverse(diffusion, model.reverse, path)
    np.testing.assert_allclose(got, wanted, rtol=1e-13)


def test_the_weight_is_the_quotient_of_both_densities():
    diffusion, model, path, _ = linear_paths(20, 37)
    quotient = likelihood.log_reverse(diffusion, model.reverse, path) - likelihood.log_forward(
        diffusion, path
    )
    np.testing.assert_allclose(
        log_weights(diffusion, model.reverse, path), quotient, rtol=0, atol=1e-12
    )


def test_forward_trajectories_of_bits_have_the_frequencies_of_their_density():
    """All 8 paths of one bit, chi-squared."""
    diffusion, n = BinomialDiffusion([0.5, 0.4, 0.3], 0.3), 40_000
    drawn = likelihood.forward_trajectory(
        diffusion, np.ones((n, 1)), rng=statistics_budget.seed(38)
    )
    assert drawn.shape == (4, n, 1)
    assert (drawn[0] == 1).all()
    paths = np.concatenate([np.ones((1, 8, 1)), binary_states(3).T[..., None]])
    expected = n * np.exp(likelihood.log_forward(diffusion, paths))
    assert expected.sum() == pytest.approx(n, rel=1e-13)
    counts = np.bincount((drawn[1:, :, 0].T @ [4, 2, 1]).astype(int), minlength=8)
    assert ((counts - expected) ** 2 / expected).sum() < stats.chi2.isf(ALPHA, 7)


def test_one_trajectory_has_one_weight():
    diffusion, model, path, _ = linear_paths(3, 39)
    alone = log_weights(diffusion, model.reverse, path[:, 0])
    assert alone.shape == ()
    assert float(alone) == pytest.approx(float(log_weights(diffusion, model.reverse, path)[0]))


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_densities_of_trajectories_have_the_shape_of_the_batch_and_make_the_weight(shape):
    diffusion, model, path, _ = linear_paths(6, 40)
    path = path[:, 0] if shape == () else path.reshape(len(path), *shape, -1)
    forward = likelihood.log_forward(diffusion, path)
    for edge in (None, lambda x1: Gaussian(x1 + 0.5, 2.0)):
        reverse = likelihood.log_reverse(diffusion, model.reverse, path, edge=edge)
        assert forward.shape == reverse.shape == shape
        weights = log_weights(diffusion, model.reverse, path, edge=edge)
        np.testing.assert_allclose(reverse - forward, weights, rtol=1e-10)


def test_the_sandwich_does_its_work_by_the_executor():
    diffusion, executor = GaussianDiffusion([0.1, 0.2]), Shuffled(41)
    sandwich(
        diffusion,
        diffusion.kernel,
        3,
        2,
        n_samples=10,
        rng=statistics_budget.seed(41),
        executor=executor,
    )
    assert executor.order


# Laws with a density of their own


class Own:
    """A Gaussian that shows nothing but its density and its draws."""

    def __init__(self, law):
        self.log_prob, self.sample = law.log_prob, law.sample


def test_kernels_and_edges_with_densities_of_their_own_are_taken_at_their_word():
    diffusion, reverse, edge, x0, _ = linear_chain(2, 4, 95, learned_edge=True)

    def own(xt, t):
        return Own(reverse(xt, t))

    def own_edge(x1):
        return Own(edge(x1))

    one, other = (
        estimate(diffusion, kernel, x0, 50, edge=last)
        for kernel, last in ((reverse, edge), (own, own_edge))
    )
    assert same(one, other)
    held = [
        sandwich(diffusion, kernel, 3, 2, n_samples=5, rng=rng(40), edge=last)
        for kernel, last in ((reverse, edge), (own, own_edge))
    ]
    assert same(*held)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_discretised_decoder_has_the_probability_of_its_bin(level):
    """T = 1: p(bin) is the integral of pi(x^1) P(bin|x^1), by quadrature; bins of width 1, open."""

    def probability(x0, x1):
        upper = (np.where(x0 > 0.9, np.inf, x0 + 0.25) - 0.9 * x1) / 0.4
        lower = (np.where(x0 < 0.1, -np.inf, x0 - 0.25) - 0.9 * x1) / 0.4
        side = np.where(lower > 0, -1, 1)  # in the lower tail nothing cancels to 0
        return np.abs(stats.norm.cdf(side * upper) - stats.norm.cdf(side * lower))

    def decoder(x1):
        return SimpleNamespace(log_prob=lambda x0: np.log(probability(x0, x1)).sum(-1))

    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    log_p = math.log(weights @ probability(level, nodes) / weights.sum())
    diffusion = GaussianDiffusion([0.7])
    got = estimate(diffusion, diffusion.kernel, [[level]], 20_000, 41, edge=decoder)
    assert abs(got.value[0] - log_p) < SIGMAS * got.stderr[0]
    assert SIGMAS * got.stderr[0] < 0.05  # 5 % off would be seen

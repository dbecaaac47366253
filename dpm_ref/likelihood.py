"""log p(x^0) by importance sampling over forward trajectories, and between two stochastic bounds.

    (3)  q(x^{1..T}|x^0) = prod_{t=1}^T q(x^t|x^{t-1})
    (5)  p(x^{0..T}) = p(x^T) prod_{t=1}^T p(x^{t-1}|x^t)
    (9)  p(x^0) = E_{q(x^{1..T}|x^0)} [ w ],    w = p(x^{0..T}) / q(x^{1..T}|x^0)

The average of w over trajectories is an unbiased estimate of p(x^0). By Jensen's inequality its
logarithm is biased low, less so with more samples: E[log w] = K(x^0) <= E[log mean_k w]
<= E[log mean_{k+1} w] <= log p(x^0). In the paper's thermodynamics -log w is the work done along a
trajectory, and (9) is Jarzynski's equality.

If x^0 was drawn from the model, its own trajectory is an exact draw from p(x^{1..T}|x^0). Averaged
with k forward ones, it gives an estimate p^ of p(x^0) with E[1 / p^] = 1 / p(x^0), whose logarithm
is biased high, so that log p(x^0) lies between the two expectations (bidirectional Monte Carlo).

Only running sums of the weights, scaled by the largest, and the largest themselves are kept, so
memory grows neither with the number of samples nor with T, and weights do not overflow. The samples
of a data vector are split into chunks of 1024, each with its own random generator, so draws depend
neither on the worker nor on how chunks are grouped into tasks.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.1 to 2.3; Grosse, Ghahramani
and Adams 2015, arXiv:1511.02543; Burda, Grosse and Salakhutdinov 2016, arXiv:1509.00519; Vehtari,
Simpson, Gelman, Yao and Gabry 2024, arXiv:1507.02646; Zhang and Stephens 2009, Technometrics 51.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from functools import partial, reduce
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple

import numpy as np

from dpm_ref import validation
from dpm_ref.bounds import _mean_and_stderr
from dpm_ref.protocols import Diffusion, Edge, ReverseKernel, ask_step, checked_diffusion
from dpm_ref.validation import Array, ArrayLike, Generator

__all__ = ["Likelihood", "Sandwich", "log_likelihood", "sandwich", "log_weights",
           "from_log_weights", "forward_trajectory", "log_forward", "log_reverse"]

_CHUNK_SIZE = 1024  # samples of a data vector with one generator; another number: other draws
_TASK = 2**17, 2**19  # least and most samples times steps in a task; in between, a share of all
_SHARES = 16
_COMPONENTS = 2**17  # most in a task, which is drawn together; a vector counts as 8 at least
_AHEAD = 1024  # tasks handed out together, so that neither they nor their results pile up
_LONGEST_TAIL = 512  # beyond that the tail's shape is known well enough
_ALIKE = 1e-9  # log weights that differ by less differ by rounding


class Likelihood(NamedTuple):
    """Estimates of log p(x^0); each (...), the shape of the batch of data vectors.

    value : log mean w; -inf where every weight is zero
    stderr : its standard error by the delta method, std(w) / (mean(w) sqrt(n)); nan at n = 1, and
        where every weight is zero
    ess : effective sample size (sum w)^2 / sum w^2, 1..n; 0 where every weight is zero
    pareto_shape : shape of a Pareto tail fitted to the largest weights, which has moments below the
        order 1 / shape; -inf without a tail (all alike, or fewer than five above the threshold),
        nan at n < 25, and where every weight is zero
    reliable : whether the standard error can be trusted; see `from_log_weights`
    """

    value: Array
    stderr: Array
    ess: Array
    pareto_shape: Array
    reliable: Any  # bool


class Sandwich(NamedTuple):
    """Data from the model, and stochastic bounds on their log p(x^0).

    x0 : (n, d)
    lower, upper : (n,), with E[lower] <= log p(x^0) <= E[upper] for each vector
    lower_mean, lower_stderr, upper_mean, upper_stderr : floats, over the n vectors
    """

    x0: Array
    lower: Array
    upper: Array
    lower_mean: float
    lower_stderr: float
    upper_mean: float
    upper_stderr: float


def log_likelihood(diffusion: Diffusion, reverse: ReverseKernel, x0: ArrayLike, *,
                   n_samples: int, rng: Generator, edge: Edge = None,
                   executor: Executor | None = None) -> Likelihood:
    """log p(x^0) of each data vector, estimated over n_samples forward trajectories, equation (9).

    value is biased low, by about stderr^2 / 2 where that is small. ValueError if a log density
    leaves floating point.

    Parameters
    ----------
    diffusion, reverse, edge : see `dpm_ref`
        A law with its own log_prob is evaluated by that.
    x0 : array_like, shape (..., d)
        Flatten images: each row is taken as a data vector.
    n_samples : int
        Trajectories per data vector.
    executor : concurrent.futures.Executor, optional
        Where to run; by default in this thread. On machines of one kind the result is bitwise the
        same for any executor and number of workers, if BLAS uses as many threads in a worker as
        here (set OMP_NUM_THREADS before importing NumPy). An exception in a worker is raised here
        unchanged, and work not yet begun is cancelled. A process pool needs arguments, and
        exceptions, that can be pickled.

    With p = T_pi the weight of every trajectory is pi(x^0):

    >>> from dpm_ref import BinomialDiffusion
    >>> diffusion = BinomialDiffusion([0.1, 0.2])
    >>> rng = np.random.default_rng(0)
    >>> estimate = log_likelihood(diffusion, diffusion.kernel, [[0, 1]], n_samples=100, rng=rng)
    >>> print("%.6f %.1f" % (estimate.value[0], estimate.ess[0]))
    -1.386294 100.0
    """
    data = checked_diffusion(diffusion).check_data("x0", x0)
    rows = data.reshape(-1, data.shape[-1])
    if edge is None:
        validation.finite("log pi(x0)", diffusion.prior(data.shape[-1]).log_p(rows))
    n_samples, rng = validation.count("n_samples", n_samples, 1), validation.generator(rng)
    known = isinstance(executor, Executor | None)
    validation.checked("executor", executor, "be a concurrent.futures.Executor", known)
    root = np.random.SeedSequence(rng.integers(2**63, size=4).tolist())
    weigh = partial(_weigh, diffusion, reverse, edge)
    tasks = _tasks(rows, n_samples, diffusion.T, root)
    results = map(weigh, tasks) if executor is None else _in_order(executor, weigh, tasks)
    chunks, per_row = chain.from_iterable(results), -(-n_samples // _CHUNK_SIZE)
    return _summary((reduce(_merge, islice(chunks, per_row)) for _ in rows), data.shape[:-1])


def from_log_weights(log_w: ArrayLike) -> Likelihood:
    """log mean w of n independent weights, its standard error, and whether that can be trusted.

    log_w has shape (n, ...); -inf is a weight of zero. `reliable` requires n >= 25, ess >= 20 and
    limits on two shapes, which detect an infinite variance, or one estimated from too few samples:

    - pareto_shape < 0.4 + 2 / sqrt(m), fitted to the m = min(n // 5, ceil(3 sqrt n), 512) largest
      weights;
    - bulk shape = 8 a G^3 < max(1, n/1000)^(1/8) / 3, with a the mean and G the Gini coefficient of
      the first 1024 log weights, each less the smallest. Where log weights are gamma variables,
      as in a Gaussian model at T = 1, it is near the Pareto shape, and less noisy than a fit to the
      tail. It is not required where weights that occur only once carry less than 20 % of the sum:
      such weights are discrete, and their values known.

    Rates in percent of runs, over T = 1 Gaussian edges of d = 1 and 10 with weights of known shape
    .1 to .9, the worst of each cell (`python tests/reliability.py` prints them):

        n                                               100    200, 300    1000 up
        reliable, shape <= .2                          98.7        99.5       99.9
        reliable, shape .25                            89.6        96.7       98.7
        reliable and off by > 4 stderr, any shape       1.6         0.9        1.0

    The aim is 95 and 1 in the last two rows; n = 100 is too few for it: even a rule that knows that
    the weights are exp(k chi^2_1 / 2), and asks that the most likely k is below .315, gives 95.9 at
    shape .25, and 1.2 at .4.

    Weights that were never sampled leave no trace. With x^0 = 0, `BinomialDiffusion([.002])` and
    edge prob1 = where(x1 == 1, 0, .5), one trajectory in 1000 has a weight of 500, and 60 % of runs
    at n = 500 meet none: value -1.385, stderr 0, reliable, where -0.288 is right.

    >>> estimate = from_log_weights(np.log([1.0, 3.0] * 50))
    >>> print("%.6f %.1f %s" % (estimate.value, estimate.ess, estimate.reliable))
    0.693147 80.0 True
    """
    array = validation.below_infinity("log_w", log_w)
    validation.shaped("log_w", array, "hold weights (n, ...)", min(array.ndim, array.size) > 0)
    columns = np.ascontiguousarray(array.reshape(len(array), -1).T)
    chunks = range(_CHUNK_SIZE, len(array), _CHUNK_SIZE)
    sums = (reduce(_merge, map(_fold, np.split(column, chunks))) for column in columns)
    return _summary(sums, array.shape[1:])


def sandwich(diffusion: Diffusion, reverse: ReverseKernel, n: int, d: int, *, n_samples: int,
             rng: Generator, edge: Edge = None, executor: Executor | None = None) -> Sandwich:
    """Draw n vectors from the model, with stochastic lower and upper bounds on their log p(x^0).

    lower = log mean of n_samples forward weights
    upper = log mean of the same weights and that of the trajectory with which x^0 was drawn

    A single pair can lie to one side. With k = n_samples, upper - lower >= log(k / (k+1)), and it
    tends to 0 as k grows. It says nothing about data that are not the model's own. Section 2.3.

    Parameters
    ----------
    diffusion, reverse, edge, executor : as for `log_likelihood`
        A law with its own log_prob must have its own sample too.
    n, d : int
        Vectors to draw, and their components.
    n_samples : int
        Forward trajectories for each.

    >>> from dpm_ref import GaussianDiffusion
    >>> diffusion = GaussianDiffusion([0.1, 0.2])
    >>> rng = np.random.default_rng(0)
    >>> held = sandwich(diffusion, diffusion.kernel, 3, 2, n_samples=10, rng=rng)
    >>> bool(abs(held.upper - held.lower).max() < 1e-12)
    True
    """
    prior = checked_diffusion(diffusion).prior(d)
    n_samples = validation.count("n_samples", n_samples, 1)
    states = [prior.over((validation.count("n", n, 1), d)).sample(rng=rng)]
    for t in range(diffusion.T, 0, -1):
        before = ask_step(diffusion, reverse, edge, states[0], t).sample(rng=rng)
        states.insert(0, diffusion.check_data("a kernel's sample", before))
    own = log_weights(diffusion, reverse, states, edge=edge)
    lower = log_likelihood(diffusion, reverse, states[0], n_samples=n_samples, rng=rng, edge=edge,
                           executor=executor).value
    upper = np.logaddexp(lower + np.log(n_samples), own) - np.log(n_samples + 1.0)
    means = (float(number) for side in (lower, upper) for number in _mean_and_stderr(side))
    return Sandwich(states[0], lower, upper, *means)


def log_weights(diffusion: Diffusion, reverse: ReverseKernel, trajectory: ArrayLike, *,
                edge: Edge = None) -> Array:
    """log w of trajectories (T+1, ..., d), x^0 first: shape (...). Equation (9).

    `log_reverse` less `log_forward`, and minus the work; arguments as for `log_likelihood`. With
    the edge T_pi the factor p(x^0|x^1) / q(x^1|x^0) is computed as pi(x^0) / pi(x^1).

    >>> from dpm_ref import BinomialDiffusion
    >>> diffusion = BinomialDiffusion([0.1, 0.2])
    >>> print("%.6f" % log_weights(diffusion, diffusion.kernel, [[[0]], [[1]], [[1]]])[0])
    -0.693147
    """
    states, shape = _states(diffusion, trajectory)
    return _log_w(diffusion, reverse, edge, states[0], _given(diffusion, states)).reshape(shape)


def forward_trajectory(diffusion: Diffusion, x0: ArrayLike, *, rng: Generator) -> Array:
    """Draw x^{1..T} ~ q(x^{1..T}|x^0), x0 (..., d): shape (T+1, ..., d), x^0 first. Equation (3).

    >>> from dpm_ref import BinomialDiffusion
    >>> rng = np.random.default_rng(0)
    >>> forward_trajectory(BinomialDiffusion([0.1, 1.0]), [[0, 1]], rng=rng).shape
    (3, 1, 2)
    """
    states = [checked_diffusion(diffusion).check_data("x0", x0)]
    for t in range(1, diffusion.T + 1):
        states.append(diffusion.q_kernel(states[-1], t).sample(rng=rng))
    return np.stack(states)


def log_forward(diffusion: Diffusion, trajectory: ArrayLike) -> Array:
    """log q(x^{1..T}|x^0) of trajectories (T+1, ..., d), x^0 first: shape (...). Equation (3).

    >>> from dpm_ref import BinomialDiffusion
    >>> print("%.6f" % log_forward(BinomialDiffusion([0.5]), [[0], [1]]))
    -1.386294
    """
    states, shape = _states(diffusion, trajectory)
    return np.asarray(np.sum([q for _, q in _given(diffusion, states)], axis=0).reshape(shape))


def log_reverse(diffusion: Diffusion, reverse: ReverseKernel, trajectory: ArrayLike, *,
                edge: Edge = None) -> Array:
    """log p(x^{0..T}) of trajectories (T+1, ..., d), x^0 first: shape (...). Equation (5).

    >>> from dpm_ref import BinomialDiffusion
    >>> diffusion = BinomialDiffusion([0.5])
    >>> print("%.6f" % log_reverse(diffusion, diffusion.kernel, [[0], [1]]))
    -2.079442
    """
    states, shape = _states(diffusion, trajectory)
    edge, steps = diffusion.edge if edge is None else edge, ((x, 0.0) for x in states[1:])
    return _log_w(diffusion, reverse, edge, states[0], steps).reshape(shape)


# Along trajectories


def _states(diffusion: Diffusion, trajectory: ArrayLike) -> tuple[Array, tuple[int, ...]]:
    """The states as (T+1, m, d), and the shape of the batch."""
    states = checked_diffusion(diffusion).check_data("trajectory", trajectory)
    n, holds = diffusion.T + 1, states.ndim > 1 and len(states) == diffusion.T + 1
    validation.shaped("trajectory", states, f"hold x^0..x^T, {n} states", holds)
    return states.reshape(n, -1, states.shape[-1]), states.shape[1:-1]


def _given(diffusion: Diffusion, states: Array) -> Iterator[tuple[Array, Array]]:
    """x^t and log q(x^t|x^{t-1}), t = 1..T, along states x^0..x^T."""
    for t, (before, after) in enumerate(pairwise(states), start=1):
        yield after, diffusion.q_kernel(before, t).log_p(after)


def _log_w(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge, x0: Array,
           steps: Iterable[tuple[Array, Array | float]]) -> Array:
    """log w along x^0 and steps (x^t, log q(x^t|x^{t-1})), held two states at a time."""
    prior = diffusion.prior(x0.shape[1])
    before, log_w = x0, np.zeros(len(x0))
    with np.errstate(invalid="ignore"):  # -inf - (-inf) is refused where the sum is complete
        for t, (after, log_q) in enumerate(steps, start=1):
            if t == 1 and edge is None:
                log_w = prior.log_p(before) - prior.log_p(after)
            else:
                law = ask_step(diffusion, reverse, edge, after, t).dense()
                log_w = log_w + law.log_p(before) - log_q
            before = after
    log_w = log_w + prior.log_p(before)
    rule = "be a number, which the difference of infinite log densities is not"
    return validation.ruled("log w", log_w, rule, lambda log_w: ~np.isnan(log_w))


# Splitting samples into tasks


_Task = list[tuple[Array, int, np.random.SeedSequence]]  # chunks: x^0, samples, their seed


def _tasks(rows: Array, n_samples: int, T: int, root: np.random.SeedSequence) -> Iterator[_Task]:
    """The chunks of all rows in order, grouped into tasks; smaller jobs are split more finely."""
    share = min(max(len(rows) * n_samples * T // _SHARES, _TASK[0]), _TASK[1]) // T
    most = min(share, _COMPONENTS // max(8, rows.shape[1])) // min(n_samples, _CHUNK_SIZE)
    chunks = ((x0, min(_CHUNK_SIZE, n_samples - start), *root.spawn(1))
              for x0 in rows for start in range(0, n_samples, _CHUNK_SIZE))
    while task := list(islice(chunks, max(most, 1))):
        yield task


def _in_order(executor: Executor, weigh: partial[list[_WeightSums]],
              tasks: Iterator[_Task]) -> Iterator[list[_WeightSums]]:
    """The executor's results in the order of tasks; on an exception pending calls are cancelled."""
    while together := list(islice(tasks, _AHEAD)):
        yield from executor.map(weigh, together)


def _weigh(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge,
           task: _Task) -> list[_WeightSums]:
    rows, sizes, seeds = zip(*task, strict=True)
    rngs = [Generator(np.random.PCG64(seed)) for seed in seeds]
    x0 = np.repeat(rows, sizes, axis=0)
    log_w = _log_w(diffusion, reverse, edge, x0, _forward(diffusion, x0, rngs, sizes))
    return [_fold(part) for part in np.split(log_w, np.cumsum(sizes)[:-1])]


def _forward(diffusion: Diffusion, x0: Array, rngs: list[Generator],
             sizes: Iterable[int]) -> Iterator[tuple[Array, Array]]:
    """x^t and log q(x^t|x^{t-1}), t = 1..T; each generator draws the noise of its own rows."""
    x, d = x0, x0.shape[1]
    for t in range(1, diffusion.T + 1):
        law = diffusion.q_kernel(x, t)
        noise = [law.noise((n, d), rng=rng) for rng, n in zip(rngs, sizes, strict=True)]
        x, log_q = law.drawn(np.concatenate(noise))
        yield x, log_q


# Importance weights, of which only running sums are held


class _WeightSums(NamedTuple):
    """Sums over n weights exp(l), divided by exp(peak), and the largest l in falling order."""

    n: int
    peak: float
    mean: float
    squares: float  # sum of squared deviations from the mean
    tail: Array
    bulk: float  # the bulk shape of the first chunk alone


def _fold(log_w: Array) -> _WeightSums:
    """The sums of one chunk of weights (n,), n >= 1."""
    falling = -np.sort(-log_w)
    peak = float(np.nan_to_num(falling[0]))  # where all weights are zero, any finite number
    with np.errstate(over="ignore", invalid="ignore"):  # log weights 1e308 apart
        weights = np.exp(log_w - peak)
        bulk = _bulk_shape(falling)
    mean = float(weights.mean())
    squares = float(((weights - mean) ** 2).sum())
    return _WeightSums(log_w.size, peak, mean, squares, falling[:_LONGEST_TAIL + 1], bulk)


def _merge(a: _WeightSums, b: _WeightSums) -> _WeightSums:
    """The sums of both (Chan, Golub and LeVeque), relative to the larger peak."""
    n, peak = a.n + b.n, max(a.peak, b.peak)
    scale_a, scale_b = np.exp([a.peak - peak, b.peak - peak])
    mean_a, mean_b = a.mean * scale_a, b.mean * scale_b
    apart = (mean_b - mean_a) ** 2 * (a.n * b.n / n)
    squares = a.squares * scale_a**2 + b.squares * scale_b**2 + apart
    tail = -np.sort(-np.concatenate([a.tail, b.tail]))[:_LONGEST_TAIL + 1]
    mean = (a.n * mean_a + b.n * mean_b) / n
    return _WeightSums(n, peak, float(mean), float(squares), tail, a.bulk)


def _summary(sums: Iterable[_WeightSums], shape: tuple[int, ...]) -> Likelihood:
    columns = zip(*map(_estimates, sums), strict=True)
    return Likelihood(*(np.array(column).reshape(shape) for column in columns))


def _estimates(sums: _WeightSums) -> tuple[float, float, float, float, bool]:
    """The fields of `Likelihood` for one data vector."""
    if not sums.mean:
        return -np.inf, np.nan, 0.0, np.nan, False
    variance = sums.squares / sums.n / sums.mean**2
    stderr = float(np.sqrt(variance / (sums.n - 1))) if sums.n > 1 else np.nan
    ess = sums.n / (1.0 + variance)
    m = min(sums.n // 5, int(np.ceil(3.0 * np.sqrt(sums.n))), _LONGEST_TAIL)
    with np.errstate(over="ignore"):  # log weights 1e308 apart
        shape = _tail_shape(sums.tail[:m + 1]) if sums.n >= 25 else np.nan
    reliable = (ess >= 20 and shape < 0.4 + 2.0 / np.sqrt(m)
                and sums.bulk < max(1.0, sums.n / 1000) ** 0.125 / 3)
    return float(sums.peak + np.log(sums.mean)), stderr, ess, shape, bool(reliable)


# Whether the standard error can be believed: the shapes of the bulk and of the tail


def _bulk_shape(falling: Array) -> float:
    """8 a G^3 of falling log weights; 0 where repeated weights carry over 80 % of the sum."""
    falling = falling[np.isfinite(falling)]  # a weight of zero is infinitely far below
    if not falling.size:
        return np.nan
    weights, apart = np.exp(falling - falling[0]), -np.diff(falling) > _ALIKE
    once = np.append(True, apart) & np.append(apart, True)
    above, n = falling - falling[-1], falling.size
    if not above[0] or weights[once].sum() < 0.2 * weights.sum():
        return 0.0
    gini = float((n - 1.0 - 2.0 * np.arange(n)) @ above) / (n * float(above.sum()))
    return 8.0 * float(above.mean()) * gini**3


def _tail_shape(tail: Array) -> float:
    """The Pareto shape of weights whose logarithms fall to the threshold, the last of them."""
    threshold, above = tail[-1], tail[tail > tail[-1]]
    if above.size < 5 or above[0] - threshold < _ALIKE:
        return -np.inf
    exceedances = np.exp(above - above[0]) * -np.expm1(threshold - above)
    return _pareto_shape(exceedances[::-1])


def _pareto_shape(x: Array) -> float:
    """The shape of a generalized Pareto distribution fitted to rising exceedances x > 0, m >= 5.

    Zhang and Stephens's (2009) estimate, shrunk towards 0.5 with the weight of ten observations as
    by Vehtari et al.; inf where the smallest exceedance is below 1e-300 of the largest.
    """
    m, x = x.size, x / x[-1]
    if x[0] < 1e-300:
        return np.inf
    quartile, grid = x[int(m / 4 + 0.5) - 1], int(30 + np.sqrt(m))
    theta = 1.0 + (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3.0 * quartile)
    theta = theta[theta != 0]  # exponential, as it can be to the bit among equal exceedances
    shapes = np.log1p(-theta[:, None] * x).mean(1)
    profile = m * (np.log(-theta / shapes) - shapes - 1.0)  # log likelihood at the best shape
    weight = np.exp(profile - profile.max())
    shape = float(np.log1p(-(weight @ theta / weight.sum()) * x).mean())
    return (m * shape + 10 * 0.5) / (m + 10)

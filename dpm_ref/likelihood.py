"""log p(x^0) by importance sampling over forward trajectories, with error bars, and between two stochastic bounds.

    p(x^0) = E_{q(x^{1..T}|x^0)} [ w ],    w = p(x^T) prod_{t=1}^T p(x^{t-1}|x^t) / q(x^t|x^{t-1})                    (9)

The average of w over trajectories is an unbiased estimate of p(x^0). Its logarithm is biased low, by Jensen, and less so with
more samples: E[log w] = K(x^0) <= E[log mean_k w] <= E[log mean_{k+1} w] <= log p(x^0). In the paper's thermodynamics -log w is
the work done along a trajectory, and (9) is Jarzynski's equality.

When x^0 was drawn from the model together with its trajectory, that trajectory is an exact draw from p(x^{1..T}|x^0); averaged
with k forward ones it turns the estimate p^ into one with E[1 / p^] = 1 / p(x^0), whose logarithm is biased high: the two
logarithms hold log p(x^0) between them (bidirectional Monte Carlo).

Weights stay logarithms throughout; trajectories are drawn in blocks and folded into running sums, so that memory grows neither
with the number of samples nor with T. Work is cut into pieces that do not depend on who does it, each with a seed of its own.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.3, 4 and App. C; Grosse, Ghahramani and Adams 2015,
arXiv:1511.02543; Burda, Grosse and Salakhutdinov 2016, arXiv:1509.00519; Vehtari et al. 2024, arXiv:1507.02646 (Pareto shape).
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import _doors
from dpm_ref._doors import Array
from dpm_ref.laws import Diffusion, Edge, Law, ReverseKernel, law_over
from dpm_ref.reverse import sample_trajectory

__all__ = ["Likelihood", "Sandwich", "log_likelihood", "sandwich", "log_weights", "pareto_shape"]

_STREAM = 1024  # samples of one data vector that share a random stream
_BLOCK = 8192  # states held at once
_TASK = 2**22  # samples times steps in one piece of work
_TAIL = 512  # largest weights kept of each data vector
_AHEAD = 64  # pieces of work submitted before the first is awaited


class Likelihood(NamedTuple):
    """Estimates of log p(x^0) in nats; each (...), the shape of the batch of data vectors.

    value : log mean w
    stderr : its standard error by the delta method, std(w) / (mean(w) sqrt(n)); nan for one sample
    ess : effective sample size (sum w)^2 / sum w^2, between 1 and n
    reliable : whether the tail of the weights lets the standard error be believed
    """

    value: Array
    stderr: Array
    ess: Array
    reliable: npt.NDArray[np.bool_]


class Sandwich(NamedTuple):
    """Data from the model, and stochastic bounds on their log p(x^0) in nats.

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


class _Sums(NamedTuple):
    """Of n weights exp(l), divided by exp(peak): sum and sum of squares; and the largest logarithms, in falling order."""

    n: int
    peak: float
    total: float
    square: float
    tail: Array


def log_likelihood(diffusion: Diffusion, reverse: ReverseKernel, x0: npt.ArrayLike, *, n_samples: int, rng: np.random.Generator,
                   edge: Edge | None = None, executor: Executor | None = None) -> Likelihood:
    """log p(x^0) of each data vector, estimated over n_samples forward trajectories.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    reverse : callable (xt, t) -> law
        Called with states (m, d) and one int t in 2..T.
    x0 : array_like, shape (..., d)
    n_samples : int >= 1
        Trajectories for each data vector.
    rng : numpy.random.Generator
        Draws the seed from which every piece of work gets its own (`numpy.random.SeedSequence.spawn`).
    edge : callable x1 -> law, optional
        p(x^0 | x^1); by default the diffusion's own, T_pi (App. B.2).
    executor : concurrent.futures.Executor, optional
        Where to do the work; here by default. The result is the same, to the bit, with any executor and any number of workers.

    Returns
    -------
    Likelihood
        (value, stderr, ess, reliable), each (...), the first two in nats. exp(value) is an unbiased estimate of p(x^0); value is
        biased low, by about stderr^2 / 2 where that is small.

    Raises
    ------
    ValueError
        If x0 is no data of the diffusion, n_samples < 1, rng is no Generator, or a kernel returns a law over another shape.
    Exception
        Whatever a worker raised, as it raised it; work not yet begun is then cancelled.

    Notes
    -----
    Equation (9). `reliable` is that the weights' largest values look like a Pareto tail of shape below 0.7, so that the mean is
    not ruled by samples that are yet to come (Vehtari et al.); with fewer than 25 samples there is no telling, and it is False.
    It can miss: weights that were never sampled leave no trace.

    With p = T_pi and x^0 alone the weights depend on the trajectory's ends only:

    >>> from dpm_ref import BinomialDiffusion
    >>> diffusion = BinomialDiffusion([0.1, 0.2])
    >>> estimate = log_likelihood(diffusion, diffusion.kernel, [[0, 1]], n_samples=100, rng=np.random.default_rng(0))
    >>> print("%.6f %.1f" % (estimate.value[0], estimate.ess[0]))
    -1.386294 100.0
    """
    x0 = diffusion.check_data("x0", x0)
    rows = x0.reshape(-1, x0.shape[-1])
    sums = _estimate(diffusion, reverse, edge, rows, _doors.count("n_samples", n_samples, 1), _doors.generator(rng), executor)
    value, stderr, ess, shape = (np.array(column).reshape(x0.shape[:-1]) for column in zip(*map(_summary, sums), strict=True))
    return Likelihood(value, stderr, ess, shape < 0.7)


def sandwich(diffusion: Diffusion, reverse: ReverseKernel, n: int, d: int, *, n_samples: int, rng: np.random.Generator,
             edge: Edge | None = None, executor: Executor | None = None) -> Sandwich:
    """Draw n vectors from the model and hold their log p(x^0) between two stochastic bounds.

    lower = log mean of n_samples forward weights
    upper = log mean of the same weights and that of the trajectory with which x^0 was drawn

    Parameters
    ----------
    diffusion, reverse, edge, executor
        As for `log_likelihood`.
    n, d : int >= 1
        Vectors to draw, and their components.
    n_samples : int >= 1
        Forward trajectories for each.
    rng : numpy.random.Generator

    Returns
    -------
    Sandwich
        x0 (n, d); lower and upper (n,) in nats; their means over the vectors and standard errors, floats in nats.

    Raises
    ------
    ValueError
        If an argument is out of range, or a kernel returns a law over another shape.

    Notes
    -----
    Guaranteed, for each x^0 and any n_samples: E[lower] <= log p(x^0) <= E[upper], the expectations being over trajectories.
    A single pair can lie to one side. The gap upper - lower is never negative by more than log((k+1)/k), and closes with
    n_samples as the weights even out. It speaks of data from the model, and of no others. Section 2.3; Grosse et al. 2015.

    >>> from dpm_ref import GaussianDiffusion
    >>> diffusion = GaussianDiffusion([0.1, 0.2])
    >>> held = sandwich(diffusion, diffusion.kernel, 3, 2, n_samples=10, rng=np.random.default_rng(0))
    >>> bool(abs(held.upper - held.lower).max() < 1e-12)
    True
    """
    rng, n_samples = _doors.generator(rng), _doors.count("n_samples", n_samples, 1)
    path = sample_trajectory(diffusion, reverse, n, d, rng=rng, keep=range(diffusion.T + 1), edge=edge)
    own = log_weights(diffusion, reverse, np.stack([path.states[t] for t in range(diffusion.T + 1)]), edge=edge)
    sums = _estimate(diffusion, reverse, edge, path.x0, n_samples, rng, executor)
    lower = np.array([_log_mean(each) for each in sums])
    upper = np.array([_log_mean(_merge(each, _fold(np.array([log_w])))) for each, log_w in zip(sums, own, strict=True)])
    means = [float(number) for side in (lower, upper) for number in (side.mean(), _standard_error(side))]
    return Sandwich(path.x0, lower, upper, *means)


def log_weights(diffusion: Diffusion, reverse: ReverseKernel, trajectory: npt.ArrayLike, *, edge: Edge | None = None) -> Array:
    """log w of given trajectories: the deterministic core of the estimates, and minus the work along each.

    Parameters
    ----------
    diffusion, reverse, edge
        As for `log_likelihood`.
    trajectory : array_like, shape (T+1, ..., d)
        x^0, x^1, ..., x^T.

    Returns
    -------
    ndarray, shape (...), nats

    Raises
    ------
    ValueError
        If there are not T+1 states of data of the diffusion, or a kernel returns a law over another shape.

    Notes
    -----
    Equation (9). With the diffusion's own edge, p(x^0|x^1) / q(x^1|x^0) is pi(x^0) / pi(x^1), which is how it is computed.

    >>> from dpm_ref import BinomialDiffusion
    >>> diffusion = BinomialDiffusion([0.1, 0.2])
    >>> print("%.6f" % log_weights(diffusion, diffusion.kernel, [[[0]], [[1]], [[1]]])[0])
    -0.693147
    """
    states = diffusion.check_data("trajectory", trajectory)
    if states.ndim < 2 or states.shape[0] != diffusion.T + 1:
        raise ValueError(f"trajectory must hold x^0..x^T, {diffusion.T + 1} states, got shape {states.shape}")
    return _along(diffusion, reverse, edge, iter(states))


def pareto_shape(tail: npt.ArrayLike) -> float:
    """The shape k of a generalized Pareto law fitted to exceedances over a threshold: below 0.7 their mean can be trusted.

    Parameters
    ----------
    tail : array_like, shape (m,), m >= 5, dimensionless
        Exceedances > 0.

    Returns
    -------
    float
        The estimate of Zhang and Stephens (2009), drawn towards 0.5 with the weight of ten observations as Vehtari et al. do.

    Raises
    ------
    ValueError
        If there are fewer than five, or one is not positive.

    Notes
    -----
    Moments of order below 1 / k exist. For the weights of equation (9).

    >>> uniform = (np.arange(1000) + 0.5) / 1000
    >>> print("%.2f" % pareto_shape(uniform**-0.5 - 1))    # a Pareto tail of shape 1/2
    0.50
    """
    x = np.sort(_doors.positive("tail", tail))
    if x.ndim != 1 or x.size < 5:
        raise ValueError(f"tail must have shape (m,) with m >= 5, got {x.shape}")
    m = x.size
    grid = int(30 + np.sqrt(m))
    quartile = x[int(m / 4 + 0.5) - 1]
    theta = 1.0 / x[-1] + (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3.0 * quartile)
    shapes = np.log1p(-theta[:, None] * x).mean(1)
    profile = m * (np.log(-theta / shapes) - shapes - 1.0)
    weight = 1.0 / np.exp(profile - profile[:, None]).sum(1)
    shape = float(np.log1p(-(weight @ theta / weight.sum()) * x).mean())
    return (m * shape + 10 * 0.5) / (m + 10)


def _along(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge | None, states: Iterator[Array]) -> Array:
    """log w along x^0, x^1, ..., x^T, of which two are held at a time."""
    x0, before = next(states), next(states)
    prior = diffusion.prior(x0.shape[-1])
    if edge is None:
        total = prior.log_prob(x0) - prior.log_prob(before)
    else:
        total = law_over(diffusion.law, edge(before), before, "edge").log_prob(x0) - diffusion.kernel(x0, 1).log_prob(before)
    for t in range(2, diffusion.T + 1):
        after = next(states)
        law = law_over(diffusion.law, reverse(after, t), after, "reverse")
        total = total + law.log_prob(before) - diffusion.kernel(before, t).log_prob(after)
        before = after
    return total + prior.log_prob(before)


def _forward(diffusion: Diffusion, x0: Array, streams: list[np.random.Generator], sizes: list[int]) -> Iterator[Array]:
    """x^0, x^1, ..., x^T for rows of which each stream draws its own, so that nothing depends on how they are grouped."""
    yield x0
    x = x0
    for t in range(1, diffusion.T + 1):
        law: Law = diffusion.kernel(x, t)
        noise = [law.noise((size, x0.shape[-1]), rng=stream) for stream, size in zip(streams, sizes, strict=True)]
        x = law.at(np.concatenate(noise))
        yield x


def _estimate(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge | None, rows: Array, n_samples: int,
              rng: np.random.Generator, executor: Executor | None) -> list[_Sums]:
    """The running sums of each row's weights, merged in an order that does not depend on the executor."""
    root = np.random.SeedSequence(rng.integers(2**63, size=4).tolist())
    sums: list[_Sums | None] = [None] * len(rows)
    keep = _tail_length(n_samples)
    for piece, found in _results(executor, _pieces(len(rows), n_samples, diffusion.T), root, (diffusion, reverse, edge, keep), rows):
        for (row, _), part in zip(piece, found, strict=True):
            known = sums[row]
            sums[row] = part if known is None else _merge(known, part, keep)
    return [each for each in sums if each is not None]


def _results(executor: Executor | None, pieces: Iterator[list[tuple[int, int]]], root: np.random.SeedSequence, fixed: tuple[Any, ...],
             rows: Array) -> Iterator[tuple[list[tuple[int, int]], list[_Sums]]]:
    """The pieces and their results, in order; a bounded number of them under way at a time."""
    def arguments(piece: list[tuple[int, int]]) -> tuple[Any, ...]:
        return (*fixed, rows[[row for row, _ in piece]], [size for _, size in piece], root.spawn(len(piece)))

    if executor is None:
        for piece in pieces:
            yield piece, _work(*arguments(piece))
        return
    waiting: deque[tuple[list[tuple[int, int]], Future[list[_Sums]]]] = deque()
    try:
        for piece in pieces:
            waiting.append((piece, executor.submit(_work, *arguments(piece))))
            if len(waiting) >= _AHEAD:
                piece, future = waiting.popleft()
                yield piece, future.result()
        while waiting:
            piece, future = waiting.popleft()
            yield piece, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _pieces(n_rows: int, n_samples: int, T: int) -> Iterator[list[tuple[int, int]]]:
    """Work as lists of (row, samples), each entry at most one stream long, each list about `_TASK` samples times steps."""
    piece: list[tuple[int, int]] = []
    held = 0
    for row in range(n_rows):
        for start in range(0, n_samples, _STREAM):
            size = min(_STREAM, n_samples - start)
            piece.append((row, size))
            held += size * T
            if held >= _TASK:
                yield piece
                piece, held = [], 0
    if piece:
        yield piece


def _work(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge | None, keep: int, rows: Array, sizes: list[int],
          seeds: list[np.random.SeedSequence]) -> list[_Sums]:
    """The sums of each (row, samples) entry; entries are processed together as far as a block reaches."""
    results: list[_Sums] = []
    first = 0
    while first < len(sizes):
        last, held = first + 1, sizes[first]
        while last < len(sizes) and held + sizes[last] <= _BLOCK:
            held += sizes[last]
            last += 1
        block = sizes[first:last]
        streams = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds[first:last]]
        log_w = _along(diffusion, reverse, edge, _forward(diffusion, np.repeat(rows[first:last], block, axis=0), streams, block))
        results += [_fold(part, keep) for part in np.split(log_w, np.cumsum(block)[:-1])]
        first = last
    return results


def _fold(log_w: Array, keep: int = 0) -> _Sums:
    """Logarithms of weights as running sums."""
    peak = float(log_w.max())
    weights = np.exp(log_w - peak) if np.isfinite(peak) else np.zeros_like(log_w)
    return _Sums(log_w.size, peak, float(weights.sum()), float(weights @ weights), _largest(log_w, keep))


def _merge(a: _Sums, b: _Sums, keep: int = 0) -> _Sums:
    """The sums of both; the peak is the larger of the two, and the other's sums are brought to it."""
    peak = max(a.peak, b.peak)
    down_a, down_b = (np.exp(each.peak - peak) if np.isfinite(peak) else 0.0 for each in (a, b))
    return _Sums(a.n + b.n, peak, float(a.total * down_a + b.total * down_b),
                 float(a.square * down_a**2 + b.square * down_b**2), _largest(np.concatenate([a.tail, b.tail]), keep))


def _largest(log_w: Array, keep: int) -> Array:
    return -np.sort(-log_w)[:keep]


def _tail_length(n_samples: int) -> int:
    """One more than the tail that is fitted: the next largest weight is the threshold."""
    return min(n_samples // 5, int(np.ceil(3.0 * np.sqrt(n_samples))), _TAIL) + 1


def _log_mean(sums: _Sums) -> float:
    return float(sums.peak + np.log(sums.total / sums.n)) if sums.total else -np.inf


def _summary(sums: _Sums) -> tuple[float, float, float, float]:
    """(log mean w, its standard error, effective sample size, Pareto shape)."""
    n = sums.n
    if not sums.total:
        return -np.inf, np.nan, 0.0, np.inf
    ess = sums.total**2 / sums.square
    stderr = float(np.sqrt(max(n / ess - 1.0, 0.0) / (n - 1))) if n > 1 else np.nan
    return _log_mean(sums), stderr, ess, _tail_shape(sums)


def _tail_shape(sums: _Sums) -> float:
    """The Pareto shape of the largest weights, inf where there are too few to tell, -inf where they are all alike."""
    exceedances = -np.expm1(np.minimum(sums.tail[-1] - sums.tail[:-1], 0.0))  # (w - threshold) / w, to find the equal ones
    if exceedances.size < 5:
        return np.inf
    if exceedances[0] < 1e-9:
        return -np.inf
    tail = np.exp(sums.tail[:-1] - sums.tail[0]) * exceedances
    tail = tail[tail > 0]
    return pareto_shape(tail) if tail.size >= 5 else -np.inf


def _standard_error(values: Array) -> float:
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")

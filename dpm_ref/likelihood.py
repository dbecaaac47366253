"""log p(x^0) by importance sampling over forward trajectories, with error bars, and between two stochastic bounds.

    p(x^0) = E_{q(x^{1..T}|x^0)} [ w ],    w = p(x^T) prod_{t=1}^T p(x^{t-1}|x^t) / q(x^t|x^{t-1})                    (9)

The average of w over trajectories is an unbiased estimate of p(x^0). Its logarithm is biased low, by Jensen, and less so with
more samples: E[log w] = K(x^0) <= E[log mean_k w] <= E[log mean_{k+1} w] <= log p(x^0). In the paper's thermodynamics -log w is
the work done along a trajectory, and (9) is Jarzynski's equality.

When x^0 was drawn from the model together with its trajectory, that trajectory is an exact draw from p(x^{1..T}|x^0); averaged
with k forward ones it turns the estimate p^ into one with E[1 / p^] = 1 / p(x^0), whose logarithm is biased high: the two
logarithms hold log p(x^0) between them (bidirectional Monte Carlo).

Weights stay logarithms throughout; trajectories are drawn in blocks and folded into running sums, so that memory grows neither
with the number of samples nor with T. Every 1024 samples of a data vector have a random stream of their own, whoever draws
them and whatever is drawn beside them.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.3, 4 and App. C; Grosse, Ghahramani and Adams 2015,
arXiv:1511.02543; Burda, Grosse and Salakhutdinov 2016, arXiv:1509.00519; Vehtari et al. 2024, arXiv:1507.02646 (Pareto shape).
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref._pieces import blocks, in_order, pieces
from dpm_ref._weights import (
    WeightSums,
    effective_sample_size,
    fold,
    is_reliable,
    log_mean,
    merge,
    pareto_shape,
    standard_error,
    tail_length,
)
from dpm_ref.protocols import Diffusion, Edge, Law, ReverseKernel, law_over
from dpm_ref.validation import Array

__all__ = ["Likelihood", "Sandwich", "log_likelihood", "sandwich", "log_weights", "pareto_shape"]

_BLOCK = 2**17  # components held at once, a vector counting as at least _NARROW
_NARROW = 8


class Likelihood(NamedTuple):
    """Estimates of log p(x^0) in nats; each (...), the shape of the batch of data vectors.

    value : log mean w; -inf where every weight was zero
    stderr : its standard error by the delta method, std(w) / (mean(w) sqrt(n)); nan for one sample, or zero weights
    ess : effective sample size (sum w)^2 / sum w^2, between 1 and n
    reliable : whether the weights let the standard error be believed
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
        Draws the seed from which every stream of samples gets its own (`numpy.random.SeedSequence.spawn`).
    edge : callable x1 -> law, optional
        p(x^0 | x^1); by default the diffusion's own, T_pi (App. B.2).
    executor : concurrent.futures.Executor, optional
        Where to do the work; here by default. The result is the same, to the bit, with any executor and any number of workers
        whose arithmetic is this machine's. What the executor sends to another process must survive pickling, as lambdas do
        with some executors only.

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
        Whatever a worker raised, as it raised it; work not yet begun is then cancelled, and the executor can be used on.

    Notes
    -----
    Equation (9). `reliable` says that there are at least 25 samples and an ess of 20, and that the weights' largest values look
    like a Pareto tail of a shape below min(0.7, 1 - 1 / log10 n_samples): the mean is then not ruled by samples that are yet to
    come (Vehtari et al.). It can miss: weights that were never sampled leave no trace.

    With p = T_pi and x^0 alone the weights depend on the trajectory's ends only:

    >>> from dpm_ref import BinomialDiffusion
    >>> diffusion = BinomialDiffusion([0.1, 0.2])
    >>> estimate = log_likelihood(diffusion, diffusion.kernel, [[0, 1]], n_samples=100, rng=np.random.default_rng(0))
    >>> print("%.6f %.1f" % (estimate.value[0], estimate.ess[0]))
    -1.386294 100.0
    """
    x0 = diffusion.check_data("x0", x0)
    sums = _estimate(diffusion, reverse, edge, x0.reshape(-1, x0.shape[-1]), n_samples, rng, executor)
    columns = zip(*((log_mean(each), standard_error(each), effective_sample_size(each), is_reliable(each)) for each in sums), strict=True)
    return Likelihood(*(np.array(column).reshape(x0.shape[:-1]) for column in columns))


def sandwich(diffusion: Diffusion, reverse: ReverseKernel, n: int, d: int, *, n_samples: int, rng: np.random.Generator,
             edge: Edge | None = None, executor: Executor | None = None) -> Sandwich:
    """Draw n vectors from the model and hold their log p(x^0) between two stochastic bounds.

    lower = log mean of n_samples forward weights
    upper = log mean of the same weights and that of the trajectory with which x^0 was drawn

    Parameters
    ----------
    diffusion, reverse, edge, rng, executor
        As for `log_likelihood`.
    n, d : int >= 1
        Vectors to draw, and their components.
    n_samples : int >= 1
        Forward trajectories for each.

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
    A single pair can lie to one side. The gap upper - lower is never below log(k / (k+1)), k = n_samples, and closes with k as the
    weights even out. It speaks of data from the model, and of no others. Section 2.3; Grosse et al. 2015.

    >>> from dpm_ref import GaussianDiffusion
    >>> diffusion = GaussianDiffusion([0.1, 0.2])
    >>> held = sandwich(diffusion, diffusion.kernel, 3, 2, n_samples=10, rng=np.random.default_rng(0))
    >>> bool(abs(held.upper - held.lower).max() < 1e-12)
    True
    """
    x0, own = _draw(diffusion, reverse, edge, validation.count("n", n, 1), validation.count("d", d, 1), validation.generator(rng))
    sums = list(_estimate(diffusion, reverse, edge, x0, n_samples, rng, executor))
    lower = np.array([log_mean(each) for each in sums])
    upper = np.array([log_mean(merge(each, fold(log_w))) for each, log_w in zip(sums, own[:, None], strict=True)])
    return Sandwich(x0, lower, upper, float(lower.mean()), _standard_error(lower), float(upper.mean()), _standard_error(upper))


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
    steps = ((diffusion.kernel(before, t), after) for t, (before, after) in enumerate(pairwise(states), start=1))
    return _along(diffusion, reverse, edge, states[0], steps)


def _along(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge | None, x0: Array, steps: Iterable[tuple[Law, Array]]) -> Array:
    """log w along x^0 and the steps q(x^t|x^{t-1}), x^t for t = 1..T, of which two are held at a time."""
    before, log_w = x0, np.zeros(x0.shape[:-1])
    for t, (forward, after) in enumerate(steps, start=1):
        log_w = log_w + _log_ratio(diffusion, reverse, edge, forward, before, after, t)
        before = after
    log_w = log_w + diffusion.prior(before.shape[-1]).log_prob(before)
    if np.isnan(log_w).any():
        raise ValueError("log w must be a number, got nan: the states' log densities lie beyond floating point")
    return log_w


def _log_ratio(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge | None, forward: Law, before: Array, after: Array, t: int) -> Array:
    """log p(x^{t-1}|x^t) - log q(x^t|x^{t-1}), the latter law given."""
    if t == 1 and edge is None:
        prior = diffusion.prior(before.shape[-1])
        with np.errstate(invalid="ignore"):  # -inf - (-inf) is refused where the sum is complete
            return prior.log_prob(before) - prior.log_prob(after)
    return _reverse_law(diffusion, reverse, edge, after, t).log_prob(before) - forward.log_prob(after)


def _reverse_law(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge | None, after: Array, t: int) -> Law:
    """p(x^{t-1}|x^t)."""
    if t == 1:
        return law_over(diffusion.law, (diffusion.edge if edge is None else edge)(after), after, "edge")
    return law_over(diffusion.law, reverse(after, t), after, "reverse")


def _draw(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge | None, n: int, d: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """x^0 (n, d) from the model, and log w (n,) of the trajectory of each."""
    prior = diffusion.prior(d)
    after = prior.at(prior.noise((n, d), rng=rng))
    log_w = prior.log_prob(after)
    for t in range(diffusion.T, 0, -1):
        law = _reverse_law(diffusion, reverse, edge, after, t)
        before = law.at(law.noise(after.shape, rng=rng))
        log_w = log_w + _log_ratio(diffusion, reverse, edge, diffusion.kernel(before, t), before, after, t)
        after = before
    return after, log_w


def _forward(diffusion: Diffusion, x0: Array, streams: list[np.random.Generator], sizes: list[int]) -> Iterator[tuple[Law, Array]]:
    """q(x^t|x^{t-1}) and x^t, t = 1..T, for rows of which each stream draws its own, so that nothing depends on their grouping."""
    x = x0
    for t in range(1, diffusion.T + 1):
        law = diffusion.kernel(x, t)
        x = law.at(np.concatenate([law.noise((size, x0.shape[-1]), rng=stream) for stream, size in zip(streams, sizes, strict=True)]))
        yield law, x


def _estimate(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge | None, rows: Array, n_samples: int, rng: np.random.Generator,
              executor: Executor | None) -> Iterator[WeightSums]:
    """The sums of each row's weights, one after the other, merged in an order that does not depend on the executor."""
    n_samples, rng = validation.count("n_samples", n_samples, 1), validation.generator(rng)
    if executor is not None and not isinstance(executor, Executor):
        raise ValueError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
    root = np.random.SeedSequence(rng.integers(2**63, size=4).tolist())
    keep = tail_length(n_samples)
    calls = ((diffusion, reverse, edge, keep, rows[[row for row, _ in piece]], piece, root.spawn(len(piece)))
             for piece in pieces(len(rows), n_samples, diffusion.T))
    so_far: WeightSums | None = None
    for results in in_order(executor, _work, calls):
        for sums in results:
            so_far = sums if so_far is None else merge(so_far, sums)
            if so_far.n == n_samples:
                yield so_far
                so_far = None


def _work(diffusion: Diffusion, reverse: ReverseKernel, edge: Edge | None, keep: int, x0: Array, piece: list[tuple[int, int]],
          seeds: list[np.random.SeedSequence]) -> list[WeightSums]:
    """The sums of each row in a piece; its entries are drawn together as far as a block reaches."""
    results: list[WeightSums] = []
    known = -1
    for block in blocks([size for _, size in piece], _BLOCK // max(_NARROW, x0.shape[-1])):
        sizes = [size for _, size in piece[block]]
        streams = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds[block]]
        rows = np.repeat(x0[block], sizes, axis=0)
        log_w = _along(diffusion, reverse, edge, rows, _forward(diffusion, rows, streams, sizes))
        for (row, _), part in zip(piece[block], np.split(log_w, np.cumsum(sizes)[:-1]), strict=True):
            sums = fold(part, keep)
            if row == known:
                results[-1] = merge(results[-1], sums)
            else:
                results.append(sums)
            known = row
    return results


def _standard_error(values: Array) -> float:
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")

"""log p(x^0) by importance sampling over forward trajectories, and between two stochastic bounds.

    (3)  q(x^{1..T}|x^0) = prod_{t=1}^T q(x^t|x^{t-1})
    (5)  p(x^{0..T}) = p(x^T) prod_{t=1}^T p(x^{t-1}|x^t)
    (9)  p(x^0) = E_{q(x^{1..T}|x^0)} [ w ],    w = p(x^{0..T}) / q(x^{1..T}|x^0)

The average of w over trajectories is an unbiased estimate of p(x^0). Its logarithm is biased low,
by Jensen, and less so with more samples: E[log w] = K(x^0) <= E[log mean_k w]
<= E[log mean_{k+1} w] <= log p(x^0). In the paper's thermodynamics -log w is the work done along a
trajectory, and (9) is Jarzynski's equality.

When x^0 was drawn from the model together with its trajectory, that trajectory is an exact draw
from p(x^{1..T}|x^0); averaged with k forward ones it turns the estimate p^ into one with
E[1 / p^] = 1 / p(x^0), whose logarithm is biased high: the two logarithms hold log p(x^0) between
them (bidirectional Monte Carlo).

Weights stay logarithms throughout, and are folded into running sums, so that memory grows neither
with the number of samples nor with T. The samples of a data vector are split into chunks of 1024,
each with a random generator of its own, whoever draws them and whatever is drawn beside them.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.1 to 2.3; Grosse, Ghahramani
and Adams 2015, arXiv:1511.02543; Burda, Grosse and Salakhutdinov 2016, arXiv:1509.00519; Vehtari,
Simpson, Gelman, Yao and Gabry 2024, arXiv:1507.02646; Zhang and Stephens 2009, Technometrics 51.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial, reduce
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.bounds import _mean_and_stderr
from dpm_ref.protocols import Diffusion, Edge, ReverseKernel, ask_density, checked_diffusion
from dpm_ref.validation import Array

__all__ = ["Likelihood", "Sandwich", "log_likelihood", "sandwich", "log_weights",
           "from_log_weights", "forward_trajectory", "log_forward", "log_reverse"]

_CHUNK_SIZE = 1024  # samples of a data vector with one generator; another number: other draws
_TASK = 2**17, 2**19  # least and most samples times steps in a task; in between, a share of all
_SHARES = 16
_COMPONENTS = 2**17  # most in a task, which is drawn together; a vector counts as 8 at least
_AHEAD = 256  # tasks handed out before the result of the first is awaited
_LONGEST_TAIL = 512  # beyond that the tail's shape is known well enough
_ALIKE = 1e-9  # log weights that differ by less differ by rounding


class Likelihood(NamedTuple):
    """Estimates of log p(x^0); each (...), the shape of the batch of data vectors.

    value : log mean w; -inf where every weight was zero
    stderr : its standard error by the delta method, std(w) / (mean(w) sqrt(n)); nan at n = 1, which
        says nothing of its spread, and where every weight was zero
    ess : effective sample size (sum w)^2 / sum w^2, between 1 and n
    pareto_shape : of a Pareto tail fitted to the largest weights; their moments exist below the
        order 1 / shape. -inf where they have no tail (all alike, or fewer than five above the
        threshold), nan at n < 25
    reliable : whether the standard error can be believed; see `from_log_weights`
    """

    value: Array
    stderr: Array
    ess: Array
    pareto_shape: Array
    reliable: npt.NDArray[np.bool_]


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


def log_likelihood(diffusion: Diffusion, reverse: ReverseKernel, x0: npt.ArrayLike, *,
                   n_samples: int, rng: np.random.Generator, edge: Edge | None = None,
                   executor: Executor | None = None) -> Likelihood:
    """log p(x^0) of each data vector, estimated over n_samples forward trajectories.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    reverse : callable (xt, t) -> law
        Called with states (m, d) and an int t in 2..T. A law that brings its own log_prob is taken
        at its word, and so is the edge's.
    x0 : array_like, shape (..., d)
        An image is to be flattened, or its rows are data.
    n_samples : int
        Trajectories for each data vector.
    edge : callable x1 -> law, optional
        p(x^0 | x^1); by default T_pi (App. B.2).
    executor : concurrent.futures.Executor, optional
        Where to do the work; here by default. The result is the same to the bit with any executor
        and number of workers on machines like this one, as long as BLAS uses as many threads there
        as here (set OMP_NUM_THREADS before NumPy is imported). What is sent to another process must
        survive pickling.

    Returns
    -------
    Likelihood
        exp(value) is an unbiased estimate of p(x^0); value is biased low, by about stderr^2 / 2
        where that is small. `reliable` is the rule of `from_log_weights`.

    Raises
    ------
    ValueError
        If a log density leaves floating point.
    Exception
        What a worker raised, as it raised it; work not yet begun is then cancelled. (A process pool
        breaks if the exception does not survive pickling.)

    Notes
    -----
    Equation (9). With p = T_pi and x^0 alone the weights depend on the trajectory's ends only:

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
    model = _Model(diffusion, validation.function("reverse", reverse), edge)
    if executor is not None and not isinstance(executor, Executor):
        raise ValueError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
    root = np.random.SeedSequence(rng.integers(2**63, size=4).tolist())
    tasks, weigh = _tasks(rows, n_samples, diffusion.T, root), partial(_weigh, model)
    results = map(weigh, tasks) if executor is None else _in_order(executor, weigh, tasks)
    chunks, per_row = chain.from_iterable(results), -(-n_samples // _CHUNK_SIZE)
    return _summary((reduce(_merge, islice(chunks, per_row)) for _ in rows), data.shape[:-1])


def from_log_weights(log_w: npt.ArrayLike) -> Likelihood:
    """log mean w of importance weights, its standard error, and whether that can be believed.

    Parameters
    ----------
    log_w : array_like, shape (n, ...)
        Logarithms of n independent weights; -inf is a weight of zero.

    Notes
    -----
    `reliable` asks for n >= 25, ess >= 20, and two shapes of the weights, in either of which a
    variance that is infinite, or known from too few samples, shows:

    - pareto_shape < 0.4 + 2 / sqrt(m), fitted to the m largest weights;
    - bulk shape = 8 m G^3 < max(1, n/1000)^(1/8) / 3, with m the mean of the first 1024 log weights
      above their least and G their Gini coefficient. It is near the Pareto shape of weights whose
      logarithm is a gamma variable, as that of a Gaussian model at T = 1 is, and less noisy than a
      fit to the tail. It is not asked where weights seen only once carry less than 20 % of the sum:
      discrete weights, whose values are known.

    Rates over T = 1 Gaussian edges of d = 1 and 10 whose weights have a known shape .1 to .9, as
    `python tests/reliability.py` prints them, the worst of each cell. At n = 100 no limit takes
    both rates to 95 and 1 %: with .36 for 1/3 they are 95 and 2.4. Nor is it enough to know that
    the weights are exp(k chi^2_1 / 2) and to ask that the most likely k, whose standard error is
    14 %, is below .315: 96 % are then reliable at shape .25, and over 1 % reliable and off at .4.

    ==========================================  ======  =======  ========
    in percent of runs                          n = 100 200, 300 1000 up
    ==========================================  ======  =======  ========
    reliable, shape <= .2                       98.6    99.2     99.5
    reliable, shape .25                         89.2    96.8     98.2
    reliable and off by > 4 stderr, any shape   1.6     1.1      0.5
    ==========================================  ======  =======  ========

    Weights that were never sampled leave no trace. With `BinomialDiffusion([.002])` and
    edge prob1 = where(x1 == 1, 0, .5), 60 % of runs at n = 500 meet none of the weights of 500
    that one trajectory in 1000 has: value -1.385, stderr 0, reliable, where -0.288 is right.

    >>> estimate = from_log_weights(np.log([1.0, 3.0] * 50))
    >>> print("%.6f %.1f %s" % (estimate.value, estimate.ess, estimate.reliable))
    0.693147 80.0 True
    """
    array = validation.below_infinity("log_w", log_w)
    rule = "have shape (n, ...) and hold weights"
    validation.shaped("log_w", array, rule, array.ndim > 0 and array.size > 0)
    columns = np.ascontiguousarray(array.reshape(len(array), -1).T)
    chunks = range(_CHUNK_SIZE, len(array), _CHUNK_SIZE)
    sums = (reduce(_merge, map(_fold, np.split(column, chunks))) for column in columns)
    return _summary(sums, array.shape[1:])


def sandwich(diffusion: Diffusion, reverse: ReverseKernel, n: int, d: int, *, n_samples: int,
             rng: np.random.Generator, edge: Edge | None = None,
             executor: Executor | None = None) -> Sandwich:
    """Draw n vectors from the model and hold their log p(x^0) between two stochastic bounds.

    lower = log mean of n_samples forward weights
    upper = log mean of the same weights and that of the trajectory with which x^0 was drawn

    Parameters
    ----------
    diffusion, reverse, edge, executor
        As for `log_likelihood`. A law that brings its own log_prob must bring its own sample too.
    n, d : int
        Vectors to draw, and their components.
    n_samples : int
        Forward trajectories for each.

    Notes
    -----
    For each x^0 and any n_samples E[lower] <= log p(x^0) <= E[upper], over trajectories; a single
    pair can lie to one side. The gap upper - lower is never below log(k / (k+1)), k = n_samples,
    and closes with k as the weights even out. It speaks of data from the model, and of no others.
    Section 2.3; Grosse et al. 2015.

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
    model = _Model(diffusion, reverse, diffusion.edge if edge is None else edge)
    for t in range(diffusion.T, 0, -1):
        before = model.law(states[0], t).sample(rng=rng)
        states.insert(0, diffusion.check_data("a kernel's sample", before))
    own = log_weights(diffusion, reverse, states, edge=edge)
    lower = log_likelihood(diffusion, reverse, states[0], n_samples=n_samples, rng=rng, edge=edge,
                           executor=executor).value
    upper = np.logaddexp(lower + np.log(n_samples), own) - np.log(n_samples + 1.0)
    means = (float(number) for side in (lower, upper) for number in _mean_and_stderr(side))
    return Sandwich(states[0], lower, upper, *means)


def log_weights(diffusion: Diffusion, reverse: ReverseKernel, trajectory: npt.ArrayLike, *,
                edge: Edge | None = None) -> Array:
    """log w of given trajectories: `log_reverse` less `log_forward`, minus the work along each.

    Parameters
    ----------
    diffusion, reverse, edge
        As for `log_likelihood`.
    trajectory : array_like, shape (T+1, ..., d), x^0 first

    Notes
    -----
    Equation (9). With the diffusion's own edge, p(x^0|x^1) / q(x^1|x^0) is pi(x^0) / pi(x^1), which
    is how it is computed.

    >>> from dpm_ref import BinomialDiffusion
    >>> diffusion = BinomialDiffusion([0.1, 0.2])
    >>> print("%.6f" % log_weights(diffusion, diffusion.kernel, [[[0]], [[1]], [[1]]])[0])
    -0.693147
    """
    states, shape = _states(diffusion, trajectory)
    model = _Model(diffusion, reverse, edge)
    return model.log_w(states[0], _given(diffusion, states)).reshape(shape)


def forward_trajectory(diffusion: Diffusion, x0: npt.ArrayLike, *,
                       rng: np.random.Generator) -> Array:
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


def log_forward(diffusion: Diffusion, trajectory: npt.ArrayLike) -> Array:
    """log q(x^{1..T}|x^0) of trajectories (T+1, ..., d), x^0 first: shape (...). Equation (3).

    >>> from dpm_ref import BinomialDiffusion
    >>> print("%.6f" % log_forward(BinomialDiffusion([0.5]), [[0], [1]]))
    -1.386294
    """
    states, shape = _states(diffusion, trajectory)
    terms = [log_q for _, log_q in _given(diffusion, states)]
    return np.asarray(np.sum(terms, axis=0).reshape(shape))


def log_reverse(diffusion: Diffusion, reverse: ReverseKernel, trajectory: npt.ArrayLike, *,
                edge: Edge | None = None) -> Array:
    """log p(x^{0..T}) of trajectories (T+1, ..., d), x^0 first: shape (...). Equation (5).

    >>> from dpm_ref import BinomialDiffusion
    >>> diffusion = BinomialDiffusion([0.5])
    >>> print("%.6f" % log_reverse(diffusion, diffusion.kernel, [[0], [1]]))
    -2.079442
    """
    states, shape = _states(diffusion, trajectory)
    model = _Model(diffusion, reverse, diffusion.edge if edge is None else edge)
    return model.log_w(states[0], ((after, 0.0) for after in states[1:])).reshape(shape)


# Along trajectories


def _states(diffusion: Diffusion, trajectory: npt.ArrayLike) -> tuple[Array, tuple[int, ...]]:
    """The states as (T+1, m, d), and the shape of the batch."""
    states = checked_diffusion(diffusion).check_data("trajectory", trajectory)
    rule, n = f"hold x^0..x^T, {diffusion.T + 1} states", diffusion.T + 1
    validation.shaped("trajectory", states, rule, states.ndim > 1 and len(states) == n)
    return states.reshape(len(states), -1, states.shape[-1]), states.shape[1:-1]


def _given(diffusion: Diffusion, states: Array) -> Iterator[tuple[Array, Array]]:
    """x^t and log q(x^t|x^{t-1}), t = 1..T, of states x^0..x^T."""
    for t, (before, after) in enumerate(pairwise(states), start=1):
        yield after, diffusion.q_kernel(before, t).log_p(after)


class _Model(NamedTuple):
    """p(x^{0..T}): the diffusion's prior, the reverse kernel and the edge, None for T_pi."""

    diffusion: Diffusion
    reverse: ReverseKernel
    edge: Edge | None

    def law(self, xt: Array, t: int) -> Any:
        """p(x^{t-1}|x^t), at t = 1 of a given edge."""
        if t == 1:
            return ask_density(self.diffusion.law, self.edge, "edge", xt)
        return ask_density(self.diffusion.law, self.reverse, "reverse", xt, t)

    def log_w(self, x0: Array, steps: Iterable[tuple[Array, Array | float]]) -> Array:
        """log w along x^0 and steps x^t, log q(x^t|x^{t-1}), of which two are held at a time."""
        prior = self.diffusion.prior(x0.shape[1])
        before, log_w = x0, np.zeros(len(x0))
        with np.errstate(invalid="ignore"):  # -inf - (-inf) is refused where the sum is complete
            for t, (after, log_q) in enumerate(steps, start=1):
                if t == 1 and self.edge is None:
                    log_w = prior.log_p(before) - prior.log_p(after)
                else:
                    log_w = log_w + self.law(after, t).log_p(before) - log_q
                before = after
        log_w = log_w + prior.log_p(before)
        if (bad := np.isnan(log_w)).any():
            where = f"of a trajectory from x0 = {x0[bad][0]}"
            raise ValueError(f"log w must be a number, got nan: log densities {where} are infinite")
        return log_w


# Splitting samples into tasks


_Task = list[tuple[Array, int, np.random.SeedSequence]]  # chunks: x^0, samples, their seed


def _tasks(rows: Array, n_samples: int, T: int, root: np.random.SeedSequence) -> Iterator[_Task]:
    """The chunks of all rows in their order, in tasks that are each drawn in one call.

    Small jobs are cut finer, so that there is work for all.
    """
    share = min(max(len(rows) * n_samples * T // _SHARES, _TASK[0]), _TASK[1]) // T
    most = min(share, _COMPONENTS // max(8, rows.shape[1])) // min(n_samples, _CHUNK_SIZE)
    chunks = ((x0, min(_CHUNK_SIZE, n_samples - start), *root.spawn(1))
              for x0 in rows for start in range(0, n_samples, _CHUNK_SIZE))
    while task := list(islice(chunks, max(most, 1))):
        yield task


def _in_order(executor: Executor, weigh: partial[list[_WeightSums]],
              tasks: Iterator[_Task]) -> Iterator[list[_WeightSums]]:
    """The executor's result for each task, in their order.

    What a call raises is raised as it was; calls that have not begun by then are cancelled.
    """
    waiting: deque[Future[list[_WeightSums]]] = deque()
    try:
        waiting.extend(executor.submit(weigh, task) for task in islice(tasks, _AHEAD))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(executor.submit(weigh, task) for task in islice(tasks, 1))
    finally:
        for future in waiting:
            future.cancel()


def _weigh(model: _Model, task: _Task) -> list[_WeightSums]:
    """The sums of each of a task's chunks."""
    rows, sizes, seeds = zip(*task, strict=True)
    rngs = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
    x0 = np.repeat(rows, sizes, axis=0)
    log_w = model.log_w(x0, _forward(model.diffusion, x0, rngs, sizes))
    return [_fold(part) for part in np.split(log_w, np.cumsum(sizes)[:-1])]


def _forward(diffusion: Diffusion, x0: Array, rngs: list[np.random.Generator],
             sizes: Iterable[int]) -> Iterator[tuple[Array, Array]]:
    """x^t and log q(x^t|x^{t-1}), t = 1..T, for rows of which each generator draws its own."""
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
    """The sums of both (Chan, Golub and LeVeque); the smaller peak is brought to the larger."""
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
    """Value, standard error, effective sample size, Pareto shape, and whether to believe them."""
    if not sums.mean:
        return -np.inf, np.nan, 0.0, np.nan, False
    variance = sums.squares / sums.n / sums.mean**2
    stderr = float(np.sqrt(variance / (sums.n - 1))) if sums.n > 1 else np.nan
    ess = sums.n / (1.0 + variance)
    m = min(sums.n // 5, int(np.ceil(3.0 * np.sqrt(sums.n))), _LONGEST_TAIL)
    shape = _tail_shape(sums.tail[:m + 1]) if sums.n >= 25 else np.nan
    reliable = (ess >= 20 and shape < 0.4 + 2.0 / np.sqrt(m)
                and sums.bulk < max(1.0, sums.n / 1000) ** 0.125 / 3)
    return float(sums.peak + np.log(sums.mean)), stderr, ess, shape, bool(reliable)


# Whether the standard error can be believed: the shapes of the bulk and of the tail


def _bulk_shape(falling: Array) -> float:
    """8 m G^3 of log weights in falling order, or 0 where nearly all the sum was seen twice."""
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

    The estimate of Zhang and Stephens (2009), drawn towards 0.5 with the weight of ten observations
    as Vehtari et al. do; inf where the smallest exceedance is below 1e-300 of the largest.
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

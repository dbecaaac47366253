"""K* of finite data, the largest K of any reverse kernel of Table App.1, and what a model lacks.

At the moment match the cross-entropy of a true reverse step is the match's own entropy, so

    E KL_t = E_{q(x^t)} [ H( ideal kernel ) - E[ H( q(x^{t-1} | x^t, x^0) ) | x^t ] ]
    K*     = E log pi(x^0) + E KL( q(x^1|x^0) || pi ) - E KL( q(x^T|x^0) || pi ) - sum_{t>=2} E KL_t

The limit, -H(X^0), exceeds a model's K by parts none of which is negative:

    limit - K = edge + end + sum_{t>=2} form_t + sum_{t>=2} learning_t

    edge        E KL( q(x^0|x^1) || T_pi(x^0|x^1) )    the last step is not learned (App. B.2)
    end         KL( q(x^T) || pi )                     x^T still depends on the data
    form_t      E KL( q(x^{t-1}|x^t) || ideal kernel ) a true step has dependent components
    learning_t  E KL_t(model) - E KL_t(ideal)          what training has not reached

The first three are the cost of T and the schedule; K* + sum form_t is the K of the exact reversal.
By enumeration, edge, end and form are computed as differences of entropies,

    edge   = KL( q(x^0) || pi ) - KL( q(x^1) || pi )
    form_t = E KL_t(ideal) - [ I(X^0;X^{t-1}) - I(X^0;X^t) ],  I(X^0;X^t) = H_q(X^t) - H_q(X^t|X^0)

and by sampling as averages of their log ratios, which hardly vary where the part is small.

Enumeration sums over the states of bits, of which few have to be told apart where components are
alike: 126 of the heartbeat's 2^20. Sampling takes x^t as a function of 1 + d uniform numbers, for
its atom and its noise. A rank-1 lattice averages over these with an error of nearly 1/n rather than
1/sqrt(n); a random shift makes it unbiased, and independent shifts give its standard error.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, equations (13), (14) and (24), App. B.2.
Randomly shifted lattices: L'Ecuyer and Lemieux 2000, Management Science 46(9); the lattice is the
Kronecker sequence of the generalised golden ratio.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from dpm_ref import validation
from dpm_ref.binomial import BinomialDiffusion
from dpm_ref.exact.finite import FiniteData, instance
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.validation import Array, IntArray

__all__ = ["Estimate", "IdealBound", "ideal_bound", "entropy", "Gap", "gap", "ends", "lattice"]

_SHIFTS = 16  # independent shifts of the lattice behind one standard error
_MOST_STATES = 2**20
Average = Callable[[Callable[[Array, int], Array], int], Array]
Rng = np.random.Generator | None


class Estimate(NamedTuple):
    """A number and its standard error, 0 where the number is exact."""

    value: float
    stderr: float


class IdealBound(NamedTuple):
    """K* averaged over data, its standard error, L_null (exact), and E KL_t, (T-1,), t = 2..T."""

    value: float
    stderr: float
    null: float
    kl: Array


class Gap(NamedTuple):
    """The parts of limit - K, and ideal, K*; form and learning are (T-1,), t = 2..T.

    stderr is the standard error of limit - K* = edge + end + sum of form, and stderrs (T+1,) those
    of edge, form and end separately; 0 by enumeration. A lattice can give a part slightly below 0.
    """

    ideal: float
    edge: float
    end: float
    form: Array
    learning: Array
    stderr: float
    stderrs: Array


def ideal_bound(data: FiniteData, *, rng: Rng = None, n_samples: int = 4096) -> IdealBound:
    """K*, the largest average of K(x^0), (13), of any reverse kernel with independent components.

    Parameters
    ----------
    data : FiniteData
    rng : numpy.random.Generator, optional
        For lattices of n_samples states x^t per step, rounded up to a multiple of 16. Without it,
        binary data are enumerated, exactly; ValueError for Gaussian data, or if more than 2^20
        states are distinguishable.

    A heartbeat, and a Gaussian, whose reversal is Gaussian:

    >>> from dpm_ref import GaussianDiffusion
    >>> five = FiniteData(BinomialDiffusion([0.25, 0.5, 1.0], prior=0.2), np.tile(np.eye(5), 4))
    >>> wide = FiniteData(GaussianDiffusion([0.2, 0.3, 0.4]), [[0.0]], var=4.0)
    >>> sampled = ideal_bound(wide, rng=np.random.default_rng(0))
    >>> print("%.6f %.6f" % (ideal_bound(five).value, sampled.value))
    -8.245014 -2.486257
    """
    average = _average(data, rng, n_samples)
    steps = [average(data.divergence, t) for t in range(2, data.diffusion.T + 1)]
    null, (first, last) = ends(data, (1, data.diffusion.T))
    bound = _estimate(null + first - last - sum(steps, np.zeros(1)))
    return IdealBound(*bound, null, np.array([step.mean() for step in steps]))


def entropy(data: FiniteData, t: int, *, rng: Rng = None, n_samples: int = 4096) -> Estimate:
    """H_q(X^t), t in 0..T; at t = 0 the entropy of the data, whose negative is the limit of K.

    rng and n_samples as for `ideal_bound`. ValueError at t = 0 for Gaussian atoms of variance 0.

    >>> from dpm_ref import GaussianDiffusion
    >>> wide = FiniteData(GaussianDiffusion([0.2]), [[0.0]], var=4.0)
    >>> print("%.1f" % entropy(wide, 0, rng=np.random.default_rng(0)).value)
    2.1
    """
    return _estimate(_average(data, rng, n_samples)(lambda x, t: -data.log_prob(x, t), t))


def gap(data: FiniteData, kl: ArrayLike | None = None, *,
        rng: Rng = None, n_samples: int = 4096) -> Gap:
    """The gap from a model's K to its limit, split into parts.

    Parameters
    ----------
    data : FiniteData
        With a variance in the Gaussian column, where atoms alone have no differential entropy.
    kl : array_like, shape (T-1,), optional
        The model's E KL_t, t = 2..T: `bounds.lower_bound(...).kl` averaged over data. By default
        the ideal kernel's.
    rng, n_samples : as for `ideal_bound`

    >>> from dpm_ref import GaussianDiffusion
    >>> wide = FiniteData(GaussianDiffusion([0.2, 0.3, 0.4]), [[0.0]], var=4.0)
    >>> parts = gap(wide, rng=np.random.default_rng(0))
    >>> print("%.1f %.4f" % (parts.edge + parts.end, parts.ideal))
    0.4 -2.4863
    """
    average = _average(data, rng, n_samples)
    if isinstance(data.diffusion, GaussianDiffusion) and not data.var.all():
        rule = "data must have a var > 0 at every Gaussian atom, or their entropy is -inf"
        raise ValueError(f"{rule}, got {validation.brief(data.var)}")
    if kl is not None:
        kl, rule = validation.finite("kl", kl), f"have shape ({data.diffusion.T - 1},), t = 2..T"
        validation.shaped("kl", kl, rule, kl.shape == (data.diffusion.T - 1,))
    bound = ideal_bound(data, rng=rng, n_samples=n_samples)
    parts = _differences(data, average, bound) if rng is None else _log_ratios(data, rng, n_samples)
    mean, stderrs = np.array([_estimate(part) for part in parts]).T
    learning = (bound.kl if kl is None else np.asarray(kl)) - bound.kl
    return Gap(bound.value, float(mean[0]), float(mean[-1]), mean[1:-1], learning,
               _estimate(parts.sum(0)).stderr, stderrs)


def _average(data: FiniteData, rng: Rng, n_samples: int) -> Average:
    """E function(x^t, t) at any t, as independent estimates: one per lattice, or an exact one."""
    instance("data", data, FiniteData)
    n_samples = validation.count("n_samples", n_samples, 1)
    if rng is not None:
        return lambda function, t: function(
            data.draw(_uniform(rng, n_samples, 1 + data.atoms.shape[1]), t), t).mean(1)
    states, log_count = _distinguishable_states(data)

    def by_enumeration(function: Callable[[Array, int], Array], t: int) -> Array:
        weight = np.exp(log_count + data.log_prob(states, t))
        seen = weight > 0
        return np.array([weight[seen] @ function(states[seen], t)])

    return by_enumeration


def _uniform(rng: np.random.Generator, n_samples: int, dimensions: int) -> Array:
    """The points of 16 randomly shifted lattices, (16, n_samples / 16, dimensions)."""
    points = lattice(-(-n_samples // _SHIFTS), dimensions)
    shifts = validation.generator(rng).random((_SHIFTS, 1, dimensions))
    return np.asarray((points + shifts) % 1.0)


def _log_ratios(data: FiniteData, rng: np.random.Generator, n_samples: int) -> Array:
    """Edge, form at t = 2..T and end, (T+1, shifts), as averages over pairs x^{t-1}, x^t."""
    diffusion, d, parts = data.diffusion, data.atoms.shape[1], []
    for t in range(1, diffusion.T + 1):
        uniform = _uniform(rng, n_samples, 1 + 2 * d)
        before = data.draw(uniform[..., :1 + d], t - 1)
        after = diffusion.kernel(before, t).at(data.noise(uniform[..., 1 + d:]))
        law = diffusion.edge(after) if t == 1 else data.reverse(after, t)
        parts.append((data.log_reverse(before, after, t) - law.log_prob(before)).mean(1))
    end = data.log_prob(after, diffusion.T) - diffusion.prior(d).log_prob(after)
    return np.array([*parts, end.mean(1)])


def _differences(data: FiniteData, average: Average, bound: IdealBound) -> Array:
    """Edge, form at t = 2..T and end, (T+1, 1), as differences of entropies."""
    T, (points, weights) = data.diffusion.T, data.points()
    null, (first, last) = ends(data, (1, T))
    H = np.array([average(lambda x, t: -data.log_prob(x, t), t)[0] for t in range(T + 1)])
    given = [weights @ data.diffusion.marginal(points, t).entropy() for t in range(1, T + 1)]
    information = H[1:] - given
    edge, end = (-null - H[0]) - (first - information[0]), last - information[-1]
    return np.array([edge, *(bound.kl + np.diff(information)), end])[:, None]


def ends(data: FiniteData, times: Iterable[int]) -> tuple[float, Array]:
    """L_null, and E KL( q(x^t|x^0) || pi ) at these times, exactly."""
    (points, weights), q = data.points(), data.diffusion
    prior = q.prior(points.shape[1])
    kl = [weights @ q.marginal(points, t).kl(prior) for t in times]
    return float(weights @ prior.log_prob(points)), np.array(kl)


def _estimate(values: Array) -> Estimate:
    """The mean of independent estimates and its standard error; a single value is exact."""
    stderr = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return Estimate(float(values.mean()), float(stderr))


def lattice(n: int, dimensions: int) -> Array:
    """n points in the unit cube: i (1/n, g^-1, g^-2, ...) mod 1 with g^dimensions = g + 1."""
    g = 2.0
    for _ in range(64):
        g = (1.0 + g) ** (1.0 / dimensions)
    steps = g ** -np.arange(1.0, dimensions)
    return np.asarray(np.arange(n)[:, None] * np.concatenate([[1.0 / n], steps]) % 1.0)


def _distinguishable_states(data: FiniteData) -> tuple[Array, Array]:
    """States of bits (n, d), and the log of the number of states that each represents.

    Components in which all atoms, and pi, agree are exchangeable: q(x^t) depends only on their
    number of ones. Where any two groups of such components may be swapped without changing the
    data, only sorted numbers are kept.
    """
    if not isinstance(data.diffusion, BinomialDiffusion):
        raise ValueError("rng must be given for Gaussian data, which cannot be enumerated")
    columns = np.vstack([np.broadcast_to(data.diffusion.pi1, data.atoms.shape[1]), data.atoms])
    groups, labels, sizes = np.unique(columns, axis=1, return_inverse=True, return_counts=True)
    labels = labels.ravel()
    if np.prod(sizes + 1.0) > _MOST_STATES:
        raise ValueError(f"data must leave at most {_MOST_STATES} distinguishable states, "
                         f"got {np.prod(sizes + 1.0):.3g}")
    ones = np.array(list(np.ndindex(*(sizes + 1))))  # in each group
    log_count = (gammaln(sizes + 1) - gammaln(ones + 1) - gammaln(sizes - ones + 1)).sum(1)
    if _symmetric(groups, sizes, data.weights):
        ordered = (np.diff(ones) <= 0).all(1)
        ones, log_count = ones[ordered], log_count[ordered]
        repeats = (ones[:, :, None] == np.arange(sizes[0] + 1)).sum(1)
        log_count = log_count + gammaln(len(sizes) + 1) - gammaln(repeats + 1).sum(1)
    rank = np.array([np.sum(labels[:i] == labels[i]) for i in range(labels.size)])  # in its group
    return (rank < ones[:, labels]).astype(np.float64), log_count


def _symmetric(groups: Array, sizes: IntArray, weights: Array) -> bool:
    """Whether the data, groups (1 + m, G) of pi and atoms' bits, survive a swap of any two."""
    def swapped(i: int) -> list[Any]:
        bits = groups[1:].copy()
        bits[:, [0, i]] = bits[:, [i, 0]]
        return sorted(np.column_stack([weights, bits]).tolist())

    alike = (sizes == sizes[0]).all() and (groups[0] == groups[0, 0]).all()
    return bool(alike) and all(swapped(i) == swapped(0) for i in range(len(sizes)))

"""K*, the largest K that any reverse kernel of Table App.1 can reach on finite data, and the entropies H_q(X^t).

At the moment match the cross-entropy of a true reverse step is the match's own entropy, so that with r*_t = `FiniteData.reverse`

    E KL_t = E_{q(x^t)} [ H( r*_t(x^t) ) - E[ H( q(x^{t-1} | x^t, x^0) ) | x^t ] ]         `FiniteData.divergence`
    K*     = E log pi(x^0) + E KL( q(x^1|x^0) || pi ) - E KL( q(x^T|x^0) || pi ) - sum_{t>=2} E KL_t

The exact reversal, whose components depend on each other, reaches more, and no kernel reaches more than it:

    max K  = E log pi(x^0) + KL( q(x^1) || pi ) - KL( q(x^T) || pi )                       `reversal_bound`

Only the average over x^t in the first line is not at hand. It is that of a function of 1 + d
uniform numbers (which atom, and its noise): a rank-1 lattice takes it with an error of nearly 1/n rather than 1/sqrt(n), a
random shift makes it unbiased, and independent shifts give its standard error. For bits it is a finite sum, shortened by
counting only how many ones there are among the components that all atoms treat alike: the heartbeat's 2^20 states come down to 126.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, equations (13) and (14). Randomly shifted lattices: L'Ecuyer and
Lemieux 2000, Management Science 46(9); the lattice is the Kronecker sequence of the generalised golden ratio.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dpm_ref import validation
from dpm_ref.exact._lumping import lumped_states
from dpm_ref.exact.finite import FiniteData
from dpm_ref.validation import Array

__all__ = ["Estimate", "IdealBound", "ideal_bound", "ideal_bound_by_enumeration", "reversal_bound",
           "reversal_bound_by_enumeration", "entropy", "entropy_by_enumeration", "SHIFTS", "lattice"]

SHIFTS = 16  # independent shifts of the lattice behind one standard error


class Estimate(NamedTuple):
    """A number in nats and its standard error, from `SHIFTS` independent estimates; 0 where the number is exact."""

    value: float
    stderr: float


class IdealBound(NamedTuple):
    """K* in nats, averaged over the data.

    value : K*
    stderr : its standard error, from `SHIFTS` independent estimates; 0 by enumeration
    null : L_null = E log pi(x^0), exact, so that K* - L_null has the same standard error
    kl : (T-1,), the least possible E KL_t, t = 2..T, within the family of Table App.1
    """

    value: float
    stderr: float
    null: float
    kl: Array


def ideal_bound(data: FiniteData, *, rng: np.random.Generator, n_samples: int = 4096) -> IdealBound:
    """K*, by randomly shifted lattices.

    Parameters
    ----------
    data : FiniteData
    rng : numpy.random.Generator
    n_samples : int >= 1
        States x^t to a step, in `SHIFTS` lattices, each of n_samples / SHIFTS points, rounded up.

    Returns
    -------
    IdealBound
        (value, stderr, null, kl): floats and an array (T-1,), nats.

    Raises
    ------
    ValueError
        If n_samples is no integer >= 1 or rng no Generator.

    Notes
    -----
    Equations (13) and (14), without their preconditions: an average of K(x^0).

    A Gaussian's reversal is Gaussian, so nothing is lost but the divergences of the two ends from pi:

    >>> from dpm_ref import GaussianDiffusion
    >>> wide = FiniteData(GaussianDiffusion([0.2, 0.3, 0.4]), [[0.0]], spread=4.0)
    >>> print("%.6f" % ideal_bound(wide, rng=np.random.default_rng(0)).value)
    -2.486257
    """
    n_points, rng = -(-validation.count("n_samples", n_samples, 1) // SHIFTS), validation.generator(rng)
    kl = np.array([_average(data, t, data.divergence, n_points, rng) for t in range(2, data.diffusion.T + 1)]).reshape(-1, SHIFTS)
    return _bound(data, kl.mean(1), float(kl.sum(0).std(ddof=1) / np.sqrt(SHIFTS)))


def ideal_bound_by_enumeration(data: FiniteData) -> IdealBound:
    """K* of binary data, exactly.

    Parameters
    ----------
    data : FiniteData
        Of a BinomialDiffusion.

    Returns
    -------
    IdealBound
        (value, 0.0, null, kl): floats and an array (T-1,), nats.

    Raises
    ------
    ValueError
        If the data are not binary, or leave more than 2^20 distinguishable states to sum over.

    Notes
    -----
    Equations (13) and (14), without their preconditions. The heartbeat, with T = 3:

    >>> from dpm_ref import BinomialDiffusion
    >>> five = FiniteData(BinomialDiffusion([0.25, 0.5, 1.0], prior=0.2), np.tile(np.eye(5), 4))
    >>> print("%.6f" % ideal_bound_by_enumeration(five).value)
    -8.245014
    """
    states, log_count = lumped_states(data)
    kl = [np.exp(log_count + data.log_prob(states, t)) @ data.divergence(states, t) for t in range(2, data.diffusion.T + 1)]
    return _bound(data, np.array(kl), 0.0)


def reversal_bound(data: FiniteData, *, rng: np.random.Generator, n_samples: int = 4096) -> Estimate:
    """max K, the K of the exact reversal behind the edge T_pi, by randomly shifted lattices.

    Parameters
    ----------
    data : FiniteData
    rng, n_samples
        As for `ideal_bound`.

    Returns
    -------
    Estimate
        (value, stderr): floats, nats. max K - K* is the price of independent components, -H(X^0) - max K that of the schedule.

    Raises
    ------
    ValueError
        If an argument leaves its range.

    Notes
    -----
    Section 2.6: every E KL_t is the lower gap of (24), and their sum is I(X^0; X^1) - I(X^0; X^T).

    >>> from dpm_ref import GaussianDiffusion
    >>> wide = FiniteData(GaussianDiffusion([0.2, 0.3, 0.4]), [[0.0]], spread=4.0)
    >>> print("%.1f" % reversal_bound(wide, rng=np.random.default_rng(0)).value)
    -2.5
    """
    first, last = (entropy(data, t, rng=rng, n_samples=n_samples) for t in (1, data.diffusion.T))
    return Estimate(_reversal(data, first.value, last.value), float(np.hypot(first.stderr, last.stderr)))


def reversal_bound_by_enumeration(data: FiniteData) -> float:
    """max K of binary data, the K of the exact reversal behind the edge T_pi, exactly; nats.

    ValueError as for `ideal_bound_by_enumeration`. Section 2.6, as `reversal_bound`.

    >>> from dpm_ref import BinomialDiffusion
    >>> five = FiniteData(BinomialDiffusion([0.25, 0.5, 1.0], prior=0.2), np.tile(np.eye(5), 4))
    >>> print("%.6f" % reversal_bound_by_enumeration(five))
    -6.754677
    """
    return _reversal(data, *(entropy_by_enumeration(data, t) for t in (1, data.diffusion.T)))


def entropy(data: FiniteData, t: int, *, rng: np.random.Generator, n_samples: int = 4096) -> Estimate:
    """H_q(X^t) = -E log q(x^t), by randomly shifted lattices; at t = 0 the entropy of the data.

    Parameters
    ----------
    data : FiniteData
    t : int in 0..T
        From 1 on for Gaussian atoms without spread, whose x^0 has no density.
    rng, n_samples
        As for `ideal_bound`.

    Returns
    -------
    Estimate
        (value, stderr): floats, nats.

    Raises
    ------
    ValueError
        If an argument leaves its range.

    Notes
    -----
    Equation (24) and its identities are made of these. The limit of K as the schedule gets fine is -H(X^0).

    >>> from dpm_ref import GaussianDiffusion
    >>> wide = FiniteData(GaussianDiffusion([0.2]), [[0.0]], spread=4.0)
    >>> print("%.1f" % entropy(wide, 0, rng=np.random.default_rng(0)).value)
    2.1
    """
    n_points, rng = -(-validation.count("n_samples", n_samples, 1) // SHIFTS), validation.generator(rng)
    values = _average(data, t, lambda x, t: -data.log_prob(x, t), n_points, rng)
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(SHIFTS)))


def entropy_by_enumeration(data: FiniteData, t: int) -> float:
    """H_q(X^t) of binary data, exactly.

    Parameters
    ----------
    data : FiniteData
        Of a BinomialDiffusion.
    t : int in 0..T

    Returns
    -------
    float, nats

    Raises
    ------
    ValueError
        If the data are not binary, leave more than 2^20 distinguishable states, or t leaves 0..T.

    Notes
    -----
    Equation (24).

    >>> from dpm_ref import BinomialDiffusion
    >>> five = FiniteData(BinomialDiffusion([0.25, 0.5, 1.0], prior=0.2), np.tile(np.eye(5), 4))
    >>> print("%.6f" % entropy_by_enumeration(five, 0))
    1.609438
    """
    states, log_count = lumped_states(data)
    log_prob = data.log_prob(states, t)
    terms = np.exp(log_count + log_prob)
    return float(-(terms[terms > 0] @ log_prob[terms > 0]))


def _bound(data: FiniteData, kl: Array, stderr: float) -> IdealBound:
    """K* from E KL_t, t = 2..T; what is left is at most quadratic in x^0, and averaged exactly."""
    diffusion, (points, weights) = data.diffusion, data.points()
    prior = diffusion.prior(points.shape[1])
    null = float(weights @ prior.log_prob(points))
    first, last = (float(weights @ diffusion.marginal(points, t).kl(prior)) for t in (1, diffusion.T))
    return IdealBound(float(null + first - last - kl.sum()), stderr, null, kl)


def _reversal(data: FiniteData, first_entropy: float, last_entropy: float) -> float:
    """max K from H_q(X^1) and H_q(X^T): L_null + KL( q(x^1) || pi ) - KL( q(x^T) || pi )."""
    points, weights = data.points()
    prior = data.diffusion.prior(points.shape[1])
    laws = [data.diffusion.marginal(points, t) for t in (1, data.diffusion.T)]
    cross_first, cross_last = (float(weights @ (law.entropy() + law.kl(prior))) for law in laws)
    return float(weights @ prior.log_prob(points)) + (cross_first - first_entropy) - (cross_last - last_entropy)


def _average(data: FiniteData, t: int, function: Callable[[Array, int], Array], n_points: int,
             rng: np.random.Generator) -> Array:
    """E function(x^t) under q(x^t), once for every shift: (SHIFTS,)."""
    points = lattice(n_points, 1 + data.atoms.shape[1])
    return np.array([function(data.draw((points + rng.random(points.shape[1])) % 1.0, t), t).mean() for _ in range(SHIFTS)])


def lattice(n: int, dimensions: int) -> Array:
    """n points in the unit cube, i (g^-1, g^-2, ...) mod 1 with g^dimensions = g + 1; the first coordinate i / n."""
    g = 2.0
    for _ in range(64):
        g = (1.0 + g) ** (1.0 / dimensions)
    steps = g ** -np.arange(1.0, dimensions)
    return np.asarray(np.arange(n)[:, None] * np.concatenate([[1.0 / n], steps]) % 1.0)

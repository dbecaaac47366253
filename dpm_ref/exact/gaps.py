"""What keeps K below its limit, -H(X^0), split without remainder into parts none of which is negative.

    limit - K = edge + end + sum_{t>=2} form_t + sum_{t>=2} learning_t

    edge        E KL( q(x^0|x^1) || T_pi(x^0|x^1) ) = KL( q(x^0) || pi ) - KL( q(x^1) || pi )     the last step is not learned (App. B.2)
    end         KL( q(x^T) || pi )                                                    the chain begins where the data have not quite gone
    form_t      E KL( q(x^{t-1}|x^t) || ideal kernel )                                a true reverse step has no independent components
    learning_t  E KL( ideal kernel's q || p ) = E KL_t(p) - E KL_t(ideal)             what learning has not reached

The first three are what T and the schedule cost, limit - K*; the edge and the end alone are limit - max K, for the exact reversal.
Of the divergence E KL_t that K counts, the lower gap of (24) is no loss, and

    form_t = E KL_t(ideal) - [ I(X^0;X^{t-1}) - I(X^0;X^t) ],      I(X^0;X^t) = H_q(X^t) - H_q(X^t|X^0)

which is how bits are split, by enumeration. In the Gaussian column each part is the average of its own log ratio, which hardly varies
where the part is small, while the entropies' differences would drown it.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.4 and 2.6, App. B.2.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from dpm_ref import validation
from dpm_ref.exact.finite import FiniteData, off_the_ends
from dpm_ref.exact.ideal import SHIFTS, entropy_by_enumeration, ideal_bound, ideal_bound_by_enumeration, lattice
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.validation import Array

__all__ = ["Gap", "gap", "gap_by_enumeration"]


class Gap(NamedTuple):
    """The parts of limit - K in nats.

    ideal : K*
    edge, end : floats
    form : (T-1,), t = 2..T
    learning : (T-1,), t = 2..T; zero where no model was given
    stderr : the standard error of limit - K* = edge + end + sum of form; 0 by enumeration
    """

    ideal: float
    edge: float
    end: float
    form: Array
    learning: Array
    stderr: float

    @property
    def limit(self) -> float:
        """-H(X^0) = K* + edge + end + sum of form, a float in nats. Equation (14)."""
        return self.ideal + self.edge + self.end + float(self.form.sum())

    @property
    def K(self) -> float:
        """K = K* - sum of learning, a float in nats. Equation (14)."""
        return self.ideal - float(self.learning.sum())


def gap(data: FiniteData, kl: npt.ArrayLike | None = None, *, rng: np.random.Generator, n_samples: int = 4096) -> Gap:
    """The split gap of finite data, by randomly shifted lattices.

    Parameters
    ----------
    data : FiniteData
        With a spread in the Gaussian column, where atoms alone have no entropy.
    kl : array_like, shape (T-1,), optional
        A model's E KL_t, t = 2..T, in nats: `bounds.lower_bound(...).kl` averaged over data. Without it the ideal kernel's.
    rng : numpy.random.Generator
    n_samples : int >= 1
        States to a step, as for `ideal_bound` and `entropy`.

    Returns
    -------
    Gap
        (ideal, edge, end, form, learning, stderr): floats and arrays (T-1,), nats. Estimates: a part that is zero can come out
        slightly negative.

    Raises
    ------
    ValueError
        If kl has another shape or is not finite, the data have no density at t = 0, or as `ideal_bound`.

    Notes
    -----
    Equations (14) and (24).

    A Gaussian's reversal is Gaussian, so only the ends cost anything:

    >>> from dpm_ref import GaussianDiffusion
    >>> wide = FiniteData(GaussianDiffusion([0.2, 0.3, 0.4]), [[0.0]], spread=4.0)
    >>> parts = gap(wide, rng=np.random.default_rng(0))
    >>> print("%.1f %.4f" % (parts.edge + parts.end, parts.ideal))
    0.4 -2.4863
    """
    n_points, T = -(-validation.count("n_samples", n_samples, 1) // SHIFTS), data.diffusion.T
    bound = ideal_bound(data, rng=rng, n_samples=n_samples)
    learned = _learned(kl, bound.kl)
    prior, edge, points = data.diffusion.prior(data.atoms.shape[1]), data.diffusion.edge, lattice(n_points, 1 + 2 * data.atoms.shape[1])
    parts = np.empty((SHIFTS, T + 1))  # edge, form at t = 2..T, end
    for part in parts:
        shifts = rng.random((T, points.shape[1]))
        for t in range(1, T + 1):
            before, after = _pair(data, (points + shifts[t - 1]) % 1.0, t)
            law = edge(after) if t == 1 else data.reverse(after, t)
            part[t - 1] = (data.log_reverse(before, after, t) - law.log_prob(before)).mean()
        part[T] = (data.log_prob(after, T) - prior.log_prob(after)).mean()
    mean, stderr = parts.mean(0), float(parts.sum(1).std(ddof=1) / np.sqrt(SHIFTS))
    return Gap(bound.value, float(mean[0]), float(mean[-1]), mean[1:-1], learned - bound.kl, stderr)


def gap_by_enumeration(data: FiniteData, kl: npt.ArrayLike | None = None) -> Gap:
    """The split gap of binary data, exactly.

    Parameters
    ----------
    data : FiniteData
        Of a BinomialDiffusion.
    kl : array_like, shape (T-1,), optional
        As for `gap`.

    Returns
    -------
    Gap
        (ideal, edge, end, form, learning, 0.0): floats and arrays (T-1,), nats.

    Raises
    ------
    ValueError
        If kl has another shape or is not finite, or as `ideal_bound_by_enumeration`.

    Notes
    -----
    Equations (14) and (24).

    >>> from dpm_ref import BinomialDiffusion
    >>> five = FiniteData(BinomialDiffusion([0.25, 0.5, 1.0], prior=0.2), np.tile(np.eye(5), 4))
    >>> parts = gap_by_enumeration(five)
    >>> print("%.6f %.6f %.6f" % (parts.edge, abs(parts.end), parts.ideal))
    5.145239 0.000000 -8.245014
    """
    bound, diffusion, (points, weights) = ideal_bound_by_enumeration(data), data.diffusion, data.points()
    learned, prior = _learned(kl, bound.kl), diffusion.prior(points.shape[1])
    laws = [diffusion.marginal(points, t) for t in range(1, diffusion.T + 1)]
    entropies = np.array([entropy_by_enumeration(data, t) for t in range(diffusion.T + 1)])
    information = entropies[1:] - [float(weights @ law.entropy()) for law in laws]
    first, last = (float(weights @ (law.entropy() + law.kl(prior))) for law in (laws[0], laws[-1]))
    edge = (-bound.null - entropies[0]) - (first - entropies[1])
    return Gap(bound.value, float(edge), float(last - entropies[-1]), bound.kl + np.diff(information), learned - bound.kl, 0.0)


def _learned(kl: npt.ArrayLike | None, ideal: Array) -> Array:
    learned = ideal if kl is None else validation.finite("kl", kl)
    if learned.shape != ideal.shape:
        raise ValueError(f"kl must have shape ({len(ideal)},), one for each t = 2..T, got {learned.shape}")
    return learned


def _pair(data: FiniteData, uniform: Array, t: int) -> tuple[Array, Array]:
    """x^{t-1} and x^t, (n, d) each, from uniform numbers (n, 1 + 2d)."""
    d = data.atoms.shape[1]
    before = data.draw(uniform[:, :1 + d], t - 1)
    inside = off_the_ends(uniform[:, 1 + d:])
    noise = ndtri(inside) if isinstance(data.diffusion, GaussianDiffusion) else inside
    return before, data.diffusion.kernel(before, t).at(noise)

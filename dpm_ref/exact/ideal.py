"""K* of finite data, the largest K of any reverse kernel of Table App.1, and what a model lacks.

At the moment match the cross-entropy of a true reverse step is the match's own entropy, so

    E KL_t = E_{q(x^t)} [ H( ideal kernel ) - E[ H( q(x^{t-1} | x^t, x^0) ) | x^t ] ]
    K*     = E log pi(x^0) + E KL( q(x^1|x^0) || pi ) - E KL( q(x^T|x^0) || pi ) - sum_{t>=2} E KL_t

and the limit, -H(X^0), exceeds a model's K by parts none of which is negative:

    limit - K = edge + end + sum_{t>=2} form_t + sum_{t>=2} learning_t

    edge        E KL( q(x^0|x^1) || T_pi(x^0|x^1) )    the last step is not learned (App. B.2)
    end         KL( q(x^T) || pi )                     the data have not quite gone at T
    form_t      E KL( q(x^{t-1}|x^t) || ideal kernel ) a true step has dependent components
    learning_t  E KL_t(model) - E KL_t(ideal)          what learning has not reached

The first three are what T and the schedule cost; K* + sum form_t is the K of the exact reversal.
Summed over states, the parts are differences of entropies,

    edge   = KL( q(x^0) || pi ) - KL( q(x^1) || pi )
    form_t = E KL_t(ideal) - [ I(X^0;X^{t-1}) - I(X^0;X^t) ],  I(X^0;X^t) = H_q(X^t) - H_q(X^t|X^0)

while lattices average each part's own log ratio, which hardly varies where the part is small.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, equations (13), (14) and (24), App. B.2.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from dpm_ref import validation
from dpm_ref.exact.averages import Average, Estimate, Lattices, average_over, estimate
from dpm_ref.exact.finite import FiniteData, inside
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.validation import Array

__all__ = ["IdealBound", "ideal_bound", "entropy", "Gap", "gap"]


class IdealBound(NamedTuple):
    """K* averaged over the data, its standard error, L_null, and E KL_t of the ideal kernel.

    null is exact, so K* - L_null has the same standard error; kl is (T-1,), t = 2..T.
    """

    value: float
    stderr: float
    null: float
    kl: Array


class Gap(NamedTuple):
    """The parts of limit - K; form and learning are (T-1,), t = 2..T.

    stderr is the standard error of limit - K* = edge + end + sum of form, and stderrs (T+1,) are
    those of edge, form and end one by one; 0 by enumeration.
    """

    ideal: float
    edge: float
    end: float
    form: Array
    learning: Array
    stderr: float
    stderrs: Array

    @property
    def limit(self) -> float:
        """-H(X^0) = K* + edge + end + sum of form."""
        return self.ideal + self.edge + self.end + float(self.form.sum())

    @property
    def K(self) -> float:
        """K = K* - sum of learning."""
        return self.ideal - float(self.learning.sum())


def ideal_bound(data: FiniteData, *, rng: np.random.Generator | None = None, n_samples: int = 4096
                ) -> IdealBound:
    """K*, the largest K of any reverse kernel with independent components.

    Parameters
    ----------
    data : FiniteData
    rng : numpy.random.Generator, optional
        For lattices of n_samples states x^t to a step, in multiples of 16. Without it binary data
        are enumerated, exactly; ValueError for Gaussian data, or more than 2^20 states to tell
        apart.
    n_samples : int >= 1

    Returns
    -------
    IdealBound

    Notes
    -----
    Equations (13) and (14), without their preconditions: an average of K(x^0). A heartbeat, and a
    Gaussian, whose reversal is Gaussian:

    >>> from dpm_ref import BinomialDiffusion
    >>> five = FiniteData(BinomialDiffusion([0.25, 0.5, 1.0], prior=0.2), np.tile(np.eye(5), 4))
    >>> wide = FiniteData(GaussianDiffusion([0.2, 0.3, 0.4]), [[0.0]], var=4.0)
    >>> sampled = ideal_bound(wide, rng=np.random.default_rng(0))
    >>> print("%.6f %.6f" % (ideal_bound(five).value, sampled.value))
    -8.245014 -2.486257
    """
    average = average_over(data, rng, n_samples)
    steps = [average(data.divergence, t) for t in range(2, data.diffusion.T + 1)]
    null, first, last = _ends(data)
    bound = estimate(null + first - last - sum(steps, np.zeros(1)))
    return IdealBound(*bound, null, np.array([step.mean() for step in steps]))


def entropy(data: FiniteData, t: int, *, rng: np.random.Generator | None = None,
            n_samples: int = 4096) -> Estimate:
    """H_q(X^t), t in 0..T; at t = 0 the data's entropy, and minus the limit of K.

    rng and n_samples as for `ideal_bound`. ValueError at t = 0 for Gaussian atoms of variance 0.

    >>> wide = FiniteData(GaussianDiffusion([0.2]), [[0.0]], var=4.0)
    >>> print("%.1f" % entropy(wide, 0, rng=np.random.default_rng(0)).value)
    2.1
    """
    return estimate(average_over(data, rng, n_samples)(lambda x, t: -data.log_prob(x, t), t))


def gap(data: FiniteData, kl: npt.ArrayLike | None = None, *,
        rng: np.random.Generator | None = None, n_samples: int = 4096) -> Gap:
    """What keeps K below its limit, split without remainder.

    Parameters
    ----------
    data : FiniteData
        With a variance in the Gaussian column, where atoms alone have no entropy.
    kl : array_like, shape (T-1,), optional
        A model's E KL_t, t = 2..T: `bounds.lower_bound(...).kl` averaged over data. Without it the
        ideal kernel's.
    rng, n_samples
        As for `ideal_bound`.

    Returns
    -------
    Gap
        By lattices a part that is zero can come out slightly negative.

    Notes
    -----
    >>> wide = FiniteData(GaussianDiffusion([0.2, 0.3, 0.4]), [[0.0]], var=4.0)
    >>> parts = gap(wide, rng=np.random.default_rng(0))
    >>> print("%.1f %.4f" % (parts.edge + parts.end, parts.ideal))
    0.4 -2.4863
    """
    bound = ideal_bound(data, rng=rng, n_samples=n_samples)
    learned = bound.kl if kl is None else validation.finite("kl", kl)
    if learned.shape != bound.kl.shape:
        raise ValueError(f"kl must have shape ({data.diffusion.T - 1},), t = 2..T, "
                         f"got {learned.shape}")
    parts = (_differences(data, average_over(data, None, 1), bound) if rng is None
             else _log_ratios(data, Lattices(rng, n_samples)))
    mean, stderrs = np.array([estimate(part) for part in parts]).T
    stderr = estimate(parts.sum(0)).stderr
    learning = learned - bound.kl
    return Gap(bound.value, float(mean[0]), float(mean[-1]), mean[1:-1], learning, stderr, stderrs)


def _log_ratios(data: FiniteData, lattices: Lattices) -> Array:
    """Edge, form at t = 2..T and end, (T+1, shifts), as averages over pairs x^{t-1}, x^t."""
    (d, T), parts = (data.atoms.shape[1], data.diffusion.T), []
    for t in range(1, T + 1):
        uniform = lattices.uniform(1 + 2 * d)
        before, noise = data.draw(uniform[:, :1 + d], t - 1), inside(uniform[:, 1 + d:])
        noise = ndtri(noise) if isinstance(data.diffusion, GaussianDiffusion) else noise
        after = data.diffusion.kernel(before, t).at(noise)
        law = data.diffusion.edge(after) if t == 1 else data.reverse(after, t)
        parts.append(lattices.means(data.log_reverse(before, after, t) - law.log_prob(before)))
    log_prior = data.diffusion.prior(d).log_prob(after)
    return np.array([*parts, lattices.means(data.log_prob(after, T) - log_prior)])


def _differences(data: FiniteData, average: Average, bound: IdealBound) -> Array:
    """Edge, form at t = 2..T and end, (T+1, 1), as differences of entropies."""
    T, (null, first, last), (points, weights) = data.diffusion.T, _ends(data), data.points()
    H = np.array([average(lambda x, t: -data.log_prob(x, t), t)[0] for t in range(T + 1)])
    given = [weights @ data.diffusion.marginal(points, t).entropy() for t in range(1, T + 1)]
    information = H[1:] - given
    edge, end = (-null - H[0]) - (first - information[0]), last - information[-1]
    return np.array([edge, *(bound.kl + np.diff(information)), end])[:, None]


def _ends(data: FiniteData) -> tuple[float, float, float]:
    """L_null, E KL( q(x^1|x^0) || pi ) and E KL( q(x^T|x^0) || pi ), exactly."""
    points, weights = data.points()
    prior = data.diffusion.prior(points.shape[1])
    laws = [data.diffusion.marginal(points, t) for t in (1, data.diffusion.T)]
    terms = [prior.log_prob(points), *(law.kl(prior) for law in laws)]
    null, first, last = (float(weights @ term) for term in terms)
    return null, first, last

"""A particle filter with the perturbed kernels as its proposal: weighted samples of p(x^0) r(x^0) / Z, and Z.

Draws x^T ~ p~(x^T) and x^{t-1} ~ p~(x^{t-1} | x^t) are weighted so that what they stand for at each t is p(x^{t..T}) r(x^t):

    w_T = pi(x^T) r(x^T) / p~(x^T),     w_{t-1} = w_t  p(x^{t-1}|x^t) r(x^{t-1}) / ( r(x^t) p~(x^{t-1}|x^t) ),

where for a product in closed form the factor is Z~_{t-1}(x^t) / r(x^t). Particles are drawn anew by their weights, systematically,
where the effective sample size has fallen below a share of their number. The mean weight is then an unbiased estimate of
Z = E_p r(x^0), and the weighted particles are consistent for p r / Z, whatever r(x^t) is at t >= 1, as long as it is positive
wherever E[ r(x^0) | x^t ] is: what a proposal never draws, no weight brings back. Hence r(x^t) must be positive at t >= 1. A clamp
at every t, the paper's inpainting, is not: the trajectories that it draws have probability zero under the posterior's law of
trajectories (for bits, less than one).

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5; Gordon, Salmond and Smith 1993; Del Moral 2004 (the
normaliser's mean); Kitagawa 1996 (systematic resampling).
"""

import warnings
from dataclasses import dataclass

import numpy as np

from dpm_ref import validation
from dpm_ref._weights import fold, log_mean, standard_error
from dpm_ref.posteriors.factors import Factor
from dpm_ref.posteriors.over_time import OverTime
from dpm_ref.posteriors.perturbed import Perturbed
from dpm_ref.protocols import Diffusion, Edge, ReverseKernel
from dpm_ref.validation import Array, IntArray

__all__ = ["Particles", "ContradictionWarning", "particle_filter", "systematic"]

_SURPRISE = float(np.log(20.0))
_NULL_DRAWS = 4096


class ContradictionWarning(UserWarning):
    """r finds next to nothing in the model that it agrees with."""


@dataclass(frozen=True)
class Particles:
    """Weighted samples of p(x^0) r(x^0) / Z from independent runs of a particle filter.

    x0 : (runs, n, d)
    weights : (runs, n), which sum to 1 over all runs; all 0 where r(x^0) was 0 at every particle
    log_z : log of the mean of the runs' estimates of Z = E_p r(x^0), nats; exp(log_z) is unbiased
    log_z_stderr : its standard error by the spread of the runs, std(Z) / (mean(Z) sqrt(runs)); nan for one run
    log_z_runs : (runs,), nats
    ess : (T+1, runs), the effective sample size (sum w)^2 / sum w^2 at t = 0..T, before any resampling there
    log_z_null : log E_pi r(x^0), what the model that has learned nothing makes of r, nats
    contradictory : whether Z is less than a twentieth of that
    """

    x0: Array
    weights: Array
    log_z: float
    log_z_stderr: float
    log_z_runs: Array
    ess: Array
    log_z_null: float
    contradictory: bool

    def expectation(self, values: Array) -> Array:
        """The posterior mean of values given at the particles, (runs, n, ...): shape (...), in their unit. Section 2.5."""
        return np.asarray(np.tensordot(self.weights, values, axes=2))

    def draw(self, n: int, *, rng: np.random.Generator) -> Array:
        """n particles drawn by their weights, (n, d), dimensionless; ValueError for n < 1, no Generator, or weights all 0. Section 2.5."""
        n, rng = validation.count("n", n, 1), validation.generator(rng)
        if not self.weights.any():
            raise ValueError("weights must not all be 0 to draw by them, got a normaliser of 0")
        rows = self.x0.reshape(-1, self.x0.shape[-1])
        return rows[rng.choice(len(rows), n, p=self.weights.ravel() / self.weights.sum())]


def particle_filter(diffusion: Diffusion, reverse: ReverseKernel, r: OverTime, n: int, d: int, *, rng: np.random.Generator, runs: int = 8,
                    edge: Edge | None = None, resample_below: float = 0.5) -> Particles:
    """Weighted samples of p(x^0) r(x^0) / Z, exact as n grows, and an unbiased estimate of Z.

    Parameters
    ----------
    diffusion, reverse, r, edge
        As for `Perturbed`; r(x^t) positive at t >= 1. r(x^0) is the r that is sampled; the others only decide how well.
    n, d : int >= 1
        Particles of a run, and their components.
    rng : numpy.random.Generator
    runs : int >= 1
        Independent filters, done side by side; their spread gives the standard error of log Z.
    resample_below : float in [0, 1]
        Draw anew where the effective sample size falls below this share of n.

    Returns
    -------
    Particles
        x0 (runs, n, d), weights (runs, n), log Z in nats with its standard error, the history of effective sample sizes.

    Raises
    ------
    ValueError
        If an argument is out of range; if r(x^t) is 0 somewhere at t >= 1, since paths would be lost; if r is nan, negative or
        unbounded, or zero both at all particles and at all of many draws from pi.

    Warns
    -----
    ContradictionWarning
        If Z is below a twentieth of E_pi r(x^0), nought included: the evidence contradicts the model, or the particles are too few.

    Notes
    -----
    Section 2.5 and beyond. Where Z~ is known in closed form no density is formed, so that r(x^0) may be a delta. Memory is that of
    the particles: nothing else grows with T.

    The exact twist of data that are pi leaves nothing to weigh:

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import GaussianFactor, diffused
    >>> diffusion = GaussianDiffusion([0.1, 0.2, 0.5])
    >>> r = diffused(GaussianFactor([1.0], 1.0), diffusion)
    >>> result = particle_filter(diffusion, diffusion.kernel, r, 100, 1, rng=np.random.default_rng(0))
    >>> print("%.6f %.1f" % (result.log_z, result.ess.min()))
    -0.596574 100.0
    """
    rng, n, runs, d = validation.generator(rng), validation.count("n", n, 1), validation.count("runs", runs, 1), validation.count("d", d, 1)
    if not 0 <= float(validation.finite("resample_below", resample_below)) <= 1:
        raise ValueError(f"resample_below must lie in [0, 1], got {resample_below!r}")
    kernels, T = Perturbed(diffusion, reverse, r, edge), diffusion.T
    log_z_null = _null(diffusion, kernels.factor(0), d, rng)
    log_w, ess, log_r = np.zeros((runs, n)), np.empty((T + 1, runs)), np.zeros(runs * n)
    x = np.empty((runs * n, d))
    for t in range(T, -1, -1):
        if t > 0:
            _require_positive(kernels.factor(t), t)
        if t < T:
            log_w, ancestors = _resample(log_w, ess[t + 1] < resample_below * n, rng)
            x, log_r = x[ancestors], log_r[ancestors]
        product = kernels.start(d) if t == T else kernels.step(x, t + 1)
        x = product.law.at(product.law.noise(x.shape, rng=rng))
        after = product.factor.log_r(x) if t > 0 else None
        log_w = _plus(log_w, product.log_weight(x, after), log_r)
        ess[t] = _effective(log_w)
        log_r = log_r if after is None else after
    return _result(x.reshape(runs, n, d), log_w, ess, log_z_null)


def _plus(log_w: Array, gain: Array, log_r: Array) -> Array:
    """log w + log Z~ - log r(x^t), in which a weight of 0 stays 0 and a particle that should not be there gets none."""
    with np.errstate(invalid="ignore"):
        total = log_w + (gain - log_r).reshape(log_w.shape)
    return np.where(np.isnan(total) | (log_w == -np.inf), -np.inf, total)


def _resample(log_w: Array, poor: Array, rng: np.random.Generator) -> tuple[Array, IntArray]:
    """The weights, a poor run's set to their mean, and who is drawn anew by them, (runs * n,); a run without weight stays as it is."""
    runs, n = log_w.shape
    ancestors = np.arange(runs * n).reshape(runs, n)
    rows = np.flatnonzero(poor & np.isfinite(log_w.max(1)))
    if rows.size:
        drawn = systematic(np.exp(log_w[rows] - log_w[rows].max(1, keepdims=True)), rng.random(rows.size))
        ancestors[rows] = rows[:, None] * n + drawn
        log_w = log_w.copy()
        log_w[rows] = _log_means(log_w[rows])[:, None]
    return log_w, ancestors.ravel()


def systematic(weights: Array, uniform: Array) -> IntArray:
    """Ancestors (runs, n) by weights (runs, n), any positive multiple, at the points (i + u) / n, one u in [0, 1) to a run. Section 2.5.

    Particle i of a run has n w_i children on average, and never a whole one more or less. Dimensionless.
    """
    runs, n = weights.shape
    total = np.cumsum(weights, axis=1)
    total = np.where(total == total[:, -1:], n, total * (n / total[:, -1:]))  # exactly n from the last particle with a weight on
    points = np.minimum(np.arange(n) + uniform[:, None], np.nextafter(n, 0.0))
    return np.stack([np.searchsorted(total[i], points[i], side="right") for i in range(runs)])


def _effective(log_w: Array) -> Array:
    """(sum w)^2 / sum w^2 of each run, 0 where there is no weight."""
    peak = log_w.max(1, keepdims=True)
    w = np.exp(log_w - np.where(np.isfinite(peak), peak, 0.0))
    return np.asarray(w.sum(1) ** 2 / np.maximum((w**2).sum(1), 1e-300))


def _log_means(log_w: Array) -> Array:
    """log of the mean weight of each run."""
    peak = log_w.max(1)
    shift = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(shift + np.log(np.exp(log_w - shift[:, None]).mean(1)))


def _require_positive(factor: Factor, t: int) -> None:
    if not factor.positive:
        raise ValueError(f"r(x^t) must be positive everywhere at t >= 1, or paths of the posterior are never drawn, got a"
                         f" {type(factor).__name__} with zeros at t = {t}; diffused(r, diffusion) has none")


def _null(diffusion: Diffusion, r: Factor, d: int, rng: np.random.Generator) -> float:
    """log E_pi r(x^0): in closed form, or over draws from pi."""
    prior = diffusion.prior(d)
    product = r.multiply(prior)
    if product.log_z is not None:
        return float(product.log_z)
    return log_mean(fold(r.log_r(prior.at(prior.noise((_NULL_DRAWS, d), rng=rng)))))


def _result(x0: Array, log_w: Array, ess: Array, log_z_null: float) -> Particles:
    log_z_runs = _log_means(log_w)
    sums = fold(log_z_runs)
    log_z, peak = log_mean(sums), log_w.max()
    if not np.isfinite(peak) and log_z_null == -np.inf:
        raise ValueError("r must be positive somewhere on the support, got r(x^0) = 0 at every particle and at every draw from pi")
    contradictory = log_z < log_z_null - _SURPRISE
    if contradictory:
        warnings.warn(f"the evidence contradicts the model, or the particles are too few: log Z = {log_z:.6g} nats, where pi alone"
                      f" gives {log_z_null:.6g}; least effective sample size {ess.min():.3g} of {x0.shape[1]}", ContradictionWarning,
                      stacklevel=3)
    weights = np.exp(log_w - peak) if np.isfinite(peak) else np.zeros(log_w.shape)
    return Particles(x0, weights / weights.sum() if weights.any() else weights, log_z, standard_error(sums), log_z_runs, ess, log_z_null,
                     bool(contradictory))

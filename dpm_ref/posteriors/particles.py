"""A particle filter with the perturbed kernels as its proposal: weighted samples of p r / Z, and Z.

Draws x^T ~ p~(x^T) and x^{t-1} ~ p~(x^{t-1} | x^t) are weighted so that at each t they represent
p(x^{t..T}) r(x^t):

    w_T = pi(x^T) r(x^T) / p~(x^T),
    w_{t-1} = w_t p(x^{t-1} | x^t) r(x^{t-1}) / (r(x^t) p~(x^{t-1} | x^t)),

where for a product in closed form the factor is Z~_{t-1}(x^t) / r(x^t). Particles are resampled
where their effective sample size falls below half their number. The mean weight is an unbiased
estimate of Z = E_p r(x^0), and the weighted particles are consistent for p r / Z, whatever r(x^t)
is at t >= 1, as long as it is positive where E[r(x^0) | x^t] is. A clamp at every t, the paper's
recipe for inpainting, is not, and is refused.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5; Gordon, Salmond and Smith
1993; Del Moral 2004 (the normaliser is unbiased); Kitagawa 1996 (systematic resampling).
"""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np

from dpm_ref import validation
from dpm_ref.likelihood import from_log_weights
from dpm_ref.posteriors.over_time import OverTime
from dpm_ref.posteriors.perturbed import Perturbed
from dpm_ref.posteriors.reliability import GROUP, PATHS, is_reliable
from dpm_ref.protocols import Diffusion, Edge, ReverseKernel, checked_diffusion
from dpm_ref.validation import Array, IntArray

__all__ = ["Particles", "ContradictionWarning", "particle_filter"]

_RESAMPLE_BELOW = 0.5  # effective sample size, as a share of the particles
_CONTRADICTION = np.log(20.0)
_NULL_DRAWS = 4096
_FEW = 20  # particles by which a value of r(x^t) is known to have been tried


class ContradictionWarning(UserWarning):
    """The evidence contradicts the model, or the particles are too few."""


@dataclass(frozen=True)
class Particles:
    """Weighted samples of p(x^0) r(x^0) / Z from independent runs of a particle filter.

    x0 : (runs, n, d)
    weights : (runs, n), sum 1 over all runs; all 0 where r(x^0) was 0 at every particle
    log_z : log of the mean of the runs' estimates of Z = E_p r(x^0); exp(log_z) is unbiased
    log_z_stderr : std(Z) / (mean(Z) sqrt(runs)) over the runs; nan for one run
    reliable : whether log_z is to be believed within its standard error, see `particle_filter`
    log_z_runs : (runs,)
    ess : (T+1, runs), effective sample size (sum w)^2 / sum w^2 at t = 0..T, before resampling
    log_z_null : log E_pi r(x^0)
    """

    x0: Array = field(repr=False)
    weights: Array = field(repr=False)
    log_z: float
    log_z_stderr: float
    reliable: bool
    log_z_runs: Array = field(repr=False)
    ess: Array = field(repr=False)
    log_z_null: float

    def expectation(self, values: Array) -> Array:
        """The posterior mean of values (runs, n, ...) given at the particles."""
        return np.asarray(np.tensordot(self.weights, values, axes=2))

    def draw(self, n: int, *, rng: np.random.Generator) -> Array:
        """n particles drawn by their weights, (n, d)."""
        n, rng = validation.count("n", n, 1), validation.generator(rng)
        if not self.weights.any():
            raise ValueError("weights must not all be 0 to draw by them, got a normaliser of 0")
        rows = self.x0.reshape(-1, self.x0.shape[-1])
        return rows[rng.choice(len(rows), n, p=self.weights.ravel() / self.weights.sum())]


def particle_filter(diffusion: Diffusion, reverse: ReverseKernel, r: OverTime, n: int, d: int, *,
                    rng: np.random.Generator, runs: int = 8,
                    edge: Edge | None = None) -> Particles:
    """Weighted samples of p(x^0) r(x^0) / Z, exact as n grows, and an unbiased estimate of Z.

    Parameters
    ----------
    diffusion, reverse, r, edge
        As for `Perturbed`, r(x^t) positive at t >= 1. r(x^0) is the r that is sampled; the others
        only decide how well.
    n, d : int >= 1
        Particles of a run, and their components.
    runs : int >= 1
        Independent filters, done side by side.

    Returns
    -------
    Particles

    Raises
    ------
    ValueError
        Also if r(x^t) is 0 somewhere at t >= 1; if r is nan, negative or unbounded, or 0 at all
        particles and all of many draws from pi.

    Warns
    -----
    ContradictionWarning
        If Z is below a twentieth of E_pi r(x^0): the evidence contradicts the model, or the
        particles are too few.

    Notes
    -----
    Section 2.5 and beyond. Memory is that of the particles: nothing else grows with T.

    `reliable` is True for 8 runs or more whose standard error is below 1/4, with an effective
    sample size of 40, all runs together, at every t, if two other samples of the posterior's
    paths, 1,024 of the model's own weighted by r and 1,024 forward ones from the particles, hardly
    ever (5 %) pass states whose r(x^t) is smaller than at nearly all particles, and the former's Z
    agrees. Over 1,500 models with a known Z and any r(x^t), 20 % of the filters were wrong by more
    than 4 standard errors; 0.3 % were so and reliable; of those right, 84 % were reliable, 96 %
    with `diffused` (tests/posteriors/reliability.py prints this). It cannot see what neither
    filter nor model draws: BinomialDiffusion([.001, .5], prior=1e-6), p = T_pi, BernoulliFactors of
    (1e6, 1) at t = 0 and (1, 1) before give log Z = .001, reliable, where log 2 is right.

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import GaussianFactor, diffused
    >>> diffusion = GaussianDiffusion([0.1, 0.2, 0.5])
    >>> r = diffused(GaussianFactor([1.0], 1.0), diffusion)          # exact, since p = T_pi
    >>> rng = np.random.default_rng(0)
    >>> result = particle_filter(diffusion, diffusion.kernel, r, 100, 1, rng=rng)
    >>> print("%.6f %.1f" % (result.log_z, result.ess.min()), result.reliable)
    -0.596574 100.0 True
    """
    rng, n, d = validation.generator(rng), validation.count("n", n, 1), validation.count("d", d, 1)
    runs, T = validation.count("runs", runs, 1), checked_diffusion(diffusion).T
    kernels = Perturbed(diffusion, reverse, r, edge)
    _require_positive(kernels)
    log_z_null = _null(kernels, d, rng)
    x, log_r, log_w = np.empty((runs * n, d)), np.zeros(runs * n), np.zeros((runs, n))
    ess, rare, few = np.empty((T + 1, runs)), np.empty(T + 1), min(_FEW, runs * n)
    for t in range(T, -1, -1):
        x, gain, after = _step(kernels, x, t, rng)
        log_w = _plus(log_w, gain, log_r)
        ess[t], rare[t] = _ess(log_w), np.sort(after)[few - 1]
        ancestors, log_w = _resample(log_w, ess[t] < (_RESAMPLE_BELOW * n if t else 0.0), rng)
        x, log_r = x[ancestors], after[ancestors]
    result = _result(x.reshape(runs, n, d), log_w, ess, log_z_null)
    if result.log_z == -np.inf:
        return result
    x0 = np.repeat(result.draw(PATHS // GROUP, rng=rng), GROUP, axis=0)
    reliable = is_reliable(kernels, result.log_z_runs, ess, rare, few / (runs * n), x0, rng)
    return replace(result, reliable=reliable)


def _result(x0: Array, log_w: Array, ess: Array, log_z_null: float) -> Particles:
    log_z_runs, weights = _log_means(log_w), _scaled(log_w.reshape(1, -1)).reshape(log_w.shape)
    value, stderr = (float(part) for part in from_log_weights(log_z_runs)[:2])
    if log_z_null == value == -np.inf:
        raise ValueError("r must be positive somewhere on the support, got r(x^0) = 0 at every "
                         "particle and at every draw from pi")
    if value < log_z_null - _CONTRADICTION:
        warnings.warn("the evidence contradicts the model, or the particles are too few: log Z = "
                      f"{value:.6g} nats, where pi alone gives {log_z_null:.6g}; least effective "
                      f"sample size {ess.min():.3g} of {x0.shape[1]}", ContradictionWarning,
                      stacklevel=3)
    weights = weights / max(weights.sum(), 1.0)
    return Particles(x0, weights, value, stderr, False, log_z_runs, ess, log_z_null)


def _step(kernels: Perturbed, x: Array, t: int,
          rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """States x^t drawn from the perturbed kernel, log p r / p~ and log r(x^t) of each."""
    law = kernels.model(x, t)
    product = kernels.multiply(law, t)
    x = product.law.at(product.law.noise(x.shape, rng=rng))
    if t == 0 and product.log_z is not None:  # r(x^0) may be a delta
        return x, product.log_z, np.zeros(len(x))
    log_r = kernels.log_r(x, t)
    if product.log_z is not None:
        return x, product.log_z, log_r
    with np.errstate(invalid="ignore"):
        return x, law.log_p(x) + log_r - product.law.log_p(x), log_r


def _plus(log_w: Array, gain: Array, log_r: Array) -> Array:
    """log w + gain - log r(x^t), in which a weight of 0 stays 0 and r(x^t) = 0 gives none."""
    with np.errstate(invalid="ignore"):
        result = log_w + (gain - log_r).reshape(log_w.shape)
    return np.where(np.isnan(result) | (log_w == -np.inf), -np.inf, result)


def _resample(log_w: Array, poor: Array, rng: np.random.Generator) -> tuple[IntArray, Array]:
    """Ancestors (runs * n,), and the log weights, a poor run's set to their log mean."""
    ancestors = np.arange(log_w.size).reshape(log_w.shape)
    log_w, means, weights = log_w.copy(), _log_means(log_w), _scaled(log_w)
    for run in np.flatnonzero(np.logical_and(poor, means > -np.inf)):
        ancestors[run] = ancestors[run, systematic(weights[run], rng.random())]
        log_w[run] = means[run]
    return ancestors.ravel(), log_w


def systematic(weights: Array, uniform: float) -> IntArray:
    """Ancestors (n,) by unnormalised weights (n,) and one uniform number in [0, 1).

    Particle i has n w_i children on average, and never a whole one more or less.
    """
    n, share = weights.size, np.cumsum(weights)
    share = np.where(share == share[-1], n, share * (n / share[-1]))  # ends at n exactly
    points = np.minimum(np.arange(n) + uniform, np.nextafter(n, 0.0))
    return np.asarray(np.searchsorted(share, points, side="right"))


def _scaled(log_w: Array) -> Array:
    """Weights over the largest of their row; all 0 where there is none."""
    peak = log_w.max(-1, keepdims=True)
    return np.asarray(np.exp(log_w - np.where(np.isfinite(peak), peak, 0.0)))


def _ess(log_w: Array) -> Array:
    """(sum w)^2 / sum w^2 of each run, 0 where there is no weight."""
    w = _scaled(log_w)
    return np.asarray(w.sum(-1) ** 2 / np.maximum((w**2).sum(-1), 1e-300))


def _log_means(log_w: Array) -> Array:
    return np.asarray(np.logaddexp.reduce(log_w, axis=-1) - np.log(log_w.shape[-1]))


def _require_positive(kernels: Perturbed) -> None:
    for t in range(kernels.T, 0, -1):
        factor = kernels.factor(t)
        if not factor.positive:
            raise ValueError("r(x^t) must be positive everywhere at t >= 1, or paths of the "
                             f"posterior are never drawn, got a {type(factor).__name__} with zeros "
                             f"at t = {t}; diffused(r, diffusion) has none")


def _null(kernels: Perturbed, d: int, rng: np.random.Generator) -> float:
    """log E_pi r(x^0): in closed form, or over draws from pi."""
    prior = kernels.diffusion.prior(d)
    product = kernels.multiply(prior, 0)
    if product.log_z is not None:
        return float(product.log_z)
    draws = prior.at(prior.noise((_NULL_DRAWS, d), rng=rng))
    return float(from_log_weights(kernels.log_r(draws, 0)).value)

"""Whether a particle filter's log Z is to be believed within its standard error.

A filter loses what its proposal never draws: states x^t with a small r(x^t) from which p leads to a
large r(x^0). Its weights and runs do not show this. Two other samples of the posterior's paths do,

    the model's own paths, weighted by r(x^0);
    forward paths q(x^{1..T} | x^0) from the filter's particles, weighted by (9) for each x^0,

for at every t the weighted particles represent p(x^t) r(x^t), in which states of small r(x^t) are
rare. So the share of either sample with a smaller r(x^t) than all but a few particles estimates
what was lost. The model's paths also estimate Z itself.

References: beyond Sohl-Dickstein et al. 2015, arXiv:1503.03585; the weights are its equation (9).
"""

import numpy as np

from dpm_ref.likelihood import from_log_weights
from dpm_ref.posteriors.perturbed import Perturbed
from dpm_ref.validation import Array

__all__ = ["PATHS", "GROUP", "is_reliable"]

PATHS, GROUP = 1024, 16  # forward paths come in groups of the same x^0
_LEAST_RUNS = 8  # the standard error of fewer is too often too small
_LARGEST_STDERR = 0.25  # beyond, log Z is not normal
_LEAST_TOTAL_ESS = 40  # of the particles of all runs, at any t
_LEAST_ESS = 20  # of the paths
_LOST = 0.05  # share of the posterior that may be lost


def is_reliable(kernels: Perturbed, log_z_runs: Array, ess: Array, rare: Array, share: float,
                x0: Array, rng: np.random.Generator) -> bool:
    """Whether nothing speaks against the runs' estimates (runs,); ess is (T+1, runs).

    rare[t] is the log r(x^t) below which a share of the particles lies, and x0 (m, d) holds draws
    from them, by their weights, each repeated.
    """
    log_z = from_log_weights(log_z_runs)
    few_runs = log_z_runs.size < _LEAST_RUNS or ess.sum(1).min() < _LEAST_TOTAL_ESS
    if few_runs or not log_z.stderr < _LARGEST_STDERR:
        return False
    log_w, lost = _model_paths(kernels, x0.shape, rare, rng)
    plain = from_log_weights(log_w)
    samples = [(float(plain.ess), np.asarray(lost @ _normalised(log_w)))]
    gap = abs(plain.value - log_z.value)
    if plain.ess >= _LEAST_ESS and gap > 4 * np.hypot(plain.stderr, log_z.stderr) + 1e-9:
        return False
    log_w, lost = _forward_paths(kernels, x0, rare, rng)
    w = _normalised(log_w.reshape(-1, GROUP)).ravel() / (log_w.size // GROUP)
    samples.append((float(1.0 / (w @ w)), np.asarray(lost @ w)))
    limit = _LOST + 3 * share
    good = [lost.max() < limit + 3 * np.sqrt(limit / n) for n, lost in samples if n >= _LEAST_ESS]
    return len(good) > 0 and all(good)


def _model_paths(kernels: Perturbed, shape: tuple[int, int], rare: Array,
                 rng: np.random.Generator) -> tuple[Array, Array]:
    """log weights (m,) of the model's own paths, and where log r(x^t) < rare, (T, m)."""
    x, lost = np.empty(shape), []
    for t in range(kernels.T, 0, -1):
        law = kernels.model(x, t)
        x = law.at(law.noise(shape, rng=rng))
        lost.append(kernels.log_r(x, t) < rare[t])
    law = kernels.model(x, 0)
    log_z = kernels.multiply(law, 0).log_z
    if log_z is None:
        log_z = kernels.log_r(law.at(law.noise(shape, rng=rng)), 0)
    return log_z, np.array(lost)


def _forward_paths(kernels: Perturbed, x: Array, rare: Array,
                   rng: np.random.Generator) -> tuple[Array, Array]:
    """As `_model_paths`, of forward paths from x^0; the weights are those of equation (9)."""
    log_w, lost = np.zeros(len(x)), []
    for t in range(1, kernels.T + 1):
        forward = kernels.diffusion.q_kernel(x, t)
        after = forward.at(forward.noise(x.shape, rng=rng))
        with np.errstate(invalid="ignore"):
            log_w += kernels.model(after, t - 1).log_p(x) - forward.log_p(after)
        lost.append(kernels.log_r(after, t) < rare[t])
        x = after
    return log_w + kernels.model(x, kernels.T).log_p(x), np.array(lost)


def _normalised(log_w: Array) -> Array:
    """Weights that sum to 1 over the last axis; equal ones where all are 0."""
    finite = np.where(np.isnan(log_w), -np.inf, log_w)
    w = np.exp(finite - np.maximum(finite.max(-1, keepdims=True), -1e300))
    w = np.where(w.sum(-1, keepdims=True) > 0, w, 1.0)
    return np.asarray(w / w.sum(-1, keepdims=True))

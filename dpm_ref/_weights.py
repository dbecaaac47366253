"""Importance weights, of which only running sums are held: their mean, its standard error, and whether to believe it.

Of n weights w = exp(l), l given:

    value  = log mean w                                     stderr = std(w) / ( mean(w) sqrt(n) ), the delta method
    ess    = (sum w)^2 / sum w^2, between 1 and n           shape  = that of a Pareto law fitted to the largest weights

Sums are of w / exp(max l), and of squared deviations from the mean, so that nothing overflows and nearly equal weights keep
the digits of their spread (the parallel update of Chan, Golub and LeVeque). Moments of a Pareto law of shape k exist below the
order 1 / k: the weights' variance is finite for k < 1/2, their mean settles at a useful pace for k < 0.7.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, equation (9); Vehtari, Simpson, Gelman, Yao and Gabry 2024,
arXiv:1507.02646; Zhang and Stephens 2009, Technometrics 51, 316.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.validation import Array

__all__ = ["WeightSums", "fold", "merge", "log_mean", "effective_sample_size", "standard_error", "is_reliable", "tail_length",
           "pareto_shape"]

_LONGEST_TAIL = 512  # largest weights kept; beyond that the tail's shape is known well enough
_FEWEST = 25  # samples below which there is no tail to fit, since a fifth of them are its largest part
_LEAST_ESS = 20.0  # below it the delta method is no approximation
_ALIKE = 1e-9  # relative spread of the tail below which it is rounding


class WeightSums(NamedTuple):
    """Running sums over n weights exp(l), divided by exp(peak); and up to `keep` of the largest l, in falling order."""

    n: int
    peak: float
    mean: float
    spread: float  # sum of squared deviations from the mean
    tail: Array
    keep: int


def fold(log_w: Array, keep: int = 0) -> WeightSums:
    """The sums of weights given as logarithms in nats, shape (n,), n >= 1. Equation (9)."""
    peak = float(log_w.max())
    weights = np.exp(log_w - peak) if np.isfinite(peak) else np.zeros_like(log_w)
    mean = float(weights.mean())
    return WeightSums(log_w.size, peak, mean, float(((weights - mean) ** 2).sum()), _largest(log_w, keep), keep)


def merge(a: WeightSums, b: WeightSums) -> WeightSums:
    """The sums of both, dimensionless scalars; the smaller peak is brought to the larger. Equation (9)."""
    n, peak = a.n + b.n, max(a.peak, b.peak)
    down_a, down_b = (float(np.exp(each.peak - peak)) if np.isfinite(peak) else 0.0 for each in (a, b))
    mean_a, mean_b = a.mean * down_a, b.mean * down_b
    spread = a.spread * down_a**2 + b.spread * down_b**2 + (mean_b - mean_a) ** 2 * (a.n * b.n / n)
    return WeightSums(n, peak, (a.n * mean_a + b.n * mean_b) / n, spread, _largest(np.concatenate([a.tail, b.tail]), a.keep), a.keep)


def log_mean(sums: WeightSums) -> float:
    """log mean w, a scalar in nats; -inf where every weight is zero. Equation (9)."""
    return float(sums.peak + np.log(sums.mean)) if sums.mean else -np.inf


def effective_sample_size(sums: WeightSums) -> float:
    """(sum w)^2 / sum w^2, a dimensionless scalar between 1 and n; 0 where every weight is zero. Equation (9)."""
    return sums.n / (1.0 + _relative_variance(sums)) if sums.mean else 0.0


def standard_error(sums: WeightSums) -> float:
    """That of `log_mean` by the delta method, a scalar in nats; nan for one sample, or where every weight is zero. Equation (9)."""
    return float(np.sqrt(_relative_variance(sums) / (sums.n - 1))) if sums.mean and sums.n > 1 else float("nan")


def is_reliable(sums: WeightSums) -> bool:
    """Whether the standard error can be believed, a scalar without unit; see `likelihood.log_likelihood` for the rule. Equation (9)."""
    if sums.n < _FEWEST or effective_sample_size(sums) < _LEAST_ESS:
        return False
    return _tail_shape(sums.tail) < min(0.7, 1.0 - 1.0 / math.log10(sums.n))


def tail_length(n_samples: int) -> int:
    """How many of the largest weights to keep, a dimensionless scalar: the tail that is fitted, and its threshold. Equation (9)."""
    return min(n_samples // 5, int(np.ceil(3.0 * np.sqrt(n_samples))), _LONGEST_TAIL) + 1


def pareto_shape(tail: npt.ArrayLike) -> float:
    """The shape k of a generalized Pareto law fitted to exceedances over a threshold: below 0.7 their mean can be trusted.

    Parameters
    ----------
    tail : array_like, shape (m,), m >= 5, in any unit
        Exceedances > 0.

    Returns
    -------
    float
        The estimate of Zhang and Stephens (2009), dimensionless, drawn towards 0.5 with the weight of ten observations as
        Vehtari et al. do; inf where a quarter of the exceedances is below 1e-300 of the largest.

    Raises
    ------
    ValueError
        If there are fewer than five, or one is not positive and finite: it would not be an exceedance.

    Notes
    -----
    For the weights of equation (9). Moments of order below 1 / k exist.

    >>> uniform = (np.arange(1000) + 0.5) / 1000
    >>> print("%.2f" % pareto_shape(uniform**-0.5 - 1))    # a Pareto tail of shape 1/2
    0.50
    """
    x = np.sort(validation.positive("tail", tail), axis=None)
    if np.ndim(tail) != 1 or x.size < 5:
        raise ValueError(f"tail must have shape (m,) with m >= 5, got {np.shape(tail)}")
    m, x = x.size, x / x[-1]
    quartile = x[int(m / 4 + 0.5) - 1]
    if quartile < 1e-300:
        return float("inf")
    grid = int(30 + np.sqrt(m))
    theta = 1.0 + (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3.0 * quartile)
    theta = theta[theta != 0]  # where the law is exponential, as it can be to the bit among equal exceedances
    shapes = np.log1p(-theta[:, None] * x).mean(1)
    profile = m * (np.log(-theta / shapes) - shapes - 1.0)  # the log likelihood at each theta, k at its best
    weight = np.exp(profile - profile.max())
    shape = float(np.log1p(-(weight @ theta / weight.sum()) * x).mean())
    return (m * shape + 10 * 0.5) / (m + 10)


def _tail_shape(tail: Array) -> float:
    """The Pareto shape of the weights whose logarithms are given in falling order, the last being the threshold.

    -inf where there is no tail to speak of: all weights alike, or, as it happens with bits, fewer than five above the threshold.
    """
    threshold, above = tail[-1], tail[tail > tail[-1]]
    if above.size < 5 or above[0] - threshold < _ALIKE:
        return -np.inf
    exceedances = np.exp(above - above[0]) * -np.expm1(threshold - above)
    return pareto_shape(exceedances) if exceedances.all() else np.inf


def _relative_variance(sums: WeightSums) -> float:
    return sums.spread / sums.n / sums.mean**2


def _largest(log_w: Array, keep: int) -> Array:
    return -np.sort(-log_w)[:keep]

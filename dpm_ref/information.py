"""Entropies and Kullback-Leibler divergences of one component; logits; log mean exp.

    KL(q || p) = E_q[log q - log p]         H(q) = -E_q[log q]

The divergences are written with psi(x) = x - log(1 + x) >= 0, x a relative difference of variances
or probabilities. The obvious formulas subtract numbers of order one for a result of order x^2, and
lose every digit when the laws are nearly equal; psi is evaluated without that cancellation, so a
divergence is never negative, and zero only where the laws are equal. Equations (14) and (24) of
arXiv:1503.03585 are sums of these.

P(x = 0) of a bit is 1 - P(x = 1) by default; give it where the subtraction would lose digits. In a
pair of both the smaller member is taken as exact, the larger as its complement. A leading
underscore marks the core of a public function, which does not validate.
"""

from __future__ import annotations

import math

import numpy as np

from dpm_ref import validation
from dpm_ref.validation import Array, ArrayLike

__all__ = ["gaussian_kl", "gaussian_entropy", "bernoulli_kl", "bernoulli_entropy",
           "probability_pair", "logit", "log_mean_exp"]

LOG_2PIE = 2.8378770664093453  # log(2 pi e), correctly rounded


def gaussian_kl(mean_q: ArrayLike, var_q: ArrayLike, mean_p: ArrayLike, var_p: ArrayLike) -> Array:
    """KL( N(mean_q, var_q) || N(mean_p, var_p) ) of scalar Gaussians, elementwise (broadcast).

    KL = [ psi((var_q - var_p) / var_p) + (mean_q - mean_p)^2 / var_p ] / 2, the terms of K in (14).
    Accurate to 8 ulp, never negative, 0 if and only if the laws are equal (barring underflow).

    >>> print(f"{gaussian_kl(0.0, 1.0, 1.0, 2.0):.6f}")
    0.346574
    """
    return _gaussian_kl(*validation.broadcast(
        mean_q=validation.finite("mean_q", mean_q), var_q=validation.positive("var_q", var_q),
        mean_p=validation.finite("mean_p", mean_p), var_p=validation.positive("var_p", var_p)))


def _gaussian_kl(mq: Array, vq: Array, mp: Array, vp: Array) -> Array:
    with np.errstate(over="ignore"):  # a divergence beyond 1e308 is inf
        deviation = (mq - mp) / np.sqrt(vp)
        return np.asarray(_half_psi_of_ratio(vq, vp) + 0.5 * deviation * deviation)


def gaussian_entropy(var: ArrayLike) -> Array:
    """Differential entropy of N(mean, var), log(2 pi e var) / 2, elementwise, to max(4 ulp, 2 eps).

    >>> print(f"{gaussian_entropy(1.0):.6f}")
    1.418939
    """
    return _gaussian_entropy(validation.positive("var", var))


def _gaussian_entropy(var: Array) -> Array:
    return np.asarray(0.5 * (LOG_2PIE + np.log(var)))


def probability_pair(prob1: ArrayLike, prob0: ArrayLike | None = None,
                     name: str = "prob") -> tuple[Array, Array]:
    """(P(x = 1), P(x = 0)) of a bit: the smaller member as given, the larger its complement.

    The two must sum to 1 within 4 eps of their dtype; `name` is what error messages call them.

    >>> print("%.6f %.6f" % probability_pair(0.25))
    0.250000 0.750000
    """
    p1 = validation.probability(f"{name}1", prob1)
    if prob0 is None:
        return p1.copy(), np.asarray(1.0 - p1)
    p0 = validation.probability(f"{name}0", prob0)
    p1, p0 = validation.broadcast(**{f"{name}1": p1, f"{name}0": p0})
    off, rule = 4 * max(map(validation.rounding, (prob1, prob0))), "be 1 within rounding"
    validation.ruled(f"{name}1 + {name}0", p1 + p0, rule, lambda both: np.abs(both - 1.0) <= off)
    return _pair(p1, p0)


def _pair(p1: Array, p0: Array) -> tuple[Array, Array]:
    """The smaller member as it is, the larger as its complement."""
    first = p1 <= p0
    return np.where(first, p1, 1.0 - p0), np.where(first, 1.0 - p1, p0)


def bernoulli_kl(q1: ArrayLike, p1: ArrayLike, q0: ArrayLike | None = None,
                 p0: ArrayLike | None = None) -> Array:
    """KL( B(q1) || B(p1) ) of single bits, elementwise (broadcast).

    KL = q1 psi((p1 - q1) / q1) + q0 psi((p0 - q0) / q0), the terms of K in (14). Give q0 and p0
    where 1 - q1 or 1 - p1 would lose digits. Accurate to 8 ulp, never negative, 0 if and only if
    the laws are equal (barring underflow); inf where p excludes what q allows.

    >>> print(f"{bernoulli_kl(0.5, 0.25):.6f}")
    0.143841
    """
    a1, a0 = probability_pair(q1, q0, "q")
    b1, b0 = probability_pair(p1, p0, "p")
    return _bernoulli_kl(*validation.broadcast(q1=a1, q0=a0, p1=b1, p0=b0))


def _bernoulli_kl(q1: Array, q0: Array, p1: Array, p0: Array) -> Array:
    difference = _difference(p1, p0, q1, q0)
    return np.asarray(_weighted_psi(q1, p1, difference) + _weighted_psi(q0, p0, -difference))


def bernoulli_entropy(p1: ArrayLike, p0: ArrayLike | None = None) -> Array:
    """Entropy of a bit, -p1 log p1 - p0 log p0, elementwise, to 4 ulp; +0.0 at p1 = 0 and 1.

    >>> print(f"{bernoulli_entropy(0.25):.6f}")
    0.562335
    """
    return _bernoulli_entropy(*probability_pair(p1, p0, "p"))


def _bernoulli_entropy(p1: Array, p0: Array) -> Array:
    small = np.minimum(p1, p0)
    log = np.log(np.where(small > 0, small, 1.0))
    return np.asarray(0.0 - small * log - (1.0 - small) * np.log1p(-small))


def _difference(b1: Array, b0: Array, a1: Array, a0: Array) -> Array:
    """b1 - a1 from the exact, smaller member of each pair; by way of 1/2 if only one is prob1."""
    b_first, a_first = b1 <= b0, a1 <= a0
    opposite = np.where(b_first, (b1 - 0.5) + (a0 - 0.5), (0.5 - b0) + (0.5 - a1))
    return np.where(b_first & a_first, b1 - a1, np.where(~b_first & ~a_first, a0 - b0, opposite))


def _log_ratio(a: Array, b: Array, difference: Array) -> Array:
    """log(a / b) given an accurate a - b; log a - log b where a / b under- or overflows."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        ratio = a / b
        inside = (ratio > np.finfo(np.float64).tiny) & (ratio < np.inf)
        far = np.where(inside, np.log(ratio), np.log(a) - np.log(b))
        near = (ratio > 0.5) & (ratio < 2.0)
        return np.where(near, np.log1p(np.where(near, difference / b, 0.0)), far)


def _psi_near(x: Array) -> Array:
    """psi(x) = x - log(1 + x) on (-2/3, 2), without cancellation.

    With s = x / (2 + x), log(1 + x) = 2 artanh(s), so psi = s (x - 2 s^2 sum_k s^(2k) / (2k + 3)).
    """
    s = x / (2.0 + x)
    square = s * s
    series = np.zeros_like(s)
    for k in range(30, -1, -1):  # s^2 <= 1/4, so the last term is below 1e-19
        series = series * square + 1.0 / (2 * k + 3)
    return np.asarray(s * (x - 2.0 * square * series))


def _half_psi_of_ratio(a: Array, b: Array) -> Array:
    """psi(a / b - 1) / 2 for a, b > 0; a is halved first, since a / b may overflow."""
    x = (a - b) / b
    near = (x > -0.5) & (x < 2.0)
    half = np.where(a > 1e-300, 0.5 * a / b, 0.5 * (a / b))  # half of a subnormal is not exact
    far = (half - 0.5) - 0.5 * _log_ratio(a, b, a - b)
    return np.where(near, 0.5 * _psi_near(np.where(near, x, 0.0)), far)


def _weighted_psi(a: Array, b: Array, difference: Array) -> Array:
    """a psi(b / a - 1) given an accurate b - a; its limit b at a = 0, and inf at b = 0 < a."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = difference / a
        near = (x > -0.5) & (x < 2.0)
        far = np.where(a > 0, difference - a * _log_ratio(b, a, difference), b)
        return np.where(near, a * _psi_near(np.where(near, x, 0.0)), far)


def logit(p1: ArrayLike, p0: ArrayLike | None = None) -> Array:
    """log(p1 / p0), elementwise, to 4 ulp; -inf at p1 = 0 and +inf at p1 = 1.

    >>> print("%.6f" % logit(0.75))
    1.098612
    """
    a1, a0 = probability_pair(p1, p0, "p")
    return np.asarray(_log_ratio(a1, a0, _difference(a1, a0, a0, a1)))


def _bernoulli_kl_from_logits(a: Array, b: Array) -> Array:
    """KL( B(sigmoid(a)) || B(sigmoid(b)) ), elementwise, to 16 ulp.

    KL = q1 psi(p0 (exp(b - a) - 1)) + q0 psi(p1 (exp(a - b) - 1)) for logits at most 1 apart,
    q1 log(q1/p1) + q0 log(q0/p0) beyond. Never negative, 0 if and only if the logits are equal.
    """
    q1, q0, p1, p0 = _sigmoid(a), _sigmoid(-a), _sigmoid(b), _sigmoid(-b)
    with np.errstate(over="ignore", invalid="ignore"):  # logits 1e308 apart
        step = np.clip(b - a, -1.0, 1.0)
        near = q1 * _psi_near(p0 * np.expm1(step)) + q0 * _psi_near(p1 * np.expm1(-step))
        far = q1 * _log_sigmoid_difference(a, b) + q0 * _log_sigmoid_difference(-a, -b)
        return np.where(np.abs(a - b) <= 1.0, near, far)


def _sigmoid(a: Array) -> Array:
    small = np.exp(-np.abs(a))
    return np.where(a >= 0, 1.0, small) / (1.0 + small)


def _log_sigmoid_difference(a: Array, b: Array) -> Array:
    """log sigmoid(a) - log sigmoid(b), subtracting the large parts first."""
    small_part = np.log1p(np.exp(-np.abs(a))) - np.log1p(np.exp(-np.abs(b)))
    return np.asarray((np.minimum(a, 0.0) - np.minimum(b, 0.0)) - small_part)


def log_mean_exp(values: ArrayLike, axis: int = -1) -> Array:
    """log of the mean of exp(values) along an axis; -inf stands for a weight of 0.

    With y the mean of exp(l - max) - 1 it is max + log(1 + y) while y > -1/2, so that nearly equal
    weights keep their digits, and max + log mean exp(l - max) otherwise; -inf if all weights are 0.
    Accurate to 2 eps max(|max|, |result|). The estimate of equation (9).

    >>> print("%.6f" % log_mean_exp([0.0, 1.0986122886681098]))
    0.693147
    """
    array = validation.below_infinity("values", values)
    axis = validation.one_time("axis", axis, -array.ndim, array.ndim - 1)
    rows = np.moveaxis(array, axis, -1)
    validation.checked("axis", axis, f"be of length >= 1 in {array.shape}", rows.shape[-1] > 0)
    peak = np.nan_to_num(rows.max(-1, keepdims=True))  # finite where all weights are 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        below = rows - peak
        back = below - rows
        rounding = (rows - (below - back)) - (peak + back)  # what `below` lost, exactly
        weights = np.exp(below)
        rest = np.where(np.isfinite(rounding), weights * rounding, 0.0)
        y = _exact_sum(np.concatenate([np.expm1(below), rest], -1)) / rows.shape[-1]
        far = np.log(_exact_sum(weights) / rows.shape[-1])
        return np.asarray(peak[..., 0] + np.where(y > -0.5, np.log1p(np.maximum(y, -0.5)), far))


def _exact_sum(terms: Array) -> Array:
    rows = terms.reshape(-1, terms.shape[-1])
    return np.array([math.fsum(row) for row in rows]).reshape(terms.shape[:-1])

"""Entropies and Kullback-Leibler divergences of one component, in nats, each with its derivative.

    KL(q || p) = E_q[log q - log p]         H(q) = -E_q[log q]

Both divergences are sums of terms v psi(x) with psi(x) = x - log(1 + x) >= 0, where x is the relative difference of the
two laws. The obvious formulas subtract numbers of order one to get a result of order x^2, and lose every digit when the
laws are nearly equal; psi is evaluated without that cancellation, so a divergence is never negative and is zero only
where the laws are equal.

A pair of probabilities (prob1, prob0) is read so: the smaller member is exact, the larger is its complement. Where only
prob1 is given, the same holds for 1 - prob1.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, equations (14) and (24), Table App.1.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, xlog1py, xlogy

from dpm_ref import validation
from dpm_ref.validation import Array

__all__ = ["GaussianKLGrad", "BernoulliKLGrad", "gaussian_kl", "gaussian_kl_grad", "gaussian_entropy", "gaussian_entropy_grad",
           "gaussian_entropy_difference", "bernoulli_kl", "bernoulli_kl_grad", "bernoulli_entropy", "bernoulli_entropy_grad",
           "probability_pair", "to_bits", "logit", "log_sigmoid", "bernoulli_kl_from_logits",
           "log_mean_exp"]

LOG_2PIE = 2.8378770664093453  # log(2 pi e), correctly rounded
_TINY = np.finfo(np.float64).tiny


class GaussianKLGrad(NamedTuple):
    """Derivatives of a Gaussian KL with respect to its four arguments, elementwise."""

    mean_q: Array
    var_q: Array
    mean_p: Array
    var_p: Array


class BernoulliKLGrad(NamedTuple):
    """Derivatives of a Bernoulli KL with respect to P(x = 1) of either law, elementwise."""

    q1: Array
    p1: Array


def to_bits(nats: npt.ArrayLike) -> Array:
    """Nats in bits: nats / ln 2.

    Parameters
    ----------
    nats : array_like, (...), nats

    Returns
    -------
    ndarray, (...), bits, accurate to 2 ulp

    Raises
    ------
    ValueError
        If the argument is not real, since nothing else can be an amount of information.

    Notes
    -----
    The paper computes in nats and reports bits (Table 1).

    >>> print(f"{to_bits(1.0):.6f}")
    1.442695
    """
    return np.asarray(validation.real("nats", nats) / np.log(2.0))


def gaussian_kl(mean_q: npt.ArrayLike, var_q: npt.ArrayLike, mean_p: npt.ArrayLike, var_p: npt.ArrayLike) -> Array:
    """KL( N(mean_q, var_q) || N(mean_p, var_p) ) of scalar Gaussians, elementwise.

    KL = [ psi((var_q - var_p) / var_p) + (mean_q - mean_p)^2 / var_p ] / 2,   psi(x) = x - log(1 + x)

    Parameters
    ----------
    mean_q, var_q, mean_p, var_p : array_like, shapes that broadcast to (...)
        Means (any unit) and variances (that unit squared), variances > 0.

    Returns
    -------
    ndarray, (...), nats
        Accurate to 8 ulp, never negative, 0 if and only if the laws are equal (short of underflow).

    Raises
    ------
    ValueError
        If an argument is not finite, a variance is not positive (a point mass has no density), or shapes do not broadcast.

    Notes
    -----
    The terms of the bound K, equation (14), Gaussian column.

    >>> print(f"{gaussian_kl(0.0, 1.0, 1.0, 2.0):.6f}")
    0.346574
    """
    mq, vq, mp, vp = _gaussian_pair(mean_q, var_q, mean_p, var_p)
    with np.errstate(over="ignore"):  # a divergence beyond 1e308 is inf
        difference = mq - mp
        return np.asarray(0.5 * (_psi_of_ratio(vq, vp) + difference / vp * difference))


def gaussian_kl_grad(mean_q: npt.ArrayLike, var_q: npt.ArrayLike, mean_p: npt.ArrayLike, var_p: npt.ArrayLike) -> GaussianKLGrad:
    """Derivatives of `gaussian_kl`, elementwise.

    KL = [ var_q/var_p - 1 - log(var_q/var_p) + (mean_q - mean_p)^2 / var_p ] / 2
        d/d mean_q = (mean_q - mean_p) / var_p
        d/d var_q  = (1/var_p - 1/var_q) / 2
        d/d mean_p = (mean_p - mean_q) / var_p
        d/d var_p  = [ (var_p - var_q) - (mean_q - mean_p)^2 ] / (2 var_p^2)
    All vanish where the laws are equal; the derivative by var_p vanishes at the moment match var_q + (mean_q - mean_p)^2.

    Parameters
    ----------
    mean_q, var_q, mean_p, var_p : array_like, shapes that broadcast to (...)

    Returns
    -------
    GaussianKLGrad of ndarrays, each (...), nats per unit of the argument

    Raises
    ------
    ValueError
        As `gaussian_kl`.

    Notes
    -----
    For the gradient of K, equation (14).

    >>> print(f"{gaussian_kl_grad(0.0, 1.0, 1.0, 2.0).mean_p:.6f}")
    0.500000
    """
    mq, vq, mp, vp = _gaussian_pair(mean_q, var_q, mean_p, var_p)
    with np.errstate(over="ignore"):
        difference = mq - mp
        slope = difference / vp
        return GaussianKLGrad(slope, 0.5 * (vq - vp) / vp / vq, -slope, 0.5 * ((vp - vq) / vp - slope * difference) / vp)


def gaussian_entropy(var: npt.ArrayLike) -> Array:
    """Differential entropy of N(mean, var), elementwise: H = log(2 pi e var) / 2.

    Parameters
    ----------
    var : array_like, (...), variances > 0

    Returns
    -------
    ndarray, (...), nats, accurate to 4 ulp or 2 eps absolute, whichever is larger

    Raises
    ------
    ValueError
        If a variance is not positive and finite.

    Notes
    -----
    The entropies of equations (14) and (24).

    >>> print(f"{gaussian_entropy(1.0):.6f}")
    1.418939
    """
    return np.asarray(0.5 * (LOG_2PIE + np.log(validation.positive("var", var))))


def gaussian_entropy_grad(var: npt.ArrayLike) -> Array:
    """Derivative of `gaussian_entropy`, elementwise: dH / d var = 1 / (2 var); it vanishes nowhere.

    Parameters
    ----------
    var : array_like, (...), variances > 0

    Returns
    -------
    ndarray, (...), nats per unit of variance

    Raises
    ------
    ValueError
        If a variance is not positive and finite.

    Notes
    -----
    For the gradient of K, equation (14), by the diffusion rate (2.4.1).

    >>> print(f"{gaussian_entropy_grad(2.0):.6f}")
    0.250000
    """
    return np.asarray(0.5 / validation.positive("var", var))


def gaussian_entropy_difference(var_a: npt.ArrayLike, var_b: npt.ArrayLike) -> Array:
    """H(N(., var_a)) - H(N(., var_b)) = log(var_a / var_b) / 2, without cancellation, elementwise.

    Parameters
    ----------
    var_a, var_b : array_like, shapes that broadcast to (...), variances > 0

    Returns
    -------
    ndarray, (...), nats, accurate to 4 ulp

    Raises
    ------
    ValueError
        If a variance is not positive and finite, or shapes do not broadcast.

    Notes
    -----
    The differences of entropies in equations (14) and (24).

    >>> print(f"{gaussian_entropy_difference(2.0, 1.0):.6f}")
    0.346574
    """
    a, b = validation.broadcast(var_a=validation.positive("var_a", var_a), var_b=validation.positive("var_b", var_b))
    return np.asarray(0.5 * _log_ratio(a, b, a - b))


def probability_pair(prob1: npt.ArrayLike, prob0: npt.ArrayLike | None = None, name: str = "prob") -> tuple[Array, Array]:
    """A Bernoulli law's (P(x = 1), P(x = 0)), both accurate: the smaller member as given, the larger its complement.

    Parameters
    ----------
    prob1, prob0 : array_like, shapes that broadcast to (...), probabilities
        Where prob0 is None it is 1 - prob1.
    name : str
        What the arguments are called in an error: `name` with 1 or 0 behind it.

    Returns
    -------
    (ndarray, ndarray), each (...), dimensionless

    Raises
    ------
    ValueError
        If a member lies outside [0, 1], or a pair does not sum to 1 within 4 eps of its dtype (it is then no law).

    Notes
    -----
    Table App.1, binomial column.

    >>> print("%.6f %.6f" % probability_pair(0.25))
    0.250000 0.750000
    """
    p1 = validation.probability(f"{name}1", prob1)
    if prob0 is None:
        return p1, np.asarray(1.0 - p1)
    p1, p0 = validation.broadcast(**{f"{name}1": p1, f"{name}0": validation.probability(f"{name}0", prob0)})
    off = np.abs(p1 + p0 - 1.0)
    if (off > 4 * max(validation.rounding(prob1), validation.rounding(prob0))).any():
        raise ValueError(f"{name}1 + {name}0 must be 1 within rounding, got a pair off by {off.max():.3g}")
    first = p1 <= p0
    return np.where(first, p1, 1.0 - p0), np.where(first, 1.0 - p1, p0)


def bernoulli_kl(q1: npt.ArrayLike, p1: npt.ArrayLike, q0: npt.ArrayLike | None = None, p0: npt.ArrayLike | None = None) -> Array:
    """KL( B(q1) || B(p1) ) of single bits, elementwise.

    KL = q1 psi((p1 - q1) / q1) + q0 psi((p0 - q0) / q0),   psi(x) = x - log(1 + x),   q0 = 1 - q1, p0 = 1 - p1

    Parameters
    ----------
    q1, p1 : array_like, shapes that broadcast to (...)
        P(x = 1) of either law.
    q0, p0 : array_like, optional
        P(x = 0), to be given where 1 - q1 or 1 - p1 would lose digits.

    Returns
    -------
    ndarray, (...), nats
        Accurate to 8 ulp, never negative, 0 if and only if the laws are equal (short of underflow); KL(0 || 0) = 0, and
        inf where p excludes what q allows.

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1], a pair does not sum to 1, or shapes do not broadcast.

    Notes
    -----
    The terms of the bound K, equation (14), binomial column.

    >>> print(f"{bernoulli_kl(0.5, 0.25):.6f}")
    0.143841
    """
    a1, a0, b1, b0 = _bernoulli_pairs(q1, p1, q0, p0)
    difference = _difference(b1, b0, a1, a0)
    return np.asarray(_weighted_psi(a1, b1, difference) + _weighted_psi(a0, b0, -difference))


def bernoulli_kl_grad(q1: npt.ArrayLike, p1: npt.ArrayLike, q0: npt.ArrayLike | None = None,
                      p0: npt.ArrayLike | None = None) -> BernoulliKLGrad:
    """Derivatives of `bernoulli_kl` by q1 and p1, the other members following as complements, elementwise.

    KL = q1 log(q1/p1) + (1 - q1) log((1 - q1)/(1 - p1))
        d/d q1 = log(q1/p1) - log(q0/p0) = logit q1 - logit p1
        d/d p1 = (p1 - q1) / (p1 p0)
    Both vanish where the laws are equal.

    Parameters
    ----------
    q1, p1, q0, p0 : array_like, shapes that broadcast to (...)
        As for `bernoulli_kl`.

    Returns
    -------
    BernoulliKLGrad of ndarrays, each (...), nats; infinite or nan where a law is a point mass

    Raises
    ------
    ValueError
        As `bernoulli_kl`.

    Notes
    -----
    For the gradient of K, equation (14), binomial column.

    >>> print(f"{bernoulli_kl_grad(0.5, 0.25).p1:.6f}")
    -1.333333
    """
    a1, a0, b1, b0 = _bernoulli_pairs(q1, p1, q0, p0)
    difference = _difference(b1, b0, a1, a0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        by_q = _log_ratio(a1, b1, -difference) - _log_ratio(a0, b0, difference)  # of opposite signs, so nothing cancels
        return BernoulliKLGrad(np.where(difference == 0, 0.0, by_q), np.where(difference == 0, 0.0, difference / b1 / b0))


def bernoulli_entropy(p1: npt.ArrayLike, p0: npt.ArrayLike | None = None) -> Array:
    """Entropy of a bit B(p1), elementwise: H = -p1 log p1 - p0 log p0, with H = +0.0 at p1 = 0 and 1.

    Parameters
    ----------
    p1 : array_like, (...), P(x = 1)
    p0 : array_like, optional
        P(x = 0), to be given where 1 - p1 would lose digits.

    Returns
    -------
    ndarray, (...), nats, accurate to 4 ulp

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1] or a pair does not sum to 1.

    Notes
    -----
    The entropies of equations (14) and (24), binomial column.

    >>> print(f"{bernoulli_entropy(0.25):.6f}")
    0.562335
    """
    a1, a0 = probability_pair(p1, p0, "p")
    small = np.minimum(a1, a0)
    return np.asarray(0.0 - xlogy(small, small) - xlog1py(1.0 - small, -small))


def bernoulli_entropy_grad(p1: npt.ArrayLike, p0: npt.ArrayLike | None = None) -> Array:
    """Derivative of `bernoulli_entropy` by p1, elementwise: dH / d p1 = log(p0 / p1); it vanishes at 1/2.

    Parameters
    ----------
    p1, p0 : array_like, (...)
        As for `bernoulli_entropy`.

    Returns
    -------
    ndarray, (...), nats; +inf at p1 = 0 and -inf at p1 = 1

    Raises
    ------
    ValueError
        As `bernoulli_entropy`.

    Notes
    -----
    For the gradient of K, equation (14), binomial column.

    >>> print(f"{bernoulli_entropy_grad(0.25):.6f}")
    1.098612
    """
    a1, a0 = probability_pair(p1, p0, "p")
    with np.errstate(divide="ignore"):
        return np.asarray(_log_ratio(a0, a1, _difference(a0, a1, a1, a0)))


def _gaussian_pair(mean_q: npt.ArrayLike, var_q: npt.ArrayLike, mean_p: npt.ArrayLike, var_p: npt.ArrayLike) -> list[Array]:
    return validation.broadcast(mean_q=validation.finite("mean_q", mean_q), var_q=validation.positive("var_q", var_q),
                            mean_p=validation.finite("mean_p", mean_p), var_p=validation.positive("var_p", var_p))


def _bernoulli_pairs(q1: npt.ArrayLike, p1: npt.ArrayLike, q0: npt.ArrayLike | None, p0: npt.ArrayLike | None) -> list[Array]:
    a1, a0 = probability_pair(q1, q0, "q")
    b1, b0 = probability_pair(p1, p0, "p")
    return validation.broadcast(q1=a1, q0=a0, p1=b1, p0=b0)


def _difference(b1: Array, b0: Array, a1: Array, a0: Array) -> Array:
    """b1 - a1 from the exact members of either pair: both small ones, both complements, or either side of a half."""
    b_first, a_first = b1 <= b0, a1 <= a0
    opposite = np.where(b_first, (b1 - 0.5) + (a0 - 0.5), (0.5 - b0) + (0.5 - a1))
    return np.where(b_first & a_first, b1 - a1, np.where(~b_first & ~a_first, a0 - b0, opposite))


def _log_ratio(a: Array, b: Array, difference: Array) -> Array:
    """log(a / b) for a, b >= 0, where `difference` is an accurate a - b; where a / b leaves the floats, log a - log b."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        ratio = a / b
        far = np.where((ratio > _TINY) & (ratio < np.inf), np.log(ratio), np.log(a) - np.log(b))
        near = (ratio > 0.5) & (ratio < 2.0)
        return np.where(near, np.log1p(np.where(near, difference / b, 0.0)), far)


def _psi_near(x: Array) -> Array:
    """psi(x) = x - log(1 + x) on (-0.5, 2), without cancellation.

    With s = x / (2 + x), log(1 + x) = 2 artanh(s), so psi = s (x - 2 s^2 sum_k s^(2k) / (2k + 3)).
    """
    s = x / (2.0 + x)
    square = s * s
    series = np.zeros_like(s)
    for k in range(30, -1, -1):  # s^2 <= 1/4, so the last term is below 1e-19
        series = series * square + 1.0 / (2 * k + 3)
    return np.asarray(s * (x - 2.0 * square * series))


def _psi_of_ratio(a: Array, b: Array) -> Array:
    """psi(a / b - 1) for a, b > 0."""
    x = (a - b) / b
    near = (x > -0.5) & (x < 2.0)
    return np.where(near, _psi_near(np.where(near, x, 0.0)), (a / b - 1.0) - _log_ratio(a, b, a - b))


def _weighted_psi(a: Array, b: Array, difference: Array) -> Array:
    """a psi(b / a - 1) with `difference` an accurate b - a; its limit b at a = 0, and inf at b = 0 < a."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = difference / a
        near = (x > -0.5) & (x < 2.0)
        far = np.where(a > 0, difference - a * _log_ratio(b, a, difference), b)
        return np.where(near, a * _psi_near(np.where(near, x, 0.0)), far)


def logit(p1: npt.ArrayLike, p0: npt.ArrayLike | None = None) -> Array:
    """log(p1 / p0), the logit of a bit's probability, elementwise.

    Parameters
    ----------
    p1 : array_like, (...), P(x = 1)
    p0 : array_like, optional
        P(x = 0), to be given where 1 - p1 would lose digits.

    Returns
    -------
    ndarray, (...), nats, accurate to 4 ulp; -inf at p1 = 0 and +inf at p1 = 1

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1] or a pair does not sum to 1.

    Notes
    -----
    The inverse of Table App.1's sigmoid, and minus the derivative of the entropy by p1.

    >>> print("%.6f" % logit(0.75))
    1.098612
    """
    return np.asarray(0.0 - bernoulli_entropy_grad(p1, p0))


def log_sigmoid(a: npt.ArrayLike) -> Array:
    """log sigmoid(a) = min(a, 0) - log(1 + exp(-|a|)), elementwise.

    Parameters
    ----------
    a : array_like, (...), logits

    Returns
    -------
    ndarray, (...), nats, accurate to 4 ulp

    Raises
    ------
    ValueError
        If a logit is not finite.

    Notes
    -----
    The log probability of a bit under Table App.1's sigmoid readout.

    >>> print("%.6f" % log_sigmoid(0.0))
    -0.693147
    """
    a = validation.finite("a", a)
    return np.asarray(np.minimum(a, 0.0) - np.log1p(np.exp(-np.abs(a))))


def bernoulli_kl_from_logits(a_q: npt.ArrayLike, a_p: npt.ArrayLike) -> Array:
    """KL( B(sigmoid(a_q)) || B(sigmoid(a_p)) ), elementwise.

    With q1, q0 = sigmoid(+-a_q) and so for p, within a distance of 1 the form q1 psi((p1 - q1) / q1) + q0 psi((p0 - q0) / q0)
    of `bounds.bernoulli_kl`, in which p1 - q1 = q1 p0 (exp(a_p - a_q) - 1); beyond, q1 log(q1/p1) + q0 log(q0/p0).

    Parameters
    ----------
    a_q, a_p : array_like, shapes that broadcast to (...)
        Logits of either law.

    Returns
    -------
    ndarray, (...), nats, accurate to 16 ulp, never negative, 0 if and only if the logits are equal (short of underflow)

    Raises
    ------
    ValueError
        If a logit is not finite, or shapes do not broadcast.

    Notes
    -----
    A term of equation (14), binomial column.

    >>> print("%.6f" % bernoulli_kl_from_logits(0.0, -1.0986122886681098))
    0.143841
    """
    a, b = validation.broadcast(a_q=validation.finite("a_q", a_q), a_p=validation.finite("a_p", a_p))
    q1, q0, p1, p0 = expit(a), expit(-a), expit(b), expit(-b)
    with np.errstate(over="ignore", invalid="ignore"):  # where the logits are far apart, the other form is taken
        difference = np.where(b <= a, q1 * p0 * np.expm1(b - a), -p1 * q0 * np.expm1(a - b))
        far = q1 * _log_sigmoid_difference(a, b) + q0 * _log_sigmoid_difference(-a, -b)
        near = np.abs(a - b) <= 1.0
    return np.where(near, _weighted_psi(q1, p1, difference) + _weighted_psi(q0, p0, -difference), far)


def log_mean_exp(values: npt.ArrayLike, axis: int = -1) -> Array:
    """log of the mean of exp(values) along an axis.

    Parameters
    ----------
    values : array_like, shape (..., n, ...), nats
        Logarithms of weights; -inf stands for a weight of 0.
    axis : int

    Returns
    -------
    ndarray, shape of values without the axis, nats
        Accurate to 2 eps max(|max|, |result|), max the largest value; -inf where all weights are 0.

    Raises
    ------
    ValueError
        If a value is nan or +inf, the axis does not exist or is empty.

    Notes
    -----
    The estimate of log p(x^0), equation (9). With y the mean of exp(l - max) - 1 it is max + log(1 + y) as long as y > -1/2, so that
    nearly equal weights keep their digits, and max + log mean exp(l - max) beyond.

    >>> print("%.6f" % log_mean_exp([0.0, 1.0986122886681098]))
    0.693147
    """
    array = validation.below_infinity("values", values)
    if not -array.ndim <= axis < array.ndim or array.shape[axis] == 0:
        raise ValueError(f"axis must be one of values' {array.ndim} axes, of length >= 1, got {axis} for shape {array.shape}")
    peak = array.max(axis, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    below, lost = _exact_difference(array, peak)
    with np.errstate(divide="ignore"):
        close, missed = _exact_mean(axis, np.expm1(below), lost)
        near = np.log1p(np.maximum(close, -0.5)) + missed / (1.0 + np.maximum(close, -0.5))
        tail = np.where(close > -0.5, near, np.log(_exact_mean(axis, np.exp(below))[0]))
    return np.asarray(np.squeeze(peak, axis) + tail)


def _exact_difference(a: Array, b: Array) -> tuple[Array, Array]:
    """a - b, and what rounding took from it (0 where a is -inf)."""
    result = a - b
    with np.errstate(invalid="ignore"):
        back = result - a
        lost = (a - (result - back)) - (b + back)
    return result, np.where(np.isfinite(result), lost, 0.0)


def _exact_mean(axis: int, values: Array, *corrections: Array) -> tuple[Array, Array]:
    """The mean along an axis, as the nearest float and what that misses."""
    terms = [values, *corrections]
    n = values.shape[axis]
    mean = np.apply_along_axis(math.fsum, axis, np.concatenate(terms, axis)) / n
    again = np.broadcast_to(np.expand_dims(-mean, axis), values.shape)
    return np.asarray(mean), np.asarray(np.apply_along_axis(math.fsum, axis, np.concatenate([*terms, again], axis)) / n)


def _log_sigmoid_difference(a: Array, b: Array) -> Array:
    """log sigmoid(a) - log sigmoid(b), the large parts subtracted first."""
    return np.asarray((np.minimum(a, 0.0) - np.minimum(b, 0.0)) - (np.log1p(np.exp(-np.abs(a))) - np.log1p(np.exp(-np.abs(b)))))

"""Probabilities kept as logarithms: logits, their divergences, and means of weights.

    sigmoid(a) = 1 / (1 + exp(-a)),   logit p = log p - log(1 - p)

A network's output for a bit is a logit, and an importance weight is only known as a logarithm. Both hold numbers that float64
cannot (1e-400), so nothing here leaves the logarithm before it must.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1 (f_b through a sigmoid), equations (9) and (14).
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from dpm_ref import _doors
from dpm_ref._doors import Array
from dpm_ref.information import _weighted_psi, bernoulli_entropy_grad

__all__ = ["logit", "log_sigmoid", "bernoulli_kl_from_logits", "log_mean_exp"]


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
    a = _doors.finite("a", a)
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
    a, b = _doors.broadcast(a_q=_doors.finite("a_q", a_q), a_p=_doors.finite("a_p", a_p))
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
    array = _doors.below_infinity("values", values)
    if not -array.ndim <= axis < array.ndim or array.shape[axis] == 0:
        raise ValueError(f"axis must be one of values' {array.ndim} axes, of length >= 1, got {axis} for shape {array.shape}")
    peak = array.max(axis, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    below, lost = _difference(array, peak)
    with np.errstate(divide="ignore"):
        close, missed = _exact_mean(axis, np.expm1(below), lost)
        near = np.log1p(np.maximum(close, -0.5)) + missed / (1.0 + np.maximum(close, -0.5))
        tail = np.where(close > -0.5, near, np.log(_exact_mean(axis, np.exp(below))[0]))
    return np.asarray(np.squeeze(peak, axis) + tail)


def _difference(a: Array, b: Array) -> tuple[Array, Array]:
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

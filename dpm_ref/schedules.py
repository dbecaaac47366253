"""The diffusion rate beta_1..T, and everything that follows from it alone.

    abar_t = prod_{s<=t} (1 - beta_s)      the part kept of the signal's variance (Gaussian), or of
                                           the signal (binomial)
    1 - abar_t = (1 - abar_{t-1}) + abar_{t-1} beta_t
    posterior variance     beta_t (1 - abar_{t-1}) / (1 - abar_t)
    posterior coefficients sqrt(abar_{t-1}) beta_t / (1 - abar_t)              of x0
                           sqrt(1 - beta_t) (1 - abar_{t-1}) / (1 - abar_t)    of xt

A running product in float64 loses thousands of units in the last place by T = 10^4, and 1 - abar
all digits where beta is below 1e-16. The tables are therefore computed once, in `decimal` at 60
digits, by the recursion above, whose terms are all positive. Rounded at the end, each entry (but
for the two logarithms, taken in float64) is the float64 nearest to the truth on every platform.
Sections 2.1 and 2.4.1 of arXiv:1503.03585.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from dpm_ref import validation
from dpm_ref.validation import Array, ArrayLike

__all__ = ["Schedule", "constant", "linear", "cosine", "log_snr_linear", "constant_erasure"]

_EXACT = decimal.Context(prec=60, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)
_START = {"abar": Decimal(1), "one_minus_abar": Decimal(0)}  # t = 0
_HINTS = {"betas": "beta", "alphas_cumprod": "abar(t)", "num_timesteps": "T"}


class Schedule(validation.ReadOnly):
    """beta_1..T and the tables that follow from it, correctly rounded (0.5 ulp) unless stated.

    Tables are methods of an integer or integer array t in 1..T (2..T for the posterior's), and
    return arrays of t's shape.

    Parameters
    ----------
    beta : array_like, shape (T,), in (0, 1]
        Kept read-only as `beta`, its length as `T`. abar is 0 from a beta of 1 on.

    >>> schedule = Schedule([0.1, 0.2, 0.5])
    >>> print("%.6f %.6f" % (schedule.abar(3), schedule.posterior_var(2)))
    0.360000 0.071429
    """

    def __init__(self, beta: ArrayLike) -> None:
        rates, rule = validation.real("beta", beta), "have shape (T,) with T >= 1"
        validation.shaped("beta", rates, rule, rates.ndim == 1 and rates.size > 0)
        validation.ruled("beta", rates, "lie in (0, 1]", lambda x: (x > 0) & (x <= 1))
        self.beta, self.T = validation.own(rates), rates.size

    def abar(self, t: ArrayLike) -> Array:
        """abar_t = prod_{s<=t} (1 - beta_s)."""
        return self._at("abar", t)

    def one_minus_abar(self, t: ArrayLike) -> Array:
        """1 - abar_t, the Gaussian marginal's variance."""
        return self._at("one_minus_abar", t)

    def sqrt_abar(self, t: ArrayLike) -> Array:
        """sqrt(abar_t), the scale of x^0 in the Gaussian marginal."""
        return self._at("sqrt_abar", t)

    def sqrt_one_minus_abar(self, t: ArrayLike) -> Array:
        """sqrt(1 - abar_t), the Gaussian marginal's standard deviation."""
        return self._at("sqrt_one_minus_abar", t)

    def log_abar(self, t: ArrayLike) -> Array:
        """log abar_t to 4 ulp, finite even where abar_t underflows, -inf after a beta of 1."""
        return self._at("log_abar", t)

    def log_one_minus_abar(self, t: ArrayLike) -> Array:
        """log(1 - abar_t) to 4 ulp."""
        return self._at("log_one_minus_abar", t)

    def posterior_var(self, t: ArrayLike) -> Array:
        """beta_t (1 - abar_{t-1}) / (1 - abar_t), t >= 2."""
        return self._at("posterior_var", t, first=2)

    def posterior_coefficients(self, t: ArrayLike) -> tuple[Array, Array]:
        """The posterior mean's coefficients of x0 and of xt, t >= 2."""
        return self._at("coefficient_x0", t, first=2), self._at("coefficient_xt", t, first=2)

    def table(self, name: str, t: Any) -> Array:
        """Entries of a table at valid times."""
        return np.asarray(self._tables[name][np.asarray(t) - 1])

    def _at(self, name: str, t: ArrayLike, first: int = 1) -> Array:
        return self.table(name, validation.times("t", t, first, self.T))

    @cached_property
    def _tables(self) -> dict[str, Array]:
        """All tables at t = 1..T; at t = 1 the posterior is a point mass at x^0."""
        rows = list(accumulate(map(Decimal, self.beta.tolist()), _row, initial=_START))[1:]
        return {name: np.array([row[name] for row in rows], np.float64) for name in rows[0]}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return (self.beta.tobytes(),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(beta={validation.brief(self.beta)}, T={self.T})"

    def __getattr__(self, name: str) -> Any:
        hint = _HINTS.get(name, "beta, T, abar(t), one_minus_abar(t), posterior_var(t)")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; it has {hint}")


def _row(before: dict[str, Any], rate: Decimal) -> dict[str, Any]:
    """The entries at t, from those at t - 1 and beta_t."""
    x, last, last_om = _EXACT, before["abar"], before["one_minus_abar"]
    kept = x.subtract(Decimal(1), rate)
    abar, om = x.multiply(last, kept), x.add(last_om, x.multiply(last, rate))
    share = x.divide(rate, om)
    return {"abar": abar, "one_minus_abar": om,
            "sqrt_abar": x.sqrt(abar), "sqrt_one_minus_abar": x.sqrt(om),
            "log_abar": _log(abar, om), "log_one_minus_abar": _log(om, abar),
            "posterior_var": x.multiply(share, last_om),
            "coefficient_x0": x.multiply(share, x.sqrt(last)),
            "coefficient_xt": x.divide(x.multiply(x.sqrt(kept), last_om), om)}


def _log(value: Decimal, complement: Decimal) -> float:
    """log(value) for a value in [0, 1] given its complement to 1, even where float(value) is 0."""
    if value > complement:
        return math.log1p(-float(complement))
    if not value:
        return -math.inf
    below = min(0, value.adjusted() + 300)  # how far, in powers of ten, the floats' range is left
    return math.log(value.scaleb(-below, _EXACT)) + below * math.log(10.0)


def constant(T: int, beta: float) -> Array:
    """beta_t = beta at every t, in (0, 1): shape (T,), T >= 1.

    >>> constant(2, 0.25)
    array([0.25, 0.25])
    """
    return np.full(validation.count("T", T, 1), validation.fraction("beta", beta))


def linear(T: int, *, first: float = 1e-4, last: float = 0.02) -> Array:
    """beta_t linear in t, from beta_1 = first to beta_T = last, both in (0, 1): shape (T,), T >= 1.

    The defaults are Ho et al.'s (2020, arXiv:2006.11239) for T = 1000; with fewer steps, larger
    rates are needed to reach the prior. T = 1 has first alone.

    >>> linear(3, first=0.25, last=0.75)
    array([0.25, 0.5 , 0.75])
    """
    start, end = validation.fraction("first", first), validation.fraction("last", last)
    return np.linspace(start, end, validation.count("T", T, 1))


def cosine(T: int, *, offset: float = 0.008, largest: float = 0.999) -> Array:
    """abar_t = f(t/T) / f(0), f(u) = cos^2(pi/2 (u + offset) / (1 + offset)): beta (T,), T >= 1.

    Nichol and Dhariwal 2021, arXiv:2102.09672, equation (17). `offset`, in (0, 1), keeps beta_1
    away from 0. beta_t is capped at `largest`, in (0, 1), as part of the schedule's definition:
    without the cap beta_T = 1.

    >>> print("%.6f" % cosine(40)[0])
    0.002487
    """
    T, offset = validation.count("T", T, 1), validation.fraction("offset", offset)
    angle = 0.5 * np.pi * (np.arange(T + 1) / T + offset) / (1.0 + offset)
    before, after = angle[:-1], angle[1:]
    # 1 - cos^2 b / cos^2 a = sin(b - a) sin(b + a) / cos^2 a, where the left side cancels
    rates = np.sin(after - before) * np.sin(after + before) / np.cos(before) ** 2
    return np.asarray(np.minimum(rates, validation.fraction("largest", largest)))


def log_snr_linear(T: int, *, beta1: float, abar_T: float) -> Array:
    """The schedule whose log signal-to-noise ratio l_t = log(abar_t / (1 - abar_t)) is linear in t.

    Shape (T,), T >= 2. beta_t = sigmoid(-l_t) (1 - exp(l_t - l_{t-1})), without cancellation.
    beta1, in (0, 1), is kept small (section 2.4.1): about the variance that the last reverse step
    cannot undo. abar_T, in (0, 1 - beta1), is the part of the signal's variance left at T.

    >>> print("%.6f" % log_snr_linear(40, beta1=1e-5, abar_T=1e-3)[-1])
    0.376057
    """
    T, beta1 = validation.count("T", T, 2), validation.fraction("beta1", beta1)
    abar_T = validation.fraction("abar_T", abar_T)
    first, last = np.log1p(-beta1) - np.log(beta1), np.log(abar_T) - np.log1p(-abar_T)
    log_snr = np.linspace(first, last, T)
    rates = -np.expm1(np.diff(log_snr)) / (1.0 + np.exp(log_snr[1:]))
    rule = f"lie in (0, 1 - beta1), and no rate round to 0 or 1, with beta1 {beta1:g}"
    validation.checked("abar_T", abar_T, rule, bool(((rates > 0) & (rates < 1)).all()))
    return np.concatenate([[beta1], rates])


def constant_erasure(T: int) -> Array:
    """beta_t = 1 / (T - t + 1), the binomial column's schedule (section 2.4.1): shape (T,), T >= 1.

    Each step erases the same share 1/T of the signal: abar_t = (T - t) / T; beta_T = 1.

    >>> constant_erasure(4)[1:]
    array([0.33333333, 0.5       , 1.        ])
    """
    return 1.0 / np.arange(validation.count("T", T, 1), 0, -1)

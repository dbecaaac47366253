"""Factors that multiply a law in closed form: what is known of x from a noisy observation of it, in either column.

    GaussianFactor    r(x) = prod_i exp( -(x_i - m_i)^2 / (2 v_i) )        a noisy observation m of x; v = inf says nothing
    BernoulliFactor   r(x) = prod_i r_i(x_i)                               missing bits r(1) = r(0), flipped ones, known ones

Their products are closed forms, component by component:

    Gaussian   p = N(mu, s):   p~ = N( (mu + s m / v) / (1 + s / v), s / (1 + s / v) )
                               log Z~ = - [ log(1 + s / v) + (mu - m)^2 / (s + v) ] / 2
    binomial   p = B(c):       logit p~ = logit c + log r(1) - log r(0),   Z~ = c r(1) + (1 - c) r(0)

The second is Table App.1's perturbed kernel as it should read, c d / (c d + (1 - c)(1 - d)) with d = r(1) / (r(1) + r(0)); in print
an x_i stands for a c in the denominator, and the result is no probability.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5, equation (22), and Table App.1.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.gaussian import Gaussian, GaussianDiffusion
from dpm_ref.posteriors.factors import Product, exponent_of_r
from dpm_ref.schedules import Schedule
from dpm_ref.validation import Array

__all__ = ["GaussianFactor", "BernoulliFactor", "noisy_bits", "gaussian_likelihood"]


class GaussianFactor:
    """r(x) = exp(log_scale) prod_i exp( -(x_i - mean_i)^2 / (2 var_i) ): what is known of x from a noisy observation of it.

    Parameters
    ----------
    mean : array_like, shape (d,)
        The observation.
    var : float or array_like, shape (d,), > 0, the mean's unit squared
        The variance of its noise; inf where a component was not observed.
    log_scale : float, nats
        With -sum log(2 pi var_i) / 2 over the components observed, r is the observation's density given x, and Z its evidence.

    Raises
    ------
    ValueError
        If the mean is not finite, or a variance not positive: an observation without noise is a `Clamp`.

    Notes
    -----
    Section 2.5.2.

    >>> product = GaussianFactor([1.0], 1.0).multiply(Gaussian([0.0], 1.0))
    >>> print("%.6f %.6f %.6f" % (product.law.mean[0], product.law.var[0], product.log_z))
    0.500000 0.500000 -0.596574
    """

    positive = True

    def __init__(self, mean: npt.ArrayLike, var: npt.ArrayLike, log_scale: float = 0.0) -> None:
        spread = validation.real("var", var)
        if not (spread > 0).all():
            raise ValueError(f"var must be positive, or inf for no information, got {var!r}; an observation without noise is a Clamp")
        self.mean, self.var = validation.broadcast(mean=validation.finite("mean", mean), var=spread)
        if validation.vectors("mean", self.mean).ndim != 1:
            raise ValueError(f"mean must have shape (d,), got shape {self.mean.shape}")
        self.log_scale = float(validation.finite("log_scale", log_scale))

    def log_r(self, x: npt.ArrayLike) -> Array:
        """log r(x) at x (..., d): shape (...), nats; ValueError for x not finite or not of d components. Section 2.5."""
        x = validation.components("x", validation.finite("x", x), self.mean.size)
        return np.asarray(self.log_scale - 0.5 * ((x - self.mean) ** 2 / self.var).sum(-1))

    def multiply(self, law: Any) -> Product:
        """N(mu, s) r / Z~ and log Z~, exactly; laws over (..., d), nats; ValueError if the law is no Gaussian of d components. (22)."""
        p = Gaussian.like(law)
        validation.components("law", p.mean, self.mean.size)
        ratio = p.var / self.var
        log_z = self.log_scale - 0.5 * (np.log1p(ratio) + (p.mean - self.mean) ** 2 / (p.var + self.var)).sum(-1)
        return Product(Gaussian((p.mean + ratio * self.mean) / (1.0 + ratio), p.var / (1.0 + ratio)), np.asarray(log_z), p, self)

    def power(self, exponent: float) -> "GaussianFactor":
        """r to a power in [0, 1]: the variances divided by it; dimensionless, shape (d,). Section 2.5.3."""
        exponent = exponent_of_r(exponent)
        var = self.var / exponent if exponent else np.full(self.var.shape, np.inf)
        return GaussianFactor(self.mean, var, exponent * self.log_scale)

    def diffused(self, diffusion: Any, t: int) -> "GaussianFactor":
        """E r(x^0) for x^0 ~ N(sqrt(abar_t) x, (1 - abar_t) I), t in 0..T: shape (d,), dimensionless. Beyond section 2.5.

        ValueError unless the diffusion is a GaussianDiffusion.
        """
        if _time(diffusion, GaussianDiffusion, t) == 0:
            return self
        return gaussian_likelihood(diffusion, t, self.mean, self.var, self.log_scale - 0.5 * np.log1p(_lost(diffusion, t) / self.var).sum())


class BernoulliFactor:
    """r(x) = prod_i r_i(x_i) over bits, by the two values of each.

    Parameters
    ----------
    r1, r0 : array_like, shape (d,), >= 0, dimensionless
        r_i(1) and r_i(0): the same for a bit of which nothing is known, one of them 0 for a bit that is known. See `noisy_bits`.

    Raises
    ------
    ValueError
        If a value is negative, infinite or nan, or both values of a bit are 0: r would be zero everywhere.

    Notes
    -----
    Section 2.5.2 and Table App.1.

    >>> product = BernoulliFactor([3.0, 1.0], [1.0, 1.0]).multiply(Bernoulli([0.5, 0.2]))
    >>> print(product.law.prob1.round(6), "%.6f" % product.log_z)
    [0.75 0.2 ] 0.693147
    """

    def __init__(self, r1: npt.ArrayLike, r0: npt.ArrayLike) -> None:
        values = validation.broadcast(r1=_not_negative("r1", r1), r0=_not_negative("r0", r0))
        if (np.maximum(*values) == 0).any():
            raise ValueError(f"r1 and r0 must not both be 0 for a bit, or r is zero everywhere, got {r1!r} and {r0!r}")
        with np.errstate(divide="ignore"):
            self._set(np.log(values[0]), np.log(values[1]))

    def _set(self, log_r1: Array, log_r0: Array) -> None:
        if validation.vectors("r1", log_r1).ndim != 1:
            raise ValueError(f"r1 must have shape (d,), got shape {log_r1.shape}")
        self.log_r1, self.log_r0 = log_r1, log_r0

    @classmethod
    def from_logs(cls, log_r1: npt.ArrayLike, log_r0: npt.ArrayLike) -> "BernoulliFactor":
        """The factor with these log r_i(1) and log r_i(0), (d,) each, nats; ValueError if inf or nan, or both -inf. (22)."""
        logs = validation.broadcast(log_r1=validation.below_infinity("log_r1", log_r1), log_r0=validation.below_infinity("log_r0", log_r0))
        if (np.maximum(*logs) == -np.inf).any():
            raise ValueError("log_r1 and log_r0 must not both be -inf, or r is zero everywhere")
        factor = cls.__new__(cls)
        factor._set(*logs)
        return factor

    @property
    def positive(self) -> bool:
        """Whether r > 0 for all bits, a scalar without unit. Section 2.5."""
        return bool(np.isfinite(self.log_r1).all() and np.isfinite(self.log_r0).all())

    def log_r(self, x: npt.ArrayLike) -> Array:
        """log r(x) at bits x (..., d): shape (...), nats, -inf where r is 0; ValueError for anything but d bits. Section 2.5."""
        x = validation.components("x", validation.binary("x", x), self.log_r1.size)
        return np.asarray(np.where(x == 1, self.log_r1, self.log_r0).sum(-1))

    def multiply(self, law: Any) -> Product:
        """B(c) r / Z~ and log Z~, exactly; laws over (..., d), nats; ValueError if the law is no Bernoulli of d bits. Table App.1, (22).

        Where Z~ = 0 there is no product; the law is then p itself, and log Z~ = -inf.
        """
        p = Bernoulli.like(law)
        validation.components("law", p.prob1, self.log_r1.size)
        with np.errstate(divide="ignore"):
            logs = np.log(p.prob1) + self.log_r1, np.log(p.prob0) + self.log_r0
        log_z = np.logaddexp(*logs)
        possible = np.isfinite(log_z)
        shift = np.where(possible, log_z, 0.0)
        prob1, prob0 = (np.exp(part - shift) for part in logs)
        total = np.where(possible, prob1 + prob0, 1.0)
        bits = Bernoulli(np.where(possible, prob1 / total, p.prob1), np.where(possible, prob0 / total, p.prob0))
        return Product(bits, np.asarray(log_z.sum(-1)), p, self)

    def power(self, exponent: float) -> "BernoulliFactor":
        """r to a power in [0, 1], 0^0 being 1; dimensionless, shape (d,). Section 2.5.3."""
        exponent = exponent_of_r(exponent)
        logs = (exponent * part if exponent else np.zeros(part.shape) for part in (self.log_r1, self.log_r0))
        return BernoulliFactor.from_logs(*logs)

    def diffused(self, diffusion: Any, t: int) -> "BernoulliFactor":
        """E r(x^0) for x^0 = x abar_t + pi (1 - abar_t), t in 0..T: shape (d,), dimensionless. Beyond section 2.5.

        ValueError unless the diffusion is a BinomialDiffusion over d bits.
        """
        if _time(diffusion, BinomialDiffusion, t) == 0:
            return self
        d = self.log_r1.size
        laws = [diffusion.marginal(np.full(d, bit), t) for bit in (1.0, 0.0)]
        return BernoulliFactor.from_logs(*(np.logaddexp(np.log(q.prob1) + self.log_r1, np.log(q.prob0) + self.log_r0) for q in laws))


def noisy_bits(bits: npt.ArrayLike, flip_rate: npt.ArrayLike, seen: npt.ArrayLike = True) -> BernoulliFactor:
    """r(x) = P(observed bits | x), each bit flipped with a known probability, or missing.

    Parameters
    ----------
    bits : array_like, shape (d,)
        What was observed; the value of a missing bit does not count.
    flip_rate : float or array_like, shape (d,), in [0, 1), dimensionless
        P(observed bit differs from x); 0 for bits that are certain.
    seen : bool array_like, shape (d,)
        False where a bit is missing.

    Returns
    -------
    BernoulliFactor
        r is a probability, and so is its normaliser Z: that of the observation.

    Raises
    ------
    ValueError
        If an argument is out of range: at a flip rate of 1, say 1 - bits.

    Notes
    -----
    Section 2.5.

    >>> print(noisy_bits([1, 0], 0.1, seen=[True, False]).log_r([[1, 1], [0, 1]]).round(6))
    [-0.105361 -2.302585]
    """
    rate = validation.probability("flip_rate", flip_rate)
    if (rate == 1).any():
        raise ValueError("flip_rate must be below 1, got 1.0; bits that are always flipped are known")
    known = np.asarray(seen)
    if known.dtype != bool:
        raise ValueError(f"seen must be True or False for each bit, got dtype {known.dtype}")
    values, rate, mask = validation.broadcast(bits=validation.binary("bits", bits), flip_rate=rate, seen=known.astype(np.float64))
    r1, r0 = (np.where(values == bit, 1.0 - rate, rate) for bit in (1, 0))
    return BernoulliFactor(np.where(mask == 1, r1, 1.0), np.where(mask == 1, r0, 1.0))


def gaussian_likelihood(diffusion: GaussianDiffusion, t: int, mean: Array, var: Array, log_scale: float) -> GaussianFactor:
    """exp(log_scale - (sqrt(abar_t) x - mean)^2 / (2 (var + 1 - abar_t))), as a factor of x, shape (d,); var = 0 is allowed, nats. (22)."""
    kept, wide = float(diffusion.sqrt_abar(t)), var + _lost(diffusion, t)
    if kept == 0:  # x^t says nothing about x^0
        return GaussianFactor(np.zeros(mean.shape), np.inf, log_scale - 0.5 * float((mean**2 / wide).sum()))
    return GaussianFactor(mean / kept, wide / kept**2, log_scale)


def _lost(diffusion: GaussianDiffusion, t: int) -> float:
    return float(diffusion.one_minus_abar(t))


def _time(diffusion: Any, column: type[Schedule], t: int) -> int:
    if not isinstance(diffusion, column):
        raise ValueError(f"diffusion must be a {column.__name__} for this factor, got {type(diffusion).__name__}")
    return validation.one_time("t", t, 0, diffusion.T)


def _not_negative(name: str, value: npt.ArrayLike) -> Array:
    array = validation.finite(name, value)
    if (array < 0).any():
        raise ValueError(f"{name} must not be negative, got {array.min()}")
    return array

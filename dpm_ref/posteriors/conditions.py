"""The two factors that have no closed form everywhere: components that are known exactly, and any function of x.

    Clamp       r(x) = prod over the components seen of delta(x_i - v_i), or of 1 where x_i = v_i for bits: inpainting
    LogFactor   any r(x), given as its logarithm and the slope of that

A slope turns a law of either column into its exponential tilt, p~(x) proportional to p(x) exp(g . x):

    Gaussian   N(f_mu + f_Sigma g, f_Sigma),   g the gradient of log r at f_mu              Table App.1's shifted mean
    binomial   logit f_b + g,                  g_i = log r(x_i = 1) - log r(x_i = 0)        Table App.1's flip rate, put right

It is p r / Z~ exactly where log r is linear, as it is in each bit of a factorised r; otherwise to the first order, and the error
is for a particle filter to weigh.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5, equation (22), and Table App.1.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli
from dpm_ref.gaussian import Gaussian, GaussianDiffusion
from dpm_ref.posteriors.factors import Factor, Product, exponent_of_r
from dpm_ref.posteriors.observations import BernoulliFactor, gaussian_likelihood
from dpm_ref.validation import Array

__all__ = ["Clamp", "LogFactor", "Clamped"]

_LOG_2PI = 1.8378770664093453


class Clamp:
    """r(x) = delta on the components seen: the rest are to be filled in (inpainting, section 2.5.2).

    Parameters
    ----------
    values : array_like, shape (d,)
        What was seen; the values of other components do not count, but must be finite.
    seen : bool array_like, shape (d,)

    Raises
    ------
    ValueError
        If the values are not finite, seen is not boolean, or the shapes differ.

    Notes
    -----
    For Gaussian laws Z is the density of the values seen, for bits their probability. As an r(x^t) at t >= 1 it is the paper's recipe
    for inpainting, whose answer is biased; a particle filter wants it at t = 0 alone, and `diffused` before.

    >>> product = Clamp([1.0, 0.0], [True, False]).multiply(Gaussian([0.0, 0.0], 1.0))
    >>> print(product.law.at([0.3, 0.3]), "%.6f" % product.log_z)
    [1.  0.3] -1.418939
    """

    def __init__(self, values: npt.ArrayLike, seen: npt.ArrayLike) -> None:
        self.values, self.seen = validation.vectors("values", validation.finite("values", values)), np.asarray(seen)
        if self.seen.dtype != bool or self.seen.shape != self.values.shape or self.values.ndim != 1:
            raise ValueError(f"seen must be True or False for each of the values (d,), got dtype {self.seen.dtype}, shape {self.seen.shape}"
                             f" for {self.values.shape}")

    @property
    def positive(self) -> bool:
        """False, unless nothing was seen; a scalar without unit. Section 2.5."""
        return not self.seen.any()

    def log_r(self, x: npt.ArrayLike) -> Array:
        """0 where x (..., d) has the values seen, else -inf: shape (...), nats; for the Gaussian column the delta's place. Section 2.5."""
        x = validation.components("x", validation.finite("x", x), self.values.size)
        return np.where((x == self.values)[..., self.seen].all(-1), 0.0, -np.inf)

    def multiply(self, law: Any) -> Product:
        """The law with the components seen put in their place, and the log density or probability of these: (..., d), nats. (22).

        ValueError if the law is not of d components of one of the two columns.
        """
        if hasattr(law, "prob1"):
            product = self._bits().multiply(law)
            return Product(product.law, product.log_z, product.before, self)
        p = Gaussian.like(law)
        validation.components("law", p.mean, self.values.size)
        log_z = -0.5 * (_LOG_2PI + np.log(p.var) + (self.values - p.mean) ** 2 / p.var)[..., self.seen].sum(-1)
        return Product(Clamped(p, self.values, self.seen), np.asarray(log_z), p, self)

    def power(self, exponent: float) -> Factor:
        """Itself, or 1 at exponent 0: a delta's place is all that matters of it; dimensionless, shape (d,). Section 2.5.3."""
        return self if exponent_of_r(exponent) else Clamp(self.values, np.zeros(self.seen.shape, dtype=bool))

    def diffused(self, diffusion: Any, t: int) -> Factor:
        """E r(x^0) under t forward steps from x, t in 0..T: a Gaussian or Bernoulli factor at t >= 1, (d,), nats. Beyond section 2.5."""
        if validation.one_time("t", t, 0, diffusion.T) == 0:
            return self
        if not isinstance(diffusion, GaussianDiffusion):
            return self._bits().diffused(diffusion, t)
        norm = -0.5 * float(self.seen.sum() * (_LOG_2PI + np.log(diffusion.one_minus_abar(t))))
        return gaussian_likelihood(diffusion, t, np.where(self.seen, self.values, 0.0), np.where(self.seen, 0.0, np.inf), norm)

    def _bits(self) -> BernoulliFactor:
        bits = validation.binary("values", self.values)
        return BernoulliFactor(*(np.where(self.seen & (bits != bit), 0.0, 1.0) for bit in (1, 0)))


class Clamped:
    """A Gaussian law with some components put to a value, (..., d); what `Clamp` makes, to draw from. Section 2.5.2."""

    def __init__(self, law: Gaussian, values: Array, seen: npt.NDArray[np.bool_]) -> None:
        self.law, self.values, self.seen = law, values, seen
        self.shape, self.noise = law.shape, law.noise

    def at(self, noise: npt.ArrayLike) -> Array:
        """The sample that standard normal noise (..., d) stands for, the components seen in their place; the mean's unit. Section 2.5.2."""
        return np.where(self.seen, self.values, self.law.at(noise))

    def sample(self, *, rng: np.random.Generator) -> Array:
        """One sample of each law, (..., d), the mean's unit; ValueError unless rng is a Generator. Section 2.5.2."""
        return self.at(self.noise(self.shape, rng=rng))


class LogFactor:
    """Any r(x), by its logarithm and, to bend a kernel towards it, the slope of that.

    Parameters
    ----------
    log_r : callable x (..., d) -> (...), nats
        -inf where r is 0.
    slope : callable x (..., d) -> (..., d), nats per unit, optional
        Gaussian column: the gradient of log r, asked at f_mu. Binomial: log r(x_i = 1) - log r(x_i = 0), asked at the kernel's most
        probable bits; for a factorised r it does not depend on them. Without it kernels stay as they are, and only a particle filter,
        which weighs, makes use of r.

    Raises
    ------
    ValueError
        At use, if log r is nan or inf, as it is where r is negative, nan or unbounded; if a slope is not finite; if a shape is wrong.

    Notes
    -----
    Section 2.5.2, Table App.1.

    >>> ring = LogFactor(lambda x: -((x**2).sum(-1) - 1.0) ** 2, lambda x: -4.0 * ((x**2).sum(-1, keepdims=True) - 1.0) * x)
    >>> print(ring.multiply(Gaussian([0.5, 0.0], 0.1)).law.mean)
    [0.65 0.  ]
    """

    positive = True  # or for its author to answer

    def __init__(self, log_r: Callable[[Array], Any], slope: Callable[[Array], Any] | None = None) -> None:
        self._log_r, self._slope = log_r, slope

    @property
    def bends(self) -> bool:
        """Whether there is a slope, a scalar without unit. Section 2.5.2."""
        return self._slope is not None

    def log_r(self, x: Array) -> Array:
        """log r(x) at x (..., d): shape (...), nats; ValueError if it is nan or inf, or of another shape. Section 2.5."""
        try:
            values = validation.below_infinity("log r", self._log_r(x))
        except ValueError as error:
            raise ValueError(f"{error}; r must be a bounded function that is nowhere negative or nan") from None
        if values.shape != x.shape[:-1]:
            raise ValueError(f"log r must have shape {x.shape[:-1]} for x of shape {x.shape}, got {values.shape}")
        return values

    def slope(self, x: Array) -> Array:
        """The slope at x (..., d), of its shape, nats per unit; ValueError if it is not finite or of another shape. Table App.1."""
        values = np.zeros(x.shape) if self._slope is None else validation.finite("slope", self._slope(x))
        if values.shape != x.shape:
            raise ValueError(f"slope must have x's shape {x.shape}, got {values.shape}")
        return values

    def multiply(self, law: Any) -> Product:
        """The law tilted by the slope, (..., d), without a normaliser; nats. Table App.1. ValueError as for `log_r` and `slope`."""
        if hasattr(law, "prob1"):
            bits = Bernoulli.like(law)
            g = self.slope(np.asarray(bits.prob1 > bits.prob0, dtype=np.float64))
            return Product(_tilted_bits(bits, g), None, bits, self)
        p = Gaussian.like(law)
        return Product(Gaussian(p.mean + p.var * self.slope(p.mean), p.var), None, p, self)

    def power(self, exponent: float) -> Factor:
        """r to a power in [0, 1]; 1 at 0, dimensionless, of no shape. Section 2.5.3."""
        if exponent_of_r(exponent) == 0:
            return LogFactor(lambda x: np.zeros(x.shape[:-1]), np.zeros_like)
        return LogFactor(lambda x: exponent * self.log_r(x), (lambda x: exponent * self.slope(x)) if self.bends else None)

    def diffused(self, diffusion: Any, t: int) -> Factor:
        """Itself at t = 0; ValueError at t in 1..T, where there is no closed form of any shape or unit: see `of_time`. Section 2.5."""
        if validation.one_time("t", t, 0, diffusion.T) == 0:
            return self
        raise ValueError("r must be a Gaussian factor, a Bernoulli factor or a Clamp to be diffused in closed form, got a LogFactor")


def _tilted_bits(law: Bernoulli, g: Array) -> Bernoulli:
    """logit p~ = logit p + g, where neither member falls below floating point; p itself where both do."""
    prob1, prob0 = law.prob1 * np.exp(np.minimum(g, 0.0)), law.prob0 * np.exp(-np.maximum(g, 0.0))
    gone = prob1 + prob0 == 0
    total = np.where(gone, 1.0, prob1 + prob0)
    return Bernoulli(np.where(gone, law.prob1, prob1 / total), np.where(gone, law.prob0, prob0 / total))

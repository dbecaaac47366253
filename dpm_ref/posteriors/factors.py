"""Factors r(x), which multiply a law with independent components: p~ = p r / Z~.

    GaussianFactor    prod_i exp(-(x_i - m_i)^2 / (2 v_i))       a noisy observation (denoising)
    BernoulliFactor   prod_i r_i(x_i)                            flipped, known or missing bits
    Clamp             prod_i delta(x_i - m_i), i observed        known components (inpainting)
    LogFactor         any r(x), by log r and, to shift a kernel, its slope

The first three multiply a kernel in closed form, component by component:

    Gaussian   N(mu, s) -> N((mu v + m s) / (s + v), s v / (s + v)),
               log Z~ = -[log(1 + s / v) + (mu - m)^2 / (s + v)] / 2
    binomial   logit p~ = logit c + log r(1) - log r(0),   Z~ = c r(1) + (1 - c) r(0)

The slope g of log r gives the exponential tilt p~(x) proportional to p(x) exp(g . x), App. C:

    Gaussian   N(f_mu + f_Sigma g, f_Sigma)    g the gradient of log r at f_mu
    binomial   logit p~ = logit f_b + g        g_i = log r(x_i = 1) - log r(x_i = 0)

which is exact where log r is linear, as it is in each bit of a factorised r, and of first order in
f_Sigma otherwise. Table App.1 misprints the binomial form (x_i d_i in the denominator): with
d = r(1) / (r(1) + r(0)) it is c d / (c d + (1 - c)(1 - d)). Section 2.5.3, App. C and Table App.1
of arXiv:1503.03585.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli, product, shares
from dpm_ref.gaussian import Gaussian
from dpm_ref.protocols import Law, checked_diffusion, total
from dpm_ref.validation import Array, number

__all__ = ["Product", "GaussianFactor", "BernoulliFactor", "noisy_bits", "Clamp", "LogFactor"]

Function = Callable[[Array], Any]  # of states (m, d)


class Product(NamedTuple):
    """p~ = p r / Z~ and log Z~, shape (...); log_z is None where the law is an approximation."""

    law: Any
    log_z: Any


class _Factor:
    positive: bool = True  # a LogFactor's author must see to it

    def power(self: Any, exponent: float) -> Any:
        """r to a power in [0, 1], 0^0 being 1."""
        return self._power(number("exponent", exponent, "in [0, 1]", lambda e: 0 <= e <= 1))


class GaussianFactor(_Factor):
    """r(x) = exp(log_scale) prod_i exp(-(x_i - mean_i)^2 / (2 var_i)): a noisy observation of x.

    Parameters
    ----------
    mean : array_like, shape (d,)
        The observation.
    var : float or array_like, shape (d,), > 0
        The variance of its noise; inf where a component was not observed.
    log_scale : float
        With -sum log(2 pi var_i) / 2 over the observed components, r is the observation's density
        given x, and Z its evidence.

    >>> product = GaussianFactor([1.0], 1.0).multiply(Gaussian([0.0], 1.0))
    >>> print("%.6f %.6f %.6f" % (product.law.mean[0], product.law.var[0], product.log_z))
    0.500000 0.500000 -0.596574
    """

    columns: tuple[type[Law], ...] = (Gaussian,)

    def __init__(self, mean: ArrayLike, var: ArrayLike, log_scale: ArrayLike = 0.0) -> None:
        rule = "be positive, inf where nothing is known (for 0 there is a Clamp)"
        var = validation.ruled("var", validation.real("var", var), rule, lambda v: v > 0)
        self.mean, self.var = _vectors(mean=validation.finite("mean", mean), var=var)
        self.log_scale = number("log_scale", log_scale, "and finite", np.isfinite)

    def log_r(self, x: ArrayLike) -> Array:
        """log r at x (..., d)."""
        x = validation.components("x", validation.finite("x", x), self.mean.size)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # below -1e308: -inf
            miss = np.where(self.var < np.inf, x - self.mean, 0.0)
            square = np.where(miss == 0, 0.0, miss / self.var * miss)  # var is 0 in a Clamp
            return np.asarray(self.log_scale - 0.5 * total(square))

    def _power(self, power: float) -> "GaussianFactor":
        with np.errstate(over="ignore", divide="ignore"):  # a variance beyond 1e308 is inf
            return GaussianFactor(self.mean, self.var / power, power * self.log_scale)

    def multiply(self, law: Any) -> Product:
        """The law times r, and log Z~, exactly; a clamped component gets variance 0."""
        p = Gaussian.like(law)
        validation.components("law", p.mean, self.mean.size)
        m, v, s = self.mean, self.var, p.var
        validation.ruled("law", s, "not be clamped twice", lambda s: (s > 0) | (v > 0))
        with np.errstate(over="ignore", divide="ignore"):  # a density below -1e308 is -inf
            ratio = np.minimum(v, s) / np.maximum(v, s)  # neither v / s nor s / v overflows
            excess = np.maximum(np.log(s) - np.log(v), 0.0)
            excess = np.where(v > 0, excess, np.log(2 * np.pi * s))  # at v = 0 r is a density
            miss = np.where(v < np.inf, p.mean - m, 0.0)
            square = miss / np.maximum(v, s) / (1.0 + ratio) * miss  # s + v might overflow
            log_z = self.log_scale - 0.5 * total(np.log1p(ratio) + excess + square)
            mean = p.mean / (1.0 + s / v) + m / (1.0 + v / s)
        return Product(Gaussian.unchecked(mean, np.minimum(v, s) / (1.0 + ratio)), log_z)

    def _diffused(self, diffusion: Any, t: int) -> Any:
        """E r(x^0) for x^0 ~ N(sqrt(abar_t) x, (1 - abar_t) I), t in 1..T."""
        root, noise = diffusion.sqrt_abar(t), diffusion.one_minus_abar(t)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            mean, var = self.mean / root, (self.var + noise) / root**2
        mean = np.where(var < np.inf, mean, 0.0)  # else x^t says nothing about x^0
        return GaussianFactor(mean, var, self.multiply(Gaussian(root * mean, noise)).log_z)


class BernoulliFactor(_Factor):
    """r(x) = prod_i r_i(x_i) over bits, with r1 = r_i(1) and r0 = r_i(0), shape (d,), >= 0.

    They are equal for a missing bit; one of them is 0 for a known bit.

    >>> product = BernoulliFactor([3.0, 1.0], [1.0, 1.0]).multiply(Bernoulli([0.5, 0.2]))
    >>> print(product.law.prob1.round(6), "%.6f" % product.log_z)
    [0.75 0.2 ] 0.693147
    """

    columns = (Bernoulli,)

    def __init__(self, r1: ArrayLike, r0: ArrayLike) -> None:
        r1, r0 = _vectors(r1=validation.finite("r1", r1), r0=validation.finite("r0", r0))
        least, most = np.minimum(r1, r0), np.maximum(r1, r0)
        validation.ruled("r1 and r0", least, "not be negative", lambda r: r >= 0)
        validation.ruled("r1 and r0", most, "not both be 0: r is zero everywhere", lambda r: r > 0)
        self.r1, self.r0, self.positive = r1, r0, bool((least > 0).all())

    def log_r(self, x: ArrayLike) -> Array:
        """log r at bits x (..., d)."""
        x = validation.components("x", validation.binary("x", x), self.r1.size)
        with np.errstate(divide="ignore"):
            return total(np.log(np.where(x == 1, self.r1, self.r0)))

    def multiply(self, law: Any) -> Product:
        """B(c) r / Z~ and log Z~, exactly; where Z~ = 0, the law itself and -inf."""
        p = Bernoulli.like(law)
        validation.components("law", p.prob1, self.r1.size)
        return _multiplied(p, (self.r1,), (self.r0,))

    def _power(self, power: float) -> "BernoulliFactor":
        return BernoulliFactor(self.r1**power, self.r0**power)

    def _diffused(self, diffusion: Any, t: int) -> Any:
        """E r(x^0) for x^0 ~ B(x abar_t + pi_1 (1 - abar_t)), t in 1..T."""
        given = diffusion.marginal(np.stack([np.ones(self.r1.size), np.zeros(self.r1.size)]), t)
        return BernoulliFactor(*(given.prob1 * self.r1 + given.prob0 * self.r0))


def noisy_bits(bits: ArrayLike, flip_rate: ArrayLike, seen: ArrayLike = True) -> BernoulliFactor:
    """r(x) = P(observed bits | x), each bit flipped with a known probability, or missing.

    The value of a missing bit, where `seen` (d,) is False, is ignored. `flip_rate` in [0, 1), one
    number or (d,), is P(observed bit differs from x).

    >>> print(noisy_bits([1, 0], 0.1, seen=[True, False]).log_r([[1, 1], [0, 1]]).round(6))
    [-0.105361 -2.302585]
    """
    (values,) = _vectors(bits=validation.binary("bits", bits))
    rate = validation.probability("flip_rate", flip_rate)
    rule = "be below 1, since bits that are always flipped are known"
    validation.ruled("flip_rate", rate, rule, lambda r: r < 1)
    known = _mask(seen, values.shape)
    r1, r0 = (np.where(known, np.where(values == bit, 1.0 - rate, rate), 1.0) for bit in (1, 0))
    return BernoulliFactor(r1, r0)


class Clamp(GaussianFactor):
    """r(x) = delta on the observed components; the others are to be filled in (inpainting).

    The boolean `seen` (d,) is True where `values` (d,) were observed; the other values are ignored,
    but must be finite. Z is the density, for bits the probability, of the observed values. In a
    product with a Gaussian the observed components get variance 0. As r(x^t) at every t it is the
    paper's recipe for inpainting, whose answer is biased; for a particle filter pass it to
    `diffused` or `predicted`, which use it at t = 0 only.

    >>> product = Clamp([1.0, 0.0], [True, False]).multiply(Gaussian([0.0, 0.0], 1.0))
    >>> print(product.law.mean, product.law.var, "%.6f" % product.log_z)
    [1. 0.] [0. 1.] -1.418939
    """

    columns = (Gaussian, Bernoulli)

    def __init__(self, values: ArrayLike, seen: ArrayLike) -> None:
        (self.values,) = _vectors(values=validation.finite("values", values))
        self.seen = _mask(seen, self.values.shape)
        self.mean, self.var, self.log_scale = self.values, np.where(self.seen, 0.0, np.inf), 0.0
        self.positive = not self.seen.any()

    def multiply(self, law: Any) -> Product:
        """The law with the observed components fixed, and their log density."""
        return self._bits().multiply(law) if hasattr(law, "prob1") else super().multiply(law)

    def _power(self, power: float) -> "Clamp":
        return Clamp(self.values, self.seen & (power > 0))

    def _diffused(self, diffusion: Any, t: int) -> Any:
        bits = diffusion.law is Bernoulli
        return self._bits()._diffused(diffusion, t) if bits else super()._diffused(diffusion, t)

    def _bits(self) -> BernoulliFactor:
        return noisy_bits(validation.binary("values", self.values), 0.0, self.seen)


class LogFactor(_Factor):
    """Any r(x), by its logarithm and, to shift a kernel towards it, the slope of log r: App. C.

    Parameters
    ----------
    log_r : callable x (m, d) -> (m,)
        -inf where r is 0; nan and inf are a ValueError at use, and so is a slope that is not
        finite, or another shape. Both functions get copies.
    slope : callable x (m, d) -> (m, d), optional
        Gaussian column: the gradient of log r, called at f_mu. Binomial column: log r(x_i = 1) -
        log r(x_i = 0), called at the kernel's most probable bits. Without it kernels are unchanged,
        and only a particle filter makes use of r, by its weights.

    >>> square = lambda x: (x**2).sum(-1, keepdims=True)
    >>> ring = LogFactor(lambda x: -(square(x)[:, 0] - 1) ** 2, lambda x: -4 * (square(x) - 1) * x)
    >>> print(ring.multiply(Gaussian([0.5, 0.0], 0.1)).law.mean)
    [0.65 0.  ]
    """

    def __init__(self, log_r: Function, slope: Function | None = None) -> None:
        self._log_r, self.has_slope = validation.function("log_r", log_r), slope is not None
        self._slope = validation.function("slope", np.zeros_like if slope is None else slope)

    def log_r(self, x: ArrayLike) -> Array:
        """log r at x (..., d)."""
        rule = "log r, of an r that is bounded and nowhere negative or nan,"
        return ask_states(self._log_r, rule, x, validation.below_infinity, -1)

    def slope(self, x: ArrayLike) -> Array:
        """The slope at x (..., d); 0 if none was given."""
        return ask_states(self._slope, "slope", x, validation.finite, None)

    def multiply(self, law: Any) -> Product:
        """The law tilted by the slope, without a normaliser."""
        if hasattr(law, "prob1"):
            bits = Bernoulli.like(law)
            g = self.slope(bits.prob1 > bits.prob0)
            halves = np.exp(0.5 * np.minimum(g, 0.0)), np.exp(-0.5 * np.maximum(g, 0.0))
            return Product(_multiplied(bits, *zip(halves, halves, strict=True)).law, None)
        p = Gaussian.like(law)
        return Product(Gaussian(p.mean + p.var * self.slope(p.mean), p.var), None)

    def _power(self, power: float) -> "LogFactor":
        slope = (lambda x: power * self.slope(x)) if self.has_slope else None
        return LogFactor(lambda x: power * self.log_r(x) if power else np.zeros(len(x)), slope)


def check_column(r: Any, diffusion: Any) -> None:
    """ValueError unless r is a closed form of the diffusion's column."""
    if checked_diffusion(diffusion).law not in getattr(r, "columns", ()):
        got = f"a {type(r).__name__} for a {type(diffusion).__name__}"
        raise ValueError(f"r must be a closed form of the diffusion's column, got {got}")


def ask_states(function: Function, name: str, x: ArrayLike, check: Any, axes: int | None) -> Array:
    """A user's function, called with a copy (m, d) of states x (..., d); its result is checked."""
    states = validation.vectors("x", validation.finite("x", x))
    rows = states.reshape(-1, states.shape[-1])
    values, shape = np.array(check(name, function(rows.copy())), order="C"), rows.shape[:axes]
    rule = f"have shape {shape} for states {rows.shape}"
    return validation.shaped(name, values, rule, values.shape == shape).reshape(states.shape[:axes])


def _multiplied(p: Bernoulli, r1: tuple[Array, ...], r0: tuple[Array, ...]) -> Product:
    """p r / Z~ of bits, r(1) and r(0) given as products; where Z~ = 0, p itself and -inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pair, z, exponent = shares(product(p.prob1, *r1), product(p.prob0, *r0))
        log_z = total(np.log(z) + np.log(2.0) * exponent)
    return Product(Bernoulli.unchecked(*np.where(z > 0, pair, [p.prob1, p.prob0])), log_z)


def _vectors(**arrays: Array) -> list[Array]:
    """Copies of vectors (d,), broadcast to one shape."""
    name, (first, *rest) = " and ".join(arrays), validation.broadcast(**arrays)
    validation.shaped(name, validation.vectors(name, first), "have shape (d,)", first.ndim == 1)
    return [vector.copy() for vector in (first, *rest)]


def _mask(seen: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A copy of the boolean mask (d,); one value stands for all."""
    rule = "True or False for each component"
    mask = validation.array_of("seen", seen, "b", rule)
    return np.full(shape, validation.shaped("seen", mask, f"be {rule}", mask.shape in ((), shape)))

"""The Gaussian column of Table App.1: the law N(mean, diag var) and the diffusion that ends in N(0, I).

    kernel     q(x^t | x^{t-1}) = N(sqrt(1 - beta_t) x^{t-1}, beta_t I)
    marginal   q(x^t | x^0) = N(sqrt(abar_t) x^0, (1 - abar_t) I)
    posterior  q(x^{t-1} | x^t, x^0) = N(mean, var I), t >= 2, with
               var  = beta_t (1 - abar_{t-1}) / (1 - abar_t)
               mean = [ sqrt(abar_{t-1}) beta_t x^0 + sqrt(1 - beta_t) (1 - abar_{t-1}) x^t ] / (1 - abar_t)
    edge       p(x^0 | x^1) = N(sqrt(1 - beta_1) x^1, beta_1 I), App. B.2

The kernel is reversible with respect to the prior, which is why the edge is the kernel itself. Beside each quantity of the
law stands its derivative.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.1, App. B and Table App.1.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.information import (
    GaussianKLGrad,
    gaussian_entropy,
    gaussian_entropy_grad,
    gaussian_kl,
    gaussian_kl_grad,
)
from dpm_ref.protocols import Condition, total
from dpm_ref.schedules import Schedule
from dpm_ref.validation import Array, IntArray

__all__ = ["Gaussian", "GaussianDiffusion", "GaussianSampleGrad", "GaussianLogProbGrad"]

_LOG_2PI = 1.8378770664093453


class GaussianSampleGrad(NamedTuple):
    """Derivatives of one sample by the law's parameters at fixed noise, elementwise."""

    mean: Array
    var: Array


class GaussianLogProbGrad(NamedTuple):
    """Derivatives of the log density by the law's parameters and by x, elementwise."""

    mean: Array
    var: Array
    x: Array


class Gaussian:
    """N(mean, diag var): independent components, vectors on the last axis.

    Parameters
    ----------
    mean, var : array_like, shapes that broadcast to (..., d)
        Mean (any unit) and variance (that unit squared), var > 0.

    Attributes
    ----------
    mean, var : ndarray, shape (..., d), read-only

    Raises
    ------
    ValueError
        If the mean is not finite, a variance not positive (a point mass has no density), or there is no component axis.

    Notes
    -----
    Table App.1, Gaussian column.

    >>> law = Gaussian([0.0, 0.0], 1.0)
    >>> print("%.6f %.6f" % (law.log_prob([0.0, 0.0]), law.entropy()))
    -1.837877 2.837877
    """

    def __init__(self, mean: npt.ArrayLike, var: npt.ArrayLike) -> None:
        self._var = validation.positive("var", var)  # as given: one number's root or logarithm is taken once
        self.mean, self.var = validation.broadcast(mean=validation.finite("mean", mean), var=self._var)
        validation.vectors("mean and var together", self.mean)

    @classmethod
    def unchecked(cls, mean: Array, var: Array) -> "Gaussian":
        """The law of float64 arrays that are known to be valid and belong to nobody else; shapes broadcast to (..., d)."""
        law = object.__new__(cls)
        law._var = np.asarray(var)
        law.mean, law.var = np.broadcast_arrays(mean, law._var)
        return law

    @classmethod
    def like(cls, other: Any) -> "Gaussian":
        """The law with another object's `mean` and `var`, (..., d) each; ValueError if it has none. Table App.1, dimensionless."""
        if isinstance(other, cls):
            return other
        try:
            return cls(other.mean, other.var)
        except AttributeError as error:
            raise ValueError(f"a Gaussian law must have mean and var, got {type(other).__name__}") from error

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., d), the shape of the mean; dimensionless. Table App.1."""
        return self.mean.shape

    @staticmethod
    def noise(shape: tuple[int, ...], *, rng: np.random.Generator) -> Array:
        """Standard normal numbers of the given shape, the noise that `at` takes; dimensionless. Section 2.1."""
        return validation.generator(rng).standard_normal(shape)

    def at(self, noise: npt.ArrayLike) -> Array:
        """The sample that standard normal noise stands for: mean + sqrt(var) noise, shape (..., d), the mean's unit. Section 2.4.1."""
        return self.mean + np.sqrt(self._var) * self._over("noise", noise)

    def at_grad(self, noise: npt.ArrayLike) -> GaussianSampleGrad:
        """Derivatives of `at` at fixed noise: by the mean 1, by the variance noise / (2 sqrt(var)); (..., d), per unit. Section 2.4.1."""
        noise = self._over("noise", noise)
        return GaussianSampleGrad(np.ones(noise.shape), 0.5 * noise / np.sqrt(self.var))

    def sample(self, *, rng: np.random.Generator) -> Array:
        """One sample of each law, shape (..., d), the mean's unit; ValueError unless rng is a Generator. Section 2.1."""
        return self.at(self.noise(self.shape, rng=rng))

    def log_prob(self, x: npt.ArrayLike) -> Array:
        """log density at x (..., d), summed over components: shape (...), nats; ValueError for x not finite or not of d components.

        Accurate to 8 eps times the sum of the terms' absolute values. Table App.1.
        """
        return self.log_p(self._over("x", x))

    def log_p(self, x: Array) -> Array:
        """`log_prob` of states known to be valid."""
        with np.errstate(over="ignore"):  # a log density below -1e308 is -inf
            difference = x - self.mean
            return -0.5 * total(_LOG_2PI + np.log(self._var) + difference / self._var * difference)

    def log_prob_grad(self, x: npt.ArrayLike) -> GaussianLogProbGrad:
        """Derivatives of `log_prob`, elementwise, shape (..., d), nats per unit.

        log p = -[ log(2 pi var) + (x - mean)^2 / var ] / 2
            d/d mean = (x - mean) / var                  vanishes at the mean
            d/d var  = [ (x - mean)^2 - var ] / (2 var^2)    vanishes one standard deviation from it
            d/d x    = (mean - x) / var                  the score
        Table App.1; ValueError as `log_prob`.
        """
        with np.errstate(over="ignore"):
            difference = self._over("x", x) - self.mean
            slope = difference / self.var
            return GaussianLogProbGrad(slope, 0.5 * (slope * difference - 1.0) / self.var, -slope)

    def entropy(self) -> Array:
        """Differential entropy, summed over components: shape (...), nats. Equations (14) and (24)."""
        return np.asarray(gaussian_entropy(self.var).sum(-1))

    def entropy_grad(self) -> Array:
        """Derivative of the entropy by each variance, 1 / (2 var): shape (..., d), nats per unit of variance. Equation (24)."""
        return gaussian_entropy_grad(self.var)

    def kl(self, other: Any) -> Array:
        """KL(self || other), summed over components: shape (...), nats; ValueError if other is no Gaussian of d components.

        Accurate to 8 ulp, >= 0. Equation (14).
        """
        return np.asarray(gaussian_kl(self.mean, self.var, *self._parameters(other)).sum(-1))

    def kl_grad(self, other: Any) -> GaussianKLGrad:
        """Derivatives of `kl` by (mean_q, var_q) of self and (mean_p, var_p) of other: (..., d) each, nats per unit. Equation (14)."""
        return gaussian_kl_grad(self.mean, self.var, *self._parameters(other))

    def _parameters(self, other: Any) -> tuple[Array, Array]:
        law = Gaussian.like(other)
        return validation.components("other", law.mean, self.shape[-1]), law.var

    def _over(self, name: str, x: npt.ArrayLike) -> Array:
        array = validation.components(name, validation.finite(name, x), self.shape[-1])
        return validation.broadcast(**{name: array, "mean": self.mean})[0]


class GaussianDiffusion(Schedule):
    """The forward trajectory that turns data into N(0, I), and the posterior that turns it back given x^0.

    Parameters
    ----------
    beta : array_like, shape (T,), in (0, 1], dimensionless
        beta[0] is beta_1.

    Raises
    ------
    ValueError
        If beta leaves (0, 1], where a step would not be a diffusion.

    Notes
    -----
    Table App.1, Gaussian column. Means are accurate to 2 eps times the sum of their terms' absolute values, variances and the
    posterior's coefficients to 0.5 ulp. The tables of `Schedule` are methods here too.

    >>> diffusion = GaussianDiffusion([0.1, 0.2, 0.5])
    >>> print("%.6f" % diffusion.marginal([1.0], 3).mean[0])
    0.600000
    """

    law = Gaussian

    def check_data(self, name: str, x: npt.ArrayLike) -> Array:
        """Data vectors (..., d), dimensionless: finite, at least one; ValueError otherwise. Section 2.1."""
        return validation.data(name, validation.finite(name, x))

    def prior(self, d: int) -> Gaussian:
        """pi(x^T) = N(0, I) for vectors of d >= 1 components, shape (d,), dimensionless. Section 2.1."""
        return Gaussian(np.zeros(validation.count("d", d, 1)), 1.0)

    def kernel(self, x_prev: npt.ArrayLike, t: npt.ArrayLike) -> Gaussian:
        """q(x^t | x^{t-1}), t in 1..T: a law over x_prev's shape (..., d), dimensionless; ValueError as for data. Table App.1."""
        x_prev = self.check_data("x_prev", x_prev)
        return self.q_kernel(x_prev, validation.times_over(t, 1, self.T, x_prev))

    def q_kernel(self, x_prev: Array, t: IntArray | int) -> Gaussian:
        """`kernel` of states and times known to be valid."""
        rate = self.beta[np.asarray(t) - 1][..., None]
        return Gaussian.unchecked(np.sqrt(1.0 - rate) * x_prev, rate)

    def marginal(self, x0: npt.ArrayLike, t: npt.ArrayLike) -> Gaussian:
        """q(x^t | x^0), t in 1..T: a law over x0's shape (..., d), dimensionless; ValueError as for data. Table App.1."""
        x0 = self.check_data("x0", x0)
        return self.q_marginal(x0, validation.times_over(t, 1, self.T, x0))

    def q_marginal(self, x0: Array, t: IntArray | int) -> Gaussian:
        """`marginal` of data and times known to be valid."""
        return Gaussian.unchecked(self.sqrt_abar(t)[..., None] * x0, self.one_minus_abar(t)[..., None])

    def posterior(self, x0: npt.ArrayLike, xt: npt.ArrayLike, t: npt.ArrayLike) -> Gaussian:
        """q(x^{t-1} | x^t, x^0), t in 2..T: a law over the broadcast shape (..., d), dimensionless.

        ValueError at t = 1, where it is a point mass at x^0. Table App.1.
        """
        x0, xt = self.check_data("x0", x0), self.check_data("xt", xt)
        x0, xt = validation.broadcast(x0=x0, xt=validation.components("xt", xt, x0.shape[-1]))
        return self.q_posterior(x0, xt, validation.times_over(t, 2, self.T, x0))

    def q_posterior(self, x0: Array, xt: Array, t: IntArray | int) -> Gaussian:
        """`posterior` of data, states and times known to be valid."""
        of_x0, of_xt = self.posterior_coefficients(t)
        return Gaussian.unchecked(of_x0[..., None] * x0 + of_xt[..., None] * xt, self.posterior_var(t)[..., None])

    def edge(self, x1: npt.ArrayLike) -> Gaussian:
        """p(x^0 | x^1) = T_pi(x^0 | x^1; beta_1): a law over x1's shape (..., d), dimensionless; ValueError as for data. App. B.2."""
        return self.kernel(self.check_data("x1", x1), 1)

    def kernel_entropy(self, x0: npt.ArrayLike, t: int) -> Array:
        """H_q(X^t | X^{t-1}) given x^0 (..., d), t in 1..T: shape (...), nats. Equation (24)."""
        x0 = self.check_data("x0", x0)
        rate = self.beta[validation.one_time("t", t, 1, self.T) - 1]
        return np.full(x0.shape[:-1], x0.shape[-1] * gaussian_entropy(rate))

    def posterior_entropy(self, x0: npt.ArrayLike, t: int) -> Array:
        """H_q(X^{t-1} | X^t, x^0) for x^0 (..., d), t in 1..T: shape (...), nats; -inf at t = 1. Equation (24)."""
        x0 = self.check_data("x0", x0)
        if validation.one_time("t", t, 1, self.T) == 1:
            return np.full(x0.shape[:-1], -np.inf)
        return np.full(x0.shape[:-1], x0.shape[-1] * gaussian_entropy(self.posterior_var(t)))

    def entropy_never_falls(self, x0: npt.ArrayLike) -> Condition:
        """Whether tr Cov(x^0) <= d on data (..., d), the dimensionless condition under which H_q(X^t) >= H_q(X^{t-1}) at every t.

        Equality within rounding counts. ValueError as for data. Equation (24), appendix of the upper bound.
        """
        x0 = self.check_data("x0", x0)
        trace, d = float(x0.reshape(-1, x0.shape[-1]).var(axis=0).sum()), x0.shape[-1]
        return Condition(bool(trace <= d * (1.0 + 4 * np.finfo(np.float64).eps)), f"tr Cov(x^0) = {trace:.6g} <= d = {d}")

"""The Gaussian column of Table App.1, forwards: N(mean, diag var), the diffusion to N(0, I).

    kernel     q(x^t | x^{t-1}) = N(sqrt(1 - beta_t) x^{t-1}, beta_t I)
    marginal   q(x^t | x^0) = N(sqrt(abar_t) x^0, (1 - abar_t) I)
    posterior  q(x^{t-1} | x^t, x^0) = N(mean, var I), t >= 2, with
               var  = beta_t (1 - abar_{t-1}) / (1 - abar_t)
               mean = [ sqrt(abar_{t-1}) beta_t x^0 + sqrt(1 - beta_t) (1 - abar_{t-1}) x^t ]
                      / (1 - abar_t)
    edge       p(x^0 | x^1) = N(sqrt(1 - beta_1) x^1, beta_1 I), App. B.2

The edge is the kernel itself, because the kernel is reversible with respect to the prior. The
reverse kernel is `reverse.GaussianReverse`, the perturbed one `posteriors.GaussianFactor`.
Section 2.1 and App. B of arXiv:1503.03585.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dpm_ref import validation
from dpm_ref.information import _gaussian_entropy, _gaussian_kl
from dpm_ref.protocols import Diffusion, Law, total
from dpm_ref.validation import Array, ArrayLike, Generator

__all__ = ["Gaussian", "GaussianDiffusion"]

_LOG_2PI = 1.8378770664093453


class Gaussian(Law):
    """N(mean, diag var): independent components.

    Parameters
    ----------
    mean, var : array_like, shapes that broadcast to (..., d)
        Kept as read-only attributes of that shape. var > 0: a point mass has no density.

    >>> law = Gaussian([0.0, 0.0], 1.0)
    >>> print("%.6f %.6f" % (law.log_prob([0.0, 0.0]), law.entropy()))
    -1.837877 2.837877
    """

    __slots__ = ()
    names = needed = ("mean", "var")
    point_entropy = -np.inf
    check = staticmethod(validation.finite)

    def __init__(self, mean: ArrayLike, var: ArrayLike) -> None:
        mean, var = validation.finite("mean", mean), validation.positive("var", var)
        validation.vectors("mean and var together", validation.broadcast(mean=mean, var=var)[0])
        self._parameters = validation.own(mean), validation.own(var)

    mean = property(lambda law: law.view(0), doc="The mean, (..., d).")
    var = property(lambda law: law.view(1), doc="The variance, (..., d).")

    def dense(self) -> Gaussian:
        """Itself; ValueError where a component was clamped, and has variance 0."""
        rule = "be positive (clamped components have no density)"
        validation.ruled("var", self._parameters[1], rule, lambda var: var > 0)
        return self

    @staticmethod
    def noise(shape: tuple[int, ...], *, rng: Generator, dtype: Any = np.float64) -> Any:
        """Noise for `at`: standard normal numbers, in float32 or float64."""
        return rng.standard_normal(shape, dtype=dtype)

    def at(self, noise: Array) -> Array:
        """The reparameterised sample mean + sqrt(var) noise, section 2.4.1."""
        mean, var = self._parameters
        return np.asarray(mean + np.sqrt(var) * noise)

    def log_p(self, x: Array) -> Array:
        """`log_prob` without validation."""
        mean, var = self._parameters
        with np.errstate(over="ignore"):  # a log density below -1e308 is -inf
            deviation = (x - mean) / np.sqrt(var)
            return -0.5 * total(_LOG_2PI + np.log(var) + deviation * deviation)

    def drawn(self, noise: Array) -> tuple[Array, Array]:
        """The sample at this noise, and its log density as a function of the noise."""
        return self.at(noise), -0.5 * total(_LOG_2PI + np.log(self._parameters[1]) + noise * noise)

    def entropy(self) -> Array:
        """Differential entropy, shape (...)."""
        return total(_gaussian_entropy(self.dense().var))

    def average_entropy(self, given: Callable[[Array], Gaussian]) -> Array:
        """E H(given(x)) over x of this law, where given(x) has one variance for every x."""
        return given(self.mean).entropy()

    def kl_p(self, other: Gaussian) -> Array:
        """`kl` to a Gaussian law."""
        with np.errstate(over="ignore"):
            return total(_gaussian_kl(*self._parameters, *other._parameters))


class GaussianDiffusion(Diffusion):
    """The forward trajectory that turns data into N(0, I), and its posterior given x^0.

    It has the parameter and the tables of `Schedule`, and the laws of `protocols.Diffusion` as
    methods. Means are accurate to 2 eps sum|terms|, variances and coefficients to 0.5 ulp.

    >>> diffusion = GaussianDiffusion([0.1, 0.2, 0.5])
    >>> print("%.6f" % diffusion.marginal([1.0], 3).mean[0])
    0.600000
    """

    law = Gaussian

    def prior(self, d: int) -> Gaussian:
        """pi(x^T) = N(0, I), shape (d,)."""
        return Gaussian.unchecked(np.broadcast_to(0.0, validation.count("d", d, 1)), np.array(1.0))

    def q_kernel(self, x_prev: Array, t: Any) -> Gaussian:
        """q(x^t | x^{t-1}), t in 1..T."""
        rate = self.beta[np.asarray(t) - 1][..., None]
        return Gaussian.unchecked(np.sqrt(1.0 - rate) * x_prev, rate)

    def q_marginal(self, x0: Array, t: Any) -> Gaussian:
        """q(x^t | x^0), t in 1..T."""
        scale, var = self.table("sqrt_abar", t), self.table("one_minus_abar", t)
        return Gaussian.unchecked(scale[..., None] * x0, var[..., None])

    def q_posterior(self, x0: Array, xt: Array, t: Any) -> Gaussian:
        """q(x^{t-1} | x^t, x^0), t in 2..T."""
        of_x0, of_xt = self.table("coefficient_x0", t), self.table("coefficient_xt", t)
        mean = of_x0[..., None] * x0 + of_xt[..., None] * xt
        return Gaussian.unchecked(mean, self.table("posterior_var", t)[..., None])

    def entropy_never_falls(self, x0: ArrayLike) -> tuple[bool, str]:
        """Whether tr Cov(x^0) <= d within rounding, so that H_q(X^t) >= H_q(X^{t-1}), see (24); and
        the comparison in words.
        """
        x0 = self.check_data("x0", x0)
        d, size = x0.shape[-1], max(1.0, float(np.abs(x0).max()))
        columns = np.ascontiguousarray(x0.reshape(-1, d).T) / size  # whose squares do not overflow
        trace = float(columns.var(-1).sum()) * size * size
        holds = bool(trace <= d * (1.0 + 4 * np.finfo(np.float64).eps))
        return (holds, f"tr Cov(x^0) = {trace:.6g} {'<=' if holds else '>'} d = {d}")

"""The Gaussian reverse kernel: f_mu and f_Sigma from a network's prediction of x^0.

    x^0 ~ N(m, V),   m = sqrt(abar_t) x^t + sqrt(1 - abar_t) F,   V = (1 - abar_t) exp(g)

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.2, Table App.1 and App. D.1.
"""

from copy import copy
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.gaussian import Gaussian, GaussianDiffusion
from dpm_ref.mlp import MLP, Values
from dpm_ref.protocols import ReverseKernel
from dpm_ref.reverse._model import Draw, rows, state
from dpm_ref.validation import Array, IntArray

__all__ = ["GaussianReverse"]


class GaussianReverse:
    """f_mu(x^t, t) and a diagonal f_Sigma(x^t, t), from one network.

    f_mu = sqrt(1 - beta_t) x^t + sqrt(abar_{t-1}) beta_t / sqrt(1 - abar_t) F
    f_Sigma = s2_t (1 + kappa_t exp(g)),   kappa_t = beta_t abar_{t-1} / (1 - abar_{t-1}),   s2_t the posterior's variance

    Parameters
    ----------
    diffusion : GaussianDiffusion, T >= 2
    d : int >= 1
        Components of a data vector.
    network : keyword arguments of `MLP`
        hidden, time_features, basis, input_gain.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Table App.1 and App. D.1. f_Sigma is never below the posterior's variance, as the true reversal's is not.

    >>> model = GaussianReverse(GaussianDiffusion([0.1, 0.2, 0.5]), 2)
    >>> kernel = model.kernel(model.network.init(rng=np.random.default_rng(0)))
    >>> print("%.6f" % kernel([[1.0, 0.0]], 3).mean[0, 0])
    0.707107
    """

    def __init__(self, diffusion: GaussianDiffusion, d: int, **network: Any) -> None:
        if not isinstance(diffusion, GaussianDiffusion):
            raise ValueError(f"diffusion must be a GaussianDiffusion, got {type(diffusion).__name__}")
        self.d = validation.count("d", d, 1)
        self.network = MLP(d, 2 * d, diffusion.T, **network)
        self._follow(diffusion)

    def _follow(self, diffusion: GaussianDiffusion) -> None:
        """The tables of a diffusion."""
        self.diffusion, t = diffusion, np.arange(2, diffusion.T + 1)
        self._kept, self._lost = diffusion.sqrt_abar(t), diffusion.sqrt_one_minus_abar(t)
        self._kappa = diffusion.beta[t - 1] * diffusion.abar(t - 1) / diffusion.one_minus_abar(t - 1)
        self._of_xt, self._of_F = np.sqrt(1.0 - diffusion.beta[t - 1]), diffusion.posterior_coefficients(t)[0] * self._lost

    def over(self, diffusion: GaussianDiffusion) -> "GaussianReverse":
        """The same network as the kernel of another diffusion of as many steps; dimensionless, parameters of the same shape (size,).

        ValueError for another T. Section 2.4.1: what the network predicts, F and g, is of order one whatever the rates.
        """
        if not isinstance(diffusion, GaussianDiffusion) or diffusion.T != self.diffusion.T:
            raise ValueError(f"diffusion must be a GaussianDiffusion of T = {self.diffusion.T} steps, got "
                             f"{getattr(diffusion, 'T', type(diffusion).__name__)}")
        other = copy(self)
        other._follow(diffusion)
        return other

    def noise(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: npt.DTypeLike) -> Values:
        """Standard normal numbers of the given shape, in float32 or float64; dimensionless. Section 2.4.1."""
        return rng.standard_normal(shape, dtype=dtype)  # type: ignore[arg-type]

    def check_noise(self, noise: npt.ArrayLike) -> Array:
        """Noise vectors (..., d), dimensionless: finite, at least one; ValueError otherwise. Section 2.4.1."""
        return validation.components("noise", validation.data("noise", validation.finite("noise", noise)), self.d)

    def draw(self, x0: Values, t: IntArray, noise: Values) -> Draw:
        """xt = sqrt(abar) x0 + sqrt(1 - abar) noise, and F's target sqrt(1 - abar) x0 - sqrt(abar) noise; each (S, n, d).

        Dimensionless. The target is (x0 - sqrt(abar) xt) / sqrt(1 - abar), without the cancellation. Section 2.4.1.
        """
        kept, lost = (rows(table, t, noise) for table in (self._kept, self._lost))
        xt = kept * x0 + lost * noise
        return Draw(xt, xt, lost * x0 - kept * noise)

    def draw_grad(self, dinputs: Values, dout: Values, t: IntArray) -> tuple[Values, Values]:
        """Derivatives by x0 and by the noise (S, n, d), from those by the inputs (xt) and by the outputs; nats per unit.

        The divergence depends on F - target, so its derivative by the target is that by F with the sign turned:
            d/d x0    = sqrt(abar) d/d xt - sqrt(1 - abar) d/d F
            d/d noise = sqrt(1 - abar) d/d xt + sqrt(abar) d/d F
        Section 2.4.1, frozen noise.
        """
        kept, lost = (rows(table, t, dinputs) for table in (self._kept, self._lost))
        dF = dout[..., :self.d]
        return kept * dinputs - lost * dF, lost * dinputs + kept * dF

    def fixed_grad(self, x0: Array) -> Array:
        """Derivative by x0 (..., d) of what of K does not depend on the kernel, `bounds.fixed_terms`; nats per unit.

        log pi, KL(q(x^1|x^0) || pi) and KL(q(x^T|x^0) || pi) have x0's square with -1/2, abar_1 / 2 and abar_T / 2:
        d/d x0 = -(beta_1 + abar_T) x0. Section 2.4.
        """
        return np.asarray(-(self.diffusion.beta[0] + self.diffusion.abar(self.diffusion.T)) * x0)

    def beta_grad(self, out: Values, draw: Draw, dinputs: Values, dout: Values, t: IntArray) -> Values | None:
        """Derivative by beta_2..T, shape (T-1,), of the divergences' sum at fixed x0 and noise; nats, float64. beta_1 is fixed.

        With L_t = log abar_t, abar_t = cos^2 theta_t, and e, u, v as in `kl_and_grad`, one path a line:
            d xt / d theta_t      = -target             through the network, dinputs
            d target / d theta_t  = xt                  the divergence depends on F - target: -dF
            d theta_t / d L_t     = -sqrt(abar_t / (1 - abar_t)) / 2
            d KL / d kappa_t      = sum_i (e^2 + kappa_t u^2) / (2 v^2)    both variances, and the distance of the means
            d kappa_t / d beta_t  = abar_{t-1} / (1 - abar_{t-1})
            d kappa_t / d L_{t-1} = kappa_t / (1 - abar_{t-1})
            d L_t / d beta_s      = -1 / (1 - beta_s)   for every s <= t
        None where a beta is 1: the root of abar has no derivative at 0. Section 2.4.1, frozen noise.
        """
        diffusion, T, d, of = self.diffusion, self.diffusion.T, self.d, t[:, 0] - 2
        if (diffusion.beta[1:] == 1).any():
            return None
        kappa, error, u = rows(self._kappa, t, out), out[..., :d] - draw.target, np.exp(out[..., d:])
        by_theta, by_kappa = np.zeros((2, T - 1), complex if np.iscomplexobj(out) else float)
        np.add.at(by_theta, of, -(dinputs * draw.target + dout[..., :d] * draw.xt).sum((1, 2)))
        v = 1.0 + kappa * u
        np.add.at(by_kappa, of, 0.5 * ((error / v) ** 2 + kappa * u / v * (u / v)).sum((1, 2)))
        before = np.arange(1, T)
        by_log_abar = -0.5 * by_theta * self._kept / self._lost
        by_log_abar[:-1] += (by_kappa * self._kappa / diffusion.one_minus_abar(before))[1:]
        direct = by_kappa * diffusion.abar(before) / diffusion.one_minus_abar(before)
        return np.asarray(direct - _tail_sums(by_log_abar) / (1.0 - diffusion.beta[1:]))

    def fixed_beta_grad(self, x0: Array) -> Array:
        """Derivative by beta_2..T, shape (T-1,), of `bounds.fixed_terms` summed over data x0 (..., d): that of -KL(q(x^T|x^0) || pi); nats.

            KL                 = sum_i [ abar_T (x0_i^2 - 1) - log(1 - abar_T) ] / 2
            d KL / d log abar_T = abar_T sum_i [ x0_i^2 + abar_T / (1 - abar_T) ] / 2
        Section 2.4.1.
        """
        T = self.diffusion.T
        abar, lost = self.diffusion.abar(T), self.diffusion.one_minus_abar(T)
        return np.asarray(0.5 * abar * (x0 * x0 + abar / lost).sum() / (1.0 - self.diffusion.beta[1:]))

    def kl_and_grad(self, out: Values, draw: Draw, t: IntArray) -> tuple[Values, Values]:
        """KL(posterior || kernel) in nats (S, n), summed over components, and its derivative by the outputs (S, n, 2d).

        With e = F - target, u = exp(g) and v = 1 + kappa u, the variances have ratio v and the means lie sqrt(kappa) e
        posterior standard deviations apart, so
            KL = [ log v + kappa (e^2 - u) / v ] / 2
            d/d F = kappa e / v                               vanishes at the target
            d/d g = -kappa^2 u (e^2 - u) / (2 v^2)            vanishes where the variance predicted is the error's square
        Equation (14).
        """
        kappa, d = rows(self._kappa, t, out), self.d
        error, u = out[..., :d] - draw.target, np.exp(out[..., d:])
        kappa_u = kappa * u
        v = 1.0 + kappa_u
        excess = kappa * (error * error - u) / v
        grad = np.empty_like(out)
        np.divide(kappa * error, v, out=grad[..., :d])
        np.divide(-0.5 * kappa_u * excess, v, out=grad[..., d:])
        return 0.5 * np.einsum("snd->sn", np.log1p(kappa_u) + excess), grad

    def law(self, params: Values, xt: npt.ArrayLike, t: npt.ArrayLike) -> Gaussian:
        """p(x^{t-1} | x^t) over xt's shape (..., d), t in 2..T, dimensionless; ValueError for states or times out of range. Table App.1."""
        states, times = state(self.diffusion, self.d, xt, t)
        out = self.network.apply(params, states, times).astype(np.float64)
        of_xt, of_F, kappa = (rows(table, times, states) for table in (self._of_xt, self._of_F, self._kappa))
        var = self.diffusion.posterior_var(times)[..., None] * (1.0 + kappa * np.exp(out[..., self.d:]))
        return Gaussian(of_xt * states + of_F * out[..., :self.d], var)

    def kernel(self, params: npt.ArrayLike) -> ReverseKernel:
        """The reverse kernel (xt, t) -> law with these parameters (size,), dimensionless; it can be pickled. Table App.1."""
        return partial(self.law, self.network.check(params))


def _tail_sums(terms: Values) -> Values:
    """The sums from each entry to the last."""
    return np.asarray(np.cumsum(terms[::-1])[::-1])

"""The exact twist r_t(x^t) = E[ r(x^0) | x^t ] of a linear-Gaussian chain, and the posterior p(x^0) r(x^0) / Z, by algebra.

For a noisy linear observation r(x^0) = N(y; H x^0 + g, R), R = 0 included, it stays of that form:

    r_t(x^t) = N(y; H_t x^t + g_t, R_t),   H_t = H_{t-1} A_t,   g_t = g_{t-1} + H_{t-1} b_t,   R_t = R_{t-1} + H_{t-1} S_t H_{t-1}'

so the twisted kernels p(x^{t-1} | x^t) r_{t-1}(x^{t-1}) / r_t(x^t) are linear and Gaussian again: those of a Kalman filter that runs
in t. They sample the posterior for any T (see `binary_twist`).

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5, equations (21) and (22); the twist is beyond the paper.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.exact.linear import GaussianData, LinearKernel, LinearModel
from dpm_ref.posteriors.conditions import Clamp
from dpm_ref.posteriors.observations import GaussianFactor
from dpm_ref.validation import Array

__all__ = ["LinearTwist", "LinearObservation"]

_LOG_2PI = 1.8378770664093453


class LinearObservation(NamedTuple):
    """r(x) = exp(log_scale) N(y; H x + g, R): y and g (k,), H (k, d), R (k, k), dimensionless; log_scale in nats."""

    y: Array
    H: Array
    g: Array
    R: Array
    log_scale: float


class LinearTwist:
    """The twist of a noisy, or exact, linear observation for a linear-Gaussian chain: a Kalman filter that runs in t.

    Parameters
    ----------
    chain : LinearModel or GaussianData
        A model, or the exact reversal of data.
    r : GaussianFactor, Clamp or LinearObservation
        r(x^0). R must be symmetric and positive semidefinite; 0 is an exact observation.

    Attributes
    ----------
    log_z : float, nats
        log E r(x^0); for a Clamp, the log density of what was seen.

    Raises
    ------
    ValueError
        If r is none of these, its shapes disagree with the chain's, or its observations are redundant and exact.

    Notes
    -----
    Section 2.5. The example of section 2.5's bias: N(0, 1) and r = N(1; x, 1), whose posterior is N(1/2, 1/2) for any T.

    >>> from dpm_ref import GaussianDiffusion
    >>> twist = LinearTwist(GaussianData(GaussianDiffusion([0.1, 0.5]), [0.0], [[1.0]]), GaussianFactor([1.0], 1.0))
    >>> mean, cov = twist.marginal(0)
    >>> print("%.6f %.6f" % (mean[0], cov[0, 0]))
    0.500000 0.500000
    """

    def __init__(self, chain: LinearModel | GaussianData, r: GaussianFactor | Clamp | LinearObservation) -> None:
        self.chain, self.T = chain, chain.diffusion.T
        rows = [_observation(r, len(chain.marginal(0)[0]))]
        for t in range(1, self.T + 1):
            (A, b, S), (y, H, g, R, scale) = self._kernel(t), rows[-1]
            rows.append(LinearObservation(y, H @ A, g + H @ b, R + H @ S @ H.T, scale))
        self._rows = tuple(rows)
        mean, cov = chain.marginal(self.T)
        y, H, g, R, scale = rows[-1]
        self.log_z = scale + float(_log_density(y - H @ mean - g, R + H @ cov @ H.T))

    def observation(self, t: int) -> LinearObservation:
        """r_t as an observation of x^t, t in 0..T; dimensionless, shapes as in `LinearObservation`. Section 2.5."""
        return self._rows[validation.one_time("t", t, 0, self.T)]

    def log_r(self, xt: npt.ArrayLike, t: int) -> Array:
        """log r_t(x^t) at xt (..., d), t in 0..T: shape (...), nats; ValueError as for data, and at t = 0 for a delta. Section 2.5."""
        y, H, g, R, scale = self.observation(t)
        return np.asarray(scale + _log_density(y - self._data(xt) @ H.T - g, R))

    def slope(self, xt: npt.ArrayLike, t: int) -> Array:
        """The gradient of log r_t, H' R^{-1} (y - H x - g), at xt (..., d): (..., d), nats per unit; ValueError as `log_r`. Section 2.5."""
        y, H, g, R, _ = self.observation(t)
        residual = y - self._data(xt) @ H.T - g
        return np.asarray(np.linalg.solve(_regular(R), residual[..., None])[..., 0] @ H)

    def start(self) -> tuple[Array, Array]:
        """Mean (d,) and covariance (d, d) of p~(x^T), dimensionless. Section 2.5."""
        return _condition(*self.chain.marginal(self.T), self._rows[-1])

    def kernel(self, t: int) -> LinearKernel:
        """p~(x^{t-1} | x^t) = N(A x^t + b, S), t in 1..T, dimensionless; S is singular at t = 1 for an exact observation. (21), (22)."""
        A, b, S = self._kernel(validation.one_time("t", t, 1, self.T))
        y, H, g, R, _ = self._rows[t - 1]
        gain = _gain(S, H, R)
        return LinearKernel(A - gain @ H @ A, b + gain @ (y - g - H @ b), _shrunk(S, gain, H, R))

    def marginal(self, t: int) -> tuple[Array, Array]:
        """Mean (d,) and covariance (d, d) of p~(x^t), t in 0..T, along the twisted chain; dimensionless. Section 2.5."""
        mean, cov = self.start()
        for step in range(self.T, validation.one_time("t", t, 0, self.T), -1):
            A, b, S = self.kernel(step)
            mean, cov = A @ mean + b, A @ cov @ A.T + S
        return mean, cov

    def posterior(self) -> tuple[Array, Array]:
        """Mean (d,) and covariance (d, d) of p(x^0) r(x^0) / Z, without the twist; dimensionless. Section 2.5."""
        return _condition(*self.chain.marginal(0), self._rows[0])

    def _kernel(self, t: int) -> LinearKernel:
        return self.chain.kernels[t - 1] if isinstance(self.chain, LinearModel) else self.chain.reversal(t)

    def _data(self, xt: npt.ArrayLike) -> Array:
        return validation.components("xt", self.chain.diffusion.check_data("xt", xt), self._rows[0].H.shape[1])


def _observation(r: GaussianFactor | Clamp | LinearObservation, d: int) -> LinearObservation:
    """r(x^0) as a linear observation, checked."""
    if isinstance(r, GaussianFactor):
        validation.components("r", r.mean, d)
        seen = np.isfinite(r.var)
        scale = r.log_scale + 0.5 * float((_LOG_2PI + np.log(r.var[seen])).sum())
        return LinearObservation(r.mean[seen], np.eye(d)[seen], np.zeros(int(seen.sum())), np.diag(r.var[seen]), scale)
    if isinstance(r, Clamp):
        validation.components("r", r.values, d)
        k = int(r.seen.sum())
        return LinearObservation(r.values[r.seen], np.eye(d)[r.seen], np.zeros(k), np.zeros((k, k)), 0.0)
    if not isinstance(r, LinearObservation):
        raise ValueError(f"r must be a GaussianFactor, a Clamp or a LinearObservation, got {type(r).__name__}")
    y, H, g, R = validation.finite("y", r.y), validation.finite("H", r.H), validation.finite("g", r.g), validation.finite("R", r.R)
    if y.ndim != 1 or H.shape != (y.size, d) or g.shape != y.shape or R.shape != (y.size, y.size):
        shapes = ", ".join(str(part.shape) for part in (y, H, g, R))
        raise ValueError(f"y, H, g and R must have shapes (k,), (k, {d}), (k,) and (k, k), got {shapes}")
    if (R != R.T).any() or (y.size and np.linalg.eigvalsh(R)[0] + 1e-12 * np.abs(R).max() < 0):
        raise ValueError(f"R must be symmetric and positive semidefinite, got {R}")
    return LinearObservation(y, H, g, R, float(validation.finite("log_scale", r.log_scale)))


def _regular(cov: Array) -> Array:
    try:
        np.linalg.cholesky(cov)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"r must have a density here, and exact observations must not repeat each other, got covariance {cov}") from error
    return cov


def _log_density(residual: Array, cov: Array) -> Array:
    """log N(residual; 0, cov) of residuals (..., k)."""
    root = np.linalg.cholesky(_regular(cov))
    whitened = np.linalg.solve(root, residual[..., None])[..., 0]
    return np.asarray(-0.5 * (len(cov) * _LOG_2PI + (whitened**2).sum(-1)) - np.log(np.diag(root)).sum())


def _gain(S: Array, H: Array, R: Array) -> Array:
    """S H' (H S H' + R)^{-1}."""
    return np.asarray(np.linalg.solve(_regular(H @ S @ H.T + R), H @ S).T)


def _shrunk(S: Array, gain: Array, H: Array, R: Array) -> Array:
    """The covariance that is left, as a sum of two positive semidefinite terms."""
    left = np.eye(len(S)) - gain @ H
    return np.asarray(left @ S @ left.T + gain @ R @ gain.T)


def _condition(mean: Array, cov: Array, r: LinearObservation) -> tuple[Array, Array]:
    """N(mean, cov) times r, normalised."""
    gain = _gain(cov, r.H, r.R)
    return mean + gain @ (r.y - r.g - r.H @ mean), _shrunk(cov, gain, r.H, r.R)

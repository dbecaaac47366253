"""Linear-Gaussian chains with full covariances: exact log p(x^0), K and entropies, by algebra alone.

    data      x^0 ~ N(m, C)                      q(x^t) = N(sqrt(abar_t) m, C_t),  C_t = abar_t C + (1 - abar_t) I
    model     x^T ~ N(0, I),  x^{t-1} = A_t x^t + b_t + N(0, S_t),  so that p(x^t) is Gaussian too
    reversal  q(x^{t-1} | x^t): with G = C_{t-1} C_t^{-1},  A_t = sqrt(1 - beta_t) G,  S_t = beta_t G,  b_t = m_{t-1} - A_t m_t

All C_t have the eigenvectors of C, so the reversal is taken eigenvalue by eigenvalue. K is taken from its definition: under
q(x^{t-1}, x^t | x^0) the residual x^{t-1} - A_t x^t - b_t is Gaussian, with a mean r linear in x^0 and a covariance M, and

    E log p(x^{t-1} | x^t) = - [ log det(2 pi S_t) + tr(S_t^{-1} M) + r' S_t^{-1} r ] / 2

Every exact quantity is at most quadratic in x^0; its average over N(m, C) is its average over the 2d points m +- sqrt(d) c_j, with
c_j the columns of a square root of C.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.1 to 2.4 and 2.6.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.exact.binary import Averages
from dpm_ref.gaussian import Gaussian, GaussianDiffusion
from dpm_ref.validation import Array

__all__ = ["LinearKernel", "LinearModel", "GaussianData"]

_LOG_2PI = 1.8378770664093453
_LOG_2PIE = 2.8378770664093453


class LinearKernel(NamedTuple):
    """p(x^{t-1} | x^t) = N(A x^t + b, S): A and S are (d, d), b is (d,), dimensionless."""

    A: Array
    b: Array
    S: Array


class LinearModel:
    """A reverse trajectory that is linear and Gaussian: p(x^T) = N(0, I), p(x^{t-1} | x^t) = N(A_t x^t + b_t, S_t).

    Parameters
    ----------
    diffusion : GaussianDiffusion
    kernels : sequence of T-1 triples (A, b, S), t = 2..T
        Shapes (d, d), (d,) and (d, d); S symmetric and positive definite.
    edge : triple (A, b, S), optional
        p(x^0 | x^1). By default the diffusion's own, T_pi: (sqrt(1 - beta_1) I, 0, beta_1 I), App. B.2.
    d : int, optional
        The number of components, to be given for T = 1 with the default edge.

    Raises
    ------
    ValueError
        If there are not T-1 kernels, their shapes disagree, or a covariance is not symmetric and positive definite.

    Notes
    -----
    Sections 2.2 to 2.4. The exact reversal of N(0, 4), behind the fixed edge:

    >>> data = GaussianData(GaussianDiffusion([0.2, 0.3, 0.4]), [0.0], [[4.0]])
    >>> model = LinearModel(data.diffusion, data.kernels())
    >>> print("%.6f %.6f %.6f" % model.averages(data))
    -2.278771 -2.486257 -1.682257
    """

    def __init__(self, diffusion: GaussianDiffusion, kernels: Sequence[tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]],
                 edge: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None = None, *, d: int | None = None) -> None:
        if len(kernels) != diffusion.T - 1:
            raise ValueError(f"kernels must be T - 1 = {diffusion.T - 1}, t = 2..T, got {len(kernels)}")
        given = [*([] if edge is None else [edge]), *kernels]
        if not given and d is None:
            raise ValueError("d must be given where there are neither kernels nor an edge, got None")
        self.diffusion, self._fixed_edge = diffusion, edge is None
        self.d = validation.vectors("b", validation.finite("b", given[0][1])).size if d is None else validation.count("d", d, 1)
        rate = diffusion.beta[0]
        first = (np.sqrt(1.0 - rate) * np.eye(self.d), np.zeros(self.d), rate * np.eye(self.d)) if edge is None else edge
        self.kernels = tuple(_kernel(kernel, self.d) for kernel in [first, *kernels])

    def reverse(self, xt: npt.ArrayLike, t: int) -> Gaussian:
        """p(x^{t-1} | x^t) as a law with independent components, for `bounds.lower_bound` and the like: over xt's shape (..., d).

        Dimensionless. One t in 1..T; ValueError where S_t is not diagonal, since the law would be another one. Table App.1.
        """
        A, b, S = self.kernels[validation.one_time("t", t, 1, self.diffusion.T) - 1]
        if np.abs(S - np.diag(np.diag(S))).max() > 0:
            raise ValueError(f"S must be diagonal for a law of independent components, got {S} at t = {t}")
        xt = validation.components("xt", self.diffusion.check_data("xt", xt), self.d)
        return Gaussian(xt @ A.T + b, np.diag(S))

    def edge(self, x1: npt.ArrayLike) -> Gaussian:
        """p(x^0 | x^1) as a law with independent components: `reverse` at t = 1. App. B.2."""
        return self.reverse(x1, 1)

    def marginal(self, t: int) -> tuple[Array, Array]:
        """Mean (d,) and covariance (d, d) of p(x^t), t in 0..T, dimensionless. Section 2.2."""
        mean, cov = np.zeros(self.d), np.eye(self.d)
        for A, b, S in reversed(self.kernels[validation.one_time("t", t, 0, self.diffusion.T):]):
            mean, cov = A @ mean + b, A @ cov @ A.T + S
        return mean, cov

    def log_likelihood(self, x0: npt.ArrayLike) -> Array:
        """log p(x^0) at x0 (..., d): shape (...), nats. ValueError as for data. Section 2.3."""
        mean, cov = self.marginal(0)
        return _log_normal(self._data(x0) - mean, cov, np.zeros_like(cov))

    def step_log_likelihood(self, x0: npt.ArrayLike, t: int) -> Array:
        """E_{q(x^{t-1},x^t|x^0)} log p(x^{t-1} | x^t), t in 1..T, at x0 (..., d): shape (...), nats. Section 2.4."""
        x0, t = self._data(x0), validation.one_time("t", t, 1, self.diffusion.T)
        A, b, S = self.kernels[t - 1]
        rate = self.diffusion.beta[t - 1]
        scale_prev, var_prev = _scale_and_var(self.diffusion, t - 1)
        undone = np.eye(self.d) - np.sqrt(1.0 - rate) * A  # the residual is undone x^{t-1} - sqrt(beta) A noise - b: squares add up
        return _log_normal(scale_prev * x0 @ undone.T - b, S, var_prev * undone @ undone.T + rate * A @ A.T)

    def lower_bound(self, x0: npt.ArrayLike) -> Array:
        """K(x^0) at x0 (..., d): shape (...), nats, without preconditions. Equation (10)."""
        x0 = self._data(x0)
        scale, var = _scale_and_var(self.diffusion, self.diffusion.T)
        total = _log_normal(scale * x0, np.eye(self.d), var * np.eye(self.d))
        for t in range(1, self.diffusion.T + 1):
            total = total + self.step_log_likelihood(x0, t) + self.diffusion.kernel_entropy(x0, t)
        return total

    def kl(self, x0: npt.ArrayLike) -> Array:
        """E_{q(x^t|x^0)} KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ), t = 2..T, at x0 (..., d): shape (T-1, ...), nats. Equation (14)."""
        x0 = self._data(x0)
        terms = [-self.step_log_likelihood(x0, t) - self.diffusion.posterior_entropy(x0, t) for t in range(2, self.diffusion.T + 1)]
        return np.array(terms).reshape(-1, *x0.shape[:-1])

    def averages(self, data: "GaussianData") -> Averages:
        """(L, K, eq14) averaged over a data law, floats in nats. Equations (13) and (14).

        eq14 supposes a precondition, E|x^0|^2 = d, that the data may break, and the edge T_pi; with any other it is nan.
        """
        points = data.points()
        first, last = (self.diffusion.marginal(points, t).entropy() for t in (1, self.diffusion.T))
        eq14 = (last - first - self.kl(points).sum(0)).mean() - self.diffusion.prior(self.d).entropy()
        return Averages(float(self.log_likelihood(points).mean()), float(self.lower_bound(points).mean()),
                        float(eq14) if self._fixed_edge else float("nan"))

    def _data(self, x0: npt.ArrayLike) -> Array:
        return validation.components("x0", self.diffusion.check_data("x0", x0), self.d)


class GaussianData:
    """Data x^0 ~ N(m, C), and the forward trajectory that starts in it: everything about it is known.

    Parameters
    ----------
    diffusion : GaussianDiffusion
    mean : array_like, shape (d,), dimensionless
    cov : array_like, shape (d, d), dimensionless, symmetric and positive definite

    Raises
    ------
    ValueError
        If the shapes disagree or the covariance is not symmetric and positive definite.

    Notes
    -----
    Sections 2.1 and 2.6.

    >>> data = GaussianData(GaussianDiffusion([0.2, 0.3]), [0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
    >>> print("%.6f %.6f" % (data.entropy(0), data.reverse_entropy(2)))
    2.694036 1.587550
    """

    def __init__(self, diffusion: GaussianDiffusion, mean: npt.ArrayLike, cov: npt.ArrayLike) -> None:
        self.diffusion = diffusion
        self._mean = validation.vectors("mean", validation.finite("mean", mean))
        if self._mean.ndim != 1:
            raise ValueError(f"mean must have shape (d,), got shape {self._mean.shape}")
        self._values, self._vectors = np.linalg.eigh(_covariance("cov", cov, self._mean.size))

    def marginal(self, t: int) -> tuple[Array, Array]:
        """Mean (d,) and covariance (d, d) of q(x^t), t in 0..T, dimensionless. Section 2.1."""
        scale, _ = _scale_and_var(self.diffusion, validation.one_time("t", t, 0, self.diffusion.T))
        return scale * self._mean, self._in_components(self._eigenvalues(t))

    def reversal(self, t: int) -> LinearKernel:
        """q(x^{t-1} | x^t) = N(A x^t + b, S), t in 1..T, dimensionless: the exact reversal. Section 2.6."""
        rate = self.diffusion.beta[validation.one_time("t", t, 1, self.diffusion.T) - 1]
        gain = self._in_components(self._eigenvalues(t - 1) / self._eigenvalues(t))
        A = np.sqrt(1.0 - rate) * gain
        return LinearKernel(A, self.marginal(t - 1)[0] - A @ self.marginal(t)[0], rate * gain)

    def kernels(self) -> list[LinearKernel]:
        """The exact reversal at t = 2..T, for `LinearModel`; dimensionless. Section 2.6."""
        return [self.reversal(t) for t in range(2, self.diffusion.T + 1)]

    def reverse(self, xt: npt.ArrayLike, t: int) -> Gaussian:
        """The moment match of the reversal, the ideal reverse kernel, at xt (..., d), one t in 1..T: a law over xt's shape, dimensionless.

        It is the reversal itself where C is diagonal. Table App.1; ValueError as for data.
        """
        A, b, S = self.reversal(t)
        return Gaussian(validation.components("xt", self.diffusion.check_data("xt", xt), self._mean.size) @ A.T + b, np.diag(S))

    def entropy(self, t: int) -> float:
        """H_q(X^t), t in 0..T, nats. Section 2.6."""
        return _entropy(self._eigenvalues(validation.one_time("t", t, 0, self.diffusion.T)))

    def reverse_entropy(self, t: int) -> float:
        """H_q(X^{t-1} | X^t), t in 1..T, nats: what (24) bounds."""
        rate = self.diffusion.beta[validation.one_time("t", t, 1, self.diffusion.T) - 1]
        return _entropy(rate * self._eigenvalues(t - 1) / self._eigenvalues(t))

    def points(self) -> Array:
        """2d points m +- sqrt(d) c_j, shape (2d, d), dimensionless, over which every quadratic has exactly its average over N(m, C).

        So what is computed for data given as an array is exact on them: L_null, (24), the two ends of K. Equation (13).
        """
        steps = (np.sqrt(self._mean.size * self._values) * self._vectors).T
        return np.concatenate([self._mean + steps, self._mean - steps])

    def _eigenvalues(self, t: int) -> Array:
        abar = float(self.diffusion.abar(t)) if t else 1.0
        return np.asarray(abar * self._values + _scale_and_var(self.diffusion, t)[1])

    def _in_components(self, eigenvalues: Array) -> Array:
        matrix = (self._vectors * eigenvalues) @ self._vectors.T
        return np.asarray(0.5 * (matrix + matrix.T))


def _scale_and_var(diffusion: GaussianDiffusion, t: int) -> tuple[float, float]:
    """sqrt(abar_t) and 1 - abar_t, from t = 0 on."""
    return (float(diffusion.sqrt_abar(t)), float(diffusion.one_minus_abar(t))) if t else (1.0, 0.0)


def _log_normal(residual: Array, cov: Array, spread: Array) -> Array:
    """E log N(r + noise; 0, cov) over noise of covariance `spread`, at residuals r (..., d)."""
    root = np.linalg.cholesky(cov)
    whitened = np.linalg.solve(root, residual.reshape(-1, residual.shape[-1]).T)
    square = (whitened**2).sum(0).reshape(residual.shape[:-1])
    trace = np.trace(np.linalg.solve(cov, spread))
    return np.asarray(-0.5 * (len(cov) * _LOG_2PI + 2.0 * np.log(np.diag(root)).sum() + trace + square))


def _entropy(eigenvalues: Array) -> float:
    return float(0.5 * (_LOG_2PIE + np.log(eigenvalues)).sum())


def _kernel(kernel: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike], d: int) -> LinearKernel:
    A, b = validation.finite("A", kernel[0]), validation.finite("b", kernel[1])
    if A.shape != (d, d) or b.shape != (d,):
        raise ValueError(f"A and b must have shapes ({d}, {d}) and ({d},), got {A.shape} and {b.shape}")
    return LinearKernel(A, b, _covariance("S", kernel[2], d))


def _covariance(name: str, value: npt.ArrayLike, d: int) -> Array:
    cov = validation.finite(name, value)
    if cov.shape != (d, d):
        raise ValueError(f"{name} must have shape ({d}, {d}), got {cov.shape}")
    if np.abs(cov - cov.T).max() > 8 * np.finfo(np.float64).eps * np.abs(cov).max():
        raise ValueError(f"{name} must be symmetric, got {cov}")
    least = np.linalg.eigvalsh(cov)[0]
    if least <= 0:
        raise ValueError(f"{name} must be positive definite, got an eigenvalue {least}")
    return cov

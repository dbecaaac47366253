"""Linear-Gaussian chains with full covariances: exact log p(x^0), K and entropies, by algebra.

    data      x^0 ~ N(m, C),  q(x^t) = N(sqrt(abar_t) m, C_t),  C_t = abar_t C + (1 - abar_t) I
    model     x^T ~ N(0, I),  x^{t-1} = A_t x^t + b_t + N(0, S_t)
    reversal  q(x^{t-1} | x^t): with G = C_{t-1} C_t^{-1},
              A_t = sqrt(1 - beta_t) G,  S_t = beta_t G,  b_t = m_{t-1} - A_t m_t

All C_t share the eigenvectors of C, so the reversal is computed per eigenvalue. K is computed from
its definition (12): under q(x^{t-1}, x^t | x^0) the residual x^{t-1} - A_t x^t - b_t is Gaussian,
with a mean r linear in x^0 and a covariance M, and

    E log p(x^{t-1} | x^t) = - [ log det(2 pi S_t) + tr(S_t^{-1} M) + r' S_t^{-1} r ] / 2

All these quantities are at most quadratic in x^0, so their average over N(m, C) is that over the
2d points m +- sqrt(d) c_j, with c_j the columns of a square root of C. Sections 2.1 to 2.4 and 2.6
of arXiv:1503.03585.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dpm_ref import validation
from dpm_ref.exact._atoms import scale_and_var
from dpm_ref.exact.finite import Averages, instance
from dpm_ref.gaussian import Gaussian, GaussianDiffusion
from dpm_ref.information import gaussian_entropy
from dpm_ref.protocols import total
from dpm_ref.validation import Array, own

__all__ = ["LinearKernel", "LinearModel", "GaussianData"]

Kernel = tuple[ArrayLike, ArrayLike, ArrayLike]


class LinearKernel(NamedTuple):
    """p(x^{t-1} | x^t) = N(A x^t + b, S): A and S are (d, d), b is (d,)."""

    A: Array
    b: Array
    S: Array


class LinearModel:
    """A reverse trajectory p(x^T) = N(0, I), p(x^{t-1} | x^t) = N(A_t x^t + b_t, S_t).

    Parameters
    ----------
    kernels : sequence of T-1 triples (A, b, S), t = 2..T
        Shapes (d, d), (d,) and (d, d); S symmetric and positive definite.
    edge : triple (A, b, S), optional
        p(x^0 | x^1). By default T_pi: (sqrt(1 - beta_1) I, 0, beta_1 I), App. B.2.
    d : int, optional
        Needed only for T = 1 with the default edge.

    The exact reversal of N(0, 4), with the fixed edge:

    >>> data = GaussianData(GaussianDiffusion([0.2, 0.3, 0.4]), [0.0], [[4.0]])
    >>> model = LinearModel(data.diffusion, data.kernels())
    >>> print("%.6f %.6f %.6f" % model.averages(data))
    -2.278771 -2.486257 -1.682257
    """

    def __init__(self, diffusion: GaussianDiffusion, kernels: Sequence[Kernel],
                 edge: Kernel | None = None, *, d: int | None = None) -> None:
        instance("diffusion", diffusion, GaussianDiffusion)
        instance("kernels", kernels, list, tuple)
        if len(kernels) != diffusion.T - 1:
            raise ValueError(f"kernels must be T - 1 = {diffusion.T - 1}, got {len(kernels)}")
        given = [*kernels] if edge is None else [edge, *kernels]
        if bad := [k for k in given if not isinstance(k, (list, tuple)) or len(k) != 3]:
            raise ValueError(f"kernels and edge must be triples (A, b, S), got {bad[0]!r:.80}")
        if not given and d is None:
            raise ValueError("d must be given where there are neither kernels nor an edge")
        self.diffusion, self._fixed_edge = diffusion, edge is None
        d = validation.finite("b", given[0][1]).size if d is None else d
        self.d = validation.count("d", d, 1)
        beta1, eye = diffusion.beta[0], np.eye(self.d)
        first = edge or (np.sqrt(1.0 - beta1) * eye, np.zeros(self.d), beta1 * eye)
        self.kernels = tuple(_kernel(kernel, self.d) for kernel in [first, *kernels])

    def reverse(self, xt: ArrayLike, t: int) -> Gaussian:
        """p(x^{t-1} | x^t) at xt (..., d), one t in 1..T, a law: S_t must be diagonal."""
        A, b, S = self.kernels[validation.one_time("t", t, 1, self.diffusion.T) - 1]
        if np.count_nonzero(S - np.diag(np.diag(S))):
            raise ValueError(f"S must be diagonal for independent components, got {S} at t = {t}")
        return Gaussian(_data("xt", xt, self.d) @ A.T + b, np.diag(S))

    def edge(self, x1: ArrayLike) -> Gaussian:
        """p(x^0 | x^1) at x1 (..., d): `reverse` at t = 1."""
        return self.reverse(x1, 1)

    def marginal(self, t: int) -> tuple[Array, Array]:
        """Mean (d,) and covariance (d, d) of p(x^t), t in 0..T."""
        mean, cov = np.zeros(self.d), np.eye(self.d)
        for A, b, S in reversed(self.kernels[validation.one_time("t", t, 0, self.diffusion.T):]):
            mean, cov = A @ mean + b, A @ cov @ A.T + S
        return mean, cov

    def log_likelihood(self, x0: ArrayLike) -> Array:
        """log p(x^0) at x0 (..., d): shape (...). Equation (6)."""
        mean, cov = self.marginal(0)
        return _log_normal(_data("x0", x0, self.d) - mean, cov, np.zeros_like(cov))

    def lower_bound(self, x0: ArrayLike) -> Array:
        """K(x^0) at x0 (..., d): shape (...), without preconditions. Equation (12).

        The rounding of A_t shows where S_t is not far above eps^2, as at a beta_t below 1e-20.
        """
        x0, q, eye = _data("x0", x0, self.d), self.diffusion, np.eye(self.d)
        scale, var = scale_and_var(q, np.zeros(()), q.T)
        steps = [self._step(x0, t) + q.kernel_entropy(x0, t) for t in range(1, q.T + 1)]
        return np.asarray(sum(steps, _log_normal(scale * x0, eye, var * eye)))

    def kl(self, x0: ArrayLike) -> Array:
        """E_q KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ), t = 2..T, at x0 (..., d): (T-1, ...)."""
        x0, q = _data("x0", x0, self.d), self.diffusion
        terms = [-self._step(x0, t) - q.posterior_entropy(x0, t) for t in range(2, q.T + 1)]
        return np.array(terms).reshape(-1, *x0.shape[:-1])

    def averages(self, data: "GaussianData") -> Averages:
        """L, K and equation (14), whose precondition data may break; it is nan for another edge."""
        instance("data", data, GaussianData)
        x0, q = data.points(), self.diffusion
        entropies = q.marginal(x0, q.T).entropy() - q.marginal(x0, 1).entropy()
        eq14 = (entropies - self.kl(x0).sum(0)).mean() - q.prior(self.d).entropy()
        return Averages(float(self.log_likelihood(x0).mean()), float(self.lower_bound(x0).mean()),
                        float(eq14) if self._fixed_edge else float("nan"))

    def _step(self, x0: Array, t: int) -> Array:
        """E_{q(x^{t-1},x^t|x^0)} log p(x^{t-1} | x^t).

        The residual, undone @ x^{t-1} - sqrt(beta_t) A noise - b, is a sum of independent terms.
        """
        (A, b, S), beta = self.kernels[t - 1], self.diffusion.beta[t - 1]
        scale, var = scale_and_var(self.diffusion, np.zeros(()), t - 1)
        undone = np.eye(self.d) - np.sqrt(1.0 - beta) * A
        residual_cov = var * undone @ undone.T + beta * A @ A.T
        return _log_normal(scale * x0 @ undone.T - b, S, residual_cov)


class GaussianData:
    """Data x^0 ~ N(mean, cov), mean (d,), cov (d, d) positive definite, and the forward trajectory.

    >>> data = GaussianData(GaussianDiffusion([0.2, 0.3]), [0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
    >>> print("%.6f %.6f" % (data.entropy(0), data.reverse_entropy(2)))
    2.694036 1.587550
    """

    def __init__(self, diffusion: GaussianDiffusion, mean: ArrayLike, cov: ArrayLike) -> None:
        instance("diffusion", diffusion, GaussianDiffusion)
        mean, rule = validation.finite("mean", mean), "have shape (d,), d >= 1"
        self._mean = own(validation.shaped("mean", mean, rule, mean.ndim == 1 and mean.size > 0))
        self.diffusion = diffusion
        self._values, self._vectors = np.linalg.eigh(_covariance("cov", cov, self._mean.size))

    def marginal(self, t: int) -> tuple[Array, Array]:
        """Mean (d,) and covariance (d, d) of q(x^t), t in 0..T."""
        t = validation.one_time("t", t, 0, self.diffusion.T)
        scale, values = scale_and_var(self.diffusion, self._values, t)
        return scale * self._mean, self._in_components(values)

    def reversal(self, t: int) -> LinearKernel:
        """The true step q(x^{t-1} | x^t) = N(A x^t + b, S), t in 1..T."""
        gain, beta = self._in_components(self._gain(t)), self.diffusion.beta[t - 1]
        A = np.sqrt(1.0 - beta) * gain
        return LinearKernel(A, self.marginal(t - 1)[0] - A @ self.marginal(t)[0], beta * gain)

    def kernels(self) -> list[LinearKernel]:
        """The exact reversal at t = 2..T, for `LinearModel`."""
        return [self.reversal(t) for t in range(2, self.diffusion.T + 1)]

    def reverse(self, xt: ArrayLike, t: int) -> Gaussian:
        """The ideal kernel, the moment match of `reversal`, at xt (..., d) and one t in 1..T."""
        A, b, S = self.reversal(t)
        return Gaussian(_data("xt", xt, self._mean.size) @ A.T + b, np.diag(S))

    def entropy(self, t: int) -> float:
        """H_q(X^t), t in 0..T."""
        t = validation.one_time("t", t, 0, self.diffusion.T)
        return float(gaussian_entropy(scale_and_var(self.diffusion, self._values, t)[1]).sum())

    def reverse_entropy(self, t: int) -> float:
        """H_q(X^{t-1} | X^t), t in 1..T, the entropy bounded by (24)."""
        return float(gaussian_entropy(self._gain(t) * self.diffusion.beta[t - 1]).sum())

    def points(self) -> Array:
        """2d points, shape (2d, d), that average every quadratic as N(mean, cov) does."""
        steps = (np.sqrt(self._mean.size * self._values) * self._vectors).T
        return np.concatenate([self._mean + steps, self._mean - steps])

    def _gain(self, t: int) -> Array:
        """The eigenvalues of C_{t-1} C_t^{-1}, t in 1..T."""
        t = validation.one_time("t", t, 1, self.diffusion.T)
        before, after = (scale_and_var(self.diffusion, self._values, s)[1] for s in (t - 1, t))
        return before / after

    def _in_components(self, eigenvalues: Array) -> Array:
        matrix = (self._vectors * eigenvalues) @ self._vectors.T
        return np.asarray(0.5 * (matrix + matrix.T))


def _data(name: str, x: ArrayLike, d: int) -> Array:
    return validation.components(name, validation.data(name, validation.finite(name, x)), d)


def _log_normal(residual: Array, cov: Array, noise_cov: Array) -> Array:
    """E log N(r + noise; 0, cov) over noise of covariance `noise_cov`, at residuals r (..., d)."""
    root = np.linalg.cholesky(cov)
    constant = len(cov) * np.log(2.0 * np.pi) + 2.0 * np.log(np.diag(root)).sum()
    trace = np.trace(np.linalg.solve(cov, noise_cov))
    with np.errstate(over="ignore"):  # a log density below -1e308 is -inf
        square = total(np.linalg.solve(root, residual[..., None])[..., 0] ** 2)
    return np.asarray(-0.5 * (constant + trace + square))


def _kernel(kernel: Kernel, d: int) -> LinearKernel:
    A, b = validation.finite("A", kernel[0]), validation.finite("b", kernel[1])
    if A.shape != (d, d) or b.shape != (d,):
        raise ValueError(f"A and b must have shapes {(d, d)} and {(d,)}, got {A.shape}, {b.shape}")
    return LinearKernel(own(A), own(b), own(_covariance("S", kernel[2], d)))


def _covariance(name: str, value: ArrayLike, d: int) -> Array:
    cov, eps = validation.finite(name, value), np.finfo(np.float64).eps
    if cov.shape != (d, d) or np.abs(cov - cov.T).max() > 8 * eps * np.abs(cov).max():
        raise ValueError(f"{name} must be a symmetric ({d}, {d}) matrix, got {cov}")
    if (least := np.linalg.eigvalsh(cov)[0]) <= 0:
        raise ValueError(f"{name} must be positive definite, got an eigenvalue {least}")
    return cov

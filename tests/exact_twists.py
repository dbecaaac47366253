"""Exact twists r_t(x^t) = E[ r(x^0) | x^t ], and posteriors p(x^0) r(x^0) / Z.

Oracles for section 2.5. With the twist for r(x^t) the perturbed trajectory is the posterior's own,
for any T:

    p~(x^T) = p(x^T) r_T(x^T) / Z,    Z = E r_T(x^T)
    p~(x^{t-1} | x^t) = p(x^{t-1} | x^t) r_{t-1}(x^{t-1}) / r_t(x^t)

since Z~_{t-1}(x^t) = r_t(x^t) is then what (22) normalises by, and (21) and (22) are one.

    BinaryTwist  d bits, all states enumerated: R_t the matrix of p(x^{t-1}|x^t), r_t = R_t r_{t-1}
    LinearTwist  linear-Gaussian chains and r(x^0) = N(y; H x^0 + g, R): a Kalman filter in t,
                 r_t(x^t) = N(y; H_t x^t + g_t, R_t),   H_t = H_{t-1} A_t,
                 g_t = g_{t-1} + H_{t-1} b_t,   R_t = R_{t-1} + H_{t-1} S_t H_{t-1}'
    FiniteTwist  finite data under their true reversal:
                 r_t(x^t) = sum_k q(k | x^t) E[ r(x^0) | k, x^t ]
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from dpm_ref import Bernoulli, GaussianDiffusion
from dpm_ref.exact import BinaryModel, LinearKernel, LinearModel
from dpm_ref.posteriors import Clamp, GaussianFactor

LOG_2PI = np.log(2 * np.pi)


def log(x):
    with np.errstate(divide="ignore"):
        return np.log(x)


class BinaryTwist:
    """The twist of r, values (2^d,) or a factor, for a BinaryModel or a BinaryData's reversal.

    values (T+1, 2^d) holds r_t, log_z is log E r(x^0).
    """

    def __init__(self, chain, r):
        self.chain, self.T = chain, chain.diffusion.T
        self.model = isinstance(chain, BinaryModel)
        self.states = chain.states if self.model else chain.atoms
        rows = [np.exp(r.log_r(self.states)) if hasattr(r, "log_r") else np.asarray(r, dtype=float)]
        for t in range(1, self.T + 1):
            rows.append(self._matrix(t) @ rows[-1])
        self.values = np.stack(rows)
        self.log_z = float(np.log(chain.marginal(self.T) @ self.values[-1]))

    def log_r(self, xt, t):
        """log r_t(x^t) at bits xt (..., d): shape (...)."""
        return log(self.values[t][self._number(xt)])

    def slope(self, xt, t):
        """log r_t(x_i = 1) - log r_t(x_i = 0) for each bit of xt (..., d), the others as given."""
        bits = np.asarray(xt, dtype=int)
        place = 2 ** np.arange(bits.shape[-1] - 1, -1, -1)
        without = self._number(bits)[..., None] - bits * place
        return log(self.values[t])[without + place] - log(self.values[t])[without]

    def start(self):
        """p~(x^T) of every state: shape (2^d,)."""
        return self.chain.marginal(self.T) * self.values[-1] / np.exp(self.log_z)

    def kernel(self, t):
        """p~(x^{t-1} | x^t) as a matrix; rows from which r is out of reach are the chain's own."""
        norm = self.values[t][:, None]
        with np.errstate(invalid="ignore"):
            twisted = self._matrix(t) * self.values[t - 1] / norm
        return np.where(norm > 0, twisted, self._matrix(t))

    def posterior(self):
        """p(x^0) r(x^0) / Z of every state, without the twist: shape (2^d,)."""
        product = self.chain.marginal(0) * self.values[0]
        return product / product.sum()

    def _matrix(self, t):
        return self.chain.reverse_matrix(t) if self.model else self.chain.reversal(t)

    def _number(self, xt):
        return np.asarray(xt, dtype=int) @ 2 ** np.arange(self.states.shape[1] - 1, -1, -1)


class LinearObservation(NamedTuple):
    """r(x) = exp(log_scale) N(y; H x + g, R)."""

    y: np.ndarray
    H: np.ndarray
    g: np.ndarray
    R: np.ndarray
    log_scale: float


class LinearTwist:
    """The twist of a linear observation for a LinearModel or a GaussianData's reversal.

    r is a GaussianFactor, a Clamp or a LinearObservation; log_z is log E r(x^0), for a Clamp the
    log density of what was seen.
    """

    def __init__(self, chain, r):
        self.chain, self.T = chain, chain.diffusion.T
        rows = [observation(r, len(chain.marginal(0)[0]))]
        for t in range(1, self.T + 1):
            (A, b, S), (y, H, g, R, scale) = self._kernel(t), rows[-1]
            rows.append(LinearObservation(y, H @ A, g + H @ b, R + H @ S @ H.T, scale))
        self.rows = rows
        mean, cov = chain.marginal(self.T)
        y, H, g, R, scale = rows[-1]
        self.log_z = scale + float(log_density(y - H @ mean - g, R + H @ cov @ H.T))

    def log_r(self, xt, t):
        """log r_t(x^t) at xt (..., d): shape (...)."""
        y, H, g, R, scale = self.rows[t]
        return scale + log_density(y - np.asarray(xt) @ H.T - g, R)

    def slope(self, xt, t):
        """The gradient of log r_t, H' R^{-1} (y - H x - g), at xt (..., d)."""
        y, H, g, R, _ = self.rows[t]
        residual = y - np.asarray(xt) @ H.T - g
        return np.linalg.solve(R, residual[..., None])[..., 0] @ H

    def start(self):
        """Mean and covariance of p~(x^T)."""
        return condition(*self.chain.marginal(self.T), self.rows[-1])

    def kernel(self, t):
        """p~(x^{t-1} | x^t) = N(A x^t + b, S); S is singular at t = 1 if r is exact."""
        (A, b, S), (y, H, g, R, _) = self._kernel(t), self.rows[t - 1]
        gain = gain_of(S, H, R)
        return LinearKernel(A - gain @ H @ A, b + gain @ (y - g - H @ b), shrunk(S, gain, H, R))

    def marginal(self, t):
        """Mean and covariance of p~(x^t) along the twisted chain."""
        mean, cov = self.start()
        for step in range(self.T, t, -1):
            A, b, S = self.kernel(step)
            mean, cov = A @ mean + b, A @ cov @ A.T + S
        return mean, cov

    def posterior(self):
        """Mean and covariance of p(x^0) r(x^0) / Z, without the twist."""
        return condition(*self.chain.marginal(0), self.rows[0])

    def _kernel(self, t):
        linear = isinstance(self.chain, LinearModel)
        return self.chain.kernels[t - 1] if linear else self.chain.reversal(t)


def observation(r, d):
    """r(x^0) as a linear observation."""
    if isinstance(r, Clamp):
        k = int(r.seen.sum())
        nothing = np.zeros(k), np.zeros((k, k))
        return LinearObservation(r.values[r.seen], np.eye(d)[r.seen], *nothing, 0.0)
    if isinstance(r, GaussianFactor):
        var = np.broadcast_to(r.var, (d,))
        seen = np.isfinite(var)
        scale = r.log_scale + 0.5 * (LOG_2PI + np.log(var[seen])).sum()
        mean, noise = np.broadcast_to(r.mean, (d,))[seen], np.diag(var[seen])
        return LinearObservation(mean, np.eye(d)[seen], np.zeros(seen.sum()), noise, scale)
    return r


def log_density(residual, cov):
    """log N(residual; 0, cov) of residuals (..., k)."""
    square = (residual * np.linalg.solve(cov, residual[..., None])[..., 0]).sum(-1)
    return -0.5 * (len(cov) * LOG_2PI + np.linalg.slogdet(cov)[1] + square)


def gain_of(S, H, R):
    """S H' (H S H' + R)^{-1}."""
    return np.linalg.solve(H @ S @ H.T + R, H @ S).T


def shrunk(S, gain, H, R):
    """The covariance that is left, as a sum of two positive semidefinite terms."""
    left = np.eye(len(S)) - gain @ H
    return left @ S @ left.T + gain @ R @ gain.T


def condition(mean, cov, r):
    """N(mean, cov) times r, normalised."""
    gain = gain_of(cov, r.H, r.R)
    return mean + gain @ (r.y - r.g - r.H @ mean), shrunk(cov, gain, r.H, r.R)


class FinitePosterior(NamedTuple):
    """q(x^0) r(x^0) / Z: atom k with weights (m,), around it N(mean, var), (m, d) each."""

    weights: np.ndarray
    mean: np.ndarray
    var: np.ndarray
    log_z: float

    def sample(self, n, *, rng):
        """n independent draws of x^0, (n, d)."""
        index = rng.choice(len(self.weights), n, p=self.weights)
        noise = rng.standard_normal((n, self.mean.shape[1]))
        return self.mean[index] + np.sqrt(self.var[index]) * noise


class FiniteTwist:
    """The twist of a factor for FiniteData; with variances a GaussianFactor or a Clamp.

    Given its atom and x^t, x^0 is N( ((1 - abar_t) atom + sqrt(abar_t) s x^t) / v, (1 - abar_t) s
    / v I ) with s its variance and v = abar_t s + 1 - abar_t.
    """

    def __init__(self, data, r):
        self.data, self.r, self.spread = data, r, bool(data.var.any())
        mean, var, log_z = data.atoms, np.zeros(data.atoms.shape), None
        if self.spread:
            parts = self._given_atom(data.atoms[:, None, :], data.var[:, None])
            log_z, mean, var = (part[:, 0] for part in parts)
        joint = log(data.weights) + (r.log_r(data.atoms) if log_z is None else log_z)
        self.log_z = float(logsumexp(joint))
        self._posterior = FinitePosterior(np.exp(joint - self.log_z), mean, var, self.log_z)

    def posterior(self):
        """q(x^0) r(x^0) / Z."""
        return self._posterior

    def log_r(self, xt, t):
        """log r_t(x^t) at xt (..., d): shape (...)."""
        xt = np.asarray(xt, dtype=float)
        if t == 0:
            return self.r.log_r(xt)
        rows = xt.reshape(-1, xt.shape[-1])
        joint = self._joint(rows, t)
        value = logsumexp(joint + self._log_expected(rows, t), axis=1) - logsumexp(joint, axis=1)
        return value.reshape(xt.shape[:-1])

    def slope(self, xt, t):
        """The gradient of log r_t, or its log ratio of bits, at xt (..., d): (..., d)."""
        xt = np.asarray(xt, dtype=float)
        rows = xt.reshape(-1, xt.shape[-1])
        gaussian = isinstance(self.data.diffusion, GaussianDiffusion)
        slopes = self._gradient(rows, t) if gaussian else self._log_ratio(rows, t)
        return slopes.reshape(xt.shape)

    def _joint(self, rows, t):
        return log(self.data.responsibilities(rows, t))  # up to log q(x^t), which cancels

    def _gradient(self, rows, t):
        """sqrt(abar_t) / (1 - abar_t) times the means of x^0 given x^t, with r less without."""
        diffusion, joint = self.data.diffusion, self._joint(rows, t)
        plain = softmax(joint, axis=1)
        twisted = softmax(joint + self._log_expected(rows, t), axis=1)
        if not self.spread:
            difference = (twisted - plain) @ self.data.atoms
        else:
            before, var = self._law_given_atom(rows, t)
            after = self._given_atom(before, var)[1]
            difference = (twisted[..., None] * after - plain[..., None] * before).sum(1)
        return float(diffusion.sqrt_abar(t) / diffusion.one_minus_abar(t)) * difference

    def _log_ratio(self, rows, t):
        law = Bernoulli.like(self.data.diffusion.marginal(self.data.atoms, t))
        log1, log0 = np.log(law.prob1), np.log(law.prob0)
        without = self._joint(rows, t)[..., None] - np.where(rows[:, None, :] == 1, log1, log0)
        gain = self.r.log_r(self.data.atoms)[:, None]
        parts = [
            logsumexp(without + x + gain, axis=1) - logsumexp(without + x, axis=1)
            for x in (log1, log0)
        ]
        return parts[0] - parts[1]

    def _log_expected(self, rows, t):
        """log E[ r(x^0) | k, x^t ], (n, m) or (1, m)."""
        if not self.spread:
            return self.r.log_r(self.data.atoms)[None]
        return self._given_atom(*self._law_given_atom(rows, t))[0]

    def _law_given_atom(self, rows, t):
        """Mean (n, m, d) and variance (m,) of x^0 given its atom and x^t."""
        abar, rest = (
            float(table(t))
            for table in (self.data.diffusion.abar, self.data.diffusion.one_minus_abar)
        )
        v = abar * self.data.var + rest
        of_xt = (np.sqrt(abar) * self.data.var / v)[:, None]
        return (rest / v)[:, None] * self.data.atoms + of_xt * rows[
            :, None
        ], rest * self.data.var / v

    def _given_atom(self, mean, var):
        """N(mean, var) times r: log of the integral, mean and variance of the product."""
        var = np.broadcast_to(np.asarray(var)[..., None], mean.shape)
        return multiply(self.r, mean, var)


def multiply(r, mean, var):
    """N(mean, var) times a GaussianFactor or a Clamp, by precisions: log Z, mean, variance."""
    if isinstance(r, Clamp):
        z = np.where(r.seen, -0.5 * (LOG_2PI + np.log(var) + (r.values - mean) ** 2 / var), 0.0)
        return z.sum(-1), np.where(r.seen, r.values, mean), np.where(r.seen, 0.0, var)
    precision = 1 / var + 1 / r.var
    seen = np.isfinite(r.var)
    z = np.where(seen, -0.5 * (np.log1p(var / r.var) + (r.mean - mean) ** 2 / (var + r.var)), 0.0)
    return r.log_scale + z.sum(-1), (mean / var + r.mean / r.var) / precision, 1 / precision

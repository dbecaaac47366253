"""The exact twist of finite data: r_t(x^t) = E[ r(x^0) | x^t ] under the data's true reversal, and the posterior q(x^0) r(x^0) / Z.

    r_t(x^t) = sum_k q(k | x^t) E[ r(x^0) | k, x^t ]

Given its atom, x^0 is the atom itself or, with a spread s,

    N( ((1 - abar_t) atom + sqrt(abar_t) s x^t) / v, (1 - abar_t) s / v I ),    v = abar_t s + 1 - abar_t.

The gradient follows from two denoisers: E and E~ being means given x^t without r and with it,

    grad log r_t = sqrt(abar_t) / (1 - abar_t) ( E~[x^0 | x^t] - E[x^0 | x^t] ).

The chain is the data's own, not the ideal kernel's, whose components are independent; a model near either can use the twist as
r(x^t) in a particle filter, which then has little left to weigh.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5; the twist is beyond the paper.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, softmax

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli
from dpm_ref.exact.finite import FiniteData
from dpm_ref.gaussian import Gaussian, GaussianDiffusion
from dpm_ref.posteriors.conditions import Clamped
from dpm_ref.posteriors.factors import Factor
from dpm_ref.validation import Array

__all__ = ["FiniteTwist", "FinitePosterior"]


class FinitePosterior(NamedTuple):
    """q(x^0) r(x^0) / Z: atom k with weights (m,), and around it N(mean, var), (m, d) each, var 0 where x^0 is certain."""

    weights: Array
    mean: Array
    var: Array
    log_z: float

    def sample(self, n: int, *, rng: np.random.Generator) -> Array:
        """n independent draws of x^0, (n, d), dimensionless; ValueError for n < 1 or no Generator. Section 2.5."""
        n, rng = validation.count("n", n, 1), validation.generator(rng)
        index = rng.choice(len(self.weights), n, p=self.weights)
        return np.asarray(self.mean[index] + np.sqrt(self.var[index]) * rng.standard_normal((n, self.mean.shape[1])))


class FiniteTwist:
    """The twist of a factor for finite data.

    Parameters
    ----------
    data : FiniteData
        Of either column; atoms all with a spread, or all without.
    r : a factor of `dpm_ref.posteriors`
        r(x^0). Where atoms have a spread it must multiply a Gaussian in closed form: a GaussianFactor or a Clamp.

    Raises
    ------
    ValueError
        If r has no closed form with a spread, only some atoms have one, or r is zero at all atoms.

    Notes
    -----
    Section 2.5. `log_r` and `slope` are what `posteriors.of_time` takes.

    >>> from dpm_ref import BinomialDiffusion
    >>> from dpm_ref.posteriors import noisy_bits
    >>> two = FiniteData(BinomialDiffusion([0.5, 0.5]), [[0, 0], [1, 1]])
    >>> twist = FiniteTwist(two, noisy_bits([1, 1], 0.25))
    >>> print(twist.posterior().weights, "%.6f" % twist.log_r([1, 1], 2))
    [0.1 0.9] -0.843628
    """

    def __init__(self, data: FiniteData, r: Factor) -> None:
        self.data, self.r = data, r
        self._spread = bool(data.spread.any())
        if self._spread and not (data.spread > 0).all():
            raise ValueError("data must have a spread around every atom or around none for a twist, got a spread of 0 beside others")
        at_atoms = self._given_atom(data.atoms[:, None, :], data.spread[:, None]) if self._spread else None
        log_z = r.log_r(data.atoms) if at_atoms is None else at_atoms[0][:, 0]
        with np.errstate(divide="ignore"):
            joint = np.log(data.weights) + log_z
        if not np.isfinite(joint.max()):
            raise ValueError("r must be positive somewhere on the data's support, got r = 0 at all atoms")
        self.log_z = float(logsumexp(joint))
        mean, var = (data.atoms, np.zeros(data.atoms.shape)) if at_atoms is None else (part[:, 0] for part in at_atoms[1:])
        self._posterior = FinitePosterior(np.exp(joint - self.log_z), mean, var, self.log_z)

    def posterior(self) -> FinitePosterior:
        """q(x^0) r(x^0) / Z: weights (m,), means and variances (m, d), dimensionless; log Z in nats. Section 2.5."""
        return self._posterior

    def log_r(self, xt: npt.ArrayLike, t: int) -> Array:
        """log r_t(x^t) at xt (..., d), t in 0..T: shape (...), nats; ValueError as for data. Section 2.5."""
        x, t = self._state(xt, t, 0)
        if t == 0:
            return np.asarray(self.r.log_r(x))

        def block(rows: Array, time: int) -> Array:
            joint = self.data._log_joint(rows, time)
            return np.asarray(logsumexp(joint + self._log_expected(rows, time), axis=1) - logsumexp(joint, axis=1))

        return self.data._map(block, x, np.asarray(t))

    def slope(self, xt: npt.ArrayLike, t: int) -> Array:
        """The gradient of log r_t, or log r_t(x_i = 1) - log r_t(x_i = 0) for bits, at xt (..., d), t in 1..T: (..., d), nats per unit.

        Section 2.5, Table App.1; ValueError as for data.
        """
        x, t = self._state(xt, t, 1)
        return self.data._map(self._gradient if isinstance(self.data.diffusion, GaussianDiffusion) else self._log_ratio, x, np.asarray(t))

    def _gradient(self, rows: Array, t: int) -> Array:
        diffusion, joint = self.data.diffusion, self.data._log_joint(rows, t)
        plain, twisted = softmax(joint, axis=1), softmax(joint + self._log_expected(rows, t), axis=1)
        if not self._spread:
            difference = (twisted - plain) @ self.data.atoms
        else:
            before, var = self._law_given_atom(rows, t)
            after = self._given_atom(before, var)[1]
            difference = np.einsum("nm,nmd->nd", twisted, after) - np.einsum("nm,nmd->nd", plain, before)
        return np.asarray(float(diffusion.sqrt_abar(t) / diffusion.one_minus_abar(t)) * difference)

    def _log_ratio(self, rows: Array, t: int) -> Array:
        law = Bernoulli.like(self.data.diffusion.marginal(self.data.atoms, t))
        log1, log0 = np.log(law.prob1), np.log(law.prob0)
        without = self.data._log_joint(rows, t)[..., None] - np.where(rows[:, None, :] == 1, log1, log0)
        gain = self.r.log_r(self.data.atoms)[:, None]
        parts = [logsumexp(without + log + gain, axis=1) - logsumexp(without + log, axis=1) for log in (log1, log0)]
        return np.asarray(parts[0] - parts[1])

    def _log_expected(self, rows: Array, t: int) -> Array:
        """log E[ r(x^0) | k, x^t ], (n, m) or (1, m)."""
        if not self._spread:
            return self.r.log_r(self.data.atoms)[None]
        return self._given_atom(*self._law_given_atom(rows, t))[0]

    def _law_given_atom(self, rows: Array, t: int) -> tuple[Array, Array]:
        """Mean (n, m, d) and variance (m,) of x^0 given its atom and x^t."""
        abar, lost = float(self.data.diffusion.abar(t)), float(self.data.diffusion.one_minus_abar(t))
        spread = self.data.spread
        v = abar * spread + lost
        mean = (lost / v)[:, None] * self.data.atoms + (np.sqrt(abar) * spread / v)[:, None] * rows[:, None, :]
        return mean, lost * spread / v

    def _given_atom(self, mean: Array, var: Array) -> tuple[Array, Array, Array]:
        """N(mean, var) times r: log of the integral, mean and variance of the product, at means (n, m, d) and variances (m,) or (n, m)."""
        product = self.r.multiply(Gaussian(mean, np.broadcast_to(var[..., None], mean.shape)))
        if product.log_z is None:
            raise ValueError(f"r must multiply a Gaussian in closed form where atoms have a spread, got a {type(self.r).__name__}")
        if isinstance(product.law, Clamped):
            seen, values, law = product.law.seen, product.law.values, product.law.law
            return product.log_z, np.where(seen, values, law.mean), np.where(seen, 0.0, law.var)
        return product.log_z, product.law.mean, product.law.var

    def _state(self, xt: npt.ArrayLike, t: int, first: int) -> tuple[Array, int]:
        x = validation.components("xt", self.data.diffusion.check_data("xt", xt), self.data.atoms.shape[1])
        return x, validation.one_time("t", t, first, self.data.diffusion.T)

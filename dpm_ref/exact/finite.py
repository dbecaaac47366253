"""Data on finitely many atoms: every distribution of the forward trajectory is known.

    q(x^0)           = sum_k w_k  atom_k, or for the Gaussian column N(atom_k, var_k I)
    q(x^t)           = sum_k w_k q(x^t | k)
    q(k | x^t)       = w_k q(x^t | k) / q(x^t)                      the responsibilities
    q(x^{t-1} | x^t) = sum_k q(k | x^t) q(x^{t-1} | x^t, k)         the true reverse step

The components of the true reverse step are dependent; those of a reverse kernel of Table App.1 are
not. The best such kernel is the moment match: of all laws with independent components, the one with
the mixture's means and variances has the least KL( q(x^{t-1}|x^t) || p ), and hence the largest K.
This is the *ideal reverse kernel*; no training can exceed its K. It is beyond the paper; the rest
is in sections 2.1 to 2.4 of arXiv:1503.03585.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, ndtri

from dpm_ref import validation
from dpm_ref.binomial import BinomialDiffusion
from dpm_ref.exact._atoms import BinaryAtoms, GaussianAtoms
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.protocols import takes_times
from dpm_ref.validation import Array, IntArray, own

__all__ = ["FiniteData", "Averages", "distribution", "instance"]

_BLOCK = 2**16  # pairs (state, atom) held at once: what a processor's cache holds


class Averages(NamedTuple):
    """Averages over data: L = E log p(x^0), K, and what equation (14) gives for it."""

    log_likelihood: float
    bound: float
    eq14: float


class FiniteData(validation.ReadOnly):
    """A data distribution on finitely many atoms, its forward trajectory, and the ideal kernel.

    The arguments are kept as read-only attributes.

    Parameters
    ----------
    atoms : array_like, shape (m, d)
    weights : array_like, shape (m,), optional
        Probabilities of the atoms; equal by default.
    var : float or array_like of shape (m,), >= 0
        Variance of an isotropic Gaussian around each atom; Gaussian column only.

    >>> two = FiniteData(GaussianDiffusion([0.1, 0.2]), [[-1.0], [1.0]])
    >>> print("%.6f %.6f" % (two.log_prob([0.5], 2), two.reverse([0.5], 2).mean[0]))
    -1.145353 0.774915
    """

    def __init__(self, diffusion: GaussianDiffusion | BinomialDiffusion, atoms: ArrayLike,
                 weights: ArrayLike | None = None, var: ArrayLike = 0.0) -> None:
        instance("diffusion", diffusion, GaussianDiffusion, BinomialDiffusion)
        self.diffusion, self.atoms = diffusion, own(diffusion.check_data("atoms", atoms))
        validation.shaped("atoms", self.atoms, "have shape (m, d)", self.atoms.ndim == 2)
        m, var = len(self.atoms), validation.finite("var", var)
        self._gaussian = isinstance(diffusion, GaussianDiffusion)
        if var.shape not in ((), (m,)) or (var < 0).any() or (var.any() and not self._gaussian):
            raise ValueError(f"var must be one number >= 0 or {m} of them, 0 for bits, got {var}")
        weights = np.full(m, 1.0 / m) if weights is None else weights
        self.weights, self.var = distribution("weights", weights, m), own(np.full(m, var))
        with np.errstate(divide="ignore"):  # a weight may be 0
            self._log_weights = np.log(self.weights)
        column = GaussianAtoms if self._gaussian else BinaryAtoms
        self._column = column(diffusion, self.atoms, self.var)

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """log q(x^t) at x (..., d), t in 0..T (from 1 if x^0 has no density): shape (...)."""
        return self._map(self._density, *self._states("x", x, t, first=0))

    def responsibilities(self, xt: ArrayLike, t: ArrayLike) -> Array:
        """q(atom k | x^t) at xt (..., d): shape (..., m), t as for `log_prob`."""
        return self._map(self._posterior, *self._states("xt", xt, t, first=0))

    @takes_times
    def reverse(self, xt: ArrayLike, t: ArrayLike) -> Any:
        """The ideal reverse kernel: the moment match of q(x^{t-1} | x^t) at xt (..., d), a law.

        t in 1..T, or 2..T for Gaussian atoms of variance 0, as x^0 given x^1 is then on the atoms.
        """
        match = self._given(self._column.match, *self._states("xt", xt, t, first=1))
        return self.diffusion.law(match[..., 0, :], match[..., 1, :])

    def divergence(self, xt: ArrayLike, t: ArrayLike) -> Array:
        """E[ KL( q(x^{t-1}|x^t,x^0) || ideal kernel ) | x^t ] at xt (..., d), t in 2..T: (...).

        Its mean over q(x^t) is the least possible E KL_t of (14). Never negative, within rounding.
        """
        return self._given(self._column.divergence, *self._states("xt", xt, t, first=2))

    def log_reverse(self, x_prev: ArrayLike, xt: ArrayLike, t: ArrayLike) -> Array:
        """log q(x^{t-1} | x^t), the true step with its dependent components: shape (...).

        By Bayes' rule, log q(x^t|x^{t-1}) + log q(x^{t-1}) - log q(x^t); t as for `reverse`.
        """
        x_prev, time = self._states("x_prev", x_prev, t, first=1)
        xt = self._states("xt", xt, t, first=1)[0]
        forward = self.diffusion.kernel(x_prev, time).log_prob(xt)
        before = self._map(self._density, x_prev, time - 1)
        after = self._map(self._density, xt, time)
        if np.isinf(after).any():
            raise ValueError(f"xt must have positive density at t = {time}, got one below 1e-308")
        return forward + before - after

    def sample(self, n: int, *, rng: np.random.Generator) -> Array:
        """n independent draws of x^0, shape (n, d)."""
        n, rng = validation.count("n", n, 1), validation.generator(rng)
        return self.draw(rng.random((n, 1 + self.atoms.shape[1])), 0)

    def draw(self, uniform: ArrayLike, t: int) -> Array:
        """x^t from uniform numbers (..., 1 + d) in [0, 1]: one chooses the atom, d the noise."""
        uniform = validation.probability("uniform", uniform)
        uniform = validation.components("uniform", uniform, 1 + self.atoms.shape[1])
        time, total = validation.one_time("t", t, 0, self.diffusion.T), np.cumsum(self.weights)
        index = np.searchsorted(total, uniform[..., 0], side="right")
        index = index.clip(max=np.flatnonzero(self.weights)[-1])  # at uniform numbers of 1
        return self._column.draw(index, self.noise(uniform[..., 1:]), time)

    def noise(self, uniform: Array) -> Array:
        """The noise for a law's `at` as a function of uniform numbers in [0, 1]."""
        inside = uniform * (1.0 - 2.0**-52) + 2.0**-53  # off 0 and 1, whose normal is infinite
        return np.asarray(ndtri(inside)) if self._gaussian else inside

    def points(self) -> tuple[Array, Array]:
        """Points (n, d) and weights (n,) that average every quadratic in x^0 as q(x^0) does.

        The atoms or, if they have a variance, 2d points sqrt(d var) from each. They give L_null and
        the divergences of q(x^t|x^0) from pi without sampling.
        """
        if not self.var.any():
            return self.atoms, self.weights
        d = self.atoms.shape[1]
        steps = np.sqrt(d * self.var)[:, None, None] * np.concatenate([np.eye(d), -np.eye(d)])
        return (self.atoms[:, None] + steps).reshape(-1, d), self.weights.repeat(2 * d) / (2 * d)

    def _states(self, name: str, x: ArrayLike, t: ArrayLike, first: int) -> tuple[Array, IntArray]:
        """Checked states and times; without a density, t = 0 and x^0 given x^1 are excluded."""
        x = validation.components(name, self.diffusion.check_data(name, x), self.atoms.shape[1])
        no_density = self._gaussian and first < 2 and not self.var.all()
        return x, validation.times_over(t, first + no_density, self.diffusion.T, x)

    def _given(self, function: Callable[..., Array], x: Array, t: IntArray) -> Array:
        """function(responsibilities, rows, time), as by `_map`."""
        return self._map(lambda rows, time: function(self._posterior(rows, time), rows, time), x, t)

    def _posterior(self, rows: Array, t: int) -> Array:
        joint = self._column.log_joint(rows, self._log_weights, t)
        largest = joint.max(1, keepdims=True)
        if not np.isfinite(largest).all():
            row = rows[~np.isfinite(largest[:, 0])][0]
            raise ValueError(f"xt must have positive probability at t = {t}, got {row}")
        joint -= largest
        np.copyto(joint, -np.inf, where=joint < -708.0)  # exp is slow where it underflows
        np.exp(joint, out=joint)
        return np.asarray(joint / joint.sum(1, keepdims=True))

    def _density(self, rows: Array, t: int) -> Array:
        return logsumexp(self._column.log_joint(rows, self._log_weights, t), axis=1)

    def _map(self, function: Callable[[Array, int], Array], x: Array, t: IntArray) -> Array:
        """function(rows, time), (n, ...), over blocks of one time each, in the states' order."""
        leading = np.broadcast_shapes(x.shape[:-1], t.shape)
        rows = np.broadcast_to(x, (*leading, x.shape[-1])).reshape(-1, x.shape[-1])
        times, size = np.broadcast_to(t, leading).ravel(), max(1, _BLOCK // len(self.atoms))
        order = np.argsort(times, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(times[order])) + 1)
        blocks = [part for mine in groups for part in np.split(mine, range(size, mine.size, size))]
        parts = np.concatenate([function(rows[mine], int(times[mine[0]])) for mine in blocks])
        return parts[np.argsort(order)].reshape((*leading, *parts.shape[1:]))


def instance(name: str, value: Any, *kinds: type) -> None:
    """TypeError unless the value is of one of these kinds."""
    if not isinstance(value, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{name} must be a {names}, got {value!r:.80}")


def distribution(name: str, value: ArrayLike, n: int) -> Array:
    """n probabilities that sum to 1 within the rounding of their dtype, normalised, read-only."""
    array = validation.probability(name, value)
    if array.shape != (n,) or abs(array.sum() - 1.0) > (8 + n) * validation.rounding(value):
        raise ValueError(f"{name} must be {n} probabilities that sum to 1, got {array}")
    return own(array / array.sum())

"""Data that are a finite set of atoms: every law of the forward trajectory, and its reversal, are known mixtures.

    q(x^0)           = sum_k w_k  atom_k, or for the Gaussian column N(atom_k, spread_k I)
    q(x^t)           = sum_k w_k q(x^t | k)
    q(k | x^t)       = w_k q(x^t | k) / q(x^t)                      the responsibilities
    q(x^{t-1} | x^t) = sum_k q(k | x^t) q(x^{t-1} | x^t, k)         the true reverse step

The true reverse step has dependent components; a reverse kernel of Table App.1 has not. The best of those is the moment match:
among laws with independent Gaussian or Bernoulli components, the one with the mixture's means and variances has the least
KL( q(x^{t-1}|x^t) || p ), and hence the largest K. It is the *ideal reverse kernel*: no training can go beyond it.

Mixtures are summed in log space after a shift by the largest term, and over blocks of states of bounded size.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.1 to 2.4 and Table App.1; the ideal kernel is beyond the paper.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from dpm_ref import validation
from dpm_ref.binomial import BinomialDiffusion
from dpm_ref.exact._atoms import Atoms, BinaryAtoms, GaussianAtoms
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.validation import Array, IntArray

__all__ = ["FiniteData", "off_the_ends"]

_BLOCK = 2**16  # pairs (state, atom) held at once: what a processor's cache holds


class FiniteData:
    """A data law on finitely many atoms, its forward trajectory, and the ideal reverse kernel.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    atoms : array_like, shape (m, d), dimensionless
    weights : array_like, shape (m,), optional
        Probabilities of the atoms; equal by default.
    spread : float or array_like of shape (m,), dimensionless, >= 0
        Variance of an isotropic Gaussian around each atom; for the Gaussian column only.

    Attributes
    ----------
    diffusion
    atoms : ndarray, shape (m, d), read-only
    weights : ndarray, shape (m,), read-only
    spread : ndarray, shape (m,), read-only

    Raises
    ------
    ValueError
        If the atoms are no (m, d) array of the diffusion's data, the weights no m probabilities that sum to 1, or the spread
        is negative, or not zero for bits, which cannot be spread.

    Notes
    -----
    Section 2.1. States are arrays (..., d), and t is an int or an int array over their leading axes, as everywhere.

    >>> from dpm_ref import GaussianDiffusion
    >>> two = FiniteData(GaussianDiffusion([0.1, 0.2]), [[-1.0], [1.0]])
    >>> print("%.6f %.6f" % (two.log_prob([0.5], 2), two.reverse([0.5], 2).mean[0]))
    -1.145353 0.774915
    """

    def __init__(self, diffusion: GaussianDiffusion | BinomialDiffusion, atoms: npt.ArrayLike, weights: npt.ArrayLike | None = None,
                 spread: npt.ArrayLike = 0.0) -> None:
        self.diffusion = diffusion
        self.atoms = _frozen(diffusion.check_data("atoms", atoms))
        if self.atoms.ndim != 2:
            raise ValueError(f"atoms must have shape (m, d), got shape {self.atoms.shape}")
        m = len(self.atoms)
        self.weights = _frozen(_probabilities(np.full(m, 1.0 / m) if weights is None else weights, m))
        self.spread = _frozen(_spreads(spread, m))
        self._column: Atoms
        if isinstance(diffusion, GaussianDiffusion):
            self._column = GaussianAtoms(diffusion, self.atoms, self.spread)
        else:
            if self.spread.any():
                raise ValueError(f"spread must be 0 for binary data, got {self.spread.max()}")
            self._column = BinaryAtoms(diffusion, self.atoms)

    def log_prob(self, x: npt.ArrayLike, t: npt.ArrayLike) -> Array:
        """log q(x^t) at x (..., d), t in 0..T: shape (...), nats. Section 2.1.

        ValueError as for data, and at t = 0 for Gaussian atoms without spread, whose law has no density.
        """
        return self._log_sum(*self._states("x", x, t, first=0))

    def responsibilities(self, xt: npt.ArrayLike, t: npt.ArrayLike) -> Array:
        """q(atom k | x^t) at xt (..., d), t in 0..T: shape (..., m), dimensionless, sums to 1. Section 2.1; ValueError as `log_prob`."""
        return self._map(self._posterior, *self._states("xt", xt, t, first=0))

    def reverse(self, xt: npt.ArrayLike, t: npt.ArrayLike) -> Any:
        """The ideal reverse kernel: the moment match of q(x^{t-1} | x^t) at xt (..., d), a law over xt's shape, dimensionless.

        t in 1..T, or 2..T for Gaussian atoms without spread, whose x^0 given x^1 is on the atoms. To be handed to
        `bounds.lower_bound`. Equation (4), Table App.1; ValueError as for data.
        """
        def block(rows: Array, time: int) -> Array:
            return self._column.match(self._posterior(rows, time), rows, time)

        return self._column.law(self._map(block, *self._states("xt", xt, t, first=1)))

    def divergence(self, xt: npt.ArrayLike, t: npt.ArrayLike) -> Array:
        """E[ KL( q(x^{t-1}|x^t,x^0) || ideal kernel ) | x^t ] at xt (..., d), t in 2..T: shape (...), nats, >= 0 within rounding.

        What even the ideal kernel loses at x^t: the entropy of the moment match, less that of the posteriors that it matches.
        Its mean over q(x^t) is the least possible E KL_t. Equation (14); ValueError as for data.
        """
        def block(rows: Array, time: int) -> Array:
            weights = self._posterior(rows, time)
            match = self._column.law(self._column.match(weights, rows, time))
            return np.asarray(match.entropy() - self._column.posterior_entropy(weights, rows, time))

        return self._map(block, *self._states("xt", xt, t, first=2))

    def edge(self, x1: npt.ArrayLike) -> Any:
        """The ideal last step, the moment match of q(x^0 | x^1), instead of T_pi (App. B.2): `reverse` at t = 1, dimensionless."""
        return self.reverse(x1, 1)

    def log_reverse(self, x_prev: npt.ArrayLike, xt: npt.ArrayLike, t: npt.ArrayLike) -> Array:
        """log q(x^{t-1} | x^t), exactly, with its dependent components: shape (...), nats. Section 2.6.

        By Bayes' rule, log q(x^t|x^{t-1}) + log q(x^{t-1}) - log q(x^t). States (..., d), t as for `reverse`; ValueError as there.
        """
        x_prev, time = self._states("x_prev", x_prev, t, first=1)
        xt = self._states("xt", xt, t, first=1)[0]
        forward = self.diffusion.kernel(x_prev, time).log_prob(xt)
        return np.asarray(forward + self._log_sum(x_prev, time - 1) - self._log_sum(xt, time))

    def sample(self, n: int, *, rng: np.random.Generator) -> Array:
        """n independent draws of x^0, shape (n, d), dimensionless. ValueError for n < 1 or no Generator. Section 2.1."""
        n, rng = validation.count("n", n, 1), validation.generator(rng)
        return self.draw(rng.random((n, 1 + self.atoms.shape[1])), 0)

    def draw(self, uniform: npt.ArrayLike, t: int) -> Array:
        """The draws of x^t that uniform numbers (n, 1 + d) in [0, 1] stand for, shape (n, d), t in 0..T: atom first, then noise.

        The deterministic core of `sample`, fit for evenly spread numbers too. Section 2.1; ValueError for numbers of another shape.
        """
        uniform = validation.components("uniform", validation.probability("uniform", uniform), 1 + self.atoms.shape[1])
        total = np.cumsum(self.weights)
        index = np.searchsorted(total, uniform[:, 0] * total[-1], side="right").clip(max=len(total) - 1)
        return self._column.draw(index, off_the_ends(uniform[:, 1:]), validation.one_time("t", t, 0, self.diffusion.T))

    def mean(self) -> Array:
        """E x^0, shape (d,), dimensionless. App. B.1."""
        return np.asarray(self.weights @ self.atoms)

    def second_moment(self) -> float:
        """E|x^0|^2, which equation (14) wants to be d in the Gaussian column; dimensionless. App. B.1."""
        return float(self.weights @ ((self.atoms**2).sum(1) + self.atoms.shape[1] * self.spread))

    def atom_entropy(self) -> float:
        """The entropy of the choice of atom, atoms that coincide counted as one: -sum w log w, nats; H(X^0) itself for bits. Section 2.6.

        With a spread it is H(X^0) - H(N(0, spread I)) in the limit of atoms that do not overlap, and more than that otherwise.
        """
        labels = np.unique(np.column_stack([self.atoms, self.spread]), axis=0, return_inverse=True)[1]
        merged = np.bincount(labels.ravel(), weights=self.weights)
        return float(0.0 - xlogy(merged, merged).sum())

    def points(self) -> tuple[Array, Array]:
        """Points (n, d) and weights (n,), dimensionless, over which x -> a + b.x + x'Cx has exactly its average over q(x^0).

        The atoms; where there is a spread, 2d points a distance sqrt(d spread) from each. So the parts of K that are quadratic
        in x^0 are averaged without sampling: log pi(x^0), and the divergences of q(x^t|x^0) from pi (section 2.4).
        """
        points, copies = self._column.points()
        return points, np.repeat(self.weights, copies) / copies

    def _states(self, name: str, x: npt.ArrayLike, t: npt.ArrayLike, first: int) -> tuple[Array, IntArray]:
        """Checked states and times; without a density the law of x^0, and of x^0 given x^1, are out of reach."""
        x = validation.components(name, self.diffusion.check_data(name, x), self.atoms.shape[1])
        out_of_reach = first < 2 and not self._column.has_density
        return x, validation.times_over(t, first + out_of_reach, self.diffusion.T, x)

    def _log_joint(self, rows: Array, t: int) -> Array:
        with np.errstate(divide="ignore"):  # a weight may be 0
            joint = self._column.log_prob(rows, t)
            joint += np.log(self.weights)
            return joint

    def _posterior(self, rows: Array, t: int) -> Array:
        joint = self._log_joint(rows, t)
        largest = joint.max(1, keepdims=True)
        if not np.isfinite(largest).all():
            raise ValueError(f"xt must have positive probability at t = {t}, got {rows[~np.isfinite(largest[:, 0])][0]}")
        joint -= largest
        np.exp(joint, out=joint)
        joint /= joint.sum(1, keepdims=True)
        return joint

    def _log_sum(self, x: Array, t: IntArray) -> Array:
        def block(rows: Array, time: int) -> Array:
            joint = self._log_joint(rows, time)
            largest = joint.max(1, keepdims=True)
            shift = np.where(np.isfinite(largest), largest, 0.0)  # -inf everywhere: a binary x^0 that is no atom
            with np.errstate(divide="ignore"):
                return np.asarray(np.log(np.exp(joint - shift).sum(1)) + shift[:, 0])

        return self._map(block, x, t)

    def _map(self, function: Callable[[Array, int], Array], x: Array, t: IntArray) -> Array:
        """function(rows, time), (n, ...), over blocks of states that share a time, put together in the states' order."""
        leading = np.broadcast_shapes(x.shape[:-1], t.shape)
        rows = np.broadcast_to(x, (*leading, x.shape[-1])).reshape(-1, x.shape[-1])
        times = np.broadcast_to(t, leading).ravel()
        size = max(1, _BLOCK // len(self.atoms))
        blocks = []
        for time in np.unique(times):
            mine = np.flatnonzero(times == time)
            blocks += [mine[start:start + size] for start in range(0, mine.size, size)]
        parts = np.concatenate([function(rows[block], int(times[block[0]])) for block in blocks])
        out = np.empty_like(parts)
        out[np.concatenate(blocks)] = parts
        return out.reshape((*leading, *parts.shape[1:]))


def off_the_ends(uniform: Array) -> Array:
    """Numbers in [0, 1] off 0 and 1, where a normal number would be infinite; of the same shape, dimensionless. Section 2.1."""
    return uniform * (1.0 - 2.0**-52) + 2.0**-53


def _frozen(array: Array) -> Array:
    array = np.array(array)
    array.flags.writeable = False
    return array


def _probabilities(weights: npt.ArrayLike, m: int) -> Array:
    array = validation.probability("weights", weights)
    if array.shape != (m,):
        raise ValueError(f"weights must have shape ({m},), one to an atom, got shape {array.shape}")
    if abs(array.sum() - 1.0) > 8 * m * validation.rounding(weights):
        raise ValueError(f"weights must sum to 1, got {array.sum()}")
    return array


def _spreads(spread: npt.ArrayLike, m: int) -> Array:
    array = validation.finite("spread", spread)
    if array.shape not in ((), (m,)):
        raise ValueError(f"spread must be one number or have shape ({m},), one to an atom, got shape {array.shape}")
    if (array < 0).any():
        raise ValueError(f"spread is a variance and must be >= 0, got {array.min()}")
    return np.broadcast_to(array, (m,))

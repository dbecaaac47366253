"""What the two columns of Table App.1 know about one atom: the law of x^t given the atom, and of x^{t-1} given x^t and the atom.

`FiniteData` mixes these. Rows x are (n, d), atoms (m, d), responsibilities (n, m); t is one int.
"""

from typing import Protocol

import numpy as np
from scipy.special import ndtri

from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.gaussian import Gaussian, GaussianDiffusion
from dpm_ref.information import bernoulli_entropy, gaussian_entropy
from dpm_ref.protocols import Law
from dpm_ref.validation import Array, IntArray

__all__ = ["Atoms", "GaussianAtoms", "BinaryAtoms"]

_LOG_2PI = 1.8378770664093453


class Atoms(Protocol):
    """One column's atoms."""

    has_density: bool

    def log_prob(self, x: Array, t: int) -> Array: ...
    def match(self, weights: Array, xt: Array, t: int) -> Array: ...
    def posterior_entropy(self, weights: Array, xt: Array, t: int) -> Array: ...
    def draw(self, index: IntArray, uniform: Array, t: int) -> Array: ...
    def points(self) -> tuple[Array, int]: ...
    def law(self, parameters: Array) -> Law: ...


class GaussianAtoms:
    """x^0 = atom k + N(0, spread_k I), so that x^t given k is N(sqrt(abar_t) atom_k, (abar_t spread_k + 1 - abar_t) I)."""

    def __init__(self, diffusion: GaussianDiffusion, atoms: Array, spread: Array) -> None:
        self.diffusion, self.atoms, self.spread = diffusion, atoms, spread
        self.has_density = bool((spread > 0).all())

    def _scale_and_var(self, t: int) -> tuple[float, Array]:
        """sqrt(abar_t) and the variance of x^t given each atom, (m,)."""
        if t == 0:
            return 1.0, self.spread
        return float(self.diffusion.sqrt_abar(t)), self.diffusion.abar(t) * self.spread + self.diffusion.one_minus_abar(t)

    def log_prob(self, x: Array, t: int) -> Array:
        """log q(x^t | atom), (n, m), nats."""
        scale, var = self._scale_and_var(t)
        square = np.zeros((len(x), len(self.atoms)))
        for x_i, atom_i in zip(x.T, self.atoms.T, strict=True):  # one component at a time keeps memory at (n, m)
            difference = np.subtract.outer(x_i, scale * atom_i)
            difference *= difference
            square += difference
        square *= -0.5 / var
        square -= 0.5 * self.atoms.shape[1] * (_LOG_2PI + np.log(var))
        return square

    def match(self, weights: Array, xt: Array, t: int) -> Array:
        """Mean and variance of q(x^{t-1} | x^t), stacked (n, 2, d).

        Given the atom, with u and v the variances of x^{t-1} and x^t, x^{t-1} has mean
        (beta_t sqrt(abar_{t-1}) atom + sqrt(1 - beta_t) u x^t) / v and variance beta_t u / v.
        """
        rate = self.diffusion.beta[t - 1]
        scale, u = self._scale_and_var(t - 1)
        _, v = self._scale_and_var(t)
        of_atom, of_xt = rate * scale / v, np.sqrt(1.0 - rate) * u / v
        within = weights @ (rate * u / v)
        out = np.empty((len(xt), 2, xt.shape[1]))
        for i in range(xt.shape[1]):
            means = np.multiply.outer(xt[:, i], of_xt)
            means += of_atom * self.atoms[:, i]
            out[:, 0, i] = np.einsum("nm,nm->n", weights, means)
            means -= out[:, 0, i, None]  # centred first: the difference of two second moments would cancel
            means *= means
            out[:, 1, i] = within + np.einsum("nm,nm->n", weights, means)
        return out

    def posterior_entropy(self, weights: Array, xt: Array, t: int) -> Array:
        """E[ H( q(x^{t-1} | x^t, x^0) ) | x^t ], (n,), nats, t >= 2: the same for every x^t."""
        return np.full(len(xt), xt.shape[1] * float(gaussian_entropy(self.diffusion.posterior_var(t))))

    def draw(self, index: IntArray, uniform: Array, t: int) -> Array:
        """x^t given the atoms at `index` (n,), from uniform numbers (n, d) in (0, 1)."""
        scale, var = self._scale_and_var(t)
        return np.asarray(scale * self.atoms[index] + np.sqrt(var[index])[:, None] * ndtri(uniform))

    def points(self) -> tuple[Array, int]:
        """(m * copies, d) points, `copies` to an atom, over which every quadratic has the same average as over the atoms' laws."""
        if not self.spread.any():
            return self.atoms, 1
        d = self.atoms.shape[1]
        steps = np.sqrt(d * self.spread)[:, None, None] * np.concatenate([np.eye(d), -np.eye(d)])
        return (self.atoms[:, None, :] + steps).reshape(-1, d), 2 * d

    def law(self, parameters: Array) -> Gaussian:
        """The law whose parameters `match` stacked."""
        return Gaussian(parameters[..., 0, :], parameters[..., 1, :])


class BinaryAtoms:
    """x^0 = atom k, so that x^t given k is the diffusion's own marginal."""

    has_density = True

    def __init__(self, diffusion: BinomialDiffusion, atoms: Array) -> None:
        self.diffusion, self.atoms = diffusion, atoms

    def log_prob(self, x: Array, t: int) -> Array:
        """log q(x^t | atom), (n, m), nats."""
        if t == 0:
            agreeing = x @ self.atoms.T + (1.0 - x) @ (1.0 - self.atoms).T
            return np.where(agreeing == x.shape[1], 0.0, -np.inf)
        law = self.diffusion.marginal(self.atoms, t)
        return np.asarray(x @ np.log(law.prob1).T + (1.0 - x) @ np.log(law.prob0).T)

    def match(self, weights: Array, xt: Array, t: int) -> Array:
        """P(x^{t-1} = 1) and P(x^{t-1} = 0) under q(x^{t-1} | x^t), bit by bit, stacked (n, 2, d)."""
        atom1, atom0 = weights @ self.atoms, weights @ (1.0 - self.atoms)  # either member from positive terms
        if t == 1:
            prob1, prob0 = atom1, atom0
        else:
            law = self._posteriors(xt.shape[1], t)
            prob1, prob0 = (atom1 * _at(p[1], xt) + atom0 * _at(p[0], xt) for p in (law.prob1, law.prob0))
        return np.stack([prob1, prob0], axis=1) / (prob1 + prob0)[:, None, :]

    def posterior_entropy(self, weights: Array, xt: Array, t: int) -> Array:
        """E[ H( q(x^{t-1} | x^t, x^0) ) | x^t ], (n,), nats, t >= 2."""
        law = self._posteriors(xt.shape[1], t)
        entropies = bernoulli_entropy(law.prob1, law.prob0)
        given = (weights @ self.atoms) * _at(entropies[1], xt) + (weights @ (1.0 - self.atoms)) * _at(entropies[0], xt)
        return np.asarray(given.sum(1))

    def _posteriors(self, d: int, t: int) -> Bernoulli:
        """q(x^{t-1} | x^t, x^0) at every bit x^0 and x^t, over shape (2, 2, d) in that order."""
        bits = np.broadcast_to(np.array([0.0, 1.0])[:, None], (2, d))
        return self.diffusion.posterior(bits[:, None], bits[None, :], t)

    def draw(self, index: IntArray, uniform: Array, t: int) -> Array:
        """x^t given the atoms at `index` (n,), from uniform numbers (n, d) in (0, 1)."""
        return self.atoms[index] if t == 0 else self.diffusion.marginal(self.atoms[index], t).at(uniform)

    def points(self) -> tuple[Array, int]:
        """The atoms themselves."""
        return self.atoms, 1

    def law(self, parameters: Array) -> Bernoulli:
        """The law whose parameters `match` stacked."""
        return Bernoulli(parameters[..., 0, :], parameters[..., 1, :])


def _at(table: Array, xt: Array) -> Array:
    """The entries of a table (2, d), by the value of each bit, at states (n, d)."""
    return np.asarray(np.where(xt == 1, table[1], table[0]))

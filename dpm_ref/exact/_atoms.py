"""What either column knows about one atom: x^t given the atom, and x^{t-1} given x^t and the atom.

`FiniteData` mixes these. Rows x are (n, d), atoms (m, d), responsibilities (n, m); t is one int.
Sums over atoms are those of einsum without BLAS, whose bits do not depend on the other rows.
"""

import numpy as np

from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.information import bernoulli_entropy
from dpm_ref.protocols import total
from dpm_ref.validation import Array, IntArray

__all__ = ["GaussianAtoms", "BinaryAtoms", "scale_and_var", "LOG_2PI"]

LOG_2PI = 1.8378770664093453


def scale_and_var(diffusion: GaussianDiffusion, var: Array, t: int) -> tuple[float, Array]:
    """sqrt(abar_t), and the variance of x^t for a variance of x^0, from t = 0 on."""
    if t == 0:
        return 1.0, var
    return float(diffusion.sqrt_abar(t)), diffusion.abar(t) * var + diffusion.one_minus_abar(t)


class GaussianAtoms:
    """x^t given atom k is N(sqrt(abar_t) atom_k, (abar_t var_k + 1 - abar_t) I)."""

    def __init__(self, diffusion: GaussianDiffusion, atoms: Array, var: Array) -> None:
        self.diffusion, self.atoms, self.var = diffusion, atoms, var

    def log_joint(self, x: Array, log_weights: Array, t: int) -> Array:
        """log w_k + log q(x^t | atom k), (n, m)."""
        scale, var = scale_and_var(self.diffusion, self.var, t)
        square, std = np.zeros((len(x), len(self.atoms))), np.sqrt(var)
        with np.errstate(over="ignore"):  # a log density below -1e308 is -inf
            for i in range(x.shape[1]):  # one component at a time keeps memory at (n, m)
                square += (np.subtract.outer(x[:, i], scale * self.atoms[:, i]) / std) ** 2
        square *= -0.5
        square += log_weights - 0.5 * x.shape[1] * (LOG_2PI + np.log(var))
        return square

    def match(self, weights: Array, xt: Array, t: int) -> Array:
        """Mean and variance of q(x^{t-1} | x^t), stacked (n, 2, d).

        Given the atom, with u and v the variances of x^{t-1} and x^t, x^{t-1} has mean
        (beta_t sqrt(abar_{t-1}) atom + sqrt(1 - beta_t) u x^t) / v and variance beta_t u / v.
        """
        (scale, u), (_, v) = (scale_and_var(self.diffusion, self.var, s) for s in (t - 1, t))
        beta = self.diffusion.beta[t - 1]
        of_atom, kept = beta * scale / v, np.sqrt(1.0 - beta)
        # u / v - u_0 / v_0 is beta (u - u_0) / (v v_0): what the atoms differ in is of order beta
        of_xt = kept * (beta / np.minimum(v, v[0])) * ((u - u[0]) / np.maximum(v, v[0]))
        within = np.einsum("nm,m->n", weights, beta * u / v)
        out = np.empty((len(xt), 2, xt.shape[1]))
        for i in range(xt.shape[1]):
            means = np.multiply.outer(xt[:, i], of_xt)
            means += of_atom * self.atoms[:, i]
            mean = np.einsum("nm,nm->n", weights, means)
            means -= mean[:, None]  # centred first: second moments would cancel
            out[:, 0, i] = kept * u[0] / v[0] * xt[:, i] + mean
            out[:, 1, i] = within + np.einsum("nm,nm->n", weights, means**2)
        return out

    def posterior_entropy(self, weights: Array, xt: Array, t: int) -> Array:
        """E[ H( q(x^{t-1} | x^t, x^0) ) | x^t ], (n,), t >= 2: the same for every x^t."""
        return self.diffusion.posterior_entropy(xt, t)

    def draw(self, index: IntArray, noise: Array, t: int) -> Array:
        """x^t given the atoms at `index` (n,), from standard normal noise (n, d)."""
        scale, var = scale_and_var(self.diffusion, self.var, t)
        return np.asarray(scale * self.atoms[index] + np.sqrt(var[index])[:, None] * noise)


class BinaryAtoms:
    """x^t given atom k is the diffusion's own marginal."""

    def __init__(self, diffusion: BinomialDiffusion, atoms: Array) -> None:
        self.diffusion, self.atoms = diffusion, atoms

    def log_joint(self, x: Array, log_weights: Array, t: int) -> Array:
        """log w_k + log q(x^t | atom k), (n, m)."""
        if t == 0:
            agreeing = x @ self.atoms.T + (1.0 - x) @ (1.0 - self.atoms).T
            return np.where(agreeing == x.shape[1], log_weights, -np.inf)
        q, log_erased = self.diffusion, self.diffusion.log_one_minus_abar(t)
        kept1, kept0 = (np.log(q.abar(t) + pi * q.one_minus_abar(t)) for pi in (q.pi1, q.pi0))
        log_prob1 = np.where(self.atoms == 1, kept1, np.log(q.pi1) + log_erased)
        log_prob0 = np.where(self.atoms == 0, kept0, np.log(q.pi0) + log_erased)
        return np.asarray(log_weights + np.einsum("nd,md->nm", x, log_prob1)
                          + np.einsum("nd,md->nm", 1.0 - x, log_prob0))

    def match(self, weights: Array, xt: Array, t: int) -> Array:
        """P(x^{t-1} = 1) and P(x^{t-1} = 0) under q(x^{t-1} | x^t), stacked (n, 2, d)."""
        atom1, atom0 = prob1, prob0 = self._atom_bits(weights)
        if t > 1:
            law = self._posteriors(t)
            prob1, prob0 = (atom1 * _at(p[1], xt) + atom0 * _at(p[0], xt)
                            for p in (law.prob1, law.prob0))
        return np.asarray(np.stack([prob1, prob0], axis=1) / (prob1 + prob0)[:, None])

    def posterior_entropy(self, weights: Array, xt: Array, t: int) -> Array:
        """E[ H( q(x^{t-1} | x^t, x^0) ) | x^t ], (n,), t >= 2."""
        law = self._posteriors(t)
        given0, given1 = (_at(H, xt) for H in bernoulli_entropy(law.prob1, law.prob0))
        atom1, atom0 = self._atom_bits(weights)
        return total(atom1 * given1 + atom0 * given0)

    def _atom_bits(self, weights: Array) -> tuple[Array, Array]:
        """P(x^0 = 1 | x^t) and P(x^0 = 0 | x^t), either from positive terms."""
        return (np.einsum("nm,md->nd", weights, self.atoms),
                np.einsum("nm,md->nd", weights, 1.0 - self.atoms))

    def _posteriors(self, t: int) -> Bernoulli:
        """q(x^{t-1} | x^t, x^0) at every bit x^0 and x^t, over shape (2, 2, d) in that order."""
        bits = np.broadcast_to(np.array([0.0, 1.0])[:, None], (2, self.atoms.shape[1]))
        return self.diffusion.q_posterior(bits[:, None], bits[None, :], t)

    def draw(self, index: IntArray, noise: Array, t: int) -> Array:
        """x^t given the atoms at `index` (n,), from uniform noise (n, d)."""
        atoms = self.atoms[index]
        return self.diffusion.q_marginal(atoms, t).at(noise) if t else atoms


def _at(table: Array, xt: Array) -> Array:
    """The entries of a table (2, d), by the value of each bit, at states (n, d)."""
    return np.asarray(np.where(xt == 1, table[1], table[0]))

"""One atom in either column: x^t given the atom, and x^{t-1} given x^t and the atom.

`FiniteData` mixes these. Rows x are (n, d), atoms (m, d), responsibilities (n, m); t is one int.
Sums over atoms use einsum without BLAS, so their bits do not depend on the other rows.
"""

from typing import Any, NamedTuple

import numpy as np

from dpm_ref.binomial import Bernoulli
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.information import bernoulli_entropy
from dpm_ref.protocols import total
from dpm_ref.validation import Array, IntArray

__all__ = ["GaussianAtoms", "BinaryAtoms", "scale_and_var"]


def scale_and_var(diffusion: GaussianDiffusion, var: Array, t: int) -> tuple[float, Array]:
    """sqrt(abar_t), and the variance of x^t given that of x^0, at t = 0 too."""
    if t == 0:
        return 1.0, var
    return float(diffusion.sqrt_abar(t)), diffusion.abar(t) * var + diffusion.one_minus_abar(t)


class _Atoms(NamedTuple):
    diffusion: Any
    atoms: Array
    var: Array


class GaussianAtoms(_Atoms):
    """x^t given atom k is N(sqrt(abar_t) atom_k, (abar_t var_k + 1 - abar_t) I)."""

    def log_joint(self, x: Array, log_weights: Array, t: int) -> Array:
        """log w_k + log q(x^t | atom k), (n, m)."""
        scale, var = scale_and_var(self.diffusion, self.var, t)
        square, std = np.zeros((len(x), len(self.atoms))), np.sqrt(var)
        with np.errstate(over="ignore"):  # a log density below -1e308 is -inf
            for i in range(x.shape[1]):  # one component at a time keeps memory at (n, m)
                square += (np.subtract.outer(x[:, i], scale * self.atoms[:, i]) / std) ** 2
        constant = 0.5 * x.shape[1] * (np.log(2.0 * np.pi) + np.log(var))
        return np.asarray(-0.5 * square + (log_weights - constant))

    def match(self, weights: Array, xt: Array, t: int) -> Array:
        """Mean and variance of q(x^{t-1} | x^t), stacked (n, 2, d)."""
        q, (mean, var) = self.diffusion, self._predicted(weights, xt, t)
        of_x0, least = q.table("coefficient_x0", t), q.table("posterior_var", t)
        before, after = (scale_and_var(q, self.var[0], s)[1] for s in (t - 1, t))
        mean = np.sqrt(1.0 - q.beta[t - 1]) * before / after * xt + of_x0 * mean
        return np.stack([mean, least + of_x0**2 * var], 1)

    def divergence(self, weights: Array, xt: Array, t: int) -> Array:
        """E[ KL( q(x^{t-1} | x^t, x^0) || match ) | x^t ], (n,), t >= 2.

        sum_i log(1 + s_i^2) / 2 with 1 + s_i^2 the ratio of the variances of match and posterior,
        s_i^2 = beta_t abar_{t-1} / (1 - abar_{t-1}) Var(x_i^0 | x^t) / (1 - abar_t).
        """
        q, var = self.diffusion, self._predicted(weights, xt, t)[1]
        of_std = np.sqrt(q.beta[t - 1]) * q.sqrt_abar(t - 1) / q.sqrt_one_minus_abar(t - 1)
        s = of_std * (np.sqrt(var) / q.sqrt_one_minus_abar(t))
        small, large = np.minimum(s, 1.0), np.maximum(s, 1.0)  # whose square might overflow
        return total(np.log(large) + 0.5 * np.log1p((small / large) ** 2))

    def _predicted(self, weights: Array, xt: Array, t: int) -> Array:
        """Mean and variance of x^0 given x^t, stacked (2, n, d); the mean without its term
        sqrt(abar_t) var_0 / v_0 x^t.

        Given the atom too, with v the variance of x^t, x^0 has mean
        ((1 - abar_t) atom + sqrt(abar_t) var x^t) / v and variance (1 - abar_t) var / v.
        """
        (scale, v), s = scale_and_var(self.diffusion, self.var, t), self.var
        erased = self.diffusion.one_minus_abar(t)
        # s / v - s_0 / v_0 without cancellation: what the atoms differ in may be of order 1 - abar
        of_xt = scale * (erased / np.minimum(v, v[0])) * ((s - s[0]) / np.maximum(v, v[0]))
        within, out = np.einsum("nm,m->n", weights, erased * (s / v)), np.empty((2, *xt.shape))
        for i in range(xt.shape[1]):
            means = np.multiply.outer(xt[:, i], of_xt)
            means += erased / v * self.atoms[:, i]
            out[0, :, i] = np.einsum("nm,nm->n", weights, means)
            means -= out[0, :, i, None]  # centred first: second moments would cancel
            out[1, :, i] = within + np.einsum("nm,nm->n", weights, means**2)
        return out

    def draw(self, index: IntArray, noise: Array, t: int) -> Array:
        """x^t given the atoms at `index` (...), from standard normal noise (..., d)."""
        scale, var = scale_and_var(self.diffusion, self.var, t)
        return np.asarray(scale * self.atoms[index] + np.sqrt(var[index])[..., None] * noise)


class BinaryAtoms(_Atoms):
    """x^t given atom k has the diffusion's own marginal."""

    def log_joint(self, x: Array, log_weights: Array, t: int) -> Array:
        """log w_k + log q(x^t | atom k), (n, m)."""
        if t == 0:
            return np.where((x[:, None] == self.atoms).all(-1), log_weights, -np.inf)
        q, log_erased = self.diffusion, self.diffusion.log_one_minus_abar(t)
        kept1, kept0 = (np.log(q.abar(t) + pi * q.one_minus_abar(t)) for pi in (q.pi1, q.pi0))
        log_prob1 = np.where(self.atoms == 1, kept1, np.log(q.pi1) + log_erased)
        log_prob0 = np.where(self.atoms == 0, kept0, np.log(q.pi0) + log_erased)
        return np.asarray(log_weights + np.einsum("nd,md->nm", x, log_prob1)
                          + np.einsum("nd,md->nm", 1.0 - x, log_prob0))

    def match(self, weights: Array, xt: Array, t: int) -> Array:
        """P(x^{t-1} = 1) and P(x^{t-1} = 0) under q(x^{t-1} | x^t), stacked (n, 2, d)."""
        atom1, atom0 = pair = self._predicted(weights)
        if t > 1:
            given1, given0 = self._posteriors(xt, t)
            pair = [atom1 * given1.view(i) + atom0 * given0.view(i) for i in (0, 1)]
        return np.asarray(np.stack(pair, axis=1) / (pair[0] + pair[1])[:, None])

    def divergence(self, weights: Array, xt: Array, t: int) -> Array:
        """E[ KL( q(x^{t-1} | x^t, x^0) || match ) | x^t ], (n,), t >= 2, by entropies."""
        match, (atom1, atom0) = self.match(weights, xt, t), self._predicted(weights)
        given1, given0 = (bernoulli_entropy(q.prob1, q.prob0) for q in self._posteriors(xt, t))
        ideal = Bernoulli.unchecked(match[:, 0], match[:, 1])
        return ideal.entropy() - total(atom1 * given1 + atom0 * given0)

    def _predicted(self, weights: Array) -> list[Array]:
        """P(x^0 = 1 | x^t) and P(x^0 = 0 | x^t), (n, d) each, both from positive terms."""
        return [np.einsum("nm,md->nd", weights, bits) for bits in (self.atoms, 1.0 - self.atoms)]

    def _posteriors(self, xt: Array, t: int) -> list[Bernoulli]:
        """q(x^{t-1} | x^t, x^0) for x^0 = 1 and 0."""
        return [self.diffusion.q_posterior(np.full(xt.shape, bit), xt, t) for bit in (1, 0)]

    def draw(self, index: IntArray, noise: Array, t: int) -> Array:
        """x^t given the atoms at `index` (...), from uniform noise (..., d)."""
        atoms = self.atoms[index]
        return self.diffusion.q_marginal(atoms, t).at(noise) if t else atoms

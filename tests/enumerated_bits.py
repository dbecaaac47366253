"""Bits enumerated plainly: kernels from the paper's table, sums of products, no logarithm kept.

An oracle for `exact.BinaryData` and for finite bits, and models of bits that depend on each other.
"""

import numpy as np
from scipy.special import xlogy

from dpm_ref.exact import BinaryModel, binary_states


class EnumeratedBits:
    """All laws of data with probabilities pmf (2^d,), its forward trajectory and its reversal."""

    def __init__(self, data):
        """data: anything with a diffusion, atoms and weights."""
        self.beta, d = data.diffusion.beta, data.atoms.shape[1]
        self.states, self.pi = binary_states(d), np.broadcast_to(data.diffusion.pi1, (d,))
        self.T = len(self.beta)
        number = data.atoms.astype(int) @ 2 ** np.arange(d - 1, -1, -1)
        self.pmf = np.bincount(number, weights=data.weights, minlength=2**d)

    def kept(self, share):
        """The matrix of bits that are kept with a probability, and else drawn from pi."""
        rates = self.states * share + self.pi * (1 - share)
        ones = self.states[None] == 1
        return np.prod(np.where(ones, rates[:, None], 1 - rates[:, None]), axis=-1)

    def forward(self, t):
        """q(x^t | x^{t-1})."""
        return self.kept(1 - self.beta[t - 1])

    def given_data(self, t):
        """q(x^t | x^0)."""
        return self.kept(np.prod(1 - self.beta[:t]))

    def marginal(self, t):
        """q(x^t)."""
        return self.pmf @ self.given_data(t)

    def joint(self, t):
        """q(x^{t-1}, x^t)."""
        return self.marginal(t - 1)[:, None] * self.forward(t)

    def reversal(self, t):
        """q(x^{t-1} | x^t), a matrix (x^t, x^{t-1})."""
        return (self.joint(t) / self.joint(t).sum(0)).T

    def match(self, t):
        """P(x_i^{t-1} = 1 | x^t), and P(x_i^{t-1} = 0 | x^t), of every state and bit."""
        return self.reversal(t) @ self.states, self.reversal(t) @ (1 - self.states)

    def entropy(self, t):
        """H_q(X^t)."""
        return entropy(self.marginal(t))

    def joint_entropy(self, t):
        """H_q(X^{t-1}, X^t)."""
        return entropy(self.joint(t))

    def forward_entropy(self, t):
        """H_q(X^t | X^{t-1}), the upper side of (24)."""
        return self.marginal(t - 1) @ [entropy(row) for row in self.forward(t)]

    def reverse_entropy(self, t):
        """H_q(X^{t-1} | X^t)."""
        return self.marginal(t) @ [entropy(row) for row in self.reversal(t)]

    def entropy_given_data(self, t):
        """H_q(X^t | X^0)."""
        return self.pmf @ [entropy(row) for row in self.given_data(t)]


class MatrixModel(BinaryModel):
    """The model whose kernels t = 1..T are matrices (x^t, x^{t-1}): their bits may be dependent."""

    def __init__(self, diffusion, matrices):
        super().__init__(diffusion, len(matrices[0]).bit_length() - 1, diffusion.kernel)
        self.matrices = matrices

    def _log_matrix(self, t):
        with np.errstate(divide="ignore"):
            return np.log(self.matrices[t - 1])


def entropy(probability):
    return -xlogy(probability, probability).sum()

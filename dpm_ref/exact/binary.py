"""Every state of d bits, enumerated: exact p(x^0), K and entropies of any binary model and any binary data.

States are numbered by their bits, most significant first; a law over them is a vector of 2^d probabilities, a kernel a matrix
whose rows sum to 1. Then p(x^{t-1}) = p(x^t) R_t with R_t(x^t, x^{t-1}) = p(x^{t-1} | x^t) runs the reverse trajectory in T products
(T 4^d operations), and not in a sum over its 2^(d(T+1)) values. K is taken from its definition,

    K(x^0) = E_{q(x^{1..T}|x^0)} [ log pi(x^T) + sum_{t>=1} log p(x^{t-1}|x^t) - log q(x^t|x^{t-1}) ]

so that nothing here shares the rearrangements, or the preconditions, that lead to (14). Sums of probabilities have positive
terms only; a probability below 1e-308 is 0.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.1 to 2.4 and 2.6.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.exact._states import binary_states, expectation, forward_matrix, marginal_matrix, safe_log, state_number, state_probabilities
from dpm_ref.protocols import Edge, ReverseKernel, law_over
from dpm_ref.validation import Array

__all__ = ["BinaryModel", "BinaryData", "Averages", "binary_states", "state_probabilities"]


class Averages(NamedTuple):
    """Averages over a data law, in nats: L = E log p(x^0), K, and what equation (14) gives for it."""

    log_likelihood: float
    bound: float
    eq14: float


class BinaryModel:
    """A reverse trajectory over d bits: p(x^T) = pi(x^T) and reverse kernels p(x^{t-1} | x^t), all states enumerated.

    Parameters
    ----------
    diffusion : BinomialDiffusion
    d : int in 1..12, bits
    reverse : callable (xt, t) -> law
        p(x^{t-1} | x^t), t = 2..T: called with all states (2^d, d) and one int t; returns a law over that shape.
    edge : callable x1 -> law, optional
        p(x^0 | x^1). By default the diffusion's own, T_pi (App. B.2).

    Raises
    ------
    ValueError
        If an argument leaves its range, or (later) a kernel returns a law over another shape.

    Notes
    -----
    Sections 2.2 to 2.4.

    >>> diffusion = BinomialDiffusion([0.1, 0.2], prior=0.25)
    >>> model = BinaryModel(diffusion, 1, diffusion.kernel)
    >>> print(model.log_likelihood().round(6), model.lower_bound().round(6))
    [-0.287682 -1.386294] [-0.287682 -1.386294]
    """

    def __init__(self, diffusion: BinomialDiffusion, d: int, reverse: ReverseKernel, edge: Edge | None = None) -> None:
        self.diffusion, self.states, self._fixed_edge = diffusion, binary_states(d), edge is None
        self._prior = state_probabilities(Bernoulli(diffusion.prior(d).prob1[None], diffusion.prior(d).prob0[None]))[0]

        def matrix(t: int) -> Array:
            law = reverse(self.states, t) if t > 1 else (edge or diffusion.edge)(self.states)
            return state_probabilities(law_over(Bernoulli, law, self.states, "reverse" if t > 1 else "edge"))

        self._matrix: Callable[[int], Array] = matrix

    @classmethod
    def from_matrices(cls, diffusion: BinomialDiffusion, matrices: Sequence[npt.ArrayLike]) -> "BinaryModel":
        """The model whose kernels, t = 1..T, are matrices (x^t, x^{t-1}), each (2^d, 2^d): their bits may depend on each other.

        Dimensionless. ValueError unless there are T square matrices of probabilities whose rows sum to 1. Section 2.2.
        """
        if len(matrices) != diffusion.T:
            raise ValueError(f"matrices must be {diffusion.T}, one to a step, got {len(matrices)}")
        n = len(validation.probability("matrices", matrices[0]))
        kernels = [_pmf(f"matrices[{i}]", matrix, (n, n)) for i, matrix in enumerate(matrices)]
        if n < 2 or n & (n - 1):
            raise ValueError(f"matrices must have 2^d rows, got {n}")
        model = cls(diffusion, n.bit_length() - 1, diffusion.kernel)
        model._matrix, model._fixed_edge = lambda t: kernels[t - 1], False
        return model

    def reverse_matrix(self, t: int) -> Array:
        """p(x^{t-1} | x^t), t in 1..T, as a matrix (x^t, x^{t-1}), (2^d, 2^d), dimensionless. Equation (5)."""
        return self._matrix(validation.one_time("t", t, 1, self.diffusion.T))

    def marginal(self, t: int) -> Array:
        """p(x^t), t in 0..T, of every state: shape (2^d,), dimensionless. Section 2.2."""
        law = self._prior
        for step in range(self.diffusion.T, validation.one_time("t", t, 0, self.diffusion.T), -1):
            law = law @ self.reverse_matrix(step)
        return np.asarray(law)

    def log_likelihood(self) -> Array:
        """log p(x^0) of every state: shape (2^d,), nats; -inf where the model never goes. Section 2.3."""
        return safe_log(self.marginal(0))

    def step_log_likelihood(self, t: int) -> Array:
        """E_{q(x^{t-1},x^t|x^0)} log p(x^{t-1} | x^t), t in 1..T, of every x^0: shape (2^d,), nats. Section 2.4."""
        forward = forward_matrix(self.diffusion, self.states, t)
        per_state = expectation(forward, safe_log(self.reverse_matrix(t)).T)
        return expectation(marginal_matrix(self.diffusion, self.states, t - 1), per_state[None, :])

    def lower_bound(self) -> Array:
        """K(x^0) of every state: shape (2^d,), nats, without preconditions. Equation (10)."""
        last = marginal_matrix(self.diffusion, self.states, self.diffusion.T)
        total = last @ safe_log(self._prior)
        for t in range(1, self.diffusion.T + 1):
            total = total + self.step_log_likelihood(t) + self.diffusion.kernel_entropy(self.states, t)
        return np.asarray(total)

    def kl(self) -> Array:
        """E_{q(x^t|x^0)} KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ), t = 2..T, of every x^0: shape (T-1, 2^d), nats. Equation (14)."""
        terms = [-self.step_log_likelihood(t) - self.diffusion.posterior_entropy(self.states, t) for t in range(2, self.diffusion.T + 1)]
        return np.array(terms).reshape(-1, len(self.states))

    def averages(self, data: "BinaryData") -> Averages:
        """(L, K, eq14) averaged over a data law, floats in nats. Equations (13) and (14).

        eq14 supposes a precondition that the data may break, and the edge T_pi; with any other it is nan.
        """
        first, last = (self.diffusion.marginal(self.states, t).entropy() for t in (1, self.diffusion.T))
        eq14 = float(data.average(last - first - self.kl().sum(0)) + self._prior @ safe_log(self._prior))
        return Averages(data.average(self.log_likelihood()), data.average(self.lower_bound()), eq14 if self._fixed_edge else float("nan"))


class BinaryData:
    """A data law over all states of d bits, and the forward trajectory that starts in it.

    Parameters
    ----------
    diffusion : BinomialDiffusion
    pmf : array_like, shape (2^d,), dimensionless
        q(x^0) of every state, in the order of `binary_states`.

    Raises
    ------
    ValueError
        If pmf is no law over 2^d states, d in 1..12.

    Notes
    -----
    Sections 2.1 and 2.6. One bit for which the upper bound of (24) fails:

    >>> data = BinaryData(BinomialDiffusion([0.1], prior=0.2), [0.5, 0.5])
    >>> print("%.6f" % data.reverse_entropy(1))
    0.190205
    """

    def __init__(self, diffusion: BinomialDiffusion, pmf: npt.ArrayLike) -> None:
        n = validation.probability("pmf", pmf).size
        if n < 2 or n & (n - 1):
            raise ValueError(f"pmf must have length 2^d, got {n}")
        self.diffusion, self.states, self.pmf = diffusion, binary_states(n.bit_length() - 1), _pmf("pmf", pmf, (n,))

    def average(self, values: npt.ArrayLike) -> float:
        """E_{q(x^0)} of a function given on all states (2^d,), in its unit; states without probability do not count. Equation (13)."""
        return float(expectation(self.pmf[None], np.asarray(values, dtype=np.float64)[None])[0])

    def marginal(self, t: int) -> Array:
        """q(x^t), t in 0..T, of every state: shape (2^d,), dimensionless. Section 2.1."""
        return np.asarray(self.pmf @ marginal_matrix(self.diffusion, self.states, validation.one_time("t", t, 0, self.diffusion.T)))

    def joint(self, t: int) -> Array:
        """q(x^{t-1}, x^t), t in 1..T: shape (2^d, 2^d), dimensionless. Section 2.6."""
        t = validation.one_time("t", t, 1, self.diffusion.T)
        return np.asarray(self.marginal(t - 1)[:, None] * forward_matrix(self.diffusion, self.states, t))

    def reversal(self, t: int) -> Array:
        """q(x^{t-1} | x^t), t in 1..T, as a matrix (x^t, x^{t-1}), (2^d, 2^d), dimensionless: the exact reversal. Section 2.6."""
        joint = self.joint(t)
        return np.asarray((joint / joint.sum(0)).T)

    def reverse(self, xt: npt.ArrayLike, t: int) -> Bernoulli:
        """The moment match of `reversal`, the ideal reverse kernel, at xt (..., d) and one t in 1..T: a law over xt's shape.

        Dimensionless. Table App.1; ValueError as for data.
        """
        xt = validation.components("xt", self.diffusion.check_data("xt", xt), self.states.shape[1])
        rows = self.reversal(t)[state_number(xt)]
        prob1, prob0 = rows @ self.states, rows @ (1.0 - self.states)
        return Bernoulli(prob1 / (prob1 + prob0), prob0 / (prob1 + prob0))

    def entropy(self, t: int) -> float:
        """H_q(X^t), t in 0..T, nats. Section 2.6."""
        return _entropy(self.marginal(t))

    def joint_entropy(self, t: int) -> float:
        """H_q(X^{t-1}, X^t), t in 1..T, nats. Section 2.6."""
        return _entropy(self.joint(t))

    def forward_entropy(self, t: int) -> float:
        """H_q(X^t | X^{t-1}), t in 1..T, nats: the upper side of (24)."""
        rows = forward_matrix(self.diffusion, self.states, validation.one_time("t", t, 1, self.diffusion.T))
        return float(self.marginal(t - 1) @ np.asarray(0.0 - xlogy(rows, rows).sum(1)))

    def reverse_entropy(self, t: int) -> float:
        """H_q(X^{t-1} | X^t), t in 1..T, nats: what (24) bounds."""
        joint = self.joint(t)
        return float(0.0 - xlogy(joint, joint / joint.sum(0)).sum())

    def entropy_given_data(self, t: int) -> float:
        """H_q(X^t | X^0), t in 0..T, nats. Equation (24)."""
        rows = marginal_matrix(self.diffusion, self.states, validation.one_time("t", t, 0, self.diffusion.T))
        return float(self.pmf @ (0.0 - xlogy(rows, rows).sum(1)))


def _entropy(probability: Array) -> float:
    return float(0.0 - xlogy(probability, probability).sum())


def _pmf(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    array = validation.probability(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    off = np.abs(array.sum(-1) - 1.0).max()
    if off > 8 * shape[-1] * np.finfo(np.float64).eps:
        raise ValueError(f"{name} must sum to 1 over the last axis, got a sum off by {off:.3g}")
    return array

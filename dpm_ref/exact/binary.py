"""All 2^d states of d bits: exact p(x^0), K and entropies of any binary model and any binary data.

A distribution over states is a vector, a kernel a matrix R_t(x^t, x^{t-1}) = p(x^{t-1} | x^t), and
p(x^{t-1}) = p(x^t) R_t gives p(x^0) in T products. K is computed from its definition (12),

    K(x^0) = E_{q(x^{1..T}|x^0)} [ log pi(x^T)
             + sum_{t>=1} log p(x^{t-1}|x^t) - log q(x^t|x^{t-1}) ],

which needs neither the rearrangements nor the preconditions of (14). Quantities whose logarithm is
taken are kept as logarithms, so that pi_1 = 1e-200 loses no accuracy. Sections 2.1 to 2.4 and 2.6
of arXiv:1503.03585.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.exact.finite import Averages, FiniteData, distribution, instance
from dpm_ref.protocols import Edge, Law, ReverseKernel, ask_law, total
from dpm_ref.validation import Array

__all__ = ["BinaryModel", "BinaryData", "binary_states", "state_probabilities"]


def binary_states(d: int) -> Array:
    """All states of d = 1..12 bits, shape (2^d, d); row i is i in binary.

    >>> binary_states(2).astype(int).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    d = validation.one_time("d", d, 1, 12)
    return ((np.arange(2**d)[:, None] >> np.arange(d - 1, -1, -1)) & 1).astype(np.float64)


def state_probabilities(law: Law) -> Array:
    """The probabilities of all states under independent bits (..., d): shape (..., 2^d).

    >>> print(state_probabilities(Bernoulli([[0.5, 0.25]])))
    [[0.375 0.125 0.375 0.125]]
    """
    bits = Bernoulli.like(law)
    return _over_states(np.multiply, bits.prob0, bits.prob1)


class BinaryModel:
    """A reverse trajectory over d = 1..12 bits, all states enumerated (section 2.2).

    reverse and edge, called with all states (2^d, d), are callables as described in `dpm_ref`.

    >>> diffusion = BinomialDiffusion([0.1, 0.2], prior=0.25)
    >>> model = BinaryModel(diffusion, 1, diffusion.kernel)
    >>> print(model.log_likelihood().round(6), model.lower_bound().round(6))
    [-0.287682 -1.386294] [-0.287682 -1.386294]
    """

    def __init__(self, diffusion: BinomialDiffusion, d: int, reverse: ReverseKernel,
                 edge: Edge = None) -> None:
        instance("diffusion", diffusion, BinomialDiffusion)
        self._reverse, self._fixed_edge = validation.function("reverse", reverse), edge is None
        self._edge = diffusion.edge if edge is None else validation.function("edge", edge)
        self.diffusion, self.states, self._prior = diffusion, binary_states(d), diffusion.prior(d)

    def reverse_matrix(self, t: int) -> Array:
        """p(x^{t-1} | x^t), t in 1..T, as a matrix (x^t, x^{t-1}), (2^d, 2^d). Equation (5)."""
        return np.exp(self._log_matrix(validation.one_time("t", t, 1, self.diffusion.T)))

    def marginal(self, t: int) -> Array:
        """p(x^t), t in 0..T, of every state: shape (2^d,)."""
        return np.exp(self._log_marginal(validation.one_time("t", t, 0, self.diffusion.T)))

    def log_likelihood(self) -> Array:
        """log p(x^0) of every state: shape (2^d,); -inf where the model has none. Equation (6)."""
        return self._log_marginal(0)

    def lower_bound(self) -> Array:
        """K(x^0) of every state: shape (2^d,), without preconditions. Equation (12)."""
        q, states = self.diffusion, self.states
        last = _expectation(_marginals(q, states, q.T), _log_probabilities(self._prior))
        steps = [self._step(t) + q.kernel_entropy(states, t) for t in range(1, q.T + 1)]
        return np.asarray(sum(steps, last))

    def kl(self) -> Array:
        """E_q KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ), t = 2..T, of every x^0: (T-1, 2^d)."""
        return np.array([-self._step(t) - self.diffusion.posterior_entropy(self.states, t)
                         for t in range(2, self.diffusion.T + 1)]).reshape(-1, len(self.states))

    def averages(self, data: "BinaryData") -> Averages:
        """L, K and equation (14), whose precondition data may break; it is nan for another edge."""
        instance("data", data, BinaryData)
        q, states = self.diffusion, self.states
        entropies = q.marginal(states, q.T).entropy() - q.marginal(states, 1).entropy()
        eq14 = entropies - self.kl().sum(0) - self._prior.entropy()
        values = self.log_likelihood(), self.lower_bound(), np.where(self._fixed_edge, eq14, np.nan)
        return Averages(*(float(_expectation(data.weights, value)) for value in values))

    def _log_matrix(self, t: int) -> Array:
        function, name, *time = (self._reverse, "reverse", t) if t > 1 else (self._edge, "edge")
        return _log_probabilities(ask_law(Bernoulli, function, name, self.states, *time))

    def _log_marginal(self, t: int) -> Array:
        log_p = _log_probabilities(self._prior)
        for step in range(self.diffusion.T, t, -1):
            log_p = logsumexp(log_p[:, None] + self._log_matrix(step), axis=0)
        return log_p

    def _step(self, t: int) -> Array:
        """E_{q(x^{t-1},x^t|x^0)} log p(x^{t-1} | x^t), of every x^0."""
        forward = state_probabilities(self.diffusion.kernel(self.states, t))
        given_before = _expectation(forward, self._log_matrix(t).T)
        return _expectation(_marginals(self.diffusion, self.states, t - 1), given_before)


class BinaryData(FiniteData):
    """A data distribution over all states of d bits, each of them an atom.

    pmf (2^d,) is q(x^0) of every state, in the order of `binary_states`. For this bit the upper
    bound of (24) fails:

    >>> data = BinaryData(BinomialDiffusion([0.1], prior=0.2), [0.5, 0.5])
    >>> print("%.6f" % data.reverse_entropy(1))
    0.190205
    """

    def __init__(self, diffusion: BinomialDiffusion, pmf: ArrayLike) -> None:
        instance("diffusion", diffusion, BinomialDiffusion)
        n = validation.probability("pmf", pmf).size
        if n < 2 or n & (n - 1):
            raise ValueError(f"pmf must have length 2^d, d >= 1, got {n}")
        super().__init__(diffusion, binary_states(n.bit_length() - 1), distribution("pmf", pmf, n))

    def marginal(self, t: int) -> Array:
        """q(x^t), t in 0..T, of every state: shape (2^d,)."""
        return np.exp(self.log_prob(self.atoms, validation.one_time("t", t, 0, self.diffusion.T)))

    def reversal(self, t: int) -> Array:
        """q(x^{t-1} | x^t), the true step, t in 1..T, as a matrix (x^t, x^{t-1}), (2^d, 2^d)."""
        return np.exp(self._log_reversal(validation.one_time("t", t, 1, self.diffusion.T)))

    def reverse_entropy(self, t: int) -> float:
        """H_q(X^{t-1} | X^t), t in 1..T, the entropy bounded by (24)."""
        given = _expectation(self.reversal(t), self._log_reversal(t))
        return float(0.0 - _expectation(self.marginal(t), given))

    def _log_reversal(self, t: int) -> Array:
        forward = _log_probabilities(self.diffusion.kernel(self.atoms, t)).T
        return forward + self.log_prob(self.atoms, t - 1) - self.log_prob(self.atoms, t)[:, None]


def _over_states(combine: np.ufunc, zeros: Array, ones: Array) -> Array:
    """Combine d values, one of each pair (..., d), in all 2^d ways: shape (..., 2^d)."""
    table = np.array([combine.identity])
    for pair in np.moveaxis(np.stack([zeros, ones], axis=-1), -2, 0):
        table = combine(table[..., None], pair[..., None, :]).reshape(*pair.shape[:-1], -1)
    return table


def _log_probabilities(law: Law) -> Array:
    """Logarithms of `state_probabilities`, without underflow."""
    with np.errstate(divide="ignore"):
        return _over_states(np.add, np.log(law.prob0), np.log(law.prob1))


def _marginals(diffusion: BinomialDiffusion, states: Array, t: int) -> Array:
    """q(x^t | x^0) as a matrix (x^0, x^t); the identity at t = 0."""
    return np.eye(len(states)) if t == 0 else state_probabilities(diffusion.marginal(states, t))


def _expectation(probability: Array, values: Array) -> Array:
    """The sum of probability * value; 0 where the probability is 0, even if the value is -inf."""
    return total(probability * np.where(probability > 0, values, 0.0))

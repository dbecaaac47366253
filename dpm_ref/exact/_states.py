"""States of d bits, numbered by their bits, and what is summed over them: laws as vectors, kernels as matrices."""

import numpy as np

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.protocols import Law
from dpm_ref.validation import Array, IntArray

__all__ = ["binary_states", "state_probabilities", "forward_matrix", "marginal_matrix", "state_number", "safe_log", "expectation"]

_MOST_BITS = 12


def binary_states(d: int) -> Array:
    """All states of d bits, shape (2^d, d), dimensionless; row i is i in binary. ValueError unless d is 1..12. Section 2.1.

    >>> binary_states(2).astype(int).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    if validation.count("d", d, 1) > _MOST_BITS:
        raise ValueError(f"d must be at most {_MOST_BITS} for enumeration, got {d}")
    return ((np.arange(2**d)[:, None] >> np.arange(d - 1, -1, -1)) & 1).astype(np.float64)


def state_probabilities(law: Law) -> Array:
    """The probabilities of all states under laws of independent bits (n, d): shape (n, 2^d), dimensionless. Table App.1.

    >>> print(state_probabilities(Bernoulli([[0.5, 0.25]])))
    [[0.375 0.125 0.375 0.125]]
    """
    bits = Bernoulli.like(law)
    pairs = np.stack([bits.prob0, bits.prob1], axis=-1)
    table = np.ones((len(pairs), 1))
    for i in range(pairs.shape[1]):
        table = (table[:, :, None] * pairs[:, i, None, :]).reshape(len(table), -1)
    return table


def forward_matrix(diffusion: BinomialDiffusion, states: Array, t: int) -> Array:
    """q(x^t | x^{t-1}) as a matrix (x^{t-1}, x^t)."""
    return state_probabilities(diffusion.kernel(states, t))


def marginal_matrix(diffusion: BinomialDiffusion, states: Array, t: int) -> Array:
    """q(x^t | x^0) as a matrix (x^0, x^t); the identity at t = 0."""
    return np.eye(len(states)) if t == 0 else state_probabilities(diffusion.marginal(states, t))


def state_number(states: Array) -> IntArray:
    """The number of each state, from its bits."""
    return np.asarray(states @ 2.0 ** np.arange(states.shape[-1] - 1, -1, -1), dtype=np.int64)


def safe_log(probability: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(probability)


def expectation(probability: Array, values: Array) -> Array:
    """sum over the last axis of probability * value, where a probability of 0 wins over a value of -inf."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(probability > 0, probability * values, 0.0).sum(-1))

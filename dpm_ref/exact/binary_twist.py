"""The exact twist r_t(x^t) = E[ r(x^0) | x^t ] of a chain of bits, and the posterior p(x^0) r(x^0) / Z, by sums over all states.

With the twist for r(x^t) the perturbed trajectory of section 2.5 is the posterior's own, for any T:

    p~(x^T) = p(x^T) r_T(x^T) / Z,     p~(x^{t-1} | x^t) = p(x^{t-1} | x^t) r_{t-1}(x^{t-1}) / r_t(x^t),     Z = E r_T(x^T)

since Z~_{t-1}(x^t) = r_t(x^t) is then what (22) normalises by, and (21) and (22) are one.
With R_t the matrix of p(x^{t-1} | x^t), r_t = R_t r_{t-1}. The chain is a model's, whose x^T is drawn from pi, or the exact
reversal of data.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5, equations (21) and (22); the twist is beyond the paper.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.exact._states import safe_log, state_number
from dpm_ref.exact.binary import BinaryData, BinaryModel
from dpm_ref.validation import Array

__all__ = ["BinaryTwist"]


class BinaryTwist:
    """The twist of r for a chain of d bits, all states enumerated.

    Parameters
    ----------
    chain : BinaryModel or BinaryData
        A model, or the exact reversal of data.
    r : array_like, shape (2^d,), >= 0, dimensionless; or a factor of `dpm_ref.posteriors`
        r(x^0) of every state, in the order of `binary_states`.

    Attributes
    ----------
    values : ndarray, shape (T+1, 2^d), dimensionless
        r_t(x^t), t = 0..T.
    log_z : float, nats
        log E r(x^0).

    Raises
    ------
    ValueError
        If r is negative, nan, infinite, of another shape, or zero wherever the chain ends: there is no posterior then.

    Notes
    -----
    Section 2.5. `log_r` and `slope` are what `posteriors.of_time` takes.

    >>> from dpm_ref import BinomialDiffusion
    >>> diffusion = BinomialDiffusion([0.5, 0.5], prior=0.5)
    >>> twist = BinaryTwist(BinaryModel(diffusion, 1, diffusion.kernel), [1.0, 3.0])
    >>> print(twist.values, twist.posterior())
    [[1.   3.  ]
     [1.5  2.5 ]
     [1.75 2.25]] [0.25 0.75]
    """

    def __init__(self, chain: BinaryModel | BinaryData, r: Any) -> None:
        self.chain, self.T = chain, chain.diffusion.T
        values = validation.finite("r", np.exp(r.log_r(chain.states)) if hasattr(r, "log_r") else r)
        if values.shape != (len(chain.states),):
            raise ValueError(f"r must have shape ({len(chain.states)},), one value to a state, got shape {values.shape}")
        if (values < 0).any():
            raise ValueError(f"r must not be negative, got {values.min()}")
        rows = [values]
        for t in range(1, self.T + 1):
            rows.append(self._matrix(t) @ rows[-1])
        self.values = np.stack(rows)
        Z = float(chain.marginal(self.T) @ self.values[-1])
        if Z == 0:
            raise ValueError("r must be positive somewhere on the chain's support, got E r(x^0) = 0")
        self.log_z = float(np.log(Z))

    def log_r(self, xt: npt.ArrayLike, t: int) -> Array:
        """log r_t(x^t) at bits xt (..., d), t in 0..T: shape (...), nats; ValueError as for data. Section 2.5."""
        return safe_log(self.values[validation.one_time("t", t, 0, self.T)][state_number(self._bits(xt))])

    def slope(self, xt: npt.ArrayLike, t: int) -> Array:
        """log r_t(x_i = 1) - log r_t(x_i = 0) for each bit of xt (..., d), the others as they are: (..., d), nats. Table App.1.

        Finite only where r_t is positive.
        """
        bits, place = self._bits(xt), 2 ** np.arange(self.chain.states.shape[1] - 1, -1, -1)
        without = state_number(bits)[..., None] - bits.astype(np.int64) * place
        log_values = safe_log(self.values[validation.one_time("t", t, 0, self.T)])
        return np.asarray(log_values[without + place] - log_values[without])

    def start(self) -> Array:
        """p~(x^T) of every state: shape (2^d,), dimensionless. Section 2.5."""
        return np.asarray(self.chain.marginal(self.T) * self.values[-1] / np.exp(self.log_z))

    def kernel(self, t: int) -> Array:
        """p~(x^{t-1} | x^t), t in 1..T, as a matrix (x^t, x^{t-1}), (2^d, 2^d), dimensionless. Equations (21) and (22).

        Rows of states from which r cannot be reached, where the posterior never is, are the chain's own.
        """
        matrix = self._matrix(validation.one_time("t", t, 1, self.T))
        norm = self.values[t][:, None]
        with np.errstate(invalid="ignore"):  # 0 / 0 in rows that are not taken
            return np.where(norm > 0, matrix * self.values[t - 1] / norm, matrix)

    def posterior(self) -> Array:
        """p(x^0) r(x^0) / Z of every state, without the twist: shape (2^d,), dimensionless. Section 2.5."""
        product = self.chain.marginal(0) * self.values[0]
        return np.asarray(product / product.sum())

    def _matrix(self, t: int) -> Array:
        return self.chain.reverse_matrix(t) if isinstance(self.chain, BinaryModel) else self.chain.reversal(t)

    def _bits(self, xt: npt.ArrayLike) -> Array:
        return validation.components("xt", self.chain.diffusion.check_data("xt", xt), self.chain.states.shape[1])

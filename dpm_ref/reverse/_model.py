"""What training asks of a parametrised reverse kernel, and what such kernels share.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.2 and Table App.1.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.mlp import MLP, Values, stack
from dpm_ref.protocols import Diffusion, ReverseKernel
from dpm_ref.validation import Array, IntArray

__all__ = ["Draw", "ReverseModel", "rows", "state"]


class Draw(NamedTuple):
    """States x^t drawn from q(x^t | x^0), what the network is given of them, and what it should make of it; (S, n, d) each."""

    xt: Values
    inputs: Values
    target: Values


class ReverseModel(Protocol):
    """What training asks of a parametrised reverse kernel; t has shape (S, 1), states and noise (S, n, d)."""

    diffusion: Any
    network: MLP
    d: int

    def noise(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: npt.DTypeLike) -> Values: ...
    def check_noise(self, noise: npt.ArrayLike) -> Array: ...
    def draw(self, x0: Values, t: IntArray, noise: Values) -> Draw: ...
    def kl_and_grad(self, out: Values, draw: Draw, t: IntArray) -> tuple[Values, Values]: ...
    def draw_grad(self, dinputs: Values, dout: Values, t: IntArray) -> tuple[Values, Values] | None: ...
    def fixed_grad(self, x0: Array) -> Array: ...
    def beta_grad(self, out: Values, draw: Draw, dinputs: Values, dout: Values, t: IntArray) -> Values | None: ...
    def fixed_beta_grad(self, x0: Array) -> Array: ...
    def kernel(self, params: npt.ArrayLike) -> ReverseKernel: ...


def rows(table: Array, t: IntArray, like: Values) -> Values:
    """A table's entries for the times t, against the last axis, in the precision of `like`."""
    return np.asarray(table[t - 2][..., None], dtype=like.real.dtype)


def state(diffusion: Diffusion, d: int, xt: npt.ArrayLike, t: npt.ArrayLike) -> tuple[Array, IntArray]:
    """The states and times that a kernel is asked for; ValueError for times that outnumber the states."""
    states = validation.components("xt", diffusion.check_data("xt", xt), d)
    times = validation.times_over(t, 2, diffusion.T, states)
    stack(states, times)
    return states, times

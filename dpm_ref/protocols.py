"""What the algorithms ask of a law, a diffusion and a reverse kernel.

An algorithm of the paper (the bound K, importance sampling, the reverse trajectory) is written once, against these three
nouns. Either column of Table App.1 provides the first two; a reverse kernel is any callable ``(xt, t) -> law``, so that a
user's own model, wrapped in a lambda, is one.
"""

from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.validation import Array

__all__ = ["Condition", "Law", "Diffusion", "ReverseKernel", "Edge", "ask_law", "ask_density",
           "law_over", "total"]


class Condition(NamedTuple):
    """A precondition checked on data: whether it holds, and what was compared."""

    holds: bool
    statement: str


class Law(Protocol):
    """A distribution of vectors with independent components; the last axis is the vector, the others are a batch."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def at(self, noise: npt.ArrayLike) -> Array: ...
    def noise(self, shape: tuple[int, ...], *, rng: np.random.Generator) -> Array: ...
    def sample(self, *, rng: np.random.Generator) -> Array: ...
    def log_prob(self, x: npt.ArrayLike) -> Array: ...
    def log_p(self, x: Array) -> Array: ...
    def entropy(self) -> Array: ...
    def kl(self, other: Any) -> Array: ...
    @classmethod
    def like(cls, other: Any) -> Self: ...


class Diffusion(Protocol):
    """A forward trajectory: the laws q of section 2.1, and the prior pi that they end in."""

    T: int
    beta: Array

    @property
    def law(self) -> type[Law]: ...
    def abar(self, t: npt.ArrayLike) -> Array: ...
    def check_data(self, name: str, x: npt.ArrayLike) -> Array: ...
    def prior(self, d: int) -> Law: ...
    def kernel(self, x_prev: npt.ArrayLike, t: npt.ArrayLike) -> Law: ...
    def marginal(self, x0: npt.ArrayLike, t: npt.ArrayLike) -> Law: ...
    def posterior(self, x0: npt.ArrayLike, xt: npt.ArrayLike, t: npt.ArrayLike) -> Law: ...
    def edge(self, x1: npt.ArrayLike) -> Law: ...
    def q_kernel(self, x_prev: Array, t: Any) -> Law: ...
    def q_marginal(self, x0: Array, t: Any) -> Law: ...
    def q_posterior(self, x0: Array, xt: Array, t: Any) -> Law: ...
    def kernel_entropy(self, x0: npt.ArrayLike, t: int) -> Array: ...
    def posterior_entropy(self, x0: npt.ArrayLike, t: int) -> Array: ...
    def entropy_never_falls(self, x0: npt.ArrayLike) -> Condition: ...


class ReverseKernel(Protocol):
    """p(x^{t-1} | x^t), equation (5): xt (..., d) and an integer t, or an integer array over xt's leading axes, in; a law out."""

    def __call__(self, xt: Array, t: Any, /) -> Any: ...


class Edge(Protocol):
    """p(x^0 | x^1): x1 (..., d) in, a law over it out."""

    def __call__(self, x1: Array, /) -> Any: ...


def law_over(family: type[Law], law: Any, x: Array, name: str) -> Law:
    """A user's law, read into the diffusion's own family and held to the shape of the state that it was asked for.

    Parameters
    ----------
    family : type
        `Gaussian` or `Bernoulli`.
    law : any object with the attributes of that family (`mean` and `var`; `prob1` and, if it has one, `prob0`)
    x : ndarray, shape (..., d)
        The state that the kernel was given.
    name : str
        What to call the kernel in an error.

    Returns
    -------
    Law
        In float64; dimensionless.

    Raises
    ------
    ValueError
        If the law lacks these attributes, or does not broadcast to x's shape: it would then be the law of something else.

    Notes
    -----
    Reverse kernels are equation (5) and Table App.1.
    """
    result = family.like(law)
    try:
        fits = np.broadcast_shapes(result.shape, x.shape) == x.shape and result.shape[-1] == x.shape[-1]
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must return a law over the state's shape {x.shape}, got one over {result.shape}")
    return result


def ask_law(family: type[Law], function: Any, name: str, x: Array, *t: Any) -> Law:
    """The law that a user's kernel or edge gives at states x (m, d): it is handed a copy, and what it returns is checked."""
    return law_over(family, function(x.copy(), *t), x, name)


def ask_density(family: type[Law], function: Any, name: str, x: Array, *t: Any) -> Any:
    """As `ask_law`, where draws and log densities are enough: a law that brings its own log_prob is taken at its word."""
    law = function(x.copy(), *t)
    return law if hasattr(law, "log_p") else _OwnLaw(law, x, name) if hasattr(law, "log_prob") else law_over(family, law, x, name)


class _OwnLaw:
    """A user's law with its own log_prob (and sample): what these return is checked."""

    def __init__(self, law: Any, x: Array, name: str) -> None:
        self.law, self.shape, self.name = law, x.shape, name

    def log_p(self, x: Array) -> Array:
        values = validation.below_infinity(f"{self.name}'s log_prob", self.law.log_prob(x.copy()))
        if values.shape != x.shape[:-1]:
            raise ValueError(f"{self.name}'s log_prob must have shape {x.shape[:-1]} for x of shape {x.shape}, got {values.shape}")
        return values

    def sample(self, *, rng: np.random.Generator) -> Array:
        values = validation.finite(f"{self.name}'s sample", self.law.sample(rng=rng))
        if values.shape != self.shape:
            raise ValueError(f"{self.name}'s sample must have shape {self.shape}, got {values.shape}")
        return values


def total(terms: Array) -> Array:
    """The sum over components of terms (..., d): shape (...), nats; what makes a component's quantity a vector's.

    Two to eight components are added as columns: a library's sum along so short an axis takes three times as long. Table App.1.
    """
    if not 1 < terms.shape[-1] <= 8:
        return np.asarray(terms.sum(-1))
    result = terms[..., 0] + terms[..., 1]
    for i in range(2, terms.shape[-1]):
        result += terms[..., i]
    return np.asarray(result)

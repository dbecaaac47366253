"""What the algorithms ask of a law (a distribution), a diffusion and a reverse kernel.

An algorithm of the paper (the bound K, importance sampling, the reverse trajectory) is written
once, against these three nouns. Either column of Table App.1 provides the first two; a reverse
kernel is any callable ``(xt, t) -> law``, so that a user's own model, wrapped in a lambda, is one.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.validation import Array

__all__ = ["Condition", "Law", "IndependentLaw", "Diffusion", "ReverseKernel", "Edge", "as_diffusion",
           "takes_times", "ask_law", "ask_density", "law_over", "total"]

Function = TypeVar("Function")


class Condition(NamedTuple):
    """A sufficient condition checked on data: whether it holds, and what was compared."""

    holds: bool
    statement: str


class Law(Protocol):
    """A distribution of vectors on the last axis; `at` and `log_p` do not validate."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def at(self, noise: Array) -> Array: ...
    def noise(self, shape: tuple[int, ...], *, rng: np.random.Generator) -> Array: ...
    def sample(self, *, rng: np.random.Generator) -> Array: ...
    def log_prob(self, x: npt.ArrayLike) -> Array: ...
    def log_p(self, x: Array) -> Array: ...
    def entropy(self) -> Array: ...
    def kl(self, other: Any) -> Array: ...
    @classmethod
    def like(cls, other: Any) -> Self: ...


class IndependentLaw(Law):
    """The part that `Gaussian` and `Bernoulli` share: two parameters that broadcast to (..., d).

    A law is immutable, shares no memory with what it was made from, and equals a law of the same
    kind with the same parameters.
    """

    __slots__ = ("_parameters",)
    names: ClassVar[tuple[str, str]]
    needed: ClassVar[tuple[str, ...]]
    wanted: ClassVar[str]
    _parameters: tuple[Array, Array]

    @classmethod
    def unchecked(cls, first: Array, second: Array) -> Self:
        """The law of valid float64 arrays that nobody else will write to."""
        law = object.__new__(cls)
        law._parameters = first, second
        return law

    @classmethod
    def like(cls, other: Any) -> Self:
        """`other` itself if it is such a law, else the law with a copy of its parameters."""
        if type(other) is cls:
            return other
        if any(callable(getattr(other, name, callable)) for name in cls.needed):
            rule = f"a {cls.__name__} law must have {' and '.join(cls.needed)}"
            raise ValueError(f"{rule}, got {type(other).__name__}; return {cls.wanted}")
        return cls(*(getattr(other, name, None) for name in cls.names))

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., d)."""
        return np.broadcast_shapes(*(array.shape for array in self._parameters))

    def sample(self, *, rng: np.random.Generator) -> Array:
        """One draw of each vector, shape (..., d)."""
        return self.at(self.noise(self.shape, rng=validation.generator(rng)))

    def over(self, shape: tuple[int, ...]) -> Self:
        """The same law repeated over leading axes."""
        first, second = (np.broadcast_to(array, shape) for array in self._parameters)
        return self if self.shape == shape else self.unchecked(first, second)

    def _view(self, index: int) -> Array:
        return np.broadcast_to(self._parameters[index], self.shape)

    def _other(self, other: Any) -> Self:
        law = self.like(other)
        validation.components("other", law._view(0), self.shape[-1])
        validation.broadcast(self=self._view(0), other=law._view(0))
        return law

    def _over(self, x: Array) -> Array:
        array = validation.components("x", x, self.shape[-1])
        return validation.broadcast(x=array, law=self._view(0))[0]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        """What equality compares; adding 0 makes -0.0 and 0.0 one number."""
        return self.shape, *((self._view(i) + 0.0).tobytes() for i in (0, 1))

    def __repr__(self) -> str:
        values = (f"{name}={validation.brief(self._view(i))}" for i, name in enumerate(self.names))
        return f"{type(self).__name__}({', '.join(values)})"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.wanted} has no attribute {name!r}")


class Diffusion(Protocol):
    """A forward trajectory: the laws q of section 2.1, and the prior pi that they end in."""

    T: int
    beta: Array

    @property
    def law(self) -> type[IndependentLaw]: ...
    def abar(self, t: npt.ArrayLike) -> Array: ...
    def check_data(self, name: str, x: npt.ArrayLike) -> Array: ...
    def prior(self, d: int) -> IndependentLaw: ...
    def kernel(self, x_prev: npt.ArrayLike, t: npt.ArrayLike) -> IndependentLaw: ...
    def marginal(self, x0: npt.ArrayLike, t: npt.ArrayLike) -> IndependentLaw: ...
    def posterior(self, x0: npt.ArrayLike, xt: npt.ArrayLike,
                  t: npt.ArrayLike) -> IndependentLaw: ...
    def edge(self, x1: npt.ArrayLike) -> IndependentLaw: ...
    def q_kernel(self, x_prev: Array, t: Any) -> IndependentLaw: ...
    def q_marginal(self, x0: Array, t: Any) -> IndependentLaw: ...
    def q_posterior(self, x0: Array, xt: Array, t: Any) -> IndependentLaw: ...
    def kernel_entropy(self, x0: npt.ArrayLike, t: int) -> Array: ...
    def posterior_entropy(self, x0: npt.ArrayLike, t: int) -> Array: ...
    def entropy_never_falls(self, x0: npt.ArrayLike) -> Condition: ...


class ReverseKernel(Protocol):
    """p(x^{t-1} | x^t), equation (5): states (m, d) and an integer t in 2..T in, a law over them out.

    A kernel marked by `takes_times` is also asked with an integer array t over the leading axes.
    """

    def __call__(self, xt: Array, t: Any, /) -> Any: ...


class Edge(Protocol):
    """p(x^0 | x^1): states x1 (m, d) in, a law over them out."""

    def __call__(self, x1: Array, /) -> Any: ...


def as_diffusion(diffusion: Any) -> Diffusion:
    """The argument, if it is a diffusion."""
    if isinstance(diffusion, type) or not hasattr(diffusion, "q_posterior"):
        kinds = "a GaussianDiffusion or a BinomialDiffusion"
        raise TypeError(f"diffusion must be {kinds}, got {diffusion!r:.80}")
    found: Diffusion = diffusion
    return found


def takes_times(kernel: Function) -> Function:
    """Mark a kernel that accepts an integer array t over the states' leading axes."""
    kernel.__dict__["takes_times"] = True
    return kernel


def ask_law(family: type[IndependentLaw], function: Any, name: str, x: Array,
            *t: Any) -> IndependentLaw:
    """The law that a user's kernel or edge gives at states x (m, d).

    The function is handed copies, and what it returns is checked and copied.
    """
    return law_over(family, _call(function, name, x, *t), x, name)


def ask_density(family: type[IndependentLaw], function: Any, name: str, x: Array, *t: Any) -> Any:
    """As `ask_law` where only draws and log densities are needed: a law of another kind that brings
    its own log_prob is taken at its word."""
    law = _call(function, name, x, *t)
    ours = type(law) is family or isinstance(law, IndependentLaw) and not isinstance(law, family)
    if ours or not hasattr(law, "log_prob"):
        return law_over(family, law, x, name)
    return _OwnDensity(law, x.shape, name)


def _call(function: Any, name: str, x: Array, *t: Any) -> Any:
    times = (np.array(time) if isinstance(time, np.ndarray) else time for time in t)
    return validation.function(name, function)(x.copy(), *times)


def law_over(family: type[IndependentLaw], law: Any, x: Array, name: str) -> IndependentLaw:
    """A user's law, read into the family and repeated over the states x that it was asked for."""
    rule = f"{name} must return a law over the state's shape {x.shape}"
    try:
        result = family.like(law)
    except ValueError as error:
        raise ValueError(f"{rule}: {error}") from error
    if result.shape[-1] != x.shape[-1] or not _fits(result.shape, x.shape):
        raise ValueError(f"{rule}, got one over {result.shape}")
    return result.over(x.shape)


def _fits(shape: tuple[int, ...], over: tuple[int, ...]) -> bool:
    """Whether an array of this shape can be repeated over that one."""
    pairs = zip(shape[::-1], over[::-1], strict=False)
    return len(shape) <= len(over) and all(n in (1, m) for n, m in pairs)


class _OwnDensity:
    """A user's law with its own log_prob (and sample): what these return is checked and copied."""

    def __init__(self, law: Any, shape: tuple[int, ...], name: str) -> None:
        self.law, self.shape, self.name = law, shape, name

    def log_p(self, x: Array) -> Array:
        name = f"{self.name}'s log_prob"
        values = np.array(validation.below_infinity(name, self.law.log_prob(x.copy())))
        return self._fit(name, values, x.shape[:-1])

    def sample(self, *, rng: np.random.Generator) -> Array:
        name = f"{self.name}'s sample"
        draw = validation.function(name, getattr(self.law, "sample", None))
        return self._fit(name, np.array(validation.finite(name, draw(rng=rng))), self.shape)

    def _fit(self, name: str, values: Array, shape: tuple[int, ...]) -> Array:
        if values.shape != shape:
            wanted = f"must have shape {shape} for states of shape {self.shape}"
            raise ValueError(f"{name} {wanted}, got {values.shape}")
        return values


def total(terms: Array) -> Array:
    """The sum of terms (..., d) over components, with the same bits for any memory layout.

    Up to eight components are added as columns, since a sum along so short an axis is three times
    slower; more are summed pairwise over contiguous rows.
    """
    if not 1 < terms.shape[-1] <= 8:
        return np.asarray(np.ascontiguousarray(terms).sum(-1))
    result = terms[..., 0] + terms[..., 1]
    for i in range(2, terms.shape[-1]):
        result += terms[..., i]
    return np.asarray(result)

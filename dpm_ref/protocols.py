"""Protocols: what the algorithms require of a law, a diffusion and a reverse kernel.

Each algorithm of the paper (the bound K, importance sampling, the reverse trajectory) is written
once, for these interfaces. `gaussian` and `binomial` implement laws and diffusions; a reverse
kernel is any callable ``(xt, t) -> law``, such as a lambda around a user's model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np

from dpm_ref import validation
from dpm_ref.schedules import Schedule
from dpm_ref.validation import Array, ArrayLike, Generator

__all__ = ["Law", "Diffusion", "ReverseKernel", "Edge", "checked_diffusion",
           "takes_times", "ask_law", "ask_density", "ask_step", "total"]

Function = TypeVar("Function")

# p(x^{t-1} | x^t), equation (5): states (m, d) and an integer t in, a law over them out. A kernel
# marked by `takes_times` is also asked with an integer array t over the leading axes.
ReverseKernel = Callable[[Array, Any], Any]

# p(x^0 | x^1): states x1 (m, d) in, a law over them out; None is T_pi.
Edge = Callable[[Array], Any] | None


def takes_times(kernel: Function) -> Function:
    """Mark a kernel that accepts an integer array t over the states' leading axes."""
    kernel.__dict__["takes_times"] = True
    return kernel


class Law:
    """A distribution of vectors (..., d) with independent components: `Gaussian` and `Bernoulli`.

    Its two parameters broadcast to (..., d). A law is immutable, shares no memory with its
    arguments, and equals a law of the same type with the same parameters. `check` validates states;
    `unchecked`, `at`, `log_p` and `kl_p` (which takes a law of the same family) do not validate.
    """

    __slots__ = ("_parameters",)
    names: ClassVar[tuple[str, str]]
    check: ClassVar[Any]
    needed: ClassVar[tuple[str, ...]]
    noise: ClassVar[Callable[..., Array]]
    at: Callable[[Array], Array]
    log_p: Callable[[Array], Array]
    kl_p: Callable[[Any], Array]
    entropy: Callable[[], Array]
    average_entropy: Callable[[Callable[[Array], Any]], Array]
    point_entropy: ClassVar[float]
    _parameters: tuple[Array, Array]

    @classmethod
    def unchecked(cls, first: Array, second: Array) -> Self:
        """The law of valid float64 arrays that nobody else writes to."""
        law = object.__new__(cls)
        law._parameters = first, second
        return law

    @classmethod
    def like(cls, other: Any, name: str = "") -> Self:
        """`other` itself if it has this type, else the law with a copy of its parameters."""
        if type(other) is cls:
            return other
        if any(callable(getattr(other, name, callable)) for name in cls.needed):
            rule = f"{name}a {cls.__name__} law must have {' and '.join(cls.needed)}"
            wanted = f"return {cls.__name__}({', '.join(cls.needed)})"
            raise ValueError(f"{rule}, got {type(other).__name__}; {wanted}")
        return cls(*(getattr(other, parameter, None) for parameter in cls.names))

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., d)."""
        return np.broadcast(*self._parameters).shape

    def dense(self) -> Self:
        """Itself; ValueError where it has no density."""
        return self

    def drawn(self, noise: Array) -> tuple[Array, Array]:
        """The sample at this noise, and its `log_p`."""
        x = self.at(noise)
        return x, self.log_p(x)

    def sample(self, *, rng: Generator) -> Array:
        """One draw of each vector, shape (..., d)."""
        return self.at(self.noise(self.shape, rng=validation.generator(rng)))

    def log_prob(self, x: ArrayLike) -> Array:
        """log P(x) or log density of x (..., d): shape (...), -inf where x is impossible.

        Accurate to 8 eps sum|terms|.
        """
        return self.dense().log_p(self._fitting("x", self.check("x", x)))

    def kl(self, other: Any) -> Array:
        """KL(self || other), shape (...), to 8 ulp; inf where other excludes what self allows."""
        law = self.like(other, "other must be a law, and ")
        self._fitting("other", law.view(0))
        return self.dense().kl_p(law.dense())

    def _fitting(self, name: str, x: Array) -> Array:
        """x over its common shape with the law; it must have d components and broadcast."""
        array = validation.components(name, x, self.shape[-1])
        return validation.broadcast(**{name: array, "law": self.view(0)})[0]

    def view(self, index: int) -> Array:
        """A parameter, read-only, broadcast to (..., d)."""
        return np.broadcast_to(self._parameters[index], self.shape)

    def over(self, shape: tuple[int, ...]) -> Self:
        """The same law over (..., d), repeated along leading axes."""
        if self.shape == shape:
            return self
        return self.unchecked(*(np.broadcast_to(array, shape) for array in self._parameters))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        """What equality compares; adding 0 turns -0.0 into 0.0."""
        return self.shape, *((self.view(i) + 0.0).tobytes() for i in (0, 1))

    def __repr__(self) -> str:
        values = (f"{name}={validation.brief(self.view(i))}" for i, name in enumerate(self.names))
        return f"{type(self).__name__}({', '.join(values)})"

    def __getattr__(self, name: str) -> Any:
        own = " and ".join(self.names)
        raise AttributeError(f"a {type(self).__name__} law has {own}, no {name!r}")


class Diffusion(Schedule):
    """A forward trajectory: the laws q of section 2.1, and the prior pi in which they end.

    `q_kernel`, `q_marginal` and `q_posterior` are `kernel`, `marginal` and `posterior` without
    validation.
    """

    law: type[Law]
    prior: Callable[[int], Law]
    q_kernel: Callable[..., Law]
    q_marginal: Callable[..., Law]
    q_posterior: Callable[..., Law]
    entropy_never_falls: Callable[[ArrayLike], tuple[bool, str]]

    def check_data(self, name: str, x: ArrayLike) -> Array:
        """A copy of data vectors (..., d), at least one, that the law can have drawn."""
        return validation.data(name, self.law.check(name, x)).copy()

    @takes_times
    def kernel(self, x_prev: ArrayLike, t: ArrayLike) -> Law:
        """q(x^t | x^{t-1}) over the common shape of x_prev (..., d) and t (...), t in 1..T."""
        states = self.check_data("x_prev", x_prev)
        return self.q_kernel(states, validation.times_over(t, 1, self.T, states))

    def marginal(self, x0: ArrayLike, t: ArrayLike) -> Law:
        """q(x^t | x^0) over the common shape of x0 (..., d) and t (...), t in 1..T."""
        data = self.check_data("x0", x0)
        return self.q_marginal(data, validation.times_over(t, 1, self.T, data))

    def posterior(self, x0: ArrayLike, xt: ArrayLike, t: ArrayLike) -> Law:
        """q(x^{t-1} | x^t, x^0) over the broadcast shape (..., d), t in 2..T.

        At t = 1, where it is a point mass at x^0, ValueError.
        """
        data, states = self.check_data("x0", x0), self.check_data("xt", xt)
        states = validation.components("xt", states, data.shape[-1])
        data, states = validation.broadcast(x0=data, xt=states)
        return self.q_posterior(data, states, validation.times_over(t, 2, self.T, data))

    def edge(self, x1: ArrayLike) -> Law:
        """p(x^0 | x^1) = T_pi(x^0 | x^1; beta_1) over x1's shape (..., d), App. B.2."""
        return self.q_kernel(self.check_data("x1", x1), 1)

    def kernel_entropy(self, x0: ArrayLike, t: int) -> Array:
        """H_q(X^t | X^{t-1}) given x^0 (..., d), t in 1..T: shape (...), equation (24)."""
        data, t = self.check_data("x0", x0), validation.one_time("t", t, 1, self.T)
        if t == 1:
            return self.q_kernel(data, t).entropy()
        return self.q_marginal(data, t - 1).average_entropy(lambda x: self.q_kernel(x, t))

    def posterior_entropy(self, x0: ArrayLike, t: int) -> Array:
        """H_q(X^{t-1} | X^t, x^0), t in 1..T (at t = 1 of a point mass): shape (...), (24)."""
        data, t = self.check_data("x0", x0), validation.one_time("t", t, 1, self.T)
        if t == 1:
            return np.full(data.shape[:-1], self.law.point_entropy)
        return self.q_marginal(data, t).average_entropy(lambda xt: self.q_posterior(data, xt, t))


def checked_diffusion(diffusion: Diffusion) -> Diffusion:
    """The argument, if it is a diffusion."""
    rule, holds = "be a GaussianDiffusion or BinomialDiffusion", isinstance(diffusion, Diffusion)
    return validation.checked("diffusion", diffusion, rule, holds, TypeError)


def ask_law(family: type[Law], function: Any, name: str, x: Array, *t: Any) -> Law:
    """The law of a user's kernel or edge at states x (m, d): called with copies, and checked."""
    return _law_over(family, _call(function, name, x, *t), x, name)


def ask_density(family: type[Law], function: Any, name: str, x: Array, *t: Any) -> Any:
    """As `ask_law`, except that a law of another type with its own log_prob is used unconverted."""
    law = _call(function, name, x, *t)
    another_family = isinstance(law, Law) and not isinstance(law, family)
    if type(law) is family or another_family or not hasattr(law, "log_prob"):
        return _law_over(family, law, x, name)
    return _OwnDensity(law, x.shape, name)


def ask_step(diffusion: Any, reverse: Any, edge: Any, xt: Array, t: int) -> Any:
    """p(x^{t-1} | x^t) by `ask_density`: from reverse; at t = 1 from edge, T_pi if it is None."""
    if t > 1:
        return ask_density(diffusion.law, reverse, "reverse", xt, t)
    return ask_density(diffusion.law, diffusion.edge if edge is None else edge, "edge", xt)


def _call(function: Any, name: str, x: Array, *t: Any) -> Any:
    times = (np.array(time) if isinstance(time, np.ndarray) else time for time in t)
    return validation.function(name, function)(x.copy(), *times)


def _law_over(family: type[Law], law: Any, x: Array, name: str) -> Law:
    """A user's law, converted to the family and broadcast over the states x."""
    rule = f"{name} must return a law over the state's shape {x.shape}"
    try:
        result = family.like(law)
    except ValueError as error:
        raise ValueError(f"{rule}: {error}") from error
    with suppress(ValueError):
        if result.shape[-1] == x.shape[-1]:
            return result.over(x.shape)
    raise ValueError(f"{rule}, got one over {result.shape}")


class _OwnDensity(NamedTuple):
    """A user's law with its own log_prob and sample, whose results are checked and copied."""

    law: Any
    shape: tuple[int, ...]
    name: str

    def dense(self) -> _OwnDensity:
        return self

    def log_p(self, x: Array) -> Array:
        return self._asked("log_prob", validation.below_infinity, x.shape[:-1], x.copy())

    def sample(self, *, rng: Generator) -> Array:
        return self._asked("sample", validation.finite, self.shape, rng=rng)

    def _asked(self, method: str, check: Callable[..., Array], shape: tuple[int, ...],
               *x: Array, **rng: Generator) -> Array:
        name = f"{self.name}'s {method}"
        answer = validation.function(name, getattr(self.law, method, None))(*x, **rng)
        values, rule = check(name, answer), f"have shape {shape} for states of shape {self.shape}"
        return validation.shaped(name, values, rule, values.shape == shape).copy()


def total(terms: Array) -> Array:
    """The sum of terms (..., d) over components, bitwise the same for any memory layout.

    Up to eight components are added column by column, since NumPy's sum along so short an axis is
    three times slower; more are summed pairwise over contiguous rows.
    """
    if not 1 < terms.shape[-1] <= 8:
        return np.asarray(np.ascontiguousarray(terms).sum(-1))
    return np.asarray(reduce(np.add, terms.T).T)

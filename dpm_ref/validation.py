"""Checks of the arguments of public functions, and of what a user's callables return.

Each returns the value (numbers as float64, times as int64), or raises a ``ValueError`` (for a wrong
type sometimes a ``TypeError``) that names the argument, the rule and the value: "{name} must
{rule}, got ...". Nothing is clipped or dropped; other numbers become the nearest float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "ArrayLike", "Generator", "IntArray", "Values", "real", "finite",
           "below_infinity", "positive", "probability", "binary", "unmasked", "array_of", "ruled",
           "checked", "shaped", "vectors", "data", "components", "times", "times_over", "one_time",
           "count", "number", "positive_number", "fraction", "flag", "generator", "function",
           "rounding", "broadcast", "own", "ReadOnly", "brief"]

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Values = NDArray[Any]  # float32 or float64, as the parameters of a network
Kept = TypeVar("Kept", bound=NDArray[Any])
Value = TypeVar("Value")

_LARGEST_COUNT = 2**31 - 1


def unmasked(name: str, value: Any, depth: int = 64) -> Any:
    """The argument, if neither it nor any part of a nested list is a masked array.

    64 is NumPy's limit on axes; it also ends the recursion into a list that contains itself.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name} must not be a masked array: its mask would be lost")
    if isinstance(value, (list, tuple)):
        if depth == 0:
            raise ValueError(f"{name} must be lists up to 64 deep, got deeper or endless ones")
        for part in value:
            unmasked(name, part, depth - 1)
    return value


def array_of(name: str, value: Any, kinds: str, rule: str) -> NDArray[Any]:
    """An array whose dtype is of one of these kinds, letters of NumPy's; `rule` follows "be"."""
    unmasked(name, value)
    try:
        array = np.asarray(value)
    except Exception as error:  # ragged lists, tensors that cannot be converted
        raise ValueError(f"{name} must be {rule}, got {type(value).__name__}: {error}") from error
    if array.dtype.kind not in kinds:
        raise ValueError(f"{name} must be {rule}, got {value!r:.80} of dtype {array.dtype}")
    return array


def ruled(name: str, array: Kept, rule: str, holds: Callable[[Any], Any]) -> Kept:
    """The array, or an error with the first offending value and its index."""
    bad = ~holds(array)
    if bad.any():
        index = tuple(np.argwhere(bad)[0].tolist())
        place = f" at index {index}" if index else ""
        raise ValueError(f"{name} must {rule}, got {array[index]!s}{place}")
    return array


def checked(name: str, value: Value, rule: str, holds: bool, error: Any = ValueError) -> Value:
    """The argument, if it obeys the rule."""
    if not holds:
        raise error(f"{name} must {rule}, got {value!r:.80}")
    return value


def shaped(name: str, array: Kept, rule: str, holds: bool) -> Kept:
    """The array, if its shape obeys the rule."""
    if not holds:
        raise ValueError(f"{name} must {rule}, got shape {array.shape}")
    return array


def real(name: str, value: ArrayLike) -> Array:
    """The argument as float64; complex numbers, strings and objects are refused."""
    array = array_of(name, value, "fiub", "an array of real numbers")
    with np.errstate(over="ignore"):  # a longdouble beyond float64 is inf
        return array.astype(np.float64, copy=False)


def _each(rule: str, holds: Callable[[Any], Any]) -> Callable[[str, ArrayLike], Array]:
    """A check that every number of an argument satisfies a rule."""
    return lambda name, value: ruled(name, real(name, value), rule, holds)


finite = _each("be finite", np.isfinite)
below_infinity = _each("be real or -inf", lambda x: x < np.inf)
positive = _each("be positive and finite", lambda x: (x > 0) & (x < np.inf))
probability = _each("lie in [0, 1]", lambda x: (x >= 0) & (x <= 1))
binary = _each("be 0 or 1", lambda x: (x == 0) | (x == 1))


def vectors(name: str, array: Array) -> Array:
    """An array whose last axis is one data vector of length d >= 1."""
    return shaped(name, array, "have a last axis of length d >= 1", array.shape[-1:] > (0,))


def data(name: str, array: Array) -> Array:
    """Data vectors, at least one of them."""
    return shaped(name, vectors(name, array), "hold at least one data vector", array.size > 0)


def components(name: str, array: Array, d: int) -> Array:
    """Vectors of exactly d components (a last axis of length 1 does not stand for d)."""
    rule = f"have {d} components on its last axis"
    return shaped(name, vectors(name, array), rule, array.shape[-1] == d)


def times(name: str, value: ArrayLike, first: int, last: int) -> IntArray:
    """Integer times in first..last; bools and floats are refused, even 2.0."""
    array = array_of(name, value, "iu", "an integer or an array of integers")
    ruled(name, array, f"lie in {first}..{last}", lambda t: (t >= first) & (t <= last))
    return array.astype(np.int64, copy=False)


def one_time(name: str, value: Any, first: int, last: int) -> int:
    """One integer time in first..last."""
    array = times(name, value, first, last)
    return int(shaped(name, array, "be one integer", array.ndim == 0))


def times_over(t: ArrayLike, first: int, last: int, x: Array) -> IntArray:
    """Integer times in first..last that broadcast against the leading axes of states x."""
    array = times("t", t, first, last)
    _common_shape("t must broadcast against the leading axes of x", t=array, x=x[..., 0])
    return array


def count(name: str, value: Any, least: int) -> int:
    """An integer >= least (and below 2^31); bools and floats are refused."""
    rule = f"an integer >= {least}"
    array = array_of(name, value, "iu", rule)
    checked(name, value, f"be {rule}", array.ndim == 0 and bool(array >= least))
    return int(ruled(name, array, f"be at most {_LARGEST_COUNT}", lambda n: n <= _LARGEST_COUNT))


def number(name: str, value: Any, rule: str, holds: Callable[[Any], Any]) -> float:
    """One finite real number that satisfies the rule."""
    array, rule = finite(name, value), f"be one number {rule}"
    return float(ruled(name, shaped(name, array, rule, array.ndim == 0), rule, holds))


positive_number = partial(number, rule="> 0", holds=lambda x: x > 0)
fraction = partial(number, rule="strictly between 0 and 1", holds=lambda x: 0 < x < 1)


def flag(name: str, value: bool) -> bool:
    """True or False; 1, 0 and NumPy's are refused."""
    return checked(name, value, "be True or False", isinstance(value, bool))


def generator(rng: Generator) -> Generator:
    """A ``numpy.random.Generator``; a seed is refused, since it would hide the randomness."""
    return checked("rng", rng, "be a numpy.random.Generator", isinstance(rng, Generator))


def function(name: str, value: Any) -> Any:
    return checked(name, value, "be a callable", callable(value), TypeError)


def rounding(value: ArrayLike) -> float:
    """The machine epsilon of the argument's floating-point type, float64's if it has none."""
    dtype = np.asarray(value).dtype
    return float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)


def broadcast(**arrays: Array) -> list[Array]:
    """Read-only views of the arrays in their common shape."""
    shape = _common_shape("shapes must broadcast", **arrays)
    return [np.broadcast_to(array, shape) for array in arrays.values()]


def _common_shape(rule: str, **arrays: NDArray[Any]) -> tuple[int, ...]:
    try:
        return np.broadcast(*arrays.values()).shape
    except ValueError as error:
        got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"{rule}, got {got}") from error


def own(array: Array) -> Array:
    """A read-only copy, in C order, since sums depend on the order."""
    copy = np.array(array, order="C")
    copy.setflags(write=False)
    return copy


class ReadOnly:
    """An object whose arrays stay read-only when it is pickled or deep-copied."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        self.__dict__.update(state)


def brief(array: Array) -> str:
    """An array on one line: in full, by the ends of a vector, or as its shape."""
    if array.ndim > 1 and array.size > 6:
        return f"<shape {array.shape}>"
    text = np.array2string(array, precision=6, separator=", ", threshold=6, edgeitems=2)
    return text.replace("\n", "")

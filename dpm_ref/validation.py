"""Argument validation, called by public functions only.

Each function returns its argument as a float64 (or int64) array, or raises a ``ValueError`` (for a
wrong type sometimes a ``TypeError``) that names the argument, the rule and the value. Nothing is
clipped, rounded or dropped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "IntArray", "real", "finite", "below_infinity", "positive", "probability",
           "binary", "vectors", "data", "components", "times", "times_over", "one_time", "count",
           "positive_number", "fraction", "generator", "function", "rounding", "broadcast", "own",
           "brief"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_LARGEST_COUNT = 2**31 - 1


def _refuse(name: str, rule: str, array: npt.NDArray[Any], bad: npt.NDArray[np.bool_]) -> None:
    """Raise with the first offending value and where it stands."""
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        place = f" at index {index}" if index else ""
        raise ValueError(f"{name} must {rule}, got {array[index]!s}{place}")


def _array(name: str, value: Any) -> npt.NDArray[Any]:
    """The argument as an array of any dtype; masked arrays and ragged lists are refused."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise ValueError(f"{name} must not be a masked array: its mask would be lost")
    try:
        return np.asarray(value)
    except Exception as error:  # ragged lists, tensors that cannot be converted
        kind = type(value).__name__
        raise ValueError(f"{name} must be an array of real numbers, got {kind}: {error}") from error


def real(name: str, value: npt.ArrayLike) -> Array:
    """The argument as float64; complex numbers, strings and objects are refused."""
    array = _array(name, value)
    if array.dtype.kind not in "fiub":
        got = f"{value!r:.80} of dtype {array.dtype}"
        raise ValueError(f"{name} must be an array of real numbers, got {got}")
    with np.errstate(over="ignore"):  # a longdouble beyond float64 is inf
        return array.astype(np.float64, copy=False)


def _ruled(name: str, value: Any, rule: str, holds: Callable[[Array], Any]) -> Array:
    array = real(name, value)
    _refuse(name, rule, array, ~holds(array))
    return array


def finite(name: str, value: npt.ArrayLike) -> Array:
    """Real numbers, none of them nan or infinite."""
    return _ruled(name, value, "be finite", np.isfinite)


def below_infinity(name: str, value: npt.ArrayLike) -> Array:
    """Real numbers or -inf: logarithms of something >= 0 and finite."""
    return _ruled(name, value, "be real or -inf", lambda array: array < np.inf)


def positive(name: str, value: npt.ArrayLike) -> Array:
    """Finite real numbers > 0."""
    return _ruled(name, value, "be positive and finite", lambda x: (x > 0) & (x < np.inf))


def probability(name: str, value: npt.ArrayLike) -> Array:
    """Real numbers in [0, 1]."""
    return _ruled(name, value, "lie in [0, 1]", lambda array: (array >= 0) & (array <= 1))


def binary(name: str, value: npt.ArrayLike) -> Array:
    """Numbers that are 0 or 1, of any real or bool dtype."""
    return _ruled(name, value, "be 0 or 1", lambda array: (array == 0) | (array == 1))


def vectors(name: str, array: Array) -> Array:
    """An array whose last axis is one data vector of length d >= 1."""
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name} must have a last axis of length d >= 1, got shape {array.shape}")
    return array


def data(name: str, array: Array) -> Array:
    """Data vectors, at least one of them."""
    if vectors(name, array).size == 0:
        raise ValueError(f"{name} must hold at least one data vector, got shape {array.shape}")
    return array


def components(name: str, array: Array, d: int) -> Array:
    """Vectors of exactly d components (a last axis of length 1 does not stand for d)."""
    if vectors(name, array).shape[-1] != d:
        rule = f"{name} must have {d} components on its last axis"
        raise ValueError(f"{rule}, got shape {array.shape}")
    return array


def times(name: str, value: npt.ArrayLike, first: int, last: int) -> IntArray:
    """Integer times in first..last; bools and floats are refused, even 2.0."""
    array = _array(name, value)
    if array.dtype.kind not in "iu":
        got = f"{value!r:.80} of dtype {array.dtype}"
        raise ValueError(f"{name} must be an integer or an array of integers, got {got}")
    _refuse(name, f"lie in {first}..{last}", array, (array < first) | (array > last))
    return array.astype(np.int64, copy=False)


def one_time(name: str, value: Any, first: int, last: int) -> int:
    """One integer time in first..last."""
    array = times(name, value, first, last)
    if array.ndim:
        raise ValueError(f"{name} must be one integer, got shape {array.shape}")
    return int(array)


def times_over(t: npt.ArrayLike, first: int, last: int, *states: Array) -> IntArray:
    """Integer times in first..last that broadcast against the leading axes of the states given."""
    array = times("t", t, first, last)
    leading = [state.shape[:-1] for state in states]
    try:
        np.broadcast_shapes(array.shape, *leading)
    except ValueError as error:
        got = f"t {array.shape} and axes {leading}"
        raise ValueError(f"t must broadcast against the leading axes of x, got {got}") from error
    return array


def count(name: str, value: Any, least: int) -> int:
    """An integer >= least (and below 2^31); bools and floats are refused."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise ValueError(f"{name} must be an integer, got {value!r:.80}") from error
    if isinstance(value, (bool, np.bool_)) or not least <= number <= _LARGEST_COUNT:
        beyond = f" and <= {_LARGEST_COUNT}" if number > _LARGEST_COUNT else ""
        raise ValueError(f"{name} must be an integer >= {least}{beyond}, got {value!r:.80}")
    return number


def positive_number(name: str, value: Any, zero_allowed: bool = False) -> float:
    """One finite real number > 0 (or >= 0)."""
    array = finite(name, value)
    if array.ndim or array < 0 or (array == 0 and not zero_allowed):
        sign = ">=" if zero_allowed else ">"
        raise ValueError(f"{name} must be one number {sign} 0, got {value!r:.80}")
    return float(array)


def fraction(name: str, value: Any) -> float:
    """One real number strictly between 0 and 1."""
    array = finite(name, value)
    if array.ndim or not 0 < array < 1:
        raise ValueError(f"{name} must be one number strictly between 0 and 1, got {value!r:.80}")
    return float(array)


def generator(rng: Any) -> np.random.Generator:
    """A ``numpy.random.Generator``; a seed is refused, since it would hide the randomness."""
    if not isinstance(rng, np.random.Generator):
        made = "make one with numpy.random.default_rng(seed)"
        raise ValueError(f"rng must be a numpy.random.Generator, got {rng!r:.80}; {made}")
    return rng


def function(name: str, value: Any) -> Any:
    """A callable."""
    if not callable(value):
        raise TypeError(f"{name} must be a callable, got {value!r:.80}")
    return value


def rounding(value: npt.ArrayLike) -> float:
    """The relative spacing of the argument's floating-point type, float64's if it has none."""
    dtype = np.asarray(value).dtype
    return float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)


def broadcast(**arrays: Array) -> list[Array]:
    """Read-only views of the arrays in their common shape."""
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"shapes must broadcast, got {shapes}") from error
    return [np.broadcast_to(array, shape) for array in arrays.values()]


def own(array: Array) -> Array:
    """A read-only copy, which no caller can change."""
    copy = np.array(array)
    copy.setflags(write=False)
    return copy


def brief(array: Array) -> str:
    """An array on one line: all of it, the ends of a vector, or else its shape."""
    if array.ndim > 1 and array.size > 6:
        return f"<shape {array.shape}>"
    text = np.array2string(array, precision=6, separator=", ", threshold=6, edgeitems=2,
                           max_line_width=200)
    return text.replace("\n", "")

"""Calling someone else's function, and reading what comes back: whatever it does, the check goes on and says so.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1, for what is asked of the functions.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np

from dpm_ref.check.conventions import Conventions
from dpm_ref.check.problems import Problem
from dpm_ref.validation import Array

__all__ = ["Answer", "Fault", "answers"]


class Fault(Exception):
    """Something is wrong with a function before its numbers can be looked at; the message says what."""


class Answer(NamedTuple):
    """Values laid out as `wanted`, some of them perhaps nan or infinite, and the dtype that they came in."""

    values: Array
    dtype: np.dtype[Any]


def answers(function: Any, problems: list[Problem]) -> list[Answer | Fault]:
    """What one call of a function answers to one or several problems of the same arguments; a Fault where it is no answer. Table App.1."""
    try:
        result = _results(function, problems[0])
        if len(problems) == 1 and not isinstance(result, tuple):
            return [_checked(result, problems[0])]
        if not isinstance(result, (tuple, list)):
            raise Fault(f"returns {type(result).__name__} where a tuple of {len(problems)} is wanted")
        parts = list(result)
        if len(problems) == 1 and len(parts) == 1:
            return [_checked(parts[0], problems[0])]
        if not min(2, len(problems)) <= len(parts) <= len(problems):
            raise Fault(f"returns a tuple of {len(parts)} where {_sizes(len(problems))} is wanted")
    except Fault as fault:
        return [fault] * len(problems)
    return [_checked(part, problem) for part, problem in zip(parts, problems, strict=False)]


def _sizes(n: int) -> str:
    return "a single array" if n == 1 else "a tuple of 2" if n == 2 else f"a tuple of 2 to {n}"


def _results(function: Any, problem: Problem) -> Any:
    """The result of the call, or the table itself where there is nothing to call."""
    conventions = problem.conventions
    if problem.subject.is_table:
        if not callable(function):
            return function
        t = problem.arguments()[0]
        if conventions.t_shape == "scalar":
            return np.array([np.squeeze(_guarded(function, [int(each)], conventions)) for each in t])
        return _guarded(function, [conventions.native(t)], conventions)
    if not callable(function):
        raise Fault(f"is no function, but {type(function).__name__}")
    arguments = problem.arguments()
    handed = [argument if isinstance(argument, int) else _native(argument, conventions) for argument in arguments]
    result = _guarded(function, handed, conventions, keep=True)
    for name, before, after in zip(problem.subject.arguments, arguments, handed, strict=True):
        if not isinstance(before, int) and not _same(before, after, conventions):
            raise Fault(f"changes its argument {name} in place")
    return result


def _native(argument: Any, conventions: Conventions) -> Any:
    try:
        return conventions.native(argument)
    except Exception as error:
        raise Fault(f"cannot be called: to_native raises {_said(error)}") from error


def _guarded(function: Any, arguments: list[Any], conventions: Conventions, keep: bool = False) -> Any:
    """The result, whatever happens: an exception becomes a Fault; warnings are the user's own."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = function(*arguments)
            return result if keep else conventions.numpy(result)
    except (Exception, SystemExit) as error:
        said = _said(error)
        hint = any(isinstance(argument, int) for argument in arguments) and ("'int' object" in said or "not int" in said)
        raise Fault(f"raises {said}" + ("; t comes as an int unless t_shape='batch' is declared" if hint else "")) from error


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _same(before: Array, after: Any, conventions: Conventions) -> bool:
    try:
        now = conventions.numpy(after)
    except Exception:  # a converter for results may not take arguments
        return True
    return now.shape == before.shape and bool(np.array_equal(now.astype(before.dtype, copy=False), before))


def _checked(result: Any, problem: Problem) -> Answer | Fault:
    """The result as numbers of the shape wanted, or what is wrong with it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = problem.conventions.numpy(result)
    except Exception as error:
        return Fault(f"returns {type(result).__name__}, which is no array: {_said(error)}")
    if array.dtype.kind != "f":
        what = "no array of numbers" if array.dtype.kind in "OSUV" else f"dtype {array.dtype}"
        return Fault(f"returns {what} where floating-point numbers are wanted")
    shaped = _shaped(array, problem)
    if shaped is None:
        return Fault(f"returns shape {array.shape} where {problem.native_shape} is wanted")
    return Answer(shaped.astype(np.float64).reshape(problem.wanted.shape), array.dtype)


def _shaped(array: Any, problem: Problem) -> Any:
    """The array in the shape wanted; a variance may be a number, one for each row, or broadcast."""
    wanted = problem.native_shape
    if array.shape == wanted:
        return array
    if problem.subject.kind == "spread" or problem.subject.name.endswith("log_var"):
        if array.shape == wanted[:1]:
            array = array.reshape(*wanted[:1], *[1] * (len(wanted) - 1))
        try:
            return np.broadcast_to(array, wanted)
        except ValueError:
            return None
    return None

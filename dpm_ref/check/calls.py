"""Calling functions that cannot be trusted, and what they return as arrays.

Whatever a function does becomes a `Fault` with a message: raising, exiting, hanging, writing into
its arguments, returning no numbers. NumPy's functions and print options, and the current folder,
are put back.
"""

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from .conventions import EPS, Conventions
from .expressions import Context, Expr, Tables, error_of, value_of
from .inputs import Setting
from .models import Model, supplied
from .quantities import Quantity, kind_of

__all__ = ["Answer", "Fault", "Problem", "call", "guarded", "limited", "said_of"]

KEYS = {"log_var": ("log_variance", "log_var", "logvar"), "var": ("variance", "var"),
    "mean": ("mean",), "nll": ("total_bpd", "nll", "bpd", "loss"), "vlb_term": ("output",)}


class Fault(Exception):
    """A function that returned nothing to compare; the message says why."""


class TimeUp(BaseException):
    pass


@dataclass(eq=False)
class Problem:
    """A quantity at given inputs, written in the user's conventions."""

    quantity: Quantity
    setting: Setting
    conventions: Conventions
    inputs: dict[str, Any]
    made: dict[bool, Context] = field(default_factory=dict)

    @classmethod
    def of(cls, q: Quantity, setting: Setting, c: Conventions, inputs: dict[str, Any]) -> "Problem":
        written = {name: c.write(kind_of(name), value) if value is not None and kind_of(name)
            in ("var", "nats") else value for name, value in inputs.items()}
        return cls(q, setting, c, written)

    def under(self, **conventions: Any) -> "Problem":
        return Problem(self.quantity, self.setting, replace(self.conventions, **conventions),
            self.inputs)

    @property
    def end(self) -> bool:
        return bool(self.inputs.get("end"))

    @cached_property
    def trees(self) -> list[Expr]:
        return self.quantity.trees(self.conventions)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        q, n = self.quantity, self.setting.n
        rows = len(self.inputs["x0"]) if "x0" in self.inputs else n
        if q.kind == "table":
            return (self.setting.T, 1)
        if q.kind == "nats_row":
            return (n,)
        lead = (1,) if q.whole else (rows,)
        return (lead if q.kind == "nats" and self.conventions.components != "none"
            else (*lead, self.setting.d))

    def context(self, lossy: bool = False) -> Context:
        if lossy not in self.made:
            rows = len(self.inputs["x0"]) if "x0" in self.inputs else self.setting.n
            tables = Tables.exact(self.setting.beta)
            self.made[lossy] = Context(self.inputs, tables, (rows, self.setting.d), lossy)
        return self.made[lossy]

    def value(self, tree: Expr) -> Any:
        """What a formula gives."""
        with np.errstate(all="ignore"):
            return np.broadcast_to(value_of(tree, self.context()), self.shape)

    def error(self, tree: Expr, lossy: bool = False) -> Any:
        """The scale of its rounding errors; in lossy tables, of all errors."""
        with np.errstate(all="ignore"):
            value, error = np.abs(self.value(tree)), error_of(tree, self.context(lossy))
            error = np.broadcast_to(error, self.shape)
            known = np.where(np.isfinite(value), value, 0.0)
            return np.maximum(np.where(np.isfinite(error), error, known), 1e-38)

    @cached_property
    def wanted(self) -> Any:
        made = self.value(self.trees[0])
        self.context().keep = False
        return made

    @cached_property
    def size(self) -> Any:
        return self.error(self.trees[0])


@dataclass(frozen=True, eq=False)
class Answer:
    """What was returned for a problem."""

    problem: Problem
    got: Any
    dtype: str


def said_of(error: BaseException) -> str:
    """The error in a line, whatever its own text does."""
    try:
        text = " ".join(str(error).split())[:200]
    except BaseException:
        text = "its message cannot be shown"
    return f"{type(error).__name__}: {text}".removesuffix(": ")


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """What a function may change of the process is put back."""
    before, folder = dict(vars(np)), os.getcwd()
    try:
        with np.printoptions(), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        changed = [name for name, value in before.items() if vars(np).get(name) is not value]
        for name in changed:
            setattr(np, name, before[name])
        os.chdir(folder)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """TimeUp after so many seconds; only in a process's main thread, where signals arrive."""
    if (not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()):
        yield
        return

    def ring(*_: Any) -> None:
        raise TimeUp

    former = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def call(function: Any, problems: list[Problem]) -> list[Answer | Fault]:
    """One call; an answer for each of the quantities that the function returns."""
    first = problems[0]
    try:
        result, asked = _result(function, first, first.conventions)
        parts = _parts(result, problems)
    except Fault as fault:
        return [fault] * len(problems)
    except (KeyboardInterrupt, TimeUp):
        raise
    except BaseException as error:
        said = said_of(error)
        hint = "; t comes as an int unless t_shape='batch' is declared"
        unlike = "'int' object" in said or "not int" in said
        return [Fault(f"raises {said}" + hint * unlike)] * len(problems)
    if len(parts) == 3 and first.conventions.spread == "logvar":  # mean, variance, log variance
        problems = [problems[0], problems[1].under(spread="var"), problems[2]]
    if asked:
        problems = [Problem(p.quantity, p.setting, p.conventions, p.inputs | asked) for p
            in problems]
    return [_checked(part, problem) for part, problem in zip(parts, problems, strict=False)]


def _parts(result: Any, problems: list[Problem]) -> list[Any]:
    """The results in the order of the quantities, of a tuple, or of a mapping by its keys."""
    if isinstance(result, Mapping):
        return [_picked(result, p.quantity.name) for p in problems]
    parts = (list(result) if isinstance(result, tuple)
        or (len(problems) > 1 and isinstance(result, list)) else [result])
    if not min(2, len(problems)) <= len(parts) <= len(problems):
        wanted = {1: "a single array", 2: "a tuple of 2"}.get(len(problems),
            f"a tuple of 2 to {len(problems)}")
        raise Fault(f"returns a tuple of {len(parts)} where {wanted} is wanted")
    return parts


def _picked(result: Mapping[Any, Any], name: str) -> Any:
    likely = next((keys for end, keys in KEYS.items() if name.endswith(end)), ())
    for key in (name, *likely):
        if key in result:
            return result[key]
    if len(result) == 1:
        return next(iter(result.values()))
    raise Fault(
        f"returns a mapping with keys {', '.join(map(str, result))}, none of them "
        f"{' or '.join((name, *likely))}"
    )


def _result(function: Any, p: Problem, c: Conventions) -> tuple[Any, dict[str, Any]]:
    """What the function returns, and at what it asked the model that it was handed."""
    names = p.quantity.arguments(c)
    if not callable(function):
        if p.quantity.kind == "table":
            return function, {}
        raise Fault(f"is no function, but {type(function).__name__}")
    arguments = [_argument(p, name) for name in names]
    if p.quantity.kind == "table" and c.t_shape == "scalar":
        return np.array([np.squeeze(c.numpy(function(int(each)))) for each in arguments[0]]), {}
    try:
        handed = [c.native(a) if isinstance(a, np.ndarray) else a for a in arguments]
        noise = _argument(p, "noise") if c.own_noise and "noise" in p.inputs else None
    except Exception as error:
        raise Fault(f"cannot be called: to_native raises {said_of(error)}") from error
    with supplied(noise, c) if noise is not None else contextlib.nullcontext():
        result = function(*handed)
    for name, before, after in zip(names, arguments, handed, strict=True):
        if isinstance(before, np.ndarray) and not np.array_equal(c.numpy(after), before):
            raise Fault(f"changes its argument {name} in place")
    return result, _asked(arguments[0], p) if "model" in names else {}


def _asked(model: Model, p: Problem) -> dict[str, Any]:
    first = p.conventions.first_t
    try:
        return model.inputs(p.inputs.get("t"))
    except KeyError as missing:
        raise Fault(f"does not ask the model at t = {missing.args[0][0] - 1 + first}") from missing


def components(p: Problem) -> tuple[int, ...]:
    return (p.setting.d,) if p.conventions.shape is None else p.conventions.shape[1:]


def _argument(p: Problem, name: str) -> Any:
    c: Conventions = p.conventions
    value: Any = p.inputs.get(name)
    if kind_of(name) == "time":
        t = value[:, 0] - 1 + c.first_t
        return (int(t[0]) if p.quantity.whole
            or (c.t_shape == "scalar" and p.quantity.kind != "table") else t)
    if kind_of(name) == "model":
        return Model(Tables.exact(p.setting.beta), p.inputs["x0"], c)
    value = value if name == "log_w" else value.reshape(*value.shape[:-1], *components(p))
    return value.astype(c.carrier)


def _checked(result: Any, p: Problem) -> Answer | Fault:
    try:
        array = p.conventions.numpy(result)
        dtype = "bfloat16" if "bfloat16" in str(getattr(result, "dtype", "")) else str(array.dtype)
    except (KeyboardInterrupt, TimeUp):
        raise
    except BaseException as error:
        return Fault(f"returns {type(result).__name__}, which is no array: {said_of(error)}")
    if array.dtype.kind != "f":
        what = "no array of numbers" if array.dtype.kind in "OSUV" else f"dtype {array.dtype}"
        return Fault(f"returns {what} where floating-point numbers are wanted")
    wanted = _shape(p, p.conventions.components)
    if array.shape != wanted and (p.quantity.kind in ("var", "table")
        or p.quantity.name.endswith("log_var")):
        array = (array.reshape(*wanted[:1], *[1] * (len(wanted) - 1)) if array.shape == wanted[:1]
            else array)
        with contextlib.suppress(ValueError):
            array = np.broadcast_to(array, wanted)
    if array.shape != wanted:
        fits = [f"components={each!r}" for each in ("sum", "none") if p.quantity.kind == "nats"
            and _shape(p, each) == array.shape]
        hint = f": that would be {fits[0]}" if fits else ""
        return Fault(f"returns shape {array.shape} where {wanted} is wanted{hint}")
    return Answer(p, array.astype(np.float64).reshape(p.shape), dtype if dtype in EPS
        else "float64")


def _shape(p: Problem, reduced: str) -> tuple[int, ...]:
    """The shape of a result, where its components are so reduced."""
    if p.quantity.kind == "table" or p.quantity.kind == "nats_row":
        return p.shape[:1]
    lead = () if p.quantity.whole else p.shape[:1]
    return lead if p.quantity.kind == "nats" and reduced != "none" else lead + components(p)

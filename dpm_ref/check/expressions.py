"""Formulas as expressions: a value, the scale of its rounding errors, and all that can be changed
in it.

An expression is a tree of named inputs, entries of the schedule's tables, numbers and operations.
`value_of` evaluates it, `error_of` bounds its error per unit of relative error in inputs, tables
and operations: for a sum of terms, the sum of their absolute values. `map` rewrites a tree, which
is how mistakes are made.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit, log_ndtr, ndtr

from dpm_ref.schedules import Schedule
from dpm_ref.validation import Array

__all__ = ["TABLES", "Context", "Expr", "Tables", "error_of", "number", "op", "term", "value_of"]

TABLES = ("beta", "alpha", "abar", "one_minus_abar", "abar_prev", "one_minus_abar_prev")


@dataclass(frozen=True, eq=False)
class Expr:
    """A node: an operation on `args`, or an input or table of this `name`, or a number."""

    op: str
    args: tuple["Expr", ...] = ()
    name: str = ""
    value: float = 0.0
    at: str = "t"  # the times at which a table is read
    move: str = ""  # a wrong index into it
    built: str = ""  # a wrong way to build it
    label: str = ""  # what a term is called

    def __add__(self, other: "Expr | float") -> "Expr":
        return Expr("+", (*_parts("+", self), *_parts("+", number(other))))

    def __radd__(self, other: float) -> "Expr":
        return number(other) + self

    def __neg__(self) -> "Expr":
        return Expr("neg", (self,), label=self.label)

    def __sub__(self, other: "Expr | float") -> "Expr":
        return self + -number(other)

    def __rsub__(self, other: float) -> "Expr":
        return number(other) - self

    def __mul__(self, other: "Expr | float") -> "Expr":
        return Expr("*", (*_parts("*", self), *_parts("*", number(other))))

    def __rmul__(self, other: float) -> "Expr":
        return number(other) * self

    def __truediv__(self, other: "Expr | float") -> "Expr":
        inverses = tuple(op("inv", each) for each in _parts("*", number(other)))
        return Expr("*", (*_parts("*", self), *inverses))

    def __rtruediv__(self, other: float) -> "Expr":
        return op("inv", self) if other == 1 else number(other) / self

    def map(self, change: "Callable[[Expr], Expr]") -> "Expr":
        """Every node changed, leaves first; unchanged parts stay the same objects."""
        if not self.args:
            return change(self)
        args = tuple([each.map(change) for each in self.args])
        same = all(a is b for a, b in zip(args, self.args, strict=True))
        return change(self if same else self.of(args))

    def of(self, args: "tuple[Expr, ...]") -> "Expr":
        """The same node over other arguments."""
        return Expr(self.op, args, self.name, self.value, self.at, self.move, self.built,
            self.label)

    def walk(self, path: tuple[int, ...] = ()) -> "Iterator[tuple[tuple[int, ...], Expr]]":
        yield path, self
        for k, each in enumerate(self.args):
            yield from each.walk((*path, k))

    def at_path(self, path: tuple[int, ...], change: "Callable[[Expr], Expr]") -> "Expr":
        if not path:
            return change(self)
        args = list(self.args)
        args[path[0]] = args[path[0]].at_path(path[1:], change)
        return self.of(tuple(args))

    @cached_property
    def text(self) -> str:
        """How the expression is written in the name of a mistake."""
        if self.label:
            return self.label
        words = [each.text for each in self.args]
        if self.op == "table":
            return table_text(self.name, self.at)
        if self.op == "number":
            return {0.5: "1/2"}.get(self.value, f"{self.value:.4g}")
        if self.op == "*":
            return _product(self.args)
        if self.op in ("+", "neg"):
            return " + ".join(words).replace("+ -", "- ") if self.op == "+" else "-" + words[0]
        if self.op == "inv":
            return f"1 / {_wrapped(self.args[0])}"
        if self.op == "square":
            return f"{_wrapped(self.args[0])}^2"
        if self.op in ("read", "write", "components", "batch", "unit"):
            return words[0]
        return f"{self.op}({', '.join(words)})" if words else self.name or self.op


def _parts(kind: str, node: Expr) -> tuple[Expr, ...]:
    return node.args if node.op == kind and not node.label else (node,)


def table_text(name: str, at: str) -> str:
    time = {"2..T": "t", "1..T": "t"}.get(at, at)
    base = name.removeprefix("one_minus_").removesuffix("_prev")
    index = time if "prev" not in name else {"t": "{t-1}"}.get(time, f"{{{time}-1}}")
    return ("1 - " if name.startswith("one_minus") else "") + f"{base}_{index}"


def _wrapped(node: Expr) -> str:
    return f"({node.text})" if " " in node.text and not node.label else node.text


def _product(args: tuple[Expr, ...]) -> str:
    above = [_wrapped(each) for each in args if each.op != "inv"]
    below = [_wrapped(each.args[0]) for each in args if each.op == "inv"]
    return " / ".join([" ".join(above) or "1", *below])


def number(value: "Expr | float") -> Expr:
    return value if isinstance(value, Expr) else Expr("number", value=float(value))


def op(name: str, *args: "Expr | float", kind: str = "") -> Expr:
    return Expr(name, tuple(map(number, args)), name=kind)


def term(label: str, node: Expr) -> Expr:
    """The expression under a name of its own."""
    return replace(node, label=label)


@dataclass(frozen=True, eq=False)
class Tables:
    """The schedule's tables over t = 0..T, those of t - 1 apart, as code stores them."""

    beta: Array
    alpha: Array
    abar: Array
    one_minus_abar: Array
    abar_prev: Array
    one_minus_abar_prev: Array

    @property
    def T(self) -> int:
        return int(self.beta.size) - 1

    @classmethod
    def of(cls, beta: Any, alpha: Any, abar: Any, one_minus: Any) -> "Tables":
        """From tables over t = 1..T."""
        before = [np.concatenate([[s, s], x[:-1]]) for s, x in ((1.0, abar), (0.0, one_minus))]
        here = [np.concatenate([[s], x]) for s, x
            in ((0.0, beta), (1.0, alpha), (1.0, abar), (0.0, one_minus))]
        return cls(*here, *before)

    @classmethod
    def product(cls, beta: Any, alpha: Any, abar: Any) -> "Tables":
        return cls.of(beta, alpha, abar, 1.0 - abar)

    @classmethod
    def exact(cls, beta: Any) -> "Tables":
        return _exact_tables(np.asarray(beta, dtype=np.float64).tobytes())

    def map(self, change: Callable[[Array], Array]) -> "Tables":
        return Tables(**{name: change(getattr(self, name)) for name in TABLES})

    @cached_property
    def growth(self) -> dict[str, Array]:
        """Errors of tables built in floating point, per unit of precision: abar by a running
        product.
        """
        with np.errstate(all="ignore"):
            steps = np.where(self.alpha > 0, 1.0 + self.beta / self.alpha, 0.0)
        grown = np.cumsum(steps) + 2.0
        before = np.concatenate([grown[:1], grown[:-1]])
        lost = {"abar": self.abar * grown, "abar_prev": self.abar_prev * before}
        lost |= {f"one_minus_{k}": lost[k] + getattr(self, f"one_minus_{k}") for k in tuple(lost)}
        return {"beta": 4.0 + self.beta, "alpha": self.alpha + self.beta, **lost}


@functools.lru_cache(maxsize=64)
def _exact_tables(beta: bytes) -> Tables:
    schedule = Schedule(np.frombuffer(beta))
    t = np.arange(1, schedule.T + 1)
    one_minus = schedule.one_minus_abar(t)
    return Tables.of(schedule.beta, 1.0 - schedule.beta, schedule.abar(t), one_minus)


@dataclass(eq=False)
class Context:
    """What a formula is evaluated in: inputs as they are handed over, tables, and the times."""

    inputs: dict[str, Any]
    tables: Tables
    shape: tuple[int, ...]
    builds: dict[str, Callable[[Tables], Tables]] = field(default_factory=dict)
    moves: dict[str, Callable[[int], Any]] = field(default_factory=dict)
    lossy: bool = False  # errors as of tables built in floating point
    keep: bool = True  # remember what was evaluated
    values: dict[int, tuple[Expr, Any]] = field(default_factory=dict)
    errors: dict[int, tuple[Expr, Any]] = field(default_factory=dict)
    made: dict[str, Tables] = field(default_factory=dict)

    def entry(self, node: Expr) -> Any:
        T, tables = self.tables.T, self.tables
        if node.built:
            if node.built not in self.made:
                self.made[node.built] = self.builds[node.built](tables)
            tables = self.made[node.built]
        return getattr(tables, node.name)[self._times(node, T)]

    def entry_error(self, node: Expr, values: Any) -> Any:
        if not self.lossy:
            return np.abs(values)
        return np.maximum(self.tables.growth[node.name][self._times(node, self.tables.T)],
            np.abs(values))

    def _times(self, node: Expr, T: int) -> Any:
        fixed = {"T": T, "T-1": T - 1, "1": 1, "2": min(2, T), "0": 0}
        times = self.inputs.get("t") if node.at == "t" else fixed.get(node.at)
        if times is None:
            times = np.arange(2 if node.at == "2..T" else 1, T + 1)[:, None, None]
        return np.asarray(self.moves[node.move](T))[times] if node.move else times


def value_of(node: Expr, context: Context) -> Any:
    known = context.values.get(id(node))
    if known is not None:
        return known[1]
    made = OPERATIONS[node.op][0](node, context, *[value_of(each, context) for each in node.args])
    if context.keep:
        context.values[id(node)] = (node, made)
    return made


def error_of(node: Expr, context: Context) -> Any:
    """The scale of rounding errors, from those of the arguments."""
    known = context.errors.get(id(node))
    if known is not None:
        return known[1]
    values = [value_of(each, context) for each in node.args]
    errors = [error_of(each, context) for each in node.args]
    made = OPERATIONS[node.op][1](node, context, value_of(node, context), values, errors)
    if context.keep:
        context.errors[id(node)] = (node, made)
    return made


def _product_value(node: Expr, c: Context, *values: Any) -> Any:
    made = values[0]
    for each in values[1:]:
        made = made * each
    return made


def _product_error(node: Expr, c: Context, y: Any, values: Any, errors: Any) -> Any:
    merged = np.add if c.lossy else np.maximum  # roundings are few; errors of tables add up
    made, error = values[0], errors[0]
    for value, more in zip(values[1:], errors[1:], strict=True):
        made, error = made * value, merged(error * np.abs(value), np.abs(made) * more)
    return error


def _steps(node: Expr, c: Context, x: Any) -> Any:
    """The sum over the first axis, of times or of weights."""
    n = next(len(c.inputs[name]) for name in ("xs", "before", "log_w") if name in c.inputs)
    one = (n, 1) if "log_w" in c.inputs else (n, 1, 1)
    x = x if np.ndim(x) == len(one) else np.broadcast_to(x, one)
    n = len(x)
    return {"": 1.0, "mean": 1.0 / n, "up": (n + 1) / n, "down": 1.0 / (n + 1)}[node.name] * x.sum(
        0)


def _batch(node: Expr, c: Context, x: Any) -> Any:
    wide = np.broadcast_shapes(np.shape(x), (c.shape[0], 1))
    return np.broadcast_to(x, wide).mean(0, keepdims=True)


def _components(node: Expr, c: Context, x: Any) -> Any:
    if node.name == "none":
        return x
    wide = np.broadcast_to(x, np.broadcast_shapes(np.shape(x), (1, *c.shape[1:])))
    return wide.mean(-1) if node.name == "mean" else wide.sum(-1)


def _xlogy_error(node: Expr, c: Context, y: Any, values: Any, errors: Any) -> Any:
    (a, b), (of_a, of_b) = values, errors
    return np.where(a == 0, of_a, of_a * np.abs(np.log(b)) + np.abs(a) * of_b / b + np.abs(y))


def _log_bin(node: Expr, c: Context, x: Any, mean: Any, std: Any) -> Any:
    """log of a normal distribution's mass between x - 1/255 and x + 1/255, open at -1 and 1."""
    off, edge = (x - mean) / std, 1.0 / 255.0 / std
    if node.name:  # as in DDPM's code
        inside, low, high = (_tanh_cdf(off + edge) - _tanh_cdf(off - edge), _tanh_cdf(off + edge), 1
            - _tanh_cdf(off - edge))
        value, low, high = (np.log(np.maximum(each, 1e-12)) for each in (inside, low, high))
    else:
        sign = np.where(off > 0, -1.0, 1.0)  # the tail in which nothing cancels
        value = np.log(ndtr(sign * off + edge) - ndtr(sign * off - edge))
        low, high = log_ndtr(off + edge), log_ndtr(edge - off)
    return np.where(x < -0.999, low, np.where(x > 0.999, high, value))


def _log_bin_error(node: Expr, c: Context, y: Any, values: Any, errors: Any) -> Any:
    x, mean, std = values
    off = np.abs(x - mean) / std
    scale = (1.0 + off) * (np.abs(x) + np.abs(mean) + off * errors[2])
    return np.abs(y) + (1.0 + scale) / std * (1.0 + 255.0 * std)


def _tanh_cdf(x: Any) -> Any:
    return 0.5 * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def _smooth(function: Any, slope: Any) -> tuple[Any, Any]:
    """A function of one argument, and its slope at x, where it is y."""
    return (lambda n, c, x: function(x), lambda n, c, y, v, e: np.abs(slope(v[0], y)) * e[0]
        + np.abs(y))


def _linear(function: Any) -> tuple[Any, Any]:
    """A function whose errors add up as its values do."""
    return function, lambda n, c, y, v, e: function(n, c, e[0])


def _exact(function: Any) -> tuple[Any, Any]:
    """A function that makes no errors of its own."""
    return function, lambda n, c, y, v, e: e[0] if e else np.float64(0.0)


_READ: dict[str, tuple[Any, Any]] = {"var": (lambda y: y, lambda y: 1.0),
    "std": (np.square, lambda y: 2.0 * y), "logvar": (np.exp, np.exp)}
_WRITE: dict[str, tuple[Any, Any]] = {"var": (lambda v: v, lambda v, y: 1.0),
    "std": (np.sqrt, lambda v, y: 0.5 / y), "logvar": (np.log, lambda v, y: 1.0 / v)}
UNITS = {"nats": 1.0, "bits": 1.0 / math.log(2.0), "the wrong way": math.log(2.0)}
# value of the arguments' values; error of value, values, errors
OPERATIONS: dict[str, tuple[Any, Any]] = {
    "input": (lambda n, c: c.inputs[n.name], lambda n, c, y, v, e: np.abs(y)),
    "table": (lambda n, c: c.entry(n), lambda n, c, y, v, e: c.entry_error(n, y)),
    "number": (lambda n, c: np.float64(n.value), lambda n, c, y, v, e: np.abs(y)),
    "T": _exact(lambda n, c: np.float64(c.tables.T)),
    "d": _exact(lambda n, c: np.float64(c.shape[1])),
    "n": _exact(lambda n, c: np.float64(c.shape[0])),
    "later": _exact(lambda n, c: (c.inputs["t"] > 1) * 1.0),
    "known": _exact(lambda n, c: np.where(c.inputs["t"] > 1, 1.0, np.nan)),
    "count": (lambda n, c, x: np.float64(len(x)), lambda n, c, y, v, e: np.float64(0.0)),
    "+": (lambda n, c, *v: sum(v), lambda n, c, y, v, e: sum(e)),
    "*": (_product_value, _product_error), "neg": (lambda n, c, x: -x, lambda n, c, y, v, e: e[0]),
    "inv": (lambda n, c, x: 1.0 / x, lambda n, c, y, v, e: e[0] * y**2),
    "sqrt": (lambda n, c, x: np.sqrt(x), lambda n, c, y, v, e: np.where(e[0] > 0, e[0] / y, 0.0)),
    "square": (lambda n, c, x: x * x, lambda n, c, y, v, e: 2.0 * np.abs(v[0]) * e[0]),
    "log": _smooth(np.log, lambda x, y: 1.0 / x), "exp": _smooth(np.exp, lambda x, y: y),
    "sigmoid": _smooth(expit, lambda x, y: y * (1.0 - y)),
    "xlogy": (lambda n, c, a, b: np.where(a == 0, 0.0, a * np.log(b)), _xlogy_error),
    "clip": _exact(lambda n, c, x: np.clip(x, -n.value, n.value)),
    "least": _exact(lambda n, c, x: np.maximum(x, n.value)),
    "inside": _exact(lambda n, c, x: np.clip(x, n.value, 1.0 - n.value)),
    "abs": _exact(lambda n, c, x: np.abs(x)),
    "max": (lambda n, c, x: x.max(0), lambda n, c, y, v, e: e[0].max(0)),
    "min": (lambda n, c, x: x.min(0), lambda n, c, y, v, e: e[0].max(0)),
    "tail": _linear(lambda n, c, x: x[1:]), "head": _linear(lambda n, c, x: x[:-1]),
    "sum": _linear(_steps), "batch": _linear(_batch), "components": _linear(_components),
    "unit": _linear(lambda n, c, x: x * UNITS[n.name]),
    "if": (lambda n, c, x, a, b: np.where(x == 1, a, b), lambda n, c, y, v,
    e: np.where(v[0] == 1, e[1], e[2])),
    "log_bin": (_log_bin, _log_bin_error),
    "read": (lambda n, c, x: _READ[n.name][0](x), lambda n, c, y, v,
    e: np.abs(_READ[n.name][1](v[0])) * e[0]),
    "write": (lambda n, c, x: _WRITE[n.name][0](x), lambda n, c, y, v,
        e: np.abs(_WRITE[n.name][1](v[0], y)) * e[0] + np.abs(y))}
OPERATIONS["first"] = (lambda n, c, a, b: np.where(c.inputs["t"] == 1, a, b), lambda n, c, y, v,
    e: np.where(c.inputs["t"] == 1, e[0], e[1]))

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
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, log_ndtr, ndtr

from dpm_ref.schedules import Schedule
from dpm_ref.validation import Array

from .conventions import WRITE

__all__ = ["TABLES", "Context", "Expr", "Tables", "error_of", "number", "op", "term"]
__all__ += ["terms_of", "value_of"]

Change = Callable[["Expr"], "Expr"]


@dataclass(frozen=True, eq=False)
class Expr:
    """A node: an operation on `args`, or an input or table of this `name`, or a number."""

    op: str
    args: tuple["Expr", ...] = ()
    name: str = ""
    value: float = 0.0
    at: str = "t"  # the times at which a table is read
    move: Callable[[int], Any] | None = None  # a wrong index into it, of T
    built: "Callable[[Tables], Tables] | None" = None  # a wrong way to build it
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

    def __pow__(self, two: int) -> "Expr":
        return op("square", self)

    def of(self, *args: "Expr") -> "Expr":
        """The same node over other arguments."""
        kept = self.name, self.value, self.at, self.move, self.built, self.label
        return Expr(self.op, args, *kept)

    def put(self, k: int, change: Change) -> "Expr":
        """The argument k changed."""
        return self.of(*self.args[:k], change(self.args[k]), *self.args[k + 1 :])

    def map(self, change: Change, made: "dict[Expr, Expr] | None" = None) -> "Expr":
        """Every node changed, leaves first; unchanged and shared parts stay the same objects."""
        made = {} if made is None else made
        if self not in made:
            args = [each.map(change, made) for each in self.args]
            same = all(a is b for a, b in zip(args, self.args, strict=True))
            made[self] = change(self if same else self.of(*args))
        return made[self]

    def walk(self, path: tuple[int, ...] = ()) -> "Iterator[tuple[tuple[int, ...], Expr]]":
        yield path, self
        for k, each in enumerate(self.args):
            yield from each.walk((*path, k))

    def at_path(self, path: tuple[int, ...], change: Change) -> "Expr":
        if not path:
            return change(self)
        return self.put(path[0], lambda node: node.at_path(path[1:], change))

    @cached_property
    def parts(self) -> list[tuple[str, str, float, str]]:
        """What it is made of, by which two expressions can be told apart."""
        return [(node.op, node.name, node.value, node.at) for _, node in self.walk()]

    @cached_property
    def text(self) -> str:
        """How the expression is written in the name of a mistake."""
        sums = self.op == "+"
        words = ["-" * (sums and a.op == "neg" and a.label != "") + a.text for a in self.args]
        if self.label or not words:
            plain = f"{self.value:.4g}" if self.op == "number" else self.name or self.op
            table = table_text(self.name, self.at) if self.op == "table" else plain
            return self.label or {"0.5": "1/2"}.get(table, table)
        if self.op == "+":
            return " + ".join(words).replace("+ -", "- ")
        if self.op == "*":
            above = [_wrapped(each) for each in self.args if each.op != "inv"]
            below = [_wrapped(each.args[0]) for each in self.args if each.op == "inv"]
            return " / ".join([" ".join(above) or "1", *below])
        first, inner = words[0], _wrapped(self.args[0])
        unseen = dict.fromkeys(UNSEEN, first)
        known = {"neg": f"-{first}", "inv": f"1 / {inner}", "square": f"{inner}^2", **unseen}
        known["xlogy"] = f"{inner} log({words[-1]})"
        return known.get(self.op, f"{self.op}({', '.join(words)})")


UNSEEN = ("read", "write", "weighed", "components", "batch", "unit", "least")


def _parts(kind: str, node: Expr) -> tuple[Expr, ...]:
    return node.args if node.op == kind and not node.label else (node,)


def _wrapped(node: Expr) -> str:
    return f"({node.text})" if " " in node.text and not node.label else node.text


def table_text(name: str, at: str = "t") -> str:
    time = "t" if ".." in at else at
    base = name.removeprefix("one_minus_").removesuffix("_prev")
    before = str(int(time) - 1) if time.isdigit() else f"{{{time}-1}}"
    index = before if "prev" in name else time
    return "1 - " * name.startswith("one_minus") + f"{base}_{index}"


def number(value: Expr | float) -> Expr:
    return value if isinstance(value, Expr) else Expr("number", value=float(value))


def op(kind: str, *args: Expr | float, name: str = "", value: float = 0.0) -> Expr:
    return Expr(kind, tuple(map(number, args)), name, value)


def term(label: str, node: Expr | float) -> Expr:
    """The expression under a name of its own."""
    return replace(number(node), label=label)


class Tables(NamedTuple):
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
        here = [np.r_[0.0, beta], np.r_[1.0, alpha], np.r_[1.0, abar], np.r_[0.0, one_minus]]
        return cls(*here, *(np.r_[table[:1], table[:-1]] for table in here[2:]))

    @classmethod
    def product(cls, beta: Any, alpha: Any, abar: Any) -> "Tables":
        return cls.of(beta, alpha, abar, 1.0 - abar)

    @classmethod
    def exact(cls, beta: Any) -> "Tables":
        return _exact_tables(np.asarray(beta, dtype=np.float64).tobytes())

    @property
    def growth(self) -> dict[str, Array]:
        """Errors of tables built in floating point, per unit of precision: abar by a running
        product, beta and alpha by a function of t / T that is rounded too.
        """
        with np.errstate(all="ignore"):
            steps = np.where(self.alpha > 0, 1.0 + self.beta / self.alpha, 0.0)
        grown = np.cumsum(steps) + 2.0
        lost = {
            "abar": self.abar * grown,
            "abar_prev": self.abar_prev * np.r_[grown[0], grown[:-1]],
        }
        lost |= {f"one_minus_{k}": lost[k] + getattr(self, f"one_minus_{k}") for k in tuple(lost)}
        drift = 0.25 * np.arange(self.T + 1) * self.alpha * self.beta
        return {"beta": 4.0 + self.beta + drift, "alpha": self.alpha + self.beta + drift, **lost}


TABLES = Tables._fields


@functools.lru_cache(maxsize=64)
def _exact_tables(beta: bytes) -> Tables:
    schedule = Schedule(np.frombuffer(beta))
    t = np.arange(1, schedule.T + 1)
    one_minus = schedule.one_minus_abar(t)
    return Tables.of(schedule.beta, 1.0 - schedule.beta, schedule.abar(t), one_minus)


@dataclass(eq=False)
class Context:
    """What formulas are evaluated in: inputs as they are handed over, tables, and the batch."""

    inputs: dict[str, Any]
    tables: Tables
    batch: tuple[int, int]  # n and d
    trees: list[Expr]  # what is evaluated of them is remembered
    values: dict[int, Any] = field(default_factory=dict, init=False)
    errors: dict[tuple[int, bool, bool], Any] = field(default_factory=dict, init=False)
    built: dict[Any, Tables] = field(default_factory=dict, init=False)

    @cached_property
    def kept(self) -> set[int]:
        return {id(node) for tree in self.trees for _, node in tree.walk()}

    @property
    def count(self) -> int:
        """How many times, or weights, are summed over."""
        return next(len(self.inputs[k]) for k in ("log_w", "xs", "before") if k in self.inputs)

    def entry(self, node: Expr) -> Any:
        if node.built and node.built not in self.built:
            self.built[node.built] = node.built(self.tables)
        tables = self.built[node.built] if node.built else self.tables
        return getattr(tables, node.name)[self.times(node)]

    def times(self, node: Expr) -> Any:
        T, t = self.tables.T, self.inputs.get("t")
        fixed = {"t": t, "T": T, "T-1": T - 1, "1": 1, "2": min(2, T), "0": 0}
        if t is not None:
            square = len(t) == self.batch[1]
            fixed |= {"first row": t[:1], "least": t.min(), "across": t.T if square else t}
        times = fixed.get(node.at)
        if times is None:
            times = np.arange(2 if node.at == "2..T" else 1, T + 1)[:, None, None]
        return np.asarray(node.move(T))[times] if node.move else times


def value_of(node: Expr, context: Context) -> Any:
    if id(node) in context.values:
        return context.values[id(node)]
    values = [value_of(each, context) for each in node.args]
    made = OPERATIONS[node.op](node, context, *values)
    if id(node) in context.kept:
        context.values[id(node)] = made
    return made


def terms_of(node: Expr, context: Context) -> Any:
    """The size of the terms that the value is the sum of."""
    if node.op == "+":
        return sum(np.abs(value_of(each, context)) for each in node.args)
    if node.op in ("*", "neg", "components", "batch", "unit"):
        parts = [terms_of(each, context) for each in node.args]
        return np.abs(OPERATIONS[node.op](node, context, *parts))
    return np.abs(value_of(node, context))


STEP = 1e-8  # of the differences that stand for derivatives


def error_of(node: Expr, context: Context, lossy: bool = False, plain: bool = False) -> Any:
    """The scale of rounding errors: of the value itself, and as errors of the arguments move it.

    Roundings are few, and of several factors the worst counts; errors of tables add up. `lossy`
    means tables that were built in floating point; `plain` takes the mass of a bin as it is.
    """
    if (id(node), lossy, plain) in context.errors:
        return context.errors[id(node), lossy, plain]
    y, values = value_of(node, context), [value_of(each, context) for each in node.args]
    if plain and node.op.startswith("log_"):
        return np.abs(y)
    made: Any = 0.0 * y
    merged = np.add if lossy or node.op == "+" else np.maximum
    for k, each in enumerate(node.args):
        off = error_of(each, context, lossy, plain)
        if node.op != "+":
            moved = [*values]
            moved[k] = values[k] + STEP * off
            off = np.abs(OPERATIONS[node.op](node, context, *moved) - y) / STEP
        made = merged(made, np.where(off < np.inf, off, 0.0))
    own = np.abs(y)
    if node.op == "table" and lossy:
        own = np.maximum(context.tables.growth[node.name][context.times(node)], own)
    if node.op.startswith("log_"):  # of two distribution functions, at two ends
        ends = 255.0 * (np.abs(values[0]) + np.abs(values[1]))
        own = own + (np.exp(-y) + ends) / 16.0
    made = np.maximum(made, own)
    if id(node) in context.kept:
        context.errors[id(node), lossy, plain] = made
    return made


def _steps(node: Expr, c: Context, x: Any) -> Any:
    """The sum over the first axis, of times or of weights."""
    one = (c.count, 1) if "log_w" in c.inputs else (c.count, 1, 1)
    return (x if np.ndim(x) == len(one) else np.broadcast_to(x, one)).sum(0)


def _batch(node: Expr, c: Context, x: Any) -> Any:
    wide = np.broadcast_shapes(np.shape(x), (c.batch[0], 1))
    return np.broadcast_to(x, wide).mean(0, keepdims=True)


def _components(node: Expr, c: Context, x: Any) -> Any:
    if node.name == "none":
        return x
    wide = np.broadcast_to(x, np.broadcast_shapes(np.shape(x), (1, c.batch[1])))
    return wide.mean(-1) if node.name == "mean" else wide.sum(-1)


# the mass of the first bin and of the last, of what is below, inside and above
ENDS: dict[str, Callable[[Any, Any, Any], tuple[Any, Any]]] = {
    "": lambda low, inside, high: (low, high),
    " closed": lambda low, inside, high: (inside, inside),
    " low": lambda low, inside, high: (low, inside),
    " high": lambda low, inside, high: (inside, high),
    " exchanged": lambda low, inside, high: (high, low),
    " below": lambda low, inside, high: (low, np.log(-np.expm1(high))),
}


def _log_bin(node: Expr, c: Context, x: Any, mean: Any, std: Any) -> Any:
    """log of a normal distribution's mass between x - 1/255 and x + 1/255, open at -1 and 1."""
    off, edge = (x - mean) / std, node.value / 255.0 / std
    if cdf := CDFS.get(node.name):
        below, above = cdf(off - edge), cdf(off + edge)
        inside, low, high = np.log(above - below), np.log(above), np.log(1 - below)
    else:
        sign = np.where(off > 0, -1.0, 1.0)  # the tail in which nothing cancels
        above, below = sign * off + edge, sign * off - edge
        mass, log_above = ndtr(above) - ndtr(below), log_ndtr(above)
        far = log_above + np.log(-np.expm1(log_ndtr(below) - log_above))  # the mass underflows
        inside = np.where(mass > 1e-290, np.log(mass), far)
        low, high = log_ndtr(off + edge), log_ndtr(edge - off)
    at_0, at_255 = ENDS[node.op.removeprefix("log_bin")](low, inside, high)
    inside = np.where(x < -0.999, at_0, np.where(x > 0.999, at_255, inside))
    return np.maximum(inside, math.log(1e-12)) if node.name else inside


def _tanh_cdf(x: Any) -> Any:
    return 0.5 * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


CDFS: dict[str, Callable[[Any], Any]] = {"tanh": _tanh_cdf, "logistic": expit}
READ: dict[str, Callable[[Any], Any]] = {"var": np.asarray, "std": np.square, "logvar": np.exp}
UNITS = {"nats": 1.0, "bits": 1.0 / math.log(2.0), "the wrong way": math.log(2.0)}
PLAIN = {name: getattr(np, name) for name in ("abs", "sqrt", "square", "log", "exp")}
PLAIN |= {"neg": np.negative, "sigmoid": expit}
PARTS = {"tail": slice(1, None), "head": slice(None, -1), "foremost": 0}
# fmt: off
OPERATIONS: dict[str, Callable[..., Any]] = {
    "input": lambda node, c: c.inputs[node.name],
    "table": lambda node, c: c.entry(node),
    "number": lambda node, c: np.float64(node.value),
    "T": lambda node, c: np.float64(c.tables.T),
    "d": lambda node, c: np.float64(c.batch[1]),
    "n": lambda node, c: np.float64(c.batch[0]),
    "count": lambda node, c: np.float64(c.count),
    "later": lambda node, c: (c.times(node) > 1 + node.value) * 1.0,
    "known": lambda node, c: np.where(c.inputs["t"] > 1, 1.0, np.nan),
    "first": lambda node, c, a, b: np.where(c.inputs["t"] == 1, a, b),
    "second": lambda node, c, a, b: np.where(c.inputs["t"] == 2, a, b),
    "last": lambda node, c, a, b: np.where(c.inputs["t"] == c.tables.T, a, b),
    "if": lambda node, c, x, a, b: np.where(x > 0.5, a, b),
    "+": lambda node, c, *terms: sum(terms),
    "*": lambda node, c, *factors: functools.reduce(np.multiply, factors),
    "inv": lambda node, c, x: 1.0 / x,
    **{name: lambda node, c, x, f=f: f(x) for name, f in PLAIN.items()},
    "xlogy": lambda node, c, a, b: np.where(a == 0, 0.0, a * np.log(b)),
    "clip": lambda node, c, x: np.clip(x, -node.value, node.value),
    "least": lambda node, c, x: np.maximum(x, node.value),
    "inside": lambda node, c, x: np.clip(x, node.value, 1.0 - node.value),
    "max": lambda node, c, x: np.nan_to_num(x.max(0), neginf=0.0) if node.name else x.max(0),
    "min": lambda node, c, x: x.min(0),
    **{name: lambda node, c, x, part=part: x[part] for name, part in PARTS.items()},
    **dict.fromkeys(("unit", "weighed"), lambda node, c, x: x * UNITS[node.name]),
    "read": lambda node, c, x: READ[node.name](x),
    "write": lambda node, c, x: WRITE[node.name](x),
    "sum": _steps,
    "batch": _batch,
    "components": _components,
    **dict.fromkeys((f"log_bin{ends}" for ends in ENDS), _log_bin),
}
# fmt: on

"""Sources of precision loss: right mathematics, and what was done to its digits."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .conventions import EPS
from .expressions import Change, Expr, Tables, op
from .mistakes import everywhere, rebuilt
from .problems import Answer
from .quantities import Quantity

__all__ = ["CONSTANTS", "HABITS", "constants", "habits"]

SMALL = (1e-20, 1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
EVERY = "a small constant added to every 1 - abar_t"
CONSTANTS: dict[str, Callable[[float], Change]] = {
    EVERY: lambda c: lambda y: y + c,
    "a variance, a table or a probability clipped from below": lambda c: (
        lambda y: op("least", y, value=c)
    ),
    "a small constant added to a variance, a table or a probability": lambda c: lambda y: y + c,
    "a probability clipped at both ends": lambda c: lambda y: op("inside", y, value=c),
}


def constants(known: list[Answer]) -> tuple[str, ...]:
    """A value clipped or shifted on purpose, by a constant that reproduces all."""
    first = known[0].problem
    if first.quantity.drawn in ("bound", "loop", "path") and first.tables.T > 100:
        return ()  # it would take minutes
    known = sorted(known, key=lambda c: -float(c.ratio.max()))
    for (name, made), small in itertools.product(CONSTANTS.items(), SMALL):
        places = _wider if name == EVERY else _places
        for change, tree in itertools.product(
            places(first.quantity, made(small), small), first.trees
        ):
            other = change(tree)
            if all(c.reproduced(c.problem.value(other), c.allowed) for c in known):
                return (name,)
    return ()


def _named(changes: dict[str, Change], kind: str) -> Change:
    """Nodes of this kind changed by their names."""
    return everywhere(lambda n: changes[n.name](n) if n.name in changes else n, kind)


def _wider(q: Quantity, change: Change, small: float) -> Iterator[Change]:
    """Data that come with a variance widen every q(x^t | x^0), and the steps in proportion."""
    rest = {"one_minus_abar": change, "one_minus_abar_prev": change}
    if q.scheduled and q.kind != "table":
        yield _named(rest, "table")
        yield _named(rest | {"beta": lambda n: n * (1 + small)}, "table")


def _places(q: Quantity, change: Change, small: float) -> Iterator[Change]:
    """The result, variances and probabilities handed over, what is under a root or a logarithm."""
    if q.kind in ("table", "prob"):
        yield change
    yield everywhere(change, "read")
    for kinds in (("sqrt", "log", "inv"), ("sqrt",), ("log",), ("write",)):
        yield everywhere(lambda node: node.put(0, change), *kinds)
    yield everywhere(lambda node: node.put(1, change), "xlogy")
    for names in (("q1",), ("p1",), ("prob",), ("q1", "p1")):
        yield _named(dict.fromkeys(names, change), "input")


def _single(x: Any) -> Any:
    """Rounded to float32."""
    return x.astype(np.float32).astype(np.float64)


def _float32(s: Tables, running: Any = np.float32) -> Tables:
    beta = s.beta[1:].astype(np.float32)
    abar = np.cumprod(1 - beta, dtype=running).astype(np.float32)
    return Tables.of(*map(_single, (beta, 1 - beta, abar, 1 - abar)))


def _read_back(s: Tables) -> Tables:
    single = _float32(s).map(lambda x: x.astype(np.float32))
    alpha = single.abar / single.abar_prev
    return replace(_float32(s), alpha=_single(alpha), beta=_single(1 - alpha))


HABITS: dict[str, Callable[[Tables], Tables]] = {
    "tables built in float32: the running product and 1 - abar": _float32,
    "tables rounded to float32 after a product in float64": lambda s: _float32(s, np.float64),
    "beta read back from the product, 1 - abar_t / abar_{t-1}, in float32": _read_back,
    "1 - abar taken by subtraction from an abar rounded to float32": lambda s: Tables.product(
        s.beta[1:], s.alpha[1:], _single(s.abar[1:])
    ),
    "float64 tables rounded to float32 when read": lambda s: s.map(_single),
    "beta rounded to float32": lambda s: Tables.exact(_single(s.beta[1:])),
    "1 - abar taken by subtraction from a running product in float64": lambda s: Tables.product(
        s.beta[1:], s.alpha[1:], np.cumprod(s.alpha[1:])
    ),
}


def habits(known: list[Answer]) -> tuple[tuple[str, ...], bool]:
    """The ways to build tables that explain most of the error, and whether they explain it all."""
    trees = known[0].problem.trees
    read = {node.name for tree in trees for _, node in tree.walk() if node.op == "table"}
    scores = {
        name: min(_left(known, rebuilt(build)(tree)) for tree in trees)
        for name, build in HABITS.items()
        if read and (read & {"beta", "alpha"} or not name.startswith("beta"))
    }
    best = min(scores.values(), default=(np.inf, np.inf))
    most = min(0.5 * _left(known, trees[0])[0], 4 * best[0] + 1e-9)
    found = tuple(
        name for name in sorted(scores, key=scores.__getitem__) if scores[name][0] <= most
    )
    if found:
        return found, best[1] <= 1.0
    worst = max(float((c.error / c.problem.size).max()) for c in known)
    said = "computed in float32" + ", where the terms cancel" * (worst > 64 * EPS["float32"])
    return ((said,) if worst > 0 else ()), False


def _left(known: list[Answer], tree: Expr) -> tuple[float, float]:
    """What a formula leaves unexplained, in all and at most, in units of what a PASS allows."""
    with np.errstate(all="ignore"):
        off = [((c.got - c.problem.value(tree)) / c.allowed)[c.defined] for c in known]
        size = np.nan_to_num(np.abs(np.concatenate(off)), nan=0.0, posinf=np.inf)
        return float((size**2).sum()), float(size.max())

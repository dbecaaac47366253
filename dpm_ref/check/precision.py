"""Sources of precision loss: right mathematics, and what was done to its digits."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .calls import Problem
from .comparisons import Comparison
from .conventions import EPS
from .expressions import Expr, Tables
from .mistakes import Change, everywhere

__all__ = ["CONSTANTS", "HABITS", "constants", "habits"]

SMALL = (1e-20, 1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
EVERY = "a small constant added to every 1 - abar_t"
CONSTANTS: dict[str, Callable[[float], Change]] = {EVERY: lambda c: lambda y: y + c,
    "a variance, a table or a probability clipped from below": lambda c: (
    lambda y: Expr("least", (y,), value=c)),
    "a small constant added to a variance, a table or a probability": lambda c: lambda y: y + c,
    "a probability clipped at both ends": lambda c: lambda y: Expr("inside", (y,), value=c)}


def constants(known: list[Comparison]) -> tuple[str, ...]:
    """A value clipped or shifted on purpose, by a constant that reproduces all."""
    first = known[0].problem
    if first.quantity.formula in ("bound", "loop", "weight") and first.setting.T > 100:
        return ()  # it would take minutes
    known = sorted(known, key=lambda c: -float(c.ratio.max()))
    for name, made in CONSTANTS.items():
        places = _tables if name == EVERY else _places
        for change in (place for c in SMALL for place in places(first, made(c), c)):
            if all(_kept(c, change) for c in known):
                return (name,)
    return ()


def _tables(p: Problem, change: Change, c: float) -> Iterator[Change]:
    """Data that come with a variance widen every q(x^t | x^0), and the steps in proportion."""
    if p.quantity.scheduled and p.quantity.kind != "table":

        def wider(beta: Change) -> Change:
            return everywhere(
                lambda n: (change(n) if n.name.startswith("one_minus")
                else (beta(n) if n.name == "beta" else n)),
                "table")

        yield wider(lambda n: n)
        yield wider(lambda n: n * (1 + c))


def _kept(c: Comparison, change: Change) -> bool:
    return any(c.reproduced(c.problem.value(change(tree)), c.allowed) for tree in c.problem.trees)


def _places(p: Problem, change: Change, c: float) -> Iterator[Change]:
    """The result, variances and probabilities handed over, what is under a root or a logarithm."""

    def inside(node: Expr) -> Expr:
        return node.of((change(node.args[0]), *node.args[1:]))

    def second(node: Expr) -> Expr:
        return node.of((node.args[0], change(node.args[1])))

    if p.quantity.kind in ("table", "prob"):
        yield change
    yield everywhere(change, "read")
    for kinds in (("sqrt", "log", "inv"), ("sqrt",), ("log",), ("write",)):
        yield everywhere(inside, *kinds)
    yield everywhere(second, "xlogy")
    for node in ("q1", "p1", "prob"):
        yield everywhere(change, "input", name=node)
    yield lambda tree: tree.map(lambda n: change(n) if n.op == "input" and n.name in ("q1", "p1")
        else n)


def _float32(beta: Any, running: Any = np.float32) -> Tables:
    single = beta.astype(np.float32)
    alpha = 1 - single
    abar = np.cumprod(alpha, dtype=running).astype(np.float32)
    return Tables.of(*(np.asarray(x, dtype=np.float64) for x in (single, alpha, abar, 1 - abar)))


def _read_back(s: Tables) -> Tables:
    single = s.map(lambda x: x.astype(np.float32))
    alpha = single.abar / single.abar_prev
    return replace(s, alpha=alpha.astype(np.float64), beta=(1 - alpha).astype(np.float64))


def _rounded_abar(s: Tables) -> Tables:
    abar = s.abar[1:].astype(np.float32).astype(np.float64)
    return Tables.of(s.beta[1:], s.alpha[1:], abar, 1 - abar)


HABITS: dict[str, Callable[[Tables], Tables]] = {
    "tables built in float32: the running product and 1 - abar": lambda s: _float32(s.beta[1:]),
    "tables rounded to float32 after a product in float64": lambda s: _float32(s.beta[1:],
    np.float64),
    "beta read back from the product, 1 - abar_t / abar_{t-1}, in float32": lambda s: _read_back(
    _float32(s.beta[1:])),
    "1 - abar taken by subtraction from an abar rounded to float32": _rounded_abar,
    "float64 tables rounded to float32 when read": lambda s: s.map(
    lambda x: x.astype(np.float32).astype(np.float64)),
    "beta rounded to float32": lambda s: Tables.exact(
    s.beta[1:].astype(np.float32).astype(np.float64)),
    "1 - abar taken by subtraction from a running product in float64": lambda s: Tables.product(
        s.beta[1:], s.alpha[1:], np.cumprod(s.alpha[1:]))}


def habits(known: list[Comparison]) -> tuple[tuple[str, ...], bool]:
    """The ways to build tables that explain most of the error, and whether they explain it all."""
    first = known[0].problem
    forms = range(len(first.trees))
    read = {node.name for tree in first.trees for _, node in tree.walk() if node.op == "table"}
    scores = {}
    for name, build in HABITS.items() if read else ():
        if read & {"beta", "alpha"} or not name.startswith("beta"):
            scores[name] = min(_left(known, build, form) for form in forms)
    best = min(scores.values(), default=(np.inf, np.inf))
    total = _left(known, None, 0)[0]
    found = tuple(name for name, (left, _) in scores.items() if left < 0.5 * total and left <= 4
        * best[0] + 1e-9)
    if found:
        return found, best[1] <= 1.0
    worst = max(float((c.error / c.problem.size).max()) for c in known)
    said = "computed in float32" + ", where the terms cancel" * (worst > 64 * EPS["float32"])
    return ((said,) if worst > 0 else ()), False


def _left(known: list[Comparison], build: Callable[[Tables], Tables] | None, form: int) -> tuple[
    float, float]:
    """What these tables leave unexplained, in all and at most, in units of what a PASS allows."""
    total = most = 0.0
    for c in known:
        other = Problem(c.problem.quantity, c.problem.setting, c.problem.conventions,
            c.problem.inputs)
        context = other.context()
        context.tables = context.tables if build is None else build(context.tables)
        with np.errstate(all="ignore"):
            off = np.where(c.defined, c.got - other.value(c.problem.trees[form]), 0.0) / c.allowed
        total, most = total + float(np.nansum(off**2)), max(most, float(np.nanmax(np.abs(off))))
    return total, most

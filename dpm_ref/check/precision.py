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
CONSTANTS: dict[str, Callable[[float], Change]] = {
    "a variance, a table or a probability clipped from below":
        lambda c: lambda y: Expr("least", (y,), value=c),
    "a small constant added to a variance, a table or a probability": lambda c: lambda y: y + c,
    "a probability clipped at both ends": lambda c: lambda y: Expr("inside", (y,), value=c)}


def constants(known: list[Comparison]) -> tuple[str, ...]:
    """Values clipped or shifted on purpose, by a constant that reproduces all."""
    found = []
    for name, made in CONSTANTS.items():
        for change in (place for c in SMALL for place in _places(known[0].problem, made(c))):
            if all(_kept(c, change) for c in known):
                found.append(name)
                break
    return tuple(found)


def _kept(c: Comparison, change: Change) -> bool:
    return any(c.reproduced(c.problem.value(change(tree)), c.allowed) for tree in c.problem.trees)


def _places(p: Problem, change: Change) -> Iterator[Change]:
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
    yield lambda tree: tree.map(
        lambda n: change(n) if n.op == "input" and n.name in ("q1", "p1") else n)
    yield lambda tree: tree.map(
        lambda n: change(n) if n.op == "table" and n.name.startswith("one_minus") else n)


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
    "tables rounded to float32 after a product in float64": lambda s:
    _float32(s.beta[1:], np.float64),
    "beta read back from the product, 1 - abar_t / abar_{t-1}, in float32": lambda s:
    _read_back(_float32(s.beta[1:])),
    "1 - abar taken by subtraction from an abar rounded to float32": _rounded_abar,
    "float64 tables rounded to float32 when read": lambda s:
    s.map(lambda x: x.astype(np.float32).astype(np.float64)), "beta rounded to float32": lambda s:
    Tables.exact(s.beta[1:].astype(np.float32).astype(np.float64)),
    "1 - abar taken by subtraction from a running product in float64": lambda s:
    Tables.product(s.beta[1:], s.alpha[1:], np.cumprod(s.alpha[1:]))}


def habits(known: list[Comparison]) -> tuple[str, ...]:
    """The ways to build tables that explain most of the error."""

    def left(build: Callable[[Tables], Tables] | None, form: int) -> float:
        total = 0.0
        for c in known:
            p = c.problem
            other = Problem(p.quantity, p.setting, p.conventions, p.inputs)
            context = other.context()
            context.tables = context.tables if build is None else build(context.tables)
            off = np.where(c.defined, c.got - other.value(p.trees[form]), 0.0) / c.allowed
            total += float(np.nansum(off**2))
        return total

    forms = range(len(known[0].problem.trees))
    if known[0].problem.quantity.scheduled:
        total = left(None, 0)
        scores = {name: min(left(build, form) for form in forms) for name, build in HABITS.items()}
        best = min(scores.values())
        found = tuple(name for name, score in scores.items() if score < 0.5 * total and score <= 4
            * best + 1e-9)
        if found:
            return found
    worst = max(float((c.error / c.problem.size).max()) for c in known)
    if worst <= 64 * EPS["float32"] and known[0].problem.conventions.dtype == "float64":
        return ("computed in float32",)
    return ("computed in float32, where the terms cancel",) if worst > 0 else ()



"""The answer to one call beside the truth, and, over several, where they part.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from dpm_ref.check.calls import Answer
from dpm_ref.check.habits import explained
from dpm_ref.check.problems import Problem
from dpm_ref.validation import Array

__all__ = ["RELATIVE", "Comparison", "broken", "place", "relation"]

RELATIVE = {"float64": 1e-9, "float32": 1e-5}


@dataclass(frozen=True, eq=False)
class Comparison:
    """The answer to one call, beside the truth."""

    problem: Problem
    answer: Answer

    @property
    def defined(self) -> Any:
        return np.isfinite(self.problem.wanted)

    @property
    def error(self) -> Array:
        """|got - wanted|, 0 where nothing is defined, inf where the answer is no number; the user's unit. Table App.1."""
        return np.where(self.defined, np.nan_to_num(np.abs(self.answer.values - self.problem.wanted), nan=np.inf, posinf=np.inf), 0.0)

    @property
    def broken(self) -> Any:
        """Where the answer is no number though the truth is one; shape of the values, no unit. Table App.1."""
        return self.defined & ~np.isfinite(self.answer.values)

    @property
    def promised(self) -> Array:
        """The largest error that passes; the user's unit, shape of the values. Table App.1."""
        return RELATIVE[self.problem.conventions.dtype] * self.problem.size

    @property
    def eps(self) -> float:
        """The precision that losses are blamed on: float32's, or that of the result if it is lower; dimensionless. Table App.1."""
        return max(float(np.finfo(np.float32).eps), float(np.finfo(self.answer.dtype).eps))

    @cached_property
    def blurred(self) -> Array:
        """The error that tables and arithmetic in a lower precision explain, in some form of the formula; the user's unit. Table App.1."""
        forms = [self.problem.with_rates(replace(self.problem.rates, form=form)) for form in range(self.problem.subject.forms)]
        return np.asarray(np.max([explained(each, lambda p: p.predict(), self.eps) for each in forms], 0))

    def misses(self) -> Any:
        return self.error > self.promised

    def reproduced_by(self, values: Array, tolerance: Array) -> bool:
        """Whether every value that is defined is this within the tolerance, nan and infinity being themselves. Table App.1."""
        got = self.answer.values
        with np.errstate(invalid="ignore"):
            near = (np.abs(got - values) <= tolerance) | (got == values) | (np.isnan(got) & np.isnan(values))
        return bool((near | ~self.defined).all())


def broken(known: list[Comparison]) -> str:
    """How many values are no numbers, and where they begin, as a text; empty if all are. Each row names its equation."""
    first = next((c for c in known if c.broken.any()), None)
    if first is None:
        return ""
    count, total = sum(int(c.broken.sum()) for c in known), sum(int(c.defined.sum()) for c in known)
    times = sorted({t for c in known if c.problem.t is not None for t, _ in _times(c, c.broken)})
    place = f", first at t = {times[0] - 1 + first.problem.conventions.first_t}" if times else ""
    return f"returns {first.answer.values[first.broken][0]} in {count} of {total} values{place}"


def place(known: list[Comparison]) -> str:
    """Which t, which component, or how many values are off, as a text. Each row names its equation."""
    if all(c.problem.t is not None for c in known):
        times = [(t, T) for c in known for t, T in _times(c, c.misses())]
        clean = [(t, T) for c in known for t, T in _times(c, ~c.misses() & c.defined)]
        counted = " (t counted from 1)" if known[0].problem.conventions.first_t == 0 else ""
        for name, holds in _EDGES.items():
            if times and all(holds(*each) for each in times):
                return f"deviates at t = {name} only{counted}"
            if times and clean and all(holds(*each) for each in clean) and not any(holds(*each) for each in times):
                return f"deviates at every t but t = {name}{counted}"
    rows = [c.misses() for c in known]
    vectors = [row for row in rows if row.ndim == 2 and row.shape[1] > 1]
    if vectors and len(vectors) == len(rows):
        for k, name in ((0, "first"), (-1, "last")):
            if all(not np.delete(row, k, 1).any() for row in vectors):
                return f"deviates in the {name} component only"
    off, total = sum(int(row.sum()) for row in rows), sum(int(c.defined.sum()) for c in known)
    return "deviates everywhere" if off == total else f"deviates in {off} of {total} values"


_EDGES: dict[str, Callable[[int, int], bool]] = {
    "1": lambda t, T: t == 1, "2": lambda t, T: t == 2, "T": lambda t, T: t == T, "1 and T": lambda t, T: t in (1, T)}


def _times(c: Comparison, marked: Any) -> set[tuple[int, int]]:
    rows = marked.reshape(len(marked), -1).any(1)
    return {(int(t), c.problem.setting.T) for t in c.problem.t[rows]}


def relation(known: list[Comparison]) -> str:
    """A constant factor or offset of what was got, as a text; empty if there is none. Each row names its equation."""
    got = np.concatenate([c.answer.values[c.defined] for c in known])
    wanted = np.concatenate([c.problem.wanted[c.defined] for c in known])
    tolerance = 10 * np.concatenate([(c.promised / np.abs(c.problem.size) + 0 * c.error)[c.defined] for c in known])
    with np.errstate(all="ignore"):
        for word, value in (("times", got / wanted), ("plus", got - wanted)):
            middle = float(np.median(value))
            if got.size > 3 and np.isfinite(value).all() and (np.abs(value - middle) <= tolerance * np.abs(middle)).all():
                return f"; got is wanted {word} {middle:.6g}"
    return ""

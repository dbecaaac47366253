"""From numbers to a verdict: PASS, PRECISION, WRONG or UNDEFINED, and what it looks like.

    PASS        every value within 1e-9 (float64) or 1e-5 (float32) of the truth, relative to the terms it is summed from
    PRECISION   every error within what tables and arithmetic in a lower precision explain, or reproduced by a habit
    WRONG       anything else; diagnosed with every known mistake that reproduces every value, and with none that does not
    UNDEFINED   nothing is defined at any input: a precondition fails, or there is no such t

A mistake is looked for before precision is blamed, but only one that differs from the truth by more than precision explains.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dpm_ref._doors import Array
from dpm_ref.check.calls import Answer
from dpm_ref.check.habits import explained, habits
from dpm_ref.check.mistakes import Mistake, mistakes
from dpm_ref.check.problems import Problem

__all__ = ["Comparison", "Verdict", "judged", "RELATIVE"]

RELATIVE = {"float64": 1e-9, "float32": 1e-5}
_SLACK = 8.0  # a mistake's own rounding errors may be larger than the truth's


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
        """The error that tables and arithmetic in a lower precision explain; the user's unit. Table App.1."""
        return explained(self.problem, _right, self.eps)

    def misses(self) -> Any:
        return self.error > self.promised

    def reproduced_by(self, values: Array, tolerance: Array) -> bool:
        """Whether every value that is defined is this within the tolerance, nan and infinity being themselves. Table App.1."""
        got = self.answer.values
        with np.errstate(invalid="ignore"):
            near = (np.abs(got - values) <= tolerance) | (got == values) | (np.isnan(got) & np.isnan(values))
        return bool((near | ~self.defined).all())


class Verdict(NamedTuple):
    """A status, what it looks like, where it is worst, and how many digits are right there."""

    status: str
    diagnoses: tuple[str, ...]
    message: str
    worst: tuple[Comparison, tuple[int, ...]] | None
    digits: float


def judged(comparisons: list[Comparison]) -> Verdict:
    """The verdict over all calls; no unit. Table App.1."""
    known = [c for c in comparisons if c.defined.any()]
    if not known:
        return Verdict("UNDEFINED", (), "", None, np.nan)
    worst, digits = _worst(known)
    coarse = [c for c in known if np.finfo(c.answer.dtype).eps > 2 * np.finfo(c.problem.conventions.floating).eps]
    missing = [c for c in known if c.misses().any()]
    if not missing and not coarse:
        return Verdict("PASS", (), "", worst, digits)
    broken = _broken(known)
    found = _diagnosed(missing, known, tight=True) if missing else ()
    if found or broken:
        return Verdict("WRONG", found, broken, worst, digits)
    lost = _habits(known)
    if lost.exact or all((c.error <= c.blurred).all() for c in missing):
        names = (*(f"the result comes in {c.answer.dtype}" for c in coarse[:1]), *(lost.exact or lost.likely))
        return Verdict("PRECISION", names, "" if names else "no known habit", worst, digits)
    found = _diagnosed(missing, known, tight=False)
    if found:
        return Verdict("WRONG", found, "and digits are lost", worst, digits)
    return Verdict("WRONG", (), "no single known mistake; " + _where(known) + _relation(known), worst, digits)


def _broken(known: list[Comparison]) -> str:
    """How many values are no numbers, and where they begin; empty if all are."""
    first = next((c for c in known if c.broken.any()), None)
    if first is None:
        return ""
    count, total = sum(int(c.broken.sum()) for c in known), sum(int(c.defined.sum()) for c in known)
    times = sorted({t for c in known if c.problem.t is not None for t, _ in _times(c, c.broken)})
    place = f", first at t = {times[0] - 1 + first.problem.conventions.first_t}" if times else ""
    return f"returns {first.answer.values[first.broken][0]} in {count} of {total} values{place}"


def _right(p: Problem) -> Array:
    return p.predict()


def _worst(known: list[Comparison]) -> tuple[tuple[Comparison, tuple[int, ...]], float]:
    """The value furthest beyond the promise, and its right decimal digits."""
    ratios = [np.asarray(c.error / c.promised) for c in known]
    k = int(np.argmax([ratio.max() for ratio in ratios]))
    at = tuple(int(j) for j in np.unravel_index(int(np.argmax(ratios[k])), ratios[k].shape))
    with np.errstate(divide="ignore"):
        digits = -np.log10(float(max(np.asarray(c.error / c.problem.size).max() for c in known)))
    return (known[k], at), min(float(digits), 15.9)


def _diagnosed(missing: list[Comparison], known: list[Comparison], tight: bool) -> tuple[str, ...]:
    """The mistakes that reproduce every value and can be told from the truth; none where most values are no numbers."""
    numbers = sum(int((c.misses() & ~np.isnan(c.answer.values)).sum()) for c in missing)
    if numbers < 0.25 * sum(int(c.misses().sum()) for c in missing):
        return ()
    return tuple(name for name, each in mistakes().items()
                 if each.concerns(known[0].problem.subject) and _reproduces(each, missing, known, tight))


def _reproduces(each: Mistake, missing: list[Comparison], known: list[Comparison], tight: bool) -> bool:
    """Whether one variant of a mistake reproduces every value; the small calls that are off come first, since they rule out most."""
    ordered = sorted(missing, key=lambda c: c.problem.wanted.size) + [c for c in known if c not in missing]
    left: set[int] | None = None
    told: set[int] = set()
    with np.errstate(all="ignore"):
        for c in ordered:
            variants = list(each.wrong(c.problem))
            left = {k for k, values in enumerate(variants) if (left is None or k in left) and _explains(c, each, k, values, tight)}
            told |= {k for k in left if _distinct(c, variants[k])}
            if not left:
                return False
    return bool(left and left & told)


def _explains(c: Comparison, each: Mistake, k: int, values: Array, tight: bool) -> bool:
    if tight:
        relative = _SLACK * RELATIVE[c.problem.conventions.dtype]
        tolerance = relative * np.maximum(c.problem.size, np.abs(values))
        if each.bends:
            moved = [np.abs(list(each.wrong(c.problem.nudged(sign * relative)))[k] - values) for sign in (1.0, -1.0)]
            tolerance = np.maximum(tolerance, np.nan_to_num(np.max(moved, 0), nan=0.0))
    else:
        tolerance = explained(c.problem, lambda p: list(each.wrong(p))[k], c.eps)
    return c.reproduced_by(values, tolerance)


def _distinct(c: Comparison, values: Array) -> bool:
    """Whether the mistake differs from the truth by more than lost digits can."""
    off = np.abs(np.where(c.defined, values - c.problem.wanted, 0.0))
    return bool((off > np.maximum(c.blurred, 4 * c.promised)).any())


class _Lost(NamedTuple):
    exact: tuple[str, ...]  # clips that reproduce every value
    likely: tuple[str, ...]  # roundings that explain most of the error


def _habits(known: list[Comparison]) -> _Lost:
    exact, likely = [], []
    with np.errstate(all="ignore"):
        total = _squares(known, [c.problem.wanted for c in known])
        for name, each in habits().items():
            if not each.concerns(known[0].problem.subject):
                continue
            best = np.inf
            for variants in zip(*(each.lossy(c.problem) for c in known), strict=True):
                best = min(best, _squares(known, list(variants)))
                if each.clips and all(c.reproduced_by(values, c.promised) for c, values in zip(known, variants, strict=True)):
                    exact.append(name)
                    break
            if not each.clips and best < 0.1 * total:
                likely.append((best, name))
    return _Lost(tuple(exact), tuple(name for best, name in sorted(likely) if best <= 4 * sorted(likely)[0][0] + 1e-12))


def _squares(known: list[Comparison], values: list[Array]) -> float:
    """The sum of squared differences to the answers, in units of the promise; inf where one is no number."""
    offs = [np.where(c.defined, c.answer.values - each, 0.0) / c.promised for c, each in zip(known, values, strict=True)]
    total = float(sum((off**2).sum() for off in offs))
    return total if np.isfinite(total) else np.inf


def _where(known: list[Comparison]) -> str:
    """Which t, which component, or how many values are off."""
    if all(c.problem.t is not None for c in known):
        times = [(t, T) for c in known for t, T in _times(c, c.misses())]
        clean = [(t, T) for c in known for t, T in _times(c, ~c.misses() & c.defined)]
        for name, holds in _EDGES.items():
            if times and all(holds(*each) for each in times):
                return f"deviates at t = {name} only" if clean else f"deviates at t = {name}, the only one there is"
            if times and clean and all(holds(*each) for each in clean) and not any(holds(*each) for each in times):
                return f"deviates at every t but t = {name}"
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


def _relation(known: list[Comparison]) -> str:
    """A constant factor or offset of what was got."""
    got = np.concatenate([c.answer.values[c.defined] for c in known])
    wanted = np.concatenate([c.problem.wanted[c.defined] for c in known])
    tolerance = 10 * np.concatenate([(c.promised / np.abs(c.problem.size) + 0 * c.error)[c.defined] for c in known])
    with np.errstate(all="ignore"):
        for word, value in (("times", got / wanted), ("plus", got - wanted)):
            middle = float(np.median(value))
            if got.size > 3 and np.isfinite(value).all() and (np.abs(value - middle) <= tolerance * np.abs(middle)).all():
                return f"; got is wanted {word} {middle:.6g}"
    return ""

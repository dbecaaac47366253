"""From numbers to a verdict: PASS, PRECISION, WRONG or UNDEFINED, and what it looks like.

    PASS        every value within 1e-9 (float64) or 1e-5 (float32) of the truth, relative to the terms it is summed from
    PRECISION   every error within what tables and arithmetic in a lower precision explain, or reproduced by a habit
    WRONG       anything else; diagnosed with every known mistake that reproduces every value, and with none that does not
    UNDEFINED   nothing is defined at any input: a precondition fails, or there is no such t

A mistake is looked for before precision is blamed, but only one that differs from the truth by more than precision explains.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1.
"""

from typing import NamedTuple

import numpy as np

from dpm_ref.check.comparisons import RELATIVE, Comparison, broken, place, relation
from dpm_ref.check.habits import explained, habits
from dpm_ref.check.mistakes import Mistake, mistakes
from dpm_ref.validation import Array

__all__ = ["Verdict", "judged"]

_SLACK = 8.0  # a mistake's own rounding errors may be larger than the truth's


class Verdict(NamedTuple):
    """A status, what it looks like, where it is worst, and how many digits are right there."""

    status: str
    diagnoses: tuple[str, ...]
    message: str
    worst: tuple[Comparison, tuple[int, ...]] | None
    digits: float


def judged(comparisons: list[Comparison]) -> Verdict:
    """The verdict over all calls; no unit, whatever the shape of the answers, and however large they are. Table App.1."""
    with np.errstate(all="ignore"):
        return _judged(comparisons)


def _judged(comparisons: list[Comparison]) -> Verdict:
    known = [c for c in comparisons if c.defined.any()]
    if not known:
        return Verdict("UNDEFINED", (), "", None, np.nan)
    worst, digits = _worst(known)
    coarse = [c for c in known if np.finfo(c.answer.dtype).eps > 2 * np.finfo(c.problem.conventions.floating).eps]
    missing = [c for c in known if c.misses().any()]
    if not missing and not coarse:
        return Verdict("PASS", (), "", worst, digits)
    unsaid = broken(known)
    found = _diagnosed(missing, known, tight=True) if missing else ()
    if found or unsaid:
        return Verdict("WRONG", found, unsaid, worst, digits)
    lost = _habits(known)
    if lost.certain or all((c.error <= c.blurred).all() for c in missing):
        names = (*(f"the result comes in {c.answer.dtype}" for c in coarse[:1]), *(lost.certain or lost.likely))
        return Verdict("PRECISION", names, "" if names else "no known habit", worst, digits)
    found = _diagnosed(missing, known, tight=False)
    if found:
        return Verdict("WRONG", found, "and digits are lost", worst, digits)
    return Verdict("WRONG", (), "no single known mistake; " + place(known) + relation(known), worst, digits)


def _worst(known: list[Comparison]) -> tuple[tuple[Comparison, tuple[int, ...]], float]:
    """The value furthest beyond the promise, and its right decimal digits."""
    ratios = [np.asarray(c.error / c.promised) for c in known]
    k = int(np.argmax([ratio.max() for ratio in ratios]))
    at = tuple(int(j) for j in np.unravel_index(int(np.argmax(ratios[k])), ratios[k].shape))
    with np.errstate(divide="ignore"):
        digits = -np.log10(float(max(np.asarray(c.error / c.problem.size).max() for c in known)))
    return (known[k], at), min(float(digits), 15.9)


def _diagnosed(missing: list[Comparison], known: list[Comparison], tight: bool) -> tuple[str, ...]:
    """The mistakes that reproduce every value and can be told from the truth; none where all that is off is nan."""
    if all(np.isnan(c.answer.values[c.misses()]).all() for c in missing):
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
            before, left = left, set()
            for k, values in enumerate(variants):
                if before is None or k in before:
                    tolerance = _tolerance(c, each, k, values, tight)
                    if c.reproduced_by(values, tolerance):
                        left.add(k)
                        told |= {k} if _distinct(c, values, tolerance) else set()
            if not left:
                return False
    return bool(left and left & told)


def _tolerance(c: Comparison, each: Mistake, k: int, values: Array, tight: bool) -> Array:
    """How near the values of a mistake must come: the promise and some slack, or what lost digits explain."""
    if not tight:
        return explained(c.problem, lambda p: list(each.wrong(p))[k], c.eps)
    relative = _SLACK * RELATIVE[c.problem.conventions.dtype]
    tolerance: Array = relative * np.maximum(c.problem.size, np.nan_to_num(np.abs(values), nan=0.0, posinf=0.0))
    if each.bends:
        moved = [np.abs(list(each.wrong(c.problem.nudged(sign * relative)))[k] - values) for sign in (1.0, -1.0)]
        tolerance = np.maximum(tolerance, np.nan_to_num(np.max(moved, 0), nan=0.0, posinf=0.0))
    return tolerance


def _distinct(c: Comparison, values: Array, tolerance: Array) -> bool:
    """Whether the mistake differs from the truth by more than lost digits can, and by more than it was allowed to miss."""
    off = np.abs(np.where(c.defined, values - c.problem.wanted, 0.0))
    return bool((off > np.maximum(c.blurred, 3.0 * tolerance)).any())


class _Lost(NamedTuple):
    certain: tuple[str, ...]  # clips that reproduce every value, roundings that reproduce the error to a hundredth
    likely: tuple[str, ...]  # roundings that explain most of it


def _habits(known: list[Comparison]) -> _Lost:
    certain, likely = [], []
    with np.errstate(all="ignore"):
        total = _squares(known, [c.problem.wanted for c in known])
        plain = all(_kept(c, c.problem.predict()) for c in known)  # then no clip has done anything
        for name, each in habits().items():
            if each.concerns(known[0].problem.subject):
                variants = list(zip(*(each.lossy(c.problem) for c in known), strict=True))
                if each.clips:
                    certain += [name] * (not plain and any(all(map(_kept, known, values)) and _squares(known, list(values)) < 0.05 * total
                                                           for values in variants))
                else:
                    likely.append((min(_squares(known, list(values)) for values in variants), name))
    likely = sorted(each for each in likely if each[0] < 0.1 * total)
    near = tuple(name for best, name in likely if best <= 4 * likely[0][0])
    return _Lost((*certain, *(near if likely and likely[0][0] < 1e-4 * total else ())), near)


def _kept(c: Comparison, values: Array) -> bool:
    return c.reproduced_by(values, c.promised)


def _squares(known: list[Comparison], values: list[Array]) -> float:
    """The sum of squared differences to the answers, in units of the promise; inf where one is no number."""
    offs = [np.where(c.defined, c.answer.values - each, 0.0) / c.promised for c, each in zip(known, values, strict=True)]
    total = float(sum((off**2).sum() for off in offs))
    return total if np.isfinite(total) else np.inf

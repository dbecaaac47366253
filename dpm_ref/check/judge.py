"""Compare, grade, diagnose.

PASS       every value within 1e-9 (float64) or 1e-5 (float32) of the terms it is summed from
PRECISION  every error within what tables and arithmetic in float32 explain, and below 3 %
WRONG      anything else, with every known mistake, or pair, that reproduces every value
UNDEFINED  a precondition fails, or there is no such t
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .calls import Answer, Fault, Problem
from .conventions import EPS
from .expressions import Expr, Tables
from .mistakes import Mistake, compose, mistakes
from .inputs import entropy_rises, meets_eq14
from .quantities import Quantity, accepted, kind_of, presented
from .report import Row

__all__ = ["row_of", "unmet"]

RELATIVE = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2, "bfloat16": 0.05}
LARGEST = 0.03  # of a value, what lost digits may take
SEARCH = 2.0  # seconds for pairs


@dataclass(frozen=True, eq=False)
class Comparison:
    answer: Answer

    @property
    def problem(self) -> Problem:
        return self.answer.problem

    @property
    def got(self) -> Any:
        return self.answer.got

    @cached_property
    def defined(self) -> Any:
        """Where there is something to compare: at the ends of ranges an infinity is a value too."""
        wanted = self.problem.wanted
        return ~np.isnan(wanted) if self.problem.end else np.isfinite(wanted)

    @cached_property
    def error(self) -> Any:
        wanted = self.problem.wanted
        with np.errstate(all="ignore"):
            off = np.where(self.got == wanted, 0.0, np.abs(self.got - wanted))
        return np.where(self.defined, np.nan_to_num(off, nan=np.inf, posinf=np.inf), 0.0)

    @cached_property
    def allowed(self) -> Any:
        return RELATIVE[self.problem.conventions.dtype] * self.problem.size

    @cached_property
    def misses(self) -> Any:
        return self.error > self.allowed

    @cached_property
    def eps(self) -> float:
        return max(EPS["float32"], EPS[self.answer.dtype], EPS[self.problem.conventions.dtype])

    def lost(self, tree: Expr) -> Any:
        """The errors that tables and arithmetic in a lower precision explain."""
        return 8.0 * self.eps * self.problem.error(tree, lossy=True)

    @cached_property
    def blurred(self) -> Any:
        most = np.max([self.lost(tree) for tree in self.problem.trees], 0)
        return np.minimum(most, (LARGEST + 4 * self.eps) * self.problem.size)

    @cached_property
    def scale(self) -> Any:
        return np.abs(self.problem.size) + np.nan_to_num(np.abs(self.got), nan=0.0, posinf=0.0)

    def reproduced(self, values: Any, tolerance: Any) -> bool:
        with np.errstate(all="ignore"):
            near = (np.abs(self.got - values) <= tolerance) | (self.got == values)
        near |= np.isnan(self.got) & (np.isnan(values) | self.problem.end)
        return bool((near | ~self.defined).all())

    def fits(self, tree: Expr, loose: bool = False) -> bool:
        values, most = self.problem.value(tree), (LARGEST if loose else 1e-3) * self.scale
        if not self.reproduced(values, most):
            return False
        tolerance = self.lost(tree) if loose else 4 * self.relative * self.problem.error(tree)
        return self.reproduced(values, np.minimum(tolerance, most))

    @property
    def relative(self) -> float:
        return RELATIVE[self.problem.conventions.dtype]

    def tells(self, tree: Expr, loose: bool = False) -> bool:
        """Whether the change moves a value by more than lost digits do."""
        values, size = self.problem.value(tree), self.problem.error(tree)
        least = 8 * self.relative * np.maximum(size, self.problem.size)
        least = np.maximum(least, 3 * self.lost(tree)) if loose else np.maximum(least, self.blurred)
        with np.errstate(all="ignore"):
            off = np.abs(values - self.problem.wanted)
        return bool((self.defined & ~(off <= least)).any())


def unmet(p: Problem) -> bool:
    """Whether the precondition of (14), or the condition of the upper side of (24), fails."""
    q, x0 = p.quantity, p.inputs.get("x0")
    if q.name.endswith("eq14"):
        return not meets_eq14(q, p.setting, x0)
    return q.name.endswith("upper_bound") and not entropy_rises(q, p.setting, x0)


def row_of(q: Quantity, name: str, posed: list[Problem], answers: list[Answer | Fault]) -> Row:
    """The verdict on all the calls that were made for one quantity."""
    if not answers:
        return Row(name, q.equation, "UNDEFINED", summary=q.summary, message=_why(q, posed))
    faults = [each for each in answers if isinstance(each, Fault)]
    known = [Comparison(each) for each in answers if isinstance(each, Answer)]
    if faults:
        return _faulty(q, name, posed, answers, known)
    known = [c for c in known if c.defined.any()]
    if not known:
        return Row(name, q.equation, "UNDEFINED", summary=q.summary,
            message="nothing finite to compare")
    status, diagnoses, message = _verdict(known)
    ratios = [float((c.error / c.allowed).max()) for c in known]
    worst = known[int(np.argmax(ratios))]
    at = np.unravel_index(int(np.argmax(worst.error / worst.allowed)), worst.error.shape)
    got, wanted = float(worst.got[at]), float(worst.problem.wanted[at])
    digits = min(_digits(c.error, c.problem.size) for c in known)
    if status != "PASS":
        digits = _digits(np.array(abs(got - wanted)), np.array(abs(wanted)))
    notes = [message, *(_not_compared(known) if status == "PASS" else ())]
    return Row(name, q.equation, status, diagnoses, "; ".join(filter(None, notes)),
        described(worst.problem, tuple(map(int, at))), got, wanted, digits, q.summary)


def _digits(error: Any, size: Any) -> float:
    with np.errstate(all="ignore"):
        ratio = float(np.max(np.where(error == 0, 0.0, np.nan_to_num(error / size, nan=np.inf))))
    return round(min(15.9, -np.log10(ratio) if ratio > 0 else 15.9), 2)


def _faulty(q: Quantity, name: str, posed: list[Problem], answers: list[Any], known:
    list[Comparison]) -> Row:
    k = next(i for i, each in enumerate(answers) if isinstance(each, Fault))
    p, where, found = posed[k], "", ()
    if len(known) and "t" in q.arguments(p.conventions) and q.kind != "table":
        t = p.inputs["t"][:, 0]
        first = p.conventions.first_t
        word = (f"t = {int(t[0]) - 1 + first}" if (t == t[0]).all()
            else f"t among {sorted(set((t - 1 + first).tolist()))}")
        where = f" at {word} of {p.setting.T - 1 + first}"
        found = _singles([c for c in known if c.misses.any()], known)
    return Row(name, q.equation, "WRONG", found, f"{answers[k]}{where}", described(p, None),
        summary=q.summary)


def _not_compared(known: list[Comparison]) -> Iterator[str]:
    """What a PASS says nothing about."""
    first = [c for c in known if "t" in c.problem.inputs
        and (~c.defined & (c.problem.inputs["t"] == 1)).any()]
    if first:
        yield f"t = {first[0].problem.conventions.first_t} not compared: infinite"


def _why(q: Quantity, posed: list[Problem]) -> str:
    if not posed:
        return "there is no such t: the schedule has one step"
    if q.name.endswith("eq14"):
        return "equation (14) exceeds the mean of K on these data: they break its precondition"
    return "the upper bound of (24) needs tr Cov(x^0) <= d, or sum_i logit(pi_i) (m_i - pi_i) >= 0"


def _verdict(known: list[Comparison]) -> tuple[str, tuple[str, ...], str]:
    missing = [c for c in known if c.misses.any()]
    coarse = [c for c in known if EPS[c.answer.dtype] > 2 * EPS[c.problem.conventions.dtype]]
    if not missing and not coarse:
        return "PASS", (), ""
    q, declared = known[0].problem.quantity, known[0].problem.conventions
    for note, tree in accepted(q, declared).items():
        right = presented(q, declared, tree)
        if all(c.reproduced(c.problem.value(right), 2 * c.allowed) for c in known):
            return "PASS", (), note
    broken = [c for c in known if (c.defined & np.isnan(c.got)).any()
        or (~c.problem.end and (c.defined & np.isinf(c.got) & np.isfinite(c.problem.wanted)).any())]
    found = _singles(missing, known)
    if found or broken:
        return "WRONG", found, _broken(broken, known)
    named = tuple(f"the result comes in {c.answer.dtype}" for c in coarse[:1])
    clips = _constants(known)
    if clips:
        return "PRECISION", clips, ""
    if all((c.error <= c.blurred).all() for c in missing):
        names = (*named, *_habits(known))
        return "PRECISION", names, "" if names else "no known source of precision loss"
    found = _singles(missing, known, loose=True)
    if found:
        return "WRONG", found, "and digits are lost"
    found = _pairs(missing, known)
    return ("WRONG", found, "" if found else "no known mistake, nor two; " + _where(known)
        + _relation(known))


def _singles(missing: list[Comparison], known: list[Comparison], loose: bool = False) -> tuple[str,
    ...]:
    """The mistakes that reproduce every value, and can be told from lost digits."""
    if not missing or all(np.isnan(c.got[c.misses]).all() for c in missing):
        return ()
    ordered = sorted(missing, key=lambda c: (c.problem.setting.T, c.got.size)) + [c for c in known if not c.misses.any()]
    q, found = missing[0].problem.quantity, []
    for m in mistakes(q, missing[0].problem.conventions):
        if m.name not in found and all(c.fits(m.of(c.problem.trees[m.form]), loose) for c
            in ordered):
            if any(c.tells(m.of(c.problem.trees[m.form]), loose) for c in ordered):
                found.append(m.name)
    return tuple(found[:6])


def _pairs(missing: list[Comparison], known: list[Comparison]) -> tuple[str, ...]:
    """Two mistakes at once that reproduce every value, the plausible first, as long as time allows."""
    if any(~np.isfinite(c.got[c.misses]).all() for c in missing):
        return ()
    ordered = sorted(missing, key=lambda c: (c.problem.setting.T, c.got.size)) + [c for c in known if not c.misses.any()]
    probe, stop, found = ordered[0], time.monotonic() + SEARCH, []
    every = _distinct(probe, mistakes(probe.problem.quantity, probe.problem.conventions))
    for total in range(2 * len(every)):
        for i in range(max(0, total - len(every) + 1), (total + 1) // 2):
            a, b = every[i], every[total - i]
            if a.form != b.form or time.monotonic() > stop:
                continue
            both = compose(a, b)
            try:
                if all(c.fits(both(c.problem.trees[a.form])) for c in ordered):
                    found.append(f"{a.name}, and {b.name}")
            except (IndexError, ValueError):  # one has taken away what the other changes
                continue
        if found or time.monotonic() > stop:
            break
    return tuple(found[:3])


def _distinct(probe: Comparison, every: list[Mistake]) -> list[Mistake]:
    """Without those that change nothing, or the same as another."""
    seen, kept = set(), []
    for m in every:
        values = probe.problem.value(m.of(probe.problem.trees[m.form]))
        with np.errstate(all="ignore"):
            key = (m.form, np.where(probe.defined, values, 0.0).astype(np.float32).tobytes())
        if key not in seen and np.isfinite(values[probe.defined]).any():
            seen.add(key)
            kept.append(m)
    return kept


# Sources of precision loss


SMALL = (1e-20, 1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
FLOOR, ADDED, BOTH = ("a variance, a table or a probability clipped from below",
    "a small constant added to a variance, a table or a probability",
    "a probability clipped at both ends")


def _constants(known: list[Comparison]) -> tuple[str, ...]:
    """Values clipped or shifted on purpose, by a constant that reproduces all."""
    made: dict[str, Callable[[Expr, float], Expr]] = {FLOOR: lambda y, c:
        Expr("least", (y,), value=c), ADDED: lambda y, c: y + c, BOTH: lambda y, c:
        Expr("inside", (y,), value=c)}
    found = []
    for name, change in made.items():
        for small in SMALL:
            for tree_change in _places(known[0].problem, lambda y, c=small, f=change: f(y, c)):
                if all(c.reproduced(c.problem.value(tree_change(c.problem.trees[0])), c.allowed)
                    for c in known):
                    found.append(name)
    return tuple(dict.fromkeys(found))


def _places(p: Problem, change: Callable[[Expr], Expr]) -> Iterator[Callable[[Expr], Expr]]:
    """The result; arguments that are variances or probabilities; what is under a root or a logarithm."""
    if p.quantity.kind in ("table", "prob"):
        yield change
    for kinds in (("read",), ("sqrt", "log", "inv"), ("sqrt",), ("log",)):
        yield lambda tree, kinds=kinds: tree.map(lambda n:
            (change(n) if n.op == "read" == kinds[0] else replace(n, args=(change(n.args[0]),))
                if n.op in kinds and n.op != "read" else n))
    yield lambda tree: tree.map(lambda n: change(n) if n.op == "input" and n.name
        in ("q1", "p1", "prob") else n)
    yield lambda tree: tree.map(lambda n: replace(n, args=(change(n.args[0]),)) if n.op == "write"
        else n)
    yield lambda tree: tree.map(lambda n: change(n) if n.op == "table"
        and n.name.startswith("one_minus") else n)


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


def _habits(known: list[Comparison]) -> tuple[str, ...]:
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


# What is said of an error that fits no mistake


def _times(c: Comparison, marked: Any) -> set[tuple[int, int]]:
    if "t" not in c.problem.quantity.every or not marked.ndim:
        return set()
    t = c.problem.inputs["t"]
    return {(int(each), c.problem.setting.T) for each
        in t[: len(marked), 0][marked.reshape(len(marked), -1).any(1)]}


def _broken(broken: list[Comparison], known: list[Comparison]) -> str:
    if not broken:
        return ""
    bad = [c.defined & ~np.isfinite(c.got) & np.isfinite(c.problem.wanted) for c in broken]
    times = sorted(t for c, marked in zip(broken, bad, strict=True) for t, _ in _times(c, marked))
    first = broken[0].problem.conventions.first_t
    place = f", first at t = {times[0] - 1 + first}" if times else ""
    if all(c.problem.end for c in broken):
        at = tuple(int(k[0]) for k in np.nonzero(bad[0]))
        place = " at the ends of the range only: " + ", ".join(f"{name} = {value}" for name, value
            in described(broken[0].problem, at).items() if name != "at")
    counts = sum(int(m.sum()) for m in bad), sum(int(c.defined.sum()) for c in known)
    return f"returns {broken[0].got[bad[0]][0]} in {counts[0]} of {counts[1]} values{place}"


def _where(known: list[Comparison]) -> str:
    off = [each for c in known for each in _times(c, c.misses)]
    clean = [each for c in known for each in _times(c, ~c.misses & c.defined)]
    shift = known[0].problem.conventions.first_t - 1
    last = "T" if shift == 0 else "T - 1"
    for name, at in ((str(1 + shift), lambda t, T: t == 1), (str(2 + shift), lambda t, T: t == 2),
        (last, lambda t, T: t == T)):
        if off and all(at(*each) for each in off):
            return f"deviates at t = {name} only"
        if (off and clean and all(at(*each) for each in clean)
            and not any(at(*each) for each in off)):
            return f"deviates at every t but t = {name}"
    for k, name in ((0, "first"), (-1, "last")):
        if all(c.misses.ndim == 2 and c.misses.shape[1] > 1 and not np.delete(c.misses, k, 1).any()
            for c in known):
            return f"deviates in the {name} component only"
    if all(c.problem.end for c in known if c.misses.any()):
        return "deviates at the ends of the range only: at certainty, tiny or huge variances, x far out"
    count, total = sum(int(c.misses.sum()) for c in known), sum(int(c.defined.sum()) for c in known)
    return "deviates everywhere" if count == total else f"deviates in {count} of {total} values"


def _relation(known: list[Comparison]) -> str:
    got, wanted = (
        np.concatenate(
        [np.broadcast_to(x(c), c.error.shape)[c.defined] for c in known if not c.problem.end])
        for x in (lambda c: c.got, lambda c: c.problem.wanted))
    relative = 10 * RELATIVE[known[0].problem.conventions.dtype]
    with np.errstate(all="ignore"):
        for word, value, null in (("times", got / wanted, 1.0), ("plus", got - wanted, 0.0)):
            middle = float(np.median(value)) if value.size else null
            steady = (value.size > 3 and np.isfinite(value).all()
                and (np.abs(value - middle) <= relative * np.abs(middle)).all())
            if steady and f"{middle:.6g}" != f"{null:.6g}":
                return f"; got is wanted {word} {middle:.6g}"
    return ""


def described(p: Problem, at: tuple[int, ...] | None) -> dict[str, Any]:
    """The arguments that a value was computed from, in the user's conventions."""
    q = p.quantity
    known: dict[str, Any] = {"T": p.setting.T} if q.scheduled else {}
    for name in q.arguments(p.conventions):
        kind, value = kind_of(name), p.inputs.get(name)
        if kind == "model" or (at is None and kind != "time"):
            continue
        if kind == "time":
            row = 0 if q.whole or at is None else at[0]
            known[name] = int(value[row, 0]) - 1 + p.conventions.first_t
            continue
        array = value[:, at[0]] if name == "log_w" else value
        if name != "log_w" and not q.whole:
            array = array[..., at[0], :]
            array = array[..., at[1]] if len(at) > 1 else array
        known[name] = (np.where(np.isfinite(array), array, None).tolist() if array.size <= 64
            else f"array of shape {array.shape}")
    if p.setting.T <= 16 and q.scheduled:
        known["beta"] = p.setting.beta.tolist()
    return known | ({"at": list(at)} if at is not None else {})

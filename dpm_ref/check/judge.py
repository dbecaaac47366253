"""Compare, grade, diagnose.

PASS       every value within 1e-9 (float64) or 1e-5 (float32) of the terms it is summed from
PRECISION  every error within what tables and arithmetic in float32 explain, and below 3 %
WRONG      anything else, with every known mistake, or pair, that reproduces every value
UNDEFINED  a precondition fails, or there is no such t
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from .calls import Answer, Fault, Problem
from .comparisons import DEGENERATE, RELATIVE, Comparison
from .conventions import EPS
from .inputs import entropy_rises, meets_eq14
from .mistakes import DESIGN, Mistake, compose, mistakes
from .precision import constants, habits
from .quantities import Quantity, accepted, kind_of, presented
from .report import Row

__all__ = ["row_of", "unmet"]

SINGLES, PAIRS = 20.0, 3.0  # seconds of search


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
    ratios = [float(c.ratio.max()) for c in known]
    worst = known[int(np.argmax(ratios))]
    at = np.unravel_index(int(np.argmax(worst.ratio)), worst.error.shape)
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


def _faulty(q: Quantity, name: str, posed: list[Problem], answers: list[Any],
    known: list[Comparison]) -> Row:
    k = next(i for i, each in enumerate(answers) if isinstance(each, Fault))
    p, where = posed[k], ""
    found: tuple[str, ...] = ()
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
    one = known[0].problem.conventions.first_t
    if known[0].problem.quantity.name in DEGENERATE:
        yield f"t = {one} not compared: {_stands(known[0])}"
    elif any("t" in c.problem.inputs and (~c.defined & (c.problem.inputs["t"] == 1)).any() for c
        in known):
        yield f"t = {one} not compared: infinite"
    elif known[0].problem.quantity.first > 1 and "t" in known[0].problem.inputs:
        yield f"t = {one} not compared"


def _stands(c: Comparison) -> str:
    """What the entry at t = 1 of a table of the posterior is."""
    p, got, log = c.problem, float(c.got[0, 0]), "log" in c.problem.quantity.name
    exact, beta = float(p.wanted[0, 0]), float(p.setting.beta[0])
    second = float(p.wanted[1, 0]) if len(p.wanted) > 1 else np.nan
    for value, said in ((exact, "the exact value stands there"),
        (second, "the value of t = 2 stands there"),
        (np.log(beta) if log else beta, "beta_1 stands there")):
        if got == value or abs(got - value) <= 1e-5 * abs(value):
            return said
    small = np.exp(got) if log else got
    return f"{got:.6g} stands there" + " (clipped from below)" * bool(0 < small <= 1e-9)


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
    blurred = all((c.error <= c.blurred).all() for c in missing)
    found = () if blurred else _singles(missing, known)
    if found or broken:
        return "WRONG", found or _pairs(missing, known), _broken(broken, known)
    tables, whole = habits(known) if blurred else ((), False)
    clips = () if whole else constants(known)
    if clips:
        return "PRECISION", clips, ""
    if blurred:
        names = (*(f"the result comes in {c.answer.dtype}" for c in coarse[:1]), *tables)
        return "PRECISION", names, "" if names else "no known source of precision loss"
    found = _singles(missing, known, loose=True)
    if found:
        return "WRONG", found, "and digits are lost"
    found = _pairs(missing, known)
    place = "" if found else f"no known mistake, nor two; {_where(known)}{_relation(known)}"
    return "WRONG", found, place


def _ordered(missing: list[Comparison], known: list[Comparison]) -> list[Comparison]:
    """The cheapest of those that miss first."""
    least = sorted(missing, key=lambda c: (c.problem.setting.T, c.got.size))
    return [*least, *(c for c in known if not c.misses.any())]


def _singles(missing: list[Comparison], known: list[Comparison], loose: bool = False) -> tuple[str,
    ...]:
    """The mistakes that reproduce every value, and can be told from lost digits."""
    if not missing or all(np.isnan(c.got[c.misses]).all() for c in missing):
        return ()
    ordered, found, stop = _ordered(missing, known), [], time.monotonic() + SINGLES
    for m in mistakes(missing[0].problem.quantity, missing[0].problem.conventions):
        if time.monotonic() > stop:
            break
        made = [(c, m.of(c.problem.trees[m.form])) for c in ordered] if m.name not in found else []
        if (made and all(c.fits(tree, loose) for c, tree in made)
            and any(c.tells(tree) for c, tree in made)):
            found.append(m.name)
            if m.rank == DESIGN:
                break
    return tuple(found[:6])


def _pairs(missing: list[Comparison], known: list[Comparison]) -> tuple[str, ...]:
    """Two mistakes that together reproduce every value, as long as time allows."""
    if any(~np.isfinite(c.got[c.misses]).all() for c in missing if not c.problem.end):
        return ()
    ordered = _ordered(missing, known)
    probe, stop = ordered[0], 0.0
    found: list[str] = []
    every = _distinct(probe, mistakes(probe.problem.quantity, probe.problem.conventions))
    for a, b in _candidates(probe, every):
        stop = stop or time.monotonic() + PAIRS
        if time.monotonic() > stop or len(found) == 3:
            break
        both = compose(a, b)
        try:
            if a.form == b.form and all(c.fits(both(c.problem.trees[a.form])) for c in ordered):
                found.append(f"{a.name}, and {b.name}")
        except (IndexError, ValueError):  # one has taken away what the other changes
            continue
    return tuple(dict.fromkeys(found))


def _candidates(probe: Comparison, every: list[Mistake]) -> Iterator[tuple[Mistake, Mistake]]:
    """Pairs whose changes add up or multiply to what was got; then all, the plausible first."""
    p, size = probe.problem, len(every)
    with np.errstate(all="ignore"):
        at = np.argsort(np.where(probe.defined, -probe.ratio, 0.0), axis=None)[:3]
        got, wanted = probe.got.ravel()[at], p.wanted.ravel()[at]
        values = [p.value(m.of(p.trees[m.form])).ravel()[at] for m in every]
        near: Any = np.zeros((size, size), dtype=bool)
        for combined in (_added, _multiplied):
            fits: Any = True
            for k, (y, w) in enumerate(zip(got, wanted, strict=True)):
                column = np.array([v[k] for v in values])
                made = combined(column[:, None], column[None, :], w)
                fits = fits & (np.abs(made - y) <= 1e-5 * (np.abs(y) + np.abs(w)))
            near |= fits
    likely = sorted(((i, j) for i, j in np.argwhere(near).tolist() if i < j), key=sum)
    yield from ((every[i], every[j]) for i, j in likely[:2000])
    for total in range(2 * size):
        for i in range(max(0, total - size + 1), (total + 1) // 2):
            yield every[i], every[total - i]


def _added(a: Any, b: Any, wanted: Any) -> Any:
    return a + b - wanted


def _multiplied(a: Any, b: Any, wanted: Any) -> Any:
    return a * b / wanted


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
    for name, edge in ((str(1 + shift), 1), (str(2 + shift), 2), (last, None)):
        at_edge = [t == (T if edge is None else edge) for t, T in off]
        others = [t == (T if edge is None else edge) for t, T in clean]
        if off and all(at_edge):
            return f"deviates at t = {name} only"
        if off and others and all(others) and not any(at_edge):
            return f"deviates at every t but t = {name}"
    for k, name in ((0, "first"), (-1, "last")):
        if all(c.misses.ndim == 2 and c.misses.shape[1] > 1 and not np.delete(c.misses, k, 1).any()
            for c in known):
            return f"deviates in the {name} component only"
    if all(c.problem.end for c in known if c.misses.any()):
        return (
            "deviates at the ends of the range only: certainty, tiny or huge variances, x far out")
    count, total = sum(int(c.misses.sum()) for c in known), sum(int(c.defined.sum()) for c in known)
    return "deviates everywhere" if count == total else f"deviates in {count} of {total} values"


def _relation(known: list[Comparison]) -> str:
    usual = [c for c in known if not c.problem.end]
    got = np.concatenate([np.zeros(0), *(c.got[c.defined] for c in usual)])
    wanted = np.concatenate([np.zeros(0), *(c.problem.wanted[c.defined] for c in usual)])
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
        if kind_of(name) == "time":
            row = 0 if q.whole or at is None else at[0]
            known[name] = int(p.inputs[name][row, 0]) - 1 + p.conventions.first_t
        if kind_of(name) in ("time", "model") or at is None:
            continue
        value = p.inputs[name]
        array = value[:, at[0]] if name == "log_w" else value
        if name != "log_w" and not q.whole:
            array = array[..., at[0], :]
            array = array[..., at[1]] if len(at) > 1 else array
        known[name] = (f"array of shape {np.shape(array)}" if np.size(array) > 64
            else (np.where(np.isfinite(array), array, np.array(None)).tolist()))
    if p.setting.T <= 16 and q.scheduled:
        known["beta"] = p.setting.beta.tolist()
    return known | ({"at": list(at)} if at is not None else {})

"""Compare, grade, diagnose.

PASS       every value within 1e-9 (float64) or 1e-5 (float32) of the terms it is summed from
PRECISION  every error within what tables and arithmetic in float32 explain, and below 3 %; where
           all is float64, no known mistake gives every value to twelve digits
WRONG      anything else, with every known mistake, or pair, that reproduces every value
UNDEFINED  a precondition fails, or there is no such t
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from .calls import Fault, Returned
from .conventions import CHOICES, EPS
from .expressions import Expr
from .mistakes import DESIGN, Mistake, compose, constants, doubled, fitted, habits, mistakes
from .problems import RELATIVE, Answer, Problem, unmet
from .quantities import Quantity, accepted, kind_of, right

__all__ = ["STATUSES", "Row", "row_of"]

STATUSES = ("PASS", "PRECISION", "WRONG", "UNDEFINED")
ENDS = "at the ends of the range only: certainty, tiny or huge variances, x far out"
SINGLES, PAIRS = 12.0, 2.5  # seconds of processor time for a search
NEAREST = 300  # mistakes that are tried beside a form that is not the usual one
Names = tuple[str, ...]
Tried = tuple[Mistake, Expr]
Verdict = tuple[str, Names, str, list[Answer]]


@dataclass(frozen=True, repr=False)
class Row:
    """The verdict on one function; `digits` of a PASS are relative to the terms of the value."""

    name: str
    equation: str
    status: str
    diagnoses: tuple[str, ...] = ()
    message: str = ""
    worst_input: dict[str, Any] = field(default_factory=dict)
    got: float | None = None
    wanted: float | None = None
    digits: float | None = None
    summary: str = ""

    def __str__(self) -> str:
        said, known = [], self.worst_input
        if self.status in ("WRONG", "PRECISION") and self.got is not None:
            place = f" at t = {known['t']}" if "t" in known else ""
            place += f" (T = {known['T']})" if "T" in known else ""
            said.append(f"{self.summary}{place}: got {self.got:.9g}, wanted {self.wanted:.9g}")
        if self.status in ("PASS", "PRECISION") and self.digits is not None:
            with np.errstate(invalid="ignore"):  # infinite, as is wanted
                of_value = _digits(np.array(self.got) - self.wanted, self.wanted)
            terms = " of its terms" * (of_value < min(self.digits - 1, 9))
            agree = " agree" if self.status == "PRECISION" else terms
            said.append(f"{max(self.digits, 0.0):.1f} digits{agree}")
        if self.diagnoses:
            like = "looks like: " if self.status == "WRONG" else ""
            said.append(like + " | ".join(self.diagnoses))
        words = "; ".join([*said, self.message] if self.message else said)
        return f"{self.status:<9} {self.name:<28} {self.equation:<12} {words}"

    def __repr__(self) -> str:
        return f"<Row {self.name} {self.status}>"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; numbers that JSON does not have are None."""
        made = asdict(self) | {"diagnoses": list(self.diagnoses)}
        for name in ("got", "wanted", "digits"):
            if made[name] is not None and not math.isfinite(made[name]):
                made[name] = None
        return made


def row_of(q: Quantity, name: str, asked: list[tuple[Problem, Returned]]) -> Row:
    """The verdict on all the calls that were made for one quantity."""
    row = partial(Row, name, q.equation, summary=q.summary)
    asked = [each for each in asked if not _let_pass(*each)]
    broken = [unmet(q, p.setting, p.inputs.get("x0")) for p, _ in asked]
    if all(broken):
        none = "there is no such t: the schedule has one step"
        return row("UNDEFINED", message=(*broken, none)[0])
    asked = [each for each, why in zip(asked, broken, strict=True) if not why]
    known = [answer for _, answer in asked if isinstance(answer, Answer)]
    for p, answer in asked:
        if isinstance(answer, Fault):
            where, found = _surroundings(p, known)
            return row("WRONG", found, f"{answer}{where}", described(p, None))
    known = [c for c in known if c.defined.any()]
    if not known:
        return row("UNDEFINED", message="nothing finite to compare")
    status, diagnoses, message, known = _verdict(known)
    most = 0.999999 * max(float(c.ratio.max()) for c in known)  # of equal ones, the first
    worst = next(c for c in known if (c.ratio >= most).any())
    at = tuple(np.argwhere(worst.ratio >= most)[0].tolist())
    got, wanted = float(worst.got[at]), float(worst.problem.wanted[at])
    digits = _digits(np.array(got - wanted), wanted)
    if status == "PASS":
        digits = min(_digits(c.error, c.problem.size) for c in known)
        message = "; ".join(filter(None, (message, _not_compared(known))))
    return row(status, diagnoses, message, described(worst.problem, at), got, wanted, digits)


def _let_pass(p: Problem, answer: Returned) -> bool:
    """Whether nothing is compared: at t = 1, where q(x^{t-1} | x^t, x^0) is a point."""
    q, later = p.quantity, np.any(p.inputs.get("t", 2) > 1)
    none = not isinstance(answer, Answer) or not np.isfinite(answer.got).all()
    return bool(not later and (q.first > 1 or (q.lenient and none)))


def _digits(error: Any, size: Any) -> float:
    with np.errstate(all="ignore"):
        return round(min(-float(np.log10(np.abs(error / size).max())), 15.9), 2)


def _verdict(known: list[Answer]) -> Verdict:
    """The status, what it looks like, what else is said, and the answers to what was meant."""
    coarse = [c for c in known if EPS[c.dtype] > 2 * EPS[c.problem.conventions.dtype]]
    q, declared = known[0].problem.quantity, known[0].problem.conventions
    others = accepted(q, declared).items()
    meant = {"": known} | {note: _over(known, changed) for note, changed in others}
    blurred: list[tuple[str, list[Answer]]] = []
    for note, each in meant.items():
        slack = 2.0 if note else 1.0  # the scale is that of the usual formula
        missing = [c for c in each if (c.error > slack * c.allowed).any()]
        if not missing and not coarse:
            return "PASS", (), note, each
        lost = [slack * c.within("float32") if note else c.blurred for c in missing]
        if all((c.error <= most).all() for c, most in zip(missing, lost, strict=True)):
            blurred.append((note, each))
    if blurred:
        return _lossy(*blurred[0], coarse)
    broken, every = _broken(known), _mistakes(known, "")
    near = {"": list(_near(known, every))}
    beside = {} if (found := _search(known, near[""])) else _beside(meant)
    if (found := found or _first(meant, beside)) or broken:
        return "WRONG", found or _pairs(known), broken, known
    for m, _ in _clipped(known):
        return "PRECISION", (m.name,), "", known
    fitting = list(_near(known, sorted(_fitted(known), key=lambda m: m.rank)))
    if found := _search(known, fitting, most=1):
        return "WRONG", found, "", known
    loosely = partial(_search, known, loose=True, most=1)
    if found := _first(meant, near | beside, loose=True) or loosely(fitting):
        return "WRONG", found, "and digits are lost", known
    tame = [c for c in known if not c.problem.end]
    if len(tame) < len(known) and (found := _search(tame, _near(tame, every))):
        return "WRONG", found, f"differs besides {ENDS}", known
    units, sums = ([m for m in every if m.expects == kind] for kind in ("unit", "components"))
    both = _near(known, _composed(itertools.product(units, sums)))
    found = loosely(both) or _bounded(known) or _pairs(known)
    place = f"no known mistake, nor two; deviates {_where(known)}{_relation(known)}"
    return "WRONG", found, "" if found else place, known


def _first(
    meant: dict[str, list[Answer]], near: dict[str, list[Tried]], loose: bool = False
) -> Names:
    """What is found beside the first of the forms that are accepted."""
    found = (_search(meant[note], tried, loose) for note, tried in near.items())
    return next(filter(None, found), ())


def _beside(meant: dict[str, list[Answer]]) -> dict[str, list[Tried]]:
    """Mistakes that may reproduce every value beside forms other than the usual, out of those whose
    change of the usual one comes nearest to what a call leaves unexplained.
    """
    (_, usual), *others = meant.items()
    k, every = usual.index(_probes(usual)[0]), _mistakes(usual, "") if others else []
    moved = [(m.name, _moved(usual[k], tree)) for m, tree in _fitting([usual[k]], every)]
    made: dict[str, list[Tried]] = {}
    for note, known in others:
        off, far = _off(known[k]), dict[str, float]()
        for name, by in moved:
            far[name] = min(far.get(name, np.inf), float(np.abs(by - off).max()))
        distance = {m: far.get(m.name, np.inf) for m in _mistakes(known, note)}
        near = sorted(sorted(distance, key=distance.__getitem__)[:NEAREST], key=lambda m: m.rank)
        made[note] = list(_near(known, near))
    return made


def _mistakes(known: list[Answer], note: str) -> list[Mistake]:
    """Those that can be made beside this form."""
    q, declared = known[0].problem.quantity, known[0].problem.conventions
    return mistakes(q, declared, **accepted(q, declared).get(note, {}))


def _over(known: list[Answer], changed: dict[str, Any]) -> list[Answer]:
    """The answers to formulas in which some letters mean something else."""
    trees = right(known[0].problem.quantity, known[0].problem.conventions, **changed)
    return [replace(c, problem=c.problem.over(trees)) for c in known]


def _lossy(note: str, known: list[Answer], coarse: list[Answer]) -> Verdict:
    """What explains digits that are lost; in float64 throughout, a mistake may."""
    rounded = all((c.error <= EPS[c.dtype] * np.abs(c.problem.wanted)).all() for c in known)
    tables, whole = ((), True) if rounded else _habits(known)
    for m, _ in () if whole else _clipped(known):
        return "PRECISION", (m.name,), note, known
    double = all(c.relative == RELATIVE["float64"] for c in known)
    sought = _mistakes(known, note) if double and not whole else []
    if found := _search(known, _near(known, sought), exact=True):
        return "WRONG", found, note, known
    came = [c.dtype for c in coarse[:1]]
    names = (*(f"the result comes in {dtype}" for dtype in came), *tables)
    hint = [f"declare dtype={dtype!r}?" for dtype in came if dtype in CHOICES["dtype"]]
    return "PRECISION", names, "; ".join(filter(None, (note, *hint))), known


# The search for mistakes that reproduce every value


def _fitting(
    known: list[Answer],
    candidates: Iterable[Mistake],
    fits: Callable[[Answer, Expr], bool] = lambda *_: True,
    seconds: float = SINGLES,
) -> Iterator[Tried]:
    """Those that reproduce every value, as long as time allows."""
    stop, trees = time.process_time() + seconds, known[0].problem.trees
    for m in candidates:
        if time.process_time() > stop:
            return
        try:
            tree = m.of(trees[m.form])
        except (IndexError, ValueError):  # of two, one has taken away what the other changes
            continue
        if all(fits(c, tree) for c in known):
            yield m, tree


def _near(
    known: list[Answer], candidates: Iterable[Mistake], seconds: float = SINGLES
) -> Iterator[Tried]:
    """Those that may reproduce every value, held first against what was missed."""
    known = sorted(known, key=lambda c: (not c.misses.any(), c.problem.tables.T, c.got.size))
    return _fitting(known, candidates, Answer.near, seconds)


def _search(
    known: list[Answer],
    near: Iterable[Tried],
    loose: bool = False,
    exact: bool = False,
    most: int = 6,
) -> Names:
    """Those that reproduce every value and can be told from lost digits; exactly, to twelve."""
    found: dict[str, None] = {}
    finite = any(np.isfinite(c.got[c.defined]).any() for c in known)  # infinities tell nothing
    if not finite or all(np.isnan(c.got[c.misses]).all() for c in known):
        return ()
    for m, tree in near:
        fits = all(c.fits(tree, loose, exact) for c in known)
        if fits and any(c.tells(tree, exact) for c in known):
            found[m.name] = None
            if m.rank == DESIGN or len(found) == most:
                break
    return tuple(found)


def _bounded(known: list[Answer]) -> Names:
    """Whether it is right, or has one mistake, but for a bound that several values meet."""
    usual = _flat(known, lambda c: c.defined & (not c.problem.end) & np.isfinite(c.got))
    values, counts = np.unique(_flat(known, lambda c: c.got)[usual], return_counts=True)
    if len(values) < 3 or max(counts[0], counts[-1]) <= 2 * len(known):
        return ()
    low, high = values[0], values[-1]
    q, declared = known[0].problem.quantity, known[0].problem.conventions
    other = [Mistake("", lambda tree: tree), *mistakes(q, declared)]
    for least, most in ((low, np.inf), (-np.inf, high), (low, high)):

        def fits(c: Answer, tree: Expr, least: Any = least, most: Any = most) -> bool:
            return c.reproduced(np.clip(c.problem.value(tree), least, most), c.blurred)

        for m, _ in _fitting(known, other, fits, PAIRS):
            return (f"{m.name}{', and ' if m.name else ''}clipped to [{least:.6g}, {most:.6g}]",)
    return ()


def _fitted(known: list[Answer]) -> Iterator[Mistake]:
    """Mistakes with numbers in them that give the values best."""
    from scipy.optimize import least_squares

    probes = _probes(known)
    p, wrong = probes[0].problem, max(c.misses.sum() for c in probes)
    solve = partial(least_squares, method="dogbox", ftol=1e-15, xtol=1e-15, gtol=1e-15)
    for starts, ends, made in () if _long(p) else fitted(p.setting.beta):
        if max(wrong, len(starts)) < 2 and p.quantity.name != "abar_prev":
            continue

        def off(numbers: Any, made: Any = made) -> Any:
            tree = made(np.asarray(numbers)).of(p.trees[0])
            values = _flat(probes, lambda c: np.where(c.defined, c.problem.value(tree) - c.got, 0))
            return np.where(np.isfinite(values), values, np.finfo(np.float32).max)

        with contextlib.suppress(ValueError):  # of numbers that there cannot be
            costs = {start: np.square(off(start)).sum() for start in itertools.product(*starts)}
            yield made(solve(off, min(costs, key=costs.__getitem__), bounds=ends).x)


def _probes(known: list[Answer]) -> list[Answer]:
    """Those over the shortest schedule with a value that misses, but for the ends of ranges."""
    shortest = min((c.problem.tables.T, c.problem.end) for c in known if c.misses.any())
    return [c for c in known if (c.problem.tables.T, c.problem.end) == shortest]


def _composed(pairs: Iterable[tuple[Mistake, Mistake]]) -> Iterator[Mistake]:
    return (compose(a, b) for a, b in pairs if a.form == b.form)


def _pairs(known: list[Answer]) -> Names:
    """Two mistakes that together reproduce every value."""
    if not all(np.isfinite(c.got[c.misses]).all() for c in known if not c.problem.end):
        return ()
    pairs = _composed(_likely(_probes(known)))
    return _search(known, _near(known, pairs, PAIRS), most=3)


def _likely(known: list[Answer]) -> Iterable[tuple[Mistake, Mistake]]:
    """Pairs whose changes add up or multiply to what was got; then all, the plausible first."""
    p, made = known[0].problem, dict[Any, tuple[Mistake, Any]]()
    at = np.argsort(-_flat(known, lambda c: c.ratio))[:3]
    for m, tree in _fitting(known, mistakes(p.quantity, p.conventions)):
        seen = [np.where(c.defined, c.problem.value(tree), np.nan).ravel() for c in known]
        if np.isfinite(values := np.hstack(seen)).any():
            made.setdefault((m.form, values.astype(np.float32).tobytes()), (m, values[at]))
    every = [m for m, _ in made.values()]
    changed = np.array([values for _, values in made.values()]).reshape(len(every), at.size)
    got, wanted = _flat(known, lambda c: c.got)[at], _flat(known, lambda c: c.problem.wanted)[at]
    with np.errstate(all="ignore"):
        a, b = changed[:, None], changed[None]
        both = np.stack([a + b - wanted, a * b / wanted])
        near = np.abs(both - got) <= 1e-5 * (np.abs(got) + np.abs(wanted))
    first = [(i, j) for i, j in np.argwhere(near.all(-1).any(0)).tolist() if i < j]
    first = sorted(first, key=sum)[:2000]
    size = len(every)
    then = ((i, k - i) for k in range(2 * size) for i in range(max(0, k - size + 1), (k + 1) // 2))
    return ((every[i], every[j]) for i, j in itertools.chain(first, then))


def _clipped(known: list[Answer]) -> Iterator[Tried]:
    p = known[0].problem
    if _long(p):
        return iter(())
    known = sorted(known, key=lambda c: -float(c.ratio.max()))
    return _fitting(known, constants(p.quantity, p.conventions), Answer.keeps)


def _long(p: Problem) -> bool:
    """Whether a search through many values would take minutes."""
    return p.quantity.drawn in ("bound", "loop", "path") and p.tables.T > 100


def _habits(known: list[Answer]) -> tuple[Names, bool]:
    """The ways to build tables that explain most of the error, and whether they explain it all."""
    right = known[0].problem.trees
    scores = {
        name: min(_left(known, tree) for tree in trees) for name, trees in habits(right).items()
    }
    best = min(scores.values(), default=(np.inf, np.inf))
    most = min(0.5 * _left(known, right[0])[0], 4 * best[0] + 1e-9)
    found = tuple(
        name for name in sorted(scores, key=scores.__getitem__) if scores[name][0] <= most
    )
    if found:
        return found, best[1] <= 1.0
    worst = max(float((c.error / c.problem.size).max()) for c in known)
    single = all((c.got == np.float32(c.got))[c.defined].all() for c in known)
    said = "computed in float32" if single else "digits lost, as many as in float32"
    return (said + ", where the terms cancel" * (worst > 64 * EPS["float32"]),), False


def _left(known: list[Answer], tree: Expr) -> tuple[float, float]:
    """What a formula leaves unexplained, in all and at most, in units of what a PASS allows."""
    with np.errstate(all="ignore"):
        off = [((c.got - c.problem.value(tree)) / c.allowed)[c.defined] for c in known]
        size = np.nan_to_num(np.abs(np.concatenate(off)), nan=np.inf, posinf=np.inf)
        return float((size**2).sum()), float(size.max())


# What is said


def described(p: Problem, at: tuple[int, ...] | None) -> dict[str, Any]:
    """The arguments that a value was computed from, in the user's conventions."""
    q = p.quantity
    known: dict[str, Any] = {"T": p.tables.T} if q.scheduled else {}
    for name in q.arguments(p.conventions):
        if kind_of(name) == "time":
            row = 0 if q.whole or at is None else at[0]
            known[name] = int(p.inputs[name][row, 0]) - 1 + p.conventions.first_t
        elif kind_of(name) != "model" and at is not None:
            array = p.inputs[name]
            if name == "log_w":
                array = array[:, at[0]]
            elif not q.whole:
                array = array[(..., *(*at, slice(None))[:2])]
            values = np.where(np.isfinite(array), array.astype(object), array.astype(str)).tolist()
            known[name] = values if array.size <= 64 else f"array of shape {array.shape}"
    if p.tables.T <= 16 and q.scheduled:
        known["beta"] = p.setting.beta.tolist()
    return known if at is None else known | {"at": list(at)}


def _surroundings(p: Problem, known: list[Answer]) -> tuple[str, Names]:
    """At which t a call failed, where others did not, and what these look like."""
    q, first = p.quantity, p.conventions.first_t
    if not known or q.kind == "table" or "t" not in q.every:
        return "", ()
    t = np.unique(p.inputs["t"] - 1 + first).tolist()
    word = f"t = {t[0]}" if len(t) == 1 else f"t among {t}"
    found = _search(known, _near(known, mistakes(q, p.conventions)))
    return f" at {word} of {p.tables.T - 1 + first}", found


def _not_compared(known: list[Answer]) -> str:
    """What a PASS says nothing about."""
    c, p = known[0], known[0].problem
    first = f"t = {p.conventions.first_t} not compared"
    if p.quantity.free:
        made, stands = np.log if "log" in p.quantity.name else float, float(c.got[0, 0])
        known_as = {
            "the exact value": p.wanted[0, 0],
            "the next value": p.wanted[1, 0],
            "beta_1": made(p.setting.beta[0]),
            "1 - abar_T, by index -1,": made(p.tables.one_minus_abar[-1]),
        }
        said = (word for word, value in known_as.items() if np.isclose(stands, value, atol=0.0))
        return f"{first}: {next(said, f'{stands:.6g}')} stands there"
    if "t" not in p.inputs:
        return ""
    first_rows = [(c, c.problem.inputs["t"] == 1) for c in known]
    if any((rows & ~np.isfinite(c.problem.wanted)).any() for c, rows in first_rows):
        return f"{first}: infinite"
    return "" if any((rows & c.defined).any() for c, rows in first_rows) else first


def _flat(known: list[Answer], part: Callable[[Answer], Any]) -> Any:
    """A part of every comparison, with an entry for each value, in one row."""
    return np.concatenate([np.broadcast_to(part(c), c.got.shape).ravel() for c in known])


def _time(c: Answer) -> Any:
    """The t of each value, 0 where there is none."""
    if "t" not in c.problem.quantity.every:
        return 0
    t = c.problem.inputs["t"][: len(c.got)]
    return t if c.got.ndim == 2 else t[:, 0]


def _bad(c: Answer) -> Any:
    """Where a value is no number, or infinite where it should not be."""
    return c.defined & ~np.isfinite(c.got) & (np.isnan(c.got) | np.isfinite(c.problem.wanted))


def _broken(known: list[Answer]) -> str:
    broken = [c for c in known if _bad(c).any()]
    if not broken:
        return ""
    bad, p = _flat(broken, _bad), broken[0].problem
    first, place = int(_flat(broken, _time)[bad].min()), ""
    if all(c.problem.end for c in broken):
        at = described(p, tuple(np.argwhere(_bad(broken[0]))[0].tolist()))
        words = (f"{name} = {value}" for name, value in at.items() if name != "at")
        place = " at the ends of the range only: " + ", ".join(words)
    elif first:
        place = f", first at t = {first - 1 + p.conventions.first_t}"
    count = f"{bad.sum()} of {_flat(known, lambda c: c.defined).sum()} values"
    return f"returns {_flat(broken, lambda c: c.got)[bad][0]} in {count}{place}"


def _where(known: list[Answer]) -> str:
    """Where values miss what is wanted."""

    def column(c: Answer) -> Any:
        return np.arange(c.got.shape[1]) if c.got.ndim == 2 and c.got.shape[1] > 1 else np.inf

    off, defined = _flat(known, lambda c: c.misses), _flat(known, lambda c: c.defined)
    t, k = _flat(known, _time), _flat(known, column)
    first = known[0].problem.conventions.first_t
    places = {
        f"at t = {first}": t == 1,
        f"at t = {first + 1}": t == 2,
        f"at t = {'T' if first else 'T - 1'}": t == _flat(known, lambda c: c.problem.tables.T),
        "in the first component": k == 0,
        "in the last component": k == _flat(known, lambda c: c.got.shape[-1] - 1),
    }
    for said, at in places.items():
        if at[off].all():
            return f"{said} only"
        if (at == ~off)[defined].all() and at[defined].any():
            return said.replace("at t", "at every t but t").replace("in the", "in all but the")
    if all(c.problem.end for c in known if c.misses.any()):
        return ENDS
    count = f"in {off.sum()} of {defined.sum()} values"
    return "everywhere" if off.sum() == defined.sum() else count


def _off(c: Answer) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        return c.got - c.problem.wanted


def _moved(c: Answer, tree: Expr) -> Any:
    return c.problem.value(tree) - c.problem.wanted


def _relation(known: list[Answer]) -> str:
    """A constant factor of the whole or of a part, or an offset, between got and wanted."""
    usual = _flat(known, lambda c: c.defined & (not c.problem.end))

    def flat(part: Callable[[Answer], Any]) -> Any:
        return _flat(known, part)[usual]

    whole, off = flat(lambda c: c.problem.wanted), flat(_off)
    parts = {"times": (1.0, whole), "plus": (0.0, np.ones_like(whole))}
    for label, twice in doubled(known[0].problem.trees[0]).items():
        parts[f"with {label} times"] = 1.0, flat(partial(_moved, tree=twice))
    for word, (null, part) in parts.items():
        with np.errstate(all="ignore"):
            k = np.median(off / part) if off.size > 3 else np.nan
            steady = np.abs(off - k * part) <= flat(lambda c: 10 * c.allowed)
        if steady.all() and f"{(k := null + k):.6g}" != f"{null:.6g}":
            share = word == "times" and 0 < k < 1 and round(1 / k, 6) % 1 == 0
            return f"; got is wanted {f'divided by {1 / k:.6g}' if share else f'{word} {k:.6g}'}"
    return ""

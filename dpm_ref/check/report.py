"""Ask the functions, each twice and in two orders; the report has one row per quantity, text when
printed, plain data for JSON.
"""

import collections
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dpm_ref import validation
from dpm_ref.schedules import linear

from .calls import Fault, Returned, call, faults, guarded
from .conventions import Conventions, near, schedule_of
from .judge import STATUSES, Row, row_of
from .mistakes import HABITS
from .problems import RELATIVE, Answer, Problem, Setting, draws
from .quantities import ALIASES, QUANTITIES, Quantity

__all__ = ["STATUSES", "Report", "Row", "run"]

PER_DIMENSION = {"unit": "bits", "components": "mean"}  # what "bpd" in a name implies
Built = tuple[Mapping[Any, Any], Any, tuple[int, int]]  # over a schedule, at vectors of a shape
SHAPES = ((5, 3), (3, 7), (4, 2), (3, 2))  # of the batches, one for each schedule


@dataclass(frozen=True, repr=False)
class Report:
    rows: tuple[Row, ...]
    header: str = ""  # the prior and the schedule

    @property
    def ok(self) -> bool:
        """Whether every row is PASS or UNDEFINED, and at least one PASS."""
        return {"PASS"} <= {row.status for row in self.rows} <= {"PASS", "UNDEFINED"}

    def __getitem__(self, name: str) -> Row:
        return {row.name: row for row in self.rows[::-1]}[name]

    def assert_ok(self, *, allow: Sequence[str] = ()) -> None:
        """AssertionError with the failing rows, unless every row is PASS, UNDEFINED or of a status
        in `allow`: WRONG always fails, and PRECISION unless it is allowed.
        """
        rule = "allow must hold statuses among PASS, PRECISION and UNDEFINED"
        for status in [each for each in allow if each not in ("PASS", "PRECISION", "UNDEFINED")]:
            raise ValueError(f"{rule}, got {status!r}")
        if failing := [row for row in self.rows if row.status not in ("PASS", "UNDEFINED", *allow)]:
            raise AssertionError("\n".join(map(str, failing)))
        if not any(row.status in ("PASS", *allow) for row in self.rows):
            raise AssertionError("nothing was compared:\n" + str(self))

    def __str__(self) -> str:
        return "\n".join(map(str, self.rows))

    def __repr__(self) -> str:
        count = collections.Counter(row.status for row in self.rows)
        return f"<Report {', '.join(f'{count[s]} {s}' for s in STATUSES if count[s])}>"

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "header": self.header, "rows": [row.to_dict() for row in self.rows]}


def run(
    functions: Any,
    *,
    beta: Any = None,
    abar: Any = None,
    log_snr: Any = None,
    sigmas: Any = None,
    prior: float = 0.5,
    data: Any = None,
    rng: Any = None,
    **conventions: Any,
) -> Report:
    """Compare someone's functions with the reference, under their conventions.

    Parameters
    ----------
    functions : mapping of names to callables or tables, or a callable beta -> such a mapping
        A value may be a pair (function, conventions), which go before the run's own.
    beta, abar, log_snr, sigmas : array_like, shape (T,), optional
        One of them declares the schedule; `beta` may also be a name with parameters, as in
        ("linear", 1000) or ("cosine", 1000, {"offset": 0.008}).
    prior : float
        pi_1 of the binomial prior.
    data : array_like, shape (m, ...), optional
        Vectors x^0.
    rng : numpy.random.Generator, optional
        Draws other inputs than the fixed ones.
    **conventions
        Fields of `Conventions`; see `python -m dpm_ref.check --list`.

    Returns
    -------
    Report
    """
    declared = Conventions().but(conventions)
    prior = validation.fraction("prior", prior)
    seed = 0 if rng is None else int(validation.generator(rng).integers(2**63))
    given = schedule_of(beta=beta, abar=abar, log_snr=log_snr, sigmas=sigmas)
    try:
        built = _built(functions, given, declared)
    except Fault as fault:
        arrives = "; beta arrives through to_native" * str(fault).startswith("raises")
        said = f"building the functions {fault}{arrives}"
        return Report((Row("functions", "", "WRONG", message=said),))
    if not built[0][0]:
        raise ValueError("functions must hold at least one function, got none")
    asked, setting = [], partial(Setting, pi1=prior, given=data)
    for name in built[0][0]:
        parts = _named(name)
        if given is None and isinstance(functions, Mapping) and parts[0].scheduled:
            said = f"beta must be given, the schedule that {name} computes with"
            raise ValueError(f"{said}; or functions as a callable beta -> mapping")
        over = built if parts[0].scheduled else built[:1]
        asked.append(Asked.of(name, parts, over, seed, conventions, setting))
    schedule = "schedules drawn" if given is None else f"T = {len(given)}"
    return Report(tuple(agreed(list(_rows(asked)))), f"prior pi_1 = {prior:g}; {schedule}")


def _built(functions: Any, given: Any, c: Conventions) -> list[Built]:
    """The functions over each schedule."""
    if not callable(functions) and not isinstance(functions, Mapping):
        rule = "functions must be a mapping of names to callables, or a callable beta -> mapping"
        raise ValueError(f"{rule}, got {functions!r}")
    rng = np.random.default_rng(7)
    drawn = [*(rng.uniform(0.05, 0.6, T) for T in (7, 5, 9)), linear(1000)]
    betas = [Conventions().rounded(b) for b in drawn] if given is None else [given] * 2
    mappings = [functions] * len(betas)
    if not isinstance(functions, Mapping):
        with guarded(c.time_limit), faults():
            mappings = [functions(c.native(beta)) for beta in betas]
    if not isinstance(mappings[0], Mapping):
        kind = type(mappings[0]).__name__
        raise Fault(f"gives {kind}, where a mapping of names to callables is wanted")
    return list(zip(mappings, betas, SHAPES, strict=False))


def _named(name: Any) -> tuple[Quantity, ...]:
    if name not in QUANTITIES and name not in ALIASES:
        hint = near(name, [*QUANTITIES, *ALIASES]) or "; python -m dpm_ref.check --list shows all"
        if "p_mean" in str(name):
            hint = "; a model's mean is mean_from_eps (or _x0, _v), its whole step p_sample"
        raise ValueError(f"functions must have names that can be checked, got {name!r}{hint}")
    return tuple(QUANTITIES[part] for part in ALIASES.get(name, (name,)))


class Asked(NamedTuple):
    """What is asked of one function: the problems of each call, over all schedules."""

    name: str
    parts: tuple[Quantity, ...]
    calls: list[tuple[Any, list[Problem]]]
    limit: float
    note: str

    @classmethod
    def of(
        cls, name: str, parts: Any, over: list[Built], seed: int, declared: Any, setting: Any
    ) -> "Asked":
        """Of a function, or a pair with its conventions, over each schedule."""
        made, own = [mapping[name] for mapping, *_ in over], dict[str, Any]()
        if isinstance(made[0], tuple) and len(made[0]) == 2 and isinstance(made[0][1], Mapping):
            own, made = dict(made[0][1]), [function for function, _ in made]
        known = {**declared, **own}
        implied = {k: v for k, v in PER_DIMENSION.items() if "bpd" in name and k not in known}
        calls, c = [], Conventions().but({**implied, **known})
        for k, (function, (_, beta, shape)) in enumerate(zip(made, over, strict=True)):
            s = setting(beta, shape=shape, conventions=c)
            rng = np.random.default_rng([seed, zlib.crc32(parts[0].name.encode()), k])
            for inputs in draws(parts[0], s, rng):
                calls.append((function, [Problem.of(q, s, inputs) for q in parts]))
        note = ", ".join(f"{name}={value!r}" for name, value in implied.items())
        return cls(name, parts, calls, c.time_limit, note + ", as its name says" * bool(note))

    def answers(self) -> list[list[Returned]]:
        """One pass over all calls; after a time-out, none of the others is made."""
        found: list[list[Returned]] = []
        try:
            with guarded(self.limit):
                for function, problems in self.calls:
                    found.append(call(function, problems, self.name))
        except Fault as late:
            found += [[late] * len(problems) for _, problems in self.calls[len(found) :]]
        return found


def _rows(asked: list[Asked]) -> Iterator[Row]:
    first = [each.answers() for each in asked]
    again = [each.answers() for each in reversed(asked)][::-1]
    for each, one, two in zip(asked, first, again, strict=True):
        for k, q in enumerate(each.parts):
            made = [(p[k], a[k], b[k]) for (_, p), a, b in zip(each.calls, one, two, strict=True)]
            if any(a is not None for _, a, _ in made) or not made:
                name = each.name if len(each.parts) == 1 else q.name
                with np.errstate(all="ignore"):  # of values that are far off
                    row = row_of(q, name, [(p, _steady(a, b)) for p, a, b in made])
                yield replace(row, message="; ".join(filter(None, (row.message, each.note))))


def _steady(a: Returned, b: Returned) -> Returned:
    """The first answer, if the second is the same."""
    if not isinstance(a, Answer) or "model" in a.problem.quantity.every:  # its states may be drawn
        return a
    if not isinstance(b, Answer):
        return Fault(f"asked again, it {b or 'returns less'}")
    most = RELATIVE[a.problem.conventions.dtype] * np.maximum(a.problem.size, np.abs(a.got))
    if a.reproduced(b.got, most):
        return a
    said = "gives another result when asked again with the same arguments"
    return Fault(f"{said}: it draws noise of its own, or depends on earlier calls")


def agreed(rows: list[Row]) -> Iterator[Row]:
    """Of several ways to build tables that explain a row, the one that explains most rows."""
    said = (name for row in rows if row.status == "PRECISION" for name in row.diagnoses)
    rows_of = collections.Counter(said)
    for row in rows:
        ways = [name for name in row.diagnoses if name in HABITS]
        dropped = {*ways} - {max(ways, key=rows_of.__getitem__, default="")}
        yield replace(row, diagnoses=tuple(each for each in row.diagnoses if each not in dropped))

"""Ask the functions, each twice and in two orders, and judge their answers."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dpm_ref.schedules import linear

from .calls import Fault, Returned, call, faults, guarded
from .conventions import Conventions, near, schedule_of
from .inputs import DRAWS, Setting
from .judge import row_of
from .precision import agreed
from .problems import RELATIVE, Answer, Problem
from .quantities import ALIASES, QUANTITIES, Quantity
from .report import Report, Row

__all__ = ["run"]

PER_DIMENSION = {"unit": "bits", "components": "mean"}  # what "bpd" in a name implies
SHAPES = ((5, 3), (3, 7), (4, 2), (3, 2))  # of the batches, one for each schedule


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of one function: the problems of each call, over all schedules."""

    name: str
    parts: tuple[Quantity, ...]
    calls: list[tuple[Any, list[Problem]]]
    time_limit: float
    note: str = ""

    def answers(self) -> list[list[Returned]]:
        """One pass over all calls; after a time-out, none of the others is made."""
        found: list[list[Returned]] = []
        try:
            with guarded(self.time_limit):
                for function, problems in self.calls:
                    found.append(call(function, problems, self.name))
        except Fault as late:
            found += [[late] * len(problems) for _, problems in self.calls[len(found) :]]
        return found


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
    if not 0 < prior < 1:
        raise ValueError(f"prior must be one number strictly between 0 and 1, got {prior!r}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy.random.Generator, got {rng!r}")
    given = schedule_of(beta=beta, abar=abar, log_snr=log_snr, sigmas=sigmas)
    try:
        built = _built(functions, given, declared)
    except Fault as fault:
        arrives = "; beta arrives through to_native" * str(fault).startswith("raises")
        said = f"building the functions {fault}{arrives}"
        return Report((Row("functions", "", "WRONG", message=said),))
    if not built[0][1]:
        raise ValueError("functions must hold at least one function, got none")
    seed = 0 if rng is None else int(rng.integers(2**63))
    asked = []
    named = {name: _named(name) for name in built[0][1]}
    for name, parts in named.items():
        if given is None and isinstance(functions, Mapping) and any(q.scheduled for q in parts):
            raise ValueError(
                f"beta must be given, the schedule that {name} computes with; "
                "or functions as a callable beta -> mapping"
            )
        implied = {k: v for k, v in PER_DIMENSION.items() if "bpd" in name and k not in conventions}
        c = declared.but(implied)
        asked.append(_asked(name, parts, built, c, seed, prior, data, [*implied]))
    schedule = "schedules drawn" if given is None else f"T = {len(given)}"
    return Report(tuple(agreed(list(_rows(asked)))), f"prior pi_1 = {prior:g}; {schedule}")


def _built(functions: Any, given: Any, c: Conventions) -> list[tuple[Any, Mapping[Any, Any]]]:
    """Schedules, and the functions over each."""
    if isinstance(functions, Mapping):
        return [(linear(8, first=0.05, last=0.5) if given is None else given, functions)] * 2
    if not callable(functions):
        raise ValueError(
            "functions must be a mapping of names to callables, or a callable beta -> mapping, "
            f"got {functions!r}"
        )
    rng = np.random.default_rng(7)
    drawn = [*(rng.uniform(0.05, 0.6, T) for T in (7, 5, 9)), linear(1000, first=1e-4, last=0.02)]
    betas = [Conventions().rounded(each) for each in drawn] if given is None else [given] * 2
    with guarded(c.time_limit), faults():
        mappings = [functions(c.native(beta)) for beta in betas]
    if not isinstance(mappings[0], Mapping):
        kind = type(mappings[0]).__name__
        raise Fault(f"gives {kind}, where a mapping of names to callables is wanted")
    return list(zip(betas, mappings, strict=True))


def _named(name: Any) -> tuple[Quantity, ...]:
    if name not in QUANTITIES and name not in ALIASES:
        hint = near(name, [*QUANTITIES, *ALIASES])
        hint = hint or "; python -m dpm_ref.check --list shows all"
        raise ValueError(f"functions must have names that can be checked, got {name!r}{hint}")
    return tuple(QUANTITIES[part] for part in ALIASES.get(name, (name,)))


def _asked(
    name: str,
    parts: Any,
    built: Any,
    c: Conventions,
    seed: int,
    prior: float,
    data: Any,
    implied: list[str],
) -> Asked:
    functions = [mapping[name] for _, mapping in built]
    own = functions[0][1:] if isinstance(functions[0], tuple) else ()
    if len(own) == 1 and isinstance(own[0], Mapping):
        c, functions = c.but(own[0]), [function for function, _ in functions]
        implied = [each for each in implied if each not in own[0]]
    calls = []
    for k, ((beta, _), function) in enumerate(zip(built, functions, strict=True)):
        setting = _setting(beta, c, c.shape or SHAPES[k], prior, data)
        rng = np.random.default_rng([seed, zlib.crc32(parts[0].name.encode()), k])
        for inputs in DRAWS[parts[0].drawn](parts[0], setting, rng):
            calls.append((function, [Problem.of(q, setting, inputs) for q in parts]))
        if not parts[0].scheduled:
            break
    note = ", ".join(f"{each}={PER_DIMENSION[each]!r}" for each in implied)
    return Asked(name, parts, calls, c.time_limit, f"{note}, as its name says" if note else "")


def _setting(beta: Any, c: Conventions, shape: tuple[int, ...], prior: float, data: Any) -> Setting:
    rows = None
    if data is not None:
        array = np.asarray(data, dtype=np.float64)
        inner = array.shape[1:] if c.shape is None else c.shape[1:]
        fits = array.ndim >= 2 and array.size and array.shape[1:] == inner
        if not fits or not np.isfinite(array).all():
            wanted = ", ".join(map(str, inner)) or "..."
            raise ValueError(f"data must have shape (m, {wanted}) and be finite, got {array.shape}")
        rows, shape = c.rounded(array.reshape(len(array), -1)), (shape[0], *inner)
    return Setting(beta, prior, shape[0], shape[1:], c, rows)


def _rows(asked: list[Asked]) -> Iterator[Row]:
    first = [each.answers() for each in asked]
    again = [each.answers() for each in reversed(asked)][::-1]
    for each, one, two in zip(asked, first, again, strict=True):
        for k, q in enumerate(each.parts):
            made = [(p[k], a[k], b[k]) for (_, p), a, b in zip(each.calls, one, two, strict=True)]
            if any(a is not None for _, a, _ in made) or not made:
                name = each.name if len(each.parts) == 1 else q.name
                row = row_of(q, name, [(p, _steady(a, b)) for p, a, b in made])
                yield replace(row, message="; ".join(filter(None, (row.message, each.note))))


def _steady(a: Returned, b: Returned) -> Returned:
    """The first answer, if the second is the same."""
    if not isinstance(a, Answer):
        return a
    if not isinstance(b, Answer):
        return Fault(f"asked again, it {b or 'returns less'}")
    with np.errstate(all="ignore"):
        near = RELATIVE[a.problem.conventions.dtype] * np.maximum(a.problem.size, np.abs(a.got))
        same = (np.abs(a.got - b.got) <= near) | (a.got == b.got)
    same |= np.isnan(a.got) & np.isnan(b.got)
    if same.all() or "model" in a.problem.quantity.every:  # whose states may be drawn anew
        return a
    return Fault(
        "gives another result when asked again with the same arguments: "
        "it draws noise of its own, or depends on earlier calls"
    )

"""Ask the functions, each twice and in two orders, and judge their answers."""

import difflib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from dpm_ref.schedules import linear

from .calls import Answer, Fault, Problem, TimeUp, call, guarded, limited, said_of
from .comparisons import RELATIVE
from .conventions import Conventions
from .inputs import DRAWS, Setting
from .judge import row_of, unmet
from .quantities import ALIASES, QUANTITIES, Quantity
from .report import Report, Row
from .schedules import schedule_of

__all__ = ["run"]

SHAPES = ((5, 3), (3, 7), (4, 2), (3, 2))


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of one function: the problems of each call, over all schedules."""

    name: str
    functions: tuple[Any, ...]
    parts: tuple[Quantity, ...]
    conventions: Conventions
    calls: tuple[tuple[int, list[Problem]], ...]  # with the number of the schedule

    def answers(self) -> list[list[Answer | Fault]]:
        """One pass over all calls; after a time-out, none of the others is made."""
        found: list[list[Answer | Fault]] = []
        try:
            with guarded(), limited(self.conventions.time_limit):
                for k, problems in self.calls:
                    found.append(call(self.functions[k], problems))
        except TimeUp:
            late = Fault(f"did not return within {self.conventions.time_limit:g} s (time_limit)")
            found += [[late] * len(problems) for _, problems in self.calls[len(found) :]]
        return found


def run(functions: Any, *, beta: Any = None, abar: Any = None, log_snr: Any = None,
    sigmas: Any = None, prior: float = 0.5, data: Any = None, rng: Any = None,
    **conventions: Any) -> Report:
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
    allowed = [f.name for f in fields(Conventions)]
    _known(conventions, allowed)
    declared = Conventions(**conventions)
    if not 0 < prior < 1:
        raise ValueError(f"prior must be one number strictly between 0 and 1, got {prior!r}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy.random.Generator, got {rng!r}")
    factory = functions if callable(functions) and not isinstance(functions, Mapping) else None
    if factory is None and not isinstance(functions, Mapping):
        raise ValueError(
            "functions must be a mapping of names to callables, or a callable beta -> mapping, "
            f"got {functions!r}"
        )
    given = schedule_of(beta=beta, abar=abar, log_snr=log_snr, sigmas=sigmas)
    betas = (_schedules() if factory and given is None
        else [linear(8, first=0.05, last=0.5) if given is None else given] * 2)
    try:
        with guarded(), limited(declared.time_limit):
            mappings = [functions if factory is None else factory(declared.native(each)) for each
                in betas]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Report(
            (
                Row("functions", "", "WRONG",
                    message=f"building the functions raises {said_of(error)}"),))
    if not isinstance(mappings[0], Mapping):
        kind = type(mappings[0]).__name__
        message = (
            f"building the functions gives {kind}, where a mapping of names to callables is wanted")
        return Report((Row("functions", "", "WRONG", message=message),))
    if not mappings[0]:
        raise ValueError("functions must hold at least one function, got none")
    seed = 0 if rng is None else int(rng.integers(2**63))
    asked = []
    for name in mappings[0]:
        parts = _named(name)
        if given is None and factory is None and any(q.scheduled for q in parts):
            raise ValueError(
                f"beta must be given, the schedule that {name} computes with; "
                "or functions as a callable beta -> mapping"
            )
        asked.append(
            _asked(name, parts, [m[name] for m in mappings], betas, prior, data, declared, seed))
    header = f"prior pi_1 = {prior:g}; " + ("schedules drawn" if given is None
        else f"T = {len(given)}")
    return Report(_rows(asked), header)


def _known(conventions: Mapping[str, Any], allowed: list[str]) -> None:
    for name in conventions:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            raise ValueError(f"conventions must be among {', '.join(allowed)}, got {name}"
                + (f"; near it: {near[0]}" if near else ""))


def _schedules() -> list[Any]:
    rng = np.random.default_rng(7)
    drawn = [rng.uniform(0.05, 0.6, T) for T in (7, 5, 9)]
    return [np.float32(each).astype(np.float64) for each
        in (*drawn, linear(1000, first=1e-4, last=0.02))]


def _named(name: str) -> tuple[Quantity, ...]:
    if name not in QUANTITIES and name not in ALIASES:
        near = difflib.get_close_matches(str(name), [*QUANTITIES, *ALIASES], 3, 0.5)
        raise ValueError(f"functions must have names that can be checked, got {name!r}"
            + (f"; near it: {', '.join(near)}" if near
                else "; python -m dpm_ref.check --list shows all"))
    return tuple(QUANTITIES[part] for part in ALIASES.get(name, (name,)))


def _setting(beta: Any, k: int, prior: float, data: Any, c: Conventions) -> Setting:
    shape, rows = c.shape or SHAPES[k], None
    if data is not None:
        array = np.asarray(data, dtype=np.float64)
        inner = array.shape[1:] if c.shape is None else c.shape[1:]
        if (array.ndim < 2 or array.shape[1:] != inner or not array.size
            or not np.isfinite(array).all()):
            wanted = ", ".join(map(str, inner)) or "..."
            raise ValueError(f"data must have shape (m, {wanted}) and be finite, got {array.shape}")
        rows, shape = (c.rounded(array.reshape(len(array), -1)), c.shape
            or (shape[0], *array.shape[1:]))
    d = int(np.prod(shape[1:]))
    return Setting(beta, prior, shape[0], d, c.t_shape == "batch", rows, c.rounded)


def _asked(name: str, parts: tuple[Quantity, ...], functions: list[Any], betas: list[Any],
    prior: float, data: Any, declared: Conventions, seed: int) -> Asked:
    c = declared
    if (isinstance(functions[0], tuple) and len(functions[0]) == 2
        and isinstance(functions[0][1], Mapping)):
        _known(functions[0][1], [f.name for f in fields(Conventions)])
        c, functions = replace(c, **functions[0][1]), [each[0] for each in functions]
    calls = []
    for k, beta in enumerate(betas):
        setting = _setting(beta, k, prior, data, c)
        rng = np.random.default_rng([seed, zlib.crc32(parts[0].name.encode()), k])
        calls += [(k, [Problem.of(q, setting, c, inputs) for q in parts]) for inputs
            in DRAWS[parts[0].drawn](parts[0], setting, rng)]
        if not parts[0].scheduled:
            break
    return Asked(name, tuple(functions), parts, c, tuple(calls))


def _rows(asked: list[Asked]) -> tuple[Row, ...]:
    first = [each.answers() for each in asked]
    again = [each.answers() for each in reversed(asked)][::-1]
    rows = []
    for each, one, two in zip(asked, first, again, strict=True):
        for k, q in enumerate(each.parts):
            name = each.name if len(each.parts) == 1 else q.name
            posed = [problems[k] for _, problems in each.calls]
            answers = [(a[k], b[k], p) for a, b, p in zip(one, two, posed, strict=True)
                if len(a) > k and not unmet(p)]
            if any(len(a) > k for a in one) or not one:
                rows.append(
                    row_of(q, name, [p for _, _, p in answers] or posed,
                        [_steady(a, b, p) for a, b, p in answers]))
    return tuple(rows)


def _steady(a: Answer | Fault, b: Answer | Fault, p: Problem) -> Answer | Fault:
    """The first answer, if the second is the same."""
    if isinstance(a, Fault) or isinstance(b, Fault):
        return a if isinstance(a, Fault) else Fault(f"asked again, it {b}")
    if "model" in p.quantity.every:  # it may draw its states anew
        return a
    with np.errstate(all="ignore"):
        near = np.abs(a.got - b.got) <= RELATIVE[p.conventions.dtype] * np.maximum(p.size,
            np.abs(a.got))
    same = near | (a.got == b.got) | (np.isnan(a.got) & np.isnan(b.got))
    return (
        a
        if same.all()
        else Fault(
            "gives another result when asked again with the same arguments: "
            "it draws noise of its own, or depends on earlier calls"
        )
    )

"""The check itself: draw inputs, call the functions, judge the answers.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.bounds import preconditions
from dpm_ref.check.calls import Answer, Fault, answers
from dpm_ref.check.comparisons import Comparison
from dpm_ref.check.conventions import NAMES, Conventions
from dpm_ref.check.problems import Problem, posed
from dpm_ref.check.report import Report, Row
from dpm_ref.check.subjects import Setting, Subject, float32, named
from dpm_ref.check.verdicts import judged
from dpm_ref.schedules import Schedule, linear
from dpm_ref.validation import Array

__all__ = ["run"]

_SHAPES = ((5, 3), (3, 7), (4, 2), (3, 2))
Functions = Mapping[str, Any]


def run(functions: Functions | Callable[[Any], Functions], *, beta: npt.ArrayLike | None = None, prior: float = 0.5,
        data: npt.ArrayLike | None = None, rng: np.random.Generator | None = None, **conventions: Any) -> Report:
    """Hold someone's functions against the truth, under their conventions.

    Parameters
    ----------
    functions : mapping of names to callables, or a callable beta -> mapping
        Any of the names that `python -m dpm_ref.check --list` shows; each function is called with the arguments shown there, in
        that order. A table may be an array. A callable is handed schedules drawn here, shape (T,) in float64, and builds the
        functions for each: with it more is checked than one schedule can show.
    beta : array_like, shape (T,), optional
        The schedule of functions handed over as a mapping; needed where one of them reads a schedule.
    prior : float in (0, 1), dimensionless
        pi_1 of the binomial column.
    data : array_like, shape (m, ...), optional
        Vectors from which x^0 is taken, in place of drawn ones. Where they break a precondition the row is UNDEFINED.
    rng : numpy.random.Generator, optional
        Draws other inputs; without it they are the same in every run.
    conventions
        first_t, t_shape, spread, unit, components, dtype, shape, to_native, from_native: see `dpm_ref.check.conventions`.

    Returns
    -------
    Report
        One row for each equation; values in the user's unit.

    Raises
    ------
    ValueError
        If a name, a convention or another argument of this call is not what it can be. What the functions do raises nothing: it
        is in the report.

    Notes
    -----
    Table App.1, equations (9), (13), (14) and (24), sections 2.5 and 2.6.

    >>> report = run({"gaussian_entropy": lambda var: 0.5 * np.log(2 * np.pi * var).sum(-1)})
    >>> print(report.rows[0].status, report.rows[0].diagnoses)
    WRONG ('e missing: +1/2 in each component',)
    """
    declared = _declared(conventions)
    seed = 0 if rng is None else int(validation.generator(rng).integers(2**63))
    settings, mappings = _settings(functions, beta, validation.fraction("prior", prior), data, declared)
    if isinstance(mappings, str):
        return Report((Row("functions", "", "WRONG", message=mappings),))
    rows: list[Row] = []
    for name in mappings[0]:
        rows += _rows(name, [mapping.get(name) for mapping in mappings], settings, declared, seed)
    return Report(tuple(rows))


def _declared(conventions: dict[str, Any]) -> Conventions:
    unknown = sorted(set(conventions) - set(NAMES))
    if unknown:
        raise ValueError(f"conventions must be among {', '.join(NAMES)}, got {unknown[0]}")
    if isinstance(conventions.get("shape"), list):
        conventions = {**conventions, "shape": tuple(conventions["shape"])}
    return Conventions(**conventions)


def _settings(functions: Any, beta: npt.ArrayLike | None, prior: float, data: npt.ArrayLike | None,
              declared: Conventions) -> tuple[list[Setting], list[Functions] | str]:
    """The settings, and the functions for each; or what went wrong in making them."""
    drawn = callable(functions) and not isinstance(functions, Mapping)
    if not drawn and not isinstance(functions, Mapping):
        raise ValueError(f"functions must be a mapping of names to callables, or a callable beta -> mapping, got {functions!r}")
    if drawn and beta is None:
        betas = _schedules()
    else:
        betas = [Schedule(linear(8, first=0.05, last=0.5) if beta is None else beta).beta] * 2
    mappings = [functions] * len(betas)
    if drawn:
        try:
            mappings = [functions(declared.native(each)) for each in betas]
        except (Exception, SystemExit) as error:
            return [], f"building the functions raises {type(error).__name__}: {error}"
        for mapping in mappings:
            if not isinstance(mapping, Mapping):
                return [], f"building the functions gives {type(mapping).__name__}, where a mapping of names to callables is wanted"
    if not mappings[0]:
        raise ValueError("functions must hold at least one function, got none")
    needing = [name for name in mappings[0] if any(part.needs_schedule for part in named(name))]
    if needing and beta is None and not drawn:
        raise ValueError(f"beta must be given, the schedule that {needing[0]} computes with; or functions as a callable beta -> mapping")
    return [_setting(each, k, prior, data, declared) for k, each in enumerate(betas)], mappings


def _schedules() -> list[Array]:
    """Three short schedules, whose steps differ enough to tell mistakes apart, and DDPM's long one, in which digits are lost."""
    rng = np.random.default_rng(7)
    short = [float32(rng.uniform(0.05, 0.6, T)) for T in (7, 5, 9)]
    return [*short, float32(linear(1000, first=1e-4, last=0.02))]


def _setting(beta: Array, k: int, prior: float, data: npt.ArrayLike | None, declared: Conventions) -> Setting:
    shape = declared.shape or _SHAPES[k]
    rows = None
    if data is not None:
        array = validation.finite("data", data)
        inner = array.shape[1:] if declared.shape is None else declared.shape[1:]
        if array.ndim < 2 or array.shape[1:] != inner or array.size == 0:
            raise ValueError(f"data must have shape (m, {', '.join(map(str, inner)) or '...'}), got {array.shape}")
        rows = float32(array.reshape(len(array), -1))
        shape = declared.shape or (shape[0], *array.shape[1:])
    return Setting(beta, prior, shape[0], int(np.prod(shape[1:])), declared.t_shape == "batch", declared.shape is not None, rows)


def _rows(name: str, functions: list[Any], settings: list[Setting], declared: Conventions, seed: int) -> list[Row]:
    """The rows of one function: one, or several where it returns a tuple."""
    parts = named(name)
    found: list[list[Comparison]] = [[] for _ in parts]
    faults: list[list[str]] = [[] for _ in parts]
    for k, (function, setting) in enumerate(zip(functions, settings, strict=True)):
        rng = np.random.default_rng([seed, zlib.crc32(parts[0].name.encode()), k])
        for inputs in parts[0].draw(setting, rng):
            problems = [posed(part, setting, inputs, declared) for part in parts]
            given = answers(function, problems)
            for at, (problem, answer) in enumerate(zip(_as_returned(problems, len(given)), given, strict=False)):
                if isinstance(answer, Answer):
                    found[at].append(Comparison(problem, answer))
                else:
                    faults[at].append(_placed(answer, problem))
    told = [at for at in range(len(parts)) if found[at] or faults[at]] or [*range(len(parts))]
    return [_row(name if len(parts) == 1 else parts[at].name, parts[at], found[at], faults[at]) for at in told]


def _as_returned(problems: list[Problem], n: int) -> list[Problem]:
    """A mean, a variance and a log variance together: the second is a variance though log variances are declared."""
    if n == 3 and problems[1].subject.kind == "spread" and problems[1].conventions.spread == "logvar":
        return [problems[0], replace(problems[1], conventions=problems[1].under(spread="var")), problems[2]]
    return problems


def _placed(fault: Fault, problem: Problem) -> str:
    """What is wrong, and at which t if one only."""
    t = problem.inputs.t if "t" in problem.subject.arguments and not problem.subject.is_table else None
    if t is None or t.min() != t.max():
        return str(fault)
    counted = " (counted from 1)" if problem.conventions.first_t == 0 else ""
    return f"{fault}, at t = {int(t.max())} of {problem.setting.T}{counted}"


def _row(name: str, subject: Subject, comparisons: list[Comparison], faults: list[str]) -> Row:
    if faults:
        verdict = judged(comparisons) if comparisons else None
        diagnoses = verdict.diagnoses if verdict is not None and verdict.status == "WRONG" else ()
        share = "" if not comparisons else f" (in {len(faults)} of {len(faults) + len(comparisons)} calls)"
        return Row(name, subject.equation, "WRONG", diagnoses, faults[0] + share)
    verdict = judged(comparisons)
    if verdict.status == "UNDEFINED" or verdict.worst is None:
        return Row(name, subject.equation, "UNDEFINED", message=_why_undefined(subject, comparisons))
    comparison, at = verdict.worst
    wanted, got = float(comparison.problem.wanted[at]), float(comparison.answer.values[at])
    return Row(name, subject.equation, verdict.status, verdict.diagnoses, verdict.message, _described(comparison.problem, at), got, wanted,
               round(verdict.digits, 2))


def _why_undefined(subject: Subject, comparisons: list[Comparison]) -> str:
    """The precondition that fails."""
    if not comparisons:
        return "there is no such t: the schedule has one step"
    problem = comparisons[0].problem
    if subject.whole:
        diffusion = problem.setting.binomial if subject.name.startswith("binomial") else problem.setting.gaussian
        held = preconditions(diffusion, problem.inputs.x0)
        if subject.name == "binomial_eq14" and problem.setting.data is None:
            return f"no batch of {problem.setting.n} vectors of {problem.setting.d} bits has the prior's activity: declare another shape"
        if subject.name.endswith("eq14"):
            return f"equation (14) exceeds the mean of K by {held.eq14_excess:.6g} nats on these data"
        return f"the upper bound of (24) needs {held.statement}"
    return "nothing is defined at these inputs"


def _described(problem: Problem, at: tuple[int, ...]) -> dict[str, Any]:
    """The arguments that a value was computed from, as they were handed over: of its row, and its component if it has one."""
    described: dict[str, Any] = {"T": problem.setting.T} if problem.subject.needs_schedule else {}
    for name in problem.subject.arguments:
        described[name] = _part(problem, name, at)
    if problem.setting.T <= 16 and problem.subject.needs_schedule:
        described["beta"] = problem.setting.beta.tolist()
    described["at"] = list(at)
    return described


def _part(problem: Problem, name: str, at: tuple[int, ...]) -> Any:
    kind, value = problem.subject.kind_of(name), getattr(problem.inputs, name)
    if kind == "time":
        row = 0 if problem.subject.whole else at[0]
        return int(value[row, 0]) - 1 + problem.conventions.first_t
    array = problem.conventions.encode(kind, value)
    if name == "log_w":
        array = array[:, at[0]]
    elif not problem.subject.whole:
        array = array[..., at[0], :]
        array = array[..., at[1]] if len(at) > 1 else array
    return array.tolist() if array.size <= 64 else f"array of shape {array.shape}"

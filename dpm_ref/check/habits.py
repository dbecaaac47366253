"""Habits that lose digits though the mathematics is right, and how much error they can explain.

A habit, like a mistake, is a function of a `Problem` that yields what code with that habit returns; register one with `@habit`.
Those that change the value on purpose (`clipped`) explain it only where they reproduce it; the others, whose last digits depend
on the order of operations, where they explain most of the error.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1, for the tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dpm_ref.check.problems import Problem
from dpm_ref.check.rates import Rates, built_in, from_beta, perturbed, read_back
from dpm_ref.check.subjects import Subject
from dpm_ref.validation import Array

__all__ = ["Habit", "habit", "habits", "explained"]

Lossy = Callable[[Problem], Iterator[Array]]
_HABITS: dict[str, "Habit"] = {}


@dataclass(frozen=True)
class Habit:
    """A name, what code with the habit returns, and whether it changes values on purpose."""

    name: str
    lossy: Lossy
    concerns: Callable[[Subject], bool]
    clips: bool = False


def habit(name: str, *, schedule: bool = False, clips: bool = False) -> Callable[[Lossy], Lossy]:
    """Register a habit, of subjects that read a schedule or of all. Table App.1."""
    def register(lossy: Lossy) -> Lossy:
        _HABITS[name] = Habit(name, lossy, lambda subject: subject.needs_schedule or not schedule, clips)
        return lossy
    return register


def habits() -> dict[str, Habit]:
    """All habits by name, in their order. Table App.1."""
    return _HABITS


def _forms(p: Problem, rates: Rates, **changed: Any) -> Iterator[Array]:
    """What comes out of these tables, with the formula written in each of its forms."""
    for form in range(p.subject.forms):
        yield p.predict(rates=replace(rates, form=form), **changed)


@habit("tables built in float32: the running product and 1 - abar", schedule=True)
def _float32_tables(p: Problem) -> Iterator[Array]:
    for running in (np.float32, np.float64):
        yield from _forms(p, built_in(np.float32, p.setting.beta, running))


@habit("beta read back from the product, 1 - abar_t / abar_{t-1}, in float32", schedule=True)
def _read_back(p: Problem) -> Iterator[Array]:
    halved = replace(p.rates, beta=0.5 * p.rates.beta, alpha=0.5 * p.rates.alpha)
    reads = not np.array_equal(p.predict(), p.predict(rates=halved), equal_nan=True)
    for running in (np.float32, np.float64):
        rates = read_back(built_in(np.float32, p.setting.beta, running), np.float32)
        for values in (*_forms(p, rates), *_forms(p, rates.astype(np.float32), **_inputs(p, np.float32))):
            yield values if reads else np.full_like(values, np.nan)  # what reads no beta has no such habit


@habit("1 - abar taken by subtraction from an abar rounded to float32", schedule=True)
def _float32_abar(p: Problem) -> Iterator[Array]:
    s = p.rates
    abar, before = (np.asarray(table, dtype=np.float32).astype(np.float64) for table in (s.abar, s.before))
    yield from _forms(p, replace(s, abar=abar, before=before, lost=1.0 - abar, lost_before=1.0 - before))


@habit("beta rounded to float32", schedule=True)
def _float32_beta(p: Problem) -> Iterator[Array]:
    yield p.predict(rates=from_beta(p.setting.beta.astype(np.float32).astype(np.float64)))


@habit("1 - abar taken by subtraction from a running product in float64", schedule=True)
def _float64_tables(p: Problem) -> Iterator[Array]:
    yield p.predict(rates=from_beta(p.setting.beta))


@habit("the obvious formula, where its terms cancel")
def _obvious(p: Problem) -> Iterator[Array]:
    yield p.predict()


@habit("computed in float32")
def _float32_arithmetic(p: Problem) -> Iterator[Array]:
    yield from _forms(p, p.rates.astype(np.float32), **_inputs(p, np.float32))


@habit("tables built and formulas computed in float32", schedule=True)
def _all_float32(p: Problem) -> Iterator[Array]:
    for running in (np.float32, np.float64):
        yield from _forms(p, built_in(np.float32, p.setting.beta, running).astype(np.float32), **_inputs(p, np.float32))


@habit("tables or results rounded to float16")
def _float16(p: Problem) -> Iterator[Array]:
    yield p.predict().astype(np.float16).astype(np.float64)
    yield p.predict(rates=built_in(np.float16, p.setting.beta))


_SMALL = (1e-20, 1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


def _clip(name: str, keeps: Callable[[Any, float], Any]) -> None:
    @habit(name, clips=True)
    def _clipped(p: Problem) -> Iterator[Array]:
        for floor in _SMALL:
            if p.subject.kind == "spread":
                yield p.predict(formula=lambda s, i, c=floor: keeps(p.subject.formula(s, i), c))  # type: ignore[misc]
            elif "log_var" in p.subject.name:
                yield p.predict(formula=lambda s, i, c=floor: np.log(keeps(np.exp(p.subject.formula(s, i)), c)))  # type: ignore[misc]
            elif p.subject.kind in ("table", "prob"):
                yield keeps(p.predict(), floor)
            else:
                spreads = [name for name in p.subject.arguments if p.subject.kind_of(name) == "spread"]
                yield p.predict(**{name: keeps(getattr(p.inputs, name), floor) for name in spreads})


_clip("a variance, a table or a probability clipped from below", np.maximum)
_clip("a small constant added to a variance, a table or a probability", np.add)


@habit("a small constant added to every 1 - abar_t", schedule=True, clips=True)
def _noisy_data(p: Problem) -> Iterator[Array]:
    s = p.rates
    for var in _SMALL:  # data that come with this variance make q(x^t | x^{t-1}) wider too
        for beta in (s.beta, s.beta * (1.0 + var)):
            yield from _forms(p, replace(s, beta=beta, lost=s.lost + var, lost_before=s.lost_before + var))


@habit("a probability clipped at both ends", clips=True)
def _clipped_probability(p: Problem) -> Iterator[Array]:
    for floor in (1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3):
        if p.subject.kind == "prob":
            yield np.clip(p.predict(), floor, 1.0 - floor)
        else:
            names = [name for name in p.subject.arguments if name in ("q1", "p1")]
            yield p.predict(**{name: np.clip(getattr(p.inputs, name), floor, 1.0 - floor) for name in names})


def explained(p: Problem, wrong: Callable[[Problem], Array], eps: float) -> Array:
    """How far a value moves where tables are built, and values computed, in precision eps; the user's unit, shape of `wanted`. Table App.1.

    The largest of a dozen random moves of every entry of the tables, by as much as a running product can lose, doubled.
    """
    centre, rng = wrong(p), np.random.default_rng(0)
    size: Array = 64.0 * eps * np.maximum(p.size, np.nan_to_num(np.abs(centre), nan=0.0, posinf=0.0))
    if not p.subject.needs_schedule:
        return size
    with np.errstate(all="ignore"):
        moves = [np.abs(wrong(p.with_rates(perturbed(p.rates, eps, rng))) - centre) for _ in range(12)]
    return np.asarray(size + 2.0 * np.max(np.nan_to_num(moves, nan=0.0, posinf=0.0), 0))


def _inputs(p: Problem, dtype: npt.DTypeLike) -> dict[str, Any]:
    """The arguments, floating-point arrays among them in another dtype."""
    return {name: value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
            for name, value in vars(p.inputs).items()}

"""The library of known mistakes: what wrong code returns, each mistake a small named function.

A mistake takes a `Problem` and yields what code with that mistake returns; where there are several ways to make it, several
values. To add one, write such a function and register it under a name:

    @mistake("sign flipped")
    def _(p):
        yield -p.predict()

`of` restricts a mistake to subjects, `kinds` to kinds of results; one that changes nothing at all inputs is never reported.
This module holds what can happen to anything: to a result, a convention, an argument. `schedule_slips` holds what happens to
tables and times, `formula_slips` what happens to one formula.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, whose restatements have made many of these.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from dpm_ref.check.problems import Problem
from dpm_ref.check.subjects import Subject
from dpm_ref.validation import Array

__all__ = ["Mistake", "mistake", "mistakes"]

Wrong = Callable[[Problem], Iterator[Array]]
_MISTAKES: dict[str, "Mistake"] = {}
_HOMES = ("mistakes", "schedule_slips", "formula_slips", "bound_slips")


@dataclass(frozen=True)
class Mistake:
    """A name, the rule that says which subjects it concerns, and what wrong code returns."""

    name: str
    wrong: Wrong
    concerns: Callable[[Subject], bool]
    bends: bool = False  # a result goes through a curve, and rounding errors with it


def mistake(name: str, *, of: Iterable[str] = (), kinds: Iterable[str] = (), arguments: Iterable[str] = (),
            schedule: bool = False, bends: bool = False) -> Callable[[Wrong], Wrong]:
    """Register a mistake of these subjects, kinds of results, subjects with these arguments, or that read a schedule. Table App.1."""
    names, results, needed = frozenset(of), frozenset(kinds), frozenset(arguments)

    def concerns(subject: Subject) -> bool:
        return ((not names or subject.name in names) and (not results or subject.kind in results)
                and needed <= set(subject.arguments) and (not schedule or subject.needs_schedule))

    def register(wrong: Wrong) -> Wrong:
        known = _MISTAKES.get(name)
        if known is None:
            _MISTAKES[name] = Mistake(name, wrong, concerns, bends)
        else:
            _MISTAKES[name] = Mistake(name, lambda p: (wrong if concerns(p.subject) else known.wrong)(p),
                                      lambda subject: concerns(subject) or known.concerns(subject))
        return wrong
    return register


def mistakes() -> dict[str, Mistake]:
    """All mistakes by name, in their order. Table App.1."""
    for home in _HOMES:
        importlib.import_module(f"dpm_ref.check.{home}")
    return _MISTAKES


# Results


@mistake("twice as large: a factor 1/2 is missing, or a 2 too many")
def _twice(p: Problem) -> Iterator[Array]:
    yield 2.0 * p.predict()


@mistake("half as large: a factor 2 is missing, or a 1/2 too many")
def _half(p: Problem) -> Iterator[Array]:
    yield 0.5 * p.predict()


@mistake("sign flipped")
def _sign(p: Problem) -> Iterator[Array]:
    yield -p.predict()


@mistake("inverse: 1 / value", bends=True)
def _inverse(p: Problem) -> Iterator[Array]:
    yield 1.0 / p.predict()


@mistake("square root taken once too often", kinds=("table", "prob", "spread"), bends=True)
def _root(p: Problem) -> Iterator[Array]:
    yield np.sqrt(p.predict())


@mistake("square root forgotten: the square is returned", kinds=("table", "prob", "spread"), bends=True)
def _square(p: Problem) -> Iterator[Array]:
    yield p.predict() ** 2


@mistake("the logarithm is returned", kinds=("table", "prob"), bends=True)
def _log(p: Problem) -> Iterator[Array]:
    yield np.log(p.predict())


@mistake("the exponential is returned, the logarithm forgotten", kinds=("table", "state", "nats", "nats_row"), bends=True)
def _exp(p: Problem) -> Iterator[Array]:
    yield np.exp(p.predict())


@mistake("1 - p for p, or 1 - value", kinds=("table", "prob", "spread"))
def _complement(p: Problem) -> Iterator[Array]:
    yield 1.0 - p.predict()


@mistake("the logit is returned, the sigmoid forgotten", kinds=("prob",), bends=True)
def _logit(p: Problem) -> Iterator[Array]:
    value = p.predict()
    yield np.log(value) - np.log(1.0 - value)


# Conventions


_INFORMATION = ("nats", "nats_row", "slope", "slope_spread")


@mistake("log2 for ln: bits where nats are declared", kinds=_INFORMATION)
def _bits(p: Problem) -> Iterator[Array]:
    yield p.predict(conventions=p.under(unit="bits"))


@mistake("ln for log2: nats where bits are declared", kinds=_INFORMATION)
def _nats(p: Problem) -> Iterator[Array]:
    yield p.predict(conventions=p.under(unit="nats"))


@mistake("converted to bits the wrong way: times ln 2 where it is divided", kinds=_INFORMATION)
def _wrong_way(p: Problem) -> Iterator[Array]:
    yield np.log(2.0) * p.predict(conventions=p.under(unit="nats"))


@mistake("log10 for ln", kinds=(*_INFORMATION, "table"))
def _log10(p: Problem) -> Iterator[Array]:
    if p.subject.kind != "table" or "log" in p.subject.name:
        yield p.predict() / np.log(10.0)


@mistake("mean over components where the sum is declared", kinds=("nats", "slope", "slope_spread"))
def _mean(p: Problem) -> Iterator[Array]:
    if p.conventions.components == "sum":
        yield p.predict(conventions=p.under(components="mean"))


@mistake("sum over components where the mean is declared", kinds=("nats", "slope", "slope_spread"))
def _sum(p: Problem) -> Iterator[Array]:
    if p.conventions.components == "mean":
        yield p.predict(conventions=p.under(components="sum"))


_WORDS = {"var": "variance", "std": "standard deviation", "logvar": "log variance"}


def _spread_mistakes(meant: str, done: str) -> None:
    @mistake(f"{_WORDS[done]} returned where the {_WORDS[meant]} is declared", kinds=("spread", "slope_spread"))
    def _returned(p: Problem) -> Iterator[Array]:
        if p.conventions.spread == meant:
            yield p.predict(conventions=p.under(spread=done))

    @mistake(f"{_WORDS[meant]} handed over, taken for a {_WORDS[done]}")
    def _taken(p: Problem) -> Iterator[Array]:
        if p.conventions.spread == meant and any(p.subject.kind_of(name) == "spread" for name in p.subject.arguments):
            yield p.read_as(spread=done)


for _meant in _WORDS:
    for _done in _WORDS:
        if _done != _meant:
            _spread_mistakes(_meant, _done)


@mistake("log weights handed over in bits, taken for nats, or the reverse", arguments=("log_w",))
def _weights_unit(p: Problem) -> Iterator[Array]:
    yield p.read_as(unit="bits" if p.conventions.unit == "nats" else "nats")


# Arguments


_PAIRS = (("x0", "xt"), ("x0", "noise"), ("xt", "eps"), ("mean", "noise"), ("mean", "var"), ("mean", "y"), ("var", "var_y"),
          ("log_r1", "log_r0"), ("mean_q", "mean_p"), ("var_q", "var_p"))


def _swap_mistake(first: str, second: str) -> None:
    @mistake(f"{first} and {second} swapped", arguments=(first, second))
    def _swapped(p: Problem) -> Iterator[Array]:
        yield p.predict(**{first: getattr(p.inputs, second), second: getattr(p.inputs, first)})


for _first, _second in _PAIRS:
    _swap_mistake(_first, _second)


@mistake("KL reversed: KL(p || q)", of=("gaussian_kl", "gaussian_kl_grad_mean", "gaussian_kl_grad_var"))
def _reversed_gaussian(p: Problem) -> Iterator[Array]:
    i = p.inputs
    yield p.predict(mean_q=i.mean_p, var_q=i.var_p, mean_p=i.mean_q, var_p=i.var_q)


@mistake("KL reversed: KL(p || q)", of=("bernoulli_kl", "bernoulli_kl_grad"))
def _reversed_bits(p: Problem) -> Iterator[Array]:
    yield p.predict(q1=p.inputs.p1, p1=p.inputs.q1)


def _sign_mistake(name: str) -> None:
    @mistake(f"sign of {name} flipped", arguments=(name,))
    def _flipped(p: Problem) -> Iterator[Array]:
        yield p.predict(**{name: -getattr(p.inputs, name)})

    @mistake(f"{name} left out", arguments=(name,))
    def _left_out(p: Problem) -> Iterator[Array]:
        yield p.predict(**{name: 0.0 * getattr(p.inputs, name)})


for _name in ("noise", "eps", "grad_log_r"):
    _sign_mistake(_name)


def _flip_mistake(name: str) -> None:
    @mistake(f"0 and 1 of {name} exchanged", arguments=(name,))
    def _exchanged(p: Problem) -> Iterator[Array]:
        if p.subject.kind == "prob" or name in ("bit", "p1", "q1"):
            yield p.predict(**{name: 1.0 - getattr(p.inputs, name)})


for _name in ("x_prev", "x0", "xt", "bit", "p1", "q1"):
    _flip_mistake(_name)

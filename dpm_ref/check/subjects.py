"""What can be checked: for each subject its arguments, how they are drawn, its textbook formula, and the truth.

A subject's function is called with its arguments in the order of `arguments`. The truth is `dpm_ref`'s; the formula is the
textbook's over plain tables (`Rates`), and serves to make mistakes of, never as the truth. Both give every component by itself,
shape (n, d), in the paper's terms: the conventions do the rest. nan in a truth means that nothing is defined there.

Other names are understood: those of DDPM's code (`q_sample`, `posterior_mean_coef1`, `normal_kl`), and names of several subjects
at once (`posterior` returns a mean and a variance).

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1, equations (9), (14) and (24), section 2.5.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from dpm_ref.binomial import BinomialDiffusion
from dpm_ref.check.rates import Rates, exact
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.validation import Array

__all__ = ["Setting", "Subject", "Inputs", "subject", "subjects", "named", "ALIASES", "float32"]

Inputs = SimpleNamespace
Formula = Callable[[Any, Any], Any]
Draw = Callable[["Setting", np.random.Generator], Iterator[Inputs]]

_KINDS = {"t": "time", "var": "spread", "var_q": "spread", "var_p": "spread", "vars": "spread", "var_y": "spread", "log_w": "nats"}
_HOMES = ("tables", "gaussian", "information", "bound", "bits")
_SUBJECTS: dict[str, "Subject"] = {}
ALIASES: dict[str, tuple[str, ...]] = {}


@dataclass(frozen=True, eq=False)
class Setting:
    """A schedule, a shape of batch and, if the user gave any, data: what inputs are drawn for."""

    beta: Array
    pi1: float
    n: int
    d: int
    batch_t: bool = False
    fixed_n: bool = False
    data: Array | None = None

    @cached_property
    def gaussian(self) -> GaussianDiffusion:
        return GaussianDiffusion(self.beta)

    @cached_property
    def binomial(self) -> BinomialDiffusion:
        return BinomialDiffusion(self.beta, self.pi1)

    @cached_property
    def rates(self) -> Rates:
        return exact(self.gaussian)

    @property
    def T(self) -> int:
        return self.beta.size

    def times(self, first: int, rng: np.random.Generator) -> list[Array]:
        """Arrays (n,) of times first..T, one for each call: the edges, and some between; all alike unless t comes in batches."""
        edges = [t for t in dict.fromkeys([first, first + 1, 2, 3, self.T - 1, self.T]) if first <= t <= self.T]
        if not edges:
            return []
        wanted = edges + rng.integers(first, self.T + 1, size=2).tolist()
        if not self.batch_t:
            return [np.full(self.n, t) for t in dict.fromkeys(wanted)]
        calls = -(-len(wanted) // self.n) + 1
        extra = rng.integers(first, self.T + 1, size=calls * self.n - len(wanted))
        return list(rng.permutation(np.concatenate([wanted, extra]).astype(np.int64)).reshape(calls, self.n))

    def states(self, rng: np.random.Generator, *leading: int, bits: bool = False) -> Array:
        """Vectors (..., n, d), the user's data if there are any: a row of them for each of the n."""
        if self.data is not None:
            return self.data[rng.integers(len(self.data), size=(*leading, self.n))]
        if bits:
            return (rng.random((*leading, self.n, self.d)) < 0.5).astype(np.float64)
        return float32(rng.standard_normal((*leading, self.n, self.d)))


@dataclass(frozen=True, eq=False)
class Subject:
    """One thing that can be checked; see the module's docstring."""

    name: str
    equation: str
    summary: str
    arguments: tuple[str, ...]
    kind: str
    truth: Formula  # (setting, inputs) -> (n, d)
    formula: Formula  # (rates, inputs) -> (n, d)
    draw: Draw
    size: Formula | None = None  # (rates, inputs) -> scale of rounding errors, (n, d)
    whole: bool = False  # one result for the whole batch
    is_table: bool = False
    needs_schedule: bool = True
    forms: int = 1  # equal ways to write the formula, told apart by `Rates.form`

    @staticmethod
    def kind_of(argument: str) -> str:
        """time, spread, nats or state."""
        return _KINDS.get(argument, "state")

    def value(self, formula: Formula, source: Any, inputs: Inputs) -> Array:
        """A formula's value in float64, whatever it divides by; elementwise (n, d), the paper's unit. Table App.1."""
        with np.errstate(all="ignore"):
            return np.asarray(formula(source, inputs))

    def scale(self, rates: Rates, inputs: Inputs, value: Array) -> Array:
        """The scale of rounding errors, elementwise (n, d): the sum of the terms' absolute values where terms cancel. Table App.1."""
        if self.size is None:
            return np.abs(value)
        return np.maximum(np.abs(value), self.value(self.size, rates, inputs))


def subject(name: str, equation: str, summary: str, arguments: str, kind: str, *, draw: Draw, truth: Formula, formula: Formula,
            aliases: Sequence[str] = (), **more: Any) -> None:
    """Register a subject under its name and aliases; arguments as one string, "x0 xt t". Table App.1."""
    _SUBJECTS[name] = Subject(name, equation, summary, tuple(arguments.split()), kind, truth, formula, draw, **more)
    for alias in aliases:
        ALIASES[alias] = (name,)


def subjects() -> dict[str, Subject]:
    """All subjects by name, in their order. Table App.1."""
    for home in _HOMES:
        importlib.import_module(f"dpm_ref.check.about_{home}")
    return _SUBJECTS


def named(name: str) -> tuple[Subject, ...]:
    """The subjects that a name of a function stands for: several where it returns a tuple; ValueError for an unknown name. Table App.1."""
    known = subjects()
    if name not in known and name not in ALIASES:
        import difflib
        near = difflib.get_close_matches(str(name), [*known, *ALIASES], 3, 0.5)
        raise ValueError(f"functions must have names that can be checked, got {name!r}"
                         + (f"; near it: {', '.join(near)}" if near else "; python -m dpm_ref.check --list shows all"))
    return tuple(known[part] for part in ALIASES.get(name, (name,)))


def float32(array: Array) -> Array:
    """Numbers that float32 holds exactly, as float64; shape and unit unchanged. Section 2.1."""
    return np.asarray(array, dtype=np.float32).astype(np.float64)

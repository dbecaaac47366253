"""One call of someone's function: what it is given, what it should return, and what it would return under a changed formula.

A mistake is a function of a `Problem`: it bends the formula, the tables, the arguments or the conventions, and `predict` says
what comes out. Everything predicted is laid out as `wanted`: components flat, the user's units.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from dpm_ref.check.conventions import Conventions
from dpm_ref.check.rates import Rates
from dpm_ref.check.subjects import Formula, Inputs, Setting, Subject, float32
from dpm_ref.validation import Array

__all__ = ["Problem", "posed"]


def posed(subject: Subject, setting: Setting, inputs: Inputs, conventions: Conventions) -> "Problem":
    """The problem, its variances and weights as they read back after the user's convention is held in float32. Section 2.1."""
    known = dict(vars(inputs))
    for name in subject.arguments:
        kind = subject.kind_of(name)
        if kind in ("spread", "nats"):
            known[name] = conventions.decode(kind, float32(conventions.encode(kind, known[name])))
    return Problem(subject, setting, Inputs(**known), conventions, setting.rates)


@dataclass(frozen=True, eq=False)
class Problem:
    """A subject at given inputs under the user's conventions."""

    subject: Subject
    setting: Setting
    inputs: Inputs
    conventions: Conventions
    rates: Rates
    nudge: float = 0.0  # what predictions are off by, in units of `size`: how far rounding errors go through a mistake

    @cached_property
    def wanted(self) -> Array:
        """The truth as the user should return it, components flat; nan where nothing is defined. Table App.1."""
        with np.errstate(all="ignore"):
            truth = np.asarray(self.subject.truth(self.setting, self.inputs))
        return self._presented(truth, self.conventions, self.inputs)

    @cached_property
    def size(self) -> Array:
        """The scale of rounding errors of each value wanted, in the user's unit. Table App.1."""
        value = self.subject.value(self.subject.formula, self.rates, self.inputs)
        size = np.broadcast_to(self.subject.scale(self.rates, self.inputs, value), value.shape)
        var = getattr(self.inputs, "var_p", None)
        return np.maximum(self.conventions.size(self.subject.kind, size, value, var), np.finfo(np.float32).tiny)

    @property
    def t(self) -> Any:
        """The time of each row of values, shape (n,), or None where there is no single one. Section 2.1."""
        return self.inputs.t[:len(self.wanted), 0] if "t" in self.subject.arguments and self.wanted.ndim else None

    def predict(self, *, formula: Formula | None = None, rates: Rates | None = None, conventions: Conventions | None = None,
                **changed: Any) -> Array:
        """What comes out with another formula, other tables, conventions or arguments; laid out as `wanted`, its unit. Table App.1."""
        inputs = Inputs(**{**vars(self.inputs), **changed})
        value = self.subject.value(formula or self.subject.formula, rates or self.rates, inputs)
        presented = self._presented(value, conventions or self.conventions, inputs)
        return presented + self.nudge * self.size if self.nudge else presented

    def under(self, **conventions: Any) -> Conventions:
        """The user's conventions with some changed; no unit. Section 2.1."""
        return replace(self.conventions, **conventions)

    def read_as(self, **conventions: Any) -> Array:
        """What comes out where the arguments, written in the user's convention, are read in another; the user's unit. Section 2.1."""
        other, changed = self.under(**conventions), dict[str, Any]()
        for name in self.subject.arguments:
            kind, value = self.subject.kind_of(name), getattr(self.inputs, name)
            if kind in ("spread", "nats"):
                with np.errstate(all="ignore"):
                    changed[name] = other.decode(kind, self.conventions.encode(kind, value))
        return self.predict(**changed)

    def with_rates(self, rates: Rates) -> "Problem":
        """The same problem whose formulas read other tables; no unit. Table App.1."""
        return replace(self, rates=rates)

    def nudged(self, by: float) -> "Problem":
        """The same problem whose predictions are off by a multiple of `size`; no unit. Table App.1."""
        return replace(self, nudge=by)

    def _presented(self, value: Array, conventions: Conventions, inputs: Inputs) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(conventions.present(self.subject.kind, value, getattr(inputs, "var_p", None)), dtype=np.float64)

    # what passes to and from the user's function

    @property
    def components(self) -> tuple[int, ...]:
        """The shape of one vector in the user's arrays. Section 2.1."""
        return (self.setting.d,) if self.conventions.shape is None else self.conventions.shape[1:]

    @property
    def native_shape(self) -> tuple[int, ...]:
        """The shape that the user's result should have. Section 2.1."""
        shape = self.wanted.shape
        if self.subject.is_table or self.subject.kind == "nats_row":
            return shape
        return (() if self.subject.whole else shape[:1]) + (self.components if len(shape) == 2 else ())

    def arguments(self) -> list[Any]:
        """The arguments in their order and the user's shapes and conventions: NumPy arrays, and an int for one t. Section 2.1."""
        return [self._argument(name) for name in self.subject.arguments]

    def _argument(self, name: str) -> Any:
        kind, value = self.subject.kind_of(name), getattr(self.inputs, name)
        if kind == "time":
            t = value[:, 0] - 1 + self.conventions.first_t
            one = self.subject.whole or (self.conventions.t_shape == "scalar" and not self.subject.is_table)
            return int(t[0]) if one else t
        array = self.conventions.encode(kind, value)
        if kind != "nats":
            array = array.reshape(*array.shape[:-1], *self.components)
        return array.astype(self.conventions.floating)

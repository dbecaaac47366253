"""A quantity at given inputs; what was returned for it beside what is wanted, and how far apart the
two may be.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .conventions import EPS, Conventions
from .expressions import Context, Expr, error_of, value_of
from .inputs import Setting
from .quantities import Quantity, kind_of, right

__all__ = ["DEGENERATE", "LARGEST", "RELATIVE", "Answer", "Problem"]

RELATIVE = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2, "bfloat16": 0.05}
# tables whose entry at t = 1 is a choice
DEGENERATE = (
    "posterior_variance",
    "posterior_log_variance",
    "posterior_coefficient_x0",
    "posterior_coefficient_xt",
)
LARGEST = 0.03  # of a value, what lost digits may take


@dataclass(eq=False)
class Problem(Context):
    """A quantity at given inputs, written in the user's conventions."""

    quantity: Quantity
    setting: Setting
    conventions: Conventions

    @classmethod
    def of(cls, q: Quantity, s: Setting, inputs: dict[str, Any]) -> "Problem":
        c, written = s.conventions, dict(inputs)
        for name, value in inputs.items():
            if value is not None and kind_of(name) in ("var", "nats"):
                written[name] = c.write(kind_of(name), value)
        batch = len(inputs.get("x0", range(s.n))), s.d
        return cls(written, s.tables, batch, right(q, c), q, s, c)

    @property
    def end(self) -> bool:
        return bool(self.inputs.get("end"))

    def returned(self, reduced: str) -> tuple[int, ...]:
        """The shape of a result, where its components are so reduced."""
        q = self.quantity
        if q.kind in ("table", "nats_row"):
            return (self.tables.T if q.kind == "table" else self.setting.n,)
        inner = () if q.kind == "nats" and reduced != "none" else self.setting.components
        return inner if q.whole else (self.batch[0], *inner)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The same over vectors: a column for a table, one row for a batch."""
        q, c = self.quantity, self.conventions
        lead = 1 if q.whole else self.returned("sum")[0]
        if q.kind == "nats_row" or (q.kind == "nats" and c.components != "none"):
            return (lead,)
        return (lead, 1 if q.kind == "table" else self.setting.d)

    def value(self, tree: Expr) -> Any:
        """What a formula gives."""
        with np.errstate(all="ignore"):
            return np.broadcast_to(value_of(tree, self), self.shape)

    def error(self, tree: Expr, lossy: bool = False) -> Any:
        """The scale of its rounding errors; in lossy tables, of all errors."""
        with np.errstate(all="ignore"):
            value = np.abs(self.value(tree))
            error = np.broadcast_to(error_of(tree, self, lossy), self.shape)
            known = np.where(np.isfinite(value), value, 0.0)
            return np.maximum(np.where(np.isfinite(error), error, known), 1e-38)

    @cached_property
    def wanted(self) -> Any:
        return self.value(self.trees[0])

    @cached_property
    def size(self) -> Any:
        return self.error(self.trees[0])


@dataclass(frozen=True, eq=False)
class Answer:
    """What was returned for a problem."""

    problem: Problem
    got: Any
    dtype: str

    @cached_property
    def defined(self) -> Any:
        """Where there is something to compare: at the ends of ranges an infinity is a value too."""
        p = self.problem
        known = ~np.isnan(p.wanted) if p.end else np.isfinite(p.wanted)
        return known & (p.inputs["t"] > 1) if p.quantity.name in DEGENERATE else known

    @cached_property
    def error(self) -> Any:
        wanted = self.problem.wanted
        with np.errstate(all="ignore"):
            off = np.where(self.got == wanted, 0.0, np.abs(self.got - wanted))
        return np.where(self.defined, np.nan_to_num(off, nan=np.inf, posinf=np.inf), 0.0)

    @cached_property
    def allowed(self) -> Any:
        return RELATIVE[self.problem.conventions.dtype] * self.problem.size

    @cached_property
    def ratio(self) -> Any:
        """The error in units of what a PASS allows."""
        with np.errstate(all="ignore"):
            return np.minimum(self.error / self.allowed, 1e300)

    @cached_property
    def misses(self) -> Any:
        return self.error > self.allowed

    @cached_property
    def eps(self) -> float:
        return max(EPS["float32"], EPS[self.dtype], EPS[self.problem.conventions.dtype])

    def lost(self, tree: Expr) -> Any:
        """The errors that tables and arithmetic in a lower precision explain."""
        return 8.0 * self.eps * self.problem.error(tree, lossy=True)

    @cached_property
    def blurred(self) -> Any:
        most = np.max([self.lost(tree) for tree in self.problem.trees], 0)
        return np.minimum(most, (LARGEST + 4 * self.eps) * self.problem.size)

    def reproduced(self, values: Any, tolerance: Any) -> bool:
        with np.errstate(all="ignore"):
            near = (np.abs(self.got - values) <= tolerance) | (self.got == values)
        most = 1e38 if self.dtype != "float64" else 1e300
        same_sign = np.sign(self.got) == np.sign(values)
        near |= np.isinf(self.got) & (np.abs(values) > most) & same_sign
        near |= np.isnan(self.got) & (np.isnan(values) | self.problem.end)
        return bool((near | ~self.defined).all())

    def fits(self, tree: Expr, loose: bool = False) -> bool:
        """Whether the formula gives every value, to the digits computed or, loosely, to those that
        a lower precision leaves.
        """
        values, got = self.problem.value(tree), np.nan_to_num(np.abs(self.got), posinf=0.0)
        most = (LARGEST if loose else 1e-3) * (self.problem.size + got)
        if not self.reproduced(values, most):
            return False
        tolerance = self.lost(tree) if loose else 4 * self.relative * self.problem.error(tree)
        return self.reproduced(values, np.minimum(tolerance, most))

    @property
    def relative(self) -> float:
        """Of the coarser of the types that were declared and returned."""
        return max(RELATIVE[self.problem.conventions.dtype], RELATIVE[self.dtype])

    def tells(self, tree: Expr) -> bool:
        """Whether the change moves a value by more than lost digits do."""
        values, size = self.problem.value(tree), self.problem.error(tree)
        least = np.maximum(8 * self.relative * np.maximum(size, self.problem.size), self.blurred)
        with np.errstate(all="ignore"):
            off = np.abs(values - self.problem.wanted)
        return bool((self.defined & ~(off <= least)).any())

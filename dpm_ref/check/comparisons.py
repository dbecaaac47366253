"""What was returned beside what is wanted, and how far apart the two may be."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .calls import Answer, Problem
from .conventions import EPS
from .expressions import Expr

__all__ = ["DEGENERATE", "LARGEST", "RELATIVE", "Comparison"]

RELATIVE = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2, "bfloat16": 0.05}
# tables whose entry at t = 1 is a choice
DEGENERATE = (
    "posterior_variance",
    "posterior_log_variance",
    "posterior_coefficient_x0",
    "posterior_coefficient_xt",
)
LARGEST = 0.03  # of a value, what lost digits may take


@dataclass(frozen=True, eq=False)
class Comparison:
    answer: Answer

    @property
    def problem(self) -> Problem:
        return self.answer.problem

    @property
    def got(self) -> Any:
        return self.answer.got

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
        return max(EPS["float32"], EPS[self.answer.dtype], EPS[self.problem.conventions.dtype])

    def lost(self, tree: Expr) -> Any:
        """The errors that tables and arithmetic in a lower precision explain."""
        return 8.0 * self.eps * self.problem.error(tree, lossy=True)

    @cached_property
    def blurred(self) -> Any:
        most = np.max([self.lost(tree) for tree in self.problem.trees], 0)
        return np.minimum(most, (LARGEST + 4 * self.eps) * self.problem.size)

    @cached_property
    def scale(self) -> Any:
        return np.abs(self.problem.size) + np.nan_to_num(np.abs(self.got), nan=0.0, posinf=0.0)

    def reproduced(self, values: Any, tolerance: Any) -> bool:
        with np.errstate(all="ignore"):
            near = (np.abs(self.got - values) <= tolerance) | (self.got == values)
        most = 1e38 if self.answer.dtype != "float64" else 1e300
        same_sign = np.sign(self.got) == np.sign(values)
        near |= np.isinf(self.got) & (np.abs(values) > most) & same_sign
        near |= np.isnan(self.got) & (np.isnan(values) | self.problem.end)
        return bool((near | ~self.defined).all())

    def fits(self, tree: Expr, loose: bool = False) -> bool:
        values, most = self.problem.value(tree), (LARGEST if loose else 1e-3) * self.scale
        if not self.reproduced(values, most):
            return False
        tolerance = self.lost(tree) if loose else 4 * self.relative * self.problem.error(tree)
        return self.reproduced(values, np.minimum(tolerance, most))

    @property
    def relative(self) -> float:
        """Of the coarser of the types that were declared and returned."""
        return max(RELATIVE[self.problem.conventions.dtype], RELATIVE[self.answer.dtype])

    def tells(self, tree: Expr) -> bool:
        """Whether the change moves a value by more than lost digits do."""
        values, size = self.problem.value(tree), self.problem.error(tree)
        least = np.maximum(8 * self.relative * np.maximum(size, self.problem.size), self.blurred)
        with np.errstate(all="ignore"):
            off = np.abs(values - self.problem.wanted)
        return bool((self.defined & ~(off <= least)).any())

"""The report: one row for an equation, text when printed, plain data for JSON.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585; each row names its equation.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Row", "Report", "STATUSES"]

STATUSES = ("PASS", "PRECISION", "WRONG", "UNDEFINED")


@dataclass(frozen=True)
class Row:
    """The verdict on one function.

    name, equation : what was checked
    status : PASS, PRECISION, WRONG or UNDEFINED
    diagnoses : the known mistakes that reproduce every value, or, for PRECISION, the habits that lose the digits
    message : what else is to be said
    worst_input : the arguments of the worst value, as they were handed over, with T and the place of the value
    got, wanted : that value, and the truth; None where there is none
    digits : the decimal digits that are right, relative to the terms the value is summed from; None where there is none
    """

    name: str
    equation: str
    status: str
    diagnoses: tuple[str, ...] = ()
    message: str = ""
    worst_input: dict[str, Any] = field(default_factory=dict)
    got: float | None = None
    wanted: float | None = None
    digits: float | None = None

    def __str__(self) -> str:
        head = f"{self.status:<9} {self.name:<28} {self.equation:<12} "
        parts = []
        if self.status in ("WRONG", "PRECISION") and self.got is not None:
            place = ", ".join(f"{name} = {value}" for name, value in self.worst_input.items() if name in ("t", "T"))
            parts.append(f"got {self.got:.9g}, wanted {self.wanted:.9g}" + (f" at {place}" if place else ""))
        if self.status in ("PASS", "PRECISION") and self.digits is not None:
            parts.append(f"{self.digits:.1f} digits")
        if self.diagnoses:
            parts.append(("looks like: " if self.status == "WRONG" else "") + " | ".join(self.diagnoses))
        if self.message:
            parts.append(self.message)
        return (head + "; ".join(parts)).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data, ready for JSON; values in the user's unit, None for nan and infinity. The equation is in it."""
        numbers = {name: value if value is not None and math.isfinite(value) else None
                   for name, value in (("got", self.got), ("wanted", self.wanted), ("digits", self.digits))}
        return {"name": self.name, "equation": self.equation, "status": self.status, "diagnoses": list(self.diagnoses),
                "message": self.message, "worst_input": self.worst_input, **numbers}


@dataclass(frozen=True)
class Report:
    """All rows, in the order of the functions handed over; printed, one line each."""

    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether every row is PASS or UNDEFINED, and at least one PASS."""
        return all(row.status in ("PASS", "UNDEFINED") for row in self.rows) and any(row.status == "PASS" for row in self.rows)

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def assert_ok(self, *, allow: Iterable[str] = ()) -> None:
        """For a test suite: AssertionError, with the rows that fail, unless every row is PASS, UNDEFINED or of a status in `allow`.

        Parameters
        ----------
        allow : iterable of str
            Statuses to let through besides, such as ["PRECISION"] for code that computes its tables in float32.

        Raises
        ------
        ValueError
            If a status does not exist, or is WRONG, which nothing should let through.
        AssertionError
            If a row fails, or none is of a status that says that something was right.

        Notes
        -----
        No shape, no unit; each row has its equation.
        """
        allowed = tuple(allow)
        for status in allowed:
            if status not in STATUSES or status == "WRONG":
                raise ValueError(f"allow must hold statuses among PASS, PRECISION and UNDEFINED, got {status!r}")
        failing = [row for row in self.rows if row.status not in ("PASS", "UNDEFINED", *allowed)]
        if failing:
            raise AssertionError("\n".join(map(str, failing)))
        if not any(row.status in ("PASS", *allowed) for row in self.rows):
            raise AssertionError("nothing was held against anything:\n" + str(self))

    def __str__(self) -> str:
        return "\n".join(map(str, self.rows))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON: `ok` and `rows`; values in the user's unit. Each row has its equation."""
        return {"ok": self.ok, "rows": [row.to_dict() for row in self.rows]}

"""The report: one row per quantity; text when printed, plain data for JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["STATUSES", "Report", "Row"]

STATUSES = ("PASS", "PRECISION", "WRONG", "UNDEFINED")


@dataclass(frozen=True, repr=False)
class Row:
    """The verdict on one function; `digits` of a PASS are relative to the terms of the value."""

    name: str
    equation: str
    status: str
    diagnoses: tuple[str, ...] = ()
    message: str = ""
    worst_input: dict[str, Any] = field(default_factory=dict)
    got: float | None = None
    wanted: float | None = None
    digits: float | None = None
    summary: str = ""

    def __str__(self) -> str:
        said, known = [], self.worst_input
        if self.status in ("WRONG", "PRECISION") and self.got is not None:
            place = f" at t = {known['t']}" if "t" in known else ""
            place += f" (T = {known['T']})" if "T" in known else ""
            said.append(f"{self.summary}{place}: got {self.got:.9g}, wanted {self.wanted:.9g}")
        if self.status in ("PASS", "PRECISION") and self.digits is not None:
            agree = " agree" if self.status == "PRECISION" else ""
            said.append(f"{max(self.digits, 0.0):.1f} digits{agree}")
        if self.diagnoses:
            like = "looks like: " if self.status == "WRONG" else ""
            said.append(like + " | ".join(self.diagnoses))
        words = "; ".join([*said, self.message] if self.message else said)
        return f"{self.status:<9} {self.name:<28} {self.equation:<12} {words}".rstrip()

    def __repr__(self) -> str:
        return f"<Row {self.name} {self.status}>"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; numbers that JSON does not have are None."""
        made = asdict(self) | {"diagnoses": list(self.diagnoses)}
        for name in ("got", "wanted", "digits"):
            if made[name] is not None and not math.isfinite(made[name]):
                made[name] = None
        return made


@dataclass(frozen=True, repr=False)
class Report:
    rows: tuple[Row, ...]
    header: str = ""  # the prior and the schedule

    @property
    def ok(self) -> bool:
        """Whether every row is PASS or UNDEFINED, and at least one PASS."""
        statuses = {row.status for row in self.rows}
        return statuses <= {"PASS", "UNDEFINED"} and "PASS" in statuses

    def __getitem__(self, name: str) -> Row:
        return {row.name: row for row in self.rows[::-1]}[name]

    def assert_ok(self, *, allow: Sequence[str] = ()) -> None:
        """AssertionError with the failing rows, unless every row is PASS, UNDEFINED or of a status
        in `allow`: WRONG always fails, and PRECISION unless it is allowed.
        """
        for status in allow:
            if status not in STATUSES or status == "WRONG":
                raise ValueError(
                    f"allow must hold statuses among PASS, PRECISION and UNDEFINED, got {status!r}"
                )
        failing = [row for row in self.rows if row.status not in ("PASS", "UNDEFINED", *allow)]
        if failing:
            raise AssertionError("\n".join(map(str, failing)))
        if not any(row.status in ("PASS", *allow) for row in self.rows):
            raise AssertionError("nothing was compared:\n" + str(self))

    def __str__(self) -> str:
        return "\n".join(map(str, self.rows))

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{n} {s}" for s in STATUSES if (n := sum(row.status == s for row in self.rows))
        )
        return f"<Report {counts}>"

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "header": self.header, "rows": [row.to_dict() for row in self.rows]}

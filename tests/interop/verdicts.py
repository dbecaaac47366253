"""What the check says of other people's implementations: the cases that the tests of `tests/interop` assert, printed as a table.

    python tests/interop/verdicts.py

A case is what a user would write: functions, in the names of `dpm_ref.check`, and the conventions of the library. With them
stands what is true of each function and therefore must be said: a status, and the diagnosis among those given.
"""

import functools
import importlib
import importlib.metadata
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dpm_ref import check

LIBRARIES = ("diffusers", "azula")
README = (Path(__file__).parents[2] / "README.md").read_text()
Said = tuple[str, str]  # a status and a diagnosis, or a part of the message; "" where there is none
PASS: Said = ("PASS", "")


class Case(NamedTuple):
    what: str
    functions: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]
    said: dict[str, Said]
    conventions: dict[str, Any]
    note: str = ""


def precision(habit: str) -> Said:
    return "PRECISION", habit


def wrong(mistake: str) -> Said:
    return "WRONG", mistake


@functools.cache
def _report(library: str, name: str) -> check.Report:
    case = importlib.import_module(f"test_{library}").CASES[name]
    return check.run(case.functions, **{"to_native": torch.from_numpy, **case.conventions})


def rows(library: str, name: str) -> tuple[check.Row, ...]:
    """The rows of the report on a case; made once."""
    return _report(library, name).rows


def agrees(row: check.Row, said: Said) -> bool:
    """Whether a row has the status, and the diagnosis among others or the words in its message."""
    status, why = said
    return row.status == status and (not why or why in row.diagnoses or why in row.message)


def seeded(like: torch.Tensor) -> torch.Tensor:
    """The noise that PyTorch's own generator gives after the seed 0."""
    torch.manual_seed(0)
    return torch.randn_like(like)


def lines(library: str) -> list[str]:
    """The table's lines: the functions that a verdict holds for, cases that follow each other with the same one in one line."""
    kinds: dict[tuple[str, Said, str], list[tuple[str, float]]] = {}
    for name, case in importlib.import_module(f"test_{library}").CASES.items():
        for said in dict.fromkeys(case.said.values()):
            held = [row for row in rows(library, name) if case.said[row.name] == said]
            note = "" if said == PASS and set(case.said.values()) != {PASS} else case.note
            kind = ", ".join(f"`{row.name}`" for row in held), said, note
            kinds.setdefault(kind, []).append((case.what, min((row.digits for row in held if row.digits is not None), default=0.0)))
    return [f"| {library} | {', '.join(dict(whats))} | {names} | {status}{_digits(status, whats)} | {why} | {note} |".replace("  ", " ")
            for (names, (status, why), note), whats in kinds.items()]


def _digits(status: str, whats: list[tuple[str, float]]) -> str:
    return f", {min(digits for _, digits in whats):.1f} digits" if status == "PRECISION" else ""


def shown(text: str) -> list[str]:
    """Lines without the digits that depend on the order in which PyTorch computes."""
    return re.sub(r", \d+\.\d digits", "", text).splitlines()


if __name__ == "__main__":
    print("| library | what | as | verdict | diagnosis | note |\n|---|---|---|---|---|---|")
    for each in LIBRARIES:
        print("\n".join(lines(each)))
    print(", ".join(f"{each} {importlib.metadata.version(each)}" for each in (*LIBRARIES, "torch")))

"""What the check says of other people's implementations, as the table of `tests/interop/README.md`.

    python tests/interop/verdicts.py

Digits are left out: those of float32 depend on the order in which a library computes.
"""

from implementations import CASES, rows

HEAD = [
    "| library | what | as | verdict | what it looks like | note |",
    "|---|---|---|---|---|---|",
]


def table() -> list[str]:
    """A line for each verdict of each case, as the report gives it."""
    lines = list(HEAD)
    for k, case in enumerate(CASES):
        verdicts: dict[tuple[str, str], list[str]] = {}
        for name, row in rows(k).items():
            why = row.diagnoses[0] if row.diagnoses else case.said[name][1]
            verdicts.setdefault((row.status, why), []).append(f"`{name}`")
        for (status, why), names in verdicts.items():
            note = case.note if status != "PASS" or len(verdicts) == 1 else ""
            cells = (case.library, case.what, ", ".join(names), status, why, note)
            lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return lines


if __name__ == "__main__":
    print("\n".join(table()))

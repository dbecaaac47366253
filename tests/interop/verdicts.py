"""The tables of `tests/interop/README.md`: what the check says of other people's code.

    python tests/interop/verdicts.py            prints them
    python tests/interop/verdicts.py --write    puts them into the page

Digits are left out: those of float32 depend on the order in which a library computes.
"""

import re
import sys
from pathlib import Path

from genuine_mistakes import GENUINE, report

PAGE = Path(__file__).with_name("README.md")


def verdicts() -> list[str]:
    """A line for each verdict of each case, as the report gives it."""
    from implementations import CASES, rows

    lines = ["| library | what | as | verdict | what it looks like | note |", "|---|" + "---|" * 5]
    for k, case in enumerate(CASES):
        found: dict[tuple[str, str], list[str]] = {}
        for name, row in rows(k).items():
            why = row.diagnoses[0] if row.diagnoses else case.said[name][1]
            found.setdefault((row.status, why), []).append(f"`{name}`")
        for (status, why), names in found.items():
            note = case.note if status != "PASS" or len(found) == 1 else ""
            cells = (case.library, case.what, ", ".join(names), status, why, note)
            lines.append("| " + " | ".join(cell or " " for cell in cells) + " |")
    return lines


def genuine() -> list[str]:
    """A line for each mistake of real code, and how many are named."""
    lines = ["| mistake | as | looks like |", "|---|---|---|"]
    found = [(each, report(each).rows[0]) for each in GENUINE]
    for each, row in found:
        said = row.diagnoses[0] if row.diagnoses else "(not named)"
        lines.append(f"| {each.name.replace('_', ' ')} | `{row.name}` | {said} |")
    named = sum(bool(row.diagnoses) for _, row in found)
    return [*lines, "", f"All are called WRONG; {named} of {len(GENUINE)} are named."]


if __name__ == "__main__":
    for name, lines in (("verdicts", verdicts()), ("genuine", genuine())):
        print("\n".join(lines), "\n")
        if "--write" in sys.argv:
            block = f"<!-- {name} -->\n" + "\n".join(lines) + "\n<!-- end -->"
            page = re.sub(rf"<!-- {name} -->\n.*?<!-- end -->", lambda _, new=block: new,
                          PAGE.read_text(), flags=re.DOTALL)
            PAGE.write_text(page)

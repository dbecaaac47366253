"""Write the vectors, or compare them with those that are here.

    python tests/vectors/generate.py            writes tests/vectors/*.jsonl
    python tests/vectors/generate.py --check    writes nothing; fails on any difference

Everything is computed by mpmath from the formulas in `truths`, and comes out the same to the byte
on every platform.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # where mpmath_oracle is

from truths import FUNCTIONS, Function

FOLDER = Path(__file__).parent


def text(function: Function) -> str:
    """The file of one function."""
    return "".join(
        json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in function.lines()
    )


def write(folder: Path = FOLDER, functions: Iterable[Function] = FUNCTIONS) -> None:
    """Write the files."""
    for function in functions:
        (folder / f"{function.name}.jsonl").write_bytes(text(function).encode("ascii"))


def differences(folder: Path = FOLDER, functions: Iterable[Function] = FUNCTIONS) -> list[str]:
    """What of a folder differs from what is generated: files and lines."""
    found = [
        f"{path.name}: no function of this name"
        for path in sorted(folder.glob("*.jsonl"))
        if path.stem not in {f.name for f in FUNCTIONS}
    ]
    for function in functions:
        path = folder / f"{function.name}.jsonl"
        if not path.is_file():
            found.append(f"{path.name}: missing")
            continue
        here, wanted = path.read_bytes(), text(function).encode("ascii")
        if here != wanted:
            lines = list(zip(here.split(b"\n"), wanted.split(b"\n"), strict=False))
            first = next(
                (number for number, (a, b) in enumerate(lines, start=1) if a != b), len(lines)
            )
            found.append(f"{path.name}: differs from line {first} on")
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Write tests/vectors/*.jsonl, or check them.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    if not parser.parse_args().check:
        write()
        return 0
    found = differences()
    print("\n".join(found) or f"{len(FUNCTIONS)} files are as generated")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

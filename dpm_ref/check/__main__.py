"""The check from a shell.

    python -m dpm_ref.check mymodule:functions --first-t 0 --spread logvar --beta mymodule:beta
    python -m dpm_ref.check --list

`functions` is what `check.run` takes. It runs in a process of its own, whose output goes to stderr:
nothing it prints or does can be taken for the report. The status is 0 if every row passes, 1 if one
does not, 2 if the check could not be made.
"""

import argparse
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .conventions import CHOICES, Conventions
from .mistakes import names
from .precision import CONSTANTS, HABITS
from .quantities import ALIASES, QUANTITIES
from .runner import run
from .schedules import NAMED

__all__ = ["main"]

PLACES = ("beta", "abar", "log_snr", "sigmas", "data", "to_native", "from_native")


def main(argv: list[str] | None = None) -> int:
    """Run the command in a process of its own; its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(arguments)
    if options.list:
        return _print(listing())
    if options.functions is None:
        _parser().error("give module:functions, or --list")
    if options.into:
        return _report(options)
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "report"
        command = [sys.executable, "-m", "dpm_ref.check", *arguments, "--into", str(into)]
        path = os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))
        done = subprocess.run(command, stdout=2, check=False,
            env={**os.environ, "PYTHONPATH": path})
        if not into.exists():
            print(f"the functions ended the process (status {done.returncode}): no report",
                file=sys.stderr)
            return 2
        status, text = into.read_text().split("\n", 1)
    if status == "2":
        print(text, file=sys.stderr)
        return 2
    _print(text)
    return int(status)


def _print(text: str) -> int:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _report(options: argparse.Namespace) -> int:
    """Make the report, and write it with its status where the parent looks."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    as_json, into = given.pop("json"), Path(given.pop("into"))
    for name in ("list", "conventions"):
        given.pop(name, None)
    try:
        known = _found(options.conventions) if options.conventions else {}
        for name in PLACES:
            if name in given:
                given[name] = _found(given[name])
        if "shape" in given:
            given["shape"] = tuple(given["shape"])
        report = run(_found(given.pop("functions")), **{**known, **given})
    except Exception as error:
        into.write_text(f"2\npython -m dpm_ref.check: {type(error).__name__}: {error}")
        return 2
    text = json.dumps(report.to_dict(), indent=1) if as_json else f"{report}\n({report.header})"
    into.write_text(f"{int(not report.ok)}\n{text}")
    return 0


def _found(place: str) -> Any:
    if not all(place.partition(":")):
        raise ValueError(f"a place must be written module:name, got {place!r}")
    return pkgutil.resolve_name(place)


def listing() -> str:
    """What can be checked and with which conventions, and the mistakes that are known."""
    lines = ["Quantities, their arguments and equations, and other names:"]
    for name, q in QUANTITIES.items():
        also = [alias for alias, parts in ALIASES.items() if parts == (name,)]
        other = f"  (or {', '.join(also)})" if also else ""
        lines.append(f"    {name}({', '.join(q.every)})  {q.equation}  {q.summary}{other}")
    lines += ["", "Several at once, as a tuple or a mapping:"]
    lines += [f"    {alias}: {', '.join(parts)}" for alias, parts in ALIASES.items()
        if len(parts) > 1]
    lines += ["", "Conventions, of the run or of one function, the first by default:"]
    lines += [f"    {name}: {' | '.join(map(repr, choices))}" for name, choices in CHOICES.items()]
    rest = [n for n in Conventions.__dataclass_fields__ if n not in CHOICES]
    lines += [f"    {', '.join(rest)}", f"Schedules by name: {', '.join(NAMED)}", "", "Mistakes:"]
    lines += [f"    {name}" for name in names()]
    return "\n".join(
        [*lines, "", "Sources of precision loss:",
            *(f"    {name}" for name in (*HABITS, *CONSTANTS))])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dpm_ref.check",
        description="Compare functions with the reference.")
    parser.add_argument("functions", nargs="?", metavar="module:functions",
        help="a mapping of names to callables, or a callable beta -> mapping")
    parser.add_argument("--list", action="store_true",
        help="what can be checked, and the mistakes that are known")
    parser.add_argument("--json", action="store_true", help="the report as data")
    parser.add_argument("--conventions", metavar="module:dict",
        help="keywords of check.run; options go before it")
    parser.add_argument("--into", help=argparse.SUPPRESS)
    for name, choices in CHOICES.items():
        kind = type(choices[0]) if not isinstance(choices[0], bool) else _boolean
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, choices=choices)
    for name in PLACES:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="module:name")
    parser.add_argument("--shape", type=int, nargs="+")
    for name in ("prior", "eta", "time_limit"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float)
    return parser


def _boolean(text: str) -> bool:
    return {"True": True, "False": False}[text]


if __name__ == "__main__":
    sys.exit(main())

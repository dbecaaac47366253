"""The check from a shell.

    python -m dpm_ref.check mymodule:functions --first-t 0 --spread logvar --beta mymodule:beta
    python -m dpm_ref.check --list
    python -m dpm_ref.check --list mistakes

`functions` is what `check.run` takes. It runs in a process of its own, whose output goes to stderr:
nothing it prints or does can be taken for the report. The status is 0 if every row passes, 1 if one
does not, 2 if the check could not be made.
"""

import argparse
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from typing import Any, TextIO

from .conventions import CHOICES, NAMED, RULES
from .mistakes import CONSTANTS, HABITS, names
from .quantities import ALIASES, QUANTITIES
from .report import STATUSES, run

__all__ = ["main"]

PLACES = ("beta", "abar", "log_snr", "sigmas", "data", "to_native", "from_native")


def main(argv: list[str] | None = None) -> int:
    """Run the command in a process of its own; its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    if "list" in options:
        sections = _catalogue()
        if options["list"] == "mistakes":
            sections = {"Mistakes:": names(), "Sources of precision loss:": [*HABITS, *CONSTANTS]}
        return _print("\n\n".join("\n    ".join([k, *lines]) for k, lines in sections.items()))
    if "functions" not in options:
        parser.error("give module:functions, or --list")
    if options.pop("child", False):
        return _child(options)
    command = [sys.executable, "-m", "dpm_ref.check", "--child", *arguments]
    known = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", env=known, check=False)
    ended = f"2\nthe functions ended the process (status {done.returncode}): no report"
    status, text = (done.stdout or ended).split("\n", 1)
    _print(text, sys.stderr if status == "2" else None)
    return int(status)


def _print(text: str, file: TextIO | None = None) -> int:
    try:
        print(text, file=file, flush=True)
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _child(options: dict[str, Any]) -> int:
    """Make the report; it alone, after its status, goes to stdout."""
    with open(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        try:
            as_json = options.pop("json", False)
            for name in {"functions", "conventions", *PLACES} & options.keys():
                options[name] = _found(options[name])
            report = run(**{**options.pop("conventions", {}), **options})
        except Exception as error:
            out.write(f"2\npython -m dpm_ref.check: {type(error).__name__}: {error}")
            return 2
        header = f"\n({report.header})" * bool(report.header)
        text = json.dumps(report.to_dict(), indent=1) if as_json else f"{report}{header}"
        out.write(f"{int(not report.ok)}\n{text}")
    return 0


def shape(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _found(place: str) -> Any:
    module, _, name = place.partition(":")
    if not (module and name):
        raise ValueError(f"a place must be written module:name, got {place!r}")
    named = module in NAMED and name.isdigit()
    return (module, int(name)) if named else pkgutil.resolve_name(place)


def _catalogue() -> dict[str, list[str]]:
    """What can be checked, and with which conventions."""
    quantities = []
    for name, q in QUANTITIES.items():
        also = ", ".join(alias for alias, parts in ALIASES.items() if parts == (name,))
        other = f"  (or {also})" if also else ""
        quantities.append(f"{name}({', '.join(q.every)})  {q.equation}  {q.summary}{other}")
    several = [f"{alias}: {', '.join(parts)}" for alias, parts in ALIASES.items() if len(parts) > 1]
    conventions = [f"{name}: {rule['about']}; {rule['rule']}" for name, rule in RULES.items()]
    return {
        "Quantities, their arguments and equations, and other names:": quantities,
        "Several at once, as a tuple or a mapping:": several,
        "Conventions, of the run or of one function, the first by default:": conventions,
        "Schedules by name, as beta=(name, T) or (name, T, parameters):": [
            f"{name}{inspect.signature(made)}".split(" ->")[0] for name, made in NAMED.items()
        ],
        "Statuses:": [*STATUSES, "report.assert_ok(allow=['PRECISION']) fails at WRONG alone"],
        "Mistakes and sources of precision loss:": ["--list mistakes"],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m dpm_ref.check", argument_default=argparse.SUPPRESS)
    parser.description, add = "Compare functions with the reference.", parser.add_argument
    words = "a mapping of names to callables, or a callable beta -> mapping"
    add("functions", nargs="?", metavar="module:functions", help=words)
    words = "what can be checked, by default, or the mistakes known"
    add("--list", nargs="?", const="catalogue", choices=("catalogue", "mistakes"), help=words)
    add("--json", action="store_true", help="the report as data")
    add("--conventions", metavar="module:dict", help="of the run, after options")
    add("--child", action="store_true", help=argparse.SUPPRESS)
    about = dict.fromkeys(PLACES[:4], "of the schedule, shape (T,); one of these declares it")
    about["beta"] += f"; or name:T, with a name among {', '.join(NAMED)}"
    about |= {"data": "vectors x^0", "prior": "pi_1 of the binomial prior"}
    about |= {name: rule["about"] for name, rule in RULES.items()}
    known: dict[str, dict[str, Any]] = {name: {"metavar": "module:name"} for name in PLACES}
    known |= {name: {"type": float} for name in ("prior", "eta", "time_limit")}
    known["shape"] = {"type": shape, "metavar": "n,..."}
    for name, choices in CHOICES.items():
        spelled = {str(each): each for each in choices}
        known[name] = {"choices": choices, "type": lambda text, of=spelled: of.get(text, text)}
    for name, said in about.items():
        add(f"--{name.replace('_', '-')}", help=said, **known[name])
    return parser


if __name__ == "__main__":
    sys.exit(main())

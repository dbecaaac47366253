"""The check from a shell.

    python -m dpm_ref.check mymodule:functions --first-t 0 --spread logvar --beta mymodule:beta
    python -m dpm_ref.check --list

`mymodule` is imported from the current folder or the path; `functions` is what `check.run` takes: a mapping, or a callable beta
-> mapping. The status is 0 if every row passes, 1 if one does not, 2 if the check could not be made.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585.
"""

import argparse
import importlib
import json
import os
import sys
from typing import Any

from dpm_ref.check.catalogue import listing
from dpm_ref.check.conventions import CHOICES
from dpm_ref.check.runner import run

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status, an integer without unit. Each row printed names its equation."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        print(listing())
        return 0
    if arguments.functions is None:
        parser.error("give module:functions, or --list")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    options: dict[str, Any] = {name: getattr(arguments, name) for name in (*CHOICES, "prior") if getattr(arguments, name) is not None}
    try:
        if arguments.conventions:
            options = {**_found(arguments.conventions), **options}
        for name in ("beta", "data", "to_native", "from_native"):
            if getattr(arguments, name) is not None:
                options[name] = _found(getattr(arguments, name))
        if arguments.shape:
            options["shape"] = tuple(arguments.shape)
        report = run(_found(arguments.functions), **options)
    except Exception as error:
        print(f"{parser.prog}: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report.to_dict(), indent=1) if arguments.json else report)
    return 0 if report.ok else 1


def _found(place: str) -> Any:
    """What stands at module:name."""
    module, colon, name = place.partition(":")
    if not colon or not name:
        raise ValueError(f"a place must be written module:name, got {place!r}")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dpm_ref.check", description="Hold another implementation against the reference.")
    parser.add_argument("functions", nargs="?", metavar="module:functions",
                        help="a mapping of names to callables, or a callable beta -> mapping")
    parser.add_argument("--list", action="store_true", help="what can be checked, and the mistakes that are known")
    parser.add_argument("--conventions", metavar="module:dict", help="keyword arguments of check.run; the options below go before it")
    for name, choices in CHOICES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(choices[0]), choices=choices)
    parser.add_argument("--shape", type=int, nargs="+", metavar="N", help="of a batch: vectors, then the shape of one")
    parser.add_argument("--prior", type=float, metavar="PI", help="pi_1 of the binomial column")
    for name, what in (("beta", "the schedule (T,)"), ("data", "vectors to take x^0 from"), ("to_native", "array -> tensor"),
                       ("from_native", "tensor -> array")):
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="module:name", help=what)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Every statistical test under many seeds: false alarms expected, and seen.

    python tests/false_alarms.py [--seeds 100] [pytest's arguments: files, -k EXPRESSION, ...]

A test is statistical if it asks `statistics_budget` for its generator. The first run finds these;
the others run them alone, each on draws of its own. The budget allows the suite 1e-6 false alarms a
run. The command exits 1 if there was any, and names the tests and the seeds.
"""

import argparse
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS))


class Record:
    """A pytest plugin: which tests asked for a generator, and which failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        from statistics_budget import ASKED

        for test in sorted(ASKED - {""}):
            print(f"\nASKED {test}")
        for test in self.failed:
            print(f"\nFAILED {test}")


def run(seed: int, arguments: list[str]) -> dict[str, list[str]]:
    """The tests that asked for a generator and those that failed, under one seed."""
    command = [sys.executable, __file__, "--one", *arguments]
    done = subprocess.run(
        command,
        cwd=TESTS.parent,
        env=os.environ | {"DPM_TEST_SEED": str(seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, list[str]] = {"ASKED": [], "FAILED": []}
    for line in done.stdout.splitlines():
        kind, _, test = line.partition(" ")
        if kind in found and test not in found[kind] and " - " not in test:
            found[kind].append(test)
    if done.returncode not in (0, 1):
        sys.exit(
            f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options, arguments = parser.parse_known_args()
    if options.one:
        quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *(arguments or [str(TESTS)])]
        return int(pytest.main(quiet, plugins=[Record()]))
    first = run(0, arguments)
    statistical, alarms = first["ASKED"], Counter(first["FAILED"])
    for seed in range(1, options.seeds):
        failed = run(seed, statistical)["FAILED"]
        alarms.update(failed)
        for test in failed:
            print(f"seed {seed}: {test}", flush=True)
    print(
        f"{len(statistical)} statistical tests under {options.seeds} seeds: "
        f"at most {1e-6 * options.seeds:g} false alarms expected, {sum(alarms.values())} seen"
    )
    return int(bool(alarms) or not statistical)


if __name__ == "__main__":
    sys.exit(main())

"""The mutation gate: every change that mutmut makes to the mathematical core must be noticed by a
test, or be excused by name.

    python tests/mutation_gate.py [--only FILE] [--all]

It exits 1 where a mutant survives that no file in `mutation_allowed` excuses, where an excuse there
fits no mutant any more, and where mutmut itself fails. What is mutated stands in the section
[mutmut] of setup.cfg. mutmut makes the mutants, finds the tests that reach each function, and forks
a process for each mutant; three things are done here, or six thousand mutants would take hours:

- A fork calls the test functions itself, fastest first, until one fails. To start pytest anew for
  each mutant costs more than that.
- Excused mutants are not run, as they would run every test; --all runs them too and names those
  that are killed after all.
- Property tests try 15 examples and do not shrink.

mutmut passes over decorated functions, so `cached_property` is put on a separate function in the
copy that is mutated; text in quotes is left as it is. Nothing is written to the checkout.
"""

import argparse
import functools
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = Path(__file__).with_name("mutation_allowed")
DECORATED = re.compile(r"(    @cached_property\n    def )(\w+)(\(self\) -> .*:\n)")
SURVIVED, NO_TESTS, KILLED = 0, 33, {1, 3}
UNREAD = "Not read yet."  # a survivor that is known, and owes a test or a reason


class Mutant(NamedTuple):
    """Where a change is made and what it is: the lines that differ, without their indentation."""

    function: str
    was: str
    now: str


# The copy, and the mutants in it


def copy_tree(target: Path) -> None:
    """What git tracks or would track, with a plain function behind every cached property."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(
        None,
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        .stdout.decode()
        .split("\0"),
    ):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(source.read_bytes())
    for path in (target / "dpm_ref").rglob("*.py"):
        path.write_text(
            DECORATED.sub(
                r"\1\2\3        return self.\2_made()\n\n    def \2_made\3", path.read_text("utf-8")
            ),
            "utf-8",
        )


def functions_of(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and body of every function in a mutated file, by mutmut's index of its lines."""
    lines = path.read_text("utf-8").splitlines()
    for name, (start, end) in json.loads(path.with_name(path.name + ".spans").read_text("utf-8"))[
        "spans"
    ].items():
        body = [line.strip() for line in lines[start - 1 : end]]
        yield name, [re.sub(r"\S*__mutmut_\w+", "f", line) for line in body]


def difference(was: list[str], now: list[str]) -> tuple[str, str]:
    """The lines of either that are not the other's, from the first to the last."""
    first = next(
        (i for i, (a, b) in enumerate(zip(was, now, strict=False)) if a != b),
        min(len(was), len(now)),
    )
    last = next(
        (
            i
            for i, (a, b) in enumerate(zip(was[first:][::-1], now[first:][::-1], strict=False))
            if a != b
        ),
        min(len(was), len(now)) - first,
    )
    return "\n".join(was[first : len(was) - last]), "\n".join(now[first : len(now) - last])


def all_mutants() -> dict[str, Mutant]:
    """Every mutant by mutmut's name for it; the second change of the same look in a function is
    marked so.
    """
    mutants: dict[str, Mutant] = {}
    seen: dict[Mutant, int] = {}
    for path in sorted(Path("mutants/dpm_ref").rglob("*.py")):
        if not path.with_name(path.name + ".spans").is_file():
            continue
        module = ".".join(path.relative_to("mutants").with_suffix("").parts)
        bodies = dict(functions_of(path))
        for name, body in bodies.items():
            function, _, number = name.rpartition("__mutmut_")
            if number == "orig":
                continue
            plain = re.sub(r"^x_|^xǁ", "", function).replace("ǁ", ".").replace("_made", "")
            mutant = Mutant(
                f"{module.removeprefix('dpm_ref.')}.{plain}",
                *difference(bodies[function + "__mutmut_orig"], body),
            )
            seen[mutant] = seen.get(mutant, 0) + 1
            if seen[mutant] > 1:
                mutant = mutant._replace(now=f"{mutant.now}  [{seen[mutant]}]")
            mutants[f"{module}.{name}"] = mutant
    return mutants


def leave_text_alone() -> None:
    """No mutants of strings, nor of calls that lose one: they are names in messages."""
    from libcst import Call, SimpleString
    from mutmut.mutation.mutators import mutation_operators, operator_arg_removal, operator_string

    def arguments(call: Any) -> Iterator[Any]:
        text = [
            argument.value for argument in call.args if isinstance(argument.value, SimpleString)
        ]
        for mutant in operator_arg_removal(call):
            if all(any(argument.value is value for argument in mutant.args) for value in text):
                yield mutant

    kept = [
        (node, operator)
        for node, operator in mutation_operators
        if operator not in (operator_string, operator_arg_removal)
    ]
    mutation_operators[:] = [*kept, (Call, arguments)]


# A runner that calls the test functions


class Runner:
    """What replaces pytest in a fork: the test functions collected in the first run, called one
    after another.
    """

    def __init__(self, excused: Callable[[str], bool]) -> None:
        from mutmut.state import state

        self.excused, self.state = excused, state()
        self.tests: dict[str, Callable[[], Any]] = {}

    def pytest_collection(self) -> None:
        """Fewer examples for property tests; after conftest has chosen its profile, and before the
        tests are imported.
        """
        from hypothesis import (
            HealthCheck,
            Phase,
            settings,
        )  # pytest wants to be the first to import it

        settings.register_profile(
            "mutants",
            derandomize=True,
            deadline=None,
            max_examples=15,
            database=None,
            report_multiple_bugs=False,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutants")

    def pytest_collection_finish(self, session: Any) -> None:
        """Keep what can be called: tests without fixtures, from files of Python."""
        for item in session.items:
            given = item.callspec.params if hasattr(item, "callspec") else {}
            if hasattr(item, "function") and set(item.fixturenames) <= set(given):
                self.tests[item.nodeid] = functools.partial(item.function, **given)

    def stats(self, runner: Any, *, tests: Any) -> int:
        """mutmut's run that sees which tests reach which function, and how long they take."""
        original = runner.execute_pytest

        def with_collector(params: list[str], plugins: list[Any]) -> int:
            return original(params, plugins=[*plugins, self])

        runner.execute_pytest = with_collector  # type: ignore[method-assign]
        code = self.mutmut_stats(runner, tests=tests)
        for name in list(self.state.duration_by_test):
            if name not in self.tests:
                del self.state.duration_by_test[name]
        for function, names in self.state.tests_by_mangled_function_name.items():
            self.state.tests_by_mangled_function_name[function] = names & set(self.tests)
        forget()
        return code

    def run(self, runner: Any, *, mutant_name: str | None, tests: Any) -> int:
        """0 where every test passes. Without a name: the clean run, of all tests, or the one that
        must fail.
        """
        if mutant_name is None:
            if os.environ.get("MUTANT_UNDER_TEST") == "fail":
                return 1
            failed = {
                name for name in self.tests if not self.passes(name)
            }  # those that cannot be called twice
            print(f"left out: {sorted(failed)}")
            for name in failed:
                del self.tests[name]
            for names in self.state.tests_by_mangled_function_name.values():
                names -= failed
            forget()
            return int(len(failed) > 0.02 * len(self.tests))
        if self.excused(mutant_name):
            return SURVIVED
        return int(not all(self.passes(name) for name in tests))

    def passes(self, name: str) -> bool:
        """Whether a test passes, with warnings as errors."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                self.tests[name]()
            except (Exception, SystemExit) as error:
                if type(error).__name__ != "Skipped":
                    return False
            except BaseException as error:  # pytest's outcomes are no Exceptions
                return type(error).__name__ == "Skipped"
        return True

    def install(self) -> None:
        """Put this in the place of mutmut's own."""
        from mutmut.runners.harness import PytestRunner

        self.mutmut_stats = PytestRunner.run_stats
        PytestRunner.run_stats = lambda runner, *, tests: self.stats(runner, tests=tests)  # type: ignore[method-assign]
        PytestRunner.run_tests = lambda runner, *, mutant_name, tests: self.run(  # type: ignore[method-assign]
            runner, mutant_name=mutant_name, tests=tests
        )


def forget() -> None:
    """Empty every cache that was filled by the code before its mutation: functions', and the tables
    of schedules.
    """
    for found in gc.get_objects():
        if isinstance(found, functools._lru_cache_wrapper) and str(found.__module__).startswith(
            ("test_", "dpm_ref")
        ):
            found.cache_clear()
        elif str(type(found).__module__).startswith("dpm_ref") and hasattr(found, "__dict__"):
            for name in [
                name
                for name in vars(found)
                if isinstance(getattr(type(found), name, None), functools.cached_property)
            ]:
                del vars(found)[name]


# The gate


def results() -> dict[str, int | None]:
    """mutmut's exit code for every mutant."""
    codes: dict[str, int | None] = {}
    for path in Path("mutants/dpm_ref").rglob("*.meta"):
        codes |= json.loads(path.read_text("utf-8"))["exit_code_by_key"]
    return codes


def module(name: str) -> str:
    """The module of a mutant, from mutmut's name for it."""
    return name.removeprefix("dpm_ref.").rpartition(".")[0]


def gate(only: str, everything: bool) -> int:
    """Run mutmut in the current directory, and judge."""
    import mutmut.__main__ as mutmut_main
    from mutmut.configuration import config
    from mutmut.runners.harness import PytestRunner

    start = time.monotonic()
    excuses = {
        Mutant(e["function"], e["was"], e["now"]): e["why"]
        for path in sorted(ALLOWED.glob("*.json"))
        for e in json.loads(path.read_text("utf-8"))
        if e["why"]
    }
    found: dict[str, Mutant] = {}

    def excused(name: str) -> bool:
        return not everything and found[name] in excuses

    leave_text_alone()
    mutmut_main.print_stats = lambda *_, **__: None  # it counts every mutant after every mutant
    mutmut_main.print_status = lambda *_, **__: None  # it turns a spinner ten times a second
    runner = Runner(excused)
    runner.install()
    clean = PytestRunner.run_stats

    def with_index(self: Any, *, tests: Any) -> int:
        found.update(all_mutants())
        return clean(self, tests=tests)

    PytestRunner.run_stats = with_index  # type: ignore[method-assign]
    try:
        if only:
            config().only_mutate[:] = [only]
        mutmut_main._run(
            [], len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        )
    except SystemExit as stop:
        if stop.code:
            print("mutmut failed")
            return 1
    codes = results()
    killed = {name for name, code in codes.items() if code in KILLED}
    left = {name: found[name] for name in codes if name not in killed}
    new = {name: mutant for name, mutant in left.items() if mutant not in excuses}
    stale = [] if only else [excuse for excuse in excuses if excuse not in found.values()]
    needless = [found[name] for name in killed if everything and found[name] in excuses]
    for name, mutant in sorted(new.items()):
        kind = {SURVIVED: "survived", NO_TESTS: "no test", None: "not run"}.get(
            codes[name], f"exit code {codes[name]}"
        )
        print(json.dumps({**mutant._asdict(), "why": ""}, ensure_ascii=False), f"<- {kind}")
    for title, entries in (("fits no mutant", stale), ("is killed", needless)):
        for excuse in entries:
            print(f"excuse that {title}: {json.dumps(excuse._asdict(), ensure_ascii=False)}")
    unread = sum(excuses[mutant] == UNREAD for mutant in left.values() if mutant in excuses)
    by_module = Counter(module(name) for name in codes)
    for title in sorted(by_module):
        noticed = sum(module(name) == title for name in killed)
        print(f"{title:24s} {by_module[title]:5d} mutants, {noticed:5d} noticed")
    print(
        f"{len(codes)} mutants, {len(killed)} noticed, {len(left) - len(new) - unread} excused, "
        f"{unread} survivors that nobody has read yet, "
        f"{len(new)} survive; excuses: {len(stale)} fit nothing, {len(needless)} needless; "
        f"{time.monotonic() - start:.0f} s"
    )
    return int(bool(new or stale or needless or not codes))


def main() -> int:
    """Copy the tree and run the gate in the copy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="mutate this file, as dpm_ref/schedules.py")
    parser.add_argument("--all", action="store_true", help="run the excused mutants too")
    options = parser.parse_args()
    os.environ |= {
        "CI": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }  # before NumPy and mutmut are imported
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy_tree(Path(folder))
        os.chdir(folder)
        try:
            return gate(options.only, options.all)
        finally:
            os.chdir(ROOT)


if __name__ == "__main__":
    sys.exit(main())

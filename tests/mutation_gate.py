"""The mutation gate: every change that mutmut makes to the package must be noticed by a test, or be
excused by name.

    python tests/mutation_gate.py [--room ROOM ...] [--only FUNCTION] [--all] [--children N]

It exits 1 where a mutant survives that no file in `mutation_allowed` excuses, where an excuse there
fits no mutant any more, and where mutmut itself fails. The package is taken room by room: some
modules, and the tests that answer for them. mutmut makes the mutants, finds the tests that reach
each function, and forks a process for each mutant; four things are done here, or the mutants would
take hours:

- A fork calls the test functions itself, until one fails: those of the module's own file and then
  the others, fastest first. To start pytest anew for each mutant costs more than that.
- A test that takes ten times its processor time, and two seconds, has failed.
- Excused mutants are not run; --all runs them too, for three seconds each, but for those of time
  alone, and names those that are killed after all.
- Property tests try 15 examples and do not shrink.

mutmut passes over decorated functions, so `cached_property` and `lru_cache` are put on a separate
function in the copy that is mutated; text in quotes is left as it is. Nothing is written to the
checkout.
"""

import argparse
import fnmatch
import functools
import gc
import importlib
import inspect
import json
import math
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = Path(__file__).with_name("mutation_allowed")
DECORATED = re.compile(r"(    @cached_property\n    def )(\w+)(\(self\) -> .*:\n)")
CACHED = re.compile(r"(@functools\.lru_cache\(.*\n)def (\w+)\(")
RESHAPED = re.compile(r"(reshape\((?:[^()\[\]]|\([^()]*\)|\[[^\[\]]*\])*)(?<![\w\])])-2\b")
COPIED = re.compile(r"(astype\([^()]*), (?:copy=\w+)?\)")
SURVIVED, NO_TESTS, KILLED = 0, 33, {1, 3}
UNREAD = "Not read yet."  # a survivor that is known, and owes a test or a reason
AT_IMPORT = {  # run when the module is imported, which is done anew for them
    "validation.x__each",
    "check.conventions.x__one_of",
    "check.conventions.x__at_least",
    "check.conventions.x__declared",
}
MEMORY = 8 * 2**30  # bytes that a fork may address
OF_TIME = re.compile("[Tt]ime only|[Hh]ow long")  # reasons of an excuse
EXCUSED_SECONDS = 3.0  # of processor time for a mutant of which no test is expected to fail


class Room(NamedTuple):
    """What is mutated, and the tests that are run."""

    modules: tuple[str, ...]  # patterns of names below dpm_ref; what is imported first, first
    tests: tuple[str, ...]  # paths below tests/


LAWS = (
    "test_information.py",
    "test_schedules.py",
    "test_gaussian.py",
    "test_binomial.py",
    "test_protocols.py",
    "test_validation.py",
    "test_accuracy.py",
    "test_properties_of_laws.py",
    "test_mistakes_in_restatements.py",
)
ROOMS = {
    "laws": Room(("information", "schedules", "gaussian", "binomial", "protocols"), LAWS),
    "bounds": Room(("bounds",), ("test_bounds.py", "test_mistakes_in_restatements.py")),
    "exact": Room(("exact.*",), ("exact",)),
    "data": Room(("data",), ("test_data.py",)),
    "validation": Room(("validation",), ("test_validation.py",)),
    "mlp": Room(("mlp",), ("test_mlp.py",)),
    "learning": Room(("reverse", "training"), ("test_reverse.py", "test_training.py")),
    "likelihood": Room(("likelihood",), ("test_likelihood.py",)),
    "posteriors": Room(("posteriors.*",), ("posteriors",)),
    "check": Room(
        ("check.conventions", "check.calls", "check.judge", "check.report"),
        ("check",),
    ),
    "formulas": Room(
        ("check.expressions", "check.problems"),
        ("check/test_expressions.py", "check/test_problems.py"),
    ),
    "mistakes": Room(
        ("check.quantities", "check.mistakes", "check.__main__"),
        ("check/test_quantities.py", "check/test_mistakes.py", "check/test_command_line.py"),
    ),
}


class Mutant(NamedTuple):
    """Where a change is made and what it is: the lines that differ, without their indentation."""

    function: str
    was: str
    now: str


# The copy, and the mutants in it


def copy_tree(target: Path) -> None:
    """What git tracks or would track, with a plain function behind every cached property and cached
    function, and no strict=True, a check of lengths that never fails.
    """
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
        text = path.read_text("utf-8").replace(", strict=True)", ")")
        made = r"\1\2\3        return self.\2_made()\n\n    def \2_made\3"
        text = DECORATED.sub(made, text)
        made = r"\1def \2(*given, **named):\n    return \2_made(*given, **named)\n\n\ndef \2_made("
        path.write_text(CACHED.sub(made, text), "utf-8")


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


def is_no_change(mutant: Mutant) -> bool:
    """Whether it is a -2 for a -1 in a reshape, where NumPy takes any negative number, or a copy
    that astype need not make.
    """
    now = mutant.now.partition("  [")[0]
    plain = [COPIED.sub(r"\1, )", line) for line in (mutant.was, now)]
    return plain[0] == plain[1] or RESHAPED.sub(r"\1-1", now) == mutant.was


def leave_text_alone() -> None:
    """No mutants of strings, nor of calls that lose one: they are names in messages. None either
    of numbers to which 1 is nothing.
    """
    from libcst import BaseNumber, Call, SimpleString
    from mutmut.mutation.mutators import (
        mutation_operators,
        operator_arg_removal,
        operator_number,
        operator_string,
    )

    def arguments(call: Any) -> Iterator[Any]:
        text = [
            argument.value for argument in call.args if isinstance(argument.value, SimpleString)
        ]
        for mutant in operator_arg_removal(call):
            if all(any(argument.value is value for argument in mutant.args) for value in text):
                yield mutant

    def numbers(number: Any) -> Iterator[Any]:
        yield from (
            m for m in operator_number(number) if m.evaluated_value != number.evaluated_value
        )

    replaced = (operator_string, operator_arg_removal, operator_number)
    kept = [(node, operator) for node, operator in mutation_operators if operator not in replaced]
    mutation_operators[:] = [*kept, (Call, arguments), (BaseNumber, numbers)]


# A runner that calls the test functions


class Endless(BaseException):
    """Raised in a test that takes far too long."""


def too_long(*_: Any) -> None:
    """The handler of the timer."""
    raise Endless


@contextmanager
def tmp_path() -> Iterator[Path]:
    """pytest's fixture of that name."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder).resolve()


@contextmanager
def monkeypatch() -> Iterator[Any]:
    """pytest's fixture of that name."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        yield patch


MADE = {"tmp_path": tmp_path, "monkeypatch": monkeypatch}
UNUSED = {"request", "tmp_path_factory"}  # what these two ask for


class Runner:
    """What replaces pytest in a fork: the test functions collected in the first run, called one
    after another.
    """

    def __init__(self, modules: tuple[str, ...], patience: Callable[[str], float]) -> None:
        from mutmut.state import state

        self.modules, self.patience, self.state = modules, patience, state()
        self.tests: dict[str, Callable[..., Any]] = {}
        self.seconds: dict[str, float] = {}  # of processor time, in the clean run
        self.left_out: set[str] = set()  # tests that cannot be called twice

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
        """Keep what can be called: tests from files of Python without fixtures of their own."""
        for item in session.items:
            names = [mark.args[0] for mark in item.iter_markers("parametrize")]
            direct = {
                name.strip()
                for some in names
                for name in (some.split(",") if isinstance(some, str) else some)
            }
            params = item.callspec.params if hasattr(item, "callspec") else {}
            given = {name: value for name, value in params.items() if name in direct}
            if hasattr(item, "function") and set(item.fixturenames) <= {*given, *MADE, *UNUSED}:
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
            self.left_out = {name for name in self.tests if not self.passes(name)}
            for name in self.left_out:
                del self.tests[name]
            for names in self.state.tests_by_mangled_function_name.values():
                names -= self.left_out
            forget()
            return int(len(self.left_out) > 0.02 * len(self.tests))
        name = module(mutant_name)
        if f"{name}.{mutant_name.rpartition('.')[2].partition('__mutmut_')[0]}" in AT_IMPORT:
            if not self.imports(name):
                return 1
            tests = sorted(self.tests, key=self.seconds.__getitem__)
        own = f"/test_{name.rpartition('.')[2]}.py::"
        tests = sorted(tests, key=lambda each: own not in each)  # those of the module's file first
        end = time.process_time() + self.patience(mutant_name)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.signal(signal.SIGPROF, too_long)
        for name in tests:
            if time.process_time() >= end:
                break
            if not self.passes(name, 10.0 * self.seconds[name] + 2.0):
                return 1
        return SURVIVED

    def imports(self, name: str) -> bool:
        """Whether a module, those of its room after it and their package are imported anew."""
        later = self.modules[self.modules.index(name) :]
        try:
            for each in (*later, name.rpartition(".")[0]):
                importlib.reload(sys.modules[f"dpm_ref.{each}".rstrip(".")])
        except Exception:
            return False
        return True

    def passes(self, name: str, limit: float = 0.0) -> bool:
        """Whether a test passes, with warnings as errors and in so many seconds, 0 for any."""
        test, start = self.tests[name], time.process_time()
        signal.setitimer(signal.ITIMER_PROF, limit)
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("error")
            try:
                wanted = inspect.signature(test).parameters
                test(**{n: stack.enter_context(MADE[n]()) for n in MADE if n in wanted})
            except BaseException as error:  # pytest's outcomes are no Exceptions
                return type(error).__name__ == "Skipped"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0.0)
                self.seconds.setdefault(name, time.process_time() - start)
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


def all_excuses() -> dict[Mutant, str]:
    """Every entry of `mutation_allowed` that has a reason, and the reason."""
    return {
        Mutant(e["function"], e["was"], e["now"]): e["why"]
        for path in sorted(ALLOWED.glob("*.json"))
        for e in json.loads(path.read_text("utf-8"))
        if e["why"]
    }


def run_mutmut(room: Room, runner: Runner, found: dict[str, Mutant], children: int) -> bool:
    """Run mutmut in the current directory, tell the mutants it finds, and whether it ended well."""
    import mutmut.__main__ as mutmut_main
    from mutmut.configuration import config
    from mutmut.runners.harness import PytestRunner

    leave_text_alone()
    mutmut_main.print_stats = lambda *_, **__: None  # it counts every mutant after every mutant
    mutmut_main.print_status = lambda *_, **__: None  # it turns a spinner ten times a second
    runner.install()
    stats = PytestRunner.run_stats

    def with_index(self: Any, *, tests: Any) -> int:
        found.update(all_mutants())
        return stats(self, tests=tests)

    PytestRunner.run_stats = with_index  # type: ignore[method-assign]
    config().only_mutate[:] = [f"dpm_ref/{name.replace('.', '/')}.py" for name in room.modules]
    config().pytest_add_cli_args_test_selection[:] = [f"tests/{name}" for name in room.tests]
    try:
        mutmut_main._run([], children)
    except SystemExit as stop:
        return not stop.code
    return True


def gate(room: Room, only: str, everything: bool, children: int) -> Counter[str]:
    """Run mutmut in the current directory, and judge: how many mutants there are of each kind."""
    start = time.monotonic()
    excuses = {
        mutant: why
        for mutant, why in all_excuses().items()
        if any(fnmatch.fnmatch(mutant.function, f"{name}.*") for name in room.modules)
    }
    found: dict[str, Mutant] = {}

    def chosen(name: str) -> bool:
        return fnmatch.fnmatch(found[name].function, only) and not is_no_change(found[name])

    def patience(name: str) -> float:
        """The seconds of processor time for a mutant."""
        if chosen(name) and found[name] not in excuses:
            return math.inf
        if not chosen(name) or not everything or OF_TIME.search(excuses[found[name]]):
            return 0.0  # what changes the time alone, a slow machine would notice
        return EXCUSED_SECONDS

    runner = Runner(room.modules, patience)
    ended = run_mutmut(room, runner, found, children)
    if runner.left_out:
        print(f"tests that fail where they are called a second time: {sorted(runner.left_out)}")
    if not ended:
        print("mutmut failed")
        return Counter(failed=1)
    codes = {name: code for name, code in results().items() if chosen(name)}
    killed = {name for name, code in codes.items() if code in KILLED}
    left = {name: found[name] for name in codes if name not in killed}
    new = {name: mutant for name, mutant in left.items() if mutant not in excuses}
    stale = [excuse for excuse in excuses if excuse not in found.values()]
    needless = [found[name] for name in killed if found[name] in excuses]
    for name, mutant in sorted(new.items()):
        kind = {SURVIVED: "survived", NO_TESTS: "no test", None: "not run"}.get(
            codes[name], f"exit code {codes[name]}"
        )
        print(json.dumps({**mutant._asdict(), "why": ""}, ensure_ascii=False), f"<- {kind}")
    for title, entries in (("fits no mutant", stale), ("is killed", needless)):
        for excuse in entries:
            print(f"excuse that {title}: {json.dumps(excuse._asdict(), ensure_ascii=False)}")
    by_module = Counter(module(name) for name in codes)
    for title in sorted(by_module):
        noticed = sum(module(name) == title for name in killed)
        print(f"{title:24s} {by_module[title]:5d} mutants, {noticed:5d} noticed")
    unread = sum(excuses[mutant] == UNREAD for mutant in left.values() if mutant in excuses)
    return Counter(
        mutants=len(codes),
        noticed=len(killed),
        excused=len(left) - len(new) - unread,
        unread=unread,
        survivors=len(new),
        stale=len(stale),
        needless=len(needless),
        failed=int(not codes),
        seconds=round(time.monotonic() - start),
        processor=round(sum(os.times()[:4])),
    )


def summary(name: str, counts: Counter[str]) -> str:
    """A line of counts."""
    return (
        f"{name}: {counts['mutants']} mutants, {counts['noticed']} noticed, "
        f"{counts['excused']} excused, {counts['unread']} survivors that nobody has read yet, "
        f"{counts['survivors']} survive; excuses: {counts['stale']} fit nothing, "
        f"{counts['needless']} needless; {counts['seconds']} s, "
        f"{counts['processor']} s of processor time"
    )


def run_room(name: str, options: argparse.Namespace) -> Counter[str]:
    """Copy the tree and run a room's gate in the copy."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy_tree(Path(folder))
        os.chdir(folder)
        try:
            counts = gate(ROOMS[name], options.only, options.all, options.children)
        finally:
            os.chdir(ROOT)
    print(summary(name, counts), flush=True)
    return counts


def main() -> int:
    """Run the rooms one after another, each in a process of its own."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--room", nargs="+", choices=ROOMS, default=list(ROOMS), metavar="ROOM")
    parser.add_argument("--only", default="*", help="run these alone, as 'schedules.Schedule.*'")
    parser.add_argument("--all", action="store_true", help="run the excused mutants too")
    parser.add_argument("--children", type=int, default=processors, help="processes at a time")
    options = parser.parse_args()
    os.environ |= {
        "CI": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }  # before NumPy and mutmut are imported
    total: Counter[str] = Counter()
    for name in options.room:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            total += pool.submit(run_room, name, options).result()
    homeless = [
        mutant.function
        for mutant in all_excuses()
        if not any(
            fnmatch.fnmatch(mutant.function, f"{name}.*")
            for room in ROOMS.values()
            for name in room.modules
        )
    ]
    if homeless:
        print(f"excuses for what is in no room: {homeless}")
    print(summary("in all", total))
    wrong = ("survivors", "stale", "needless", "failed")
    return int(bool(homeless) or any(total[kind] for kind in wrong))


if __name__ == "__main__":
    sys.exit(main())

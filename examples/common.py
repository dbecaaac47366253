"""What the examples share: options, the folder of results, progress, Ctrl-C and resuming, K.

Import this before NumPy: the matrices here are small, and a second thread of the linear algebra
library makes them slower where the machine is busy. OMP_NUM_THREADS, if set, is respected.
"""

import argparse
import json
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from matplotlib.figure import Figure

from dpm_ref import GaussianDiffusion, bounds, training
from dpm_ref.bounds import to_bits
from dpm_ref.validation import Array

try:
    import fcntl
except ImportError:  # Windows: two runs on one folder are not noticed there
    fcntl = None  # type: ignore[assignment]

__all__ = ["Progress", "Run", "evaluate", "parser", "with_error"]

STOPPED = 130  # what a shell reports for a program that Ctrl-C ended


def parser(description: str | None, resume: bool = True) -> argparse.ArgumentParser:
    """The options that every example has."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seed", type=int, default=0, help="of every random draw (default 0)")
    options.add_argument(
        "--out", type=Path, default=Path("out"), help="folder for the results (default out)"
    )
    options.add_argument(
        "--quick", action="store_true", help="under 10 s, to see that all works; means little"
    )
    if resume:
        options.add_argument(
            "--resume", action="store_true", help="go on from where Ctrl-C stopped this command"
        )
    return options


def with_error(value: float, stderr: float) -> str:
    """Both, to the second digit of the standard error."""
    digits = max(0, 1 - math.floor(math.log10(stderr))) if stderr > 0 else 6
    return f"{value:.{digits}f} +- {stderr:.{digits}f}"


class Progress:
    """A line on the terminal: stage, step, K, and the time left until the program ends.

    `plan` holds the seconds that each stage takes on some machine; the ratio of this machine to
    that one is measured as the stages go by. Rewritten in place on a terminal, and never wider
    than it; elsewhere a new line for every tenth of a stage.
    """

    def __init__(self, plan: Mapping[str, float]) -> None:
        self.plan, self.stage, self.share, self.shown, self.skipped = dict(plan), "", 0.0, -1.0, 0.0
        self.began, self.live, self.width = time.monotonic(), sys.stderr.isatty(), 0

    def enter(self, stage: str, skip: float = 0.0) -> None:
        """Begin a stage, a share of which may have been done in an earlier run."""
        self.stage, self.shown = stage, -1.0
        self.skipped += skip * self.plan[stage]
        self(skip)

    def __call__(self, share: float, K_bits: float | None = None, counter: str = "") -> None:
        """Say what share of the stage is done; the counter is shown instead of a percentage."""
        self.share = share
        if not self.live and self.shown >= 0 and share < 1 and share - self.shown < 0.1:
            return
        self.shown = share
        bits = [] if K_bits is None else [f"K {K_bits:8.3f} bits"]
        parts = [f"{self.stage:<10}", counter or f"{share:4.0%}", *bits,
                 f"{self.left():4.0f} s left"]
        columns = shutil.get_terminal_size().columns - 1 if self.live else 200
        while len("  ".join(parts)) > columns and len(parts) > 1:
            parts.pop(0)
        text = "  ".join(parts)[:columns]
        line = f"\r{text.ljust(self.width)}" if self.live else f"{text}\n"
        print(line, end="", file=sys.stderr, flush=True)
        self.width = len(text)

    def left(self) -> float:
        """Seconds until all stages are done: those of the plan, at the pace seen so far."""
        stages = list(self.plan)
        done = sum(self.plan[name] for name in stages[: stages.index(self.stage)])
        done += self.share * self.plan[self.stage]
        pace = (time.monotonic() - self.began + 1.0) / (done - self.skipped + 1.0)
        return pace * (sum(self.plan.values()) - done)

    def close(self) -> None:
        """End the line that is rewritten in place."""
        if self.live and self.width:
            print(file=sys.stderr, flush=True)
        self.width = 0


class _Stopped(KeyboardInterrupt):
    """Ctrl-C during training, whose state has been saved."""


class Run:
    """One run of an example, in a folder that it holds alone until it ends.

    Leaves NAME.png and NAME.json, and for each trained model its parameters and what resuming
    takes, NAME.state.npz and NAME.state.json.
    """

    def __init__(self, name: str, chosen: argparse.Namespace, plan: Mapping[str, float]) -> None:
        self.name, self.chosen, self.out = name, chosen, Path(chosen.out)
        self.resume, self.former, self.loaded = getattr(chosen, "resume", False), 0.0, 0
        self.plan = plan

    def __enter__(self) -> "Run":
        self.lock = self._claim()
        if self.resume and not list(self.out.glob(f"{self.name}*.state.json")):
            self._refuse(f"nothing to resume: {self.out} holds no state of {self.name}")
        self.progress = Progress(self.plan)
        self.stage, self.step = self.progress.enter, self.progress
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.progress.close()
        self._release()
        if isinstance(error, _Stopped):
            print(f"{error}\nThe same command with --resume goes on from there.", file=sys.stderr)
            raise SystemExit(STOPPED) from None
        if isinstance(error, KeyboardInterrupt):
            kept = "; the same command with --resume skips the training" if self.loaded else ""
            print(f"stopped at {self.progress.stage}, nothing written{kept}", file=sys.stderr)
            raise SystemExit(STOPPED) from None

    @property
    def seconds(self) -> float:
        """Since the run began, those of the run that it resumes included."""
        return self.former + time.monotonic() - self.progress.began

    @contextmanager
    def fitting(self, model: Any, state: training.TrainingState, rng: np.random.Generator,
                 label: str = "", rates: training.TrainingState | None = None,
                 ) -> Iterator["History"]:
        """Load what was saved if asked to, and save state and generator when training ends.

        The history that it yields is to be called with (step, K in bits) now and then, from
        `train`'s callback; after a Ctrl-C the next call ends the training.
        """
        stem = self.out / ".".join(filter(None, [self.name, label, "state"]))
        history = History(self, f"training {label}".strip())
        if self.resume:
            self._load(stem, model, state, rng, history, rates)
        self.stage(history.stage, skip=state.step / self.chosen.steps)
        try:
            with _deferred_interrupts() as asked:
                history.asked = asked
                yield history
        except _Stopped:
            self._save(stem, model, state, rng, history, rates)
            K = history.K_bits[-1]
            where = f"stopped at step {state.step} of {self.chosen.steps}, K {K:.3f} bits; state in"
            raise _Stopped(f"{where} {stem}.npz") from None
        self._save(stem, model, state, rng, history, rates)
        self.loaded += 1

    def finish(self, figure: Figure, numbers: Mapping[str, Any], report: Sequence[str]) -> None:
        """Write the figure and the numbers, both or neither, and print the report."""
        problem = ""
        try:
            self._write(figure, numbers)
        except OSError as error:
            problem = f"{self.name}.png and .json are as they were, for writing failed: {error}"
        self.progress(1.0)
        self.progress.close()
        print("\n".join(report))
        if problem:
            raise SystemExit(problem)
        print(f"wrote {self.out / self.name}.png and {self.out / self.name}.json")

    def _write(self, figure: Figure, numbers: Mapping[str, Any]) -> None:
        parts = {kind: self.out / f".{self.name}.{kind}.part" for kind in ("png", "json")}
        try:
            figure.savefig(parts["png"], dpi=130, format="png")
            parts["json"].write_text(json.dumps(dict(numbers), indent=2) + "\n")
            for kind, part in parts.items():
                os.replace(part, self.out / f"{self.name}.{kind}")
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)

    def _claim(self) -> Any:
        """The folder, made if need be, writable, and locked against another run of this example."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            for kind in ("png", "json"):
                if (self.out / f"{self.name}.{kind}").is_dir():
                    raise IsADirectoryError(f"{self.name}.{kind} is a folder there")
            lock = open(self.out / f".{self.name}.lock", "a")  # noqa: SIM115 (until the end)
        except OSError as error:
            self._refuse(f"--out {self.out} must be a folder that can be written to: {error}")
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            self._refuse(f"another run is writing {self.name} in --out {self.out}; choose another")
        return lock

    def _release(self) -> None:
        with suppress(OSError):
            Path(self.lock.name).unlink()
        self.lock.close()

    def _refuse(self, why: str) -> NoReturn:
        if hasattr(self, "lock"):
            self._release()
        print(f"{self.name}: {why}", file=sys.stderr)
        raise SystemExit(2)

    def _options(self) -> Any:
        """What a resumed run must have in common with the run that it resumes."""
        chosen = {k: v for k, v in vars(self.chosen).items() if k not in ("out", "resume", "x0")}
        return json.loads(json.dumps(chosen, default=str))

    def _save(self, stem: Path, model: Any, state: training.TrainingState,
              rng: np.random.Generator, history: "History",
              rates: training.TrainingState | None) -> None:
        kept = {"options": self._options(), "step": state.step, "steps": history.steps,
                "K_bits": history.K_bits, "seconds": self.seconds}
        if rates is not None:
            model = model.over(_diffusion(model, rates))
            kept["rates"] = {k: np.asarray(v).tolist() for k, v in vars(rates).items()}
        try:
            training.save(f"{stem}.npz", model, state, rng=rng)
            Path(f"{stem}.json").write_text(json.dumps(kept) + "\n")
        except OSError as error:
            self.progress.close()
            print(f"the model could not be saved: {error}", file=sys.stderr)

    def _load(self, stem: Path, model: Any, state: training.TrainingState,
              rng: np.random.Generator, history: "History",
              rates: training.TrainingState | None) -> None:
        """Put what was saved in place: state, generator and history become those of then."""
        try:
            kept = json.loads(Path(f"{stem}.json").read_text())
            theirs, mine = kept["options"], self._options()
            if theirs != mine:
                if self.loaded:
                    return  # of an earlier run, which this one had not come to when it was stopped
                other = ", ".join(f"{k}={theirs.get(k)!r} for {v!r}" for k, v in mine.items()
                                  if theirs.get(k) != v)
                self._refuse(f"{stem}.json is of a run with other options: {other}")
            if rates is not None:
                for name, value in kept["rates"].items():
                    setattr(rates, name, np.array(value) if isinstance(value, list) else value)
                model = model.over(_diffusion(model, rates))
            found, generator = training.load(f"{stem}.npz", model)
        except FileNotFoundError:
            return
        except (ValueError, KeyError) as error:
            self._refuse(f"cannot resume: {error}")
        if found.step != kept["step"] or generator is None:
            self._refuse(f"{stem}.npz and {stem}.json are not of one run")
        vars(state).update(vars(found))
        rng.bit_generator.state = generator.bit_generator.state
        history.steps, history.K_bits, self.former = kept["steps"], kept["K_bits"], kept["seconds"]


class History:
    """K during training; called with the step and K in bits."""

    def __init__(self, run: Run, stage: str) -> None:
        self.run, self.stage = run, stage
        self.steps: list[int] = []
        self.K_bits: list[float] = []
        self.asked: list[int] = []

    def __call__(self, step: int, K_bits: Any) -> None:
        self.steps.append(step)
        self.K_bits.append(float(K_bits))
        total = self.run.chosen.steps
        self.run.step(step / total, self.K_bits[-1], f"{step:>6}/{total}")
        if self.asked:
            raise _Stopped


def evaluate(run: Run, diffusion: Any, kernel: Any, x0: Array, rng: np.random.Generator,
             chunks: int = 10, jacobian_bits: float = 0.0) -> tuple[dict[str, float], Array]:
    """K of the data x0 in bits, with standard errors, and E KL_t in bits.

    K is in the units of other data where the log Jacobian to x0 is given.
    """
    found: list[bounds.LowerBound] = []
    for k, rows in enumerate(np.array_split(x0, chunks)):
        found.append(bounds.lower_bound(diffusion, kernel, rows, rng=rng))
        K = to_bits(np.concatenate([bound.value for bound in found]))
        run.step((k + 1) / chunks, float(K.mean()) + jacobian_bits)
    above = K - to_bits(bounds.null_log_likelihood(diffusion, x0))
    shares = np.array([len(bound.value) for bound in found]) / len(x0)
    root = np.sqrt(len(x0))
    return {
        "K_bits": float(K.mean()) + jacobian_bits,
        "K_stderr_bits": float(K.std(ddof=1) / root),
        "K_minus_null_bits": float(above.mean()),
        "K_minus_null_stderr_bits": float(above.std(ddof=1) / root),
        "eq14_bits": float(to_bits(shares @ [bound.eq14 for bound in found])) + jacobian_bits,
        "held_out": len(x0),
    }, to_bits(np.concatenate([bound.kl for bound in found], axis=1).mean(1))


def _diffusion(model: Any, rates: training.TrainingState) -> GaussianDiffusion:
    return GaussianDiffusion(
        training.from_log_steps(rates.params, float(model.diffusion.beta[0]))
    )


@contextmanager
def _deferred_interrupts() -> Iterator[list[int]]:
    """Ctrl-C and a request to end are noted instead of obeyed; the second one is obeyed."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    for number in former:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)

"""What a function that cannot be trusted may do: raise, exit, hang, change the process.

Any of it becomes a `Fault` with a message. NumPy's functions and print options, and the current
folder, are put back.
"""

import contextlib
import os
import signal
import textwrap
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["Fault", "faults", "guarded", "kept"]


class Fault(Exception):
    """A function that returned nothing to compare; the message says why."""


class TimeUp(BaseException):
    pass


@contextlib.contextmanager
def faults(said: str = "raises ") -> Iterator[None]:
    """Whatever is raised becomes a Fault that says so in a line."""
    try:
        yield
    except (Fault, TimeUp, KeyboardInterrupt):
        raise
    except BaseException as error:
        try:
            text = textwrap.shorten(str(error), 200, placeholder=" ...")
        except BaseException:
            text = "its message cannot be shown"
        raise Fault(f"{said}{type(error).__name__}: {text}".removesuffix(": ")) from error


@contextlib.contextmanager
def kept(*modules: ModuleType) -> Iterator[None]:
    """The modules' names are put back."""
    before = [dict(vars(module)) for module in modules]
    try:
        yield
    finally:
        for module, names in zip(modules, before, strict=True):
            vars(module).update(names)


@contextlib.contextmanager
def guarded(seconds: float) -> Iterator[None]:
    """What a function may change of the process is put back; a Fault after so many seconds."""
    folder = os.getcwd()
    try:
        with (
            kept(np),
            np.printoptions(),
            np.errstate(all="ignore"),
            warnings.catch_warnings(action="ignore"),
            _limited(seconds),
        ):
            yield
    except TimeUp:
        raise Fault(f"did not return within {seconds:g} s (time_limit)") from None
    finally:
        os.chdir(folder)


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """TimeUp after so many seconds; only in a process's main thread, where signals arrive."""
    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, "setitimer")):
        yield
        return

    def ring(*_: Any) -> None:
        raise TimeUp

    former = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)

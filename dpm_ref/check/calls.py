"""The call of a function that cannot be trusted, and what it returns as an array.

Whatever does not give an array to compare is a `Fault`: to raise, exit or hang, to write into the
arguments, another shape, no numbers. NumPy's functions and print options, and the current folder,
are put back.
"""

import contextlib
import os
import signal
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.special import chdtr, chdtrc, ndtr

from .conventions import EPS, Conventions
from .expressions import Tables
from .problems import Answer, Problem, exact_posterior, noisy
from .quantities import kind_of, right

__all__ = ["Fault", "Returned", "call", "faults", "guarded"]

# where a mapping may hold a quantity whose name ends so: there, or under another name
KEYS = "log_var log_variance logvar, var variance, mean, nll total_bpd bpd loss, vlb_term output"


class Fault(Exception):
    """A function that returned nothing to compare; the message says why."""


class TimeUp(BaseException):
    """Raised past a function's own `except Exception`."""


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
def guarded(seconds: float) -> Iterator[None]:
    """What a function may change of the process is put back; a Fault after so many seconds, but
    only in a process's main thread, where signals arrive.
    """

    def ring(*_: Any) -> None:
        raise TimeUp

    main = threading.current_thread() is threading.main_thread()
    try:
        with np.printoptions(), np.errstate(all="ignore"), contextlib.ExitStack() as back:
            back.enter_context(warnings.catch_warnings(action="ignore"))
            back.callback(os.chdir, os.getcwd())
            back.callback(vars(np).update, dict(vars(np)))
            if main and hasattr(signal, "setitimer"):
                back.callback(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, ring))
                back.callback(signal.setitimer, signal.ITIMER_REAL, 0)
                signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
            yield
    except TimeUp:
        raise Fault(f"did not return within {seconds:g} s (time_limit)") from None


Returned = Answer | Fault | None


# What is handed to code that asks for more than arrays: noise to draw, a model to query


@contextlib.contextmanager
def supplied(p: Problem) -> Iterator[None]:
    """Where code draws its own noise, normal draws of NumPy, PyTorch and JAX give the problem's."""

    def give(*_: Any, **__: Any) -> Any:
        return _argument(p, "noise")

    def scaled(loc: Any = 0.0, scale: Any = 1.0, *_: Any, **named: Any) -> Any:
        return named.get("mean", loc) + named.get("std", scale) * give()

    normal = {"standard_normal": give, "normal": scaled}
    generator = SimpleNamespace(**normal)
    draws = {
        "numpy.random": {"randn": give, "default_rng": lambda *_: generator, **normal},
        "torch": {"randn": give, "randn_like": give, "normal": scaled},
        "jax.random": {"normal": give},
    }
    known = sys.modules if p.conventions.own_noise and "noise" in p.inputs else {}
    with contextlib.ExitStack() as back:
        for module in draws.keys() & known.keys():
            names = vars(known[module])
            back.callback(names.update, dict(names))
            names.update(draws[module])
        if "jax" in known:  # a compiled function would keep one draw
            back.enter_context(known["jax"].disable_jit())
        yield


class Model:
    """A smooth network (xt, t) -> output that remembers where it was first asked."""

    def __init__(self, tables: Tables, x0: Any, conventions: Conventions) -> None:
        self.tables, self.x0, self.conventions = tables, x0, conventions
        self.seen = np.empty((3, tables.T + 1, *x0.shape))  # states, outputs and variances
        self.asked = np.zeros((tables.T + 1, len(x0)), dtype=bool)

    def __call__(self, xt: Any, t: Any, *_: Any, **__: Any) -> Any:
        c, array = self.conventions, self.conventions.numpy(xt)
        x = np.asarray(array, dtype=np.float64).reshape(len(array), -1)
        if x.shape != self.x0.shape:
            wanted = f"for {self.x0.shape}"
            raise ValueError(f"the model is asked at x^t of shape {array.shape}, {wanted}")
        times = np.broadcast_to(np.ravel(c.numpy(t)) + 1 - c.first_t, (len(x),)).astype(int)
        if times.min() < 1 or times.max() > self.tables.T:
            raise ValueError(f"the model is asked at t = {t}, outside the schedule")
        _, *answer = self._asked_at(x, times)
        shaped = [c.native(each.reshape(array.shape).astype(c.carrier)) for each in answer]
        return tuple(shaped) if c.reverse_var == "given" else shaped[0]

    def _asked_at(self, x: Any, times: Any) -> Any:
        """The states, what is predicted there, and variances as they are handed over."""
        s, c, t = self.tables, self.conventions, times[:, None]
        root, std = np.sqrt(s.abar[t]), np.sqrt(s.one_minus_abar[t])
        eps = 0.9 * ((x - root * self.x0) / std) + 0.3 * np.sin(2.0 * x + t)
        x0 = (x - std * eps) / root
        mean = exact_posterior(s, x0, x, t)[0]
        made = {"eps": eps, "x0": x0, "mean": mean, "v": root * eps - std * x0, "score": -eps / std}
        var = c.write("var", s.beta[t] * np.exp(0.3 * np.sin(x)))
        answer = np.stack([x, c.rounded(made[c.model]), var])
        new = np.flatnonzero(~self.asked[times, np.arange(len(x))])
        self.seen[:, times[new], new] = answer[:, new]
        self.asked[times[new], new] = True
        return answer

    def inputs(self, t: Any) -> dict[str, Any]:
        """The states, outputs and variances where it was asked, at t or in a loop over all t."""
        rows = np.arange(len(self.x0))
        if t is None and not self.asked[1, 0]:  # L_0 is left out: compared with that of a draw
            noise = np.random.default_rng(0).standard_normal(self.x0.shape)
            self._asked_at(noisy(self.tables, self.x0, 1, noise), np.ones_like(rows))
        times = np.arange(1, self.tables.T + 1)[:, None] if t is None else t[:, 0]
        missed = np.where(self.asked[times, rows], np.inf, times - 1).min()
        if missed < np.inf:
            raise Fault(f"does not ask the model at t = {missed + self.conventions.first_t:.0f}")
        seen = self.seen[:, times, rows]
        if t is not None:
            return dict(zip(("xt", "output", "var_t"), seen, strict=True))
        self._check_states(seen[0])
        names = ("xs", "outs", "vars_t", "x_1", "out_1", "var_1")
        return dict(zip(names, (*seen[:, 1:], *seen[:, 0]), strict=True))

    def _check_states(self, xs: Any) -> None:
        """A Fault where the noise of the states x^t, t = 1..T, is not standard normal."""
        abar, rest = self.tables.abar[1:, None, None], self.tables.one_minus_abar[1:, None, None]
        noise = ((xs - np.sqrt(abar) * self.x0) / np.sqrt(rest)).reshape(len(xs), -1)
        mean, square, n = noise.mean(1), (noise**2).sum(1), noise.shape[1]
        tails = [ndtr(-np.abs(mean) * n**0.5), chdtr(n, square), chdtrc(n, square)]
        if (unlikely := np.min(tails, 0) < 1e-12).any():
            k = int(unlikely.argmax())
            said = f"its noise has mean {mean[k]:.2g} and mean square {square[k] / n:.2g}"
            t = k + self.conventions.first_t
            raise Fault(f"asks the model at an x^t that is not drawn from q at t = {t}: {said}")


# The call


def call(function: Any, problems: list[Problem], name: str = "f") -> list[Returned]:
    """One call; an answer for each quantity, None for those that the function leaves out."""
    c = problems[0].conventions
    try:
        with faults():
            result, asked = _result(function, problems[0])
            parts = _parts(result, problems)
    except Fault as fault:
        return [Fault(f"{fault}{_hint(str(fault), name, problems[0])}")] * len(problems)
    if len(parts) == 3 and c.spread == "logvar":  # mean, variance, log variance
        c, (mean, var, log_var) = replace(c, spread="var"), problems
        problems = [mean, replace(var, conventions=c, trees=right(var.quantity, c)), log_var]
    problems = [replace(p, inputs=p.inputs | asked) for p in problems]
    answers: list[Returned] = [None] * len(problems)
    for k, part in enumerate(parts):
        try:
            answers[k] = _checked(part, problems[k])
        except Fault as fault:
            answers[k] = fault
    return answers


def _hint(said: str, name: str, p: Problem) -> str:
    """What a user may have overlooked."""
    if "'int' object" in said or "not int" in said:
        return "; t comes as an int unless t_shape='batch' is declared"
    if "Tracer" in said and "model" in p.quantity.every:
        return "; the model is NumPy: call it outside jit"
    called = f"; called as {name}({', '.join(p.quantity.arguments(p.conventions))})"
    if "model" in p.quantity.every and p.conventions.reverse_var == "given":
        called += ", where the model returns its output and a variance: see reverse_var"
    if p.quantity.name == "reverse_step":
        called += ": output is the network's; declare own_noise=True for code that draws its noise"
    return called if said.startswith("raises TypeError") else ""


def _argument(p: Problem, name: str) -> Any:
    """An argument as it is handed over."""
    c = p.conventions
    if kind_of(name) == "model":
        return Model(p.tables, p.inputs["x0"], c)
    value = p.inputs[name]
    if kind_of(name) == "time":
        t = value[:, 0] - 1 + c.first_t
        single = p.quantity.whole or (c.t_shape == "scalar" and p.quantity.kind != "table")
        return int(t[0]) if single else c.native(t)
    if name != "log_w":
        value = value.reshape(*value.shape[:-1], *p.setting.components)
    return c.native(value.astype(c.carrier))


def _result(function: Any, p: Problem) -> tuple[Any, dict[str, Any]]:
    """What the function returns, and at what it asked the model that it was handed."""
    c, table = p.conventions, p.quantity.kind == "table"
    if not callable(function) and not table:
        raise Fault(f"is no function, but {type(function).__name__}")
    if not callable(function):
        return function, {}
    if table and c.t_shape == "scalar":
        times = (p.inputs["t"][:, 0] - 1 + c.first_t).tolist()
        return np.array([np.squeeze(c.numpy(function(t))) for t in times]), {}
    with faults("cannot be called: to_native raises "):
        handed = {name: _argument(p, name) for name in p.quantity.arguments(c)}
    with supplied(p):
        result = function(*handed.values())
    for name in [name for name in handed if name != "model"]:
        if not np.array_equal(c.numpy(handed[name]), c.numpy(_argument(p, name))):
            raise Fault(f"changes its argument {name} in place")
    return result, handed["model"].inputs(p.inputs.get("t")) if "model" in handed else {}


def _parts(result: Any, problems: list[Problem]) -> list[Any]:
    """The results in the order of the quantities, of a tuple, or of a mapping by its keys."""
    if isinstance(result, Mapping):
        return [_picked(result, p.quantity.name) for p in problems]
    most = len(problems)
    several = isinstance(result, tuple) or (most > 1 and isinstance(result, list))
    parts = list(result) if several else [result]
    if not min(2, most) <= len(parts) <= most:
        wanted = {1: "a single array", 2: "a tuple of 2"}.get(most, f"a tuple of 2 to {most}")
        raise Fault(f"returns a tuple of {len(parts)} where {wanted} is wanted")
    return parts


def _picked(result: Mapping[Any, Any], name: str) -> Any:
    alike = (each.split() for each in KEYS.split(", "))
    keys = dict.fromkeys([name, *next((each for each in alike if name.endswith(each[0])), ())])
    for key in keys if len(result) != 1 else result:
        if key in result:
            return result[key]
    held = ", ".join(map(str, result))
    raise Fault(f"returns a mapping with keys {held}, none of them {' or '.join(keys)}")


def _checked(result: Any, p: Problem) -> Answer:
    q, c = p.quantity, p.conventions
    with faults(f"returns {type(result).__name__}, which is no array: "):
        array = c.numpy(result)
        dtype = "bfloat16" if "bfloat16" in str(getattr(result, "dtype", "")) else str(array.dtype)
    if array.dtype.kind != "f":
        what = "no array of numbers" if array.dtype.kind in "OSUV" else f"dtype {array.dtype}"
        raise Fault(f"returns {what} where floating-point numbers are wanted")
    wanted = p.returned(c.components)
    if q.kind in ("var", "table") or q.name.endswith("log_var"):  # a number for each row will do
        if array.shape == wanted[:1]:
            array = array.reshape(*wanted[:1], *[1] * (len(wanted) - 1))
        with contextlib.suppress(ValueError):
            array = np.broadcast_to(array, wanted)
    if array.shape != wanted:
        fits = [each for each in ("sum", "none") if p.returned(each) == array.shape]
        hint = f": that would be components={fits[0]!r}" if fits and q.kind == "nats" else ""
        raise Fault(f"returns shape {array.shape} where {wanted} is wanted{hint}")
    known = dtype if dtype in EPS else "float64"
    return Answer(p, array.astype(np.float64).reshape(p.shape), known)

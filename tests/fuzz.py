"""Random calls of the public functions: each ends in a value or an error that names an argument.

    python tests/fuzz.py [--seconds 30] [--seed 0] [--only lower_bound]

A call takes good arguments and replaces up to two of them by hostile ones: nan, infinities, huge
and tiny numbers, empty and ragged arrays, other shapes and dtypes, other memory layouts, None,
strings, callables that return nonsense or write into what they are handed. It counts as a fault if
the call warns, raises anything but ValueError, TypeError or FloatingPointError, raises without
naming one of the function's parameters, changes an array that it was given, or takes longer than
ten seconds. The command exits 1 if there was a fault, and prints the call that shows it.
"""

import argparse
import copy
import inspect
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from dpm_ref import (
    Bernoulli,
    BinomialDiffusion,
    Gaussian,
    GaussianDiffusion,
    bounds,
    data,
    exact,
    information,
    likelihood,
    posteriors,
    reverse,
    schedules,
    training,
)

SLOW = 10.0  # seconds
ARRAYS = [0.5, [0.5, 0.25], [[0.0, 1.0], [1.0, 1.0]], [[0.3, -1.2], [2.0, 0.1], [0.0, 0.0]], [1.0]]
HOSTILE: list[Any] = [
    None, "x", True, False, -1, 0, 1, 2, 3, 2.5, 10**30,
    1e-320, 1e-300, 1e154, 1e200, -1e200, 1e308,
    float("nan"), float("inf"), -float("inf"), 1 + 2j, [], [[]], [[1.0], [1.0, 2.0]], [None], ["a"],
    np.zeros((0, 2)), np.zeros((2, 0)), np.full((3, 2), np.nan), np.full((3, 2), 1e200),
    np.full((3, 2), -np.inf), np.arange(6).reshape(3, 2), np.ones((3, 2), bool),
    np.ones((3, 2), "f4"),
    np.asfortranarray(np.ones((3, 2))), np.ones((6, 4))[::2, ::2],
    np.ma.masked_array([1.0, 0.0], [True, False]),
    np.array([[1.0, 0.0]], dtype=object), np.array(1.0), np.ones((2, 1, 2)), {}, object(),
    lambda *_: None,
    np.random.default_rng(0), np.random.RandomState(0), Gaussian([0.0], 1.0), Bernoulli([0.5]),
]  # fmt: skip


def overwriting(x: Any, *_: Any) -> SimpleNamespace:
    x *= 0.5
    return SimpleNamespace(mean=x, var=0.5, prob1=np.full(x.shape, 0.5))


CALLABLES: list[Any] = [
    overwriting, lambda x, *_: x, lambda x, *_: (x, 1.0), lambda *_: 0.5,
    lambda x, *_: Gaussian(x[:1], 1.0),
    lambda x, *_: SimpleNamespace(mean=np.full(x.shape, np.nan), var=1.0),
    lambda x, *_: SimpleNamespace(mean=x.astype("f4"), var=np.float32(1.0)),
    lambda x, *_: SimpleNamespace(prob1=np.full(x.shape, 1.5)),
    lambda x, *_: SimpleNamespace(log_prob=lambda y: y),
    lambda x, *_: SimpleNamespace(log_prob=lambda y: np.full(len(y), np.nan)), dict, Gaussian,
]  # fmt: skip


class Call(NamedTuple):
    """A public function and what makes good arguments for it."""

    function: Callable[..., Any]
    arguments: Callable[[], dict[str, Any]]


def calls(rng: np.random.Generator) -> dict[str, Call]:
    """Every public function that takes numbers, by name."""
    gaussian, bits = GaussianDiffusion([0.1, 0.2, 0.3]), BinomialDiffusion([0.1, 0.3, 0.5], 0.3)
    model = reverse.GaussianReverse(gaussian, 2, hidden=(4,))
    points, ones = np.array([[0.5, -1.0], [1.5, 0.2]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    kinds = [(gaussian, points), (bits, ones)]

    def either(extra: Callable[[Any, Any], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        def arguments() -> dict[str, Any]:
            diffusion, x0 = kinds[rng.integers(2)]
            return {"diffusion": diffusion, "x0": x0.copy()} | extra(diffusion, x0)

        return arguments

    def sampled(diffusion: Any, _: Any) -> dict[str, Any]:
        return {"reverse": diffusion.kernel, "n_samples": 4, "rng": generator()}

    def chain(diffusion: Any, _: Any) -> dict[str, Any]:
        return {"reverse": diffusion.kernel, "n": 3, "d": 2, "rng": generator()}

    def without(name: str, arguments: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        return lambda: {key: value for key, value in arguments().items() if key != name}

    def generator() -> np.random.Generator:
        return np.random.default_rng(int(rng.integers(2**31)))

    def numbers(*names: str) -> Callable[[], dict[str, Any]]:
        return lambda: {name: [0.25, 0.5] for name in names}

    def trained() -> dict[str, Any]:
        return {
            "model": model,
            "x0": points.copy(),
            "state": training.start(model, rng=generator()),
            "rng": generator(),
            "steps": 2,
            "learning_rate": lambda step: 1e-3,
        }

    def gradient() -> dict[str, Any]:
        return {
            "model": model,
            "params": model.network.init(rng=generator()),
            "x0": points.copy(),
            "t": 2,
            "noise": generator().standard_normal((2, 2)),
        }

    def filtered(diffusion: Any, _: Any) -> dict[str, Any]:
        factor = (
            posteriors.GaussianFactor([1.0, 0.0], 1.0)
            if diffusion is gaussian
            else (posteriors.BernoulliFactor([0.9, 0.5], [0.1, 0.5]))
        )
        return {
            "reverse": diffusion.kernel,
            "r": posteriors.constant(factor),
            "n": 8,
            "d": 2,
            "rng": generator(),
        }

    table = {
        "Gaussian": (Gaussian, numbers("mean", "var")),
        "Bernoulli": (Bernoulli, numbers("prob1")),
        "Bernoulli of pairs": (Bernoulli, lambda: {"prob1": [0.25, 0.5], "prob0": [0.75, 0.5]}),
        "Gaussian.log_prob": (Gaussian([0.0, 1.0], 2.0).log_prob, lambda: {"x": points.copy()}),
        "Bernoulli.log_prob": (Bernoulli([0.5, 0.1]).log_prob, lambda: {"x": ones.copy()}),
        "Gaussian.kl": (Gaussian([0.0, 1.0], 2.0).kl, lambda: {"other": Gaussian([1.0, 1.0], 1.0)}),
        "Gaussian.sample": (Gaussian([0.0, 1.0], 2.0).sample, lambda: {"rng": generator()}),
        "GaussianDiffusion": (GaussianDiffusion, numbers("beta")),
        "BinomialDiffusion": (BinomialDiffusion, numbers("beta", "prior")),
        "abar": (gaussian.abar, lambda: {"t": 2}),
        "posterior_var": (gaussian.posterior_var, lambda: {"t": [2, 3]}),
        "constant": (schedules.constant, lambda: {"T": 3, "beta": 0.1}),
        "linear": (schedules.linear, lambda: {"T": 3, "first": 0.1, "last": 0.2}),
        "cosine": (schedules.cosine, lambda: {"T": 3}),
        "log_snr_linear": (
            schedules.log_snr_linear,
            lambda: {"T": 3, "beta1": 0.1, "abar_T": 0.01},
        ),
        "constant_erasure": (schedules.constant_erasure, lambda: {"T": 3}),
        "gaussian_kl": (bounds.gaussian_kl, numbers("mean_q", "var_q", "mean_p", "var_p")),
        "bernoulli_kl": (bounds.bernoulli_kl, numbers("q1", "p1")),
        "gaussian_entropy": (bounds.gaussian_entropy, numbers("var")),
        "bernoulli_entropy": (bounds.bernoulli_entropy, numbers("p1")),
        "to_bits": (bounds.to_bits, numbers("nats")),
        "log_mean_exp": (information.log_mean_exp, lambda: {"values": [0.1, 2.0], "axis": -1}),
        "lower_bound": (bounds.lower_bound, either(sampled)),
        "null_log_likelihood": (bounds.null_log_likelihood, either(lambda *_: {})),
        "preconditions": (bounds.preconditions, either(lambda *_: {})),
        "reverse_entropy_bounds": (bounds.reverse_entropy_bounds, either(lambda *_: {"t": 2})),
        "log_likelihood": (likelihood.log_likelihood, either(sampled)),
        "sandwich": (
            likelihood.sandwich,
            without("x0", either(lambda *a: chain(*a) | {"n_samples": 4})),
        ),
        "from_log_weights": (
            likelihood.from_log_weights,
            lambda: {"log_w": generator().normal(size=(30, 2))},
        ),
        "log_weights": (
            likelihood.log_weights,
            without(
                "x0",
                either(
                    lambda diffusion, x0: {
                        "reverse": diffusion.kernel,
                        "trajectory": np.stack([x0] * 4),
                    }
                ),
            ),
        ),
        "sample_trajectory": (reverse.sample_trajectory, without("x0", either(chain))),
        "swiss_roll": (data.swiss_roll, lambda: {"n": 3, "noise": 0.1, "rng": generator()}),
        "heartbeat": (
            data.heartbeat,
            lambda: {"n": 3, "rng": generator(), "length": 6, "period": 3},
        ),
        "FiniteData": (
            exact.FiniteData,
            without("x0", either(lambda diffusion, x0: {"atoms": x0})),
        ),
        "train": (training.train, trained),
        "objective": (training.objective, gradient),
        "cosine_decay": (training.cosine_decay, lambda: {"peak": 0.1, "steps": 10}),
        "from_log_steps": (training.from_log_steps, lambda: {"s": [0.1, 0.2], "beta1": 0.1}),
        "GaussianReverse": (
            reverse.GaussianReverse,
            lambda: {"diffusion": gaussian, "d": 2, "hidden": (4,)},
        ),
        "GaussianFactor": (posteriors.GaussianFactor, numbers("mean", "var")),
        "BernoulliFactor": (posteriors.BernoulliFactor, numbers("r1", "r0")),
        "particle_filter": (posteriors.particle_filter, without("x0", either(filtered))),
    }
    for name in ("kernel", "marginal", "posterior", "edge"):
        for diffusion, x in kinds:
            good = {
                "kernel": {"x_prev": x, "t": 1},
                "marginal": {"x0": x, "t": 2},
                "edge": {"x1": x},
                "posterior": {"x0": x, "xt": x, "t": 2},
            }[name]
            table[f"{type(diffusion).__name__}.{name}"] = (
                getattr(diffusion, name),
                lambda good=good: {key: copy.copy(v) for key, v in good.items()},
            )
    return {name: Call(*entry) for name, entry in table.items()}


def hostile(name: str, rng: np.random.Generator) -> Any:
    """Something that does not belong where `name` stands."""
    if name in ("reverse", "edge", "learning_rate", "callback") and rng.random() < 0.7:
        return CALLABLES[rng.integers(len(CALLABLES))]
    if rng.random() < 0.2:
        return np.asarray(ARRAYS[rng.integers(len(ARRAYS))]) * 10.0 ** rng.integers(-320, 308)
    return HOSTILE[rng.integers(len(HOSTILE))]


def names(function: Callable[..., Any]) -> set[str]:
    """What an error may call its arguments."""
    parameters = set(inspect.signature(function).parameters)
    return parameters | {"shape", "edge", "reverse", "log w", "K is", "xt", "x_prev", "noise"}


def fault(call: Call, arguments: dict[str, Any]) -> str:
    """What is wrong with how a call ends; nothing if it ends well."""
    arrays = {key: value for key, value in arguments.items() if isinstance(value, np.ndarray)}
    before = {key: value.copy() for key, value in arrays.items()}
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call.function(**arguments)
    except posteriors.ContradictionWarning:
        pass
    except (ValueError, TypeError, FloatingPointError) as error:
        text = str(error)
        if not any(re.search(rf"\b{re.escape(name)}", text) for name in names(call.function)):
            return f"an error that names no argument: {type(error).__name__}: {text}"
    except Warning as warning:
        return f"a warning: {warning!r}"
    except Exception as error:
        return f"an error of another kind: {error!r}"
    if time.monotonic() - start > SLOW:
        return f"{time.monotonic() - start:.1f} seconds"
    for key, value in arrays.items():
        if value.dtype != object and not np.array_equal(
            value, before[key], equal_nan=value.dtype.kind in "fc"
        ):
            return f"{key} was changed"
    return ""


def fuzz(seconds: float, seed: int, only: str = "") -> tuple[int, Counter[tuple[str, str]]]:
    """How many calls were made in the time, and the faults by function and kind."""
    rng = np.random.default_rng(seed)
    table, made, faults = calls(rng), 0, Counter[tuple[str, str]]()
    table = {name: call for name, call in table.items() if only in name}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        name = list(table)[made % len(table)]
        arguments = table[name].arguments()
        for key in rng.choice(
            list(arguments), size=min(len(arguments), int(rng.integers(3))), replace=False
        ):
            arguments[str(key)] = hostile(str(key), rng)
        shown = {key: str(value)[:60].replace("\n", " ") for key, value in arguments.items()}
        found = fault(table[name], arguments)
        made += 1
        if found:
            kind = re.sub(r"[-+\d.e]+|'.*'|got .*", "#", found)[:90]
            if not faults[name, kind]:
                print(f"{name}({shown}): {found[:300]}")
            faults[name, kind] += 1
    return made, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="functions whose names contain this")
    options = parser.parse_args()
    made, faults = fuzz(options.seconds, options.seed, options.only)
    print(f"{made} calls, {sum(faults.values())} faults of {len(faults)} kinds")
    return int(bool(faults) or made < 100)


if __name__ == "__main__":
    sys.exit(main())

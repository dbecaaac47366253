"""Conventions of the code under test: how it counts time, writes variances, reduces, and predicts,
and which schedule it computes with.

Inside `check` everything is in the paper's terms: vectors (n, d), t = 1..T, variances, nats per
component.
"""

import contextlib
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from dpm_ref import validation
from dpm_ref.schedules import Schedule, cosine
from dpm_ref.validation import Array

__all__ = ["CHOICES", "EPS", "NAMED", "RULES", "WRITE", "Conventions", "near", "schedule_of"]

EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
WRITE: dict[str, Callable[[Any], Any]] = {"var": lambda v: v, "std": np.sqrt, "logvar": np.log}


def _declared(default: Any, about: str, rule: str, holds: Callable[[Any], bool], **of: Any) -> Any:
    return field(default=default, metadata={"about": about, "rule": rule, "holds": holds, **of})


def _one_of(about: str, *choices: Any) -> Any:
    """One of these values, the first by default."""

    def holds(value: Any) -> bool:
        return value in choices and isinstance(value, bool) == isinstance(choices[0], bool)

    rule = f"one of {', '.join(map(repr, choices))}"
    return _declared(choices[0], about, rule, holds, choices=choices)


def _at_least(about: str, least: float, default: float) -> Any:
    def holds(value: Any) -> bool:
        return isinstance(value, int | float) and least <= value < np.inf

    return _declared(default, about, f"a finite number >= {least:g}", holds)


def _is_shape(value: Any) -> bool:
    batch = isinstance(value, tuple) and len(value) >= 2
    return batch and all(type(k) is int and k > 0 for k in value)


SHAPE = _declared(None, "of a batch of x^0", "a tuple (n, ...) of integers >= 1", _is_shape)
TO = _declared(None, "makes of NumPy's arrays what the code takes", "a callable", callable)
FROM = _declared(None, "makes NumPy's arrays of what it returns", "a callable", callable)
LIMIT = "seconds for all calls of a function in one pass, in the main thread alone"


@dataclass(frozen=True)
class Conventions:
    """What is declared of the run, or of one function."""

    first_t: int = _one_of("how the first step is counted", 1, 0)
    t_shape: str = _one_of("t as an int, or as an array with one for each row", "scalar", "batch")
    spread: str = _one_of("how variances are handed over and returned", "var", "std", "logvar")
    unit: str = _one_of("of divergences, entropies and likelihoods", "nats", "bits")
    components: str = _one_of("their reduction; 'none': each is returned", "sum", "mean", "none")
    dtype: str = _one_of("what is computed in", "float64", "float32", "bfloat16")
    reverse_var: str = _one_of(
        "p's variance; 'given': as an argument, or by the model", "given", "posterior", "beta"
    )
    model: str = _one_of("what a network predicts", "eps", "x0", "mean", "v", "score")
    decoder: str = _one_of("p(x^0 | x^1) of nll and vlb_term", "discretised", "gaussian")
    silent: bool = _one_of("whether the last reverse step adds no noise", True, False)
    own_noise: bool = _one_of("whether code draws its noise; its draws are supplied", False, True)
    eta: float = _at_least("DDIM's: 0 without noise, 1 as DDPM", 0.0, 0.0)
    time_limit: float = _at_least(LIMIT, 1e-3, 60.0)
    shape: tuple[int, ...] | None = SHAPE
    to_native: Callable[[Any], Any] | None = TO
    from_native: Callable[[Any], Any] | None = FROM

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not each.default and not each.metadata["holds"](value):
                raise ValueError(f"{each.name} must be {each.metadata['rule']}, got {value!r}")

    def but(self, named: Mapping[str, Any]) -> "Conventions":
        """The same but for these; an error at a name that does not exist."""
        for name in [name for name in named if name not in RULES]:
            rule = f"conventions must be among {', '.join(RULES)}"
            raise ValueError(f"{rule}, got {name}{near(name, RULES)}")
        return replace(self, **named)

    @property
    def carrier(self) -> str:
        """The NumPy type of arguments; bfloat16 has none, its values are float32 numbers."""
        return "float32" if self.dtype == "bfloat16" else self.dtype

    def rounded(self, value: Any) -> Any:
        """The nearest number that every type declared holds, as float64."""
        single = np.asarray(value, dtype=np.float32)
        if self.dtype == "bfloat16":
            bits = single.view(np.uint32) + np.uint32(0x7FFF) + (single.view(np.uint32) >> 16 & 1)
            single = (bits & np.uint32(0xFFFF0000)).view(np.float32)
        return single.astype(np.float64)

    def write(self, kind: str, value: Any) -> Any:
        """An argument of this kind, as it is handed over."""
        if kind == "var":
            return self.rounded(WRITE[self.spread](value))
        bits = kind == "nats" and self.unit == "bits"
        return self.rounded(value / np.log(2.0)) if bits else value

    def native(self, array: Any) -> Any:
        return (self.to_native or np.asarray)(np.array(array))

    def numpy(self, result: Any) -> Any:
        result = self.from_native(result) if self.from_native else result
        for step in ("detach", "cpu"):
            result = getattr(result, step)() if hasattr(result, step) else result
        if "bfloat16" in str(getattr(result, "dtype", "")):
            result = result.float() if hasattr(result, "float") else result.astype(np.float32)
        return np.asarray(result)


RULES = {each.name: each.metadata for each in fields(Conventions)}
CHOICES = {name: rule["choices"] for name, rule in RULES.items() if "choices" in rule}


def near(name: Any, known: Iterable[str]) -> str:
    """A hint at names that may be meant."""
    words, names = set(str(name).split("_")), list(known)
    found = difflib.get_close_matches(str(name), names, 3, 0.5)
    found = found or [each for each in names if words & set(each.split("_"))][:3]
    return f"; near it: {', '.join(found)}" if found else ""


# The schedule, by any of its tables or by the name its authors gave it


def _linear(T: int, first: float = 1e-4, last: float = 0.02, scaled: bool = True) -> Array:
    factor = 1000.0 / T if scaled else 1.0
    return np.linspace(factor * first, factor * last, T)


def _quadratic(T: int, first: float = 1e-4, last: float = 0.02) -> Array:
    return np.linspace(first**0.5, last**0.5, T) ** 2


def _cosine(T: int, offset: float = 0.008, cap: float = 0.999) -> Array:
    return cosine(T, offset=offset, largest=cap)


def _sigmoid(T: int, first: float = 1e-4, last: float = 0.02, end: float = 6.0) -> Array:
    return first + (last - first) / (1.0 + np.exp(-np.linspace(-end, end, T)))


NAMED = {"linear": _linear, "quadratic": _quadratic, "cosine": _cosine, "sigmoid": _sigmoid}
# log abar_t from another table, and how that table runs
_OTHERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "abar": (np.log, "fall from below 1"),
    "log_snr": (lambda value: -np.logaddexp(0.0, -value), "fall"),
    "sigmas": (lambda value: -np.log1p(value * np.abs(value)), "rise from above 0"),
}


def schedule_of(**declared: Any) -> Array | None:
    """beta_1..T; None where nothing is declared."""
    given = {name: value for name, value in declared.items() if value is not None}
    if len(given) > 1:
        words = f"one of {', '.join(declared)} declares the schedule"
        raise ValueError(f"{words}, got {', '.join(given)}")
    for name, value in given.items():
        if name != "beta":
            return Schedule(_rates(name, validation.finite(name, value))).beta
        spelled = isinstance(value, str | tuple) and any(isinstance(x, str) for x in value)
        return Schedule(_by_name(value) if spelled else value).beta
    return None


def _rates(name: str, table: Array) -> Any:
    one_axis = table.ndim == 1 and table.size > 0
    validation.shaped(name, table, "have shape (T,) with T >= 1", one_axis)
    log_abar, runs = _OTHERS[name]
    with np.errstate(invalid="ignore", divide="ignore"):
        beta = -np.expm1(np.diff(log_abar(table), prepend=0.0))
    rule = f"{runs}, so that every beta_t lies in (0, 1]"
    validation.ruled(name, table, rule, lambda _: beta > 0)  # nan is not
    return beta


def _by_name(value: Any) -> Array:
    match value:
        case (str(name), int(T), *rest) if name in NAMED and T > 0 and len(rest) < 2:
            with contextlib.suppress(TypeError):  # parameters that it does not have
                return NAMED[name](T, **(rest[0] if rest else {}))
    rule = f"beta must be (name, T) or (name, T, parameters), name among {', '.join(NAMED)}"
    raise ValueError(f"{rule}, got {value!r}")

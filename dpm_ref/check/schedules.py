"""The schedule declared, by any of its tables, or by the name its authors gave it."""

from typing import Any

import numpy as np

from dpm_ref.schedules import Schedule, cosine
from dpm_ref.validation import Array

__all__ = ["NAMED", "schedule_of"]


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


def schedule_of(**declared: Any) -> Array | None:
    """beta_1..T; None where nothing is declared."""
    given = {name: value for name, value in declared.items() if value is not None}
    if len(given) > 1:
        raise ValueError(
            f"one of {', '.join(declared)} declares the schedule, got {', '.join(given)}")
    if not given:
        return None
    ((name, value),) = given.items()
    if name == "beta" and isinstance(value, tuple | str) and isinstance(value[0], str):
        return _by_name(value)
    if name == "beta":
        return Schedule(value).beta
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a finite array of shape (T,), got shape {array.shape}")
    log_abar = {"abar": lambda: np.log(array), "log_snr": lambda: -np.logaddexp(0.0, -array),
        "sigmas": lambda: -np.log1p(array**2)}[name]()
    return Schedule(-np.expm1(np.diff(log_abar, prepend=0.0))).beta


def _by_name(value: Any) -> Array:
    parts: tuple[Any, ...] = (value,) if isinstance(value, str) else tuple(value)
    if parts[0] not in NAMED or len(parts) not in (2, 3) or not isinstance(parts[1], int):
        raise ValueError(
            f"beta must be (name, T) or (name, T, parameters), name among {', '.join(NAMED)}, got "
            f"{value!r}"
        )
    return Schedule(NAMED[parts[0]](parts[1], **(parts[2] if len(parts) == 3 else {}))).beta

"""Conventions of the code under test: how it counts time, writes variances, reduces, and predicts.

Inside `check` everything is in the paper's terms: vectors (n, d), t = 1..T, variances, nats per
component.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CHOICES", "EPS", "Conventions"]

CHOICES: dict[str, tuple[Any, ...]] = {"first_t": (1, 0), "t_shape": ("scalar", "batch"),
    "spread": ("var", "std", "logvar"), "unit": ("nats", "bits"),
    "components": ("sum", "mean", "none"), "dtype": ("float64", "float32", "bfloat16"),
    "reverse_var": ("given", "posterior", "beta"), "model": ("eps", "x0", "mean", "v", "score"),
    "decoder": ("discretised", "gaussian"), "silent": (True, False)}
EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
_WRITE: dict[str, Callable[[Any], Any]] = {"var": lambda v: v, "std": np.sqrt, "logvar": np.log}


@dataclass(frozen=True)
class Conventions:
    """What is declared; the first of each of `CHOICES` unless said otherwise."""

    first_t: int = 1
    t_shape: str = "scalar"
    spread: str = "var"
    unit: str = "nats"
    components: str = "sum"
    dtype: str = "float64"
    reverse_var: str = "given"  # the rule for the variance of a reverse kernel
    model: str = "eps"  # what a network predicts
    decoder: str = "discretised"  # p(x^0 | x^1) of `nll`
    silent: bool = True  # whether the last reverse step adds no noise
    own_noise: bool = False  # whether the code draws its noise: what it draws is then handed to it
    eta: float = 0.0  # DDIM's
    time_limit: float = 60.0  # seconds for all calls of one function in one pass
    shape: tuple[int, ...] | None = None  # (n, ...) of a batch of n vectors
    to_native: Callable[[Any], Any] | None = None
    from_native: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices or isinstance(value, bool) != isinstance(choices[0], bool):
                words = ", ".join(map(repr, choices))
                raise ValueError(f"{name} must be one of {words}, got {value!r}")
        shape = self.shape
        if shape is not None and not (isinstance(shape, tuple) and len(shape) >= 2):
            raise ValueError(f"shape must be a tuple (n, ...) of a batch of vectors, got {shape!r}")
        if shape is not None and not all(type(k) is int and k > 0 for k in shape):
            raise ValueError(f"shape must be an integer >= 1 in each entry, got {shape!r}")
        for name in ("to_native", "from_native"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise ValueError(f"{name} must be a callable, got {getattr(self, name)!r}")
        for name, least in (("eta", 0.0), ("time_limit", 1e-3)):
            if not isinstance(getattr(self, name), int | float) or not getattr(self, name) >= least:
                raise ValueError(
                    f"{name} must be a number >= {least:g}, got {getattr(self, name)!r}")

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
        if kind == "nats" and self.unit == "bits":
            value = value / np.log(2.0)
        return self.rounded(_WRITE[self.spread](value) if kind == "var" else value)

    def native(self, array: Any) -> Any:
        copy = np.array(array)
        return copy if self.to_native is None else self.to_native(copy)

    def numpy(self, result: Any) -> Any:
        if self.from_native is not None:
            return np.asarray(self.from_native(result))
        for step in ("detach", "cpu"):
            result = getattr(result, step)() if hasattr(result, step) else result
        if "bfloat16" in str(getattr(result, "dtype", "")):
            result = result.float() if hasattr(result, "float") else result.astype(np.float32)
        return np.asarray(result)

"""How someone else's code counts time, writes variances, measures information and shapes its arrays.

Inside, everything is in the paper's terms: states (n, d), t = 1..T, variances, nats for every component. `Conventions.encode`
turns an argument into what the other code expects, `present` turns a truth into what it should return. The same two, under a
convention other than the one declared, are what a mistaken convention looks like.

    first_t     1 | 0                     the number of the first step
    t_shape     "scalar" | "batch"        one int for a call, or an array (n,)
    spread      "var" | "std" | "logvar"  what stands for a variance, in arguments and results; of a mean, a variance and a log
                                          variance returned together the second is a variance under "logvar" too
    unit        "nats" | "bits"
    components  "sum" | "mean" | "none"   over the components of a vector
    dtype       "float64" | "float32"     in which the other code computes; its arguments come in it
    shape       (n, ...)                  a batch of n vectors, as the other code has them

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.1 and 2.4 for the quantities.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.validation import Array

__all__ = ["Conventions", "from_any"]

CHOICES = {"first_t": (1, 0), "t_shape": ("scalar", "batch"), "spread": ("var", "std", "logvar"), "unit": ("nats", "bits"),
           "components": ("sum", "mean", "none"), "dtype": ("float64", "float32")}
_LN2 = float(np.log(2.0))


def from_any(result: Any) -> npt.NDArray[Any]:
    """A tensor or array of another library as a NumPy array of the same shape and unit: detached, on the host. Section 2.1."""
    for step in ("detach", "cpu"):
        if hasattr(result, step):
            result = getattr(result, step)()
    if hasattr(result, "numpy") and not isinstance(result, np.ndarray):
        result = result.numpy()
    return np.asarray(result)


@dataclass(frozen=True)
class Conventions:
    """What the other code's conventions are; see the module's docstring. ValueError for a choice that there is not."""

    first_t: int = 1
    t_shape: str = "scalar"
    spread: str = "var"
    unit: str = "nats"
    components: str = "sum"
    dtype: str = "float64"
    shape: tuple[int, ...] | None = None
    to_native: Callable[[Any], Any] | None = None
    from_native: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices or isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {getattr(self, name)!r}")
        if self.shape is not None:
            if not isinstance(self.shape, tuple) or len(self.shape) < 2:
                raise ValueError(f"shape must be a tuple (n, ...) of a batch of n vectors, got {self.shape!r}")
            for size in self.shape:
                validation.count("shape", size, 1)
        for name in ("to_native", "from_native"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise ValueError(f"{name} must be a callable, got {getattr(self, name)!r}")

    @property
    def floating(self) -> type[np.floating[Any]]:
        return np.float32 if self.dtype == "float32" else np.float64

    def native(self, array: npt.NDArray[Any]) -> Any:
        """An array handed over: a copy, converted; shape and unit unchanged. Section 2.1."""
        copy = np.array(array)
        return copy if self.to_native is None else self.to_native(copy)

    def numpy(self, result: Any) -> npt.NDArray[Any]:
        """A result taken back as an array; shape and unit unchanged. Section 2.1."""
        return from_any(result if self.from_native is None else self.from_native(result))

    def encode(self, kind: str, value: Array) -> Array:
        """An argument, in the paper's terms, as the other code writes it; shape unchanged, its unit. Section 2.1."""
        if kind == "spread":
            return _written(self.spread, value)
        return value / _LN2 if kind == "nats" and self.unit == "bits" else value

    def decode(self, kind: str, value: Array) -> Array:
        """The inverse of `encode`: shape unchanged, nats or dimensionless. Section 2.1."""
        if kind == "spread":
            return np.asarray(value if self.spread == "var" else value**2 if self.spread == "std" else np.exp(value))
        return value * _LN2 if kind == "nats" and self.unit == "bits" else value

    def present(self, kind: str, value: Array, var: Array | None = None) -> Array:
        """A result, elementwise (n, d) in the paper's terms, as the other code should return it, its components still flat.

        Kinds: state, prob, table; spread, a variance; nats, summed over components or not; slope and slope_spread, derivatives
        of nats by a mean and by the variance `var`; nats_row, one number for each row. Section 2.1.
        """
        unit = 1.0 / _LN2 if self.unit == "bits" else 1.0
        if kind == "spread":
            return _written(self.spread, value)
        if kind == "nats":
            return unit * (value if self.components == "none" else value.sum(-1) if self.components == "sum" else value.mean(-1))
        if kind == "nats_row":
            return unit * value[..., 0]
        if kind in ("slope", "slope_spread"):
            share = unit / (value.shape[-1] if self.components == "mean" else 1)
            return np.asarray(share * value * (1.0 if kind == "slope" or var is None else self._slope(var)))
        return value[..., 0] if kind == "table" else value

    def _slope(self, var: Array) -> Any:
        """d var by what stands for it."""
        return 1.0 if self.spread == "var" else 2.0 * np.sqrt(var) if self.spread == "std" else var

    def size(self, kind: str, size: Array, value: Array, var: Array | None = None) -> Array:
        """The scale of rounding errors of `present`'s result, given that of the elementwise value (n, d); its unit. Section 2.1."""
        if kind == "spread":
            presented = _written(self.spread, value)
            return 1.0 + np.abs(presented) if self.spread == "logvar" else np.abs(presented)
        return np.abs(self.present(kind, size, var))


def _written(spread: str, var: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(var if spread == "var" else np.sqrt(var) if spread == "std" else np.log(var))


NAMES = tuple(field.name for field in fields(Conventions))

"""What is handed to code that asks for more than arrays: a model to query, noise to draw."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from .conventions import Conventions
from .expressions import Tables

__all__ = ["Model", "supplied"]


@dataclass(eq=False)
class Model:
    """A smooth network (xt, t) -> output that remembers where it was asked."""

    tables: Tables
    x0: Any
    conventions: Conventions
    asked: dict[tuple[int, int], tuple[Any, Any, Any]] = field(default_factory=dict)

    def __call__(self, xt: Any, t: Any, *_: Any, **__: Any) -> Any:
        c, array = self.conventions, self.conventions.numpy(xt)
        x = np.asarray(array, dtype=np.float64).reshape(len(array), -1)
        if x.shape != self.x0.shape:
            raise ValueError(
                f"the model is asked at x^t of shape {array.shape}, for {self.x0.shape}")
        times = np.broadcast_to(np.ravel(c.numpy(t)) + 1 - c.first_t, (len(x),)).astype(int)
        if times.min() < 1 or times.max() > self.tables.T:
            raise ValueError(f"the model is asked at t = {t}, outside the schedule")
        out, var = (c.rounded(each) for each in self._output(x, times[:, None]))
        for row, at in enumerate(times):
            self.asked.setdefault((int(at), row), (x[row], out[row], var[row]))
        shaped = [c.native(each.reshape(array.shape).astype(c.carrier)) for each in (out, var)]
        return tuple(shaped) if c.reverse_var == "given" else shaped[0]

    def _output(self, x: Any, t: Any) -> tuple[Any, Any]:
        """What is predicted, and a variance as it is handed over."""
        s, c = self.tables, self.conventions
        root, std = np.sqrt(s.abar[t]), np.sqrt(s.one_minus_abar[t])
        eps = (x - root * self.x0) / std
        eps = 0.9 * eps + 0.3 * np.sin(2.0 * x + t)
        x0 = (x - std * eps) / root
        mean = (np.sqrt(s.abar_prev[t]) * s.beta[t] * x0 + np.sqrt(s.alpha[t])
            * s.one_minus_abar_prev[t] * x) / s.one_minus_abar[t]
        made = {"eps": eps, "x0": x0, "mean": mean, "v": root * eps - std * x0, "score": -eps / std}
        return made[c.model], c.write("var", s.beta[t] * np.exp(0.3 * np.sin(x)))

    def inputs(self, t: Any = None) -> dict[str, Any]:
        """The states, outputs and variances at which it was asked; KeyError of (t, row) if not."""
        rows = range(len(self.x0))
        if t is not None:
            at = [self.asked[int(each), row] for row, each in enumerate(np.ravel(t))]
            return {"xt": np.array([a[0] for a in at]), "output": np.array([a[1] for a in at]),
                "var_t": np.array([a[2] for a in at])}
        x, out, var = (
            np.array(
            [[self.asked[t, row][k] for row in rows] for t in range(1, self.tables.T + 1) if t > 1
                or (1, 0) in self.asked])
            for k in range(3))
        first = len(x) - (self.tables.T - 1)  # 0 if it was not asked at t = 1
        one = x[0] if first else 0.0 * self.x0
        return {"xs": x[first:], "outs": out[first:], "vars_t": var[first:], "x_1": one,
            "out_1": out[0] if first else one, "var_1": var[0] if first else one + 1.0}


@contextlib.contextmanager
def supplied(noise: Any, c: Conventions) -> Iterator[None]:
    """Standard normal draws of NumPy, PyTorch and JAX give this noise."""

    def give(*_: Any, **__: Any) -> Any:
        return c.native(noise)

    def scaled(loc: Any = 0.0, scale: Any = 1.0, *_: Any, **named: Any) -> Any:
        mean, std = named.get("mean", loc), named.get("std", scale)
        return mean + std * give()

    generator = SimpleNamespace(standard_normal=give, normal=scaled)
    places = {
        "numpy.random": {"randn": give, "standard_normal": give, "normal": scaled,
        "default_rng": lambda *_: generator},
        "torch": {"randn": give, "randn_like": give, "normal": scaled},
        "jax.random": {"normal": give}}
    former = []
    for module, names in places.items():
        for name, draw in names.items() if module in sys.modules else ():
            former.append((sys.modules[module], name, getattr(sys.modules[module], name)))
            setattr(sys.modules[module], name, draw)
    try:
        yield
    finally:
        for owner, name, value in former:
            setattr(owner, name, value)

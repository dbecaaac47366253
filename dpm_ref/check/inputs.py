"""Inputs that functions are asked at: generic ones, and the ends of their ranges."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from .expressions import Tables

if TYPE_CHECKING:
    from .quantities import Quantity

__all__ = ["DRAWS", "Setting", "entropy_rises", "meets_eq14"]

Inputs = Iterator[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Setting:
    """A schedule, the shape of a batch, and the user's data if there are any."""

    beta: Any
    pi1: float
    n: int
    d: int
    batch_t: bool = False
    data: Any = None
    rounded: Callable[[Any], Any] = np.asarray

    @property
    def T(self) -> int:
        return int(self.beta.size)

    def times(self, first: int, rng: Any) -> list[Any]:
        edges = [t for t in dict.fromkeys([first, first + 1, 2, 3, self.T - 1, self.T])
            if first <= t <= self.T]
        if not edges:
            return []
        wanted = edges + rng.integers(first, self.T + 1, size=2).tolist()
        if not self.batch_t:
            return [np.full((self.n, 1), t) for t in dict.fromkeys(wanted)]
        calls = -(-len(wanted) // self.n) + 1
        extra = rng.integers(first, self.T + 1, size=calls * self.n - len(wanted)).tolist()
        return list(rng.permutation(wanted + extra).reshape(calls, self.n, 1))

    def states(self, rng: Any, bits: bool = False) -> Any:
        if self.data is not None:
            return self.data[rng.integers(len(self.data), size=self.n)]
        shape = (self.n, self.d)
        return (rng.random(shape) < 0.5) * 1.0 if bits else self.rounded(rng.standard_normal(shape))


def some(name: str, s: Setting, rng: Any, bits: bool = False) -> Any:
    """A draw for an argument of this name, in the paper's terms."""
    normal = rng.standard_normal((s.n, s.d))
    if name in ("x0", "xt", "x_prev", "x1") or name == "bit":
        return s.states(rng, bits or name == "bit")
    if name.startswith("var") or name == "reverse_var":
        return np.exp(s.rounded(normal))
    if name in ("q1", "p1", "prob"):
        return s.rounded(expit(1.5 * normal))
    if name == "w":
        return s.rounded(np.tanh(normal))
    return -np.abs(s.rounded(normal)) if name.startswith("log_r") else s.rounded(normal)


def table_times(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    yield {"t": np.arange(1, s.T + 1)[:, None]}


def at_times(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    for t in s.times(q.first, rng):
        yield {"t": t, "pi1": s.pi1,
            **{name: some(name, s, rng, q.bits) for name in q.every if name != "t"}}


def pairs(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    """Generic numbers, distributions that are close, then the ends of the ranges."""
    for near in (1.0, 1.0, 0.25, 1e-3):
        i = {name: some(name, s, rng) for name in q.every}
        if "mean_q" in i:
            i["mean_p"] = s.rounded(i["mean_q"] + near * i["mean_p"])
            i["var_p"] = i["var_q"] * i["var_p"] ** near
        if "q1" in i and near < 1:
            i["p1"] = s.rounded(i["q1"] + near * i["q1"] * (1 - i["q1"]) * (2 * i["p1"] - 1))
        if "mean" in i and "x" in i:
            i["x"] = s.rounded(i["mean"] + i["x"])
        yield i
    yield from ends(q, s, rng)


CERTAIN = (0.0, 1.0, 1e-6, 0.0, 1.0, 0.5, 1.0 - 2.0**-7)


def ends(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    """Tame inputs: certainty, equal distributions, tiny and huge variances, x far out."""

    def cycled(values: Any, shift: int = 0) -> Any:
        return s.rounded(np.resize(np.roll(values, shift), (s.n, s.d)))

    if not {"q1", "p1", "var", "var_q", "prob"} & set(q.every):
        return
    i = {name: some(name, s, rng) for name in q.every} | {"end": True}
    for name in set(q.every) & {"q1", "prob"}:
        i[name] = cycled(CERTAIN)
    if "p1" in i:
        i["p1"] = (cycled(CERTAIN) if "q1" not in i
            else cycled((0.0, 1.0, 1e-3, 0.5, 0.5, 0.5, 0.75)))
        if "bit" in i:
            i["bit"] = np.where(i["p1"] == 0, 0.0, np.where(i["p1"] == 1, 1.0, i["bit"]))
    for name in set(q.every) & {"var", "var_q", "var_p", "var_y"}:
        i[name] = cycled((1e-8, 1.0, 1e6, 1e-3, 40.0), name in ("var_p", "var_y"))
    if "mean_q" in i:
        i["mean_p"], i["var_p"] = i["mean_q"], np.where(np.arange(s.d) % 2, i["var_q"], i["var_p"])
    if "x" in i:
        i["var"] = cycled((1.0, 1e-2, 1e4))
        i["x"] = s.rounded(i["mean"] + 60.0 * np.sqrt(i["var"]))
    yield i


def weights(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    for offset, scale, m in ((0.0, 1.5, 7), (-3.0, 1.5, 7), (-2000.0, 1.5, 7), (900.0, 300.0, 5),
        (-5.0, 1.0, 1)):
        log_w = s.rounded(offset + scale * rng.standard_normal((m, s.n)))
        yield {"log_w": log_w, "end": scale > 2 or m == 1}
    yield {"log_w": np.full((4, s.n), -np.inf), "end": True}


def data_of(q: "Quantity", s: Setting, rng: Any) -> Any:
    """Data that meet the precondition of (14) or the condition of (24), if none are given."""
    x0 = s.data if s.data is not None else s.states(rng, q.bits)
    eq14 = q.name.endswith("eq14")
    if s.data is not None or not (eq14 or "upper" in q.name):
        return x0
    if not q.bits:
        norm = (x0**2).mean() if eq14 else max(1.0, x0.var(0).mean()) * 1.001
        return s.rounded(x0 / np.sqrt(norm))
    if eq14:
        return rng.permutation(np.arange(x0.size) < round(x0.size * s.pi1)).reshape(x0.shape) * 1.0
    return x0 if entropy_rises(q, s, x0) else np.full_like(x0, float(s.pi1 > 0.5))


def meets_eq14(q: "Quantity", s: Setting, x0: Any) -> bool:
    """Whether the mean of log pi(x^0) is -H_p."""
    if not q.bits:
        return bool(abs(0.5 * ((x0**2).mean() - 1.0)) < 1e-6)
    return bool(abs((x0.mean() - s.pi1) * math.log(s.pi1 / (1.0 - s.pi1))) < 1e-6)


def entropy_rises(q: "Quantity", s: Setting, x0: Any) -> bool:
    """Whether the condition of the upper side of (24) holds."""
    if not q.bits:
        return bool(x0.var(0).sum() <= x0.shape[1] * (1 + 1e-12))
    logit = math.log(s.pi1 / (1.0 - s.pi1))
    return bool(logit * (x0.mean(0) - s.pi1).sum() >= -1e-12)


def _reverse(q: "Quantity", s: Setting, rng: Any, mean: Any, var: Any) -> dict[str, Any]:
    if q.bits:
        return {"probs": s.rounded(expit(rng.standard_normal(mean.shape)))}
    return {"means": s.rounded(mean + np.sqrt(var) * rng.standard_normal(mean.shape)), "vars": var
        * np.exp(0.5 * rng.standard_normal(mean.shape))}


def _exact_posterior(s: Tables, x0: Any, xt: Any, t: Any) -> tuple[Any, Any]:
    root, rest = np.sqrt(s.abar_prev[t]) * s.beta[t], np.sqrt(s.alpha[t]) * s.one_minus_abar_prev[t]
    return ((root * x0 + rest * xt) / s.one_minus_abar[t], s.beta[t] * s.one_minus_abar_prev[t]
        / s.one_minus_abar[t] + 0.0 * x0)


def bound_inputs(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    if s.T < 2:
        return
    tables, t, x0 = Tables.exact(s.beta), np.arange(2, s.T + 1)[:, None, None], data_of(q, s, rng)
    noise = rng.standard_normal((s.T - 1, *x0.shape))
    xs = np.sqrt(tables.abar[t]) * x0 + np.sqrt(tables.one_minus_abar[t]) * noise
    xs = (noise > 0) * 1.0 if q.bits else s.rounded(xs)
    mean, var = _exact_posterior(tables, x0, xs, t)
    yield {"x0": x0, "xs": xs, "pi1": s.pi1, **_reverse(q, s, rng, mean, var)}


def term_inputs(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    tables = Tables.exact(s.beta)
    for t in s.times(q.first, rng):
        x0, xt = s.states(rng, q.bits), s.states(rng, q.bits)
        mean, var = _exact_posterior(tables, x0, xt, np.maximum(t, 2) if s.T > 1 else t)
        law = _reverse(q, s, rng, mean, var)
        yield {"x0": x0, "xt": xt, "t": t, "pi1": s.pi1, "mean": law.get("means"),
            "reverse_var": law.get("vars"), "prob": law.get("probs"),
            **{name: some(name, s, rng) for name in ("eps", "score", "v", "noise", "output")}}


def path_inputs(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    x, tables = [s.states(rng, q.bits)], Tables.exact(s.beta)
    for t in range(1, s.T + 1):
        kept = tables.alpha[t]
        draw = rng.random(x[0].shape) if q.bits else rng.standard_normal(x[0].shape)
        x.append((draw < x[-1] * kept + s.pi1 * (1 - kept)) * 1.0 if q.bits
            else s.rounded(np.sqrt(kept) * x[-1] + np.sqrt(1 - kept) * draw))
    path = np.array(x)
    var = np.broadcast_to(s.beta[:, None, None], path[1:].shape)
    yield {"trajectory": path, "before": path[:-1], "after": path[1:], "end_state": path[-1],
        "start": path[:1], "pi1": s.pi1, **_reverse(q, s, rng, path[:-1], var)}


def entropy_inputs(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    x0 = data_of(q, s, rng)
    for t in dict.fromkeys(int(each[0, 0]) for each in s.times(2, rng)):
        yield {"x0": x0, "t": np.full((len(x0), 1), t), "pi1": s.pi1}


def decoder_inputs(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    """Images of 256 levels in [-1, 1], both ends among them."""
    for _ in range(2):
        x0 = s.rounded(np.float32(rng.integers(0, 256, (s.n, s.d)) / 127.5 - 1.0))
        x0[0, :2] = (-1.0, 1.0)[: x0.shape[1]]
        var = np.exp(s.rounded(2.0 * rng.standard_normal(x0.shape) - 4.0))
        yield {"x0": x0, "mean": s.rounded(x0 + np.sqrt(var) * rng.standard_normal(x0.shape)),
            "var": var}


def loop_inputs(q: "Quantity", s: Setting, rng: Any) -> Inputs:
    """Data for a model's bound; the model answers, and remembers, where it is asked."""
    for i in decoder_inputs(q, s, rng):
        if q.drawn == "loop":
            yield {"x0": s.states(rng) if s.data is not None else i["x0"]} if s.T > 1 else {}
            continue
        for t in s.times(1, rng) if s.T > 1 else ():
            abar = np.cumprod(1 - s.beta)[t - 1]
            xt = np.sqrt(abar) * i["x0"] + np.sqrt(1 - abar) * rng.standard_normal(i["x0"].shape)
            yield {"x0": i["x0"], "xt": s.rounded(xt), "t": t}
        return


DRAWS: dict[str, Callable[["Quantity", Setting, Any], Inputs]] = {"table": table_times,
    "times": at_times, "pairs": pairs, "weights": weights, "bound": bound_inputs,
    "term": term_inputs, "path": path_inputs, "entropy": entropy_inputs, "decoder": decoder_inputs,
    "loop": loop_inputs, "step": loop_inputs}

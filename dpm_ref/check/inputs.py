"""Inputs that functions are asked at: generic ones, and the ends of their ranges."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from .expressions import Tables
from .quantities import Quantity

__all__ = ["DRAWS", "Setting", "exact_posterior", "unmet"]

Inputs = Iterator[dict[str, Any]]
CERTAIN = (0.0, 1.0, 1e-6, 0.0, 1.0, 0.5, 1.0 - 2.0**-7)
BESIDE = (0.0, 1.0, 1e-3, 0.5, 0.5, 0.5, 0.75)  # p1 where CERTAIN is q1
WIDE = (1e-8, 1.0, 1e6, 1e-3, 40.0)
# of log weights: offset, scale and number
WEIGHTS = ((0.0, 1.5, 7), (-3.0, 1.5, 7), (-2000.0, 1.5, 7), (900.0, 300.0, 5), (-5.0, 1.0, 1))


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

    @property
    def tables(self) -> Tables:
        return Tables.exact(self.beta)

    def times(self, first: int, rng: Any) -> list[Any]:
        """Both ends and some between, as columns of n."""
        ends = dict.fromkeys([first, first + 1, 2, 3, self.T - 1, self.T])
        wanted = [t for t in ends if first <= t <= self.T]
        if not wanted:
            return []
        wanted += rng.integers(first, self.T + 1, size=2).tolist()
        if not self.batch_t:
            return [np.full((self.n, 1), t) for t in dict.fromkeys(wanted)]
        calls = -(-len(wanted) // self.n) + 1
        wanted += rng.integers(first, self.T + 1, size=calls * self.n - len(wanted)).tolist()
        return list(rng.permutation(wanted).reshape(calls, self.n, 1))

    def states(self, rng: Any, bits: bool = False) -> Any:
        if self.data is not None:
            return self.data[rng.integers(len(self.data), size=self.n)]
        shape = (self.n, self.d)
        return (rng.random(shape) < 0.5) * 1.0 if bits else self.rounded(rng.standard_normal(shape))


def some(name: str, s: Setting, rng: Any, bits: bool = False) -> Any:
    """A draw for an argument of this name, in the paper's terms."""
    normal = rng.standard_normal((s.n, s.d))
    if name in ("x0", "xt", "x_prev", "x1", "bit"):
        return s.states(rng, bits or name == "bit")
    if name.startswith("var") or name == "reverse_var":
        return np.exp(s.rounded(normal))
    if name in ("q1", "p1", "prob"):
        return s.rounded(expit(1.5 * normal))
    if name == "w":
        return s.rounded(np.tanh(normal))
    return -np.abs(s.rounded(normal)) if name.startswith("log_r") else s.rounded(normal)


def generic(q: Quantity, s: Setting, rng: Any) -> dict[str, Any]:
    return {name: some(name, s, rng, q.bits) for name in q.every if name != "t"}


def table_times(q: Quantity, s: Setting, rng: Any) -> Inputs:
    yield {"t": np.arange(1, s.T + 1)[:, None]}


def at_times(q: Quantity, s: Setting, rng: Any) -> Inputs:
    for t in s.times(q.first, rng):
        yield {"t": t, "pi1": s.pi1, **generic(q, s, rng)}


def pairs(q: Quantity, s: Setting, rng: Any) -> Inputs:
    """Generic numbers, distributions that are close, then the ends of the ranges."""
    for near in (1.0, 1.0, 0.25, 1e-3):
        i = generic(q, s, rng)
        if "mean_q" in i:
            i["mean_p"] = s.rounded(i["mean_q"] + near * i["mean_p"])
            i["var_p"] = i["var_q"] * i["var_p"] ** near
        if "q1" in i and near < 1:
            i["p1"] = s.rounded(i["q1"] + near * i["q1"] * (1 - i["q1"]) * (2 * i["p1"] - 1))
        if "mean" in i and "x" in i:
            i["x"] = s.rounded(i["mean"] + i["x"])
        yield i
    if {"q1", "p1", "var", "var_q", "prob"} & set(q.every):
        yield ends(q, s, rng)


def ends(q: Quantity, s: Setting, rng: Any) -> dict[str, Any]:
    """Tame inputs: certainty, equal distributions, tiny and huge variances, x far out."""

    def cycled(values: Any, shift: int = 0) -> Any:
        return s.rounded(np.resize(np.roll(values, shift), (s.n, s.d)))

    i = generic(q, s, rng)
    known = dict.fromkeys(("q1", "p1", "prob"), cycled(CERTAIN))
    known |= {"p1": cycled(BESIDE)} if "q1" in i else {}
    known |= dict.fromkeys(("var", "var_q"), cycled(WIDE))
    known |= dict.fromkeys(("var_p", "var_y"), cycled(WIDE, 1))
    i |= {name: known[name] for name in set(known) & set(i)}
    if "bit" in i:
        i["bit"] = np.where(i["p1"] % 1 == 0, i["p1"], i["bit"])
    if "mean_q" in i:
        i["mean_p"], i["var_p"] = i["mean_q"], np.where(np.arange(s.d) % 2, i["var_q"], i["var_p"])
    if "x" in i:
        i["var"] = cycled((1.0, 1e-2, 1e4))
        i["x"] = s.rounded(i["mean"] + 60.0 * np.sqrt(i["var"]))
    return i | {"end": True}


def weights(q: Quantity, s: Setting, rng: Any) -> Inputs:
    for offset, scale, m in WEIGHTS:
        log_w = s.rounded(offset + scale * rng.standard_normal((m, s.n)))
        yield {"log_w": log_w, "end": scale > 2 or m == 1}
    yield {"log_w": np.full((4, s.n), -np.inf), "end": True}


def data_of(q: Quantity, s: Setting, rng: Any) -> Any:
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
    return np.full_like(x0, float(s.pi1 > 0.5)) if unmet(q, s, x0) else x0


def unmet(q: Quantity, s: Setting, x0: Any) -> str:
    """The precondition that these data break, if they do: that the mean of log pi(x^0) is -H_p for
    (14), and that of the upper side of (24).
    """
    logit = math.log(s.pi1 / (1.0 - s.pi1))
    if q.name.endswith("eq14"):
        off = (x0.mean() - s.pi1) * logit if q.bits else 0.5 * ((x0**2).mean() - 1.0)
        said = "equation (14) exceeds the mean of K on these data: they break its precondition"
        return "" if abs(off) < 1e-6 else said
    if q.name.endswith("upper_bound"):
        room = logit * (x0.mean(0) - s.pi1).sum() if q.bits else x0.shape[1] - x0.var(0).sum()
        said = (
            "the upper bound of (24) needs tr Cov(x^0) <= d, or sum_i logit(pi_i) (m_i - pi_i) >= 0"
        )
        return "" if room >= -1e-12 * x0.shape[1] else said
    return ""


def _reverse(q: Quantity, s: Setting, rng: Any, mean: Any, var: Any) -> dict[str, Any]:
    """A reverse kernel near this distribution."""
    if q.bits:
        return {"probs": s.rounded(expit(rng.standard_normal(mean.shape)))}
    means = s.rounded(mean + np.sqrt(var) * rng.standard_normal(mean.shape))
    return {"means": means, "vars": var * np.exp(0.5 * rng.standard_normal(mean.shape))}


def exact_posterior(s: Tables, x0: Any, xt: Any, t: Any) -> tuple[Any, Any]:
    root, rest = np.sqrt(s.abar_prev[t]) * s.beta[t], np.sqrt(s.alpha[t]) * s.one_minus_abar_prev[t]
    mean = (root * x0 + rest * xt) / s.one_minus_abar[t]
    return mean, s.beta[t] * s.one_minus_abar_prev[t] / s.one_minus_abar[t] + 0.0 * x0


def _noisy(s: Setting, x0: Any, t: Any, noise: Any) -> Any:
    return np.sqrt(s.tables.abar[t]) * x0 + np.sqrt(s.tables.one_minus_abar[t]) * noise


def bound_inputs(q: Quantity, s: Setting, rng: Any) -> Inputs:
    if s.T > 1:
        t, x0 = np.arange(2, s.T + 1)[:, None, None], data_of(q, s, rng)
        noise = rng.standard_normal((s.T - 1, *x0.shape))
        xs = (noise > 0) * 1.0 if q.bits else s.rounded(_noisy(s, x0, t, noise))
        law = exact_posterior(s.tables, x0, xs, t)
        yield {"x0": x0, "xs": xs, "pi1": s.pi1, **_reverse(q, s, rng, *law)}


def term_inputs(q: Quantity, s: Setting, rng: Any) -> Inputs:
    for t in s.times(q.first, rng):
        i = {name: s.states(rng, q.bits) for name in ("x0", "xt")} | {"t": t, "pi1": s.pi1}
        law = exact_posterior(s.tables, i["x0"], i["xt"], np.maximum(t, min(2, s.T)))
        kernel = _reverse(q, s, rng, *law)
        names = {"means": "mean", "vars": "reverse_var", "probs": "prob"}
        i |= {name: kernel.get(each) for each, name in names.items()}
        yield i | {name: some(name, s, rng) for name in ("eps", "score", "v", "noise", "output")}


def path_inputs(q: Quantity, s: Setting, rng: Any) -> Inputs:
    x = [s.states(rng, q.bits)]
    for kept in s.tables.alpha[1:]:
        draw = rng.random(x[0].shape) if q.bits else rng.standard_normal(x[0].shape)
        if q.bits:
            x.append((draw < x[-1] * kept + s.pi1 * (1 - kept)) * 1.0)
        else:
            x.append(s.rounded(np.sqrt(kept) * x[-1] + np.sqrt(1 - kept) * draw))
    path = np.array(x)
    var = np.broadcast_to(s.beta[:, None, None], path[1:].shape)
    parts = {"before": path[:-1], "after": path[1:], "end_state": path[-1], "start": path[:1]}
    kernel = _reverse(q, s, rng, path[:-1], var)
    yield {"trajectory": path, "pi1": s.pi1, **parts, **kernel}


def entropy_inputs(q: Quantity, s: Setting, rng: Any) -> Inputs:
    x0 = data_of(q, s, rng)
    for t in dict.fromkeys(int(each[0, 0]) for each in s.times(2, rng)):
        yield {"x0": x0, "t": np.full((len(x0), 1), t), "pi1": s.pi1}


def decoder_inputs(q: Quantity, s: Setting, rng: Any) -> Inputs:
    """Images of 256 levels in [-1, 1], both ends among them."""
    for _ in range(2):
        x0 = s.rounded(np.float32(rng.integers(0, 256, (s.n, s.d)) / 127.5 - 1.0))
        x0[0, :2] = (-1.0, 1.0)[: x0.shape[1]]
        var = np.exp(s.rounded(2.0 * rng.standard_normal(x0.shape) - 4.0))
        mean = s.rounded(x0 + np.sqrt(var) * rng.standard_normal(x0.shape))
        yield {"x0": x0, "mean": mean, "var": var}


def loop_inputs(q: Quantity, s: Setting, rng: Any) -> Inputs:
    """Data for a model's bound; the model answers, and remembers, where it is asked."""
    for i in decoder_inputs(q, s, rng) if s.T > 1 else ():
        yield {"x0": i["x0"] if s.data is None else s.states(rng)}


def step_inputs(q: Quantity, s: Setting, rng: Any) -> Inputs:
    """The same for one term of the bound."""
    x0 = next(iter(decoder_inputs(q, s, rng)))["x0"]
    for t in s.times(1, rng) if s.T > 1 else ():
        xt = s.rounded(_noisy(s, x0, t, rng.standard_normal(x0.shape)))
        yield {"x0": x0, "xt": xt, "t": t}


DRAWS: dict[str, Callable[[Quantity, Setting, Any], Inputs]] = {
    "table": table_times,
    "times": at_times,
    "pairs": pairs,
    "weights": weights,
    "bound": bound_inputs,
    "term": term_inputs,
    "path": path_inputs,
    "entropy": entropy_inputs,
    "decoder": decoder_inputs,
    "loop": loop_inputs,
    "step": step_inputs,
}

"""What functions are asked at, and what was returned beside what is wanted.

Inputs are generic ones, and the ends of their ranges. A problem is a quantity at given inputs; an
answer knows how far apart what was got and what is wanted are, and may be.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit

from .conventions import EPS, Conventions
from .expressions import Context, Expr, Tables, error_of, terms_of, value_of
from .quantities import Quantity, kind_of, right

__all__ = ["RELATIVE", "Answer", "Problem", "Setting", "draws", "exact_posterior", "noisy"]
__all__ += ["unmet"]

Inputs = Iterator[dict[str, Any]]
WIDE = (1e-8, 1.0, 1e6, 1e-3, 40.0)
ENDS = {
    "q1": (0.0, 1.0, 1e-3, 0.0, 1.0, 0.5, 1.0 - 2.0**-7),
    **dict.fromkeys(("p1", "prob"), (0.0, 1.0, 1e-6, 0.5, 0.5, 0.5, 0.75)),
    **dict.fromkeys(("var", "var_q"), WIDE),
    **dict.fromkeys(("var_p", "var_y"), np.roll(WIDE, 1)),
}
# of log weights: offset, scale and number; the last weights are 0
WEIGHTS = ((0, 1.5, 7), (-3, 1.5, 7), (-2000, 1.5, 7), (900, 300, 5), (-5, 1, 1), (-np.inf, 3, 4))


@dataclass(eq=False)
class Setting:
    """A schedule, the conventions, and the user's data if there are any."""

    beta: Any
    pi1: float
    shape: tuple[int, ...]  # of a batch, if none is declared
    conventions: Conventions = field(default_factory=Conventions)
    given: Any = None

    def __post_init__(self) -> None:
        self.T, self.tables = int(self.beta.size), Tables.exact(self.beta)
        self.rounded, self.data = self.conventions.rounded, None
        self.n, *inner = self.conventions.shape or self.shape
        if self.given is not None:
            array = np.asarray(self.given, dtype=np.float64)
            inner = inner if self.conventions.shape else list(array.shape[1:])
            fits = array.ndim >= 2 and array.size and array.shape[1:] == (*inner,)
            if not fits or not np.isfinite(array).all():
                wanted = f"data must have shape (m, {', '.join(map(str, inner)) or '...'})"
                raise ValueError(f"{wanted} and be finite, got {array.shape}")
            self.data = self.rounded(array.reshape(len(array), -1))
        self.components, self.d = tuple(inner), math.prod(inner)

    def times(self, first: int, rng: Any) -> list[Any]:
        """Both ends and some between, as columns of n."""
        ends = dict.fromkeys([first, 2, 3, self.T - 1, self.T])
        wanted = [t for t in ends if first <= t <= self.T]
        if not wanted:
            return []
        wanted += rng.integers(first, self.T + 1, size=2).tolist()
        if self.conventions.t_shape == "scalar":
            return [np.full((self.n, 1), t) for t in dict.fromkeys(wanted)]
        calls = -(-len(wanted) // self.n) + 1
        wanted += rng.integers(first, self.T + 1, size=calls * self.n - len(wanted)).tolist()
        return list(rng.permutation(wanted).reshape(calls, self.n, 1))

    def some(self, name: str, rng: Any, bits: bool = False) -> Any:
        """A draw for an argument of this name, in the paper's terms."""
        normal = self.rounded(rng.standard_normal((self.n, self.d)))
        if name in ("x0", "xt", "x_prev", "x1", "bit"):
            if self.data is not None:
                return self.data[rng.integers(len(self.data), size=self.n)]
            return (normal > 0) * 1.0 if bits or name == "bit" else normal
        if name.startswith("var") or name == "reverse_var":
            return np.exp(normal)
        if name in ("q1", "p1", "prob"):
            return self.rounded(expit(1.5 * normal))
        if name == "w":
            return self.rounded(np.tanh(normal))
        return -np.abs(normal) if name.startswith("log_r") else normal

    def near(self, mean: Any, var: Any, rng: Any) -> tuple[Any, Any]:
        """A distribution near this one."""
        means = self.rounded(mean + np.sqrt(var) * rng.standard_normal(mean.shape))
        return means, var * np.exp(0.5 * rng.standard_normal(mean.shape))


def noisy(s: Tables, x0: Any, t: Any, noise: Any) -> Any:
    return np.sqrt(s.abar[t]) * x0 + np.sqrt(s.one_minus_abar[t]) * noise


def exact_posterior(s: Tables, x0: Any, xt: Any, t: Any) -> tuple[Any, Any]:
    root, rest = np.sqrt(s.abar_prev[t]) * s.beta[t], np.sqrt(s.alpha[t]) * s.one_minus_abar_prev[t]
    mean = (root * x0 + rest * xt) / s.one_minus_abar[t]
    return mean, s.beta[t] * s.one_minus_abar_prev[t] / s.one_minus_abar[t] + 0.0 * x0


def unmet(q: Quantity, s: Setting, x0: Any) -> str:
    """The precondition that these data break, if they do: that the mean of log pi(x^0) is -H_p for
    (14), and that of the upper side of (24).
    """
    upper = "the upper bound of (24) needs tr Cov(x^0) <= d, or sum_i logit(pi_i) (m_i - pi_i) >= 0"
    logit = math.log(s.pi1 / (1.0 - s.pi1))
    if q.name.endswith("eq14"):
        off = (x0.mean() - s.pi1) * logit if q.bits else 0.5 * ((x0**2).mean() - 1.0)
        said = "equation (14) differs from the mean of K on these data: they break its precondition"
        return "" if abs(off) < 1e-6 else said
    if q.name.endswith("upper_bound"):
        room = logit * (x0.mean(0) - s.pi1).sum() if q.bits else x0.shape[1] - x0.var(0).sum()
        return "" if room >= -1e-12 * x0.shape[1] else upper
    return ""


def data_of(q: Quantity, s: Setting, rng: Any) -> Any:
    """Data that meet the precondition of (14) or the condition of (24), if none are given."""
    x0 = s.data if s.data is not None else s.some("x0", rng, q.bits)
    eq14 = q.name.endswith("eq14")
    if s.data is not None or not (eq14 or "upper" in q.name):
        return x0
    if not q.bits:
        norm = (x0**2).mean() if eq14 else max(1.0, x0.var(0).mean()) * 1.001
        return s.rounded(x0 / np.sqrt(norm))
    if eq14:
        return rng.permutation(np.arange(x0.size) < round(x0.size * s.pi1)).reshape(x0.shape) * 1.0
    return np.full_like(x0, float(s.pi1 > 0.5)) if unmet(q, s, x0) else x0


# The groups of the catalogue


def table(q: Quantity, s: Setting, rng: Any) -> Inputs:
    yield {"t": np.arange(1, s.T + 1)[:, None]}


def generic(q: Quantity, s: Setting, rng: Any) -> dict[str, Any]:
    return {name: s.some(name, rng, q.bits) for name in q.every if name != "t"}


def times(q: Quantity, s: Setting, rng: Any) -> Inputs:
    """At all t together; where t = 1 may have no value, it is asked for last, by itself."""
    alone = [np.ones((s.n, 1), dtype=int)] * q.lenient
    for t in [*s.times(q.first + q.lenient, rng), *alone]:
        i = generic(q, s, rng) | {"t": t, "pi1": s.pi1}
        if "mean" in i:
            exact = exact_posterior(s.tables, i["x0"], i["xt"], t)
            i["mean"], i["reverse_var"] = s.near(*exact, rng)
        yield i


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
    yield ends(q, s, rng)


def ends(q: Quantity, s: Setting, rng: Any) -> dict[str, Any]:
    """Tame inputs: certainty, equal distributions, tiny and huge variances, x far out."""

    def cycled(values: Any) -> Any:
        return s.rounded(np.resize(values, (s.n, s.d)))

    i = generic(q, s, rng) | {"end": True}
    i |= {name: cycled(ENDS[name]) for name in ENDS.keys() & i.keys()}
    if "bit" in i:
        i["bit"] = np.where(i["p1"] % 1 == 0, i["p1"], i["bit"])
    if "mean_q" in i:
        i["mean_p"], i["var_p"] = i["mean_q"], np.where(np.arange(s.d) % 2, i["var_q"], i["var_p"])
    if "x" in i:
        i["var"] = cycled((1.0, 1e-2, 1e4))
        i["x"] = s.rounded(i["mean"] + 60.0 * np.sqrt(i["var"]))
    return i


def weights(q: Quantity, s: Setting, rng: Any) -> Inputs:
    for offset, scale, m in WEIGHTS:
        log_w = s.rounded(offset + scale * rng.standard_normal((m, s.n)))
        yield {"log_w": log_w, "end": scale > 2 or m == 1}


def bound(q: Quantity, s: Setting, rng: Any) -> Inputs:
    if s.T > 1:
        t, x0 = np.arange(2, s.T + 1)[:, None, None], data_of(q, s, rng)
        noise = rng.standard_normal((s.T - 1, *x0.shape))
        xs = (noise > 0) * 1.0 if q.bits else s.rounded(noisy(s.tables, x0, t, noise))
        means, var = s.near(*exact_posterior(s.tables, x0, xs, t), rng)
        yield {"x0": x0, "xs": xs, "pi1": s.pi1, **reverse(q, s, means, var)}


def reverse(q: Quantity, s: Setting, means: Any, var: Any) -> dict[str, Any]:
    return {"probs": s.rounded(expit(means))} if q.bits else {"means": means, "vars": var}


def path(q: Quantity, s: Setting, rng: Any) -> Inputs:
    steps = [s.some("x0", rng, q.bits)]
    for kept in s.tables.alpha[1:]:
        draw = rng.random((s.n, s.d)) if q.bits else rng.standard_normal((s.n, s.d))
        if q.bits:
            steps.append((draw < steps[-1] * kept + s.pi1 * (1 - kept)) * 1.0)
        else:
            steps.append(s.rounded(np.sqrt(kept) * steps[-1] + np.sqrt(1 - kept) * draw))
    x = np.array(steps)
    means, var = s.near(x[:-1], s.beta[:, None, None], rng)
    parts = {"before": x[:-1], "after": x[1:], "end_state": x[-1], "start": x[:1]}
    yield {"trajectory": x, "pi1": s.pi1, **parts, **reverse(q, s, means, var)}


def entropy(q: Quantity, s: Setting, rng: Any) -> Inputs:
    x0 = data_of(q, s, rng)
    for t in dict.fromkeys(int(each[0, 0]) for each in s.times(2, rng)):
        yield {"x0": x0, "t": np.full((len(x0), 1), t), "pi1": s.pi1}


def decoder(q: Quantity, s: Setting, rng: Any) -> Inputs:
    """Images of 256 levels in [-1, 1], both ends among them."""
    for _ in range(2):
        x0 = s.rounded(np.float32(rng.integers(0, 256, (s.n, s.d)) / 127.5 - 1.0))
        x0[0, :2] = (-1.0, 1.0)[: x0.shape[1]]
        var = np.exp(s.rounded(2.0 * rng.standard_normal(x0.shape) - 4.0))
        mean = s.rounded(x0 + np.sqrt(var) * rng.standard_normal(x0.shape))
        yield {"x0": x0, "mean": mean, "var": var}


def loop(q: Quantity, s: Setting, rng: Any) -> Inputs:
    """Data for a model's bound; the model answers, and remembers, where it is asked."""
    for i in decoder(q, s, rng) if s.T > 1 else ():
        yield {"x0": i["x0"] if s.data is None else s.some("x0", rng)}


def step(q: Quantity, s: Setting, rng: Any) -> Inputs:
    """The same for one term of the bound."""
    x0 = next(decoder(q, s, rng))["x0"]
    for t in s.times(1, rng) if s.T > 1 else ():
        xt = noisy(s.tables, x0, t, rng.standard_normal(x0.shape))
        yield {"x0": x0, "xt": s.rounded(xt), "t": t}


GROUPS = (table, times, pairs, weights, bound, path, entropy, decoder, loop, step)


def draws(q: Quantity, s: Setting, rng: Any) -> Inputs:
    """Inputs for a quantity of this group."""
    return {draw.__name__: draw for draw in GROUPS}[q.drawn](q, s, rng)


# Comparison

RELATIVE = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2, "bfloat16": 0.05}
LARGEST = 0.03  # of a value, what lost digits may take


@dataclass(eq=False)
class Problem(Context):
    """A quantity at given inputs, written in the user's conventions."""

    quantity: Quantity
    setting: Setting
    conventions: Conventions

    @classmethod
    def of(cls, q: Quantity, s: Setting, inputs: dict[str, Any]) -> "Problem":
        c, batch = s.conventions, (len(inputs.get("x0", range(s.n))), s.d)
        written = {name: c.write(kind_of(name), value) for name, value in inputs.items()}
        return cls(written, s.tables, batch, right(q, c), q, s, c)

    def over(self, trees: list[Expr]) -> "Problem":
        """By other formulas, judged on the scale of its own."""
        made = replace(self, trees=trees)
        vars(made).update(size=self.size, terms=self.terms, plain=self.plain)
        return made

    @property
    def end(self) -> bool:
        return bool(self.inputs.get("end"))

    def returned(self, reduced: str) -> tuple[int, ...]:
        """The shape of a result, where its components are so reduced."""
        q = self.quantity
        one = q.kind in ("table", "nats_row") or (q.kind == "nats" and reduced != "none")
        inner = () if one else self.setting.components
        lead = self.tables.T if q.kind == "table" else self.batch[0]
        return inner if q.whole else (lead, *inner)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The same over vectors: a column for a table, one row for a batch."""
        q, wanted = self.quantity, self.returned(self.conventions.components)
        lead, *inner = (1, *wanted) if q.whole else wanted
        return (lead, math.prod(inner)) if inner or q.kind == "table" else (lead,)

    def value(self, tree: Expr) -> Any:
        """What a formula gives."""
        return np.broadcast_to(value_of(tree, self), self.shape)

    def scale(self, tree: Expr, sizes: Any) -> Any:
        """The sizes that a formula's value has; of a table's entry that is 0, that of the next; of
        a bit that is known at t = 1, that of certainty.
        """
        q, zero = self.quantity, self.value(tree) == 0.0
        sizes = np.broadcast_to(np.where(np.isfinite(sizes), sizes, 0.0), self.shape)
        sizes = np.maximum(sizes, zero & (q.kind == "prob") & q.lenient)
        return np.where(zero & (q.kind == "table"), np.roll(sizes, -1), sizes)

    def error(self, tree: Expr, lossy: bool = False, plain: bool = False) -> Any:
        """The scale of its rounding errors; lossy, of those of tables too; plain, less a bin's."""
        return np.maximum(self.scale(tree, error_of(tree, self, lossy, plain)), 1e-38)

    @cached_property
    def wanted(self) -> Any:
        return self.value(self.trees[0])

    @cached_property
    def size(self) -> Any:
        return self.error(self.trees[0])

    @cached_property
    def terms(self) -> Any:
        """The size of the terms that it is the sum of; a probability is a share of two."""
        (tree, *_), prob = self.trees, self.quantity.kind == "prob"
        return self.plain if prob else self.scale(tree, terms_of(tree, self))

    @cached_property
    def plain(self) -> Any:
        """The scale of rounding errors, but for those of a bin's mass."""
        return self.error(self.trees[0], plain=True)


@dataclass(frozen=True, eq=False)
class Answer:
    """What was returned for a problem."""

    problem: Problem
    got: Any
    dtype: str

    @cached_property
    def defined(self) -> Any:
        """Where there is something to compare: at the ends of ranges an infinity is a value too."""
        p, q = self.problem, self.problem.quantity
        known = ~np.isnan(p.wanted) if p.end else np.isfinite(p.wanted)
        if q.kind == "table":
            unknown = q.free | (q.lenient & ~np.isfinite(self.got))  # at t = 1
            known &= (p.inputs["t"] > 1) | np.logical_not(unknown)
        return known

    @cached_property
    def error(self) -> Any:
        wanted = self.problem.wanted
        off = np.where(self.got == wanted, 0.0, np.abs(self.got - wanted))
        return np.where(self.defined, np.nan_to_num(off, nan=np.inf, posinf=np.inf), 0.0)

    @cached_property
    def allowed(self) -> Any:
        return self.within(self.problem.conventions.dtype)

    def within(self, dtype: str) -> Any:
        """What a PASS allows to code that computes in this type."""
        digits = RELATIVE[dtype]
        return np.minimum(digits * self.problem.size, self.most(min(LARGEST, 1e6 * digits), digits))

    def most(self, share: float, digits: float, got: Any = 0.0) -> Any:
        """A share of a value's terms, and so many digits of what they are computed from."""
        return share * (self.problem.terms + got) + digits * self.problem.plain

    @cached_property
    def ratio(self) -> Any:
        """The error in units of what a PASS allows."""
        return np.minimum(self.error / self.allowed, 1e300)

    @cached_property
    def misses(self) -> Any:
        return self.error > self.allowed

    @cached_property
    def eps(self) -> float:
        return max(EPS["float32"], EPS[self.dtype], EPS[self.problem.conventions.dtype])

    @cached_property
    def blurred(self) -> Any:
        """The errors that tables and arithmetic in a lower precision explain."""
        every = [self.problem.error(tree, lossy=True) for tree in self.problem.trees]
        most = 8 * self.eps * np.max(every, 0)
        return np.minimum(most, self.most(LARGEST + 4 * self.eps, 8 * self.eps))

    def reproduced(self, values: Any, tolerance: Any) -> bool:
        near = (np.abs(self.got - values) <= tolerance) | (self.got == values)
        most = 1e38 if self.dtype != "float64" else 1e300
        same_sign = np.sign(self.got) == np.sign(values)
        near |= np.isinf(self.got) & (np.abs(values) > most) & same_sign
        near |= np.isnan(self.got) & (np.isnan(values) | self.problem.end)
        return bool((near | ~self.defined).all())

    def near(self, tree: Expr) -> bool:
        """Whether the formula's rounding errors, which take longer to find, may explain what it
        leaves of every value.
        """
        got, digits = np.nan_to_num(np.abs(self.got)), max(self.relative, 2 * self.eps)
        most = 40 * digits * (self.problem.size + got) + 10 * self.blurred
        most = np.minimum(most, self.most(3e-3, 8 * digits, got))
        return self.reproduced(self.problem.value(tree), most)

    def fits(self, tree: Expr, loose: bool = False, exact: bool = False) -> bool:
        """Whether the formula gives every value, to the digits computed or, loosely, to those that
        a lower precision leaves; exactly, to twelve.
        """
        each = 1e-12 if exact else 8 * self.eps if loose else 4 * self.relative
        digits = self.eps if loose else min(self.relative, 1e-5)
        most = self.most(3e-3 if loose else 1e-3, 8 * digits, np.nan_to_num(np.abs(self.got)))
        tolerance = np.minimum(each * self.problem.error(tree, loose), most)
        return self.reproduced(self.problem.value(tree), tolerance)

    def keeps(self, tree: Expr) -> bool:
        """Whether what was returned would pass for the formula."""
        return self.reproduced(self.problem.value(tree), self.allowed)

    @property
    def relative(self) -> float:
        """Of the coarser of the types that were declared and returned."""
        return max(RELATIVE[self.problem.conventions.dtype], RELATIVE[self.dtype])

    def tells(self, tree: Expr, exact: bool = False) -> bool:
        """Whether the change moves a value by more than lost digits do; exactly, than the tenth."""
        values = self.problem.value(tree)
        size = np.maximum(self.problem.error(tree), self.problem.size)
        least = 1e-10 * size if exact else np.maximum(8 * self.relative * size, self.blurred)
        off = np.abs(np.where(values == self.problem.wanted, 0.0, values - self.problem.wanted))
        return bool((self.defined & ~(off <= least)).any())

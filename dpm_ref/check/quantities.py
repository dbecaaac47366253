"""What can be checked: each quantity as an expression over the schedule's tables, in nats.

A formula may be written in several forms; mistakes are made in each. What stands in quotes is what
the mistakes call a term.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import expit

from .conventions import Conventions
from .expressions import TABLES, Expr, Tables, number, op, term

__all__ = ["ALIASES", "QUANTITIES", "Quantity", "Setting", "entropy_rises", "kind_of", "meets_eq14"]

LOG_2PI = math.log(2.0 * math.pi)
Law = tuple[Expr, Expr]
Forms = Callable[[Conventions], "Expr | list[Expr]"]


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


Draw = Callable[["Quantity", Setting, Any], Iterator[dict[str, Any]]]


@dataclass(frozen=True, eq=False)
class Quantity:
    name: str
    equation: str
    summary: str
    every: tuple[str, ...]  # its arguments; the variances among them only where they are given
    kind: str  # table, state, prob, var, nats, nats_row, slope or slope_var
    forms: Forms
    draw: Draw
    first: int = 1
    whole: bool = False  # one result for the batch
    bits: bool = False
    scheduled: bool = True
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of terms
    others: Callable[[Conventions], dict[str, Expr]] = lambda c: {}  # mistakes of its own
    accepted: Callable[[Conventions], dict[str, Expr]] = lambda c: {}  # right too, and said

    def arguments(self, c: Conventions) -> tuple[str, ...]:
        ruled = c.reverse_var != "given" and "log_w" not in self.name
        return tuple(a for a in self.every if not (ruled and a in ("reverse_var", "vars")))

    def trees(self, c: Conventions) -> list[Expr]:
        made = self.forms(c)
        return [presented(self, c, each) for each in (made if isinstance(made, list) else [made])]


def presented(q: Quantity, c: Conventions, tree: Expr) -> Expr:
    """The result as the code under test should return it."""
    if q.whole:
        tree = op("batch", tree)
    if q.kind == "var":
        return op("write", tree, kind=c.spread)
    if q.kind == "slope_var" and c.spread != "var":
        tree = tree * (V(c, "var_p") if c.spread == "logvar" else 2 * op("sqrt", V(c, "var_p")))
    if q.kind == "nats":
        tree = op("components", tree, kind=c.components)
    if q.kind.startswith("slope") and c.components == "mean":
        tree = tree / op("d")
    informs = q.kind.startswith(("nats", "slope"))
    return op("unit", tree, kind=c.unit) if informs else tree


QUANTITIES: dict[str, Quantity] = {}
ALIASES: dict[str, tuple[str, ...]] = {}


def quantity(name: str, equation: str, summary: str, arguments: str, kind: str, forms: Forms, draw:
    Draw, aliases: str = "", **more: Any) -> None:
    every = tuple(arguments.split())
    QUANTITIES[name] = Quantity(name, equation, summary, every, kind, forms, draw, **more)
    ALIASES.update(dict.fromkeys(aliases.split(), (name,)))


def kind_of(argument: str) -> str:
    if argument in ("t", "log_w", "model"):
        return {"t": "time", "log_w": "nats", "model": "model"}[argument]
    return "var" if argument.startswith("var") or argument == "reverse_var" else "state"


# Letters


class Times:
    """The tables at these times."""

    def __init__(self, at: str) -> None:
        self.beta, self.alpha, self.abar, self.one_minus, self.abar_prev, self.one_minus_prev = (
            Expr("table", name=name, at=at) for name in TABLES)


def A(name: str) -> Expr:
    return Expr("input", name=name)


def V(c: Conventions, name: str) -> Expr:
    """An argument that is a variance, read from how it is handed over."""
    return op("read", A(name), kind=c.spread)


def sqrt(x: Expr) -> Expr:
    return op("sqrt", x)


def log(x: Expr) -> Expr:
    return op("log", x)


def square(x: Expr) -> Expr:
    return op("square", x)


S, LAST, FIRST, LATER, ALL = (Times(at) for at in ("t", "T", "1", "2..T", "1..T"))
X0, XT, EPS, NOISE, VELOCITY, SCORE, PI = map(A, ("x0", "xt", "eps", "noise", "v", "score", "pi1"))


# Formulas of one component: both columns of Table App.1 with the same names


def coefficients(s: Times) -> Law:
    """Of x^0 and of x^t in the posterior's mean."""
    return (sqrt(s.abar_prev) * s.beta / s.one_minus, sqrt(s.alpha) * s.one_minus_prev
        / s.one_minus)


def posterior_var(s: Times) -> Expr:
    return s.beta * s.one_minus_prev / s.one_minus


def _posterior(s: Times, x0: Expr, xt: Expr) -> Law:
    c0, c1 = coefficients(s)
    mean = term("the term of x0", c0 * x0) + term("the term of xt", c1 * xt)
    return mean, posterior_var(s)


def _gaussian_kl(q: Law, p: Law) -> Expr:
    return (term("the log of the variances' ratio", 0.5 * log(p[1] / q[1]))
        + term("the variances' ratio", 0.5 * q[1] / p[1])
        + term("the means' square", 0.5 * square(q[0] - p[0]) / p[1]) + term("-1/2", number(-0.5)))


def _gaussian_log_prob(x: Expr, p: Law) -> Expr:
    return (term("log 2 pi", number(-0.5 * LOG_2PI)) + term("log var", -(0.5 * log(p[1])))
        + term("the square", -(0.5 * square(x - p[0]) / p[1])))


def _gaussian_entropy(p: Law) -> Expr:
    return (term("log 2 pi", number(0.5 * LOG_2PI)) + term("the 1/2 of log e", number(0.5))
        + term("log var", 0.5 * log(p[1])))


def _gaussian_cross(q: Law, p: Law) -> Expr:
    return number(-0.5 * LOG_2PI) - 0.5 * log(p[1]) - 0.5 * (q[1] + square(q[0] - p[0])) / p[1]


class gaussian:
    """A distribution is (mean, var)."""

    kl, log_prob, entropy, cross = map(staticmethod,
        (_gaussian_kl, _gaussian_log_prob, _gaussian_entropy, _gaussian_cross))
    posterior = staticmethod(_posterior)
    prior: Law = (number(0.0), number(1.0))

    @staticmethod
    def kernel(s: Times, x: Expr) -> Law:
        return sqrt(s.alpha) * x, s.beta

    @staticmethod
    def marginal(s: Times, x0: Expr) -> Law:
        return sqrt(s.abar) * x0, s.one_minus

    @staticmethod
    def before(s: Times, x0: Expr) -> Law:
        return sqrt(s.abar_prev) * x0, s.one_minus_prev

    @staticmethod
    def step_entropy(s: Times, x0: Expr) -> Expr:
        return _gaussian_entropy((X0, s.beta))

    @staticmethod
    def reverse(c: Conventions, s: Times = LATER) -> Law:
        return A("means"), {"given": V(c, "vars"), "posterior": posterior_var(s), "beta": s.beta}[
            c.reverse_var if s is LATER else "given"]


def _pair(x: Expr, kept: Expr, one_minus: Expr) -> Law:
    """P(1), P(0) of a bit kept, or else drawn anew."""
    return x * kept + PI * one_minus, (1 - x) * kept + (1 - PI) * one_minus


def _joint(s: Times, x0: Expr, xt: Expr) -> Law:
    """P(x^{t-1}, x^t) for x^{t-1} = 1 and 0."""
    before = binomial.before(s, x0)
    from_one = op("if", xt, s.alpha + PI * s.beta, (1 - PI) * s.beta)
    from_zero = op("if", xt, PI * s.beta, s.alpha + (1 - PI) * s.beta)
    return (term("the likelihood of xt", from_one) * term("the marginal before", before[0]),
        term("the likelihood of xt", from_zero) * term("the marginal before", before[1]))


def _xlogy(x: Expr, y: Expr) -> Expr:
    return op("xlogy", x, y)


def _bits_kl(q: Law, p: Law) -> Expr:
    return term("the term of x = 1", _xlogy(q[0], q[0]) - _xlogy(q[0], p[0])) + term(
        "the term of x = 0", _xlogy(q[1], q[1]) - _xlogy(q[1], p[1]))


def _bits_entropy(p: Law) -> Expr:
    return term("the term of x = 1", -_xlogy(p[0], p[0])) + term("the term of x = 0",
        -_xlogy(p[1], p[1]))


def _bits_cross(q: Law, p: Law) -> Expr:
    return term("the term of x = 1", _xlogy(q[0], p[0])) + term("the term of x = 0",
        _xlogy(q[1], p[1]))


class binomial:
    """A distribution is (P(1), P(0))."""

    kl, entropy, cross = map(staticmethod, (_bits_kl, _bits_entropy, _bits_cross))
    prior: Law = (PI, 1 - PI)

    @staticmethod
    def kernel(s: Times, x: Expr) -> Law:
        return _pair(x, s.alpha, s.beta)

    @staticmethod
    def marginal(s: Times, x0: Expr) -> Law:
        return _pair(x0, s.abar, s.one_minus)

    @staticmethod
    def before(s: Times, x0: Expr) -> Law:
        return _pair(x0, s.abar_prev, s.one_minus_prev)

    @staticmethod
    def posterior(s: Times, x0: Expr, xt: Expr) -> Law:
        j1, j0 = _joint(s, x0, xt)
        return j1 / (j1 + j0), j0 / (j1 + j0)

    @staticmethod
    def log_prob(x: Expr, p: Law) -> Expr:
        return op("if", x, log(p[0]), log(p[1]))

    @staticmethod
    def step_entropy(s: Times, x0: Expr) -> Expr:
        before = binomial.before(s, x0)
        one, zero = ((s.alpha + PI * s.beta, (1 - PI) * s.beta),
            (PI * s.beta, s.alpha + (1 - PI) * s.beta))
        return before[0] * _bits_entropy(one) + before[1] * _bits_entropy(zero)

    @staticmethod
    def reverse(c: Conventions, s: Times = LATER) -> Law:
        return A("probs"), 1 - A("probs")


# Inputs


def some(name: str, s: Setting, rng: Any, bits: bool = False) -> Any:
    """A draw for an argument of this name, in the paper's terms."""
    normal = rng.standard_normal((s.n, s.d))
    if name in ("x0", "xt", "x_prev", "x1") or name == "bit":
        return s.states(rng, bits or name == "bit")
    if name.startswith("var") or name == "reverse_var":
        return np.exp(s.rounded(normal))
    if name in ("q1", "p1", "prob"):
        return s.rounded(expit(1.5 * normal))
    return -np.abs(s.rounded(normal)) if name.startswith("log_r") else s.rounded(normal)


def table_times(q: Quantity, s: Setting, rng: Any) -> Iterator[dict[str, Any]]:
    yield {"t": np.arange(1, s.T + 1)[:, None]}


def at_times(q: Quantity, s: Setting, rng: Any) -> Iterator[dict[str, Any]]:
    for t in s.times(q.first, rng):
        yield {"t": t, "pi1": s.pi1,
            **{name: some(name, s, rng, q.bits) for name in q.every if name != "t"}}


def pairs(q: Quantity, s: Setting, rng: Any) -> Iterator[dict[str, Any]]:
    """Generic numbers, then pairs of distributions that are close, then the ends of their ranges."""
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


def ends(q: Quantity, s: Setting, rng: Any) -> Iterator[dict[str, Any]]:
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


def weights(q: Quantity, s: Setting, rng: Any) -> Iterator[dict[str, Any]]:
    for offset, scale, m in ((0.0, 1.5, 7), (-3.0, 1.5, 7), (-2000.0, 1.5, 7), (900.0, 300.0, 5),
        (-5.0, 1.0, 1)):
        log_w = s.rounded(offset + scale * rng.standard_normal((m, s.n)))
        yield {"log_w": log_w, "end": scale > 2 or m == 1}
    yield {"log_w": np.full((4, s.n), -np.inf), "end": True}


def data_of(q: Quantity, s: Setting, rng: Any) -> Any:
    """Data that meet the precondition of (14), or the condition of (24), unless the user gave them."""
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


def meets_eq14(q: Quantity, s: Setting, x0: Any) -> bool:
    """Whether the mean of log pi(x^0) is -H_p."""
    if not q.bits:
        return bool(abs(0.5 * ((x0**2).mean() - 1.0)) < 1e-6)
    return bool(abs((x0.mean() - s.pi1) * math.log(s.pi1 / (1.0 - s.pi1))) < 1e-6)


def entropy_rises(q: Quantity, s: Setting, x0: Any) -> bool:
    """Whether the condition of the upper side of (24) holds."""
    if not q.bits:
        return bool(x0.var(0).sum() <= x0.shape[1] * (1 + 1e-12))
    logit = math.log(s.pi1 / (1.0 - s.pi1))
    return bool(logit * (x0.mean(0) - s.pi1).sum() >= -1e-12)


def _reverse(q: Quantity, s: Setting, rng: Any, mean: Any, var: Any) -> dict[str, Any]:
    if q.bits:
        return {"probs": s.rounded(expit(rng.standard_normal(mean.shape)))}
    return {"means": s.rounded(mean + np.sqrt(var) * rng.standard_normal(mean.shape)), "vars": var
        * np.exp(0.5 * rng.standard_normal(mean.shape))}


def _exact_posterior(s: Tables, x0: Any, xt: Any, t: Any) -> tuple[Any, Any]:
    root, rest = np.sqrt(s.abar_prev[t]) * s.beta[t], np.sqrt(s.alpha[t]) * s.one_minus_abar_prev[t]
    return ((root * x0 + rest * xt) / s.one_minus_abar[t], s.beta[t] * s.one_minus_abar_prev[t]
        / s.one_minus_abar[t] + 0.0 * x0)


def bound_inputs(q: Quantity, s: Setting, rng: Any) -> Iterator[dict[str, Any]]:
    if s.T < 2:
        return
    tables, t, x0 = Tables.exact(s.beta), np.arange(2, s.T + 1)[:, None, None], data_of(q, s, rng)
    noise = rng.standard_normal((s.T - 1, *x0.shape))
    xs = np.sqrt(tables.abar[t]) * x0 + np.sqrt(tables.one_minus_abar[t]) * noise
    xs = (noise > 0) * 1.0 if q.bits else s.rounded(xs)
    mean, var = _exact_posterior(tables, x0, xs, t)
    yield {"x0": x0, "xs": xs, "pi1": s.pi1, **_reverse(q, s, rng, mean, var)}


def term_inputs(q: Quantity, s: Setting, rng: Any) -> Iterator[dict[str, Any]]:
    tables = Tables.exact(s.beta)
    for t in s.times(q.first, rng):
        x0, xt = s.states(rng, q.bits), s.states(rng, q.bits)
        mean, var = _exact_posterior(tables, x0, xt, np.maximum(t, 2) if s.T > 1 else t)
        law = _reverse(q, s, rng, mean, var)
        yield {"x0": x0, "xt": xt, "t": t, "pi1": s.pi1, "mean": law.get("means"), "reverse_var":
            law.get("vars"), "prob": law.get("probs"),
            **{name: some(name, s, rng) for name in ("eps", "score", "v", "noise", "output")}}


def path_inputs(q: Quantity, s: Setting, rng: Any) -> Iterator[dict[str, Any]]:
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


def entropy_inputs(q: Quantity, s: Setting, rng: Any) -> Iterator[dict[str, Any]]:
    x0 = data_of(q, s, rng)
    for t in dict.fromkeys(int(each[0, 0]) for each in s.times(2, rng)):
        yield {"x0": x0, "t": np.full((len(x0), 1), t), "pi1": s.pi1}


# Tables over t = 1..T


def _snr_log(c: Conventions) -> list[Expr]:
    return [term("log abar_t", log(S.abar)) - term("log(1 - abar_t)", log(S.one_minus)),
        log(S.abar / S.one_minus)]


C0, C1 = coefficients(S)
POSTERIOR = posterior_var(S)
for _name, _summary, _forms, _aliases, _first in (("beta", "beta_t", S.beta, "betas", 1),
    ("alpha", "alpha_t = 1 - beta_t", S.alpha, "alphas", 1),
    ("abar", "prod_{s<=t} (1 - beta_s)", S.abar, "alphas_cumprod alpha_bar alphas_bar", 1),
    ("abar_prev", "abar_{t-1}, 1 at t = 1", S.abar_prev, "alphas_cumprod_prev", 1),
    ("one_minus_abar", "1 - abar_t", S.one_minus, "one_minus_alphas_cumprod", 1),
    ("sqrt_abar", "sqrt(abar_t)", sqrt(S.abar), "sqrt_alphas_cumprod", 1),
    ("sqrt_one_minus_abar", "sqrt(1 - abar_t)", sqrt(S.one_minus), "sqrt_one_minus_alphas_cumprod",
    1),
    ("log_abar", "log abar_t", log(S.abar), "log_alphas_cumprod", 1),
    ("log_one_minus_abar", "log(1 - abar_t)", log(S.one_minus), "log_one_minus_alphas_cumprod", 1),
    ("log_snr", "log abar_t - log(1 - abar_t)", _snr_log, "logsnr lambda", 1),
    ("snr", "abar_t / (1 - abar_t)", S.abar / S.one_minus, "signal_to_noise", 1),
    ("sqrt_recip_abar", "1 / sqrt(abar_t)", 1 / sqrt(S.abar), "sqrt_recip_alphas_cumprod", 1),
    ("sqrt_recipm1_abar", "sqrt(1 / abar_t - 1)",
    [sqrt(S.one_minus / S.abar), sqrt(1 / S.abar - 1)], "sqrt_recipm1_alphas_cumprod", 1),
    ("posterior_variance", "beta_t (1 - abar_{t-1}) / (1 - abar_t)", POSTERIOR, "", 1),
    ("posterior_log_variance", "its logarithm", log(POSTERIOR), "posterior_log_variance_clipped",
    1),
    ("posterior_coefficient_x0", "sqrt(abar_{t-1}) beta_t / (1 - abar_t)", C0,
    "posterior_mean_coef1", 1),
    ("posterior_coefficient_xt", "sqrt(alpha_t) (1 - abar_{t-1}) / (1 - abar_t)", C1,
    "posterior_mean_coef2", 1),
    ("vlb_weight", "weight of |eps - eps_hat|^2 in the bound, t >= 2", lambda c:
    (0.5 * square(S.beta) / (S.beta if c.reverse_var == "beta" else POSTERIOR) / S.alpha
    / S.one_minus),
    "loss_weight lvlb_weights", 2),
    ("vlb_weight_x0", "weight of |x0 - x0_hat|^2 in the bound, (snr_{t-1} - snr_t) / 2, t >= 2",
        [0.5 * (S.abar_prev / S.one_minus_prev - S.abar / S.one_minus), 0.5 * square(C0)
        / POSTERIOR],
        "loss_weight_x0", 2)):
    quantity(_name, "Table App.1", _summary, "t", "table", _forms if callable(_forms)
        else (lambda c, made=_forms: made), table_times, _aliases, first=_first)

# Gaussian distributions and steps


def ruled_var(c: Conventions, s: Times, given: str = "reverse_var") -> Expr:
    """The variance of the reverse kernel, by the rule declared."""
    return {"given": V(c, given), "posterior": posterior_var(s), "beta": s.beta}[c.reverse_var]


def x0_hat(kind: str, s: Times, xt: Expr, out: Expr) -> Expr:
    """x^0 from what a network predicts."""
    made = {"x0": out, "v": sqrt(s.abar) * xt - sqrt(s.one_minus) * out, "eps":
        (xt - sqrt(s.one_minus) * out) / sqrt(s.abar), "score": (xt + s.one_minus * out)
        / sqrt(s.abar)}[kind]
    return term("x0_hat", made)


def mean_hat(kind: str, s: Times, xt: Expr, out: Expr) -> list[Expr]:
    """The mean of p(x^{t-1} | x^t), by x^0 and, for the noise, as in DDPM's Algorithm 2."""
    if kind == "mean":
        return [out]
    made = [_posterior(s, x0_hat(kind, s, xt, out), xt)[0]]
    if kind == "eps":
        shift = term("the term of eps", s.beta / sqrt(s.one_minus) * out)
        made.insert(0, (term("the term of xt", xt) - shift) / sqrt(s.alpha))
    return made


def _law(name: str, law: Law, arguments: str, text: str) -> None:
    (mean, var), first = law, 2 if name == "posterior" else 1
    quantity(f"{name}_mean", "Table App.1", f"mean of {text}", arguments, "state", lambda c: mean,
        at_times, first=first)
    quantity(f"{name}_var", "Table App.1", f"variance of {text}", arguments, "var", lambda c: var,
        at_times, first=first)
    if name != "kernel":
        quantity(f"{name}_log_var", "Table App.1", f"log variance of {text}", arguments, "state",
            lambda c: log(var), at_times, first=first)


_law("kernel", gaussian.kernel(S, A("x_prev")), "x_prev t", "q(x^t | x^{t-1})")
_law("marginal", gaussian.marginal(S, X0), "x0 t", "q(x^t | x^0)")
_law("posterior", _posterior(S, X0, XT), "x0 xt t", "q(x^{t-1} | x^t, x^0)")
quantity("q_sample", "Table App.1", "x^t from x^0 and standard normal noise", "x0 t noise", "state",
    lambda c:
    (term("the term of x0", sqrt(S.abar) * X0)
    + term("the term of noise", sqrt(S.one_minus) * NOISE)),
    at_times, "marginal_sample add_noise")
for _name, _text, _forms, _aliases in (
    ("x0_from_eps", "x^0 from x^t and its noise",
    [x0_hat("eps", S, XT, EPS), sqrt(1 / S.abar) * XT - sqrt(1 / S.abar - 1) * EPS],
    "predict_xstart_from_eps predict_start_from_noise"),
    ("x0_from_v", "x^0 from x^t and the velocity", x0_hat("v", S, XT, VELOCITY),
    "predict_start_from_v"),
    ("x0_from_score", "x^0 from x^t and the score", x0_hat("score", S, XT, SCORE), ""),
    ("eps_from_x0", "the noise from x^t and x^0",
    [(XT - sqrt(S.abar) * X0) / sqrt(S.one_minus), (sqrt(1 / S.abar) * XT - X0)
    / sqrt(1 / S.abar - 1)],
    "predict_noise_from_start"),
    ("eps_from_v", "the noise from x^t and the velocity", sqrt(S.one_minus) * XT + sqrt(S.abar)
    * VELOCITY, "predict_eps_from_v"),
    ("eps_from_score", "the noise from the score", -(sqrt(S.one_minus) * SCORE), ""),
    ("v_from_x0", "the velocity from x^t and x^0",
    [(sqrt(S.abar) * XT - X0) / sqrt(S.one_minus), sqrt(S.abar) * (XT - sqrt(S.abar) * X0)
    / sqrt(S.one_minus) - sqrt(S.one_minus) * X0],
    ""),
    ("v_from_eps", "the velocity from x^t and the noise",
    [(EPS - sqrt(S.one_minus) * XT) / sqrt(S.abar), sqrt(S.abar) * EPS - sqrt(S.one_minus)
    * (XT - sqrt(S.one_minus) * EPS) / sqrt(S.abar)],
    ""),
    ("v_from_score", "the velocity from x^t and the score",
    [-(sqrt(S.one_minus) * (XT + SCORE) / sqrt(S.abar)), -(sqrt(S.abar * S.one_minus) * SCORE)
    - sqrt(S.one_minus) * x0_hat("score", S, XT, SCORE)],
    ""),
    ("score_from_x0", "the score of q(x^t | x^0)", -((XT - sqrt(S.abar) * X0) / S.one_minus), ""),
    ("score_from_eps", "the score from the noise", -(EPS / sqrt(S.one_minus)), ""),
    ("score_from_v", "the score from x^t and the velocity",
    -((sqrt(S.one_minus) * XT + sqrt(S.abar) * VELOCITY) / sqrt(S.one_minus)), ""),
    ("mean_from_eps", "mean of p(x^{t-1} | x^t) from x^t and eps", mean_hat("eps", S, XT, EPS), ""),
    ("mean_from_x0", "the same from x^0", mean_hat("x0", S, XT, X0), ""),
    ("mean_from_v", "the same from the velocity", mean_hat("v", S, XT, VELOCITY), ""),
    ("mean_from_score", "the same from the score", mean_hat("score", S, XT, SCORE), "")):
    _argument = _name.split("_from_")[1]
    quantity(_name, "Table App.1", _text, f"xt t {_argument}" if _name != "score_from_eps"
        and _name != "eps_from_score" else f"{_argument} t", "state", lambda c, made=_forms: made,
        at_times, _aliases, first=2 if "mean_" in _name else 1)
quantity("velocity", "Table App.1", "sqrt(abar_t) noise - sqrt(1 - abar_t) x0", "x0 t noise",
    "state", lambda c: sqrt(S.abar) * NOISE - sqrt(S.one_minus) * X0, at_times,
    "predict_v get_velocity")
quantity("learned_range_var", "Table App.1",
    "variance between the posterior's and beta_t, at w in [-1, 1]", "w t", "var", lambda c:
    op("exp", 0.5 * (A("w") + 1) * log(S.beta) + (1 - 0.5 * (A("w") + 1)) * log(POSTERIOR)),
    at_times, first=2)


def _reverse_step(c: Conventions) -> list[Expr]:
    noisy = (op("later") if c.silent else op("known") if c.reverse_var == "posterior"
        else number(1.0))
    noise = term("the noise", noisy * sqrt(ruled_var(c, S)) * NOISE)
    return [mean + noise for mean in mean_hat(c.model, S, XT, A("output"))]


def _ddim(c: Conventions) -> Expr:
    var = c.eta**2 * POSTERIOR
    return (term("the term of x0", sqrt(S.abar_prev) * x0_hat("eps", S, XT, EPS))
        + term("the term of eps", sqrt(S.one_minus_prev - var if c.eta else S.one_minus_prev) * EPS)
        + (term("the noise", c.eta * sqrt(POSTERIOR) * NOISE) if c.eta else number(0.0)))


quantity("reverse_step", "(5)", "x^{t-1} from x^t, a network's output and noise",
    "xt t output noise reverse_var", "state", _reverse_step, term_inputs, "p_sample")
quantity("ddim_step", "DDIM (12)", "DDIM's x^{t-1} from x^t, eps and noise, at eta",
    "xt t eps noise", "state", _ddim, at_times)
quantity("sample_step", "(5)", "x^{t-1} from mean, variance and noise", "mean var noise", "state",
    lambda c: A("mean") + term("noise", sqrt(V(c, "var")) * NOISE), pairs, scheduled=False)
quantity("perturbed_mean", "section 2.5", "mean times a smooth r, of gradient grad log r there",
    "mean var grad_log_r", "state", lambda c: A("mean")
    + term("grad_log_r", V(c, "var") * A("grad_log_r")), pairs, scheduled=False)


def _factor(c: Conventions) -> list[Expr]:
    v, w = V(c, "var"), V(c, "var_y")
    return [(A("mean") * w + A("y") * v) / (v + w), (A("mean") / v + A("y") / w) / (1 / v + 1 / w)]


quantity("factor_mean", "section 2.5", "mean of N(mean, var) times N(x; y, var_y)",
    "mean var y var_y", "state", _factor, pairs, scheduled=False)
quantity("factor_var", "section 2.5", "variance of N(mean, var) times N(x; y, var_y)",
    "mean var y var_y", "var", lambda c:
    [V(c, "var") * V(c, "var_y") / (V(c, "var") + V(c, "var_y")), 1
    / (1 / V(c, "var") + 1 / V(c, "var_y"))],
    pairs, scheduled=False)

# Divergences, entropies, densities


def _pair_of(c: Conventions) -> tuple[Law, Law]:
    return (A("mean_q"), V(c, "var_q")), (A("mean_p"), V(c, "var_p"))


def _bit(name: str) -> Law:
    return A(name), 1 - A(name)


def _log_bits(c: Conventions) -> Expr:
    p = _bit("p1")
    return term("the term of x = 1", _xlogy(A("bit"), p[0])) + term("the term of x = 0",
        _xlogy(1 - A("bit"), p[1]))


def _kl_slope(c: Conventions) -> Expr:
    q, p = _pair_of(c)
    return (term("1 / var_p", 0.5 / p[1]) - term("the variances' ratio", 0.5 * q[1] / square(p[1]))
        - term("the means' square", 0.5 * square(q[0] - p[0]) / square(p[1])))


def _kl_forms(q: Law, p: Law) -> list[Expr]:
    square_term = term("the means' square", 0.5 * square(q[0] - p[0]) / p[1])
    apart = (0.5 * log(p[1]) - 0.5 * log(q[1]) + term("the variances' ratio", 0.5 * q[1] / p[1])
        + square_term + term("-1/2", number(-0.5)))
    return [_gaussian_kl(q, p), apart]


def _log_mean(c: Conventions) -> Expr:
    log_w = op("unit", A("log_w"), kind="the wrong way" if c.unit == "bits" else "nats")
    top = op("max", log_w)
    return (term("the largest weight", top)
        + term("the log of the sum", log(op("sum", op("exp", log_w - top))))
        + term("-log n", -log(op("count", log_w))))


for _name, _equation, _summary, _arguments, _kind, _formula, _aliases in (
    ("gaussian_kl", "(14)", "KL(q || p) of Gaussians", "mean_q var_q mean_p var_p", "nats",
    lambda c: _kl_forms(*_pair_of(c)), "normal_kl"),
    ("gaussian_kl_grad_mean", "(14)", "derivative of KL(q || p) by p's mean",
    "mean_q var_q mean_p var_p", "slope", lambda c: (A("mean_p") - A("mean_q")) / V(c, "var_p"),
    ""),
    ("gaussian_kl_grad_var", "(14)", "derivative of KL(q || p) by p's variance",
    "mean_q var_q mean_p var_p", "slope_var", _kl_slope, ""),
    ("gaussian_entropy", "(14)", "entropy of a Gaussian", "var", "nats", lambda c:
    _gaussian_entropy((X0, V(c, "var"))), ""),
    ("gaussian_log_prob", "Table App.1", "log density of a Gaussian", "x mean var", "nats",
    lambda c: _gaussian_log_prob(A("x"), (A("mean"), V(c, "var"))), "normal_log_prob"),
    ("bernoulli_kl", "(14)", "KL(q || p) of bits", "q1 p1", "nats", lambda c:
    _bits_kl(_bit("q1"), _bit("p1")), ""),
    ("bernoulli_kl_grad", "(14)", "derivative of KL(q || p) by p's probability of 1", "q1 p1",
    "slope", lambda c: (1 - A("q1")) / (1 - A("p1")) - A("q1") / A("p1"), ""),
    ("bernoulli_entropy", "(14)", "entropy of bits", "p1", "nats", lambda c:
    _bits_entropy(_bit("p1")), ""),
    ("bernoulli_log_prob", "Table App.1", "log probability of bits", "bit p1", "nats", _log_bits,
    ""),
    ("perturbed_bits", "section 2.5", "probability of 1, of a distribution multiplied by r",
        "prob log_r1 log_r0", "prob", lambda c:
        [op("sigmoid", log(A("prob") / (1 - A("prob"))) + A("log_r1") - A("log_r0")), A("prob")
        * op("exp", A("log_r1"))
        / (A("prob") * op("exp", A("log_r1")) + (1 - A("prob")) * op("exp", A("log_r0")))],
        "")):
    quantity(_name, _equation, _summary, _arguments, _kind, _formula, pairs, _aliases,
        scheduled=False)
quantity("log_likelihood", "(9)", "log mean w from log w, over the first axis", "log_w", "nats_row",
    _log_mean, weights, scheduled=False)

# K, equation (14), log weights, entropy bounds: once for both columns

H_T, H_1, H_P = "H_q(X^T|X^0)", "H_q(X^1|X^0)", "H_p(X^T)"
EDGE = ("log pi(x^0)", "E log pi(x^1)", H_1)
BOUND_GROUPS = {f"{H_T} - {H_1}": (H_T, H_1), "KL( q(x^T|x^0) || pi )": (H_T, "E log pi(x^T)"),
    "the edge p(x^0|x^1)": EDGE}


def bound_terms(col: Any, c: Conventions, names: tuple[str, ...]) -> Expr:
    kl = col.kl(col.posterior(LATER, X0, A("xs")), col.reverse(c))
    last, first = col.marginal(LAST, X0), col.marginal(FIRST, X0)
    parts = {"sum KL": -op("sum", kl), H_T: col.entropy(last), H_1: -col.entropy(first),
        "E log pi(x^T)": col.cross(last, col.prior), "log pi(x^0)": col.log_prob(X0, col.prior),
        "E log pi(x^1)": -col.cross(first, col.prior), H_P: -col.entropy(col.prior)}
    return Expr("+", tuple(term(name, parts[name]) for name in names))


K_TERMS = ("sum KL", H_T, H_1, "E log pi(x^T)", "log pi(x^0)", "E log pi(x^1)")
EQ14_TERMS = ("sum KL", H_T, H_1, H_P)


def weight_terms(col: Any, c: Conventions) -> Expr:
    x, y = A("before"), A("after")
    p, q = col.log_prob(x, col.reverse(c, ALL)), col.log_prob(y, col.kernel(ALL, x))
    return (term("p(x^T)", col.log_prob(A("end_state"), col.prior))
        + term("p(x^{t-1}|x^t)", op("sum", p)) - term("q(x^t|x^{t-1})", op("sum", q)))


def _weight_mistakes(col: Any, c: Conventions) -> dict[str, Expr]:
    """The steps' log p and log q are the terms of a sum over t."""
    x, y, whole = A("before"), A("after"), weight_terms(col, c)
    p, q = col.log_prob(x, col.reverse(c, ALL)), col.log_prob(y, col.kernel(ALL, x))
    m = col.log_prob(y, col.marginal(ALL, A("start")))
    end, tail, head = whole.args[0], op("tail", p - q), op("head", p - q)
    return {"the step t = 1 left out": end + op("sum", tail), "the step t = T left out": end
        + op("sum", head), "the edge p(x^0|x^1) left out": end + op("sum", op("tail", p))
        - op("sum", q), "q(x^t|x^0) for q(x^t|x^{t-1})": end + op("sum", p - m),
        "p and q exchanged in the steps": end - op("sum", p - q), "mean over t for the sum": end
        + op("sum", p - q, kind="mean")}


def entropy_terms(col: Any, upper: bool = False) -> Expr:
    step = term("H_q(X^t|X^{t-1})", col.step_entropy(S, X0))
    if upper:
        return step
    return (step + term("H_q(X^{t-1}|X^0)", col.entropy(col.before(S, X0)))
        - term("H_q(X^t|X^0)", col.entropy(col.marginal(S, X0))))


def _entropy_mistakes(col: Any, upper: bool) -> dict[str, Expr]:
    lower = entropy_terms(col)
    step, before, now = lower.args
    if upper:
        return {"the lower bound for the upper": lower, "H_q(X^t|X^0) for H_q(X^t|X^{t-1})": -now}
    return {"the upper bound for the lower": step, "H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0)": step
        + lower + now, "H_q(X^{t-1}|X^0) and H_q(X^t|X^0) exchanged": step - before - now}


quantity("kl_term", "(14)", "KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ), t >= 2",
    "x0 xt t mean reverse_var", "nats", lambda c:
    _kl_forms(_posterior(S, X0, XT), (A("mean"), ruled_var(c, S))), term_inputs, first=2)
quantity("binomial_kl_term", "(14)", "the same of bits", "x0 xt t prob", "nats", lambda c:
    _bits_kl(binomial.posterior(S, X0, XT), _bit("prob")), term_inputs, first=2, bits=True)
for _prefix, _col in (("", gaussian), ("binomial_", binomial)):
    _bits, _law_names = _prefix != "", "probs" if _prefix else "means vars"
    quantity(f"{_prefix}prior_kl", "(14)", "KL( q(x^T|x^0) || pi )", "x0", "nats", lambda c,
        col=_col: col.kl(col.marginal(LAST, X0), col.prior), at_times, bits=_bits)
    for _name, _names, _whole, _text in (
        ("lower_bound", K_TERMS, False, "K(x^0) at given x^2..x^T and reverse kernels"),
        ("eq14", EQ14_TERMS, True, "the same, for data that meet its precondition, averaged")):
        quantity(f"{_prefix}{_name}", "(14)" if _whole else "(13)", _text, f"x0 xs {_law_names}",
            "nats", lambda c, col=_col, names=_names: bound_terms(col, c, names), bound_inputs, ""
            if _whole else f"{_prefix}K" + ("" if _prefix else " elbo"), whole=_whole, bits=_bits,
            groups=BOUND_GROUPS, others=lambda c, col=_col, whole=_whole:
            {"both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0)":
                bound_terms(col, c, (*EQ14_TERMS, *EDGE)),
                "(14) for K(x^0): its precondition is taken for granted":
                bound_terms(col, c, EQ14_TERMS)})
    quantity(f"{_prefix}log_weights", "(9)",
        "log w of trajectories and their reverse kernels, t = 1..T", f"trajectory {_law_names}",
        "nats", lambda c, col=_col: weight_terms(col, c), path_inputs, bits=_bits, others=lambda c,
        col=_col: _weight_mistakes(col, c))
    for _name, _upper, _text in (("lower", False, "lower side, of the whole vector, t >= 2"),
        ("upper", True, "upper side, where its condition holds, t >= 2")):
        quantity(f"{_prefix}entropy_{_name}_bound", "(24)", _text, "x0 t", "nats", lambda c,
            col=_col, upper=_upper: entropy_terms(col, upper), entropy_inputs, first=2, whole=True,
            bits=_bits, others=lambda c, col=_col, upper=_upper: _entropy_mistakes(col, upper))
for _name, _law_of, _arguments, _text in (
    ("kernel", lambda: binomial.kernel(S, A("x_prev")), "x_prev t", "q(x^t = 1 | x^{t-1})"),
    ("marginal", lambda: binomial.marginal(S, X0), "x0 t", "q(x^t = 1 | x^0)"),
    ("posterior", lambda: binomial.posterior(S, X0, XT), "x0 xt t",
    "q(x^{t-1} = 1 | x^t, x^0), t >= 2"),
    ("edge", lambda: binomial.kernel(FIRST, A("x1")), "x1", "p(x^0 = 1 | x^1), App. B.2")):
    quantity(f"binomial_{_name}", "Table App.1", _text, _arguments, "prob", lambda c,
        made=_law_of()[0]: made, at_times, first=2 if _name == "posterior" else 1, bits=True)

ALIASES |= {"kernel": ("kernel_mean", "kernel_var"), "marginal": ("marginal_mean", "marginal_var"),
    "q_mean_variance": ("marginal_mean", "marginal_var", "marginal_log_var"), "factor":
    ("factor_mean", "factor_var"), "posterior": ("posterior_mean", "posterior_var"), "q_posterior":
    ("posterior_mean", "posterior_var", "posterior_log_var"), "q_posterior_mean_variance":
    ("posterior_mean", "posterior_var", "posterior_log_var"), "gaussian_kl_grad":
    ("gaussian_kl_grad_mean", "gaussian_kl_grad_var"), "entropy_bounds":
    ("entropy_lower_bound", "entropy_upper_bound"), "binomial_entropy_bounds":
    ("binomial_entropy_lower_bound", "binomial_entropy_upper_bound")}

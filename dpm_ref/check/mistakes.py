"""Mistakes, made from a formula's expression: what is changed, under a name that says so.

In one place, a term or a factor is left out, counted twice, flipped, inverted; a root or a square
is forgotten; a table is exchanged for another. Everywhere, tables are read at another t or built
wrongly, arguments exchanged, and conventions other than those declared are kept. A mistake is a
change of the expression, so that two of them compose.

In the tables of this module a name is a template: {0} is the text of a node's argument, {1} its
own, {2} the label or the argument by which it is known.
"""

import collections
import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .conventions import CHOICES, NAMED, Conventions
from .expressions import TABLES, Change, Expr, Tables, number, op, table_text
from .quantities import QUANTITIES, SPREADS, Quantity, kind_of, others, right, undeclared

__all__ = ["CONSTANTS", "DESIGN", "HABITS", "Mistake", "compose", "constants", "habits"]
__all__ += ["doubled", "fitted", "mistakes", "names"]

Build = Callable[[Tables], Any]  # of tables, or of one of them
DESIGN, PLAIN, LOCAL, ODD = range(4)  # how plausible a name is


@dataclass(frozen=True, eq=False)
class Mistake:
    name: str
    change: Change
    rank: int = PLAIN
    path: tuple[int, ...] = ()
    expects: str = ""  # the operation that is changed
    form: int = 0

    def of(self, tree: Expr) -> Expr:
        return tree.at_path(self.path, self._made)

    def _made(self, node: Expr) -> Expr:
        if self.expects not in ("", node.op):
            raise ValueError(f"{self.name}: another mistake stands there")
        return self.change(node)


def compose(a: Mistake, b: Mistake) -> Mistake:
    """Both; the one deeper in the tree is made first, and what wraps the result last."""
    first, second = sorted((a, b), key=lambda m: (-len(m.path), not m.expects))
    name = f"{a.name}, in two places" if a.name == b.name else f"{a.name}, and {b.name}"
    return Mistake(name, lambda tree: second.of(first.of(tree)), form=a.form)


# Changes


def _every(change: Change, *kinds: str) -> Change:
    """The change made at every node of these kinds."""
    return lambda tree: tree.map(lambda node: change(node) if node.op in kinds else node)


def _where(change: Change, said: Callable[[Expr], Iterable[Any]], value: Any) -> Change:
    """The change made at every node of which this is said."""
    return lambda tree: tree.map(lambda node: change(node) if value in said(node) else node)


def _set(**fields: Any) -> Change:
    return lambda node: replace(node, **fields)


@functools.lru_cache(maxsize=4096)
def _after(build: Build, then: Build) -> Build:
    return lambda s: then(build(s))


def _built(build: Build) -> Change:
    """A table built so, from those that it was built from."""
    return lambda y: replace(y, built=_after(y.built, build) if y.built else build)


def _renamed(names: dict[str, str], kind: str) -> Change:
    """Inputs or tables exchanged; an argument is read as the one whose place it takes."""
    return _every(lambda node: replace(node, name=names.get(node.name, node.name)), kind)


def _put(k: int, change: Change) -> Change:
    return lambda node: node.put(k, change)


def _times(factor: Expr | float) -> Change:
    return lambda node: factor * node


def _taken(kind: str, value: float = 0.0) -> Change:
    """This function of the node."""
    return lambda node: op(kind, node, value=value)


def _constant(tree: Expr | float) -> Change:
    return lambda node: number(tree)


def _inner(node: Expr) -> Expr:
    return node.args[0]


def _complement(node: Expr) -> Expr:
    return 1 - node


def _abar(node: Expr) -> Expr:
    return replace(node, name=node.name.removeprefix("one_minus_"))


def _one_minus_root(node: Expr) -> Expr:
    """1 - sqrt(abar) for 1 - abar."""
    return 1 - op("sqrt", _abar(node))


def _root_first(node: Expr) -> Expr:
    """1 - sqrt(abar) for sqrt(1 - abar)."""
    return _one_minus_root(node.args[0]) if node.args[0].name in RESTS else node


def _xt(node: Expr) -> Expr:
    """The x^t in x0_hat; x0_hat itself where it is predicted."""
    return next((n for _, n in node.walk() if n.name in ("xt", "xs", "x_1")), node)


# Tables


def _product(change: Build) -> Build:
    """Another abar, and what follows from it."""
    return lambda s: Tables.product(s.beta[1:], s.alpha[1:], change(s)[1:])


def _from(change: Callable[[Any], Any]) -> Build:
    """Another beta, and what follows from it; it may leave [0, 1]."""

    def made(s: Tables) -> Tables:
        beta = change(s.beta[1:])
        return Tables.product(beta, 1 - beta, np.cumprod(1 - beta))

    return made


def _longer(s: Tables) -> Tables:
    """A linear schedule from t = 0 on with the same ends, and abar from there."""
    beta = np.linspace(s.beta[1], s.beta[-1], s.T + 1)
    return Tables.product(beta[1:], 1 - beta[1:], np.cumprod(1 - beta)[1:])


def _continuous(s: Tables) -> Any:
    k = np.arange(s.T + 1)
    return np.exp(-k * s.beta[1] - 0.5 * k**2 / s.T * (s.beta[-1] - s.beta[1]))


def _before(change: Build, ratio: bool = False) -> Build:
    """Other abar_{t-1} at t = 1..T; and alpha_1, where it is read from the ratio to that."""

    def made(s: Tables) -> Tables:
        prev = np.r_[1.0, change(s)]
        if ratio:
            alpha = np.r_[1.0, s.abar[1] / prev[1], s.alpha[2:]]
            s = s._replace(alpha=alpha, beta=np.r_[0.0, 1.0 - alpha[1], s.beta[2:]])
        return s._replace(abar_prev=prev, one_minus_abar_prev=1.0 - prev)

    return made


EARLY = "t one too small: entry t - 1 of the tables is read"
LATE = "t one too large: entry t + 1 of the tables is read"
ACROSS = "t broadcast along the components, not along the rows"
ONE_MORE = "one step more, the last left out"
FIRST = "the product before the first step is"
REVERSED = "schedule reversed: entry T - t of the tables is read"
# fmt: off
# of entries 0..T, as an array of T entries is misread
MOVES: list[tuple[str, Callable[[int], Any]]] = [
    (EARLY, lambda T: np.r_[0, T, 1:T]), (EARLY, lambda T: np.r_[0, 0:T]),
    (EARLY, lambda T: np.r_[0, 1, 1:T]), (LATE, lambda T: np.r_[0, 2 : T + 1, T]),
    (LATE, lambda T: np.r_[0, 2 : T + 1, 1]),
    (REVERSED, lambda T: np.r_[0, T:0:-1]), (REVERSED, lambda T: np.arange(T, -1, -1)),
]
# another abar, of all tables
PRODUCTS: dict[str, Build] = {
    "alpha_t for abar_t: the product is forgotten": lambda s: s.alpha,
    "product of beta_s, not of 1 - beta_s": lambda s: np.cumprod(np.r_[1.0, s.beta[1:]]),
    "product of 1 + beta_s, not of 1 - beta_s": lambda s: np.cumprod(1.0 + s.beta),
    "sum of beta_s for the product of 1 - beta_s": lambda s: 1.0 - np.cumsum(s.beta),
    "sum of alpha_s for their product": lambda s: np.cumsum(s.alpha) - 1.0,
    "exp(-sum of beta_s) for the product of 1 - beta_s": lambda s: np.exp(-np.cumsum(s.beta)),
    "exp(-integral of beta(t)) for the product: abar_t in continuous time": _continuous,
    "the product taken twice": lambda s: np.cumprod(s.abar),
    "sqrt(abar_t) for abar_t": lambda s: np.sqrt(s.abar),
    "abar_t squared: the product taken of (1 - beta_s)^2": lambda s: s.abar**2,
    "beta_1 left out of the product": lambda s: np.r_[1.0, 1.0, np.cumprod(s.alpha[2:])],
    "the cosine schedule in closed form, abar_t not divided by f(0)":
        lambda s: np.cos((np.arange(s.T + 1) / s.T + 0.008) / 1.008 * np.pi / 2)**2,
}
# another beta, of beta_1..T
RATES: dict[str, Callable[[Any], Any]] = {
    "linear over T + 1 steps, the first left out":
        lambda b: np.linspace(b[0], b[-1], b.size + 1)[1:],
    "twice beta_t: the chance to be drawn anew for the chance to flip": lambda b: 2.0 * b,
    "beta_t / 2 for beta_t: the chance to flip for the chance to be drawn anew": lambda b: 0.5 * b,
    "beta clipped to at most 0.5": lambda b: np.minimum(b, 0.5),
    "beta_t not capped at 0.999": lambda b: np.where(b == 0.999, 1.0, b),
    "the linear schedule with the same ends": lambda b: np.linspace(b[0], b[-1], b.size),
    "the quadratic schedule with the same ends":
        lambda b: np.linspace(b[0]**0.5, b[-1]**0.5, b.size)**2,
    "the linear schedule without its end: endpoint=False":
        lambda b: np.linspace(b[0], b[-1], b.size, endpoint=False),
    "beta not scaled by 1000 / T: declare {'scaled': False}?": lambda b: b * b.size / 1000,
    "beta_1 not scaled by 1000 / T, beta_T scaled":
        lambda b: np.linspace(b[0] * b.size / 1000, b[-1], b.size),
    "sqrt(1 - beta_t) for 1 - beta_t at each step": lambda b: 1.0 - np.sqrt(1.0 - b),
    "the cosine not squared: sqrt(1 - beta_t) for 1 - beta_t at each step":
        lambda b: np.where((b == 0.999) | (0.999 not in b), b, 1.0 - np.sqrt(1.0 - b)),
    REVERSED: lambda b: b[::-1],
}
BUILDS: list[tuple[str, Build]] = [
    *((name, _product(made)) for name, made in PRODUCTS.items()),
    *((name, _from(made)) for name, made in RATES.items()),
    ("linear over T + 1 steps, the first in the product alone", _longer),
    (f"{FIRST} abar_1, not 1", _before(lambda s: np.r_[s.abar[1], s.abar[1:-1]])),
    (f"{FIRST} abar_T, not 1: index -1", _before(lambda s: np.r_[s.abar[-1], s.abar[1:-1]])),
    (f"{FIRST} 0, not 1", _before(lambda s: np.r_[0.0, s.abar[1:-1]])),
    (f"{FIRST} abar_1, not 1", _before(lambda s: np.r_[s.abar[1], s.abar[1:-1]], True)),
    (f"{FIRST} abar_T, not 1: index -1", _before(lambda s: np.r_[s.abar[-1], s.abar[1:-1]], True)),
    ("abar_t for abar_{t-1}", _before(lambda s: np.r_[1.0, s.abar[2:]])),
    ("abar_{t+1} for abar_{t-1}", _before(lambda s: np.r_[s.abar[2:], 0.0])),
    ("abar_{t+1} for abar_{t-1}", _before(lambda s: np.r_[s.abar[2:], 1.0])),
]
LOWEST, HIGHEST = (1e-5, 1e-4, 1e-3, 0.01), (0.9999, 0.999, 0.9, 0.5, 0.1, 0.02)
# with numbers that are found from the values: the least they can be, and where they may start
FITTED: list[tuple[str, float, Any, Callable[..., Build]]] = [
    ("the product has a factor {:.6g} too many", 0.9, [(0.99999,)],
     lambda k: _after(_product(lambda s: k * s.abar), _before(lambda s: np.r_[k, s.abar[1:-1]]))),
    *((f"{FIRST} {{:.6g}}, not 1", 0.9, [(0.99999,)], lambda k, ratio=ratio: _before(
        lambda s: np.r_[k, s.abar[1:-1]], ratio)) for ratio in (False, True)),
    ("beta clipped to at most {:.6g}", 1e-6, [HIGHEST], lambda k: _from(lambda b: b.clip(0, k))),
    ("beta clipped to [{:.6g}, {:.6g}]", 1e-6, [LOWEST, HIGHEST], lambda low, high: _from(
        lambda b: np.clip(np.where(b == 0.999, 1.0, b), low, high))),
]
# fmt: on
RESTS = ("one_minus_abar", "one_minus_abar_prev")
REST: dict[str, Change] = {
    "sqrt(1 - abar_t) for 1 - abar_t": _taken("sqrt"),
    "1 - sqrt(abar_t) for 1 - abar_t": _one_minus_root,
    "(1 - abar_t) / abar_t for 1 - abar_t: of x^t / sqrt(abar_t)": lambda y: y / _abar(y),
}
COUPLED = (("alpha", "beta"), ("abar", "one_minus_abar"), ("abar_prev", "one_minus_abar_prev"))
# fmt: off
TERMS = {"{2} left out": 0.0, "sign of {2} flipped": -1.0, "{2} counted twice": 2.0,
         "half of {2} only": 0.5}
IN_BITS = "log weights handed over in bits, taken for nats, or the reverse"
BOTH_WAYS = "converted to bits the wrong way: times ln 2 where it is divided"
LN_2, LN_10, COUNT = math.log(2.0), math.log(10.0), op("count")
BITS = ("bit", "p1", "q1", "prob", "probs", "x_prev", "x0", "xt", "x1")
READ = [("early" if name == EARLY else "late", _set(move=move)) for name, move in MOVES[:5]]
Rule = tuple[str, str, Change, int]  # where, the name, the change, how plausible it is
# in one place, and wherever the same table, argument or label stands
RULES: list[Rule] = [
    ("table, read, the posterior's variance", "sqrt({1}) for {1}", _taken("sqrt"), PLAIN),
    ("table", "{1} counted twice", _times(2), PLAIN),
    ("table", "half of {1} only", _times(0.5), PLAIN),
    ("table", "{1} squared", _taken("square"), ODD),
    ("table one_minus_abar, table one_minus_abar_prev", "1 - sqrt(abar_t) for 1 - abar_t",
     _one_minus_root, PLAIN),
    ("table beta", "(1 - abar_t) / abar_{{t-1}} for 1 - abar_t / abar_{{t-1}}",
     lambda y: replace(y, name="one_minus_abar") / replace(y, name="abar_prev"), PLAIN),
    *(("table", f"{{1}} read one step too {when}, the other tables not", change, PLAIN)
      for when, change in READ),
    ("input", "sign of {1} flipped", lambda y: -y, LOCAL),
    ("input w", "w read as a fraction in [0, 1], not in [-1, 1]", lambda y: 2 * y - 1, PLAIN),
    ("input w", "w + 1 not halved", lambda y: 2 * y + 1, PLAIN),
    ("input w", "1 not added to w", lambda y: y - 1, PLAIN),
    ("input pi1", "1 - pi_1 for pi_1", _complement, PLAIN),
    ("input pi1", "pi_1 taken as 0", _constant(0), PLAIN),
    ("input pi1", "pi_1 taken as 1: the factor is forgotten", _constant(1), PLAIN),
    ("input pi1", "pi_1 taken as 1/2", _constant(0.5), PLAIN),
    ("bit", "0 and 1 of {1} exchanged", _complement, PLAIN),
    ("bit", "{1} taken for a logit", _taken("sigmoid"), PLAIN),
    ("bit", "one-hot {1} taken for logits", lambda y: op("sigmoid", 2 * y - 1), PLAIN),
    ("xlogy", "{0} left out before the logarithm", lambda y: op("log", y.args[1]), PLAIN),
    ("xlogy", "the logarithm forgotten in {1}", lambda y: y.args[0] * y.args[1], LOCAL),
    ("read, the posterior's variance", "{1} used as a standard deviation: squared",
     _taken("square"), PLAIN),
    *((f"read {kind}", f"{SPREADS[kind]} handed over, taken for a {SPREADS[done]}",
       _set(name=done), PLAIN) for kind, done in itertools.permutations(SPREADS, 2)),
    *((f"write {kind}", f"{SPREADS[done]} returned where the {SPREADS[kind]} is declared",
       _set(name=done), PLAIN) for kind, done in itertools.permutations(SPREADS, 2)),
    *(("weighed", IN_BITS, _set(name=name), PLAIN) for name in ("the wrong way", "nats")),
    ("the largest weight", "the largest weight not put back", _constant(0), PLAIN),
    ("max", "weights underflow: their largest is not taken out before exp", _constant(0), PLAIN),
    ("max", "the smallest weight is taken out for the largest", _set(op="min"), PLAIN),
    *(("term", name, _times(factor), LOCAL) for name, factor in TERMS.items()),
    ("number term", "{2} once, not for each component", lambda y: y / op("d"), PLAIN),
    ("number term", "{2} d times in each component", lambda y: y * op("d"), PLAIN),
    ("factor", "{1} left out", _constant(1), LOCAL),
    ("variable factor", "divided where it is multiplied, by {1}", _taken("inv"), LOCAL),
    ("divisor", "division by {0} forgotten", _constant(1), PLAIN),
    ("divisor", "multiplied where it is divided, by {0}", _inner, PLAIN),
    ("divisor d", "sum over components where the mean is declared", _constant(1), PLAIN),
    ("sqrt", "{0} without its root", _inner, PLAIN),
    ("sqrt", "{0} squared where its root is meant", lambda y: y.args[0] ** 2, ODD),
    ("sqrt", "exp({0} / 2) where sqrt({0}) is meant", lambda y: op("exp", 0.5 * y.args[0]), ODD),
    ("sqrt", "log({0}) / 2 where sqrt({0}) is meant",
     lambda y: 0.5 * op("log", op("least", y.args[0], value=1e-20)), ODD),
    ("square", "{0} not squared", _inner, LOCAL),
    ("square", "{0} not squared", lambda y: op("abs", y.args[0]), LOCAL),
    ("log, exp, sigmoid", "the {3} of {0} forgotten", _inner, LOCAL),
    ("log", "log2 for ln in log({0})", _times(1 / LN_2), LOCAL),
    ("log", "log sqrt({0}) squared, not doubled", lambda y: (0.5 * y)**2, LOCAL),
    ("log", "sqrt({0}) for log sqrt({0})", lambda y: 2 * op("sqrt", y.args[0]), LOCAL),
    ("batch", "sum over the batch for its mean", _times(op("n")), PLAIN),
    ("sum", "mean over t for the sum", _times(1 / COUNT), PLAIN),
    ("sum", "mean over t times T, where there are T - 1 terms", _times((COUNT + 1) / COUNT), PLAIN),
    ("sum", "sum over t divided by T", _times(1 / (COUNT + 1)), PLAIN),
    ("sum", "sum over t times T", _times(COUNT + 1), PLAIN),
    ("sum bound, sum loop", "the KL term at the second t left out", _put(0, _taken("tail")), PLAIN),
    ("sum bound, sum loop", "the KL term at the last t left out", _put(0, _taken("head")), PLAIN),
    ("count", "n - 1 for n", lambda y: y - 1, PLAIN),
    ("count", "the other axis counted for n", lambda y: op("n"), PLAIN),
    ("later", "noise is added at the last step too", _constant(1), PLAIN),
    ("later", "no noise at the last step but one either", _set(value=1.0), PLAIN),
    ("later", "no noise in any row where one is at the last step", _set(at="least"), PLAIN),
    ("later", "noise in all rows or in none, by the first row's t", _set(at="first row"), PLAIN),
    ("log 2 pi", "log pi for log 2 pi", _times(math.log(math.pi) / math.log(2 * math.pi)), PLAIN),
    ("log 2 pi", "sqrt(2 pi) for its logarithm",
     _times(math.sqrt(8 * math.pi) / math.log(2 * math.pi)), PLAIN),
    ("if", "0 and 1 of {0} exchanged", lambda y: y.of(y.args[0], y.args[2], y.args[1]), LOCAL),
    ("first", "the KL term at the first t too, L_0 left out", lambda y: y.args[1], PLAIN),
    ("first", "L_0 and the KL term exchanged", lambda y: y.of(*y.args[::-1]), PLAIN),
    ("first", "L_0 at the last t, where it belongs to the first", _set(op="last"), PLAIN),
    ("components sum", "mean over components where the sum is declared", _set(name="mean"), PLAIN),
    ("components mean", "sum over components where the mean is declared", _set(name="sum"), PLAIN),
    ("components sum", "summed over the batch", _put(0, lambda y: op("n") * op("batch", y)), PLAIN),
    ("unit nats", "log2 for ln: bits where nats are declared", _set(name="bits"), PLAIN),
    ("unit bits", "ln for log2: nats where bits are declared", _set(name="nats"), PLAIN),
    ("unit", BOTH_WAYS, _set(name="the wrong way"), PLAIN),
    ("unit bits", "converted to bits twice", lambda y: y / LN_2, PLAIN),
    ("the posterior's variance", "1 - abar_t for {2}", lambda y: y.args[2].args[0], PLAIN),
    ("the posterior's variance", "beta_t for {2}", _inner, DESIGN),
    ("the posterior's variance", "1 - abar_{{t-1}} for {2}", lambda y: y.args[1], PLAIN),
    ("the likelihood of xt, the marginal before", "twice beta_t in {2} only",
     _every(_set(built=_from(lambda beta: 2.0 * beta)), "table"), PLAIN),
    ("x0_hat", "x^0 clipped to [-1, 1]", _taken("clip", 1.0), PLAIN),
    ("x0_hat", "x^0 clipped to [0, 1]", _taken("inside"), PLAIN),
    ("sigma_t", "sigma_t squared", _taken("square"), PLAIN),
    ("sigma_t", "eta squared in sigma_t", lambda y: y.args[0] * y if y.args else y, PLAIN),
    ("sigma_t", "eta itself for sigma_t", lambda y: y.args[0] if y.args else y, PLAIN),
    ("x0_hat", "x^t in the place of x^0", _xt, PLAIN),
    *(("x0_hat, the posterior's variance", f"{{2}}'s tables read one step too {when}",
       _every(change, "table"), PLAIN) for when, change in READ),
    *(("L_0, the KL term, sum KL, prior KL", f"{name} in {{2}} only", _times(factor), PLAIN)
      for name, factor in (
          ("mean over components", 1 / op("d")), ("sum over components", op("d")),
          ("nats", LN_2), ("bits", 1 / LN_2), ("sum over the batch", op("n")))),
    ("log_bin", "a logistic distribution for the Gaussian", _set(name="logistic"), PLAIN),
    ("log_bin", "bins twice as wide: 1/127.5 for 1/255", _set(value=2.0), LOCAL),
    ("log_bin", "bins half as wide: 1/510 for 1/255", _set(value=0.5), LOCAL),
    ("log_bin", "1/256 for 1/255: bins of 256 levels, which have 255 steps",
     _set(value=255 / 256), LOCAL),
    *(("log_bin", name, _set(op=f"log_bin {ends}"), LOCAL) for ends, name in {
        "closed": "the first and the last bin closed, where they reach to infinity",
        "low": "the last bin closed, where it reaches to infinity",
        "high": "the first bin closed, where it reaches to infinity",
        "exchanged": "the tails of the first and the last bin exchanged",
        "below": "P(below) for P(above) in the last bin: 1 - is forgotten",
    }.items()),
    ("log_bin", "std / sqrt(2) for std in the mass of a bin", _put(2, _times(0.5**0.5)), LOCAL),
    ("log_bin", "exp(std) for std in the mass of a bin", _put(2, _taken("exp")), LOCAL),
    ("log_bin", "exp(var) for std in the mass of a bin",
     _put(2, lambda std: op("exp", std * std)), LOCAL),
    ("log_bin", "the squared error for the log probability",
     lambda y: -(y.args[0] - y.args[1])**2, PLAIN),
]
# of a result of these kinds
POSITIVE, SLOPES = "table, prob, var", "slope, slope_var"
INFORMATION = f"nats, nats_row, {SLOPES}"
RESULTS: list[Rule] = [
    ("", "twice as large: a factor 1/2 is missing, or a 2 too many", _times(2), PLAIN),
    ("", "half as large: a factor 2 is missing, or a 1/2 too many", _times(0.5), PLAIN),
    ("", "sign flipped", lambda y: -y, PLAIN),
    (SLOPES, "mean over components where the sum is declared", _times(1 / op("d")), PLAIN),
    (INFORMATION, "divided by the size of the batch", _times(1 / op("n")), PLAIN),
    (INFORMATION, "T times as large", _times(op("T")), PLAIN),
    (INFORMATION, "divided by T", _times(1 / op("T")), PLAIN),
    (INFORMATION, "times T / 1000: the rescaled loss", _times(op("T") / 1000), PLAIN),
    ("", "inverse: 1 / value", _taken("inv"), ODD),
    (POSITIVE, "square root taken once too often", _taken("sqrt"), ODD),
    (POSITIVE, "square root forgotten: the square is returned", _taken("square"), ODD),
    ("table, prob", "the logarithm is returned", _taken("log"), ODD),
    ("table, state, nats, nats_row", "the exponential is returned, the logarithm forgotten",
     _taken("exp"), ODD),
    (POSITIVE, "1 - p for p, or 1 - value", _complement, ODD),
    ("prob", "the logit is returned, the sigmoid forgotten",
     lambda y: op("log", y / (1 - y)), ODD),
    (f"{INFORMATION}, table, state", "log10 for ln", _times(1 / LN_10), ODD),
    ("state", "clipped to [-1, 1]", _taken("clip", 1.0), ODD),
]
# fmt: on


def _for(other: str, name: str, at: str = "t") -> str:
    done, meant = table_text(other, at), table_text(name, at)
    both = done.startswith("1 - ") and meant.startswith("1 - ")
    return f"{done[4:]} for {meant[4:]}" if both else f"{done} for {meant}"


def _named(node: Expr) -> str:
    """What a term is called: its label, or the argument in it."""
    inputs = [n.name for _, n in node.walk() if n.op == "input" and n.name != "pi1"]
    return node.label or (inputs[0] if len(inputs) == 1 else node.text.removeprefix("-"))


def _matched(rules: list[Rule], kinds: set[str], node: Expr) -> Iterator[Rule]:
    inner = node.args[0].text if node.args else node.text
    function = {"log": "logarithm", "exp": "exponential"}.get(node.op, node.op)
    known = inner, node.text, _named(node), function
    for where, name, change, rank in rules:
        if kinds & {*where.split(", ")}:
            yield where, name.format(*known), change, rank


# Where they are made


PLACES = {"term", "number term", "factor", "variable factor"}


def _keys(node: Expr) -> Iterator[tuple[str, str]]:
    """What nodes that change together have in common."""
    if node.label:
        yield "", node.label
    if node.op in ("inv", "sqrt", "square", "log", "exp", "read"):
        inner = node.args[0]
        yield f"{node.op} of", inner.name if inner.op == "table" else inner.text
    if node.name or node.op in ("max", "xlogy"):
        inputs = " ".join(n.name for _, n in node.walk() if n.op == "input")
        yield node.op, {"max": "", "xlogy": inputs}.get(node.op, node.name)


def _kinds(q: Quantity, node: Expr, parent: str) -> set[str]:
    """What rules call a node that stands in such an operation."""
    kinds = {node.op, f"{node.op} {node.name}", f"{node.op} {q.drawn}", node.label or "-"}
    if parent in ("+", "first"):
        number_first = "number" in (node.op, *(each.op for each in node.args[:1]))
        kinds |= {"term", "number term" if number_first else "term"}
    if node.op == "inv":
        kinds.add("divisor d" if node.args[0].op == "d" else "divisor")
    elif parent == "*" and node.op not in ("d", "later", "known"):
        kinds |= {"factor", "factor" if node.op == "number" else "variable factor"}
    if node.op == "input" and node.name in BITS[: None if q.bits else 5]:
        kinds.add("bit")
    return kinds


def _ruled(q: Quantity, tree: Expr) -> Iterator[Mistake]:
    """Changes by rule, wherever the same stands and then in one place."""
    nodes = dict(tree.walk())
    kinds = {p: _kinds(q, node, nodes[p[:-1]].op if p else "") for p, node in nodes.items()}
    paths: dict[tuple[str, str], list[tuple[int, ...]]] = collections.defaultdict(list)
    for path, node in nodes.items():
        for key in _keys(node):
            paths[key].append(path)
    several = {key: found[0] for key, found in paths.items() if len(found) > 1}
    for key, path in several.items():
        shown = replace(nodes[path].map(_set(at="t")), label=nodes[path].label * (key[0] == ""))
        known = kinds[path] if key[0] == "" else kinds[path] - PLACES
        for where, name, change, rank in _matched(RULES, known, shown):
            usual = PLAIN if where in ("term", "factor") else rank
            yield Mistake(name, _where(change, _keys, key), usual)
        for name, change in _factors(shown) if shown.op == "*" else ():
            yield Mistake(name, _where(change, _keys, key), LOCAL)
    for path, node in nodes.items():
        many = any(key in several for key in _keys(node))
        shown = node if many else node.map(_set(at="t"))
        for where, name, change, rank in _matched(RULES, kinds[path], shown):
            plain = where == "term" and (node.label or node.op == "input")
            usual = max(rank, LOCAL) if many else rank
            yield Mistake(name, change, PLAIN if plain else usual, path, node.op)
    for path, node in nodes.items():
        yield from _local(node, path)


def _local(node: Expr, path: tuple[int, ...]) -> Iterator[Mistake]:
    """A table exchanged, factors and groups of terms, in one place."""
    tables = [name for name in TABLES if node.op == "table" and name != node.name]
    found = [(_for(name, node.name, node.at), _set(name=name)) for name in tables]
    found += _factors(node) if node.op == "*" else ()
    found += [*_misplaced(node), *_unshared(node)] if node.op == "+" else ()
    for k, each in enumerate(node.args[0].args if node.op == "sqrt" else ()):
        found += [(f"the root reaches {each.text} only", _rooted_only(k))] * (each.op != "number")
    for name, change in found:
        yield Mistake(name, change, LOCAL, path, node.op)
    for name, change in _groups(node) if node.op == "+" else ():
        yield Mistake(name, change, PLAIN, path, node.op)


def _tables(tree: Expr) -> Iterator[Mistake]:
    """Tables read at another t, built wrongly, or exchanged, wherever they stand."""
    read = [node for _, node in tree.walk() if node.op == "table"]
    used = dict.fromkeys(node.name for node in read)
    for at, done in (("T", "T-1"), ("T", "1"), ("1", "2"), ("1", "0"), ("1", "T")):
        if any(node.at == at for node in read):
            said = f"t = {done} for t = {at}".replace("-", " - ")
            yield Mistake(said, _where(_set(at=done), lambda node: [node.at], at))
    changes = [(name, _set(move=move)) for name, move in MOVES]
    changes += [(name, _built(build)) for name, build in BUILDS]
    for name, change in changes if read else ():
        yield Mistake(name, _every(change, "table"))
    for name, change in REST.items() if read else ():
        yield Mistake(name, _by_name(dict.fromkeys(RESTS, change), "table"))
    for pair, (when, change) in itertools.product(COUPLED, READ):
        if {*pair} < {*used}:
            said = f"{table_text(pair[0])} read one step too {when}, the other tables not"
            yield Mistake(said, _by_name(dict.fromkeys(pair, change), "table"))
    if read:
        yield Mistake("1 - sqrt(abar_t) for sqrt(1 - abar_t)", _every(_root_first, "sqrt"))
    single = [(_for(b, a), {a: b}) for a in used for b in TABLES if b != a]
    for name, tables in [*_together(), *single]:
        if set(tables) & set(used):
            yield Mistake(name, _renamed(tables, "table"))
    rows = {"first row": "the first row's t read for every row", "across": ACROSS}
    given = any(node.op == "input" for _, node in tree.walk())
    for at, said in rows.items() if given and any(node.at == "t" for node in read) else ():
        yield Mistake(said, _where(_set(at=at), lambda node: [node.at], "t"))


def _together() -> Iterator[tuple[str, dict[str, str]]]:
    """Tables and what goes with them taken for others; two tables, or both products, exchanged."""
    for a, b in itertools.permutations(COUPLED, 2):
        yield _for(b[0], a[0]), dict(zip(a, b, strict=True))
    pairs: list[Any] = [((a,), (b,)) for a, b in (*COUPLED, ("alpha", "abar_prev"))]
    for a, b in (*pairs, COUPLED[1:]):
        name = f"{table_text(a[0])} and {table_text(b[0])} exchanged"
        yield name, dict(zip(a + b, b + a, strict=True))


TURNED = {"mean_q": "mean_p", "mean_p": "mean_q", "var_q": "var_p", "var_p": "var_q"}
TURNED |= {"q1": "p1", "p1": "q1"}
STATES = {"before": "x^{t-1}", "after": "x^t"}  # of a path


def _inputs(q: Quantity, tree: Expr) -> Iterator[Mistake]:
    """Arguments exchanged."""
    inputs = {node.name for _, node in tree.walk() if node.op == "input"}
    alike = q.every if q.drawn in ("times", "pairs", "decoder") else ()
    given = [name for name in alike if name != "t"] or [*STATES]
    if {"mean_q", "q1"} & {*q.every}:
        yield Mistake("KL reversed: KL(p || q)", _renamed(TURNED, "input"))
    said = {name: STATES.get(name, name) for name in given}
    for a, b in itertools.combinations(given, 2):
        if {a, b} & inputs:
            yield Mistake(f"{said[a]} and {said[b]} swapped", _renamed({a: b, b: a}, "input"))
    for a, b in itertools.permutations(given, 2):
        if a in inputs and kind_of(a) == kind_of(b):
            name = f"{said[b]} for {said[a]}"
            yield Mistake(name, _renamed({a: b}, "input"), LOCAL)
            for path, node in tree.walk():
                if node.op == "input" and node.name == a:
                    yield Mistake(f"{name} in one place", _set(name=b), LOCAL, path, "input")


def _factors(product: Expr) -> Iterator[tuple[str, Change]]:
    """A factor of one term of a sum, and ratios upside down."""
    if sum(each.op == "inv" for each in product.args) > 1:
        yield "multiplied with all but the first divisor: its brackets are missing", _unbracketed
    for (k, each), (j, other) in itertools.permutations(enumerate(product.args), 2):
        below = each.op == "inv"
        text = (each.args[0] if below else each).text
        said = f"division by {text}" if below else text
        for i, term in enumerate(other.args) if other.op == "+" and text != "d" else ():
            yield f"{said} reaches {_named(term)} only", _bracket(k, j, i, _constant(1))
            yield f"{said} reaches {_named(term)} twice", _bracket(k, j, i, _set())
        if other.name.startswith("one_minus") and each.op not in ("number", "later", "known"):
            yield f"{said} reaches {other.text[4:]} only", _complemented(k, j)
        if other.op == "inv" and each.op not in ("inv", "number", "later", "known"):
            yield f"ratio upside down: ({other.args[0].text}) / ({text})", _turned(k, j)


def _bracket(k: int, j: int, i: int, left: Change) -> Change:
    """The factor k multiplied with the term i of the sum j, and what is left of it with all."""
    return lambda y: y.put(j, lambda b: b.put(i, lambda a: a * y.args[k])).put(k, left)


def _misplaced(total: Expr) -> Iterator[tuple[str, Change]]:
    """A factor of one of two terms multiplied with the other too: its brackets are misplaced."""
    for k, each in enumerate(total.args if len(total.args) == 2 else ()):
        inner, other = each.args[0] if each.op == "neg" else each, total.args[1 - k]
        for factor in inner.args if inner.op == "*" else (inner,):
            if "number" not in (factor.op, other.op, *(each.op for each in other.args[:1])):
                below = f"division by {factor.args[0].text}" if factor.op == "inv" else factor.text
                yield f"{below} reaches {_named(other)} too", _put(1 - k, _times(factor))


def _unshared(total: Expr) -> Iterator[tuple[str, Change]]:
    """What stands before all terms multiplied with one of them alone: brackets are missing."""
    for k, each in enumerate(total.args if len(total.args) > 2 else ()):
        for said, factor in (("1/2", 2.0), ("-1/2", -2.0), ("the minus", -1.0)):
            yield f"{said} reaches {_named(each)} only", _all_but(k, factor)


def _all_but(k: int, factor: float) -> Change:
    return lambda y: y.of(*(a if i == k else factor * a for i, a in enumerate(y.args)))


def _complemented(k: int, j: int) -> Change:
    """The factor k multiplied with abar in the factor 1 - abar at j."""
    return lambda y: y.put(j, lambda b: 1 - _abar(b) * y.args[k]).put(k, _constant(1))


def _rooted_only(k: int) -> Change:
    return lambda y: y.args[0].put(k, _taken("sqrt"))


def _unbracketed(y: Expr) -> Expr:
    """Every divisor but a number multiplied with."""
    return y.of(*(each.args[0] if each.op == "inv" else each for each in y.args))


def _turned(k: int, j: int) -> Change:
    """The factor k divided by, the divisor j multiplied with."""
    return lambda y: y.put(j, _inner).put(k, _taken("inv"))


H_T, H_1, EDGE_T = "H_q(X^T|X^0)", "H_q(X^1|X^0)", "E log pi(x^T)"
GROUPS = {
    f"{H_T} - {H_1}": (H_T, H_1),
    "KL( q(x^T|x^0) || pi )": (H_T, EDGE_T),
    "the edge p(x^0|x^1)": ("log pi(x^0)", "E log pi(x^1)", H_1),
}


def _groups(total: Expr) -> Iterator[tuple[str, Change]]:
    """Terms that belong together, and terms added once for each t."""
    labels = [each.label for each in total.args]
    known = {label: (label,) for label in labels if label != "sum KL"} | GROUPS
    for name, group in known.items() if "sum KL" in labels else ():
        factors: list[tuple[str, Any]] = [*TERMS.items()] * (len(group) > 1)
        factors += [("{2} added T times instead of once", op("T"))]
        factors += [("{2} added once per t instead of once", op("T") - 1)]
        for said, factor in factors if set(group).issubset(labels) else ():
            yield said.format("", "", name), _scaled(group, factor)


def _scaled(labels: tuple[str, ...], factor: Expr | float) -> Change:
    return lambda y: y.of(*(factor * a if a.label in labels else a for a in y.args))


def doubled(tree: Expr) -> dict[str, Expr]:
    """The formula with each of its parts counted twice."""
    labels = {node.label for _, node in tree.walk()}
    double = functools.partial(_where, _times(2), lambda node: [node.label])
    return {label: double(label)(tree) for label in sorted(labels - {""})}


def fitted(beta: Any) -> Iterator[tuple[list[Any], Any, Callable[[Any], Mistake]]]:
    """Tables with numbers in them: where to start, between which ends, and the mistake."""
    for name, least, starts, build in FITTED:
        yield starts, (least, 1.0), functools.partial(_numbered, name, build)
    for (name, make), more in itertools.product(NAMED.items(), (0, 1)):
        if beta.size > 6 and np.allclose(make(beta.size), beta, 1e-9, 0):
            given = inspect.signature(make).parameters.values()
            usual = {each.name: each.default for each in given if type(each.default) is float}
            made = functools.partial(_respelled, name, more, usual)
            yield [(each, 0.9999) for each in usual.values()], (1e-300, np.inf), made


def _numbered(name: str, build: Callable[..., Build], numbers: Any) -> Mistake:
    return Mistake(name.format(*numbers), _every(_built(build(*numbers)), "table"), len(numbers))


def _respelled(name: str, more: int, usual: dict[str, float], numbers: Any) -> Mistake:
    """The schedule of this name with other parameters, or the first T of one step more."""
    known = dict(zip(usual, numbers.tolist(), strict=True))
    told = {k: f"{k} = {round(v, 12):.4g}" for k, v in known.items()}
    said = [s for k, s in told.items() if s != f"{k} = {usual[k]:.4g}"] + [ONE_MORE] * more
    build = _from(lambda beta: NAMED[name](beta.size + more, **known)[: beta.size])
    return Mistake(f"the {name} schedule with {', '.join(said)}", _every(_built(build), "table"))


@functools.lru_cache(maxsize=256)
def mistakes(q: Quantity, c: Conventions, **changed: Any) -> list[Mistake]:
    """All that can be made in this quantity under these conventions, the plausible first."""
    trees = right(q, c, **changed)
    results = _matched(RESULTS, {"", q.kind}, trees[0])
    found = [Mistake(name, change, rank) for _, name, change, rank in results]
    known = {PLAIN: others(q, c, **changed), DESIGN: undeclared(q, c, **changed)}
    for rank, made in known.items():
        found += [Mistake(n, _constant(tree), rank, expects=trees[0].op) for n, tree in made]
    for form, tree in enumerate(trees):
        every = itertools.chain(_inputs(q, tree), _tables(tree), _ruled(q, tree))
        found += [replace(m, form=form) for m in every]
    return sorted(found, key=lambda m: m.rank)


# Sources of precision loss: right mathematics, and what is done to its digits


SMALL = (1e-20, 1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
EVERY = "a small constant added to every 1 - abar_t"
CONSTANTS: dict[str, Callable[[float, Expr], Expr]] = {
    EVERY: lambda c, y: y + c,
    "a variance, a table or a probability clipped from below": lambda c, y: op("least", y, value=c),
    "a small constant added to a variance, a table or a probability": lambda c, y: y + c,
    "a probability clipped at both ends": lambda c, y: op("inside", y, value=c),
}


def constants(q: Quantity, c: Conventions) -> Iterator[Mistake]:
    """A value clipped or shifted on purpose, by a small constant."""
    for (name, made), small in itertools.product(CONSTANTS.items(), SMALL):
        places = _wider if name == EVERY else _places
        for change in places(q, functools.partial(made, small), small):
            yield from (Mistake(name, change, form=k) for k in range(len(right(q, c))))


FACTORS = ("the likelihood of xt", "the marginal before")


def _by_name(changes: dict[str, Change], kind: str) -> Change:
    """Nodes of this kind changed by their names."""
    return _every(lambda n: changes[n.name](n) if n.name in changes else n, kind)


def _wider(q: Quantity, change: Change, small: float) -> Iterator[Change]:
    """Data that come with a variance widen every q(x^t | x^0), and the steps in proportion."""
    rest = {"one_minus_abar": change, "one_minus_abar_prev": change}
    if q.scheduled and q.kind != "table":
        yield _by_name(rest, "table")
        yield _by_name(rest | {"beta": lambda n: n * (1 + small)}, "table")


def _places(q: Quantity, change: Change, small: float) -> Iterator[Change]:
    """The result, variances and probabilities handed over, what is under a root or a logarithm."""
    if q.kind in ("table", "prob"):
        yield change
    yield _every(change, "read")
    for kinds in (("sqrt", "log", "inv"), ("sqrt",), ("log",), ("write",), ("read",), ("inv",)):
        yield _every(lambda node: node.put(0, change), *kinds)
    yield _every(lambda node: node.put(1, change), "xlogy")
    yield lambda tree: tree.map(lambda node: change(node) if node.label in FACTORS else node)
    for names in (("q1",), ("p1",), ("prob",), ("q1", "p1")):
        yield _by_name(dict.fromkeys(names, change), "input")


def _single(x: Any) -> Any:
    """Rounded to float32."""
    return np.float64(np.float32(x))


def _float32(s: Tables, running: Any = np.float32) -> Tables:
    beta = s.beta[1:].astype(np.float32)
    abar = np.cumprod(1 - beta, dtype=running).astype(np.float32)
    return Tables.of(*map(_single, (beta, 1 - beta, abar, 1 - abar)))


def _read_back(s: Tables) -> Tables:
    single = _float32(s)
    alpha = _single(single.abar / single.abar_prev)
    return single._replace(alpha=alpha, beta=_single(1 - alpha))


SUBTRACTED = "1 - abar taken by subtraction from"
HABITS: dict[str, Callable[[Tables], Tables]] = {
    "tables built in float32: the running product and 1 - abar": _float32,
    "tables rounded to float32 after a product in float64": lambda s: _float32(s, np.float64),
    "beta read back from the product, 1 - abar_t / abar_{t-1}, in float32": _read_back,
    f"{SUBTRACTED} an abar rounded to float32": _product(lambda s: _single(s.abar)),
    "float64 tables rounded to float32 when read": lambda s: Tables(*map(_single, s)),
    "beta rounded to float32": lambda s: Tables.exact(_single(s.beta[1:])),
    f"{SUBTRACTED} a running product in float64": _product(lambda s: np.cumprod(s.alpha)),
}


def habits(trees: list[Expr]) -> dict[str, list[Expr]]:
    """The formulas over tables that are built in other ways."""
    read = {node.name for tree in trees for _, node in tree.walk() if node.op == "table"}
    return {
        name: [_every(_set(built=build), "table")(tree) for tree in trees]
        for name, build in HABITS.items()
        if read and (read & {"beta", "alpha"} or not name.startswith("beta"))
    }


def names() -> list[str]:
    """The names of all mistakes, for `--list`."""
    every = [Conventions(spread=spread) for spread in CHOICES["spread"]]
    known = {m.name for q in QUANTITIES.values() for c in every for m in mistakes(q, c)}
    return sorted(known | {name.replace("{:.6g}", "k") for name, *_ in FITTED})

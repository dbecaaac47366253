"""Mistakes, made from a formula's expression: what is changed, under a name that says so.

In one place, a term or a factor is left out, counted twice, flipped, inverted; a root or a square
is forgotten; a table is exchanged for another. Everywhere, tables are read at another t or built
wrongly, arguments exchanged, and conventions other than those declared are kept. A mistake is a
change of the expression, so that two of them compose.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .conventions import CHOICES, Conventions
from .expressions import TABLES, Expr, Tables, number, op, table_text
from .quantities import GROUPS, QUANTITIES, Quantity, others, presented

__all__ = ["BUILDS", "MOVES", "Mistake", "compose", "mistakes", "names"]

Change = Callable[[Expr], Expr]
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


def compose(a: Mistake, b: Mistake) -> Change:
    """Both; the one deeper in the tree is made first, and what wraps the result last."""
    first, second = sorted((a, b), key=lambda m: (-len(m.path), not m.expects))
    return lambda tree: second.of(first.of(tree))


# Tables


def _range(T: int, shift: int, first: int, last: int) -> Any:
    """Entry 0, then the entries 1..T moved by `shift`, with these in place of what lies outside."""
    index = np.arange(1, T + 1) + shift
    return np.r_[0, np.where(index < 1, first, np.where(index > T, last, index))]


# of entries 0..T, as an array of T entries is misread
MOVES: dict[str, Callable[[int], Any]] = {"-1 wrapped": lambda T: _range(T, -1, T, T),
    "-1 zero": lambda T: _range(T, -1, 0, 0), "-1 held": lambda T: _range(T, -1, 1, T),
    "+1 held": lambda T: _range(T, 1, 1, T), "+1 wrapped": lambda T: _range(T, 1, 1, 1),
    "turned": lambda T: np.r_[0, np.arange(T, 0, -1)], "from T": lambda T: np.arange(T, -1, -1)}
SHIFTS = {"t one too small: entry t - 1 of the tables is read": "-1",
    "t one too large: entry t + 1 of the tables is read": "+1",
    "schedule reversed: entry T - t of the tables is read": "turned from"}


def _product(change: Callable[[Tables], Any]) -> Callable[[Tables], Tables]:
    """Another abar, and what follows from it."""
    return lambda s: Tables.product(s.beta[1:], s.alpha[1:], change(s)[1:])


BUILDS: dict[str, Callable[[Tables], Tables]] = {
    "alpha_t for abar_t: the product is forgotten": _product(lambda s: s.alpha),
    "product of beta_s, not of 1 - beta_s": _product(lambda s: np.cumprod(np.r_[1.0, s.beta[1:]])),
    "sum of beta_s for the product of 1 - beta_s": _product(lambda s: 1.0 - np.cumsum(s.beta)),
    "exp(-sum of beta_s) for the product of 1 - beta_s": _product(
    lambda s: np.exp(-np.cumsum(s.beta))),
    "sqrt(abar_t) for abar_t": _product(lambda s: np.sqrt(s.abar)),
    "abar_t squared: the product taken of (1 - beta_s)^2": _product(lambda s: s.abar**2),
    "beta_1 left out of the product": _product(lambda s: np.r_[1.0, 1.0, np.cumprod(s.alpha[2:])]),
    "twice beta_t: the chance to be drawn anew for the chance to flip": lambda s: Tables.product(2
    * s.beta[1:], 1 - 2 * s.beta[1:], np.cumprod(1 - 2 * s.beta[1:])),
    "beta_t / 2 for beta_t: the chance to flip for the chance to be drawn anew": lambda s: (
    Tables.product(s.beta[1:] / 2, 1 - s.beta[1:] / 2, np.cumprod(1 - s.beta[1:] / 2))),
    "the product before the first step is abar_1, not 1": lambda s: replace(s,
    abar_prev=np.r_[s.abar_prev[:1], s.abar[1:2], s.abar_prev[2:]],
    one_minus_abar_prev=np.r_[s.one_minus_abar_prev[:1], s.one_minus_abar[1:2],
        s.one_minus_abar_prev[2:]]),
    "beta clipped to at most 0.5": lambda s: Tables.exact(np.minimum(s.beta[1:], 0.5)),
    "schedule reversed: entry T - t of the tables is read": lambda s: Tables.product(s.beta[:0:-1],
        s.alpha[:0:-1], np.cumprod(s.alpha[:0:-1]))}
# tables exchanged together
TOGETHER: dict[str, dict[str, str]] = {
    "abar_t for abar_{t-1}": {"abar_prev": "abar", "one_minus_abar_prev": "one_minus_abar"},
    "abar_{t-1} for abar_t": {"abar": "abar_prev", "one_minus_abar": "one_minus_abar_prev"},
    "abar_t and abar_{t-1} exchanged": {"abar": "abar_prev", "abar_prev": "abar",
    "one_minus_abar": "one_minus_abar_prev", "one_minus_abar_prev": "one_minus_abar"},
    "abar_t for alpha_t": {"alpha": "abar", "beta": "one_minus_abar"},
    "alpha_t for abar_t": {"abar": "alpha", "one_minus_abar": "beta"},
    "alpha_t and beta_t exchanged": {"alpha": "beta", "beta": "alpha"}}
TIMES = (("T", "T-1", "T - 1 for T"), ("1", "2", "t = 2 for t = 1"), ("1", "0", "t = 0 for t = 1"))


def everywhere(change: Change, *kinds: str, name: str = "") -> Change:
    """The change made at every node of these kinds, and of this name."""
    return lambda tree: tree.map(lambda node: change(node) if node.op in kinds and name
        in ("", node.name) else node)


def _set(**fields: Any) -> Change:
    return lambda node: replace(node, **fields)


def _renamed(names: dict[str, str], kind: str) -> Change:
    """Inputs or tables exchanged; an argument is read as the one whose place it takes."""
    return everywhere(lambda node: replace(node, name=names.get(node.name, node.name)), kind)


def _at(done: str, at: str) -> Change:
    return everywhere(lambda node: replace(node, at=done) if node.at == at else node, "table")


def _inverses(name: str, change: Change) -> Change:
    """The change made wherever this table is divided by."""
    return everywhere(lambda node: change(node) if node.args[0].name == name else node, "inv")


def _one_minus_root(node: Expr) -> Expr:
    """1 - sqrt(abar) for 1 - abar."""
    if not node.name.startswith("one_minus"):
        return node
    return 1 - op("sqrt", replace(node, name=node.name.removeprefix("one_minus_")))


def _rooted(node: Expr) -> Expr:
    return op("sqrt", node) if node.name.startswith("one_minus") else node


def _for(other: str, name: str, at: str = "t") -> str:
    done, meant = table_text(other, at), table_text(name, at)
    both = done.startswith("1 - ") and meant.startswith("1 - ")
    return f"{done[4:]} for {meant[4:]}" if both else f"{done} for {meant}"


def _tables(tree: Expr) -> Iterator[Mistake]:
    """Tables read at another t, built wrongly, or exchanged, wherever they stand."""
    read = [node for _, node in tree.walk() if node.op == "table"]
    used = list(dict.fromkeys(node.name for node in read))
    if not read:
        return
    for name, starts in SHIFTS.items():
        for move in (m for m in MOVES if m.startswith(tuple(starts.split()))):
            yield Mistake(name, everywhere(_set(move=move), "table"))
    for name in BUILDS:
        yield Mistake(name, everywhere(_set(built=name), "table"))
    for name, tables in TOGETHER.items():
        if set(tables) & set(used):
            yield Mistake(name, _renamed(tables, "table"))
    for name in used:
        text = table_text(name, "t")
        for other in TABLES:
            if other != name:
                yield Mistake(_for(other, name), _renamed({name: other}, "table"))
        for said, change in ((f"sqrt({text}) for {text}", lambda y: op("sqrt", y)),
            (f"{text} counted twice", lambda y: 2 * y), (f"half of {text} only", lambda y: 0.5 * y),
            (f"1 - sqrt({text[4:]}) for {text}", _one_minus_root)):
            yield Mistake(said, everywhere(change, "table", name=name))
        for said, change in ((f"division by {text} forgotten", lambda y: number(1)),
            (f"multiplied where it is divided, by {text}", lambda y: y.args[0])):
            yield Mistake(said, _inverses(name, change))
        yield Mistake(f"{text} squared", everywhere(lambda y: op("square", y), "table", name=name),
            LOCAL)
        for move in ("-1 held", "+1 held"):
            sign = "early" if move[0] == "-" else "late"
            yield Mistake(f"{text} read one step too {sign}, the other tables not",
                everywhere(_set(move=move), "table", name=name))
    for at, done, said in TIMES:
        if any(node.at == at for node in read):
            yield Mistake(said, _at(done, at))
    yield Mistake("sqrt(1 - abar_t) for 1 - abar_t", everywhere(_rooted, "table"))
    yield Mistake("1 - sqrt(abar_t) for 1 - abar_t", everywhere(_one_minus_root, "table"))


# The result, arguments, conventions

SWAPS = (("x0", "xt"), ("x0", "noise"), ("xt", "eps"), ("xt", "v"), ("xt", "score"),
    ("xt", "output"), ("mean", "noise"), ("mean", "var"), ("mean", "y"), ("var", "var_y"),
    ("log_r1", "log_r0"), ("mean_q", "mean_p"), ("var_q", "var_p"), ("eps", "noise"),
    ("output", "noise"), ("x", "mean"))
WORDS = {"var": "variance", "std": "standard deviation", "logvar": "log variance"}
INFORMATION = ("nats", "nats_row", "slope", "slope_var")
POSITIVE = ("table", "prob", "var")
RESULTS: tuple[tuple[str, Change, tuple[str, ...], int], ...] = (
    ("twice as large: a factor 1/2 is missing, or a 2 too many", lambda y: 2 * y, (), PLAIN),
    ("half as large: a factor 2 is missing, or a 1/2 too many", lambda y: 0.5 * y, (), PLAIN),
    ("sign flipped", lambda y: -y, (), PLAIN),
    ("inverse: 1 / value", lambda y: op("inv", y), (), ODD),
    ("square root taken once too often", lambda y: op("sqrt", y), POSITIVE, ODD),
    ("square root forgotten: the square is returned", lambda y: op("square", y), POSITIVE, ODD),
    ("the logarithm is returned", lambda y: op("log", y), ("table", "prob"), ODD),
    ("the exponential is returned, the logarithm forgotten", lambda y: op("exp", y),
    ("table", "state", "nats", "nats_row"), ODD),
    ("1 - p for p, or 1 - value", lambda y: 1 - y, POSITIVE, ODD),
    ("the logit is returned, the sigmoid forgotten", lambda y: op("log", y / (1 - y)), ("prob",),
    ODD),
    ("log10 for ln", lambda y: y * (1 / math.log(10.0)), (*INFORMATION, "table", "state"), ODD),
    ("clipped to [-1, 1]", lambda y: Expr("clip", (y,), value=1.0), ("state",), ODD))
NEGATIVE = {"lower_bound": "the negative bound: an NLL where K is declared",
    "eq14": "the negative bound: an NLL where K is declared",
    "nll": "the bound K returned where the NLL is declared"}


def _whole(q: Quantity, tree: Expr) -> Iterator[Mistake]:
    """The result changed, arguments exchanged, conventions other than those declared."""
    if q.name in ("posterior_variance", "posterior_var", "posterior_log_variance",
        "posterior_log_var"):
        design = everywhere(lambda node: Expr("table", name="beta"), "*")
        yield Mistake("beta_t for the posterior variance", design, DESIGN)
    for name, change, kinds, rank in RESULTS:
        if not kinds or q.kind in kinds:
            negative = NEGATIVE.get(q.name.removeprefix("binomial_"), name)
            yield Mistake(negative if name == "sign flipped" else name, change, rank)
    known = {(node.op, node.name) for _, node in tree.walk()}
    for kind, done in ((a, b) for a in WORDS for b in WORDS if a != b):
        if ("read", kind) in known:
            yield Mistake(f"{WORDS[kind]} handed over, taken for a {WORDS[done]}",
                everywhere(_set(name=done), "read"))
        if ("write", kind) in known:
            yield Mistake(f"{WORDS[done]} returned where the {WORDS[kind]} is declared",
                everywhere(_set(name=done), "write"))
    inputs = {node.name for _, node in tree.walk() if node.op == "input"}
    if any(op_name == "read" for op_name, _ in known):
        yield Mistake("variance used as a standard deviation",
            everywhere(lambda y: op("square", y), "read"))
    for a, b in SWAPS:
        if {a, b} <= set(q.every) and {a, b} & inputs:
            yield Mistake(f"{a} and {b} swapped", _renamed({a: b, b: a}, "input"))
    for names in ({"mean_q": "mean_p", "var_q": "var_p"}, {"q1": "p1"}):
        if set(names) <= set(q.every) and set(names.values()) <= set(q.every):
            yield Mistake("KL reversed: KL(p || q)",
                _renamed(names | {b: a for a, b in names.items()}, "input"))
    flips = {"bit", "p1", "q1", "prob"} | ({"x_prev", "x0", "xt", "x1"} if q.bits else set())
    for name in sorted(inputs & flips):
        yield Mistake(f"0 and 1 of {name} exchanged",
            everywhere(lambda y: 1 - y, "input", name=name))
    if "pi1" in inputs:
        for said, pi in (("1 - pi_1 for pi_1", lambda y: 1 - y),
            ("pi_1 left out", lambda y: number(0)), ("pi_1 taken as 1/2", lambda y: number(0.5))):
            yield Mistake(said, everywhere(pi, "input", name="pi1"))
    if "log_w" in inputs:
        bits = ("unit", "nats") in known and tree.name != "bits"
        yield Mistake("log weights handed over in bits, taken for nats, or the reverse",
            lambda y: y.map(
                lambda n: (replace(n, name="the wrong way" if bits else "nats") if n.op == "unit"
                    and n.args[0].name == "log_w" else n)))
        yield Mistake("weights underflow: their largest is not taken out before exp",
            everywhere(lambda y: number(0), "max"))
        yield Mistake("the smallest weight is taken out for the largest",
            everywhere(lambda y: replace(y, op="min"), "max"))
    labels = [node.label for _, node in tree.walk() if node.label]
    for label in sorted({each for each in labels if labels.count(each) > 1}):
        if label == "x0_hat":
            yield Mistake("x^0 clipped to [-1, 1]", _labelled(label, _clipped))
        elif label in ("the likelihood of xt", "the marginal before"):
            yield Mistake(f"{label} left out", _labelled(label, lambda y: number(1)))
        for text, factor in FACTORS if not label.startswith(("x0", "the likelihood")) else ():
            yield Mistake(text.format(label), _labelled(label, number(factor).__mul__))


def _labelled(label: str, change: Change) -> Change:
    """The change made wherever this term stands."""
    return lambda tree: tree.map(lambda node: change(node) if node.label == label else node)


def _clipped(node: Expr) -> Expr:
    return Expr("clip", (node,), value=1.0)


FACTORS = (("{} left out", 0.0), ("sign of {} flipped", -1.0), ("{} counted twice", 2.0),
    ("half of {} only", 0.5))


# One place


def _groups(tree: Expr) -> Iterator[Mistake]:
    """Terms that belong together, and terms added once for each t."""
    for path, node in tree.walk():
        here = [a.label for a in node.args]
        if node.op != "+" or "sum KL" not in here:
            continue
        known = {label: (label,) for label in here if label != "sum KL"} | GROUPS
        for label, group in known.items():
            factors = [(f"{label} added T times instead of once", op("T")),
                (f"{label} added once per t instead of once", op("T") - 1)]
            if len(group) > 1:
                factors += [(text.format(label), number(f)) for text, f in FACTORS]
            for name, factor in factors if set(group) <= set(here) else ():
                yield Mistake(name, _scaled(group, factor), PLAIN, path, "+")


def _scaled(labels: tuple[str, ...], factor: Expr) -> Change:
    return lambda y: y.of(tuple(factor * a if a.label in labels else a for a in y.args))


def _put(k: int, change: Change) -> Change:
    """The argument k changed."""
    return lambda y: y.of((*y.args[:k], change(y.args[k]), *y.args[k + 1 :]))


def _local(node: Expr) -> Iterator[tuple[str, Change, int]]:
    """What can be changed at one node."""
    if node.op == "+":
        for k, each in enumerate(node.args):
            rank = PLAIN if each.label or each.op == "input" else LOCAL
            for text, factor in FACTORS:
                yield text.format(_named(each)), _put(k, number(factor).__mul__), rank
            if each.op == "number" or (each.args and each.args[0].op == "number"):
                yield f"{_named(each)} once, not for each component", _put(k, _once), PLAIN
    if node.op == "*":
        yield from _factors(node)
    for text, change, rank in FUNCTIONS.get(node.op, ()):
        inner = node.args[0].text if node.args else node.text
        yield text.format(inner, node.text), change, rank
    if node.op == "table":
        for other in TABLES:
            if other != node.name:
                yield _for(other, node.name, node.at), _set(name=other), LOCAL
        for move in MOVES:
            if move[1] == "1":
                way = {"-": "early", "+": "late"}[move[0]]
                yield f"{node.text} read one step too {way} in one place", _set(move=move), LOCAL
    if node.op == "components" and node.name != "none":
        done = {"sum": "mean", "mean": "sum"}[node.name]
        yield f"{done} over components where the {node.name} is declared", _set(name=done), PLAIN
    if node.op == "unit" and node.args[0].name != "log_w":
        said = {"nats": "log2 for ln: bits where nats are declared",
            "bits": "ln for log2: nats where bits are declared"}[node.name]
        yield said, _set(name={"nats": "bits", "bits": "nats"}[node.name]), PLAIN
        yield ("converted to bits the wrong way: times ln 2 where it is divided",
            _set(name="the wrong way"), PLAIN)
    if node.label == "x0_hat":
        yield "x^0 clipped to [-1, 1]", _clipped, PLAIN


def _once(node: Expr) -> Expr:
    return node / op("d")


def _named(term: Expr) -> str:
    """What a term is called: its label, or the argument in it."""
    inputs = [n.name for _, n in term.walk() if n.op == "input"]
    return term.label or (inputs[0] if len(inputs) == 1 else term.text.removeprefix("-"))


def _factors(node: Expr) -> Iterator[tuple[str, Change, int]]:
    for k, each in enumerate(node.args):
        below = each.op == "inv"
        text = (each.args[0] if below else each).text
        if text in ("d", "later", "known"):
            if text == "d":
                yield "sum over components where the mean is declared", _put(k, _one), PLAIN
            continue
        sums = [j for j, other in enumerate(node.args) if other.op == "+" and j != k]
        for j, term in ((at, i) for at in sums for i in range(len(node.args[at].args))):
            said = f"division by {text}" if below else text
            yield (f"{said} reaches {_named(node.args[j].args[term])} only", _bracket(k, j, term),
                LOCAL)
        yield (f"division by {text} forgotten" if below else f"{text} left out", _put(k, _one),
            LOCAL)
        if each.op != "number":
            said = ("multiplied where it is divided, by" if below
                else ("divided where it is multiplied, by"))
            yield (f"{said} {text}",
                _put(k, lambda y: y.args[0] if y.op == "inv" else op("inv", y)), LOCAL)
            inverses = [j for j, other in enumerate(node.args) if other.op == "inv"]
            for j in inverses if not below else ():
                yield (f"ratio upside down: ({node.args[j].args[0].text}) / ({text})",
                    _turned(k, j), LOCAL)


def _one(node: Expr) -> Expr:
    return number(1)


def _bracket(k: int, j: int, term: int) -> Change:
    """The factor k multiplied with one term of the sum j."""

    def change(y: Expr) -> Expr:
        inner = _put(term, lambda a: a * y.args[k])
        return _put(k, _one)(_put(j, inner)(y))

    return change


def _turned(k: int, j: int) -> Change:
    """The factor k divided by, the divisor j multiplied with."""
    return lambda y: _put(j, lambda b: b.args[0])(_put(k, lambda a: op("inv", a))(y))


# a function forgotten, or another
FUNCTIONS: dict[str, tuple[tuple[str, Change, int], ...]] = {
    "sqrt": (("{} without its root", lambda y: y.args[0], PLAIN),
    ("exp({0}) where sqrt({0}) is meant", lambda y: op("exp", y.args[0]), ODD),
    ("exp({0} / 2) where sqrt({0}) is meant", lambda y: op("exp", 0.5 * y.args[0]), ODD)),
    "square": (("{} not squared", lambda y: y.args[0], LOCAL),
    ("{} not squared", lambda y: op("abs", y.args[0]), LOCAL)),
    "log": (("the logarithm of {} forgotten", lambda y: y.args[0], LOCAL),
    ("log2 for ln in log({})", lambda y: y * (1 / math.log(2.0)), LOCAL),
    ("log(1 + {0}) for log({0})", lambda y: op("log", 1 + y.args[0]), ODD)),
    "exp": (("the exponential of {} forgotten", lambda y: y.args[0], LOCAL),),
    "table": (("sqrt({0}) for {0}", lambda y: op("sqrt", y), LOCAL),
    ("{} squared", lambda y: op("square", y), LOCAL),
    ("1 - sqrt(abar) for {} in one place", _one_minus_root, LOCAL)),
    "read": (("standard deviation for variance: sqrt({0}) for {0}", lambda y: op("sqrt", y), LOCAL),
    ("{} squared", lambda y: op("square", y), LOCAL)),
    "batch": (("sum over the batch for its mean", lambda y: op("n") * y, PLAIN),),
    "sum": (("mean over t for the sum", _set(name="mean"), PLAIN),
    ("mean over t times T, where there are T - 1 terms", _set(name="up"), PLAIN),
    ("sum over t divided by T", _set(name="down"), PLAIN)),
    "count": (("n - 1 for n", lambda y: y - 1, PLAIN),),
    "later": (("noise is added at the last step too", lambda y: number(1), PLAIN),),
    "sigmoid": (("the sigmoid forgotten", lambda y: y.args[0], ODD),),
    "if": (("0 and 1 of {0} exchanged", lambda y: y.of((y.args[0], y.args[2], y.args[1])), LOCAL),),
    "first": (("the KL term at t = 1 too, L_0 left out", lambda y: y.args[1], PLAIN),)}


@functools.lru_cache(maxsize=256)
def mistakes(q: Quantity, c: Conventions) -> list[Mistake]:
    """All that can be made in this quantity under these conventions, the plausible first."""
    found = []
    for form, tree in enumerate(q.trees(c)):
        local = (Mistake(name, change, rank, path, node.op) for path, node in tree.walk() for name,
            change, rank in _local(node))
        found += [replace(m, form=form) for m
            in (*_whole(q, tree), *_tables(tree), *_groups(tree), *local)]
    root = q.trees(c)[0].op
    found += [Mistake(name, _constant(presented(q, c, tree)), expects=root) for name, tree
        in others(q, c).items()]
    return sorted(found, key=lambda m: m.rank)


def _constant(tree: Expr) -> Change:
    return lambda _: tree


def names() -> list[str]:
    """The names of all mistakes, for `--list`."""
    every = [Conventions(spread=spread) for spread in CHOICES["spread"]]
    return sorted({m.name for q in QUANTITIES.values() for c in every for m in mistakes(q, c)})

"""Mistakes, made from a formula's expression: what is changed, under a name that says so.

In one place, a term or a factor is left out, counted twice, flipped, inverted; a root or a square is
forgotten; a table is exchanged for another. Everywhere, tables are read at another t or built
wrongly, arguments exchanged, and conventions other than those declared are kept. A mistake is a
change of the expression, so that two of them compose.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .conventions import CHOICES, Conventions
from .expressions import TABLES, Expr, Tables, number, op, table_text
from .quantities import QUANTITIES, Quantity, presented

__all__ = ["BUILDS", "MOVES", "Mistake", "compose", "mistakes", "names"]

Change = Callable[[Expr], Expr]
DESIGN, PLAIN, LOCAL, ODD = 0.0, 1.0, 2.0, 3.0  # how plausible a name is


@dataclass(frozen=True, eq=False)
class Mistake:
    name: str
    change: Change
    path: tuple[int, ...] = ()
    rank: float = PLAIN
    form: int = 0
    expects: str = ""  # the operation that is changed

    def of(self, tree: Expr) -> Expr:
        return tree.at_path(self.path, self._made)

    def _made(self, node: Expr) -> Expr:
        if self.expects not in ("", node.op):
            raise ValueError(f"{self.name}: another mistake stands there")
        return self.change(node)


def compose(a: Mistake, b: Mistake) -> Change:
    """Both mistakes; the one deeper in the tree is made first, what wraps the result last."""
    first, second = sorted((a, b), key=lambda m: (-len(m.path), m.rank >= ODD))
    return lambda tree: second.of(first.of(tree))


def _range(T: int, shift: int, first: int, last: int) -> Any:
    """Entry 0, then the entries 1..T moved by `shift`, with these in place of what lies outside."""
    index = np.arange(1, T + 1) + shift
    return np.r_[0, np.where(index < 1, first, np.where(index > T, last, index))]


# of entries 0..T, as an array of T entries is misread
MOVES: dict[str, Callable[[int], Any]] = {"-1 wrapped": lambda T: _range(T, -1, T, T), "-1 zero":
    lambda T: _range(T, -1, 0, 0), "-1 held": lambda T: _range(T, -1, 1, T), "+1 held": lambda T:
    _range(T, 1, 1, T), "+1 wrapped": lambda T: _range(T, 1, 1, 1), "turned": lambda T:
    np.r_[0, np.arange(T, 0, -1)], "from T": lambda T: np.arange(T, -1, -1)}
SHIFTS = {"t one too small: entry t - 1 of the tables is read": "-1",
    "t one too large: entry t + 1 of the tables is read": "+1",
    "schedule reversed: entry T - t of the tables is read": "turned from"}


def _product(change: Callable[[Tables], Any]) -> Callable[[Tables], Tables]:
    """Another abar, and what follows from it."""
    return lambda s: Tables.product(s.beta[1:], s.alpha[1:], change(s)[1:])


BUILDS: dict[str, tuple[Callable[[Tables], Tables], ...]] = {
    "alpha_t for abar_t: the product is forgotten": (_product(lambda s: s.alpha),),
    "product of beta_s, not of 1 - beta_s":
    (_product(lambda s: np.cumprod(np.r_[1.0, s.beta[1:]])),),
    "sum of beta_s for the product of 1 - beta_s":
    (_product(lambda s: 1.0 - np.cumsum(s.beta)), _product(lambda s: np.exp(-np.cumsum(s.beta)))),
    "sqrt(abar_t) for abar_t": (_product(lambda s: np.sqrt(s.abar)),),
    "abar_t squared: the product taken of (1 - beta_s)^2": (_product(lambda s: s.abar**2),),
    "beta_1 left out of the product":
    (_product(lambda s: np.r_[1.0, 1.0, np.cumprod(s.alpha[2:])]),), "product of sqrt(beta_s)":
    (_product(lambda s: np.cumprod(1 - np.sqrt(s.beta))),), "abar_T set to 0":
    (_product(lambda s: np.r_[s.abar[:-1], 0.0]),),
    "schedule reversed: entry T - t of the tables is read":
    (lambda s: Tables.product(s.beta[:0:-1], s.alpha[:0:-1], np.cumprod(s.alpha[:0:-1])),)}
ALIKE = {"abar": "abar_prev", "abar_prev": "abar", "one_minus_abar": "one_minus_abar_prev",
    "one_minus_abar_prev": "one_minus_abar"}
# tables exchanged together
TOGETHER: dict[str, dict[str, str]] = {"abar_t for abar_{t-1}":
    {"abar_prev": "abar", "one_minus_abar_prev": "one_minus_abar"}, "abar_{t-1} for abar_t":
    {"abar": "abar_prev", "one_minus_abar": "one_minus_abar_prev"},
    "abar_t and abar_{t-1} exchanged": ALIKE, "abar_t for alpha_t":
    {"alpha": "abar", "beta": "one_minus_abar"}, "alpha_t for abar_t":
    {"abar": "alpha", "one_minus_abar": "beta"}, "alpha_t and beta_t exchanged":
    {"alpha": "beta", "beta": "alpha"}}
SWAPS = (("x0", "xt"), ("x0", "noise"), ("xt", "eps"), ("xt", "v"), ("xt", "score"),
    ("xt", "output"), ("mean", "noise"), ("mean", "var"), ("mean", "y"), ("var", "var_y"),
    ("log_r1", "log_r0"), ("mean_q", "mean_p"), ("var_q", "var_p"), ("eps", "noise"),
    ("output", "noise"), ("x", "mean"))
WORDS = {"var": "variance", "std": "standard deviation", "logvar": "log variance"}
POSITIVE = ("table", "prob", "var")
RESULTS: tuple[tuple[str, Change, tuple[str, ...]], ...] = (
    ("twice as large: a factor 1/2 is missing, or a 2 too many", lambda y: 2 * y, ()),
    ("half as large: a factor 2 is missing, or a 1/2 too many", lambda y: 0.5 * y, ()),
    ("sign flipped", lambda y: -y, ()), ("inverse: 1 / value", lambda y: op("inv", y), ()),
    ("square root taken once too often", lambda y: op("sqrt", y), POSITIVE),
    ("square root forgotten: the square is returned", lambda y: op("square", y), POSITIVE),
    ("the logarithm is returned", lambda y: op("log", y), ("table", "prob")),
    ("the exponential is returned, the logarithm forgotten", lambda y: op("exp", y),
    ("table", "state", "nats", "nats_row")),
    ("1 - p for p, or 1 - value", lambda y: 1 - y, POSITIVE),
    ("the logit is returned, the sigmoid forgotten", lambda y: op("log", y / (1 - y)), ("prob",)),
    ("log10 for ln", lambda y: y * (1.0 / np.log(10.0)),
        ("nats", "nats_row", "slope", "slope_var", "table", "state")))


def substituted(tables: dict[str, str]) -> Change:
    return lambda node: (replace(node, name=tables.get(node.name, node.name)) if node.op == "table"
        else node)


def everywhere(kind: str, change: Change, name: str = "") -> Change:
    """The change made at every node of this kind, and name."""
    return lambda tree: tree.map(lambda node: change(node) if node.op == kind and name
        in ("", node.name) else node)


def mistakes(q: Quantity, c: Conventions) -> list[Mistake]:
    """All that can be made in this quantity under these conventions, the plausible first."""
    found = []
    for form, tree in enumerate(q.trees(c)):
        each = (*_by_design(q, tree), *_whole(q, c, tree), *_tables(tree), *_groups(q, tree),
            *(replace(m, expects=node.op) for path, node in tree.walk() for m
                in _local(path, node)))
        found += [replace(m, form=form) for m in each]
    for name, tree in q.others(c).items():
        found.append(Mistake(name, lambda _, made=presented(q, c, tree): made))
    return sorted(found, key=lambda m: m.rank)


def _by_design(q: Quantity, tree: Expr) -> Iterator[Mistake]:
    if q.name in ("posterior_variance", "posterior_var", "posterior_log_variance",
        "posterior_log_var"):

        def change(node: Expr) -> Expr:
            return Expr("table", name="beta") if node.op == "*" else node

        yield Mistake("beta_t for the posterior variance", lambda y: y.map(change), rank=DESIGN)


def _whole(q: Quantity, c: Conventions, tree: Expr) -> Iterator[Mistake]:
    """The result, and conventions other than those declared."""
    bound = (q.kind == "nats" and q.name.endswith(("lower_bound", "eq14")) and "entropy" not
        in q.name)
    for name, change, kinds in RESULTS:
        if not kinds or q.kind in kinds:
            said = ("the negative bound: an NLL where K is declared" if bound and name
                == "sign flipped" else name)
            yield Mistake(said, change, rank=PLAIN if name.startswith(("twice", "half", "sign"))
                else ODD)
    known = {(node.op, node.name) for _, node in tree.walk()}
    for kind in WORDS:
        for done in WORDS:
            if done != kind and ("read", kind) in known:
                yield Mistake(f"{WORDS[kind]} handed over, taken for a {WORDS[done]}",
                    everywhere("read", lambda node, done=done: replace(node, name=done)))
            if done != kind and ("write", kind) in known:
                yield Mistake(f"{WORDS[done]} returned where the {WORDS[kind]} is declared",
                    everywhere("write", lambda node, done=done: replace(node, name=done)))
    inputs = {node.name for _, node in tree.walk() if node.op == "input"}
    for a, b in SWAPS:
        if {a, b} <= inputs:
            yield Mistake(f"{a} and {b} swapped", _renamed({a: b, b: a}))
    for names in ({"mean_q": "mean_p", "var_q": "var_p"}, {"q1": "p1"}):
        if set(names) <= inputs and q.name.split("_kl")[0] in ("gaussian", "bernoulli"):
            yield Mistake("KL reversed: KL(p || q)",
                _renamed(names | {b: a for a, b in names.items()}))
    if "pi1" in inputs:
        for name, pi in (("1 - pi_1 for pi_1", lambda y: 1 - y),
            ("pi_1 left out", lambda y: number(0.0)), ("pi_1 taken as 1/2", lambda y: number(0.5))):
            yield Mistake(name, everywhere("input", pi, "pi1"))
    for name in inputs & ({"bit", "p1", "q1", "prob"}
        | ({"x_prev", "x0", "xt", "x1"} if q.bits else set())):
        yield Mistake(f"0 and 1 of {name} exchanged", everywhere("input", lambda y: 1 - y, name))
    if ("max", "") in known:
        yield Mistake("weights underflow: their largest is not taken out before exp",
            everywhere("max", lambda node: number(0.0)))


def _renamed(names: dict[str, str]) -> Change:
    """Arguments exchanged; each is read as the one whose place it takes."""
    return everywhere("input", lambda node: replace(node, name=names.get(node.name, node.name)))


def _tables(tree: Expr) -> Iterator[Mistake]:
    """Tables read at another t, built wrongly, or exchanged, wherever they stand."""
    read = [node for _, node in tree.walk() if node.op == "table"]
    used = dict.fromkeys(node.name for node in read)
    if not read:
        return
    for name, prefixes in SHIFTS.items():
        for move in (m for m in MOVES if m.startswith(tuple(prefixes.split()))):
            yield Mistake(name, everywhere("table", lambda y, move=move: replace(y, move=move)))
    for name, variants in BUILDS.items():
        for k in range(len(variants)):
            yield Mistake(name,
                everywhere("table", lambda y, key=f"{name}/{k}": replace(y, built=key)))
    for name, tables in TOGETHER.items():
        if set(tables) & set(used):
            yield Mistake(name, lambda y, tables=tables: y.map(substituted(tables)))
    for name in used:
        for other in TABLES:
            if other != name:
                yield Mistake(_for(other, name), lambda y, pair={name: other}:
                    y.map(substituted(pair)))
        text = table_text(name, "t")
        for said, change in ((f"sqrt({text}) for {text}", lambda y: op("sqrt", y)),
            (f"{text} squared", lambda y: op("square", y)),
            (f"1 - sqrt({text[4:]}) for {text}", _one_minus_root)):
            if change is not _one_minus_root or name.startswith("one_minus"):
                yield Mistake(said, everywhere("table", change, name))
    for at, done, said in (("T", "T-1", "T - 1 for T"), ("1", "2", "t = 2 for t = 1"),
        ("1", "0", "t = 0 for t = 1")):
        if any(node.at == at for node in read):
            yield Mistake(said,
                everywhere("table", lambda y, at=at, done=done: replace(y, at=done) if y.at == at
                    else y))
    yield Mistake("sqrt(1 - abar_t) for 1 - abar_t", lambda y:
        y.map(lambda n: op("sqrt", n) if n.op == "table" and n.name.startswith("one_minus") else n))
    yield Mistake("1 - sqrt(abar_t) for 1 - abar_t", lambda y:
        y.map(lambda n:
            (_one_minus_root(n) if n.op == "table" and n.name.startswith("one_minus") else n)))


def _one_minus_root(node: Expr) -> Expr:
    return 1 - op("sqrt", replace(node, name=node.name.removeprefix("one_minus_")))


def _for(other: str, name: str, at: str = "t") -> str:
    done, meant = table_text(other, at), table_text(name, at)
    both = done.startswith("1 - ") and meant.startswith("1 - ")
    return f"{done[4:]} for {meant[4:]}" if both else f"{done} for {meant}"


FACTORS = (("{} left out", 0.0), ("sign of {} flipped", -1.0), ("{} counted twice", 2.0),
    ("half of {} only", 0.5))


def _groups(q: Quantity, tree: Expr) -> Iterator[Mistake]:
    """Terms that belong together, and terms added once for each t."""
    for path, node in tree.walk():
        if node.op == "+" and any(a.label == "sum KL" for a in node.args):
            labels = {a.label: (a.label,) for a in node.args if a.label != "sum KL"} | dict(
                q.groups)
            for label, group in labels.items():
                if not set(group) <= {a.label for a in node.args}:
                    continue
                factors = ([(text.format(label), number(f)) for text, f in FACTORS]
                    if len(group) > 1 else [])
                factors += [(f"{label} added T times instead of once", op("T")),
                    (f"{label} added once per t instead of once", op("T") - 1)]
                for name, factor in factors:
                    yield Mistake(name, lambda y, group=group, factor=factor:
                        replace(y,
                        args=tuple(factor * a if a.label in group else a for a in y.args)),
                        path)


def _local(path: tuple[int, ...], node: Expr) -> Iterator[Mistake]:
    """What can be changed at one node."""

    def put(k: int, new: Expr) -> Change:
        return lambda y: y.of((*y.args[:k], new, *y.args[k + 1 :]))

    if node.op == "+":
        for k, each in enumerate(node.args):
            rank = PLAIN if each.label or each.op == "input" else LOCAL
            for text, factor in FACTORS:
                name = text.format(each.text.removeprefix("-"))
                yield Mistake(name, lambda y, k=k, f=factor: put(k, number(f) * y.args[k])(y), path,
                    rank)
    if node.op == "*":
        for k, each in enumerate(node.args):
            below = each.op == "inv"
            text = (each.args[0] if below else each).text
            left, turned = (("division by {} forgotten", "multiplied where it is divided, by {}")
                if below else ("{} left out", "divided where it is multiplied, by {}"))
            yield Mistake(left.format(text), put(k, number(1.0)), path, LOCAL)
            if each.op != "number":
                yield Mistake(turned.format(text),
                    put(k, each.args[0] if below else op("inv", each)), path, LOCAL)
    yield from _functions(path, node)
    if node.op == "table":
        for other in TABLES:
            if other != node.name:
                yield Mistake(_for(other, node.name, node.at), lambda y, o=other:
                    replace(y, name=o), path, LOCAL)
        for move in MOVES:
            if move[1:2] == "1":
                said = (node.text.replace("t", "{t" + move[:2] + "}") if node.at == "t"
                    else node.text)
                yield Mistake(f"{said} for {node.text}: one table shifted", lambda y, m=move:
                    replace(y, move=m), path, LOCAL)
    if node.label == "x0_hat":
        yield Mistake("x^0 clipped to [-1, 1]", lambda y: Expr("clip", (y,), value=1.0), path,
            PLAIN)


def _functions(path: tuple[int, ...], node: Expr) -> Iterator[Mistake]:
    """A function forgotten, or another in its place."""

    def other(name: str, change: Change, rank: float = LOCAL) -> Mistake:
        return Mistake(name, change, path, rank)

    inner = node.args[0].text if node.args else ""
    if node.op == "sqrt":
        yield other(f"{inner} without its root", lambda y: y.args[0], PLAIN)
        yield other(f"exp({inner}) where sqrt({inner}) is meant", lambda y: op("exp", y.args[0]),
            ODD)
        yield other(f"exp({inner} / 2) where sqrt({inner}) is meant", lambda y:
            op("exp", 0.5 * y.args[0]), ODD)
    if node.op == "square":
        yield other(f"{inner} not squared", lambda y: y.args[0])
        yield other(f"{inner} not squared", lambda y: op("abs", y.args[0]))
    if node.op == "log":
        yield other(f"the logarithm of {inner} forgotten", lambda y: y.args[0])
        yield other(f"log2 for ln in log({inner})", lambda y: y / np.log(2.0))
        yield other(f"log(1 + {inner}) for log({inner})", lambda y: op("log", 1 + y.args[0]), ODD)
    if node.op in ("table", "read"):
        kind = {"read": f"variance {inner}"}.get(node.op, node.text)
        yield other(f"sqrt({node.text}) for {node.text}" if node.op == "table"
            else f"standard deviation for the {kind}", lambda y: op("sqrt", y))
        yield other(f"{node.text} squared", lambda y: op("square", y))
    if node.op == "xlogy":
        yield other(f"the logarithm forgotten: {inner}", lambda y: y.args[0] * y.args[1])
    if node.op == "components" and node.name != "none":
        done = {"sum": "mean", "mean": "sum"}[node.name]
        yield other(f"{done} over components where the {node.name} is declared", lambda y:
            replace(y, name=done), PLAIN)
    if node.op == "unit" and node.name in ("nats", "bits"):
        said = {"nats": "log2 for ln: bits where nats are declared", "bits":
            "ln for log2: nats where bits are declared"}
        yield other(said[node.name], lambda y:
            replace(y, name="bits" if y.name == "nats" else "nats"), PLAIN)
        yield other("converted to bits the wrong way: times ln 2 where it is divided", lambda y:
            replace(y, name="the wrong way"), PLAIN)
    if node.op == "unit" and node.args[0].name == "log_w":
        yield other("log weights handed over in bits, taken for nats, or the reverse", lambda y:
            replace(y, name="nats" if y.name != "nats" else "the wrong way"), PLAIN)
    if node.op == "batch":
        yield other("sum over the batch for its mean", lambda y: op("n") * y, PLAIN)
    if node.op == "sum" and "KL" in node.label + inner + "KL":
        for name, kind in (("mean over t for the sum", "mean"),
            ("mean over t times T, where there are T - 1 terms", "up"),
            ("sum over t divided by T", "down")):
            yield other(name, lambda y, kind=kind: replace(y, name=kind), PLAIN)
    if node.op == "max":
        yield other("the smallest weight taken for the largest", lambda y: replace(y, op="min"),
            PLAIN)
    if node.op == "count":
        yield other("n - 1 for n", lambda y: y - 1, PLAIN)
    if node.op == "later":
        yield other("noise is added at the last step too", lambda y: number(1.0), PLAIN)
    if node.op == "sigmoid":
        yield other("the sigmoid forgotten", lambda y: y.args[0], ODD)
    if node.op == "if":
        yield other("0 and 1 exchanged", lambda y:
            replace(y, args=(y.args[0], y.args[2], y.args[1])))


def names() -> list[str]:
    """The names of all mistakes, for `--list`."""
    every = [Conventions(spread=spread) for spread in CHOICES["spread"]]
    return sorted({m.name for q in QUANTITIES.values() for c in every for m in mistakes(q, c)})

"""What a file of vectors is made of: a formula, the mistakes that people make in it, and the inputs
it is evaluated at.

A mistake is a formula too, and a vector carries its flag where the two outputs differ by more than
1e-3 of the right one. Nothing about a flag is thus a matter of opinion: each is decided by the
numbers. Formulas and mistakes take `Inputs`, and return the outputs by name; a value without a name
is the first output, and None says that a mistake cannot be made here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import mpmath_oracle
from lint import at_limit, leaves, not_float32, tiny
from mpmath_oracle import mp

from truths.numbers import PRECISIONS, forty, mapped, nearest, settled, short

SCHEMA = 1
DIFFERS = 1e-3
PRECISION = (
    "50 digits, by mpmath at rising precision; output is the nearest float64, output_40 "
    "the same to 40 digits"
)

FLAGS = {
    "smoke": "run these first: one vector of every function, without hard cases",
    "not_float32": "some input is no float32",
    "tiny": "a rate, a variance or a probability other than 0 lies below 1e-6",
    "cancellation": "the terms of the textbook formula are more than 20 times their sum, so that "
    "it can lose digits in floating point",
    "limit": "an end of the range: a probability of 0 or 1, a rate of 1, a single step, or an "
    "output that is 0 or infinite",
    "long": "a thousand steps",
    "bad_variance": "invalid: a variance is not positive, so that the law has no density",
    "bad_probability": "invalid: a probability lies outside [0, 1]",
    "bad_pair": "invalid: P(1) and P(0) do not sum to 1",
    "bad_rate": "invalid: a rate lies outside (0, 1], or a parameter of the schedule outside its "
    "range",
    "bad_time": "invalid: t is no integer in the range given, or T none >= 1",
    "bad_state": "invalid: a bit is neither 0 nor 1",
    "bad_prior": "invalid: pi_1 is not strictly between 0 and 1",
    "bad_factor": "invalid: r is negative, or 0 at both states",
    "bad_length": "invalid: there are too many or too few of something: components, steps, states",
    "bad_number": "invalid: null where a number is needed",
    "empty": "invalid: there is no number at all where one is needed",
}


def exact(x: Any) -> Any:
    """The numbers that floats are; integers stay what they are."""
    return mapped(lambda leaf: leaf if isinstance(leaf, int) else mpmath_oracle.exact(leaf), x)


@lru_cache(maxsize=64)
def _tables(beta: tuple[Any, ...], prec: int) -> mpmath_oracle.Tables:
    return mpmath_oracle.Tables(beta)


class Inputs(dict[str, Any]):
    """The inputs of a vector: x["beta"] as JSON has it, x.beta as exact numbers."""

    def __getattr__(self, name: str) -> Any:
        return exact(self[name])

    @property
    def q(self) -> mpmath_oracle.Tables:
        """What follows from beta, at the working precision."""
        return _tables(tuple(self["beta"]), mp.prec)

    @property
    def rate(self) -> Any:
        """beta_t; beta_1 where there is no t."""
        return self.q.beta[self.get("t", 1)]

    @property
    def abar(self) -> Any:
        """abar_t."""
        return self.q.abar(self["t"])

    @property
    def d(self) -> int:
        """The number of components of the data."""
        vectors = self["x0"] if "x0" in self else self["trajectory"]
        return len(vectors[0] if isinstance(vectors[0], list) else vectors)

    def but(self, **changes: Any) -> "Inputs":
        return Inputs({**self, **changes})


Formula = Callable[[Inputs], Any]


def remembered(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The same formula, computed once for all the mistakes that are made of it."""
    known: dict[Any, Any] = {}

    def again(x: Inputs, *more: Any) -> Any:
        key = repr(x), mp.prec, more
        if key not in known:
            known[key] = formula(x, *more)
        return known[key]

    return again


Size = Callable[[Inputs, dict[str, Any]], Any]


@dataclass(frozen=True)
class Mistake:
    """A wrong formula, of the inputs alone or of the inputs and the right formula."""

    meaning: str
    formula: Callable[..., Any]
    of_truth: bool = False


class Bad(NamedTuple):
    """Inputs that are invalid, and why."""

    why: str
    inputs: Any


class Retired(NamedTuple):
    """Holds the place of a vector that was taken out, so that its id is not given again."""

    reason: str


def bad(why: str, *rows: Any) -> list[Bad]:
    """Invalid inputs, all for one reason."""
    return [Bad(why, row) for row in rows]


def spoilt(good: dict[str, Any], why: str, **values: list[Any]) -> list[Bad]:
    """Good inputs with some replaced: by the first of the values, then by the second, ..."""
    rows = zip(*values.values(), strict=True)
    return bad(why, *({**good, **dict(zip(values, row, strict=True))} for row in rows))


@dataclass(frozen=True)
class Function:
    """All there is to say about one file.

    A case is a dict of inputs, or a tuple of them in the order of `inputs`. `scale` gives, for each
    number of the output, what its rounding is measured by (itself, if nothing is said); `terms` the
    absolute terms of the textbook formula.
    """

    name: str
    code: str  # where dpm_ref has it
    equation: str
    definition: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    tolerance: str
    truth: Formula
    mistakes: dict[str, Mistake]
    cases: list[Any]
    units: str = "dimensionless"
    scale: Size = lambda x, truth: mapped(abs, truth)
    terms: Size = lambda x, truth: {}
    times: tuple[int, int] = (1, 0)  # t is in times[0]..T + times[1]

    def lines(self) -> Iterator[dict[str, Any]]:
        """The header, then the vectors."""
        names = [f"{self.name}-{number:04d}" for number in range(1, len(self.cases) + 1)]
        cases = list(zip(names, self.cases, strict=True))
        retired = {name: case.reason for name, case in cases if isinstance(case, Retired)}
        vectors = [{"id": n} | self.vector(case, n) for n, case in cases if n not in retired]
        used = {flag for vector in vectors for flag in vector["flags"]}
        if idle := set(self.mistakes) - used:
            raise ValueError(f"{self.name}: no vector catches {sorted(idle)}")
        mistakes = {name: "mistake: " + each.meaning for name, each in self.mistakes.items()}
        yield {
            "schema": SCHEMA,
            "function": self.name,
            "dpm_ref": self.code,
            "equation": self.equation,
            "definition": self.definition,
            "units": self.units,
            "input": self.inputs,
            "output": self.outputs,
            "tolerance": self.tolerance,
            "precision": PRECISION,
            "generator": "tests/vectors/generate.py",
            "flags": {flag: text for flag, text in (FLAGS | mistakes).items() if flag in used},
            "count": len(vectors),
            "retired": retired,
        }
        yield from vectors

    def vector(self, case: Any, name: str) -> dict[str, Any]:
        """One vector, without its id."""
        if isinstance(case, Bad):
            x = self.read(case.inputs)
            circumstances = ["not_float32"] if any(map(not_float32, leaves(x))) else []
            return {"input": x, "result": "invalid", "flags": [*circumstances, case.why]}
        smoke = ["smoke"] if name.endswith("-0001") else []
        return self.valid(self.read(case), smoke)

    def read(self, case: Any) -> Inputs:
        """The inputs in the order of the header."""
        values = case if isinstance(case, dict) else dict(zip(self.inputs, case, strict=True))
        return Inputs({name: values[name] for name in self.inputs})

    def valid(self, x: Inputs, smoke: list[str]) -> dict[str, Any]:
        """A vector with an output."""
        truth = settled(self.right, x)
        with mp.workdps(80):
            unit = mp.ldexp(64 + 4 * len(x.get("beta", [])), -52)
            tolerance = mapped(
                lambda s, right: mp.mpf(0) if _is_exact(right) else unit * s,
                truth | self.named(self.scale(x, truth)),
                truth,
            )
            wrong = {
                name: outputs
                for name, outputs in self._mistaken(x, truth)
                if any(_differs(*leaf) for leaf in _beside(outputs, truth, tolerance))
            }
            circumstances = list(self._circumstances(x, truth))
        return {
            "input": x,
            "result": "valid",
            "output": mapped(nearest, truth),
            "output_40": mapped(forty, truth),
            "tolerance": mapped(lambda s: short(s, 3), tolerance),
            "flags": [*smoke, *circumstances, *wrong],
            "wrong": mapped(lambda s: short(s, 6), wrong),
        }

    def named(self, outputs: Any) -> Any:
        """Outputs by name."""
        if outputs is None or isinstance(outputs, dict):
            return outputs
        return {next(iter(self.outputs)): outputs}

    def right(self, x: Inputs) -> Any:
        """The right outputs; None at a time that the function does not have."""
        first, last = self.times
        if "t" in x and not first <= x["t"] <= last + x.get("T", len(x.get("beta", []))):
            return None
        return self.named(self.truth(x))

    def _mistaken(self, x: Inputs, truth: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, mistake in self.mistakes.items():
            try:
                with mp.workdps(PRECISIONS[1]):
                    given = (x, self.right) if mistake.of_truth else (x,)
                    outputs = self.named(mistake.formula(*given))
            except ZeroDivisionError:
                continue
            if outputs is None or any(mp.isnan(leaf) for leaf in leaves(outputs)):
                continue
            if not any(_is_rounding(*leaf) for leaf in _beside(outputs, truth)):
                yield name, outputs

    def _circumstances(self, x: Inputs, truth: dict[str, Any]) -> Iterator[str]:
        if any(map(not_float32, leaves(x))):
            yield "not_float32"
        if tiny(x):
            yield "tiny"
        terms = self.named(self.terms(x, truth))
        if any(
            mp.isfinite(right) and right and total > 20 * abs(right)
            for total, right in _beside(terms, truth)
        ):
            yield "cancellation"
        if at_limit(x, [float(leaf) for leaf in leaves(truth) if not isinstance(leaf, bool)]):
            yield "limit"
        if len(x.get("beta", [])) >= 1000 or x.get("T", 0) >= 1000:
            yield "long"


def _beside(outputs: dict[str, Any], *others: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The numbers of some outputs, each with those that stand in its place in full ones."""
    for name in outputs:
        yield from zip(*(leaves(tree[name]) for tree in (outputs, *others)), strict=True)


def _is_exact(right: Any) -> bool:
    return isinstance(right, bool) or bool(mp.isinf(right))


def _is_rounding(wrong: Any, right: Any) -> bool:
    """Whether a wrong number is 0 but for rounding, so that its digits would mean nothing."""
    if isinstance(wrong, bool):
        return False
    size = abs(right) if right and mp.isfinite(right) else 1
    return bool(0 < abs(wrong) < mp.mpf(10) ** -100 * size)


def _differs(wrong: Any, right: Any, allowed: Any) -> bool:
    if _is_exact(right) or mp.isinf(wrong):
        return bool(wrong != right)
    gap = abs(wrong - right)
    return bool(gap > mp.mpf(DIFFERS) * 1.01 * abs(right) and gap > 1000 * allowed)


# Mistakes that can be made in many formulas, as changes to a right one


def other(meaning: str, **changes: Formula) -> Mistake:
    """The right formula at other inputs."""

    def formula(x: Inputs, right: Formula) -> Any:
        return right(x.but(**{name: change(x) for name, change in changes.items()}))

    return Mistake(meaning, formula, of_truth=True)


def amended(meaning: str, change: Callable[[dict[str, Any]], Any]) -> Mistake:
    """Outputs made of the right ones."""
    return Mistake(meaning, lambda x, right: change(right(x)), of_truth=True)


def scaled(meaning: str, factor: Formula) -> Mistake:
    """The right outputs times a factor; conditions are no numbers."""

    def formula(x: Inputs, right: Formula) -> Any:
        numbers = {name: v for name, v in right(x).items() if not isinstance(v, bool)}
        return mapped(lambda value: factor(x) * value, numbers)

    return Mistake(meaning, formula, of_truth=True)


def exchanged(meaning: str, first: str, second: str) -> Mistake:
    """Two inputs, each in the place of the other."""
    return other(meaning, **{first: lambda x: x[second], second: lambda x: x[first]})


def outputs_exchanged(meaning: str, first: str, second: str) -> Mistake:
    """Two outputs, each in the place of the other."""
    return amended(meaning, lambda right: {first: right[second], second: right[first]})


def mean_over(parts: str) -> Mistake:
    return scaled(f"the mean over {parts}, not the sum", lambda x: mp.mpf(1) / x.d)


COMMON = {
    "sign": scaled("the sign of the result", lambda x: -1),
    "bits_for_nats": scaled("bits for nats: log2 for ln", lambda x: 1 / mp.log(2)),
    "mean_for_sum": mean_over("components"),
    "one_early": other(
        "the tables at t-1 for t: t counted from 0 where it counts from 1", t=lambda x: x["t"] - 1
    ),
    "one_late": other(
        "the tables at t+1 for t: beta[t] of an array that begins with beta_1",
        t=lambda x: x["t"] + 1,
    ),
    "reversed_schedule": other(
        "the schedule reversed: beta_T..1 for beta_1..T", beta=lambda x: x["beta"][::-1]
    ),
    "states_exchanged": exchanged("x^0 and x^t exchanged", "x0", "xt"),
    "half_for_prior": other("1/2 for pi_1", prior=lambda x: [0.5] * len(x["prior"])),
    "complement": outputs_exchanged("P(0) for P(1)", "prob1", "prob0"),
    "sides_exchanged": outputs_exchanged("lower and upper exchanged", "lower", "upper"),
    "condition_not_checked": Mistake(
        "the upper side said to hold for all data", lambda x: {"upper_holds": True}
    ),
    "prior_turned": other("1 - pi_1 for pi_1", prior=lambda x: [1 - p for p in x.prior]),
}


def wrong_lower_sides(
    entropies: Callable[[Inputs, int], list[Any]], first: int = 1
) -> dict[str, Mistake]:
    """The lower side of (24) from wrong sums of H(X^t|X^{t-1}), H(X^s|X^0) and H(X^t|X^0), where
    s = t - 1 is right; from t = first on.
    """

    def lower(*signs: int, late: int = 0) -> Formula:
        return lambda x: mp.fdot(signs, entropies(x, x.t - 1 + late)) if x.t >= first else None

    return {
        "abar_unshifted": Mistake(
            "H_q(X^t|X^0) for H_q(X^{t-1}|X^0) in the lower side", lower(1, 1, -1, late=1)
        ),
        "last_entropy_dropped": Mistake("H_q(X^t|X^0) left out of the lower side", lower(1, 1, 0)),
        "last_entropy_sign": Mistake("H_q(X^t|X^0) added to the lower side", lower(1, 1, 1)),
        "given_the_data_exchanged": Mistake(
            "H_q(X^{t-1}|X^0) and H_q(X^t|X^0) exchanged in the lower side", lower(1, -1, 1)
        ),
    }


def common(names: str) -> dict[str, Mistake]:
    """Some of them, in the order of their names."""
    return {name: COMMON[name] for name in names.split()}

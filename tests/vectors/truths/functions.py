"""What a file of vectors is made of: a formula, the mistakes that people make in it, and the inputs
it is evaluated at.

A mistake is a formula too, and a vector carries its flag where the two outputs differ by more than
1e-3 of the right one. Nothing about a flag is thus a matter of opinion: each is decided by the
numbers. Formulas and mistakes take `Inputs`, and return the outputs by name; a value without a name
is the first output, and None says that a mistake cannot be made here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from lint import circumstances, leaves, not_float32
from mpmath_oracle import mp

from truths.inputs import Formula, Inputs
from truths.mistakes import Mistake
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


Size = Callable[[Inputs, dict[str, Any]], Any]


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
            flags = ["not_float32", case.why] if not_float32(x) else [case.why]
            return {"input": x, "result": "invalid", "flags": flags}
        return self.valid(self.read(case), smoke=name.endswith("-0001"))

    def read(self, case: Any) -> Inputs:
        """The inputs in the order of the header."""
        values = case if isinstance(case, dict) else dict(zip(self.inputs, case, strict=True))
        return Inputs({name: values[name] for name in self.inputs})

    def valid(self, x: Inputs, smoke: bool) -> dict[str, Any]:
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
            flags = [*self._circumstances(x, truth, smoke), *wrong]
        return {
            "input": x,
            "result": "valid",
            "output": mapped(nearest, truth),
            "output_40": mapped(forty, truth),
            "tolerance": mapped(lambda s: short(s, 3), tolerance),
            "flags": flags,
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

    def _circumstances(self, x: Inputs, truth: dict[str, Any], smoke: bool) -> list[str]:
        numbers = [float(leaf) for leaf in leaves(truth) if not isinstance(leaf, bool)]
        terms = list(_beside(self.named(self.terms(x, truth)), truth))
        flags = circumstances(x, numbers) | {
            "smoke": smoke,
            "not_float32": not_float32(x),
            "cancellation": any(right and total > 20 * abs(right) for total, right in terms),
        }
        return [flag for flag in FLAGS if flags.get(flag)]


in_nats = partial(Function, units="nats")


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

"""What a file of vectors is made of: a formula, the mistakes that people make in it, and the inputs
it is evaluated at.

A mistake is a formula too, and a vector carries its flag where the two outputs differ by more than
1e-3 of the right one. Nothing about a flag is thus a matter of opinion: each is decided by the
numbers, here once, and by `lint` again.
"""

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from truths.numbers import PRECISIONS, exact, forty, leaves, mapped, mp, nearest, settled, short

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
RATES = {"beta", "first", "last", "beta1", "abar_T"}
VARIANCES = {"var", "var_q", "var_p", "r_var"}
PROBABILITIES = {"q1", "q0", "p1", "p0", "prior", "table", "c1", "c0"}


@dataclass(frozen=True)
class Mistake:
    """A wrong formula: inputs in, the outputs that it changes out (or None where it cannot be
    made).
    """

    meaning: str
    formula: Callable[[dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True)
class Case:
    """Inputs, and why they are invalid if they are."""

    inputs: dict[str, Any]
    invalid: str | None = None


@dataclass(frozen=True)
class Retired:
    """Holds the place of a vector that was taken out, so that its id is not given again."""

    reason: str


@dataclass(frozen=True)
class Function:
    """All there is to say about one file.

    `scale` gives, for each number of the output, what its rounding is measured by; `terms` the
    absolute terms of the textbook formula.
    """

    name: str
    code: str  # where dpm_ref has it
    equation: str
    definition: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    units: str
    tolerance: str
    truth: Callable[[dict[str, Any]], dict[str, Any]]
    mistakes: dict[str, Mistake]
    cases: list[Case | Retired]
    scale: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
    terms: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] | None = None
    eps: int = 64

    def lines(self) -> Iterator[dict[str, Any]]:
        """The header, then the vectors."""
        vectors, retired = [], {}
        for number, case in enumerate(self.cases, start=1):
            name = f"{self.name}-{number:04d}"
            if isinstance(case, Retired):
                retired[name] = case.reason
            else:
                vectors.append(
                    {"id": name}
                    | (
                        self.valid(case, smoke=number == 1)
                        if case.invalid is None
                        else self.invalid(case)
                    )
                )
        used = {flag for vector in vectors for flag in vector["flags"]}
        idle = set(self.mistakes) - used
        if idle:
            raise ValueError(f"{self.name}: no vector catches {sorted(idle)}")
        meanings = FLAGS | {
            name: "mistake: " + mistake.meaning for name, mistake in self.mistakes.items()
        }
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
            "flags": {flag: meaning for flag, meaning in meanings.items() if flag in used},
            "count": len(vectors),
            "retired": retired,
        }
        yield from vectors

    def valid(self, case: Case, smoke: bool) -> dict[str, Any]:
        """A vector with an output."""
        x = case.inputs
        truth = settled(self.truth, x)
        with mp.workdps(80):
            unit = mp.ldexp(self.eps + 4 * len(x.get("beta", [])), -52)
            scale = mapped(
                lambda s, value: (
                    mp.mpf(0) if isinstance(value, bool) or mp.isinf(value) else unit * s
                ),
                self.scale(x, truth),
                truth,
            )
            wrong = {
                name: outputs
                for name, outputs in self._mistaken(x, truth)
                if _caught(outputs, truth, scale)
            }
            flags = [*(["smoke"] if smoke else []), *self._circumstances(x, truth), *wrong]
        return {
            "input": x,
            "result": "valid",
            "output": mapped(nearest, truth),
            "output_40": mapped(forty, truth),
            "tolerance": mapped(lambda s: short(s, 3), scale),
            "flags": flags,
            "wrong": {
                name: mapped(lambda s: short(s, 6), mistake) for name, mistake in wrong.items()
            },
        }

    def invalid(self, case: Case) -> dict[str, Any]:
        """A vector that is to be refused."""
        return {
            "input": case.inputs,
            "result": "invalid",
            "flags": [*(["not_float32"] if not_float32(case.inputs) else []), case.invalid],
        }

    def _mistaken(
        self, x: dict[str, Any], truth: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, mistake in self.mistakes.items():
            try:
                with mp.workdps(PRECISIONS[1]):
                    outputs = mistake.formula(x)
            except ZeroDivisionError:
                continue
            if (
                outputs is not None
                and not any(mp.isnan(leaf) for leaf in leaves(outputs))
                and not _is_rounding(outputs, truth)
            ):
                yield name, outputs

    def _circumstances(self, x: dict[str, Any], truth: dict[str, Any]) -> Iterator[str]:
        if not_float32(x):
            yield "not_float32"
        if tiny(x):
            yield "tiny"
        if self.terms is not None:
            terms = self.terms(x, truth)
            if any(
                mp.isfinite(right) and right and total > 20 * abs(right)
                for name in terms
                for total, right in zip(leaves(terms[name]), leaves(truth[name]), strict=True)
            ):
                yield "cancellation"
        if at_limit(x, [leaf for leaf in leaves(truth) if not isinstance(leaf, bool)]):
            yield "limit"
        if len(x.get("beta", [])) >= 1000 or x.get("T", 0) >= 1000:
            yield "long"


def not_float32(x: Any) -> bool:
    """Whether some input is no float32."""
    return any(
        isinstance(leaf, float) and struct.unpack("f", struct.pack("f", leaf))[0] != leaf
        for leaf in leaves(x)
    )


def tiny(x: dict[str, Any]) -> bool:
    """Whether a rate, a variance or a probability other than 0 lies below 1e-6."""
    return any(
        0 < leaf < 1e-6
        for name in x
        if name in RATES | VARIANCES | PROBABILITIES
        for leaf in leaves(x[name])
    )


def at_limit(x: dict[str, Any], outputs: list[Any]) -> bool:
    """Whether an input or an output is at an end of its range."""
    probabilities = [leaf for name in x if name in PROBABILITIES for leaf in leaves(x[name])]
    single = len(x.get("beta", [0, 0])) == 1 or x.get("T") == 1
    return (
        any(leaf in (0, 1) for leaf in probabilities)
        or 1.0 in x.get("beta", [])
        or single
        or any(leaf == 0 or math.isinf(leaf) for leaf in map(float, outputs))
    )


def _caught(mistaken: dict[str, Any], truth: dict[str, Any], tolerance: dict[str, Any]) -> bool:
    return any(
        _differs(wrong, right, allowed)
        for name in mistaken
        for wrong, right, allowed in zip(
            leaves(mistaken[name]), leaves(truth[name]), leaves(tolerance[name]), strict=True
        )
    )


def _is_rounding(mistaken: dict[str, Any], truth: dict[str, Any]) -> bool:
    """Whether some wrong output is 0 but for rounding, whose digits would mean nothing."""
    return any(
        not isinstance(wrong, bool)
        and 0
        < abs(wrong)
        < mp.mpf(10) ** -100 * (abs(right) if right and mp.isfinite(right) else 1)
        for name in mistaken
        for wrong, right in zip(leaves(mistaken[name]), leaves(truth[name]), strict=True)
    )


def _differs(wrong: Any, right: Any, allowed: Any) -> bool:
    if isinstance(right, bool) or mp.isinf(right) or mp.isinf(wrong):
        return wrong != right
    gap = abs(wrong - right)
    return gap > mp.mpf(DIFFERS) * 1.01 * abs(right) and gap > 1000 * allowed


# Mistakes that can be made in many formulas, as changes to a right one


def changed(
    truth: Callable[..., Any], **changes: Callable[[dict[str, Any]], Any]
) -> Callable[[dict[str, Any]], Any]:
    """The right formula at other inputs; None where a change gives None."""

    def formula(x: dict[str, Any]) -> Any:
        new = {name: change(x) for name, change in changes.items()}
        return None if any(value is None for value in new.values()) else truth({**x, **new})

    return formula


def multiplied(
    truth: Callable[..., Any], factor: Callable[[dict[str, Any]], Any], *names: str
) -> Callable[[dict[str, Any]], Any]:
    """Outputs of the right formula times a factor; all of them, or those named."""

    def formula(x: dict[str, Any]) -> Any:
        right = truth(x)
        return {
            name: mapped(lambda value: factor(x) * value, right[name]) for name in names or right
        }

    return formula


def in_bits(truth: Callable[..., Any], *names: str) -> Mistake:
    return Mistake("bits for nats: log2 for ln", multiplied(truth, lambda x: 1 / mp.log(2), *names))


def negative(truth: Callable[..., Any], *names: str) -> Mistake:
    return Mistake("the sign of the result", multiplied(truth, lambda x: mp.mpf(-1), *names))


def reversed_schedule(truth: Callable[..., Any]) -> Mistake:
    return Mistake(
        "the schedule reversed: beta_T..1 for beta_1..T",
        changed(truth, beta=lambda x: x["beta"][::-1]),
    )


def one_early(truth: Callable[..., Any], first: int = 1) -> Mistake:
    return Mistake(
        "the tables at t-1 for t: t counted from 0 where it counts from 1",
        changed(truth, t=lambda x: x["t"] - 1 if x["t"] > first else None),
    )


def one_late(truth: Callable[..., Any]) -> Mistake:
    return Mistake(
        "the tables at t+1 for t: beta[t] of an array that begins with beta_1",
        changed(truth, t=lambda x: x["t"] + 1 if x["t"] < len(x["beta"]) else None),
    )


def of_output(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """Rounding measured by the output itself."""
    return mapped(lambda value: mp.mpf(0) if isinstance(value, bool) else abs(value), truth)


def numbers(x: dict[str, Any], *names: str) -> list[Any]:
    """Inputs as exact numbers."""
    return [exact(x[name]) for name in names]

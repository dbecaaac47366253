"""A mistake that people make in a formula, and those that can be made in many: changes to a right
one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mpmath_oracle import mp

from truths.inputs import Formula, Inputs
from truths.numbers import mapped


@dataclass(frozen=True)
class Mistake:
    """A wrong formula, of the inputs alone or of the inputs and the right formula."""

    meaning: str
    formula: Callable[..., Any]
    of_truth: bool = False


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


def each(meaning: str, change: Callable[[Any], Any], *names: str) -> Mistake:
    """The same change of several inputs."""
    changes = {name: lambda x, name=name: change(getattr(x, name)) for name in names}
    return other(meaning, **changes)


def exchanged(meaning: str, *pairs: tuple[str, str]) -> Mistake:
    """Two inputs, each in the place of the other; or more such pairs."""
    places = {**dict(pairs), **{second: first for first, second in pairs}}
    return other(meaning, **{name: lambda x, at=at: x[at] for name, at in places.items()})


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
    "states_exchanged": exchanged("x^0 and x^t exchanged", ("x0", "xt")),
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

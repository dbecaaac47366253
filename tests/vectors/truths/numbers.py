"""Numbers: exact on the way in, 50 digits and more between, rounded once on the way out.

A float is taken for exactly the number that it is. A formula is evaluated at rising working
precision until two evaluations in a row agree to 52 digits, so it may be the textbook one and
cancel as it likes. Rounding, to float64 and to 40 digits, is done in integers: neither the platform
nor mpmath's version has a say in it.
"""

import decimal
import hashlib
from collections.abc import Callable
from typing import Any

from lint import leaves
from mpmath_oracle import mp

PRECISIONS = (80, 160, 320, 640, 1280)
AGREEMENT = 52


def settled(function: Callable[[Any], Any], inputs: Any) -> Any:
    """function(inputs) to at least 50 digits: the first result that another one at half the
    precision agrees with.
    """
    before = None
    for dps in PRECISIONS:
        with mp.workdps(dps):
            now = function(inputs)
        if now is None or (before is not None and _agree(before, now)):
            return now
        before = now
    raise ArithmeticError(f"no 50 digits of {function} at {inputs}")


@mp.workdps(80)
def _agree(a: Any, b: Any) -> bool:
    allowed = mp.mpf(10) ** -AGREEMENT
    return all(
        x == y or (mp.isfinite(x) and mp.isfinite(y) and abs(x - y) <= abs(y) * allowed)
        for x, y in zip(leaves(a), leaves(b), strict=True)
    )


def mapped(function: Callable[..., Any], *trees: Any) -> Any:
    """The tree of function(leaf, leaf, ...) over trees of the same shape."""
    first = trees[0]
    if isinstance(first, dict):
        return {key: mapped(function, *(tree[key] for tree in trees)) for key in first}
    if isinstance(first, list):
        return [mapped(function, *branch) for branch in zip(*trees, strict=True)]
    return function(*trees)


def _ratio(x: Any) -> tuple[int, int]:
    """Numerator and denominator of exactly the number that x is; nothing here may round to a
    working precision.
    """
    if isinstance(x, int):
        return x, 1
    sign, man, exp, _ = x._mpf_
    man = -int(man) if sign else int(man)
    return (man << exp, 1) if exp >= 0 else (man, 1 << -exp)


def _rounded(x: Any, digits: int) -> decimal.Decimal:
    limits = {"Emin": decimal.MIN_EMIN, "Emax": decimal.MAX_EMAX}
    context = decimal.Context(prec=digits, rounding=decimal.ROUND_HALF_EVEN, **limits)
    return context.divide(*map(decimal.Decimal, _ratio(x)))


def nearest(x: Any) -> Any:
    """The float64 nearest to x; "inf" and "-inf" are spelled out, since JSON has no such numbers,
    and a bool stays one.
    """
    if isinstance(x, bool):
        return x
    if mp.isinf(x):
        return "inf" if x > 0 else "-inf"
    numerator, denominator = _ratio(x)
    return numerator / denominator  # true division of integers rounds correctly


def forty(x: Any) -> Any:
    """x to 40 digits, as a string."""
    if isinstance(x, bool):
        return str(x).lower()
    if mp.isinf(x):
        return nearest(x)
    text = format(_rounded(x, 40), ".39e") if x else "0"
    if float(text) != nearest(x):
        raise ArithmeticError(f"{text} lies too close to the middle between two floats")
    return text


def short(x: Any, digits: int) -> Any:
    """x to a few digits, as a float."""
    return nearest(x) if isinstance(x, bool) or mp.isinf(x) else float(_rounded(x, digits))


class Draw:
    """Numbers without pattern that are the same everywhere: bits of SHA-256, in order."""

    def __init__(self, name: str) -> None:
        self.name, self.drawn = name, 0

    def integer(self, low: int, high: int) -> int:
        """An integer in low..high."""
        self.drawn += 1
        digest = hashlib.sha256(f"{self.name}/{self.drawn}".encode()).digest()
        return low + int.from_bytes(digest[:16], "big") % (high - low + 1)

    def part(self, n: int, low: int = 1, high: int | None = None) -> float:
        """k / n with k in low..high, n a power of two: a float32."""
        return self.integer(low, n - 1 if high is None else high) / n

    def parts(self, count: int, n: int, low: int = 1, high: int | None = None) -> list[float]:
        """A list of them."""
        return [self.part(n, low, high) for _ in range(count)]

    def bits(self, count: int) -> list[int]:
        """A list of zeros and ones."""
        return [self.integer(0, 1) for _ in range(count)]

    def power(self, low: int, high: int) -> float:
        """A 7-bit number times a power of two between 2^low and 2^high."""
        return self.integer(64, 127) / 64 * 2.0 ** self.integer(low, high)

    def choice(self, values: list[Any]) -> Any:
        return values[self.integer(0, len(values) - 1)]

"""The inputs of a vector, and what is computed once from them."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mpmath_oracle
from mpmath_oracle import mp

from truths.numbers import mapped


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

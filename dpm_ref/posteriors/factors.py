"""r(x) as an object that a law of independent components can be multiplied by: p~ = p r / Z~, equation (22), and log Z~.

`observations` has those whose product is a closed form, `conditions` the others. A user's own factor is any object with these five
names; what its `multiply` gives may be any law near p r / Z~, if it leaves log_z out.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dpm_ref import validation
from dpm_ref.validation import Array

__all__ = ["Factor", "Product", "exponent_of_r"]


class Factor(Protocol):
    """r(x), a bounded function of vectors (..., d), as section 2.5 needs it."""

    @property
    def positive(self) -> bool:
        """Whether r > 0 everywhere."""

    def log_r(self, x: Array) -> Array:
        """log r(x) at x (..., d): shape (...), nats, -inf where r is 0."""

    def multiply(self, law: Any) -> "Product":
        """The law p r / Z~ for a law p over (..., d), or one near it."""

    def power(self, exponent: float) -> "Factor":
        """r to a power in [0, 1]."""

    def diffused(self, diffusion: Any, t: int) -> "Factor":
        """E r(x^0) under t steps of the forward diffusion from x: r_t for data that are distributed as pi."""


@dataclass(frozen=True)
class Product:
    """What came of multiplying a law by a factor.

    law : p~, to draw from
    log_z : log of the integral of p r, shape (...), nats; None where p~ is only near p r / Z~
    before, factor : p and r
    """

    law: Any
    log_z: Array | None
    before: Any
    factor: Factor

    def log_weight(self, x: Array, log_r: Array | None = None) -> Array:
        """log of p r / p~ at draws x (..., d) of p~: shape (...), nats; log Z~ wherever that is known. Section 2.5.

        log r(x) may be handed in where it is known already.
        """
        if self.log_z is not None:
            return np.broadcast_to(self.log_z, x.shape[:-1])
        return np.asarray(self.before.log_prob(x) + (self.factor.log_r(x) if log_r is None else log_r) - self.law.log_prob(x))


def exponent_of_r(value: float) -> float:
    """A power of r, a scalar without unit in [0, 1]; ValueError for any other. Section 2.5.3."""
    if not 0 <= float(validation.finite("exponent", value)) <= 1:
        raise ValueError(f"exponent must lie in [0, 1], got {value!r}")
    return float(value)

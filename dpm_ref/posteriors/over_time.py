"""r(x^t), t = 0..T: the second choice of section 2.5, as a function from t to a factor.

    constant    r(x^t) = r(x)                                          the paper's first; a clamp at every t is its inpainting
    tempered    r(x^t) = r(x)^((T - t) / T)                            its second, which leaves p~(x^T) = pi
    diffused    r(x^t) = E[ r(x^0) | x^t ] where p = T_pi throughout   beyond the paper: the exact twist of data that are pi, in closed
                                                                       form, and positive everywhere at t >= 1
    of_time     log r(x^t) = f(x, t), with its slope                   such as an exact twist of `dpm_ref.exact`

What each of them samples without weights is said in `dpm_ref.posteriors`.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5.3.
"""

from collections.abc import Callable
from typing import Any

from dpm_ref import validation
from dpm_ref.posteriors.conditions import LogFactor
from dpm_ref.posteriors.factors import Factor
from dpm_ref.protocols import Diffusion
from dpm_ref.validation import Array

__all__ = ["OverTime", "constant", "tempered", "diffused", "of_time"]

OverTime = Callable[[int], Factor]


def constant(r: Factor) -> OverTime:
    """r(x^t) = r(x) at every t; dimensionless, no shape. Section 2.5.3."""
    return lambda t: r


def tempered(r: Factor, T: int) -> OverTime:
    """r(x^t) = r(x)^((T - t) / T), the exponent being r's own and no factor before it; dimensionless, no shape. Section 2.5.3.

    ValueError unless T >= 1, or (later) for t beyond T.

    >>> from dpm_ref.posteriors import GaussianFactor
    >>> print(tempered(GaussianFactor([1.0], 0.5), 4)(3).var)
    [2.]
    """
    steps = validation.count("T", T, 1)
    return lambda t: r.power((steps - validation.one_time("t", t, 0, steps)) / steps)


def diffused(r: Factor, diffusion: Diffusion) -> OverTime:
    """r(x^t) = E r(x^0) under t forward steps from x^t, which is E[ r(x^0) | x^t ] where p = T_pi, since T_pi is reversible.

    Dimensionless, no shape. ValueError (later) for a `LogFactor`, or a factor of the other column. Beyond section 2.5.

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import GaussianFactor
    >>> print(diffused(GaussianFactor([1.0], 0.5), GaussianDiffusion([0.5, 0.5]))(2).var)
    [5.]
    """
    return lambda t: r.diffused(diffusion, t)


def of_time(log_r: Callable[[Array, int], Any], slope: Callable[[Array, int], Any] | None = None, *,
            at_0: Factor | None = None) -> OverTime:
    """log r(x^t) = log_r(x, t), nats, x (..., d) and t in 0..T; its slope likewise, as `LogFactor` asks for it.

    With at_0, that factor at t = 0: r itself, where it has a closed form or, a `Clamp`, is no function. Section 2.5.3.
    """
    def factor(t: int) -> Factor:
        if t == 0 and at_0 is not None:
            return at_0
        return LogFactor(lambda x: log_r(x, t), None if slope is None else lambda x: slope(x, t))

    return factor

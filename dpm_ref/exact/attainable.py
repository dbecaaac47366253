"""What (24) says about the log likelihood: bounds on the largest K, from the forward trajectory alone.

Let the reverse kernels at t >= 2 be any at all, and the edge T_pi. The least possible E KL_t is the lower gap of (24) at t,
H_q(X^{t-1}|X^t) - H_q(X^{t-1}|X^t,X^0), and the exact reversal has it. So, averaged over data,

    max K = U - sum_{t>=2} lower gap_t,    U = E log pi(x^0) + E KL( q(x^1|x^0) || pi ) - E KL( q(x^T|x^0) || pi )

and (24), which puts every gap between 0 and H_q(X^t|X^0) - H_q(X^{t-1}|X^0), gives

    U - [ H_q(X^T|X^0) - H_q(X^1|X^0) ]  <=  max K  <=  U,         L >= max K at the exact reversal

The left side needs the condition of the upper bound of (24), the right side nothing. The sum telescopes: on the left all that remains is
L_null + E log pi(x^T) - E log pi(x^1), which is L_null where the data meet the precondition of (14). What really lies between is

    max K = L_null + KL( q(x^1) || pi ) - KL( q(x^T) || pi ),

so max K >= L_null without any condition, and it takes the entropy of X^1, which no single step knows, to say more. U bounds K for
every model, but not L: a narrow model can put p(x^0) above exp U at a few points. Of L it is known that L <= -H(X^0).

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.6, equations (14) and (24).
"""

from typing import NamedTuple

import numpy.typing as npt

from dpm_ref.bounds import fixed_terms
from dpm_ref.protocols import Diffusion

__all__ = ["AttainableBound", "attainable_bound"]


class AttainableBound(NamedTuple):
    """Bounds on the largest K over all reverse kernels, in nats for a whole vector, and whether the lower one applies to the data."""

    lower: float
    upper: float
    lower_holds: bool


def attainable_bound(diffusion: Diffusion, x0: npt.ArrayLike) -> AttainableBound:
    """Bounds on the largest K that reverse kernels of any form can reach behind the edge T_pi, for the data given.

    lower = upper - sum_{t>=2} [ H_q(X^t|X^0) - H_q(X^{t-1}|X^0) ]
    upper = E log pi(x^0) + E KL( q(x^1|x^0) || pi ) - E KL( q(x^T|x^0) || pi )

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    x0 : array_like, shape (..., d)
        The data; the average over these vectors stands for E over q(x^0).

    Returns
    -------
    AttainableBound
        (lower, upper, lower_holds): floats in nats for the whole vector, and a bool.

    Raises
    ------
    ValueError
        If x0 is no data of the diffusion.

    Notes
    -----
    "And thus on the log likelihood", section 2.6. No K, of any model, exceeds `upper`. Some model reaches `lower`, in K and so in
    log likelihood, if H_q(X^t) never falls; `lower_holds` reports the sufficient condition tr Cov(X^0) <= d (Gaussian) or
    sum_i logit(pi_i) (m_i - pi_i) >= 0 (binomial), checked on the data.

    >>> from dpm_ref import BinomialDiffusion
    >>> bound = attainable_bound(BinomialDiffusion([0.1, 0.2], prior=0.5), [[0, 0], [1, 1]])
    >>> print("%.6f %.6f %s" % bound)
    -1.386294 -0.973398 True
    """
    x0 = diffusion.check_data("x0", x0)
    upper = float(fixed_terms(diffusion, x0).mean())
    width = float((diffusion.marginal(x0, diffusion.T).entropy() - diffusion.marginal(x0, 1).entropy()).mean())
    return AttainableBound(upper - width, upper, diffusion.entropy_never_falls(x0).holds)

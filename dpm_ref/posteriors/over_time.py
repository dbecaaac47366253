"""r(x^t) for t = 0..T, as a function from t to a factor (section 2.5.4).

    constant    r(x^t) = r(x)                   the paper's first choice
    tempered    r(x^t) = r(x)^((T - t) / T)     its second, which leaves p~(x^T) = pi
    diffused    r(x^t) = E[r(x^0) | x^t] where p = T_pi throughout: exact for data that are pi, in
                closed form, and positive everywhere at t >= 1
    predicted   r(x^t) = Z~ of the model's own prediction of x^0 times r: for a learned model

Any other is a function of t too: lambda t: LogFactor(lambda x: f(x, t), lambda x: slope(x, t)).

A reverse kernel is a posterior q(x^{t-1} | x^t, x^0) averaged over a predicted distribution of x^0,
which `predicted` reads back from it:

    Gaussian   f_mu = c0 m + c1 x^t,  f_Sigma = s2 + c0^2 V             ->  x^0 ~ N(m, V)
    binomial   f_b = rho q(1 | x^t, 1) + (1 - rho) q(1 | x^t, 0)        ->  x^0 ~ B(rho)

For the slope of its log Z~ no backward pass is needed. With E, rho and E~, rho~ the means before
and after multiplication by r,

    Gaussian   grad log r_t = sqrt(abar_t) / (1 - abar_t) (E~[x^0] - E[x^0])
    binomial   r_t(x_i') / r_t(x_i) = M(rho~_i) / M(rho_i),   M(rho) = rho R_1 + (1 - rho) R_0,
               R_b = q(x_i' | b) / q(x_i | b)

These hold for the true distribution of x^0 given x^t. The prediction neglects that its components
depend on each other, which a particle filter corrects.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5.4; `diffused` and `predicted`
are beyond the paper. Wu et al. 2023, arXiv:2306.17775, twist a particle filter likewise.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.gaussian import Gaussian
from dpm_ref.posteriors.factors import Factor, LogFactor, Product
from dpm_ref.protocols import Diffusion, Edge, ReverseKernel, ask_law
from dpm_ref.validation import Array

__all__ = ["OverTime", "constant", "tempered", "diffused", "predicted"]

OverTime = Callable[[int], Any]

_LEAST_PROB = 1e-4  # left to either value of a predicted bit, since r(x^t) must not be 0
_LEAST_VAR = 1e-3  # of a prediction, in units of 1 - abar_t


def constant(r: Factor) -> OverTime:
    """r(x^t) = r(x) at every t."""
    return lambda t: r


def tempered(r: Any, T: int) -> OverTime:
    """r(x^t) = r(x)^((T - t) / T).

    >>> from dpm_ref.posteriors import GaussianFactor
    >>> print(tempered(GaussianFactor([1.0], 0.5), 4)(3).var)
    [2.]
    """
    steps = validation.count("T", T, 1)
    return lambda t: r.power((steps - validation.one_time("t", t, 0, steps)) / steps)


def diffused(r: Any, diffusion: Diffusion) -> OverTime:
    """r(x^t) = E r(x^0) over t forward steps from x^t, which are T_pi's reverse steps too.

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import GaussianFactor
    >>> print(diffused(GaussianFactor([1.0], 0.5), GaussianDiffusion([0.5, 0.5]))(2).var)
    [5.]
    """
    def factor(t: int) -> Any:
        if diffusion.law not in getattr(r, "columns", ()):
            raise ValueError("r must be a closed form of the diffusion's column to be "
                             f"diffused, got a {type(r).__name__} for a {type(diffusion).__name__}")
        return r.diffused(diffusion, t) if validation.one_time("t", t, 0, diffusion.T) else r

    return factor


def predicted(r: Factor, diffusion: Any, reverse: ReverseKernel,
              edge: Edge | None = None) -> OverTime:
    """r(x^t) = Z~ of the model's own prediction of x^0 times r, a closed form.

    Parameters
    ----------
    r : GaussianFactor, BernoulliFactor or Clamp
        r(x^0), which is also what is returned at t = 0; at t >= 1 the result is positive.
    diffusion, reverse, edge
        The model, as for `Perturbed`.

    Notes
    -----
    Exact where x^0's components are independent given x^t and the prediction is right:

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import GaussianFactor
    >>> diffusion = GaussianDiffusion([0.1, 0.2, 0.5])
    >>> factor, x = GaussianFactor([1.0], 1.0), np.array([[0.3]])
    >>> exact = diffused(factor, diffusion)(3).log_r(x)          # for p = T_pi
    >>> ours = predicted(factor, diffusion, diffusion.kernel)(3).log_r(x)
    >>> print("%.6f %.6f" % (ours[0], exact[0]))
    -0.452348 -0.452348
    """
    def factor(t: int) -> Factor:
        if t == 0:
            return r

        def log_r(x: Array) -> Any:
            return _product(r, predicted_data(diffusion, reverse, x, t, edge)).log_z

        def slope(x: Array) -> Array:
            before = predicted_data(diffusion, reverse, x, t, edge)
            after = _product(r, before).law
            if isinstance(diffusion, BinomialDiffusion):
                return _log_ratio(diffusion, before, after, x, t)
            gain = float(diffusion.sqrt_abar(t) / diffusion.one_minus_abar(t))
            with np.errstate(over="ignore"):
                return np.asarray(gain * (after.mean - before.mean))

        return LogFactor(log_r, slope)

    return factor


def predicted_data(diffusion: Any, reverse: ReverseKernel, xt: Array, t: int,
                   edge: Edge | None = None) -> Any:
    """The distribution of x^0 whose average posterior the kernel is at xt (m, d), or the edge.

    Variances and probabilities are kept off 0: a kernel may be narrower than any such average.
    """
    if t == 1:
        law = ask_law(diffusion.law, diffusion.edge if edge is None else edge, "edge", xt)
    else:
        law = ask_law(diffusion.law, reverse, "reverse", xt, t)
    if isinstance(diffusion, BinomialDiffusion):
        rho = _predicted_prob1(diffusion, law, xt, t) if t > 1 else law.prob1
        rho = np.clip(rho, _LEAST_PROB, 1.0 - _LEAST_PROB)
        return Bernoulli.unchecked(rho, 1.0 - rho)
    if t == 1:
        return law
    of_x0, of_xt = (float(part) for part in diffusion.posterior_coefficients(t))
    if of_x0 < 1e-150:  # x^{t-1} and x^0 are independent
        return Gaussian.unchecked(np.zeros(xt.shape), np.asarray(1.0))
    var = (law.var - float(diffusion.posterior_var(t))) / of_x0**2
    least = _LEAST_VAR * float(diffusion.one_minus_abar(t))
    return Gaussian((law.mean - of_xt * xt) / of_x0, np.maximum(var, least))


def _predicted_prob1(diffusion: BinomialDiffusion, law: Any, xt: Array, t: int) -> Array:
    given1 = diffusion.posterior(np.ones(xt.shape), xt, t).prob1
    given0 = diffusion.posterior(np.zeros(xt.shape), xt, t).prob1
    known = given1 > given0  # else x^{t-1} and x^0 are independent
    rho = (law.prob1 - given0) / np.where(known, given1 - given0, 1.0)
    return np.where(known, rho, diffusion.pi1)


def _product(r: Factor, law: Any) -> Product:
    product = r.multiply(law)
    if product.log_z is None:
        raise ValueError("r must multiply a law in closed form to be predicted, "
                         f"got a {type(r).__name__}")
    return product


def _log_ratio(diffusion: BinomialDiffusion, before: Any, after: Any, x: Array, t: int) -> Array:
    """log r_t(x_i = 1) - log r_t(x_i = 0), from the ratio of the other value to this one."""
    given1, given0 = (diffusion.marginal(np.full(x.shape, bit), t) for bit in (1.0, 0.0))
    odds1, odds0 = given1.prob1 / given1.prob0, given0.prob1 / given0.prob0
    sign = np.where(x == 1, -1.0, 1.0)
    with_r, without = (law.prob1 * odds1**sign + law.prob0 * odds0**sign for law in (after, before))
    return np.asarray(sign * np.log(with_r / without))

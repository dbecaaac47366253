"""r(x^t) from what the model itself predicts of x^0: the twist E[ r(x^0) | x^t ] for a law of x^0 with independent components.

A reverse kernel of either column is a posterior q(x^{t-1} | x^t, x^0) averaged over a predicted law of x^0 (see `dpm_ref.reverse`), and
the prediction can be read back from it:

    Gaussian   f_mu = c0 m + c1 x^t,  f_Sigma = s2 + c0^2 V     ->   x^0 ~ N(m, V)
    binomial   f_b = rho q(1 | x^t, 1) + (1 - rho) q(1 | x^t, 0)     ->   x^0 ~ B(rho)

Then r_t(x^t) is Z~ of that law times r, in closed form. Nor does its slope take a derivative of the network: with E, rho and E~, rho~ the
means before and after the multiplication,

    Gaussian   grad log r_t = sqrt(abar_t) / (1 - abar_t) ( E~[x^0] - E[x^0] )
    binomial   r_t(x_i') / r_t(x_i) = ( rho~_i R_1 + (1 - rho~_i) R_0 ) / ( rho_i R_1 + (1 - rho_i) R_0 ),   R_b = q(x_i'|b) / q(x_i|b)

which hold for the exact twist too, were the prediction the true law of x^0 given x^t. It is not, since x^0's components depend on each
other; a particle filter makes up for the difference.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.2 and 2.5; beyond the paper. Wu, Trippe, Naesseth, Blei and
Cunningham 2023, arXiv:2306.17775, twist a particle filter with a denoiser's prediction likewise.
"""

from functools import partial
from typing import Any

import numpy as np

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.gaussian import Gaussian, GaussianDiffusion
from dpm_ref.posteriors.conditions import Clamped, LogFactor
from dpm_ref.posteriors.factors import Factor, Product
from dpm_ref.posteriors.over_time import OverTime
from dpm_ref.protocols import Edge, ReverseKernel, law_over
from dpm_ref.validation import Array

__all__ = ["predicted", "predicted_data"]

_LEAST = 1e-4  # probability that a prediction leaves to either value of a bit
_NARROWEST = 1e-3  # variance that it leaves, in units of 1 - abar_t


def predicted(r: Factor, diffusion: Any, reverse: ReverseKernel, edge: Edge | None = None) -> OverTime:
    """r(x^t) = Z~ of the model's own prediction of x^0 times r: for `particle_filter`, the choice for a learned model.

    Parameters
    ----------
    r : GaussianFactor, BernoulliFactor or Clamp
        r(x^0).
    diffusion, reverse, edge
        The model, as for `Perturbed`.

    Returns
    -------
    callable t -> factor
        r itself at t = 0; positive at t >= 1. Dimensionless, no shape.

    Raises
    ------
    ValueError
        At use, if r does not multiply a law in closed form, or a kernel returns a law over another shape.

    Notes
    -----
    Section 2.5 and beyond. Exact where x^0's components are independent given x^t and the prediction is right:

    >>> diffusion = GaussianDiffusion([0.1, 0.2, 0.5])
    >>> from dpm_ref.posteriors import GaussianFactor, diffused
    >>> factor, x = GaussianFactor([1.0], 1.0), np.array([[0.3]])
    >>> exact = diffused(factor, diffusion)(3).log_r(x)          # for p = T_pi
    >>> print("%.6f %.6f" % (predicted(factor, diffusion, diffusion.kernel)(3).log_r(x)[0], exact[0]))
    -0.452348 -0.452348
    """
    def factor(t: int) -> Factor:
        if t == 0:
            return r
        predict = partial(predicted_data, diffusion, reverse, t=t, edge=edge)
        slope = _gradient if isinstance(diffusion, GaussianDiffusion) else _log_ratio
        return LogFactor(lambda x: _product(r, predict(x)).log_z, lambda x: slope(diffusion, _product(r, predict(x)), x, t))

    return factor


def predicted_data(diffusion: Any, reverse: ReverseKernel, xt: Array, t: int, *, edge: Edge | None = None) -> Gaussian | Bernoulli:
    """The law of x^0 given x^t (m, d), one t in 1..T, of which the kernel is the average posterior: over xt's shape, dimensionless.

    At t = 1 the edge itself. Variances are kept above (1 - abar_t) / 1000 and probabilities off 0 and 1 by 1e-4, since a kernel may be
    narrower than any such average, and a twist must not be zero. Table App.1; ValueError if a kernel returns a law over another shape.
    """
    xt, t = diffusion.check_data("xt", xt), validation.one_time("t", t, 1, diffusion.T)
    if t == 1:
        law = law_over(diffusion.law, (diffusion.edge if edge is None else edge)(xt), xt, "edge")
    else:
        law = law_over(diffusion.law, reverse(xt, t), xt, "reverse")
    if isinstance(diffusion, BinomialDiffusion):
        return _predicted_bits(diffusion, Bernoulli.like(law), xt, t)
    return _predicted_values(diffusion, Gaussian.like(law), xt, t)


def _predicted_values(diffusion: GaussianDiffusion, law: Gaussian, xt: Array, t: int) -> Gaussian:
    if t == 1:
        return law
    of_x0, of_xt = (float(part) for part in diffusion.posterior_coefficients(t))
    if of_x0 == 0:  # x^{t-1} and x^0 have nothing to do with each other
        return Gaussian(np.zeros(xt.shape), 1.0)
    var = (law.var - float(diffusion.posterior_var(t))) / of_x0**2
    return Gaussian((law.mean - of_xt * xt) / of_x0, np.maximum(var, _NARROWEST * float(diffusion.one_minus_abar(t))))


def _predicted_bits(diffusion: BinomialDiffusion, law: Bernoulli, xt: Array, t: int) -> Bernoulli:
    if t == 1:
        rho = np.array(law.prob1)
    else:
        given0, given1 = diffusion.posterior(_bits(xt)[:, None], _bits(xt), t).prob1  # q(1 | x^t, x^0), each by the value of x^t
        known = given1 > given0  # else x^{t-1} and x^0 have nothing to do with each other
        lift = np.where(known, given1 - given0, 1.0)
        gain, offset = np.where(known, 1.0 / lift, 0.0), np.where(known, -given0 / lift, diffusion.pi1)
        rho = law.prob1 * _at(gain, xt) + _at(offset, xt)
    return Bernoulli(np.minimum(np.maximum(rho, _LEAST), 1.0 - _LEAST))


def _product(r: Factor, law: Gaussian | Bernoulli) -> Product:
    product = r.multiply(law)
    if product.log_z is None:
        raise ValueError(f"r must multiply a law in closed form to be predicted, got a {type(r).__name__}")
    return product


def _gradient(diffusion: GaussianDiffusion, product: Product, x: Array, t: int) -> Array:
    law = product.law
    after = np.where(law.seen, law.values, law.law.mean) if isinstance(law, Clamped) else law.mean
    return np.asarray(float(diffusion.sqrt_abar(t) / diffusion.one_minus_abar(t)) * (after - product.before.mean))


def _log_ratio(diffusion: BinomialDiffusion, product: Product, x: Array, t: int) -> Array:
    """log r_t(x_i = 1) - log r_t(x_i = 0), from the ratio of the other value to this one."""
    at0, at1 = (diffusion.marginal(bit, t) for bit in _bits(x))
    ratio1, ratio0 = (_at(np.stack([q.prob1 / q.prob0, q.prob0 / q.prob1]), x) for q in (at1, at0))
    with_r, without = (law.prob1 * ratio1 + law.prob0 * ratio0 for law in (product.law, product.before))
    return np.asarray(np.where(x == 1, -1.0, 1.0) * np.log(with_r / without))


def _bits(x: Array) -> Array:
    """A vector of zeros and one of ones, (2, d)."""
    return np.broadcast_to(np.array([0.0, 1.0])[:, None], (2, x.shape[-1]))


def _at(table: Array, x: Array) -> Array:
    """The entries of a table (2, d), by the value of each bit."""
    return np.asarray(np.where(x == 1, table[1], table[0]))

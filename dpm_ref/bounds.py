"""The bound K on the log likelihood, and the bounds on the entropy of the reverse trajectory.

    K(x^0) = - sum_{t=2}^T E_{q(x^t|x^0)} KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) )
             + H_q(X^T|x^0) + E log pi(x^T) + E log p(x^0|x^1) <= log p(x^0)

With the paper's fixed edge p(x^0|x^1) = T_pi = q(x^1|x^0) pi(x^0) / pi(x^1) the entropies and cross-entropies pair up, and
nothing of the size of the edge's logarithm is left to cancel:

    K(x^0) = log pi(x^0) + KL( q(x^1|x^0) || pi ) - KL( q(x^T|x^0) || pi ) - sum_t E KL_t

This holds for each x^0, whatever the data. The paper's equation (14) replaces the cross-entropies of x^t to pi by H_p(X^T),
which is right on average over data with a precondition only (App. B.1): E|x^0|^2 = d, or sum_i logit(pi_i) (m_i - pi_i) = 0.

Everything is written once, for either diffusion and for any reverse kernel. The elementwise divergences and entropies are
those of `dpm_ref.information`.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.4 and 2.6, equations (10) to (14) and (24).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import _doors
from dpm_ref._doors import Array
from dpm_ref.information import (
    bernoulli_entropy,
    bernoulli_entropy_grad,
    bernoulli_kl,
    bernoulli_kl_grad,
    gaussian_entropy,
    gaussian_entropy_difference,
    gaussian_entropy_grad,
    gaussian_kl,
    gaussian_kl_grad,
    to_bits,
)
from dpm_ref.laws import Diffusion, Edge, ReverseKernel, law_over

__all__ = ["LowerBound", "ReverseEntropyBounds", "lower_bound", "fixed_terms", "null_log_likelihood", "reverse_entropy_bounds", "to_bits",
           "gaussian_kl", "gaussian_kl_grad", "gaussian_entropy", "gaussian_entropy_grad", "gaussian_entropy_difference",
           "bernoulli_kl", "bernoulli_kl_grad", "bernoulli_entropy", "bernoulli_entropy_grad"]

_BLOCK = 2**18  # numbers held at once while samples are averaged


class LowerBound(NamedTuple):
    """The bound K in nats; (...) is the shape of the batch of data vectors.

    value : (...), K(x^0), valid without preconditions
    stderr : (...), its standard error over the samples of x^t; nan for one sample
    kl : (T-1, ...), E KL_t for t = 2..T
    eq14 : equation (14) averaged over the data given; nan with a learned edge
    """

    value: Array
    stderr: Array
    kl: Array
    eq14: float


class ReverseEntropyBounds(NamedTuple):
    """Equation (24) in nats for a whole vector, and whether its upper side applies to the data."""

    lower: float
    upper: float
    upper_holds: bool


def lower_bound(diffusion: Diffusion, reverse: ReverseKernel, x0: npt.ArrayLike, *, rng: np.random.Generator, n_samples: int = 1,
                edge: Edge | None = None) -> LowerBound:
    """K(x^0) <= log p(x^0), estimated without bias from n_samples independent draws of x^t at every t.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    reverse : callable (xt, t) -> law
        p(x^{t-1} | x^t): called with an array (n, ..., d) and one int t in 2..T; returns a law over that shape. It is not
        called if T = 1.
    x0 : array_like, shape (..., d)
        Data vectors.
    rng : numpy.random.Generator
    n_samples : int >= 1
        Draws per data vector and t. The noise is independent between data vectors and between t.
    edge : callable x1 -> law, optional
        p(x^0 | x^1), a learned last step (DDPM's L_0). By default the diffusion's own, T_pi (App. B.2).

    Returns
    -------
    LowerBound
        (value, stderr, kl, eq14), shapes (...), (...), (T-1, ...) and a float, all in nats.

    Raises
    ------
    ValueError
        If x0 is no data of the diffusion, n_samples < 1, rng is no Generator, or a kernel returns a law over another shape
        (broadcasting it would average the wrong things).

    Notes
    -----
    Equations (13) and (14), App. A and B. The value needs no precondition; eq14 does, and exceeds the mean of the value by
    (E|x^0|^2 - d) (abar_T + beta_1) / 2 for the Gaussian, by -sum_i logit(pi_i) (m_i - pi_i) (abar_T + beta_1) for the binomial.
    The sum is accurate to 4 eps times the sum of its terms' absolute values.

    With the diffusion's own kernel for p, and data from the prior, nothing is lost:

    >>> from dpm_ref import GaussianDiffusion
    >>> diffusion = GaussianDiffusion([0.2, 0.3, 0.4])
    >>> rng = np.random.default_rng(0)
    >>> K = lower_bound(diffusion, diffusion.kernel, rng.standard_normal((1000, 2)), rng=rng)
    >>> print(K.kl.shape, K.value.shape)
    (2, 1000) (1000,)
    """
    x0 = diffusion.check_data("x0", x0)
    n_samples, rng = _doors.count("n_samples", n_samples, 1), _doors.generator(rng)
    T = diffusion.T
    kl_sum = np.zeros((T - 1, *x0.shape[:-1]))
    totals = []  # of each draw: what depends on x^1..T
    for block in _blocks(x0, n_samples):
        total = np.zeros(block.shape[:-1]) if edge is None else _log_edge(diffusion, edge, block, rng)
        for t in range(2, T + 1):
            kl = _kl_term(diffusion, reverse, block, t, rng)
            kl_sum[t - 2] += kl.sum(0)
            total -= kl
        totals.append(total)
    mean, stderr = _mean_and_stderr(np.concatenate(totals))
    kl = kl_sum / n_samples
    last, prior = diffusion.marginal(x0, T), diffusion.prior(x0.shape[-1])
    if edge is not None:
        return LowerBound(mean - last.kl(prior), stderr, kl, float("nan"))
    eq14 = (-kl.sum(0) + last.entropy() - diffusion.marginal(x0, 1).entropy()).mean() - prior.entropy()
    return LowerBound(fixed_terms(diffusion, x0) + mean, stderr, kl, float(eq14))


def fixed_terms(diffusion: Diffusion, x0: npt.ArrayLike) -> Array:
    """What of K(x^0) does not depend on the reverse kernel: log pi(x^0) + KL( q(x^1|x^0) || pi ) - KL( q(x^T|x^0) || pi ).

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    x0 : array_like, shape (..., d)

    Returns
    -------
    ndarray, shape (...), nats; K(x^0) with the fixed edge is this minus sum_{t=2}^T E KL_t

    Raises
    ------
    ValueError
        If x0 is no data of the diffusion.

    Notes
    -----
    Equation (14) with App. B.2's edge, in the form that needs no precondition.

    >>> from dpm_ref import GaussianDiffusion
    >>> print("%.6f" % fixed_terms(GaussianDiffusion([0.1, 0.2]), [0.0, 1.0]))
    -1.398258
    """
    x0 = diffusion.check_data("x0", x0)
    prior = diffusion.prior(x0.shape[-1])
    return prior.log_prob(x0) + diffusion.marginal(x0, 1).kl(prior) - diffusion.marginal(x0, diffusion.T).kl(prior)


def null_log_likelihood(diffusion: Diffusion, x0: npt.ArrayLike) -> Array:
    """L_null = log pi(x^0), the log likelihood of a model that has learned nothing.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    x0 : array_like, shape (..., d)

    Returns
    -------
    ndarray, shape (...), nats, accurate to 8 eps times the sum of its terms' absolute values

    Raises
    ------
    ValueError
        If x0 is no data of the diffusion.

    Notes
    -----
    What "K - L_null" in Table 1 compares with.

    >>> from dpm_ref import GaussianDiffusion
    >>> print("%.6f" % null_log_likelihood(GaussianDiffusion([0.1]), [0.0, 1.0]))
    -2.337877
    """
    x0 = diffusion.check_data("x0", x0)
    return diffusion.prior(x0.shape[-1]).log_prob(x0)


def reverse_entropy_bounds(diffusion: Diffusion, x0: npt.ArrayLike, t: int) -> ReverseEntropyBounds:
    """Bounds on H_q(X^{t-1} | X^t), the entropy of one true reverse step, for the data given.

    lower = H_q(X^t|X^{t-1}) + H_q(X^{t-1}|X^0) - H_q(X^t|X^0) = H_q(X^{t-1}|X^t,X^0)
    upper = H_q(X^t|X^{t-1})

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    x0 : array_like, shape (..., d)
        The data; the average over these vectors stands for E over q(x^0).
    t : int in 1..T

    Returns
    -------
    ReverseEntropyBounds
        (lower, upper, upper_holds): floats in nats for the whole vector, and a bool. At t = 1 the lower side is 0 for the
        binomial and -inf for the Gaussian.

    Raises
    ------
    ValueError
        If x0 is no data of the diffusion or t is not one integer in 1..T.

    Notes
    -----
    Equation (24). The lower side always holds; it is summed in the form on the right, where nothing cancels. The upper side
    holds if and only if H_q(X^t) >= H_q(X^{t-1}); upper_holds reports the sufficient condition tr Cov(X^0) <= d (Gaussian) or
    sum_i logit(pi_i) (m_i - pi_i) >= 0 (binomial), checked on the data. Where it is False, `upper` bounds nothing for certain.

    >>> from dpm_ref import BinomialDiffusion
    >>> bound = reverse_entropy_bounds(BinomialDiffusion([0.1], prior=0.2), [[0], [1]], 1)
    >>> print("%.6f %.6f %s" % bound)
    0.000000 0.188404 False
    """
    x0 = diffusion.check_data("x0", x0)
    return ReverseEntropyBounds(float(diffusion.posterior_entropy(x0, t).mean()), float(diffusion.kernel_entropy(x0, t).mean()),
                                diffusion.entropy_never_falls(x0))


def _blocks(x0: Array, n_samples: int) -> Iterator[Array]:
    """The data repeated along a new first axis, n_samples times in all, a block of bounded size at a time."""
    size = max(1, _BLOCK // x0.size)
    for start in range(0, n_samples, size):
        yield np.broadcast_to(x0, (min(size, n_samples - start), *x0.shape))


def _kl_term(diffusion: Diffusion, reverse: ReverseKernel, x0: Array, t: int, rng: np.random.Generator) -> Array:
    """KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ) at one draw of x^t for every vector of x0."""
    xt = diffusion.marginal(x0, t).sample(rng=rng)
    return diffusion.posterior(x0, xt, t).kl(law_over(diffusion.law, reverse(xt, t), xt, "reverse"))


def _log_edge(diffusion: Diffusion, edge: Edge, x0: Array, rng: np.random.Generator) -> Array:
    """log p(x^0|x^1) at one draw of x^1 for every vector of x0."""
    x1 = diffusion.marginal(x0, 1).sample(rng=rng)
    return law_over(diffusion.law, edge(x1), x1, "edge").log_prob(x0)


def _mean_and_stderr(draws: Array) -> tuple[Array, Array]:
    """Over the first axis; one draw has no standard error, and infinite ones have none either."""
    n = draws.shape[0]
    if n == 1:
        return draws[0], np.full(draws.shape[1:], np.nan)
    with np.errstate(invalid="ignore"):
        return np.asarray(draws.mean(0)), np.asarray(draws.std(0, ddof=1) / np.sqrt(n))

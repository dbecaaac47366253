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

from dpm_ref import validation
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
from dpm_ref.protocols import Diffusion, Edge, ReverseKernel, law_over
from dpm_ref.validation import Array

__all__ = ["LowerBound", "lower_bound", "fixed_terms", "null_log_likelihood", "Preconditions", "preconditions",
           "ReverseEntropyBounds", "reverse_entropy_bounds", "to_bits",
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


class Preconditions(NamedTuple):
    """What equations (14) and (24) ask of the data, checked on them; printed, it says so in words.

    eq14_excess : equation (14) less the mean of K(x^0), nats
    upper_holds : whether the upper bound of (24) applies
    statement : what was compared for the latter
    """

    eq14_excess: float
    upper_holds: bool
    statement: str

    def __str__(self) -> str:
        holds, fails = "applies, because", "does not apply here, because it needs"
        return (f"equation (14) exceeds the mean of K by {self.eq14_excess:.6g} nats on these data\n"
                f"the upper bound of (24) {holds if self.upper_holds else fails} {self.statement}")


def lower_bound(diffusion: Diffusion, reverse: ReverseKernel, x0: npt.ArrayLike, *, rng: np.random.Generator, n_samples: int = 1,
                edge: Edge | None = None) -> LowerBound:
    """K(x^0) <= log p(x^0), estimated without bias from n_samples independent draws of x^t at every t.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    reverse : callable (xt, t) -> law
        p(x^{t-1} | x^t): called with a batch of states (m, d), whatever the shape of x0, and one int t in 2..T; returns a law
        over that shape. It is not called if T = 1.
    x0 : array_like, shape (..., d)
        Data vectors.
    rng : numpy.random.Generator
    n_samples : int >= 1
        Draws per data vector and t. The noise is independent between data vectors and between t.
    edge : callable x1 -> law, optional
        p(x^0 | x^1), a learned last step (DDPM's L_0), called with states (m, d). By default the diffusion's own, T_pi (App. B.2).

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
    For the x^t drawn, the sum is accurate to 4 eps times the sum of its terms' absolute values; among them counts, for a Gaussian
    divergence, what the rounding of the posterior's mean m_q = c0 x0 + c1 xt does to it, |m_q - m_p| / v_p (|c0 x0| + |c1 xt|).

    With the diffusion's own kernel for p, and data from the prior, nothing is lost:

    >>> from dpm_ref import GaussianDiffusion
    >>> diffusion = GaussianDiffusion([0.2, 0.3, 0.4])
    >>> rng = np.random.default_rng(0)
    >>> K = lower_bound(diffusion, diffusion.kernel, rng.standard_normal((1000, 2)), rng=rng)
    >>> print(K.kl.shape, K.value.shape)
    (2, 1000) (1000,)
    """
    x0 = diffusion.check_data("x0", x0)
    n_samples, rng = validation.count("n_samples", n_samples, 1), validation.generator(rng)
    T = diffusion.T
    kl_sums = [_Sum(x0.shape[:-1]) for _ in range(2, T + 1)]
    totals = []  # of each draw: what depends on x^1..T
    for block in _blocks(x0, n_samples):
        total = _Sum(block.shape[:-1])
        if edge is not None:
            total.add(_log_edge(diffusion, edge, block, rng))
        for t in range(2, T + 1):
            kl = _kl_term(diffusion, reverse, block, t, rng)
            kl_sums[t - 2].add(_sum_of_first(kl))
            total.add(-kl)
        totals.append(total.value())
    mean, stderr = _mean_and_stderr(np.concatenate(totals))
    kl = np.reshape([kl_sum.value() / n_samples for kl_sum in kl_sums], (T - 1, *x0.shape[:-1]))
    last, prior = diffusion.marginal(x0, T), diffusion.prior(x0.shape[-1])
    if edge is not None:
        return LowerBound(mean - last.kl(prior), stderr, kl, float("nan"))
    eq14 = (-_sum_of_first(kl) + last.entropy() - diffusion.marginal(x0, 1).entropy()).mean() - prior.entropy()
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


def preconditions(diffusion: Diffusion, x0: npt.ArrayLike) -> Preconditions:
    """Check on the data what equations (14) and (24) presuppose, and by how much (14) is off.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    x0 : array_like, shape (..., d)
        The data; the average over these vectors stands for E over q(x^0).

    Returns
    -------
    Preconditions
        (eq14_excess, upper_holds, statement): a scalar in nats, a bool and a text.

    Raises
    ------
    ValueError
        If x0 is no data of the diffusion.

    Notes
    -----
    App. B.1: (14) takes the cross-entropy of x^t to pi to be H(pi) at every t. It is H(pi) + abar_t c, with c the data's own
    excess, (E|x^0|^2 - d) / 2 or -sum_i logit(pi_i) (m_i - pi_i), so (14) exceeds K by c (abar_T + beta_1) and can exceed L.

    >>> from dpm_ref import GaussianDiffusion
    >>> print(preconditions(GaussianDiffusion([0.2, 0.3, 0.4]), [[-2.0], [2.0]]))
    equation (14) exceeds the mean of K by 0.804 nats on these data
    the upper bound of (24) does not apply here, because it needs tr Cov(x^0) = 4 <= d = 1
    """
    x0 = diffusion.check_data("x0", x0)
    prior = diffusion.prior(x0.shape[-1])
    excess = -prior.log_prob(x0).mean() - prior.entropy()
    weight = diffusion.abar(diffusion.T) + diffusion.beta[0]
    return Preconditions(float(excess * weight), *diffusion.entropy_never_falls(x0))


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
                                diffusion.entropy_never_falls(x0).holds)


def _blocks(x0: Array, n_samples: int) -> Iterator[Array]:
    """The data repeated along a new first axis, n_samples times in all, a block of bounded size at a time."""
    size = max(1, _BLOCK // x0.size)
    for start in range(0, n_samples, size):
        yield np.broadcast_to(x0, (min(size, n_samples - start), *x0.shape))


def _kl_term(diffusion: Diffusion, reverse: ReverseKernel, x0: Array, t: int, rng: np.random.Generator) -> Array:
    """KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ) at one draw of x^t for every vector of x0; the kernel sees a plain batch."""
    xt = _rows(diffusion.marginal(x0, t).sample(rng=rng))
    kl = diffusion.posterior(_rows(x0), xt, t).kl(law_over(diffusion.law, reverse(xt, t), xt, "reverse"))
    return kl.reshape(x0.shape[:-1])


def _log_edge(diffusion: Diffusion, edge: Edge, x0: Array, rng: np.random.Generator) -> Array:
    """log p(x^0|x^1) at one draw of x^1 for every vector of x0; the edge sees a plain batch."""
    x1 = _rows(diffusion.marginal(x0, 1).sample(rng=rng))
    return law_over(diffusion.law, edge(x1), x1, "edge").log_prob(_rows(x0)).reshape(x0.shape[:-1])


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


class _Sum:
    """A running sum of arrays that keeps what rounding takes from it, so that T = 10^4 terms cost no digits."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.total, self.lost = np.zeros(shape), np.zeros(shape)

    def add(self, term: Array) -> None:
        total = self.total + term
        with np.errstate(invalid="ignore"):  # nothing is lost from an infinite sum
            taken = total - self.total
            lost = (self.total - (total - taken)) + (term - taken)
        self.total, self.lost = total, self.lost + np.where(np.isfinite(total), lost, 0.0)

    def value(self) -> Array:
        return np.asarray(self.total + self.lost)


def _sum_of_first(terms: Array) -> Array:
    """The sum over the first axis, which is made the last and contiguous: NumPy then sums pairwise."""
    return np.asarray(np.ascontiguousarray(np.moveaxis(terms, 0, -1)).sum(-1))


def _mean_and_stderr(draws: Array) -> tuple[Array, Array]:
    """Over the first axis; one draw has no standard error, and infinite ones have none either."""
    n = draws.shape[0]
    mean = _sum_of_first(draws) / n
    if n == 1:
        return mean, np.full(draws.shape[1:], np.nan)
    with np.errstate(invalid="ignore"):
        return mean, np.asarray(draws.std(0, ddof=1) / np.sqrt(n))

"""The bound K on the log likelihood, and the bounds on the entropy of the reverse trajectory.

    K(x^0) = - sum_{t=2}^T E_{q(x^t|x^0)} KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) )
             - KL( q(x^T|x^0) || pi ) + E log p(x^0|x^1) <= log p(x^0)

With the paper's fixed edge p(x^0|x^1) = T_pi = q(x^1|x^0) pi(x^0) / pi(x^1) the last term is

    E log p(x^0|x^1) = log pi(x^0) + KL( q(x^1|x^0) || pi )

a form in which no large logarithms of the edge cancel. K(x^0) is a bound for each x^0, whatever the
data. The paper's equation (14),

    - sum_{t=2}^T E KL_t + H_q(X^T|X^0) - H_q(X^1|X^0) - H_p(X^T)

has H_p(X^T) in place of the cross-entropies of x^t to pi, which is right only on average,
over data with E|x^0|^2 = d or sum_i logit(pi_i) (m_i - pi_i) = 0 (App. B.1).
Sections 2.4 and 2.6, equations (13), (14) and (24), of arXiv:1503.03585.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dpm_ref import protocols, validation
from dpm_ref.information import bernoulli_entropy, bernoulli_kl, gaussian_entropy, gaussian_kl
from dpm_ref.protocols import Diffusion, Edge, Law, ReverseKernel, checked_diffusion
from dpm_ref.validation import Array, ArrayLike, Generator, IntArray

__all__ = ["LowerBound", "lower_bound", "fixed_terms", "null_log_likelihood", "Preconditions",
           "preconditions", "ReverseEntropyBounds", "reverse_entropy_bounds", "gaussian_kl",
           "gaussian_entropy", "bernoulli_kl", "bernoulli_entropy", "to_bits"]

_HELD = 2**18  # numbers held at once while samples are averaged


class LowerBound(NamedTuple):
    """The bound K; (...) is the shape of the batch of data vectors.

    value : (...), K(x^0), valid without preconditions
    stderr : (...), its standard error over the samples of x^t; nan at n_samples = 1
    kl : (T-1, ...), E KL_t for t = 2..T
    eq14 : float, equation (14) averaged over x0; nan if an edge was given. For each vector it is
        marginal(x0, T).entropy() - marginal(x0, 1).entropy() - kl.sum(0) - prior(d).entropy()
    """

    value: Array
    stderr: Array
    kl: Array
    eq14: float


class ReverseEntropyBounds(NamedTuple):
    """Equation (24) for a whole vector; upper_holds, whether its upper side is guaranteed for the
    data: it may hold where this is False.
    """

    lower: float
    upper: float
    upper_holds: bool


class Preconditions(NamedTuple):
    """By how much (14) exceeds the mean of K(x^0), and whether (24)'s upper bound is guaranteed.

    `statement` says what decides the latter; `print` gives both in words.
    """

    eq14_excess: float
    upper_holds: bool
    statement: str

    def __str__(self) -> str:
        excess, unless = f"{self.eq14_excess:.6g} nats", "not " * (not self.upper_holds)
        return (f"equation (14) exceeds the mean of K by {excess} on these data\n"
                f"the upper bound of (24) is {unless}guaranteed: {self.statement}")


def lower_bound(diffusion: Diffusion, reverse: ReverseKernel, x0: ArrayLike, *, rng: Generator,
                n_samples: int = 1, edge: Edge = None) -> LowerBound:
    """K(x^0) <= log p(x^0), estimated without bias from n_samples draws of x^t at every t.

    Equations (13) and (14). For the x^t drawn, the sum over t is accurate to 4 eps sum|terms|; in
    the Gaussian column rounding the posterior's mean m_q = c0 x0 + c1 xt adds
    eps |m_q - m_p| / v_p (|c0 x0| + |c1 xt|).

    Parameters
    ----------
    diffusion, reverse : see `dpm_ref`
        A kernel marked by `protocols.takes_times` is called with an integer array t (m,); this
        saves most of the time of a long chain and changes no draw.
    x0 : array_like, shape (..., d)
    n_samples : int
        Draws per data vector and t, all independent.
    edge : callable x1 -> law, optional
        A last step other than T_pi, such as DDPM's L_0. A law with its own log_prob is evaluated
        by that. With T_pi, x0 is refused where log pi(x^0) overflows (Gaussian: |x^0| > 1e154).

    >>> from dpm_ref import GaussianDiffusion
    >>> diffusion = GaussianDiffusion([0.2, 0.3, 0.4])
    >>> rng = np.random.default_rng(0)
    >>> K = lower_bound(diffusion, diffusion.kernel, rng.standard_normal((1000, 2)), rng=rng)
    >>> print(K.kl.shape, K.value.shape)
    (2, 1000) (1000,)
    """
    data = checked_diffusion(diffusion).check_data("x0", x0)
    n_samples, rng = validation.count("n_samples", n_samples, 1), validation.generator(rng)
    prior, T = diffusion.prior(data.shape[-1]), diffusion.T
    first, last = (diffusion.q_marginal(data, t) for t in (1, T))
    fixed = fixed_terms(diffusion, data) if edge is None else -last.kl_p(prior)
    kl, draws = np.zeros((T - 1, *data.shape[:-1])), []
    for start, stop in _ranges(0, n_samples, data.size):
        samples = np.broadcast_to(data, (stop - start, *data.shape))
        rest = np.zeros(samples.shape[:-1])
        total = rest if edge is None else _log_edge(diffusion, edge, samples, rng)
        for times in (np.arange(*ends) for ends in _ranges(2, T + 1, samples.size)):
            terms = _kl_terms(diffusion, reverse, samples, times, rng)
            kl[times - 2] += _sum_over(1, terms)
            total, rest = _compensated_sum(np.concatenate([total[None], -terms]), rest)
        draws.append(total + rest)
    mean, stderr = _mean_and_stderr(np.concatenate(draws))
    kl /= n_samples
    with np.errstate(over="ignore"):  # an average below -1e308 is -inf
        eq14 = (last.entropy() - first.entropy() - _sum_over(0, kl)).mean() - prior.entropy()
    return LowerBound(fixed + mean, stderr, kl, float(eq14) if edge is None else float("nan"))


def fixed_terms(diffusion: Diffusion, x0: ArrayLike) -> Array:
    """The part of K(x^0), x0 (..., d), that does not depend on the reverse kernel: shape (...).

    log pi(x^0) + KL( q(x^1|x^0) || pi ) - KL( q(x^T|x^0) || pi ), with the fixed edge; K(x^0) is
    this minus sum_{t=2}^T E KL_t.

    >>> from dpm_ref import GaussianDiffusion
    >>> print("%.6f" % fixed_terms(GaussianDiffusion([0.1, 0.2]), [0.0, 1.0]))
    -1.398258
    """
    data = checked_diffusion(diffusion).check_data("x0", x0)
    prior = diffusion.prior(data.shape[-1])
    log_pi = validation.finite("log pi(x0)", prior.log_p(data))
    first, last = (diffusion.q_marginal(data, t).kl_p(prior) for t in (1, diffusion.T))
    return log_pi + first - last


def null_log_likelihood(diffusion: Diffusion, x0: ArrayLike) -> Array:
    """Log likelihood of the prior, log pi(x^0), x0 (..., d): shape (...). The L_null of Table 1.

    Accurate to 8 eps sum|terms|.

    >>> from dpm_ref import GaussianDiffusion
    >>> print("%.6f" % null_log_likelihood(GaussianDiffusion([0.1]), [0.0, 1.0]))
    -2.337877
    """
    data = checked_diffusion(diffusion).check_data("x0", x0)
    return diffusion.prior(data.shape[-1]).log_p(data)


def preconditions(diffusion: Diffusion, x0: ArrayLike) -> Preconditions:
    """Check the preconditions of (14) and (24) on data x0 (..., d), and by how much (14) is off.

    App. B.1: (14) takes the cross-entropy of x^t to pi to be H(pi) at every t. Averaged over the
    data it is H(pi) + abar_t c, where c = (E|x^0|^2 - d) / 2 (Gaussian), or
    -sum_i logit(pi_i) (m_i - pi_i) with m their mean (binomial). So (14) exceeds K by
    c (abar_T + beta_1), and can exceed L.

    >>> from dpm_ref import GaussianDiffusion
    >>> print(preconditions(GaussianDiffusion([0.2, 0.3, 0.4]), [[-2.0], [2.0]]))
    equation (14) exceeds the mean of K by 0.804 nats on these data
    the upper bound of (24) is not guaranteed: tr Cov(x^0) = 4 > d = 1
    """
    data = checked_diffusion(diffusion).check_data("x0", x0)
    prior = diffusion.prior(data.shape[-1])
    with np.errstate(over="ignore"):  # an excess beyond 1e308 is inf
        excess = -prior.log_p(data).mean() - prior.entropy()
    weight = diffusion.abar(diffusion.T) + diffusion.beta[0]
    return Preconditions(float(excess * weight), *diffusion.entropy_never_falls(data))


def reverse_entropy_bounds(diffusion: Diffusion, x0: ArrayLike, t: int) -> ReverseEntropyBounds:
    """Bounds on H_q(X^{t-1} | X^t), the entropy of one true reverse step, equation (24).

    lower = H_q(X^t|X^{t-1}) + H_q(X^{t-1}|X^0) - H_q(X^t|X^0) = H_q(X^{t-1}|X^t,X^0)
    upper = H_q(X^t|X^{t-1})

    The lower side always holds; it is computed in the form on the right, where nothing cancels, and
    is 0 (binomial) or -inf (Gaussian) at t = 1. The upper side holds if and only if
    H_q(X^t) >= H_q(X^{t-1}); `upper_holds` is True where this is guaranteed by tr Cov(X^0) <= d
    (Gaussian) or sum_i logit(pi_i) (m_i - pi_i) >= 0 (binomial). The average over x0 (..., d)
    stands for E over q(x^0); t is an int in 1..T.

    >>> from dpm_ref import BinomialDiffusion
    >>> bound = reverse_entropy_bounds(BinomialDiffusion([0.1], prior=0.2), [[0], [1]], 1)
    >>> print("%.6f %.6f %s" % bound)
    0.000000 0.188404 False
    """
    lower = checked_diffusion(diffusion).posterior_entropy(x0, t)
    upper, guaranteed = diffusion.kernel_entropy(x0, t), diffusion.entropy_never_falls(x0)[0]
    return ReverseEntropyBounds(float(lower.mean()), float(upper.mean()), guaranteed)


def to_bits(nats: ArrayLike) -> Array:
    """Convert nats to bits, nats / ln 2, to 2 ulp.

    >>> print(f"{to_bits(1.0):.6f}")
    1.442695
    """
    return np.asarray(validation.real("nats", nats) / np.log(2.0))


def _ranges(first: int, end: int, size: int) -> list[tuple[int, int]]:
    """Split first..end-1 into ranges (start, stop) of at most _HELD numbers, `size` per element."""
    step = max(1, _HELD // size)
    return [(start, min(start + step, end)) for start in range(first, end, step)]


def _kl_terms(diffusion: Diffusion, reverse: ReverseKernel, x0: Array, times: IntArray,
              rng: Generator) -> Array:
    """KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ) at one draw of x^t for every t and vector of x0.

    Noise is drawn for one t after the other, however many are evaluated at once.
    """
    rows, t = _rows(x0), times[:, None]
    marginal = diffusion.q_marginal(rows, t)
    xt = marginal.at(np.array([_rows(marginal.noise(x0.shape, rng=rng)) for _ in times]))
    law = _laws_at(diffusion.law, reverse, xt, times)
    return diffusion.q_posterior(rows, xt, t).kl_p(law).reshape(len(times), *x0.shape[:-1])


def _laws_at(family: type[Law], reverse: ReverseKernel, xt: Array, times: IntArray) -> Law:
    """p(x^{t-1}|x^t) at states (k, m, d) and k times, in one call if the kernel takes times."""
    asked: list[Any] = [(_rows(xt), times.repeat(xt.shape[1]))]
    if not getattr(reverse, "takes_times", False):
        asked = list(zip(xt, times.tolist(), strict=True))
    laws = [protocols.ask_law(family, reverse, "reverse", *each) for each in asked]
    parameters = (np.stack([law.view(i) for law in laws]) for i in (0, 1))
    return family.unchecked(*(each.reshape(xt.shape) for each in parameters)).dense()


def _log_edge(diffusion: Diffusion, edge: Edge, x0: Array, rng: Generator) -> Array:
    """log p(x^0|x^1) at one draw of x^1 for every vector of x0."""
    x1 = _rows(diffusion.q_marginal(x0, 1).sample(rng=rng))
    log_p = protocols.ask_density(diffusion.law, edge, "edge", x1).dense().log_p(_rows(x0))
    return np.asarray(log_p.reshape(x0.shape[:-1]))


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _compensated_sum(terms: Array, rest: Array) -> tuple[Array, Array]:
    """The pairwise sum of terms (k, ...), and `rest` plus its rounding errors."""
    with np.errstate(invalid="ignore", over="ignore"):
        while len(terms) > 1:
            half = len(terms) // 2
            a, b = terms[:half], terms[half:2 * half]
            total = a + b
            taken = total - a
            rounding = (a - (total - taken)) + (b - taken)
            rest = rest + np.where(np.isfinite(total), rounding, 0.0).sum(0)
            terms = np.concatenate([total, terms[2 * half:]])
    return terms[0], rest


def _sum_over(axis: int, terms: Array) -> Array:
    with np.errstate(over="ignore"):
        return protocols.total(np.moveaxis(terms, axis, -1))


def _mean_and_stderr(draws: Array) -> tuple[Array, Array]:
    """Over the first axis; stderr is nan for one draw, or where a draw is infinite."""
    n, mean = len(draws), _sum_over(0, draws) / len(draws)
    with np.errstate(invalid="ignore", over="ignore"):
        variance = _sum_over(0, (draws - mean) ** 2) / np.float64(n - 1)
    return mean, np.sqrt(variance / n)

"""The binomial column of Table App.1: the law B(prob1) of independent bits, and the diffusion that ends in B(pi_1).

    kernel     q(x^t = 1 | x^{t-1}) = x^{t-1} (1 - beta_t) + pi_1 beta_t
    marginal   q(x^t = 1 | x^0) = x^0 abar_t + pi_1 (1 - abar_t)
    posterior  q(x^{t-1} | x^t, x^0) = q(x^t | x^{t-1}) q(x^{t-1} | x^0) / q(x^t | x^0), bit by bit, t >= 2
    edge       p(x^0 = 1 | x^1) = x^1 (1 - beta_1) + pi_1 beta_1, App. B.2

Both members of every pair, P(x = 1) and P(x = 0), come from products and sums of positive terms, neither from the other by
subtraction, so a law is accurate at both ends. Beside each quantity of the law stands its derivative.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.1, App. B and Table App.1.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.information import (
    BernoulliKLGrad,
    bernoulli_entropy,
    bernoulli_entropy_grad,
    bernoulli_kl,
    bernoulli_kl_grad,
    probability_pair,
)
from dpm_ref.protocols import Condition
from dpm_ref.schedules import Schedule
from dpm_ref.validation import Array, IntArray

__all__ = ["Bernoulli", "BinomialDiffusion", "BernoulliLogProbGrad"]

_SCALE = 2.0**500  # lifts products of probabilities down to 1e-300 above underflow; it cancels in the ratio


class BernoulliLogProbGrad(NamedTuple):
    """Derivative of the log probability by P(x = 1), elementwise; x is discrete and has none."""

    prob1: Array


class Bernoulli:
    """B(prob1): independent bits, vectors on the last axis.

    Parameters
    ----------
    prob1 : array_like, shape (..., d)
        P(x = 1), dimensionless.
    prob0 : array_like, shape (..., d), optional
        P(x = 0), to be given where 1 - prob1 would lose digits. The smaller member of a pair is taken as exact, the larger
        as its complement.

    Attributes
    ----------
    prob1, prob0 : ndarray, shape (..., d), read-only

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1], a pair does not sum to 1, or there is no component axis.

    Notes
    -----
    Table App.1, binomial column.

    >>> law = Bernoulli([0.5, 0.25])
    >>> print("%.6f %.6f" % (law.log_prob([1, 0]), law.entropy()))
    -0.980829 1.255482
    """

    def __init__(self, prob1: npt.ArrayLike, prob0: npt.ArrayLike | None = None) -> None:
        self.prob1, self.prob0 = map(_read_only, probability_pair(prob1, prob0))
        validation.vectors("prob1", self.prob1)

    @classmethod
    def unchecked(cls, prob1: Array, prob0: Array) -> "Bernoulli":
        """The law of pairs (..., d) in float64 that are known to be valid and belong to nobody else."""
        law = object.__new__(cls)
        law.prob1, law.prob0 = prob1, prob0
        return law

    @classmethod
    def like(cls, other: Any) -> "Bernoulli":
        """The law with another object's `prob1` and, if it has one, `prob0`, (..., d) each; ValueError if it has no prob1.

        Dimensionless. Table App.1.
        """
        if isinstance(other, cls):
            return other
        try:
            return cls(other.prob1, getattr(other, "prob0", None))
        except AttributeError as error:
            raise ValueError(f"a Bernoulli law must have prob1, got {type(other).__name__}") from error

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., d), the shape of prob1; dimensionless. Table App.1."""
        return self.prob1.shape

    @staticmethod
    def noise(shape: tuple[int, ...], *, rng: np.random.Generator) -> Array:
        """Uniform numbers in [0, 1) of the given shape, the noise that `at` takes; dimensionless. Section 2.1."""
        return validation.generator(rng).random(shape)

    def at(self, noise: npt.ArrayLike) -> Array:
        """The sample that uniform noise stands for: 1 where noise < prob1, else 0; shape (..., d), bits. Section 2.1."""
        array = validation.components("noise", validation.probability("noise", noise), self.shape[-1])
        noise, prob1 = validation.broadcast(noise=array, prob1=self.prob1)
        return np.asarray(noise < prob1, dtype=np.float64)

    def sample(self, *, rng: np.random.Generator) -> Array:
        """One sample of each law, 0. or 1., shape (..., d), bits; ValueError unless rng is a Generator. Section 2.1."""
        return self.at(self.noise(self.shape, rng=rng))

    def log_prob(self, x: npt.ArrayLike) -> Array:
        """log P(x) at x (..., d) of 0 and 1, summed over components: shape (...), nats; -inf where it cannot be.

        ValueError for x not binary or not of d components. Accurate to 8 eps times the sum of the terms' absolute values. Table App.1.
        """
        return self.log_p(self._over("x", x))

    def log_p(self, x: Array) -> Array:
        """`log_prob` of states known to be valid."""
        return np.asarray(_log_member(np.where(x == 1, self.prob1, self.prob0), np.where(x == 1, self.prob0, self.prob1)).sum(-1))

    def log_prob_grad(self, x: npt.ArrayLike) -> BernoulliLogProbGrad:
        """Derivative of `log_prob` by prob1, elementwise, shape (..., d), nats.

        log P = x log prob1 + (1 - x) log(1 - prob1)
            d/d prob1 = x / prob1 - (1 - x) / prob0      its mean over x vanishes
        Table App.1; ValueError as `log_prob`.
        """
        x = self._over("x", x)
        with np.errstate(divide="ignore", over="ignore"):
            return BernoulliLogProbGrad(np.where(x == 1, 1.0 / self.prob1, -1.0 / self.prob0))

    def entropy(self) -> Array:
        """Entropy, summed over components: shape (...), nats. Equations (14) and (24)."""
        return np.asarray(bernoulli_entropy(self.prob1, self.prob0).sum(-1))

    def entropy_grad(self) -> Array:
        """Derivative of the entropy by each prob1, log(prob0 / prob1): shape (..., d), nats. Equation (24)."""
        return bernoulli_entropy_grad(self.prob1, self.prob0)

    def kl(self, other: Any) -> Array:
        """KL(self || other), summed over components: shape (...), nats; ValueError if other is no Bernoulli of d components.

        Accurate to 8 ulp, >= 0; inf where other excludes what self allows. Equation (14).
        """
        law = self._other(other)
        return np.asarray(bernoulli_kl(self.prob1, law.prob1, self.prob0, law.prob0).sum(-1))

    def kl_grad(self, other: Any) -> BernoulliKLGrad:
        """Derivatives of `kl` by prob1 of self (q1) and of other (p1): (..., d) each, nats. Equation (14)."""
        law = self._other(other)
        return bernoulli_kl_grad(self.prob1, law.prob1, self.prob0, law.prob0)

    def _other(self, other: Any) -> "Bernoulli":
        law = Bernoulli.like(other)
        validation.components("other", law.prob1, self.shape[-1])
        return law

    def _over(self, name: str, x: npt.ArrayLike) -> Array:
        array = validation.components(name, validation.binary(name, x), self.shape[-1])
        return validation.broadcast(**{name: array, "prob1": self.prob1})[0]


class BinomialDiffusion(Schedule):
    """The forward trajectory that turns bits into B(pi_1), and the posterior that turns them back given x^0.

    Parameters
    ----------
    beta : array_like, shape (T,), in (0, 1], dimensionless
        beta[0] is beta_1.
    prior : float or array_like of shape (d,), strictly between 0 and 1, dimensionless
        pi_1 = P(x_i^T = 1).

    Attributes
    ----------
    pi1, pi0 : ndarray, shape () or (d,), read-only
        pi_1 and 1 - pi_1.

    Raises
    ------
    ValueError
        If beta leaves (0, 1], or prior (0, 1): at 0 or 1 the kernel could not be reversed.

    Notes
    -----
    Table App.1, binomial column. Both members of every pair are accurate to 8 ulp. The tables of `Schedule` are methods here too.

    >>> diffusion = BinomialDiffusion([0.1, 0.2, 0.5], prior=0.5)
    >>> print("%.6f" % diffusion.marginal([1], 3).prob1[0])
    0.680000
    """

    law = Bernoulli

    def __init__(self, beta: npt.ArrayLike, prior: npt.ArrayLike = 0.5) -> None:
        super().__init__(beta)
        pi1 = validation.probability("prior", prior)
        if pi1.ndim > 1 or pi1.size == 0 or (pi1 == 0).any() or (pi1 == 1).any():
            raise ValueError(f"prior must be a number or a vector (d,) strictly between 0 and 1, got {prior!r}")
        self.pi1, self.pi0 = _read_only(pi1.copy()), _read_only(np.asarray(1.0 - pi1))

    def check_data(self, name: str, x: npt.ArrayLike) -> Array:
        """Data vectors (..., d) of 0 and 1, at least one, of as many bits as the prior has; ValueError otherwise. Section 2.1."""
        array = validation.data(name, validation.binary(name, x))
        return validation.components(name, array, self.pi1.size) if self.pi1.ndim else array

    def prior(self, d: int) -> Bernoulli:
        """pi(x^T) = B(pi_1) for vectors of d bits, shape (d,), dimensionless; ValueError if the prior has another length. Section 2.1."""
        d = validation.count("d", d, 1)
        if self.pi1.ndim and self.pi1.size != d:
            raise ValueError(f"d must be the prior's length {self.pi1.size}, got {d}")
        return Bernoulli(np.broadcast_to(self.pi1, (d,)), np.broadcast_to(self.pi0, (d,)))

    def kernel(self, x_prev: npt.ArrayLike, t: npt.ArrayLike) -> Bernoulli:
        """q(x^t | x^{t-1}), t in 1..T: a law over x_prev's shape (..., d), dimensionless; ValueError as for data. Table App.1."""
        x_prev = self.check_data("x_prev", x_prev)
        return self.q_kernel(x_prev, validation.times_over(t, 1, self.T, x_prev))

    def q_kernel(self, x_prev: Array, t: IntArray | int) -> Bernoulli:
        """`kernel` of states and times known to be valid."""
        rate = self.beta[np.asarray(t) - 1][..., None]
        return Bernoulli(*self._mix(x_prev, 1.0 - rate, rate))

    def marginal(self, x0: npt.ArrayLike, t: npt.ArrayLike) -> Bernoulli:
        """q(x^t | x^0), t in 1..T: a law over x0's shape (..., d), dimensionless; ValueError as for data. Table App.1."""
        x0 = self.check_data("x0", x0)
        return self.q_marginal(x0, validation.times_over(t, 1, self.T, x0))

    def q_marginal(self, x0: Array, t: IntArray | int) -> Bernoulli:
        """`marginal` of data and times known to be valid."""
        return Bernoulli(*self._mix(x0, self.abar(t)[..., None], self.one_minus_abar(t)[..., None]))

    def posterior(self, x0: npt.ArrayLike, xt: npt.ArrayLike, t: npt.ArrayLike) -> Bernoulli:
        """q(x^{t-1} | x^t, x^0), t in 2..T: a law over the broadcast shape (..., d), dimensionless.

        ValueError at t = 1, where it is a point mass at x^0. Bayes' rule, Table App.1.
        """
        x0, xt = self.check_data("x0", x0), self.check_data("xt", xt)
        x0, xt = validation.broadcast(x0=x0, xt=validation.components("xt", xt, x0.shape[-1]))
        return self.q_posterior(x0, xt, validation.times_over(t, 2, self.T, x0))

    def edge(self, x1: npt.ArrayLike) -> Bernoulli:
        """p(x^0 | x^1) = T_pi(x^0 | x^1; beta_1): a law over x1's shape (..., d), dimensionless; ValueError as for data. App. B.2."""
        return self.kernel(self.check_data("x1", x1), 1)

    def kernel_entropy(self, x0: npt.ArrayLike, t: int) -> Array:
        """H_q(X^t | X^{t-1}) given x^0 (..., d), t in 1..T: shape (...), nats; the sum over both states of every bit. Equation (24)."""
        x0 = self.check_data("x0", x0)
        rate = self.beta[validation.one_time("t", t, 1, self.T) - 1]
        before = (x0, 1.0 - x0) if t == 1 else self._mix(x0, self.abar(t - 1), self.one_minus_abar(t - 1))
        after = [bernoulli_entropy(*self._mix(np.asarray(bit), 1.0 - rate, rate)) for bit in (1.0, 0.0)]
        return np.asarray((before[0] * after[0] + before[1] * after[1]).sum(-1))

    def posterior_entropy(self, x0: npt.ArrayLike, t: int) -> Array:
        """H_q(X^{t-1} | X^t, x^0) for x^0 (..., d), t in 1..T: shape (...), nats; 0 at t = 1. Equation (24).

        The sum over both states of every bit of q(x^t | x^0) H(posterior), in which nothing cancels.
        """
        x0 = self.check_data("x0", x0)
        if validation.one_time("t", t, 1, self.T) == 1:
            return np.zeros(x0.shape[:-1])
        marginal = self.marginal(x0, t)
        given = [self.q_posterior(x0, np.full_like(x0, bit), np.asarray(t)) for bit in (1.0, 0.0)]
        entropies = [bernoulli_entropy(law.prob1, law.prob0) for law in given]
        return np.asarray((marginal.prob1 * entropies[0] + marginal.prob0 * entropies[1]).sum(-1))

    def entropy_never_falls(self, x0: npt.ArrayLike) -> Condition:
        """Whether sum_i logit(pi_i) (m_i - pi_i) >= 0, m the mean of data (..., d): then H_q(X^t) >= H_q(X^{t-1}) at every t.

        Equality within rounding counts; always true for pi = 1/2. Nats; ValueError as for data. Equation (24), appendix of the
        upper bound, whose "without qualification" is too strong: one bit with pi = 0.2, m = 0.5 breaks it.
        """
        x0 = self.check_data("x0", x0)
        logit = np.broadcast_to(np.log(self.pi1 / self.pi0), x0.shape[-1:])
        pull = float((logit * (x0.reshape(-1, x0.shape[-1]).mean(axis=0) - self.pi1)).sum())
        rounding = 8 * np.finfo(np.float64).eps * float(np.abs(logit).sum())
        return Condition(bool(pull >= -rounding), f"sum_i logit(pi_i) (m_i - pi_i) = {pull:.6g} >= 0")

    def _mix(self, x: Array, kept: Array, erased: Array) -> tuple[Array, Array]:
        """The pair of the law that keeps x with probability `kept` and else draws from pi; kept + erased = 1."""
        return x * kept + self.pi1 * erased, (1.0 - x) * kept + self.pi0 * erased

    def q_posterior(self, x0: Array, xt: Array, t: IntArray | int) -> Bernoulli:
        """Bayes' rule on q(x^t | x^{t-1}) for x^{t-1} = 1, 0 and the pair q(x^{t-1} | x^0)."""
        t = np.asarray(t)
        rate = self.beta[t - 1][..., None]
        before1, before0 = self._mix(x0, _SCALE * self.abar(t - 1)[..., None], _SCALE * self.one_minus_abar(t - 1)[..., None])
        pi_xt = _SCALE * np.where(xt == 1, self.pi1, self.pi0)
        joint1 = (_SCALE * xt * (1.0 - rate) + pi_xt * rate) * before1
        joint0 = (_SCALE * (1.0 - xt) * (1.0 - rate) + pi_xt * rate) * before0
        return Bernoulli(joint1 / (joint1 + joint0), joint0 / (joint1 + joint0))


def _log_member(member: Array, other: Array) -> Array:
    """log of one member of a pair, from whichever of the two is smaller."""
    with np.errstate(divide="ignore"):
        return np.where(member <= other, np.log(member), np.log1p(-other))


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view

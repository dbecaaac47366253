"""The binomial column of Table App.1: independent bits B(prob1), and a diffusion to B(pi_1).

    kernel     q(x^t = 1 | x^{t-1}) = x^{t-1} (1 - beta_t) + pi_1 beta_t
    marginal   q(x^t = 1 | x^0) = x^0 abar_t + pi_1 (1 - abar_t)
    posterior  q(x^{t-1} | x^t, x^0) = q(x^t | x^{t-1}) q(x^{t-1} | x^0) / q(x^t | x^0), t >= 2
    edge       p(x^0 = 1 | x^1) = x^1 (1 - beta_1) + pi_1 beta_1, App. B.2

P(x = 1) and P(x = 0) are both computed from products and sums of positive terms, never one from
the other by subtraction, so laws are accurate at both ends. Section 2.1 and App. B of
arXiv:1503.03585.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dpm_ref import validation
from dpm_ref.information import _bernoulli_entropy, _bernoulli_kl, _pair, logit, probability_pair
from dpm_ref.protocols import Diffusion, Law, total
from dpm_ref.validation import Array, ArrayLike, Generator

__all__ = ["Bernoulli", "BinomialDiffusion"]

_FAR = 2**20  # an exponent of 2 beyond any product's


class Bernoulli(Law):
    """B(prob1): independent bits.

    Parameters
    ----------
    prob1, prob0 : array_like, shapes that broadcast to (..., d)
        P(x = 1) and P(x = 0), kept as read-only attributes. Give prob0 where 1 - prob1 would lose
        digits: the smaller member of a pair is taken as exact, the larger as its complement.

    >>> law = Bernoulli([0.5, 0.25])
    >>> print("%.6f %.6f" % (law.log_prob([1, 0]), law.entropy()))
    -0.980829 1.255482
    """

    __slots__ = ()
    names = ("prob1", "prob0")
    needed = ("prob1",)
    point_entropy = 0.0
    check = staticmethod(validation.binary)

    def __init__(self, prob1: ArrayLike, prob0: ArrayLike | None = None) -> None:
        pair = probability_pair(prob1, prob0)
        validation.vectors("prob1", pair[0])
        self._parameters = validation.own(pair[0]), validation.own(pair[1])

    prob1 = property(lambda law: law.view(0), doc="P(x = 1), (..., d).")
    prob0 = property(lambda law: law.view(1), doc="P(x = 0), (..., d).")

    @staticmethod
    def noise(shape: tuple[int, ...], *, rng: Generator, dtype: Any = np.float64) -> Any:
        """Noise for `at`: uniform numbers in [0, 1), in float32 or float64."""
        return rng.random(shape, dtype=dtype)

    def at(self, noise: Array) -> Array:
        """The sample at uniform noise: 1 where noise < prob1, else 0."""
        return np.asarray(noise < self._parameters[0], dtype=np.float64)

    def log_p(self, x: Array) -> Array:
        """`log_prob` without validation."""
        prob1, prob0 = self._parameters
        one = x == 1
        member, other = np.where(one, prob1, prob0), np.where(one, prob0, prob1)
        with np.errstate(divide="ignore"):  # the logarithm is taken of the smaller of the two
            return total(np.where(member <= other, np.log(member), np.log1p(-other)))

    def entropy(self) -> Array:
        """Entropy, shape (...)."""
        return total(_bernoulli_entropy(*self._parameters))

    def average_entropy(self, given: Callable[[Array], Bernoulli]) -> Array:
        """E H(given(x)) over x of this law, where each bit depends only on the same bit of x."""
        laws = [given(np.full(self.shape, bit)) for bit in (1.0, 0.0)]
        of_one, of_zero = (_bernoulli_entropy(*law._parameters) for law in laws)
        return total(self.prob1 * of_one + self.prob0 * of_zero)

    def kl_p(self, other: Bernoulli) -> Array:
        """`kl` to a Bernoulli law."""
        return total(_bernoulli_kl(*self._parameters, *other._parameters))


class BinomialDiffusion(Diffusion):
    """The forward trajectory that turns bits into B(pi_1), and its posterior given x^0.

    It has the tables of `Schedule` and the laws of `protocols.Diffusion` as methods. Both members
    of every pair are accurate to 8 ulp.

    Parameters
    ----------
    beta : array_like, shape (T,), in (0, 1]
    prior : float or array_like of shape (d,), strictly between 0 and 1
        pi_1 = P(x_i^T = 1), kept as `pi1`, and 1 - pi_1 as `pi0`. At 0 or 1 the kernel could not be
        reversed.

    >>> diffusion = BinomialDiffusion([0.1, 0.2, 0.5], prior=0.5)
    >>> print("%.6f" % diffusion.marginal([1], 3).prob1[0])
    0.680000
    """

    law = Bernoulli

    def __init__(self, beta: ArrayLike, prior: ArrayLike = 0.5) -> None:
        super().__init__(beta)
        pi1, rule = validation.real("prior", prior), "be a number or a vector (d,)"
        validation.shaped("prior", pi1, rule, pi1.ndim < 2 and pi1.size > 0)
        validation.ruled("prior", pi1, "lie strictly between 0 and 1", lambda x: (x > 0) & (x < 1))
        self.pi1, self.pi0 = validation.own(pi1), validation.own(1.0 - pi1)

    def check_data(self, name: str, x: ArrayLike) -> Array:
        """A copy of bit vectors (..., d), at least one, of the prior's d if it has one."""
        array = super().check_data(name, x)
        return validation.components(name, array, self.pi1.size) if self.pi1.ndim else array

    def prior(self, d: int) -> Bernoulli:
        """pi(x^T) = B(pi_1), shape (d,); d must be the prior's length, if it has one."""
        d, rule = validation.count("d", d, 1), f"be the prior's length {self.pi1.size}"
        validation.checked("d", d, rule, self.pi1.shape in ((), (d,)))
        return Bernoulli.unchecked(*(np.broadcast_to(pi, (d,)) for pi in (self.pi1, self.pi0)))

    def q_kernel(self, x_prev: Array, t: Any) -> Bernoulli:
        """q(x^t | x^{t-1}), t in 1..T."""
        rate = self.beta[np.asarray(t) - 1][..., None]
        return Bernoulli.unchecked(*self._mixture(x_prev, 1.0 - rate, rate))

    def q_marginal(self, x0: Array, t: Any) -> Bernoulli:
        """q(x^t | x^0), t in 1..T."""
        kept, erased = self.table("abar", t), self.table("one_minus_abar", t)
        return Bernoulli.unchecked(*self._mixture(x0, kept[..., None], erased[..., None]))

    def q_posterior(self, x0: Array, xt: Array, t: Any) -> Bernoulli:
        """q(x^{t-1} | x^t, x^0), t in 2..T."""
        pairs = [self._bayes(bit0, bit, t) for bit0 in (0, 1) for bit in (0, 1)]
        which = (2 * x0 + xt).astype(int)
        return Bernoulli.unchecked(*(np.choose(which, each) for each in zip(*pairs, strict=True)))

    def entropy_never_falls(self, x0: ArrayLike) -> tuple[bool, str]:
        """Whether sum_i logit(pi_i) (m_i - pi_i) >= 0 within rounding, m the data's mean activity.

        Then H_q(X^t) >= H_q(X^{t-1}), the condition of (24)'s upper bound; always so at pi = 1/2.
        The paper claims no condition is needed; one bit with pi = 0.2, m = 0.5 breaks the bound.
        """
        x0 = self.check_data("x0", x0)
        weight = np.broadcast_to(logit(self.pi1, self.pi0), x0.shape[-1:])
        pull = float(total(weight * (x0.reshape(-1, x0.shape[-1]).mean(0) - self.pi1)))
        if abs(pull) <= 8 * np.finfo(np.float64).eps * float(total(np.abs(weight))):
            pull = 0.0
        sign = ">=" if pull >= 0 else "<"
        return (pull >= 0, f"sum_i logit(pi_i) (m_i - pi_i) = {pull:.6g} {sign} 0")

    def _key(self) -> tuple[Any, ...]:
        return (*super()._key(), self.pi1.shape, self.pi1.tobytes())

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, prior={validation.brief(self.pi1)})"

    def _mixture(self, x: Any, kept: Array, erased: Array) -> tuple[Array, Array]:
        """The pair for an x that is kept with probability `kept` and otherwise drawn from pi."""
        one, drawn1, drawn0 = np.asarray(x) == 1, self.pi1 * erased, self.pi0 * erased
        of_one, of_zero = _pair(kept + drawn1, drawn0), _pair(drawn1, kept + drawn0)
        return np.where(one, of_one[0], of_zero[0]), np.where(one, of_one[1], of_zero[1])

    def _bayes(self, x0: int, xt: int, t: Any) -> tuple[Array, Array]:
        """The posterior's pair for one value of each bit.

        The joint probabilities of x^t and x^{t-1} = 1, 0 are products of factors down to 1e-300, so
        mantissas and exponents are kept apart: only the ratio has to be a float.
        """
        rate, pi = self.beta[np.asarray(t) - 1][..., None], (self.pi0, self.pi1)[xt]
        kept = self.table("abar", t - 1)[..., None]
        erased = self.table("one_minus_abar", t - 1)[..., None]
        joints = []
        for bit, drawn in ((1, self.pi1), (0, self.pi0)):
            before = (kept + drawn * erased, 1.0) if bit == x0 else (drawn, erased)
            step = (1.0 - rate + pi * rate, 1.0) if bit == xt else (pi, rate)
            joints.append(product(*before, *step))
        return shares(*joints)[0]


def product(*factors: Any) -> tuple[Array, Array]:
    """A product of numbers >= 0 as mantissa and exponent of 2; that of 0 is below all others."""
    mantissas, exponents = zip(*map(np.frexp, factors), strict=True)
    mantissa = math.prod(mantissas)
    return mantissa, np.where(mantissa > 0, sum(exponents), -_FAR)


def shares(joint1: tuple[Array, Array], joint0: tuple[Array, Array]
            ) -> tuple[tuple[Array, Array], Array, Array]:
    """The pair proportional to two products, and their sum as mantissa and exponent of 2."""
    (one, exponent1), (zero, exponent0) = joint1, joint0
    top = np.maximum(exponent1, exponent0)
    one, zero = np.ldexp(one, exponent1 - top), np.ldexp(zero, exponent0 - top)
    return _pair(one / (one + zero), zero / (one + zero)), one + zero, top

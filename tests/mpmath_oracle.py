"""The truths that the tests hold the package against, and that the vectors are made of: slow,
obvious, in mpmath, and without a line of the package.

Every function takes floats (or mpf) and returns an mpf of which at least 50 digits are right: the
working precision is 120 digits, so that the textbook formulas below may cancel as they like (the
vectors choose their own). A float is taken for exactly the number that it is. A Bernoulli law is
given as a pair (prob1, prob0): its smaller member is exact and the larger its complement; where
prob0 is None, prob1 is exact.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2, Table App.1 and App. B.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from mpmath import MPContext

mp = MPContext()
mp.dps = 120


def exact(x: Any) -> Any:
    """The number that a float is; lists of them become lists."""
    if isinstance(x, list):
        return [exact(each) for each in x]
    return x if isinstance(x, mp.mpf) else mp.mpf(float(x))


# How far a float is from the truth


def ulp(truth: Any) -> Any:
    """The unit in the last place of float64 at a real number: 2^(e - 53) for 2^(e-1) <= |truth| <
    2^e.
    """
    if truth == 0:
        return mp.ldexp(1, -1074)
    return mp.ldexp(1, max(int(mp.frexp(truth)[1]) - 53, -1074))


def ulp_error(got: Any, truth: Any) -> float:
    """|got - truth| in ulps of the truth; infinities and exact zeros must be met exactly."""
    got, truth = float(got), exact(truth)
    if np.isnan(got):
        return float("inf")
    beyond = abs(truth) > mp.mpf(2) ** 1024
    if beyond or np.isinf(got):
        return 0.0 if beyond and mp.mpf(got) == mp.sign(truth) * mp.inf else float("inf")
    if truth == 0:
        return 0.0 if got == 0 else float("inf")
    return float(abs(mp.mpf(got) - truth) / ulp(truth))


def worst_ulp(got: Iterable[Any], truth: Iterable[Any]) -> float:
    """The largest `ulp_error` over pairs."""
    return max(ulp_error(g, t) for g, t in zip(np.ravel(np.asarray(got)), truth, strict=True))


def eps_error(got: Any, truth: Any, scale: Any) -> float:
    """|got - truth| in units of eps * scale, eps = 2^-52."""
    gap = abs(mp.mpf(float(got)) - truth)
    if not mp.isfinite(gap):
        return 0.0 if mp.isinf(truth) and float(got) == float(truth) else float("inf")
    return 0.0 if gap == 0 else float(gap / (scale * mp.ldexp(1, -52))) if scale else float("inf")


def to_bits(nats: Any) -> Any:
    """Nats / ln 2."""
    return exact(nats) / mp.log(2)


# Schedules (Table App.1)


class Tables:
    """abar_0..T as a plain running product, and each quantity as its own formula."""

    def __init__(self, beta: Iterable[float]) -> None:
        self.beta = [None, *map(exact, beta)]  # beta[t] is beta_t
        self.T = len(self.beta) - 1
        self.product = [mp.mpf(1)]
        for rate in self.beta[1:]:
            self.product.append(self.product[-1] * (1 - rate))

    def abar(self, t: int) -> Any:
        return self.product[t]

    def one_minus_abar(self, t: int) -> Any:
        return 1 - self.product[t]

    def sqrt_abar(self, t: int) -> Any:
        return mp.sqrt(self.product[t])

    def sqrt_one_minus_abar(self, t: int) -> Any:
        return mp.sqrt(1 - self.product[t])

    def log_abar(self, t: int) -> Any:
        return mp.log(self.product[t]) if self.product[t] else -mp.inf

    def log_one_minus_abar(self, t: int) -> Any:
        return mp.log1p(-self.product[t])

    def posterior_var(self, t: int) -> Any:
        return self.beta[t] * (1 - self.product[t - 1]) / (1 - self.product[t])

    def coefficient_x0(self, t: int) -> Any:
        return mp.sqrt(self.product[t - 1]) * self.beta[t] / (1 - self.product[t])

    def coefficient_xt(self, t: int) -> Any:
        return mp.sqrt(1 - self.beta[t]) * (1 - self.product[t - 1]) / (1 - self.product[t])

    def posterior(self, t: int) -> tuple[Any, Any, Any]:
        """The mean's coefficients of x^0 and of x^t, and the variance."""
        return self.coefficient_x0(t), self.coefficient_xt(t), self.posterior_var(t)


# One component: entropies and divergences


def gaussian_kl(mean_q: Any, var_q: Any, mean_p: Any, var_p: Any) -> Any:
    """The textbook formula; it loses 40 of the 120 digits where the laws are nearly equal."""
    mean_q, var_q, mean_p, var_p = map(exact, (mean_q, var_q, mean_p, var_p))
    return (mp.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1) / 2


def gaussian_entropy(var: Any) -> Any:
    """log(2 pi e var) / 2."""
    return mp.log(2 * mp.pi * mp.e * exact(var)) / 2


def gaussian_log_prob(x: Any, mean: Any, var: Any) -> Any:
    """The log density of N(mean, var)."""
    x, mean, var = map(exact, (x, mean, var))
    return -(mp.log(2 * mp.pi * var) + (x - mean) ** 2 / var) / 2


class Bit(NamedTuple):
    """A Bernoulli law with the logarithms of both members."""

    prob1: Any
    prob0: Any
    log1: Any
    log0: Any


def bit(prob1: Any, prob0: Any = None) -> Bit:
    """The law of a pair. The logarithm of the complement is log1p(-smaller): 1 - 1e-300 does not
    fit 120 digits.
    """
    first = exact(prob1)
    small_first = prob0 is None or first <= exact(prob0)
    small = first if small_first else exact(prob0)
    log_small, log_large = mp.log(small), mp.log1p(-small) if small != 1 else -mp.inf
    if small_first:
        return Bit(small, 1 - small, log_small, log_large)
    return Bit(1 - small, small, log_large, log_small)


def expectation(weights: Iterable[Any], values: Iterable[Any]) -> Any:
    """The sum of w v, with 0 log 0 = 0."""
    return mp.fsum(w * v for w, v in zip(weights, values, strict=True) if w)


def bernoulli_kl(q: Bit, p: Bit) -> Any:
    """The sum over both states of q log(q/p)."""
    return expectation(q[:2], (q.log1 - p.log1, q.log0 - p.log0))


def bernoulli_kl_from_logits(a_q: Any, a_p: Any) -> Any:
    """The sum over both states, at enough digits for two terms of size exp(-640)."""
    with mp.workdps(900):
        q1, q0, p1, p0 = (
            1 / (1 + mp.exp(-sign * exact(a))) for a in (a_q, a_p) for sign in (1, -1)
        )
        return q1 * mp.log(q1 / p1) + q0 * mp.log(q0 / p0)


def bernoulli_entropy(p: Bit) -> Any:
    """Minus the sum over both states of p log p."""
    return -expectation(p[:2], p[2:])


# The binomial column (Table App.1). Everything is a small sum over states, of positive terms, so
# nothing cancels.


def mix(x: Any, kept: Any, prior: Any) -> tuple[Any, Any]:
    """(P(1), P(0)) of the bit that keeps x with probability `kept`, else is drawn from B(prior)."""
    prior = exact(prior)
    return x * kept + prior * (1 - kept), (1 - x) * kept + (1 - prior) * (1 - kept)


def binomial_kernel(x_prev: int, rate: Any, prior: Any) -> tuple[Any, Any]:
    """q(x^t | x^{t-1})."""
    return mix(x_prev, 1 - exact(rate), prior)


def binomial_marginal(x0: int, tables: Tables, t: int, prior: Any) -> tuple[Any, Any]:
    """q(x^t | x^0); the law at t = 0 is the point mass."""
    return mix(x0, tables.abar(t), prior)


def bayes_joint(x0: int, xt: int, prior: Any, before: Any, kept: Any) -> tuple[Any, Any]:
    """q(x^t | x^{t-1}) q(x^{t-1} | x^0) of both states of x^{t-1}: the marginal keeps x^0 with
    probability `before`, the kernel keeps x^{t-1} with `kept`.
    """
    one, zero = mix(x0, before, prior)
    return one * mix(1, kept, prior)[1 - xt], zero * mix(0, kept, prior)[1 - xt]


def normalised(one: Any, zero: Any) -> tuple[Any, Any]:
    """The pair divided by its sum."""
    return one / (one + zero), zero / (one + zero)


def binomial_posterior(x0: int, xt: int, tables: Tables, t: int, prior: Any) -> tuple[Any, Any]:
    """q(x^{t-1} | x^t, x^0) by Bayes' rule over the two states of x^{t-1}."""
    return normalised(*bayes_joint(x0, xt, prior, tables.abar(t - 1), 1 - tables.beta[t]))


# Laws of a whole trajectory of a few bits, by enumeration


def binary_states(d: int) -> list[tuple[int, ...]]:
    """All 2^d vectors of d bits."""
    return list(product((0, 1), repeat=d))


def vector_prob(x: Sequence[int], laws: Sequence[tuple[Any, Any]]) -> Any:
    """P(x) of independent bits with the pairs given."""
    result = mp.mpf(1)
    for value, law in zip(x, laws, strict=True):
        result *= law[1 - value]
    return result


def entropy_of(probs: Iterable[Any]) -> Any:
    """-sum p log p."""
    return -sum(p * mp.log(p) for p in probs if p)


State = tuple[int, ...]
Kernel = Callable[[State, State], Any]  # p(x^{t-1} | x^t) as a function (x^{t-1}, x^t)


class BinaryChain:
    """The forward process of d bits from data given as {vector: probability}: joint laws by summing
    over all states.
    """

    def __init__(
        self, data: dict[State, Any], beta: Iterable[float], prior: Sequence[float]
    ) -> None:
        self.tables, self.prior = Tables(beta), [exact(p) for p in prior]
        self.data = {state: exact(weight) for state, weight in data.items()}
        self.states = binary_states(len(prior))

    def kernel(self, x_prev: State, t: int) -> list[tuple[Any, Any]]:
        """The pairs of q(x^t | x^{t-1})."""
        rate, bits = self.tables.beta[t], zip(x_prev, self.prior, strict=True)
        return [binomial_kernel(bit, rate, p) for bit, p in bits]

    def step(self, x_prev: State, x: State, t: int) -> Any:
        """q(x^t | x^{t-1})."""
        return vector_prob(x, self.kernel(x_prev, t))

    def pi(self, x: State) -> Any:
        """pi(x)."""
        return vector_prob(x, [(p, 1 - p) for p in self.prior])

    def given(self, x0: State, t: int) -> dict[State, Any]:
        """q(x^t | x^0), by t steps of the kernel (not by its closed form)."""
        law = {tuple(x0): mp.mpf(1)}
        for s in range(1, t + 1):
            law = {x: sum(w * self.step(y, x, s) for y, w in law.items()) for x in self.states}
        return law

    def at(self, t: int) -> dict[State, Any]:
        """q(x^t)."""
        laws = [(weight, self.given(x0, t)) for x0, weight in self.data.items()]
        return {x: sum(weight * law.get(x, mp.mpf(0)) for weight, law in laws) for x in self.states}

    def joint_entropy(self, before: dict[State, Any], t: int) -> Any:
        """H(X^{t-1}, X^t) from a law of x^{t-1}."""
        laws = [(w, self.kernel(x, t)) for x, w in before.items()]
        return entropy_of(w * vector_prob(y, law) for w, law in laws for y in self.states)

    def entropy(self, t: int) -> Any:
        """H_q(X^t)."""
        return entropy_of(self.at(t).values())

    def step_entropy(self, t: int) -> Any:
        """H_q(X^t | X^{t-1})."""
        return sum(w * self.joint_entropy({x: mp.mpf(1)}, t) for x, w in self.at(t - 1).items())

    def conditional_entropy(self, t: int) -> Any:
        """H_q(X^t | X^0)."""
        return sum(w * entropy_of(self.given(x0, t).values()) for x0, w in self.data.items())

    def reverse_entropy(self, t: int) -> Any:
        """H_q(X^{t-1} | X^t), from the joint law of the two."""
        return self.joint_entropy(self.at(t - 1), t) - self.entropy(t)

    def posterior_entropy(self, t: int) -> Any:
        """H_q(X^{t-1} | X^t, X^0), from the joint law of the three."""
        joint = sum(w * self.joint_entropy(self.given(x, t - 1), t) for x, w in self.data.items())
        return joint - self.conditional_entropy(t)

    def reversal(self, t: int) -> Kernel:
        """The true q(x^{t-1} | x^t)."""
        before, after = self.at(t - 1), self.at(t)
        return lambda x, y: before[tuple(x)] * self.step(x, y, t) / after[tuple(y)]

    def expected_kl(self, x0: State, t: int, reverse: Kernel) -> Any:
        """E_{q(x^t|x^0)} KL( q(x^{t-1}|x^t,x^0) || p ); a sum over both states."""
        total, before = mp.mpf(0), self.given(x0, t - 1)
        for y, weight_y in self.given(x0, t).items():
            for x, weight_x in before.items():
                joint = weight_x * self.step(x, y, t)
                if joint:
                    total += joint * mp.log(joint / weight_y / reverse(x, y))
        return total

    def bound(self, x0: State, reverses: dict[int, Kernel], edge: Kernel | None = None) -> Any:
        """K(x^0) as E_q[ log p(x^{0..T}) - log q(x^{1..T}|x^0) ], a sum over all trajectories:
        equations (10) and (11).
        """
        kernels, total = self.with_edge(reverses, edge), mp.mpf(0)
        times = range(1, self.tables.T + 1)
        for path in product(self.states, repeat=self.tables.T):
            path = (tuple(x0), *path)
            forward = mp.fprod(self.step(path[t - 1], path[t], t) for t in times)
            if forward:
                model = mp.fprod(kernels[t](path[t - 1], path[t]) for t in times)
                total += forward * mp.log(self.pi(path[-1]) * model / forward)
        return total

    def with_edge(self, reverses: dict[int, Kernel], edge: Kernel | None) -> dict[int, Kernel]:
        """The reverse kernels of t = 1..T; the edge is T_pi(x^0 | x^1; beta_1) if none is given."""
        return {1: edge or (lambda x, y: self.step(y, x, 1)), **reverses}

    def model(
        self, reverses: dict[int, Kernel], edge: Kernel | None = None, last: int = 0
    ) -> dict[State, Any]:
        """p(x^last), the sum over all later states."""
        kernels, law = self.with_edge(reverses, edge), {x: self.pi(x) for x in self.states}
        for t in range(self.tables.T, last, -1):
            law = {x: sum(w * kernels[t](x, y) for y, w in law.items()) for x in self.states}
        return law

    def log_prob(self, x0: State, reverses: dict[int, Kernel], edge: Kernel | None = None) -> Any:
        """log p(x^0), a sum over all trajectories of p(x^{0..T}): equation (6)."""
        return mp.log(self.model(reverses, edge)[tuple(x0)])


# One-dimensional Gaussian chains with linear reverse kernels p(x^{t-1}|x^t) = N(slope x^t + shift,
# var), in closed form


Linear = tuple[Any, Any, Any]  # (slope, shift, var)


class GaussianChain:
    """Data N(mean, var) (var = 0: a point), the forward process, and linear reverse kernels
    {t: (slope, shift, var)}.
    """

    def __init__(self, beta: Iterable[float], mean: Any = 0.0, var: Any = 1.0) -> None:
        self.tables, self.mean, self.var = Tables(beta), exact(mean), exact(var)

    def at(self, t: int) -> tuple[Any, Any]:
        """(mean, variance) of q(x^t)."""
        abar = self.tables.abar(t)
        return mp.sqrt(abar) * self.mean, abar * self.var + 1 - abar

    def reversal(self, t: int) -> Linear:
        """The true q(x^{t-1}|x^t): regression of x^{t-1} on x^t."""
        (m0, v0), (m1, v1) = self.at(t - 1), self.at(t)
        slope = mp.sqrt(1 - self.tables.beta[t]) * v0 / v1
        return slope, m0 - slope * m1, v0 - slope * slope * v1

    def gap(self, x0: Any, t: int, kernel: Linear, posterior: Linear | None = None) -> Linear:
        """The mean and variance over q(x^t|x^0) of the difference between the posterior's mean and
        the kernel's; and the posterior's variance. A posterior is (of x^0, of x^t, var).
        """
        x0, (slope, shift, _), tables = exact(x0), map(exact, kernel), self.tables
        of_x0, of_xt, var = posterior or tables.posterior(t)
        mean = of_x0 * x0 + (of_xt - slope) * tables.sqrt_abar(t) * x0 - shift
        return mean, (of_xt - slope) ** 2 * tables.one_minus_abar(t), var

    def expected_kl(self, x0: Any, t: int, kernel: Linear) -> Any:
        """E_{q(x^t|x^0)} KL( q(x^{t-1}|x^t,x^0) || N(slope x^t + shift, var) )."""
        mean, noise, var = self.gap(x0, t, kernel)
        return gaussian_kl(mp.sqrt(mean**2 + noise), var, 0, kernel[2])

    def kl_variance(self, x0: Any, t: int, kernel: Linear) -> Any:
        """The variance of that KL over x^t: it is [ (m + s e)^2 / var + constant ] / 2 with e
        standard normal.
        """
        mean, noise, _ = self.gap(x0, t, kernel)
        return (2 * noise**2 + 4 * mean * mean * noise) / (4 * exact(kernel[2]) ** 2)

    def conditional_entropy(self, t: int) -> Any:
        """H_q(X^t | X^0)."""
        return gaussian_entropy(self.tables.one_minus_abar(t))

    def cross(self, x0: Any, t: int) -> Any:
        """E_{q(x^t|x^0)} log pi(x^t)."""
        tables = self.tables
        square = tables.abar(t) * exact(x0) ** 2 + tables.one_minus_abar(t)
        return -(mp.log(2 * mp.pi) + square) / 2

    def shared_terms(self, x0: Any, kernels: dict[int, Linear]) -> Any:
        """-sum_t E KL + H_q(X^T|x^0) - H_q(X^1|x^0), which K and (14) share."""
        T = self.tables.T
        kl = sum((self.expected_kl(x0, t, kernels[t]) for t in range(2, T + 1)), mp.mpf(0))
        return self.conditional_entropy(T) - self.conditional_entropy(1) - kl

    def bound(self, x0: Any, kernels: dict[int, Linear]) -> Any:
        """K(x^0) by the form of section 2.4 that needs no precondition: entropies and
        cross-entropies, each on its own.
        """
        ends = self.cross(x0, self.tables.T) + self.cross(x0, 0) - self.cross(x0, 1)
        return self.shared_terms(x0, kernels) + ends

    def eq14(self, x0s: Sequence[Any], kernels: dict[int, Linear]) -> Any:
        """Equation (14) averaged over points."""
        return sum(self.shared_terms(x0, kernels) for x0 in x0s) / len(x0s) - gaussian_entropy(1)

    def model(self, kernels: dict[int, Linear], last: int = 0) -> tuple[Any, Any]:
        """(mean, variance) of the model's p(x^last), by pushing N(0, 1) through the kernels and the
        edge.
        """
        mean, var, beta1 = mp.mpf(0), mp.mpf(1), self.tables.beta[1]
        kernels = {1: (mp.sqrt(1 - beta1), 0, beta1), **kernels}
        for t in range(self.tables.T, last, -1):
            slope, shift, noise = map(exact, kernels[t])
            mean, var = slope * mean + shift, slope * slope * var + noise
        return mean, var

    def log_prob(self, x0: Any, kernels: dict[int, Linear]) -> Any:
        """log p(x^0)."""
        return gaussian_log_prob(x0, *self.model(kernels))

    def reverse_entropy(self, t: int) -> Any:
        """H_q(X^{t-1} | X^t)."""
        return gaussian_entropy(self.reversal(t)[2])


# Derivatives


def complex_step_gap(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    gradient: Sequence[Any],
    *,
    rng: np.random.Generator,
) -> float:
    """The worst relative gap between a claimed elementwise gradient and complex-step derivatives of
    a textbook formula.

    Along each argument alone, and along three random directions in all arguments at once. The gap
    at an element is relative to the sum of the absolute values that the directional derivative is
    made of, and to nothing else.
    """
    arguments = np.broadcast_arrays(*[np.asarray(a, dtype=float) for a in arguments])
    unit = np.eye(len(arguments))
    directions = [[np.full(arguments[0].shape, u) for u in row] for row in unit]
    directions += [
        list(rng.standard_normal((len(arguments), *arguments[0].shape))) for _ in range(3)
    ]
    worst = 0.0
    for direction in directions:
        truth = (
            np.imag(function(*[a + 1e-40j * v for a, v in zip(arguments, direction, strict=True)]))
            / 1e-40
        )
        claimed = [np.asarray(g) * v for g, v in zip(gradient, direction, strict=True)]
        scale = sum(np.abs(c) for c in claimed)
        gap = np.abs(sum(claimed) - truth)
        with np.errstate(divide="ignore", invalid="ignore"):
            worst = max(worst, float(np.max(np.where(gap == 0, 0.0, gap / scale))))
    return worst


FALSE_ALARM = 1e-6 / 500
"""The suite's budget for false alarms, divided by a bound on its statistical comparisons."""


class Scripted(np.random.Generator):
    """A generator whose "random" numbers are a quadrature rule along the first axis, so that
    averages over draws are exact.

    Normal noise: -1, +1 in turn, exact for quadratics. Uniform noise: the points (k + 1/2) / m of
    every component, all combinations of components, exact for functions of bits whose probabilities
    are multiples of 1/m.
    """

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def standard_normal(  # type: ignore[override]
        self, size: tuple[int, ...], dtype: type = np.float64
    ) -> np.ndarray:
        signs = 1.0 - 2.0 * (np.arange(size[0]) % 2)
        return np.broadcast_to(signs.reshape(-1, *[1] * (len(size) - 1)), size)

    def random(  # type: ignore[override]
        self, size: tuple[int, ...], dtype: type = np.float64
    ) -> np.ndarray:
        draws, d = size[0], size[-1]
        m = round(draws ** (1 / d))
        assert m**d == draws, "the number of draws must be m^d"
        grid = np.stack(np.meshgrid(*[(np.arange(m) + 0.5) / m] * d, indexing="ij"), -1).reshape(
            draws, d
        )
        return np.broadcast_to(grid.reshape(draws, *[1] * (len(size) - 2), d), size)

"""The truths that the tests hold the package against: slow, obvious, in mpmath, and without a line
of the package.

Every function takes floats (or mpf) and returns an mpf of which at least 50 digits are right: the
working precision is 120 digits, so that the textbook formulas below may cancel as they like. A
float is taken for exactly the number that it is. A Bernoulli law is given as a pair (prob1, prob0):
its smaller member is exact and the larger its complement; where prob0 is None, prob1 is exact.

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
    """The number that a float is."""
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
    if mp.isinf(truth) or abs(truth) > mp.mpf(2) ** 1024 or np.isinf(got):
        return (
            0.0
            if mp.mpf(got) == (truth if mp.isinf(truth) else mp.sign(truth) * mp.inf)
            else float("inf")
        )
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


# One component: entropies and divergences


def gaussian_kl(mean_q: Any, var_q: Any, mean_p: Any, var_p: Any) -> Any:
    """The textbook formula; it loses 40 of the 120 digits where the laws are nearly equal."""
    mean_q, var_q, mean_p, var_p = map(exact, (mean_q, var_q, mean_p, var_p))
    return (mp.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1) / 2


def gaussian_entropy(var: Any) -> Any:
    """log(2 pi e var) / 2."""
    return mp.log(2 * mp.pi * mp.e * exact(var)) / 2


def gaussian_entropy_difference(var_a: Any, var_b: Any) -> Any:
    """H(N(., a)) - H(N(., b))."""
    return gaussian_entropy(var_a) - gaussian_entropy(var_b)


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
    log_small, log_large = (
        (mp.log(small) if small else -mp.inf),
        (mp.log1p(-small) if small != 1 else -mp.inf),
    )
    members = (small, 1 - small, log_small, log_large)
    return Bit(*members) if small_first else Bit(members[1], members[0], members[3], members[2])


def bernoulli_kl(q: Bit, p: Bit) -> Any:
    """The sum over both states of q log(q/p), with 0 log 0 = 0."""
    return sum(
        (mp.mpf(0) if not weight else weight * (a - b))
        for weight, a, b in ((q.prob1, q.log1, p.log1), (q.prob0, q.log0, p.log0))
    )


def bernoulli_kl_from_logits(a_q: Any, a_p: Any) -> Any:
    """The sum over both states, at enough digits for two terms of size exp(-640)."""
    with mp.workdps(900):
        q1, q0, p1, p0 = (
            1 / (1 + mp.exp(-sign * exact(a))) for a in (a_q, a_p) for sign in (1, -1)
        )
        return q1 * mp.log(q1 / p1) + q0 * mp.log(q0 / p0)


def bernoulli_entropy(p: Bit) -> Any:
    """Minus the sum over both states of p log p, with 0 log 0 = 0."""
    return -sum(
        (mp.mpf(0) if not weight else weight * log)
        for weight, log in ((p.prob1, p.log1), (p.prob0, p.log0))
    )


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


def binomial_posterior(x0: int, xt: int, tables: Tables, t: int, prior: Any) -> tuple[Any, Any]:
    """q(x^{t-1} | x^t, x^0) by Bayes' rule over the two states of x^{t-1}."""
    before = binomial_marginal(x0, tables, t - 1, prior)
    joint = [
        before[1 - state] * binomial_kernel(state, tables.beta[t], prior)[1 - xt]
        for state in (1, 0)
    ]
    return joint[0] / (joint[0] + joint[1]), joint[1] / (joint[0] + joint[1])


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


class BinaryChain:
    """The forward process of d bits from data given as {vector: probability}: joint laws by summing
    over all states.
    """

    def __init__(
        self, data: dict[tuple[int, ...], Any], beta: Iterable[float], prior: Sequence[float]
    ) -> None:
        self.tables, self.prior = Tables(beta), [exact(p) for p in prior]
        self.data = {state: exact(weight) for state, weight in data.items()}
        self.states = binary_states(len(prior))

    def step(self, x_prev: Sequence[int], x: Sequence[int], t: int) -> Any:
        """q(x^t | x^{t-1})."""
        return vector_prob(
            x,
            [
                binomial_kernel(b, self.tables.beta[t], p)
                for b, p in zip(x_prev, self.prior, strict=True)
            ],
        )

    def pi(self, x: Sequence[int]) -> Any:
        """pi(x)."""
        return vector_prob(x, [(p, 1 - p) for p in self.prior])

    def given(self, x0: Sequence[int], t: int) -> dict[tuple[int, ...], Any]:
        """q(x^t | x^0), by t steps of the kernel (not by its closed form)."""
        law = {tuple(x0): mp.mpf(1)}
        for s in range(1, t + 1):
            law = {
                x: sum(weight * self.step(before, x, s) for before, weight in law.items())
                for x in self.states
            }
        return law

    def at(self, t: int) -> dict[tuple[int, ...], Any]:
        """q(x^t)."""
        laws = [(weight, self.given(x0, t)) for x0, weight in self.data.items()]
        return {x: sum(weight * law.get(x, mp.mpf(0)) for weight, law in laws) for x in self.states}

    def entropy(self, t: int) -> Any:
        """H_q(X^t)."""
        return entropy_of(self.at(t).values())

    def step_entropy(self, t: int) -> Any:
        """H_q(X^t | X^{t-1})."""
        return sum(
            weight * entropy_of(self.step(x, y, t) for y in self.states)
            for x, weight in self.at(t - 1).items()
        )

    def conditional_entropy(self, t: int) -> Any:
        """H_q(X^t | X^0)."""
        return sum(
            weight * entropy_of(self.given(x0, t).values()) for x0, weight in self.data.items()
        )

    def reverse_entropy(self, t: int) -> Any:
        """H_q(X^{t-1} | X^t), from the joint law of the two."""
        before = self.at(t - 1)
        joint = entropy_of(
            weight * self.step(x, y, t) for x, weight in before.items() for y in self.states
        )
        return joint - self.entropy(t)

    def posterior_entropy(self, t: int) -> Any:
        """H_q(X^{t-1} | X^t, X^0), from the joint law of the three."""
        total = mp.mpf(0)
        for x0, weight in self.data.items():
            joint = entropy_of(
                w * self.step(x, y, t)
                for x, w in self.given(x0, t - 1).items()
                for y in self.states
            )
            total += weight * (joint - entropy_of(self.given(x0, t).values()))
        return total

    def reversal(self, t: int) -> Callable[[Sequence[int], Sequence[int]], Any]:
        """The true q(x^{t-1} | x^t) as a function (x^{t-1}, x^t)."""
        before, after = self.at(t - 1), self.at(t)
        return lambda x, y: before[tuple(x)] * self.step(x, y, t) / after[tuple(y)]

    def expected_kl(
        self, x0: Sequence[int], t: int, reverse: Callable[[Sequence[int], Sequence[int]], Any]
    ) -> Any:
        """E_{q(x^t|x^0)} KL( q(x^{t-1}|x^t,x^0) || p ), p a function (x^{t-1}, x^t); a sum over
        both states.
        """
        total = mp.mpf(0)
        for y, weight_y in self.given(x0, t).items():
            for x, weight_x in self.given(x0, t - 1).items():
                posterior = weight_x * self.step(x, y, t) / weight_y
                if posterior:
                    total += weight_y * posterior * mp.log(posterior / reverse(x, y))
        return total

    def bound(
        self,
        x0: Sequence[int],
        reverses: dict[int, Callable[..., Any]],
        edge: Callable[..., Any] | None = None,
    ) -> Any:
        """K(x^0) as E_q[ log p(x^{0..T}) - log q(x^{1..T}|x^0) ], a sum over all trajectories:
        equations (10) and (11).
        """
        T = self.tables.T
        edge = edge or (lambda x, y: self.step(y, x, 1))
        total = mp.mpf(0)
        for path in product(self.states, repeat=T):
            path = (tuple(x0), *path)
            forward = mp.fprod(self.step(path[t - 1], path[t], t) for t in range(1, T + 1))
            if not forward:
                continue
            model = self.pi(path[T]) * edge(path[0], path[1])
            model *= mp.fprod(reverses[t](path[t - 1], path[t]) for t in range(2, T + 1))
            total += forward * mp.log(model / forward)
        return total

    def log_prob(
        self,
        x0: Sequence[int],
        reverses: dict[int, Callable[..., Any]],
        edge: Callable[..., Any] | None = None,
    ) -> Any:
        """log p(x^0), a sum over all trajectories of p(x^{0..T}): equation (6)."""
        T = self.tables.T
        edge = edge or (lambda x, y: self.step(y, x, 1))
        law = {x: self.pi(x) for x in self.states}
        for t in range(T, 1, -1):
            law = {x: sum(w * reverses[t](x, y) for y, w in law.items()) for x in self.states}
        return mp.log(sum(w * edge(x0, y) for y, w in law.items()))


# One-dimensional Gaussian chains with linear reverse kernels p(x^{t-1}|x^t) = N(slope x^t + shift,
# var), in closed form


class GaussianChain:
    """Data N(mean, var) (var = 0: a point), the forward process, and linear reverse kernels {t:
    (slope, shift, var)}.
    """

    def __init__(self, beta: Iterable[float], mean: Any = 0.0, var: Any = 1.0) -> None:
        self.tables, self.mean, self.var = Tables(beta), exact(mean), exact(var)

    def at(self, t: int) -> tuple[Any, Any]:
        """(mean, variance) of q(x^t)."""
        abar = self.tables.abar(t)
        return mp.sqrt(abar) * self.mean, abar * self.var + 1 - abar

    def reversal(self, t: int) -> tuple[Any, Any, Any]:
        """(slope, shift, var) of the true q(x^{t-1}|x^t): regression of x^{t-1} on x^t."""
        (m0, v0), (m1, v1) = self.at(t - 1), self.at(t)
        slope = mp.sqrt(1 - self.tables.beta[t]) * v0 / v1
        return slope, m0 - slope * m1, v0 - slope * slope * v1

    def expected_kl(self, x0: Any, t: int, kernel: tuple[Any, Any, Any]) -> Any:
        """E_{q(x^t|x^0)} KL( q(x^{t-1}|x^t,x^0) || N(slope x^t + shift, var) )."""
        slope, shift, var = map(exact, kernel)
        return self._kl_moments(x0, t, slope, shift, var)[0]

    def kl_variance(self, x0: Any, t: int, kernel: tuple[Any, Any, Any]) -> Any:
        """The variance of that KL over x^t: it is [ (m + s e)^2 / var + constant ] / 2 with e
        standard normal.
        """
        slope, shift, var = map(exact, kernel)
        return self._kl_moments(x0, t, slope, shift, var)[1]

    def _kl_moments(self, x0: Any, t: int, slope: Any, shift: Any, var: Any) -> tuple[Any, Any]:
        x0, tables = exact(x0), self.tables
        c0, c1, s2 = tables.coefficient_x0(t), tables.coefficient_xt(t), tables.posterior_var(t)
        m = c0 * x0 + (c1 - slope) * tables.sqrt_abar(t) * x0 - shift
        noise_var = (c1 - slope) ** 2 * tables.one_minus_abar(t)
        mean = (mp.log(var / s2) + (s2 + m * m + noise_var) / var - 1) / 2
        return mean, (2 * noise_var**2 + 4 * m * m * noise_var) / (4 * var**2)

    def bound(self, x0: Any, kernels: dict[int, tuple[Any, Any, Any]]) -> Any:
        """K(x^0) by the form of section 2.4 that needs no precondition: entropies and
        cross-entropies, each on its own.
        """
        x0, tables, T = exact(x0), self.tables, self.tables.T
        kl = sum((self.expected_kl(x0, t, kernels[t]) for t in range(2, T + 1)), mp.mpf(0))

        def cross(t: int) -> Any:  # E log pi(x^t) given x0
            return -(mp.log(2 * mp.pi) + tables.abar(t) * x0**2 + tables.one_minus_abar(t)) / 2

        return (
            -kl
            + gaussian_entropy(tables.one_minus_abar(T))
            - gaussian_entropy(tables.one_minus_abar(1))
            + cross(T)
            + gaussian_log_prob(x0, 0, 1)
            - cross(1)
        )

    def eq14(self, x0s: Sequence[Any], kernels: dict[int, tuple[Any, Any, Any]]) -> Any:
        """Equation (14) averaged over points."""
        tables, T = self.tables, self.tables.T
        kl = sum(
            (self.expected_kl(x0, t, kernels[t]) for t in range(2, T + 1) for x0 in x0s), mp.mpf(0)
        ) / len(x0s)
        return (
            -kl
            + gaussian_entropy(tables.one_minus_abar(T))
            - gaussian_entropy(tables.one_minus_abar(1))
            - gaussian_entropy(1)
        )

    def log_prob(self, x0: Any, kernels: dict[int, tuple[Any, Any, Any]]) -> Any:
        """log p(x^0): the model's law of x^0 is Gaussian, by pushing N(0, 1) through the kernels
        and the edge.
        """
        mean, var = mp.mpf(0), mp.mpf(1)
        beta1 = self.tables.beta[1]
        for slope, shift, noise in [kernels[t] for t in range(self.tables.T, 1, -1)] + [
            (mp.sqrt(1 - beta1), 0, beta1)
        ]:
            slope, shift, noise = map(exact, (slope, shift, noise))
            mean, var = slope * mean + shift, slope * slope * var + noise
        return gaussian_log_prob(x0, mean, var)

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

    def standard_normal(self, size: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
        signs = 1.0 - 2.0 * (np.arange(size[0]) % 2)
        return np.broadcast_to(signs.reshape(-1, *[1] * (len(size) - 1)), size)

    def random(self, size: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
        draws, d = size[0], size[-1]
        m = round(draws ** (1 / d))
        assert m**d == draws, "the number of draws must be m^d"
        grid = np.stack(np.meshgrid(*[(np.arange(m) + 0.5) / m] * d, indexing="ij"), -1).reshape(
            draws, d
        )
        return np.broadcast_to(grid.reshape(draws, *[1] * (len(size) - 2), d), size)

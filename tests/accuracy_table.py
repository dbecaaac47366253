"""How exact every function of the core is, measured against mpmath on a random grid: the table of
the README.

    python tests/accuracy_table.py [--points 10000] [--seed 0]

Each row compares the package, and the obvious formula that public code uses, with the truth of
`mpmath_oracle`. Errors are in ulps of the truth, or in eps = 2^-52 times the sum of the absolute
values of the terms that are added. `test_accuracy` holds the same rows to their promises on a
smaller grid.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import mpmath_oracle as oracle
import numpy as np
from scipy.special import expit, logsumexp, rel_entr

from dpm_ref import (
    Bernoulli,
    BinomialDiffusion,
    Gaussian,
    GaussianDiffusion,
    bounds,
    information,
    schedules,
)

ULP, TERMS = "ulp", "eps sum abs(terms)"


class Row(NamedTuple):
    """One line of the table."""

    function: str
    promised: float
    unit: str
    worst: float
    obvious: float

    def __str__(self) -> str:
        promise = f"{self.promised:g} {self.unit}"
        return f"| {self.function} | {promise} | {self.worst:.2g} | {self.obvious:.2g} |"


def row(
    function: str,
    promised: float,
    truth: list[Any],
    ours: Any,
    obvious: Any,
    scale: list[Any] | None = None,
) -> Row:
    """The worst errors over a grid, in ulps, or in eps times a scale."""

    def worst(got: Any) -> float:
        got = np.broadcast_to(got, np.shape(ours)).ravel()
        if scale is None:
            return oracle.worst_ulp(got, truth)
        return max(map(oracle.eps_error, got, truth, scale))

    return Row(function, promised, ULP if scale is None else TERMS, worst(ours), worst(obvious))


class Samples:
    """What a row compares, gathered over many schedules."""

    def __init__(self) -> None:
        self.truth: list[Any] = []
        self.ours: list[float] = []
        self.obvious: list[float] = []
        self.scale: list[Any] = []

    def add(self, truth: Iterable[Any], ours: Any, obvious: Any, scale: Iterable[Any] = ()) -> None:
        self.truth += truth
        self.ours += np.ravel(ours).tolist()
        self.obvious += np.ravel(obvious).tolist()
        self.scale += scale

    def row(self, function: str, promised: float) -> Row:
        columns = np.array(self.ours), np.array(self.obvious)
        return row(function, promised, self.truth, *columns, self.scale or None)


# Grids


def log_uniform(rng: np.random.Generator, low: float, high: float, size: Any) -> np.ndarray:
    """10^u with u uniform."""
    return 10.0 ** rng.uniform(low, high, size)


def random_beta(rng: np.random.Generator, T: int) -> np.ndarray:
    """A schedule of one of eight kinds."""
    kind = rng.integers(8)
    if kind == 0:
        return schedules.constant(T, float(min(log_uniform(rng, -12, 0, ()), 1 - 1e-12)))
    if kind == 1:
        return np.geomspace(*log_uniform(rng, -12, -1e-9, 2), T)
    if kind == 2:
        return schedules.constant_erasure(T)
    if kind == 3:
        return schedules.cosine(T)
    if kind == 4:
        return rng.uniform(1e-12, 1 - 1e-12, T)
    if kind == 5:
        return np.geomspace(log_uniform(rng, -12, -3, ()), 0.02, T)
    beta = log_uniform(rng, -12, 0, T) if kind == 6 else 1 - log_uniform(rng, -12, -0.01, T)
    if rng.integers(2):
        beta[T // 2] = 1.0
    return beta


def variances(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """(mean_q, var_q, mean_p, var_p): far, near, and equal in one of the two."""
    var_q = log_uniform(rng, -12, 12, n)
    near = var_q * (1 + rng.choice([-1, 1], n) * log_uniform(rng, -17, -0.01, n))
    var_p = np.choose(rng.integers(4, size=n), [log_uniform(rng, -12, 12, n), near, near, var_q])
    gap = np.sqrt(var_p) * np.choose(
        rng.integers(3, size=n),
        [log_uniform(rng, -12, 3, n), log_uniform(rng, -8, 0, n), np.zeros(n)],
    )
    mean_p = np.where(rng.integers(2, size=n), 0.0, rng.normal(size=n))
    return mean_p + gap, var_q, mean_p, var_p


def pairs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """(q1, p1, q0, p0) with smaller members from 1e-300 to 1/2, far and near, on either side."""

    def small() -> np.ndarray:
        wide = np.minimum(log_uniform(rng, -300, -0.301, n), 0.5)
        return np.choose(
            rng.integers(3, size=n),
            [wide, np.minimum(log_uniform(rng, -17, -0.301, n), 0.5), rng.uniform(0, 0.5, n)],
        )

    a = small()
    near = np.minimum(a * (1 + rng.choice([-1, 1], n) * log_uniform(rng, -17, -0.01, n)), 0.5)
    b = np.choose(rng.integers(4, size=n), [small(), near, near, a])
    middle = rng.integers(8, size=n) == 0  # either side of a half
    a, b = (np.where(middle, 0.5 - log_uniform(rng, -16, -1, n), v) for v in (a, b))
    flip = rng.integers(2, size=n) == 1
    other = np.where((rng.integers(8, size=n) == 0) | middle, ~flip, flip)
    return (
        np.where(flip, 1 - a, a),
        np.where(other, 1 - b, b),
        np.where(flip, a, 1 - a),
        np.where(other, b, 1 - b),
    )


def logits(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits up to 630: far apart, and near down to a unit in the last place, on either side of
    zero.
    """
    a = rng.choice([-1, 1], n) * log_uniform(rng, -6, 2.8, n)
    near = a + log_uniform(rng, -15, 1, n) * rng.choice([-1, 1], n) * np.maximum(np.abs(a), 1e-3)
    far = rng.choice([-1, 1], n) * log_uniform(rng, -6, 2.8, n)
    return a, np.where((rng.random(n) < 0.7) & (np.abs(near) < 630), near, far)


def logarithm_rows(rng: np.random.Generator, n: int) -> Iterator[Row]:
    """Logits and means of weights."""
    a, b = logits(rng, n)
    q1, _, q0, _ = pairs(rng, n)
    with np.errstate(over="ignore", divide="ignore"):
        plain_logit = np.log(q1 / (1 - q1))
    yield row(
        "information.logit of pairs",
        4,
        [law.log1 - law.log0 for law in map(oracle.bit, q1, q0)],
        information.logit(q1, q0),
        plain_logit,
    )
    plain = expit(a) * (a - b) - np.logaddexp(0, a) + np.logaddexp(0, b)
    few = slice(0, max(1, n // 10))  # the truth takes 900 digits
    yield row(
        "information._bernoulli_kl_from_logits",
        16,
        truth_of(oracle.bernoulli_kl_from_logits, a[few], b[few]),
        information._bernoulli_kl_from_logits(a, b)[few],
        plain[few],
    )
    width, shift = (
        10.0 ** rng.uniform(-9, 2.5, (n, 1)),
        rng.choice([0.0, 1.0], (n, 1)) * rng.normal(0, 300, (n, 1)),
    )
    values = rng.normal(0, width, (n, 10)) + shift
    truth = [
        oracle.mp.log(oracle.mp.fsum(oracle.mp.exp(oracle.exact(v)) for v in line) / 10)
        for line in values
    ]
    scale = [
        max(abs(oracle.exact(peak)), abs(result))
        for peak, result in zip(values.max(1), truth, strict=True)
    ]
    yield row(
        "information.log_mean_exp",
        2,
        truth,
        information.log_mean_exp(values),
        logsumexp(values, 1) - np.log(10),
        scale,
    )


def truth_of(function: Callable[..., Any], *columns: Any) -> list[Any]:
    """The oracle along the grid."""
    return [
        function(*point)
        for point in zip(*(np.ravel(np.asarray(c)).tolist() for c in columns), strict=True)
    ]


# Families of rows


SCHEDULE = {
    "abar": 0.5,
    "one_minus_abar": 0.5,
    "sqrt_abar": 0.5,
    "sqrt_one_minus_abar": 0.5,
    "log_abar": 4.0,
    "log_one_minus_abar": 4.0,
    "posterior_var": 0.5,
    "posterior_coefficients of x0": 0.5,
    "posterior_coefficients of xt": 0.5,
}


def obvious_schedule(beta: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
    """The cumprod tables of public code."""
    abar = np.cumprod(1 - beta)
    before = np.concatenate([[1.0], abar])[t - 1]
    abar, beta = abar[t - 1], beta[t - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "abar": abar,
            "one_minus_abar": 1 - abar,
            "sqrt_abar": np.sqrt(abar),
            "sqrt_one_minus_abar": np.sqrt(1 - abar),
            "log_abar": np.log(abar),
            "log_one_minus_abar": np.log(1 - abar),
            "posterior_var": beta * (1 - before) / (1 - abar),
            "posterior_coefficients of x0": beta * np.sqrt(before) / (1 - abar),
            "posterior_coefficients of xt": (1 - before) * np.sqrt(1 - beta) / (1 - abar),
        }


def schedule_rows(rng: np.random.Generator, n: int) -> Iterator[Row]:
    """The tables that follow from beta, T up to 10^4."""
    lengths = [2, 3, 10, 10, 40, 100, 100, 300, 1000, 1000] + [10_000] * max(1, n // 1000)
    found: dict[str, Samples] = defaultdict(Samples)
    for T in lengths:
        beta, per = random_beta(rng, T), -(-n // len(lengths))
        schedule, tables = schedules.Schedule(beta), oracle.Tables(beta)
        t = (
            np.arange(2, T + 1)
            if per >= T - 1
            else np.sort(rng.choice(np.arange(2, T + 1), per, replace=False))
        )
        x0, xt = schedule.posterior_coefficients(t)
        ours = {name: getattr(schedule, name)(t) for name in list(SCHEDULE)[:7]}
        ours |= {"posterior_coefficients of x0": x0, "posterior_coefficients of xt": xt}
        exact = {name: getattr(tables, name) for name in list(SCHEDULE)[:7]}
        exact |= {
            "posterior_coefficients of x0": tables.coefficient_x0,
            "posterior_coefficients of xt": tables.coefficient_xt,
        }
        plain = obvious_schedule(beta, t)
        for name in SCHEDULE:
            found[name].add([exact[name](int(s)) for s in t], ours[name], plain[name])
    for name, samples in found.items():
        yield samples.row(f"Schedule.{name}", SCHEDULE[name])


def information_rows(rng: np.random.Generator, n: int) -> Iterator[Row]:
    """Entropies and divergences of one component."""
    nats = rng.normal(size=n) * log_uniform(rng, -300, 300, n)
    yield row(
        "bounds.to_bits", 2, truth_of(oracle.to_bits, nats), bounds.to_bits(nats), nats / np.log(2)
    )

    mq, vq, mp, vp = variances(rng, n)
    plain = 0.5 * (np.log(vp / vq) + (vq + (mq - mp) ** 2) / vp - 1)
    yield row(
        "bounds.gaussian_kl",
        8,
        truth_of(oracle.gaussian_kl, mq, vq, mp, vp),
        bounds.gaussian_kl(mq, vq, mp, vp),
        plain,
    )

    var = np.concatenate(
        [
            log_uniform(rng, -12, 12, n - n // 4),
            (1 + rng.normal(size=n // 4) * 1e-3) / (2 * np.pi * np.e),
        ]
    )
    truth = truth_of(oracle.gaussian_entropy, var)
    either = [
        max(oracle.ulp(value) * 2**52, oracle.mp.mpf("0.5")) for value in truth
    ]  # 4 ulp or 2 eps, whichever is larger
    found = row(
        "bounds.gaussian_entropy",
        4,
        truth,
        bounds.gaussian_entropy(var),
        0.5 * np.log(2 * np.pi * np.e * var),
        either,
    )
    yield found._replace(unit="ulp (near its zero: eps/2)")

    q1, p1, q0, p0 = pairs(rng, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = rel_entr(q1, p1) + rel_entr(q0, p0)
        truth = [
            oracle.bernoulli_kl(oracle.bit(a, b), oracle.bit(c, d))
            for a, b, c, d in zip(q1, q0, p1, p0, strict=True)
        ]
        yield row(
            "bounds.bernoulli_kl of pairs", 8, truth, bounds.bernoulli_kl(q1, p1, q0, p0), plain
        )
        plain = -p1 * np.log(p1) - (1 - p1) * np.log(1 - p1)
        truth = [oracle.bernoulli_entropy(oracle.bit(*law)) for law in zip(p1, p0, strict=True)]
        yield row(
            "bounds.bernoulli_entropy of pairs", 4, truth, bounds.bernoulli_entropy(p1, p0), plain
        )

        inside = (p1 < 1) & (q1 < 1)  # p alone says nothing of a complement below 1e-16
        q, p = q1[inside], p1[inside]
        plain = q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))
        truth = [
            oracle.bernoulli_kl(oracle.bit(a), oracle.bit(c)) for a, c in zip(q, p, strict=True)
        ]
        yield row("bounds.bernoulli_kl of p alone", 8, truth, bounds.bernoulli_kl(q, p), plain)
        plain = -p * np.log(p) - (1 - p) * np.log(1 - p)
        yield row(
            "bounds.bernoulli_entropy of p alone",
            4,
            [oracle.bernoulli_entropy(oracle.bit(c)) for c in p],
            bounds.bernoulli_entropy(p),
            plain,
        )


def mean_rows(rng: np.random.Generator, n: int) -> Iterator[Row]:
    """The means of the laws of a Gaussian trajectory: sums of a term of each state."""
    found: dict[str, Samples] = defaultdict(Samples)
    d = 50
    for _ in range(-(-n // d)):
        T = int(rng.integers(2, 8))
        beta, t = random_beta(rng, T), int(rng.integers(2, T + 1))
        x0, xt = (rng.normal(size=d) * log_uniform(rng, -6, 6, d) for _ in range(2))
        tables, diffusion = oracle.Tables(beta), GaussianDiffusion(beta)
        plain = obvious_schedule(beta, np.array([t]))
        first, step = (oracle.mp.sqrt(1 - tables.beta[s]) for s in (1, t))
        both = tables.posterior(t)[:2]
        o0, o1 = (plain[f"posterior_coefficients of {x}"] for x in ("x0", "xt"))
        forward = plain["sqrt_abar"] * x0
        for name, (a, b), law, other in (
            ("kernel", (0, step), diffusion.kernel(xt, t), np.sqrt(1 - beta[t - 1]) * xt),
            ("marginal", (tables.sqrt_abar(t), 0), diffusion.marginal(x0, t), forward),
            ("posterior", both, diffusion.posterior(x0, xt, t), o0 * x0 + o1 * xt),
            ("edge", (0, first), diffusion.edge(xt), np.sqrt(1 - beta[0]) * xt),
        ):
            states = zip(map(oracle.exact, x0), map(oracle.exact, xt), strict=True)
            terms = [(a * u, b * v) for u, v in states]
            sizes = [abs(u) + abs(v) for u, v in terms]
            found[name].add([u + v for u, v in terms], law.mean, other, sizes)
    for name, samples in found.items():
        yield samples.row(f"GaussianDiffusion.{name}: mean", 2)


def gaussian_rows(rng: np.random.Generator, n: int) -> Iterator[Row]:
    """The Gaussian column: single-step roots, means, log densities, sums over a vector."""
    beta = np.concatenate([log_uniform(rng, -17, -1e-17, n // 2), rng.uniform(1e-9, 1, n - n // 2)])
    root = GaussianDiffusion(beta).kernel([1.0], np.arange(1, n + 1)).mean[:, 0]
    yield row(
        "GaussianDiffusion.kernel: sqrt(1 - beta_t)",
        1,
        [oracle.mp.sqrt(1 - oracle.exact(b)) for b in beta],
        root,
        np.sqrt(1 - beta),
    )

    yield from mean_rows(rng, n)
    x, _, mean, var = variances(rng, n)
    truth = truth_of(oracle.gaussian_log_prob, x, mean, var)
    half_square = [
        (oracle.exact(a) - oracle.exact(b)) ** 2 / oracle.exact(v) / 2
        for a, b, v in zip(x, mean, var, strict=True)
    ]
    constant = oracle.mp.log(2 * oracle.mp.pi) / 2
    scale = [
        constant + abs(oracle.mp.log(oracle.exact(v))) / 2 + s
        for v, s in zip(var, half_square, strict=True)
    ]
    ours = Gaussian(mean[:, None], var[:, None]).log_prob(x[:, None])
    yield row(
        "Gaussian.log_prob",
        8,
        truth,
        ours,
        -0.5 * np.log(2 * np.pi * var) - (x - mean) ** 2 / (2 * var),
        scale,
    )

    x0 = rng.normal(size=(n // 10, 10)) * log_uniform(rng, -3, 3, (n // 10, 10))
    terms = [[oracle.exact(v) ** 2 / 2 for v in point] for point in x0]
    yield row(
        "bounds.null_log_likelihood, Gaussian",
        8,
        [-sum(t) - 10 * constant for t in terms],
        bounds.null_log_likelihood(GaussianDiffusion([0.5]), x0),
        -(x0**2).sum(1) / 2 - 5 * np.log(2 * np.pi),
        [sum(t) + 10 * constant for t in terms],
    )

    laws = [column.reshape(-1, 10) for column in variances(rng, n // 10 * 10)]
    truth = [sum(truth_of(oracle.gaussian_kl, *point)) for point in zip(*laws, strict=True)]
    mq, vq, mp, vp = laws
    plain = 0.5 * (np.log(vp / vq) + (vq + (mq - mp) ** 2) / vp - 1).sum(1)
    yield row("Gaussian.kl of vectors", 8, truth, Gaussian(mq, vq).kl(Gaussian(mp, vp)), plain)


def exact_laws(
    tables: oracle.Tables, t: int, x0: list[int], xt: list[int], prior: np.ndarray
) -> dict[str, list[tuple[Any, Any]]]:
    """(P(1), P(0)) of every bit."""
    bits = list(zip(x0, xt, prior, strict=True))
    return {
        "kernel": [oracle.binomial_kernel(b, tables.beta[t], p) for _, b, p in bits],
        "marginal": [oracle.binomial_marginal(a, tables, t, p) for a, _, p in bits],
        "posterior": [oracle.binomial_posterior(a, b, tables, t, p) for a, b, p in bits],
        "edge": [oracle.binomial_kernel(b, tables.beta[1], p) for _, b, p in bits],
    }


def obvious_laws(
    beta: np.ndarray, t: int, x0: np.ndarray, xt: np.ndarray, prior: np.ndarray
) -> list[np.ndarray]:
    """P(1) of the same laws by the formulas of public code."""
    abar = np.concatenate([[1.0], np.cumprod(1 - beta)])
    before, forward = (x0 * abar[s] + prior * (1 - abar[s]) for s in (t - 1, t))
    like1, like0 = 1 - beta[t - 1] + prior * beta[t - 1], prior * beta[t - 1]
    joint1 = np.where(xt == 1, like1, 1 - like1) * before
    joint0 = np.where(xt == 1, like0, 1 - like0) * (1 - before)
    with np.errstate(divide="ignore", invalid="ignore"):
        posterior = joint1 / (joint1 + joint0)
    steps = [np.where(xt == 1, 1 - beta[s], 0) + prior * beta[s] for s in (t - 1, 0)]
    return [steps[0], forward, posterior, steps[1]]


def law_rows(rng: np.random.Generator, n: int) -> Iterator[Row]:
    """Both members of every pair of the laws of a binomial trajectory, and log pi(x^0)."""
    found: dict[str, Samples] = defaultdict(Samples)
    null, d = Samples(), 50
    for _ in range(-(-n // d)):
        T = int(rng.integers(2, 8))
        beta, t = random_beta(rng, T), int(rng.integers(2, T + 1))
        prior = np.choose(
            rng.integers(4, size=d),
            [
                log_uniform(rng, -300, -0.31, d),
                1 - log_uniform(rng, -15.9, -0.31, d),
                rng.uniform(1e-3, 0.999, d),
                np.full(d, 0.5),
            ],
        )
        x0, xt = rng.integers(2, size=d), rng.integers(2, size=d)
        diffusion = BinomialDiffusion(beta, prior)
        truths = exact_laws(oracle.Tables(beta), t, x0.tolist(), xt.tolist(), prior)
        laws = (
            diffusion.kernel(xt, t),
            diffusion.marginal(x0, t),
            diffusion.posterior(x0, xt, t),
            diffusion.edge(xt),
        )
        plain = obvious_laws(beta, t, x0, xt, prior)
        for (name, pairs_of_law), law, prob1 in zip(truths.items(), laws, plain, strict=True):
            one, zero = zip(*pairs_of_law, strict=True)
            found[f"BinomialDiffusion.{name}: prob1"].add(one, law.prob1, prob1)
            found[f"BinomialDiffusion.{name}: prob0"].add(zero, law.prob0, 1 - prob1)
        log_prior = sum(oracle.bit(p)[3 - x] for x, p in zip(x0.tolist(), prior, strict=True))
        ours = bounds.null_log_likelihood(diffusion, x0)
        obvious = (x0 * np.log(prior) + (1 - x0) * np.log(1 - prior)).sum()
        null.add([log_prior], ours, obvious, [-log_prior])
    for name, samples in found.items():
        yield samples.row(name, 8)
    yield null.row("bounds.null_log_likelihood, binomial", 8)


def binomial_rows(rng: np.random.Generator, n: int) -> Iterator[Row]:
    """The binomial column: its laws; log probabilities; sums over a vector."""
    yield from law_rows(rng, n)
    p1, _, p0, _ = pairs(rng, n)
    x = rng.integers(2, size=n)
    logs = [
        oracle.bit(*law)[3 - int(v)] for v, law in zip(x, zip(p1, p0, strict=True), strict=True)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = np.where(x == 1, np.log(p1), np.log(1 - p1))
    yield row(
        "Bernoulli.log_prob",
        8,
        logs,
        Bernoulli(p1[:, None], p0[:, None]).log_prob(x[:, None]),
        plain,
        [-v for v in logs],
    )

    q1, p1, q0, p0 = (column.reshape(-1, 10) for column in pairs(rng, n // 10 * 10))
    truth = [
        sum(
            oracle.bernoulli_kl(oracle.bit(a, b), oracle.bit(c, e))
            for a, b, c, e in zip(*point, strict=True)
        )
        for point in zip(q1, q0, p1, p0, strict=True)
    ]
    yield row(
        "Bernoulli.kl of vectors",
        8,
        truth,
        Bernoulli(q1, q0).kl(Bernoulli(p1, p0)),
        (rel_entr(q1, p1) + rel_entr(q0, p0)).sum(1),
    )


def plain_entropy(p: np.ndarray) -> np.ndarray:
    """-p log p - (1 - p) log(1 - p)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(-p * np.log(p)) + np.nan_to_num(-(1 - p) * np.log(1 - p))


def entropy_bound_rows(rng: np.random.Generator, n: int) -> Iterator[Row]:
    """The sums of section 2.6."""
    found: dict[str, Samples] = defaultdict(Samples)
    for _ in range(max(10, n // 8)):
        T, d = int(rng.integers(2, 6)), 3
        t = int(rng.integers(2, T + 1))
        beta = random_beta(rng, T)
        x0 = rng.normal(size=(4, d))
        gaussian_entropy_bounds(found, beta, t, x0)
        prior = np.choose(
            rng.integers(2, size=d),
            [log_uniform(rng, -30, -0.31, d), 1 - log_uniform(rng, -15, -0.31, d)],
        )
        binomial_entropy_bounds(found, beta, t, rng.integers(2, size=(4, d)), prior)
    for column in ("Gaussian", "binomial"):
        for side in ("lower", "upper"):
            samples = found[f"{column}: {side}"]
            yield samples.row(f"bounds.reverse_entropy_bounds, {column}: {side}", 4)


def gaussian_entropy_bounds(
    found: dict[str, Samples], beta: np.ndarray, t: int, x0: np.ndarray
) -> None:
    """Both sides of (24) at one schedule, time and data."""
    d, tables, abar = x0.shape[1], oracle.Tables(beta), np.cumprod([1.0, *(1 - beta)])
    got = bounds.reverse_entropy_bounds(GaussianDiffusion(beta), x0, t)
    with np.errstate(divide="ignore", invalid="ignore"):
        variances = (beta[t - 1], 1 - abar[t - 1], 1 - abar[t])
        h = [0.5 * d * np.log(2 * np.pi * np.e * v) for v in variances]
        plain = h[0] + h[1] - h[2]
    for side, var, value, other in (
        ("lower", tables.posterior_var(t), got.lower, plain),
        ("upper", tables.beta[t], got.upper, h[0]),
    ):
        size = (oracle.mp.log(2 * oracle.mp.pi * oracle.mp.e) + abs(oracle.mp.log(var))) / 2
        found[f"Gaussian: {side}"].add([d * oracle.gaussian_entropy(var)], value, other, [d * size])


def binomial_entropy_bounds(
    found: dict[str, Samples], beta: np.ndarray, t: int, x0: np.ndarray, prior: np.ndarray
) -> None:
    """As `gaussian_entropy_bounds`; the truth is a chain for each bit."""
    abar, lower, upper = np.cumprod([1.0, *(1 - beta)]), oracle.mp.mpf(0), oracle.mp.mpf(0)
    for mean, p in zip(x0.mean(0), prior, strict=True):
        chain = oracle.BinaryChain({(1,): mean, (0,): 1 - mean}, beta, [p])
        lower, upper = lower + chain.posterior_entropy(t), upper + chain.step_entropy(t)
    got = bounds.reverse_entropy_bounds(BinomialDiffusion(beta, prior), x0, t)
    before, now = (x0 * a + prior * (1 - a) for a in abar[t - 1 : t + 1])
    steps = plain_entropy(1 - beta[t - 1] * (1 - prior)), plain_entropy(prior * beta[t - 1])
    step = (before * steps[0] + (1 - before) * steps[1]).sum(1).mean()
    plain = step + plain_entropy(before).sum(1).mean() - plain_entropy(now).sum(1).mean()
    found["binomial: lower"].add([lower], got.lower, plain, [lower])
    found["binomial: upper"].add([upper], got.upper, step, [upper])


def bound_rows(rng: np.random.Generator, n: int) -> Iterator[Row]:
    """K for the very draws that it was made of; the kernel that it is asked for writes them down.

    To the terms belongs what the rounding of the posterior's mean does to a divergence: |m_q - m_p|
    / v_p times the mean's terms.
    """
    for column in ("Gaussian", "binomial"):
        gathered = Samples()
        for _ in range(max(4, n // 20)):
            T = int(rng.integers(1, 12))
            add_bounds(column, random_beta(rng, T), rng, 3, gathered)
        add_bounds(column, np.full(2000, 1e-3), rng, 1, gathered)
        yield gathered.row(f"bounds.lower_bound, {column}", 4)


def add_bounds(
    column: str, beta: np.ndarray, rng: np.random.Generator, n: int, gathered: Samples
) -> None:
    """K of n vectors of two components, in truth, by the package and by float64 sums of textbook
    terms.
    """
    tables, T, states = oracle.Tables(beta), len(beta), {}
    if column == "Gaussian":
        diffusion, prior = GaussianDiffusion(beta), None
        x0 = rng.normal(size=(n, 2))

        def reverse(xt: np.ndarray, t: int) -> Gaussian:
            states[t] = xt.copy()
            return Gaussian(np.sqrt(1 - beta[t - 1]) * xt, 1.1 * beta[t - 1])
    else:
        prior = rng.uniform(0.05, 0.95, 2)
        diffusion, x0 = BinomialDiffusion(beta, prior), rng.integers(2, size=(n, 2))

        def reverse(xt: np.ndarray, t: int) -> Bernoulli:
            states[t] = xt.copy()
            return Bernoulli(*(m for m in (0.125 + 0.75 * xt, 0.125 + 0.75 * (1 - xt))))

    got = bounds.lower_bound(diffusion, reverse, x0, rng=rng).value
    abar = np.concatenate([[1.0], np.cumprod(1 - beta)])
    for i in range(n):
        total, plain, scale = oracle.mp.mpf(0), 0.0, oracle.mp.mpf(0)
        for j in range(2):
            terms = gaussian_terms if column == "Gaussian" else binomial_terms
            own = {t: state[i, j] for t, state in states.items()}
            exact, obvious, extra = terms(
                x0[i, j], own, tables, beta, abar, None if prior is None else prior[j], T
            )
            total += sum(exact)
            scale += sum(map(abs, exact)) + extra
            plain += sum(obvious)
        gathered.add([total], got[i], plain, [scale])


def gaussian_terms(
    x0: float,
    states: dict[int, float],
    tables: oracle.Tables,
    beta: np.ndarray,
    abar: np.ndarray,
    prior: None,
    T: int,
) -> tuple[list[Any], list[float], Any]:
    """The terms of K for one component, exactly and as public code has them, and the condition of
    the divergences.
    """
    x, extra = oracle.exact(x0), oracle.mp.mpf(0)
    ends = [
        oracle.gaussian_kl(tables.sqrt_abar(t) * x, tables.one_minus_abar(t), 0, 1) for t in (1, T)
    ]
    exact = [oracle.gaussian_log_prob(x, 0, 1), ends[0], -ends[1]]
    plain = [-0.5 * np.log(2 * np.pi) - x0**2 / 2]
    plain += [
        0.5 * s * (-np.log(1 - abar[t]) + abar[t] * x0**2 - abar[t]) for s, t in ((1, 1), (-1, T))
    ]
    for t, y in states.items():
        mean_p, var_p = float(np.sqrt(1 - beta[t - 1]) * y), float(1.1 * beta[t - 1])
        parts = tables.coefficient_x0(t) * x, tables.coefficient_xt(t) * oracle.exact(y)
        exact.append(
            -oracle.gaussian_kl(parts[0] + parts[1], tables.posterior_var(t), mean_p, var_p)
        )
        extra += abs(parts[0] + parts[1] - mean_p) / var_p * (abs(parts[0]) + abs(parts[1]))
        var = beta[t - 1] * (1 - abar[t - 1]) / (1 - abar[t])
        mean = (
            np.sqrt(abar[t - 1]) * beta[t - 1] * x0
            + np.sqrt(1 - beta[t - 1]) * (1 - abar[t - 1]) * y
        ) / (1 - abar[t])
        plain.append(-0.5 * (np.log(var_p / var) + (var + (mean - mean_p) ** 2) / var_p - 1))
    return exact, plain, extra


def binomial_terms(
    x0: float,
    states: dict[int, float],
    tables: oracle.Tables,
    beta: np.ndarray,
    abar: np.ndarray,
    prior: float,
    T: int,
) -> tuple[list[Any], list[float], Any]:
    """As `gaussian_terms`."""
    x, law = int(x0), oracle.bit(prior)
    ends = [
        oracle.bernoulli_kl(oracle.bit(*oracle.binomial_marginal(x, tables, t, prior)), law)
        for t in (1, T)
    ]
    exact = [law[3 - x], ends[0], -ends[1]]
    m = x * abar + prior * (1 - abar)
    plain = [float(x * np.log(prior) + (1 - x) * np.log(1 - prior))]
    plain += [
        float(s * (rel_entr(m[t], prior) + rel_entr(1 - m[t], 1 - prior)))
        for s, t in ((1, 1), (-1, T))
    ]
    for t, y in states.items():
        p1 = 0.125 + 0.75 * float(y)
        posterior = oracle.binomial_posterior(x, int(y), tables, t, prior)
        exact.append(-oracle.bernoulli_kl(oracle.bit(*posterior), oracle.bit(p1)))
        rate = beta[t - 1]
        like = [1 - rate + prior * rate, prior * rate]
        joint = [
            (v if y else 1 - v) * w for v, w in zip(like, (m[t - 1], 1 - m[t - 1]), strict=True)
        ]
        q = joint[0] / sum(joint)
        plain.append(-float(rel_entr(q, p1) + rel_entr(1 - q, 1 - p1)))
    return exact, plain, oracle.mp.mpf(0)


FAMILIES = (
    schedule_rows,
    information_rows,
    logarithm_rows,
    gaussian_rows,
    binomial_rows,
    entropy_bound_rows,
    bound_rows,
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        "| function | promised | worst measured | the obvious formula's worst |\n|---|---|---|---|"
    )
    start = time.perf_counter()
    for family in FAMILIES:
        rng = np.random.default_rng([options.seed, FAMILIES.index(family)])
        for found in family(rng, options.points):
            print(found, flush=True)
            print(f"{time.perf_counter() - start:6.0f} s  {family.__name__}", file=sys.stderr)


if __name__ == "__main__":
    main()

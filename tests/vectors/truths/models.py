"""Whole models whose answers are known: K and equation (14), log p(x^0), and the weight of one
trajectory (9).

Gaussian: p(x^{t-1}|x^t) = N(slope_t x^t + shift_t, var_t I), so that every divergence is a
quadratic whose mean is known, and p(x^0) is Gaussian. Bits: a table of probabilities for every
state of x^t, so that everything is a sum over states. p(x^0|x^1) = T_pi in both.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import mpmath_oracle as oracle
from mpmath_oracle import entropy_of, expectation, gaussian_entropy, gaussian_log_prob, mp

from truths.binomial import PRIOR, chain
from truths.elementwise import entropy_size
from truths.functions import in_nats, spoilt
from truths.gaussian import unshifted
from truths.inputs import Formula, Inputs, exact, remembered
from truths.mistakes import Mistake, amended, common, each, other, scaled
from truths.numbers import Draw
from truths.tables import BETA, SHORT, SIMPLE, drawn_schedule

LINEAR_INPUTS = BETA | {
    "slope": "of the reverse kernel, for t = 2..T: p(x^{t-1}|x^t) = N(slope x^t + shift, var I)",
    "shift": "of the reverse kernel, for t = 2..T, a vector each",
    "var": "of the reverse kernel, for t = 2..T",
}
TABLE_INPUTS = {
    **BETA,
    **PRIOR,
    "table": "p(x_i^{t-1} = 1 | x^t) at [t - 2][state][i], for t = 2..T; states of x^t are "
    "numbered by their bits, the first bit most significant",
}
TERMS = (
    "(64 + 4 T) eps times the sum of the absolute values of all terms, a square (a - b)^2 / v "
    "counting as |a - b| (|a| + |b|) / v, with |a - b| the sum of its mean and its standard "
    "deviation where it is averaged"
)
K_DEFINITION = (
    "K(x^0) = -sum_{t=2}^T E_{q(x^t|x^0)} KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ) + "
    "H_q(X^T|x^0) - H_q(X^1|x^0) + E log pi(x^T) + log pi(x^0) - E log pi(x^1), exactly; eq14 = "
    "mean over the vectors of x0 of [ -sum E KL + H_q(X^T|x^0) - H_q(X^1|x^0) ] - H(pi). "
)
K_OUTPUTS = {
    "K": "K(x^0) of each vector of x0",
    "eq14": "equation (14) averaged over the vectors of x0, whether its precondition holds or not",
}


class Parts(NamedTuple):
    """What K and (14) are put together from, for one data vector; sums over components."""

    kl: list[Any]
    h_first: Any  # H_q(X^1|x^0)
    h_last: Any  # H_q(X^T|x^0)
    cross_first: Any  # E log pi(x^1)
    cross_last: Any  # E log pi(x^T)
    log_prior: Any
    edge: Any  # E log p(x^0|x^1)
    h_prior: Any  # H(pi)

    @property
    def divergences(self) -> Any:
        return mp.fsum(self.kl)

    @property
    def entropies(self) -> Any:
        return self.h_last - self.h_first

    @property
    def K(self) -> Any:
        ends = self.cross_last + self.log_prior - self.cross_first
        return self.entropies + ends - self.divergences

    @property
    def eq14(self) -> Any:
        return self.entropies - self.h_prior - self.divergences


AllParts = Callable[..., list[Parts]]  # of the inputs; with KL(p || q); with abar_t for abar_{t-1}


def bound(parts: AllParts, *variant: bool, excess: Callable[[Parts], Any] = lambda p: 0) -> Formula:
    """K of each vector and (14), of the right parts or of wrong ones, an excess of each added."""

    def formula(x: Inputs) -> dict[str, Any]:
        pairs = [(p, excess(p)) for p in parts(x, *variant)]
        eq14 = mp.fsum(p.eq14 + more for p, more in pairs) / len(pairs)
        return {"K": [p.K + more for p, more in pairs], "eq14": eq14}

    return formula


def first_vector(x: Inputs, right: Formula) -> Any:
    return {"eq14": right(x.but(x0=x["x0"][:1]))["eq14"]} if len(x["x0"]) > 1 else None


def bound_mistakes(parts: AllParts) -> dict[str, Mistake]:
    def off(meaning: str, excess: Callable[[Parts], Any]) -> Mistake:
        return Mistake(meaning, bound(parts, excess=excess))

    return {
        "twice_the_divergences": off("-2 sum_t KL for -sum_t KL", lambda p: -p.divergences),
        "T_for_T_minus_1": off(
            "the mean KL over t times T, where there are T - 1 terms",
            lambda p: -p.divergences / len(p.kl),
        ),
        "mean_over_t": off(
            "the mean KL over t, not the sum", lambda p: p.divergences * (1 - mp.mpf(1) / len(p.kl))
        ),
        "first_divergence_dropped": off("the sum over t = 3..T", lambda p: mp.fsum(p.kl[:1])),
        "divergence_sign": off("+sum_t KL", lambda p: 2 * p.divergences),
        "kl_reversed": Mistake("KL(p || q)", bound(parts, True, False)),
        "abar_unshifted": Mistake(
            "abar_t for abar_{t-1} in the posterior", bound(parts, False, True)
        ),
        "entropies_at_every_step": off(
            "the entropies added once for each t = 2..T", lambda p: (len(p.kl) - 1) * p.entropies
        ),
        "entropies_dropped": off("H_q(X^T|X^0) - H_q(X^1|X^0) left out", lambda p: -p.entropies),
        "entropies_sign": off("H_q(X^1|X^0) - H_q(X^T|X^0)", lambda p: -2 * p.entropies),
        "both_edge_terms": off(
            "log p(x^0|x^1) added, for which the entropy H_q(X^1|X^0) stands already",
            lambda p: p.edge,
        ),
        "eq14_for_K": Mistake(
            "(14) for each x^0, whatever its precondition", lambda x: [p.eq14 for p in parts(x)]
        ),
        "first_vector_alone": Mistake(
            "(14) of the first vector, not averaged over the data", first_vector, of_truth=True
        ),
        **common("bits_for_nats mean_for_sum sign"),
    }


# Gaussian


def components(x: Inputs) -> list[dict[int, oracle.Linear]]:
    """The reverse kernels of each component, {t: (slope, shift, var)} of t = 1..T."""
    rate, steps = x.q.beta[1], list(zip(x.slope, x.shift, x.var, strict=True))
    edge = (mp.sqrt(1 - rate), mp.mpf(0), rate)
    return [
        dict(enumerate([edge, *((a, shift[i], var) for a, shift, var in steps)], start=1))
        for i in range(x.d)
    ]


@remembered
def linear_parts(x: Inputs, reverse: bool = False, late: bool = False) -> list[Parts]:
    q, T, rate = oracle.GaussianChain(x["beta"]), x.q.T, x.q.beta[1]

    def kl(v: Any, t: int, kernel: oracle.Linear) -> Any:
        wrong = unshifted(x.q, t) if late else None
        mean, noise, var = q.gap(v, t, kernel, wrong)
        variances = (kernel[2], var) if reverse else (var, kernel[2])
        return oracle.gaussian_kl(mp.sqrt(mean**2 + noise), variances[0], 0, variances[1])

    def parts(row: list[Any]) -> Parts:
        kernels = list(zip(row, components(x), strict=True))
        cross_first, cross_last, prior = (mp.fsum(q.cross(v, t) for v in row) for t in (1, T, 0))
        # x^0 - sqrt(1-beta) x^1 has mean beta x^0
        edge = [-(mp.log(2 * mp.pi * rate) + rate * v**2 + 1 - rate) / 2 for v in row]
        return Parts(
            [mp.fsum(kl(v, t, kernel[t]) for v, kernel in kernels) for t in range(2, T + 1)],
            x.d * q.conditional_entropy(1),
            x.d * q.conditional_entropy(T),
            cross_first,
            cross_last,
            prior,
            mp.fsum(edge),
            x.d * gaussian_entropy(1),
        )

    return [parts(row) for row in x.x0]


def linear_bound_scale(x: Inputs, truth: dict[str, Any]) -> dict[str, Any]:
    q, T, sizes = oracle.GaussianChain(x["beta"]), x.q.T, []
    for row in x.x0:
        size = mp.fsum(mp.log(2 * mp.pi * mp.e) + v**2 for v in row)
        size += 2 * x.d * mp.fsum(entropy_size(x.q.one_minus_abar(t)) for t in (1, T))
        for v, kernels in zip(row, components(x), strict=True):
            size += mp.fsum(divergence_size(q, v, t, kernels[t]) for t in range(2, T + 1))
        sizes.append(size)
    return {"K": sizes, "eq14": max(sizes)}


def divergence_size(q: oracle.GaussianChain, v: Any, t: int, kernel: oracle.Linear) -> Any:
    """Twice the terms of E KL."""
    (of_x0, of_xt, _), (slope, shift, var_p) = q.tables.posterior(t), kernel
    reach = q.tables.sqrt_abar(t) * abs(v) + q.tables.sqrt_one_minus_abar(t)
    whole = abs(of_x0 * v) + (of_xt + abs(slope)) * reach + abs(shift)
    mean, noise, var_q = q.gap(v, t, kernel)
    distance = abs(mean) + mp.sqrt(noise)
    return 1 + abs(mp.log(var_p / var_q)) + (var_q + distance * whole) / var_p


OF_KERNELS = common("reversed_schedule") | {
    "std_for_var": other(
        "the reverse kernel's variances taken for standard deviations",
        var=lambda x: [v**2 for v in x.var],
    ),
    "kernels_backwards": each(
        "the reverse kernels in the order T..2", lambda steps: steps[::-1], "slope", "shift", "var"
    ),
}


def chain_of(*values: Any) -> dict[str, Any]:
    return dict(zip(("beta", "slope", "shift", "var", "x0"), values, strict=True))


def drawn_chain(draw: Draw, most: int) -> dict[str, Any]:
    """Of up to `most` vectors."""
    beta = drawn_schedule(draw, 16, 5)
    d, n, steps = draw.integer(1, 3), most if most == 1 else draw.integer(1, most), len(beta) - 1
    slope, shift = draw.parts(steps, 16, 4, 18), [draw.parts(d, 16, -6, 6) for _ in beta[1:]]
    var, x0 = draw.parts(steps, 16, 2, 20), [draw.parts(d, 8, -20, 20) for _ in range(n)]
    return chain_of(beta, slope, shift, var, x0)


THREE = [0.25, 0.5, 0.25]
GOOD_CHAIN = chain_of(THREE, [0.75, 0.5], [[0.125], [-0.25]], [0.25, 0.5], [[1.5], [-0.5]])


def hard_chains(draw: Draw) -> list[dict[str, Any]]:
    """Kernels near the forward ones (as learned ones are) along the hard schedules; a single step;
    data that break (14).
    """
    cases = [
        GOOD_CHAIN,
        chain_of(THREE, [0.75, 0.5], [[0.0], [0.0]], [0.25, 0.5], [[1.0], [-1.0]]),
        chain_of([0.2, 0.3, 0.4], [0.8, 0.6], [[0.1], [-0.2]], [0.3, 0.5], [[1.5]]),
        chain_of(SIMPLE, [0.75], [[0.0, 0.5]], [0.375], [[2.0, -2.0], [0.0, 0.0]]),
        chain_of([0.375], [], [], [], [[1.5], [0.0]]),
        chain_of([1.0], [], [], [], [[0.5]]),
        chain_of([2.0**-40], [], [], [], [[2.0, -1.0]]),
    ]
    for beta, _ in SHORT:
        if len(beta) > 1 and beta[0] > 2.0**-50:
            d = draw.integer(1, 2)
            slope = [max(2.0**-10, round(64 * (1 - rate / 2)) / 64) for rate in beta[1:]]
            var = [max(rate, 2.0**-40) for rate in beta[1:]]
            x0 = [draw.parts(d, 8, -16, 16) for _ in range(draw.integer(1, 2))]
            cases.append(chain_of(beta, slope, [[0.0] * d for _ in slope], var, x0))
    flat = [0.0078125] * 199
    return [*cases, chain_of([*flat, flat[0]], [0.99609375] * 199, [[0.0]] * 199, flat, [[1.25]])]


def bad_chains(good: dict[str, Any]) -> list[Any]:
    """Changes that make no model."""
    rates, var, slope, shift = (good[name][1:] for name in ("beta", "var", "slope", "shift"))
    return [
        *spoilt(good, "bad_rate", beta=[[0.0, *rates], [1.5, *rates]]),
        *spoilt(good, "bad_variance", var=[[0.0, *var], [-0.5, *var]]),
        *spoilt(good, "bad_length", slope=[slope], shift=[shift], var=[var]),
        *spoilt(good, "bad_number", slope=[[None, *slope]]),
    ]


def chains(name: str) -> list[Any]:
    draw = Draw(name)
    return [
        *hard_chains(draw),
        *(drawn_chain(draw, 3) for _ in range(28)),
        *bad_chains(GOOD_CHAIN),
        *spoilt(GOOD_CHAIN, "empty", x0=[[], [[]]]),
        *spoilt(GOOD_CHAIN, "bad_number", x0=[[[None]]]),
        *spoilt(GOOD_CHAIN, "bad_length", x0=[[[1.0, 2.0]]]),
    ]


def one_step(x: Inputs) -> list[Parts]:
    h_last = x.d * gaussian_entropy(x.q.beta[-1])
    return [p._replace(h_last=h_last) for p in linear_parts(x)]


GAUSSIAN_BOUND = in_nats(
    name="gaussian_lower_bound",
    code="dpm_ref.bounds.lower_bound",
    equation="(13), (14)",
    definition=K_DEFINITION + "Gaussian column, linear reverse kernels; H(pi) = d log(2 pi e) / 2",
    inputs=LINEAR_INPUTS | {"x0": "the data, a list of vectors"},
    outputs=K_OUTPUTS,
    tolerance=TERMS,
    truth=bound(linear_parts),
    scale=linear_bound_scale,
    cases=chains("gaussian_lower_bound"),
    mistakes=bound_mistakes(linear_parts)
    | OF_KERNELS
    | {"end_given_the_step_before": Mistake("H_q(X^T|X^{T-1}) for H_q(X^T|X^0)", bound(one_step))},
)


def log_normals(row: list[Any], laws: list[tuple[Any, Any]]) -> Any:
    """The log density of independent components with these means and variances."""
    return mp.fsum(gaussian_log_prob(v, *law) for v, law in zip(row, laws, strict=True))


def linear_log_likelihood(x: Inputs, last: int = 0) -> list[Any]:
    """log p at x^last."""
    q = oracle.GaussianChain(x["beta"])
    laws = [q.model(kernels, last) for kernels in components(x)]
    return [log_normals(row, laws) for row in x.x0]


def linear_log_likelihood_scale(x: Inputs, truth: dict[str, Any]) -> list[Any]:
    """The absolute parts of a mean are the mean of the absolute kernels."""
    q, sizes = oracle.GaussianChain(x["beta"]), [mp.mpf(0)] * len(x["x0"])
    for i, kernels in enumerate(components(x)):
        mean, var = q.model(kernels)
        size, _ = q.model({t: (abs(a), abs(b), v) for t, (a, b, v) in kernels.items()})
        for k, row in enumerate(x.x0):
            distance = abs(row[i] - mean) * (abs(row[i]) + size) / var
            sizes[k] += 2 * entropy_size(var) + distance
    return sizes


def slopes_not_squared(x: Inputs) -> list[Any]:
    """The variance carried as slope var + noise."""
    q, laws = oracle.GaussianChain(x["beta"]), []
    for kernels in components(x):
        roots = {t: (mp.sqrt(slope), shift, var) for t, (slope, shift, var) in kernels.items()}
        laws.append((q.model(kernels)[0], q.model(roots)[1]))
    return [log_normals(row, laws) for row in x.x0]


def likelihood_mistakes(log_p: Callable[[Inputs, int], Any], integral: str) -> dict[str, Mistake]:
    return {
        "edge_left_out": Mistake(
            "the law of x^1 for that of x^0: the last step left out", lambda x: log_p(x, 1)
        ),
        "x0_not_in_the_integrand": scaled(
            f"p(x^0) as the {integral} of p(x^{{1..T}}), which is 1", lambda x: 0
        ),
        "prior_for_model": Mistake("log pi(x^0)", lambda x: log_p(x, x.q.T)),
    }


GAUSSIAN_LIKELIHOOD = in_nats(
    name="gaussian_log_likelihood",
    code="dpm_ref.exact.LinearModel.log_likelihood",
    equation="2.2, (6)",
    definition="log p(x^0), p(x^{0..T}) = pi(x^T) prod_t p(x^{t-1}|x^t), linear reverse kernels "
    "and p(x^0|x^1) = T_pi: each component of x^0 is normal; from mean 0 and variance 1 at T, mean "
    "<- slope mean + shift and variance <- slope^2 variance + var at every step",
    inputs=LINEAR_INPUTS | {"x0": "the data, a list of vectors"},
    outputs={"log_likelihood": "log p(x^0) of each vector of x0"},
    tolerance=TERMS,
    truth=linear_log_likelihood,
    scale=linear_log_likelihood_scale,
    cases=chains("gaussian_log_likelihood"),
    mistakes=OF_KERNELS
    | common("bits_for_nats sign mean_for_sum")
    | {
        **likelihood_mistakes(linear_log_likelihood, "integral"),
        "slopes_not_squared": Mistake("slope for slope^2 in the variance", slopes_not_squared),
        "bound_for_likelihood": Mistake(
            "K(x^0) for log p(x^0)", lambda x: bound(linear_parts)(x)["K"]
        ),
    },
)


# The weight of a trajectory. A column gives the logarithms of pi(x^T), p(x^{t-1}|x^t) and
# q(x^t|x^{t-1})


class Logs(NamedTuple):
    prior: Callable[[Inputs, Any], Any]
    reverse: Callable[[Inputs, int, Any, Any], Any]
    forward: Callable[[Inputs, int, Any, Any], Any]


def along(x: Inputs) -> list[tuple[int, Any, Any]]:
    """(t, x^{t-1}, x^t) for t = 1..T."""
    return [(t, *pair) for t, pair in enumerate(pairwise(x.trajectory), start=1)]


def weight(
    logs: Logs, start: int = 1, prior: int = 1, forward: int = -1, prior_at: int = -1
) -> Formula:
    """log w = log pi(x^T) + sum_{t>=start} log p(x^{t-1}|x^t) - log q(x^t|x^{t-1})."""

    def formula(x: Inputs) -> Any:
        steps = along(x)[start - 1 :]
        terms = [logs.reverse(x, *step) + forward * logs.forward(x, *step) for step in steps]
        return prior * logs.prior(x, x.trajectory[prior_at]) + mp.fsum(terms)

    return formula


def weight_mistakes(logs: Logs) -> dict[str, Mistake]:
    return {
        "sign": scaled("the work -log w for log w", lambda x: -1),
        **common("bits_for_nats mean_for_sum"),
        "prior_left_out": Mistake("p(x^T) left out", weight(logs, prior=0)),
        "forward_left_out": Mistake("not divided by q(x^t|x^{t-1})", weight(logs, forward=0)),
        "forward_multiplied": Mistake("multiplied by q(x^t|x^{t-1})", weight(logs, forward=1)),
        "edge_left_out": Mistake("the step t = 1 left out", weight(logs, start=2)),
        "prior_at_x0": Mistake("pi at x^0 for pi at x^T", weight(logs, prior_at=0)),
        "trajectory_backwards": other(
            "the trajectory read from x^T to x^0", trajectory=lambda x: x["trajectory"][::-1]
        ),
    }


def linear_prior(x: Inputs, state: list[Any]) -> Any:
    return log_normals(state, [(0, 1)] * len(state))


def linear_reverse(x: Inputs, t: int, before: list[Any], after: list[Any]) -> Any:
    laws = []
    for v, kernels in zip(after, components(x), strict=True):
        slope, shift, var = kernels[t]
        laws.append((slope * v + shift, var))
    return log_normals(before, laws)


def linear_forward(x: Inputs, t: int, before: list[Any], after: list[Any]) -> Any:
    rate = x.q.beta[t]
    return log_normals(after, [(mp.sqrt(1 - rate) * v, rate) for v in before])


def linear_weight_scale(x: Inputs, truth: dict[str, Any]) -> Any:
    total = mp.fsum(mp.log(2 * mp.pi * mp.e) + v**2 for v in x.trajectory[-1])
    for t, before, after in along(x):
        rate = x.q.beta[t]
        for a, b, kernels in zip(before, after, components(x), strict=True):
            slope, shift, var = kernels[t]
            total += 2 * entropy_size(rate) + 2 * entropy_size(var)
            kept = mp.sqrt(1 - rate) * a
            total += abs(b - kept) * (abs(b) + abs(kept)) / rate
            whole = abs(a) + abs(slope * b) + abs(shift)
            total += abs(a - slope * b - shift) * whole / var
    return total


def linear_trajectories() -> list[Any]:
    draw, cases = Draw("gaussian_log_weight"), []
    for x in [*hard_chains(draw)[:-1], *(drawn_chain(draw, 1) for _ in range(28))]:
        path = [draw.parts(len(x["x0"][0]), 16, -32, 32)]
        for rate in x["beta"]:
            # about the kernel's standard deviation, and exact in float32
            step = 2.0 ** round(math.log2(rate) / 2)
            path.append([v + step * draw.part(4, -8, 8) for v in path[-1]])
        cases.append(x | {"trajectory": path})
    good = GOOD_CHAIN | {"trajectory": [[0.5], [0.25], [-0.5], [1.0]]}
    lengths = [[[0.5], [0.25], [1.0]], [[0.5]] * 5, [[0.5, 1.0]] * 4]
    return [
        *cases,
        *bad_chains(good),
        *spoilt(good, "bad_length", trajectory=lengths),
        *spoilt(good, "empty", trajectory=[[]]),
        *spoilt(good, "bad_number", trajectory=[[[0.5], [0.25], [None], [1.0]]]),
    ]


LINEAR = Logs(linear_prior, linear_reverse, linear_forward)
LATE = LINEAR._replace(forward=lambda x, t, *pair: linear_forward(x, max(t - 1, 1), *pair))
WEIGHT = (
    "log w = log pi(x^T) + sum_{t=1}^T [ log p(x^{t-1}|x^t) - log q(x^t|x^{t-1}) ], "
    "p(x^0|x^1) = T_pi(x^0|x^1; beta_1). "
)
GAUSSIAN_WEIGHT = in_nats(
    name="gaussian_log_weight",
    code="dpm_ref.likelihood.log_weights",
    equation="(9)",
    definition=WEIGHT + "Gaussian column, linear reverse kernels",
    inputs=LINEAR_INPUTS | {"trajectory": "x^0, x^1, ..., x^T"},
    outputs={"log_weight": "log w of the trajectory"},
    tolerance=TERMS,
    truth=weight(LINEAR),
    scale=linear_weight_scale,
    cases=linear_trajectories(),
    mistakes=weight_mistakes(LINEAR)
    | OF_KERNELS
    | {"forward_late": Mistake("beta_{t-1} in q(x^t|x^{t-1}) for t >= 2", weight(LATE))},
)


# Bits


def laws_at(x: Inputs, t: int, after: Sequence[int]) -> list[tuple[Any, Any]]:
    """The pairs of p(x^{t-1}|x^t), t >= 2."""
    state = int("".join(map(str, after)), 2)
    return [(p, 1 - p) for p in exact(x["table"][t - 2][state])]


def table_kernels(x: Inputs) -> dict[int, oracle.Kernel]:
    """p(x^{t-1}|x^t) of t = 1..T."""
    return chain(x).with_edge(
        {
            t: lambda before, after, t=t: oracle.vector_prob(before, laws_at(x, t, after))
            for t in range(2, len(x["beta"]) + 1)
        },
        None,
    )


@remembered
def table_parts(x: Inputs, reverse: bool = False, late: bool = False) -> list[Parts]:
    q, T = chain(x), x.q.T

    def step(row: list[int], t: int, after: Sequence[int]) -> Any:
        """KL given x^t."""
        total, before = mp.mpf(0), x.q.abar(t if late else t - 1)
        for bit, now, prior, p in zip(row, after, x.prior, laws_at(x, t, after), strict=True):
            joint = oracle.bayes_joint(bit, now, prior, before, 1 - x.q.beta[t])
            laws = [oracle.bit(*oracle.normalised(*joint)), oracle.bit(*p)]
            total += oracle.bernoulli_kl(*(laws[::-1] if reverse else laws))
        return total

    def parts(row: list[int]) -> Parts:
        laws = {t: q.given(row, t) for t in range(T + 1)}
        logs = {state: mp.log(q.pi(state)) for state in q.states}
        edge = [mp.log(q.step(state, row, 1)) for state in q.states]
        cross = {t: expectation(laws[t].values(), logs.values()) for t in (0, 1, T)}
        kl = [
            expectation(laws[t].values(), [step(row, t, state) for state in q.states])
            for t in range(2, T + 1)
        ]
        return Parts(
            kl,
            entropy_of(laws[1].values()),
            entropy_of(laws[T].values()),
            cross[1],
            cross[T],
            cross[0],
            expectation(laws[1].values(), edge),
            entropy_of(map(q.pi, q.states)),
        )

    return [parts(row) for row in x["x0"]]


def table_bound_scale(x: Inputs, truth: dict[str, Any]) -> dict[str, Any]:
    """Each logarithm counts as itself or 1, whichever is larger: 1 less a probability is known to
    eps.
    """
    parts, ones = table_parts(x), x.d * x.q.T
    logs = [p.cross_first + p.cross_last + p.log_prior for p in parts]
    sizes = [
        p.divergences + p.h_first + p.h_last + ones - log
        for p, log in zip(parts, logs, strict=True)
    ]
    return {"K": sizes, "eq14": max(sizes) + parts[0].h_prior}


def turned(rows: list[Any]) -> list[Any]:
    """Rows in the order of the states whose numbers have the same bits from right to left."""
    d = len(rows).bit_length() - 1
    return [rows[int(format(k, f"0{d}b")[::-1], 2)] for k in range(len(rows))]


OF_TABLES = common("reversed_schedule half_for_prior") | {
    "tables_backwards": other(
        "the reverse kernels in the order T..2", table=lambda x: x["table"][::-1]
    ),
    "states_backwards": other(
        "states numbered with the last bit most significant",
        table=lambda x: [turned(rows) for rows in x["table"]],
    ),
    "complement": other(
        "1 - p for the kernel's p",
        table=lambda x: [[[1 - p for p in row] for row in rows] for rows in x.table],
    ),
}


def table_of(*values: Any) -> dict[str, Any]:
    return dict(zip(("beta", "prior", "table", "x0"), values, strict=True))


def drawn_table(draw: Draw, beta: list[float], prior: list[float], n: int) -> dict[str, Any]:
    d = len(prior)
    table = [[draw.parts(d, 16) for _ in range(2**d)] for _ in beta[1:]]
    return table_of(beta, prior, table, [draw.bits(d) for _ in range(n)])


GOOD_TABLE = table_of(SIMPLE, [0.25], [[[0.125], [0.75]]], [[1], [0]])


def bad_tables(good: dict[str, Any]) -> list[Any]:
    probabilities = [[[[1.5], [0.75]]], [[[0.5], [-0.25]]]]
    return [
        *spoilt(good, "bad_rate", beta=[[0.0, 0.5], [0.25, 1.25]]),
        *spoilt(good, "bad_probability", table=probabilities),
        *spoilt(good, "bad_prior", prior=[[0.0], [1.0]]),
        *spoilt(good, "bad_number", table=[[[[0.5], [None]]]]),
    ]


def tables(name: str, drawn: int) -> list[dict[str, Any]]:
    draw, two = Draw(name), [[[0.25], [0.75]], [[0.375], [0.5]]]
    sharp = [[[2.0**-24], [1 - 2.0**-24]]]
    cases = [
        GOOD_TABLE,
        table_of(THREE, [0.5], two, [[1], [0]]),
        table_of(THREE, [0.25], two, [[1], [0], [0], [0]]),
        table_of([0.2, 0.3], [0.2], [[[0.1], [0.7]]], [[1]]),
        table_of([0.375], [0.25, 0.75], [], [[1, 0]]),
        table_of([1.0], [0.25], [], [[1], [0]]),
        table_of([2.0**-30], [0.25], [], [[1], [0]]),
        table_of(SIMPLE, [0.25], sharp, [[1], [0]]),
        table_of([2.0**-40, 2.0**-30], [0.5], sharp, [[1]]),
        table_of([0.25, 1.0], [0.25], [[[0.125], [0.875]]], [[1], [0]]),
        table_of([1 - 2.0**-24, 0.5], [0.25], [[[0.125], [0.25]]], [[1], [0]]),
        drawn_table(draw, [1 / 2**k for k in (5, 4, 3, 2, 1)], [0.25, 0.5], 2),
        drawn_table(draw, [0.0625] * 12, [0.1875], 2),
        drawn_table(draw, [0.25, 0.5], [0.25, 0.5, 0.8125], 2),
    ]
    for _ in range(drawn):
        d = draw.choice([1, 1, 2, 2])
        beta, prior = drawn_schedule(draw, 16, 4), draw.parts(d, 16)
        cases.append(drawn_table(draw, beta, prior, draw.integer(1, 2)))
    return cases


def table_cases(name: str) -> list[Any]:
    return [
        *tables(name, 34),
        *bad_tables(GOOD_TABLE),
        *spoilt(GOOD_TABLE, "empty", x0=[[]]),
        *spoilt(GOOD_TABLE, "bad_state", x0=[[[2]], [[0.5]]]),
        *spoilt(GOOD_TABLE, "bad_length", x0=[[[1, 0, 1]]]),
        *spoilt(GOOD_TABLE, "bad_number", x0=[[[None]]]),
    ]


BINOMIAL_BOUND = in_nats(
    name="binomial_lower_bound",
    code="dpm_ref.exact.BinaryModel.lower_bound",
    equation="(13), (14)",
    definition=K_DEFINITION
    + "Binomial column, all states enumerated; H(pi) = -sum_i [ pi_i log pi_i + (1 - pi_i) log(1 - "
    "pi_i) ]",
    inputs=TABLE_INPUTS | {"x0": "the data, a list of vectors of bits"},
    outputs=K_OUTPUTS,
    tolerance="(64 + 4 T) eps times the sum of the absolute values of all terms and of d T, the "
    "size of rounding in 1 - p",
    truth=bound(table_parts),
    scale=table_bound_scale,
    cases=table_cases("binomial_lower_bound"),
    mistakes=bound_mistakes(table_parts) | OF_TABLES,
)


@remembered
def table_marginal(x: Inputs, last: int = 0) -> dict[oracle.State, Any]:
    """p(x^last) of every state."""
    return chain(x).model(table_kernels(x), last=last)


def with_average(values: list[Any]) -> dict[str, Any]:
    """log p(x^0) of each vector, and L."""
    return {"log_likelihood": values, "L": mp.fsum(values) / len(values)}


def table_log_likelihood(x: Inputs, last: int = 0) -> dict[str, Any]:
    law = table_marginal(x, last)
    return with_average([mp.log(law[tuple(row)]) for row in x["x0"]])


def table_likelihood_scale(x: Inputs, truth: dict[str, Any]) -> dict[str, Any]:
    sizes = [1 + abs(value) for value in truth["log_likelihood"]]
    return {"log_likelihood": sizes, "L": max(sizes)}


BINOMIAL_LIKELIHOOD = in_nats(
    name="binomial_log_likelihood",
    code="dpm_ref.exact.BinaryModel.log_likelihood",
    equation="2.2, (6), (10)",
    definition="log p(x^0), p(x^0) = sum over x^{1..T} of pi(x^T) prod_t p(x^{t-1}|x^t), all "
    "states enumerated; p(x^0|x^1) = T_pi; L = E_{q(x^0)} log p(x^0), the data being the vectors "
    "of x0",
    inputs=TABLE_INPUTS | {"x0": "the data, a list of vectors of bits"},
    outputs={"log_likelihood": "log p(x^0) of each vector of x0", "L": "their mean"},
    tolerance="(64 + 4 T) eps (1 + |log_likelihood|); p(x^0) is a sum of positive terms",
    truth=table_log_likelihood,
    scale=table_likelihood_scale,
    cases=table_cases("binomial_log_likelihood"),
    mistakes=OF_TABLES
    | common("bits_for_nats sign")
    | {
        "mean_for_sum": scaled("divided by the number of bits", lambda x: mp.mpf(1) / x.d),
        **likelihood_mistakes(table_log_likelihood, "sum"),
        "probability_for_log": amended(
            "p(x^0), not its logarithm",
            lambda right: with_average([mp.exp(v) for v in right["log_likelihood"]]),
        ),
        "bound_for_likelihood": Mistake(
            "K(x^0) for log p(x^0)", lambda x: with_average(bound(table_parts)(x)["K"])
        ),
        "not_weighted_by_the_data": Mistake(
            "L as the sum of log p over all states, without q(x^0)",
            lambda x: {"L": mp.fsum(map(mp.log, table_marginal(x).values()))},
        ),
    },
)


def table_trajectories() -> list[Any]:
    draw = Draw("binomial_log_weight/trajectory")
    cases = [
        x | {"trajectory": [draw.bits(len(x["prior"])) for _ in range(len(x["beta"]) + 1)]}
        for x in tables("binomial_log_weight", 36)
    ]
    good = GOOD_TABLE | {"trajectory": [[1], [0], [0]]}
    return [
        *cases,
        *bad_tables(good),
        *spoilt(good, "bad_length", trajectory=[[[1], [0]], [[1]] * 4]),
        *spoilt(good, "bad_state", trajectory=[[[1], [2], [0]]]),
        *spoilt(good, "empty", trajectory=[[]]),
        *spoilt(good, "bad_number", trajectory=[[[1], [None], [0]]]),
    ]


TABLE = Logs(
    prior=lambda x, state: mp.log(chain(x).pi(state)),
    reverse=lambda x, t, before, after: mp.log(table_kernels(x)[t](before, after)),
    forward=lambda x, t, before, after: mp.log(chain(x).step(before, after, t)),
)


def table_weight_scale(x: Inputs, truth: dict[str, Any]) -> Any:
    """Each logarithm counts as itself or 1, whichever is larger."""
    return 2 * len(x["prior"]) * len(x["beta"]) - weight(TABLE, forward=1)(x)


BINOMIAL_WEIGHT = in_nats(
    name="binomial_log_weight",
    code="dpm_ref.likelihood.log_weights",
    equation="(9)",
    definition=WEIGHT + "Binomial column",
    inputs=TABLE_INPUTS | {"trajectory": "x^0, x^1, ..., x^T, bits"},
    outputs={"log_weight": "log w of the trajectory"},
    tolerance="(64 + 4 T) eps times the sum of the absolute values of all logarithms and of 2 d T, "
    "the size of rounding in 1 - p",
    truth=weight(TABLE),
    scale=table_weight_scale,
    cases=table_trajectories(),
    mistakes=weight_mistakes(TABLE) | OF_TABLES,
)

FUNCTIONS = [GAUSSIAN_BOUND, GAUSSIAN_LIKELIHOOD, GAUSSIAN_WEIGHT]
FUNCTIONS += [BINOMIAL_BOUND, BINOMIAL_LIKELIHOOD, BINOMIAL_WEIGHT]

"""Whole models whose answers are known: K and equation (14), log p(x^0), and the weight of one
trajectory (9).

Gaussian: p(x^{t-1}|x^t) = N(slope_t x^t + shift_t, var_t I), so that every divergence is a
quadratic whose mean is known, and p(x^0) is Gaussian. Bits: a table of probabilities for every
state of x^t, so that everything is a sum over states. p(x^0|x^1) = T_pi in both.
"""

import math
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

from truths import binomial, gaussian
from truths.functions import (
    Case,
    Function,
    Mistake,
    changed,
    in_bits,
    multiplied,
    negative,
    reversed_schedule,
)
from truths.numbers import Draw, exact, mp
from truths.tables import SHORT, drawn_schedule, tables

Formula = Callable[[dict[str, Any]], dict[str, Any]]
LINEAR_INPUTS = {
    "beta": "beta_1, ..., beta_T, each in (0, 1]",
    "slope": "of the reverse kernel, for t = 2..T: p(x^{t-1}|x^t) = N(slope x^t + shift, var I)",
    "shift": "of the reverse kernel, for t = 2..T, a vector each",
    "var": "of the reverse kernel, for t = 2..T",
}
TABLE_INPUTS = {
    "beta": "beta_1, ..., beta_T, each in (0, 1]",
    "prior": "pi_1 of every bit, strictly between 0 and 1",
    "table": "p(x_i^{t-1} = 1 | x^t) at [t - 2][state][i], for t = 2..T; states of x^t are "
    "numbered by their bits, the first bit most "
    "significant",
}
TERMS = (
    "(64 + 4 T) eps times the sum of the absolute values of all terms, a square (a - b)^2 / v "
    "counting as |a - b| (|a| + |b|) / v, "
    "with |a - b| the sum of its mean and its standard deviation where it is averaged"
)
K_DEFINITION = (
    "K(x^0) = -sum_{t=2}^T E_{q(x^t|x^0)} KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ) + "
    "H_q(X^T|x^0) - H_q(X^1|x^0) + E log "
    "pi(x^T) + "
    "log pi(x^0) - E log pi(x^1), exactly; eq14 = mean over the vectors of x0 of [ -sum E KL + "
    "H_q(X^T|x^0) - H_q(X^1|x^0) "
    "] - H(pi). "
)
K_OUTPUTS = {
    "K": "K(x^0) of each vector of x0",
    "eq14": "equation (14) averaged over the vectors of x0, whether its precondition holds or not",
}


class Parts:
    """What K and (14) are put together from, for one data vector; sums over components."""

    def __init__(
        self,
        kl: list[Any],
        h_first: Any,
        h_last: Any,
        cross_first: Any,
        cross_last: Any,
        log_prior: Any,
        edge: Any,
    ) -> None:
        self.kl, self.log_prior, self.edge = kl, log_prior, edge  # edge: E log p(x^0|x^1)
        self.h_first, self.h_last = h_first, h_last  # H_q(X^1|x^0), H_q(X^T|x^0)
        self.cross_first, self.cross_last = cross_first, cross_last  # E log pi(x^1), E log pi(x^T)

    def entropies(self) -> Any:
        return self.h_last - self.h_first

    def K(self) -> Any:
        return (
            -mp.fsum(self.kl)
            + self.entropies()
            + self.cross_last
            + self.log_prior
            - self.cross_first
        )

    def eq14(self, h_prior: Any) -> Any:
        return -mp.fsum(self.kl) + self.entropies() - h_prior


AllParts = Callable[..., tuple[list[Parts], Any]]


def remembered(parts: AllParts) -> AllParts:
    """The same parts, computed once for all the mistakes that put them together in another way."""
    known: dict[Any, Any] = {}

    def formula(
        x: dict[str, Any], reverse: bool = False, unshifted: bool = False
    ) -> tuple[list[Parts], Any]:
        key = repr(x), reverse, unshifted, mp.prec
        if key not in known:
            if len(known) > 20:
                known.clear()
            known[key] = parts(x, reverse, unshifted)
        return known[key]

    return formula


def bound(parts: AllParts, **variant: Any) -> Formula:
    """K of each vector and (14), of the right parts or of wrong ones."""

    def formula(x: dict[str, Any]) -> dict[str, Any]:
        each, h_prior = parts(x, **variant)
        return {
            "K": [p.K() for p in each],
            "eq14": mp.fsum(p.eq14(h_prior) for p in each) / len(each),
        }

    return formula


def off_by(parts: AllParts, excess: Callable[[Parts, dict[str, Any]], Any]) -> Formula:
    """K and (14) with an excess of each vector added."""

    def formula(x: dict[str, Any]) -> dict[str, Any]:
        each, h_prior = parts(x)
        more = [excess(p, x) for p in each]
        return {
            "K": [p.K() + m for p, m in zip(each, more, strict=True)],
            "eq14": mp.fsum(p.eq14(h_prior) + m for p, m in zip(each, more, strict=True))
            / len(each),
        }

    return formula


def eq14_for_each(parts: AllParts) -> Formula:
    def formula(x: dict[str, Any]) -> dict[str, Any]:
        each, h_prior = parts(x)
        return {"K": [p.eq14(h_prior) for p in each]}

    return formula


def data_first(x: dict[str, Any], formula: Formula) -> dict[str, Any] | None:
    return formula({**x, "x0": x["x0"][:1]}) if len(x["x0"]) > 1 else None


def bound_mistakes(parts: AllParts) -> dict[str, Mistake]:
    right = bound(parts)
    return {
        "twice_the_divergences": Mistake(
            "-2 sum_t KL for -sum_t KL", off_by(parts, lambda p, x: -mp.fsum(p.kl))
        ),
        "T_for_T_minus_1": Mistake(
            "the mean KL over t times T, where there are T - 1 terms",
            off_by(parts, lambda p, x: -mp.fsum(p.kl) / len(p.kl)),
        ),
        "mean_over_t": Mistake(
            "the mean KL over t, not the sum",
            off_by(parts, lambda p, x: mp.fsum(p.kl) * (1 - mp.mpf(1) / len(p.kl))),
        ),
        "first_divergence_dropped": Mistake(
            "the sum over t = 3..T", off_by(parts, lambda p, x: p.kl[0] if p.kl else mp.mpf(0))
        ),
        "divergence_sign": Mistake("+sum_t KL", off_by(parts, lambda p, x: 2 * mp.fsum(p.kl))),
        "kl_reversed": Mistake("KL(p || q)", bound(parts, reverse=True)),
        "abar_unshifted": Mistake(
            "abar_t for abar_{t-1} in the posterior", bound(parts, unshifted=True)
        ),
        "entropies_at_every_step": Mistake(
            "the entropies added once for each t = 2..T",
            off_by(parts, lambda p, x: (len(x["beta"]) - 2) * p.entropies()),
        ),
        "entropies_dropped": Mistake(
            "H_q(X^T|X^0) - H_q(X^1|X^0) left out", off_by(parts, lambda p, x: -p.entropies())
        ),
        "entropies_sign": Mistake(
            "H_q(X^1|X^0) - H_q(X^T|X^0)", off_by(parts, lambda p, x: -2 * p.entropies())
        ),
        "both_edge_terms": Mistake(
            "log p(x^0|x^1) added, for which the entropy H_q(X^1|X^0) stands already",
            off_by(parts, lambda p, x: p.edge),
        ),
        "eq14_for_K": Mistake("(14) for each x^0, whatever its precondition", eq14_for_each(parts)),
        "first_vector_alone": Mistake(
            "(14) of the first vector, not averaged over the data",
            lambda x: (lambda r: r and {"eq14": r["eq14"]})(data_first(x, right)),
        ),
        "bits_for_nats": in_bits(right),
        "mean_for_sum": Mistake(
            "the mean over components, not the sum",
            multiplied(right, lambda x: mp.mpf(1) / len(x["x0"][0])),
        ),
        "sign": negative(right),
    }


# Gaussian


def expected_kl(x: dict[str, Any], x0: list[Any], t: int, reverse: bool, unshifted: bool) -> Any:
    """E_{q(x^t|x^0)} KL of one step, summed over components."""
    q = tables(x)
    of_x0, of_xt, var_q = gaussian.posterior_coefficients(q, t)
    if unshifted:
        of_x0, of_xt, var_q = (
            mp.sqrt(q.abar[t]) * q.beta[t] / (1 - q.abar[t]),
            mp.sqrt(1 - q.beta[t]),
            q.beta[t],
        )
    slope, var_p = exact(x["slope"][t - 2]), exact(x["var"][t - 2])
    total = mp.mpf(0)
    for v, shift in zip(x0, exact(x["shift"][t - 2]), strict=True):
        mean = of_x0 * v + (of_xt - slope) * mp.sqrt(q.abar[t]) * v - shift
        square = mean**2 + (of_xt - slope) ** 2 * (1 - q.abar[t])
        total += (
            (mp.log(var_q / var_p) + (var_p + square) / var_q - 1)
            if reverse
            else (mp.log(var_p / var_q) + (var_q + square) / var_p - 1)
        ) / 2
    return total


@remembered
def linear_parts(
    x: dict[str, Any], reverse: bool = False, unshifted: bool = False
) -> tuple[list[Parts], Any]:
    q, T = tables(x), len(x["beta"])
    d = len(x["x0"][0])

    def cross(v: Any, t: int) -> Any:
        return -(mp.log(2 * mp.pi) + q.abar[t] * v**2 + 1 - q.abar[t]) / 2

    each, rate = [], q.beta[1]
    for row in exact(x["x0"]):
        edge = mp.fsum(
            -(mp.log(2 * mp.pi * rate) + rate * v**2 + 1 - rate) / 2 for v in row
        )  # x^0 - sqrt(1-beta) x^1 has mean beta x^0
        each.append(
            Parts(
                [expected_kl(x, row, t, reverse, unshifted) for t in range(2, T + 1)],
                d * gaussian.entropy(1 - q.abar[1]),
                d * gaussian.entropy(1 - q.abar[T]),
                mp.fsum(cross(v, 1) for v in row),
                mp.fsum(cross(v, T) for v in row),
                mp.fsum(cross(v, 0) for v in row),
                edge,
            )
        )
    return each, d * gaussian.entropy(mp.mpf(1))


def linear_bound_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    q, T, one = tables(x), len(x["beta"]), mp.mpf(1)
    constant = mp.log(2 * mp.pi * mp.e)
    sizes = []
    for row in exact(x["x0"]):
        size = mp.fsum(constant + v**2 for v in row)
        for t in (1, T):
            size += len(row) * (constant + abs(mp.log(1 - q.abar[t])))
        for t in range(2, T + 1):
            of_x0, of_xt, var_q = gaussian.posterior_coefficients(q, t)
            slope, var_p = exact(x["slope"][t - 2]), exact(x["var"][t - 2])
            for v, shift in zip(row, exact(x["shift"][t - 2]), strict=True):
                reach = mp.sqrt(q.abar[t]) * abs(v) + mp.sqrt(1 - q.abar[t])
                whole = abs(of_x0 * v) + (of_xt + abs(slope)) * reach + abs(shift)
                distance = abs(of_x0 * v + (of_xt - slope) * mp.sqrt(q.abar[t]) * v - shift) + abs(
                    of_xt - slope
                ) * mp.sqrt(1 - q.abar[t])
                size += one + abs(mp.log(var_p / var_q)) + (var_q + distance * whole) / var_p
        sizes.append(size)
    return {"K": sizes, "eq14": max(sizes)}


def std_of_kernel(truth: Formula) -> Mistake:
    return Mistake(
        "the reverse kernel's variances taken for standard deviations",
        changed(truth, var=lambda x: [v**2 for v in exact(x["var"])]),
    )


def kernels_backwards(truth: Formula) -> Mistake:
    return Mistake(
        "the reverse kernels in the order T..2",
        changed(
            truth,
            slope=lambda x: x["slope"][::-1],
            shift=lambda x: x["shift"][::-1],
            var=lambda x: x["var"][::-1],
        ),
    )


def chain(
    beta: list[float],
    slope: list[float],
    shift: list[list[float]],
    var: list[float],
    x0: list[list[float]],
) -> dict[str, Any]:
    return {"beta": beta, "slope": slope, "shift": shift, "var": var, "x0": x0}


def drawn_chain(draw: Draw, beta: list[float], d: int, n: int) -> dict[str, Any]:
    T = len(beta)
    return chain(
        beta,
        [draw.part(16, 4, 18) for _ in range(2, T + 1)],
        [[draw.part(16, -6, 6) for _ in range(d)] for _ in range(2, T + 1)],
        [draw.part(16, 2, 20) for _ in range(2, T + 1)],
        [[draw.part(8, -20, 20) for _ in range(d)] for _ in range(n)],
    )


def hard_chains(draw: Draw) -> list[dict[str, Any]]:
    """Kernels near the forward ones (as learned ones are) along the hard schedules; a single step;
    data that break (14).
    """
    cases = [
        chain([0.25, 0.5, 0.25], [0.75, 0.5], [[0.125], [-0.25]], [0.25, 0.5], [[1.5], [-0.5]]),
        chain([0.25, 0.5, 0.25], [0.75, 0.5], [[0.0], [0.0]], [0.25, 0.5], [[1.0], [-1.0]]),
        chain([0.2, 0.3, 0.4], [0.8, 0.6], [[0.1], [-0.2]], [0.3, 0.5], [[1.5]]),
        chain([0.25, 0.5], [0.75], [[0.0, 0.5]], [0.375], [[2.0, -2.0], [0.0, 0.0]]),
        chain([0.375], [], [], [], [[1.5], [0.0]]),
        chain([1.0], [], [], [], [[0.5]]),
        chain([2.0**-40], [], [], [], [[2.0, -1.0]]),
    ]
    for beta, _ in SHORT:
        if len(beta) > 1 and beta[0] > 2.0**-50:
            d = draw.integer(1, 2)
            slope = [max(2.0**-10, round(64 * (1 - rate / 2)) / 64) for rate in beta[1:]]
            cases.append(
                chain(
                    beta,
                    slope,
                    [[0.0] * d for _ in slope],
                    [max(rate, 2.0**-40) for rate in beta[1:]],
                    [[draw.part(8, -16, 16) for _ in range(d)] for _ in range(draw.integer(1, 2))],
                )
            )
    flat = [0.0078125] * 200
    cases.append(chain(flat, [0.99609375] * 199, [[0.0]] * 199, flat[1:], [[1.25]]))
    return cases


def bad_chains(x: dict[str, Any]) -> list[Case]:
    """Changes that make no model, or no data."""
    first = x["var"][1:]
    return [
        Case({**x, **change}, why)
        for change, why in (
            ({"beta": [0.0, *x["beta"][1:]]}, "bad_rate"),
            ({"beta": [1.5, *x["beta"][1:]]}, "bad_rate"),
            ({"var": [0.0, *first]}, "bad_variance"),
            ({"var": [-0.5, *first]}, "bad_variance"),
            ({"slope": x["slope"][1:], "shift": x["shift"][1:], "var": first}, "bad_length"),
            ({"slope": [None, *x["slope"][1:]]}, "bad_number"),
        )
    ]


GOOD_CHAIN = chain([0.25, 0.5, 0.25], [0.75, 0.5], [[0.125], [-0.25]], [0.25, 0.5], [[1.5], [-0.5]])


def chains(name: str, drawn: int) -> list[Case]:
    draw = Draw(name)
    cases = [Case(x) for x in hard_chains(draw)]
    cases += [
        Case(drawn_chain(draw, drawn_schedule(draw, 16, 5), draw.integer(1, 3), draw.integer(1, 3)))
        for _ in range(drawn)
    ]
    return (
        cases
        + bad_chains(GOOD_CHAIN)
        + [
            Case({**GOOD_CHAIN, "x0": x0}, why)
            for x0, why in (
                ([], "empty"),
                ([[]], "empty"),
                ([[None]], "bad_number"),
                ([[1.0, 2.0]], "bad_length"),
            )
        ]
    )


linear_bound = bound(linear_parts)
GAUSSIAN_BOUND = Function(
    name="gaussian_lower_bound",
    code="dpm_ref.bounds.lower_bound",
    equation="(13), (14)",
    units="nats",
    definition=K_DEFINITION + "Gaussian column, linear reverse kernels; H(pi) = d log(2 pi e) / 2",
    inputs=LINEAR_INPUTS | {"x0": "the data, a list of vectors"},
    outputs=K_OUTPUTS,
    tolerance=TERMS,
    truth=linear_bound,
    scale=linear_bound_scale,
    cases=chains("gaussian_lower_bound", 28),
    mistakes=bound_mistakes(linear_parts)
    | {
        "reversed_schedule": reversed_schedule(linear_bound),
        "std_for_var": std_of_kernel(linear_bound),
        "kernels_backwards": kernels_backwards(linear_bound),
        "end_given_the_step_before": Mistake(
            "H_q(X^T|X^{T-1}) for H_q(X^T|X^0)",
            off_by(
                linear_parts,
                lambda p, x: (
                    len(x["x0"][0])
                    * (
                        gaussian.entropy(tables(x).beta[-1])
                        - gaussian.entropy(1 - tables(x).abar[-1])
                    )
                ),
            ),
        ),
    },
)


def log_normal(v: Any, mean: Any, var: Any) -> Any:
    return -(mp.log(2 * mp.pi * var) + (v - mean) ** 2 / var) / 2


def linear_law(x: dict[str, Any], d: int, last: int = 0) -> tuple[list[Any], list[Any], Any]:
    """p(x^last): the mean of each component, the sum of its absolute parts, and the variance."""
    q = tables(x)
    mean, size, var = [mp.mpf(0)] * d, [mp.mpf(0)] * d, mp.mpf(1)
    for t in range(q.T, last, -1):
        slope, shift, noise = (
            (exact(x["slope"][t - 2]), exact(x["shift"][t - 2]), exact(x["var"][t - 2]))
            if t > 1
            else (mp.sqrt(1 - q.beta[1]), [mp.mpf(0)] * d, q.beta[1])
        )
        mean = [slope * m + b for m, b in zip(mean, shift, strict=True)]
        size = [abs(slope) * m + abs(b) for m, b in zip(size, shift, strict=True)]
        var = slope**2 * var + noise
    return mean, size, var


def linear_log_likelihood(x: dict[str, Any], last: int = 0) -> dict[str, Any]:
    mean, _, var = linear_law(x, len(x["x0"][0]), last)
    return {
        "log_likelihood": [
            mp.fsum(log_normal(v, m, var) for v, m in zip(row, mean, strict=True))
            for row in exact(x["x0"])
        ]
    }


def linear_log_likelihood_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    mean, size, var = linear_law(x, len(x["x0"][0]))
    return {
        "log_likelihood": [
            mp.fsum(
                mp.log(2 * mp.pi * mp.e) + abs(mp.log(var)) + abs(v - m) * (abs(v) + s) / var
                for v, m, s in zip(row, mean, size, strict=True)
            )
            for row in exact(x["x0"])
        ]
    }


def slopes_not_squared(x: dict[str, Any]) -> dict[str, Any]:
    """The variance carried as slope var + noise."""
    q, d = tables(x), len(x["x0"][0])
    mean, _, _ = linear_law(x, d)
    var = mp.mpf(1)
    for t in range(q.T, 0, -1):
        slope, noise = (
            (exact(x["slope"][t - 2]), exact(x["var"][t - 2]))
            if t > 1
            else (mp.sqrt(1 - q.beta[1]), q.beta[1])
        )
        var = slope * var + noise
    return {
        "log_likelihood": [
            mp.fsum(log_normal(v, m, var) for v, m in zip(row, mean, strict=True))
            for row in exact(x["x0"])
        ]
    }


GAUSSIAN_LIKELIHOOD = Function(
    name="gaussian_log_likelihood",
    code="dpm_ref.exact.LinearModel.log_likelihood",
    equation="2.2, (6)",
    units="nats",
    definition="log p(x^0), p(x^{0..T}) = pi(x^T) prod_t p(x^{t-1}|x^t), linear reverse kernels "
    "and p(x^0|x^1) = T_pi: each component "
    "of x^0 is "
    "normal; from mean 0 and variance 1 at T, mean <- slope mean + shift and variance <- slope^2 "
    "variance + var at every step",
    inputs=LINEAR_INPUTS | {"x0": "the data, a list of vectors"},
    outputs={"log_likelihood": "log p(x^0) of each vector of x0"},
    tolerance=TERMS,
    truth=linear_log_likelihood,
    scale=linear_log_likelihood_scale,
    cases=chains("gaussian_log_likelihood", 28),
    mistakes={
        "reversed_schedule": reversed_schedule(linear_log_likelihood),
        "std_for_var": std_of_kernel(linear_log_likelihood),
        "kernels_backwards": kernels_backwards(linear_log_likelihood),
        "bits_for_nats": in_bits(linear_log_likelihood),
        "sign": negative(linear_log_likelihood),
        "mean_for_sum": Mistake(
            "the mean over components, not the sum",
            multiplied(linear_log_likelihood, lambda x: mp.mpf(1) / len(x["x0"][0])),
        ),
        "edge_left_out": Mistake(
            "the law of x^1 for that of x^0: the last step left out",
            lambda x: linear_log_likelihood(x, 1),
        ),
        "x0_not_in_the_integrand": Mistake(
            "p(x^0) as the integral of p(x^{1..T}), which is 1",
            lambda x: {"log_likelihood": [mp.mpf(0)] * len(x["x0"])},
        ),
        "prior_for_model": Mistake(
            "log pi(x^0)",
            lambda x: {
                "log_likelihood": [
                    mp.fsum(log_normal(v, 0, 1) for v in row) for row in exact(x["x0"])
                ]
            },
        ),
        "slopes_not_squared": Mistake("slope for slope^2 in the variance", slopes_not_squared),
        "bound_for_likelihood": Mistake(
            "K(x^0) for log p(x^0)", lambda x: {"log_likelihood": linear_bound(x)["K"]}
        ),
    },
)


def along(x: dict[str, Any]) -> list[tuple[int, list[Any], list[Any]]]:
    """(t, x^{t-1}, x^t) for t = 1..T."""
    return [
        (t, before, after)
        for t, (before, after) in enumerate(pairwise(exact(x["trajectory"])), start=1)
    ]


def linear_reverse(x: dict[str, Any], t: int, before: list[Any], after: list[Any]) -> list[Any]:
    """The terms of log p(x^{t-1}|x^t)."""
    q = tables(x)
    if t == 1:
        return [
            log_normal(a, mp.sqrt(1 - q.beta[1]) * b, q.beta[1])
            for a, b in zip(before, after, strict=True)
        ]
    slope, var = exact(x["slope"][t - 2]), exact(x["var"][t - 2])
    return [
        log_normal(a, slope * b + s, var)
        for a, b, s in zip(before, after, exact(x["shift"][t - 2]), strict=True)
    ]


def linear_forward(x: dict[str, Any], t: int, before: list[Any], after: list[Any]) -> list[Any]:
    """The terms of log q(x^t|x^{t-1})."""
    rate = tables(x).beta[t]
    return [log_normal(b, mp.sqrt(1 - rate) * a, rate) for a, b in zip(before, after, strict=True)]


def linear_prior(x: dict[str, Any], state: list[Any]) -> list[Any]:
    return [log_normal(v, 0, 1) for v in state]


Terms = Callable[..., list[Any]]


def weight(
    prior: Terms,
    reverse: Terms,
    forward: Terms,
    start: int = 1,
    signs: tuple[int, int, int] = (1, 1, -1),
) -> Formula:
    """log w = log p(x^T) + sum_{t>=start} log p(x^{t-1}|x^t) - log q(x^t|x^{t-1})."""

    def formula(x: dict[str, Any]) -> dict[str, Any]:
        total = signs[0] * mp.fsum(prior(x, exact(x["trajectory"][-1])))
        for t, before, after in along(x):
            if t >= start:
                total += signs[1] * mp.fsum(reverse(x, t, before, after)) + signs[2] * mp.fsum(
                    forward(x, t, before, after)
                )
        return {"log_weight": total}

    return formula


def weight_mistakes(prior: Terms, reverse: Terms, forward: Terms) -> dict[str, Mistake]:
    right = weight(prior, reverse, forward)

    def prior_at_x0(x: dict[str, Any]) -> dict[str, Any]:
        ends = mp.fsum(prior(x, exact(x["trajectory"][0]))) - mp.fsum(
            prior(x, exact(x["trajectory"][-1]))
        )
        return {"log_weight": right(x)["log_weight"] + ends}

    return {
        "sign": Mistake("the work -log w for log w", multiplied(right, lambda x: mp.mpf(-1))),
        "bits_for_nats": in_bits(right),
        "mean_for_sum": Mistake(
            "the mean over components, not the sum",
            multiplied(right, lambda x: mp.mpf(1) / len(x["trajectory"][0])),
        ),
        "prior_left_out": Mistake(
            "p(x^T) left out", weight(prior, reverse, forward, signs=(0, 1, -1))
        ),
        "forward_left_out": Mistake(
            "not divided by q(x^t|x^{t-1})", weight(prior, reverse, forward, signs=(1, 1, 0))
        ),
        "forward_multiplied": Mistake(
            "multiplied by q(x^t|x^{t-1})", weight(prior, reverse, forward, signs=(1, 1, 1))
        ),
        "edge_left_out": Mistake(
            "the step t = 1 left out", weight(prior, reverse, forward, start=2)
        ),
        "prior_at_x0": Mistake("pi at x^0 for pi at x^T", prior_at_x0),
        "trajectory_backwards": Mistake(
            "the trajectory read from x^T to x^0",
            changed(right, trajectory=lambda x: x["trajectory"][::-1]),
        ),
        "reversed_schedule": reversed_schedule(right),
    }


def linear_weight_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    q, constant = tables(x), mp.log(2 * mp.pi * mp.e)
    total = mp.fsum(constant + v**2 for v in exact(x["trajectory"][-1]))
    for t, before, after in along(x):
        rate = q.beta[t]
        slope, var = (
            (mp.sqrt(1 - rate), rate)
            if t == 1
            else (exact(x["slope"][t - 2]), exact(x["var"][t - 2]))
        )
        shift = [mp.mpf(0)] * len(before) if t == 1 else exact(x["shift"][t - 2])
        for a, b, s in zip(before, after, shift, strict=True):
            kept = mp.sqrt(1 - rate) * a
            total += (
                2 * constant
                + abs(mp.log(rate))
                + abs(mp.log(var))
                + abs(b - kept) * (abs(b) + abs(kept)) / rate
            )
            total += abs(a - slope * b - s) * (abs(a) + abs(slope * b) + abs(s)) / var
    return {"log_weight": total}


def without_data(x: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in x.items() if name != "x0"}


def linear_trajectories() -> list[Case]:
    draw, cases = Draw("gaussian_log_weight"), []
    for x in [
        *hard_chains(draw)[:-1],
        *(drawn_chain(draw, drawn_schedule(draw, 16, 5), draw.integer(1, 3), 1) for _ in range(28)),
    ]:
        d = len(x["x0"][0])
        path = [[draw.part(16, -32, 32) for _ in range(d)]]
        for rate in x["beta"]:
            step = 2.0 ** round(
                math.log2(rate) / 2
            )  # about the kernel's standard deviation, and exact in float32
            path.append([v + step * draw.part(4, -8, 8) for v in path[-1]])
        cases.append(Case({**without_data(x), "trajectory": path}))
    good = {**without_data(GOOD_CHAIN), "trajectory": [[0.5], [0.25], [-0.5], [1.0]]}
    return (
        cases
        + bad_chains(good)
        + [
            Case({**good, "trajectory": path}, why)
            for path, why in (
                ([[0.5], [0.25], [1.0]], "bad_length"),
                ([[0.5]] * 5, "bad_length"),
                ([[0.5, 1.0]] * 4, "bad_length"),
                ([], "empty"),
                ([[0.5], [0.25], [None], [1.0]], "bad_number"),
            )
        ]
    )


LINEAR_WEIGHT = (linear_prior, linear_reverse, linear_forward)
WEIGHT = (
    "log w = log pi(x^T) + sum_{t=1}^T [ log p(x^{t-1}|x^t) - log q(x^t|x^{t-1}) ], "
    "p(x^0|x^1) = T_pi(x^0|x^1; beta_1). "
)
GAUSSIAN_WEIGHT = Function(
    name="gaussian_log_weight",
    code="dpm_ref.likelihood.log_weights",
    equation="(9)",
    units="nats",
    definition=WEIGHT + "Gaussian column, linear reverse kernels",
    inputs=LINEAR_INPUTS | {"trajectory": "x^0, x^1, ..., x^T"},
    outputs={"log_weight": "log w of the trajectory"},
    tolerance=TERMS,
    truth=weight(*LINEAR_WEIGHT),
    scale=linear_weight_scale,
    cases=linear_trajectories(),
    mistakes=weight_mistakes(*LINEAR_WEIGHT)
    | {
        "std_for_var": std_of_kernel(weight(*LINEAR_WEIGHT)),
        "kernels_backwards": kernels_backwards(weight(*LINEAR_WEIGHT)),
        "forward_late": Mistake(
            "beta_{t-1} in q(x^t|x^{t-1}) for t >= 2",
            weight(
                linear_prior,
                linear_reverse,
                lambda x, t, a, b: (
                    linear_forward(x, t, a, b)
                    if t == 1
                    else [
                        log_normal(v, mp.sqrt(1 - tables(x).beta[t - 1]) * u, tables(x).beta[t - 1])
                        for u, v in zip(a, b, strict=True)
                    ]
                ),
            ),
        ),
    },
)


# Bits


def number_of(state: Any) -> int:
    return int("".join(str(int(bit)) for bit in state), 2)


def pair_of(p: Any) -> tuple[Any, Any]:
    return p, 1 - p


@remembered
def table_parts(
    x: dict[str, Any], reverse: bool = False, unshifted: bool = False
) -> tuple[list[Parts], Any]:
    q, T, prior = tables(x), len(x["beta"]), exact(x["prior"])
    states = list(product((0, 1), repeat=len(prior)))

    def cross(row: list[int], t: int) -> Any:
        return mp.fsum(
            a * mp.log(b)
            for bit, p in zip(row, prior, strict=True)
            for a, b in zip(binomial.mix(bit, q.abar[t], p), pair_of(p), strict=True)
            if a
        )

    def known(row: list[int], t: int) -> Any:
        return mp.fsum(
            binomial.entropy(binomial.mix(bit, q.abar[t], p))
            for bit, p in zip(row, prior, strict=True)
        )

    def divergence(row: list[int], t: int, state: tuple[int, ...]) -> Any:
        before, total = q.abar[t if unshifted else t - 1], mp.mpf(0)
        for bit, after, p, prob in zip(
            row, state, prior, exact(x["table"][t - 2][number_of(state)]), strict=True
        ):
            laws = [binomial.bayes(bit, after, p, before, 1 - q.beta[t]), pair_of(prob)]
            if reverse:
                laws.reverse()
            total += mp.fsum(a * mp.log(a / b) for a, b in zip(*laws, strict=True) if a)
        return total

    def step(row: list[int], t: int) -> Any:
        return mp.fsum(
            p * divergence(row, t, state)
            for p, state in zip(binomial.vector_law(row, prior, q.abar[t]), states, strict=True)
            if p
        )

    def edge(row: list[int]) -> Any:
        keep = 1 - q.beta[1]
        return mp.fsum(
            w * mp.log(binomial.mix(after, keep, p)[1 - bit])
            for bit, p in zip(row, prior, strict=True)
            for after, w in zip((1, 0), binomial.mix(bit, q.abar[1], p), strict=True)
            if w
        )

    each = [
        Parts(
            [step(row, t) for t in range(2, T + 1)],
            known(row, 1),
            known(row, T),
            cross(row, 1),
            cross(row, T),
            cross(row, 0),
            edge(row),
        )
        for row in x["x0"]
    ]
    return each, mp.fsum(binomial.entropy(pair_of(p)) for p in prior)


def table_bound_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """Each logarithm counts as itself or 1, whichever is larger: 1 less a probability is known to
    eps.
    """
    each, h_prior = table_parts(x)
    sizes = [
        mp.fsum(p.kl)
        + p.h_first
        + p.h_last
        - p.cross_first
        - p.cross_last
        - p.log_prior
        + len(x["prior"]) * len(x["beta"])
        for p in each
    ]
    return {"K": sizes, "eq14": max(sizes) + h_prior}


def states_backwards(truth: Formula) -> Mistake:
    return Mistake(
        "states numbered with the last bit most significant",
        changed(
            truth,
            table=lambda x: [
                [rows[int(format(k, f"0{len(x['prior'])}b")[::-1], 2)] for k in range(len(rows))]
                for rows in x["table"]
            ],
        ),
    )


def tables_backwards(truth: Formula) -> Mistake:
    return Mistake(
        "the reverse kernels in the order T..2", changed(truth, table=lambda x: x["table"][::-1])
    )


def complement_of_table(truth: Formula) -> Mistake:
    return Mistake(
        "1 - p for the kernel's p",
        changed(
            truth,
            table=lambda x: [[[1 - exact(p) for p in row] for row in rows] for rows in x["table"]],
        ),
    )


def half_for_prior(truth: Formula) -> Mistake:
    return Mistake("1/2 for pi_1", changed(truth, prior=lambda x: [0.5] * len(x["prior"])))


def table_model(draw: Draw, beta: list[float], prior: list[float], n: int) -> dict[str, Any]:
    d = len(prior)
    table = [[[draw.part(16) for _ in range(d)] for _ in range(2**d)] for _ in beta[1:]]
    return {
        "beta": beta,
        "prior": prior,
        "table": table,
        "x0": [binomial.bits_of(draw, d) for _ in range(n)],
    }


GOOD_TABLE = {"beta": [0.25, 0.5], "prior": [0.25], "table": [[[0.125], [0.75]]], "x0": [[1], [0]]}


def bad_tables(x: dict[str, Any]) -> list[Case]:
    return [
        Case({**x, **change}, why)
        for change, why in (
            ({"beta": [0.0, 0.5]}, "bad_rate"),
            ({"beta": [0.25, 1.25]}, "bad_rate"),
            ({"table": [[[1.5], [0.75]]]}, "bad_probability"),
            ({"table": [[[0.5], [-0.25]]]}, "bad_probability"),
            ({"prior": [0.0]}, "bad_prior"),
            ({"prior": [1.0]}, "bad_prior"),
            ({"table": [[[0.5], [None]]]}, "bad_number"),
        )
    ]


def table_models(name: str, drawn: int) -> list[dict[str, Any]]:
    draw = Draw(name)
    cases = [
        dict(GOOD_TABLE),
        {
            "beta": [0.25, 0.5, 0.25],
            "prior": [0.5],
            "table": [[[0.25], [0.75]], [[0.375], [0.5]]],
            "x0": [[1], [0]],
        },
        {
            "beta": [0.25, 0.5, 0.25],
            "prior": [0.25],
            "table": [[[0.25], [0.75]], [[0.375], [0.5]]],
            "x0": [[1], [0], [0], [0]],
        },
        {"beta": [0.2, 0.3], "prior": [0.2], "table": [[[0.1], [0.7]]], "x0": [[1]]},
        {"beta": [0.375], "prior": [0.25, 0.75], "table": [], "x0": [[1, 0]]},
        {"beta": [1.0], "prior": [0.25], "table": [], "x0": [[1], [0]]},
        {"beta": [2.0**-30], "prior": [0.25], "table": [], "x0": [[1], [0]]},
        {
            "beta": [0.25, 0.5],
            "prior": [0.25],
            "table": [[[2.0**-24], [1 - 2.0**-24]]],
            "x0": [[1], [0]],
        },
        {
            "beta": [2.0**-40, 2.0**-30],
            "prior": [0.5],
            "table": [[[2.0**-24], [1 - 2.0**-24]]],
            "x0": [[1]],
        },
        {"beta": [0.25, 1.0], "prior": [0.25], "table": [[[0.125], [0.875]]], "x0": [[1], [0]]},
        {
            "beta": [1 - 2.0**-24, 0.5],
            "prior": [0.25],
            "table": [[[0.125], [0.25]]],
            "x0": [[1], [0]],
        },
        table_model(draw, [1 / 2**k for k in (5, 4, 3, 2, 1)], [0.25, 0.5], 2),
        table_model(draw, [0.0625] * 12, [0.1875], 2),
        table_model(draw, [0.25, 0.5], [0.25, 0.5, 0.8125], 2),
    ]
    for _ in range(drawn):
        d = draw.choice([1, 1, 2, 2])
        cases.append(
            table_model(
                draw,
                drawn_schedule(draw, 16, 4),
                [draw.part(16) for _ in range(d)],
                draw.integer(1, 2),
            )
        )
    return cases


def table_cases(name: str, drawn: int) -> list[Case]:
    return (
        [Case(x) for x in table_models(name, drawn)]
        + bad_tables(GOOD_TABLE)
        + [
            Case({**GOOD_TABLE, "x0": x0}, why)
            for x0, why in (
                ([], "empty"),
                ([[2]], "bad_state"),
                ([[0.5]], "bad_state"),
                ([[1, 0, 1]], "bad_length"),
                ([[None]], "bad_number"),
            )
        ]
    )


table_bound = bound(table_parts)
BINOMIAL_BOUND = Function(
    name="binomial_lower_bound",
    code="dpm_ref.exact.BinaryModel.lower_bound",
    equation="(13), (14)",
    units="nats",
    definition=K_DEFINITION
    + "Binomial column, all states enumerated; H(pi) = -sum_i [ pi_i log pi_i + (1 - pi_i) log(1 - "
    "pi_i) ]",
    inputs=TABLE_INPUTS | {"x0": "the data, a list of vectors of bits"},
    outputs=K_OUTPUTS,
    tolerance="(64 + 4 T) eps times the sum of the absolute values of all terms and of d T, the "
    "size of rounding in 1 - p",
    truth=table_bound,
    scale=table_bound_scale,
    cases=table_cases("binomial_lower_bound", 34),
    mistakes=bound_mistakes(table_parts)
    | {
        "reversed_schedule": reversed_schedule(table_bound),
        "half_for_prior": half_for_prior(table_bound),
        "tables_backwards": tables_backwards(table_bound),
        "states_backwards": states_backwards(table_bound),
        "complement": complement_of_table(table_bound),
    },
)


def table_step(x: dict[str, Any], t: int, before: Any, after: Any) -> Any:
    """p(x^{t-1}|x^t)."""
    laws = (
        [
            binomial.mix(bit, 1 - tables(x).beta[1], p)
            for bit, p in zip(after, exact(x["prior"]), strict=True)
        ]
        if t == 1
        else [pair_of(p) for p in exact(x["table"][t - 2][number_of(after)])]
    )
    return mp.fprod(each[1 - int(bit)] for each, bit in zip(laws, before, strict=True))


def table_marginal(x: dict[str, Any], last: int = 0) -> dict[tuple[int, ...], Any]:
    """p(x^last) of every state."""
    prior = exact(x["prior"])
    states = list(product((0, 1), repeat=len(prior)))
    law = {
        state: mp.fprod(pair_of(p)[1 - bit] for bit, p in zip(state, prior, strict=True))
        for state in states
    }
    for t in range(len(x["beta"]), last, -1):
        law = {
            before: mp.fsum(p * table_step(x, t, before, after) for after, p in law.items())
            for before in states
        }
    return law


def with_average(values: list[Any]) -> dict[str, Any]:
    """log p(x^0) of each vector, and L."""
    return {"log_likelihood": values, "L": mp.fsum(values) / len(values)}


def table_log_likelihood(x: dict[str, Any], last: int = 0) -> dict[str, Any]:
    law = table_marginal(x, last)
    return with_average([mp.log(law[tuple(row)]) for row in x["x0"]])


def table_likelihood_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    sizes = [1 + abs(value) for value in truth["log_likelihood"]]
    return {"log_likelihood": sizes, "L": max(sizes)}


BINOMIAL_LIKELIHOOD = Function(
    name="binomial_log_likelihood",
    code="dpm_ref.exact.BinaryModel.log_likelihood",
    equation="2.2, (6), (10)",
    units="nats",
    definition="log p(x^0), p(x^0) = sum over x^{1..T} of pi(x^T) prod_t p(x^{t-1}|x^t), all "
    "states enumerated; p(x^0|x^1) = T_pi; "
    "L = E_{q(x^0)} log p(x^0), the data being the vectors of x0",
    inputs=TABLE_INPUTS | {"x0": "the data, a list of vectors of bits"},
    outputs={"log_likelihood": "log p(x^0) of each vector of x0", "L": "their mean"},
    tolerance="(64 + 4 T) eps (1 + |log_likelihood|); p(x^0) is a sum of positive terms",
    truth=table_log_likelihood,
    scale=table_likelihood_scale,
    cases=table_cases("binomial_log_likelihood", 34),
    mistakes={
        "reversed_schedule": reversed_schedule(table_log_likelihood),
        "half_for_prior": half_for_prior(table_log_likelihood),
        "tables_backwards": tables_backwards(table_log_likelihood),
        "states_backwards": states_backwards(table_log_likelihood),
        "complement": complement_of_table(table_log_likelihood),
        "bits_for_nats": in_bits(table_log_likelihood),
        "sign": negative(table_log_likelihood),
        "mean_for_sum": Mistake(
            "divided by the number of bits",
            multiplied(table_log_likelihood, lambda x: mp.mpf(1) / len(x["prior"])),
        ),
        "edge_left_out": Mistake(
            "the law of x^1 for that of x^0: the last step left out",
            lambda x: table_log_likelihood(x, 1),
        ),
        "x0_not_in_the_integrand": Mistake(
            "p(x^0) as the sum of p(x^{1..T}), which is 1",
            lambda x: with_average([mp.mpf(0)] * len(x["x0"])),
        ),
        "prior_for_model": Mistake(
            "log pi(x^0)", lambda x: table_log_likelihood(x, len(x["beta"]))
        ),
        "probability_for_log": Mistake(
            "p(x^0), not its logarithm",
            lambda x: with_average([mp.exp(v) for v in table_log_likelihood(x)["log_likelihood"]]),
        ),
        "bound_for_likelihood": Mistake(
            "K(x^0) for log p(x^0)", lambda x: with_average(table_bound(x)["K"])
        ),
        "not_weighted_by_the_data": Mistake(
            "L as the sum of log p over all states, without q(x^0)",
            lambda x: {"L": mp.fsum(map(mp.log, table_marginal(x).values()))},
        ),
    },
)


def table_reverse(x: dict[str, Any], t: int, before: list[Any], after: list[Any]) -> list[Any]:
    return [mp.log(table_step(x, t, before, after))]


def table_forward(x: dict[str, Any], t: int, before: list[Any], after: list[Any]) -> list[Any]:
    keep = 1 - tables(x).beta[t]
    return [
        mp.log(binomial.mix(int(a), keep, p)[1 - int(b)])
        for a, b, p in zip(before, after, exact(x["prior"]), strict=True)
    ]


def table_prior(x: dict[str, Any], state: list[Any]) -> list[Any]:
    return [
        mp.log(pair_of(p)[1 - int(bit)]) for bit, p in zip(state, exact(x["prior"]), strict=True)
    ]


def table_trajectories() -> list[Case]:
    draw, cases = Draw("binomial_log_weight/trajectory"), []
    for x in table_models("binomial_log_weight", 36):
        path = [binomial.bits_of(draw, len(x["prior"])) for _ in range(len(x["beta"]) + 1)]
        cases.append(Case({**without_data(x), "trajectory": path}))
    good = {**without_data(GOOD_TABLE), "trajectory": [[1], [0], [0]]}
    return (
        cases
        + bad_tables(good)
        + [
            Case({**good, "trajectory": path}, why)
            for path, why in (
                ([[1], [0]], "bad_length"),
                ([[1]] * 4, "bad_length"),
                ([[1], [2], [0]], "bad_state"),
                ([], "empty"),
                ([[1], [None], [0]], "bad_number"),
            )
        ]
    )


TABLE_WEIGHT = (table_prior, table_reverse, table_forward)


def table_weight_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """Each logarithm counts as itself or 1, whichever is larger."""
    total = mp.mpf(2 * len(x["prior"]) * len(x["beta"])) - mp.fsum(
        table_prior(x, x["trajectory"][-1])
    )
    for t, before, after in along(x):
        total -= mp.fsum(table_reverse(x, t, before, after)) + mp.fsum(
            table_forward(x, t, before, after)
        )
    return {"log_weight": total}


BINOMIAL_WEIGHT = Function(
    name="binomial_log_weight",
    code="dpm_ref.likelihood.log_weights",
    equation="(9)",
    units="nats",
    definition=WEIGHT + "Binomial column",
    inputs=TABLE_INPUTS | {"trajectory": "x^0, x^1, ..., x^T, bits"},
    outputs={"log_weight": "log w of the trajectory"},
    tolerance="(64 + 4 T) eps times the sum of the absolute values of all logarithms and of 2 d T, "
    "the size of rounding in 1 - p",
    truth=weight(*TABLE_WEIGHT),
    scale=table_weight_scale,
    cases=table_trajectories(),
    mistakes=weight_mistakes(*TABLE_WEIGHT)
    | {
        "half_for_prior": half_for_prior(weight(*TABLE_WEIGHT)),
        "tables_backwards": tables_backwards(weight(*TABLE_WEIGHT)),
        "states_backwards": states_backwards(weight(*TABLE_WEIGHT)),
        "complement": complement_of_table(weight(*TABLE_WEIGHT)),
    },
)

FUNCTIONS = [
    GAUSSIAN_BOUND,
    GAUSSIAN_LIKELIHOOD,
    GAUSSIAN_WEIGHT,
    BINOMIAL_BOUND,
    BINOMIAL_LIKELIHOOD,
    BINOMIAL_WEIGHT,
]

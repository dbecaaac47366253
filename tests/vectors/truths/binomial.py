"""The binomial column of Table App.1: the laws of the trajectory, log pi(x^0), and the two sides of
(24). Small sums over states.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

from truths.functions import (
    Case,
    Function,
    Mistake,
    changed,
    in_bits,
    multiplied,
    negative,
    one_early,
    one_late,
    reversed_schedule,
)
from truths.numbers import Draw, exact, mapped, mp
from truths.tables import Tables, bad_rates, bad_times, tables, times_of

Formula = Callable[[dict[str, Any]], dict[str, Any]]
BETA = {"beta": "beta_1, ..., beta_T, each in (0, 1]"}
PRIOR = {"prior": "pi_1 of every bit, strictly between 0 and 1"}
LAW = {"prob1": "P(x = 1) of every bit", "prob0": "P(x = 0) of every bit"}
TOLERANCE = (
    "(64 + 4 T) eps of either probability; both come from sums of positive terms, neither "
    "as 1 less the other"
)
SMALL, LARGE = 2.0**-100, 1 - 2.0**-24


def mix(bit: int, kept: Any, prior: Any) -> tuple[Any, Any]:
    """(P(1), P(0)) of a bit that is kept with probability `kept` and else drawn from B(prior)."""
    return bit * kept + prior * (1 - kept), (1 - bit) * kept + (1 - prior) * (1 - kept)


def law(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    return {"prob1": [pair[0] for pair in pairs], "prob0": [pair[1] for pair in pairs]}


def kept_with(kept: Callable[[Tables, int], Any], state: str) -> Formula:
    """The law that keeps each bit of a state with a probability that depends on t."""
    return lambda x: law(
        [
            mix(bit, kept(tables(x), x.get("t", 1)), prior)
            for bit, prior in zip(x[state], exact(x["prior"]), strict=True)
        ]
    )


def of_law(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    return mapped(abs, truth)


def complement_terms(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """Those of 1 less the other member."""
    return {"prob1": [1 + p for p in truth["prob0"]], "prob0": [1 + p for p in truth["prob1"]]}


def mistakes_of_laws(truth: Formula) -> dict[str, Mistake]:
    return {
        "complement": Mistake(
            "P(0) for P(1)",
            lambda x: (lambda right: {"prob1": right["prob0"], "prob0": right["prob1"]})(truth(x)),
        ),
        "half_for_prior": Mistake(
            "1/2 for pi_1", changed(truth, prior=lambda x: [0.5] * len(x["prior"]))
        ),
        "prior_turned": Mistake(
            "1 - pi_1 for pi_1", changed(truth, prior=lambda x: [1 - p for p in exact(x["prior"])])
        ),
        "reversed_schedule": reversed_schedule(truth),
    }


def not_mixed(truth: Formula, kept: Callable[[Tables, int], Any], state: str) -> dict[str, Mistake]:
    """Mistakes in x kept + pi (1 - kept)."""

    def erased_to_zero(x: dict[str, Any]) -> dict[str, Any]:
        p1 = [bit * kept(tables(x), x.get("t", 1)) for bit in x[state]]
        return law([(p, 1 - p) for p in p1])

    def flipped(x: dict[str, Any]) -> dict[str, Any]:
        keep = kept(tables(x), x.get("t", 1))
        return law(
            [
                (bit * keep + (1 - bit) * (1 - keep), (1 - bit) * keep + bit * (1 - keep))
                for bit in x[state]
            ]
        )

    return {
        "prior_left_out": Mistake("x kept, with no pi_1 added", erased_to_zero),
        "flipped": Mistake("the erased bit flipped, not drawn anew", flipped),
        "rate_for_complement": Mistake(
            "kept where it is erased and erased where it is kept",
            kept_with(lambda q, t: 1 - kept(q, t), state),
        ),
        "root_of_kept": Mistake(
            "the root of what is kept, as in the Gaussian column",
            kept_with(lambda q, t: mp.sqrt(kept(q, t)), state),
        ),
    }


def bits_of(draw: Draw, d: int) -> list[int]:
    return [draw.integer(0, 1) for _ in range(d)]


def priors(draw: Draw, d: int) -> list[float]:
    """One pi_1 for each bit: 1/2, plain, small or near 1."""
    return [
        draw.choice([0.5, draw.part(16), draw.part(16), draw.part(256), 0.25, SMALL, LARGE])
        for _ in range(d)
    ]


def bad_states(name: str, rest: dict[str, Any]) -> list[Case]:
    """A state, or a prior, that is none."""
    return [
        Case({**rest, name: [0, 2], "prior": [0.5, 0.5]}, "bad_state"),
        Case({**rest, name: [0.5], "prior": [0.5]}, "bad_state"),
        Case({**rest, name: [-1], "prior": [0.25]}, "bad_state"),
        Case({**rest, name: [None], "prior": [0.25]}, "bad_number"),
        Case({**rest, name: [1], "prior": [0.0]}, "bad_prior"),
        Case({**rest, name: [1], "prior": [1.0]}, "bad_prior"),
        Case({**rest, name: [1], "prior": [1.25]}, "bad_prior"),
        Case({**rest, name: [1, 0], "prior": [0.5, 0.5, 0.5]}, "bad_length"),
        Case({**rest, name: [], "prior": [0.5]}, "empty"),
    ]


def states_at(
    name: str, first: list[dict[str, Any]], drawn: int, with_time: bool = True
) -> list[Case]:
    """The function's own cases, then the hard schedules and some without pattern."""
    draw, cases = Draw(name), [Case(x) for x in first]
    state = {"binomial_kernel": "x_prev", "binomial_marginal": "x0", "binomial_edge": "x1"}[name]
    for beta, t in times_of(1, draw, drawn):
        d = draw.integer(1, 3)
        cases.append(
            Case(
                {
                    "beta": beta,
                    **({"t": t} if with_time else {}),
                    state: bits_of(draw, d),
                    "prior": priors(draw, d),
                }
            )
        )
    good = {state: [1], "prior": [0.25]}
    rest = {"beta": [0.25, 0.5], **({"t": 2} if with_time else {})}
    return (
        cases
        + bad_rates({**({"t": 1} if with_time else {}), **good})
        + (bad_times([0.25, 0.5], good) if with_time else [])
        + bad_states(state, rest)
    )


# q(x^t | x^{t-1}) and p(x^0 | x^1)


def step(q: Tables, t: int) -> Any:
    return 1 - q.beta[t]


def first_step(q: Tables, t: int) -> Any:
    return 1 - q.beta[1]


kernel, edge = kept_with(step, "x_prev"), kept_with(first_step, "x1")
KERNEL = Function(
    name="binomial_kernel",
    code="dpm_ref.BinomialDiffusion.kernel",
    equation="2.1, Table App.1",
    units="dimensionless",
    definition="q(x^t | x^{t-1}): P(1) = x^{t-1} (1 - beta_t) + pi_1 beta_t, P(0) = (1 - x^{t-1}) "
    "(1 - beta_t) + (1 - pi_1) beta_t, "
    "bit by bit",
    inputs=BETA | {"t": "the time, an integer in 1..T", "x_prev": "x^{t-1}, bits"} | PRIOR,
    outputs=LAW,
    tolerance=TOLERANCE,
    truth=kernel,
    scale=of_law,
    terms=complement_terms,
    cases=states_at(
        "binomial_kernel",
        [
            {"beta": [0.25, 0.5], "t": 2, "x_prev": [1, 0], "prior": [0.25, 0.25]},
            {"beta": [0.25, 0.5], "t": 1, "x_prev": [1, 0], "prior": [0.5, 0.5]},
            {"beta": [0.1, 0.2], "t": 2, "x_prev": [1, 0], "prior": [0.2, 0.2]},
            {"beta": [0.25, 0.5], "t": 2, "x_prev": [1, 0], "prior": [1e-30, 1e-30]},
            {"beta": [2.0**-100, 0.5], "t": 1, "x_prev": [1, 0], "prior": [0.25, 0.75]},
        ],
        10,
    ),
    mistakes=mistakes_of_laws(kernel)
    | {"one_early": one_early(kernel), "one_late": one_late(kernel)}
    | not_mixed(kernel, step, "x_prev"),
)

EDGE = Function(
    name="binomial_edge",
    code="dpm_ref.BinomialDiffusion.edge",
    equation="2.2, App. B.2, Table App.1",
    units="dimensionless",
    definition="p(x^0 | x^1) = T_pi(x^0 | x^1; beta_1): P(1) = x^1 (1 - beta_1) + pi_1 beta_1, bit "
    "by bit",
    inputs=BETA | {"x1": "x^1, bits"} | PRIOR,
    outputs=LAW,
    tolerance=TOLERANCE,
    truth=edge,
    scale=of_law,
    terms=complement_terms,
    cases=states_at(
        "binomial_edge",
        [
            {"beta": [0.25, 0.5], "x1": [1, 0], "prior": [0.25, 0.25]},
            {"beta": [0.1, 0.2], "x1": [1, 0], "prior": [0.2, 0.2]},
            {"beta": [0.5], "x1": [1, 0], "prior": [1e-30, 1e-30]},
        ],
        14,
        with_time=False,
    ),
    mistakes=mistakes_of_laws(edge)
    | not_mixed(edge, first_step, "x1")
    | {
        "one_late": Mistake(
            "beta_2 for beta_1",
            lambda x: (
                kept_with(lambda q, t: 1 - q.beta[2], "x1")(x) if len(x["beta"]) > 1 else None
            ),
        )
    },
)


# q(x^t | x^0)


def still(q: Tables, t: int) -> Any:
    return q.abar[t]


marginal = kept_with(still, "x0")
MARGINAL = Function(
    name="binomial_marginal",
    code="dpm_ref.BinomialDiffusion.marginal",
    equation="2.1, Table App.1",
    units="dimensionless",
    definition="q(x^t | x^0): P(1) = x^0 abar_t + pi_1 (1 - abar_t), P(0) = (1 - x^0) abar_t + (1 "
    "- pi_1) (1 - abar_t), bit by bit",
    inputs=BETA | {"t": "the time, an integer in 1..T", "x0": "x^0, bits"} | PRIOR,
    outputs=LAW,
    tolerance=TOLERANCE,
    truth=marginal,
    scale=of_law,
    terms=complement_terms,
    cases=states_at(
        "binomial_marginal",
        [
            {"beta": [0.25, 0.5], "t": 2, "x0": [1, 0], "prior": [0.25, 0.25]},
            {"beta": [0.25, 0.5], "t": 1, "x0": [1, 0], "prior": [0.5, 0.5]},
            {"beta": [0.1, 0.2], "t": 2, "x0": [1, 0], "prior": [0.2, 0.2]},
            {"beta": [0.25, 0.5], "t": 2, "x0": [1, 0], "prior": [1e-30, 1e-30]},
            {"beta": [2.0**-100, 2.0**-100], "t": 2, "x0": [1, 0], "prior": [0.25, 0.75]},
        ],
        10,
    ),
    mistakes=mistakes_of_laws(marginal)
    | {"one_early": one_early(marginal), "one_late": one_late(marginal)}
    | not_mixed(marginal, still, "x0")
    | {"last_step_alone": Mistake("1 - beta_t for abar_t", kept_with(step, "x0"))},
)


# q(x^{t-1} | x^t, x^0)


def bayes(x0: int, xt: int, prior: Any, before: Any, kept: Any) -> tuple[Any, Any]:
    """From q(x^{t-1}|x^0), which keeps x^0 with probability `before`, and q(x^t|x^{t-1}), which
    keeps with `kept`.
    """
    weights = [mix(x0, before, prior)[1 - bit] * mix(bit, kept, prior)[1 - xt] for bit in (1, 0)]
    total = weights[0] + weights[1]
    return weights[0] / total, weights[1] / total


def posterior(
    x: dict[str, Any],
    before: Callable[[Tables, int], Any] = lambda q, t: q.abar[t - 1],
    kept: Callable[[Tables, int], Any] = step,
) -> dict[str, Any]:
    q, t = tables(x), x["t"]
    return law(
        [
            bayes(a, b, p, before(q, t), kept(q, t))
            for a, b, p in zip(x["x0"], x["xt"], exact(x["prior"]), strict=True)
        ]
    )


def posterior_mistake(each: Callable[[int, int, Any, Tables, int], tuple[Any, Any]]) -> Formula:
    return lambda x: law(
        [
            each(a, b, p, tables(x), x["t"])
            for a, b, p in zip(x["x0"], x["xt"], exact(x["prior"]), strict=True)
        ]
    )


def unnormalised(x0: int, xt: int, prior: Any, q: Tables, t: int) -> tuple[Any, Any]:
    before, kept = q.abar[t - 1], step(q, t)
    return tuple(mix(x0, before, prior)[1 - bit] * mix(bit, kept, prior)[1 - xt] for bit in (1, 0))


def posterior_cases() -> list[Case]:
    draw = Draw("binomial_posterior")
    x = [
        {"beta": [0.25, 0.5], "t": 2, "x0": [1, 1, 0, 0], "xt": [1, 0, 1, 0], "prior": [0.25] * 4},
        {"beta": [0.25, 0.5], "t": 2, "x0": [1, 1, 0, 0], "xt": [1, 0, 1, 0], "prior": [0.5] * 4},
        {"beta": [0.1, 0.2, 0.3], "t": 3, "x0": [1, 0], "xt": [0, 1], "prior": [0.2, 0.2]},
        {"beta": [0.25, 0.5], "t": 2, "x0": [1, 1, 0, 0], "xt": [1, 0, 1, 0], "prior": [1e-30] * 4},
        {
            "beta": [2.0**-60, 2.0**-60],
            "t": 2,
            "x0": [1, 1, 0, 0],
            "xt": [1, 0, 1, 0],
            "prior": [0.25] * 4,
        },
        {"beta": [0.5, 2.0**-60], "t": 2, "x0": [1, 0], "xt": [0, 1], "prior": [SMALL, LARGE]},
    ]
    cases = [Case(each) for each in x]
    for beta, t in times_of(2, draw, 12):
        d = draw.integer(1, 3)
        cases.append(
            Case(
                {
                    "beta": beta,
                    "t": t,
                    "x0": bits_of(draw, d),
                    "xt": bits_of(draw, d),
                    "prior": priors(draw, d),
                }
            )
        )
    good = {"x0": [1], "xt": [0], "prior": [0.25]}
    rest = {"beta": [0.25, 0.5], "t": 2}
    two = [
        Case({**rest, "x0": x0, "xt": xt, "prior": [0.25] * len(x0)}, why)
        for x0, xt, why in (
            ([1], [2], "bad_state"),
            ([0.5], [1], "bad_state"),
            ([1, 0], [1], "bad_length"),
            ([1], [None], "bad_number"),
            ([], [], "empty"),
        )
    ]
    return (
        cases
        + bad_rates({"t": 2, **good})
        + bad_times([0.25, 0.5], good, first=2)
        + two
        + [
            Case({**rest, "x0": [1], "xt": [1], "prior": [p]}, "bad_prior")
            for p in (0.0, 1.0, -0.25)
        ]
    )


POSTERIOR = Function(
    name="binomial_posterior",
    code="dpm_ref.BinomialDiffusion.posterior",
    equation="2.1, Table App.1 (Bayes' rule)",
    units="dimensionless",
    definition="q(x^{t-1} | x^t, x^0) proportional to q(x^t | x^{t-1}) q(x^{t-1} | x^0), bit by "
    "bit: the kernel that keeps with 1 - "
    "beta_t, "
    "the marginal that keeps with abar_{t-1}, both of which else draw from B(pi_1)",
    inputs=BETA
    | {"t": "the time, an integer in 2..T", "x0": "x^0, bits", "xt": "x^t, bits"}
    | PRIOR,
    outputs=LAW,
    tolerance=TOLERANCE,
    truth=posterior,
    scale=of_law,
    terms=complement_terms,
    cases=posterior_cases(),
    mistakes=mistakes_of_laws(posterior)
    | {
        "one_early": one_early(posterior, 2),
        "one_late": one_late(posterior),
        "abar_unshifted": Mistake("abar_t for abar_{t-1}", lambda x: posterior(x, before=still)),
        "states_exchanged": Mistake(
            "x^0 and x^t exchanged", changed(posterior, x0=lambda x: x["xt"], xt=lambda x: x["x0"])
        ),
        "not_normalised": Mistake(
            "the product of the two laws, not divided by their sum", posterior_mistake(unnormalised)
        ),
        "data_left_out": Mistake(
            "x^0 left out: the kernel at x^t",
            posterior_mistake(lambda x0, xt, p, q, t: mix(xt, step(q, t), p)),
        ),
        "present_left_out": Mistake(
            "x^t left out: the marginal at t-1",
            posterior_mistake(lambda x0, xt, p, q, t: mix(x0, q.abar[t - 1], p)),
        ),
        "rate_for_complement": Mistake(
            "beta_t for 1 - beta_t", lambda x: posterior(x, kept=lambda q, t: q.beta[t])
        ),
    },
)


# log pi(x^0)


def null_log_likelihood(x: dict[str, Any]) -> dict[str, Any]:
    terms = [
        mp.log(p) if bit else mp.log1p(-p)
        for bit, p in zip(x["x0"], exact(x["prior"]), strict=True)
    ]
    return {"log_prior": mp.fsum(terms)}


def null_cases() -> list[Case]:
    draw = Draw("binomial_null_log_likelihood")
    x = [
        ([1, 0, 0, 0], [0.25] * 4),
        ([1], [0.25]),
        ([0], [0.25]),
        ([1, 0], [0.5, 0.5]),
        ([1, 0], [0.2, 0.2]),
        ([0] * 4, [SMALL] * 4),
        ([1], [SMALL]),
        ([0], [SMALL]),
        ([1], [LARGE]),
        ([0], [LARGE]),
        ([1, 0], [1e-30, 1e-300]),
        ([1, 0, 0, 0, 0] * 4, [0.2] * 20),
        ([1, 0, 0, 0, 0] * 4, [0.1875] * 20),
        ([1, 1], [0.75, 2.0**-24]),
    ]
    for _ in range(38):
        d = draw.integer(1, 6)
        x.append((bits_of(draw, d), priors(draw, d)))
    bad = [
        ([2], [0.5], "bad_state"),
        ([0.5], [0.5], "bad_state"),
        ([1], [0.0], "bad_prior"),
        ([1], [1.0], "bad_prior"),
        ([], [0.5], "empty"),
        ([1, 0], [0.5, 0.5, 0.5], "bad_length"),
        ([None], [0.5], "bad_number"),
    ]
    return [Case({"x0": a, "prior": b}) for a, b in x] + [
        Case({"x0": a, "prior": b}, why) for a, b, why in bad
    ]


NULL = Function(
    name="binomial_null_log_likelihood",
    code="dpm_ref.bounds.null_log_likelihood",
    equation="2.4, L_null of Table 1",
    units="nats",
    definition="log pi(x^0) = sum_i x_i log pi_i + (1 - x_i) log(1 - pi_i)",
    inputs={"x0": "x^0, bits"} | PRIOR,
    outputs={"log_prior": "log pi(x^0)"},
    tolerance="64 eps |log_prior|; all terms have one sign",
    truth=null_log_likelihood,
    terms=lambda x, truth: {
        "log_prior": max(mp.mpf(1), abs(truth["log_prior"]))
    },  # 1 - pi is known to eps
    scale=lambda x, truth: {"log_prior": abs(truth["log_prior"])},
    cases=null_cases(),
    mistakes={
        "sign": negative(null_log_likelihood),
        "bits_for_nats": in_bits(null_log_likelihood),
        "mean_for_sum": Mistake(
            "the mean over bits, not the sum",
            multiplied(null_log_likelihood, lambda x: mp.mpf(1) / len(x["x0"])),
        ),
        "half_for_prior": Mistake(
            "1/2 for pi_1", changed(null_log_likelihood, prior=lambda x: [0.5] * len(x["prior"]))
        ),
        "prior_turned": Mistake(
            "1 - pi_1 for pi_1",
            changed(null_log_likelihood, prior=lambda x: [1 - p for p in exact(x["prior"])]),
        ),
        "ones_alone": Mistake(
            "the terms of the ones alone",
            lambda x: {
                "log_prior": mp.fsum(
                    mp.log(p) for bit, p in zip(x["x0"], exact(x["prior"]), strict=True) if bit
                )
            },
        ),
    },
)


# Equation (24)


def entropy(pair: tuple[Any, Any]) -> Any:
    return -mp.fsum(p * mp.log(p) for p in pair if p)


def data_average(x: dict[str, Any], each: Callable[[int, Any, Tables, int], Any]) -> Any:
    """The mean over the data of the sum over their bits."""
    q, prior = tables(x), exact(x["prior"])
    return mp.fsum(
        each(bit, p, q, x["t"]) for row in x["x0"] for bit, p in zip(row, prior, strict=True)
    ) / len(x["x0"])


def step_entropy(bit: int, p: Any, q: Tables, t: int) -> Any:
    """H_q(X^t | X^{t-1}) given x^0."""
    return mp.fsum(
        weight * entropy(mix(state, step(q, t), p))
        for state, weight in zip((1, 0), mix(bit, q.abar[t - 1], p), strict=True)
    )


def known_entropy(bit: int, p: Any, q: Tables, t: int) -> Any:
    """H_q(X^t | x^0)."""
    return entropy(mix(bit, q.abar[t], p))


def posterior_entropy(bit: int, p: Any, q: Tables, t: int) -> Any:
    """H_q(X^{t-1} | X^t, x^0), from the joint law of both."""
    joint = [
        mix(bit, q.abar[t - 1], p)[1 - a] * mix(a, step(q, t), p)[1 - b]
        for a, b in product((1, 0), repeat=2)
    ]
    return (
        entropy(tuple(joint)) - entropy((joint[0] + joint[2], joint[1] + joint[3]))
        if t > 1
        else mp.mpf(0)
    )


def pull(x: dict[str, Any]) -> Any:
    """sum_i logit(pi_i) (m_i - pi_i)."""
    means = [mp.fsum(column) / len(column) for column in zip(*exact(x["x0"]), strict=True)]
    return mp.fsum(
        (mp.log(p) - mp.log1p(-p)) * (m - p) for m, p in zip(means, exact(x["prior"]), strict=True)
    )


def entropy_bounds(x: dict[str, Any]) -> dict[str, Any]:
    return {
        "lower": data_average(x, posterior_entropy),
        "upper": data_average(x, step_entropy),
        "upper_holds": bool(pull(x) >= 0),
    }


def three_entropies(
    x: dict[str, Any], signs: tuple[int, int, int], s: int | None = None
) -> dict[str, Any] | None:
    """The lower side as a sum of H(X^t|X^{t-1}), H(X^s|X^0) and H(X^t|X^0), s = t - 1 if right."""
    t = x["t"]
    middle = data_average(
        x, lambda bit, p, q, _: known_entropy(bit, p, q, t - 1 if s is None else s)
    )
    terms = [data_average(x, step_entropy), middle, data_average(x, known_entropy)]
    return {"lower": mp.fsum(sign * term for sign, term in zip(signs, terms, strict=True))}


def vector_law(row: list[int], prior: list[Any], kept: Any) -> list[Any]:
    """The probabilities of all 2^d vectors."""
    laws = [mix(bit, kept, p) for bit, p in zip(row, prior, strict=True)]
    return [
        mp.fprod(each[1 - bit] for each, bit in zip(laws, state, strict=True))
        for state in product((0, 1), repeat=len(row))
    ]


def reverse_entropy(x: dict[str, Any]) -> Any:
    """H_q(X^{t-1} | X^t) over the data, all states enumerated."""
    q, prior, t = tables(x), exact(x["prior"]), x["t"]
    states = list(product((0, 1), repeat=len(prior)))
    before = [
        mp.fsum(column) / len(x["x0"])
        for column in zip(*(vector_law(row, prior, q.abar[t - 1]) for row in x["x0"]), strict=True)
    ]
    steps = [vector_law(list(state), prior, step(q, t)) for state in states]
    joint = [[weight * p for p in row] for weight, row in zip(before, steps, strict=True)]
    after = [mp.fsum(column) for column in zip(*joint, strict=True)]
    return entropy(tuple(p for row in joint for p in row)) - entropy(tuple(after))


def reverse_entropy_inside(x: dict[str, Any]) -> dict[str, Any]:
    return {
        "lower": data_average(x, step_entropy) + reverse_entropy(x) - data_average(x, known_entropy)
    }


def entropy_bounds_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    return {"lower": truth["lower"], "upper": truth["upper"], "upper_holds": mp.mpf(0)}


def entropy_bounds_cases() -> list[Case]:
    draw = Draw("binomial_reverse_entropy_bounds")
    x = [
        {"beta": [0.25, 0.5], "t": 2, "x0": [[1, 0], [0, 0]], "prior": [0.25, 0.25]},
        {"beta": [0.1], "t": 1, "x0": [[0], [1]], "prior": [0.2]},
        {"beta": [0.25, 0.5], "t": 2, "x0": [[0], [1]], "prior": [0.25]},
        {"beta": [0.25, 0.5], "t": 2, "x0": [[1]], "prior": [0.25]},
        {"beta": [0.25, 0.5], "t": 2, "x0": [[1]], "prior": [0.75]},
        {"beta": [0.25, 0.5], "t": 1, "x0": [[1], [0], [0], [0]], "prior": [0.1875]},
        {"beta": [0.25, 0.5], "t": 2, "x0": [[1, 0], [0, 1]], "prior": [0.5, 0.5]},
        {"beta": [0.25, 0.5], "t": 2, "x0": [[1, 1]], "prior": [0.5, 0.5]},
        {"beta": [0.2, 0.3, 0.4], "t": 3, "x0": [[1, 0, 0], [0, 1, 0]], "prior": [0.2] * 3},
    ]
    cases = [Case(each) for each in x]
    for beta, t in times_of(1, draw, 5):
        d = draw.integer(1, 3)
        cases.append(
            Case(
                {
                    "beta": beta,
                    "t": t,
                    "x0": [bits_of(draw, d) for _ in range(draw.integer(1, 3))],
                    "prior": [
                        draw.choice([0.5, 0.25, 0.1875, draw.part(16), LARGE]) for _ in range(d)
                    ],
                }
            )
        )
    good = {"x0": [[1], [0]], "prior": [0.25]}
    rest = {"beta": [0.25, 0.5], "t": 2}
    return (
        cases
        + bad_rates({"t": 1, **good})
        + bad_times([0.25, 0.5], good)
        + [
            Case({**rest, "x0": x0, "prior": prior}, why)
            for x0, prior, why in (
                ([], [0.5], "empty"),
                ([[]], [0.5], "empty"),
                ([[2]], [0.5], "bad_state"),
                ([[1]], [1.0], "bad_prior"),
                ([[1, 0]], [0.5, 0.5, 0.5], "bad_length"),
                ([[None]], [0.5], "bad_number"),
            )
        ]
    )


BOUNDS = Function(
    name="binomial_reverse_entropy_bounds",
    code="dpm_ref.bounds.reverse_entropy_bounds",
    equation="(24)",
    units="nats",
    definition="lower = H_q(X^t|X^{t-1}) + H_q(X^{t-1}|X^0) - H_q(X^t|X^0) = H_q(X^{t-1}|X^t,X^0), "
    "upper = H_q(X^t|X^{t-1}), sums over "
    "bits, means "
    "over the data; upper_holds: sum_i logit(pi_i) (m_i - pi_i) >= 0, m the mean of the data",
    inputs=BETA
    | {"t": "the time, an integer in 1..T", "x0": "the data, a list of vectors of bits"}
    | PRIOR,
    outputs={
        "lower": "the lower side; 0 at t = 1",
        "upper": "the upper side",
        "upper_holds": "whether the upper side's condition holds",
    },
    tolerance="(64 + 4 T) eps of either side",
    truth=entropy_bounds,
    scale=entropy_bounds_scale,
    terms=lambda x, truth: {"lower": three_entropies(x, (1, 1, 1))["lower"]},
    cases=entropy_bounds_cases(),
    mistakes={
        "one_early": one_early(entropy_bounds),
        "one_late": one_late(entropy_bounds),
        "reversed_schedule": reversed_schedule(entropy_bounds),
        "half_for_prior": Mistake(
            "1/2 for pi_1", changed(entropy_bounds, prior=lambda x: [0.5] * len(x["prior"]))
        ),
        "bits_for_nats": in_bits(entropy_bounds, "lower", "upper"),
        "sign": negative(entropy_bounds, "lower", "upper"),
        "mean_for_sum": Mistake(
            "the mean over bits, not the sum",
            multiplied(entropy_bounds, lambda x: mp.mpf(1) / len(x["x0"][0]), "lower", "upper"),
        ),
        "sum_over_data": Mistake(
            "the sum over the data, not the mean",
            multiplied(entropy_bounds, lambda x: mp.mpf(len(x["x0"])), "lower", "upper"),
        ),
        "sides_exchanged": Mistake(
            "lower and upper exchanged",
            lambda x: (lambda b: {"lower": b["upper"], "upper": b["lower"]})(entropy_bounds(x)),
        ),
        "abar_unshifted": Mistake(
            "H_q(X^t|X^0) for H_q(X^{t-1}|X^0) in the lower side",
            lambda x: three_entropies(x, (1, 1, -1), x["t"]),
        ),
        "last_entropy_dropped": Mistake(
            "H_q(X^t|X^0) left out of the lower side", lambda x: three_entropies(x, (1, 1, 0))
        ),
        "last_entropy_sign": Mistake(
            "H_q(X^t|X^0) added to the lower side", lambda x: three_entropies(x, (1, 1, 1))
        ),
        "given_the_data_exchanged": Mistake(
            "H_q(X^{t-1}|X^0) and H_q(X^t|X^0) exchanged in the lower side",
            lambda x: three_entropies(x, (1, -1, 1)),
        ),
        "reverse_entropy_inside": Mistake(
            "H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0) in the lower side", reverse_entropy_inside
        ),
        "condition_not_checked": Mistake(
            "the upper side said to hold for all data", lambda x: {"upper_holds": True}
        ),
        "condition_reversed": Mistake(
            "the condition's sign", lambda x: {"upper_holds": bool(pull(x) <= 0)}
        ),
    },
)

FUNCTIONS = [KERNEL, MARGINAL, POSTERIOR, EDGE, NULL, BOUNDS]

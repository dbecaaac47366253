"""The Gaussian column of Table App.1: the laws of the trajectory, log pi(x^0), and the two sides of
(24).
"""

from collections.abc import Callable
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
LAW = {
    "mean": "the mean of each component",
    "var": "the variance of each component, one number for all",
}
MEAN_TOLERANCE = (
    "(64 + 4 T) eps times the absolute values of the terms of the mean; and the same "
    "of the variance"
)
SIZES = [1, 2, 3, 4]


def vector(draw: Draw, d: int) -> list[float]:
    """Components between -4 and 4, sometimes 0."""
    return [draw.part(16, -64, 64) for _ in range(d)]


def linear(coefficients: list[Any], states: list[list[Any]]) -> list[Any]:
    """The sum of states times their coefficients, component by component."""
    return [
        mp.fsum(c * x for c, x in zip(coefficients, components, strict=True))
        for components in zip(*states, strict=True)
    ]


def size_of(coefficients: list[Any], states: list[list[Any]]) -> list[Any]:
    """The same with absolute values: what the mean's rounding is measured by."""
    return linear([abs(c) for c in coefficients], [[abs(v) for v in state] for state in states])


def outputs_of_law(*names: str) -> dict[str, str]:
    return {name: LAW[name] for name in names}


def std_for_var(truth: Formula) -> Mistake:
    return Mistake(
        "the standard deviation where a variance belongs",
        lambda x: {"var": mp.sqrt(truth(x)["var"])},
    )


def log_for_var(truth: Formula) -> Mistake:
    return Mistake("the logarithm of the variance", lambda x: {"var": mp.log(truth(x)["var"])})


# q(x^t | x^{t-1}) and p(x^0 | x^1)


def kernel(x: dict[str, Any], state: str = "x_prev") -> dict[str, Any]:
    rate = tables(x).beta[x["t"]]
    return {"mean": linear([mp.sqrt(1 - rate)], [exact(x[state])]), "var": rate}


def kernel_mistakes(truth: Formula, state: str) -> dict[str, Mistake]:
    def mean(coefficient: Callable[[Any], Any]) -> Formula:
        return lambda x: {
            "mean": linear([coefficient(tables(x).beta[x.get("t", 1)])], [exact(x[state])])
        }

    return {
        "std_for_var": std_for_var(truth),
        "log_for_var": log_for_var(truth),
        "reversed_schedule": reversed_schedule(truth),
        "root_dropped": Mistake("(1 - beta) x for sqrt(1 - beta) x", mean(lambda rate: 1 - rate)),
        "not_shrunk": Mistake(
            "the mean left at x, so that the variance grows without end",
            mean(lambda rate: mp.mpf(1)),
        ),
        "expanded": Mistake("divided by sqrt(1 - beta)", mean(lambda rate: 1 / mp.sqrt(1 - rate))),
        "rate_for_complement": Mistake("sqrt(beta) x for sqrt(1 - beta) x", mean(mp.sqrt)),
        "complement_for_rate": Mistake(
            "the variance 1 - beta for beta", lambda x: {"var": 1 - truth(x)["var"]}
        ),
    }


def kernel_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    return mapped(abs, truth)


def kernel_cases() -> list[Case]:
    draw = Draw("gaussian_kernel")
    cases = [
        Case({"beta": [0.25, 0.5], "t": 2, "x_prev": [1.0, -0.5]}),
        Case({"beta": [0.25, 0.5], "t": 1, "x_prev": [0.0]}),
    ]
    cases += [
        Case({"beta": beta, "t": t, "x_prev": vector(draw, draw.choice(SIZES))})
        for beta, t in times_of(1, draw, 17)
    ]
    return (
        cases
        + bad_rates({"t": 1, "x_prev": [1.0]})
        + bad_times([0.25, 0.5], {"x_prev": [1.0]})
        + [
            Case({"beta": [0.25], "t": 1, "x_prev": []}, "empty"),
            Case({"beta": [0.25], "t": 1, "x_prev": [None]}, "bad_number"),
        ]
    )


KERNEL = Function(
    name="gaussian_kernel",
    code="dpm_ref.GaussianDiffusion.kernel",
    equation="2.1, Table App.1",
    units="dimensionless",
    definition="q(x^t | x^{t-1}) = N( sqrt(1 - beta_t) x^{t-1}, beta_t I )",
    inputs=BETA | {"t": "the time, an integer in 1..T", "x_prev": "x^{t-1}"},
    outputs=outputs_of_law("mean", "var"),
    tolerance=MEAN_TOLERANCE,
    truth=kernel,
    scale=kernel_scale,
    cases=kernel_cases(),
    mistakes={"one_early": one_early(kernel), "one_late": one_late(kernel)}
    | kernel_mistakes(kernel, "x_prev"),
)


def edge(x: dict[str, Any]) -> dict[str, Any]:
    return kernel({**x, "t": 1}, "x1")


def edge_cases() -> list[Case]:
    draw = Draw("gaussian_edge")
    cases = [Case({"beta": [0.25, 0.5], "x1": [1.0, -0.5]})]
    cases += [
        Case({"beta": beta, "x1": vector(draw, draw.choice(SIZES))})
        for beta, _ in times_of(1, draw, 20)
    ]
    return (
        cases
        + bad_rates({"x1": [1.0]})
        + [
            Case({"beta": [0.25], "x1": []}, "empty"),
            Case({"beta": [0.25], "x1": [None]}, "bad_number"),
        ]
    )


def edge_by_bayes_alone(x: dict[str, Any]) -> dict[str, Any]:
    """The likelihood q(x^1|x^0) as a function of x^0, normalised: pi(x^0) left out."""
    rate = tables(x).beta[1]
    return {"mean": linear([1 / mp.sqrt(1 - rate)], [exact(x["x1"])]), "var": rate / (1 - rate)}


EDGE = Function(
    name="gaussian_edge",
    code="dpm_ref.GaussianDiffusion.edge",
    equation="2.2, App. B.2, Table App.1",
    units="dimensionless",
    definition="p(x^0 | x^1) = T_pi(x^0 | x^1; beta_1) = N( sqrt(1 - beta_1) x^1, beta_1 I )",
    inputs=BETA | {"x1": "x^1"},
    outputs=outputs_of_law("mean", "var"),
    tolerance=MEAN_TOLERANCE,
    truth=edge,
    scale=kernel_scale,
    cases=edge_cases(),
    mistakes={
        **kernel_mistakes(edge, "x1"),
        "one_late": Mistake(
            "beta_2 for beta_1",
            lambda x: kernel({**x, "t": 2}, "x1") if len(x["beta"]) > 1 else None,
        ),
        "prior_left_out": Mistake(
            "q(x^1|x^0) read as a law of x^0: divided by sqrt(1 - beta), "
            "variance beta / (1 - beta)",
            edge_by_bayes_alone,
        ),
    },
)


# q(x^t | x^0)


def marginal(x: dict[str, Any]) -> dict[str, Any]:
    abar = tables(x).abar[x["t"]]
    return {"mean": linear([mp.sqrt(abar)], [exact(x["x0"])]), "var": 1 - abar}


def marginal_cases() -> list[Case]:
    draw = Draw("gaussian_marginal")
    cases = [
        Case({"beta": [0.25, 0.5], "t": 2, "x0": [1.0, -0.5]}),
        Case({"beta": [0.25, 0.5], "t": 1, "x0": [0.0]}),
    ]
    cases += [
        Case({"beta": beta, "t": t, "x0": vector(draw, draw.choice(SIZES))})
        for beta, t in times_of(1, draw, 17)
    ]
    return (
        cases
        + bad_rates({"t": 1, "x0": [1.0]})
        + bad_times([0.25, 0.5], {"x0": [1.0]})
        + [
            Case({"beta": [0.25], "t": 1, "x0": []}, "empty"),
            Case({"beta": [0.25], "t": 1, "x0": [None]}, "bad_number"),
        ]
    )


def marginal_mean(coefficient: Callable[[Tables, int], Any]) -> Formula:
    return lambda x: {"mean": linear([coefficient(tables(x), x["t"])], [exact(x["x0"])])}


MARGINAL = Function(
    name="gaussian_marginal",
    code="dpm_ref.GaussianDiffusion.marginal",
    equation="2.1, Table App.1",
    units="dimensionless",
    definition="q(x^t | x^0) = N( sqrt(abar_t) x^0, (1 - abar_t) I ), abar_t = prod_{s<=t} (1 - "
    "beta_s)",
    inputs=BETA | {"t": "the time, an integer in 1..T", "x0": "x^0"},
    outputs=outputs_of_law("mean", "var"),
    tolerance=MEAN_TOLERANCE,
    truth=marginal,
    scale=kernel_scale,
    cases=marginal_cases(),
    terms=lambda x, truth: {"mean": mapped(abs, truth["mean"]), "var": 1 + tables(x).abar[x["t"]]},
    mistakes={
        "one_early": one_early(marginal),
        "one_late": one_late(marginal),
        "reversed_schedule": reversed_schedule(marginal),
        "std_for_var": std_for_var(marginal),
        "log_for_var": log_for_var(marginal),
        "root_dropped": Mistake(
            "abar_t x^0 for sqrt(abar_t) x^0", marginal_mean(lambda q, t: q.abar[t])
        ),
        "complement_in_the_mean": Mistake(
            "sqrt(1 - abar_t) x^0", marginal_mean(lambda q, t: mp.sqrt(1 - q.abar[t]))
        ),
        "last_step_in_the_mean": Mistake(
            "sqrt(1 - beta_t) x^0: alpha_t for abar_t",
            marginal_mean(lambda q, t: mp.sqrt(1 - q.beta[t])),
        ),
        "rate_for_var": Mistake(
            "the variance beta_t, that of one step", lambda x: {"var": tables(x).beta[x["t"]]}
        ),
        "abar_for_var": Mistake("the variance abar_t", lambda x: {"var": tables(x).abar[x["t"]]}),
    },
)


# q(x^{t-1} | x^t, x^0)


def posterior_coefficients(q: Tables, t: int) -> tuple[Any, Any, Any]:
    """Of x^0, of x^t, and the variance."""
    before, now, rate = q.abar[t - 1], q.abar[t], q.beta[t]
    return (
        mp.sqrt(before) * rate / (1 - now),
        mp.sqrt(1 - rate) * (1 - before) / (1 - now),
        rate * (1 - before) / (1 - now),
    )


def posterior(x: dict[str, Any]) -> dict[str, Any]:
    of_x0, of_xt, var = posterior_coefficients(tables(x), x["t"])
    return {"mean": linear([of_x0, of_xt], [exact(x["x0"]), exact(x["xt"])]), "var": var}


def posterior_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    of_x0, of_xt, var = posterior_coefficients(tables(x), x["t"])
    return {"mean": size_of([of_x0, of_xt], [exact(x["x0"]), exact(x["xt"])]), "var": var}


def posterior_terms(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    q, t = tables(x), x["t"]
    loss = max(
        (1 + q.abar[s]) / (1 - q.abar[s]) for s in (t - 1, t)
    )  # of 1 - abar, which stands in both
    return {
        "mean": [loss * size for size in posterior_scale(x, truth)["mean"]],
        "var": loss * truth["var"],
    }


def posterior_mean(coefficients: Callable[[Tables, int], tuple[Any, Any]]) -> Formula:
    return lambda x: {
        "mean": linear(list(coefficients(tables(x), x["t"])), [exact(x["x0"]), exact(x["xt"])])
    }


def abar_unshifted(x: dict[str, Any]) -> dict[str, Any]:
    """abar_t wherever abar_{t-1} belongs."""
    q, t = tables(x), x["t"]
    of_x0, of_xt = mp.sqrt(q.abar[t]) * q.beta[t] / (1 - q.abar[t]), mp.sqrt(1 - q.beta[t])
    return {"mean": linear([of_x0, of_xt], [exact(x["x0"]), exact(x["xt"])]), "var": q.beta[t]}


def posterior_states() -> list[tuple[list[float], int, list[float], list[float]]]:
    draw = Draw("gaussian_posterior")
    cases = [
        ([0.25, 0.5], 2, [1.0, -0.5], [0.5, 0.25]),
        ([0.25, 0.5], 2, [1.0], [1.0]),
        ([0.25, 0.5], 2, [0.0, 1.0], [1.0, 0.0]),
        ([0.125, 0.25, 0.5], 3, [3.0], [-1.25]),
        ([0.25, 0.5], 2, [1.0], [-2.449489742783178]),  # the two terms all but cancel
        ([0.125, 0.25, 0.5], 2, [1.0, 2.0], [-4.0, 4.0]),
    ]
    for beta, t in times_of(2, draw, 18):
        d = draw.choice(SIZES)
        cases.append((beta, t, vector(draw, d), vector(draw, d)))
    return cases


def posterior_cases() -> list[Case]:
    good = {"x0": [1.0], "xt": [0.5]}
    return (
        [Case({"beta": beta, "t": t, "x0": x0, "xt": xt}) for beta, t, x0, xt in posterior_states()]
        + bad_rates({"t": 2, **good})
        + bad_times([0.25, 0.5], good, first=2)
        + [
            Case({"beta": [0.25, 0.5], "t": 2, "x0": x0, "xt": xt}, why)
            for x0, xt, why in (
                ([1.0, 2.0], [0.5], "bad_length"),
                ([1.0], [0.5, 0.5, 0.5], "bad_length"),
                ([], [], "empty"),
                ([1.0], [None], "bad_number"),
            )
        ]
    )


POSTERIOR = Function(
    name="gaussian_posterior",
    code="dpm_ref.GaussianDiffusion.posterior",
    equation="2.1, Table App.1",
    units="dimensionless",
    definition="q(x^{t-1} | x^t, x^0) = N(mean, var I), var = beta_t (1 - abar_{t-1}) / (1 - "
    "abar_t), "
    "mean = [ sqrt(abar_{t-1}) beta_t x^0 + sqrt(1 - beta_t) (1 - abar_{t-1}) x^t ] / (1 - abar_t)",
    inputs=BETA | {"t": "the time, an integer in 2..T", "x0": "x^0", "xt": "x^t"},
    outputs=outputs_of_law("mean", "var"),
    tolerance=MEAN_TOLERANCE,
    truth=posterior,
    scale=posterior_scale,
    terms=posterior_terms,
    cases=posterior_cases(),
    mistakes={
        "one_early": one_early(posterior, 2),
        "one_late": one_late(posterior),
        "reversed_schedule": reversed_schedule(posterior),
        "std_for_var": std_for_var(posterior),
        "log_for_var": log_for_var(posterior),
        "abar_unshifted": Mistake("abar_t for abar_{t-1}", abar_unshifted),
        "rate_for_var": Mistake(
            "the variance beta_t, that of the forward step",
            lambda x: {"var": tables(x).beta[x["t"]]},
        ),
        "states_exchanged": Mistake(
            "x^0 and x^t exchanged", changed(posterior, x0=lambda x: x["xt"], xt=lambda x: x["x0"])
        ),
        "root_dropped_at_x0": Mistake(
            "abar_{t-1} for its root",
            posterior_mean(
                lambda q, t: (
                    q.abar[t - 1] * q.beta[t] / (1 - q.abar[t]),
                    posterior_coefficients(q, t)[1],
                )
            ),
        ),
        "root_dropped_at_xt": Mistake(
            "1 - beta_t for its root",
            posterior_mean(
                lambda q, t: (
                    posterior_coefficients(q, t)[0],
                    (1 - q.beta[t]) * (1 - q.abar[t - 1]) / (1 - q.abar[t]),
                )
            ),
        ),
        "not_normalised": Mistake(
            "the mean not divided by 1 - abar_t",
            posterior_mean(
                lambda q, t: (
                    mp.sqrt(q.abar[t - 1]) * q.beta[t],
                    mp.sqrt(1 - q.beta[t]) * (1 - q.abar[t - 1]),
                )
            ),
        ),
        "mean_of_the_kernel": Mistake(
            "sqrt(1 - beta_t) x^t, x^0 left out",
            posterior_mean(lambda q, t: (mp.mpf(0), mp.sqrt(1 - q.beta[t]))),
        ),
    },
)


# log pi(x^0)


def null_log_likelihood(x: dict[str, Any], constant: Any = None, half: Any = 0.5) -> dict[str, Any]:
    constant = mp.log(2 * mp.pi) / 2 if constant is None else mp.mpf(constant)
    return {"log_prior": -mp.fsum(constant + exact(half) * v**2 for v in exact(x["x0"]))}


def null_size(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    return {"log_prior": abs(truth["log_prior"])}


def null_cases() -> list[Case]:
    draw = Draw("gaussian_null_log_likelihood")
    x = [
        [0.0, 1.0],
        [0.0],
        [1.0],
        [-1.0],
        [0.5, -0.25, 2.0],
        [10.0],
        [1000.0, 0.0],
        [2.0**-20],
        [2.0**-60, 0.0],
        [2.0**20],
        [0.1],
        [3.0] * 4,
        [2.0**40, 1.0],
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        [0.0] * 20,
        [1e-3, 1e3],
    ]
    x += [vector(draw, draw.integer(1, 6)) for _ in range(40)]
    return [Case({"x0": each}) for each in x] + [
        Case({"x0": []}, "empty"),
        Case({"x0": [None]}, "bad_number"),
        Case({"x0": [1.0, None]}, "bad_number"),
    ]


NULL = Function(
    name="gaussian_null_log_likelihood",
    code="dpm_ref.bounds.null_log_likelihood",
    equation="2.4, L_null of Table 1",
    units="nats",
    definition="log pi(x^0) = -sum_i [ log(2 pi) + x_i^2 ] / 2",
    inputs={"x0": "x^0"},
    outputs={"log_prior": "log pi(x^0)"},
    tolerance="64 eps |log_prior|; all terms have one sign",
    truth=null_log_likelihood,
    scale=null_size,
    cases=null_cases(),
    mistakes={
        "sign": negative(null_log_likelihood),
        "bits_for_nats": in_bits(null_log_likelihood),
        "mean_for_sum": Mistake(
            "the mean over components, not the sum",
            multiplied(null_log_likelihood, lambda x: mp.mpf(1) / len(x["x0"])),
        ),
        "half_dropped": Mistake(
            "the factor 1/2 of the square left out", lambda x: null_log_likelihood(x, half=1)
        ),
        "half_dropped_twice": Mistake(
            "both factors 1/2 left out", multiplied(null_log_likelihood, lambda x: mp.mpf(2))
        ),
        "two_pi_dropped": Mistake(
            "log(2 pi) left out", lambda x: null_log_likelihood(x, constant=0)
        ),
        "constant_once": Mistake(
            "log(2 pi) / 2 once, not once for each component",
            lambda x: null_log_likelihood(x, mp.log(2 * mp.pi) / 2 / len(x["x0"])),
        ),
        "entropy_constant": Mistake(
            "log(2 pi e) for log(2 pi)",
            lambda x: null_log_likelihood(x, mp.log(2 * mp.pi * mp.e) / 2),
        ),
    },
)


# Equation (24)


def entropy(var: Any) -> Any:
    return mp.log(2 * mp.pi * mp.e * var) / 2 if var else -mp.inf


def trace_of_covariance(x: dict[str, Any], less: int = 0) -> Any:
    total = mp.mpf(0)
    for column in zip(*exact(x["x0"]), strict=True):
        mean = mp.fsum(column) / len(column)
        total += mp.fsum((v - mean) ** 2 for v in column) / (len(column) - less)
    return total


def entropy_bounds(x: dict[str, Any]) -> dict[str, Any]:
    q, t, d = tables(x), x["t"], len(x["x0"][0])
    var = posterior_coefficients(q, t)[2] if t > 1 else 0
    return {
        "lower": d * entropy(var),
        "upper": d * entropy(q.beta[t]),
        "upper_holds": bool(trace_of_covariance(x) <= d),
    }


def entropy_bounds_size(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    q, t, d = tables(x), x["t"], len(x["x0"][0])
    constant = mp.log(2 * mp.pi * mp.e)
    lower = (constant + abs(mp.log(posterior_coefficients(q, t)[2]))) / 2 if t > 1 else mp.mpf(0)
    return {
        "lower": d * lower,
        "upper": d * (constant + abs(mp.log(q.beta[t]))) / 2,
        "upper_holds": mp.mpf(0),
    }


def three_entropies(
    x: dict[str, Any], signs: tuple[int, int, int], s: int | None = None, inside: bool = False
) -> dict[str, Any] | None:
    """The lower side as a sum of H(X^t|X^{t-1}), H(X^s|X^0) and H(X^t|X^0), s = t - 1 if right."""
    q, t, d = tables(x), x["t"], len(x["x0"][0])
    if t == 1:
        return None
    middle = posterior_coefficients(q, t)[2] if inside else 1 - q.abar[t - 1 if s is None else s]
    terms = [entropy(q.beta[t]), entropy(middle), entropy(1 - q.abar[t])]
    return {"lower": d * mp.fsum(sign * term for sign, term in zip(signs, terms, strict=True))}


def entropy_bounds_terms(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    q, t, d = tables(x), x["t"], len(x["x0"][0])
    size = entropy_bounds_size(x, truth)
    three = (
        d * mp.fsum(abs(entropy(var)) for var in (q.beta[t], 1 - q.abar[t - 1], 1 - q.abar[t]))
        if t > 1
        else truth["lower"]
    )
    return {"lower": three, "upper": size["upper"]}


def entropy_bounds_cases() -> list[Case]:
    draw = Draw("gaussian_reverse_entropy_bounds")
    wide, narrow, unit = [[-2.0], [2.0]], [[-0.5], [0.5]], [[-1.0], [1.0]]
    cases = [
        ([0.25, 0.5], 2, [[0.5, -0.5], [-0.5, 1.0]]),
        ([0.25, 0.5], 2, wide),
        ([0.25, 0.5], 2, narrow),
        ([0.25, 0.5], 2, unit),
        ([0.25, 0.5], 1, narrow),
        ([0.25, 0.5], 1, wide),
        ([0.125, 0.25, 0.5], 3, [[3.0]]),
        ([0.125, 0.25, 0.5], 2, [[3.0, 0.0]]),
        ([0.25, 0.5], 2, [[10.0], [10.5]]),
        ([0.25, 0.5], 2, [[2.0, 0.0], [-2.0, 0.0]]),
        ([0.25, 0.5], 2, [[1.0, 0.0], [-1.0, 0.0]]),
        ([0.25, 0.5], 2, [[-1.0], [1.0], [-1.125], [1.125]]),
        ([0.25, 0.5], 2, [[1.0, 0.5], [-1.0, -0.5]]),
    ]
    for beta, t in times_of(1, draw, 12):
        d = draw.choice(SIZES)
        cases.append(
            (
                beta,
                t,
                [vector(draw, d) for _ in range(draw.integer(1, 3))]
                if draw.integer(0, 1)
                else [[v / 8 for v in vector(draw, d)] for _ in range(3)],
            )
        )
    good = {"x0": narrow}
    return (
        [Case({"beta": beta, "t": t, "x0": x0}) for beta, t, x0 in cases]
        + bad_rates({"t": 1, **good})
        + bad_times([0.25, 0.5], good)
        + [
            Case({"beta": [0.25, 0.5], "t": 2, "x0": x0}, why)
            for x0, why in (
                ([], "empty"),
                ([[]], "empty"),
                ([[None]], "bad_number"),
                ([[1.0], [1.0, 2.0]], "bad_length"),
            )
        ]
    )


BOUNDS_MISTAKES = {
    "sides_exchanged": Mistake(
        "lower and upper exchanged",
        lambda x: (lambda b: {"lower": b["upper"], "upper": b["lower"]})(entropy_bounds(x)),
    ),
}
BOUNDS = Function(
    name="gaussian_reverse_entropy_bounds",
    code="dpm_ref.bounds.reverse_entropy_bounds",
    equation="(24)",
    units="nats",
    definition="lower = H_q(X^t|X^{t-1}) + H_q(X^{t-1}|X^0) - H_q(X^t|X^0) = H_q(X^{t-1}|X^t,X^0), "
    "upper = H_q(X^t|X^{t-1}), for the "
    "whole vector; "
    "upper_holds: tr Cov(x^0) <= d, the covariance being the mean over the data of the squared "
    "distance from their mean",
    inputs=BETA | {"t": "the time, an integer in 1..T", "x0": "the data, a list of vectors"},
    outputs={
        "lower": 'the lower side; "-inf" at t = 1',
        "upper": "the upper side",
        "upper_holds": "whether the upper side's condition holds",
    },
    tolerance="(64 + 4 T) eps d [ log(2 pi e) + |log var| ] / 2, var = beta_t for upper and the "
    "posterior's variance for lower",
    truth=entropy_bounds,
    scale=entropy_bounds_size,
    terms=entropy_bounds_terms,
    cases=entropy_bounds_cases(),
    mistakes=BOUNDS_MISTAKES
    | {
        "one_early": one_early(entropy_bounds),
        "one_late": one_late(entropy_bounds),
        "reversed_schedule": reversed_schedule(entropy_bounds),
        "bits_for_nats": in_bits(entropy_bounds, "lower", "upper"),
        "sign": negative(entropy_bounds, "lower", "upper"),
        "mean_for_sum": Mistake(
            "the mean over components, not the sum",
            multiplied(entropy_bounds, lambda x: mp.mpf(1) / len(x["x0"][0]), "lower", "upper"),
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
            "H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0) in the lower side (here where the data are one "
            "vector)",
            lambda x: three_entropies(x, (1, 1, -1), inside=True) if len(x["x0"]) == 1 else None,
        ),
        "condition_not_checked": Mistake(
            "the upper side said to hold for all data", lambda x: {"upper_holds": True}
        ),
        "second_moment_for_covariance": Mistake(
            "E|x^0|^2 <= d for tr Cov(x^0) <= d",
            lambda x: {
                "upper_holds": bool(
                    mp.fsum(v**2 for row in exact(x["x0"]) for v in row) / len(x["x0"])
                    <= len(x["x0"][0])
                )
            },
        ),
        "trace_not_summed": Mistake(
            "tr Cov(x^0) <= 1 for d", lambda x: {"upper_holds": bool(trace_of_covariance(x) <= 1)}
        ),
    },
)

FUNCTIONS = [KERNEL, MARGINAL, POSTERIOR, EDGE, NULL, BOUNDS]

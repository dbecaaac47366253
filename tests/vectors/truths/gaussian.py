"""The Gaussian column of Table App.1: the laws of the trajectory, log pi(x^0), and the two sides of
(24).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from mpmath_oracle import Tables, gaussian_entropy, gaussian_log_prob, mp

from truths.elementwise import entropy_size
from truths.functions import Function, bad, in_nats, spoilt
from truths.inputs import Formula, Inputs, exact
from truths.mistakes import Mistake, amended, common, scaled, wrong_lower_sides
from truths.numbers import Draw, mapped
from truths.tables import BETA, SIMPLE, TIME, TWO, bad_schedules, times_of

LAW = {
    "mean": "the mean of each component",
    "var": "the variance of each component, one number for all",
}
MEAN_TOLERANCE = (
    "(64 + 4 T) eps times the absolute values of the terms of the mean; and the same of the "
    "variance"
)
law_function = partial(Function, outputs=LAW, tolerance=MEAN_TOLERANCE)
OF_VARIANCES = {
    "std_for_var": amended(
        "the standard deviation where a variance belongs",
        lambda right: {"var": mp.sqrt(right["var"])},
    ),
    "log_for_var": amended(
        "the logarithm of the variance", lambda right: {"var": mp.log(right["var"])}
    ),
}


def vector(draw: Draw, d: int) -> list[float]:
    """Components between -4 and 4, sometimes 0."""
    return draw.parts(d, 16, -64, 64)


def times(coefficient: Any, state: list[float]) -> list[Any]:
    return [coefficient * v for v in exact(state)]


def state_cases(name: str, state: str, drawn: int, timed: bool = True) -> list[Any]:
    """The hard schedules and some without pattern, each with a state."""
    draw = Draw(name)
    cases = [TWO | {state: [1.0, -0.5]}]
    cases += [TWO | {"t": 1, state: [0.0]}] if timed else []
    for beta, t in times_of(1, draw, drawn):
        cases.append({"beta": beta, "t": t, state: vector(draw, draw.choice([1, 2, 3, 4]))})
    good = {"beta": SIMPLE, state: [1.0]} | ({"t": 1} if timed else {})
    one = {"beta": [0.25], "t": 1}
    cases += [*bad_schedules(good), *bad("empty", one | {state: []})]
    return cases + bad("bad_number", one | {state: [None]})


# q(x^t | x^{t-1}) and p(x^0 | x^1)


def kernel(x: Inputs, state: str = "x_prev") -> dict[str, Any]:
    return {"mean": times(mp.sqrt(1 - x.rate), x[state]), "var": x.rate}


def kernel_mistakes(state: str) -> dict[str, Mistake]:
    def mean(coefficient: Callable[[Any], Any]) -> Formula:
        return lambda x: times(coefficient(x.rate), x[state])

    return {
        **OF_VARIANCES,
        **common("reversed_schedule"),
        "root_dropped": Mistake("(1 - beta) x for sqrt(1 - beta) x", mean(lambda rate: 1 - rate)),
        "not_shrunk": Mistake(
            "the mean left at x, so that the variance grows without end", mean(lambda rate: 1)
        ),
        "expanded": Mistake("divided by sqrt(1 - beta)", mean(lambda rate: 1 / mp.sqrt(1 - rate))),
        "rate_for_complement": Mistake("sqrt(beta) x for sqrt(1 - beta) x", mean(mp.sqrt)),
        "complement_for_rate": amended(
            "the variance 1 - beta for beta", lambda right: {"var": 1 - right["var"]}
        ),
    }


KERNEL = law_function(
    name="gaussian_kernel",
    code="dpm_ref.GaussianDiffusion.kernel",
    equation="2.1, Table App.1",
    definition="q(x^t | x^{t-1}) = N( sqrt(1 - beta_t) x^{t-1}, beta_t I )",
    inputs=BETA | TIME | {"x_prev": "x^{t-1}"},
    truth=kernel,
    cases=state_cases("gaussian_kernel", "x_prev", 17),
    mistakes=common("one_early one_late") | kernel_mistakes("x_prev"),
)


def edge_by_bayes_alone(x: Inputs) -> dict[str, Any]:
    """The likelihood q(x^1|x^0) as a function of x^0, normalised: pi(x^0) left out."""
    rate = x.q.beta[1]
    return {"mean": times(1 / mp.sqrt(1 - rate), x["x1"]), "var": rate / (1 - rate)}


EDGE = law_function(
    name="gaussian_edge",
    code="dpm_ref.GaussianDiffusion.edge",
    equation="2.2, App. B.2, Table App.1",
    definition="p(x^0 | x^1) = T_pi(x^0 | x^1; beta_1) = N( sqrt(1 - beta_1) x^1, beta_1 I )",
    inputs=BETA | {"x1": "x^1"},
    truth=lambda x: kernel(x, "x1"),
    cases=state_cases("gaussian_edge", "x1", 20, timed=False),
    mistakes=kernel_mistakes("x1")
    | {
        "one_late": Mistake(
            "beta_2 for beta_1", lambda x: kernel(x.but(t=2), "x1") if len(x["beta"]) > 1 else None
        ),
        "prior_left_out": Mistake(
            "q(x^1|x^0) read as a law of x^0: divided by sqrt(1 - beta), "
            "variance beta / (1 - beta)",
            edge_by_bayes_alone,
        ),
    },
)


# q(x^t | x^0)


def marginal_mean(coefficient: Callable[[Tables, int], Any]) -> Formula:
    return lambda x: times(coefficient(x.q, x.t), x["x0"])


MARGINAL = law_function(
    name="gaussian_marginal",
    code="dpm_ref.GaussianDiffusion.marginal",
    equation="2.1, Table App.1",
    definition="q(x^t | x^0) = N( sqrt(abar_t) x^0, (1 - abar_t) I ), abar_t = prod_{s<=t} (1 - "
    "beta_s)",
    inputs=BETA | TIME | {"x0": "x^0"},
    truth=lambda x: {"mean": times(x.q.sqrt_abar(x.t), x["x0"]), "var": x.q.one_minus_abar(x.t)},
    cases=state_cases("gaussian_marginal", "x0", 17),
    terms=lambda x, truth: {"mean": mapped(abs, truth["mean"]), "var": 1 + x.abar},
    mistakes=common("one_early one_late reversed_schedule")
    | OF_VARIANCES
    | {
        "root_dropped": Mistake("abar_t x^0 for sqrt(abar_t) x^0", marginal_mean(Tables.abar)),
        "complement_in_the_mean": Mistake(
            "sqrt(1 - abar_t) x^0", marginal_mean(Tables.sqrt_one_minus_abar)
        ),
        "last_step_in_the_mean": Mistake(
            "sqrt(1 - beta_t) x^0: alpha_t for abar_t",
            marginal_mean(lambda q, t: mp.sqrt(1 - q.beta[t])),
        ),
        "rate_for_var": Mistake("the variance beta_t, that of one step", lambda x: {"var": x.rate}),
        "abar_for_var": Mistake("the variance abar_t", lambda x: {"var": x.abar}),
    },
)


# q(x^{t-1} | x^t, x^0)


def posterior(x: Inputs, of_x0: Any, of_xt: Any, var: Any) -> dict[str, Any]:
    mean = [of_x0 * a + of_xt * b for a, b in zip(x.x0, x.xt, strict=True)]
    return {"mean": mean, "var": var}


def posterior_scale(x: Inputs, truth: dict[str, Any], loss: Any = 1) -> dict[str, Any]:
    of_x0, of_xt, var = x.q.posterior(x.t)
    mean = [abs(of_x0 * a) + abs(of_xt * b) for a, b in zip(x.x0, x.xt, strict=True)]
    return {"mean": [loss * size for size in mean], "var": loss * var}


def posterior_terms(x: Inputs, truth: dict[str, Any]) -> dict[str, Any]:
    """1 - abar stands in both."""
    abar = [x.q.abar(x.t - 1), x.abar]
    return posterior_scale(x, truth, max((1 + kept) / (1 - kept) for kept in abar))


def posterior_mean(coefficients: Callable[[Tables, int], tuple[Any, Any]]) -> Formula:
    return lambda x: posterior(x, *coefficients(x.q, x.t), None)["mean"]


def unshifted(q: Tables, t: int) -> tuple[Any, Any, Any]:
    """The posterior with abar_t wherever abar_{t-1} belongs."""
    return q.sqrt_abar(t) * q.beta[t] / q.one_minus_abar(t), mp.sqrt(1 - q.beta[t]), q.beta[t]


def posterior_cases() -> list[Any]:
    draw = Draw("gaussian_posterior")
    cases = [
        (SIMPLE, 2, [1.0, -0.5], [0.5, 0.25]),
        (SIMPLE, 2, [1.0], [1.0]),
        (SIMPLE, 2, [0.0, 1.0], [1.0, 0.0]),
        ([0.125, 0.25, 0.5], 3, [3.0], [-1.25]),
        (SIMPLE, 2, [1.0], [-2.449489742783178]),  # the two terms all but cancel
        ([0.125, 0.25, 0.5], 2, [1.0, 2.0], [-4.0, 4.0]),
    ]
    for beta, t in times_of(2, draw, 18):
        d = draw.choice([1, 2, 3, 4])
        cases.append((beta, t, vector(draw, d), vector(draw, d)))
    good = TWO | {"x0": [1.0], "xt": [0.5]}
    lengths = {"x0": [[1.0, 2.0], [1.0]], "xt": [[0.5], [0.5, 0.5, 0.5]]}
    return [
        *cases,
        *bad_schedules(good, first=2),
        *spoilt(good, "bad_length", **lengths),
        *spoilt(good, "empty", x0=[[]], xt=[[]]),
        *spoilt(good, "bad_number", xt=[[None]]),
    ]


POSTERIOR = law_function(
    name="gaussian_posterior",
    code="dpm_ref.GaussianDiffusion.posterior",
    equation="2.1, Table App.1",
    definition="q(x^{t-1} | x^t, x^0) = N(mean, var I), var = beta_t (1 - abar_{t-1}) / (1 - "
    "abar_t), "
    "mean = [ sqrt(abar_{t-1}) beta_t x^0 + sqrt(1 - beta_t) (1 - abar_{t-1}) x^t ] / (1 - abar_t)",
    inputs=BETA | {"t": "the time, an integer in 2..T", "x0": "x^0", "xt": "x^t"},
    truth=lambda x: posterior(x, *x.q.posterior(x.t)),
    times=(2, 0),
    scale=posterior_scale,
    terms=posterior_terms,
    cases=posterior_cases(),
    mistakes=common("one_early one_late reversed_schedule")
    | OF_VARIANCES
    | {
        "abar_unshifted": Mistake(
            "abar_t for abar_{t-1}", lambda x: posterior(x, *unshifted(x.q, x.t))
        ),
        "rate_for_var": Mistake(
            "the variance beta_t, that of the forward step", lambda x: {"var": x.rate}
        ),
        **common("states_exchanged"),
        "root_dropped_at_x0": Mistake(
            "abar_{t-1} for its root",
            posterior_mean(
                lambda q, t: (q.coefficient_x0(t) * q.sqrt_abar(t - 1), q.coefficient_xt(t))
            ),
        ),
        "root_dropped_at_xt": Mistake(
            "1 - beta_t for its root",
            posterior_mean(
                lambda q, t: (q.coefficient_x0(t), q.coefficient_xt(t) * mp.sqrt(1 - q.beta[t]))
            ),
        ),
        "not_normalised": Mistake(
            "the mean not divided by 1 - abar_t",
            posterior_mean(lambda q, t: [c * q.one_minus_abar(t) for c in q.posterior(t)[:2]]),
        ),
        "mean_of_the_kernel": Mistake(
            "sqrt(1 - beta_t) x^t, x^0 left out",
            posterior_mean(lambda q, t: (mp.mpf(0), mp.sqrt(1 - q.beta[t]))),
        ),
    },
)


# log pi(x^0)


def null(x: Inputs, constant: Any = 0, half: float = 0.5) -> Any:
    """-sum_i [ constant + x_i^2 / 2 ]."""
    return -mp.fsum(constant + half * v**2 for v in x.x0)


def half_log(number: Any) -> Any:
    return mp.log(number) / 2


def null_cases() -> list[Any]:
    draw = Draw("gaussian_null_log_likelihood")
    rows = [[0.0, 1.0], [0.0], [1.0], [-1.0], [0.5, -0.25, 2.0], [10.0], [1000.0, 0.0], [2.0**-20]]
    rows += [[2.0**-60, 0.0], [2.0**20], [0.1], [3.0] * 4, [2.0**40, 1.0]]
    rows += [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [0.0] * 20, [1e-3, 1e3]]
    rows += [vector(draw, draw.integer(1, 6)) for _ in range(40)]
    invalid = bad("empty", ([],)) + bad("bad_number", ([None],), ([1.0, None],))
    return [(row,) for row in rows] + invalid


NULL = in_nats(
    name="gaussian_null_log_likelihood",
    code="dpm_ref.bounds.null_log_likelihood",
    equation="2.4, L_null of Table 1",
    definition="log pi(x^0) = -sum_i [ log(2 pi) + x_i^2 ] / 2",
    inputs={"x0": "x^0"},
    outputs={"log_prior": "log pi(x^0)"},
    tolerance="64 eps |log_prior|; all terms have one sign",
    truth=lambda x: mp.fsum(gaussian_log_prob(v, 0, 1) for v in x["x0"]),
    cases=null_cases(),
    mistakes={
        **common("sign bits_for_nats mean_for_sum"),
        "half_dropped": Mistake(
            "the factor 1/2 of the square left out", lambda x: null(x, half_log(2 * mp.pi), 1)
        ),
        "half_dropped_twice": scaled("both factors 1/2 left out", lambda x: 2),
        "two_pi_dropped": Mistake("log(2 pi) left out", null),
        "constant_once": Mistake(
            "log(2 pi) / 2 once, not once for each component",
            lambda x: null(x) - half_log(2 * mp.pi),
        ),
        "entropy_constant": Mistake(
            "log(2 pi e) for log(2 pi)", lambda x: null(x, half_log(2 * mp.pi * mp.e))
        ),
    },
)


# Equation (24)


def trace_of_covariance(x: Inputs) -> Any:
    total = mp.mpf(0)
    for column in zip(*x.x0, strict=True):
        mean = mp.fsum(column) / len(column)
        total += mp.fsum((v - mean) ** 2 for v in column) / len(column)
    return total


def entropy_bounds(x: Inputs) -> dict[str, Any]:
    return {
        "lower": x.d * gaussian_entropy(x.q.posterior_var(x.t)),
        "upper": x.d * gaussian_entropy(x.rate),
        "upper_holds": bool(trace_of_covariance(x) <= x.d),
    }


def three_entropies(x: Inputs, s: int) -> list[Any]:
    """The terms of the lower side."""
    variances = [x.rate, x.q.one_minus_abar(s), x.q.one_minus_abar(x.t)]
    return [x.d * gaussian_entropy(var) for var in variances]


def entropy_bounds_terms(x: Inputs, truth: dict[str, Any]) -> dict[str, Any]:
    three = mp.fsum(map(abs, three_entropies(x, x.t - 1)))
    return {"lower": three, "upper": x.d * entropy_size(x.rate)}


def entropy_bounds_cases() -> list[Any]:
    draw = Draw("gaussian_reverse_entropy_bounds")
    wide, narrow, unit = [[-2.0], [2.0]], [[-0.5], [0.5]], [[-1.0], [1.0]]
    cases = [(SIMPLE, 2, [[0.5, -0.5], [-0.5, 1.0]]), (SIMPLE, 2, wide)]
    cases += [(SIMPLE, 2, narrow), (SIMPLE, 2, unit), (SIMPLE, 1, narrow)]
    cases += [(SIMPLE, 1, wide), ([0.125, 0.25, 0.5], 3, [[3.0]])]
    cases += [([0.125, 0.25, 0.5], 2, [[3.0, 0.0]]), (SIMPLE, 2, [[10.0], [10.5]])]
    cases += [(SIMPLE, 2, [[2.0, 0.0], [-2.0, 0.0]])]
    cases += [(SIMPLE, 2, [[1.0, 0.0], [-1.0, 0.0]])]
    cases += [(SIMPLE, 2, [[-1.0], [1.0], [-1.125], [1.125]])]
    cases += [(SIMPLE, 2, [[1.0, 0.5], [-1.0, -0.5]])]
    for beta, t in times_of(1, draw, 12):
        d = draw.choice([1, 2, 3, 4])
        if draw.integer(0, 1):
            x0 = [vector(draw, d) for _ in range(draw.integer(1, 3))]
        else:
            x0 = [[v / 8 for v in vector(draw, d)] for _ in range(3)]
        cases.append((beta, t, x0))
    good = TWO | {"x0": narrow}
    return [
        *cases,
        *bad_schedules(good | {"t": 1}),
        *spoilt(good, "empty", x0=[[], [[]]]),
        *spoilt(good, "bad_number", x0=[[[None]]]),
        *spoilt(good, "bad_length", x0=[[[1.0], [1.0, 2.0]]]),
    ]


def reverse_entropy_inside(x: Inputs) -> Any:
    step, _, last = three_entropies(x, x.t)
    return step + entropy_bounds(x)["lower"] - last if len(x["x0"]) == 1 and x.t > 1 else None


def second_moment(x: Inputs) -> Any:
    return mp.fsum(v**2 for row in x.x0 for v in row) / len(x["x0"])


BOUNDS = in_nats(
    name="gaussian_reverse_entropy_bounds",
    code="dpm_ref.bounds.reverse_entropy_bounds",
    equation="(24)",
    definition="lower = H_q(X^t|X^{t-1}) + H_q(X^{t-1}|X^0) - H_q(X^t|X^0) = H_q(X^{t-1}|X^t,X^0), "
    "upper = H_q(X^t|X^{t-1}), for the whole vector; upper_holds: tr Cov(x^0) <= d, the "
    "covariance being the mean over the data of the squared distance from their mean",
    inputs=BETA | TIME | {"x0": "the data, a list of vectors"},
    outputs={
        "lower": 'the lower side; "-inf" at t = 1',
        "upper": "the upper side",
        "upper_holds": "whether the upper side's condition holds",
    },
    tolerance="(64 + 4 T) eps d [ log(2 pi e) + |log var| ] / 2, var = beta_t for upper and the "
    "posterior's variance for lower",
    truth=entropy_bounds,
    scale=lambda x, truth: {
        "lower": x.d * entropy_size(x.q.posterior_var(x.t)),
        "upper": x.d * entropy_size(x.rate),
    },
    terms=entropy_bounds_terms,
    cases=entropy_bounds_cases(),
    mistakes=common("sides_exchanged one_early one_late reversed_schedule bits_for_nats sign")
    | common("mean_for_sum")
    | wrong_lower_sides(three_entropies, first=2)
    | {
        "reverse_entropy_inside": Mistake(
            "H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0) in the lower side (here where the data are one "
            "vector)",
            reverse_entropy_inside,
        ),
        **common("condition_not_checked"),
        "second_moment_for_covariance": Mistake(
            "E|x^0|^2 <= d for tr Cov(x^0) <= d",
            lambda x: {"upper_holds": bool(second_moment(x) <= x.d)},
        ),
        "trace_not_summed": Mistake(
            "tr Cov(x^0) <= 1 for d", lambda x: {"upper_holds": bool(trace_of_covariance(x) <= 1)}
        ),
    },
)

FUNCTIONS = [KERNEL, MARGINAL, POSTERIOR, EDGE, NULL, BOUNDS]

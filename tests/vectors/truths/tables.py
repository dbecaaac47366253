"""beta_1..T and what follows from it: abar_t = prod_{s<=t} (1 - beta_s), and the fixed choices of
beta.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from truths.functions import (
    Case,
    Function,
    Mistake,
    changed,
    in_bits,
    multiplied,
    negative,
    numbers,
    of_output,
    one_early,
    one_late,
    reversed_schedule,
)
from truths.numbers import Draw, exact, mp


class Tables:
    """abar_0..T by a running product; index t as in the paper."""

    def __init__(self, beta: tuple[Any, ...]) -> None:
        self.beta = [None, *map(mp.mpf, beta)]
        self.T = len(beta)
        self.abar = [mp.mpf(1)]
        for rate in self.beta[1:]:
            self.abar.append(self.abar[-1] * (1 - rate))


@lru_cache(maxsize=64)
def _tables(beta: tuple[Any, ...], prec: int) -> Tables:
    return Tables(beta)


def tables(x: dict[str, Any]) -> Tables:
    """The tables of the inputs' beta, at the working precision."""
    return _tables(tuple(x["beta"]), mp.prec)


# Schedules that every function of a beta is tried at


RISING = [(1 + t // 125) / 128 for t in range(1000)]
SHORT: list[tuple[list[float], list[int]]] = [
    ([0.25, 0.5], [2, 1]),
    ([0.125, 0.25, 0.5], [2, 3, 1]),
    ([0.5, 0.25, 0.125, 0.0625, 0.03125], [5, 3, 1]),
    ([0.0625, 0.125, 0.25, 0.375, 0.75], [4, 2]),
    ([0.1, 0.3, 0.4], [3]),
    ([0.0001, 0.0002, 0.02], [2, 3]),
    ([0.375], [1]),
    ([1.0], [1]),
    ([0.25, 1.0], [2]),
    ([0.25, 1.0, 0.5], [3]),
    ([2.0**-40, 2.0**-40, 2.0**-39], [2, 3]),
    ([2.0**-100, 2.0**-101], [2, 1]),
    ([2.0**-60, 0.5, 2.0**-60], [2, 3]),
    ([0.5, 2.0**-60, 0.25], [2, 3]),
    ([1 - 2.0**-24, 0.5, 0.25], [1, 2, 3]),
    ([0.25, 1 - 2.0**-20, 1 - 2.0**-24], [2, 3]),
    ([2.0**-20, 2.0**-10, 0.5], [2, 3]),
]
LONG: list[tuple[list[float], list[int]]] = [(RISING, [500])]


def drawn_schedule(draw: Draw, n: int = 64, longest: int = 6, shortest: int = 2) -> list[float]:
    return [draw.part(n) for _ in range(draw.integer(shortest, longest))]


def times_of(first: int, draw: Draw, drawn: int) -> list[tuple[list[float], int]]:
    """(beta, t) with t >= first: the hard schedules, the long ones, and as many without pattern."""
    hard = [(beta, t) for beta, times in SHORT + LONG for t in times if t >= first]
    extra = [drawn_schedule(draw, shortest=max(2, first)) for _ in range(drawn)]
    return hard + [(beta, draw.integer(first, len(beta))) for beta in extra]


def bad_rates(rest: dict[str, Any]) -> list[Case]:
    """A beta that is no schedule, with other inputs that are fine."""
    return [
        Case({"beta": beta, **rest}, why)
        for beta, why in (
            ([0.0, 0.5, 0.25], "bad_rate"),
            ([0.5, 1.5, 0.25], "bad_rate"),
            ([0.25, -0.25, 0.5], "bad_rate"),
            ([0.25, None, 0.5], "bad_number"),
            ([], "empty"),
        )
    ]


def bad_times(beta: list[float], rest: dict[str, Any], first: int = 1) -> list[Case]:
    return [
        Case({"beta": beta, "t": t, **rest}, "bad_time")
        for t in (first - 1, len(beta) + 1, -1, 1.5)
    ]


# log abar_t and 1 - abar_t


def log_abar(x: dict[str, Any]) -> dict[str, Any]:
    kept = tables(x).abar[x["t"]]
    return {"log_abar": mp.log(kept) if kept else -mp.inf}


def one_minus_abar(x: dict[str, Any]) -> dict[str, Any]:
    return {"one_minus_abar": 1 - tables(x).abar[x["t"]]}


def log_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    return {"log_abar": abs(truth["log_abar"])}


def log_abar_terms(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """A product near 1 is known to eps, however near; its logarithm is then not."""
    return {"log_abar": max(mp.mpf(1), abs(truth["log_abar"]))}


TABLE_INPUTS = {"beta": "beta_1, ..., beta_T, each in (0, 1]", "t": "the time, an integer in 1..T"}
TABLE_CASES = (
    [
        Case({"beta": beta, "t": t})
        for beta, t in [*times_of(1, Draw("log_abar"), 21), (RISING, 1000)]
    ]
    + bad_rates({"t": 2})
    + bad_times([0.25, 0.5], {})
)

LOG_ABAR = Function(
    name="log_abar",
    code="dpm_ref.schedules.Schedule.log_abar",
    equation="2.1, Table App.1",
    units="nats",
    definition="log abar_t = sum_{s<=t} log(1 - beta_s)",
    inputs=TABLE_INPUTS,
    outputs={"log_abar": 'log abar_t; "-inf" after a beta of 1'},
    tolerance="(64 + 4 T) eps |log_abar|; nothing cancels in a sum of log1p(-beta)",
    truth=log_abar,
    terms=log_abar_terms,
    scale=log_scale,
    cases=TABLE_CASES,
    mistakes={
        "one_early": one_early(log_abar),
        "one_late": one_late(log_abar),
        "reversed_schedule": reversed_schedule(log_abar),
        "bits_for_nats": in_bits(log_abar),
        "sign": negative(log_abar),
        "root_for_abar": Mistake("log sqrt(abar_t)", multiplied(log_abar, lambda x: mp.mpf(1) / 2)),
        "last_step_alone": Mistake(
            "log(1 - beta_t) alone", lambda x: {"log_abar": mp.log(1 - tables(x).beta[x["t"]])}
        ),
        "rates_multiplied": Mistake(
            "the product of beta_s, not of 1 - beta_s",
            lambda x: {"log_abar": mp.fsum(map(mp.log, exact(x["beta"][: x["t"]])))},
        ),
        "first_order": Mistake(
            "-sum beta_s, which is log abar_t for small beta only",
            lambda x: {"log_abar": -mp.fsum(exact(x["beta"][: x["t"]]))},
        ),
    },
)

ONE_MINUS_ABAR = Function(
    name="one_minus_abar",
    code="dpm_ref.schedules.Schedule.one_minus_abar",
    equation="2.1, Table App.1, the Gaussian marginal's variance",
    units="dimensionless",
    definition="1 - abar_t, abar_t = prod_{s<=t} (1 - beta_s)",
    inputs=TABLE_INPUTS,
    outputs={"one_minus_abar": "1 - abar_t"},
    tolerance="(64 + 4 T) eps |one_minus_abar|; nothing cancels in -expm1(sum of log1p(-beta))",
    truth=one_minus_abar,
    terms=lambda x, truth: {"one_minus_abar": 1 + tables(x).abar[x["t"]]},
    scale=of_output,
    cases=TABLE_CASES,
    mistakes={
        "one_early": one_early(one_minus_abar),
        "one_late": one_late(one_minus_abar),
        "reversed_schedule": reversed_schedule(one_minus_abar),
        "abar_for_complement": Mistake(
            "abar_t", lambda x: {"one_minus_abar": tables(x).abar[x["t"]]}
        ),
        "std_for_var": Mistake(
            "sqrt(1 - abar_t)", lambda x: {"one_minus_abar": mp.sqrt(1 - tables(x).abar[x["t"]])}
        ),
        "root_of_abar": Mistake(
            "1 - sqrt(abar_t)", lambda x: {"one_minus_abar": 1 - mp.sqrt(tables(x).abar[x["t"]])}
        ),
        "last_step_alone": Mistake(
            "beta_t alone", lambda x: {"one_minus_abar": tables(x).beta[x["t"]]}
        ),
        "rates_multiplied": Mistake(
            "1 less the product of beta_s",
            lambda x: {"one_minus_abar": 1 - mp.fprod(exact(x["beta"][: x["t"]]))},
        ),
        "first_order": Mistake(
            "sum beta_s, which is 1 - abar_t for small beta only",
            lambda x: {"one_minus_abar": mp.fsum(exact(x["beta"][: x["t"]]))},
        ),
    },
)


# Fixed choices of beta


Formula = Callable[[dict[str, Any]], dict[str, Any]]


def shifted(truth: Formula, step: int) -> Formula:
    return changed(truth, t=lambda x: x["t"] + step if 1 <= x["t"] + step <= x["T"] else None)


def mistakes_in_time(truth: Formula) -> dict[str, Mistake]:
    return {
        "one_early": Mistake("beta_{t-1}", shifted(truth, -1)),
        "one_late": Mistake("beta_{t+1}", shifted(truth, 1)),
        "reversed_schedule": Mistake(
            "beta_{T-t+1}", changed(truth, t=lambda x: x["T"] + 1 - x["t"])
        ),
        "complement": Mistake("1 - beta_t", lambda x: {"beta": 1 - truth(x)["beta"]}),
    }


def some_times(T: int, draw: Draw) -> list[int]:
    return sorted({1, T, (T + 1) // 2, draw.integer(1, T)})


def schedule_inputs(**more: str) -> dict[str, str]:
    return {"T": "the number of steps, >= 1", "t": "the time, an integer in 1..T", **more}


def in_schedules(draw: Draw, settings: list[tuple[int, dict[str, float]]]) -> list[Case]:
    return [Case({"T": T, "t": t, **rest}) for T, rest in settings for t in some_times(T, draw)]


def bad_schedules(rest: dict[str, float], least: int = 1) -> list[Case]:
    return [
        Case({"T": T, "t": t, **rest}, "bad_time")
        for T, t in ((least - 1, 1), (-3, 1), (5, 0), (5, 6), (2.5, 1))
    ]


def beta_linear(x: dict[str, Any], steps: int = 1) -> dict[str, Any]:
    first, last = numbers(x, "first", "last")
    return {
        "beta": first + (last - first) * (x["t"] - 1) / (x["T"] - steps) if x["T"] > 1 else first
    }


def linear_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    first, last = numbers(x, "first", "last")
    return {"beta": first + (abs(last - first) * (x["t"] - 1) / (x["T"] - 1) if x["T"] > 1 else 0)}


def beta_scaled_linear(x: dict[str, Any]) -> dict[str, Any]:
    roots = beta_linear(
        {**x, "first": mp.sqrt(exact(x["first"])), "last": mp.sqrt(exact(x["last"]))}
    )
    return {"beta": roots["beta"] ** 2}


def beta_geometric(x: dict[str, Any]) -> dict[str, Any]:
    return {
        "beta": mp.exp(
            beta_linear(
                {**x, "first": mp.log(exact(x["first"])), "last": mp.log(exact(x["last"]))}
            )["beta"]
        )
    }


LINEAR_DRAW = Draw("schedule_linear")
LINEAR = Function(
    name="schedule_linear",
    code="dpm_ref.schedules.linear",
    equation="2.4.1, a fixed choice of beta",
    units="dimensionless",
    definition="beta_t = first + (last - first) (t - 1) / (T - 1); first where T = 1",
    inputs=schedule_inputs(first="beta_1, in (0, 1)", last="beta_T, in (0, 1)"),
    outputs={"beta": "beta_t"},
    tolerance="64 eps (first + |last - first| (t - 1) / (T - 1))",
    truth=beta_linear,
    scale=linear_scale,
    terms=linear_scale,
    cases=in_schedules(
        LINEAR_DRAW,
        [
            (5, {"first": 0.125, "last": 0.5}),
            (4, {"first": 0.0625, "last": 0.75}),
            (1, {"first": 0.25, "last": 0.5}),
            (2, {"first": 0.25, "last": 0.5}),
            (1000, {"first": 0.0001, "last": 0.02}),
            (1000, {"first": 2.0**-13, "last": 5 / 256}),
            (40, {"first": 2.0**-10, "last": 0.25}),
            (10, {"first": 2.0**-60, "last": 0.5}),
            (10, {"first": 0.5, "last": 2.0**-60}),
            (3, {"first": 0.375, "last": 0.375}),
            (7, {"first": 2.0**-40, "last": 2.0**-30}),
            (100, {"first": 2.0**-20, "last": 1 - 2.0**-20}),
            (1000, {"first": 0.75, "last": 0.0625}),
        ]
        + [
            (
                LINEAR_DRAW.integer(3, 20),
                {"first": LINEAR_DRAW.part(64), "last": LINEAR_DRAW.part(64)},
            )
            for _ in range(5)
        ],
    )
    + bad_schedules({"first": 0.25, "last": 0.5})
    + [
        Case({"T": 5, "t": 2, "first": first, "last": last}, why)
        for first, last, why in (
            (0.0, 0.5, "bad_rate"),
            (0.25, 1.5, "bad_rate"),
            (-0.25, 0.5, "bad_rate"),
            (0.25, 1.0, "bad_rate"),
            (None, 0.5, "bad_number"),
        )
    ],
    mistakes=mistakes_in_time(beta_linear)
    | {
        "last_not_reached": Mistake(
            "divided by T where T - 1 belongs, so that beta_T is not last",
            lambda x: beta_linear(x, 0),
        ),
        "linear_in_the_root": Mistake("sqrt(beta) linear, another schedule", beta_scaled_linear),
        "linear_in_the_log": Mistake("log beta linear, another schedule", beta_geometric),
    },
)


def beta_cosine(
    x: dict[str, Any], offset: Any = None, capped: bool = True, power: int = 2
) -> dict[str, Any]:
    offset, largest = exact(x["offset"]) if offset is None else offset, exact(x["largest"])

    def f(t: int) -> Any:
        return (
            mp.cos(mp.pi / 2 * (mp.mpf(t) / x["T"] + offset) / (1 + offset)) ** power
            if t < x["T"]
            else mp.mpf(0)
        )  # cos(pi/2) = 0

    rate = 1 - f(x["t"]) / f(x["t"] - 1)
    return {"beta": min(rate, largest) if capped else rate}


def beta_cosine_without_denominator(x: dict[str, Any]) -> dict[str, Any]:
    offset, largest = numbers(x, "offset", "largest")

    def f(t: int) -> Any:
        return mp.cos(mp.pi / 2 * (mp.mpf(t) / x["T"] + offset)) ** 2

    return {"beta": min(1 - f(x["t"]) / f(x["t"] - 1), largest)}


def abar_cosine(x: dict[str, Any]) -> dict[str, Any]:
    f = [
        mp.cos(mp.pi / 2 * (mp.mpf(t) / x["T"] + exact(x["offset"])) / (1 + exact(x["offset"])))
        ** 2
        for t in (0, x["t"])
    ]
    return {"beta": 1 - f[1] / f[0]}


COSINE_DRAW = Draw("schedule_cosine")
FLOAT32_OFFSET, FLOAT32_LARGEST = 0.00800000037997961, 0.9990000128746033
COSINE = Function(
    name="schedule_cosine",
    code="dpm_ref.schedules.cosine",
    equation="2.4.1, a fixed choice of beta (Nichol and Dhariwal 2021, equation 17)",
    units="dimensionless",
    definition="beta_t = min( 1 - f(t/T) / f((t-1)/T), largest ), f(u) = cos^2( (pi/2) (u + "
    "offset) / (1 + offset) )",
    inputs=schedule_inputs(
        offset="keeps beta_1 away from 0, in (0, 1)", largest="the cap on beta_t, in (0, 1)"
    ),
    outputs={"beta": "beta_t"},
    tolerance="64 T eps |beta|: an angle between 0 and pi/2 is known to eps, a step of it to T "
    "eps, and its cosine near pi/2 no better",
    truth=beta_cosine,
    scale=lambda x, truth: {"beta": x["T"] * truth["beta"]},
    terms=lambda x, truth: {"beta": 2 - truth["beta"]},
    cases=in_schedules(
        COSINE_DRAW,
        [
            (5, {"offset": 0.0078125, "largest": 0.9990234375}),
            (4, {"offset": 0.125, "largest": 0.5}),
            (1, {"offset": 0.0078125, "largest": 0.875}),
            (2, {"offset": 0.0078125, "largest": 0.9990234375}),
            (1000, {"offset": 0.008, "largest": 0.999}),
            (1000, {"offset": FLOAT32_OFFSET, "largest": FLOAT32_LARGEST}),
            (40, {"offset": FLOAT32_OFFSET, "largest": FLOAT32_LARGEST}),
            (100, {"offset": 2.0**-20, "largest": 1 - 2.0**-20}),
            (50, {"offset": 0.75, "largest": 0.75}),
            (3, {"offset": 0.5, "largest": 0.25}),
            (1000, {"offset": 2.0**-20, "largest": 0.5}),
            (4000, {"offset": 0.0078125, "largest": 0.9990234375}),
        ]
        + [
            (
                COSINE_DRAW.integer(3, 60),
                {"offset": COSINE_DRAW.part(64), "largest": COSINE_DRAW.part(64, 48)},
            )
            for _ in range(4)
        ],
    )
    + bad_schedules({"offset": 0.0078125, "largest": 0.875})
    + [
        Case({"T": 5, "t": 2, "offset": offset, "largest": largest}, why)
        for offset, largest, why in (
            (0.0, 0.5, "bad_rate"),
            (0.25, 1.5, "bad_rate"),
            (-0.25, 0.5, "bad_rate"),
            (0.25, 0.0, "bad_rate"),
            (None, 0.5, "bad_number"),
        )
    ],
    mistakes=mistakes_in_time(beta_cosine)
    | {
        "not_capped": Mistake("the cap left out", lambda x: beta_cosine(x, capped=False)),
        "offset_dropped": Mistake("offset = 0", lambda x: beta_cosine(x, offset=mp.mpf(0))),
        "cosine_not_squared": Mistake(
            "cos for cos^2, which is sqrt(abar) for abar", lambda x: beta_cosine(x, power=1)
        ),
        "not_divided_by_one_plus_offset": Mistake(
            "(u + offset) for (u + offset) / (1 + offset)", beta_cosine_without_denominator
        ),
        "abar_not_taken_apart": Mistake("1 - abar_t for beta_t", abar_cosine),
    },
)


def logit(p: Any) -> Any:
    return mp.log(p) - mp.log(1 - p)


def beta_log_snr(x: dict[str, Any], steps: int = 1) -> dict[str, Any]:
    first, last = logit(1 - exact(x["beta1"])), logit(exact(x["abar_T"]))

    def abar(t: int) -> Any:
        return 1 / (1 + mp.exp(-(first + (last - first) * (t - 1) / (x["T"] - steps))))

    return {"beta": exact(x["beta1"]) if x["t"] == 1 else 1 - abar(x["t"]) / abar(x["t"] - 1)}


def beta_log_abar(x: dict[str, Any]) -> dict[str, Any]:
    beta1, abar_T = numbers(x, "beta1", "abar_T")
    return {
        "beta": beta1
        if x["t"] == 1
        else 1 - mp.exp((mp.log(abar_T) - mp.log(1 - beta1)) / (x["T"] - 1))
    }


def beta_abar(x: dict[str, Any]) -> dict[str, Any]:
    beta1, abar_T = numbers(x, "beta1", "abar_T")

    def abar(t: int) -> Any:
        return 1 - beta1 + (abar_T - 1 + beta1) * (t - 1) / (x["T"] - 1)

    return {"beta": beta1 if x["t"] == 1 else 1 - abar(x["t"]) / abar(x["t"] - 1)}


SNR_DRAW = Draw("schedule_log_snr_linear")
LOG_SNR = Function(
    name="schedule_log_snr_linear",
    code="dpm_ref.schedules.log_snr_linear",
    equation="2.4.1, a fixed choice of beta",
    units="dimensionless",
    definition="log( abar_t / (1 - abar_t) ) is linear in t = 1..T, from abar_1 = 1 - beta1 to "
    "abar_T; beta_1 = beta1, "
    "beta_t = 1 - abar_t / abar_{t-1}",
    inputs=schedule_inputs(beta1="beta_1, in (0, 1)", abar_T="abar_T, in (0, 1 - beta1)")
    | {"T": "the number of steps, >= 2"},
    outputs={"beta": "beta_t"},
    tolerance="64 T eps (1 + |l_1| + |l_T|) |beta|, l_t the log ratio at t: l is known to eps of "
    "its largest value, and a step of it "
    "is 1/T of it or so",
    truth=beta_log_snr,
    scale=lambda x, truth: {
        "beta": x["T"]
        * (1 + abs(logit(exact(x["beta1"]))) + abs(logit(exact(x["abar_T"]))))
        * truth["beta"]
    },
    terms=lambda x, truth: {"beta": 2 - truth["beta"]},
    cases=in_schedules(
        SNR_DRAW,
        [
            (5, {"beta1": 0.0625, "abar_T": 0.25}),
            (2, {"beta1": 0.25, "abar_T": 0.125}),
            (3, {"beta1": 0.125, "abar_T": 0.5}),
            (40, {"beta1": 1e-5, "abar_T": 1e-3}),
            (40, {"beta1": 2.0**-17, "abar_T": 2.0**-10}),
            (1000, {"beta1": 2.0**-14, "abar_T": 2.0**-10}),
            (1000, {"beta1": 2.0**-40, "abar_T": 2.0**-40}),
            (10, {"beta1": 2.0**-100, "abar_T": 2.0**-100}),
            (4, {"beta1": 0.5, "abar_T": 0.4375}),
            (100, {"beta1": 2.0**-24, "abar_T": 0.875}),
        ]
        + [
            (
                SNR_DRAW.integer(3, 60),
                {"beta1": SNR_DRAW.part(64, 1, 24), "abar_T": SNR_DRAW.part(64, 1, 32)},
            )
            for _ in range(5)
        ],
    )
    + bad_schedules({"beta1": 0.0625, "abar_T": 0.25}, least=2)
    + [
        Case({"T": 5, "t": 2, "beta1": beta1, "abar_T": abar_T}, why)
        for beta1, abar_T, why in (
            (0.0, 0.5, "bad_rate"),
            (0.25, 1.5, "bad_rate"),
            (0.5, 0.5, "bad_rate"),
            (0.25, 0.875, "bad_rate"),
            (0.25, 0.0, "bad_rate"),
            (None, 0.5, "bad_number"),
        )
    ],
    mistakes=mistakes_in_time(beta_log_snr)
    | {
        "last_not_reached": Mistake(
            "divided by T where T - 1 belongs, so that abar_T is not reached",
            lambda x: beta_log_snr(x, 0),
        ),
        "linear_in_log_abar": Mistake("log abar linear, which is a constant beta", beta_log_abar),
        "linear_in_abar": Mistake("abar linear", beta_abar),
    },
)


def beta_erasure(x: dict[str, Any]) -> dict[str, Any]:
    return {"beta": mp.mpf(1) / (x["T"] - x["t"] + 1)}


ERASURE_DRAW = Draw("schedule_constant_erasure")
ERASURE = Function(
    name="schedule_constant_erasure",
    code="dpm_ref.schedules.constant_erasure",
    equation="2.4.1",
    units="dimensionless",
    definition="beta_t = 1 / (T - t + 1), so that abar_t = (T - t) / T",
    inputs=schedule_inputs(),
    outputs={"beta": "beta_t"},
    tolerance="64 eps |beta|",
    truth=beta_erasure,
    scale=of_output,
    cases=[
        case
        for T in (5, 1, 2, 3, 4, 7, 10, 20, 40, 100, 1000, 2000, 10000, 12, 16, 33)
        for case in in_schedules(ERASURE_DRAW, [(T, {})])
    ]
    + bad_schedules({}),
    mistakes=mistakes_in_time(beta_erasure)
    | {
        "share_of_the_whole": Mistake("1 / T at every t", lambda x: {"beta": mp.mpf(1) / x["T"]}),
        "abar_for_beta": Mistake(
            "(T - t) / T", lambda x: {"beta": mp.mpf(x["T"] - x["t"]) / x["T"]}
        ),
    },
)

FUNCTIONS = [LOG_ABAR, ONE_MINUS_ABAR, LINEAR, COSINE, LOG_SNR, ERASURE]

"""beta_1..T and what follows from it: abar_t = prod_{s<=t} (1 - beta_s), and the fixed choices of
beta.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from mpmath_oracle import mp

from truths.functions import Function, bad, in_nats, spoilt
from truths.inputs import Inputs
from truths.mistakes import Mistake, amended, common, other, scaled
from truths.numbers import Draw

# Schedules that every function of a beta is tried at


BETA = {"beta": "beta_1, ..., beta_T, each in (0, 1]"}
TIME = {"t": "the time, an integer in 1..T"}
SIMPLE = [0.25, 0.5]
RISING = [(1 + t // 125) / 128 for t in range(1000)]
TWO = {"beta": SIMPLE, "t": 2}
SHORT: list[tuple[list[float], list[int]]] = [
    (SIMPLE, [2, 1]),
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


def drawn_schedule(draw: Draw, n: int = 64, longest: int = 6, shortest: int = 2) -> list[float]:
    return draw.parts(draw.integer(shortest, longest), n)


def times_of(first: int, draw: Draw, drawn: int) -> list[tuple[list[float], int]]:
    """(beta, t) with t >= first: the hard schedules, a long one, and as many without pattern."""
    hard = [(beta, t) for beta, times in [*SHORT, (RISING, [500])] for t in times if t >= first]
    extra = [drawn_schedule(draw, shortest=max(2, first)) for _ in range(drawn)]
    return hard + [(beta, draw.integer(first, len(beta))) for beta in extra]


def bad_schedules(good: dict[str, Any], first: int = 1) -> list[Any]:
    """A beta that is no schedule, and a t outside first..T, with other inputs that are fine."""
    rates = [[0.0, 0.5, 0.25], [0.5, 1.5, 0.25], [0.25, -0.25, 0.5]]
    cases = spoilt(good, "bad_rate", beta=rates)
    cases += spoilt(good, "bad_number", beta=[[0.25, None, 0.5]])
    cases += spoilt(good, "empty", beta=[[]])
    if "t" in good:
        cases += spoilt(good, "bad_time", t=[first - 1, len(good["beta"]) + 1, -1, 1.5])
    return cases


# log abar_t and 1 - abar_t


TABLE_CASES = [*times_of(1, Draw("log_abar"), 21), (RISING, 1000), *bad_schedules(TWO)]

LOG_ABAR = in_nats(
    name="log_abar",
    code="dpm_ref.schedules.Schedule.log_abar",
    equation="2.1, Table App.1",
    definition="log abar_t = sum_{s<=t} log(1 - beta_s)",
    inputs=BETA | TIME,
    outputs={"log_abar": 'log abar_t; "-inf" after a beta of 1'},
    tolerance="(64 + 4 T) eps |log_abar|; nothing cancels in a sum of log1p(-beta)",
    truth=lambda x: x.q.log_abar(x.t),
    # a product near 1 is known to eps, however near; its logarithm is then not
    terms=lambda x, truth: max(mp.mpf(1), abs(truth["log_abar"])),
    cases=TABLE_CASES,
    mistakes={
        **common("one_early one_late reversed_schedule bits_for_nats sign"),
        "root_for_abar": scaled("log sqrt(abar_t)", lambda x: 0.5),
        "last_step_alone": Mistake("log(1 - beta_t) alone", lambda x: mp.log(1 - x.rate)),
        "rates_multiplied": Mistake(
            "the product of beta_s, not of 1 - beta_s",
            lambda x: mp.fsum(map(mp.log, x.beta[: x.t])),
        ),
        "first_order": Mistake(
            "-sum beta_s, which is log abar_t for small beta only",
            lambda x: -mp.fsum(x.beta[: x.t]),
        ),
    },
)

ONE_MINUS_ABAR = Function(
    name="one_minus_abar",
    code="dpm_ref.schedules.Schedule.one_minus_abar",
    equation="2.1, Table App.1, the Gaussian marginal's variance",
    definition="1 - abar_t, abar_t = prod_{s<=t} (1 - beta_s)",
    inputs=BETA | TIME,
    outputs={"one_minus_abar": "1 - abar_t"},
    tolerance="(64 + 4 T) eps |one_minus_abar|; nothing cancels in -expm1(sum of log1p(-beta))",
    truth=lambda x: x.q.one_minus_abar(x.t),
    terms=lambda x, truth: 1 + x.abar,
    cases=TABLE_CASES,
    mistakes={
        **common("one_early one_late reversed_schedule"),
        "abar_for_complement": Mistake("abar_t", lambda x: x.abar),
        "std_for_var": Mistake("sqrt(1 - abar_t)", lambda x: mp.sqrt(1 - x.abar)),
        "root_of_abar": Mistake("1 - sqrt(abar_t)", lambda x: 1 - mp.sqrt(x.abar)),
        "last_step_alone": Mistake("beta_t alone", lambda x: x.rate),
        "rates_multiplied": Mistake(
            "1 less the product of beta_s", lambda x: 1 - mp.fprod(x.beta[: x.t])
        ),
        "first_order": Mistake(
            "sum beta_s, which is 1 - abar_t for small beta only", lambda x: mp.fsum(x.beta[: x.t])
        ),
    },
)


# Fixed choices of beta


SCHEDULE = {"T": "the number of steps, >= 1", "t": "the time, an integer in 1..T"}
IN_TIME = {
    "one_early": other("beta_{t-1}", t=lambda x: x.t - 1),
    "one_late": other("beta_{t+1}", t=lambda x: x.t + 1),
    "reversed_schedule": other("beta_{T-t+1}", t=lambda x: x.T + 1 - x.t),
    "complement": amended("1 - beta_t", lambda right: 1 - right["beta"]),
}


def at_times(draw: Draw, settings: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Each (T, ...) at the first, the last, a middle and another time."""
    return [
        (T, t, *rest)
        for T, *rest in settings
        for t in sorted({1, T, (T + 1) // 2, draw.integer(1, T)})
    ]


def bad_steps(*rest: float, least: int = 1) -> list[Any]:
    times = [(least - 1, 1), (-3, 1), (5, 0), (5, 6), (2.5, 1)]
    return bad("bad_time", *((T, t, *rest) for T, t in times))


def bad_parameters(*rates: tuple[float, float]) -> list[Any]:
    rows = [(5, 2, *each) for each in rates]
    return bad("bad_rate", *rows) + bad("bad_number", (5, 2, None, 0.5))


def between(x: Inputs, first: Any, last: Any, steps: int = 1) -> Any:
    """A line in t from first at 1 to last at T."""
    return first + (last - first) * (x.t - 1) / (x.T - steps) if x.T > 1 else first


def linear_scale(x: Inputs, truth: dict[str, Any]) -> Any:
    return x.first + between(x, mp.mpf(0), abs(x.last - x.first))


def linear_cases() -> list[Any]:
    draw = Draw("schedule_linear")
    settings = [(5, 0.125, 0.5), (4, 0.0625, 0.75), (1, 0.25, 0.5), (2, 0.25, 0.5)]
    settings += [(1000, 0.0001, 0.02), (1000, 2.0**-13, 5 / 256), (40, 2.0**-10, 0.25)]
    settings += [(10, 2.0**-60, 0.5), (10, 0.5, 2.0**-60), (3, 0.375, 0.375)]
    settings += [(7, 2.0**-40, 2.0**-30), (100, 2.0**-20, 1 - 2.0**-20), (1000, 0.75, 0.0625)]
    settings += [(draw.integer(3, 20), draw.part(64), draw.part(64)) for _ in range(5)]
    rates = [(0.0, 0.5), (0.25, 1.5), (-0.25, 0.5), (0.25, 1.0)]
    return at_times(draw, settings) + bad_steps(0.25, 0.5) + bad_parameters(*rates)


schedule = partial(Function, outputs={"beta": "beta_t"})
LINEAR = schedule(
    name="schedule_linear",
    code="dpm_ref.schedules.linear",
    equation="2.4.1, a fixed choice of beta",
    definition="beta_t = first + (last - first) (t - 1) / (T - 1); first where T = 1",
    inputs=SCHEDULE | {"first": "beta_1, in (0, 1)", "last": "beta_T, in (0, 1)"},
    tolerance="64 eps (first + |last - first| (t - 1) / (T - 1))",
    truth=lambda x: between(x, x.first, x.last),
    scale=linear_scale,
    terms=linear_scale,
    cases=linear_cases(),
    mistakes=IN_TIME
    | {
        "last_not_reached": Mistake(
            "divided by T where T - 1 belongs, so that beta_T is not last",
            lambda x: between(x, x.first, x.last, 0),
        ),
        "linear_in_the_root": Mistake(
            "sqrt(beta) linear, another schedule",
            lambda x: between(x, mp.sqrt(x.first), mp.sqrt(x.last)) ** 2,
        ),
        "linear_in_the_log": Mistake(
            "log beta linear, another schedule",
            lambda x: mp.exp(between(x, mp.log(x.first), mp.log(x.last))),
        ),
    },
)


def cosine(x: Inputs, t: int, offset: Any = None, whole: Any = None, power: int = 2) -> Any:
    """f(t/T); the cosine of pi/2 is 0."""
    offset = x.offset if offset is None else offset
    if t == x.T and whole is None:
        return mp.mpf(0)
    return mp.cos(mp.pi / 2 * (mp.mpf(t) / x.T + offset) / (whole or 1 + offset)) ** power


def uncapped(x: Inputs, **variant: Any) -> Any:
    return 1 - cosine(x, x.t, **variant) / cosine(x, x.t - 1, **variant)


def beta_cosine(x: Inputs, **variant: Any) -> Any:
    return min(uncapped(x, **variant), x.largest)


def cosine_cases() -> list[Any]:
    draw, float32 = Draw("schedule_cosine"), (0.00800000037997961, 0.9990000128746033)
    settings = [(5, 0.0078125, 0.9990234375), (4, 0.125, 0.5), (1, 0.0078125, 0.875)]
    settings += [(2, 0.0078125, 0.9990234375), (1000, 0.008, 0.999), (1000, *float32)]
    settings += [(40, *float32), (100, 2.0**-20, 1 - 2.0**-20), (50, 0.75, 0.75), (3, 0.5, 0.25)]
    settings += [(1000, 2.0**-20, 0.5), (4000, 0.0078125, 0.9990234375)]
    settings += [(draw.integer(3, 60), draw.part(64), draw.part(64, 48)) for _ in range(4)]
    rates = [(0.0, 0.5), (0.25, 1.5), (-0.25, 0.5), (0.25, 0.0)]
    invalid = bad_steps(0.0078125, 0.875) + bad_parameters(*rates)
    return at_times(draw, settings) + invalid


COSINE = schedule(
    name="schedule_cosine",
    code="dpm_ref.schedules.cosine",
    equation="2.4.1, a fixed choice of beta (Nichol and Dhariwal 2021, equation 17)",
    definition="beta_t = min( 1 - f(t/T) / f((t-1)/T), largest ), f(u) = cos^2( (pi/2) (u + "
    "offset) / (1 + offset) )",
    inputs=SCHEDULE
    | {"offset": "keeps beta_1 away from 0, in (0, 1)", "largest": "the cap on beta_t, in (0, 1)"},
    tolerance="64 T eps |beta|: an angle between 0 and pi/2 is known to eps, a step of it to T "
    "eps, and its cosine near pi/2 no better",
    truth=beta_cosine,
    scale=lambda x, truth: x.T * truth["beta"],
    terms=lambda x, truth: 2 - truth["beta"],
    cases=cosine_cases(),
    mistakes=IN_TIME
    | {
        "not_capped": Mistake("the cap left out", uncapped),
        "offset_dropped": Mistake("offset = 0", lambda x: beta_cosine(x, offset=mp.mpf(0))),
        "cosine_not_squared": Mistake(
            "cos for cos^2, which is sqrt(abar) for abar", lambda x: beta_cosine(x, power=1)
        ),
        "not_divided_by_one_plus_offset": Mistake(
            "(u + offset) for (u + offset) / (1 + offset)", lambda x: beta_cosine(x, whole=1)
        ),
        "abar_not_taken_apart": Mistake(
            "1 - abar_t for beta_t", lambda x: 1 - cosine(x, x.t) / cosine(x, 0)
        ),
    },
)


def logit(p: Any) -> Any:
    return mp.log(p) - mp.log(1 - p)


def interpolated(
    x: Inputs, there: Callable[[Any], Any], back: Callable[[Any], Any], steps: int = 1
) -> Any:
    """beta_t where a function of abar is linear in t."""
    first, last = there(1 - x.beta1), there(x.abar_T)
    now, before = (back(between(x.but(t=t), first, last, steps)) for t in (x.t, x.t - 1))
    return x.beta1 if x.t == 1 else 1 - now / before


def beta_log_snr(x: Inputs, steps: int = 1) -> Any:
    return interpolated(x, logit, lambda v: 1 / (1 + mp.exp(-v)), steps)


def snr_cases() -> list[Any]:
    draw = Draw("schedule_log_snr_linear")
    settings = [(5, 0.0625, 0.25), (2, 0.25, 0.125), (3, 0.125, 0.5), (40, 1e-5, 1e-3)]
    settings += [(40, 2.0**-17, 2.0**-10), (1000, 2.0**-14, 2.0**-10), (1000, 2.0**-40, 2.0**-40)]
    settings += [(10, 2.0**-100, 2.0**-100), (4, 0.5, 0.4375), (100, 2.0**-24, 0.875)]
    for _ in range(5):
        settings.append((draw.integer(3, 60), draw.part(64, 1, 24), draw.part(64, 1, 32)))
    rates = [(0.0, 0.5), (0.25, 1.5), (0.5, 0.5), (0.25, 0.875), (0.25, 0.0)]
    invalid = bad_steps(0.0625, 0.25, least=2) + bad_parameters(*rates)
    return at_times(draw, settings) + invalid


LOG_SNR = schedule(
    name="schedule_log_snr_linear",
    code="dpm_ref.schedules.log_snr_linear",
    equation="2.4.1, a fixed choice of beta",
    definition="log( abar_t / (1 - abar_t) ) is linear in t = 1..T, from abar_1 = 1 - beta1 to "
    "abar_T; beta_1 = beta1, beta_t = 1 - abar_t / abar_{t-1}",
    inputs={
        "T": "the number of steps, >= 2",
        "t": "the time, an integer in 1..T",
        "beta1": "beta_1, in (0, 1)",
        "abar_T": "abar_T, in (0, 1 - beta1)",
    },
    tolerance="64 T eps (1 + |l_1| + |l_T|) |beta|, l_t the log ratio at t: l is known to eps of "
    "its largest value, and a step of it is 1/T of it or so",
    truth=beta_log_snr,
    scale=lambda x, truth: x.T * (1 + abs(logit(x.beta1)) + abs(logit(x.abar_T))) * truth["beta"],
    terms=lambda x, truth: 2 - truth["beta"],
    cases=snr_cases(),
    mistakes=IN_TIME
    | {
        "last_not_reached": Mistake(
            "divided by T where T - 1 belongs, so that abar_T is not reached",
            lambda x: beta_log_snr(x, 0),
        ),
        "linear_in_log_abar": Mistake(
            "log abar linear, which is a constant beta", lambda x: interpolated(x, mp.log, mp.exp)
        ),
        "linear_in_abar": Mistake("abar linear", lambda x: interpolated(x, mp.mpf, mp.mpf)),
    },
)

ERASURE_STEPS = [5, 1, 2, 3, 4, 7, 10, 20, 40, 100, 1000, 2000, 10000, 12, 16, 33]
ERASURE = schedule(
    name="schedule_constant_erasure",
    code="dpm_ref.schedules.constant_erasure",
    equation="2.4.1",
    definition="beta_t = 1 / (T - t + 1), so that abar_t = (T - t) / T",
    inputs=SCHEDULE,
    tolerance="64 eps |beta|",
    truth=lambda x: mp.mpf(1) / (x.T - x.t + 1),
    cases=at_times(Draw("schedule_constant_erasure"), [(T,) for T in ERASURE_STEPS]) + bad_steps(),
    mistakes=IN_TIME
    | {
        "share_of_the_whole": Mistake("1 / T at every t", lambda x: mp.mpf(1) / x.T),
        "abar_for_beta": Mistake("(T - t) / T", lambda x: mp.mpf(x.T - x.t) / x.T),
    },
)

FUNCTIONS = [LOG_ABAR, ONE_MINUS_ABAR, LINEAR, COSINE, LOG_SNR, ERASURE]

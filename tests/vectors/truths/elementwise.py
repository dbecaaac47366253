"""Divergences and entropies of one component, and the log of a mean of weights: the terms of
equations (9), (14) and (24).
"""

from fractions import Fraction
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
)
from truths.numbers import Draw, exact, mp

PAIRS = (
    "A pair (P(1), P(0)) stands for a law of which the smaller member is exact and the larger its "
    "complement, "
    "so that 1e-30 and 1 - 1e-30 can both be said; the larger is given rounded"
)


# KL( N(mean_q, var_q) || N(mean_p, var_p) )


def gaussian_kl(
    x: dict[str, Any], half: Any = 0.5, one: int = 1, log: Any = mp.log, ratio_sign: int = 1
) -> dict[str, Any]:
    mq, vq, mp_, vp = numbers(x, "mean_q", "var_q", "mean_p", "var_p")
    return {"kl": exact(half) * (ratio_sign * log(vp / vq) + (vq + (mq - mp_) ** 2) / vp - one)}


def gaussian_kl_terms(x: dict[str, Any], _: Any) -> dict[str, Any]:
    mq, vq, mp_, vp = numbers(x, "mean_q", "var_q", "mean_p", "var_p")
    return {"kl": (abs(mp.log(vp / vq)) + (vq + (mq - mp_) ** 2) / vp + 1) / 2}


def distance_not_squared(x: dict[str, Any]) -> dict[str, Any]:
    mq, vq, mp_, vp = numbers(x, "mean_q", "var_q", "mean_p", "var_p")
    return {"kl": (mp.log(vp / vq) + (vq + abs(mq - mp_)) / vp - 1) / 2}


def distance_over_var_q(x: dict[str, Any]) -> dict[str, Any]:
    mq, vq, mp_, vp = numbers(x, "mean_q", "var_q", "mean_p", "var_p")
    return {"kl": (mp.log(vp / vq) + vq / vp + (mq - mp_) ** 2 / vq - 1) / 2}


def kl_of(
    mean_q: float, var_q: float, mean_p: float, var_p: float, invalid: str | None = None
) -> Case:
    return Case({"mean_q": mean_q, "var_q": var_q, "mean_p": mean_p, "var_p": var_p}, invalid)


def gaussian_kl_cases() -> list[Case]:
    draw = Draw("gaussian_kl")
    plain = [
        (0.0, 1.0, 1.0, 2.0),
        (0.0, 1.0, 0.0, 1.0),
        (1.5, 0.25, 1.5, 0.25),
        (0.0, 1.0, 0.0, 2.0),
        (0.0, 2.0, 0.0, 1.0),
        (0.0, 1.0, 1.0, 1.0),
        (0.0, 4.0, 2.0, 4.0),
        (-1.0, 0.5, 2.0, 3.0),
        (0.0, 0.25, 0.0, 4.0),
        (3.0, 4.0, -1.0, 0.25),
    ]
    near = [(0.0, 1.0, 2.0**-k, 1.0) for k in (10, 30, 60)]
    near += [(0.0, 1.0 + 2.0**-k, 0.0, 1.0) for k in (8, 16, 23)] + [
        (0.0, 1.0, 0.0, 1.0 - 2.0**-k) for k in (12, 20, 24)
    ]
    near += [
        (0.5, 1.0 + 2.0**-20, 0.5 + 2.0**-22, 1.0),
        (1.0, 3.0 * 2.0**-40, 1.0 + 2.0**-23, 3.0 * 2.0**-40 + 2.0**-60),
        (100.0, 2.0**-20, 100.0, 2.0**-20 + 2.0**-42),
        (0.0, 1.0, 1e-9, 1.0),
        (0.0, 1.0 + 1e-12, 0.0, 1.0),
        (0.1, 0.3, 0.1, 0.3000001),
    ]
    far = [
        (0.0, 2.0**-100, 0.0, 1.0),
        (0.0, 1.0, 0.0, 2.0**60),
        (0.0, 2.0**60, 0.0, 1.0),
        (1000.0, 1.0, -1000.0, 2.0**-10),
        (0.0, 2.0**-40, 2.0**-20, 2.0**-40),
        (1.0, 2.0**-30, 1.0, 2.0**-31),
        (0.0, 1e-12, 1e-6, 1e-12),
        (1e6, 1e12, -1e6, 1e-12),
    ]
    drawn = [
        (draw.part(16, -64, 64), draw.power(-3, 3), draw.part(16, -64, 64), draw.power(-3, 3))
        for _ in range(22)
    ]
    drawn += [
        (draw.part(16, -64, 64), draw.power(-20, 20), draw.part(16, -64, 64), draw.power(-20, 20))
        for _ in range(6)
    ]
    invalid = [
        kl_of(0.0, 0.0, 0.0, 1.0, "bad_variance"),
        kl_of(0.0, 1.0, 0.0, 0.0, "bad_variance"),
        kl_of(0.0, -1.0, 0.0, 1.0, "bad_variance"),
        kl_of(0.0, 1.0, 0.0, -0.5, "bad_variance"),
        kl_of(None, 1.0, 0.0, 1.0, "bad_number"),
        kl_of(0.0, 1.0, 0.0, None, "bad_number"),
    ]
    return [kl_of(*each) for each in plain + near + far + drawn] + invalid


GAUSSIAN_KL = Function(
    name="gaussian_kl",
    code="dpm_ref.bounds.gaussian_kl",
    equation="a term of (14), Gaussian column",
    units="nats",
    definition="KL( N(mean_q, var_q) || N(mean_p, var_p) ) = [ log(var_p/var_q) + (var_q + (mean_q "
    "- mean_p)^2)/var_p - 1 ] / 2",
    inputs={
        "mean_q": "mean of q",
        "var_q": "variance of q",
        "mean_p": "mean of p",
        "var_p": "variance of p",
    },
    outputs={"kl": "the divergence"},
    tolerance="64 eps |kl|; the psi of equal arguments is not subtracted from itself",
    truth=gaussian_kl,
    terms=gaussian_kl_terms,
    scale=of_output,
    cases=gaussian_kl_cases(),
    mistakes={
        "half_dropped": Mistake("the factor 1/2 left out", lambda x: gaussian_kl(x, half=1)),
        "one_dropped": Mistake("the -1/2 left out", lambda x: gaussian_kl(x, one=0)),
        "kl_reversed": Mistake(
            "KL(p || q)",
            changed(
                gaussian_kl,
                mean_q=lambda x: x["mean_p"],
                var_q=lambda x: x["var_p"],
                mean_p=lambda x: x["mean_q"],
                var_p=lambda x: x["var_q"],
            ),
        ),
        "bits_for_nats": in_bits(gaussian_kl),
        "log2_in_the_log": Mistake(
            "log2 for ln in the logarithm alone",
            lambda x: gaussian_kl(x, log=lambda v: mp.log(v, 2)),
        ),
        "log_sign": Mistake(
            "log(var_q/var_p) for log(var_p/var_q)", lambda x: gaussian_kl(x, ratio_sign=-1)
        ),
        "std_for_var": Mistake(
            "the square roots of the variances where variances belong",
            changed(
                gaussian_kl,
                var_q=lambda x: mp.sqrt(x["var_q"]),
                var_p=lambda x: mp.sqrt(x["var_p"]),
            ),
        ),
        "var_for_std": Mistake(
            "the variances squared, as if they were standard deviations",
            changed(
                gaussian_kl,
                var_q=lambda x: exact(x["var_q"]) ** 2,
                var_p=lambda x: exact(x["var_p"]) ** 2,
            ),
        ),
        "distance_not_squared": Mistake("|mean_q - mean_p| for its square", distance_not_squared),
        "distance_over_var_q": Mistake(
            "the squared distance divided by var_q", distance_over_var_q
        ),
        "means_ignored": Mistake(
            "the means left out", changed(gaussian_kl, mean_q=lambda x: x["mean_p"])
        ),
    },
)


# H( N(., var) )


def gaussian_entropy(x: dict[str, Any], inside: Any = None) -> dict[str, Any]:
    (var,) = numbers(x, "var")
    return {"entropy": mp.log((2 * mp.pi * mp.e if inside is None else inside()) * var) / 2}


def gaussian_entropy_terms(x: dict[str, Any], _: Any) -> dict[str, Any]:
    (var,) = numbers(x, "var")
    return {"entropy": (mp.log(2 * mp.pi * mp.e) + abs(mp.log(var))) / 2}


def gaussian_entropy_cases() -> list[Case]:
    draw = Draw("gaussian_entropy")
    values = [
        2.0,
        1.0,
        0.5,
        0.25,
        4.0,
        3.0,
        100.0,
        1.0 + 2.0**-23,
        1.0 - 2.0**-24,
        2.0**-120,
        2.0**120,
        2.0**-60,
        2.0**60,
        1e-12,
        1e12,
        0.1,
    ]
    values += [
        15345 / 2**18,
        245520 / 2**22,
        0.05854983,
        0.0585498315243192,
        982084 / 2**24,
    ]  # 1 / (2 pi e), where the entropy vanishes
    values += [draw.power(-6, 6) for _ in range(26)] + [draw.power(-60, 60) for _ in range(9)]
    return [Case({"var": value}) for value in values] + [
        Case({"var": 0.0}, "bad_variance"),
        Case({"var": -1.0}, "bad_variance"),
        Case({"var": -(2.0**-60)}, "bad_variance"),
        Case({"var": None}, "bad_number"),
    ]


GAUSSIAN_ENTROPY = Function(
    name="gaussian_entropy",
    code="dpm_ref.bounds.gaussian_entropy",
    equation="the entropies of (14) and (24), Gaussian column",
    units="nats",
    definition="H( N(m, var) ) = log(2 pi e var) / 2",
    inputs={"var": "the variance"},
    outputs={"entropy": "the entropy"},
    tolerance="64 eps [ log(2 pi e) + |log var| ] / 2",
    truth=gaussian_entropy,
    terms=gaussian_entropy_terms,
    scale=gaussian_entropy_terms,
    cases=gaussian_entropy_cases(),
    mistakes={
        "half_dropped": Mistake(
            "the factor 1/2 left out", multiplied(gaussian_entropy, lambda x: 2)
        ),
        "std_for_var": Mistake(
            "log(2 pi e std) for log(2 pi e var)",
            changed(gaussian_entropy, var=lambda x: mp.sqrt(x["var"])),
        ),
        "var_for_std": Mistake(
            "the variance squared, as if it were a standard deviation",
            changed(gaussian_entropy, var=lambda x: exact(x["var"]) ** 2),
        ),
        "e_dropped": Mistake("log(2 pi var) / 2", lambda x: gaussian_entropy(x, lambda: 2 * mp.pi)),
        "two_pi_dropped": Mistake("log(e var) / 2", lambda x: gaussian_entropy(x, lambda: mp.e)),
        "bits_for_nats": in_bits(gaussian_entropy),
        "sign": negative(gaussian_entropy),
    },
)


# Bits


def logs(x: dict[str, Any], name: str) -> tuple[Any, Any, Any, Any]:
    """(P(1), P(0), log P(1), log P(0)) of a pair whose smaller member is exact."""
    first, second = numbers(x, name + "1", name + "0")
    small = min(first, second)
    large, log_small, log_large = 1 - small, mp.log(small) if small else -mp.inf, mp.log1p(-small)
    return (
        (small, large, log_small, log_large)
        if first <= second
        else (large, small, log_large, log_small)
    )


def is_rounded(x: dict[str, Any], name: str) -> int:
    """1 where the larger member of a pair is given rounded, as its logarithm then is known to eps
    of 1; else 0.
    """
    return int(Fraction(x[name + "1"]) + Fraction(x[name + "0"]) != 1)


def times(p: Any, log: Any) -> Any:
    """p log, 0 where p is 0."""
    return p * log if p else mp.mpf(0)


def bernoulli_kl(x: dict[str, Any]) -> dict[str, Any]:
    (q1, q0, lq1, lq0), (_, _, lp1, lp0) = logs(x, "q"), logs(x, "p")
    return {"kl": times(q1, lq1 - lp1) + times(q0, lq0 - lp0)}


def bernoulli_kl_terms(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    if mp.isinf(truth["kl"]):
        return truth
    (q1, q0, lq1, lq0), (_, _, lp1, lp0) = logs(x, "q"), logs(x, "p")
    return {
        "kl": abs(times(q1, lq1 - lp1))
        + abs(times(q0, lq0 - lp0))
        + is_rounded(x, "q")
        + is_rounded(x, "p")
    }


def bernoulli_kl_first(x: dict[str, Any]) -> dict[str, Any]:
    (q1, _, lq1, _), (_, _, lp1, _) = logs(x, "q"), logs(x, "p")
    return {"kl": times(q1, lq1 - lp1)}


def cross_entropy(x: dict[str, Any]) -> dict[str, Any]:
    (q1, q0, _, _), (_, _, lp1, lp0) = logs(x, "q"), logs(x, "p")
    return {"kl": -times(q1, lp1) - times(q0, lp0)}


def weights_of_p(x: dict[str, Any]) -> dict[str, Any]:
    (_, _, lq1, lq0), (p1, p0, lp1, lp0) = logs(x, "q"), logs(x, "p")
    return {"kl": times(p1, lq1 - lp1) + times(p0, lq0 - lp0)}


def bits(q1: float, p1: float) -> dict[str, float]:
    """Both pairs, the complements exact."""
    return {"q1": q1, "q0": 1.0 - q1, "p1": p1, "p0": 1.0 - p1}


def turned(x: dict[str, float]) -> dict[str, float]:
    """Both states exchanged."""
    return {"q1": x["q0"], "q0": x["q1"], "p1": x["p0"], "p0": x["p1"]}


def pairs(*rows: tuple[float, float, float, float]) -> list[dict[str, float]]:
    return [dict(zip(("q1", "q0", "p1", "p0"), row, strict=True)) for row in rows]


def bernoulli_kl_cases() -> list[Case]:
    draw = Draw("bernoulli_kl")
    x = [
        bits(0.5, 0.25),
        bits(0.25, 0.5),
        bits(0.25, 0.25),
        bits(0.75, 0.125),
        bits(0.0, 0.25),
        bits(1.0, 0.25),
        bits(0.0, 0.0),
        bits(1.0, 1.0),
        bits(0.5, 0.0),
        bits(0.5, 1.0),
        bits(0.0, 1.0),
        bits(1.0, 0.5),
    ]
    x += [bits(0.5, 0.5 + 2.0**-k) for k in (8, 16, 24)] + [
        bits(0.25, 0.25 - 2.0**-k) for k in (10, 18, 24)
    ]
    x += [
        bits(2.0**-20, 2.0**-20 + 2.0**-24),
        bits(1 - 2.0**-20, 1 - 2.0**-20 - 2.0**-24),
        bits(0.3, 0.7),
        bits(0.1, 0.1 + 1e-9),
    ]
    small = pairs(
        (2.0**-100, 1.0, 2.0**-101, 1.0),
        (2.0**-100, 1.0, 0.25, 0.75),
        (0.25, 0.75, 2.0**-100, 1.0),
        (3.0 * 2.0**-70, 1.0, 2.0**-68, 1.0),
        (2.0**-100, 1.0, 2.0**-100 + 2.0**-120, 1.0),
        (1e-30, 1.0, 2e-30, 1.0),
        (1e-300, 1.0, 1e-290, 1.0),
        (2.0**-60, 1.0, 1.0, 2.0**-60),
        (2.0**-100, 1.0, 2.0**-80, 1.0),
        (0.0, 1.0, 2.0**-100, 1.0),
    )
    x += small + [turned(each) for each in small]
    x += [bits(draw.part(256), draw.part(256)) for _ in range(19)]
    bad = [
        (bits(1.5, 0.5), "bad_probability"),
        (bits(0.5, -0.25), "bad_probability"),
        ({"q1": 0.5, "q0": 0.25, "p1": 0.5, "p0": 0.5}, "bad_pair"),
        ({"q1": 0.5, "q0": 0.5, "p1": 0.75, "p0": 0.75}, "bad_pair"),
        ({"q1": None, "q0": 1.0, "p1": 0.5, "p0": 0.5}, "bad_number"),
    ]
    return [Case(each) for each in x] + [Case(*each) for each in bad]


BERNOULLI_KL = Function(
    name="bernoulli_kl",
    code="dpm_ref.bounds.bernoulli_kl",
    equation="a term of (14), binomial column",
    units="nats",
    definition="KL( B(q) || B(p) ) = q1 log(q1/p1) + q0 log(q0/p0), with 0 log 0 = 0. " + PAIRS,
    inputs={
        "q1": "P(x = 1) of q",
        "q0": "P(x = 0) of q",
        "p1": "P(x = 1) of p",
        "p0": "P(x = 0) of p",
    },
    outputs={"kl": 'the divergence; "inf" where p excludes what q allows'},
    tolerance="64 eps |kl|",
    truth=bernoulli_kl,
    terms=bernoulli_kl_terms,
    scale=of_output,
    cases=bernoulli_kl_cases(),
    mistakes={
        "kl_reversed": Mistake(
            "KL(p || q)",
            changed(
                bernoulli_kl,
                q1=lambda x: x["p1"],
                q0=lambda x: x["p0"],
                p1=lambda x: x["q1"],
                p0=lambda x: x["q0"],
            ),
        ),
        "bits_for_nats": in_bits(bernoulli_kl),
        "first_term_alone": Mistake("the term of x = 1 alone", bernoulli_kl_first),
        "cross_entropy": Mistake("-sum q log p, the entropy of q left out", cross_entropy),
        "weights_of_p": Mistake("the log ratio averaged over p, not over q", weights_of_p),
        "complement_of_q": Mistake(
            "1 - q for q", changed(bernoulli_kl, q1=lambda x: x["q0"], q0=lambda x: x["q1"])
        ),
        "mean_for_sum": Mistake(
            "the mean over both states, not the sum",
            multiplied(bernoulli_kl, lambda x: mp.mpf(1) / 2),
        ),
        "sign": negative(bernoulli_kl),
    },
)


def bernoulli_entropy(x: dict[str, Any]) -> dict[str, Any]:
    p1, p0, l1, l0 = logs(x, "p")
    return {"entropy": -times(p1, l1) - times(p0, l0)}


def bernoulli_entropy_first(x: dict[str, Any]) -> dict[str, Any]:
    p1, _, l1, _ = logs(x, "p")
    return {"entropy": -times(p1, l1)}


def logs_exchanged(x: dict[str, Any]) -> dict[str, Any]:
    p1, p0, l1, l0 = logs(x, "p")
    return {"entropy": -times(p1, l0) - times(p0, l1)}


def bernoulli_entropy_cases() -> list[Case]:
    draw = Draw("bernoulli_entropy")
    singles = [
        0.25,
        0.5,
        0.75,
        0.125,
        0.875,
        0.0,
        1.0,
        2.0**-10,
        1 - 2.0**-10,
        2.0**-24,
        1 - 2.0**-24,
        0.5 + 2.0**-20,
        0.5 - 2.0**-24,
        0.2,
        0.8,
    ]
    x = [(p, 1.0 - p) for p in singles]
    small = [(2.0**-k, 1.0) for k in (60, 80, 100, 120)] + [
        (1e-30, 1.0),
        (1e-300, 1.0),
        (3.0 * 2.0**-90, 1.0),
    ]
    x += (
        small
        + [(p0, p1) for p1, p0 in small]
        + [(p, 1.0 - p) for p in (draw.part(1024) for _ in range(26))]
    )
    bad = [
        ((1.25, -0.25), "bad_probability"),
        ((-0.5, 0.5), "bad_probability"),
        ((0.5, 0.25), "bad_pair"),
        ((0.75, 0.75), "bad_pair"),
        ((None, 0.5), "bad_number"),
    ]
    return [Case({"p1": a, "p0": b}) for a, b in x] + [
        Case({"p1": a, "p0": b}, why) for (a, b), why in bad
    ]


BERNOULLI_ENTROPY = Function(
    name="bernoulli_entropy",
    code="dpm_ref.bounds.bernoulli_entropy",
    equation="the entropies of (14) and (24), binomial column",
    units="nats",
    definition="H( B(p) ) = -p1 log p1 - p0 log p0, with 0 log 0 = 0. " + PAIRS,
    inputs={"p1": "P(x = 1)", "p0": "P(x = 0)"},
    outputs={"entropy": "the entropy"},
    tolerance="64 eps |entropy|",
    truth=bernoulli_entropy,
    scale=of_output,
    terms=lambda x, truth: {"entropy": truth["entropy"] + is_rounded(x, "p")},
    cases=bernoulli_entropy_cases(),
    mistakes={
        "bits_for_nats": in_bits(bernoulli_entropy),
        "first_term_alone": Mistake("-p1 log p1 alone", bernoulli_entropy_first),
        "logs_exchanged": Mistake("-p1 log p0 - p0 log p1", logs_exchanged),
        "mean_for_sum": Mistake(
            "the mean over both states, not the sum",
            multiplied(bernoulli_entropy, lambda x: mp.mpf(1) / 2),
        ),
        "sign": negative(bernoulli_entropy),
    },
)


# The log of a mean of weights


def log_mean_exp(x: dict[str, Any], less: int = 0) -> dict[str, Any]:
    (values,) = numbers(x, "values")
    return {"log_mean": mp.log(mp.fsum(map(mp.exp, values)) / (len(values) - less))}


def log_mean_exp_terms(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    (values,) = numbers(x, "values")
    peak = max(values)
    return {
        "log_mean": abs(peak)
        + mp.log(mp.fsum(mp.exp(v - peak) for v in values))
        + mp.log(len(values))
    }


def log_sum_exp(x: dict[str, Any]) -> dict[str, Any]:
    return {"log_mean": mp.log(mp.fsum(map(mp.exp, exact(x["values"]))))}


def log_mean_exp_cases() -> list[Case]:
    draw = Draw("log_mean_exp")
    x = [
        [0.0, 1.0],
        [0.0],
        [2.5],
        [-1000.0],
        [0.0, 0.0, 0.0],
        [1.0, 1.0],
        [0.0, -100.0],
        [1000.0, 1001.0],
        [-1000.0, -1001.0, -1002.0],
        [0.0, -10000.0],
        [100.0, -100.0],
        [-87.0, -88.0, -90.0],
        [0.0, 2.0**-30],
        [0.0, -(2.0**-60)],
        [2.0**-40, 2.0**-41, 0.0],
        [-1.0, -1.0 - 2.0**-23],
        [500.0, 500.0, 500.0 + 2.0**-15],
        [0.1, 0.2, 0.3],
        [0.0, 1e-12],
        [-0.5, 0.375, 0.0],
        [-700.5, -745.25, 3.0],
        [-2.0] * 50,
        [k / 4 for k in range(40)],
        [-float(k) for k in range(30)],
        [-float(k * k) for k in range(20)],
    ]
    x += [[draw.part(16, -80, 80) for _ in range(draw.integer(2, 8))] for _ in range(25)]
    x += [[draw.part(4, -4000, 4000) for _ in range(5)] for _ in range(7)]
    return [Case({"values": each}) for each in x] + [
        Case({"values": []}, "empty"),
        Case({"values": [None, 0.0]}, "bad_number"),
    ]


LOG_MEAN_EXP = Function(
    name="log_mean_exp",
    code="dpm_ref.information.log_mean_exp",
    equation="(9), the average of weights w = exp(l)",
    units="nats",
    definition="log( mean_k exp(l_k) )",
    inputs={"values": "l_1, ..., l_n, logarithms of weights"},
    outputs={"log_mean": "log of the mean weight"},
    tolerance="64 eps max(|largest l|, |log_mean|)",
    truth=log_mean_exp,
    terms=log_mean_exp_terms,
    scale=lambda x, truth: {"log_mean": max(abs(max(exact(x["values"]))), abs(truth["log_mean"]))},
    cases=log_mean_exp_cases(),
    mistakes={
        "log_of_sum": Mistake("the sum of the weights, not their mean", log_sum_exp),
        "mean_of_logs": Mistake(
            "the mean of the logarithms, which is K and not log p",
            lambda x: {"log_mean": mp.fsum(exact(x["values"])) / len(x["values"])},
        ),
        "one_fewer": Mistake(
            "divided by n - 1", lambda x: log_mean_exp(x, 1) if len(x["values"]) > 1 else None
        ),
        "largest_alone": Mistake(
            "the largest logarithm", lambda x: {"log_mean": max(exact(x["values"]))}
        ),
        "bits_for_nats": in_bits(log_mean_exp),
        "sign": negative(log_mean_exp),
    },
)

FUNCTIONS = [GAUSSIAN_KL, GAUSSIAN_ENTROPY, BERNOULLI_KL, BERNOULLI_ENTROPY, LOG_MEAN_EXP]

"""Divergences and entropies of one component, and the log of a mean of weights: the terms of
equations (9), (14) and (24).
"""

from fractions import Fraction
from typing import Any

import mpmath_oracle as oracle
from mpmath_oracle import expectation, mp

from truths.functions import bad, in_nats
from truths.inputs import Inputs, exact
from truths.mistakes import Mistake, common, each, exchanged, other, scaled
from truths.numbers import Draw

PAIRS = (
    "A pair (P(1), P(0)) stands for a law of which the smaller member is exact and the larger its "
    "complement, so that 1e-30 and 1 - 1e-30 can both be said; the larger is given rounded"
)


# KL( N(mean_q, var_q) || N(mean_p, var_p) )


def kl(x: Inputs) -> Any:
    return oracle.gaussian_kl(x.mean_q, x.var_q, x.mean_p, x.var_p)


def square(value: Any) -> Any:
    return value**2


def kl_with_log2(x: Inputs) -> Any:
    quadratic = (x.var_q + (x.mean_q - x.mean_p) ** 2) / x.var_p
    return (mp.log(x.var_p / x.var_q, 2) + quadratic - 1) / 2


def gaussian_kl_cases() -> list[Any]:
    draw, tiny = Draw("gaussian_kl"), 2.0**-40
    plain = [(0.0, 1.0, 1.0, 2.0), (0.0, 1.0, 0.0, 1.0), (1.5, 0.25, 1.5, 0.25)]
    plain += [(0.0, 1.0, 0.0, 2.0), (0.0, 2.0, 0.0, 1.0), (0.0, 1.0, 1.0, 1.0)]
    plain += [(0.0, 4.0, 2.0, 4.0), (-1.0, 0.5, 2.0, 3.0), (0.0, 0.25, 0.0, 4.0)]
    plain += [(3.0, 4.0, -1.0, 0.25)]
    near = [(0.0, 1.0, 2.0**-k, 1.0) for k in (10, 30, 60)]
    near += [(0.0, 1.0 + 2.0**-k, 0.0, 1.0) for k in (8, 16, 23)]
    near += [(0.0, 1.0, 0.0, 1.0 - 2.0**-k) for k in (12, 20, 24)]
    near += [(0.5, 1.0 + 2.0**-20, 0.5 + 2.0**-22, 1.0)]
    near += [(1.0, 3.0 * tiny, 1.0 + 2.0**-23, 3.0 * tiny + 2.0**-60)]
    near += [(100.0, 2.0**-20, 100.0, 2.0**-20 + 2.0**-42), (0.0, 1.0, 1e-9, 1.0)]
    near += [(0.0, 1.0 + 1e-12, 0.0, 1.0), (0.1, 0.3, 0.1, 0.3000001)]
    far = [(0.0, 2.0**-100, 0.0, 1.0), (0.0, 1.0, 0.0, 2.0**60), (0.0, 2.0**60, 0.0, 1.0)]
    far += [(1000.0, 1.0, -1000.0, 2.0**-10), (0.0, tiny, 2.0**-20, tiny)]
    far += [(1.0, 2.0**-30, 1.0, 2.0**-31), (0.0, 1e-12, 1e-6, 1e-12), (1e6, 1e12, -1e6, 1e-12)]
    drawn = [two_gaussians(draw, -3, 3) for _ in range(22)]
    drawn += [two_gaussians(draw, -20, 20) for _ in range(6)]
    return plain + near + far + drawn + bad_gaussians()


def two_gaussians(draw: Draw, low: int, high: int) -> tuple[float, ...]:
    """Two means and two variances, the variances from 2^low to 2^high."""
    laws = [(draw.part(16, -64, 64), draw.power(low, high)) for _ in range(2)]
    return laws[0] + laws[1]


def bad_gaussians() -> list[Any]:
    zeros = bad("bad_variance", (0.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 0.0))
    negative = bad("bad_variance", (0.0, -1.0, 0.0, 1.0), (0.0, 1.0, 0.0, -0.5))
    return zeros + negative + bad("bad_number", (None, 1.0, 0.0, 1.0), (0.0, 1.0, 0.0, None))


GAUSSIAN_KL = in_nats(
    name="gaussian_kl",
    code="dpm_ref.bounds.gaussian_kl",
    equation="a term of (14), Gaussian column",
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
    truth=kl,
    terms=lambda x, truth: kl(x) + 1 + max(0, mp.log(x.var_q / x.var_p)),
    cases=gaussian_kl_cases(),
    mistakes={
        "half_dropped": scaled("the factor 1/2 left out", lambda x: 2),
        "one_dropped": Mistake("the -1/2 left out", lambda x: kl(x) + 0.5),
        "kl_reversed": exchanged("KL(p || q)", ("mean_q", "mean_p"), ("var_q", "var_p")),
        **common("bits_for_nats"),
        "log2_in_the_log": Mistake("log2 for ln in the logarithm alone", kl_with_log2),
        "log_sign": Mistake(
            "log(var_q/var_p) for log(var_p/var_q)", lambda x: kl(x) - mp.log(x.var_p / x.var_q)
        ),
        "std_for_var": each(
            "the square roots of the variances where variances belong", mp.sqrt, "var_q", "var_p"
        ),
        "var_for_std": each(
            "the variances squared, as if they were standard deviations", square, "var_q", "var_p"
        ),
        "distance_not_squared": other(
            "|mean_q - mean_p| for its square",
            mean_q=lambda x: mp.sqrt(abs(x.mean_q - x.mean_p)),
            mean_p=lambda x: mp.mpf(0),
        ),
        "distance_over_var_q": other(
            "the squared distance divided by var_q",
            mean_q=lambda x: (x.mean_q - x.mean_p) * mp.sqrt(x.var_p / x.var_q),
            mean_p=lambda x: mp.mpf(0),
        ),
        "means_ignored": other("the means left out", mean_q=lambda x: x.mean_p),
    },
)


# H( N(., var) )


def entropy_size(var: Any) -> Any:
    """The absolute terms of log(2 pi e var) / 2."""
    return (mp.log(2 * mp.pi * mp.e) + abs(mp.log(var))) / 2


def gaussian_entropy_cases() -> list[Any]:
    draw = Draw("gaussian_entropy")
    values = [2.0, 1.0, 0.5, 0.25, 4.0, 3.0, 100.0, 1.0 + 2.0**-23, 1.0 - 2.0**-24]
    values += [2.0**-120, 2.0**120, 2.0**-60, 2.0**60, 1e-12, 1e12, 0.1]
    # 1 / (2 pi e), where the entropy vanishes
    values += [15345 / 2**18, 245520 / 2**22, 0.05854983, 0.0585498315243192, 982084 / 2**24]
    values += [draw.power(-6, 6) for _ in range(26)] + [draw.power(-60, 60) for _ in range(9)]
    invalid = bad("bad_variance", (0.0,), (-1.0,), (-(2.0**-60),)) + bad("bad_number", (None,))
    return [(value,) for value in values] + invalid


GAUSSIAN_ENTROPY = in_nats(
    name="gaussian_entropy",
    code="dpm_ref.bounds.gaussian_entropy",
    equation="the entropies of (14) and (24), Gaussian column",
    definition="H( N(m, var) ) = log(2 pi e var) / 2",
    inputs={"var": "the variance"},
    outputs={"entropy": "the entropy"},
    tolerance="64 eps [ log(2 pi e) + |log var| ] / 2",
    truth=lambda x: oracle.gaussian_entropy(x.var),
    terms=lambda x, truth: entropy_size(x.var),
    scale=lambda x, truth: entropy_size(x.var),
    cases=gaussian_entropy_cases(),
    mistakes={
        "half_dropped": scaled("the factor 1/2 left out", lambda x: 2),
        "std_for_var": other("log(2 pi e std) for log(2 pi e var)", var=lambda x: mp.sqrt(x.var)),
        "var_for_std": other(
            "the variance squared, as if it were a standard deviation", var=lambda x: x.var**2
        ),
        "e_dropped": other("log(2 pi var) / 2", var=lambda x: x.var / mp.e),
        "two_pi_dropped": other("log(e var) / 2", var=lambda x: x.var / (2 * mp.pi)),
        **common("bits_for_nats sign"),
    },
)


# Bits


def law(x: Inputs, name: str) -> oracle.Bit:
    """The law of a pair."""
    return oracle.bit(x[name + "1"], x[name + "0"])


def is_rounded(x: Inputs, name: str) -> int:
    """1 where the larger member of a pair is given rounded, as its logarithm then is known to eps
    of 1; else 0.
    """
    return int(Fraction(x[name + "1"]) + Fraction(x[name + "0"]) != 1)


def log_ratios(x: Inputs) -> list[Any]:
    """log q/p of either state."""
    return [a - b for a, b in zip(law(x, "q")[2:], law(x, "p")[2:], strict=True)]


def bernoulli_kl_terms(x: Inputs, truth: dict[str, Any]) -> Any:
    if mp.isinf(truth["kl"]):
        return truth
    size = expectation(law(x, "q")[:2], map(abs, log_ratios(x)))
    return size + is_rounded(x, "q") + is_rounded(x, "p")


def bernoulli_kl_cases() -> list[Any]:
    draw = Draw("bernoulli_kl")
    plain = [(0.5, 0.25), (0.25, 0.5), (0.25, 0.25), (0.75, 0.125), (0.0, 0.25), (1.0, 0.25)]
    plain += [(0.0, 0.0), (1.0, 1.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0), (1.0, 0.5)]
    plain += [(0.5, 0.5 + 2.0**-k) for k in (8, 16, 24)]
    plain += [(0.25, 0.25 - 2.0**-k) for k in (10, 18, 24)]
    low, high = 2.0**-20, 1 - 2.0**-20
    plain += [(low, low + 2.0**-24), (high, high - 2.0**-24), (0.3, 0.7), (0.1, 0.1 + 1e-9)]
    small = [(2.0**-100, 1.0, 2.0**-101, 1.0), (2.0**-100, 1.0, 0.25, 0.75)]
    small += [(0.25, 0.75, 2.0**-100, 1.0), (3.0 * 2.0**-70, 1.0, 2.0**-68, 1.0)]
    small += [(2.0**-100, 1.0, 2.0**-100 + 2.0**-120, 1.0), (1e-30, 1.0, 2e-30, 1.0)]
    small += [(1e-300, 1.0, 1e-290, 1.0), (2.0**-60, 1.0, 1.0, 2.0**-60)]
    small += [(2.0**-100, 1.0, 2.0**-80, 1.0), (0.0, 1.0, 2.0**-100, 1.0)]
    drawn = [tuple(draw.parts(2, 256)) for _ in range(19)]
    return [
        *((q, 1.0 - q, p, 1.0 - p) for q, p in plain),
        *small,
        *((q0, q1, p0, p1) for q1, q0, p1, p0 in small),
        *((q, 1.0 - q, p, 1.0 - p) for q, p in drawn),
        *bad("bad_probability", (1.5, -0.5, 0.5, 0.5), (0.5, 0.5, -0.25, 1.25)),
        *bad("bad_pair", (0.5, 0.25, 0.5, 0.5), (0.5, 0.5, 0.75, 0.75)),
        *bad("bad_number", (None, 1.0, 0.5, 0.5)),
    ]


BERNOULLI_KL = in_nats(
    name="bernoulli_kl",
    code="dpm_ref.bounds.bernoulli_kl",
    equation="a term of (14), binomial column",
    definition="KL( B(q) || B(p) ) = q1 log(q1/p1) + q0 log(q0/p0), with 0 log 0 = 0. " + PAIRS,
    inputs={f"{law}{state}": f"P(x = {state}) of {law}" for law in "qp" for state in (1, 0)},
    outputs={"kl": 'the divergence; "inf" where p excludes what q allows'},
    tolerance="64 eps |kl|",
    truth=lambda x: oracle.bernoulli_kl(law(x, "q"), law(x, "p")),
    terms=bernoulli_kl_terms,
    cases=bernoulli_kl_cases(),
    mistakes={
        "kl_reversed": exchanged("KL(p || q)", ("q1", "p1"), ("q0", "p0")),
        **common("bits_for_nats"),
        "first_term_alone": Mistake(
            "the term of x = 1 alone", lambda x: expectation([law(x, "q").prob1], log_ratios(x)[:1])
        ),
        "cross_entropy": Mistake(
            "-sum q log p, the entropy of q left out",
            lambda x: -expectation(law(x, "q")[:2], law(x, "p")[2:]),
        ),
        "weights_of_p": Mistake(
            "the log ratio averaged over p, not over q",
            lambda x: expectation(law(x, "p")[:2], log_ratios(x)),
        ),
        "complement_of_q": exchanged("1 - q for q", ("q1", "q0")),
        "mean_for_sum": scaled("the mean over both states, not the sum", lambda x: 0.5),
        **common("sign"),
    },
)


def bernoulli_entropy_cases() -> list[Any]:
    draw = Draw("bernoulli_entropy")
    singles = [0.25, 0.5, 0.75, 0.125, 0.875, 0.0, 1.0, 2.0**-10, 1 - 2.0**-10, 2.0**-24]
    singles += [1 - 2.0**-24, 0.5 + 2.0**-20, 0.5 - 2.0**-24, 0.2, 0.8]
    small = [2.0**-60, 2.0**-80, 2.0**-100, 2.0**-120, 1e-30, 1e-300, 3.0 * 2.0**-90]
    return [
        *((p, 1.0 - p) for p in singles),
        *((p, 1.0) for p in small),
        *((1.0, p) for p in small),
        *((p, 1.0 - p) for p in draw.parts(26, 1024)),
        *bad("bad_probability", (1.25, -0.25), (-0.5, 0.5)),
        *bad("bad_pair", (0.5, 0.25), (0.75, 0.75)),
        *bad("bad_number", (None, 0.5)),
    ]


BERNOULLI_ENTROPY = in_nats(
    name="bernoulli_entropy",
    code="dpm_ref.bounds.bernoulli_entropy",
    equation="the entropies of (14) and (24), binomial column",
    definition="H( B(p) ) = -p1 log p1 - p0 log p0, with 0 log 0 = 0. " + PAIRS,
    inputs={"p1": "P(x = 1)", "p0": "P(x = 0)"},
    outputs={"entropy": "the entropy"},
    tolerance="64 eps |entropy|",
    truth=lambda x: oracle.bernoulli_entropy(law(x, "p")),
    terms=lambda x, truth: truth["entropy"] + is_rounded(x, "p"),
    cases=bernoulli_entropy_cases(),
    mistakes={
        **common("bits_for_nats"),
        "first_term_alone": Mistake(
            "-p1 log p1 alone", lambda x: -expectation(law(x, "p")[:1], law(x, "p")[2:3])
        ),
        "logs_exchanged": Mistake(
            "-p1 log p0 - p0 log p1", lambda x: -expectation(law(x, "p")[:2], law(x, "p")[:1:-1])
        ),
        "mean_for_sum": scaled("the mean over both states, not the sum", lambda x: 0.5),
        **common("sign"),
    },
)


# The log of a mean of weights


def log_sum_exp(x: Inputs) -> Any:
    return mp.log(mp.fsum(map(mp.exp, exact(x["values"]))))


def log_mean_exp_terms(x: Inputs, truth: dict[str, Any]) -> Any:
    peak = max(exact(x["values"]))
    return abs(peak) + log_sum_exp(x) - peak + mp.log(len(x["values"]))


def log_mean_exp_cases() -> list[Any]:
    draw = Draw("log_mean_exp")
    rows = [[0.0, 1.0], [0.0], [2.5], [-1000.0], [0.0, 0.0, 0.0], [1.0, 1.0], [0.0, -100.0]]
    rows += [[1000.0, 1001.0], [-1000.0, -1001.0, -1002.0], [0.0, -10000.0], [100.0, -100.0]]
    rows += [[-87.0, -88.0, -90.0], [0.0, 2.0**-30], [0.0, -(2.0**-60)], [2.0**-40, 2.0**-41, 0.0]]
    rows += [[-1.0, -1.0 - 2.0**-23], [500.0, 500.0, 500.0 + 2.0**-15], [0.1, 0.2, 0.3]]
    rows += [[0.0, 1e-12], [-0.5, 0.375, 0.0], [-700.5, -745.25, 3.0], [-2.0] * 50]
    rows += [[k / 4 for k in range(40)], [-float(k) for k in range(30)]]
    rows += [[-float(k * k) for k in range(20)]]
    rows += [draw.parts(draw.integer(2, 8), 16, -80, 80) for _ in range(25)]
    rows += [draw.parts(5, 4, -4000, 4000) for _ in range(7)]
    return [(row,) for row in rows] + bad("empty", ([],)) + bad("bad_number", ([None, 0.0],))


LOG_MEAN_EXP = in_nats(
    name="log_mean_exp",
    code="dpm_ref.information.log_mean_exp",
    equation="(9), the average of weights w = exp(l)",
    definition="log( mean_k exp(l_k) )",
    inputs={"values": "l_1, ..., l_n, logarithms of weights"},
    outputs={"log_mean": "log of the mean weight"},
    tolerance="64 eps max(|largest l|, |log_mean|)",
    truth=lambda x: log_sum_exp(x) - mp.log(len(x["values"])),
    terms=log_mean_exp_terms,
    scale=lambda x, truth: max(abs(max(exact(x["values"]))), abs(truth["log_mean"])),
    cases=log_mean_exp_cases(),
    mistakes={
        "log_of_sum": Mistake("the sum of the weights, not their mean", log_sum_exp),
        "mean_of_logs": Mistake(
            "the mean of the logarithms, which is K and not log p",
            lambda x: mp.fsum(exact(x["values"])) / len(x["values"]),
        ),
        "one_fewer": Mistake(
            "divided by n - 1",
            lambda x: log_sum_exp(x) + mp.log(mp.mpf(1) / (len(x["values"]) - 1)),
        ),
        "largest_alone": Mistake("the largest logarithm", lambda x: max(exact(x["values"]))),
        **common("bits_for_nats sign"),
    },
)

FUNCTIONS = [GAUSSIAN_KL, GAUSSIAN_ENTROPY, BERNOULLI_KL, BERNOULLI_ENTROPY, LOG_MEAN_EXP]

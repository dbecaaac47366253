"""Section 2.5: a reverse kernel multiplied by r, for bits, for a Gaussian factor and to first order
for a smooth r; r over time; (21).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from mpmath_oracle import expectation, mp, normalised

from truths import models
from truths.elementwise import bad_gaussians, law, square, two_gaussians
from truths.functions import Function, bad, spoilt
from truths.gaussian import OF_VARIANCES
from truths.inputs import Formula, Inputs
from truths.mistakes import Mistake, amended, common, each, exchanged, other
from truths.numbers import Draw, mapped
from truths.tables import drawn_schedule

SMALL = 2.0**-100


# Bits


def pair(x: Inputs) -> tuple[Any, Any]:
    return law(x, "c")[:2]


def pair_of(one: Any, zero: Any) -> dict[str, Any]:
    return {"prob1": one, "prob0": zero}


def bernoulli(x: Inputs) -> dict[str, Any]:
    c1, c0 = pair(x)
    return pair_of(*normalised(c1 * x.r1, c0 * x.r0))


def bernoulli_scale(x: Inputs, truth: dict[str, Any]) -> dict[str, Any]:
    """The probabilities times the logarithms that a logit is made of."""
    logs = 1 + mp.fsum(abs(mp.log(v)) for v in (*pair(x), x.r1, x.r0) if v)
    return mapped(lambda p: p * logs, truth)


def misprinted(bit: int) -> Mistake:
    """Table App.1 with x_i d_i in the denominator, where c_i d_i belongs."""
    return Mistake(
        f"Table App.1 as printed, x d for c d in the denominator, at x = {bit}",
        lambda x: pair(x)[0] * x.r1 / (bit * x.r1 + pair(x)[1] * x.r0),
    )


def not_normalised(x: Inputs) -> dict[str, Any]:
    (c1, c0), (d1, d0) = pair(x), normalised(x.r1, x.r0)
    return pair_of(c1 * d1, c0 * d0)


def mean_of_both(x: Inputs) -> dict[str, Any]:
    (c1, c0), (d1, d0) = pair(x), normalised(x.r1, x.r0)
    return pair_of((c1 + d1) / 2, (c0 + d0) / 2)


def bernoulli_cases() -> list[Any]:
    draw = Draw("perturbed_bernoulli")
    rows = [(0.25, 0.75, 0.5, 1.0), (0.25, 0.75, 1.0, 1.0), (0.5, 0.5, 3.0, 1.0)]
    rows += [(0.5, 0.5, 0.0, 1.0), (0.5, 0.5, 1.0, 0.0), (0.0, 1.0, 0.5, 0.25)]
    rows += [(1.0, 0.0, 0.5, 0.25), (SMALL, 1.0, 0.5, 0.25), (1.0, SMALL, 0.5, 0.25)]
    rows += [(SMALL, 1.0, 1.0, SMALL), (0.25, 0.75, SMALL, 1.0), (0.25, 0.75, 1.0, SMALL)]
    rows += [(0.1, 0.9, 0.2, 0.7), (1e-30, 1.0, 1.0, 1e-30), (0.75, 0.25, 2.0**60, 1.0)]
    rows += [(0.75, 0.25, 1.0, 2.0**60), (2.0**-24, 1 - 2.0**-24, 0.75, 0.125)]
    rows += [(1 - 2.0**-24, 2.0**-24, 0.125, 0.75)]
    drawn = (draw.part(256) for _ in range(35))
    return [
        *rows,
        *((p, 1.0 - p, draw.power(-4, 4), draw.power(-4, 4)) for p in drawn),
        *bad("bad_probability", (1.25, -0.25, 1.0, 1.0), (-0.5, 0.5, 1.0, 1.0)),
        *bad("bad_pair", (0.5, 0.25, 1.0, 1.0)),
        *bad("bad_factor", (0.5, 0.5, -1.0, 2.0), (0.5, 0.5, 0.0, 0.0)),
        *bad("bad_number", (None, 1.0, 1.0, 1.0), (0.5, 0.5, None, 1.0)),
    ]


PERTURBED_BERNOULLI = Function(
    name="perturbed_bernoulli",
    code="dpm_ref.posteriors.BernoulliFactor",
    equation="(22), Table App.1 (mended)",
    definition="p~(1) = c1 r1 / (c1 r1 + c0 r0), one bit: c d / (c d + (1-c) (1-d)) with d = r1 / "
    "(r1 + r0). The pair (c1, c0) stands for a law of which the smaller member is exact and the "
    "larger its complement",
    inputs={
        "c1": "P(x = 1) of the kernel",
        "c0": "P(x = 0) of the kernel",
        "r1": "r at x = 1, >= 0",
        "r0": "r at x = 0, >= 0, not both 0",
    },
    outputs={"prob1": "P(x = 1) of the product", "prob0": "P(x = 0) of the product"},
    tolerance="64 eps (1 + |log c1| + |log c0| + |log r1| + |log r0|) times either probability, so "
    "that logits will do; log 0 does not count",
    truth=bernoulli,
    scale=bernoulli_scale,
    terms=lambda x, truth: pair_of(1 + truth["prob0"], 1 + truth["prob1"]),
    cases=bernoulli_cases(),
    mistakes={
        "misprinted_at_1": misprinted(1),
        "misprinted_at_0": misprinted(0),
        "not_normalised": Mistake("c d alone", not_normalised),
        "r_exchanged": exchanged("r(0) for r(1)", ("r1", "r0")),
        "r_squared": each("r taken twice", square, "r1", "r0"),
        "r_ignored": Mistake("the kernel itself", lambda x: pair_of(*pair(x))),
        **common("complement"),
        "mean_of_both": Mistake("the mean of c and d", mean_of_both),
    },
)


# A Gaussian factor


def gaussian(x: Inputs) -> dict[str, Any]:
    total = x.var + x.r_var
    mean = (x.mean * x.r_var + x.r_mean * x.var) / total
    return {"mean": mean, "var": x.var * x.r_var / total}


def gaussian_scale(x: Inputs, truth: dict[str, Any]) -> dict[str, Any]:
    return gaussian(x.but(mean=abs(x.mean), r_mean=abs(x.r_mean)))


def gaussian_cases() -> list[Any]:
    draw = Draw("perturbed_gaussian")
    rows = [(1.0, 0.5, 0.0, 1.0), (0.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 3.0)]
    rows += [(2.0, 0.25, -2.0, 0.75), (1.0, 2.0**-40, 3.0, 1.0), (1.0, 1.0, 3.0, 2.0**-40)]
    rows += [(1.0, 2.0**-60, 1.5, 2.0**-60), (0.5, 2.0**60, 0.25, 1.0), (0.5, 1.0, 0.25, 2.0**60)]
    rows += [(3.0, 1.0, -1.0, 1 / 3), (0.1, 0.2, 0.3, 0.4), (1000.0, 2.0**-10, -1000.0, 2.0**-10)]
    rows += [(1.0, 0.5, -0.5, 0.25), (0.0, 2.0, 0.0, 3.0)]
    return [*rows, *(two_gaussians(draw, -4, 3) for _ in range(39)), *bad_gaussians()]


PERTURBED_GAUSSIAN = Function(
    name="perturbed_gaussian",
    code="dpm_ref.posteriors.GaussianFactor",
    equation="(22), a Gaussian factor (denoising)",
    definition="N(mean, var) times r(x) = N(x; r_mean, r_var), normalised: variance var r_var / "
    "(var + r_var), mean (mean r_var + r_mean var) / (var + r_var)",
    inputs={
        "mean": "mean of the kernel",
        "var": "variance of the kernel",
        "r_mean": "mean of r",
        "r_var": "variance of r",
    },
    outputs={"mean": "mean of the product", "var": "variance of the product"},
    tolerance="64 eps times the absolute values of the terms of the mean; 64 eps of the variance",
    truth=gaussian,
    scale=gaussian_scale,
    terms=gaussian_scale,
    cases=gaussian_cases(),
    mistakes={
        "weights_exchanged": Mistake(
            "each mean weighted by its own variance",
            lambda x: (x.mean * x.var + x.r_mean * x.r_var) / (x.var + x.r_var),
        ),
        "variances_added": Mistake(
            "var + r_var, the variance of a sum", lambda x: {"var": x.var + x.r_var}
        ),
        "means_added": Mistake(
            "mean + r_mean, the mean of a sum", lambda x: {"mean": x.mean + x.r_mean}
        ),
        "precision_for_variance": amended(
            "1/var + 1/r_var, not its inverse", lambda right: {"var": 1 / right["var"]}
        ),
        "std_for_var": OF_VARIANCES["std_for_var"],
        "variances_squared": each(
            "variances squared, as if they were standard deviations", square, "var", "r_var"
        ),
        "r_squared": other("r taken twice: half its variance", r_var=lambda x: x.r_var / 2),
        "r_ignored": Mistake("the kernel itself", lambda x: {"mean": x.mean, "var": x.var}),
        "variance_kept": Mistake(
            "the kernel's variance with the product's mean", lambda x: {"var": x.var}
        ),
        "mean_of_means": Mistake("the means weighted equally", lambda x: (x.mean + x.r_mean) / 2),
    },
)


# A smooth r, to first order


def shifted(meaning: str, shift: Callable[[Any, Any], Any]) -> Mistake:
    """The mean plus another function of the variance and the gradient."""
    return Mistake(meaning, lambda x: x.mean + shift(x.var, x.grad_log_r))


def first_order_scale(x: Inputs, truth: dict[str, Any]) -> Any:
    return abs(x.mean) + abs(x.var * x.grad_log_r)


def first_order_cases() -> list[Any]:
    draw = Draw("perturbed_gaussian_first_order")
    rows = [(1.0, 0.5, 0.75), (0.0, 1.0, 1.0), (0.0, 0.25, -2.0), (1.0, 0.5, 0.0)]
    rows += [(1.0, 0.25, -4.0), (-1.5, 0.25, 6.0 + 2.0**-20), (0.5, 2.0**-40, 3.0)]
    rows += [(0.5, 2.0**-40, 2.0**40), (0.1, 0.2, 0.3), (0.0, 2.0**-100, 1.0)]
    rows += [(1000.0, 4.0, -250.0 + 2.0**-12), (2.0, 1e-6, 1e6)]
    for _ in range(43):
        rows.append((draw.part(16, -64, 64), draw.power(-4, 3), draw.part(16, -64, 64)))
    invalid = bad("bad_variance", (0.0, 0.0, 1.0), (0.0, -1.0, 1.0))
    return rows + invalid + bad("bad_number", (None, 1.0, 1.0), (0.0, 1.0, None))


FIRST_ORDER = Function(
    name="perturbed_gaussian_first_order",
    code="dpm_ref.posteriors.LogFactor",
    equation="(22), r smooth: Table App.1",
    definition="mean + var grad log r(mean): the mean of N(mean, var) multiplied by r, to first "
    "order in var",
    inputs={
        "mean": "f_mu, the mean of the kernel",
        "var": "f_Sigma, the variance of the kernel",
        "grad_log_r": "the gradient of log r at f_mu",
    },
    outputs={"mean": "the shifted mean"},
    tolerance="64 eps (|mean| + |var grad_log_r|)",
    truth=lambda x: x.mean + x.var * x.grad_log_r,
    scale=first_order_scale,
    terms=first_order_scale,
    cases=first_order_cases(),
    mistakes={
        "std_for_var": shifted("sqrt(var) grad log r", lambda var, grad: mp.sqrt(var) * grad),
        "var_squared": shifted("var^2 grad log r", lambda var, grad: var**2 * grad),
        "shift_sign": shifted("mean - var grad log r", lambda var, grad: -var * grad),
        "half": shifted(
            "var grad log r / 2, as in a Langevin step", lambda var, grad: var * grad / 2
        ),
        "not_scaled": shifted("mean + grad log r", lambda var, grad: grad),
        "divided": shifted("grad log r / var", lambda var, grad: grad / var),
        "r_ignored": shifted("the kernel's mean", lambda var, grad: 0),
        "mean_left_out": Mistake("the shift alone", lambda x: x.var * x.grad_log_r),
    },
)

# r at time t, and the exact kernel that goes with any choice of it


def tempered(x: Inputs) -> Any:
    return x.r ** (mp.mpf(x.T - x.t) / x.T)


def tempered_cases() -> list[Any]:
    draw = Draw("tempered_factor")
    rows = [(0.25, 4, 1), (0.25, 4, 0), (0.25, 4, 4), (1.0, 4, 2), (2.0, 1, 0), (2.0, 1, 1)]
    rows += [(0.5, 2, 1), (1.0078125, 1000, 999), (1.0078125, 1000, 1), (2.0**-100, 5, 2)]
    rows += [(2.0**100, 5, 3), (1 + 2.0**-20, 10, 3), (1e-30, 7, 5), (0.1, 40, 13)]
    steps = (draw.integer(2, 50) for _ in range(40))
    return [
        *rows,
        *((draw.power(-6, 5), T, draw.integer(0, T)) for T in steps),
        *bad("bad_factor", (-0.5, 4, 1)),
        *bad("bad_time", (0.5, 0, 0), (0.5, 4, 5), (0.5, 4, -1), (0.5, 4, 1.5)),
        *bad("bad_number", (None, 4, 1)),
    ]


TEMPERED = Function(
    name="tempered_factor",
    code="dpm_ref.posteriors.tempered",
    equation="2.5",
    definition="r(x^t) = r(x^0)^((T - t) / T), the same function of either state, so that p~(x^T) "
    "= pi",
    inputs={
        "r": "r at the state, > 0",
        "T": "the number of steps, >= 1",
        "t": "the time, an integer in 0..T",
    },
    outputs={"r_t": "r(x^t)"},
    tolerance="64 eps (1 + |log r|) r_t",
    truth=tempered,
    times=(0, 0),
    cases=tempered_cases(),
    scale=lambda x, truth: truth["r_t"] * (1 + abs(mp.log(x.r))),
    mistakes={
        "factor_for_exponent": Mistake("r (T - t) / T", lambda x: x.r * (x.T - x.t) / x.T),
        "time_turned": other("r^(t / T)", t=lambda x: x.T - x.t),
        "one_early": other("t - 1 for t", t=lambda x: x.t - 1),
        "one_late": other("t + 1 for t", t=lambda x: x.t + 1),
        "constant": Mistake("r at every t", lambda x: x.r),
        "not_divided": Mistake("r^(T - t)", lambda x: x.r ** (x.T - x.t)),
        "logarithm": amended("log r(x^t)", lambda right: mp.log(right["r_t"])),
    },
)


class Entry(NamedTuple):
    """What an entry of (21) is made of."""

    p: Any  # p(x^t|x^{t+1})
    z: Any
    z_next: Any
    r: Any
    r_next: Any
    p_next: Any  # p(x^{t+1})


def perturbed(entry: Callable[[Entry], Any]) -> Formula:
    """A combination of these for every x^{t+1} and x^t."""

    def formula(x: Inputs) -> list[list[Any]]:
        here, after = models.table_marginal(x, x.t), models.table_marginal(x, x.t + 1)
        z, z_next = expectation(here.values(), x.r), expectation(after.values(), x.r_next)
        kernel, states = models.table_kernels(x)[x.t + 1], list(zip(here, x.r, strict=True))
        return [
            [entry(Entry(kernel(y, state), z, z_next, r, r_next, p)) for y, r in states]
            for (state, p), r_next in zip(after.items(), x.r_next, strict=True)
        ]

    return formula


def rows_normalised(x: Inputs) -> list[list[Any]]:
    rows = perturbed(lambda e: e.p * e.r)(x)
    return [[p / mp.fsum(row) for p in row] for row in rows]


def with_r(x: dict[str, Any], t: int, draw: Draw) -> dict[str, Any]:
    """A model, and r at either time."""
    states = range(2 ** len(x["prior"]))
    r, r_next = ([draw.power(-2, 2) for _ in states] for _ in range(2))
    return x | {"t": t, "r": r, "r_next": r_next}


def perturbed_kernel_cases() -> list[Any]:
    draw = Draw("perturbed_kernel")
    cases = [with_r(models.GOOD_TABLE, t, draw) for t in (1, 0)]
    for k in range(44):
        beta, prior = drawn_schedule(draw, 16, 4), draw.parts(2 if k % 6 == 5 else 1, 16)
        model = models.drawn_table(draw, beta, prior, 1)
        cases.append(with_r(model, draw.integer(0, len(beta) - 1), draw))
    good = with_r(models.GOOD_TABLE, 1, draw)
    return cases + models.bad_tables(good) + spoilt(good, "bad_time", t=[-1, 2, 0.5])


PERTURBED_KERNEL = Function(
    name="perturbed_kernel",
    code="dpm_ref.exact.BinaryModel",
    equation="(21)",
    definition="p~(x^t|x^{t+1}) = p(x^t|x^{t+1}) Z_{t+1} r(x^t) / ( Z_t r(x^{t+1}) ), Z_t = sum "
    "over x^t of p(x^t) r(x^t), a model of bits with all states enumerated, p(x^0|x^1) = T_pi; it "
    "carries p(x^{t+1}) r(x^{t+1}) / Z_{t+1} to p(x^t) r(x^t) / Z_t",
    inputs=models.TABLE_INPUTS
    | {
        "t": "the time, an integer in 0..T-1",
        "r": "r(x^t) of every state, > 0",
        "r_next": "r(x^{t+1}) of every state, > 0",
    },
    outputs={"kernel": "p~ at [x^{t+1}][x^t], states in the order of their numbers"},
    tolerance="(64 + 4 T) eps of each number; all sums are of positive terms",
    truth=perturbed(lambda e: e.p * e.z_next * e.r / (e.z * e.r_next)),
    times=(0, -1),
    cases=perturbed_kernel_cases(),
    mistakes={
        "r_exchanged": Mistake(
            "r(x^t) and r(x^{t+1}) exchanged",
            perturbed(lambda e: e.p * e.z_next * e.r_next / (e.z * e.r)),
        ),
        "normalisers_exchanged": Mistake(
            "Z_t and Z_{t+1} exchanged",
            perturbed(lambda e: e.p * e.z * e.r / (e.z_next * e.r_next)),
        ),
        "normalisers_left_out": Mistake(
            "Z_t and Z_{t+1} left out", perturbed(lambda e: e.p * e.r / e.r_next)
        ),
        "multiplied_by_the_marginal": Mistake(
            "multiplied by p(x^{t+1})",
            perturbed(lambda e: e.p_next * e.p * e.z_next * e.r / (e.z * e.r_next)),
        ),
        "next_r_left_out": Mistake(
            "not divided by r(x^{t+1})", perturbed(lambda e: e.p * e.z_next * e.r / e.z)
        ),
        "rows_normalised": Mistake("(22) for (21): each row made to sum to 1", rows_normalised),
        "r_ignored": Mistake("the kernel itself", perturbed(lambda e: e.p)),
        **common("half_for_prior"),
        "one_late": other("the model at t + 1 for t", t=lambda x: x.t + 1),
    },
)

FUNCTIONS = [PERTURBED_BERNOULLI, PERTURBED_GAUSSIAN, FIRST_ORDER, TEMPERED, PERTURBED_KERNEL]

"""Section 2.5: a reverse kernel multiplied by r, for bits, for a Gaussian factor and to first order
for a smooth r; r over time; (21).
"""

from typing import Any

from truths import models
from truths.functions import Case, Function, Mistake, changed, numbers
from truths.numbers import Draw, exact, mapped, mp
from truths.tables import drawn_schedule

SMALL = 2.0**-100


# Bits


def bernoulli(x: dict[str, Any]) -> dict[str, Any]:
    c1, c0 = pair(x)
    r1, r0 = numbers(x, "r1", "r0")
    return normalised(c1 * r1, c0 * r0)


def pair(x: dict[str, Any]) -> tuple[Any, Any]:
    """The smaller member is exact and the larger its complement."""
    c1, c0 = numbers(x, "c1", "c0")
    return (c1, 1 - c1) if c1 <= c0 else (1 - c0, c0)


def bernoulli_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """The probabilities times the logarithms that a logit is made of."""
    logs = 1 + mp.fsum(abs(mp.log(v)) for v in (*pair(x), *numbers(x, "r1", "r0")) if v)
    return mapped(lambda p: p * logs, truth)


def normalised(a: Any, b: Any) -> dict[str, Any]:
    return {"prob1": a / (a + b), "prob0": b / (a + b)}


def misprinted(bit: int) -> Any:
    """Table App.1 with x_i d_i in the denominator, where c_i d_i belongs."""

    def formula(x: dict[str, Any]) -> dict[str, Any]:
        c1, c0 = pair(x)
        r1, r0 = numbers(x, "r1", "r0")
        return {"prob1": c1 * r1 / (bit * r1 + c0 * r0)}

    return formula


def not_normalised(x: dict[str, Any]) -> dict[str, Any]:
    (c1, c0), (r1, r0) = pair(x), numbers(x, "r1", "r0")
    return {"prob1": c1 * r1 / (r1 + r0), "prob0": c0 * r0 / (r1 + r0)}


def mean_of_both(x: dict[str, Any]) -> dict[str, Any]:
    (c1, c0), (r1, r0) = pair(x), numbers(x, "r1", "r0")
    return {"prob1": (c1 + r1 / (r1 + r0)) / 2, "prob0": (c0 + r0 / (r1 + r0)) / 2}


def bernoulli_cases() -> list[Case]:
    draw = Draw("perturbed_bernoulli")
    rows = [
        (0.25, 0.75, 0.5, 1.0),
        (0.25, 0.75, 1.0, 1.0),
        (0.5, 0.5, 3.0, 1.0),
        (0.5, 0.5, 0.0, 1.0),
        (0.5, 0.5, 1.0, 0.0),
        (0.0, 1.0, 0.5, 0.25),
        (1.0, 0.0, 0.5, 0.25),
        (SMALL, 1.0, 0.5, 0.25),
        (1.0, SMALL, 0.5, 0.25),
        (SMALL, 1.0, 1.0, SMALL),
        (0.25, 0.75, SMALL, 1.0),
        (0.25, 0.75, 1.0, SMALL),
        (0.1, 0.9, 0.2, 0.7),
        (1e-30, 1.0, 1.0, 1e-30),
        (0.75, 0.25, 2.0**60, 1.0),
        (0.75, 0.25, 1.0, 2.0**60),
        (2.0**-24, 1 - 2.0**-24, 0.75, 0.125),
        (1 - 2.0**-24, 2.0**-24, 0.125, 0.75),
    ]
    rows += [
        (p, 1.0 - p, draw.power(-4, 4), draw.power(-4, 4))
        for p in (draw.part(256) for _ in range(35))
    ]
    bad = [
        ((1.25, -0.25, 1.0, 1.0), "bad_probability"),
        ((-0.5, 0.5, 1.0, 1.0), "bad_probability"),
        ((0.5, 0.25, 1.0, 1.0), "bad_pair"),
        ((0.5, 0.5, -1.0, 2.0), "bad_factor"),
        ((0.5, 0.5, 0.0, 0.0), "bad_factor"),
        ((None, 1.0, 1.0, 1.0), "bad_number"),
        ((0.5, 0.5, None, 1.0), "bad_number"),
    ]
    return [
        Case(dict(zip(("c1", "c0", "r1", "r0"), row, strict=True)), why)
        for row, why in [*((row, None) for row in rows), *bad]
    ]


PERTURBED_BERNOULLI = Function(
    name="perturbed_bernoulli",
    code="dpm_ref.posteriors.BernoulliFactor",
    equation="(22), Table App.1 (mended)",
    units="dimensionless",
    definition="p~(1) = c1 r1 / (c1 r1 + c0 r0), one bit: c d / (c d + (1-c) (1-d)) with d = r1 / "
    "(r1 + r0). The pair (c1, c0) stands "
    "for a law of "
    "which the smaller member is exact and the larger its complement",
    inputs={
        "c1": "P(x = 1) of the kernel",
        "c0": "P(x = 0) of the kernel",
        "r1": "r at x = 1, >= 0",
        "r0": "r at x = 0, >= 0, not both 0",
    },
    outputs={"prob1": "P(x = 1) of the product", "prob0": "P(x = 0) of the product"},
    tolerance="64 eps (1 + |log c1| + |log c0| + |log r1| + |log r0|) times either probability, so "
    "that logits will do; log 0 does not "
    "count",
    truth=bernoulli,
    scale=bernoulli_scale,
    terms=lambda x, truth: {"prob1": 1 + truth["prob0"], "prob0": 1 + truth["prob1"]},
    cases=bernoulli_cases(),
    mistakes={
        "misprinted_at_1": Mistake(
            "Table App.1 as printed, x d for c d in the denominator, at x = 1", misprinted(1)
        ),
        "misprinted_at_0": Mistake(
            "Table App.1 as printed, x d for c d in the denominator, at x = 0", misprinted(0)
        ),
        "not_normalised": Mistake("c d alone", not_normalised),
        "r_exchanged": Mistake(
            "r(0) for r(1)", changed(bernoulli, r1=lambda x: x["r0"], r0=lambda x: x["r1"])
        ),
        "r_squared": Mistake(
            "r taken twice",
            changed(
                bernoulli, r1=lambda x: mp.mpf(x["r1"]) ** 2, r0=lambda x: mp.mpf(x["r0"]) ** 2
            ),
        ),
        "r_ignored": Mistake(
            "the kernel itself", lambda x: dict(zip(("prob1", "prob0"), pair(x), strict=True))
        ),
        "complement": Mistake(
            "P(0) for P(1)",
            lambda x: (lambda right: {"prob1": right["prob0"], "prob0": right["prob1"]})(
                bernoulli(x)
            ),
        ),
        "mean_of_both": Mistake("the mean of c and d", mean_of_both),
    },
)


# A Gaussian factor


def gaussian(x: dict[str, Any]) -> dict[str, Any]:
    mean, var, r_mean, r_var = numbers(x, "mean", "var", "r_mean", "r_var")
    total = var + r_var
    return {"mean": (mean * r_var + r_mean * var) / total, "var": var * r_var / total}


def gaussian_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    mean, var, r_mean, r_var = numbers(x, "mean", "var", "r_mean", "r_var")
    return {"mean": (abs(mean) * r_var + abs(r_mean) * var) / (var + r_var), "var": truth["var"]}


def gaussian_cases() -> list[Case]:
    draw = Draw("perturbed_gaussian")
    rows = [
        (1.0, 0.5, 0.0, 1.0),
        (0.0, 1.0, 1.0, 1.0),
        (1.0, 1.0, 1.0, 3.0),
        (2.0, 0.25, -2.0, 0.75),
        (1.0, 2.0**-40, 3.0, 1.0),
        (1.0, 1.0, 3.0, 2.0**-40),
        (1.0, 2.0**-60, 1.5, 2.0**-60),
        (0.5, 2.0**60, 0.25, 1.0),
        (0.5, 1.0, 0.25, 2.0**60),
        (3.0, 1.0, -1.0, 1 / 3),
        (0.1, 0.2, 0.3, 0.4),
        (1000.0, 2.0**-10, -1000.0, 2.0**-10),
        (1.0, 0.5, -0.5, 0.25),
        (0.0, 2.0, 0.0, 3.0),
    ]
    rows += [
        (draw.part(16, -64, 64), draw.power(-4, 3), draw.part(16, -64, 64), draw.power(-4, 3))
        for _ in range(39)
    ]
    bad = [
        ((0.0, 0.0, 0.0, 1.0), "bad_variance"),
        ((0.0, 1.0, 0.0, 0.0), "bad_variance"),
        ((0.0, -1.0, 0.0, 1.0), "bad_variance"),
        ((0.0, 1.0, 0.0, -0.5), "bad_variance"),
        ((None, 1.0, 0.0, 1.0), "bad_number"),
        ((0.0, 1.0, 0.0, None), "bad_number"),
    ]
    return [
        Case(dict(zip(("mean", "var", "r_mean", "r_var"), row, strict=True)), why)
        for row, why in [*((row, None) for row in rows), *bad]
    ]


PERTURBED_GAUSSIAN = Function(
    name="perturbed_gaussian",
    code="dpm_ref.posteriors.GaussianFactor",
    equation="(22), a Gaussian factor (denoising)",
    units="dimensionless",
    definition="N(mean, var) times r(x) = N(x; r_mean, r_var), normalised: variance var r_var / "
    "(var + r_var), mean (mean r_var + "
    "r_mean var) / (var + r_var)",
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
            lambda x: (lambda m, v, a, b: {"mean": (m * v + a * b) / (v + b)})(
                *numbers(x, "mean", "var", "r_mean", "r_var")
            ),
        ),
        "variances_added": Mistake(
            "var + r_var, the variance of a sum",
            lambda x: {"var": mp.fsum(numbers(x, "var", "r_var"))},
        ),
        "means_added": Mistake(
            "mean + r_mean, the mean of a sum",
            lambda x: {"mean": mp.fsum(numbers(x, "mean", "r_mean"))},
        ),
        "precision_for_variance": Mistake(
            "1/var + 1/r_var, not its inverse", lambda x: {"var": 1 / gaussian(x)["var"]}
        ),
        "std_for_var": Mistake(
            "the standard deviation where a variance belongs",
            lambda x: {"var": mp.sqrt(gaussian(x)["var"])},
        ),
        "variances_squared": Mistake(
            "variances squared, as if they were standard deviations",
            changed(
                gaussian,
                var=lambda x: mp.mpf(x["var"]) ** 2,
                r_var=lambda x: mp.mpf(x["r_var"]) ** 2,
            ),
        ),
        "r_squared": Mistake(
            "r taken twice: half its variance",
            changed(gaussian, r_var=lambda x: mp.mpf(x["r_var"]) / 2),
        ),
        "r_ignored": Mistake(
            "the kernel itself",
            lambda x: dict(zip(("mean", "var"), numbers(x, "mean", "var"), strict=True)),
        ),
        "variance_kept": Mistake(
            "the kernel's variance with the product's mean", lambda x: {"var": numbers(x, "var")[0]}
        ),
        "mean_of_means": Mistake(
            "the means weighted equally",
            lambda x: {"mean": mp.fsum(numbers(x, "mean", "r_mean")) / 2},
        ),
    },
)


# A smooth r, to first order


def first_order(x: dict[str, Any], shift: Any = lambda var, grad: var * grad) -> dict[str, Any]:
    mean, var, grad = numbers(x, "mean", "var", "grad_log_r")
    return {"mean": mean + shift(var, grad)}


def first_order_scale(x: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    mean, var, grad = numbers(x, "mean", "var", "grad_log_r")
    return {"mean": abs(mean) + abs(var * grad)}


def first_order_cases() -> list[Case]:
    draw = Draw("perturbed_gaussian_first_order")
    rows = [
        (1.0, 0.5, 0.75),
        (0.0, 1.0, 1.0),
        (0.0, 0.25, -2.0),
        (1.0, 0.5, 0.0),
        (1.0, 0.25, -4.0),
        (-1.5, 0.25, 6.0 + 2.0**-20),
        (0.5, 2.0**-40, 3.0),
        (0.5, 2.0**-40, 2.0**40),
        (0.1, 0.2, 0.3),
        (0.0, 2.0**-100, 1.0),
        (1000.0, 4.0, -250.0 + 2.0**-12),
        (2.0, 1e-6, 1e6),
    ]
    rows += [(draw.part(16, -64, 64), draw.power(-4, 3), draw.part(16, -64, 64)) for _ in range(43)]
    bad = [
        ((0.0, 0.0, 1.0), "bad_variance"),
        ((0.0, -1.0, 1.0), "bad_variance"),
        ((None, 1.0, 1.0), "bad_number"),
        ((0.0, 1.0, None), "bad_number"),
    ]
    return [
        Case(dict(zip(("mean", "var", "grad_log_r"), row, strict=True)), why)
        for row, why in [*((row, None) for row in rows), *bad]
    ]


FIRST_ORDER = Function(
    name="perturbed_gaussian_first_order",
    code="dpm_ref.posteriors.LogFactor",
    equation="(22), r smooth: Table App.1",
    units="dimensionless",
    definition="mean + var grad log r(mean): the mean of N(mean, var) multiplied by r, to first "
    "order in var",
    inputs={
        "mean": "f_mu, the mean of the kernel",
        "var": "f_Sigma, the variance of the kernel",
        "grad_log_r": "the gradient of log r at f_mu",
    },
    outputs={"mean": "the shifted mean"},
    tolerance="64 eps (|mean| + |var grad_log_r|)",
    truth=first_order,
    scale=first_order_scale,
    terms=first_order_scale,
    cases=first_order_cases(),
    mistakes={
        "std_for_var": Mistake(
            "sqrt(var) grad log r", lambda x: first_order(x, lambda var, grad: mp.sqrt(var) * grad)
        ),
        "var_squared": Mistake(
            "var^2 grad log r", lambda x: first_order(x, lambda var, grad: var**2 * grad)
        ),
        "shift_sign": Mistake(
            "mean - var grad log r", lambda x: first_order(x, lambda var, grad: -var * grad)
        ),
        "half": Mistake(
            "var grad log r / 2, as in a Langevin step",
            lambda x: first_order(x, lambda var, grad: var * grad / 2),
        ),
        "not_scaled": Mistake(
            "mean + grad log r", lambda x: first_order(x, lambda var, grad: grad)
        ),
        "divided": Mistake(
            "grad log r / var", lambda x: first_order(x, lambda var, grad: grad / var)
        ),
        "r_ignored": Mistake(
            "the kernel's mean", lambda x: first_order(x, lambda var, grad: mp.mpf(0))
        ),
        "mean_left_out": Mistake(
            "the shift alone",
            lambda x: {"mean": numbers(x, "var")[0] * numbers(x, "grad_log_r")[0]},
        ),
    },
)

# r at time t, and the exact kernel that goes with any choice of it


def tempered(x: dict[str, Any]) -> dict[str, Any]:
    (r,) = numbers(x, "r")
    return {"r_t": r ** (mp.mpf(x["T"] - x["t"]) / x["T"])}


def tempered_cases() -> list[Case]:
    draw = Draw("tempered_factor")
    rows = [
        (0.25, 4, 1),
        (0.25, 4, 0),
        (0.25, 4, 4),
        (1.0, 4, 2),
        (2.0, 1, 0),
        (2.0, 1, 1),
        (0.5, 2, 1),
        (1.0078125, 1000, 999),
        (1.0078125, 1000, 1),
        (2.0**-100, 5, 2),
        (2.0**100, 5, 3),
        (1 + 2.0**-20, 10, 3),
        (1e-30, 7, 5),
        (0.1, 40, 13),
    ]
    rows += [
        (draw.power(-6, 5), T, draw.integer(0, T)) for T in (draw.integer(2, 50) for _ in range(40))
    ]
    bad = [
        ((-0.5, 4, 1), "bad_factor"),
        ((0.5, 0, 0), "bad_time"),
        ((0.5, 4, 5), "bad_time"),
        ((0.5, 4, -1), "bad_time"),
        ((0.5, 4, 1.5), "bad_time"),
        ((None, 4, 1), "bad_number"),
    ]
    return [
        Case(dict(zip(("r", "T", "t"), row, strict=True)), why)
        for row, why in [*((row, None) for row in rows), *bad]
    ]


TEMPERED = Function(
    name="tempered_factor",
    code="dpm_ref.posteriors.tempered",
    equation="2.5",
    units="dimensionless",
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
    cases=tempered_cases(),
    scale=lambda x, truth: {"r_t": truth["r_t"] * (1 + abs(mp.log(numbers(x, "r")[0])))},
    mistakes={
        "factor_for_exponent": Mistake(
            "r (T - t) / T", lambda x: {"r_t": numbers(x, "r")[0] * (x["T"] - x["t"]) / x["T"]}
        ),
        "time_turned": Mistake("r^(t / T)", changed(tempered, t=lambda x: x["T"] - x["t"])),
        "one_early": Mistake(
            "t - 1 for t", changed(tempered, t=lambda x: x["t"] - 1 if x["t"] else None)
        ),
        "one_late": Mistake(
            "t + 1 for t", changed(tempered, t=lambda x: x["t"] + 1 if x["t"] < x["T"] else None)
        ),
        "constant": Mistake("r at every t", lambda x: {"r_t": numbers(x, "r")[0]}),
        "not_divided": Mistake(
            "r^(T - t)", lambda x: {"r_t": numbers(x, "r")[0] ** (x["T"] - x["t"])}
        ),
        "logarithm": Mistake("log r(x^t)", lambda x: {"r_t": mp.log(tempered(x)["r_t"])}),
    },
)


def perturbed_kernel(
    x: dict[str, Any],
    part: Any = lambda p, z, z_next, r, r_next, p_next: p * z_next * r / (z * r_next),
) -> dict[str, Any]:
    """(21) for every x^{t+1} and x^t, or another combination of what it is made of."""
    t = x["t"]
    here, after = models.table_marginal(x, t), models.table_marginal(x, t + 1)
    r, r_next = (
        dict(zip(law, exact(x[name]), strict=True))
        for name, law in (("r", here), ("r_next", after))
    )
    z, z_next = (
        mp.fsum(p * factor[state] for state, p in law.items())
        for law, factor in ((here, r), (after, r_next))
    )
    return {
        "kernel": [
            [
                part(
                    models.table_step(x, t + 1, before, state),
                    z,
                    z_next,
                    r[before],
                    r_next[state],
                    after[state],
                )
                for before in here
            ]
            for state in after
        ]
    }


def rows_normalised(x: dict[str, Any]) -> dict[str, Any]:
    rows = perturbed_kernel(x, lambda p, z, z_next, r, r_next, p_next: p * r)["kernel"]
    return {"kernel": [[p / mp.fsum(row) for p in row] for row in rows]}


def with_r(x: dict[str, Any], t: int, draw: Draw) -> dict[str, Any]:
    """A model, without data, and r at either time."""
    n = 2 ** len(x["prior"])
    return {
        **models.without_data(x),
        "t": t,
        "r": [draw.power(-2, 2) for _ in range(n)],
        "r_next": [draw.power(-2, 2) for _ in range(n)],
    }


def perturbed_kernel_cases() -> list[Case]:
    draw = Draw("perturbed_kernel")
    cases = [Case(with_r(models.GOOD_TABLE, t, draw)) for t in (1, 0)]
    for k in range(44):
        d = 2 if k % 6 == 5 else 1
        model = models.table_model(
            draw, drawn_schedule(draw, 16, 4), [draw.part(16) for _ in range(d)], 1
        )
        cases.append(Case(with_r(model, draw.integer(0, len(model["beta"]) - 1), draw)))
    good = with_r(models.GOOD_TABLE, 1, draw)
    return (
        cases + models.bad_tables(good) + [Case({**good, "t": t}, "bad_time") for t in (-1, 2, 0.5)]
    )


PERTURBED_KERNEL = Function(
    name="perturbed_kernel",
    code="dpm_ref.exact.BinaryModel",
    equation="(21)",
    units="dimensionless",
    definition="p~(x^t|x^{t+1}) = p(x^t|x^{t+1}) Z_{t+1} r(x^t) / ( Z_t r(x^{t+1}) ), Z_t = sum "
    "over x^t of p(x^t) r(x^t), a model of "
    "bits with "
    "all states enumerated, p(x^0|x^1) = T_pi; it carries p(x^{t+1}) r(x^{t+1}) / Z_{t+1} to "
    "p(x^t) r(x^t) / Z_t",
    inputs=models.TABLE_INPUTS
    | {
        "t": "the time, an integer in 0..T-1",
        "r": "r(x^t) of every state, > 0",
        "r_next": "r(x^{t+1}) of every state, > 0",
    },
    outputs={"kernel": "p~ at [x^{t+1}][x^t], states in the order of their numbers"},
    tolerance="(64 + 4 T) eps of each number; all sums are of positive terms",
    truth=perturbed_kernel,
    scale=lambda x, truth: truth,
    cases=perturbed_kernel_cases(),
    mistakes={
        "r_exchanged": Mistake(
            "r(x^t) and r(x^{t+1}) exchanged",
            lambda x: perturbed_kernel(
                x, lambda p, z, z_next, r, r_next, p_next: p * z_next * r_next / (z * r)
            ),
        ),
        "normalisers_exchanged": Mistake(
            "Z_t and Z_{t+1} exchanged",
            lambda x: perturbed_kernel(
                x, lambda p, z, z_next, r, r_next, p_next: p * z * r / (z_next * r_next)
            ),
        ),
        "normalisers_left_out": Mistake(
            "Z_t and Z_{t+1} left out",
            lambda x: perturbed_kernel(x, lambda p, z, z_next, r, r_next, p_next: p * r / r_next),
        ),
        "multiplied_by_the_marginal": Mistake(
            "multiplied by p(x^{t+1})",
            lambda x: perturbed_kernel(
                x, lambda p, z, z_next, r, r_next, p_next: p_next * p * z_next * r / (z * r_next)
            ),
        ),
        "next_r_left_out": Mistake(
            "not divided by r(x^{t+1})",
            lambda x: perturbed_kernel(
                x, lambda p, z, z_next, r, r_next, p_next: p * z_next * r / z
            ),
        ),
        "rows_normalised": Mistake("(22) for (21): each row made to sum to 1", rows_normalised),
        "r_ignored": Mistake(
            "the kernel itself",
            lambda x: perturbed_kernel(x, lambda p, z, z_next, r, r_next, p_next: p),
        ),
        "half_for_prior": models.half_for_prior(perturbed_kernel),
        "one_late": Mistake(
            "the model at t + 1 for t",
            changed(
                perturbed_kernel, t=lambda x: x["t"] + 1 if x["t"] + 1 < len(x["beta"]) else None
            ),
        ),
    },
)

FUNCTIONS = [PERTURBED_BERNOULLI, PERTURBED_GAUSSIAN, FIRST_ORDER, TEMPERED, PERTURBED_KERNEL]

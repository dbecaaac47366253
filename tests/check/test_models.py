"""A model's bound as DDPM's code computes it, steps with noise, schedules by name, what functions
may do to each other.
"""

import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr
from scipy.stats import chi2, norm

from dpm_ref import check, schedules
from dpm_ref.check import judge
from dpm_ref.check.calls import Fault, Model, call
from dpm_ref.check.conventions import Conventions
from dpm_ref.check.expressions import Tables
from dpm_ref.check.problems import Problem, Setting, draws
from dpm_ref.check.quantities import QUANTITIES

BETA = np.array([0.1, 0.25, 0.2, 0.4])
ABAR = np.cumprod(1 - BETA)
PRIOR = {"prior": 0.5, "less": 0.9, "more": 1.1}  # what is made of the prior KL
WIDTH = {"wide": 2, "narrow": 0.5}  # of the decoder's bins
DECLARED = {"first_t": 0, "unit": "bits", "components": "mean", "reverse_var": "posterior"}


class Diffusion:
    """DDPM's loop over t, t from 0, with a mistake in it if told so."""

    def __init__(self, beta, mistake=""):
        self.beta, self.abar, self.mistake = beta, np.cumprod(1 - beta), mistake
        self.prev, self.T = np.append(np.ones_like(beta[:1]), self.abar[:-1]), len(beta)
        var = beta * (1 - self.prev) / (1 - self.abar)
        self.log_var = np.log(np.append(var[1], var[1:]))
        self.rng = np.random.default_rng(5)  # a bin of mass < 1e-12, where code may clip

    def mean(self, x0, xt, t):
        first, second = (
            np.sqrt(self.prev[t]) * self.beta[t],
            np.sqrt(1 - self.beta[t]) * (1 - self.prev[t]),
        )
        return (first * x0 + second * xt) / (1 - self.abar[t])

    def kl(self, a, v, b, w):
        half = 0 if self.mistake == "half" else 1
        return (w - v + np.exp(v - w) + (a - b) ** 2 * np.exp(-w) - half) / 2

    def term(self, model, x0, xt, t):
        mistake = self.mistake
        at = min(t + 1, self.T - 1) if mistake == "late" else t
        known = (xt - np.sqrt(1 - self.abar[at]) * model(xt, t)) / np.sqrt(self.abar[at])
        mean = self.mean(known.clip(-1, 1) if mistake == "clip" else known, xt, t)
        log_var = self.log_var[t] / (2 if mistake == "deviation" else 1)
        if t != (1 if mistake == "second" else 0):
            kl = self.kl(self.mean(x0, xt, t), log_var, mean, log_var)
            kl = kl.sum(-1) if mistake == "KL summed" else kl.mean(-1)
            return kl if mistake == "KL in nats" else kl / math.log(2)
        half, std = WIDTH.get(mistake, 1) / 255, np.exp(log_var / 2)
        std = std**2 if mistake == "variance" else std
        ends = np.where(mistake == "closed", 9, x0)
        low = np.where(ends < -0.999, -np.inf, (x0 - half - mean) / std)
        high = np.where((ends > 0.999) & (ends < 9), np.inf, (x0 + half - mean) / std)
        flip = np.where(low + high > 0, -1, 1)
        sign = 1 if mistake == "L_0's sign" else -1
        log_mass = np.log(np.abs(ndtr(flip * high) - ndtr(flip * low)))
        return sign * log_mass.mean(-1) / math.log(2)

    def loop(self, model, x0):
        total = 0
        for t in range(self.T)[::-1]:
            if t > 0 or self.mistake != "decoder":
                noise = self.rng.standard_normal(x0.shape).astype(x0.dtype)
                total = total + self.term(
                    model, x0, np.sqrt(self.abar[t]) * x0 + np.sqrt(1 - self.abar[t]) * noise, t
                )
        prior = self.kl(np.sqrt(self.abar[-1]) * x0, np.log(1 - self.abar[-1]), 0, 0).mean(
            -1
        ) / math.log(2)
        total = total + prior * PRIOR.get(self.mistake, 1)
        return {"total_bpd": -total if self.mistake == "sign" else total, "mse": 0.0}


def loop(mistake, dtype="float64"):
    return check.run(
        lambda beta: {"calc_bpd_loop": Diffusion(beta.astype(dtype), mistake).loop},
        **DECLARED,
        dtype=dtype,
    ).rows[0]


@pytest.mark.dear
def test_a_right_loop_passes():
    report = check.run(
        lambda beta: {"calc_bpd_loop": Diffusion(beta).loop, "vb_terms_bpd": Diffusion(beta).term},
        **DECLARED,
    )
    report.assert_ok()


IN_A_LOOP = {
    "half": "-1/2 left out",
    "clip": "x^0 clipped to [-1, 1]",
    "decoder": "L_0 left out",
    "prior": "half of prior KL only",
    "sign": "sign flipped",
}


@pytest.mark.dear
@pytest.mark.parametrize("mistake", IN_A_LOOP)
def test_the_part_of_a_loop_that_is_off_is_named(mistake):
    row = loop(mistake)
    assert row.status == "WRONG"
    assert IN_A_LOOP[mistake] in row.diagnoses


LONG = schedules.linear(200)


def long_loop(mistake="", factor=1.0, rng=None):
    """The verdict on a loop over images and a declared schedule of 200 steps."""
    made = Diffusion(LONG, mistake)
    made.rng = rng or made.rng

    def loop(model, x0):
        def flat(x, t):
            return model(x.reshape(x0.shape), t).reshape(len(x), -1)

        return factor * made.loop(flat, x0.reshape(len(x0), -1))["total_bpd"]

    return check.run({"nll": loop}, beta=LONG, **DECLARED, shape=(4, 3, 4, 4)).rows[0]


@pytest.mark.dear
@pytest.mark.parametrize("factor", [0.0, 1.1])
def test_a_loop_that_is_off_by_more_than_3_percent_is_no_loss_of_digits(factor):
    assert long_loop(factor=factor).status == "WRONG"


@pytest.mark.dear
def test_a_loop_that_never_asks_at_the_first_step_has_left_out_l_0():
    assert long_loop().status == "PASS"
    row = long_loop("decoder")
    assert (row.status, row.diagnoses[0]) == ("WRONG", "L_0 left out")


def test_states_that_are_not_drawn_from_q_are_told():
    class Uniform:
        def standard_normal(self, shape):
            return np.random.default_rng(6).random(shape)

    row = long_loop(rng=Uniform())
    assert row.status == "WRONG"
    assert "that is not drawn from q at t = 0: its noise has mean 0.5" in row.message


@pytest.mark.parametrize("late", [0, 1])
def test_states_of_the_step_after_are_told_from_those_of_the_step(late):
    x0, rng = np.full((50, 4), 10.0), np.random.default_rng(7)
    model = Model(Tables.exact(BETA), x0, Conventions())
    for t in range(1, len(BETA) + 1):
        abar = ABAR[min(t + late, len(BETA)) - 1]
        model(np.sqrt(abar) * x0 + np.sqrt(1 - abar) * rng.standard_normal(x0.shape), t)
    with pytest.raises(Fault, match="not drawn from q at t = 1") if late else nullcontext():
        assert model.inputs(None)["xs"].shape == (len(BETA) - 1, *x0.shape)


CHI2 = chi2(12)  # of the noise of four vectors of three components


@pytest.mark.parametrize(
    "noise",
    [
        np.tile([1.0, -1.0], 6) * (CHI2.isf(1e-12) / 12) ** 0.5,
        np.tile([1.0, -1.0], 6) * (CHI2.ppf(1e-12) / 12) ** 0.5,
        np.full(12, norm.isf(1e-12) / 12**0.5),
        np.full(12, norm.ppf(1e-12) / 12**0.5),
    ],
)
def test_noise_is_refused_beyond_a_probability_of_1e_12(noise):
    x0, usual, abar = np.full((4, 3), 0.5), np.tile([1.0, -1.0], 6), ABAR[:, None, None]
    model = Model(Tables.exact(BETA), x0, Conventions())
    out = 1.01 if np.square(noise).sum() > 12 else 0.99
    for factor in (2 - out, out):
        drawn = np.array([usual, usual, factor * noise, usual]).reshape(4, 4, 3)
        said = f"and mean square {np.square(drawn[2]).mean():.2g}"
        with pytest.raises(Fault, match=said) if factor == out else nullcontext() as refused:
            model._check_states(np.sqrt(abar) * x0 + np.sqrt(1 - abar) * drawn)
    assert "at t = 3: its noise has mean " in str(refused.value)


def test_a_loop_that_never_asks_at_the_first_step_is_given_a_draw_of_it():
    noise, rng = [], np.random.default_rng(7)
    for beta in (BETA, 0.5 * BETA):
        abar, x0 = np.cumprod(1 - beta), np.full((4, 3), 0.5)
        model = Model(Tables.exact(beta), x0, Conventions(reverse_var="given"))
        for t in range(2, len(beta) + 1):
            drawn = rng.standard_normal(x0.shape)
            model(np.sqrt(abar[t - 1]) * x0 + np.sqrt(1 - abar[t - 1]) * drawn, t)
        given = model.inputs(None)
        noise.append((given["x_1"] - np.sqrt(abar[0]) * x0) / np.sqrt(1 - abar[0]))
        for name, expected in zip(("out_1", "var_1"), model(given["x_1"], 1), strict=True):
            np.testing.assert_allclose(given[name], expected, rtol=1e-6)
    np.testing.assert_allclose(*noise, rtol=1e-12)


def test_a_batch_of_one_is_asked_at_the_first_step_too():
    model = Model(Tables.exact(BETA), np.full((1, 3), 0.5), Conventions())
    for t, abar in enumerate(ABAR, start=1):
        model(0.5 * np.sqrt(abar) + np.sqrt(1 - abar) * np.array([[1.0, -1.0, 0.5]]), t)
    expected = 0.5 * np.sqrt(ABAR[0]) + np.sqrt(BETA[0]) * np.array([[1.0, -1.0, 0.5]])
    np.testing.assert_allclose(model.inputs(None)["x_1"], expected, rtol=1e-12)


IN_ONE_PART = {
    "late": "x0_hat's tables read one step too late",
    "second": "L_0 at the second t, the KL term at the first",
    "KL summed": "sum over components in",
    "KL in nats": "nats in",
    "deviation": "sqrt(the posterior's variance) for the posterior's variance",
    "wide": "bins twice as wide: 1/127.5 for 1/255",
    "narrow": "bins half as wide: 1/510 for 1/255",
    "closed": "the first and the last bin closed, where they reach to infinity",
    "variance": "the posterior's variance without its root",
    "L_0's sign": "sign of L_0 flipped",
}


@pytest.mark.dear
@pytest.mark.parametrize("mistake", IN_ONE_PART)
def test_what_is_off_in_one_part_is_named_alone(mistake):
    def functions(beta):
        wrong = Diffusion(beta, mistake)
        return {"vb_terms_bpd": wrong.term, "nll": wrong.loop}

    for row in check.run(functions, **DECLARED).rows:
        assert row.status == "WRONG"
        assert any(said.startswith(IN_ONE_PART[mistake]) for said in row.diagnoses), str(row)


@pytest.mark.dear
@pytest.mark.parametrize("mistake", ["second", "KL in nats", "closed"])
def test_what_is_off_in_one_part_is_named_in_float32_too(mistake):
    row = loop(mistake, "float32")
    assert row.status == "WRONG"
    assert any(said.startswith(IN_ONE_PART[mistake]) for said in row.diagnoses), str(row)


@pytest.mark.parametrize("mistake", [*IN_ONE_PART, *IN_A_LOOP])
def test_what_is_off_in_one_part_is_named_over_a_short_schedule(mistake):
    wrong, said = Diffusion(BETA, mistake), {**IN_ONE_PART, **IN_A_LOOP}[mistake]
    functions = {"vb_terms_bpd": wrong.term} if mistake in IN_ONE_PART else {"nll": wrong.loop}
    row = check.run(functions, beta=BETA, **DECLARED).rows[0]
    assert row.status == "WRONG"
    assert any(each.startswith(said) for each in row.diagnoses), str(row)


def test_bits_of_bits_are_named():
    right = Diffusion(BETA)
    row = check.run(
        {"vb_terms_bpd": lambda *given: right.term(*given) / math.log(2)}, beta=BETA, **DECLARED
    ).rows[0]
    assert row.diagnoses[0] == "converted to bits twice"


def test_a_formula_in_another_s_place_is_named_beside_a_decoder_by_tanh(monkeypatch):
    def cdf(x):
        return 0.5 + 0.5 * np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))

    monkeypatch.setattr(sys.modules[__name__], "ndtr", cdf)
    row = check.run({"vb_terms_bpd": Diffusion(BETA, "second").term}, beta=BETA, **DECLARED).rows[0]
    assert row.diagnoses[0] == "L_0 at the second t, the KL term at the first"


@pytest.mark.parametrize("mistake", ["less", "more"])
def test_the_factor_of_a_part_is_found_where_all_parts_of_a_loop_are_known(mistake):
    setting = Setting(BETA, 0.5, (5, 3), Conventions().but(DECLARED))
    inputs = next(draws(QUANTITIES["nll"], setting, np.random.default_rng(1)))
    problem = Problem.of(QUANTITIES["nll"], setting, inputs)
    answers = call(Diffusion(BETA, mistake).loop, [problem])
    assert judge._relation(answers) == f"; got is wanted with prior KL times {PRIOR[mistake]}"


@pytest.mark.parametrize("last", ["posterior", "beta"])
def test_noise_of_a_clipped_variance_at_the_last_step_is_named(last):
    def functions(beta):
        right = Diffusion(beta)
        log_var = right.log_var.copy()
        log_var[0] = np.log(beta[0]) if last == "beta" else log_var[0]

        def p_sample(xt, t, eps, noise):
            known = (xt - np.sqrt(1 - right.abar[t]) * eps) / np.sqrt(right.abar[t])
            return right.mean(known, xt, t) + np.exp(log_var[t] / 2) * noise

        return {"p_sample": p_sample}

    row = check.run(functions, first_t=0, reverse_var="posterior").rows[0]
    assert row.diagnoses == ("noise is added at the last step too",)


@pytest.mark.dear
@pytest.mark.parametrize("mistake", PRIOR)
def test_a_prior_kl_that_is_off_is_wrong_in_float32_too(mistake):
    assert loop("", "float32").status in ("PASS", "PRECISION")
    assert loop(mistake, "float32").status == "WRONG"


@pytest.mark.dear
@pytest.mark.parametrize(("known", "said"), [("prior", "half of prior KL only"), ("float32", "")])
def test_a_small_part_that_is_off_is_told_from_lost_digits_in_float64(known, said):
    """Half of a prior KL of 1.6e-5 of the whole; tables rounded to float32 are not named so."""

    def functions(beta):
        made = Diffusion(beta, known)
        if known == "float32":
            made.abar = made.abar.astype("float32").astype("float64")
            made.prev = np.append(1.0, made.abar[:-1])
        return {"nll": made.loop}

    row = check.run(functions, beta=schedules.linear(1000), **DECLARED).rows[0]
    assert row.status == ("WRONG" if said else "PRECISION")
    assert not said or row.diagnoses[0] == said


@pytest.mark.dear
@pytest.mark.parametrize("mistake", ["less", "more"])
def test_the_factor_of_a_part_is_told(mistake):
    said = f"got is wanted with prior KL times {PRIOR[mistake]}"
    assert said in loop(mistake).message


def test_bits_per_dimension_are_those_that_the_name_says_unless_others_are_declared():
    def prior(x0):
        kept = np.prod(1 - BETA)
        return (0.5 * (kept * x0**2 - kept - np.log(1 - kept))).mean(-1) / np.log(2)

    row = check.run({"prior_bpd": prior}, beta=BETA).rows[0]
    assert (row.status, row.message) == ("PASS", "unit='bits', components='mean', as its name says")
    row = check.run({"prior_bpd": prior}, beta=BETA, unit="nats").rows[0]
    assert row.diagnoses[0] == "log2 for ln: bits where nats are declared"
    assert row.message == "components='mean', as its name says"
    nats = {"prior_bpd": (lambda x0: prior(x0) * np.log(2), {"unit": "nats"})}
    assert check.run(nats, beta=BETA).rows[0].status == "PASS"


def test_noise_is_handed_to_code_that_draws_its_own():
    def q_sample(x0, t):
        return np.sqrt(ABAR[t - 1]) * x0 + np.sqrt(1 - ABAR[t - 1]) * np.random.randn(*x0.shape)  # noqa: NPY002

    check.run({"q_sample": q_sample}, beta=BETA, own_noise=True).assert_ok()
    row = check.run({"q_sample": lambda x0, t, noise: q_sample(x0, t)}, beta=BETA).rows[0]
    assert "another result when asked again" in row.message


def test_conventions_of_one_function_go_before_those_of_the_run():
    def kl(mean_q, var_q, mean_p, var_p):
        return (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1).mean(
            -1
        ) / np.log(4)

    check.run(
        {
            "gaussian_kl": (kl, {"unit": "bits", "components": "mean"}),
            "gaussian_entropy": lambda var: ((np.log(2 * np.pi * var) + 1) / 2).sum(-1),
        }
    ).assert_ok()


def test_a_function_that_does_not_return_is_told():
    row = check.run({"gaussian_entropy": lambda var: time.sleep(60)}, time_limit=0.2).rows[0]
    assert row.status == "WRONG"
    assert "did not return within 0.2 s" in row.message


def test_the_check_runs_in_a_thread_which_has_no_time_limit():
    functions = {"gaussian_entropy": lambda var: ((np.log(2 * np.pi * var) + 1) / 2).sum(-1)}
    with ThreadPoolExecutor(1) as pool:
        pool.submit(check.run, functions, time_limit=1e-3).result().assert_ok()


def test_a_loop_over_one_step_is_undefined():
    row = check.run({"nll": lambda model, x0: x0.sum(-1)}, beta=[0.3]).rows[0]
    assert row.status == "UNDEFINED"
    assert "the schedule has one step" in row.message


@pytest.mark.dear
def test_a_function_that_returns_less_the_second_time_is_told():
    parts = iter([3] * 6 + [2] * 6)
    functions = {"q_posterior": lambda x0, xt, t: (xt,) * next(parts)}
    report = check.run(functions, beta=BETA[:3])
    assert "asked again, it returns less" in report["posterior_log_var"].message


def test_a_function_that_spoils_another_s_table_is_seen():
    table = ABAR.copy()

    def spoil(x0, t):
        table[:] = 0.5
        return np.sqrt(ABAR[t - 1]) * x0

    report = check.run({"abar": lambda t: table[t - 1], "marginal_mean": spoil}, beta=BETA)
    assert "another result when asked again" in report["abar"].message


def test_numpy_is_put_back():
    log = np.log

    def patched(var):
        np.log = np.sqrt
        return ((log(2 * np.pi * var) + 1) / 2).sum(-1)

    check.run({"gaussian_entropy": patched}).assert_ok()
    assert np.log is log


def test_what_cannot_be_shown_is_shown():
    class Silent(Exception):
        def __str__(self):
            raise RuntimeError

    class Quits:
        def __array__(self, *_, **__):
            raise SystemExit

    def fail(var):
        raise Silent

    assert "its message cannot be shown" in check.run({"gaussian_entropy": fail}).rows[0].message
    assert check.run({"gaussian_entropy": lambda var: Quits()}).rows[0].status == "WRONG"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("abar", ABAR),
        ("log_snr", np.log(ABAR / (1 - ABAR))),
        ("sigmas", np.sqrt((1 - ABAR) / ABAR)),
        ("beta", BETA),
    ],
)
def test_any_table_declares_the_schedule(name, value):
    check.run(
        {"posterior_variance": BETA * (1 - np.r_[1.0, ABAR[:-1]]) / (1 - ABAR)}, **{name: value}
    ).assert_ok()


def test_schedules_are_declared_by_name():
    check.run({"betas": np.linspace(1e-4, 0.02, 1000)}, beta=("linear", 1000)).assert_ok()
    check.run(
        {"betas": np.linspace(1e-4**0.5, 0.02**0.5, 50) ** 2}, beta=("quadratic", 50)
    ).assert_ok()
    check.run({"betas": schedules.cosine(100)}, beta=("cosine", 100)).assert_ok()
    assert (
        check.run({"betas": np.linspace(0.01, 0.02, 50)}, beta=("linear", 50, {"scaled": False}))
        .rows[0]
        .status
        == "WRONG"
    )


def test_a_variance_for_the_bins_deviation_is_named_where_their_mass_underflows():
    def wrong(x, mean, var):
        below, above = (x - mean - 1 / 255) / var, (x - mean + 1 / 255) / var
        below, above = np.where(x < -0.999, -np.inf, below), np.where(x > 0.999, np.inf, above)
        near, far = np.where(below > 0, -below, above), np.where(below > 0, -above, below)
        log_near, log_far = log_ndtr(near), log_ndtr(far)
        return (log_near + np.log1p(-np.exp(log_far - log_near))).sum(1)

    row = check.run({"decoder_log_prob": wrong})["decoder_log_prob"]
    assert "var used as a standard deviation: squared" in row.diagnoses
    assert row.got < -1000


@pytest.mark.parametrize(("declared", "taken"), [(0.0, 1.0), (0.5, 0.0), (0.5, 1.0), (1.0, 0.0)])
def test_another_eta_than_declared_is_named(declared, taken):
    beta = np.array([0.05, 0.1, 0.2, 0.3, 0.45])
    abar = np.cumprod(1 - beta)
    prev = np.append(1.0, abar[:-1])
    std = taken * np.sqrt(beta * (1 - prev) / (1 - abar))

    def step(xt, t, eps, noise):
        s = t - 1
        x0 = (xt - np.sqrt(1 - abar[s]) * eps) / np.sqrt(abar[s])
        along = np.sqrt(np.maximum(1 - prev[s] - std[s] ** 2, 0.0))
        return np.sqrt(prev[s]) * x0 + along * eps + std[s] * noise

    row = check.run({"ddim_step": step}, beta=beta, eta=declared)["ddim_step"]
    assert row.status == "WRONG"
    assert f"eta = {taken:g}, where another is declared" in row.diagnoses
    check.run({"ddim_step": step}, beta=beta, eta=taken).assert_ok()

"""Digits that real code loses are told as digits lost, by the name of the habit; a mistake as small
is still a mistake.
"""

import numpy as np
import pytest

from dpm_ref import GaussianDiffusion, check, schedules

DDPM = schedules.linear(1000, first=1e-4, last=0.02).astype(np.float32)
READ_BACK = "beta read back from the product, 1 - abar_t / abar_{t-1}, in float32"
CONSTANT = "a small constant added to every 1 - abar_t"


class Single:
    """Tables in float32, beta_t and alpha_t read back from the running product of whichever steps
    are taken; t from 0.
    """

    def __init__(self, beta, taken=slice(None)):
        self.abar = np.cumprod(1 - beta, dtype=np.float32)[taken]
        self.before = np.concatenate([[np.float32(1)], self.abar[:-1]])
        self.alpha = self.abar / self.before
        self.beta = 1 - self.alpha

    def posterior_mean(self, x0, xt, t):
        lost = 1 - self.abar[t]
        return (
            np.sqrt(self.before[t]) * self.beta[t] / lost * x0
            + np.sqrt(self.alpha[t]) * (1 - self.before[t]) / lost * xt
        )

    def posterior_var(self, x0, xt, t):
        return (1 - self.before[t]) / (1 - self.abar[t]) * self.beta[t]

    def mean_from_eps(self, xt, t, eps):
        return self.posterior_mean(
            (xt - np.sqrt(1 - self.abar[t]) * eps) / np.sqrt(self.abar[t]), xt, t
        )

    def functions(self):
        return {
            name: getattr(self, name)
            for name in ("posterior_mean", "posterior_var", "mean_from_eps")
        }


class Noisy:
    """Data that come with a variance, on tables in float64; t from 0."""

    def __init__(self, beta, var):
        exact, t = GaussianDiffusion(beta), np.arange(1, len(beta) + 1)
        self.abar = np.concatenate([[1.0], exact.abar(t)])
        self.lost = np.concatenate([[0.0], exact.one_minus_abar(t)]) + var

    def marginal(self, x0, t):
        return np.sqrt(self.abar[t + 1]) * x0, self.lost[t + 1]

    def posterior(self, x0, xt, t):
        kept = self.abar[t + 1] / self.abar[t]
        weight = kept * self.lost[t] / self.lost[t + 1]
        return np.sqrt(self.abar[t]) * (1 - weight) * x0 + weight / np.sqrt(kept) * xt, self.lost[
            t
        ] * (1 - weight)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_beta_read_back_from_a_product_in_float32_loses_digits(dtype):
    report = check.run(Single(DDPM).functions(), beta=DDPM, first_t=0, dtype=dtype)
    for row in report.rows:
        assert row.status == "PRECISION"
        assert READ_BACK in row.diagnoses


def test_what_reads_no_beta_does_not_read_it_back():
    mine = Single(DDPM)
    row = check.run(
        {"alphas_cumprod": mine.abar, "one_minus_abar": 1 - mine.abar}, beta=DDPM, dtype="float32"
    )["one_minus_abar"]
    assert row.status == "PRECISION"
    assert READ_BACK not in row.diagnoses


@pytest.mark.parametrize("var", [1e-6, 1e-4])
def test_noise_that_data_come_with_is_named(var):
    beta = np.array([0.1, 0.25, 0.2, 0.4, 0.3])
    noisy = Noisy(beta, var)
    report = check.run(
        {"marginal": noisy.marginal, "posterior": noisy.posterior}, beta=beta, first_t=0
    )
    assert report["marginal_mean"].status == "PASS"
    for name in ("marginal_var", "posterior_mean", "posterior_var"):
        assert report[name].status == "PRECISION"
        assert CONSTANT in report[name].diagnoses
    check.run(
        {"marginal": Noisy(beta, 0.0).marginal, "posterior": Noisy(beta, 0.0).posterior},
        beta=beta,
        first_t=0,
    ).assert_ok()


def test_a_constant_that_only_happens_to_be_small_enough_is_not_named():
    taken = np.arange(0, 1000, 50)
    log_abar = GaussianDiffusion(DDPM).log_abar(taken + 1)
    row = check.run(
        {"posterior_mean": Single(DDPM, taken).posterior_mean},
        beta=-np.expm1(np.diff(log_abar, prepend=0.0)),
        first_t=0,
        dtype="float32",
    ).rows[0]
    assert row.status == "PRECISION"
    assert CONSTANT not in row.diagnoses


@pytest.mark.dear
@pytest.mark.parametrize(
    ("shift", "said"),
    [
        (1, "t one too large: entry t + 1 of the tables is read"),
        (-1, "t one too small: entry t - 1 of the tables is read"),
    ],
)
def test_a_step_of_a_thousand_is_more_than_precision_explains(shift, said):
    mine = Single(DDPM)
    for name in ("alpha", "beta", "abar", "before"):
        setattr(mine, name, np.roll(getattr(mine, name), -shift))
    for row in check.run(mine.functions(), beta=DDPM, first_t=0, dtype="float32").rows:
        assert row.status == "WRONG"
        assert said in row.diagnoses


def test_beta_for_a_variance_is_named_where_beta_is_read_back():
    mine = Single(DDPM)
    row = check.run(
        {"posterior_var": lambda x0, xt, t: mine.beta[t]}, beta=DDPM, first_t=0, dtype="float32"
    ).rows[0]
    assert row.status == "WRONG"
    assert "beta_t for the posterior's variance" in row.diagnoses


def test_a_first_step_through_x0_that_cancels_in_float32_loses_digits():
    class Steps(Single):
        def p_sample(self, xt, t, eps, noise):
            std = np.sqrt(self.posterior_var(xt, xt, t))
            return self.mean_from_eps(xt, t, eps) + std * noise

    beta = schedules.linear(1000, first=1e-4, last=0.02)
    declared = {"first_t": 0, "reverse_var": "posterior", "dtype": "float32"}
    for shape in ((5, 3), (4, 3, 8, 8)):
        mine = Steps(beta.astype(np.float32))
        mine.beta = beta.astype(np.float32)
        row = check.run({"p_sample": mine.p_sample}, beta=beta, shape=shape, **declared).rows[0]
        assert (row.status, row.worst_input["t"]) == ("PRECISION", 0)

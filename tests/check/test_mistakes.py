"""Every kind of mistake is named in the simplest function in which it can be made."""

import itertools

import check_measured as measured
import independent_ddpm
import injected_mistakes
import numpy as np
import pytest

from dpm_ref import check

BETA = np.array([0.1, 0.25, 0.2, 0.4])
PLAIN = {"spread": "var", "unit": "nats", "components": "sum", "shape": (4, 5), "first_t": 1}
OTHER = {"spread": "logvar", "unit": "bits", "components": "mean", "shape": (5, 2, 2), "first_t": 0}
SETTINGS = {
    "paper's": measured.Setting(BETA, 0.2, "scalar", PLAIN),
    "other": measured.Setting(BETA, 0.2, "batch", OTHER),
    "deviations": measured.Setting(BETA, 0.2, "scalar", {**PLAIN, "spread": "std"}),
}
DEAR = ("binomial_", "lower_bound", "eq14", "kl_term", "entropy_", "log_weights", "mean_from_eps")
INJECTED = {}
for each in sorted(injected_mistakes.INJECTIONS, key=lambda each: each.subject.startswith(DEAR)):
    INJECTED.setdefault(each.mistake, []).append(each)
AMBIGUOUS = {  # what is named otherwise, or not by itself
    "sum and not mean, the largest weight not put back",
    "both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0)",
    "divided by the variance once, not twice",
    "the marginal before left out",
    "exp(var) where sqrt(var) is meant, or half of it in the exponent",
    "Table App.1's misprint: x_i d_i in the denominator",
    "r left out",
    "precisions added and not inverted",
}


@pytest.mark.parametrize(("k", "mistake"), list(enumerate(sorted({*INJECTED} - AMBIGUOUS))))
def test_a_mistake_is_named_where_it_is_made(k, mistake):
    """Under one of the settings in which it makes a difference."""
    settings = list(SETTINGS.values())
    for setting, each in itertools.product(np.roll(range(3), -(k % 2)), INJECTED[mistake]):
        rng = np.random.default_rng(0)
        row = measured.injected(each, settings[setting], rng, "float64", "float64")
        if row is not None:
            assert row.status == "WRONG"
            assert measured.verdict(each, row) == "diagnosed", str(row)
            return
    pytest.fail("it made no difference anywhere")


def cosine_by(T, offset=0.008, cap=0.999, steps=None):
    kept = np.cos((np.arange(T + 1) / (steps or T) + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.minimum(1 - kept[1:] / kept[:-1], cap)


SCHEDULES = {
    "the cosine schedule with offset = 0.08": ("cosine", cosine_by(50, offset=0.08)),
    "the cosine schedule with offset = 0": ("cosine", cosine_by(50, offset=0)),
    "the cosine schedule with offset = 0.02, cap = 0.9": ("cosine", cosine_by(50, 0.02, 0.9)),
    "the cosine schedule with one step more, the last left out": (
        "cosine",
        cosine_by(50, steps=51),
    ),
    "the cosine schedule with cap = 0.9999": (
        "cosine",
        cosine_by(50, cap=0.9999),
    ),
    "the linear schedule with first = 0.003, last = 0.03": ("linear", np.linspace(0.06, 0.6, 50)),
    "the sigmoid schedule with end = 3": (
        "sigmoid",
        1e-4 + 0.0199 / (1 + np.exp(np.linspace(3, -3, 50))),
    ),
}


@pytest.mark.parametrize("said", SCHEDULES)
@pytest.mark.parametrize("table", ["beta", "abar"])
def test_other_parameters_of_a_named_schedule_are_named_with_their_values(said, table):
    name, beta = SCHEDULES[said]
    wrong = {"beta": beta, "abar": np.cumprod(1 - beta)}[table]
    row = check.run({table: wrong}, beta=(name, 50))[table]
    assert (row.status, row.diagnoses) == ("WRONG", (said,))


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_what_is_no_schedule_of_a_name_is_not_said_to_be_one(name):
    drawn = np.random.default_rng(0).uniform(0.01, 0.5, 50)
    assert check.run({"beta": drawn}, beta=(name, 50))["beta"].diagnoses == ()


ABAR = np.cumprod(1 - BETA)
PREV = np.append(1.0, ABAR[:-1])


def of_t(function):
    """Over the tables at t."""
    tables = np.array([BETA, ABAR, PREV, BETA * (1 - PREV) / (1 - ABAR)]).T
    return lambda *given: function(
        *tables[next(t for t in given if isinstance(t, int)) - 1],
        *(each for each in given if not isinstance(each, int)),
    )


def log_normal(x, mean, var):
    return (-0.5 * np.log(2 * np.pi * var) - 0.5 * (x - mean) ** 2 / var).sum(-1)


def weight(at_end, at, before, after, mean, var):
    steps = log_normal(at, mean, var) - log_normal(
        after, np.sqrt(1 - BETA[:, None, None]) * before, BETA[:, None, None]
    )
    return log_normal(at_end, 0.0, 1.0) + steps.sum(0)


def clipped_step(b, ab, prev, var, xt, e, noise):
    x0 = np.clip((xt - np.sqrt(1 - ab) * e) / np.sqrt(ab), -1, 1)
    e = (xt - np.sqrt(ab) * x0) / np.sqrt(1 - ab)
    return np.sqrt(prev) * x0 + np.sqrt(1 - prev - 0.25 * var) * e + 0.5 * np.sqrt(var) * noise


IN_PLACE = {
    "eps reaches the term of xt too": (
        "mean_from_eps",
        of_t(lambda b, ab, prev, var, xt, e: (xt - b / np.sqrt(1 - ab)) * e / np.sqrt(1 - b)),
    ),
    "x0 reaches noise too": (
        "q_sample",
        of_t(lambda b, ab, prev, var, x0, e: np.sqrt(ab) * x0 + np.sqrt(1 - ab) * x0 * e),
    ),
    "the x^0 predicted in the direction, where the noise is meant": (
        "ddim_step",
        of_t(
            lambda b, ab, prev, var, xt, e, noise: (np.sqrt(prev) + np.sqrt(1 - prev - 0.25 * var))
            * (xt - np.sqrt(1 - ab) * e) / np.sqrt(ab) + 0.5 * np.sqrt(var) * noise
        ),
    ),
    "x^t for x^{t-1} in one place": (
        "log_weights",
        lambda x, mean, var: weight(x[-1], x[1:], x[:-1], x[1:], mean, var),
    ),
    "eta squared in sigma_t": (
        "ddim_step",
        of_t(
            lambda b, ab, prev, var, xt, e, noise: np.sqrt(prev / ab)
            * (xt - np.sqrt(1 - ab) * e) + np.sqrt(1 - prev - 0.0625 * var) * e
            + 0.25 * np.sqrt(var) * noise
        ),
    ),
    "x^0 clipped to [-1, 1], and the noise taken from it": ("ddim_step", of_t(clipped_step)),
    "the largest weight not put back": (
        "log_likelihood",
        lambda log_w: np.log(np.exp(log_w - np.nan_to_num(log_w.max(0), neginf=0)).mean(0)),
    ),
    "bit and p1 swapped, logarithms at least -100: PyTorch's cross entropy": (
        "bernoulli_log_prob",
        lambda bit, p1: -100 * (bit * (1 - p1) + (1 - bit) * p1).sum(-1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("said", IN_PLACE)
def test_a_mistake_in_one_place_is_named_first(said):
    name, wrong = IN_PLACE[said]
    row = check.run({name: wrong}, beta=BETA, eta=0.5)[name]
    assert (row.status, row.diagnoses[0]) == ("WRONG", said)


def test_tables_exchanged_are_named_in_a_step_without_noise_too():
    def inverse(b, ab, prev, var, xt, e, noise):
        x0 = (xt - np.sqrt(1 - prev) * e) / np.sqrt(prev)
        return np.sqrt(ab) * x0 + np.sqrt(1 - ab) * e

    row = check.run({"ddim_step": of_t(inverse)}, beta=BETA)["ddim_step"]
    assert row.diagnoses[0] == "abar_t and abar_{t-1} exchanged"


def test_beta_for_the_posterior_s_variance_is_named_in_a_bound_too():
    beta, post = (x[1:, None, None] for x in (BETA, BETA * (1 - PREV) / (1 - ABAR)))
    right = independent_ddpm.Somebody(BETA).lower_bound

    def wrong(x0, xs, means, var):
        return right(x0, xs, means, var) - 0.5 * (np.log(post / beta) + (beta - post) / var).sum(
            (0, 2)
        )

    row = check.run({"lower_bound": wrong}, beta=BETA)["lower_bound"]
    assert row.diagnoses[0] == "beta_t for the posterior's variance"

"""What is returned under each convention, and what is right too."""

import numpy as np
import pytest

from dpm_ref import check
from dpm_ref.check.conventions import Conventions
from dpm_ref.check.quantities import ALIASES, QUANTITIES, accepted, kind_of, right

BETA = np.array([0.1, 0.25, 0.2, 0.4])
T, ABAR = len(BETA), np.cumprod(1 - BETA)
PREV = np.append(1.0, ABAR[:-1])
POST = BETA * (1 - PREV) / (1 - ABAR)
READ = {"var": lambda v: v, "std": np.square, "logvar": np.exp}
WRITE = {"var": lambda v: v, "std": np.sqrt, "logvar": np.log}


def passes(name, function, **conventions):
    check.run({name: function}, **{"beta": BETA, **conventions}).assert_ok()


@pytest.mark.parametrize("spread", READ)
@pytest.mark.parametrize("unit", ["nats", "bits"])
@pytest.mark.parametrize("components", ["sum", "mean", "none"])
def test_results_pass_as_they_are_declared(spread, unit, components):
    declared = {"spread": spread, "unit": unit, "components": components}
    scale = np.log(2) if unit == "bits" else 1.0
    reduced = {"sum": lambda v: v.sum(-1), "mean": lambda v: v.mean(-1), "none": lambda v: v}

    def divergence(mean_q, var_q, mean_p, var_p):
        v, w = READ[spread](var_q), READ[spread](var_p)
        each = 0.5 * (np.log(w / v) + (v + (mean_q - mean_p) ** 2) / w - 1)
        return reduced[components](each) / scale

    def slope(mean_q, var_q, mean_p, var_p):
        v, w = READ[spread](var_q), READ[spread](var_p)
        by_var = 0.5 / w - 0.5 * v / w**2 - 0.5 * (mean_q - mean_p) ** 2 / w**2
        by = {"var": 1.0, "std": 2 * np.sqrt(w), "logvar": w}[spread]
        return by_var * by / scale / (3 if components == "mean" else 1)

    def product(mean, var, y, var_y):
        v, w = READ[spread](var), READ[spread](var_y)
        return WRITE[spread](1 / (1 / v + 1 / w))

    passes("gaussian_kl", divergence, **declared)
    passes("gaussian_kl_grad_var", slope, **declared)
    passes("factor_var", product, **declared)


def test_a_mean_of_the_batch_is_wanted_of_what_is_said_of_the_whole():
    def entropies(x0, t):
        step = 0.5 * np.log(2 * np.pi * np.e * BETA[t - 1])
        before, now = (0.5 * np.log(2 * np.pi * np.e * (1 - a)) for a in (PREV[t - 1], ABAR[t - 1]))
        return x0.shape[1] * (step + before - now), x0.shape[1] * step

    passes("entropy_bounds", entropies)
    row = check.run({"entropy_lower_bound": lambda x0, t: len(x0) * entropies(x0, t)[0]}, beta=BETA)
    assert "sum over the batch for its mean" in row.rows[0].diagnoses


def test_arguments_are_those_that_the_conventions_leave():
    def of(name, **conventions):
        return QUANTITIES[name].arguments(Conventions(**conventions))

    assert of("reverse_step") == (
        "xt",
        "t",
        "output",
        "noise",
        "reverse_var",
    )
    assert of("reverse_step", reverse_var="beta") == ("xt", "t", "output", "noise")
    assert of("reverse_step", reverse_var="beta", own_noise=True) == ("xt", "t", "output")
    assert of("reverse_step", own_noise=True) == ("xt", "t", "output", "reverse_var")
    assert of("lower_bound", reverse_var="posterior") == ("x0", "xs", "means")
    assert of("log_weights", reverse_var="posterior") == ("trajectory", "means", "vars")


def test_arguments_are_of_their_kind():
    kinds = {
        "time": ("t",),
        "nats": ("log_w",),
        "model": ("model",),
        "var": ("var", "var_q", "vars", "reverse_var"),
        "state": ("x0", "noise", "mean", "means"),
    }
    for kind, names in kinds.items():
        assert {kind_of(name) for name in names} == {kind}


def test_names_of_the_catalogue_have_their_arguments_and_equations():
    q = QUANTITIES["posterior_mean"]
    assert (q.every, q.equation, q.kind) == (("x0", "xt", "t"), "Table App.1", "state")
    known = [QUANTITIES[name] for name in ("posterior_mean", "posterior_var", "marginal_mean")]
    assert [(q.first, q.lenient) for q in known] == [(1, True), (2, False), (1, False)]
    assert QUANTITIES["beta"].drawn == "table"
    assert ALIASES["betas"] == ("beta",)
    assert ALIASES["q_posterior"] == ("posterior_mean", "posterior_var", "posterior_log_var")
    assert QUANTITIES["kernel_mean"].summary == "mean of q(x^t | x^{t-1})"
    assert QUANTITIES["vlb_weight"].summary == "weight of |eps - eps_hat|^2 in the bound, t >= 2"


@pytest.mark.parametrize("taken", ["posterior", "beta"])
def test_the_usual_variances_of_the_first_step_pass_with_a_note(taken):
    first = {"posterior": POST[1], "beta": BETA[0]}[taken]

    def term(model, x0, xt, t):
        out, k = model(xt, t), t - 1
        x0_hat = (xt - np.sqrt(1 - ABAR[k]) * out) / np.sqrt(ABAR[k])

        def mean(x):
            kept = np.sqrt(1 - BETA[k]) * (1 - PREV[k])
            return (np.sqrt(PREV[k]) * BETA[k] * x + kept * xt) / (1 - ABAR[k])

        if t > 1:
            return ((mean(x0) - mean(x0_hat)) ** 2).sum(-1) / 2 / POST[k]
        return (0.5 * (np.log(2 * np.pi * first) + (x0 - x0_hat) ** 2 / first)).sum(-1)

    declared = {"reverse_var": "posterior", "decoder": "gaussian"}
    row = check.run({"vlb_term": term}, beta=BETA, **declared).rows[0]
    note = "" if taken == "posterior" else "at t = 1 the variance is beta_1"
    assert (row.status, row.message) == ("PASS", note)


def test_what_is_right_too_is_so_where_it_can_stand():
    def notes(name, **conventions):
        return set(accepted(QUANTITIES[name], Conventions(**conventions)))

    tanh = "the normal distribution function by tanh, as in DDPM's code"
    assert notes("decoder_log_prob") == {tanh, "the mass of a bin clipped at 1e-12"}
    assert notes("decoder_log_prob", decoder="gaussian") == set()
    assert notes("marginal_mean") == notes("reverse_step") == set()
    assert len(notes("nll")) == len(notes("vlb_term")) == 11
    assert len(notes("nll", decoder="gaussian")) == 3


def test_forms_of_a_formula_are_distinct():
    for q in QUANTITIES.values():
        texts = [tree.text for tree in right(q, Conventions())]
        assert len(set(texts)) == len(texts)
        assert len(texts) <= q.formula.count(";") + 1


def test_another_choice_of_model_than_is_declared_is_named():
    def mean_of(xt, t, x0):
        k = t - 1
        kept = np.sqrt(1 - BETA[k]) * (1 - PREV[k])
        return (np.sqrt(PREV[k]) * BETA[k] * x0 + kept * xt) / (1 - ABAR[k])

    def sampled(var):
        return lambda xt, t, output, noise: (
            mean_of(xt, t, output) + (t > 1) * np.sqrt(var[t - 1]) * noise
        )

    row = check.run({"p_sample": sampled(POST)}, beta=BETA, reverse_var="posterior").rows[0]
    assert row.diagnoses == ("model='x0', not 'eps' as declared",)
    row = check.run(
        {"p_sample": sampled(BETA)}, beta=BETA, reverse_var="posterior", model="x0"
    ).rows[0]
    assert row.diagnoses == ("reverse_var='beta', not 'posterior' as declared",)
    passes("p_sample", sampled(BETA), reverse_var="beta", model="x0")

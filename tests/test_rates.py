"""The diffusion rate: its gradient against complex steps and mpmath, coordinates, learning."""

from functools import partial

import mpmath_oracle
import naive_training
import numpy as np
import pytest
from numpy.random import default_rng

from dpm_ref import BinomialDiffusion, GaussianDiffusion, bounds, data, schedules, training
from dpm_ref.reverse import BinomialReverse, GaussianReverse

EXACT = 1e-12
SCHEDULES = {
    "steep": [0.1, 0.2, 0.3, 0.4],
    "tiny, then large": [1e-6, 1e-4, 0.5, 0.95],
    "large, then small": [0.3, 0.9, 1e-3, 1e-2],
    "one step": [0.2, 0.7],
    "log-SNR linear": schedules.log_snr_linear(7, beta1=1e-5, abar_T=0.01).tolist(),
    "cosine": schedules.cosine(9).tolist(),
}


class Column(naive_training.Gaussian):
    """The textbook's Gaussian column of complex rates; 1 - abar from positive terms."""

    def __init__(self, beta):
        self.beta, self.T, self.abar = [None, *beta], len(beta), [1.0]
        self.one_minus_abar = [0.0]
        for rate in beta:
            self.one_minus_abar.append(self.one_minus_abar[-1] + self.abar[-1] * rate)
            self.abar.append(self.abar[-1] * (1 - rate))


def case(name, t=None, seed=0):
    """The model, the textbook's network, parameters, x0, t and noise."""
    beta, rng = np.array(SCHEDULES[name]), default_rng(seed)
    t = np.arange(2, len(beta) + 1)[:, None] if t is None else np.asarray(t)
    model = GaussianReverse(GaussianDiffusion(beta), 2, hidden=(3, 2))
    network = naive_training.Network.like(model.network)
    return (
        model,
        network,
        rng.standard_normal(network.size),
        rng.standard_normal((3, 2)),
        t,
        rng.standard_normal((len(t), 3, 2)),
    )


def by_complex_step(name, network, params, x0, t, noise, column=Column):
    beta = np.array(SCHEDULES[name])
    return naive_training.gradient(
        lambda b: naive_training.objective(column(b), network, params, x0, t, noise), beta
    )[1:]


@pytest.mark.parametrize("name", SCHEDULES)
def test_gradient_by_every_rate_agrees_with_complex_step(name):
    model, *rest = case(name)
    np.testing.assert_allclose(
        training.objective(model, *rest[1:]).beta, by_complex_step(name, *rest), rtol=EXACT, atol=0
    )


@pytest.mark.parametrize("t", [[[3]], [[4], [4]], [[2], [4], [2]]], ids=str)
def test_gradient_by_the_rates_counts_the_times_that_occur(t):
    model, *rest = case("steep", t)
    np.testing.assert_allclose(
        training.objective(model, *rest[1:]).beta,
        by_complex_step("steep", *rest),
        rtol=EXACT,
        atol=0,
    )


def test_value_that_is_differentiated_is_the_bound_s():
    model, network, params, x0, t, noise = case("cosine")
    truth = naive_training.objective(Column(SCHEDULES["cosine"]), network, params, x0, t, noise)
    assert training.objective(model, params, x0, t, noise).value == pytest.approx(
        truth, rel=EXACT, abs=0
    )


@pytest.mark.parametrize("spoil", ["frozen states", "frozen variances", "abar_t for abar_{t-1}"])
def test_a_path_left_out_is_noticed(spoil):
    class Spoiled(Column):
        def state(self, x0, noise, t):
            if spoil != "frozen states":
                return super().state(x0, noise, t)
            return np.sqrt(self.abar[t].real) * x0 + np.sqrt(self.one_minus_abar[t].real) * noise

        def coefficients(self, t):
            of_x0, of_xt, var = super().coefficients(t)
            if spoil == "abar_t for abar_{t-1}":
                of_x0 = np.sqrt(self.abar[t]) * self.beta[t] / self.one_minus_abar[t]
            return of_x0, of_xt, var.real if spoil == "frozen variances" else var

    model, *rest = case("steep")
    got, wrong = (
        training.objective(model, *rest[1:]).beta,
        by_complex_step("steep", *rest, column=Spoiled),
    )
    assert (np.abs(got / wrong - 1) > 1e-3).any()


def precise_bound(mp, beta, x0, noise, weights):
    """K of one component, at one draw for every t, with F = tanh(a x + b) and g = c x."""
    a, b, c = weights
    abar, variance = [mp.mpf(1)], [mp.mpf(0)]
    for rate in beta:
        variance.append(variance[-1] + abar[-1] * rate)
        abar.append(abar[-1] * (1 - rate))
    total, T = mp.mpf(0), len(beta)
    for t in range(2, T + 1):
        x = mp.sqrt(abar[t]) * x0 + mp.sqrt(variance[t]) * noise[t - 2]
        F, g = mp.tanh(a * x + b), c * x
        of_x0, var = (
            mp.sqrt(abar[t - 1]) * beta[t - 1] / variance[t],
            beta[t - 1] * variance[t - 1] / variance[t],
        )
        m, V = mp.sqrt(abar[t]) * x + mp.sqrt(variance[t]) * F, variance[t] * mp.exp(g)
        var_p = var + of_x0**2 * V
        total -= (mp.log(var_p / var) + (var + (of_x0 * (x0 - m)) ** 2) / var_p - 1) / 2
    total -= (abar[T] * x0**2 + variance[T] - 1 - mp.log(variance[T])) / 2
    return (
        total
        + (abar[1] * x0**2 + variance[1] - 1 - mp.log(variance[1])) / 2
        - (x0**2 + mp.log(2 * mp.pi)) / 2
    )


@pytest.mark.parametrize(
    "beta", [[1e-12, 1e-10, 1e-8, 0.5], [0.5, 1 - 1e-9, 1e-12, 0.1], [1e-300, 1e-3, 0.5]], ids=str
)
def test_gradient_holds_at_tiny_and_large_rates_by_mpmath(beta):
    with mpmath_oracle.mp.workdps(400):
        mp = mpmath_oracle.mp
        x0, noise, weights = 0.75, [0.5, -1.25, 0.25][: len(beta) - 1], (0.5, 0.25, -0.5)
        rates_, small = [mp.mpf(rate) for rate in beta], mp.mpf(10) ** -100
        truth = []
        for s in range(1, len(beta)):
            moved = [
                [r + sign * small * r * (k == s) for k, r in enumerate(rates_)] for sign in (1, -1)
            ]
            up, down = (
                precise_bound(
                    mp, each, mp.mpf(x0), [mp.mpf(z) for z in noise], [mp.mpf(w) for w in weights]
                )
                for each in moved
            )
            truth.append(float((up - down) / (2 * small * rates_[s])))
    model = GaussianReverse(
        GaussianDiffusion(beta),
        1,
        hidden=(1,),
        skip=True,
        basis=np.ones((len(beta) - 1, 1)),
        time_features=np.zeros((len(beta) - 1, 0)),
    )
    params, (a, b, c) = np.zeros(model.network.size), weights
    views = model.network.unpack(params)
    views["W1"][...], views["b1"][...], views["R"][0, 0, 0], views["S"][0, 1] = a, b, 1.0, c
    t = np.arange(2, len(beta) + 1)[:, None]
    got = training.objective(model, params, [x0], t, np.array(noise)[:, None, None]).beta
    np.testing.assert_allclose(got, truth, rtol=EXACT, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_the_derivative_is_summed_in_float64_whatever_the_parameters(dtype):
    model, _, params, *rest = case("steep")
    got, truth = (
        training.objective(model, params.astype(np.float32).astype(each), *rest).beta
        for each in (dtype, np.float64)
    )
    assert got.dtype == (np.complex128 if dtype == np.complex128 else np.float64)
    np.testing.assert_allclose(got, truth, rtol=1e-4 if dtype == np.float32 else EXACT, atol=0)


@pytest.mark.parametrize("beta", [[0.1, 0.2, 1.0], [0.1, 1.0]])
def test_a_rate_of_one_has_no_derivative(beta):
    model = GaussianReverse(GaussianDiffusion(beta), 1, hidden=(2,))
    assert (
        training.objective(model, model.network.init(rng=default_rng(0)), [1.0], 2, [0.5]).beta
        is None
    )


def test_bits_have_no_derivative_by_the_rates():
    model = BinomialReverse(BinomialDiffusion([0.1, 0.2]), 1, hidden=(2,))
    assert (
        training.objective(model, model.network.init(rng=default_rng(0)), [1], 2, [0.5]).beta
        is None
    )


# The coordinates


@pytest.mark.parametrize("name", SCHEDULES)
def test_coordinates_lead_back_to_the_schedule(name):
    beta = np.array(SCHEDULES[name])
    np.testing.assert_allclose(
        training.from_log_steps(training.log_steps(beta), beta[0]),
        beta,
        rtol=1e-6 if "tiny" in name else 1e-12,
        atol=0,
    )


def test_equal_steps_are_the_schedule_linear_in_the_log_ratio():
    beta = schedules.log_snr_linear(40, beta1=1e-5, abar_T=1e-3)
    assert np.ptp(training.log_steps(beta)) < 1e-10


def test_derivative_by_the_coordinates_agrees_with_complex_step():
    s, by_beta, beta1 = np.array([-1.0, 0.5, 1.5, -3.0]), np.array([1.0, -2.0, 0.5, 4.0]), 0.01

    def value(s):
        log_snr = np.log((1 - beta1) / beta1) - np.cumsum(np.exp(s))
        abar = 1 / (1 + np.exp(-log_snr))
        return by_beta @ (1 - abar / np.concatenate([[1 - beta1], abar[:-1]]))

    np.testing.assert_allclose(
        training._by_log_steps(s, beta1, by_beta),
        naive_training.gradient(value, s),
        rtol=EXACT,
        atol=0,
    )
    assert value(s) == pytest.approx(
        by_beta @ training.from_log_steps(s, beta1)[1:], rel=EXACT, abs=0
    )


@pytest.mark.parametrize("s", [[-40.0, 3.0, 3.0], [-5.0, -5.0, 3.5], [-600.0, 1.0]], ids=str)
def test_every_step_is_a_schedule(s):
    beta = training.from_log_steps(s, 1e-3)
    assert ((beta > 0) & (beta < 1)).all()
    assert beta[0] == 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: training.log_steps([0.1]), "beta must have shape"),
        (lambda: training.log_steps([0.1, 1.0]), "beta must have shape"),
        (
            lambda: training.log_steps([0.1, 1e-18]),
            "beta must change the log signal-to-noise ratio, got 1e-18 at index 1",
        ),
        (lambda: training.from_log_steps([np.nan], 0.1), "s must be finite"),
        (lambda: training.from_log_steps([], 0.1), "s must have shape"),
        (
            lambda: training.from_log_steps([0.0], 1.0),
            "beta1 must be one number strictly between 0 and 1",
        ),
        (
            lambda: training.from_log_steps([0.0, 800.0], 0.1),
            "s must be coordinates of rates strictly between 0 and 1, got 800.0 at index 1",
        ),
        (
            lambda: training.from_log_steps([-800.0], 0.1),
            "s must be coordinates of rates strictly between 0 and 1, got -800.0 at index 0",
        ),
        (lambda: training.from_log_steps([1e300], 0.1), "s must be coordinates"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# The climb


def small_model(beta):
    return GaussianReverse(GaussianDiffusion(beta), 1, hidden=(8,))


def climb(beta, steps, seed=0, rate=0.05, callback=None):
    rng, model = default_rng(seed), small_model(beta)
    x0, state, moving = (
        default_rng(1).choice([-1.0, 1.0], (500, 1)),
        training.start(model, rng=rng),
        training.start_rates(beta),
    )
    model = training.learn_rates(
        model,
        x0,
        state,
        moving,
        rng=rng,
        steps=steps,
        learning_rate=lambda _: 0.01,
        rate_learning_rate=lambda _: rate,
        batch=32,
        callback=callback,
        every=40,
    )
    return model, state, moving


def test_learning_the_rates_improves_a_poor_schedule_by_more_than_three_standard_errors():
    beta = np.array([0.01, 0.02, 0.02, 0.95])
    x0 = default_rng(2).choice([-1.0, 1.0], (4000, 1))
    K = []
    for rate in (0.0, 0.05):
        model, state, _ = climb(beta, 600, rate=rate)
        K.append(
            bounds.lower_bound(
                model.diffusion, model.kernel(state.params), x0, rng=default_rng(3)
            ).value
        )
    difference = K[1] - K[0]
    assert difference.mean() > 3 * difference.std(ddof=1) / np.sqrt(len(difference))
    assert difference.mean() > 0.1


def test_the_first_rate_stays_and_the_others_remain_rates():
    beta = np.array([0.01, 0.3, 0.3])
    model, _, moving = climb(beta, 80, rate=0.3)
    assert model.diffusion.beta[0] == 0.01
    assert (model.diffusion.beta[1:] != beta[1:]).all()
    assert moving.step == 5
    np.testing.assert_array_equal(
        model.diffusion.beta, training.from_log_steps(moving.params, 0.01)
    )


def test_a_climb_without_steps_changes_nothing():
    beta = np.array([0.01, 0.3, 0.3])
    model, state, moving = climb(beta, 0)
    np.testing.assert_allclose(model.diffusion.beta, beta, rtol=EXACT)
    assert (state.step, moving.step) == (0, 0)


def test_the_same_seed_climbs_the_same_way_to_the_bit():
    one, two = (climb(np.array([0.01, 0.3, 0.3]), 30) for _ in range(2))
    np.testing.assert_array_equal(one[0].diffusion.beta, two[0].diffusion.beta)
    np.testing.assert_array_equal(one[1].params, two[1].params)


def test_the_callback_hears_k_at_the_steps_asked_for():
    heard = []
    climb(np.array([0.01, 0.3, 0.3]), 90, callback=lambda state, K: heard.append((state.step, K)))
    assert [step for step, _ in heard] == [48, 80]  # turns of 16 steps
    assert all(np.isfinite(K) and K < 0 for _, K in heard)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": training.start_rates([0.1, 0.2])}, r"rates.params must have shape \(2,\)"),
        ({"x0": [1.0]}, r"x0 must have shape \(N, d\)"),
        ({"every": 0}, "every must be an integer >= 1"),
        ({"steps": -1}, "steps must be an integer >= 0"),
        ({"x0": [[30.0]]}, "x0 must have a mean square"),
        ({"rng": 0}, "rng must be a numpy.random.Generator"),
    ],
)
def test_learn_refuses_bad_input_by_name(change, message):
    model = small_model([0.1, 0.2, 0.3])
    call = {
        "x0": [[1.0]],
        "state": training.start(model, rng=default_rng(0)),
        "rates": training.start_rates([0.1, 0.2, 0.3]),
        "steps": 4,
        "rng": default_rng(0),
        "learning_rate": lambda _: 0.01,
        "rate_learning_rate": lambda _: 0.01,
    } | change
    with pytest.raises(ValueError, match=message):
        partial(training.learn_rates, model, call.pop("x0"), call.pop("state"), call.pop("rates"))(
            **call
        )


def test_rates_that_run_away_are_reported():
    with pytest.raises(FloatingPointError, match="try a smaller learning rate"):
        climb(np.array([0.01, 0.3, 0.3]), 60, rate=50.0)


def test_a_kernel_over_another_diffusion_is_that_of_a_model_made_for_it():
    one, other = small_model([0.1, 0.2, 0.3]), GaussianDiffusion([0.1, 0.4, 0.2])
    params = default_rng(0).standard_normal(one.network.size)
    moved, made = (
        one.over(other).kernel(params)([[0.5]], 3),
        small_model([0.1, 0.4, 0.2]).kernel(params)([[0.5]], 3),
    )
    np.testing.assert_array_equal([moved.mean, moved.var], [made.mean, made.var])
    np.testing.assert_array_equal(one.diffusion.beta, [0.1, 0.2, 0.3])
    with pytest.raises(
        ValueError, match="diffusion must be a GaussianDiffusion of T = 3 steps, got 2"
    ):
        one.over(GaussianDiffusion([0.1, 0.2]))


def test_the_roll_climbs_at_its_default_settings():
    beta, rng = np.concatenate([[1e-5], schedules.linear(9, first=0.01, last=0.6)]), default_rng(0)
    model = GaussianReverse(GaussianDiffusion(beta), 2, hidden=(16, 16), input_gain=4.0)
    x0, state, moving = (
        data.swiss_roll(2000, noise=0.1, rng=rng),
        training.start(model, rng=rng, dtype=np.float32),
        training.start_rates(beta),
    )
    model = training.learn_rates(
        model,
        x0,
        state,
        moving,
        rng=rng,
        steps=160,
        learning_rate=training.cosine_decay(0.012, 160),
        rate_learning_rate=training.cosine_decay(0.05, 160, warmup=20),
    )
    assert moving.step == 10
    assert np.isfinite(state.params).all()
    assert state.params.dtype == np.float32

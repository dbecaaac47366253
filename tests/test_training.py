"""Training: the gradient oracle against complex steps of a textbook bound, Adam against its
algorithm, the rates, and checkpoints.

A gradient cannot see an additive constant, so each comparison of gradients has one of values beside
it.
"""

import itertools
import json
import os
import re
import zipfile
from functools import partial

import mpmath_oracle
import naive_training
import numpy as np
import pytest
import statistics_budget
from numpy.random import default_rng
from scipy import stats

from dpm_ref import BinomialDiffusion, GaussianDiffusion, bounds, data, schedules, training
from dpm_ref.mlp import time_polynomials
from dpm_ref.reverse import BinomialReverse, GaussianReverse, SigmoidReverse
from dpm_ref.training import (
    Scaling,
    TrainingState,
    adam_step,
    cosine_decay,
    load,
    objective,
    save,
    start,
    train,
)

EPS = 2.0**-52
ROUNDING = 256 * EPS  # a few hundred terms of order one
EXACT = (
    1e-12  # the acceptance of gradients: a few thousand eps for a chain of a few hundred operations
)
ALARM = statistics_budget.alarm(12)  # comparisons in this file
BETA, PRIOR, T = [0.1, 0.2, 0.3, 0.4], [0.2, 0.7], 4

NETWORKS = {
    "one readout per time": {"hidden": (3, 2)},
    "time features": {"hidden": (3, 2), "time_features": [[-1.0, 0.5], [0.25, -0.5], [1.0, 0.75]]},
    "narrow basis": {"hidden": (3,), "basis": [[1.0, 0.0], [0.5, 0.25], [-0.25, 1.0]]},
    "features and basis": {
        "hidden": (2, 3, 2),
        "time_features": [[-1.0], [0.5], [1.0]],
        "basis": [[1.0], [0.5], [2.0]],
    },
    "skip": {"hidden": (3, 2), "skip": True},
    "skip and one readout": {"hidden": (3,), "basis": [[1.0], [1.0], [1.0]], "skip": True},
}
LAYOUTS = {  # shapes of x0 and of the noise, and t
    "one state": ((2,), (2,), 3),
    "t constant": ((5, 2), (5, 2), 2),
    "t per row": ((5, 2), (5, 2), [2, 4, 3, 3, 2]),
    "t per stack": ((4, 2), (3, 4, 2), [[2], [3], [4]]),
    "t twice the same": ((4, 2), (3, 4, 2), [[4], [2], [4]]),
    "t along the last axis": ((4, 2), (3, 4, 2), [3, 2, 4, 4]),
    "t everywhere": ((2, 2), (3, 2, 2), [[2, 3], [4, 4], [3, 2]]),
    "one x0 for all": ((2,), (3, 4, 2), [[2], [3], [4]]),
    "one x0 for each stack": ((3, 1, 2), (3, 4, 2), [[2], [3], [4]]),
    "one x0 for all, with axes": ((1, 1, 2), (2, 3, 2), [2, 3, 4]),
}
networks, layouts = (
    pytest.mark.parametrize("name", NETWORKS),
    pytest.mark.parametrize("layout", LAYOUTS),
)
BITS = {  # the binomial kernels, and their textbook columns
    "binomial": (BinomialReverse, naive_training.Binomial),
    "sigmoid": (SigmoidReverse, naive_training.Sigmoid),
    "sigmoid from forward": (
        partial(SigmoidReverse, from_forward=True),
        partial(naive_training.Sigmoid, from_forward=True),
    ),
}
columns = pytest.mark.parametrize("column", ["gaussian", *BITS])


def tiny(column, name="one readout per time", beta=BETA, seed=1):
    """The model, its textbook column and network, and parameters of order one."""
    if column == "gaussian":
        model, truth = (
            GaussianReverse(GaussianDiffusion(beta), 2, **NETWORKS[name]),
            naive_training.Gaussian(beta),
        )
    else:
        kernel, column = BITS[column]
        model, truth = (
            kernel(BinomialDiffusion(beta, PRIOR), 2, **NETWORKS[name]),
            column(beta, PRIOR),
        )
    network = naive_training.Network.like(model.network)
    return model, truth, network, default_rng(seed).standard_normal(network.size)


def inputs(column, layout="t per stack", seed=2):
    """x0, t and noise."""
    shape, noise_shape, t = LAYOUTS[layout]
    rng = default_rng(seed)
    if column == "gaussian":
        return rng.standard_normal(shape), t, rng.standard_normal(noise_shape)
    return (rng.random(shape) < 0.5).astype(float), t, rng.random(noise_shape)


def assert_gradient(got, truth):
    """Within 1e-12 of the gradient's norm; and, entry by entry, of every entry that is not itself a
    thousandth of the largest.
    """
    norm, large = np.linalg.norm(truth), np.abs(truth) > 1e-3 * np.abs(truth).max(initial=0.0)
    assert got.shape == truth.shape
    assert (np.abs(got - truth) <= EXACT * norm).all()
    assert (np.abs(got - truth)[large] <= EXACT * np.abs(truth)[large]).all()
    assert not got[truth == 0].any()  # readouts of times that do not occur


# The gradient oracle, entry by entry


@columns
@layouts
def test_gradient_by_parameters_agrees_with_complex_step_for_every_layout(column, layout):
    model, truth, network, params = tiny(column)
    x0, t, noise = inputs(column, layout)
    step = naive_training.gradient(
        lambda p: naive_training.objective(truth, network, p, x0, t, noise), params
    )
    got, step = network.named(objective(model, params, x0, t, noise).params), network.named(step)
    for name in step:
        assert_gradient(got[name], step[name])


@columns
@networks
def test_gradient_by_parameters_agrees_with_complex_step_for_every_network(column, name):
    model, truth, network, params = tiny(column, name)
    x0, t, noise = inputs(column, "t twice the same")
    step = naive_training.gradient(
        lambda p: naive_training.objective(truth, network, p, x0, t, noise), params
    )
    got, step = network.named(objective(model, params, x0, t, noise).params), network.named(step)
    for part in step:
        assert_gradient(got[part], step[part])


@columns
@pytest.mark.parametrize(
    "beta",
    [[0.3, 0.9, 0.01, 1.0], [1e-4, 1e-3, 0.5, 0.5]],
    ids=["a last step that forgets", "small first steps"],
)
def test_gradient_by_parameters_agrees_with_complex_step_for_other_schedules(column, beta):
    model, truth, network, params = tiny(column, beta=beta)
    x0, t, noise = inputs(column)
    step = naive_training.gradient(
        lambda p: naive_training.objective(truth, network, p, x0, t, noise), params
    )
    got = objective(model, params, x0, t, noise).params
    assert np.abs(got - step).max() <= EXACT * np.linalg.norm(step)


@layouts
def test_gradient_by_x0_agrees_with_complex_step_for_every_layout(layout):
    model, truth, network, params = tiny("gaussian")
    x0, t, noise = inputs("gaussian", layout)
    assert_gradient(
        objective(model, params, x0, t, noise).x0,
        naive_training.gradient(
            lambda moved: naive_training.objective(truth, network, params, moved, t, noise), x0
        ),
    )


@layouts
def test_gradient_by_noise_agrees_with_complex_step_for_every_layout(layout):
    model, truth, network, params = tiny("gaussian")
    x0, t, noise = inputs("gaussian", layout)
    assert_gradient(
        objective(model, params, x0, t, noise).noise,
        naive_training.gradient(
            lambda moved: naive_training.objective(truth, network, params, x0, t, moved), noise
        ),
    )


@networks
def test_gradients_by_x0_and_noise_agree_with_complex_step_for_every_network(name):
    model, truth, network, params = tiny("gaussian", name)
    x0, t, noise = inputs("gaussian", "t twice the same")
    got = objective(model, params, x0, t, noise)
    assert_gradient(
        got.x0,
        naive_training.gradient(
            lambda moved: naive_training.objective(truth, network, params, moved, t, noise), x0
        ),
    )
    assert_gradient(
        got.noise,
        naive_training.gradient(
            lambda moved: naive_training.objective(truth, network, params, x0, t, moved), noise
        ),
    )


@pytest.mark.parametrize("column", BITS)
def test_bits_have_no_gradient(column):
    model, _, _, params = tiny(column)
    got = objective(model, params, *inputs(column))
    assert (got.x0, got.noise) == (None, None)


# The gradient oracle of a network of the size that is trained, along random directions


def large(column):
    """3 x 64 units, T = 40: the swiss roll's network, every time twice."""
    keywords = {"hidden": (64, 64, 64), "time_features": time_polynomials(40, 2)}
    rng = default_rng(3)
    if column == "gaussian":
        beta = schedules.log_snr_linear(40, beta1=1e-5, abar_T=1e-3)
        model, truth = (
            GaussianReverse(GaussianDiffusion(beta), 2, **keywords),
            naive_training.Gaussian(beta.tolist()),
        )
        x0, noise = rng.standard_normal((2, 2)), rng.standard_normal((39, 2, 2))
    else:
        beta = schedules.constant_erasure(40)
        kernel, column = BITS[column]
        model, truth = kernel(BinomialDiffusion(beta, PRIOR), 2, **keywords), column(beta, PRIOR)
        x0, noise = np.array([[1.0, 0.0], [1.0, 1.0]]), rng.random((39, 2, 2))
    network = naive_training.Network.like(model.network)
    scale = {"R": 1 / 8, "W2": 1 / 8, "W3": 1 / 8}  # 1 / sqrt(64): activations of order one
    named = [
        scale.get(name, 1.0) * rng.standard_normal(shape) for name, shape in network.shapes.items()
    ]
    params = np.concatenate([part.ravel() for part in named])
    return model, truth, network, params, x0, np.arange(2, 41)[:, None], noise


@columns
@pytest.mark.slow
def test_gradient_by_parameters_of_a_large_network_agrees_along_random_directions(column):
    """One block of parameters at a time, relative to the norm of that block's gradient."""
    model, truth, network, params, x0, t, noise = large(column)
    grad, rng = objective(model, params, x0, t, noise).params, default_rng(4)
    for name in network.shapes:
        direction = np.zeros(network.size)
        block = network.named(direction)[name]
        block[...] = rng.standard_normal(block.shape) / np.sqrt(block.size)
        step = naive_training.slope(
            lambda p: naive_training.objective(truth, network, p, x0, t, noise), params, direction
        )
        assert abs(grad @ direction - step) <= EXACT * np.linalg.norm(
            network.named(grad)[name]
        ) * np.linalg.norm(direction), name


@columns
def test_value_of_a_large_network_is_the_textbook_bound(column):
    model, truth, network, params, x0, t, noise = large(column)
    value = naive_training.objective(truth, network, params, x0, t, noise)
    assert objective(model, params, x0, t, noise).value == pytest.approx(value, rel=EXACT, abs=0)


def test_gradients_by_x0_and_noise_of_a_large_network_agree_along_random_directions():
    model, truth, network, params, x0, t, noise = large("gaussian")
    got, rng = objective(model, params, x0, t, noise), default_rng(5)
    for _ in range(2):
        along = rng.standard_normal(x0.shape)
        step = naive_training.slope(
            lambda moved: naive_training.objective(truth, network, params, moved, t, noise),
            x0,
            along,
        )
        assert abs((got.x0 * along).sum() - step) <= EXACT * np.linalg.norm(
            got.x0
        ) * np.linalg.norm(along)
        along = rng.standard_normal(noise.shape)
        step = naive_training.slope(
            lambda moved: naive_training.objective(truth, network, params, x0, t, moved),
            noise,
            along,
        )
        assert abs((got.noise * along).sum() - step) <= EXACT * np.linalg.norm(
            got.noise
        ) * np.linalg.norm(along)


# The test of the test


@pytest.mark.parametrize(
    "slip",
    [
        lambda c: {"abar": [1.0, *c.abar[:-1]]},  # abar_{t-1} for abar_t
        lambda c: {
            "one_minus_abar": [x**0.5 for x in c.one_minus_abar]
        },  # a standard deviation for a variance
        lambda c: {
            "T": 5,
            "abar": [*c.abar, c.abar[4]],
            "one_minus_abar": [*c.one_minus_abar, c.one_minus_abar[4]],
        },  # T terms where there are T - 1
        lambda c: {"beta": [None, *c.beta[:0:-1]]},  # another order of the steps
    ],
    ids=["abar shifted", "std for var", "T for T - 1", "beta reversed"],
)
def test_a_deliberate_slip_is_far_outside_the_tolerance(slip):
    model, truth, network, params = tiny("gaussian")
    x0, t, noise = inputs("gaussian")
    vars(truth).update(slip(truth))
    along = default_rng(6).standard_normal(params.shape)
    step = naive_training.slope(
        lambda p: naive_training.objective(truth, network, p, x0, t, noise), params, along
    )
    assert abs(objective(model, params, x0, t, noise).params @ along - step) > 1e-3 * abs(step)


# Values


@columns
@layouts
def test_value_is_the_textbook_bound_at_the_same_noise(column, layout):
    model, truth, network, params = tiny(column)
    x0, t, noise = inputs(column, layout)
    value = naive_training.objective(truth, network, params, x0, t, noise)
    assert objective(model, params, x0, t, noise).value == pytest.approx(value, rel=ROUNDING, abs=0)


@columns
@networks
def test_value_is_fixed_terms_minus_the_divergences_of_the_kernel_s_laws(column, name):
    model, _, _, params = tiny(column, name)
    x0, _, noise = inputs(column)
    kernel, diffusion, total = (
        model.kernel(params),
        model.diffusion,
        bounds.fixed_terms(model.diffusion, x0).mean(),
    )
    for t in (2, 3, 4):
        xt = diffusion.marginal(x0, t).at(noise[t - 2])
        total -= diffusion.posterior(x0, xt, t).kl(kernel(xt, t)).mean()
    assert objective(model, params, x0, [[2], [3], [4]], noise).value == pytest.approx(
        total, rel=ROUNDING, abs=0
    )


@columns
def test_value_is_the_lower_bound_in_expectation(column):
    """200 groups of 100 draws of each; the power line has one divergence too many in twenty."""
    model, _, _, params = tiny(column, seed=7)
    x0, rng, n = np.array([1.0, 0.0]), statistics_budget.seed(8), 100
    noises = (model.diffusion.law.noise((3, n, 2), rng=rng) for _ in range(200))
    values = [objective(model, params, x0, [[2], [3], [4]], noise).value for noise in noises]
    K = bounds.lower_bound(
        model.diffusion, model.kernel(params), np.broadcast_to(x0, (200 * n, 2)), rng=rng
    )
    groups, kl = K.value.reshape(200, n).mean(1), K.kl.sum(0).mean()
    assert stats.ttest_ind(values, groups, equal_var=False).pvalue > ALARM
    assert (
        stats.ttest_ind(values - 0.05 * kl, groups, equal_var=False).pvalue
        < ALARM
    )


@columns
def test_objective_is_the_mean_over_all_subsets_of_times(column):
    """A minibatch of two of the three times is unbiased: the T - 1 counts the terms, not those
    drawn.
    """
    model, _, _, params = tiny(column)
    x0, _, noise = inputs(column)
    full = objective(model, params, x0, [[2], [3], [4]], noise)
    parts = [
        objective(model, params, x0, np.array(times)[:, None], noise[np.array(times) - 2])
        for times in itertools.combinations((2, 3, 4), 2)
    ]
    assert np.mean([part.value for part in parts]) == pytest.approx(full.value, rel=ROUNDING, abs=0)
    np.testing.assert_allclose(
        np.mean([part.params for part in parts], axis=0), full.params, rtol=0, atol=ROUNDING
    )


@columns
def test_objective_writes_to_none_of_its_inputs(column):
    model, _, _, params = tiny(column)
    arrays = [params, *map(np.array, inputs(column))]
    for array in arrays:
        array.flags.writeable = False
    assert np.isfinite(objective(model, *arrays).value)


@columns
def test_objective_has_the_same_bits_whatever_the_memory_layout(column):
    model, _, _, params = tiny(column)
    rng = default_rng(2)  # of twelve seeds one whose sums did depend on the layout
    x0, noise = (rng.random((3, 333, 2)) < 0.5).astype(float), rng.random((3, 333, 2))
    one = objective(model, params, x0, [[2], [3], [3]], noise)
    F = np.asfortranarray
    other = objective(model, params, F(x0), [[2], [3], [3]], F(noise))
    for got, truth in zip(other, one, strict=True):
        assert np.array_equal(got, truth)


@pytest.mark.parametrize("shape", [(30, 2), (40, 1, 2), (2,)])
@pytest.mark.parametrize("seed", [2, 5, 8, 11])
def test_the_gradient_has_the_same_bits_for_an_x0_that_is_repeated(shape, seed):
    model, _, _, params = tiny("gaussian")
    rng = default_rng(seed)
    x0, noise = rng.standard_normal(shape), rng.standard_normal((40, 30, 2))
    t = rng.integers(2, T + 1, (40, 30))
    one = objective(model, params, x0, t, noise)
    other = objective(model, params, np.broadcast_to(x0, noise.shape).copy(), t, noise)
    for name in ("params", "noise", "beta"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


@columns
def test_objective_is_deterministic(column):
    model, _, _, params = tiny(column)
    first, second = (objective(model, params, *inputs(column)).params for _ in range(2))
    assert first.tobytes() == second.tobytes()


@columns
def test_objective_in_float32_is_that_in_float64_rounded(column):
    model, _, _, params = tiny(column)
    single, double = (
        objective(model, params.astype(dtype), *inputs(column))
        for dtype in (np.float32, np.float64)
    )
    assert single.params.dtype == np.float32
    if column == "gaussian":
        assert single.noise.dtype == np.float32
    np.testing.assert_allclose(
        single.params, double.params, rtol=0, atol=ROUNDING * 2.0**29
    )  # as ROUNDING, in float32's eps


# Adam and the learning rate


def test_adam_is_algorithm_1():
    """Gradients over sixteen orders of magnitude, and a zero; a moving rate."""
    rng = default_rng(9)
    begin, grads = (
        rng.standard_normal(6),
        rng.standard_normal((20, 6)) * 10.0 ** np.array([-12, -8, -4, 0, 4, 0]),
    )
    grads[:, 5] = 0.0
    rates = 0.01 / np.arange(1, 21)
    state = TrainingState(begin.copy(), np.zeros(6), np.zeros(6))
    for grad, rate in zip(grads, rates, strict=True):
        adam_step(state, -grad, rate)  # up the gradient, where the algorithm goes down
    truth = [float(naive_training.adam(b, g, rates)) for b, g in zip(begin, grads.T, strict=True)]
    np.testing.assert_allclose(
        state.params, truth, rtol=0, atol=ROUNDING
    )  # twenty steps of a few roundings each


def test_adam_counts_its_steps():
    state = TrainingState(np.zeros(2), np.zeros(2), np.zeros(2), step=5)
    adam_step(state, np.ones(2), 0.1)
    assert state.step == 6


def test_the_first_step_of_adam_is_the_rate_in_size():
    state = TrainingState(np.zeros(2), np.zeros(2), np.zeros(2))
    adam_step(state, np.array([3.0, -1e-3]), 0.25)
    np.testing.assert_allclose(state.params, [0.25, -0.25], rtol=1e-4)  # but for epsilon = 1e-8


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_adam_refuses_a_rate_that_is_not_finite_and_changes_nothing(wrong):
    state = TrainingState(np.zeros(2), np.zeros(2), np.zeros(2))
    with pytest.raises(FloatingPointError, match=f"learning_rate is {wrong} after 0 steps"):
        adam_step(state, np.ones(2), wrong)
    assert (state.step, *state.params, *state.mean, *state.square) == (0,) * 7


@pytest.mark.parametrize("shape", [(1,), (3,), ()])
def test_adam_refuses_a_gradient_of_another_shape(shape):
    state = TrainingState(np.zeros(2), np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match=r"grad must have the parameters' shape \(2,\), got shape"):
        adam_step(state, np.ones(shape), 0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_whose_square_overflows_is_an_error_and_leaves_the_state(dtype):
    state = TrainingState(*np.ones((3, 2), dtype))
    large = np.array([1.0, 30 * np.sqrt(np.finfo(dtype).max)], dtype)
    with pytest.raises(FloatingPointError, match="gradient's square is inf after 0 steps; try a"):
        adam_step(state, large, 0.1)
    assert state.step == 0
    assert all((vector == 1).all() for vector in (state.params, state.mean, state.square))
    adam_step(state, large / 1000, 0.1)
    assert np.isfinite(state.square).all()


def test_cosine_decay_rises_over_two_hundred_steps_by_default():
    rate = cosine_decay(1.0, 10**9)
    assert [rate(step) for step in (0, 99, 199, 250)] == pytest.approx([0.005, 0.5, 1.0, 1.0])


@pytest.mark.parametrize(
    ("step", "truth"),
    [
        (0, 0.02),
        (1, 0.02 * (1 + np.cos(0.01 * np.pi))),
        (3, 0.04 * (1 + np.cos(0.03 * np.pi))),
        (4, 0.05 * (1 + np.cos(0.04 * np.pi))),
        (25, 0.05 * (1 + np.sqrt(0.5))),
        (50, 0.05),
        (75, 0.05 * (1 - np.sqrt(0.5))),
        (100, 0.0),
        (1000, 0.0),
    ],
)
def test_cosine_decay_rises_over_the_warmup_and_falls_to_zero(step, truth):
    assert cosine_decay(0.1, 100, warmup=5)(step) == pytest.approx(truth, rel=8 * EPS, abs=EPS)


# Training


class Recorder:
    """A model that notes every x0, t and noise that training draws, and the parameters that it
    draws them for.
    """

    def __init__(self, model):
        self.model, self.drawn = model, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def draw(self, x0, t, noise):
        self.drawn.append((x0.copy(), t.copy(), noise.copy()))
        return self.model.draw(x0, t, noise)


def dataset(column, n=40):
    rng = default_rng(10)
    return (
        rng.standard_normal((n, 2))
        if column == "gaussian"
        else (rng.random((n, 2)) < 0.5).astype(float)
    )


def rate(step):
    return 0.01 / (1 + step)


def run(model, column, steps=6, *, seed=11, dtype=np.float64, state=None, rng=None, **keywords):
    state = start(model, rng=default_rng(seed), dtype=dtype) if state is None else state
    return train(
        model,
        dataset(column),
        state,
        rng=default_rng(seed) if rng is None else rng,
        steps=steps,
        learning_rate=rate,
        **keywords,
    )


@columns
@pytest.mark.parametrize("n_times", [None, 1, 2, 3])
def test_training_is_adam_down_the_oracle_s_gradient_at_what_was_drawn(column, n_times):
    model = Recorder(tiny(column)[0])
    got = run(model, column, 5, n_times=n_times, batch=3)
    state = start(model.model, rng=default_rng(11))
    for k, (x0, t, noise) in enumerate(model.drawn):
        adam_step(state, objective(model.model, state.params, x0, t, noise).params, rate(k))
    np.testing.assert_allclose(
        got.params, state.params, rtol=0, atol=1e-9
    )  # Adam divides gradients near 0 by their own size


@columns
@pytest.mark.parametrize("n_times", [None, 2])
def test_callback_is_told_the_mean_of_the_oracle_s_values_since_it_was_last_called(column, n_times):
    model, before, told = Recorder(tiny(column)[0]), [], []
    state = start(model, rng=default_rng(12))
    rng = default_rng(13)
    for _ in range(7):  # the parameters before each step, by taking one step at a time
        before.append(state.params.copy())
        run(model, column, 1, state=state, rng=rng, n_times=n_times)
    values = [
        objective(model.model, params, *drawn).value
        for params, drawn in zip(before, model.drawn, strict=True)
    ]
    state = start(model, rng=default_rng(12))
    run(
        model,
        column,
        7,
        state=state,
        rng=default_rng(13),
        n_times=n_times,
        every=3,
        callback=lambda _, K: told.append(K),
    )
    np.testing.assert_allclose(told, [np.mean(values[:3]), np.mean(values[3:6])], rtol=ROUNDING)


def test_callback_after_an_interruption_is_told_a_mean_and_not_a_part_of_one():
    """Stopping between two calls must not make the next K look smaller than it is."""
    model, told = tiny("gaussian")[0], []
    state, rng = start(model, rng=default_rng(14)), default_rng(14)
    run(model, "gaussian", 5, state=state, rng=rng, every=10)
    after = TrainingState(state.params.copy(), state.mean.copy(), state.square.copy(), state.step)
    again = default_rng()
    again.bit_generator.state = rng.bit_generator.state
    run(model, "gaussian", 5, state=state, rng=rng, every=10, callback=lambda _, K: told.append(K))
    for _ in range(5):
        run(
            model,
            "gaussian",
            1,
            state=after,
            rng=again,
            every=1,
            callback=lambda _, K: told.append(K),
        )
    assert told[0] == pytest.approx(np.mean(told[1:]), rel=ROUNDING, abs=0)


@pytest.mark.parametrize(
    ("every", "calls"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6]), (7, [7]), (8, [])]
)
def test_callback_is_called_after_every_so_many_steps(every, calls):
    seen = []
    run(
        tiny("gaussian")[0],
        "gaussian",
        7,
        every=every,
        callback=lambda state, K: seen.append(state.step),
    )
    assert seen == calls


@columns
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_is_the_same_for_the_same_generator(column, dtype):
    first, second = (run(tiny(column)[0], column, dtype=dtype).params for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_training_draws_from_its_generator_only():
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002 - the global state
    run(tiny("gaussian")[0], "gaussian")
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002


@columns
def test_a_callback_that_saves_and_evaluates_does_not_move_the_generator(column, tmp_path):
    model, plain, busy = tiny(column)[0], default_rng(15), default_rng(15)

    def callback(state, K):
        save(tmp_path / "state", model, state, rng=busy)
        load(tmp_path / "state", model)
        objective(model, state.params, *inputs(column))
        model.kernel(state.params)(inputs(column)[0], 2)

    first, second = (
        run(model, column, rng=plain),
        run(model, column, rng=busy, every=1, callback=callback),
    )
    assert first.params.tobytes() == second.params.tobytes()
    assert plain.bit_generator.state == busy.bit_generator.state


@columns
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_keeps_its_dtype_through_training(column, dtype):
    state = run(tiny(column)[0], column, dtype=dtype)
    assert {state.params.dtype, state.mean.dtype, state.square.dtype} == {np.dtype(dtype)}


@columns
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_minibatches_have_the_dtype_of_the_parameters(column, dtype):
    model = Recorder(tiny(column)[0])
    run(model, column, dtype=dtype)
    assert {array.dtype for x0, _, noise in model.drawn for array in (x0, noise)} == {
        np.dtype(dtype)
    }


def test_training_updates_the_state_in_place_and_returns_it():
    model = tiny("gaussian")[0]
    state = start(model, rng=default_rng(16))
    assert run(model, "gaussian", state=state) is state


def test_a_callback_may_put_other_vectors_into_the_state():
    """As one that swaps in an average of the parameters does: the gradient is then theirs."""
    model = tiny("gaussian")[0]

    def rebind(state, K):
        state.params, state.mean = state.params.copy(), state.mean.copy()

    truth = run(model, "gaussian", callback=lambda state, K: None, every=1)
    got = run(model, "gaussian", callback=rebind, every=1)
    assert got.params.tolist() == truth.params.tolist()


def test_a_callback_may_change_the_dtype():
    """The minibatches drawn from then on are in float32 too."""
    model = Recorder(tiny("gaussian")[0])

    def narrow(state, K):
        for name in ("params", "mean", "square"):
            setattr(state, name, getattr(state, name).astype(np.float32))

    assert run(model, "gaussian", callback=narrow, every=2).params.dtype == np.float32
    assert {x0.dtype for x0, *_ in model.drawn[2:]} == {np.dtype(np.float32)}


def test_what_a_callback_puts_into_the_state_is_checked():
    def spoil(state, K):
        state.params = np.zeros(3)

    with pytest.raises(ValueError, match=r"state\.params must be a real floating-point vector"):
        fit(callback=spoil, every=1, steps=2)


def test_no_steps_change_nothing():
    model = tiny("gaussian")[0]
    before = start(model, rng=default_rng(11)).params.tobytes()
    assert run(model, "gaussian", 0).params.tobytes() == before


def test_data_is_not_written_to():
    model, data = tiny("gaussian")[0], dataset("gaussian")
    data.flags.writeable = False
    state = start(model, rng=default_rng(17))
    assert train(model, data, state, rng=default_rng(17), steps=2, learning_rate=rate).step == 2


def test_a_callback_that_writes_into_the_data_changes_nothing():
    model = GaussianReverse(GaussianDiffusion(BETA), 2, hidden=(3,))

    def learned(spoil):
        data = dataset("gaussian")

        def callback(state, K):
            data[:] = 9.0 if spoil else data

        rng, rates = default_rng(11), training.start_rates(BETA)
        state = start(model, rng=rng)
        training.learn_rates(
            model, data, state, rates, rng=rng, steps=48, learning_rate=0.01,
            rate_learning_rate=0.01, callback=callback, every=1,
        )
        return rates.params.tobytes()

    assert learned(True) == learned(False)


def test_minibatches_are_drawn_uniformly_with_replacement():
    model = Recorder(GaussianReverse(GaussianDiffusion([0.1, 0.2]), 1, hidden=(1,)))
    data = np.arange(8.0)[:, None] / 8
    train(
        model,
        data,
        start(model, rng=statistics_budget.seed(18)),
        rng=statistics_budget.seed(18),
        steps=10,
        batch=4000,
        learning_rate=lambda _: 0.0,
    )
    drawn = 8 * np.concatenate([x0[:, :2000].ravel() for x0, _, _ in model.drawn])
    counts, tilted = np.bincount(drawn.astype(int), minlength=8), np.array([0.9, 1.1] * 4)
    assert stats.chisquare(counts).pvalue > ALARM
    assert (
        stats.chisquare(counts, tilted * counts.mean()).pvalue < ALARM
    )  # power: one in ten off


def test_each_time_of_a_minibatch_has_data_of_its_own():
    """Of 400 pairs of draws from 1000 vectors, the same index at two times: one in a thousand,
    where one draw for all makes it each.
    """
    model = Recorder(GaussianReverse(GaussianDiffusion(BETA), 1, hidden=(1,)))
    train(
        model,
        np.arange(1000.0)[:, None] / 1000,
        start(model, rng=statistics_budget.seed(18)),
        rng=statistics_budget.seed(18),
        steps=1,
        batch=400,
        learning_rate=lambda _: 0.0,
    )
    x0 = model.drawn[0][0]
    assert x0.shape == (3, 400, 1)
    assert all((x0[s] == x0[r]).mean() < 0.05 for s, r in itertools.combinations(range(3), 2))


@pytest.mark.slow
def test_times_of_a_minibatch_are_distinct_and_every_subset_is_as_likely():
    model = Recorder(GaussianReverse(GaussianDiffusion(BETA), 1, hidden=(1,)))
    train(
        model,
        np.zeros((1, 1)),
        start(model, rng=statistics_budget.seed(19)),
        rng=statistics_budget.seed(19),
        steps=12_000,
        batch=1,
        n_times=2,
        learning_rate=lambda _: 0.0,
    )
    subsets = [tuple(sorted(t.ravel())) for _, t, _ in model.drawn]
    counts = [subsets.count(pair) for pair in ((2, 3), (2, 4), (3, 4))]
    assert sum(counts) == 12_000
    assert stats.chisquare(counts).pvalue > ALARM
    assert stats.chisquare(counts, [4600, 4000, 3400]).pvalue < ALARM  # power


@columns
def test_noise_of_a_minibatch_has_the_law_of_the_column_and_is_new_for_every_state(column):
    model = Recorder(tiny(column)[0])
    train(
        model,
        dataset(column),
        start(model, rng=statistics_budget.seed(20)),
        rng=statistics_budget.seed(20),
        steps=10,
        batch=5000,
        learning_rate=rate,
    )
    noise = np.concatenate([noise[:, :2500].ravel() for _, _, noise in model.drawn])
    assert len(np.unique(noise)) == 10 * 3 * 2500 * 2
    assert (
        stats.kstest(noise, "norm" if column == "gaussian" else "uniform").pvalue
        > ALARM
    )
    assert (
        stats.kstest(1.05 * noise, "norm" if column == "gaussian" else "uniform").pvalue
        < ALARM
    )  # power


@columns
@pytest.mark.parametrize("batch", [1, 2, 5, 8])
def test_the_second_half_of_a_minibatch_is_the_first_with_its_noise_mirrored(column, batch):
    model = Recorder(tiny(column)[0])
    run(model, column, 1, batch=batch)
    (x0, _, noise), half = model.drawn[0], (batch + 1) // 2
    partner = noise[:, : batch - half]
    assert x0.shape == noise.shape == (3, batch, 2)
    assert (x0[:, half:] == x0[:, : batch - half]).all()
    assert (noise[:, half:] == (-partner if column == "gaussian" else 1 - partner)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_times", [None, 2])
@pytest.mark.slow
def test_training_on_a_narrow_normal_comes_near_its_entropy(dtype, n_times):
    """N(0, 0.04) in one dimension: K starts at L_null = -0.939 and cannot on average exceed 0.190,
    minus the entropy.
    """
    model = GaussianReverse(GaussianDiffusion([0.02, 0.1, 0.3, 0.5, 0.7]), 1, hidden=(8,))
    data, rng = 0.2 * default_rng(21).standard_normal((4000, 1)), default_rng(22)
    state = train(
        model,
        data,
        start(model, rng=rng, dtype=dtype),
        rng=rng,
        steps=800,
        n_times=n_times,
        learning_rate=cosine_decay(0.03, 800, warmup=20),
    )
    chain = mpmath_oracle.GaussianChain([0.02, 0.1, 0.3, 0.5, 0.7], 0.0, 0.04)
    reversals = {t: chain.reversal(t) for t in range(2, 6)}
    best = np.mean(
        [float(chain.bound(x, reversals)) for x in data[:200, 0]]
    )  # K of the best kernel at the same data
    K = bounds.lower_bound(
        model.diffusion, model.kernel(state.params), data[:200], rng=rng, n_samples=200
    )
    assert best - 0.02 < K.value.mean() < best + 6 * np.sqrt((K.stderr**2).sum()) / 200


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.slow
def test_training_on_two_strings_of_bits_comes_near_their_entropy(dtype):
    """Three bits all alike: -K starts at 3 log 2, cannot be below log 2, and the schedule costs
    some of that.
    """
    data = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    beta = [0.01, 0.05, 0.1, 0.2, 0.3, 0.5]
    model, rng = BinomialReverse(BinomialDiffusion(beta), 3, hidden=(12,)), default_rng(23)
    state = train(
        model,
        data,
        start(model, rng=rng, dtype=dtype),
        rng=rng,
        steps=800,
        learning_rate=cosine_decay(0.03, 800, warmup=20),
    )
    chain = mpmath_oracle.BinaryChain({(0, 0, 0): 0.5, (1, 1, 1): 0.5}, beta, [0.5] * 3)
    best = best_factorised(chain)
    K = bounds.lower_bound(
        model.diffusion, model.kernel(state.params), np.repeat(data, 100, 0), rng=rng, n_samples=100
    )
    assert best - 0.02 < K.value.mean() < best + 6 * np.sqrt((K.stderr**2).sum()) / 200


def best_factorised(chain):
    """K at 000 of the factorised kernels that have the true reversal's marginals, by sums over all
    states.
    """
    reverses = {}
    for t in range(2, chain.tables.T + 1):
        true = chain.reversal(t)
        marginals = {
            y: [sum(true(x, y) for x in chain.states if x[i]) for i in range(3)]
            for y in chain.states
        }
        reverses[t] = lambda x, y, m=marginals: mpmath_oracle.vector_prob(
            x, [(p, 1 - p) for p in m[tuple(y)]]
        )
    x0 = (0, 0, 0)
    kl = sum(chain.expected_kl(x0, t, reverses[t]) for t in reverses)
    prior = {x: chain.pi(x) for x in chain.states}

    def to_prior(t):  # KL( q(x^t|x^0) || pi )
        return sum(
            weight * mpmath_oracle.mp.log(weight / prior[x])
            for x, weight in chain.given(x0, t).items()
        )

    return float(mpmath_oracle.mp.log(prior[x0]) + to_prior(1) - to_prior(chain.tables.T) - kl)


def test_a_sigmoid_whose_outputs_run_away_diverges_like_the_others():
    model = SigmoidReverse(BinomialDiffusion([0.1, 0.2, 0.3]), 2, hidden=(3,))
    state = start(model, rng=default_rng(24))
    with pytest.raises(FloatingPointError, match="try a smaller learning rate"):
        train(model, dataset("binomial"), state, rng=default_rng(24), steps=9, learning_rate=1e308)


@pytest.mark.parametrize(("steps", "every"), [(200, 100), (20, 100), (3, 2)])
def test_divergence_is_an_error_and_not_a_warning_whatever_the_callback_s_cadence(steps, every):
    model = tiny("gaussian")[0]
    with pytest.raises(FloatingPointError, match="try a smaller learning rate"):
        train(
            model,
            dataset("gaussian"),
            start(model, rng=default_rng(24)),
            rng=default_rng(24),
            steps=steps,
            every=every,
            learning_rate=lambda _: 1e200,
        )


def test_divergence_leaves_the_state_that_gave_it():
    model, states = tiny("gaussian")[0], []
    state = start(model, rng=default_rng(25))
    with pytest.raises(FloatingPointError, match="after 3 steps"):
        train(
            model,
            dataset("gaussian"),
            state,
            rng=default_rng(25),
            steps=9,
            learning_rate=lambda step: 1e200 if step == 2 else 1e-3,
            every=1,
            callback=lambda s, _: states.append(s.params.copy()),
        )
    assert state.params.tobytes() == states[2].tobytes()


@pytest.mark.parametrize("batch", [1, 4])
def test_parameters_that_the_last_step_spoils_are_an_error(batch):
    """A rate that is finite, but not its product with a step of float32."""
    model = tiny("gaussian")[0]
    state = start(model, rng=default_rng(25), dtype=np.float32)
    with (
        np.errstate(over="ignore"),
        pytest.raises(FloatingPointError, match=r"a parameter is (nan|inf) after 1 steps"),
    ):
        train(
            model,
            dataset("gaussian"),
            state,
            rng=default_rng(25),
            steps=1,
            batch=batch,
            learning_rate=lambda _: 1e39,
        )


def test_a_learning_rate_that_is_nan_is_an_error_at_the_step_that_asks_for_it():
    model, wrong = tiny("gaussian")[0], lambda step: np.nan if step == 2 else 1e-3
    state = start(model, rng=default_rng(25))
    with pytest.raises(ValueError, match="learning_rate must be finite, got nan"):
        train(model, dataset("gaussian"), state, rng=default_rng(25), steps=9, learning_rate=wrong)
    assert state.step == 2
    assert np.isfinite(state.params).all()


def test_a_number_is_a_constant_learning_rate():
    model, states = tiny("gaussian")[0], []
    for constant in (0.01, lambda _: 0.01):
        state = start(model, rng=default_rng(25))
        keywords = {"rng": default_rng(25), "steps": 3, "learning_rate": constant}
        states.append(train(model, dataset("gaussian"), state, **keywords).params.tobytes())
    assert states[0] == states[1]


class Enough(Exception):
    """Ends a training that was asked for more."""


def enough(state, K):
    raise Enough


@pytest.mark.parametrize(("steps", "warmup"), [(10, 1), (40, 4), (5000, 200)])
def test_the_default_learning_rate_is_a_cosine_to_the_last_of_these_steps(steps, warmup):
    model, states = tiny("gaussian")[0], []
    for rate_now in (None, cosine_decay(0.01, steps, warmup=warmup)):
        state = start(model, rng=default_rng(25))
        keywords = {"rng": default_rng(25), "steps": steps, "learning_rate": rate_now}
        with pytest.raises(Enough):
            train(model, dataset("gaussian"), state, callback=enough, every=10, **keywords)
        states.append(state.params.tobytes())
    assert states[0] == states[1]


def test_a_minibatch_has_32_states_to_a_time_and_the_callback_is_called_every_100_steps():
    model, heard = Recorder(tiny("gaussian")[0]), []
    train(
        model,
        dataset("gaussian"),
        start(model, rng=default_rng(25)),
        rng=default_rng(25),
        steps=200,
        callback=lambda state, K: heard.append(state.step),
    )
    assert {x0.shape for x0, _, _ in model.drawn} == {(3, 32, 2)}
    assert heard == [100, 200]


def test_a_learning_rate_of_zero_moves_nothing():
    model, state = tiny("gaussian")[0], start(tiny("gaussian")[0], rng=default_rng(25))
    before = state.params.copy()
    train(model, dataset("gaussian"), state, rng=default_rng(25), steps=3, learning_rate=0.0)
    np.testing.assert_array_equal(state.params, before)


def test_times_of_a_minibatch_do_not_repeat():
    model = Recorder(tiny("gaussian")[0])
    state = start(model, rng=default_rng(25))
    train(model, dataset("gaussian"), state, rng=default_rng(25), steps=60, n_times=2)
    assert all(t[0] < t[1] for _, t, _ in model.drawn)


@pytest.mark.parametrize(("T", "wanted"), [(20, 19), (41, 40), (100, 40)])
def test_a_minibatch_has_forty_times_or_all_by_default(T, wanted):
    model = Recorder(GaussianReverse(GaussianDiffusion(schedules.cosine(T)), 2, hidden=(1,)))
    run(model, "gaussian", 1)
    assert model.drawn[0][1].shape == (wanted, 1)


def test_a_callback_that_raises_leaves_a_state_from_which_training_resumes_to_the_bit():
    model = tiny("gaussian")[0]
    state, rng = start(model, rng=default_rng(11)), default_rng(11)

    def stop(state, K):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, "gaussian", 6, state=state, rng=rng, every=4, callback=stop)
    assert state.step == 4
    resumed = run(model, "gaussian", 2, state=state, rng=rng)
    assert resumed.params.tobytes() == run(model, "gaussian", 6).params.tobytes()


# The scale of the data


def test_scaling_gives_mean_zero_and_variance_one_and_leads_back():
    x = default_rng(40).standard_normal((1000, 2)) * [10.0, 0.1] + [3.0, -2.0]
    scaling = Scaling.of(x)
    z = scaling.to_model(x)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-13)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-13)
    np.testing.assert_allclose(scaling.to_data(z), x, rtol=0, atol=1e-13)


def test_log_jacobian_makes_a_density_of_the_data_s_own_units():
    """The prior's density of standardised data is a normal one of the data."""
    x = default_rng(41).standard_normal((50, 2)) * [10.0, 0.1] + [3.0, -2.0]
    scaling = Scaling.of(x)
    scaled = bounds.null_log_likelihood(GaussianDiffusion(BETA), scaling.to_model(x))
    truth = stats.norm.logpdf(x, scaling.mean, scaling.std).sum(1)
    np.testing.assert_allclose(scaled + scaling.log_jacobian, truth, rtol=0, atol=1e-12)


def test_a_component_that_is_constant_keeps_its_scale():
    scaling = Scaling.of([[1.0, 5.0], [3.0, 5.0]])
    assert scaling.std.tolist() == [1.0, 1.0]
    assert scaling.to_model([1.0, 5.0]).tolist() == [-1.0, 0.0]
    for n in range(2, 40):  # whose mean is rounded at some n
        assert Scaling.of(np.stack([np.full(n, 0.1), np.arange(n)], 1)).std[0] == 1.0


@pytest.mark.parametrize("value", [0.1, 1e-300, -1e300, 0.0])
@pytest.mark.parametrize("n", [1, 3, 10])
def test_a_constant_whose_mean_is_rounded_keeps_its_scale(value, n):
    assert Scaling.of(np.full((n, 1), value)).std.tolist() == [1.0]


def test_a_scale_below_all_float64_numbers_is_left_at_one():
    assert Scaling.of([[5e-324], [0.0]]).std.tolist() == [1.0]


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1.0, 1e155, 1.5e308])
def test_scale_of_the_smallest_and_largest_numbers_is_that_of_exact_arithmetic(size):
    column = [size * x for x in (1.0, -1.0, 0.25, 0.5)]
    scaling = Scaling.of(np.transpose([column, [1.0, 2.0, 3.0, 5.0]]))
    mp = mpmath_oracle.mp
    mean = mp.fsum(map(mp.mpf, column)) / 4
    std = mp.sqrt(mp.fsum((mp.mpf(x) - mean) ** 2 for x in column) / 4)
    assert scaling.mean[0] == pytest.approx(float(mean), rel=4 * EPS, abs=5e-324)
    assert scaling.std[0] == pytest.approx(float(std), rel=4 * EPS, abs=5e-324)


def test_scaling_has_the_same_bits_whatever_the_memory_layout():
    x = default_rng(42).standard_normal((1000, 3)) * [1.0, 10.0, 0.1] + 3.0
    one, other = Scaling.of(x), Scaling.of(np.asfortranarray(x))
    assert one.mean.tolist() == other.mean.tolist()
    assert one.std.tolist() == other.std.tolist()


def test_a_scaling_may_be_made_of_lists():
    scaling = Scaling([1.0, 2.0], [2.0, 4.0])
    assert scaling.to_model([3.0, 2.0]).tolist() == [1.0, 0.0]
    assert scaling.to_data([1.0, 0.0]).tolist() == [3.0, 2.0]
    assert scaling.log_jacobian == pytest.approx(-np.log(8.0))


@pytest.mark.parametrize(("least", "apart"), [(1e16, 2.0), (1.0, EPS)])
def test_a_scale_of_one_rounding_of_the_mean_is_right(least, apart):
    assert Scaling.of([[least, 0.0], [least + apart, 6.0]]).std.tolist() == [apart / 2, 3.0]


@pytest.mark.parametrize("call", ["to_model", "to_data"])
@pytest.mark.parametrize("x", [[[3.0]], [1.0, 2.0, 3.0], 3.0])
def test_scaling_refuses_vectors_of_other_components(call, x):
    scaling = Scaling.of([[1.0, 5.0], [2.0, 6.0]])
    with pytest.raises(ValueError, match=r"x must have (2 components|a last axis)"):
        getattr(scaling, call)(x)


@pytest.mark.parametrize(("scale", "shift"), [(10.0, 0.0), (1.0, 3.0), (10.0, 3.0), (1e200, 0.0)])
def test_data_far_from_the_prior_s_scale_are_refused_with_the_cure(scale, shift):
    x0 = scale * default_rng(43).standard_normal((100, 2)) + shift
    with pytest.raises(ValueError, match=r"x0 must have a mean square .* training\.Scaling"):
        fit(x0=x0)


def test_data_are_refused_by_the_scale_of_one_component():
    x0 = default_rng(43).standard_normal((100, 2)) * [0.1, 2.5]
    with pytest.raises(ValueError, match="x0 must have a mean square"):
        fit(x0=x0)


@pytest.mark.parametrize("scale", [0.2, 1.0, 1.5])
def test_data_of_about_the_prior_s_scale_are_not_refused(scale):
    assert fit(x0=scale * default_rng(43).standard_normal((100, 2))).step == 1


def test_a_mean_square_of_four_is_the_most():
    assert fit(x0=np.array([[2.0, 0.0], [-2.0, 0.0]])).step == 1
    with pytest.raises(ValueError, match=r"at most 4 .*, got 4\.41; train on"):
        fit(x0=np.array([[2.1, 0.0], [-2.1, 0.0]]))


# The gradient by the rates


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


# The coordinates of the rates


@pytest.mark.parametrize("name", SCHEDULES)
def test_coordinates_lead_back_to_the_schedule(name):
    beta = np.array(SCHEDULES[name])
    np.testing.assert_allclose(
        training.from_log_steps(training.log_steps(beta), beta[0]),
        beta,
        rtol=1e-12,
        atol=0,
    )


@pytest.mark.parametrize(
    "beta",
    [
        [0.5, 1e-12, 0.3],
        [0.1, 1e-18, 1e-300],
        [1e-200, 1e-200, 0.9],
        [1e-300, 1.0 - 2.0**-53, 0.5],
        [0.5, 5e-324],
    ],
    ids=str,
)
def test_coordinates_keep_their_digits_however_short_or_long_a_step_is(beta):
    mp, times = mpmath_oracle.mp, range(1, len(beta) + 1)
    with mp.workdps(800):
        tables = mpmath_oracle.Tables(beta)
        log_snr = [mp.log(tables.abar(t) / tables.one_minus_abar(t)) for t in times]
        truth = [float(mp.log(a - b)) for a, b in itertools.pairwise(log_snr)]
    np.testing.assert_allclose(training.log_steps(beta), truth, rtol=4 * EPS, atol=4 * EPS)


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
        (lambda: training.from_log_steps([np.nan], 0.1), "s must be finite"),
        (lambda: training.from_log_steps([], 0.1), "s must have shape"),
        (
            lambda: training.from_log_steps([0.0], 1.0),
            "beta1 must be one number strictly between 0 and 1",
        ),
        (
            lambda: training.from_log_steps([0.0, 800.0], 0.1),
            "s must give rates strictly in .0, 1., got 800.0 at index .1,",
        ),
        (
            lambda: training.from_log_steps([-800.0], 0.1),
            "s must give rates strictly in .0, 1., got -800.0 at index .0,",
        ),
        (lambda: training.from_log_steps([1e300], 0.1), "s must give rates strictly"),
    ],
)
def test_bad_coordinates_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Learning the rates


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


def test_a_climb_resumes_to_the_bit_after_a_multiple_of_sixteen_steps():
    beta, rates = [0.1, 0.2, 0.3], {"learning_rate": 0.01, "rate_learning_rate": 0.05}
    ends = []
    for parts in ([64], [16, 48]):
        model, rng = small_model(beta), default_rng(3)
        state, learned = start(model, rng=rng), training.start_rates(beta)
        for steps in parts:
            training.learn_rates(model, [[0.5]], state, learned, rng=rng, steps=steps, **rates)
        ends.append((state.params.tolist(), learned.params.tolist()))
    assert ends[0] == ends[1]


def test_the_callback_hears_k_at_the_steps_asked_for():
    heard = []
    climb(np.array([0.01, 0.3, 0.3]), 90, callback=lambda state, K: heard.append((state.step, K)))
    assert [step for step, _ in heard] == [48, 80]  # turns of 16 steps
    assert all(np.isfinite(K) and K < 0 for _, K in heard)


def test_learning_is_sixteen_steps_of_the_network_to_one_of_the_rates_written_out():
    """At a rate of 0 for the rates, so that their derivative does not enter: the same numbers are
    drawn, the network is trained to the same bits, and the callback hears the mean of K.
    """
    beta, x0, heard, bounds_met = [0.1, 0.2, 0.3], default_rng(1).standard_normal((50, 1)), [], []
    model, rngs = small_model(beta), [default_rng(4), default_rng(4)]
    states = [training.start(model, rng=default_rng(5)) for _ in range(2)]
    training.learn_rates(
        model,
        x0,
        states[0],
        training.start_rates(beta),
        rng=rngs[0],
        steps=40,
        learning_rate=0.01,
        rate_learning_rate=0.0,
        batch=3,
        callback=lambda state, K: heard.append((state.step, K)),
        every=20,
    )
    again = training.from_log_steps(training.log_steps(beta), beta[0])
    model = model.over(GaussianDiffusion(again))
    for steps in (16, 16, 8):
        train(
            model, x0, states[1], rng=rngs[1], steps=steps, learning_rate=0.01, batch=3, n_times=2
        )
        half = x0[rngs[1].integers(50, size=(2, 3))]
        noise = rngs[1].standard_normal((2, 3, 1))
        chosen, noise = np.concatenate([half, half], 1), np.concatenate([noise, -noise], 1)
        met = objective(model, states[1].params, chosen, [[2], [3]], noise)
        bounds_met.append(float(met.value))
    assert (states[0].step, states[1].step) == (40, 40)
    np.testing.assert_array_equal(states[0].params, states[1].params)
    assert rngs[0].bit_generator.state == rngs[1].bit_generator.state
    assert [step for step, _ in heard] == [32, 40]
    assert [K for _, K in heard] == pytest.approx(
        [(bounds_met[0] + bounds_met[1]) / 2, bounds_met[2]], rel=EXACT
    )


def test_learning_draws_batches_of_32_and_calls_back_at_every_hundredth_step_by_default():
    beta, x0, ends, heard = [0.1, 0.2, 0.3], np.ones((2, 1)), [], []
    for more in ({}, {"batch": 32, "every": 100}):
        model, calls = small_model(beta), []
        state = training.start(model, rng=default_rng(6))
        training.learn_rates(
            model,
            x0,
            state,
            training.start_rates(beta),
            rng=default_rng(7),
            steps=400,
            learning_rate=0.001,
            rate_learning_rate=0.001,
            callback=lambda state, K, calls=calls: calls.append(state.step),
            **more,
        )
        ends.append(state.params)
        heard.append(calls)
    np.testing.assert_array_equal(*ends)
    assert heard == [[112, 208, 304, 400]] * 2


def test_the_network_is_trained_at_all_times_between_steps_of_the_rates(monkeypatch):
    asked, beta = [], np.full(45, 0.1)

    def told(*arguments, n_times=None, **keywords):
        asked.append(n_times)
        return train(*arguments, n_times=n_times, **keywords)

    monkeypatch.setattr(training, "train", told)
    climb(beta, 16)
    assert asked == [44]


def test_a_bound_that_is_not_finite_ends_the_climb(monkeypatch):
    def spoilt(*arguments):
        return objective(*arguments)._replace(value=np.float64("nan"))

    monkeypatch.setattr(training, "objective", spoilt)
    with pytest.raises(FloatingPointError, match="K is nan after 16 steps; try a smaller"):
        climb(np.array([0.01, 0.3, 0.3]), 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rates": training.start_rates([0.1, 0.2])},
            r"rates\.params must be a real floating-point vector of shape \(2,\), got shape \(1,\)",
        ),
        (
            {"rates": TrainingState(np.zeros(2), np.zeros(2), np.zeros(2), step=-1)},
            r"rates\.step must be an integer >= 0, got -1",
        ),
        (
            {"rates": TrainingState(np.zeros(2), np.zeros(1), np.zeros(2))},
            r"rates\.mean must be a real floating-point vector of shape \(2,\)",
        ),
        (
            {"rates": TrainingState(np.zeros(2), np.zeros(2), np.array([0.0, -1.0]))},
            r"rates\.square must not be negative, got -1\.0 at index \(1,\)",
        ),
        ({"learning_rate": None}, "learning_rate must be an array of real numbers, got None"),
        ({"rate_learning_rate": None}, "learning_rate must be an array of real numbers, got None"),
        ({"rates": [0.1, 0.2]}, r"rates must be a TrainingState, got \[0\.1, 0\.2\]"),
        ({"state": None}, "state must be a TrainingState, got None"),
        (
            {"model": BinomialReverse(BinomialDiffusion([0.1, 0.2, 0.3]), 1)},
            "model must be a GaussianReverse, got <dpm_ref.reverse.BinomialReverse",
        ),
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
        "model": model,
        "x0": [[1.0]],
        "state": training.start(model, rng=default_rng(0)),
        "rates": training.start_rates([0.1, 0.2, 0.3]),
        "steps": 4,
        "rng": default_rng(0),
        "learning_rate": lambda _: 0.01,
        "rate_learning_rate": lambda _: 0.01,
    } | change
    with pytest.raises(ValueError, match=message):
        training.learn_rates(**call)


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
        ValueError, match="diffusion must have T = 3 steps, got GaussianDiffusion"
    ):
        one.over(GaussianDiffusion([0.1, 0.2]))
    with pytest.raises(ValueError, match=r"diffusion must be a GaussianDiffusion, got 0\.5"):
        one.over(0.5)


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


# States on disk


BIT_GENERATORS = [
    np.random.PCG64,
    np.random.PCG64DXSM,
    np.random.MT19937,
    np.random.Philox,
    np.random.SFC64,
]


@pytest.mark.parametrize("bits", BIT_GENERATORS)
@columns
def test_training_resumes_bit_for_bit_after_any_step(column, bits, tmp_path):
    model, states = tiny(column)[0], []
    rng = np.random.Generator(bits(26))

    def callback(state, K):
        save(tmp_path / str(state.step), model, state, rng=rng)
        states.append(state.step)

    whole = run(model, column, 5, rng=rng, dtype=np.float32, n_times=2, every=1, callback=callback)
    for step in states:
        state, resumed = load(tmp_path / str(step), tiny(column)[0])
        run(model, column, 5 - step, state=state, rng=resumed, n_times=2)
        assert (state.params.tobytes(), state.mean.tobytes(), state.square.tobytes()) == (
            whole.params.tobytes(),
            whole.mean.tobytes(),
            whole.square.tobytes(),
        )
        assert (
            resumed.random(3).tolist()
            == np.random.Generator(copy_of(rng.bit_generator)).random(3).tolist()
        )


def copy_of(bits):
    other = type(bits)()
    other.state = bits.state
    return other


@columns
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_loaded_is_what_was_saved(column, dtype, tmp_path):
    model = tiny(column, "features and basis")[0]
    saved = run(model, column, dtype=dtype)
    save(tmp_path / "state", model, saved)
    state, rng = load(tmp_path / "state", model)
    assert all(
        getattr(state, name).tobytes() == getattr(saved, name).tobytes()
        for name in ("params", "mean", "square")
    )
    assert (state.params.dtype, state.step, rng) == (np.dtype(dtype), 6, None)


def test_a_large_state_is_loaded(tmp_path):
    model = GaussianReverse(GaussianDiffusion(schedules.constant_erasure(1000)), 2)
    state = start(model, rng=default_rng(0))
    save(tmp_path / "state", model, state)
    np.testing.assert_array_equal(load(tmp_path / "state", model)[0].params, state.params)
    assert (tmp_path / "state").stat().st_size > 600_000  # the vectors and the tables alike


def test_no_suffix_is_added(tmp_path):
    model = tiny("gaussian")[0]
    save(tmp_path / "state", model, start(model, rng=default_rng(27)))
    assert os.listdir(tmp_path) == ["state"]


def test_file_is_an_npz_of_flat_vectors_and_the_shapes_that_name_their_parts(tmp_path):
    model, _, network, _ = tiny("gaussian")
    state = run(model, "gaussian")
    save(str(tmp_path / "state.npz"), model, state)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as archive:
        assert json.loads(str(archive["shapes"])) == {k: list(v) for k, v in network.shapes.items()}
        for name in ("params", "mean", "square"):
            np.testing.assert_array_equal(archive[name], getattr(state, name))
        assert "allow_pickle" not in archive.files  # which NumPy 2.0 and 2.1 would store


class Stopped(BaseException):
    """Such as KeyboardInterrupt."""


def refuse(*args, **keywords):
    raise Stopped


@pytest.mark.parametrize(
    "where",
    [(os, "replace"), (np, "savez"), (json, "dumps")],
    ids=lambda where: where[1],
)
def test_a_save_that_fails_leaves_the_old_file(where, monkeypatch, tmp_path):
    model, path = tiny("gaussian")[0], tmp_path / "state"
    save(path, model, start(model, rng=default_rng(28)))
    before = path.read_bytes()
    monkeypatch.setattr(*where, refuse)
    with pytest.raises(Stopped):
        save(path, model, run(model, "gaussian"), rng=default_rng(29))
    assert path.read_bytes() == before


def test_a_save_that_stops_half_way_leaves_the_old_file(monkeypatch, tmp_path):
    model, path = tiny("gaussian")[0], tmp_path / "state"
    save(path, model, start(model, rng=default_rng(28)))
    before = path.read_bytes()

    def half(file, **arrays):
        file.write(b"PK\x03\x04 and then the power went")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="no space left"):
        save(path, model, run(model, "gaussian"))
    assert path.read_bytes() == before


def test_what_a_killed_save_left_is_replaced_by_the_next(tmp_path):
    model, path = tiny("gaussian")[0], tmp_path / "state"
    (tmp_path / "state.partial").write_bytes(b"PK and then kill -9")
    save(path, model, start(model, rng=default_rng(28)))
    assert os.listdir(tmp_path) == ["state"]
    assert load(path, model)[0].step == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"step": -5}, "state.step must be an integer >= 0, got -5"),
        ({"step": 2.5}, "state.step must be an integer >= 0, got 2.5"),
        ({"square": np.full(53, -1.0)}, "state.square must not be negative, got -1.0"),
        ({"mean": np.full(53, np.nan)}, "state.mean must be finite"),
        ({"mean": np.zeros(53, np.float32)}, "state.mean must have the dtype of all three"),
    ],
)
def test_save_refuses_what_load_refuses_and_keeps_the_good_file(spoil, message, tmp_path):
    model, path = tiny("gaussian", "narrow basis")[0], tmp_path / "state"
    size = model.network.size
    good = start(model, rng=default_rng(28))
    save(path, model, good)
    before = path.read_bytes()
    for name, value in spoil.items():
        setattr(good, name, value if np.ndim(value) == 0 else value[:size])
    with pytest.raises(ValueError, match=re.escape(message)):
        save(path, model, good)
    assert path.read_bytes() == before


def test_save_refuses_a_generator_that_load_would_not_know(tmp_path):
    class Mine(np.random.PCG64):
        pass

    model, path = tiny("gaussian")[0], tmp_path / "state"
    with pytest.raises(ValueError, match=r"rng's bit generator must be PCG64 or .*, got 'Mine'"):
        save(path, model, start(model, rng=default_rng(28)), rng=np.random.Generator(Mine()))
    assert not os.listdir(tmp_path)


def test_a_link_stays_a_link(tmp_path):
    model, link = tiny("gaussian")[0], tmp_path / "latest"
    (tmp_path / "there").mkdir()
    link.symlink_to(tmp_path / "there" / "state")
    save(link, model, start(model, rng=default_rng(28)))
    assert link.is_symlink()
    assert os.listdir(tmp_path / "there") == ["state"]
    assert load(link, model)[0].step == 0


def test_saving_where_there_is_no_directory_is_an_os_error(tmp_path):
    model = tiny("gaussian")[0]
    with pytest.raises(OSError, match="No such file"):
        save(tmp_path / "nowhere" / "state", model, start(model, rng=default_rng(30)))


def test_loading_what_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        load(tmp_path / "nothing", tiny("gaussian")[0])


def rewritten(path, **changes):
    """The file with some arrays replaced, or left out where None."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive.items()) | changes
    with open(path, "wb") as file:
        np.savez(file, **{name: value for name, value in arrays.items() if value is not None})


def random_state(**changes):
    return np.array(json.dumps(default_rng(31).bit_generator.state | changes))


def mersenne(position, key=(1, 2) * 312):
    return random_state(bit_generator="MT19937", state={"key": list(key), "pos": position})


def philox(position):
    state = {"counter": [0] * 4, "key": [0] * 2}
    more = {"buffer": [0] * 4, "buffer_pos": position}
    return random_state(bit_generator="Philox", state=state, **more)


NO_STATE = "must be an npz file of this model's state"


SIZE = GaussianReverse(GaussianDiffusion(BETA), 2, hidden=(3,)).network.size
CHANGED = {
    "a name missing": ({"params": None}, "1 required positional argument: 'params'"),
    "a name too many": ({"W9": np.zeros(2)}, "got an unexpected keyword argument 'W9'"),
    "no step": ({"step": None}, "npz file of this model's state: 'step'"),
    "no generator": ({"rng": None}, "npz file of this model's state"),
    "no schedule": ({"beta": None}, "npz file of this model's state"),
    "another format": (
        {"format": np.array("dpm_ref training state 2")},
        "format must be this model's, got array('dpm_ref training state 2'",
    ),
    "no format": ({"format": None}, "npz file of this model's state"),
    "a short vector": ({"mean": np.zeros(4)}, "state.mean must be"),
    "a long vector": ({"mean": np.zeros(10**6)}, "state.mean must be"),
    "a matrix": ({"mean": np.zeros((1, SIZE))}, "state.mean must be"),
    "one vector in float32": (
        {"mean": np.zeros(SIZE, np.float32)},
        "state.mean must have the dtype",
    ),
    "all in float16": (
        dict.fromkeys(("params", "mean", "square"), np.zeros(SIZE, np.float16)),
        "state.params must have the dtype of all three vectors, float32 or float64, got 'float16'",
    ),
    "a vector of integers": (
        {"mean": np.zeros(SIZE, int)},
        "state.mean must have the dtype of all three vectors, float32 or float64, got 'int64'",
    ),
    "complex numbers": ({"mean": np.zeros(SIZE, np.complex64)}, "state.mean must have the dtype"),
    "nan parameters": ({"params": np.full(SIZE, np.nan)}, "state.params must be finite"),
    "infinite memory": ({"mean": np.full(SIZE, np.inf)}, "state.mean must be finite"),
    "a negative square": ({"square": np.full(SIZE, -1.0)}, "square must not be negative, got -1.0"),
    "another schedule": ({"beta": np.array([0.1, 0.2, 0.3, 0.5])}, "beta must be this model's"),
    "a longer schedule": ({"beta": np.array([*BETA, 0.5])}, "beta must be this model's"),
    "a schedule of words": ({"beta": np.array("fast")}, "beta must be this model's"),
    "a prior": ({"prior": np.array(0.5)}, "prior must be this model's"),
    "another basis": ({"basis": 2 * np.eye(3)}, "basis must be this model's"),
    "time features": ({"time_features": np.zeros((3, 1))}, "time_features must be this model's"),
    "other shapes": ({"shapes": np.array("{}")}, "shapes must be this model's"),
    "a negative step": ({"step": np.array(-1)}, "step must be an integer >= 0, got"),
    "a step and a half": ({"step": np.array(1.5)}, "step must be an integer >= 0, got"),
    "two steps": ({"step": np.array([1, 2])}, "step must be an integer >= 0, got"),
    "pickled parameters": (
        {"params": np.array([object()])},
        "npz file of this model's state: Object arrays cannot be loaded",
    ),
    "an unknown generator": (
        {"rng": random_state(bit_generator="RandomState")},
        "rng's bit generator must be PCG64 or PCG64DXSM or MT19937 or Philox or SFC64, got 'Random",
    ),
    "no generator at all": (
        {"rng": random_state(bit_generator="os")},
        "rng's bit generator must be PCG64 or PCG64DXSM or MT19937 or Philox or SFC64, got 'os'",
    ),
    "a generator without state": ({"rng": random_state(state=None)}, NO_STATE),
    "a negative state": ({"rng": random_state(state={"state": -1, "inc": 1})}, NO_STATE),
    "a negative word": ({"rng": random_state(uinteger=-1)}, NO_STATE),
    "another kind's state": ({"rng": random_state(bit_generator="MT19937")}, NO_STATE),
    "a generator that is no json": ({"rng": np.array("{")}, NO_STATE),
    "a generator that is a number": ({"rng": np.array(5)}, NO_STATE),
    "a short key": ({"rng": mersenne(2, [1, 2])}, NO_STATE),
    "a position beyond the key": ({"rng": mersenne(625)}, "outside its buffer"),
    "a position before the key": ({"rng": mersenne(-1)}, "outside its buffer"),
    "a position beyond the buffer": ({"rng": philox(5)}, "outside its buffer"),
    "a generator that is a list": ({"rng": np.array(json.dumps([0] * 9))}, NO_STATE),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_file_that_is_not_this_model_s_is_refused(case, tmp_path):
    changes, message = CHANGED[case]
    model = GaussianReverse(GaussianDiffusion(BETA), 2, hidden=(3,))
    save(tmp_path / "state", model, start(model, rng=default_rng(32)), rng=default_rng(32))
    rewritten(tmp_path / "state", **changes)
    with pytest.raises(ValueError, match=re.escape(message)):
        load(tmp_path / "state", model)


@pytest.mark.parametrize("position", [0, 624])
def test_a_generator_at_either_end_of_its_key_is_read(position, tmp_path):
    model = tiny("gaussian")[0]
    save(tmp_path / "state", model, start(model, rng=default_rng(33)), rng=default_rng(33))
    rewritten(tmp_path / "state", rng=mersenne(position))
    assert load(tmp_path / "state", model)[1].bit_generator.state["state"]["pos"] == position


@pytest.mark.parametrize(
    ("saved", "asked"),
    [
        (
            BinomialReverse(BinomialDiffusion(BETA, 0.2), 2, hidden=(3,)),
            BinomialReverse(BinomialDiffusion(BETA, 0.5), 2, hidden=(3,)),
        ),
        (
            GaussianReverse(GaussianDiffusion(BETA), 2, hidden=(3,)),
            GaussianReverse(GaussianDiffusion([0.2] * 4), 2, hidden=(3,)),
        ),
        (
            GaussianReverse(GaussianDiffusion(BETA), 2, hidden=(3,)),
            GaussianReverse(GaussianDiffusion(BETA), 2, hidden=(4,)),
        ),
        (
            GaussianReverse(GaussianDiffusion(BETA), 2, hidden=(3,)),
            GaussianReverse(GaussianDiffusion(BETA), 2, hidden=(3, 3)),
        ),
        (
            GaussianReverse(GaussianDiffusion(BETA), 1, hidden=(3,)),
            BinomialReverse(BinomialDiffusion(BETA), 1, hidden=(3,)),
        ),
        (
            SigmoidReverse(BinomialDiffusion(BETA), 2, hidden=(3,)),
            SigmoidReverse(BinomialDiffusion(BETA), 2, hidden=(3,), from_forward=True),
        ),
        (
            BinomialReverse(BinomialDiffusion(BETA), 2, hidden=(3,), basis=np.eye(3), skip=False),
            SigmoidReverse(BinomialDiffusion(BETA), 2, hidden=(3,)),
        ),
    ],
    ids=["prior", "beta", "width", "depth", "column", "from_forward", "kernel"],
)
def test_a_state_of_another_model_is_refused(saved, asked, tmp_path):
    save(tmp_path / "state", saved, start(saved, rng=default_rng(34)))
    with pytest.raises(ValueError, match=r"this model's|must be"):
        load(tmp_path / "state", asked)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"PK\x03\x04", b"\x80\x04K\x01."],
    ids=["empty", "text", "a zip's start", "a pickle"],
)
def test_a_file_that_is_no_npz_is_refused(content, tmp_path):
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(ValueError, match="must be an npz file of this model's state"):
        load(tmp_path / "state", tiny("gaussian")[0])


def test_a_npy_file_is_refused(tmp_path):
    np.save(tmp_path / "state.npy", np.zeros(3))
    with pytest.raises(ValueError, match="must be an npz file of this model's state"):
        load(tmp_path / "state.npy", tiny("gaussian")[0])


def test_a_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "state", "w") as archive:
        archive.writestr("params.W1.npy", "not an array")
    with pytest.raises(ValueError, match="must be"):
        load(tmp_path / "state", tiny("gaussian")[0])


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    model = tiny("gaussian")[0]
    save(tmp_path / "state", model, start(model, rng=default_rng(35)))
    whole = (tmp_path / "state").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="must be an npz file of this model's state"):
            load(tmp_path / "cut", model)


# Bad input


def gaussian():
    return GaussianReverse(GaussianDiffusion(BETA), 2, hidden=(3,))


def ask(x0=(0.0, 1.0), t=2, noise=((0.5, 0.25),), params=None, model=None):
    model = model or gaussian()
    return objective(
        model, np.zeros(model.network.size) if params is None else params, x0, t, noise
    )


def fit(x0=((0.0, 1.0), (1.0, 0.0)), state=None, **keywords):
    model = gaussian()
    state = state or start(model, rng=default_rng(36))
    return train(
        model, x0, state, **{"rng": default_rng(37), "steps": 1, "learning_rate": rate, **keywords}
    )


def state_with(**vectors):
    size = SIZE
    return TrainingState(
        **{name: np.zeros(size) for name in ("params", "mean", "square")} | vectors
    )


def shared():
    both = np.ones(SIZE + 1)
    return state_with(params=both[:-1], mean=both[1:])


def binomial():
    return BinomialReverse(BinomialDiffusion(BETA, PRIOR), 2, hidden=(3,))


REFUSED = {
    "x0 nan": (lambda: ask(x0=(np.nan, 0.0)), "x0 must be finite, got nan"),
    "x0 of other vectors": (lambda: ask(x0=(0.0, 1.0, 2.0)), "x0 must have 2 components"),
    "x0 of one component": (lambda: ask(x0=(0.0,)), "x0 must have 2 components"),
    "x0 no bits": (lambda: ask(x0=(0.5, 1.0), model=binomial()), "x0 must be 0 or 1, got 0.5"),
    "x0 that does not broadcast": (
        lambda: ask(x0=np.zeros((3, 2)), noise=np.zeros((2, 2))),
        "x0 (3, 2), noise (2, 2)",
    ),
    "x0 with more axes than the noise": (
        lambda: ask(x0=np.zeros((3, 2)), noise=np.zeros(2)),
        "noise must hold a vector for every state",
    ),
    "t of 1": (lambda: ask(t=1), "t must lie in 2..4, got 1"),
    "t beyond T": (lambda: ask(t=[5]), "t must lie in 2..4, got 5"),
    "t a float": (lambda: ask(t=2.0), "t must be an integer"),
    "t that does not broadcast": (
        lambda: ask(t=[2, 3], noise=np.zeros((3, 2))),
        "t must broadcast",
    ),
    "t longer than the noise": (
        lambda: ask(t=[2, 3, 4]),
        "t must not have more axes than the states",
    ),
    "t with more axes than the noise": (
        lambda: ask(t=[[2], [3]]),
        "t must not have more axes than the states",
    ),
    "noise nan": (lambda: ask(noise=[[np.nan, 0.0]]), "noise must be finite, got nan"),
    "noise no vector": (lambda: ask(noise=0.5), "noise must have a last axis"),
    "noise of other vectors": (lambda: ask(noise=np.zeros((2, 3))), "noise must have 2 components"),
    "noise empty": (lambda: ask(noise=np.zeros((0, 2))), "noise must hold at least one"),
    "noise no uniform number": (
        lambda: ask(noise=[[0.5, 1.5]], model=binomial()),
        "noise must lie in [0, 1], got 1.5",
    ),
    "noise below 0": (
        lambda: ask(noise=[[-0.1, 0.5]], model=binomial()),
        "noise must lie in [0, 1], got -0.1",
    ),
    "params of the wrong size": (
        lambda: ask(params=np.zeros(3)),
        "params must be a floating-point vector",
    ),
    "params of integers": (
        lambda: ask(params=np.zeros(SIZE, int)),
        "params must be a floating-point vector",
    ),
    "params nan": (lambda: ask(params=np.full(SIZE, np.nan)), "params must be finite, got nan"),
    "params complex, for bits": (
        lambda: ask(params=np.zeros(binomial().network.size, complex), model=binomial()),
        "params must be a real floating-point vector",
    ),
    "params ragged": (lambda: ask(params=[[1.0], [1.0, 2.0]]), "params must be a floating-point"),
    "start from a seed": (lambda: start(gaussian(), rng=0), "rng must be a numpy.random.Generator"),
    "start in float16": (
        lambda: start(gaussian(), rng=default_rng(38), dtype=np.float16),
        "dtype must be float32 or float64",
    ),
    "start in words": (
        lambda: start(gaussian(), rng=default_rng(38), dtype="foo"),
        "dtype must be float32 or float64, got 'foo'",
    ),
    "start in integers": (
        lambda: start(gaussian(), rng=default_rng(38), dtype=int),
        "dtype must be float32 or float64",
    ),
    "data of one vector without an axis": (
        lambda: fit(x0=(0.0, 1.0)),
        "x0 must have shape (N, d), got shape (2,)",
    ),
    "data of three axes": (
        lambda: fit(x0=np.zeros((2, 2, 2))),
        "x0 must have shape (N, d), got shape (2, 2, 2)",
    ),
    "data of other vectors": (lambda: fit(x0=np.zeros((2, 3))), "x0 must have 2 components"),
    "data empty": (lambda: fit(x0=np.zeros((0, 2))), "x0 must hold at least one"),
    "data infinite": (lambda: fit(x0=[[np.inf, 0.0]]), "x0 must be finite, got inf"),
    "train from a seed": (lambda: fit(rng=0.5), "rng must be a numpy.random.Generator"),
    "steps negative": (lambda: fit(steps=-1), "steps must be an integer >= 0, got -1"),
    "steps a float": (lambda: fit(steps=1.0), "steps must be an integer >= 0, got 1.0"),
    "batch of none": (lambda: fit(batch=0), "batch must be an integer >= 1, got 0"),
    "every none": (lambda: fit(every=0), "every must be an integer >= 1, got 0"),
    "no times": (lambda: fit(n_times=0), "n_times must lie in 1..3, got 0"),
    "more times than there are": (lambda: fit(n_times=4), "n_times must lie in 1..3, got 4"),
    "state of the wrong size": (
        lambda: fit(state=state_with(params=np.zeros(3))),
        "state.params must be",
    ),
    "state of unequal sizes": (
        lambda: fit(state=state_with(mean=np.zeros(3))),
        "state.mean must be",
    ),
    "state in float16": (
        lambda: fit(state=state_with(params=np.zeros(SIZE, np.float16))),
        "state.params must have the dtype of all three",
    ),
    "state of two dtypes": (
        lambda: fit(state=state_with(square=np.zeros(SIZE, np.float32))),
        "state.square must have the dtype of all",
    ),
    "state of the other byte order": (
        lambda: fit(state=state_with(params=np.zeros(SIZE, np.dtype(float).newbyteorder("S")))),
        "state.params must have the dtype of all three vectors, float32 or float64, got ",
    ),
    "state a list": (
        lambda: fit(state=state_with(params=[0.0] * SIZE)),
        "state.params must be an array that can be written to, got [0.0, 0.0,",
    ),
    "state read-only": (
        lambda: fit(state=state_with(square=np.broadcast_to(0.0, SIZE))),
        "state.square must be an array that can be written to, got array([0., 0.,",
    ),
    "state of one zero vector": (
        lambda: fit(state=TrainingState(np.ones(SIZE), *[np.zeros(SIZE)] * 2)),
        "state.square must have memory of its own, got 'state.mean'",
    ),
    "state whose memory is the parameters": (
        lambda: fit(state=shared()),
        "state.mean must have memory of its own, got 'state.params'",
    ),
    "state nan": (
        lambda: fit(state=state_with(params=np.full(SIZE, np.nan))),
        "state.params must be finite, got nan",
    ),
    "a rate of two numbers": (
        lambda: fit(learning_rate=lambda _: [0.1, 0.2]),
        "learning_rate must be one number >= 0, got shape (2,)",
    ),
    "a negative rate": (
        lambda: fit(learning_rate=lambda _: -1.0),
        "learning_rate must be one number >= 0, got -1.0",
    ),
    "a rate in words": (
        lambda: fit(learning_rate=lambda _: "fast"),
        "learning_rate must be an array of real numbers, got 'fast'",
    ),
    "peak of zero": (lambda: cosine_decay(0.0, 10), "peak must be one number > 0, got 0.0"),
    "peak negative": (lambda: cosine_decay(-0.1, 10), "peak must be one number > 0, got -0.1"),
    "decay over no steps": (lambda: cosine_decay(0.1, 0), "steps must be an integer >= 1, got 0"),
    "warmup of no steps": (
        lambda: cosine_decay(0.1, 10, warmup=0),
        "warmup must be an integer >= 1, got 0",
    ),
    "saved with a seed": (
        lambda: save(os.devnull, gaussian(), state_with(), rng=1),
        "rng must be a numpy.random.Generator",
    ),
    "saved for another model": (
        lambda: save(os.devnull, tiny("gaussian")[0], state_with()),
        "state.params must be",
    ),
    "loaded from no path": (lambda: load(None, gaussian()), "must be an npz file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("climbs", [False, True])
def test_a_callback_that_is_none_is_refused_before_the_first_step(climbs):
    model = small_model([0.1, 0.2, 0.3])
    state, rates = start(model, rng=default_rng(0)), training.start_rates([0.1, 0.2, 0.3])
    learn = partial(training.learn_rates, rates=rates, rate_learning_rate=0.1) if climbs else train
    with pytest.raises(TypeError, match="callback must be a callable, got 3"):
        learn(
            model, [[1.0]], state, rng=default_rng(0), steps=200, learning_rate=0.1, callback=3
        )
    assert state.step == 0


def test_the_modules_public_names_are_those_it_lists():
    assert all(hasattr(training, name) for name in training.__all__)


@pytest.mark.parametrize(
    "call",
    [
        lambda: start(7, rng=default_rng(0)),
        lambda: objective(7, np.zeros(3), [0.0], 2, [0.0]),
        lambda: load("nowhere", 7),
    ],
)
def test_what_is_no_model_is_told_what_is_one(call):
    kinds = "a GaussianReverse, BinomialReverse or SigmoidReverse"
    with pytest.raises(ValueError, match=f"^model must be {kinds}, got 7$"):
        call()

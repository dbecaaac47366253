"""The reverse kernels against textbook averages, exactly solvable reversals and enumeration; the
trajectory against known laws.
"""

import pickle
import re
from functools import partial
from types import SimpleNamespace

import mpmath_oracle
import naive_training
import numpy as np
import pytest
import statistics_budget
from scipy import stats

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, bounds, schedules
from dpm_ref.exact import BinaryData
from dpm_ref.mlp import time_bumps, time_polynomials
from dpm_ref.reverse import (
    BinomialReverse,
    Draw,
    GaussianReverse,
    SigmoidReverse,
    sample_trajectory,
)
from dpm_ref.training import objective

EPS = 2.0**-52
ROUNDING = 64 * EPS  # a few dozen terms of order one
ALARM = statistics_budget.alarm(40)  # comparisons in this file
BETA = [0.1, 0.2, 0.3, 0.4]
PRIOR = [0.2, 0.5, 0.7]
TINY = {
    "hidden": (3, 2),
    "time_features": [[-1.0, 0.5], [0.25, -0.5], [1.0, 0.75]],
    "basis": [[1.0, 0.0], [0.5, 0.25], [-0.25, 1.0]],
}
LAYOUTS = [
    ((3,), 2),
    ((4, 3), 3),
    ((4, 3), [2, 4, 4, 3]),
    ((3, 4, 3), [[4], [2], [3]]),
    ((2, 3, 3), [4, 2, 3]),
]


def gaussian_pair(beta=BETA, d=3, seed=1):
    """The model under test, its textbook column and network, and parameters."""
    model, column = (
        GaussianReverse(GaussianDiffusion(beta), d, **TINY),
        naive_training.Gaussian(beta),
    )
    network = naive_training.Network.like(model.network)
    return model, column, network, np.random.default_rng(seed).standard_normal(network.size)


def binomial_pair(beta=BETA, prior=PRIOR, d=3, seed=2):
    model, column = (
        BinomialReverse(BinomialDiffusion(beta, prior), d, **TINY),
        naive_training.Binomial(beta, prior),
    )
    network = naive_training.Network.like(model.network)
    return model, column, network, np.random.default_rng(seed).standard_normal(network.size)


def sigmoid_pair(beta=BETA, prior=PRIOR, d=3, seed=2, **keywords):
    model, column = (
        SigmoidReverse(BinomialDiffusion(beta, prior), d, **keywords, **TINY),
        naive_training.Sigmoid(beta, prior, **keywords),
    )
    network = naive_training.Network.like(model.network)
    return model, column, network, np.random.default_rng(seed).standard_normal(network.size)


def each_state(xt, t):
    """Index, state and time, one by one."""
    times = np.broadcast_to(t, xt.shape[:-1])
    return [(index, xt[index], times[index]) for index in np.ndindex(xt.shape[:-1])]


def bits(shape, seed):
    return (np.random.default_rng(seed).random(shape) < 0.5).astype(float)


def answering(model, outputs):
    """The model with a network that answers what it is told to: outputs(xt, t)."""
    model.network.apply = lambda params, xt, t: outputs(xt, t)
    return model.kernel(np.zeros(model.network.size))


def arrays(law):
    """The two arrays of a law."""
    return (law.mean, law.var) if isinstance(law, Gaussian) else (law.prob1, law.prob0)


# f_mu and f_Sigma


@pytest.mark.parametrize(("shape", "t"), LAYOUTS)
@pytest.mark.parametrize(
    "beta", [BETA, [0.3, 0.9, 0.01, 1.0]], ids=["rising", "any order and a last step that forgets"]
)
def test_gaussian_kernel_is_the_posterior_averaged_over_the_predicted_normal(beta, shape, t):
    model, column, network, params = gaussian_pair(beta)
    xt = np.random.default_rng(3).standard_normal(shape)
    law = model.kernel(params)(xt, np.array(t))
    for index, state, time in each_state(xt, t):
        mean, var = column.kernel(network(params, state, time), state, time)
        np.testing.assert_allclose(law.mean[index], mean, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(law.var[index], var, rtol=ROUNDING)


@pytest.mark.parametrize("t", [2, 3, 4])
def test_gaussian_kernel_with_zero_outputs_is_the_forward_kernel(t):
    model, *_ = gaussian_pair()
    xt = np.random.default_rng(4).standard_normal((5, 3))
    got, truth = (
        model.kernel(model.network.init(rng=np.random.default_rng(5)))(xt, t),
        model.diffusion.kernel(xt, t),
    )
    np.testing.assert_allclose(got.mean, truth.mean, rtol=4 * EPS)
    np.testing.assert_allclose(got.var, truth.var, rtol=8 * EPS)  # three factors and a sum


@pytest.mark.parametrize("t", [2, 3, 4])
def test_f_sigma_with_zero_outputs_is_beta(t):
    model, *_ = gaussian_pair()
    law = model.kernel(np.zeros(model.network.size))(np.ones(3), t)
    np.testing.assert_allclose(law.var, BETA[t - 1], rtol=8 * EPS)


@pytest.mark.parametrize("g", [-800.0, -40.0, 0.0, 40.0])
@pytest.mark.parametrize("t", [2, 3, 4])
def test_f_sigma_is_never_below_the_posterior_variance(t, g):
    model, *_ = gaussian_pair()
    kernel = answering(model, lambda xt, t: np.full((*xt.shape[:-1], 6), g))
    assert (
        kernel(np.zeros((2, 3)), t).var
        >= float(mpmath_oracle.Tables(BETA).posterior_var(t)) * (1 - EPS)
    ).all()


@pytest.mark.parametrize(
    "beta",
    [BETA, schedules.log_snr_linear(40, beta1=1e-7, abar_T=1e-3), schedules.cosine(1000)],
    ids=["BETA", "log-SNR linear", "cosine"],
)
def test_f_s_target_has_unit_variance_at_every_t_for_data_of_unit_variance(beta):
    """The target is linear in x^0 and the noise, so its variance is the sum of its squared
    coefficients.
    """
    model, t = (
        GaussianReverse(GaussianDiffusion(beta), 1, hidden=(1,)),
        np.arange(2, len(beta) + 1)[:, None],
    )
    one, nil = np.ones((len(t), 1, 1)), np.zeros((len(t), 1, 1))
    of_x0, of_noise = model.draw(one, t, nil).target, model.draw(nil, t, one).target
    np.testing.assert_allclose(of_x0**2 + of_noise**2, 1, rtol=4 * EPS)


@pytest.mark.parametrize("t", [2, 3, 4])
def test_f_at_its_target_predicts_x0_itself(t):
    model, column, _, _ = gaussian_pair()
    x0, noise = np.random.default_rng(6).standard_normal((2, 1, 1, 3))
    draw = model.draw(x0, np.array([[t]]), noise)
    mean, _ = column.kernel(np.concatenate([draw.target[0, 0], np.zeros(3)]), draw.xt[0, 0], t)
    np.testing.assert_allclose(
        mean, column.posterior(x0[0, 0], draw.xt[0, 0], t)[0], rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize("t", [2, 3, 4])
def test_gaussian_states_are_drawn_from_the_marginal(t):
    model, column, _, _ = gaussian_pair()
    x0, noise = np.random.default_rng(7).standard_normal((2, 1, 5, 3))
    np.testing.assert_allclose(
        model.draw(x0, np.array([[t]]), noise).xt, column.state(x0, noise, t), rtol=0, atol=8 * EPS
    )


@pytest.mark.parametrize("t", [2, 3, 4])
@pytest.mark.parametrize(("mean", "var"), [(0.0, 1.0), (0.0, 4.0), (1.5, 0.25), (-2.0, 1e-6)])
def test_the_best_outputs_give_the_exact_reversal_of_gaussian_data(mean, var, t):
    """The posterior of x^0 ~ N(mean, var) given x^t is N(m, V); F and g are what make the kernel's
    prediction that law.
    """
    model, tables = (
        GaussianReverse(GaussianDiffusion(BETA), 1, hidden=(1,)),
        mpmath_oracle.Tables(BETA),
    )
    abar, noise = float(tables.abar(t)), float(tables.one_minus_abar(t))

    def best(xt, t):
        V = 1 / (1 / var + abar / noise)
        m = V * (mean / var + np.sqrt(abar) * xt / noise)
        return np.concatenate(
            [(m - np.sqrt(abar) * xt) / np.sqrt(noise), np.full_like(xt, np.log(V / noise))], -1
        )

    xt = np.array([[0.5], [-1.0], [3.0]])
    law, (slope, shift, var_p) = (
        answering(model, best)(xt, t),
        map(float, mpmath_oracle.GaussianChain(BETA, mean, var).reversal(t)),
    )
    np.testing.assert_allclose(
        law.mean, slope * xt + shift, rtol=0, atol=8 * ROUNDING
    )  # the residual cancels terms of order ten
    np.testing.assert_allclose(law.var[0], var_p, rtol=ROUNDING)


# f_b


@pytest.mark.parametrize(("shape", "t"), LAYOUTS)
@pytest.mark.parametrize(
    "beta", [BETA, [0.25, 1 / 3, 0.5, 1.0]], ids=["rising", "constant erasure"]
)
def test_binomial_kernel_is_the_posterior_averaged_over_the_predicted_bits(beta, shape, t):
    model, column, network, params = binomial_pair(beta)
    xt = bits(shape, 8)
    law = model.kernel(params)(xt, np.array(t))
    for index, state, time in each_state(xt, t):
        out = network(params, column.inputs(state, time), time)
        np.testing.assert_allclose(
            law.prob1[index], column.kernel(out, 1, state, time), rtol=ROUNDING
        )
        np.testing.assert_allclose(
            law.prob0[index], column.kernel(out, 0, state, time), rtol=ROUNDING
        )


@pytest.mark.parametrize("t", [2, 3, 4])
@pytest.mark.parametrize("prior", [0.5, 0.2, PRIOR], ids=["half", "0.2", "a vector"])
def test_binomial_kernel_with_zero_outputs_is_the_forward_kernel(prior, t):
    model = BinomialReverse(BinomialDiffusion(BETA, prior), 3, hidden=(4,))
    xt = bits((6, 3), 9)
    got, truth = (
        model.kernel(model.network.init(rng=np.random.default_rng(10)))(xt, t),
        model.diffusion.kernel(xt, t),
    )
    np.testing.assert_allclose(
        [got.prob1, got.prob0], [truth.prob1, truth.prob0], rtol=16 * EPS
    )  # a logit there and back


@pytest.mark.parametrize("t", [2, 3, 4])
def test_a_constant_output_gives_the_exact_reversal_of_independent_bits(t):
    """For independent bits of mean activity m the best a is logit m - logit pi."""
    activity = np.array([0.3, 0.9])
    model = BinomialReverse(BinomialDiffusion(BETA, [0.2, 0.5]), 2, hidden=(3,))
    params = model.network.init(rng=np.random.default_rng(11))
    model.network.unpack(params)["c"][...] = np.log(activity / (1 - activity)) - np.log(
        [0.2 / 0.8, 0.5 / 0.5]
    )
    data = {
        x: np.prod([m if b else 1 - m for b, m in zip(x, activity, strict=True)])
        for x in mpmath_oracle.binary_states(2)
    }
    reversal = mpmath_oracle.BinaryChain(data, BETA, [0.2, 0.5]).reversal(t)
    for xt in mpmath_oracle.binary_states(2):
        law = model.kernel(params)(np.array(xt), t)
        got = [np.exp(law.log_prob(x)) for x in mpmath_oracle.binary_states(2)]
        np.testing.assert_allclose(
            got, [float(reversal(x, xt)) for x in mpmath_oracle.binary_states(2)], rtol=ROUNDING
        )


@pytest.mark.parametrize("t", [2, 3, 4])
def test_the_known_prediction_gives_the_marginals_of_the_exact_reversal(t):
    """One bit in three is on: the bits depend on each other, and the best factorised kernel has the
    true marginals.
    """
    data, prior = {(1, 0, 0): 0.25, (0, 1, 0): 0.25, (0, 0, 1): 0.5}, [0.5, 0.25, 0.5]
    chain = mpmath_oracle.BinaryChain(data, BETA, prior)
    model, column = (
        BinomialReverse(BinomialDiffusion(BETA, prior), 3, hidden=(1,)),
        naive_training.Binomial(BETA, prior),
    )
    given = {x0: chain.given(x0, t) for x0 in data}

    def best(xt, t):
        xt = (xt > 0).astype(int)  # the network is given each bit's evidence
        joint = {x0: weight * given[x0][tuple(xt)] for x0, weight in data.items()}
        r = np.array(
            [
                float(sum(j for x0, j in joint.items() if x0[i]) / sum(joint.values()))
                for i in range(3)
            ]
        )
        start = column.predicted(0.0, xt, t)  # the output corrects this prediction's logit
        return np.log(r / (1 - r)) - np.log(start / (1 - start))

    reversal = chain.reversal(t)
    for xt in mpmath_oracle.binary_states(3):
        truth = [
            float(sum(reversal(x, xt) for x in mpmath_oracle.binary_states(3) if x[i]))
            for i in range(3)
        ]
        np.testing.assert_allclose(
            answering(model, best)(np.array(xt), t).prob1, truth, rtol=ROUNDING
        )


@pytest.mark.parametrize("t", [2, 3, 4])
def test_the_path_past_the_trunk_alone_is_the_ideal_kernel_of_two_opposite_strings(t):
    """The logit of either string is the sum of all bits' evidence, so each bit's correction is the
    sum of the others'.
    """
    diffusion, pmf = BinomialDiffusion(BETA), np.zeros(8)
    pmf[[0b010, 0b101]] = 0.5
    model, sign = BinomialReverse(diffusion, 3, hidden=(2,), skip=True), np.array([1, -1, 1])
    params = model.network.init(rng=np.random.default_rng(30))
    model.network.unpack(params)["S"][...] = np.outer(sign, sign) - np.eye(3)
    states = np.array(mpmath_oracle.binary_states(3), dtype=float)
    got, truth = model.kernel(params)(states, t), BinaryData(diffusion, pmf).reverse(states, t)
    np.testing.assert_allclose([got.prob1, got.prob0], [truth.prob1, truth.prob0], rtol=ROUNDING)


def test_a_state_that_tells_nothing_is_not_told_to_the_network():
    """After a step that forgets all, every state's prediction is the same, and the kernel has
    nothing to do with x^t.
    """
    model, *_, params = binomial_pair([0.25, 1 / 3, 0.5, 1.0])
    law = model.kernel(params)(np.array(mpmath_oracle.binary_states(3), dtype=float), 4)
    np.testing.assert_allclose(
        law.prob1, np.broadcast_to(law.prob1[0], law.prob1.shape), rtol=4 * EPS
    )


@pytest.mark.parametrize(("shape", "t"), LAYOUTS)
@pytest.mark.parametrize("from_forward", [False, True])
@pytest.mark.parametrize(
    "beta", [BETA, [0.25, 1 / 3, 0.5, 1.0]], ids=["rising", "constant erasure"]
)
def test_sigmoid_kernel_is_the_sigmoid_of_the_network_s_output(beta, from_forward, shape, t):
    model, column, network, params = sigmoid_pair(beta, from_forward=from_forward)
    xt = bits(shape, 8)
    law = model.kernel(params)(xt, np.array(t))
    for index, state, time in each_state(xt, t):
        out = network(params, state, time)
        np.testing.assert_allclose(
            law.prob1[index], column.kernel(out, 1, state, time), rtol=ROUNDING
        )
        np.testing.assert_allclose(
            law.prob0[index], column.kernel(out, 0, state, time), rtol=ROUNDING
        )


@pytest.mark.parametrize("t", [2, 3, 4])
def test_sigmoid_kernel_counted_from_the_forward_kernel_starts_there(t):
    model = SigmoidReverse(BinomialDiffusion(BETA, PRIOR), 3, from_forward=True, hidden=(4,))
    xt = bits((6, 3), 9)
    got, truth = (
        model.kernel(model.network.init(rng=np.random.default_rng(10)))(xt, t),
        model.diffusion.kernel(xt, t),
    )
    np.testing.assert_allclose(
        [got.prob1, got.prob0], [truth.prob1, truth.prob0], rtol=16 * EPS
    )  # a logit there and back


def test_sigmoid_kernel_counted_from_the_forward_kernel_keeps_both_members():
    model = SigmoidReverse(BinomialDiffusion([0.5, 1e-12]), 1, from_forward=True, hidden=(1,))
    law = model.kernel(model.network.init(rng=np.random.default_rng(10)))([[1.0], [0.0]], 2)
    np.testing.assert_allclose(
        [law.prob0[0], law.prob1[1]], [[5e-13], [5e-13]], rtol=ROUNDING
    )  # half of 1e-12


def test_sigmoid_kernel_has_a_readout_of_its_own_at_each_time():
    model = SigmoidReverse(BinomialDiffusion(BETA, PRIOR), 3, hidden=(4,))
    assert model.network.shapes["R"] == (3, 4, 3)
    np.testing.assert_array_equal(model.network.basis, np.eye(3))


@pytest.mark.parametrize("a", [-700.0, -30.0, 30.0, 700.0])
def test_sigmoid_kernel_keeps_both_members_where_it_is_certain(a):
    model, *_ = sigmoid_pair()
    law = answering(model, lambda xt, t: np.full(xt.shape, a))(bits((1, 3), 12), 3)
    np.testing.assert_allclose(
        np.minimum(law.prob1, law.prob0),
        float(mpmath_oracle.mp.exp(-abs(a)) / (1 + mpmath_oracle.mp.exp(-abs(a)))),
        rtol=ROUNDING,
    )


@pytest.mark.parametrize("a", [-1e-9, 0.0, 1e-3, 0.5, 3.0, -40.0])
@pytest.mark.parametrize("xt", [0, 1])
@pytest.mark.parametrize("x0", [0, 1])
def test_divergence_of_a_nearly_certain_sigmoid_keeps_its_digits(x0, xt, a):
    """a is counted from the posterior's own logit: the divergence and its derivative vanish with
    it.
    """
    model, mp = SigmoidReverse(BinomialDiffusion([0.5, 1e-9]), 1, hidden=(1,)), mpmath_oracle.mp
    t, (q1, q0) = (
        np.array([[2]]),
        mpmath_oracle.binomial_posterior(x0, xt, mpmath_oracle.Tables([0.5, 1e-9]), 2, 0.5),
    )
    draw = model.draw(np.full((1, 1, 1), float(x0)), t, np.full((1, 1, 1), 0.0 if xt else 1.0))
    out = float(mp.log(q1 / q0)) + a
    kl, grad = (
        float(value.item()) for value in model.kl_and_grad(np.full((1, 1, 1), out), draw, t)
    )
    p1, p0 = 1 / (1 + mp.exp(-mp.mpf(out))), 1 / (1 + mp.exp(mp.mpf(out)))
    known, least = (
        8 * EPS * abs(out),
        float(min(q1, q0)),
    )  # how well the two logits' difference is known
    assert kl == pytest.approx(
        float(q1 * mp.log(q1 / p1) + q0 * mp.log(q0 / p0)),
        rel=ROUNDING,
        abs=known * (abs(a) + known) * least,
    )
    assert grad == pytest.approx(
        float(p1 - q1 if q1 < 0.5 else q0 - p0), rel=ROUNDING, abs=known * least
    )


@pytest.mark.parametrize("a", [-800.0, 800.0])
def test_f_b_keeps_both_members_where_the_prediction_is_certain(a):
    model, column, _, _ = binomial_pair()
    xt = bits((1, 3), 12)
    law = answering(model, lambda xt, t: np.full(xt.shape, a))(xt, 3)
    np.testing.assert_allclose(
        law.prob1[0], column.posterior(1, xt[0], int(a > 0), 3), rtol=ROUNDING
    )
    np.testing.assert_allclose(
        law.prob0[0], column.posterior(0, xt[0], int(a > 0), 3), rtol=ROUNDING
    )


@pytest.mark.parametrize("t", [2, 3, 4])
def test_binomial_states_are_drawn_from_the_marginal(t):
    model, column, _, _ = binomial_pair()
    x0, noise = bits((1, 50, 3), 13), np.random.default_rng(14).random((1, 50, 3))
    assert (model.draw(x0, np.array([[t]]), noise).xt == column.state(x0, noise, t)).all()


def certain_bit(x0, xt, a, beta=(0.5, 1e-9), prior=0.5):
    """KL and its derivative by the output, of a bit that has almost surely not changed in the last
    step: ours, and in mpmath.
    """
    model, mp, tables = (
        BinomialReverse(BinomialDiffusion(beta, prior), 1, hidden=(1,)),
        mpmath_oracle.mp,
        mpmath_oracle.Tables(beta),
    )
    draw, t = (
        model.draw(
            np.full((1, 1, 1), float(x0)), np.array([[2]]), np.full((1, 1, 1), 0.0 if xt else 1.0)
        ),
        np.array([[2]]),
    )
    kl, grad = model.kl_and_grad(np.full((1, 1, 1), a), draw, t)
    (one1, one0), (nil1, nil0) = (
        mpmath_oracle.binomial_posterior(x, xt, tables, 2, prior) for x in (1, 0)
    )
    likelihood = [mpmath_oracle.binomial_marginal(x, tables, 2, prior)[1 - xt] for x in (1, 0)]
    odds = mp.mpf(prior) / (1 - mp.mpf(prior)) * likelihood[0] / likelihood[1] * mp.exp(a)
    r = odds / (1 + odds)
    p1, p0, (q1, q0) = (
        r * one1 + (1 - r) * nil1,
        r * one0 + (1 - r) * nil0,
        (one1, one0) if x0 else (nil1, nil0),
    )
    slope = (one1 - nil1) * r * (1 - r)
    shift = float(abs(p1 - q1))
    return (
        (float(kl[0, 0, 0]), float(grad[0, 0, 0])),
        (q1 * mp.log(q1 / p1) + q0 * mp.log(q0 / p0), -(q1 / p1 - q0 / p0) * slope),
        shift,
    )


@pytest.mark.parametrize("a", [-800.0, -30.0, -1.0, 2.0, 30.0, 800.0])
@pytest.mark.parametrize("xt", [0, 1])
@pytest.mark.parametrize("x0", [0, 1])
@pytest.mark.parametrize("beta", [(0.5, 1e-9), (1e-17, 0.5), (0.1, 0.2)], ids=str)
def test_divergence_and_gradient_of_a_bit_keep_their_digits(x0, xt, a, beta):
    """Also where the prediction is certain, of what is true or of what is not."""
    got, truth, shift = certain_bit(x0, xt, a, beta)
    assert got[0] == pytest.approx(float(truth[0]), rel=ROUNDING, abs=EPS * shift)
    assert got[1] == pytest.approx(float(truth[1]), rel=2 * ROUNDING, abs=1e-300)


@pytest.mark.parametrize("a", [-800.0, 800.0])
@pytest.mark.parametrize("x0", [0, 1])
def test_divergence_and_gradient_of_a_sigmoid_s_bit_hold_at_extreme_outputs(x0, a):
    model, mp = SigmoidReverse(BinomialDiffusion([0.1, 0.2]), 1, hidden=(1,)), mpmath_oracle.mp
    t, one = np.array([[2]]), np.ones((1, 1, 1))
    draw = model.draw(x0 * one, t, 0.0 * one)
    q1, q0 = mpmath_oracle.binomial_posterior(x0, 1, mpmath_oracle.Tables([0.1, 0.2]), 2, 0.5)
    p1, p0 = 1 / (1 + mp.exp(-mp.mpf(a))), 1 / (1 + mp.exp(mp.mpf(a)))
    kl, grad = model.kl_and_grad(a * one, draw, t)
    truth = q1 * mp.log(q1 / p1) + q0 * mp.log(q0 / p0)
    assert kl.item() == pytest.approx(float(truth), rel=ROUNDING, abs=0)
    assert grad.item() == pytest.approx(float(p1 - q1), rel=ROUNDING, abs=0)


@pytest.mark.parametrize("kind", [BinomialReverse, partial(SigmoidReverse, from_forward=True)])
@pytest.mark.parametrize("x0", [0, 1])
@pytest.mark.parametrize(
    ("beta", "prior"),
    [
        ([1e-300, 0.5], 1e-30),
        ([1e-300, 0.5], 1e-9),
        ([0.5, 1e-300], 1e-30),
        ([1e-160, 1e-160], 1e-9),
        ([0.5, 1e-315], 1.0 - 2.0**-53),
    ],
    ids=str,
)
@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2.0**-53])
def test_the_bound_of_a_bit_holds_where_its_posterior_underflows(kind, x0, beta, prior, uniform):
    """Zero outputs are the forward kernel's, by Bayes' rule on the enumerated bits in mpmath."""
    model, mp = kind(BinomialDiffusion(beta, prior), 1, hidden=(1,)), mpmath_oracle.mp
    got = objective(model, np.zeros(model.network.size), [x0], 2, [[uniform]])
    with mp.workdps(800):
        pi = (1 - mp.mpf(prior), mp.mpf(prior))
        flips = [[[(1 - mp.mpf(b)) * (j == k) + mp.mpf(b) * pi[k] for k in (0, 1)]
                  for j in (0, 1)] for b in beta]
        q1 = [flips[0][x0][k] for k in (0, 1)]
        q2 = [sum(q1[j] * flips[1][j][k] for j in (0, 1)) for k in (0, 1)]
        xt = int(uniform < q2[1])
        posterior = [q1[j] * flips[1][j][xt] / q2[xt] for j in (0, 1)]
        divergence = [sum(a * mp.log(a / b) for a, b in zip(one, other, strict=True))
                      for one, other in ((posterior, flips[1][xt]), (q1, pi), (q2, pi))]
        truth = float(mp.log(pi[x0]) + divergence[1] - divergence[2] - divergence[0])
    assert got.value == pytest.approx(truth, rel=ROUNDING, abs=0)
    assert np.isfinite(got.params).all()


@pytest.mark.parametrize("xt", [0, 1])
@pytest.mark.parametrize("x0", [0, 1])
@pytest.mark.parametrize("prior", [1e-30, 1.0 - 2.0**-53])
def test_the_gradient_of_a_bit_vanishes_where_the_kernel_underflows(x0, xt, prior):
    with mpmath_oracle.mp.workdps(800), np.errstate(invalid="ignore", over="ignore"):
        got, truth, _ = certain_bit(x0, xt, 0.0, (0.5, 1e-315), prior)
    assert got[1] == pytest.approx(float(truth[1]), rel=2 * ROUNDING, abs=1e-290)


# Outputs at which exp overflows


def normal_divergence(mp, F, g, target, kappa):
    """KL between N(target, 1) and N(F, 1 + kappa exp(g)), means in units of 1 / sqrt(kappa)."""
    v = 1 + kappa * mp.exp(g)
    return (mp.log(v) + (1 + kappa * (F - target) ** 2) / v - 1) / 2


@pytest.mark.parametrize("g", [-800.0, -90.0, -3.0, -0.1, 0.0, 0.7, 5.0, 90.0, 710.0, 800.0, 1e4])
@pytest.mark.parametrize("F", [-0.75, 3.0, 40.0])
@pytest.mark.parametrize(("dtype", "eps"), [(np.float32, 2.0**-23), (np.float64, EPS)])
def test_divergence_of_a_normal_and_its_gradient_hold_at_any_output(dtype, eps, g, F):
    model, mp = GaussianReverse(GaussianDiffusion(BETA), 1, hidden=(1,)), mpmath_oracle.mp
    tables, t, target = mpmath_oracle.Tables(BETA), 3, 0.25
    kappa = mp.mpf(BETA[2]) * tables.abar(2) / tables.one_minus_abar(2)
    draw = Draw(*(np.full((1, 1, 1), target, dtype) for _ in range(3)))
    kl, grad = model.kl_and_grad(np.array([[[F, g]]], dtype), draw, np.array([[t]]))
    with mp.workdps(800):
        F, g = mp.mpf(F), mp.mpf(float(dtype(g)))
        v = 1 + kappa * mp.exp(g)
        truth = normal_divergence(mp, F, g, target, kappa)
        by_F = kappa * (F - target) / v
        by_g = kappa * mp.exp(g) / v / 2 * (1 - (1 + kappa * (F - target) ** 2) / v)
        size = float(abs(g) + kappa * (F - target) ** 2 / v + 1)
    assert kl.dtype == grad.dtype == dtype
    assert abs(kl.item() - float(truth)) <= 16 * eps * size
    assert abs(grad[0, 0, 0] - float(by_F)) <= eps * (abs(float(g)) + 64) * max(
        abs(float(by_F)), np.finfo(dtype).tiny
    )
    assert abs(grad[0, 0, 1] - float(by_g)) <= 64 * eps * size


@pytest.mark.parametrize("g", [-800.0, 800.0])
def test_the_bound_at_a_variance_logit_of_800_is_that_of_mpmath_and_its_gradient_finite(g):
    """Three divergences of (800 + ...) / 2 each: -1199 where exp(800) overflows."""
    beta, mp = [0.1, 0.2, 0.3, 0.4], mpmath_oracle.mp
    model = GaussianReverse(GaussianDiffusion(beta), 1, hidden=(1,))
    params = np.zeros(model.network.size)
    model.network.unpack(params)["c"][:, 1] = g
    x0, noise = 0.5, [0.25, -1.0, 0.75]
    got = objective(model, params, [x0], [[2], [3], [4]], np.reshape(noise, (3, 1, 1)))
    tables = mpmath_oracle.Tables(beta)
    with mp.workdps(800):
        abar, variance = ([f(t) for t in range(5)] for f in (tables.abar, tables.one_minus_abar))
        total = -mp.log(2 * mp.pi) / 2 - mp.mpf(x0) ** 2 / 2
        for t, sign in ((1, 1), (4, -1)):
            square = abar[t] * mp.mpf(x0) ** 2
            total += sign * (square + variance[t] - 1 - mp.log(variance[t])) / 2
        for t in (2, 3, 4):
            kappa = mp.mpf(beta[t - 1]) * abar[t - 1] / variance[t - 1]
            target = mp.sqrt(variance[t]) * x0 - mp.sqrt(abar[t]) * noise[t - 2]
            total -= normal_divergence(mp, 0, mp.mpf(g), target, kappa)
    assert got.value == pytest.approx(float(total), rel=8 * EPS, abs=0)
    for part in got[1:]:
        assert np.isfinite(part).all()
    by_g = model.network.unpack(got.params)["c"][:, 1]
    np.testing.assert_allclose(by_g, -0.5 if g > 0 else 0, rtol=4 * EPS, atol=1e-300)


@pytest.mark.parametrize("kind", [BinomialReverse, SigmoidReverse])
@pytest.mark.parametrize("a", [-800.0, 800.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_of_bits_and_its_gradient_are_finite_at_extreme_outputs(kind, a, dtype):
    model = kind(BinomialDiffusion(BETA, PRIOR), 3, hidden=(1,))
    params = np.zeros(model.network.size, dtype)
    model.network.unpack(params)["c"][...] = a
    got = objective(model, params, bits((4, 3), 40), [[2], [3], [4]], np.full((3, 4, 3), 0.5))
    assert np.isfinite(got.value)
    assert np.isfinite(got.params).all()


@pytest.mark.parametrize("g", [-800.0, 0.0, 690.0])
def test_f_sigma_holds_where_exp_almost_overflows(g):
    model, mp = GaussianReverse(GaussianDiffusion(BETA), 1, hidden=(1,)), mpmath_oracle.mp
    law = answering(model, lambda xt, t: np.full((*xt.shape[:-1], 2), g))(np.zeros((1, 1)), 3)
    tables = mpmath_oracle.Tables(BETA)
    kappa = mp.mpf(BETA[2]) * tables.abar(2) / tables.one_minus_abar(2)
    truth = tables.posterior_var(3) * (1 + kappa * mp.exp(g))
    assert law.var.item() == pytest.approx(float(truth), rel=2000 * EPS, abs=0)  # g's own rounding


def test_f_sigma_beyond_float64_is_refused_by_name_without_a_warning():
    model = GaussianReverse(GaussianDiffusion(BETA), 1, hidden=(1,))
    kernel = answering(model, lambda xt, t: np.full((*xt.shape[:-1], 2), 800.0))
    with pytest.raises(ValueError, match="var must be positive and finite, got inf"):
        kernel(np.zeros((1, 1)), 3)


# Both columns


MODELS = {"gaussian": gaussian_pair, "binomial": binomial_pair, "sigmoid": sigmoid_pair}
columns = pytest.mark.parametrize("column", MODELS)


@columns
def test_outputs_of_zero_make_k_equal_l_null(column):
    """The noise is a quadrature rule, exact for quadratics (-1, 1) and for probabilities in
    sixteenths: no statistics.
    """
    if column == "gaussian":
        model, noise = gaussian_pair()[0], np.broadcast_to([[[-1.0] * 3], [[1.0] * 3]], (2, 3, 3))
        x0 = np.array([0.5, -1.5, 3.0])
    else:
        kernel = {
            "binomial": BinomialReverse,
            "sigmoid": partial(SigmoidReverse, from_forward=True),
        }[column]
        model = kernel(BinomialDiffusion([0.5] * 4), 3, hidden=(3,))
        noise = np.broadcast_to((np.arange(32)[:, None, None] + 0.5) / 32, (32, 3, 3))
        x0 = np.array([1.0, 0.0, 1.0])
    got = objective(
        model, model.network.init(rng=np.random.default_rng(15)), x0, [2, 3, 4], noise
    ).value
    assert got == pytest.approx(
        float(bounds.null_log_likelihood(model.diffusion, x0)), rel=ROUNDING, abs=0
    )


@columns
def test_kernel_survives_pickling(column):
    model, *_, params = MODELS[column]()
    kernel, xt = model.kernel(params), bits((4, 3), 16)
    first, second = kernel(xt, 3), pickle.loads(pickle.dumps(kernel))(xt, 3)
    pairs = zip(arrays(first), arrays(second), strict=True)
    assert all(one.tobytes() == two.tobytes() for one, two in pairs)


@columns
def test_law_is_float64_whatever_the_parameters(column):
    model, *_, params = MODELS[column]()
    law = model.kernel(params.astype(np.float32))(bits((4, 3), 17), 3)
    assert [array.dtype for array in arrays(law)] == [np.float64, np.float64]


@columns
def test_law_is_computed_in_float64_from_a_network_in_float32(column):
    model, truth, _, params = MODELS[column]()
    params, xt = params.astype(np.float32), bits((1, 3), 17)
    inputs = truth.inputs(xt, 3)
    out, law = (
        model.network.apply(params, inputs, np.array(3)).astype(float),
        model.kernel(params)(xt, 3),
    )
    got = (law.mean, law.var) if column == "gaussian" else (law.prob1,)
    by_hand = (
        truth.kernel(out[0], xt[0], 3)
        if column == "gaussian"
        else [truth.kernel(out[0], 1, xt[0], 3)]
    )
    np.testing.assert_allclose(np.concatenate(got), by_hand, rtol=0, atol=ROUNDING)


@columns
def test_parameters_of_the_kernel_are_not_written_to(column):
    model, *_, params = MODELS[column]()
    params.flags.writeable = False
    states = bits((4, 3), 18)
    states.flags.writeable = False
    assert model.kernel(params)(states, 3).shape == (4, 3)


@columns
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_has_the_law_and_the_dtype_asked_for(column, dtype):
    family = MODELS[column]()[0].diffusion.law
    noise = family.noise((200_000,), rng=statistics_budget.seed(19), dtype=dtype)
    law = "norm" if column == "gaussian" else "uniform"
    assert noise.dtype == dtype
    assert stats.kstest(noise.astype(float), law).pvalue > ALARM
    assert stats.kstest(1.05 * noise.astype(float), law).pvalue < ALARM  # power


@columns
def test_divergences_in_float32_stay_in_float32(column):
    model = MODELS[column]()[0]
    ones = np.ones((1, 3, 3), np.float32)
    t = np.array([[2]])
    draw = model.draw(ones, t, ones * np.float32(0.5))
    out = np.zeros((1, 3, model.network.d_out), np.float32)
    kl, grad = model.kl_and_grad(out, draw, t)
    dtypes = {draw.xt.dtype, draw.inputs.dtype, draw.target.dtype, kl.dtype, grad.dtype}
    assert dtypes == {np.dtype(np.float32)} if column != "sigmoid" else draw.xt.dtype == np.float32


def test_noise_equal_to_the_probability_draws_a_zero():
    model = BinomialReverse(BinomialDiffusion([0.5, 1.0]), 1, hidden=(1,))
    ones, t = np.ones((1, 1, 1)), np.array([[2]])
    assert model.draw(ones, t, 0.5 * ones).xt.item() == 0.0


# The trajectory


def is_normal(x):
    """Whether numbers are standard normal: their law's shape, and their mean square, which sees 5 %
    in 40,000 numbers.
    """
    low, high = stats.chi2.interval(1 - ALARM, x.size)
    return stats.kstest(x, "norm").pvalue > ALARM and low < (x**2).sum() < high


class Still(np.random.Generator):
    """A generator whose normal numbers are all the same, so that a trajectory is a sum that can be
    written down.
    """

    def __init__(self, value):
        super().__init__(np.random.PCG64(0))
        self.value = value

    def standard_normal(self, size, dtype):
        return np.full(size, self.value)


LINEAR = {
    2: (0.8, 0.1, 0.3),
    3: (0.6, -0.2, 0.5),
    4: (-0.7, 0.4, 0.2),
}  # p(x^{t-1}|x^t) = N(slope x^t + shift, var)


def linear(xt, t):
    slope, shift, var = LINEAR[t]
    return Gaussian(slope * xt + shift, var)


@pytest.mark.parametrize("noise", [0.0, 0.75])
def test_trajectory_of_known_noise_is_the_recursion_by_hand(noise):
    path = sample_trajectory(GaussianDiffusion(BETA), linear, 2, 3, rng=Still(noise), keep=range(5))
    x = {4: noise}
    for t in (4, 3, 2):
        slope, shift, var = LINEAR[t]
        x[t - 1] = slope * x[t] + shift + np.sqrt(var) * noise
    x[0] = np.sqrt(1 - BETA[0]) * x[1] + np.sqrt(BETA[0]) * noise
    for t in range(5):
        np.testing.assert_allclose(path.states[t], np.full((2, 3), x[t]), rtol=0, atol=ROUNDING)


def test_linear_kernels_give_the_law_of_x0_in_closed_form():
    path = sample_trajectory(
        GaussianDiffusion(BETA), linear, 40_000, 1, rng=statistics_budget.seed(20)
    )
    mean, var = 0.0, 1.0
    for slope, shift, noise in [
        LINEAR[4],
        LINEAR[3],
        LINEAR[2],
        (np.sqrt(1 - BETA[0]), 0.0, BETA[0]),
    ]:
        mean, var = slope * mean + shift, slope**2 * var + noise
    unit = (path.x0.ravel() - mean) / np.sqrt(var)
    assert is_normal(unit)
    assert not is_normal(1.05 * unit)  # power: a standard deviation 5 % off is seen


@pytest.mark.parametrize("t", [0, 1, 2, 3, 4])
def test_forward_kernels_keep_the_gaussian_prior(t):
    diffusion = GaussianDiffusion(BETA)
    path = sample_trajectory(
        diffusion, diffusion.kernel, 20_000, 2, rng=statistics_budget.seed(21), keep=[t]
    )
    states = path.states[t].ravel()
    assert is_normal(states)
    assert not is_normal(1.05 * states)  # power


@pytest.mark.parametrize("t", [0, 1, 2, 3, 4])
def test_forward_kernels_keep_the_binomial_prior(t):
    diffusion = BinomialDiffusion(BETA, [0.2, 0.7])
    path = sample_trajectory(
        diffusion, diffusion.kernel, 50_000, 2, rng=statistics_budget.seed(22), keep=[t]
    )
    counts = np.bincount(path.states[t].astype(int) @ [2, 1], minlength=4)  # 00, 01, 10, 11
    truth = np.array([0.8 * 0.3, 0.8 * 0.7, 0.2 * 0.3, 0.2 * 0.7])
    off = np.array(
        [0.8 * 0.265, 0.8 * 0.735, 0.2 * 0.265, 0.2 * 0.735]
    )  # the second probability 5 % off
    assert stats.chisquare(counts, truth * counts.sum()).pvalue > ALARM
    assert stats.chisquare(counts, off * counts.sum()).pvalue < ALARM  # power


@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_states_kept_belong_to_one_trajectory(t):
    """The residual of x^{t-1} given x^t is standard normal noise."""
    diffusion = GaussianDiffusion(BETA)
    path = sample_trajectory(
        diffusion, diffusion.kernel, 100_000, 1, rng=statistics_budget.seed(23), keep=[t - 1, t]
    )
    rate, before, after = BETA[t - 1], path.states[t - 1].ravel(), path.states[t].ravel()
    residual = (before - np.sqrt(1 - rate) * after) / np.sqrt(rate)
    assert is_normal(residual)
    assert stats.pearsonr(residual, after).pvalue > ALARM
    assert not is_normal(1.05 * residual)  # power
    assert (
        stats.pearsonr(residual + 0.05 * after, after).pvalue < ALARM
    )  # power


@pytest.mark.parametrize(
    ("keep", "times"),
    [
        ((), []),
        ([4], [4]),
        ([0], [0]),
        ([3, 1, 3], [1, 3]),
        (range(5), [0, 1, 2, 3, 4]),
        (dict.fromkeys([2]).keys(), [2]),
        (np.array([0, 2]), [0, 2]),
    ],
)
def test_states_kept_are_those_asked_for_in_order_of_time(keep, times):
    diffusion = GaussianDiffusion(BETA)
    path = sample_trajectory(
        diffusion, diffusion.kernel, 3, 2, rng=np.random.default_rng(24), keep=keep
    )
    assert list(path.states) == times


def test_a_kernel_that_writes_into_its_states_changes_nothing():
    diffusion = GaussianDiffusion(BETA)

    def rude(function):
        def asked(x, *t):
            law = function(x.copy(), *t)
            x[...] = 1e9
            return law

        return asked

    paths = []
    for wrap in (lambda function: function, rude):
        kernels = {"reverse": wrap(diffusion.kernel), "edge": wrap(diffusion.edge)}
        rng = np.random.default_rng(25)
        paths.append(sample_trajectory(diffusion, n=3, d=2, rng=rng, keep=range(5), **kernels))
    for t in range(5):
        assert paths[0].states[t].tobytes() == paths[1].states[t].tobytes()


def test_a_law_that_only_draws_is_enough():
    class Twos:
        def log_prob(self, x):
            raise AssertionError("not asked for")

        def sample(self, *, rng):
            return np.full((3, 2), 2.0)

    diffusion = GaussianDiffusion(BETA)
    rng = np.random.default_rng(25)
    path = sample_trajectory(diffusion, lambda xt, t: Twos(), 3, 2, rng=rng, keep=[1])
    assert (path.states[1] == 2.0).all()


def test_a_kernel_does_not_follow_parameters_that_are_written_to():
    model = gaussian_model()
    params = np.full(model.network.size, 0.1)
    kernel = model.kernel(params)
    before = kernel([[0.5, 1.0]], 3)
    params[:] = 1.0
    assert kernel([[0.5, 1.0]], 3) == before


def test_states_kept_share_no_memory_with_x0():
    path = trajectory(keep=[0, 1])
    path.x0[:] = 7.0
    assert not (path.states[0] == 7.0).any()


def test_model_kernels_take_arrays_of_times_and_say_so():
    for model in (gaussian_model(), binomial_model()):
        kernel = model.kernel(np.zeros(model.network.size))
        assert kernel.takes_times is True
        assert pickle.loads(pickle.dumps(kernel)).takes_times is True


def test_what_is_kept_does_not_change_the_trajectory():
    diffusion = GaussianDiffusion(BETA)
    paths = [
        sample_trajectory(diffusion, linear, 3, 2, rng=np.random.default_rng(25), keep=keep)
        for keep in ((), range(5))
    ]
    assert paths[0].x0.tobytes() == paths[1].x0.tobytes() == paths[1].states[0].tobytes()


def test_the_last_state_is_drawn_from_the_edge():
    edge = sample_trajectory(
        GaussianDiffusion(BETA),
        linear,
        2,
        3,
        rng=Still(0.0),
        edge=lambda x1: Gaussian(x1 + 5.0, 1.0),
        keep=[1],
    )
    np.testing.assert_array_equal(edge.x0, edge.states[1] + 5.0)


def test_kernel_is_asked_once_for_each_time_from_the_last_to_the_second_with_an_int():
    diffusion, asked = GaussianDiffusion(BETA), []

    def reverse(xt, t):
        asked.append((type(t), t, xt.shape))
        return diffusion.kernel(xt, t)

    sample_trajectory(diffusion, reverse, 3, 2, rng=np.random.default_rng(26))
    assert asked == [(int, t, (3, 2)) for t in (4, 3, 2)]


def test_one_step_is_the_edge_alone():
    path = sample_trajectory(GaussianDiffusion([0.36]), None, 2, 3, rng=Still(1.0), keep=[1])
    np.testing.assert_allclose(path.x0, 0.8 * path.states[1] + 0.6, rtol=4 * EPS)


@pytest.mark.parametrize(
    "diffusion",
    [GaussianDiffusion(BETA), BinomialDiffusion(BETA, [0.2, 0.7])],
    ids=["gaussian", "binomial"],
)
def test_trajectory_is_the_same_for_the_same_generator(diffusion):
    first, second = (
        sample_trajectory(diffusion, diffusion.kernel, 5, 2, rng=np.random.default_rng(27)).x0
        for _ in range(2)
    )
    assert first.tobytes() == second.tobytes()


# Bad input


def gaussian_model():
    return GaussianReverse(GaussianDiffusion(BETA), 2, hidden=(3,))


def binomial_model():
    return BinomialReverse(BinomialDiffusion(BETA, [0.2, 0.7]), 2, hidden=(3,))


def ask(model, xt, t):
    return model.kernel(np.zeros(model.network.size))(xt, t)


def trajectory(n=3, d=2, diffusion=None, reverse=None, **keywords):
    diffusion = diffusion or GaussianDiffusion(BETA)
    return sample_trajectory(
        diffusion,
        reverse or diffusion.kernel,
        n,
        d,
        **{"rng": np.random.default_rng(28), **keywords},
    )


REFUSED = {
    "d of zero": (
        lambda: GaussianReverse(GaussianDiffusion(BETA), 0),
        "d must be an integer >= 1, got 0",
    ),
    "d of the wrong type": (
        lambda: BinomialReverse(BinomialDiffusion(BETA), 2.0),
        "d must be an integer >= 1, got 2.0",
    ),
    "one step only": (
        lambda: GaussianReverse(GaussianDiffusion([0.1]), 2),
        "T must be an integer >= 2, got 1",
    ),
    "one step only, binomial": (
        lambda: BinomialReverse(BinomialDiffusion([0.1]), 2),
        "T must be an integer >= 2, got 1",
    ),
    "not the prior's d": (
        lambda: BinomialReverse(BinomialDiffusion(BETA, [0.2, 0.7]), 3),
        "d must be the prior's length 2, got 3",
    ),
    "from_forward None": (
        lambda: SigmoidReverse(BinomialDiffusion(BETA), 2, from_forward=None),
        "from_forward must be True or False, got None",
    ),
    "from_forward a number": (
        lambda: SigmoidReverse(BinomialDiffusion(BETA), 2, from_forward=2),
        "from_forward must be True or False, got 2",
    ),
    "no layer": (
        lambda: GaussianReverse(GaussianDiffusion(BETA), 2, hidden=()),
        "hidden must name at least one layer",
    ),
    "parameters of the wrong size": (
        lambda: gaussian_model().kernel(np.zeros(3)),
        "params must be a real floating-point vector",
    ),
    "complex parameters": (
        lambda: gaussian_model().kernel(1j * np.ones(gaussian_model().network.size)),
        "params must be a real floating-point vector",
    ),
    "t of 1": (lambda: ask(gaussian_model(), np.zeros((3, 2)), 1), "t must lie in 2..4, got 1"),
    "t beyond T": (lambda: ask(binomial_model(), np.zeros((3, 2)), 5), "t must lie in 2..4, got 5"),
    "t a float": (lambda: ask(gaussian_model(), np.zeros((3, 2)), 2.0), "t must be an integer"),
    "t a bool": (lambda: ask(gaussian_model(), np.zeros((3, 2)), True), "t must be an integer"),
    "t of another length": (
        lambda: ask(gaussian_model(), np.zeros((3, 2)), [2, 3]),
        "t must broadcast against the leading axes of x",
    ),
    "t with more axes": (
        lambda: ask(gaussian_model(), np.zeros((3, 2)), [[2], [3]]),
        "t must not have more axes than the states",
    ),
    "t longer than one state": (
        lambda: ask(binomial_model(), np.zeros((1, 2)), [2, 3]),
        "t must not have more axes than the states",
    ),
    "xt of other vectors": (
        lambda: ask(gaussian_model(), np.zeros((3, 1)), 2),
        "xt must have 2 components",
    ),
    "xt nan": (lambda: ask(gaussian_model(), [[np.nan, 0.0]], 2), "xt must be finite, got nan"),
    "xt no vector": (lambda: ask(gaussian_model(), 0.0, 2), "xt must have a last axis"),
    "xt empty": (
        lambda: ask(gaussian_model(), np.zeros((0, 2)), 2),
        "xt must hold at least one data vector",
    ),
    "xt no bits": (lambda: ask(binomial_model(), [[0.5, 0.0]], 2), "xt must be 0 or 1, got 0.5"),
    "xt complex": (
        lambda: ask(binomial_model(), [[1j, 0.0]], 2),
        "xt must be an array of real numbers",
    ),
    "n of zero": (lambda: trajectory(n=0), "n must be an integer >= 1, got 0"),
    "n a float": (lambda: trajectory(n=3.0), "n must be an integer >= 1, got 3.0"),
    "d of a trajectory zero": (lambda: trajectory(d=0), "d must be an integer >= 1, got 0"),
    "d of a trajectory a bool": (lambda: trajectory(d=True), "d must be an integer >= 1, got True"),
    "d not the prior's": (
        lambda: trajectory(d=3, diffusion=BinomialDiffusion(BETA, [0.2, 0.7])),
        "d must be",
    ),
    "keep beyond T": (lambda: trajectory(keep=[5]), "keep must lie in 0..4, got 5"),
    "keep before 0": (lambda: trajectory(keep=[0, -1]), "keep must lie in 0..4, got -1"),
    "keep a number": (lambda: trajectory(keep=3), "keep must be an iterable of times, got 3"),
    "keep None": (lambda: trajectory(keep=None), "keep must be an iterable of times, got None"),
    "keep a float": (lambda: trajectory(keep=[1.0]), "keep must be an integer"),
    "keep nested": (lambda: trajectory(keep=[[1, 2]]), "keep must be one integer"),
    "rng a seed": (lambda: trajectory(rng=0), "rng must be a numpy.random.Generator"),
    "rng a float": (lambda: trajectory(rng=0.5), "rng must be a numpy.random.Generator"),
    "a kernel over other states": (
        lambda: trajectory(reverse=lambda xt, t: Gaussian(np.zeros((5, 2)), 1.0)),
        "reverse must return a law",
    ),
    "a kernel over one component": (
        lambda: trajectory(reverse=lambda xt, t: Gaussian(np.zeros((3, 1)), 1.0)),
        "reverse must return a law",
    ),
    "a kernel of the other column": (
        lambda: trajectory(reverse=lambda xt, t: Bernoulli(0 * xt)),
        "a Gaussian law must have mean and var",
    ),
    "an edge over other states": (
        lambda: trajectory(edge=lambda x1: Gaussian(np.zeros((2, 3, 2)), 1.0)),
        "edge must return a law",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("wrong", [None, 0.5, Gaussian([0.0], 1.0)])
def test_what_is_no_diffusion_is_refused_by_name(wrong):
    message = r"diffusion must be a GaussianDiffusion or [^,]*, got "
    with pytest.raises(TypeError, match=message + re.escape(repr(wrong))):
        sample_trajectory(wrong, linear, 3, 2, rng=np.random.default_rng(0))


def test_what_has_a_prior_and_kernels_of_its_own_need_not_be_a_diffusion():
    diffusion = GaussianDiffusion(BETA)
    own = SimpleNamespace(T=diffusion.T, law=Gaussian, prior=diffusion.prior)
    got = trajectory(diffusion=own, reverse=diffusion.kernel, edge=diffusion.edge)
    np.testing.assert_array_equal(got.x0, trajectory().x0)


# The networks that no argument changes


def test_the_default_network_of_the_gaussian_column():
    network = GaussianReverse(GaussianDiffusion(np.full(60, 0.1)), 2).network
    assert (network.widths, network.input_gain, network.skip) == ([64] * 4, 2.5, False)
    np.testing.assert_array_equal(network.time_features, time_polynomials(60, 2))
    np.testing.assert_array_equal(network.basis, time_bumps(60, 40))
    assert gaussian_model().network.basis.shape == (3, 3)


@pytest.mark.parametrize(
    ("kind", "gain", "skip", "readouts"),
    [(BinomialReverse, 0.3, True, 1), (SigmoidReverse, 1.0, False, 3)],
)
def test_the_default_networks_of_the_binomial_column(kind, gain, skip, readouts):
    network = kind(BinomialDiffusion(BETA), 2).network
    assert (network.widths, network.input_gain, network.skip) == ([64] * 4, gain, skip)
    assert network.time_features.shape == (3, 0)
    assert network.basis.shape == (3, readouts)

"""The heartbeat: small trained models whose K and log p are enumerated, and the example that trains the full one."""

import importlib
import itertools
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import mpmath_oracle
import numpy as np
import pytest
from scipy import stats

from dpm_ref import BinomialDiffusion, bounds, data, exact, likelihood, schedules, training
from dpm_ref.reverse import BinomialReverse, SigmoidReverse

ROOT = Path(__file__).resolve().parents[2]
EXACT = 1e-12
Z = float(stats.norm.isf(mpmath_oracle.FALSE_ALARM / 2))
KERNELS = {
    "posterior": partial(BinomialReverse, skip=True),
    "sigmoid": SigmoidReverse,
    "sigmoid from forward": partial(SigmoidReverse, from_forward=True),
}
kernels = pytest.mark.parametrize("name", KERNELS)


def trained(name, T=6, length=6, period=3, steps=300):
    """A model of the short heartbeat after a little training, and its atoms."""
    diffusion, atoms = BinomialDiffusion(schedules.constant_erasure(T), 1 / period), data.heartbeat_atoms(length, period)
    model, rng = KERNELS[name](diffusion, length, hidden=(12, 12)), np.random.default_rng(1)
    state = training.train(model, atoms, training.start(model, rng=rng), rng=rng, steps=steps,
                           learning_rate=training.cosine_decay(0.02, steps, warmup=20))
    return model, state.params, atoms


@pytest.fixture(scope="module", params=KERNELS)
def small(request):
    """d = 6, T = 6: the model, its parameters, the three sequences, and the model with all 64 states enumerated."""
    model, params, atoms = trained(request.param)
    return model, params, atoms, exact.BinaryModel(model.diffusion, 6, model.kernel(params))


def number(atoms):
    """Where the sequences stand among all states."""
    return atoms.astype(int) @ (1 << np.arange(atoms.shape[1])[::-1])


def test_k_of_the_trained_model_summed_over_all_states_is_that_of_the_enumeration(small):
    """The divergences that training sees, at every state x^t with its probability: noise of 0 makes a bit 1, noise of 1 makes it 0."""
    model, params, atoms, truth = small
    states = exact.binary_states(6)
    for x0, K in zip(atoms, truth.lower_bound()[number(atoms)], strict=True):
        total = float(bounds.fixed_terms(model.diffusion, x0))
        for t in range(2, 7):
            draw = model.draw(x0, np.array([[t]]), 1.0 - states[None])
            np.testing.assert_array_equal(draw.xt[0], states)
            out, _ = model.network.forward(params, draw.inputs, np.array([t]))
            total -= float(np.exp(model.diffusion.marginal(x0, t).log_prob(states)) @ model.kl_and_grad(out, draw, np.array([[t]]))[0][0])
        assert total == pytest.approx(K, rel=EXACT, abs=0)


@kernels
def test_log_p_of_a_trained_model_is_the_sum_of_the_weights_of_all_trajectories(name):
    model, params, atoms = trained(name, T=3, length=3, steps=50)
    diffusion, kernel, states = model.diffusion, model.kernel(params), exact.binary_states(3)
    truth = exact.BinaryModel(diffusion, 3, kernel).log_likelihood()[number(atoms)]
    for x0, log_p in zip(atoms, truth, strict=True):
        paths = np.array([[x0, *path] for path in itertools.product(states, repeat=3)]).transpose(1, 0, 2)
        log_q = sum(diffusion.kernel(paths[t - 1], t).log_prob(paths[t]) for t in (1, 2, 3))
        possible = np.isfinite(log_q)
        log_w = likelihood.log_weights(diffusion, kernel, paths[:, possible])
        assert np.log(np.exp(log_q[possible] + log_w).sum()) == pytest.approx(log_p, rel=EXACT, abs=0)


def test_estimates_of_k_and_log_p_agree_with_the_enumeration_and_see_five_in_a_hundred(small):
    model, params, atoms, truth = small
    kernel, rng, rows = model.kernel(params), np.random.default_rng(2), number(atoms)
    K = bounds.lower_bound(model.diffusion, kernel, atoms, rng=rng, n_samples=20_000)
    log_p = likelihood.log_likelihood(model.diffusion, kernel, atoms, n_samples=20_000, rng=rng)
    for got, stderr, right in [(K.value, K.stderr, truth.lower_bound()[rows]), (log_p.value, log_p.stderr, truth.log_likelihood()[rows])]:
        assert (np.abs(got - right) < Z * stderr).all()
        assert (np.abs(got - 0.95 * right) > Z * stderr).all()  # power


def test_k_lies_below_log_p_and_below_the_ideal_and_p_sums_to_one(small):
    model, _, atoms, truth = small
    K, log_p, rows = truth.lower_bound(), truth.log_likelihood(), number(atoms)
    ideal = exact.ideal_bound_by_enumeration(exact.FiniteData(model.diffusion, atoms)).value
    assert (log_p >= K).all()
    assert K[rows].mean() < ideal < -data.heartbeat_entropy(6, 3)
    assert np.exp(log_p).sum() == pytest.approx(1.0, rel=EXACT)


def test_what_k_lacks_of_the_ideal_is_the_divergence_of_the_model_from_the_ideal_kernel(small):
    """The sum that the example estimates, over all states."""
    model, params, atoms, truth = small
    five, states, kernel = exact.FiniteData(model.diffusion, atoms), exact.binary_states(6), model.kernel(params)
    missing = sum(np.exp(five.log_prob(states, t)) @ five.reverse(states, t).kl(kernel(states, t)) for t in range(2, 7))
    gap = exact.ideal_bound_by_enumeration(five).value - truth.lower_bound()[number(atoms)].mean()
    assert gap == pytest.approx(missing, rel=1e-10)


def test_a_prediction_of_x0_learns_what_the_ideal_kernel_knows():
    """The price of six steps is 1.6 nats, and what 300 steps of training leave out is less than a tenth of one."""
    model, params, atoms = trained("posterior")
    K = exact.BinaryModel(model.diffusion, 6, model.kernel(params)).lower_bound()[number(atoms)].mean()
    ideal = exact.ideal_bound_by_enumeration(exact.FiniteData(model.diffusion, atoms)).value
    assert 0 < ideal - K < 0.1


def run(out, *arguments):
    subprocess.run([sys.executable, str(ROOT / "examples" / "heartbeat.py"), "--quick", "--out", str(out), *arguments], check=True,
                   capture_output=True)
    return json.loads((out / "heartbeat.json").read_text())


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return out, run(out)


def test_the_quick_heartbeat_writes_the_numbers_that_are_promised(quick):
    wanted = {"K_bits", "K_stderr_bits", "K_minus_null_bits", "ideal_K_bits", "ideal_minus_K_bits", "limit_bits", "seconds",
              "heartbeat_share", "heartbeat_share_stderr", "frequencies", "uniform_p_value", "log_p_bits", "p_sum", "p_sum_stderr"}
    assert wanted <= set(quick[1])


def test_the_quick_heartbeat_learns_something_and_stays_below_the_ideal(quick):
    numbers = quick[1]
    assert numbers["K_minus_null_bits"] > 5 * numbers["K_stderr_bits"]
    assert numbers["K_bits"] < numbers["ideal_K_bits"] + Z * numbers["K_stderr_bits"] < numbers["limit_bits"]


def test_two_estimates_of_k_and_two_of_the_share_agree(quick):
    numbers = quick[1]
    K = numbers["ideal_K_bits"] - numbers["ideal_minus_K_bits"]
    assert abs(numbers["K_bits"] - K) < Z * np.hypot(numbers["K_stderr_bits"], numbers["ideal_minus_K_stderr_bits"])
    apart = Z * np.hypot(numbers["p_sum_stderr"], numbers["heartbeat_share_stderr"])
    assert abs(numbers["p_sum"] - numbers["heartbeat_share"]) < apart
    assert numbers["p_sum"] < 1 + Z * numbers["p_sum_stderr"]


def test_sequences_of_the_quick_heartbeat_are_the_five_alike(quick):
    assert quick[1]["uniform_p_value"] > mpmath_oracle.FALSE_ALARM
    assert sum(quick[1]["frequencies"]) == pytest.approx(1.0)


def test_the_quick_heartbeat_draws_a_figure(quick):
    from matplotlib.image import imread

    image = imread(quick[0] / "heartbeat.png")[..., :3]
    assert image.shape[0] > 1000
    assert np.ptp(image) == 1.0  # white paper and dark ink


def test_the_heartbeat_takes_the_paper_s_parametrisation_and_another_schedule(tmp_path):
    numbers = run(tmp_path, "--parametrisation", "sigmoid-from-forward", "--schedule", "cosine", "--T", "20")
    assert (numbers["parametrisation"], numbers["schedule"], numbers["T"]) == ("sigmoid-from-forward", "cosine", 20)
    assert numbers["K_minus_null_bits"] > 5 * numbers["K_stderr_bits"]


@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--T", "9"], ["--steps", "0"], ["--schedule", "none"],
                                       ["--parametrisation", "tanh"]])
def test_the_heartbeat_refuses_bad_options(arguments, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "examples")
    with pytest.raises(SystemExit):
        importlib.import_module("heartbeat").main(arguments)
    assert arguments[0] in capsys.readouterr().err

"""The heartbeat: small trained models whose K and log p are enumerated, and the example itself."""

import itertools
from functools import partial

import numpy as np
import pytest
import statistics_budget

from dpm_ref import BinomialDiffusion, bounds, data, exact, likelihood, schedules, training
from dpm_ref.mlp import Tape
from dpm_ref.reverse import BinomialReverse, SigmoidReverse

EXACT = 1e-12
COMPARISONS = 3 * 2 * 3 + 5  # three kernels, K and log p, three sequences; those of the quick run
Z = statistics_budget.limit(COMPARISONS)
KERNELS = {
    "posterior": BinomialReverse,
    "sigmoid": SigmoidReverse,
    "sigmoid from forward": partial(SigmoidReverse, from_forward=True),
}
kernels = pytest.mark.parametrize("name", KERNELS)


def trained(name, T=6, length=6, period=3, steps=300):
    """A model of the short heartbeat after a little training, and its atoms."""
    diffusion = BinomialDiffusion(schedules.constant_erasure(T), 1 / period)
    atoms, rng = data.heartbeat_atoms(length, period), np.random.default_rng(1)
    model = KERNELS[name](diffusion, length, hidden=(12, 12))
    rate = training.cosine_decay(0.02, steps, warmup=20)
    state = training.start(model, rng=rng)
    training.train(model, atoms, state, rng=rng, steps=steps, learning_rate=rate)
    return model, state.params, atoms


@pytest.fixture(scope="module", params=KERNELS)
def small(request):
    """d = 6, T = 6: the model, its parameters, the three sequences, the enumeration of it."""
    model, params, atoms = trained(request.param)
    return model, params, atoms, exact.BinaryModel(model.diffusion, 6, model.kernel(params))


def number(atoms):
    """Where the sequences stand among all states."""
    return atoms.astype(int) @ (1 << np.arange(atoms.shape[1])[::-1])


def test_k_of_the_trained_model_summed_over_all_states_is_that_of_the_enumeration(small):
    """The divergences that training sees, at every state x^t with its probability.

    Noise of 0 makes a bit 1, noise of 1 makes it 0.
    """
    model, params, atoms, truth = small
    states = exact.binary_states(6)
    tape = Tape(model.network, params, 1, len(states))
    for x0, K in zip(atoms, truth.lower_bound()[number(atoms)], strict=True):
        total = float(bounds.fixed_terms(model.diffusion, x0))
        for t in range(2, 7):
            draw = model.draw(np.tile(x0, (1, 64, 1)), np.array([[t]]), 1.0 - states[None])
            np.testing.assert_array_equal(draw.xt[0], states)
            out = tape.forward(draw.inputs, np.array([t]))
            kl = model.kl_and_grad(out, draw, np.array([[t]]))[0][0].sum(-1)
            total -= float(np.exp(model.diffusion.marginal(x0, t).log_prob(states)) @ kl)
        assert total == pytest.approx(K, rel=EXACT, abs=0)


@kernels
def test_log_p_of_a_trained_model_is_the_sum_of_the_weights_of_all_trajectories(name):
    model, params, atoms = trained(name, T=3, length=3, steps=50)
    diffusion, kernel, states = model.diffusion, model.kernel(params), exact.binary_states(3)
    truth = exact.BinaryModel(diffusion, 3, kernel).log_likelihood()[number(atoms)]
    for x0, log_p in zip(atoms, truth, strict=True):
        paths = np.array([[x0, *path] for path in itertools.product(states, repeat=3)])
        paths = paths.transpose(1, 0, 2)
        log_q = sum(diffusion.kernel(paths[t - 1], t).log_prob(paths[t]) for t in (1, 2, 3))
        possible = np.isfinite(log_q)
        log_w = likelihood.log_weights(diffusion, kernel, paths[:, possible])
        total = np.log(np.exp(log_q[possible] + log_w).sum())
        assert total == pytest.approx(log_p, rel=EXACT, abs=0)


def test_estimates_of_k_and_log_p_agree_with_the_enumeration_and_see_five_in_a_hundred(small):
    model, params, atoms, truth = small
    kernel, rng, rows = model.kernel(params), statistics_budget.seed(2), number(atoms)
    K = bounds.lower_bound(model.diffusion, kernel, atoms, rng=rng, n_samples=20_000)
    log_p = likelihood.log_likelihood(model.diffusion, kernel, atoms, n_samples=20_000, rng=rng)
    for got, stderr, right in [
        (K.value, K.stderr, truth.lower_bound()[rows]),
        (log_p.value, log_p.stderr, truth.log_likelihood()[rows]),
    ]:
        assert (np.abs(got - right) < Z * stderr).all()
        assert (np.abs(got - 0.95 * right) > Z * stderr).all()  # power


def test_k_lies_below_log_p_and_below_the_ideal_and_p_sums_to_one(small):
    model, _, atoms, truth = small
    K, log_p, rows = truth.lower_bound(), truth.log_likelihood(), number(atoms)
    ideal = exact.ideal_bound(exact.FiniteData(model.diffusion, atoms)).value
    assert (log_p >= K).all()
    assert K[rows].mean() < ideal < -data.heartbeat_entropy(6, 3)
    assert np.exp(log_p).sum() == pytest.approx(1.0, rel=EXACT)


def test_what_k_lacks_of_the_ideal_is_the_divergence_of_the_model_from_the_ideal_kernel(small):
    """The sum that the example estimates, over all states."""
    model, params, atoms, truth = small
    five, states = exact.FiniteData(model.diffusion, atoms), exact.binary_states(6)
    kernel = model.kernel(params)
    missing = sum(
        np.exp(five.log_prob(states, t)) @ five.reverse(states, t).kl(kernel(states, t))
        for t in range(2, 7)
    )
    gap = exact.ideal_bound(five).value - truth.lower_bound()[number(atoms)].mean()
    assert gap == pytest.approx(missing, rel=1e-10)


def test_a_prediction_of_x0_learns_what_the_ideal_kernel_knows():
    """The price of six steps is 1.6 nats; 300 steps of training leave out less than a tenth."""
    model, params, atoms = trained("posterior")
    truth = exact.BinaryModel(model.diffusion, 6, model.kernel(params))
    K = truth.lower_bound()[number(atoms)].mean()
    ideal = exact.ideal_bound(exact.FiniteData(model.diffusion, atoms)).value
    assert 0 < ideal - K < 0.1


@pytest.fixture(scope="module")
def numbers(quick):
    return quick("heartbeat").numbers


@pytest.mark.slow
def test_the_quick_heartbeat_writes_the_numbers_of_figure_2(numbers):
    wanted = {
        "ideal_minus_K_bits",
        "heartbeat_share",
        "heartbeat_share_stderr",
        "frequencies",
        "uniform_p_value",
        "log_p_bits",
        "p_sum",
        "p_sum_stderr",
    }
    assert wanted <= set(numbers)


@pytest.mark.slow
def test_the_quick_heartbeat_learns_something_and_stays_below_the_ideal(numbers):
    assert numbers["K_minus_null_bits"] > 5 * numbers["K_stderr_bits"]
    ideal = numbers["ideal_K_bits"]
    assert numbers["K_bits"] < ideal + Z * numbers["K_stderr_bits"] < numbers["limit_bits"]


@pytest.mark.slow
def test_two_estimates_of_k_and_two_of_the_share_agree(numbers):
    K = numbers["ideal_K_bits"] - numbers["ideal_minus_K_bits"]
    stderr = np.hypot(numbers["K_stderr_bits"], numbers["ideal_minus_K_stderr_bits"])
    assert abs(numbers["K_bits"] - K) < Z * stderr
    apart = Z * np.hypot(numbers["p_sum_stderr"], numbers["heartbeat_share_stderr"])
    assert abs(numbers["p_sum"] - numbers["heartbeat_share"]) < apart
    assert numbers["p_sum"] < 1 + Z * numbers["p_sum_stderr"]


@pytest.mark.slow
def test_sequences_of_the_quick_heartbeat_are_the_five_alike(numbers):
    assert numbers["uniform_p_value"] > statistics_budget.alarm(COMPARISONS)
    assert sum(numbers["frequencies"]) == pytest.approx(1.0)


@pytest.mark.slow
def test_the_heartbeat_takes_the_paper_s_parametrisation_and_another_schedule(load, tmp_path):
    settings = {"parametrisation": "sigmoid-from-forward", "schedule": "cosine", "T": 20}
    options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    numbers = load("heartbeat").main(["--quick", "--out", str(tmp_path), *options])
    assert {name: numbers[name] for name in settings} == settings
    assert numbers["K_minus_null_bits"] > 5 * numbers["K_stderr_bits"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seed", "-1"],
        ["--T", "9"],
        ["--steps", "0"],
        ["--schedule", "none"],
        ["--parametrisation", "tanh"],
    ],
)
def test_the_heartbeat_refuses_bad_options(arguments, load, capsys):
    with pytest.raises(SystemExit):
        load("heartbeat").main(arguments)
    assert arguments[0] in capsys.readouterr().err

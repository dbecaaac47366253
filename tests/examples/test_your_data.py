"""Own data: what is read and refused, units, the schedule that is picked, the model saved."""

import json

import numpy as np
import pytest

from dpm_ref import GaussianDiffusion, bounds, exact, schedules, training
from dpm_ref.reverse import BinomialReverse, GaussianReverse, sample_trajectory

SHORT = ["--quick", "--steps", "60", "--T", "10"]


@pytest.fixture
def example(load):
    return load("your_data")


def points(n=600):
    """Correlated, of different scales, far from the origin."""
    x = np.random.default_rng(0).standard_normal((n, 2))
    return x @ [[1.0, 0.5], [0.0, 0.25]] + [3.0, -1.0]


@pytest.mark.parametrize("units", [1.0, 16.0])
def test_samples_come_out_in_the_data_s_units(example, tmp_path, monkeypatch, units):
    """Data at 10 times scale and shifted by 3 came out wrong when nobody standardised them."""
    np.save(tmp_path / "x.npy", units * points())
    drawn = []
    monkeypatch.setattr(example, "draw", lambda chosen, samples, *_: drawn.append(samples))
    monkeypatch.setattr(example.common.Run, "finish", lambda *_: None)
    example.main([str(tmp_path / "x.npy"), *SHORT, "--out", str(tmp_path)])
    stderr = points().std(0) / np.sqrt(600)
    assert (np.abs(drawn[0].mean(0) / units - points().mean(0)) < 6 * stderr).all()
    assert drawn[0].std(0) / units == pytest.approx(points().std(0), rel=0.2)


def test_k_in_other_units_differs_by_the_log_jacobian(example, tmp_path):
    """A density of 16 x is that of x over 16 in each component: 8 bits for two."""
    K = []
    for units in (1.0, 16.0):
        np.save(tmp_path / "x.npy", units * points())
        K.append(example.main([str(tmp_path / "x.npy"), *SHORT, "--out", str(tmp_path)]))
    assert K[0]["K_bits"] - K[1]["K_bits"] == pytest.approx(8.0, rel=1e-12)
    assert K[0]["K_minus_null_bits"] == K[1]["K_minus_null_bits"]


def test_l_null_is_the_log_likelihood_of_independent_gaussians(example, tmp_path):
    np.savetxt(tmp_path / "x.csv", points(20_000), delimiter=",")
    short = ["--steps", "30", "--T", "6", "--out", str(tmp_path)]
    numbers = example.main([str(tmp_path / "x.csv"), *short])
    null = -np.log2(2 * np.pi * np.e) - np.log2(points(20_000).std(0)).sum()
    error = 6 * 1.45 / np.sqrt(2_000)  # log pi has a standard deviation of at most 1.45 bits
    assert numbers["K_bits"] - numbers["K_minus_null_bits"] == pytest.approx(null, abs=error)


@pytest.mark.parametrize(("array", "said"), [
    (np.zeros(200), "(n, d)"), (np.ones((50, 2)), "at least 100"),
    (np.full((200, 2), np.nan), "finite"), (np.array([["a"] * 2] * 200), "numbers"),
    (np.full((200, 4, 4), 7), "0s and 1s"),
])
def test_what_is_no_data_is_refused_with_the_reason(example, tmp_path, capsys, array, said):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(SystemExit) as exit_:
        example.main([str(tmp_path / "x.npy"), "--out", str(tmp_path)])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("text", "said"), [("x,y\n" + "1,2\n" * 200, "no header"),
                                            ("1;2\n" * 200, "commas"),
                                            ("1,2\n" * 150 + "1,nan\n" * 50, "row 150"),
                                            ("".join(f"{k},2\n" for k in range(200)), "vary")])
def test_a_csv_that_is_no_data_is_refused_with_its_name(example, tmp_path, capsys, text, said):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(SystemExit) as exit_:
        example.main([str(tmp_path / "x.csv"), "--out", str(tmp_path)])
    assert exit_.value.code == 2
    assert "x.csv must" in (error := capsys.readouterr().err)
    assert said in error


@pytest.mark.parametrize("name", ["missing.npy", "missing.csv", "data.txt"])
def test_a_file_that_cannot_be_read_is_refused(example, tmp_path, capsys, name):
    with pytest.raises(SystemExit) as exit_:
        example.main([str(tmp_path / name), "--out", str(tmp_path)])
    assert exit_.value.code == 2
    assert name in capsys.readouterr().err


def test_the_finest_scale_of_gaussians_far_apart_is_near_their_variance(example):
    """An optimal bandwidth shrinks slowly with the number of points, and is below the variance."""
    rng = np.random.default_rng(0)
    for std in (0.02, 0.1):
        centres = rng.integers(0, 2, size=(3000, 2))
        found = example.finest_scale(centres + std * rng.standard_normal((3000, 2)), rng)
        assert 0.03 < found / std**2 < 1.0


def test_beta_1_is_a_twentieth_of_it(example):
    rng = np.random.default_rng(0)
    z = training.Scaling.of(points()).to_model(points())
    model = example.build(z, 10, np.random.default_rng(1))
    scale = example.finest_scale(z, np.random.default_rng(1))
    assert model.diffusion.beta[0] == scale / 20
    assert isinstance(example.build((z > 0) * 1.0, 10, rng), BinomialReverse)


def test_bits_have_their_own_mean_activity(example):
    x0 = np.array([[0, 1], [0, 1], [0, 1], [1, 1]] * 25)
    pi1 = example.build(x0, 10, np.random.default_rng(0)).diffusion.pi1
    np.testing.assert_allclose(pi1, [26 / 102, 101 / 102])


def test_images_of_bits_train_and_are_drawn(example, tmp_path):
    np.save(tmp_path / "x.npy", example.made("bars", 0, 500).astype(bool))
    numbers = example.main([str(tmp_path / "x.npy"), *SHORT, "--out", str(tmp_path)])
    assert numbers["K_minus_null_bits"] > 5 * numbers["K_stderr_bits"]
    assert numbers["log_jacobian_bits"] == 0.0
    assert "ideal_K_bits" not in numbers


def test_the_saved_model_is_the_one_whose_k_is_reported(example, tmp_path):
    numbers = example.main([*SHORT, "--out", str(tmp_path)])
    beta = np.load(tmp_path / "your_data.state.npz")["beta"]
    np.testing.assert_array_equal(
        beta, schedules.log_snr_linear(10, beta1=numbers["beta1"], abar_T=0.05))
    model = GaussianReverse(GaussianDiffusion(beta), len(numbers["mean"]))
    scaling = training.Scaling(np.array(numbers["mean"]), np.array(numbers["std"]))
    assert bounds.to_bits(scaling.log_jacobian) == pytest.approx(numbers["log_jacobian_bits"])
    state, _ = training.load(tmp_path / "your_data.state.npz", model)
    assert state.step == json.loads((tmp_path / "your_data.state.json").read_text())["step"] == 60
    samples = sample_trajectory(model.diffusion, model.kernel(state.params), 10, 2,
                                rng=np.random.default_rng(0)).x0
    assert np.isfinite(samples).all()


@pytest.mark.parametrize("name", ["roll", "two_moons", "eight_gaussians", "bars"])
def test_sets_made_here_are_draws_of_the_distribution_that_is_known(example, name):
    law, x0 = example.known(name), example.made(name, 0, 50_000).reshape(50_000, -1)
    mean = law.atoms.mean(0)
    stderr = np.sqrt((law.atoms.var(0) + law.var) / 50_000)
    assert (np.abs(x0.mean(0) - mean) < 6 * stderr).all()
    if name == "bars":
        assert law.entropy == pytest.approx(np.log(len(np.unique(x0, axis=0))))
        return
    finite = exact.FiniteData(GaussianDiffusion([0.5]), law.atoms, var=law.var)
    log_q = finite.log_prob(x0, 0)
    error = 6 * log_q.std() / np.sqrt(50_000) + 0.002
    assert -log_q.mean() == pytest.approx(law.entropy, abs=error)

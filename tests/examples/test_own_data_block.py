"""The README's block for data of one's own: at most 20 lines that start, train, sample and save."""

import re
from pathlib import Path

import numpy as np

from dpm_ref import GaussianDiffusion, schedules, training
from dpm_ref.reverse import GaussianReverse

README = Path(__file__).resolve().parents[2] / "README.md"


def block():
    return re.search(r"<!-- own data -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)[1]


def test_it_has_at_most_twenty_lines_that_fit_the_page():
    lines = block().splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 105


def test_it_trains_samples_and_saves(tmp_path, monkeypatch, capsys):
    """On a tenth of the steps; K lies between that of independent components and the truth."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    mean, cov = [3.0, -40.0], np.array([[1.0, 9.0], [9.0, 100.0]])
    np.savetxt("points.csv", rng.multivariate_normal(mean, cov, size=3000), delimiter=",")
    space = {}
    exec(block().replace("steps=4000", "steps=400"), space)
    K = float(re.search(r"K = (\S+) ", capsys.readouterr().out).group(1))
    stderr = space["K"].std() / np.sqrt(1000)
    truth = -0.5 * np.log2((2 * np.pi * np.e) ** 2 * np.linalg.det(cov))
    independent = -0.5 * np.log2((2 * np.pi * np.e) ** 2 * np.diag(cov).prod())
    assert independent + 3 * stderr < K < truth + 5 * stderr
    assert (np.abs(space["x"].mean(0) - mean) < 6 * np.sqrt(np.diag(cov) / 1000)).all()
    beta = schedules.log_snr_linear(40, beta1=1e-4, abar_T=0.05)
    state, generator = training.load("points.npz", GaussianReverse(GaussianDiffusion(beta), 2))
    assert state.step == 400
    scaling = training.Scaling(**np.load("scaling.npz"))
    assert (scaling.mean == space["scaling"].mean).all()
    assert (scaling.std == space["scaling"].std).all()
    assert generator is not None

"""The folder, the progress line, Ctrl-C and resuming: what the examples share."""

import argparse
import json
import os
import resource
import signal

import numpy as np
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def common(load):
    return load("common")


def options(out, **more):
    return argparse.Namespace(out=out, seed=0, quick=True, steps=10, **more)


def figure():
    drawn = Figure()
    drawn.subplots().plot([0, 1])
    return drawn


@pytest.mark.parametrize("out", ["/proc/foo", "a file", "a folder named as the figure"])
def test_an_out_that_cannot_hold_the_results_is_refused_before_the_first_step(
    out, load, tmp_path, monkeypatch, capsys
):
    if out == "a file":
        (tmp_path / out).write_text("")
    elif out != "/proc/foo":
        (tmp_path / out / "swiss_roll.png").mkdir(parents=True)
    module = load("swiss_roll")
    monkeypatch.setattr(module, "fit", lambda *_: pytest.fail("training began"))
    with pytest.raises(SystemExit) as exit_:
        module.main(["--quick", "--out", str(out if out == "/proc/foo" else tmp_path / out)])
    assert exit_.value.code == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_out_that_is_read_only_is_refused(common, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SystemExit, match="2"), common.Run("x", options(tmp_path), {"a": 1.0}):
        pass


def test_two_runs_on_one_folder_are_told(common, tmp_path, capsys):
    with common.Run("x", options(tmp_path), {"a": 1.0}):
        with pytest.raises(SystemExit) as exit_, common.Run("x", options(tmp_path), {"a": 1.0}):
            pass
        with common.Run("y", options(tmp_path), {"a": 1.0}):
            pass  # another example may
    assert exit_.value.code == 2
    assert "another run" in capsys.readouterr().err
    with common.Run("x", options(tmp_path), {"a": 1.0}):
        pass  # and later this one too


def test_figure_and_numbers_of_a_run_replace_both_of_the_former(common, tmp_path):
    for number in (1, 2):
        with common.Run("x", options(tmp_path), {"figure": 1.0}) as run:
            run.stage("figure")
            run.finish(figure(), {"number": number}, ["done"])
        assert json.loads((tmp_path / "x.json").read_text()) == {"number": number}
    assert {path.name for path in tmp_path.iterdir()} == {"x.png", "x.json"}


@pytest.mark.parametrize("limit", [0, 100, 3_000])
def test_a_full_disk_leaves_the_former_pair(common, tmp_path, monkeypatch, limit):
    """No byte; a part of the figure; the figure, but not the numbers, which are longer."""
    former = {"x.png": b"figure", "x.json": b"numbers"}
    for name, text in former.items():
        (tmp_path / name).write_bytes(text)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    write = common.Run._write

    def full(*arguments):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            write(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(common.Run, "_write", full)
    with common.Run("x", options(tmp_path), {"figure": 1.0}) as run:
        run.stage("figure")
        with pytest.raises(SystemExit) as exit_:
            run.finish(Figure(figsize=(0.1, 0.1)), {"numbers": [0.0] * 10_000}, ["done"])
    assert "as they were" in str(exit_.value.code)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == former


def stop_at(monkeypatch, common, step, times=1):
    """Ctrl-C arrives while the history is told of this step."""
    told, sent = common.History.__call__, []

    def call(history, now, K_bits):
        if now == step and len(sent) < times:
            sent.append(now)
            signal.raise_signal(signal.SIGINT)
        told(history, now, K_bits)

    monkeypatch.setattr(common.History, "__call__", call)


RUNS = {
    "swiss_roll": ["--steps", "48", "--T", "6"],
    "swiss_roll --learn-schedule": ["--steps", "48", "--T", "6", "--learn-schedule"],
    "heartbeat": ["--steps", "48", "--T", "10"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_stopped_run_goes_on_to_the_same_bits(name, load, common, tmp_path, monkeypatch, capsys):
    module, arguments = load(name.split()[0]), ["--quick", *RUNS[name], "--out"]
    whole = module.main([*arguments, str(tmp_path / "whole")])
    with monkeypatch.context() as patch:
        stop_at(patch, common, 32 if "learn" in name else 30)
        with pytest.raises(SystemExit) as exit_:
            module.main([*arguments, str(tmp_path / "parts")])
    said = capsys.readouterr().err
    assert exit_.value.code == common.STOPPED
    assert "of 48" in said
    assert "--resume" in said
    assert not list((tmp_path / "parts").glob("*.png"))
    parts = module.main([*arguments, str(tmp_path / "parts"), "--resume"])
    assert {**parts, "seconds": 0} == {**whole, "seconds": 0}
    stem = name.split()[0]
    ours, theirs = (np.load(tmp_path / run / f"{stem}.state.npz") for run in ("parts", "whole"))
    assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
    ours, theirs = (
        json.loads((tmp_path / run / f"{stem}.state.json").read_text())
        for run in ("parts", "whole")
    )
    assert (ours["steps"], ours["K_bits"]) == (theirs["steps"], theirs["K_bits"])


@pytest.mark.slow
def test_a_run_stopped_after_training_resumes_without_training(
    load, common, tmp_path, monkeypatch, capsys
):
    module = load("swiss_roll")
    arguments = ["--quick", *RUNS["swiss_roll"], "--out", str(tmp_path)]
    whole = module.main(arguments)
    former = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's job
    with monkeypatch.context() as patch:
        patch.setattr(module, "ideal", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(SystemExit) as exit_:
            module.main(arguments)
    signal.signal(signal.SIGINT, former)
    assert exit_.value.code == common.STOPPED
    assert "skips the training" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(common.History, "__call__", lambda *_: pytest.fail("a step was taken"))
        parts = module.main([*arguments, "--resume"])
    assert {**parts, "seconds": 0} == {**whole, "seconds": 0}


def test_a_second_interrupt_is_obeyed_at_once(load, common, tmp_path, monkeypatch):
    module = load("swiss_roll")
    fit = module.training.train

    def twice(*arguments, **settings):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return fit(*arguments, **settings)

    monkeypatch.setattr(module.training, "train", twice)
    with pytest.raises(SystemExit) as exit_:
        module.main(["--quick", "--steps", "5", "--out", str(tmp_path)])
    assert exit_.value.code == common.STOPPED
    assert not list(tmp_path.iterdir())


def test_resuming_wants_a_state_of_the_same_options(load, common, tmp_path, monkeypatch, capsys):
    module = load("swiss_roll")
    arguments = ["--quick", "--T", "6", "--steps", "10", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="2"):
        module.main([*arguments, "--resume"])
    assert "nothing to resume" in capsys.readouterr().err
    stop_at(monkeypatch, common, 5)
    with pytest.raises(SystemExit):
        module.main(arguments)
    with pytest.raises(SystemExit, match="2"):
        module.main([*arguments, "--seed", "1", "--resume"])
    assert "of a run with other options: seed=0 for 1" in capsys.readouterr().err


def test_the_line_fits_a_narrow_terminal(common, monkeypatch, capsys):
    monkeypatch.setattr(common.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "30")
    progress = common.Progress({"training": 3.0, "likelihood of points": 1.0})
    progress.enter("training")
    progress(0.5, -123.456, "  1234/100000")
    progress.enter("likelihood of points")
    progress(1.0)
    progress.close()
    lines = capsys.readouterr().err.strip("\n").split("\r")
    assert max(map(len, lines)) < 30
    assert all("left" in line for line in lines if line.strip())


def test_time_left_is_that_of_all_stages_at_the_pace_seen(common, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(common.time, "monotonic", lambda: clock[0])
    progress = common.Progress({"training": 60.0, "K": 20.0, "figure": 20.0})
    progress.enter("training")
    assert progress.left() == pytest.approx(100.0)
    clock[0] += 60.0  # half of the training in twice the time planned
    progress(0.5)
    assert progress.left() == pytest.approx(140.0, rel=0.03)
    clock[0] += 60.0
    progress.enter("K")
    assert progress.left() == pytest.approx(80.0, rel=0.03)
    progress.enter("figure")
    progress(1.0)
    assert progress.left() == 0.0


def test_what_an_earlier_run_did_is_not_in_the_pace(common, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(common.time, "monotonic", lambda: clock[0])
    progress = common.Progress({"training": 60.0, "figure": 20.0})
    progress.enter("training", skip=0.5)
    clock[0] += 30.0
    progress(1.0)
    assert progress.left() == pytest.approx(20.0)


def test_k_of_chunks_is_k_of_all(load, common, tmp_path):
    """With the forward kernel for a model K is known: that of the prior."""
    from dpm_ref import GaussianDiffusion, bounds

    diffusion, rng = GaussianDiffusion([0.1, 0.2, 0.4]), np.random.default_rng(0)
    x0 = rng.standard_normal((101, 2))
    with common.Run("x", options(tmp_path), {"K": 1.0}) as run:
        run.stage("K")
        numbers, kl = common.evaluate(run, diffusion, diffusion.kernel, x0, rng, chunks=7)
    kernel = bounds.lower_bound(diffusion, diffusion.kernel, x0, rng=rng, n_samples=200)
    error = 6 * np.hypot(numbers["K_stderr_bits"], 0.02)
    assert numbers["K_bits"] == pytest.approx(bounds.to_bits(kernel.value.mean()), abs=error)
    null = bounds.to_bits(bounds.null_log_likelihood(diffusion, x0)).mean()
    assert numbers["K_bits"] - numbers["K_minus_null_bits"] == pytest.approx(null)
    assert kl.shape == (2,)
    assert numbers["held_out"] == 101

"""What every example promises: the numbers, the files, the figure, and where legends stand."""

import json
import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

NAMES = [
    "swiss_roll",
    "heartbeat",
    "posteriors",
    "schedules",
    "work_distributions",
    "likelihood_on_a_cluster",
    "your_data",
]
TRAINED = ["swiss_roll", "heartbeat", "posteriors", "schedules", "your_data"]
WANTED = {"K_bits", "K_stderr_bits", "K_minus_null_bits", "ideal_K_bits", "limit_bits", "seconds"}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_that_are_promised_are_written_and_returned(quick, name):
    run = quick(name)
    written = json.loads((run.out / f"{name}.json").read_text())
    assert set(written) >= WANTED
    assert written == json.loads(json.dumps(run.numbers))
    assert all(math.isfinite(written[key]) for key in WANTED)


@pytest.mark.parametrize("name", NAMES)
def test_k_lies_below_k_star_and_that_below_the_limit(quick, name):
    """Within five standard errors, where data are drawn; the ideal kernel's own K is K*."""
    numbers = quick(name).numbers
    error = 5 * numbers["K_stderr_bits"]
    ideal_error = 5 * numbers.get("ideal_K_stderr_bits", 0.0)
    assert numbers["K_bits"] < numbers["ideal_K_bits"] + error + ideal_error
    if name != "likelihood_on_a_cluster":  # six data vectors, whose own entropy is not the limit
        assert numbers["ideal_K_bits"] < numbers["limit_bits"] + ideal_error


@pytest.mark.parametrize("name", NAMES)
def test_something_is_learned(quick, name):
    numbers = quick(name).numbers
    if name in TRAINED:
        assert numbers["K_minus_null_bits"] > 5 * numbers["K_stderr_bits"]


@pytest.mark.parametrize("name", NAMES)
def test_the_figure_is_white_paper_and_dark_ink(quick, name):
    image = imread(quick(name).out / f"{name}.png")[..., :3]
    assert image.shape[0] > 700
    assert np.ptp(image) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_results_and_the_model_is_left(quick, name):
    left = {path.name for path in quick(name).out.iterdir()}
    states = {file for file in left if ".state." in file}
    assert left - states == {f"{name}.png", f"{name}.json"}
    assert bool(states) == (name not in ("work_distributions", "likelihood_on_a_cluster"))


@pytest.mark.parametrize("name", NAMES)
def test_no_legend_covers_a_panel(quick, name):
    """So no line can cross a legend."""
    figure = quick(name).figure
    FigureCanvasAgg(figure).draw()
    for axes in figure.get_axes():
        if axes.get_legend() is not None:
            assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


@pytest.mark.parametrize("name", NAMES)
def test_axes_are_named(quick, name):
    """Each panel, or for panels that share their axes the lowest and leftmost of them."""
    for axes in quick(name).figure.get_axes():
        if axes.get_subplotspec().is_last_row():
            assert axes.get_xlabel()
        if axes.get_subplotspec().is_first_col() and len(axes.get_yticks()):
            assert axes.get_ylabel()


@pytest.mark.parametrize("name", NAMES)
def test_the_terminal_is_told_how_long_each_stage_may_take(load, name):
    """The plan names positive times, and the quick one is shorter."""
    module = load(name)
    quick, full = (sum(module.plan(module.options(extra)).values()) for extra in (["--quick"], []))
    assert 0 < quick < full


def test_an_executor_s_numbers_are_those_of_one_process(quick):
    numbers = quick("likelihood_on_a_cluster").numbers
    assert numbers["same_bits_as_here"] is True
    assert numbers["reliable"] == numbers["points"]


def test_work_obeys_jarzynski_and_crooks(quick):
    """Both are exact, whatever the kernels; K is that of the closed form."""
    numbers = quick("work_distributions").numbers
    for name, exact in (("jarzynski", 1.0), ("jarzynski_own", 1.0), ("crooks_slope", 1.0)):
        assert abs(numbers[name] - exact) < 5 * numbers[f"{name}_stderr"]
    assert abs(numbers["K_bits"] - numbers["exact_K_bits"]) < 5 * numbers["K_stderr_bits"]


def test_the_filter_comes_nearer_to_the_truth_than_the_recipe(quick):
    numbers = quick("posteriors").numbers
    for question in ("denoising", "missing", "flipped"):
        assert numbers[f"{question}_filter_distance"] < numbers[f"{question}_recipe_distance"]


def test_what_the_schedules_lose_adds_up_to_the_gap(quick):
    """limit - K of the trained network, in two ways that share no sum over the steps."""
    numbers = quick("schedules").numbers
    parts = numbers["gap_bits"]["learned beside a network"]
    lost = parts["edge"] + parts["form"] + parts["end"] + parts["learning"]
    error = 5 * np.hypot(parts["stderr"], numbers["K_stderr_bits"])
    assert numbers["limit_bits"] - numbers["K_bits"] == pytest.approx(lost, abs=error)
    best = numbers["ideal_K_minus_null_by_schedule"]
    for T in ("8", "10"):
        value, stderr = best["best, by dynamic programming"][T]
        assert all(other[T][0] < value + 5 * np.hypot(stderr, other[T][1])
                   for other in best.values())

"""The examples' page: its commands can be run, its pictures exist, its numbers were printed."""

import json
import re
import shlex
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PAGE = (EXAMPLES / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"`python (examples/\w+\.py[^`]*)`", PAGE)))
BITS = {
    "swiss_roll": ["K_minus_null", "log_p_minus_K"],
    "heartbeat": ["K", "ideal_minus_K"],
    "your_data": ["K", "ideal_K", "K_minus_null"],
    "schedules": ["K_minus_null"],
    "work_distributions": ["K"],
}


def numbers_of(name):
    """What the run that drew a picture wrote, where it stands beside the picture."""
    path = EXAMPLES / "figures" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"{name}.png is of an earlier run")
    return json.loads(path.read_text())


def test_the_commands_were_found():
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_s_options_are_understood(command, load, capsys):
    """Up to the data, which the page's reader has."""
    script, *options = shlex.split(command)
    options = [option for option in options if option != "points.csv"]
    assert load(script.removeprefix("examples/").removesuffix(".py")).options(options)


def test_every_picture_exists():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGE)
    assert len(pictures) >= 6
    assert all((EXAMPLES / path).is_file() for path in pictures)


def test_no_placeholder_is_left():
    assert not re.search(r"@[A-Z_]+", PAGE)


@pytest.mark.parametrize("name", BITS)
def test_numbers_are_those_of_the_run_that_drew_the_picture(name, load):
    numbers = numbers_of(name)
    for key in BITS[name]:
        error = "K" if key == "K_minus_null" and name == "heartbeat" else key
        pair = (numbers[f"{key}_bits"], numbers[f"{error}_stderr_bits"])
        assert load("common").with_error(*pair) in PAGE


def test_distances_of_posteriors_are_those_of_the_run_that_drew_the_picture(load):
    numbers = numbers_of("posteriors")
    for question in ("inpainting", "denoising", "missing", "flipped"):
        for way in ("recipe", "filter"):
            key = f"{question}_{way}_distance"
            assert load("common").with_error(numbers[key], numbers[f"{key}_stderr"]) in PAGE


def test_k_star_of_the_schedules_is_that_of_the_run_that_drew_the_picture(load):
    numbers = numbers_of("schedules")
    for by_T in numbers["ideal_K_minus_null_by_schedule"].values():
        for value in by_T.values():
            assert load("common").with_error(*value) in PAGE

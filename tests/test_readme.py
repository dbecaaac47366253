"""The README's tables name things that exist, and its commands are the ones that are run."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CODE = sorted(set(re.findall(r"\| `((?:[a-z]+\.)(?:\w+\.)*\w+)` \|", README)))
TESTS = sorted(set(re.findall(r"`(tests/\w+\.py)::(\w+)`", README)))


def test_the_tables_were_found() -> None:
    assert len(CODE) >= 20
    assert len(TESTS) >= 35


@pytest.mark.parametrize("name", CODE)
def test_every_name_in_the_equation_table_exists(name: str) -> None:
    module, *path = name.split(".")
    found = importlib.import_module(f"dpm_ref.{module}")
    for part in path:
        found = getattr(found, part)
    assert found.__doc__


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_every_test_in_the_tables_exists(file: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"python ((?:examples|tests)/[\w/]+\.py)", README))))
def test_every_script_that_a_command_runs_exists(path: str) -> None:
    assert (ROOT / path).is_file()


def test_every_picture_exists() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file()


def test_no_placeholder_is_left() -> None:
    assert not re.search(r"\| (SWISS|THIN|BENCH|TODO)\b", README)

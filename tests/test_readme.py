"""The pages name things that exist, and their commands are the ones that are run."""

import importlib
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(TESTS.rglob("README.md"))]
PAGES.append(ROOT / "examples" / "README.md")
ALL = {page.relative_to(ROOT): page.read_text() for page in PAGES}
MAP = (TESTS / "README.md").read_text()
CODE = sorted(set(re.findall(r"\| `((?:[a-z]+\.)(?:\w+\.)*\w+)` \|", MAP)))
NAMES = sorted(set(re.findall(r"`((?:\w+/)?\w+\.py)::(\w+)`", MAP)))


def test_the_tables_were_found() -> None:
    assert len(CODE) >= 20
    assert len(NAMES) >= 35


@pytest.mark.parametrize("name", CODE)
def test_every_name_in_the_equation_table_exists(name: str) -> None:
    module, *path = name.split(".")
    found = importlib.import_module(f"dpm_ref.{module}")
    for part in path:
        found = getattr(found, part)
    assert found.__doc__


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_every_test_in_the_tables_exists(file: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (TESTS / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", ALL)
def test_every_script_that_a_command_runs_exists(page: Path) -> None:
    for path in re.findall(r"python ((?:examples|tests)/[\w/]+\.py)", ALL[page]):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("page", ALL)
def test_every_picture_and_page_linked_exists(page: Path) -> None:
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", ALL[page]):
        assert (ROOT / page.parent / path).is_file(), path


@pytest.mark.parametrize("page", ALL)
def test_no_placeholder_is_left(page: Path) -> None:
    assert not re.search(r"^[A-Z_]{5,}$|TODO|\| (SWISS|THIN|BENCH)\b", ALL[page], re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len(ALL[Path("README.md")].splitlines()) <= 190

"""The check's verdicts on other people's implementations, each asserted."""

import importlib.metadata
from pathlib import Path

import pytest

pytest.importorskip("torch")

from implementations import CASES, agrees, rows
from verdicts import verdicts

HERE = Path(__file__).parent


def installed(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


@pytest.mark.parametrize("k", range(len(CASES)), ids=[f"{c.library} {c.what}" for c in CASES])
def test_the_verdict_is_what_is_so(k):
    if installed(CASES[k].library) is None:
        pytest.skip(f"{CASES[k].library} is not installed")
    found = rows(k)
    assert found.keys() == CASES[k].said.keys()
    for name, said in CASES[k].said.items():
        assert agrees(found[name], said), f"{found[name]}\nwanted: {said}"


def test_adapters_have_at_most_8_lines():
    import inspect

    for case in CASES:
        source = inspect.getsource(case.adapter)
        body = (
            source[source.index("\ndef ") + 1 if "\ndef " in source else 0 :]
            .strip()
            .splitlines()[1:]
        )
        lines = [
            line for line in body if line.strip() and not line.strip().startswith(('"""', "#"))
        ]
        assert len(lines) <= 8, f"{case.adapter.__name__} has {len(lines)}"


def test_versions_are_those_of_requirements():
    pinned = dict(
        line.lower().split("==")
        for line in (HERE / "requirements.txt").read_text().splitlines()
        if "==" in line
    )
    for library in sorted({case.library for case in CASES}):
        if version := installed(library):
            assert version.split("+")[0] == pinned[library.lower()]


def test_the_page_says_what_the_check_says():
    if any(installed(case.library) is None for case in CASES):
        pytest.skip("some libraries are not installed")
    page = (HERE / "README.md").read_text().splitlines()
    assert [line for line in verdicts() if line not in page] == []

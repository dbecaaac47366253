"""The examples in the docstrings of the package as it is installed."""

import doctest
import importlib
import pkgutil

import pytest

import dpm_ref

MODULES = sorted(info.name for info in pkgutil.walk_packages(dpm_ref.__path__, "dpm_ref."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_print_what_they_say(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), raise_on_error=False).failed == 0


def test_there_are_examples_in_the_docstrings() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert (
        sum(
            bool(test.examples)
            for name in MODULES
            for test in finder.find(importlib.import_module(name))
        )
        > 60
    )

"""The examples, imported as a user's shell finds them, and each one's quick run, once."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Quick(NamedTuple):
    """A quick run: its folder, the numbers that main returned, the figure that it drew."""

    out: Path
    numbers: dict[str, Any]
    figure: Any


@pytest.fixture(scope="session")
def load() -> Callable[[str], ModuleType]:
    """An example's module by name."""
    sys.path.insert(0, str(EXAMPLES))
    return importlib.import_module


@pytest.fixture(scope="session")
def quick(
    load: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Quick]:
    """The quick run of an example, made when it is first asked for."""
    runs: dict[str, Quick] = {}
    run_class = load("common").Run

    def get(name: str) -> Quick:
        if name not in runs:
            out, drawn = tmp_path_factory.mktemp(name), []
            finish = run_class.finish

            def keep(run: Any, figure: Any, numbers: Any, report: Any) -> None:
                drawn.append(figure)
                finish(run, figure, numbers, report)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(run_class, "finish", keep)
                numbers = load(name).main(["--quick", "--out", str(out)])
            runs[name] = Quick(out, numbers, drawn[0])
        return runs[name]

    return get

"""What a user meets before any mathematics: imports, the README's commands, the example."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dpm_ref

ROOT = Path(__file__).parent.parent


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_bounds_does_not_import_matplotlib() -> None:
    assert run("import sys, dpm_ref.bounds; print('matplotlib' in sys.modules)") == "False"


def test_importing_bounds_imports_no_scipy_beyond_special() -> None:
    heavy = tuple(f"scipy.{name}" for name in ("stats", "integrate", "optimize", "linalg"))
    loaded = f"sorted(m for m in sys.modules if m in {heavy})"
    special = run(f"import sys, numpy, scipy.special; print({loaded})")
    ours = run(f"import sys, dpm_ref.bounds; print({loaded})")
    assert set(ast.literal_eval(ours)) <= set(ast.literal_eval(special))


def test_modules_are_reachable_as_attributes_without_being_imported_first() -> None:
    assert (
        run("import dpm_ref; print(dpm_ref.data.heartbeat_atoms(2, 2).tolist())")
        == "[[1.0, 0.0], [0.0, 1.0]]"
    )


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dpm_ref.nothing  # noqa: B018


def test_the_version_is_the_changelogs_or_to_be_released() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", dpm_ref.__version__)
    assert (
        "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
        or f"## [{dpm_ref.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    )


def test_the_readmes_two_commands_are_those_that_people_are_told() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "pip install . && python examples/swiss_roll.py" in readme
    assert "pip install '.[test]' && pytest" in readme


def test_every_module_has_a_docstring_and_its_public_names() -> None:
    for path in (ROOT / "dpm_ref").rglob("*.py"):
        text = path.read_text()
        assert text.startswith('"""'), path
        assert "__all__" in text, path


def test_the_example_of_the_readme_runs_as_a_program(tmp_path: Path) -> None:
    """What it writes and draws is tested in tests/examples."""
    script = str(ROOT / "examples" / "swiss_roll.py")
    options = ["--quick", "--steps", "20", "--T", "6", "--out", str(tmp_path)]
    subprocess.run([sys.executable, script, *options], check=True, capture_output=True)
    assert json.loads((tmp_path / "swiss_roll.json").read_text())["steps"] == 20


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seed", "1.5"],
        ["--noise", "0"],
        ["--T", "1"],
        ["--steps", "0"],
        ["--beta1", "2"],
        ["--seed", "-1"],
    ],
)
def test_the_example_refuses_bad_options(arguments: list[str], tmp_path: Path) -> None:
    script = ROOT / "examples" / "swiss_roll.py"
    result = subprocess.run(
        [sys.executable, str(script), "--out", str(tmp_path), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert arguments[0] in result.stderr

"""The check from a shell, its list of names, and what importing it costs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dpm_ref.check.__main__ import main
from dpm_ref.check.conventions import RULES
from dpm_ref.check.mistakes import CONSTANTS, HABITS, names
from dpm_ref.check.quantities import ALIASES, QUANTITIES

pytestmark = pytest.mark.dear  # processes of their own, which no change to this one reaches
ROOT = Path(__file__).parents[2]
MODULE = """
import numpy as np
beta = np.array([0.1, 0.2, 0.3])
abar = np.cumprod(1 - beta)
functions = {"q_sample": lambda x0, t, noise: np.sqrt(abar[t]) * x0 + np.sqrt(1 - abar[t]) * noise}
wrong = {"q_sample": lambda x0, t, noise: np.sqrt(abar[t]) * noise + np.sqrt(1 - abar[t]) * x0}
conventions = {"beta": beta, "first_t": 0}
def built(beta):
    abar = np.cumprod(1 - beta)
    return {"alphas_cumprod": abar}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mymodule.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("mymodule", None)


def shell(folder, *arguments):
    path = os.pathsep.join(
        filter(
            None,
            [str(ROOT) if (ROOT / "dpm_ref").is_dir() else "", os.environ.get("PYTHONPATH", "")],
        )
    )
    return subprocess.run(
        [sys.executable, "-m", "dpm_ref.check", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_a_module_in_the_current_folder_is_checked(folder):
    done = shell(folder, "mymodule:functions", "--beta", "mymodule:beta", "--first-t", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"PASS +q_sample +Table App\.1 .* digits\n", done.stdout)
    assert "prior pi_1 = 0.5" in done.stdout


def test_a_wrong_function_has_status_1_and_its_diagnosis(folder):
    done = shell(folder, "mymodule:wrong", "--conventions", "mymodule:conventions")
    assert done.returncode == 1
    assert "x0 and noise swapped" in done.stdout


def test_options_go_before_the_conventions_of_the_module(folder, capsys):
    assert main(["mymodule:functions", "--conventions", "mymodule:conventions"]) == 0
    assert (
        main(["mymodule:functions", "--conventions", "mymodule:conventions", "--first-t", "1"]) == 1
    )
    capsys.readouterr()


def test_json_is_the_report_as_data(folder, capsys):
    assert main(["mymodule:built", "--json", "--dtype", "float64", "--shape", "4", "3"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["ok"], data["rows"][0]["name"], data["rows"][0]["status"]) == (
        True,
        "alphas_cumprod",
        "PASS",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere:functions"], "ModuleNotFoundError"),
        (["mymodule:nothing"], "has no attribute 'nothing'"),
        (["mymodule"], "written module:name"),
        (["mymodule:functions"], "beta must be given"),
        (["mymodule:functions", "--beta", "mymodule:nothing"], "AttributeError"),
    ],
)
def test_what_cannot_be_checked_has_status_2_and_says_why(folder, capsys, arguments, said):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["mymodule:functions", "--spread", "sigma"], ["mymodule:functions", "--first-t", "2"]],
)
def test_options_that_do_not_exist_are_refused(folder, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    capsys.readouterr()


def test_help_says_what_each_option_declares(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    for name, rule in RULES.items():
        assert f"--{name.replace('_', '-')} " in words
        assert rule["about"] in words


def test_list_names_everything(capsys):
    assert main(["--list", "mistakes"]) == 0
    stripped = {line.strip() for line in capsys.readouterr().out.splitlines()}
    assert set(names()) <= stripped
    assert {*HABITS, *CONSTANTS} <= stripped
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 160
    for name, rule in RULES.items():
        assert f"    {name}: {rule['about']}; {rule['rule']}" in lines
    for name, q in QUANTITIES.items():
        assert any(
            line.strip().startswith(name) and q.equation in line and q.summary in line
            for line in lines
        )
    for alias in ALIASES:
        assert any(re.search(rf"\b{alias}\b", line) for line in lines)


def test_a_function_that_ends_the_process_is_no_pass(folder):
    (folder / "quits.py").write_text(
        "import os\nfunctions = {'gaussian_entropy': lambda var: os._exit(0)}\n"
    )
    done = shell(folder, "quits:functions")
    assert done.returncode == 2
    assert "ended the process" in done.stderr


def test_a_function_that_prints_does_not_spoil_the_data(folder):
    (folder / "prints.py").write_text(
        "functions = {'gaussian_entropy': lambda var: print('{') or var.sum(-1)}\n"
    )
    done = shell(folder, "prints:functions", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["rows"][0]["status"] == "WRONG"


def test_a_reader_that_has_seen_enough_is_no_error(folder):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        f"{sys.executable} -m dpm_ref.check --list | head -1",
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_check_imports_neither_matplotlib_nor_more_of_scipy():
    names = ("matplotlib", "torch", "jax", "scipy.stats", "scipy.optimize", "scipy.linalg")
    heavy = f"[m for m in sys.modules if m in {names}]"

    def loaded(code):
        command = [sys.executable, "-c", f"import sys; {code}; print({heavy})"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert loaded("import dpm_ref; dpm_ref.check.run({'bernoulli_entropy': None})") == loaded(
        "import numpy, scipy.special"
    )


def test_modules_of_the_check_are_installed():
    setup = (ROOT / "setup.cfg").read_text()
    assert re.search(r"^ +dpm_ref\.check$", setup, re.MULTILINE)

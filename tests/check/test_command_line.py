"""The check from a shell, its list of names, and what importing it costs."""

import json
import math
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace

import pytest

from dpm_ref.check import __main__ as command
from dpm_ref.check.__main__ import main
from dpm_ref.check.conventions import NAMED, RULES
from dpm_ref.check.mistakes import CONSTANTS, HABITS, names
from dpm_ref.check.quantities import ALIASES, QUANTITIES
from dpm_ref.check.report import STATUSES

ROOT = Path(__file__).parents[2]
MODULE = """
import os
import numpy as np
beta = np.array([0.1, 0.2, 0.3])
abar = np.cumprod(1 - beta)
functions = {"q_sample": lambda x0, t, noise: np.sqrt(abar[t]) * x0 + np.sqrt(1 - abar[t]) * noise}
wrong = {"q_sample": lambda x0, t, noise: np.sqrt(abar[t]) * noise + np.sqrt(1 - abar[t]) * x0}
conventions = {"beta": beta, "first_t": 0}
def built(beta):
    abar = np.cumprod(1 - beta)
    return {"alphas_cumprod": abar}
def entropy(var):
    os.write(1, b"loud")
    return 0.5 * np.log(2 * np.pi * np.e * var).sum(-1)
loud = {"gaussian_entropy": entropy}
shapes = set()
def mean(x0, t):
    shapes.add(x0.shape)
    return np.sqrt(np.array([0.9, 0.72, 0.504])[t - 1]) * x0
marginal = {"marginal_mean": mean}
quits = {"gaussian_entropy": lambda var: os._exit(3)}
prints = {"gaussian_entropy": lambda var: print("{") or var.sum(-1)}
"""


def home(tmp_path, monkeypatch):
    """The current folder, with a module in it."""
    (tmp_path / "mymodule.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mymodule", raising=False)


def called(*arguments):
    """The status of the command in this process, and what went to stdout and stderr, also by their
    numbers.
    """
    kept = os.dup(1), os.dup(2)
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                try:
                    status = main(list(arguments))
                except SystemExit as stop:
                    status = stop.code
        finally:
            for number, old in enumerate(kept, 1):
                os.dup2(old, number)
                os.close(old)
        return status, *(file.seek(0) or file.read() for file in (out, err))


def shell(*arguments):
    path = os.pathsep.join(
        filter(
            None,
            [str(ROOT) if (ROOT / "dpm_ref").is_dir() else "", os.environ.get("PYTHONPATH", "")],
        )
    )
    return subprocess.run(
        [sys.executable, "-m", "dpm_ref.check", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )


CONVENTIONS = ("--conventions", "mymodule:conventions")


@pytest.mark.parametrize(
    ("written", "status", "out", "err"),
    [
        ("0\nPASS\nof prior", 0, "PASS\nof prior\n", ""),
        ("1\nWRONG", 1, "WRONG\n", ""),
        ("2\nwhy not", 2, "", "why not\n"),
        ("", 2, "", "the functions ended the process (status 3): no report\n"),
    ],
)
def test_the_report_is_what_the_same_command_writes_as_a_child(
    monkeypatch, written, status, out, err
):
    asked = {}

    def run(command, **how):
        asked.update(how, command=command)
        return SimpleNamespace(stdout=written, returncode=3)

    monkeypatch.setattr(subprocess, "run", run)
    arguments = ["mymodule:functions", "--first-t", "0"]
    assert called(*arguments) == (status, out, err)
    path = os.pathsep.join([os.getcwd(), *sys.path])
    assert asked == {
        "command": [sys.executable, "-m", "dpm_ref.check", "--child", *arguments],
        **{"stdout": subprocess.PIPE, "encoding": "utf-8", "check": False},
        "env": {**os.environ, "PYTHONPATH": path},
    }


def test_arguments_are_those_of_the_shell_by_default(monkeypatch):
    def run(command, **how):
        return SimpleNamespace(stdout=f"1\n{command[3:]}", returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["check", "mymodule:functions", "--json"])
    with redirect_stdout(StringIO()) as out:
        assert main() == 1
    assert out.getvalue() == "['--child', 'mymodule:functions', '--json']\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["mymodule:functions", *CONVENTIONS], 0, r"PASS +q_sample .* digits\n\(prior .*\)"),
        (["mymodule:functions", *CONVENTIONS, "--first-t", "1"], 1, r"WRONG(.|\n)*"),
        (["mymodule:functions", "--beta", "mymodule:beta", "--first-t", "0"], 0, r"PASS.*\n.*"),
        (["nowhere:functions"], 2, "{}: ModuleNotFoundError: No module named 'nowhere'"),
        (["mymodule:nothing"], 2, "{}: AttributeError: .* has no attribute 'nothing'"),
        (["mymodule"], 2, "{}: ValueError: a place must be written module:name, got 'mymodule'"),
        ([":functions"], 2, "{}: ValueError: a place .* got ':functions'"),
        (["mymodule:functions"], 2, "{}: .*: beta must be given.*"),
        (["mymodule:functions", "--beta", "mymodule:nothing"], 2, "{}: AttributeError: .*"),
    ],
)
def test_the_child_writes_a_status_and_a_report(tmp_path, monkeypatch, arguments, status, said):
    home(tmp_path, monkeypatch)
    done, out, err = called("--child", *arguments)
    assert (done == 2, err) == (status == 2, "")
    wanted = said.format("python -m dpm_ref\\.check") if status == 2 else said
    assert re.fullmatch(f"{status}\n{wanted}", out)


def test_what_is_checked_writes_to_stderr_and_in_the_shape_asked_for(tmp_path, monkeypatch):
    home(tmp_path, monkeypatch)
    status, out, err = called("--child", "mymodule:loud")
    assert (status, out[:6], err[:4]) == (0, "0\nPASS", "loud")
    called("--child", "mymodule:marginal", "--beta", "mymodule:beta", "--shape", "4,2,3")
    assert (4, 2, 3) in sys.modules["mymodule"].shapes


def test_json_is_the_report_as_data(tmp_path, monkeypatch):
    home(tmp_path, monkeypatch)
    _, out, _ = called("--child", "mymodule:built", "--json", "--dtype", "float64")
    data = json.loads(out.removeprefix("0\n"))
    row = data["rows"][0]
    assert (data["ok"], row["name"], row["status"]) == (True, "alphas_cumprod", "PASS")
    assert '\n "ok": true' in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "error: give module:functions, or --list\n"),
        (["mymodule:functions", "--spread", "sigma"], "--spread: invalid choice: 'sigma'"),
        (["mymodule:functions", "--first-t", "2"], "--first-t: invalid choice: '2'"),
        (["mymodule:functions", "--eta", "half"], "--eta: invalid float value: 'half'"),
        (["--shape", "3 4"], "--shape: invalid shape value: '3 4'"),
        (["--list", "all"], "--list: invalid choice: 'all'"),
    ],
)
def test_options_that_do_not_exist_are_refused(arguments, said):
    status, out, err = called(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: python -m dpm_ref.check [-h]")
    assert said in err


def test_help_says_what_each_option_declares():
    status, out, _ = called("--help")
    words = " ".join(out.split())
    assert status == 0
    assert "Compare functions with the reference." in words
    assert "module:functions a mapping of names to callables" in words
    assert "--child" not in words
    about = {name: rule["about"] for name, rule in RULES.items()}
    about |= dict.fromkeys(("beta", "abar", "log_snr", "sigmas"), "of the schedule, shape (T,)")
    about |= {"data": "vectors x^0", "prior": "pi_1 of the binomial prior"}
    about |= {"list": "what can be checked", "json": "the report as data"}
    for name, said in about.items():
        assert re.search(rf" --{name.replace('_', '-')} [^-]*(- )?{re.escape(said)}", words)


def listed(*arguments):
    status, out, err = called("--list", *arguments)
    assert (status, err) == (0, "")
    return {
        title: [line.removeprefix("    ") for line in lines]
        for title, *lines in (section.split("\n") for section in out.rstrip("\n").split("\n\n"))
    }


def test_mistakes_are_listed_under_two_titles(monkeypatch):
    monkeypatch.setattr(command, "names", lambda: ["one", "two"])
    sections = {"Mistakes:": ["one", "two"], "Sources of precision loss:": [*HABITS, *CONSTANTS]}
    assert listed("mistakes") == sections


def test_what_can_be_checked_is_listed_with_its_other_names():
    quantities, several, conventions, schedules, statuses, more = listed().values()
    assert more == ["--list mistakes"]
    assert statuses[:-1] == [*STATUSES]
    assert conventions == [f"{name}: {r['about']}; {r['rule']}" for name, r in RULES.items()]
    assert [line.partition("(")[0] for line in schedules] == list(NAMED)
    assert "cosine(T: int, offset: float = 0.008, cap: float = 0.999)" in schedules
    assert "factor: factor_mean, factor_var" in several
    assert len(several) == sum(len(parts) > 1 for parts in ALIASES.values())
    assert len(quantities) == len(QUANTITIES)
    for line in (
        "kernel_mean(x_prev, t)  Table App.1  mean of q(x^t | x^{t-1})",
        "abar(t)  Table App.1  prod_{s<=t} (1 - beta_s)"
        "  (or alphas_cumprod, alpha_bar, alphas_bar)",
    ):
        assert line in quantities


def test_a_reader_that_has_seen_enough_is_no_error():
    class Closed:
        def write(self, text):
            """Kept for now."""

        def flush(self):
            raise BrokenPipeError

    kept = os.dup(1)
    try:
        assert command._print("more", Closed()) == 0
        assert os.path.samestat(os.fstat(1), os.stat(os.devnull))
        assert os.write(1, b"no longer read") == 14
    finally:
        os.dup2(kept, 1)
        os.close(kept)


# Processes of their own, which no change to this one reaches


@pytest.mark.dear
@pytest.mark.parametrize(
    ("functions", "status", "out", "err"),
    [
        ("functions", 0, r"PASS +q_sample +Table App\.1 .* digits\n\(prior .*\)\n", ""),
        ("wrong", 1, r"WRONG +q_sample(.|\n)*x0 and noise swapped(.|\n)*\)\n", ""),
        ("quits", 2, "", r"the functions ended the process \(status 3\): no report\n"),
        ("nothing", 2, "", r"python -m dpm_ref\.check: AttributeError: .*\n"),
        ("loud", 0, r"PASS +gaussian_entropy.*\n.*\n", "(loud)+"),
    ],
)
def test_the_report_is_that_of_a_process_of_its_own(
    tmp_path, monkeypatch, functions, status, out, err
):
    home(tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    done, *printed = called(f"mymodule:{functions}", *CONVENTIONS)
    assert done == status
    assert re.fullmatch(out, printed[0])
    assert re.fullmatch(err, printed[1])
    assert "mymodule" not in sys.modules


@pytest.mark.dear
def test_a_module_in_the_current_folder_is_checked(tmp_path, monkeypatch):
    home(tmp_path, monkeypatch)
    done = shell("mymodule:functions", "--beta", "mymodule:beta", "--first-t", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"PASS +q_sample +Table App\.1 .* digits\n", done.stdout)
    assert "prior pi_1 = 0.5" in done.stdout


@pytest.mark.dear
def test_a_wrong_function_has_status_1_and_its_diagnosis(tmp_path, monkeypatch):
    home(tmp_path, monkeypatch)
    done = shell("mymodule:wrong", *CONVENTIONS)
    assert done.returncode == 1
    assert "x0 and noise swapped" in done.stdout


@pytest.mark.dear
def test_list_names_everything():
    _, out, _ = called("--list", "mistakes")
    assert {*names(), *HABITS, *CONSTANTS} <= {line.strip() for line in out.splitlines()}
    _, out, _ = called("--list")
    lines = out.splitlines()
    assert len(lines) < 160
    for name, q in QUANTITIES.items():
        assert any(
            line.strip().startswith(name) and q.equation in line and q.summary in line
            for line in lines
        )
    for alias in ALIASES:
        assert any(re.search(rf"\b{alias}\b", line) for line in lines)


@pytest.mark.dear
def test_a_function_that_ends_the_process_is_no_pass(tmp_path, monkeypatch):
    home(tmp_path, monkeypatch)
    done = shell("mymodule:quits")
    assert done.returncode == 2
    assert "ended the process" in done.stderr


@pytest.mark.dear
def test_a_function_that_prints_does_not_spoil_the_data(tmp_path, monkeypatch):
    home(tmp_path, monkeypatch)
    done = shell("mymodule:prints", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["rows"][0]["status"] == "WRONG"


@pytest.mark.dear
def test_a_pipe_that_is_closed_is_no_error():
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        f"{sys.executable} -m dpm_ref.check --list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.dear
def test_importing_the_check_imports_neither_matplotlib_nor_more_of_scipy():
    names = ("matplotlib", "torch", "jax", "scipy.stats", "scipy.optimize", "scipy.linalg")
    heavy = f"[m for m in sys.modules if m in {names}]"

    def loaded(code):
        command = [sys.executable, "-c", f"import sys; {code}; print({heavy})"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert loaded("import dpm_ref; dpm_ref.check.run({'bernoulli_entropy': None})") == loaded(
        "import numpy, scipy.special"
    )


@pytest.mark.dear
def test_modules_of_the_check_are_installed():
    setup = (ROOT / "setup.cfg").read_text()
    assert re.search(r"^ +dpm_ref\.check$", setup, re.MULTILINE)


def test_a_schedule_is_found_by_its_name_and_T_and_all_else_is_a_place():
    assert command._found("linear:8") == ("linear", 8)
    assert command._found("math:pi") == math.pi
    for place, error in [
        ("math:8", ValueError),
        ("linear:first", ModuleNotFoundError),
        ("linear:8:9", ValueError),
    ]:
        with pytest.raises(error):
            command._found(place)
    for place in ("math", "math:", ":math", ":math:pi"):
        with pytest.raises(ValueError, match="a place must be written module:name, got"):
            command._found(place)

"""The README's DDPM and its ten lines print the README's verdict."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

README = (Path(__file__).parents[2] / "README.md").read_text()
DIGITS = re.compile(r"\d+\.\d digits")


def block(name: str) -> str:
    return re.search(rf"<!-- check: {name} -->\n```(?:python)?\n(.*?)```", README, re.DOTALL)[1]


def test_the_ten_lines_print_the_verdict(tmp_path):
    (tmp_path / "ddpm.py").write_text(Path(__file__).with_name("ddpm.py").read_text())
    (tmp_path / "ten_lines.py").write_text(block("ten lines"))
    assert sum(bool(line.strip()) for line in block("ten lines").splitlines()) <= 10
    done = subprocess.run(
        [sys.executable, "ten_lines.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert DIGITS.sub("", done.stdout) == DIGITS.sub("", block("verdict"))

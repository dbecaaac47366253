"""What the examples share: their options, their progress line, and where they leave their results.

To be imported before NumPy: the matrices here are small, and on a machine that is busy with anything else a second thread of the
linear algebra library makes them up to ten times slower, each waiting for the other. OMP_NUM_THREADS, if set, is respected.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from matplotlib.figure import Figure

__all__ = ["Progress", "parser", "write"]


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every example has."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0, help="seed of every random draw (default 0)")
    options.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure and the numbers (default out)")
    options.add_argument("--quick", action="store_true", help="a few seconds' run that shows all works; its numbers mean little")
    return options


class Progress:
    """A line with the step, K and the time left: rewritten in place on a terminal, now and then a new line elsewhere."""

    def __init__(self, steps: int) -> None:
        self.steps, self.began, self.printed = steps, time.monotonic(), -1.0
        self.live = sys.stderr.isatty()

    def __call__(self, step: int, K_bits: float) -> None:
        share = step / self.steps
        if not self.live and share < 1.0 and share - self.printed < 0.1:
            return
        self.printed = share
        left = (time.monotonic() - self.began) * (1.0 - share) / share
        text = f"step {step:>6}/{self.steps}  K {K_bits:8.3f} bits  {left:4.0f} s left"
        print(text, end="\r" if self.live and share < 1.0 else "\n", file=sys.stderr, flush=True)


def write(out: Path, name: str, figure: Figure, numbers: dict[str, Any]) -> None:
    """Leave NAME.png and NAME.json in the folder, and say so."""
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"{name}.png", dpi=130)
    (out / f"{name}.json").write_text(json.dumps(numbers, indent=2) + "\n")
    print(f"wrote {out / name}.png and {out / name}.json")

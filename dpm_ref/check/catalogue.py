"""What can be checked and what can be diagnosed, as text: for `--list`, and for the package's docstring.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585; each line names its equation.
"""

import textwrap
from collections.abc import Iterable

from dpm_ref.check.habits import habits
from dpm_ref.check.mistakes import mistakes
from dpm_ref.check.subjects import ALIASES, subjects

__all__ = ["listing", "names"]

_SHAPES = (
    "States, means, variances and probabilities come as batches (n, ...), t as an int or (n,), variances in the convention declared.",
    "xs, means, vars, probs of K and (14) are (T-1, n, ...), for t = 2..T in order; those of log weights (T, n, ...), for t = 1..T;",
    "trajectory (T+1, n, ...) begins with x^0; log_w is (k, n). A table is an array over t = 1..T, or a function of t.",
)


def listing() -> str:
    """Every name with its arguments and equation, then every habit and mistake; a text, no unit. Table App.1."""
    known, lines = subjects(), ["What can be checked, with the arguments that a function is called with:", ""]
    for name, subject in known.items():
        others = [alias for alias, parts in ALIASES.items() if parts == (name,)]
        call = name if subject.is_table else f"{name}({', '.join(subject.arguments)})"
        also = f"  [{', '.join(others)}]" if others else ""
        lines.append(f"  {call:<62} {subject.equation:<12} {subject.summary}{also}")
    lines += ["", *_SHAPES, "", "Several at once, for a function that returns a tuple:", ""]
    for alias, parts in ALIASES.items():
        if len(parts) > 1:
            lines.append(f"  {alias + '(' + ', '.join(known[parts[0]].arguments) + ')':<62} -> {', '.join(parts)}")
    lines += ["", "Habits that lose digits:", "", *(f"  {name}" for name in habits())]
    lines += ["", "Mistakes:", "", *(f"  {name}" for name in mistakes())]
    return "\n".join(lines)


def names() -> str:
    """The paragraphs of names in the package's docstring; a text, no unit. Table App.1."""
    known = subjects()  # which registers the other names too
    several = [alias for alias, parts in ALIASES.items() if len(parts) > 1]
    one = [alias for alias, parts in ALIASES.items() if len(parts) == 1]
    return "\n\n".join([_paragraph("Names:", known), _paragraph("Other names:", one), _paragraph("Names of several at once:", several),
                        _paragraph("Habits that lose digits:", habits()), _paragraph("Mistakes:", mistakes())])


def _paragraph(title: str, items: Iterable[str]) -> str:
    """A title, and the items below it with bars between them."""
    unbroken = " | ".join(item.replace(" ", "\0") for item in items)
    lines = textwrap.wrap(unbroken, 134, break_long_words=False, break_on_hyphens=False, initial_indent="    ", subsequent_indent="    ")
    return "\n".join([title, "", *lines]).replace("\0", " ")

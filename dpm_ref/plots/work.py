"""The work along trajectories: Jarzynski, Crooks, and the sandwich.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.3.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dpm_ref.plots._style import DATA, DRIFT, MODEL
from dpm_ref.validation import Array

__all__ = ["work_figure"]


def work_figure(edges: Array, forward: Array, own: Array, k: Sequence[int], lower: Array, upper: Array) -> Figure:
    """Work along forward trajectories and along the model's own, their ratio, and what averaging weights makes of log p(x^0).

    Parameters
    ----------
    edges : ndarray, shape (b+1,), nats
        Bins of log w - log p(x^0).
    forward, own : ndarray, shape (n,), nats
        log w - log p(x^0) of trajectories drawn from q(x^{1..T} | x^0), x^0 from the model, and from the model together with x^0.
    k : sequence of m int
        Forward trajectories averaged over.
    lower, upper : ndarray, shape (m, 2), nats
        The sandwich's two sides less log p(x^0), each with a standard error.

    Returns
    -------
    Figure

    Notes
    -----
    Equation (9). With F the forward trajectories' density and R the model's, log w - log p(x^0) = log R / F, so the densities of
    this number have the ratio e to its power (Crooks), and its exponential has mean 1 under F (Jarzynski). Where a bin holds fewer
    than 20 of either, no ratio is shown.
    """
    figure = Figure(figsize=(14.0, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    counts = [np.histogram(values, edges)[0] for values in (forward, own)]
    centres, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    labels = ["forward: $x^0$ from the model, then\n$x^1..x^T$ from $q$, eq. (9)", "the model's own: $x^T..x^0$ from $p$"]
    for count, values, color, label in zip(counts, (forward, own), (DATA, MODEL), labels, strict=True):
        left.stairs(count / width / len(values), edges, color=color, fill=True, alpha=0.3)
        left.stairs(count / width / len(values), edges, color=color, linewidth=1.2, label=f"{label}, mean {values.mean():+.3f}")
    zero = int(np.abs(edges).argmin())
    height = np.mean([count[zero - 1:zero + 1] / width[zero] / len(forward) for count in counts])
    left.annotate("they cross at 0,\nwhere $w = p(x^0)$", (0.0, height), (1.1, 1.15 * height), fontsize=9, arrowprops={"arrowstyle": "->"})
    left.plot([0.0, 0.0], [0.0, height], color=DRIFT, linewidth=1.0)
    left.set_title("Work $-\\log w$ along trajectories, with time and against it")
    left.set_ylabel("density")
    left.set_ylim(0, 1.4 * left.get_ylim()[1])
    left.legend(loc="upper left", frameon=False, fontsize=8.5)
    enough = np.minimum(*counts) >= 20
    ratio = np.log(counts[1][enough] / len(own)) - np.log(counts[0][enough] / len(forward))
    error = np.sqrt(1.0 / counts[0][enough] + 1.0 / counts[1][enough])
    middle.plot(edges[[0, -1]], edges[[0, -1]], color=DRIFT, linewidth=1.0, label="slope 1 through 0, exact")
    middle.errorbar(centres[enough], ratio, error, fmt="o", markersize=3, color=MODEL, label="log of the ratio of the bins' counts")
    middle.set_title("Crooks: log (own / forward) is the line")
    middle.set_ylabel("log (density own / density forward)")
    middle.legend(loc="upper left", frameon=False, fontsize=8.5)
    for axes in (left, middle):
        axes.set_xlabel("$\\log w - \\log p(x^0)$ = minus the dissipated work, nats")
        axes.set_xlim(edges[0], edges[-1])
    right.axhline(0.0, color=DRIFT, linewidth=1.0, label="$\\log p(x^0)$, exact")
    sides = [("k forward trajectories: a lower bound\n(k = 1 is the paper's K)", lower, DATA, "v"),
             ("the same and the model's own: an upper bound", upper, MODEL, "^")]
    for label, side, color, marker in sides:
        right.errorbar(k, side[:, 0], side[:, 1], fmt=f"{marker}-", markersize=4, linewidth=1.0, color=color, label=label)
    right.set_xscale("log", base=2)
    right.set_xlabel("k, trajectories averaged over")
    right.set_ylabel("mean of log (average $w$) $- \\log p(x^0)$, nats")
    right.set_title(rf"Jarzynski: $E\,[\,w / p(x^0)\,] = 1$, here {np.exp(forward).mean():.4f}")
    right.legend(loc="lower right", frameon=False, fontsize=8.5)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure

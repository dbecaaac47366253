"""Figure 2: the binary heartbeat.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Figure 2.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpm_ref.plots._style import DATA, MODEL, training_curve
from dpm_ref.validation import Array

__all__ = ["heartbeat_figure"]


def heartbeat_figure(forward: Mapping[int, Array], reverse: Mapping[int, Array], kl_bits: Array, ideal_kl_bits: Array,
                     steps: Sequence[int], K_bits: Sequence[float], limits: Mapping[str, float]) -> Figure:
    """The paper's Figure 2, a sequence in each row of a panel; below it what each step costs, and K during training.

    Parameters
    ----------
    forward : dict from t to (n, d)
        States x^t of n sequences under q, t = 0 among them; bits.
    reverse : dict from t to (n, d)
        States of n trajectories under p, likewise, at the same times.
    kl_bits, ideal_kl_bits : ndarray, shape (T-1,), bits
        E KL_t for t = 2..T, of the model and of the ideal kernel.
    steps, K_bits : sequences of equal length
        Training steps and K after them, in bits.
    limits : dict from label to bits
        Lines to draw across.

    Returns
    -------
    Figure

    Notes
    -----
    Figure 2. The rows are in the order of where their sequence's ones are at t = 0, so that the five sequences stand together; a row
    is one trajectory at all times.
    """
    figure = Figure(figsize=(11.0, 10.4), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[1.45, 1])
    top, bottom = (figure.add_subfigure(grid[row, 0]) for row in (0, 1))
    panels = top.subplots(2, len(forward))
    for row, states, label in zip(panels, (forward, reverse), ("$q(x^{(%d)})$", "$p(x^{(%d)})$"), strict=True):
        order = np.lexsort(states[0].T)
        for axes, (t, x) in zip(row, sorted(states.items()), strict=True):
            axes.imshow(x[order], cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            axes.set_title(label % t, fontsize=11)
            axes.set(xticks=np.arange(0, x.shape[1], 5), yticks=[])
    for row, label in zip(panels, ("forward, noise to the right", "reverse, made from right to left"), strict=True):
        row[0].set_ylabel(label)
    left, right = bottom.subplots(1, 2)
    _steps_panel(left, kl_bits, ideal_kl_bits)
    training_curve(right, steps, K_bits, limits, "K")
    low, high = right.get_ylim()
    right.set_ylim(low - 0.4 * (high - low), high)  # room for the legend
    return figure


def _steps_panel(axes: Axes, kl_bits: Array, ideal_kl_bits: Array) -> None:
    """E KL_t of the model, in means over neighbouring steps, on that of the ideal kernel."""
    t = np.arange(2, len(kl_bits) + 2)
    groups = np.array_split(np.arange(len(t)), min(40, len(t)))
    axes.plot(t, ideal_kl_bits, color=DATA, linewidth=1.4, label=f"ideal kernel, sum {ideal_kl_bits.sum():.3f} bits")
    axes.plot([t[group].mean() for group in groups], [kl_bits[group].mean() for group in groups], "o", color=MODEL, markersize=3.5,
              label=f"model, sum {kl_bits.sum():.3f} bits")
    axes.set_xlabel("t")
    axes.set_ylabel("E KL$_t$, bits per sequence and step")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)

"""The paper's figures, drawn from arrays; nothing is computed here.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Figures 1 and 2.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpm_ref._doors import Array

__all__ = ["swiss_roll_figure", "training_curve"]

_DATA, _MODEL, _DRIFT = "#1f4e79", "#a83232", "#444444"
_REACH = 2.6  # half the width of the panels: the roll, and nearly all of N(0, I)


def swiss_roll_figure(forward: Mapping[int, Array], reverse: Mapping[int, Array], points: Array, drift: Mapping[int, Array],
                      steps: Sequence[int], K_bits: Sequence[float], limits: Mapping[str, float]) -> Figure:
    """The paper's Figure 1 in three rows, and below them K during training.

    Parameters
    ----------
    forward : dict from t to (n, 2)
        Samples of q(x^t), in the order to be drawn, dimensionless.
    reverse : dict from t to (n, 2)
        Samples of p(x^t), likewise; one column each, as many as forward.
    points : ndarray, shape (m, 2)
        Where the drift is shown.
    drift : dict from t to (m, 2)
        f_mu(x, t) - x there.
    steps, K_bits : sequences of equal length
        Training steps and K after them, in bits.
    limits : dict from label to bits
        Lines to draw across.

    Returns
    -------
    Figure

    Notes
    -----
    Figure 1; each arrow of the drift is drawn to the panel's own scale.
    """
    figure = Figure(figsize=(9.0, 12.6), layout="constrained")
    grid = figure.add_gridspec(4, len(forward), height_ratios=[1, 1, 1, 0.85])
    rows = [(forward, _DATA, "$q(x^{(%d)})$"), (reverse, _MODEL, "$p(x^{(%d)})$")]
    for row, (samples, color, label) in enumerate(rows):
        for column, (t, x) in enumerate(samples.items()):
            axes = _square(figure.add_subplot(grid[row, column]), label % t)
            axes.scatter(x[:, 0], x[:, 1], s=1.5, color=color, alpha=0.5, linewidths=0)
    for column, (t, arrows) in enumerate(drift.items()):
        axes = _square(figure.add_subplot(grid[2, column]), rf"$f_\mu(x, {t}) - x$, longest {np.hypot(*arrows.T).max():.2g}")
        axes.quiver(points[:, 0], points[:, 1], arrows[:, 0], arrows[:, 1], color=_DRIFT, angles="xy", width=0.004)
    training_curve(figure.add_subplot(grid[3, :]), steps, K_bits, limits)
    return figure


def training_curve(axes: Axes, steps: Sequence[int], K_bits: Sequence[float], limits: Mapping[str, float]) -> None:
    """Draw K in bits against training steps, with labelled lines for what it can be compared with; no shape, no return.

    Section 2.4. The view starts at the lowest line, since the first steps can be far below everything.
    """
    axes.plot(steps, K_bits, color=_MODEL, linewidth=1.2, label=f"K, minibatches (last {K_bits[-1]:.3f} bits)")
    for (label, value), style in zip(limits.items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color=_DATA, linestyle=style, linewidth=1.0, label=f"{label} {value:.3f} bits")
    heights = [*limits.values(), *K_bits[len(K_bits) // 10:]]
    margin = 0.08 * (max(heights) - min(heights) + 1e-9)
    axes.set_ylim(min(heights) - margin, max(heights) + margin)
    axes.set_xlabel("training step")
    axes.set_ylabel("K, bits per data vector")
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _square(axes: Axes, title: str) -> Axes:
    axes.set(xlim=(-_REACH, _REACH), ylim=(-_REACH, _REACH), aspect="equal", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    axes.set_title(title, fontsize=11)
    return axes

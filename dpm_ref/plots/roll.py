"""Figure 1: the swiss roll.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Figure 1.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dpm_ref.plots._style import DATA, DRIFT, MODEL, square, training_curve
from dpm_ref.validation import Array

__all__ = ["swiss_roll_figure"]


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
    rows = [(forward, DATA, "$q(x^{(%d)})$"), (reverse, MODEL, "$p(x^{(%d)})$")]
    for row, (samples, color, label) in enumerate(rows):
        for column, (t, x) in enumerate(samples.items()):
            axes = square(figure.add_subplot(grid[row, column]), label % t)
            axes.scatter(x[:, 0], x[:, 1], s=1.5, color=color, alpha=0.5, linewidths=0)
    for column, (t, arrows) in enumerate(drift.items()):
        axes = square(figure.add_subplot(grid[2, column]), rf"$f_\mu(x, {t}) - x$, longest {np.hypot(*arrows.T).max():.2g}")
        axes.quiver(points[:, 0], points[:, 1], arrows[:, 0], arrows[:, 1], color=DRIFT, angles="xy", width=0.004)
    training_curve(figure.add_subplot(grid[3, :]), steps, K_bits, limits)
    return figure

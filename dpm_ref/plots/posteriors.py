"""Posteriors: the truth, the recipe and the particle filter.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from dpm_ref.plots._style import DATA, MODEL, square
from dpm_ref.validation import Array

__all__ = ["posterior_figure"]


def posterior_figure(edges: Array, inpainted: Mapping[str, Array], seen: float, denoised: Mapping[str, Array], observed: Array,
                     spread: float, data: Array, bits: Mapping[str, Mapping[str, Array]]) -> Figure:
    """Posteriors p(x) r(x) / Z in rows, and in columns the truth and what two samplers make of it.

    Parameters
    ----------
    edges : ndarray, shape (b+1,)
        Bins of the coordinate that inpainting fills in, dimensionless.
    inpainted : dict from title to (b,)
        Probability of each bin, the truth first; one column each.
    seen : float
        The coordinate that was seen.
    denoised : dict from title to (n, 2)
        Samples, likewise.
    observed : ndarray, shape (2,)
        The noisy observation, and `spread`, the standard deviation of its noise.
    data : ndarray, shape (m, 2)
        Samples of p, to be seen behind those of the posterior.
    bits : dict from a row's name to dict from title to (k,)
        Probabilities of k sequences, the last being all others, likewise.

    Returns
    -------
    Figure

    Notes
    -----
    Section 2.5. The truth is drawn as an outline over the other columns.
    """
    figure = Figure(figsize=(12.5, 3.1 * (2 + len(bits))), layout="constrained")
    grid = figure.add_gridspec(2 + len(bits), len(inpainted))
    colors = [DATA, *[MODEL] * (len(inpainted) - 1)]
    truth, width = next(iter(inpainted.values())), np.diff(edges)
    top = 1.1 * max(np.max(p / width) for p in inpainted.values())
    for column, (title, p) in enumerate(inpainted.items()):
        axes = figure.add_subplot(grid[0, column], title=title, ylim=(0, top), xlabel=f"$x_2$, given $x_1 = {seen:g}$")
        axes.stairs(p / width, edges, fill=True, color=colors[column], alpha=0.4)
        axes.stairs(truth / width, edges, color=DATA, linewidth=1.2)
        axes.set_ylabel("density")
    for column, (title, x) in enumerate(denoised.items()):
        axes = square(figure.add_subplot(grid[1, column]), title)
        axes.scatter(data[:, 0], data[:, 1], s=1.5, color="#bbbbbb", linewidths=0)
        axes.scatter(x[:, 0], x[:, 1], s=2.0, color=colors[column], alpha=0.5, linewidths=0)
        axes.plot(*observed, marker="+", color="black", markersize=10)
        around = np.linspace(0, 2 * np.pi, 100)
        axes.plot(observed[0] + spread * np.cos(around), observed[1] + spread * np.sin(around), color="black", linewidth=0.8)
        axes.set_xlabel("+ observed, circle: one standard deviation")
    for row, (name, columns) in enumerate(bits.items(), start=2):
        exact = next(iter(columns.values()))
        labels = [*(str(i + 1) for i in range(len(exact) - 1)), "none"]
        for column, (title, p) in enumerate(columns.items()):
            axes = figure.add_subplot(grid[row, column], title=title, ylim=(0, 1), xlabel=f"phase ({name})", ylabel="probability")
            axes.bar(labels, p, color=colors[column], alpha=0.4)
            axes.bar(labels, exact, facecolor="none", edgecolor=DATA, linewidth=1.2)
    for axes in figure.axes:
        axes.title.set_fontsize(10)
        axes.spines[["top", "right"]].set_visible(False)
    return figure

"""Schedules: what each allows, and where it loses.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.4.1.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dpm_ref.plots._style import DATA, MODEL
from dpm_ref.validation import Array

__all__ = ["schedules_figure"]


def schedules_figure(lengths: Sequence[int], above_null: Mapping[str, Array], limit: float, log_snr: Mapping[str, Array],
                     form: Mapping[str, Array], learning: Array, learned: tuple[int, float, float]) -> Figure:
    """Which schedule is best, and why: K* against T, the schedules, what each step costs, and what learning has not reached.

    Parameters
    ----------
    lengths : sequence of n int
        T.
    above_null : dict from schedule to (n,)
        K* - L_null in bits.
    limit : float
        -H(X^0) - L_null, in bits.
    log_snr : dict from schedule to (T,)
        log(abar_t / (1 - abar_t)) at one T.
    form : dict from schedule to (T-1,)
        What the ideal kernel loses at t = 2..T by its independent components, in bits.
    learning : ndarray, shape (T-1,)
        What the trained model loses beyond that, under the schedule named last, in bits.
    learned : (T, K - L_null, its standard error)
        The trained model, in bits.

    Returns
    -------
    Figure

    Notes
    -----
    Section 2.4.1; `exact.gap` splits the gap. Lines are told apart by colour and, in print, by their dashes.
    """
    figure = Figure(figsize=(10.0, 7.6), layout="constrained")
    (top, curves), (costs, bars) = figure.subplots(2, 2)
    for style, (name, values) in zip(_styles(len(above_null)), above_null.items(), strict=True):
        top.plot(lengths, values, marker="o", markersize=3.5, label=name, **style)
    top.errorbar(learned[0], learned[1], yerr=learned[2], fmt="x", color="black", markersize=7, label=f"trained network, T = {learned[0]}")
    top.axhline(limit, color="black", linewidth=0.8, linestyle=":", label="limit, minus the data's entropy")
    top.set(xscale="log", xlabel="T", ylabel="K* - L$_{null}$, bits", title="The best that each schedule allows")
    top.set_xticks(lengths, [str(T) for T in lengths], minor=False)
    top.minorticks_off()
    for style, (name, values) in zip(_styles(len(log_snr)), log_snr.items(), strict=True):
        curves.plot(np.arange(1, len(values) + 1), values, label=name, **style)
        costs.plot(np.arange(2, len(values) + 1), np.cumsum(form[name]), label=f"{name}, in all {form[name].sum():.2f}", **style)
    curves.set(xlabel="t", ylabel=r"log $\bar\alpha_t / (1 - \bar\alpha_t)$", title=f"The schedules at T = {len(learning) + 1}")
    costs.set(xlabel="t", ylabel="bits, in steps 2 to t", title="What independent components cost, added up")
    t, last = np.arange(2, len(learning) + 2), list(form)[-1]
    bars.bar(t, form[last], color=DATA, width=0.9, label=f"independent components, sum {form[last].sum():.3f}")
    bars.bar(t, learning, bottom=form[last], color=MODEL, width=0.9, label=f"not learned, sum {learning.sum():.3f}")
    bars.set(xlabel="t", ylabel="bits per step", title=f"From the limit to K: {last}")
    for axes in (top, curves, bars):
        axes.legend(frameon=False, fontsize=7.5)
    costs.legend(frameon=False, fontsize=7.5, loc="center right", bbox_to_anchor=(1.0, 0.66))
    for axes in (top, curves, costs, bars):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _styles(n: int) -> list[dict[str, object]]:
    colors, dashes = ("#7a7a7a", "#b8860b", "#2e8b57", "#1f4e79", "#6a3d9a", "#a83232"), ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
    return [{"color": color, "linestyle": dash, "linewidth": 1.4} for color, dash in list(zip(colors, dashes, strict=True))[:n]]

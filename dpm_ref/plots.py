"""The paper's figures, and one of its thermodynamics, drawn from arrays; nothing but histograms is computed here.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Figures 1 and 2.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpm_ref._doors import Array

__all__ = ["swiss_roll_figure", "heartbeat_figure", "training_curve", "work_figure", "schedules_figure", "posterior_figure"]

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
    axes.plot(t, ideal_kl_bits, color=_DATA, linewidth=1.4, label=f"ideal kernel, sum {ideal_kl_bits.sum():.3f} bits")
    axes.plot([t[group].mean() for group in groups], [kl_bits[group].mean() for group in groups], "o", color=_MODEL, markersize=3.5,
              label=f"model, sum {kl_bits.sum():.3f} bits")
    axes.set_xlabel("t")
    axes.set_ylabel("E KL$_t$, bits per sequence and step")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def training_curve(axes: Axes, steps: Sequence[int], K_bits: Sequence[float], limits: Mapping[str, float],
                   label: str = "K, minibatches") -> None:
    """Draw K in bits against training steps, with labelled lines for what it can be compared with; no shape, no return.

    Section 2.4. The view starts at the lowest line, since the first steps can be far below everything.
    """
    axes.plot(steps, K_bits, color=_MODEL, linewidth=1.2, label=f"{label} (last {K_bits[-1]:.3f} bits)")
    for (name, value), style in zip(limits.items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color=_DATA, linestyle=style, linewidth=1.0, label=f"{name} {value:.3f} bits")
    heights = [*limits.values(), *K_bits[len(K_bits) // 10:]]
    margin = 0.08 * (max(heights) - min(heights) + 1e-9)
    axes.set_ylim(min(heights) - margin, max(heights) + margin)
    axes.set_xlabel("training step")
    axes.set_ylabel("K, bits per data vector")
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


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
    for count, values, color, label in zip(counts, (forward, own), (_DATA, _MODEL), labels, strict=True):
        left.stairs(count / width / len(values), edges, color=color, fill=True, alpha=0.3)
        left.stairs(count / width / len(values), edges, color=color, linewidth=1.2, label=f"{label}, mean {values.mean():+.3f}")
    zero = int(np.abs(edges).argmin())
    height = np.mean([count[zero - 1:zero + 1] / width[zero] / len(forward) for count in counts])
    left.annotate("they cross at 0,\nwhere $w = p(x^0)$", (0.0, height), (1.1, 1.15 * height), fontsize=9, arrowprops={"arrowstyle": "->"})
    left.plot([0.0, 0.0], [0.0, height], color=_DRIFT, linewidth=1.0)
    left.set_title("Work $-\\log w$ along trajectories, with time and against it")
    left.set_ylabel("density")
    left.set_ylim(0, 1.4 * left.get_ylim()[1])
    left.legend(loc="upper left", frameon=False, fontsize=8.5)
    enough = np.minimum(*counts) >= 20
    ratio = np.log(counts[1][enough] / len(own)) - np.log(counts[0][enough] / len(forward))
    error = np.sqrt(1.0 / counts[0][enough] + 1.0 / counts[1][enough])
    middle.plot(edges[[0, -1]], edges[[0, -1]], color=_DRIFT, linewidth=1.0, label="slope 1 through 0, exact")
    middle.errorbar(centres[enough], ratio, error, fmt="o", markersize=3, color=_MODEL, label="log of the ratio of the bins' counts")
    middle.set_title("Crooks: log (own / forward) is the line")
    middle.set_ylabel("log (density own / density forward)")
    middle.legend(loc="upper left", frameon=False, fontsize=8.5)
    for axes in (left, middle):
        axes.set_xlabel("$\\log w - \\log p(x^0)$ = minus the dissipated work, nats")
        axes.set_xlim(edges[0], edges[-1])
    right.axhline(0.0, color=_DRIFT, linewidth=1.0, label="$\\log p(x^0)$, exact")
    sides = [("k forward trajectories: a lower bound\n(k = 1 is the paper's K)", lower, _DATA, "v"),
             ("the same and the model's own: an upper bound", upper, _MODEL, "^")]
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


def _square(axes: Axes, title: str) -> Axes:
    axes.set(xlim=(-_REACH, _REACH), ylim=(-_REACH, _REACH), aspect="equal", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    axes.set_title(title, fontsize=11)
    return axes


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
        costs.plot(np.arange(2, len(values) + 1), form[name], label=f"{name}, sum {form[name].sum():.3f}", **style)
    curves.set(xlabel="t", ylabel=r"log $\bar\alpha_t / (1 - \bar\alpha_t)$", title=f"The schedules at T = {len(learning) + 1}")
    costs.set(xlabel="t", ylabel="bits per step", title="What independent components cost, step by step", yscale="log")
    costs.set_ylim(1e-5, 1.0)
    t, last = np.arange(2, len(learning) + 2), list(form)[-1]
    bars.bar(t, form[last], color=_DATA, width=0.9, label=f"independent components, sum {form[last].sum():.3f}")
    bars.bar(t, learning, bottom=form[last], color=_MODEL, width=0.9, label=f"not learned, sum {learning.sum():.3f}")
    bars.set(xlabel="t", ylabel="bits per step", title=f"From the limit to K: {last}")
    for axes in (top, curves, costs, bars):
        axes.legend(frameon=False, fontsize=7.5)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _styles(n: int) -> list[dict[str, object]]:
    colors, dashes = ("#7a7a7a", "#b8860b", "#2e8b57", "#1f4e79", "#6a3d9a", "#a83232"), ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
    return [{"color": color, "linestyle": dash, "linewidth": 1.4} for color, dash in list(zip(colors, dashes, strict=True))[:n]]


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
    colors = [_DATA, *[_MODEL] * (len(inpainted) - 1)]
    truth, width = next(iter(inpainted.values())), np.diff(edges)
    top = 1.1 * max(np.max(p / width) for p in inpainted.values())
    for column, (title, p) in enumerate(inpainted.items()):
        axes = figure.add_subplot(grid[0, column], title=title, ylim=(0, top), xlabel=f"$x_2$, given $x_1 = {seen:g}$")
        axes.stairs(p / width, edges, fill=True, color=colors[column], alpha=0.4)
        axes.stairs(truth / width, edges, color=_DATA, linewidth=1.2)
        axes.set_ylabel("density")
    for column, (title, x) in enumerate(denoised.items()):
        axes = _square(figure.add_subplot(grid[1, column]), title)
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
            axes.bar(labels, exact, facecolor="none", edgecolor=_DATA, linewidth=1.2)
    for axes in figure.axes:
        axes.title.set_fontsize(10)
        axes.spines[["top", "right"]].set_visible(False)
    return figure

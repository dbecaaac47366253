"""The figures of the examples.

The same colour is the same thing everywhere: blue the data, vermilion the model, green the ideal
reverse kernel and its K*, black the truth or the limit, grey the prior. The palette is that of
Okabe and Ito, which the colour blind can tell apart; in print, dashes and markers do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dpm_ref.validation import Array

__all__ = ["heartbeat", "likelihoods", "own_bits", "own_points", "posteriors", "schedules",
           "swiss_roll", "work"]

DATA, MODEL, IDEAL, TRUTH, PRIOR = "#0072b2", "#d55e00", "#009e73", "#000000", "#888888"
OTHER, PALE = "#cc79a7", "#bfbfbf"
LINES = {"limit": (TRUTH, ":"), "K*": (IDEAL, "--"), "held out": (DATA, "-"),
         "prior": (PRIOR, "-."), "paper": (OTHER, "-.")}
REACH = 2.6  # half the width of the panels: the roll, and nearly all of N(0, I)


def swiss_roll(
    forward: Mapping[int, Array], reverse: Mapping[int, Array], points: Array,
    drift: Mapping[int, Array], history: tuple[Sequence[int], Sequence[float]],
    limits: Mapping[str, float],
) -> Figure:
    """The paper's Figure 1, data left and noise right in every row; below it K during training.

    forward and reverse are samples (n, 2) by t, drift f_mu(x, t) - x at the points (m, 2) by t.
    """
    figure = Figure(figsize=(9.4, 13.2), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[3, 1])
    top, bottom = halves
    panels = top.subplots(3, len(forward), sharex=True, sharey=True)
    rows = zip(panels[:2], (forward, reverse), (DATA, MODEL), "qp", strict=True)
    for row, samples, color, name in rows:
        for axes, t in zip(row, sorted(samples), strict=True):
            cloud(square(axes, f"${name}(x^{{({t})}})$"), samples[t], color)
    for axes, t, behind in zip(panels[2], sorted(drift), sorted(forward), strict=True):
        longest = np.hypot(*drift[t].T).max()
        square(axes, rf"$f_\mu(x, {t}) - x$, longest {longest:.2g}")
        cloud(axes, forward[behind], DATA, alpha=0.25)
        axes.quiver(*points.T, *drift[t].T, color=MODEL, angles="xy", width=0.005)
        axes.set_xlabel("$x_1$")
    for row, name in zip(panels, ("forward", "reverse", "reverse drift, over the data"),
                         strict=True):
        row[0].set_ylabel(f"{name}\n$x_2$", fontsize=11)
    training_curve(bottom.subplots(), *history, limits, columns=2)
    return figure


def heartbeat(
    forward: Mapping[int, Array], reverse: Mapping[int, Array], kl_bits: Array,
    ideal_kl_bits: Array, history: tuple[Sequence[int], Sequence[float]],
    limits: Mapping[str, float],
) -> Figure:
    """The paper's Figure 2, a sequence in each row of a panel; below, E KL_t and K in training.

    forward and reverse are states (n, d) by t; a row is one trajectory at all times, and rows are
    in the order of their sequences at t = 0.
    """
    figure = Figure(figsize=(11.0, 10.6), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[1.45, 1])
    top, bottom = (figure.add_subfigure(grid[row, 0]) for row in (0, 1))
    panels = top.subplots(2, len(forward))
    labels = ("$q(x^{(%d)})$", "$p(x^{(%d)})$")
    for row, states, label in zip(panels, (forward, reverse), labels, strict=True):
        order = np.lexsort(states[0].T)
        for axes, (t, x) in zip(row, sorted(states.items()), strict=True):
            axes.imshow(x[order], cmap="Greys", vmin=0, vmax=1, aspect="auto",
                        interpolation="nearest")
            axes.set_title(label % t, fontsize=11)
            axes.set(xticks=np.arange(0, x.shape[1], 5), yticks=[], xlabel="bit")
            axes.set_xticklabels([str(bit + 1) for bit in axes.get_xticks()])
    panels[0][0].set_ylabel("forward trajectories,\none a row; noise to the right")
    panels[1][0].set_ylabel("reverse trajectories,\none a row; made from right to left")
    left, right = bottom.subplots(1, 2)
    _steps_panel(left, kl_bits, ideal_kl_bits)
    training_curve(right, *history, limits)
    return figure


def _steps_panel(axes: Axes, kl_bits: Array, ideal_kl_bits: Array) -> None:
    """E KL_t of the model, in means over neighbouring steps, on that of the ideal kernel."""
    t = np.arange(2, len(kl_bits) + 2)
    groups = np.array_split(np.arange(len(t)), min(40, len(t)))
    axes.plot(t, ideal_kl_bits, color=IDEAL, linewidth=1.4,
              label=f"ideal kernel, sum {ideal_kl_bits.sum():.3f} bits")
    axes.plot([t[group].mean() for group in groups], [kl_bits[group].mean() for group in groups],
              "o", color=MODEL, markersize=3.5, label=f"model, sum {kl_bits.sum():.3f} bits")
    axes.set(xlabel="t", ylabel="$E\\,KL_t$, bits per sequence and step", ylim=(0, None))
    _legend_below(axes)
    _open(axes)


def training_curve(
    axes: Axes, steps: Sequence[int], K_bits: Sequence[float], limits: Mapping[str, float],
    columns: int = 1,
) -> None:
    """K in bits against training steps, and lines across; keys of limits as in LINES.

    The view starts at the lowest line, since the first steps can be far below everything.
    """
    names = {"limit": "limit, minus the data's entropy", "K*": "$K^*$, the ideal reverse kernel",
             "held out": "$K$ on held-out data", "prior": r"$L_{\mathrm{null}}$, the prior",
             "paper": "$K$ in the paper"}
    for key, value in sorted(limits.items(), key=lambda item: -item[1]):
        color, dashes = LINES[key]
        axes.axhline(value, color=color, linestyle=dashes, linewidth=1.3,
                     label=f"{names[key]}: {value:.3f}")
    axes.plot(steps, K_bits, color=MODEL, linewidth=1.4,
              label=f"$K$ of minibatches, last {K_bits[-1]:.3f}")
    heights = [*limits.values(), *K_bits[len(K_bits) // 10:]]
    margin = 0.06 * (max(heights) - min(heights) + 1e-9)
    axes.set(ylim=(min(heights) - margin, max(heights) + margin), xlabel="training step",
             ylabel="$K$, bits per data vector")
    _legend_below(axes, columns)
    _open(axes)


def posteriors(
    inpainted: tuple[Array, Mapping[str, Array], float],
    denoised: tuple[Array, Mapping[str, Array], Array, float],
    bits: Mapping[str, Mapping[str, Array]],
) -> Figure:
    """Posteriors p(x) r(x) / Z in rows; in columns the truth and what two samplers make of it.

    inpainted: edges (b+1,), probabilities (b,) by title, x_1; denoised: samples of p, samples
    (n, 2) by title, observation and the noise's standard deviation; bits: probabilities (k,) by
    title for each question. The truth comes first.
    """
    figure = Figure(figsize=(12.5, 3.1 * (2 + len(bits)) + 0.4), layout="constrained")
    panels = figure.subplots(2 + len(bits), len(inpainted[1]))
    _histograms(panels[0], *inpainted)
    _clouds(panels[1], *denoised)
    for row, (name, columns) in zip(panels[2:], bits.items(), strict=True):
        _phases(row, name, columns)
    for axes in figure.axes:
        axes.title.set_fontsize(10)
        _open(axes)
    handles = [
        Patch(color=DATA, alpha=0.4, label="posterior of the data's distribution"),
        Patch(color=MODEL, alpha=0.4, label="samples of the model"),
        Patch(facecolor="none", edgecolor=TRUTH, linewidth=1.2, label="outline: the first column"),
        Line2D([], [], marker="o", linestyle="", markersize=4, color=PALE, label="$q(x^{(0)})$"),
        Line2D([], [], marker="+", linestyle="", markersize=10, color=TRUTH, label="observed"),
        Line2D([], [], marker="o", linestyle="", markersize=12, fillstyle="none", color=TRUTH,
               label="one standard deviation of its noise"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _colors(n: int) -> list[str]:
    return [DATA, *[MODEL] * (n - 1)]


def _histograms(
    row: Sequence[Axes], edges: Array, columns: Mapping[str, Array], seen: float
) -> None:
    truth, width = next(iter(columns.values())), np.diff(edges)
    top = 1.1 * max(np.max(p / width) for p in columns.values())
    for axes, color, (title, p) in zip(row, _colors(len(row)), columns.items(), strict=True):
        axes.stairs(p / width, edges, fill=True, color=color, alpha=0.4)
        axes.stairs(truth / width, edges, color=TRUTH, linewidth=1.0)
        axes.set(title=title, ylim=(0, top), ylabel="density",
                 xlabel=f"$x_2$, given $x_1 = {seen:g}$")


def _clouds(row: Sequence[Axes], data: Array, columns: Mapping[str, Array], observed: Array,
            std: float) -> None:
    around = np.linspace(0, 2 * np.pi, 100)
    for axes, color, (title, x) in zip(row, _colors(len(row)), columns.items(), strict=True):
        axes = square(axes, title)
        cloud(axes, data, PALE, alpha=1.0)
        cloud(axes, x, color)
        axes.plot(*observed, marker="+", color=TRUTH, markersize=10)
        axes.plot(observed[0] + std * np.cos(around), observed[1] + std * np.sin(around),
                  color=TRUTH, linewidth=0.8)
        axes.set(xlabel="$x_1$", ylabel="$x_2$")


def _phases(row: Sequence[Axes], name: str, columns: Mapping[str, Array]) -> None:
    truth = next(iter(columns.values()))
    labels = [*(str(i + 1) for i in range(len(truth) - 1)), "none"]
    for axes, color, (title, p) in zip(row, _colors(len(row)), columns.items(), strict=True):
        axes.set(title=title, ylim=(0, 1), xlabel=f"phase ({name})", ylabel="probability")
        axes.bar(labels, p, color=color, alpha=0.4)
        axes.bar(labels, truth, facecolor="none", edgecolor=TRUTH, linewidth=1.0)


def schedules(
    lengths: Sequence[int], above_null: Mapping[str, Array], limit: float,
    log_snr: Mapping[str, Array], form: Mapping[str, Array], learning: Array,
    network: tuple[int, float, float],
) -> Figure:
    """Which schedule is best, and why.

    K* - L_null by schedule over the lengths T; at one T log(abar_t / (1 - abar_t)) (T,), and by
    schedule what the ideal kernel loses at t = 2..T (T-1,); what the trained network, under the
    schedule named last, loses beyond that; and its T, K - L_null and standard error. In bits.
    """
    figure = Figure(figsize=(11.0, 8.4), layout="constrained")
    (top, curves), (costs, bars) = figure.subplots(2, 2)
    for name, values in above_null.items():
        top.plot(lengths, values, marker="o", markersize=3.5, label=name, **_style(name))
    top.axhline(limit, color=TRUTH, linewidth=1.0, linestyle=":", label="limit")
    T, height, stderr = network
    top.errorbar(T, height, yerr=stderr, fmt="D", color=MODEL, markersize=9, zorder=5,
                 markeredgecolor="white", label=f"$K$ of the trained network, T = {T}")
    top.set(xscale="log", xlabel="T", title="$K^*$ of each schedule, and a trained network's $K$",
            ylabel=r"$K^* - L_{\mathrm{null}}$, bits")
    top.set_xticks(lengths, [str(T) for T in lengths], minor=False)
    top.minorticks_off()
    for name, values in log_snr.items():
        curves.plot(np.arange(1, len(values) + 1), values, label=name, **_style(name))
        costs.plot(np.arange(2, len(values) + 1), np.cumsum(form[name]), **_style(name),
                   label=f"{name}: {form[name].sum():.2f}")
    curves.set(xlabel="t", ylabel=r"$\log\, \bar\alpha_t / (1 - \bar\alpha_t)$",
               title=f"The schedules at T = {T}")
    costs.set(xlabel="t", ylabel="bits, in steps 2 to t",
              title="What independent components cost, added up")
    _lost(bars, form[list(form)[-1]], learning, list(form)[-1])
    for axes in (top, curves, costs, bars):
        _legend_below(axes, columns=2)
        _open(axes)
    return figure


def _lost(axes: Axes, form: Array, learning: Array, name: str) -> None:
    """What is lost at each step between limit and K, in bits."""
    t = np.arange(2, len(form) + 2)
    axes.bar(t, form, color=IDEAL, width=0.9, label=f"independent components: {form.sum():.3f}")
    axes.bar(t, learning, bottom=form, color=MODEL, width=0.9,
             label=f"not learned: {learning.sum():.3f}")
    axes.set(xlabel="t", ylabel="bits per step", title=f"From the limit to $K$: {name}")


def _style(name: str) -> dict[str, Any]:
    styles = {
        "linear": (PRIOR, "-"), "cosine": ("#e69f00", "--"), "1/(T-t+1)": ("#56b4e9", "-."),
        "log-SNR linear": (OTHER, ":"), "best, by dynamic programming": (IDEAL, (0, (5, 1))),
        "learned beside a network": (MODEL, (0, (1, 1))),
    }
    color, dashes = styles[name]
    return {"color": color, "linestyle": dashes, "linewidth": 1.6}


def work(
    edges: Array, forward: Array, own: Array, k: Sequence[int], lower: Array, upper: Array
) -> Figure:
    """Work along forward trajectories and the model's own, their ratio, and averages of weights.

    forward and own are log w - log p(x^0) in nats, edges their bins; lower and upper (m, 2) the
    sandwich's sides less log p(x^0), with standard errors, for k trajectories averaged over.
    """
    figure = Figure(figsize=(15.0, 5.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    counts = [np.histogram(values, edges)[0] for values in (forward, own)]
    _densities(left, edges, counts, (forward, own))
    _crooks(middle, edges, counts, (len(forward), len(own)))
    for axes in (left, middle):
        axes.set(xlabel="$\\log w - \\log p(x^{(0)})$, nats: minus the work dissipated",
                 xlim=(edges[0], edges[-1]))
    right.axhline(0.0, color=TRUTH, linewidth=1.0, label="$\\log p(x^{(0)})$, exact")
    sides = [("$k$ forward trajectories: a lower bound, at $k = 1$ the paper's $K$", lower, "v"),
             ("the same and one of the model's own: an upper bound", upper, "^")]
    for (label, side, marker), color in zip(sides, (DATA, MODEL), strict=True):
        right.errorbar(k, side[:, 0], side[:, 1], fmt=f"{marker}-", markersize=4, linewidth=1.0,
                       color=color, label=label)
    right.set_xscale("log", base=2)
    mean = r"$E\,[\,w / p(x^{(0)})\,]"
    right.set(xlabel="$k$, trajectories averaged over",
              ylabel="mean of log (average $w$) $- \\log p(x^{(0)})$, nats",
              title=f"Jarzynski: {mean} = 1$, here {np.exp(forward).mean():.4f}")
    for axes in (left, middle, right):
        _legend_below(axes)
        _open(axes)
    return figure


def _densities(
    axes: Axes, edges: Array, counts: Sequence[Array], samples: Sequence[Array]
) -> None:
    """Both densities of log w - log p(x^0), and where they cross."""
    width = np.diff(edges)
    labels = ("forward: $x^{(0)}$ from the model, $x^{(1)}..x^{(T)}$ from $q$; mean %+.3f",
              "the model's own, $x^{(T)}..x^{(0)}$ from $p$; mean %+.3f")
    for count, values, color, label in zip(counts, samples, (DATA, MODEL), labels, strict=True):
        density = count / width / len(values)
        axes.stairs(density, edges, color=color, fill=True, alpha=0.3)
        axes.stairs(density, edges, color=color, linewidth=1.2, label=label % values.mean())
    zero = int(np.abs(edges).argmin())
    heights = [count[zero - 1:zero + 1] / width[zero] / len(samples[0]) for count in counts]
    height = float(np.mean(heights))
    axes.annotate("they cross at 0,\nwhere $w = p(x^{(0)})$", (0.0, height), (0.8, 1.2 * height),
                  fontsize=9, arrowprops={"arrowstyle": "->"})
    axes.plot([0.0, 0.0], [0.0, height], color=TRUTH, linewidth=1.0)
    axes.set(title="Work along trajectories, with time and against it", ylabel="density")


def _crooks(axes: Axes, edges: Array, counts: Sequence[Array], sizes: tuple[int, int]) -> None:
    """The log ratio of both densities, where a bin holds 20 of each or more."""
    enough = np.minimum(*counts) >= 20
    forward, own = (count[enough] for count in counts)
    ratio = np.log(own / sizes[1]) - np.log(forward / sizes[0])
    axes.plot(edges[[0, -1]], edges[[0, -1]], color=TRUTH, linewidth=1.0, label="exact: slope 1")
    axes.errorbar(0.5 * (edges[1:] + edges[:-1])[enough], ratio, np.sqrt(1 / forward + 1 / own),
                  fmt="o", markersize=3, color=OTHER,
                  label="counts of the bins, and one standard error")
    axes.set(title="Crooks: the log ratio of the densities is a line",
             ylabel="log (density own / density forward)")


def likelihoods(
    truth: Array, log_p: Sequence[Array], K: Sequence[Array], reliable: Any, title: str
) -> Figure:
    """Each data vector's log q, log p and K in bits, the latter two with standard errors."""
    figure = Figure(figsize=(8.4, 5.6), layout="constrained")
    axes, order = figure.subplots(), np.argsort(truth)
    place = np.arange(1, len(truth) + 1)
    axes.plot(place, truth[order], "_", markersize=12, color=DATA,
              label="$\\log q(x^{(0)})$ of the data, exact")
    shown = [(log_p, "o", OTHER, "$\\log p(x^{(0)})$ of the model, by importance sampling"),
             (K, "v", MODEL, "$K(x^{(0)})$, its lower bound, by sampling")]
    for (values, stderrs), marker, color, label in shown:
        axes.errorbar(place, values[order], stderrs[order], fmt=marker, markersize=4, color=color,
                      label=label)
    if not reliable.all():
        doubtful = ~reliable[order]
        axes.plot(place[doubtful], log_p[0][order][doubtful], "o", markersize=10,
                  fillstyle="none", color=OTHER, label="not reliable: heavy-tailed weights")
    axes.set(xlabel="data vector, in the order of $\\log q$", ylabel="bits")
    axes.set_title(title, fontsize=11)
    _legend_below(axes)
    _open(axes)
    return figure


def own_points(
    data: Array, samples: Array, history: tuple[Sequence[int], Sequence[float]],
    limits: Mapping[str, float],
) -> Figure:
    """Data and samples of the model, their first two components, and K during training."""
    figure = Figure(figsize=(9.4, 8.6), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[1, 0.75])
    top, bottom = halves
    panels = top.subplots(1, 2)
    low, high = data.min(0), data.max(0)
    margin, d = 0.1 * (high - low), data.shape[1]
    shown = f", $x_1$ and $x_2$ of {d}" if d > 2 else ""
    for axes, x, color, title in zip(panels, (data, samples), (DATA, MODEL),
                                     ("data", "samples of the model"), strict=True):
        if d == 1:
            axes.hist(x[:, 0], np.linspace(low[0] - margin[0], high[0] + margin[0], 60),
                      density=True, color=color)
            axes.set(title=title, xlabel="$x_1$", ylabel="density")
            continue
        cloud(axes, x, color)
        axes.set(title=title + shown, xlabel="$x_1$", ylabel="$x_2$",
                 xlim=(low[0] - margin[0], high[0] + margin[0]),
                 ylim=(low[1] - margin[1], high[1] + margin[1]))
    training_curve(bottom.subplots(), *history, limits, columns=2)
    return figure


def own_bits(
    data: Array, samples: Array, history: tuple[Sequence[int], Sequence[float]],
    limits: Mapping[str, float],
) -> Figure:
    """Images of bits (n, h, w), of the data and of the model, 25 each, and K during training."""
    figure = Figure(figsize=(9.4, 9.2), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[1, 0.7])
    top, bottom = halves
    panels: Any = top.subplots(1, 2)
    titles = ("data", "samples of the model")
    for axes, x, title in zip(panels, (data, samples), titles, strict=True):
        axes.set(title=title, xticks=[], yticks=[])
        axes.imshow(_sheet(x[:25]), cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
        axes.set(xlabel=f"{min(25, len(x))} images of {x.shape[1]} x {x.shape[2]} bits")
    training_curve(bottom.subplots(), *history, limits, columns=2)
    return figure


def _sheet(images: Array) -> Array:
    """Images (n, h, w) in rows of five, with a grey line between them."""
    n, h, w = images.shape
    rows = -(-n // 5)
    sheet = np.full((rows * (h + 1) - 1, 5 * (w + 1) - 1), 0.3)
    for i, image in enumerate(images):
        top, left = i // 5 * (h + 1), i % 5 * (w + 1)
        sheet[top:top + h, left:left + w] = image
    return sheet


def cloud(axes: Axes, x: Array, color: str, alpha: float = 0.5) -> None:
    axes.scatter(x[:, 0], x[:, 1], s=1.5, color=color, alpha=alpha, linewidths=0, rasterized=True)


def square(axes: Axes, title: str) -> Axes:
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal",
             xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    axes.set_title(title, fontsize=11)
    return axes


def _legend_below(axes: Axes, columns: int = 1) -> None:
    """A legend under the panel, where no line crosses it."""
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.16), frameon=False, fontsize=9,
                ncols=columns)


def _open(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)

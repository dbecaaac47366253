"""The colours and panels that figures share.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Figures 1 and 2.
"""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

__all__ = ["DATA", "MODEL", "DRIFT", "REACH", "training_curve", "square"]

DATA, MODEL, DRIFT = "#1f4e79", "#a83232", "#444444"
REACH = 2.6  # half the width of the panels: the roll, and nearly all of N(0, I)


def training_curve(axes: Axes, steps: Sequence[int], K_bits: Sequence[float], limits: Mapping[str, float],
                   label: str = "K, minibatches") -> None:
    """Draw K in bits against training steps, with labelled lines for what it can be compared with; no shape, no return.

    Section 2.4. The view starts at the lowest line, since the first steps can be far below everything.
    """
    axes.plot(steps, K_bits, color=MODEL, linewidth=1.2, label=f"{label} (last {K_bits[-1]:.3f} bits)")
    for (name, value), style in zip(limits.items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color=DATA, linestyle=style, linewidth=1.0, label=f"{name} {value:.3f} bits")
    heights = [*limits.values(), *K_bits[len(K_bits) // 10:]]
    margin = 0.08 * (max(heights) - min(heights) + 1e-9)
    axes.set_ylim(min(heights) - margin, max(heights) + margin)
    axes.set_xlabel("training step")
    axes.set_ylabel("K, bits per data vector")
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def square(axes: Axes, title: str) -> Axes:
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    axes.set_title(title, fontsize=11)
    return axes

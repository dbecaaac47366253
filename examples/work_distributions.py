"""Jarzynski's equality and the Crooks crossing: importance weights as work, on a model whose log p(x^0) is known exactly.

    python examples/work_distributions.py

The model is a linear-Gaussian chain whose reverse kernels are deliberately wrong, so that its trajectories and the forward ones
differ. Take F, the law of forward trajectories that start in data of the model, and R, that of the model's own trajectories:

    log w - log p(x^0) = log R / F,        -log w being the work that is done along a trajectory

Hence E_F[ w / p(x^0) ] = 1, whatever the kernels (Jarzynski's equality; for log p(x^0), equation (9)), and the densities of
log w - log p(x^0) under R and under F have the ratio exp(log w - log p(x^0)) and cross at 0 (Crooks). The mean of log w under F is K.
Averaged over k forward trajectories the weights bound log p(x^0) from below; with the model's own among them, from above.

K and the limit are reported in bits per data vector, for data of the model: the limit, minus their entropy, is the mean log p(x^0).
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import common
import numpy as np

from dpm_ref import GaussianDiffusion, bounds, plots, schedules
from dpm_ref.bounds import to_bits
from dpm_ref.exact import GaussianData, LinearModel
from dpm_ref.likelihood import log_weights, sandwich
from dpm_ref.reverse import sample_trajectory
from dpm_ref.validation import Array

T, DATA_VARIANCE = 20, 0.25
TOO_WIDE, DRIFT = 1.3, 0.05  # what is wrong with the reverse kernels: their variances, and a shift at every step
CHUNKS, AVERAGED = 10, (1, 2, 4, 8, 16, 32, 64, 128, 256)


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--trajectories", type=int, default=400_000, help="trajectories of each kind (default 400000)")
    chosen = parser.parse_args(argv)
    if chosen.trajectories < 1000 or chosen.seed < 0:
        parser.error(f"--trajectories must be at least 1000 and --seed 0, got {chosen.trajectories} and {chosen.seed}")
    if chosen.quick:
        chosen.trajectories = min(chosen.trajectories, 20_000)
    return chosen


def build() -> LinearModel:
    """The exact reversal of N(0, 1/4), made wrong."""
    diffusion = GaussianDiffusion(schedules.linear(T, first=0.02, last=0.4))
    data = GaussianData(diffusion, [0.0], [[DATA_VARIANCE]])
    return LinearModel(diffusion, [(A, b + DRIFT, TOO_WIDE * S) for A, b, S in data.kernels()])


def trajectories(model: LinearModel, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """log w - log p(x^0) along n forward trajectories and n of the model's own, each from data of their own."""
    drawn = sample_trajectory(model.diffusion, model.reverse, 2 * n, 1, rng=rng, keep=range(T + 1)).states
    own = np.stack([drawn[t][:n] for t in range(T + 1)])
    forward = [drawn[0][n:]]
    for t in range(1, T + 1):
        forward.append(model.diffusion.kernel(forward[-1], t).sample(rng=rng))
    results = [log_weights(model.diffusion, model.reverse, path) - model.log_likelihood(path[0]) for path in (np.stack(forward), own)]
    return results[0], results[1]


def averaging(model: LinearModel, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The sandwich less log p(x^0), with standard errors, for every number of samples: (m, 2) each."""
    sides: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for k in AVERAGED:
        held = sandwich(model.diffusion, model.reverse, n, 1, n_samples=k, rng=rng)
        exact = model.log_likelihood(held.x0)
        for side, bound in zip(sides, (held.lower, held.upper), strict=True):
            side.append((float((bound - exact).mean()), float((bound - exact).std(ddof=1) / np.sqrt(n))))
    return np.array(sides[0]), np.array(sides[1])


def crooks_fit(edges: Array, forward: Array, own: Array) -> tuple[float, float, float]:
    """Slope, its standard error, and crossing of the log ratio of the bins' counts, by weighted least squares; exactly 1 and 0."""
    counts = np.array([np.histogram(values, edges)[0] for values in (forward, own)])
    enough = counts.min(0) >= 100
    centres, counts = 0.5 * (edges[1:] + edges[:-1])[enough], counts[:, enough]
    (slope, offset), cov = np.polyfit(centres, np.log(counts[1] / counts[0]), 1, w=(1.0 / counts).sum(0) ** -0.5, cov="unscaled")
    return float(slope), float(np.sqrt(cov[0, 0])), float(-offset / slope)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen, began = options(argv), time.monotonic()
    rng, model = np.random.default_rng(chosen.seed), build()
    data = GaussianData(model.diffusion, *model.marginal(0))
    limit, exact_K, _ = model.averages(data)
    progress, parts = common.Progress(CHUNKS), []
    for chunk in range(CHUNKS):
        parts.append(trajectories(model, chosen.trajectories // CHUNKS, rng))
        progress(chunk + 1, float(to_bits(limit + np.concatenate([part[0] for part in parts]).mean())))
    forward, own = (np.concatenate(values) for values in zip(*parts, strict=True))
    edges = np.linspace(-3.0, 3.0, 61)
    lower, upper = averaging(model, 400 if chosen.quick else 4000, rng)
    slope, slope_stderr, crossing = crooks_fit(edges, forward, own)
    w, root = np.exp(forward), np.sqrt(len(forward))
    null = float(bounds.null_log_likelihood(model.diffusion, data.points()).mean())
    K = limit + forward.mean()
    numbers = {
        "K_bits": float(to_bits(K)), "K_stderr_bits": float(to_bits(forward.std(ddof=1) / root)), "exact_K_bits": float(to_bits(exact_K)),
        "K_minus_null_bits": float(to_bits(K - null)), "limit_bits": float(to_bits(limit)),
        "ideal_K_bits": float(to_bits(LinearModel(model.diffusion, data.kernels()).averages(data).bound)),
        "jarzynski": float(w.mean()), "jarzynski_stderr": float(w.std(ddof=1) / root),
        "jarzynski_own": float(np.exp(-own).mean()), "jarzynski_own_stderr": float(np.exp(-own).std(ddof=1) / root),
        "crooks_slope": slope, "crooks_slope_stderr": slope_stderr, "crossing_nats": crossing,
        "sandwich_gap_bits": float(to_bits(upper[-1, 0] - lower[-1, 0])), "sandwich_samples": AVERAGED[-1],
        "trajectories": len(forward), "T": T, "seed": chosen.seed, "seconds": time.monotonic() - began,
    }
    print(f"E[w / p(x^0)] = {numbers['jarzynski']:.4f} +- {numbers['jarzynski_stderr']:.4f}, exactly 1; Crooks slope {slope:.3f} +- "
          f"{slope_stderr:.3f}, exactly 1; K = {numbers['K_bits']:.4f} bits, exactly {numbers['exact_K_bits']:.4f}, "
          f"of log p = {numbers['limit_bits']:.4f}; {numbers['seconds']:.0f} s")
    common.write(chosen.out, "work_distributions", plots.work_figure(edges, forward, own, AVERAGED, lower, upper), numbers)
    return numbers


if __name__ == "__main__":
    main()

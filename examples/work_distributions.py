"""Jarzynski's equality and the Crooks crossing: importance weights as work, where log p is known.

    python examples/work_distributions.py

The model is a linear-Gaussian chain whose reverse kernels are deliberately wrong, so that its
trajectories and the forward ones differ. Take F, the distribution of forward trajectories that
start in data of the model, and R, that of the model's own trajectories:

    log w - log p(x^0) = log R / F,        -log w being the work done along a trajectory

Hence E_F[ w / p(x^0) ] = 1, whatever the kernels (Jarzynski's equality; for log p(x^0), equation
(9)), and the densities of log w - log p(x^0) under R and under F have the ratio
exp(log w - log p(x^0)) and cross at 0 (Crooks). The mean of log w under F is K. Averaged over k
forward trajectories the weights bound log p(x^0) from below; with one of the model's own among
them, from above.

K and the limit are in bits per data vector, for data of the model: the limit, minus their
entropy, is the mean log p(x^0).
"""

import argparse
from collections.abc import Sequence
from typing import Any

import common
import figures
import numpy as np

from dpm_ref import GaussianDiffusion, bounds, schedules
from dpm_ref.bounds import to_bits
from dpm_ref.exact import GaussianData, LinearModel
from dpm_ref.likelihood import log_weights, sandwich
from dpm_ref.reverse import sample_trajectory
from dpm_ref.validation import Array

T, DATA_VAR = 20, 0.25
TOO_WIDE, DRIFT = 1.3, 0.05  # what is wrong with the reverse kernels: variance, and a shift
CHUNKS, AVERAGED = 10, (1, 2, 4, 8, 16, 32, 64, 128, 256)


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__, resume=False)
    parser.add_argument("--trajectories", type=int, default=400_000,
                        help="of each kind (default 400000)")
    chosen = parser.parse_args(argv)
    if chosen.trajectories < 1000 or chosen.seed < 0:
        parser.error(f"--trajectories must be at least 1000 and --seed 0, got "
                     f"{chosen.trajectories} and {chosen.seed}")
    if chosen.quick:
        chosen.trajectories = min(chosen.trajectories, 20_000)
    return chosen


def plan(chosen: argparse.Namespace) -> dict[str, float]:
    """The stages, and the seconds that each takes on some machine."""
    return {"work": 1.3e-5 * chosen.trajectories, "sandwich": 1.0 if chosen.quick else 9.0,
            "figure": 1.5}


def build() -> LinearModel:
    """The exact reversal of N(0, 1/4), made wrong."""
    diffusion = GaussianDiffusion(schedules.linear(T, first=0.02, last=0.4))
    data = GaussianData(diffusion, [0.0], [[DATA_VAR]])
    return LinearModel(diffusion, [(A, b + DRIFT, TOO_WIDE * S) for A, b, S in data.kernels()])


def trajectories(model: LinearModel, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """log w - log p(x^0) along n forward trajectories and n of the model's own."""
    drawn = sample_trajectory(model.diffusion, model.reverse, 2 * n, 1, rng=rng,
                              keep=range(T + 1)).states
    own = np.stack([drawn[t][:n] for t in range(T + 1)])
    forward = [drawn[0][n:]]
    for t in range(1, T + 1):
        forward.append(model.diffusion.kernel(forward[-1], t).sample(rng=rng))
    results = [log_weights(model.diffusion, model.reverse, path) - model.log_likelihood(path[0])
               for path in (np.stack(forward), own)]
    return results[0], results[1]


def measure(run: common.Run, model: LinearModel, limit: float,
            rng: np.random.Generator) -> tuple[Array, Array]:
    """Those of all trajectories, chunk by chunk."""
    run.stage("work")
    parts: list[tuple[Array, Array]] = []
    for chunk in range(CHUNKS):
        parts.append(trajectories(model, run.chosen.trajectories // CHUNKS, rng))
        K = limit + np.concatenate([part[0] for part in parts]).mean()
        run.step((chunk + 1) / CHUNKS, float(to_bits(K)))
    forward, own = (np.concatenate(values) for values in zip(*parts, strict=True))
    return forward, own


def averaging(run: common.Run, model: LinearModel, n: int,
              rng: np.random.Generator) -> tuple[Array, Array]:
    """The sandwich less log p(x^0), with standard errors, for every number of samples: (m, 2)."""
    run.stage("sandwich")
    lower: list[tuple[float, float]] = []
    upper: list[tuple[float, float]] = []
    for k in AVERAGED:
        held = sandwich(model.diffusion, model.reverse, n, 1, n_samples=k, rng=rng)
        exact = model.log_likelihood(held.x0)
        for side, bound in ((lower, held.lower - exact), (upper, held.upper - exact)):
            side.append((float(bound.mean()), float(bound.std(ddof=1) / np.sqrt(n))))
        run.step(k / AVERAGED[-1])
    return np.array(lower), np.array(upper)


def crooks_fit(edges: Array, forward: Array, own: Array) -> tuple[float, float, float]:
    """Slope, its standard error and the crossing of the log ratio of counts; exactly 1 and 0."""
    counts = np.array([np.histogram(values, edges)[0] for values in (forward, own)])
    enough = counts.min(0) >= 100
    centres, counts = 0.5 * (edges[1:] + edges[:-1])[enough], counts[:, enough]
    (slope, offset), cov = np.polyfit(centres, np.log(counts[1] / counts[0]), 1,
                                      w=(1.0 / counts).sum(0) ** -0.5, cov="unscaled")
    return float(slope), float(np.sqrt(cov[0, 0])), float(-offset / slope)


def numbers_of(model: LinearModel, data: GaussianData, forward: Array, own: Array,
               edges: Array) -> dict[str, Any]:
    """What the trajectories say, beside what is exact."""
    limit, exact_K, _ = model.averages(data)
    slope, slope_stderr, crossing = crooks_fit(edges, forward, own)
    w, w_own, root = np.exp(forward), np.exp(-own), np.sqrt(len(forward))
    null = float(bounds.null_log_likelihood(model.diffusion, data.points()).mean())
    ideal = LinearModel(model.diffusion, data.kernels()).averages(data).bound
    K = limit + forward.mean()
    return {
        "K_bits": float(to_bits(K)),
        "K_stderr_bits": float(to_bits(forward.std(ddof=1) / root)),
        "exact_K_bits": float(to_bits(exact_K)), "K_minus_null_bits": float(to_bits(K - null)),
        "ideal_K_bits": float(to_bits(ideal)), "limit_bits": float(to_bits(limit)),
        "jarzynski": float(w.mean()), "jarzynski_stderr": float(w.std(ddof=1) / root),
        "jarzynski_own": float(w_own.mean()),
        "jarzynski_own_stderr": float(w_own.std(ddof=1) / root),
        "crooks_slope": slope, "crooks_slope_stderr": slope_stderr, "crossing_nats": crossing,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen = options(argv)
    rng, model, edges = np.random.default_rng(chosen.seed), build(), np.linspace(-3.0, 3.0, 61)
    data = GaussianData(model.diffusion, *model.marginal(0))
    with common.Run("work_distributions", chosen, plan(chosen)) as run:
        forward, own = measure(run, model, model.averages(data)[0], rng)
        lower, upper = averaging(run, model, 400 if chosen.quick else 4000, rng)
        run.stage("figure")
        numbers = numbers_of(model, data, forward, own, edges)
        numbers |= {"sandwich_gap_bits": float(to_bits(upper[-1, 0] - lower[-1, 0])),
                    "sandwich_samples": AVERAGED[-1], "trajectories": len(forward), "T": T,
                    "seed": chosen.seed}
        figure = figures.work(edges, forward, own, AVERAGED, lower, upper)
        numbers["seconds"] = run.seconds
        w, slope = (common.with_error(numbers[name], numbers[f"{name}_stderr"])
                    for name in ("jarzynski", "crooks_slope"))
        K = common.with_error(numbers["K_bits"], numbers["K_stderr_bits"])
        run.finish(figure, numbers, [
            f"E[w / p(x^0)] = {w}, exactly 1; Crooks slope {slope}, exactly 1; K = {K} bits, "
            f"exactly {numbers['exact_K_bits']:.5f}, of log p = {numbers['limit_bits']:.5f}; "
            f"{numbers['seconds']:.0f} s"])
    return numbers


if __name__ == "__main__":
    main()

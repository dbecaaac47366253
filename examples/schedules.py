"""Which diffusion rates are best for the swiss roll, and why: K* of fixed schedules, of the best one, and a network that learns them.

    python examples/schedules.py

The data are known, so K*, the K of the best kernel of the paper's form, is known for any schedule without a network, and what it lacks
of the limit splits without remainder: the edge, the end, and what each step loses because a reverse kernel has independent components.
Compared at T = 10, 20, 40 and 100, each with the same small beta_1: beta linear, the cosine schedule, 1/(T-t+1), the log signal-to-noise
ratio linear, and the best schedule there is, by dynamic programming. Then a network of 3 x 64 units learns the rates beside its own
parameters at T = 40, starting from the linear schedule, and the figure shows what is left between it and the limit. In bits.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import common  # before NumPy
import numpy as np

from dpm_ref import GaussianDiffusion, bounds, data, exact, plots, rates, schedules, training
from dpm_ref.bounds import to_bits
from dpm_ref.mlp import time_polynomials
from dpm_ref.reverse import GaussianReverse
from dpm_ref.validation import Array

NOISE, BETA1, SPACING = 0.1, 1e-5, 1.3
ATOMS, SPREAD = data.swiss_roll_atoms(int(np.ceil(134 / (SPACING * NOISE))), noise=NOISE)
LENGTHS, SHOWN = (10, 20, 40, 100), 40
BEST, LEARNED = "best, by dynamic programming", "learned beside a network"


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=20_000, help="training steps (default 20000)")
    chosen = parser.parse_args(argv)
    if chosen.steps < 1 or chosen.seed < 0:
        parser.error(f"--steps must be at least 1 and --seed 0, got {chosen.steps} and {chosen.seed}")
    if chosen.quick:
        chosen.steps = min(chosen.steps, 200)
    return chosen


def fixed(T: int) -> dict[str, Array]:
    """The schedules that nobody learned, beta_2..T by name, behind one small beta_1."""
    tails = {
        "linear": schedules.linear(T - 1, first=0.1 / T, last=6.0 / T), "cosine": schedules.cosine(T - 1),
        "1/(T-t+1)": schedules.constant_erasure(T - 1), "log-SNR linear": schedules.log_snr_linear(T, beta1=BETA1, abar_T=0.05)[1:],
    }
    return {name: np.concatenate([[BETA1], tail]) for name, tail in tails.items()}


def roll(beta: Array) -> exact.FiniteData:
    """The roll, as Gaussians 1.3 noise widths apart, under these rates."""
    return exact.FiniteData(GaussianDiffusion(beta), ATOMS, spread=SPREAD)


def above_null(beta: Array, n_samples: int, seed: int) -> tuple[float, float]:
    """K* - L_null and its standard error."""
    bound = exact.ideal_bound(roll(beta), rng=np.random.default_rng(seed), n_samples=n_samples)
    return float(to_bits(bound.value - bound.null)), float(to_bits(bound.stderr))


def train(beta: Array, chosen: argparse.Namespace) -> tuple[GaussianReverse, Any]:
    """A network and its rates, from the schedule given."""
    rng, progress = np.random.default_rng(chosen.seed), common.Progress(chosen.steps)
    model = GaussianReverse(GaussianDiffusion(beta), 2, hidden=(64,) * 3, time_features=time_polynomials(len(beta), 2), input_gain=4.0)
    x0, state = data.swiss_roll(100_000, noise=NOISE, rng=rng), training.start(model, rng=rng, dtype=np.float32)
    model = rates.learn(model, x0, state, rates.start(beta), rng=rng, steps=chosen.steps,
                        learning_rate=training.cosine_decay(0.012, chosen.steps),
                        rate_learning_rate=training.cosine_decay(0.05, chosen.steps),
                        callback=lambda state, K: progress(state.step, float(to_bits(K))), every=max(1, chosen.steps // 200))
    return model, state.params


def evaluate(model: GaussianReverse, params: Any, chosen: argparse.Namespace) -> tuple[dict[str, float], Array]:
    """K on held-out points, and E KL_t in nats."""
    rng = np.random.default_rng([chosen.seed, 1])
    x0 = data.swiss_roll(2_000 if chosen.quick else 25_000, noise=NOISE, rng=rng)
    bound = bounds.lower_bound(model.diffusion, model.kernel(params), x0, rng=rng)
    K, above = to_bits(bound.value), to_bits(bound.value - bounds.null_log_likelihood(model.diffusion, x0))
    root = np.sqrt(len(x0))
    return {"K_bits": float(K.mean()), "K_stderr_bits": float(K.std(ddof=1) / root), "K_minus_null_bits": float(above.mean()),
            "K_minus_null_stderr_bits": float(above.std(ddof=1) / root)}, bound.kl.mean(1)


def compare(chosen: argparse.Namespace) -> tuple[dict[str, Array], dict[str, dict[int, tuple[float, float]]]]:
    """beta at T = 40 by schedule, and K* - L_null with its standard error by schedule and T."""
    n_samples, shown = 64 if chosen.quick else 512, {}
    values: dict[str, dict[int, tuple[float, float]]] = {}
    search = exact.ScheduleSearch(ATOMS, spread=SPREAD, beta1=BETA1, grid=110 if chosen.quick else 300,
                                  n_samples=n_samples, rng=np.random.default_rng([chosen.seed, 2]))
    for T in LENGTHS:
        for name, beta in (fixed(T) | {BEST: search.best(T).beta}).items():
            values.setdefault(name, {})[T] = above_null(beta, n_samples, chosen.seed)
            if T == SHOWN:
                shown[name] = beta
    return shown, values


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen, began = options(argv), time.monotonic()
    shown, values = compare(chosen)
    model, params = train(shown["linear"], chosen)
    training_seconds = time.monotonic() - began
    numbers, kl = evaluate(model, params, chosen)
    shown[LEARNED] = model.diffusion.beta
    n_samples = 64 if chosen.quick else 512
    ideal, ideal_stderr = above_null(model.diffusion.beta, n_samples, chosen.seed)
    gaps = {name: exact.gap(roll(beta), kl if name == LEARNED else None, rng=np.random.default_rng([chosen.seed, 3]),
                            n_samples=n_samples if chosen.quick else 4 * n_samples) for name, beta in shown.items()}
    null = numbers["K_bits"] - numbers["K_minus_null_bits"]
    limit = float(to_bits(-data.swiss_roll_entropy(NOISE)))
    lines = {name: np.array([value for value, _ in by_T.values()]) for name, by_T in values.items()}
    figure = plots.schedules_figure(
        LENGTHS, lines, limit - null, {name: _log_snr(beta) for name, beta in shown.items()},
        {name: to_bits(part.form) for name, part in gaps.items()}, to_bits(gaps[LEARNED].learning),
        (SHOWN, numbers["K_minus_null_bits"], numbers["K_minus_null_stderr_bits"]))
    report: dict[str, Any] = numbers | {
        "ideal_K_bits": ideal + null, "ideal_K_stderr_bits": ideal_stderr, "ideal_K_minus_null_bits": ideal, "limit_bits": limit,
        "ideal_K_minus_null_by_schedule": {name: {str(T): value for T, value in by_T.items()} for name, by_T in values.items()},
        "gap_bits": {name: {"edge": float(to_bits(part.edge)), "form": float(to_bits(part.form.sum())), "end": float(to_bits(part.end)),
                            "learning": float(to_bits(part.learning.sum())), "stderr": float(to_bits(part.stderr))}
                     for name, part in gaps.items()},
        "beta": {name: beta.tolist() for name, beta in shown.items()}, "beta1": BETA1, "T": SHOWN, "steps": chosen.steps,
        "seed": chosen.seed, "training_seconds": training_seconds, "seconds": time.monotonic() - began,
    }
    _print(report, gaps)
    common.write(chosen.out, "schedules", figure, report)
    return report


def _log_snr(beta: Array) -> Array:
    """log(abar_t / (1 - abar_t)), nan at the end of a schedule that forgets everything."""
    diffusion, t = GaussianDiffusion(beta), np.arange(1, len(beta) + 1)
    log_snr = diffusion.log_abar(t) - diffusion.log_one_minus_abar(t)
    return np.where(np.isfinite(log_snr), log_snr, np.nan)


def _print(report: dict[str, Any], gaps: dict[str, exact.Gap]) -> None:
    print("K* - L_null, bits" + " " * 14 + "".join(f"{'T = ' + str(T):>18}" for T in LENGTHS))
    for name, by_T in report["ideal_K_minus_null_by_schedule"].items():
        print(f"  {name:<29}" + "".join(f"{value:>9.3f} +- {error:.3f}" for value, error in by_T.values()))
    print(f"limit - L_null {report['limit_bits'] - report['K_bits'] + report['K_minus_null_bits']:.3f}")
    print(f"what is lost at T = {SHOWN}, bits        edge    form     end   not learned, all but that +-")
    for name, parts in report["gap_bits"].items():
        print(f"  {name:<29}" + "".join(f"{parts[key]:8.3f}" for key in ("edge", "form", "end", "learning", "stderr")))
    print(f"learned: K - L_null = {report['K_minus_null_bits']:.3f} +- {report['K_minus_null_stderr_bits']:.3f} on held-out points; "
          f"K* - L_null = {report['ideal_K_minus_null_bits']:.3f} +- {report['ideal_K_stderr_bits']:.3f}; {report['seconds']:.0f} s")


if __name__ == "__main__":
    main()

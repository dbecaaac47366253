"""Train a Gaussian diffusion model on the swiss roll and draw the paper's Figure 1.

    python examples/swiss_roll.py                  the default roll, noise 0.1
    python examples/swiss_roll.py --noise 0.01     a thin roll, nearer to the paper's headline figure
    python examples/swiss_roll.py --schedule linear --learn-schedule
                                                   beta_2..T learned beside the network (section 2.4.1), from a poor start

Reported in bits per data vector: K, the lower bound on the log likelihood, on held-out points with its standard error; K less
L_null, the log likelihood of the prior; K*, what the best kernel of this form would reach with this schedule; the limit, minus
the entropy of the data, which no model can exceed; and log p itself, by importance sampling, beside the K of the same points.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import common  # before NumPy
import numpy as np

from dpm_ref import GaussianDiffusion, bounds, data, exact, likelihood, plots, rates, schedules, training
from dpm_ref.bounds import to_bits
from dpm_ref.mlp import time_polynomials
from dpm_ref.reverse import GaussianReverse, sample_trajectory

TRAINING_POINTS, HELD_OUT_POINTS = 100_000, 25_000


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what depends on the noise is filled in here."""
    parser = common.parser(__doc__)
    parser.add_argument("--noise", type=float, default=0.1, help="standard deviation of the roll's noise before scaling (default 0.1)")
    parser.add_argument("--beta1", type=float, help="the fixed first diffusion rate (default: a twentieth of the noise's scaled variance)")
    parser.add_argument("--steps", type=int, default=16_000, help="training steps (default 16000)")
    parser.add_argument("--T", type=int, default=40, help="diffusion steps (default 40)")
    parser.add_argument("--schedule", choices=["log-snr", "linear"], default="log-snr",
                        help="beta_2..T: linear in the log signal-to-noise ratio (default), or itself linear")
    parser.add_argument("--learn-schedule", action="store_true", help="climb by beta_2..T too, from that schedule on")
    chosen = parser.parse_args(argv)
    if not 0.001 <= chosen.noise <= 10:
        parser.error(f"--noise must lie in [0.001, 10], got {chosen.noise}")
    if chosen.steps < 1 or chosen.T < 4 or chosen.seed < 0:
        parser.error(f"--steps must be at least 1, --T 4 and --seed 0, got {chosen.steps}, {chosen.T} and {chosen.seed}")
    if chosen.beta1 is None:
        chosen.beta1 = data.swiss_roll_atoms(1, noise=chosen.noise).spread / 20
    if not 0 < chosen.beta1 < 0.5:
        parser.error(f"--beta1 must lie in (0, 0.5), got {chosen.beta1}")
    if chosen.quick:
        chosen.steps = min(chosen.steps, 300)
    return chosen


def build(chosen: argparse.Namespace) -> GaussianReverse:
    """The diffusion, and a network whose width follows the noise: a thin roll takes a finer drift."""
    beta = schedules.log_snr_linear(chosen.T, beta1=chosen.beta1, abar_T=0.05)
    if chosen.schedule == "linear":
        beta = np.concatenate([[chosen.beta1], schedules.linear(chosen.T - 1, first=0.1 / chosen.T, last=min(0.9, 6.0 / chosen.T))])
    diffusion = GaussianDiffusion(beta)
    width = 64 if chosen.noise >= 0.05 else 128
    return GaussianReverse(diffusion, 2, hidden=(width,) * 3, time_features=time_polynomials(chosen.T, 2), input_gain=4.0)


def fit(model: GaussianReverse, chosen: argparse.Namespace,
        rng: np.random.Generator) -> tuple[GaussianReverse, Any, list[int], list[float]]:
    """Train in float32; return the model, whose schedule may have moved, its parameters and the history of K in bits."""
    steps, history = [], []
    progress = common.Progress(chosen.steps)

    def callback(state: training.TrainingState, K: float) -> None:
        steps.append(state.step)
        history.append(float(to_bits(K)))
        progress(state.step, history[-1])

    x0 = data.swiss_roll(TRAINING_POINTS, noise=chosen.noise, rng=rng)
    state = training.start(model, rng=rng, dtype=np.float32)
    peak, every = training.cosine_decay(0.012, chosen.steps), max(1, chosen.steps // 200)
    if chosen.learn_schedule:
        model = rates.learn(model, x0, state, rates.start(model.diffusion.beta), rng=rng, steps=chosen.steps, learning_rate=peak,
                            rate_learning_rate=training.cosine_decay(0.05, chosen.steps), batch=32, callback=callback, every=every)
    else:
        training.train(model, x0, state, rng=rng, steps=chosen.steps, learning_rate=peak, batch=32, callback=callback, every=every)
    return model, state.params, steps, history


def ideal(model: GaussianReverse, chosen: argparse.Namespace, rng: np.random.Generator) -> dict[str, float]:
    """K*, the bound of the moment match of the true reversal, in bits: the roll as Gaussians 1.3 noise widths apart or closer."""
    m = int(np.ceil(134 / (1.3 * chosen.noise)))
    atoms, spread = data.swiss_roll_atoms(m, noise=chosen.noise)
    roll, n_samples = exact.FiniteData(model.diffusion, atoms, spread=spread), 64 if chosen.quick else max(256, 2**20 // m)
    bound = exact.ideal_bound(roll, rng=rng, n_samples=n_samples)
    return {"ideal_K_bits": float(to_bits(bound.value)), "ideal_K_stderr_bits": float(to_bits(bound.stderr))}


def evaluate(model: GaussianReverse, params: Any, chosen: argparse.Namespace, rng: np.random.Generator) -> dict[str, Any]:
    """K on points that training has not seen, in bits."""
    x0 = data.swiss_roll(2_000 if chosen.quick else HELD_OUT_POINTS, noise=chosen.noise, rng=rng)
    bound = bounds.lower_bound(model.diffusion, model.kernel(params), x0, rng=rng)
    above_null = to_bits(bound.value - bounds.null_log_likelihood(model.diffusion, x0))
    K, root = to_bits(bound.value), np.sqrt(len(x0))
    return {
        "K_bits": float(K.mean()), "K_stderr_bits": float(K.std(ddof=1) / root),
        "K_minus_null_bits": float(above_null.mean()), "K_minus_null_stderr_bits": float(above_null.std(ddof=1) / root),
        "eq14_bits": float(to_bits(bound.eq14)), "held_out_points": len(x0),
        "limit_bits": float(to_bits(-data.swiss_roll_entropy(chosen.noise))),
    }


def likelihood_of_points(model: GaussianReverse, params: Any, chosen: argparse.Namespace, rng: np.random.Generator) -> dict[str, Any]:
    """log p of held-out points by importance sampling, and how far it lies above K of the same points, in bits."""
    n, n_samples = (10, 100) if chosen.quick else (200, 500)
    x0 = data.swiss_roll(n, noise=chosen.noise, rng=rng)
    estimate = likelihood.log_likelihood(model.diffusion, model.kernel(params), x0, n_samples=n_samples, rng=rng)
    K = bounds.lower_bound(model.diffusion, model.kernel(params), x0, rng=rng, n_samples=16).value
    above, root = to_bits(estimate.value - K), np.sqrt(n)
    return {
        "log_p_bits": float(to_bits(estimate.value).mean()), "log_p_stderr_bits": float(to_bits(estimate.value).std(ddof=1) / root),
        "log_p_minus_K_bits": float(above.mean()), "log_p_minus_K_stderr_bits": float(above.std(ddof=1) / root),
        "log_p_points": n, "log_p_samples": n_samples, "log_p_reliable_share": float(estimate.reliable.mean()),
    }


def draw(model: GaussianReverse, params: Any, chosen: argparse.Namespace, rng: np.random.Generator, steps: list[int],
         history: list[float], limits: dict[str, float]) -> Any:
    """Figure 1: forward samples, reverse samples, drift; and K during training."""
    T, kernel, n = model.diffusion.T, model.kernel(params), 3_000
    times = [0, T // 2, T]
    x0 = data.swiss_roll(n, noise=chosen.noise, rng=rng)
    forward = {t: x0 if t == 0 else model.diffusion.marginal(x0, t).sample(rng=rng) for t in times}
    states = sample_trajectory(model.diffusion, kernel, n, 2, rng=rng, keep=times).states
    line = np.linspace(-2.4, 2.4, 17)
    points = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    drift = {t: kernel(points, t).mean - points for t in (T, T // 2, 2)}
    return plots.swiss_roll_figure(forward, {t: states[t] for t in times[::-1]}, points, drift, steps, history, limits)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen, began = options(argv), time.monotonic()
    rng = np.random.default_rng(chosen.seed)
    model = build(chosen)
    model, params, steps, history = fit(model, chosen, rng)
    numbers = evaluate(model, params, chosen, rng) | ideal(model, chosen, rng) | likelihood_of_points(model, params, chosen, rng)
    limits = {"limit, minus the data's entropy:": numbers["limit_bits"], "K*, the best kernel of this form:": numbers["ideal_K_bits"],
              "L_null, the prior:": float(to_bits(-np.log(2 * np.pi) - 1))}
    figure = draw(model, params, chosen, rng, steps, history, limits)
    numbers |= {"seconds": time.monotonic() - began, "noise": chosen.noise, "beta1": chosen.beta1, "T": chosen.T,
                "steps": chosen.steps, "seed": chosen.seed, "schedule": chosen.schedule, "learn_schedule": chosen.learn_schedule,
                "beta": model.diffusion.beta.tolist()}
    print(f"K = {numbers['K_bits']:.3f} +- {numbers['K_stderr_bits']:.3f} bits on {numbers['held_out_points']} held-out points; "
          f"K - L_null = {numbers['K_minus_null_bits']:.3f} +- {numbers['K_minus_null_stderr_bits']:.3f}; "
          f"K* {numbers['ideal_K_bits']:.3f} +- {numbers['ideal_K_stderr_bits']:.3f}; limit {numbers['limit_bits']:.3f}; "
          f"{numbers['seconds']:.0f} s")
    print(f"log p of {numbers['log_p_points']} more, by {numbers['log_p_samples']} samples each, is "
          f"{numbers['log_p_minus_K_bits']:.3f} +- {numbers['log_p_minus_K_stderr_bits']:.3f} bits above their K; "
          f"{numbers['log_p_reliable_share']:.0%} of the estimates are reliable")
    common.write(chosen.out, "swiss_roll", figure, numbers)
    return numbers


if __name__ == "__main__":
    main()

"""Train a Gaussian diffusion model on the swiss roll and draw the paper's Figure 1.

    python examples/swiss_roll.py                  the default roll, noise 0.1
    python examples/swiss_roll.py --noise 0.01     a thin roll, nearer to the paper's figure
    python examples/swiss_roll.py --schedule linear --learn-schedule
                                                   beta_2..T learned too (section 2.4.1)

In bits per data vector: K, the lower bound on the log likelihood, on held-out points with its
standard error; K - L_null, L_null being the log likelihood of the prior; K*, that of the ideal
reverse kernel, the best of the paper's form with this schedule; the limit, minus the entropy of
the data; and log p itself, by importance sampling, beside the K of the same points.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import common  # before NumPy
import figures
import numpy as np

from dpm_ref import GaussianDiffusion, bounds, data, exact, likelihood, schedules, training
from dpm_ref.bounds import to_bits
from dpm_ref.reverse import GaussianReverse, sample_trajectory

TRAINING_POINTS, HELD_OUT_POINTS = 100_000, 25_000


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what depends on the noise is filled in here."""
    parser = common.parser(__doc__)
    add = parser.add_argument
    add("--noise", type=float, default=0.1, help="its standard deviation unscaled (default 0.1)")
    add("--beta1", type=float, help="fixed beta_1 (default: the noise's scaled variance / 20)")
    add("--steps", type=int, help="training steps (default 4000, below noise 0.05 12000)")
    add("--T", type=int, default=40, help="diffusion steps (default 40)")
    add("--schedule", choices=["log-snr", "linear"], default="log-snr",
        help="beta_2..T: linear in the log signal-to-noise ratio (default), or itself linear")
    add("--states", type=int, default=2048, help="states a step for K* (default 2048)")
    add("--learn-schedule", action="store_true", help="learn beta_2..T, from that schedule on")
    chosen = parser.parse_args(argv)
    if chosen.steps is None:
        chosen.steps = 4_000 if chosen.noise >= 0.05 else 12_000
    if not 0.001 <= chosen.noise <= 10:
        parser.error(f"--noise must lie in [0.001, 10], got {chosen.noise}")
    if min(chosen.steps, chosen.states) < 1 or chosen.T < 4 or chosen.seed < 0:
        parser.error(f"--steps and --states must be at least 1, --T 4 and --seed 0, got "
                     f"{chosen.steps}, {chosen.states}, {chosen.T} and {chosen.seed}")
    if chosen.beta1 is None:
        chosen.beta1 = data.swiss_roll_atoms(1, noise=chosen.noise)[1] / 20
    if not 0 < chosen.beta1 < 0.5:
        parser.error(f"--beta1 must lie in (0, 0.5), got {chosen.beta1}")
    if chosen.quick:
        chosen.steps = min(chosen.steps, 300)
    return chosen


def plan(chosen: argparse.Namespace) -> dict[str, float]:
    """The stages, and the seconds that each takes on some machine."""
    share = 0.06 if chosen.quick else chosen.T / 40
    width = 1 if chosen.noise >= 0.05 else 2
    step = (1.3 if chosen.learn_schedule else 1.0) * chosen.T / 40 * 2.3e-3 * width**1.5
    return {"training": step * chosen.steps, "K": 2.5 * share * width, "K*": 2.0 * share * width,
            "log p": 6.0 * share * width, "figure": 2.0}


def build(chosen: argparse.Namespace) -> GaussianReverse:
    """The diffusion, and a network of the default size; a thin roll takes a wider one."""
    beta = schedules.log_snr_linear(chosen.T, beta1=chosen.beta1, abar_T=0.05)
    if chosen.schedule == "linear":
        last = min(0.9, 6.0 / chosen.T)
        tail = schedules.linear(chosen.T - 1, first=0.1 / chosen.T, last=last)
        beta = np.concatenate([[chosen.beta1], tail])
    wider = {} if chosen.noise >= 0.05 else {"hidden": (128,) * 4}
    return GaussianReverse(GaussianDiffusion(beta), 2, **wider)


def fit(
    run: common.Run, model: GaussianReverse, chosen: argparse.Namespace, rng: np.random.Generator
) -> tuple[GaussianReverse, Any, common.History]:
    """Train in float32; the model, whose schedule may have moved, its parameters, the history."""
    x0 = data.swiss_roll(TRAINING_POINTS, noise=chosen.noise, rng=rng)
    state = training.start(model, rng=rng, dtype=np.float32)
    rates = training.start_rates(model.diffusion.beta) if chosen.learn_schedule else None
    with run.fitting(model, state, rng, rates=rates) as history:
        settings: dict[str, Any] = {
            "rng": rng, "steps": chosen.steps - state.step,
            "learning_rate": training.cosine_decay(0.01, chosen.steps),
            "callback": lambda state, K: history(state.step, to_bits(K)),
            "every": max(1, chosen.steps // 200),
        }
        if rates is None:
            training.train(model, x0, state, **settings)
        else:
            decay = training.cosine_decay(0.05, chosen.steps)
            model = training.learn_rates(model, x0, state, rates, **settings,
                                         rate_learning_rate=decay)
    return model, state.params, history


def ideal(
    run: common.Run, model: GaussianReverse, chosen: argparse.Namespace, rng: np.random.Generator
) -> dict[str, float]:
    """K*: the roll as Gaussians 1.3 noise widths apart or closer."""
    run.stage("K*")
    m = int(np.ceil(134 / (1.3 * chosen.noise)))
    n_samples = min(chosen.states, 64) if chosen.quick else chosen.states
    atoms, var = data.swiss_roll_atoms(m, noise=chosen.noise)
    roll = exact.FiniteData(model.diffusion, atoms, var=var)
    bound = exact.ideal_bound(roll, rng=rng, n_samples=n_samples)
    return {"ideal_K_bits": float(to_bits(bound.value)),
            "ideal_K_stderr_bits": float(to_bits(bound.stderr)),
            "limit_bits": float(to_bits(-data.swiss_roll_entropy(chosen.noise)))}


def likelihood_of_points(
    run: common.Run, diffusion: GaussianDiffusion, kernel: Any, chosen: argparse.Namespace,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """log p of held-out points by importance sampling, and how far it lies above their K."""
    run.stage("log p")
    n, n_samples, chunks = (10, 100, 2) if chosen.quick else (200, 500, 10)
    x0 = data.swiss_roll(n, noise=chosen.noise, rng=rng)
    found, K = [], []
    for k, rows in enumerate(np.array_split(x0, chunks)):
        found.append(likelihood.log_likelihood(diffusion, kernel, rows, n_samples=n_samples,
                                               rng=rng))
        K.append(bounds.lower_bound(diffusion, kernel, rows, rng=rng, n_samples=16).value)
        run.step((k + 1) / chunks)
    log_p = to_bits(np.concatenate([each.value for each in found]))
    above, root = log_p - to_bits(np.concatenate(K)), np.sqrt(n)
    return {
        "log_p_bits": float(log_p.mean()), "log_p_stderr_bits": float(log_p.std(ddof=1) / root),
        "log_p_minus_K_bits": float(above.mean()),
        "log_p_minus_K_stderr_bits": float(above.std(ddof=1) / root),
        "log_p_points": n, "log_p_samples": n_samples,
        "log_p_reliable_share": float(np.mean([each.reliable for each in found])),
    }


def draw(
    run: common.Run, diffusion: GaussianDiffusion, kernel: Any, chosen: argparse.Namespace,
    rng: np.random.Generator, history: common.History, limits: dict[str, float],
) -> Any:
    """Figure 1: forward samples, reverse samples, drift; and K during training."""
    run.stage("figure")
    T, n = diffusion.T, 3_000
    times = [0, T // 2, T]
    x0 = data.swiss_roll(n, noise=chosen.noise, rng=rng)
    forward = {t: diffusion.marginal(x0, t).sample(rng=rng) if t else x0 for t in times}
    reverse = sample_trajectory(diffusion, kernel, n, 2, rng=rng, keep=times).states
    line = np.linspace(-2.4, 2.4, 17)
    points = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    drift = {t: kernel(points, t).mean - points for t in (2, T // 2, T)}
    curve = (history.steps, history.K_bits)
    return figures.swiss_roll(forward, reverse, points, drift, curve, limits)


def report(numbers: dict[str, Any]) -> list[str]:
    """What is printed at the end."""
    K, above, ideal, log_p = (
        common.with_error(numbers[f"{name}_bits"], numbers[f"{name}_stderr_bits"])
        for name in ("K", "K_minus_null", "ideal_K", "log_p_minus_K"))
    return [
        f"K = {K} bits on {numbers['held_out']} held-out points; K - L_null = {above}; "
        f"K* = {ideal}; limit {numbers['limit_bits']:.3f}; {numbers['seconds']:.0f} s",
        f"log p of {numbers['log_p_points']} more, by {numbers['log_p_samples']} samples each, is "
        f"{log_p} bits above their K; "
        f"{numbers['log_p_reliable_share']:.0%} of the estimates are reliable",
    ]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen = options(argv)
    rng = np.random.default_rng(chosen.seed)
    with common.Run("swiss_roll", chosen, plan(chosen)) as run:
        model, params, history = fit(run, build(chosen), chosen, rng)
        diffusion, kernel = model.diffusion, model.kernel(params)
        run.stage("K")
        n = 2_000 if chosen.quick else HELD_OUT_POINTS
        held_out = data.swiss_roll(n, noise=chosen.noise, rng=rng)
        numbers: dict[str, Any] = common.evaluate(run, diffusion, kernel, held_out, rng)[0]
        numbers |= ideal(run, model, chosen, rng)
        numbers |= likelihood_of_points(run, diffusion, kernel, chosen, rng)
        limits = {"limit": numbers["limit_bits"], "K*": numbers["ideal_K_bits"],
                  "held out": numbers["K_bits"],
                  "prior": float(to_bits(-np.log(2 * np.pi) - 1))}
        figure = draw(run, diffusion, kernel, chosen, rng, history, limits)
        settings = ("noise", "beta1", "T", "steps", "seed", "schedule", "learn_schedule")
        numbers |= {"seconds": run.seconds} | {name: vars(chosen)[name] for name in settings}
        numbers["beta"] = diffusion.beta.tolist()
        run.finish(figure, numbers, report(numbers))
    return numbers


if __name__ == "__main__":
    main()

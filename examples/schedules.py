"""Which diffusion rates are best for the swiss roll, and why.

    python examples/schedules.py

The data are known, so K*, the K of the ideal reverse kernel, is known for any schedule without a
network, and what it lacks of the limit splits without remainder: the edge, the end, and what each
step loses because a reverse kernel has independent components. Compared at T = 10, 20, 40 and
100, each with the same small beta_1: beta linear, the cosine schedule, 1/(T-t+1), the log
signal-to-noise ratio linear, and the best schedule there is, by dynamic programming. Then a
network learns the rates beside its own parameters at T = 40, starting from the linear schedule,
and the figure shows what is left between it and the limit. In bits.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import common  # before NumPy
import figures
import numpy as np

from dpm_ref import GaussianDiffusion, data, exact, schedules, training
from dpm_ref.bounds import to_bits
from dpm_ref.reverse import GaussianReverse
from dpm_ref.validation import Array

NOISE, BETA1, SPACING = 0.1, 1e-5, 1.3
ATOMS, VAR = data.swiss_roll_atoms(int(np.ceil(134 / (SPACING * NOISE))), noise=NOISE)
BEST, LEARNED = "best, by dynamic programming", "learned beside a network"
Values = dict[str, dict[int, tuple[float, float]]]


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; `--quick` has fewer lengths, states and grid points too."""
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=8_000, help="of training (default 8000)")
    chosen = parser.parse_args(argv)
    if chosen.steps < 1 or chosen.seed < 0:
        parser.error(f"--steps must be at least 1 and --seed 0, got {chosen.steps} and "
                     f"{chosen.seed}")
    chosen.lengths, chosen.shown, chosen.states, chosen.grid = [10, 20, 40, 100], 40, 2048, 300
    if chosen.quick:
        chosen.steps = min(chosen.steps, 300)
        chosen.lengths, chosen.shown, chosen.states, chosen.grid = [8, 10], 10, 16, 60
    return chosen


def plan(chosen: argparse.Namespace) -> dict[str, float]:
    """The stages, and the seconds that each takes on some machine."""
    share = chosen.states / 2048
    return {"training": 3.2e-3 * chosen.steps, "search": 25.0 * share,
            "K*": 0.12 * sum(chosen.lengths) * share, "K": 0.2 if chosen.quick else 2.5,
            "gaps": 25.0 * share, "figure": 2.5}


def fixed(T: int) -> dict[str, Array]:
    """The schedules that nobody learned, beta_2..T by name, behind one small beta_1."""
    tails = {
        "linear": schedules.linear(T - 1, first=0.1 / T, last=6.0 / T),
        "cosine": schedules.cosine(T - 1),
        "1/(T-t+1)": schedules.constant_erasure(T - 1),
        "log-SNR linear": schedules.log_snr_linear(T, beta1=BETA1, abar_T=0.05)[1:],
    }
    return {name: np.concatenate([[BETA1], tail]) for name, tail in tails.items()}


def roll(beta: Array) -> exact.FiniteData:
    """The roll, as Gaussians 1.3 noise widths apart, under these rates."""
    return exact.FiniteData(GaussianDiffusion(beta), ATOMS, var=VAR)


def above_null(beta: Array, chosen: argparse.Namespace) -> tuple[float, float]:
    """K* - L_null and its standard error."""
    rng = np.random.default_rng(chosen.seed)
    bound = exact.ideal_bound(roll(beta), rng=rng, n_samples=chosen.states)
    return float(to_bits(bound.value - bound.null)), float(to_bits(bound.stderr))


def fit(run: common.Run, beta: Array) -> tuple[GaussianReverse, Any]:
    """A network and its rates, from the schedule given."""
    chosen, rng = run.chosen, np.random.default_rng(run.chosen.seed)
    model = GaussianReverse(GaussianDiffusion(beta), 2)
    x0 = data.swiss_roll(100_000, noise=NOISE, rng=rng)
    state, rates = training.start(model, rng=rng, dtype=np.float32), training.start_rates(beta)
    with run.fitting(model, state, rng, rates=rates) as history:
        model = training.learn_rates(
            model, x0, state, rates, rng=rng, steps=chosen.steps - state.step,
            learning_rate=training.cosine_decay(0.01, chosen.steps),
            rate_learning_rate=training.cosine_decay(0.05, chosen.steps),
            callback=lambda state, K: history(state.step, to_bits(K)),
            every=max(1, chosen.steps // 200))
    return model, state.params


def compare(run: common.Run) -> tuple[dict[str, Array], Values]:
    """beta at T = 40 by schedule, and K* - L_null with its standard error by schedule and T."""
    chosen, values, shown = run.chosen, Values(), {}
    run.stage("search")
    search = exact.ScheduleSearch(ATOMS, var=VAR, beta1=BETA1, grid=chosen.grid,
                                  n_samples=chosen.states,
                                  rng=np.random.default_rng([chosen.seed, 2]))
    run.stage("K*")
    for k, T in enumerate(chosen.lengths):
        for name, beta in (fixed(T) | {BEST: search.best(T).beta}).items():
            values.setdefault(name, {})[T] = above_null(beta, chosen)
            if chosen.shown == T:
                shown[name] = beta
        run.step(sum(chosen.lengths[:k + 1]) / sum(chosen.lengths))
    return shown, values


def gaps(run: common.Run, shown: dict[str, Array], kl: Array) -> dict[str, Any]:
    """What each schedule's K lacks of the limit; kl is E KL_t of the network, in nats."""
    run.stage("gaps")
    chosen, found = run.chosen, {}
    for k, (name, beta) in enumerate(shown.items()):
        own = kl if name == LEARNED else None
        found[name] = exact.gap(roll(beta), own, rng=np.random.default_rng([chosen.seed, 3]),
                                n_samples=chosen.states)
        run.step((k + 1) / len(shown))
    return found


def log_snr(beta: Array) -> Array:
    """log(abar_t / (1 - abar_t)), nan at the end of a schedule that forgets everything."""
    diffusion, t = GaussianDiffusion(beta), np.arange(1, len(beta) + 1)
    ratio = diffusion.log_abar(t) - diffusion.log_one_minus_abar(t)
    return np.where(np.isfinite(ratio), ratio, np.nan)


def draw(
    chosen: argparse.Namespace, shown: dict[str, Array], values: Values, parts: dict[str, Any],
    numbers: dict[str, Any],
) -> Any:
    """K* by schedule and T, the schedules, what they cost, and the network's gap."""
    lines = {name: np.array([value for value, _ in by_T.values()])
             for name, by_T in values.items()}
    network = (chosen.shown, numbers["K_minus_null_bits"], numbers["K_minus_null_stderr_bits"])
    return figures.schedules(
        chosen.lengths, lines, numbers["limit_minus_null_bits"],
        {name: log_snr(beta) for name, beta in shown.items()},
        {name: to_bits(part.form) for name, part in parts.items()},
        to_bits(parts[LEARNED].learning), network)


def in_bits(part: Any) -> dict[str, float]:
    """The parts of a gap, summed over the steps."""
    sums = {"edge": part.edge, "form": part.form.sum(), "end": part.end,
            "learning": part.learning.sum(), "stderr": part.stderr}
    return {name: float(to_bits(value)) for name, value in sums.items()}


def report(chosen: argparse.Namespace, numbers: dict[str, Any]) -> list[str]:
    """What is printed at the end."""
    lines = ["K* - L_null, bits" + " " * 14 + "".join(f"{f'T = {T}':>18}" for T in chosen.lengths)]
    for name, by_T in numbers["ideal_K_minus_null_by_schedule"].items():
        lines.append(f"  {name:<29}"
                     + "".join(f"{value:>9.3f} +- {error:.3f}" for value, error in by_T.values()))
    lines += [f"limit - L_null {numbers['limit_minus_null_bits']:.3f}",
              f"what is lost at T = {chosen.shown}, bits        edge    form     end   not "
              "learned, all but that +-"]
    for name, parts in numbers["gap_bits"].items():
        keys = ("edge", "form", "end", "learning", "stderr")
        lines.append(f"  {name:<29}" + "".join(f"{parts[key]:8.3f}" for key in keys))
    K = common.with_error(numbers["K_minus_null_bits"], numbers["K_minus_null_stderr_bits"])
    ideal = common.with_error(numbers["ideal_K_minus_null_bits"], numbers["ideal_K_stderr_bits"])
    return [*lines, f"learned: K - L_null = {K} on held-out points; K* - L_null = {ideal}; "
            f"{numbers['seconds']:.0f} s"]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen = options(argv)
    with common.Run("schedules", chosen, plan(chosen)) as run:
        model, params = fit(run, fixed(chosen.shown)["linear"])
        beta = model.diffusion.beta
        shown, values = compare(run)
        run.stage("K")
        rng = np.random.default_rng([chosen.seed, 1])
        x0 = data.swiss_roll(2_000 if chosen.quick else 25_000, noise=NOISE, rng=rng)
        numbers, kl = common.evaluate(run, model.diffusion, model.kernel(params), x0, rng)
        parts = gaps(run, shown | {LEARNED: beta}, kl * np.log(2.0))
        null = numbers["K_bits"] - numbers["K_minus_null_bits"]
        ideal, ideal_stderr = above_null(beta, chosen)
        limit = float(to_bits(-data.swiss_roll_entropy(NOISE)))
        result: dict[str, Any] = numbers | {
            "limit_bits": limit, "limit_minus_null_bits": limit - null,
            "ideal_K_bits": ideal + null, "ideal_K_stderr_bits": ideal_stderr,
            "ideal_K_minus_null_bits": ideal,
            "ideal_K_minus_null_by_schedule": {
                name: {str(T): value for T, value in by_T.items()}
                for name, by_T in values.items()},
            "gap_bits": {name: in_bits(part) for name, part in parts.items()},
            "beta": {name: rates.tolist() for name, rates in (shown | {LEARNED: beta}).items()},
            "beta1": BETA1, "T": chosen.shown, "steps": chosen.steps, "seed": chosen.seed,
        }
        run.stage("figure")
        figure = draw(chosen, shown | {LEARNED: beta}, values, parts, result)
        result["seconds"] = run.seconds
        run.finish(figure, result, report(chosen, result))
    return result


if __name__ == "__main__":
    main()

"""Train a binomial diffusion model on the binary heartbeat and draw the paper's Figure 2.

    python examples/heartbeat.py                                    the paper's T = 2000
    python examples/heartbeat.py --steps 25000                      nearer to the best that the schedule allows
    python examples/heartbeat.py --parametrisation sigmoid          the paper's own f_b, a readout for each time step

The data: 20 bits, a 1 in every fifth bin, so there are five sequences and nothing to hold out. Reported in bits per sequence: K,
the lower bound on the log likelihood, each of the five counting the same; K*, what the best kernel of this form would reach with this
schedule; K* - K once more as a sum of divergences, which has far less noise; the limit, minus the entropy of the data. And of the
sequences that the model makes: how many are one of the five, and whether these are equally frequent; what probability the model gives
the five, by importance sampling, whose sum is that share once more.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import common  # before NumPy
import numpy as np
from scipy import stats

from dpm_ref import Bernoulli, BinomialDiffusion, bounds, data, exact, likelihood, plots, schedules, training
from dpm_ref.bounds import to_bits
from dpm_ref.protocols import ReverseKernel
from dpm_ref.reverse import BinomialReverse, SigmoidReverse, sample_trajectory

FIVE, PRIOR, PAPER_K = data.heartbeat_atoms(), 0.2, -2.414
SCHEDULES: dict[str, Callable[[int], Any]] = {
    "constant-erasure": schedules.constant_erasure,
    "linear": lambda T: schedules.linear(T, first=1.0 / T, last=10.0 / T),
    "cosine": schedules.cosine,
}
PARAMETRISATIONS = ("posterior", "sigmoid", "sigmoid-from-forward")


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--T", type=int, default=2000, help="diffusion steps (default 2000)")
    parser.add_argument("--schedule", choices=SCHEDULES, default="constant-erasure", help="beta_1..T (default constant-erasure)")
    parser.add_argument("--steps", type=int, default=6_000, help="training steps (default 6000)")
    parser.add_argument("--parametrisation", choices=PARAMETRISATIONS, default="posterior",
                        help="what the network's output is: a prediction of x^0 (default), f_b itself, or f_b counted from T_pi")
    chosen = parser.parse_args(argv)
    if chosen.steps < 1 or chosen.T < 10 or chosen.seed < 0:
        parser.error(f"--steps must be at least 1, --T 10 and --seed 0, got {chosen.steps}, {chosen.T} and {chosen.seed}")
    if chosen.quick:
        chosen.steps, chosen.T = min(chosen.steps, 400), min(chosen.T, 100)
    return chosen


def build(chosen: argparse.Namespace) -> BinomialReverse | SigmoidReverse:
    """The diffusion, and a network of the paper's size: three hidden layers of 50 units."""
    diffusion, hidden = BinomialDiffusion(SCHEDULES[chosen.schedule](chosen.T), PRIOR), (50, 50, 50)
    if chosen.parametrisation == "posterior":
        return BinomialReverse(diffusion, FIVE.shape[1], hidden=hidden, basis=np.ones((chosen.T - 1, 1)), input_gain=0.3, skip=True)
    return SigmoidReverse(diffusion, FIVE.shape[1], hidden=hidden, from_forward=chosen.parametrisation == "sigmoid-from-forward")


def fit(model: Any, five: exact.FiniteData, ideal_K: float, chosen: argparse.Namespace,
        rng: np.random.Generator) -> tuple[Any, list[int], list[float]]:
    """Train in float32; return the parameters and the history of K in bits, K* less what an estimate at 100 times says is missing."""
    steps, history = [], []
    progress, watching = common.Progress(chosen.steps), rng.spawn(1)[0]

    def callback(state: training.TrainingState, _: float) -> None:
        steps.append(state.step)
        history.append(ideal_K - shortfall(five, model.kernel(state.params), 100, watching)["ideal_minus_K_bits"])
        progress(state.step, history[-1])

    state = training.start(model, rng=rng, dtype=np.float32)
    training.train(model, FIVE, state, rng=rng, steps=chosen.steps, learning_rate=training.cosine_decay(0.007, chosen.steps), batch=32,
                   n_times=min(32, chosen.T - 1), callback=callback, every=max(1, chosen.steps // (8 if chosen.quick else 40)))
    return state.params, steps, history


def evaluate(diffusion: BinomialDiffusion, kernel: ReverseKernel, ideal: exact.IdealBound, n: int,
             rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
    """K over n draws of each of the five, in bits, and E KL_t at every step."""
    bound = bounds.lower_bound(diffusion, kernel, np.repeat(FIVE, n, axis=0), rng=rng)
    K, null = to_bits(bound.value).reshape(len(FIVE), n), to_bits(ideal.null)
    return {
        "K_bits": float(K.mean()), "K_stderr_bits": float(np.sqrt(K.var(axis=1, ddof=1).mean() / K.size)),
        "K_minus_null_bits": float(K.mean() - null), "ideal_K_bits": float(to_bits(ideal.value)), "null_bits": float(null),
        "limit_bits": float(to_bits(-data.heartbeat_entropy())), "paper_K_bits": PAPER_K, "draws": K.size,
    }, to_bits(bound.kl.mean(axis=1))


def shortfall(five: exact.FiniteData, kernel: ReverseKernel, n_times: int, rng: np.random.Generator) -> dict[str, float]:
    """K* - K in bits, as sum_t E KL( ideal || ours ): the ideal kernel has the posteriors' mean, so the divergences add.

    E KL( q(x^{t-1}|x^t,x^0) || ours ) = E KL( q(x^{t-1}|x^t,x^0) || ideal ) + E KL( ideal || ours )

    Each of n_times equal parts of 2..T gives one time, at random, and that time 20 states.
    """
    edges = np.unique(np.rint(np.linspace(2, five.diffusion.T + 1, n_times + 1)).astype(int))
    x0, mean, var = np.repeat(FIVE, 4, axis=0), 0.0, 0.0
    for first, stop in pairwise(edges):
        t = int(rng.integers(first, stop))
        xt = five.diffusion.marginal(x0, t).sample(rng=rng)
        kl = (stop - first) * to_bits(five.reverse(xt, t).kl(kernel(xt, t)))
        mean, var = mean + float(kl.mean()), var + float(kl.var(ddof=1)) / kl.size
    return {"ideal_minus_K_bits": mean, "ideal_minus_K_stderr_bits": float(np.sqrt(var))}


def sequences(x0: Any, diffusion: BinomialDiffusion) -> dict[str, Any]:
    """How many generated sequences are one of the five, and whether the five are equally frequent.

    The edge T_pi turns bits at the rate beta_1, and so has the forward step to x^1: the ideal share is what is left of the five by both.
    """
    counts = (x0[:, None] == FIVE).all(-1).sum(0)
    share, rate, first = counts.sum() / len(x0), diffusion.beta[0], diffusion.marginal(FIVE, 1)
    both = Bernoulli((first.prob1 * (1.0 - rate) + PRIOR * rate)[:, None], (first.prob0 * (1.0 - rate) + (1.0 - PRIOR) * rate)[:, None])
    return {
        "heartbeat_share": float(share), "heartbeat_share_stderr": float(np.sqrt(share * (1.0 - share) / len(x0))),
        "ideal_heartbeat_share": float(np.exp(both.log_prob(FIVE)).sum(1).mean()), "samples": len(x0),
        "frequencies": (counts / max(1, counts.sum())).tolist(),
        "uniform_p_value": float(stats.chisquare(counts).pvalue) if counts.sum() else 1.0,
    }


def probabilities(diffusion: BinomialDiffusion, kernel: ReverseKernel, n_samples: int, rng: np.random.Generator) -> dict[str, Any]:
    """log p of the five, by importance sampling, in bits, and the sum of their probabilities."""
    estimate = likelihood.log_likelihood(diffusion, kernel, FIVE, n_samples=n_samples, rng=rng)
    p = np.exp(estimate.value)
    return {
        "log_p_bits": to_bits(estimate.value).tolist(), "log_p_stderr_bits": to_bits(estimate.stderr).tolist(),
        "log_p_reliable": estimate.reliable.tolist(), "log_p_samples": n_samples,
        "p_sum": float(p.sum()), "p_sum_stderr": float(np.sqrt(((p * estimate.stderr) ** 2).sum())),
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen, began = options(argv), time.monotonic()
    rng = np.random.default_rng(chosen.seed)
    model = build(chosen)
    diffusion, T = model.diffusion, chosen.T
    five = exact.FiniteData(diffusion, FIVE)
    ideal = exact.ideal_bound_by_enumeration(five)
    params, steps, history = fit(model, five, float(to_bits(ideal.value)), chosen, rng)
    kernel = model.kernel(params)
    numbers, kl = evaluate(diffusion, kernel, ideal, 40 if chosen.quick else 320, rng)
    numbers |= shortfall(five, kernel, T - 1, rng)
    times = [0, T // 4, T // 2, 3 * T // 4, T]
    states = sample_trajectory(diffusion, kernel, 500 if chosen.quick else 2_000, FIVE.shape[1], rng=rng, keep=times).states
    numbers |= sequences(states[0], diffusion) | probabilities(diffusion, kernel, 50 if chosen.quick else 250, rng)
    x0 = data.heartbeat(60, rng=rng)
    forward = {t: x0 if t == 0 else diffusion.marginal(x0, t).sample(rng=rng) for t in times}
    limits = {"limit, minus the data's entropy:": numbers["limit_bits"], "K*, the best kernel of this form:": numbers["ideal_K_bits"],
              "K in the paper:": PAPER_K}
    figure = plots.heartbeat_figure(forward, {t: states[t][:60] for t in times}, kl, to_bits(ideal.kl), steps, history, limits)
    numbers |= {"seconds": time.monotonic() - began, "T": T, "schedule": chosen.schedule,
                "parametrisation": chosen.parametrisation, "steps": chosen.steps, "seed": chosen.seed}
    print(f"K = {numbers['K_bits']:.4f} +- {numbers['K_stderr_bits']:.4f} bits; K* {numbers['ideal_K_bits']:.4f}, and K* - K = "
          f"{numbers['ideal_minus_K_bits']:.4f} +- {numbers['ideal_minus_K_stderr_bits']:.4f}; K - L_null = "
          f"{numbers['K_minus_null_bits']:.3f}; limit {numbers['limit_bits']:.3f}; {numbers['seconds']:.0f} s")
    print(f"{numbers['heartbeat_share']:.2%} +- {numbers['heartbeat_share_stderr']:.2%} of {numbers['samples']} sequences are heartbeats "
          f"(ideally {numbers['ideal_heartbeat_share']:.2%}), equally frequent with p = {numbers['uniform_p_value']:.2g}; "
          f"p of the five sums to {numbers['p_sum']:.4f} +- {numbers['p_sum_stderr']:.4f}")
    common.write(chosen.out, "heartbeat", figure, numbers)
    return numbers


if __name__ == "__main__":
    main()

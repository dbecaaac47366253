"""Train a binomial diffusion model on the binary heartbeat and draw the paper's Figure 2.

    python examples/heartbeat.py                              the paper's T = 2000
    python examples/heartbeat.py --steps 15000                nearer to K*
    python examples/heartbeat.py --parametrisation sigmoid    the paper's f_b, a readout for each t

The data are 20 bits, a 1 in every fifth bin: five sequences, so nothing is held out. In bits per
sequence: K, the lower bound on the log likelihood; K*, that of the ideal reverse kernel, the best
of the paper's form with this schedule; K* - K once more as a sum of divergences, which has far
less noise; the limit, minus the entropy of the data. Of the sequences that the model makes: how
many are one of the five, and whether these are equally frequent. And the probability that the
model gives the five, by importance sampling; its sum is that share once more.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import common  # before NumPy
import figures
import numpy as np
from scipy import stats

from dpm_ref import (
    Bernoulli,
    BinomialDiffusion,
    bounds,
    data,
    exact,
    likelihood,
    schedules,
    training,
)
from dpm_ref.bounds import to_bits
from dpm_ref.protocols import ReverseKernel
from dpm_ref.reverse import BinomialReverse, SigmoidReverse, sample_trajectory
from dpm_ref.validation import Array

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
    add = parser.add_argument
    add("--T", type=int, default=2000, help="diffusion steps (default 2000)")
    add("--schedule", choices=SCHEDULES, default="constant-erasure",
        help="beta_1..T (default constant-erasure)")
    add("--steps", type=int, default=6_000, help="training steps (default 6000)")
    add("--parametrisation", choices=PARAMETRISATIONS, default="posterior",
        help="what the network's output is: a prediction of x^0 (default), f_b itself, or f_b "
             "counted from T_pi")
    chosen = parser.parse_args(argv)
    if chosen.steps < 1 or chosen.T < 10 or chosen.seed < 0:
        parser.error(f"--steps must be at least 1, --T 10 and --seed 0, got {chosen.steps}, "
                     f"{chosen.T} and {chosen.seed}")
    if chosen.quick:
        chosen.steps, chosen.T = min(chosen.steps, 240), min(chosen.T, 50)
    return chosen


def plan(chosen: argparse.Namespace) -> dict[str, float]:
    """The stages, and the seconds that each takes on some machine."""
    length, share = chosen.T / 2000, 0.25 if chosen.quick else 1.0
    return {"K*": 2.0 * length, "training": 7e-3 * chosen.steps, "K": 14.0 * length * share,
            "K* - K": 1.5 * length, "samples": 3.0 * length * share,
            "log p": 5.0 * length * share, "figure": 2.0}


def build(chosen: argparse.Namespace) -> BinomialReverse | SigmoidReverse:
    """The diffusion, and a network of the paper's size: three hidden layers of 50 units."""
    diffusion = BinomialDiffusion(SCHEDULES[chosen.schedule](chosen.T), PRIOR)
    d, hidden = FIVE.shape[1], (50, 50, 50)
    if chosen.parametrisation == "posterior":
        shared = np.ones((chosen.T - 1, 1))
        return BinomialReverse(diffusion, d, hidden=hidden, basis=shared, input_gain=0.3, skip=True)
    from_forward = chosen.parametrisation == "sigmoid-from-forward"
    return SigmoidReverse(diffusion, d, hidden=hidden, from_forward=from_forward)


def fit(
    run: common.Run, model: Any, five: exact.FiniteData, ideal_K: float,
    chosen: argparse.Namespace, rng: np.random.Generator,
) -> tuple[Any, common.History]:
    """Train in float32; parameters, and the history of K in bits, K* - K from 100 times."""
    state = training.start(model, rng=rng, dtype=np.float32)
    with run.fitting(model, state, rng) as history:
        def callback(state: training.TrainingState, _: float) -> None:
            own = np.random.default_rng([chosen.seed, state.step])
            missing = shortfall(five, model.kernel(state.params), 100, own)
            history(state.step, ideal_K - missing["ideal_minus_K_bits"])

        training.train(model, FIVE, state, rng=rng, steps=chosen.steps - state.step, batch=32,
                       learning_rate=training.cosine_decay(0.007, chosen.steps),
                       n_times=min(32, chosen.T - 1), callback=callback,
                       every=max(1, chosen.steps // (8 if chosen.quick else 40)))
    return state.params, history


def evaluate(
    run: common.Run, diffusion: BinomialDiffusion, kernel: ReverseKernel, n: int,
    rng: np.random.Generator,
) -> tuple[dict[str, Any], Array]:
    """K over n draws of each of the five, in bits, and E KL_t at every step."""
    values, kl = [], []
    for k in range(10):
        x0 = np.repeat(FIVE, n // 10, axis=0)
        bound = bounds.lower_bound(diffusion, kernel, x0, rng=rng)
        values.append(to_bits(bound.value).reshape(len(FIVE), -1))
        kl.append(to_bits(bound.kl.mean(axis=1)))
        run.step((k + 1) / 10, float(np.mean(values)))
    K = np.concatenate(values, axis=1)
    null = float(to_bits(bounds.null_log_likelihood(diffusion, FIVE)).mean())
    return {
        "K_bits": float(K.mean()),
        "K_stderr_bits": float(np.sqrt(K.var(axis=1, ddof=1).mean() / K.size)),
        "K_minus_null_bits": float(K.mean() - null), "null_bits": null,
        "limit_bits": float(to_bits(-data.heartbeat_entropy())), "paper_K_bits": PAPER_K,
        "draws": K.size,
    }, np.mean(kl, axis=0)


def shortfall(
    five: exact.FiniteData, kernel: ReverseKernel, n_times: int, rng: np.random.Generator,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, float]:
    """K* - K in bits, as sum_t E KL( ideal || ours ), for the ideal kernel has q's mean:

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
        if t % 100 == 0:
            progress(t / five.diffusion.T)
    return {"ideal_minus_K_bits": mean, "ideal_minus_K_stderr_bits": float(np.sqrt(var))}


def sequences(x0: Any, diffusion: BinomialDiffusion) -> dict[str, Any]:
    """How many generated sequences are one of the five, and whether the five are as frequent.

    The edge T_pi flips bits at the rate beta_1, as the forward step to x^1 does: the ideal share
    is what both leave of the five.
    """
    counts = (x0[:, None] == FIVE).all(-1).sum(0)
    share, rate, first = counts.sum() / len(x0), diffusion.beta[0], diffusion.marginal(FIVE, 1)
    prob1 = first.prob1 * (1.0 - rate) + PRIOR * rate
    prob0 = first.prob0 * (1.0 - rate) + (1.0 - PRIOR) * rate
    both = Bernoulli(prob1[:, None], prob0[:, None])
    return {
        "heartbeat_share": float(share),
        "heartbeat_share_stderr": float(np.sqrt(share * (1.0 - share) / len(x0))),
        "ideal_heartbeat_share": float(np.exp(both.log_prob(FIVE)).sum(1).mean()),
        "samples": len(x0), "frequencies": (counts / max(1, counts.sum())).tolist(),
        "uniform_p_value": float(stats.chisquare(counts).pvalue) if counts.sum() else 1.0,
    }


def probabilities(
    run: common.Run, diffusion: BinomialDiffusion, kernel: ReverseKernel, n_samples: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """log p of the five, by importance sampling, in bits, and the sum of their probabilities."""
    run.stage("log p")
    found = []
    for k, row in enumerate(FIVE):
        found.append(likelihood.log_likelihood(diffusion, kernel, row[None], n_samples=n_samples,
                                               rng=rng))
        run.step((k + 1) / len(FIVE))
    log_p, stderr = (np.concatenate([each[i] for each in found]) for i in (0, 1))
    return {
        "log_p_bits": to_bits(log_p).tolist(), "log_p_stderr_bits": to_bits(stderr).tolist(),
        "log_p_reliable": [bool(each.reliable[0]) for each in found], "log_p_samples": n_samples,
        "p_sum": float(np.exp(log_p).sum()),
        "p_sum_stderr": float(np.sqrt(((np.exp(log_p) * stderr) ** 2).sum())),
    }


def draw(
    diffusion: BinomialDiffusion, states: Any, kl: tuple[Array, Array], history: common.History,
    numbers: dict[str, Any], rng: np.random.Generator,
) -> Any:
    """Figure 2; kl is E KL_t of the model and of the ideal kernel, in bits."""
    x0 = data.heartbeat(60, rng=rng)
    forward = {t: diffusion.marginal(x0, t).sample(rng=rng) if t else x0 for t in states}
    limits = {"limit": numbers["limit_bits"], "K*": numbers["ideal_K_bits"],
              "held out": numbers["K_bits"], "paper": PAPER_K}
    reverse = {t: x[:60] for t, x in states.items()}
    return figures.heartbeat(forward, reverse, *kl, (history.steps, history.K_bits), limits)


def report(numbers: dict[str, Any]) -> list[str]:
    """What is printed at the end."""
    K, above, missing = (
        common.with_error(numbers[f"{name}_bits"], numbers[f"{error}_stderr_bits"])
        for name, error in (("K", "K"), ("K_minus_null", "K"), ("ideal_minus_K",) * 2))
    p_sum = common.with_error(numbers["p_sum"], numbers["p_sum_stderr"])
    return [
        f"K = {K} bits; K* {numbers['ideal_K_bits']:.6f}, and K* - K = {missing}; K - L_null = "
        f"{above}; limit {numbers['limit_bits']:.3f}; {numbers['seconds']:.0f} s",
        f"{numbers['heartbeat_share']:.2%} +- {numbers['heartbeat_share_stderr']:.2%} of "
        f"{numbers['samples']} sequences are heartbeats (ideally "
        f"{numbers['ideal_heartbeat_share']:.2%}), equally frequent with p = "
        f"{numbers['uniform_p_value']:.2g}; p of the five sums to {p_sum}",
    ]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen = options(argv)
    quick, T = chosen.quick, chosen.T
    rng = np.random.default_rng(chosen.seed)
    with common.Run("heartbeat", chosen, plan(chosen)) as run:
        run.stage("K*")
        model = build(chosen)
        diffusion, five = model.diffusion, exact.FiniteData(model.diffusion, FIVE)
        ideal = exact.ideal_bound(five)
        params, history = fit(run, model, five, float(to_bits(ideal.value)), chosen, rng)
        kernel = model.kernel(params)
        run.stage("K")
        numbers, kl = evaluate(run, diffusion, kernel, 40 if quick else 320, rng)
        run.stage("K* - K")
        numbers |= {"ideal_K_bits": float(to_bits(ideal.value))}
        numbers |= shortfall(five, kernel, T - 1, rng, run.step)
        run.stage("samples")
        states = sample_trajectory(diffusion, kernel, 500 if quick else 2_000, FIVE.shape[1],
                                   rng=rng, keep=[0, T // 4, T // 2, 3 * T // 4, T]).states
        numbers |= sequences(states[0], diffusion)
        numbers |= probabilities(run, diffusion, kernel, 50 if quick else 250, rng)
        run.stage("figure")
        figure = draw(diffusion, states, (kl, to_bits(ideal.kl)), history, numbers, rng)
        settings = ("T", "schedule", "parametrisation", "steps", "seed")
        numbers |= {"seconds": run.seconds} | {name: vars(chosen)[name] for name in settings}
        run.finish(figure, numbers, report(numbers))
    return numbers


if __name__ == "__main__":
    main()

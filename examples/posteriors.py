"""Posteriors p(x^0) r(x^0) / Z of learned models: the truth, the paper's recipe, and the same kernels in a particle filter.

    python examples/posteriors.py

Two models are trained, one on the swiss roll and one on the binary heartbeat, and each is asked two questions:

    inpainting     the roll's second coordinate, the first being seen
    denoising      a point of the roll, seen through Gaussian noise
    missing bits   a heartbeat of which a few bits were seen
    flipped bits   a heartbeat of which every bit was flipped with probability 0.3

The truth is that of the data's law. The paper's recipe clamps what was seen at every t, or takes r(x^t) = r(x^0); what that samples is
not the posterior, however good the model. The particle filter's answer is the posterior of the *model*, and its distance to the truth
that of the model, and of a finite number of particles.

Distances: for the roll Wasserstein's, in the data's unit, averaged over directions; for heartbeats total variation over the five
sequences and all others. K, of the roll's model and of the heartbeat's, is in bits per data vector.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import common  # before NumPy
import numpy as np

from dpm_ref import BinomialDiffusion, GaussianDiffusion, bounds, data, exact, plots, posteriors, schedules, training
from dpm_ref.bounds import to_bits
from dpm_ref.mlp import time_polynomials
from dpm_ref.posteriors import Clamp, Factor, GaussianFactor, constant, noisy_bits, predicted, tempered
from dpm_ref.reverse import BinomialReverse, GaussianReverse, ReverseModel
from dpm_ref.validation import Array

NOISE, BITS = 0.1, 20
SEEN, OBSERVED, SPREAD = 0.4, (0.3, -0.35), 0.3
FLIP_RATE = 0.3
RUNS = 8
EDGES = np.linspace(-1.8, 2.0, 77)


class Fitted(NamedTuple):
    """A trained model, and the data's law that it was trained on."""

    model: ReverseModel
    kernel: Any
    law: exact.FiniteData


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--particles", type=int, default=1000, help=f"particles of each of the {RUNS} runs of a filter (default 1000)")
    parser.add_argument("--steps", type=int, default=5000, help="training steps of each model (default 5000)")
    chosen = parser.parse_args(argv)
    if chosen.particles < 50 or chosen.steps < 1 or chosen.seed < 0:
        parser.error(f"--particles must be at least 50, --steps 1 and --seed 0, got {chosen.particles}, {chosen.steps} and {chosen.seed}")
    if chosen.quick:
        chosen.particles, chosen.steps = min(chosen.particles, 100), min(chosen.steps, 200)
    return chosen


def fit(model: ReverseModel, x0: Array, law: exact.FiniteData, steps: int, rate: float, n_times: int, rng: np.random.Generator) -> Fitted:
    """Train in float32."""
    progress, state = common.Progress(steps), training.start(model, rng=rng, dtype=np.float32)
    training.train(model, x0, state, rng=rng, steps=steps, learning_rate=training.cosine_decay(rate, steps), batch=32, n_times=n_times,
                   callback=lambda state, K: progress(state.step, float(to_bits(K))), every=max(1, steps // 20))
    return Fitted(model, model.kernel(state.params), law)


def fit_roll(steps: int, rng: np.random.Generator) -> Fitted:
    """The roll's model, as in swiss_roll.py; its law as 1500 Gaussians along the spiral."""
    atoms, spread = data.swiss_roll_atoms(1500, noise=NOISE)
    diffusion = GaussianDiffusion(schedules.log_snr_linear(40, beta1=spread / 20, abar_T=0.05))
    model = GaussianReverse(diffusion, 2, hidden=(64,) * 3, time_features=time_polynomials(40, 2), input_gain=4.0)
    law = exact.FiniteData(diffusion, atoms, spread=spread)
    return fit(model, data.swiss_roll(100_000, noise=NOISE, rng=rng), law, steps, 0.012, 39, rng)


def fit_heartbeat(steps: int, rng: np.random.Generator) -> Fitted:
    """The heartbeat's model. A small beta_1 keeps the last step, which flips bits one by one, from leaving the five sequences."""
    T, atoms = 100, data.heartbeat_atoms(BITS)
    diffusion = BinomialDiffusion(schedules.log_snr_linear(T, beta1=1e-4, abar_T=0.01), 0.2)
    basis = np.polynomial.legendre.legvander(np.linspace(-1, 1, T - 1), 7)
    model = BinomialReverse(diffusion, BITS, hidden=(50,) * 3, time_features=time_polynomials(T, 3), basis=basis)
    return fit(model, atoms, exact.FiniteData(diffusion, atoms), steps, 0.008, 32, rng)


def evaluate(fitted: Fitted, chosen: argparse.Namespace, rng: np.random.Generator) -> dict[str, float]:
    """K on data of the law, K*, and the limit, in bits."""
    x0 = fitted.law.sample(500 if chosen.quick else 5000, rng=rng)
    bound = bounds.lower_bound(fitted.law.diffusion, fitted.kernel, x0, rng=rng)
    K, null = to_bits(bound.value), bounds.null_log_likelihood(fitted.law.diffusion, x0)
    ideal = exact.ideal_bound(fitted.law, rng=rng, n_samples=1 if chosen.quick else 32)
    limit = -data.swiss_roll_entropy(NOISE) if isinstance(fitted.model, GaussianReverse) else -data.heartbeat_entropy(BITS)
    return {"K_bits": float(K.mean()), "K_stderr_bits": float(K.std(ddof=1) / np.sqrt(len(x0))),
            "K_minus_null_bits": float(to_bits(bound.value - null).mean()), "ideal_K_bits": float(to_bits(ideal.value)),
            "limit_bits": float(to_bits(limit))}


def wasserstein(x: Array, weights: Array, truth: Array) -> float:
    """The distance of weighted samples (n, d) to as many as there are of the truth, along 16 directions, or the only one."""
    angles = np.pi * np.arange(16) / 16
    directions = [(np.cos(angle), np.sin(angle)) for angle in angles] if x.shape[1] == 2 else [(1.0,)]
    levels = (np.arange(2000) + 0.5) / 2000
    distances = []
    for direction in directions:
        along, other = x @ np.array(direction), np.quantile(truth @ np.array(direction), levels)
        order = np.argsort(along)
        share = np.cumsum(weights[order])
        distances.append(np.abs(along[order][np.searchsorted(share / share[-1], levels)] - other).mean())
    return float(np.mean(distances))


def phases(x: Array, weights: Array, atoms: Array) -> Array:
    """The probability of each sequence, and of all others."""
    known = np.array([weights[(x == atom).all(-1)].sum() for atom in atoms])
    return np.append(known, max(0.0, 1.0 - known.sum()))


def samplers(fitted: Fitted, factor: Factor, chosen: argparse.Namespace, rng: np.random.Generator) -> tuple[dict[str, tuple[Array, Array]],
                                                                                                           dict[str, float]]:
    """Weighted samples of x^0 by each way, and what the filter says of itself."""
    diffusion, d, n = fitted.law.diffusion, fitted.law.atoms.shape[1], chosen.particles * RUNS
    plain = {name: posteriors.sample(diffusion, fitted.kernel, r, n, d, rng=rng).x0
             for name, r in (("recipe", constant(factor)), ("tempered", tempered(factor, diffusion.T)))}
    result = posteriors.particle_filter(diffusion, fitted.kernel, predicted(factor, diffusion, fitted.kernel), chosen.particles, d, rng=rng,
                                        runs=RUNS)
    ways = {name: (x, np.full(n, 1.0 / n)) for name, x in plain.items()} | {"filter": (result.x0.reshape(n, d), result.weights.ravel())}
    return ways, {"log_z": result.log_z, "log_z_stderr": result.log_z_stderr, "least_ess": float(result.ess.min()),
                  "exact_log_z": exact.FiniteTwist(fitted.law, factor).log_z}


def ask_roll(fitted: Fitted, factor: Factor, components: list[int], chosen: argparse.Namespace, rng: np.random.Generator) -> Any:
    """Weighted samples by way, the truth first, in the components asked for, and distances to more of the truth."""
    posterior = exact.FiniteTwist(fitted.law, factor).posterior()
    truth, reference = (posterior.sample(n, rng=rng)[:, components] for n in (chosen.particles * RUNS, 50_000))
    ways, numbers = samplers(fitted, factor, chosen, rng)
    kept = {"truth": (truth, np.full(len(truth), 1.0 / len(truth)))} | {name: (x[:, components], w) for name, (x, w) in ways.items()}
    return kept, numbers | {f"{name}_distance": wasserstein(x, w, reference) for name, (x, w) in kept.items()}


def ask_heartbeat(fitted: Fitted, factor: Factor, chosen: argparse.Namespace, rng: np.random.Generator) -> Any:
    """Probabilities of the sequences by way, the truth first, and total variations to it."""
    truth = np.append(exact.FiniteTwist(fitted.law, factor).posterior().weights, 0.0)
    ways, numbers = samplers(fitted, factor, chosen, rng)
    kept = {"truth": truth} | {name: phases(x, w, fitted.law.atoms) for name, (x, w) in ways.items()}
    return kept, numbers | {f"{name}_distance": float(0.5 * np.abs(p - truth).sum()) for name, p in kept.items()}


def titles(what: str, recipe: str, numbers: dict[str, float], unit: str) -> tuple[str, str, str]:
    """Those of a row: the truth, the paper's recipe, the particle filter."""
    return (f"{what}: the truth", f"the paper's recipe, {recipe}\n{unit} to the truth {numbers['recipe_distance']:.3f}",
            f"particle filter\n{unit} to the truth {numbers['filter_distance']:.3f}")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen, began = options(argv), time.monotonic()
    rng = np.random.default_rng(chosen.seed)
    roll, beats = fit_roll(chosen.steps, rng), fit_heartbeat(chosen.steps, rng)
    numbers: dict[str, Any] = evaluate(roll, chosen, rng) | {f"heartbeat_{k}": v for k, v in evaluate(beats, chosen, rng).items()}
    seen = np.isin(np.arange(BITS), [0, 6, 9])
    flipped = np.array(data.heartbeat_atoms(BITS)[1])
    flipped[[3, 6, 16]] = 1.0 - flipped[[3, 6, 16]]  # two of the four beats lost, one heard in another phase
    inpainted, of_inpainting = ask_roll(roll, Clamp([SEEN, 0.0], [True, False]), [1], chosen, rng)
    denoised, of_denoising = ask_roll(roll, GaussianFactor(OBSERVED, SPREAD**2), [0, 1], chosen, rng)
    missing, of_missing = ask_heartbeat(beats, Clamp(np.zeros(BITS), seen), chosen, rng)
    flips, of_flips = ask_heartbeat(beats, noisy_bits(flipped, FLIP_RATE), chosen, rng)
    shown = ("truth", "recipe", "filter")
    rows = [titles("inpainting the roll", "clamped at every t", of_inpainting, "distance"),
            titles("denoising a point of the roll", "r at every t", of_denoising, "distance"),
            titles("heartbeat, missing bits", "clamped at every t", of_missing, "total variation"),
            titles("heartbeat, flipped bits", "r at every t", of_flips, "total variation")]
    histograms = [np.histogram(inpainted[way][0][:, 0], EDGES, weights=inpainted[way][1])[0] for way in shown]
    points = [denoised[way][0][rng.choice(len(denoised[way][0]), 3000, p=denoised[way][1] / denoised[way][1].sum())] for way in shown]
    bits = {"bits 1, 7 and 10 seen, all 0": dict(zip(rows[2], (missing[way] for way in shown), strict=True)),
            "3 of 20 bits flipped": dict(zip(rows[3], (flips[way] for way in shown), strict=True))}
    figure = plots.posterior_figure(EDGES, dict(zip(rows[0], histograms, strict=True)), SEEN, dict(zip(rows[1], points, strict=True)),
                                    np.array(OBSERVED), SPREAD, roll.law.sample(3000, rng=rng), bits)
    for name, part in (("inpainting", of_inpainting), ("denoising", of_denoising), ("missing", of_missing), ("flipped", of_flips)):
        numbers |= {f"{name}_{key}": value for key, value in part.items()}
        print(f"{name:<11} distance to the truth: recipe {part['recipe_distance']:.3f}, tempered {part['tempered_distance']:.3f}, particle "
              f"filter {part['filter_distance']:.3f}; log Z = {part['log_z']:.3f} +- {part['log_z_stderr']:.3f}, of the data's law "
              f"{part['exact_log_z']:.3f}")
    numbers |= {"missing_posterior": missing["filter"].tolist(), "missing_truth": missing["truth"].tolist(),
                "particles": chosen.particles * RUNS, "steps": chosen.steps, "seed": chosen.seed, "seconds": time.monotonic() - began}
    common.write(chosen.out, "posteriors", figure, numbers)
    return numbers


if __name__ == "__main__":
    main()

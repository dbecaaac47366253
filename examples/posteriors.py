"""Posteriors p(x^0) r(x^0) / Z of learned models: the truth, the recipe, weighted particles.

    python examples/posteriors.py

Two models are trained, on the swiss roll and on the binary heartbeat, and each is asked twice:

    inpainting     the roll's second coordinate, the first being seen
    denoising      a point of the roll, seen through Gaussian noise
    missing bits   a heartbeat of which a few bits were seen
    flipped bits   a heartbeat of which every bit was flipped with probability 0.3

The truth is the posterior of the data's distribution. The paper's recipe clamps what was seen at
every t, or takes r(x^t) = r(x^0); what that samples is not the posterior, however good the model.
The particle filter's answer is the posterior of the model, off the truth by the model's error and
that of a finite number of particles.

Distances: for the roll Wasserstein's, in the data's unit, averaged over directions; for
heartbeats total variation over the five sequences and all others. The filter is run 8 times, and
the standard error of its distance is that of 8 distances, one of each run. K is in bits per data
vector.
"""

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import common  # before NumPy
import figures
import numpy as np

from dpm_ref import (
    BinomialDiffusion,
    Gaussian,
    GaussianDiffusion,
    data,
    exact,
    posteriors,
    schedules,
    training,
)
from dpm_ref.bounds import to_bits
from dpm_ref.mlp import time_polynomials
from dpm_ref.posteriors import Clamp, GaussianFactor, constant, noisy_bits, predicted, tempered
from dpm_ref.reverse import BinomialReverse, GaussianReverse
from dpm_ref.validation import Array

NOISE, BITS, FLIP_RATE, RUNS = 0.1, 20, 0.3, 8
SEEN, OBSERVED, STD = 0.4, (0.3, -0.35), 0.3
EDGES, LEVELS = np.linspace(-1.8, 2.0, 77), (np.arange(2000) + 0.5) / 2000
WAYS = ("truth", "recipe", "filter")


class Fitted(NamedTuple):
    """A trained model's kernel, and the data's distribution that it was trained on."""

    kernel: Any
    law: exact.FiniteData


class Samples(NamedTuple):
    """Samples (runs, n, d) with weights (runs, n) that sum to 1 in each run."""

    x: Array
    weights: Array


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    add = parser.add_argument
    add("--particles", type=int, default=1000, help=f"in each of {RUNS} runs (default 1000)")
    add("--steps", type=int, default=5000, help="training steps of each model (default 5000)")
    chosen = parser.parse_args(argv)
    if chosen.particles < 50 or chosen.steps < 1 or chosen.seed < 0:
        parser.error(f"--particles must be at least 50, --steps 1 and --seed 0, got "
                     f"{chosen.particles}, {chosen.steps} and {chosen.seed}")
    if chosen.quick:
        chosen.particles, chosen.steps = min(chosen.particles, 100), min(chosen.steps, 500)
    chosen.roll_T, chosen.heartbeat_T = (15, 20) if chosen.quick else (40, 100)
    return chosen


def plan(chosen: argparse.Namespace) -> dict[str, float]:
    """The stages, and the seconds that each takes on some machine."""
    share, n = 0.1 if chosen.quick else 1.0, chosen.particles / 1000
    return {"training roll": 2.3e-3 * chosen.steps, "training heartbeat": 4e-3 * chosen.steps,
            "K": 1.0 * share, "K*": 4.0 * share, "heartbeat K": 1.5 * share,
            "heartbeat K*": 2.0 * share, "inpainting": 5.0 * n, "denoising": 5.0 * n,
            "missing": 7.0 * n, "flipped": 7.0 * n, "figure": 2.0}


def fit(
    run: common.Run, label: str, model: Any, x0: Array, law: exact.FiniteData, rate: float,
    rng: np.random.Generator,
) -> Fitted:
    """Train in float32."""
    steps, state = run.chosen.steps, training.start(model, rng=rng, dtype=np.float32)
    with run.fitting(model, state, rng, label) as history:
        training.train(model, x0, state, rng=rng, steps=steps - state.step, batch=32,
                       learning_rate=training.cosine_decay(rate, steps),
                       n_times=min(39, law.diffusion.T - 1),
                       callback=lambda state, K: history(state.step, to_bits(K)),
                       every=max(1, steps // 50))
    return Fitted(model.kernel(state.params), law)


def fit_roll(run: common.Run, rng: np.random.Generator) -> Fitted:
    """The roll's model, as in swiss_roll.py; its distribution as 1500 Gaussians."""
    T, (atoms, var) = run.chosen.roll_T, data.swiss_roll_atoms(1500, noise=NOISE)
    diffusion = GaussianDiffusion(schedules.log_snr_linear(T, beta1=var / 20, abar_T=0.05))
    model = GaussianReverse(diffusion, 2)
    x0 = data.swiss_roll(100_000, noise=NOISE, rng=rng)
    return fit(run, "roll", model, x0, exact.FiniteData(diffusion, atoms, var=var), 0.01, rng)


def fit_heartbeat(run: common.Run, rng: np.random.Generator) -> Fitted:
    """The heartbeat's. With a small beta_1 the last step flips no bit of the five sequences."""
    T, atoms = run.chosen.heartbeat_T, data.heartbeat_atoms(BITS)
    beta = schedules.log_snr_linear(T, beta1=1e-4, abar_T=0.01)
    basis = np.polynomial.legendre.legvander(np.linspace(-1, 1, T - 1), 7)
    model = BinomialReverse(BinomialDiffusion(beta, 0.2), BITS, hidden=(50,) * 3, basis=basis,
                            time_features=time_polynomials(T, 3))
    return fit(run, "heartbeat", model, atoms, exact.FiniteData(model.diffusion, atoms), 0.008, rng)


def evaluate(
    run: common.Run, fitted: Fitted, limit: float, prefix: str, rng: np.random.Generator
) -> dict[str, float]:
    """K on data of the distribution, K*, and the limit, in bits."""
    run.stage(f"{prefix}K")
    quick, diffusion = run.chosen.quick, fitted.law.diffusion
    x0 = fitted.law.sample(500 if quick else 5000, rng=rng)
    found = common.evaluate(run, diffusion, fitted.kernel, x0, rng)[0]
    run.stage(f"{prefix}K*")
    ideal = exact.ideal_bound(fitted.law, rng=rng, n_samples=16 if quick else 256)
    return found | {"ideal_K_bits": float(to_bits(ideal.value)),
                    "ideal_K_stderr_bits": float(to_bits(ideal.stderr)),
                    "limit_bits": float(to_bits(limit))}


def posterior(law: exact.FiniteData, factor: Any) -> tuple[float, Array]:
    """log Z and the atoms' weights in p(x^0) r(x^0) / Z, for p the data's distribution."""
    if law.var.any():
        log_r = factor.multiply(Gaussian(law.atoms, law.var[:, None] * np.ones(2))).log_z
    else:
        log_r = factor.log_r(law.atoms)
    joint = np.log(law.weights) + log_r
    log_z = float(np.logaddexp.reduce(joint))
    return log_z, np.exp(joint - log_z)


def along(x: Array) -> Array:
    """x (n, d) along 16 directions of the plane, (16, n), or on the line as it is, (1, n)."""
    if x.shape[1] == 1:
        return x.T
    angles = np.pi * np.arange(16) / 16
    return np.stack([np.cos(angles), np.sin(angles)], 1) @ x.T


def wasserstein(x: Array, weights: Array, quantiles: Array) -> float:
    """The distance of weighted samples (n, d) to what has these quantiles along each direction."""
    distances = []
    for values, wanted in zip(along(x), quantiles, strict=True):
        order = np.argsort(values)
        share = np.cumsum(weights[order])
        places = np.searchsorted(share / share[-1], LEVELS)
        distances.append(np.abs(values[order][places] - wanted).mean())
    return float(np.mean(distances))


def phases(x: Array, weights: Array, atoms: Array) -> Array:
    """The probability of each sequence, and of all others."""
    known = np.array([weights[(x == atom).all(-1)].sum() for atom in atoms]) / weights.sum()
    return np.append(known, max(0.0, 1.0 - known.sum()))


def samplers(
    run: common.Run, fitted: Fitted, factor: Any, rng: np.random.Generator
) -> tuple[dict[str, Samples], dict[str, float]]:
    """Samples of x^0 by each way, and what the filter says of itself."""
    diffusion, d, n = fitted.law.diffusion, fitted.law.atoms.shape[1], run.chosen.particles
    ways = {}
    ratios = {"recipe": constant(factor), "tempered": tempered(factor, diffusion.T)}
    for k, (name, r) in enumerate(ratios.items()):
        x = posteriors.sample(diffusion, fitted.kernel, r, n * RUNS, d, rng=rng).x0
        ways[name] = Samples(x.reshape(RUNS, n, d), np.full((RUNS, n), 1.0 / n))
        run.step((k + 1) / 4)
    r = predicted(factor, diffusion, fitted.kernel)
    result = posteriors.particle_filter(diffusion, fitted.kernel, r, n, d, rng=rng, runs=RUNS)
    ways["filter"] = Samples(result.x0.reshape(RUNS, n, d), result.weights.reshape(RUNS, n))
    return ways, {"log_z": result.log_z, "log_z_stderr": result.log_z_stderr,
                  "least_ess": float(result.ess.min())}


def stderr_of(distances: Sequence[float]) -> float:
    """The standard error of the distance of all runs together, if errors are independent."""
    return float(np.std(distances, ddof=1) / np.sqrt(len(distances)))


def ask_roll(
    run: common.Run, name: str, fitted: Fitted, factor: Any, components: list[int],
    rng: np.random.Generator,
) -> tuple[dict[str, Samples], dict[str, float]]:
    """Samples by way, the truth first, in the components asked for, and distances to the truth."""
    run.stage(name)
    law, n = fitted.law, run.chosen.particles
    log_z, weights = posterior(law, factor)

    def truth(n: int) -> Array:
        index = rng.choice(len(weights), n, p=weights)
        var = law.var[index, None] * np.ones(2)
        return np.asarray(factor.multiply(Gaussian(law.atoms[index], var)).law.sample(rng=rng))

    reference = np.quantile(along(truth(50_000)[:, components]), LEVELS, axis=1).T
    ways, numbers = samplers(run, fitted, factor, rng)
    ways = {"truth": Samples(truth(n * RUNS).reshape(RUNS, n, 2), np.full((RUNS, n), 1 / n))} | ways
    ways = {way: Samples(x[..., components], w) for way, (x, w) in ways.items()}
    for way, (x, w) in ways.items():
        pooled = x.reshape(-1, len(components))
        numbers[f"{way}_distance"] = wasserstein(pooled, w.ravel(), reference)
        numbers[f"{way}_distance_stderr"] = stderr_of(
            [wasserstein(*each, reference) for each in zip(x, w, strict=True)])
    return ways, numbers | {"exact_log_z": log_z}


def ask_heartbeat(
    run: common.Run, name: str, fitted: Fitted, factor: Any, rng: np.random.Generator
) -> tuple[dict[str, Array], dict[str, float]]:
    """Probabilities of the sequences by way, the truth first, and total variations to it."""
    run.stage(name)
    atoms = fitted.law.atoms
    log_z, weights = posterior(fitted.law, factor)
    truth = np.append(weights, 0.0)
    ways, numbers = samplers(run, fitted, factor, rng)
    found = {"truth": truth}
    for way, (x, w) in ways.items():
        found[way] = phases(x.reshape(-1, BITS), w.ravel(), atoms)
        runs = [phases(*each, atoms) for each in zip(x, w, strict=True)]
        numbers[f"{way}_distance"] = float(0.5 * np.abs(found[way] - truth).sum())
        numbers[f"{way}_distance_stderr"] = stderr_of(
            [float(0.5 * np.abs(p - truth).sum()) for p in runs])
    return found, numbers | {"exact_log_z": log_z}


def titles(what: str, recipe: str, numbers: dict[str, float], unit: str) -> tuple[str, ...]:
    """Those of a row: the truth, the paper's recipe, the particle filter."""
    recipe_, filter_ = (numbers[f"{way}_distance"] for way in ("recipe", "filter"))
    return (f"{what}: the truth",
            f"the paper's recipe, {recipe}\n{unit} to the truth {recipe_:.3f}",
            f"particle filter\n{unit} to the truth {filter_:.3f}")


def draw(
    found: dict[str, Any], numbers: dict[str, Any], points: Array, rng: np.random.Generator
) -> Any:
    """The truth, the recipe and the filter, for each of the four questions."""
    rows = [titles("inpainting the roll", "clamped at every t", numbers["inpainting"], "distance"),
            titles("denoising a point of the roll", "r at every t", numbers["denoising"],
                   "distance"),
            titles("heartbeat, missing bits", "clamped at every t", numbers["missing"],
                   "total variation"),
            titles("heartbeat, flipped bits", "r at every t", numbers["flipped"],
                   "total variation")]
    histograms, clouds = [], []
    for way in WAYS:
        x, w = found["inpainting"][way]
        histograms.append(np.histogram(x[..., 0], EDGES, weights=w / w.sum())[0])
        x, w = (array.reshape(-1, *array.shape[2:]) for array in found["denoising"][way])
        clouds.append(x[rng.choice(len(x), 3000, p=w / w.sum())])
    bits = {"bits 1, 7 and 10 seen, all 0": dict(zip(rows[2], map(found["missing"].get, WAYS),
                                                     strict=True)),
            "3 of 20 bits flipped": dict(zip(rows[3], map(found["flipped"].get, WAYS),
                                             strict=True))}
    inpainted = (EDGES, dict(zip(rows[0], histograms, strict=True)), SEEN)
    denoised = (points, dict(zip(rows[1], clouds, strict=True)), np.array(OBSERVED), STD)
    return figures.posteriors(inpainted, denoised, bits)


def report(name: str, part: dict[str, float]) -> str:
    """A line of what is printed at the end."""
    distances = ", ".join(
        f"{way} {common.with_error(part[f'{way}_distance'], part[f'{way}_distance_stderr'])}"
        for way in ("recipe", "tempered", "filter"))
    log_z = common.with_error(part["log_z"], part["log_z_stderr"])
    return (f"{name:<11} distance to the truth: {distances}; log Z = {log_z}, of the data's "
            f"distribution {part['exact_log_z']:.3f}")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen = options(argv)
    rng = np.random.default_rng(chosen.seed)
    seen = np.isin(np.arange(BITS), [0, 6, 9])
    flipped = np.array(data.heartbeat_atoms(BITS)[1])
    flipped[[3, 6, 16]] = 1.0 - flipped[[3, 6, 16]]  # two of four beats lost, one heard elsewhere
    with common.Run("posteriors", chosen, plan(chosen)) as run:
        roll, beats = fit_roll(run, rng), fit_heartbeat(run, rng)
        numbers: dict[str, Any] = evaluate(run, roll, -data.swiss_roll_entropy(NOISE), "", rng)
        of_beats = evaluate(run, beats, -data.heartbeat_entropy(BITS), "heartbeat ", rng)
        numbers |= {f"heartbeat_{key}": value for key, value in of_beats.items()}
        answers: dict[str, Any] = {
            "inpainting": ask_roll(run, "inpainting", roll, Clamp([SEEN, 0.0], [True, False]), [1],
                                   rng),
            "denoising": ask_roll(run, "denoising", roll, GaussianFactor(OBSERVED, STD**2), [0, 1],
                                  rng),
            "missing": ask_heartbeat(run, "missing", beats, Clamp(np.zeros(BITS), seen), rng),
            "flipped": ask_heartbeat(run, "flipped", beats, noisy_bits(flipped, FLIP_RATE), rng),
        }
        run.stage("figure")
        found, parts = ({name: answer[i] for name, answer in answers.items()} for i in (0, 1))
        figure = draw(found, parts, roll.law.sample(3000, rng=rng), rng)
        for name, part in parts.items():
            numbers |= {f"{name}_{key}": value for key, value in part.items()}
        numbers |= {"missing_posterior": found["missing"]["filter"].tolist(),
                    "missing_truth": found["missing"]["truth"].tolist(),
                    "particles": chosen.particles * RUNS, "steps": chosen.steps,
                    "seed": chosen.seed, "seconds": run.seconds}
        lines = [report(name, part) for name, part in parts.items()]
        run.finish(figure, numbers, [*lines, f"{numbers['seconds']:.0f} s"])
    return numbers


if __name__ == "__main__":
    main()

"""Train a model of your own data: points in a few dimensions, or a set of images of bits.

    python examples/your_data.py points.csv         one vector a line, commas between its numbers
    python examples/your_data.py points.npy         an array (n, d), or 0s and 1s (n, d), (n, h, w)
    python examples/your_data.py two_moons          a set made here; so are roll, eight_gaussians
                                                    and bars (8 x 8 bits)

A tenth of the data is held out. Numbers are standardised for the model and brought back for the
samples; K has the log Jacobian in it, so it is of the data in their own units. beta_1 follows the
data's finest scale, the bandwidth at which a kernel density estimate gives held-out points the
largest log likelihood. Bits have pi_1 at their mean activity.

In bits per data vector: K on held-out data with its standard error, K - L_null, L_null being the
log likelihood of N(mean, diag var) or of independent bits; and, for a set made here, K* of the
same schedule and the limit, minus the entropy of the data. The trained model is saved, and the
samples are those of the model as it was read again.
"""

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import common  # before NumPy
import figures
import numpy as np

from dpm_ref import BinomialDiffusion, GaussianDiffusion, data, exact, schedules, training
from dpm_ref.bounds import to_bits
from dpm_ref.reverse import BinomialReverse, GaussianReverse, sample_trajectory
from dpm_ref.validation import Array

MADE = ("roll", "two_moons", "eight_gaussians", "bars")


class Known(NamedTuple):
    """Data whose distribution is known: Gaussians around atoms (m, d), or sets of bits."""

    atoms: Array
    var: float
    entropy: float  # nats


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    add = parser.add_argument
    add("data", nargs="?", default="two_moons",
        help="a .csv or .npy file, or a name from above (default two_moons)")
    add("--steps", type=int, help="training steps (default 4000)")
    add("--T", type=int, help="diffusion steps (default 40, for bits 500)")
    chosen = parser.parse_args(argv)
    try:
        chosen.x0 = made(chosen.data, chosen.seed) if chosen.data in MADE else read(chosen)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    binary = is_binary(chosen.x0)
    chosen.T = chosen.T or (500 if binary else 40)
    chosen.steps = chosen.steps or 4_000
    if chosen.steps < 1 or chosen.T < 4 or chosen.seed < 0:
        parser.error(f"--steps must be at least 1, --T 4 and --seed 0, got {chosen.steps}, "
                     f"{chosen.T} and {chosen.seed}")
    if chosen.quick:
        chosen.steps, chosen.T = min(chosen.steps, 200), min(chosen.T, 40)
        chosen.x0 = chosen.x0[:4_000]
    return chosen


def read(chosen: argparse.Namespace) -> Array:
    """The array of a file: (n, d), or (n, h, w) of 0s and 1s; ValueError with what is wrong."""
    name = chosen.data
    if name.endswith(".npy"):
        x0 = np.load(name, allow_pickle=False)
    elif name.endswith(".csv"):
        try:
            x0 = np.loadtxt(name, delimiter=",", ndmin=2)
        except ValueError as error:
            rule = "hold numbers alone, with commas between them and no header"
            raise ValueError(f"{name} must {rule}: {error}") from error
    else:
        raise ValueError(f"data must be a .csv or .npy file or one of {MADE}, got {name}")
    if x0.dtype.kind not in "biuf" or x0.ndim not in (2, 3):
        raise ValueError(f"{name} must hold numbers (n, d) or (n, h, w), got {x0.dtype} {x0.shape}")
    if len(x0) < 100:
        raise ValueError(f"{name} must hold at least 100 data vectors, got {len(x0)}")
    if not np.isfinite(x0).all():
        row = int(np.argwhere(~np.isfinite(x0))[0][0])
        raise ValueError(f"{name} must hold finite numbers, got others first in row {row}")
    if x0.ndim == 3 and not is_binary(x0):
        raise ValueError(f"{name}: images must be of 0s and 1s, as x > threshold makes them, got "
                         f"values from {x0.min()} to {x0.max()}")
    if (x0 == x0[0]).reshape(len(x0), -1).all(0).any() and not is_binary(x0):
        raise ValueError(f"{name} must vary in every column: a constant one makes K of any size")
    return np.asarray(x0, dtype=np.float64)


def is_binary(x0: Array) -> bool:
    """Whether the data are bits."""
    return bool(np.isin(x0, (0, 1)).all())


def made(name: str, seed: int, n: int = 20_000) -> Array:
    """A set made here: draws of a known distribution."""
    rng, (atoms, var, _) = np.random.default_rng([seed, 1]), known(name)
    x0 = atoms[rng.integers(len(atoms), size=n)]
    if name == "bars":
        return np.asarray(x0.reshape(n, 8, 8))
    return np.asarray(x0 + np.sqrt(var) * rng.standard_normal(x0.shape))


def known(name: str) -> Known:
    """The distribution of a set made here; entropies of points from lattices, to 0.002 nats."""
    if name == "bars":  # each row or each column is black or white: 510 images
        lines = (np.arange(256)[:, None] >> np.arange(8)) % 2
        rows = np.repeat(lines[:, :, None], 8, axis=2)
        images = np.concatenate([rows, rows.transpose(0, 2, 1)]).reshape(-1, 64)
        atoms = np.unique(images, axis=0).astype(np.float64)
        return Known(atoms, 0.0, float(np.log(len(atoms))))
    if name == "roll":
        atoms, var = data.swiss_roll_atoms(1100, noise=0.1)
        return Known(np.asarray(atoms), float(var), data.swiss_roll_entropy(0.1))
    if name == "eight_gaussians":
        angle, var = np.arange(8) * np.pi / 4, 0.1**2
        atoms = 2.0 * np.stack([np.cos(angle), np.sin(angle)], 1)
    else:
        angle, var = np.pi * (np.arange(200) + 0.5) / 200, 0.05**2
        moon = np.stack([np.cos(angle), np.sin(angle)], 1)
        atoms = np.concatenate([moon, [1.0, 0.5] - moon])
    law = exact.FiniteData(GaussianDiffusion([0.5]), atoms, var=var)
    entropy = exact.entropy(law, 0, rng=np.random.default_rng(0), n_samples=2**14).value
    return Known(atoms, var, float(entropy))


def finest_scale(z: Array, rng: np.random.Generator) -> float:
    """The variance of the kernel density estimate of z (n, d) that predicts held-out points best.

    Of 1000 points on 500 others, over a grid of variances.
    """
    z = z[rng.permutation(len(z))[:1500]]
    n = 2 * len(z) // 3
    square = ((z[n:, None] - z[:n]) ** 2).sum(-1)
    grid = np.geomspace(1e-6, 1.0, 49)
    scores = [np.logaddexp.reduce(-0.5 * square / var, axis=1).mean()
              - 0.5 * z.shape[1] * np.log(var) for var in grid]
    return float(grid[int(np.argmax(scores))])


def build(x0: Array, T: int, rng: np.random.Generator) -> Any:
    """A diffusion whose schedule is picked from data (n, d) of the model's scale, and a model."""
    if is_binary(x0):
        activity = (x0.sum(0) + 1.0) / (len(x0) + 2.0)
        beta = schedules.constant_erasure(T)
        return BinomialReverse(BinomialDiffusion(beta, activity), x0.shape[1])
    beta = schedules.log_snr_linear(T, beta1=finest_scale(x0, rng) / 20, abar_T=0.05)
    return GaussianReverse(GaussianDiffusion(beta), x0.shape[1])


def plan(chosen: argparse.Namespace) -> dict[str, float]:
    """The stages, and the seconds that each takes on some machine."""
    size = chosen.x0[0].size / (20 if is_binary(chosen.x0) else 10) + 0.8
    held_out = len(chosen.x0) / 10 * chosen.T / 40 * size
    best = {"K*": chosen.T * (0.02 + 1e-3 * (size - 0.8) ** 2)} if chosen.data in MADE else {}
    return {"schedule": 0.5, "training": 3e-3 * size * chosen.steps, "K": 2.5e-4 * held_out,
            **best, "samples": 0.5 * size * chosen.T / 40, "figure": 2.0}


def fit(run: common.Run, model: Any, x0: Array, rng: np.random.Generator,
        jacobian: float) -> common.History:
    """Train with the defaults, in float32; the model is saved when that ends."""
    steps, state = run.chosen.steps, training.start(model, rng=rng, dtype=np.float32)
    with run.fitting(model, state, rng) as history:
        training.train(model, x0, state, rng=rng, steps=steps - state.step,
                       callback=lambda state, K: history(state.step, to_bits(K) + jacobian),
                       every=max(1, steps // 100))
    return history


def ideal(
    run: common.Run, model: Any, scaling: training.Scaling | None, rng: np.random.Generator
) -> dict[str, float]:
    """K* and the limit, in the data's own units, where the distribution is known."""
    run.stage("K*")
    law, jacobian = known(run.chosen.data), 0.0
    atoms, var = law.atoms, law.var
    if scaling is not None:  # one scale for all components, or the Gaussians would not be round
        atoms, var = scaling.to_model(atoms), law.var / float(scaling.std[0]) ** 2
        jacobian = scaling.log_jacobian
    n_samples = 16 if run.chosen.quick else 256
    finite = exact.FiniteData(model.diffusion, atoms, var=var)
    bound = exact.ideal_bound(finite, rng=rng, n_samples=n_samples)
    return {"ideal_K_bits": float(to_bits(bound.value + jacobian)),
            "ideal_K_stderr_bits": float(to_bits(bound.stderr)),
            "limit_bits": float(to_bits(-law.entropy))}


def standardised(x0: Array, is_known: bool) -> training.Scaling:
    """The package's scaling; one for all components where the distribution is known."""
    scaling = training.Scaling.of(x0)
    if not is_known:
        return scaling
    return scaling._replace(std=np.full_like(scaling.std, np.sqrt((scaling.std**2).mean())))


def reread(run: common.Run, model: Any) -> Any:
    """The kernel of the model that was saved."""
    state, _ = training.load(run.out / "your_data.state.npz", model)
    return model.kernel(state.params)


def draw(
    chosen: argparse.Namespace, samples: Array, history: common.History, numbers: dict[str, Any]
) -> Any:
    """Data and samples, and K during training."""
    limits = {"held out": numbers["K_bits"],
              "prior": numbers["K_bits"] - numbers["K_minus_null_bits"]}
    if "limit_bits" in numbers:
        limits |= {"limit": numbers["limit_bits"], "K*": numbers["ideal_K_bits"]}
    curve = history.steps, history.K_bits
    if not is_binary(chosen.x0):
        return figures.own_points(chosen.x0[:3_000], samples, curve, limits)
    shape = chosen.x0.shape[1:] if chosen.x0.ndim == 3 else (1, chosen.x0.shape[1])
    return figures.own_bits(chosen.x0[:25], samples[:25].reshape(-1, *shape), curve, limits)


def report(numbers: dict[str, Any]) -> list[str]:
    """What is printed at the end."""
    names = ("K", "K_minus_null") + (("ideal_K",) if "limit_bits" in numbers else ())
    K, above, *ideal = (
        common.with_error(numbers[f"{name}_bits"], numbers[f"{name}_stderr_bits"])
        for name in names)
    best = f"; K* = {ideal[0]}; limit {numbers['limit_bits']:.3f}" if ideal else ""
    return [f"K = {K} bits on {numbers['held_out']} held-out vectors; K - L_null = {above}{best}; "
            f"{numbers['seconds']:.0f} s"]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen = options(argv)
    rng = np.random.default_rng(chosen.seed)
    with common.Run("your_data", chosen, plan(chosen)) as run:
        run.stage("schedule")
        x = chosen.x0.reshape(len(chosen.x0), -1)[rng.permutation(len(chosen.x0))]
        held_out, x = np.split(x, [len(x) // 10])
        scaling = None if is_binary(x) else standardised(x, chosen.data in MADE)
        z, z_held_out = (x, held_out) if scaling is None else map(scaling.to_model, (x, held_out))
        model = build(z, chosen.T, rng)
        jacobian = 0.0 if scaling is None else float(to_bits(scaling.log_jacobian))
        history = fit(run, model, z, rng, jacobian)
        run.stage("K")
        kernel = reread(run, model)
        numbers: dict[str, Any]
        numbers = common.evaluate(run, model.diffusion, kernel, z_held_out, rng,
                                  jacobian_bits=jacobian)[0]
        numbers |= ideal(run, model, scaling, rng) if chosen.data in MADE else {}
        run.stage("samples")
        samples = sample_trajectory(model.diffusion, kernel, 3_000, z.shape[1], rng=rng).x0
        samples = samples if scaling is None else scaling.to_data(samples)
        run.stage("figure")
        if scaling is not None:
            numbers |= {"mean": scaling.mean.tolist(), "std": scaling.std.tolist()}
        numbers |= {"log_jacobian_bits": jacobian, "beta1": float(model.diffusion.beta[0]),
                    "T": chosen.T, "steps": chosen.steps, "seed": chosen.seed,
                    "data": chosen.data, "seconds": run.seconds}
        run.finish(draw(chosen, samples, history, numbers), numbers, report(numbers))
    return numbers


if __name__ == "__main__":
    main()

"""How often `particle_filter` calls reliable what is wrong, over models whose Z is known exactly.

    python tests/posteriors/reliability.py                 # 400 models, about 2 minutes
    python tests/posteriors/reliability.py --models 1500 --seed 1    # the rates in the docstring

Half of the models are linear-Gaussian chains of independent components (T 1..24, d 1..6), whose Z
is a closed form, half are chains of 1..4 bits with any table of rates (T 1..9), whose Z is a sum
over states; none of it shares code with the package. Kernels are those of T_pi, of an exact
reversal, random, nearly certain, or lead rarely to some states; r is anything from vague to 100
times narrower than the data, and lies up to many standard deviations off. Each model gets one of
five r(x^t) and 100 or 1000 particles in 8 runs. Printed are the shares of models that are called
reliable, that are wrong by more than 4 standard errors, and both; then two filters that lose most
of Z without a trace in their weights.
"""

import argparse
import warnings
from typing import NamedTuple

import numpy as np

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, schedules
from dpm_ref.posteriors import (
    BernoulliFactor,
    ContradictionWarning,
    GaussianFactor,
    LogFactor,
    constant,
    diffused,
    particle_filter,
    predicted,
    tempered,
)


class Model(NamedTuple):
    diffusion: object
    reverse: object
    factor: object
    d: int
    log_z: float


class Outcome(NamedTuple):
    choice: str
    reliable: bool
    wrong: bool


def gaussian_model(rng):
    T, d = int(rng.integers(1, 25)), int(rng.choice([1, 1, 2, 6]))
    beta = rng.uniform(0.02, 0.6, T)
    kind = rng.choice(["pi", "reversal", "random"])
    center, width = rng.normal(size=d), np.exp(rng.uniform(-4, 0.5, d))
    abar = np.concatenate([[1.0], np.cumprod(1 - beta)])
    A, b, S = np.ones((T + 1, d)), np.zeros((T + 1, d)), np.ones((T + 1, d))
    for t in range(1, T + 1):
        root, rate = np.sqrt(1 - beta[t - 1]), beta[t - 1]
        if kind == "pi" or t == 1:
            A[t], S[t] = root, rate
        elif kind == "reversal":
            mean, var = np.sqrt(abar[t - 1]) * center, abar[t - 1] * width + 1 - abar[t - 1]
            A[t] = root * var / (root**2 * var + rate)
            b[t], S[t] = mean - A[t] * root * mean, var * rate / (root**2 * var + rate)
        else:
            A[t], b[t] = rng.uniform(0.3, 1.1, d), 0.3 * rng.normal(size=d)
            S[t] = np.exp(rng.uniform(-4, 0, d))
    mean, var = np.zeros(d), np.ones(d)
    for t in range(T, 0, -1):
        mean, var = A[t] * mean + b[t], A[t] ** 2 * var + S[t]
    noise = np.exp(rng.uniform(-5, 2, d))
    observed = mean + rng.choice([0.5, 1, 2, 3]) * rng.normal(size=d) * np.sqrt(var)
    log_z = -0.5 * (np.log1p(var / noise) + (mean - observed) ** 2 / (var + noise)).sum()
    return Model(
        GaussianDiffusion(beta),
        lambda x, t: Gaussian(A[t] * x + b[t], S[t]),
        GaussianFactor(observed, noise),
        d,
        log_z,
    )


def binary_model(rng):
    T, d = int(rng.integers(1, 10)), int(rng.integers(1, 5))
    beta, pi, place = rng.uniform(0.05, 0.7, T), rng.uniform(0.1, 0.9, d), 2 ** np.arange(d)
    if rng.random() < 0.2:
        beta[-1] = 1.0
    diffusion = BinomialDiffusion(beta, pi)
    kind = rng.choice(["pi", "random", "certain", "rare"])
    steep = 4.0 if kind == "certain" else 1.0
    rates = 1 / (1 + np.exp(-steep * rng.normal(size=(T + 1, 2**d, d))))
    if kind == "rare" and T >= 2:
        rare = 10 ** rng.uniform(-4, -1, rates[2].shape)
        rates[2] = np.where(rng.random(rates[2].shape) < 0.3, rare, rates[2])

    def reverse(x, t):
        return (
            diffusion.kernel(x, t) if kind == "pi" else Bernoulli(rates[t][(x @ place).astype(int)])
        )

    def probability(prob1):
        return np.prod(np.where(states == 1, prob1[..., None, :], 1 - prob1[..., None, :]), -1)

    states = ((np.arange(2**d)[:, None] // place) % 2).astype(float)
    p = probability(pi)
    for t in range(T, 0, -1):
        stay = states * (1 - beta[t - 1]) + pi * beta[t - 1]
        p = p @ probability(stay if t == 1 or kind == "pi" else rates[t])
    r1, r0 = np.exp(rng.choice([0.5, 2, 6]) * rng.normal(size=(2, d)))
    log_z = np.log(p @ np.prod(np.where(states == 1, r1, r0), 1))
    return Model(diffusion, reverse, BernoulliFactor(r1, r0), d, log_z)


CHOICES = {
    "constant": lambda model: constant(model.factor),
    "tempered": lambda model: tempered(model.factor, model.diffusion.T),
    "diffused": lambda model: diffused(model.factor, model.diffusion),
    "predicted": lambda model: predicted(model.factor, model.diffusion, model.reverse),
    "weights alone": lambda model: (
        lambda t: LogFactor(lambda x: np.zeros(len(x))) if t else model.factor
    ),
}


def outcomes(n_models, seed):
    """One filter for each model."""
    rng = np.random.default_rng(seed)
    for i in range(n_models):
        model = binary_model(rng) if i % 2 else gaussian_model(rng)
        choice = str(rng.choice(list(CHOICES)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ContradictionWarning)
            result = particle_filter(
                model.diffusion,
                model.reverse,
                CHOICES[choice](model),
                int(rng.choice([100, 1000])),
                model.d,
                rng=rng,
            )
        wrong = not abs(result.log_z - model.log_z) <= 4 * result.log_z_stderr + 1e-9
        yield Outcome(choice, result.reliable, wrong)


def lost_bits(rng):
    """Half of Z lies where r(x^T) = 1e-12: log Z = -0.6931."""
    diffusion = BinomialDiffusion([0.5, 1.0])
    r = constant(BernoulliFactor([1.0], [1e-12]))
    return particle_filter(diffusion, diffusion.kernel, r, 1000, 1, rng=rng)


def lost_values(rng):
    """r = N(1; x, .03) at every t, of data N(0, 1): log Z = -2.2535."""
    diffusion = GaussianDiffusion(schedules.constant(30, 0.1))
    r = constant(GaussianFactor([1.0], 0.03))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ContradictionWarning)
        return particle_filter(diffusion, diffusion.kernel, r, 1000, 1, rng=rng)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = list(outcomes(options.models, options.seed))
    print(f"{'r(x^t)':<14} models  reliable  wrong  reliable and wrong  reliable of those right")
    for choice in [*CHOICES, "all"]:
        rows = np.array([o[1:] for o in found if choice in ("all", o.choice)], dtype=bool)
        if not len(rows):
            continue
        reliable, wrong = rows.T
        right = reliable[~wrong].mean() if not wrong.all() else np.nan
        print(
            f"{choice:<14} {len(rows):6d}  {reliable.mean():7.1%}  {wrong.mean():5.1%}  "
            f"{(reliable & wrong).mean():17.2%}  {right:22.1%}"
        )
    lost = ("r = 1e-12", lost_bits, -0.6931), ("narrow r", lost_values, -2.2535)
    for name, case, truth in lost:
        runs = [case(np.random.default_rng([options.seed, i])) for i in range(20)]
        print(
            f"{name}: log Z = {runs[0].log_z:.4f} +- {runs[0].log_z_stderr:.4f}, right {truth}; "
            f"called reliable in {sum(run.reliable for run in runs)} of {len(runs)} filters"
        )


if __name__ == "__main__":
    main()

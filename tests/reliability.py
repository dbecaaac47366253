"""Print how often `likelihood.Likelihood.reliable` is True, and how often it is then wrong.

    python tests/reliability.py [--runs N] [--seed N]

At T = 1 with beta = b and the edge p(x^0|x^1) for which the posterior of x^1 is N(0, b / (1 - k)),
the weights at x^0 = 0 are proportional to exp(k z^2 / 2), z ~ N(0, I_d): their Pareto shape is k,
and their mean is known. For each k, d and n the table shows, in percent of the runs, those that are
reliable, and those that are reliable with a value more than 4 standard errors off. Then the same at
n = 100 and d = 1 for rules that no code can use, since they know that the weights are
exp(k z^2 / 2): they ask that the most likely k is below a limit. Last the case that nothing can
see: one trajectory in 1000 carries two thirds of p(x^0).
"""

import argparse
import math

import numpy as np

from dpm_ref import BinomialDiffusion
from dpm_ref.likelihood import from_log_weights, log_likelihood

SHAPES = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SIZES = (25, 100, 200, 300, 1000, 3000, 10_000)


def rates(shape, d, n, runs, rng):
    """Shares of runs that are reliable, and that are reliable and off by more than 4 errors."""
    got = from_log_weights(0.5 * shape * rng.chisquare(d, (n, runs)))
    off = np.abs(got.value + 0.5 * d * math.log1p(-shape)) > 4 * got.stderr
    return got.reliable.mean(), (got.reliable & off).mean()


def informed_rates(shape, limit, n, runs, rng):
    """As `rates` at d = 1, for the rule that knows the family and fits k by greatest likelihood."""
    log_w = 0.5 * shape * rng.standard_normal((n, runs)) ** 2
    w = np.exp(log_w)
    mean, believed = w.mean(0), 2 * log_w.mean(0) < limit
    error = np.log(mean) + 0.5 * math.log1p(-shape)
    off = np.abs(error) > 4 * w.std(0, ddof=1) / mean / math.sqrt(n)
    return believed.mean(), (believed & off).mean()


def hidden_rates(n, runs, rng):
    """As `rates`, for the binomial model that hides its mass; and the share that met none of it."""
    diffusion = BinomialDiffusion([0.002])

    def edge(x1):
        return diffusion.law(np.where(x1 == 1, 0.0, 0.5))

    got = log_likelihood(
        diffusion, diffusion.kernel, np.zeros((runs, 1)), n_samples=n, rng=rng, edge=edge
    )
    log_p = math.log(0.999 * 0.5 * 0.5 / 0.999 + 0.5)
    met, off = got.stderr > 0, np.abs(got.value - log_p) > 4 * got.stderr
    return got.reliable.mean(), (got.reliable & off).mean(), (met & got.reliable & off).mean()


def main():
    parser = argparse.ArgumentParser(description="Measure the rates of `reliable`.")
    parser.add_argument("--runs", type=int, default=2_000_000, help="samples of a cell")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("percent of runs that are reliable / reliable and more than 4 standard errors off")
    print("    n  d runs  " + "".join(f"{shape:>10}" for shape in SHAPES))
    for n in SIZES:
        runs = max(1000, options.runs // max(n, 100))
        for d in (1, 10):
            cells = []
            for shape in SHAPES:
                rng = np.random.default_rng([options.seed, n, d, round(100 * shape)])
                good, bad = rates(shape, d, n, runs, rng)
                cells.append(f"{100 * good:5.1f}/{100 * bad:<4.1f}")
            print(f"{n:5} {d:2} {runs:5} " + "".join(cells), flush=True)
    print("rules that know the family and its k up to chance, n = 100, d = 1")
    for limit in (0.3, 0.315, 0.33):
        cells = []
        for shape in SHAPES:
            rng = np.random.default_rng([options.seed, round(1000 * limit), round(100 * shape)])
            good, bad = informed_rates(shape, limit, 100, options.runs // 4, rng)
            cells.append(f"{100 * good:5.1f}/{100 * bad:<4.1f}")
        print(f"k < {limit:<5}  " + "".join(cells), flush=True)
    print("the binomial model that hides its mass, and the last number without runs that met none")
    for n in (100, 500, 3000, 20_000):
        rng = np.random.default_rng([options.seed, n])
        print(f"{n:5}: " + " / ".join(f"{100 * r:.1f}" for r in hidden_rates(n, 1000, rng)))


if __name__ == "__main__":
    main()

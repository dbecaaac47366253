"""log p(x^0) on a cluster, by importance sampling, of the swiss roll's ideal reverse kernel.

    python examples/likelihood_on_a_cluster.py                     workers on this machine
    python examples/likelihood_on_a_cluster.py --address tcp://scheduler:8786
                                                   those of a dask.distributed scheduler

The cluster is used through the interface of Python's own executors, `Client.get_executor()`;
mpi4py's `MPIPoolExecutor` or a `ProcessPoolExecutor` goes in the same place, and the numbers are
the same to the bit. Install it with pip install '.[cluster]'; without it the work is done here.
dpm_ref must be installed where the workers are.

The reverse kernel is the best that a network could be, the moment match of the true reversal
(`dpm_ref.exact.FiniteData`), so on average log p(x^0) of the model lies below log q(x^0) of the
data only by the price of T = 40 steps and of independent components. K(x^0) lies below log p(x^0)
everywhere. In bits per data vector, over the data drawn.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import common
import figures
import numpy as np

from dpm_ref import GaussianDiffusion, bounds, data, schedules
from dpm_ref.bounds import to_bits
from dpm_ref.exact import FiniteData
from dpm_ref.likelihood import Likelihood, log_likelihood
from dpm_ref.validation import Array

T, NOISE = 40, 0.5
ATOMS = 300  # closer than the noise is wide: the mixture is then the roll to ten digits
GROUP = 6  # data vectors in one call


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__, resume=False)
    add = parser.add_argument
    add("--address", help="a dask scheduler, as tcp://host:port (default: workers here)")
    add("--workers", type=int, default=2, help="workers here, without an address (default 2)")
    add("--points", type=int, default=24, help="data vectors (default 24)")
    add("--samples", type=int, default=1024, help="trajectories of each (default 1024)")
    chosen = parser.parse_args(argv)
    if min(chosen.workers, chosen.points) < 1 or chosen.samples < 2 or chosen.seed < 0:
        parser.error(f"--workers and --points must be at least 1, --samples 2 and --seed 0, got "
                     f"{chosen.workers}, {chosen.points}, {chosen.samples} and {chosen.seed}")
    if chosen.quick:
        chosen.points, chosen.samples = min(chosen.points, 6), min(chosen.samples, 128)
    return chosen


def plan(chosen: argparse.Namespace) -> dict[str, float]:
    """The stages, and the seconds that each takes on some machine."""
    weights = 4e-4 * chosen.points * chosen.samples
    return {"cluster": 2.0, "log p": weights, "K": 0.5 * weights, "figure": 1.5}


@contextmanager
def cluster(chosen: argparse.Namespace) -> Iterator[tuple[Executor | None, str]]:
    """An executor and what to call it; none, and the reason on the terminal, without dask."""
    try:
        distributed: Any = import_module("distributed")  # which need not be there
    except ImportError:
        print("dask.distributed is not installed (pip install '.[cluster]'): the work is done "
              "here, in one process", file=sys.stderr)
        yield None, "one process"
        return
    if chosen.address:
        with distributed.Client(chosen.address) as client:
            yield client.get_executor(), f"the cluster at {chosen.address}"
        return
    local = distributed.LocalCluster(n_workers=chosen.workers, threads_per_worker=1,
                                     dashboard_address=None)
    with local, distributed.Client(local) as client:
        yield client.get_executor(), f"{chosen.workers} workers on this machine"


def estimate(run: common.Run, model: FiniteData, x0: Array,
             executor: Executor | None) -> Likelihood:
    """Some data vectors at a time, so that there is progress to show."""
    run.stage("log p")
    chosen, found = run.chosen, []
    rng = np.random.default_rng(chosen.seed + 1)
    for start in range(0, len(x0), GROUP):
        found.append(log_likelihood(model.diffusion, model.reverse, x0[start:start + GROUP],
                                    n_samples=chosen.samples, rng=rng, executor=executor))
        run.step(min(start + GROUP, len(x0)) / len(x0))
    return Likelihood(*(np.concatenate(column) for column in zip(*found, strict=True)))


def same_bits(model: FiniteData, x0: Array, seed: int, executor: Executor | None) -> bool:
    """Whether the executor's numbers are those of this process."""
    few = [log_likelihood(model.diffusion, model.reverse, x0[:2], n_samples=64,
                          rng=np.random.default_rng(seed), executor=each)
           for each in (None, executor)]
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*few, strict=True))


def numbers_of(model: FiniteData, x0: Array, got: Likelihood, K: Array) -> dict[str, Any]:
    """Averages over the data drawn, in bits."""
    null = bounds.null_log_likelihood(model.diffusion, x0)
    K_bits, n = to_bits(K), len(x0)
    return {
        "log_p_bits": float(to_bits(got.value.mean())),
        "log_p_stderr_bits": float(to_bits(np.sqrt((got.stderr**2).sum())) / n),
        "log_q_bits": float(to_bits(model.log_prob(x0, 0).mean())), "K_bits": float(K_bits.mean()),
        "K_stderr_bits": float(K_bits.std(ddof=1) / np.sqrt(n)) if n > 1 else None,
        "K_minus_null_bits": float(to_bits((K - null).mean())),
        "ideal_K_bits": float(K_bits.mean()),  # the kernel is the ideal one
        "limit_bits": float(to_bits(-data.swiss_roll_entropy(NOISE))),
        "reliable": int(got.reliable.sum()), "smallest_ess": float(got.ess.min()), "points": n,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen = options(argv)
    rng = np.random.default_rng(chosen.seed)
    atoms, var = data.swiss_roll_atoms(ATOMS, noise=NOISE)
    diffusion = GaussianDiffusion(schedules.log_snr_linear(T, beta1=var / 20, abar_T=0.01))
    model = FiniteData(diffusion, atoms, var=var)
    x0 = model.sample(chosen.points, rng=rng)
    with common.Run("likelihood_on_a_cluster", chosen, plan(chosen)) as run:
        run.stage("cluster")
        with cluster(chosen) as (executor, where):
            got = estimate(run, model, x0, executor)
            same = same_bits(model, x0, chosen.seed, executor)
        run.stage("K")
        n_samples = 16 if chosen.quick else 512
        bound = bounds.lower_bound(diffusion, model.reverse, x0, rng=rng, n_samples=n_samples)
        numbers = numbers_of(model, x0, got, bound.value)
        run.stage("figure")
        figure = figures.likelihoods(
            to_bits(model.log_prob(x0, 0)), [to_bits(got.value), to_bits(got.stderr)],
            [to_bits(bound.value), to_bits(bound.stderr)], got.reliable,
            f"swiss roll, ideal reverse kernel, T = {T}; {where}")
        numbers |= {"same_bits_as_here": same, "where": where, "samples": chosen.samples, "T": T,
                    "seed": chosen.seed, "seconds": run.seconds}
        run.finish(figure, numbers, [
            f"log p = {numbers['log_p_bits']:.3f} +- {numbers['log_p_stderr_bits']:.3f} bits, "
            f"K = {numbers['K_bits']:.3f}, log q = {numbers['log_q_bits']:.3f}; "
            f"{numbers['reliable']} of {chosen.points} reliable; the same bits as here: {same}; "
            f"{numbers['seconds']:.0f} s on {where}"])
    return numbers


if __name__ == "__main__":
    main()

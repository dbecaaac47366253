"""log p(x^0) on a cluster: the swiss roll's ideal reverse kernel, an importance-sampling estimate for each data vector.

    python examples/likelihood_on_a_cluster.py                                  workers on this machine
    python examples/likelihood_on_a_cluster.py --address tcp://scheduler:8786   those of a dask.distributed scheduler

The cluster is used through the interface that Python's own executors have, `Client.get_executor()`; mpi4py's `MPIPoolExecutor` or a
`ProcessPoolExecutor` goes in the same place, and the numbers are the same to the bit. Install it with pip install '.[cluster]'; without
it the work is done here. dpm_ref must be installed where the workers are.

The reverse kernel is the best that a network could be, the moment match of the true reversal (`dpm_ref.exact.FiniteData`), so on
average log p(x^0) of the model lies below log q(x^0) of the data by the price of T = 40 steps and of independent components only.
K(x^0) lies below log p(x^0) everywhere. In bits per data vector, over the data drawn.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import common
import numpy as np
from matplotlib.figure import Figure

from dpm_ref import GaussianDiffusion, bounds, data, schedules
from dpm_ref.bounds import to_bits
from dpm_ref.exact import FiniteData
from dpm_ref.likelihood import Likelihood, log_likelihood
from dpm_ref.validation import Array

T, NOISE, ATOMS = 40, 0.5, 300  # atoms no further apart than the noise is wide: the mixture is then the roll to ten digits
GROUP = 6  # data vectors in one call


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--address", help="a dask.distributed scheduler, as tcp://host:port (default: workers on this machine)")
    parser.add_argument("--workers", type=int, default=2, help="workers on this machine, where no address is given (default 2)")
    parser.add_argument("--points", type=int, default=24, help="data vectors (default 24)")
    parser.add_argument("--samples", type=int, default=1024, help="trajectories of each (default 1024)")
    chosen = parser.parse_args(argv)
    if min(chosen.workers, chosen.points) < 1 or chosen.samples < 2 or chosen.seed < 0:
        parser.error(f"--workers and --points must be at least 1, --samples 2 and --seed 0, got {chosen.workers}, {chosen.points}, "
                     f"{chosen.samples} and {chosen.seed}")
    if chosen.quick:
        chosen.points, chosen.samples = min(chosen.points, 6), min(chosen.samples, 256)
    return chosen


@contextmanager
def cluster(chosen: argparse.Namespace) -> Iterator[tuple[Executor | None, str]]:
    """An executor and what to call it; none, and the reason on the terminal, where dask is absent."""
    try:
        distributed: Any = import_module("distributed")  # which need not be there
    except ImportError:
        print("dask.distributed is not installed (pip install '.[cluster]'): the work is done here, in one process", file=sys.stderr)
        yield None, "one process"
        return
    if chosen.address:
        with distributed.Client(chosen.address) as client:
            yield client.get_executor(), f"the cluster at {chosen.address}"
        return
    local = distributed.LocalCluster(n_workers=chosen.workers, threads_per_worker=1, dashboard_address=None)
    with local, distributed.Client(local) as client:
        yield client.get_executor(), f"{chosen.workers} workers on this machine"


def estimate(model: FiniteData, x0: Array, chosen: argparse.Namespace, executor: Executor | None) -> Likelihood:
    """Some data vectors at a time, so that there is progress to show."""
    rng, began, found = np.random.default_rng(chosen.seed + 1), time.monotonic(), []
    for start in range(0, len(x0), GROUP):
        found.append(log_likelihood(model.diffusion, model.reverse, x0[start:start + GROUP], n_samples=chosen.samples, rng=rng,
                                    executor=executor))
        done, values = min(start + GROUP, len(x0)), np.concatenate([each.value for each in found])
        left = (time.monotonic() - began) * (len(x0) - done) / done
        print(f"data vector {done:>4}/{len(x0)}  log p {to_bits(values.mean()):8.3f} bits  {left:4.0f} s left", file=sys.stderr, flush=True)
    return Likelihood(*(np.concatenate(column) for column in zip(*found, strict=True)))


def draw(truth: Array, got: Likelihood, bound: bounds.LowerBound, where: str) -> Figure:
    """Each data vector's K and log p, in the order of its log q."""
    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    axes, order = figure.subplots(), np.argsort(truth)
    place = np.arange(1, len(truth) + 1)
    axes.plot(place, to_bits(truth[order]), "_", markersize=12, color="black", label="$\\log q(x^0)$ of the data, exact")
    axes.errorbar(place, to_bits(got.value[order]), to_bits(got.stderr[order]), fmt="o", markersize=4, color="#a83232",
                  label="$\\log p(x^0)$ of the model, by importance sampling")
    axes.errorbar(place, to_bits(bound.value[order]), to_bits(bound.stderr[order]), fmt="v", markersize=4, color="#1f4e79",
                  label="$K(x^0)$, its lower bound, by sampling too")
    doubtful = order[~got.reliable[order]]
    if doubtful.size:
        axes.plot(place[~got.reliable[order]], to_bits(got.value[doubtful]), "o", markersize=10, fillstyle="none", color="#a83232",
                  label="not reliable: heavy-tailed weights")
    axes.set_xlabel("data vector")
    axes.set_ylabel("bits")
    axes.set_title(f"swiss roll, ideal reverse kernel, T = {T}; {where}", fontsize=11)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the example; the numbers it writes are returned too."""
    chosen, began = options(argv), time.monotonic()
    rng, atoms = np.random.default_rng(chosen.seed), data.swiss_roll_atoms(ATOMS, noise=NOISE)
    diffusion = GaussianDiffusion(schedules.log_snr_linear(T, beta1=atoms.spread / 20, abar_T=0.01))
    model = FiniteData(diffusion, atoms.atoms, spread=atoms.spread)
    x0 = model.sample(chosen.points, rng=rng)
    with cluster(chosen) as (executor, where):
        print(f"{chosen.points} data vectors, {chosen.samples} trajectories each, on {where}", file=sys.stderr)
        got = estimate(model, x0, chosen, executor)
        few = [log_likelihood(diffusion, model.reverse, x0[:2], n_samples=16, rng=np.random.default_rng(chosen.seed), executor=each)
               for each in (None, executor)]
    bound = bounds.lower_bound(diffusion, model.reverse, x0, rng=rng, n_samples=64 if chosen.quick else 512)
    K = bound.value
    truth, root = model.log_prob(x0, 0), np.sqrt(len(x0))
    above_null = K - bounds.null_log_likelihood(diffusion, x0)
    numbers = {
        "log_p_bits": float(to_bits(got.value.mean())), "log_p_stderr_bits": float(to_bits(np.sqrt((got.stderr**2).sum())) / len(x0)),
        "log_q_bits": float(to_bits(truth.mean())), "K_bits": float(to_bits(K.mean())),
        "K_stderr_bits": float(to_bits(K.std(ddof=1) / root)) if len(x0) > 1 else None,
        "K_minus_null_bits": float(to_bits(above_null.mean())), "ideal_K_bits": float(to_bits(K.mean())),
        "limit_bits": float(to_bits(-data.swiss_roll_entropy(NOISE))), "reliable": int(got.reliable.sum()),
        "smallest_ess": float(got.ess.min()), "same_bits_as_here": all(np.array_equal(a, b) for a, b in zip(*few, strict=True)),
        "where": where, "points": chosen.points, "samples": chosen.samples, "T": T, "seed": chosen.seed,
        "seconds": time.monotonic() - began,
    }
    print(f"log p = {numbers['log_p_bits']:.3f} +- {numbers['log_p_stderr_bits']:.3f} bits, K = {numbers['K_bits']:.3f}, "
          f"log q = {numbers['log_q_bits']:.3f}; {numbers['reliable']} of {chosen.points} reliable; the same bits as here: "
          f"{numbers['same_bits_as_here']}; {numbers['seconds']:.0f} s on {where}")
    common.write(chosen.out, "likelihood_on_a_cluster", draw(truth, got, bound, where), numbers)
    return numbers


if __name__ == "__main__":
    main()

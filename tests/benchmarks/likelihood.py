"""Time log p(x^0) by importance sampling against the same loop in PyTorch eager, and measure the
memory of a large run.

    python tests/benchmarks/likelihood.py [--threads N] [--rounds N] [--samples N] [--T N]
        [--width N] [--memory-samples N] [--seed N]

    --threads N         threads for every contestant (default 1)
    --rounds N          rounds; each times every contestant once, in an order that turns (default 7)
    --samples N         trajectories of each of 4 data vectors in one round (default 32768)
    --T N               time steps (default 40)
    --width N           units in each of the four hidden layers (default 64)
    --memory-samples N  trajectories of each of 10 data vectors in the memory run; 0 leaves it out
                        (default 1000000)
    --seed N            of the parameters, the data and the noise (default 0)

The model is the swiss roll's: d = 2, a network of 4 x 64 tanh units told of time, a readout of its
own for each t, in float32 and in float64. PyTorch comes in three forms, all without gradients, with
fused `addmm`, and with everything in the parameters' dtype (the states and log densities of dpm_ref
are float64 always): written for speed, with log densities as formulas and the rows of a block
chosen as what is fastest; the same with all samples in one block; and with its laws as laws,
`torch.distributions.Normal`, as dpm_ref has them, in the fastest block. Before anything is timed,
the log weights are held against `log_weights` on the same trajectories.

What is compared is the processor time of this process, which other work on the machine disturbs
less than the clock.

The last line is one JSON object: for `float32` and `float64` the throughput in samples times steps
per second, and `vs_torch_eager`, `vs_torch_all_at_once` and `vs_torch_distributions`, the medians
over rounds of theirs / ours; `memory_MB`, what the process grew by in the memory run, and
`memory_seconds`.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path


def options():
    parser = argparse.ArgumentParser(
        description="Time log p(x^0).", epilog="See the module's docstring."
    )
    defaults = {
        "threads": 1,
        "rounds": 7,
        "samples": 32768,
        "T": 40,
        "width": 64,
        "memory-samples": 1_000_000,
        "seed": 0,
    }
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--memory-run", action="store_true", help=argparse.SUPPRESS
    )  # a process of its own, for a peak of its own
    return parser.parse_args()


OPTIONS = options()
for variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
):
    os.environ[variable] = str(OPTIONS.threads)  # before the first import of numpy
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402

from dpm_ref import GaussianDiffusion, likelihood, schedules  # noqa: E402
from dpm_ref.reverse import GaussianReverse  # noqa: E402

D, DEPTH, N_DATA = 2, 4, 4
BLOCKS = (1024, 2048, 4096, 8192, 16384)
TOLERANCE = {"float32": 1e-2, "float64": 1e-9}  # of log w, a sum of 160 terms that reach 10


class Problem:
    """What the contestants share: the diffusion, the network with its parameters in one dtype, and
    the data.
    """

    def __init__(self, dtype):
        rng = np.random.default_rng(OPTIONS.seed)
        self.dtype, self.T = np.dtype(dtype), OPTIONS.T
        self.diffusion = GaussianDiffusion(
            schedules.log_snr_linear(self.T, beta1=1e-4, abar_T=0.05)
        )
        self.model = GaussianReverse(self.diffusion, D, hidden=(OPTIONS.width,) * DEPTH)
        params = self.model.network.init(rng=rng)
        self.params = (params + 0.01 * rng.standard_normal(params.size)).astype(
            dtype
        )  # so that the readout is not zero
        self.kernel = self.model.kernel(self.params)
        self.x0 = rng.standard_normal((N_DATA, D))


class Ours:
    """`log_likelihood`, as a user calls it."""

    def __init__(self, problem):
        self.problem = problem

    def run(self, n_samples, seed):
        p = self.problem
        return likelihood.log_likelihood(
            p.diffusion, p.kernel, p.x0, n_samples=n_samples, rng=np.random.default_rng(seed)
        ).value


class Torch:
    """The same loop in PyTorch eager; `block` trajectories at a time."""

    def __init__(self, problem, block):
        import torch

        torch.set_num_threads(OPTIONS.threads)
        self.torch, self.problem, self.block, diffusion, T = (
            torch,
            problem,
            block,
            problem.diffusion,
            problem.T,
        )
        self.dtype = getattr(torch, problem.dtype.name)
        self.p = {
            name: torch.from_numpy(value.copy())
            for name, value in problem.model.network.unpack(problem.params).items()
        }
        network = problem.model.network
        features, basis = (
            torch.from_numpy(table.astype(problem.dtype))
            for table in (network.time_features, network.basis)
        )
        told = features.shape[1]  # the first rows of W1 are for the features of time
        self.first = self.p["b1"] + features @ self.p["W1"][:told]
        self.p["W1"] = self.p["W1"][told:]
        for name in ("R", "c"):
            self.p[name] = torch.tensordot(basis, self.p[name], 1)
        t, beta = np.arange(2, T + 1), diffusion.beta
        self.keep, self.root, self.rate, self.log_rate = (
            np.sqrt(1 - beta),
            np.sqrt(beta),
            beta,
            np.log(beta),
        )
        self.of_F = diffusion.posterior_coefficients(t)[0] * diffusion.sqrt_one_minus_abar(t)
        self.kappa = beta[t - 1] * diffusion.abar(t - 1) / diffusion.one_minus_abar(t - 1)
        self.var = diffusion.posterior_var(t)

    def network(self, x, t):
        torch, p = self.torch, self.p
        h = torch.tanh(torch.addmm(self.first[t - 2], x, p["W1"]))
        for k in range(2, DEPTH + 1):
            h = torch.tanh(torch.addmm(p[f"b{k}"], h, p[f"W{k}"]))
        return torch.addmm(p["c"][t - 2], h, p["R"][t - 2])

    def reverse(self, xt, t):
        """Mean and variance of p(x^{t-1} | x^t)."""
        out, i = self.network(xt, t), t - 2
        return self.keep[t - 1] * xt + self.of_F[i] * out[:, :D], self.var[i] * (
            1 + self.kappa[i] * self.torch.exp(out[:, D:])
        )

    def log_weights(self, x0, states):
        """log w along x^1..x^T, which `states` yields."""
        torch, before = self.torch, next(states)
        total = 0.5 * (before.square() - x0.square()).sum(-1)
        for t, after in enumerate(states, start=2):
            mean, var = self.reverse(after, t)
            error, residual = before - mean, after - self.keep[t - 1] * before
            total = total + 0.5 * (
                self.log_rate[t - 1]
                - torch.log(var)
                - error.square() / var
                + residual.square() / self.rate[t - 1]
            ).sum(-1)
            before = after
        return total - 0.5 * before.square().sum(-1) - 0.5 * D * np.log(2 * np.pi)

    def trajectory(self, x0):
        x = x0
        for keep, root in zip(self.keep, self.root, strict=True):
            x = keep * x + root * self.torch.randn(x.shape, dtype=self.dtype)
            yield x

    def run(self, n_samples, seed):
        torch = self.torch
        torch.manual_seed(seed)
        with torch.inference_mode():
            x0 = torch.from_numpy(self.problem.x0.astype(self.problem.dtype)).repeat_interleave(
                n_samples, 0
            )
            parts = [
                self.log_weights(block, self.trajectory(block)) for block in x0.split(self.block)
            ]
            return (
                torch.logsumexp(torch.cat(parts).reshape(N_DATA, -1).double(), 1)
                - np.log(n_samples)
            ).numpy()

    def verify(self):
        """The largest deviation of log w from ours on the same trajectories."""
        torch, p, rng = self.torch, self.problem, np.random.default_rng(OPTIONS.seed + 1)
        states = [np.repeat(p.x0, 25, axis=0)]
        for t in range(1, p.T + 1):
            states.append(p.diffusion.kernel(states[-1], t).sample(rng=rng))
        with torch.inference_mode():
            tensors = [torch.from_numpy(state).to(self.dtype) for state in states]
            got = self.log_weights(tensors[0], iter(tensors[1:])).double().numpy()
        return float(
            np.abs(got - likelihood.log_weights(p.diffusion, p.kernel, np.stack(states))).max()
        )


class TorchDistributions(Torch):
    """The same loop with `torch.distributions.Normal`."""

    def normal(self, mean, std):
        return self.torch.distributions.Normal(mean, std)

    def log_weights(self, x0, states):
        torch, before, prior = (
            self.torch,
            next(states),
            self.normal(*self.torch.tensor([0.0, 1.0], dtype=self.dtype)),
        )
        total = (prior.log_prob(x0) - prior.log_prob(before)).sum(-1)
        for t, after in enumerate(states, start=2):
            mean, var = self.reverse(after, t)
            forward = self.normal(
                self.keep[t - 1] * before, torch.tensor(self.root[t - 1], dtype=self.dtype)
            )
            total = total + (
                self.normal(mean, var.sqrt()).log_prob(before) - forward.log_prob(after)
            ).sum(-1)
            before = after
        return total + prior.log_prob(before).sum(-1)

    def trajectory(self, x0):
        x = x0
        for keep, root in zip(self.keep, self.root, strict=True):
            x = self.normal(keep * x, self.torch.tensor(root, dtype=self.dtype)).sample()
            yield x


def assemble(problem):
    """Ours, and PyTorch in its three forms."""
    standing = {"ours": Ours(problem)}
    try:
        eager = {block: Torch(problem, block) for block in BLOCKS}
        gap = max(eager[BLOCKS[0]].verify(), TorchDistributions(problem, BLOCKS[0]).verify())
    except ImportError as error:
        print(f"torch: {error}", file=sys.stderr)
        return standing
    print(f"  log w of PyTorch deviates by {gap:.1e} nats")
    if not gap < TOLERANCE[problem.dtype.name]:
        print("torch: it computes something else", file=sys.stderr)
        return standing
    seconds = {block: min(clock(eager[block]) for _ in range(3)) for block in BLOCKS}
    best = min(seconds, key=seconds.get)
    print(
        "  PyTorch, ms by rows in a block: "
        + ", ".join(f"{block}: {1e3 * s:.0f}" for block, s in seconds.items()),
        flush=True,
    )
    return standing | {
        "torch_eager": eager[best],
        "torch_all_at_once": Torch(problem, N_DATA * OPTIONS.samples),
        "torch_distributions": TorchDistributions(problem, best),
    }


def clock(contestant, seed=0):
    began = time.process_time()
    contestant.run(OPTIONS.samples, seed)
    return time.process_time() - began


def race(standing):
    """Seconds of processor time, by contestant, one entry for each round; the order turns."""
    names, seconds = list(standing), {name: [] for name in standing}
    for r in range(OPTIONS.rounds):
        for name in names[r % len(names) :] + names[: r % len(names)]:
            seconds[name].append(clock(standing[name], r))
    return seconds


def memory_run():
    """What the process grows by, in MB, and the seconds it takes; the network is warm by then."""
    problem = Problem("float32")
    x0 = np.random.default_rng(OPTIONS.seed).standard_normal((10, D))
    Ours(problem).run(10, 0)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    estimate = likelihood.log_likelihood(
        problem.diffusion,
        problem.kernel,
        x0,
        n_samples=OPTIONS.memory_samples,
        rng=np.random.default_rng(OPTIONS.seed),
    )
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    unit = 1 if sys.platform == "darwin" else 1024
    print(
        json.dumps(
            {
                "memory_MB": grown * unit / 1e6,
                "memory_seconds": time.perf_counter() - began,
                "largest_stderr_nats": float(estimate.stderr.max()),
            }
        )
    )


def main():
    if OPTIONS.memory_run:
        memory_run()
        return
    result = {}
    for dtype in ("float32", "float64"):
        size = f"{N_DATA} vectors, {OPTIONS.samples} samples, T {OPTIONS.T}, "
        size += f"{DEPTH} x {OPTIONS.width}, threads {OPTIONS.threads}"
        print(f"{dtype}: {size}", flush=True)
        seconds = race(assemble(Problem(dtype)))
        ours, work = seconds.pop("ours"), N_DATA * OPTIONS.samples * OPTIONS.T
        result[dtype] = {"samples_steps_per_second": work / statistics.median(ours)}
        for name, theirs in seconds.items():
            result[dtype][f"vs_{name}"] = statistics.median(
                a / b for a, b in zip(theirs, ours, strict=True)
            )
        print(
            "  " + ", ".join(f"{key} {value:.4g}" for key, value in result[dtype].items()),
            flush=True,
        )
    if OPTIONS.memory_samples:
        run = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--memory-run"],
            check=True,
            capture_output=True,
            text=True,
        )
        result |= json.loads(run.stdout)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

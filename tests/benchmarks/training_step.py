"""Time one training step of dpm_ref against PyTorch eager, torch.compile, JAX jit, and a floor.

    python tests/benchmarks/training_step.py [--threads N] [--rounds N] [--steps N] [--batch N]
                                             [--T N] [--width N] [--depth N] [--seed N]

    --threads N  threads for every contestant, and cores to run on where the system can say (1)
    --rounds N   rounds; each times every contestant once, in an order that turns (60)
    --steps N    training steps a contestant takes in one round (20)
    --batch N    states per time step, in antithetic pairs (32)
    --T N        time steps of the diffusion (40)
    --width N    units in each hidden layer (64)
    --depth N    hidden layers (3)
    --seed N     of the parameters, the data and the noise (0)

One step is: draw a minibatch and its noise for every t in 2..T, the states x^t, a tanh network with
a readout of its own for each t, the divergences of equation (14), their gradient, Adam. All
contestants draw with NumPy's generator, compute the same formulas, and are given the form their
makers recommend: PyTorch its fused Adam, JAX one jitted step with donated buffers. The floor is the
bare matrix products, forward and backward with the readouts but without the derivative by x, and
the tanhs, in NumPy with preallocated results.

Before anything is timed, every contestant's loss, gradient and parameters after five steps are
compared with those of dpm_ref, and the largest relative deviation is printed. A contestant that is
missing, fails or deviates is reported as null, the reason on stderr.

The last line is one JSON object: for `float32` and `float64` the medians over rounds of the paired
ratios `vs_torch_eager`, `vs_torch_compile`, `vs_jax` (theirs / ours) and `vs_floor` (ours / floor).
"""

import argparse
import json
import os
import statistics
import sys
import time
import traceback
import warnings
from pathlib import Path


def options():
    parser = argparse.ArgumentParser(
        description="Time one training step.", epilog="See the module's docstring."
    )
    for name, default in {
        "threads": 1,
        "rounds": 60,
        "steps": 20,
        "batch": 32,
        "T": 40,
        "width": 64,
        "depth": 3,
        "seed": 0,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


OPTIONS = options()
for variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NPROC",
    "PJRT_NPROC",
):
    os.environ[variable] = str(OPTIONS.threads)  # before the first import of numpy; NPROC is XLA's
os.environ["XLA_FLAGS"] = (
    f"--xla_cpu_multi_thread_eigen={'true' if OPTIONS.threads > 1 else 'false'}"
)
os.environ["JAX_PLATFORMS"] = "cpu"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: OPTIONS.threads])
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402

from dpm_ref import GaussianDiffusion, schedules, training  # noqa: E402
from dpm_ref.reverse import GaussianReverse  # noqa: E402

D, RATE, N_DATA = 2, 1e-3, 4096
CHECKED_STEPS = 5
TOLERANCE = {
    "float32": 1e-3,
    "float64": 1e-9,
}  # of loss and gradient; after five steps of Adam, a hundred times that


class Problem:
    """What the contestants share: the data, the parameters to start from, and the tables of the
    diffusion, in one dtype.
    """

    def __init__(self, dtype):
        self.dtype, self.T, self.batch = np.dtype(dtype), OPTIONS.T, OPTIONS.batch
        self.diffusion = GaussianDiffusion(
            schedules.log_snr_linear(self.T, beta1=1e-5, abar_T=1e-3)
        )
        self.model = GaussianReverse(
            self.diffusion,
            D,
            hidden=(OPTIONS.width,) * OPTIONS.depth,
            time_features=np.zeros((self.T - 1, 0)),
        )
        rng = np.random.default_rng(OPTIONS.seed)
        self.x0 = rng.standard_normal((N_DATA, D)).astype(dtype)
        self.params = self.model.network.init(rng=rng, dtype=dtype)
        self.params += (0.01 * rng.standard_normal(self.params.size)).astype(
            dtype
        )  # so that the readout is not zero
        t = np.arange(2, self.T + 1)
        tables = (
            self.diffusion.sqrt_abar(t),
            self.diffusion.sqrt_one_minus_abar(t),
            self.diffusion.beta[t - 1]
            * self.diffusion.abar(t - 1)
            / self.diffusion.one_minus_abar(t - 1),
        )
        self.root_abar, self.root_variance, self.kappa = (
            table.astype(dtype)[:, None, None] for table in tables
        )

    def named(self):
        """The parameters by name, as copies."""
        return {
            name: value.copy() for name, value in self.model.network.unpack(self.params).items()
        }

    def minibatch(self, rng):
        """x0 and noise, (T-1, batch, d) each, in antithetic pairs."""
        shape = (self.T - 1, self.batch // 2)
        x0 = self.x0.take(rng.integers(N_DATA, size=shape), axis=0)
        noise = rng.standard_normal((*shape, D), dtype=self.dtype)
        return np.concatenate([x0, x0], 1), np.concatenate([noise, -noise], 1)


# Contestants: `steps(n, rng)` takes n training steps; `check(x0, noise)` is the loss and the named
# gradient; `parameters()` are named.


class Ours:
    """`training.train`, as a user calls it."""

    def __init__(self, problem):
        self.problem, size = problem, problem.params.size
        self.state = training.TrainingState(
            problem.params.copy(), np.zeros(size, problem.dtype), np.zeros(size, problem.dtype)
        )

    def steps(self, n, rng):
        training.train(
            self.problem.model,
            self.problem.x0,
            self.state,
            rng=rng,
            steps=n,
            batch=self.problem.batch,
            learning_rate=lambda _: RATE,
        )

    def check(self, x0, noise):
        t = np.arange(2, self.problem.T + 1)[:, None]
        got = training.objective(self.problem.model, self.state.params, x0, t, noise)
        fixed = training.fixed_terms(self.problem.diffusion, x0).mean()
        return fixed - got.value, {
            name: -value for name, value in self.problem.model.network.unpack(got.params).items()
        }

    def parameters(self):
        return self.problem.model.network.unpack(self.state.params)


class Torch:
    """PyTorch eager: autograd and the fused Adam."""

    compiled = False

    def __init__(self, problem):
        import torch

        torch.set_num_threads(OPTIONS.threads)
        self.torch, self.problem = torch, problem
        self.named = {
            name: torch.nn.Parameter(torch.from_numpy(value))
            for name, value in problem.named().items()
        }
        self.root_abar, self.root_variance, self.kappa = (
            torch.from_numpy(table)
            for table in (problem.root_abar, problem.root_variance, problem.kappa)
        )
        self.adam = torch.optim.Adam(self.named.values(), lr=RATE, fused=True)
        self.loss = torch.compile(self._loss) if self.compiled else self._loss

    def _loss(self, x0, noise):
        torch, p = self.torch, self.named
        h, target = (
            (self.root_abar * x0 + self.root_variance * noise).reshape(-1, D),
            self.root_variance * x0 - self.root_abar * noise,
        )
        for k in range(1, OPTIONS.depth + 1):
            h = torch.tanh(torch.addmm(p[f"b{k}"], h, p[f"W{k}"]))
        out = torch.baddbmm(
            p["c"][:, None], h.reshape(self.problem.T - 1, -1, p["R"].shape[1]), p["R"]
        )
        error, u = out[..., :D] - target, torch.exp(out[..., D:])
        kappa_u = self.kappa * u
        kl = 0.5 * (torch.log1p(kappa_u) + self.kappa * (error * error - u) / (1 + kappa_u)).sum(-1)
        return (self.problem.T - 1) * kl.mean()

    def steps(self, n, rng):
        for _ in range(n):
            loss = self.loss(*map(self.torch.from_numpy, self.problem.minibatch(rng)))
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()

    def check(self, x0, noise):
        self.adam.zero_grad()
        loss = self.loss(self.torch.from_numpy(x0), self.torch.from_numpy(noise))
        loss.backward()
        return loss.item(), {
            name: parameter.grad.numpy().copy() for name, parameter in self.named.items()
        }

    def parameters(self):
        return {name: parameter.detach().numpy() for name, parameter in self.named.items()}


class TorchCompiled(Torch):
    """The same with the loss, and so its backward pass, compiled."""

    compiled = True


class Jax:
    """JAX: loss, gradient and Adam in one jitted step."""

    def __init__(self, problem):
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        self.jax, self.problem = jax, problem
        self.params = {name: jnp.asarray(value) for name, value in problem.named().items()}
        self.mean, self.square = (
            {name: jnp.zeros_like(value) for name, value in self.params.items()} for _ in range(2)
        )
        self.taken = jnp.zeros((), problem.dtype)
        root_abar, root_variance, kappa = problem.root_abar, problem.root_variance, problem.kappa

        def loss(p, x0, noise):
            h, target = (
                (root_abar * x0 + root_variance * noise).reshape(-1, D),
                root_variance * x0 - root_abar * noise,
            )
            for k in range(1, OPTIONS.depth + 1):
                h = jnp.tanh(h @ p[f"W{k}"] + p[f"b{k}"])
            out = h.reshape(problem.T - 1, -1, p["R"].shape[1]) @ p["R"] + p["c"][:, None]
            error, u = out[..., :D] - target, jnp.exp(out[..., D:])
            kappa_u = kappa * u
            return (problem.T - 1) * (
                0.5 * (jnp.log1p(kappa_u) + kappa * (error * error - u) / (1 + kappa_u)).sum(-1)
            ).mean()

        def step(params, mean, square, taken, x0, noise):
            value, grad = jax.value_and_grad(loss)(params, x0, noise)
            taken, tree = taken + 1, jax.tree_util.tree_map
            mean = tree(lambda m, g: 0.9 * m + 0.1 * g, mean, grad)
            square = tree(lambda v, g: 0.999 * v + 0.001 * g * g, square, grad)
            first, second = 1 - 0.9**taken, 1 - 0.999**taken
            params = tree(
                lambda p, m, v: p - RATE * (m / first) / (jnp.sqrt(v / second) + 1e-8),
                params,
                mean,
                square,
            )
            return params, mean, square, taken, value

        self.gradient, self.step = (
            jax.jit(jax.value_and_grad(loss)),
            jax.jit(step, donate_argnums=(0, 1, 2, 3)),
        )

    def steps(self, n, rng):
        for _ in range(n):
            state = self.params, self.mean, self.square, self.taken
            self.params, self.mean, self.square, self.taken, _ = self.step(
                *state, *self.problem.minibatch(rng)
            )
        self.jax.block_until_ready(self.params)

    def check(self, x0, noise):
        value, grad = self.gradient(self.params, x0, noise)
        return float(value), {name: np.asarray(part) for name, part in grad.items()}

    def parameters(self):
        return {name: np.asarray(value) for name, value in self.params.items()}


class Floor:
    """The bare matrix products and tanhs of a step."""

    def __init__(self, problem):
        rng, rows, width = (
            np.random.default_rng(OPTIONS.seed),
            (problem.T - 1) * problem.batch,
            OPTIONS.width,
        )

        def array(*shape):
            return rng.standard_normal(shape).astype(problem.dtype)

        self.x, self.weights = (
            array(rows, D),
            [array(D, width)] + [array(width, width) for _ in range(OPTIONS.depth - 1)],
        )
        self.h, self.dh = (
            [array(rows, width) for _ in range(OPTIONS.depth)],
            [array(rows, width) for _ in range(OPTIONS.depth)],
        )
        self.dweights = [np.empty_like(weight) for weight in self.weights]
        self.R, self.dR = array(problem.T - 1, width, 2 * D), array(problem.T - 1, width, 2 * D)
        self.out, self.dout = (
            array(problem.T - 1, problem.batch, 2 * D),
            array(problem.T - 1, problem.batch, 2 * D),
        )

    def steps(self, n, rng):
        for _ in range(n):
            below = self.x
            for weight, h in zip(self.weights, self.h, strict=True):
                np.matmul(below, weight, out=h)
                np.tanh(h, out=h)
                below = h
            stacked, dstacked = (
                a.reshape(len(self.R), -1, a.shape[-1]) for a in (self.h[-1], self.dh[-1])
            )
            np.matmul(stacked, self.R, out=self.out)
            np.matmul(stacked.transpose(0, 2, 1), self.dout, out=self.dR)
            np.matmul(self.dout, self.R.transpose(0, 2, 1), out=dstacked)
            for k in range(OPTIONS.depth - 1, -1, -1):
                np.matmul((self.h[k - 1] if k else self.x).T, self.dh[k], out=self.dweights[k])
                if k:
                    np.matmul(self.dh[k], self.weights[k].T, out=self.dh[k - 1])


CONTESTANTS = {
    "ours": Ours,
    "torch_eager": Torch,
    "torch_compile": TorchCompiled,
    "jax": Jax,
    "floor": Floor,
}


def deviation(got, truth):
    """The largest deviation of any named array, relative to the largest entry of the true one."""
    return max(
        float(np.abs(got[name] - truth[name]).max() / np.abs(truth[name]).max()) for name in truth
    )


def verify(contestant, ours, problem):
    """Loss and gradient against ours at one minibatch, and the parameters after some steps on the
    same minibatches.
    """
    x0, noise = problem.minibatch(np.random.default_rng(OPTIONS.seed + 1))
    (loss, grad), (our_loss, our_grad) = contestant.check(x0, noise), ours.check(x0, noise)
    contestant.steps(CHECKED_STEPS, np.random.default_rng(OPTIONS.seed + 2))
    twin = Ours(problem)
    twin.steps(CHECKED_STEPS, np.random.default_rng(OPTIONS.seed + 2))
    return (
        abs(loss - our_loss) / abs(our_loss),
        deviation(grad, our_grad),
        deviation(contestant.parameters(), twin.parameters()),
    )


def assemble(problem):
    """The contestants that work and agree with ours."""
    standing, ours = {}, Ours(problem)
    for name, kind in CONTESTANTS.items():
        try:
            standing[name] = kind(problem)
            if name not in ("ours", "floor"):
                loss, grad, params = verify(standing[name], ours, problem)
                print(
                    f"  {name:14s} relative deviation: loss {loss:.1e}, "
                    f"gradient {grad:.1e}, parameters after "
                    f"{CHECKED_STEPS} steps {params:.1e}",
                    flush=True,
                )
                limit = TOLERANCE[problem.dtype.name]
                if not (loss < limit and grad < limit and params < 100 * limit):
                    raise ArithmeticError(f"it computes something else: beyond {limit:.0e}")
        except (
            Exception
        ) as error:  # missing, without a compiler, or wrong: the others can still be compared
            standing.pop(name, None)
            print(f"{name} ({problem.dtype}): {type(error).__name__}: {error}", file=sys.stderr)
            if not isinstance(error, (ImportError, ArithmeticError)):
                traceback.print_exc()
    return standing


def race(standing):
    """Seconds per step, by contestant, one entry for each round; the order turns so that none
    always follows the same one.
    """
    names, seconds = list(standing), {name: [] for name in standing}
    generators = {name: np.random.default_rng(OPTIONS.seed + 3) for name in names}
    for name in names:
        standing[name].steps(OPTIONS.steps, generators[name])  # warm
    for r in range(OPTIONS.rounds):
        for name in names[r % len(names) :] + names[: r % len(names)]:
            begin = time.perf_counter()
            standing[name].steps(OPTIONS.steps, generators[name])
            seconds[name].append((time.perf_counter() - begin) / OPTIONS.steps)
    return seconds


def ratio(seconds, above, below):
    """The median over rounds of one contestant's time over another's; None if one is absent."""
    if above not in seconds or below not in seconds:
        return None
    return statistics.median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))


def main():
    warnings.simplefilter("ignore")  # of the contestants
    result = {}
    for dtype in ("float32", "float64"):
        print(
            f"{dtype}: batch {OPTIONS.batch}, T {OPTIONS.T}, "
            f"{OPTIONS.depth} x {OPTIONS.width}, {OPTIONS.threads} thread(s)",
            flush=True,
        )
        seconds = race(assemble(Problem(dtype)))
        print(f"  {'':14s} {'ms per step':>11s} {'fastest':>8s} {'to ours':>8s}")
        for name in CONTESTANTS:
            if name in seconds:
                print(
                    f"  {name:14s} {1e3 * statistics.median(seconds[name]):11.3f} "
                    f"{1e3 * min(seconds[name]):8.3f} "
                    f"{ratio(seconds, name, 'ours'):8.2f}"
                )
        result[dtype] = {
            f"vs_{name}": ratio(seconds, name, "ours")
            for name in ("torch_eager", "torch_compile", "jax")
        }
        result[dtype]["vs_floor"] = ratio(seconds, "ours", "floor")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

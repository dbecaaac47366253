"""A PyTorch module, wrapped in a lambda, as reverse kernel of `log_likelihood`: the same numbers as
from NumPy.
"""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from dpm_ref import BinomialDiffusion, GaussianDiffusion, likelihood, schedules
from dpm_ref.exact import BinaryModel, LinearModel, binary_states

torch = pytest.importorskip("torch")

T, D = 4, 2
SIGMAS = 6.0  # 2e-9, two sides


def rng(seed=0):
    return np.random.default_rng(seed)


class Steps(torch.nn.Module):
    """One affine layer for each time, and for the Gaussian column a log variance; times are 2..T."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(D, D, dtype=torch.float64) for _ in range(T - 1)
        )
        self.log_var = torch.nn.Parameter(torch.linspace(-1.5, -0.5, T - 1, dtype=torch.float64))

    def forward(self, xt, t):
        return self.layers[t - 2](torch.as_tensor(xt))


@torch.no_grad()
def gaussian(module, xt, t):
    mean = module(xt, t)
    return SimpleNamespace(mean=mean, var=module.log_var[t - 2].exp().expand(mean.shape))


@torch.no_grad()
def binomial(module, xt, t):
    logit = module(xt, t)
    return SimpleNamespace(prob1=torch.sigmoid(logit), prob0=torch.sigmoid(-logit))


def as_chain(module):
    """The same steps for the exact model."""
    layers = [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in module.layers
    ]
    return [
        (A, b, float(var.exp()) * np.eye(D))
        for (A, b), var in zip(layers, module.log_var.detach(), strict=True)
    ]


def test_a_gaussian_module_has_the_exact_log_likelihood():
    diffusion, module = GaussianDiffusion(schedules.linear(T, first=0.2, last=0.6)), Steps(1)
    with torch.no_grad():
        for layer in module.layers:
            layer.weight.copy_(0.7 * torch.eye(D) + 0.2 * layer.weight)
    x0 = 0.5 * rng(1).standard_normal((3, D))
    got = likelihood.log_likelihood(
        diffusion, lambda xt, t: gaussian(module, xt, t), x0, n_samples=20_000, rng=rng(2)
    )
    assert got.reliable.all()
    assert (
        np.abs(got.value - LinearModel(diffusion, as_chain(module)).log_likelihood(x0))
        < SIGMAS * got.stderr
    ).all()


def test_a_binomial_module_has_the_exact_log_likelihood():
    diffusion, module = (
        BinomialDiffusion(schedules.linear(T, first=0.4, last=0.8), [0.4, 0.6]),
        Steps(3),
    )
    exact = BinaryModel(diffusion, D, lambda xt, t: binomial(module, xt, t)).log_likelihood()
    got = likelihood.log_likelihood(
        diffusion,
        lambda xt, t: binomial(module, xt, t),
        binary_states(D),
        n_samples=20_000,
        rng=rng(4),
    )
    assert (np.abs(got.value - exact) < SIGMAS * got.stderr).all()


def test_a_module_gives_the_numbers_of_the_same_function_in_numpy():
    diffusion, module = GaussianDiffusion(schedules.linear(T, first=0.2, last=0.6)), Steps(5)
    chain, x0 = LinearModel(diffusion, as_chain(module)), rng(6).standard_normal((3, D))
    first, second = (
        likelihood.log_likelihood(diffusion, reverse, x0, n_samples=3000, rng=rng(7))
        for reverse in (lambda xt, t: gaussian(module, xt, t), chain.reverse)
    )
    np.testing.assert_allclose(first.value, second.value, rtol=1e-12)
    np.testing.assert_allclose(first.stderr, second.stderr, rtol=1e-9)


def test_threads_give_the_same_bits():
    diffusion, module, x0 = (
        GaussianDiffusion(schedules.linear(T, first=0.2, last=0.6)),
        Steps(8),
        rng(9).standard_normal((600, D)),
    )
    with ThreadPoolExecutor(2) as pool:
        first, second = (
            likelihood.log_likelihood(
                diffusion,
                lambda xt, t: gaussian(module, xt, t),
                x0,
                n_samples=300,
                rng=rng(10),
                executor=executor,
            )
            for executor in (None, pool)
        )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_module_that_keeps_its_graph_is_refused_by_name():
    diffusion, module = GaussianDiffusion(schedules.linear(T, first=0.2, last=0.6)), Steps(11)
    with pytest.raises(ValueError, match="mean must be an array of real numbers"):
        likelihood.log_likelihood(
            diffusion,
            lambda xt, t: SimpleNamespace(mean=module(xt, t), var=1.0),
            np.zeros((1, D)),
            n_samples=2,
            rng=rng(12),
        )


def test_tensors_are_data():
    diffusion, module = GaussianDiffusion(schedules.linear(T, first=0.2, last=0.6)), Steps(13)
    x0 = torch.linspace(-1, 1, 4, dtype=torch.float64).reshape(2, 2)
    first, second = (
        likelihood.log_likelihood(
            diffusion, lambda xt, t: gaussian(module, xt, t), data, n_samples=100, rng=rng(14)
        )
        for data in (x0, x0.numpy())
    )
    np.testing.assert_array_equal(first.value, second.value)

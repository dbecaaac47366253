"""PyTorch's autograd in float64 against the gradients by hand, and a PyTorch model as a reverse
kernel.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dpm_ref import BinomialDiffusion, Gaussian, GaussianDiffusion, bounds, schedules
from dpm_ref.mlp import time_polynomials
from dpm_ref.reverse import BinomialReverse, GaussianReverse
from dpm_ref.training import objective

torch = pytest.importorskip("torch")

EXACT = 1e-12  # relative to the gradient's norm: a few thousand eps for a few hundred operations
T, D = 10, 2
NETWORKS = {
    "one readout per time": {"hidden": (16, 16)},
    "features and basis": {
        "hidden": (16, 16, 16),
        "time_features": time_polynomials(T, 2),
        "basis": time_polynomials(T, 3),
    },
    "skip": {"hidden": (16,), "skip": True},
}
networks = pytest.mark.parametrize("name", NETWORKS)


class Network(torch.nn.Module):
    """The tanh trunk and the readout of each time, in plain PyTorch, its parameters read from the
    flat vector.
    """

    def __init__(self, named, depth, time_features=None, basis=None, **_):
        super().__init__()
        self.named = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(torch.tensor(value)) for name, value in named.items()}
        )
        self.depth = depth
        self.features = (
            torch.zeros(T - 1, 0, dtype=torch.float64)
            if time_features is None
            else torch.tensor(time_features)
        )
        self.basis = torch.eye(T - 1, dtype=torch.float64) if basis is None else torch.tensor(basis)

    def forward(self, x, t):
        """Outputs (S, n, d_out) for states (S, n, d_in) at times (S,)."""
        p = self.named
        features = self.features[t - 2][:, None].expand(-1, x.shape[1], -1)
        h = torch.tanh(torch.cat([features, x], -1) @ p["W1"] + p["b1"])
        for k in range(2, self.depth + 1):
            h = torch.tanh(h @ p[f"W{k}"] + p[f"b{k}"])
        readout = torch.einsum("sb,bio->sio", self.basis[t - 2], p["R"])
        return (
            h @ readout + (self.basis[t - 2] @ p["c"])[:, None] + (x @ p["S"] if "S" in p else 0.0)
        )


class GaussianKernel:
    """f_mu and f_Sigma from the network, and K with `torch.distributions`."""

    def __init__(self, network, beta):
        self.network, self.beta = network, torch.tensor(beta)
        self.abar = torch.cumprod(1 - self.beta, 0)

    def at(self, table, t):
        return table[t - 1][:, None, None]

    def posterior(self, x0, xt, t):
        beta, abar, before = self.at(self.beta, t), self.at(self.abar, t), self.at(self.abar, t - 1)
        mean = (
            before.sqrt() * beta / (1 - abar) * x0
            + (1 - beta).sqrt() * (1 - before) / (1 - abar) * xt
        )
        return mean, (beta * (1 - before) / (1 - abar)).expand_as(mean)

    def kernel(self, xt, t):
        F, g = self.network(xt, t).split(D, -1)
        abar, before = self.at(self.abar, t), self.at(self.abar, t - 1)
        m, V = abar.sqrt() * xt + (1 - abar).sqrt() * F, (1 - abar) * g.exp()
        mean, var = self.posterior(m, xt, t)
        return mean, var + before * (self.at(self.beta, t) / (1 - abar)) ** 2 * V

    def bound(self, x0, t, noise):
        abar = self.at(self.abar, t)
        xt = abar.sqrt() * x0 + (1 - abar).sqrt() * noise
        laws = [
            torch.distributions.Normal(mean, var.sqrt())
            for mean, var in (self.posterior(x0, xt, t), self.kernel(xt, t))
        ]
        kl = torch.distributions.kl_divergence(*laws).sum(-1)
        prior = torch.distributions.Normal(
            torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
        )

        def to_prior(abar):  # KL( q(x^t|x^0) || pi )
            law = torch.distributions.Normal(abar.sqrt() * x0, (1 - abar).sqrt())
            return torch.distributions.kl_divergence(law, prior).sum(-1)

        fixed = prior.log_prob(x0).sum(-1) + to_prior(self.abar[0]) - to_prior(self.abar[-1])
        return fixed.mean() - (T - 1) * kl.mean()


class BinomialKernel:
    """f_b from the network, and K with `torch.distributions`."""

    def __init__(self, network, beta, prior):
        self.network, self.beta, self.prior = (
            network,
            torch.tensor(beta),
            torch.tensor(prior, dtype=torch.float64),
        )
        self.abar = torch.cumprod(1 - self.beta, 0)

    def mix(self, x, kept):
        """P(1) of a bit kept with probability `kept`, else drawn from the prior."""
        return x * kept + self.prior * (1 - kept)

    def posterior(self, x0, xt, t):
        kept, before = (1 - self.beta)[t - 1][:, None, None], self.abar[t - 2][:, None, None]
        joint = []
        for value in (1.0, 0.0):
            reach, prob = self.mix(torch.full_like(xt, value), kept), self.mix(x0, before)
            joint.append(torch.where(xt == 1, reach, 1 - reach) * (prob if value else 1 - prob))
        return joint[0] / (joint[0] + joint[1])

    def kernel(self, xt, t):
        abar = self.abar[t - 1][:, None, None]
        given = [self.mix(torch.full_like(xt, value), abar) for value in (1.0, 0.0)]
        likelihood = [torch.where(xt == 1, prob, 1 - prob) for prob in given]
        evidence = torch.log(likelihood[0] / likelihood[1])
        r = torch.sigmoid(torch.logit(self.prior) + evidence + self.network(evidence, t))
        one, zero = (self.posterior(torch.full_like(xt, value), xt, t) for value in (1.0, 0.0))
        return r * one + (1 - r) * zero

    def bound(self, x0, t, noise):
        def law(prob):
            return torch.distributions.Bernoulli(prob)

        xt = (noise < self.mix(x0, self.abar[t - 1][:, None, None])).double()
        kl = torch.distributions.kl_divergence(
            law(self.posterior(x0, xt, t)), law(self.kernel(xt, t))
        ).sum(-1)
        prior = law(self.prior.expand_as(x0))
        first, last = (
            torch.distributions.kl_divergence(law(self.mix(x0, abar)), prior).sum(-1)
            for abar in self.abar[[0, -1]]
        )
        return (prior.log_prob(x0).sum(-1) + first - last).mean() - (T - 1) * kl.mean()


def tables(network):
    """The tables of time, the model's defaults included."""
    return {"time_features": network.time_features, "basis": network.basis}


def gaussian(name):
    beta, rng = schedules.linear(T, first=0.02, last=0.4), np.random.default_rng(1)
    model = GaussianReverse(GaussianDiffusion(beta), D, **NETWORKS[name])
    params = 0.3 * rng.standard_normal(model.network.size)
    kernel = GaussianKernel(
        Network(model.network.unpack(params), len(model.network.widths), **tables(model.network)),
        beta,
    )
    return (
        model,
        kernel,
        params,
        rng.standard_normal((8, D)),
        np.arange(2, T + 1),
        rng.standard_normal((T - 1, 8, D)),
    )


def binomial(name):
    beta, rng = schedules.linear(T, first=0.02, last=0.4), np.random.default_rng(2)
    model = BinomialReverse(BinomialDiffusion(beta, [0.2, 0.5]), D, **NETWORKS[name])
    params = 0.3 * rng.standard_normal(model.network.size)
    kernel = BinomialKernel(
        Network(model.network.unpack(params), len(model.network.widths), **tables(model.network)),
        beta,
        [0.2, 0.5],
    )
    return (
        model,
        kernel,
        params,
        (rng.random((8, D)) < 0.5).astype(float),
        np.arange(2, T + 1),
        rng.random((T - 1, 8, D)),
    )


columns = pytest.mark.parametrize("column", [gaussian, binomial], ids=["gaussian", "binomial"])


def close(got, truth):
    truth = truth.numpy()
    return np.abs(got - truth).max(initial=0.0) <= EXACT * np.linalg.norm(truth)


@networks
@columns
def test_gradient_by_parameters_is_autograd_s(column, name):
    model, kernel, params, x0, t, noise = column(name)
    kernel.bound(torch.tensor(x0), torch.tensor(t), torch.tensor(noise)).backward()
    grads = model.network.unpack(objective(model, params, x0, t[:, None], noise).params)
    assert all(
        close(grads[part], parameter.grad) for part, parameter in kernel.network.named.items()
    )


@networks
def test_gradients_by_x0_and_noise_are_autograd_s(name):
    model, kernel, params, x0, t, noise = gaussian(name)
    by_x0, by_noise = torch.tensor(x0, requires_grad=True), torch.tensor(noise, requires_grad=True)
    kernel.bound(by_x0, torch.tensor(t), by_noise).backward()
    got = objective(model, params, x0, t[:, None], noise)
    assert close(got.x0, by_x0.grad)
    assert close(got.noise, by_noise.grad)


@networks
@columns
def test_value_is_that_of_torch_distributions(column, name):
    model, kernel, params, x0, t, noise = column(name)
    value = kernel.bound(torch.tensor(x0), torch.tensor(t), torch.tensor(noise)).item()
    assert objective(model, params, x0, t[:, None], noise).value == pytest.approx(
        value, rel=EXACT, abs=0
    )


def answer(kernel, xt, t):
    """The law at states (..., d) and one time, its parameters as tensors."""
    with torch.no_grad():
        law = kernel.kernel(torch.as_tensor(xt).reshape(1, -1, D), torch.tensor([t]))
    if isinstance(kernel, GaussianKernel):
        return SimpleNamespace(mean=law[0].reshape(xt.shape), var=law[1].reshape(xt.shape))
    return SimpleNamespace(prob1=law.reshape(xt.shape))


@columns
def test_a_pytorch_model_in_a_lambda_has_the_bound_of_the_same_numpy_model(column):
    model, kernel, params, x0, _, _ = column("one readout per time")
    first, second = (
        bounds.lower_bound(model.diffusion, reverse, x0, rng=np.random.default_rng(3), n_samples=4)
        for reverse in (lambda xt, t: answer(kernel, xt, t), model.kernel(params))
    )
    np.testing.assert_allclose(first.value, second.value, rtol=EXACT)
    np.testing.assert_allclose(first.kl, second.kl, rtol=0, atol=EXACT)


def test_tensors_are_data_and_parameters():
    model, _, params, x0, t, noise = gaussian("one readout per time")
    got = objective(
        model, torch.tensor(params), torch.tensor(x0), torch.tensor(t[:, None]), torch.tensor(noise)
    )
    assert got.value == objective(model, params, x0, t[:, None], noise).value


def test_autograd_agrees_with_the_gradient_by_the_rates():
    rng, beta = np.random.default_rng(5), schedules.log_snr_linear(T, beta1=1e-4, abar_T=0.05)
    model, t = GaussianReverse(GaussianDiffusion(beta), D, hidden=(16, 16)), np.arange(2, T + 1)
    params = rng.standard_normal(model.network.size) * 0.3
    x0, noise = rng.standard_normal((6, D)), rng.standard_normal((T - 1, 6, D))
    kernel, rates = (
        GaussianKernel(Network(model.network.unpack(params), 2, **tables(model.network)), beta),
        torch.tensor(beta, requires_grad=True),
    )
    kernel.beta, kernel.abar = rates, torch.cumprod(1 - rates, 0)
    truth = torch.autograd.grad(
        kernel.bound(torch.tensor(x0), torch.tensor(t), torch.tensor(noise)), rates
    )[0].numpy()[1:]
    got = objective(model, params, x0, t[:, None], noise).beta
    np.testing.assert_allclose(got, truth, rtol=EXACT, atol=EXACT * np.abs(truth).max())


def test_the_readme_s_lambda_takes_an_ordinary_module():
    """A float32 network whose parameters ask for gradients, and the same numbers in NumPy."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    code = re.search(r"`(lambda xt, t: Gaussian\(.*?\))`", readme)[1]
    layer, diffusion = torch.nn.Linear(D, D), GaussianDiffusion([0.1, 0.2, 0.3])
    weight, bias = (part.detach().numpy() for part in (layer.weight, layer.bias))

    def net(x, t):
        return layer(x), torch.full_like(x, 0.1 * t)

    kernels = (
        eval(code, {"torch": torch, "Gaussian": Gaussian, "net": net}),
        lambda xt, t: Gaussian(xt @ weight.T + bias, 0.1 * t),
    )
    first, second = (
        bounds.lower_bound(diffusion, kernel, np.ones((5, D)), rng=np.random.default_rng(0)).value
        for kernel in kernels
    )
    np.testing.assert_allclose(first, second, rtol=1e-5)

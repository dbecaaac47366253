"""`log_likelihood` on a real dask.distributed cluster, through its concurrent.futures interface:
the same bits as here.
"""

import logging
import re
from types import SimpleNamespace

import numpy as np
import pytest

from dpm_ref import GaussianDiffusion, likelihood, schedules
from dpm_ref.exact import LinearModel
from dpm_ref.reverse import GaussianReverse

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings(
    "ignore"
)  # the cluster's own, of ports, sockets and deprecations


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module", params=[1, 3], ids=["one worker", "three workers"])
def executor(request):
    cluster = distributed.LocalCluster(
        n_workers=request.param,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )
    with cluster, distributed.Client(cluster) as client:
        yield client.get_executor()


@pytest.fixture
def small_tasks(monkeypatch):
    monkeypatch.setattr(likelihood, "_TASK", (2048 * 6, 2048 * 6))  # two chunks to a task


def network_case():
    model = GaussianReverse(
        GaussianDiffusion(schedules.linear(6, first=0.02, last=0.4)), 2, hidden=(16, 16)
    )
    params = model.network.init(rng=rng(1)) + 0.1 * rng(2).standard_normal(model.network.size)
    return model.diffusion, model.kernel(params), rng(3).standard_normal((3, 2))


def estimate(diffusion, reverse, x0, n_samples, executor=None):
    return likelihood.log_likelihood(
        diffusion, reverse, x0, n_samples=n_samples, rng=rng(4), executor=executor
    )


def same(a, b):
    return all(np.array_equal(left, right) for left, right in zip(a, b, strict=True))


def test_a_cluster_gives_the_same_bits(executor, small_tasks):
    assert same(estimate(*network_case(), 20_000), estimate(*network_case(), 20_000, executor))


def test_a_cluster_gives_the_same_sandwich(executor, small_tasks):
    diffusion, reverse, _ = network_case()
    held = [
        likelihood.sandwich(diffusion, reverse, 20, 2, n_samples=1000, rng=rng(5), executor=each)
        for each in (None, executor)
    ]
    assert same(*held)


def test_few_calls_ahead_give_the_same_bits(executor, small_tasks, monkeypatch):
    alone = estimate(*network_case(), 20_000)
    monkeypatch.setattr(likelihood, "_AHEAD", 2)
    assert same(alone, estimate(*network_case(), 20_000, executor))


def test_a_lambda_travels_to_the_workers(executor):
    diffusion, x0 = GaussianDiffusion([0.1, 0.2, 0.3]), np.array([[0.5], [1.0]])
    got = estimate(
        diffusion,
        lambda xt, t: SimpleNamespace(mean=0.9 * xt, var=0.1 + 0.1 * t),
        x0,
        5000,
        executor,
    )
    exact = LinearModel(
        diffusion, [([[0.9]], [0.0], [[0.1 + 0.1 * t]]) for t in (2, 3)]
    ).log_likelihood(x0)
    assert (np.abs(got.value - exact) < 6 * got.stderr).all()


def test_an_error_on_a_worker_is_raised_here_and_the_cluster_can_be_used_on(executor, small_tasks):
    def failing(xt, t):
        raise ArithmeticError("no such state", t)

    with pytest.raises(ArithmeticError, match=re.escape("('no such state', 2)")):
        estimate(GaussianDiffusion([0.1, 0.2]), failing, np.zeros((1, 1)), 20_000, executor)
    assert same(estimate(*network_case(), 3000), estimate(*network_case(), 3000, executor))

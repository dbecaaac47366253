"""`Particles.reliable`: what it must not vouch for, what it must, and its rates on known models."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from statistics_budget import limit, seed

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, schedules
from dpm_ref.exact import BinaryModel
from dpm_ref.likelihood import from_log_weights
from dpm_ref.posteriors import (
    BernoulliFactor,
    GaussianFactor,
    LogFactor,
    Particles,
    Perturbed,
    constant,
    diffused,
    particle_filter,
    predicted,
)
from dpm_ref.posteriors import particles as rules

SPEC = importlib.util.spec_from_file_location("rates", Path(__file__).with_name("reliability.py"))
rates = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(rates)

SIGMAS = limit(17)  # comparisons in this file
DIFFUSION = GaussianDiffusion(schedules.constant(6, 0.3))
FACTOR = GaussianFactor([1.0], 0.5)


def filtered(r, n=400, runs=8, draws=0):
    return particle_filter(DIFFUSION, DIFFUSION.kernel, r, n, 1, rng=seed(draws), runs=runs)


@pytest.mark.parametrize("case", [rates.lost_bits, rates.lost_values])
def test_mass_that_the_proposal_never_draws_makes_a_filter_unreliable(case):
    for i in range(3):
        assert not case(seed(i)).reliable


def test_the_lost_bits_would_have_been_believed_by_the_runs_and_weights_alone():
    result = rates.lost_bits(seed(0))
    assert result.log_z_stderr < 1e-12
    assert result.ess.min() > 999
    assert result.log_z < np.log(0.5) - 0.9


@pytest.mark.parametrize(
    "r",
    [
        diffused(FACTOR, DIFFUSION),
        constant(GaussianFactor([0.3], 9.0)),
        predicted(FACTOR, DIFFUSION, DIFFUSION.kernel),
    ],
)
def test_a_good_proposal_is_reliable(r):
    """In 99 % of filters: 14 of 20 with all but 1e-9."""
    assert sum(filtered(r, draws=i).reliable for i in range(20)) >= 14


def test_few_runs_few_particles_or_a_large_error_are_unreliable(monkeypatch):
    r = diffused(FACTOR, DIFFUSION)
    claim(monkeypatch, filtered(r).log_z, 1024)  # the model's own draws have no say
    result = filtered(r, runs=8)
    assert result.reliable is True
    assert not filtered(r, runs=7).reliable
    assert not filtered(r, n=4).reliable  # 32 particles
    assert filtered(r, n=6).reliable  # 48
    kernels, rare = Perturbed(DIFFUSION, DIFFUSION.kernel, r), np.full(7, -np.inf)
    for stderr, reliable in ((0.249, True), (0.251, False)):
        judged = replace(result, log_z_stderr=stderr)
        assert rules._reliable(kernels, judged, rare, seed(0)) is reliable


def test_a_mode_that_nothing_draws_is_not_seen():
    # the example of the docstring: half of Z lies on a bit that is drawn once in 1e12 times
    diffusion = BinomialDiffusion([1e-3, 0.5], prior=1e-12)

    def r(t):
        return BernoulliFactor([1.0 if t else 1e12], [1.0])

    result = particle_filter(diffusion, diffusion.kernel, r, 500, 1, rng=seed(0))
    assert abs(result.log_z) < 0.002  # log 2 is right
    assert result.reliable


RATES = np.random.default_rng(5).uniform(0.1, 0.9, (4, 4, 2))


def bits_model():
    diffusion = BinomialDiffusion([0.3, 0.2, 0.4], [0.3, 0.6])

    def reverse(x, t):
        return Bernoulli(RATES[t][(x @ [2, 1]).astype(int)])

    return diffusion, reverse, BinaryModel(diffusion, 2, reverse)


def test_the_model_s_own_draws_estimate_the_normaliser(monkeypatch):
    monkeypatch.setattr(rules, "_CHECK_DRAWS", 40_000)
    diffusion, reverse, model = bits_model()
    factor = BernoulliFactor([2.0, 0.3], [0.5, 1.0])
    truth = float(model.marginal(0) @ np.exp(factor.log_r(model.states)))
    for r in (factor, LogFactor(factor.log_r)):
        kernels = Perturbed(diffusion, reverse, lambda t, r=r: r.power(0.5) if t else r)
        log_w = rules._plain_weights(kernels, 2, seed(1))
        found = from_log_weights(log_w)
        assert abs(found.value - np.log(truth)) < SIGMAS * found.stderr


def test_the_model_s_own_draws_go_through_every_t():
    asked = []

    def model(x, t):
        asked.append(t)
        return Gaussian(np.zeros_like(x), np.ones_like(x))

    def multiply(law, t):
        return SimpleNamespace(log_z=law.mean.sum(-1))

    kernels = SimpleNamespace(T=4, model=model, multiply=multiply)
    np.testing.assert_array_equal(rules._plain_weights(kernels, 2, seed(1)), 0.0)
    assert asked == [4, 3, 2, 1, 0]


def test_what_is_lost_is_a_share_of_the_forward_trajectory(monkeypatch):
    diffusion, reverse, model = bits_model()
    factor = BernoulliFactor([2.0, 0.3], [0.5, 1.0])
    kernels = Perturbed(diffusion, reverse, constant(factor))
    # log r is log 2 or log .5 plus log .3 or 0; where it is as large as rare, nothing is lost
    rare = np.array([np.nan, -0.6, factor.log_r([0, 0]), -1.0])
    claim(monkeypatch, 0.0, 10)  # too few to be heard
    monkeypatch.setattr(rules, "_CHECK_DRAWS", 20_000)
    for state in model.states:
        x0, weights = np.tile([state, 1.0 - state], (8, 50, 1)), np.tile([1.0, 0.0], (8, 50)) / 400
        result = Particles(x0, weights, 0.0, 0.0, False, np.zeros(8), np.full((4, 8), 100.0), 0.0)
        for t in (1, 2, 3):
            levels = np.where(np.arange(4) == t, rare, -np.inf)
            levels[0] = np.inf  # which is not asked for
            states = np.exp(diffusion.marginal(state, t).log_prob(model.states))
            share = states @ (factor.log_r(model.states) < rare[t])
            apart = SIGMAS * np.sqrt(share * (1.0 - share) / 20_000) + 1e-9
            assert apart < 0.05  # power
            for most, reliable in ((share - apart, False), (share + apart, True)):
                monkeypatch.setattr(rules, "_MOST_LOST", most)
                assert rules._reliable(kernels, result, levels, seed(2)) is reliable
    assert 0.05 < share < 0.95


def claim(monkeypatch, log_z, weights):
    """Let the model's own draws say log_z, by so many equal weights."""
    log_w = np.where(np.arange(1024) < weights, log_z + np.log(1024 / weights), -np.inf)
    monkeypatch.setattr(rules, "_plain_weights", lambda *arguments: log_w)


@pytest.mark.parametrize("weights", [10, 30, 99])
def test_where_the_model_s_own_draws_are_few_forward_trajectories_decide(monkeypatch, weights):
    good, lost = filtered(diffused(FACTOR, DIFFUSION)), rates.lost_bits(seed(0))
    claim(monkeypatch, good.log_z, weights)
    assert filtered(diffused(FACTOR, DIFFUSION)).reliable
    claim(monkeypatch, lost.log_z, weights)
    assert not rates.lost_bits(seed(0)).reliable


@pytest.mark.parametrize("weights", [21, 99, 101, 1000])
def test_the_model_s_own_draws_must_agree_within_three_standard_errors(monkeypatch, weights):
    truth = filtered(diffused(FACTOR, DIFFUSION)).log_z  # exact, with a standard error of 0
    stderr = np.sqrt((1024 / weights - 1) / 1023)
    for factor, reliable in ((0.99, True), (1.01, False)):
        for sign in (1, -1):
            claim(monkeypatch, truth + sign * factor * 3.0 * stderr, weights)
            assert filtered(diffused(FACTOR, DIFFUSION)).reliable is reliable


def test_fewer_than_20_of_the_model_s_own_draws_are_not_heard(monkeypatch):
    claim(monkeypatch, 9.0, 19)
    assert filtered(diffused(FACTOR, DIFFUSION)).reliable
    claim(monkeypatch, 9.0, 21)
    assert not filtered(diffused(FACTOR, DIFFUSION)).reliable


def test_more_than_100_of_the_model_s_own_draws_are_enough(monkeypatch):
    claim(monkeypatch, rates.lost_bits(seed(0)).log_z, 101)
    assert rates.lost_bits(seed(0)).reliable  # wrong, had the draws been what they claim


@pytest.mark.slow
def test_what_is_called_reliable_is_right_over_models_whose_normaliser_is_known():
    found = list(rates.outcomes(200, 3))
    reliable, wrong = np.array([o[1:] for o in found], dtype=bool).T
    assert (reliable & wrong).sum() <= 4  # 1,500 models: 4 in 1,000
    assert wrong.mean() > 0.1  # the family is hard
    assert reliable[~wrong].mean() > 0.7

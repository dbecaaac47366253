"""Mistakes in restatements of sections 2.3 and 2.5: each wrong form fails on all states of a small
binary model, the right one holds.

The package's models give p(x^t) and p(x^t | x^{t+1}) of every state; r(x^t) is a random positive
function of the state and t.
"""

import numpy as np
import pytest

from dpm_ref import Bernoulli, BinomialDiffusion
from dpm_ref.exact import BinaryModel, binary_states

BETA, D = [0.2, 0.3, 0.4, 0.5], 2
T = len(BETA)
ROUNDING = 1e-14  # sums of four products of numbers below one
STATES = binary_states(D)
RNG = np.random.default_rng(0)
TABLE = RNG.random((T + 1, 2, 2, D))  # a kernel that is different at every t and state
R = np.exp(RNG.normal(size=(T + 1, len(STATES))))  # r(x^t)


def kernel(xt: np.ndarray, t: int) -> Bernoulli:
    bits = xt.astype(int)
    return Bernoulli(0.1 + 0.8 * TABLE[t][bits[..., 0], bits[..., 1]])


MODEL = BinaryModel(BinomialDiffusion(BETA, prior=0.3), D, kernel)


def step(t: int) -> np.ndarray:
    """p(x^{t-1} | x^t): rows x^t, columns x^{t-1}."""
    law = kernel(STATES, t) if t > 1 else MODEL.diffusion.edge(STATES)
    return np.exp(
        np.stack([law.log_prob(np.broadcast_to(x, STATES.shape)) for x in STATES], axis=1)
    )


def marginal(t: int) -> np.ndarray:
    """p(x^t) of every state, by the recursion from the prior down."""
    p = np.exp(MODEL.diffusion.prior(D).log_prob(STATES))
    for s in range(T, t, -1):
        p = p @ step(s)
    return p


def multiplied(t: int, r: np.ndarray = R) -> np.ndarray:
    """p~(x^t) proportional to p(x^t) r(x^t)."""
    product = marginal(t) * r[t]
    return product / product.sum()


def normaliser(t: int) -> float:
    return float(marginal(t) @ R[t])


def right_kernel(t: int) -> np.ndarray:
    """(21): p~(x^t | x^{t+1}) = p(x^t | x^{t+1}) Z~_{t+1} r(x^t) / ( Z~_t r(x^{t+1}) ), rows
    x^{t+1}.
    """
    return step(t + 1) * normaliser(t + 1) * R[t] / (normaliser(t) * R[t + 1][:, None])


def test_the_models_marginal_is_the_one_used_here() -> None:
    assert np.abs(np.log(marginal(0)) - MODEL.log_likelihood()).max() < 10 * ROUNDING


@pytest.mark.parametrize("t", range(T))
def test_equation_21_carries_each_product_to_the_next(t: int) -> None:
    assert np.abs(multiplied(t + 1) @ right_kernel(t) - multiplied(t)).max() < ROUNDING


def test_probability_of_x0_without_x0_in_the_integrand_is_one_everywhere() -> None:
    # p(x^0) = integral of p(x^{1..T}) in place of p(x^{0..T}): x^0 no longer occurs
    wrong = np.full(len(STATES), marginal(1).sum())
    assert np.abs(wrong - 1.0).max() < ROUNDING
    assert np.abs(wrong - np.exp(MODEL.log_likelihood())).min() > 0.3
    assert abs(np.exp(MODEL.log_likelihood()).sum() - 1.0) < ROUNDING


@pytest.mark.parametrize("t", range(T))
def test_r_of_both_states_exchanged_does_not_carry_the_product(t: int) -> None:
    wrong = step(t + 1) * normaliser(t) * R[t + 1][:, None] / (normaliser(t + 1) * R[t])
    assert np.abs(multiplied(t + 1) @ wrong - multiplied(t)).max() > 0.01


@pytest.mark.parametrize("t", range(T))
def test_kernel_multiplied_by_the_marginal_before_it_does_not_carry_the_product(t: int) -> None:
    wrong = right_kernel(t) * marginal(t + 1)[:, None]
    assert np.abs(multiplied(t + 1) @ wrong - multiplied(t)).max() > 0.01


def test_r_to_the_power_of_the_time_left_starts_from_the_prior() -> None:
    exponent = (T - np.arange(T + 1)) / T
    power = R[0] ** exponent[:, None]
    prior = np.exp(MODEL.diffusion.prior(D).log_prob(STATES))
    assert np.abs(multiplied(T, power) - prior).max() < ROUNDING
    assert (
        np.abs(multiplied(0, power) - multiplied(0, np.broadcast_to(R[0], R.shape))).max()
        < ROUNDING
    )


def test_r_times_the_time_left_is_another_law_and_has_none_at_the_start() -> None:
    share = (T - np.arange(T + 1)) / T
    linear, power = R[0] * share[:, None], R[0] ** share[:, None]
    assert np.abs(multiplied(T // 2, linear) - multiplied(T // 2, power)).max() > 0.01
    assert marginal(T) @ linear[T] == 0.0


def perturbed_bit(c: float, r1: float, r0: float) -> float:
    """p~(x_i^{t-1} = 1): the law of one bit with probability c, multiplied by r and normalised over
    both states.
    """
    return c * r1 / (c * r1 + (1 - c) * r0)


CASES = RNG.random((1000, 4))


def test_perturbed_flip_rate_adds_the_log_ratio_of_r_to_the_logit() -> None:
    for c, r1, r0, _ in CASES:
        logit = np.log(c / (1 - c)) + np.log(r1) - np.log(r0)
        d = r1 / (r1 + r0)
        truth = perturbed_bit(c, r1, r0)
        assert abs(1 / (1 + np.exp(-logit)) - truth) < ROUNDING
        assert abs(c * d / (c * d + (1 - c) * (1 - d)) - truth) < ROUNDING


def test_the_misprinted_perturbed_flip_rate_is_no_probability() -> None:
    # Table App.1 has x_i d_i where c_i d_i belongs
    c, r1, r0, _ = CASES.T
    d = r1 / (r1 + r0)
    truth = c * r1 / (c * r1 + (1 - c) * r0)
    for x in (0.0, 1.0):
        wrong = c * d / (x * d + (1 - c) * (1 - d))
        assert np.median(np.abs(wrong - truth)) > 0.05
    assert (c * d / ((1 - c) * (1 - d)) > 1).mean() > 0.4  # at x = 0 it is the odds

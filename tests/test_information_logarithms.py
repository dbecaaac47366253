"""Logits and log means against mpmath, on grids where the obvious formulas lose every digit."""

import accuracy_table
import mpmath_oracle
import numpy as np
import pytest
from scipy import special

from dpm_ref import bounds, information

EPS = 2.0**-52


@pytest.mark.parametrize("seed", [0, 1])
def test_divergence_from_logits_is_accurate_to_16_ulp(seed):
    a, b = accuracy_table.logits(np.random.default_rng(seed), 400)
    truth = [mpmath_oracle.bernoulli_kl_from_logits(x, y) for x, y in zip(a, b, strict=True)]
    assert mpmath_oracle.worst_ulp(information.bernoulli_kl_from_logits(a, b), truth) <= 16


def test_the_obvious_divergence_from_logits_loses_its_digits_on_this_grid():
    a, b = accuracy_table.logits(np.random.default_rng(0), 400)
    with np.errstate(all="ignore"):
        plain = special.expit(a) * (a - b) - np.logaddexp(0, a) + np.logaddexp(0, b)
    assert mpmath_oracle.worst_ulp(plain, [mpmath_oracle.bernoulli_kl_from_logits(x, y) for x, y in zip(a, b, strict=True)]) > 1e6


def test_divergence_from_logits_is_that_of_the_probabilities():
    a, b = np.array([-2.0, 0.5, 1.5]), np.array([1.0, 0.25, -3.0])
    pairs = [special.expit(sign * x) for x in (a, b) for sign in (1, -1)]
    np.testing.assert_allclose(information.bernoulli_kl_from_logits(a, b), bounds.bernoulli_kl(pairs[0], pairs[2], pairs[1], pairs[3]),
                               rtol=64 * EPS)  # differences of probabilities rounded at 1/2


def test_divergence_from_logits_is_zero_only_where_they_are_equal():
    a = np.array([-700.0, -1.0, 0.0, 3.0, 30.0])
    assert (information.bernoulli_kl_from_logits(a, a) == 0).all()
    unequal = a[[1, 3, 4]]  # at -700 the divergence, at 0 the difference of the logits, is below the smallest float
    assert (information.bernoulli_kl_from_logits(unequal, np.nextafter(unequal, np.inf)) > 0).all()


def test_divergence_from_logits_is_finite_where_the_probabilities_underflow():
    got = information.bernoulli_kl_from_logits(800.0, -800.0)
    assert got == pytest.approx(800.0, rel=4 * EPS, abs=0)  # log(1 / exp(-800)), all the weight being there


def test_divergence_from_logits_does_not_jump_where_its_form_changes():
    inside, outside = information.bernoulli_kl_from_logits(0.25, [1.25, np.nextafter(1.25, 2)])
    assert abs(inside - outside) <= 32 * EPS * inside


def test_log_sigmoid_is_accurate_to_4_ulp():
    a = accuracy_table.logits(np.random.default_rng(2), 2000)[0]
    truth = [-mpmath_oracle.mp.log1p(mpmath_oracle.mp.exp(-mpmath_oracle.mp.mpf(x))) for x in a]
    assert mpmath_oracle.worst_ulp(information.log_sigmoid(a), truth) <= 4


def test_logit_is_accurate_to_4_ulp():
    q1, _, q0, _ = accuracy_table.pairs(np.random.default_rng(3), 2000)
    laws = [mpmath_oracle.bit(a, b) for a, b in zip(q1, q0, strict=True)]
    assert mpmath_oracle.worst_ulp(information.logit(q1, q0), [law.log1 - law.log0 for law in laws]) <= 4


def test_logit_at_certain_bits_is_infinite():
    np.testing.assert_array_equal(information.logit([0.0, 0.5, 1.0]), [-np.inf, 0.0, np.inf])


def test_logit_undoes_the_sigmoid():
    assert np.abs(information.logit(special.expit(np.array([-3.0, 0.1, 2.0]))) - [-3.0, 0.1, 2.0]).max() < 16 * EPS


def test_log_mean_exp_is_accurate_to_2_eps_of_its_size():
    rng = np.random.default_rng(4)
    for _ in range(600):
        n = int(rng.integers(1, 300))
        values = rng.normal(0, 10.0 ** rng.uniform(-9, 2.5), n) + rng.choice([0.0, rng.normal(0, 300)])
        truth = mpmath_oracle.mp.log(mpmath_oracle.mp.fsum(mpmath_oracle.mp.exp(mpmath_oracle.mp.mpf(v)) for v in values) / n)
        scale = max(abs(values.max()), abs(float(truth)))
        assert mpmath_oracle.eps_error(information.log_mean_exp(values), truth, scale) <= 2


def test_the_obvious_log_mean_exp_misses_that_by_far_near_zero():
    values = np.array([1e-9, 3e-9])
    truth = mpmath_oracle.mp.log((mpmath_oracle.mp.exp(mpmath_oracle.mp.mpf(values[0])) + mpmath_oracle.mp.exp(mpmath_oracle.mp.mpf(values[1]))) / 2)
    assert mpmath_oracle.eps_error(special.logsumexp(values) - np.log(2), truth, 3e-9) > 1000


@pytest.mark.parametrize(("values", "truth"), [([-np.inf, -np.inf], -np.inf), ([-np.inf, 0.0], -np.log(2)), ([5.0], 5.0),
                                              ([-1e5, -1e5], -1e5)])
def test_log_mean_exp_of_zero_weights_and_of_far_ones(values, truth):
    assert information.log_mean_exp(values) == pytest.approx(truth, rel=EPS, abs=0)


def test_log_mean_exp_takes_any_axis():
    values = np.random.default_rng(5).normal(size=(3, 4, 5))
    for axis in (0, 1, 2, -1, -3):
        np.testing.assert_allclose(information.log_mean_exp(values, axis), np.log(np.exp(values).mean(axis)), rtol=1e-13, atol=1e-14)


def test_log_mean_exp_is_not_the_mean():
    assert information.log_mean_exp([0.0, 2.0]) > 1.1  # log mean, not mean log


@pytest.mark.parametrize(("call", "message"), [
    (lambda: information.log_mean_exp([np.nan]), "values must be real or -inf, got nan"),
    (lambda: information.log_mean_exp([np.inf]), "values must be real or -inf, got inf"),
    (lambda: information.log_mean_exp([1.0], axis=1), "axis must .* got 1"),
    (lambda: information.log_mean_exp(1.0), "axis must"),
    (lambda: information.log_mean_exp(np.zeros((2, 0))), "axis must"),
    (lambda: information.log_sigmoid(np.inf), "a must be finite, got inf"),
    (lambda: information.bernoulli_kl_from_logits(np.nan, 0.0), "a_q must be finite"),
    (lambda: information.bernoulli_kl_from_logits(0.0, -np.inf), "a_p must be finite"),
    (lambda: information.bernoulli_kl_from_logits([0.0, 1.0], [0.0, 1.0, 2.0]), "shapes must broadcast"),
    (lambda: information.logit(1.5), r"p1 must lie in \[0, 1\], got 1.5"),
])
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()

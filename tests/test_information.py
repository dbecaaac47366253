"""Entropies and divergences of one component: values by quadrature, sums over states and mpmath."""

import accuracy_table
import mpmath_oracle
import numpy as np
import pytest
from scipy import special

from dpm_ref import bounds, information

EPS = 2.0**-52


def gaussians(n=200):
    rng = np.random.default_rng(1)
    return (
        rng.normal(size=n),
        rng.uniform(0.1, 5.0, n),
        rng.normal(size=n),
        rng.uniform(0.1, 5.0, n),
    )


def probabilities(n=200):
    rng = np.random.default_rng(2)
    return rng.uniform(0.01, 0.99, n), rng.uniform(0.01, 0.99, n)


def test_to_bits_of_the_entropy_of_a_fair_coin_is_one():
    assert bounds.to_bits(information.bernoulli_entropy(0.5)) == 1.0


def test_gaussian_kl_equals_the_quadrature_of_its_definition():
    x = np.arange(-20, 20, 1 / 16)
    q = np.exp(-((x - 1.0) ** 2) / 4) / np.sqrt(4 * np.pi)
    log_ratio = -((x - 1.0) ** 2) / 4 + (x + 0.5) ** 2 / 6 + 0.5 * np.log(3 / 2)
    assert float(information.gaussian_kl(1.0, 2.0, -0.5, 3.0)) == pytest.approx(
        (q * log_ratio).sum() / 16, rel=1e-13
    )  # quadrature


def test_gaussian_kl_of_shifted_laws_is_half_the_squared_shift():
    assert information.gaussian_kl(3.0, 1.0, 1.0, 1.0) == 2.0


def test_gaussian_kl_agrees_with_mpmath():
    laws = gaussians()
    assert (
        mpmath_oracle.worst_ulp(
            information.gaussian_kl(*laws), map(mpmath_oracle.gaussian_kl, *laws)
        )
        <= 8
    )


def test_gaussian_kl_is_continuous_where_its_evaluation_changes():
    """Variance ratios 0.3 and 3, either side."""
    ratio = np.concatenate([np.nextafter(c, [0, 9]) for c in (0.3, 0.5, 2.0, 3.0)] + [[0.3, 3.0]])
    assert (
        mpmath_oracle.worst_ulp(
            information.gaussian_kl(0, ratio, 0, 1),
            [mpmath_oracle.gaussian_kl(0, r, 0, 1) for r in ratio],
        )
        <= 8
    )


@pytest.mark.parametrize(("var_q", "var_p"), [(1e-300, 1.0), (1e300, 1.0), (1e-300, 1e300)])
def test_gaussian_kl_of_far_variances_is_finite_and_right(var_q, var_p):
    assert (
        mpmath_oracle.ulp_error(
            information.gaussian_kl(0, var_q, 0, var_p),
            mpmath_oracle.gaussian_kl(0, var_q, 0, var_p),
        )
        <= 8
    )


@pytest.mark.parametrize(
    "case",
    [
        (1e-10, 1e-320, 0.0, 1e-320),
        (1e-10, 1.0, 0.0, 5e-324),
        (0.0, 5e-324, 0.0, 5e-324),
        (1e154, 1.0, 0.0, 1e300),
        (1e-200, 1e-310, 0.0, 1e-308),
        (1e200, 1e-310, -1e200, 1e308),
        (0.0, 1e308, -1.0, 0.3),
        (0.0, 0.0328, 0.0, 1e-310),
        (0.0, 5e-324, 0.0, 1e-310),
        (1.5e154, 1.0, -3e153, 1.0),
        (0.0, 2e-323, 0.0, 5e-324),
    ],
)
def test_gaussian_kl_is_right_where_only_its_intermediates_leave_the_floats(case):
    assert (
        mpmath_oracle.ulp_error(information.gaussian_kl(*case), mpmath_oracle.gaussian_kl(*case))
        <= 8
    )


def test_gaussian_kl_beyond_the_floats_is_infinite():
    assert information.gaussian_kl(1e200, 1.0, -1e200, 1.0) == np.inf


def test_gaussian_entropy_agrees_with_mpmath():
    _, var, _, _ = gaussians()
    assert (
        mpmath_oracle.worst_ulp(
            information.gaussian_entropy(var), map(mpmath_oracle.gaussian_entropy, var)
        )
        <= 6
    )  # 2 eps near its zero


def test_probability_pair_completes_a_single_probability():
    np.testing.assert_array_equal(
        information.probability_pair([0.25, 1.0]), [[0.25, 1.0], [0.75, 0.0]]
    )


def test_probability_pair_takes_the_smaller_member_as_exact():
    got = information.probability_pair([1.0, 1e-300, 0.75], [1e-20, 1.0, 0.25 - EPS])
    np.testing.assert_array_equal(got, [[1.0, 1e-300, 0.75 + EPS], [1e-20, 1.0, 0.25 - EPS]])


def test_probability_pair_accepts_what_four_roundings_can_do():
    information.probability_pair(0.5, 0.5 + 4 * EPS)
    with pytest.raises(ValueError, match="must be 1 within rounding"):
        information.probability_pair(0.5, 0.5 + 5 * EPS)


def test_probability_pair_measures_rounding_in_the_coarser_dtype():
    information.probability_pair(np.float32(0.1), 0.9)
    information.probability_pair(0.1, np.float32(0.9))
    with pytest.raises(ValueError, match="must be 1 within rounding"):
        information.probability_pair(0.1 + 1e-9, 0.9)


def test_bernoulli_kl_is_the_sum_over_both_states():
    q, p = probabilities()
    truth = [
        mpmath_oracle.bernoulli_kl(mpmath_oracle.bit(a), mpmath_oracle.bit(b))
        for a, b in zip(q, p, strict=True)
    ]
    assert mpmath_oracle.worst_ulp(information.bernoulli_kl(q, p), truth) <= 8


def test_bernoulli_kl_from_a_fair_coin_is_known():
    """KL( B(1/2) || B(1/4) ) = log(2) - log(3) / 2."""
    assert (
        mpmath_oracle.ulp_error(
            information.bernoulli_kl(0.5, 0.25),
            mpmath_oracle.mp.log(2) - mpmath_oracle.mp.log(3) / 2,
        )
        <= 8
    )


def test_bernoulli_kl_is_the_same_with_the_states_exchanged():
    q, p = probabilities()
    np.testing.assert_array_equal(
        information.bernoulli_kl(q, p, 1 - q, 1 - p), information.bernoulli_kl(1 - q, 1 - p, q, p)
    )


def test_bernoulli_kl_is_continuous_where_its_evaluation_changes():
    """(p - q) / q = -0.7 and 2, and probabilities about a half."""
    p = np.concatenate(
        [np.nextafter(c, [0, 1]) for c in (0.3 * 0.2, 0.5 * 0.2, 2 * 0.2, 3 * 0.2, 0.5)]
        + [[0.06, 0.6, 0.5]]
    )
    truth = [mpmath_oracle.bernoulli_kl(mpmath_oracle.bit(0.2), mpmath_oracle.bit(v)) for v in p]
    assert mpmath_oracle.worst_ulp(information.bernoulli_kl(0.2, p), truth) <= 8


def test_bernoulli_entropy_is_the_sum_over_both_states():
    p, _ = probabilities()
    assert (
        mpmath_oracle.worst_ulp(
            information.bernoulli_entropy(p),
            [mpmath_oracle.bernoulli_entropy(mpmath_oracle.bit(v)) for v in p],
        )
        <= 4
    )


def test_logit_agrees_with_mpmath_at_both_ends_and_in_the_middle():
    p1 = np.array([1e-300, 1e-10, 0.5 - 2.0**-40, 0.5 + 2.0**-40, 1.0 - 1e-10, 1.0])
    p0 = np.array([1.0, 1.0 - 1e-10, 0.5 + 2.0**-40, 0.5 - 2.0**-40, 1e-10, 1e-300])
    laws = [mpmath_oracle.bit(*law) for law in zip(p1, p0, strict=True)]
    assert (
        mpmath_oracle.worst_ulp(information.logit(p1, p0), [law.log1 - law.log0 for law in laws])
        <= 4
    )


def test_logit_of_certain_bits_is_infinite_and_of_a_fair_one_zero():
    np.testing.assert_array_equal(information.logit([0.0, 0.5, 1.0]), [-np.inf, 0.0, np.inf])


# The gradient checker itself


def gaussian_kl_gradient_gap(change):
    """How far complex step and a change of the derivatives written by hand are apart."""
    mq, vq, mp, vp = laws = gaussians()
    slope = (mq - mp) / vp
    by_hand = slope, 0.5 * (1 / vp - 1 / vq), -slope, 0.5 * ((vp - vq) / vp - vp * slope**2) / vp
    return mpmath_oracle.complex_step_gap(
        lambda mq, vq, mp, vp: 0.5 * (np.log(vp / vq) + (vq + (mq - mp) ** 2) / vp),
        laws,
        change(by_hand),
        rng=np.random.default_rng(7),
    )


def test_gradient_checker_accepts_the_right_gradient():
    assert gaussian_kl_gradient_gap(lambda g: g) < 1e-12


@pytest.mark.parametrize(
    "wrong",
    [
        lambda g: (g[0], g[1], -g[2], g[3]),
        lambda g: (g[0], 1.01 * g[1], g[2], g[3]),
        lambda g: (g[0], g[1], g[2], np.where(np.arange(200) == 7, 0.0, g[3])),
    ],
)
def test_gradient_checker_rejects_a_wrong_gradient(wrong):
    assert gaussian_kl_gradient_gap(wrong) > 1e-3


def test_gradient_checker_rejects_a_wrong_sign_of_a_tiny_gradient():
    x = np.array([1e-200, 1.0])
    assert (
        mpmath_oracle.complex_step_gap(
            lambda x: x * x, (x,), ([-2e-200, 2.0],), rng=np.random.default_rng(8)
        )
        > 1
    )


# The oracles themselves reject a wrong implementation


@pytest.mark.parametrize(
    "wrong",
    [
        lambda mq, vq, mp, vp: information.gaussian_kl(
            mq, np.sqrt(vq), mp, np.sqrt(vp)
        ),  # a standard deviation for a variance
        lambda mq, vq, mp, vp: information.gaussian_kl(mp, vp, mq, vq),  # the other direction
        lambda mq, vq, mp, vp: bounds.to_bits(information.gaussian_kl(mq, vq, mp, vp)),  # log2
        lambda mq, vq, mp, vp: information.gaussian_kl(mq, vq, mp, vp) * (1 + 1e-14),
    ],
)
def test_gaussian_kl_oracle_rejects_a_wrong_implementation(wrong):
    laws = gaussians()
    assert mpmath_oracle.worst_ulp(wrong(*laws), map(mpmath_oracle.gaussian_kl, *laws)) > 8


@pytest.mark.parametrize(
    "wrong",
    [
        lambda q, p: information.bernoulli_kl(p, q),
        lambda q, p: information.bernoulli_kl(1 - q, p),
        lambda q, p: information.bernoulli_kl(q, p) - information.bernoulli_entropy(q),
        lambda q, p: q * np.log(q / p),
    ],
)
def test_bernoulli_kl_oracle_rejects_a_wrong_implementation(wrong):
    q, p = probabilities()
    truth = [
        mpmath_oracle.bernoulli_kl(mpmath_oracle.bit(a), mpmath_oracle.bit(b))
        for a, b in zip(q, p, strict=True)
    ]
    assert mpmath_oracle.worst_ulp(wrong(q, p), truth) > 8


def test_ulp_error_counts_units_in_the_last_place():
    one = mpmath_oracle.mp.mpf(1)
    assert [mpmath_oracle.ulp_error(g, one) for g in (1.0, 1.0 + 2.0**-52, 1.0 - 2.0**-53)] == [
        0.0,
        1.0,
        0.5,
    ]


def test_ulp_error_of_a_lost_infinity_is_infinite():
    assert [mpmath_oracle.ulp_error(g, mpmath_oracle.mp.inf) for g in (np.inf, 1e308, np.nan)] == [
        0.0,
        np.inf,
        np.inf,
    ]


def test_ulp_error_of_an_infinity_in_a_number_s_place_is_infinite():
    assert mpmath_oracle.ulp_error(np.inf, mpmath_oracle.mp.mpf(1e308)) == np.inf


def test_ulp_error_of_a_lost_zero_is_infinite():
    assert mpmath_oracle.ulp_error(5e-324, mpmath_oracle.mp.mpf(0)) == np.inf


# Logits and log means


@pytest.mark.parametrize("seed", [0, 1])
def test_divergence_from_logits_is_accurate_to_16_ulp(seed):
    a, b = accuracy_table.logits(np.random.default_rng(seed), 400)
    truth = [mpmath_oracle.bernoulli_kl_from_logits(x, y) for x, y in zip(a, b, strict=True)]
    assert mpmath_oracle.worst_ulp(information._bernoulli_kl_from_logits(a, b), truth) <= 16


def test_the_obvious_divergence_from_logits_loses_its_digits_on_this_grid():
    a, b = accuracy_table.logits(np.random.default_rng(0), 400)
    with np.errstate(all="ignore"):
        plain = special.expit(a) * (a - b) - np.logaddexp(0, a) + np.logaddexp(0, b)
    assert (
        mpmath_oracle.worst_ulp(
            plain, [mpmath_oracle.bernoulli_kl_from_logits(x, y) for x, y in zip(a, b, strict=True)]
        )
        > 1e6
    )


def test_divergence_from_logits_is_that_of_the_probabilities():
    a, b = np.array([-2.0, 0.5, 1.5]), np.array([1.0, 0.25, -3.0])
    pairs = [special.expit(sign * x) for x in (a, b) for sign in (1, -1)]
    np.testing.assert_allclose(
        information._bernoulli_kl_from_logits(a, b),
        bounds.bernoulli_kl(pairs[0], pairs[2], pairs[1], pairs[3]),
        rtol=64 * EPS,
    )  # differences of probabilities rounded at 1/2


def test_divergence_from_logits_is_zero_only_where_they_are_equal():
    a = np.array([-700.0, -1.0, 0.0, 3.0, 30.0])
    assert (information._bernoulli_kl_from_logits(a, a) == 0).all()
    unequal = a[
        [1, 3, 4]
    ]  # at -700 the divergence, at 0 the difference of the logits, is below the smallest float
    assert (information._bernoulli_kl_from_logits(unequal, np.nextafter(unequal, np.inf)) > 0).all()


def test_divergence_from_logits_is_finite_where_the_probabilities_underflow():
    got = information._bernoulli_kl_from_logits(800.0, -800.0)
    assert got == pytest.approx(
        800.0, rel=4 * EPS, abs=0
    )  # log(1 / exp(-800)), all the weight being there


def test_divergence_from_logits_does_not_jump_where_its_form_changes():
    inside, outside = information._bernoulli_kl_from_logits(
        np.float64(0.25), np.array([1.25, np.nextafter(1.25, 2)])
    )
    assert abs(inside - outside) <= 32 * EPS * inside


def test_logit_is_accurate_to_4_ulp():
    q1, _, q0, _ = accuracy_table.pairs(np.random.default_rng(3), 2000)
    laws = [mpmath_oracle.bit(a, b) for a, b in zip(q1, q0, strict=True)]
    assert (
        mpmath_oracle.worst_ulp(information.logit(q1, q0), [law.log1 - law.log0 for law in laws])
        <= 4
    )


def test_logit_undoes_the_sigmoid():
    assert (
        np.abs(
            information.logit(special.expit(np.array([-3.0, 0.1, 2.0]))) - [-3.0, 0.1, 2.0]
        ).max()
        < 16 * EPS
    )


def test_log_mean_exp_is_accurate_to_2_eps_of_its_size():
    rng = np.random.default_rng(4)
    for _ in range(600):
        n = int(rng.integers(1, 300))
        values = rng.normal(0, 10.0 ** rng.uniform(-9, 2.5), n) + rng.choice(
            [0.0, rng.normal(0, 300)]
        )
        truth = mpmath_oracle.mp.log(
            mpmath_oracle.mp.fsum(mpmath_oracle.mp.exp(mpmath_oracle.mp.mpf(v)) for v in values) / n
        )
        scale = max(abs(values.max()), abs(float(truth)))
        assert mpmath_oracle.eps_error(information.log_mean_exp(values), truth, scale) <= 2


def test_log_mean_exp_near_its_zero_is_accurate_among_far_smaller_weights():
    """What the difference to the largest loses to rounding counts by its weight."""
    rng = np.random.default_rng(1)
    for _ in range(1000):
        values = -(10.0 ** rng.uniform(-6, 2, rng.integers(1, 12)))
        values[0] = 10.0 ** rng.uniform(-6, 0)
        exact = [mpmath_oracle.mp.exp(mpmath_oracle.exact(v)) for v in values]
        truth = mpmath_oracle.mp.log(mpmath_oracle.mp.fsum(exact) / len(values))
        scale = max(values[0], abs(float(truth)))
        assert mpmath_oracle.eps_error(information.log_mean_exp(values), truth, scale) <= 2


def test_the_obvious_log_mean_exp_misses_that_by_far_near_zero():
    values = np.array([1e-9, 3e-9])
    truth = mpmath_oracle.mp.log(
        (
            mpmath_oracle.mp.exp(mpmath_oracle.mp.mpf(values[0]))
            + mpmath_oracle.mp.exp(mpmath_oracle.mp.mpf(values[1]))
        )
        / 2
    )
    assert mpmath_oracle.eps_error(special.logsumexp(values) - np.log(2), truth, 3e-9) > 1000


@pytest.mark.parametrize(
    ("values", "truth"),
    [
        ([-np.inf, -np.inf], -np.inf),
        ([-np.inf, 0.0], -np.log(2)),
        ([5.0], 5.0),
        ([-1e5, -1e5], -1e5),
    ],
)
def test_log_mean_exp_of_zero_weights_and_of_far_ones(values, truth):
    assert information.log_mean_exp(values) == pytest.approx(truth, rel=EPS, abs=0)


def test_log_mean_exp_keeps_what_its_differences_lose():
    mp, values = mpmath_oracle.mp, [0.06598660811657196, -0.0677991935734103, -0.2898373078930148]
    truth = mp.log(mp.fsum(mp.exp(mp.mpf(value)) for value in values) / 3)
    assert mpmath_oracle.eps_error(information.log_mean_exp(values), truth, values[0]) <= 2


def test_log_mean_exp_takes_any_axis():
    values = np.random.default_rng(5).normal(size=(3, 4, 5))
    for axis in (0, 1, 2, -1, -3):
        np.testing.assert_allclose(
            information.log_mean_exp(values, axis),
            np.log(np.exp(values).mean(axis)),
            rtol=1e-13,
            atol=1e-14,
        )


def test_log_mean_exp_is_not_the_mean():
    assert information.log_mean_exp([0.0, 2.0]) > 1.1  # log mean, not mean log


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: information.log_mean_exp([np.nan]), "values must be real or -inf, got nan"),
        (lambda: information.log_mean_exp([np.inf]), "values must be real or -inf, got inf"),
        (lambda: information.log_mean_exp([1.0], axis=1), "axis must .* got 1"),
        (lambda: information.log_mean_exp(1.0), "axis must"),
        (lambda: information.log_mean_exp([1.0], axis=-2), "axis must .* got -2"),
        (lambda: information.log_mean_exp([1.0], axis=None), "axis must .* got None"),
        (lambda: information.log_mean_exp([1.0], axis=10**30), "axis must .* got 1000"),
        (lambda: information.log_mean_exp([1.0], axis=0.0), "axis must .* got 0.0"),
        (lambda: information.log_mean_exp([1.0], axis=(0,)), "axis must .* got "),
        (
            lambda: information.log_mean_exp(np.zeros((0, 3)), axis=0),
            "axis must be of length >= 1 .* got 0",
        ),
        (lambda: information.log_mean_exp(np.zeros((2, 0))), "axis must"),
        (lambda: information.logit(1.5), r"p1 must lie in \[0, 1\], got 1.5"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("shape", "axis", "left"), [((0, 3), -1, (0,)), ((2, 0, 3), 2, (2, 0))])
def test_log_mean_exp_of_no_rows_is_no_number(shape, axis, left):
    assert information.log_mean_exp(np.zeros(shape), axis).shape == left


def test_log_mean_exp_of_values_as_far_apart_as_floats_go_warns_of_nothing():
    assert information.log_mean_exp([1e308, -1e308]) == 1e308
    assert information.log_mean_exp([-1e308, -1.7e308]) == -1e308


def test_log_mean_exp_has_the_same_bits_for_any_layout():
    values = np.random.default_rng(6).normal(size=(7, 40))
    alone = [information.log_mean_exp(row) for row in values]
    np.testing.assert_array_equal(information.log_mean_exp(np.asfortranarray(values)), alone)
    np.testing.assert_array_equal(information.log_mean_exp(values.T, 0), alone)


def test_entropy_of_bits_at_the_smallest_probabilities():
    small = [5e-324, 1e-310, 2.3e-308]
    truth = [mpmath_oracle.bernoulli_entropy(mpmath_oracle.bit(p)) for p in small]
    assert mpmath_oracle.worst_ulp(information.bernoulli_entropy(small), truth) <= 4


def test_the_cores_are_the_functions():
    q, p = probabilities()
    np.testing.assert_array_equal(
        information._bernoulli_kl(q, 1 - q, p, 1 - p), information.bernoulli_kl(q, p)
    )
    laws = gaussians()
    np.testing.assert_array_equal(information._gaussian_kl(*laws), information.gaussian_kl(*laws))


def test_a_pair_shares_no_memory_with_its_arguments():
    prob = np.array([0.25, 0.75])
    for pair in (information.probability_pair(prob), information.probability_pair(prob, 1 - prob)):
        assert not any(np.shares_memory(member, prob) for member in pair)

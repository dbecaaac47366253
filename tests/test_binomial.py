"""The binomial column of Table App.1 against enumeration and mpmath."""

from types import SimpleNamespace

import mpmath_oracle
import numpy as np
import pytest
from scipy import stats

from dpm_ref import Bernoulli, BinomialDiffusion, binomial

EPS = 2.0**-52
BETA = [0.2, 0.3, 0.4]
PRIORS = [0.5, 0.2, 0.9]
BITS = (0, 1)


def some_probabilities():
    rng = np.random.default_rng(1)
    return rng.uniform(0.05, 0.95, size=(5, 3)), rng.uniform(0.05, 0.95, size=(5, 3))


def pairs(law):
    """The members of a law over vectors of one bit."""
    return [float(law.prob1[..., 0]), float(law.prob0[..., 0])]


# The law


def test_log_prob_is_the_log_of_the_product_over_bits():
    p = [0.2, 0.7, 0.999]
    for x in mpmath_oracle.binary_states(3):
        truth = mpmath_oracle.mp.log(
            mpmath_oracle.vector_prob(x, [mpmath_oracle.bit(v)[:2] for v in p])
        )
        assert mpmath_oracle.eps_error(Bernoulli(p).log_prob(x), truth, abs(truth)) <= 8


def test_probabilities_of_all_states_sum_to_one():
    assert np.exp(
        Bernoulli([0.2, 0.7, 0.999]).log_prob(mpmath_oracle.binary_states(3))
    ).sum() == pytest.approx(1, abs=8 * EPS)


@pytest.mark.parametrize(
    ("prob1", "x", "truth"), [(0.0, 1, -np.inf), (0.0, 0, 0.0), (1.0, 1, 0.0), (1.0, 0, -np.inf)]
)
def test_log_prob_of_a_certain_bit(prob1, x, truth):
    assert Bernoulli([prob1]).log_prob([x]) == truth


def test_log_prob_of_a_nearly_certain_bit_uses_the_small_member():
    law = Bernoulli([1.0], [1e-300])
    assert (
        mpmath_oracle.worst_ulp(
            [law.log_prob([1]), law.log_prob([0])], mpmath_oracle.bit(1.0, 1e-300)[2:]
        )
        <= 1
    )


def test_entropy_is_the_sum_over_states():
    p = [0.2, 0.7, 0.999]
    truth = mpmath_oracle.entropy_of(
        mpmath_oracle.vector_prob(x, [mpmath_oracle.bit(v)[:2] for v in p])
        for x in mpmath_oracle.binary_states(3)
    )
    assert mpmath_oracle.ulp_error(Bernoulli(p).entropy(), truth) <= 4


def test_kl_is_the_sum_over_states():
    q, p = [0.2, 0.7, 0.999], [0.3, 0.5, 0.01]
    laws = [[mpmath_oracle.bit(v)[:2] for v in law] for law in (q, p)]
    truth = sum(
        mpmath_oracle.vector_prob(x, laws[0])
        * mpmath_oracle.mp.log(
            mpmath_oracle.vector_prob(x, laws[0]) / mpmath_oracle.vector_prob(x, laws[1])
        )
        for x in mpmath_oracle.binary_states(3)
    )
    assert mpmath_oracle.ulp_error(Bernoulli(q).kl(Bernoulli(p)), truth) <= 8


def test_kl_keeps_both_members_of_both_laws():
    q, p = Bernoulli([1.0], [1e-200]), Bernoulli([1.0], [1e-100])
    assert (
        mpmath_oracle.ulp_error(
            q.kl(p),
            mpmath_oracle.bernoulli_kl(
                mpmath_oracle.bit(1.0, 1e-200), mpmath_oracle.bit(1.0, 1e-100)
            ),
        )
        <= 8
    )


def test_kl_is_infinite_where_the_other_law_excludes_a_state():
    assert Bernoulli([0.5]).kl(Bernoulli([0.0])) == np.inf


def test_sample_is_one_where_the_noise_is_below_prob1():
    np.testing.assert_array_equal(
        Bernoulli([0.25, 0.75]).at([[0.25, 0.5], [0.2, 0.75]]), [[0.0, 1.0], [1.0, 0.0]]
    )


@pytest.mark.parametrize("prob1", [0.2, 0.5, 0.95])
def test_sample_has_the_law_that_it_says(prob1):
    n = 200_000
    ones = int(Bernoulli(np.full((n, 1), prob1)).sample(rng=np.random.default_rng(5)).sum())
    assert stats.binomtest(ones, n, prob1).pvalue > mpmath_oracle.FALSE_ALARM
    assert (
        stats.binomtest(ones, n, 0.95 * prob1).pvalue < mpmath_oracle.FALSE_ALARM
    )  # power: a probability 5 % off is seen


def test_sample_bits_are_independent():
    draws = Bernoulli(np.full((20_000, 2), 0.4)).sample(rng=np.random.default_rng(6))
    assert stats.pearsonr(draws[:, 0], draws[:, 1]).pvalue > mpmath_oracle.FALSE_ALARM
    copied = np.where(np.random.default_rng(7).random(20_000) < 0.1, draws[:, 0], draws[:, 1])
    assert (
        stats.pearsonr(draws[:, 0], copied).pvalue < mpmath_oracle.FALSE_ALARM
    )  # power: one bit in ten copied


def test_sample_is_float64_zeros_and_ones():
    draws = Bernoulli(np.full((50, 2), 0.4)).sample(rng=np.random.default_rng(8))
    assert draws.dtype == np.float64
    assert set(np.unique(draws)) == {0.0, 1.0}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_is_uniform_and_of_the_dtype_asked_for(dtype):
    noise = Bernoulli.noise((100_000, 1), rng=np.random.default_rng(9), dtype=dtype)
    assert (noise.shape, noise.dtype) == ((100_000, 1), dtype)
    assert stats.kstest(noise.ravel(), "uniform").pvalue > mpmath_oracle.FALSE_ALARM
    assert stats.kstest(0.95 * noise.ravel(), "uniform").pvalue < mpmath_oracle.FALSE_ALARM  # power


def test_a_pair_is_read_from_its_smaller_member():
    law = Bernoulli([1.0, 1e-300], [1e-20, 1.0])
    np.testing.assert_array_equal([law.prob1, law.prob0], [[1.0, 1e-300], [1e-20, 1.0]])


def test_a_float32_pair_is_accepted_within_its_own_rounding():
    p1 = np.array([0.1, 0.7], dtype=np.float32)
    law = Bernoulli(p1, np.float32(1) - p1)
    np.testing.assert_array_equal(law.prob1 + law.prob0, [1.0, 1.0])


def test_law_parameters_cannot_be_written():
    law = Bernoulli([0.5, 0.25])
    assert not law.prob1.flags.writeable
    assert not law.prob0.flags.writeable


def test_shape_is_that_of_the_broadcast_pair():
    assert Bernoulli(np.full((4, 1), 0.5), np.full(3, 0.5)).shape == (4, 3)


def test_like_takes_any_object_with_prob1():
    assert pairs(Bernoulli.like(SimpleNamespace(prob1=[0.25]))) == [0.25, 0.75]


def test_like_takes_prob0_where_there_is_one():
    assert pairs(Bernoulli.like(SimpleNamespace(prob1=[1.0], prob0=[1e-30]))) == [1.0, 1e-30]


# The diffusion


@pytest.mark.parametrize("prior", [0.5, [0.5, 0.2, 0.9]])
def test_prior_is_the_law_of_independent_bits_pi(prior):
    law = BinomialDiffusion(BETA, prior).prior(3)
    np.testing.assert_array_equal(law.prob1, np.broadcast_to(prior, 3))
    np.testing.assert_array_equal(law.prob0, 1 - np.broadcast_to(prior, 3))


def test_prior_keeps_a_tiny_probability():
    assert pairs(BinomialDiffusion(BETA, 1e-300).prior(1)) == [1e-300, 1.0]


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("t", [1, 2, 3])
@pytest.mark.parametrize("x", BITS)
def test_kernel_keeps_the_bit_or_draws_it_anew(prior, t, x):
    truth = mpmath_oracle.binomial_kernel(x, BETA[t - 1], prior)
    assert mpmath_oracle.worst_ulp(pairs(BinomialDiffusion(BETA, prior).kernel([x], t)), truth) <= 8


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("t", [1, 2, 3])
@pytest.mark.parametrize("x0", BITS)
def test_marginal_is_the_composition_of_kernels(prior, t, x0):
    law = mpmath_oracle.BinaryChain({(x0,): 1.0}, BETA, [prior]).given((x0,), t)
    assert (
        mpmath_oracle.worst_ulp(
            pairs(BinomialDiffusion(BETA, prior).marginal([x0], t)), [law[(1,)], law[(0,)]]
        )
        <= 8
    )


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("t", [2, 3])
@pytest.mark.parametrize("x0", BITS)
@pytest.mark.parametrize("xt", BITS)
def test_posterior_equals_bayes_by_enumeration(prior, t, x0, xt):
    chain = mpmath_oracle.BinaryChain({(x0,): 1.0}, BETA, [prior])
    truth = [
        chain.given((x0,), t - 1)[(x,)] * chain.step((x,), (xt,), t) / chain.given((x0,), t)[(xt,)]
        for x in (1, 0)
    ]
    assert (
        mpmath_oracle.worst_ulp(
            pairs(BinomialDiffusion(BETA, prior).posterior([x0], [xt], t)), truth
        )
        <= 8
    )


def test_posterior_of_data_twice_seen_keeps_a_tiny_complement():
    beta, tables = [1e-12, 1e-12], mpmath_oracle.Tables([1e-12, 1e-12])
    law = BinomialDiffusion(beta).posterior([1], [1], 2)
    assert (
        mpmath_oracle.worst_ulp(pairs(law), mpmath_oracle.binomial_posterior(1, 1, tables, 2, 0.5))
        <= 8
    )
    assert law.prob0[0] < 1e-24


def test_posterior_after_everything_was_forgotten_does_not_see_x0():
    diffusion = BinomialDiffusion([0.2, 1.0, 0.3], 0.2)
    np.testing.assert_array_equal(
        diffusion.posterior([0], [1], 3).prob1, diffusion.posterior([1], [1], 3).prob1
    )
    assert diffusion.posterior([0], [1], 3).prob1[0] == pytest.approx(0.7 + 0.2 * 0.3, rel=8 * EPS)


def test_posterior_of_a_step_that_forgets_everything_does_not_see_xt():
    diffusion = BinomialDiffusion([0.3, 1.0], 0.2)
    for xt in BITS:
        assert diffusion.posterior([1], [xt], 2).prob1[0] == pytest.approx(
            0.7 + 0.2 * 0.3, rel=8 * EPS
        )


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("t", [1, 2, 3])
def test_kernel_is_reversible_with_respect_to_the_prior(prior, t):
    diffusion = BinomialDiffusion(BETA, prior)
    pi = diffusion.prior(1)
    there = pi.prob1[0] * diffusion.kernel([1], t).prob0[0]
    back = pi.prob0[0] * diffusion.kernel([0], t).prob1[0]
    assert there == pytest.approx(back, rel=8 * EPS)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("t", [1, 2, 3])
def test_prior_is_stationary_under_the_kernel(prior, t):
    diffusion = BinomialDiffusion(BETA, prior)
    after = (
        prior * diffusion.kernel([1], t).prob1[0] + (1 - prior) * diffusion.kernel([0], t).prob1[0]
    )
    assert after == pytest.approx(prior, rel=8 * EPS)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("x1", BITS)
def test_edge_is_the_first_kernel_turned_round_by_the_prior(prior, x1):
    pi = mpmath_oracle.bit(prior)
    bayes = [
        mpmath_oracle.binomial_kernel(x0, BETA[0], prior)[1 - x1] * pi[1 - x0] / pi[1 - x1]
        for x0 in (1, 0)
    ]
    assert mpmath_oracle.worst_ulp(pairs(BinomialDiffusion(BETA, prior).edge([x1])), bayes) <= 8


def test_each_bit_has_its_own_prior():
    diffusion = BinomialDiffusion(BETA, [0.2, 0.9])
    together = diffusion.posterior([[0, 1]], [[1, 1]], 2).prob1[0]
    apart = [
        BinomialDiffusion(BETA, p).posterior([x], [1], 2).prob1[0] for p, x in ((0.2, 0), (0.9, 1))
    ]
    np.testing.assert_array_equal(together, apart)


def test_times_broadcast_against_the_leading_axes():
    diffusion = BinomialDiffusion(BETA, 0.2)
    x0, xt = np.eye(4)[:, None, :2], np.tile(np.eye(2), (4, 1, 1))
    together = diffusion.posterior(x0, xt, np.array([2, 3]))
    for column, t in enumerate([2, 3]):
        alone = diffusion.posterior(x0[:, 0], xt[:, column], t)
        np.testing.assert_array_equal(together.prob1[:, column], alone.prob1)
        np.testing.assert_array_equal(together.prob0[:, column], alone.prob0)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("t", [1, 2, 3])
@pytest.mark.parametrize("x0", BITS)
def test_kernel_entropy_given_x0_is_that_of_the_joint_law(prior, t, x0):
    truth = mpmath_oracle.BinaryChain({(x0,): 1.0}, BETA, [prior]).step_entropy(t)
    assert (
        mpmath_oracle.ulp_error(BinomialDiffusion(BETA, prior).kernel_entropy([x0], t), truth) <= 16
    )  # two entropies, weighed and added


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("t", [2, 3])
@pytest.mark.parametrize("x0", BITS)
def test_posterior_entropy_is_that_of_the_joint_law(prior, t, x0):
    truth = mpmath_oracle.BinaryChain({(x0,): 1.0}, BETA, [prior]).posterior_entropy(t)
    assert (
        mpmath_oracle.ulp_error(BinomialDiffusion(BETA, prior).posterior_entropy([x0], t), truth)
        <= 16
    )  # as above


def test_entropies_sum_over_bits_and_keep_the_batch():
    diffusion = BinomialDiffusion(BETA, 0.2)
    x0 = np.array([[[0, 1, 1]], [[0, 0, 0]]])
    for entropy in (diffusion.kernel_entropy, diffusion.posterior_entropy):
        got = entropy(x0, 2)
        assert got.shape == (2, 1)
        zero, one = entropy([0], 2), entropy([1], 2)
        np.testing.assert_allclose(got, [[zero + 2 * one], [3 * zero]], rtol=8 * EPS)


def test_posterior_entropy_of_the_first_step_is_zero():
    assert BinomialDiffusion(BETA).posterior_entropy(np.zeros((4, 2)), 1).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("prior", "x0", "holds"),
    [
        (0.2, [[0], [1]], False),  # logit(.2) < 0, m = .5 > .2
        (0.2, [[0], [0]], True),
        (0.2, [[0], [0], [0], [0], [1]], True),  # m = pi
        (0.8, [[0], [1]], False),
        (0.8, [[1], [1]], True),
        (0.5, [[1], [1]], True),
        ([0.2, 0.8], [[1, 1]], False),
        ([0.2, 0.1], [[1, 0]], False),
        ([0.4, 0.01], [[1, 0], [0, 0]], True),  # the sum over bits counts: -.0405 + .0460
    ],
)
def test_entropy_is_promised_not_to_fall_where_the_mean_activity_is_on_the_likely_side(
    prior, x0, holds
):
    assert BinomialDiffusion(BETA, prior).entropy_never_falls(x0)[0] is holds


def test_equality_of_mean_activity_and_prior_counts_in_many_dimensions():
    half = np.ones(10_000)
    x0 = np.array(
        [np.concatenate([(k < 2) * half, (k < 4) * half]) for k in range(10)]
    )  # m = .2 and .4 around pi = .3
    assert BinomialDiffusion(BETA, 0.3).entropy_never_falls(x0)[0]


# Where intermediates leave the floats and results do not


def test_posterior_of_a_state_that_had_to_be_drawn_twice_keeps_its_small_member():
    """x^2 = 1 came from x^1 = 1 but for a chance of pi beta_2 / (pi beta_1) = 2e-300."""
    law = BinomialDiffusion([0.5, 1e-300], 1e-300).posterior([0], [1], 2)
    assert pairs(law) == [1.0, pytest.approx(2e-300, rel=8 * EPS)]


TINY = [1e-300, 3e-155, 1e-20, 0.25, 1 - 1e-10]


@pytest.mark.parametrize("prior", [2e-308, *TINY, 1 - 2.0**-53])
@pytest.mark.parametrize("x0", BITS)
@pytest.mark.parametrize("xt", BITS)
def test_posterior_of_hostile_schedules_is_bayes_rule(prior, x0, xt):
    """The truth at 900 digits, in which 1 - 1e-300 is not 1."""
    for first in [*TINY, 1.0]:
        for last in [*TINY, 1.0]:
            with mpmath_oracle.mp.workdps(900):
                tables = mpmath_oracle.Tables([first, last])
                truth = mpmath_oracle.binomial_posterior(x0, xt, tables, 2, prior)
                law = BinomialDiffusion([first, last], prior).posterior([x0], [xt], 2)
                assert mpmath_oracle.worst_ulp(pairs(law), truth) <= 8, (first, last)


@pytest.mark.parametrize("prior", TINY)
@pytest.mark.parametrize("x", BITS)
def test_kernel_and_marginal_of_hostile_schedules_are_accurate(prior, x):
    for first in [*TINY, 1.0]:
        with mpmath_oracle.mp.workdps(900):
            truth = mpmath_oracle.binomial_kernel(x, first, prior)
            diffusion = BinomialDiffusion([first], prior)
            for law in (diffusion.kernel([x], 1), diffusion.marginal([x], 1), diffusion.edge([x])):
                assert mpmath_oracle.worst_ulp(pairs(law), truth) <= 8, first


def test_a_posterior_takes_priors_and_times_apart_and_together():
    """Against one bit, one time at a call."""
    beta, prior = [0.5, 1e-300, 0.25, 1.0], [1e-300, 0.2, 0.75]
    x0, xt = (
        np.array([[0, 1, 1], [1, 0, 1], [0, 0, 0]]),
        np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0]]),
    )
    t = np.array([2, 3, 4])
    together = BinomialDiffusion(beta, prior).posterior(x0, xt, t)
    for row in range(3):
        for i, p in enumerate(prior):
            one = BinomialDiffusion(beta, p).posterior(
                x0[row, i : i + 1], xt[row, i : i + 1], t[row]
            )
            got = [together.prob1[row, i], together.prob0[row, i]]
            assert got == pairs(one)


def test_pairs_of_a_diffusion_are_complements():
    """The larger member is 1 minus the smaller, exactly."""
    diffusion = BinomialDiffusion(np.linspace(0.01, 0.9, 50), 0.3)
    x0, xt = (np.tile(row, (49, 1)) for row in ([0, 0, 1, 1], [0, 1, 0, 1]))
    t = np.arange(2, 51)
    for law in (diffusion.kernel(x0, t), diffusion.marginal(x0, t), diffusion.posterior(x0, xt, t)):
        small = np.minimum(law.prob1, law.prob0)
        np.testing.assert_array_equal(np.maximum(law.prob1, law.prob0), 1.0 - small)


def test_entropy_condition_of_tiny_priors_is_finite():
    condition = BinomialDiffusion([0.5], 1e-300).entropy_never_falls([[0], [1]])
    assert not condition[0]
    assert condition[1] == "sum_i logit(pi_i) (m_i - pi_i) = -345.388 < 0"


def test_entropy_condition_within_rounding_is_said_to_be_zero():
    x0 = [[0], [0], [0], [0], [1]]
    assert BinomialDiffusion(BETA, 0.2).entropy_never_falls(x0)[1] == (
        "sum_i logit(pi_i) (m_i - pi_i) = 0 >= 0"
    )


def test_log_probabilities_come_from_the_smaller_member():
    law = Bernoulli([1e-300, 1.0], [1.0, 1e-20])
    truth = [np.log(1e-300), np.log(1e-20)]
    np.testing.assert_allclose([law.log_prob([1, 1]), law.log_prob([0, 0])], truth, rtol=1e-15)
    np.testing.assert_allclose(Bernoulli([1.0], [1e-20]).log_prob([1]), -1e-20, rtol=1e-15)


def test_entropy_and_kl_of_laws_use_both_members():
    p, q = Bernoulli([1.0], [1e-20]), Bernoulli([1.0], [1e-21])
    np.testing.assert_allclose(p.entropy(), 1e-20 * (1 - np.log(1e-20)), rtol=1e-14)
    np.testing.assert_allclose(p.kl(q), 1e-20 * (np.log(10) - 0.9), rtol=1e-14)
    np.testing.assert_allclose(q.kl(p), 1e-21 * (9 - np.log(10)), rtol=1e-14)


@pytest.mark.parametrize("t", [1, 2])
def test_entropies_of_a_step_have_the_shape_of_the_batch(t):
    diffusion, x0 = BinomialDiffusion([0.2, 0.3]), np.zeros((4, 3, 2))
    assert diffusion.kernel_entropy(x0, t).shape == (4, 3)
    assert diffusion.posterior_entropy(x0, t).shape == (4, 3)


def test_axes_of_a_batch_are_all_averaged_over():
    x0 = np.random.default_rng(0).integers(2, size=(4, 3, 2))
    diffusion = BinomialDiffusion([0.2], [0.2, 0.4])
    assert diffusion.entropy_never_falls(x0) == diffusion.entropy_never_falls(x0.reshape(12, 2))


def test_a_prior_of_many_components_takes_no_memory():
    assert BinomialDiffusion(BETA).prior(10**9).shape == (10**9,)


def test_the_noise_of_a_law_is_drawn_at_random_and_compared_strictly():
    assert Bernoulli([0.5]).at(np.array([0.5])).item() == 0.0


def test_a_draw_brings_its_log_probability():
    law = Bernoulli([0.25, 0.5])
    x, log_p = law.drawn(np.array([0.2, 0.7]))
    assert x.tolist() == [1.0, 0.0]
    assert log_p == law.log_prob([1, 0])


def test_the_entropy_condition_does_not_see_the_memory_layout():
    rng = np.random.default_rng(3)
    x0, diffusion = rng.integers(2, size=(300, 20)), BinomialDiffusion(BETA, 0.3)
    first = diffusion.entropy_never_falls(x0)
    assert first == diffusion.entropy_never_falls(np.asfortranarray(x0))
    assert first == diffusion.entropy_never_falls(np.stack([x0, x0], -1)[..., 0])


def test_the_entropy_condition_of_even_bits_is_an_equality():
    statement = BinomialDiffusion(BETA, 0.5).entropy_never_falls([[0, 0], [0, 0]])[1]
    assert statement == "sum_i logit(pi_i) (m_i - pi_i) = 0 >= 0"


def test_kernel_entropy_of_a_complete_erasure_is_that_of_the_prior_however_rare_its_ones():
    got = BinomialDiffusion([0.5, 1.0], 1e-20).kernel_entropy([1], 2)
    assert got == pytest.approx(1e-20 * (1 + np.log(1e20)), rel=1e-15)


def test_data_are_named_in_every_refusal():
    for bad, rule in (([[2]], "be 0 or 1"), (np.zeros((0, 1)), "hold at least one data vector")):
        with pytest.raises(ValueError, match=f"^x0 must {rule}"):
            BinomialDiffusion(BETA).check_data("x0", bad)


def test_products_keep_exponents_apart_and_zero_is_below_all_others():
    """0.75 x 2^-2000, which no float64 holds."""
    mantissa, exponent = binomial.product([0.75 * 2.0**-1000, 0.0], [2.0**-1000, 1e300])
    assert (mantissa[0], exponent[0]) in ((0.75, -2000), (0.375, -1999))
    assert mantissa[1] == 0
    assert exponent[1] < -(2**19)


def test_shares_are_the_pair_and_the_sum_of_two_products():
    """3 and 1 times 2^-2000, whose sum is 2^-1998, and a product that is 0."""
    tiny = (np.array([0.75, 0.0]), np.array([-1998, -(2**30)]))
    (p1, p0), total, top = binomial.shares(tiny, (np.array([0.5, 0.5]), np.array([-1999, 3])))
    np.testing.assert_array_equal(p1, [0.75, 0.0])
    np.testing.assert_array_equal(p0, [0.25, 1.0])
    np.testing.assert_array_equal(total, [1.0, 0.5])
    np.testing.assert_array_equal(top, [-1998, 3])

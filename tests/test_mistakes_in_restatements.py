"""The mistakes that restatements of the paper make: each wrong form fails by value on a solvable
model, where the package does not.

Values, because an inequality cannot see them: a K with twice the divergences is still below the log
likelihood.
"""

import mpmath_oracle
import numpy as np
import pytest

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, bounds, schedules

EPS = 2.0**-52
ROUNDING = 64 * EPS  # a few dozen terms of order one, each accurate to a few eps
BETA = [0.2, 0.3, 0.4]
T = len(BETA)
TABLES = mpmath_oracle.Tables(BETA)
LINEAR = {2: (0.8, 0.1, 0.3), 3: (0.6, -0.2, 0.5)}  # p(x^{t-1}|x^t) = N(slope x^t + shift, var)
POINT = 1.5


def reverse(kernels):
    """Linear kernels as the package takes them."""

    def law(xt, t):
        slope, shift, var = map(float, kernels[t])
        return Gaussian(slope * xt + shift, var)

    return law


def package(kernels, x0, **options):
    """The package's bound with the average over noise exact."""
    return bounds.lower_bound(
        GaussianDiffusion(BETA),
        reverse(kernels),
        np.reshape(x0, (-1, 1)),
        rng=mpmath_oracle.Scripted(),
        n_samples=2,
        **options,
    )


def exact_kernels(chain):
    return {t: chain.reversal(t) for t in range(2, chain.tables.T + 1)}


def divergences(x0=POINT):
    chain = mpmath_oracle.GaussianChain(BETA)
    return [float(chain.expected_kl(x0, t, LINEAR[t])) for t in (2, 3)]


def truth(x0=POINT):
    return float(mpmath_oracle.GaussianChain(BETA).bound(x0, LINEAR))


def entropies():
    """H_q(X^t|X^0) for t = 0 (unused), 1, 2, 3."""
    return [np.nan] + [
        float(mpmath_oracle.gaussian_entropy(TABLES.one_minus_abar(t))) for t in (1, 2, 3)
    ]


def test_package_has_the_right_bound_at_the_point_of_the_mistakes():
    assert float(package(LINEAR, POINT).value[0]) == pytest.approx(truth(), abs=ROUNDING)


# K with twice the divergences


def test_bound_with_twice_the_divergences_is_off_by_their_sum_and_still_below_the_log_likelihood():
    wrong = truth() - sum(divergences())
    likelihood = float(mpmath_oracle.GaussianChain(BETA).log_prob(POINT, LINEAR))
    assert wrong < truth() < likelihood
    assert truth() - wrong > 0.1
    assert float(package(LINEAR, POINT).value[0]) != pytest.approx(wrong, abs=0.1)


def test_bound_with_twice_the_divergences_is_not_tight_on_data_from_the_prior():
    got = package(exact_kernels(mpmath_oracle.GaussianChain(BETA)), [-1.0, 1.0])
    tight = -float(mpmath_oracle.gaussian_entropy(1))
    assert float(got.value.mean()) == pytest.approx(tight, abs=1e-14)
    assert float((got.value - got.kl.sum(0)).mean()) < tight - 0.1


# The mean divergence over t times T, where there are T - 1 terms


def test_mean_divergence_times_T_counts_one_step_too_many():
    got = package(LINEAR, POINT)
    rest = truth() + sum(divergences())
    assert rest - T * np.mean(divergences()) != pytest.approx(truth(), abs=0.05)
    assert float(rest - (T - 1) * got.kl[:, 0].mean()) == pytest.approx(truth(), abs=ROUNDING)


# The entropies


def test_entropies_added_once_per_step_are_off_by_all_but_one_of_them():
    h = entropies()
    wrong = truth() + (T - 2) * (h[T] - h[1])
    assert abs(wrong - truth()) > 0.1
    assert float(package(LINEAR, POINT).value[0]) != pytest.approx(wrong, abs=0.1)


def test_both_edge_terms_together_count_the_last_step_twice():
    """-H_q(X^1|X^0) + cross-entropies to pi stand for E log p(x^0|x^1); adding it once more is off
    by just that.
    """
    edge = (
        -float(
            mpmath_oracle.mp.log(2 * mpmath_oracle.mp.pi * TABLES.beta[1])
            + (
                (
                    POINT
                    - mpmath_oracle.mp.sqrt(1 - TABLES.beta[1])
                    * TABLES.sqrt_abar(1)
                    * mpmath_oracle.exact(POINT)
                )
                ** 2
                + (1 - TABLES.beta[1]) * TABLES.one_minus_abar(1)
            )
            / TABLES.beta[1]
        )
        / 2
    )
    assert abs(edge) > 0.1
    by_edge = float(package(LINEAR, POINT, edge=GaussianDiffusion(BETA).edge).value[0])
    assert by_edge == pytest.approx(
        truth(), abs=ROUNDING
    )  # the explicit edge, in place of the entropies
    assert by_edge + edge != pytest.approx(truth(), abs=0.1)


def test_entropy_of_the_end_given_the_step_before_is_not_that_given_the_data():
    wrong = truth() - entropies()[T] + float(mpmath_oracle.gaussian_entropy(BETA[-1]))
    assert abs(wrong - truth()) > 0.1


# Equation (14) on data that breaks its precondition


def test_equation_14_exceeds_the_log_likelihood_where_its_precondition_fails():
    """N(0, 4): L = -2.278771, K = -2.486257, (14) = -1.682257."""
    got = package(exact_kernels(mpmath_oracle.GaussianChain(BETA, var=4.0)), [-2.0, 2.0])
    likelihood = -2.278771
    assert got.eq14 > likelihood + 0.5
    assert float(got.value.mean()) < likelihood - 0.2


def test_equation_14_is_the_bound_where_its_precondition_holds():
    got = package(LINEAR, [-1.0, 1.0])
    assert got.eq14 == pytest.approx(float(got.value.mean()), abs=ROUNDING)


def test_equation_14_exceeds_the_log_likelihood_for_bits_too():
    """One bit that is always 1, pi = 1/4: its log likelihood is at most 0."""
    beta, chain = [0.5, 0.5], mpmath_oracle.BinaryChain({(1,): 1.0}, [0.5, 0.5], [0.25])
    prob1 = {y: float(chain.reversal(2)((1,), (y,))) for y in (0, 1)}
    got = bounds.lower_bound(
        BinomialDiffusion(beta, 0.25),
        lambda xt, t: Bernoulli(np.where(xt == 1, prob1[1], prob1[0])),
        [[1]],
        rng=mpmath_oracle.Scripted(),
        n_samples=16,
    )
    likelihood = float(
        chain.log_prob((1,), {2: lambda x, y: mpmath_oracle.bit(prob1[y[0]])[1 - x[0]]})
    )
    assert got.eq14 > likelihood
    assert float(got.value[0]) <= likelihood


# Equation (24)


def test_lower_entropy_bound_with_the_reverse_entropy_inside_is_no_lower_bound():
    """H_q(X^{t-1}|X^t) in place of H_q(X^{t-1}|X^0), N(0, 1/4), t = 3."""
    chain, t = mpmath_oracle.GaussianChain(BETA, var=0.25), 3
    step, here = float(mpmath_oracle.gaussian_entropy(BETA[t - 1])), entropies()[t]
    reverse_entropy = float(chain.reverse_entropy(t))
    right = step + entropies()[t - 1] - here
    wrong = step + reverse_entropy - here
    got = bounds.reverse_entropy_bounds(GaussianDiffusion(BETA), [[-0.5], [0.5]], t)
    assert got.lower == pytest.approx(right, abs=ROUNDING)
    assert abs(wrong - right) > 0.1
    assert right <= reverse_entropy


def test_lower_entropy_bound_with_the_reverse_entropy_inside_misses_its_identity():
    """sum_{t>=2} gaps = I(X^0;X^1) - I(X^0;X^T) for the right form only."""
    chain = mpmath_oracle.BinaryChain({(1,): 0.5, (0,): 0.5}, BETA, [0.2])
    mutual = [float(chain.entropy(t) - chain.conditional_entropy(t)) for t in (1, T)]
    h = {t: float(chain.conditional_entropy(t)) for t in range(1, T + 1)}
    true = {t: float(chain.reverse_entropy(t)) for t in (2, 3)}
    right = {
        t: bounds.reverse_entropy_bounds(BinomialDiffusion(BETA, 0.2), [[0], [1]], t).lower
        for t in (2, 3)
    }
    wrong = {t: float(chain.step_entropy(t)) + true[t] - h[t] for t in (2, 3)}
    assert sum(true[t] - right[t] for t in (2, 3)) == pytest.approx(
        mutual[0] - mutual[1], abs=1e-14
    )
    assert sum(true[t] - wrong[t] for t in (2, 3)) != pytest.approx(mutual[0] - mutual[1], abs=1e-2)


def test_upper_entropy_bound_without_its_condition_is_passed_by_the_truth():
    """One bit, pi = .2, m = .5, beta = .1: 0.190205 > 0.188404."""
    got = bounds.reverse_entropy_bounds(BinomialDiffusion([0.1], 0.2), [[0], [1]], 1)
    assert (
        mpmath_oracle.BinaryChain({(0,): 0.5, (1,): 0.5}, [0.1], [0.2]).reverse_entropy(1)
        > got.upper
    )
    assert not got.upper_holds


def test_upper_entropy_bound_of_wide_normal_data_is_passed_by_the_truth():
    got = bounds.reverse_entropy_bounds(GaussianDiffusion(BETA), [[-2.0], [2.0]], 2)
    assert mpmath_oracle.GaussianChain(BETA, var=4.0).reverse_entropy(2) > got.upper
    assert not got.upper_holds


# The log likelihood of the data


def test_log_likelihood_is_weighted_by_the_data():
    """L = E_q log p, not the sum of log p over states; K is below the one, on either side of the
    other.
    """
    chain = mpmath_oracle.BinaryChain({(1,): 0.75, (0,): 0.25}, [0.5, 0.5], [0.25])
    prob1 = {y: float(chain.reversal(2)((1,), (y,))) for y in (0, 1)}
    kernels = {2: lambda x, y: mpmath_oracle.bit(prob1[y[0]])[1 - x[0]]}
    log_p = {x0: float(chain.log_prob(x0, kernels)) for x0 in ((0,), (1,))}
    right, wrong = 0.75 * log_p[(1,)] + 0.25 * log_p[(0,)], log_p[(1,)] + log_p[(0,)]
    got = bounds.lower_bound(
        BinomialDiffusion([0.5, 0.5], 0.25),
        lambda xt, t: Bernoulli(np.where(xt == 1, prob1[1], prob1[0])),
        [[1], [1], [1], [0]],
        rng=mpmath_oracle.Scripted(),
        n_samples=16,
    )
    assert wrong < float(got.value.mean()) <= right


# Variance and standard deviation, log2 and ln, abar_t and abar_{t-1}, t from 0


def test_standard_deviations_for_variances_change_the_divergence():
    laws = (0.5, 2.0, -0.5, 3.0)
    right, wrong = (
        mpmath_oracle.gaussian_kl(*laws),
        mpmath_oracle.gaussian_kl(0.5, 2.0**0.5, -0.5, 3.0**0.5),
    )
    assert abs(right - wrong) > 0.01
    assert mpmath_oracle.ulp_error(bounds.gaussian_kl(*laws), right) <= 8


def test_standard_deviation_for_variance_in_a_sample_is_another_law():
    assert Gaussian([0.0], 4.0).at([1.0]) == 2.0


def test_log2_for_ln_is_off_by_a_factor():
    assert mpmath_oracle.ulp_error(bounds.bernoulli_entropy(0.5), mpmath_oracle.mp.log(2)) <= 4
    assert bounds.bernoulli_entropy(0.5) != 1.0


def test_posterior_variance_has_abar_of_the_step_before():
    right = float(TABLES.posterior_var(3))
    wrong = float(TABLES.beta[3])  # abar_t in both places
    assert abs(right - wrong) > 0.05
    assert GaussianDiffusion(BETA).posterior([0.0], [0.0], 3).var[0] == right


def test_posterior_mean_has_abar_of_the_step_before():
    right, wrong = (
        float(TABLES.coefficient_x0(3)),
        float(TABLES.sqrt_abar(3) * TABLES.beta[3] / TABLES.one_minus_abar(3)),
    )
    assert abs(right - wrong) > 0.05
    assert GaussianDiffusion(BETA).posterior([1.0], [0.0], 3).mean[0] == right


def test_binomial_posterior_has_abar_of_the_step_before():
    right = float(mpmath_oracle.binomial_posterior(1, 1, TABLES, 3, 0.2)[0])
    late = mpmath_oracle.Tables([0.2, 1 - 0.7 * 0.6, 0.4])  # abar_2 replaced by abar_3
    wrong = float(mpmath_oracle.binomial_posterior(1, 1, late, 3, 0.2)[0])
    assert abs(right - wrong) > 0.01
    assert BinomialDiffusion(BETA, 0.2).posterior([1], [1], 3).prob1[0] == pytest.approx(
        right, rel=8 * EPS
    )


@pytest.mark.parametrize("t", [1, 2, 3])
def test_time_counts_from_one(t):
    assert GaussianDiffusion(BETA).kernel([0.0], t).var[0] == BETA[t - 1]


def test_time_zero_is_refused_rather_than_read_from_the_end():
    with pytest.raises(ValueError, match=r"t must lie in 1\.\.3, got 0"):
        GaussianDiffusion(BETA).kernel([0.0], 0)


def test_constant_erasure_counts_the_steps_left_from_T():
    """beta_1 = 1/T and beta_T = 1; with t from 0 it would start at 1/(T+1)."""
    beta = schedules.constant_erasure(5)
    assert (beta[0], beta[-1]) == (0.2, 1.0)

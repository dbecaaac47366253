"""The Gaussian column of Table App.1 against closed forms in mpmath and quadrature."""

from types import SimpleNamespace

import mpmath_oracle
import numpy as np
import pytest
from scipy import stats

from dpm_ref import Gaussian, GaussianDiffusion

EPS = 2.0**-52
BETA = [0.2, 0.3, 0.4]


def density(x, mean, var):
    return np.exp(-((x - mean) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var)


def grid(low, high):
    """Nodes and weight of the trapezoidal rule, exact to rounding for an analytic function that is
    negligible at both ends.
    """
    return np.arange(low, high, 1 / 16), 1 / 16


def some_laws():
    rng = np.random.default_rng(1)
    return (
        rng.normal(size=(5, 3)),
        rng.uniform(0.2, 3.0, size=(5, 3)),
        rng.normal(size=(5, 3)),
        rng.uniform(0.2, 3.0, size=(5, 3)),
    )


# The law


def test_log_prob_is_the_sum_over_components_of_the_log_density():
    mean, var, x, _ = some_laws()
    truth = [
        sum(mpmath_oracle.gaussian_log_prob(*c) for c in zip(*row, strict=True))
        for row in zip(x, mean, var, strict=True)
    ]
    np.testing.assert_allclose(
        Gaussian(mean, var).log_prob(x), np.array(truth, dtype=float), rtol=8 * EPS, atol=8 * EPS
    )


def test_density_integrates_to_one():
    x, weight = grid(-11.0, 13.0)
    law = Gaussian([1.0], 1.7)
    assert (
        abs((weight * np.exp(law.log_prob(x[:, None]))).sum() - 1) < 20 * EPS
    )  # 400 positive terms


def test_log_prob_far_out_is_minus_infinity_where_it_leaves_the_floats():
    assert Gaussian([0.0], 1.0).log_prob([1e200]) == -np.inf


def test_log_prob_survives_a_square_that_leaves_the_floats():
    assert (
        mpmath_oracle.ulp_error(
            Gaussian([0.0], 1e300).log_prob([1e200]),
            mpmath_oracle.gaussian_log_prob(1e200, 0, 1e300),
        )
        <= 8
    )


def test_entropy_is_the_integral_of_minus_p_log_p():
    x, weight = grid(-14.0, 14.0)
    p = density(x, 0.5, 1.3)
    truth = -(weight * p * np.log(p)).sum()
    assert abs(Gaussian([0.5], 1.3).entropy() - truth) < 1e-13  # quadrature error


@pytest.mark.parametrize("method", [
    lambda law: law.entropy(),
    lambda law: law.log_prob([1.0, 0.0]),
    lambda law: law.kl(Gaussian([0.0, 0.0], 1.0)),
    lambda law: Gaussian([0.0, 0.0], 1.0).kl(law),
])
def test_a_law_with_a_clamped_component_has_no_density(method):
    clamped = Gaussian.unchecked(np.array([1.0, 0.0]), np.array([0.0, 2.0]))
    message = r"var must be positive \(clamped components have no density\), got 0\.0"
    with pytest.raises(ValueError, match=message):
        method(clamped)


def test_entropy_sums_over_components():
    _, var, _, _ = some_laws()
    truth = np.array([float(sum(mpmath_oracle.gaussian_entropy(v) for v in row)) for row in var])
    np.testing.assert_allclose(Gaussian(0.0, var).entropy(), truth, rtol=8 * EPS)


def test_kl_is_the_integral_of_q_log_q_over_p():
    x, weight = grid(-14.0, 14.0)
    q = density(x, 0.5, 1.3)
    log_ratio = (x + 0.7) ** 2 / (2 * 0.8) - (x - 0.5) ** 2 / (2 * 1.3) + 0.5 * np.log(0.8 / 1.3)
    truth = (weight * q * log_ratio).sum()
    assert abs(Gaussian([0.5], 1.3).kl(Gaussian([-0.7], 0.8)) - truth) < 1e-13  # quadrature error


def test_kl_sums_over_components():
    mq, vq, mp, vp = some_laws()
    truth = [
        sum(mpmath_oracle.gaussian_kl(*c) for c in zip(*row, strict=True))
        for row in zip(mq, vq, mp, vp, strict=True)
    ]
    assert mpmath_oracle.worst_ulp(Gaussian(mq, vq).kl(Gaussian(mp, vp)), truth) <= 8


def test_kl_is_not_symmetric():
    assert Gaussian([0.0], 1.0).kl(Gaussian([0.0], 4.0)) == pytest.approx(
        0.5 * (0.25 - 1 + np.log(4.0)), rel=8 * EPS
    )


def test_sample_is_the_mean_plus_the_standard_deviation_times_the_noise():
    np.testing.assert_array_equal(
        Gaussian([1.0, -2.0], [4.0, 0.25]).at([[0.5, 2.0], [-1.0, 0.0]]),
        [[2.0, -1.0], [-1.0, -2.0]],
    )


def test_sample_has_the_law_that_it_says():
    law = Gaussian(np.full((100_000, 2), [1.0, -2.0]), [4.0, 0.25])
    unit = (law.sample(rng=np.random.default_rng(6)) - [1.0, -2.0]) / [2.0, 0.5]
    assert stats.kstest(unit.ravel(), "norm").pvalue > mpmath_oracle.FALSE_ALARM
    assert (
        stats.kstest(1.05 * unit.ravel(), "norm").pvalue < mpmath_oracle.FALSE_ALARM
    )  # power: a standard deviation 5 % off is seen


def test_sample_components_are_uncorrelated():
    draws = Gaussian(np.zeros((20_000, 2)), [1.0, 2.0]).sample(rng=np.random.default_rng(7))
    assert stats.pearsonr(draws[:, 0], draws[:, 1]).pvalue > mpmath_oracle.FALSE_ALARM
    assert (
        stats.pearsonr(draws[:, 0], draws[:, 1] + 0.1 * draws[:, 0]).pvalue
        < mpmath_oracle.FALSE_ALARM
    )  # power


def test_sample_is_the_same_for_the_same_generator():
    law = Gaussian(np.zeros(4), 1.0)
    np.testing.assert_array_equal(
        law.sample(rng=np.random.default_rng(8)), law.sample(rng=np.random.default_rng(8))
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_has_the_shape_and_the_dtype_asked_for(dtype):
    noise = Gaussian.noise((3, 2), rng=np.random.default_rng(9), dtype=dtype)
    assert (noise.shape, noise.dtype) == ((3, 2), dtype)


def test_law_parameters_cannot_be_written():
    law = Gaussian([0.0, 1.0], 1.0)
    assert not law.mean.flags.writeable
    assert not law.var.flags.writeable


def test_shape_is_that_of_the_broadcast_parameters():
    assert Gaussian(np.zeros((4, 1)), np.ones(3)).shape == (4, 3)


def test_like_takes_any_object_with_mean_and_var():
    law = Gaussian.like(SimpleNamespace(mean=[0.0, 2.0], var=[1.0, 4.0]))
    np.testing.assert_array_equal([law.mean, law.var], [[0.0, 2.0], [1.0, 4.0]])


# The diffusion


def test_prior_is_standard_normal():
    law = GaussianDiffusion(BETA).prior(3)
    np.testing.assert_array_equal([law.mean, law.var], [[0.0] * 3, [1.0] * 3])


@pytest.mark.parametrize("t", [1, 2, 3])
def test_kernel_shrinks_by_the_root_and_adds_beta(t):
    law = GaussianDiffusion([0.36, 0.75, 1.0]).kernel([[1.0, -2.0]], t)
    np.testing.assert_array_equal(law.mean, [[[0.8, -1.6], [0.5, -1.0], [0.0, 0.0]][t - 1]])
    np.testing.assert_array_equal(law.var, [[[0.36] * 2, [0.75] * 2, [1.0] * 2][t - 1]])


@pytest.mark.parametrize("t", [1, 2, 3])
def test_marginal_is_the_composition_of_kernels(t):
    mean, var = mpmath_oracle.mp.mpf("1.5"), mpmath_oracle.mp.mpf(0)
    for beta in map(mpmath_oracle.exact, BETA[:t]):
        mean, var = mpmath_oracle.mp.sqrt(1 - beta) * mean, (1 - beta) * var + beta
    law = GaussianDiffusion(BETA).marginal([1.5], t)
    assert (
        mpmath_oracle.worst_ulp([law.mean[0], law.var[0]], [mean, var]) <= 1.5
    )  # the mean: one product more than its coefficient


@pytest.mark.parametrize("t", [2, 3])
@pytest.mark.parametrize(("x0", "xt"), [(1.5, -0.3), (-0.4, 2.0), (0.0, 0.0)])
def test_posterior_equals_bayes_by_quadrature(t, x0, xt):
    abar = np.prod(1 - np.array(BETA[: t - 1]))
    x, weight = grid(-12.0, 12.0)
    joint = density(x, np.sqrt(abar) * x0, 1 - abar) * density(
        xt, np.sqrt(1 - BETA[t - 1]) * x, BETA[t - 1]
    )
    mean = (weight * joint * x).sum() / (weight * joint).sum()
    var = (weight * joint * (x - mean) ** 2).sum() / (weight * joint).sum()
    law = GaussianDiffusion(BETA).posterior([x0], [xt], t)
    np.testing.assert_allclose(
        [law.mean[0], law.var[0]], [mean, var], rtol=1e-13, atol=1e-14
    )  # quadrature error


def test_posterior_coefficients_are_its_means_at_the_unit_vectors():
    tables, diffusion = mpmath_oracle.Tables(BETA), GaussianDiffusion(BETA)
    got = diffusion.posterior([1.0, 0.0], [0.0, 1.0], 3).mean
    assert mpmath_oracle.worst_ulp(got, [tables.coefficient_x0(3), tables.coefficient_xt(3)]) <= 0.5


def test_posterior_after_everything_was_forgotten_does_not_see_x0():
    law = GaussianDiffusion([0.2, 1.0, 0.36]).posterior(
        [7.0], [1.0], 3
    )  # x^2 is standard normal, whatever x^0 was
    np.testing.assert_allclose([law.mean[0], law.var[0]], [0.8, 0.36], rtol=2 * EPS)


def test_posterior_of_a_step_that_forgets_everything_does_not_see_xt():
    diffusion = GaussianDiffusion([0.36, 1.0])
    law, marginal = diffusion.posterior([2.0], [1e6], 2), diffusion.marginal([2.0], 1)
    np.testing.assert_allclose(
        [law.mean[0], law.var[0]], [marginal.mean[0], marginal.var[0]], rtol=2 * EPS
    )


@pytest.mark.parametrize("t", [1, 2, 3])
def test_kernel_is_reversible_with_respect_to_the_prior(t):
    diffusion, rng = GaussianDiffusion(BETA), np.random.default_rng(10)
    x, y, prior = (
        rng.normal(size=(50, 2)),
        rng.normal(size=(50, 2)),
        GaussianDiffusion(BETA).prior(2),
    )
    there = prior.log_prob(x) + diffusion.kernel(x, t).log_prob(y)
    back = prior.log_prob(y) + diffusion.kernel(y, t).log_prob(x)
    np.testing.assert_allclose(there, back, rtol=0, atol=100 * EPS)  # log densities of a few tens


@pytest.mark.parametrize("t", [1, 2, 3])
def test_prior_is_stationary_under_the_kernel_by_quadrature(t):
    x, weight = grid(-12.0, 12.0)
    at = 0.7
    steps = np.exp(GaussianDiffusion(BETA).kernel(x[:, None], t).log_prob([at]))
    assert (
        abs((weight * density(x, 0.0, 1.0) * steps).sum() - density(at, 0.0, 1.0)) < 1e-14
    )  # quadrature error


def test_edge_is_the_first_kernel_turned_round_by_the_prior():
    diffusion, rng = GaussianDiffusion(BETA), np.random.default_rng(11)
    x0, x1, prior = (
        rng.normal(size=(50, 2)),
        rng.normal(size=(50, 2)),
        GaussianDiffusion(BETA).prior(2),
    )
    bayes = diffusion.kernel(x0, 1).log_prob(x1) + prior.log_prob(x0) - prior.log_prob(x1)
    np.testing.assert_allclose(
        diffusion.edge(x1).log_prob(x0), bayes, rtol=0, atol=100 * EPS
    )  # log densities of a few tens


def test_times_broadcast_against_the_leading_axes():
    diffusion, rng = GaussianDiffusion(BETA), np.random.default_rng(12)
    x0, xt = rng.normal(size=(4, 1, 2)), rng.normal(size=(4, 2, 2))
    together = diffusion.posterior(x0, xt, np.array([2, 3]))
    for column, t in enumerate([2, 3]):
        alone = diffusion.posterior(x0[:, 0], xt[:, column], t)
        np.testing.assert_array_equal(together.mean[:, column], alone.mean)
        np.testing.assert_array_equal(together.var[:, column], alone.var)


def test_an_array_of_times_and_one_vector_give_one_law_per_time():
    law = GaussianDiffusion(BETA).marginal([1.0, 2.0], np.arange(1, 4))
    abar = np.array([0.8, 0.56, 0.336])
    np.testing.assert_allclose(law.mean, np.sqrt(abar)[:, None] * [1.0, 2.0], rtol=4 * EPS)
    np.testing.assert_allclose(law.var, np.broadcast_to(1 - abar[:, None], (3, 2)), rtol=4 * EPS)


@pytest.mark.parametrize("t", [1, 2, 3])
def test_kernel_entropy_is_that_of_d_components_of_variance_beta(t):
    got = GaussianDiffusion(BETA).kernel_entropy(np.zeros((4, 2)), t)
    assert got.shape == (4,)
    assert mpmath_oracle.worst_ulp(got, [2 * mpmath_oracle.gaussian_entropy(BETA[t - 1])] * 4) <= 4


@pytest.mark.parametrize("t", [2, 3])
def test_posterior_entropy_is_that_of_d_components_of_the_posterior_variance(t):
    got = GaussianDiffusion(BETA).posterior_entropy(np.zeros((4, 2)), t)
    assert got.shape == (4,)
    assert (
        mpmath_oracle.worst_ulp(
            got,
            [2 * mpmath_oracle.gaussian_entropy(mpmath_oracle.Tables(BETA).posterior_var(t))] * 4,
        )
        <= 4
    )


def test_posterior_entropy_of_the_first_step_is_minus_infinity():
    assert GaussianDiffusion(BETA).posterior_entropy(np.zeros((4, 2)), 1).tolist() == [-np.inf] * 4


@pytest.mark.parametrize(
    ("x0", "holds"),
    [
        ([[1.0, 1.0], [-1.0, -1.0]], True),  # tr Cov = 2 = d
        ([[1.01, 1.0], [-1.01, -1.0]], False),
        ([[1.2, 0.1], [-1.2, -0.1]], True),  # one component above 1, the trace below d
        ([[9.0, 9.0], [9.0, 9.0]], True),  # the covariance, not the second moment
    ],
)
def test_entropy_is_promised_not_to_fall_where_the_trace_is_at_most_d(x0, holds):
    assert GaussianDiffusion(BETA).entropy_never_falls(x0)[0] is holds


@pytest.mark.parametrize(
    ("x0", "statement"),
    [
        ([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]], "tr Cov(x^0) = 1 <= d = 2"),
        ([[-2.0, 0.0], [2.0, 0.0]], "tr Cov(x^0) = 4 > d = 2"),
        ([[1e154], [-1e154]], "tr Cov(x^0) = 1e+308 > d = 1"),
        ([[1e200], [-1e200]], "tr Cov(x^0) = inf > d = 1"),
        ([[1e308], [-1e308]], "tr Cov(x^0) = inf > d = 1"),
        ([[1e200, 1e200]], "tr Cov(x^0) = 0 <= d = 2"),
        ([[1e-200], [-1e-200]], "tr Cov(x^0) = 0 <= d = 1"),
    ],
)
def test_entropy_condition_says_what_was_compared(x0, statement):
    condition = GaussianDiffusion(BETA).entropy_never_falls(x0)
    assert condition[1] == statement
    assert condition[0] is ("<=" in statement)


def test_axes_of_a_batch_are_all_averaged_over():
    x0 = np.random.default_rng(0).normal(size=(4, 3, 2))
    diffusion = GaussianDiffusion(BETA)
    assert diffusion.entropy_never_falls(x0) == diffusion.entropy_never_falls(x0.reshape(12, 2))


@pytest.mark.parametrize("t", [1, 2])
def test_entropies_of_a_step_have_the_shape_of_the_batch(t):
    diffusion, x0 = GaussianDiffusion([0.2, 0.3]), np.zeros((4, 3, 2))
    assert diffusion.kernel_entropy(x0, t).shape == (4, 3)
    assert diffusion.posterior_entropy(x0, t).shape == (4, 3)


@pytest.mark.parametrize(
    ("x", "mean", "var"),
    [
        (1e-10, 0.0, 1e-320),
        (1e-5, 0.0, 1e-310),
        (0.0, 0.0, 5e-324),
        (1e154, 0.0, 1.0),
        (1e200, -1e200, 1e300),
        (1e-160, 0.0, 1e-310),
        (1e300, 1e300, 1e-308),
    ],
)
def test_log_prob_is_right_where_only_its_intermediates_leave_the_floats(x, mean, var):
    truth = mpmath_oracle.gaussian_log_prob(x, mean, var)
    square = abs(truth) + abs(mpmath_oracle.mp.log(mpmath_oracle.exact(var)))
    assert mpmath_oracle.eps_error(Gaussian([mean], var).log_prob([x]), truth, square + 1) <= 8


@pytest.mark.parametrize("size", [1e150, 1e154, 1e155, 1e200, 1e308])
def test_huge_numbers_end_in_a_value_without_a_warning(size):
    diffusion = GaussianDiffusion(BETA)
    law = diffusion.posterior([size, -size], [-size, size], 2)
    values = [
        law.log_prob([-size, 0.0]),
        law.kl(diffusion.prior(2)),
        diffusion.prior(2).kl(law),
        diffusion.marginal([size, size], 3).kl(diffusion.prior(2)),
        law.entropy(),
    ]
    assert not np.isnan(values).any()


def test_a_prior_of_many_components_takes_no_memory():
    assert GaussianDiffusion(BETA).prior(10**9).shape == (10**9,)


def test_a_law_of_one_variance_for_all_is_that_of_as_many():
    mean, x = np.random.default_rng(1).normal(size=(2, 4, 3))
    one, many = Gaussian(mean, 2.0), Gaussian(mean, np.full((4, 3), 2.0))
    np.testing.assert_array_equal(one.log_prob(x), many.log_prob(x))
    np.testing.assert_array_equal(one.entropy(), many.entropy())
    np.testing.assert_array_equal(one.kl(many), np.zeros(4))


def test_a_draw_brings_its_log_density():
    law, noise = Gaussian([[1.0, -2.0]] * 2, [0.25, 3.0]), np.array([[0.5, -1.5], [2.0, 0.0]])
    x, log_p = law.drawn(noise)
    np.testing.assert_array_equal(x, law.at(noise))
    np.testing.assert_allclose(log_p, law.log_prob(x), rtol=8 * EPS)


def test_the_entropy_condition_does_not_see_the_memory_layout():
    rng = np.random.default_rng(3)
    x0, diffusion = rng.normal(size=(300, 20)), GaussianDiffusion(BETA)
    first = diffusion.entropy_never_falls(x0)
    assert first == diffusion.entropy_never_falls(np.asfortranarray(x0))
    assert first == diffusion.entropy_never_falls(np.stack([x0, x0], -1)[..., 0])


def test_data_are_named_in_every_refusal():
    diffusion = GaussianDiffusion([0.1])
    for bad, rule in (([np.inf], "be finite"), (np.zeros((0, 1)), "hold at least one data vector")):
        with pytest.raises(ValueError, match=f"^x0 must {rule}"):
            diffusion.check_data("x0", bad)

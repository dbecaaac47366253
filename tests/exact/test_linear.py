"""Linear-Gaussian chains against quadrature, against the joint Gaussian of the whole trajectory,
and against each other.
"""

import mpmath_oracle
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.integrate import trapezoid
from scipy.stats import multivariate_normal, norm

from dpm_ref import Gaussian, GaussianDiffusion, bounds
from dpm_ref.exact import FiniteData, GaussianData, LinearModel, ideal_bound

BETA = [0.2, 0.3, 0.4]
MEAN, COV = np.array([0.3, -0.5]), np.array([[0.8, 0.5], [0.5, 1.2]])


def random_kernels(seed, d, steps):
    rng = np.random.default_rng(seed)
    roots = rng.standard_normal((steps, d, d)) / 2 + np.eye(d)
    return [
        (rng.standard_normal((d, d)) / 2, rng.standard_normal(d), root @ root.T) for root in roots
    ]


def line(kernel):
    """The scalar conditional density of a one-dimensional kernel."""
    A, b, S = (float(np.squeeze(part)) for part in kernel)
    return lambda x_prev, xt: norm.pdf(x_prev, A * xt + b, np.sqrt(S))


# log p(x^0) and K of one model, by integrals over the trajectory


ONE = random_kernels(0, 1, 1)
TWO_STEPS = GaussianDiffusion([0.2, 0.3])


def test_log_likelihood_is_the_integral_over_the_trajectory():
    edge, step = line((np.sqrt(0.8), 0, 0.2)), line(ONE[0])
    x1, x2 = np.meshgrid(np.linspace(-14, 14, 1401), np.linspace(-10, 10, 1001), indexing="ij")
    for x0 in (
        -1.0,
        0.4,
    ):  # the trapezoidal rule converges exponentially on functions that decay like these
        integral = trapezoid(
            trapezoid(norm.pdf(x2) * step(x1, x2) * edge(x0, x1), dx=0.02), dx=0.02
        )
        assert LinearModel(TWO_STEPS, ONE).log_likelihood([x0]) == pytest.approx(
            np.log(integral), abs=1e-12
        )


def hermite_bound(x0, kernel, beta=(0.2, 0.3)):
    """E log w over q(x^1, x^2 | x^0): log w is quadratic, so three Gauss-Hermite nodes to a
    variable are exact.
    """
    nodes, weights = hermegauss(3)
    edge, step = line((np.sqrt(1 - beta[0]), 0, beta[0])), line(kernel)
    total = 0.0
    for n1, w1 in zip(nodes, weights, strict=True):
        x1 = np.sqrt(1 - beta[0]) * x0 + np.sqrt(beta[0]) * n1
        for n2, w2 in zip(nodes, weights, strict=True):
            x2 = np.sqrt(1 - beta[1]) * x1 + np.sqrt(beta[1]) * n2
            q = norm.pdf(n1) / np.sqrt(beta[0]) * norm.pdf(n2) / np.sqrt(beta[1])
            total += w1 * w2 / (2 * np.pi) * np.log(norm.pdf(x2) * step(x1, x2) * edge(x0, x1) / q)
    return total


@pytest.mark.parametrize("x0", [-1.0, 0.0, 2.5])
def test_lower_bound_is_the_average_log_weight_by_quadrature(x0):
    assert LinearModel(TWO_STEPS, ONE).lower_bound([x0]) == pytest.approx(
        hermite_bound(x0, ONE[0]), abs=1e-13
    )


WRONG = {
    "std for var": lambda A, b, S: (TWO_STEPS, (A, b, np.sqrt(S))),
    "mean turned round": lambda A, b, S: (TWO_STEPS, (A, -b, S)),
    "slope inverted": lambda A, b, S: (TWO_STEPS, (1 / A, b, S)),
    "t shifted by one": lambda A, b, S: (GaussianDiffusion([0.3, 0.2]), (A, b, S)),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_quadrature_rejects_a_wrong_model(wrong):
    diffusion, kernel = wrong(*ONE[0])
    assert (
        abs(LinearModel(diffusion, [kernel]).lower_bound([0.7]) - hermite_bound(0.7, ONE[0])) > 1e-3
    )


# Full covariances, against the joint law of the whole trajectory


def joint_reverse(kernels, edge, d):
    """Mean and covariance of (x^T, ..., x^0) under the model, by stacking x = M noise + shift."""
    rows, shift = [np.hstack([np.eye(d), np.zeros((d, d * (len(kernels) + 1)))])], [np.zeros(d)]
    for i, (A, b, S) in enumerate([*kernels[::-1], edge]):
        row = A @ rows[-1]
        row[:, d * (i + 1) : d * (i + 2)] += np.linalg.cholesky(S)
        rows.append(row)
        shift.append(A @ shift[-1] + b)
    M = np.vstack(rows)
    return np.concatenate(shift), M @ M.T


def test_log_likelihood_is_a_marginal_of_the_joint_trajectory():
    kernels, edge = random_kernels(1, 2, 2), random_kernels(2, 2, 1)[0]
    mean, cov = joint_reverse(kernels, edge, 2)
    x0 = np.random.default_rng(0).standard_normal((5, 2))
    got = LinearModel(GaussianDiffusion(BETA), kernels, edge).log_likelihood(x0)
    np.testing.assert_allclose(
        got, multivariate_normal(mean[-2:], cov[-2:, -2:]).logpdf(x0), rtol=1e-12
    )


def test_lower_bound_keeps_its_digits_where_a_step_is_smaller_than_rounding():
    """beta_2 = 2^-60 behind a kernel of variance 2^-40: the trace of the residual is 2^-20, and was
    once rounded to 0.
    """
    beta, kernels = [0.5, 2.0**-60, 0.25], [(1.0, 0.0, 2.0**-40), (0.875, 0.0, 0.25)]
    truth = mpmath_oracle.GaussianChain(beta).bound(-1.75, dict(enumerate(kernels, start=2)))
    model = LinearModel(GaussianDiffusion(beta), [([[a]], [b], [[v]]) for a, b, v in kernels])
    assert model.lower_bound([-1.75]) == pytest.approx(float(truth), abs=1e-13)


def test_lower_bound_is_a_cross_entropy_of_the_joint_trajectories():
    """K = E_q log p(x^{0..T}) + H_q(X^{1..T}|x^0), with both joint laws written out as one Gaussian
    each.
    """
    diffusion, kernels, edge = (
        GaussianDiffusion(BETA),
        random_kernels(3, 2, 2),
        random_kernels(4, 2, 1)[0],
    )
    p_mean, p_cov = joint_reverse(kernels, edge, 2)
    x0 = np.array([0.7, -1.1])
    abar = np.cumprod(1 - np.array(BETA))
    times = [2, 1, 0]  # x^3, x^2, x^1
    q_cov = np.array(
        [
            [np.sqrt(abar[max(s, t)] / abar[min(s, t)]) * (1 - abar[min(s, t)]) for s in times]
            for t in times
        ]
    )
    q_mean = np.concatenate([np.sqrt(abar[t]) * x0 for t in times] + [x0])
    q_cov = np.kron(q_cov, np.eye(2))
    padded = np.zeros((8, 8))
    padded[:6, :6] = q_cov
    inverse = np.linalg.inv(p_cov)
    cross = -0.5 * (
        np.linalg.slogdet(2 * np.pi * p_cov)[1]
        + np.trace(inverse @ padded)
        + (q_mean - p_mean) @ inverse @ (q_mean - p_mean)
    )
    truth = cross + multivariate_normal(np.zeros(6), q_cov).entropy()
    assert LinearModel(diffusion, kernels, edge).lower_bound(x0) == pytest.approx(truth, abs=1e-11)


def test_the_sampled_bound_agrees_with_the_algebra():
    diffusion = GaussianDiffusion(BETA)
    kernels = [(A, b, np.diag(np.diag(S))) for A, b, S in random_kernels(5, 3, 2)]
    model, x0 = LinearModel(diffusion, kernels), np.random.default_rng(1).standard_normal((6, 3))
    got = bounds.lower_bound(
        diffusion, model.reverse, x0, rng=np.random.default_rng(2), n_samples=4000
    )
    assert (
        np.abs((got.value - model.lower_bound(x0)) / got.stderr).max() < 5.8
    )  # 1e-8 two-sided, 6 vectors
    twice = got.value - got.kl.sum(0)
    assert (np.abs((twice - model.lower_bound(x0)) / got.stderr) > 20).all()


def test_a_learned_edge_is_sampled_as_in_the_algebra():
    diffusion = GaussianDiffusion(BETA)
    *kernels, edge = [(A, b, np.diag(np.diag(S))) for A, b, S in random_kernels(6, 2, 3)]
    model, x0 = LinearModel(diffusion, kernels, edge), np.array([[0.2, -0.4], [1.0, 1.0]])
    got = bounds.lower_bound(
        diffusion, model.reverse, x0, rng=np.random.default_rng(3), n_samples=4000, edge=model.edge
    )
    assert np.abs((got.value - model.lower_bound(x0)) / got.stderr).max() < 5.7


def test_one_step_has_no_kernels():
    model = LinearModel(GaussianDiffusion([0.2]), [], d=2)
    assert model.log_likelihood([0.0, 0.0]) == pytest.approx(-np.log(2 * np.pi), abs=1e-15)
    assert model.kl([0.0, 0.0]).shape == (0,)


# Data from the prior, and one wide Gaussian


@pytest.mark.parametrize("d", [1, 2, 5])
def test_data_from_the_prior_lose_nothing(d):
    data = GaussianData(GaussianDiffusion(BETA), np.zeros(d), np.eye(d))
    got = LinearModel(data.diffusion, data.kernels()).averages(data)
    np.testing.assert_allclose(got, -0.5 * d * np.log(2 * np.pi * np.e), rtol=0, atol=1e-14 * d)


def test_a_wide_gaussian_has_its_known_values():
    data = GaussianData(GaussianDiffusion(BETA), [0.0], [[4.0]])
    got = LinearModel(data.diffusion, data.kernels()).averages(data)
    assert [round(value, 6) for value in got] == [-2.278771, -2.486257, -1.682257]


def test_a_wide_gaussian_at_an_atom_is_the_same():
    data = GaussianData(GaussianDiffusion(BETA), [0.5, -1.0], 4.0 * np.eye(2))
    got = ideal_bound(
        FiniteData(data.diffusion, [[0.5, -1.0]], var=4.0), rng=np.random.default_rng(0)
    )
    assert got.value == pytest.approx(
        LinearModel(data.diffusion, data.kernels()).averages(data).bound, abs=1e-13
    )


@pytest.mark.parametrize("d", [1, 2])
def test_equation_14_exceeds_the_bound_by_the_stated_amount(d):
    data = GaussianData(GaussianDiffusion(BETA), MEAN[:d], COV[:d, :d])
    got = LinearModel(data.diffusion, random_kernels(7, d, 2)).averages(data)
    stated = (
        0.5
        * (MEAN[:d] @ MEAN[:d] + np.trace(COV[:d, :d]) - d)
        * (np.prod(1 - np.array(BETA)) + BETA[0])
    )
    assert got.eq14 - got.bound == pytest.approx(stated, abs=1e-13)


# The exact reversal


@pytest.mark.parametrize("t", [1, 2, 3])
def test_the_reversal_is_bayes_rule(t):
    data = GaussianData(GaussianDiffusion(BETA), MEAN, COV)
    A, b, S = data.reversal(t)
    x_prev, xt = np.array([0.4, -0.2]), np.array([1.5, 0.3])
    bayes = (
        multivariate_normal(*data.marginal(t - 1)).logpdf(x_prev)
        + data.diffusion.kernel(x_prev, t).log_prob(xt)
        - multivariate_normal(*data.marginal(t)).logpdf(xt)
    )
    assert multivariate_normal(A @ xt + b, S).logpdf(x_prev) == pytest.approx(bayes, abs=1e-13)


def test_the_marginal_is_the_forward_recursion():
    data = GaussianData(GaussianDiffusion(BETA), MEAN, COV)
    mean, cov = MEAN, COV
    for t, rate in enumerate(BETA, start=1):
        mean, cov = np.sqrt(1 - rate) * mean, (1 - rate) * cov + rate * np.eye(2)
        np.testing.assert_allclose(data.marginal(t)[0], mean, rtol=1e-14)
        np.testing.assert_allclose(data.marginal(t)[1], cov, rtol=1e-14)


def test_the_exact_reversal_of_forgotten_data_is_the_data():
    data = GaussianData(GaussianDiffusion([0.2, 0.5, 1.0]), MEAN, COV)
    got = LinearModel(data.diffusion, data.kernels(), data.reversal(1)).averages(data)
    np.testing.assert_allclose(got[:2], -data.entropy(0), rtol=0, atol=2e-14)
    assert np.isnan(got.eq14)


def test_the_exact_reversal_returns_the_data_law():
    data = GaussianData(GaussianDiffusion([0.2, 0.5, 1.0]), MEAN, COV)
    mean, cov = LinearModel(data.diffusion, data.kernels(), data.reversal(1)).marginal(0)
    np.testing.assert_allclose(mean, MEAN, rtol=1e-14)
    np.testing.assert_allclose(cov, COV, rtol=1e-14)


def test_the_exact_reversal_reaches_null_plus_the_divergence_of_both_ends():
    data = GaussianData(GaussianDiffusion(BETA), MEAN, COV)

    def divergence(t):  # KL( q(x^t) || N(0, I) )
        mean, cov = data.marginal(t)
        return 0.5 * (np.trace(cov) - 2 + mean @ mean - np.linalg.slogdet(cov)[1])

    null = -np.log(2 * np.pi) - 0.5 * (MEAN @ MEAN + np.trace(COV))
    got = LinearModel(data.diffusion, data.kernels()).averages(data).bound
    assert got == pytest.approx(null + divergence(1) - divergence(3), abs=1e-14)


def test_the_moment_match_drops_the_correlations_only():
    data = GaussianData(GaussianDiffusion(BETA), MEAN, COV)
    A, b, S = data.reversal(2)
    law = data.reverse([[0.5, 2.0]], 2)
    np.testing.assert_allclose(law.mean[0], A @ [0.5, 2.0] + b, rtol=1e-15)
    np.testing.assert_allclose(law.var[0], np.diag(S), rtol=1e-15)


def test_no_diagonal_kernel_beats_the_moment_match():
    data = GaussianData(GaussianDiffusion(BETA), MEAN, COV)

    def bound(scale, shift):
        kernels = [(A, b + shift, scale * np.diag(np.diag(S))) for A, b, S in data.kernels()]
        return LinearModel(data.diffusion, kernels).averages(data).bound

    assert bound(1, 0) > max(bound(0.97, 0), bound(1.03, 0), bound(1, 0.03), bound(1, -0.03))
    assert bound(1, 0) < LinearModel(data.diffusion, data.kernels()).averages(data).bound


# Entropies, section 2.6


def test_entropies_are_those_of_the_joint_law():
    data = GaussianData(GaussianDiffusion(BETA), MEAN, COV)
    for t in (1, 2, 3):
        before, after, root = data.marginal(t - 1)[1], data.marginal(t)[1], np.sqrt(1 - BETA[t - 1])
        joint = multivariate_normal(
            np.zeros(4), np.block([[before, root * before], [root * before, after]])
        ).entropy()
        assert data.entropy(t) == pytest.approx(
            multivariate_normal(np.zeros(2), after).entropy(), abs=1e-14
        )
        assert data.reverse_entropy(t) == pytest.approx(
            joint - multivariate_normal(np.zeros(2), after).entropy(), abs=1e-14
        )


@pytest.mark.parametrize("wide", [0.5, 1.0, 1.5])
def test_the_bounds_of_24_hold_on_the_reversal_where_stated(wide):
    data = GaussianData(GaussianDiffusion(BETA), MEAN, wide * COV)
    for t in (2, 3):
        bound = bounds.reverse_entropy_bounds(data.diffusion, data.points(), t)
        assert bound.lower < data.reverse_entropy(t)
        assert bound.upper_holds == (wide <= 1.0)  # tr C = 2 wide
        assert not bound.upper_holds or data.reverse_entropy(t) < bound.upper


def test_a_wide_gaussian_breaks_the_upper_bound():
    data = GaussianData(GaussianDiffusion(BETA), [0.0], [[4.0]])
    for t in (1, 2, 3):
        assert (
            data.reverse_entropy(t)
            > bounds.reverse_entropy_bounds(data.diffusion, data.points(), t).upper
        )


def gaps(data):
    """Lower and upper gaps of (24), t = 2..T."""
    both = [
        (bounds.reverse_entropy_bounds(data.diffusion, data.points(), t), data.reverse_entropy(t))
        for t in range(2, data.diffusion.T + 1)
    ]
    return [truth - bound.lower for bound, truth in both], [
        bound.upper - truth for bound, truth in both
    ]


def test_the_lower_gaps_sum_to_a_difference_of_informations():
    data = GaussianData(GaussianDiffusion(BETA), MEAN, COV)
    information = [
        data.entropy(t) - np.log(2 * np.pi * np.e * data.diffusion.one_minus_abar(t))
        for t in (1, 3)
    ]
    assert sum(gaps(data)[0]) == pytest.approx(information[0] - information[1], abs=1e-14)


def test_the_upper_gaps_sum_to_a_difference_of_entropies():
    data = GaussianData(GaussianDiffusion(BETA), MEAN, COV)
    assert sum(gaps(data)[1]) == pytest.approx(data.entropy(3) - data.entropy(1), abs=1e-14)


def test_the_least_divergence_is_the_lower_gap_of_24():
    data = GaussianData(GaussianDiffusion(BETA), MEAN, COV)
    kl = LinearModel(data.diffusion, data.kernels()).kl(data.points()).mean(1)
    np.testing.assert_allclose(kl, gaps(data)[0], rtol=0, atol=1e-14)


def test_the_largest_bound_lies_below_the_log_likelihood_by_the_ends_alone():
    data = GaussianData(GaussianDiffusion(BETA), [0.0, 0.0], 0.9 * COV)
    best = LinearModel(data.diffusion, data.kernels()).averages(data)
    null = bounds.null_log_likelihood(data.diffusion, data.points()).mean()
    assert null < best.bound < best.log_likelihood < -data.entropy(0)


# Points, and doors


def test_points_average_quadratics_exactly():
    points = GaussianData(GaussianDiffusion(BETA), MEAN, COV).points()
    np.testing.assert_allclose(points.mean(0), MEAN, rtol=1e-15)
    np.testing.assert_allclose(
        points.T @ points / len(points), COV + np.outer(MEAN, MEAN), rtol=1e-14
    )


def test_reverse_is_the_kernel_of_the_model():
    model = LinearModel(
        GaussianDiffusion(BETA), [(2 * np.eye(1), [3.0], [[5.0]]), (np.eye(1), [0.0], [[1.0]])]
    )
    law = model.reverse([[1.0], [2.0]], 2)
    assert isinstance(law, Gaussian)
    assert (law.mean.ravel().tolist(), law.var.ravel().tolist()) == ([5.0, 7.0], [5.0, 5.0])


def test_linear_models_take_any_axes():
    data = GaussianData(GaussianDiffusion([0.2, 0.3]), [0.5, 0.0], [[1.0, 0.5], [0.5, 2.0]])
    model = LinearModel(data.diffusion, data.kernels())
    x0 = np.random.default_rng(0).standard_normal((4, 3, 2))
    for function in (model.log_likelihood, model.lower_bound, lambda x: model.kl(x)[0]):
        flat = function(x0.reshape(12, 2))
        np.testing.assert_allclose(function(x0), flat.reshape(4, 3), rtol=1e-13)


def test_a_linear_model_may_have_one_component_and_one_step():
    assert LinearModel(GaussianDiffusion([0.2]), [], d=1).d == 1


def test_an_edge_alone_gives_the_number_of_components():
    edge = (np.eye(3), np.zeros(3), np.eye(3))
    assert LinearModel(GaussianDiffusion([0.2]), [], edge).d == 3


def test_vectors_too_far_for_a_density_have_none_and_no_warning():
    data = GaussianData(GaussianDiffusion(BETA), MEAN, COV)
    model = LinearModel(data.diffusion, data.kernels())
    for function in (model.log_likelihood, model.lower_bound):
        assert function([[1e200, 0.0], [1.0, 0.0]]).tolist()[0] == -np.inf
        assert function([[1e200, 0.0], [1.0, 0.0]])[1] == function([1.0, 0.0])
    assert model.kl([1e200, 0.0]).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize(
    ("kernels", "edge", "message"),
    [
        (None, None, "kernels must be a list or tuple, got None"),
        ([[np.eye(1), np.zeros(1), np.eye(1)], 0.5], None, "must be triples .A, b, S., got 0.5"),
        ([[np.eye(1), np.zeros(1)]] * 2, None, "must be triples .A, b, S."),
        ([[np.eye(1), np.zeros(1), np.eye(1)]] * 2, 0.5, "must be triples .A, b, S., got 0.5"),
    ],
)
def test_what_is_no_kernel_is_refused(kernels, edge, message):
    with pytest.raises((TypeError, ValueError), match=message):
        LinearModel(GaussianDiffusion(BETA), kernels, edge)


@pytest.mark.parametrize("data", [None, FiniteData(GaussianDiffusion(BETA), [[0.0]], var=1.0)])
def test_averages_are_over_gaussian_data(data):
    model = LinearModel(GaussianDiffusion(BETA), random_kernels(0, 1, 2))
    with pytest.raises(TypeError, match="data must be a GaussianData"):
        model.averages(data)


def test_the_order_of_data_in_memory_changes_no_bit():
    data = GaussianData(GaussianDiffusion(BETA), np.zeros(20), np.eye(20))
    model = LinearModel(data.diffusion, data.kernels())
    x0 = np.random.default_rng(0).standard_normal((7, 20))
    for function in (model.log_likelihood, model.lower_bound, model.kl):
        np.testing.assert_array_equal(function(np.asfortranarray(x0)), function(x0))


EYE, ZERO = np.eye(2), np.zeros(2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda q: LinearModel(q, []), "kernels must be T - 1 = 2"),
        (lambda q: LinearModel(GaussianDiffusion([0.1]), []), "d must be given"),
        (
            lambda q: LinearModel(q, [(EYE, ZERO, EYE), (EYE, [0.0], EYE)]),
            "A and b must have shapes",
        ),
        (
            lambda q: LinearModel(q, [(EYE, ZERO, EYE), (EYE, ZERO, [[1.0]])]),
            "S must be a symmetric \\(2, 2\\) matrix",
        ),
        (
            lambda q: LinearModel(q, [(EYE, ZERO, EYE), (EYE, ZERO, [[1.0, 0.2], [0.3, 1.0]])]),
            "S must be a symmetric \\(2, 2\\) matrix",
        ),
        (
            lambda q: LinearModel(q, [(EYE, ZERO, EYE), (EYE, ZERO, [[1.0, 2.0], [2.0, 1.0]])]),
            "S must be positive definite",
        ),
        (
            lambda q: LinearModel(q, [(EYE, ZERO, EYE), (EYE, ZERO, EYE)]).lower_bound([1.0]),
            "x0 must have 2 components",
        ),
        (
            lambda q: LinearModel(q, [(EYE, ZERO, EYE), (EYE, ZERO, EYE)]).kl([np.nan, 1.0]),
            "x0 must be finite",
        ),
        (
            lambda q: LinearModel(q, [(EYE, ZERO, EYE), (EYE, ZERO, EYE)]).kl(np.zeros((0, 2))),
            "x0 must hold at least one data vector",
        ),
        (
            lambda q: LinearModel(q, [(EYE, ZERO, EYE), (EYE, ZERO, EYE)]).marginal(4),
            "t must lie in 0..3",
        ),
        (
            lambda q: LinearModel(q, [(EYE, ZERO, COV), (EYE, ZERO, EYE)]).reverse([1.0, 2.0], 2),
            "S must be diagonal",
        ),
        (lambda q: GaussianData(q, [[0.0]], [[1.0]]), "mean must have shape"),
        (lambda q: GaussianData(q, [], np.zeros((0, 0))), "mean must have shape"),
        (lambda q: GaussianData(q, [0.0], [[0.0]]), "cov must be positive definite"),
        (lambda q: GaussianData(q, [0.0], [[np.nan]]), "cov must be finite"),
        (lambda q: GaussianData(q, [0.0], [[1.0]]).reversal(0), "t must lie in 1..3"),
        (lambda q: GaussianData(q, [0.0], [[1.0]]).entropy(4), "t must lie in 0..3"),
    ],
)
def test_bad_input_is_refused_with_the_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make(GaussianDiffusion(BETA))


@pytest.mark.parametrize("make", [LinearModel, GaussianData])
def test_what_is_no_diffusion_is_named(make):
    with pytest.raises(TypeError, match="diffusion must be a GaussianDiffusion, got None"):
        make(None, [], [])


def test_what_the_caller_changes_later_does_not_change_a_model_or_data():
    A, b, S, mean, x = np.eye(1), np.ones(1), np.eye(1), np.zeros(1), np.array([[0.3]])
    model = LinearModel(TWO_STEPS, [(A, b, S)])
    edged = LinearModel(GaussianDiffusion([0.2]), [], (A, b, S))
    data = GaussianData(TWO_STEPS, mean, [[1.0]])

    def results():
        return [model.log_likelihood(x), edged.log_likelihood(x), *data.marginal(0), data.points()]

    before = results()
    for array in (A, b, S, mean):
        array[...] = 5.0
    for got, truth in zip(results(), before, strict=True):
        np.testing.assert_array_equal(got, truth)
    with pytest.raises(ValueError, match="read-only"):
        model.kernels[1].A[0, 0] = 5.0

"""The split gap against sums over states and telescopes; the best schedule against quadrature and
against every path.
"""

import itertools

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.integrate import quad
from scipy.special import ndtri

from dpm_ref import BinomialDiffusion, GaussianDiffusion, data, exact, schedules

BETA, PRIOR = [0.1, 0.3, 0.5], [0.2, 0.6, 0.5]
STATES = np.array(list(itertools.product([0.0, 1.0], repeat=3)))


def bits(beta=BETA):
    return exact.FiniteData(
        BinomialDiffusion(beta, PRIOR), [[0, 0, 1], [1, 1, 0], [1, 0, 0]], weights=[0.5, 0.3, 0.2]
    )


def expected_divergence(five, t, law):
    """E KL( q(x^{t-1}|x^t) || law(x^t) ), by the sum over all pairs of states."""
    total = 0.0
    for before, after in itertools.product(STATES, STATES):
        log_q = five.log_reverse(before, after, t)
        if np.isfinite(log_q):
            total += np.exp(five.log_prob(after, t) + log_q) * (log_q - law(after).log_prob(before))
    return total


def limit(parts):
    """-H(X^0) = K* + edge + end + sum of form."""
    return parts.ideal + parts.edge + parts.end + parts.form.sum()


def test_parts_of_the_gap_are_divergences_of_all_states():
    three = bits()
    parts = exact.gap(three)
    assert parts.edge == pytest.approx(
        expected_divergence(three, 1, three.diffusion.edge), rel=1e-12, abs=0
    )
    for t in (2, 3):
        truth = expected_divergence(three, t, lambda after, t=t: three.reverse(after, t))
        assert parts.form[t - 2] == pytest.approx(truth, rel=1e-11, abs=0)
    last = np.exp(three.log_prob(STATES, 3))
    assert parts.end == pytest.approx(
        last @ (three.log_prob(STATES, 3) - three.diffusion.prior(3).log_prob(STATES)),
        rel=1e-11,
        abs=0,
    )


def test_parts_of_the_gap_of_bits_add_up_to_the_entropy():
    weights = np.array([0.5, 0.3, 0.2])
    assert limit(exact.gap(bits())) == pytest.approx(weights @ np.log(weights), rel=1e-12, abs=0)


def test_parts_of_the_gap_of_a_mixture_add_up_to_its_entropy_by_quadrature():
    def log_q(x):
        return np.log(
            0.3 * np.exp(-((x + 1) ** 2) / 0.4) + 0.7 * np.exp(-((x - 1) ** 2) / 0.4)
        ) - 0.5 * np.log(0.4 * np.pi)

    entropy = quad(lambda x: -np.exp(log_q(x)) * log_q(x), -8, 8, epsabs=1e-12, limit=200)[0]
    two = exact.FiniteData(
        GaussianDiffusion([0.1, 0.4, 0.7]), [[-1.0], [1.0]], weights=[0.3, 0.7], var=0.2
    )
    parts = exact.gap(two, rng=default_rng(0), n_samples=2**14)
    assert abs(limit(parts) + entropy) < 6 * parts.stderr < 0.02
    assert min(parts.edge, parts.end, *parts.form) > 0


def test_sampled_parts_agree_with_the_enumerated_ones():
    sampled, truth = exact.gap(bits(), rng=default_rng(1), n_samples=2**14), exact.gap(bits())
    assert (
        abs(
            (sampled.edge + sampled.end + sampled.form.sum())
            - (truth.edge + truth.end + truth.form.sum())
        )
        < 6 * sampled.stderr
    )
    np.testing.assert_allclose(
        [sampled.edge, sampled.end, *sampled.form], [truth.edge, truth.end, *truth.form], atol=0.02
    )
    assert truth.stderr == 0.0


def test_an_exact_reversal_leaves_the_ends_alone():
    one = exact.FiniteData(GaussianDiffusion([0.2, 0.3, 0.4]), [[0.0]], var=4.0)
    parts = exact.gap(one, rng=default_rng(0), n_samples=2**14)

    def to_prior(var):
        return 0.5 * (var - 1 - np.log(var))

    assert abs(parts.form).max() < 1e-12
    edge, end = to_prior(4.0) - to_prior(3.4), to_prior(3 * 0.336 + 1)
    assert parts.edge + parts.end == pytest.approx(edge + end, abs=6 * parts.stderr)
    np.testing.assert_allclose([parts.edge, parts.end], [edge, end], atol=0.03)
    assert parts.ideal == pytest.approx(-2.4863, abs=1e-4)


def test_learning_is_what_a_model_s_divergences_exceed_the_ideal_ones_by():
    kl = exact.ideal_bound(bits()).kl
    parts = exact.gap(bits(), kl + [0.25, 0.5])
    np.testing.assert_allclose(parts.learning, [0.25, 0.5], rtol=1e-14)
    assert pytest.approx(parts.ideal - 0.75, rel=1e-14) == parts.ideal - parts.learning.sum()
    assert not exact.gap(bits()).learning.any()


def test_sampled_parts_are_means_over_sixteen_lattices_of_log_ratios():
    two, source = (
        exact.FiniteData(GaussianDiffusion([0.2, 0.3]), [[-1.0], [1.5]], [0.25, 0.75], var=0.1),
        default_rng(3),
    )
    ideal = exact.ideal_bound(two, rng=source, n_samples=33)
    g = 1.3247179572447460  # g^3 = g + 1, for three dimensions
    points, rows = np.stack([np.arange(3) / 3, np.arange(3) / g, np.arange(3) / g**2], 1), []
    for t in (1, 2):
        uniform = (points + source.random((16, 1, 3))) % 1.0
        row = []
        for lattice in uniform:
            before = two.draw(lattice[:, :2], t - 1)
            after = two.diffusion.kernel(before, t).at(ndtri(lattice[:, 2:]))
            law = two.diffusion.edge(after) if t == 1 else two.reverse(after, t)
            row.append((two.log_reverse(before, after, t) - law.log_prob(before)).mean())
        rows.append(row)
    after = two.diffusion.kernel(two.draw(uniform.reshape(-1, 3)[:, :2], 1), 2)
    after = after.at(ndtri(uniform.reshape(-1, 3)[:, 2:]))
    ratio = two.log_prob(after, 2) + 0.5 * (after[:, 0] ** 2 + np.log(2 * np.pi))
    rows.append(ratio.reshape(16, -1).mean(1))
    parts = exact.gap(two, ideal.kl + 0.5, rng=default_rng(3), n_samples=33)
    np.testing.assert_allclose([parts.edge, *parts.form, parts.end], np.mean(rows, 1), rtol=1e-11)
    assert parts.stderr == pytest.approx(np.std(np.sum(rows, 0), ddof=1) / 4, rel=1e-11)
    np.testing.assert_allclose(parts.stderrs, np.std(rows, 1, ddof=1) / 4, rtol=1e-11)
    assert parts.ideal == ideal.value
    np.testing.assert_allclose(parts.learning, [0.5], rtol=1e-14)


def test_a_lattice_has_4096_points_in_all_by_default():
    assert (
        exact.gap(bits(), rng=default_rng(0)).edge
        == exact.gap(bits(), rng=default_rng(0), n_samples=4096).edge
    )
    assert (
        exact.gap(bits(), rng=default_rng(0)).edge
        != exact.gap(bits(), rng=default_rng(0), n_samples=4097).edge
    )
    assert (
        exact.gap(bits(), rng=default_rng(0), n_samples=1).edge
        == exact.gap(bits(), rng=default_rng(0), n_samples=16).edge
    )


@pytest.mark.parametrize("kl", [[0.1], [[0.1, 0.2]], 0.1])
def test_divergences_of_another_shape_are_refused(kl):
    with pytest.raises(ValueError, match=r"kl must have shape \(2,\), t = 2..T, got shape"):
        exact.gap(bits(), kl)


# The best schedule


def search(**change):
    settings = {
        "beta1": 0.01,
        "abar_T": 0.05,
        "grid": 9,
        "n_samples": 4096,
        "rng": default_rng(0),
    } | change
    return exact.ScheduleSearch([[-1.0], [1.0]], **settings)


@pytest.mark.parametrize(("i", "j"), [(3, 4), (2, 5), (0, 8), (7, 8)])
def test_a_step_s_cost_is_the_integral_of_the_ideal_kernel_s_divergence(i, j):
    two = search()
    before, after = 1 / (1 + np.exp(-two.log_snr[[i, j]]))
    kappa = (1 - after / before) * before / (1 - before)

    def integrand(x):
        q = sum(
            np.exp(-((x - sign * np.sqrt(after)) ** 2) / (2 * (1 - after))) for sign in (-1, 1)
        ) / np.sqrt(8 * np.pi * (1 - after))
        u = (1 - np.tanh(np.sqrt(after) * x / (1 - after)) ** 2) / (1 - after)
        return q * np.log1p(kappa * u) / 2

    assert two.cost[i, j] == pytest.approx(
        quad(integrand, -8, 8, epsabs=1e-12, limit=200)[0], rel=2e-3
    )


def test_costs_are_means_over_one_lattice_of_half_the_sum_of_logarithms():
    atoms, grid = np.array([[-1.0, 0.5], [1.0, 0.0]]), 3
    got = exact.ScheduleSearch(
        atoms, var=0.1, beta1=0.01, abar_T=0.05, grid=grid, n_samples=5, rng=default_rng(7)
    )
    g = 1.3247179572447460  # g^3 = g + 1, for three dimensions
    points, shifts = (
        np.stack([np.arange(5) / 5, np.arange(5) / g, np.arange(5) / g**2], 1),
        default_rng(7).random((grid, 3)),
    )
    diffusion = GaussianDiffusion(schedules.log_snr_linear(grid, beta1=0.01, abar_T=0.05))
    two = exact.FiniteData(diffusion, atoms, var=0.1)
    for i, j in [(0, 1), (1, 2), (0, 2)]:
        before, after, xt = (
            diffusion.abar(i + 1),
            diffusion.abar(j + 1),
            two.draw((points + shifts[j]) % 1.0, j + 1),
        )
        kappa = (1 - after / before) * before / (1 - before)
        weights = two.responsibilities(xt, j + 1)
        var = 0.1 * (1 - after) / (after * 0.1 + 1 - after)  # of x^0 given x^t and the atom
        means = var * (atoms / 0.1 + np.sqrt(after) / (1 - after) * xt[:, None])
        mean = np.einsum("nk,nkd->nd", weights, means)
        u = (var + np.einsum("nk,nkd->nd", weights, (means - mean[:, None]) ** 2)) / (1 - after)
        assert got.cost[i, j] == pytest.approx(np.log1p(kappa * u).sum(1).mean() / 2, rel=1e-10)
    assert np.isinf(got.cost[np.tril_indices(grid)]).all()


def test_a_search_has_400_ratios_down_to_a_thousandth_and_1024_states_by_default():
    one = {"var": 0.5, "beta1": 0.1}
    ratios = exact.ScheduleSearch([[0.0]], n_samples=1, rng=default_rng(0), **one).log_snr
    assert ratios.shape == (400,)
    assert ratios[-1] == pytest.approx(np.log(1e-3 / (1 - 1e-3)), rel=1e-12)
    default, said = (
        exact.ScheduleSearch([[0.0], [1.0]], grid=3, rng=default_rng(0), **one, **more)
        for more in ({}, {"n_samples": 1024})
    )
    np.testing.assert_array_equal(default.cost, said.cost)


@pytest.mark.parametrize("T", [2, 3, 4, 9])
def test_no_path_of_the_grid_is_cheaper(T):
    two = search()
    paths = [(0, *rest) for rest in itertools.combinations(range(1, 9), T - 1)]
    cheapest = min(
        sum(two.cost[i, j] for i, j in itertools.pairwise(path)) + two.end[path[-1]]
        for path in paths
    )
    best = two.best(T)
    assert best.null + two.end[0] - cheapest == pytest.approx(best.value, rel=1e-12)
    assert best.beta.shape == (T,)
    assert best.beta[0] == 0.01


def test_value_of_the_best_schedule_is_its_ideal_bound():
    best = search(n_samples=2**14).best(4)
    bound = exact.ideal_bound(
        exact.FiniteData(GaussianDiffusion(best.beta), [[-1.0], [1.0]]),
        rng=default_rng(1),
        n_samples=2**14,
    )
    assert best.value == pytest.approx(bound.value, abs=6 * bound.stderr + 2e-3)
    assert best.null == pytest.approx(bound.null, rel=1e-12)


def test_the_best_schedule_beats_the_one_that_is_linear_in_the_log_ratio():
    atoms, var = data.swiss_roll_atoms(120, noise=0.3)
    best = exact.ScheduleSearch(
        atoms, var=var, beta1=1e-3, abar_T=0.01, grid=60, n_samples=256, rng=default_rng(0)
    ).best(8)
    K = [
        exact.ideal_bound(
            exact.FiniteData(GaussianDiffusion(beta), atoms, var=var),
            rng=default_rng(1),
            n_samples=2048,
        )
        for beta in (best.beta, schedules.log_snr_linear(8, beta1=1e-3, abar_T=0.05))
    ]
    assert K[0].value - K[1].value > 6 * (K[0].stderr + K[1].stderr)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search().best(1), "T must lie in 2..9, got 1"),
        (lambda: search().best(10), "T must lie in 2..9, got 10"),
        (lambda: search(grid=2), "grid must be an integer >= 3"),
        (lambda: search(beta1=0.0), "beta1 must be one number strictly between 0 and 1"),
        (lambda: search(rng=1), "rng must be a numpy.random.Generator"),
        (lambda: search(var=-1.0), "var must be one number >= 0"),
    ],
)
def test_the_search_refuses_bad_input_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()

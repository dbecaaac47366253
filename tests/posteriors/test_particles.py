"""The particle filter against models with a known posterior and normaliser: sums, algebra,
quadrature; and what it says of bad evidence.
"""

import re
import warnings
from typing import NamedTuple

import numpy as np
import pytest
from exact_twists import BinaryTwist, FiniteTwist, LinearTwist
from scipy import stats
from statistics_budget import alarm, limit, seed

from dpm_ref import (
    Bernoulli,
    BinomialDiffusion,
    Gaussian,
    GaussianDiffusion,
    data,
    schedules,
    training,
)
from dpm_ref.exact import (
    BinaryData,
    BinaryModel,
    FiniteData,
    GaussianData,
    LinearModel,
    binary_states,
    state_probabilities,
)
from dpm_ref.mlp import time_polynomials
from dpm_ref.posteriors import (
    BernoulliFactor,
    Clamp,
    ContradictionWarning,
    GaussianFactor,
    LogFactor,
    Perturbed,
    constant,
    diffused,
    noisy_bits,
    particle_filter,
    particles,
    predicted,
    sample,
    tempered,
)
from dpm_ref.posteriors.particles import systematic
from dpm_ref.posteriors.perturbed import predicted_data
from dpm_ref.reverse import BinomialReverse

ALARM, SIGMAS = alarm(80), limit(80)  # comparisons in this file
# For means of skewed numbers over their own standard error: beyond 8 with P < 1e-9 at most, by the
# Chernoff bound on self-normalised sums (900 numbers of skewness 3.2, 400 of 1, 200 of .6).
SKEWED = 8.0
ROUNDING = 1e-12


def rng(n=0):
    """For models, and where nothing depends on luck; draws come from `statistics_budget.seed`."""
    return np.random.default_rng(n)


def of_time(log_r, slope=None, at_0=None):
    """log r(x^t) = log_r(x, t), with its slope; another factor at t = 0."""

    def factor(t):
        if t == 0 and at_0 is not None:
            return at_0
        return LogFactor(lambda x: log_r(x, t), None if slope is None else lambda x: slope(x, t))

    return factor


# Three models with a known posterior, each as errors of its estimate in one run


class Case(NamedTuple):
    diffusion: object
    reverse: object
    edge: object
    factor: object
    d: int
    log_z: float
    features: object  # x0 (..., d) -> (..., k): what the posterior's mean is known of
    truth: np.ndarray


def linear_case():
    """Two correlated components, kernels of independent ones: the posterior of the chain, by Bayes'
    rule on its marginal.
    """
    diffusion = GaussianDiffusion(schedules.constant(6, 0.3))
    rotate = np.array([[0.9, 0.4], [-0.3, 0.8]])
    chain = LinearModel(
        diffusion, [(0.8 * rotate, [0.1, -0.2], np.diag([0.3, 0.4])) for _ in range(5)]
    )
    factor = GaussianFactor([1.0, -0.5], [2.0, 4.0])
    mean, cov = chain.marginal(0)
    after = np.linalg.inv(np.linalg.inv(cov) + np.diag(1 / factor.var))
    post = after @ (np.linalg.solve(cov, mean) + factor.mean / factor.var)
    Z = (
        stats.multivariate_normal(mean, cov + np.diag(factor.var)).pdf(factor.mean)
        * 2
        * np.pi
        * np.sqrt(factor.var.prod())
    )
    second = after + np.outer(post, post)

    def features(x):
        return np.concatenate([x, x**2, x[..., :1] * x[..., 1:]], -1)

    truth = np.concatenate([post, np.diag(second), [second[0, 1]]])
    return Case(diffusion, chain.reverse, None, factor, 2, np.log(Z), features, truth)


def binary_case():
    """Three dependent bits with random rates: the posterior by sums over all states."""
    diffusion = BinomialDiffusion(rng(1).uniform(0.1, 0.5, 5), [0.3, 0.5, 0.6])
    table = rng(2).uniform(0.05, 0.95, (6, 8, 3))

    def reverse(xt, t):
        return Bernoulli(table[t][np.asarray(xt, dtype=int) @ [4, 2, 1]])

    factor = BernoulliFactor([1.0, 0.5, 0.7], [0.4, 0.9, 0.7])
    model = BinaryModel(diffusion, 3, reverse)
    product = model.marginal(0) * np.exp(factor.log_r(model.states))

    def features(x):
        return np.eye(8)[np.asarray(x, dtype=int) @ [4, 2, 1]]

    return Case(
        diffusion,
        reverse,
        None,
        factor,
        3,
        np.log(product.sum()),
        features,
        product / product.sum(),
    )


GRID = np.linspace(-7, 7, 1401)


def mixture_case():
    """The ideal kernel of two atoms, which is not linear: the model's law of x^0 by quadrature from
    step to step.
    """
    diffusion = GaussianDiffusion(schedules.constant(5, 0.35))
    kernel = FiniteData(diffusion, [[-1.0], [1.2]], [0.4, 0.6], var=0.1)
    density = stats.norm.pdf(GRID)
    for t in range(5, 0, -1):
        law = kernel.reverse(GRID[:, None], t) if t > 1 else diffusion.edge(GRID[:, None])
        density = 0.01 * density @ stats.norm.pdf(GRID, law.mean, np.sqrt(law.var))
    factor = GaussianFactor([0.3], 1.5)
    product = density * np.exp(factor.log_r(GRID[:, None]))
    cells = np.linspace(-1.5, 1.5, 7)  # none so rare that its count is skewed

    def features(x):
        return np.eye(8)[np.searchsorted(cells, x[..., 0])]

    inside = features(GRID[:, None])
    edge = np.isclose(
        GRID[:, None], cells
    )  # a grid point on the border of two cells belongs to each by half
    for row, column in np.argwhere(edge):
        inside[row] = 0.5 * (np.eye(8)[column] + np.eye(8)[column + 1])
    return Case(
        diffusion,
        kernel.reverse,
        None,
        factor,
        1,
        np.log(0.01 * product.sum()),
        features,
        product @ inside / product.sum(),
    )


CASES = {"linear": linear_case(), "bits": binary_case(), "mixture": mixture_case()}


def posterior_mean(result, values):
    """The posterior mean of values (runs, n, ...) at the particles."""
    return np.tensordot(result.weights, values)


def run(case, r, n, runs, draws=0, **options):
    return particle_filter(
        case.diffusion,
        case.reverse,
        r,
        n,
        case.d,
        rng=seed(draws),
        runs=runs,
        edge=case.edge,
        **options,
    )


def over_time(case, kind):
    kinds = {
        "constant": constant(case.factor),
        "half": lambda t: case.factor.power(0.5) if t else case.factor,
        "tempered": tempered(case.factor, case.diffusion.T),
        "diffused": diffused(case.factor, case.diffusion),
        "weights alone": of_time(
            lambda x, t: np.zeros(x.shape[:-1]), at_0=LogFactor(case.factor.log_r)
        ),
    }
    return kinds[kind]


def errors(case, result):
    """Estimates of each run less the truth: (runs, k)."""
    weights = result.weights / result.weights.sum(1, keepdims=True)
    return np.einsum("rn,rnk->rk", weights, case.features(result.x0)) - case.truth


# The normaliser is unbiased


def z_score(Z, truth):
    return (Z.mean() - truth) / (Z.std(ddof=1) / np.sqrt(Z.size))


@pytest.mark.parametrize("resample_below", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", CASES)
def test_the_normaliser_s_estimate_is_unbiased(name, resample_below, monkeypatch):
    monkeypatch.setattr(particles, "_RESAMPLE_BELOW", resample_below)
    case = CASES[name]
    off = dict.fromkeys(("half", "tempered", "weights alone"), 1.05)
    if name == "bits":  # with r(x^0) at every t the weights of Gaussians have no variance
        off["constant"] = 1.1
    for kind, wrong in off.items():
        result = run(case, over_time(case, kind), 32, 900, draws=len(kind))
        ratio = np.exp(result.log_z_runs - case.log_z)
        assert abs(z_score(ratio, 1.0)) < SKEWED, kind
        assert abs(z_score(ratio, wrong)) > SKEWED  # what is 5 % off, or 10 %, is noticed
        assert abs(result.log_z - np.log(ratio.mean()) - case.log_z) < ROUNDING


@pytest.mark.slow
def test_the_standard_error_of_log_z_is_that_of_the_runs_mean_and_honest():
    case = CASES["bits"]
    few = run(case, constant(case.factor), 50, 5)
    Z = np.exp(few.log_z_runs)
    assert abs(few.log_z_stderr - Z.std(ddof=1) / Z.mean() / np.sqrt(5)) < ROUNDING
    groups = np.exp(run(case, constant(case.factor), 50, 8000).log_z_runs - case.log_z).reshape(
        200, 40
    )
    z = np.log(groups.mean(1)) / (groups.std(1, ddof=1) / groups.mean(1) / np.sqrt(40))
    # Student's t with 39 degrees of freedom, nearly: of variance 39 / 37, its squares' 1.09 times
    # those of normal variables; its mean is at most 0.1, from the skewness of Z
    low, high = stats.chi2.interval(1 - ALARM, 200 / 1.09)
    squares = (z**2).sum() * 37 / 39 / 1.09
    assert low < squares < high
    assert 4 * squares > high  # half the standard error is noticed
    assert squares / 4 < low  # and twice as much
    assert abs(np.mean(z)) < SIGMAS * np.sqrt(39 / 37 / 200) + 0.1


def test_a_filter_that_forgets_r_of_the_state_before_is_caught():
    # the incremental weight Z~ / r(x^t) without its denominator
    case = CASES["linear"]

    class Forgetful(GaussianFactor):
        def log_r(self, x):
            return np.zeros(x.shape[:-1])

    wrong = Forgetful(case.factor.mean, case.factor.var)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ContradictionWarning)
        result = run(case, constant(wrong), 16, 2000)
    assert abs(z_score(np.exp(result.log_z_runs - case.log_z), 1.0)) > SIGMAS


# The posterior converges


@pytest.mark.parametrize("kind", ["half", "tempered", "diffused"])
@pytest.mark.parametrize("name", CASES)
def test_the_posterior_converges_as_one_over_the_root_of_the_particles(name, kind):
    case = CASES[name]
    squares = [
        (errors(case, run(case, over_time(case, kind), n, 300, draws=n)) ** 2).sum(1).mean()
        for n in (32, 512)
    ]
    slope = np.log(squares[1] / squares[0]) / 2 / np.log(512 / 32)
    # its standard error is at most .013, its value for so few particles at most -.485; a bias that
    # is left would flatten it
    assert abs(slope + 0.5) < 0.1


@pytest.mark.parametrize("name", CASES)
def test_all_particles_together_have_the_posterior_s_means(name):
    case = CASES[name]
    result = run(case, over_time(case, "half"), 250, 400)
    estimate = posterior_mean(result, case.features(result.x0))
    share = np.exp(result.log_z_runs - result.log_z)[
        :, None
    ]  # the ratio estimate's delta method, over runs
    stderr = np.sqrt(((share * (errors(case, result))) ** 2).mean(0) / 400)
    assert (np.abs(estimate - case.truth) < SKEWED * stderr).all()
    assert abs(result.weights.sum() - 1.0) < ROUNDING


def test_the_unweighted_recipe_stays_off_the_truth_that_the_filter_finds():
    case = CASES["linear"]
    drawn = sample(case.diffusion, case.reverse, constant(case.factor), 100_000, 2, rng=seed(0)).x0
    off = np.abs(case.features(drawn).mean(0) - case.truth).max()
    filtered = run(case, over_time(case, "half"), 1000, 100)
    assert off > 0.08  # .101, with standard errors of .0025, and of .004 below
    assert np.abs(posterior_mean(filtered, case.features(filtered.x0)) - case.truth).max() < 0.03


# The exact twist leaves nothing to weigh


def test_the_exact_twist_of_one_bit_weighs_every_particle_the_same():
    diffusion = BinomialDiffusion(rng(3).uniform(0.1, 0.6, 7), 0.3)
    table = rng(4).uniform(0.1, 0.9, (8, 2, 1))

    def reverse(xt, t):
        return Bernoulli(table[t][np.asarray(xt, dtype=int)[..., 0]])

    factor = BernoulliFactor([0.9], [0.2])
    twist = BinaryTwist(BinaryModel(diffusion, 1, reverse), factor)
    for r in (of_time(twist.log_r, twist.slope), of_time(twist.log_r, twist.slope, at_0=factor)):
        result = particle_filter(diffusion, reverse, r, 50, 1, rng=rng(5), runs=3)
        assert np.abs(result.log_z_runs - twist.log_z).max() < ROUNDING
        assert np.abs(result.ess - 50).max() < 1e-9
        assert np.abs(result.weights * 150 - 1.0).max() < ROUNDING


def test_inpainting_standard_normal_data_weighs_every_particle_the_same():
    diffusion = GaussianDiffusion(schedules.constant(10, 0.2))
    r = diffused(Clamp([1.0, 0.0], [True, False]), diffusion)
    result = particle_filter(diffusion, diffusion.kernel, r, 100, 2, rng=rng(6))
    assert np.abs(result.log_z_runs - stats.norm.logpdf(1.0)).max() < 1e-11
    assert (result.x0[..., 0] == 1.0).all()
    assert np.abs(result.ess - 100).max() < 1e-9


@pytest.mark.slow
def test_inpainting_with_correlation_gets_the_answer_that_clamping_misses():
    diffusion = GaussianDiffusion(schedules.constant(40, 0.12))
    data_law = GaussianData(diffusion, [0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
    model = LinearModel(
        diffusion, [(A, b, np.diag(np.diag(S))) for A, b, S in data_law.kernels()]
    )  # kernels of independent components
    clamp = Clamp([1.0, 0.0], [True, False])
    twist = LinearTwist(model, clamp)
    mean, cov = twist.posterior()
    for r in (diffused(clamp, diffusion), of_time(twist.log_r, twist.slope, at_0=clamp)):
        result = particle_filter(diffusion, model.reverse, r, 1000, 2, rng=seed(7), runs=80)
        x = result.x0[..., 1]
        # with the exact twist, standard errors of .0047 and .006
        assert abs(posterior_mean(result, x) - mean[1]) < 0.03
        assert abs(posterior_mean(result, (x - mean[1]) ** 2) - cov[1, 1]) < 0.04
        assert abs(result.log_z - twist.log_z) < SKEWED * result.log_z_stderr


def test_the_prediction_of_one_atom_with_a_variance_is_the_exact_twist():
    diffusion = GaussianDiffusion([0.1, 0.3, 0.4])
    data_law = FiniteData(diffusion, [[0.5, -0.2]], var=0.3)
    x = rng(3).normal(size=(5, 2))
    for factor in (
        GaussianFactor([1.0, 0.0], [0.3, np.inf], 0.2),
        Clamp([0.6, 5.0], [True, False]),
    ):
        twist = FiniteTwist(data_law, factor)
        r = predicted(factor, diffusion, data_law.reverse)
        for t in (2, 3):
            assert np.abs(r(t).log_r(x) - twist.log_r(x, t)).max() < 1e-10
            assert np.abs(r(t).slope(x) - twist.slope(x, t)).max() < 1e-10
    assert r(0) is factor


def test_the_prediction_of_independent_bits_is_the_exact_twist():
    diffusion = BinomialDiffusion([0.1, 0.3, 0.4], [0.3, 0.5, 0.6])
    pmf = state_probabilities(Bernoulli([[0.2, 0.7, 0.4]]))[0]
    beats = BinaryData(diffusion, pmf)
    for factor in (noisy_bits([1, 0, 1], 0.2), Clamp([1, 0, 1], [True, False, True])):
        twist = BinaryTwist(beats, factor)
        r = predicted(factor, diffusion, beats.reverse, lambda x1: beats.reverse(x1, 1))
        for t in (2, 3):
            assert np.abs(r(t).log_r(beats.atoms) - twist.log_r(beats.atoms, t)).max() < 1e-10
            assert np.abs(r(t).slope(beats.atoms) - twist.slope(beats.atoms, t)).max() < 1e-10


def test_the_prediction_of_the_last_step_is_the_edge():
    factor = GaussianFactor([1.0], 0.5)
    r = predicted(factor, DIFFUSION, DIFFUSION.kernel, lambda x1: Gaussian(x1 + 3.0, 1.0))
    x1 = np.array([[0.5], [-2.0]])
    truth = factor.multiply(Gaussian(x1 + 3.0, 1.0)).log_z
    assert np.abs(r(1).log_r(x1) - truth).max() < ROUNDING


def test_a_prediction_is_never_narrower_than_it_may_be():
    diffusion = GaussianDiffusion([0.1, 0.3, 0.4])

    def data_law(diffusion, kernel, x):
        return predicted_data(Perturbed(diffusion, kernel, constant(FACTOR)), np.full((1, 1), x), 3)

    narrow = data_law(diffusion, lambda x, t: Gaussian(x, 1e-6), 0.0)
    assert abs(narrow.var[0, 0] - 1e-3 * diffusion.one_minus_abar(3)) < ROUNDING
    sure = data_law(BITS, lambda x, t: Bernoulli(np.ones(x.shape)), 0.0)
    assert sure.prob1[0, 0] == 1.0 - 1e-4
    never = data_law(BITS, lambda x, t: Bernoulli(np.zeros(x.shape)), 0.0)
    assert never.prob1[0, 0] == 1e-4
    erased = data_law(GaussianDiffusion([0.1, 1.0, 0.5]), lambda x, t: Gaussian(x, 1.0), 1.0)
    assert erased == Gaussian([[0.0]], 1.0)
    drawn = data_law(BinomialDiffusion([0.1, 1.0, 0.5], 0.3), BITS.kernel, 1.0)
    assert drawn.prob1[0, 0] == 0.3
    with pytest.raises(ValueError, match="closed form of the diffusion's column, got a LogFactor"):
        predicted(LogFactor(lambda x: x[..., 0]), DIFFUSION, DIFFUSION.kernel)
    with pytest.raises(ValueError, match="a GaussianFactor for a BinomialDiffusion"):
        predicted(FACTOR, BITS, BITS.kernel)


@pytest.mark.slow
def test_a_model_s_prediction_is_a_better_proposal_than_none():
    beats = FiniteData(
        BinomialDiffusion(schedules.log_snr_linear(20, beta1=1e-3, abar_T=0.01), 0.2),
        data.heartbeat_atoms(10),
    )
    factor = noisy_bits([0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 0.1, [True] * 7 + [False] * 3)
    log_z = FiniteTwist(beats, factor).log_z
    errors = []
    for r in (predicted(factor, beats.diffusion, beats.reverse), diffused(factor, beats.diffusion)):
        result = particle_filter(beats.diffusion, beats.reverse, r, 50, 10, rng=seed(8), runs=100)
        # the ideal kernel's model is near the data
        errors.append(np.minimum(np.abs(result.log_z_runs - log_z), 1.0).mean())
    assert errors[0] < errors[1]


# Resampling


def test_systematic_resampling_gives_each_particle_its_share_to_within_one():
    weights, uniform = rng(0).random((50, 20)) ** 3, rng(1).random(50)
    for row, u in zip(weights, uniform, strict=True):
        children = np.bincount(systematic(row, u), minlength=20)
        assert children.sum() == 20
        assert (np.abs(children - 20 * row / row.sum()) < 1.0 + 1e-9).all()


def test_systematic_resampling_is_unbiased():
    weights = rng(0).random(7)
    uniform = (np.arange(5_000) + 0.5) / 5_000  # over the whole of u
    ancestors = np.stack([systematic(weights, u) for u in uniform])
    children = np.stack([(ancestors == i).sum(1) for i in range(7)], 1)
    assert np.abs(children.mean(0) - 7 * weights / weights.sum()).max() < 1e-3


def test_a_particle_without_weight_has_no_children():
    weights = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1e-300]])
    for u in (0.0, 0.5, np.nextafter(1.0, 0.0)):
        drawn = [systematic(row, u).tolist() for row in weights]
        assert drawn == [[1, 1, 1], [0, 0, 0], [2, 2, 2]]
    for row in rng(0).random((500, 40)):  # whose sums are rounded
        assert systematic(np.append(row, 0.0), np.nextafter(1.0, 0.0)).max() == 39


def test_poor_runs_are_resampled_and_others_are_not():
    nothing = -np.inf
    log_w = np.array([[nothing, 2.0, nothing], [0.0, 1.0, 2.0], [nothing] * 3])
    ess, ancestors = particles._resample(log_w, 1.5, rng(0))
    w = np.exp([0.0, 1.0, 2.0])
    np.testing.assert_allclose(ess, [1.0, w.sum() ** 2 / (w**2).sum(), 0.0], rtol=ROUNDING)
    assert ancestors.tolist() == [1, 1, 1, 3, 4, 5, 6, 7, 8]
    truth = [[2.0 - np.log(3)] * 3, [0.0, 1.0, 2.0], [nothing] * 3]
    np.testing.assert_allclose(log_w, truth, rtol=ROUNDING)


def test_each_resampled_run_gets_a_number_of_its_own():
    log_w = np.log([[0.9, 0.05, 0.05], [0.05, 0.05, 0.9]])
    ancestors = particles._resample(log_w.copy(), 3.0, rng(0))[1]
    draws = rng(0)
    truth = [systematic(np.exp(row), draws.random()) + 3 * i for i, row in enumerate(log_w)]
    assert ancestors.tolist() == np.concatenate(truth).tolist()


# The heartbeat


@pytest.fixture(scope="module")
def learned():
    """Ten bits, a 1 every 5th, learned in a few seconds: the diffusion, the kernel, the five
    sequences, and the model's probability of every state.
    """
    T, atoms = 60, data.heartbeat_atoms(10)
    diffusion = BinomialDiffusion(schedules.log_snr_linear(T, beta1=1e-4, abar_T=0.01), 0.2)
    basis = np.polynomial.legendre.legvander(np.linspace(-1, 1, T - 1), 5)
    model = BinomialReverse(
        diffusion, 10, hidden=(50, 50), time_features=time_polynomials(T, 3), basis=basis
    )
    state = training.start(model, rng=rng(0), dtype=np.float32)
    training.train(
        model,
        atoms,
        state,
        rng=rng(2),
        steps=4000,
        batch=32,
        n_times=32,
        learning_rate=training.cosine_decay(0.01, 4000),
    )
    kernel = model.kernel(state.params)
    return diffusion, kernel, atoms, BinaryModel(diffusion, 10, kernel).marginal(0)


@pytest.mark.parametrize(
    ("factor", "most"),
    [
        (
            Clamp(np.zeros(10), np.isin(np.arange(10), [0, 2, 3, 6])),
            0.005,
        ),  # four bits seen: one sequence is left
        (noisy_bits([0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 0.2), 0.005),  # one bit flipped
        (Clamp(np.zeros(10), np.arange(10) < 2), 0.01),  # two bits seen: three sequences are left
        (
            noisy_bits([0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 0.1, np.arange(10) < 7),
            0.005,
        ),  # one of seven flipped, or three missing
    ],
    ids=["missing", "flipped", "missing more", "flipped and missing"],
)
@pytest.mark.slow
def test_the_posterior_over_heartbeats_is_the_exact_one_though_the_model_is_learned(
    learned, factor, most
):
    """The learned model's posterior is, by enumeration; and the particles' is the model's."""
    diffusion, kernel, atoms, p = learned
    truth = np.exp(factor.log_r(atoms))
    truth /= truth.sum()
    posterior = p * np.exp(factor.log_r(binary_states(10)))
    posterior = posterior[atoms.astype(int) @ 2 ** np.arange(10)[::-1]] / posterior.sum()
    off = 1.0 - posterior.sum()  # sequences that are no heartbeat
    assert 0.5 * (np.abs(posterior - truth).sum() + off) <= most
    result = particle_filter(
        diffusion, kernel, predicted(factor, diffusion, kernel), 40, 10, rng=seed(1), runs=200
    )
    inside = (result.x0[:, :, None] == atoms).all(-1) - posterior
    beyond = (result.weights[..., None] * inside).sum(1)  # of each run, 0 on average
    assert (np.abs(beyond.sum(0)) < SKEWED * np.sqrt((beyond**2).sum(0)) + 0.005).all()
    assert result.log_z > result.log_z_null - np.log(20)


@pytest.mark.slow
def test_contradictory_heartbeats_are_said_to_be_and_give_no_nan(learned):
    diffusion, kernel, *_ = learned
    two_in_a_row = Clamp([1, 1, 0, 0, 0, 0, 0, 0, 0, 0], np.ones(10, dtype=bool))
    with pytest.warns(ContradictionWarning, match="contradicts the model"):
        result = particle_filter(
            diffusion, kernel, diffused(two_in_a_row, diffusion), 200, 10, rng=seed(4), runs=2
        )
    assert result.log_z < result.log_z_null - np.log(20)
    assert not np.isnan(result.weights).any()
    assert abs(result.log_z_null - (2 * np.log(0.2) + 8 * np.log(0.8))) < ROUNDING


def test_impossible_evidence_has_normaliser_zero_and_weights_zero():
    diffusion = BinomialDiffusion(schedules.constant_erasure(10), 0.2)
    beats = FiniteData(diffusion, data.heartbeat_atoms(5))
    clamp = Clamp([1, 1, 0, 0, 0], [True] * 5)

    def never(x1):
        return Bernoulli(np.zeros(x1.shape))

    said = "log Z = -inf nats, .*; least effective sample size 0 of 50"
    with pytest.warns(ContradictionWarning, match=said):
        result = particle_filter(
            diffusion, beats.reverse, diffused(clamp, diffusion), 50, 5, rng=rng(5), edge=never
        )
    assert result.log_z == -np.inf
    assert not result.weights.any()
    assert (result.ess[0] == 0).all()


def test_ordinary_evidence_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in CASES.values():
            run(case, constant(case.factor), 200, 2)


# What is refused


DIFFUSION, FACTOR = GaussianDiffusion([0.1, 0.2, 0.3]), GaussianFactor([1.0], 1.0)
BITS = BinomialDiffusion([0.1, 0.2, 0.3])


def filtered(r=None, diffusion=DIFFUSION, n=8, d=1, **options):
    r = constant(FACTOR) if r is None else r
    return particle_filter(
        diffusion, diffusion.kernel, r, n, d, **{"rng": rng(), "runs": 2, **options}
    )


def log(r):
    def function(x):
        with np.errstate(all="ignore"):
            return np.log(r(x))

    return LogFactor(function)


REFUSED = [
    (lambda: filtered(constant(Clamp([1.0], [True]))), "positive everywhere at t >= 1"),
    (lambda: filtered(constant(Clamp([1.0], [True])), BITS), "with zeros at t = 3"),
    (lambda: filtered(tempered(Clamp([1.0], [True]), 3), BITS), "with zeros at t = 2"),
    (lambda: filtered(lambda t: Clamp([1.0], [t == 1])), "with zeros at t = 1"),
    (
        lambda: filtered(constant(BernoulliFactor([1.0], [0.0])), BITS),
        "as diffused(r, diffusion) is",
    ),
    (
        lambda: filtered(constant(log(lambda x: 0.0 * x[..., 0]))),
        "positive somewhere on the support",
    ),
    (lambda: filtered(constant(log(lambda x: -1.0 + 0.0 * x[..., 0]))), "nowhere negative or nan"),
    (lambda: filtered(constant(log(lambda x: np.nan * x[..., 0]))), "nowhere negative or nan"),
    (lambda: filtered(constant(log(lambda x: np.inf + 0.0 * x[..., 0]))), "bounded"),
    (lambda: filtered(FACTOR), "callable t -> factor"),
    (lambda: filtered(n=0), "n must be"),
    (lambda: filtered(d=0), "d must be"),
    (lambda: filtered(runs=0), "runs must be"),
    (lambda: filtered(rng=1), "Generator"),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_what_cannot_be_is_refused_by_name(index):
    call, words = REFUSED[index]
    with pytest.raises(ValueError, match=re.escape(words)):
        call()


def test_one_run_has_no_standard_error_and_one_step_is_enough():
    diffusion = GaussianDiffusion([0.3])
    result = particle_filter(diffusion, diffusion.kernel, constant(FACTOR), 5, 1, rng=rng(), runs=1)
    assert np.isnan(result.log_z_stderr)
    assert result.ess.shape == (2, 1)
    assert np.isfinite(result.log_z)
    assert result.log_z_null == pytest.approx(FACTOR.multiply(diffusion.prior(1)).log_z)


def test_runs_are_resampled_below_half_their_particles_and_never_at_the_end(monkeypatch):
    asked, resample = [], particles._resample

    def watched(log_w, least, rng):
        before = log_w.copy()
        ess, ancestors = resample(log_w, least, rng)
        asked.append((before != log_w).any(1).tolist())
        return ess, ancestors

    monkeypatch.setattr(particles, "_resample", watched)
    result = filtered(constant(GaussianFactor([1.2], 0.5)), n=50, runs=400, rng=seed(0))
    poor = result.ess < 25
    poor[0] = False
    assert asked == poor[::-1].tolist()
    assert 0 < poor[1:].sum() < poor[1:].size
    assert (result.ess[0] < 25).any()  # a run's with probability .066


def test_the_20th_least_r_of_the_particles_is_what_may_be_lost(monkeypatch):
    told = []
    monkeypatch.setattr(
        particles, "_reliable", lambda kernels, result, rare, rng: told.append(rare)
    )
    for n in (30, 15):
        result = filtered(n=n, runs=1)
        r = np.sort(FACTOR.log_r(result.x0).ravel())
        assert told[-1][0] == r[:20][-1]


@pytest.mark.parametrize("size", [800.0, -800.0])
def test_the_effective_sample_size_of_a_run_does_not_see_the_size_of_its_weights(size):
    log_w = np.log([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
    truth = [1 / 0.54, 1 / 0.375]  # of weights that sum to 1
    got, _ = particles._resample(log_w + [[size], [-size]], 0.0, rng())
    np.testing.assert_allclose(got, truth, rtol=ROUNDING)


def test_there_are_eight_runs_by_default():
    result = particle_filter(DIFFUSION, DIFFUSION.kernel, constant(FACTOR), 3, 1, rng=rng())
    assert result.log_z_runs.shape == (8,)


def test_one_particle_has_all_the_weight():
    assert filtered(n=1, runs=1).weights.tolist() == [[1.0]]


def test_a_part_of_the_particles_may_lose_all_weight():
    indicator = LogFactor(lambda x: np.where(x[..., 0] > 0, 0.0, -np.inf))
    result = filtered(constant(indicator), n=100, runs=200, rng=seed(0))
    assert (result.x0[result.weights > 0] > 0).all()
    # zeros at t >= 1 are the author's affair: paths that are not positive at every t are lost
    steps = np.cumsum(np.log1p(-DIFFUSION.beta)) / 2
    cov = np.exp(-np.abs(np.subtract.outer([0.0, *steps], [0.0, *steps])))
    apart = result.log_z - stats.multivariate_normal(cov=cov).logcdf(np.zeros(4))
    assert abs(apart) < SKEWED * result.log_z_stderr
    free = of_time(lambda x, t: np.zeros(x.shape[:-1]), at_0=indicator)
    exact = filtered(free, n=4000, runs=10, rng=seed(0))
    positive = round(40_000 * np.exp(exact.log_z))
    assert stats.binomtest(positive, 40_000, 0.5).pvalue > ALARM


def test_clamping_bits_at_every_t_would_have_lost_paths():
    # why it is refused: the mass of paths that agree with the clamp at every t is less than Z
    diffusion = BinomialDiffusion([0.3, 0.3], 0.5)
    agree = diffusion.kernel([[1.0]], 1).prob1[0, 0]
    assert 0.5 * agree**2 < 0.5 - 0.1


def test_a_factor_of_one_s_own_needs_no_closed_form():
    class Heavy:
        """r(x) = 1 / (1 + (x - 1)^2), towards which the kernel is not bent at all."""

        positive = True

        def log_r(self, x):
            return -np.log1p((x[..., 0] - 1.0) ** 2)

        def multiply(self, law):
            return law, None

    result = particle_filter(
        DIFFUSION, DIFFUSION.kernel, constant(Heavy()), 200, 1, rng=seed(9), runs=400
    )
    x = np.linspace(-9, 9, 20001)
    Z = (stats.norm.pdf(x) / (1 + (x - 1) ** 2)).sum() * (x[1] - x[0])
    assert abs(result.log_z - np.log(Z)) < SKEWED * result.log_z_stderr
    assert abs(result.log_z - np.log(1.05 * Z)) > SKEWED * result.log_z_stderr  # power


def test_the_filter_takes_any_law_with_the_attributes():
    class Plain:
        def __init__(self, x):
            self.mean, self.var = 0.9 * x, 0.19 * np.ones_like(x)

    result = particle_filter(
        DIFFUSION,
        lambda x, t: Plain(x),
        constant(FACTOR),
        10,
        1,
        rng=rng(),
        runs=2,
        edge=lambda x: Gaussian(x, 1.0),
    )
    assert np.isfinite(result.log_z)

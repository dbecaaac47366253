"""Enumerated binary models against sums over all trajectories, and the identities of section 2.6
against each other.
"""

import itertools

import mpmath
import numpy as np
import pytest
from enumerated_bits import EnumeratedBits, MatrixModel
from scipy.special import logit

from dpm_ref import Bernoulli, BinomialDiffusion, GaussianDiffusion, bounds
from dpm_ref.exact import (
    BinaryData,
    BinaryModel,
    FiniteData,
    binary_states,
    entropy,
    state_probabilities,
)

LN2 = np.log(2.0)
BETA = [0.1, 0.35, 0.6]
PRIOR = [0.3, 0.65]


def random_reverse(seed, d):
    """A reverse kernel that is a table of random rates, one to each state and time."""
    table = np.random.default_rng(seed).uniform(0.05, 0.95, (10, 2**d, d))

    def reverse(xt, t):
        return Bernoulli(table[t][np.asarray(xt, dtype=int) @ 2 ** np.arange(d)])

    return reverse


def average(data, values):
    return np.where(data.weights > 0, data.weights * values, 0.0).sum()


def random_pmf(seed, d):
    return np.random.default_rng(seed).dirichlet(np.ones(2**d))


# The sum over all trajectories, written out


def prob(rates, x):
    return float(np.prod(np.where(np.asarray(x) == 1, rates, 1 - np.asarray(rates))))


def trajectories(x0, diffusion, reverse, edge, prior=PRIOR, beta=BETA):
    """(q(x^{1..T}|x^0), p(x^{0..T}), E-log-ratio summands) of every trajectory that starts in x0;
    kernels from the paper's table.
    """
    pi = np.asarray(prior)
    states = list(itertools.product([0.0, 1.0], repeat=len(pi)))
    for path in itertools.product(states, repeat=len(beta)):
        path = [x0, *path]
        q = np.prod(
            [
                prob(np.asarray(path[t - 1]) * (1 - beta[t - 1]) + pi * beta[t - 1], path[t])
                for t in range(1, len(path))
            ]
        )
        steps = [
            prob(reverse(np.array([path[t]]), t).prob1[0], path[t - 1]) for t in range(2, len(path))
        ]
        last = (
            np.asarray(path[1]) * (1 - beta[0]) + pi * beta[0]
            if edge is None
            else edge(np.array([path[1]])).prob1[0]
        )
        yield q, prob(pi, path[-1]) * np.prod(steps) * prob(last, x0)


def brute_force(reverse, edge=None):
    """log p(x^0) and K(x^0) of all states of two bits, T = 3."""
    log_p, K = [], []
    for x0 in binary_states(2):
        pairs = np.array(list(trajectories(tuple(x0), None, reverse, edge)))
        log_p.append(np.log(pairs[:, 1].sum()))
        K.append((pairs[:, 0] * np.log(pairs[:, 1] / pairs[:, 0])).sum())
    return np.array(log_p), np.array(K)


def model_of(reverse, edge=None, beta=BETA, prior=PRIOR):
    return BinaryModel(BinomialDiffusion(beta, prior), len(prior), reverse, edge)


def test_log_likelihood_is_the_sum_over_all_trajectories():
    reverse = random_reverse(0, 2)
    np.testing.assert_allclose(
        model_of(reverse).log_likelihood(), brute_force(reverse)[0], rtol=1e-14
    )


def test_lower_bound_is_the_average_log_weight_over_all_trajectories():
    reverse = random_reverse(1, 2)
    np.testing.assert_allclose(model_of(reverse).lower_bound(), brute_force(reverse)[1], rtol=1e-14)


def test_a_learned_edge_is_the_last_step_of_all_trajectories():
    reverse = random_reverse(2, 2)
    model = model_of(reverse, edge=lambda x1: random_reverse(3, 2)(x1, 1))
    log_p, K = brute_force(reverse, lambda x1: random_reverse(3, 2)(x1, 1))
    np.testing.assert_allclose(
        [model.log_likelihood(), model.lower_bound()], [log_p, K], rtol=1e-14
    )


WRONG_MODELS = {
    "t shifted by one": lambda reverse: model_of(lambda xt, t: reverse(xt, t + 1)),
    "0 and 1 exchanged": lambda reverse: model_of(lambda xt, t: Bernoulli(reverse(xt, t).prob0)),
    "bits in the other order": lambda reverse: model_of(lambda xt, t: reverse(xt[:, ::-1], t)),
    "prior 1/2": lambda reverse: model_of(reverse, prior=[0.5, 0.5]),
    "beta shifted by one": lambda reverse: model_of(reverse, beta=[0.35, 0.6, 0.6]),
    "no edge": lambda reverse: model_of(reverse, edge=lambda x1: Bernoulli(np.full_like(x1, 0.5))),
}


@pytest.mark.parametrize("wrong", WRONG_MODELS.values(), ids=WRONG_MODELS)
def test_all_trajectories_reject_a_wrong_model(wrong):
    reverse = random_reverse(0, 2)
    log_p, K = brute_force(reverse)
    assert np.abs(wrong(reverse).log_likelihood() - log_p).max() > 1e-3
    assert np.abs(wrong(reverse).lower_bound() - K).max() > 1e-3


def test_probabilities_sum_to_one():
    assert np.exp(model_of(random_reverse(4, 2)).log_likelihood()).sum() == pytest.approx(
        1.0, abs=1e-14
    )


def test_the_bound_lies_below_the_log_likelihood():
    model = model_of(random_reverse(5, 2))
    assert (model.lower_bound() < model.log_likelihood()).all()


def test_the_sampled_bound_agrees_with_the_enumerated_one():
    diffusion, reverse = BinomialDiffusion(BETA, [0.3, 0.65, 0.5]), random_reverse(6, 3)
    model = BinaryModel(diffusion, 3, reverse)
    got = bounds.lower_bound(
        diffusion, reverse, model.states, rng=np.random.default_rng(0), n_samples=4000
    )
    z = (got.value - model.lower_bound()) / got.stderr
    assert np.abs(z).max() < 5.8  # 1e-8 two-sided, 8 states
    assert (
        np.abs((got.value - got.kl.sum(0) - model.lower_bound()) / got.stderr) > 20
    ).all()  # and twice the KL is seen


def test_kl_terms_are_those_of_the_laws():
    diffusion, reverse = BinomialDiffusion(BETA, PRIOR), random_reverse(7, 2)
    model = BinaryModel(diffusion, 2, reverse)
    for t in (2, 3):
        for i, x0 in enumerate(model.states):
            q_xt = state_probabilities(Bernoulli(diffusion.marginal(x0, t).prob1[None]))[0]
            kl = diffusion.posterior(x0, model.states, t).kl(reverse(model.states, t))
            assert model.kl()[t - 2, i] == pytest.approx(q_xt @ kl, rel=1e-12)


def test_a_state_that_the_model_never_visits_has_log_likelihood_minus_infinity():
    model = model_of(random_reverse(0, 2), edge=lambda x1: Bernoulli(np.zeros_like(x1)))
    assert abs(model.log_likelihood()[0]) < 1e-15
    assert (model.log_likelihood()[1:] == -np.inf).all()
    assert (model.lower_bound()[1:] == -np.inf).all()


# Data from the prior


@pytest.mark.parametrize("pi", [0.5, 0.2, 0.01, [0.2, 0.9, 0.5], [1e-6, 0.3, 0.999]], ids=str)
def test_data_from_the_prior_lose_nothing(pi):
    diffusion, d = BinomialDiffusion(BETA, pi), 3
    prior = diffusion.prior(d)
    data = BinaryData(
        diffusion, state_probabilities(Bernoulli(prior.prob1[None], prior.prob0[None]))[0]
    )
    got = BinaryModel(diffusion, d, diffusion.kernel).averages(data)
    np.testing.assert_allclose(got, -float(prior.entropy()), rtol=0, atol=1e-14 * d)


def test_a_bound_with_an_entropy_turned_round_is_seen_on_data_from_the_prior():
    diffusion = BinomialDiffusion(BETA, 0.2)
    model, data = BinaryModel(diffusion, 1, diffusion.kernel), BinaryData(diffusion, [0.8, 0.2])
    turned = model.averages(data).bound - 2 * average(data,
        diffusion.marginal(model.states, 1).entropy()
    )
    assert turned < model.averages(data).log_likelihood - 0.1  # still a lower bound, and wrong


# Binary data, against plain sums of products


@pytest.mark.parametrize("prior", [[0.3, 0.65, 0.5], 0.2], ids=str)
def test_laws_and_entropies_of_data_are_those_of_plain_sums(prior):
    data = BinaryData(BinomialDiffusion(BETA, prior), random_pmf(11, 3))
    truth = EnumeratedBits(data)
    for t in (0, 1, 2, 3):
        np.testing.assert_allclose(data.marginal(t), truth.marginal(t), rtol=1e-14)
        assert entropy(data, t).value == pytest.approx(truth.entropy(t), abs=1e-14)
    for t in (1, 2, 3):
        np.testing.assert_allclose(data.reversal(t), truth.reversal(t), rtol=2e-14)
        assert data.reverse_entropy(t) == pytest.approx(truth.reverse_entropy(t), abs=1e-14)
        law = data.reverse(data.atoms, t)
        np.testing.assert_allclose([law.prob1, law.prob0], truth.match(t), rtol=1e-14)


def test_data_with_impossible_states_have_the_entropies_of_plain_sums():
    data = BinaryData(BinomialDiffusion(BETA, PRIOR), [0.25, 0.75, 0.0, 0.0])
    truth = EnumeratedBits(data)
    assert entropy(data, 0).value == pytest.approx(truth.entropy(0), abs=1e-15)
    for t in (1, 2, 3):
        np.testing.assert_allclose(data.reversal(t), truth.reversal(t), rtol=1e-14)
        assert data.reverse_entropy(t) == pytest.approx(truth.reverse_entropy(t), abs=1e-14)


# The exact reversal


def reversed_model(data, edge):
    first = (
        data.reversal(1)
        if edge == "exact"
        else state_probabilities(data.diffusion.edge(data.atoms))
    )
    return MatrixModel(
        data.diffusion, [first, *[data.reversal(t) for t in range(2, data.diffusion.T + 1)]]
    )


def test_the_exact_reversal_of_forgotten_data_is_the_data():
    data = BinaryData(BinomialDiffusion([0.2, 0.5, 1.0], [0.3, 0.6, 0.5]), random_pmf(0, 3))
    got = reversed_model(data, "exact").averages(data)
    np.testing.assert_allclose(got[:2], -entropy(data, 0).value, rtol=0, atol=3e-14)


def test_the_exact_reversal_returns_the_data_law_from_its_last_marginal():
    data = BinaryData(BinomialDiffusion(BETA, PRIOR), random_pmf(1, 2))
    law = data.marginal(3)
    for t in (3, 2, 1):
        law = law @ data.reversal(t)
    np.testing.assert_allclose(law, data.weights, rtol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_the_exact_reversal_reaches_null_plus_the_divergence_of_both_ends(seed):
    data = BinaryData(BinomialDiffusion(BETA, [0.3, 0.65, 0.5]), random_pmf(seed, 3))
    prior = reversed_model(data, "fixed").marginal(3)
    kl = [float((data.marginal(t) * np.log(data.marginal(t) / prior)).sum()) for t in (1, 3)]
    assert reversed_model(data, "fixed").averages(data).bound == pytest.approx(
        average(data, np.log(prior)) + kl[0] - kl[1], abs=1e-14
    )


def test_the_least_divergence_is_the_lower_gap_of_24():
    data = BinaryData(BinomialDiffusion(BETA, PRIOR), random_pmf(2, 2))
    kl = reversed_model(data, "fixed").kl()
    for t in (2, 3):
        joint = (
            EnumeratedBits(data).forward_entropy(t)
            + EnumeratedBits(data).entropy_given_data(t - 1)
            - EnumeratedBits(data).entropy_given_data(t)
        )
        assert average(data, kl[t - 2]) == pytest.approx(data.reverse_entropy(t) - joint, abs=1e-14)


def test_no_reverse_kernel_beats_the_moment_match():
    data = BinaryData(BinomialDiffusion(BETA, PRIOR), random_pmf(3, 2))
    best = BinaryModel(data.diffusion, 2, data.reverse).averages(data).bound
    for towards in (0.0, 1.0):
        other = BinaryModel(
            data.diffusion,
            2,
            lambda xt, t, to=towards: Bernoulli(0.98 * data.reverse(xt, t).prob1 + 0.02 * to),
        )
        assert other.averages(data).bound < best
    assert (
        best < reversed_model(data, "fixed").averages(data).bound
    )  # whose bits depend on each other


def test_the_moment_match_has_the_means_of_the_reversal():
    data = BinaryData(BinomialDiffusion(BETA, PRIOR), random_pmf(4, 2))
    for t in (1, 2, 3):
        joint = EnumeratedBits(data).joint(t)
        means = [
            [(joint[:, j] * data.atoms[:, i]).sum() / joint[:, j].sum() for i in (0, 1)]
            for j in range(4)
        ]
        np.testing.assert_allclose(data.reverse(data.atoms, t).prob1, means, rtol=1e-14)


# Entropies, and section 2.6


def test_entropies_obey_the_chain_rule_both_ways():
    data = BinaryData(BinomialDiffusion(BETA, PRIOR), random_pmf(5, 2))
    for t in (1, 2, 3):
        assert EnumeratedBits(data).joint_entropy(t) == pytest.approx(
            entropy(data, t - 1).value + EnumeratedBits(data).forward_entropy(t), abs=1e-14
        )
        assert EnumeratedBits(data).joint_entropy(t) == pytest.approx(
            entropy(data, t).value + data.reverse_entropy(t), abs=1e-14
        )


def test_the_bounds_of_24_are_those_of_the_enumeration():
    data = BinaryData(BinomialDiffusion(BETA, PRIOR), [0.25, 0.5, 0.0, 0.25])
    for t in (1, 2, 3):
        got = bounds.reverse_entropy_bounds(data.diffusion, [[0, 0], [0, 1], [0, 1], [1, 1]], t)
        lower = (
            EnumeratedBits(data).forward_entropy(t)
            + EnumeratedBits(data).entropy_given_data(t - 1)
            - EnumeratedBits(data).entropy_given_data(t)
        )
        assert got[:2] == pytest.approx((lower, EnumeratedBits(data).forward_entropy(t)), abs=1e-14)
        assert got.lower <= data.reverse_entropy(t)


def test_the_lower_gaps_sum_to_a_difference_of_informations():
    data = BinaryData(
        BinomialDiffusion([0.1, 0.2, 0.3, 0.4, 0.5], [0.3, 0.65, 0.5]), random_pmf(6, 3)
    )
    gaps = [
        data.reverse_entropy(t)
        - EnumeratedBits(data).forward_entropy(t)
        - EnumeratedBits(data).entropy_given_data(t - 1)
        + EnumeratedBits(data).entropy_given_data(t)
        for t in range(2, 6)
    ]
    information = [
        entropy(data, t).value - EnumeratedBits(data).entropy_given_data(t) for t in (1, 5)
    ]
    assert sum(gaps) == pytest.approx(information[0] - information[1], abs=1e-14)


def test_the_upper_gaps_sum_to_a_difference_of_entropies():
    data = BinaryData(
        BinomialDiffusion([0.1, 0.2, 0.3, 0.4, 0.5], [0.3, 0.65, 0.5]), random_pmf(7, 3)
    )
    gaps = [EnumeratedBits(data).forward_entropy(t) - data.reverse_entropy(t) for t in range(2, 6)]
    assert sum(gaps) == pytest.approx(entropy(data, 5).value - entropy(data, 1).value, abs=1e-14)


@pytest.mark.parametrize("seed", range(20))
def test_the_upper_bound_of_24_holds_exactly_where_entropy_does_not_fall(seed):
    data = BinaryData(
        BinomialDiffusion([0.1, 0.3], np.random.default_rng(seed).uniform(0.05, 0.95, 2)),
        random_pmf(seed + 100, 2),
    )
    for t in (1, 2):
        assert (data.reverse_entropy(t) <= EnumeratedBits(data).forward_entropy(t)) == (
            entropy(data, t).value >= entropy(data, t - 1).value
        )


@pytest.mark.parametrize("seed", range(20))
def test_the_stated_condition_suffices_for_the_upper_bound(seed):
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(64, rng.dirichlet(np.ones(4)))
    data = BinaryData(BinomialDiffusion([0.1, 0.3], rng.uniform(0.05, 0.95, 2)), counts / 64)
    rows = np.repeat(data.atoms, counts, axis=0)
    for t in (1, 2):
        bound = bounds.reverse_entropy_bounds(data.diffusion, rows, t)
        assert not bound.upper_holds or data.reverse_entropy(t) <= bound.upper


def test_one_bit_breaks_the_upper_bound_and_is_reported():
    diffusion = BinomialDiffusion([0.1], 0.2)
    bound = bounds.reverse_entropy_bounds(diffusion, [[0], [1]], 1)
    truth = BinaryData(diffusion, [0.5, 0.5]).reverse_entropy(1)
    assert (round(bound.upper, 6), round(truth, 6), bound.upper_holds) == (
        0.188404,
        0.190205,
        False,
    )


@pytest.mark.parametrize("pi", [0.5, 0.2, 0.7])
def test_equation_14_exceeds_the_bound_by_the_stated_amount(pi):
    diffusion, pmf = BinomialDiffusion(BETA, [pi, 0.4]), random_pmf(8, 2)
    got = BinaryModel(diffusion, 2, random_reverse(8, 2)).averages(BinaryData(diffusion, pmf))
    m = pmf @ binary_states(2)
    stated = -(logit([pi, 0.4]) * (m - [pi, 0.4])).sum() * (np.prod(1 - np.array(BETA)) + BETA[0])
    assert got.eq14 - got.bound == pytest.approx(stated, abs=1e-14)


# Slips: each is a number that the oracle tells from the truth


def slips(data, model):
    """K of the model under mistakes of PAPER.md's table."""
    K, kl = model.averages(data).bound, [average(data, row) for row in model.kl()]
    first, last = (EnumeratedBits(data).entropy_given_data(t) for t in (1, data.diffusion.T))
    return {
        "twice the KL": K - sum(kl),
        "T terms for T - 1": K + sum(kl) - np.mean(kl) * data.diffusion.T,
        "entropies exchanged": K - 2 * (last - first),
        "entropies at every t": K + (data.diffusion.T - 2) * (last - first),
        "equation (14)": model.averages(data).eq14,
        "in bits": K / LN2,
        "not weighted by q": model.lower_bound().mean(),
    }


def test_each_slip_differs_from_the_bound():
    data = BinaryData(BinomialDiffusion(BETA, PRIOR), random_pmf(9, 2))
    model = BinaryModel(data.diffusion, 2, data.reverse)
    K = sum(p * k for p, k in zip(data.weights, brute_force(data.reverse)[1], strict=True))
    for name, wrong in slips(data, model).items():
        assert abs(wrong - K) > 1e-2, name
    assert model.averages(data).bound == pytest.approx(K, rel=1e-13)


# What can be attained


def test_null_is_always_attainable():
    data = BinaryData(BinomialDiffusion([0.1, 0.2], 0.2), [0.5, 0.5])
    null = average(data, bounds.null_log_likelihood(data.diffusion, data.atoms))
    assert null <= reversed_model(data, "fixed").averages(data).bound


# Probabilities whose products underflow


def test_a_tiny_pi_loses_nothing_with_the_prior_s_own_kernels():
    """p = T_pi throughout is pi, so K = log p = log pi(x^0): 2 log(1 - pi), ..., 2 log pi."""
    diffusion = BinomialDiffusion(BETA, 1e-200)
    model, truth = BinaryModel(diffusion, 2, diffusion.kernel), np.log(1e-200)
    for got in (model.lower_bound(), model.log_likelihood()):
        np.testing.assert_allclose(got, [0.0, truth, truth, 2 * truth], rtol=1e-14, atol=1e-15)
    assert np.isfinite(model.kl()).all()


def test_eleven_rare_bits_lose_nothing_with_the_prior_s_own_kernels():
    diffusion = BinomialDiffusion([0.3, 0.6], 1e-30)
    model = BinaryModel(diffusion, 11, diffusion.kernel)
    truth = np.log(1e-30) * model.states.sum(1)
    np.testing.assert_allclose(model.lower_bound(), truth, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(model.log_likelihood(), truth, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("t", [1, 2, 3])
def test_the_reversal_at_a_tiny_pi_is_that_of_sums_at_500_digits(t):
    data = BinaryData(BinomialDiffusion(BETA, 1e-200), [0.125, 0.25, 0.5, 0.125])
    with mpmath.workdps(500):
        beta = [mpmath.mpf(b) for b in data.diffusion.beta]
        states = list(itertools.product([0, 1], repeat=2))

        def prob(after, before, kept):
            rates = [x * kept + mpmath.mpf(1e-200) * (1 - kept) for x in before]
            return mpmath.fprod(r if x else 1 - r for r, x in zip(rates, after, strict=True))

        def kept(t):
            return mpmath.fprod(1 - b for b in beta[:t])

        def marginal(x, t):
            given = [prob(x, x0, kept(t)) for x0 in states]
            return mpmath.fsum(w * p for w, p in zip(data.weights.tolist(), given, strict=True))

        joint = [
            [marginal(before, t - 1) * prob(after, before, 1 - beta[t - 1]) for before in states]
            for after in states
        ]
        reversal = [[p / mpmath.fsum(row) for p in row] for row in joint]
        flat = [
            pair for rows in zip(joint, reversal, strict=True) for pair in zip(*rows, strict=True)
        ]
        entropy = -mpmath.fsum(q * mpmath.log(r) for q, r in flat if r)
    truth = np.array([[float(p) for p in row] for row in reversal])
    np.testing.assert_allclose(data.reversal(t), truth, rtol=1e-12)
    assert data.reverse_entropy(t) == pytest.approx(float(entropy), abs=1e-14)


# Kernels of users


def test_a_kernel_that_writes_into_its_states_changes_nothing():
    diffusion = BinomialDiffusion(BETA, PRIOR)

    def in_place(xt, t):
        law = diffusion.kernel(xt, t)
        xt[:] = 0.0
        return law

    def last(x1):
        return in_place(x1, 1)

    got, truth = (
        BinaryModel(diffusion, 2, *kernels) for kernels in ((in_place, last), (diffusion.kernel,))
    )
    np.testing.assert_array_equal(got.lower_bound(), truth.lower_bound())
    np.testing.assert_array_equal(got.log_likelihood(), truth.log_likelihood())
    np.testing.assert_array_equal(got.states, binary_states(2))


def test_a_kernel_is_asked_for_one_int_time():
    times = []
    diffusion = BinomialDiffusion(BETA, PRIOR)
    BinaryModel(diffusion, 2, lambda xt, t: times.append(t) or diffusion.kernel(xt, t)).marginal(0)
    assert times == [3, 2]


# Doors, and agreement with atoms


def test_atoms_on_all_states_are_the_same_data():
    data = BinaryData(BinomialDiffusion(BETA, [0.3, 0.65, 0.5]), random_pmf(10, 3))
    atoms = FiniteData(data.diffusion, data.atoms, data.weights)
    for t in (1, 2, 3):
        np.testing.assert_allclose(
            np.exp(atoms.log_prob(data.atoms, t)), data.marginal(t), rtol=1e-13
        )
        np.testing.assert_allclose(
            atoms.reverse(data.atoms, t).prob1, data.reverse(data.atoms, t).prob1, rtol=1e-13
        )


def test_the_match_of_enumerated_bits_keeps_both_members():
    law = BinaryData(BinomialDiffusion([0.5, 0.5]), [1e-20, 1.0]).reverse([[1.0]], 1)
    np.testing.assert_allclose(law.prob0, 1e-20 / 3, rtol=1e-14)


def test_enumerated_reversal_takes_any_axes():
    data = BinaryData(BinomialDiffusion([0.2, 0.3]), [0.1, 0.2, 0.3, 0.4])
    xt = np.random.default_rng(0).integers(2, size=(4, 3, 2)).astype(float)
    got, flat = data.reverse(xt, 2).prob1, data.reverse(xt.reshape(12, 2), 2).prob1
    np.testing.assert_array_equal(got.reshape(12, 2), flat)


def test_equation_14_is_nan_behind_any_other_edge():
    diffusion = BinomialDiffusion([0.2, 0.3])
    data = BinaryData(diffusion, [0.25, 0.75])
    model = BinaryModel(diffusion, 1, diffusion.kernel, diffusion.edge)
    assert np.isnan(model.averages(data).eq14)


def test_twelve_bits_are_enumerated():
    assert binary_states(12).shape == (4096, 12)


def test_states_are_numbered_in_binary():
    assert [int("".join(map(str, row.astype(int))), 2) for row in binary_states(5)] == list(
        range(32)
    )


def test_ten_bits_are_enumerated():
    diffusion = BinomialDiffusion([0.3, 0.6], 0.4)
    assert np.exp(
        BinaryModel(diffusion, 10, diffusion.kernel).log_likelihood()
    ).sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda q: BinaryModel(q, 13, q.kernel), "d must lie in 1..12, got 13"),
        (lambda q: BinaryModel(q, 0, q.kernel), "d must lie in 1..12, got 0"),
        (
            lambda q: BinaryModel(
                q, 2, lambda xt, t: Bernoulli(np.full((3, 2), 0.5))
            ).lower_bound(),
            "reverse must return a law",
        ),
        (
            lambda q: BinaryModel(
                q, 2, q.kernel, lambda x1: Bernoulli(np.full((3, 2), 0.5))
            ).lower_bound(),
            "edge must return a law",
        ),
        (lambda q: BinaryModel(q, 2, q.kernel).marginal(4), "t must lie in 0..3"),
        (lambda q: BinaryModel(q, 2, q.kernel).reverse_matrix(0), "t must lie in 1..3"),
        (lambda q: BinaryData(q, [0.5, 0.25, 0.25]), "pmf must have length 2\\^d, d >= 1, got 3"),
        (lambda q: BinaryData(q, [0.5, 0.25]), "pmf must be 2 probabilities that sum to 1"),
        (lambda q: BinaryData(q, [1.5, -0.5]), "pmf must lie in"),
        (lambda q: BinaryData(q, [0.5, 0.5]).reversal(0), "t must lie in 1..3"),
        (lambda q: BinaryData(q, [0.5, 0.5]).reverse([[0, 1]], 2), "xt must have 1 components"),
    ],
)
def test_bad_input_is_refused_with_the_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make(BinomialDiffusion(BETA, 0.4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda q: BinaryModel(None, 2, q.kernel),
            "diffusion must be a BinomialDiffusion, got None",
        ),
        (
            lambda q: BinaryModel(GaussianDiffusion(BETA), 2, q.kernel),
            "diffusion must be a Binomial",
        ),
        (lambda q: BinaryModel(q, 2, None), "reverse must be a callable, got None"),
        (lambda q: BinaryModel(q, 2, 0.5), "reverse must be a callable, got 0.5"),
        (lambda q: BinaryModel(q, 2, q.kernel, 0.5), "edge must be a callable, got 0.5"),
        (lambda q: BinaryData(None, [0.5, 0.5]), "diffusion must be a BinomialDiffusion"),
        (
            lambda q: BinaryModel(q, 1, q.kernel).averages(None),
            "data must be a BinaryData, got None",
        ),
    ],
)
def test_what_is_no_diffusion_and_no_function_is_named(make, message):
    with pytest.raises(TypeError, match=message):
        make(BinomialDiffusion(BETA, 0.4))


def test_a_pmf_in_float32_is_one_in_float32():
    pmf = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    data = BinaryData(BinomialDiffusion([0.1]), pmf)
    np.testing.assert_allclose(data.marginal(0), [0.1, 0.2, 0.3, 0.4], rtol=1e-7)
    assert data.marginal(0).sum() == pytest.approx(1.0, abs=4e-16)
    with pytest.raises(ValueError, match="pmf must be 4 probabilities that sum to 1"):
        BinaryData(BinomialDiffusion([0.1]), pmf * np.float32(1.00001))

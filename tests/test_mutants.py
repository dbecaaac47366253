"""Tests named by the survivors of the mutation gate, and the contract of exactness on grids small enough to run for each mutant."""

import math
import re
from unittest import mock

import accuracy_table
import numpy as np
import pytest
from scipy.special import ndtri

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, bounds, information, schedules
from dpm_ref.exact import BinaryData, BinaryModel, FiniteData, GaussianData, LinearModel, _lumping, attainable_bound, binary_states, ideal
from dpm_ref.exact._lumping import lumped_states
from dpm_ref.mlp import MLP
from dpm_ref.reverse import BinomialReverse, GaussianReverse, sample_trajectory


@pytest.mark.parametrize("family", [family for family in accuracy_table.FAMILIES if family is not accuracy_table.bound_rows])
def test_a_family_of_functions_keeps_its_promises_on_a_small_grid(family):
    with np.errstate(divide="ignore", invalid="ignore"):  # the obvious formulas leave the floats
        rows = list(family(np.random.default_rng(3), 80))
    for row in rows:
        assert row.worst <= row.promised, row.function


def rng(seed=0):
    return np.random.default_rng(seed)


# Pairs: what is known of P(x = 0) is not thrown away


def test_entropy_grad_of_a_law_uses_both_members():
    np.testing.assert_allclose(Bernoulli([1.0], [1e-20]).entropy_grad(), [np.log(1e-20)], rtol=1e-15)


def test_kl_grad_of_laws_uses_both_members():
    grad = Bernoulli([1.0], [1e-20]).kl_grad(Bernoulli([1.0], [1e-21]))
    np.testing.assert_allclose(np.concatenate(grad), [-np.log(10.0), 9.0], rtol=1e-14)


def test_kl_grad_uses_p0_of_the_first_law_where_both_are_given():
    grad = information.bernoulli_kl_grad(1.0, 1.0, 1e-20, 1e-21)
    np.testing.assert_allclose(np.array(grad), [-np.log(10.0), 9.0], rtol=1e-14)


def test_ideal_reverse_kernel_of_enumerated_bits_keeps_both_members():
    law = BinaryData(BinomialDiffusion([0.5, 0.5]), [1e-20, 1.0]).reverse([[1.0]], 1)
    np.testing.assert_allclose(law.prob0, 1e-20 / 3, rtol=1e-14)


# Batches of more than one axis


@pytest.mark.parametrize("diffusion", [GaussianDiffusion([0.2, 0.3]), BinomialDiffusion([0.2, 0.3], [0.2, 0.4])])
@pytest.mark.parametrize("function", [bounds.preconditions, attainable_bound, lambda d, x: bounds.reverse_entropy_bounds(d, x, 2)])
def test_axes_of_a_batch_are_all_averaged_over(diffusion, function):
    x0 = rng().integers(2, size=(4, 3, 2)).astype(float)
    flat, stacked = function(diffusion, x0.reshape(12, 2)), function(diffusion, x0)
    np.testing.assert_allclose([float(v) for v in stacked[:2]], [float(v) for v in flat[:2]], rtol=1e-13)
    assert stacked[2] == flat[2]


def test_enumerated_reversal_takes_any_axes():
    data = BinaryData(BinomialDiffusion([0.2, 0.3]), [0.1, 0.2, 0.3, 0.4])
    xt = rng().integers(2, size=(4, 3, 2)).astype(float)
    np.testing.assert_array_equal(data.reverse(xt, 2).prob1.reshape(12, 2), data.reverse(xt.reshape(12, 2), 2).prob1)


def test_linear_models_take_any_axes():
    data = GaussianData(GaussianDiffusion([0.2, 0.3]), [0.5, 0.0], [[1.0, 0.5], [0.5, 2.0]])
    model, x0 = LinearModel(data.diffusion, data.kernels()), rng().standard_normal((4, 3, 2))
    for function in (model.log_likelihood, model.lower_bound, lambda x: model.kl(x)[0]):
        np.testing.assert_allclose(function(x0), function(x0.reshape(12, 2)).reshape(4, 3), rtol=1e-13)


def test_at_grad_has_the_shape_of_the_samples():
    assert Gaussian([0.0, 1.0], 1.0).at_grad(np.zeros((3, 2))).mean.shape == (3, 2)


# The least sizes allowed


def test_a_schedule_may_have_one_step():
    assert schedules.constant(1, 0.25).tolist() == [0.25]
    assert schedules.linear(1, first=0.25, last=0.5).tolist() == [0.25]
    assert schedules.cosine(1).shape == schedules.constant_erasure(1).shape == (1,)


def test_a_linear_model_may_have_one_component_and_one_step():
    assert LinearModel(GaussianDiffusion([0.2]), [], d=1).d == 1


def test_an_edge_alone_gives_the_number_of_components():
    assert LinearModel(GaussianDiffusion([0.2]), [], (np.eye(3), np.zeros(3), np.eye(3))).d == 3


def test_entropy_of_one_bit_given_the_data_is_that_of_its_marginal():
    data = BinaryData(BinomialDiffusion([0.2, 0.3], 0.25), [1.0, 0.0])
    p = 0.25 * 0.44
    np.testing.assert_allclose(data.entropy_given_data(2), -p * np.log(p) - (1 - p) * np.log(1 - p), rtol=1e-15)


# Draws and lattices


def test_atoms_of_bits_are_drawn_as_they_are_at_time_zero_and_noisy_after_it():
    data = FiniteData(BinomialDiffusion([0.5, 0.5]), [[0.0, 1.0]])
    uniform = np.array([[0.5, 0.01, 0.99]])
    assert data.draw(uniform, 0).tolist() == [[0.0, 1.0]]
    assert data.draw(uniform, 1).tolist() == [[1.0, 0.0]]


def test_uniform_numbers_above_a_half_are_positive_noise():
    data = FiniteData(GaussianDiffusion([0.36, 0.5]), [[2.0]])
    np.testing.assert_allclose(data.draw(np.array([[0.5, 0.8413447460685429]]), 1), [[2.0 * 0.8 + 0.6]], rtol=1e-12)


LATTICES = {
    "ideal bound": ideal.ideal_bound, "reversal bound": ideal.reversal_bound,
    "entropy": lambda data, **options: ideal.entropy(data, 1, **options),
}
lattices = pytest.mark.parametrize("function", LATTICES.values(), ids=LATTICES)


def two_atoms():
    return FiniteData(GaussianDiffusion([0.2, 0.3]), [[-1.0], [1.5]], [0.25, 0.75])


@lattices
def test_a_lattice_has_4096_points_in_all_by_default(function):
    assert function(two_atoms(), rng=rng())[:2] == function(two_atoms(), rng=rng(), n_samples=4096)[:2]


@lattices
def test_samples_are_rounded_up_to_whole_lattices(function):
    assert function(two_atoms(), rng=rng(), n_samples=17)[:2] == function(two_atoms(), rng=rng(), n_samples=32)[:2]
    assert function(two_atoms(), rng=rng(), n_samples=1)[:2] == function(two_atoms(), rng=rng(), n_samples=16)[:2]


def test_standard_errors_are_those_of_the_mean_of_16_lattices():
    data, source, lattice = two_atoms(), rng(3), np.stack([np.arange(4) / 4, np.arange(4) * 0.6180339887498949], 1)
    values = [-data.log_prob(data.draw((lattice + source.random(2)) % 1.0, 1), 1).mean() for _ in range(16)]
    value, stderr = ideal.entropy(data, 1, rng=rng(3), n_samples=64)
    np.testing.assert_allclose([value, stderr], [np.mean(values), np.sqrt(np.var(values) / 15)], rtol=1e-12)


# Ties, and names in messages


def test_noise_equal_to_the_probability_draws_a_zero():
    model = BinomialReverse(BinomialDiffusion([0.5, 1.0]), 1, hidden=(1,))
    assert model.draw(np.ones((1, 1, 1)), np.array([[2]]), np.full((1, 1, 1), 0.5)).xt.item() == 0.0


def test_a_wrong_law_at_the_second_time_is_blamed_on_the_reverse_kernel():
    with pytest.raises(ValueError, match="reverse"):
        sample_trajectory(GaussianDiffusion([0.1, 0.2]), lambda xt, t: Gaussian([0.0], 1.0), 2, 3, rng=rng())


# Memory


def test_a_spent_tape_lends_its_memory_to_states_of_its_number_only():
    network = MLP(2, 3, 4, hidden=(5, 4))
    params, t = network.init(rng=rng()), np.array([2, 4])
    x = rng(1).standard_normal((2, 6, 2))
    out, spent = network.forward(params, x, t)
    again, tape = network.forward(params, x, t, spent)
    np.testing.assert_array_equal(again, out)
    assert all(np.shares_memory(a, b) for a, b in zip(tape.activations[1:], spent.activations[1:], strict=True))
    np.testing.assert_array_equal(network.forward(params, x[:, :3], t, spent)[0], network.forward(params, x[:, :3], t)[0])


# Named by later survivors


@pytest.mark.parametrize("t", [1, 2])
@pytest.mark.parametrize("diffusion", [GaussianDiffusion([0.2, 0.3]), BinomialDiffusion([0.2, 0.3])])
def test_entropies_of_a_step_have_the_shape_of_the_batch(diffusion, t):
    x0 = np.zeros((4, 3, 2))
    assert diffusion.kernel_entropy(x0, t).shape == diffusion.posterior_entropy(x0, t).shape == (4, 3)


@pytest.mark.parametrize(("diffusion", "statement"), [
    (GaussianDiffusion([0.2]), "tr Cov(x^0) = 1 <= d = 2"),
    (BinomialDiffusion([0.2], 0.2), "sum_i logit(pi_i) (m_i - pi_i) = -0.831777 >= 0"),
])
def test_a_condition_says_what_was_compared(diffusion, statement):
    x0 = [[0.0, 0.0], [1.0, 1.0]] if isinstance(diffusion, BinomialDiffusion) else [[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]]
    assert diffusion.entropy_never_falls(x0).statement == statement


def test_equation_14_is_nan_behind_any_other_edge():
    diffusion = BinomialDiffusion([0.2, 0.3])
    data, model = BinaryData(diffusion, [0.25, 0.75]), BinaryModel(diffusion, 1, diffusion.kernel, diffusion.edge)
    assert np.isnan(model.averages(data).eq14)
    assert np.isnan(BinaryModel.from_matrices(diffusion, [model.reverse_matrix(t) for t in (1, 2)]).averages(data).eq14)


def test_the_first_uniform_number_counts_for_the_atom_above_it():
    data = FiniteData(GaussianDiffusion([0.2]), [[-1.0], [1.0]], spread=1.0)
    assert data.draw(np.array([[0.5, 0.5]]), 0).tolist() == [[1.0]]


def test_uniform_numbers_are_kept_a_half_step_off_zero_and_one():
    data = FiniteData(GaussianDiffusion([0.2]), [[0.0]], spread=1.0)
    np.testing.assert_allclose(data.draw(np.array([[0.0, 0.0]]), 0), [[ndtri(2.0**-53)]], rtol=1e-14)


def test_the_standard_error_of_the_ideal_bound_is_that_of_the_mean_of_16_lattices():
    data, source, lattice = two_atoms(), rng(3), np.stack([np.arange(4) / 4, np.arange(4) * 0.6180339887498949], 1)
    values = [data.divergence(data.draw((lattice + source.random(2)) % 1.0, 2), 2).mean() for _ in range(16)]
    bound = ideal.ideal_bound(data, rng=rng(3), n_samples=64)
    np.testing.assert_allclose([bound.kl[0], bound.stderr], [np.mean(values), np.sqrt(np.var(values) / 15)], rtol=1e-12)


def test_a_network_starts_with_a_gain_of_one():
    np.testing.assert_array_equal(MLP(2, 3, 4).init(rng=rng()), MLP(2, 3, 4, input_gain=1.0).init(rng=rng()))


@lattices
def test_more_samples_are_other_samples(function):
    assert function(two_atoms(), rng=rng(), n_samples=16)[0] != function(two_atoms(), rng=rng())[0]


def test_nothing_of_the_bound_on_bits_has_a_gradient():
    assert BinomialReverse(BinomialDiffusion([0.5, 0.5]), 2, hidden=(1,)).fixed_grad(np.ones((3, 2))).tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize("bit", [0.0, 1.0])
def test_a_nearly_certain_bit_keeps_both_members_and_loses_nothing_to_the_match(bit):
    data = FiniteData(BinomialDiffusion([1e-20, 0.5]), [[bit]])
    law = data.reverse([[bit]], 2)
    np.testing.assert_allclose(law.prob0 if bit else law.prob1, 5e-21 / 3, rtol=1e-14)
    assert abs(data.divergence([[bit]], 2).item()) < 1e-30


def test_the_heartbeat_has_126_states():
    data = FiniteData(BinomialDiffusion([0.25, 0.5], 0.2), np.tile(np.eye(5), 4))
    states, log_count = lumped_states(data)
    assert states.shape == (126, 20)
    np.testing.assert_allclose(np.exp(log_count).sum(), 2.0**20, rtol=1e-12)


def test_as_many_states_as_allowed_are_enumerated_and_no_more():
    def states(d):
        return lumped_states(FiniteData(BinomialDiffusion([0.25, 0.5], np.linspace(0.2, 0.4, d)), np.eye(d)))[0]
    with mock.patch.object(_lumping, "_MOST_STATES", 4):
        assert len(states(2)) == 4
        with pytest.raises(ValueError, match="at most 4"):
            states(3)


def test_a_bound_by_enumeration_has_no_error():
    assert ideal.ideal_bound_by_enumeration(FiniteData(BinomialDiffusion([0.25, 0.5]), np.eye(2))).stderr == 0.0


def test_a_bad_matrix_is_named_by_its_number():
    with pytest.raises(ValueError, match=re.escape("matrices[1] must lie in [0, 1]")):
        BinaryModel.from_matrices(BinomialDiffusion([0.2, 0.3]), [np.eye(2), 2 * np.eye(2)])


def test_weights_in_float32_need_sum_to_one_in_float32_only():
    weights = np.array([0.1, 0.2, 0.7], np.float32)
    assert abs(weights.astype(float).sum() - 1) > 1e-9
    np.testing.assert_array_equal(FiniteData(GaussianDiffusion([0.2]), np.eye(3), weights).weights, weights)


def test_one_state_at_many_times_has_the_axes_of_the_times():
    data = two_atoms()
    np.testing.assert_array_equal(data.log_prob([0.5], [1, 2]), [data.log_prob([0.5], 1), data.log_prob([0.5], 2)])


def test_times_that_do_not_fit_the_states_are_refused_as_such():
    with pytest.raises(ValueError, match="t must broadcast against the leading axes"):
        two_atoms().log_prob(np.zeros((4, 1)), [1, 2, 1])


def test_responsibilities_of_a_far_state_do_not_depend_on_its_neighbours():
    data, far = two_atoms(), [100.0]
    np.testing.assert_array_equal(data.responsibilities([[0.0], far], 1)[1], data.responsibilities(far, 1))


def test_twelve_bits_are_enumerated():
    assert binary_states(12).shape == (4096, 12)


@pytest.mark.parametrize("diffusion", [GaussianDiffusion([0.2, 0.3, 0.4]), BinomialDiffusion([0.2, 0.3, 0.4])])
@pytest.mark.parametrize("law", ["kernel", "marginal", "posterior"])
def test_times_that_do_not_fit_are_refused_by_every_law(diffusion, law):
    states = [np.zeros((4, 2))] * (2 if law == "posterior" else 1)
    with pytest.raises(ValueError, match="t must broadcast against the leading axes"):
        getattr(diffusion, law)(*states, [2, 3, 2])


@pytest.mark.parametrize("model", [GaussianReverse(GaussianDiffusion([0.2, 0.3]), 2), BinomialReverse(BinomialDiffusion([0.2, 0.3]), 2)])
def test_divergences_in_float32_stay_in_float32(model):
    ones, t = np.ones((1, 3, 2), np.float32), np.array([[2]])
    draw = model.draw(ones, t, ones * np.float32(0.5))
    kl, grad = model.kl_and_grad(np.zeros((1, 3, model.network.d_out), np.float32), draw, t)
    assert {draw.xt.dtype, draw.target.dtype, kl.dtype, grad.dtype} == {np.dtype(np.float32)}


def test_a_running_sum_keeps_what_rounding_takes():
    total, terms = bounds._Sum((1,)), [1.0, *[1e-17] * 1000, 3e15, 0.3, -3e15, -1.0]
    for term in terms:
        total.add(np.array([term]))
    np.testing.assert_allclose(total.value(), [math.fsum(terms)], rtol=1e-13)


def test_a_running_sum_stays_infinite():
    total = bounds._Sum((1,))
    for term in (1.0, np.inf, 1.0):
        total.add(np.array([term]))
    assert total.value().tolist() == [np.inf]


def test_log_probabilities_come_from_the_smaller_member():
    law = Bernoulli([1e-300, 1.0], [1.0, 1e-20])
    np.testing.assert_allclose([law.log_prob([1, 1]), law.log_prob([0, 0])], [np.log(1e-300), np.log(1e-20)], rtol=1e-15)
    np.testing.assert_allclose(Bernoulli([1.0], [1e-20]).log_prob([1]), -1e-20, rtol=1e-15)


def test_entropy_and_kl_of_laws_use_both_members():
    p, q = Bernoulli([1.0], [1e-20]), Bernoulli([1.0], [1e-21])
    np.testing.assert_allclose(p.entropy(), 1e-20 * (1 - np.log(1e-20)), rtol=1e-14)
    np.testing.assert_allclose(p.kl(q), 1e-20 * (np.log(10) - 0.9), rtol=1e-14)
    np.testing.assert_allclose(q.kl(p), 1e-21 * (9 - np.log(10)), rtol=1e-14)


def test_one_sample_has_a_standard_error_for_each_vector_that_is_nan():
    diffusion, x0 = GaussianDiffusion([0.2, 0.3]), np.zeros((4, 3, 2))
    K = bounds.lower_bound(diffusion, diffusion.kernel, x0, rng=rng(), edge=diffusion.edge)
    assert K.stderr.shape == (4, 3)
    assert np.isnan(K.stderr).all()
    assert K.kl.shape == (1, 4, 3)


def test_entropies_of_tiny_variances_differ_by_the_log_of_their_ratio():
    np.testing.assert_allclose(bounds.gaussian_entropy_difference(2.5e-300, 1e-300), 0.5 * np.log(2.5), rtol=1e-15)


def test_a_pair_of_two_dtypes_need_sum_to_one_in_the_coarser_only():
    for pair in ((0.1, np.float32(0.9)), (np.float32(0.1), 0.9)):
        assert abs(float(pair[0]) + float(pair[1]) - 1) > 1e-9
        np.testing.assert_allclose(sum(information.probability_pair(*pair)), 1.0, rtol=1e-15)


def test_the_rates_of_a_schedule_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        schedules.Schedule([0.1, 0.2]).beta[0] = 0.5


@pytest.mark.parametrize("diffusion", [GaussianDiffusion([0.2, 0.3]), BinomialDiffusion([0.2, 0.3])])
def test_data_without_a_vector_are_refused_by_name(diffusion):
    with pytest.raises(ValueError, match="x0 must hold at least one data vector"):
        diffusion.marginal(np.zeros((0, 3)), 1)

"""The network against a textbook one that takes one state at a time, and its derivatives against
complex steps of that one.
"""

import re
import tracemalloc

import mpmath_oracle
import naive_training
import numpy as np
import pytest
import statistics_budget
from scipy import stats

from dpm_ref.mlp import MLP, Tape, flat_vector, stack, time_bumps, time_polynomials

EPS = 2.0**-52
ROUNDING = 64 * EPS  # a few dozen products of order one
T = 4
ALARM = statistics_budget.alarm(5)  # comparisons in this file

NETWORKS = {
    "one readout per time": {"hidden": (3, 2)},
    "one layer": {"hidden": (4,)},
    "time features": {"hidden": (3, 2), "time_features": [[-1.0, 0.5], [0.25, -0.5], [1.0, 0.75]]},
    "narrow basis": {"hidden": (2, 3), "basis": [[1.0, 0.0], [0.5, 0.25], [-0.25, 1.0]]},
    "wide basis": {
        "hidden": (2,),
        "basis": [[1.0, 0.5, 0.0, 2.0], [0.0, 1.0, -0.5, 0.5], [0.25, 0.0, 1.0, -1.0]],
    },
    "features and basis": {
        "hidden": (3, 3, 2),
        "time_features": [[-1.0], [0.5], [1.0]],
        "basis": [[1.0], [0.5], [2.0]],
    },
    "skip": {"hidden": (3, 2), "skip": True},
    "skip, features and basis": {
        "hidden": (2, 3),
        "time_features": [[-1.0], [0.5], [1.0]],
        "basis": [[1.0], [0.5], [2.0]],
        "skip": True,
    },
}
networks = pytest.mark.parametrize("name", NETWORKS)

LAYOUTS = {
    "one state": ((), 3),
    "t constant": ((5,), 2),
    "t per row": ((5,), [2, 4, 3, 3, 2]),
    "t per stack": ((3, 4), [[4], [2], [3]]),
    "t twice the same": ((2, 3), [[3], [3]]),
    "t along the last axis": ((2, 3), [3, 2, 4]),
    "t everywhere": ((2, 3), [[2, 3, 4], [4, 3, 2]]),
    "t in the middle": ((2, 3, 2), [[2], [4], [3]]),
    "t with axes of one": ((2, 3), [[3]]),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def pair(name, d_in=2, d_out=3):
    """The network under test, the textbook's, and parameters."""
    network, truth = (
        kind(d_in, d_out, T, **NETWORKS[name]) for kind in (MLP, naive_training.Network)
    )
    return network, truth, np.random.default_rng(1).standard_normal(truth.size)


def stacked(n=4):
    """States (S, n, 2) at times (S,), one of them twice."""
    return np.random.default_rng(2).standard_normal((4, n, 2)), np.array([3, 2, 4, 3])


def forward(network, params, x, t):
    return Tape(network, params, *x.shape[:2]).forward(x, t)


def backward(network, params, x, t, dout):
    """The derivatives by the parameters and by x."""
    tape = Tape(network, params, *x.shape[:2])
    tape.forward(x, t)
    grad = tape.backward(dout)
    return grad, tape.backward_x(dout)


# Values


@networks
def test_forward_is_the_textbook_network(name):
    network, truth, params = pair(name)
    x, t = stacked()
    out = forward(network, params, x, t)
    np.testing.assert_allclose(out, truth.everywhere(params, x, t[:, None]), rtol=0, atol=ROUNDING)


@layouts
@networks
def test_apply_is_the_textbook_network_for_every_layout_of_times(name, layout):
    network, truth, params = pair(name)
    leading, t = LAYOUTS[layout]
    x = np.random.default_rng(3).standard_normal((*leading, 2))
    np.testing.assert_allclose(
        network.apply(params, x, np.array(t)), truth.everywhere(params, x, t), rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize(
    ("leading", "t"),
    [
        ((4500,), 3),
        ((3, 2100), [[2], [4], [3]]),
        ((3000, 1), np.arange(3000)[:, None] % 3 + 2),
        ((4500,), np.arange(4500) % 3 + 2),
        ((2, 3000), np.arange(3000) % 3 + 2),
    ],
    ids=["t constant", "long stacks", "stacks of one", "t per row", "t along the last axis"],
)
def test_apply_is_the_textbook_network_on_more_states_than_one_block(leading, t):
    """Compared at every 23rd state and at the last."""
    network, truth, params = pair("time features")
    x = np.random.default_rng(4).standard_normal((*leading, 2))
    got, rows = (
        network.apply(params, x, np.array(t)).reshape(-1, 3),
        [*range(0, x.size // 2, 23), -1],
    )
    step = truth.everywhere(
        params, x.reshape(-1, 2)[rows], np.broadcast_to(t, leading).ravel()[rows]
    )
    np.testing.assert_allclose(got[rows], step, rtol=0, atol=ROUNDING)


@networks
def test_layout_of_the_flat_vector_is_the_textbook_s(name):
    network, truth, _ = pair(name)
    assert list(network.shapes.items()) == list(truth.shapes.items())


@networks
def test_size_counts_every_parameter(name):
    network, truth, params = pair(name)
    assert network.size == truth.size == params.size


def test_unpack_gives_views_of_the_vector():
    network, truth, params = pair("time features")
    network.unpack(params)["W2"][1, 0] = 7.0
    assert truth.named(params)["W2"][1, 0] == 7.0


def test_readout_of_one_time_does_not_touch_the_others():
    network, _, params = pair("one readout per time")
    x, t = stacked()
    before = forward(network, params, x, t)
    network.unpack(params)["R"][3 - 2] += 1.0
    moved = (forward(network, params, x, t) != before).any((1, 2))
    assert moved.tolist() == (t == 3).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_have_the_dtype_of_the_parameters(dtype):
    network, _, params = pair("features and basis")
    assert network.apply(params.astype(dtype), np.zeros((3, 2)), np.array([2, 3, 4])).dtype == dtype


@networks
def test_float32_is_float64_rounded(name):
    network, _, params = pair(name)
    x, t = stacked()
    got = forward(network, params.astype(np.float32), x.astype(np.float32), t)
    np.testing.assert_allclose(
        got, forward(network, params, x, t), rtol=0, atol=2.0**-23 * 64
    )  # as ROUNDING, in float32


# Derivatives


def assert_gradient(got, truth):
    """Within 1e-12 of the largest entry; and of every entry that is not a thousandth of it."""
    largest = np.abs(truth).max(initial=0.0)
    large = np.abs(truth) > 1e-3 * largest
    assert got.shape == truth.shape
    assert (np.abs(got - truth) <= 1e-12 * largest).all()
    assert (np.abs(got - truth)[large] <= 1e-12 * np.abs(truth)[large]).all()


@networks
@pytest.mark.parametrize("seed", range(5, 9))
def test_backward_by_parameters_agrees_with_complex_step_entry_by_entry(name, seed):
    network, truth, params = pair(name)
    x, t = stacked()
    weights = np.random.default_rng(seed).standard_normal((4, 4, 3))
    grad, _ = backward(network, params, x, t, weights)
    step = naive_training.gradient(
        lambda p: (weights * truth.everywhere(p, x, t[:, None])).sum(), params
    )
    named = truth.named(step)
    for part, got in network.unpack(grad).items():
        assert_gradient(got, named[part])


@networks
@pytest.mark.parametrize("seed", range(6, 10))
def test_backward_by_the_state_agrees_with_complex_step_entry_by_entry(name, seed):
    network, truth, params = pair(name)
    x, t = stacked()
    weights = np.random.default_rng(seed).standard_normal((4, 4, 3))
    _, dx = backward(network, params, x, t, weights)
    step = naive_training.gradient(
        lambda moved: (weights * truth.everywhere(params, moved, t[:, None])).sum(), x
    )
    assert_gradient(dx, step)


@networks
def test_a_derivative_that_is_off_by_a_millionth_is_refused(name):
    """The power of the two tests above."""
    network, _, params = pair(name)
    x, t = stacked()
    grad, _ = backward(network, params, x, t, np.ones((4, 4, 3)))
    with pytest.raises(AssertionError):
        assert_gradient(grad * (1 + 1e-6), grad)


@networks
def test_backward_vanishes_with_the_derivative_by_the_outputs(name):
    network, _, params = pair(name)
    grad, dx = backward(network, params, *stacked(), np.zeros((4, 4, 3)))
    assert not grad.any()
    assert not dx.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_have_the_dtype_of_the_parameters(dtype):
    network, _, params = pair("features and basis")
    x, t = stacked()
    grad, dx = backward(
        network, params.astype(dtype), x.astype(dtype), t, np.ones((4, 4, 3), dtype)
    )
    assert (grad.dtype, dx.dtype) == (dtype, dtype)


def test_inputs_are_not_written_to():
    network, _, params = pair("features and basis")
    x, t = stacked()
    weights = np.ones((4, 4, 3))
    for array in (params, x, t, weights):
        array.flags.writeable = False
    backward(network, params, x, t, weights)
    assert network.apply(params, x, t[:, None]).shape == (4, 4, 3)


@networks
def test_a_tape_that_is_used_again_gives_the_same_to_the_bit(name):
    network, _, params = pair(name)
    (x, t), dout, tape = stacked(), np.ones((4, 4, 3)), Tape(network, params, 4, 4)
    first = tape.forward(x, t).copy(), tape.backward(dout).copy()
    tape.forward(-x, t[::-1])
    tape.backward(2 * dout)
    second = tape.forward(x, t), tape.backward(dout)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def test_a_tape_follows_parameters_that_are_written_to():
    network, _, params = pair("time features")
    (x, t), tape = stacked(), Tape(network, params, 4, 4)
    params *= 0.5
    assert tape.forward(x, t).tobytes() == forward(network, params, x, t).tobytes()


@pytest.mark.parametrize("z", [-800.0, -100.0, 100.0, 800.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_unit_that_is_saturated_is_one_in_size_without_a_warning(dtype, z):
    network = MLP(1, 1, 2, hidden=(1,))
    out = forward(
        network, np.array([0.0, z, 3.0, 0.0], dtype), np.zeros((1, 1, 1), dtype), np.array([2])
    )
    assert out.item() == 3.0 * np.sign(z)


@pytest.mark.parametrize("z", [0.0, 1e-300, -1e-17, 1e-9, -1e-3, 0.3, -1.0, 5.0, -18.0, 19.5])
def test_a_unit_is_the_hyperbolic_tangent_within_one_eps(z):
    network = MLP(1, 1, 2, hidden=(1,))
    out = forward(network, np.array([0.0, z, 1.0, 0.0]), np.zeros((1, 1, 1)), np.array([2]))
    assert abs(out.item() - float(mpmath_oracle.mp.tanh(z))) <= 1.5 * EPS


# Parameters to start from


@networks
def test_outputs_are_zero_at_the_start(name):
    network, _, _ = pair(name)
    x, t = stacked()
    assert not forward(network, network.init(rng=np.random.default_rng(7)), x, t).any()


def start(gain=1.0):
    network = MLP(
        30, 2, 3, hidden=(300, 200), input_gain=gain, time_features=np.ones((2, 10)), skip=True
    )
    return network.unpack(network.init(rng=statistics_budget.seed(8)))


@pytest.mark.parametrize(("name", "std"), [("W1", 3 / np.sqrt(40)), ("W2", 1 / np.sqrt(300))])
def test_weights_start_normal_with_the_variance_of_their_fan_in(name, std):
    """The first layer's fan-in counts the time features, and its scale is the gain, 3 here."""
    unit = start(gain=3.0)[name].ravel() / std
    assert stats.kstest(unit, "norm").pvalue > ALARM
    low, high = stats.chi2.interval(1 - ALARM, unit.size)
    assert low < (unit**2).sum() < high


def test_a_weight_variance_without_the_time_features_would_be_seen():
    """The power of the test above: a fan-in of 30 where it is 40."""
    unit = start()["W1"].ravel() * np.sqrt(30)
    assert (unit**2).sum() < stats.chi2.ppf(ALARM, unit.size)


def test_the_gain_is_one_unless_it_is_given():
    one, given = (
        MLP(2, 3, 4, **gain).init(rng=np.random.default_rng(7))
        for gain in ({}, {"input_gain": 1.0})
    )
    np.testing.assert_array_equal(one, given)


def test_thresholds_start_uniform_over_the_gain():
    thresholds = start(gain=3.0)["b1"]
    assert stats.kstest(thresholds, "uniform", args=(-3, 6)).pvalue > ALARM
    assert stats.kstest(thresholds / 2, "uniform", args=(-3, 6)).pvalue < ALARM  # power


@pytest.mark.parametrize("name", ["b2", "R", "c", "S"])
def test_other_parameters_start_at_zero(name):
    assert not start()[name].any()


def test_start_is_the_same_for_the_same_generator():
    network, _, _ = pair("time features")
    first, second = (network.init(rng=np.random.default_rng(9)) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_start_in_float32_is_that_in_float64_rounded():
    network, _, _ = pair("time features")
    single, double = (
        network.init(rng=np.random.default_rng(9), dtype=dtype)
        for dtype in (np.float32, np.float64)
    )
    assert single.tobytes() == double.astype(np.float32).tobytes()


# Time polynomials


@pytest.mark.parametrize(
    ("degree", "polynomial"),
    [
        (1, lambda u: u),
        (2, lambda u: (3 * u**2 - 1) / 2),
        (3, lambda u: (5 * u**3 - 3 * u) / 2),
    ],
)
def test_time_polynomials_are_legendre_s(degree, polynomial):
    u = np.array([-1, -0.5, 0, 0.5, 1])  # t = 2..6
    np.testing.assert_allclose(
        time_polynomials(6, 3)[:, degree - 1], polynomial(u), rtol=0, atol=4 * EPS
    )


def test_time_polynomials_have_one_row_for_each_time_that_is_learned():
    assert time_polynomials(6, 2).shape == (5, 2)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_time_bumps_interpolate_what_is_linear_in_time(n):
    """Weights that sum to 1, and a mean place that runs evenly from the first bump to the last."""
    basis = time_bumps(6, n)
    assert basis.shape == (5, n)
    np.testing.assert_allclose(basis.sum(1), 1, rtol=4 * EPS)
    np.testing.assert_allclose(basis @ np.arange(n), np.linspace(0, n - 1, 5), rtol=0, atol=8 * EPS)
    assert ((basis > 0).sum(1) <= 2).all()


def test_as_many_bumps_as_times_are_the_identity():
    assert (time_bumps(40, 39) == np.eye(39)).all()


# Bad input


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((0, 1, 4), {}, "d_in must be an integer >= 1, got 0"),
        ((2.0, 1, 4), {}, "d_in must be an integer >= 1, got 2.0"),
        ((2, 0, 4), {}, "d_out must be an integer >= 1, got 0"),
        ((2, True, 4), {}, "d_out must be an integer >= 1, got True"),
        ((2, 1, 1), {}, "T must be an integer >= 2, got 1"),
        ((2, 1, "4"), {}, "T must be an integer >= 2, got '4'"),
        ((2, 1, 4), {"hidden": ()}, "hidden must name at least one layer, got ()"),
        ((2, 1, 4), {"hidden": (3, 0)}, "hidden must be an integer >= 1, got 0"),
        ((2, 1, 4), {"hidden": 0}, "hidden must be an integer >= 1, got 0"),
        ((2, 1, 4), {"hidden": "64"}, "hidden must be an integer >= 1, got '6'"),
        ((2, 1, 4), {"hidden": (3, 2.5)}, "hidden must be an integer >= 1, got 2.5"),
        ((2, 1, 4), {"input_gain": 0.0}, "input_gain must be one number > 0, got 0.0"),
        ((2, 1, 4), {"input_gain": float("nan")}, "input_gain must be finite, got nan"),
        ((2, 1, 4), {"input_gain": [1.0, 2.0]}, "input_gain must be one number > 0"),
        ((2, 1, 4), {"skip": 1}, "skip must be True or False, got 1"),
        (
            (2, 1, 4),
            {"time_features": np.zeros((4, 1))},
            "time_features must have shape (T-1, .), one row for every t in 2..4, got shape (4, 1)",
        ),
        (
            (2, 1, 4),
            {"time_features": np.zeros(3)},
            "time_features must have shape (T-1, .), one row for every t in 2..4, got shape (3,)",
        ),
        ((2, 1, 4), {"time_features": [[np.inf]] * 3}, "time_features must be finite, got inf"),
        (
            (2, 1, 4),
            {"basis": np.eye(4)},
            "basis must have shape (T-1, .), one row for every t in 2..4, got shape (4, 4)",
        ),
        ((2, 1, 4), {"basis": np.ones((3, 0))}, "basis must have a last axis of length d >= 1"),
        ((2, 1, 4), {"basis": [["a"]] * 3}, "basis must be an array of real numbers"),
        ((2, 1, 4), {"basis": [[np.nan]] * 3}, "basis must be finite, got nan"),
    ],
)
def test_a_network_refuses_bad_shapes(arguments, keywords, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MLP(*arguments, **keywords)


@pytest.mark.parametrize("name", ["basis", "time_features"])
def test_a_network_keeps_its_own_copy_of_a_table(name):
    table = np.ones((3, 2))
    network = MLP(1, 1, 4, hidden=(2,), **{name: table})
    table[:] = 0.0
    assert (getattr(network, name) == 1.0).all()


@pytest.mark.parametrize(
    ("x", "t", "message"),
    [
        ([[0.0]], 1, "t must lie in 2..4, got 1"),
        ([[0.0]], 5, "t must lie in 2..4, got 5"),
        (np.zeros((0, 1)), 2, "x must hold at least one data vector"),
        ([[0.0, 1.0]], 2, "x must have 1 components on its last axis"),
    ],
)
def test_outputs_are_refused_where_there_are_none(x, t, message):
    network = MLP(1, 1, 4, hidden=(2,))
    with pytest.raises(ValueError, match=re.escape(message)):
        network.apply(np.zeros(network.size), np.asarray(x), t)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (np.zeros(3), "params must be a real floating-point vector of shape (18,), got shape (3,)"),
        (
            np.zeros((1, 18)),
            "params must be a real floating-point vector of shape (18,), got shape (1, 18)",
        ),
        (
            np.zeros(18, dtype=int),
            "params must be a real floating-point vector of shape (18,), got array([0, 0, ",
        ),
        ("nothing", "params must be a real floating-point vector of shape (18,)"),
        (np.ma.array(np.zeros(18), mask=True), "params must not be a masked array"),
        ([np.ma.masked] * 18, "params must not be a masked array"),
    ],
)
def test_flat_vector_refuses_what_are_no_parameters(params, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        flat_vector("params", params, 18)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.clongdouble])
def test_flat_vector_refuses_a_dtype_that_blas_does_not_compute_in(dtype):
    with pytest.raises(ValueError, match="params must be in float32 or float64, got dtype"):
        flat_vector("params", np.zeros(18, dtype), 18, "fc")


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_flat_vector_gives_numbers_of_the_other_byte_order_in_the_machine_s(dtype):
    values = np.random.default_rng(21).standard_normal(18).astype(dtype)
    foreign = values.astype(values.dtype.newbyteorder("S"))
    got = flat_vector("params", foreign, 18, "fc")
    assert got.dtype == values.dtype
    assert got.dtype.isnative
    assert got.tolist() == values.tolist()


def test_flat_vector_is_without_gaps_and_copies_no_other():
    values = np.arange(36.0)
    assert flat_vector("params", values[::2], 18).flags.c_contiguous
    assert np.shares_memory(flat_vector("params", values[:18], 18), values)


@pytest.mark.parametrize("dtype", [int, "foo", np.float16, np.longdouble, ">f8", complex])
def test_a_start_refuses_a_dtype_other_than_float32_and_float64(dtype):
    with pytest.raises(ValueError, match=r"dtype must be float32 or float64, got [^N]"):
        MLP(1, 1, 4, hidden=(3,)).init(rng=np.random.default_rng(0), dtype=dtype)


@pytest.mark.parametrize("rng", [0, 1.5, None])
def test_a_start_refuses_a_seed(rng):
    with pytest.raises(ValueError, match=r"rng must be a numpy\.random\.Generator"):
        MLP(1, 1, 4, hidden=(3,)).init(rng=rng)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1), "T must be an integer >= 2, got 1"),
        ((4, 0), "degree must be an integer >= 1, got 0"),
        ((4, 1.0), "degree must be an integer >= 1, got 1.0"),
    ],
)
def test_time_polynomials_refuse_what_is_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        time_polynomials(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1), "T must be an integer >= 2, got 1"),
        ((4, 0), "n must lie in 1..3, got 0"),
        ((4, 4), "n must lie in 1..3, got 4"),
    ],
)
def test_time_bumps_refuse_what_is_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        time_bumps(*arguments)


@pytest.mark.parametrize("hidden", [7, (7,), [7], np.array([7])], ids=repr)
def test_one_layer_may_be_a_number(hidden):
    assert MLP(1, 1, 4, hidden=hidden).shapes["W1"] == (1, 7)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_flat_vector_names_the_parameter_that_is_not_finite(value):
    params = np.zeros(18)
    params[5] = value
    with pytest.raises(ValueError, match=rf"^start must be finite, got {value} at index \(5,\)"):
        flat_vector("start", params, 18)


# States and times as stacks, and what it costs to evaluate many


@pytest.mark.parametrize(
    ("t", "shape", "times"),
    [
        (2, (1, 12, 2), [2]),
        ([3], (1, 12, 2), [3]),
        ([[4], [2], [3]], (3, 4, 2), [4, 2, 3]),
        ([[4]], (1, 12, 2), [4]),
        ([2, 3, 4, 2], (12, 1, 2), [2, 3, 4, 2] * 3),
    ],
)
def test_trailing_axes_along_which_t_does_not_vary_become_one(t, shape, times):
    x = np.arange(24.0).reshape(3, 4, 2)
    states, got = stack(x, np.array(t))
    np.testing.assert_array_equal(states, x.reshape(shape))
    assert got.tolist() == times


@pytest.mark.parametrize(
    ("shape", "t"),
    [((2,), [3]), ((4, 2), [[3], [4]]), ((1, 2), [2, 3])],
    ids=["no axis", "too many axes", "too long"],
)
def test_times_must_fit_the_states(shape, t):
    message = f"t must not have more axes than the states, got t {np.shape(t)}, x {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        stack(np.zeros(shape), np.array(t))


@pytest.mark.parametrize("shape", [(1, 60_000), (600, 100)])
def test_memory_for_many_states_is_that_for_a_block(shape):
    network = MLP(1, 1, 1000, hidden=(64,), basis=np.ones((999, 1)))
    params, x = network.init(rng=np.random.default_rng(0)), np.zeros((*shape, 1))
    t = np.arange(2, 2 + shape[0])[:, None]
    tracemalloc.start()
    try:
        network.apply(params, x, t)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8e6  # the activations of 60,000 states are 31 MB, of 1,024 half a megabyte


def test_a_tape_works_in_the_dtype_of_the_parameters():
    network = MLP(2, 1, 4, hidden=(3, 3), skip=True)
    tape = Tape(network, network.init(rng=np.random.default_rng(0), dtype=np.float32), 1, 5)
    out = tape.forward(np.zeros((1, 5, 2), np.float32), np.array([2]))
    results = [out, tape.backward(out), tape.backward_x(out)]
    assert {array.dtype for array in results} == {np.dtype(np.float32)}
    assert {array.dtype for array in tape.scratch.values()} == {np.dtype(np.float32)}

"""The inputs that functions are asked at are what their names say, reach the ends of their ranges,
and keep preconditions; how far apart what was got and what is wanted may be.
"""

import independent_ddpm
import mpmath
import numpy as np
import pytest

from dpm_ref import check
from dpm_ref.check.conventions import Conventions
from dpm_ref.check.expressions import Expr
from dpm_ref.check.problems import Answer, Problem, Setting, draws, exact_posterior, unmet
from dpm_ref.check.quantities import QUANTITIES

BETA = np.array([0.1, 0.25, 0.2, 0.4])
T, ABAR = len(BETA), np.cumprod(1 - BETA)
PREV = np.append(1.0, ABAR[:-1])
POST = BETA * (1 - PREV) / (1 - ABAR)
RIGHT = independent_ddpm.Somebody(BETA)
MANY = (400, 50)


def setting(shape=(5, 3), beta=BETA, pi1=0.2, data=None, **conventions):
    return Setting(beta, pi1, shape, Conventions(**conventions), data)


def inputs(name, where=None, seed=3):
    where = setting() if where is None else where
    return list(draws(QUANTITIES[name], where, np.random.default_rng(seed)))


def standard(z):
    """Whether these are as many standard normal numbers, by three moments at six deviations."""
    n = np.size(z)
    assert abs(z.mean()) < 6 / np.sqrt(n)
    assert abs((z**2).mean() - 1) < 6 * np.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 6 * np.sqrt(96 / n)


# Data and times


def test_data_are_rows_of_numbers_that_float32_holds():
    data = np.arange(24.0).reshape(4, 3, 2) / 10
    where = setting(data=data)
    np.testing.assert_array_equal(where.data, data.reshape(4, 6).astype(np.float32))
    assert (where.components, where.d, where.n) == ((3, 2), 6, 5)
    np.testing.assert_array_equal(setting(data=data.astype(object)).data, where.data)
    assert setting(data=data, shape=(5, 3)).n == 5
    assert setting().data is None


@pytest.mark.parametrize(
    ("data", "shape", "said"),
    [
        (np.zeros((4, 2)), (7, 3), "data must have shape (m, 3) and be finite, got (4, 2)"),
        (np.zeros((4, 2)), (7, 2, 1), "data must have shape (m, 2, 1) and be finite, got (4, 2)"),
        (np.zeros(3), None, "data must have shape (m, ...) and be finite, got (3,)"),
        (np.zeros((0, 3)), None, "data must have shape (m, 3) and be finite, got (0, 3)"),
        (np.full((2, 3), np.nan), None, "data must have shape (m, 3) and be finite, got (2, 3)"),
    ],
)
def test_other_data_are_refused(data, shape, said):
    with pytest.raises(ValueError, match=" must ") as refused:
        check.run({"marginal_mean": None}, beta=BETA, data=data, shape=shape)
    assert str(refused.value) == said


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 40])
@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("t_shape", ["scalar", "batch"])
def test_times_reach_both_ends_and_what_is_beside_them(length, first, t_shape):
    where = setting(beta=np.full(length, 0.1), t_shape=t_shape)
    asked = where.times(first, np.random.default_rng(2))
    known = {int(t) for each in asked for t in each[:, 0]}
    wanted = {first, first + 1, 2, 3, length - 1, length} & set(range(first, length + 1))
    assert wanted <= known <= set(range(first, length + 1))
    assert all(each.shape == (5, 1) for each in asked)
    if t_shape == "scalar":
        assert all((each == each[0]).all() for each in asked)
        assert len({int(each[0, 0]) for each in asked}) == len(asked)
        assert len(asked) <= len(wanted) + 2
    else:
        assert not asked or len(asked) == -(-(len(wanted) + 2) // 5) + 1
    if length == 40:
        assert len(known) > len(wanted)


def test_times_of_a_batch_differ_within_it():
    where = setting(beta=np.full(40, 0.1), t_shape="batch")
    assert all(len(set(each[:, 0])) > 1 for each in where.times(1, np.random.default_rng(0)))


# Arguments


def test_arguments_are_drawn_in_their_range():
    where, rng = setting(MANY), np.random.default_rng(0)
    for name in ("x0", "xt", "x_prev", "x1", "noise", "mean", "eps"):
        standard(where.some(name, rng))
    for name in ("var", "var_q", "reverse_var"):
        standard(np.log(where.some(name, rng)))
    for name in ("q1", "p1", "prob"):
        p = where.some(name, rng)
        standard(np.log(p / (1 - p)) / 1.5)
    standard(np.arctanh(where.some("w", rng).clip(-1 + 1e-7, 1 - 1e-7)).clip(-6, 6))
    assert (where.some("log_r1", rng) < 0).all()
    assert set(where.some("bit", rng).ravel()) == {0.0, 1.0}
    for name in ("x0", "xt", "x_prev", "x1"):
        bits = where.some(name, rng, True)
        assert set(bits.ravel()) == {0.0, 1.0}
        assert abs(bits.mean() - 0.5) < 0.02
    standard(where.some("noise", rng, True))


@pytest.mark.parametrize("name", ["x0", "w", "prob", "noise"])
def test_states_and_probabilities_are_numbers_that_float32_holds(name):
    drawn = setting().some(name, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, drawn.astype(np.float32))


def test_states_are_the_user_s_data_where_these_are_given():
    data = np.array([[0.5, 1.5], [-1.0, 2.0]])
    for name in ("x0", "xt", "x_prev", "x1"):
        drawn = setting(data=data).some(name, np.random.default_rng(0))
        assert drawn.shape == (5, 2)
        assert set(map(tuple, drawn.tolist())) == set(map(tuple, data.tolist()))
    assert not np.isin(setting(data=data).some("noise", np.random.default_rng(0)), data).any()


def test_a_posterior_is_that_of_the_code_of_others():
    rng = np.random.default_rng(0)
    x0, xt = rng.standard_normal((2, 5, 3))
    tables = setting().tables
    for t in range(2, T + 1):
        mean, var = exact_posterior(tables, x0, xt, t)
        np.testing.assert_allclose(mean, RIGHT.posterior_mean(x0, xt, t), rtol=1e-12)
        np.testing.assert_allclose(var, np.full((5, 3), POST[t - 1]), rtol=1e-12)


def test_a_network_s_distribution_is_near_the_posterior():
    where = setting(MANY)
    for each in inputs("kl_term", where):
        t = each["t"][0, 0]
        mean = RIGHT.posterior_mean(each["x0"], each["xt"], t)
        standard((each["mean"] - mean) / np.sqrt(POST[t - 1]))
        standard(np.log(each["reverse_var"] / POST[t - 1]) / 0.5)


def test_what_may_have_no_value_at_the_first_step_is_asked_for_there_last_and_alone():
    *others, alone = inputs("binomial_posterior")
    assert alone["t"].tolist() == [[1]] * 5
    assert all((each["t"] > 1).all() for each in others)
    assert np.isfinite(Problem.of(QUANTITIES["posterior_mean"], setting(), alone).wanted).all()
    assert {0.0, 1.0} == {*alone["x0"].ravel(), *alone["xt"].ravel()}


# Pairs of distributions


def test_pairs_of_gaussians_come_closer_and_then_reach_the_ends():
    *usual, end = inputs("gaussian_kl", setting(MANY))
    assert len(usual) == 4
    for each, near in zip(usual, (1.0, 1.0, 0.25, 1e-3), strict=True):
        standard((each["mean_p"] - each["mean_q"]) / near)
        standard(np.log(each["var_p"] / each["var_q"]) / near)
        standard(each["mean_q"])
        standard(np.log(each["var_q"]))
    assert "end" not in usual[0]
    assert end["end"] is True
    even, odd = slice(None, None, 2), slice(1, None, 2)
    assert (end["mean_p"] == end["mean_q"]).all()
    assert (end["var_p"][:, odd] == end["var_q"][:, odd]).all()
    assert (end["var_p"] != end["var_q"])[:, even].all()
    single = {float(np.float32(v)) for v in (1e-8, 1.0, 1e6, 1e-3, 40.0)}
    assert set(end["var_q"].ravel()) == set(end["var_p"][:, even].ravel()) == single


@np.errstate(all="ignore")
def test_pairs_of_bits_come_closer_and_then_reach_certainty():
    *usual, end = inputs("bernoulli_kl", setting(MANY))
    assert len(usual) == 4
    for each, near in zip(usual, (None, None, 0.25, 1e-3), strict=True):
        q, p = each["q1"], each["p1"]
        assert ((q > 0) & (q < 1) & (p > 0) & (p < 1)).all()
        if near is None:
            assert (np.abs(p - q) > q * (1 - q)).any()
        else:
            assert (np.abs(p - q) <= near * q * (1 - q) * (1 + 1e-3) + 1e-7).all()
            assert np.abs(p - q).max() > 0.1 * near * (q * (1 - q)).max()
    certain = set(zip(end["q1"].ravel(), end["p1"].ravel(), strict=True))
    assert {(0.0, 0.0), (1.0, 1.0), (0.0, 0.5), (1.0, 0.5)} <= certain
    assert np.isfinite(Problem.of(QUANTITIES["bernoulli_kl"], setting(MANY), end).wanted).all()


def test_bits_that_are_certain_are_drawn_as_they_are():
    end = inputs("bernoulli_log_prob", setting(MANY))[-1]
    certain = (end["p1"] == 0) | (end["p1"] == 1)
    assert certain.any()
    assert not certain.all()
    assert (end["bit"] == end["p1"])[certain].all()
    assert set(end["bit"][~certain]) == {0.0, 1.0}


def test_a_density_is_asked_for_near_its_mean_and_far_out():
    *usual, end = inputs("gaussian_log_prob", setting(MANY))
    for each in usual:
        standard(each["x"] - each["mean"])
    deviations = (end["x"] - end["mean"]) / np.sqrt(end["var"])
    np.testing.assert_allclose(deviations, 60.0, rtol=1e-5)
    assert set(end["var"].ravel()) == {1.0, float(np.float32(1e-2)), 1e4}


def test_quantities_of_no_such_range_have_no_ends():
    assert not any("end" in each for each in inputs("marginal_mean"))
    assert [each.get("end") for each in inputs("sample_step")] == [None] * 4 + [True]


def test_weights_are_of_every_size():
    drawn = inputs("log_likelihood", setting(MANY))
    assert [len(each["log_w"]) for each in drawn] == [7, 7, 7, 5, 1, 4]
    assert [each["end"] for each in drawn] == [False, False, False, True, True, True]
    sizes = [(0.0, 1.5), (-3.0, 1.5), (-2000.0, 1.5), (900.0, 300.0), (-5.0, 1.0)]
    for each, (offset, scale) in zip(drawn, sizes, strict=False):
        assert abs(each["log_w"].mean() - offset) < 0.5 * scale
        assert 0.8 < each["log_w"].std() / scale < 1.2
    assert np.isneginf(drawn[-1]["log_w"]).all()
    assert all(each["log_w"].shape[1] == MANY[0] for each in drawn)


# Chains


@pytest.mark.parametrize("name", ["lower_bound", "eq14"])
def test_states_of_a_bound_are_drawn_from_their_marginals(name):
    (each,) = inputs(name, setting(MANY))
    assert each["xs"].shape == (T - 1, *MANY)
    for t in range(2, T + 1):
        x = each["xs"][t - 2]
        standard((x - np.sqrt(ABAR[t - 1]) * each["x0"]) / np.sqrt(1 - ABAR[t - 1]))
        mean = RIGHT.posterior_mean(each["x0"], x, t)
        standard((each["means"][t - 2] - mean) / np.sqrt(POST[t - 1]))
        standard(np.log(each["vars"][t - 2] / POST[t - 1]) / 0.5)
    assert each["pi1"] == 0.2
    assert inputs(name, setting(beta=BETA[:1])) == []
    assert len(inputs(name, setting(beta=BETA[:2]))) == 1


def test_bits_of_a_bound_have_probabilities():
    (each,) = inputs("binomial_lower_bound", setting(MANY))
    assert set(each["x0"].ravel()) == set(each["xs"].ravel()) == {0.0, 1.0}
    assert abs(each["xs"].mean() - 0.5) < 0.02
    assert each["probs"].shape == each["xs"].shape
    assert ((each["probs"] > 0) & (each["probs"] < 1)).all()
    assert "means" not in each


def test_a_trajectory_is_that_of_the_forward_kernels():
    (each,) = inputs("log_weights", setting(MANY))
    x = each["trajectory"]
    assert x.shape == (T + 1, *MANY)
    standard(x[0])
    np.testing.assert_array_equal(each["before"], x[:-1])
    np.testing.assert_array_equal(each["after"], x[1:])
    np.testing.assert_array_equal(each["end_state"], x[-1])
    np.testing.assert_array_equal(each["start"], x[:1])
    for t in range(1, len(x)):
        standard((x[t] - np.sqrt(1 - BETA[t - 1]) * x[t - 1]) / np.sqrt(BETA[t - 1]))
        standard((each["means"][t - 1] - x[t - 1]) / np.sqrt(BETA[t - 1]))
        standard(np.log(each["vars"][t - 1] / BETA[t - 1]) / 0.5)
    np.testing.assert_array_equal(x, x.astype(np.float32))


def test_a_trajectory_of_bits_is_that_of_the_forward_kernels():
    (each,) = inputs("binomial_log_weights", setting(MANY))
    x = each["trajectory"]
    assert set(x.ravel()) == {0.0, 1.0}
    for t in range(1, len(x)):
        for bit in (0, 1):
            p = bit * (1 - BETA[t - 1]) + 0.2 * BETA[t - 1]
            seen = x[t][x[t - 1] == bit]
            assert abs(seen.mean() - p) < 6 * np.sqrt(p * (1 - p) / seen.size)
    assert each["probs"].shape == each["before"].shape


def test_entropies_are_asked_for_at_every_end_of_the_schedule_once():
    drawn = inputs("entropy_lower_bound", setting(beta=np.full(40, 0.1)))
    times = [int(each["t"][0, 0]) for each in drawn]
    assert {2, 3, 39, 40} <= set(times)
    assert len(times) == len(set(times))
    assert all((each["t"] == t).all() for each, t in zip(drawn, times, strict=True))
    assert all(each["t"].shape == (5, 1) for each in drawn)
    assert inputs("entropy_lower_bound", setting((1, 3)))[0]["t"].shape == (1, 1)


def test_images_have_256_levels_both_ends_among_them():
    drawn = inputs("decoder_log_prob", setting(MANY))
    assert len(drawn) == 2
    for each in drawn:
        levels = (each["x0"] + 1) * 127.5
        assert np.abs(levels - np.round(levels)).max() < 1e-4
        assert (levels.min(), levels.max()) == pytest.approx((0, 255), abs=1e-4)
        assert each["x0"][0, :2].tolist() == [-1.0, 1.0]
        assert len(np.unique(np.round(levels))) == 256
        assert (each["x0"][1:] == -1.0).any()
        assert each["var"].shape == MANY
        standard((np.log(each["var"]) + 4) / 2)
        standard((each["mean"] - each["x0"]) / np.sqrt(each["var"]))
    assert inputs("decoder_log_prob", setting((4, 1)))[0]["x0"][0, 0] == -1.0


def test_a_model_is_asked_about_images_or_the_user_s_data():
    drawn = inputs("nll", setting((40, 50)))
    assert len(drawn) == 2
    assert all(set(each) == {"x0"} for each in drawn)
    assert drawn[0]["x0"][0, :2].tolist() == [-1.0, 1.0]
    data = np.array([[0.5, 1.5], [-1.0, 2.0]])
    assert all(np.isin(each["x0"], data).all() for each in inputs("nll", setting(data=data)))
    assert inputs("nll", setting(beta=BETA[:1])) == []
    assert len(inputs("nll", setting(beta=BETA[:2]))) == 2


def test_states_of_a_model_s_term_are_drawn_from_their_marginals():
    drawn = inputs("vlb_term", setting(MANY))
    assert {1, 2, 3, 4} == {int(each["t"][0, 0]) for each in drawn}
    for each in drawn:
        k = each["t"][0, 0] - 1
        standard((each["xt"] - np.sqrt(ABAR[k]) * each["x0"]) / np.sqrt(1 - ABAR[k]))
    assert inputs("vlb_term", setting(beta=BETA[:1])) == []
    assert {int(each["t"][0, 0]) for each in inputs("vlb_term", setting(beta=BETA[:2]))} == {1, 2}


# Preconditions


def test_data_that_are_drawn_keep_the_preconditions():
    for name in ("eq14", "binomial_eq14", "entropy_upper_bound", "binomial_entropy_upper_bound"):
        for pi1 in (0.2, 0.8):
            for seed in range(8):
                where = setting((10, 4), pi1=pi1)
                for each in inputs(name, where, seed):
                    assert unmet(QUANTITIES[name], where, each["x0"]) == ""
                    assert each["x0"].shape == (10, 4)
                    assert np.unique(each["x0"]).size > 1 or "upper" in name


def test_data_are_changed_only_where_a_precondition_needs_it():
    (each,) = inputs("lower_bound", setting(MANY))
    standard(each["x0"])
    drawn = setting(MANY).some("x0", np.random.default_rng(3))
    np.testing.assert_array_equal(each["x0"], drawn)
    data = np.array([[0.5, 1.5], [-1.0, 2.0]])
    np.testing.assert_array_equal(inputs("eq14", setting(data=data))[0]["x0"], data)
    kept = [inputs("binomial_entropy_upper_bound", setting(pi1=0.45), k)[0]["x0"] for k in range(8)]
    assert {np.unique(x0).size for x0 in kept} == {1, 2}


def test_data_for_the_upper_entropy_bound_have_just_less_than_the_variance_it_allows():
    larger = set()
    for seed in range(8):
        drawn = setting((10, 4)).some("x0", np.random.default_rng(seed))
        var = np.trace(np.cov(drawn.T, bias=True)) / 4
        larger.add(bool(var > 1))
        x0 = inputs("entropy_upper_bound", setting((10, 4)), seed)[0]["x0"]
        np.testing.assert_allclose(x0, drawn / np.sqrt(1.001 * max(1.0, var)), rtol=1e-6)
    assert larger == {False, True}


@pytest.mark.parametrize("factor", [1.0, 1 + 3e-6, 1 - 3e-6, 1 + 1.5e-6, 1 - 1.5e-6])
def test_equation_14_s_precondition_is_the_second_moment(factor):
    x0 = np.array([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]]) * np.sqrt(factor)
    said = unmet(QUANTITIES["eq14"], setting(), x0)
    assert bool(said) == (abs(factor - 1) > 2e-6)
    bits = np.array([[1, 0, 0, 0, 0]]) * 1.0
    assert unmet(QUANTITIES["binomial_eq14"], setting(), bits) == ""
    assert unmet(QUANTITIES["binomial_eq14"], setting(), 1 - bits) != ""
    assert unmet(QUANTITIES["binomial_eq14"], setting(pi1=0.5), 1 - bits) == ""


def test_the_upper_entropy_bound_s_condition_is_the_trace_of_the_covariance():
    x0 = np.array([[1.0, 2.0], [-1.0, 2.0]])  # tr Cov = 1
    name = "entropy_upper_bound"
    assert unmet(QUANTITIES[name], setting(), np.sqrt(2.0) * x0) == ""
    assert unmet(QUANTITIES[name], setting(), np.sqrt(2.0001) * x0) != ""
    bits = np.array([[1.0, 0.0], [0.0, 0.0]])  # logit(pi) (m - pi) sums to 0.1 logit(pi) at 0.2
    name = "binomial_" + name
    assert unmet(QUANTITIES[name], setting(pi1=0.2), bits) != ""
    assert unmet(QUANTITIES[name], setting(pi1=0.3), bits) == ""
    assert unmet(QUANTITIES[name], setting(pi1=0.25), bits) == ""
    assert unmet(QUANTITIES["lower_bound"], setting(), 9 * x0) == ""
    off = np.array([[1.0, 1.0], [-1.0, -1.0]]) * (1 + 3.75e-13)  # by 1.5e-12, of 2e-12 allowed
    assert unmet(QUANTITIES["entropy_upper_bound"], setting(), off) == ""


# Comparison


def same(wanted):
    return wanted


def answer(got, name="marginal_mean", dtype="float64", k=0, **conventions):
    where = setting(**conventions)
    problem = Problem.of(QUANTITIES[name], where, inputs(name, where)[k])
    return Answer(problem, got(problem.wanted), dtype)


def test_arguments_are_written_under_the_conventions_and_states_as_they_are():
    where = setting(spread="logvar", unit="bits")
    (given, *_) = inputs("gaussian_kl", where)
    written = Problem.of(QUANTITIES["gaussian_kl"], where, given).inputs
    np.testing.assert_allclose(np.exp(written["var_q"]), given["var_q"], rtol=1e-6)
    np.testing.assert_array_equal(written["mean_q"], given["mean_q"])
    (given, *_) = inputs("log_likelihood", where)
    written = Problem.of(QUANTITIES["log_likelihood"], where, given).inputs
    np.testing.assert_allclose(written["log_w"], given["log_w"] / np.log(2), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "components", "shape"),
    [
        ("abar", "sum", (4,)),
        ("log_likelihood", "sum", (5,)),
        ("marginal_mean", "sum", (5, 3, 2)),
        ("gaussian_kl", "sum", (5,)),
        ("gaussian_kl", "mean", (5,)),
        ("gaussian_kl", "none", (5, 3, 2)),
        ("gaussian_kl_grad_mean", "sum", (5, 3, 2)),
        ("eq14", "sum", ()),
        ("eq14", "none", (3, 2)),
        ("entropy_lower_bound", "mean", ()),
    ],
)
def test_results_have_the_shape_that_is_declared(name, components, shape):
    where = setting((5, 3, 2), components=components)
    problem = Problem.of(QUANTITIES[name], where, inputs(name, where)[0])
    assert problem.returned(components) == shape
    assert problem.wanted.size == np.prod(shape)


def test_data_of_their_own_length_make_results_of_that_length():
    data = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    where = setting(data=data)
    problem = Problem.of(QUANTITIES["lower_bound"], where, inputs("lower_bound", where)[0])
    assert problem.returned("sum") == (3,)


def test_an_error_is_the_distance_from_what_is_wanted():
    off = answer(lambda wanted: wanted + 0.25)
    np.testing.assert_allclose(off.error, 0.25)
    np.testing.assert_allclose(off.ratio, 0.25 / (1e-9 * np.abs(off.problem.wanted)))
    assert off.misses.all()
    same = answer(lambda wanted: wanted)
    assert not same.error.any()
    assert not same.misses.any()
    assert np.isinf(answer(lambda wanted: wanted * np.nan).error).all()
    assert np.isinf(answer(lambda wanted: wanted - np.inf).error).all()
    assert (answer(lambda wanted: wanted * np.inf).ratio == 1e300).all()


def test_the_scale_of_a_sum_s_error_is_that_of_its_terms():
    problem = answer(lambda wanted: wanted, "posterior_mean").problem
    i, t = problem.inputs, problem.inputs["t"] - 1
    first = np.sqrt(PREV[t]) * BETA[t] / (1 - ABAR[t]) * i["x0"]
    second = np.sqrt(1 - BETA[t]) * (1 - PREV[t]) / (1 - ABAR[t]) * i["xt"]
    np.testing.assert_allclose(problem.size, np.abs(first) + np.abs(second), rtol=1e-6)


def test_the_scale_of_what_is_0_is_that_of_the_next_entry_or_of_certainty():
    table = answer(same, "posterior_variance").problem
    for scale in (table.size, table.terms):
        np.testing.assert_allclose(scale[:, 0], [POST[1], *POST[1:]], rtol=1e-6)
    bits = [answer(same, "binomial_posterior", k=k).problem for k in (0, -1)]
    known = bits[1].wanted
    assert set(known.ravel()) == {0.0, 1.0}
    assert (bits[1].size[known == 0] == 1.0).all()
    assert (bits[0].size < 0.99).any()


def test_the_terms_of_a_difference_are_both_and_those_of_a_probability_its_rounding_errors():
    both = -np.log(ABAR) - np.log(1 - ABAR)
    np.testing.assert_allclose(answer(same, "log_snr").problem.terms[:, 0], both, rtol=1e-9)
    bits = answer(same, "bernoulli_kl").problem
    assert (bits.terms < bits.plain).any()
    prob = answer(same, "perturbed_bits").problem
    np.testing.assert_array_equal(prob.terms, prob.plain)
    assert (prob.terms != np.abs(prob.wanted)).any()


def far_out(deviations, **conventions):
    """A problem of levels whose bins lie so far from the mean."""
    level, std = np.zeros((5, 3)), np.full((5, 3), 2.0**-7)
    given = {"x0": level, "mean": level + deviations * std, "var": std**2}
    return Problem.of(QUANTITIES["decoder_log_prob"], setting(**conventions), given)


@np.errstate(all="ignore")
def test_a_bin_far_out_may_miss_by_a_thousandth_and_its_mass_by_any_factor():
    with mpmath.workdps(60):
        half = mpmath.mpf(128) / 255
        ends = [mpmath.erfc((20 + side * half) / mpmath.sqrt(2)) for side in (-1, 1)]
        log_mass = float(mpmath.log((ends[0] - ends[1]) / 2))
    problem = far_out(20.0)
    assert (problem.size > 1e60).all()
    np.testing.assert_allclose(problem.terms, -3 * log_mass, rtol=1e-9)
    np.testing.assert_allclose(problem.plain, -3 * log_mass, rtol=1e-6)
    allowed = Answer(problem, problem.wanted, "float64").allowed
    np.testing.assert_allclose(allowed, -3 * log_mass * (1e-3 + 1e-9), rtol=1e-9)
    further = far_out(60.0)  # the inverse of the mass overflows
    np.testing.assert_array_equal(further.size, np.abs(further.wanted))


@np.errstate(all="ignore")
def test_what_has_no_finite_value_has_next_to_no_scale():
    nothing = answer(same, "log_likelihood", k=-1).problem
    assert np.isneginf(nothing.wanted).all()
    assert (nothing.size == 1e-38).all()
    assert (nothing.terms == 0.0).all()


def test_other_formulas_are_judged_on_the_scale_of_the_right_one():
    problem = answer(same).problem
    other = problem.over([2.0 * problem.trees[0]])
    np.testing.assert_array_equal(other.wanted, 2.0 * problem.wanted)
    for name in ("size", "terms", "plain"):
        np.testing.assert_array_equal(getattr(other, name), getattr(problem, name))


def test_an_answer_keeps_a_formula_that_it_would_pass_for():
    right = answer(same)
    (tree,), allowed = right.problem.trees, right.allowed
    moved = Expr("input", name="moved")
    for by, kept in ((0.9, True), (1.5, False)):
        right.problem.inputs["moved"] = by * allowed
        assert right.keeps(tree + moved) == kept


def test_lost_digits_are_those_of_the_coarsest_type_of_at_least_float32():
    assert answer(same).eps == 2.0**-23
    assert answer(same, dtype="float16").eps == 2.0**-10
    declared = Problem.of(QUANTITIES["beta"], setting(dtype="bfloat16"), inputs("beta")[0])
    assert Answer(declared, declared.wanted, "float64").eps == 2.0**-7


def test_lost_digits_blur_a_table_by_its_growth_and_no_more_than_a_share_of_it():
    grown = ABAR * (3 + np.cumsum(1 / (1 - BETA))) + 1 - ABAR
    lost = answer(same, "one_minus_abar").blurred
    np.testing.assert_allclose(lost[:, 0], 2.0**-20 * grown, rtol=1e-9)
    share = answer(same, "one_minus_abar", dtype="bfloat16").blurred
    np.testing.assert_allclose(share[:, 0], (1 - ABAR) * (0.03 + 2.0**-5 + 2.0**-4), rtol=1e-9)


def test_loosely_a_formula_fits_to_the_digits_lost_and_to_a_share_of_it():
    right = answer(same, "one_minus_abar").problem
    lost = 2.0**-20 * (ABAR * (3 + np.cumsum(1 / (1 - BETA))) + 1 - ABAR)[:, None]
    for by, fits in ((0.99, True), (1.01, False)):
        got = Answer(right, right.wanted + by * lost, "float64")
        assert got.fits(right.trees[0], loose=True) == fits
    share = (2 * 3e-3 + 2.0**-4) / (1 - 3e-3)
    for by, fits in ((0.999, True), (1.001, False)):
        got = Answer(right, right.wanted * (1 + by * share), "bfloat16")
        assert got.fits(right.trees[0], loose=True) == fits


def test_a_formula_is_near_where_ten_times_its_tolerance_would_do():
    right = answer(same, "one_minus_abar").problem
    lost = 2.0**-20 * (ABAR * (3 + np.cumsum(1 / (1 - BETA))) + 1 - ABAR)[:, None]
    digits = 40 * 2.0**-22
    most = (2 * digits * right.wanted + 10 * lost) / (1 - digits)
    for by, near in ((0.999, True), (1.001, False)):
        for sign in (1.0, -1.0):
            got = Answer(right, sign * (right.wanted + by * most), "float64")
            assert got.near(sign * right.trees[0]) == near
    share = (2 * 3e-3 + 8 * 0.05) / (1 - 3e-3)
    for by, near in ((0.999, True), (1.001, False)):
        got = Answer(right, right.wanted * (1 + by * share), "bfloat16")
        assert got.near(right.trees[0]) == near


def test_a_change_tells_where_it_exceeds_eight_roundings():
    right = answer(same, "beta", dtype="float32")
    for by, told in ((0.99 * 8e-5, False), (1.01 * 8e-5, True)):
        assert right.tells((1 + by) * right.problem.trees[0]) == told


@np.errstate(all="ignore")
def test_an_infinity_that_stays_one_is_no_change():
    right = answer(same, "log_likelihood", k=5)
    assert np.isinf(right.problem.wanted).any()
    (tree, *_) = right.problem.trees
    assert not right.tells(tree)
    assert right.tells(-tree)


def test_a_free_entry_is_not_compared():
    table = answer(lambda wanted: wanted, "posterior_variance")
    assert table.defined[:, 0].tolist() == [False, True, True, True]
    assert answer(lambda wanted: wanted, "beta").defined.all()


def test_no_number_is_let_pass_at_the_first_step_of_what_may_have_no_value_there():
    nowhere = answer(lambda wanted: wanted * np.nan, "posterior_coefficient_x0")
    assert nowhere.defined[:, 0].tolist() == [False, True, True, True]
    assert answer(same, "posterior_coefficient_x0").defined.all()
    assert answer(lambda wanted: wanted * np.nan, "beta").defined.all()


@np.errstate(all="ignore")
def test_where_an_infinity_is_wanted_nothing_is_compared_but_at_the_ends():
    for name in ("vlb_weight", "vlb_weight_x0"):
        usual = answer(same, name, reverse_var="posterior")
        assert usual.defined[:, 0].tolist() == [False, True, True, True]
        assert not usual.error.any()
    end = answer(same, "log_likelihood", k=-1)
    assert end.defined.all()
    assert not end.error.any()


def test_what_reproduces_values_to_a_tolerance():
    got = answer(lambda wanted: wanted)
    wanted = got.problem.wanted
    assert got.reproduced(wanted + 0.1, 0.11)
    assert not got.reproduced(wanted + 0.1, 0.09)
    assert not got.reproduced(wanted * np.nan, 1.0)
    blown = answer(lambda wanted: np.sign(wanted) * np.inf, dtype="float32")
    assert blown.reproduced(np.sign(wanted) * 1e39, 0.0)
    assert not blown.reproduced(-np.sign(wanted) * 1e39, 0.0)
    assert not blown.reproduced(np.sign(wanted) * 1e37, 0.0)
    double = answer(lambda wanted: np.sign(wanted) * np.inf)
    assert not double.reproduced(np.sign(wanted) * 1e39, 0.0)
    assert double.reproduced(np.sign(wanted) * 2e300, 0.0)
    nothing = answer(lambda wanted: wanted * np.nan)
    assert nothing.reproduced(wanted * np.nan, 0.0)
    assert not nothing.reproduced(wanted, 1.0)


def test_no_number_fits_any_value_at_the_ends_alone():
    end = answer(lambda wanted: wanted * np.nan, "gaussian_entropy", k=4)
    assert end.problem.end
    assert end.reproduced(end.problem.wanted, 0.0)


@pytest.mark.parametrize(
    ("dtype", "declared", "relative"),
    [
        ("float64", "float64", 1e-9),
        ("float32", "float64", 1e-5),
        ("float64", "float32", 1e-5),
        ("float16", "float32", 1e-2),
        ("float32", "bfloat16", 0.05),
    ],
)
def test_a_formula_fits_to_the_digits_of_the_coarser_type(dtype, declared, relative):
    share = (2e-3 + 8e-5) / (1 - 1e-3)  # of the formula's value and of what was returned
    most = min(4 * relative, share)
    where = {"dtype": declared} if declared != "float64" else {}
    problem = Problem.of(QUANTITIES["beta"], setting(**where), inputs("beta")[0])
    for by, fits in ((0.998 * most, True), (1.002 * most, False)):
        assert Answer(problem, problem.wanted * (1 + by), dtype).fits(problem.trees[0]) == fits


def test_exactly_a_formula_fits_to_twelve_digits_and_tells_by_a_change_of_the_tenth():
    problem = Problem.of(QUANTITIES["beta"], setting(), inputs("beta")[0])
    (tree,) = problem.trees
    for by, near in ((0.9e-12, True), (1.1e-12, False)):
        answer = Answer(problem, problem.wanted * (1 + by), "float64")
        assert answer.fits(tree, exact=True) == near
        assert answer.fits(tree)
    for by, told in ((0.9e-10, False), (1.1e-10, True)):
        answer = Answer(problem, problem.wanted, "float64")
        assert answer.tells((1 + by) * tree, exact=True) == told
        assert not answer.tells((1 + by) * tree)

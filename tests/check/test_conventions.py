"""How conventions are declared and kept, and the schedules that have names."""

import numpy as np
import pytest

from dpm_ref import check
from dpm_ref.check import conventions
from dpm_ref.check.conventions import RULES, Conventions, near, schedule_of


def same(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


# What is declared


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("eta", (0.0, 0, 1.0, 2.5)),
        ("time_limit", (1e-3, 1, 1e6)),
        ("shape", ((1, 1), (2, 3), (2, 3, 8, 8), None)),
        ("silent", (True, False)),
        ("first_t", (0, 1)),
        ("to_native", (None, list)),
    ],
)
def test_values_up_to_the_ends_of_a_range_may_be_declared(name, values):
    for value in values:
        assert getattr(Conventions().but({name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("eta", -1e-9, "a finite number >= 0"),
        ("eta", np.nan, "a finite number >= 0"),
        ("eta", "1", "a finite number >= 0"),
        ("time_limit", 0.9e-3, "a finite number >= 0.001"),
        ("shape", [2, 3], "a tuple (n, ...) of integers >= 1"),
        ("shape", (2.0, 3), "a tuple (n, ...) of integers >= 1"),
        ("shape", (True, 3), "a tuple (n, ...) of integers >= 1"),
        ("silent", 1, "one of True, False"),
        ("own_noise", 0, "one of False, True"),
        ("first_t", False, "one of 1, 0"),
        ("spread", "sd", "one of 'var', 'std', 'logvar'"),
        ("from_native", 3, "a callable"),
    ],
)
def test_a_value_outside_the_rule_is_refused_with_the_rule(name, value, rule):
    with pytest.raises(ValueError, match=" must ") as refused:
        Conventions().but({name: value})
    assert str(refused.value) == f"{name} must be {rule}, got {value!r}"


def test_every_convention_says_what_it_is_about_and_its_rule():
    for name, rule in conventions.RULES.items():
        assert rule["about"]
        assert rule["rule"].startswith(("one of ", "a "))
        assert ("choices" in rule) == rule["rule"].startswith("one of "), name


def test_a_convention_that_does_not_exist_is_refused_with_those_near_it():
    with pytest.raises(ValueError, match=" must ") as refused:
        Conventions().but({"components": "mean", "first_tt": 0})
    said = str(refused.value)
    assert said.startswith(f"conventions must be among {', '.join(RULES)}, got first_tt; near it: ")
    assert "first_t" in said.partition("near it")[2]


def test_names_near_another_are_at_most_three_and_by_spelling_or_by_a_common_word():
    known = ["posterior_mean", "posterior_var", "q_sample", "mean_a", "mean_b", "mean_c", "mean_d"]
    assert near("posterior_maen", known).startswith("; near it: posterior_mean")
    assert near("qsample", known) == "; near it: q_sample"
    assert near("mean_of_everything_there_is_at_all", known) == (
        "; near it: posterior_mean, mean_a, mean_b"
    )
    assert near("mean_e", known).count(",") == 2
    assert near("abxy", ["abcd", "axyz"]) == "; near it: axyz, abcd"
    assert near("xyz", known) == ""
    assert near(3, known) == ""


# What is kept


def test_bfloat16_numbers_have_eight_digits_and_ties_go_to_the_even_one():
    one = 2.0**-7  # the last digit of numbers in [1, 2)
    known = {
        1 + one: 1 + one,
        1 + one / 2: 1.0,
        1 + 3 * one / 2: 1 + 2 * one,
        1 + one / 2 + 2.0**-20: 1 + one,
        1 + one / 2 - 2.0**-20: 1.0,
        -(1 + 3 * one / 2): -(1 + 2 * one),
        2 - one / 4: 2.0,
        0.0: 0.0,
        3e-5: 252 * 2.0**-23,
    }
    found = Conventions(dtype="bfloat16").rounded(list(known))
    assert found.tolist() == list(known.values())
    assert found.dtype == np.float64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arguments_are_numbers_that_float32_holds(dtype):
    found = Conventions(dtype=dtype).rounded([0.1, 1.0])
    assert found.tolist() == [float(np.float32(0.1)), 1.0]


def test_arguments_are_written_as_declared():
    var = np.array([0.25, 4.0])
    same(Conventions(spread="std").write("var", var), [0.5, 2.0])
    same(Conventions(spread="logvar").write("var", [1.0]), [0.0])
    same(Conventions().write("var", var), var)
    same(Conventions(spread="std").write("state", var), var)
    same(Conventions(unit="bits").write("nats", np.log([2.0, 8.0])), [1.0, 3.0])
    same(Conventions().write("nats", var), var)
    same(Conventions(unit="bits").write("var", var), var)


class Tensor:
    """Values on a device, with a gradient, as PyTorch's are."""

    def __init__(self, value, done=(), dtype="torch.float32"):
        self.value, self.done, self.dtype = value, done, dtype

    def detach(self):
        return Tensor(self.value, (*self.done, "detach"), self.dtype)

    def cpu(self):
        return Tensor(self.value, (*self.done, "cpu"), self.dtype)

    def float(self):
        return Tensor(self.value, (*self.done, "float"))

    def __array__(self, *_, **__):
        if self.dtype == "torch.bfloat16" or self.done[:2] != ("detach", "cpu"):
            raise TypeError("not on this machine")
        return np.array(self.value)


class Short:
    """An array of bfloat16 as JAX's are: without detach, cpu and float."""

    dtype = np.dtype([("bfloat16", np.uint16)])

    def astype(self, dtype):
        return np.array([1.5], dtype)


def test_results_come_from_a_device_and_in_bfloat16():
    c = Conventions()
    assert c.numpy(Tensor([1.0])).tolist() == [1.0]
    assert c.numpy(Tensor([1.0], dtype="torch.bfloat16")).tolist() == [1.0]
    assert c.numpy(Short()).dtype == np.float32
    assert c.numpy([1, 2]).tolist() == [1, 2]


def test_converters_are_called_with_the_arrays():
    c = Conventions(to_native=lambda array: ("mine", array), from_native=lambda pair: pair[1])
    array = np.arange(3.0)
    word, copy = c.native(array)
    assert word == "mine"
    assert copy is not array
    assert copy.tolist() == array.tolist()
    assert c.numpy(("mine", [1.0])).tolist() == [1.0]
    assert Conventions().native(array) is not array


# Schedules


def sigmoid(T, first, last, end):
    x = np.linspace(-end, end, T)
    return first + (last - first) * 0.5 * (1 + np.tanh(x / 2))


NAMED = {
    "linear": (("linear", 100), np.linspace(1e-3, 0.2, 100)),
    "linear, of 1000": (("linear", 1000), np.linspace(1e-4, 0.02, 1000)),
    "linear, other ends": (
        ("linear", 500, {"first": 2e-4, "last": 0.03}),
        np.linspace(4e-4, 0.06, 500),
    ),
    "linear, as it stands": (
        ("linear", 10, {"first": 0.1, "last": 0.3, "scaled": False}),
        np.linspace(0.1, 0.3, 10),
    ),
    "quadratic": (("quadratic", 7), np.linspace(0.01, 0.02**0.5, 7) ** 2),
    "quadratic, other ends": (
        ("quadratic", 3, {"first": 0.01, "last": 0.09}),
        [0.01, 0.04, 0.09],
    ),
    "sigmoid": (("sigmoid", 9), sigmoid(9, 1e-4, 0.02, 6.0)),
    "sigmoid, other ends": (
        ("sigmoid", 5, {"first": 0.1, "last": 0.5, "end": 2.0}),
        sigmoid(5, 0.1, 0.5, 2.0),
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_schedule_is_declared_by_the_name_its_authors_gave_it(name):
    declared, beta = NAMED[name]
    same(schedule_of(beta=declared), beta)


@pytest.mark.parametrize(("offset", "cap"), [(0.008, 0.999), (0.02, 0.4)])
def test_the_cosine_schedule_is_that_of_its_definition(offset, cap):
    t = np.arange(8) / 7
    kept = np.cos((t + offset) / (1 + offset) * np.pi / 2) ** 2
    declared = ("cosine", 7) if offset == 0.008 else ("cosine", 7, {"offset": offset, "cap": cap})
    np.testing.assert_allclose(
        schedule_of(beta=declared), np.minimum(1 - kept[1:] / kept[:-1], cap), rtol=1e-9
    )


BETA = np.array([0.1, 0.25, 0.2])
ABAR = np.cumprod(1 - BETA)


@pytest.mark.parametrize(
    "declared",
    [
        {"beta": BETA},
        {"beta": tuple(BETA.tolist())},
        {"abar": ABAR},
        {"log_snr": np.log(ABAR / (1 - ABAR))},
        {"sigmas": np.sqrt((1 - ABAR) / ABAR)},
    ],
)
def test_each_table_gives_the_same_rates(declared):
    same(
        schedule_of(beta=None, **declared) if "beta" not in declared else schedule_of(**declared),
        BETA,
    )


def test_a_table_in_float32_gives_the_rates_of_its_numbers_to_all_digits():
    single = ABAR.astype(np.float32)
    same(schedule_of(abar=single), schedule_of(abar=single.astype(np.float64)))


def test_nothing_declared_is_no_schedule():
    assert schedule_of(beta=None, abar=None) is None


@pytest.mark.parametrize("value", [[], [[0.5]], 0.5])
def test_tables_of_another_shape_are_refused(value):
    with pytest.raises(ValueError, match=r"abar must have shape \(T,\) with T >= 1, got shape \("):
        schedule_of(beta=None, abar=value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("abar", [0.5, np.nan], "abar must be finite, got nan at index (1,)"),
        ("abar", [0.9, 0.9], "abar must fall from below 1, {}, got 0.9 at index (1,)"),
        ("abar", [1.0, 0.9], "abar must fall from below 1, {}, got 1.0 at index (0,)"),
        ("abar", [0.9, -0.2], "abar must fall from below 1, {}, got -0.2 at index (1,)"),
        ("log_snr", [1.0, 2.0], "log_snr must fall, {}, got 2.0 at index (1,)"),
        ("sigmas", [0.3, 0.2], "sigmas must rise from above 0, {}, got 0.2 at index (1,)"),
        ("sigmas", [-0.1, 0.2], "sigmas must rise from above 0, {}, got -0.1 at index (0,)"),
    ],
)
def test_a_table_that_is_no_schedule_s_is_refused_by_its_own_name(name, value, said):
    with pytest.raises(ValueError, match=" must ") as refused:
        schedule_of(**{name: value})
    assert str(refused.value) == said.format("so that every beta_t lies in (0, 1]")


def test_a_product_may_end_at_zero():
    same(schedule_of(abar=[0.5, 0.0]), [0.5, 1.0])
    same(schedule_of(abar=[0.25]), [0.75])


@pytest.mark.parametrize(
    "value",
    [
        "linear",
        ("linear",),
        ("linear", 0),
        ("linear", 2.0),
        ("warm-up", 3),
        ("linear", 3, {}, {}),
        ("linear", 3, {"speed": 1.0}),
    ],
)
def test_a_schedule_s_name_without_its_length_or_with_unknown_parameters_is_refused(value):
    with pytest.raises(ValueError, match=" must ") as refused:
        schedule_of(beta=value)
    assert str(refused.value) == (
        "beta must be (name, T) or (name, T, parameters), name among linear, quadratic, cosine, "
        f"sigmoid, got {value!r}"
    )


def test_a_schedule_of_one_step_has_a_name_too():
    same(schedule_of(beta=("linear", 1, {"scaled": False})), [1e-4])


def test_two_declarations_of_the_schedule_are_refused():
    with pytest.raises(ValueError, match="declares") as refused:
        check.run({}, beta=BETA, sigmas=BETA)
    assert str(refused.value) == (
        "one of beta, abar, log_snr, sigmas declares the schedule, got beta, sigmas"
    )

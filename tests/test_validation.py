"""What the core refuses, how it says so, and what odd input it takes."""

import copy
import functools
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from dpm_ref import (
    Bernoulli,
    BinomialDiffusion,
    Gaussian,
    GaussianDiffusion,
    bounds,
    information,
    schedules,
    validation,
)
from dpm_ref.exact import BinaryData, LinearModel
from dpm_ref.mlp import flat_vector
from dpm_ref.posteriors import Clamp

BETA = [0.1, 0.2, 0.3]
GAUSS, BITS, BITS2 = (
    GaussianDiffusion(BETA),
    BinomialDiffusion(BETA, 0.2),
    BinomialDiffusion(BETA, [0.2, 0.5]),
)
LAW, COINS = Gaussian([0.0, 1.0], 1.0), Bernoulli([0.5, 0.25])
NAN, INF = float("nan"), float("inf")


def rng():
    return np.random.default_rng(0)


def K(diffusion=GAUSS, reverse=None, x0=(0.0, 1.0), **options):
    return bounds.lower_bound(
        diffusion, reverse or diffusion.kernel, x0, **{"rng": rng(), **options}
    )


# call, the argument that must be named, what of the rule or the value must be said
REFUSED = [
    # beta and its schedules
    (lambda: GaussianDiffusion([]), "beta", "T >= 1"),
    (lambda: GaussianDiffusion(0.1), "beta", "shape"),
    (lambda: GaussianDiffusion([[0.1]]), "beta", "(1, 1)"),
    (lambda: GaussianDiffusion([0.1, 0.0]), "beta", "(0, 1], got 0.0"),
    (lambda: GaussianDiffusion([0.1, -0.2]), "beta", "-0.2"),
    (lambda: GaussianDiffusion([0.1, 1.5]), "beta", "1.5"),
    (lambda: GaussianDiffusion([0.1, NAN]), "beta", "nan"),
    (lambda: GaussianDiffusion([0.1, INF]), "beta", "inf"),
    (lambda: BinomialDiffusion([0.1, 2.0]), "beta", "2.0"),
    (lambda: GaussianDiffusion(["a"]), "beta", "real"),
    (lambda: GaussianDiffusion([0.1j]), "beta", "complex128"),
    (lambda: GaussianDiffusion([[0.1], [0.1, 0.2]]), "beta", "real"),
    (lambda: GaussianDiffusion(None), "beta", "real"),
    (lambda: schedules.constant(0, 0.1), "T", "0"),
    (lambda: schedules.constant(2.0, 0.1), "T", "2.0"),
    (lambda: schedules.constant(True, 0.1), "T", "True"),
    (lambda: schedules.constant(2, 1.0), "beta", "1.0"),
    (lambda: schedules.constant(2, [0.1, 0.2]), "beta", "one number"),
    (lambda: schedules.linear(3, first=0.0, last=0.5), "first", "0"),
    (lambda: schedules.linear(3, first=0.1, last=NAN), "last", "nan"),
    (lambda: schedules.cosine(3, offset=-1.0), "offset", "-1.0"),
    (lambda: schedules.cosine(3, largest=1.0), "largest", "1.0"),
    (lambda: schedules.cosine(-1), "T", "-1"),
    (lambda: schedules.log_snr_linear(1, beta1=0.1, abar_T=0.1), "T", "2"),
    (lambda: schedules.log_snr_linear(4, beta1=0.5, abar_T=0.5), "abar_T", "0.5"),
    (lambda: schedules.log_snr_linear(4, beta1=1.5, abar_T=0.5), "beta1", "1.5"),
    (lambda: schedules.constant_erasure(0), "T", "0"),
    (lambda: schedules.linear(20, first=None), "first", "None"),
    (lambda: schedules.linear(1000, first=0), "first", "0"),
    (lambda: schedules.constant(10**30, 0.1), "T", "an integer >= 1, got 1000"),
    (lambda: schedules.constant(2**31, 0.1), "T", "at most 2147483647, got 2147483648"),
    (lambda: validation.flag("skip", 1), "skip", "True or False, got 1"),
    (lambda: validation.flag("skip", None), "skip", "True or False, got None"),
    # masked arrays, lists of them, ragged lists, objects
    (lambda: GAUSS.marginal(np.ma.masked_array([0.0, 1.0], [True, False]), 1), "x0", "masked"),
    (lambda: GAUSS.marginal([np.ma.masked_array([0.0, 1.0], [True, False])], 1), "x0", "masked"),
    (lambda: GAUSS.marginal((0.0, np.ma.masked), 1), "x0", "masked"),
    (lambda: GAUSS.marginal([[np.ma.array([0.0], mask=True)]], 1), "x0", "masked"),
    (lambda: GAUSS.marginal([[0.0], (np.ma.masked,)], 1), "x0", "masked"),
    (lambda: GAUSS.abar(np.ma.masked_array([1, 2], [True, False])), "t", "masked"),
    (lambda: BinomialDiffusion(BETA, np.ma.masked_array([0.5])), "prior", "masked"),
    (lambda: GaussianDiffusion(np.ma.masked_array(BETA)), "beta", "masked"),
    (lambda: GAUSS.abar([1, [2, 3]]), "t", "list"),
    (lambda: GAUSS.marginal([[0.0], [1.0, 2.0]], 1), "x0", "list"),
    (lambda: GAUSS.marginal([10**400], 1), "x0", "object"),
    (lambda: GAUSS.marginal(np.longdouble("1e4000") * np.ones(1), 1), "x0", "finite, got inf"),
    (lambda: validation.function("reverse", None), "reverse", "got None"),
    (lambda: validation.vectors("x", np.zeros((3, 0))), "x", "last axis of length d >= 1"),
    (lambda: validation.below_infinity("log r", [0.0, INF]), "log r", "be real or -inf, got inf"),
    (lambda: validation.below_infinity("log r", [NAN]), "log r", "be real or -inf, got nan"),
    (lambda: validation.below_infinity("log r", 1j), "log r", "real numbers"),
    (lambda: validation.positive_number("peak", 0.0), "peak", "one number > 0, got 0.0"),
    (lambda: validation.positive_number("peak", [1.0]), "peak", "one number"),
    # t
    (lambda: GAUSS.abar(0), "t", "1..3, got 0"),
    (lambda: GAUSS.abar(4), "t", "1..3, got 4"),
    (lambda: GAUSS.log_abar(-1), "t", "-1"),
    (lambda: GAUSS.abar([1, 4]), "t", "got 4 at index (1,)"),
    (lambda: GAUSS.abar(2.0), "t", "2.0"),
    (lambda: GAUSS.abar(True), "t", "bool"),
    (lambda: GAUSS.abar("2"), "t", "2"),
    (lambda: GAUSS.abar(NAN), "t", "nan"),
    (lambda: GAUSS.posterior_var(1), "t", "2..3, got 1"),
    (lambda: GAUSS.posterior([0.0], [1.0], 1), "t", "2..3, got 1"),
    (lambda: BITS.posterior([0], [1], 1), "t", "2..3, got 1"),
    (lambda: GAUSS.kernel([0.0], 1.0), "t", "float64"),
    (lambda: BITS.marginal([0], 4), "t", "4"),
    (lambda: GAUSS.marginal(np.zeros((4, 2)), [1, 2, 3]), "t", "broadcast"),
    (lambda: GAUSS.kernel(np.zeros((4, 2)), [1, 2, 3]), "t", "leading axes of x, got t (3,)"),
    (lambda: GAUSS.kernel(np.zeros((4, 5, 2)), [1, 2, 3]), "t", "got t (3,), x (4, 5)"),
    (lambda: BITS.kernel(np.zeros((4, 2)), [1, 2, 3]), "t", "broadcast"),
    (lambda: BITS.marginal(np.zeros((4, 2)), [1, 2, 3]), "t", "broadcast"),
    (lambda: BITS.posterior(np.zeros((4, 2)), np.zeros((4, 2)), [2, 3]), "t", "broadcast"),
    (lambda: GAUSS.kernel_entropy([0.0], [1, 2]), "t", "one integer"),
    (lambda: bounds.reverse_entropy_bounds(GAUSS, [0.0], 0), "t", "0"),
    (lambda: bounds.reverse_entropy_bounds(BITS, [0], 2.5), "t", "2.5"),
    # data
    (lambda: GAUSS.marginal(0.5, 1), "x0", "d >= 1"),
    (lambda: GAUSS.marginal(np.zeros((3, 0)), 1), "x0", "(3, 0)"),
    (lambda: GAUSS.marginal(np.zeros((0, 3)), 1), "x0", "at least one"),
    (lambda: GAUSS.marginal([0.0, NAN], 1), "x0", "nan at index (1,)"),
    (lambda: GAUSS.kernel([INF], 1), "x_prev", "inf"),
    (lambda: GAUSS.kernel([1j], 1), "x_prev", "complex"),
    (lambda: GAUSS.kernel("abc", 1), "x_prev", "real"),
    (lambda: GAUSS.edge([NAN]), "x1", "nan"),
    (lambda: GAUSS.posterior([0.0], [NAN], 2), "xt", "nan"),
    (lambda: GAUSS.posterior(np.zeros((2, 3)), np.zeros((4, 3)), 2), "xt", "broadcast"),
    (lambda: GAUSS.posterior(np.zeros((5, 3)), np.zeros((5, 1)), 2), "xt", "3"),
    (lambda: GAUSS.posterior(np.zeros((5, 1)), np.zeros((5, 3)), 2), "xt", "1"),
    (lambda: BITS.posterior(np.zeros((5, 3)), np.zeros((5, 1)), 2), "xt", "3"),
    (lambda: BITS.marginal([0, 2], 1), "x0", "0 or 1, got 2"),
    (lambda: BITS.marginal([0.5], 1), "x0", "0.5"),
    (lambda: BITS.marginal(["a"], 1), "x0", "real numbers"),
    (lambda: BITS.kernel([-1], 1), "x_prev", "-1"),
    (lambda: BITS.posterior([0], [NAN], 2), "xt", "nan"),
    (lambda: BITS2.marginal([0, 1, 1], 1), "x0", "2 components"),
    (lambda: BITS2.marginal([0], 1), "x0", "2 components"),
    (lambda: BITS2.prior(3), "d", "2, got 3"),
    (lambda: GAUSS.prior(0), "d", ">= 1, got 0"),
    (lambda: GAUSS.prior(2.0), "d", "2.0"),
    (lambda: BITS.prior(True), "d", "True"),
    (lambda: bounds.null_log_likelihood(GAUSS, []), "x0", "shape"),
    (lambda: bounds.null_log_likelihood(BITS, [0.3]), "x0", "0.3"),
    (lambda: bounds.reverse_entropy_bounds(GAUSS, np.zeros((0, 2)), 1), "x0", "(0, 2)"),
    (lambda: GAUSS.entropy_never_falls([NAN]), "x0", "nan"),
    (lambda: bounds.preconditions(GAUSS, []), "x0", "shape"),
    (lambda: bounds.preconditions(BITS, [2]), "x0", "0 or 1"),
    (lambda: bounds.fixed_terms(GAUSS, [INF]), "x0", "inf"),
    # the prior
    (lambda: BinomialDiffusion(BETA, 0.0), "prior", "0.0"),
    (lambda: BinomialDiffusion(BETA, 1.0), "prior", "1.0"),
    (lambda: BinomialDiffusion(BETA, 1.2), "prior", "1.2"),
    (lambda: BinomialDiffusion(BETA, [0.2, 0.0]), "prior", "0.0"),
    (lambda: BinomialDiffusion(BETA, [[0.2]]), "prior", "vector"),
    (lambda: BinomialDiffusion(BETA, []), "prior", "vector"),
    (lambda: BinomialDiffusion(BETA, NAN), "prior", "nan"),
    (lambda: BinomialDiffusion(BETA, "half"), "prior", "real"),
    # laws
    (lambda: Gaussian([NAN], 1.0), "mean", "nan"),
    (lambda: Gaussian([0.0], 0.0), "var", "positive and finite, got 0.0"),
    (lambda: Gaussian([0.0], [-1.0]), "var", "-1.0"),
    (lambda: Gaussian([0.0], INF), "var", "inf"),
    (lambda: Gaussian(0.0, 1.0), "mean", "d >= 1"),
    (lambda: Gaussian([0.0, 1.0], [1.0, 2.0, 3.0]), "var", "(3,)"),
    (lambda: Gaussian([1j], 1.0), "mean", "complex"),
    (lambda: LAW.log_prob([0.0]), "x", "2 components"),
    (lambda: LAW.log_prob(0.0), "x", "a last axis of length d >= 1"),
    (lambda: LAW.log_prob([0.0, NAN]), "x", "nan"),
    (lambda: LAW.log_prob([0.0, 1.0, 2.0]), "x", "2 components"),
    (lambda: Gaussian(np.zeros((3, 2)), 1.0).log_prob(np.zeros((4, 2))), "x", "broadcast"),
    (lambda: LAW.kl(COINS), "mean", "Bernoulli"),
    (lambda: LAW.kl(Gaussian([0.0], 1.0)), "other", "2 components"),
    (lambda: LAW.kl(3.0), "mean", "float"),
    (lambda: LAW.kl(np.zeros(2)), "other", "got ndarray"),
    (
        lambda: Gaussian(np.zeros((3, 2)), 1.0).kl(Gaussian(np.zeros((4, 2)), 1.0)),
        "other",
        "(4, 2)",
    ),
    (lambda: LAW.sample(rng=np.random.RandomState(0)), "rng", "Generator"),
    (lambda: LAW.sample(rng=0), "rng", "got 0"),
    (lambda: LAW.sample(rng=1.5), "rng", "1.5"),
    (lambda: LAW.sample(rng=None), "rng", "None"),
    (lambda: LAW.sample(rng=np.random), "rng", "numpy.random.Generator"),
    (lambda: Bernoulli([1.5]), "prob1", "[0, 1], got 1.5"),
    (lambda: Bernoulli([-1e-300]), "prob1", "-1e-300"),
    (lambda: Bernoulli([NAN]), "prob1", "nan"),
    (lambda: Bernoulli([0.5], [0.6]), "prob0", "1.1 at index (0,)"),
    (lambda: Bernoulli([0.5], [1.5]), "prob0", "1.5"),
    (lambda: Bernoulli([0.5, 0.5], [0.5, 0.5, 0.5]), "prob0", "(3,)"),
    (lambda: Bernoulli(0.5), "prob1", "d >= 1"),
    (lambda: Bernoulli([]), "prob1", "(0,)"),
    (lambda: COINS.log_prob([0, 0.5]), "x", "0.5"),
    (lambda: COINS.log_prob([0]), "x", "2 components"),
    (lambda: COINS.kl(LAW), "prob1", "Gaussian"),
    (lambda: COINS.kl(Bernoulli([0.5])), "other", "2 components"),
    (lambda: COINS.sample(rng=7), "rng", "7"),
    # information
    (lambda: bounds.to_bits("1"), "nats", "real"),
    (lambda: bounds.to_bits(1j), "nats", "complex"),
    (lambda: bounds.to_bits({}), "nats", "object"),
    (lambda: bounds.gaussian_kl(0, 1, 0, 0), "var_p", "0"),
    (lambda: bounds.gaussian_kl(0, -2.0, 0, 1), "var_q", "-2.0"),
    (lambda: bounds.gaussian_kl(0, "one", 0, 1), "var_q", "real numbers"),
    (lambda: bounds.gaussian_kl(NAN, 1, 0, 1), "mean_q", "nan"),
    (lambda: bounds.gaussian_kl(0, 1, INF, 1), "mean_p", "inf"),
    (lambda: bounds.gaussian_kl([0, 1], 1, [0, 1, 2], 1), "mean_p", "(3,)"),
    (lambda: bounds.gaussian_kl(0, 1, 0, NAN), "var_p", "nan"),
    (lambda: bounds.gaussian_entropy(0.0), "var", "0.0"),
    (lambda: bounds.bernoulli_kl(1.5, 0.5), "q1", "1.5"),
    (lambda: bounds.bernoulli_kl(0.5, -0.5), "p1", "-0.5"),
    (lambda: bounds.bernoulli_kl(0.5, 0.5, q0=0.6), "q0", "1.1"),
    (lambda: bounds.bernoulli_kl(0.5, 0.5, p0=0.6), "p0", "1.1"),
    (lambda: bounds.bernoulli_kl([0.5] * 2, [0.5] * 3), "p1", "(3,)"),
    (lambda: bounds.bernoulli_kl(NAN, 0.5), "q1", "nan"),
    (lambda: bounds.bernoulli_entropy(1.1), "p1", "1.1"),
    (lambda: bounds.bernoulli_entropy(0.5, 0.25), "p0", "0.75"),
    (lambda: information.probability_pair([0.5], ["x"]), "prob0", "real"),
    # the bound
    (lambda: K(n_samples=0), "n_samples", ">= 1, got 0"),
    (lambda: K(n_samples=1.0), "n_samples", "1.0"),
    (lambda: K(n_samples=True), "n_samples", "True"),
    (lambda: K(rng=0), "rng", "got 0"),
    (lambda: K(rng=0.5), "rng", "0.5"),
    (lambda: K(x0=[]), "x0", "shape"),
    (lambda: K(x0=3.0), "x0", "shape"),
    (lambda: K(x0=[NAN]), "x0", "nan"),
    (lambda: K(BITS, x0=[0.5]), "x0", "0.5"),
    (lambda: K(BITS2, x0=[0, 1, 0]), "x0", "2 components"),
    (lambda: K(reverse=lambda xt, t: Gaussian(xt[..., :1], 1.0)), "reverse", "(1, 2)"),
    (lambda: K(reverse=lambda xt, t: COINS), "mean", "Bernoulli"),
    (lambda: K(reverse=lambda xt, t: None), "mean", "NoneType"),
    (lambda: K(reverse=lambda xt, t: SimpleNamespace(mean=xt, var=-1.0)), "var", "-1.0"),
    (lambda: K(reverse=lambda xt, t: SimpleNamespace(mean=xt * NAN, var=1.0)), "mean", "nan"),
    (lambda: K(BITS, lambda xt, t: SimpleNamespace(prob1=1.5 + 0 * xt), [0, 1]), "prob1", "1.5"),
    (lambda: K(edge=lambda x1: Gaussian(np.zeros(3), 1.0)), "edge", "(3,)"),
]


@pytest.mark.parametrize(("call", "argument", "said"), REFUSED)
def test_bad_input_is_refused_with_the_argument_and_the_value_named(call, argument, said):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert re.search(rf"\b{argument}\b", str(error.value)), str(error.value)
    assert said in str(error.value)


def test_what_cannot_be_called_is_of_a_wrong_type():
    with pytest.raises(TypeError, match="reverse must be a callable, got 3"):
        validation.function("reverse", 3)


def test_a_single_number_has_no_index():
    with pytest.raises(ValueError, match=r"got 0\.0$"):
        bounds.gaussian_entropy(0.0)


def test_the_table_of_refusals_is_long_enough():
    assert len(REFUSED) >= 60


@pytest.mark.parametrize(
    "call",
    [
        LAW.sample,
        COINS.sample,
        lambda: LAW.sample(rng()),
        lambda: bounds.lower_bound(GAUSS, GAUSS.kernel, [0.0]),
        lambda: bounds.lower_bound(GAUSS, GAUSS.kernel, [0.0], rng()),
    ],
)
def test_the_generator_is_required_and_keyword_only(call):
    with pytest.raises(TypeError):
        call()


# Odd but valid input. Every call must agree with the plain one, mutate nothing and warn of nothing
# (setup.cfg makes warnings errors).


class ArrayLike:
    """What a tensor of another library looks like from here."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


def read_only(values):
    array = np.array(values)
    array.flags.writeable = False
    return array


def strided(values):
    array = np.asarray(values)
    return np.stack([array, array + 1], -1)[..., 0]


FORMS = {
    "list": lambda v: np.asarray(v).tolist(),
    "tuple": lambda v: tuple(map(tuple, np.asarray(v).tolist())),
    "float32": lambda v: np.asarray(v, dtype=np.float32),
    "float16": lambda v: np.asarray(v, dtype=np.float16),
    "longdouble": lambda v: np.asarray(v, dtype=np.longdouble),
    "array-like": ArrayLike,
    "read-only": read_only,
    "strided": strided,
    "fortran": np.asfortranarray,
    "big-endian": lambda v: np.asarray(v, dtype=">f8"),
}
INTEGERS = {"bool": bool, "int8": np.int8, "uint8": np.uint8, "int64": np.int64}
REALS = np.array([[0.5, -1.25], [2.0, 0.0]])  # exact in every floating-point type
BINARY = np.array([[0.0, 1.0], [1.0, 1.0]])


def gaussian_answers(x):
    law = GAUSS.posterior(x, x, 2)
    return [
        GAUSS.kernel(x, 1).mean,
        GAUSS.marginal(x, 3).mean,
        law.mean,
        law.log_prob(x),
        law.kl(Gaussian(x, 1.0)),
        LAW.log_prob(x),
        bounds.null_log_likelihood(GAUSS, x),
        K(x0=x).value,
        K(x0=x).eq14,
        bounds.reverse_entropy_bounds(GAUSS, x, 2),
        bounds.to_bits(x),
        bounds.gaussian_kl(x, 1, 0, 2),
    ]


def binomial_answers(x):
    law = BITS.posterior(x, x, 2)
    return [
        BITS.kernel(x, 1).prob1,
        BITS.marginal(x, 3).prob0,
        law.prob1,
        law.log_prob(x),
        bounds.null_log_likelihood(BITS, x),
        K(BITS, x0=x).value,
        K(BITS, x0=x).eq14,
        bounds.reverse_entropy_bounds(BITS, x, 2),
        Bernoulli(x).entropy(),
        bounds.bernoulli_kl(x, 0.5),
    ]


def assert_same(got, expected):
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(g), np.asarray(e))


@pytest.mark.parametrize("form", FORMS)
def test_gaussian_column_takes_any_real_array_like(form):
    assert_same(gaussian_answers(FORMS[form](REALS)), gaussian_answers(REALS))


@pytest.mark.parametrize("form", FORMS)
def test_binomial_column_takes_any_real_array_like(form):
    assert_same(binomial_answers(FORMS[form](BINARY)), binomial_answers(BINARY))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_binomial_column_takes_integers_and_bools(dtype):
    assert_same(binomial_answers(BINARY.astype(INTEGERS[dtype])), binomial_answers(BINARY))


@pytest.mark.parametrize("t", [2, np.int8(2), np.uint64(2), np.array(2), [2], np.array([[2]])])
def test_times_may_be_of_any_integer_type(t):
    np.testing.assert_array_equal(
        GAUSS.posterior(REALS, REALS, t).mean.reshape(2, 2), GAUSS.posterior(REALS, REALS, 2).mean
    )


@pytest.mark.parametrize("form", [list, tuple, np.array, ArrayLike, read_only])
def test_beta_may_be_any_array_like(form):
    assert_same(
        [GaussianDiffusion(form(BETA)).beta, BinomialDiffusion(form(BETA), form([0.2, 0.5])).pi1],
        [BETA, [0.2, 0.5]],
    )


def test_a_float32_beta_is_taken_for_the_numbers_that_it_holds():
    beta = np.array([0.1, 0.2], dtype=np.float32)
    np.testing.assert_array_equal(GaussianDiffusion(beta).beta, beta.astype(np.float64))


def test_a_count_may_be_a_numpy_integer():
    assert GAUSS.prior(np.int32(2)).shape == (2,)


def test_the_largest_count_is_the_largest_int32():
    assert validation.count("n", 2**31 - 1, 1) == 2**31 - 1


@pytest.mark.parametrize("number", [1e-300, 0.5, 1, np.float32(2.0), np.array(3)])
def test_a_positive_number_is_a_float(number):
    got = validation.positive_number("peak", number)
    assert (type(got), got) == (float, number)


def test_a_weight_of_zero_has_a_logarithm():
    assert validation.below_infinity("log r", [0.0, -INF]).tolist() == [0.0, -INF]


@pytest.mark.parametrize(
    ("value", "eps"),
    [(np.float32(0.1), 2**-23), ([0.1], 2**-52), (1, 2**-52), (np.zeros(2, np.float16), 2**-10)],
)
def test_rounding_is_that_of_the_argument_s_type(value, eps):
    assert validation.rounding(value) == eps


def test_an_own_array_is_a_read_only_copy():
    array = np.zeros(2)
    copy = validation.own(array)
    array[0] = 1.0
    assert copy.tolist() == [0.0, 0.0]
    assert not copy.flags.writeable


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array(0.5), "0.5"),
        (np.array([1.23456789, 2.0]), "[1.234568, 2.      ]"),
        (np.arange(6.0), "[0., 1., 2., 3., 4., 5.]"),
        (np.arange(7.0), "[0., 1., ..., 5., 6.]"),
        (np.arange(6.0).reshape(2, 3), "[[0., 1., 2.], [3., 4., 5.]]"),
        (np.arange(7.0).reshape(1, 7), "<shape (1, 7)>"),
        (np.arange(8.0).reshape(2, 2, 2), "<shape (2, 2, 2)>"),
    ],
)
def test_an_array_is_shown_on_one_line(array, text):
    assert validation.brief(array) == text


def test_everything_is_float64_whatever_comes_in():
    answers = gaussian_answers(REALS.astype(np.float32)) + binomial_answers(
        BINARY.astype(np.float16)
    )
    assert {np.asarray(a).dtype for a in answers} <= {np.dtype(np.float64)}


def test_input_is_never_mutated():
    x, b = REALS.copy(), BINARY.copy()
    gaussian_answers(x)
    binomial_answers(b)
    assert_same([x, b], [REALS, BINARY])


def test_a_schedule_does_not_follow_later_changes_of_its_argument():
    beta, prior = np.array(BETA), np.array([0.2, 0.5])
    diffusion = BinomialDiffusion(beta, prior)
    beta[:], prior[:] = 0.9, 0.9
    assert_same([diffusion.beta, diffusion.pi1], [BETA, [0.2, 0.5]])


def test_a_schedule_s_rates_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        GAUSS.beta[0] = 0.5


def test_tables_handed_out_can_be_written_without_harm():
    out = GAUSS.abar([1, 2])
    out[:] = 7.0
    np.testing.assert_array_equal(GAUSS.abar([1, 2]), GaussianDiffusion(BETA).abar([1, 2]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: bounds.gaussian_kl(1e308, 1e-300, -1e308, 1e-300),
        lambda: bounds.gaussian_kl(0, 1e300, 0, 1e-300),
        lambda: Gaussian([1e300], 1e-300).log_prob([-1e300]),
        lambda: bounds.bernoulli_kl([0, 0, 1, 1, 5e-324], [0, 1, 0, 1, 0.5]),
        lambda: bounds.bernoulli_entropy([0, 1, 5e-324]),
        lambda: information.logit([0, 1, 5e-324]),
        lambda: Bernoulli([0.0, 1.0]).log_prob([[0, 0], [1, 1]]),
        lambda: Bernoulli([0.0, 1.0]).kl(Bernoulli([1.0, 0.0])),
        lambda: BinomialDiffusion([5e-324, 1.0], 5e-324).posterior([1], [0], 2),
        lambda: GaussianDiffusion([1e-300, 1.0, 1e-300]).log_abar([1, 2, 3]),
        lambda: bounds.to_bits([1e308, INF]),
        lambda: K(BITS, lambda xt, t: Bernoulli(np.zeros_like(xt)), [[0, 1]], n_samples=3),
        lambda: K(x0=[1e150, 0.0]),
    ],
)
def test_extreme_but_valid_input_warns_of_nothing(call):
    with warnings.catch_warnings(), np.errstate(divide="warn", over="warn", invalid="warn"):
        warnings.simplefilter("error")
        call()


@pytest.mark.parametrize("value", [True, False])
def test_a_flag_is_given_back(value):
    assert validation.flag("skip", value) is value


ENDLESS = [1.0]
ENDLESS += [ENDLESS, (ENDLESS,)]  # two ways at every step: none may be gone to its end
DEEP = [1.0]
for _ in range(2000):
    DEEP = [DEEP]


@pytest.mark.parametrize("value", [ENDLESS, DEEP], ids=["endless", "deep"])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: GAUSS.marginal(x, 1), "x0"),
        (GAUSS.abar, "t"),
        (lambda x: Gaussian([0.0], x), "var"),
        (lambda x: flat_vector("params", x, 2), "params"),
        (lambda x: Clamp([1.0], x), "seen"),
        (lambda x: BinaryData(BITS, x), "pmf"),
        (lambda x: LinearModel(GAUSS, [([[1.0]], x, [[1.0]])] * (GAUSS.T - 1)), "b"),
    ],
)
def test_a_list_without_end_is_refused_by_name(call, name, value):
    with pytest.raises(ValueError, match=f"^{name} must be lists up to 64 deep"):
        call(value)


def test_a_list_may_be_as_deep_as_an_array():
    nested = functools.reduce(lambda inner, _: [inner], range(64), 1.0)
    assert validation.real("x", nested).ndim == 64
    with pytest.raises(ValueError, match="x must be lists up to 64 deep"):
        validation.real("x", [nested])


@pytest.mark.parametrize("value", [[[1.0], (2.0,)], 3.0, "word"])
def test_what_holds_no_masked_array_is_given_back(value):
    assert validation.unmasked("x", value) is value


def test_a_copy_of_a_read_only_object_has_read_only_arrays_and_all_else():
    whole = validation.ReadOnly()
    whole.array, whole.number, whole.rows = validation.own(np.ones(2)), 3, [1.0]
    twin = copy.deepcopy(whole)
    assert vars(twin).keys() == {"array", "number", "rows"}
    assert (twin.array.tolist(), twin.number, twin.rows) == ([1.0, 1.0], 3, [1.0])
    assert not twin.array.flags.writeable

"""Factors times a kernel: enumeration, quadrature, limits, and what is refused."""

import re

import mpmath_oracle
import numpy as np
import pytest
from mpmath_oracle import mp
from scipy import stats
from statistics_budget import seed

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion
from dpm_ref.exact import binary_states, state_probabilities
from dpm_ref.posteriors import (
    BernoulliFactor,
    Clamp,
    GaussianFactor,
    LogFactor,
    constant,
    diffused,
    noisy_bits,
    particle_filter,
    tempered,
)

ROUNDING = 1e-12
DIFFUSION = GaussianDiffusion([0.1, 0.2, 0.3])


def rng(seed=0):
    return np.random.default_rng(seed)


# Table App.1: the perturbed binomial kernel


def random_cases(n=1000, seed=0):
    """Flip rates and factors of three bits: ordinary ones, tiny ones, certain ones."""
    draw = rng(seed)
    c = draw.random((n, 3))
    r1, r0 = np.exp(draw.normal(scale=3.0, size=(2, n, 3)))
    c[:100] **= 40
    c[100:200] = 1.0 - c[100:200] ** 40
    r1[200:300] *= draw.random((100, 3)) < 0.5
    r0[300:400] *= draw.random((100, 3)) < 0.5
    return c, r1, r0


def enumerated(c, r1, r0):
    """p r / Z and Z over all states of three bits, by products of two numbers."""
    states = binary_states(3)
    product = np.array(
        [
            np.prod([(c[i] * r1[i]) if x[i] else ((1 - c[i]) * r0[i]) for i in range(3)])
            for x in states
        ]
    )
    return product / product.sum(), product.sum()


def test_perturbed_binomial_kernel_equals_enumeration_for_1000_factorised_r():
    for c, r1, r0 in zip(*random_cases(), strict=True):
        product = BernoulliFactor(r1, r0).multiply(Bernoulli(c[None]))
        truth, Z = enumerated(c, r1, r0)
        assert np.abs(state_probabilities(product.law)[0] - truth).max() < ROUNDING
        assert abs(product.log_z[0] - np.log(Z)) < ROUNDING * max(1.0, abs(np.log(Z)))


def test_the_misprinted_perturbed_binomial_kernel_fails_the_enumeration():
    # x_i d_i in the denominator where Table App.1 must have c_i d_i
    states, worst = binary_states(3), []
    for c, r1, r0 in zip(*(part[400:] for part in random_cases()), strict=True):
        d, truth = r1 / (r1 + r0), enumerated(c, r1, r0)[0]
        gaps = []
        for x in states:
            misprint = c * d / (x * d + (1 - c) * (1 - d))
            gaps.append(
                np.abs(np.prod(np.where(states == 1, misprint, 1 - misprint), axis=1) - truth).max()
            )
        worst.append(max(gaps))
    assert min(worst) > 1e6 * ROUNDING  # for every r
    assert np.median(worst) > 0.5


def test_perturbed_binomial_kernel_keeps_the_digits_of_a_tiny_rate():
    product = BernoulliFactor([1e-100], [1.0]).multiply(Bernoulli([1e-150], [1.0]))
    assert abs(product.law.prob1[0] / 1e-250 - 1.0) < 1e-12


def test_a_factor_that_forbids_what_the_law_wants_has_normaliser_zero_and_no_nan():
    product = BernoulliFactor([1.0, 1.0], [0.0, 1.0]).multiply(Bernoulli([0.0, 0.3]))
    assert product.log_z == -np.inf
    assert np.abs(product.law.prob1 - [0.0, 0.3]).max() < ROUNDING


# Gaussian products


def test_gaussian_product_and_its_normaliser_by_quadrature():
    grid = np.linspace(-12, 12, 24001)
    factor = GaussianFactor([0.7], 0.3, log_scale=-0.4)
    for mean, var in ((0.0, 1.0), (-1.0, 0.05), (2.0, 3.0)):
        density = stats.norm.pdf(grid, mean, var**0.5) * np.exp(-0.4 - (grid - 0.7) ** 2 / 0.6)
        Z = density.sum() * 0.001
        product = factor.multiply(Gaussian([mean], [var]))
        assert abs(product.log_z - np.log(Z)) < 1e-11
        assert np.abs(np.exp(product.law.log_prob(grid[:, None])) - density / Z).max() < 1e-11


def test_an_unobserved_component_is_left_as_it_is():
    law = Gaussian([0.3, 0.1], [0.7, 0.2])
    product = GaussianFactor([5.0, 1.0], [np.inf, 1.0]).multiply(law)
    assert product.law.mean[0] == 0.3
    assert product.law.var[0] == 0.7
    assert (
        abs(product.log_z - GaussianFactor([1.0], 1.0).multiply(Gaussian([0.1], 0.2)).log_z)
        < ROUNDING
    )


def test_the_evidence_of_a_noisy_observation_is_its_density():
    scale = -0.5 * np.log(2 * np.pi * 0.3)
    assert (
        abs(
            GaussianFactor([0.7], 0.3, scale).multiply(Gaussian([0.1], 0.5)).log_z
            - stats.norm.logpdf(0.7, 0.1, 0.8**0.5)
        )
        < ROUNDING
    )


def test_a_clamp_is_the_limit_of_a_precise_observation():
    law, var = Gaussian([0.3, -0.2], [0.5, 2.0]), 1e-9
    near = GaussianFactor([1.0, 0.0], [var, np.inf], -0.5 * np.log(2 * np.pi * var)).multiply(law)
    clamp = Clamp([1.0, 0.0], [True, False]).multiply(law)
    assert abs(near.log_z - clamp.log_z) < 1e-8
    assert np.abs(near.law.at([0.1, 0.7]) - clamp.law.at([0.1, 0.7])).max() < 1e-4
    assert clamp.law.at([0.1, 0.7])[0] == 1.0


def test_a_clamp_of_bits_is_the_conditional_law():
    law = Bernoulli([[0.2, 0.9, 0.4]])
    product = Clamp([1.0, 0.0, 0.0], [True, False, True]).multiply(law)
    assert np.array_equal(product.law.prob1, [[1.0, 0.9, 0.0]])
    assert abs(product.log_z[0] - np.log(0.2 * 0.6)) < ROUNDING


# Any r, by its slope


def test_shifted_mean_is_f_mu_plus_f_Sigma_times_the_gradient():
    product = LogFactor(lambda x: np.sin(x).sum(-1), np.cos).multiply(
        Gaussian([[0.3, 0.4]], [0.1, 0.2])
    )
    assert (
        np.abs(product.law.mean - (np.array([0.3, 0.4]) + [0.1, 0.2] * np.cos([0.3, 0.4]))).max()
        < ROUNDING
    )
    assert np.array_equal(product.law.var, [[0.1, 0.2]])
    assert product.log_z is None


def test_shifted_mean_is_right_to_first_order_in_the_variance():
    factor = GaussianFactor([1.0], 0.5)
    smooth = LogFactor(factor.log_r, lambda x: -(x - 1.0) / 0.5)
    pairs = [
        [r.multiply(Gaussian([0.2], [v])).law.mean[0] for r in (smooth, factor)]
        for v in (1e-2, 1e-3)
    ]
    gaps = [abs(first_order - exact) for first_order, exact in pairs]
    assert 90 < gaps[0] / gaps[1] < 110


def test_any_factorised_binary_r_given_by_its_log_ratio_is_multiplied_exactly():
    factor = BernoulliFactor([0.2, 3.0, 1.0], [1.5, 0.1, 1.0])
    generic = LogFactor(
        factor.log_r, lambda x: np.broadcast_to(np.log(factor.r1 / factor.r0), x.shape)
    )
    law = Bernoulli(rng(0).random((20, 3)))
    exact, tilted = factor.multiply(law), generic.multiply(law)
    assert np.abs(exact.law.prob1 - tilted.law.prob1).max() < ROUNDING
    draws = law.sample(rng=rng(1))
    weight = law.log_prob(draws) + generic.log_r(draws) - tilted.law.log_prob(draws)
    assert np.abs(exact.log_z - weight).max() < ROUNDING  # p r / p~ is Z at every state


# What is refused


OBSERVED = GaussianFactor([1.0], 1.0)


def log(r):
    def function(x):
        with np.errstate(all="ignore"):
            return np.log(r(x))

    return LogFactor(function, np.zeros_like)


REFUSED = [
    (lambda: GaussianFactor([np.nan], 1.0), "mean must be finite"),
    (lambda: GaussianFactor([0.0], 0.0), "Clamp"),
    (lambda: GaussianFactor([0.0], -1.0), "var must be positive"),
    (lambda: GaussianFactor([0.0], np.nan), "var must be positive"),
    (lambda: GaussianFactor([[0.0]], 1.0), "mean and var must have shape (d,)"),
    (lambda: GaussianFactor(0.0, 1.0), "mean and var must have a last axis"),
    (lambda: GaussianFactor([0.0], 1.0, np.inf), "log_scale"),
    (lambda: GaussianFactor([0.0], 1.0, [0.0, 1.0]), "log_scale must be one number"),
    (lambda: GaussianFactor([0.0], 1.0).power(2.0), "exponent must be one number in [0, 1]"),
    (lambda: BernoulliFactor([1.0], [2.0]).power(-1.0), "exponent must be one number in [0, 1]"),
    (lambda: Clamp([1.0], True).power(1.5), "exponent must be one number in [0, 1]"),
    (lambda: Clamp([1.0], True).power(-1.0), "exponent must be one number in [0, 1]"),
    (lambda: log(lambda x: x[..., 0]).power(np.nan), "exponent must be finite"),
    (
        lambda: diffused(GaussianFactor([0.0], 1.0), BinomialDiffusion([0.1])),
        "r must be a closed form of the diffusion's column, got a GaussianFactor for a Binomial",
    ),
    (
        lambda: diffused(BernoulliFactor([1.0], [2.0]), DIFFUSION),
        "r must be a closed form of the diffusion's column, got a BernoulliFactor for a Gaussian",
    ),
    (lambda: OBSERVED.multiply(Bernoulli([0.5])), "Gaussian law"),
    (lambda: OBSERVED.multiply(Gaussian([0.0, 0.0], 1.0)), "law must have 1 components"),
    (lambda: OBSERVED.log_r([[0.0, 1.0]]), "x must have 1 components"),
    (lambda: BernoulliFactor([-1.0], [1.0]), "must not be negative"),
    (lambda: BernoulliFactor([np.nan], [1.0]), "nan"),
    (lambda: BernoulliFactor([np.inf], [1.0]), "inf"),
    (lambda: BernoulliFactor([1.0, 0.0], [1.0, 0.0]), "zero everywhere"),
    (lambda: BernoulliFactor(1.0, 1.0), "d >= 1"),
    (lambda: BernoulliFactor([[1.0]], [[1.0]]), "shape"),
    (lambda: BernoulliFactor([1.0], [1.0]).log_r([0.5]), "0 or 1"),
    (lambda: BernoulliFactor([1.0], [1.0]).multiply(Gaussian([0.0], 1.0)), "prob1"),
    (
        lambda: noisy_bits([1], 1.0),
        "flip_rate must be below 1, since bits that are always flipped are known, got 1.0",
    ),
    (lambda: noisy_bits([2], 0.1), "bits must be 0 or 1"),
    (lambda: noisy_bits([1], 0.1, seen=[1]), "seen"),
    (lambda: Clamp([1.0], [1]), "seen must be True or False for each component, got [1]"),
    (lambda: Clamp([1.0], np.ma.array([True], mask=True)), "seen must not be a masked array"),
    (lambda: Clamp([1.0], [[True], [True, False]]), "seen must be True or False for each"),
    (
        lambda: Clamp([1.0, 2.0], [True]),
        "seen must be True or False for each component, got shape (1,)",
    ),
    (lambda: Clamp([np.inf], [True]), "values"),
    (lambda: Clamp([0.5], [True]).multiply(Bernoulli([0.5])), "values must be 0 or 1"),
    (lambda: log(lambda x: 1.0 + x).log_r(np.zeros((2, 1))), "shape"),
    (lambda: log(lambda x: -1.0 - x[..., 0]).log_r(np.zeros((2, 1))), "negative"),
    (lambda: log(lambda x: x[..., 0] * np.nan).log_r(np.zeros((2, 1))), "nan"),
    (
        lambda: LogFactor(lambda x: x[..., 0], lambda x: x * np.inf).multiply(Gaussian([1.0], 1.0)),
        "slope must be finite",
    ),
    (
        lambda: LogFactor(lambda x: x[..., 0], lambda x: x[..., 0]).multiply(Gaussian([1.0], 1.0)),
        "slope must have shape",
    ),
]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: LogFactor(None), "log_r must be a callable, got None"),
        (lambda: LogFactor(np.sum, 3), "slope must be a callable, got 3"),
        (lambda: diffused(GaussianFactor([0.0], 1.0), None), "diffusion must be a GaussianDiff"),
        (lambda: tempered(None, 3), "r's power must be a callable, got None"),
    ],
)
def test_arguments_of_a_wrong_type_are_named(call, words):
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_what_cannot_be_is_refused_by_name(index):
    call, words = REFUSED[index]
    with pytest.raises(ValueError, match=re.escape(words)):
        call()


# Extremes


@pytest.mark.parametrize("var", [5e-324, 1e-310, 1e-300])
def test_an_observation_almost_without_noise_is_multiplied_without_a_warning(var):
    product = GaussianFactor([1.0], var).multiply(Gaussian([0.25], 0.5))
    assert product.law.mean[0] == 1.0
    assert product.law.var[0] == var
    truth = stats.norm.logpdf(1.0, 0.25, 0.5**0.5) + 0.5 * np.log(2 * np.pi) + 0.5 * np.log(var)
    assert abs(product.log_z - truth) < 1e-13 * abs(truth)


@pytest.mark.parametrize("size", [1e155, 1e200, 1e300])
def test_observations_beyond_the_floats_have_factor_zero_and_no_warning(size):
    factor = GaussianFactor([size, 0.0], [1.0, np.inf])
    assert factor.log_r([0.0, 0.0]) == -np.inf
    assert factor.multiply(Gaussian([0.0, -size], 1.0)).log_z == -np.inf
    with pytest.raises(ValueError, match="positive somewhere"):
        particle_filter(DIFFUSION, DIFFUSION.kernel, constant(factor), 4, 2, rng=seed(0))


def test_what_is_not_observed_does_not_count_however_far_it_is():
    factor = GaussianFactor([1.7e308, 1.0], [np.inf, 1.0])
    far, near = [-1.7e308, 1.0], [0.0, 1.0]
    assert factor.log_r(far) == factor.log_r(near) == 0.0
    assert factor.multiply(Gaussian(far, 1.0)).log_z == factor.multiply(Gaussian(near, 1.0)).log_z


def test_a_missing_bit_says_nothing_at_either_value():
    factor = noisy_bits([1, 0, 1, 0], 0.25, [False, False, True, True])
    assert np.array_equal(factor.r1, [1.0, 1.0, 0.75, 0.25])
    assert np.array_equal(factor.r0, [1.0, 1.0, 0.25, 0.75])


def test_the_least_exponents_of_r():
    nothing = GaussianFactor([1.0], 0.5, 0.7).power(0.0)
    assert nothing.log_r([3.0]) == 0.0
    assert abs(GaussianFactor([1.0], 0.5, 0.7).power(0.5).log_r([3.0]) - (0.35 - 2.0)) < ROUNDING
    bits = BernoulliFactor([0.0], [2.0])
    assert bits.power(0.0).log_r([1]) == 0.0
    assert bits.power(0.5).log_r([1]) == -np.inf
    smooth = LogFactor(lambda x: x[:, 0], np.ones_like)
    assert smooth.power(0.0).log_r([5.0]) == 0.0
    assert smooth.power(0.0).slope([5.0])[0] == 0.0
    assert smooth.power(0.25).slope([5.0])[0] == 0.25
    nowhere = LogFactor(lambda x: np.full(len(x), -np.inf), np.ones_like)
    assert nowhere.power(0.0).log_r([5.0]) == 0.0
    assert nowhere.power(0.5).log_r([5.0]) == -np.inf
    assert not LogFactor(lambda x: x[:, 0]).power(0.25).has_slope
    assert smooth.power(0.25).has_slope
    assert smooth.power(0.0).has_slope
    assert smooth.power(0.0).log_r(np.zeros((3, 1))).shape == (3,)
    steep = LogFactor(lambda x: 2.0 * x[:, 0], lambda x: np.full(x.shape, 2.0))
    assert steep.power(0.25).slope([5.0])[0] == 0.5


def test_a_clamp_is_a_delta_at_the_observed_values():
    clamp = Clamp([1.0, 2.0], [True, False])
    assert np.array_equal(clamp.log_r([[1.0, 5.0], [1.5, 2.0]]), [0.0, -np.inf])
    near, far = np.nextafter(1.0, 0.0), 1.7e308
    assert np.array_equal(clamp.log_r([[near, 5.0], [-far, 5.0], [1.0, far]]), [-np.inf] * 2 + [0])
    assert np.array_equal(Clamp([0.0], True).log_r([[5e-324], [-0.0]]), [-np.inf, 0.0])
    product = clamp.multiply(Gaussian([[0.5, 0.25]], [[2.0, 3.0]]))
    assert np.array_equal(product.law.mean, [[1.0, 0.25]])
    assert np.array_equal(product.law.var, [[0.0, 3.0]])
    assert abs(product.log_z[0] - stats.norm.logpdf(1.0, 0.5, 2.0**0.5)) < ROUNDING
    assert clamp.positive is False
    assert Clamp([1.0], [False]).positive is True


CLAMPED = "var must be positive (clamped components have no density), got 0.0"


@pytest.mark.parametrize("ask", [
    lambda law: law.log_prob([1.0, 0.25]),
    lambda law: law.entropy(),
    lambda law: law.kl(Gaussian([0.0, 0.0], 1.0)),
    lambda law: Gaussian([0.0, 0.0], 1.0).kl(law),
])
def test_a_clamped_law_has_draws_but_no_density(ask):
    law = Clamp([1.0, 2.0], [True, False]).multiply(Gaussian([0.5, 0.25], 2.0)).law
    assert law.sample(rng=seed(3))[0] == 1.0
    with pytest.raises(ValueError, match=re.escape(CLAMPED)):
        ask(law)


def test_a_noisy_observation_leaves_a_clamped_component_as_it_is():
    clamped = Clamp([1.0], [True]).multiply(Gaussian([0.5], 2.0)).law
    product = GaussianFactor([3.0], 0.5).multiply(clamped)
    assert (product.law.mean.item(), product.law.var.item()) == (1.0, 0.0)
    assert abs(product.log_z + 4.0) < ROUNDING  # r at the clamped value


def test_a_component_that_is_clamped_twice_is_refused():
    clamp = Clamp([1.0, 2.0], [True, False])
    with pytest.raises(ValueError, match=r"law must not be clamped twice, got 0\.0"):
        clamp.multiply(clamp.multiply(Gaussian([0.5, 0.25], 2.0)).law)


def test_positive_factors_of_bits_say_so():
    assert BernoulliFactor([1.0, 0.5], [0.2, 0.1]).positive is True
    assert BernoulliFactor([1.0, 0.0], [0.2, 0.1]).positive is False
    assert BernoulliFactor([1.0, 0.5], [0.0, 0.1]).positive is False


def test_a_clamped_result_shows_on_one_line():
    result = particle_filter(DIFFUSION, DIFFUSION.kernel, constant(OBSERVED), 4, 1, rng=seed(0))
    assert repr(result).startswith("Particles(log_z=")
    assert "array" not in repr(result)


def test_the_slope_of_bits_is_asked_at_the_most_probable_ones_and_at_0_where_none_is():
    asked = []

    def slope(x):
        asked.append(x)
        return np.zeros(x.shape)

    LogFactor(lambda x: x[:, 0], slope).multiply(Bernoulli([[0.2, 0.5, 0.8]]))
    assert np.array_equal(asked[0], [[0.0, 0.0, 1.0]])


def test_bits_of_a_product_below_the_floats_keep_their_law():
    product = BernoulliFactor([1e-300], [0.0]).multiply(Bernoulli([1e-200], [1.0]))
    assert product.law.prob1[0] == 1.0
    assert abs(product.log_z - (-500 * np.log(10))) < 1e-12 * 1152


def test_all_bits_are_observed_unless_it_is_said():
    assert np.array_equal(noisy_bits([1, 0], 0.25).r1, [0.75, 0.25])


def test_a_clamp_s_factor_is_a_vector_s_whatever_the_batch():
    found = Clamp([1.0, 0.0], [True, True]).log_r(np.ones((2, 3, 2)))
    assert np.array_equal(found, np.full((2, 3), -np.inf))


def test_a_bit_s_product_keeps_its_digits_at_both_ends():
    """Eight ulp against mpmath, with probabilities and factors from 1e-300 to 1."""
    draw, tiny = rng(5), 10.0 ** -np.arange(0.5, 300, 7)
    smaller = np.concatenate([tiny, draw.random(40) / 2])
    r1, r0 = 10.0 ** draw.uniform(-150, 150, (2, smaller.size))
    r1[::3] = r0[::3]  # a factor that says nothing
    near_one = Bernoulli(1.0 - smaller, smaller)
    for p in (Bernoulli(smaller), near_one):
        product = BernoulliFactor(r1, r0).multiply(p)
        with mp.workdps(400):
            exact1 = [mp.mpf(x) if p is not near_one else 1 - mp.mpf(x) for x in smaller]
            parts = [
                (c * mp.mpf(a), (1 - c) * mp.mpf(b))
                for c, a, b in zip(exact1, r1, r0, strict=True)
            ]
            truth1 = [one / (one + zero) for one, zero in parts]
            truth0 = [zero / (one + zero) for one, zero in parts]
            log_z = sum(mp.log(one + zero) for one, zero in parts)
        assert mpmath_oracle.worst_ulp(product.law.prob1, truth1) <= 8
        assert mpmath_oracle.worst_ulp(product.law.prob0, truth0) <= 8
        assert product.log_z == pytest.approx(float(log_z), abs=1e-11)


def test_variances_whose_sum_overflows_keep_the_evidence():
    """(mu - m)^2 / (s + v) with s = v = -mu = 1e308 and m = 0 is 5e307."""
    product = GaussianFactor([0.0], 1e308).multiply(Gaussian([-1e308], 1e308))
    assert product.log_z == pytest.approx(-2.5e307, rel=1e-14)


def test_a_power_next_to_zero_knows_nothing_and_gives_no_warning():
    for exponent in (1e-320, 0.0):
        assert GaussianFactor([1.0], 1.0).power(exponent).var.tolist() == [np.inf]


def test_a_tilt_of_bits_keeps_its_digits():
    """Eight ulp against mpmath, for probabilities from 1e-300 and slopes that r is tiny at."""
    slopes = [-1400.0, -700.5, -30.1, -1e-9, 0.0, 0.3, 25.0, 690.0, 1234.5]
    for c in (1e-300, 1e-20, 0.3):
        for p in (Bernoulli([c]), Bernoulli([1.0 - c], [c])):
            for g in slopes:
                steep = LogFactor(lambda x: x[:, 0], lambda x, g=g: np.full(x.shape, g))
                law = steep.multiply(p).law
                with mp.workdps(800):
                    small = mp.mpf(c)
                    one, zero = (small, 1 - small) if p.prob1[0] == c else (1 - small, small)
                    one *= mp.exp(mp.mpf(g))
                    truth = [one / (one + zero), zero / (one + zero)]
                got = [law.prob1[0], law.prob0[0]]
                for found, exact in zip(got, truth, strict=True):
                    if exact > 1e-307:
                        assert mpmath_oracle.worst_ulp(np.array([found]), [exact]) <= 8


@pytest.mark.parametrize("g", [1e5, -1e5])
def test_a_tilt_beyond_all_numbers_leaves_certain_bits_certain(g):
    steep = LogFactor(lambda x: x[:, 0], lambda x: np.full(x.shape, g))
    law = steep.multiply(Bernoulli([0.0, 1.0, 0.5])).law
    assert law.prob1.tolist() == [0.0, 1.0, float(g > 0)]
    assert law.prob0.tolist() == [1.0, 0.0, float(g < 0)]


def test_a_tilt_beyond_the_smallest_number_keeps_the_odds():
    """prob1 = 1e-300 and a slope of 1000: odds of exp(1000) 1e-300."""
    steep = LogFactor(lambda x: 1000.0 * x.sum(-1), lambda x: np.full(x.shape, 1000.0))
    law = steep.multiply(Bernoulli([1e-300])).law
    np.testing.assert_array_equal(law.prob1, 1.0)
    np.testing.assert_allclose(law.prob0, np.exp(300 * np.log(10.0) - 1000.0), rtol=1e-12)

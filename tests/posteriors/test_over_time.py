"""r(x^t): the paper's choices, and the exact twists of the cases for which they are meant."""

import re

import numpy as np
import pytest
from exact_twists import BinaryTwist, LinearTwist
from scipy import stats

from dpm_ref import BinomialDiffusion, GaussianDiffusion
from dpm_ref.exact import BinaryModel, GaussianData, binary_states
from dpm_ref.posteriors import (
    BernoulliFactor,
    Clamp,
    GaussianFactor,
    LogFactor,
    diffused,
    noisy_bits,
    tempered,
)

ROUNDING = 1e-12


def rng(seed=0):
    return np.random.default_rng(seed)


def test_tempered_r_leaves_the_prior_and_ends_in_r():
    factor = GaussianFactor([1.0, 2.0], [0.5, np.inf], log_scale=0.3)
    x = rng(0).normal(size=(5, 2))
    bits = noisy_bits([1, 0, 1], [0.0, 0.1, 0.3])
    for t, share in ((0, 1.0), (1, 0.75), (3, 0.25), (4, 0.0)):
        assert np.abs(tempered(factor, 4)(t).log_r(x) - share * factor.log_r(x)).max() < ROUNDING
        assert (
            np.abs(
                np.exp(tempered(bits, 4)(t).log_r(binary_states(3)))
                - np.exp(bits.log_r(binary_states(3))) ** share
            ).max()
            < ROUNDING
        )
        generic = tempered(LogFactor(factor.log_r), 4)(t)
        assert np.abs(generic.log_r(x) - share * factor.log_r(x)).max() < ROUNDING
    assert tempered(factor, 1)(0).log_r(x[0]) == factor.log_r(x[0])
    assert tempered(Clamp([1.0], [True]), 4)(4).positive
    assert not tempered(Clamp([1.0], [True]), 4)(3).positive


def test_diffused_factor_of_bits_is_the_twist_of_the_forward_kernel():
    diffusion = BinomialDiffusion([0.1, 0.3, 0.2], [0.2, 0.5, 0.7])
    for factor in (
        BernoulliFactor([0.2, 3.0, 1.0], [1.5, 0.1, 1.0]),
        Clamp([1.0, 0.0, 0.0], [True, True, False]),
    ):
        twist = BinaryTwist(BinaryModel(diffusion, 3, diffusion.kernel), factor)
        for t in range(4):
            assert (
                np.abs(
                    np.exp(diffused(factor, diffusion)(t).log_r(binary_states(3))) - twist.values[t]
                ).max()
                < ROUNDING
            )


@pytest.mark.parametrize(
    "factor", [GaussianFactor([1.0, 0.0], [0.5, np.inf], 0.2), Clamp([1.0, 9.0], [True, False])]
)
def test_diffused_gaussian_factor_is_the_twist_of_standard_normal_data(factor):
    diffusion = GaussianDiffusion([0.1, 0.3, 0.2])
    twist = LinearTwist(GaussianData(diffusion, [0.0, 0.0], np.eye(2)), factor)
    x = rng(1).normal(size=(6, 2))
    for t in (1, 2, 3):
        assert np.abs(diffused(factor, diffusion)(t).log_r(x) - twist.log_r(x, t)).max() < ROUNDING


def test_where_nothing_is_left_of_the_data_a_diffused_factor_is_its_mean_over_the_prior():
    diffusion = GaussianDiffusion([0.1, 1.0])
    factor = GaussianFactor([1.0], 1.0)
    assert (
        abs(diffused(factor, diffusion)(2).log_r([3.0]) - factor.multiply(diffusion.prior(1)).log_z)
        < ROUNDING
    )
    far = GaussianFactor([2.0], 1.5)
    truth = far.multiply(diffusion.prior(1)).log_z
    assert abs(diffused(far, diffusion)(2).log_r([3.0]) - truth) < ROUNDING
    clamp = Clamp([1.0], [True])
    assert diffused(clamp, diffusion)(2).var[0] == np.inf
    assert abs(diffused(clamp, diffusion)(2).log_r([3.0]) - stats.norm.logpdf(1.0)) < ROUNDING


# What is refused


DIFFUSION, BITS = GaussianDiffusion([0.2, 0.2, 0.2]), BinomialDiffusion([0.1, 0.2, 0.3])
OBSERVED = GaussianFactor([1.0], 1.0)


REFUSED = [
    (lambda: diffused(OBSERVED, BITS)(1), "GaussianFactor for a BinomialDiffusion"),
    (lambda: diffused(OBSERVED, DIFFUSION)(4), "0..3"),
    (lambda: diffused(BernoulliFactor([1.0], [1.0]), DIFFUSION)(1), "for a GaussianDiffusion"),
    (lambda: diffused(LogFactor(lambda x: x[..., 0]), DIFFUSION)(1), "closed form"),
    (lambda: tempered(OBSERVED, 0), "T must be"),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_what_cannot_be_is_refused_by_name(index):
    call, words = REFUSED[index]
    with pytest.raises(ValueError, match=re.escape(words)):
        call()

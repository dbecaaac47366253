"""Nothing that a user's function does to its arguments, or to what it returned, changes a result;
and everyone is called with states (m, d).
"""

import numpy as np
import pytest
from statistics_budget import seed

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion
from dpm_ref.posteriors import (
    BernoulliFactor,
    Clamp,
    GaussianFactor,
    LogFactor,
    noisy_bits,
    particle_filter,
    predicted,
    sample,
)

GAUSSIAN = GaussianDiffusion([0.1, 0.3, 0.4])
BITS = BinomialDiffusion([0.1, 0.3, 0.4], 0.3)


class Plain:
    """A user's law: attributes only."""

    def __init__(self, **attributes):
        self.__dict__ |= attributes


def spoiling(function, buffers):
    """The function, which then overwrites its argument, and later what it returned."""

    def hostile(x, *t):
        for buffer in buffers:
            buffer[...] = 0.5
        value = function(x.copy(), *t)
        arrays = list(vars(value).values()) if isinstance(value, Plain) else [value]
        buffers.extend(arrays)
        x[...] = 1.0
        return value

    return hostile


def same(function, buffers):
    return function


def order(function, buffers):
    """Fortran order, read-only, and where digits allow it another dtype."""

    def odd(x, *t):
        value = function(x.copy(), *t)
        if isinstance(value, Plain):
            for name, array in vars(value).items():
                setattr(value, name, np.asfortranarray(array))
            return value
        value = np.asfortranarray(value)
        value.flags.writeable = False
        return value

    return odd


def gaussian_parts(wrap):
    buffers = []
    reverse = wrap(lambda x, t: Plain(mean=0.8 * x + 0.1 * t, var=np.full(x.shape, 0.4)), buffers)
    edge = wrap(lambda x: Plain(mean=0.9 * x, var=np.full(x.shape, 0.2)), buffers)
    smooth = LogFactor(
        wrap(lambda x: -((x - 1.0) ** 2).sum(-1), buffers),
        wrap(lambda x: -2.0 * (x - 1.0), buffers),
    )
    return GAUSSIAN, reverse, edge, smooth


def binary_parts(wrap):
    buffers = []
    reverse = wrap(lambda x, t: Plain(prob1=0.2 + 0.5 * x), buffers)
    edge = wrap(lambda x: Plain(prob1=0.1 + 0.8 * x), buffers)
    smooth = LogFactor(
        wrap(lambda x: 0.5 * x.sum(-1), buffers), wrap(lambda x: np.full(x.shape, 0.5), buffers)
    )
    return BITS, reverse, edge, smooth


@pytest.mark.parametrize("wrap", [spoiling, order])
@pytest.mark.parametrize("parts", [gaussian_parts, binary_parts])
@pytest.mark.parametrize("choice", ["slope", "weights", "predicted"])
def test_results_are_the_same_to_the_bit_whatever_functions_do_to_arrays(parts, wrap, choice):
    results = []
    for each in (same, wrap):
        diffusion, reverse, edge, smooth = parts(each)
        known = (
            GaussianFactor([1.0, 0.0], 0.5) if diffusion is GAUSSIAN else noisy_bits([1, 0], 0.2)
        )
        r = {
            "slope": lambda t, smooth=smooth: smooth,
            "weights": lambda t, smooth=smooth: LogFactor(smooth.log_r),
            "predicted": predicted(known, diffusion, reverse, edge),
        }[choice]
        result = particle_filter(diffusion, reverse, r, 50, 2, rng=seed(0), edge=edge)
        results.append([result.x0, result.weights, result.log_z, result.log_z_stderr, result.ess])
        if choice != "weights":
            path = sample(diffusion, reverse, r, 20, 2, rng=seed(1), edge=edge, keep=range(4))
            results[-1] += [path.x0, *path.states.values()]
    for clean, other in zip(*results, strict=True):
        assert np.array_equal(clean, other)


class Own:
    """A user's factor that spoils all it is given."""

    positive = True

    def __init__(self, spoil):
        self.spoil = spoil

    def log_r(self, x):
        value = -np.abs(x).sum(-1)
        if self.spoil:
            x[...] = 9.0
        return value

    def multiply(self, law):
        product = Gaussian(law.mean * 0.9, np.array(law.var))
        if self.spoil:
            for array in (law.mean, law.var):
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 1.0
        return product, None


def test_a_factor_of_a_user_s_own_cannot_change_what_it_is_given():
    runs = [
        particle_filter(GAUSSIAN, GAUSSIAN.kernel, lambda t, own=own: own, 50, 2, rng=seed(0))
        for own in (Own(False), Own(True))
    ]
    assert np.array_equal(runs[0].x0, runs[1].x0)
    assert np.array_equal(runs[0].weights, runs[1].weights)
    assert runs[0].log_z == runs[1].log_z


def test_factors_do_not_alias_what_they_were_made_from():
    mean, var, values = np.ones(2), np.ones(2), np.ones(2)
    seen, r1 = np.array([True, False]), np.ones(2)
    factors = GaussianFactor(mean, var), Clamp(values, seen), BernoulliFactor(r1, np.ones(2))
    laws = Gaussian([0.0, 0.0], 1.0), Gaussian([0.0, 0.0], 1.0), Bernoulli([0.5, 0.5])
    before = [f.multiply(law).log_z for f, law in zip(factors, laws, strict=True)]
    for array in (mean, var, values, r1):
        array[...] = 7.0
    seen[...] = False
    after = [f.multiply(law).log_z for f, law in zip(factors, laws, strict=True)]
    assert before == after


@pytest.mark.parametrize("parts", [gaussian_parts, binary_parts])
def test_every_function_is_called_with_states_m_d_and_an_integer_t(parts):
    called = []

    def record(function, buffers):
        def recorded(x, *t):
            called.append((x.ndim, x.shape[-1], *map(type, t)))
            return function(x, *t)

        return recorded

    diffusion, reverse, edge, smooth = parts(record)
    known = GaussianFactor([1.0, 0.0], 0.5) if diffusion is GAUSSIAN else noisy_bits([1, 0], 0.2)
    for r in (lambda t: smooth, predicted(known, diffusion, reverse, edge)):
        particle_filter(diffusion, reverse, r, 20, 2, rng=seed(0), edge=edge)
        sample(diffusion, reverse, r, 20, 2, rng=seed(0), edge=edge)
    smooth.log_r(np.zeros(2))
    smooth.multiply(diffusion.prior(2))
    assert set(called) == {(2, 2), (2, 2, int)}
    assert smooth.log_r(np.zeros((3, 4, 2))).shape == (3, 4)
    assert smooth.slope(np.zeros((3, 4, 2))).shape == (3, 4, 2)

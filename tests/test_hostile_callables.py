"""Reverse kernels and edges that misbehave: no result changes in silence.

A hostile callable gives the right law in some way of its own, and then does what it likes with the
array that it was handed or with what it returned; or it returns nonsense. The answer is the right
one, to the bit, or a ValueError or TypeError that names the callable. HOSTILE_TRIALS sets how many
are tried.
"""

import os
from types import SimpleNamespace

import numpy as np
import pytest

from dpm_ref import BinomialDiffusion, GaussianDiffusion, bounds, likelihood

try:
    import torch
except ImportError:
    torch = None

TRIALS = int(os.environ.get("HOSTILE_TRIALS", "150"))
T, D = 3, 2
COLUMNS = {
    "gaussian": GaussianDiffusion([0.1, 0.2, 0.3]),
    "binomial": BinomialDiffusion([0.3, 0.4, 0.5], [0.3, 0.6]),
}


def right_parameters(column, x, t):
    """Mean and variance, or prob1 and prob0: smooth functions of state and time."""
    if column == "gaussian":
        return {"mean": 0.8 * x + 0.1 * t, "var": 0.2 + 0.1 * t + 0.05 * x**2}
    prob1 = 0.2 + 0.1 * t + 0.3 * x
    return {"prob1": prob1, "prob0": 1.0 - prob1}


def as_given(values):
    return values


def in_fortran_order(values):
    return np.asfortranarray(values)


def read_only(values):
    values.flags.writeable = False
    return values


def as_list(values):
    return values.tolist()


def as_objects(values):
    return values.astype(object)


def as_float32_exactly(values):
    return values.astype(np.longdouble)


def as_tensor(values):
    return torch.from_numpy(values) if torch else values


def as_strided(values):
    wide = np.repeat(values, 2, axis=-1)
    return wide[..., ::2]


def with_nan(values):
    values[-1, -1] = np.nan
    return values


def of_another_shape(values):
    return np.concatenate([values, values])


def bare(values):
    return values[..., 0]


HARMLESS = [
    as_given,
    in_fortran_order,
    read_only,
    as_list,
    as_float32_exactly,
    as_tensor,
    as_strided,
]
HARMFUL = [with_nan, of_another_shape, bare, as_objects]


def spoil_nothing(x, kept):
    pass


def scale_in_place(x, kept):
    x *= 0.8


def fill_with_nan(x, kept):
    x[...] = np.nan


def sort_in_place(x, kept):
    x.sort(axis=0)


def freeze(x, kept):
    x.flags.writeable = False


def spoil_what_was_returned_before(x, kept):
    for values in kept:
        if isinstance(values, np.ndarray) and values.flags.writeable:
            values[...] = 0.5


SPOILERS = [
    spoil_nothing,
    scale_in_place,
    fill_with_nan,
    sort_in_place,
    freeze,
    spoil_what_was_returned_before,
]


def hostile(column, form, spoil, own):
    """A kernel (xt, t) that gives the right law in this form, and spoils what it can reach."""
    kept = []

    def kernel(xt, t=1):
        law = {name: form(v) for name, v in right_parameters(column, xt.copy(), t).items()}
        spoil(xt, kept)
        kept.extend(law.values())
        if not own:
            return SimpleNamespace(**law)
        right = COLUMNS[column].law(*law.values())

        def log_prob(x):
            values = right.log_prob(x)
            spoil(x, kept)
            return values

        return SimpleNamespace(log_prob=log_prob, sample=right.sample)

    return kernel


def results(column, kernel, edge, seed):
    """Every number that comes of a kernel and an edge."""
    diffusion, rng = COLUMNS[column], np.random.default_rng(seed)
    x0 = rng.integers(2, size=(3, D)).astype(float)
    path = rng.integers(2, size=(T + 1, 3, D)).astype(float)
    before = path.copy(), x0.copy()
    numbers = [
        *likelihood.log_likelihood(diffusion, kernel, x0, n_samples=30, rng=rng, edge=edge),
        *likelihood.sandwich(diffusion, kernel, 2, D, n_samples=5, rng=rng, edge=edge),
        likelihood.log_weights(diffusion, kernel, path, edge=edge),
        likelihood.log_reverse(diffusion, kernel, path, edge=edge),
    ]
    np.testing.assert_array_equal(path, before[0])
    np.testing.assert_array_equal(x0, before[1])
    return numbers


def bound(column, kernel, edge, seed):
    rng = np.random.default_rng(seed)
    x0 = rng.integers(2, size=(3, D)).astype(float)
    return list(bounds.lower_bound(COLUMNS[column], kernel, x0, rng=rng, n_samples=2, edge=edge))


def same(got, wanted):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(got, wanted, strict=True))


def test_no_hostile_callable_changes_a_result_in_silence():
    rng = np.random.default_rng(1)
    wanted = {}
    for _ in range(TRIALS):
        column, seed = rng.choice(list(COLUMNS)), int(rng.integers(4))
        kinds = {}
        for name in ("kernel", "edge"):
            forms = HARMFUL if rng.random() < 0.15 else HARMLESS
            kinds[name] = forms[rng.integers(len(forms))], SPOILERS[rng.integers(len(SPOILERS))]
        own = bool(rng.integers(2))
        functions = [results] if own else [results, bound]
        for function in functions:
            plain = hostile(column, as_given, spoil_nothing, False)
            if (column, seed, function) not in wanted:
                wanted[column, seed, function] = function(column, plain, plain, seed)
            kernel, edge = (hostile(column, *kind, own) for kind in kinds.values())
            what = column, seed, own, {n: [f.__name__ for f in kind] for n, kind in kinds.items()}
            if any(form in HARMFUL for form, _ in kinds.values()):
                with pytest.raises((ValueError, TypeError)):
                    function(column, kernel, edge, seed)
            else:
                got = function(column, kernel, edge, seed)
                assert same(got, wanted[column, seed, function]), what


def test_a_kernel_that_writes_into_its_state_changes_nothing():
    """For N(.8 x, .5) at t = 2, 3 and x0 = .5, log p = -1.1165; in place it once came to -1.388."""
    diffusion = GaussianDiffusion([0.1, 0.2, 0.3])

    def in_place(xt, t):
        xt *= 0.8
        return SimpleNamespace(mean=xt, var=0.5)

    got = likelihood.log_likelihood(
        diffusion, in_place, [[0.5]], n_samples=100_000, rng=np.random.default_rng(2)
    )
    assert abs(got.value[0] + 1.1165) < 7 * got.stderr[0] + 5e-5


@pytest.mark.parametrize("name", ["lower_bound", "edge", "log_weights", "log_likelihood"])
def test_a_kernel_that_writes_into_the_caller_s_data_changes_nothing(name):
    """The array that x0 itself is, which the callable knows of."""
    diffusion, x = GaussianDiffusion([0.1, 0.2, 0.3]), np.full((1, 2), 0.5)

    def asked(writes):
        x[:] = 0.5
        path = np.broadcast_to(x, (4, 1, 2)).copy()

        def spoil(state, t=1):
            (path if name == "log_weights" else x)[...] = 7.0 if writes else 0.5
            return SimpleNamespace(mean=0.5 * state, var=1.0)

        rng = np.random.default_rng(1)
        if name == "log_weights":
            return likelihood.log_weights(diffusion, spoil, path)
        if name == "log_likelihood":
            return likelihood.log_likelihood(diffusion, spoil, x, n_samples=10, rng=rng).value
        edge = spoil if name == "edge" else None
        return bounds.lower_bound(diffusion, spoil, x, rng=rng, edge=edge).value

    assert asked(True).tolist() == asked(False).tolist()


def test_a_family_of_one_s_own_with_parameters_of_the_other_is_refused():
    diffusion = COLUMNS["gaussian"]
    bits = SimpleNamespace(prob1=0.5)
    with pytest.raises(ValueError, match="reverse must return a law over the state's shape"):
        bounds.lower_bound(diffusion, lambda xt, t: bits, [[0.0]], rng=np.random.default_rng(0))

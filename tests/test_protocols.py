"""Laws as objects, and how a user's kernel or edge is asked: with copies, and believed only after a
look.
"""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import dpm_ref
from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, protocols
from dpm_ref.protocols import (
    ask_density,
    ask_law,
    ask_step,
    checked_diffusion,
    takes_times,
    total,
)

X = np.array([[0.5, -1.0], [2.0, 0.0], [1.0, 3.0]])
ASKS = pytest.mark.parametrize("ask", [ask_law, ask_density])


def rng():
    return np.random.default_rng(0)


# Laws


@pytest.mark.parametrize(
    "make",
    [
        Gaussian,
        lambda a, b: Bernoulli(a, 1 - a),
        lambda a, b: Bernoulli(prob1=a),
        lambda a, b: Gaussian.like(SimpleNamespace(mean=a, var=b)),
        lambda a, b: Bernoulli.like(SimpleNamespace(prob1=a)),
    ],
)
def test_a_law_does_not_follow_later_changes_of_its_arguments(make):
    a, b = np.full(2, 0.25), np.full(2, 0.75)
    law, before = make(a, b), make(a.copy(), b.copy())
    a[:], b[:] = 0.9, 0.9
    assert law == before


@pytest.mark.parametrize("law", [Gaussian([0.0, 1.0], [1.0, 2.0]), Bernoulli([0.25, 0.5])])
def test_a_law_cannot_be_changed(law):
    for name in law.names:
        with pytest.raises(ValueError, match="read-only"):
            getattr(law, name)[0] = 0.5
        with pytest.raises(ValueError, match="WRITEABLE"):
            getattr(law, name).flags.writeable = True
        with pytest.raises(AttributeError):
            setattr(law, name, 0.5)


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (Gaussian([0.0, 1.0], 1.0), Gaussian([-0.0, 1.0], [1.0, 1.0]), True),
        (Gaussian([0.0, 1.0], 1.0), Gaussian([0.0, 1.0], 2.0), False),
        (Gaussian([0.0], 1.0), Gaussian([1.0], 1.0), False),
        (Gaussian([0.0], 1.0), Gaussian([[0.0]], 1.0), False),
        (Bernoulli([0.25]), Bernoulli([0.25], [0.75]), True),
        (Bernoulli([1.0], [1e-20]), Bernoulli([1.0]), False),
        (Gaussian([0.5], 0.5), Bernoulli([0.5]), False),
        (Gaussian([0.5], 0.5), 3.0, False),
        (Gaussian([0.5], 0.5), np.zeros(3), False),
        (GaussianDiffusion([0.1, 0.2]), GaussianDiffusion(np.array([0.1, 0.2])), True),
        (GaussianDiffusion([0.1, 0.2]), GaussianDiffusion([0.1]), False),
        (GaussianDiffusion([0.1]), BinomialDiffusion([0.1]), False),
        (BinomialDiffusion([0.1], 0.5), BinomialDiffusion([0.1], 0.25), False),
        (BinomialDiffusion([0.1], 0.5), BinomialDiffusion([0.1], [0.5]), False),
        (BinomialDiffusion([0.1], [0.5]), BinomialDiffusion([0.1], [0.5]), True),
        (GaussianDiffusion([0.1]), None, False),
    ],
)
def test_equality_is_that_of_the_parameters_and_never_raises(first, second, equal):
    assert bool(np.all(first == second)) is equal
    assert bool(np.all(second == first)) is equal
    assert (first != second) is not equal or isinstance(second, np.ndarray)
    if equal:
        assert hash(first) == hash(second)


def test_laws_and_diffusions_survive_pickling():
    for each in (
        Gaussian([0.0, 1.0], 2.0),
        Bernoulli([1.0], [1e-20]),
        BinomialDiffusion([0.1], 0.2),
    ):
        assert pickle.loads(pickle.dumps(each)) == each


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (Gaussian([0.0, 1.5], 1.0), "Gaussian(mean=[0. , 1.5], var=[1., 1.])"),
        (Bernoulli([[0.5], [0.25]]), "Bernoulli(prob1=[[0.5 ], [0.25]], prob0=[[0.5 ], [0.75]])"),
        (Gaussian(np.zeros((50, 2)), 1.0), "Gaussian(mean=<shape (50, 2)>, var=<shape (50, 2)>)"),
        (
            Gaussian(np.zeros(7), 1.0),
            "Gaussian(mean=[0., 0., ..., 0., 0.], var=[1., 1., ..., 1., 1.])",
        ),
        (GaussianDiffusion([0.1, 0.2]), "GaussianDiffusion(beta=[0.1, 0.2], T=2)"),
        (BinomialDiffusion([0.1], 0.2), "BinomialDiffusion(beta=[0.1], T=1, prior=0.2)"),
        (
            BinomialDiffusion([0.1], [0.2, 0.5]),
            "BinomialDiffusion(beta=[0.1], T=1, prior=[0.2, 0.5])",
        ),
        (dpm_ref.schedules.Schedule([0.5]), "Schedule(beta=[0.5], T=1)"),
    ],
)
def test_reprs_are_one_line(thing, text):
    assert repr(thing) == text


@pytest.mark.parametrize(
    ("thing", "name", "said"),
    [
        (Gaussian([0.0], 1.0), "std", "a Gaussian law has mean and var, no 'std'"),
        (Bernoulli([0.5]), "probs", "a Bernoulli law has prob1 and prob0, no 'probs'"),
        (GaussianDiffusion([0.1]), "betas", "'betas'; it has beta"),
        (GaussianDiffusion([0.1]), "alphas_cumprod", "'alphas_cumprod'; it has abar(t)"),
        (GaussianDiffusion([0.1]), "num_timesteps", "'num_timesteps'; it has T"),
        (GaussianDiffusion([0.1]), "q_sample", "'q_sample'; it has beta, T, abar(t)"),
    ],
)
def test_a_first_guess_at_an_attribute_is_answered(thing, name, said):
    with pytest.raises(AttributeError) as error:
        getattr(thing, name)
    assert said in str(error.value)


def test_a_law_over_more_leading_axes_repeats_itself():
    law = Gaussian([1.0, 2.0], 3.0).over((4, 2))
    assert law == Gaussian(np.tile([1.0, 2.0], (4, 1)), 3.0)
    draws = law.sample(rng=rng())
    assert len(np.unique(draws)) == 8


def test_reading_one_of_ours_gives_it_back_as_it_is():
    for law in (Gaussian([0.0], 1.0), Bernoulli([0.5])):
        assert type(law).like(law) is law
        assert law.over(law.shape) is law


def test_different_laws_and_diffusions_have_different_hashes():
    assert len({hash(Gaussian([float(i)], 1.0)) for i in range(5)}) == 5
    assert len({hash(GaussianDiffusion([0.1 * i])) for i in range(1, 6)}) == 5
    assert len({hash(BinomialDiffusion([0.1], 0.1 * i)) for i in range(1, 6)}) == 5


# Asking


def hostile(xt, t):
    """Writes into everything that it is given."""
    xt *= 0.8
    if isinstance(t, np.ndarray):
        t[:] = 1
    return SimpleNamespace(mean=xt, var=0.5)


@ASKS
def test_what_a_kernel_does_to_its_arguments_changes_nothing(ask):
    x, t = X.copy(), np.array([2, 3, 2])
    law = ask(Gaussian, hostile, "reverse", x, t)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(t, [2, 3, 2])
    np.testing.assert_array_equal(law.mean, 0.8 * X)


@ASKS
def test_one_time_is_handed_over_as_it_is(ask):
    seen = []
    ask(Gaussian, lambda xt, t: seen.append(t) or Gaussian(xt, 1.0), "reverse", X, 2)
    assert type(seen[0]) is int
    assert seen == [2]


@pytest.mark.parametrize("shape", [(2, 3, 2), (1, 3, 2), (2, 1, 2), (3, 2), (1, 2), (2,)])
@ASKS
def test_a_law_may_repeat_over_any_leading_axes(ask, shape):
    mean = rng().normal(size=shape)
    law = ask(Gaussian, lambda x: Gaussian(mean, 1.0), "edge", np.zeros((2, 3, 2)))
    assert law == Gaussian(np.broadcast_to(mean, (2, 3, 2)), 1.0)


@pytest.mark.parametrize("shape", [(3, 3, 2), (2, 2, 2), (2, 2), (2, 3, 1), (1, 2, 3, 2), (4, 2)])
@ASKS
def test_a_law_that_does_not_repeat_over_them_is_refused(ask, shape):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        ask(Gaussian, lambda x: Gaussian(np.zeros(shape), 1.0), "edge", np.zeros((2, 3, 2)))
    assert str(error.value) == (
        f"edge must return a law over the state's shape (2, 3, 2), got one over {shape}"
    )


@ASKS
def test_what_a_kernel_does_later_to_what_it_returned_changes_nothing(ask):
    kept = np.full(2, 0.25)
    for family, make in (
        (Gaussian, lambda x: SimpleNamespace(mean=kept, var=kept)),
        (Bernoulli, lambda x: SimpleNamespace(prob1=kept)),
    ):
        kept[:] = 0.25
        law = ask(family, make, "edge", X)
        kept[:] = 0.75
        np.testing.assert_array_equal(law.view(0), np.full((3, 2), 0.25))


@ASKS
def test_states_are_handed_over_writable_and_contiguous(ask):
    seen = []
    ask(
        Gaussian,
        lambda x: seen.append(x) or Gaussian(x, 1.0),
        "edge",
        np.broadcast_to(np.asfortranarray(X), (3, 2)),
    )
    assert seen[0].flags.writeable
    assert seen[0].flags.c_contiguous


@pytest.mark.parametrize(
    "form",
    [
        lambda v: np.asarray(v, np.float32),
        np.asfortranarray,
        lambda v: v.tolist(),
        lambda v: np.broadcast_to(v[0], v.shape),
        lambda v: v[0],
    ],
)
@ASKS
def test_what_a_kernel_returns_may_be_of_any_layout(ask, form):
    row = np.broadcast_to(X[0], X.shape)
    law = ask(Gaussian, lambda x: SimpleNamespace(mean=form(row), var=form(1 + 0 * row)), "edge", X)
    assert law == Gaussian(row, 1.0)


class Tensor:
    """What a tensor that needs no gradient looks like to NumPy."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


@ASKS
def test_what_a_kernel_returns_may_hold_tensors(ask):
    law = ask(Gaussian, lambda x: SimpleNamespace(mean=Tensor(x), var=Tensor(1.0)), "edge", X)
    assert law == Gaussian(X, 1.0)


REFUSED = [
    (
        lambda x: (x, 0.5),
        "a Gaussian law must have mean and var, got tuple; return Gaussian(mean, var)",
    ),
    (lambda x: x, "a Gaussian law must have mean and var, got ndarray"),
    (lambda x: None, "a Gaussian law must have mean and var, got NoneType"),
    (
        lambda x: SimpleNamespace(mean=x),
        "a Gaussian law must have mean and var, got SimpleNamespace",
    ),
    (lambda x: SimpleNamespace(mean=x, variance=1.0), "return Gaussian(mean, var)"),
    (lambda x: Bernoulli(0 * x), "a Gaussian law must have mean and var, got Bernoulli"),
    (lambda x: SimpleNamespace(mean=x, var=-1.0), "var must be positive and finite, got -1.0"),
    (lambda x: SimpleNamespace(mean=x * np.nan, var=1.0), "mean must be finite, got nan"),
    (lambda x: SimpleNamespace(mean=np.ma.masked_array(x), var=1.0), "mean must not be a masked"),
    (lambda x: Gaussian(np.zeros((4, 2)), 1.0), "got one over (4, 2)"),
    (lambda x: Gaussian(np.zeros((2, 3, 2)), 1.0), "got one over (2, 3, 2)"),
    (lambda x: Gaussian(np.zeros((3, 1)), 1.0), "got one over (3, 1)"),
    (lambda x: Gaussian([0.0], 1.0), "got one over (1,)"),
]


@pytest.mark.parametrize(("function", "said"), REFUSED)
@ASKS
def test_what_is_no_law_over_the_states_is_refused_with_what_is_wanted(ask, function, said):
    with pytest.raises(ValueError, match="edge must return a law over the state's shape") as error:
        ask(Gaussian, function, "edge", X)
    assert "(3, 2)" in str(error.value)
    assert said in str(error.value)


def test_a_kernel_of_bits_is_told_to_return_bits():
    with pytest.raises(
        ValueError, match=r"a Bernoulli law must have prob1, got Gaussian; return Bern"
    ):
        ask_law(Bernoulli, lambda x: Gaussian(x, 1.0), "edge", X)


@pytest.mark.parametrize("function", [None, 0.5, "kernel", np.zeros(3), Gaussian([0.0], 1.0)])
@ASKS
def test_what_cannot_be_called_is_refused_by_name(ask, function):
    with pytest.raises(TypeError, match="reverse must be a callable, got "):
        ask(Gaussian, function, "reverse", X, 2)


# Laws that bring their own density


class Own:
    """A law of the user's, with what it returns."""

    def __init__(self, log_prob=None, sample=None):
        self.answer, self.draw = log_prob, sample

    def log_prob(self, x):
        values = self.answer(x)
        x[:] = 7.0
        return values

    def sample(self, *, rng):
        return self.draw


def test_a_law_with_its_own_density_is_taken_at_its_word():
    states = X.copy()
    law = ask_density(Gaussian, lambda x: Own(lambda x: -x.sum(-1)), "edge", states)
    assert law.shape == (3, 2)
    np.testing.assert_array_equal(law.log_p(states), -X.sum(-1))
    np.testing.assert_array_equal(states, X)


def test_its_density_has_the_leading_axes_of_the_states():
    states = np.zeros((4, 3, 2))
    law = ask_density(Gaussian, lambda x: Own(lambda x: x.sum(-1)), "edge", states)
    assert law.log_p(states).shape == (4, 3)


def test_its_sample_draws_from_the_generator_that_it_is_given():
    own = SimpleNamespace(log_prob=None, sample=lambda *, rng: rng.random((3, 2)))
    law = ask_density(Gaussian, lambda x: own, "edge", X)
    np.testing.assert_array_equal(law.sample(rng=rng()), rng().random((3, 2)))


def test_its_mean_and_variance_are_not_looked_at():
    own = Own(lambda x: -x.sum(-1))
    own.mean, own.var = "none", -3.0
    law = ask_density(Gaussian, lambda x: own, "edge", X)
    np.testing.assert_array_equal(law.log_p(X), -X.sum(-1))


def test_a_subclass_of_ours_with_its_own_density_is_taken_at_its_word():
    class Flat(Gaussian):
        def log_prob(self, x):
            return np.zeros(len(x))

    law = ask_density(Gaussian, lambda x: Flat(x, 1.0), "edge", X)
    np.testing.assert_array_equal(law.log_p(X), np.zeros(3))


def test_its_answers_are_copied():
    kept = np.zeros(3)
    law = ask_density(Gaussian, lambda x: Own(lambda x: kept), "edge", X)
    values = law.log_p(X)
    kept[:] = 5.0
    np.testing.assert_array_equal(values, np.zeros(3))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((3, 2)), "must have shape (3,) for states of shape (3, 2), got shape (3, 2)"),
        (np.zeros(1), "must have shape (3,)"),
        (0.0, "must have shape (3,)"),
        ([0.0, np.nan, 0.0], "must be real or -inf, got nan"),
        ([0.0, np.inf, 0.0], "real or -inf"),
        ([1j, 0, 0], "real numbers"),
        (["a"] * 3, "real numbers"),
        (None, "real numbers"),
    ],
)
def test_a_density_that_is_none_is_refused(values, said):
    law = ask_density(Gaussian, lambda x: Own(lambda x: values), "reverse", X)
    with pytest.raises(ValueError, match="reverse's log_prob") as error:
        law.log_p(X)
    assert said in str(error.value)


def test_minus_infinity_is_a_log_density():
    law = ask_density(Gaussian, lambda x: Own(lambda x: np.full(3, -np.inf)), "reverse", X)
    assert law.log_p(X).tolist() == [-np.inf] * 3


def test_its_samples_are_copied_and_checked():
    kept = X.copy()
    law = ask_density(Gaussian, lambda x: Own(sample=kept), "reverse", X)
    draw = law.sample(rng=rng())
    kept[:] = np.nan
    np.testing.assert_array_equal(draw, X)
    with pytest.raises(ValueError, match="reverse's sample must be finite, got nan"):
        law.sample(rng=rng())
    with pytest.raises(ValueError, match=r"reverse's sample must have shape \(3, 2\)"):
        ask_density(Gaussian, lambda x: Own(sample=[0.0]), "reverse", X).sample(rng=rng())


def test_a_density_that_is_no_function_is_named():
    law = ask_density(Gaussian, lambda x: SimpleNamespace(log_prob=3), "edge", X)
    with pytest.raises(TypeError, match="edge's log_prob must be a callable, got 3"):
        law.log_p(X)


def test_a_law_without_samples_says_so_when_they_are_needed():
    own = SimpleNamespace(log_prob=lambda x: x.sum(-1))
    law = ask_density(Gaussian, lambda x: own, "reverse", X)
    with pytest.raises(TypeError, match="reverse's sample must be a callable, got None"):
        law.sample(rng=rng())


# Diffusions and kernels


@pytest.mark.parametrize(
    "other",
    [
        None,
        0.5,
        "gaussian",
        GaussianDiffusion,
        dpm_ref.schedules.Schedule([0.1]),
        Gaussian([0.0], 1.0),
    ],
)
def test_what_is_no_diffusion_is_refused_by_name(other):
    with pytest.raises(
        TypeError, match="diffusion must be a GaussianDiffusion or BinomialDiffusion"
    ):
        checked_diffusion(other)


@pytest.mark.parametrize("diffusion", [GaussianDiffusion([0.1]), BinomialDiffusion([0.1])])
def test_a_diffusion_is_let_through_and_its_kernel_takes_times(diffusion):
    assert checked_diffusion(diffusion) is diffusion
    assert diffusion.kernel.takes_times is True
    assert not hasattr(diffusion.posterior, "takes_times")


def test_a_users_kernel_can_be_marked():
    assert takes_times(lambda xt, t: None).takes_times is True


# The sum over components


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": lambda a: np.stack([a, a], -1)[..., 0],
    "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "padded": lambda a: np.concatenate([a, a], -1)[..., : a.shape[-1]],
}


@pytest.mark.parametrize("d", [1, 2, 3, 8, 9, 17, 128, 129, 1000, 10_000])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sum_has_the_same_bits_for_any_layout_and_batch(d, layout):
    terms = rng().normal(size=(3, d)) * 10.0 ** rng().integers(-8, 8, (3, d))
    alone = [total(row) for row in terms]
    np.testing.assert_array_equal(total(LAYOUTS[layout](terms)), alone)
    np.testing.assert_array_equal(total(LAYOUTS[layout](terms[1:2])), alone[1:2])
    np.testing.assert_array_equal(
        total(LAYOUTS[layout](np.broadcast_to(terms, (2, 3, d)))), [alone] * 2
    )


@pytest.mark.parametrize("d", [1, 5, 8, 9, 1000, 1_000_000])
def test_a_sum_of_positive_terms_is_right_to_an_ulp_or_so(d):
    import math

    terms = rng().random((2, d))
    for got, row in zip(total(np.asfortranarray(terms)), terms, strict=True):
        truth = math.fsum(row)
        assert abs(got - truth) <= 2 * math.ulp(truth)


def test_a_sum_leaves_its_terms_alone():
    terms = rng().random((3, 5))
    before = terms.copy()
    total(terms)
    np.testing.assert_array_equal(terms, before)


def test_every_name_of_the_module_exists():
    assert all(hasattr(protocols, name) for name in protocols.__all__)


@pytest.mark.parametrize("edge", [None, lambda x1: Gaussian(x1, 5.0)])
def test_a_step_is_the_kernel_s_but_for_the_last_which_is_the_edge_s(edge):
    diffusion = GaussianDiffusion([0.25, 0.5, 0.75])

    def reverse(xt, t):
        return Gaussian(xt / t, 1.0)

    for t in (3, 2):
        assert ask_step(diffusion, reverse, edge, X, t) == Gaussian(X / t, 1.0)
    last = Gaussian(np.sqrt(0.75) * X, 0.25) if edge is None else edge(X)
    assert ask_step(diffusion, reverse, edge, X, 1) == last
    with pytest.raises(TypeError, match="reverse must be a callable, got 3"):
        ask_step(diffusion, 3, edge, X, 2)
    with pytest.raises(TypeError, match="edge must be a callable, got 3"):
        ask_step(diffusion, reverse, 3, X, 1)

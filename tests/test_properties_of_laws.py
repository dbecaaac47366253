"""Properties that hold for every input, looked for by hypothesis. Warnings are errors throughout
the suite.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dpm_ref import Bernoulli, BinomialDiffusion, Gaussian, GaussianDiffusion, bounds

reals = st.floats(-1e6, 1e6)
variances = st.floats(1e-12, 1e12)
probabilities = st.floats(0, 1)
rates = st.one_of(st.just(1.0), st.floats(1e-12, 1.0))
priors = st.floats(1e-12, 1 - 1e-12)


@st.composite
def arrays(draw, elements, shape=None):
    shape = shape or draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    array = draw(hnp.arrays(np.float64, shape, elements=elements))
    array.flags.writeable = False
    return array


@st.composite
def batches(draw, *elements):
    """Arrays of one shape (n, d), one for each kind of element."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return [draw(arrays(e, shape)) for e in elements]


@st.composite
def diffusions(draw):
    """A diffusion, data (n, d) for it, and a time in 2..T."""
    beta = draw(st.lists(rates, min_size=2, max_size=6))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    if draw(st.booleans()):
        diffusion, x = GaussianDiffusion(beta), st.floats(-10, 10)
    else:
        prior = draw(st.one_of(priors, st.lists(priors, min_size=shape[1], max_size=shape[1])))
        diffusion, x = BinomialDiffusion(beta, prior), st.sampled_from([0.0, 1.0])
    return (
        diffusion,
        draw(arrays(x, shape)),
        draw(arrays(x, shape)),
        draw(st.integers(2, len(beta))),
    )


def parameters(law):
    return (law.mean, law.var) if isinstance(law, Gaussian) else (law.prob1, law.prob0)


def laws_of(diffusion, x0, xt, t):
    return [
        diffusion.kernel(xt, t),
        diffusion.marginal(x0, t),
        diffusion.posterior(x0, xt, t),
        diffusion.edge(xt),
    ]


def same(left, right):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)


# Divergences


@given(batches(reals, variances, reals, variances))
def test_gaussian_kl_is_never_negative(laws):
    assert (bounds.gaussian_kl(*laws) >= 0).all()


@given(reals, variances, reals, variances)
def test_gaussian_kl_is_zero_only_at_equality(mean_q, var_q, mean_p, var_p):
    """The squared relative difference of the nearest unequal numbers is far above underflow, but
    for means within 1e-150 of each other.
    """
    if abs(mean_q - mean_p) > 1e-150 or mean_q == mean_p:
        assert (bounds.gaussian_kl(mean_q, var_q, mean_p, var_p) == 0) == (
            (mean_q, var_q) == (mean_p, var_p)
        )


@given(batches(reals, variances))
def test_gaussian_kl_of_a_law_to_itself_is_zero(law):
    np.testing.assert_array_equal(bounds.gaussian_kl(*law, *law), 0.0)


@given(batches(probabilities, probabilities))
def test_bernoulli_kl_is_never_negative(laws):
    assert (bounds.bernoulli_kl(*laws) >= 0).all()


@given(st.floats(1e-200, 1), st.floats(1e-200, 1))
def test_bernoulli_kl_is_zero_only_at_equality(q, p):
    assert (bounds.bernoulli_kl(q, p) == 0) == (q == p)


@given(batches(probabilities))
def test_bernoulli_kl_of_a_law_to_itself_is_zero(law):
    np.testing.assert_array_equal(bounds.bernoulli_kl(*law, *law), 0.0)


@given(batches(probabilities))
def test_bernoulli_entropy_lies_between_zero_and_log_two(law):
    entropy = bounds.bernoulli_entropy(*law)
    assert ((entropy >= 0) & (entropy <= np.log(2.0))).all()


@given(batches(probabilities))
def test_bernoulli_entropy_does_not_see_which_state_is_called_one(law):
    p1 = law[0]
    np.testing.assert_array_equal(
        bounds.bernoulli_entropy(p1, 1 - p1), bounds.bernoulli_entropy(1 - p1, p1)
    )


@given(arrays(variances), arrays(variances))
def test_gaussian_entropy_difference_is_antisymmetric(a, b):
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return
    np.testing.assert_allclose(
        bounds.gaussian_entropy_difference(a, b),
        -bounds.gaussian_entropy_difference(b, a),
        rtol=8 * 2.0**-52,
    )


# Shapes


@given(batches(reals, variances, reals, variances))
def test_gaussian_kl_broadcasts_like_numpy(laws):
    mq, vq, mp, vp = laws
    got = bounds.gaussian_kl(mq[:, None], vq[:, None], mp[None], vp[None])
    for i, j in np.ndindex(got.shape[:2]):
        np.testing.assert_array_equal(got[i, j], bounds.gaussian_kl(mq[i], vq[i], mp[j], vp[j]))


@given(batches(probabilities, probabilities))
def test_bernoulli_kl_broadcasts_like_numpy(laws):
    q, p = laws
    got = bounds.bernoulli_kl(q[:, None], p[None])
    for i, j in np.ndindex(got.shape[:2]):
        np.testing.assert_array_equal(got[i, j], bounds.bernoulli_kl(q[i], p[j]))


@given(diffusions())
def test_laws_of_a_batch_are_the_laws_of_its_vectors(case):
    diffusion, x0, xt, t = case
    for i in range(len(x0)):
        for batch, alone in zip(
            laws_of(diffusion, x0, xt, t), laws_of(diffusion, x0[i], xt[i], t), strict=True
        ):
            same([p[i] for p in parameters(batch)], parameters(alone))


@given(diffusions())
def test_laws_at_an_array_of_times_are_the_laws_at_each(case):
    diffusion, x0, xt, t = case
    times = np.array([[t], [2]])
    for i, s in enumerate((t, 2)):
        same(
            [
                np.broadcast_to(p, (2, *x0.shape))[i]
                for p in parameters(diffusion.posterior(x0, xt, times))
            ],
            parameters(diffusion.posterior(x0, xt, s)),
        )


@given(diffusions(), st.randoms(use_true_random=False))
def test_components_may_be_permuted(case, random):
    diffusion, x0, xt, t = case
    order = list(range(x0.shape[-1]))
    random.shuffle(order)
    other = diffusion
    if isinstance(diffusion, BinomialDiffusion) and diffusion.pi1.ndim:
        other = BinomialDiffusion(diffusion.beta, diffusion.pi1[order])
    for law, permuted in zip(
        laws_of(diffusion, x0, xt, t), laws_of(other, x0[:, order], xt[:, order], t), strict=True
    ):
        same([p[:, order] for p in parameters(law)], parameters(permuted))


@given(diffusions(), st.randoms(use_true_random=False))
def test_sums_over_components_do_not_see_their_order(case, random):
    diffusion, x0, xt, t = case
    order = list(range(x0.shape[-1]))
    random.shuffle(order)
    law = diffusion.posterior(x0, xt, t)
    other = type(law)(*(p[:, order] for p in parameters(law)))
    for left, right in (
        (law.entropy(), other.entropy()),
        (law.log_prob(x0), other.log_prob(x0[:, order])),
    ):
        np.testing.assert_allclose(
            left, right, rtol=1e-12, atol=1e-12
        )  # the order of at most four terms of either sign


@given(diffusions())
def test_sums_of_a_batch_are_the_sums_of_its_vectors(case):
    diffusion, x0, xt, t = case
    law, prior = diffusion.posterior(x0, xt, t), diffusion.prior(x0.shape[-1])
    for i in range(len(x0)):
        alone = diffusion.posterior(x0[i], xt[i], t)
        same(
            [law.entropy()[i], law.log_prob(x0)[i], law.kl(prior)[i]],
            [alone.entropy(), alone.log_prob(x0[i]), alone.kl(prior)],
        )


@given(diffusions())
def test_splitting_the_data_changes_no_fixed_term_of_the_bound(case):
    """With p = pi the divergences do not depend on the noise of other vectors; K of a batch of one
    step is exact.
    """
    diffusion, x0, _, _ = case
    short = type(diffusion)(
        diffusion.beta[:1], *([diffusion.pi1] if isinstance(diffusion, BinomialDiffusion) else [])
    )
    whole = bounds.lower_bound(short, short.kernel, x0, rng=np.random.default_rng(0)).value
    parts = [
        bounds.lower_bound(short, short.kernel, x, rng=np.random.default_rng(1)).value for x in x0
    ]
    np.testing.assert_array_equal(whole, parts)


@given(diffusions())
def test_samples_of_a_law_are_the_samples_of_its_vectors_at_the_same_noise(case):
    diffusion, x0, xt, t = case
    law = diffusion.posterior(x0, xt, t)
    noise = law.noise(law.shape, rng=np.random.default_rng(2))
    for i in range(len(x0)):
        np.testing.assert_array_equal(
            law.at(noise)[i], diffusion.posterior(x0[i], xt[i], t).at(noise[i])
        )


# Laws


@given(diffusions())
def test_pairs_sum_to_one_and_variances_are_positive(case):
    for law in laws_of(*case):
        first, second = parameters(law)
        assert (
            (second > 0).all()
            if isinstance(law, Gaussian)
            else (np.abs(first + second - 1) <= 2.0**-52).all()
        )


@given(diffusions())
def test_posterior_variance_is_below_the_kernel_s(case):
    diffusion, x0, xt, t = case
    if isinstance(diffusion, GaussianDiffusion):
        assert (diffusion.posterior(x0, xt, t).var <= diffusion.beta[t - 1]).all()


@given(diffusions())
def test_divergence_to_the_prior_falls_along_the_chain(case):
    """The data-processing inequality, with room for rounding."""
    diffusion, x0, _, t = case
    prior = diffusion.prior(x0.shape[-1])
    before, after = (diffusion.marginal(x0, s).kl(prior) for s in (t - 1, t))
    assert (after <= before * (1 + 1e-13) + 1e-300).all()


@given(diffusions())
def test_lower_side_of_the_entropy_bounds_is_below_the_upper(case):
    diffusion, x0, _, t = case
    got = bounds.reverse_entropy_bounds(diffusion, x0, t)
    if got.upper_holds:
        assert got.lower <= got.upper + 1e-12 * (
            1 + abs(got.upper)
        )  # rounding of sums of entropies


@given(diffusions())
def test_inputs_are_never_written(case):
    """The arrays drawn are read-only, so that writing would raise; their bytes are compared all the
    same.
    """
    diffusion, x0, xt, t = case
    copies = x0.copy(), xt.copy(), diffusion.beta.copy()
    laws_of(diffusion, x0, xt, t)
    bounds.lower_bound(diffusion, diffusion.kernel, x0, rng=np.random.default_rng(3), n_samples=2)
    bounds.null_log_likelihood(diffusion, x0)
    bounds.reverse_entropy_bounds(diffusion, x0, t)
    same((x0, xt, diffusion.beta), copies)


@given(batches(probabilities))
def test_a_law_of_bits_takes_every_probability_without_a_warning(law):
    coin = Bernoulli(law[0])
    coin.entropy(), coin.kl(Bernoulli(1 - law[0]))
    for x in (np.zeros_like(law[0]), np.ones_like(law[0])):
        coin.log_prob(x)


@given(batches(st.floats(-1e300, 1e300), st.floats(1e-300, 1e300), st.floats(-1e300, 1e300)))
def test_a_gaussian_law_takes_every_finite_number_without_a_warning(case):
    mean, var, x = case
    law = Gaussian(mean, var)
    law.log_prob(x), law.entropy(), law.kl(Gaussian(x, 1.0))


@pytest.mark.parametrize("T", [1, 2, 5])
def test_bound_has_one_divergence_for_each_time_from_two_on(T):
    diffusion = GaussianDiffusion(np.full(T, 0.1))
    assert bounds.lower_bound(
        diffusion, diffusion.kernel, np.zeros((3, 2)), rng=np.random.default_rng(4)
    ).kl.shape == (T - 1, 3)

"""The vectors are true, say what they are, and can be used: by the package, by a program in another
language, and by a reader.

`tests/vectors/generate.py` makes them, `tests/vectors/lint.py` checks what they say of themselves;
here the package is held against every one, and each of the three guards is tried on vectors that
were tampered with.
"""

import functools
import importlib
import importlib.util
import itertools
import json
import math
import random
import re
import shutil
import subprocess
from pathlib import Path

import generate
import lint
import mpmath_oracle as oracle
import numpy as np
import pytest
from truths.functions import Retired
from truths.mistakes import Mistake

from dpm_ref import (
    Bernoulli,
    BinomialDiffusion,
    Gaussian,
    GaussianDiffusion,
    bounds,
    exact,
    information,
    likelihood,
    schedules,
)

FOLDER = Path(__file__).parent / "vectors"
ROOT = FOLDER.parent.parent
NAMES = [function.name for function in generate.FUNCTIONS]
NODE = shutil.which("node")
NEEDS_NODE = pytest.mark.skipif(NODE is None, reason="node is not here")
PRODUCTS = (
    "perturbed_bernoulli",
    "perturbed_gaussian",
    "perturbed_gaussian_first_order",
    "tempered_factor",
)


def vectors(name, folder=FOLDER):
    """The vectors of a function, without the header."""
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()[1:]]


def parametrized(result):
    """The functions with vectors of this result; those of section 2.5 are skipped where the package
    does not have it.
    """
    absent = importlib.util.find_spec("dpm_ref.posteriors") is None
    marks = {
        name: pytest.mark.skipif(
            absent and name in PRODUCTS, reason="the package has no posteriors"
        )
        for name in NAMES
    }
    return [
        pytest.param(name, id=name, marks=marks[name])
        for name in NAMES
        if any(vector["result"] == result for vector in vectors(name))
    ]


# The package, under the names of the files: inputs of a vector in, its outputs out


def gaussian_law(law):
    return {"mean": law.mean.tolist(), "var": float(law.var[0])}


def bernoulli_law(law):
    return {"prob1": law.prob1.tolist(), "prob0": law.prob0.tolist()}


def gaussian(x):
    return GaussianDiffusion(x["beta"])


def binomial(x):
    return BinomialDiffusion(x["beta"], x["prior"])


def entropy_bounds(diffusion, x):
    return bounds.reverse_entropy_bounds(diffusion, x["x0"], x["t"])._asdict()


def linear_model(x, d):
    """The model of slopes, shifts and variances; a null becomes a nan, which is to be refused."""
    slope, var = (np.array(x[name], dtype=float) for name in ("slope", "var"))
    kernels = [
        (a * np.eye(d), b, v * np.eye(d)) for a, b, v in zip(slope, x["shift"], var, strict=True)
    ]
    return exact.LinearModel(gaussian(x), kernels, d=d)


def linear_lower_bound(x):
    model = linear_model(x, len(x["shift"][0]) if x["shift"] else len(x["x0"][0]))
    K = bounds.lower_bound(
        model.diffusion,
        model.reverse,
        np.asarray(model.diffusion.check_data("x0", x["x0"])),
        rng=oracle.Scripted(),
        n_samples=2,
    )
    return {"K": K.value.tolist(), "eq14": K.eq14}


def linear_log_likelihood(x):
    model = linear_model(x, len(x["shift"][0]) if x["shift"] else len(x["x0"][0]))
    return {"log_likelihood": model.log_likelihood(x["x0"]).tolist()}


def linear_log_weight(x):
    model = linear_model(x, len(x["shift"][0]) if x["shift"] else len(x["trajectory"][0]))
    return {
        "log_weight": float(likelihood.log_weights(model.diffusion, model.reverse, x["trajectory"]))
    }


def state_numbers(states):
    return (np.asarray(states, dtype=int) @ 2 ** np.arange(np.shape(states)[-1])[::-1]).astype(int)


def table_kernel(x):
    laws = [
        Bernoulli(np.array(rows, dtype=float)) for rows in x["table"]
    ]  # of every state, those that are never met too
    return lambda xt, t: Bernoulli(laws[t - 2].prob1[state_numbers(xt)])


def table_model(x):
    return exact.BinaryModel(binomial(x), len(x["prior"]), table_kernel(x))


def rows_of(diffusion, x0):
    """The data, read by the package, as numbers of states."""
    return state_numbers(diffusion.check_data("x0", x0))


def table_lower_bound(x):
    model = table_model(x)
    rows = rows_of(model.diffusion, x["x0"])
    data = exact.BinaryData(
        model.diffusion, np.bincount(rows, minlength=2 ** len(x["prior"])) / len(rows)
    )
    return {"K": model.lower_bound()[rows].tolist(), "eq14": model.averages(data).eq14}


def table_log_likelihood(x):
    model = table_model(x)
    rows = rows_of(model.diffusion, x["x0"])
    data = exact.BinaryData(
        model.diffusion, np.bincount(rows, minlength=2 ** len(x["prior"])) / len(rows)
    )
    return {
        "log_likelihood": model.log_likelihood()[rows].tolist(),
        "L": model.averages(data).log_likelihood,
    }


def perturbed_kernel(x):
    """(21) from the package's enumerated model."""
    model, (r, r_next) = table_model(x), (np.array(x[name]) for name in ("r", "r_next"))
    z, z_next = model.marginal(x["t"]) @ r, model.marginal(x["t"] + 1) @ r_next
    return {
        "kernel": (model.reverse_matrix(x["t"] + 1) * z_next * r / (z * r_next[:, None])).tolist()
    }


def log_weight_of_bits(x):
    return {
        "log_weight": float(likelihood.log_weights(binomial(x), table_kernel(x), x["trajectory"]))
    }


def schedule_at_t(make):
    def beta(x):
        options = {name: value for name, value in x.items() if name not in ("T", "t")}
        diffusion = GaussianDiffusion(make(x["T"], **options))
        return {"beta": float(diffusion.kernel([0.0], x["t"]).var[0])}

    return beta


def product(name):
    def multiply(x):
        posteriors = importlib.import_module("dpm_ref.posteriors")
        if name == "perturbed_bernoulli":
            return {
                key: value[0]
                for key, value in bernoulli_law(
                    posteriors.BernoulliFactor([x["r1"]], [x["r0"]])
                    .multiply(Bernoulli([x["c1"]], [x["c0"]]))
                    .law
                ).items()
            }
        if name == "perturbed_gaussian":
            law = (
                posteriors.GaussianFactor([x["r_mean"]], [x["r_var"]])
                .multiply(Gaussian([x["mean"]], [x["var"]]))
                .law
            )
            return {"mean": float(law.mean[0]), "var": float(law.var[0])}
        if name == "tempered_factor":
            r = posteriors.BernoulliFactor([x["r"]], [1.0])
            return {"r_t": float(np.exp(posteriors.tempered(r, x["T"])(x["t"]).log_r([1.0])))}
        slope = np.array([x["grad_log_r"]], dtype=float)
        law = (
            posteriors.LogFactor(
                lambda v: np.zeros(v.shape[:-1]), lambda v: np.broadcast_to(slope, v.shape)
            )
            .multiply(Gaussian([x["mean"]], [x["var"]]))
            .law
        )
        return {"mean": float(law.mean[0])}

    return multiply


PACKAGE = {
    "gaussian_kl": lambda x: {"kl": float(bounds.gaussian_kl(**x))},
    "gaussian_entropy": lambda x: {"entropy": float(bounds.gaussian_entropy(**x))},
    "bernoulli_kl": lambda x: {"kl": float(bounds.bernoulli_kl(**x))},
    "bernoulli_entropy": lambda x: {"entropy": float(bounds.bernoulli_entropy(**x))},
    "log_mean_exp": lambda x: {"log_mean": float(information.log_mean_exp(x["values"]))},
    "log_abar": lambda x: {"log_abar": float(gaussian(x).log_abar(x["t"]))},
    "one_minus_abar": lambda x: {"one_minus_abar": float(gaussian(x).one_minus_abar(x["t"]))},
    "schedule_linear": schedule_at_t(schedules.linear),
    "schedule_cosine": schedule_at_t(schedules.cosine),
    "schedule_log_snr_linear": schedule_at_t(schedules.log_snr_linear),
    "schedule_constant_erasure": schedule_at_t(schedules.constant_erasure),
    "gaussian_kernel": lambda x: gaussian_law(gaussian(x).kernel(x["x_prev"], x["t"])),
    "gaussian_marginal": lambda x: gaussian_law(gaussian(x).marginal(x["x0"], x["t"])),
    "gaussian_posterior": lambda x: gaussian_law(gaussian(x).posterior(x["x0"], x["xt"], x["t"])),
    "gaussian_edge": lambda x: gaussian_law(gaussian(x).edge(x["x1"])),
    "gaussian_null_log_likelihood": lambda x: {
        "log_prior": float(bounds.null_log_likelihood(GaussianDiffusion([0.5]), x["x0"]))
    },
    "gaussian_reverse_entropy_bounds": lambda x: entropy_bounds(gaussian(x), x),
    "binomial_kernel": lambda x: bernoulli_law(binomial(x).kernel(x["x_prev"], x["t"])),
    "binomial_marginal": lambda x: bernoulli_law(binomial(x).marginal(x["x0"], x["t"])),
    "binomial_posterior": lambda x: bernoulli_law(binomial(x).posterior(x["x0"], x["xt"], x["t"])),
    "binomial_edge": lambda x: bernoulli_law(binomial(x).edge(x["x1"])),
    "binomial_null_log_likelihood": lambda x: {
        "log_prior": float(
            bounds.null_log_likelihood(BinomialDiffusion([0.5], x["prior"]), x["x0"])
        )
    },
    "binomial_reverse_entropy_bounds": lambda x: entropy_bounds(binomial(x), x),
    "gaussian_lower_bound": linear_lower_bound,
    "gaussian_log_likelihood": linear_log_likelihood,
    "gaussian_log_weight": linear_log_weight,
    "binomial_lower_bound": table_lower_bound,
    "binomial_log_likelihood": table_log_likelihood,
    "binomial_log_weight": log_weight_of_bits,
    "perturbed_kernel": perturbed_kernel,
    **{name: product(name) for name in PRODUCTS},
}


def bound_of_pieces(x):
    """K of bits as `bounds` has it: the fixed terms, less each divergence averaged over the states
    of x^t.
    """
    diffusion, reverse = binomial(x), table_kernel(x)
    x0, states = np.array(x["x0"], dtype=float), exact.binary_states(len(x["prior"]))
    K = bounds.fixed_terms(diffusion, x0)
    for t in range(2, diffusion.T + 1):
        for i, row in enumerate(x0):
            weights = np.exp(
                [float(diffusion.marginal(row, t).log_prob(state)) for state in states]
            )
            K[i] -= weights @ diffusion.posterior(np.broadcast_to(row, states.shape), states, t).kl(
                reverse(states, t)
            )
    return {"K": K.tolist()}


OTHER_ROADS = {
    "gaussian_lower_bound": lambda x: {
        "K": linear_model(x, len(x["x0"][0])).lower_bound(x["x0"]).tolist()
    },
    "binomial_lower_bound": bound_of_pieces,
}


def misses(got, vector):
    """The outputs that lie beyond the tolerance, and by how many tolerances the worst of them is
    off.
    """
    worst = 0.0
    for name, value in got.items():
        for a, b, allowed in zip(
            lint.leaves(value),
            lint.leaves(vector["output"][name]),
            lint.leaves(vector["tolerance"][name]),
            strict=True,
        ):
            gap = 0.0 if float(a) == float(b) else abs(float(a) - float(b))
            worst = max(worst, 0.0 if gap == 0 else gap / allowed if allowed else math.inf)
    return worst


def test_every_file_has_a_function_of_the_package_and_every_function_a_file():
    assert sorted(PACKAGE) == sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("name", parametrized("valid"))
def test_the_package_passes_every_valid_vector(name):
    for vector in vectors(name):
        if vector["result"] == "valid":
            got = PACKAGE[name](vector["input"])
            assert set(got) == set(vector["output"])
            assert misses(got, vector) <= 0.1, (
                vector
            )  # the tolerance leaves room for other people's code


@pytest.mark.parametrize("name", parametrized("invalid"))
def test_the_package_refuses_every_invalid_vector(name):
    for vector in vectors(name):
        if vector["result"] == "invalid":
            with pytest.raises(ValueError, match=r"must|shapes"):
                PACKAGE[name](vector["input"])


@pytest.mark.parametrize("name", OTHER_ROADS)
def test_the_package_arrives_at_the_bound_by_another_road(name):
    for vector in vectors(name):
        if vector["result"] == "valid":
            assert misses(OTHER_ROADS[name](vector["input"]), vector) <= 1.0, vector


@pytest.mark.parametrize("name", NAMES)
def test_the_code_named_in_the_header_exists(name):
    path = json.loads((FOLDER / f"{name}.jsonl").read_text().splitlines()[0])["dpm_ref"].split(".")[
        1:
    ]
    if path[0] == "posteriors" and importlib.util.find_spec("dpm_ref.posteriors") is None:
        pytest.skip("the package has no posteriors")
    found = importlib.import_module("dpm_ref")
    for part in path:
        found = getattr(found, part)


# The vectors themselves


def test_the_lint_has_nothing_to_complain_of():
    assert lint.lint() == []


def test_there_are_about_sixty_vectors_of_every_function_and_one_to_run_first():
    for name in NAMES:
        assert 50 <= len(vectors(name)) <= 80, name
    assert 20 <= sum("smoke" in vector["flags"] for name in NAMES for vector in vectors(name)) <= 35


@pytest.fixture(scope="module")
def generated():
    """Every file as the generator makes it now."""
    return {function.name: generate.text(function) for function in generate.FUNCTIONS}


def test_regeneration_gives_the_same_bytes(generated):
    assert [
        name
        for name in NAMES
        if generated[name].encode() != (FOLDER / f"{name}.jsonl").read_bytes()
    ] == []


# The truths by another derivation, in mpmath at 700 digits: 1 - 1e-300 fits


mp, exact_number = oracle.mp, oracle.exact


def pair(x, name):
    """(P(1), P(0)) of a pair whose smaller member is exact."""
    one, zero = map(exact_number, (x[name + "1"], x[name + "0"]))
    return (one, 1 - one) if one <= zero else (1 - zero, zero)


def relative_entropy(q, p=(1, 1)):
    """sum q log(q/p), as it is printed."""
    return sum(a * (mp.log(a / b) if b else mp.inf) for a, b in zip(q, p, strict=True) if a)


def log_abar(x):
    """A sum, where the truth takes a product."""
    return mp.fsum(mp.log1p(-exact_number(rate)) for rate in x["beta"][: x["t"]])


def kl_by_cross_entropy(x):
    mean_q, var_q, mean_p, var_p = map(exact_number, x.values())
    cross = var_q / var_p / 2 - oracle.gaussian_log_prob(mean_q, mean_p, var_p)
    return {"kl": cross - oracle.gaussian_entropy(var_q)}


def posterior_by_precisions(x):
    """Two Gaussians in x^{t-1} multiplied: the marginal, and the kernel as a likelihood."""
    q, rate = oracle.Tables(x["beta"]), exact_number(x["beta"][x["t"] - 1])
    before, now = 1 / q.one_minus_abar(x["t"] - 1), (1 - rate) / rate
    x0 = [q.sqrt_abar(x["t"] - 1) * exact_number(v) for v in x["x0"]]
    xt = [mp.sqrt(1 - rate) / rate * exact_number(v) for v in x["xt"]]
    mean = [(before * a + b) / (before + now) for a, b in zip(x0, xt, strict=True)]
    return {"mean": mean, "var": 1 / (before + now)}


def posterior_by_steps(x):
    """The joint law of x^{t-1} and x^t by steps of the kernel, over the marginal of x^t."""
    prob1, t = [], x["t"]
    for a, b, prior in zip(x["x0"], x["xt"], x["prior"], strict=True):
        chain = oracle.BinaryChain({(a,): 1.0}, x["beta"][:t], [prior])
        prob1.append(chain.at(t - 1)[1,] * chain.step((1,), (b,), t) / chain.at(t)[b,])
    return {"prob1": prob1, "prob0": [1 - p for p in prob1]}


def linear_kernels(x, i):
    """(slope, shift, var) of t = 1..T, one component."""
    rate = exact_number(x["beta"][0])
    shifts = [shift[i] for shift in x["shift"]]
    rest = zip(x["slope"], shifts, x["var"], strict=True)
    return [(mp.sqrt(1 - rate), mp.mpf(0), rate), *(tuple(map(exact_number, k)) for k in rest)]


def linear_K_by_moments(x):
    """E log p(x^{0..T}) - E log q(x^{1..T}|x^0) from the moments of x^{t-1} and x^t, without a
    posterior.
    """
    q, T = oracle.Tables(x["beta"]), len(x["beta"])

    def K(x0, kernels):
        total = -(mp.log(2 * mp.pi) + q.abar(T) * x0**2 + q.one_minus_abar(T)) / 2
        for t, (slope, shift, var) in enumerate(kernels, start=1):
            mean = (q.sqrt_abar(t - 1) - slope * q.sqrt_abar(t)) * x0 - shift
            both = q.one_minus_abar(t - 1), q.one_minus_abar(t)
            noise = both[0] * (1 - 2 * slope * mp.sqrt(1 - q.beta[t])) + slope**2 * both[1]
            total += (mp.log(q.beta[t] / var) + 1 - (mean**2 + noise) / var) / 2
        return total

    kernels = [linear_kernels(x, i) for i in range(len(x["x0"][0]))]
    return {"K": [sum(map(K, map(exact_number, row), kernels)) for row in x["x0"]]}


def linear_likelihood_from_x0(x):
    """Mean and variance of x^0 summed from the edge to pi, where the truth goes from pi to the
    edge.
    """

    def log_prob(x0, kernels):
        gain, mean, var = mp.mpf(1), mp.mpf(0), mp.mpf(0)
        for slope, shift, noise in kernels:
            mean, var, gain = mean + gain * shift, var + gain**2 * noise, gain * slope
        return oracle.gaussian_log_prob(x0, mean, var + gain**2)

    kernels = [linear_kernels(x, i) for i in range(len(x["x0"][0]))]
    return {"log_likelihood": [sum(map(log_prob, row, kernels)) for row in x["x0"]]}


def all_trajectories(x):
    """K and log p(x^0) as sums over all trajectories, where there are few."""
    T, d = len(x["beta"]), len(x["prior"])
    if d * T > 5:
        return {}
    chain = oracle.BinaryChain({}, x["beta"], x["prior"])

    def kernel(before, after, t):
        laws = x["table"][t - 2][int(state_numbers(after))]
        return oracle.vector_prob(before, [oracle.bit(p)[:2] for p in laws])

    kernels = {t: functools.partial(kernel, t=t) for t in range(2, T + 1)}
    edged, likelihoods = chain.with_edge(kernels, None), []
    for x0 in x["x0"]:
        paths = [(tuple(x0), *path) for path in itertools.product(chain.states, repeat=T)]
        steps = [
            mp.fprod(edged[t](path[t - 1], path[t]) for t in edged) * chain.pi(path[-1])
            for path in paths
        ]
        likelihoods.append(mp.log(sum(steps)))
    K = [chain.bound(tuple(x0), kernels) for x0 in x["x0"]]
    return {"K": K, "log_likelihood": likelihoods}


DERIVATIONS = {
    "gaussian_kl": kl_by_cross_entropy,
    "gaussian_entropy": lambda x: {
        "entropy": mp.mpf(1) / 2 - oracle.gaussian_log_prob(0, 0, x["var"])
    },
    "bernoulli_kl": lambda x: {"kl": relative_entropy(pair(x, "q"), pair(x, "p"))},
    "bernoulli_entropy": lambda x: {"entropy": -relative_entropy(pair(x, "p"))},
    "log_abar": lambda x: {"log_abar": log_abar(x)},
    "one_minus_abar": lambda x: {"one_minus_abar": -mp.expm1(log_abar(x))},
    "gaussian_posterior": posterior_by_precisions,
    "binomial_posterior": posterior_by_steps,
    "gaussian_lower_bound": linear_K_by_moments,
    "gaussian_log_likelihood": linear_likelihood_from_x0,
    "binomial_lower_bound": all_trajectories,
    "binomial_log_likelihood": all_trajectories,
}


@pytest.mark.parametrize("name", DERIVATIONS)
def test_forty_digits_are_those_of_another_derivation(name):
    compared = 0
    for vector in vectors(name):
        if vector["result"] == "valid" and len(vector["input"].get("beta", [])) < 1000:
            with mp.workdps(700):
                truth = DERIVATIONS[name](vector["input"])
            for key in truth.keys() & vector["output_40"].keys():
                texts = lint.leaves(vector["output_40"][key])
                for right, text in zip(lint.leaves(truth[key]), texts, strict=True):
                    gap = abs(mp.mpf(text) - right)
                    assert mp.isinf(right) or gap <= abs(right) * mp.mpf(10) ** -39, vector["id"]
                    compared += 1
    assert compared >= 20


@pytest.mark.parametrize("name", NAMES)
def test_every_two_mistakes_differ_on_some_vector(name):
    seen = [
        (vector["wrong"], vector["output"])
        for vector in vectors(name)
        if vector["result"] == "valid"
    ]
    mistakes = sorted({mistake for wrong, _ in seen for mistake in wrong})
    for i, first in enumerate(mistakes):
        for second in mistakes[:i]:
            assert any(
                {**right, **wrong.get(first, {})} != {**right, **wrong.get(second, {})}
                for wrong, right in seen
            ), (first, second)


# Formulas as they are printed, in float64 and in float32: what `cancellation` says, and what the
# tolerances are made for


def textbook(real):
    """The printed formulas, all arithmetic in one type."""
    one, half = real(1), real(0.5)

    def read(x, *names):
        return [np.asarray(x[name], dtype=real) for name in names]

    def abar(x):
        return np.concatenate([[one], np.cumprod(one - np.asarray(x["beta"], dtype=real))])

    def gaussian_kl(x):
        mq, vq, mp, vp = read(x, "mean_q", "var_q", "mean_p", "var_p")
        return {"kl": half * (np.log(vp / vq) + (vq + (mq - mp) ** 2) / vp - one)}

    def product_with_log(p, ratio):
        return np.where(p == 0, real(0), p * np.log(ratio))

    def bernoulli_kl(x):
        q1, q0, p1, p0 = read(x, "q1", "q0", "p1", "p0")
        return {"kl": product_with_log(q1, q1 / p1) + product_with_log(q0, q0 / p0)}

    def bernoulli_entropy(x):
        p1, p0 = read(x, "p1", "p0")
        return {"entropy": -product_with_log(p1, p1) - product_with_log(p0, p0)}

    def log_mean_exp(x):
        (values,) = read(x, "values")
        return {
            "log_mean": values.max()
            + np.log(np.exp(values - values.max()).sum())
            - np.log(real(values.size))
        }

    def marginal(x):
        kept = abar(x)[x["t"]]
        return {"mean": (np.sqrt(kept) * read(x, "x0")[0]).tolist(), "var": one - kept}

    def posterior(x):
        (beta, x0, xt), before, now = read(x, "beta", "x0", "xt"), *abar(x)[x["t"] - 1 : x["t"] + 1]
        rate = beta[x["t"] - 1]
        mean = (
            np.sqrt(before) * rate / (one - now) * x0
            + np.sqrt(one - rate) * (one - before) / (one - now) * xt
        )
        return {"mean": mean.tolist(), "var": rate * (one - before) / (one - now)}

    def marginal_of_bits(x):
        (x0, prior), kept = read(x, "x0", "prior"), abar(x)[x["t"]]
        prob1 = x0 * kept + prior * (one - kept)
        return {"prob1": prob1.tolist(), "prob0": (one - prob1).tolist()}

    return {
        "gaussian_kl": gaussian_kl,
        "bernoulli_kl": bernoulli_kl,
        "bernoulli_entropy": bernoulli_entropy,
        "log_mean_exp": log_mean_exp,
        "gaussian_entropy": lambda x: {
            "entropy": half * np.log(real(2 * np.pi * np.e) * read(x, "var")[0])
        },
        "log_abar": lambda x: {"log_abar": np.log(abar(x)[x["t"]])},
        "one_minus_abar": lambda x: {"one_minus_abar": one - abar(x)[x["t"]]},
        "gaussian_marginal": marginal,
        "gaussian_posterior": posterior,
        "binomial_marginal": marginal_of_bits,
    }


@pytest.mark.parametrize("name", textbook(np.float64))
@pytest.mark.parametrize(("real", "factor"), [(np.float64, 1.0), (np.float32, 2.0**29)])
def test_printed_formulas_fail_where_their_terms_cancel_and_nowhere_else(name, real, factor):
    failed = {True: 0, False: 0}
    for vector in vectors(name):
        if vector["result"] == "valid" and (
            real is np.float64 or "not_float32" not in vector["flags"]
        ):
            with np.errstate(all="ignore"):
                failed["cancellation" in vector["flags"]] += (
                    not misses(textbook(real)[name](vector["input"]), vector) <= factor
                )
    assert failed[False] == 0
    assert (
        failed[True] >= 1 or name == "gaussian_entropy"
    )  # whose tolerance is measured by its terms


# The guards, on vectors that were tampered with


def places(line):
    """Where a digit of a number stands in the text of a vector, by the part of the vector that it
    is in: (start, end) of each part.
    """
    keys = ["input", "output", "output_40", "tolerance", "flags"]
    return dict(
        zip(keys, itertools.pairwise(line.index(f'"{key}":') for key in keys), strict=False)
    )


def tampered(line, part, rng):
    """The line with one digit of one part changed; digits of names and exponents' signs do not
    count.
    """
    start, end = places(line)[part]
    digits = [
        k
        for match in re.finditer(r'(?<=[\[:,"])-?[\d.]+(?:e[+-]\d+)?(?=[\],}"])', line[start:end])
        for k in range(start + match.start(), start + match.end())
        if line[k].isdigit()
    ]
    if not digits:
        return None
    k = rng.choice(digits)
    return line[:k] + rng.choice([c for c in "0123456789" if c != line[k]]) + line[k + 1 :]


def with_a_digit_changed(name, part, rng, tmp_path):
    """A folder with one file, of which one digit of a valid vector was changed; and the vector's
    place.
    """
    lines = (FOLDER / f"{name}.jsonl").read_text().splitlines(keepends=True)
    valid = [k for k, line in enumerate(lines) if '"result":"valid"' in line]
    changed = None
    while changed is None:
        k = rng.choice(valid)
        changed = tampered(lines[k], part, rng)
    lines[k] = changed
    (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    return changed


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_digit_of_an_output_is_caught_by_the_lint_alone(name, tmp_path):
    rng = random.Random(name)
    for _ in range(6):
        changed = with_a_digit_changed(name, "output", rng, tmp_path)
        assert list(lint.lint_file(tmp_path / f"{name}.jsonl")), changed


@pytest.mark.parametrize("part", ["input", "output", "output_40", "tolerance"])
@pytest.mark.parametrize("name", NAMES)
def test_a_changed_digit_anywhere_is_caught_by_regeneration(name, part, generated, tmp_path):
    rng = random.Random(f"{name} {part}")
    for _ in range(5):
        with_a_digit_changed(name, part, rng, tmp_path)
        assert (tmp_path / f"{name}.jsonl").read_text() != generated[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_number_wrong_in_both_places_is_caught_by_the_package(name):
    """Output and 40 digits changed alike, which the lint cannot see: the package then fails the
    vector.
    """
    if name in PRODUCTS and importlib.util.find_spec("dpm_ref.posteriors") is None:
        pytest.skip("the package has no posteriors")
    rng = random.Random(name)
    valid = [vector for vector in vectors(name) if vector["result"] == "valid"]
    for _ in range(5):
        vector = rng.choice(valid)
        key = rng.choice(
            [key for key, value in vector["output"].items() if not isinstance(value, bool)]
        )
        got = PACKAGE[name](vector["input"])
        moved = {
            **vector,
            "output": {
                **vector["output"],
                key: shifted(vector["output"][key], vector["tolerance"][key]),
            },
        }
        assert misses(got, moved) > 1.0


def shifted(value, tolerance):
    """Every number off by one part in 10^6, and by two tolerances more."""
    if isinstance(value, list):
        return [shifted(*each) for each in zip(value, tolerance, strict=True)]
    return (
        0.0
        if isinstance(value, str)
        else value * (1 + math.copysign(1e-6, value)) + 2 * tolerance
        if value
        else 1e-6
    )


def tamper(folder, change):
    """A copy of one file with its lines changed."""
    lines = [json.loads(line) for line in (FOLDER / "gaussian_kl.jsonl").read_text().splitlines()]
    change(lines)
    path = folder / "gaussian_kl.jsonl"
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return list(lint.lint_file(path))


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines.pop(),
        lambda lines: lines.append(lines[1]),
        lambda lines: lines[1].update(id="gaussian_kl-9999"),
        lambda lines: lines[1].update(id=lines[2]["id"]),
        lambda lines: lines[0].update(count=1),
        lambda lines: lines[0].update(schema=2),
        lambda lines: lines[0].update(function="another"),
        lambda lines: lines[0].update(units=""),
        lambda lines: lines[0].pop("equation"),
        lambda lines: lines[0]["flags"].update(idle="mistake: of nobody"),
        lambda lines: lines[0]["flags"].update(kl_reversed=""),
        lambda lines: lines[0]["flags"].pop("kl_reversed"),
        lambda lines: lines[1]["flags"].append("not_float32"),
        lambda lines: lines[1]["flags"].append("limit"),
        lambda lines: lines[1]["flags"].append("long"),
        lambda lines: lines[1]["flags"].append("tiny"),
        lambda lines: lines[1]["flags"].append("bad_variance"),
        lambda lines: lines[1]["flags"].remove("smoke"),
        lambda lines: lines[1]["flags"].remove("kl_reversed"),
        lambda lines: lines[1]["flags"].append("kl_reversed"),
        lambda lines: lines[1]["wrong"].pop("kl_reversed"),
        lambda lines: lines[1]["wrong"].update(kl_reversed=lines[1]["output"]),
        lambda lines: lines[1]["wrong"].update(
            kl_reversed={"kl": lines[1]["output"]["kl"] * 1.0005}
        ),
        lambda lines: lines[1]["input"].pop("var_p"),
        lambda lines: lines[1]["input"].update(var_p=0.1),
        lambda lines: lines[1]["output"].update(kl="nan"),
        lambda lines: lines[1]["output"].update(kl=[1.0]),
        lambda lines: lines[1]["output"].update(kl=math.nextafter(lines[1]["output"]["kl"], 1.0)),
        lambda lines: lines[1]["output_40"].update(kl="0.34"),
        lambda lines: lines[1]["tolerance"].update(kl=-1.0),
        lambda lines: lines[1].update(result="perhaps"),
        lambda lines: lines[1].pop("tolerance"),
        lambda lines: lines[-1]["flags"].clear(),
        lambda lines: lines[-1].update(output={"kl": 0.0}),
    ],
)
def test_the_lint_sees_what_breaks_the_schema(change, tmp_path):
    assert tamper(tmp_path, lambda lines: None) == []
    assert tamper(tmp_path, change)


def test_the_lint_sees_a_number_written_in_another_way(tmp_path):
    text = (FOLDER / "gaussian_kl.jsonl").read_text()
    (tmp_path / "gaussian_kl.jsonl").write_text(text.replace('"mean_q":0.0', '"mean_q":0.00', 1))
    assert lint.lint(tmp_path)


def test_the_lint_sees_an_empty_folder_and_too_large_a_one(tmp_path):
    assert lint.lint(tmp_path)
    (tmp_path / "gaussian_kl.jsonl").write_text((FOLDER / "gaussian_kl.jsonl").read_text())
    assert lint.lint(tmp_path) == []
    (tmp_path / "large.jsonl").write_bytes(b" " * lint.LARGEST)
    assert lint.lint(tmp_path)[0].startswith("20")


def test_the_generator_s_check_sees_a_changed_byte_a_missing_file_and_one_too_many(tmp_path):
    function = next(f for f in generate.FUNCTIONS if f.name == "gaussian_entropy")
    path = tmp_path / "gaussian_entropy.jsonl"
    assert generate.differences(tmp_path, [function]) == ["gaussian_entropy.jsonl: missing"]
    generate.write(tmp_path, [function])
    assert generate.differences(tmp_path, [function]) == []
    path.write_bytes(path.read_bytes().replace(b"e-1", b"e-2", 1))
    assert "differs from line" in generate.differences(tmp_path, [function])[0]
    generate.write(tmp_path, [function])
    (tmp_path / "another.jsonl").write_text("")
    assert generate.differences(tmp_path, [function]) == ["another.jsonl: no function of this name"]


# The generator's own rules


def entropy_function(**changes):
    function = next(f for f in generate.FUNCTIONS if f.name == "gaussian_entropy")
    return type(function)(**{**function.__dict__, **changes})


def test_a_retired_vector_keeps_its_id():
    cases = [{"var": 2.0}, Retired("its input was no float32"), {"var": 3.0}]
    mistakes = {"sign": entropy_function().mistakes["sign"]}
    header, *lines = entropy_function(cases=cases, mistakes=mistakes).lines()
    assert header["retired"] == {"gaussian_entropy-0002": "its input was no float32"}
    assert [line["id"] for line in lines] == ["gaussian_entropy-0001", "gaussian_entropy-0003"]


def test_a_mistake_that_no_vector_catches_is_refused():
    none = Mistake("none at all", entropy_function().truth)
    with pytest.raises(ValueError, match="no vector catches"):
        list(entropy_function(mistakes={"none": none}).lines())


# Another language


@NEEDS_NODE
def test_a_consumer_in_javascript_passes():
    result = subprocess.run(
        [NODE, str(FOLDER / "consume.mjs")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for name in (
        "gaussian_kl",
        "bernoulli_entropy",
        "gaussian_posterior",
        "binomial_posterior",
        "gaussian_log_weight",
    ):
        valid = sum(vector["result"] == "valid" for vector in vectors(name))
        refused = len(vectors(name)) - valid
        assert f"{name}: {valid} right, {refused} refused" in result.stdout


@NEEDS_NODE
@pytest.mark.parametrize(
    "name",
    [
        "gaussian_kl",
        "bernoulli_entropy",
        "gaussian_posterior",
        "binomial_posterior",
        "gaussian_log_weight",
    ],
)
def test_a_consumer_in_javascript_fails_on_a_wrong_vector(name, tmp_path):
    shutil.copytree(
        FOLDER, tmp_path / "vectors", ignore=shutil.ignore_patterns("*.py", "truths", "__pycache__")
    )
    path = tmp_path / "vectors" / f"{name}.jsonl"
    header, first, *rest = path.read_text().splitlines()
    vector = json.loads(first)
    vector["output"] = {
        key: shifted(value, vector["tolerance"][key]) for key, value in vector["output"].items()
    }
    path.write_text("\n".join([header, json.dumps(vector), *rest]) + "\n")
    result = subprocess.run(
        [NODE, str(FOLDER / "consume.mjs"), str(tmp_path / "vectors")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert vector["id"] in result.stdout


@NEEDS_NODE
@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        ("var: (b * lost[t - 1]) / lost[t]", "var: b", "rate_for_var"),
        ("(far / var_p) * far) / 2", "(far / var_p) * far)", "half_dropped"),
        ("logNormal(x, 0, 1)", "0", "prior_left_out"),
    ],
)
def test_a_consumer_with_a_mistake_is_told_which(right, wrong, mistake, tmp_path):
    code = (FOLDER / "consume.mjs").read_text()
    assert code.count(right) == 1
    (tmp_path / "consume.mjs").write_text(code.replace(right, wrong))
    result = subprocess.run(
        [NODE, str(tmp_path / "consume.mjs"), str(FOLDER)],
        capture_output=True,
        text=True,
        check=False,
    )
    failed = [line for line in result.stdout.splitlines() if " got " in line]
    assert result.returncode == 1
    assert len(failed) > 20
    assert sum(mistake in line for line in failed) > 0.8 * len(
        failed
    )  # what is wrong by less than 1e-3 fails too, and is not named


@NEEDS_NODE
def test_a_consumer_that_refuses_nothing_fails(tmp_path):
    code = (FOLDER / "consume.mjs").read_text()
    (tmp_path / "consume.mjs").write_text(
        code.replace("if (v <= 0) throw new RangeError", 'if (v === "") throw new RangeError')
    )
    result = subprocess.run(
        [NODE, str(tmp_path / "consume.mjs"), str(FOLDER)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "not refused, bad_variance" in result.stdout


@NEEDS_NODE
def test_the_readme_s_example_prints_what_the_readme_says(tmp_path):
    section = (FOLDER / "README.md").read_text().partition("## From another language")[2]
    code, printed = re.search(r"```js\n(.*?)```\n\n```\n(.*?)```", section, re.DOTALL).groups()
    (tmp_path / "example.mjs").write_text(code)
    result = subprocess.run(
        [NODE, str(tmp_path / "example.mjs")], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout == printed


def test_the_numbers_that_are_told_of_the_vectors_are_theirs():
    assert f"{len(NAMES)} functions" in (ROOT / "CHANGELOG.md").read_text()
    assert f"run these {len(NAMES)} first" in (FOLDER / "README.md").read_text()
    counts = [len(vectors(name)) for name in NAMES]
    assert np.mean(counts) == pytest.approx(60, abs=5)

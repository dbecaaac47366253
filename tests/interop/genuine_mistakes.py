"""Mistakes as real code makes them, written by hand as its users would, with what must be said.

Most were met in a public package or in its issues, which the comment names; nothing is copied. The
others are slips that reviewers of such code look for. The check's own list of mistakes had no part
in the choice; what it did not name was added to it afterwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import erf, expit, ndtr

from dpm_ref import check


@dataclass(frozen=True, eq=False)
class Genuine:
    name: str
    functions: Callable[[Any], Mapping[str, Any]]
    said: str  # words of a diagnosis; "" where none is known
    conventions: dict[str, Any]


GENUINE: list[Genuine] = []


def genuine(said: str, **conventions: Any) -> Any:
    def register(functions: Any) -> Any:
        GENUINE.append(Genuine(functions.__name__, functions, said, conventions))
        return functions

    return register


def tables(beta: Any) -> tuple[Any, Any, Any]:
    """alpha, abar and abar of the step before, t counted from 0."""
    alpha = 1.0 - np.asarray(beta)
    abar = np.cumprod(alpha)
    return alpha, abar, np.append(1.0, abar[:-1])


def posterior_variance(beta: Any) -> Any:
    _, abar, prev = tables(beta)
    return beta * (1 - prev) / (1 - abar)


FROM_0 = {"first_t": 0}


# Tables


@genuine("t one too small", **FROM_0)
def log_variance_padded_on_the_wrong_side(beta):  # bionemo-moco 0.0.2.2, DDPM
    var = posterior_variance(beta)
    with np.errstate(divide="ignore"):
        return {"posterior_log_variance": np.log(np.append(var[0], var[:-1]))}


@genuine("sqrt(1 - abar_t) for 1 - abar_t", **FROM_0)
def log_variance_is_half_of_it(beta):  # tqch/ddpm-torch, issue 9: the log of the root
    _, abar, _ = tables(beta)
    return {"marginal_log_var": lambda x0, t: 0.5 * np.log(1 - abar[t]) + 0 * x0}


@genuine("sqrt(beta_t) for beta_t", beta=("quadratic", 1000))
def roots_spaced_evenly_and_not_squared(beta):  # diffusions 0.1.13, scale_beta
    return {"betas": np.linspace(1e-4**0.5, 0.02**0.5, 1000)}


@genuine("t one too small", beta=("cosine", 50), **FROM_0)
def cosine_product_from_its_first_entry(beta):  # Project-MONAI/GenerativeModels, issue 489
    x = np.linspace(0, 1, 51)
    abar = np.cos((x + 0.008) / 1.008 * np.pi / 2) ** 2
    return {"alphas_cumprod": (abar / abar[0])[:-1]}


@genuine("1 - sqrt(abar_t) for 1 - abar_t", **FROM_0)
def root_taken_before_the_difference(beta):
    root = np.sqrt(np.cumprod(1 - beta))
    return {"sqrt_one_minus_alphas_cumprod": np.sqrt(1 - root)}


@genuine("is abar_1, not 1", **FROM_0)
def product_before_the_first_step_is_not_1(beta):  # lllyasviel/ControlNet, pull request 587
    _, abar, _ = tables(beta)
    return {"alphas_cumprod_prev": np.append(abar[0], abar[:-1])}


@genuine("abar_{t+1} for abar_{t-1}", **FROM_0)
def product_of_the_step_after(beta):
    _, abar, _ = tables(beta)
    return {"alphas_cumprod_prev": np.append(abar[1:], 0.0)}


@genuine("sum of alpha_s for their product", **FROM_0)
def sum_for_the_product(beta):
    return {"alphas_cumprod": np.cumsum(1 - beta)}


@genuine("is 0, not 1")
def product_before_the_first_step_padded_with_0(beta):
    return {"alphas_cumprod_prev": np.append(0.0, tables(beta)[1][:-1])}


@genuine("abar_t reaches abar_t only", **FROM_0)
def division_binds_before_the_difference(beta):  # EDAPINENUT/GNTPP, issue 2
    abar = tables(beta)[1]
    return {"sqrt_recipm1_alphas_cumprod": np.sqrt(1 - abar / abar)}


@genuine("1 - sqrt(abar_t) for sqrt(1 - abar_t)")
def root_of_the_product_only(beta):  # labmlai/annotated_deep_learning_paper_implementations, 152
    return {"sqrt_one_minus_alphas_cumprod": 1.0 - tables(beta)[1] ** 0.5}


@genuine("latent diffusion's brackets")
def weight_of_x0_without_its_brackets(beta):  # CompVis/latent-diffusion
    abar = tables(beta)[1]
    return {"loss_weight_x0": 0.5 * np.sqrt(abar) / (2.0 * 1 - abar)}


@genuine("brackets are missing")
def weight_without_its_brackets(beta):
    alpha, abar, _ = tables(beta)
    return {"lvlb_weights": beta**2 / 2 * posterior_variance(beta) * alpha * (1 - abar)}


@genuine("[-inf, 5]")
def signal_to_noise_capped_for_the_loss(beta):  # min-SNR weighting
    abar = tables(beta)[1]
    return {"snr": np.minimum(abar / (1 - abar), 5.0)}


@genuine("beta_T scaled", beta=("linear", 200))
def one_end_of_the_schedule_scaled(_):  # NVlabs/I2SB, issue 11
    return {"betas": np.linspace(1e-4, 5 * 0.02, 200)}


@genuine("not capped", beta=("cosine", 100))
def product_of_betas_before_they_are_capped(_):  # Project-MONAI/MONAI, pull request 8427
    abar = np.cos((np.arange(101) / 100 + 0.008) / 1.008 * np.pi / 2) ** 2
    return {"alphas_cumprod": abar[1:] / abar[0]}


# Steps


@genuine("interpolated", **FROM_0)
def variances_interpolated_for_their_logarithms(beta):  # monai 1.6.1, diffusions 0.1.13
    low = posterior_variance(beta)
    return {"learned_range_var": lambda w, t: (w + 1) / 2 * beta[t] + (1 - w) / 2 * low[t]}


@genuine("without its root", **FROM_0)
def variance_handed_over_for_the_deviation(beta):  # probabilisticdiffusion 2.1.0
    _, abar, _ = tables(beta)
    return {"q_sample": lambda x0, t, noise: np.sqrt(abar[t]) * x0 + (1 - abar[t]) * noise}


@genuine("abar_{t-1} for abar_t", **FROM_0)
def x0_from_the_step_before(beta):  # dmme 0.5.2, DDIM
    _, abar, prev = tables(beta)

    def ddim_step(xt, t, eps, noise):
        x0 = (xt - np.sqrt(1 - abar[t]) * eps) / np.sqrt(prev[t])
        return np.sqrt(prev[t]) * x0 + np.sqrt(1 - prev[t]) * eps

    return {"ddim_step": ddim_step}


@genuine("1 - abar_t for the posterior's variance", eta=0.7, **FROM_0)
def ddim_noise_of_the_marginal(beta):  # jsboige/CoursIA, pull request 16158
    _, abar, prev = tables(beta)

    def ddim_step(xt, t, eps, noise):
        x0 = (xt - np.sqrt(1 - abar[t]) * eps) / np.sqrt(abar[t])
        rest = np.clip(1 - prev[t] - 0.49 * (1 - abar[t]), 0, None)
        return np.sqrt(prev[t]) * x0 + np.sqrt(rest) * eps + 0.7 * np.sqrt(1 - abar[t]) * noise

    return {"ddim_step": ddim_step}


@genuine("sigma_t not squared", eta=0.5, **FROM_0)  # nan where the root is negative
def ddim_noise_not_squared_under_the_root(beta):
    _, abar, prev = tables(beta)

    def ddim_step(xt, t, eps, noise):
        std = 0.5 * np.sqrt((1 - prev[t]) / (1 - abar[t]) * (1 - abar[t] / prev[t]))
        x0 = (xt - np.sqrt(1 - abar[t]) * eps) / np.sqrt(abar[t])
        with np.errstate(invalid="ignore"):
            return np.sqrt(prev[t]) * x0 + np.sqrt(1 - prev[t] - std) * eps + std * noise

    return {"ddim_step": ddim_step}


@genuine("xt", **FROM_0)
def only_half_of_the_mean_is_divided(beta):  # a misplaced bracket in Algorithm 2
    alpha, abar, _ = tables(beta)
    return {
        "mean_from_eps": lambda xt, t, eps: (
            xt / np.sqrt(alpha[t]) - beta[t] / np.sqrt(1 - abar[t]) * eps
        )
    }


@genuine("without its root", reverse_var="beta", silent=True, **FROM_0)
def beta_times_the_noise(beta):
    alpha, abar, _ = tables(beta)

    def p_sample(xt, t, eps, noise):
        mean = (xt - beta[t] / np.sqrt(1 - abar[t]) * eps) / np.sqrt(alpha[t])
        return mean + (beta[t] * noise if t > 0 else 0)

    return {"p_sample": p_sample}


@genuine("last step too", reverse_var="beta", silent=True, **FROM_0)
def noise_at_the_last_step(beta):
    alpha, abar, _ = tables(beta)
    return {
        "p_sample": lambda xt, t, eps, noise: (
            (xt - beta[t] / np.sqrt(1 - abar[t]) * eps) / np.sqrt(alpha[t])
            + np.sqrt(beta[t]) * noise
        )
    }


@genuine("without its root", **FROM_0)
def score_divided_by_the_variance(beta):
    _, abar, _ = tables(beta)
    return {"score_from_eps": lambda xt, t, eps: -eps / (1 - abar[t])}


@genuine("sign", **FROM_0)
def velocity_with_a_plus(beta):
    _, abar, _ = tables(beta)
    return {"velocity": lambda x0, t, noise: np.sqrt(abar[t]) * noise + np.sqrt(1 - abar[t]) * x0}


@genuine("sign of w", **FROM_0)
def ends_of_the_learned_range_exchanged(beta):
    with np.errstate(divide="ignore"):
        low = np.log(posterior_variance(beta))

    def variance(w, t):
        return np.exp((1 - w) / 2 * np.log(beta[t]) + (1 + w) / 2 * low[t])

    return {"learned_range_var": variance}


@genuine("fraction in [0, 1]", **FROM_0)
def fraction_of_the_learned_range_not_rescaled(beta):
    with np.errstate(divide="ignore"):
        low = np.log(posterior_variance(beta))
    return {"learned_range_var": lambda w, t: np.exp(w * np.log(beta[t]) + (1 - w) * low[t])}


@genuine("reverse_var='posterior', not 'beta'", reverse_var="beta", silent=True, **FROM_0)
def noise_by_the_other_variance(beta):
    alpha, abar, _ = tables(beta)
    std = np.sqrt(posterior_variance(beta))

    def p_sample(xt, t, eps, noise):
        return (xt - beta[t] / np.sqrt(1 - abar[t]) * eps) / np.sqrt(alpha[t]) + std[t] * noise

    return {"p_sample": p_sample}


@genuine("last step but one", reverse_var="beta", silent=True, **FROM_0)
def no_noise_at_the_last_two_steps(beta):
    alpha, abar, _ = tables(beta)

    def p_sample(xt, t, eps, noise):
        mean = (xt - beta[t] / np.sqrt(1 - abar[t]) * eps) / np.sqrt(alpha[t])
        return mean + (np.sqrt(beta[t]) * noise if t > 1 else 0)

    return {"p_sample": p_sample}


@genuine("v taken for eps", **FROM_0)
def velocity_put_in_the_place_of_the_noise(beta):
    alpha, abar, _ = tables(beta)
    return {
        "mean_from_v": lambda xt, t, v: (
            (xt - beta[t] / np.sqrt(1 - abar[t]) * v) / np.sqrt(alpha[t])
        )
    }


@genuine("reverse diffusion", **FROM_0)
def step_of_the_discretised_equation(beta):  # as score-based code samples
    return {
        "mean_from_score": lambda xt, t, score: (2 - np.sqrt(1 - beta[t])) * xt + beta[t] * score
    }


@genuine("squared where its root is meant", spread="logvar")
def log_variance_doubled_for_halved(beta):
    return {"sample_step": lambda mean, log_var, noise: mean + np.exp(2 * log_var) * noise}


@genuine("sigma_t for sqrt", eta=0.5, **FROM_0)
def ddim_direction_as_long_as_its_noise(beta):  # jsboige/CoursIA, pull request 16158
    _, abar, prev = tables(beta)

    def ddim_step(xt, t, eps, noise):
        std = 0.5 * np.sqrt((1 - prev[t]) / (1 - abar[t]) * (1 - abar[t] / prev[t]))
        x0 = (xt - np.sqrt(1 - abar[t]) * eps) / np.sqrt(abar[t])
        return np.sqrt(prev[t]) * x0 + std * eps + std * noise

    return {"ddim_step": ddim_step}


@genuine("eta not squared", eta=0.5, **FROM_0)
def ddim_eta_not_squared_under_the_root(beta):  # inbarhub/DDPM_inversion, issue 12
    _, abar, prev = tables(beta)

    def ddim_step(xt, t, eps, noise):
        var = (1 - prev[t]) / (1 - abar[t]) * (1 - abar[t] / prev[t])
        x0 = (xt - np.sqrt(1 - abar[t]) * eps) / np.sqrt(abar[t])
        direction = np.sqrt(1 - prev[t] - 0.5 * var) * eps
        return np.sqrt(prev[t]) * x0 + direction + 0.5 * np.sqrt(var) * noise

    return {"ddim_step": ddim_step}


@genuine("before the first step is abar_1", eta=0.5, **FROM_0)
def ddim_ends_at_the_first_product(beta):  # lllyasviel/ControlNet, pull request 587
    abar = tables(beta)[1]
    prev = np.append(abar[0], abar[:-1])

    def ddim_step(xt, t, eps, noise):
        std = 0.5 * np.sqrt((1 - prev[t]) / (1 - abar[t]) * (1 - abar[t] / prev[t]))
        x0 = (xt - np.sqrt(1 - abar[t]) * eps) / np.sqrt(abar[t])
        return np.sqrt(prev[t]) * x0 + np.sqrt(1 - prev[t] - std**2) * eps + std * noise

    return {"ddim_step": ddim_step}


@genuine("x^t in the place of x^0", **FROM_0)
def noise_from_the_velocity_and_xt(beta):  # threestudio-project/threestudio, issue 126
    abar = tables(beta)[1]
    return {
        "eps_from_v": lambda xt, t, v: (v + np.sqrt(1 - abar[t]) * xt) / np.sqrt(abar[t]),
    }


@genuine("drawn from q(x^{t-1}|x^0)", reverse_var="posterior", **FROM_0)
def x0_predicted_and_noised_again(beta):
    _, abar, prev = tables(beta)

    def p_sample(xt, t, eps, noise):
        x0 = (xt - np.sqrt(1 - abar[t]) * eps) / np.sqrt(abar[t])
        return np.sqrt(prev[t]) * x0 + np.sqrt(1 - prev[t]) * noise

    return {"p_sample": p_sample}


@genuine("reaches the noise too", reverse_var="posterior", **FROM_0)
def noise_inside_the_bracket(beta):
    alpha, abar, _ = tables(beta)
    std = np.sqrt(posterior_variance(beta))

    def p_sample(xt, t, eps, noise):
        shift = beta[t] / np.sqrt(1 - abar[t]) * eps
        return (xt - shift + std[t] * noise) / np.sqrt(alpha[t])

    return {"p_sample": p_sample}


@genuine("the first row's t", t_shape="batch", **FROM_0)
def one_t_for_the_whole_batch(beta):
    abar = tables(beta)[1]

    def q_sample(x0, t, noise):
        return np.sqrt(abar[t[0]]) * x0 + np.sqrt(1 - abar[t[0]]) * noise

    return {"q_sample": q_sample}


# Divergences, densities, weights


@genuine("var_q for var_p", spread="logvar")
def means_divided_by_the_wrong_variance(beta):
    return {
        "normal_kl": lambda m, v, n, w: (
            0.5 * (w - v + np.exp(v - w) + (m - n) ** 2 * np.exp(-v) - 1).sum(-1)
        )
    }


@genuine("log pi for log 2 pi")
def entropy_with_pi_e(beta):
    return {"gaussian_entropy": lambda var: (0.5 * np.log(np.pi * np.e * var)).sum(-1)}


def decoder(cdf: Any, width: float = 1 / 255, scale: float = 1.0) -> Any:
    """L_0 in the form of DDPM's code."""

    def log_prob(x0: Any, mean: Any, log_var: Any) -> Any:
        std = scale * np.exp(0.5 * log_var)
        above, below = cdf((x0 - mean + width) / std), cdf((x0 - mean - width) / std)
        mass = np.where(x0 < -0.999, above, np.where(x0 > 0.999, 1 - below, above - below))
        return np.log(np.maximum(mass, 1e-12)).sum(-1)

    return {"decoder_log_prob": log_prob}


@genuine("1/256 for 1/255", spread="logvar")
def bins_of_256_steps(beta):
    return decoder(ndtr, width=1 / 256)


@genuine("std / sqrt(2)", spread="logvar")
def error_function_without_its_root_of_two(beta):
    return decoder(lambda z: 0.5 * (1 + erf(z)))


@genuine("logistic", spread="logvar")
def sigmoid_for_the_normal_distribution(beta):
    return decoder(expit)


@genuine("the density where a bin's mass is meant", spread="logvar")
def density_for_the_mass_of_a_bin(beta):
    def log_prob(x0, mean, log_var):
        square = (x0 - mean) ** 2 * np.exp(-log_var)
        return -0.5 * (np.log(2 * np.pi) + log_var + square).sum(-1)

    return {"decoder_log_prob": log_prob}


@genuine("log pi(x^0) for log pi(x^T)")
def prior_at_the_wrong_end(beta):
    def log_density(x, mean, var):
        return -0.5 * (np.log(2 * np.pi * var) + (x - mean) ** 2 / var)

    def log_weights(trajectory, means, variances):
        wide, before, after = beta[:, None, None], trajectory[:-1], trajectory[1:]
        forward = log_density(after, np.sqrt(1 - wide) * before, wide)
        steps = (log_density(before, means, variances) - forward).sum((0, -1))
        return steps + log_density(trajectory[0], 0, 1.0).sum(-1)

    return {"log_weights": log_weights}


def coefficients(beta: Any) -> tuple[Any, Any]:
    alpha, abar, prev = tables(beta)
    return np.sqrt(prev) * beta / (1 - abar), np.sqrt(alpha) * (1 - prev) / (1 - abar)


@genuine("beta_t for the posterior's variance", components="sum", **FROM_0)
def posterior_given_the_kernels_variance(beta):
    c0, c1 = coefficients(beta)

    def kl_term(x0, xt, t, mean, var):
        square = (c0[t] * x0 + c1[t] * xt - mean) ** 2
        return 0.5 * (np.log(var / beta[t]) + (beta[t] + square) / var - 1).sum(-1)

    return {"kl_term": kl_term}


@genuine("only the means' part", components="sum", **FROM_0)
def squared_distance_for_the_divergence(beta):
    c0, c1 = coefficients(beta)

    def kl_term(x0, xt, t, mean, var):
        return 0.5 * ((c0[t] * x0 + c1[t] * xt - mean) ** 2 / var).sum(-1)

    return {"kl_term": kl_term}


@genuine("simple loss", reverse_var="beta", t_shape="batch", **FROM_0)
def loss_that_is_trained_on_for_the_bound(beta):
    _, abar, _ = tables(beta)

    def vlb_term(model, x0, xt, t):
        kept = abar[t][:, None]
        noise = (xt - np.sqrt(kept) * x0) / np.sqrt(1 - kept)
        return ((model(xt, t) - noise) ** 2).sum(-1)

    return {"vlb_term": vlb_term}


def negative_bound(
    beta: Any, prior_at: int = -1, mean: bool = False, fixed: Any = None, turned: bool = False
) -> Any:
    """The loop of DDPM's calc_bpd_loop in nats, the variance that of the posterior or fixed."""
    _, abar, _ = tables(beta)
    (c0, c1), var = coefficients(beta), posterior_variance(beta)
    own = np.append(var[1], var[1:]) if fixed is None else fixed
    first = decoder(ndtr)["decoder_log_prob"]

    def nll(model, x0):
        total, rng = 0.0, np.random.default_rng(0)
        for t in range(len(beta)):
            xt = np.sqrt(abar[t]) * x0 + np.sqrt(1 - abar[t]) * rng.standard_normal(x0.shape)
            noise = model(xt, np.full(len(x0), t))
            guess = c0[t] * (xt - np.sqrt(1 - abar[t]) * noise) / np.sqrt(abar[t]) + c1[t] * xt
            if t == 0:
                total = total - first(x0, guess, np.log(own[0]))
                continue
            q, p = (own[t], var[t]) if turned else (var[t], own[t])
            square = (c0[t] * x0 + c1[t] * xt - guess) ** 2
            total = total + 0.5 * (square / p + q / p - 1 - np.log(q / p)).sum(-1)
        total = total / len(beta) if mean else total
        kept = abar[prior_at]
        return total + 0.5 * (kept * x0**2 - kept - np.log(1 - kept)).sum(-1)

    return {"nll": nll}


LOOP = {"reverse_var": "posterior", "t_shape": "batch", **FROM_0}


@genuine("reverse_var='beta', not 'posterior'", **LOOP)
def loop_with_the_other_variance(beta):
    return negative_bound(beta, fixed=beta)


@genuine("KL reversed in the sum over t", reverse_var="beta", t_shape="batch", **FROM_0)
def loop_over_the_other_divergence(beta):
    return negative_bound(beta, fixed=beta, turned=True)


@genuine("t = 1 for t = T", **LOOP)
def prior_of_the_first_step(beta):
    return negative_bound(beta, prior_at=0)


@genuine("mean over t", **LOOP)
def mean_over_the_steps(beta):
    return negative_bound(beta, mean=True)


@genuine("once", spread="std")
def half_taken_off_once_for_all_components(beta):  # ericjang/draw, issue 2
    def kl(mean_q, std_q, mean_p, std_p):
        square = (std_q**2 + (mean_q - mean_p) ** 2) / std_p**2
        return (np.log(std_p / std_q) + 0.5 * square).sum(-1) - 0.5

    return {"gaussian_kl": kl}


@genuine("a factor 1/2 is missing", spread="logvar", components="sum")
def kl_without_its_half(beta):
    return {
        "normal_kl": lambda m, v, n, w: (w - v + np.exp(v - w) + (m - n) ** 2 * np.exp(-w) - 1).sum(
            -1
        )
    }


@genuine("KL reversed", components="sum")
def kl_in_the_other_direction(beta):
    return {
        "gaussian_kl": lambda m, v, n, w: 0.5 * (np.log(v / w) + (w + (m - n) ** 2) / v - 1).sum(-1)
    }


@genuine("var used as a standard deviation: squared", spread="logvar")
def log_variance_exponentiated_as_a_deviation(beta):  # bjlkeng/sandbox, issue 10
    def log_prob(x, mean, log_var):
        scale = np.exp(log_var)
        return (-0.5 * np.log(2 * np.pi) - np.log(scale) - 0.5 * ((x - mean) / scale) ** 2).sum(-1)

    return {"gaussian_log_prob": log_prob}


@genuine("log n left out")
def logsumexp_not_its_mean(beta):
    return {
        "log_likelihood": lambda log_w: log_w.max(0) + np.log(np.exp(log_w - log_w.max(0)).sum(0))
    }


@genuine("reversed")
def cross_entropy_with_its_arguments_exchanged(beta):
    def kl(q, p):
        with np.errstate(all="ignore"):
            terms = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
        return terms.sum(-1)

    return {"bernoulli_kl": kl}


@genuine("added T times", components="sum")
def entropies_inside_the_loop(beta):
    T, (alpha, abar, prev) = len(beta), tables(beta)
    log_2pi = np.log(2 * np.pi)

    def lower_bound(x0, xs, means, variances):
        c0, c1 = np.sqrt(prev) * beta / (1 - abar), np.sqrt(alpha) * (1 - prev) / (1 - abar)
        total = -0.5 * (log_2pi + x0**2)
        total = total + 0.5 * (log_2pi + abar[0] * x0**2 + 1 - abar[0])
        total = total - 0.5 * (log_2pi + abar[-1] * x0**2 + 1 - abar[-1])
        for t in range(T):
            total = total + 0.5 * np.log((1 - abar[-1]) / (1 - abar[0]))
            if t > 0:
                mean, var = c0[t] * x0 + c1[t] * xs[t - 1], posterior_variance(beta)[t]
                total = total - 0.5 * (
                    np.log(variances[t - 1] / var)
                    - 1
                    + (var + (mean - means[t - 1]) ** 2) / variances[t - 1]
                )
        return total.sum(-1)

    return {"lower_bound": lower_bound}


@genuine("x^0 for the mean of q")
def divergence_from_x0(beta):
    var = posterior_variance(beta)

    def kl_term(x0, xt, t, mean, p):
        q = var[t - 1]
        return 0.5 * ((x0 - mean) ** 2 / p + q / p - 1 - np.log(q / p)).sum(-1)

    return {"kl_term": kl_term}


@genuine("under the normalised weights")
def weights_normalised_and_averaged(beta):  # AntixK/PyTorch-VAE, pull request 53
    def log_likelihood(log_w):
        weights = np.exp(log_w - log_w.max(0))
        return (weights / weights.sum(0) * log_w).sum(0)

    return {"log_likelihood": log_likelihood}


@genuine("L_0 and the KL term exchanged", reverse_var="given", decoder="gaussian", t_shape="batch")
def branches_of_where_exchanged(beta):
    alpha, abar, _ = tables(beta)
    (c0, c1), low = coefficients(beta), posterior_variance(beta)

    def vlb_term(model, x0, xt, t):
        k = (t - 1)[:, None]
        noise, p = model(xt, t)
        mean = (xt - beta[k] / np.sqrt(1 - abar[k]) * noise) / np.sqrt(alpha[k])
        square, ratio = (c0[k] * x0 + c1[k] * xt - mean) ** 2 / p, low[k] / p
        with np.errstate(divide="ignore"):
            kl = 0.5 * (square + ratio - 1 - np.log(ratio))
        first = 0.5 * ((x0 - mean) ** 2 / p + np.log(2 * np.pi * p))
        return np.where(k == 0, kl, first).sum(-1)

    return {"vlb_term": vlb_term}


# Bits


@genuine("beta_t", prior=0.5, **FROM_0)
def flipped_with_probability_beta(beta):  # resampled from 1/2 with beta: flipped with beta / 2
    return {"binomial_kernel": lambda x, t: x * (1 - beta[t]) + (1 - x) * beta[t]}


@genuine("pi1", prior=0.5, **FROM_0)
def uniform_part_without_its_half(beta):
    _, abar, _ = tables(beta)
    return {"binomial_marginal": lambda x0, t: abar[t] * x0 + (1 - abar[t])}


@genuine("abar_t for abar_{t-1}", prior=0.5, **FROM_0)
def posterior_from_the_same_step(beta):
    alpha, abar, _ = tables(beta)

    def posterior(x0, xt, t):
        one = (abar[t] * x0 + (1 - abar[t]) / 2) * np.where(
            xt == 1, (1 + alpha[t]) / 2, (1 - alpha[t]) / 2
        )
        zero = (abar[t] * (1 - x0) + (1 - abar[t]) / 2) * np.where(
            xt == 0, (1 + alpha[t]) / 2, (1 - alpha[t]) / 2
        )
        return one / (one + zero)

    return {"binomial_posterior": posterior}


@genuine("divided by q(x^t | x^0) read at t - 1", prior=0.5, **FROM_0)
def posterior_divided_by_the_step_before(beta):  # evodiff 1.1.2, the loss of alignments
    alpha, _, prev = tables(beta)

    def posterior(x0, xt, t):
        before = prev[t] * x0 + (1 - prev[t]) / 2
        same = np.where(xt == 1, before, 1 - before)
        return before * np.where(xt == 1, (1 + alpha[t]) / 2, (1 - alpha[t]) / 2) / same

    return {"binomial_posterior": posterior}


@genuine("taken for logits", prior=0.5, **FROM_0)
def one_hot_taken_for_logits(beta):  # bionemo-moco 0.0.2.2, D3PM's loss
    alpha, _, prev = tables(beta)

    def posterior(x0, xt, t):
        x0 = 1 / (1 + np.exp(1 - 2 * x0))
        one = (prev[t] * x0 + (1 - prev[t]) / 2) * np.where(
            xt == 1, (1 + alpha[t]) / 2, (1 - alpha[t]) / 2
        )
        zero = (prev[t] * (1 - x0) + (1 - prev[t]) / 2) * np.where(
            xt == 0, (1 + alpha[t]) / 2, (1 - alpha[t]) / 2
        )
        return one / (one + zero)

    return {"binomial_posterior": posterior}


@genuine("whatever x^t is", prior=0.5, **FROM_0)
def posterior_divided_by_the_marginal_of_1(beta):
    alpha, abar, prev = tables(beta)

    def posterior(x0, xt, t):
        step = alpha[t] * xt + beta[t] / 2
        return (prev[t] * x0 + (1 - prev[t]) / 2) * step / (abar[t] * x0 + (1 - abar[t]) / 2)

    return {"binomial_posterior": posterior}


@genuine("pi_1 for 1 - pi_1", prior=0.3, **FROM_0)
def one_probability_of_the_prior_for_both(beta):
    alpha, _, prev = tables(beta)

    def posterior(x0, xt, t):
        one = (prev[t] * x0 + 0.3 * (1 - prev[t])) * (alpha[t] * (xt == 1) + 0.3 * beta[t])
        zero = (1 - prev[t] * x0 - 0.3 * (1 - prev[t])) * (alpha[t] * (xt == 0) + 0.3 * beta[t])
        return one / (one + zero)

    return {"binomial_posterior": posterior}


@genuine("at x^0 = x^t")
def posterior_divided_by_xt_noised_again(beta):  # mhh0318/UniD3, issue 1
    alpha, abar, prev = tables(beta)

    def posterior(x0, xt, t):
        k = t - 1
        step = np.where(xt == 1, (1 + alpha[k]) / 2, (1 - alpha[k]) / 2)
        return (prev[k] * x0 + (1 - prev[k]) / 2) * step / ((1 + abar[k]) / 2)

    return {"binomial_posterior": posterior}


@genuine("cross-entropy")
def cross_entropy_for_the_divergence_of_bits(beta):
    alpha, _, prev = tables(beta)

    def kl_term(x0, xt, t, prob):
        one, zero = (
            (alpha[t - 1] * (xt == s) + beta[t - 1] / 2)
            * (prev[t - 1] * (x0 == s) + (1 - prev[t - 1]) / 2)
            for s in (1, 0)
        )
        q = one / (one + zero)
        return -(q * np.log(prob) + (1 - q) * np.log(1 - prob)).sum(-1)

    return {"binomial_kl_term": kl_term}


# Two at once


@genuine("t one too large", dtype="float32", **FROM_0)
def shifted_and_in_float32(beta):
    abar = np.cumprod(np.float32(1) - np.asarray(beta, np.float32))
    last = len(abar) - 1

    def q_sample(x0, t, noise):
        kept = abar[min(t + 1, last)]
        return np.sqrt(kept) * x0 + np.sqrt(np.float32(1) - kept) * noise

    return {"q_sample": q_sample}


@genuine("and", spread="logvar", unit="bits", components="mean")
def nats_and_no_half(beta):
    return {
        "normal_kl": lambda m, v, n, w: (
            w - v + np.exp(v - w) + (m - n) ** 2 * np.exp(-w) - 1
        ).mean(-1)
    }


@genuine("and", components="sum", **FROM_0)
def prior_kl_of_the_step_before_without_its_minus_one(beta):
    _, abar, _ = tables(beta)
    return {
        "prior_kl": lambda x0: (
            0.5 * (abar[-2] * x0**2 + 1 - abar[-2] - np.log(1 - abar[-2])).sum(-1)
        )
    }


@cache
def report(each: Genuine) -> check.Report:
    """What the check says, made once. Where the schedule is declared, the functions are fixed."""
    fixed = each.conventions.get("beta") is not None
    return check.run(each.functions(None) if fixed else each.functions, **each.conventions)


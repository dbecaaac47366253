"""Subjects: divergences, entropies, log densities, their gradients, and the log of a mean of weights.

    KL( N(mean_q, var_q) || N(mean_p, var_p) ) = [ log(var_p/var_q) + (var_q + (mean_q - mean_p)^2) / var_p - 1 ] / 2
    KL( B(q1) || B(p1) ) = q1 log(q1/p1) + (1 - q1) log((1 - q1)/(1 - p1))
    log p(x^0) ~ log mean_k w_k

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, equations (9) and (14), Table App.1.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from dpm_ref.check.subjects import ALIASES, Inputs, Setting, float32, subject
from dpm_ref.gaussian import Gaussian
from dpm_ref.information import (
    bernoulli_entropy,
    bernoulli_kl,
    bernoulli_kl_grad,
    gaussian_entropy,
    gaussian_kl,
    gaussian_kl_grad,
    log_mean_exp,
)
from dpm_ref.validation import Array

__all__ = ["bits_kl", "bits_entropy", "kl", "entropy", "log_prob", "elementwise_log_prob"]

_LOG_2PI = float(np.log(2.0 * np.pi))


def kl(mean_q: Any, var_q: Any, mean_p: Any, var_p: Any) -> Any:
    """The divergence of single components, nats, the arguments' shape. Equation (14)."""
    return 0.5 * (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1.0)


def entropy(var: Any) -> Any:
    """The entropy of single components, nats, var's shape. Equation (14)."""
    return 0.5 * (_LOG_2PI + 1.0 + np.log(var))


def log_prob(x: Any, mean: Any, var: Any) -> Any:
    """log N(x; mean, var) of single components, nats, the arguments' shape. Table App.1."""
    return -0.5 * (_LOG_2PI + np.log(var) + (x - mean) ** 2 / var)


def bits_kl(q1: Any, p1: Any) -> Any:
    """The divergence of single bits, nats, the arguments' shape. Equation (14)."""
    return q1 * np.log(q1 / p1) + (1.0 - q1) * np.log((1.0 - q1) / (1.0 - p1))


def bits_entropy(p1: Any) -> Any:
    """The entropy of single bits, nats, p1's shape. Equation (14)."""
    return -p1 * np.log(p1) - (1.0 - p1) * np.log(1.0 - p1)


def elementwise_log_prob(x: Array, mean: Array, var: Array) -> Array:
    """log N(x; mean, var) by the package's law, of single components; nats, the arguments' shape. Table App.1."""
    return Gaussian(mean[..., None], np.broadcast_to(var, mean.shape)[..., None]).log_prob(x[..., None])


def _pairs(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    """Means and variances, probabilities, a state and a bit of each: generic ones, then laws that are close."""
    shape = (setting.n, setting.d)
    for spread in (1.0, 1.0, 0.25):
        mean, log_var = rng.standard_normal(shape), rng.standard_normal(shape)
        logit = 1.5 * rng.standard_normal(shape)
        near = [centre + spread * rng.standard_normal(shape) for centre in (mean, log_var, logit)]
        yield Inputs(mean_q=float32(mean), var_q=np.exp(float32(log_var)), mean_p=float32(near[0]), var_p=np.exp(float32(near[1])),
                     q1=float32(1 / (1 + np.exp(-logit))), p1=float32(1 / (1 + np.exp(-near[2]))),
                     x=float32(mean + rng.standard_normal(shape)), bit=(rng.random(shape) < 0.5).astype(np.float64),
                     mean=float32(near[0]), var=np.exp(float32(near[1])))


def _weights(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    """Log weights (k, n), as small as those of a bound are."""
    for offset in (0.0, -3.0, -2000.0):
        yield Inputs(log_w=float32(offset + 1.5 * rng.standard_normal((7, setting.n))))


def _log_mean(s: Any, i: Any) -> Any:
    peak = i.log_w.max(0)
    return (peak + np.log(np.exp(i.log_w - peak).mean(0)))[:, None]


def _kl_size(s: Any, i: Any) -> Any:
    return 1.0 + np.abs(np.log(i.var_p)) + np.abs(np.log(i.var_q)) + (i.var_q + (i.mean_q - i.mean_p) ** 2) / i.var_p


def _log_prob_size(s: Any, i: Any) -> Any:
    return 1.0 + np.abs(np.log(i.var)) + (np.abs(i.x) + np.abs(i.mean)) * (1.0 + np.abs(i.x - i.mean)) / i.var


def _slope_size(s: Any, i: Any) -> Any:
    return (1.0 + (var_ratio := i.var_q / i.var_p) + var_ratio + (i.mean_q - i.mean_p) ** 2 / i.var_p) / i.var_p


_EQ = "(14)"
_GAUSSIANS, _BITS = "mean_q var_q mean_p var_p", "q1 p1"
subject("gaussian_kl", _EQ, "KL(q || p) of normal laws", _GAUSSIANS, "nats", draw=_pairs, needs_schedule=False,
        truth=lambda s, i: gaussian_kl(i.mean_q, i.var_q, i.mean_p, i.var_p),
        formula=lambda s, i: kl(i.mean_q, i.var_q, i.mean_p, i.var_p), size=_kl_size, aliases=("normal_kl",))
subject("gaussian_kl_grad_mean", _EQ, "derivative of KL(q || p) by p's mean", _GAUSSIANS, "slope", draw=_pairs, needs_schedule=False,
        truth=lambda s, i: gaussian_kl_grad(i.mean_q, i.var_q, i.mean_p, i.var_p).mean_p,
        formula=lambda s, i: (i.mean_p - i.mean_q) / i.var_p)
subject("gaussian_kl_grad_var", _EQ, "derivative of KL(q || p) by p's variance", _GAUSSIANS, "slope_spread", draw=_pairs,
        truth=lambda s, i: gaussian_kl_grad(i.mean_q, i.var_q, i.mean_p, i.var_p).var_p, size=_slope_size, needs_schedule=False,
        formula=lambda s, i: 0.5 * (i.var_p - i.var_q - (i.mean_q - i.mean_p) ** 2) / i.var_p**2)
subject("gaussian_entropy", _EQ, "entropy of a normal law", "var", "nats", draw=_pairs, needs_schedule=False,
        truth=lambda s, i: gaussian_entropy(i.var), formula=lambda s, i: entropy(i.var),
        size=lambda s, i: 1.5 + 0.5 * np.abs(np.log(i.var)))
subject("gaussian_log_prob", _LAWS := "Table App.1", "log density of a normal law", "x mean var", "nats", draw=_pairs, needs_schedule=False,
        truth=lambda s, i: elementwise_log_prob(i.x, i.mean, i.var), formula=lambda s, i: log_prob(i.x, i.mean, i.var), size=_log_prob_size,
        aliases=("normal_log_prob",))
subject("bernoulli_kl", _EQ, "KL(q || p) of bits", _BITS, "nats", draw=_pairs, needs_schedule=False,
        truth=lambda s, i: bernoulli_kl(i.q1, i.p1), formula=lambda s, i: bits_kl(i.q1, i.p1),
        size=lambda s, i: 1.0 + np.abs(np.log(i.p1)) + np.abs(np.log(1 - i.p1)))
subject("bernoulli_kl_grad", _EQ, "derivative of KL(q || p) by p's probability of 1", _BITS, "slope", draw=_pairs, needs_schedule=False,
        truth=lambda s, i: bernoulli_kl_grad(i.q1, i.p1).p1, formula=lambda s, i: (i.p1 - i.q1) / (i.p1 * (1.0 - i.p1)),
        size=lambda s, i: 1.0 / i.p1 / (1.0 - i.p1))
subject("bernoulli_entropy", _EQ, "entropy of bits", "p1", "nats", draw=_pairs, needs_schedule=False,
        truth=lambda s, i: bernoulli_entropy(i.p1), formula=lambda s, i: bits_entropy(i.p1), size=lambda s, i: np.ones(i.p1.shape))
subject("bernoulli_log_prob", _LAWS, "log probability of bits", "bit p1", "nats", draw=_pairs, needs_schedule=False,
        truth=lambda s, i: np.where(i.bit == 1, np.log(i.p1), np.log1p(-i.p1)),
        formula=lambda s, i: i.bit * np.log(i.p1) + (1.0 - i.bit) * np.log(1.0 - i.p1), size=lambda s, i: np.ones(i.p1.shape))
subject("log_likelihood", "(9)", "log mean w from log w, over the first axis", "log_w", "nats_row", draw=_weights, needs_schedule=False,
        truth=lambda s, i: log_mean_exp(i.log_w, 0)[:, None], formula=_log_mean,
        size=lambda s, i: 1.0 + np.abs(i.log_w).max(0)[:, None])

ALIASES["gaussian_kl_grad"] = ("gaussian_kl_grad_mean", "gaussian_kl_grad_var")

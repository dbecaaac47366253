"""Mistakes in one formula: laws and their samples, divergences, entropies, weights, the perturbed kernels of section 2.5.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1 (whose perturbed binomial kernel is misprinted), (9), (14).
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dpm_ref.check import about_tables
from dpm_ref.check.about_bits import joint
from dpm_ref.check.about_information import entropy
from dpm_ref.check.mistakes import mistake
from dpm_ref.check.problems import Problem
from dpm_ref.validation import Array

__all__ = ["slip"]


def slip(name: str, of: str, *formulas: Callable[[Any, Any], Any]) -> None:
    """Register a mistake that is another formula, or one of several, of the subjects named in `of`. Table App.1."""
    @mistake(name, of=of.split())
    def _wrong(p: Problem) -> Iterator[Array]:
        for formula in formulas:
            yield p.predict(formula=formula)


# Laws and samples

_VARIANCES = "posterior_variance posterior_var"
slip("beta_t for the posterior variance", _VARIANCES, lambda s, i: s.beta[i.t] + 0.0 * getattr(i, "x0", i.t))
slip("beta_t for the posterior variance", "posterior_log_variance posterior_log_var",
     lambda s, i: np.log(s.beta[i.t]) + 0.0 * getattr(i, "x0", i.t))
slip("beta_t left out of the posterior variance", _VARIANCES, lambda s, i: s.lost_before[i.t] / s.lost[i.t] + 0.0 * getattr(i, "x0", i.t))
slip("ratio upside down: (1 - abar_t) / (1 - abar_{t-1})", _VARIANCES,
     lambda s, i: s.beta[i.t] * s.lost[i.t] / s.lost_before[i.t] + 0.0 * getattr(i, "x0", i.t))
slip("the other coefficient: that of x^t for that of x^0", "posterior_coefficient_x0", about_tables.coefficient_xt)
slip("the other coefficient: that of x^0 for that of x^t", "posterior_coefficient_xt", about_tables.coefficient_x0)
slip("division by 1 - abar_t forgotten", "posterior_coefficient_x0", lambda s, i: np.sqrt(s.before[i.t]) * s.beta[i.t])
slip("division by 1 - abar_t forgotten", "posterior_coefficient_xt", lambda s, i: np.sqrt(s.alpha[i.t]) * s.lost_before[i.t])
slip("division by 1 - abar_t forgotten", "posterior_mean",
     lambda s, i: np.sqrt(s.before[i.t]) * s.beta[i.t] * i.x0 + np.sqrt(s.alpha[i.t]) * s.lost_before[i.t] * i.xt)
slip("division by 1 - abar_t forgotten", _VARIANCES, lambda s, i: s.beta[i.t] * s.lost_before[i.t] + 0.0 * getattr(i, "x0", i.t))
slip("multiplied where it is divided, by sqrt(abar_t)", "x0_from_eps",
     lambda s, i: (i.xt - np.sqrt(s.lost[i.t]) * i.eps) * np.sqrt(s.abar[i.t]))
slip("division by sqrt(abar_t) forgotten", "x0_from_eps", lambda s, i: i.xt - np.sqrt(s.lost[i.t]) * i.eps)
slip("division by sqrt(1 - beta_t) forgotten", "mean_from_eps", lambda s, i: i.xt - s.beta[i.t] / np.sqrt(s.lost[i.t]) * i.eps)
slip("division by sqrt(1 - abar_t) forgotten", "mean_from_eps", lambda s, i: (i.xt - s.beta[i.t] * i.eps) / np.sqrt(s.alpha[i.t]))
slip("x0 from eps returned for the mean", "mean_from_eps", lambda s, i: (i.xt - np.sqrt(s.lost[i.t]) * i.eps) / np.sqrt(s.abar[i.t]))
slip("the marginal's standard deviation for beta_t / sqrt(1 - abar_t)", "mean_from_eps",
     lambda s, i: (i.xt - np.sqrt(s.lost[i.t]) * i.eps) / np.sqrt(s.alpha[i.t]))
slip("variance where the standard deviation is meant", "sample_step", lambda s, i: i.mean + i.var * i.noise)
slip("exp(var) where sqrt(var) is meant, or half of it in the exponent", "sample_step", lambda s, i: i.mean + np.exp(i.var) * i.noise,
     lambda s, i: i.mean + np.exp(0.5 * i.var) * i.noise)
slip("mean left out", "sample_step", lambda s, i: np.sqrt(i.var) * i.noise)
slip("mean left out", "perturbed_mean", lambda s, i: i.var * i.grad_log_r)

# Divergences, entropies, densities


def _kl(log: float = 1.0, ratio: float = 1.0, square: float = 1.0, one: float = 1.0) -> Callable[[Any, Any], Any]:
    """The divergence with its terms weighted."""
    def formula(s: Any, i: Any) -> Any:
        return 0.5 * (log * np.log(i.var_p / i.var_q) + ratio * i.var_q / i.var_p + square * (i.mean_q - i.mean_p) ** 2 / i.var_p - one)
    return formula


slip("-1/2 missing from each component", "gaussian_kl", _kl(one=0.0))
slip("+1/2 for -1/2 in each component", "gaussian_kl", _kl(one=-1.0))
slip("1/2 missing before -1", "gaussian_kl", _kl(one=2.0))
slip("log of the variances' ratio upside down", "gaussian_kl", _kl(log=-1.0))
slip("log of the variances' ratio left out", "gaussian_kl", _kl(log=0.0))
slip("log of standard deviations without the factor 2, or with one too many", "gaussian_kl", _kl(log=0.5), _kl(log=2.0))
slip("the variances' ratio left out", "gaussian_kl", _kl(ratio=0.0))
slip("the variances' ratio upside down", "gaussian_kl",
     lambda s, i: 0.5 * (np.log(i.var_p / i.var_q) + i.var_p / i.var_q + (i.mean_q - i.mean_p) ** 2 / i.var_p - 1.0))
slip("the means left out", "gaussian_kl", _kl(square=0.0))
slip("only the means' part of the divergence", "gaussian_kl", _kl(0.0, 0.0, 1.0, 0.0))
slip("1/2 missing before the square of the means' difference, or one too many", "gaussian_kl", _kl(square=2.0), _kl(square=0.5))
slip("the means' difference not squared", "gaussian_kl",
     lambda s, i: 0.5 * (np.log(i.var_p / i.var_q) + (i.var_q + i.mean_q - i.mean_p) / i.var_p - 1.0),
     lambda s, i: 0.5 * (np.log(i.var_p / i.var_q) + (i.var_q + np.abs(i.mean_q - i.mean_p)) / i.var_p - 1.0))
slip("the square divided by q's variance", "gaussian_kl",
     lambda s, i: 0.5 * (np.log(i.var_p / i.var_q) + i.var_q / i.var_p + (i.mean_q - i.mean_p) ** 2 / i.var_q - 1.0))
slip("the square divided by a standard deviation", "gaussian_kl",
     lambda s, i: 0.5 * (np.log(i.var_p / i.var_q) + i.var_q / i.var_p + (i.mean_q - i.mean_p) ** 2 / np.sqrt(i.var_p) - 1.0))
slip("cross-entropy for the divergence", "gaussian_kl", lambda s, i: _kl()(s, i) + entropy(i.var_q))
slip("cross-entropy for the divergence", "bernoulli_kl", lambda s, i: -i.q1 * np.log(i.p1) - (1.0 - i.q1) * np.log(1.0 - i.p1))
slip("only the term of x = 1", "bernoulli_kl", lambda s, i: i.q1 * np.log(i.q1 / i.p1))
slip("only the term of x = 0", "bernoulli_kl", lambda s, i: (1.0 - i.q1) * np.log((1.0 - i.q1) / (1.0 - i.p1)))
slip("only the term of x = 1", "bernoulli_entropy", lambda s, i: -i.p1 * np.log(i.p1))
slip("only the term of x = 0", "bernoulli_entropy", lambda s, i: -(1.0 - i.p1) * np.log(1.0 - i.p1))
slip("only the term of x = 1", "bernoulli_log_prob", lambda s, i: i.bit * np.log(i.p1))
slip("only the term of x = 0", "bernoulli_log_prob", lambda s, i: (1.0 - i.bit) * np.log(1.0 - i.p1))
slip("the logarithm forgotten: a probability", "bernoulli_log_prob", lambda s, i: i.bit * i.p1 + (1.0 - i.bit) * (1.0 - i.p1))
slip("the derivative by p's logit", "bernoulli_kl_grad", lambda s, i: i.p1 - i.q1)
slip("1 - p left out of the derivative", "bernoulli_kl_grad", lambda s, i: (i.p1 - i.q1) / i.p1, lambda s, i: -i.q1 / i.p1)
slip("2 pi missing", "gaussian_entropy", lambda s, i: 0.5 * (1.0 + np.log(i.var)))
slip("e missing: +1/2 in each component", "gaussian_entropy", lambda s, i: 0.5 * np.log(2 * np.pi * i.var))
slip("2 pi e missing: only log std", "gaussian_entropy", lambda s, i: 0.5 * np.log(i.var))
slip("log var without its 1/2, or half of it too much", "gaussian_entropy",
     lambda s, i: entropy(i.var**2), lambda s, i: entropy(np.sqrt(i.var)))
slip("sign of log var flipped", "gaussian_entropy", lambda s, i: entropy(1.0 / i.var))


def _log_prob(constant: float = 1.0, log: float = 1.0, square: float = 1.0) -> Callable[[Any, Any], Any]:
    return lambda s, i: -0.5 * (constant * np.log(2 * np.pi) + log * np.log(i.var) + square * (i.x - i.mean) ** 2 / i.var)


slip("2 pi missing", "gaussian_log_prob", _log_prob(constant=0.0), _log_prob(constant=0.0, log=2.0))
slip("log var left out", "gaussian_log_prob", _log_prob(log=0.0))
slip("log var without its 1/2, or half of it too much", "gaussian_log_prob", _log_prob(log=2.0), _log_prob(log=0.5))
slip("sign of log var flipped", "gaussian_log_prob", _log_prob(log=-1.0))
slip("1/2 missing before the square, or one too many", "gaussian_log_prob", _log_prob(square=2.0), _log_prob(square=0.5))
slip("only the square", "gaussian_log_prob", _log_prob(0.0, 0.0, 1.0))
slip("the square divided by a standard deviation", "gaussian_log_prob",
     lambda s, i: -0.5 * (np.log(2 * np.pi * i.var) + (i.x - i.mean) ** 2 / np.sqrt(i.var)))
slip("division by the variance forgotten", "gaussian_kl_grad_mean", lambda s, i: i.mean_p - i.mean_q)
slip("derivative by q's mean, or its sign flipped", "gaussian_kl_grad_mean", lambda s, i: (i.mean_q - i.mean_p) / i.var_p)
slip("divided by q's variance", "gaussian_kl_grad_mean", lambda s, i: (i.mean_p - i.mean_q) / i.var_q)
slip("the means left out", "gaussian_kl_grad_var", lambda s, i: 0.5 * (i.var_p - i.var_q) / i.var_p**2)
slip("derivative by q's variance", "gaussian_kl_grad_var", lambda s, i: 0.5 * (1.0 / i.var_p - 1.0 / i.var_q))
slip("divided by the variance once, not twice", "gaussian_kl_grad_var",
     lambda s, i: 0.5 * (i.var_p - i.var_q - (i.mean_q - i.mean_p) ** 2) / i.var_p)

# Weights

slip("mean of logarithms for logarithm of mean", "log_likelihood", lambda s, i: i.log_w.mean(0)[:, None])
slip("sum of weights for their mean: - log n missing", "log_likelihood", lambda s, i: np.logaddexp.reduce(i.log_w, 0)[:, None])
slip("log n subtracted twice", "log_likelihood", lambda s, i: (np.logaddexp.reduce(i.log_w, 0) - 2 * np.log(len(i.log_w)))[:, None])
slip("n - 1 for n", "log_likelihood", lambda s, i: (np.logaddexp.reduce(i.log_w, 0) - np.log(len(i.log_w) - 1))[:, None])
slip("the largest weight for their mean", "log_likelihood", lambda s, i: i.log_w.max(0)[:, None])
slip("the largest weight taken out and not put back", "log_likelihood",
     lambda s, i: np.log(np.exp(i.log_w - i.log_w.max(0)).mean(0))[:, None])
slip("sum and not mean, the largest weight not put back", "log_likelihood",
     lambda s, i: np.log(np.exp(i.log_w - i.log_w.max(0)).sum(0))[:, None])
slip("weights underflow: their largest is not taken out before exp", "log_likelihood",
     lambda s, i: np.log(np.exp(i.log_w).mean(0))[:, None])

# Perturbed kernels

slip("standard deviation for variance before the gradient", "perturbed_mean", lambda s, i: i.mean + np.sqrt(i.var) * i.grad_log_r)
slip("variance squared before the gradient", "perturbed_mean", lambda s, i: i.mean + i.var**2 * i.grad_log_r)
slip("the variance before the gradient left out", "perturbed_mean", lambda s, i: i.mean + i.grad_log_r)
slip("half the variance before the gradient", "perturbed_mean", lambda s, i: i.mean + 0.5 * i.var * i.grad_log_r)
slip("weighted by variances for precisions", "factor_mean", lambda s, i: (i.mean * i.var + i.y * i.var_y) / (i.var + i.var_y))
slip("weighted by standard deviations", "factor_mean",
     lambda s, i: (i.mean * np.sqrt(i.var_y) + i.y * np.sqrt(i.var)) / (np.sqrt(i.var) + np.sqrt(i.var_y)))
slip("the factor clamped: y returned", "factor_mean", lambda s, i: i.y)
slip("the plain average of both means", "factor_mean", lambda s, i: 0.5 * (i.mean + i.y))
slip("the factor left out", "factor_mean", lambda s, i: i.mean)
slip("the factor left out", "factor_var", lambda s, i: i.var)
slip("variances added", "factor_var", lambda s, i: i.var + i.var_y)
slip("precisions added and not inverted", "factor_var", lambda s, i: 1.0 / i.var + 1.0 / i.var_y)


def _odds(i: Any) -> Any:
    d = np.exp(i.log_r1) / (np.exp(i.log_r1) + np.exp(i.log_r0))
    return i.prob, d


def _misprint(x: float) -> Callable[[Any, Any], Any]:
    """Table App.1 has x_i d_i in the denominator where c_i d_i belongs."""
    def formula(s: Any, i: Any) -> Any:
        c, d = _odds(i)
        return c * d / (x * d + (1.0 - c) * (1.0 - d))
    return formula


slip("Table App.1's misprint: x_i d_i in the denominator", "perturbed_bits", _misprint(0.0), _misprint(1.0))
slip("not normalised over both states", "perturbed_bits", lambda s, i: i.prob * np.exp(i.log_r1), lambda s, i: np.multiply(*_odds(i)))
slip("r(0) left out", "perturbed_bits", lambda s, i: (up := i.prob * np.exp(i.log_r1)) / (up + 1.0 - i.prob))
slip("r left out", "perturbed_bits", lambda s, i: i.prob)
slip("r alone, the kernel left out", "perturbed_bits", lambda s, i: _odds(i)[1])
slip("log r added to the probability, not to its logit", "perturbed_bits", lambda s, i: i.prob + i.log_r1 - i.log_r0)
slip("half the log ratio of r", "perturbed_bits",
     lambda s, i: (up := i.prob * np.exp(0.5 * i.log_r1)) / (up + (1.0 - i.prob) * np.exp(0.5 * i.log_r0)))

# Bits

_BITS = "binomial_kernel binomial_marginal binomial_posterior binomial_edge"


@mistake("1 - pi_1 for pi_1", of=_BITS.split())
def _other_prior(p: Problem) -> Iterator[Array]:
    yield p.predict(pi1=1.0 - p.inputs.pi1)


@mistake("pi_1 left out", of=_BITS.split())
def _no_prior(p: Problem) -> Iterator[Array]:
    yield p.predict(pi1=0.0)


@mistake("pi_1 taken as 1/2", of=_BITS.split())
def _half_prior(p: Problem) -> Iterator[Array]:
    yield p.predict(pi1=0.5)


slip("beta_t / 2 for beta_t: the chance to flip for the chance to be drawn anew", "binomial_kernel",
     lambda s, i: i.x_prev + 0.5 * s.beta[i.t] * (i.pi1 - i.x_prev))
slip("twice beta_t: the chance to be drawn anew for the chance to flip", "binomial_kernel",
     lambda s, i: i.x_prev + 2.0 * s.beta[i.t] * (i.pi1 - i.x_prev))
slip("root of the kept share, as in the Gaussian column", "binomial_kernel",
     lambda s, i: np.sqrt(s.alpha[i.t]) * i.x_prev + i.pi1 * s.beta[i.t])
slip("root of the kept share, as in the Gaussian column", "binomial_marginal",
     lambda s, i: np.sqrt(s.abar[i.t]) * i.x0 + i.pi1 * s.lost[i.t])
slip("the marginal of x^{t-1}, the likelihood of x^t left out", "binomial_posterior",
     lambda s, i: i.x0 * s.before[i.t] + i.pi1 * s.lost_before[i.t])
slip("the likelihood of x^t, the marginal of x^{t-1} left out", "binomial_posterior",
     lambda s, i: i.xt * s.alpha[i.t] + (i.xt * i.pi1 + (1.0 - i.xt) * (1.0 - i.pi1)) * s.beta[i.t])
slip("not normalised over both states", "binomial_posterior", lambda s, i: joint(s, i)[0])
slip("odds for probability", "binomial_posterior", lambda s, i: np.divide(*joint(s, i)))

"""Subjects: the Gaussian column of Table App.1, sampling, and the perturbed kernels of section 2.5.

    kernel     N(sqrt(1 - beta_t) x^{t-1}, beta_t)                  marginal   N(sqrt(abar_t) x^0, 1 - abar_t)
    q_sample   sqrt(abar_t) x^0 + sqrt(1 - abar_t) noise            posterior  q(x^{t-1} | x^t, x^0), t >= 2
    a network's eps gives   x^0 = (x^t - sqrt(1 - abar_t) eps) / sqrt(abar_t),  and the posterior's mean at it
    perturbed by a smooth r    mean + var grad log r            by a factor N(x; y, var_y)    precisions add

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1 and section 2.5; Ho et al. 2020, arXiv:2006.11239.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from dpm_ref.check.about_tables import coefficient_x0, coefficient_xt, posterior_var
from dpm_ref.check.subjects import ALIASES, Inputs, Setting, float32, subject

__all__ = ["mean_from_eps", "posterior_mean", "x0_from_eps"]


def posterior_mean(s: Any, i: Any) -> Any:
    """The posterior's mean, shape (n, d), the data's unit. Table App.1."""
    return coefficient_x0(s, i) * i.x0 + coefficient_xt(s, i) * i.xt


def x0_from_eps(s: Any, i: Any) -> Any:
    """x^0 where eps is the noise in x^t, shape (n, d), the data's unit. Table App.1."""
    if s.form == 1:
        return np.sqrt(1.0 / s.abar[i.t]) * i.xt - np.sqrt(1.0 / s.abar[i.t] - 1.0) * i.eps
    return (i.xt - np.sqrt(s.lost[i.t]) * i.eps) / np.sqrt(s.abar[i.t])


def mean_from_eps(s: Any, i: Any) -> Any:
    """The mean (x^t - beta_t eps / sqrt(1 - abar_t)) / sqrt(1 - beta_t), shape (n, d), the data's unit. Table App.1.

    In its other forms, the posterior's mean at x^0 from eps.
    """
    if s.form > 0:
        at = replace(s, form=s.form - 1)
        return posterior_mean(at, Inputs(x0=x0_from_eps(at, i), xt=i.xt, t=i.t))
    return (i.xt - s.beta[i.t] / np.sqrt(s.lost[i.t]) * i.eps) / np.sqrt(s.alpha[i.t])


def _drawn(first: int, *names: str) -> Callable[[Setting, np.random.Generator], Iterator[Inputs]]:
    """States under these names, and times from `first` on."""
    def draw(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
        for t in setting.times(first, rng):
            yield Inputs(**{name: setting.states(rng) for name in names}, t=t[:, None])
    return draw


def _sizes(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    """Means, noise and variances of single components."""
    for _ in range(2):
        def some() -> Any:
            return float32(rng.standard_normal((setting.n, setting.d)))
        yield Inputs(mean=some(), var=np.exp(some()), noise=some(), grad_log_r=some(), y=some(), var_y=np.exp(some()))



def _posterior(setting: Setting, i: Any) -> Any:
    return setting.gaussian.posterior(i.x0, i.xt, i.t[:, 0])


def _eps_coefficient(s: Any, i: Any) -> Any:
    return np.abs(i.xt) / np.sqrt(s.abar[i.t]) + np.sqrt(s.lost[i.t] / s.abar[i.t]) * np.abs(i.eps)


def _mean_from_eps_truth(setting: Setting, i: Any) -> Any:
    g, rate = setting.gaussian, setting.beta[i.t - 1]
    return (i.xt - rate / g.sqrt_one_minus_abar(i.t) * i.eps) / np.sqrt(1.0 - rate)


_LAWS = "Table App.1"
subject("kernel_mean", _LAWS, "mean of q(x^t | x^{t-1})", "x_prev t", "state", draw=_drawn(1, "x_prev"),
        truth=lambda s, i: s.gaussian.kernel(i.x_prev, i.t[:, 0]).mean, formula=lambda s, i: np.sqrt(s.alpha[i.t]) * i.x_prev)
subject("kernel_var", _LAWS, "variance of q(x^t | x^{t-1})", "x_prev t", "spread", draw=_drawn(1, "x_prev"),
        truth=lambda s, i: s.gaussian.kernel(i.x_prev, i.t[:, 0]).var, formula=lambda s, i: s.beta[i.t] + 0.0 * i.x_prev)
subject("marginal_mean", _LAWS, "mean of q(x^t | x^0)", "x0 t", "state", draw=_drawn(1, "x0"),
        truth=lambda s, i: s.gaussian.marginal(i.x0, i.t[:, 0]).mean, formula=lambda s, i: np.sqrt(s.abar[i.t]) * i.x0)
subject("marginal_var", _LAWS, "variance of q(x^t | x^0)", "x0 t", "spread", draw=_drawn(1, "x0"),
        truth=lambda s, i: s.gaussian.marginal(i.x0, i.t[:, 0]).var, formula=lambda s, i: s.lost[i.t] + 0.0 * i.x0)
subject("marginal_log_var", _LAWS, "log variance of q(x^t | x^0)", "x0 t", "state", draw=_drawn(1, "x0"),
        truth=lambda s, i: s.gaussian.log_one_minus_abar(i.t) + 0.0 * i.x0, formula=lambda s, i: np.log(s.lost[i.t]) + 0.0 * i.x0,
        size=lambda s, i: np.ones(i.x0.shape))
subject("q_sample", _LAWS, "x^t from x^0 and standard normal noise", "x0 t noise", "state", draw=_drawn(1, "x0", "noise"),
        truth=lambda s, i: s.gaussian.marginal(i.x0, i.t[:, 0]).at(i.noise),
        formula=lambda s, i: np.sqrt(s.abar[i.t]) * i.x0 + np.sqrt(s.lost[i.t]) * i.noise,
        size=lambda s, i: np.abs(i.x0) + np.abs(np.sqrt(s.lost[i.t]) * i.noise), aliases=("marginal_sample", "add_noise"))
subject("posterior_mean", _LAWS, "mean of q(x^{t-1} | x^t, x^0), t >= 2", "x0 xt t", "state", draw=_drawn(2, "x0", "xt"),
        truth=lambda s, i: _posterior(s, i).mean, formula=posterior_mean,
        size=lambda s, i: np.abs(coefficient_x0(s, i) * i.x0) + np.abs(coefficient_xt(s, i) * i.xt))
subject("posterior_var", _LAWS, "variance of q(x^{t-1} | x^t, x^0), t >= 2", "x0 xt t", "spread", draw=_drawn(2, "x0", "xt"),
        truth=lambda s, i: _posterior(s, i).var, formula=lambda s, i: posterior_var(s, i) + 0.0 * i.x0)
subject("posterior_log_var", _LAWS, "log variance of q(x^{t-1} | x^t, x^0), t >= 2", "x0 xt t", "state", draw=_drawn(2, "x0", "xt"),
        truth=lambda s, i: np.log(_posterior(s, i).var), formula=lambda s, i: np.log(posterior_var(s, i)) + 0.0 * i.x0,
        size=lambda s, i: np.ones(i.x0.shape))
subject("x0_from_eps", _LAWS, "x^0 from x^t and its noise eps", "xt t eps", "state", draw=_drawn(1, "xt", "eps"),
        truth=lambda s, i: (i.xt - s.gaussian.sqrt_one_minus_abar(i.t) * i.eps) / s.gaussian.sqrt_abar(i.t), formula=x0_from_eps,
        size=_eps_coefficient, forms=2, aliases=("predict_xstart_from_eps", "predict_start_from_noise"))
subject("mean_from_eps", _LAWS, "mean of p(x^{t-1} | x^t) from x^t and eps, t >= 2", "xt t eps", "state", draw=_drawn(2, "xt", "eps"),
        truth=_mean_from_eps_truth, formula=mean_from_eps, forms=3,
        size=lambda s, i: (np.abs(i.xt) + s.beta[i.t] / np.sqrt(s.lost[i.t]) * np.abs(i.eps)) / np.sqrt(s.alpha[i.t]))
subject("sample_step", "(5)", "x^{t-1} from mean, variance and noise", "mean var noise", "state", draw=_sizes, needs_schedule=False,
        truth=lambda s, i: i.mean + np.sqrt(i.var) * i.noise, formula=lambda s, i: i.mean + np.sqrt(i.var) * i.noise,
        size=lambda s, i: np.abs(i.mean) + np.abs(np.sqrt(i.var) * i.noise))
subject("perturbed_mean", "section 2.5", "mean times a smooth r, of gradient grad log r there", "mean var grad_log_r", "state",
        draw=_sizes, truth=lambda s, i: i.mean + i.var * i.grad_log_r, formula=lambda s, i: i.mean + i.var * i.grad_log_r,
        size=lambda s, i: np.abs(i.mean) + np.abs(i.var * i.grad_log_r), needs_schedule=False)
subject("factor_mean", "section 2.5", "mean of N(mean, var) times N(x; y, var_y)", "mean var y var_y", "state", draw=_sizes,
        truth=lambda s, i: i.mean + i.var / (i.var + i.var_y) * (i.y - i.mean),
        formula=lambda s, i: (i.mean * i.var_y + i.y * i.var) / (i.var + i.var_y),
        size=lambda s, i: np.abs(i.mean) + np.abs(i.y), needs_schedule=False)
subject("factor_var", "section 2.5", "variance of N(mean, var) times N(x; y, var_y)", "mean var y var_y", "spread", draw=_sizes,
        truth=lambda s, i: i.var * i.var_y / (i.var + i.var_y), formula=lambda s, i: 1.0 / (1.0 / i.var + 1.0 / i.var_y),
        needs_schedule=False)

ALIASES.update({"kernel": ("kernel_mean", "kernel_var"), "marginal": ("marginal_mean", "marginal_var"),
                "q_mean_variance": ("marginal_mean", "marginal_var", "marginal_log_var"), "factor": ("factor_mean", "factor_var"),
                "posterior": ("posterior_mean", "posterior_var"), "q_posterior": ("posterior_mean", "posterior_var", "posterior_log_var"),
                "q_posterior_mean_variance": ("posterior_mean", "posterior_var", "posterior_log_var")})

"""Subjects: the schedule's tables, under the paper's names and those of DDPM's code.

A table is an array over t = 1..T, or a function of t. The posterior's entries at t = 1, a point mass, are not compared.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dpm_ref.check.subjects import Inputs, Setting, subject
from dpm_ref.validation import Array

__all__: list[str] = []


def _all_times(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    yield Inputs(t=np.arange(1, setting.T + 1)[:, None])


def _of(method: str) -> Callable[[Setting, Inputs], Array]:
    return lambda setting, i: np.asarray(getattr(setting.gaussian, method)(i.t))


def _from_second(values: Callable[[Any, Any], Any]) -> Callable[[Setting, Inputs], Array]:
    """nan at t = 1, where the posterior is a point mass."""
    return lambda setting, i: np.where(i.t == 1, np.nan, values(setting.gaussian, np.maximum(i.t, 2)) if setting.T > 1 else np.nan)


def _before(setting: Setting, i: Inputs) -> Array:
    return np.where(i.t == 1, 1.0, setting.gaussian.abar(np.maximum(i.t - 1, 1)))


def _table(name: str, summary: str, truth: Any, formula: Any, *aliases: str, size: Any = None, forms: int = 1) -> None:
    subject(name, "Table App.1", summary, "t", "table", draw=_all_times, truth=truth, formula=formula, size=size, aliases=aliases,
            is_table=True, forms=forms)


def posterior_var(s: Any, i: Any) -> Any:
    """beta_t (1 - abar_{t-1}) / (1 - abar_t), dimensionless, shape of t. Table App.1."""
    return s.beta[i.t] * s.lost_before[i.t] / s.lost[i.t]


def coefficient_x0(s: Any, i: Any) -> Any:
    """sqrt(abar_{t-1}) beta_t / (1 - abar_t), dimensionless, shape of t. Table App.1."""
    return np.sqrt(s.before[i.t]) * s.beta[i.t] / s.lost[i.t]


def coefficient_xt(s: Any, i: Any) -> Any:
    """sqrt(1 - beta_t) (1 - abar_{t-1}) / (1 - abar_t), dimensionless, shape of t. Table App.1."""
    return np.sqrt(s.alpha[i.t]) * s.lost_before[i.t] / s.lost[i.t]


_table("beta", "beta_t", lambda s, i: s.beta[i.t - 1], lambda s, i: s.beta[i.t], "betas")
_table("alpha", "1 - beta_t", lambda s, i: 1.0 - s.beta[i.t - 1], lambda s, i: s.alpha[i.t], "alphas")
_table("abar", "prod_{s<=t} (1 - beta_s)", _of("abar"), lambda s, i: s.abar[i.t], "alphas_cumprod", "alpha_bar")
_table("abar_prev", "abar_{t-1}, 1 at t = 1", _before, lambda s, i: s.before[i.t], "alphas_cumprod_prev")
_table("one_minus_abar", "1 - abar_t", _of("one_minus_abar"), lambda s, i: s.lost[i.t], "one_minus_alphas_cumprod")
_table("sqrt_abar", "sqrt(abar_t)", _of("sqrt_abar"), lambda s, i: np.sqrt(s.abar[i.t]), "sqrt_alphas_cumprod")
_table("sqrt_one_minus_abar", "sqrt(1 - abar_t)", _of("sqrt_one_minus_abar"), lambda s, i: np.sqrt(s.lost[i.t]),
       "sqrt_one_minus_alphas_cumprod")
_table("log_abar", "log abar_t", _of("log_abar"), lambda s, i: np.log(s.abar[i.t]), "log_alphas_cumprod")
_table("log_one_minus_abar", "log(1 - abar_t)", _of("log_one_minus_abar"), lambda s, i: np.log(s.lost[i.t]),
       "log_one_minus_alphas_cumprod")
_table("log_snr", "log abar_t - log(1 - abar_t)", lambda s, i: s.gaussian.log_abar(i.t) - s.gaussian.log_one_minus_abar(i.t),
       lambda s, i: np.log(s.abar[i.t] / s.lost[i.t]), size=lambda s, i: np.abs(np.log(s.abar[i.t])) + np.abs(np.log(s.lost[i.t])))
_table("sqrt_recip_abar", "1 / sqrt(abar_t)", lambda s, i: 1.0 / s.gaussian.sqrt_abar(i.t), lambda s, i: np.sqrt(1.0 / s.abar[i.t]),
       "sqrt_recip_alphas_cumprod")
_table("sqrt_recipm1_abar", "sqrt(1 / abar_t - 1)", lambda s, i: s.gaussian.sqrt_one_minus_abar(i.t) / s.gaussian.sqrt_abar(i.t),
       lambda s, i: np.sqrt(1.0 / s.abar[i.t] - 1.0 if s.form else s.lost[i.t] / s.abar[i.t]), "sqrt_recipm1_alphas_cumprod", forms=2)
_table("posterior_variance", "beta_t (1 - abar_{t-1}) / (1 - abar_t), t >= 2", _from_second(lambda g, t: g.posterior_var(t)), posterior_var)
_table("posterior_log_variance", "its logarithm, t >= 2", _from_second(lambda g, t: np.log(g.posterior_var(t))),
       lambda s, i: np.log(posterior_var(s, i)), "posterior_log_variance_clipped")
_table("posterior_coefficient_x0", "sqrt(abar_{t-1}) beta_t / (1 - abar_t), t >= 2",
       _from_second(lambda g, t: g.posterior_coefficients(t)[0]), coefficient_x0, "posterior_mean_coef1")
_table("posterior_coefficient_xt", "sqrt(1 - beta_t) (1 - abar_{t-1}) / (1 - abar_t), t >= 2",
       _from_second(lambda g, t: g.posterior_coefficients(t)[1]), coefficient_xt, "posterior_mean_coef2")

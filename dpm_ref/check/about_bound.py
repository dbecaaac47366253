"""Subjects: K and its terms, equation (14), log weights and the bounds (24), Gaussian column.

The reverse kernel comes as its means and variances at the states given: for K `xs, means, vars` (T-1, n, ...) belong to x^t,
t = 2..T, for weights `means, vars` (T, n, ...) to p(x^{t-1} | x^t), t = 1..T, and the trajectory (T+1, n, ...) begins with x^0.

    K(x^0)  = -KLs + H_q(X^T|x^0) - H_q(X^1|x^0) + E log pi(x^T) + log pi(x^0) - E log pi(x^1)
    (14)    = -KLs + H_q(X^T|x^0) - H_q(X^1|x^0) - H_p(X^T), averaged over the batch, which should meet E|x^0|^2 = d
    log w   = log pi(x^T) + sum_t log p(x^{t-1}|x^t) - sum_t log q(x^t|x^{t-1})
    (24)    lower = H_q(X^t|X^{t-1}) + H_q(X^{t-1}|X^0) - H_q(X^t|X^0),   upper = H_q(X^t|X^{t-1})

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, equations (9), (12) to (14) and (24).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from dpm_ref.check import about_gaussian, about_tables
from dpm_ref.check.about_information import elementwise_log_prob, entropy, kl, log_prob
from dpm_ref.check.subjects import ALIASES, Inputs, Setting, float32, subject
from dpm_ref.information import gaussian_kl
from dpm_ref.protocols import Diffusion
from dpm_ref.validation import Array

__all__ = ["Parts", "WeightParts", "EntropyParts", "parts", "weight_parts", "entropy_parts", "bound", "eq14", "log_weight", "lower",
           "entropy_draw", "meets_eq14", "steps"]


class Parts(NamedTuple):
    """The terms of K, each (n, d) in nats; kls is the sum over t = 2..T. Equation (14)."""

    kls: Any
    last: Any  # H_q(X^T|x^0)
    first: Any  # H_q(X^1|x^0)
    cross_last: Any  # E log pi(x^T)
    cross_first: Any
    log_prior: Any
    prior_entropy: Any


class WeightParts(NamedTuple):
    """The terms of log w, in nats: shape (n, d), and (T, n, d) for the steps. Equation (9)."""

    log_prior: Any
    reverse: Any
    forward: Any
    marginal: Any  # log q(x^t|x^0), which does not belong here


class EntropyParts(NamedTuple):
    """The entropies of equation (24), each (1, d) in nats."""

    kernel: Any
    before: Any  # H_q(X^{t-1}|X^0)
    now: Any  # H_q(X^t|X^0)


def bound(p: Parts) -> Any:
    """K of single components, shape (n, d), nats. Equation (13)."""
    return -p.kls + p.last - p.first + p.cross_last + p.log_prior - p.cross_first


def eq14(p: Parts) -> Any:
    """(14) of single components, averaged over the batch: shape (1, d), nats."""
    return (-p.kls + p.last - p.first - p.prior_entropy).mean(0, keepdims=True)


def log_weight(p: WeightParts) -> Any:
    """log w of single components, shape (n, d), nats. Equation (9)."""
    return p.log_prior + (p.reverse - p.forward).sum(0)


def lower(p: EntropyParts) -> Any:
    """The lower side of (24) of single components, shape (1, d), nats."""
    return p.kernel + p.before - p.now


def steps(T: int, first: int) -> Any:
    """Times first..T against (n, d) states of each: shape (T - first + 1, 1, 1), no unit. Section 2.1."""
    return np.arange(first, T + 1)[:, None, None]


def parts(s: Any, i: Any) -> Parts:
    """The textbook's terms of K; shape (n, d) each, nats. Equation (14)."""
    at = Inputs(x0=i.x0, xt=i.xs, t=steps(s.T, 2))
    kls = kl(about_gaussian.posterior_mean(s, at), about_tables.posterior_var(s, at), i.means, i.vars).sum(0)

    def cross(abar: Any, lost: Any) -> Any:
        return log_prob(np.sqrt(abar) * i.x0, 0.0, 1.0) - 0.5 * lost
    zero = 0.0 * i.x0
    return Parts(kls, entropy(s.lost[s.T]) + zero, entropy(s.lost[1]) + zero, cross(s.abar[s.T], s.lost[s.T]), cross(s.abar[1], s.lost[1]),
                 log_prob(i.x0, 0.0, 1.0), entropy(1.0) + zero)


def weight_parts(s: Any, i: Any) -> WeightParts:
    """The textbook's terms of log w, nats. Equation (9)."""
    t, x = steps(s.T, 1), i.trajectory
    return WeightParts(log_prob(x[-1], 0.0, 1.0), log_prob(x[:-1], i.means, i.vars),
                       log_prob(x[1:], np.sqrt(s.alpha[t]) * x[:-1], s.beta[t]), log_prob(x[1:], np.sqrt(s.abar[t]) * x[0], s.lost[t]))


def entropy_parts(s: Any, i: Any) -> EntropyParts:
    """The textbook's terms of (24); shape (1, d) each, nats."""
    zero = np.zeros((1, i.x0.shape[-1]))
    return EntropyParts(*(entropy(table[i.t[:1]]) + zero for table in (s.beta, s.lost_before, s.lost)))


def _kls(setting: Setting, i: Any) -> Array:
    t = np.broadcast_to(steps(setting.T, 2), i.xs.shape)[..., 0]
    law = setting.gaussian.posterior(np.broadcast_to(i.x0, i.xs.shape), i.xs, t)
    return np.asarray(gaussian_kl(law.mean, law.var, i.means, i.vars).sum(0))


def _fixed(setting: Setting, i: Any) -> Array:
    g = setting.gaussian
    first, last = (gaussian_kl(law.mean, law.var, 0.0, 1.0) for law in (g.marginal(i.x0, 1), g.marginal(i.x0, setting.T)))
    return np.asarray(elementwise_log_prob(i.x0, 0.0 * i.x0, np.asarray(1.0)) + first - last)


def _eq14_truth(setting: Setting, i: Any) -> Array:
    g = setting.gaussian
    change = 0.5 * (g.log_one_minus_abar(g.T) - g.log_one_minus_abar(1)) - entropy(1.0)
    return np.asarray((-_kls(setting, i) + change).mean(0, keepdims=True))


def _weights_truth(setting: Setting, i: Any) -> Array:
    x, t = i.trajectory, steps(setting.T, 1)
    forward = setting.gaussian.kernel(x[:-1], np.broadcast_to(t, x[:-1].shape)[..., 0])
    ratios = elementwise_log_prob(x[:-1], i.means, i.vars) - elementwise_log_prob(x[1:], forward.mean, forward.var)
    return np.asarray(elementwise_log_prob(x[-1], 0.0 * x[-1], np.asarray(1.0)) + ratios.sum(0))


def _entropies(side: str) -> Callable[[Setting, Any], Array]:
    def truth(setting: Setting, i: Any) -> Array:
        t = int(i.t[0, 0])
        total = getattr(setting.gaussian, f"{side}_entropy")(i.x0, t)[0]
        if side == "kernel" and not setting.gaussian.entropy_never_falls(i.x0).holds:
            return np.full((1, setting.d), np.nan)
        return np.full((1, setting.d), total / setting.d)
    return truth


def meets_eq14(diffusion: Diffusion, x0: Array) -> bool:
    """Whether (14) is K on average on data (n, d), to six digits; no unit. App. B.1."""
    prior = diffusion.prior(x0.shape[-1])
    return bool(abs(prior.log_prob(x0).mean() + prior.entropy()) < 1e-6 * x0.shape[-1])


def _draw(setting: Setting, rng: np.random.Generator, x0: Array) -> Iterator[Inputs]:
    if setting.T < 2:
        return
    t = steps(setting.T, 2)
    xs = float32(np.sqrt(setting.rates.abar[t]) * x0 + np.sqrt(setting.rates.lost[t]) * rng.standard_normal((setting.T - 1, *x0.shape)))
    var = about_tables.posterior_var(setting.rates, Inputs(t=t))
    mean = about_gaussian.posterior_mean(setting.rates, Inputs(x0=x0, xt=xs, t=t))
    means = float32(mean + np.sqrt(var) * rng.standard_normal(xs.shape))
    yield Inputs(x0=x0, xs=xs, means=means, vars=var * np.exp(0.5 * rng.standard_normal(xs.shape)))


def _bound_draw(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    return _draw(setting, rng, setting.states(rng))


def _eq14_draw(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    """The batch, or the data given; drawn batches are scaled to meet the precondition."""
    x0 = setting.data if setting.data is not None else setting.states(rng)
    return _draw(setting, rng, x0 if setting.data is not None else float32(x0 / np.sqrt((x0**2).mean())))


def _term_draw(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    for t in setting.times(2, rng):
        i = Inputs(x0=setting.states(rng), xt=setting.states(rng), t=t[:, None])
        var = about_tables.posterior_var(setting.rates, i)
        mean = about_gaussian.posterior_mean(setting.rates, i) + np.sqrt(var) * rng.standard_normal(i.x0.shape)
        yield Inputs(**vars(i), mean=float32(mean), var=var * np.exp(0.5 * rng.standard_normal(i.x0.shape)))


def _weight_draw(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    x = [setting.states(rng)]
    for rate in setting.beta:
        x.append(float32(np.sqrt(1.0 - rate) * x[-1] + np.sqrt(rate) * rng.standard_normal(x[0].shape)))
    path = np.array(x)
    var = setting.beta[:, None, None] * np.exp(0.5 * rng.standard_normal(path[1:].shape))
    yield Inputs(trajectory=path, means=float32(path[:-1] + np.sqrt(var) * rng.standard_normal(var.shape)), vars=var)


def entropy_draw(bits: bool) -> Callable[[Setting, np.random.Generator], Iterator[Inputs]]:
    """Data (n, d), dimensionless, one t >= 2 for all; drawn data meet the condition of the upper side of (24), given ones may not."""
    def draw(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
        x0 = setting.data if setting.data is not None else setting.states(rng, bits=bits)
        if setting.data is None and not bits:
            x0 = float32(x0 / np.sqrt(max(1.0, x0.var(0).mean())) * 0.999)
        elif setting.data is None and not setting.binomial.entropy_never_falls(x0).holds:
            x0 = np.full_like(x0, float(setting.pi1 > 0.5))
        for t in dict.fromkeys(int(at[0]) for at in setting.times(2, rng)):
            yield Inputs(x0=x0, t=np.full((len(x0), 1), t), pi1=setting.pi1)
    return draw


def _kl_sizes(s: Any, i: Any, x0: Any, xt: Any, t: Any, mean: Any, var: Any) -> Any:
    at = Inputs(x0=x0, xt=xt, t=t)
    off, v = about_gaussian.posterior_mean(s, at) - mean, about_tables.posterior_var(s, at)
    rounding = np.abs(about_tables.coefficient_x0(s, at) * x0) + np.abs(about_tables.coefficient_xt(s, at) * xt) + np.abs(mean)
    return 1.0 + np.abs(np.log(v)) + np.abs(np.log(var)) + (v + off**2 + np.abs(off) * rounding) / var


def _bound_size(s: Any, i: Any) -> Any:
    p, t = parts(s, i), steps(s.T, 2)
    fixed = sum(np.abs(term) for term in p[1:])
    return fixed + _kl_sizes(s, i, i.x0, i.xs, t, i.means, i.vars).sum(0)


def _weights_size(s: Any, i: Any) -> Any:
    p, x, t = weight_parts(s, i), i.trajectory, steps(s.T, 1)
    off, back = np.abs(x[1:] - np.sqrt(s.alpha[t]) * x[:-1]), np.abs(x[:-1] - i.means)
    rounding = (np.abs(x[1:]) + np.abs(x[:-1])) * off / s.beta[t] + (np.abs(x[:-1]) + np.abs(i.means)) * back / i.vars
    return np.abs(p.log_prior) + (np.abs(p.reverse) + np.abs(p.forward) + 2.0 + rounding).sum(0)


_BATCH, _PATH = "x0 xs means vars", "trajectory means vars"
subject("kl_term", "(14)", "KL( q(x^{t-1}|x^t,x^0) || N(mean, var) ), t >= 2", "x0 xt t mean var", "nats", draw=_term_draw,
        truth=lambda s, i: gaussian_kl((law := s.gaussian.posterior(i.x0, i.xt, i.t[:, 0])).mean, law.var, i.mean, i.var),
        formula=lambda s, i: kl(about_gaussian.posterior_mean(s, i), about_tables.posterior_var(s, i), i.mean, i.var),
        size=lambda s, i: _kl_sizes(s, i, i.x0, i.xt, i.t, i.mean, i.var))
subject("prior_kl", "(14)", "KL( q(x^T|x^0) || pi )", "x0", "nats", draw=lambda setting, rng: iter([Inputs(x0=setting.states(rng))]),
        truth=lambda s, i: gaussian_kl((law := s.gaussian.marginal(i.x0, s.T)).mean, law.var, 0.0, 1.0),
        formula=lambda s, i: kl(np.sqrt(s.abar[s.T]) * i.x0, s.lost[s.T], 0.0, 1.0), size=lambda s, i: 1.0 + i.x0**2)
subject("lower_bound", "(13)", "K(x^0) at given x^2..x^T and reverse kernels", _BATCH, "nats", draw=_bound_draw,
        truth=lambda s, i: _fixed(s, i) - _kls(s, i), formula=lambda s, i: bound(parts(s, i)), size=_bound_size, aliases=("K",))
subject("eq14", "(14)", "the same, for data with E|x^0|^2 = d, averaged", _BATCH, "nats", draw=_eq14_draw, whole=True,
        truth=lambda s, i: _eq14_truth(s, i) if meets_eq14(s.gaussian, i.x0) else np.full((1, s.d), np.nan),
        formula=lambda s, i: eq14(parts(s, i)), size=lambda s, i: _bound_size(s, i).mean(0, keepdims=True))
subject("log_weights", "(9)", "log w of trajectories, with the reverse kernel's means and variances, t = 1..T", _PATH, "nats",
        draw=_weight_draw, truth=_weights_truth, formula=lambda s, i: log_weight(weight_parts(s, i)), size=_weights_size)
subject("entropy_lower_bound", "(24)", "lower side, of the whole vector, t >= 2", "x0 t", "nats", draw=entropy_draw(bits=False), whole=True,
        truth=_entropies("posterior"), formula=lambda s, i: lower(entropy_parts(s, i)),
        size=lambda s, i: sum(np.abs(part) for part in entropy_parts(s, i)) + 1.0)
subject("entropy_upper_bound", "(24)", "upper side, of the whole vector, where tr Cov <= d, t >= 2", "x0 t", "nats", whole=True,
        draw=entropy_draw(bits=False), truth=_entropies("kernel"), formula=lambda s, i: entropy_parts(s, i).kernel,
        size=lambda s, i: 1.5 + np.abs(entropy_parts(s, i).kernel))

ALIASES["entropy_bounds"] = ("entropy_lower_bound", "entropy_upper_bound")

"""Subjects: the binomial column. Laws are given and returned as the probability of a 1.

    kernel     x^{t-1} (1 - beta_t) + pi_1 beta_t         marginal   x^0 abar_t + pi_1 (1 - abar_t)         posterior  Bayes' rule
    edge       x^1 (1 - beta_1) + pi_1 beta_1              perturbed  logit p~ = logit p + log r(x_i = 1) - log r(x_i = 0)

For K and log w the reverse kernel comes as its probabilities at the states given, laid out as in the Gaussian column.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1, App. B.2, equations (9), (14), (24), section 2.5.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.special import expit, xlogy

from dpm_ref.check.about_bound import (
    EntropyParts,
    Parts,
    WeightParts,
    bound,
    entropy_draw,
    eq14,
    log_weight,
    lower,
    meets_eq14,
    steps,
)
from dpm_ref.check.subjects import ALIASES, Inputs, Setting, float32, subject
from dpm_ref.information import bernoulli_entropy, bernoulli_kl
from dpm_ref.validation import Array

__all__ = ["pair", "kernel", "marginal", "joint", "posterior", "posterior_pair", "kl_of_pairs", "entropy_of_pair",
           "parts", "weight_parts", "entropy_parts"]

FORMS = 3


def pair(s: Any, x: Any, kept: Any, lost: Any, pi1: Any) -> tuple[Any, Any]:
    """P(1) and P(0) of a bit kept with probability `kept`, else drawn anew; dimensionless, x's shape. Table App.1.

    Written in one of three forms: with 1 - kept for the share that is lost, with that share itself, and with P(0) from its own terms.
    """
    share = 1.0 - kept if s.form == 0 else lost
    prob1 = x * kept + pi1 * share
    return prob1, ((1.0 - x) * kept + (1.0 - pi1) * share if s.form == 2 else 1.0 - prob1)


def _kernel_pair(s: Any, x: Any, t: Any, pi1: Any) -> tuple[Any, Any]:
    return pair(s, x, s.alpha[t], s.beta[t], pi1)


def _marginal_pair(s: Any, x0: Any, t: Any, pi1: Any) -> tuple[Any, Any]:
    return pair(s, x0, s.abar[t], s.lost[t], pi1)


def kernel(s: Any, i: Any) -> Any:
    """q(x^t = 1 | x^{t-1}), dimensionless, shape (n, d). Table App.1."""
    return _kernel_pair(s, i.x_prev, i.t, i.pi1)[0]


def marginal(s: Any, i: Any) -> Any:
    """q(x^t = 1 | x^0), dimensionless, shape (n, d). Table App.1."""
    return _marginal_pair(s, i.x0, i.t, i.pi1)[0]


def joint(s: Any, i: Any) -> tuple[Any, Any]:
    """q(x^t | x^{t-1}) q(x^{t-1} | x^0) for x^{t-1} = 1 and 0, dimensionless, shape (n, d). Table App.1."""
    before = pair(s, i.x0, s.before[i.t], s.lost_before[i.t], i.pi1)
    (up1, up0), (down1, down0) = (_kernel_pair(s, value, i.t, i.pi1) for value in (1.0, 0.0))
    return (i.xt * up1 + (1.0 - i.xt) * up0) * before[0], (i.xt * down1 + (1.0 - i.xt) * down0) * before[1]


def posterior_pair(s: Any, i: Any) -> tuple[Any, Any]:
    """Both probabilities of q(x^{t-1} | x^t, x^0) by Bayes' rule, dimensionless, shape (n, d). Table App.1."""
    joint1, joint0 = joint(s, i)
    return joint1 / (joint1 + joint0), (joint0 / (joint1 + joint0) if s.form == 2 else 1.0 - joint1 / (joint1 + joint0))


def posterior(s: Any, i: Any) -> Any:
    """q(x^{t-1} = 1 | x^t, x^0) by Bayes' rule, dimensionless, shape (n, d). Table App.1."""
    return posterior_pair(s, i)[0]


def kl_of_pairs(q1: Any, q0: Any, p1: Any) -> Any:
    """KL(q || p) of single bits given by both probabilities of q; nats, shape (n, d). Equation (14)."""
    return xlogy(q1, q1) - xlogy(q1, p1) + xlogy(q0, q0) - xlogy(q0, 1.0 - p1)


def entropy_of_pair(p1: Any, p0: Any) -> Any:
    """The entropy of single bits given by both probabilities; nats, shape (n, d). Equation (14)."""
    return -xlogy(p1, p1) - xlogy(p0, p0)


def _log_prob(x: Any, p1: Any, p0: Any) -> Any:
    return np.log(np.where(x == 1, p1, p0))


def _draw(first: int, *names: str) -> Callable[[Setting, np.random.Generator], Iterator[Inputs]]:
    def draw(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
        for t in setting.times(first, rng):
            states = {name: setting.states(rng, bits=True) for name in names}
            yield Inputs(**states, t=t[:, None], pi1=setting.pi1)
    return draw


def parts(s: Any, i: Any) -> Parts:
    """The textbook's terms of K; shape (n, d) each, nats. Equation (14)."""
    at = Inputs(x0=i.x0, xt=i.xs, t=steps(s.T, 2), pi1=i.pi1)
    first, last = (_marginal_pair(s, i.x0, t, i.pi1) for t in (1, s.T))

    def cross(p1: Any, p0: Any) -> Any:
        return p1 * np.log(i.pi1) + p0 * np.log(1.0 - i.pi1)
    prior = entropy_of_pair(np.asarray(i.pi1), 1.0 - i.pi1) + 0.0 * i.x0
    return Parts(kl_of_pairs(*posterior_pair(s, at), i.probs).sum(0), entropy_of_pair(*last), entropy_of_pair(*first), cross(*last),
                 cross(*first), _log_prob(i.x0, i.pi1, 1.0 - i.pi1), prior)


def weight_parts(s: Any, i: Any) -> WeightParts:
    """The textbook's terms of log w, nats. Equation (9)."""
    t, x = steps(s.T, 1), i.trajectory
    return WeightParts(_log_prob(x[-1], i.pi1, 1.0 - i.pi1), _log_prob(x[:-1], i.probs, 1.0 - i.probs),
                       _log_prob(x[1:], *_kernel_pair(s, x[:-1], t, i.pi1)), _log_prob(x[1:], *_marginal_pair(s, x[0], t, i.pi1)))


def entropy_parts(s: Any, i: Any) -> EntropyParts:
    """The textbook's terms of (24), averages over the data; shape (1, d) each, nats."""
    t = i.t[:1]
    before = pair(s, i.x0, s.before[t], s.lost_before[t], i.pi1)
    after = [entropy_of_pair(*_kernel_pair(s, value, t, i.pi1)) for value in (1.0, 0.0)]
    now = entropy_of_pair(*_marginal_pair(s, i.x0, t, i.pi1))
    return EntropyParts(*(term.mean(0, keepdims=True) for term in (before[0] * after[0] + before[1] * after[1],
                                                                   entropy_of_pair(*before), now)))


def _kls(setting: Setting, i: Any) -> Array:
    t = np.broadcast_to(steps(setting.T, 2), i.xs.shape)[..., 0]
    law = setting.binomial.posterior(np.broadcast_to(i.x0, i.xs.shape), i.xs, t)
    return np.asarray(bernoulli_kl(law.prob1, i.probs, law.prob0, 1.0 - i.probs).sum(0))


def _bound_truth(setting: Setting, i: Any) -> Array:
    b = setting.binomial
    first, last = (bernoulli_kl(law.prob1, b.pi1, law.prob0, b.pi0) for law in (b.marginal(i.x0, 1), b.marginal(i.x0, b.T)))
    return np.asarray(np.where(i.x0 == 1, np.log(b.pi1), np.log(b.pi0)) + first - last - _kls(setting, i))


def _eq14_truth(setting: Setting, i: Any) -> Array:
    b = setting.binomial
    if not meets_eq14(b, i.x0):
        return np.full((1, setting.d), np.nan)
    first, last = (bernoulli_entropy(law.prob1, law.prob0) for law in (b.marginal(i.x0, 1), b.marginal(i.x0, b.T)))
    return np.asarray((last - first - bernoulli_entropy(b.pi1, b.pi0) - _kls(setting, i)).mean(0, keepdims=True))


def _weights_truth(setting: Setting, i: Any) -> Array:
    b, x = setting.binomial, i.trajectory
    q = b.kernel(x[:-1], np.broadcast_to(steps(b.T, 1), x[:-1].shape)[..., 0])
    forward = np.where(x[1:] == 1, np.log(q.prob1), np.log(q.prob0))
    reverse = np.where(x[:-1] == 1, np.log(i.probs), np.log1p(-i.probs))
    return np.asarray(np.where(x[-1] == 1, np.log(b.pi1), np.log(b.pi0)) + (reverse - forward).sum(0))


def _entropies(side: str) -> Callable[[Setting, Any], Array]:
    def truth(setting: Setting, i: Any) -> Array:
        if side == "kernel" and not setting.binomial.entropy_never_falls(i.x0).holds:
            return np.full((1, setting.d), np.nan)
        each = [getattr(setting.binomial, f"{side}_entropy")(i.x0[:, [k]], int(i.t[0, 0])).mean() for k in range(setting.d)]
        return np.array([each])
    return truth


def _bound_draw(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    if setting.T > 1:
        yield _reverse(setting, rng, setting.states(rng, bits=True))


def _reverse(setting: Setting, rng: np.random.Generator, x0: Array) -> Inputs:
    """Bits of every later state, and probabilities of a reverse kernel there."""
    shape = (setting.T - 1, *x0.shape)
    return Inputs(x0=x0, xs=(rng.random(shape) < 0.5).astype(np.float64), probs=float32(expit(rng.standard_normal(shape))), pi1=setting.pi1)


def _eq14_draw(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    """The data given, or a batch whose activity is the prior's: of the size asked for if any, else of one that allows it."""
    if setting.T < 2:
        return
    sizes = [setting.n] if setting.fixed_n or setting.pi1 == 0.5 else [*range(setting.n, setting.n + 100)]
    x0 = setting.data if setting.data is not None else _active(sizes, setting, rng)
    yield _reverse(setting, rng, x0)


def _active(sizes: list[int], setting: Setting, rng: np.random.Generator) -> Array:
    n = min(sizes, key=lambda n: (abs(n * setting.d * setting.pi1 - round(n * setting.d * setting.pi1)) > 1e-9, n))
    ones = np.arange(n * setting.d) < round(n * setting.d * setting.pi1)
    return rng.permutation(ones).reshape(n, setting.d).astype(np.float64)


def _weight_draw(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    x = [setting.states(rng, bits=True)]
    for rate in setting.beta:
        x.append((rng.random(x[0].shape) < x[-1] * (1.0 - rate) + setting.pi1 * rate).astype(np.float64))
    yield Inputs(trajectory=np.array(x), probs=float32(expit(rng.standard_normal((setting.T, *x[0].shape)))), pi1=setting.pi1)


def _flips(setting: Setting, rng: np.random.Generator) -> Iterator[Inputs]:
    shape = (setting.n, setting.d)
    yield Inputs(prob=float32(rng.uniform(0.05, 0.95, shape)), log_r1=float32(-rng.exponential(size=shape)),
                 log_r0=float32(-rng.exponential(size=shape)))


def _bound_size(s: Any, i: Any) -> Any:
    at = Inputs(x0=i.x0, xt=i.xs, t=steps(s.T, 2), pi1=i.pi1)
    logs = sum(np.abs(np.log(p)) for p in (i.probs, 1.0 - i.probs)) + 1.0 + entropy_of_pair(*posterior_pair(s, at))
    return sum(np.abs(term) for term in parts(s, i)[1:]) + 1.0 + logs.sum(0)


def _weights_size(s: Any, i: Any) -> Any:
    p = weight_parts(s, i)
    return np.abs(p.log_prior) + (np.abs(p.reverse) + np.abs(p.forward) + 1.0).sum(0)


def _law(name: str, method: str, summary: str, arguments: str, formula: Any, draw: Any) -> None:
    subject(name, "Table App.1", summary, arguments, "prob", draw=draw, formula=formula, forms=FORMS,
            truth=lambda s, i: getattr(s.binomial, method)(*(getattr(i, a) if a != "t" else i.t[:, 0] for a in arguments.split())).prob1)


_BATCH, _PATH = "x0 xs probs", "trajectory probs"
_law("binomial_kernel", "kernel", "q(x^t = 1 | x^{t-1})", "x_prev t", kernel, _draw(1, "x_prev"))
_law("binomial_marginal", "marginal", "q(x^t = 1 | x^0)", "x0 t", marginal, _draw(1, "x0"))
_law("binomial_posterior", "posterior", "q(x^{t-1} = 1 | x^t, x^0), t >= 2", "x0 xt t", posterior, _draw(2, "x0", "xt"))
_law("binomial_edge", "edge", "p(x^0 = 1 | x^1), App. B.2", "x1", lambda s, i: _kernel_pair(s, i.x1, 1, i.pi1)[0], _draw(1, "x1"))
subject("perturbed_bits", "section 2.5", "probability of 1, of a law multiplied by r", "prob log_r1 log_r0", "prob", draw=_flips,
        needs_schedule=False, truth=lambda s, i: expit(np.log(i.prob) - np.log1p(-i.prob) + i.log_r1 - i.log_r0),
        formula=lambda s, i: (up := i.prob * np.exp(i.log_r1)) / (up + (1.0 - i.prob) * np.exp(i.log_r0)))
subject("binomial_lower_bound", "(13)", "K(x^0) at given x^2..x^T and reverse probabilities", _BATCH, "nats", draw=_bound_draw,
        truth=_bound_truth, formula=lambda s, i: bound(parts(s, i)), size=_bound_size, aliases=("binomial_K",), forms=FORMS)
subject("binomial_eq14", "(14)", "the same, for data of the prior's activity, averaged", _BATCH, "nats", draw=_eq14_draw, whole=True,
        truth=_eq14_truth, formula=lambda s, i: eq14(parts(s, i)), size=lambda s, i: _bound_size(s, i).mean(0, keepdims=True), forms=FORMS)
subject("binomial_log_weights", "(9)", "log w of trajectories, with the reverse kernel's probabilities, t = 1..T", _PATH, "nats",
        draw=_weight_draw, truth=_weights_truth, formula=lambda s, i: log_weight(weight_parts(s, i)), size=_weights_size, forms=FORMS)
_SIDE: dict[str, Any] = {"draw": entropy_draw(bits=True), "size": lambda s, i: sum(np.abs(part) for part in entropy_parts(s, i)) + 1.0}
subject("binomial_entropy_lower_bound", "(24)", "lower side, of the whole vector, t >= 2", "x0 t", "nats", whole=True, forms=FORMS,
        truth=_entropies("posterior"), formula=lambda s, i: lower(entropy_parts(s, i)), **_SIDE)
subject("binomial_entropy_upper_bound", "(24)", "upper side, of the whole vector, where its condition holds, t >= 2", "x0 t", "nats",
        whole=True, forms=FORMS, truth=_entropies("kernel"), formula=lambda s, i: entropy_parts(s, i).kernel, **_SIDE)

ALIASES["binomial_entropy_bounds"] = ("binomial_entropy_lower_bound", "binomial_entropy_upper_bound")

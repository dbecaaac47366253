"""Mistakes in K, in (14), in log w and in the bounds (24): terms dropped, turned round, counted twice.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, equations (9), (13), (14) and (24), and their restatements.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dpm_ref.check import about_bits, about_bound
from dpm_ref.check.about_bound import EntropyParts, Parts, WeightParts
from dpm_ref.check.about_gaussian import posterior_mean
from dpm_ref.check.about_information import bits_kl, kl
from dpm_ref.check.about_tables import posterior_var
from dpm_ref.check.formula_slips import slip
from dpm_ref.check.mistakes import mistake
from dpm_ref.check.problems import Problem
from dpm_ref.validation import Array

__all__: list[str] = []


def _column(subject: str) -> Any:
    return about_bits if subject.startswith("binomial") else about_bound


def _recombined(name: str, subjects: str, parts: str, *changes: Callable[[Any, Any], Any]) -> None:
    """A mistake that puts the terms of a formula together in another way: change(terms, tables) -> value."""
    @mistake(name, of=[prefix + subject for subject in subjects.split() for prefix in ("", "binomial_")])
    def _wrong(p: Problem) -> Iterator[Array]:
        terms = getattr(_column(p.subject.name), parts)
        for change in changes:
            yield p.predict(formula=lambda s, i, change=change: change(terms(s, i), s))  # type: ignore[misc]


def _in_bound(name: str, change: Callable[[Parts, Any], Parts]) -> None:
    """A mistake in the terms of K and of (14) alike."""
    _recombined(name, "lower_bound", "parts", lambda p, s: about_bound.bound(change(p, s)))
    _recombined(name, "eq14", "parts", lambda p, s: about_bound.eq14(change(p, s)))


def _zero(p: Parts) -> Any:
    return 0.0 * p.kls


_in_bound("-2 sum KL: the divergences counted twice", lambda p, s: p._replace(kls=2.0 * p.kls))
_in_bound("sign of the divergences flipped", lambda p, s: p._replace(kls=-p.kls))
_in_bound("divergences left out", lambda p, s: p._replace(kls=_zero(p)))
_in_bound("mean KL over t times T, where there are T - 1 terms", lambda p, s: p._replace(kls=p.kls * s.T / (s.T - 1)))
_in_bound("mean KL over t, not times T - 1", lambda p, s: p._replace(kls=p.kls / (s.T - 1)))
_in_bound("sum of KL divided by T", lambda p, s: p._replace(kls=p.kls / s.T))
_in_bound("entropies dropped: H_q(X^T|X^0) - H_q(X^1|X^0)", lambda p, s: p._replace(last=_zero(p), first=_zero(p)))
_in_bound("H_q(X^T|X^0) dropped", lambda p, s: p._replace(last=_zero(p)))
_in_bound("H_q(X^1|X^0) dropped", lambda p, s: p._replace(first=_zero(p)))
_in_bound("sign of H_q(X^T|X^0) - H_q(X^1|X^0) flipped", lambda p, s: p._replace(last=p.first, first=p.last))
_in_bound("sign of H_q(X^T|X^0) flipped", lambda p, s: p._replace(last=-p.last))
_in_bound("sign of H_q(X^1|X^0) flipped", lambda p, s: p._replace(first=-p.first))
_in_bound("entropies added once per t instead of once", lambda p, s: p._replace(last=(s.T - 1) * p.last, first=(s.T - 1) * p.first))
_in_bound("entropies added T times instead of once", lambda p, s: p._replace(last=s.T * p.last, first=s.T * p.first))
_recombined("H_p(X^T) dropped", "eq14", "parts", lambda p, s: about_bound.eq14(p._replace(prior_entropy=_zero(p))))
_recombined("sign of H_p(X^T) flipped", "eq14", "parts", lambda p, s: about_bound.eq14(p._replace(prior_entropy=-p.prior_entropy)))
_recombined("both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0)", "eq14", "parts",
            lambda p, s: about_bound.eq14(p._replace(first=p.first - p.log_prior + p.cross_first + p.first)),
            lambda p, s: about_bound.eq14(p._replace(first=p.first + p.log_prior - p.cross_first - p.first)))
_recombined("(14) for K(x^0): its precondition is taken for granted", "lower_bound", "parts",
            lambda p, s: -p.kls + p.last - p.first - p.prior_entropy)
_recombined("both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0)", "lower_bound", "parts",
            lambda p, s: about_bound.bound(p._replace(first=p.first - p.log_prior + p.cross_first + p.first)))
_recombined("E log pi(x^T) dropped", "lower_bound", "parts", lambda p, s: about_bound.bound(p._replace(cross_last=_zero(p))))
_recombined("E log pi(x^1) dropped", "lower_bound", "parts", lambda p, s: about_bound.bound(p._replace(cross_first=_zero(p))))
_recombined("log pi(x^0) dropped", "lower_bound", "parts", lambda p, s: about_bound.bound(p._replace(log_prior=_zero(p))))
_recombined("KL( q(x^T|x^0) || pi ) dropped", "lower_bound", "parts",
            lambda p, s: about_bound.bound(p._replace(last=_zero(p), cross_last=_zero(p))))
_recombined("the edge p(x^0|x^1) dropped", "lower_bound", "parts", lambda p, s: -p.kls + p.last + p.cross_last)
_recombined("sum over the batch for its mean", "eq14", "parts", lambda p, s: about_bound.eq14(p) * len(p.kls))


def _reversed_kl(p: Problem) -> Iterator[Array]:
    """KL(p || q) at every step."""
    gaussian = p.subject.name in ("lower_bound", "eq14")

    def formula(s: Any, i: Any) -> Any:
        column = about_bound if gaussian else about_bits
        terms = column.parts(s, i)
        at = type(i)(x0=i.x0, xt=i.xs, t=np.arange(2, s.T + 1)[:, None, None], pi1=getattr(i, "pi1", None))
        if gaussian:
            terms = terms._replace(kls=kl(i.means, i.vars, posterior_mean(s, at), posterior_var(s, at)).sum(0))
        else:
            terms = terms._replace(kls=bits_kl(i.probs, about_bits.posterior(s, at)).sum(0))
        return (about_bound.eq14 if p.subject.whole else about_bound.bound)(terms)
    yield p.predict(formula=formula)


mistake("KL reversed: KL(p || q)", of=("lower_bound", "eq14", "binomial_lower_bound", "binomial_eq14"))(_reversed_kl)

# One term, and the end


def _term(log: float = 1.0, one: float = 1.0, turned: bool = False) -> Callable[[Any, Any], Any]:
    def formula(s: Any, i: Any) -> Any:
        q, p = (posterior_mean(s, i), posterior_var(s, i)), (i.mean, i.var)
        (mean_q, var_q), (mean_p, var_p) = (p, q) if turned else (q, p)
        return 0.5 * (log * np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - one)
    return formula


slip("KL reversed: KL(p || q)", "kl_term", _term(turned=True))
slip("-1/2 missing from each component", "kl_term", _term(one=0.0))
slip("log of the variances' ratio upside down", "kl_term", _term(log=-1.0))
slip("-1/2 missing from each component", "prior_kl", lambda s, i: 0.5 * (s.lost[s.T] + s.abar[s.T] * i.x0**2 - np.log(s.lost[s.T])))
slip("log of the variance left out", "prior_kl", lambda s, i: 0.5 * (s.lost[s.T] + s.abar[s.T] * i.x0**2 - 1.0))

# Weights of trajectories


def _in_weights(name: str, *changes: Callable[[WeightParts, Any], Any]) -> None:
    _recombined(name, "log_weights", "weight_parts", *changes)


_in_weights("p and q exchanged in the steps", lambda p, s: p.log_prior - (p.reverse - p.forward).sum(0))
_in_weights("p(x^T) left out", lambda p, s: (p.reverse - p.forward).sum(0))
_in_weights("sign of log p(x^T) flipped", lambda p, s: -p.log_prior + (p.reverse - p.forward).sum(0))
_in_weights("log q added, not subtracted", lambda p, s: p.log_prior + (p.reverse + p.forward).sum(0))
_in_weights("q left out: the model's log density of the trajectory", lambda p, s: p.log_prior + p.reverse.sum(0))
_in_weights("p(x^{t-1}|x^t) left out", lambda p, s: p.log_prior - p.forward.sum(0))
_in_weights("the step t = 1 left out", lambda p, s: p.log_prior + (p.reverse - p.forward)[1:].sum(0))
_in_weights("the step t = T left out", lambda p, s: p.log_prior + (p.reverse - p.forward)[:-1].sum(0))
_in_weights("the edge p(x^0|x^1) left out", lambda p, s: p.log_prior + p.reverse[1:].sum(0) - p.forward.sum(0))
_in_weights("q(x^t|x^0) for q(x^t|x^{t-1})", lambda p, s: p.log_prior + (p.reverse - p.marginal).sum(0))
_in_weights("mean over t for the sum", lambda p, s: p.log_prior + (p.reverse - p.forward).mean(0))

# Entropy bounds


def _in_lower(name: str, *changes: Callable[[EntropyParts, Any], Any]) -> None:
    _recombined(name, "entropy_lower_bound", "entropy_parts", *changes)


_in_lower("H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0)", lambda p, s: p.kernel + about_bound.lower(p) - p.now)
_in_lower("H_q(X^{t-1}|X^0) left out", lambda p, s: p.kernel - p.now)
_in_lower("H_q(X^t|X^0) left out", lambda p, s: p.kernel + p.before)
_in_lower("H_q(X^t|X^{t-1}) left out", lambda p, s: p.before - p.now)
_in_lower("H_q(X^{t-1}|X^0) and H_q(X^t|X^0) exchanged", lambda p, s: p.kernel + p.now - p.before)
_in_lower("sign of H_q(X^t|X^{t-1}) flipped", lambda p, s: -p.kernel + p.before - p.now)
_in_lower("the upper bound for the lower", lambda p, s: p.kernel)
_recombined("the lower bound for the upper", "entropy_upper_bound", "entropy_parts", lambda p, s: about_bound.lower(p))
_recombined("H_q(X^t|X^0) for H_q(X^t|X^{t-1})", "entropy_upper_bound", "entropy_parts", lambda p, s: p.now)

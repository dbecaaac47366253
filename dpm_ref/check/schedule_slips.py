"""Mistakes in the schedule's tables, in which of them is read, and at which time.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.1 and Table App.1.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from dpm_ref.check.mistakes import mistake
from dpm_ref.check.problems import Problem
from dpm_ref.check.rates import Rates, from_beta
from dpm_ref.validation import Array

__all__: list[str] = []


def _bent(name: str, *bends: Callable[[Rates], Rates]) -> None:
    """A mistake in the tables, in one way or several, in a formula written in any of its forms."""
    @mistake(name, schedule=True)
    def _wrong(p: Problem) -> Iterator[Array]:
        for form in range(p.subject.forms):
            for bend in bends:
                yield p.predict(rates=replace(bend(p.rates), form=form))


def _with_abar(s: Rates, abar: Array) -> Rates:
    """Another product, and all that follows from it."""
    before = np.concatenate([[1.0], abar[:-1]])
    return replace(s, abar=abar, lost=1.0 - abar, before=before, lost_before=1.0 - before)


def _early(s: Rates) -> Rates:
    """Entry t - 1 of tables that start at t = 1: Python reads the last one for t = 1."""
    return s.read_at([0, s.T, *range(1, s.T)])


def _earlier(s: Rates) -> Rates:
    """Entry t - 1 of tables that start at t = 0."""
    return s.read_at([0, *range(s.T)])


def _late(s: Rates) -> Rates:
    """Entry t + 1, the last one held, or the first one read again after it."""
    return s.read_at([0, *range(2, s.T + 1), s.T])


_bent("t one too small: entry t - 1 of the tables is read", _early, _earlier, lambda s: s.read_at([0, 1, *range(1, s.T)]))
_bent("t one too large: entry t + 1 of the tables is read", _late, lambda s: s.read_at([0, *range(2, s.T + 1), 1]),
      lambda s: s.read_at([0, *range(2, s.T + 1), 0]))
_bent("schedule reversed: entry T - t of the tables is read", lambda s: s.read_at([0, *range(s.T, 0, -1)]),
      lambda s: from_beta(s.beta[:0:-1]), lambda s: s.read_at(np.arange(s.T, -1, -1)))
_bent("abar_t for abar_{t-1}", lambda s: replace(s, before=s.abar, lost_before=s.lost), lambda s: replace(s, before=s.abar),
      lambda s: replace(s, lost_before=s.lost))
_bent("abar_{t-1} for abar_t", lambda s: replace(s, abar=s.before, lost=s.lost_before), lambda s: replace(s, abar=s.before),
      lambda s: replace(s, lost=s.lost_before))
_bent("alpha_t for abar_t: the product is forgotten", lambda s: _with_abar(s, s.alpha), lambda s: replace(s, abar=s.alpha, lost=s.beta),
      lambda s: replace(s, lost=s.beta), lambda s: replace(s, abar=s.alpha))
_bent("abar_t for alpha_t", lambda s: replace(s, alpha=s.abar), lambda s: replace(s, alpha=s.abar, beta=s.lost))
_bent("alpha_t for beta_t", lambda s: replace(s, beta=s.alpha))
_bent("beta_t for alpha_t", lambda s: replace(s, alpha=s.beta))
_bent("beta_t for 1 - abar_t", lambda s: replace(s, lost=s.beta))
_bent("1 - abar_t for beta_t", lambda s: replace(s, beta=s.lost))
_bent("product of beta_s, not of 1 - beta_s", lambda s: _with_abar(s, np.cumprod(np.concatenate([[1.0], s.beta[1:]]))))
_bent("sum of beta_s for the product of 1 - beta_s", lambda s: _with_abar(s, 1.0 - np.cumsum(s.beta)),
      lambda s: _with_abar(s, np.exp(-np.cumsum(s.beta))), lambda s: _with_abar(s, np.cumsum(s.alpha)))
_bent("abar_t without its root", lambda s: replace(s, abar=s.abar**2, before=s.before**2), lambda s: replace(s, before=s.before**2),
      lambda s: replace(s, abar=s.abar**2))
_bent("sqrt(abar_t) for abar_t", lambda s: _with_abar(s, np.sqrt(s.abar)), lambda s: replace(s, abar=np.sqrt(s.abar)),
      lambda s: replace(s, before=np.sqrt(s.before)))
_bent("abar_t squared: the product taken of (1 - beta_s)^2", lambda s: _with_abar(s, s.abar**2))
_bent("1 - abar_t without its root: a variance where a standard deviation is meant", lambda s: replace(s, lost=s.lost**2))
_bent("sqrt(1 - abar_t) for 1 - abar_t", lambda s: replace(s, lost=np.sqrt(s.lost)),
      lambda s: replace(s, lost=np.sqrt(s.lost), lost_before=np.sqrt(s.lost_before)))
_bent("1 - sqrt(abar_t) for 1 - abar_t", lambda s: replace(s, lost=1.0 - np.sqrt(s.abar)),
      lambda s: replace(s, lost=1.0 - np.sqrt(s.abar), lost_before=1.0 - np.sqrt(s.before)))
_bent("1 - beta_t without its root", lambda s: replace(s, alpha=s.alpha**2))
_bent("sqrt(1 - beta_t) for 1 - beta_t", lambda s: replace(s, alpha=np.sqrt(s.alpha)))
_bent("sqrt(beta_t) for beta_t", lambda s: replace(s, beta=np.sqrt(s.beta)))
_bent("beta_t squared", lambda s: replace(s, beta=s.beta**2))
_bent("beta_1 left out of the product", lambda s: _with_abar(
    s, np.concatenate([[1.0], np.cumprod(np.concatenate([[1.0], s.alpha[2:]]))])))

"""What a formula reads of the schedule, as plain tables that a mistake can bend.

    beta_t    alpha_t = 1 - beta_t    abar_t    1 - abar_t    abar_{t-1}    1 - abar_{t-1}          at t = 0..T, abar_0 = 1

The truth never comes from here but from `dpm_ref.schedules`; these tables feed the textbook formulas that known mistakes are
made of. `perturbed` moves every entry by as much as building the tables in a given precision may, which tells how much of an
error such tables can explain.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.1 and Table App.1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dpm_ref.schedules import Schedule
from dpm_ref.validation import Array

__all__ = ["Rates", "exact", "from_beta", "built_in", "read_back", "perturbed"]


@dataclass(frozen=True, eq=False)
class Rates:
    """Tables over t = 0..T, each shape (T+1,), dimensionless; `before` is abar_{t-1}, `lost` 1 - abar_t. Table App.1.

    `form` says in which of several equal ways a formula is written: a bent table tells them apart.
    """

    beta: Array
    alpha: Array
    abar: Array
    lost: Array
    before: Array
    lost_before: Array
    form: int = 0

    @property
    def T(self) -> int:
        return self.beta.size - 1

    def read_at(self, index: npt.ArrayLike) -> "Rates":
        """Tables of which entry t is entry index[t] of these; shape (T+1,) each, dimensionless. Table App.1."""
        at = np.asarray(index)
        return self._each(lambda table: np.asarray(table[at]))

    def astype(self, dtype: npt.DTypeLike) -> "Rates":
        """The same tables rounded to a dtype; shape (T+1,) each, dimensionless. Table App.1."""
        return self._each(lambda table: table.astype(dtype))

    def _each(self, change: Callable[[Array], Any]) -> "Rates":
        return Rates(change(self.beta), change(self.alpha), change(self.abar), change(self.lost), change(self.before),
                     change(self.lost_before), self.form)


def exact(schedule: Schedule) -> Rates:
    """The tables of `dpm_ref.schedules`, each entry the float64 nearest to the truth; shape (T+1,), dimensionless. Table App.1."""
    t = np.arange(1, schedule.T + 1)
    return _with_start(schedule.beta, 1.0 - schedule.beta, schedule.abar(t), schedule.one_minus_abar(t))


def from_beta(beta: Array) -> Rates:
    """The tables of rates (T,) as most code makes them, by a running product; shape (T+1,), dimensionless. Table App.1."""
    return built_in(np.float64, beta)


def built_in(dtype: npt.DTypeLike, beta: Array, running: npt.DTypeLike | None = None) -> Rates:
    """The tables with every step rounded to a dtype: 1 - beta, the running product, 1 - abar; shape (T+1,), dimensionless. Table App.1.

    The product may run in another dtype, as PyTorch's does in float64, and be rounded at the end.
    """
    rates = np.asarray(beta).astype(dtype)
    alpha = np.asarray(1 - rates, dtype=dtype)
    abar = np.cumprod(alpha, dtype=running or dtype).astype(dtype)
    lost = np.asarray(1 - abar, dtype=dtype)
    return _with_start(*(table.astype(np.float64) for table in (rates, alpha, abar, lost)))


def read_back(rates: Rates, dtype: npt.DTypeLike) -> Rates:
    """The tables with alpha_t = abar_t / abar_{t-1} and beta_t = 1 - alpha_t in a dtype; shape (T+1,), dimensionless. Table App.1."""
    alpha = rates.abar.astype(dtype) / rates.before.astype(dtype)
    return replace(rates, alpha=alpha.astype(np.float64), beta=(1 - alpha).astype(np.float64))


def perturbed(rates: Rates, eps: float, rng: np.random.Generator) -> Rates:
    """The tables with errors of random sign, as large as a running product in precision eps has; dimensionless, (T+1,). Table App.1.

    beta moves by as much as it loses where it is read back: 1 - abar_t / abar_{t-1}, or from four standard deviations so.
    """
    def sign() -> Array:
        return np.where(rng.random(rates.beta.shape) < 0.5, -eps, eps)
    with np.errstate(all="ignore"):
        steps = np.where(rates.alpha > 0, 1.0 + rates.beta / rates.alpha, 0.0)  # 1 - beta cancels where beta is near 1
    growth = np.minimum(np.cumsum(steps) + 2.0, 0.25 / eps)
    abar = rates.abar * (1.0 + growth * sign())
    before = rates.before * (1.0 + growth * sign())
    alpha = rates.alpha * (1.0 + sign()) + rates.beta * sign()
    return replace(rates, beta=rates.beta + (4.0 + rates.beta) * sign(), alpha=alpha, abar=abar, before=before,
                   lost=rates.lost + (rates.abar - abar) + rates.lost * sign(),
                   lost_before=rates.lost_before + (rates.before - before) + rates.lost_before * sign())


def _with_start(beta: Array, alpha: Array, abar: Array, lost: Array) -> Rates:
    """The tables with their entry for t = 0, and those of the step before."""
    beta, alpha = np.concatenate([[0.0], beta]), np.concatenate([[1.0], alpha])
    abar, lost = np.concatenate([[1.0], abar]), np.concatenate([[0.0], lost])
    return Rates(beta, alpha, abar, lost, np.concatenate([[1.0], abar[:-1]]), np.concatenate([[0.0], lost[:-1]]))

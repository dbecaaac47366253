"""The best schedule of given length: K* maximised over beta_2..T, without local optima.

The ideal kernel's loss in a step depends only on the two ends of that step. With
u_i(x^t) = Var(x_i^0 | x^t) / (1 - abar_t) and

    kappa = abar_t (exp(l_{t-1} - l_t) - 1),     l_t = log( abar_t / (1 - abar_t) ),

the ideal kernel's variances are the posterior's times 1 + kappa u_i, and

    E KL_t = E_{q(x^t)} [ sum_i log(1 + kappa u_i(x^t)) ] / 2 = C(l_{t-1}, l_t)
    K*     = E log pi(x^0) + E KL( q(x^1|x^0) || pi ) - sum_{t=2}^T C(l_{t-1}, l_t)
             - E KL( q(x^T|x^0) || pi )

so the best schedule is a shortest path of T - 1 steps from l_1, which beta_1 fixes, with an extra
cost at its end. On a grid of l dynamic programming finds it (Bellman 1957) for all T at once.
Sections 2.4 and 2.4.1 of arXiv:1503.03585.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dpm_ref import validation
from dpm_ref.exact.finite import FiniteData
from dpm_ref.exact.ideal import ends, lattice
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.schedules import log_snr_linear
from dpm_ref.validation import Array

__all__ = ["BestSchedule", "ScheduleSearch"]


class BestSchedule(NamedTuple):
    """beta (T,), K* and L_null; K* is the largest of many estimates, so too high by noise.

    `ideal_bound` estimates it anew.
    """

    beta: Array
    value: float
    null: float


class ScheduleSearch:
    """The best schedules for finite data in the Gaussian column, from the costs of all steps.

    Attributes: `log_snr` (grid,), falling; `cost` (grid, grid), C(l_i, l_j) at [i, j], inf where
    j <= i; and `end` (grid,), E KL( q(x^T|x^0) || pi ).

    Parameters
    ----------
    atoms, var : as for `FiniteData`
    beta1 : float in (0, 1)
        Fixed, as in section 2.4.1.
    abar_T : float in (0, 1 - beta1)
        The least abar_T of the schedules considered.
    grid : int >= 3
        Evenly spaced values of the log signal-to-noise ratio. They move the ends of steps by up to
        half the spacing, at a cost in K* quadratic in that.
    n_samples : int >= 1
        States x^t for each value.

    For one Gaussian K* = E log pi + KL(q(x^1) || pi) - KL(q(x^T) || pi) for any path:

    >>> search = ScheduleSearch([[0.0]], var=4.0, beta1=0.01, abar_T=0.01, grid=50, n_samples=16,
    ...                         rng=np.random.default_rng(0))
    >>> best = search.best(3)
    >>> print(best.beta.shape, "%.4f" % best.value)
    (3,) -2.1235
    """

    def __init__(self, atoms: ArrayLike, *, var: ArrayLike = 0.0, beta1: float,
                 abar_T: float = 1e-3, grid: int = 400, n_samples: int = 1024,
                 rng: np.random.Generator) -> None:
        validation.count("grid", grid, 3)
        diffusion = GaussianDiffusion(log_snr_linear(grid, beta1=beta1, abar_T=abar_T))
        data, t = FiniteData(diffusion, atoms, var=var), np.arange(1, grid + 1)
        d = data.atoms.shape[1]
        uniform = lattice(validation.count("n_samples", n_samples, 1), 1 + d)
        shifts = validation.generator(rng).random((grid, 1 + d))
        self.log_snr = diffusion.log_abar(t) - diffusion.log_one_minus_abar(t)
        self.cost = np.full((grid, grid), np.inf)
        self._beta1, (self._null, self.end) = diffusion.beta[0], ends(data, t)
        for j in range(1, grid):
            law = data.reverse(data.draw((uniform + shifts[j]) % 1.0, j + 1), j + 1)
            kappa = diffusion.abar(j + 1) * np.expm1(self.log_snr[:j] - self.log_snr[j])
            u = (law.var / diffusion.posterior_var(j + 1) - 1.0) / kappa[-1]
            self.cost[:j, j] = [0.5 * d * np.log1p(k * u).mean() for k in kappa]

    def best(self, T: int) -> BestSchedule:
        """The schedule of T steps, 2 <= T <= grid, with the largest K*."""
        T = validation.one_time("T", T, 2, len(self.log_snr))
        total, came_from = np.where(self.log_snr == self.log_snr[0], 0.0, np.inf), []
        for _ in range(2, T + 1):
            through = total[:, None] + self.cost
            came_from.append(through.argmin(0))
            total = through.min(0)
        path = [int((total + self.end).argmin())]
        for before in reversed(came_from):
            path.append(int(before[path[-1]]))
        value = self._null + self.end[0] - total[path[0]] - self.end[path[0]]
        log_snr = self.log_snr[path[::-1]]
        beta = -np.expm1(np.diff(log_snr)) / (1.0 + np.exp(log_snr[1:]))
        return BestSchedule(np.concatenate([[self._beta1], beta]), float(value), self._null)

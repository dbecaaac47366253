"""The best schedule of given length: K* maximised over beta_2..T, no network, no gradient, and no local optimum.

What the ideal kernel loses in a step depends on that step's two ends alone. With abar_t = a, u_i(x^t) = Var(x_i^0 | x^t) / (1 - a) and

    kappa = a_t (exp(l_{t-1} - l_t) - 1),     l_t = log( abar_t / (1 - abar_t) ),

the ideal kernel's variances are the posterior's times 1 + kappa u_i, and the least possible divergence is

    E KL_t = E_{q(x^t)} [ sum_i log(1 + kappa u_i(x^t)) ] / 2 = C(l_{t-1}, l_t)
    K*     = E log pi(x^0) + E KL( q(x^1|x^0) || pi ) - sum_{t=2}^T C(l_{t-1}, l_t) - E KL( q(x^T|x^0) || pi )

so the best schedule is a shortest path from l_1, which beta_1 fixes, with T - 1 steps and a toll at its end. On a grid of l it is
found by dynamic programming, for all T at once. (At the match E[(x_i^0 - m_i)^2 | x^t] = Var, which leaves the logarithm alone.)

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.4 and 2.4.1; Bellman 1957 (shortest paths).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.exact.finite import FiniteData
from dpm_ref.exact.ideal import lattice
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.schedules import log_snr_linear
from dpm_ref.validation import Array

__all__ = ["BestSchedule", "ScheduleSearch"]


class BestSchedule(NamedTuple):
    """A schedule and the K* that the search saw for it.

    beta : (T,), beta_1 first
    value : K* in nats, averaged over the data; the same states chose the schedule, so take `ideal_bound` for a fresh estimate
    null : L_null in nats
    """

    beta: Array
    value: float
    null: float


class ScheduleSearch:
    """Every possible step's cost for finite data in the Gaussian column, and the cheapest way through.

    Parameters
    ----------
    atoms : array_like, shape (m, d), dimensionless
    spread : float or array_like of shape (m,), dimensionless, >= 0
        As for `FiniteData`.
    beta1 : float in (0, 1), dimensionless
        Fixed, as in section 2.4.1.
    abar_T : float in (0, 1 - beta1), dimensionless
        The end of the grid: the least that may be left of the data.
    grid : int >= 3
        Values of the log signal-to-noise ratio, evenly spaced.
    n_samples : int >= 1
        States at each.
    rng : numpy.random.Generator

    Attributes
    ----------
    log_snr : ndarray, shape (grid,), dimensionless, falling
    cost : ndarray, shape (grid, grid), nats
        C(l_i, l_j) at [i, j], inf where j <= i.
    end : ndarray, shape (grid,), nats
        E KL( q(x^T|x^0) || pi ).

    Raises
    ------
    ValueError
        If an argument is out of range, or the atoms are not those of `FiniteData`.

    Notes
    -----
    Sections 2.4 and 2.4.1. The grid moves the ends of steps by up to half its spacing, which costs K* the square of that.

    For one normal the reversal is normal at every step, and K* = E log pi + KL(q(x^1) || pi) - KL(q(x^T) || pi) for any path:

    >>> search = ScheduleSearch([[0.0]], spread=4.0, beta1=0.01, abar_T=0.01, grid=50, n_samples=16, rng=np.random.default_rng(0))
    >>> best = search.best(3)
    >>> print(best.beta.shape, "%.4f" % best.value)
    (3,) -2.1235
    """

    def __init__(self, atoms: npt.ArrayLike, *, spread: npt.ArrayLike = 0.0, beta1: float, abar_T: float = 1e-3, grid: int = 400,
                 n_samples: int = 1024, rng: np.random.Generator) -> None:
        grid, n_samples = validation.count("grid", grid, 3), validation.count("n_samples", n_samples, 1)
        diffusion = GaussianDiffusion(log_snr_linear(grid, beta1=beta1, abar_T=abar_T))
        data, t = FiniteData(diffusion, atoms, spread=spread), np.arange(1, grid + 1)
        points, weights = data.points()
        prior = diffusion.prior(points.shape[1])
        self.beta1, self._grid_abar = diffusion.beta[0], diffusion.abar(t)
        self.log_snr = diffusion.log_abar(t) - diffusion.log_one_minus_abar(t)
        self.end = np.array([float(weights @ diffusion.marginal(points, time).kl(prior)) for time in t])
        self._null = float(weights @ prior.log_prob(points))
        self.cost = np.full((grid, grid), np.inf)
        uniform = lattice(n_samples, 1 + points.shape[1])
        shifts = validation.generator(rng).random((grid, uniform.shape[1]))
        for j in range(1, grid):
            u = _spread_of_x0(data, data.draw((uniform + shifts[j]) % 1.0, j + 1), j + 1)
            kappa = self._grid_abar[j] * np.expm1(self.log_snr[:j] - self.log_snr[j])
            self.cost[:j, j] = [0.5 * u.shape[1] * float(np.log1p(k * u).mean()) for k in kappa]

    def best(self, T: int) -> BestSchedule:
        """The schedule of T steps, 2 <= T <= grid, with the largest K*: (T,), dimensionless; ValueError for another T. Section 2.4.1."""
        T = validation.count("T", T, 2)
        if len(self.log_snr) < T:
            raise ValueError(f"T must be at most the grid's {len(self.log_snr)} values, got {T}")
        total, came_from = np.where(np.arange(len(self.log_snr)) == 0, 0.0, np.inf), []
        for _ in range(2, T + 1):
            through = total[:, None] + self.cost
            came_from.append(through.argmin(0))
            total = through.min(0)
        last = int((total + self.end).argmin())
        path = [last]
        for before in reversed(came_from):
            path.append(int(before[path[-1]]))
        value = self._null + self.end[0] - float(total[last]) - self.end[last]
        return BestSchedule(self._rates(path[::-1]), float(value), self._null)

    def _rates(self, path: list[int]) -> Array:
        """beta along a path of the grid: beta_t = sigmoid(-l_t) (1 - exp(l_t - l_{t-1}))."""
        log_snr = self.log_snr[path]
        rates = -np.expm1(np.diff(log_snr)) / (1.0 + np.exp(log_snr[1:]))
        return np.concatenate([[self.beta1], rates])


def _spread_of_x0(data: FiniteData, xt: Array, t: int) -> Array:
    """u = Var(x^0 | x^t) / (1 - abar_t) at states (n, d), from the ideal kernel's variance s2 (1 + kappa u)."""
    diffusion = data.diffusion
    kappa = diffusion.beta[t - 1] * diffusion.abar(t - 1) / diffusion.one_minus_abar(t - 1)
    return np.asarray((data.reverse(xt, t).var / diffusion.posterior_var(t) - 1.0) / kappa)

"""The perturbed reverse trajectory: its start and kernels, and unweighted draws from it.

    start     p~(x^T) proportional to pi(x^T) r(x^T)
    kernels   p~(x^{t-1} | x^t) = p(x^{t-1} | x^t) r(x^{t-1}) / Z~_{t-1}(x^t)                 (22)

(22) drops the ratio Z~_t / (Z~_{t-1} r(x^t)) of (21) and normalises at each x^t instead. The
neglected part is O(beta) a step and O(1) in all, unless r(x^t) = E[r(x^0) | x^t]: then
Z~_{t-1}(x^t) = r(x^t), and nothing is neglected.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.5.1 and 2.5.2, (21) and (22).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpm_ref import validation
from dpm_ref.posteriors.factors import Factor, Product
from dpm_ref.posteriors.over_time import OverTime
from dpm_ref.protocols import (
    Diffusion,
    Edge,
    IndependentLaw,
    ReverseKernel,
    ask_law,
    checked_diffusion,
    law_over,
)
from dpm_ref.reverse import Trajectory, sample_trajectory
from dpm_ref.validation import Array

__all__ = ["Perturbed", "sample"]


@dataclass(frozen=True)
class Perturbed:
    """A model whose kernels are multiplied by r; called with (xt, t) it is a reverse kernel itself.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    reverse : callable (xt, t) -> law
        p(x^{t-1} | x^t), asked for states (m, d) and one int t in 2..T.
    r : callable t -> factor
        r(x^t), t = 0..T, such as `constant(factor)`.
    edge : callable x1 -> law, optional
        p(x^0 | x^1); by default the diffusion's own, T_pi (App. B.2).

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import GaussianFactor, constant
    >>> diffusion = GaussianDiffusion([0.1, 0.5])
    >>> p = Perturbed(diffusion, diffusion.kernel, constant(GaussianFactor([1.0], 1.0)))
    >>> print("%.6f %.6f" % (p.prior(1).mean[0], p(np.zeros((1, 1)), 2).mean[0, 0]))
    0.500000 0.333333
    """

    diffusion: Diffusion
    reverse: ReverseKernel
    r: OverTime
    edge: Edge | None = None

    @property
    def T(self) -> int:
        """Steps of the diffusion."""
        return self.diffusion.T

    @property
    def law(self) -> type[IndependentLaw]:
        """The diffusion's family of distributions."""
        return self.diffusion.law

    def factor(self, t: int) -> Factor:
        """r(x^t), t in 0..T."""
        factor: Factor | None = self.r(t) if callable(self.r) else None
        if factor is None or not hasattr(factor, "multiply"):
            raise ValueError("r must be a callable t -> factor, such as constant(factor), "
                             f"got {self.r!r}")
        return factor

    def model(self, x: Array, t: int) -> IndependentLaw:
        """The model's p(x^t | x^{t+1}) at states x (m, d); at t = T the prior, over (d,)."""
        if t == self.T:
            return self.diffusion.prior(x.shape[-1])
        if t == 0:
            edge = self.diffusion.edge if self.edge is None else self.edge
            return ask_law(self.law, edge, "edge", x)
        return ask_law(self.law, self.reverse, "reverse", x, t + 1)

    def multiply(self, law: IndependentLaw, t: int) -> Product:
        """law r(x^t) / Z~, checked, since r may be a user's own."""
        product = self.factor(t).multiply(law)
        tilted = law_over(self.law, product.law, np.empty(law.shape), "r's product")
        if product.log_z is None:
            return Product(tilted, None)
        log_z = validation.below_infinity("r's log Z~", product.log_z)
        return Product(tilted, np.broadcast_to(log_z, law.shape[:-1]))

    def log_r(self, x: Array, t: int) -> Array:
        """log r(x^t) at states x (m, d)."""
        return validation.below_infinity("log r", self.factor(t).log_r(x.copy()))

    def prior(self, d: int) -> Any:
        """p~(x^T), over (d,)."""
        return self.multiply(self.diffusion.prior(d), self.T).law

    def __call__(self, xt: Array, t: int, /) -> Any:
        """p~(x^{t-1} | x^t), t in 1..T."""
        return self.multiply(self.model(xt, t - 1), t - 1).law


def sample(diffusion: Diffusion, reverse: ReverseKernel, r: OverTime, n: int, d: int, *,
           rng: np.random.Generator, keep: Iterable[int] = (),
           edge: Edge | None = None) -> Trajectory:
    """Draw n vectors along the perturbed trajectory: the paper's recipe, unweighted.

    Parameters
    ----------
    diffusion, reverse, r, edge
        As for `Perturbed`.
    n, d : int >= 1
        Vectors, and components of each.
    keep : iterable of int in 0..T
        Times whose states to return.

    Returns
    -------
    Trajectory
        x0 (n, d), and a dict from each time kept to its states (n, d).

    Raises
    ------
    ValueError
        Also if r is 0 at all draws, or a `LogFactor` without a slope, which would leave the model's
        kernels as they are.

    Notes
    -----
    Section 2.5. The draws are of p(x^0) r(x^0) / Z where r(x^t) = E[r(x^0) | x^t] and the product
    of kernel and r has independent components; any other r over time samples another distribution,
    however large T (see `dpm_ref.posteriors`), and `particle_filter` has the weights to correct it.

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import Clamp, constant
    >>> diffusion, r = GaussianDiffusion([0.1, 0.5]), constant(Clamp([1.0, 0.0], [True, False]))
    >>> print(sample(diffusion, diffusion.kernel, r, 3, 2, rng=np.random.default_rng(0)).x0[:, 0])
    [1. 1. 1.]
    """
    kernels: Any = Perturbed(checked_diffusion(diffusion), reverse, r, edge)
    for t in range(diffusion.T + 1):
        if not getattr(kernels.factor(t), "has_slope", True):
            raise ValueError("r must have a slope to shift kernels, got a LogFactor without one "
                             f"at t = {t}; a particle filter needs none")
    path = sample_trajectory(kernels, kernels, n, d, rng=rng, keep=keep,
                             edge=lambda x1: kernels(x1, 1))
    if (kernels.log_r(path.x0, 0) == -np.inf).all():
        raise ValueError("r must be positive somewhere on the model's support, "
                         "got r(x^0) = 0 at every draw")
    return path

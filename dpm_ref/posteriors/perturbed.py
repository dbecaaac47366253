"""The perturbed reverse trajectory of section 2.5: its start, its kernels, and draws from it, as the paper has them.

    start     p~(x^T) proportional to pi(x^T) r(x^T)
    kernels   p~(x^{t-1} | x^t) = p(x^{t-1} | x^t) r(x^{t-1}) / Z~_{t-1}(x^t)                          (22)

(22) drops the ratio Z~_t / (Z~_{t-1} r(x^t)) of (21) and makes up for it by normalising at each x^t. What that neglects is
O(beta) a step and O(1) in all, unless r(x^t) = E[ r(x^0) | x^t ]: then Z~_{t-1}(x^t) = r(x^t), and nothing is neglected.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.5.1 to 2.5.3, equations (21) and (22), Table App.1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpm_ref import validation
from dpm_ref.posteriors.conditions import LogFactor
from dpm_ref.posteriors.factors import Factor, Product
from dpm_ref.posteriors.over_time import OverTime
from dpm_ref.protocols import Diffusion, Edge, ReverseKernel, law_over
from dpm_ref.reverse import Trajectory
from dpm_ref.validation import Array

__all__ = ["Perturbed", "sample"]


@dataclass(frozen=True)
class Perturbed:
    """A model's kernels, each multiplied by r; called with (xt, t) it is itself a reverse kernel.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    reverse : callable (xt, t) -> law
        p(x^{t-1} | x^t), asked for states (m, d) and one int t in 2..T.
    r : callable t -> factor
        r(x^t), t = 0..T; see `constant`, `tempered`, `diffused`, `of_time`.
    edge : callable x1 -> law, optional
        p(x^0 | x^1); by default the diffusion's own, T_pi (App. B.2).

    Raises
    ------
    ValueError
        At use, if r is no callable of t that returns factors, or a kernel returns a law over another shape.

    Notes
    -----
    Equations (21) and (22).

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import GaussianFactor, constant
    >>> diffusion = GaussianDiffusion([0.1, 0.5])
    >>> p = Perturbed(diffusion, diffusion.kernel, constant(GaussianFactor([1.0], 1.0)))
    >>> print("%.6f %.6f" % (p.start(1).law.mean[0], p([[0.0]], 2).mean[0, 0]))
    0.500000 0.333333
    """

    diffusion: Diffusion
    reverse: ReverseKernel
    r: OverTime
    edge: Edge | None = None

    def factor(self, t: int) -> Factor:
        """r(x^t), t in 0..T, for a law or states of any shape (..., d); dimensionless. ValueError if r gives no factor. Section 2.5."""
        factor = self.r(t) if callable(self.r) else self.r
        if not callable(self.r) or not hasattr(factor, "multiply"):
            raise ValueError(f"r must be a callable t -> factor, such as constant(factor), got {self.r!r}")
        return factor

    def start(self, d: int) -> Product:
        """p~(x^T), pi(x^T) times r(x^T): a law over (d,), and log Z~_T in nats; ValueError as for the prior. Section 2.5."""
        return self.factor(self.diffusion.T).multiply(self.diffusion.prior(d))

    def step(self, xt: Array, t: int) -> Product:
        """p~(x^{t-1} | x^t) at states xt (m, d), one t in 1..T: a law over their shape, and log Z~_{t-1}(x^t) in nats. (22).

        ValueError as for data, times, and kernels' laws.
        """
        xt, t = self.diffusion.check_data("xt", xt), validation.one_time("t", t, 1, self.diffusion.T)
        law = self.reverse(xt, t) if t > 1 else (self.diffusion.edge if self.edge is None else self.edge)(xt)
        return self.factor(t - 1).multiply(law_over(self.diffusion.law, law, xt, "reverse" if t > 1 else "edge"))

    def __call__(self, xt: Array, t: int, /) -> Any:
        """The law of `step`."""
        return self.step(xt, t).law


def sample(diffusion: Diffusion, reverse: ReverseKernel, r: OverTime, n: int, d: int, *, rng: np.random.Generator,
           keep: Iterable[int] = (), edge: Edge | None = None) -> Trajectory:
    """Draw n vectors along the perturbed trajectory: the paper's recipe, unweighted.

    Parameters
    ----------
    diffusion, reverse, r, edge
        As for `Perturbed`.
    n, d : int >= 1
        Vectors, and components of each.
    rng : numpy.random.Generator
    keep : iterable of int in 0..T
        Times whose states to return.

    Returns
    -------
    Trajectory
        x0 of shape (n, d) and a dict from each time kept to its states (n, d), of one trajectory; dimensionless.

    Raises
    ------
    ValueError
        If an argument is out of range, r is nan, negative or zero at all that is drawn, or a `LogFactor` without a slope, which
        would leave the model's kernels as they are.

    Notes
    -----
    Section 2.5. What is drawn is p(x^0) r(x^0) / Z where r(x^t) = E[ r(x^0) | x^t ] and the product of kernel and r is a law of
    independent components. Any other r over time samples another law, however large T: see `dpm_ref.posteriors`, and
    `particle_filter` for the weights that put it right.

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import Clamp, constant
    >>> diffusion = GaussianDiffusion([0.1, 0.5])
    >>> filled = sample(diffusion, diffusion.kernel, constant(Clamp([1.0, 0.0], [True, False])), 3, 2, rng=np.random.default_rng(0))
    >>> print(filled.x0[:, 0])
    [1. 1. 1.]
    """
    rng, T, n = validation.generator(rng), diffusion.T, validation.count("n", n, 1)
    wanted = {validation.one_time("keep", t, 0, T) for t in keep}
    kernels, product = Perturbed(diffusion, reverse, r, edge), None
    states: dict[int, Array] = {}
    xt = np.empty((n, d))
    for t in range(T, -1, -1):
        product = kernels.start(d) if t == T else kernels.step(xt, t + 1)
        if isinstance(product.factor, LogFactor) and not product.factor.bends:
            raise ValueError(f"r must have a slope to bend kernels, got a LogFactor without one at t = {t}; a particle filter needs none")
        xt = product.law.at(product.law.noise((n, d), rng=rng))
        if t in wanted:
            states[t] = xt
    if product is not None and (product.factor.log_r(xt) == -np.inf).all():
        raise ValueError("r must be positive somewhere on the model's support, got r(x^0) = 0 at every draw")
    return Trajectory(xt, {t: states[t] for t in sorted(wanted)})

"""The reverse trajectory: x^T from the prior, each x^{t-1} from the reverse kernel, x^0 from the edge.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.2, equations (4) and (5), and App. B.2.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from dpm_ref import validation
from dpm_ref.protocols import Diffusion, Edge, ReverseKernel, law_over
from dpm_ref.validation import Array

__all__ = ["Trajectory", "sample_trajectory"]


class Trajectory(NamedTuple):
    """A reverse trajectory: x^0 (n, d), and the intermediate states asked for, by time."""

    x0: Array
    states: dict[int, Array]


def sample_trajectory(diffusion: Diffusion, reverse: ReverseKernel, n: int, d: int, *, rng: np.random.Generator,
                      keep: Iterable[int] = (), edge: Edge | None = None) -> Trajectory:
    """Draw n vectors from the model: x^T from the prior, x^{t-1} from the reverse kernel, x^0 from the edge.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    reverse : callable (xt, t) -> law
        Called with xt of shape (n, d) and one int t, from T down to 2.
    n, d : int >= 1
        Vectors, and components of each.
    rng : numpy.random.Generator
    keep : iterable of int in 0..T
        Times whose states to return.
    edge : callable x1 -> law, optional
        p(x^0 | x^1); by default the diffusion's own, T_pi.

    Returns
    -------
    Trajectory
        x0 of shape (n, d) and a dict from each time kept to its states (n, d), of one trajectory; dimensionless.

    Raises
    ------
    ValueError
        If an argument is out of range, or a kernel returns a law over another shape.

    Notes
    -----
    Section 2.2, equations (4) and (5), with the edge of App. B.2.

    >>> from dpm_ref import GaussianDiffusion
    >>> diffusion = GaussianDiffusion([0.1, 0.2, 0.5])
    >>> path = sample_trajectory(diffusion, diffusion.kernel, 5, 2, rng=np.random.default_rng(0), keep=[0, 3])
    >>> path.x0.shape, sorted(path.states)
    ((5, 2), [0, 3])
    """
    rng, T = validation.generator(rng), diffusion.T
    wanted = {validation.one_time("keep", t, 0, T) for t in keep}
    prior = diffusion.prior(d)
    xt = prior.at(prior.noise((validation.count("n", n, 1), d), rng=rng))
    states = {T: xt}
    for t in range(T, 0, -1):
        law = reverse(xt, t) if t > 1 else (diffusion.edge if edge is None else edge)(xt)
        xt = law_over(diffusion.law, law, xt, "reverse" if t > 1 else "edge").sample(rng=rng)
        if t - 1 in wanted:
            states[t - 1] = xt
    return Trajectory(xt, {t: states[t] for t in sorted(wanted)})

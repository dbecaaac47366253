"""States of bits that finite data cannot tell apart, counted together."""

import numpy as np
from scipy.special import gammaln

from dpm_ref.binomial import BinomialDiffusion
from dpm_ref.exact.finite import FiniteData
from dpm_ref.validation import Array, IntArray

__all__ = ["lumped_states"]

_MOST_STATES = 2**20


def lumped_states(data: FiniteData) -> tuple[Array, Array]:
    """One state (n, d) to every distinguishable number of ones, and the log of how many states it stands for.

    Components in which all atoms agree, and with them pi, are exchangeable: q(x^t) depends on their number of ones alone. And
    where two groups of such components may be swapped without changing the data, only the ordered numbers are kept.
    """
    if not isinstance(data.diffusion, BinomialDiffusion):
        raise ValueError("data must be binary to be enumerated, got a GaussianDiffusion's")
    d = data.atoms.shape[1]
    columns = np.concatenate([np.broadcast_to(data.diffusion.pi1, (1, d)), data.atoms])
    groups, labels = np.unique(columns, axis=1, return_inverse=True)
    labels = labels.ravel()
    sizes = np.bincount(labels)
    if np.prod(sizes + 1.0) > _MOST_STATES:
        raise ValueError(f"data must leave at most {_MOST_STATES} distinguishable states, got {np.prod(sizes + 1.0):.3g}")
    ones = np.stack(np.meshgrid(*[np.arange(size + 1) for size in sizes], indexing="ij"), -1).reshape(-1, len(sizes))
    log_count = (gammaln(sizes + 1.0) - gammaln(ones + 1.0) - gammaln(sizes - ones + 1.0)).sum(1)
    for alike in _interchangeable(groups, sizes, data.weights):
        ordered = (np.diff(ones[:, alike]) <= 0).all(1)
        ones, log_count = ones[ordered], log_count[ordered]
        repeats = (ones[:, alike, None] == np.arange(sizes[alike[0]] + 1)).sum(1)
        log_count = log_count + gammaln(len(alike) + 1.0) - gammaln(repeats + 1.0).sum(1)
    rank = np.array([np.sum(labels[:i] == labels[i]) for i in range(d)])  # of each component within its group
    return (rank < ones[:, labels]).astype(np.float64), log_count


def _interchangeable(groups: Array, sizes: IntArray, weights: Array) -> list[list[int]]:
    """The classes of groups any two of which may be swapped: groups (1 + m, G) holds pi and each atom's bit, by group."""

    def swappable(i: int, j: int) -> bool:
        order = np.arange(len(sizes))
        order[[i, j]] = j, i
        atoms = [np.column_stack([weights, table[1:]]) for table in (groups, groups[:, order])]
        before, after = (table[np.lexsort(table.T)] for table in atoms)
        return bool(sizes[i] == sizes[j] and groups[0, i] == groups[0, j] and (before == after).all())

    classes: list[list[int]] = []
    for i in range(len(sizes)):
        mine = next((members for members in classes if swappable(members[0], i)), None)
        if mine is None:
            classes.append([i])
        else:
            mine.append(i)
    return classes

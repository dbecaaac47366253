"""Averages over q(x^t) of finite data: randomly shifted lattices, or all distinguishable states.

x^t is a function of 1 + d uniform numbers, which atom and its noise. A rank-1 lattice averages over
these with an error of nearly 1/n rather than 1/sqrt(n), a random shift makes it unbiased, and
independent shifts give its standard error. For bits the average is a finite sum, short where many
components look alike: the heartbeat's 2^20 states come down to 126.

References: L'Ecuyer and Lemieux 2000, Management Science 46(9), on randomly shifted lattices; the
lattice is the Kronecker sequence of the generalised golden ratio.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from dpm_ref import validation
from dpm_ref.binomial import BinomialDiffusion
from dpm_ref.exact.finite import FiniteData
from dpm_ref.validation import Array, IntArray

__all__ = ["Estimate", "Lattices", "average_over", "distinguishable_states",
           "estimate", "lattice"]

_SHIFTS = 16  # independent shifts of the lattice behind one standard error
_MOST_STATES = 2**20
Function = Callable[[Array, int], Array]
Average = Callable[[Function, int], Array]


class Estimate(NamedTuple):
    """A number and its standard error, 0 where the number is exact."""

    value: float
    stderr: float


def average_over(data: FiniteData, rng: np.random.Generator | None, n_samples: int) -> Average:
    """E function(x^t, t) at any t, as independent estimates: one to a lattice, or an exact one."""
    if not isinstance(data, FiniteData):
        raise TypeError(f"data must be FiniteData, got {type(data).__name__}")
    if rng is None:
        states, log_count = distinguishable_states(data)

        def by_enumeration(function: Function, t: int) -> Array:
            weight = np.exp(log_count + data.log_prob(states, t))
            seen = weight > 0
            return np.array([weight[seen] @ function(states[seen], t)])

        return by_enumeration
    lattices = Lattices(rng, n_samples)

    def by_lattices(function: Function, t: int) -> Array:
        uniform = lattices.uniform(1 + data.atoms.shape[1])
        return lattices.means(function(data.draw(uniform, t), t))

    return by_lattices


class Lattices:
    """16 randomly shifted lattices of n_samples / 16 points, rounded up."""

    def __init__(self, rng: np.random.Generator, n_samples: int) -> None:
        self.n_points = -(-validation.count("n_samples", n_samples, 1) // _SHIFTS)
        self.rng = validation.generator(rng)

    def uniform(self, dimensions: int) -> Array:
        """The points of all lattices in the unit cube, (16 n, dimensions)."""
        shifts = self.rng.random((_SHIFTS, 1, dimensions))
        return ((lattice(self.n_points, dimensions) + shifts) % 1.0).reshape(-1, dimensions)

    def means(self, values: Array) -> Array:
        """The average over each lattice."""
        return np.asarray(values.reshape(_SHIFTS, -1).mean(1))


def estimate(values: Array) -> Estimate:
    """The mean of independent estimates and its standard error; one value is exact."""
    stderr = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return Estimate(float(values.mean()), float(stderr))


def lattice(n: int, dimensions: int) -> Array:
    """n points in the unit cube: i (1/n, g^-1, g^-2, ...) mod 1 with g^dimensions = g + 1."""
    g = 2.0
    for _ in range(64):
        g = (1.0 + g) ** (1.0 / dimensions)
    steps = g ** -np.arange(1.0, dimensions)
    return np.asarray(np.arange(n)[:, None] * np.concatenate([[1.0 / n], steps]) % 1.0)


def distinguishable_states(data: FiniteData) -> tuple[Array, Array]:
    """States of bits (n, d), and the log of how many each of them stands for.

    Components in which all atoms agree, and with them pi, are exchangeable: q(x^t) depends on their
    number of ones alone. Where two groups of such components may be swapped without changing the
    data, only the ordered numbers are kept.
    """
    if not isinstance(data.diffusion, BinomialDiffusion):
        raise ValueError("rng must be given for Gaussian data, which cannot be enumerated")
    d = data.atoms.shape[1]
    columns = np.concatenate([np.broadcast_to(data.diffusion.pi1, (1, d)), data.atoms])
    groups, labels = np.unique(columns, axis=1, return_inverse=True)
    labels = labels.ravel()
    sizes = np.bincount(labels)
    if np.prod(sizes + 1.0) > _MOST_STATES:
        raise ValueError(f"data must leave at most {_MOST_STATES} distinguishable states, "
                         f"got {np.prod(sizes + 1.0):.3g}")
    ones = np.array(list(np.ndindex(*(sizes + 1))))  # in each group
    log_count = (gammaln(sizes + 1) - gammaln(ones + 1) - gammaln(sizes - ones + 1)).sum(1)
    for alike in _interchangeable(groups, sizes, data.weights):
        ordered = (np.diff(ones[:, alike]) <= 0).all(1)
        ones, log_count = ones[ordered], log_count[ordered]
        repeats = (ones[:, alike, None] == np.arange(sizes[alike[0]] + 1)).sum(1)
        log_count = log_count + gammaln(len(alike) + 1) - gammaln(repeats + 1).sum(1)
    rank = np.array([np.sum(labels[:i] == labels[i]) for i in range(d)])  # within its group
    return (rank < ones[:, labels]).astype(np.float64), log_count


def _interchangeable(groups: Array, sizes: IntArray, weights: Array) -> list[list[int]]:
    """Classes of groups any two of which may be swapped; groups (1 + m, G): pi and atoms' bits."""

    def swappable(i: int, j: int) -> bool:
        order = np.arange(len(sizes))
        order[[i, j]] = j, i
        tables = [np.column_stack([weights, table[1:]]) for table in (groups, groups[:, order])]
        before, after = (table[np.lexsort(table.T)] for table in tables)
        same_kind = sizes[i] == sizes[j] and groups[0, i] == groups[0, j]
        return bool(same_kind and (before == after).all())

    classes: list[list[int]] = []
    for i in range(len(sizes)):
        mine = next((members for members in classes if swappable(members[0], i)), None)
        if mine is None:
            classes.append([i])
        else:
            mine.append(i)
    return classes

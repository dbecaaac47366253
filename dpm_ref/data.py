"""The paper's toy data: distributions that can be sampled, and whose entropy is known.

Swiss roll (section 3.1.1, App. D.1.1), in scikit-learn's convention without its middle coordinate:
an angle a = 1.5 pi (1 + 2 u) with u uniform on [0, 1], the point (a cos a, a sin a) of the spiral,
and isotropic Gaussian noise. It is centred and scaled by the distribution's own constants,

    E a cos a = 2,   E a sin a = 2 / (3 pi),   E a^2 = 9.75 pi^2
    scale^2 = (9.75 pi^2 - 4 - 4 / (9 pi^2)) / 2 + noise^2

so that the mean is zero and E|x|^2 = d, as equation (14) requires.

Binary heartbeat (section 3.1.2, App. D.1.2): a 1 in every `period`-th bin, the phase uniform.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy

from dpm_ref import validation
from dpm_ref.validation import Array, Generator

__all__ = ["Atoms", "swiss_roll", "swiss_roll_atoms", "swiss_roll_entropy", "heartbeat",
           "heartbeat_atoms", "heartbeat_entropy"]

_FIRST, _LAST = 1.5 * np.pi, 4.5 * np.pi
_MEAN = np.array([2.0, 2.0 / (3.0 * np.pi)])
_SPIRAL_VAR = (9.75 * np.pi**2 - 4.0 - 4.0 / (9.0 * np.pi**2)) / 2.0


class Atoms(NamedTuple):
    """Equally likely points (m, d), and the variance of the isotropic Gaussian around each."""

    atoms: Array
    var: float


def swiss_roll(n: int, *, noise: float, rng: Generator) -> Array:
    """Draw n >= 1 points of the noisy spiral, with mean zero and E|x|^2 = 2: shape (n, 2).

    `noise`, in [0, 1e100], is its standard deviation in each coordinate before scaling, in units in
    which the radius runs from 1.5 pi to 4.5 pi. The paper's is not published.

    >>> swiss_roll(5, noise=0.1, rng=np.random.default_rng(0)).shape
    (5, 2)
    """
    n, noise = validation.count("n", n, 1), _noise(noise, 0.0, 1e100)
    rng = validation.generator(rng)
    angle = _FIRST + (_LAST - _FIRST) * rng.random(n)
    points = _spiral(angle) + noise * rng.standard_normal((n, 2))
    return np.asarray((points - _MEAN) / _scale(noise))


def swiss_roll_atoms(m: int, *, noise: float) -> Atoms:
    """The roll as m equally likely Gaussians on the spiral, exact as m grows; for `exact`.

    Atoms (m, 2) are the midpoints of m equal steps of the angle; like var, they are scaled as the
    data are. Their spacing, at most 134 / m, should be well below `noise` > 0.

    >>> swiss_roll_atoms(1000, noise=0.1).atoms.shape
    (1000, 2)
    """
    m, noise = validation.count("m", m, 1), _noise(noise, 1e-100, 1e100)
    angle = _FIRST + (_LAST - _FIRST) * (np.arange(m) + 0.5) / m
    return Atoms((_spiral(angle) - _MEAN) / _scale(noise), (noise / _scale(noise)) ** 2)


def swiss_roll_entropy(noise: float) -> float:
    """Differential entropy -E log p of the (scaled) roll, by quadrature, accurate to 1e-8.

    Its negative is the limit of K on these data. p(x) is Gauss-Legendre over the angle. For noise
    in [0.001, 0.2), E is adaptive over the angle and Gauss-Hermite over the noise; in [0.2, 10],
    where turns of the spiral come close, -p log p is summed on a grid.

    >>> print("%.6f" % swiss_roll_entropy(0.1))
    -0.262995
    """
    noise = _noise(noise, 0.001, 10.0)
    entropy = _entropy_of_tube(noise) if noise < 0.2 else _entropy_on_grid(noise)
    return entropy - 2.0 * float(np.log(_scale(noise)))


def heartbeat(n: int, *, rng: Generator, length: int = 20, period: int = 5) -> Array:
    """Draw n >= 1 sequences of 0. and 1., a 1 in every `period`-th bin, the phase uniform.

    Shape (n, length). The defaults are those of the paper's Figure 2. 1 <= period <= length.

    >>> int(heartbeat(1, rng=np.random.default_rng(0)).sum())
    4
    """
    atoms, n = heartbeat_atoms(length, period), validation.count("n", n, 1)
    return atoms[validation.generator(rng).integers(len(atoms), size=n)]


def heartbeat_atoms(length: int = 20, period: int = 5) -> Array:
    """The `period` equally likely sequences, by phase: shape (period, length).

    >>> heartbeat_atoms(4, 2)
    array([[1., 0., 1., 0.],
           [0., 1., 0., 1.]])
    """
    length = validation.count("length", length, 1)
    period = validation.one_time("period", period, 1, length)
    return np.asarray(np.arange(length) % period == np.arange(period)[:, None], dtype=np.float64)


def heartbeat_entropy(length: int = 20, period: int = 5) -> float:
    """Entropy of the heartbeat, log(period).

    >>> print("%.6f" % heartbeat_entropy())
    1.609438
    """
    return float(np.log(len(heartbeat_atoms(length, period))))


def _noise(noise: float, low: float, high: float) -> float:
    return validation.number("noise", noise, f"in [{low:g}, {high:g}]", lambda x: low <= x <= high)


def _spiral(angle: Array) -> Array:
    """Points of the spiral, (..., 2)."""
    return np.stack([angle * np.cos(angle), angle * np.sin(angle)], -1)


def _scale(noise: float) -> float:
    return float(np.sqrt(_SPIRAL_VAR + noise**2))


def _entropy_on_grid(noise: float) -> float:
    """-integral p log p by the trapezoidal rule, which converges exponentially for a smooth p."""
    step, reach = 0.25 * noise, _LAST + 9.0 * noise
    grid = np.arange(-reach, reach + step, step)
    density = _density(grid, grid, noise, _FIRST, _LAST)
    return -step * step * float((density * np.log(np.where(density > 0, density, 1.0))).sum())


def _entropy_of_tube(noise: float) -> float:
    """-E log p over angle and noise, with p from the nearby part of the curve alone."""
    z, z_weight = np.polynomial.hermite_e.hermegauss(24)
    weights = np.outer(z_weight, z_weight) / (2.0 * np.pi)
    reach = 18.0 * noise / _FIRST

    def at(angle: Any) -> float:
        x, y = _spiral(angle)[:, None] + noise * z
        density = _density(x, y, noise, max(_FIRST, angle - reach), min(_LAST, angle + reach))
        return -float((weights * np.log(density))[weights > 1e-16].sum())

    ends = _FIRST + 2.0 * noise, _LAST - 2.0 * noise  # beyond them p falls within a noise width
    integral, _ = scipy.integrate.quad(at, _FIRST, _LAST, points=ends, epsabs=1e-9)
    return integral / (_LAST - _FIRST)


def _density(x: Array, y: Array, noise: float, first: float, last: float) -> Array:
    """p on a grid, shape (len(x), len(y)), from the angles in first..last."""
    panels = int(np.ceil((last - first) * _LAST / (3.0 * noise)))
    nodes, weights = _gauss_legendre(np.linspace(first, last, panels + 1))
    at_x, at_y = (np.exp(-0.5 * ((points[:, None] - nodes * part) / noise) ** 2)
                  for points, part in ((x, np.cos(nodes)), (y, np.sin(nodes))))
    return (at_x * weights) @ at_y.T / (2.0 * np.pi * noise**2 * (_LAST - _FIRST))


def _gauss_legendre(edges: Array) -> tuple[Array, Array]:
    """Nodes and weights of the composite rule of order 8 on panels."""
    node, weight = np.polynomial.legendre.leggauss(8)
    half = 0.5 * np.diff(edges)
    nodes = 0.5 * (edges[1:] + edges[:-1])[:, None] + half[:, None] * node
    return nodes.ravel(), (half[:, None] * weight).ravel()

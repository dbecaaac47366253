"""The paper's toy data: laws that can be sampled, and whose entropy is known.

Swiss roll (section 3.1.1, App. D.1.1), in scikit-learn's convention, its middle coordinate left out: an angle
a = 1.5 pi (1 + 2 u) with u uniform on [0, 1], the point (a cos a, a sin a) of the spiral, isotropic Gaussian noise. It is then
centred and scaled by the law's own constants, not by a sample's:

    E a cos a = 2,   E a sin a = 2 / (3 pi),   E a^2 = 9.75 pi^2
    scale^2 = (9.75 pi^2 - 4 - 4 / (9 pi^2)) / 2 + noise^2

so that the mean is zero and E|x|^2 = d, as equation (14) asks.

Binary heartbeat (section 3.1.2, App. D.1.2): a 1 in every `period`-th bin, the phase uniform.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 3.1 and App. D.1.
"""

from typing import NamedTuple

import numpy as np

from dpm_ref import validation
from dpm_ref.validation import Array

__all__ = ["SpreadAtoms", "swiss_roll", "swiss_roll_atoms", "swiss_roll_entropy", "heartbeat", "heartbeat_atoms", "heartbeat_entropy"]

_FIRST, _LAST = 1.5 * np.pi, 4.5 * np.pi
_MEAN = np.array([2.0, 2.0 / (3.0 * np.pi)])
_SPIRAL_VAR = (9.75 * np.pi**2 - 4.0 - 4.0 / (9.0 * np.pi**2)) / 2.0


class SpreadAtoms(NamedTuple):
    """Equally likely points (m, d), and the variance of the isotropic Gaussian around each."""

    atoms: Array
    spread: float


def swiss_roll(n: int, *, noise: float, rng: np.random.Generator) -> Array:
    """Draw n points of the noisy spiral, of mean zero and E|x|^2 = 2.

    Parameters
    ----------
    n : int >= 1
    noise : float >= 0
        Standard deviation of the noise in each coordinate before scaling, in units in which the radius runs from 1.5 pi to
        4.5 pi. The paper's is not published.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n, 2), dimensionless

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Section 3.1.1, Figure 1.

    >>> swiss_roll(5, noise=0.1, rng=np.random.default_rng(0)).shape
    (5, 2)
    """
    n, noise, rng = validation.count("n", n, 1), validation.positive_number("noise", noise, zero_allowed=True), validation.generator(rng)
    angle = _FIRST + (_LAST - _FIRST) * rng.random(n)
    return np.asarray((_spiral(angle) + noise * rng.standard_normal((n, 2)) - _MEAN) / _scale(noise))


def swiss_roll_atoms(m: int, *, noise: float) -> SpreadAtoms:
    """The roll as m equally likely Gaussians on the spiral, for the solvable models: exact as m grows.

    Parameters
    ----------
    m : int >= 1
        Midpoints of m equal steps of the angle. Their spacing, at most 134 / m, should be well below the noise.
    noise : float > 0
        As for `swiss_roll`.

    Returns
    -------
    SpreadAtoms
        atoms (m, 2) and spread, the variance of the noise, both scaled as the data are; dimensionless.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Section 3.1.1.

    >>> swiss_roll_atoms(1000, noise=0.1).atoms.shape
    (1000, 2)
    """
    m, noise = validation.count("m", m, 1), validation.positive_number("noise", noise)
    angle = _FIRST + (_LAST - _FIRST) * (np.arange(m) + 0.5) / m
    return SpreadAtoms((_spiral(angle) - _MEAN) / _scale(noise), (noise / _scale(noise)) ** 2)


def swiss_roll_entropy(noise: float) -> float:
    """Differential entropy of the roll's law, by quadrature.

    H = -E log p, where p(x) is the integral over the angle of the noise's density around the spiral. Both integrals over the
    angle are Gauss-Legendre on panels that are narrow near the ends, the one over the noise is Gauss-Hermite.

    Parameters
    ----------
    noise : float in [0.001, 10]
        As for `swiss_roll`.

    Returns
    -------
    float, nats, of the scaled law; accurate to 1e-8

    Raises
    ------
    ValueError
        If noise is out of range: without noise the law has no density.

    Notes
    -----
    The limit of K on these data is -H (equation (10): L <= -H, with equality for the true law). Section 3.1.1.

    >>> print("%.6f" % swiss_roll_entropy(0.1))
    -0.262995
    """
    noise = validation.positive_number("noise", noise)
    if not 0.001 <= noise <= 10.0:
        raise ValueError(f"noise must lie in [0.001, 10], got {noise}")
    z, z_weight = np.polynomial.hermite_e.hermegauss(24)
    offsets = noise * np.stack(np.meshgrid(z, z), -1).reshape(-1, 2)
    offset_weights = np.outer(z_weight, z_weight).reshape(-1) / (2.0 * np.pi)
    reached = offset_weights > 1e-16
    offsets, offset_weights = offsets[reached], offset_weights[reached]
    entropy = 0.0
    for angle, weight in zip(*_gauss_legendre(_outer_edges(noise)), strict=True):
        points = _spiral(np.asarray(angle)) + offsets
        entropy -= weight / (_LAST - _FIRST) * float(offset_weights @ _log_density(points, angle, noise))
    return entropy - 2.0 * float(np.log(_scale(noise)))


def heartbeat(n: int, *, rng: np.random.Generator, length: int = 20, period: int = 5) -> Array:
    """Draw n sequences of bits with a 1 in every `period`-th bin, the phase uniform.

    Parameters
    ----------
    n : int >= 1
    rng : numpy.random.Generator
    length, period : int, 1 <= period <= length

    Returns
    -------
    ndarray, shape (n, length), bits as 0. and 1.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Section 3.1.2, Figure 2: 20 bits, every 5th a 1.

    >>> int(heartbeat(1, rng=np.random.default_rng(0)).sum())
    4
    """
    atoms = heartbeat_atoms(length, period)
    return atoms[validation.generator(rng).integers(len(atoms), size=validation.count("n", n, 1))]


def heartbeat_atoms(length: int = 20, period: int = 5) -> Array:
    """The `period` equally likely sequences, by phase; shape (period, length), bits. Section 3.1.2; ValueError out of range.

    >>> heartbeat_atoms(4, 2)
    array([[1., 0., 1., 0.],
           [0., 1., 0., 1.]])
    """
    length, period = validation.count("length", length, 1), validation.count("period", period, 1)
    if period > length:
        raise ValueError(f"period must lie in 1..length = {length}, got {period}")
    return np.asarray(np.arange(length) % period == np.arange(period)[:, None], dtype=np.float64)


def heartbeat_entropy(length: int = 20, period: int = 5) -> float:
    """Entropy of the heartbeat's law, log(period), a scalar in nats. Section 3.1.2; ValueError out of range.

    >>> print("%.6f" % heartbeat_entropy())
    1.609438
    """
    return float(np.log(len(heartbeat_atoms(length, period))))


def _spiral(angle: Array) -> Array:
    """The point of the spiral at each angle, on a new last axis."""
    return np.stack([angle * np.cos(angle), angle * np.sin(angle)], -1)


def _scale(noise: float) -> float:
    return float(np.sqrt(_SPIRAL_VAR + noise**2))


def _outer_edges(noise: float) -> Array:
    """Panels over the whole angle: geometrically narrower towards both ends, where the density falls within one noise width."""
    half = 0.5 * (_LAST - _FIRST)
    layer = half * np.geomspace(min(0.02 * noise / half, 0.5), 1.0, 14)
    inner = np.concatenate([[0.0], layer])
    return np.concatenate([_FIRST + inner, _LAST - inner[-2::-1]])


def _gauss_legendre(edges: Array, order: int = 8) -> tuple[Array, Array]:
    """Nodes and weights of the composite rule on panels."""
    node, weight = np.polynomial.legendre.leggauss(order)
    half = 0.5 * np.diff(edges)
    return (0.5 * (edges[1:] + edges[:-1])[:, None] + half[:, None] * node).ravel(), (half[:, None] * weight).ravel()


def _log_density(points: Array, angle: float, noise: float) -> Array:
    """log p at points (k, 2) that lie within 9 noise widths of the spiral's point at `angle`; before scaling, nats.

    The integral runs over the angles whose points can matter: all, or those within 18 noise widths along the curve where
    the neighbouring turns, 2 pi away, are out of reach.
    """
    reach = 18.0 * noise / _FIRST if noise < 0.2 else np.inf
    first, last = max(_FIRST, angle - reach), min(_LAST, angle + reach)
    panels = int(np.ceil((last - first) * _LAST / (3.0 * noise)))
    nodes, weights = _gauss_legendre(np.linspace(first, last, panels + 1))
    square = ((points[:, None] - _spiral(nodes)) ** 2).sum(-1)
    smallest = square.min(1)
    density = np.exp(-0.5 * (square - smallest[:, None]) / noise**2) @ weights
    return np.asarray(np.log(density) - 0.5 * smallest / noise**2 - np.log(2.0 * np.pi * noise**2 * (_LAST - _FIRST)))

"""The toy data against closed forms, quadrature and counting."""

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import log_ndtr

from dpm_ref import data

BUDGET = 1e-6 / 50  # share of the project's false-alarm budget for one comparison here


def z_bound() -> float:
    return float(stats.norm.isf(BUDGET / 2))


def test_the_roll_has_mean_zero_and_second_moment_two_by_quadrature_of_the_curve() -> None:
    first, last = 1.5 * np.pi, 4.5 * np.pi
    noise = 0.3
    atoms = data.swiss_roll_atoms(1, noise=noise)
    scale = noise / np.sqrt(atoms.var)

    def mean(f: object) -> float:
        return float(integrate.quad(f, first, last, epsabs=1e-11, limit=200)[0]) / (last - first)  # type: ignore[arg-type]

    centre = np.array([mean(lambda a: a * np.cos(a)), mean(lambda a: a * np.sin(a))])
    second = mean(lambda a: a * a) - centre @ centre
    assert abs((second + 2 * noise**2) / scale**2 - 2.0) < 1e-11  # quadrature error
    middle = 3.0 * np.pi  # the one atom stands at the middle angle
    assert np.abs(atoms.atoms[0] - (np.array([-middle, 0.0]) - centre) / scale).max() < 1e-12


def test_samples_of_the_roll_have_the_laws_moments() -> None:
    n = 200_000
    x = data.swiss_roll(n, noise=0.1, rng=np.random.default_rng(1))
    for values, truth in ((x[:, 0], 0.0), (x[:, 1], 0.0), ((x**2).sum(1), 2.0)):
        assert abs(values.mean() - truth) < z_bound() * values.std() / np.sqrt(n)


def test_the_moment_test_sees_a_roll_that_is_five_percent_too_large() -> None:
    n = 200_000
    square = ((1.05 * data.swiss_roll(n, noise=0.1, rng=np.random.default_rng(1))) ** 2).sum(1)
    assert abs(square.mean() - 2.0) > z_bound() * square.std() / np.sqrt(n)


def test_samples_lie_on_the_spiral_when_there_is_no_noise() -> None:
    scale = float(np.sqrt((9.75 * np.pi**2 - 4 - 4 / (9 * np.pi**2)) / 2))
    x = data.swiss_roll(1000, noise=0.0, rng=np.random.default_rng(2)) * scale + [
        2.0,
        2 / (3 * np.pi),
    ]
    radius = np.hypot(*x.T)
    assert (
        np.abs(np.stack([radius * np.cos(radius), radius * np.sin(radius)], 1) - x).max() < 1e-12
    )  # rounding of a cosine of 14


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_the_rolls_entropy_agrees_with_a_histogram_free_monte_carlo_estimate(noise: float) -> None:
    rng = np.random.default_rng(3)
    atoms, var = data.swiss_roll_atoms(20_000, noise=noise)
    x = data.swiss_roll(1000, noise=noise, rng=rng)
    log_p = np.empty(len(x))
    for i, point in enumerate(x):
        exponent = -((point - atoms) ** 2).sum(1) / (2 * var)
        log_p[i] = (
            exponent.max()
            + np.log(np.exp(exponent - exponent.max()).mean())
            - np.log(2 * np.pi * var)
        )
    assert abs(-log_p.mean() - data.swiss_roll_entropy(noise)) < z_bound() * log_p.std() / np.sqrt(
        len(x)
    )


def entropy_by_gauss_legendre(noise: float) -> float:
    """-integral p log p over a square, every integral by one Gauss-Legendre rule of high order."""
    node, weight = np.polynomial.legendre.leggauss(800)
    a = (
        3 * np.pi + 1.5 * np.pi * node
    )  # the angle, from 1.5 pi to 4.5 pi; its density is 1 / (3 pi)
    reach = 4.5 * np.pi + 9 * noise
    x = reach * node
    along = [
        np.exp(-((x[:, None] - a * part) ** 2) / (2 * noise**2)) for part in (np.cos(a), np.sin(a))
    ]
    p = (along[0] * weight / 2) @ along[1].T / (2 * np.pi * noise**2)
    scale2 = (9.75 * np.pi**2 - 4 - 4 / (9 * np.pi**2)) / 2 + noise**2
    log_p = np.log(np.where(p > 0, p, 1.0))
    return float(-(reach * weight) @ (p * log_p) @ (reach * weight) - np.log(scale2))


@pytest.mark.parametrize(
    ("noise", "known"), [(1.0, 2.036422990853), (1.5, 2.387774883061), (2.0, 2.567903155615)]
)
def test_the_rolls_entropy_is_known_where_its_turns_overlap(noise: float, known: float) -> None:
    assert abs(data.swiss_roll_entropy(noise) - known) < 1e-10


@pytest.mark.parametrize("noise", [0.2, 0.3, 0.7, 1.0, 1.5, 2.0, 3.0, 10.0])
def test_the_rolls_entropy_agrees_with_another_quadrature(noise: float) -> None:
    assert abs(data.swiss_roll_entropy(noise) - entropy_by_gauss_legendre(noise)) < 1e-9


@pytest.mark.parametrize("noise", [0.15, 0.1999])
def test_the_rolls_two_quadratures_agree_where_they_meet(noise: float) -> None:
    on_grid = data._entropy_on_grid(noise) - 2 * np.log(data._scale(noise))
    assert abs(data.swiss_roll_entropy(noise) - on_grid) < 1e-10


def test_the_rolls_entropy_tends_to_that_of_the_noise_when_the_noise_is_large() -> None:
    # variance 100 against the spiral's 46: between the noise alone and a Gaussian of it all
    noise = 10.0
    scale = noise / np.sqrt(data.swiss_roll_atoms(1, noise=noise).var)
    of_noise = np.log(2 * np.pi * np.e * noise**2 / scale**2)
    assert of_noise < data.swiss_roll_entropy(noise) < np.log(2 * np.pi * np.e)


@pytest.mark.parametrize("noise", [0.001, 0.01])
def test_the_thin_rolls_entropy_is_that_of_a_line_times_its_width_and_of_its_ends(noise) -> None:
    """Curvature and what else is left count by O(noise^2).

    Along the curve the density is 1 / (3 pi v) per length, v = sqrt(1 + a^2) the speed, and across
    it that of the noise. It is Phi(w) times that w standard deviations inside an end, where
    - integral Phi log Phi dw noise / v comes in.
    """
    first, last = 1.5 * np.pi, 4.5 * np.pi
    along = integrate.quad(lambda a: np.log(3 * np.pi * np.hypot(1, a)), first, last)[0]
    end = integrate.quad(lambda w: -np.exp(log_ndtr(w)) * log_ndtr(w), -30, 30)[0]
    ends = noise * end * (1 / np.hypot(1, first) + 1 / np.hypot(1, last))
    scale = noise / np.sqrt(data.swiss_roll_atoms(1, noise=noise).var)
    across = 0.5 * np.log(2 * np.pi * np.e * noise**2)
    truth = (along + ends) / (last - first) + across - 2 * np.log(scale)
    assert abs(data.swiss_roll_entropy(noise) - truth) < 0.005 * noise**2


def test_the_limit_of_the_default_roll_is_4_474_bits_above_the_prior() -> None:
    null = -np.log(2 * np.pi) - 1
    assert round((-data.swiss_roll_entropy(0.1) - null) / np.log(2), 3) == 4.474
    assert round((-data.swiss_roll_entropy(0.01) - null) / np.log(2), 3) == 7.799


def test_atoms_of_the_roll_with_their_variance_have_second_moment_two() -> None:
    atoms, var = data.swiss_roll_atoms(100_000, noise=0.1)
    assert (
        abs((atoms**2).sum(1).mean() + 2 * var - 2.0) < 1e-8
    )  # midpoint rule, error of order 1 / m^2


def test_heartbeats_are_the_five_phases_and_nothing_else() -> None:
    x = data.heartbeat(1000, rng=np.random.default_rng(4))
    expected = {tuple(float(i % 5 == phase) for i in range(20)) for phase in range(5)}
    assert {tuple(row) for row in x.tolist()} == expected


def test_heartbeats_phases_are_uniform_by_chi_square() -> None:
    x = data.heartbeat(100_000, rng=np.random.default_rng(5))
    assert stats.chisquare(x[:, :5].sum(0)).pvalue > BUDGET


def test_the_chi_square_test_sees_a_phase_that_is_five_percent_too_frequent() -> None:
    n = 100_000
    assert stats.chisquare([0.21 * n, *[0.79 * n / 4] * 4]).pvalue < BUDGET


def test_the_heartbeats_entropy_is_log_five() -> None:
    assert data.heartbeat_entropy() == np.log(5)


def test_the_default_heartbeats_are_figure_2s_and_float64() -> None:
    atoms = data.heartbeat_atoms()
    assert atoms.shape == (5, 20)
    assert atoms.dtype == np.float64
    assert atoms.sum(1).tolist() == [4.0] * 5


def test_the_smallest_data_sets_are_single_points() -> None:
    rng = np.random.default_rng(6)
    assert data.swiss_roll(1, noise=0.1, rng=rng).shape == (1, 2)
    assert data.heartbeat(1, rng=rng, length=1, period=1).tolist() == [[1.0]]
    assert data.heartbeat_atoms(3, 3).tolist() == np.eye(3).tolist()
    assert data.heartbeat_entropy(1, 1) == 0.0


def test_the_noise_allowed_stands_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"noise must be one number in \[0\.001, 10\], got 11"):
        data.swiss_roll_entropy(11.0)


BAD = [
    (lambda rng: data.swiss_roll(0, noise=0.1, rng=rng), "n must"),
    (lambda rng: data.swiss_roll(2.0, noise=0.1, rng=rng), "n must"),
    (lambda rng: data.swiss_roll(True, noise=0.1, rng=rng), "n must"),
    (lambda rng: data.swiss_roll(5, noise=-0.1, rng=rng), "noise must"),
    (lambda rng: data.swiss_roll(5, noise=np.nan, rng=rng), "noise must"),
    (lambda rng: data.swiss_roll(5, noise=[0.1, 0.2], rng=rng), "noise must"),
    (lambda rng: data.swiss_roll(5, noise=1e300, rng=rng), "noise must"),
    (lambda rng: data.swiss_roll_atoms(5, noise=1e300), "noise must"),
    (lambda rng: data.swiss_roll(10**30, noise=0.1, rng=rng), "n must"),
    (lambda rng: data.swiss_roll_entropy(0.0009), "noise must"),
    (lambda rng: data.swiss_roll_entropy(10.1), "noise must"),
    (lambda rng: data.heartbeat(3, rng=rng, length=10**12), "length must"),
    (lambda rng: data.swiss_roll(5, noise=0.1, rng=1.5), "rng must"),
    (lambda rng: data.swiss_roll(5, noise=0.1, rng=7), "rng must"),
    (lambda rng: data.swiss_roll_atoms(0, noise=0.1), "m must"),
    (lambda rng: data.swiss_roll_atoms(5, noise=0.0), "noise must"),
    (lambda rng: data.swiss_roll_entropy(0.0), "noise must"),
    (lambda rng: data.swiss_roll_entropy(11.0), "noise must"),
    (lambda rng: data.heartbeat(0, rng=rng), "n must"),
    (lambda rng: data.heartbeat(3, rng=None), "rng must"),
    (lambda rng: data.heartbeat(3, rng=rng, length=0), "length must"),
    (lambda rng: data.heartbeat(3, rng=rng, length=4, period=5), "period must"),
    (lambda rng: data.heartbeat(3, rng=rng, period=0), "period must"),
]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_input_is_refused_by_name(case: int) -> None:
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))

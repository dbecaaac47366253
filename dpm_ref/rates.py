"""The diffusion rate as something to learn: gradient ascent on K by beta_2..T with frozen noise (section 2.4.1).

The derivative by beta is `training.objective(...).beta`, one path a line in `reverse.GaussianReverse.beta_grad`. Ascent needs
coordinates in which no step leaves the schedules: the logarithms of the steps of the log signal-to-noise ratio,

    l_t = log( abar_t / (1 - abar_t) ),    l_{t-1} - l_t = exp(s_t),  t = 2..T,    l_1 from beta_1, which stays fixed
    beta_t = sigmoid(-l_t) (1 - exp(-exp(s_t)))

Every s in R^{T-1} is a schedule with beta in (0, 1) and decreasing abar, every such schedule is an s, and abar_T lies where K
wants it: the more of the data is left, the fewer steps are needed and the more costs KL( q(x^T|x^0) || pi ).

Network and rates climb together, by turns: some steps of the network, one of the rates, on minibatches of the same data. What
the network predicts is of order one whatever the rates, so it need not be told that they moved.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.4.1 and App. D.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from dpm_ref import validation
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.reverse import GaussianReverse
from dpm_ref.schedules import Schedule
from dpm_ref.training import TrainingState, adam_step, objective, train
from dpm_ref.validation import Array

__all__ = ["log_steps", "from_log_steps", "by_log_steps", "start", "learn"]


def log_steps(beta: npt.ArrayLike) -> Array:
    """The coordinates s_2..s_T of a schedule.

    Parameters
    ----------
    beta : array_like, shape (T,), T >= 2, dimensionless
        In (0, 1).

    Returns
    -------
    ndarray, shape (T-1,), dimensionless

    Raises
    ------
    ValueError
        If beta leaves (0, 1): a step of 1 is infinitely long; or a step is too short for float64 to tell l_t from l_{t-1}.

    Notes
    -----
    Section 2.4.1.

    >>> print(log_steps([0.5, 0.5, 0.5]).round(6))
    [ 0.094048 -0.165703]
    """
    schedule = Schedule(beta)
    if schedule.T < 2 or (schedule.beta == 1).any():
        raise ValueError(f"beta must have shape (T,), T >= 2, and lie in (0, 1), got {schedule.beta}")
    t = np.arange(1, schedule.T + 1)
    steps = -np.diff(schedule.log_abar(t) - schedule.log_one_minus_abar(t))
    if (steps <= 0).any():
        raise ValueError(f"beta must change the log signal-to-noise ratio, got {schedule.beta[steps.argmin() + 1]} at index "
                         f"{int(steps.argmin()) + 1}")
    return np.asarray(np.log(steps))


def from_log_steps(s: npt.ArrayLike, beta1: float) -> Array:
    """The schedule of which these are the coordinates.

    Parameters
    ----------
    s : array_like, shape (T-1,), dimensionless
    beta1 : float in (0, 1), dimensionless

    Returns
    -------
    ndarray, shape (T,), dimensionless
        beta_1..T, beta1 first.

    Raises
    ------
    ValueError
        If s is not a finite vector, or beta1 out of range.

    Notes
    -----
    Section 2.4.1. With equal s the schedule is `schedules.log_snr_linear`.

    >>> print(from_log_steps(log_steps([0.1, 0.2, 0.3]), 0.1).round(6))
    [0.1 0.2 0.3]
    """
    beta1, s = validation.fraction("beta1", beta1), _vector("s", s)
    return np.concatenate([[beta1], _rates(s, beta1)])


def by_log_steps(s: npt.ArrayLike, beta1: float, by_beta: npt.ArrayLike) -> Array:
    """The derivative of a scalar by s_2..s_T, given that by beta_2..T.

    With a step d_t = exp(s_t), beta_t = sigmoid(-l_t) (1 - exp(-d_t)) and l_t = l_1 - sum_{r<=t} d_r:
        d beta_t / d d_t = sigmoid(-l_t) exp(-d_t)        at fixed l_t
        d beta_t / d l_t = -beta_t sigmoid(l_t)
        d l_t / d d_r    = -1 for every r <= t
        d d_t / d s_t    = d_t

    Parameters
    ----------
    s : array_like, shape (T-1,), dimensionless
    beta1 : float in (0, 1), dimensionless
    by_beta : array_like, shape (T-1,)
        In nats, for instance.

    Returns
    -------
    ndarray, shape (T-1,), in the same unit

    Raises
    ------
    ValueError
        If the shapes differ, a number is not finite, or beta1 out of range.

    Notes
    -----
    Section 2.4.1.

    >>> print(by_log_steps([0.0, 0.0], 0.5, [1.0, 0.0]).round(6))
    [0.393224 0.      ]
    """
    beta1, s, by_beta = validation.fraction("beta1", beta1), _vector("s", s), _vector("by_beta", by_beta)
    if by_beta.shape != s.shape:
        raise ValueError(f"by_beta must have the shape of s, {s.shape}, got {by_beta.shape}")
    step, log_snr = np.exp(s), _log_snr(s, beta1)
    direct = by_beta * expit(-log_snr) * np.exp(-step)
    through_log_snr = np.cumsum((by_beta * _rates(s, beta1) * expit(log_snr))[::-1])[::-1]
    return np.asarray(step * (direct + through_log_snr))


def start(beta: npt.ArrayLike) -> TrainingState:
    """A state from which rates are learned: the schedule's coordinates in float64, and zero memory.

    Parameters
    ----------
    beta : array_like, shape (T,), T >= 2, dimensionless
        In (0, 1).

    Returns
    -------
    TrainingState, dimensionless vectors of shape (T-1,)

    Raises
    ------
    ValueError
        As `log_steps`.

    Notes
    -----
    Section 2.4.1.
    """
    s = log_steps(beta)
    return TrainingState(s, np.zeros_like(s), np.zeros_like(s))


def learn(model: GaussianReverse, x0: npt.ArrayLike, state: TrainingState, rates: TrainingState, *, rng: np.random.Generator,
          steps: int, learning_rate: Callable[[int], float], rate_learning_rate: Callable[[int], float], batch: int = 32,
          rate_batch: int = 64, turn: int = 16, callback: Callable[[TrainingState, float], None] | None = None,
          every: int = 100) -> GaussianReverse:
    """Gradient ascent on K by the network's parameters and the diffusion rates, by turns.

    Parameters
    ----------
    model : GaussianReverse
        Its own diffusion's beta_1 stays; the others are those of `rates`.
    x0 : array_like, shape (N, d)
        The data.
    state, rates : TrainingState
        Of the network (`training.start`) and of the schedule (`start`); updated in place.
    rng : numpy.random.Generator
    steps : int >= 0
        Steps of the network to take now.
    learning_rate, rate_learning_rate : callable, from the number of the network's steps taken to the rate
    batch, rate_batch : int >= 1
        Data vectors per time step, for a step of the network and for one of the rates; all of t = 2..T are used.
    turn : int >= 1
        Steps of the network to one of the rates.
    callback : callable (state, K), optional
        Called when the number of network steps passes a multiple of `every`, with the mean of the rates' minibatches' K since
        the last call, in nats.
    every : int >= 1

    Returns
    -------
    GaussianReverse
        The kernel over the diffusion that was learned; its parameters are in `state`. Dimensionless.

    Raises
    ------
    ValueError
        If an argument is out of range, or a state does not belong to the model.
    FloatingPointError
        If K is not finite, or the rates run to 1.

    Notes
    -----
    Section 2.4.1: for frozen noise K is a smooth function of beta. Each step of the rates draws its own noise.
    """
    data = validation.components("x0", model.diffusion.check_data("x0", x0), model.d)
    if data.ndim != 2:
        raise ValueError(f"x0 must have shape (N, d), got {data.shape}")
    steps, turn, every = validation.count("steps", steps, 0), validation.count("turn", turn, 1), validation.count("every", every, 1)
    batch, rate_batch, rng = validation.count("batch", batch, 1), validation.count("rate_batch", rate_batch, 1), validation.generator(rng)
    beta1, t = float(model.diffusion.beta[0]), np.arange(2, model.diffusion.T + 1)[:, None]
    if _vector("rates.params", rates.params).size != t.size:
        raise ValueError(f"rates.params must have shape ({t.size},), one for each of beta_2..T, got {rates.params.shape}")
    model, estimates, last = model.over(_diffusion(rates, beta1)), [], state.step + steps
    while state.step < last:
        before, now = state.step, min(turn, last - state.step)
        train(model, data[rng.integers(len(data), size=(now * batch * t.size))], state, rng=rng, steps=now,
              learning_rate=learning_rate, batch=batch)
        chosen = data[rng.integers(len(data), size=(t.size, rate_batch))]
        bound = objective(model, state.params, chosen, t, model.noise(chosen.shape, rng, np.float64))
        if bound.beta is None or not np.isfinite(bound.value):
            raise FloatingPointError(f"K is {bound.value} after {state.step} steps; try a smaller learning rate")
        adam_step(rates, -by_log_steps(rates.params, beta1, bound.beta), rate_learning_rate(state.step))
        model = model.over(_diffusion(rates, beta1))
        estimates.append(float(bound.value))
        if state.step // every > before // every:
            if callback is not None:
                callback(state, sum(estimates) / len(estimates))
            estimates.clear()
    return model


def _diffusion(rates: TrainingState, beta1: float) -> GaussianDiffusion:
    return GaussianDiffusion(from_log_steps(rates.params, beta1))


def _log_snr(s: Array, beta1: float) -> Array:
    """l_2..T."""
    return np.asarray(np.log1p(-beta1) - np.log(beta1) - np.cumsum(np.exp(s)))


def _rates(s: Array, beta1: float) -> Array:
    """beta_2..T."""
    return np.asarray(expit(-_log_snr(s, beta1)) * -np.expm1(-np.exp(s)))


def _vector(name: str, value: npt.ArrayLike) -> Array:
    array = validation.finite(name, value)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must have shape (T-1,), T >= 2, got shape {array.shape}")
    return array

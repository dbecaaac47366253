"""Maximising K: its gradient, Adam, and a training state that can be stopped and resumed bit for bit (`checkpoints`).

For states x^t drawn from q(x^t | x^0) with fixed noise, at the times t of a minibatch,

    K = mean over x^0 of [ log pi(x^0) + KL( q(x^1|x^0) || pi ) - KL( q(x^T|x^0) || pi ) ]
        - (T - 1) mean over (x^0, t) of KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) )

is an unbiased estimate of the bound; there are T - 1 terms, since the edge is fixed. Only the divergences depend on the
parameters. The chain of derivatives is: the divergence by the network's outputs (`reverse`), those by the parameters and
the state (`mlp`).

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.4; Kingma and Ba 2015, arXiv:1412.6980 (Adam).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.bounds import fixed_terms
from dpm_ref.mlp import Tape, Values, stack
from dpm_ref.reverse import Draw, ReverseModel
from dpm_ref.validation import IntArray

__all__ = ["Objective", "TrainingState", "objective", "start", "train", "cosine_decay", "adam_step", "check_state"]


class Objective(NamedTuple):
    """The bound at fixed noise in nats, and its derivatives; those by x0, noise and beta_2..T are None for bits."""

    value: float
    params: Values
    x0: Values | None
    noise: Values | None
    beta: Values | None


@dataclass
class TrainingState:
    """Parameters and Adam's memory, flat vectors of one dtype, and the number of steps taken; `train` updates it in place."""

    params: Values
    mean: Values
    square: Values
    step: int = 0


def objective(model: ReverseModel, params: npt.ArrayLike, x0: npt.ArrayLike, t: npt.ArrayLike, noise: npt.ArrayLike) -> Objective:
    """The bound K at fixed noise and its gradient: the oracle to hold another implementation's gradient against.

    Parameters
    ----------
    model : GaussianReverse, BinomialReverse or SigmoidReverse
    params : array_like, shape (size,)
        Flat parameters; the computation runs in their dtype (float64 for an oracle).
    x0 : array_like, broadcasting against noise, last axis d
        Data vectors.
    t : int or integer array in 2..T that broadcasts against noise's leading axes
        A time for every state.
    noise : array_like, shape (..., d)
        Standard normal numbers (Gaussian) or uniform ones in [0, 1) (binomial), one vector for every state x^t.

    Returns
    -------
    Objective
        value, an unbiased estimate of K in nats averaged over the states; its derivatives by params (size,), by x0 (of x0's
        own shape), by noise (..., d) and by beta_2..T (T-1,), in nats per unit, the last None where a beta is 1, which has none.
        It is K itself at this noise when every t in 2..T occurs equally often.

    Raises
    ------
    ValueError
        If shapes do not broadcast, or a value is out of range.

    Notes
    -----
    Equations (13) and (14), in the form that needs no precondition; frozen noise as in section 2.4.1.
    """
    vector = model.network.check(params)
    frozen = model.check_noise(noise)
    data = validation.components("x0", model.diffusion.check_data("x0", x0), model.d)
    if validation.broadcast(x0=data, noise=frozen)[0].shape != frozen.shape:
        raise ValueError(f"noise must hold a vector for every state, got noise {frozen.shape} for x0 {data.shape}")
    times = validation.times_over(t, 2, model.diffusion.T, frozen)
    noises, flat_times = stack(frozen, times)
    states = np.broadcast_to(data, frozen.shape).reshape(noises.shape)
    dtype = vector.real.dtype
    kl, grad, draw, out, dout, dz, tape = _divergences(model, vector, states.astype(dtype), flat_times, noises.astype(dtype))
    dinputs = model.network.backward_x(vector, tape, dz, dout)
    inner = model.draw_grad(dinputs, dout, flat_times[:, None])
    scale = -(model.diffusion.T - 1) / kl.size
    value = fixed_terms(model.diffusion, data).mean() + scale * kl.sum()
    if inner is None:
        return Objective(value, scale * grad, None, None, None)
    by_x0, by_noise = (scale * part.reshape(frozen.shape) for part in inner)
    n_data, by_beta = data[..., 0].size, model.beta_grad(out, draw, dinputs, dout, flat_times[:, None])
    if by_beta is not None:
        by_beta = scale * by_beta + model.fixed_beta_grad(data) / n_data
    return Objective(value, scale * grad, _sum_to(by_x0, data.shape) + model.fixed_grad(data) / n_data, by_noise, by_beta)


def start(model: ReverseModel, *, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64) -> TrainingState:
    """A state to train from: random parameters, zero memory.

    Parameters
    ----------
    model : GaussianReverse, BinomialReverse or SigmoidReverse
    rng : numpy.random.Generator
    dtype : float32 or float64
        The precision to train in.

    Returns
    -------
    TrainingState, dimensionless vectors of shape (size,)

    Raises
    ------
    ValueError
        If rng is no Generator, or the dtype is neither.

    Notes
    -----
    The outputs are zero at the start, so the kernel is T_pi and K = L_null (section 2.2).
    """
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    params = model.network.init(rng=rng, dtype=dtype)
    return TrainingState(params, np.zeros_like(params), np.zeros_like(params))


def cosine_decay(peak: float, steps: int, *, warmup: int = 200) -> Callable[[int], float]:
    """A learning rate that rises linearly over the first steps and falls to zero as half a cosine.

    Parameters
    ----------
    peak : float > 0, per step
    steps : int >= 1
        The step at which it reaches zero.
    warmup : int >= 1

    Returns
    -------
    callable
        From the number of steps taken to the learning rate, dimensionless, a scalar.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    For the gradient ascent of section 2.4.

    >>> rate = cosine_decay(0.01, 1000, warmup=100)
    >>> print("%.6f %.6f" % (rate(9), rate(500)))
    0.001000 0.005000
    """
    peak, steps, warmup = validation.positive_number("peak", peak), validation.count("steps", steps, 1), validation.count("warmup", warmup, 1)

    def rate(step: int) -> float:
        return peak * min(1.0, (step + 1) / warmup) * 0.5 * (1.0 + float(np.cos(np.pi * min(1.0, step / steps))))

    return rate


def train(model: ReverseModel, x0: npt.ArrayLike, state: TrainingState, *, rng: np.random.Generator, steps: int,
          learning_rate: Callable[[int], float], batch: int = 32, n_times: int | None = None,
          callback: Callable[[TrainingState, float], None] | None = None, every: int = 100) -> TrainingState:
    """Gradient ascent on K over minibatches of data and of time steps.

    Parameters
    ----------
    model : GaussianReverse, BinomialReverse or SigmoidReverse
    x0 : array_like, shape (N, d)
        The data; a minibatch is drawn from it with replacement.
    state : TrainingState
        Updated in place.
    rng : numpy.random.Generator
        Draws minibatches, times and noise, and nothing else does.
    steps : int >= 0
        Steps to take now.
    learning_rate : callable, from the number of steps taken to the rate
        For instance `cosine_decay`.
    batch : int >= 1
        Data vectors per time step of a minibatch, each drawn for itself: a minibatch holds n_times batch of them.
    n_times : int in 1..T-1, optional
        Distinct times per minibatch, drawn without replacement; all of 2..T by default.
    callback : callable (state, K), optional
        Called when the number of steps taken is a multiple of `every`, with the mean of the minibatches' estimates of K since
        the last call or the start, in nats.
    every : int >= 1

    Returns
    -------
    TrainingState
        The same object; dimensionless.

    Raises
    ------
    ValueError
        If an argument is out of range, or the state does not belong to the model.
    FloatingPointError
        If a minibatch's K is not finite; the state is then the one that gave it.

    Notes
    -----
    Section 2.4, equations (13) and (14). Stopping after some steps, saving state and generator, and going on gives the same
    parameters, to the bit, as going on at once.
    """
    data = validation.components("x0", model.diffusion.check_data("x0", x0), model.d)
    if data.ndim != 2:
        raise ValueError(f"x0 must have shape (N, d), got {data.shape}")
    rng, T = validation.generator(rng), model.diffusion.T
    steps, batch, every = validation.count("steps", steps, 0), validation.count("batch", batch, 1), validation.count("every", every, 1)
    n_times = T - 1 if n_times is None else validation.count("n_times", n_times, 1)
    if n_times > T - 1:
        raise ValueError(f"n_times must lie in 1..{T - 1}, got {n_times}")
    check_state(model, state)
    dtype, all_times = state.params.dtype, np.arange(2, T + 1)
    fixed, rows = fixed_terms(model.diffusion, data), data.astype(dtype)
    estimates: list[float] = []
    tape: Tape | None = None
    for _ in range(steps):
        chosen = rng.integers(len(rows), size=(n_times, batch))
        t = all_times if n_times == T - 1 else np.sort(rng.choice(all_times, n_times, replace=False))
        noise = model.noise((n_times, batch, model.d), rng, dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # K tells
            kl, grad, *_, tape = _divergences(model, state.params, rows[chosen], t, noise, tape)
        estimates.append(float(fixed[chosen].mean()) - (T - 1) * float(kl.mean()))
        if not math.isfinite(estimates[-1]):
            raise FloatingPointError(f"K is {estimates[-1]} after {state.step} steps; try a smaller learning rate")
        adam_step(state, grad * ((T - 1) / kl.size), learning_rate(state.step))
        if state.step % every == 0:
            if callback is not None:
                callback(state, math.fsum(estimates) / len(estimates))
            estimates.clear()
    return state


def adam_step(state: TrainingState, grad: Values, rate: float, *, decay1: float = 0.9, decay2: float = 0.999,
              epsilon: float = 1e-8) -> None:
    """One step of Adam down the gradient, in place.

    mean <- decay1 mean + (1 - decay1) grad,  square <- decay2 square + (1 - decay2) grad^2
    params <- params - rate (mean / (1 - decay1^k)) / (sqrt(square / (1 - decay2^k)) + epsilon),  k the number of this step

    Parameters
    ----------
    state : TrainingState
        Updated in place.
    grad : ndarray, shape (size,)
        Derivatives of what is to be made smaller, nats per unit.
    rate : float
        Learning rate, in units of the parameters.
    decay1, decay2, epsilon : float, dimensionless

    Notes
    -----
    Kingma and Ba 2015, algorithm 1; for section 2.4. Both corrections are folded into the rate and epsilon.
    """
    state.step += 1
    correction = float(np.sqrt(1.0 - decay2**state.step))
    state.mean *= decay1
    state.mean += (1.0 - decay1) * grad
    state.square *= decay2
    grad = grad * grad
    grad *= 1.0 - decay2
    state.square += grad
    root = np.sqrt(state.square, out=grad)
    root += epsilon * correction
    step = np.divide(state.mean, root, out=root)
    step *= rate * correction / (1.0 - decay1**state.step)
    state.params -= step


def check_state(model: ReverseModel, state: TrainingState) -> None:
    """Refuse a state whose three vectors are not this model's, in one dtype that can be trained in.

    Parameters
    ----------
    model : GaussianReverse, BinomialReverse or SigmoidReverse
    state : TrainingState, dimensionless vectors of shape (size,)

    Raises
    ------
    ValueError
        If a vector has another shape or dtype, or is not finite.

    Notes
    -----
    For the training of section 2.4.
    """
    for name in ("params", "mean", "square"):
        try:
            vector = model.network.check(getattr(state, name))
        except ValueError as error:
            raise ValueError(f"state.{name}: {error}") from error
        if vector.dtype != state.params.dtype or vector.dtype not in (np.float32, np.float64):
            raise ValueError(f"state.{name} must have the dtype of all three vectors, float32 or float64, got {vector.dtype}")


class _Divergences(NamedTuple):
    """KL_t (S, n), and its sum's derivatives by the parameters; states and outputs; derivatives by these and by z_1; the spent tape."""

    kl: Values
    params: Values
    draw: Draw
    outputs: Values
    doutputs: Values
    dz: Values
    tape: Tape


def _divergences(model: ReverseModel, params: Values, x0: Values, t: IntArray, noise: Values, spent: Tape | None = None) -> _Divergences:
    """The divergences at times t (S,) for data x0 (S, n, d) and noise (S, n, d), forward and backward."""
    times = t[:, None]
    draw = model.draw(x0, times, noise)
    out, tape = model.network.forward(params, draw.inputs, t, spent)
    kl, dout = model.kl_and_grad(out, draw, times)
    grad, dz = model.network.backward(params, tape, dout)
    return _Divergences(kl, grad, draw, out, dout, dz, tape)


def _sum_to(array: Values, shape: tuple[int, ...]) -> Values:
    """The derivative by an array that was broadcast: the sum over the axes along which it was repeated."""
    extra = array.ndim - len(shape)
    array = array.sum(tuple(range(extra)))
    return np.asarray(array.sum(tuple(axis for axis, size in enumerate(shape) if size == 1), keepdims=True))

"""Maximising K: its gradient, Adam, beta learned beside the network, states that resume to the bit.

For states x^t drawn from q(x^t | x^0) with fixed noise, at the times t of a minibatch,

    K = mean over x^0 of [ log pi(x^0) + KL( q(x^1|x^0) || pi ) - KL( q(x^T|x^0) || pi ) ]
        - (T - 1) mean over (x^0, t) of KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) )

is an unbiased estimate of the bound; there are T - 1 terms, since the edge is fixed. Only the
divergences depend on the parameters. A minibatch holds each x^0 twice, with a noise and its
negative (bits: u and 1 - u): an antithetic pair, whose errors largely cancel.

The rates are learned as the logarithms s_t of the steps of the log signal-to-noise ratio
l_t = log( abar_t / (1 - abar_t) ), since any s_t give a valid schedule (section 2.4.1):

    l_{t-1} - l_t = exp(s_t),  t = 2..T,    l_1 from beta_1, which stays fixed
    beta_t = sigmoid(-l_t) (1 - exp(-exp(s_t)))

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.4; Kingma and Ba 2015,
arXiv:1412.6980 (Adam).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from dpm_ref import validation
from dpm_ref.bounds import fixed_terms
from dpm_ref.gaussian import GaussianDiffusion
from dpm_ref.mlp import Tape, flat_vector, stack
from dpm_ref.reverse import Draw, GaussianReverse, ReverseModel
from dpm_ref.validation import Array, ArrayLike, Generator, IntArray, Values

__all__ = ["Objective", "TrainingState", "Scaling", "objective", "start", "train", "cosine_decay",
           "adam_step", "save", "load", "start_rates", "learn_rates", "log_steps", "from_log_steps"]

Callback = Callable[["TrainingState", float], None]
Rate = float | Callable[[int], float]  # constant, or from the number of steps taken

_ADVICE = "try a smaller learning rate"
_TURN = 16  # steps of the network to one of the rates
_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


class Objective(NamedTuple):
    """The bound at fixed noise, and its derivatives; for bits only the one by the parameters."""

    value: float
    params: Values
    x0: Values | None = None
    noise: Values | None = None
    beta: Values | None = None


@dataclass
class TrainingState:
    """Parameters and Adam's moments, flat vectors of one dtype, and the number of steps taken."""

    params: Values
    mean: Values
    square: Values
    step: int = 0


class Scaling(NamedTuple):
    """Mean and standard deviation of each component, to map data to the prior's scale and back.

    >>> scaling = Scaling.of([[10.0, 3.0], [14.0, 5.0]])
    >>> print(scaling.to_model([[10.0, 3.0]]), "%.6f" % scaling.log_jacobian)
    [[-1. -1.]] -0.693147
    """

    mean: Array
    std: Array

    @classmethod
    def of(cls, x0: ArrayLike) -> Scaling:
        """The scaling that standardises data (N, d); a constant component keeps its scale."""
        data = np.ascontiguousarray(_matrix(validation.finite("x0", x0)))
        power = np.frexp(np.abs(data).max(0))[1]
        unit = np.ldexp(data, -power)  # exactly; below 1, so that no square overflows
        mean = unit.mean(0)
        std = np.ldexp((unit - mean).std(0), power)  # of a constant 0, although its mean is rounded
        return cls(np.ldexp(mean, power), np.where(std > 0, std, 1.0))

    def to_model(self, x: ArrayLike) -> Array:
        """Data (..., d) on the model's scale."""
        return np.asarray((self._vectors(x) - self.mean) / self.std)

    def to_data(self, x: ArrayLike) -> Array:
        """Draws of a model, (..., d), on the data's scale."""
        return np.asarray(self._vectors(x) * self.std + self.mean)

    def _vectors(self, x: ArrayLike) -> Array:
        return validation.components("x", validation.finite("x", x), np.size(self.mean))

    @property
    def log_jacobian(self) -> float:
        """Add this to K or log p of scaled vectors for the density in the data's own units."""
        return -float(np.log(self.std).sum())


def objective(model: ReverseModel, params: ArrayLike, x0: ArrayLike, t: ArrayLike,
              noise: ArrayLike) -> Objective:
    """The bound K at fixed noise and its gradient: a reference to test other gradients against.

    Equations (13) and (14), in the form that needs no precondition; frozen noise as in 2.4.1.

    Parameters
    ----------
    params : array_like, shape (size,)
        Flat parameters; the computation runs in their dtype: float64 for an oracle, complex, in the
        Gaussian column, for a complex step.
    x0 : array_like, broadcasting against noise, last axis d
    t : int or integer array in 2..T that broadcasts against noise's leading axes
    noise : array_like, shape (..., d)
        Standard normal numbers (Gaussian) or uniform ones in [0, 1] (binomial), one vector for
        every state x^t.

    Returns
    -------
    Objective
        value, an unbiased estimate of K averaged over the states; K itself at this noise if every t
        in 2..T occurs equally often. Its derivatives by params (size,), x0 (of x0's own shape),
        noise (..., d) and beta_2..T (T-1,), the last None where one of these is 1. They are derived
        in the model's `kl_and_grad` (by the outputs), in `mlp.Tape.backward` (by the parameters)
        and in `GaussianReverse.inner_grad` (by x0, noise and beta).
    """
    _check_model(model)
    kinds = "fc" if isinstance(model, GaussianReverse) else "f"  # complex for a complex step
    vector = flat_vector("params", params, model.network.size, kinds)
    frozen = validation.data("noise", np.asarray(model.check_noise("noise", noise), order="C"))
    data = validation.components("x0", model.diffusion.check_data("x0", x0), model.d)
    states = validation.broadcast(x0=data, noise=validation.components("noise", frozen, model.d))[0]
    rule = f"hold a vector for every state of x0 {data.shape}"
    validation.shaped("noise", frozen, rule, states.shape == frozen.shape)
    noises, times = stack(frozen, validation.times_over(t, 2, model.diffusion.T, frozen))
    states, noises = (array.astype(vector.real.dtype, order="C")
                      for array in (states.reshape(noises.shape), noises))
    tape = Tape(model.network, vector, *noises.shape[:2])
    with np.errstate(over="ignore", invalid="ignore"):
        terms, grad, draw, out, dout = _divergences(model, tape, states, times, noises)
        value = fixed_terms(model.diffusion, data).mean() + terms
        if not isinstance(model, GaussianReverse):
            return Objective(value, grad)
        dinputs, times = tape.backward_x(dout), times[:, None]
        by_x0, by_noise, by_beta = model.inner_grad(states, draw, out, dout, dinputs, times)
    by_x0 = _sum_to(by_x0.reshape(frozen.shape), data.shape)
    return Objective(value, grad, by_x0, by_noise.reshape(frozen.shape), by_beta)


def start(model: ReverseModel, *, rng: Generator, dtype: Any = np.float64) -> TrainingState:
    """Initial state in float32 or float64: random parameters (size,), outputs of 0, no moments."""
    _check_model(model)
    params = model.network.init(rng=rng, dtype=dtype)
    return TrainingState(params, np.zeros_like(params), np.zeros_like(params))


def cosine_decay(peak: float, steps: int, *, warmup: int = 200) -> Callable[[int], float]:
    """A learning rate that rises linearly over `warmup` steps and falls to zero as half a cosine.

    Returns a callable from the number of steps taken to the rate, which is 0 from `steps` on.

    >>> rate = cosine_decay(0.01, 1000, warmup=100)
    >>> print("%.6f %.6f" % (rate(9), rate(500)))
    0.001000 0.005000
    """
    peak = validation.positive_number("peak", peak)
    steps, warmup = validation.count("steps", steps, 1), validation.count("warmup", warmup, 1)

    def rate(step: int) -> float:
        falling = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / steps)))
        return peak * min(1.0, (step + 1) / warmup) * falling

    return rate


def train(model: ReverseModel, x0: ArrayLike, state: TrainingState, *, rng: Generator, steps: int,
          learning_rate: Rate | None = None, batch: int = 32, n_times: int | None = None,
          callback: Callback | None = None, every: int = 100) -> TrainingState:
    """Gradient ascent on K over minibatches of data and of time steps.

    Section 2.4, equations (13) and (14). Saving state and generator after some steps and resuming
    gives the same parameters, to the bit, as an uninterrupted run with the same learning_rate (the
    default depends on the steps asked for). FloatingPointError if a minibatch's K is not finite, or
    its gradient overflows; the state is then the one that gave it.

    Parameters
    ----------
    x0 : array_like, shape (N, d)
        The data, of about the prior's scale (see `Scaling`); minibatches draw with replacement.
    state : TrainingState
        Updated in place, and returned.
    steps : int >= 0
        Steps to take now.
    learning_rate : float or callable, from the number of steps taken to the rate
        By default `cosine_decay` from 0.01 over all steps, those of `state` included: it rises
        again where a finished run is continued.
    batch : int >= 1
        States per time step of a minibatch, in antithetic pairs of one data vector.
    n_times : int in 1..T-1
        Distinct times per minibatch, drawn without replacement; min(T - 1, 40) by default.
    callback : callable (state, K), optional
        Called when the number of steps taken is a multiple of `every`, with the mean of the
        minibatches' K since the last call, or the start. It may raise to stop: state and generator
        are then those of a completed step.
    """
    _check_model(model)
    _check_state("state", state, model.network.size)
    data, T = _training_data(model, x0), model.diffusion.T
    rng, steps = validation.generator(rng), validation.count("steps", steps, 0)
    batch, every = validation.count("batch", batch, 1), validation.count("every", every, 1)
    n_times = min(T - 1, 40) if n_times is None else n_times
    n_times = validation.one_time("n_times", n_times, 1, T - 1)
    if learning_rate is None:
        last = max(1, state.step + steps)
        learning_rate = cosine_decay(0.01, last, warmup=min(200, max(1, last // 10)))
    rate = _rate(learning_rate)
    callback = None if callback is None else validation.function("callback", callback)
    t, params = np.arange(2, T + 1), None
    fixed = fixed_terms(model.diffusion, np.eye(model.d + 1, model.d, k=-1))
    offset, slope = fixed[0], fixed[1:] - fixed[0]  # they are affine in x0^2
    estimates: list[float] = []
    for _ in range(steps):
        if state.params is not params:  # at first, and where a callback has put another vector
            _check_state("state", state, model.network.size)
            params, rows = state.params, data.astype(state.params.dtype)
            tape = Tape(model.network, params, n_times, batch)
        x0_now, noise = _minibatch(model, rows, n_times, batch, rng)
        now = t if n_times == T - 1 else np.sort(rng.choice(t, n_times, replace=False))
        terms, grad, *_ = _divergences(model, tape, x0_now, now, noise)
        _finite("K", terms, state)
        squares = np.einsum("snd,snd->d", x0_now, x0_now) / (n_times * batch)
        estimates.append(float(offset + squares @ slope + terms))
        adam_step(state, grad, rate(state.step))
        if callback is not None and state.step % every == 0:
            callback(state, math.fsum(estimates) / len(estimates))
            estimates.clear()
    _finite("a parameter", np.abs(state.params).max(), state)
    return state


def adam_step(state: TrainingState, grad: Values, rate: float) -> None:
    """One step of Adam up the gradient, in place (Kingma and Ba 2015, algorithm 1).

    mean <- 0.9 mean + 0.1 grad,  square <- 0.999 square + 0.001 grad^2
    params <- params + rate (mean / (1 - 0.9^k)) / (sqrt(square / (1 - 0.999^k)) + 1e-8)

    k is the number of this step. The code folds the corrections into the rate and into epsilon.
    """
    _finite("learning_rate", rate, state)
    rule = f"have the parameters' shape {state.params.shape}"
    grad = 0.1 * validation.shaped("grad", grad, rule, grad.shape == state.params.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # parameters: `train` reports
        square = 0.999 * state.square + (0.001 / 0.1**2) * (grad * grad)
        _finite("the gradient's square", square.max(), state)
        state.step += 1
        correction = math.sqrt(1.0 - 0.999**state.step)
        state.mean[:], state.square[:] = 0.9 * state.mean + grad, square
        step = state.mean / (np.sqrt(state.square) + 1e-8 * correction)
        state.params += rate * correction / (1.0 - 0.9**state.step) * step


# A step's parts


def _divergences(model: ReverseModel, tape: Tape, x0: Values, t: IntArray,
                 noise: Values) -> tuple[Any, Values, Draw, Values, Values]:
    """-(T - 1) mean KL, the part of K that depends on the parameters, and its derivative by them;
    the draw, the network's outputs, and the derivative by the outputs. Data and noise are
    (S, n, d), times t (S,).
    """
    times, scale = t[:, None], -(model.diffusion.T - 1) / noise[..., 0].size
    draw = model.draw(x0, times, noise)
    with np.errstate(over="ignore", invalid="ignore"):  # it shows in K
        out = tape.forward(draw.inputs, t)
        kl, dout = model.kl_and_grad(out, draw, times)
        dout *= scale
        return scale * kl.sum(), tape.backward(dout), draw, out, dout


def _finite(name: str, value: float, state: TrainingState) -> None:
    if not math.isfinite(value):
        raise FloatingPointError(f"{name} is {value} after {state.step} steps; {_ADVICE}")


def _minibatch(model: ReverseModel, data: Values, n_times: int, batch: int,
               rng: Generator) -> tuple[Values, Values]:
    """Data and noise (n_times, batch, d); the second half repeats the first with mirrored noise."""
    half = (batch + 1) // 2
    x0 = data.take(rng.integers(len(data), size=(n_times, half)), axis=0)
    noise = model.diffusion.law.noise((n_times, half, model.d), rng=rng, dtype=data.dtype)
    noise = np.concatenate([noise, model.mirror - noise], axis=1)
    return np.concatenate([x0, x0], axis=1)[:, :batch], noise[:, :batch]


def _rate(learning_rate: Any) -> Callable[[int], float]:
    checked = partial(validation.number, "learning_rate", rule=">= 0", holds=lambda x: x >= 0)
    if callable(learning_rate):
        return lambda step: checked(learning_rate(step))
    constant = checked(learning_rate)
    return lambda step: constant


def _matrix(x0: Array) -> Array:
    return validation.shaped("x0", validation.data("x0", x0), "have shape (N, d)", x0.ndim == 2)


def _training_data(model: ReverseModel, x0: ArrayLike) -> Array:
    """Data (N, d) for the model, of about the prior's scale."""
    data = validation.components("x0", _matrix(model.diffusion.check_data("x0", x0)), model.d)
    square = np.einsum("nd,nd->d", data, data).max() / len(data)
    if square > 4.0:
        cure = "train on training.Scaling.of(x0).to_model(x0)"
        raise ValueError(f"x0 must have a mean square of at most 4 (pi: 1), got {square:g}; {cure}")
    return data


def _check_model(model: Any) -> None:
    kinds = "a GaussianReverse, BinomialReverse or SigmoidReverse"
    validation.checked("model", model, f"be {kinds}", hasattr(model, "kl_and_grad"))


def _check_state(owner: str, state: TrainingState, size: int) -> TrainingState:
    """The state, if it has vectors of this size that training can have left."""
    validation.checked(owner, state, "be a TrainingState", isinstance(state, TrainingState))
    vectors = {f"{owner}.{name}": getattr(state, name) for name in ("params", "mean", "square")}
    for name, vector in vectors.items():
        holds = isinstance(vector, np.ndarray) and vector.flags.writeable
        validation.checked(name, vector, "be an array that can be written to", holds)
        holds = vector.dtype == state.params.dtype and vector.dtype in (np.float32, np.float64)
        rule = "have the dtype of all three vectors, float32 or float64"
        validation.checked(name, str(vector.dtype), rule, holds)
        flat_vector(name, vector, size)
    for (one, a), (other, b) in combinations(vectors.items(), 2):
        validation.checked(other, one, "have memory of its own", not np.shares_memory(a, b))
    validation.ruled(f"{owner}.square", state.square, "not be negative", lambda square: square >= 0)
    validation.count(f"{owner}.step", state.step, 0)
    return state


def _sum_to(array: Values, shape: tuple[int, ...]) -> Values:
    """The derivative by an array that was broadcast: the sum over the repeated axes."""
    array = array.sum(tuple(range(array.ndim - len(shape))))
    repeated = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return np.asarray(array.sum(repeated, keepdims=True))


# States on disk


def save(path: str | Path, model: ReverseModel, state: TrainingState, *,
         rng: Generator | None = None) -> None:
    """Write a training state, and the generator's if given, as one npz file.

    It holds the model's schedule, prior and tables of time too. The file is written as NAME.partial
    and then renamed, so a failed write (OSError) leaves the previous one. No suffix is added.
    """
    arrays = _description(model) | vars(_check_state("state", state, model.network.size))
    generator = None if rng is None else validation.generator(rng).bit_generator.state
    _generator(generator)  # which refuses what `load` would
    arrays["rng"] = json.dumps(generator, default=np.ndarray.tolist)
    target = Path(path).resolve()  # a link stays one
    unfinished = target.with_name(f"{target.name}.partial")
    with open(unfinished, "wb") as file:
        np.savez(file, **arrays)
    unfinished.replace(target)


def load(path: str | Path, model: ReverseModel) -> tuple[TrainingState, Generator | None]:
    """Read a training state written by `save`, and the generator as it was (None if not saved).

    ValueError if the file is no such state, or another model's; nothing in it is executed.
    """
    wanted = _description(model)
    try:
        with open(path, "rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
        for name, value in wanted.items():
            saved = arrays.pop(name)
            validation.checked(name, saved, "be this model's", np.array_equal(saved, value))
        generator = _generator(json.loads(str(arrays.pop("rng"))))
        state = TrainingState(**arrays | {"step": arrays["step"].tolist()})
        return _check_state("state", state, model.network.size), generator
    except OSError:
        raise
    except Exception as error:  # numpy, zipfile and json raise a dozen kinds
        raise ValueError(f"{path} must be an npz file of this model's state: {error}") from error


def _description(model: ReverseModel) -> dict[str, Any]:
    """What gives the parameters their meaning."""
    _check_model(model)
    network, diffusion = model.network, model.diffusion
    return {"format": "dpm_ref training state 3", "kernel": type(model).__name__,
            "from_forward": getattr(model, "from_forward", False), "beta": diffusion.beta,
            "prior": np.asarray(getattr(diffusion, "pi1", ())), "basis": network.basis,
            "time_features": network.time_features, "shapes": json.dumps(network.shapes)}


def _generator(state: Any) -> Generator | None:
    """The generator of a state saved as JSON."""
    if not state:
        return None
    kind, rule = state["bit_generator"], f"be {' or '.join(_GENERATORS)}"
    validation.checked("rng's bit generator", kind, rule, kind in _GENERATORS)
    if not (0 <= state["state"].get("pos", 0) <= 624 and 0 <= state.get("buffer_pos", 0) <= 4):
        raise ValueError("its position lies outside its buffer")  # numpy would read there
    bits = getattr(np.random, kind)()
    bits.state = state
    return Generator(bits)


# The diffusion rates


def log_steps(beta: ArrayLike) -> Array:
    """The coordinates s_2..s_T of a schedule beta_1..T in (0, 1), T >= 2.

    l_{t-1} - l_t = log(1 + beta_t / ((1 - beta_t) (1 - abar_{t-1}))), without cancellation.

    >>> print(log_steps([0.5, 0.5, 0.5]).round(6))
    [ 0.094048 -0.165703]
    """
    schedule = GaussianDiffusion(beta)
    if schedule.T < 2 or (schedule.beta == 1).any():
        raise ValueError(f"beta must have shape (T,), T >= 2, and lie in (0, 1), got {beta!s:.80}")
    odds = schedule.beta[1:] / (1.0 - schedule.beta[1:])
    lost = schedule.one_minus_abar(np.arange(1, schedule.T))
    with np.errstate(over="ignore"):
        ratio = odds / lost
    far = np.isinf(ratio)  # its logarithm is finite
    return np.asarray(np.log(np.where(far, np.log(odds) - np.log(lost), np.log1p(ratio))))


def from_log_steps(s: ArrayLike, beta1: float) -> Array:
    """The schedule beta_1..T, beta1 first, with coordinates s_2..s_T; no rate may round to 0 or 1.

    >>> print(from_log_steps(log_steps([0.1, 0.2, 0.3]), 0.1).round(6))
    [0.1 0.2 0.3]
    """
    beta1, s = validation.fraction("beta1", beta1), validation.finite("s", s)
    validation.shaped("s", s, "have shape (T-1,), T >= 2", s.ndim == 1 and s.size > 0)
    with np.errstate(over="ignore", under="ignore"):
        beta = _beta_and_log_snr(s, beta1)[0]
    validation.ruled("s", s, "give rates strictly in (0, 1)", lambda _: (beta > 0) & (beta < 1))
    return np.append(beta1, beta)


def start_rates(beta: ArrayLike) -> TrainingState:
    """A state for `learn_rates`: the schedule's `log_steps`, and zero moments."""
    s = log_steps(beta)
    return TrainingState(s, np.zeros_like(s), np.zeros_like(s))


def learn_rates(model: GaussianReverse, x0: ArrayLike, state: TrainingState,
                rates: TrainingState, *, rng: Generator, steps: int, learning_rate: Rate,
                rate_learning_rate: Rate, batch: int = 32, callback: Callback | None = None,
                every: int = 100) -> GaussianReverse:
    """Gradient ascent on K by the network's parameters and the diffusion rates in turn.

    After every sixteen steps of the network (`train`, with all t = 2..T in each minibatch), and
    after what is left of them at the end, the rates take one step. Its minibatch has 2 `batch`
    states for each t and noise of its own, frozen for the derivative by beta (section 2.4.1).

    `state` and `rates` (from `start_rates`) are updated in place. Both learning rates are a number
    or a function of the network's steps. When these pass a multiple of `every`, `callback` gets the
    mean of the rates' minibatches' K since the last call. Training that is stopped after a multiple
    of sixteen steps resumes to the bit.

    Returns the model over the learned diffusion, which keeps the model's beta_1; its parameters
    are in `state`. FloatingPointError if K is not finite, or a rate reaches 0 or 1.
    """
    validation.checked("model", model, "be a GaussianReverse", isinstance(model, GaussianReverse))
    _check_state("state", state, model.network.size)
    _check_state("rates", rates, model.diffusion.T - 1)
    data, rng = _training_data(model, x0), validation.generator(rng)
    steps, every = validation.count("steps", steps, 0), validation.count("every", every, 1)
    T, beta1 = model.diffusion.T, float(model.diffusion.beta[0])
    rate, rate_of_rates, t = _rate(learning_rate), _rate(rate_learning_rate), np.arange(2, T + 1)
    callback = None if callback is None else validation.function("callback", callback)
    model, last = model.over(_learned(rates, beta1)), state.step + steps
    estimates: list[float] = []
    while state.step < last:
        before, n = state.step, min(_TURN, last - state.step)
        train(model, data, state, rng=rng, steps=n, learning_rate=rate, batch=batch, n_times=T - 1)
        chosen, noise = _minibatch(model, data, T - 1, 2 * batch, rng)
        bound = objective(model, state.params, chosen, t[:, None], noise)
        _finite("K", bound.value, state)
        adam_step(rates, _by_log_steps(rates.params, beta1, bound.beta), rate_of_rates(state.step))
        model = model.over(_learned(rates, beta1))
        estimates.append(float(bound.value))
        if callback is not None and state.step // every > before // every:
            callback(state, math.fsum(estimates) / len(estimates))
            estimates.clear()
    return model


def _learned(rates: TrainingState, beta1: float) -> GaussianDiffusion:
    try:
        return GaussianDiffusion(from_log_steps(rates.params, beta1))
    except ValueError as error:
        raise FloatingPointError(f"the rates have run away, {error}; {_ADVICE}") from error


def _beta_and_log_snr(s: Array, beta1: float) -> tuple[Array, Array]:
    """beta_2..T and l_2..T."""
    log_snr = np.log1p(-beta1) - np.log(beta1) - np.cumsum(np.exp(s))
    return np.asarray(expit(-log_snr) * -np.expm1(-np.exp(s))), np.asarray(log_snr)


def _by_log_steps(s: Array, beta1: float, by_beta: Any) -> Array:
    """The derivative of a scalar by s_2..s_T, given that by beta_2..T.

    With a step d_t = exp(s_t), beta_t = sigmoid(-l_t) (1 - exp(-d_t)), l_t = l_1 - sum_{r<=t} d_r:
        d beta_t / d d_t = sigmoid(-l_t) exp(-d_t)        at fixed l_t
        d beta_t / d l_t = -beta_t sigmoid(l_t)
        d l_t / d d_r    = -1 for every r <= t
        d d_t / d s_t    = d_t
    """
    step, (beta, log_snr) = np.exp(s), _beta_and_log_snr(s, beta1)
    direct = by_beta * expit(-log_snr) * np.exp(-step)
    through_log_snr = np.cumsum((by_beta * beta * expit(log_snr))[::-1])[::-1]
    return np.asarray(step * (direct + through_log_snr))

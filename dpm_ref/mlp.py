"""The network: a tanh trunk shared over time and a readout that changes with time, by hand.

For S times with n states each, x of shape (S, n, d_in) and times t of shape (S,):

    h_1 = tanh( [features_t, x] W_1 + b_1 )
    h_k = tanh( h_{k-1} W_k + b_k )
    out = h_L R_t + c_t + x S,    R_t = sum_b basis_tb R_b,   c_t = sum_b basis_tb c_b

If the basis is the identity, each time step has its own readout, as in App. D.1 of the paper; a
narrower basis shares readouts between neighbouring times, as the temporal bumps of App. D.2 do.
The skip connection x S is optional.

The parameters are one flat vector, of which `unpack` gives named views; a gradient is a vector of
the same layout. Everything is computed in the dtype of the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, partial
from itertools import pairwise, product
from typing import Any

import numpy as np

from dpm_ref import validation
from dpm_ref.validation import Array, ArrayLike, Generator, IntArray, Values

__all__ = ["MLP", "Tape", "flat_vector", "time_polynomials", "time_bumps"]

_BLOCK = 1024  # states evaluated at once by `apply`: the activations then stay in cache


class MLP:
    """The shapes of a network; its parameters are passed to every call.

    `shapes` maps the parameters' names, in their order in the flat vector, to their shapes; `size`
    is the number of parameters.

    Parameters
    ----------
    d_in, d_out, T : int
        Components in and out, >= 1; the network serves the times 2..T.
    hidden : int or sequence of int >= 1
        Widths of the tanh layers; four of 64 by default.
    time_features : array_like, shape (T-1, F), optional
        Inputs to the trunk at the times 2..T; none by default.
    basis : array_like, shape (T-1, B), optional
        The temporal basis of the readout; the identity by default.
    input_gain : float > 0
        Scale of the first layer at the start: tanh saturates over a length 1 / gain of the input.
    skip : bool
        Whether to have the skip connection S.

    >>> network = MLP(2, 4, 3, hidden=(5,))
    >>> network.size, network.shapes["R"]
    (63, (2, 5, 4))
    """

    def __init__(self, d_in: int, d_out: int, T: int, *, hidden: int | Sequence[int] = (64,) * 4,
                 time_features: ArrayLike | None = None, basis: ArrayLike | None = None,
                 input_gain: float = 1.0, skip: bool = False) -> None:
        self.d_in, self.T = validation.count("d_in", d_in, 1), validation.count("T", T, 2)
        self.d_out = validation.count("d_out", d_out, 1)
        widths: Any = hidden if np.iterable(hidden) else [hidden]
        self.widths = [validation.count("hidden", width, 1) for width in widths]
        validation.checked("hidden", hidden, "name at least one layer", bool(self.widths))
        self.input_gain = validation.positive_number("input_gain", input_gain)
        self.skip = validation.flag("skip", skip)
        self.time_features = self._table("time_features", time_features, np.eye(self.T - 1, 0))
        self.basis = self._table("basis", basis, np.eye(self.T - 1))
        validation.vectors("basis", self.basis)
        self.shapes: dict[str, tuple[int, ...]] = {}
        sizes = [self.time_features.shape[1] + d_in, *self.widths]
        for k, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
            self.shapes |= {f"W{k}": (fan_in, fan_out), f"b{k}": (fan_out,)}
        bases = self.basis.shape[1]
        self.shapes |= {"R": (bases, sizes[-1], d_out), "c": (bases, d_out)}
        self.shapes |= {"S": (d_in, d_out)} if skip else {}
        *self._starts, self.size = np.cumsum([*map(math.prod, self.shapes.values())]).tolist()

    def _table(self, name: str, value: ArrayLike | None, default: Array) -> Array:
        table = default if value is None else validation.finite(name, value)
        rule = f"have shape (T-1, .), one row for every t in 2..{self.T}"
        return validation.own(
            validation.shaped(name, table, rule, table.ndim == 2 and len(table) == self.T - 1))

    def unpack(self, params: Values) -> dict[str, Values]:
        """Views of the flat vector, by name."""
        parts = zip(self.shapes.items(), np.split(params, self._starts), strict=True)
        return {name: part.reshape(shape) for (name, shape), part in parts}

    def init(self, *, rng: Generator, dtype: Any = np.float64) -> Values:
        """Initial parameters (size,): a random trunk, and a readout whose outputs are 0 at every t.

        Weights are normal with variance 1 / fan_in (times gain^2 in the first layer), which keeps
        activations of order one; the biases b_1 are uniform on (-gain, gain).
        """
        rng = validation.generator(rng)
        validation.checked("dtype", dtype, "be float32 or float64", dtype in [*map(np.dtype, "fd")])
        params = np.zeros(self.size)
        views = self.unpack(params)
        for k in range(1, len(self.widths) + 1):
            weight = views[f"W{k}"]
            weight[...] = rng.standard_normal(weight.shape) / np.sqrt(len(weight))
        views["W1"] *= self.input_gain
        views["b1"][...] = self.input_gain * rng.uniform(-1.0, 1.0, views["b1"].shape)
        return params.astype(dtype)

    def apply(self, params: Values, x: Array, t: IntArray) -> Values:
        """The outputs (..., d_out) for states x (..., d_in) at times t, evaluated in blocks."""
        states = validation.components("x", validation.data("x", x), self.d_in)
        stacked, times = stack(states, validation.times("t", t, 2, self.T))
        S, n, _ = stacked.shape
        out = np.empty((S, n, self.d_out), params.dtype)
        step, tape = max(1, _BLOCK // n), cache(partial(Tape, self, params))
        for s, i in product(range(0, S, step), range(0, n, _BLOCK)):
            block = slice(s, s + step), slice(i, i + _BLOCK)
            states = stacked[block]
            out[block] = tape(*states.shape[:2]).forward(states, times[block[0]])
        return out.reshape(*x.shape[:-1], self.d_out)


def flat_vector(name: str, value: ArrayLike, size: int, kinds: str = "f") -> Values:
    """A finite vector (size,) of a dtype that BLAS computes in, in native byte order."""
    rule = f"a {'real ' * (kinds == 'f')}floating-point vector of shape ({size},)"
    vector = validation.array_of(name, value, kinds, rule)
    validation.shaped(name, vector, f"be {rule}", vector.shape == (size,))
    validation.checked(name, vector.dtype, "be in float32 or float64", vector.dtype.char in "fdFD")
    vector = np.ascontiguousarray(vector, dtype=vector.dtype.newbyteorder("="))
    return validation.ruled(name, vector, "be finite", np.isfinite)


class Tape:
    """A network evaluated on S times of n states: views of its parameters, and reused buffers.

    The views follow `params` if it is updated in place. `backward` overwrites the activations of
    `forward`, and the next `forward` overwrites the results of both.
    """

    def __init__(self, network: MLP, params: Values, S: int, n: int) -> None:
        self.network, self.shape, dtype = network, (S, n), params.dtype
        self.params, self.gradient = network.unpack(params), np.empty_like(params)
        self.by = network.unpack(self.gradient)
        sizes = [len(self.params["W1"]), *network.widths]
        self.activations = [np.empty((S * n, size), dtype) for size in sizes]
        self.scratch = {size: np.empty((S * n, size), dtype) for size in network.widths}
        self.ones = np.ones(S * n, dtype)

    def forward(self, x: Values, t: IntArray) -> Values:
        """The outputs (S, n, d_out) for states x (S, n, d_in) at times t (S,) in 2..T."""
        network, p, (S, n) = self.network, self.params, self.shape
        inputs = self.activations[0].reshape(S, n, -1)
        inputs[..., : -network.d_in] = network.time_features[t - 2][:, None]
        inputs[..., -network.d_in :] = x
        # tanh(z) = 1 - 2 / (exp(2 z) + 1), absolute to one eps: half NumPy's price without AVX-512
        with np.errstate(over="ignore"):  # exp(2 z) = inf is h = 1
            for k, (below, h) in enumerate(pairwise(self.activations), start=1):
                np.matmul(below, 2.0 * p[f"W{k}"], out=h)
                h += 2.0 * p[f"b{k}"]
                np.exp(h, out=h)
                h += 1.0
                np.divide(2.0, h, out=h)
                np.subtract(1.0, h, out=h)
        self.basis = network.basis[t - 2].astype(self.ones.dtype, copy=False)
        self.readout = np.tensordot(self.basis, p["R"], 1)
        out: Values = self.activations[-1].reshape(S, n, -1) @ self.readout
        out += (self.basis @ p["c"])[:, None]
        if network.skip:
            out += inputs[..., -network.d_in :] @ p["S"]
        return out

    def backward(self, dout: Values) -> Values:
        """The derivatives of a scalar by the parameters (size,), given those by the outputs.

        With d. for the derivative of the scalar by ., sums over states implied by the products:
            out = h_L R_t + c_t + x S    dR_t = h_L^T dout,  dc_t = sum_n dout,  dS = x^T dout
                                         dh_L = dout R_t^T
            R_t = sum_b basis_tb R_b     dR_b = sum_t basis_tb dR_t,  and so for c
            h_k = tanh(z_k)              dz_k = (1 - h_k^2) dh_k
            z_k = h_{k-1} W_k + b_k      dW_k = h_{k-1}^T dz_k,  db_k = sum dz_k
                                         dh_{k-1} = dz_k W_k^T
        All vanish with dout. dz_k overwrites h_k.
        """
        by, (S, n) = self.by, self.shape
        by_readout = self.activations[-1].reshape(S, n, -1).transpose(0, 2, 1) @ dout
        R = by["R"].reshape(len(by["R"]), -1)
        np.matmul(self.basis.T, by_readout.reshape(S, -1), out=R)
        np.matmul(self.basis.T, self.ones[:n] @ dout, out=by["c"])
        if self.network.skip:
            x = self.activations[0][:, -self.network.d_in :]
            np.matmul(x.T, dout.reshape(S * n, -1), out=by["S"])
        dh = self.scratch[self.network.widths[-1]]
        np.matmul(dout, self.readout.transpose(0, 2, 1), out=dh.reshape(S, n, -1))
        for k in range(len(self.network.widths), 0, -1):
            below, dz = self.activations[k - 1], self.activations[k]
            dz *= dz
            np.subtract(1.0, dz, out=dz)
            dz *= dh
            np.matmul(below.T, dz, out=by[f"W{k}"])
            np.matmul(self.ones, dz, out=by[f"b{k}"])
            if k > 1:
                dh = np.matmul(dz, self.params[f"W{k}"].T, out=self.scratch[below.shape[1]])
        return self.gradient

    def backward_x(self, dout: Values) -> Values:
        """After `backward`, the derivative by x (S, n, d_in): dx = dz_1 W_1^T + dout S^T."""
        W1 = self.params["W1"][-self.network.d_in :]
        dx = (self.activations[1] @ W1.T).reshape(*self.shape, -1)
        return dx + dout @ self.params["S"].T if self.network.skip else dx


def stack(x: Values, t: IntArray) -> tuple[Values, IntArray]:
    """States x (..., d) at times t over their leading axes, as (S, n, d) and t (S,), order kept.

    n combines the last of the leading axes, along which t is constant. ValueError if t has more
    axes than the states have leading ones, or is longer along one.
    """
    leading, t = x.shape[:-1], np.asarray(t)
    if np.broadcast_shapes(t.shape, leading) != leading:
        raise ValueError(f"t must not have more axes than the states, got t {t.shape}, x {x.shape}")
    padded = (1,) * (len(leading) - t.ndim) + t.shape
    varying = max((axis + 1 for axis, size in enumerate(padded) if size > 1), default=0)
    times = np.broadcast_to(t.reshape(padded[:varying]), leading[:varying]).reshape(-1)
    return x.reshape(len(times), -1, x.shape[-1]), times


def time_polynomials(T: int, degree: int) -> Array:
    """Legendre polynomials P_1..P_degree of time, scaled to [-1, 1], at t = 2..T: (T-1, degree).

    >>> time_polynomials(4, 1).ravel()
    array([-1.,  0.,  1.])
    """
    time = np.linspace(-1.0, 1.0, validation.count("T", T, 2) - 1)
    degree = validation.count("degree", degree, 1)
    return np.asarray(np.polynomial.legendre.legvander(time, degree)[:, 1:], dtype=np.float64)


def time_bumps(T: int, n: int) -> Array:
    """Triangular bumps around n equally spaced times in 2..T, which sum to 1 at every t: (T-1, n).

    A basis for the readout, App. D.2, n in 1..T-1; the identity for n = T-1.

    >>> time_bumps(4, 2)
    array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]])
    """
    n = validation.one_time("n", n, 1, validation.count("T", T, 2) - 1)
    place = np.linspace(0.0, n - 1.0, T - 1)[:, None]
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(place - np.arange(n))))

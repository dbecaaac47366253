"""The network: a tanh trunk shared over time and a readout that changes with time, forward and backward by hand.

For S time steps with n states each, x of shape (S, n, d_in) and times t of shape (S,):

    h_0 = x
    h_1 = tanh( h_0 W_1 + b_1 + features_t U )       a time step shifts the first layer, if there are time features
    h_k = tanh( h_{k-1} W_k + b_k )
    out = h_L R_t + c_t + x S,    R_t = sum_b basis_tb R_b,   c_t = sum_b basis_tb c_b

The path x S past the trunk is an option, for inputs of which the outputs are linear functions but for a correction.
With the identity for a basis there is one readout per time step, as in App. D.1 of the paper; a narrower basis shares
readouts between neighbouring times, as the paper's temporal bumps do for images (App. D.2).

The parameters are one flat vector, of which `unpack` gives named views, so that an optimiser is a few lines on a vector and
a gradient is a vector of the same layout. Everything is computed in the dtype of the parameters; complex parameters work,
which is how the gradients are tested.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, App. D.1 and D.2.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.validation import Array, IntArray

__all__ = ["MLP", "Tape", "time_polynomials"]

Values = npt.NDArray[Any]  # of the parameters' dtype: float32, float64, or complex under test

_BLOCK = 2048  # states evaluated at once by `apply`: a layer's activations then stay in cache


class Tape(NamedTuple):
    """What `forward` leaves for `backward`: the times, the activations h_0..h_L as (S n, width), the readouts R_t, and scratch.

    `backward` overwrites the activations; a spent tape can be given to the next `forward` of the same shape, which then
    allocates nothing large.
    """

    t: IntArray
    activations: list[Values]
    readout: Values
    scratch: dict[int, Values]


class MLP:
    """The shapes of a network; its parameters are passed to every call.

    Parameters
    ----------
    d_in, d_out : int >= 1
        Components in and out.
    T : int >= 2
        The network serves the times 2..T.
    hidden : sequence of int >= 1, at least one
        Widths of the tanh layers.
    time_features : array_like, shape (T-1, F), optional
        What the trunk is told of the times 2..T, dimensionless; nothing by default.
    basis : array_like, shape (T-1, B), optional
        The temporal basis of the readout, rows for t = 2..T; the identity, one readout per time step, by default.
    input_gain : float > 0
        Scale of the first layer at the start. A tanh unit bends over a length 1 / gain of its input, and the thresholds are
        spread evenly over [-gain, gain] times a weight, so a larger gain starts with a finer tiling of the data.
    skip : bool
        Whether there is a linear path S from the input to the output, the same at every time; none by default.

    Attributes
    ----------
    shapes : dict of str to tuple
        The parameters' names and shapes, in their order in the flat vector.
    size : int
        How many numbers the parameters are.

    Raises
    ------
    ValueError
        If a size is out of range or a table has not one row for every time 2..T.

    Notes
    -----
    App. D.1: the trunk is shared, the readout separate per time step.

    >>> network = MLP(2, 4, 3, hidden=(5,))
    >>> network.size, network.shapes["R"]
    (63, (2, 5, 4))
    """

    def __init__(self, d_in: int, d_out: int, T: int, *, hidden: Sequence[int] = (64, 64, 64),
                 time_features: npt.ArrayLike | None = None, basis: npt.ArrayLike | None = None, input_gain: float = 1.0,
                 skip: bool = False) -> None:
        self.d_in, self.d_out, self.T = validation.count("d_in", d_in, 1), validation.count("d_out", d_out, 1), validation.count("T", T, 2)
        widths = [validation.count("hidden", width, 1) for width in hidden]
        if not widths:
            raise ValueError("hidden must name at least one layer, got none")
        self.input_gain = validation.positive_number("input_gain", input_gain)
        if not isinstance(skip, bool):
            raise ValueError(f"skip must be True or False, got {skip!r}")
        self.skip = skip
        self.time_features = self._table("time_features", np.zeros((T - 1, 0)) if time_features is None else time_features)
        self.basis = self._table("basis", np.eye(T - 1) if basis is None else basis)
        self.depth = len(widths)
        self.shapes: dict[str, tuple[int, ...]] = {"U": (self.time_features.shape[1], widths[0])}
        for k, (fan_in, fan_out) in enumerate(zip([d_in, *widths], widths, strict=False), start=1):
            self.shapes |= {f"W{k}": (fan_in, fan_out), f"b{k}": (fan_out,)}
        bases = self.basis.shape[1]
        self.shapes |= {"R": (bases, widths[-1], d_out), "c": (bases, d_out)} | ({"S": (d_in, d_out)} if skip else {})
        stops = np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()]).tolist()
        self.size = stops[-1]
        self._slices = [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]

    def _table(self, name: str, value: npt.ArrayLike) -> Array:
        table = validation.finite(name, value)
        if table.ndim != 2 or table.shape[0] != self.T - 1:
            raise ValueError(f"{name} must have shape (T-1, .), one row for every t in 2..{self.T}, got {table.shape}")
        return table

    def unpack(self, params: Values) -> dict[str, Values]:
        """Views of the flat vector by name, of the shapes in `shapes`; dimensionless. App. D.1."""
        return {name: params[part].reshape(shape) for (name, shape), part in zip(self.shapes.items(), self._slices, strict=True)}

    def check(self, params: npt.ArrayLike) -> Values:
        """The flat vector of shape (size,), dimensionless, finite, float32, float64 or complex; ValueError if it is not. App. D.1."""
        vector = np.asarray(params)
        if vector.shape != (self.size,) or vector.dtype.kind not in "fc":
            raise ValueError(f"params must be a floating-point vector of shape ({self.size},), got {vector.dtype} {vector.shape}")
        if not np.isfinite(vector).all():
            raise ValueError(f"params must be finite, got {vector[~np.isfinite(vector)][0]}")
        return vector

    def init(self, *, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64) -> Values:
        """Parameters to start from, shape (size,), dimensionless: random trunk, zero readout and path, so the output is 0 at every t.

        Weights are normal with variance 1 / fan_in (times the gain squared in the first layer), which keeps activations of
        order one. ValueError unless rng is a Generator. App. D.1.
        """
        rng = validation.generator(rng)
        params = np.zeros(self.size)
        views = self.unpack(params)
        for k in range(1, self.depth + 1):
            gain, fan_in = (self.input_gain, self.d_in + self.time_features.shape[1]) if k == 1 else (1.0, views[f"W{k}"].shape[0])
            for name in (f"W{k}", "U") if k == 1 else (f"W{k}",):
                views[name][...] = gain * rng.standard_normal(views[name].shape) / np.sqrt(fan_in)
        views["b1"][...] = self.input_gain * rng.uniform(-1.0, 1.0, views["b1"].shape)
        return params.astype(dtype)

    def forward(self, params: Values, x: Values, t: IntArray, spent: Tape | None = None) -> tuple[Values, Tape]:
        """The outputs (S, n, d_out) for states x (S, n, d_in) at times t (S,) in 2..T, and the tape; dimensionless. App. D.1.

        A spent tape of the same shape lends its memory.
        """
        views, (S, n, _) = self.unpack(params), x.shape
        tape = spent if spent is not None and spent.activations[1].shape[0] == S * n else self._tape(S * n, params.dtype)
        activations = [x.reshape(S * n, self.d_in), *tape.activations[1:]]
        for k in range(1, self.depth + 1):
            h = np.matmul(activations[k - 1], views[f"W{k}"], out=activations[k])
            if k == 1 and self.time_features.size:
                h.reshape(S, n, -1)[...] += (views["b1"] + self._rows(self.time_features, t, params) @ views["U"])[:, None]
            else:
                h += views[f"b{k}"]
            np.tanh(h, out=h)
        weights = self._rows(self.basis, t, params)
        readout = (weights @ views["R"].reshape(len(views["R"]), -1)).reshape(S, -1, self.d_out)
        out = activations[-1].reshape(S, n, -1) @ readout
        out += (weights @ views["c"])[:, None]
        if self.skip:
            out += (activations[0] @ views["S"]).reshape(out.shape)
        return out, Tape(t, activations, readout, tape.scratch)

    def _tape(self, rows: int, dtype: npt.DTypeLike) -> Tape:
        """Memory for so many states."""
        widths = [self.shapes[f"b{k}"][0] for k in range(1, self.depth + 1)]
        empty = np.empty((0, 0), dtype)
        return Tape(np.empty(0, np.int64), [empty, *(np.empty((rows, width), dtype) for width in widths)], empty,
                    {width: np.empty((rows, width), dtype) for width in widths})

    def backward(self, params: Values, tape: Tape, dout: Values) -> tuple[Values, Values]:
        """The derivatives of a scalar by the parameters (size,) and by z_1 (S n, width_1), given those by the outputs; per unit.

        What the state needs beyond that is a product or two, `backward_x`, which training can do without. The tape is spent: each
        dz_k takes the place of h_k as soon as h_k has been used.

        With d. for the derivative of the scalar by ., sums over the n states left to the matrix products:
            out = h_L R_t + c_t + x S    dR_t = h_L^T dout,  dc_t = sum_n dout,  dh_L = dout R_t^T,  dS = x^T dout
            R_t = sum_b basis_tb R_b     dR_b = sum_t basis_tb dR_t,  and so for c
            h_k = tanh(z_k)              dz_k = (1 - h_k^2) dh_k
            z_k = h_{k-1} W_k + b_k      dW_k = h_{k-1}^T dz_k,  db_k = sum dz_k,  dh_{k-1} = dz_k W_k^T
            z_1 has features_t U too     dU = sum_t features_t^T sum_n dz_1
        All vanish with dout. App. D.1.
        """
        views, grad = self.unpack(params), np.empty_like(params)
        into, (S, n, _) = self.unpack(grad), dout.shape
        t, activations, readout, scratch = tape
        weights = self._rows(self.basis, t, params)
        by_readout = activations[-1].reshape(S, n, -1).transpose(0, 2, 1) @ dout
        np.matmul(weights.T, by_readout.reshape(S, -1), out=into["R"].reshape(len(into["R"]), -1))
        np.matmul(weights.T, np.einsum("sno->so", dout), out=into["c"])
        if self.skip:
            np.matmul(activations[0].T, dout.reshape(S * n, -1), out=into["S"])
        dh = scratch[activations[-1].shape[1]]
        np.matmul(dout, readout.transpose(0, 2, 1), out=dh.reshape(S, n, -1))
        ones = np.ones(S * n, params.dtype)  # a product with them is the sum over states, faster than a sum
        for k in range(self.depth, 0, -1):
            dz = _tanh_backward(activations[k], dh)
            np.matmul(activations[k - 1].T, dz, out=into[f"W{k}"])
            np.matmul(ones, dz, out=into[f"b{k}"])
            if k > 1:
                dh = np.matmul(dz, views[f"W{k}"].T, out=scratch[activations[k - 1].shape[1]])
        if self.time_features.size:
            np.matmul(self._rows(self.time_features, t, params).T, dz.reshape(S, n, -1).sum(1), out=into["U"])
        return grad, dz

    def backward_x(self, params: Values, tape: Tape, dz: Values, dout: Values) -> Values:
        """The derivative by x (S, n, d_in) from those by z_1, which `backward` returns, and by the outputs; per unit. App. D.1.

        dx = dz_1 W_1^T + dout S^T
        """
        views = self.unpack(params)
        dx = (dz @ views["W1"].T).reshape(len(tape.t), -1, self.d_in)
        return dx + dout @ views["S"].T if self.skip else dx

    def apply(self, params: Values, x: Array, t: IntArray) -> Values:
        """The outputs (..., d_out) for states x (..., d_in) at integer times t that broadcast against x's leading axes.

        Dimensionless; states are taken in blocks, so memory stays bounded. App. D.1.
        """
        stacked, times = stack(x, t)
        S, n, _ = stacked.shape
        out = np.empty((S, n, self.d_out), params.dtype)
        step = max(1, _BLOCK // n)
        tape: Tape | None = None
        for s in range(0, S, step):
            for i in range(0, n, _BLOCK):
                states = stacked[s:s + step, i:i + _BLOCK].astype(params.dtype, copy=False)
                out[s:s + step, i:i + _BLOCK], tape = self.forward(params, states, times[s:s + step], tape)
        return out.reshape(*x.shape[:-1], self.d_out)

    @staticmethod
    def _rows(table: Array, t: IntArray, params: Values) -> Values:
        """A table's rows for the times t, in the dtype of the parameters."""
        return table[t - 2].astype(params.dtype, copy=False)


def _tanh_backward(h: Values, dh: Values) -> Values:
    """dz = (1 - h^2) dh for h = tanh(z), in the place of h."""
    h *= h
    np.subtract(1.0, h, out=h)
    h *= dh
    return h


def stack(x: Values, t: IntArray) -> tuple[Values, IntArray]:
    """States x (..., d) at times t, which broadcast against the leading axes, as (S, n, d) with t constant along n, t (S,).

    The trailing leading axes along which t does not vary become n. Dimensionless; the order of states is kept. ValueError if
    t has more axes than the states, or is longer along one.
    """
    leading, t = x.shape[:-1], np.asarray(t)
    if np.broadcast_shapes(t.shape, leading) != leading:
        raise ValueError(f"t must not have more axes than the states, got t {t.shape} for states {x.shape}")
    padded = (1,) * (len(leading) - t.ndim) + t.shape
    varying = max((axis + 1 for axis, size in enumerate(padded) if size > 1), default=0)
    times = np.broadcast_to(t.reshape(padded[:varying]), leading[:varying]).reshape(-1)
    return x.reshape(len(times), -1, x.shape[-1]), times


def time_polynomials(T: int, degree: int) -> Array:
    """Legendre polynomials P_1..P_degree of time at t = 2..T, time running over [-1, 1]: features for the trunk.

    Parameters
    ----------
    T : int >= 2, steps
    degree : int >= 1

    Returns
    -------
    ndarray, shape (T-1, degree), dimensionless

    Raises
    ------
    ValueError
        If T or degree is out of range.

    Notes
    -----
    A smooth version of the temporal basis of App. D.2.

    >>> time_polynomials(4, 1).ravel()
    array([-1.,  0.,  1.])
    """
    time = np.linspace(-1.0, 1.0, validation.count("T", T, 2) - 1)
    return np.asarray(np.polynomial.legendre.legvander(time, validation.count("degree", degree, 1))[:, 1:], dtype=np.float64)

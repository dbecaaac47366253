"""The binomial reverse kernels: f_b from a network's prediction of x^0, and f_b as the network's output itself.

Of each bit, x^t and t tell about x^0 what their log likelihood ratio tells, and nothing else:

    e = log q(x^t | x^0 = 1) - log q(x^t | x^0 = 0) = log(1 + abar_t / (pi_1 (1 - abar_t)))     for x^t = 1
                                                     -log(1 + abar_t / (pi_0 (1 - abar_t)))     for x^t = 0

The law of x^0 given x^t is a function of the vector e, the same at every t. So e is what the network of `BinomialReverse` is
given; it needs no features of time, and one readout serves all times. Given what the other bits are, the logit of r is
linear in e, which is what the network's path past its trunk (`skip`) is for.

`SigmoidReverse` is the paper's own: the network is given x^t, and a sigmoid of its output is f_b, with a readout for each t. What
`BinomialReverse` has built in it must learn: that a bit stays what it is but for a probability of order 1 / T, at each t anew.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.2, Table App.1 and App. D.1.2.
"""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.information import bernoulli_kl_from_logits, logit
from dpm_ref.mlp import MLP, Values
from dpm_ref.protocols import ReverseKernel
from dpm_ref.reverse._model import Draw, state
from dpm_ref.validation import Array, IntArray

__all__ = ["BinomialReverse", "SigmoidReverse"]


class _Bits:
    """What both parametrisations share: the network, and tables of the posterior over x0, time, xt and component."""

    def __init__(self, diffusion: BinomialDiffusion, d: int, **network: Any) -> None:
        if not isinstance(diffusion, BinomialDiffusion):
            raise ValueError(f"diffusion must be a BinomialDiffusion, got {type(diffusion).__name__}")
        self.diffusion, self.d = diffusion, validation.count("d", d, 1)
        self.network = MLP(d, d, diffusion.T, **network)
        t, ones = np.arange(2, diffusion.T + 1), np.ones((diffusion.T - 1, d))
        posterior = [[diffusion.posterior(x0 * ones, xt * ones, t) for xt in (0, 1)] for x0 in (0, 1)]
        self._q1 = np.array([np.stack([law.prob1 for law in laws], 1) for laws in posterior])
        self._q0 = np.array([np.stack([law.prob0 for law in laws], 1) for laws in posterior])

    def noise(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: npt.DTypeLike) -> Values:
        """Uniform numbers in [0, 1) of the given shape, in float32 or float64; dimensionless. Section 2.1."""
        return rng.random(shape, dtype=dtype)  # type: ignore[arg-type]

    def check_noise(self, noise: npt.ArrayLike) -> Array:
        """Noise vectors (..., d), dimensionless: in [0, 1], at least one; ValueError otherwise. Section 2.1."""
        return validation.components("noise", validation.data("noise", validation.probability("noise", noise)), self.d)

    def draw(self, x0: Values, t: IntArray, noise: Values) -> Draw:
        """xt = 1 where noise < q(x^t = 1 | x^0), what the network is given of it, and x0 itself; (S, n, d) each. Section 2.1."""
        kept, erased = (table(t)[..., None].astype(noise.dtype) for table in (self.diffusion.abar, self.diffusion.one_minus_abar))
        prob1 = kept * x0 + erased * self.diffusion.pi1.astype(noise.dtype)
        xt = (noise < prob1).astype(noise.dtype)
        return Draw(xt, self._inputs(xt, t), np.broadcast_to(x0, noise.shape))

    def draw_grad(self, dinputs: Values, dout: Values, t: IntArray) -> None:
        """None: bits have no derivative, in nats per unit or of any shape, and so no frozen noise. Section 2.4.1."""

    def beta_grad(self, out: Values, draw: Draw, dinputs: Values, dout: Values, t: IntArray) -> None:
        """None: without frozen noise there is no derivative by beta, in nats or of any shape. Section 2.4.1."""

    def fixed_beta_grad(self, x0: Array) -> Array:
        """Zero, shape (T-1,), nats: not a derivative, as `beta_grad` is none. Section 2.4.1."""
        return np.zeros(self.diffusion.T - 1)

    def fixed_grad(self, x0: Array) -> Array:
        """Zero: bits have no derivative; shape of x0 (..., d), nats per unit. Section 2.4."""
        return np.zeros_like(x0)

    def kernel(self, params: npt.ArrayLike) -> ReverseKernel:
        """The reverse kernel (xt, t) -> law with these parameters (size,), dimensionless; it can be pickled. Table App.1."""
        return partial(self.law, self.network.check(params))

    def law(self, params: Values, xt: npt.ArrayLike, t: npt.ArrayLike) -> Bernoulli:
        """p(x^{t-1} | x^t) over xt's shape (..., d), t in 2..T, dimensionless; ValueError for states or times out of range. Table App.1."""
        states, times = state(self.diffusion, self.d, xt, t)
        inputs = self._inputs(states, times)
        return self._law(self.network.apply(params, inputs, times).astype(np.float64), states, inputs, times)

    def _inputs(self, xt: Values, t: IntArray) -> Values:
        """What the network is given of xt (..., d) at times t."""
        raise NotImplementedError

    def _law(self, out: Array, xt: Array, inputs: Array, t: IntArray) -> Bernoulli:
        """p(x^{t-1} | x^t) from the network's outputs."""
        raise NotImplementedError


class BinomialReverse(_Bits):
    """f_b(x^t, t) from one network.

    f_b = r q(1 | x^t, x^0 = 1) + (1 - r) q(1 | x^t, x^0 = 0),   logit r = logit pi + e + a,   a the network's output given e

    Parameters
    ----------
    diffusion : BinomialDiffusion, T >= 2
    d : int >= 1
        Bits of a data vector.
    network : keyword arguments of `MLP`
        hidden, time_features, basis, input_gain, skip. With basis an array of ones, (T-1, 1), one readout serves all times.

    Raises
    ------
    ValueError
        If an argument is out of range, or d is not the length of the diffusion's prior.

    Notes
    -----
    Table App.1. Since q(x_i^{t-1} | x^t, x^0) depends on x_i^0 alone, the best factorised kernel is of this form.

    >>> model = BinomialReverse(BinomialDiffusion([0.1, 0.2, 0.5]), 2)
    >>> kernel = model.kernel(model.network.init(rng=np.random.default_rng(0)))
    >>> print("%.6f" % kernel([[1, 0]], 3).prob1[0, 0])
    0.750000
    """

    def __init__(self, diffusion: BinomialDiffusion, d: int, **network: Any) -> None:
        super().__init__(diffusion, d, **network)
        t, ones = np.arange(2, diffusion.T + 1), np.ones(d)
        self._lift = np.where(self._q1[0] < 0.5, self._q1[1] - self._q1[0], self._q0[0] - self._q0[1])
        odds = (diffusion.abar(t) / diffusion.one_minus_abar(t))[:, None]
        self._evidence = np.stack([-np.log1p(odds / (diffusion.pi0 * ones)), np.log1p(odds / (diffusion.pi1 * ones))], 1)
        self._logit_prior = np.log(diffusion.pi1 / diffusion.pi0)

    def kl_and_grad(self, out: Values, draw: Draw, t: IntArray) -> tuple[Values, Values]:
        """KL(posterior || kernel) in nats (S, n), summed over components, and its derivative by the outputs (S, n, d).

        With q the posterior given the true x0, D = q(1 | x^0 = 1) - q(1 | x^0 = 0) and s = r - x0, the kernel is
        p1 = q1 + s D and p0 = q0 - s D; with e1 = s D / q1 and e0 = -s D / q0
            KL = q1 [ e1 - log(1 + e1) ] + q0 [ e0 - log(1 + e0) ]
            d/d a = s D^2 r (1 - r) / (p1 p0)                vanishes where r = x0, and where x^t says all there is to know
        Equation (14).
        """
        r1, r0 = self._prediction(out, draw.inputs)
        at, one = _places(draw.xt, t), draw.target == 1
        (given0_1, given1_1), (given0_0, given1_0) = ((_pick(table, at, out) for table in q) for q in (self._q1, self._q0))
        lift = _pick(self._lift, at, out)
        q1, q0 = np.where(one, given1_1, given0_1), np.where(one, given1_0, given0_0)
        shift = np.where(one, -r0, r1) * lift
        e1, e0 = shift / q1, -shift / q0
        p1, p0 = r1 * given1_1 + r0 * given0_1, r1 * given1_0 + r0 * given0_0
        return (q1 * (e1 - np.log1p(e1)) + q0 * (e0 - np.log1p(e0))).sum(-1), shift * lift * r1 * r0 / (p1 * p0)

    def _inputs(self, xt: Values, t: IntArray) -> Values:
        return _pick(self._evidence, _places(xt, t), xt)

    def _law(self, out: Array, xt: Array, inputs: Array, t: IntArray) -> Bernoulli:
        r1, r0 = self._prediction(out, inputs)
        at = _places(xt, t)
        members = [[_pick(table, at, out) for table in q] for q in (self._q1, self._q0)]
        return Bernoulli(*(r1 * given1 + r0 * given0 for given0, given1 in members))

    def _prediction(self, out: Values, evidence: Values) -> tuple[Values, Values]:
        """P(x^0 = 1) and P(x^0 = 0) as predicted."""
        log_odds = out + evidence + self._logit_prior.astype(out.dtype)
        return expit(log_odds), expit(-log_odds)


class SigmoidReverse(_Bits):
    """f_b(x^t, t) as in the paper, a sigmoid of the network's output a given x^t, its readout separate per time step.

    f_b = 1 / (1 + exp(-a)),   or counted from the forward kernel:   logit f_b = logit T_pi(1 | x^t; beta_t) + a

    Parameters
    ----------
    diffusion : BinomialDiffusion, T >= 2
    d : int >= 1
        Bits of a data vector.
    from_forward : bool
        Whether a is counted from the forward kernel, so that zero outputs are T_pi and K = L_null; from zero by default.
    network : keyword arguments of `MLP`
        hidden, time_features, basis, input_gain, skip. The default basis is a readout for each time step, as in the paper. Its
        sigmoid units are these tanh units: 1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2.

    Raises
    ------
    ValueError
        If an argument is out of range, or d is not the length of the diffusion's prior.

    Notes
    -----
    Table App.1 and App. D.1.2.

    >>> model = SigmoidReverse(BinomialDiffusion([0.1, 0.2, 0.5]), 2)
    >>> kernel = model.kernel(model.network.init(rng=np.random.default_rng(0)))
    >>> print("%.6f" % kernel([[1, 0]], 3).prob1[0, 0])
    0.500000
    """

    def __init__(self, diffusion: BinomialDiffusion, d: int, *, from_forward: bool = False, **network: Any) -> None:
        super().__init__(diffusion, d, **network)
        self._logit = logit(self._q1, self._q0)
        t, ones = np.arange(2, diffusion.T + 1), np.ones((diffusion.T - 1, d))
        forward = [diffusion.kernel(xt * ones, t) for xt in (0, 1)]
        self._start = from_forward * np.stack([logit(law.prob1, law.prob0) for law in forward], 1)

    def kl_and_grad(self, out: Values, draw: Draw, t: IntArray) -> tuple[Values, Values]:
        """KL(posterior || kernel) in nats (S, n), summed over components, and its derivative by the outputs (S, n, d).

        With q the posterior and p the kernel, KL = q1 log(q1 / p1) + q0 log(q0 / p0) from both logits, and
            d/d a = p1 - q1                                  vanishes where the kernel is the posterior
        Equation (14).
        """
        at = _places(draw.xt, t)
        ours = out + _pick(self._start, at, out)
        given0, given1 = (_pick(table, at, out) for table in self._logit)
        target = np.where(draw.target == 1, given1, given0)
        grad = np.where(target < 0, expit(ours) - expit(target), expit(-target) - expit(-ours))
        return bernoulli_kl_from_logits(target, ours).sum(-1), grad

    def _inputs(self, xt: Values, t: IntArray) -> Values:
        return xt

    def _law(self, out: Array, xt: Array, inputs: Array, t: IntArray) -> Bernoulli:
        ours = out + _pick(self._start, _places(xt, t), out)
        return Bernoulli(expit(ours), expit(-ours))


def _places(xt: Values, t: IntArray) -> IntArray:
    """Where a table over time, xt and component, read as one row, has the entries for times t and bits xt: shape of xt."""
    d = xt.shape[-1]
    return np.asarray((2 * d * (t - 2))[..., None] + np.arange(d) + d * xt.astype(np.intp))


def _pick(table: Array, places: IntArray, like: Values) -> Values:
    """A table's entries at these places, in the precision of `like`."""
    return table.take(places, mode="clip").astype(like.dtype, copy=False)  # none lies outside: clip is the fast mode

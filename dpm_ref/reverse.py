"""The reverse kernels p(x^{t-1} | x^t): f_mu and f_Sigma for the Gaussian, f_b for the binomial, and the trajectory they make.

Both columns follow one principle: the network predicts a law of x^0 given x^t, component by component, and the kernel is the
posterior q(x^{t-1} | x^t, x^0) averaged over that prediction, which stays in the family:

    Gaussian   x^0 ~ N(m, V)   ->  f_mu = c0 m + c1 x^t,  f_Sigma = s2 + c0^2 V     (c0, c1, s2: the posterior's own)
    binomial   x^0 ~ B(r)      ->  f_b = r q(1 | x^t, x^0 = 1) + (1 - r) q(1 | x^t, x^0 = 0)

The best kernel of the family is of this form, with m, V or r the true ones. The network's outputs F and g, or a, enter as
corrections to the prediction that would be right if the data were distributed as the prior:

    m = sqrt(abar_t) x^t + sqrt(1 - abar_t) F,   V = (1 - abar_t) exp(g)
    logit r = logit pi + log q(x^t | 1) - log q(x^t | 0) + a

so outputs are of order one at every t whatever the schedule (F predicts a residual of unit variance), and zero outputs are
the forward kernel T_pi itself, K = L_null: the start of the paper's own model, and a kernel that is right at large t.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.2, equations (4) and (5), Table App.1 and App. D.1.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from dpm_ref import _doors
from dpm_ref._doors import Array, IntArray
from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.gaussian import Gaussian, GaussianDiffusion
from dpm_ref.laws import Diffusion, Edge, ReverseKernel, law_over
from dpm_ref.mlp import MLP, Values

__all__ = ["ReverseModel", "GaussianReverse", "BinomialReverse", "Draw", "Trajectory", "sample_trajectory"]


class Draw(NamedTuple):
    """States x^t (S, n, d) drawn from q(x^t | x^0), and what the network should have predicted there (S, n, d)."""

    xt: Values
    target: Values


class Trajectory(NamedTuple):
    """A reverse trajectory: x^0 (n, d), and the intermediate states asked for, by time."""

    x0: Array
    states: dict[int, Array]


class ReverseModel(Protocol):
    """What training asks of a parametrised reverse kernel; t has shape (S, 1), states and noise (S, n, d)."""

    diffusion: Any
    network: MLP
    d: int

    def noise(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: npt.DTypeLike) -> Values: ...
    def check_noise(self, noise: npt.ArrayLike) -> Array: ...
    def draw(self, x0: Values, t: IntArray, noise: Values) -> Draw: ...
    def kl_and_grad(self, out: Values, draw: Draw, t: IntArray) -> tuple[Values, Values]: ...
    def draw_grad(self, dxt: Values, dout: Values, t: IntArray) -> tuple[Values, Values] | None: ...
    def fixed_grad(self, x0: Array) -> Array: ...
    def kernel(self, params: npt.ArrayLike) -> ReverseKernel: ...


class GaussianReverse:
    """f_mu(x^t, t) and a diagonal f_Sigma(x^t, t), from one network.

    f_mu = sqrt(1 - beta_t) x^t + sqrt(abar_{t-1}) beta_t / sqrt(1 - abar_t) F
    f_Sigma = s2_t (1 + kappa_t exp(g)),   kappa_t = beta_t abar_{t-1} / (1 - abar_{t-1}),   s2_t the posterior's variance

    Parameters
    ----------
    diffusion : GaussianDiffusion, T >= 2
    d : int >= 1
        Components of a data vector.
    network : keyword arguments of `MLP`
        hidden, time_features, basis, input_gain.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Table App.1 and App. D.1. f_Sigma is never below the posterior's variance, as the true reversal's is not.

    >>> model = GaussianReverse(GaussianDiffusion([0.1, 0.2, 0.5]), 2)
    >>> kernel = model.kernel(model.network.init(rng=np.random.default_rng(0)))
    >>> print("%.6f" % kernel([[1.0, 0.0]], 3).mean[0, 0])
    0.707107
    """

    def __init__(self, diffusion: GaussianDiffusion, d: int, **network: Any) -> None:
        if not isinstance(diffusion, GaussianDiffusion):
            raise ValueError(f"diffusion must be a GaussianDiffusion, got {type(diffusion).__name__}")
        self.diffusion, self.d = diffusion, _doors.count("d", d, 1)
        self.network = MLP(d, 2 * d, diffusion.T, **network)
        t = np.arange(2, diffusion.T + 1)
        self._kept, self._lost = diffusion.sqrt_abar(t), diffusion.sqrt_one_minus_abar(t)
        self._kappa = diffusion.beta[t - 1] * diffusion.abar(t - 1) / diffusion.one_minus_abar(t - 1)
        self._of_xt, self._of_F = np.sqrt(1.0 - diffusion.beta[t - 1]), diffusion.posterior_coefficients(t)[0] * self._lost

    def noise(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: npt.DTypeLike) -> Values:
        """Standard normal numbers of the given shape, in float32 or float64; dimensionless. Section 2.4.1."""
        return rng.standard_normal(shape, dtype=dtype)  # type: ignore[arg-type]

    def check_noise(self, noise: npt.ArrayLike) -> Array:
        """Noise vectors (..., d), dimensionless: finite, at least one; ValueError otherwise. Section 2.4.1."""
        return _doors.components("noise", _doors.data("noise", _doors.finite("noise", noise)), self.d)

    def draw(self, x0: Values, t: IntArray, noise: Values) -> Draw:
        """xt = sqrt(abar) x0 + sqrt(1 - abar) noise, and F's target sqrt(1 - abar) x0 - sqrt(abar) noise; each (S, n, d).

        Dimensionless. The target is (x0 - sqrt(abar) xt) / sqrt(1 - abar), without the cancellation. Section 2.4.1.
        """
        kept, lost = (_rows(table, t, noise) for table in (self._kept, self._lost))
        return Draw(kept * x0 + lost * noise, lost * x0 - kept * noise)

    def draw_grad(self, dxt: Values, dout: Values, t: IntArray) -> tuple[Values, Values]:
        """Derivatives by x0 and by the noise (S, n, d), from those by xt through the network and by the outputs; nats per unit.

        The divergence depends on F - target, so its derivative by the target is that by F with the sign turned:
            d/d x0    = sqrt(abar) d/d xt - sqrt(1 - abar) d/d F
            d/d noise = sqrt(1 - abar) d/d xt + sqrt(abar) d/d F
        Section 2.4.1, frozen noise.
        """
        kept, lost = (_rows(table, t, dxt) for table in (self._kept, self._lost))
        dF = dout[..., :self.d]
        return kept * dxt - lost * dF, lost * dxt + kept * dF

    def fixed_grad(self, x0: Array) -> Array:
        """Derivative by x0 (..., d) of what of K does not depend on the kernel, `bounds.fixed_terms`; nats per unit.

        log pi, KL(q(x^1|x^0) || pi) and KL(q(x^T|x^0) || pi) have x0's square with -1/2, abar_1 / 2 and abar_T / 2:
        d/d x0 = -(beta_1 + abar_T) x0. Section 2.4.
        """
        return np.asarray(-(self.diffusion.beta[0] + self.diffusion.abar(self.diffusion.T)) * x0)

    def kl_and_grad(self, out: Values, draw: Draw, t: IntArray) -> tuple[Values, Values]:
        """KL(posterior || kernel) in nats (S, n), summed over components, and its derivative by the outputs (S, n, 2d).

        With e = F - target, u = exp(g) and v = 1 + kappa u, the variances have ratio v and the means lie sqrt(kappa) e
        posterior standard deviations apart, so
            KL = [ log v + kappa (e^2 - u) / v ] / 2
            d/d F = kappa e / v                               vanishes at the target
            d/d g = -kappa^2 u (e^2 - u) / (2 v^2)            vanishes where the variance predicted is the error's square
        Equation (14).
        """
        kappa, d = _rows(self._kappa, t, out), self.d
        error, u = out[..., :d] - draw.target, np.exp(out[..., d:])
        kappa_u = kappa * u
        v = 1.0 + kappa_u
        excess = kappa * (error * error - u) / v
        grad = np.empty_like(out)
        np.divide(kappa * error, v, out=grad[..., :d])
        np.divide(-0.5 * kappa_u * excess, v, out=grad[..., d:])
        return 0.5 * np.einsum("snd->sn", np.log1p(kappa_u) + excess), grad

    def law(self, params: Values, xt: npt.ArrayLike, t: npt.ArrayLike) -> Gaussian:
        """p(x^{t-1} | x^t) over xt's shape (..., d), t in 2..T, dimensionless; ValueError for states or times out of range. Table App.1."""
        states, times = _state(self, xt, t)
        out = self.network.apply(params, states, times).astype(np.float64)
        of_xt, of_F, kappa = (_rows(table, times, states) for table in (self._of_xt, self._of_F, self._kappa))
        var = self.diffusion.posterior_var(times)[..., None] * (1.0 + kappa * np.exp(out[..., self.d:]))
        return Gaussian(of_xt * states + of_F * out[..., :self.d], var)

    def kernel(self, params: npt.ArrayLike) -> ReverseKernel:
        """The reverse kernel (xt, t) -> law with these parameters (size,), dimensionless; it can be pickled. Table App.1."""
        return partial(self.law, self.network.check(params))


class BinomialReverse:
    """f_b(x^t, t) from one network.

    f_b = r q(1 | x^t, x^0 = 1) + (1 - r) q(1 | x^t, x^0 = 0),   logit r = logit pi + log q(x^t | 1) - log q(x^t | 0) + a

    Parameters
    ----------
    diffusion : BinomialDiffusion, T >= 2
    d : int >= 1
        Bits of a data vector.
    network : keyword arguments of `MLP`
        hidden, time_features, basis, input_gain.

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
        if not isinstance(diffusion, BinomialDiffusion):
            raise ValueError(f"diffusion must be a BinomialDiffusion, got {type(diffusion).__name__}")
        self.diffusion, self.d = diffusion, _doors.count("d", d, 1)
        self.network = MLP(d, d, diffusion.T, **network)
        t, ones = np.arange(2, diffusion.T + 1), np.ones((diffusion.T - 1, d))
        posterior = [[diffusion.posterior(x0 * ones, xt * ones, t) for xt in (0, 1)] for x0 in (0, 1)]
        # tables over x0, time, xt and component
        self._q1 = np.array([np.stack([law.prob1 for law in laws], 1) for laws in posterior])
        self._q0 = np.array([np.stack([law.prob0 for law in laws], 1) for laws in posterior])
        self._lift = np.where(self._q1[0] < 0.5, self._q1[1] - self._q1[0], self._q0[0] - self._q0[1])
        data0, data1 = diffusion.marginal(0 * ones, t), diffusion.marginal(ones, t)
        evidence = np.stack([np.log(data1.prob0 / data0.prob0), np.log(data1.prob1 / data0.prob1)], 1)
        self._logit = np.log(diffusion.pi1 / diffusion.pi0) + evidence

    def noise(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: npt.DTypeLike) -> Values:
        """Uniform numbers in [0, 1) of the given shape, in float32 or float64; dimensionless. Section 2.1."""
        return rng.random(shape, dtype=dtype)  # type: ignore[arg-type]

    def check_noise(self, noise: npt.ArrayLike) -> Array:
        """Noise vectors (..., d), dimensionless: in [0, 1], at least one; ValueError otherwise. Section 2.1."""
        return _doors.components("noise", _doors.data("noise", _doors.probability("noise", noise)), self.d)

    def draw(self, x0: Values, t: IntArray, noise: Values) -> Draw:
        """xt = 1 where noise < q(x^t = 1 | x^0), and what a should make of it, x0 itself; each (S, n, d), bits. Section 2.1."""
        kept, erased = (table(t)[..., None].astype(noise.dtype) for table in (self.diffusion.abar, self.diffusion.one_minus_abar))
        prob1 = kept * x0 + erased * self.diffusion.pi1.astype(noise.dtype)
        return Draw((noise < prob1).astype(noise.dtype), np.broadcast_to(x0, noise.shape))

    def draw_grad(self, dxt: Values, dout: Values, t: IntArray) -> None:
        """None: bits have no derivative, in nats per unit or of any shape, and so no frozen noise. Section 2.4.1."""

    def fixed_grad(self, x0: Array) -> Array:
        """Zero: bits have no derivative; shape of x0 (..., d), nats per unit. Section 2.4."""
        return np.zeros_like(x0)

    def kl_and_grad(self, out: Values, draw: Draw, t: IntArray) -> tuple[Values, Values]:
        """KL(posterior || kernel) in nats (S, n), summed over components, and its derivative by the outputs (S, n, d).

        With q the posterior given the true x0, D = q(1 | x^0 = 1) - q(1 | x^0 = 0) and s = r - x0, the kernel is
        p1 = q1 + s D and p0 = q0 - s D; with e1 = s D / q1 and e0 = -s D / q0
            KL = q1 [ e1 - log(1 + e1) ] + q0 [ e0 - log(1 + e0) ]
            d/d a = s D^2 r (1 - r) / (p1 p0)                vanishes where r = x0, and where x^t says all there is to know
        Equation (14).
        """
        r1, r0 = self._prediction(out, draw.xt, t)
        (given0_1, given1_1), (given0_0, given1_0) = ((_pick(table, draw.xt, t, out) for table in q) for q in (self._q1, self._q0))
        lift, one = _pick(self._lift, draw.xt, t, out), draw.target == 1
        q1, q0 = np.where(one, given1_1, given0_1), np.where(one, given1_0, given0_0)
        shift = np.where(one, -r0, r1) * lift
        e1, e0 = shift / q1, -shift / q0
        p1, p0 = r1 * given1_1 + r0 * given0_1, r1 * given1_0 + r0 * given0_0
        return (q1 * (e1 - np.log1p(e1)) + q0 * (e0 - np.log1p(e0))).sum(-1), shift * lift * r1 * r0 / (p1 * p0)

    def law(self, params: Values, xt: npt.ArrayLike, t: npt.ArrayLike) -> Bernoulli:
        """p(x^{t-1} | x^t) over xt's shape (..., d), t in 2..T, dimensionless; ValueError for states or times out of range. Table App.1."""
        states, times = _state(self, xt, t)
        out = self.network.apply(params, states, times).astype(np.float64)
        r1, r0 = self._prediction(out, states, times)
        members = [[_pick(table, states, times, out) for table in q] for q in (self._q1, self._q0)]
        return Bernoulli(*(r1 * given1 + r0 * given0 for given0, given1 in members))

    def kernel(self, params: npt.ArrayLike) -> ReverseKernel:
        """The reverse kernel (xt, t) -> law with these parameters (size,), dimensionless; it can be pickled. Table App.1."""
        return partial(self.law, self.network.check(params))

    def _prediction(self, out: Values, xt: Values, t: IntArray) -> tuple[Values, Values]:
        """P(x^0 = 1) and P(x^0 = 0) as predicted."""
        logit = out + _pick(self._logit, xt, t, out)
        return expit(logit), expit(-logit)


def sample_trajectory(diffusion: Diffusion, reverse: ReverseKernel, n: int, d: int, *, rng: np.random.Generator,
                      keep: Iterable[int] = (), edge: Edge | None = None) -> Trajectory:
    """Draw n vectors from the model: x^T from the prior, x^{t-1} from the reverse kernel, x^0 from the edge.

    Parameters
    ----------
    diffusion : GaussianDiffusion or BinomialDiffusion
    reverse : callable (xt, t) -> law
        Called with xt of shape (n, d) and one int t, from T down to 2.
    n, d : int >= 1
        Vectors, and components of each.
    rng : numpy.random.Generator
    keep : iterable of int in 0..T
        Times whose states to return.
    edge : callable x1 -> law, optional
        p(x^0 | x^1); by default the diffusion's own, T_pi.

    Returns
    -------
    Trajectory
        x0 of shape (n, d) and a dict from each time kept to its states (n, d), of one trajectory; dimensionless.

    Raises
    ------
    ValueError
        If an argument is out of range, or a kernel returns a law over another shape.

    Notes
    -----
    Section 2.2, equations (4) and (5), with the edge of App. B.2.

    >>> diffusion = GaussianDiffusion([0.1, 0.2, 0.5])
    >>> path = sample_trajectory(diffusion, diffusion.kernel, 5, 2, rng=np.random.default_rng(0), keep=[0, 3])
    >>> path.x0.shape, sorted(path.states)
    ((5, 2), [0, 3])
    """
    rng, T = _doors.generator(rng), diffusion.T
    wanted = {_doors.one_time("keep", t, 0, T) for t in keep}
    prior = diffusion.prior(d)
    xt = prior.at(prior.noise((_doors.count("n", n, 1), d), rng=rng))
    states = {T: xt}
    for t in range(T, 0, -1):
        law = reverse(xt, t) if t > 1 else (diffusion.edge if edge is None else edge)(xt)
        xt = law_over(diffusion.law, law, xt, "reverse" if t > 1 else "edge").sample(rng=rng)
        if t - 1 in wanted:
            states[t - 1] = xt
    return Trajectory(xt, {t: states[t] for t in sorted(wanted)})


def _rows(table: Array, t: IntArray, like: Values) -> Values:
    """A table's entries for the times t, against the last axis, in the precision of `like`."""
    return np.asarray(table[t - 2][..., None], dtype=like.real.dtype)


def _pick(table: Array, xt: Values, t: IntArray, like: Values) -> Values:
    """A table's entries for the times t and the bits xt, component by component, in the precision of `like`."""
    rows = table[t - 2].astype(like.dtype, copy=False)
    return np.where(xt == 1, rows[..., 1, :], rows[..., 0, :])


def _state(model: ReverseModel, xt: npt.ArrayLike, t: npt.ArrayLike) -> tuple[Array, IntArray]:
    """The state and times that a kernel is asked for."""
    states = _doors.components("xt", model.diffusion.check_data("xt", xt), model.d)
    return states, _doors.times_over(t, 2, model.diffusion.T, states)

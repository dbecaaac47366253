"""The reverse kernels p(x^{t-1} | x^t): f_mu and f_Sigma, f_b, and the trajectory they make.

The network predicts a distribution of x^0 given x^t, component by component. The kernel is the
posterior q(x^{t-1} | x^t, x^0) averaged over that prediction, which stays in the family:

    Gaussian   x^0 ~ N(m, V)   ->  f_mu = c0 m + c1 x^t,  f_Sigma = s2 + c0^2 V
               c0, c1, s2 the posterior's own;  the best kernel of the family has this form
    binomial   x^0 ~ B(r)      ->  f_b = r q(1 | x^t, x^0 = 1) + (1 - r) q(1 | x^t, x^0 = 0)

The network's outputs, F and g or a, correct the prediction that is right for data from the prior:

    m = sqrt(abar_t) x^t + sqrt(1 - abar_t) F,   V = (1 - abar_t) exp(g)
    logit r = logit pi + e + a,                  e = log q(x^t | 1) - log q(x^t | 0), bit by bit

Outputs are of order one at every t for any schedule, and zero outputs give the forward kernel T_pi
itself, for which K = L_null. Section 2.2, (4), (5), Table App.1 and App. D.1 of arXiv:1503.03585.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy.special import expit

from dpm_ref import protocols, validation
from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.gaussian import Gaussian, GaussianDiffusion
from dpm_ref.information import _bernoulli_kl_from_logits, logit
from dpm_ref.mlp import MLP, flat_vector, stack, time_bumps, time_polynomials
from dpm_ref.protocols import Diffusion, Edge, ReverseKernel, takes_times
from dpm_ref.validation import Array, ArrayLike, Generator, IntArray, Values

__all__ = ["ReverseModel", "GaussianReverse", "BinomialReverse", "SigmoidReverse", "Draw",
           "Trajectory", "sample_trajectory"]


class Draw(NamedTuple):
    """States x^t from q(x^t | x^0), the network's inputs, and its target; each (S, n, d)."""

    xt: Values
    inputs: Values
    target: Values


class _Reverse:
    """What both columns share; in training t has shape (S, 1), states and noise (S, n, d)."""

    column: ClassVar[type[Diffusion]]
    n_outputs: ClassVar[int] = 1  # for each component
    _law: Callable[..., Any]

    def __init__(self, diffusion: Any, d: int, **network: Any) -> None:
        validation.checked("diffusion", diffusion, f"be a {self.column.__name__}",
                           isinstance(diffusion, self.column))
        diffusion.prior(d)  # which refuses another d than its own
        self.diffusion, self.d, T = diffusion, int(d), diffusion.T
        self.network = MLP(d, self.n_outputs * d, T, **self._defaults(T) | network)

    def _defaults(self, T: int) -> dict[str, Any]:
        return {}

    def kernel(self, params: ArrayLike) -> ReverseKernel:
        """The reverse kernel (xt, t) -> law; t is one int or an array over xt's leading axes."""
        own = validation.own(flat_vector("params", params, self.network.size))
        return takes_times(partial(self.law, own))

    def law(self, params: Values, xt: ArrayLike, t: ArrayLike) -> Any:
        """p(x^{t-1} | x^t)."""
        states = validation.components("xt", self.diffusion.check_data("xt", xt), self.d)
        times = validation.times_over(t, 2, self.diffusion.T, states)
        stack(states, times)  # refuses times that outnumber the states
        inputs = self._inputs(states, times)
        with np.errstate(over="ignore", invalid="ignore"):  # the law's parameters tell
            out = self.network.apply(params, inputs, times).astype(np.float64)
            return self._law(out, states, inputs, times)

    def _inputs(self, xt: Values, t: IntArray) -> Values:
        """The network's input for states xt (..., d) at times t."""
        return xt


class GaussianReverse(_Reverse):
    """f_mu(x^t, t) and a diagonal f_Sigma(x^t, t), from one network. App. D.1.

    f_mu = sqrt(1 - beta_t) x^t + sqrt(abar_{t-1}) beta_t / sqrt(1 - abar_t) F
    f_Sigma = s2_t (1 + kappa_t exp(g)),   s2_t the posterior's variance
    kappa_t = beta_t abar_{t-1} / (1 - abar_{t-1})

    Like the true reversal's variance, f_Sigma is never below the posterior's.

    The diffusion has T >= 2; other arguments are those of `MLP`, by default two polynomials of time
    as features, a gain of 2.5, and a readout for each of up to 40 equally spaced times.

    >>> model = GaussianReverse(GaussianDiffusion([0.1, 0.2, 0.5]), 2)
    >>> kernel = model.kernel(model.network.init(rng=np.random.default_rng(0)))
    >>> print("%.6f" % kernel([[1.0, 0.0]], 3).mean[0, 0])
    0.707107
    """

    column, n_outputs = GaussianDiffusion, 2
    check_noise, mirror = staticmethod(validation.finite), 0.0  # mirror - noise is as likely

    def _defaults(self, T: int) -> dict[str, Any]:
        return {"time_features": time_polynomials(T, 2), "input_gain": 2.5,
                "basis": time_bumps(T, min(T - 1, 40))}

    def _kappa(self, t: IntArray) -> tuple[Array, Array]:
        """kappa_t and its logarithm."""
        table, s = self.diffusion.table, t - 1
        kappa = self.diffusion.beta[s] * table("abar", s) / table("one_minus_abar", s)
        with np.errstate(divide="ignore"):  # it is 0 from a beta of 1 on
            return kappa, np.log(kappa)

    def over(self, diffusion: GaussianDiffusion) -> GaussianReverse:
        """The same network as the kernel of another diffusion of as many steps (section 2.4.1)."""
        other, T = type(self)(diffusion, self.d), self.diffusion.T
        validation.checked("diffusion", diffusion, f"have T = {T} steps", diffusion.T == T)
        other.network = self.network
        return other

    def draw(self, x0: Values, t: IntArray, noise: Values) -> Draw:
        """xt = sqrt(abar) x0 + sqrt(1 - abar) noise; target sqrt(1 - abar) x0 - sqrt(abar) noise.

        The target for F is (x0 - sqrt(abar) xt) / sqrt(1 - abar), here without cancellation.
        """
        table = self.diffusion.table
        of_x0, of_noise = _along(noise, table("sqrt_abar", t), table("sqrt_one_minus_abar", t))
        xt = of_x0 * x0 + of_noise * noise
        return Draw(xt, xt, of_noise * x0 - of_x0 * noise)

    def kl_and_grad(self, out: Values, draw: Draw, t: IntArray) -> tuple[Values, Values]:
        """KL(posterior || kernel), elementwise (S, n, d), and its derivative by the outputs, (14).

        With e = F - target and v = 1 + kappa exp(g) = 1 / w, the variances have ratio v and the
        means lie sqrt(kappa) e posterior standard deviations apart, so
            KL = [ log v + kappa e^2 w - (1 - w) ] / 2
            d/d F = kappa e w                              vanishes at the target
            d/d g = (1 - w) [ (1 - w) - kappa e^2 w ] / 2  vanishes where exp(g) = e^2
        With a = g + log kappa, v = 1 + exp(a): evaluated from exp(-|a|), which never overflows.
        """
        (kappa, log_kappa), d = _along(out, *self._kappa(t)), self.d
        error, a = out[..., :d] - draw.target, out[..., d:] + log_kappa
        small, negative = np.exp(np.minimum(a, -a)), a < 0
        ratio = small / (1.0 + small)
        w = np.where(negative, 1.0 - ratio, ratio)
        share = np.where(negative, ratio, 1.0 - ratio)  # 1 - w
        pull = kappa * error * w
        square = error * pull
        grad = np.concatenate([pull, 0.5 * share * (share - square)], axis=-1)
        return 0.5 * (np.maximum(a, 0.0) + np.log1p(small) + square - share), grad

    def inner_grad(self, x0: Values, draw: Draw, out: Values, dout: Values, dinputs: Values,
                   t: IntArray) -> tuple[Values, Values, Values | None]:
        """Derivatives of K by x0, the noise and beta_2..T, given those by outputs and inputs.

        x0, noise: the divergence depends on F - target, and `bounds.fixed_terms` has x0's square
        with -(beta_1 + abar_T) / 2. With d/dF the first half of dout, N states in all:
            d/d x0    = sqrt(abar) d/d xt - sqrt(1 - abar) d/d F - (beta_1 + abar_T) x0 / N
            d/d noise = sqrt(1 - abar) d/d xt + sqrt(abar) d/d F
        beta, at frozen noise (section 2.4.1), with abar_t = cos^2 theta_t, one path a line:
            d xt / d theta_t = -target,  d target / d theta_t = xt
            d theta_t / d log abar_t   = -sqrt(abar_t / (1 - abar_t)) / 2
            d / d log kappa_t          = d/d g + (F - target) / 2 d/d F
            d log kappa_t / d beta_t   = 1 / beta_t
            d log kappa_t / d log abar_{t-1} = 1 / (1 - abar_{t-1})
            d log abar_t / d beta_s    = -1 / (1 - beta_s)   for every s <= t
            - KL( q(x^T|x^0) || pi ) / d log abar_T = - abar_T (x0^2 + abar_T / (1 - abar_T)) / 2
        """
        diffusion, T, d, N = self.diffusion, self.diffusion.T, self.d, x0[..., 0].size
        of_x0, of_noise = _along(out, diffusion.sqrt_abar(t), diffusion.sqrt_one_minus_abar(t))
        dF, abar = dout[..., :d], diffusion.abar(T)
        by_x0 = of_x0 * dinputs - of_noise * dF - (diffusion.beta[0] + abar) * x0 / N
        by_noise = of_noise * dinputs + of_x0 * dF
        if (diffusion.beta[1:] == 1).any():  # the root of abar has no derivative at 0
            return by_x0, by_noise, None
        times = np.arange(2, T + 1)
        at_t = (t == times).astype(np.float64)  # sums by time, in float64
        by_theta = -(dinputs * draw.target + dF * draw.xt).sum((1, 2)) @ at_t
        by_kappa = (dout[..., d:] + 0.5 * (out[..., :d] - draw.target) * dF).sum((1, 2)) @ at_t
        root, other_root = diffusion.sqrt_abar(times), diffusion.sqrt_one_minus_abar(times)
        by_log_abar = -0.5 * by_theta * root / other_root
        by_log_abar[:-1] += (by_kappa / diffusion.one_minus_abar(times - 1))[1:]
        by_log_abar[-1] -= 0.5 * abar * (x0 * x0 + abar / diffusion.one_minus_abar(T)).sum() / N
        tails = np.cumsum(by_log_abar[::-1])[::-1]
        by_beta = by_kappa / diffusion.beta[1:] - tails / (1.0 - diffusion.beta[1:])
        # kappa_2 depends on abar_1 through beta_1 alone, which is fixed
        return by_x0, by_noise, by_beta

    def _law(self, out: Array, xt: Array, inputs: Array, t: IntArray) -> Gaussian:
        table = self.diffusion.table
        of_F = table("coefficient_x0", t) * table("sqrt_one_minus_abar", t)
        of_F, var, log_kappa = _along(out, of_F, table("posterior_var", t), self._kappa(t)[1])
        mean = self.diffusion.q_kernel(xt, t).mean + of_F * out[..., : self.d]
        return Gaussian(mean, var * (1.0 + np.exp(out[..., self.d :] + log_kappa)))


class _Bits(_Reverse):
    """Tables of the posterior over x0, time, xt and component."""

    column = BinomialDiffusion
    check_noise, mirror = staticmethod(validation.probability), 1.0

    def __init__(self, diffusion: BinomialDiffusion, d: int, **network: Any) -> None:
        super().__init__(diffusion, d, **network)
        self._t, self._bits = np.arange(2, self.diffusion.T + 1), np.outer([0, 1], np.ones(self.d))
        law = self.diffusion.posterior(self._bits[:, None, None], self._bits, self._t[:, None])
        self._q = np.array([law.prob1, law.prob0])  # over bit, x0, time, xt and component

    def draw(self, x0: Values, t: IntArray, noise: Values) -> Draw:
        """xt = 1 where noise < q(x^t = 1 | x^0), the network's inputs, and x0 itself."""
        kept, erased = _along(noise, self.diffusion.abar(t), self.diffusion.one_minus_abar(t))
        prob1 = kept * x0 + erased * self.diffusion.pi1.astype(noise.dtype)
        xt = (noise < prob1).astype(noise.dtype)
        return Draw(xt, self._inputs(xt, t), x0)


class BinomialReverse(_Bits):
    """f_b(x^t, t) from one network, whose output a corrects a prediction of x^0.

    f_b = r q(1 | x^t, x^0 = 1) + (1 - r) q(1 | x^t, x^0 = 0),   logit r = logit pi + e + a
    e = log q(x^t | x^0 = 1) - log q(x^t | x^0 = 0)
      = log(1 + abar_t / (pi_1 (1 - abar_t)))   where x^t = 1
       -log(1 + abar_t / (pi_0 (1 - abar_t)))   where x^t = 0

    The best factorised kernel has this form, as q(x_i^{t-1} | x^t, x^0) depends on x^0 only through
    x_i^0. The log likelihood ratio e is sufficient: the distribution of x^0 given x^t is the same
    function of the vector e at every t. So e is the network's input, and one readout serves all t;
    log q(x^0 | x^t) is linear in e up to its normaliser, hence the skip connection.

    The diffusion has T >= 2; other arguments are those of `MLP`, by default one readout for all
    times, a gain of 0.3 and the skip connection.

    >>> model = BinomialReverse(BinomialDiffusion([0.1, 0.2, 0.5]), 2)
    >>> kernel = model.kernel(model.network.init(rng=np.random.default_rng(0)))
    >>> print("%.6f" % kernel([[1, 0]], 3).prob1[0, 0])
    0.750000
    """

    def _defaults(self, T: int) -> dict[str, Any]:
        return {"basis": np.ones((T - 1, 1)), "input_gain": 0.3, "skip": True}

    def __init__(self, diffusion: BinomialDiffusion, d: int, **network: Any) -> None:
        super().__init__(diffusion, d, **network)
        (given0, given1), (not0, not1) = self._q
        self._lift = np.where(given0 < 0.5, given1 - given0, not0 - not1)
        pi = self.diffusion.prior(self.d)
        odds = (self.diffusion.abar(self._t) / self.diffusion.one_minus_abar(self._t))[:, None]
        of_0, of_1 = np.log1p(odds / pi.prob0), np.log1p(odds / pi.prob1)
        self._evidence, self._logit_prior = np.stack([-of_0, of_1], 1), np.log(pi.prob1 / pi.prob0)

    def kl_and_grad(self, out: Values, draw: Draw, t: IntArray) -> tuple[Values, Values]:
        """KL(posterior || kernel), elementwise (S, n, d), and its derivative by the outputs, (14).

        With q the posterior given the true x0, D = q(1 | x^0 = 1) - q(1 | x^0 = 0) and s = r - x0,
        the kernel is p1 = q1 + s D and p0 = q0 - s D, and
            KL = q1 psi(s D / q1) + q0 psi(-s D / q0),     psi(e) = e - log(1 + e)
            d/d a = s D^2 r (1 - r) / (p1 p0)              vanishes where r = x0
        """
        at, one = _places(draw.xt, t), draw.target == 1
        r1, r0 = self._prediction(out, draw.inputs)
        q = _pick(self._q, at, out)
        q1, q0 = np.where(one, q[:, 1], q[:, 0])
        p1, p0 = r0 * q[:, 0] + r1 * q[:, 1]
        lift = _pick(self._lift, at, out)
        shift = np.where(one, -r0, r1) * lift
        kl = _q_psi(q1, p1, shift) + _q_psi(q0, p0, -shift)
        with np.errstate(divide="ignore"):  # where a p is 0, so is the product
            grad = (shift / p1) * (lift / p0) * (r1 * r0)
        return kl, np.where(p1 * p0 > 0, grad, 0.0)

    def _inputs(self, xt: Values, t: IntArray) -> Values:
        return _pick(self._evidence, _places(xt, t), xt)

    def _law(self, out: Array, xt: Array, inputs: Array, t: IntArray) -> Bernoulli:
        q, (r1, r0) = _pick(self._q, _places(xt, t), out), self._prediction(out, inputs)
        return Bernoulli(*(r0 * q[:, 0] + r1 * q[:, 1]))

    def _prediction(self, out: Values, evidence: Values) -> tuple[Values, Values]:
        log_odds = out + evidence + self._logit_prior.astype(out.dtype)
        return expit(log_odds), expit(-log_odds)


class SigmoidReverse(_Bits):
    """f_b(x^t, t) as in the paper, a sigmoid of the network's output a given x^t. App. D.1.2.

    f_b = 1 / (1 + exp(-a)),   or from the forward kernel:   logit f_b = logit T_pi + a

    Unlike `BinomialReverse` it has to learn, at each t separately, that a bit stays what it is but
    for a probability of order 1 / T.

    Parameters
    ----------
    diffusion : as for `BinomialReverse`
    from_forward : bool
        Whether to add a to logit T_pi; then zero outputs are T_pi and K = L_null.
    network : keyword arguments of `MLP`
        By default a readout for each time step, as in the paper. The paper's sigmoid units are tanh
        units: 1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2.

    >>> model = SigmoidReverse(BinomialDiffusion([0.1, 0.2, 0.5]), 2)
    >>> kernel = model.kernel(model.network.init(rng=np.random.default_rng(0)))
    >>> print("%.6f" % kernel([[1, 0]], 3).prob1[0, 0])
    0.500000
    """

    def __init__(self, diffusion: BinomialDiffusion, d: int, *, from_forward: bool = False,
                 **network: Any) -> None:
        super().__init__(diffusion, d, **network)
        self.from_forward = validation.flag("from_forward", from_forward)
        law = diffusion.kernel(self._bits, self._t[:, None])
        self._start = from_forward * np.clip(logit(law.prob1, law.prob0), -800.0, 800.0)
        self._logit = np.clip(logit(*self._q), -800.0, 800.0)  # exp(-800) is 0 in float64

    def kl_and_grad(self, out: Values, draw: Draw, t: IntArray) -> tuple[Values, Values]:
        """KL(posterior || kernel), elementwise (S, n, d), and its derivative by the outputs, (14).

        d/d a = p1 - q1, which vanishes where the kernel is the posterior.
        """
        at = _places(draw.xt, t)
        ours = out + _pick(self._start, at, out)
        given0, given1 = _pick(self._logit, at, out)
        target = np.where(draw.target == 1, given1, given0)
        grad = np.where(target < 0, expit(ours) - expit(target), expit(-target) - expit(-ours))
        return _bernoulli_kl_from_logits(target, ours), grad

    def _law(self, out: Array, xt: Array, inputs: Array, t: IntArray) -> Bernoulli:
        ours = out + _pick(self._start, _places(xt, t), out)
        return Bernoulli(expit(ours), expit(-ours))


ReverseModel = GaussianReverse | BinomialReverse | SigmoidReverse  # what can be trained


class Trajectory(NamedTuple):
    """A reverse trajectory: x^0 (n, d), and the intermediate states asked for, by time."""

    x0: Array
    states: dict[int, Array]


def sample_trajectory(diffusion: Diffusion, reverse: ReverseKernel, n: int, d: int, *,
                      rng: Generator, keep: Iterable[int] = (), edge: Edge = None) -> Trajectory:
    """Draw n vectors by (4) and (5): x^T from the prior, x^{t-1} from reverse, x^0 from the edge.

    Parameters
    ----------
    diffusion, reverse, edge : see `dpm_ref`
        A law with its own log_prob must have its own sample too.
    keep : iterable of int in 0..T
        Times whose states x^t (n, d), of the same trajectory, to return beside x0 (n, d).

    >>> diffusion = GaussianDiffusion([0.1, 0.2, 0.5])
    >>> rng = np.random.default_rng(0)
    >>> path = sample_trajectory(diffusion, diffusion.kernel, 5, 2, rng=rng, keep=[0, 3])
    >>> path.x0.shape, sorted(path.states)
    ((5, 2), [0, 3])
    """
    if not hasattr(diffusion, "prior"):  # perturbed kernels (2.5) have one, and are no diffusion
        protocols.checked_diffusion(diffusion)
    rng, T = validation.generator(rng), diffusion.T
    validation.checked("keep", keep, "be an iterable of times", np.iterable(keep))
    wanted = {validation.one_time("keep", t, 0, T) for t in keep}
    states = {T: diffusion.prior(d).over((validation.count("n", n, 1), d)).sample(rng=rng)}
    for t in range(T, 0, -1):
        states[t - 1] = protocols.ask_step(diffusion, reverse, edge, states[t], t).sample(rng=rng)
        if t not in wanted:
            del states[t]
    return Trajectory(states[0], {t: states[t].copy() for t in sorted(wanted)})


def _along(like: Values, *entries: Array) -> list[Values]:
    """Entries for the states' times, with an axis for components, in the precision of `like`."""
    return [entry[..., None].astype(like.real.dtype, copy=False) for entry in entries]


def _places(xt: Values, t: IntArray) -> IntArray:
    """Indices into a flat table over time, xt and component for times t and bits xt."""
    d = xt.shape[-1]
    return np.asarray((2 * d * (t - 2))[..., None] + np.arange(d) + d * xt.astype(np.intp))


def _pick(table: Array, places: IntArray, like: Values) -> Values:
    """Entries at these places of tables (..., time, xt, component), in the precision of `like`."""
    tables = table.reshape(*table.shape[:-3], -1)
    # no place lies outside: clip is the fast mode
    return tables.take(places, -1, mode="clip").astype(like.dtype, copy=False)


def _q_psi(q: Values, p: Values, shift: Values) -> Values:
    """q psi(e), psi(e) = e - log(1 + e), for e = shift / q and p = q + shift.

    As q -> 0 it tends to shift, which is used below q = 1e-292 (float32: 1e-31), where p may have
    lost the rest.
    """
    small = np.finfo(q.dtype).tiny / np.finfo(q.dtype).eps
    with np.errstate(divide="ignore"):
        e = shift / q
        far = e < -0.5  # where 1 + e has lost digits that p has
        log = np.log1p(e)
        log[far] = np.log(p[far] / q[far])
        return np.where(q > small, q * (e - log), np.maximum(shift, 0.0))

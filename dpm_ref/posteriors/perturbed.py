"""The perturbed reverse trajectory: r(x^t) over time, the start and kernels that it gives, draws.

    start     p~(x^T) proportional to pi(x^T) r(x^T)
    kernels   p~(x^{t-1} | x^t) = p(x^{t-1} | x^t) r(x^{t-1}) / Z~_{t-1}(x^t)                 (22)

(22) drops the ratio Z~_t / (Z~_{t-1} r(x^t)) of (21) and normalises at each x^t instead. The
neglected part is O(beta) per step and O(1) in all, unless r(x^t) = E[r(x^0) | x^t]: then
Z~_{t-1}(x^t) = r(x^t), and nothing is neglected. Choices of r(x^t) (section 2.5.4):

    constant    r(x^t) = r(x)                   the paper's first choice
    tempered    r(x^t) = r(x)^((T - t) / T)     its second, which leaves p~(x^T) = pi
    diffused    r(x^t) = E[r(x^0) | x^t] where p = T_pi throughout: exact for data that are pi, in
                closed form, and positive everywhere at t >= 1
    predicted   r(x^t) = Z~ of the model's own prediction of x^0 times r: for a learned model

Any other is a function of t too: lambda t: LogFactor(lambda x: f(x, t), lambda x: slope(x, t)).

A reverse kernel is a posterior q(x^{t-1} | x^t, x^0) averaged over a predicted distribution of x^0,
which `predicted` recovers from it:

    Gaussian   f_mu = c0 m + c1 x^t,  f_Sigma = s2 + c0^2 V             ->  x^0 ~ N(m, V)
    binomial   f_b = rho q(1 | x^t, 1) + (1 - rho) q(1 | x^t, 0)        ->  x^0 ~ B(rho)

The slope of its log Z~ needs no backward pass. With E, rho and E~, rho~ the means before and after
multiplication by r,

    Gaussian   grad log r_t = sqrt(abar_t) / (1 - abar_t) (E~[x^0] - E[x^0])
    binomial   r_t(x_i') / r_t(x_i) = M(rho~_i) / M(rho_i),   M(rho) = rho R_1 + (1 - rho) R_0,
               R_b = q(x_i' | b) / q(x_i | b)

These hold for the true distribution of x^0 given x^t. The prediction neglects the dependence
between its components, which a particle filter corrects.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.5.1 to 2.5.4, (21) and (22);
`diffused` and `predicted` are beyond the paper. Wu et al. 2023, arXiv:2306.17775, twist a particle
filter likewise.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from dpm_ref import validation
from dpm_ref.binomial import Bernoulli
from dpm_ref.gaussian import Gaussian
from dpm_ref.posteriors.factors import LogFactor, Product, ask_states, check_column
from dpm_ref.protocols import Diffusion, Edge, Law, ReverseKernel, ask_law, checked_diffusion
from dpm_ref.reverse import Trajectory, sample_trajectory
from dpm_ref.validation import Array

__all__ = ["OverTime", "constant", "tempered", "diffused", "predicted", "Perturbed", "sample"]

OverTime = Callable[[int], Any]

_LEAST_PROB, _LEAST_VAR = 1e-4, 1e-3  # of a value of a predicted bit; of x^0, over 1 - abar_t


def constant(r: Any) -> OverTime:
    """r(x^t) = r(x) at every t."""
    return lambda t: r


def tempered(r: Any, T: int) -> OverTime:
    """r(x^t) = r(x)^((T - t) / T).

    >>> from dpm_ref.posteriors import GaussianFactor
    >>> print(tempered(GaussianFactor([1.0], 0.5), 4)(3).var)
    [2.]
    """
    power = validation.function("r's power", getattr(r, "power", None))
    steps = validation.count("T", T, 1)
    return lambda t: power((steps - validation.one_time("t", t, 0, steps)) / steps)


def diffused(r: Any, diffusion: Diffusion) -> OverTime:
    """r(x^t) = E r(x^0) over t forward steps from x^t, which are also the reverse steps of T_pi.

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import GaussianFactor
    >>> print(diffused(GaussianFactor([1.0], 0.5), GaussianDiffusion([0.5, 0.5]))(2).var)
    [5.]
    """
    check_column(r, diffusion)
    return lambda t: r._diffused(diffusion, t) if validation.one_time("t", t, 0, diffusion.T) else r


class Perturbed:
    """A model whose kernels are multiplied by r; called with (xt, t) it is a reverse kernel itself.

    Parameters
    ----------
    diffusion, reverse, edge : see `dpm_ref`
    r : callable t -> factor
        r(x^t), t = 0..T, such as `constant(factor)`. A factor of your own has `positive`, whether
        r > 0 everywhere; `log_r(x)`, log r at states (m, d), -inf where r is 0; and
        `multiply(law)`, a pair: the product with a law, and log Z~ or, of an approximation, None.

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import GaussianFactor, constant
    >>> diffusion = GaussianDiffusion([0.1, 0.5])
    >>> p = Perturbed(diffusion, diffusion.kernel, constant(GaussianFactor([1.0], 1.0)))
    >>> print("%.6f %.6f" % (p.prior(1).mean[0], p(np.zeros((1, 1)), 2).mean[0, 0]))
    0.500000 0.333333
    """

    def __init__(self, diffusion: Diffusion, reverse: ReverseKernel, r: OverTime,
                 edge: Edge = None) -> None:
        self.diffusion, self.reverse, self.r = checked_diffusion(diffusion), reverse, r
        self.edge = diffusion.edge if edge is None else edge
        self.T, self.law = diffusion.T, diffusion.law

    def factor(self, t: int) -> Any:
        """r(x^t), t in 0..T."""
        factor: Any = self.r(t) if callable(self.r) else None
        if not all(hasattr(factor, name) for name in ("positive", "log_r", "multiply")):
            rule = "r must be a callable t -> factor (which has positive, log_r and multiply)"
            raise ValueError(f"{rule}, such as constant(factor), got {self.r!r}")
        return factor

    def model(self, x: Array, t: int) -> Law:
        """The model's p(x^t | x^{t+1}) at states x (m, d); at t = T the prior, over (d,)."""
        if t == self.T:
            return self.diffusion.prior(x.shape[-1])
        asked = (self.reverse, "reverse", x, t + 1) if t else (self.edge, "edge", x)
        return ask_law(self.law, *asked)

    def multiply(self, law: Law, t: int) -> Product:
        """law r(x^t) / Z~, checked, since r may be a user's own."""
        product, log_z = self.factor(t).multiply(law)
        tilted = ask_law(self.law, lambda x: product, "r's product", np.empty(law.shape))
        if log_z is not None:
            log_z = np.broadcast_to(validation.below_infinity("r's log Z~", log_z), law.shape[:-1])
        return Product(tilted, log_z)

    def log_r(self, x: Array, t: int) -> Array:
        """log r(x^t) at states x (m, d)."""
        return ask_states(self.factor(t).log_r, "log r", x, validation.below_infinity, -1)

    def prior(self, d: int) -> Any:
        """p~(x^T), over (d,)."""
        return self.multiply(self.diffusion.prior(d), self.T).law

    def __call__(self, xt: Array, t: int, /) -> Any:
        """p~(x^{t-1} | x^t), t in 1..T."""
        xt, t = self.diffusion.check_data("xt", xt), validation.one_time("t", t, 1, self.T)
        return self.multiply(self.model(xt, t - 1), t - 1).law


def predicted(r: Any, diffusion: Any, reverse: ReverseKernel, edge: Edge = None) -> OverTime:
    """r(x^t) = Z~ of the model's own prediction of x^0 times r, a closed form.

    r, a GaussianFactor, BernoulliFactor or Clamp, is r(x^0), and returned at t = 0; the results at
    t >= 1 are positive. They are exact if the prediction is right and the components of x^0 are
    independent given x^t:

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import GaussianFactor
    >>> diffusion = GaussianDiffusion([0.1, 0.2, 0.5])
    >>> factor, x = GaussianFactor([1.0], 1.0), np.array([[0.3]])
    >>> exact = diffused(factor, diffusion)(3).log_r(x)          # for p = T_pi
    >>> ours = predicted(factor, diffusion, diffusion.kernel)(3).log_r(x)
    >>> print("%.6f %.6f" % (ours[0], exact[0]))
    -0.452348 -0.452348
    """
    check_column(r, diffusion)
    model = Perturbed(diffusion, reverse, constant(r), edge)

    def slope(x: Array, t: int) -> Any:
        before = predicted_data(model, x, t)
        after = r.multiply(before).law
        if diffusion.law is Gaussian:
            gain = diffusion.sqrt_abar(t) / diffusion.one_minus_abar(t)
            with np.errstate(over="ignore"):
                return gain * (after.mean - before.mean)
        given1, given0 = (diffusion.marginal(np.full(x.shape, bit), t) for bit in (1.0, 0.0))
        odds1, odds0 = given1.prob1 / given1.prob0, given0.prob1 / given0.prob0
        sign = np.where(x == 1, -1.0, 1.0)  # of the odds of the other value of x_i
        with_r, without = (q.prob1 * odds1**sign + q.prob0 * odds0**sign for q in (after, before))
        return sign * np.log(with_r / without)

    return lambda t: r if t == 0 else LogFactor(
        lambda x: r.multiply(predicted_data(model, x, t)).log_z, lambda x: slope(x, t))


def predicted_data(model: Perturbed, xt: Array, t: int) -> Any:
    """The law of x^0 over which the posterior's average is the kernel at xt (m, d), or the edge.

    Variances and probabilities are kept off 0: a kernel may be narrower than any such average.
    """
    diffusion, law = model.diffusion, model.model(xt, t - 1)
    if diffusion.law is Bernoulli:
        rho = law.prob1
        if t > 1:
            given1 = diffusion.posterior(np.ones_like(xt), xt, t).prob1
            given0 = diffusion.posterior(np.zeros_like(xt), xt, t).prob1
            rho = np.divide(rho - given0, given1 - given0, where=given1 > given0,
                            out=np.full(xt.shape, diffusion.pi1))  # where they are independent
        rho = np.clip(rho, _LEAST_PROB, 1.0 - _LEAST_PROB)
        return Bernoulli.unchecked(rho, 1.0 - rho)
    if t == 1:
        return law
    of_x0, of_xt = diffusion.posterior_coefficients(t)
    if of_x0 < 1e-150:  # x^{t-1} and x^0 are independent
        return diffusion.prior(xt.shape[1]).over(xt.shape)
    var = (law.var - diffusion.posterior_var(t)) / of_x0**2
    least = _LEAST_VAR * diffusion.one_minus_abar(t)
    return Gaussian((law.mean - of_xt * xt) / of_x0, np.maximum(var, least))


def sample(diffusion: Diffusion, reverse: ReverseKernel, r: OverTime, n: int, d: int, *,
           rng: np.random.Generator, keep: Iterable[int] = (),
           edge: Edge = None) -> Trajectory:
    """Draw n vectors along the perturbed trajectory: the paper's recipe, unweighted. Section 2.5.

    The draws are of p(x^0) r(x^0) / Z if r(x^t) = E[r(x^0) | x^t] and the product of kernel and r
    has independent components. Any other r over time samples another distribution, however large T
    (see `dpm_ref.posteriors`); `particle_filter` has the weights to correct it.

    Parameters
    ----------
    diffusion, reverse, r, edge : as for `Perturbed`
        ValueError for a `LogFactor` without a slope, which would leave kernels unchanged, and if r
        is 0 at all draws.
    n, d, keep : as for `reverse.sample_trajectory`, and so is the result

    >>> from dpm_ref import GaussianDiffusion
    >>> from dpm_ref.posteriors import Clamp, constant
    >>> diffusion, r = GaussianDiffusion([0.1, 0.5]), constant(Clamp([1.0, 0.0], [True, False]))
    >>> print(sample(diffusion, diffusion.kernel, r, 3, 2, rng=np.random.default_rng(0)).x0[:, 0])
    [1. 1. 1.]
    """
    kernels: Any = Perturbed(diffusion, reverse, r, edge)
    for t in range(diffusion.T + 1):
        if not getattr(kernels.factor(t), "has_slope", True):
            rule = "r must have a slope to shift kernels (a particle filter needs none)"
            raise ValueError(f"{rule}, got a LogFactor without one at t = {t}")
    path = sample_trajectory(kernels, kernels, n, d, rng=rng, keep=keep,
                             edge=lambda x1: kernels(x1, 1))
    if (kernels.log_r(path.x0, 0) == -np.inf).all():
        rule = "r must be positive somewhere on the model's support"
        raise ValueError(f"{rule}, got r(x^0) = 0 at every draw")
    return path

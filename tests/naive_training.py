"""The learning half as a textbook would write it: one state at a time, for real or complex
arguments.

Nothing here shares a line or a derivation with the package: f_mu and f_Sigma are the posterior's
mean and variance averaged over a predicted N(m, V) of x^0, f_b is a sum over both values of x^0,
the divergences are the formulas with logarithms, and what of K is fixed is its entropies and
cross-entropies one by one. Derivatives are complex steps of these scalars.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.1, 2.2 and 2.4; Kingma and Ba
2015, algorithm 1.
"""

from itertools import pairwise

import mpmath_oracle
import numpy as np

STEP = 1e-40  # a complex step has no cancellation, so it can be as small as this


# The network


class Network:
    """A tanh trunk with a readout for each time; flat parameters W1, b1, W2, b2, ..., R, c, S.

    The first rows of W1 belong to the time features.
    """

    def __init__(self, d_in, d_out, T, *, hidden, time_features=None, basis=None, skip=False):
        self.features = np.zeros((T - 1, 0)) if time_features is None else np.asarray(time_features)
        self.basis = np.eye(T - 1) if basis is None else np.asarray(basis)
        self.shapes = {}
        sizes = [self.features.shape[1] + d_in, *hidden]
        for k, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
            self.shapes[f"W{k}"], self.shapes[f"b{k}"] = (fan_in, fan_out), (fan_out,)
        self.shapes["R"], self.shapes["c"] = (
            (self.basis.shape[1], hidden[-1], d_out),
            (self.basis.shape[1], d_out),
        )
        if skip:
            self.shapes["S"] = (d_in, d_out)
        self.depth = len(hidden)
        self.size = sum(int(np.prod(shape)) for shape in self.shapes.values())

    @classmethod
    def like(cls, network):
        """The textbook's network of the same widths and tables."""
        tables = {"time_features": network.time_features, "basis": network.basis}
        shape = network.d_in, network.d_out, network.T
        return cls(*shape, hidden=network.widths, skip=network.skip, **tables)

    def named(self, params):
        """The parameters by name."""
        named, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + int(np.prod(shape))
            named[name] = params[start:stop].reshape(shape)
            start = stop
        return named

    def __call__(self, params, x, t):
        """The output (d_out,) for one state x (d_in,) at one time t."""
        p = self.named(params)
        h = np.concatenate([self.features[t - 2], x])
        h = np.tanh(np.einsum("i,ij->j", h, p["W1"]) + p["b1"])
        for k in range(2, self.depth + 1):
            h = np.tanh(np.einsum("i,ij->j", h, p[f"W{k}"]) + p[f"b{k}"])
        readout = sum(weight * R for weight, R in zip(self.basis[t - 2], p["R"], strict=True))
        offset = sum(weight * c for weight, c in zip(self.basis[t - 2], p["c"], strict=True))
        past = np.einsum("i,ij->j", x, p["S"]) if "S" in p else 0
        return np.einsum("i,ij->j", h, readout) + offset + past

    def everywhere(self, params, x, t):
        """The outputs (..., d_out) for states (..., d_in) at times that broadcast against the
        leading axes, one by one.
        """
        times = np.broadcast_to(t, x.shape[:-1])
        rows = [self(params, x[index], times[index]) for index in np.ndindex(x.shape[:-1])]
        return np.array(rows).reshape(*x.shape[:-1], -1)


# The Gaussian column, one state


class Gaussian:
    """f_mu, f_Sigma and K for a Gaussian diffusion with the rates beta."""

    def __init__(self, beta):
        tables, self.T = mpmath_oracle.Tables(beta), len(beta)
        self.beta = [None, *beta]
        self.abar = [float(tables.abar(t)) for t in range(self.T + 1)]
        self.one_minus_abar = [float(tables.one_minus_abar(t)) for t in range(self.T + 1)]

    def state(self, x0, noise, t):
        """x^t."""
        return np.sqrt(self.abar[t]) * x0 + np.sqrt(self.one_minus_abar[t]) * noise

    def inputs(self, xt, t):
        """What the network is given."""
        return xt

    def posterior(self, x0, xt, t):
        """Mean and variance of q(x^{t-1} | x^t, x^0), section 2.1."""
        of_x0, of_xt, var = self.coefficients(t)
        return of_x0 * x0 + of_xt * xt, var

    def coefficients(self, t):
        rate = self.beta[t]
        return (
            np.sqrt(self.abar[t - 1]) * rate / self.one_minus_abar[t],
            np.sqrt(1 - rate) * self.one_minus_abar[t - 1] / self.one_minus_abar[t],
            rate * self.one_minus_abar[t - 1] / self.one_minus_abar[t],
        )

    def kernel(self, out, xt, t):
        """Mean and variance of the posterior averaged over x^0 ~ N(m, V)."""
        F, g = np.split(out, 2)
        m, V = (
            np.sqrt(self.abar[t]) * xt + np.sqrt(self.one_minus_abar[t]) * F,
            self.one_minus_abar[t] * np.exp(g),
        )
        of_x0, of_xt, var = self.coefficients(t)
        return of_x0 * m + of_xt * xt, var + of_x0**2 * V

    def divergence(self, out, x0, noise, t):
        """KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ) at one state."""
        xt = self.state(x0, noise, t)
        (mean_q, var_q), (mean_p, var_p) = self.posterior(x0, xt, t), self.kernel(out, xt, t)
        return (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1).sum() / 2

    def fixed(self, x0):
        """log pi(x^0) + H_q(X^T|x^0) - H_q(X^1|x^0) + E log pi(x^T) - E log pi(x^1)."""

        def cross(abar, one_minus_abar):
            return -(np.log(2 * np.pi) + abar * x0**2 + one_minus_abar) / 2

        entropies = (np.log(self.one_minus_abar[self.T]) - np.log(self.one_minus_abar[1])) / 2
        terms = (
            entropies
            + cross(self.abar[self.T], self.one_minus_abar[self.T])
            - cross(self.abar[1], self.one_minus_abar[1])
            + cross(1, 0)
        )
        return terms.sum()


# The binomial column, one state


class Binomial:
    """f_b and K for a binomial diffusion with the rates beta and the prior pi_1."""

    def __init__(self, beta, prior):
        self.T, self.beta, self.prior = len(beta), [None, *beta], np.asarray(prior, dtype=float)
        self.abar = np.cumprod([1.0, *(1 - np.asarray(beta))])

    def prob(self, x, given, kept):
        """P(x | given) for a bit kept with probability `kept` and else drawn from the prior."""
        prior = np.where(x == 1, self.prior, 1 - self.prior)
        return kept * (x == given) + (1 - kept) * prior

    def state(self, x0, noise, t):
        """x^t, 1 where the noise is below q(x^t = 1 | x^0)."""
        return (noise < self.prob(1, x0, self.abar[t])).astype(float)

    def posterior(self, x, xt, x0, t):
        """q(x^{t-1} = x | x^t, x^0), by Bayes' rule over both values of x^{t-1}."""

        def joint(value):
            return self.prob(xt, value, 1 - self.beta[t]) * self.prob(value, x0, self.abar[t - 1])

        return joint(x) / (joint(0) + joint(1))

    def inputs(self, xt, t):
        """What the network is given: log q(x^t|1) - log q(x^t|0), bit by bit."""
        return np.log(self.prob(xt, 1, self.abar[t])) - np.log(self.prob(xt, 0, self.abar[t]))

    def predicted(self, out, xt, t):
        """P(x^0 = 1), its logit being logit pi + log q(x^t|1) - log q(x^t|0) + a."""
        return 1 / (
            1 + np.exp(-(np.log(self.prior) - np.log(1 - self.prior) + self.inputs(xt, t) + out))
        )

    def kernel(self, out, x, xt, t):
        """p(x^{t-1} = x | x^t), the posterior averaged over the predicted x^0."""
        r = self.predicted(out, xt, t)
        return r * self.posterior(x, xt, 1, t) + (1 - r) * self.posterior(x, xt, 0, t)

    def divergence(self, out, x0, noise, t):
        """KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ) at one state, a sum over both values."""
        xt, total = self.state(x0, noise, t), 0
        for x in (0, 1):
            q = self.posterior(x, xt, x0, t)
            total = total + (q * (np.log(q) - np.log(self.kernel(out, x, xt, t)))).sum()
        return total

    def fixed(self, x0):
        """log pi(x^0) + H_q(X^T|x^0) - H_q(X^1|x^0) + E log pi(x^T) - E log pi(x^1), sums over both
        values.
        """

        def log_prior(x):
            return np.log(np.where(x == 1, self.prior, 1 - self.prior))

        def expected(t):  # E[ log pi(x^t) - log q(x^t|x^0) ]
            probs = [(x, self.prob(x, x0, self.abar[t])) for x in (0, 1)]
            return sum((p * (log_prior(np.full(p.shape, x)) - np.log(p))).sum() for x, p in probs)

        return log_prior(x0).sum() + expected(self.T) - expected(1)


class Sigmoid(Binomial):
    """The paper's f_b: the logit of p(x^{t-1} = 1 | x^t) is the network's output, or that and
    T_pi's own.
    """

    def __init__(self, beta, prior, from_forward=False):
        super().__init__(beta, prior)
        self.from_forward = from_forward

    def inputs(self, xt, t):
        return xt

    def kernel(self, out, x, xt, t):
        forward = [
            self.prob(value, xt, 1 - self.beta[t]) if self.from_forward else 1.0
            for value in (x, 1 - x)
        ]
        sign = 1 if x == 1 else -1
        return forward[0] / (forward[0] + forward[1] * np.exp(-sign * out))


# The objective, and its derivatives


def objective(column, network, params, x0, t, noise):
    """K at fixed noise: the average over the states of fixed terms - (T - 1) divergence."""
    x0, times = np.broadcast_to(x0, noise.shape), np.broadcast_to(t, noise.shape[:-1])
    total = 0
    for index in np.ndindex(noise.shape[:-1]):
        xt = column.state(x0[index], noise[index], times[index])
        out = network(params, column.inputs(xt, times[index]), times[index])
        total = (
            total
            + column.fixed(x0[index])
            - (column.T - 1) * column.divergence(out, x0[index], noise[index], times[index])
        )
    return total / times.size


def gradient(function, x):
    """The derivative of a scalar by every entry of x, each by a complex step of its own."""
    grad = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1j * STEP
        grad[index] = function(moved).imag / STEP
    return grad


def slope(function, x, direction):
    """The derivative of a scalar along a direction."""
    return function(x + 1j * STEP * direction).imag / STEP


# Adam, algorithm 1 of Kingma and Ba


def adam(params, grads, rates, decay1=0.9, decay2=0.999, epsilon=1e-8):
    """One parameter through a run of gradients, in mpmath."""
    mp = mpmath_oracle.mp
    theta, m, v = mp.mpf(params), mp.mpf(0), mp.mpf(0)
    decay1, decay2, epsilon = mp.mpf(decay1), mp.mpf(decay2), mp.mpf(epsilon)
    for k, (grad, rate) in enumerate(zip(grads, rates, strict=True), start=1):
        grad = mp.mpf(grad)
        m = decay1 * m + (1 - decay1) * grad
        v = decay2 * v + (1 - decay2) * grad**2
        theta = theta - mp.mpf(rate) * (m / (1 - decay1**k)) / (
            mp.sqrt(v / (1 - decay2**k)) + epsilon
        )
    return theta

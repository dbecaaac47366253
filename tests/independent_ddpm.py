"""Somebody's implementation of everything that can be checked, as people write it: plain formulas
over tables built by a running product.

It shares nothing with the package, serves conventions of every kind, computes in float64 or float32
with tables in either, and makes a mistake where a test tells it to: `Somebody(beta, bend=...)`
bends its tables, `slips` changes a formula.
"""

from types import SimpleNamespace

import numpy as np

LOG_2PI = np.log(2 * np.pi)


class Somebody:
    """Tables, laws, divergences, bounds. Time comes as `first_t` counts it; variances, units and
    sums as declared.
    """

    def __init__(
        self,
        beta,
        *,
        prior=0.5,
        dtype="float64",
        table_dtype="float64",
        first_t=1,
        spread="var",
        unit="nats",
        components="sum",
        shape=None,
        bend=None,
    ):
        self.dtype, self.prior, self.first_t = np.dtype(dtype), np.dtype(dtype).type(prior), first_t
        self.spread, self.unit, self.components, self.shape = spread, unit, components, shape
        wide = np.dtype(table_dtype)
        beta = np.asarray(beta).astype(wide)
        self.T = len(beta)
        abar = np.cumprod(1 - beta, dtype=wide)
        prev = np.concatenate([np.ones(1, wide), abar[:-1]])
        tables = SimpleNamespace(
            beta=beta, alpha=1 - beta, abar=abar, lost=1 - abar, prev=prev, lost_prev=1 - prev
        )
        if bend is not None:
            bend(tables)
        self.tables, self.wide, self.made = tables, wide, {}

    # reading tables

    def read(self, name, t):
        """The entry for the paper's t, shaped to multiply vectors, in the working precision."""
        entry = self.at(name, t)
        return (
            np.asarray(entry, dtype=self.dtype)
            if np.ndim(t) == 0
            else self.over(np.asarray(entry, dtype=self.dtype))
        )

    def at(self, name, t):
        if name not in self.made:
            self.made[name] = self.formula(name)
        return self.made[name][np.asarray(t) - 1]

    def over(self, values):
        """Values for rows, against the components."""
        return values.reshape(values.shape + (1,) * self.n_components)

    @property
    def n_components(self):
        return 1 if self.shape is None else len(self.shape) - 1

    def formula(self, name):
        """A table over t = 1..T, in the precision in which tables are made."""
        s = self.tables
        with np.errstate(all="ignore"):
            return np.asarray(
                {
                    "beta": lambda: s.beta,
                    "alpha": lambda: s.alpha,
                    "abar": lambda: s.abar,
                    "abar_prev": lambda: s.prev,
                    "one_minus_abar": lambda: s.lost,
                    "sqrt_abar": lambda: np.sqrt(s.abar),
                    "sqrt_alpha": lambda: np.sqrt(s.alpha),
                    "sqrt_one_minus_abar": lambda: np.sqrt(s.lost),
                    "log_abar": lambda: np.log(s.abar),
                    "log_one_minus_abar": lambda: np.log(s.lost),
                    "log_snr": lambda: np.log(s.abar) - np.log(s.lost),
                    "sqrt_recip_abar": lambda: 1 / np.sqrt(s.abar),
                    "sqrt_recipm1_abar": lambda: np.sqrt(s.lost / s.abar),
                    "posterior_variance": lambda: s.beta * s.lost_prev / s.lost,
                    "posterior_log_variance": lambda: np.log(s.beta * s.lost_prev / s.lost),
                    "posterior_coefficient_x0": lambda: np.sqrt(s.prev) * s.beta / s.lost,
                    "posterior_coefficient_xt": lambda: np.sqrt(s.alpha) * s.lost_prev / s.lost,
                    "lost_prev": lambda: s.lost_prev,
                }[name](),
                dtype=self.wide,
            )

    def time(self, t):
        return t + 1 - self.first_t

    # conventions

    def var(self, given):
        return {"var": lambda: given, "std": lambda: given**2, "logvar": lambda: np.exp(given)}[
            self.spread
        ]()

    def as_spread(self, var, like):
        var = np.broadcast_to(var, like.shape)
        return {
            "var": lambda: np.array(var),
            "std": lambda: np.sqrt(var),
            "logvar": lambda: np.log(var),
        }[self.spread]()

    def total(self, terms):
        """Nats of components, (..., components), as declared."""
        terms = np.asarray(terms)
        axes = tuple(range(-self.n_components, 0))
        reduced = {
            "sum": lambda: terms.sum(axes),
            "mean": lambda: terms.mean(axes),
            "none": lambda: terms,
        }[self.components]()
        return reduced / np.log(2).astype(self.dtype) if self.unit == "bits" else reduced

    # laws

    def kernel_mean(self, x, t):
        return self.read("sqrt_alpha", self.time(t)) * x

    def kernel_var(self, x, t):
        return self.as_spread(self.read("beta", self.time(t)), x)

    def marginal_mean(self, x0, t):
        return self.read("sqrt_abar", self.time(t)) * x0

    def marginal_var(self, x0, t):
        return self.as_spread(self.read("one_minus_abar", self.time(t)), x0)

    def marginal_log_var(self, x0, t):
        return np.broadcast_to(self.read("log_one_minus_abar", self.time(t)), x0.shape).copy()

    def q_sample(self, x0, t, noise):
        t = self.time(t)
        return self.read("sqrt_abar", t) * x0 + self.read("sqrt_one_minus_abar", t) * noise

    def posterior_mean(self, x0, xt, t):
        return self._posterior_mean(x0, xt, self.time(t))

    def _posterior_mean(self, x0, xt, t):
        return (
            self.read("posterior_coefficient_x0", t) * x0
            + self.read("posterior_coefficient_xt", t) * xt
        )

    def posterior_var(self, x0, xt, t):
        return self.as_spread(self.read("posterior_variance", self.time(t)), x0)

    def posterior_log_var(self, x0, xt, t):
        return np.broadcast_to(self.read("posterior_log_variance", self.time(t)), x0.shape).copy()

    def x0_from_eps(self, xt, t, eps):
        t = self.time(t)
        return self.read("sqrt_recip_abar", t) * xt - self.read("sqrt_recipm1_abar", t) * eps

    def mean_from_eps(self, xt, t, eps):
        t = self.time(t)
        return (xt - self.read("beta", t) / self.read("sqrt_one_minus_abar", t) * eps) / self.read(
            "sqrt_alpha", t
        )

    def sample_step(self, mean, var, noise):
        return mean + np.sqrt(self.var(var)) * noise

    def perturbed_mean(self, mean, var, grad):
        return mean + self.var(var) * grad

    def factor_mean(self, mean, var, y, var_y):
        p, q = 1 / self.var(var), 1 / self.var(var_y)
        return (p * mean + q * y) / (p + q)

    def factor_var(self, mean, var, y, var_y):
        return self.as_spread(1 / (1 / self.var(var) + 1 / self.var(var_y)), mean)

    # information

    @staticmethod
    def kl(mean_q, var_q, mean_p, var_p):
        return (
            (np.log(var_p) - np.log(var_q)) / 2
            + (var_q + (mean_q - mean_p) ** 2) / (2 * var_p)
            - 1 / 2
        )

    @staticmethod
    def log_normal(x, mean, var):
        return (
            -((x - mean) ** 2) / (2 * var)
            - np.log(var) / 2
            - np.asarray(LOG_2PI / 2, dtype=x.dtype)
        )

    @staticmethod
    def h_normal(var):
        return (np.asarray(LOG_2PI + 1, dtype=var.dtype) + np.log(var)) / 2

    @staticmethod
    def xlogy(x, y):
        return np.where(x == 0, 0, x * np.log(np.where(x == 0, 1, y)))

    def kl_bits(self, q1, q0, p1, p0):
        return self.xlogy(q1, q1) - self.xlogy(q1, p1) + self.xlogy(q0, q0) - self.xlogy(q0, p0)

    def h_bits(self, p1, p0):
        return -self.xlogy(p1, p1) - self.xlogy(p0, p0)

    def gaussian_kl(self, mean_q, var_q, mean_p, var_p):
        return self.total(self.kl(mean_q, self.var(var_q), mean_p, self.var(var_p)))

    def gaussian_kl_grad_mean(self, mean_q, var_q, mean_p, var_p):
        return self.share((mean_p - mean_q) / self.var(var_p))

    def gaussian_kl_grad_var(self, mean_q, var_q, mean_p, var_p):
        v = self.var(var_p)
        slope = 1 / (2 * v) - (self.var(var_q) + (mean_q - mean_p) ** 2) / (2 * v**2)
        return self.share(
            slope
            * {"var": lambda: 1, "std": lambda: 2 * np.sqrt(v), "logvar": lambda: v}[self.spread]()
        )

    def share(self, slope):
        """The derivative of what `total` returns."""
        slope = (
            slope / int(np.prod(slope.shape[-self.n_components :]))
            if self.components == "mean"
            else slope
        )
        return slope / np.log(2).astype(self.dtype) if self.unit == "bits" else slope

    def gaussian_entropy(self, var):
        return self.total(self.h_normal(self.var(var)))

    def gaussian_log_prob(self, x, mean, var):
        return self.total(self.log_normal(x, mean, self.var(var)))

    def bernoulli_kl(self, q1, p1):
        return self.total(self.kl_bits(q1, 1 - q1, p1, 1 - p1))

    def bernoulli_kl_grad(self, q1, p1):
        return self.share((1 - q1) / (1 - p1) - q1 / p1)

    def bernoulli_entropy(self, p1):
        return self.total(self.h_bits(p1, 1 - p1))

    def bernoulli_log_prob(self, bit, p1):
        return self.total(np.log(np.where(bit == 1, p1, 1 - p1)))

    def log_likelihood(self, log_w):
        unit = np.log(2) if self.unit == "bits" else 1.0
        log_w = log_w * self.dtype.type(unit)
        top = np.maximum(log_w.max(0), np.finfo(self.dtype).min)  # weights may all be zero
        return (top + np.log(np.exp(log_w - top).sum(0)) - np.log(log_w.shape[0])) / unit

    # K, Gaussian column

    def kl_term(self, x0, xt, t, mean, var):
        t = self.time(t)
        return self.total(
            self.kl(
                self._posterior_mean(x0, xt, t),
                self.read("posterior_variance", t),
                mean,
                self.var(var),
            )
        )

    def prior_kl(self, x0):
        return self.total(
            self.kl(self.read("sqrt_abar", self.T) * x0, self.read("one_minus_abar", self.T), 0, 1)
        )

    def lower_bound(self, x0, xs, means, spreads):
        return self.total(self.bound(self.terms(x0, xs, means, spreads)))

    def eq14(self, x0, xs, means, spreads):
        return self.total(self.fourteen(self.terms(x0, xs, means, spreads)).mean(0))

    def bound(self, k):
        return k.prior + k.cross_T - k.cross_1 + k.H_T - k.H_1 - sum(k.kls)

    def fourteen(self, k):
        return k.H_T - k.H_1 - k.H_pi - sum(k.kls)

    def terms(self, x0, xs, means, spreads):
        kls = [
            self.kl(
                self._posterior_mean(x0, xs[t - 2], t),
                self.read("posterior_variance", t),
                means[t - 2],
                self.var(spreads[t - 2]),
            )
            for t in range(2, self.T + 1)
        ]
        one = np.ones_like(x0)

        def cross(t):
            return (
                -(
                    self.read("abar", t) * x0**2
                    + self.read("one_minus_abar", t)
                    + self.dtype.type(LOG_2PI)
                )
                / 2
            )

        return SimpleNamespace(
            kls=kls,
            prior=self.log_normal(x0, 0 * one, one),
            cross_T=cross(self.T),
            cross_1=cross(1),
            T=self.T,
            H_T=self.h_normal(self.read("one_minus_abar", self.T) * one),
            H_1=self.h_normal(self.read("one_minus_abar", 1) * one),
            H_pi=self.h_normal(one),
        )

    def log_weights(self, path, means, spreads):
        return self.total(self.weight(self.steps(path, means, spreads)))

    def weight(self, w):
        return w.prior + sum(w.p) - sum(w.q)

    def steps(self, path, means, spreads):
        var, one = self.var(spreads), np.ones_like(path[0])
        times = range(1, self.T + 1)
        return SimpleNamespace(
            prior=self.log_normal(path[-1], 0 * one, one),
            p=[self.log_normal(path[t - 1], means[t - 1], var[t - 1]) for t in times],
            q=[
                self.log_normal(
                    path[t], self.read("sqrt_alpha", t) * path[t - 1], self.read("beta", t)
                )
                for t in times
            ],
            marginal=[
                self.log_normal(
                    path[t], self.read("sqrt_abar", t) * path[0], self.read("one_minus_abar", t)
                )
                for t in times
            ],
        )

    def entropy_lower_bound(self, x0, t):
        return self.total(self.lower(self.entropies(x0, self.time(t))))

    def entropy_upper_bound(self, x0, t):
        return self.total(self.entropies(x0, self.time(t)).step)

    def lower(self, h):
        return h.step + h.before - h.now

    def entropies(self, x0, t):
        one = np.ones_like(x0[0])
        return SimpleNamespace(
            step=self.h_normal(self.read("beta", t) * one),
            before=self.h_normal(self.read("lost_prev", t) * one),
            now=self.h_normal(self.read("one_minus_abar", t) * one),
        )

    # the binomial column

    def pair(self, x, kept, lost):
        """P(1) and P(0) of a bit kept, or else drawn anew."""
        return x * kept + self.prior * lost, (1 - x) * kept + (1 - self.prior) * lost

    def binomial_kernel(self, x, t):
        return self._bits_kernel(x, self.time(t))[0]

    def _bits_kernel(self, x, t):
        return self.pair(x, self.read("alpha", t), self.read("beta", t))

    def binomial_marginal(self, x0, t):
        t = self.time(t)
        return self.pair(x0, self.read("abar", t), self.read("one_minus_abar", t))[0]

    def binomial_posterior(self, x0, xt, t):
        return self.normalised(self.joint(x0, xt, self.time(t)))[0]

    def joint(self, x0, xt, t):
        before = self.pair(x0, self.read("abar_prev", t), self.read("lost_prev", t))
        reach = [self._bits_kernel(np.full_like(xt, value), t) for value in (1, 0)]
        return [np.where(xt == 1, *up) * prob for up, prob in zip(reach, before, strict=True)]

    @staticmethod
    def normalised(joint):
        return joint[0] / (joint[0] + joint[1]), joint[1] / (joint[0] + joint[1])

    def binomial_edge(self, x1):
        return self._bits_kernel(x1, 1)[0]

    def perturbed_bits(self, prob, log_r1, log_r0):
        logit = np.log(prob / (1 - prob)) + log_r1 - log_r0
        return 1 / (1 + np.exp(-logit))

    def binomial_lower_bound(self, x0, xs, probs):
        return self.total(self.bound(self.bit_terms(x0, xs, probs)))

    def binomial_eq14(self, x0, xs, probs):
        return self.total(self.fourteen(self.bit_terms(x0, xs, probs)).mean(0))

    def bit_terms(self, x0, xs, probs):
        kls = []
        for t in range(2, self.T + 1):
            q = self.normalised(self.joint(x0, xs[t - 2], t))
            kls.append(self.kl_bits(*q, probs[t - 2], 1 - probs[t - 2]))
        last, first = (
            self.pair(x0, self.read("abar", t), self.read("one_minus_abar", t)) for t in (self.T, 1)
        )
        logs = np.log(self.prior), np.log(1 - self.prior)

        def cross(p):
            return p[0] * logs[0] + p[1] * logs[1]

        one = np.ones_like(x0)
        return SimpleNamespace(
            kls=kls,
            prior=cross((x0, 1 - x0)),
            cross_T=cross(last),
            cross_1=cross(first),
            T=self.T,
            H_T=self.h_bits(*last),
            H_1=self.h_bits(*first),
            H_pi=-cross((self.prior * one, (1 - self.prior) * one)),
        )

    def binomial_log_weights(self, path, probs):
        return self.total(self.weight(self.bit_steps(path, probs)))

    def bit_steps(self, path, probs):
        def log(x, pair):
            return np.log(np.where(x == 1, *pair))

        times, pi = range(1, self.T + 1), (self.prior, 1 - self.prior)
        return SimpleNamespace(
            prior=log(path[-1], pi),
            p=[log(path[t - 1], (probs[t - 1], 1 - probs[t - 1])) for t in times],
            q=[log(path[t], self._bits_kernel(path[t - 1], t)) for t in times],
            marginal=[
                log(
                    path[t],
                    self.pair(path[0], self.read("abar", t), self.read("one_minus_abar", t)),
                )
                for t in times
            ],
        )

    def binomial_entropy_lower_bound(self, x0, t):
        return self.total(self.lower(self.bit_entropies(x0, self.time(t))))

    def binomial_entropy_upper_bound(self, x0, t):
        return self.total(self.bit_entropies(x0, self.time(t)).step)

    def bit_entropies(self, x0, t):
        before = self.pair(x0, self.read("abar_prev", t), self.read("lost_prev", t))
        now = self.pair(x0, self.read("abar", t), self.read("one_minus_abar", t))
        step = sum(
            prob * self.h_bits(*self._bits_kernel(np.full_like(x0, value), t))
            for value, prob in zip((1, 0), before, strict=True)
        )
        return SimpleNamespace(
            step=step.mean(0), before=self.h_bits(*before).mean(0), now=self.h_bits(*now).mean(0)
        )


TABLES = (
    "beta",
    "alpha",
    "abar",
    "abar_prev",
    "one_minus_abar",
    "sqrt_abar",
    "sqrt_one_minus_abar",
    "log_abar",
    "log_one_minus_abar",
    "log_snr",
    "sqrt_recip_abar",
    "sqrt_recipm1_abar",
    "posterior_variance",
    "posterior_log_variance",
    "posterior_coefficient_x0",
    "posterior_coefficient_xt",
)


def functions(names, beta, **options):
    """A mapping of the named subjects to somebody's functions; tables are arrays."""
    person = Somebody(beta, **options)
    return {
        name: person.formula(name) if name in TABLES else getattr(person, name) for name in names
    }

"""What can be checked: each quantity as an expression over the schedule's tables, in nats.

The catalogue is text: name and other names, arguments, kind, summary, and the formula, in as many
forms as people write it (`;`). In formulas `rest` is 1 - abar_t, `_prev` stands for t - 1, `c0` and
`c1` are the coefficients of the posterior's mean and `post` is its variance; arguments that begin
with `var` are variances. A formula that needs more than a line is a function of the conventions.
"""

import ast
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .conventions import Conventions
from .expressions import TABLES, Expr, number, op, term

__all__ = ["ALIASES", "QUANTITIES", "Quantity", "kind_of", "presented"]

Law = tuple[Expr, Expr]
CATALOGUE = """
@ Table App.1 | table
beta betas | t | table | beta_t | beta
alpha alphas | t | table | alpha_t = 1 - beta_t | alpha
abar alphas_cumprod alpha_bar alphas_bar | t | table | prod_{s<=t} (1 - beta_s) | abar
abar_prev alphas_cumprod_prev | t | table | abar_{t-1}, 1 at t = 1 | abar_prev
one_minus_abar one_minus_alphas_cumprod | t | table | 1 - abar_t | rest
sqrt_abar sqrt_alphas_cumprod | t | table | sqrt(abar_t) | sqrt(abar)
sqrt_one_minus_abar sqrt_one_minus_alphas_cumprod | t | table | sqrt(1 - abar_t) | sqrt(rest)
log_abar log_alphas_cumprod | t | table | log abar_t | log(abar)
log_one_minus_abar log_one_minus_alphas_cumprod | t | table | log(1 - abar_t) | log(rest)
log_snr logsnr | t | table | log abar_t - log(1 - abar_t) | log(abar) - log(rest); log(abar / rest)
snr | t | table | abar_t / (1 - abar_t) | abar / rest
sqrt_recip_abar sqrt_recip_alphas_cumprod | t | table | 1 / sqrt(abar_t) | 1 / sqrt(abar)
sqrt_recipm1_abar sqrt_recipm1_alphas_cumprod | t | table | sqrt(1 / abar_t - 1) |
    sqrt(rest / abar); sqrt(1 / abar - 1)
posterior_variance | t | table | beta_t (1 - abar_{t-1}) / (1 - abar_t) | post
posterior_log_variance posterior_log_variance_clipped | t | table | its logarithm | log(post)
posterior_coefficient_x0 posterior_mean_coef1 | t | table | of x^0 in the posterior's mean | c0
posterior_coefficient_xt posterior_mean_coef2 | t | table | of x^t in the posterior's mean | c1
vlb_weight loss_weight lvlb_weights | t | table | weight of |eps - eps_hat|^2 in the bound, t >= 2 |
    0.5 * beta**2 / ruled / alpha / rest
vlb_weight_x0 loss_weight_x0 | t | table | weight of |x0 - x0_hat|^2 in the bound, t >= 2 |
    0.5 * (abar_prev / rest_prev - abar / rest); 0.5 * c0**2 / post
@ Table App.1 | times
kernel_mean | x_prev t | state | mean of q(x^t | x^{t-1}) | sqrt(alpha) * x_prev
kernel_var | x_prev t | var | variance of q(x^t | x^{t-1}) | beta
marginal_mean | x0 t | state | mean of q(x^t | x^0) | sqrt(abar) * x0
marginal_var | x0 t | var | variance of q(x^t | x^0) | rest
marginal_log_var | x0 t | state | log variance of q(x^t | x^0) | log(rest)
posterior_mean | x0 xt t | state | mean of q(x^{t-1} | x^t, x^0) |
    term("the term of x0", c0 * x0) + term("the term of xt", c1 * xt)
posterior_var | x0 xt t | var | variance of q(x^{t-1} | x^t, x^0) | post
posterior_log_var | x0 xt t | state | log variance of q(x^{t-1} | x^t, x^0) | log(post)
q_sample marginal_sample add_noise | x0 t noise | state | x^t from x^0 and standard normal noise |
    sqrt(abar) * x0 + sqrt(rest) * noise
velocity predict_v get_velocity | x0 t noise | state | velocity from x^0 and noise |
    sqrt(abar) * noise - sqrt(rest) * x0
x0_from_eps predict_xstart_from_eps predict_start_from_noise | xt t eps | state |
    x^0 from x^t and its noise |
    (xt - sqrt(rest) * eps) / sqrt(abar); sqrt(1 / abar) * xt - sqrt(1 / abar - 1) * eps
x0_from_v predict_start_from_v | xt t v | state | x^0 from x^t and the velocity |
    sqrt(abar) * xt - sqrt(rest) * v
x0_from_score | xt t score | state | x^0 from x^t and the score | (xt + rest * score) / sqrt(abar)
eps_from_x0 predict_noise_from_start | xt t x0 | state | the noise from x^t and x^0 |
    (xt - sqrt(abar) * x0) / sqrt(rest); (sqrt(1 / abar) * xt - x0) / sqrt(1 / abar - 1)
eps_from_v predict_eps_from_v | xt t v | state | the noise from x^t and the velocity |
    sqrt(rest) * xt + sqrt(abar) * v
eps_from_score | xt t score | state | the noise from the score | -(sqrt(rest) * score)
v_from_x0 | xt t x0 | state | the velocity from x^t and x^0 |
    (sqrt(abar) * xt - x0) / sqrt(rest);
    sqrt(abar) * (xt - sqrt(abar) * x0) / sqrt(rest) - sqrt(rest) * x0
v_from_eps | xt t eps | state | the velocity from x^t and the noise |
    (eps - sqrt(rest) * xt) / sqrt(abar);
    sqrt(abar) * eps - sqrt(rest) * (xt - sqrt(rest) * eps) / sqrt(abar)
v_from_score | xt t score | state | the velocity from x^t and the score |
    -(sqrt(rest) * (xt + score) / sqrt(abar));
    -(sqrt(abar) * sqrt(rest) * score) - sqrt(rest) * (xt + rest * score) / sqrt(abar)
score_from_x0 | xt t x0 | state | the score of q(x^t | x^0) | -((xt - sqrt(abar) * x0) / rest)
score_from_eps | xt t eps | state | the score from the noise | -(eps / sqrt(rest))
score_from_v | xt t v | state | the score from x^t and the velocity |
    -((sqrt(rest) * xt + sqrt(abar) * v) / sqrt(rest))
mean_from_eps | xt t eps | state | mean of p(x^{t-1} | x^t) from the noise predicted | mean_hat
mean_from_x0 | xt t x0 | state | mean of p(x^{t-1} | x^t) from the x^0 predicted | mean_hat
mean_from_v | xt t v | state | mean of p(x^{t-1} | x^t) from the velocity predicted | mean_hat
mean_from_score | xt t score | state | mean of p(x^{t-1} | x^t) from the score predicted | mean_hat
learned_range_var | w t | var | variance between the posterior's and beta_t, at w in [-1, 1] |
    exp(0.5 * (w + 1) * log(beta) + (1 - 0.5 * (w + 1)) * log(post))
ddim_step | xt t eps noise | state | DDIM's x^{t-1}, its equation (12), at eta | ddim_step
prior_kl prior_bpd | x0 | nats | KL( q(x^T|x^0) || pi ) | prior_kl
binomial_kernel | x_prev t | prob | q(x^t = 1 | x^{t-1}) | x_prev * alpha + pi1 * beta
binomial_marginal | x0 t | prob | q(x^t = 1 | x^0) | x0 * abar + pi1 * rest
binomial_posterior | x0 xt t | prob | q(x^{t-1} = 1 | x^t, x^0) | binomial_posterior
binomial_edge | x1 | prob | p(x^0 = 1 | x^1), App. B.2 | x1 * alpha_1 + pi1 * beta_1
binomial_prior_kl | x0 | nats | KL( q(x^T|x^0) || pi ) | prior_kl
@ (5) | term
reverse_step p_sample | xt t output noise reverse_var | state |
    x^{t-1} from x^t, a network's output and noise | reverse_step
@ (5) | pairs
sample_step | mean var noise | state | x^{t-1} from mean, variance and noise |
    mean + term("the noise", sqrt(var) * noise)
@ section 2.5 | pairs
perturbed_mean | mean var grad_log_r | state | mean times a smooth r, of gradient grad log r there |
    mean + term("grad_log_r", var * grad_log_r)
factor_mean | mean var y var_y | state | mean of N(mean, var) times N(x; y, var_y) |
    (mean * var_y + y * var) / (var + var_y); (mean / var + y / var_y) / (1 / var + 1 / var_y)
factor_var | mean var y var_y | var | variance of N(mean, var) times N(x; y, var_y) |
    var * var_y / (var + var_y); 1 / (1 / var + 1 / var_y)
perturbed_bits | prob log_r1 log_r0 | prob | probability of 1, of a distribution multiplied by r |
    sigmoid(log(prob / (1 - prob)) + log_r1 - log_r0);
    prob * exp(log_r1) / (prob * exp(log_r1) + (1 - prob) * exp(log_r0))
@ (14) | pairs
gaussian_kl normal_kl | mean_q var_q mean_p var_p | nats | KL(q || p) of Gaussians | gaussian_kl
gaussian_kl_grad_mean | mean_q var_q mean_p var_p | slope | derivative of KL(q || p) by p's mean |
    (mean_p - mean_q) / var_p
gaussian_kl_grad_var | mean_q var_q mean_p var_p | slope_var |
    derivative of KL(q || p) by p's variance |
    term("1 / var_p", 0.5 / var_p) - term("the variances' ratio", 0.5 * var_q / var_p**2)
    - term("the means' square", 0.5 * (mean_q - mean_p)**2 / var_p**2)
gaussian_entropy | var | nats | entropy of a Gaussian | gaussian_entropy
gaussian_log_prob normal_log_prob | x mean var | nats | log density of a Gaussian | log_density
bernoulli_kl | q1 p1 | nats | KL(q || p) of bits | bernoulli_kl
bernoulli_kl_grad | q1 p1 | slope | derivative of KL(q || p) by p's probability of 1 |
    (1 - q1) / (1 - p1) - q1 / p1
bernoulli_entropy | p1 | nats | entropy of bits | bernoulli_entropy
bernoulli_log_prob | bit p1 | nats | log probability of bits |
    term("the term of x = 1", xlogy(bit, p1)) + term("the term of x = 0", xlogy(1 - bit, 1 - p1))
@ (9) | weights
log_likelihood | log_w | nats_row | log mean w from log w, over the first axis |
    term("the largest weight", max(log_w)) - term("log n", log(count(log_w)))
    + term("the log of the sum", log(sum(exp(log_w - max(log_w)))))
@ (14) | term
kl_term | x0 xt t mean reverse_var | nats | KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ) | kl_term
binomial_kl_term | x0 xt t prob | nats | KL( q(x^{t-1}|x^t,x^0) || p ) of bits | kl_term
@ (13) | bound
lower_bound K elbo | x0 xs means vars | nats | K(x^0) at given x^2..x^T and reverse kernels | bound
binomial_lower_bound binomial_K | x0 xs probs | nats | the same of bits | bound
@ (14) | bound
eq14 | x0 xs means vars | nats | K averaged, for data that meet its precondition | bound
binomial_eq14 | x0 xs probs | nats | the same of bits | bound
@ (9) | path
log_weights | trajectory means vars | nats | log w of trajectories, t = 1..T | weight
binomial_log_weights | trajectory probs | nats | the same of bits | weight
@ (24) | entropy
entropy_lower_bound | x0 t | nats | lower side, of the whole vector, t >= 2 | entropies
entropy_upper_bound | x0 t | nats | upper side, where its condition holds | entropies
binomial_entropy_lower_bound | x0 t | nats | lower side, of the whole vector, t >= 2 | entropies
binomial_entropy_upper_bound | x0 t | nats | upper side, where its condition holds | entropies
@ DDPM (5) | decoder
decoder_log_prob discretized_gaussian_log_likelihood | x0 mean var | nats |
    log probability of x^0 of 256 levels in [-1, 1] | log_bin(x0, mean, sqrt(var))
@ DDPM (5) | loop
kl_sum | model x0 | nats | sum of the KL terms t = 2..T under a model | loop
nll vlb bpd calc_bpd_loop | model x0 | nats | prior KL, KL terms and L_0 of a model | loop
@ DDPM (5) | step
vlb_term vb_terms_bpd model_kl_term | model x0 xt t | nats | KL term of a model, L_0 at t = 1 | loop
"""
LATER_ONLY = ("mean_from_", "posterior_mean", "posterior_var", "posterior_log_var", "learned_range",
    "kl_term", "binomial_kl_term", "binomial_posterior", "entropy_", "binomial_entropy_")


@dataclass(frozen=True, eq=False)
class Quantity:
    name: str
    equation: str
    summary: str
    every: tuple[str, ...]  # its arguments; the variances among them only where they are given
    kind: str  # table, state, prob, var, nats, nats_row, slope or slope_var
    drawn: str  # which inputs
    formula: str

    @property
    def bits(self) -> bool:
        return self.name.startswith("binomial")

    @property
    def whole(self) -> bool:
        """One result for the batch."""
        return self.name.endswith("eq14") or ("entropy_" in self.name and self.drawn == "entropy")

    @property
    def scheduled(self) -> bool:
        return self.drawn not in ("pairs", "weights", "decoder")

    @property
    def first(self) -> int:
        """The first t that is asked for."""
        return 2 if self.kind != "table" and self.name.startswith(LATER_ONLY) else 1

    def arguments(self, c: Conventions) -> tuple[str, ...]:
        dropped = ({"reverse_var", "vars"} if c.reverse_var != "given" and self.drawn != "path"
            else set())
        if c.own_noise:
            dropped.add("noise")
        return tuple(a for a in self.every if a not in dropped)

    def trees(self, c: Conventions) -> list[Expr]:
        return [presented(self, c, tree) for tree in forms(self, c)]


@functools.lru_cache(maxsize=512)
def forms(q: Quantity, c: Conventions) -> list[Expr]:
    """The formula in every form."""
    if q.formula in FORMULAS:
        made = FORMULAS[q.formula](q, c)
        return made if isinstance(made, list) else [made]
    return [parsed(form, c) for form in q.formula.split(";")]


def presented(q: Quantity, c: Conventions, tree: Expr) -> Expr:
    """The result as the code under test should return it."""
    if q.whole:
        tree = op("batch", tree)
    if q.kind == "var":
        return op("write", tree, kind=c.spread)
    if q.kind == "slope_var" and c.spread != "var":
        slope = V(c, "var_p") if c.spread == "logvar" else 2 * op("sqrt", V(c, "var_p"))
        tree = tree * slope
    if q.kind == "nats":
        tree = op("components", tree, kind=c.components)
    if q.kind.startswith("slope") and c.components == "mean":
        tree = tree / op("d")
    return op("unit", tree, kind=c.unit) if q.kind.startswith(("nats", "slope")) else tree


def kind_of(argument: str) -> str:
    if argument in ("t", "log_w", "model"):
        return {"t": "time", "log_w": "nats", "model": "model"}[argument]
    return "var" if argument.startswith("var") or argument == "reverse_var" else "state"


# Letters


class Times:
    """The tables at these times."""

    def __init__(self, at: str) -> None:
        self.beta, self.alpha, self.abar, self.rest, self.abar_prev, self.rest_prev = (
            Expr("table", name=name, at=at) for name in TABLES)

    @property
    def c0(self) -> Expr:
        return sqrt(self.abar_prev) * self.beta / self.rest

    @property
    def c1(self) -> Expr:
        return sqrt(self.alpha) * self.rest_prev / self.rest

    @property
    def post(self) -> Expr:
        return self.beta * self.rest_prev / self.rest


def A(name: str) -> Expr:
    return Expr("input", name=name)


def V(c: Conventions, name: str) -> Expr:
    """An argument that is a variance, read from how it is handed over."""
    return op("read", A(name), kind=c.spread)


def sqrt(x: Expr) -> Expr:
    return op("sqrt", x)


def log(x: Expr) -> Expr:
    return op("log", x)


def square(x: Expr) -> Expr:
    return op("square", x)


S, LAST, FIRST, SECOND, LATER, ALL = map(Times, ("t", "T", "1", "2", "2..T", "1..T"))
X0, XT, PI = map(A, ("x0", "xt", "pi1"))


def parsed(text: str, c: Conventions) -> Expr:
    """A formula written in the letters above."""
    letters = vars(S) | {"c0": S.c0, "c1": S.c1, "post": S.post, "alpha_1": FIRST.alpha,
        "beta_1": FIRST.beta, "ruled": S.beta if c.reverse_var == "beta" else S.post}

    def made(node: Any) -> Expr:
        if isinstance(node, ast.Constant):
            return number(float(node.value))  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            known = letters.get(node.id) or (V(c, node.id) if kind_of(node.id) == "var"
                else A(node.id))
            return (op("unit", known, kind="the wrong way" if c.unit == "bits" else "nats")
                if (node.id == "log_w") else known)
        if isinstance(node, ast.UnaryOp):
            return -made(node.operand)
        if isinstance(node, ast.Call):
            name = node.func.id  # type: ignore[attr-defined]
            if name == "term":
                return term(node.args[0].value, made(node.args[1]))  # type: ignore[attr-defined]
            return op(name, *map(made, node.args))
        a, b = made(node.left), made(node.right)
        return {"Add": lambda: a + b, "Sub": lambda: a - b, "Mult": lambda: a * b, "Div": lambda: a
            / b, "Pow": lambda: square(a)}[type(node.op).__name__]()

    return made(ast.parse(" ".join(text.split()), mode="eval").body)


# Formulas of one component: both columns of Table App.1 with the same names


class gaussian:
    """A distribution is (mean, var)."""

    prior: Law = (number(0.0), number(1.0))

    @staticmethod
    def kernel(s: Times, x: Expr) -> Law:
        return sqrt(s.alpha) * x, s.beta

    @staticmethod
    def marginal(s: Times, x0: Expr) -> Law:
        return sqrt(s.abar) * x0, s.rest

    @staticmethod
    def before(s: Times, x0: Expr) -> Law:
        return sqrt(s.abar_prev) * x0, s.rest_prev

    @staticmethod
    def posterior(s: Times, x0: Expr, xt: Expr) -> Law:
        return term("the term of x0", s.c0 * x0) + term("the term of xt", s.c1 * xt), s.post

    @staticmethod
    def reverse(c: Conventions, s: Times) -> Law:
        return A("means"), ruled(c, s, "vars") if s is LATER else V(c, "vars")

    @staticmethod
    def kl(q: Law, p: Law) -> Expr:
        return (term("the log of the variances' ratio", 0.5 * log(p[1] / q[1]))
            + term("the variances' ratio", 0.5 * q[1] / p[1])
            + term("the means' square", 0.5 * square(q[0] - p[0]) / p[1])
            + term("-1/2", number(-0.5)))

    @staticmethod
    def log_prob(x: Expr, p: Law) -> Expr:
        return (term("log 2 pi", number(-0.5 * LOG_2PI)) + term("log var", -(0.5 * log(p[1])))
            + term("the square", -(0.5 * square(x - p[0]) / p[1])))

    @staticmethod
    def entropy(p: Law) -> Expr:
        return (term("log 2 pi", number(0.5 * LOG_2PI)) + term("the 1/2 of log e", number(0.5))
            + term("log var", 0.5 * log(p[1])))

    @staticmethod
    def cross(q: Law, p: Law) -> Expr:
        off = q[1] + square(q[0] - p[0])
        return number(-0.5 * LOG_2PI) - 0.5 * log(p[1]) - 0.5 * off / p[1]

    @staticmethod
    def step_entropy(s: Times, x0: Expr) -> Expr:
        return gaussian.entropy((x0, s.beta))


LOG_2PI = math.log(2.0 * math.pi)
ONE, ZERO = "the term of x = 1", "the term of x = 0"


class binomial:
    """A distribution is (P(1), P(0))."""

    prior: Law = (PI, 1 - PI)

    @staticmethod
    def drawn(x: Expr, kept: Expr, rest: Expr) -> Law:
        """A bit kept, or else drawn anew."""
        return x * kept + PI * rest, (1 - x) * kept + (1 - PI) * rest

    @staticmethod
    def kernel(s: Times, x: Expr) -> Law:
        return binomial.drawn(x, s.alpha, s.beta)

    @staticmethod
    def marginal(s: Times, x0: Expr) -> Law:
        return binomial.drawn(x0, s.abar, s.rest)

    @staticmethod
    def before(s: Times, x0: Expr) -> Law:
        return binomial.drawn(x0, s.abar_prev, s.rest_prev)

    @staticmethod
    def from_bits(s: Times) -> tuple[Law, Law]:
        """The kernels from 1 and from 0."""
        return ((s.alpha + PI * s.beta, (1 - PI) * s.beta),
            (PI * s.beta, s.alpha + (1 - PI) * s.beta))

    @staticmethod
    def joint(s: Times, x0: Expr, xt: Expr) -> Law:
        """P(x^{t-1}, x^t) for x^{t-1} = 1 and 0."""
        j1, j0 = (term("the likelihood of xt", op("if", xt, *kernel))
            * term("the marginal before", p) for kernel, p
            in zip(binomial.from_bits(s), binomial.before(s, x0), strict=True))
        return j1, j0

    @staticmethod
    def posterior(s: Times, x0: Expr, xt: Expr) -> Law:
        j1, j0 = binomial.joint(s, x0, xt)
        return j1 / (j1 + j0), j0 / (j1 + j0)

    @staticmethod
    def reverse(c: Conventions, s: Times) -> Law:
        return A("probs"), 1 - A("probs")

    @staticmethod
    def kl(q: Law, p: Law) -> Expr:
        one, zero = (op("xlogy", a, a) - op("xlogy", a, b) for a, b in zip(q, p, strict=True))
        return term(ONE, one) + term(ZERO, zero)

    @staticmethod
    def log_prob(x: Expr, p: Law) -> Expr:
        return op("if", x, log(p[0]), log(p[1]))

    @staticmethod
    def entropy(p: Law) -> Expr:
        return term(ONE, -op("xlogy", p[0], p[0])) + term(ZERO, -op("xlogy", p[1], p[1]))

    @staticmethod
    def cross(q: Law, p: Law) -> Expr:
        return term(ONE, op("xlogy", q[0], p[0])) + term(ZERO, op("xlogy", q[1], p[1]))

    @staticmethod
    def step_entropy(s: Times, x0: Expr) -> Expr:
        (one, zero), before = binomial.from_bits(s), binomial.before(s, x0)
        return before[0] * binomial.entropy(one) + before[1] * binomial.entropy(zero)


def column(q: Quantity) -> Any:
    return binomial if q.bits else gaussian


def ruled(c: Conventions, s: Times, given: str = "reverse_var") -> Expr:
    """The variance of the reverse kernel, by the rule declared."""
    return {"given": V(c, given), "posterior": s.post, "beta": s.beta}[c.reverse_var]


def _x0_hat(kind: str, s: Times, xt: Expr, out: Expr) -> Expr:
    """x^0 from what a network predicts."""
    return term("x0_hat",
        {"x0": out, "v": sqrt(s.abar) * xt - sqrt(s.rest) * out, "eps": (xt - sqrt(s.rest) * out)
            / sqrt(s.abar), "score": (xt + s.rest * out) / sqrt(s.abar)}[kind])


def _mean_hat(kind: str, s: Times, xt: Expr, out: Expr) -> list[Expr]:
    """The mean of p(x^{t-1} | x^t), by x^0 and, for the noise, as in DDPM's Algorithm 2."""
    if kind == "mean":
        return [out]
    made = [gaussian.posterior(s, _x0_hat(kind, s, xt, out), xt)[0]]
    if kind == "eps":
        shift = term("the term of eps", s.beta / sqrt(s.rest) * out)
        made.insert(0, (term("the term of xt", xt) - shift) / sqrt(s.alpha))
    return made


def _ddim(q: Quantity, c: Conventions) -> Expr:
    return ddim_terms(c, c.eta * sqrt(S.post), c.eta * sqrt(S.post))


def ddim_terms(c: Conventions, std: Expr, inner: Expr) -> Expr:
    """DDIM's step with these standard deviations of its noise, added and under the root."""
    rest = Expr("least", (S.rest_prev - square(inner),)) if c.eta else S.rest_prev
    made = term("the term of x0", sqrt(S.abar_prev) * _x0_hat("eps", S, XT, A("eps"))) + term(
        "the term of eps", sqrt(rest) * A("eps"))
    return made + term("the noise", std * A("noise")) if c.eta else made


def _reverse_step(q: Quantity, c: Conventions) -> list[Expr]:
    noisy = (op("later") if c.silent else op("known") if c.reverse_var == "posterior"
        else number(1.0))
    noise = term("the noise", noisy * sqrt(ruled(c, S)) * A("noise"))
    return [mean + noise for mean in _mean_hat(c.model, S, XT, A("output"))]


def _kl_forms(q: Law, p: Law) -> list[Expr]:
    whole = gaussian.kl(q, p)
    return [whole, Expr("+", (0.5 * log(p[1]), -(0.5 * log(q[1])), *whole.args[1:]))]


def _bit(name: str) -> Law:
    return A(name), 1 - A(name)


def kl_laws(q: Quantity, c: Conventions) -> tuple[Law, Law]:
    """Both distributions of a single KL."""
    col = column(q)
    if q.name == "bernoulli_kl":
        return _bit("q1"), _bit("p1")
    if q.name == "gaussian_kl":
        return (A("mean_q"), V(c, "var_q")), (A("mean_p"), V(c, "var_p"))
    if "prior" in q.name:
        return col.marginal(LAST, X0), col.prior
    return col.posterior(S, X0, XT), _bit("prob") if q.bits else (A("mean"), ruled(c, S))


# K, equation (14), log weights, entropy bounds: once for both columns

H_T, H_1, H_P = "H_q(X^T|X^0)", "H_q(X^1|X^0)", "H_p(X^T)"
EDGE = ("log pi(x^0)", "E log pi(x^1)", H_1)
GROUPS = {f"{H_T} - {H_1}": (H_T, H_1), "KL( q(x^T|x^0) || pi )": (H_T, "E log pi(x^T)"),
    "the edge p(x^0|x^1)": EDGE}
K_TERMS = ("sum KL", H_T, H_1, "E log pi(x^T)", "log pi(x^0)", "E log pi(x^1)")
EQ14_TERMS = ("sum KL", H_T, H_1, H_P)


def bound_terms(q: Quantity, c: Conventions, names: tuple[str, ...], turned: bool = False) -> Expr:
    col = column(q)
    laws = col.posterior(LATER, X0, A("xs")), col.reverse(c, LATER)
    last, first = col.marginal(LAST, X0), col.marginal(FIRST, X0)
    parts = {"sum KL": -op("sum", col.kl(*(laws[::-1] if turned else laws))),
        H_T: col.entropy(last), H_1: -col.entropy(first),
        "E log pi(x^T)": col.cross(last, col.prior), "log pi(x^0)": col.log_prob(X0, col.prior),
        "E log pi(x^1)": -col.cross(first, col.prior), H_P: -col.entropy(col.prior)}
    return Expr("+", tuple(term(name, parts[name]) for name in names))


def weight_steps(q: Quantity, c: Conventions) -> tuple[Expr, Expr, Expr]:
    """log p(x^{t-1}|x^t), log q(x^t|x^{t-1}) and log q(x^t|x^0) of every t."""
    col, x, y = column(q), A("before"), A("after")
    return (col.log_prob(x, col.reverse(c, ALL)), col.log_prob(y, col.kernel(ALL, x)),
        col.log_prob(y, col.marginal(ALL, A("start"))))


def weight_terms(q: Quantity, c: Conventions) -> Expr:
    p, forward, _ = weight_steps(q, c)
    return (term("p(x^T)", column(q).log_prob(A("end_state"), column(q).prior))
        + term("p(x^{t-1}|x^t)", op("sum", p)) - term("q(x^t|x^{t-1})", op("sum", forward)))


def entropy_terms(q: Quantity) -> Expr:
    col = column(q)
    return (term("H_q(X^t|X^{t-1})", col.step_entropy(S, X0))
        + term("H_q(X^{t-1}|X^0)", col.entropy(col.before(S, X0)))
        - term("H_q(X^t|X^0)", col.entropy(col.marginal(S, X0))))


# A model's bound, as DDPM's code computes it


def _first_var(c: Conventions) -> Expr:
    """The variance at t = 1, where the posterior's is 0: that of t = 2 stands in its place."""
    return {"given": V(c, "var_1"), "posterior": SECOND.post, "beta": FIRST.beta}[c.reverse_var]


def loop(q: Quantity, c: Conventions, var: Expr | None = None, cdf: str = "") -> Expr:
    """The sum over t, or one of its terms."""
    single = q.name == "vlb_term"
    later, first, xs, outs = ((S, S, XT, A("output")) if single
        else (LATER, FIRST, A("xs"), A("outs")))
    x1, out1 = (XT, outs) if single else (A("x_1"), A("out_1"))
    given = "var_t" if single else "vars_t"
    law = _mean_hat(c.model, later, xs, outs)[-1], ruled(c, later, given)
    kl = gaussian.kl(gaussian.posterior(later, X0, xs), law)
    edge = _mean_hat(c.model, first, x1, out1)[-1], var or _first_var(c)
    if c.decoder == "gaussian":
        decoder = term("L_0", -gaussian.log_prob(X0, edge))
    else:
        decoder = term("L_0", -op("log_bin", X0, edge[0], sqrt(edge[1]), kind=cdf))
    if single:
        return op("first", decoder, term("the KL term", kl))
    total = term("sum KL", op("sum", kl))
    if q.name == "kl_sum":
        return total
    return (total + decoder
        + term("prior KL", gaussian.kl(gaussian.marginal(LAST, X0), gaussian.prior)))


def accepted(q: Quantity, c: Conventions) -> dict[str, Expr]:
    """What is right too, under a note that a PASS says."""
    tanh = "the normal distribution function by tanh, as in DDPM's code"
    if q.name == "decoder_log_prob":
        return {tanh: op("log_bin", X0, A("mean"), sqrt(V(c, "var")), kind="tanh")}
    if q.formula != "loop" or q.name == "kl_sum":
        return {}
    others = {"": None, "; at t = 1 the posterior's variance of t = 2": SECOND.post,
        "; at t = 1 the variance is beta_1": FIRST.beta,
        "; at t = 1 the variance is clipped at 1e-20": number(1e-20)}
    cdfs = ("", "tanh") if c.decoder == "discretised" else ("",)
    return {(tanh * bool(cdf) + note).removeprefix("; "): loop(q, c, var, cdf) for cdf in cdfs
        for note, var in others.items() if cdf or note}


def others(q: Quantity, c: Conventions) -> dict[str, Expr]:
    """Mistakes of a quantity that are no change of its formula in one place."""
    turned = ({"KL reversed: KL(p || q)": column(q).kl(*kl_laws(q, c)[::-1])}
        if (q.name.endswith(("kl_term", "prior_kl"))) else {})
    if q.formula == "bound":
        names = EQ14_TERMS if q.whole else K_TERMS
        return {"KL reversed: KL(p || q)": bound_terms(q, c, names, True),
            "both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0)": bound_terms(q, c,
            (*EQ14_TERMS, *EDGE)),
            "(14) for K(x^0): its precondition is taken for granted": bound_terms(q, c, EQ14_TERMS)}
    if q.formula == "weight":
        (p, forward, start), end = weight_steps(q, c), weight_terms(q, c).args[0]
        return {"the step t = 1 left out": end + op("sum", op("tail", p - forward)),
            "the step t = T left out": end + op("sum", op("head", p - forward)),
            "the edge p(x^0|x^1) left out": end + op("sum", op("tail", p)) - op("sum", forward),
            "q(x^t|x^0) for q(x^t|x^{t-1})": end + op("sum", p - start),
            "p and q exchanged in the steps": end - op("sum", p - forward),
            "mean over t for the sum": end + op("sum", p - forward, kind="mean")}
    if q.formula == "entropies":
        step, before, now = (lower := entropy_terms(q)).args
        if "upper" in q.name:
            return {"the lower bound for the upper": lower, "H_q(X^t|X^0) for H_q(X^t|X^{t-1})":
                -now}
        return {"the upper bound for the lower": step, "H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0)": step
            + lower + now, "H_q(X^{t-1}|X^0) and H_q(X^t|X^0) exchanged": step - before - now}
    if q.name == "ddim_step" and c.eta:
        wide = c.eta * sqrt(S.rest)
        return {"the noise by eta sqrt(1 - abar_t)": ddim_terms(c, wide, c.eta * sqrt(S.post)),
            "the noise by eta sqrt(1 - abar_t), under the root too": ddim_terms(c, wide, wide),
            "the noise by eta sqrt(beta_t)": ddim_terms(c, c.eta * sqrt(S.beta), c.eta
            * sqrt(S.post)),
            "the noise by eta": ddim_terms(c, number(c.eta), c.eta * sqrt(S.post))}
    if q.name == "binomial_posterior":
        (j1, j0), marginal = binomial.joint(S, X0, XT), binomial.before(S, X0)
        return {"divided by q(x^t | x^0) read at t - 1": j1 / op("if", XT, *marginal),
            "not normalised over both states": j1, "odds for probability": j1 / j0}
    w = 0.5 * (A("w") + 1)
    return (turned | {name: parsed(text, c) for name, text in OTHERS.get(q.name, {}).items()}
        | ({"the variances are interpolated, not their logarithms": w * S.beta + (1 - w) * S.post}
            if q.name == "learned_range_var" else {}))


OTHERS = {
    "binomial_kernel": {
    "flipped with probability beta_t, where it is drawn anew":
        "x_prev * alpha + (1 - x_prev) * beta"},
    "binomial_marginal": {"flipped, where it is drawn anew": "x0 * abar + (1 - x0) * rest"},
    "posterior_coefficient_x0": {"the other coefficient: that of x^t for that of x^0": "c1"},
    "posterior_coefficient_xt": {"the other coefficient: that of x^0 for that of x^t": "c0"},
    "factor_mean": {"the factor left out": "mean", "the factor clamped: y returned": "y",
    "weighted by variances for precisions": "(mean * var + y * var_y) / (var + var_y)",
    "the plain average of both means": "0.5 * (mean + y)",
    "weighted by standard deviations":
        "(mean * sqrt(var_y) + y * sqrt(var)) / (sqrt(var) + sqrt(var_y))"},
    "factor_var": {"the factor left out": "var", "variances added": "var + var_y",
    "precisions added and not inverted": "1 / var + 1 / var_y"},
    "gaussian_kl": {"only the means' part of the divergence": "0.5 * (mean_q - mean_p)**2 / var_p"},
    "gaussian_kl_grad_var": {"derivative by q's variance": "0.5 * (1 / var_p - 1 / var_q)"},
    "gaussian_log_prob": {"only the square": "-(0.5 * (x - mean)**2 / var)"},
    "gaussian_entropy": {"2 pi e missing: only log std": "0.5 * log(var)"},
    "bernoulli_kl": {"cross-entropy for the divergence": "-xlogy(q1, p1) - xlogy(1 - q1, 1 - p1)"},
    "bernoulli_kl_grad": {"the derivative by p's logit": "p1 - q1"},
    "bernoulli_log_prob": {
    "the logarithm forgotten: a probability": "bit * p1 + (1 - bit) * (1 - p1)"},
    "log_likelihood": {"mean of logarithms for logarithm of mean": "sum(log_w) / count(log_w)",
    "the largest weight for their mean": "max(log_w)"},
    "perturbed_bits": {"log r added to the probability, not to its logit": "prob + log_r1 - log_r0",
    "r alone, the kernel left out": "exp(log_r1) / (exp(log_r1) + exp(log_r0))",
    "not normalised over both states": "prob * exp(log_r1) / (exp(log_r1) + exp(log_r0))",
    "Table App.1's misprint: x_i d_i in the denominator":
        "prob * exp(log_r1) / ((1 - prob) * exp(log_r0))",
    "half the log ratio of r": "sigmoid(log(prob / (1 - prob)) + 0.5 * (log_r1 - log_r0))"},
    "mean_from_eps": {"x0 from eps returned for the mean": "(xt - sqrt(rest) * eps) / sqrt(abar)",
        "the marginal's standard deviation for beta_t / sqrt(1 - abar_t)":
        "(xt - sqrt(rest) * eps) / sqrt(alpha)"}}
FORMULAS: dict[str, Callable[[Quantity, Conventions], Expr | list[Expr]]] = {"mean_hat": lambda q,
    c: _mean_hat(q.every[-1], S, XT, A(q.every[-1])), "ddim_step": _ddim,
    "reverse_step": _reverse_step, "loop": loop, "gaussian_kl": lambda q,
    c: _kl_forms(*kl_laws(q, c)), "bernoulli_kl": lambda q, c: binomial.kl(*kl_laws(q, c)),
    "prior_kl": lambda q, c: column(q).kl(*kl_laws(q, c)), "kl_term": lambda q,
    c: binomial.kl(*kl_laws(q, c)) if q.bits else _kl_forms(*kl_laws(q, c)),
    "gaussian_entropy": lambda q, c: gaussian.entropy((X0, V(c, "var"))), "log_density": lambda q,
    c: gaussian.log_prob(A("x"), (A("mean"), V(c, "var"))), "bernoulli_entropy": lambda q,
    c: binomial.entropy(_bit("p1")), "binomial_posterior": lambda q,
    c: binomial.posterior(S, X0, XT)[0], "bound": lambda q,
    c: bound_terms(q, c, EQ14_TERMS if q.whole else K_TERMS), "weight": weight_terms,
    "entropies": lambda q, c: entropy_terms(q).args[0] if "upper" in q.name else entropy_terms(q)}
QUANTITIES: dict[str, Quantity] = {}
ALIASES: dict[str, tuple[str, ...]] = {"kernel": ("kernel_mean", "kernel_var"),
    "marginal": ("marginal_mean", "marginal_var"),
    "q_mean_variance": ("marginal_mean", "marginal_var", "marginal_log_var"),
    "factor": ("factor_mean", "factor_var"), "posterior": ("posterior_mean", "posterior_var"),
    "q_posterior": ("posterior_mean", "posterior_var", "posterior_log_var"),
    "q_posterior_mean_variance": ("posterior_mean", "posterior_var", "posterior_log_var"),
    "gaussian_kl_grad": ("gaussian_kl_grad_mean", "gaussian_kl_grad_var"),
    "entropy_bounds": ("entropy_lower_bound", "entropy_upper_bound"),
    "binomial_entropy_bounds": ("binomial_entropy_lower_bound", "binomial_entropy_upper_bound")}


def _read_catalogue() -> None:
    equation = drawn = ""
    for line in CATALOGUE.strip().replace("\n    ", " ").splitlines():
        if line.startswith("@"):
            equation, drawn = (part.strip() for part in line[1:].split("|"))
            continue
        names, arguments, kind, *summary, formula = (part.strip() for part in line.split(" | "))
        name, *aliases = names.split()
        QUANTITIES[name] = Quantity(name, equation, " | ".join(summary), tuple(arguments.split()),
            kind, drawn, formula)
        ALIASES.update(dict.fromkeys(aliases, (name,)))


_read_catalogue()

"""Somebody's implementation with one mistake in it: for every mistake that the check knows, at
least one way to make it.

Written against `independent_ddpm.py` alone, in its own terms: results wrapped, tables bent,
arguments exchanged, formulas changed. The names of the mistakes are those of the check, which is
what the tests compare.
"""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from independent_ddpm import TABLES, Somebody

SPREADS = ("kernel_var", "marginal_var", "posterior_var", "factor_var")
PROBS = (
    "binomial_kernel",
    "binomial_marginal",
    "binomial_posterior",
    "binomial_edge",
    "perturbed_bits",
)
NATS = (
    "gaussian_kl",
    "gaussian_entropy",
    "gaussian_log_prob",
    "bernoulli_kl",
    "bernoulli_entropy",
    "bernoulli_log_prob",
    "kl_term",
    "prior_kl",
    "lower_bound",
    "eq14",
    "log_weights",
    "entropy_lower_bound",
    "entropy_upper_bound",
    "binomial_lower_bound",
    "binomial_eq14",
    "binomial_log_weights",
    "binomial_entropy_lower_bound",
    "binomial_entropy_upper_bound",
)
SLOPES = ("gaussian_kl_grad_mean", "gaussian_kl_grad_var", "bernoulli_kl_grad")
STATES = (
    "kernel_mean",
    "marginal_mean",
    "marginal_log_var",
    "q_sample",
    "posterior_mean",
    "posterior_log_var",
    "x0_from_eps",
    "mean_from_eps",
    "sample_step",
    "perturbed_mean",
    "factor_mean",
)
EVERYTHING = (*TABLES, *SPREADS, *PROBS, *NATS, "log_likelihood", *SLOPES, *STATES)
SCHEDULED = (
    *TABLES,
    "kernel_mean",
    "kernel_var",
    "marginal_mean",
    "marginal_var",
    "marginal_log_var",
    "q_sample",
    "posterior_mean",
    "posterior_var",
    "posterior_log_var",
    "x0_from_eps",
    "mean_from_eps",
    *NATS[6:],
    *PROBS[:4],
)
SPREAD_ARGUMENTS = {
    "gaussian_kl": (1, 3),
    "gaussian_kl_grad_mean": (1, 3),
    "gaussian_kl_grad_var": (1, 3),
    "gaussian_entropy": (0,),
    "gaussian_log_prob": (2,),
    "kl_term": (4,),
    "lower_bound": (3,),
    "eq14": (3,),
    "log_weights": (2,),
    "sample_step": (1,),
    "perturbed_mean": (1,),
    "factor_mean": (1, 3),
    "factor_var": (1, 3),
}
WORDS = {"var": "variance", "std": "standard deviation", "logvar": "log variance"}


class Injection(NamedTuple):
    """A mistake of this name, made in the function of a subject: make(options, beta) -> function or
    table, or None where it cannot be.
    """

    mistake: str
    subject: str
    make: object


INJECTIONS: list[Injection] = []


def right(subject, beta, **options):
    person = Somebody(beta, **options)
    return person.formula(subject) if subject in TABLES else getattr(person, subject)


def pair(first, second, beta, options):
    """The function of the second mistake made over that of the first; None where it cannot be."""
    global right
    original = right

    def wrong(subject, beta, bend=None, **options):
        global right
        right = original
        try:
            made = None if bend is not None else first.make(beta, options)
        finally:
            right = wrong
        if made is None:
            raise LookupError
        return made

    right = wrong
    try:
        return second.make(beta, options)
    except (LookupError, AttributeError):
        return None
    finally:
        right = original


def inject(mistake, subjects, make):
    """Register make(subject, beta, options) for each of the subjects."""
    for subject in subjects:
        INJECTIONS.append(
            Injection(
                mistake,
                subject,
                lambda beta, options, subject=subject: make(subject, beta, options),
            )
        )


def after(function, change):
    """The function, or table, with its result changed."""
    return (
        change(function)
        if isinstance(function, np.ndarray)
        else lambda *arguments: change(function(*arguments))
    )


def result(mistake, subjects, change):
    inject(
        mistake,
        subjects,
        lambda subject, beta, options: after(right(subject, beta, **options), change),
    )


result("twice as large: a factor 1/2 is missing, or a 2 too many", EVERYTHING, lambda y: 2 * y)
result("half as large: a factor 2 is missing, or a 1/2 too many", EVERYTHING, lambda y: y / 2)
result("sign flipped", EVERYTHING, lambda y: -y)
result("inverse: 1 / value", EVERYTHING, lambda y: 1 / y)
NEGATIVE = ("log_abar", "log_one_minus_abar", "log_snr", "posterior_log_variance")
POSITIVE = [name for name in (*TABLES, *PROBS) if name not in NEGATIVE]
result("square root taken once too often", POSITIVE, np.sqrt)
result(
    "square root forgotten: the square is returned", (*TABLES, *SPREADS, *PROBS), lambda y: y * y
)
result("the logarithm is returned", POSITIVE, np.log)
result(
    "the exponential is returned, the logarithm forgotten",
    (*TABLES, *STATES, *NATS, "log_likelihood"),
    np.exp,
)
result("1 - p for p, or 1 - value", (*TABLES, *SPREADS, *PROBS), lambda y: 1 - y)
result("the logit is returned, the sigmoid forgotten", PROBS, lambda y: np.log(y / (1 - y)))
result(
    "log10 for ln",
    (
        *NATS,
        *SLOPES,
        "log_likelihood",
        "log_abar",
        "log_one_minus_abar",
        "log_snr",
        "posterior_log_variance",
    ),
    lambda y: y * np.log10(np.e).astype(y.dtype),
)


def other(mistake, subjects, declared, **done):
    """The code keeps another convention than the one declared."""

    def make(subject, beta, options):
        if any(options[name] != value for name, value in declared.items()):
            return None
        return right(subject, beta, **{**options, **done})

    inject(mistake, subjects, make)


def _wrong_way(subject, beta, options):
    return after(
        right(subject, beta, **{**options, "unit": "nats"}), lambda y: y * np.log(2).astype(y.dtype)
    )


inject(
    "converted to bits the wrong way: times ln 2 where it is divided", (*NATS, *SLOPES), _wrong_way
)
other("log2 for ln: bits where nats are declared", (*NATS, *SLOPES), {"unit": "nats"}, unit="bits")
other("ln for log2: nats where bits are declared", (*NATS, *SLOPES), {"unit": "bits"}, unit="nats")
inject(
    "log2 for ln: bits where nats are declared",
    ["log_likelihood"],
    lambda subject, beta, options: (
        None
        if options["unit"] == "bits"
        else after(right(subject, beta, **options), lambda y: y / np.log(2).astype(y.dtype))
    ),
)
inject(
    "log weights handed over in bits, taken for nats, or the reverse",
    ["log_likelihood"],
    lambda subject, beta, options: (
        (lambda log_w: np.log(np.mean(2.0 ** (log_w - log_w.max(0)), 0)) + log_w.max(0) * np.log(2))
        if options["unit"] == "nats"
        else (
            lambda log_w: (
                (np.log(np.mean(np.exp(log_w - log_w.max(0)), 0)) + log_w.max(0)) / np.log(2)
            )
        )
    ),
)
other(
    "mean over components where the sum is declared",
    (*NATS, *SLOPES),
    {"components": "sum"},
    components="mean",
)
other(
    "sum over components where the mean is declared",
    (*NATS, *SLOPES),
    {"components": "mean"},
    components="sum",
)


def spread_mistakes(meant, done):
    def taken(subject, beta, options):
        if options["spread"] != meant:
            return None
        person, other = Somebody(beta, **options), Somebody(beta, **{**options, "spread": done})
        if subject == "gaussian_kl_grad_var":
            return None  # its result has the convention too
        person.var = other.var
        return getattr(person, subject)

    def returned(subject, beta, options):
        if options["spread"] != meant:
            return None
        person = Somebody(beta, **options)
        if subject == "factor_var":
            person.as_spread = lambda var, like: {
                "var": lambda: var,
                "std": lambda: np.sqrt(var),
                "logvar": lambda: np.log(var),
            }[done]()
            return person.factor_var
        return right(subject, beta, **{**options, "spread": done})

    inject(f"{WORDS[meant]} handed over, taken for a {WORDS[done]}", SPREAD_ARGUMENTS, taken)
    inject(f"{WORDS[done]} returned where the {WORDS[meant]} is declared", SPREADS, returned)


for meant in WORDS:
    for done in WORDS:
        if done != meant:
            spread_mistakes(meant, done)

# Arguments


def exchanged(mistake, subjects, first, second):
    def make(subject, beta, options):
        function = right(subject, beta, **options)

        def swapped(*arguments):
            changed = list(arguments)
            changed[first], changed[second] = arguments[second], arguments[first]
            return function(*changed)

        return swapped

    inject(mistake, subjects, make)


def changed(mistake, subjects, at, change):
    def make(subject, beta, options):
        function = right(subject, beta, **options)
        return lambda *arguments: function(
            *[change(each) if k in np.atleast_1d(at) else each for k, each in enumerate(arguments)]
        )

    inject(mistake, subjects, make)


exchanged("x0 and xt swapped", ["posterior_mean", "kl_term", "binomial_posterior"], 0, 1)
exchanged("x0 and noise swapped", ["q_sample"], 0, 2)
exchanged("xt and eps swapped", ["x0_from_eps", "mean_from_eps"], 0, 2)
exchanged("mean and noise swapped", ["sample_step"], 0, 2)
exchanged("log_r1 and log_r0 swapped", ["perturbed_bits"], 1, 2)
exchanged("mean_q and mean_p swapped", ["gaussian_kl_grad_mean"], 0, 2)
exchanged("var_q and var_p swapped", ["gaussian_kl", "gaussian_kl_grad_mean"], 1, 3)
exchanged("var and var_y swapped", ["factor_mean"], 1, 3)
exchanged("mean and y swapped", ["factor_mean"], 0, 2)


def _mean_and_var(subject, beta, options):
    if options["spread"] != "var":
        return None  # a mean can stand for a variance only where that is not turned into one first
    function = right(subject, beta, **options)
    return lambda mean, var, *others: function(var, mean, *others)


inject("mean and var swapped", ["perturbed_mean", "factor_mean"], _mean_and_var)


def _reversed_kl(subject, beta, options):
    function = right(subject, beta, **options)
    if subject.startswith("gaussian"):
        return lambda mean_q, var_q, mean_p, var_p: function(mean_p, var_p, mean_q, var_q)
    return lambda q1, p1: function(p1, q1)


inject(
    "KL reversed: KL(p || q)",
    [
        "gaussian_kl",
        "gaussian_kl_grad_mean",
        "gaussian_kl_grad_var",
        "bernoulli_kl",
        "bernoulli_kl_grad",
    ],
    _reversed_kl,
)


def _turned_kl(subject, beta, options):
    person = Somebody(beta, **options)
    kl, kl_bits = person.kl, person.kl_bits
    person.kl = lambda mean_q, var_q, mean_p, var_p: kl(mean_p, var_p, mean_q, var_q)
    person.kl_bits = lambda q1, q0, p1, p0: kl_bits(p1, p0, q1, q0)
    return getattr(person, subject)


inject(
    "KL reversed: KL(p || q)",
    ["kl_term", "lower_bound", "eq14", "binomial_lower_bound", "binomial_eq14"],
    _turned_kl,
)
for name, places in (
    ("noise", {"q_sample": 2, "sample_step": 2}),
    ("eps", {"x0_from_eps": 2, "mean_from_eps": 2}),
    ("grad_log_r", {"perturbed_mean": 2}),
):
    for subject, at in places.items():
        changed(f"sign of {name} flipped", [subject], at, lambda y: -y)
        changed(f"{name} left out", [subject], at, lambda y: 0 * y)
for name, places in (
    ("x_prev", {"binomial_kernel": 0}),
    ("x0", {"binomial_marginal": 0, "binomial_posterior": 0}),
    ("xt", {"binomial_posterior": 1}),
    ("bit", {"bernoulli_log_prob": 0}),
    ("q1", {"bernoulli_kl": 0}),
    ("p1", {"bernoulli_kl": 1, "bernoulli_log_prob": 1}),
):
    for subject, at in places.items():
        changed(f"0 and 1 of {name} exchanged", [subject], at, lambda y: 1 - y)

# Tables


def bent(mistake, bend, subjects=SCHEDULED):
    inject(
        mistake, subjects, lambda subject, beta, options: right(subject, beta, **options, bend=bend)
    )


def product(change):
    """Another abar, and what follows from it."""

    def bend(s):
        s.abar = change(s)
        s.lost, s.prev = 1 - s.abar, np.concatenate([np.ones(1, s.abar.dtype), s.abar[:-1]])
        s.lost_prev = 1 - s.prev

    return bend


def renamed(**changes):
    def bend(s):
        old = SimpleNamespace(**vars(s))
        for name, change in changes.items():
            setattr(s, name, change(old))

    return bend


def moved(by, clamp=False):
    def bend(s):
        for name, table in vars(s).items():
            index = np.arange(len(table)) + by
            setattr(
                s, name, table[np.clip(index, 0, len(table) - 1) if clamp else index % len(table)]
            )

    return bend


def turned(s):
    for name, table in vars(s).items():
        setattr(s, name, table[::-1])


bent("t one too small: entry t - 1 of the tables is read", moved(-1))
bent("t one too small: entry t - 1 of the tables is read", moved(-1, clamp=True))
bent("t one too large: entry t + 1 of the tables is read", moved(1, clamp=True))
bent("t one too large: entry t + 1 of the tables is read", moved(1))
bent("schedule reversed: entry T - t of the tables is read", turned)
inject(
    "schedule reversed: entry T - t of the tables is read",
    SCHEDULED,
    lambda subject, beta, options: right(subject, beta[::-1], **options),
)
bent("abar_t for abar_{t-1}", renamed(prev=lambda s: s.abar, lost_prev=lambda s: s.lost))
bent("abar_{t-1} for abar_t", renamed(abar=lambda s: s.prev, lost=lambda s: s.lost_prev))
bent("alpha_t for abar_t: the product is forgotten", product(lambda s: s.alpha))
bent("abar_t for alpha_t", renamed(alpha=lambda s: s.abar))
bent("alpha_t for beta_t", renamed(beta=lambda s: s.alpha))
bent("beta_t for alpha_t", renamed(alpha=lambda s: s.beta))
bent("beta_t for 1 - abar_t", renamed(lost=lambda s: s.beta))
bent("1 - abar_t for beta_t", renamed(beta=lambda s: s.lost))
bent("product of beta_s, not of 1 - beta_s", product(lambda s: np.cumprod(s.beta)))
bent("sum of beta_s for the product of 1 - beta_s", product(lambda s: 1 - np.cumsum(s.beta)))
bent(
    "abar_t without its root",
    renamed(abar=lambda s: s.abar**2, prev=lambda s: s.prev**2),
    [
        "sqrt_abar",
        "sqrt_recip_abar",
        "marginal_mean",
        "q_sample",
        "posterior_coefficient_x0",
        "posterior_mean",
    ],
)
bent("sqrt(abar_t) for abar_t", product(lambda s: np.sqrt(s.abar)))
bent("abar_t squared: the product taken of (1 - beta_s)^2", product(lambda s: s.abar**2))
bent(
    "1 - abar_t without its root",
    renamed(lost=lambda s: s.lost**2),
    ["sqrt_one_minus_abar", "q_sample", "mean_from_eps"],
)
bent("sqrt(1 - abar_t) for 1 - abar_t", renamed(lost=lambda s: np.sqrt(s.lost)))
bent("1 - sqrt(abar_t) for 1 - abar_t", renamed(lost=lambda s: 1 - np.sqrt(s.abar)))
bent(
    "alpha_t without its root",
    renamed(alpha=lambda s: s.alpha**2),
    ["kernel_mean", "posterior_mean", "posterior_coefficient_xt", "mean_from_eps"],
)
bent(
    "sqrt(alpha_t) for alpha_t",
    renamed(alpha=lambda s: np.sqrt(s.alpha)),
    ["alpha", "binomial_kernel", "binomial_edge"],
)
bent("sqrt(beta_t) for beta_t", renamed(beta=lambda s: np.sqrt(s.beta)))
bent("beta_t squared", renamed(beta=lambda s: s.beta**2))
bent("beta_1 left out of the product", product(lambda s: s.abar / s.alpha[0]))

# Formulas of Somebody's changed


def formula(mistake, subject, change):
    """change(person) -> function."""
    inject(mistake, [subject], lambda subject, beta, options: change(Somebody(beta, **options)))


def table(mistake, subjects, change):
    """change(tables) -> table, where a posterior has one."""

    def make(subject, beta, options):
        person = Somebody(beta, **options)
        with np.errstate(all="ignore"):
            values = change(person.tables)
            if "_log_" in subject:
                values = np.log(values)
        if subject in TABLES:
            return values

        def entry(x0, t):
            read = np.asarray(values[person.time(np.asarray(t)) - 1], person.dtype)
            return np.broadcast_to(person.over(read) if read.ndim else read, x0.shape)

        if subject == "posterior_var":
            return lambda x0, xt, t: person.as_spread(entry(x0, t), x0)
        return lambda x0, xt, t: entry(x0, t).copy()

    inject(mistake, subjects, make)


table(
    "beta_t for the posterior's variance",
    ["posterior_variance", "posterior_var", "posterior_log_variance", "posterior_log_var"],
    lambda s: s.beta,
)
table("beta_t left out", ["posterior_variance", "posterior_var"], lambda s: s.lost_prev / s.lost)
table(
    "ratio upside down: (1 - abar_t) / (1 - abar_{t-1})",
    ["posterior_variance", "posterior_var"],
    lambda s: s.beta * s.lost / np.where(s.lost_prev == 0, 1, s.lost_prev),
)
table(
    "division by 1 - abar_t forgotten",
    ["posterior_variance", "posterior_var"],
    lambda s: s.beta * s.lost_prev,
)
table(
    "division by 1 - abar_t forgotten",
    ["posterior_coefficient_x0"],
    lambda s: np.sqrt(s.prev) * s.beta,
)
table(
    "division by 1 - abar_t forgotten",
    ["posterior_coefficient_xt"],
    lambda s: np.sqrt(s.alpha) * s.lost_prev,
)
table(
    "the other coefficient: that of x^t for that of x^0",
    ["posterior_coefficient_x0"],
    lambda s: np.sqrt(s.alpha) * s.lost_prev / s.lost,
)
table(
    "the other coefficient: that of x^0 for that of x^t",
    ["posterior_coefficient_xt"],
    lambda s: np.sqrt(s.prev) * s.beta / s.lost,
)
formula(
    "division by 1 - abar_t forgotten",
    "posterior_mean",
    lambda p: lambda x0, xt, t: p.posterior_mean(x0, xt, t) * p.read("one_minus_abar", p.time(t)),
)
formula(
    "multiplied where it is divided, by sqrt(abar_t)",
    "x0_from_eps",
    lambda p: (
        lambda xt, t, eps: (
            (xt - p.read("sqrt_one_minus_abar", p.time(t)) * eps) * p.read("sqrt_abar", p.time(t))
        )
    ),
)
formula(
    "division by sqrt(abar_t) forgotten",
    "x0_from_eps",
    lambda p: lambda xt, t, eps: xt - p.read("sqrt_one_minus_abar", p.time(t)) * eps,
)
formula(
    "division by sqrt(1 - beta_t) forgotten",
    "mean_from_eps",
    lambda p: lambda xt, t, eps: p.mean_from_eps(xt, t, eps) * p.read("sqrt_alpha", p.time(t)),
)
formula(
    "division by sqrt(1 - abar_t) forgotten",
    "mean_from_eps",
    lambda p: (
        lambda xt, t, eps: (xt - p.read("beta", p.time(t)) * eps) / p.read("sqrt_alpha", p.time(t))
    ),
)
formula(
    "x^0 for the mean of q(x^{t-1}|x^t,x^0)",
    "mean_from_eps",
    lambda p: p.x0_from_eps,
)
formula(
    "the marginal's standard deviation for beta_t / sqrt(1 - abar_t)",
    "mean_from_eps",
    lambda p: (
        lambda xt, t, eps: (
            (xt - p.read("sqrt_one_minus_abar", p.time(t)) * eps) / p.read("sqrt_alpha", p.time(t))
        )
    ),
)
formula(
    "var without its root",
    "sample_step",
    lambda p: lambda mean, var, noise: mean + p.var(var) * noise,
)
formula(
    "exp(var) where sqrt(var) is meant, or half of it in the exponent",
    "sample_step",
    lambda p: lambda mean, var, noise: mean + np.exp(p.var(var) / 2) * noise,
)
formula(
    "mean left out", "sample_step", lambda p: lambda mean, var, noise: np.sqrt(p.var(var)) * noise
)
formula("mean left out", "perturbed_mean", lambda p: lambda mean, var, grad: p.var(var) * grad)


def divergence(mistake, change, subjects=("gaussian_kl",)):
    """Somebody's divergence of components, changed; change(mean_q, var_q, mean_p, var_p)."""

    def make(subject, beta, options):
        person = Somebody(beta, **options)
        person.kl = change
        return getattr(person, subject)

    inject(mistake, subjects, make)


def kl(log=1.0, ratio=1.0, square=1.0, one=1.0):
    def value(a, v, b, w):
        log_w, log_v = np.log(w), np.log(v)
        return (
            (log * log_w - log * log_v) / 2
            + (ratio * v + square * (a - b) ** 2) / (2 * w)
            - one / 2
        )

    return value


divergence("-1/2 left out", kl(one=0), ("gaussian_kl", "kl_term", "prior_kl"))
divergence("sign of -1/2 flipped", kl(one=-1))
divergence("-1/2 counted twice", kl(one=2))
divergence(
    "sign of the log of the variances' ratio flipped", kl(log=-1), ("gaussian_kl", "kl_term")
)
divergence("the log of the variances' ratio left out", kl(log=0))
divergence("log of standard deviations without the factor 2, or with one too many", kl(log=0.5))
divergence("log of standard deviations without the factor 2, or with one too many", kl(log=2))
divergence("the variances' ratio left out", kl(ratio=0))
divergence(
    "the variances' ratio upside down",
    lambda a, v, b, w: (np.log(w / v) + w / v + (a - b) ** 2 / w - 1) / 2,
)
divergence("the means' square left out", kl(square=0))
divergence("only the means' part of the divergence", kl(0, 0, 1, 0))
divergence("the means' square counted twice", kl(square=2))
divergence(
    "mean_q - mean_p not squared", lambda a, v, b, w: (np.log(w / v) + (v + a - b) / w - 1) / 2
)
divergence(
    "the square divided by q's variance",
    lambda a, v, b, w: (np.log(w / v) + v / w + (a - b) ** 2 / v - 1) / 2,
)
divergence(
    "the square divided by a standard deviation",
    lambda a, v, b, w: (np.log(w / v) + v / w + (a - b) ** 2 / np.sqrt(w) - 1) / 2,
)
divergence(
    "cross-entropy for the divergence",
    lambda a, v, b, w: (np.log(2 * np.pi * w) + (v + (a - b) ** 2) / w) / 2,
)
divergence(
    "the log of the variances' ratio left out",
    lambda a, v, b, w: (v + (a - b) ** 2 - 1) / 2,
    ("prior_kl",),
)
formula(
    "cross-entropy for the divergence",
    "bernoulli_kl",
    lambda p: lambda q1, p1: p.total(-q1 * np.log(p1) - (1 - q1) * np.log(1 - p1)),
)
formula(
    "the term of x = 0 left out",
    "bernoulli_kl",
    lambda p: lambda q1, p1: p.total(q1 * (np.log(q1) - np.log(p1))),
)
formula(
    "the term of x = 1 left out",
    "bernoulli_kl",
    lambda p: lambda q1, p1: p.total((1 - q1) * (np.log(1 - q1) - np.log(1 - p1))),
)
formula(
    "the term of x = 0 left out",
    "bernoulli_entropy",
    lambda p: lambda p1: p.total(-p1 * np.log(p1)),
)
formula(
    "the term of x = 1 left out",
    "bernoulli_entropy",
    lambda p: lambda p1: p.total(-(1 - p1) * np.log(1 - p1)),
)
formula(
    "the term of x = 0 left out",
    "bernoulli_log_prob",
    lambda p: lambda x, p1: p.total(x * np.log(p1)),
)
formula(
    "the term of x = 1 left out",
    "bernoulli_log_prob",
    lambda p: lambda x, p1: p.total((1 - x) * np.log(1 - p1)),
)
formula(
    "the logarithm forgotten in bit log(p1)",
    "bernoulli_log_prob",
    lambda p: lambda x, p1: p.total(np.where(x == 1, p1, 1 - p1)),
)
formula(
    "the derivative by p's logit", "bernoulli_kl_grad", lambda p: lambda q1, p1: p.share(p1 - q1)
)
formula(
    "1 - p left out of the derivative",
    "bernoulli_kl_grad",
    lambda p: lambda q1, p1: p.share(-q1 / p1),
)


def entropy(mistake, change):
    formula(mistake, "gaussian_entropy", lambda p: lambda var: p.total(change(p.var(var))))


entropy("log 2 pi left out", lambda v: (1 + np.log(v)) / 2)
entropy("the 1/2 of log e left out", lambda v: np.log(2 * np.pi * v) / 2)
entropy("2 pi e missing: only log std", lambda v: np.log(np.sqrt(v)))
entropy("log var counted twice", lambda v: (np.log(2 * np.pi) + 1) / 2 + np.log(v))
entropy("sign of log var flipped", lambda v: (np.log(2 * np.pi) + 1 - np.log(v)) / 2)


def log_prob(mistake, change):
    formula(
        mistake,
        "gaussian_log_prob",
        lambda p: lambda x, mean, var: p.total(change((x - mean) ** 2, p.var(var))),
    )


log_prob("log 2 pi left out", lambda e, v: -(np.log(v) + e / v) / 2)
log_prob("log var left out", lambda e, v: -(np.log(2 * np.pi) + e / v) / 2)
log_prob("log var counted twice", lambda e, v: -np.log(2 * np.pi) / 2 - np.log(v) - e / v / 2)
log_prob("sign of log var flipped", lambda e, v: -(np.log(2 * np.pi) - np.log(v) + e / v) / 2)
log_prob("the square counted twice", lambda e, v: -np.log(2 * np.pi * v) / 2 - e / v)
log_prob("only the square", lambda e, v: -e / v / 2)
log_prob(
    "the square divided by a standard deviation",
    lambda e, v: -(np.log(2 * np.pi * v) + e / np.sqrt(v)) / 2,
)


def slope(mistake, of, change):
    """change(mean_q, var_q, mean_p, var_p), with variances."""

    def make(p):
        by = {"var": lambda v: 1, "std": lambda v: 2 * np.sqrt(v), "logvar": lambda v: v}[p.spread]
        return lambda a, v, b, w: p.share(
            change(a, p.var(v), b, p.var(w)) * (by(p.var(w)) if of.endswith("var") else 1)
        )

    formula(mistake, of, make)


slope("division by var_p forgotten", "gaussian_kl_grad_mean", lambda a, v, b, w: b - a)
slope("sign flipped", "gaussian_kl_grad_mean", lambda a, v, b, w: (a - b) / w)
slope("var_q and var_p swapped", "gaussian_kl_grad_mean", lambda a, v, b, w: (b - a) / v)
slope(
    "the means' square left out", "gaussian_kl_grad_var", lambda a, v, b, w: (1 - v / w) / (2 * w)
)
slope("derivative by q's variance", "gaussian_kl_grad_var", lambda a, v, b, w: (1 / w - 1 / v) / 2)
slope(
    "divided by the variance once, not twice",
    "gaussian_kl_grad_var",
    lambda a, v, b, w: (w - v - (a - b) ** 2) / (2 * w),
)


def weights(mistake, change):
    """change(log_w in nats) in nats."""

    def make(p):
        unit = np.log(2).astype(p.dtype) if p.unit == "bits" else 1
        return lambda log_w: change(log_w * unit) / unit

    formula(mistake, "log_likelihood", make)


def log_sum(log_w):
    top = log_w.max(0)
    return top + np.log(np.exp(log_w - top).sum(0))


weights("mean of logarithms for logarithm of mean", lambda log_w: np.average(log_w, axis=0))
weights("log n left out", log_sum)
weights(
    "log n counted twice",
    lambda log_w: log_sum(log_w) - np.log(len(log_w) ** 2).astype(log_w.dtype),
)
weights("n - 1 for n", lambda log_w: log_sum(log_w) - np.log(len(log_w) - 1).astype(log_w.dtype))
weights("the largest weight for their mean", lambda log_w: np.sort(log_w, 0)[-1])
weights(
    "the largest weight left out",
    lambda log_w: np.log(np.exp(log_w - log_w.max(0)).sum(0) / len(log_w)),
)
weights(
    "sum and not mean, the largest weight not put back",
    lambda log_w: np.log(np.exp(log_w - log_w.max(0)).sum(0)),
)
weights(
    "weights underflow: their largest is not taken out before exp",
    lambda log_w: np.log(np.exp(log_w).sum(0) / len(log_w)),
)
formula(
    "sqrt(var) for var",
    "perturbed_mean",
    lambda p: lambda mean, var, grad: mean + np.sqrt(p.var(var)) * grad,
)
formula(
    "var used as a standard deviation: squared",
    "perturbed_mean",
    lambda p: lambda mean, var, grad: mean + p.var(var) * p.var(var) * grad,
)
formula("var left out", "perturbed_mean", lambda p: lambda mean, var, grad: mean + grad)
formula(
    "half of grad_log_r only",
    "perturbed_mean",
    lambda p: lambda mean, var, grad: mean + p.var(var) / 2 * grad,
)


def factor(mistake, of, change):
    formula(
        mistake,
        of,
        lambda p: (
            lambda m, v, y, w: (
                change(m, p.var(v), y, p.var(w))
                if of == "factor_mean"
                else p.as_spread(change(m, p.var(v), y, p.var(w)), m)
            )
        ),
    )


factor(
    "weighted by variances for precisions",
    "factor_mean",
    lambda m, v, y, w: (v * m + w * y) / (v + w),
)
factor(
    "weighted by standard deviations",
    "factor_mean",
    lambda m, v, y, w: (m / np.sqrt(v) + y / np.sqrt(w)) / (1 / np.sqrt(v) + 1 / np.sqrt(w)),
)
factor("the factor clamped: y returned", "factor_mean", lambda m, v, y, w: y.copy())
factor("the plain average of both means", "factor_mean", lambda m, v, y, w: (m + y) / 2)
factor("the innovation left out", "factor_mean", lambda m, v, y, w: m.copy())
factor("var_y left out", "factor_var", lambda m, v, y, w: v)
factor("variances added", "factor_var", lambda m, v, y, w: v + w)
factor("precisions added and not inverted", "factor_var", lambda m, v, y, w: 1 / v + 1 / w)


def flips(mistake, change):
    formula(
        mistake,
        "perturbed_bits",
        lambda p: lambda c, log_r1, log_r0: change(c, np.exp(log_r1), np.exp(log_r0)),
    )


for x in (0, 1):
    flips(
        "Table App.1's misprint: x_i d_i in the denominator",
        lambda c, r1, r0, x=x: (c * r1) / (x * r1 + (1 - c) * r0),
    )
flips("not normalised over both states", lambda c, r1, r0: c * r1)
flips("not normalised over both states", lambda c, r1, r0: c * r1 / (r1 + r0))
flips("r(0) left out", lambda c, r1, r0: c * r1 / (c * r1 + 1 - c))
flips("r left out", lambda c, r1, r0: c.copy())
flips("r alone, the kernel left out", lambda c, r1, r0: r1 / (r1 + r0))
flips(
    "log r added to the probability, not to its logit",
    lambda c, r1, r0: c + np.log(r1) - np.log(r0),
)
flips(
    "half the log ratio of r",
    lambda c, r1, r0: c * np.sqrt(r1) / (c * np.sqrt(r1) + (1 - c) * np.sqrt(r0)),
)

# Bits


def other_prior(mistake, change):
    def make(subject, beta, options):
        person = right(subject, beta, **options).__self__
        if subject == "binomial_posterior":
            person.prior = person.dtype.type(change(person.prior))
            return person.binomial_posterior
        return right(subject, beta, **{**options, "prior": change(options["prior"])})

    inject(mistake, PROBS[:4], make)


other_prior("1 - pi_1 for pi_1", lambda pi: 1 - pi)
other_prior("pi_1 taken as 1/2", lambda pi: 0.5)
inject(
    "pi_1 taken as 0",
    ["binomial_kernel", "binomial_marginal", "binomial_edge"],
    lambda subject, beta, options: right(subject, beta, **{**options, "prior": 0.0}),
)
formula(
    "beta_t / 2 for beta_t: the chance to flip for the chance to be drawn anew",
    "binomial_kernel",
    lambda p: lambda x, t: (b := p.read("beta", p.time(t)) / 2) * p.prior + (1 - b) * x,
)
formula(
    "twice beta_t: the chance to be drawn anew for the chance to flip",
    "binomial_kernel",
    lambda p: lambda x, t: (b := 2 * p.read("beta", p.time(t))) * p.prior + (1 - b) * x,
)
formula(
    "root of the kept share, as in the Gaussian column",
    "binomial_kernel",
    lambda p: (
        lambda x, t: p.read("sqrt_alpha", p.time(t)) * x + p.prior * p.read("beta", p.time(t))
    ),
)
formula(
    "root of the kept share, as in the Gaussian column",
    "binomial_marginal",
    lambda p: (
        lambda x, t: (
            p.read("sqrt_abar", p.time(t)) * x + p.prior * p.read("one_minus_abar", p.time(t))
        )
    ),
)
formula(
    "the likelihood of xt left out",
    "binomial_posterior",
    lambda p: (
        lambda x0, xt, t: (
            p.read("abar_prev", p.time(t)) * x0 + p.prior * p.read("lost_prev", p.time(t))
        )
    ),
)
formula(
    "the marginal before left out",
    "binomial_posterior",
    lambda p: lambda x0, xt, t: np.where(xt == 1, *p._bits_kernel(np.ones_like(xt), p.time(t))),
)
formula(
    "not normalised over both states",
    "binomial_posterior",
    lambda p: lambda x0, xt, t: p.joint(x0, xt, p.time(t))[0],
)
formula(
    "odds for probability",
    "binomial_posterior",
    lambda p: lambda x0, xt, t: np.divide(*p.joint(x0, xt, p.time(t))),
)

# K, (14), weights, (24): terms changed in Somebody's sums


def terms(mistake, subjects, method, change):
    """The terms go through `change`, which edits them or returns another sum of them, before
    `method` adds them up.
    """

    def make(subject, beta, options):
        person = Somebody(beta, **options)
        sum_up = getattr(person, method)

        def edited(k):
            other = change(k)
            return sum_up(k) if other is None else other

        setattr(person, method, edited)
        return getattr(person, subject)

    inject(mistake, subjects, make)


def both(mistake, change):
    terms(mistake, ["lower_bound", "binomial_lower_bound"], "bound", change)
    terms(mistake, ["eq14", "binomial_eq14"], "fourteen", change)


def edit(**changes):
    def change(k):
        old = SimpleNamespace(**vars(k))
        for name, new in changes.items():
            setattr(k, name, new(old))

    return change


both("sum KL counted twice", edit(kls=lambda k: k.kls + k.kls))
both("sign of sum KL flipped", edit(kls=lambda k: [-kl for kl in k.kls]))
both("sum KL left out", edit(kls=lambda k: [0 * k.H_1]))
both(
    "mean over t times T, where there are T - 1 terms",
    edit(kls=lambda k: [k.T * np.mean(k.kls, 0)]),
)
both("mean over t for the sum", edit(kls=lambda k: [np.mean(k.kls, 0)]))
both("sum over t divided by T", edit(kls=lambda k: [np.sum(k.kls, 0) / k.T]))
both("H_q(X^T|X^0) - H_q(X^1|X^0) left out", edit(H_T=lambda k: 0 * k.H_T, H_1=lambda k: 0 * k.H_1))
both("H_q(X^T|X^0) left out", edit(H_T=lambda k: 0 * k.H_T))
both("H_q(X^1|X^0) left out", edit(H_1=lambda k: 0 * k.H_1))
both("sign of H_q(X^T|X^0) - H_q(X^1|X^0) flipped", edit(H_T=lambda k: k.H_1, H_1=lambda k: k.H_T))
both("sign of H_q(X^T|X^0) flipped", edit(H_T=lambda k: -k.H_T))
both("sign of H_q(X^1|X^0) flipped", edit(H_1=lambda k: -k.H_1))
both(
    "H_q(X^T|X^0) - H_q(X^1|X^0) added once per t instead of once",
    edit(H_T=lambda k: k.H_T * len(k.kls), H_1=lambda k: k.H_1 * len(k.kls)),
)
both(
    "H_q(X^T|X^0) - H_q(X^1|X^0) added T times instead of once",
    edit(H_T=lambda k: k.H_T * k.T, H_1=lambda k: k.H_1 * k.T),
)
FOURTEEN, BOUND = ["eq14", "binomial_eq14"], ["lower_bound", "binomial_lower_bound"]
terms("H_p(X^T) left out", FOURTEEN, "fourteen", edit(H_pi=lambda k: 0 * k.H_pi))
terms("sign of H_p(X^T) flipped", FOURTEEN, "fourteen", edit(H_pi=lambda k: -k.H_pi))
terms(
    "both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0)",
    FOURTEEN,
    "fourteen",
    lambda k: k.H_T - k.H_1 - k.H_pi - sum(k.kls) - (-k.prior + k.cross_1 + k.H_1),
)
terms(
    "both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0)",
    BOUND,
    "bound",
    lambda k: (
        k.prior - k.cross_1 + k.cross_T + k.H_T - k.H_1 - sum(k.kls) + k.prior - k.cross_1 - k.H_1
    ),
)
terms(
    "(14) for K(x^0): its precondition is taken for granted",
    BOUND,
    "bound",
    lambda k: k.H_T - k.H_1 - k.H_pi - sum(k.kls),
)
terms("E log pi(x^T) left out", BOUND, "bound", edit(cross_T=lambda k: 0 * k.H_1))
terms("E log pi(x^1) left out", BOUND, "bound", edit(cross_1=lambda k: 0 * k.H_1))
terms("log pi(x^0) left out", BOUND, "bound", edit(prior=lambda k: 0 * k.H_1))
terms(
    "KL( q(x^T|x^0) || pi ) left out",
    BOUND,
    "bound",
    edit(cross_T=lambda k: 0 * k.H_1, H_T=lambda k: 0 * k.H_1),
)
terms(
    "the edge p(x^0|x^1) left out",
    BOUND,
    "bound",
    edit(prior=lambda k: 0 * k.H_1, cross_1=lambda k: 0 * k.H_1, H_1=lambda k: 0 * k.H_1),
)
terms(
    "sum over the batch for its mean",
    FOURTEEN,
    "fourteen",
    lambda k: len(k.H_1) * (k.H_T - k.H_1 - k.H_pi - sum(k.kls)),
)

WEIGHTS = ["log_weights", "binomial_log_weights"]
for mistake, change in {
    "p and q exchanged in the steps": lambda w: w.prior + sum(w.q) - sum(w.p),
    "p(x^T) left out": lambda w: sum(w.p) - sum(w.q),
    "sign of p(x^T) flipped": lambda w: sum(w.p) - sum(w.q) - w.prior,
    "sign of q(x^t|x^{t-1}) flipped": lambda w: w.prior + sum(w.p) + sum(w.q),
    "q(x^t|x^{t-1}) left out": lambda w: w.prior + sum(w.p),
    "p(x^{t-1}|x^t) left out": lambda w: w.prior - sum(w.q),
    "the first step left out": lambda w: w.prior + sum(w.p[1:]) - sum(w.q[1:]),
    "the last step left out": lambda w: w.prior + sum(w.p[:-1]) - sum(w.q[:-1]),
    "the edge p(x^0|x^1) left out": lambda w: w.prior + sum(w.p[1:]) - sum(w.q),
    "q(x^t|x^0) for q(x^t|x^{t-1})": lambda w: w.prior + sum(w.p) - sum(w.marginal),
    "mean over t for the sum": lambda w: w.prior + np.mean(np.array(w.p) - np.array(w.q), 0),
}.items():
    terms(mistake, WEIGHTS, "weight", change)

LOWER = ["entropy_lower_bound", "binomial_entropy_lower_bound"]
for mistake, change in {
    "H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0)": lambda h: h.step + (h.step + h.before - h.now) - h.now,
    "H_q(X^{t-1}|X^0) left out": lambda h: h.step - h.now,
    "H_q(X^t|X^0) left out": lambda h: h.step + h.before,
    "H_q(X^t|X^{t-1}) left out": lambda h: h.before - h.now,
    "H_q(X^{t-1}|X^0) and H_q(X^t|X^0) exchanged": lambda h: h.step + h.now - h.before,
    "sign of H_q(X^t|X^{t-1}) flipped": lambda h: h.before - h.step - h.now,
    "the upper bound for the lower": lambda h: 1 * h.step,
}.items():
    terms(mistake, LOWER, "lower", change)
for name, method in (("entropy", "entropies"), ("binomial_entropy", "bit_entropies")):
    formula(
        "the lower bound for the upper",
        f"{name}_upper_bound",
        lambda p, method=method: lambda x0, t: p.total(p.lower(getattr(p, method)(x0, p.time(t)))),
    )
    formula(
        "H_q(X^t|X^0) for H_q(X^t|X^{t-1})",
        f"{name}_upper_bound",
        lambda p, method=method: lambda x0, t: p.total(getattr(p, method)(x0, p.time(t)).now),
    )

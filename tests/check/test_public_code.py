"""What public code does: right forms that had been called wrong, mistakes that had no name."""

import math

import numpy as np
import pytest

from dpm_ref import check, schedules

BETA = np.linspace(1e-3, 0.1, 21)[1:]
EARLIER = np.linspace(1e-3, 0.1, 21)  # beta_0 too
ABAR, LONGER = np.cumprod(1 - BETA), np.cumprod(1 - EARLIER)
TANH = "the normal distribution function by tanh, as in DDPM's code"


def row_of(name, function, **conventions):
    return check.run({name: function}, **{"beta": BETA, **conventions}).rows[0]


def decoder(x, mean, var, half=1 / 255):
    """DDPM's, in whichever type the arguments have."""

    def cdf(u):
        return (1 + np.tanh(math.sqrt(2 / np.pi) * (u + 0.044715 * u**3))) / 2

    low, high = ((x - mean + edge) / np.sqrt(var) for edge in (-half, half))
    inside = np.log(np.maximum(cdf(high) - cdf(low), 1e-12))
    ends = [np.log(np.maximum(mass, 1e-12)) for mass in (cdf(high), 1 - cdf(low))]
    return np.where(x < -0.999, ends[0], np.where(x > 0.999, ends[1], inside))


def single(*arrays, **options):
    return decoder(*map(np.float32, arrays), **options)


# Right code


def test_a_form_that_is_accepted_loses_digits_in_float32_as_the_usual_one_does():
    row = row_of("decoder_log_prob", single, components="none")
    assert (row.status, row.message) == ("PRECISION", f"{TANH}; declare dtype='float32'?")
    declared = row_of("decoder_log_prob", single, components="none", dtype="float32")
    assert (declared.status, declared.message) == ("PASS", TANH)


@pytest.mark.parametrize("returned", [np.float32, np.float64])
def test_a_mistake_beside_that_form_is_no_loss_of_digits(returned):
    def narrow(*arrays):
        return returned(single(*arrays, half=np.float32(1 / 256)))

    row = row_of("decoder_log_prob", narrow, components="none")
    assert row.status == "WRONG"
    assert row.diagnoses[0].startswith("1/256 for 1/255")


def test_the_digits_of_an_accepted_form_are_those_by_which_it_differs_from_itself():
    row = row_of("decoder_log_prob", decoder, components="none")
    assert (row.status, row.message) == ("PASS", TANH)
    assert row.digits > 9


def cosine32(T, least=0.0):
    x = np.arange(T + 1, dtype=np.float32) / np.float32(T)
    abar = np.cos((x + np.float32(0.008)) / np.float32(1.008) * np.float32(np.pi / 2)) ** 2
    return np.clip(1 - abar[1:] / abar[:-1], np.float32(least), np.float32(0.999))


@pytest.mark.parametrize("T", [500, 1000, 4000])
def test_the_cosine_schedule_in_float32_loses_digits_where_its_ratio_is_steep(T):
    report = check.run({"betas": cosine32(T)}, beta=("cosine", T), dtype="float32")
    report.assert_ok(allow=["PRECISION"])


def test_a_schedule_clipped_from_below_is_told_beside_the_digits_that_float32_loses():
    row = row_of("betas", cosine32(1000, 1e-4), beta=("cosine", 1000), dtype="float32")
    assert (row.status, row.diagnoses) == ("WRONG", ("beta clipped to [0.0001, 0.999]",))


@pytest.mark.parametrize(("dtype", "status"), [("float64", "PASS"), ("float32", "PRECISION")])
def test_a_coefficient_that_is_zero_but_for_rounding_is_right(dtype, status):
    for beta in (np.array([0.3, 0.1, 0.2]), schedules.linear(1000, first=1e-4, last=0.02)):
        alpha, abar = (1 - beta).astype(dtype), np.cumprod(1 - beta).astype(dtype)
        table = (np.sqrt(alpha) - abar / np.sqrt(alpha)) / (1 - abar)
        row = row_of("posterior_mean_coef2", table, beta=beta, dtype=dtype)
        assert row.status in ("PASS", status)
        wrong = np.append(table[1] / 10, table[1:])
        assert row_of("posterior_mean_coef2", wrong, beta=beta, dtype=dtype).status == "WRONG"


def test_a_constant_in_every_logarithm_is_told_from_float32():
    def posterior(x0, xt, t):
        likelihood = np.stack([1 - xt, xt]) * (1 - BETA[t]) + BETA[t] / 2
        kept = ABAR[t - 1] if t else 1.0
        before = np.stack([1 - x0, x0]) * kept + (1 - kept) / 2
        product = (likelihood + 1e-6) * (before + 1e-6)
        return product[1] / product.sum(0)

    row = row_of("binomial_posterior", posterior, first_t=0)
    assert row.status == "PRECISION"
    assert row.diagnoses == ("a small constant added to a variance, a table or a probability",)


# Mistakes


def test_a_linear_schedule_of_a_step_more_is_told_with_and_without_its_first_factor():
    made = {"betas": BETA, "alphas_cumprod": LONGER[1:]}
    ends = {"first": 1e-3, "last": 0.1, "scaled": False}
    report = check.run(made, beta=("linear", 20, ends))
    assert report["betas"].diagnoses[0] == "linear over T + 1 steps, the first left out"
    name = "linear over T + 1 steps, the first in the product alone"
    assert report["alphas_cumprod"].diagnoses == (name,)


def test_a_product_that_begins_before_the_first_step_is_told_by_its_factor():
    def q_sample(x0, t, noise):
        return np.sqrt(LONGER[t]) * x0 + np.sqrt(1 - LONGER[t]) * noise

    for name, made in {"alphas_cumprod": LONGER[1:], "q_sample": q_sample}.items():
        assert row_of(name, made).diagnoses == ("the product has a factor 0.999 too many",)


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_the_product_before_the_first_step_is_told_whatever_it_is(eta):
    before = np.append(0.997, ABAR[:-1])

    def step(xt, t, eps, noise):
        now, prev = ABAR[t - 1], before[t - 1]
        std = eta * np.sqrt((1 - prev) / (1 - now) * (1 - now / prev))
        x0 = (xt - np.sqrt(1 - now) * eps) / np.sqrt(now)
        return np.sqrt(prev) * x0 + np.sqrt(1 - prev - std**2) * eps + std * noise

    for name, made in {"abar_prev": before, "ddim_step": step}.items():
        row = row_of(name, made, eta=eta)
        assert row.status == "WRONG"
        assert row.diagnoses == ("the product before the first step is 0.997, not 1",)


def test_one_value_that_is_off_tells_nothing_about_the_product():
    row = row_of("abar", np.append(0.7, ABAR[1:]))
    assert (row.status, row.diagnoses) == ("WRONG", ())
    assert "deviates at t = 1 only" in row.message


def test_two_ways_to_build_a_schedule_go_together():
    made = np.linspace(1e-4**0.5, 0.02**0.5, 100) ** 2
    (name,) = row_of("betas", made, beta=("linear", 100)).diagnoses
    assert sorted(name.split(", and ")) == [
        "beta not scaled by 1000 / T: declare {'scaled': False}?",
        "the quadratic schedule with the same ends",
    ]


@pytest.mark.parametrize("capped", [0.999, None])
def test_the_root_of_alpha_is_told_whether_or_not_the_last_rate_is_capped_after_it(capped):
    beta = schedules.cosine(50)
    made = np.where(beta == capped, beta, 1 - np.sqrt(1 - beta))
    row = row_of("betas", made, beta=beta)
    said = "sqrt(1 - beta_t) for 1 - beta_t at each step"
    assert row.diagnoses == ("the cosine not squared: " * (capped is not None) + said,)


def test_noise_that_one_row_takes_from_all_is_told():
    std = np.sqrt(BETA)[:, None]

    def step(xt, t, eps, noise):
        t = t - 1
        mean = (xt - std[t] ** 2 / np.sqrt(1 - ABAR[t][:, None]) * eps) / np.sqrt(1 - std[t] ** 2)
        return mean + (std[t] * noise if t.min() > 0 else 0.0)

    row = row_of("p_sample", step, t_shape="batch", reverse_var="beta")
    assert row.diagnoses == ("no noise in any row where one is at the last step",)


@pytest.mark.parametrize("cap", [0.02, 0.05])
def test_rates_that_are_capped_are_told_by_the_cap_also_in_their_product(cap):
    beta = np.minimum(schedules.cosine(100), cap)
    report = check.run(
        {"alphas_cumprod": np.cumprod(1 - beta), "betas": beta}, beta=("cosine", 100)
    )
    for row in report.rows:
        assert row.diagnoses == (f"beta clipped to at most {cap}",)


def clipped_ddim(xt, t, eps, noise):
    before, eta = np.append(1.0, ABAR[:-1]), 0.5
    now, prev = ABAR[t - 1], before[t - 1]
    std = eta * np.sqrt((1 - prev) / (1 - now) * (1 - now / prev))
    x0 = ((xt - np.sqrt(1 - now) * eps) / np.sqrt(now)).clip(-1, 1)
    eps = (xt - np.sqrt(now) * x0) / np.sqrt(1 - now)
    return np.sqrt(prev) * x0 + np.sqrt(1 - prev - std**2) * eps + std * noise


def test_ddims_step_from_a_clipped_x0_is_told():
    row = row_of("ddim_step", clipped_ddim, eta=0.5)
    assert row.diagnoses == ("x^0 clipped to [-1, 1], and the noise taken from it",)


def test_a_mistake_is_told_in_results_that_are_clipped():
    def step(xt, t, eps, noise):
        mean = (xt - BETA[t] / np.sqrt(1 - ABAR[t]) * eps) / np.sqrt(1 - BETA[t])
        return (mean + np.sqrt(BETA[t]) * (noise if t > 1 else 0.0)).clip(-1, 1)

    row = row_of("p_sample", step, first_t=0, reverse_var="beta")
    name = "no noise at the last step but one either, and clipped to [-1, 1]"
    assert row.diagnoses == (name,)


# Divergences, densities, weights and bounds, as VAEs and the code of the 2015 paper write them


def log_mean_exp(log_w, add=0.0):  # thu-ml/ZhuSuan and others: no guard against weights of zero
    largest = log_w.max(0)
    return largest + np.log(np.exp(log_w - largest).mean(0) + np.asarray(add, log_w.dtype))


def bits_kl(q, p, add=0.0):
    return (q * np.log(q / (p + add)) + (1 - q) * np.log((1 - q) / (1 - p + add))).sum(-1)


UNGUARDED = {
    "log_likelihood": log_mean_exp,
    "bernoulli_kl": bits_kl,
    "bernoulli_entropy": lambda p: -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum(-1),
    "bernoulli_log_prob": lambda x, p: (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(-1),
}


@pytest.mark.parametrize("name", UNGUARDED)
def test_a_formula_that_gives_no_number_at_the_ends_alone_says_so(name):
    row = row_of(name, UNGUARDED[name])
    assert (row.status, row.diagnoses) == ("WRONG", ())
    assert row.message.startswith("returns nan in ")
    assert "at the ends of the range only" in row.message
    twice = row_of(name, lambda *arrays: 2 * UNGUARDED[name](*arrays))
    assert twice.diagnoses[0].startswith("twice as large")


def test_a_mistake_is_told_beside_numbers_that_are_missing_at_the_ends():
    row = row_of("bernoulli_kl", lambda q, p: bits_kl(p, q))
    assert (row.status, row.diagnoses[0]) == ("WRONG", "KL reversed: KL(p || q)")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_constant_that_guards_a_logarithm_is_told(dtype):
    def guarded(q, p):
        terms = [a * np.log((a + 1e-7) / (b + 1e-7)) for a, b in ((q, p), (1 - q, 1 - p))]
        return sum(terms).sum(-1)

    row = row_of("bernoulli_kl", guarded, dtype=dtype)
    assert row.status == "PRECISION"


def test_a_number_where_an_infinity_is_wanted_stays_wrong_at_the_ends_too():
    row = row_of("log_likelihood", lambda log_w: np.nan_to_num(log_mean_exp(log_w), nan=0.0))
    assert row.status == "WRONG"


def test_a_constant_added_to_standard_deviations_is_told():
    def kl(mean_q, std_q, mean_p, std_p):
        q, p = std_q + 1e-5, std_p + 1e-5
        return (np.log(p / q) + (q**2 + (mean_q - mean_p) ** 2) / (2 * p**2) - 0.5).sum(-1)

    row = row_of("gaussian_kl", kl, spread="std")
    name = "a small constant added to a variance, a table or a probability"
    assert (row.status, row.diagnoses) == ("PRECISION", (name,))


def test_a_change_that_leaves_infinities_as_they_are_explains_nothing():
    row = row_of("log_likelihood", lambda w: log_mean_exp(w, 1e-5), dtype="float32")
    assert "sign of log n flipped" not in row.diagnoses


def kl(mean_q, var_q, mean_p, var_p):
    return 0.5 * (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1)


def both(mean_q, var_q, mean_p, var_p):
    return 0.5 * (kl(mean_q, var_q, mean_p, var_p) + kl(mean_p, var_p, mean_q, var_q)).sum(-1)


def from_bits(q, p):
    with np.errstate(all="ignore"):
        return 0.5 * np.nansum((q - p) * (np.log(q / p) - np.log((1 - q) / (1 - p))), -1)


DIVERGENCES = {
    "var_p used as a standard deviation: squared": lambda m, v, n, w: kl(m, v, n, w**2).sum(-1),
    "KL( q || N(0, 1) ), whatever p is": lambda m, v, n, w: kl(m, v, 0.0, 1.0).sum(-1),
    "the mean of both divergences": both,
}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_mistaken_divergence_is_told(name):
    assert row_of("gaussian_kl", DIVERGENCES[name]).diagnoses[0] == name


def test_the_mean_of_both_divergences_of_bits_is_told():
    assert row_of("bernoulli_kl", from_bits).diagnoses == ("the mean of both divergences",)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_gradient_of_a_mean_is_told_where_the_sum_is_declared(axis):
    def slope(mean_q, var_q, mean_p, var_p):
        return (mean_p - mean_q) / var_p / mean_p.shape[axis]

    name = ("divided by the size of the batch", "mean over components where the sum is declared")
    assert row_of("gaussian_kl_grad_mean", slope).diagnoses[0] == name[axis]
    bits = row_of("bernoulli_kl_grad", lambda q, p: (p - q) / (p * (1 - p)) / p.shape[axis])
    assert bits.diagnoses[0] == name[axis]


def bound(change):
    """What is made of the parts of K (13)."""
    before = np.append(1.0, ABAR[:-1])
    first, second, var = (
        each[1:, None, None]
        for each in (
            np.sqrt(before) * BETA / (1 - ABAR),
            np.sqrt(1 - BETA) * (1 - before) / (1 - ABAR),
            BETA * (1 - before) / (1 - ABAR),
        )
    )

    def K(x0, xs, means, variances):
        def log_pi(kept):
            return -0.5 * (math.log(2 * np.pi) + kept * x0**2 + 1 - kept)

        return change(
            kl(first * x0 + second * xs, var, means, variances).sum(0),
            0.5 * np.log((1 - ABAR[-1]) / (1 - ABAR[0])),
            log_pi(ABAR[-1]),
            log_pi(1.0) - log_pi(ABAR[0]),
            xs[-1],
        )

    return K


def test_the_sum_of_the_divergences_returned_for_the_bound_is_told():
    alone = bound(lambda kl, *_: -kl.sum(-1))
    assert row_of("lower_bound", alone).diagnoses[0] == "the sum of the KL terms alone"


def test_the_prior_at_the_state_drawn_is_told():
    def drawn(kl, entropies, at_T, edge, x_T):
        log_pi = -0.5 * (math.log(2 * np.pi) + x_T**2)
        return (entropies + log_pi + edge - kl).sum(-1)

    row = row_of("lower_bound", bound(drawn))
    assert row.diagnoses == ("log pi(x^T) at the x^T drawn, not its mean",)


def test_divergences_summed_over_the_batch_are_told_in_14():
    def summed(kl, entropies, *_):
        prior = 0.5 * math.log(2 * np.pi * np.e)
        return kl.shape[-1] * (entropies - prior) - kl.sum()

    assert row_of("eq14", bound(summed)).diagnoses[0] == "sum over the batch in sum KL only"


def of_bits(read=lambda p: p, pi=0.3, in_prior=0.3, turned=False):
    """K of bits, as somebody writes it, with what is done wrong."""
    before = np.append(1.0, ABAR[:-1])

    def h(p):
        return -p * np.log(p) - (1 - p) * np.log(1 - p)

    def K(x0, xs, probs):
        def log_pi(p):
            return p * math.log(in_prior) + (1 - p) * math.log(1 - in_prior)

        def at(kept):
            return kept * x0 + (1 - kept) * pi

        total = h(at(ABAR[-1])) - h(at(ABAR[0])) + log_pi(at(ABAR[-1])) + log_pi(x0)
        total = total - log_pi(at(ABAR[0]))
        for t in range(1, len(BETA)):
            x, b, p = xs[t - 1], BETA[t], read(probs[t - 1])
            like = [np.where(x == k, 1 - b, 0) + b * np.where(x, pi, 1 - pi) for k in (0, 1)]
            if turned:  # the kernel from x^t where that to it is meant
                like = [np.where(x == k, 1 - b, 0) + b * (pi, 1 - pi)[1 - k] for k in (0, 1)]
            one, zero = like[1] * at(before[t]), like[0] * (1 - at(before[t]))
            q = one / (one + zero)
            total = total - q * np.log(q / p) - (1 - q) * np.log((1 - q) / (1 - p))
        return total.sum(-1)

    return K


BITS = {
    "probs taken for a logit": {"read": lambda p: 1 / (1 + np.exp(-p))},
    "0 and 1 of probs exchanged": {"read": lambda p: 1 - p},
    "pi_1 taken as 1/2 in the prior alone": {"in_prior": 0.5},
    "the kernel transposed in the likelihood of xt": {"turned": True},
}


@pytest.mark.parametrize("name", BITS)
def test_mistakes_in_the_bound_of_bits_are_told(name):
    assert row_of("binomial_lower_bound", of_bits(), prior=0.3).status == "PASS"
    row = row_of("binomial_lower_bound", of_bits(**BITS[name]), prior=0.3)
    assert row.diagnoses[0] == name


def test_a_time_that_is_fixed_is_told_by_its_name_first():
    def prior_kl(x0):
        return 0.5 * (ABAR[0] * x0**2 - ABAR[0] - np.log(1 - ABAR[0])).sum(-1)

    assert row_of("prior_kl", prior_kl).diagnoses[0] == "t = 1 for t = T"
    edge = row_of("binomial_edge", lambda x1: x1 * (1 - BETA[-1]) + BETA[-1] / 2)
    assert edge.diagnoses[0] == "t = T for t = 1"


def cosine_rates(T, least, most):
    kept = np.cos((np.arange(T + 1) / T + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.clip(1 - kept[1:] / kept[:-1], least, most)


@pytest.mark.parametrize(("T", "least", "most"), [(1000, 1e-4, 0.02), (300, 1e-3, 0.5)])
def test_rates_that_are_clipped_at_both_ends_are_told_in_whatever_follows_from_them(T, least, most):
    beta = cosine_rates(T, least, most)
    abar = np.cumprod(1 - beta)

    def q_sample(x0, t, noise):
        return np.sqrt(abar[t - 1]) * x0 + np.sqrt(1 - abar[t - 1]) * noise

    made = {
        "betas": beta,
        "alphas_cumprod": abar,
        "posterior_variance": beta * (1 - np.append(1.0, abar[:-1])) / (1 - abar),
        "q_sample": q_sample,
    }
    for row in check.run(made, beta=("cosine", T)).rows:
        assert row.diagnoses == (f"beta clipped to [{least:.6g}, {most:.6g}]",)


def test_numbers_of_a_schedule_in_float32_are_told_only_where_they_differ():
    beta = cosine_rates(300, 0.0, 0.9999).astype(np.float32)
    root = np.sqrt(np.cumprod(1 - beta, dtype=np.float32))
    row = row_of("sqrt_abar", root, beta=("cosine", 300), dtype="float32")
    assert row.diagnoses == ("the cosine schedule with cap = 0.9999",)


def test_noise_that_the_first_row_takes_or_leaves_for_all_is_told():
    def step(xt, t, eps, noise):
        k = t - 1
        mean = (xt - BETA[k, None] / np.sqrt(1 - ABAR[k, None]) * eps) / np.sqrt(1 - BETA[k, None])
        return mean + (np.sqrt(BETA[k, None]) * noise if t[0] > 1 else 0.0)

    row = row_of("p_sample", step, t_shape="batch", reverse_var="beta")
    assert row.diagnoses == ("noise in all rows or in none, by the first row's t",)


def drawn_by(kept):
    """Steps of score-based code, from what a network of each kind predicts."""

    def scores(xt, t, out):
        root, rest = ABAR[t - 1] ** 0.5, 1 - ABAR[t - 1]
        return {"score": out, "eps": -out / rest**0.5, "x0": (root * out - xt) / rest}

    def step(kind, xt, t, out, noise=0.0):
        rate = BETA[t - 1]
        return kept(rate) * xt + rate * scores(xt, t, out)[kind] + np.sqrt(rate) * noise

    return step


@pytest.mark.parametrize(
    ("said", "kept"),
    {
        "(1 + beta_t / 2) xt + beta_t score: an Euler step of the equation": lambda b: 1 + b / 2,
        "(2 - sqrt(alpha_t)) xt + beta_t score: the reverse diffusion of score-based code": (
            lambda b: 2 - np.sqrt(1 - b)
        ),
    }.items(),
)
@pytest.mark.parametrize("model", ["score", "eps", "x0"])
def test_steps_of_the_stochastic_equation_are_told_by_any_model(model, said, kept):
    def made(*arguments):
        return drawn_by(kept)(model, *arguments)

    named = {"reverse_var": "beta", "silent": False, "model": model}
    assert row_of("p_sample", made, **named).diagnoses == (said,)
    assert row_of(f"mean_from_{model}", made).diagnoses == (said,)


def test_a_step_forwards_by_euler_is_told():
    row = row_of("kernel_mean", lambda x, t: x - BETA[t - 1] / 2 * x)
    assert row.diagnoses == ("1 - beta_t / 2 for sqrt(1 - beta_t): an Euler step",)


def test_the_continuous_product_over_discrete_rates_is_told():
    """beta(t) = .1 + 19.9 t, integrated to k / 200, beside the rates beta(t) / 200."""
    t = np.arange(1, 201) / 200
    integral = 0.1 * t + 19.9 * t**2 / 2
    row = row_of("abar", np.exp(-integral), beta=np.linspace(0.1, 20.0, 200) / 200)
    name = "exp(-integral of beta(t)) for the product: abar_t in continuous time"
    assert row.diagnoses == (name,)


def test_noise_at_time_0_is_told_where_rates_are_read_from_ratios():
    """As code with a network of the log signal-to-noise ratio does, gamma(0) = -8."""
    gamma = np.linspace(-8.0, 6.0, 21)
    alpha, sigma = np.sqrt(1 / (1 + np.exp(gamma))), np.sqrt(1 / (1 + np.exp(-gamma)))

    def mean(xt, t, eps):
        c = -np.expm1(gamma[t - 1] - gamma[t])
        return alpha[t - 1] / alpha[t] * (xt - c * sigma[t] * eps)

    row = row_of("mean_from_eps", mean, beta=None, log_snr=-gamma[1:])
    assert row.diagnoses == (f"the product before the first step is {alpha[0] ** 2:.6g}, not 1",)


def test_the_last_product_before_the_first_step_is_told_where_rates_are_read_from_ratios():
    def mean(x0, xt, t):
        now, before = ABAR[t], ABAR[t - 1]
        alpha = now / before
        from_x0, from_xt = np.sqrt(before) * (1 - alpha), np.sqrt(alpha) * (1 - before)
        return (from_x0 * x0 + from_xt * xt) / (1 - now)

    row = row_of("posterior_mean", mean, first_t=0)
    assert row.diagnoses == ("the product before the first step is abar_T, not 1: index -1",)


def test_a_small_constant_in_divisors_alone_is_told_from_a_mistake():
    def mean(xt, t, eps):
        root, std = np.sqrt(1 - BETA[t - 1]) + 1e-5, np.sqrt(1 - ABAR[t - 1]) + 1e-5
        return (xt - BETA[t - 1] / std * eps) / root

    row = row_of("mean_from_eps", mean)
    assert row.status == "PRECISION"
    assert row.diagnoses == ("a small constant added to a variance, a table or a probability",)


def test_a_divergence_whose_variances_count_once_is_told():
    """The dimension handed over as 1, as code for molecules does for features."""

    def prior_kl(x0):
        var = 1 - ABAR[-1]
        return 0.5 * (var - np.log(var) - 1 + ABAR[-1] * (x0**2).reshape(len(x0), -1).sum(1))

    row = row_of("prior_kl", prior_kl, components="sum")
    name = "all but the means' part of the divergence once, not for each component"
    assert row.diagnoses == (name,)


def posterior_variance(t):
    before = ABAR[t - 2] if t > 1 else 1.0
    return BETA[t - 1] * (1 - before) / (1 - ABAR[t - 1])


def learned(w, t):
    return np.exp(w / 2 * np.log(BETA[t - 1]) + (1 - w / 2) * np.log(posterior_variance(t)))


def misread(xt, t, eps, noise):
    now, before = ABAR[t - 1], ABAR[t - 2] if t > 1 else 1.0
    var = 0.25 * (1 - before) / (1 - now) * ((1 - now) / before)
    x0 = (xt - np.sqrt(1 - now) * eps) / np.sqrt(now)
    kept = np.sqrt(np.maximum(1 - before - var, 0.0))
    return np.sqrt(before) * x0 + kept * eps + np.sqrt(var) * noise


def twice_divided(xt, t, eps):
    root = np.sqrt(1 - BETA[t - 1])
    return (xt - BETA[t - 1] / np.sqrt(1 - ABAR[t - 1]) / root * eps) / root


def flow(xt, t, score):
    return (2 - np.sqrt(1 - BETA[t - 1])) * xt + BETA[t - 1] / 2 * score


def predicted(xt, t, eps):
    return (xt - np.sqrt(1 - ABAR[t - 1]) * eps) / np.sqrt(ABAR[t - 1])


def noisy_ddim(xt, t, eps, noise):
    before = ABAR[t - 2] if t > 1 else 1.0
    mean = np.sqrt(before) * predicted(xt, t, eps) + np.sqrt(1 - before) * eps
    return mean + (t > 1) * np.sqrt(BETA[t - 1]) * noise


def ddim_of_eta(xt, t, eps, noise):
    before = ABAR[t - 2] if t > 1 else 1.0
    kept = np.sqrt(np.maximum(1 - before - 0.2**2, 0.0))
    return np.sqrt(before) * predicted(xt, t, eps) + kept * eps + 0.2 * noise


def unbracketed(x, mean, logvar):
    return (-0.5 * (x - mean) ** 2 / np.exp(logvar) + logvar + np.log(2 * np.pi)).sum(1)


def half_negative(x, mean, std):
    rest = np.log(std) + 0.5 * ((x - mean) / std) ** 2
    return (-0.5 * np.log(2 * np.pi) + rest).sum(1)


def without_log(x, mean, std):
    return (-0.5 * np.log(2 * np.pi) - std - 0.5 * ((x - mean) / std) ** 2).sum(1)


def squared_log(std):
    return 0.5 * (np.log(2 * np.pi * np.e) + np.log(std) ** 2).sum(1)


def terms_of_kl(m, v, n, w):
    return 0.5 * (np.log(w / v) + (v + (m - n) ** 2) / w)


def batch_kl(*given):
    return np.full(len(given[0]), (terms_of_kl(*given) - 0.5).sum())


def broad_kl(*given):
    return (terms_of_kl(*given) - 0.5 * given[0].shape[1]).sum(1)


ETA, STD = {"eta": 0.2}, {"spread": "std"}
OTHERS = {  # by hand
    "division by sqrt(alpha_t) reaches the term of eps twice": ("mean_from_eps", twice_divided, {}),
    "(2 - sqrt(alpha_t)) xt + beta_t score / 2: a step of the probability flow": (
        "mean_from_score",
        flow,
        {},
    ),
    "DDIM's step, without noise, for the mean": ("p_sample", noisy_ddim, {"reverse_var": "beta"}),
    "eta itself for sigma_t": ("ddim_step", ddim_of_eta, ETA),
    "-1/2 reaches the square only": ("gaussian_log_prob", unbracketed, {"spread": "logvar"}),
    "the minus reaches log 2 pi only": ("gaussian_log_prob", half_negative, STD),
    "sqrt(var) for log sqrt(var)": ("gaussian_log_prob", without_log, STD),
    "log sqrt(var) squared, not doubled": ("gaussian_entropy", squared_log, STD),
    "summed over the batch": ("gaussian_kl", batch_kl, {}),
    "-1/2 d times in each component": ("gaussian_kl", broad_kl, {}),
    "1 not added to w": ("learned_range_var", learned, {}),
    "(1 - abar_t) / abar_{t-1} for 1 - abar_t / abar_{t-1}": ("ddim_step", misread, {"eta": 0.5}),
    "product of 1 + beta_s, not of 1 - beta_s": ("abar", np.cumprod(1 + BETA), {}),
    "pi_1 taken as 1: the factor is forgotten": (
        "binomial_kernel",
        lambda x, t: (1 - BETA[t - 1]) * x + BETA[t - 1],
        {},
    ),
}


@pytest.mark.parametrize("said", OTHERS)
def test_slips_of_the_pen_are_told(said):
    name, made, conventions = OTHERS[said]
    assert row_of(name, made, **conventions).diagnoses[0] == said


def test_a_sum_over_t_that_is_multiplied_by_its_length_is_told():
    def flat(x):
        return x.reshape(len(x), -1).sum(1)

    def nll(model, x0):
        rng, last = np.random.default_rng(0), 1 - ABAR[-1]
        made = 0.5 * flat(last - np.log(last) - 1 + ABAR[-1] * x0**2)
        for t in range(1, len(BETA) + 1):
            rate, now, before = BETA[t - 1], ABAR[t - 1], ABAR[t - 2] if t > 1 else 1.0
            xt = np.sqrt(now) * x0 + np.sqrt(1 - now) * rng.standard_normal(x0.shape)
            off = np.sqrt(before) * rate / (1 - now) * (x0 - model(xt, np.full(len(x0), t)))
            var = posterior_variance(t) / rate if t > 1 else 1.0
            kl = 0.5 * (off**2 / rate + var - np.log(var) - 1)
            l_0 = 0.5 * (off**2 / rate + np.log(2 * np.pi * rate))
            made = made + (len(BETA) * flat(kl) if t > 1 else flat(l_0))
        return made

    named = {"model": "x0", "reverse_var": "beta", "decoder": "gaussian"}
    assert row_of("nll", nll, **named).diagnoses[0] == "sum over t times T"


def test_two_mistakes_are_told_that_make_no_difference_at_the_first_step():
    """x^0 clipped and the noise forgotten, where at t = 1 there is no noise."""

    def step(xt, t, eps, noise):
        now, before = ABAR[t - 1], ABAR[t - 2] if t > 1 else 1.0
        x0 = ((xt - np.sqrt(1 - now) * eps) / np.sqrt(now)).clip(-1, 1)
        from_x0 = np.sqrt(before) * BETA[t - 1] * x0
        return (from_x0 + np.sqrt(1 - BETA[t - 1]) * (1 - before) * xt) / (1 - now)

    row = row_of("p_sample", step, reverse_var="posterior")
    assert "x^0 clipped to [-1, 1], and the noise left out" in row.diagnoses


def test_a_cosine_in_closed_form_that_does_not_begin_at_1_is_told():
    """math.cos of the textbook's f(t), which its author forgot to divide by f(0)."""
    f = np.array([math.cos((t / 40 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1, 41)])
    said = "the cosine schedule in closed form, abar_t not divided by f(0)"
    functions = {
        "abar": f,
        "q_sample": lambda x0, t, e: (f[t - 1] ** 0.5) * x0 + (1 - f[t - 1]) ** 0.5 * e,
    }
    for row in check.run(functions, beta=("cosine", 40)).rows:
        assert (row.status, row.diagnoses) == ("WRONG", (said,))
    divided = f / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert check.run({"abar": divided}, beta=("cosine", 40)).rows[0].diagnoses != (said,)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda q, p: q * (np.log(q) - p), "the logarithm forgotten in q1 log(p1)"),
        (lambda q, p: q * (q / p), "the logarithm forgotten in q1 log(q1 / p1)"),
        (lambda q, p: np.log(q / p), "q1 left out before the logarithm"),
    ],
)
def test_a_change_of_the_terms_of_both_states_is_one_mistake(change, told):
    """Probabilities handed to a divergence that wants their logarithms, for one."""
    row = row_of(
        "bernoulli_kl", lambda q, p: change(q, p) + change(1 - q, 1 - p), components="none"
    )
    assert row.diagnoses[0] == told


def test_a_constant_in_a_ratio_of_probabilities_is_told():
    def kl(q, p):
        ratios = ((q, q / (p + 1e-7)), (1 - q, (1 - q) / (1 - p + 1e-7)))
        return sum(a * np.log(np.maximum(b, 1e-7)) for a, b in ratios).sum(-1)

    row = row_of("bernoulli_kl", kl)
    assert row.status == "PRECISION"
    assert row.diagnoses[0].startswith("a small constant added to")


@pytest.mark.parametrize(
    ("name", "function", "told"),
    [
        (
            "bernoulli_kl",
            lambda q, p: -bits_kl(q.clip(1e-6, 1 - 1e-6), p.clip(1e-6, 1 - 1e-6)),
            "sign flipped",
        ),
        (
            "bernoulli_log_prob",
            lambda x, p: np.log10(np.where(x == 1, p, 1 - p) + 1e-10).sum(-1),
            "log10 for ln",
        ),
    ],
)
def test_a_mistake_is_told_though_something_else_differs_at_the_ends_of_the_range(
    name, function, told
):
    row = row_of(name, function)
    assert (row.status, row.diagnoses) == ("WRONG", (told,))
    assert row.message.startswith("differs besides at the ends of the range only")


def test_a_share_is_told_by_what_it_was_divided_by():
    row = row_of("gaussian_entropy", lambda v: np.log(2 * np.pi * np.e * v).sum(-1) / 510)
    assert row.message.endswith("got is wanted divided by 255")


def test_digits_that_float64_lost_are_not_said_to_be_those_of_float32():
    """A variance by 1 minus Kalman's gain."""
    row = row_of("factor_var", lambda m, var, y, var_y: (1 - var / (var + var_y)) * var)
    assert (row.status, row.diagnoses) == ("PRECISION", ("digits lost, as many as in float32",))


def test_a_product_that_is_taken_twice_is_told():
    row = row_of("alphas_cumprod", np.cumprod(ABAR))
    assert row.diagnoses == ("the product taken twice",)


def test_half_the_squared_distance_for_the_divergence_is_told():
    def half(mean_q, var_q, mean_p, var_p):
        return 0.5 * ((mean_q - mean_p) ** 2).sum(-1)

    row = row_of("gaussian_kl", half)
    assert row.diagnoses == ("the means' square alone, variances taken as 1",)


def test_the_direction_of_ddim_is_written_with_its_minus():
    def step(xt, t, eps, noise):
        now, before = ABAR[t - 1], ABAR[t - 2] if t > 1 else 1.0
        var = 0.25 * BETA[t - 1] * (1 - before) / (1 - now)
        x0 = (xt - np.sqrt(1 - now) * eps) / np.sqrt(now)
        return np.sqrt(before) * x0 + (1 - before - var) * eps + np.sqrt(var) * noise

    row = row_of("ddim_step", step, eta=0.5)
    assert row.diagnoses == ("1 - abar_{t-1} - sigma_t^2 without its root",)


def test_the_share_of_the_prior_left_out_is_told():
    """A statement cut in two by the end of its line."""
    row = row_of("binomial_marginal", lambda x0, t: ABAR[t - 1] * x0)
    assert row.diagnoses == ("pi_1 taken as 0", "pi1 (1 - abar_t) left out")


def test_a_root_that_is_not_taken_of_the_numerator_is_no_square():
    row = row_of("sqrt_recipm1_abar", (1 - ABAR) / np.sqrt(ABAR))
    assert row.diagnoses[0] == "the root reaches 1 / abar_t only"


def test_a_cosine_that_is_not_squared_is_told_by_its_cap():
    f = np.cos((np.arange(41) / 40 + 0.008) / 1.008 * np.pi / 2)
    beta = np.clip(1 - f[1:] / f[:-1], 0, 0.999)
    row = row_of("betas", beta, beta=("cosine", 40))
    said = "the cosine not squared: sqrt(1 - beta_t) for 1 - beta_t at each step"
    assert row.diagnoses[0] == said
    row = row_of("one_minus_abar", 1 - np.sqrt(ABAR))
    assert "sqrt(1 - beta_t) for 1 - beta_t at each step" in row.diagnoses
    assert said not in row.diagnoses


@pytest.mark.parametrize(
    ("sign", "told"),
    [
        (-1, "the squared error for the log density"),
        (1, "sign flipped, and the squared error for the log density"),
    ],
)
def test_a_squared_error_for_a_log_density_is_told(sign, told):
    row = row_of("gaussian_log_prob", lambda x, mean, var: sign * ((x - mean) ** 2).sum(-1))
    assert row.diagnoses[0] == told

"""Hold another implementation's functions against this one: which equation, how far off, at which input, and what mistake it looks like.

    report = check.run({"posterior_mean": mine.q_posterior_mean, "gaussian_kl": mine.kl}, beta=mine.beta, first_t=0)
    print(report); report.assert_ok()

`functions` maps names to callables, any subset of the names below, or is a callable beta -> such a mapping, which is then handed
schedules drawn here. A function is called with the arguments that `python -m dpm_ref.check --list` shows, batches of vectors
(n, d) or of the `shape` declared, and returns an array or a tensor. Conventions are declared:

    first_t 1 | 0          t_shape "scalar" | "batch"       spread "var" | "std" | "logvar"     unit "nats" | "bits"
    components "sum" | "mean" | "none"                      dtype "float64" | "float32"         shape (n, ...)
    to_native, from_native: converters of arguments and results         beta, prior, data: the schedule, pi_1, vectors x^0

Each row of the report is PASS; PRECISION, right mathematics that loses digits; WRONG, with every known mistake that reproduces
every value; or UNDEFINED, where a precondition fails. The same from a shell: `python -m dpm_ref.check mymodule:functions`.

Names:

    beta | alpha | abar | abar_prev | one_minus_abar | sqrt_abar | sqrt_one_minus_abar | log_abar | log_one_minus_abar | log_snr |
    sqrt_recip_abar | sqrt_recipm1_abar | posterior_variance | posterior_log_variance | posterior_coefficient_x0 |
    posterior_coefficient_xt | kernel_mean | kernel_var | marginal_mean | marginal_var | marginal_log_var | q_sample | posterior_mean
    | posterior_var | posterior_log_var | x0_from_eps | mean_from_eps | sample_step | perturbed_mean | factor_mean | factor_var |
    gaussian_kl | gaussian_kl_grad_mean | gaussian_kl_grad_var | gaussian_entropy | gaussian_log_prob | bernoulli_kl |
    bernoulli_kl_grad | bernoulli_entropy | bernoulli_log_prob | log_likelihood | kl_term | prior_kl | lower_bound | eq14 |
    log_weights | entropy_lower_bound | entropy_upper_bound | binomial_kernel | binomial_marginal | binomial_posterior | binomial_edge
    | perturbed_bits | binomial_lower_bound | binomial_eq14 | binomial_log_weights | binomial_entropy_lower_bound |
    binomial_entropy_upper_bound

Other names:

    betas | alphas | alphas_cumprod | alpha_bar | alphas_cumprod_prev | one_minus_alphas_cumprod | sqrt_alphas_cumprod |
    sqrt_one_minus_alphas_cumprod | log_alphas_cumprod | log_one_minus_alphas_cumprod | sqrt_recip_alphas_cumprod |
    sqrt_recipm1_alphas_cumprod | posterior_log_variance_clipped | posterior_mean_coef1 | posterior_mean_coef2 | marginal_sample |
    add_noise | predict_xstart_from_eps | predict_start_from_noise | normal_kl | normal_log_prob | K | binomial_K

Names of several at once:

    kernel | marginal | q_mean_variance | factor | posterior | q_posterior | q_posterior_mean_variance | gaussian_kl_grad |
    entropy_bounds | binomial_entropy_bounds

Habits that lose digits:

    tables built in float32: the running product and 1 - abar | beta read back from the product, 1 - abar_t / abar_{t-1}, in float32 |
    1 - abar taken by subtraction from an abar rounded to float32 | beta rounded to float32 |
    1 - abar taken by subtraction from a running product in float64 | the obvious formula, where its terms cancel |
    computed in float32 | tables built and formulas computed in float32 | tables or results rounded to float16 |
    a variance, a table or a probability clipped from below | a small constant added to a variance, a table or a probability |
    a small constant added to every 1 - abar_t | a probability clipped at both ends

Mistakes:

    twice as large: a factor 1/2 is missing, or a 2 too many | half as large: a factor 2 is missing, or a 1/2 too many | sign flipped
    | inverse: 1 / value | square root taken once too often | square root forgotten: the square is returned |
    the logarithm is returned | the exponential is returned, the logarithm forgotten | 1 - p for p, or 1 - value |
    the logit is returned, the sigmoid forgotten | log2 for ln: bits where nats are declared |
    ln for log2: nats where bits are declared | converted to bits the wrong way: times ln 2 where it is divided | log10 for ln |
    mean over components where the sum is declared | sum over components where the mean is declared |
    standard deviation returned where the variance is declared | variance handed over, taken for a standard deviation |
    log variance returned where the variance is declared | variance handed over, taken for a log variance |
    variance returned where the standard deviation is declared | standard deviation handed over, taken for a variance |
    log variance returned where the standard deviation is declared | standard deviation handed over, taken for a log variance |
    variance returned where the log variance is declared | log variance handed over, taken for a variance |
    standard deviation returned where the log variance is declared | log variance handed over, taken for a standard deviation |
    log weights handed over in bits, taken for nats, or the reverse | x0 and xt swapped | x0 and noise swapped | xt and eps swapped |
    mean and noise swapped | mean and var swapped | mean and y swapped | var and var_y swapped | log_r1 and log_r0 swapped |
    mean_q and mean_p swapped | var_q and var_p swapped | KL reversed: KL(p || q) | sign of noise flipped | noise left out |
    sign of eps flipped | eps left out | sign of grad_log_r flipped | grad_log_r left out | 0 and 1 of x_prev exchanged |
    0 and 1 of x0 exchanged | 0 and 1 of xt exchanged | 0 and 1 of bit exchanged | 0 and 1 of p1 exchanged | 0 and 1 of q1 exchanged |
    t one too small: entry t - 1 of the tables is read | t one too large: entry t + 1 of the tables is read |
    schedule reversed: entry T - t of the tables is read | abar_t for abar_{t-1} | abar_{t-1} for abar_t |
    alpha_t for abar_t: the product is forgotten | abar_t for alpha_t | alpha_t for beta_t | beta_t for alpha_t |
    beta_t for 1 - abar_t | 1 - abar_t for beta_t | product of beta_s, not of 1 - beta_s | sum of beta_s for the product of 1 - beta_s
    | abar_t without its root | sqrt(abar_t) for abar_t | abar_t squared: the product taken of (1 - beta_s)^2 |
    1 - abar_t without its root: a variance where a standard deviation is meant | sqrt(1 - abar_t) for 1 - abar_t |
    1 - sqrt(abar_t) for 1 - abar_t | 1 - beta_t without its root | sqrt(1 - beta_t) for 1 - beta_t | sqrt(beta_t) for beta_t |
    beta_t squared | beta_1 left out of the product | beta_t for the posterior variance | beta_t left out of the posterior variance |
    ratio upside down: (1 - abar_t) / (1 - abar_{t-1}) | the other coefficient: that of x^t for that of x^0 |
    the other coefficient: that of x^0 for that of x^t | division by 1 - abar_t forgotten |
    multiplied where it is divided, by sqrt(abar_t) | division by sqrt(abar_t) forgotten | division by sqrt(1 - beta_t) forgotten |
    division by sqrt(1 - abar_t) forgotten | x0 from eps returned for the mean |
    the marginal's standard deviation for beta_t / sqrt(1 - abar_t) | variance where the standard deviation is meant |
    exp(var) where sqrt(var) is meant, or half of it in the exponent | mean left out | -1/2 missing from each component |
    +1/2 for -1/2 in each component | 1/2 missing before -1 | log of the variances' ratio upside down |
    log of the variances' ratio left out | log of standard deviations without the factor 2, or with one too many |
    the variances' ratio left out | the variances' ratio upside down | the means left out | only the means' part of the divergence |
    1/2 missing before the square of the means' difference, or one too many | the means' difference not squared |
    the square divided by q's variance | the square divided by a standard deviation | cross-entropy for the divergence |
    only the term of x = 1 | only the term of x = 0 | the logarithm forgotten: a probability | the derivative by p's logit |
    1 - p left out of the derivative | 2 pi missing | e missing: +1/2 in each component | 2 pi e missing: only log std |
    log var without its 1/2, or half of it too much | sign of log var flipped | log var left out |
    1/2 missing before the square, or one too many | only the square | division by the variance forgotten |
    derivative by q's mean, or its sign flipped | divided by q's variance | derivative by q's variance |
    divided by the variance once, not twice | mean of logarithms for logarithm of mean |
    sum of weights for their mean: - log n missing | log n subtracted twice | n - 1 for n | the largest weight for their mean |
    the largest weight taken out and not put back | sum and not mean, the largest weight not put back |
    weights underflow: their largest is not taken out before exp | standard deviation for variance before the gradient |
    variance squared before the gradient | the variance before the gradient left out | half the variance before the gradient |
    weighted by variances for precisions | weighted by standard deviations | the factor clamped: y returned |
    the plain average of both means | the factor left out | variances added | precisions added and not inverted |
    Table App.1's misprint: x_i d_i in the denominator | not normalised over both states | r(0) left out | r left out |
    r alone, the kernel left out | log r added to the probability, not to its logit | half the log ratio of r | 1 - pi_1 for pi_1 |
    pi_1 left out | pi_1 taken as 1/2 | beta_t / 2 for beta_t: the chance to flip for the chance to be drawn anew |
    twice beta_t: the chance to be drawn anew for the chance to flip | root of the kept share, as in the Gaussian column |
    the marginal of x^{t-1}, the likelihood of x^t left out | the likelihood of x^t, the marginal of x^{t-1} left out |
    odds for probability | -2 sum KL: the divergences counted twice | sign of the divergences flipped | divergences left out |
    mean KL over t times T, where there are T - 1 terms | mean KL over t, not times T - 1 | sum of KL divided by T |
    entropies dropped: H_q(X^T|X^0) - H_q(X^1|X^0) | H_q(X^T|X^0) dropped | H_q(X^1|X^0) dropped |
    sign of H_q(X^T|X^0) - H_q(X^1|X^0) flipped | sign of H_q(X^T|X^0) flipped | sign of H_q(X^1|X^0) flipped |
    entropies added once per t instead of once | entropies added T times instead of once | H_p(X^T) dropped | sign of H_p(X^T) flipped
    | both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0) | (14) for K(x^0): its precondition is taken for granted |
    E log pi(x^T) dropped | E log pi(x^1) dropped | log pi(x^0) dropped | KL( q(x^T|x^0) || pi ) dropped | the edge p(x^0|x^1) dropped
    | sum over the batch for its mean | log of the variance left out | p and q exchanged in the steps | p(x^T) left out |
    sign of log p(x^T) flipped | log q added, not subtracted | q left out: the model's log density of the trajectory |
    p(x^{t-1}|x^t) left out | the step t = 1 left out | the step t = T left out | the edge p(x^0|x^1) left out |
    q(x^t|x^0) for q(x^t|x^{t-1}) | mean over t for the sum | H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0) | H_q(X^{t-1}|X^0) left out |
    H_q(X^t|X^0) left out | H_q(X^t|X^{t-1}) left out | H_q(X^{t-1}|X^0) and H_q(X^t|X^0) exchanged | sign of H_q(X^t|X^{t-1}) flipped
    | the upper bound for the lower | the lower bound for the upper | H_q(X^t|X^0) for H_q(X^t|X^{t-1})

    conventions subjects about_*    what is asked, in whose terms; the truths and the textbook's formulas
    mistakes *_slips habits rates   the library: small named functions of a `problems.Problem`
    calls comparisons verdicts      asking, judging
    report runner __main__          telling

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Table App.1, equations (9), (13), (14) and (24), sections 2.5 and 2.6.
"""

from dpm_ref.check.report import STATUSES, Report, Row
from dpm_ref.check.runner import run

__all__ = ["run", "Report", "Row", "STATUSES"]

"""What can be checked: each quantity as an expression over the schedule's tables, in nats.

The catalogue is text: name and other names, arguments, kind, summary, and the formula, in as many
forms as people write it (`;`). Where `t>1` stands, t = 1 is not asked for; where `t?` stands, an
error or a nan there is let pass. In formulas `rest` is 1 - abar_t, `_prev` stands for t - 1, `c0`
and `c1` are the coefficients of the posterior's mean and `post` is its variance; arguments that
begin with `var` are variances. What takes more than a line is written in `WORDS`; functions are
those of a column of Table App.1 and of `Letters`.
"""

import functools
import math
import re
from collections import ChainMap
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from .conventions import CHOICES, Conventions
from .expressions import TABLES, Expr, number, op, term

__all__ = ["ALIASES", "QUANTITIES", "SPREADS", "Quantity", "accepted", "kind_of", "others", "right"]
__all__ += ["undeclared"]
CATALOGUE = """
@ Table App.1 | table
beta betas | t | table | beta_t | beta
alpha alphas | t | table | alpha_t = 1 - beta_t | alpha
abar alphas_cumprod alpha_bar alphas_bar | t | table | prod_{s<=t} (1 - beta_s) | abar
abar_prev alphas_cumprod_prev | t | table | abar_{t-1}, 1 at the first t | abar_prev
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
posterior_coefficient_x0 posterior_mean_coef1 | t? | table | of x^0 in the posterior's mean | c0
posterior_coefficient_xt posterior_mean_coef2 | t? | table | of x^t in the posterior's mean | c1
vlb_weight loss_weight lvlb_weights | t | table | weight of |eps - eps_hat|^2 in the bound, t >= 2 |
    0.5 * beta**2 / ruled(s, post) / alpha / rest
vlb_weight_x0 loss_weight_x0 | t | table | weight of |x0 - x0_hat|^2 in the bound, t >= 2 |
    0.5 * (abar_prev / rest_prev - abar / rest); 0.5 * c0**2 / post
@ Table App.1 | times
kernel_mean | x_prev t | state | mean of q(x^t | x^{t-1}) | sqrt(alpha) * x_prev
kernel_var | x_prev t | var | variance of q(x^t | x^{t-1}) | beta
marginal_mean | x0 t | state | mean of q(x^t | x^0) | sqrt(abar) * x0
marginal_var | x0 t | var | variance of q(x^t | x^0) | rest
marginal_log_var | x0 t | state | log variance of q(x^t | x^0) | log(rest)
posterior_mean | x0 xt t? | state | mean of q(x^{t-1} | x^t, x^0) | posterior(s, x0, xt)[0]
posterior_var | x0 xt t>1 | var | variance of q(x^{t-1} | x^t, x^0) | post
posterior_log_var | x0 xt t>1 | state | log variance of q(x^{t-1} | x^t, x^0) | log(post)
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
    sqrt(rest) * xt + sqrt(abar) * v; (v + sqrt(rest) * x0_hat("v", s, xt, v)) / sqrt(abar)
eps_from_score | xt t score | state | the noise from the score | -(sqrt(rest) * score)
v_from_x0 | xt t x0 | state | the velocity from x^t and x^0 | (sqrt(abar) * xt - x0) / sqrt(rest);
    sqrt(abar) * (xt - sqrt(abar) * x0) / sqrt(rest) - sqrt(rest) * x0
v_from_eps | xt t eps | state | the velocity from x^t and the noise |
    (eps - sqrt(rest) * xt) / sqrt(abar);
    sqrt(abar) * eps - sqrt(rest) * x0_hat("eps", s, xt, eps)
v_from_score | xt t score | state | the velocity from x^t and the score |
    -(sqrt(rest) * (xt + score) / sqrt(abar));
    -(sqrt(abar) * sqrt(rest) * score) - sqrt(rest) * x0_hat("score", s, xt, score)
score_from_x0 | xt t x0 | state | the score of q(x^t | x^0) | -((xt - sqrt(abar) * x0) / rest)
score_from_eps | xt t eps | state | the score from the noise | -(eps / sqrt(rest))
score_from_v | xt t v | state | the score from x^t and the velocity |
    -((sqrt(rest) * xt + sqrt(abar) * v) / sqrt(rest))
mean_from_eps | xt t? eps | state | mean of p(x^{t-1} | x^t) from the noise predicted |
    ddpm_mean(eps); mean_hat("eps", s, xt, eps)
mean_from_x0 | xt t? x0 | state | mean of p(x^{t-1} | x^t) from x^0 | mean_hat("x0", s, xt, x0)
mean_from_v | xt t? v | state | mean of p(x^{t-1} | x^t) from the velocity predicted |
    mean_hat("v", s, xt, v); ddpm_mean(sqrt(rest) * xt + sqrt(abar) * v)
mean_from_score | xt t? score | state | mean of p(x^{t-1} | x^t) from the score predicted |
    mean_hat("score", s, xt, score); (xt + beta * score) / sqrt(alpha)
learned_range_var | w t>1 | var | variance between the posterior's and beta_t, at w in [-1, 1] |
    exp(0.5 * (w + 1) * log(beta) + (1 - 0.5 * (w + 1)) * log(post))
ddim_step | xt t eps noise | state | DDIM's x^{t-1}, its equation (12), at eta | noised(eta_post)
prior_kl prior_bpd | x0 | nats | KL( q(x^T|x^0) || pi ) | kl(marginal(at_T, x0), prior)
binomial_kernel | x_prev t | prob | q(x^t = 1 | x^{t-1}) | kernel(s, x_prev)[0]
binomial_marginal | x0 t | prob | q(x^t = 1 | x^0) | marginal(s, x0)[0]
binomial_posterior | x0 xt t? | prob | q(x^{t-1} = 1 | x^t, x^0) | posterior(s, x0, xt)[0]
binomial_edge | x1 | prob | p(x^0 = 1 | x^1), App. B.2 | x1 * at_1.alpha + pi1 * at_1.beta
binomial_prior_kl | x0 | nats | KL( q(x^T|x^0) || pi ) | kl(marginal(at_T, x0), prior)
@ (5) | times
reverse_step p_sample | xt t output noise reverse_var | state |
    x^{t-1} from x^t, a network's output and noise |
    (ddpm_mean(output) if c.model == "eps" else mean_t) + step_noise; mean_t + step_noise
@ (5) | pairs
sample_step | mean var noise | state | x^{t-1} from mean, variance and noise |
    mean + term("the noise", sqrt(var) * noise)
@ section 2.5 | pairs
perturbed_mean | mean var grad_log_r | state | mean times a smooth r, of gradient grad log r there |
    mean + term("grad_log_r", var * grad_log_r)
factor_mean | mean var y var_y | state | mean of N(mean, var) times N(x; y, var_y) |
    (mean * var_y + y * var) / (var + var_y); (mean / var + y / var_y) / (1 / var + 1 / var_y);
    mean + term("the innovation", var / (var + var_y) * (y - mean))
factor_var | mean var y var_y | var | variance of N(mean, var) times N(x; y, var_y) |
    var * var_y / (var + var_y); 1 / (1 / var + 1 / var_y)
perturbed_bits | prob log_r1 log_r0 | prob | probability of 1, of a distribution multiplied by r |
    sigmoid(log(prob / (1 - prob)) + log_r1 - log_r0);
    prob * exp(log_r1) / (prob * exp(log_r1) + (1 - prob) * exp(log_r0))
@ (14) | pairs
gaussian_kl normal_kl | mean_q var_q mean_p var_p | nats | KL(q || p) of Gaussians |
    kl((mean_q, var_q), (mean_p, var_p)); split_kl((mean_q, var_q), (mean_p, var_p))
gaussian_kl_grad_mean | mean_q var_q mean_p var_p | slope | derivative of KL(q || p) by p's mean |
    (mean_p - mean_q) / var_p
gaussian_kl_grad_var | mean_q var_q mean_p var_p | slope_var |
    derivative of KL(q || p) by p's variance |
    term("1 / var_p", 0.5 / var_p) - term("the variances' ratio", 0.5 * var_q / var_p**2)
    - term("the means' square", 0.5 * (mean_q - mean_p)**2 / var_p**2)
gaussian_entropy | var | nats | entropy of a Gaussian | entropy((0, var))
gaussian_log_prob normal_log_prob | x mean var | nats | log density of a Gaussian |
    log_prob(x, (mean, var))
bernoulli_kl | q1 p1 | nats | KL(q || p) of bits |
    kl((q1, 1 - q1), (p1, 1 - p1)); ratio_kl((q1, 1 - q1), (p1, 1 - p1))
bernoulli_kl_grad | q1 p1 | slope | derivative of KL(q || p) by p's probability of 1 |
    (1 - q1) / (1 - p1) - q1 / p1
bernoulli_entropy | p1 | nats | entropy of bits | entropy((p1, 1 - p1))
bernoulli_log_prob | bit p1 | nats | log probability of bits |
    term("the term of x = 1", xlogy(bit, p1)) + term("the term of x = 0", xlogy(1 - bit, 1 - p1))
@ (9) | weights
log_likelihood | log_w | nats_row | log mean w from log w, over the first axis |
    term("the largest weight", max(log_w)) - term("log n", log(count))
    + term("the log of the sum", log(sum(exp(log_w - taken_out))))
@ (14) | times
kl_term | x0 xt t>1 mean reverse_var | nats | KL( q(x^{t-1}|x^t,x^0) || p(x^{t-1}|x^t) ) |
    kl(posterior(s, x0, xt), given); split_kl(posterior(s, x0, xt), given)
binomial_kl_term | x0 xt t? prob | nats | KL( q(x^{t-1}|x^t,x^0) || p ) of bits |
    kl(posterior(s, x0, xt), (prob, 1 - prob))
@ (13) | bound
lower_bound K elbo | x0 xs means vars | nats | K(x^0) at given x^2..x^T and reverse kernels | bound
binomial_lower_bound binomial_K | x0 xs probs | nats | K(x^0) of bits, at given x^2..x^T | bound
@ (14) | bound
eq14 | x0 xs means vars | nats | K averaged, for data that meet its precondition | bound_14
binomial_eq14 | x0 xs probs | nats | K of bits averaged, for data of pi's mean | bound_14
@ (9) | path
log_weights | trajectory means vars | nats | log w of trajectories, t = 1..T | weight
binomial_log_weights | trajectory probs | nats | log w of trajectories of bits | weight
@ (24) | entropy
entropy_lower_bound | x0 t>1 | nats | lower side, of the whole vector, t >= 2 | h_lower
entropy_upper_bound | x0 t>1 | nats | upper side, where its condition holds | h_step
binomial_entropy_lower_bound | x0 t>1 | nats | lower side, of the whole vector, t >= 2 | h_lower
binomial_entropy_upper_bound | x0 t>1 | nats | upper side, where its condition holds | h_step
@ DDPM (5) | decoder
decoder_log_prob discretized_gaussian_log_likelihood | x0 mean var | nats |
    log probability of x^0 of 256 levels in [-1, 1] | log_bin(x0, mean, sqrt(var))
@ DDPM (5) | loop
kl_sum | model x0 | nats | sum of the KL terms t = 2..T under a model | kl_sum
nll vlb bpd calc_bpd_loop | model x0 | nats | prior KL, KL terms and L_0 of a model |
    kl_sum + l_0 + prior_kl
@ DDPM (5) | step
vlb_term vb_terms_bpd model_kl_term | model x0 xt t | nats |
    KL term of a model, or L_0 at the first t | first(l_0, kl_here)
kernel = kernel_mean kernel_var
marginal = marginal_mean marginal_var
q_mean_variance = marginal_mean marginal_var marginal_log_var
factor = factor_mean factor_var
posterior = posterior_mean posterior_var
q_posterior q_posterior_mean_variance = posterior_mean posterior_var posterior_log_var
gaussian_kl_grad = gaussian_kl_grad_mean gaussian_kl_grad_var
entropy_bounds = entropy_lower_bound entropy_upper_bound
binomial_entropy_bounds = binomial_entropy_lower_bound binomial_entropy_upper_bound
"""
# words that formulas share, and then the distributions of both columns of Table App.1
WORDS = """
kernel(s, x) = drawn(x, s.alpha, s.beta)
marginal(s, x0) = drawn(x0, s.abar, s.rest)
marginal_before(s, x0) = drawn(x0, s.abar_prev, s.rest_prev)
ruled(s, given) = {"given": given, "posterior": s.post, "beta": s.beta}[c.reverse_var]
x0_hat(kind, s, xt, out) = term("x0_hat", {"v": sqrt(s.abar) * xt - sqrt(s.rest) * out,
    "eps": (xt - sqrt(s.rest) * out) / sqrt(s.abar),
    "score": (xt + s.rest * out) / sqrt(s.abar)}.get(kind, out))
mean_hat(kind, s, xt, out) = out if kind == "mean" else
    posterior(s, x0_hat(kind, s, xt, out), xt)[0]
score_hat(kind, s, xt, out) = (sqrt(s.abar) * x0_hat(kind, s, xt, out) - xt) / s.rest
ddpm_mean(eps) = (term("the term of xt", xt) - term("the term of eps", beta / sqrt(rest) * eps))
    / sqrt(alpha)
step_noise = term("the noise", (op("later") if c.silent else op("known")
    if c.reverse_var == "posterior" else 1.0) * sqrt(ruled(s, reverse_var)) * noise)
ending(var) = first(sqrt(var), sqrt(ruled(s, reverse_var))) * noise
noised(std) = ddim_to(std, direction(std**2))
ddim_to(std, kept) = term("the term of x0", sqrt(abar_prev) * x0_hat("eps", s, xt, eps))
    + term("the term of eps", kept * eps) + term("the noise", std * noise)
direction(var) = sqrt(op("least", rest_prev - term("sigma_t^2", var)))
ddim_at(x) = sqrt(abar_prev) * x + direction(eta_post**2) * (xt - sqrt(abar) * x) / sqrt(rest)
    + eta_post * noise
eta_post = term("sigma_t", c.eta * sqrt(post) if c.eta else 0)
given = (mean, ruled(s, reverse_var))
bound_kl = term("sum KL", -sum(kl(posterior(later, x0, xs), reverse)))
h_T = term("H_q(X^T|X^0)", entropy(marginal(at_T, x0)))
h_1 = term("H_q(X^1|X^0)", -entropy(marginal(at_1, x0)))
edge_T = term("E log pi(x^T)", cross(marginal(at_T, x0), prior))
edge_0 = term("log pi(x^0)", log_prob(x0, prior))
edge_1 = term("E log pi(x^1)", -cross(marginal(at_1, x0), prior))
bound = bound_kl + h_T + h_1 + edge_T + edge_0 + edge_1
bound_14 = bound_kl + h_T + h_1 + term("H_p(X^T)", -entropy(prior))
end = term("p(x^T)", log_prob(end_state, prior))
log_p = log_prob(before, reverse)
log_q = log_prob(after, kernel(every, before))
taken_out = op("max", log_w, name="finite")
weight = end + term("p(x^{t-1}|x^t)", sum(log_p)) - term("q(x^t|x^{t-1})", sum(log_q))
h_step = term("H_q(X^t|X^{t-1})", step_entropy(s, x0))
h_before = term("H_q(X^{t-1}|X^0)", entropy(marginal_before(s, x0)))
h_now = term("H_q(X^t|X^0)", entropy(marginal(s, x0)))
h_lower = h_step + h_before - h_now
log_bin(x, mean, std) = op("log_bin", x, mean, std, name=cdf, value=1.0)
decoder(mean) = decoder_of(mean, first_var)
first_var = {"given": first_given, "posterior": at_2.post, "beta": at_1.beta}[c.reverse_var]
first_given = var_t if inputs == "step" else var_1
mean_t = mean_hat(c.model, s, xt, output)
mean_1 = mean_hat(c.model, at_1, x_1, out_1)
means_later = mean_hat(c.model, later, xs, outs)
l_0 = term("L_0", -decoder(mean_t if inputs == "step" else mean_1))
kl_here = term("the KL term", kl(posterior(s, x0, xt), (mean_t, ruled(s, var_t))))
kls_later = kl(posterior(later, x0, xs), (means_later, ruled(later, vars_t)))
kl_sum = term("sum KL", sum(kls_later))
prior_kl = term("prior KL", kl(marginal(at_T, x0), prior))
decoder_of(mean, var) = log_prob(x0, (mean, var)) if c.decoder == "gaussian" else
    log_bin(x0, mean, sqrt(var))
first_kl(s, xt, mean) = kl((posterior(s, x0, xt)[0], at_2.post), (mean, first_var))
second_l_0 = second(-decoder_of(mean_t, ruled(s, var_t)), first(first_kl(s, xt, mean_t), kl_here))
second_l_0s = foremost(-decoder_of(means_later, ruled(later, vars_t))) + sum(tail(kls_later))
    + first_kl(at_1, x_1, mean_1)
"""
# a distribution is (mean, var)
GAUSSIAN = """
prior = (number(0), number(1))
drawn(x, kept, rest) = (sqrt(kept) * x, rest)
certain(s, x0) = (x0, s.post)
posterior(s, x0, xt) =
    (term("the term of x0", s.c0 * x0) + term("the term of xt", s.c1 * xt), s.post)
reverse = (means, vars if inputs == "path" else ruled(later, vars))
kl(q, p) = term("the log of the variances' ratio", 0.5 * log(p[1] / q[1])) + kl_rest(q, p)
split_kl(q, p) = 0.5 * log(p[1]) - 0.5 * log(q[1]) + kl_rest(q, p)
kl_rest(q, p) = term("the variances' ratio", 0.5 * q[1] / p[1])
    + term("the means' square", 0.5 * (q[0] - p[0])**2 / p[1]) + term("-1/2", -0.5)
log_prob(x, p) = term("log 2 pi", -0.5 * log_2_pi) + term("log var", -(0.5 * log(p[1])))
    + term("the square", -(0.5 * (x - p[0])**2 / p[1]))
entropy(p) = term("log 2 pi", 0.5 * log_2_pi) + term("the 1/2 of log e", 0.5)
    + term("log var", 0.5 * log(p[1]))
cross(q, p) = -0.5 * log_2_pi - 0.5 * log(p[1]) - 0.5 * (q[1] + (q[0] - p[0])**2) / p[1]
step_entropy(s, x0) = entropy((x0, s.beta))
"""
# a distribution is (P(1), P(0))
BINOMIAL = """
prior = (pi1, 1 - pi1)
drawn(x, kept, rest) = (x * kept + pi1 * rest, (1 - x) * kept + (1 - pi1) * rest)
certain(s, x0) = (x0, 1 - x0)
from_1(s) = (s.alpha + pi1 * s.beta, (1 - pi1) * s.beta)
from_0(s) = (pi1 * s.beta, s.alpha + (1 - pi1) * s.beta)
seen(s, xt) = (op("if", xt, *from_1(s)), op("if", xt, *from_0(s)))
joint_of(k, s, x0, xt) = term("the likelihood of xt", seen(s, xt)[k])
    * term("the marginal before", marginal_before(s, x0)[k])
joint = joint_of(0, s, x0, xt)
posterior(s, x0, xt) = normalised(joint_of(0, s, x0, xt), joint_of(1, s, x0, xt))
normalised(a, b) = (a / (a + b), b / (a + b))
reverse = (probs, 1 - probs)
both(one, zero) = term("the term of x = 1", one) + term("the term of x = 0", zero)
kl(q, p) = both(xlogy(q[0], q[0]) - xlogy(q[0], p[0]), xlogy(q[1], q[1]) - xlogy(q[1], p[1]))
ratio_kl(q, p) = xlogy(q[0], q[0] / p[0]) + xlogy(q[1], q[1] / p[1])
log_prob(x, p) = op("if", x, log(p[0]), log(p[1]))
entropy(p) = both(-xlogy(p[0], p[0]), -xlogy(p[1], p[1]))
cross(q, p) = both(xlogy(q[0], p[0]), xlogy(q[1], p[1]))
step_entropy(s, x0) = marginal_before(s, x0)[0] * entropy(from_1(s))
    + marginal_before(s, x0)[1] * entropy(from_0(s))
"""
# mistakes that are no change in one place: of which quantity, or inputs; the name; the formula
OTHERS = """
bound | both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0) |
    bound_14 + edge_0 + edge_1 + h_1
bound | (14) for K(x^0): its precondition is taken for granted | bound_14
bound | the sum of the KL terms alone | bound_kl
lower_bound | log pi(x^T) at the x^T drawn, not its mean |
    bound - edge_T + sum(log_prob(xs, prior)) - sum(head(log_prob(xs, prior)))
path | the first step left out | end + sum(tail(log_p - log_q))
path | the last step left out | end + sum(head(log_p - log_q))
path | the edge p(x^0|x^1) left out | end + sum(tail(log_p)) - sum(log_q)
path | q(x^t|x^0) for q(x^t|x^{t-1}) | end + sum(log_p - log_prob(after, marginal(every, start)))
path | log pi(x^0) for log pi(x^T) | log_prob(foremost(start), prior) + sum(log_p - log_q)
path | p and q exchanged in the steps | end - sum(log_p - log_q)
path | mean over t for the sum | end + sum(log_p - log_q) / count
entropy_upper_bound | the lower bound for the upper | h_lower
entropy_upper_bound | H_q(X^t|X^0) for H_q(X^t|X^{t-1}) | h_now
entropy_lower_bound | the upper bound for the lower | h_step
entropy_lower_bound | H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0) | h_step + h_lower - h_now
entropy_lower_bound | H_q(X^{t-1}|X^0) and H_q(X^t|X^0) exchanged | h_step - h_before + h_now
ddim_step | eta = 0, where another is declared | noised(number(0))
ddim_step | eta = 1, where another is declared | noised(sqrt(post))
ddim_step | sigma_t for sqrt(1 - abar_{t-1} - sigma_t^2) | ddim_to(eta_post, eta_post)
ddim_step | the x^0 predicted in the direction, where the noise is meant |
    ddim_to(eta_post, 0) + direction(eta_post**2) * x0_hat("eps", s, xt, eps)
ddim_step | x^0 clipped to [-1, 1], and the noise taken from it |
    ddim_at(op("clip", x0_hat("eps", s, xt, eps), value=1.0))
ddim_step | sigma_t not squared under the root | ddim_to(eta_post, sqrt(rest_prev - eta_post))
ddim_step | eta not squared under the root | ddim_to(eta_post, direction(c.eta * post))
ddim_step | eta under the root of sigma_t too | noised(sqrt(c.eta * post))
binomial_posterior | divided by q(x^t | x^0) read at t - 1 |
    joint / op("if", xt, *marginal_before(s, x0))
binomial_posterior | not normalised over both states | joint
binomial_posterior | odds for probability | joint / joint_of(1, s, x0, xt)
binomial_posterior | divided by q(x^t | x^0) at x^0 = x^t | joint / op("if", xt, *marginal(s, xt))
posterior_coefficient_x0 | the other coefficient: that of x^t for that of x^0 | c1
posterior_coefficient_xt | the other coefficient: that of x^0 for that of x^t | c0
learned_range_var | the variances are interpolated, not their logarithms |
    0.5 * (w + 1) * beta + (1 - 0.5 * (w + 1)) * post
learned_range_var | w itself taken for the log variance | exp(w)
velocity | x^t in the place of x^0 |
    sqrt(abar) * noise - sqrt(rest) * (sqrt(abar) * x0 + sqrt(rest) * noise)
vlb_weight_x0 | the SNR, for half its difference | abar / rest
vlb_weight_x0 | sqrt(abar_t) / 2 / (2 - abar_t): latent diffusion's brackets |
    0.5 * sqrt(abar) / (2 - abar)
kernel_mean | 1 - beta_t / 2 for sqrt(1 - beta_t): an Euler step | (1 - 0.5 * beta) * x_prev
factor_mean | the factor clamped: y returned | y
factor_mean | the plain average of both means | 0.5 * (mean + y)
factor_mean | divided by the sum of precisions, where that of variances is meant |
    (mean * var_y + y * var) / (1 / var + 1 / var_y)
factor_var | variances added | var + var_y
perturbed_bits | log r added to the probability, not to its logit | prob + log_r1 - log_r0
perturbed_bits | r alone, the kernel left out | exp(log_r1) / (exp(log_r1) + exp(log_r0))
perturbed_bits | not normalised over both states | prob * exp(log_r1) / (exp(log_r1) + exp(log_r0))
perturbed_bits | Table App.1's misprint: x_i d_i in the denominator |
    prob * exp(log_r1) / ((1 - prob) * exp(log_r0))
perturbed_bits | half the log ratio of r | sigmoid(log(prob / (1 - prob)) + 0.5 * (log_r1 - log_r0))
binomial_posterior | divided by q(x^t = 1 | x^0) whatever x^t is | joint / marginal(s, x0)[0]
decoder_log_prob | the density where a bin's mass is meant | log_prob(x0, (mean, var))
decoder_log_prob | the density times a bin's width for its mass |
    log_prob(x0, (mean, var)) + log(number(2 / 255))
gaussian_kl_grad_var | derivative by q's variance | 0.5 * (1 / var_p - 1 / var_q)
gaussian_entropy | 2 pi e missing: only log std | 0.5 * log(var)
gaussian_log_prob | only the square | -(0.5 * (x - mean)**2 / var)
gaussian_log_prob | the squared error for the log density | -(x - mean)**2
bernoulli_kl_grad | the derivative by p's logit | p1 - q1
bernoulli_kl_grad | the derivative by q1 | log(q1 / p1) - log((1 - q1) / (1 - p1))
bernoulli_log_prob | bit and p1 swapped, logarithms at least -100: PyTorch's cross entropy |
    -100 * (bit * (1 - p1) + (1 - bit) * p1)
reverse_step | noise is added at the last step too | mean_t + ending(at_2.post)
reverse_step | noise is added at the last step too | mean_t + ending(at_1.beta)
kl_term | beta_t for the variance of q(x^{t-1}|x^t,x^0) | kl((posterior(s, x0, xt)[0], beta), given)
reverse_step | x^{t-1} drawn from q(x^{t-1}|x^0), at the x^0 predicted |
    sqrt(abar_prev) * x0_hat(c.model, s, xt, output) + op("later") * sqrt(rest_prev) * noise
reverse_step | division by sqrt(alpha_t) reaches the noise too | mean_t + step_noise / sqrt(alpha)
kl_sum | L_0 added | kl_sum + l_0
kl_sum | prior KL added | kl_sum + prior_kl
vlb_term | the noise's squared error: the simple loss, without its weight |
    (output - (xt - sqrt(abar) * x0) / sqrt(rest))**2
vlb_term | the KL term at the first t too, L_0 left out | first(first_kl(s, xt, mean_t), kl_here)
vlb_term | L_0 at the second t, the KL term at the first | second_l_0
nll | L_0 at the second t, the KL term at the first | second_l_0s + prior_kl
nll | mean over t for the sum, L_0 among its terms | (kl_sum + l_0) / op("T") + prior_kl
nll | KL reversed in the sum over t: KL(p || q) |
    sum(kl((means_later, ruled(later, vars_t)), posterior(later, x0, xs))) + l_0 + prior_kl
nll | prior KL reversed: KL( pi || q(x^T|x^0) ) | kl_sum + l_0 + kl(prior, marginal(at_T, x0))
log_likelihood | mean of logarithms for logarithm of mean | sum(log_w) / count
log_likelihood | the largest weight for their mean | max(log_w)
log_likelihood | divided by n after the logarithm |
    (taken_out + log(sum(exp(log_w - taken_out)))) / count
log_likelihood | mean of logarithms under the normalised weights |
    sum(exp(log_w - max(log_w)) * log_w) / sum(exp(log_w - max(log_w)))
"""
# a word of WORDS that means something else: in which column, the mistake, the word, what it means
INSTEAD = """
both | KL reversed: KL(p || q) | kl(q, p) | kl(p, q)
both | cross-entropy for the divergence | kl(q, p) | -cross(q, p)
both | the entropy of q alone for the divergence | kl(q, p) | -entropy(q)
gaussian | only the means' part of the divergence | kl(q, p) | 0.5 * (q[0] - p[0])**2 / p[1]
both | q(x^{t-1}|x^0) for q(x^{t-1}|x^t,x^0) | posterior(s, x0, xt) | marginal_before(s, x0)
both | q(x^t|x^0) for q(x^{t-1}|x^t,x^0) | posterior(s, x0, xt) | marginal(s, x0)
both | x^0 for the mean of q(x^{t-1}|x^t,x^0) | posterior(s, x0, xt) | certain(s, x0)
both | the forward kernel at x^t for q(x^{t-1}|x^t,x^0) | posterior(s, x0, xt) | kernel(s, xt)
binomial | pi_1 taken as 1/2 in the prior alone | prior | (number(0.5), number(0.5))
binomial | the kernel transposed in the likelihood of xt | seen(s, xt) | kernel(s, xt)
binomial | pi_1 for 1 - pi_1 where x^t is 0 | seen(s, xt) | (op("if", xt, from_1(s)[0],
    pi1 * s.beta), op("if", xt, pi1 * s.beta, s.alpha + pi1 * s.beta))
both | the mean of both divergences | kl(q, p) | 0.5 * (kl(q, p) + kl(p, q))
gaussian | KL( q || N(0, 1) ), whatever p is | kl(q, p) | kl(q, prior)
gaussian | the means' square alone, variances taken as 1 | kl(q, p) | 0.5 * (q[0] - p[0])**2
gaussian | all but the means' part of the divergence once, not for each component | kl(q, p) |
    0.5 * (q[0] - p[0])**2 / p[1] + 0.5 * (log(p[1] / q[1]) + q[1] / p[1] - 1) / op("d")
gaussian | DDIM's step, without noise, for the mean | mean_hat(kind, s, xt, out) |
    sqrt(s.abar_prev) * x0_hat(kind, s, xt, out)
    - sqrt(s.rest_prev) * sqrt(s.rest) * score_hat(kind, s, xt, out)
gaussian | (2 - sqrt(alpha_t)) xt + beta_t score / 2: a step of the probability flow |
    mean_hat(kind, s, xt, out) | (2 - sqrt(s.alpha)) * xt + s.beta / 2 * score_hat(kind, s, xt, out)
gaussian | (2 - sqrt(alpha_t)) xt + beta_t score: the reverse diffusion of score-based code |
    mean_hat(kind, s, xt, out) | (2 - sqrt(s.alpha)) * xt + s.beta * score_hat(kind, s, xt, out)
gaussian | (1 + beta_t / 2) xt + beta_t score: an Euler step of the equation |
    mean_hat(kind, s, xt, out) | (1 + 0.5 * s.beta) * xt + s.beta * score_hat(kind, s, xt, out)
binomial | flipped, where it is drawn anew | drawn(x, kept, rest) |
    (x * kept + (1 - x) * rest, (1 - x) * kept + x * rest)
binomial | drawn anew with no chance to come out as before | drawn(x, kept, rest) |
    (x * kept + (1 - x) * pi1 * rest, (1 - x) * kept + x * (1 - pi1) * rest)
"""


def _entries(text: str) -> list[str]:
    """Lines, of which those that are indented go on."""
    return text.strip().replace("\n    ", " ").splitlines()


@dataclass(frozen=True, eq=False)
class Quantity:
    name: str
    equation: str
    summary: str
    every: tuple[str, ...]  # its arguments; the variances among them only where they are given
    kind: str  # table, state, prob, var, nats, nats_row, slope or slope_var
    drawn: str  # which inputs
    formula: str
    first: int  # the first t that is compared
    lenient: bool  # whether it may have no value at t = 1

    @property
    def bits(self) -> bool:
        return self.name.startswith(("binomial", "bernoulli"))

    @property
    def whole(self) -> bool:
        """One result for the batch."""
        return self.name.endswith("eq14") or self.drawn == "entropy"

    @property
    def scheduled(self) -> bool:
        return self.drawn not in ("pairs", "weights", "decoder")

    @property
    def free(self) -> bool:
        """Whether its entry at t = 1 is a choice."""
        return self.name in ("posterior_variance", "posterior_log_variance", "vlb_weight")

    def arguments(self, c: Conventions) -> tuple[str, ...]:
        ruled = c.reverse_var != "given" and self.drawn != "path"
        dropped = ("reverse_var", "vars") * ruled + ("noise",) * c.own_noise
        return tuple(a for a in self.every if a not in dropped)


@functools.lru_cache(maxsize=512)
def right(q: Quantity, c: Conventions, **changed: Any) -> list[Expr]:
    """The formula in every form, as the code under test should return it; where some letters mean
    something else.
    """
    letters = Letters(q, c, **changed)
    every = [number(letters.read(form)) for form in q.formula.split(";")]
    distinct = {tree.text: tree for tree in reversed(every)}
    return [presented(q, c, tree) for tree in distinct.values()][::-1]


def presented(q: Quantity, c: Conventions, tree: Expr, spread: str = "") -> Expr:
    """The result as the code under test should return it; a derivative, by this spread."""
    if q.whole:
        tree = op("batch", tree)
    if q.kind == "var":
        return op("write", tree, name=c.spread)
    if q.kind == "slope_var" and (spread or c.spread) != "var":
        var = _argument("var_p", c)
        tree = tree * (var if (spread or c.spread) == "logvar" else 2 * op("sqrt", var))
    if q.kind == "nats":
        tree = op("components", tree, name=c.components)
    if q.kind.startswith("slope") and c.components == "mean":
        tree = tree / op("d")
    return op("unit", tree, name=c.unit) if q.kind.startswith(("nats", "slope")) else tree


def accepted(q: Quantity, c: Conventions) -> dict[str, dict[str, Any]]:
    """What is right too, as letters that mean something else, under a note that a PASS says."""
    binned, last = c.decoder == "discretised", q.drawn in ("loop", "step")
    made = {**MASSES} if binned and (last or q.drawn == "decoder") else {}
    if last:
        made |= LAST | {f"{a}; {b}": made[a] | LAST[b] for a in made for b in LAST}
    return made


def others(q: Quantity, c: Conventions, **changed: Any) -> list[tuple[str, Expr]]:
    """Mistakes of a quantity that are no change of its formula in one place."""
    made, letters, forms = [], Letters(q, c, **changed), q.formula.split(";")
    usual = [number(letters.read(form)).parts for form in forms]
    for column, name, head, text in (line.split(" | ") for line in _entries(INSTEAD)):
        ((word, meant),) = _words(f"{head} = {text}").items()
        instead = Letters(q, c, **changed | {word: letters.meaning(*meant)})
        read = forms if column in ("both", letters.column) else ()
        trees = (number(instead.read(form)) for form in read)
        made += [(name, tree) for tree in trees if tree.parts not in usual][:1]
    output, alike = q.every[-1], q.name.removeprefix("binomial_" * (q.drawn != "times"))
    for kind in CHOICES["model"] if q.name.startswith("mean_from_") else ():
        taken = number(letters.read(f"mean_hat({kind!r}, s, xt, {output})"))
        made.append((f"{output} taken for {kind}", taken))
    for where, *words, text in (line.split(" | ") for line in _entries(OTHERS)):
        if where in (q.drawn, q.name, alike):
            made.append((" | ".join(words), number(letters.read(text))))
    shown = [(name, presented(q, c, tree)) for name, tree in made]
    for spread in SPREADS if q.kind == "slope_var" else ():
        tree = presented(q, c, number(letters.read(forms[0])), spread)
        shown += [(f"derivative by the {SPREADS[spread]}", tree)] * (spread != c.spread)
    return shown


def undeclared(q: Quantity, c: Conventions, **changed: Any) -> list[tuple[str, Expr]]:
    """The formula by another choice of model than is declared."""
    made, declared = [], right(q, c, **changed)[0].parts
    for name in ("reverse_var", "model", "decoder", "silent"):
        for choice in CHOICES[name]:
            tree = right(q, replace(c, **{name: choice}), **changed)[0]
            if choice not in ("given", False) and tree.parts != declared:
                made.append((f"{name}={choice!r}, not {getattr(c, name)!r} as declared", tree))
    return made


SPREADS = {"var": "variance", "std": "standard deviation", "logvar": "log variance"}


def kind_of(argument: str) -> str:
    other = "var" if argument.startswith("var") or argument == "reverse_var" else "state"
    return {"t": "time", "log_w": "nats", "model": "model"}.get(argument, other)


# Letters


def _times(at: str) -> SimpleNamespace:
    """The tables at these times, and what is made of them."""
    read = {name: Expr("table", name=name, at=at) for name in TABLES}
    s = SimpleNamespace(**{name.replace("one_minus_abar", "rest"): read[name] for name in TABLES})
    s.c0 = op("sqrt", s.abar_prev) * s.beta / s.rest
    s.c1 = op("sqrt", s.alpha) * s.rest_prev / s.rest
    s.post = term("the posterior's variance", s.beta * s.rest_prev / s.rest)
    return s


def _argument(name: str, c: Conventions) -> Expr:
    """An argument, read from how it is handed over."""
    node = Expr("input", name=name)
    if kind_of(name) == "var":
        return op("read", node, name=c.spread)
    unit = "the wrong way" if c.unit == "bits" else "nats"
    return op("weighed", node, name=unit) if name == "log_w" else node


FUNCTIONS = ("sqrt", "log", "exp", "sigmoid", "xlogy", "max", "sum", "tail", "head", "foremost")
S = _times("t")
FIXED = {
    **vars(S),
    **{"s": S, "at_1": _times("1"), "at_2": _times("2"), "at_T": _times("T")},
    **{"later": _times("2..T"), "every": _times("1..T"), "count": op("count")},
    **{"op": op, "term": term, "number": number, "log_2_pi": math.log(2.0 * math.pi), "cdf": ""},
    **{name: functools.partial(op, name) for name in (*FUNCTIONS, "first", "second")},
}

# what is right too: the mass of a bin, and p's variance at the first t; the same nodes each time
MASSES: dict[str, dict[str, Any]] = {
    "the normal distribution function by tanh, as in DDPM's code": {"cdf": "tanh"},
    "the mass of a bin clipped at 1e-12": {"cdf": "clipped"},
}
LAST = {
    "at the first t the posterior's variance of the second": {"first_var": FIXED["at_2"].post},
    "at the first t the variance is beta_1": {"first_var": FIXED["at_1"].beta},
    "at the first t the variance is clipped at 1e-20": {"first_var": number(1e-20)},
}


def _words(text: str) -> dict[str, tuple[list[str], str]]:
    """Their arguments, if they are functions, and what they stand for."""
    found = re.findall(r"(?m)^(\w+)(?:\((.*?)\))? = (.*)$", "\n".join(_entries(text)))
    return {name: (given.split(", ") if given else [], meaning) for name, given, meaning in found}


COLUMNS = {"gaussian": _words(WORDS + GAUSSIAN[1:]), "binomial": _words(WORDS + BINOMIAL[1:])}


class Letters(dict[str, Any]):
    """What the letters of a formula mean for a quantity, under these conventions."""

    def __init__(self, q: Quantity, c: Conventions, **changed: Any) -> None:
        super().__init__(FIXED, c=c, inputs=q.drawn, **changed)
        self.column = "binomial" if q.bits else "gaussian"
        self.words = COLUMNS[self.column]

    def read(self, text: str, **given: Any) -> Any:
        return eval(text, {}, ChainMap(given, self))

    def __missing__(self, name: str) -> Any:
        """A word, a function that is written as one, or else an argument."""
        word = self.words.get(name)
        self[name] = self.meaning(*word) if word else _argument(name, self["c"])
        return self[name]

    def meaning(self, arguments: list[str], text: str) -> Any:
        """A function of these arguments, or what a text without any stands for."""
        if not arguments:
            return self.read(text)
        return lambda *given: self.read(text, **dict(zip(arguments, given, strict=True)))


def _read(text: str) -> tuple[dict[str, Quantity], dict[str, tuple[str, ...]]]:
    """The quantities of a catalogue, and other names for one of them or for several."""
    quantities: dict[str, Quantity] = {}
    aliases: dict[str, tuple[str, ...]] = {}
    for line in _entries(text):
        if line.startswith("@"):
            equation, drawn = line[2:].split(" | ")
        elif "|" in line:
            names, arguments, kind, *summary, formula = line.split(" | ")
            name, *others = names.split()
            every = tuple(a.removesuffix(">1").removesuffix("?") for a in arguments.split())
            known = name, equation, " | ".join(summary), every, kind, drawn, formula
            quantities[name] = Quantity(*known, 1 + ("t>1" in arguments), "t?" in arguments)
            aliases |= dict.fromkeys(others, (name,))
        else:
            many, parts = line.split(" = ")
            aliases |= dict.fromkeys(many.split(), tuple(parts.split()))
    return quantities, aliases


QUANTITIES, ALIASES = _read(CATALOGUE)

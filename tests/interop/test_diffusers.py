"""The check on `diffusers.DDPMScheduler`, handed over as a user would, each verdict asserted.

What is so, by its source: the tables are float32, and beta_t and 1 - abar_t are read back from their product, so digits are lost
where beta is small; the same code on float64 tables loses none. `step` adds noise of variance

    fixed_small, fixed_small_log    the posterior's                fixed_large    beta_t, an upper bound, Ho et al. 2020
    learned, learned_range          the network's, or between those two in the logarithm
    fixed_large_log                 none: `step` takes the root of log beta_t, which is no number

and x^0 is clipped to [-1, 1] unless `clip_sample=False`. Variances below 1e-20 are raised to it, which no t >= 2 meets.
"""

import mpmath
import numpy as np
import pytest

from dpm_ref import GaussianDiffusion, check, schedules

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers import DDIMScheduler, DDPMScheduler  # noqa: E402
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution  # noqa: E402
from verdicts import PASS, README, Case, agrees, lines, precision, rows, shown, wrong  # noqa: E402

READ_BACK = precision("beta read back from the product, 1 - abar_t / abar_{t-1}, in float32")
FLOAT32 = precision("tables built and formulas computed in float32")
UNKNOWN = wrong("no single known mistake")
BETA_T = wrong("beta_t for the posterior variance")


# Adapters


def scheduler(beta, wide=False, **options):
    """DDPM's scheduler of these rates, its tables in float64 if `wide`."""
    made = DDPMScheduler(len(beta), trained_betas=beta.numpy(), **{"clip_sample": False, **options})
    if wide:
        made.alphas_cumprod, made.one = torch.cumprod(1 - beta, 0), made.one.double()
    return made


def tables(made):
    return {"betas": made.betas, "alphas": made.alphas, "alphas_cumprod": made.alphas_cumprod}


def mean(made):
    """`step` without its noise: the second half of the channels is the variance where that is `learned`, here 0."""
    return lambda output, t, xt: made.step(torch.cat([output, 0 * output], 1), t, xt).prev_sample


def variance(made):
    """The variance of `step`, which at x^0 = x^t = 0 returns nothing but its noise."""
    def of(x0, xt, t):
        zero, output = torch.zeros_like(xt), torch.zeros_like(xt)
        if made.config.variance_type == "learned_range":
            output = torch.cat([output, made.end + output], 1)
        sample = made.step(output, t, zero, generator=torch.Generator().manual_seed(0)).prev_sample
        return (sample / torch.randn(zero.shape, generator=torch.Generator().manual_seed(0), dtype=zero.dtype)) ** 2
    return of


def laws(beta, **options):
    """Everything that training and sampling ask of the scheduler."""
    known, predicted = (scheduler(beta, prediction_type=kind, variance_type="learned", **options) for kind in ("sample", "epsilon"))
    made = scheduler(beta, **options)
    return {"add_noise": lambda x0, t, noise: made.add_noise(x0, noise, torch.tensor([t])),
            "x0_from_eps": lambda xt, t, eps: made.step(eps, t, xt).pred_original_sample,
            "posterior_mean": lambda x0, xt, t: mean(known)(x0, t, xt), "mean_from_eps": lambda xt, t, eps: mean(predicted)(eps, t, xt),
            "posterior_var": variance(made)}


def ends(beta, end, **options):
    made = scheduler(beta, variance_type="learned_range", **options)
    made.end = end
    return {"posterior_var": variance(made)}


def ddim(beta, eta):
    """DDIM's sampler with as many steps as the chain: at eta = 1 it is DDPM's."""
    made = DDIMScheduler(len(beta), trained_betas=beta.numpy(), clip_sample=False, set_alpha_to_one=True)
    made.alphas_cumprod, made.final_alpha_cumprod = torch.cumprod(1 - beta, 0), made.final_alpha_cumprod.double()
    made.set_timesteps(len(beta))
    return {"mean_from_eps": lambda xt, t, eps: made.step(eps, t, xt, eta=eta, variance_noise=0 * xt).prev_sample}


def respaced(spacing, steps=20):
    """A sampler that skips steps, and the rates of the chain it walks: t counts the steps taken."""
    made = DDPMScheduler(clip_sample=False, prediction_type="sample", variance_type="learned", timestep_spacing=spacing)
    made.alphas_cumprod, made.one = torch.cumprod(1 - made.betas.double(), 0), made.one.double()
    made.set_timesteps(steps)
    at = made.timesteps.flip(0)
    log_abar = GaussianDiffusion(made.betas.double().numpy()).log_abar(at.numpy() + 1)
    return {"posterior_mean": lambda x0, xt, t: mean(made)(x0, at[t], xt)}, -np.expm1(np.diff(log_abar, prepend=0.0))


def law(mean, logvar):
    return DiagonalGaussianDistribution(torch.cat([mean, logvar], 1))


DIVERGENCES = {"gaussian_kl": lambda m, v, n, w: law(m, v).kl(law(n, w)), "gaussian_log_prob": lambda x, m, v: -law(m, v).nll(x)}


# Cases


IMAGES = {"first_t": 0, "shape": (4, 3, 2, 2)}
SINGLE = {**IMAGES, "dtype": "float32"}
LAWS = ("add_noise", "x0_from_eps", "posterior_mean", "mean_from_eps", "posterior_var")
CASES = {
    "tables": Case("`DDPMScheduler`", lambda beta: tables(scheduler(beta)), dict.fromkeys(("betas", "alphas", "alphas_cumprod"), PASS),
                   SINGLE, "as float32"),
    "laws": Case("`add_noise`, `step`", laws, {**dict.fromkeys(LAWS[:2], FLOAT32), **dict.fromkeys(LAWS[2:], READ_BACK)}, SINGLE,
                 "right, on these tables"),
    "table": Case("`_get_variance` at every t", lambda beta: {"posterior_variance": scheduler(beta)._get_variance},
                  {"posterior_variance": READ_BACK}, SINGLE, "right, on these tables"),
    "wide": Case("on float64 tables and data", lambda beta: laws(beta, wide=True), dict.fromkeys(LAWS, PASS), IMAGES,
                 "the same code; only its tables lost digits"),
    "rounded": Case("on float64 tables, float32 data", lambda beta: laws(beta, wide=True), {
        "add_noise": precision("1 - abar taken by subtraction from an abar rounded to float32"), **dict.fromkeys(LAWS[1:], PASS)}, SINGLE,
        "`add_noise` casts abar to the data's dtype"),
    **{kind: Case(f'`variance_type="{kind}"`', lambda beta, kind=kind: {
        "posterior_var": variance(scheduler(beta, variance_type=kind))}, {"posterior_var": said}, SINGLE, note) for kind, said, note in (
            ("fixed_small", READ_BACK, "right, on these tables"), ("fixed_small_log", READ_BACK, "right, on these tables"),
            ("fixed_large", BETA_T, "by design: the larger choice of Ho et al. 2020"),
            ("fixed_large_log", wrong("returns nan"), "a fault, known upstream: the root of log beta_t is taken"))},
    "range -1": Case('`"learned_range"`, -1 predicted', lambda beta: ends(beta, -1), {"posterior_var": READ_BACK}, SINGLE,
                     "by design: from the posterior's variance"),
    "range 1": Case('`"learned_range"`, +1 predicted', lambda beta: ends(beta, 1), {"posterior_var": BETA_T}, SINGLE,
                    "by design: to beta_t"),
    "clipped": Case("`clip_sample=True`, the default", lambda beta: {
        "posterior_mean": laws(beta, wide=True, clip_sample=True)["posterior_mean"]}, {"posterior_mean": UNKNOWN}, IMAGES,
        "by design: x^0 is clipped to [-1, 1] first"),
    **{f"respaced {kind}": Case(f'`timestep_spacing="{kind}"`', respaced(kind)[0], {"posterior_mean": PASS},
                                {**IMAGES, "beta": respaced(kind)[1]}, "20 steps of 1000, on float64 tables")
       for kind in ("leading", "linspace", "trailing")},
    "linear": Case('`beta_schedule="linear"`', {"betas": DDPMScheduler().betas}, {"betas": PASS},
                   {**SINGLE, "beta": schedules.linear(1000, first=1e-4, last=0.02)}, "as float32"),
    "cosine": Case('`"squaredcos_cap_v2"`', {"betas": DDPMScheduler(beta_schedule="squaredcos_cap_v2").betas}, {"betas": PASS},
                   {**SINGLE, "beta": schedules.cosine(1000)}, "as float32"),
    "ddim 1": Case("`DDIMScheduler.step` at eta = 1", lambda beta: ddim(beta, 1.0), {"mean_from_eps": PASS}, IMAGES,
                   "on float64 tables"),
    "ddim 0": Case("`DDIMScheduler.step` at eta = 0", lambda beta: ddim(beta, 0.0), {"mean_from_eps": UNKNOWN}, IMAGES,
                   "by design: another, deterministic step"),
    "divergences": Case("`DiagonalGaussianDistribution`", DIVERGENCES, dict.fromkeys(DIVERGENCES, PASS),
                        {"shape": (4, 3, 2, 2), "spread": "logvar"}, "`kl`, `-nll`"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_what_is_so(name):
    found = {row.name: row for row in rows("diffusers", name)}
    assert found.keys() == CASES[name].said.keys()
    assert all(agrees(found[each], said) for each, said in CASES[name].said.items()), "\n".join(map(str, found.values()))


def test_the_readme_s_table_says_so():
    assert set(shown("\n".join(lines("diffusers")))) <= set(shown(README))


def test_digits_are_those_that_mpmath_counts():
    made = DDPMScheduler()
    beta, worst = [mpmath.mpf(each) for each in made.betas.tolist()], mpmath.mpf(0)
    with mpmath.workdps(40):
        before = 1 - beta[0]
        for t in range(1, 1000):
            abar = before * (1 - beta[t])
            var = beta[t] * (1 - before) / (1 - abar)
            worst, before = max(worst, abs(made._get_variance(t).item() / var - 1)), abar
    row = check.run({"posterior_variance": made._get_variance}, beta=made.betas, **SINGLE).rows[0]
    assert row.digits == pytest.approx(float(-mpmath.log10(worst)), abs=0.01)
    assert row.worst_input["t"] == 4


def test_tables_turned_by_one_step_are_named():
    def turned(beta):
        made = scheduler(beta, wide=True)
        made.alphas_cumprod = made.alphas_cumprod.roll(-1)
        return {"add_noise": lambda x0, t, noise: made.add_noise(x0, noise, torch.tensor([t]))}
    row = check.run(turned, to_native=torch.from_numpy, **IMAGES)["add_noise"]
    assert agrees(row, wrong("t one too large: entry t + 1 of the tables is read"))


def test_time_counted_from_1_runs_past_the_end():
    counted = {**SINGLE, "first_t": 1}
    row = check.run(lambda beta: {"add_noise": laws(beta)["add_noise"]}, to_native=torch.from_numpy, **counted)["add_noise"]
    assert agrees(row, wrong("t one too large: entry t + 1 of the tables is read"))
    assert "raises IndexError" in row.message

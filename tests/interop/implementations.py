"""Other people's implementations, handed to the check as a user would.

An adapter maps the names of `dpm_ref.check` to a library's functions: at most 8 lines. With it
stands what is true of each function, by the library's source, and therefore must be said: PASS, or
a status with words of a diagnosis or of the message. Libraries are imported when a case is run.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch

from dpm_ref import check

Said = tuple[str, str]  # a status, and words of a diagnosis or of the message


class Case(NamedTuple):
    library: str
    what: str
    adapter: Callable[..., Mapping[str, Any]]
    said: dict[str, Said]
    conventions: dict[str, Any]
    note: str


CASES: list[Case] = []


def case(library: str, what: str, passes: str = "", *, wrong: Mapping[str, str] | None = None,
         precision: Mapping[str, str] | None = None, note: str = "", **conventions: Any) -> Any:
    """Registers an adapter, with the verdict on each of its functions."""
    said = dict.fromkeys(passes.split(), ("PASS", ""))
    said |= {name: ("PRECISION", why) for name, why in (precision or {}).items()}
    said |= {name: ("WRONG", why) for name, why in (wrong or {}).items()}

    def register(adapter: Any) -> Any:
        CASES.append(Case(library, what, adapter, said, conventions, note))
        return adapter
    return register


@cache
def rows(k: int) -> dict[str, check.Row]:
    """The report's rows on case k, made once; a schedule that is declared is the library's own."""
    each = CASES[k]
    fixed = {"beta", "abar"} & set(each.conventions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        functions = each.adapter() if fixed else each.adapter
        report = check.run(functions, **{"to_native": torch.from_numpy, **each.conventions})
    return {row.name: row for row in report.rows}


def agrees(row: check.Row, said: Said) -> bool:
    status, why = said
    return row.status == status and any(why in text for text in (*row.diagnoses, row.message))


def tables(made: Any, names: str) -> dict[str, Any]:
    return {name: getattr(made, name) for name in names.split()}


OPERATORS = torch.library.Library("torchvision", "FRAGMENT")


@cache
def torchvision() -> None:
    """Imports torchvision, also beside a CPU build of PyTorch that lacks its operators."""
    try:
        __import__("torchvision")
    except RuntimeError:
        for name in ("nms", "qnms"):
            OPERATORS.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        __import__("torchvision")


IMAGES = {"first_t": 0, "shape": (4, 3, 2, 2)}
BATCH = {**IMAGES, "t_shape": "batch"}
SINGLE = {**BATCH, "dtype": "float32"}
POSTERIOR = "posterior_mean posterior_var posterior_log_var"
TABLES = ("alphas_cumprod sqrt_recipm1_alphas_cumprod log_one_minus_alphas_cumprod "
          "posterior_variance posterior_log_variance_clipped posterior_mean_coef1 "
          "posterior_mean_coef2")
READ_BACK = "beta read back from the product, 1 - abar_t / abar_{t-1}, in float32"
INTERPOLATED = "interpolated"
NOT_LOGARITHMS = "a fault: the variances are interpolated, not their logarithms"


# diffusers: float32 tables; beta_t is read back from their product; x^0 clipped unless told not to


def diffusers(beta: Any, wide: bool = True, **options: Any) -> Any:
    """DDPM's scheduler of these rates, its tables in float64 if `wide`."""
    from diffusers import DDPMScheduler
    options = {"trained_betas": beta.numpy(), "clip_sample": False, **options}
    made = DDPMScheduler(len(beta), **options)
    if wide:
        made.alphas_cumprod, made.one = torch.cumprod(1 - beta, 0), made.one.double()
    return made


def diffusers_steps(beta: Any, wide: bool) -> dict[str, Any]:
    """`add_noise`, and `step` without its noise: that of a learned variance, here 0."""
    known, made = (diffusers(beta, wide, prediction_type=kind, variance_type="learned")
                   for kind in ("sample", "epsilon"))
    silent = lambda output: torch.cat([output, 0 * output], 1)  # noqa: E731
    return {"add_noise": lambda x0, t, noise: made.add_noise(x0, noise, torch.tensor([t])),
            "x0_from_eps": lambda xt, t, eps: made.step(silent(eps), t, xt).pred_original_sample,
            "posterior_mean": lambda x0, xt, t: known.step(silent(x0), t, xt).prev_sample,
            "mean_from_eps": lambda xt, t, eps: made.step(silent(eps), t, xt).prev_sample}


@case("diffusers", "`DDPMScheduler` on float64 tables", "add_noise x0_from_eps posterior_mean "
      "mean_from_eps", note="only its tables lose digits", **IMAGES)
def diffusers_wide(beta):
    return diffusers_steps(beta, wide=True)


@case("diffusers", "`DDPMScheduler`", precision={
    "add_noise": "float32", "x0_from_eps": "float32", "posterior_mean": READ_BACK,
    "mean_from_eps": READ_BACK}, note="right, on its float32 tables", dtype="float32", **IMAGES)
def diffusers_narrow(beta):
    return diffusers_steps(beta, wide=False)


@case("diffusers", "`_get_variance`", precision={"posterior_variance": "float32"},
      note="right, on its float32 tables", dtype="float32", **IMAGES)
def diffusers_variance(beta):
    return {"posterior_variance": diffusers(beta, wide=False)._get_variance}


@case("diffusers", '`variance_type="fixed_large"`', note="by design: the larger choice of DDPM",
      wrong={"posterior_variance": "beta_t for the posterior's variance"}, **IMAGES)
def diffusers_large(beta):
    return {"posterior_variance": diffusers(beta, variance_type="fixed_large")._get_variance}


@case("diffusers", '`variance_type="fixed_large_log"`', wrong={"reverse_step": "returns nan"},
      note="a fault, known upstream: `step` takes the root of log beta_t", reverse_var="beta",
      own_noise=True, **IMAGES)
def diffusers_large_log(beta):
    made = diffusers(beta, variance_type="fixed_large_log")
    return {"reverse_step": lambda xt, t, output: made.step(output, t, xt).prev_sample}


@case("diffusers", '`variance_type="learned_range"`', "learned_range_var", **IMAGES)
def diffusers_learned(beta):
    made = diffusers(beta, variance_type="learned_range")
    return {"learned_range_var": lambda w, t: made._get_variance(t, w).exp()}


@case("diffusers", "`clip_sample=True`, the default", note="by design",
      wrong={"mean_from_x0": "x^0 clipped to [-1, 1]"}, **IMAGES)
def diffusers_clipped(beta):
    made = diffusers(beta, prediction_type="sample", variance_type="learned", clip_sample=True)
    return {"mean_from_x0": lambda xt, t, x0: made.step(
        torch.cat([x0, 0 * x0], 1), t, xt).prev_sample}


@case("diffusers", '`beta_schedule="squaredcos_cap_v2"`', "betas", beta=("cosine", 1000),
      dtype="float32")
def diffusers_cosine():
    from diffusers import DDPMScheduler
    return {"betas": DDPMScheduler(beta_schedule="squaredcos_cap_v2").betas}


@case("diffusers", '`beta_schedule="scaled_linear"`', "betas", beta=("quadratic", 1000),
      dtype="float32")
def diffusers_scaled():
    from diffusers import DDPMScheduler
    return {"betas": DDPMScheduler(beta_schedule="scaled_linear").betas}


def diffusers_ddim(beta: Any, eta: float) -> dict[str, Any]:
    """DDIM with as many steps as the chain."""
    from diffusers import DDIMScheduler
    made = DDIMScheduler(len(beta), trained_betas=beta.numpy(), clip_sample=False)
    made.alphas_cumprod = torch.cumprod(1 - beta, 0)
    made.final_alpha_cumprod = torch.ones((), dtype=beta.dtype)
    made.set_timesteps(len(beta))
    return {"ddim_step": lambda xt, t, eps, noise: made.step(
        eps, t, xt, eta=eta, variance_noise=noise).prev_sample}


@case("diffusers", "`DDIMScheduler.step` at eta = 0.5", "ddim_step", eta=0.5, **IMAGES)
def diffusers_ddim_half(beta):
    return diffusers_ddim(beta, 0.5)


@case("diffusers", "`DDIMScheduler.step` at eta = 0", "ddim_step", **IMAGES)
def diffusers_ddim_silent(beta):
    return diffusers_ddim(beta, 0.0)


# azula: x_t = alpha_t x + sigma_t eps, at times in [0, 1] or on any table


def azula(beta: Any, sampler: str, **options: Any) -> dict[str, Any]:
    """A sampler's step on the table t = 0..T, its denoiser told x^0."""
    from azula import denoise, noise, sample
    abar = torch.cat([beta.new_ones(1), torch.cumprod(1 - beta, 0)])
    levels = {"__call__": lambda _, t: (abar[t].sqrt(), (1 - abar[t]).sqrt())}
    tell = {"forward": lambda _, x_t, t, x0: denoise.DiracPosterior(mean=x0)}
    told = type("Told", (denoise.Denoiser,), tell)()
    told.schedule, at = type("Table", (noise.Schedule,), levels)(), torch.tensor
    made = getattr(sample, sampler)(told, **options)
    return {"reverse_step": lambda xt, t, x0: made.step(xt, at(t), at(t - 1), x0=x0)}


@case("azula", "`DDPMSampler.step`", "reverse_step", model="x0",
      reverse_var="posterior", own_noise=True)
def azula_ddpm(beta):
    return azula(beta, "DDPMSampler")


@case("azula", "`DDIMSampler.step` at eta = 1", "reverse_step", model="x0",
      reverse_var="posterior", own_noise=True)
def azula_ddim(beta):
    return azula(beta, "DDIMSampler", eta=1.0)


@case("azula", "`VPSchedule(sigma_min=0)`", "marginal_mean marginal_var",
      abar=1000.0 ** (-2 * (np.arange(1, 65) / 64) ** 2))
def azula_vp():
    from azula.noise import VPSchedule
    made, at = VPSchedule(sigma_min=0.0), lambda t: torch.tensor(t / 64, dtype=torch.float64)
    return {"marginal": lambda x0, t: (made(at(t))[0] * x0, made(at(t))[1] ** 2)}


@case("azula", "`GaussianPosterior.log_prob`", "gaussian_log_prob", components="none", beta=None)
def azula_normal():
    from azula.denoise import GaussianPosterior
    return {"gaussian_log_prob": lambda x, mean, var: GaussianPosterior(mean, var).log_prob(x)}


# OpenAI's GaussianDiffusion, in a package that carries it along

OPENAI = "improved-diffusion-for-SMLM"


def openai(beta: Any, var: str = "FIXED_SMALL") -> Any:
    from improved_diffusion_for_SMLM.improved_diffusion import gaussian_diffusion as module
    return module.GaussianDiffusion(
        betas=np.asarray(beta), model_mean_type=module.ModelMeanType.EPSILON,
        model_var_type=module.ModelVarType[var], loss_type=module.LossType.KL)


@case(OPENAI, "tables", TABLES, first_t=0)
def openai_tables(beta):
    return tables(openai(beta), TABLES)


@case(OPENAI, "distributions", f"q_sample marginal_mean marginal_var marginal_log_var {POSTERIOR} "
      "x0_from_eps eps_from_x0 prior_kl", **SINGLE)
def openai_distributions(beta):
    made, bits = openai(beta), {"unit": "bits", "components": "mean"}
    return {"q_sample": made.q_sample, "q_mean_variance": made.q_mean_variance,
            "q_posterior_mean_variance": made.q_posterior_mean_variance,
            "x0_from_eps": made._predict_xstart_from_eps,
            "eps_from_x0": made._predict_eps_from_xstart, "prior_kl": (made._prior_bpd, bits)}


@case(OPENAI, "`_vb_terms_bpd` and `calc_bpd_loop`, posterior variance", "vlb_term nll",
      reverse_var="posterior", unit="bits", components="mean", **SINGLE)
def openai_bound_small(beta):
    return openai_bound(openai(beta))


@case(OPENAI, "`_vb_terms_bpd` and `calc_bpd_loop`, beta_t", "vlb_term nll", reverse_var="beta",
      unit="bits", components="mean", **SINGLE)
def openai_bound_large(beta):
    return openai_bound(openai(beta, "FIXED_LARGE"))


def openai_bound(made: Any) -> dict[str, Any]:
    return {"vlb_term": lambda model, x0, xt, t: made._vb_terms_bpd(model, x0, xt, t, False),
            "nll": lambda model, x0: made.calc_bpd_loop(model, x0, clip_denoised=False)}


@case(OPENAI, "`p_sample`", "reverse_step", reverse_var="posterior", own_noise=True, **SINGLE)
def openai_step(beta):
    made = openai(beta)
    return {"reverse_step": lambda xt, t, output: made.p_sample(
        lambda x, t: output, xt, t, clip_denoised=False)["sample"]}


@case(OPENAI, "`ddim_sample` at eta = 0.5", precision={"ddim_step": "float32"}, eta=0.5,
      own_noise=True, **SINGLE)
def openai_ddim(beta):
    made = openai(beta)
    return {"ddim_step": lambda xt, t, eps: made.ddim_sample(
        lambda x, t: eps, xt, t, clip_denoised=False, eta=0.5)["sample"]}


@case(OPENAI, "`discretized_gaussian_log_likelihood`", "decoder_log_prob", components="none",
      spread="std", beta=None)
def openai_decoder():
    from improved_diffusion_for_SMLM.improved_diffusion import losses
    return {"decoder_log_prob": lambda x0, mean, std: losses.discretized_gaussian_log_likelihood(
        x0, means=mean, log_scales=std.log())}


@case(OPENAI, "`normal_kl`", "normal_kl", spread="logvar", components="none", beta=None)
def openai_kl():
    from improved_diffusion_for_SMLM.improved_diffusion.losses import normal_kl
    return {"normal_kl": normal_kl}


# denoising-diffusion-pytorch

LUCID = "denoising-diffusion-pytorch"


def lucid(beta_schedule: str, objective: str = "pred_noise") -> Any:
    torchvision()
    from denoising_diffusion_pytorch import GaussianDiffusion1D
    return GaussianDiffusion1D(None, seq_length=4, timesteps=1000, beta_schedule=beta_schedule,
                               objective=objective, channels=3, self_condition=False)


@case(LUCID, '`beta_schedule="cosine"`', f"betas {TABLES}", beta=("cosine", 1000), first_t=0,
      dtype="float32")
def lucid_tables():
    return tables(lucid("cosine"), f"betas {TABLES}")


@case(LUCID, '`beta_schedule="linear"`', f"q_sample {POSTERIOR} x0_from_eps eps_from_x0 x0_from_v "
      "velocity", beta=("linear", 1000), **{**SINGLE, "shape": (4, 3, 4)})
def lucid_distributions():
    made = lucid("linear")
    return {"q_sample": made.q_sample, "q_posterior": made.q_posterior,
            "x0_from_eps": made.predict_start_from_noise,
            "eps_from_x0": made.predict_noise_from_start,
            "x0_from_v": made.predict_start_from_v, "velocity": made.predict_v}


@case(LUCID, 'loss weight of `"pred_x0"`', "snr", beta=("linear", 1000), first_t=0,
      dtype="float32")
def lucid_weight():
    return {"snr": lucid("linear", "pred_x0").loss_weight}


@case(LUCID, "`normal_kl`", "normal_kl", spread="logvar", components="none", beta=None)
def lucid_kl():
    torchvision()
    from denoising_diffusion_pytorch.learned_gaussian_diffusion import normal_kl
    return {"normal_kl": normal_kl}


# monai


def monai(beta: Any, **options: Any) -> Any:
    from monai.networks.schedulers import DDPMScheduler
    made = DDPMScheduler(len(beta), clip_sample=False, **options)
    made.betas, made.alphas, made.alphas_cumprod = beta, 1 - beta, torch.cumprod(1 - beta, 0)
    made.one = made.one.double()
    return made


@case("monai", "`DDPMScheduler` on float64 tables", "add_noise velocity posterior_mean x0_from_eps "
      "posterior_variance", **IMAGES)
def monai_steps(beta):
    made, at = monai(beta), torch.tensor
    return {"add_noise": lambda x0, t, noise: made.add_noise(x0, noise, at([t])),
            "velocity": lambda x0, t, noise: made.get_velocity(x0, noise, at([t])),
            "posterior_mean": lambda x0, xt, t: made._get_mean(t, x0, xt),
            "x0_from_eps": lambda xt, t, eps: made.step(eps, t, xt)[1],
            "posterior_variance": made._get_variance}


@case("monai", '`variance_type="learned_range"`', wrong={"learned_range_var": INTERPOLATED},
      note=NOT_LOGARITHMS, **IMAGES)
def monai_learned(beta):
    made = monai(beta, variance_type="learned_range")
    return {"learned_range_var": lambda w, t: made._get_variance(t, w)}


# bionemo-moco


def moco(beta: Any, **options: Any) -> Any:
    from bionemo.moco.distributions.prior import GaussianPrior
    from bionemo.moco.distributions.time import UniformTimeDistribution
    from bionemo.moco.interpolants import DDPM
    schedule = SimpleNamespace(generate_schedule=lambda device: 1 - beta, nsteps=len(beta))
    times = UniformTimeDistribution(discrete_time=True, nsteps=len(beta))
    return DDPM(times, GaussianPrior(), schedule, **options)


@case("bionemo-moco", "`DDPM` tables", "abar posterior_coefficient_x0 posterior_coefficient_xt "
      "posterior_variance", first_t=0)
def moco_tables(beta):
    made = moco(beta)
    return {"abar": made.alpha_bar, "posterior_coefficient_x0": made.reverse_data_schedule,
            "posterior_coefficient_xt": made.reverse_noise_schedule,
            "posterior_variance": made._posterior_variance}


@case("bionemo-moco", "`DDPM.log_var`, for the noise of `step`", first_t=0,
      wrong={"posterior_log_variance": "t one too small"},
      note="a fault: the log variance of t - 1 stands at t")
def moco_log_var(beta):
    return {"posterior_log_variance": moco(beta).log_var}


@case("bionemo-moco", "`DDPM`", "q_sample velocity x0_from_eps eps_from_x0 score_from_x0", **BATCH)
def moco_conversions(beta):
    made, noise = moco(beta), moco(beta, prediction_type="noise")
    return {"q_sample": made.interpolate, "velocity": made.calculate_velocity,
            "x0_from_eps": lambda xt, t, eps: noise.process_data_prediction(eps, xt, t),
            "eps_from_x0": lambda xt, t, x0: made.process_noise_prediction(x0, xt, t),
            "score_from_x0": lambda xt, t, x0: made.score(x0, xt, t)}


def d3pm(beta: Any) -> Any:
    from bionemo.moco.distributions.prior import DiscreteUniformPrior
    from bionemo.moco.distributions.time import UniformTimeDistribution
    from bionemo.moco.interpolants import D3PM
    schedule = SimpleNamespace(generate_schedule=lambda device: 1 - beta.float(), nsteps=len(beta))
    times = UniformTimeDistribution(discrete_time=True, nsteps=len(beta))
    return D3PM(times, DiscreteUniformPrior(2), schedule)


@case("bionemo-moco", "`D3PM`, two classes", precision={
    "binomial_kernel": "float32", "binomial_marginal": "float32", "binomial_posterior": ""},
    note="matrices in float32; 1e-6 is added in logarithms, by design", t_shape="batch", first_t=0,
    dtype="float32")
def moco_discrete(beta):
    made, hot = d3pm(beta), lambda x: torch.nn.functional.one_hot(x.long(), 2).float()
    return {"binomial_kernel": lambda x, t: (hot(x)[:, :, None] @ made._Qt[t][:, None])[..., 0, 1],
            "binomial_marginal": lambda x, t: (
                hot(x)[:, :, None] @ made._Qt_bar[t][:, None])[..., 0, 1],
            "binomial_posterior": lambda x0, xt, t: made._q_posterior_logits(
                (hot(x0) + 1e-30).log(), t, xt.long()).softmax(-1)[..., 1]}


# transfusion-asr: multinomial diffusion in log space, on two classes


def transfusion(beta: Any) -> Any:
    from transfusion.diffusion import MultinomialDiffusion
    rates = {"cosine_beta_schedule": staticmethod(lambda steps, s: 1 - beta)}
    declared = type("Declared", (MultinomialDiffusion,), rates)
    return declared(2, len(beta), dtype=torch.float64)


def classes(p1: Any) -> Any:
    """Log probabilities of 0 and 1."""
    return torch.stack([1 - p1, p1], -1).clamp(min=1e-40).log()


@case("transfusion-asr", "`MultinomialDiffusion`, two classes", "binomial_kernel binomial_marginal "
      "binomial_posterior binomial_prior_kl bernoulli_kl", t_shape="batch", first_t=0)
def transfusion_distributions(beta):
    made, p1 = transfusion(beta), lambda log: log[..., 1].exp()
    return {"binomial_kernel": lambda x, t: p1(made.q_pred_one_timestep(classes(x), t)),
            "binomial_marginal": lambda x0, t: p1(made.q_pred(classes(x0), t)),
            "binomial_posterior": lambda x0, xt, t: p1(
                made.q_posterior(classes(x0), classes(xt), t)),
            "binomial_prior_kl": lambda x0: made.kl_prior(classes(x0)),
            "bernoulli_kl": lambda q, p: made.multinomial_kl(classes(q), classes(p)).sum(-1)}


# diffusions


def diffusions(beta: Any, **options: Any) -> Any:
    from diffusions.schedulers import DDPM
    made = DDPM(len(beta), betas=beta.numpy(), clip_sample=False, **options)
    made.one = torch.ones((), dtype=beta.dtype)
    return made


@case("diffusions", "`DDPM` of float64 rates", "posterior_variance reverse_step",
      reverse_var="posterior", own_noise=True, **IMAGES)
def diffusions_steps(beta):
    made = diffusions(beta)
    return {"posterior_variance": made._get_variance,
            "reverse_step": lambda xt, t, eps: made.step(eps, t, xt)["prev_sample"]}


@case("diffusions", '`variance_type="learned_range"`', wrong={"learned_range_var": INTERPOLATED},
      note=NOT_LOGARITHMS, **IMAGES)
def diffusions_learned(beta):
    made = diffusions(beta, variance_type="learned_range")
    return {"learned_range_var": lambda w, t: made._get_variance(t, w)}


@case("diffusions", "`scale_beta=True`", wrong={"betas": "sqrt(beta_t) for beta_t"},
      note="a fault: roots are spaced evenly, and not squared again", beta=("quadratic", 1000),
      dtype="float32")
def diffusions_scaled():
    from diffusions.schedulers import DDIM
    return {"betas": DDIM(scale_beta=True).betas}


# probabilisticdiffusion, tiny-diff, torchmanager-diffusion (which counts t from 1)


@case("probabilisticdiffusion", "`Diffusion.forward`, its noise at seed 0", first_t=0,
      wrong={"marginal_var": "squared"}, beta=("linear", 100, {"scaled": False}), shape=(5, 1),
      note="a fault: `torch.normal` is handed the variance for the standard deviation")
def probabilistic():
    from ProbabilisticDiffusion import Diffusion

    def marginal_var(x0, t):
        made = Diffusion(0 * x0, 100, 1e-4, 0.02, "linear", None, None, None)
        torch.manual_seed(0)
        noisy = made.forward(t, plot=False)
        torch.manual_seed(0)
        return (noisy / torch.normal(0 * noisy[:, 0], 1.0)[:, None]) ** 2
    return {"marginal_var": marginal_var}


@case("tiny-diff", "`DDPMScheduler`", dtype="float32", precision={
    "x0_from_eps": "float32", "mean_from_eps": READ_BACK, "posterior_variance": "float32"},
    note="right, on its float32 tables", **IMAGES)
def tiny_diff(beta):
    from tiny_diff.schedulers import DDPMScheduler
    made = DDPMScheduler(len(beta))
    made._betas, variance = beta.float(), made._get_variance
    made._set_alphas()
    made._get_variance = lambda t: torch.zeros(())  # a step without its noise
    return {"x0_from_eps": lambda xt, t, eps: made.step(eps, t, xt)["z_t_1"],
            "mean_from_eps": lambda xt, t, eps: made.step(eps, t, xt)["z"],
            "posterior_variance": variance}


BETA_SPACE = "betas alphas_cumprod alphas_cumprod_prev posterior_variance sqrt_alphas_cumprod"


@case("torchmanager-diffusion", "`BetaSpace`", BETA_SPACE)
def torchmanager_diffusion(beta):
    torchvision()
    from diffusion.scheduling import BetaSpace
    return tables(BetaSpace(beta), BETA_SPACE)


@case("torch", "`torch.distributions`", "gaussian_kl gaussian_entropy gaussian_log_prob "
      "bernoulli_kl bernoulli_entropy bernoulli_log_prob", components="none", spread="std",
      beta=None)
def torch_laws():
    from torch.distributions import Bernoulli, Normal, kl_divergence
    return {"gaussian_kl": lambda m, s, n, r: kl_divergence(Normal(m, s), Normal(n, r)),
            "gaussian_entropy": lambda std: Normal(0 * std, std).entropy(),
            "gaussian_log_prob": lambda x, m, s: Normal(m, s).log_prob(x),
            "bernoulli_kl": lambda q, p: kl_divergence(Bernoulli(q), Bernoulli(p)),
            "bernoulli_entropy": lambda p: Bernoulli(p).entropy(),
            "bernoulli_log_prob": lambda x, p: Bernoulli(p).log_prob(x)}


# JAX: flaxdiff, artifex, numpyro


def to_jax(array: Any) -> Any:
    import jax
    jax.config.update("jax_enable_x64", True)
    return jax.numpy.asarray(array)


JAX = {**SINGLE, "to_native": to_jax}


def flaxdiff(beta: Any) -> Any:
    from flaxdiff.schedulers import DiscreteNoiseScheduler
    return DiscreteNoiseScheduler(len(beta), schedule_fn=lambda *_: np.asarray(beta))


@case("flaxdiff", "`DiscreteNoiseScheduler` (JAX)", "betas alphas_cumprod posterior_log_variance "
      "posterior_mean add_noise x0_from_eps", **JAX)
def flaxdiff_distributions(beta):
    made = flaxdiff(beta)
    return {"betas": made.betas, "alphas_cumprod": made.alpha_cumprod,
            "posterior_log_variance": made.posterior_log_variance_clipped,
            "posterior_mean": made.get_posterior_mean,
            "add_noise": lambda x0, t, noise: made.add_noise(x0, noise, t),
            "x0_from_eps": lambda xt, t, eps: made.remove_all_noise(xt, eps, t)}


@case("flaxdiff", "`get_posterior_variance` (JAX)", wrong={"posterior_variance": "root"},
      note="its caller takes it for what it is, a standard deviation",
      **{**JAX, "t_shape": "scalar"})
def flaxdiff_variance(beta):
    return {"posterior_variance": flaxdiff(beta).get_posterior_variance}


@case("avitai-artifex", "`LinearNoiseSchedule` (JAX)", f"q_sample {POSTERIOR} x0_from_eps",
      beta=("linear", 1000), **JAX)
def artifex():
    from artifex.generative_models.core import noise_schedule as module
    made = module.create_noise_schedule(module.NoiseScheduleConfig(
        name="linear", num_timesteps=1000, schedule_type="linear", beta_start=1e-4, beta_end=0.02))
    return {"q_sample": made.q_sample, "q_posterior": made.q_posterior_mean_variance,
            "x0_from_eps": made.predict_start_from_noise}


@case("numpyro", "distributions (JAX)", "gaussian_kl gaussian_entropy gaussian_log_prob "
      "bernoulli_entropy bernoulli_log_prob", components="none", spread="std", to_native=to_jax,
      beta=None)
def numpyro_laws():
    from numpyro.distributions import Bernoulli, Normal, kl_divergence
    return {"gaussian_kl": lambda m, s, n, r: kl_divergence(Normal(m, s), Normal(n, r)),
            "gaussian_entropy": lambda std: Normal(0.0, std).entropy(),
            "gaussian_log_prob": lambda x, m, s: Normal(m, s).log_prob(x),
            "bernoulli_entropy": lambda p: Bernoulli(probs=p).entropy(),
            "bernoulli_log_prob": lambda x, p: Bernoulli(probs=p).log_prob(x)}

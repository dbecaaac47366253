"""The check on `azula`: its DDPM sampler under each of its schedules, and its normal law, each verdict asserted.

A schedule there gives x_t = alpha_t x + sigma_t eps at times in [0, 1], with any alpha and sigma. Divided by sqrt(alpha^2 + sigma^2)
it is the paper's process, abar = alpha^2 / (alpha^2 + sigma^2), on any grid of times, and so is the sampler. The truths are taken
from the schedules' formulas with 40 digits. As it stands the schedule called variance preserving has 1 - alpha^2 + sigma_min^2 for
its variance: by design, data come with a noise of sigma_min^2 = 1e-6. Times are float32 unless the sampler is told otherwise.
"""

import itertools

import mpmath
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("azula")

from azula.denoise import Denoiser, DiracPosterior, GaussianPosterior  # noqa: E402
from azula.noise import CosineSchedule, DecaySchedule, RectifiedSchedule, Schedule, VESchedule, VPSchedule  # noqa: E402
from azula.sample import DDIMSampler, DDPMSampler  # noqa: E402
from verdicts import PASS, README, Case, agrees, lines, precision, rows, seeded, shown, wrong  # noqa: E402

from dpm_ref import check  # noqa: E402

T = 64  # the sampler's own number of steps, unless told otherwise
LAWS = ("marginal_mean", "marginal_var", "posterior_mean", "posterior_var")


# Truths


def _linear(u):
    return u / 1000 + 1 - u, u + (1 - u) / 1000


def _preserving(alpha, var_min):
    return alpha, mpmath.sqrt(1 - alpha**2 + var_min)


FORMULAS = {
    VESchedule: lambda u, var_min: (mpmath.mpf(1), mpmath.exp((2 * u - 1) * mpmath.log(1000))),
    VPSchedule: lambda u, var_min: _preserving(mpmath.mpf(1000) ** -(u**2), var_min),
    CosineSchedule: lambda u, var_min: _preserving(mpmath.cos(u * mpmath.acos(mpmath.mpf(1) / 1000)), var_min),
    RectifiedSchedule: lambda u, var_min: _linear(u),
    DecaySchedule: lambda u, var_min: _linear((1 - mpmath.mpf(10) ** -u) / (1 - mpmath.mpf(1) / 10)),
}


def rates(schedule, T=T, var_min="1e-6"):
    """beta_1..T of a schedule on an even grid of times, by its formula."""
    with mpmath.workdps(40):
        scales = [FORMULAS[schedule](mpmath.mpf(i) / T, mpmath.mpf(var_min)) for i in range(1, T + 1)]
        abar = [mpmath.mpf(1), *(alpha**2 / (alpha**2 + std**2) for alpha, std in scales)]
        return [float(1 - after / before) for before, after in itertools.pairwise(abar)]


# Adapters


class Known(Denoiser):
    """A denoiser that is told x^0."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def forward(self, x_t, t, x0):
        return DiracPosterior(mean=x0)


class Table(Schedule):
    """A schedule on the steps t = 0..T of given rates, rounded once to a dtype."""

    def __init__(self, beta, dtype=torch.float64):
        self.abar, self.dtype = torch.cat([beta.new_ones(1), torch.cumprod(1 - beta, 0)]), dtype

    def __call__(self, t):
        return self.abar[t].sqrt().to(self.dtype), (1 - self.abar[t]).sqrt().to(self.dtype)


def laws(schedule, at=torch.tensor, scaled=False, sampler=DDPMSampler, **options):
    """The marginal, and the mean and variance of a sampler's step, its noise taken out by seeding it twice."""
    made = sampler(Known(schedule), **options)

    def scale(t):
        alpha, std = schedule(at(t))
        return (alpha**2 + std**2).sqrt() if scaled else torch.ones_like(alpha)

    def step(x0, xt, t):
        torch.manual_seed(0)
        return made.step(scale(t) * xt, at(t), at(t - 1), x0=x0) / scale(t - 1)

    def marginal(x0, t):
        alpha, std = schedule(at(t))
        return alpha / scale(t) * x0, (std / scale(t)) ** 2

    return {"marginal": marginal, "posterior_mean": lambda x0, xt, t: step(x0, xt, t) - step(0 * x0, 0 * xt, t),
            "posterior_var": lambda x0, xt, t: (step(0 * x0, 0 * xt, t) / seeded(xt)) ** 2}


def times(dtype):
    return lambda t: torch.tensor(t / T, dtype=dtype)


# Cases


SCHEDULES = {schedule.__name__: schedule for schedule in FORMULAS}
CONSTANT = precision("a small constant added to every 1 - abar_t")
CASES = {
    "steps": Case("`DDPMSampler.step`", lambda beta: laws(Table(beta)), dict.fromkeys(LAWS, PASS), {}),
    "float32": Case("`DDPMSampler.step` in float32", lambda beta: laws(Table(beta, torch.float32)),
                    dict.fromkeys(LAWS, PASS), {"dtype": "float32"}),
    "ddim 1": Case("`DDIMSampler.step` at eta = 1", lambda beta: {
        name: laws(Table(beta), sampler=DDIMSampler, eta=1.0)[name] for name in LAWS[2:]}, dict.fromkeys(LAWS[2:], PASS), {},
        "equal to `DDPMSampler`"),
    "ddim 0": Case("`DDIMSampler.step` at eta = 0", lambda beta: {
        "posterior_mean": laws(Table(beta), sampler=DDIMSampler, eta=0.0)["posterior_mean"]},
        {"posterior_mean": wrong("no single known mistake")}, {}, "by design: another, deterministic step"),
    **{name: Case(f"`{name}`", laws(schedule(), times(torch.float64), scaled=True),
                  dict.fromkeys(LAWS, PASS), {"beta": rates(schedule)}, "with `DDPMSampler.step`, of x_t / sqrt(alpha_t^2 + sigma_t^2)")
       for name, schedule in SCHEDULES.items()},
    **{f"{name} as it is": Case(f"`{name}`", laws(SCHEDULES[name](), times(torch.float64)),
                                {"marginal_mean": PASS, **dict.fromkeys(LAWS[1:], CONSTANT)}, {"beta": rates(SCHEDULES[name], var_min=0)},
                                "by design: data come with a noise of variance sigma_min^2 = 1e-6")
       for name in ("VPSchedule", "CosineSchedule")},
    "sigma_min = 0": Case("`VPSchedule(sigma_min=0)`", laws(VPSchedule(sigma_min=0.0), times(torch.float64)),
                          dict.fromkeys(LAWS, PASS), {"beta": rates(VPSchedule, var_min=0)}),
    "times": Case("`CosineSchedule(sigma_min=0)` at float32 times", laws(CosineSchedule(sigma_min=0.0), times(torch.float32)), {
        "marginal_mean": PASS, **dict.fromkeys(LAWS[1:], precision(""))}, {"beta": rates(CosineSchedule, var_min=0), "dtype": "float32"},
        "1 - alpha_t^2 cancels"),
    "normal": Case("`GaussianPosterior.log_prob`", {"gaussian_log_prob": lambda x, mean, var: GaussianPosterior(mean, var).log_prob(x)},
                   {"gaussian_log_prob": PASS}, {"components": "none"}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_what_is_so(name):
    found = {row.name: row for row in rows("azula", name)}
    assert found.keys() == CASES[name].said.keys()
    assert all(agrees(found[each], said) for each, said in CASES[name].said.items()), "\n".join(map(str, found.values()))


def test_the_readme_s_table_says_so():
    assert set(shown("\n".join(lines("azula")))) <= set(shown(README))


def test_a_schedule_without_its_root_is_named():
    class Rootless(Table):
        def __call__(self, t):
            return self.abar[t], (1 - self.abar[t]).sqrt()
    row = check.run(lambda beta: {"marginal": laws(Rootless(beta))["marginal"]}, to_native=torch.from_numpy)["marginal_mean"]
    assert agrees(row, wrong("abar_t without its root"))

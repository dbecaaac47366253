"""The check on functions of PyTorch tensors, and the README's ten lines as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dpm_ref import check

torch = pytest.importorskip("torch")

README = (Path(__file__).parents[2] / "README.md").read_text()
BETA = np.array([0.1, 0.25, 0.2, 0.4, 0.3])


class Diffusion:
    """DDPM's tables and laws, with an `extract` of rows as its code has it."""

    def __init__(self, beta, late=0):
        self.beta = beta
        self.abar = torch.cumprod(1 - beta, 0)
        self.prev = torch.cat([torch.ones(1, dtype=beta.dtype), self.abar[:-1]])
        self.late = late

    def extract(self, table, t, x):
        return table.gather(0, (t + self.late).clamp(max=len(table) - 1)).reshape(-1, *[1] * (x.ndim - 1))

    def q_sample(self, x0, t, noise):
        return self.extract(self.abar.sqrt(), t, x0) * x0 + self.extract((1 - self.abar).sqrt(), t, x0) * noise

    def q_posterior(self, x0, xt, t):
        lost = 1 - self.abar
        c0, c1, var = (self.extract(table, t, x0) for table in (
            self.prev.sqrt() * self.beta / lost, (1 - self.beta).sqrt() * (1 - self.prev) / lost, self.beta * (1 - self.prev) / lost))
        return c0 * x0 + c1 * xt, var, var.log()

    def lower_bound(self, x0, xs, means, variances):
        """K with torch.distributions."""
        normal, T = torch.distributions.Normal, len(self.beta)
        times = torch.arange(1, T)
        mean, var, _ = self.q_posterior(x0.expand_as(xs), xs, times)
        kl = torch.distributions.kl_divergence(normal(mean, var.sqrt().expand_as(mean)), normal(means, variances.sqrt())).sum((0, -1))
        pi = normal(torch.zeros((), dtype=x0.dtype), torch.ones((), dtype=x0.dtype))
        first, last = (torch.distributions.kl_divergence(normal(abar.sqrt() * x0, (1 - abar).sqrt()), pi).sum(-1)
                       for abar in self.abar[[0, -1]])
        return pi.log_prob(x0).sum(-1) + first - last - kl


def functions(beta, **options):
    mine = Diffusion(beta, **options)
    return {"alphas_cumprod": mine.abar, "q_sample": mine.q_sample, "q_posterior": mine.q_posterior, "lower_bound": mine.lower_bound}


def run(mapping, **conventions):
    return check.run(mapping, **{"to_native": torch.from_numpy, "t_shape": "batch", "first_t": 0, **conventions})


def test_right_code_in_float64_passes():
    report = run(functions)
    assert [row.name for row in report.rows] == ["alphas_cumprod", "q_sample", "posterior_mean", "posterior_var", "posterior_log_var",
                                                 "lower_bound"]
    report.assert_ok()


def test_float32_tables_lose_digits():
    report = run(lambda beta: functions(beta.float()), dtype="float32")
    assert {row.status for row in report.rows} == {"PASS", "PRECISION"}
    assert report["posterior_var"].status == "PRECISION"
    assert any("float32" in habit for habit in report["posterior_var"].diagnoses)


def test_time_read_one_step_late_is_named():
    report = run(lambda beta: functions(beta, late=1))
    for name in ("q_sample", "posterior_mean", "posterior_var"):
        assert "t one too large: entry t + 1 of the tables is read" in report[name].diagnoses


def test_images_and_results_that_carry_a_gradient():
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    mine = Diffusion(torch.from_numpy(BETA))
    report = run({"q_sample": lambda x0, t, noise: weight * mine.q_sample(x0, t, noise)}, beta=BETA, shape=(2, 3, 8, 8))
    report.assert_ok()


def test_gradient_by_autograd_is_held_against_the_derivative():
    def grad(mean_q, var_q, mean_p, var_p):
        mean_p, var_p = mean_p.requires_grad_(), var_p.requires_grad_()
        normal = torch.distributions.Normal
        kl = torch.distributions.kl_divergence(normal(mean_q, var_q.sqrt()), normal(mean_p, var_p.sqrt()))
        return torch.autograd.grad(kl.sum(), (mean_p, var_p))
    run({"gaussian_kl_grad": grad}).assert_ok()


def test_divergences_of_torch_distributions_pass():
    laws = torch.distributions
    run({"gaussian_kl": lambda m, v, n, w: laws.kl_divergence(laws.Normal(m, v.sqrt()), laws.Normal(n, w.sqrt())).sum(-1),
         "gaussian_entropy": lambda v: laws.Normal(torch.zeros_like(v), v.sqrt()).entropy().sum(-1),
         "bernoulli_kl": lambda q, p: laws.kl_divergence(laws.Bernoulli(q), laws.Bernoulli(p)).sum(-1),
         "bernoulli_entropy": lambda p: laws.Bernoulli(p).entropy().sum(-1),
         "log_likelihood": lambda log_w: log_w.logsumexp(0) - np.log(len(log_w))}).assert_ok()


@pytest.mark.parametrize(("function", "said"), [
    (lambda x0, t, noise: x0.mul_(2), "changes its argument x0 in place"), (lambda x0, t, noise: x0.bfloat16(), "no array"),
    (lambda x0, t, noise: x0.to(torch.int32), "dtype int32"), (lambda x0, t, noise: x0.to_sparse(), "no array"),
    (lambda x0, t, noise: x0 @ x0, "raises RuntimeError"),
])
def test_malformed_functions_of_tensors_are_told(function, said):
    row = run({"q_sample": function}, beta=BETA).rows[0]
    assert row.status == "WRONG"
    assert said in row.message


def blocks():
    """The README's code, and what it prints."""
    section = README[README.index("## Check your code in ten lines"):]
    return [re.search(rf"<!-- check: {re.escape(name)} -->\n```(?:python)?\n(.*?)```", section, re.DOTALL)[1]
            for name in ("ddpm.py", "ten lines", "verdict")]


def test_the_readme_s_ten_lines_print_the_readme_s_verdict(tmp_path):
    code, lines, verdict = blocks()
    (tmp_path / "ddpm.py").write_text(code)
    (tmp_path / "ten_lines.py").write_text(lines)
    assert sum(bool(line.strip()) for line in lines.splitlines()) <= 10
    done = subprocess.run([sys.executable, "ten_lines.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    digits = re.compile(r"got \S+, wanted [-\d.e]+|; \d\.\d digits")  # the last of which depend on PyTorch's order of operations
    assert digits.sub("", done.stdout) == digits.sub("", verdict)

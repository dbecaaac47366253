"""The check on functions of PyTorch tensors and JAX arrays: what only they can get wrong."""

import numpy as np
import pytest

from dpm_ref import check

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jnp = jax.numpy

BETA = np.array([0.1, 0.25, 0.2, 0.4, 0.3])


@pytest.fixture(autouse=True)
def wide():
    """JAX in float64 in these tests alone."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def torch_row(functions, **conventions):
    return check.run(functions, to_native=torch.from_numpy, **conventions).rows[0]


def test_images_and_results_that_carry_a_gradient():
    weight, abar = torch.ones((), dtype=torch.float64, requires_grad=True), np.cumprod(1 - BETA)
    row = torch_row(
        {
            "q_sample": lambda x0, t, noise: (
                weight * (abar[t - 1] ** 0.5 * x0 + (1 - abar[t - 1]) ** 0.5 * noise)
            )
        },
        beta=BETA,
        shape=(2, 3, 8, 8),
    )
    assert row.status == "PASS"


def test_gradient_by_autograd_equals_the_derivative():
    def grad(mean_q, var_q, mean_p, var_p):
        mean_p, var_p = mean_p.requires_grad_(), var_p.requires_grad_()
        normal = torch.distributions.Normal
        kl = torch.distributions.kl_divergence(
            normal(mean_q, var_q.sqrt()), normal(mean_p, var_p.sqrt())
        )
        return torch.autograd.grad(kl.sum(), (mean_p, var_p))

    check.run({"gaussian_kl_grad": grad}, to_native=torch.from_numpy).assert_ok()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x0, t, noise: x0.mul_(2), "changes its argument x0 in place"),
        (lambda x0, t, noise: x0.to(torch.int32), "dtype int32"),
        (lambda x0, t, noise: x0.to_sparse(), "no array"),
        (lambda x0, t, noise: x0 @ x0, "raises RuntimeError"),
    ],
)
def test_malformed_functions_of_tensors_are_told(function, said):
    row = torch_row({"q_sample": function}, beta=BETA)
    assert row.status == "WRONG"
    assert said in row.message


def jax_functions(beta, shift=0):
    abar = jnp.cumprod(1 - beta)

    @jax.jit
    def q_sample(x0, t, noise):
        kept = abar[t + shift].reshape(-1, *[1] * (x0.ndim - 1))
        return jnp.sqrt(kept) * x0 + jnp.sqrt(1 - kept) * noise

    @jax.jit
    def kl(m, v, n, w):
        return 0.5 * (jnp.log(w / v) + (v + (m - n) ** 2) / w - 1).sum(-1)

    return {
        "sqrt_one_minus_abar": jnp.sqrt(1 - abar),
        "q_sample": q_sample,
        "gaussian_kl": kl,
        "gaussian_kl_grad": jax.grad(lambda *a: kl(*a).sum(), argnums=(2, 3)),
    }


def jax_report(functions, **conventions):
    return check.run(functions, to_native=jnp.asarray, t_shape="batch", first_t=0, **conventions)


def test_compiled_functions_and_their_gradients_pass():
    jax_report(jax_functions).assert_ok()


def test_an_index_past_the_end_which_jax_clamps_is_named():
    row = jax_report(lambda beta: jax_functions(beta, shift=1))["q_sample"]
    assert row.status == "WRONG"
    assert "t one too large: entry t + 1 of the tables is read" in row.diagnoses


def test_float32_by_default_is_told():
    jax.config.update("jax_enable_x64", False)
    report = jax_report(jax_functions)
    assert {row.status for row in report.rows} == {"PRECISION"}
    assert all(any("float32" in each for each in row.diagnoses) for row in report.rows)


def test_float32_where_it_is_declared_loses_digits_in_the_tables_alone():
    jax.config.update("jax_enable_x64", False)
    report = jax_report(jax_functions, dtype="float32")
    assert report["sqrt_one_minus_abar"].status == "PRECISION"
    assert report["gaussian_kl"].status == "PASS"


# Code that draws its own noise


ABAR = np.cumprod(1 - BETA)
KEY = jax.random.key(0)
DRAWS = {
    "torch.randn": (torch.from_numpy, lambda x0: torch.randn(x0.shape)),
    "torch.randn_like": (torch.from_numpy, lambda x0: torch.randn_like(x0)),  # noqa: PLW0108
    "torch.normal": (torch.from_numpy, lambda x0: torch.normal(torch.zeros_like(x0), 1.0)),
    "jax.random.normal": (jnp.asarray, lambda x0: jax.random.normal(KEY, x0.shape)),
    "compiled": (jnp.asarray, jax.jit(lambda x0: jax.random.normal(KEY, x0.shape))),
}


def noisy(name, power):
    """The row of a function that draws x^t, the noise times a power of 1 - abar_t."""
    to_native, draw = DRAWS[name]

    def q_sample(x0, t):
        return ABAR[t - 1] ** 0.5 * x0 + (1 - ABAR[t - 1]) ** power * draw(x0)

    functions, own = {"q_sample": q_sample}, {"own_noise": True, "to_native": to_native}
    return check.run(functions, beta=BETA, **own).rows[0]


@pytest.mark.parametrize("name", DRAWS)
def test_code_that_draws_its_own_noise_is_supplied_with_it(name):
    assert noisy(name, 0.5).status == "PASS"
    wrong = noisy(name, 1.0)
    assert wrong.status == "WRONG"
    assert "1 - abar_t without its root" in wrong.diagnoses


def test_draws_are_random_again_afterwards():
    noisy("torch.randn", 0.5)
    assert not torch.equal(torch.randn(8), torch.randn(8))
    assert jax.random.normal(KEY, (8,)).shape == (8,)
    assert not jax.config.jax_disable_jit


# bfloat16, which NumPy does not have


def bfloat16(array):
    return torch.from_numpy(array).to(torch.bfloat16)


def half(beta):
    """Tables and results in bfloat16 throughout."""
    abar = torch.cumprod(1 - beta, 0)
    return {
        "one_minus_abar": 1 - abar,
        "q_sample": lambda x0, t, noise: abar[t - 1] ** 0.5 * x0 + (1 - abar[t - 1]) ** 0.5 * noise,
        "gaussian_kl": lambda m, v, n, w: (
            0.5 * (torch.log(w / v) + (v + (m - n) ** 2) / w - 1).sum(-1)
        ),
    }


def test_bfloat16_where_it_is_declared_passes():
    functions = half(bfloat16(BETA))
    check.run(functions, beta=BETA, dtype="bfloat16", to_native=bfloat16).assert_ok()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bfloat16_where_more_is_declared_is_precision(dtype):
    report = check.run(half(bfloat16(BETA)), beta=BETA, dtype=dtype, to_native=bfloat16)
    assert {row.status for row in report.rows} == {"PRECISION"}
    assert all("the result comes in bfloat16" in row.diagnoses for row in report.rows)
    assert all(row.digits < 3 for row in report.rows)


def test_a_mistake_is_named_in_bfloat16():
    q_sample = half(bfloat16(BETA))["q_sample"]
    functions = {"q_sample": lambda x0, t, noise: q_sample(noise, t, x0)}
    row = check.run(functions, beta=BETA, dtype="bfloat16", to_native=bfloat16).rows[0]
    assert row.status == "WRONG"
    assert "x0 and noise swapped" in row.diagnoses


def test_a_variance_that_vanishes_in_bfloat16_is_wrong():
    beta = np.linspace(1e-4, 0.02, 1000)
    functions = {"one_minus_abar": half(bfloat16(beta))["one_minus_abar"]}
    row = check.run(functions, beta=beta, dtype="bfloat16", to_native=bfloat16).rows[0]
    assert (row.status, row.got) == ("WRONG", 0.0)

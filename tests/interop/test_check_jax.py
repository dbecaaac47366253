"""The check on functions of JAX arrays, compiled ones too."""

import numpy as np
import pytest

from dpm_ref import check

jax = pytest.importorskip("jax")
jnp = jax.numpy
BETA = np.array([0.1, 0.25, 0.2, 0.4, 0.3])


@pytest.fixture(autouse=True)
def wide():
    """Float64 in these tests alone."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def functions(beta, shift=0):
    abar = jnp.cumprod(1 - beta)

    @jax.jit
    def q_sample(x0, t, noise):
        kept = abar[t + shift].reshape(-1, *[1] * (x0.ndim - 1))
        return jnp.sqrt(kept) * x0 + jnp.sqrt(1 - kept) * noise

    @jax.jit
    def kl(mean_q, var_q, mean_p, var_p):
        return 0.5 * (jnp.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1).sum(-1)
    return {"alphas_cumprod": abar, "q_sample": q_sample, "gaussian_kl": kl,
            "gaussian_kl_grad": jax.grad(lambda *a: kl(*a).sum(), argnums=(2, 3))}


def run(mapping, **conventions):
    return check.run(mapping, **{"to_native": jnp.asarray, "t_shape": "batch", "first_t": 0, **conventions})


def test_right_code_passes():
    run(functions).assert_ok()


def test_an_index_past_the_end_which_jax_clamps_is_named():
    row = run(lambda beta: functions(beta, shift=1))["q_sample"]
    assert row.status == "WRONG"
    assert "t one too large: entry t + 1 of the tables is read" in row.diagnoses


def test_float32_by_default_is_told():
    jax.config.update("jax_enable_x64", False)
    report = run(functions)
    assert {row.status for row in report.rows} == {"PRECISION"}
    assert all("the result comes in float32" in row.diagnoses for row in report.rows)


def test_float32_where_it_is_declared_loses_digits_in_the_tables_alone():
    jax.config.update("jax_enable_x64", False)
    report = run(functions, dtype="float32")
    assert report["q_sample"].status == "PRECISION"
    assert report["gaussian_kl"].status == "PASS"

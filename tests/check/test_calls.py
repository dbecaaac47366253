"""What functions are handed, what may be returned, and what is said of anything else."""

import numpy as np
import pytest
from scipy.special import ndtr

from dpm_ref import check

BETA = np.array([0.1, 0.25, 0.2, 0.4])
T, ABAR = len(BETA), np.cumprod(1 - BETA)
PREV = np.append(1.0, ABAR[:-1])
POST = BETA * (1 - PREV) / (1 - ABAR)
SPREADS = {"var": lambda v: v, "std": np.square, "logvar": np.exp}


def row_of(name, function, **conventions):
    return check.run({name: function}, **{"beta": BETA, **conventions}).rows[0]


class Network:
    """A model's bound in the paper's terms, from a network of any kind; t = 1..T."""

    def __init__(self, kind="eps", reverse_var="posterior", **how):
        self.kind, self.reverse_var = kind, reverse_var
        self.decoder, self.first = how.get("decoder"), how.get("first_t", 1)
        self.batch, self.read = how.get("t_shape") == "batch", SPREADS[how.get("spread", "var")]
        self.rng = np.random.default_rng(5)

    def kernel(self, model, xt, t):
        """Mean and variance of p(x^{t-1} | x^t)."""
        asked = t - 1 + self.first
        out = model(xt, np.full(len(xt), asked) if self.batch else asked)
        k, var = t - 1, {"posterior": POST[max(t - 1, 1)], "beta": BETA[t - 1]}
        if self.reverse_var == "given":
            out, handed = out
            var["given"] = self.read(handed)
        if self.kind == "mean":
            return out, var[self.reverse_var]
        root, std = np.sqrt(ABAR[k]), np.sqrt(1 - ABAR[k])
        x0 = {
            "eps": (xt - std * out) / root,
            "x0": out,
            "v": root * xt - std * out,
            "score": (xt + std**2 * out) / root,
        }[self.kind]
        return self.posterior(x0, xt, k)[0], var[self.reverse_var]

    def posterior(self, x0, xt, k):
        kept = np.sqrt(1 - BETA[k]) * (1 - PREV[k])
        return (np.sqrt(PREV[k]) * BETA[k] * x0 + kept * xt) / (1 - ABAR[k]), POST[k]

    def term(self, model, x0, xt, t):
        mean, var = self.kernel(model, xt, t)
        if t > 1:
            return self.kl(*self.posterior(x0, xt, t - 1), mean, var)
        if self.decoder == "gaussian":
            return (0.5 * (np.log(2 * np.pi * var) + (x0 - mean) ** 2 / var)).sum(-1)
        low = np.where(x0 < -0.999, -np.inf, (x0 - 1 / 255 - mean) / np.sqrt(var))
        high = np.where(x0 > 0.999, np.inf, (x0 + 1 / 255 - mean) / np.sqrt(var))
        flip = np.where(low + high > 0, -1, 1)  # the tail in which nothing cancels
        return -np.log(np.abs(ndtr(flip * high) - ndtr(flip * low))).sum(-1)

    def kl(self, a, v, b, w):
        return (0.5 * (np.log(w / v) + (v + (a - b) ** 2) / w - 1) + 0 * a).sum(-1)

    def noisy(self, x0, t):
        noise = self.rng.standard_normal(x0.shape)
        return np.sqrt(ABAR[t - 1]) * x0 + np.sqrt(1 - ABAR[t - 1]) * noise

    def kl_sum(self, model, x0):
        return sum(self.term(model, x0, self.noisy(x0, t), t) for t in range(T, 1, -1))

    def nll(self, model, x0):
        prior = self.kl(np.sqrt(ABAR[-1]) * x0, 1 - ABAR[-1], 0, 1)
        return prior + self.kl_sum(model, x0) + self.term(model, x0, self.noisy(x0, 1), 1)

    def vlb_term(self, model, x0, xt, t):
        return self.term(model, x0, xt, t + 1 - self.first)


def network(**declared):
    """What computes a network's bound under these conventions."""
    kinds = {"kind": declared.get("model", "eps")}
    return Network(**kinds, **{name: v for name, v in declared.items() if name != "model"})


DECLARED = [
    *({"model": kind, "reverse_var": "posterior"} for kind in ("eps", "x0", "mean", "v", "score")),
    {"reverse_var": "beta", "first_t": 0, "decoder": "gaussian"},
    {"reverse_var": "posterior", "t_shape": "batch", "first_t": 0},
    *({"reverse_var": "given", "spread": spread} for spread in SPREADS),
]


@pytest.mark.parametrize("declared", DECLARED)
def test_a_model_s_bound_passes_under_the_conventions_declared(declared):
    mine = network(**declared)
    check.run({"nll": mine.nll, "kl_sum": mine.kl_sum}, beta=BETA, **declared).assert_ok()


@pytest.mark.parametrize("declared", [DECLARED[0], DECLARED[3], DECLARED[5], DECLARED[-2]])
def test_a_term_of_a_model_s_bound_passes_at_every_t(declared):
    mine = network(**declared)
    check.run({"vlb_term": mine.vlb_term}, beta=BETA, **declared).assert_ok()


def test_the_bound_is_the_same_whatever_the_network_predicts():
    found = {}
    for kind in ("eps", "x0", "mean", "v", "score"):
        mine = Network(kind)

        def nll(model, x0, mine=mine, kind=kind):
            mine.rng = np.random.default_rng(3)
            return found.setdefault(kind, mine.nll(model, x0))

        check.run({"nll": nll}, beta=BETA, model=kind, reverse_var="posterior")
    for value in found.values():
        np.testing.assert_allclose(value, found["eps"], rtol=1e-5)


def test_the_network_is_handed_numbers_of_the_type_declared():
    seen = set()

    def nll(model, x0):
        out, var = model(x0, 1)
        seen.update((each.dtype, each.shape) for each in (x0, out, var))
        return x0.sum(-1)

    row_of("nll", nll, dtype="float32", shape=(2, 3, 4))
    assert seen == {(np.dtype(np.float32), (2, 3, 4))}


def test_a_batch_of_one_is_asked_too():
    row = row_of("marginal_mean", lambda x0, t: np.sqrt(ABAR[t - 1]) * x0, shape=(1, 3))
    assert row.status == "PASS"


@pytest.mark.parametrize("first", [0, 1])
def test_a_time_at_which_the_network_is_not_asked_is_told_as_the_user_counts(first):
    def nll(model, x0):
        for t in (1, 2, 4):
            model(x0, t - 1 + first)
        return x0.sum(-1)

    row = row_of("nll", nll, first_t=first)
    assert row.message.startswith(f"does not ask the model at t = {2 + first}")


def test_a_term_that_does_not_ask_the_network_at_the_first_step_is_told_so():
    def vlb_term(model, x0, xt, t):
        if t > 1:
            model(xt, t)
        return x0.sum(-1)

    row = row_of("vlb_term", vlb_term)
    assert row.message.startswith("does not ask the model at t = 1")


@pytest.mark.parametrize("t", [0, T + 1])
def test_a_time_outside_the_schedule_is_told(t):
    row = row_of("nll", lambda model, x0: model(x0, t)[0].sum(-1))
    assert f"the model is asked at t = {t}, outside the schedule" in row.message


def test_both_ends_of_the_schedule_may_be_asked_for():
    asked = []

    def nll(model, x0):
        asked.extend(model(x0, t) for t in (1, T))
        return x0.sum(-1)

    row_of("nll", nll)
    assert len(asked) >= 4


def test_a_state_of_another_shape_than_the_data_is_told():
    row = row_of("nll", lambda model, x0: model(x0[:2], 1)[0].sum(-1))
    assert "asked at x^t of shape (2, 3), for (5, 3)" in row.message


def test_the_first_state_asked_for_at_a_time_counts():
    mine = network()

    def nll(model, x0):
        value = mine.nll(model, x0)
        model(0.0 * x0, 2)
        return value

    assert row_of("nll", nll, reverse_var="posterior").status == "PASS"


# Results


def posterior(x0, xt, t):
    k = t - 1
    mean = np.sqrt(PREV[k]) * BETA[k] * x0 + np.sqrt(1 - BETA[k]) * (1 - PREV[k]) * xt
    return mean / (1 - ABAR[k]), POST[k] + 0 * xt, np.log(POST[k]) + 0 * xt


@pytest.mark.parametrize(
    "keys",
    [
        ("mean", "variance", "log_variance"),
        ("mean", "var", "log_var"),
        ("mean", "variance", "logvar"),
        ("posterior_mean", "posterior_var", "posterior_log_var"),
    ],
)
def test_parts_of_a_mapping_are_found_by_their_keys(keys):
    def mapped(*arguments):
        return {"more": None, **dict(zip(keys, posterior(*arguments), strict=True))}

    report = check.run({"q_posterior": mapped}, beta=BETA)
    assert [row.status for row in report.rows] == ["PASS"] * 3


def test_the_only_entry_of_a_mapping_is_the_result_whatever_its_key():
    assert row_of("posterior_mean", lambda *a: {"anything": posterior(*a)[0]}).status == "PASS"


def test_a_key_that_is_missing_is_told_beside_those_that_are_there():
    assert row_of(KL, lambda *a: {"a": 0, "b": 1}).message.endswith("none of them gaussian_kl")
    row = row_of("posterior_mean", lambda *a: {"a": 0, "b": 1})
    assert row.message == ("returns a mapping with keys a, b, none of them posterior_mean or mean")


def test_several_results_may_be_a_list_and_one_may_be_a_list_of_rows():
    report = check.run({"posterior": lambda *a: list(posterior(*a)[:2])}, beta=BETA)
    assert [row.status for row in report.rows] == ["PASS", "PASS"]
    assert row_of("posterior_mean", lambda *a: posterior(*a)[0].tolist()).status == "PASS"


def test_too_few_or_too_many_results_are_told():
    def said(name, number):
        return row_of(name, lambda *a: posterior(*a)[:1] * number).message

    assert said("q_posterior", 4) == "returns a tuple of 4 where a tuple of 2 to 3 is wanted"
    assert said("q_posterior", 1) == "returns a tuple of 1 where a tuple of 2 to 3 is wanted"
    assert said("posterior", 3) == "returns a tuple of 3 where a tuple of 2 is wanted"


def test_a_log_variance_in_a_variance_s_place_is_named_under_any_convention():
    def doubled(*arguments):
        mean, _, log_var = posterior(*arguments)
        return mean, log_var, log_var

    row = check.run({"q_posterior": doubled}, beta=BETA, spread="logvar")["posterior_var"]
    assert "log variance returned where the variance is declared" in row.diagnoses


KL = "gaussian_kl"


def kl(mean_q, var_q, mean_p, var_p):
    return 0.5 * (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1)


def test_the_convention_that_a_shape_belongs_to_is_proposed():
    row = row_of(KL, kl)
    assert row.message == (
        "returns shape (5, 3) where (5,) is wanted: that would be components='none'"
    )
    row = row_of(KL, lambda *a: kl(*a).sum(-1), components="none")
    assert row.message.endswith("where (5, 3) is wanted: that would be components='sum'")
    assert row_of(KL, lambda *a: kl(*a).T).message == "returns shape (3, 5) where (5,) is wanted"
    row = row_of("q_sample", lambda x0, t, noise: x0.sum(-1))
    assert row.message.endswith("where (5, 3) is wanted")


class Tensor:
    """A tensor of bfloat16 numbers, that NumPy cannot read."""

    dtype = "torch.bfloat16"

    def __init__(self, array):
        bits = np.asarray(array, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
        self.array = bits.view(np.float32)

    def __array__(self, *_, **__):
        raise TypeError

    def detach(self):
        return self

    def float(self):
        return self.array


def test_a_result_in_bfloat16_is_told():
    row = row_of(KL, lambda *a: Tensor(kl(*map(np.float64, a)).sum(-1)), dtype="float32")
    assert (row.status, row.diagnoses) == ("PRECISION", ("the result comes in bfloat16",))
    assert row.message == "declare dtype='bfloat16'?"


def test_what_is_no_array_is_told_by_its_type():
    row = row_of(KL, lambda *_: [[1.0], [1.0, 2.0]])
    assert row.message.startswith("returns list, which is no array: ")


def test_extended_precision_counts_as_float64():
    row = row_of(KL, lambda *a: kl(*(x.astype(np.longdouble) for x in a)).sum(-1))
    assert (row.status, row.message) == ("PASS", "")


def test_a_table_s_function_is_asked_at_ints_or_at_an_array_as_declared():
    numbers = BETA.tolist()
    assert row_of("beta", lambda t: numbers[t - 1]).status == "PASS"
    assert row_of("beta", lambda t: BETA[: len(t)], t_shape="batch").status == "PASS"


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("q_sample", "takes 2", "; called as q_sample(x0, t, noise)"),
        (
            "nll",
            "takes 1",
            "; called as nll(model, x0), where the model returns its output and a "
            "variance: see reverse_var",
        ),
        (
            "p_sample",
            "takes 4",
            "; called as p_sample(xt, t, output, noise, reverse_var): output is the network's; "
            "declare own_noise=True for code that draws its noise",
        ),
        ("q_sample", "'int' object is no array", "declared"),
    ],
)
def test_what_a_user_may_have_overlooked_is_told(name, error, said):
    def wrong(*_):
        raise TypeError(error)

    assert said in row_of(name, wrong).message


def test_code_that_is_compiled_is_told_of_the_model_alone():
    def wrong(*_):
        raise ValueError("found a Tracer")

    assert row_of("nll", wrong).message.endswith("the model is NumPy: call it outside jit")
    assert row_of("q_sample", wrong).message == "raises ValueError: found a Tracer"

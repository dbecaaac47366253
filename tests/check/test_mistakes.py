"""Every kind of mistake is named in the simplest function in which it can be made."""

import itertools

import check_measured as measured
import injected_mistakes
import numpy as np
import pytest

BETA = np.array([0.1, 0.25, 0.2, 0.4])
PLAIN = {"spread": "var", "unit": "nats", "components": "sum", "shape": (4, 5), "first_t": 1}
OTHER = {"spread": "logvar", "unit": "bits", "components": "mean", "shape": (5, 2, 2), "first_t": 0}
SETTINGS = {
    "paper's": measured.Setting(BETA, 0.2, "scalar", PLAIN),
    "other": measured.Setting(BETA, 0.2, "batch", OTHER),
    "deviations": measured.Setting(BETA, 0.2, "scalar", {**PLAIN, "spread": "std"}),
}
DEAR = ("binomial_", "lower_bound", "eq14", "kl_term", "entropy_", "log_weights", "mean_from_eps")
INJECTED = {}
for each in sorted(injected_mistakes.INJECTIONS, key=lambda each: each.subject.startswith(DEAR)):
    INJECTED.setdefault(each.mistake, []).append(each)
AMBIGUOUS = {  # what is named otherwise, or not by itself
    "sum and not mean, the largest weight not put back",
    "both edge terms: -log p(x^0|x^1) added beside H_q(X^1|X^0)",
    "divided by the variance once, not twice",
    "the marginal before left out",
    "exp(var) where sqrt(var) is meant, or half of it in the exponent",
    "Table App.1's misprint: x_i d_i in the denominator",
    "r left out",
    "precisions added and not inverted",
}


@pytest.mark.parametrize(("k", "mistake"), list(enumerate(sorted({*INJECTED} - AMBIGUOUS))))
def test_a_mistake_is_named_where_it_is_made(k, mistake):
    """Under one of the settings in which it makes a difference."""
    settings = list(SETTINGS.values())
    for setting, each in itertools.product(np.roll(range(3), -(k % 2)), INJECTED[mistake]):
        rng = np.random.default_rng(0)
        row = measured.injected(each, settings[setting], rng, "float64", "float64")
        if row is not None:
            assert row.status == "WRONG"
            assert measured.verdict(each, row) == "diagnosed", str(row)
            return
    pytest.fail("it made no difference anywhere")

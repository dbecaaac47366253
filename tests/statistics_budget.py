"""One false-alarm budget for the statistical tests, and seeds that one command can shift.

    DPM_TEST_SEED=7 python -m pytest tests/test_likelihood.py

runs every statistical test of a file on other draws. A test asks for its generator with `seed(n)`
inside the test, and for its threshold with `limit(comparisons)`, where `comparisons` is the number
of two-sided comparisons of the whole file: their false alarms then add up to at most BUDGET /
FILES.
"""

import os

import numpy as np
from scipy import stats

BUDGET = 1e-6  # of false alarms, all files together
FILES = 20  # test files that share it, rounded up
SHIFT = int(os.environ.get("DPM_TEST_SEED", "0"))


ASKED = set()  # the tests that asked for a generator: false_alarms.py runs these


def seed(n):
    """A generator for the test numbered n, shifted as a whole by DPM_TEST_SEED."""
    ASKED.add(os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0])
    return np.random.default_rng(n if SHIFT == 0 else [n, SHIFT])


def alarm(comparisons):
    """The probability of a false alarm allowed to each of a file's comparisons."""
    return BUDGET / FILES / comparisons


def limit(comparisons):
    """The two-sided threshold of a standard normal deviation for each of them."""
    return float(stats.norm.isf(alarm(comparisons) / 2))

"""How often the check is right: known mistakes injected into somebody's implementation, and the
implementation without mistakes.

    python tests/check_measured.py [--settings 300] [--injections 2]

prints, for code in float64, in float32 with tables in float64, and in float32 throughout: what
honest code is told over so many random settings, and how many injected mistakes are reported WRONG,
and diagnosed, over so many settings of each.
"""

import argparse
import collections
import time
from typing import NamedTuple

import independent_ddpm
import injected_mistakes
import numpy as np

from dpm_ref import check
from dpm_ref.check.quantities import QUANTITIES

SHAPES = (
    (4, 5),
    (5, 2, 2),
    (10, 2),
    (2, 10),
)  # of 20 components, so that a batch of bits can have the prior's activity
KINDS = {
    "float64": ("float64", "float64"),
    "float32, tables in float64": ("float32", "float64"),
    "all float32": ("float32", "float32"),
}
NAMES = [
    name
    for name in QUANTITIES
    if name in independent_ddpm.TABLES or hasattr(independent_ddpm.Somebody, name)
]
LEAST = 1e-4  # a mistake that changes no value by more, relative to the largest, is none there


class Setting(NamedTuple):
    """A schedule and conventions, drawn at random."""

    beta: np.ndarray
    prior: float
    t_shape: str
    conventions: dict

    def somebody(self, dtype, table_dtype):
        return {"prior": self.prior, "dtype": dtype, "table_dtype": table_dtype, **self.conventions}

    def declared(self, dtype, rng):
        return {
            "beta": self.beta,
            "prior": self.prior,
            "t_shape": self.t_shape,
            "dtype": dtype,
            "rng": rng,
            **self.conventions,
        }


def setting(rng, longest=12, shortest=3):
    """Conventions of every kind; short schedules of large steps."""

    def one(*choices):
        return choices[rng.integers(len(choices))]

    T = int(rng.integers(shortest, longest + 1))
    return Setting(
        rng.uniform(0.01, 0.6, T),
        one(0.5, 0.2, 0.25),
        one("scalar", "batch"),
        {
            "first_t": one(0, 1),
            "spread": one("var", "std", "logvar"),
            "unit": one("nats", "bits"),
            "components": one("sum", "mean", "none"),
            "shape": one(*SHAPES),
        },
    )


def any_setting(rng, k):
    """Every tenth is DDPM's long schedule, the others are short."""
    drawn = setting(rng, 30, 2)
    return drawn._replace(beta=np.linspace(1e-4, 0.02, 1000)) if k % 10 == 9 else drawn


def honest(drawn, rng, dtype, table_dtype):
    """The rows for an implementation without mistakes."""
    functions = independent_ddpm.functions(NAMES, drawn.beta, **drawn.somebody(dtype, table_dtype))
    return check.run(functions, **drawn.declared(dtype, rng)).rows


class Recorded:
    """A wrong function that remembers from which of some others it ever differed."""

    def __init__(self, wrong, others):
        self.wrong, self.others, self.differs = wrong, others, [False] * len(others)

    def __call__(self, *arguments):
        result = self.wrong(*arguments)
        self.compare([other(*arguments) for other in self.others], result)
        return result

    def compare(self, others, wrong):
        with np.errstate(invalid="ignore"):
            for k, other in enumerate(others):
                largest = np.abs(other)[np.isfinite(other)].max(initial=0.0)
                same = (other == wrong) | (np.abs(other - wrong) <= LEAST * largest)
                self.differs[k] |= not bool((same | np.isnan(other)).all())


def injected(injection, drawn, rng, dtype, table_dtype):
    """The row for an implementation with one mistake, or a pair; None where it cannot be made, or
    makes no difference, of a pair where one alone gives the same.
    """
    options = drawn.somebody(dtype, table_dtype)
    with np.errstate(all="ignore"):
        wrong = injection.make(drawn.beta, options)
        if wrong is None:
            return None
        others = [injected_mistakes.right(injection.subject, drawn.beta, **options)]
        if isinstance(injection, Pair):
            others += [each.make(drawn.beta, options) for each in injection.singles]
        recorded = Recorded(wrong, others)
        if isinstance(wrong, np.ndarray):
            first = (
                1 if injection.subject.startswith("posterior") else 0
            )  # its entry at t = 1 is not compared
            recorded.compare([other[first:] for other in others], wrong[first:])
        row = check.run(
            {injection.subject: wrong if isinstance(wrong, np.ndarray) else recorded},
            **drawn.declared(dtype, rng),
        ).rows[0]
    return row if all(recorded.differs) else None


SAME = {  # the same mistake, as it is named where it stands in that formula
    "weighted by standard deviations": ("sqrt(var) for var", "sqrt(var_y) for var_y"),
    "abar_t for abar_{t-1}": ("beta_t for the posterior's variance",),
    "abar_{t-1} for abar_t": ("beta_t for the posterior's variance",),
    "abar_t without its root": ("abar_{t-1} without its root",),
    "division by sqrt(1 - beta_t) forgotten": ("division by sqrt(alpha_t) forgotten",),
    "the marginal's standard deviation for beta_t / sqrt(1 - abar_t)": ("1 - abar_t for beta_t",),
    "weighted by variances for precisions": ("var and var_y swapped",),
    "precisions added and not inverted": ("inverse: 1 / value",),
    "root of the kept share, as in the Gaussian column": (
        "sqrt(alpha_t) for alpha_t",
        "sqrt(abar_t) for abar_t",
    ),
    "the variances' ratio upside down": ("ratio upside down: (var_p) / (var_q)",),
    "the square divided by q's variance": ("var_q for var_p in one place",),
    "the square divided by a standard deviation": (
        "sqrt(var_p) for var_p",
        "sqrt(var) for var",
    ),
    "noise left out": ("the noise left out",),
    "1 - p left out of the derivative": ("(1 - q1) / (1 - p1) left out",),
    "r(0) left out": ("log_r0 left out",),
    "not normalised over both states": (
        "division by prob exp(log_r1) + (1 - prob) exp(log_r0) forgotten",
    ),
    "log of standard deviations without the factor 2, or with one too many": (
        "the log of the variances' ratio counted twice",
        "half of the log of the variances' ratio only",
    ),
}


def verdict(injection, row):
    """diagnosed, or what was said instead."""
    names = {injection.mistake, *SAME.get(injection.mistake, ())}
    return "diagnosed" if row.status == "WRONG" and names & set(row.diagnoses) else row.status


class Pair(NamedTuple):
    """Two mistakes at once, the second made over the first."""

    first: injected_mistakes.Injection
    second: injected_mistakes.Injection

    @property
    def singles(self):
        return self.first, self.second

    @property
    def subject(self):
        return self.first.subject

    @property
    def mistake(self):
        return f"{self.first.mistake}, and {self.second.mistake}"

    def make(self, beta, options):
        return injected_mistakes.pair(self.first, self.second, beta, options)


def measure_pairs(n, seed=3):
    """Counts over n pairs drawn at random, of code in float64; and those that are not named."""
    rng, counts, missed = np.random.default_rng(seed), collections.Counter(), []
    every = injected_mistakes.INJECTIONS
    while sum(counts.values()) < n:
        first = every[rng.integers(len(every))]
        others = [
            each
            for each in every
            if each.subject == first.subject and each.mistake != first.mistake
        ]
        made = Pair(first, others[rng.integers(len(others))])
        row = injected(made, setting(rng, 8), rng, "float64", "float64")
        if row is not None:
            as_pair = any(", and " in each for each in row.diagnoses)
            named = "as a pair" if as_pair else "as one" if row.diagnoses else "WRONG"
            counts[named if row.status == "WRONG" else row.status] += 1
            if not row.diagnoses:
                missed.append((made.mistake, made.subject, None, row))
    return counts, missed


def measure_honest(n, dtype, table_dtype):
    """Counts of statuses, the reports on the long schedule that have a PRECISION, and the rows that
    are WRONG.
    """
    rng, counts, precise, wrong = np.random.default_rng(1), collections.Counter(), 0, []
    for k in range(n):
        rows = honest(any_setting(rng, k), rng, dtype, table_dtype)
        counts.update(row.status for row in rows)
        precise += any(row.status == "PRECISION" for row in rows) and k % 10 == 9
        wrong += [f"{row} (setting {k})" for row in rows if row.status == "WRONG"]
    return counts, precise, wrong


def measure_injected(n, dtype, table_dtype, fraction=1.0, seed=2):
    """Counts of verdicts over the injections, a share of them drawn at random for each of n
    settings; and those not diagnosed.
    """
    rng, counts, missed = np.random.default_rng(seed), collections.Counter(), []
    for _ in range(n):
        drawn = setting(rng)
        for injection in injected_mistakes.INJECTIONS:
            if rng.random() < fraction:
                row = injected(injection, drawn, rng, dtype, table_dtype)
                if row is not None:
                    said = verdict(injection, row)
                    counts[said] += 1
                    if said != "diagnosed":
                        missed.append((injection.mistake, injection.subject, drawn, row))
    return counts, missed


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", type=int, default=300)
    parser.add_argument("--injections", type=int, default=2)
    parser.add_argument(
        "--missed", action="store_true", help="print every injection that was not diagnosed"
    )
    parser.add_argument("--pairs", type=int, default=1000)
    arguments = parser.parse_args(argv)
    for name, dtypes in KINDS.items():
        start = time.perf_counter()
        counts, precise, wrong = measure_honest(arguments.settings, *dtypes)
        print(
            f"{name}: {arguments.settings} settings without mistakes, {arguments.settings // 10} "
            f"of them DDPM's 1000 steps: "
            + ", ".join(f"{counts[status]} {status}" for status in check.STATUSES)
            + f"; PRECISION in {precise} reports on the long schedule "
            f"({time.perf_counter() - start:.0f} s)",
            *wrong,
            sep="\n    ",
            flush=True,
        )
    for name, dtypes in KINDS.items():
        start = time.perf_counter()
        counts, missed = measure_injected(arguments.injections, *dtypes)
        total = sum(counts.values())
        print(
            f"{name}: {total} injected mistakes, {sum(counts[s] for s in ('diagnosed', 'WRONG'))} "
            f"WRONG, {counts['diagnosed']} diagnosed "
            f"({100 * counts['diagnosed'] / max(total, 1):.2f} %), {counts['PASS']} passed "
            f"({time.perf_counter() - start:.0f} s)",
            flush=True,
        )
        if arguments.missed:
            shown = {each[:2]: str(each[3])[42:] for each in missed}
            for (mistake, subject), n in sorted(
                collections.Counter(each[:2] for each in missed).items()
            ):
                print(f"    {n} x {mistake} in {subject}: {shown[mistake, subject]}")
    start = time.perf_counter()
    counts, missed = measure_pairs(arguments.pairs)
    total = sum(counts.values())
    named = counts["as a pair"] + counts["as one"]
    print(
        f"{total} pairs of mistakes, {named + counts['WRONG']} WRONG, {named} named "
        f"({100 * named / max(total, 1):.1f} %), {counts['as one']} of them by one name "
        f"({time.perf_counter() - start:.0f} s)",
        flush=True,
    )
    if arguments.missed:
        for mistake, subject, _, row in missed:
            print(f"    {mistake} in {subject}: {row}")


if __name__ == "__main__":
    main()

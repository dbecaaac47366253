"""The binomial column of Table App.1: the laws of the trajectory, log pi(x^0), and the two sides of
(24). Small sums over states.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mpmath_oracle as oracle
from mpmath_oracle import Tables, mix, mp

from truths.functions import Function, in_nats, spoilt
from truths.inputs import Formula, Inputs, remembered
from truths.mistakes import Mistake, common, mean_over, scaled, wrong_lower_sides
from truths.numbers import Draw
from truths.tables import BETA, SIMPLE, TIME, TWO, bad_schedules, times_of

PRIOR = {"prior": "pi_1 of every bit, strictly between 0 and 1"}
LAW = {"prob1": "P(x = 1) of every bit", "prob0": "P(x = 0) of every bit"}
TOLERANCE = (
    "(64 + 4 T) eps of either probability; both come from sums of positive terms, neither as 1 "
    "less the other"
)
SMALL, LARGE = 2.0**-100, 1 - 2.0**-24
Kept = Callable[[Tables, int], Any]  # the probability that a bit is kept
ROWS = [(SIMPLE, 2, [0.25, 0.25]), (SIMPLE, 1, [0.5, 0.5]), ([0.1, 0.2], 2, [0.2, 0.2])]
ROWS += [(SIMPLE, 2, [1e-30, 1e-30])]
TINY_RATE = ([2.0**-100, 0.5], 1, [0.25, 0.75])


def bitwise(pair: Callable[..., tuple[Any, Any]], *states: str) -> Formula:
    """The law with a pair (P(1), P(0)) for each bit of the states and its pi_1."""

    def formula(x: Inputs) -> dict[str, Any]:
        bits = zip(*(x[name] for name in states), x.prior, strict=True)
        pairs = [pair(*bit, x.q, x.get("t", 1)) for bit in bits]
        return {"prob1": [one for one, _ in pairs], "prob0": [zero for _, zero in pairs]}

    return formula


def kept_with(kept: Kept, state: str) -> Formula:
    """The law that keeps each bit of a state with a probability that depends on t."""
    return bitwise(lambda bit, p, q, t: mix(bit, kept(q, t), p), state)


def step(q: Tables, t: int) -> Any:
    return 1 - q.beta[t]


def complement_terms(x: Inputs, truth: dict[str, Any]) -> dict[str, Any]:
    """Those of 1 less the other member."""
    return {"prob1": [1 + p for p in truth["prob0"]], "prob0": [1 + p for p in truth["prob1"]]}


law_function = partial(Function, outputs=LAW, tolerance=TOLERANCE, terms=complement_terms)
OF_LAWS = common("complement half_for_prior prior_turned reversed_schedule")


def not_mixed(kept: Kept, state: str) -> dict[str, Mistake]:
    """Mistakes in x kept + pi (1 - kept)."""

    def erased_to_zero(bit: int, p: Any, q: Tables, t: int) -> tuple[Any, Any]:
        return bit * kept(q, t), 1 - bit * kept(q, t)

    return {
        "prior_left_out": Mistake("x kept, with no pi_1 added", bitwise(erased_to_zero, state)),
        "flipped": Mistake(
            "the erased bit flipped, not drawn anew",
            bitwise(lambda bit, p, q, t: mix(bit, kept(q, t), 1 - bit), state),
        ),
        "rate_for_complement": Mistake(
            "kept where it is erased and erased where it is kept",
            kept_with(lambda q, t: 1 - kept(q, t), state),
        ),
        "root_of_kept": Mistake(
            "the root of what is kept, as in the Gaussian column",
            kept_with(lambda q, t: mp.sqrt(kept(q, t)), state),
        ),
    }


def drawn_priors(draw: Draw, d: int) -> list[float]:
    """One pi_1 for each bit: 1/2, plain, small or near 1."""
    return [
        draw.choice([0.5, draw.part(16), draw.part(16), draw.part(256), 0.25, SMALL, LARGE])
        for _ in range(d)
    ]


def state_cases(
    name: str, state: str, drawn: int, first: list[tuple[Any, ...]], timed: bool = True
) -> list[Any]:
    """The function's own cases (beta, t, prior of both bits), then the hard schedules and some
    without pattern.
    """
    draw = Draw(name)
    cases = [{"beta": beta, "t": t, state: [1, 0], "prior": prior} for beta, t, prior in first]
    for beta, t in times_of(1, draw, drawn):
        d = draw.integer(1, 3)
        cases.append({"beta": beta, "t": t, state: draw.bits(d), "prior": drawn_priors(draw, d)})
    good = TWO | {state: [1], "prior": [0.25]}
    in_time = good | {"t": 1} if timed else {n: v for n, v in good.items() if n != "t"}
    return [
        *cases,
        *bad_schedules(in_time),
        *spoilt(good, "bad_state", **{state: [[0, 2]], "prior": [[0.5, 0.5]]}),
        *spoilt(good, "bad_state", **{state: [[0.5]], "prior": [[0.5]]}),
        *spoilt(good, "bad_state", **{state: [[-1]]}),
        *spoilt(good, "bad_number", **{state: [[None]]}),
        *spoilt(good, "bad_prior", prior=[[0.0], [1.0], [1.25]]),
        *spoilt(good, "bad_length", **{state: [[1, 0]], "prior": [[0.5, 0.5, 0.5]]}),
        *spoilt(good, "empty", **{state: [[]], "prior": [[0.5]]}),
    ]


# q(x^t | x^{t-1}) and p(x^0 | x^1)


KERNEL = law_function(
    name="binomial_kernel",
    code="dpm_ref.BinomialDiffusion.kernel",
    equation="2.1, Table App.1",
    definition="q(x^t | x^{t-1}): P(1) = x^{t-1} (1 - beta_t) + pi_1 beta_t, P(0) = (1 - x^{t-1}) "
    "(1 - beta_t) + (1 - pi_1) beta_t, bit by bit",
    inputs=BETA | TIME | {"x_prev": "x^{t-1}, bits"} | PRIOR,
    truth=kept_with(step, "x_prev"),
    cases=state_cases("binomial_kernel", "x_prev", 10, [*ROWS, TINY_RATE]),
    mistakes=OF_LAWS | common("one_early one_late") | not_mixed(step, "x_prev"),
)


EDGE_ROWS = [ROWS[0], ROWS[2], ([0.5], 1, [1e-30, 1e-30])]
EDGE = law_function(
    name="binomial_edge",
    code="dpm_ref.BinomialDiffusion.edge",
    equation="2.2, App. B.2, Table App.1",
    definition="p(x^0 | x^1) = T_pi(x^0 | x^1; beta_1): P(1) = x^1 (1 - beta_1) + pi_1 beta_1, bit "
    "by bit",
    inputs=BETA | {"x1": "x^1, bits"} | PRIOR,
    truth=kept_with(step, "x1"),
    cases=state_cases("binomial_edge", "x1", 14, EDGE_ROWS, timed=False),
    mistakes=OF_LAWS
    | not_mixed(step, "x1")
    | {
        "one_late": Mistake(
            "beta_2 for beta_1",
            lambda x: kept_with(step, "x1")(x.but(t=2)) if len(x["beta"]) > 1 else None,
        )
    },
)


# q(x^t | x^0)

MARGINAL = law_function(
    name="binomial_marginal",
    code="dpm_ref.BinomialDiffusion.marginal",
    equation="2.1, Table App.1",
    definition="q(x^t | x^0): P(1) = x^0 abar_t + pi_1 (1 - abar_t), P(0) = (1 - x^0) abar_t + (1 "
    "- pi_1) (1 - abar_t), bit by bit",
    inputs=BETA | TIME | {"x0": "x^0, bits"} | PRIOR,
    truth=kept_with(Tables.abar, "x0"),
    cases=state_cases("binomial_marginal", "x0", 10, [*ROWS, ([2.0**-100] * 2, 2, [0.25, 0.75])]),
    mistakes=OF_LAWS
    | common("one_early one_late")
    | not_mixed(Tables.abar, "x0")
    | {"last_step_alone": Mistake("1 - beta_t for abar_t", kept_with(step, "x0"))},
)


# q(x^{t-1} | x^t, x^0)


def before(q: Tables, t: int) -> Any:
    return q.abar(t - 1)


def posterior(kept_before: Kept = before, kept: Kept = step, whole: bool = True) -> Formula:
    """Bayes' rule, with these probabilities that x^0 and x^{t-1} are kept; divided by the sum of
    both states or not.
    """

    def pair(x0: int, xt: int, p: Any, q: Tables, t: int) -> tuple[Any, Any]:
        joint = oracle.bayes_joint(x0, xt, p, kept_before(q, t), kept(q, t))
        return oracle.normalised(*joint) if whole else joint

    return bitwise(pair, "x0", "xt")


def posterior_cases() -> list[Any]:
    draw = Draw("binomial_posterior")
    four = [1, 1, 0, 0], [1, 0, 1, 0]
    cases = [(SIMPLE, 2, *four, [0.25] * 4), (SIMPLE, 2, *four, [0.5] * 4)]
    cases += [([0.1, 0.2, 0.3], 3, [1, 0], [0, 1], [0.2, 0.2]), (SIMPLE, 2, *four, [1e-30] * 4)]
    cases += [([2.0**-60, 2.0**-60], 2, *four, [0.25] * 4)]
    cases += [([0.5, 2.0**-60], 2, [1, 0], [0, 1], [SMALL, LARGE])]
    for beta, t in times_of(2, draw, 12):
        d = draw.integer(1, 3)
        cases.append((beta, t, draw.bits(d), draw.bits(d), drawn_priors(draw, d)))
    good = TWO | {"x0": [1], "xt": [0], "prior": [0.25]}
    return [
        *cases,
        *bad_schedules(good, first=2),
        *spoilt(good, "bad_state", x0=[[1], [0.5]], xt=[[2], [1]]),
        *spoilt(good, "bad_length", x0=[[1, 0]], xt=[[1]], prior=[[0.25, 0.25]]),
        *spoilt(good, "bad_number", xt=[[None]]),
        *spoilt(good, "empty", x0=[[]], xt=[[]], prior=[[]]),
        *spoilt(good | {"xt": [1]}, "bad_prior", prior=[[0.0], [1.0], [-0.25]]),
    ]


POSTERIOR = law_function(
    name="binomial_posterior",
    code="dpm_ref.BinomialDiffusion.posterior",
    equation="2.1, Table App.1 (Bayes' rule)",
    definition="q(x^{t-1} | x^t, x^0) proportional to q(x^t | x^{t-1}) q(x^{t-1} | x^0), bit by "
    "bit: the kernel that keeps with 1 - beta_t, the marginal that keeps with abar_{t-1}, both of "
    "which else draw from B(pi_1)",
    inputs=BETA
    | {"t": "the time, an integer in 2..T", "x0": "x^0, bits", "xt": "x^t, bits"}
    | PRIOR,
    truth=posterior(),
    times=(2, 0),
    cases=posterior_cases(),
    mistakes=OF_LAWS
    | common("one_early one_late")
    | {"abar_unshifted": Mistake("abar_t for abar_{t-1}", posterior(Tables.abar))}
    | common("states_exchanged")
    | {
        "not_normalised": Mistake(
            "the product of the two laws, not divided by their sum", posterior(whole=False)
        ),
        "data_left_out": Mistake("x^0 left out: the kernel at x^t", kept_with(step, "xt")),
        "present_left_out": Mistake("x^t left out: the marginal at t-1", kept_with(before, "x0")),
        "rate_for_complement": Mistake(
            "beta_t for 1 - beta_t", posterior(kept=lambda q, t: q.beta[t])
        ),
    },
)


# log pi(x^0)


def log_priors(x: Inputs) -> list[Any]:
    """log pi(x_i) of each bit."""
    return [oracle.bit(p)[3 - x_i] for x_i, p in zip(x["x0"], x.prior, strict=True)]


def null_cases() -> list[Any]:
    draw = Draw("binomial_null_log_likelihood")
    rows = [([1, 0, 0, 0], [0.25] * 4), ([1], [0.25]), ([0], [0.25]), ([1, 0], [0.5, 0.5])]
    rows += [([1, 0], [0.2, 0.2]), ([0] * 4, [SMALL] * 4), ([1], [SMALL]), ([0], [SMALL])]
    rows += [([1], [LARGE]), ([0], [LARGE]), ([1, 0], [1e-30, 1e-300])]
    rows += [([1, 0, 0, 0, 0] * 4, [0.2] * 20), ([1, 0, 0, 0, 0] * 4, [0.1875] * 20)]
    rows += [([1, 1], [0.75, 2.0**-24])]
    for _ in range(38):
        d = draw.integer(1, 6)
        rows.append((draw.bits(d), drawn_priors(draw, d)))
    good = {"x0": [1], "prior": [0.5]}
    return [
        *rows,
        *spoilt(good, "bad_state", x0=[[2], [0.5]]),
        *spoilt(good, "bad_prior", prior=[[0.0], [1.0]]),
        *spoilt(good, "empty", x0=[[]]),
        *spoilt(good, "bad_length", x0=[[1, 0]], prior=[[0.5, 0.5, 0.5]]),
        *spoilt(good, "bad_number", x0=[[None]]),
    ]


NULL = in_nats(
    name="binomial_null_log_likelihood",
    code="dpm_ref.bounds.null_log_likelihood",
    equation="2.4, L_null of Table 1",
    definition="log pi(x^0) = sum_i x_i log pi_i + (1 - x_i) log(1 - pi_i)",
    inputs={"x0": "x^0, bits"} | PRIOR,
    outputs={"log_prior": "log pi(x^0)"},
    tolerance="64 eps |log_prior|; all terms have one sign",
    truth=lambda x: mp.fsum(log_priors(x)),
    terms=lambda x, truth: max(mp.mpf(1), abs(truth["log_prior"])),  # 1 - pi is known to eps
    cases=null_cases(),
    mistakes=common("sign bits_for_nats")
    | {"mean_for_sum": mean_over("bits")}
    | common("half_for_prior prior_turned")
    | {
        "ones_alone": Mistake(
            "the terms of the ones alone", lambda x: mp.fdot(x["x0"], log_priors(x))
        )
    },
)


# Equation (24)


class Chain(oracle.BinaryChain):
    """The laws given x^0 by their closed form: there are up to a thousand steps."""

    def given(self, x0: Sequence[int], t: int) -> dict[tuple[int, ...], Any]:
        bits = zip(x0, self.prior, strict=True)
        laws = [oracle.binomial_marginal(bit, self.tables, t, p) for bit, p in bits]
        return {x: oracle.vector_prob(x, laws) for x in self.states}


def chain(x: Inputs) -> Chain:
    """The forward process from the vectors of x0."""
    rows = [tuple(row) for row in x.get("x0", [])]
    share = {row: mp.mpf(rows.count(row)) / len(rows) for row in rows}
    return Chain(share, x["beta"], x["prior"])


def pull(x: Inputs) -> Any:
    """sum_i logit(pi_i) (m_i - pi_i)."""
    means = [mp.fsum(column) / len(column) for column in zip(*x.x0, strict=True)]
    logits = [mp.log(p) - mp.log1p(-p) for p in x.prior]
    return mp.fdot(logits, [m - p for m, p in zip(means, x.prior, strict=True)])


@remembered
def entropy_bounds(x: Inputs) -> dict[str, Any]:
    return {
        "lower": chain(x).posterior_entropy(x.t) if x.t > 1 else mp.mpf(0),
        "upper": chain(x).step_entropy(x.t),
        "upper_holds": bool(pull(x) >= 0),
    }


@remembered
def three_entropies(x: Inputs, s: int) -> list[Any]:
    """The terms of the lower side."""
    q = chain(x)
    return [q.step_entropy(x.t), q.conditional_entropy(s), q.conditional_entropy(x.t)]


def reverse_entropy_inside(x: Inputs) -> Any:
    step, _, last = three_entropies(x, x.t)
    return step + chain(x).reverse_entropy(x.t) - last


def entropy_bounds_cases() -> list[Any]:
    draw = Draw("binomial_reverse_entropy_bounds")
    cases = [(SIMPLE, 2, [[1, 0], [0, 0]], [0.25, 0.25]), ([0.1], 1, [[0], [1]], [0.2])]
    cases += [(SIMPLE, 2, [[0], [1]], [0.25]), (SIMPLE, 2, [[1]], [0.25])]
    cases += [(SIMPLE, 2, [[1]], [0.75]), (SIMPLE, 1, [[1], [0], [0], [0]], [0.1875])]
    cases += [(SIMPLE, 2, [[1, 0], [0, 1]], [0.5, 0.5]), (SIMPLE, 2, [[1, 1]], [0.5, 0.5])]
    cases += [([0.2, 0.3, 0.4], 3, [[1, 0, 0], [0, 1, 0]], [0.2] * 3)]
    for beta, t in times_of(1, draw, 5):
        d = draw.integer(1, 3)
        x0 = [draw.bits(d) for _ in range(draw.integer(1, 3))]
        prior = [draw.choice([0.5, 0.25, 0.1875, draw.part(16), LARGE]) for _ in range(d)]
        cases.append((beta, t, x0, prior))
    good = TWO | {"x0": [[1], [0]], "prior": [0.25]}
    half = good | {"prior": [0.5]}
    return [
        *cases,
        *bad_schedules(good | {"t": 1}),
        *spoilt(half, "empty", x0=[[], [[]]]),
        *spoilt(half, "bad_state", x0=[[[2]]]),
        *spoilt(half, "bad_prior", x0=[[[1]]], prior=[[1.0]]),
        *spoilt(half, "bad_length", x0=[[[1, 0]]], prior=[[0.5, 0.5, 0.5]]),
        *spoilt(half, "bad_number", x0=[[[None]]]),
    ]


BOUNDS = in_nats(
    name="binomial_reverse_entropy_bounds",
    code="dpm_ref.bounds.reverse_entropy_bounds",
    equation="(24)",
    definition="lower = H_q(X^t|X^{t-1}) + H_q(X^{t-1}|X^0) - H_q(X^t|X^0) = H_q(X^{t-1}|X^t,X^0), "
    "upper = H_q(X^t|X^{t-1}), sums over bits, means over the data; upper_holds: sum_i "
    "logit(pi_i) (m_i - pi_i) >= 0, m the mean of the data",
    inputs=BETA | TIME | {"x0": "the data, a list of vectors of bits"} | PRIOR,
    outputs={
        "lower": "the lower side; 0 at t = 1",
        "upper": "the upper side",
        "upper_holds": "whether the upper side's condition holds",
    },
    tolerance="(64 + 4 T) eps of either side",
    truth=entropy_bounds,
    terms=lambda x, truth: mp.fsum(three_entropies(x, x.t - 1)),
    cases=entropy_bounds_cases(),
    mistakes={
        **common("one_early one_late reversed_schedule half_for_prior bits_for_nats sign"),
        "mean_for_sum": mean_over("bits"),
        "sum_over_data": scaled("the sum over the data, not the mean", lambda x: len(x["x0"])),
        **common("sides_exchanged"),
        **wrong_lower_sides(three_entropies),
        "reverse_entropy_inside": Mistake(
            "H_q(X^{t-1}|X^t) for H_q(X^{t-1}|X^0) in the lower side", reverse_entropy_inside
        ),
        **common("condition_not_checked"),
        "condition_reversed": Mistake(
            "the condition's sign", lambda x: {"upper_holds": bool(pull(x) <= 0)}
        ),
    },
)

FUNCTIONS = [KERNEL, MARGINAL, POSTERIOR, EDGE, NULL, BOUNDS]

"""Expressions have the values of the formulas they stand for, errors of the size of their terms,
and texts that a reader of the formula understands.
"""

import math

import mpmath
import numpy as np
import pytest

from dpm_ref import GaussianDiffusion, schedules
from dpm_ref.check.expressions import (
    Context,
    Expr,
    Tables,
    error_of,
    number,
    op,
    table_text,
    term,
    terms_of,
    value_of,
)

BETA = np.array([0.1, 0.25, 0.2, 0.4])
T, ABAR = len(BETA), np.cumprod(1 - BETA)
VALUES = {"x": 3.0, "y": -0.5, "z": 0.2}
X, Y, Z = (Expr("input", name=name) for name in VALUES)
ABAR_T, ABAR_PREV = (Expr("table", name=name) for name in ("abar", "abar_prev"))


def context(batch=(2, 3), trees=(), **inputs):
    given = {name: np.float64(value) for name, value in VALUES.items()}
    return Context({**given, **inputs}, Tables.exact(BETA), batch, list(trees))


def value(node, **inputs):
    with np.errstate(all="ignore"):
        return value_of(node, context(**inputs))


def error(node, lossy=False, **inputs):
    return error_of(node, context(**inputs), lossy)


# Values

x, y, z = VALUES.values()
ARITHMETIC = {
    "x + y z": (X + Y * Z, x + y * z),
    "x - y": (X - Y, x - y),
    "2 - x": (2 - X, 2 - x),
    "2 + x": (2 + X, 2 + x),
    "x - 2": (X - 2, x - 2),
    "-x": (-X, -x),
    "2 x": (2 * X, 2 * x),
    "x y z": (X * Y * Z, x * y * z),
    "x / y / z": (X / Y / Z, x / y / z),
    "x / (y z)": (X / (Y * Z), x / (y * z)),
    "1 / x": (1 / X, 1 / x),
    "2 / x": (2 / X, 2 / x),
    "x^2": (X**2, x**2),
    "(x + y)(x - z)": ((X + Y) * (X - Z), (x + y) * (x - z)),
    "(x + y) + (y + z)": ((X + Y) + (Y + Z), x + 2 * y + z),
    "sqrt(x)": (op("sqrt", X), math.sqrt(x)),
    "log(x)": (op("log", X), math.log(x)),
    "exp(y)": (op("exp", Y), math.exp(y)),
    "sigmoid(y)": (op("sigmoid", Y), 1 / (1 + math.exp(-y))),
    "abs(y)": (op("abs", Y), abs(y)),
    "xlogy(x, z)": (op("xlogy", X, Z), x * math.log(z)),
    "xlogy(0, 0)": (op("xlogy", 0, 0), 0.0),
    "clip(x)": (op("clip", X, value=1.0), 1.0),
    "clip(y)": (op("clip", Y, value=0.4), -0.4),
    "least(z)": (op("least", Z, value=0.3), 0.3),
    "inside(x)": (op("inside", X, value=0.1), 0.9),
    "if(x, y, z)": (op("if", X, Y, Z), y),
    "if(z, y, x)": (op("if", Z, Y, X), x),
    "T": (op("T"), 4.0),
    "d": (op("d"), 3.0),
    "n": (op("n"), 2.0),
    "term": (term("a name", X * Y), x * y),
}


@pytest.mark.parametrize("formula", ARITHMETIC)
def test_an_expression_has_the_value_of_its_formula(formula):
    tree, wanted = ARITHMETIC[formula]
    assert value(tree) == pytest.approx(wanted, rel=1e-15)


def test_a_number_may_stand_on_either_side_of_an_operator():
    for tree, wanted in ((2 + X, 5.0), (2 - X, -1.0), (2 * X, 6.0), (2 / X, 2 / 3), (X / 2, 1.5)):
        assert value(tree) == wanted
    assert ((1 / X).op, (2 / X).op) == ("inv", "*")
    assert value(1 / X) == 1 / 3


def test_sums_and_products_are_flat_and_terms_with_a_name_stay_together():
    assert [each.name for each in ((X + Y) + Z).args] == ["x", "y", "z"]
    assert [each.name for each in (X * (Y * Z)).args] == ["x", "y", "z"]
    named = term("both", X + Y) + Z
    assert [each.label for each in named.args] == ["both", ""]
    assert (-term("both", X)).label == "both"


def test_tables_are_read_at_the_times_they_are_written_at():
    t = np.array([[1], [3], [4]])
    prev = np.append(1.0, ABAR[:-1])
    for at, times in (("t", t), ("T", 4), ("T-1", 3), ("1", 1), ("2", 2)):
        read = Expr("table", name="abar", at=at)
        np.testing.assert_allclose(value(read, t=t), ABAR[np.array(times) - 1])
        before = Expr("table", name="abar_prev", at=at)
        np.testing.assert_allclose(value(before, t=t), prev[np.array(times) - 1])
    every = Expr("table", name="beta", at="1..T")
    np.testing.assert_array_equal(value(every).ravel(), BETA)
    later = Expr("table", name="beta", at="2..T")
    np.testing.assert_array_equal(value(later).ravel(), BETA[1:])
    assert value(later).shape == (T - 1, 1, 1)
    moved = Expr("table", name="beta", move=lambda T: np.r_[0, np.arange(T, 0, -1)])
    np.testing.assert_array_equal(value(moved, t=t).ravel(), BETA[[3, 1, 0]])
    built = Expr("table", name="abar", built=lambda s: s._replace(abar=2 * s.abar))
    np.testing.assert_allclose(value(built, t=t).ravel(), 2 * ABAR[[0, 2, 3]])
    assert value(Expr("table", name="abar", at="0"), t=t) == 1.0
    first, across = (Expr("table", name="beta", at=at) for at in ("first row", "across"))
    np.testing.assert_array_equal(value(first, t=t), BETA[[[0]]])
    np.testing.assert_array_equal(value(across, t=t), BETA[[[0, 2, 3]]])
    np.testing.assert_array_equal(value(across, t=t[:2]), BETA[[[0], [2]]])


def test_the_second_step_of_a_schedule_of_one_is_its_first():
    one = Context({}, Tables.exact(BETA[:1]), (2, 3), [])
    assert value_of(Expr("table", name="beta", at="2"), one) == BETA[0]


def test_exact_tables_are_those_of_the_schedule():
    s, exact, t = Tables.exact(BETA), GaussianDiffusion(BETA), np.arange(1, T + 1)
    assert s.T == T
    np.testing.assert_array_equal(s.beta[1:], BETA)
    np.testing.assert_array_equal(s.alpha[1:], 1 - BETA)
    np.testing.assert_array_equal(s.abar[1:], exact.abar(t))
    np.testing.assert_array_equal(s.one_minus_abar[1:], exact.one_minus_abar(t))
    np.testing.assert_array_equal(s.abar_prev[1:], s.abar[:-1])
    np.testing.assert_array_equal(s.one_minus_abar_prev[1:], s.one_minus_abar[:-1])
    assert [each[0] for each in s] == [0, 1, 1, 0, 1, 0]
    single = BETA.astype(np.float32)
    for table, wanted in zip(Tables.exact(single), Tables.exact(single.astype(float)), strict=True):
        np.testing.assert_array_equal(table, wanted)


def test_tables_of_a_product_take_one_minus_abar_by_subtraction():
    s = Tables.product(BETA, 1 - BETA, ABAR)
    np.testing.assert_array_equal(s.one_minus_abar[1:], 1 - ABAR)
    np.testing.assert_array_equal(s.abar[1:], ABAR)
    np.testing.assert_array_equal(s.alpha[1:], 1 - BETA)
    np.testing.assert_array_equal(s.beta[1:], BETA)
    assert [each[0] for each in s] == [0, 1, 1, 0, 1, 0]


def test_sums_go_over_times_and_weights_and_means_over_the_batch():
    xs = np.arange(24.0).reshape(4, 2, 3)
    node = Expr("input", name="xs")
    np.testing.assert_array_equal(value(op("sum", node), xs=xs), xs.sum(0))
    assert value(op("sum", number(2.0)), xs=xs).tolist() == [[8.0]]
    assert value(op("count"), xs=xs) == 4
    log_w = np.arange(6.0).reshape(3, 2)
    node = Expr("input", name="log_w")
    np.testing.assert_array_equal(value(op("sum", node), log_w=log_w), log_w.sum(0))
    assert value(op("sum", number(2.0)), log_w=log_w).tolist() == [6.0]
    np.testing.assert_array_equal(value(op("max", node), log_w=log_w), log_w[2])
    np.testing.assert_array_equal(value(op("min", node), log_w=log_w), log_w[0])
    rows = np.arange(6.0).reshape(2, 3)
    node = Expr("input", name="rows")
    np.testing.assert_array_equal(value(op("batch", node), rows=rows), rows.mean(0)[None])
    np.testing.assert_array_equal(value(op("batch", number(2.0))), [[2.0]])
    for name, wanted in (("sum", rows.sum(-1)), ("mean", rows.mean(-1)), ("none", rows)):
        found = value(op("components", node, name=name), rows=rows)
        np.testing.assert_array_equal(found, wanted)
    node = Expr("input", name="xs")
    np.testing.assert_array_equal(value(op("components", node, name="sum"), xs=xs), xs.sum(2))
    np.testing.assert_array_equal(value(op("components", node, name="mean"), xs=xs), xs.mean(2))
    assert value(op("components", number(2.0), name="sum")) == [6.0]
    assert value(op("components", number(2.0), name="mean")) == [2.0]


def test_a_choice_by_time_is_made_at_the_first_or_second_step_and_later():
    t = np.array([[1], [2], [3]])
    assert value(op("first", X, Y), t=t).ravel().tolist() == [x, y, y]
    assert value(op("second", X, Y), t=t).ravel().tolist() == [y, x, y]
    assert value(op("later"), t=t).ravel().tolist() == [0, 1, 1]
    assert value(op("later", value=1.0), t=t).ravel().tolist() == [0, 0, 1]


def log_mass(x0, mean, std, width=1.0, closed=False):
    """By 60 digits: log of a normal distribution's mass in a bin of 256 levels."""
    with mpmath.workdps(60):
        low = (mpmath.mpf(x0) - mpmath.mpf(width) / 255 - mpmath.mpf(mean)) / mpmath.mpf(std)
        high = (mpmath.mpf(x0) + mpmath.mpf(width) / 255 - mpmath.mpf(mean)) / mpmath.mpf(std)
        if x0 < -0.999 and not closed:
            low = -mpmath.inf
        if x0 > 0.999 and not closed:
            high = mpmath.inf
        tail = [mpmath.erfc(each / mpmath.sqrt(2)) / 2 for each in (low, high)]
        if low + high < 0:
            tail = [mpmath.erfc(-each / mpmath.sqrt(2)) / 2 for each in (high, low)]
        return float(mpmath.log(tail[0] - tail[1]))


BINS = [
    *((x0, mean, std) for x0 in (-1.0, -0.2, 0.4, 1.0) for mean in (-0.5, 0.4) for std in (0.1, 2)),
    (0.4, -0.5, 0.02),
    (0.4, 3.0, 0.02),
    (-1.0, 3.0, 0.02),
    (1.0, -3.0, 0.02),
    (0.4, -1.6, 0.05),
    (0.0, 0.0, 1e-4),
]


@pytest.mark.parametrize("place", BINS)
def test_a_bin_s_mass_is_right_far_out_too(place):
    nodes = [number(each) for each in place]
    assert value(op("log_bin", *nodes, value=1.0)) == pytest.approx(log_mass(*place), rel=1e-9)
    found = value(op("log_bin closed", *nodes, value=2.0))
    assert found == pytest.approx(log_mass(*place, 2.0, True), rel=1e-9)
    clipped = value(op("log_bin", *nodes, value=1.0, name="clipped"))
    assert clipped == pytest.approx(max(log_mass(*place), math.log(1e-12)), rel=1e-9)


def test_a_bin_s_mass_by_another_distribution_function_is_clipped_at_1e_12():
    cdfs = {
        "tanh": lambda u: (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3))) / 2,
        "logistic": lambda u: 1 / (1 + np.exp(-u)),
    }
    for name, cdf in cdfs.items():
        for x0, mean, std in ((-1.0, -0.5, 0.4), (0.2, 0.1, 0.3), (1.0, 0.7, 0.5), (0.2, 9.0, 0.1)):
            low = -np.inf if x0 < -0.999 else (x0 - 1 / 255 - mean) / std
            high = np.inf if x0 > 0.999 else (x0 + 1 / 255 - mean) / std
            mass = (cdf(high) if high < np.inf else 1.0) - (cdf(low) if low > -np.inf else 0.0)
            wanted = np.log(max(mass, 1e-12))
            node = op("log_bin", *map(number, (x0, mean, std)), value=1.0, name=name)
            assert value(node) == pytest.approx(wanted, rel=1e-9)


# Errors


def test_the_error_of_a_sum_is_that_of_its_terms_and_of_a_product_its_own():
    assert error(X) == 3.0
    assert error(number(-2.0)) == 2.0
    assert error(X + 100 * Y) == pytest.approx(53.0)
    assert error(X * Y) == pytest.approx(1.5)
    assert error(X / Z) == pytest.approx(15.0)
    assert error(op("exp", 10 * X)) == pytest.approx(30 * np.exp(30), rel=1e-6)
    assert error(op("sqrt", X)) == pytest.approx(np.sqrt(3))
    assert error(op("log", X + (-2.9))) == pytest.approx(5.9 / 0.1, rel=1e-6)
    assert error(op("unit", X, name="bits")) == pytest.approx(3 / math.log(2))
    rows = np.array([[1.0, -2.0, 4.0]])
    mean = op("components", Expr("input", name="rows"), name="mean")
    assert error(mean, rows=rows) == pytest.approx([7 / 3], rel=1e-6)


def test_nothing_has_an_error_where_it_is_the_difference_of_what_has():
    assert error(X - X) == pytest.approx(6.0)
    with np.errstate(all="ignore"):  # 0 log 0 and 0 log -1 are 0, but beside them is no number
        assert error(op("xlogy", X - X, 0)) == 0.0
        assert error(op("xlogy", X - X, -1)) == 0.0


def test_the_size_of_terms_goes_through_factors_and_sums_and_ends_at_functions():
    sized = {
        X + 100 * Y: 53.0,
        2 * (X + Y): 7.0,
        -(X + Y): 3.5,
        (X + Y) / Z: 17.5,
        op("unit", X + Y, name="bits"): 3.5 / math.log(2),
        op("components", X + Y, name="sum"): 10.5,
        op("components", X + Y, name="mean"): 3.5,
        op("batch", X + Y): 3.5,
        op("sqrt", X + Y): math.sqrt(2.5),
        -X: 3.0,
    }
    for tree, wanted in sized.items():
        assert terms_of(tree, context()) == pytest.approx(wanted, rel=1e-12)


def test_the_error_of_a_bin_s_mass_is_that_of_its_ends_over_it():
    place = (0.4, -0.5, 2.0)
    y = log_mass(*place)
    bin_ = op("log_bin", *map(number, place), value=1.0)
    wanted = -y + (math.exp(-y) + 255 * (0.4 + 0.5)) / 16
    assert error_of(bin_, context()) == pytest.approx(wanted, rel=1e-9)
    assert error_of(2 * bin_, context()) == pytest.approx(2 * wanted, rel=1e-6)
    assert error_of(bin_, context(), plain=True) == pytest.approx(-y, rel=1e-9)
    assert error_of(2 * bin_, context(), plain=True) == pytest.approx(-2 * y, rel=1e-6)


def test_errors_of_factors_add_up_in_lossy_tables_alone():
    assert error(X * X * X) == pytest.approx(27.0)
    assert error(X * X * X, lossy=True) == pytest.approx(81.0, rel=1e-6)


def test_a_lossy_table_s_error_grows_with_the_steps_of_its_product():
    t = np.array([[1], [4]])
    grown = 3 + np.cumsum(1 / (1 - BETA))
    drift = np.arange(1, len(BETA) + 1) * BETA * (1 - BETA) / 4
    for name, wanted in {
        "abar": ABAR * grown,
        "one_minus_abar": ABAR * grown + 1 - ABAR,
        "abar_prev": np.append(1.0, ABAR[:-1]) * np.append(3.0, grown[:-1]),
        "alpha": 1 - BETA + BETA + drift,
        "beta": 4 + BETA + drift,
    }.items():
        found = error(Expr("table", name=name), lossy=True, t=t)
        np.testing.assert_allclose(found.ravel(), wanted[[0, 3]], rtol=1e-12)
    assert error_of(ABAR_T, context(t=t)).ravel().tolist() == pytest.approx(ABAR[[0, 3]].tolist())
    found = error(op("sqrt", ABAR_T), lossy=True, t=t)
    np.testing.assert_allclose(found.ravel(), (np.sqrt(ABAR) * grown / 2)[[0, 3]], rtol=1e-6)


@pytest.mark.parametrize("T", [100, 1000, 10000])
def test_a_function_of_the_time_in_float32_errs_by_no_more_than_is_allowed(T):
    """1 - cos^2 / cos^2: half a unit in the time is many in a ratio of small cosines."""
    x = np.arange(T + 1, dtype=np.float32) / np.float32(T)
    abar = np.cos((x + np.float32(0.008)) / np.float32(1.008) * np.float32(np.pi / 2)) ** 2
    single = np.minimum(1 - abar[1:] / abar[:-1], np.float32(0.999))
    s = Tables.exact(schedules.cosine(T))
    off = np.abs(single - s.beta[1:])
    assert (off <= 8 * 2.0**-23 * s.growth["beta"][1:]).all()
    assert (off > 8 * 2.0**-23 * (4 + s.beta[1:])).any() == (T > 100)


def test_a_running_product_in_float32_errs_by_no_more_than_is_allowed():
    beta = np.random.default_rng(0).uniform(0.01, 0.5, 200).astype(np.float32)
    s = Tables.exact(beta.astype(np.float64))
    single = np.cumprod(1 - beta, dtype=np.float32)
    off = np.abs(single - s.abar[1:])
    assert (off <= 2.0**-24 * s.growth["abar"][1:] + 1e-38).all()
    off = np.abs(1 - single - s.one_minus_abar[1:])
    assert (off <= 2.0**-23 * s.growth["one_minus_abar"][1:]).all()


def test_values_of_known_trees_are_remembered():
    calls = []
    tree = X * Y
    known = context(trees=[tree])
    known.inputs = {name: calls.append(name) or v for name, v in known.inputs.items()}
    first = value_of(tree, known)
    known.inputs = {}
    assert value_of(tree, known) == first
    assert error_of(tree, known) == pytest.approx(1.5)
    known.errors = dict.fromkeys(known.errors, 7.0)
    assert error_of(tree, known) == 7.0
    assert error_of(tree, known, lossy=True) == pytest.approx(3.0, rel=1e-6)
    with pytest.raises(KeyError):
        value_of(Expr("input", name="x"), known)


# Texts

TEXTS = {
    "x + y z": X + Y * Z,
    "x - y": X - Y,
    "x y / z": X * Y / Z,
    "1 / x": 1 / X,
    "1 / x / y": op("inv", X) / Y,
    "x (y + z)": X * (Y + Z),
    "x / (y + z)": X / (Y + Z),
    "(x + y)^2": (X + Y) ** 2,
    "x^2": X**2,
    "-x": -X,
    "1 / (x + y)": op("inv", X + Y),
    "sqrt(x + y)": op("sqrt", X + Y),
    "1/2 x": 0.5 * X,
    "2 x": 2 * X,
    "0.3333 x": (1 / 3) * X,
    "x": op("read", X, name="std"),
    "a name": term("a name", X + Y),
    "a name x": term("a name", X + Y) * X,
    "x + a name": X + term("a name", Y),
    "x - a name": X - term("a name", Y),
    "a name / x": -term("a name", Y) / X,
    "abar_t / abar_{t-1}": ABAR_T / ABAR_PREV,
    "max(x)": op("max", X),
    "d x": op("d") * X,
}


@pytest.mark.parametrize("text", TEXTS)
def test_an_expression_is_written_as_its_formula(text):
    assert TEXTS[text].text == text


@pytest.mark.parametrize(
    ("name", "at", "text"),
    [
        ("beta", "t", "beta_t"),
        ("abar", "T", "abar_T"),
        ("abar", "1..T", "abar_t"),
        ("abar_prev", "t", "abar_{t-1}"),
        ("abar_prev", "T", "abar_{T-1}"),
        ("abar_prev", "2", "abar_1"),
        ("one_minus_abar", "1", "1 - abar_1"),
        ("one_minus_abar_prev", "2..T", "1 - abar_{t-1}"),
    ],
)
def test_a_table_is_written_with_its_index(name, at, text):
    assert table_text(name, at) == text
    assert Expr("table", name=name, at=at).text == text


def test_changes_are_made_in_one_place_or_everywhere_and_leave_the_rest_as_it_is():
    tree = op("sqrt", X * Y) + X
    paths = {node.name: path for path, node in tree.walk() if node.name == "y"}
    changed = tree.at_path(paths["y"], lambda node: Z - node)
    assert value(changed) == pytest.approx(math.sqrt(x * (z - y)) + x)
    everywhere = tree.map(lambda node: Z if node.name == "x" else node)
    assert everywhere.text == "sqrt(z y) + z"
    assert tree.map(lambda node: node) is tree
    both = X * Y
    twice = (op("sqrt", both) + op("log", both)).map(lambda node: Z if node is X else node)
    assert twice.args[0].args[0] is twice.args[1].args[0]
    assert tree.text == "sqrt(x y) + x"
    assert term("kept", tree).of(X).label == "kept"


def test_what_an_expression_is_made_of_tells_it_from_others():
    assert (X * Y).parts == (X * Y).parts
    assert (X * Y).parts != (X * Z).parts
    assert (2 * X).parts != (3 * X).parts
    assert Expr("table", name="abar").parts != Expr("table", name="abar", at="T").parts
    assert (X + Y).parts != (X * Y).parts

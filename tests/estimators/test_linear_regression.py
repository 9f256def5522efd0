"""Least squares: the minimum for every shape, rank and condition number of X, and documented rules."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from linear_models import least_squares
from sklearn import linear_model as theirs
from sklearn.utils.estimator_checks import estimator_checks_generator

from steepest.estimators import row_blocks
from steepest.linear_model import LinearRegression, _linear_regression
from steepest.linear_model.solvers.batch_modes import BATCH_MODE_PARAMETERS

CHECKED = [LinearRegression(), LinearRegression(positive=True), LinearRegression(alpha=1.0)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"),
    [case for estimator in CHECKED for case in estimator_checks_generator(estimator)],
    ids=lambda value: repr(value) if isinstance(value, LinearRegression) else value.func.__name__,
)
def test_scikit_learn(estimator, check):
    check(estimator)


def test_parameters_are_those_of_scikit_learn():
    ours, others = LinearRegression().get_params(), theirs.LinearRegression().get_params()
    additional = {"alpha", "solver", "max_iter", "random_state", "device", *BATCH_MODE_PARAMETERS}
    assert {name for name in additional if ours.pop(name, "missing") == "missing"} == set()
    # scikit-learn has `tol` since 1.7.
    assert ours == {"tol": 1e-6, **others}


@pytest.mark.parametrize("alpha", [0.0, 3.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "shape", [(300, 7, 1), (300, 7, 3), (9, 7, 2), (8, 7, 1), (7, 7, 1), (5, 7, 2), (1, 3, 1)], ids=str
)
def test_the_minimum(rng, dtype, shape, weighted, fit_intercept, alpha):
    n, d, m = shape
    X = (rng.standard_normal((n, d)) + 3).astype(dtype)
    Y = (X[:, :1] + rng.standard_normal((n, m)) - 5).astype(dtype)
    s = rng.uniform(0.2, 2.0, n).astype(dtype) if weighted else None
    coef, intercept = least_squares(X, Y, s, fit_intercept, alpha)
    model = LinearRegression(fit_intercept=fit_intercept, alpha=alpha).fit(X, Y, s)
    singular = np.linalg.svd(X - X.mean(0) if fit_intercept else X, compute_uv=False)
    condition = singular[0] / singular[min(max(n - fit_intercept, 1), d) - 1] if n > 1 else 1.0
    # A backward stable method errs by a few eps of X and Y, times the squared condition number at worst.
    scale = (1 + np.abs(coef).max()) * (1 + np.abs(X).max())
    atol = 20 * np.finfo(dtype).eps * scale * condition * (condition if n > d else 1)
    np.testing.assert_allclose(model.coef_, coef.T, rtol=0, atol=atol)
    np.testing.assert_allclose(model.intercept_, intercept if fit_intercept else 0.0, rtol=0, atol=10 * atol)
    assert model.coef_.dtype == dtype
    np.testing.assert_allclose(model.predict(X), X @ coef + intercept, rtol=0, atol=10 * atol)
    flat = LinearRegression(fit_intercept=fit_intercept, alpha=alpha).fit(X, Y[:, 0], s)
    assert flat.coef_.shape == (d,) and np.ndim(flat.intercept_) == 0
    np.testing.assert_allclose(flat.coef_, coef[:, 0], rtol=0, atol=atol)


@pytest.mark.parametrize("n", [40, 12, 6])
def test_rank_and_the_shortest_solution(rng, n):
    X = rng.standard_normal((n, 10))
    X[:, 9] = X[:, :3].sum(1)
    y = rng.standard_normal(n)
    ours, other = LinearRegression().fit(X, y), theirs.LinearRegression().fit(X, y)
    assert ours.rank_ == other.rank_ == min(n - 1, 9)
    np.testing.assert_allclose(ours.singular_, other.singular_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.coef_, least_squares(X, y[:, None])[0][:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("condition", [1e3, 1e5, 1e7])
def test_a_step_of_refinement_makes_up_for_the_square_of_the_condition(rng, condition):
    u, _ = np.linalg.qr(rng.standard_normal((500, 20)))
    v, _ = np.linalg.qr(rng.standard_normal((20, 20)))
    X = u * np.geomspace(1, 1 / condition, 20) @ v
    w = rng.standard_normal(20)
    model = LinearRegression(fit_intercept=False, tol=1e-9).fit(X, X @ w)
    # For zero residuals the error of a stable method is a few eps times the condition number, not its square.
    np.testing.assert_allclose(model.coef_, w, rtol=0, atol=50 * np.finfo(float).eps * condition)


def test_large_means_cost_no_digits(rng):
    X = rng.standard_normal((400, 5)) + 1e6
    w = rng.standard_normal(5)
    model = LinearRegression().fit(X, (X - 1e6) @ w + 1e4)
    # The items of X are rounded to 1e6 eps.
    np.testing.assert_allclose(model.coef_, w, rtol=0, atol=1e6 * 10 * np.finfo(float).eps)


@pytest.mark.parametrize("case", ["normal equations", "triangle"])
def test_blocks_are_parts_of_one_problem(rng, monkeypatch, case):
    X, y = rng.standard_normal((333, 6)), rng.standard_normal(333)
    if case == "triangle":
        X[:, 5] = X[:, 0]
    whole = LinearRegression().fit(X, y)
    monkeypatch.setitem(row_blocks._BLOCK_ITEMS, "cpu", 1)
    in_parts = LinearRegression().fit(X, y)
    np.testing.assert_allclose(in_parts.coef_, whole.coef_, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "options", [{}, {"alpha": 2.0}, {"positive": True}, {"fit_intercept": False}], ids=str
)
def test_weights_are_repetitions(rng, dtype, options):
    X, y = rng.standard_normal((50, 4)).astype(dtype), rng.standard_normal(50).astype(dtype)
    counts = rng.integers(0, 4, 50)
    weighted = LinearRegression(**options).fit(X, y, counts)
    repeated = LinearRegression(**options).fit(np.repeat(X, counts, 0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=0, atol=100 * np.finfo(dtype).eps)


def test_positive_coefficients(rng):
    X = rng.standard_normal((60, 8))
    Y = X @ rng.standard_normal((8, 2)) + rng.standard_normal((60, 2))
    model = LinearRegression(positive=True).fit(X, Y)
    gradient = (X - X.mean(0)).T @ (model.predict(X) - Y)
    assert (model.coef_ >= 0).all() and (model.coef_ == 0).any()
    # Karush–Kuhn–Tucker conditions: zero gradient at positive coefficients, and no descent direction at zeros.
    np.testing.assert_allclose(gradient.T[model.coef_ > 0], 0, atol=1e-11)
    assert (gradient.T[model.coef_ == 0] > -1e-11).all()
    assert not hasattr(model, "rank_")


@pytest.mark.parametrize("path", ["moments", "LSQR"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_sparse(rng, monkeypatch, path, weighted, alpha):
    X = scipy.sparse.random(200, 9, 0.3, "csr", random_state=0)
    y = rng.standard_normal((200, 2))
    s = rng.uniform(0.5, 2.0, 200) if weighted else None
    if path == "LSQR":
        monkeypatch.setattr(_linear_regression, "_MOST_DENSE_COLUMNS", 0)
    model = LinearRegression(alpha=alpha, tol=1e-12).fit(X, y, s)
    dense = LinearRegression(alpha=alpha).fit(X.toarray(), y, s)
    np.testing.assert_allclose(model.coef_, dense.coef_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.intercept_, dense.intercept_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.predict(X.tocsc()), dense.predict(X.toarray()), rtol=0, atol=1e-10)


def test_float32_loses_no_more_than_its_rounding(rng):
    X = rng.standard_normal((20_000, 8)).astype(np.float32) + 2
    w = rng.standard_normal(8)
    y = (X @ w).astype(np.float32)
    model = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, w, rtol=0, atol=20 * np.finfo(np.float32).eps)


def test_squares_that_overflow(rng):
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    expected = LinearRegression().fit(X, y).coef_
    np.testing.assert_allclose(LinearRegression().fit(X * 1e200, y).coef_ * 1e200, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="overflow"):
        LinearRegression().fit(X / np.abs(X).max() * 1e308, y)


def test_bad_input(rng):
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    for bad in (np.nan, np.inf, -np.inf):
        wrong = X.copy()
        wrong[7, 2] = bad
        with pytest.raises(ValueError, match=rf"^\[LinearRegression\] X is {bad} at row 7, column 2"):
            LinearRegression().fit(wrong, y)
    with pytest.raises(ValueError, match=r"^\[LinearRegression\] .*[Nn]egative"):
        LinearRegression().fit(X, y, np.r_[-1.0, np.ones(19)])
    with pytest.raises(ValueError, match=r"^\[LinearRegression\] .*zero"):
        LinearRegression().fit(X, y, np.zeros(20))
    with pytest.raises(ValueError, match=r"^\[LinearRegression\] X has 2 features"):
        LinearRegression().fit(X, y).predict(X[:, :2])


# --------------------------------------------------------------------------- constant columns, units, many columns


@pytest.mark.parametrize("value", [0.1, 0.7, 3.3, 1e9 / 3, -1e-12, 0.0])
@pytest.mark.parametrize("n", [2, 3, 7, 50, 3000])
@pytest.mark.parametrize("options", [{}, {"alpha": 1e-3}, {"positive": True}], ids=str)
def test_constant_columns_say_nothing(rng, dtype, value, n, options):
    """Constant columns get zero coefficients, alone or beside a varying column, with sample weights too."""
    X, y, w = np.full((n, 3), value, dtype), rng.standard_normal(n).astype(dtype) + 1000, rng.random(n)
    model = LinearRegression(**options).fit(X, y, w)
    np.testing.assert_array_equal(model.coef_, 0)
    np.testing.assert_allclose(model.predict(X), np.average(y, weights=w), rtol=20 * np.finfo(dtype).eps)
    assert options.get("positive") or model.rank_ == 0
    x = np.linspace(1, 2, n).astype(dtype)[:, None]
    beside, alone = (LinearRegression(**options).fit(given, y, w) for given in (np.c_[X, x], x))
    np.testing.assert_array_equal(beside.coef_[:3], 0)
    np.testing.assert_allclose(beside.coef_[3:], alone.coef_, rtol=0, atol=1e4 * np.finfo(dtype).eps * 1000)


def test_a_spread_of_a_few_roundings_is_none_of_ours(rng):
    """Unix times in steps of 128 s, the float32 spacing at 1.7e9."""
    x = (1.7e9 + 128 * rng.integers(0, 3, 400)).astype(np.float32)
    model = LinearRegression().fit(x[:, None], (x - x.mean()) / 128)
    np.testing.assert_allclose(model.coef_, 1 / 128, rtol=1e-5)


def test_polynomials(rng):
    x = np.linspace(-330, -190, 80)
    X, coef = np.c_[x, x**2, x**3], [-2.4, -7.7e-3, -1e-5]
    model = LinearRegression().fit(X, X @ coef - 250)
    # The standardised columns have a condition number of 1e4.
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-9)
    assert model.rank_ == 3
    # Wampler1 of NIST's Statistical Reference Datasets: all coefficients are 1.
    x = np.arange(21.0)
    X = x[:, None] ** np.arange(1, 6)
    np.testing.assert_allclose(LinearRegression().fit(X, 1 + X.sum(1)).coef_, 1, rtol=1e-8)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_units_of_columns(rng, dtype, unit, positive):
    X = rng.standard_normal((100, 3)) * [unit, 1, 1 / unit]
    model = LinearRegression(positive=positive).fit(
        X.astype(dtype), (X / [unit, 1, 1 / unit]).sum(1).astype(dtype)
    )
    np.testing.assert_allclose(model.coef_ * [unit, 1, 1 / unit], 1, rtol=20 * np.finfo(dtype).eps)


def test_columns_whose_squares_underflow(rng):
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    for dtype, unit in ((np.float64, 1e-200), (np.float32, 1e-25)):
        model = LinearRegression().fit((X * unit).astype(dtype), y.astype(dtype))
        expected = LinearRegression().fit(X, y)
        np.testing.assert_allclose(model.coef_ * np.float64(unit), expected.coef_, rtol=1e-4)


def test_a_ridge_penalty_needs_no_rank():
    X, y = np.array([[1.0, 1e-7], [1.0, -1e-7]]), np.array([1.0, 2.0])
    expected = np.linalg.solve(X.T @ X + 1e-10 * np.eye(2), X.T @ y)
    once = LinearRegression(alpha=1e-10, fit_intercept=False).fit(X, y)
    twice = LinearRegression(alpha=2e-10, fit_intercept=False).fit(np.r_[X, X], np.r_[y, y])
    np.testing.assert_allclose([once.coef_, twice.coef_], [expected, expected], rtol=1e-8)


@pytest.mark.parametrize(
    "options", [{}, {"alpha": 1.0}, {"positive": True}, {"positive": True, "alpha": 1.0}], ids=str
)
def test_few_rows_take_no_matrix_of_all_columns(rng, options):
    X, y = rng.standard_normal((30, 3000)), rng.standard_normal(30)
    tracemalloc.start()
    model = LinearRegression(**options).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000**2 * 8 / 4
    residual = y - model.predict(X)
    if not options.get("alpha"):
        np.testing.assert_allclose(residual, 0, atol=1e-10)
        return
    # Optimality conditions: alpha w = X^T residual at free coefficients, and no descent direction at those held at 0.
    slope = X.T @ residual - options["alpha"] * model.coef_
    free = model.coef_ > 0 if options.get("positive") else np.full(3000, True)
    np.testing.assert_allclose(slope[free], 0, atol=1e-9)
    assert (slope[~free] < 1e-9).all() and (model.coef_[~free] == 0).all() and abs(residual.sum()) < 1e-9

"""Logistic and softmax regression: the optimum of every objective, by every solver; labels, weights and bad input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse
from linear_models import SCIKIT_LEARN, classes, logistic_gradient, logistic_violation
from sklearn import linear_model as theirs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import estimator_checks_generator

from steepest.estimators import row_blocks
from steepest.linear_model import LogisticRegression
from steepest.linear_model.solvers import logistic
from steepest.linear_model.solvers.batch_modes import BATCH_MODE_PARAMETERS
from steepest.linear_model.solvers.curvature import dense_solve, kronecker_solve
from steepest.linear_model.solvers.logistic_objective import LogisticObjective
from steepest.linear_model.solvers.proximal_newton import minimize_fista, minimize_quadratic, violation

LASSO = {"solver": "saga", "l1_ratio": 1.0}
CHECKED = [{}, {"solver": "newton-cholesky"}, LASSO, {"solver": "liblinear"}]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"),
    [case for options in CHECKED for case in estimator_checks_generator(LogisticRegression(**options))],
    ids=lambda value: repr(value) if isinstance(value, LogisticRegression) else value.func.__name__,
)
def test_scikit_learn(estimator, check):
    if (
        estimator.solver == "liblinear"
        and "sample_weight_equivalence" in repr(check)
        and SCIKIT_LEARN < (1, 7)
    ):
        pytest.skip(
            "the check gives weighted and repeated rows different classes, and liblinear takes only two"
        )
    check(estimator)


def test_parameters_are_those_of_scikit_learn():
    ours, others = LogisticRegression().get_params(), theirs.LogisticRegression().get_params()
    if others["penalty"] != "deprecated":
        pytest.skip("this scikit-learn has the parameters of releases before 1.8")
    additional = {"device", *BATCH_MODE_PARAMETERS}
    assert {name for name in additional if ours.pop(name, "missing") == "missing"} == set()
    assert ours == others


# --------------------------------------------------------------------------------------------- the optimum


SMOOTH = [
    {"solver": solver, **penalty}
    for solver, penalty in itertools.product(
        # kept by hand: the solvers that take no L1 penalty or are quasi-Newton methods
        ("lbfgs", "natural", "newton-cholesky", "newton-cg", "sag", "saga"),
        ({}, {"C": 0.05}, {"C": np.inf}),
    )
]
WITH_L1 = [
    {"solver": "saga", "l1_ratio": ratio, "C": C} for ratio, C in itertools.product((1.0, 0.5), (1.0, 0.05))
]


@pytest.mark.parametrize("options", SMOOTH + WITH_L1, ids=str)
@pytest.mark.parametrize("k", [2, 4])
def test_the_optimum(rng, options, k):
    X, y = classes(rng, 400, 6, k)
    s = rng.uniform(0.2, 2.0, 400)
    for fit_intercept, sample_weight in ((True, None), (False, s)):
        model = LogisticRegression(tol=1e-8, fit_intercept=fit_intercept, **options)
        model.fit(X, y, sample_weight)
        penalty = {"C": options.get("C", 1.0), "l1_ratio": options.get("l1_ratio", 0.0)}
        # The final gradient is within tol, plus rounding.
        assert logistic_violation(model, X, y, sample_weight=sample_weight, **penalty) < 1e-8 + 1e-13
        assert fit_intercept or not model.intercept_.any()


@pytest.mark.parametrize("options", [{}, {"l1_ratio": 1.0}, {"dual": True}], ids=str)
@pytest.mark.parametrize("scaling", [1, 10.0])
def test_liblinear_penalises_the_intercept(rng, options, scaling):
    X, y = classes(rng, 300, 5, 2)
    model = LogisticRegression(solver="liblinear", C=0.1, tol=1e-8, intercept_scaling=scaling, **options).fit(
        X, y
    )
    l1_ratio = options.get("l1_ratio", 0.0)
    assert logistic_violation(model, X, y, C=0.1, l1_ratio=l1_ratio, scaled_intercept=scaling) < 1e-8 + 1e-13


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("options", [{}, {"solver": "newton-cholesky"}, LASSO], ids=str)
def test_float32_stays_float32(rng, k, options):
    X, y = classes(rng, 500, 6, k, np.float32)
    model = LogisticRegression(tol=1e-5, **options).fit(X, y)
    assert {model.coef_.dtype, model.predict_proba(X).dtype, model.decision_function(X).dtype} == {
        np.dtype("float32")
    }
    l1_ratio = options.get("l1_ratio", 0.0)
    # The gradient is a mean of rounded terms of size at most 10.
    assert logistic_violation(model, X, y, l1_ratio=l1_ratio) < 1e-5 + 10 * np.finfo(np.float32).eps


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize(("solver", "most"), [("lbfgs", 8), ("natural", 3)])
def test_many_rows_need_few_passes(rng, k, solver, most):
    X, y = classes(rng, 40_000, 6, k)
    model = LogisticRegression(solver=solver, tol=1e-7, random_state=0).fit(X, y)
    assert logistic_violation(model, X, y) < 1e-7 + 1e-13
    # After a start on a subsample, a step with the sample's curvature gains a digit or two, and a full Newton step
    # doubles the digits.
    assert model.n_iter_[0] <= most
    other = LogisticRegression(solver=solver, tol=1e-7, random_state=1).fit(X, y)
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=0, atol=1e-4)


def test_a_bad_start_on_a_sample_does_no_harm(rng):
    """A class with a single row, which the subsample of the start misses."""
    X, y = classes(rng, 30_000, 5, 3)
    y[y == 2] = 1
    y[17] = 2
    model = LogisticRegression(tol=1e-6, random_state=0).fit(X, y)
    assert logistic_violation(model, X, y) < 1e-6 + 1e-13


@pytest.mark.parametrize("k", [2, 3])
def test_zeros_are_exact_and_those_of_scikit_learn(rng, k):
    X, y = classes(rng, 200, 8, k)
    X = np.c_[X, rng.standard_normal((200, 6))]
    options = {"C": 0.05, "solver": "saga", "tol": 1e-9}
    ours = LogisticRegression(l1_ratio=1.0, **options).fit(X, y)
    assert 0 < (ours.coef_ == 0).sum() < ours.coef_.size
    try:
        other = theirs.LogisticRegression(l1_ratio=1.0, max_iter=20_000, **options).fit(X, y)
    except ValueError:
        pytest.skip("this scikit-learn rejects l1_ratio without penalty")
    except UserWarning:
        pytest.skip("this scikit-learn ignores l1_ratio without penalty")
    np.testing.assert_array_equal(ours.coef_ == 0, other.coef_ == 0)
    np.testing.assert_allclose(ours.coef_, other.coef_, rtol=0, atol=1e-5)


def test_more_parameters_than_a_matrix_can_hold(rng, monkeypatch):
    monkeypatch.setattr(logistic, "MOST_PARAMETERS", 3)
    monkeypatch.setattr("steepest.linear_model.solvers.curvature.MOST_PARAMETERS", 3)
    monkeypatch.setattr(logistic, "_FEW_PARAMETERS", 3)
    X, y = classes(rng, 300, 6, 3)
    for options in ({}, {"solver": "newton-cholesky"}, LASSO):
        model = LogisticRegression(tol=1e-6, max_iter=2000, **options).fit(X, y)
        assert logistic_violation(model, X, y, l1_ratio=options.get("l1_ratio", 0.0)) < 1e-6 + 1e-13


# ------------------------------------------------------------------------------------ parts of the solvers


def make_objective(rng, k, sparse=False, weighted=True, **options):
    X, y = classes(rng, 150, 4, k)
    if sparse:
        X = scipy.sparse.csr_array(X)
    s = rng.uniform(0.1, 2.0, 150) if weighted else None
    return LogisticObjective(X, y, k, s, **{"l2": 0.3, "intercept": 1.0, **options}), y, s


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("k", [2, 3])
def test_gradient_and_hessian(rng, monkeypatch, k, sparse):
    objective, y, s = make_objective(rng, k, sparse, intercept=2.0, l2_intercept=0.1)
    monkeypatch.setitem(row_blocks._BLOCK_ITEMS, "cpu", 1)
    theta = rng.standard_normal(objective.shape)
    X = objective.X.toarray() if sparse else objective.X

    def reference(theta):
        d_coef, d_intercept = logistic_gradient(X, y, theta[:-1].T, 2.0 * theta[-1], s)
        return np.r_[d_coef.T, 2.0 * d_intercept[None]] / s.sum() + objective.penalty * theta

    np.testing.assert_allclose(objective(theta)[1], reference(theta), rtol=0, atol=1e-14)
    hessian = objective.hessian(theta)
    for column, (j, c) in enumerate((j, c) for c in range(theta.shape[1]) for j in range(len(theta))):
        step = np.zeros_like(theta)
        step[j, c] = 1e-5
        # Central differences err by step^2 times the third derivative, which is about 1.
        difference = (reference(theta + step) - reference(theta - step)) / 2e-5
        np.testing.assert_allclose(hessian[:, column], difference.T.ravel(), rtol=0, atol=1e-8)


def test_factors_are_exact_where_all_rows_have_the_same_probabilities(rng):
    objective, _, _ = make_objective(rng, 4)
    theta = np.zeros(objective.shape)
    v = rng.standard_normal(objective.shape)
    v -= v.mean(axis=1, keepdims=True)  # as in gradients, which sum to 0 over classes
    hessian = objective.hessian(theta)
    for solve in (dense_solve, kronecker_solve):
        u = solve(objective, theta)(v)
        np.testing.assert_allclose(hessian @ u.T.ravel(), v.T.ravel(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("l2", [0.0, 1e-24, 1.0, 1e24])
def test_the_kronecker_approximation_does_not_depend_on_units(rng, l2):
    """It solves with A (x) G and the penalty, of which one may be lost beside the other, in each column another."""
    objective, _, _ = make_objective(rng, 4, l2=l2)
    units = np.array([1e-12, 1e12, 1.0, 1e6])
    objective.X = objective.X * units
    theta = np.zeros(objective.shape)
    A, G = objective.factors(theta)
    units = np.append(units, 1.0)
    matrix = np.kron(A, G / units / units[:, None]) + np.kron(
        np.eye(4), np.diag(l2 * np.append(units[:4] ** -2.0, 0))
    )
    v = rng.standard_normal(objective.shape)
    v -= v.mean(axis=1, keepdims=True)
    u = kronecker_solve(objective, theta)(units[:, None] * v)
    # Columns without a diagonal of ones differ by 1e48.
    scale = np.sqrt(matrix.diagonal())
    product = matrix @ (u * units[:, None]).T.ravel()
    np.testing.assert_allclose(
        product / scale, v.T.ravel() / scale, rtol=0, atol=1e-9 * np.abs(v.T.ravel() / scale).max()
    )


@pytest.mark.parametrize("seed", range(3))
def test_means_that_round_to_a_negative_eigenvalue(seed):
    """In float32 squares of columns that are all but constant have eigenvalues below zero, by some eps a row."""
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((500, 8)) + 1e6).astype(np.float32)
    objective = LogisticObjective(X, rng.integers(0, 5, 500), 5, None, l2=0.0, intercept=1.0)
    gradient = objective(np.zeros(objective.shape))[1]
    direction = kronecker_solve(objective, np.zeros(objective.shape))(gradient)
    assert np.isfinite(direction).all() and np.vdot(direction, gradient) > 0


def test_a_hessian_that_overflows_in_float32_is_one_of_float64(rng):
    X, y = classes(rng, 100, 3, 3)
    X[:, 1] *= 1e21
    options = {"solver": "newton-cholesky", "C": np.inf, "tol": 1e-4}
    expected = LogisticRegression(**options).fit(X, y).coef_
    coef = LogisticRegression(**options).fit(X.astype(np.float32), y).coef_
    np.testing.assert_allclose(coef * [1, 1e21, 1], expected * [1, 1e21, 1], rtol=0, atol=1e-3)


@pytest.mark.parametrize("solve", [dense_solve, kronecker_solve])
@pytest.mark.parametrize("k", [2, 3])
def test_columns_of_zeros_and_copies(rng, solve, k):
    X, y = classes(rng, 100, 3, k)
    X = np.c_[X, np.zeros(100), X[:, 0]]
    objective = LogisticObjective(X, y, k, None, l2=0.0, intercept=1.0)
    gradient = objective(np.zeros(objective.shape))[1]
    direction = solve(objective, np.zeros(objective.shape))(gradient)
    assert np.isfinite(direction).all() and np.vdot(direction, gradient) > 0


@pytest.mark.parametrize("p", [1, 5, 60])
def test_quadratics_with_l1(rng, p):
    A = rng.standard_normal((p + 2, p))
    H, c, l1 = A.T @ A, 5 * rng.standard_normal(p), rng.uniform(0, 8, p)
    l1[0] = 0.0
    u = minimize_quadratic(H, c, l1, np.zeros(p), 1e-11)
    assert violation(u, H @ u + c, l1).max() <= 1e-11
    start = rng.standard_normal(p)
    np.testing.assert_allclose(minimize_quadratic(H, c, l1, start, 1e-11), u, atol=1e-8)
    smooth = minimize_fista(
        lambda v: (0.5 * v @ H @ v + c @ v, H @ v + c), start, l1, tol=1e-9, max_iter=20_000
    )
    assert smooth.converged
    np.testing.assert_allclose(smooth.point, u, atol=1e-5)


# ------------------------------------------------------------------------------ weights, labels, input


@pytest.mark.parametrize("options", [{}, {"solver": "newton-cholesky"}, LASSO], ids=str)
@pytest.mark.parametrize("k", [2, 3])
def test_weights_are_repetitions(rng, options, k):
    X, y = classes(rng, 60, 4, k)
    counts = rng.integers(0, 4, 60)
    counts[:k] = 1
    weighted = LogisticRegression(tol=1e-10, **options).fit(X, y, counts)
    repeated = LogisticRegression(tol=1e-10, **options).fit(np.repeat(X, counts, 0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=0, atol=1e-7)


def test_coefficients_that_were_set_by_hand(rng):
    """Models work with attributes set by hand, as scikit-learn's LogisticRegressionCV does to score its path."""
    X, y = classes(rng, 80, 4, 2)
    fitted = LogisticRegression().fit(X, y)
    made = LogisticRegression()
    made.classes_, made.coef_, made.intercept_ = fitted.classes_, fitted.coef_, fitted.intercept_
    np.testing.assert_array_equal(made.decision_function(X), fitted.decision_function(X))
    np.testing.assert_array_equal(made.predict(X), fitted.predict(X))


def test_class_weights(rng):
    X, y = classes(rng, 80, 4, 3)
    labels = np.array(["a", "b", "c"])[y]
    weights = {"a": 2.0, "c": 0.5}
    s = rng.uniform(0.5, 2.0, 80)
    by_class = LogisticRegression(class_weight=weights, tol=1e-9).fit(X, labels, s)
    by_row = LogisticRegression(tol=1e-9).fit(X, labels, s * np.array([2.0, 1.0, 0.5])[y])
    np.testing.assert_allclose(by_class.coef_, by_row.coef_, rtol=0, atol=1e-8)
    balanced = LogisticRegression(class_weight="balanced", tol=1e-9).fit(X, labels, s)
    totals = np.bincount(y, s)
    by_row = LogisticRegression(tol=1e-9).fit(X, labels, s * (s.sum() / (3 * totals))[y])
    np.testing.assert_allclose(balanced.coef_, by_row.coef_, rtol=0, atol=1e-8)
    for bad, text in (
        ({"d": 1.0}, "has a weight for 'd'"),
        ({"a": -1.0}, "of 'a' must be finite and not negative"),
        ({"a": "2"}, "of 'a' must be finite and not negative, got '2'"),
    ):
        with pytest.raises(ValueError, match=rf"^\[LogisticRegression\] class_weight .*{text}"):
            LogisticRegression(class_weight=bad).fit(X, labels)


def test_predictions(rng):
    X, y = classes(rng, 90, 4, 2)
    labels = np.array(["no", "yes"])[y]
    model = LogisticRegression().fit(X, labels)
    z = model.decision_function(X)
    np.testing.assert_allclose(z, X @ model.coef_[0] + model.intercept_, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), np.where(z > 0, "yes", "no"))
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-z)), rtol=1e-12)
    assert model.predict_proba(X[:1]).shape == (1, 2)
    # The logarithm of a probability that underflows is finite.
    np.testing.assert_allclose(
        model.predict_log_proba(X * 1e5).min(1), -np.abs(X * 1e5 @ model.coef_[0] + model.intercept_)
    )
    sparse = LogisticRegression(**LASSO, C=0.1).fit(X, labels)
    expected = sparse.decision_function(X)
    assert scipy.sparse.issparse(sparse.sparsify().coef_)
    np.testing.assert_allclose(sparse.decision_function(X), expected, rtol=1e-12)
    np.testing.assert_allclose(sparse.decision_function(scipy.sparse.csr_array(X)), expected, rtol=1e-12)
    assert isinstance(sparse.densify().coef_, np.ndarray)


@pytest.mark.parametrize("options", [{}, {"solver": "newton-cholesky"}, LASSO], ids=str)
@pytest.mark.parametrize("k", [2, 3])
def test_sparse(rng, options, k):
    X, y = classes(rng, 200, 5, k)
    X[rng.random(X.shape) < 0.6] = 0.0
    s = rng.uniform(0.5, 2.0, 200)
    dense = LogisticRegression(tol=1e-9, **options).fit(X, y, s)
    model = LogisticRegression(tol=1e-9, **options).fit(scipy.sparse.coo_array(X), y, s)
    np.testing.assert_allclose(model.coef_, dense.coef_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        model.predict_proba(scipy.sparse.csc_array(X)), dense.predict_proba(X), atol=1e-6
    )


def test_a_warm_start_begins_at_the_last_solution(rng):
    X, y = classes(rng, 200, 5, 3)
    for options in ({}, {"solver": "newton-cg"}, LASSO):
        model = LogisticRegression(warm_start=True, tol=1e-7, **options).fit(X, y)
        assert model.n_iter_[0] > 0
        assert model.fit(X, y).n_iter_[0] == 0
    with pytest.raises(ValueError, match="warm_start needs as many features and classes"):
        model.fit(X[:, :4], y)


def test_too_few_iterations(rng, capsys):
    X, y = classes(rng, 200, 5, 3)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 1 iteration"):
        LogisticRegression(max_iter=1, tol=1e-9, verbose=1).fit(X, y)
    assert capsys.readouterr().out.count("\n") == 2
    LogisticRegression().fit(X, y)
    assert capsys.readouterr().out == ""


def test_bad_input(rng):
    X, y = classes(rng, 40, 3, 2)
    fit = LogisticRegression().fit
    for bad in (np.nan, np.inf, -np.inf):
        wrong = X.copy()
        wrong[7, 2] = bad
        for options in CHECKED:
            with pytest.raises(ValueError, match=rf"^\[LogisticRegression\] X is {bad} at row 7, column 2"):
                LogisticRegression(**options).fit(wrong, y)
    with pytest.raises(ValueError, match="only one class"):
        fit(X, np.zeros(40))
    with pytest.raises(ValueError, match="Unknown label type"):
        fit(X, rng.standard_normal(40))
    with pytest.raises(ValueError, match=r"^\[LogisticRegression\] .*[Nn]egative"):
        fit(X, y, np.r_[-1.0, np.ones(39)])
    with pytest.raises(ValueError, match="does not support multiclass"):
        LogisticRegression(solver="liblinear").fit(X, np.arange(40) % 3)
    with pytest.raises(ValueError, match="supports only 'l2' or None penalties"):
        LogisticRegression(l1_ratio=1.0).fit(X, y)


# ----------------------------------------------------------------------------- scales, and claims of convergence


@pytest.mark.parametrize("solver", ["lbfgs", "natural", "saga"])
@pytest.mark.parametrize("n", [300, 20_000])
def test_units_and_offsets_of_columns_do_not_matter(rng, dtype, solver, n):
    """Columns with scales and offsets of years, prices and small units give the same accuracy as standardised ones."""
    Z = rng.standard_normal((n, 4))
    y = np.digitize(Z @ [1.0, 1.0, 0.0, 0.5] + 0.3 * rng.standard_normal(n), [-0.7, 0.7])
    moved = (Z * [5.0, 3e4, 1.0, 1e-6] + [2000.0, 1e6, 0.0, 0.0]).astype(dtype)
    plain, model = (
        LogisticRegression(solver=solver, C=np.inf, random_state=0).fit(X, y)
        for X in (Z.astype(dtype), moved)
    )
    assert abs(model.score(moved, y) - plain.score(Z.astype(dtype), y)) < 0.02


@pytest.mark.parametrize("solver", ["lbfgs", "natural", "saga"])
@pytest.mark.parametrize("k", [2, 3])
def test_convergence_is_claimed_of_what_the_gradient_shows(k, solver):
    """In a balanced design only the gradient of a column with a tiny scale is non-zero at the start."""
    Z = np.array(list(itertools.product([-1.0, 0.0, 1.0], repeat=3)) * 6)
    y = (Z[:, 0] + 1).astype(int) % k
    y[::7] = (y[::7] + 1) % k
    X = np.c_[1e-9 * Z[:, 0], Z[:, 1:]]
    model = LogisticRegression(solver=solver, C=np.inf).fit(X, y)
    plain = LogisticRegression(solver=solver, C=np.inf).fit(Z, y)
    assert model.n_iter_[0] > 0
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(Z), rtol=0, atol=1e-2)


@pytest.mark.parametrize("options", [{}, {"solver": "newton-cholesky"}, LASSO, {"solver": "batch"}], ids=str)
@pytest.mark.parametrize("k", [2, 3])
def test_a_gradient_that_rounding_hides_is_no_convergence(rng, k, options):
    """In float32 without an intercept, rounding at a column mean of 1e7 hides the gradient."""
    X, y = classes(rng, 200, 3, k)
    X = np.c_[1e7 + X[:, :1], 1e7 + X[:, 1:2], X[:, 2:]].astype(np.float32)
    with pytest.warns(
        ConvergenceWarning, match="rounding keeps the gradient above tol|did not converge|max_iter"
    ):
        LogisticRegression(fit_intercept=False, tol=1e-6, **options).fit(X, y)

"""Batch, mini-batch and stochastic gradient descent on linear models: the exact minimum, and documented rules."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse
from linear_models import classes, least_squares, logistic_violation
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import estimator_checks_generator

import steepest
from steepest.linear_model import LinearRegression, LogisticRegression
from steepest.linear_model.solvers.batch_modes import BATCH_MODE_PARAMETERS, BATCH_MODES
from steepest.training.sampling import draw_by_weight

# These checks expect a tolerance of 1e-7, but fits with different sample orders agree only up to `tol`.
EQUAL_UP_TO_TOL = {
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
}
CHECKED = [
    LinearRegression(solver="batch"),
    LinearRegression(solver="stochastic"),
    LogisticRegression(solver="batch"),
    LogisticRegression(solver="mini-batch"),
]
TOL = {np.float32: 1e-4, np.float64: 1e-7}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        case
        for estimator in CHECKED
        for case in estimator_checks_generator(estimator)
        if estimator.solver == "batch" or case[1].func.__name__ not in EQUAL_UP_TO_TOL
    ],
    ids=lambda value: value.func.__name__ if hasattr(value, "func") else repr(value),
)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(params=BATCH_MODES)
def batch_mode(request):
    return request.param


def regression(rng, n, d, m, dtype=np.float64):
    X = rng.standard_normal((n, d)).astype(dtype)
    return X, (X @ rng.standard_normal((d, m)) + 0.5 * rng.standard_normal((n, m)) + 3).astype(dtype)


def gradient(X, Y, coef, intercept, s, alpha):
    """Infinity norm of the gradient of the mean objective, divided by the standard deviation of the targets."""
    residual = s[:, None] * (X @ coef.T + intercept - Y).astype(np.float64)
    deviation = np.sqrt(np.average((Y - np.average(Y, 0, s)) ** 2, 0, s).sum())
    parts = residual.T @ X + alpha * coef, residual.sum(0)
    return max(np.abs(part).max() for part in parts) / s.sum() / deviation


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("alpha", [0.0, 20.0])
def test_least_squares(rng, dtype, batch_mode, alpha, m):
    X, Y = regression(rng, 150, 5, m, dtype)
    for s in (None, rng.uniform(0.2, 2.0, 150).astype(dtype)):
        tol = TOL[dtype]
        model = LinearRegression(solver=batch_mode, alpha=alpha, tol=tol, random_state=0).fit(X, Y, s)
        weights = np.ones(150) if s is None else s.astype(np.float64)
        rounding = 20 * np.finfo(dtype).eps
        assert gradient(X, Y, model.coef_, model.intercept_, weights, alpha) < tol + rounding
        # The smallest eigenvalue of X^T X / n is above 1/4.
        coef, intercept = least_squares(X, Y, s, True, alpha)
        bound = 4 * np.sqrt(6) * (tol + rounding) * np.sqrt(Y.var(0).sum() * 2)
        np.testing.assert_allclose(model.coef_, coef.T, rtol=0, atol=bound)
        np.testing.assert_allclose(model.intercept_, intercept, rtol=0, atol=bound)
        assert model.coef_.dtype == dtype
        assert model.n_iter_ == len(model.loss_curve_) > 1
        assert model.loss_curve_[-1] < model.loss_curve_[0]


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("l1_ratio", [0.0, 1.0, 0.5])
def test_logistic_and_softmax_regression(rng, dtype, batch_mode, l1_ratio, k):
    X, y = classes(rng, 200, 5, k, dtype)
    X /= X.std(0)
    s = rng.uniform(0.2, 2.0, 200).astype(dtype)
    penalty = {"C": 0.1, "l1_ratio": l1_ratio}
    for weights in (None, s):
        tol = TOL[dtype]
        model = LogisticRegression(solver=batch_mode, tol=tol, max_iter=2000, random_state=0, **penalty)
        model.fit(X, y, weights)
        rounding = 20 * np.finfo(dtype).eps
        assert logistic_violation(model, X, y, sample_weight=weights, **penalty) < tol + rounding
        exact = LogisticRegression(solver="saga", tol=1e-10, **penalty).fit(X.astype(np.float64), y, weights)
        assert np.array_equal(model.coef_ == 0, exact.coef_ == 0)
        assert model.n_iter_[0] == len(model.loss_curve_)


def test_class_weights_are_part_of_the_objective(rng, batch_mode):
    X, y = classes(rng, 200, 4, 3)
    options = {"class_weight": {0: 0.3, 1: 2.0, 2: 1.0}, "tol": 1e-6, "C": 0.1}
    model = LogisticRegression(solver=batch_mode, max_iter=2000, random_state=0, **options).fit(X, y)
    weights = np.array([0.3, 2.0, 1.0])[y]
    assert logistic_violation(model, X, y, C=0.1, sample_weight=weights) < 1e-6 + 1e-13


@pytest.mark.parametrize("rule", sorted(BATCH_MODE_PARAMETERS["rule"][0].options))
def test_every_rule_finds_the_minimum(rng, batch_mode, rule):
    X, Y = regression(rng, 120, 3, 1)
    model = LinearRegression(solver=batch_mode, rule=rule, tol=1e-3, max_iter=3000, random_state=0).fit(X, Y)
    assert gradient(X, Y, model.coef_, model.intercept_, np.ones(120), 0.0) < 1e-3 + 1e-13


def test_whole_weights_are_repeated_rows(rng, batch_mode):
    X, Y = regression(rng, 80, 3, 1)
    repeats = rng.integers(0, 3, 80)
    options = {"shuffle": False, "learning_rate_init": 0.05, "batch_size": 7, "max_iter": 3}
    model = LinearRegression(solver=batch_mode, **options)
    with pytest.warns(ConvergenceWarning):
        weighted = model.fit(X, Y, repeats).coef_
    with pytest.warns(ConvergenceWarning):
        repeated = model.fit(X.repeat(repeats, 0), Y.repeat(repeats, 0)).coef_
    # Both fits take the same steps.
    np.testing.assert_allclose(weighted, repeated, rtol=0, atol=1e-12)


def test_visits_are_the_weights_on_average(rng):
    s = rng.uniform(0, 3, 50)
    s[:3] = 0
    counts = np.zeros((2000, 50))
    for drawn in counts:
        np.add.at(drawn, draw_by_weight(s, rng), 1)
    expected = 50 * s / s.sum()
    assert (np.abs(counts - expected) < 1).all() and (counts.sum(1) == 50).all()
    # Each count takes one of two values, so its standard deviation is at most 1/2; the bound is five standard errors.
    np.testing.assert_allclose(counts.mean(0), expected, rtol=0, atol=5 * 0.5 / np.sqrt(2000))


def test_sparse_inputs_take_the_same_steps(rng, batch_mode):
    X, Y = regression(rng, 60, 4, 2)
    X[np.abs(X) < 0.7] = 0
    options = {"solver": batch_mode, "random_state": 0, "tol": 1e-8}
    dense, sparse = (LinearRegression(**options).fit(given, Y) for given in (X, scipy.sparse.csr_array(X)))
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=0, atol=1e-12)
    ids = (Y[:, 0] > 3).astype(int)
    options["max_iter"] = 1000
    dense, sparse = (
        LogisticRegression(**options).fit(given, ids) for given in (X, scipy.sparse.csr_array(X))
    )
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=0, atol=1e-12)


def test_without_an_intercept(rng, batch_mode):
    X, Y = regression(rng, 60, 3, 1)
    model = LinearRegression(solver=batch_mode, fit_intercept=False, tol=1e-9, random_state=0).fit(X, Y[:, 0])
    np.testing.assert_allclose(
        model.coef_, least_squares(X, Y, fit_intercept=False)[0][:, 0], rtol=0, atol=1e-7
    )
    assert model.intercept_ == 0.0


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_a_rate_that_is_too_large(rng, batch_mode, rate):
    X, Y = regression(rng, 60, 3, 1)
    model = LinearRegression(solver=batch_mode, rule="sgd", learning_rate_init=rate, random_state=0)
    with pytest.raises(steepest.DivergenceError, match=r"\[LinearRegression\].*learning_rate_init"):
        model.fit(X, Y)
    assert np.isfinite(model.coef_).all() and np.isfinite(model.predict(X[:1])).any()


def test_too_few_epochs(rng, batch_mode):
    X, Y = regression(rng, 60, 3, 1)
    for model, y in ((LinearRegression, Y), (LogisticRegression, Y[:, 0] > 3)):
        with pytest.warns(ConvergenceWarning, match="max_iter=2"):
            fitted = model(solver=batch_mode, tol=1e-12, max_iter=2, random_state=0).fit(X, y)
        assert len(fitted.loss_curve_) == 2
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model(solver=batch_mode, tol=1e-3, max_iter=500, random_state=0).fit(X, y)


def test_the_same_seed_gives_the_same_fit_and_another_the_same_minimum(rng, batch_mode):
    X, Y = regression(rng, 60, 3, 1)
    first, again, other = (
        LinearRegression(solver=batch_mode, random_state=seed, tol=1e-8).fit(X, Y) for seed in (0, 0, 1)
    )
    assert np.array_equal(first.coef_, again.coef_) and first.loss_curve_ == again.loss_curve_
    np.testing.assert_allclose(first.coef_, other.coef_, rtol=0, atol=1e-6)


def test_a_warm_start_begins_at_the_last_solution(rng, batch_mode):
    X, y = classes(rng, 200, 4, 3)
    model = LogisticRegression(
        solver=batch_mode, warm_start=True, max_iter=2000, tol=1e-5, random_state=0
    ).fit(X, y)
    cold = model.n_iter_[0]
    model.set_params(tol=9e-6).fit(X, y)
    assert model.n_iter_[0] < cold


def test_what_is_not_offered(rng):
    X, Y = regression(rng, 30, 3, 1)
    with pytest.raises(ValueError, match="positive=True is for the closed form"):
        LinearRegression(solver="batch", positive=True).fit(X, Y)
    with pytest.raises(
        ValueError, match=r"\[LogisticRegression\] an L1 penalty requires a rule .* got 'adam'"
    ):
        LogisticRegression(solver="batch", l1_ratio=1.0, rule="adam").fit(X, Y[:, 0] > 3)
    X[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2, column 1"):
        LinearRegression(solver="stochastic").fit(X, Y)


def test_the_closed_form_leaves_no_curve(rng):
    X, Y = regression(rng, 30, 3, 1)
    model = LinearRegression(solver="batch").fit(X, Y)
    assert not hasattr(model, "rank_")
    model.set_params(solver="closed").fit(X, Y)
    assert model.n_iter_ == 1 and model.rank_ == 3 and not hasattr(model, "loss_curve_")

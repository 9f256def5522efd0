"""Linear models with extreme scales and offsets of the columns agree with exact solutions, or warn with a reason.

Tests of other estimators may use `grid` and `silent` too.
"""

from __future__ import annotations

import functools
import itertools
import warnings

import exact_linear_models as exact
import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from steepest import DivergenceError
from steepest.linear_model import LinearRegression, LogisticRegression, SGDClassifier, SGDRegressor

# Standard deviation of the columns; "mixed" has columns from 1e-12 to 1e12.
SCALES = [1e-12, 1.0, 1e12, "mixed"]
# Means of the columns, in standard deviations.
OFFSETS = [0.0, 1e2, 1e5, 1e9]
SHAPES = {"tall": (60, 5), "wide": (8, 12)}
# Error bound in units of eps · (X, y) · condition number: sums of about ten terms and a few operations on each.
FACTOR = 64.0

grid = pytest.mark.parametrize(
    ("scale", "offset", "shape"),
    [(scale, offset, shape) for scale in SCALES for offset in OFFSETS for shape in SHAPES],
    ids=str,
)


@functools.cache
def data(scale, offset, shape, k, dtype_name):
    """X (n, d), rounded to a dtype, and ids of k overlapping classes; the first k rows have all classes."""
    n, d = SHAPES[shape]
    rng = np.random.default_rng([n, k])
    Z = rng.standard_normal((n, d))
    scores = Z[:, :5] @ rng.standard_normal((5, k)) + rng.gumbel(size=(n, k))
    ids = scores.argmax(axis=1)
    ids[:k] = np.arange(k)
    units = np.geomspace(1e-12, 1e12, d)[rng.permutation(d)] if scale == "mixed" else np.full(d, scale)
    return ((Z + offset) * units).astype(dtype_name), ids


def silent(fit):
    """Return the fitted model and its warnings, all of which must be ConvergenceWarning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit()
    assert all(issubclass(w.category, ConvergenceWarning) for w in caught), [str(w.message) for w in caught]
    return model, [str(w.message) for w in caught]


def condition(Z):
    """Condition number of a standardised X without its zero singular values."""
    singular = np.linalg.svd(Z.astype(np.float64), compute_uv=False)
    singular = singular[singular > 1e-10 * singular[0]] if singular[0] > 0 else np.ones(1)
    return singular[0] / singular[-1]


@functools.cache
def least_squares(scale, offset, shape, dtype_name, alpha):
    X, ids = data(scale, offset, shape, 5, dtype_name)
    Y = np.stack([ids, ids**2], axis=1).astype(dtype_name)
    Z, _, spread = exact.standardised(X)
    return X, Y, *exact.least_squares(X, Y, alpha), spread.astype(np.float64), condition(Z)


@grid
def test_least_squares(scale, offset, shape, dtype):
    for alpha in (0.0, 1.0):
        X, Y, coef, _, spread, kappa = least_squares(scale, offset, shape, np.dtype(dtype).name, alpha)
        # Backward stable in each column: a few eps of X and Y times the condition number of the standardised X, squared
        # if residuals are not zero.
        eps = FACTOR * np.finfo(dtype).eps
        size = np.abs(Y).max() + (spread[:, None] * np.abs(coef)).max()
        for given in (X, scipy.sparse.csr_array(X)):
            model, warned = silent(functools.partial(LinearRegression(alpha=alpha).fit, given, Y))
            assert not warned
            error = spread[:, None] * np.abs(model.coef_.T.astype(np.float64) - coef)
            assert error.max() <= eps * kappa * (kappa if shape == "tall" else 1) * size


@grid
def test_least_squares_without_negative_coefficients(scale, offset, shape, dtype):
    """Karush–Kuhn–Tucker conditions on standardised columns: gradient 0, or not negative at coefficients of 0."""
    X, ids = data(scale, offset, shape, 5, np.dtype(dtype).name)
    Z, _, spread = exact.standardised(X)
    target = (ids - ids.astype(exact.LONG).mean()).astype(exact.LONG)
    model, warned = silent(functools.partial(LinearRegression(positive=True).fit, X, ids.astype(dtype)))
    assert not warned
    assert (model.coef_ >= 0).all()
    gradient = Z.T @ (Z @ (model.coef_ * spread) - target) / len(X)
    rounding = FACTOR * np.finfo(dtype).eps * (1 + np.abs(model.coef_ * spread).sum()) * np.abs(target).max()
    assert (np.abs(gradient[model.coef_ > 0]) <= rounding).all()
    assert (gradient >= -rounding).all()


@functools.cache
def logistic(scale, offset, shape, k, dtype_name, C):
    X, ids = data(scale, offset, shape, k, dtype_name)
    spread = exact.standardised(X)[2].astype(np.float64)
    return X, ids, *exact.logistic_regression(X, ids, k, C), spread


def converged_to(tol, spread, dtype):
    """Largest gradient, by standardised features and the intercept, that a fit without a warning may leave."""
    unit = np.append(np.where(spread > 0, spread, 1.0), 1.0)
    return np.maximum(tol * np.minimum(unit, 1.0), FACTOR * np.finfo(dtype).eps * unit) / unit


@pytest.mark.parametrize("k", [2, 5])
@grid
def test_logistic_regression(scale, offset, shape, dtype, k):
    # Without a penalty the fit does not depend on scales. With fewer rows than columns a penalty is needed, relative to
    # the largest scale.
    C = np.inf if shape == "tall" else (1e12 if scale == "mixed" else scale) ** -2.0
    X, ids, coef, _, least, spread = logistic(scale, offset, shape, k, np.dtype(dtype).name, C)
    left = converged_to(1e-6, spread, dtype)
    rounding = FACTOR * np.finfo(dtype).eps * (1 + np.abs(coef * spread).max())
    for solver, given in itertools.product(("lbfgs", "newton-cholesky"), (X, scipy.sparse.csr_array(X))):
        model = LogisticRegression(solver=solver, C=C, tol=1e-6, random_state=0)
        fitted, warned = silent(functools.partial(model.fit, given, ids))
        assert not warned
        error = np.abs((fitted.coef_ - coef) * spread).astype(np.float64)
        assert error.max() <= (np.linalg.norm(left) * np.sqrt(len(coef)) + rounding) / least


@pytest.mark.parametrize("tol", [1e-4, 1e-6, 1e-10, 0.0], ids=str)
@pytest.mark.parametrize("offset", [10.0, 30.0, 300.0, 1000.0, 5000.0], ids=str)
@pytest.mark.parametrize("scale", [1.0, "mixed"])
def test_logistic_regression_at_moderate_offsets(scale, offset, tol, dtype):
    """Whatever is asked of the gradient: the rounding of scores stays below it, and so does that of a line search."""
    for k in (2, 3, 5):
        X, ids, coef, _, least, spread = logistic(scale, offset, "tall", k, np.dtype(dtype).name, np.inf)
        left = np.linalg.norm(converged_to(tol, spread, dtype)) * np.sqrt(len(coef))
        rounding = FACTOR * np.finfo(dtype).eps * (1 + np.abs(coef * spread).max())
        for solver, given in itertools.product(("lbfgs", "newton-cholesky"), (X, scipy.sparse.csr_array(X))):
            model = LogisticRegression(solver=solver, C=np.inf, tol=tol, random_state=0)
            fitted, warned = silent(functools.partial(model.fit, given, ids))
            assert not warned
            assert (np.abs((fitted.coef_ - coef) * spread) <= (left + rounding) / least).all()


def test_a_gradient_that_rounding_hides_is_as_small_as_rounding_leaves_it(dtype):
    """Without an intercept no centre can be taken off: it warns, but where the gradient is that of rounded scores."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        Z, offset = rng.standard_normal((100, 4)), 1e6 if dtype == np.float64 else 1e2
        ids = (Z @ rng.standard_normal((4, 3)) + rng.gumbel(size=(100, 3))).argmax(axis=1)
        X = (Z + offset).astype(dtype)
        model, warned = silent(
            functools.partial(LogisticRegression(fit_intercept=False, tol=1e-8).fit, X, ids)
        )
        assert all("rounding keeps the gradient above" in text for text in warned)
        assert warned
        weights = model.coef_.astype(exact.LONG).T
        target = (ids[:, None] == np.arange(3)).astype(exact.LONG)
        gradient = X.T.astype(exact.LONG) @ (exact.probabilities(X @ weights) - target) + weights
        terms = (np.abs(X) @ np.abs(weights)).max()
        assert np.abs(gradient).max() / len(X) <= 4 * np.finfo(dtype).eps * np.abs(X).max() * terms


def gradient_of(model, Z, spread, ids, k):
    """Gradient of a classifier's mean loss with respect to the standardised coefficients, in long double.

    The function refits the intercept, since its rounding error, relative to the large offsets, is not an error of the
    coefficients.
    """
    outputs = 1 if k == 2 else k
    target = (ids[:, None] == (np.arange(k) if k > 2 else [1])).astype(exact.LONG)
    scores, shift = Z @ (model.coef_ * spread).T, np.zeros(outputs, exact.LONG)
    for _ in range(30):
        p = exact.probabilities(scores + shift)
        slope = (p - target).mean(axis=0)
        if np.abs(slope).max() < 1e-16:
            break
        H = exact.logistic_hessian(np.ones((len(Z), 1), exact.LONG), p, np.zeros(1, exact.LONG))
        shift -= np.linalg.lstsq(H.astype(np.float64), slope.astype(np.float64), rcond=1e-10)[0]
    return ((p - target).T @ Z) / len(Z)


@grid
def test_l1_logistic_regression(scale, offset, shape, dtype):
    """The gradient of each coefficient balances the penalty, or is smaller if the coefficient is 0."""
    k = 5 if dtype == np.float64 else 2
    unit = 1e12 if scale == "mixed" else scale
    X, ids = data(scale, offset, shape, k, np.dtype(dtype).name)
    Z, _, spread = exact.standardised(X)
    C = 20.0 / unit
    penalty = 1.0 / (C * len(X) * np.where(spread > 0, spread, 1.0))
    model = LogisticRegression(l1_ratio=1.0, solver="saga", C=C, tol=1e-6, max_iter=50, random_state=0)
    fitted, warned = silent(functools.partial(model.fit, X, ids))
    gradient = gradient_of(fitted, Z, spread, ids, k)
    zero = fitted.coef_ == 0
    beyond = np.where(zero, np.abs(gradient) - penalty, np.abs(gradient + np.sign(fitted.coef_) * penalty))
    rounding = FACTOR * np.finfo(dtype).eps * (1 + np.abs(fitted.coef_ * spread).max())
    assert warned or (beyond[:, spread > 0] <= 4e-6 + rounding).all()
    assert all("rounding" in text or "max_iter" in text for text in warned)
    assert not (warned and scale == 1.0 and offset <= 1e2)


@pytest.mark.parametrize("solver", ["batch", "stochastic"])
@grid
def test_gradient_descent(scale, offset, shape, dtype, solver):
    X, Y, coef, _, spread, kappa = least_squares(scale, offset, shape, np.dtype(dtype).name, 1.0)
    model = LinearRegression(alpha=1.0, solver=solver, max_iter=100, random_state=0)
    try:
        model, warned = silent(functools.partial(model.fit, X, Y))
    except DivergenceError as error:
        warned = [str(error)]
    assert all("scale the inputs" in text for text in warned)
    if not warned:
        error = spread[:, None] * np.abs(model.coef_.T.astype(np.float64) - coef)
        # Each gradient component is within tol of the targets' deviation, and the curvature is at least kappa**-2.
        assert error.max() <= np.sqrt(X.shape[1]) * model.tol * kappa**2 * Y.std(axis=0).max()


@pytest.mark.parametrize("k", [2, 5])
@grid
def test_steps_of_single_samples(scale, offset, shape, dtype, k):
    """A fit that is worse than a constant prediction warns; an objective that stays at 1e60 has not converged."""
    X, ids = data(scale, offset, shape, k, np.dtype(dtype).name)
    share = np.bincount(ids).max() / len(ids)
    for model in (
        SGDClassifier(random_state=0),
        SGDClassifier("log_loss", random_state=0),
        SGDRegressor(random_state=0),
    ):
        try:
            fitted, warned = silent(functools.partial(model.fit, X, ids))
        except DivergenceError as error:
            warned = [str(error)]
        if any("Scal" in text for text in warned):
            continue
        if isinstance(model, SGDRegressor):
            assert ((fitted.predict(X).astype(np.float64) - ids) ** 2).mean() <= 2.0 * (
                1 + FACTOR * np.finfo(dtype).eps
            ) * (ids**2).mean()
        else:
            assert fitted.score(X, ids) >= share - 1e-9

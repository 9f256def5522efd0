"""Linear models whatever the units and offsets of the columns: they agree with exact solutions, or warn and say why.

`grid` and `silent` are for further estimators, too.
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

from steepest.linear_model import LinearRegression, LogisticRegression

# Units of the columns; "mixed" has all of them, from 1e-12 to 1e12.
SCALES = [1e-12, 1.0, 1e12, "mixed"]
# Means of the columns, in units of their spreads.
OFFSETS = [0.0, 1e2, 1e5, 1e9]
SHAPES = {"tall": (60, 5), "wide": (8, 12)}
# Errors in units of the rounding of X and y times the condition: sums of some ten terms, and a few operations each.
FACTOR = 64.0

grid = pytest.mark.parametrize(
    ("scale", "offset", "shape"),
    [(scale, offset, shape) for scale in SCALES for offset in OFFSETS for shape in SHAPES],
    ids=str,
)


@functools.cache
def data(scale, offset, shape, k, dtype_name):
    """X of shape (n, d) in a dtype, as it is rounded there, and k overlapping classes, all among the first rows."""
    n, d = SHAPES[shape]
    rng = np.random.default_rng([n, k])
    Z = rng.standard_normal((n, d))
    scores = Z[:, :5] @ rng.standard_normal((5, k)) + rng.gumbel(size=(n, k))
    ids = scores.argmax(axis=1)
    ids[:k] = np.arange(k)
    units = np.geomspace(1e-12, 1e12, d)[rng.permutation(d)] if scale == "mixed" else np.full(d, scale)
    return ((Z + offset) * units).astype(dtype_name), ids


def silent(fit):
    """What a fit returns, and what it warns of: nothing, or why it did not converge."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit()
    assert all(issubclass(w.category, ConvergenceWarning) for w in caught), [str(w.message) for w in caught]
    return model, [str(w.message) for w in caught]


def condition(Z):
    """Condition of a standardised X, of the columns and rows that are independent."""
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
        # Backward stable in each column: the error of a few eps of X and Y, times the condition of the standardised X,
        # and once more times the condition where there are residuals.
        eps = FACTOR * np.finfo(dtype).eps
        size = np.abs(Y).max() + (spread[:, None] * np.abs(coef)).max()
        for given in (X, scipy.sparse.csr_array(X)):
            model, warned = silent(functools.partial(LinearRegression(alpha=alpha).fit, given, Y))
            assert not warned
            error = spread[:, None] * np.abs(model.coef_.T.astype(np.float64) - coef)
            assert error.max() <= eps * kappa * (kappa if shape == "tall" else 1) * size


@functools.cache
def logistic(scale, offset, shape, k, dtype_name, C):
    X, ids = data(scale, offset, shape, k, dtype_name)
    spread = exact.standardised(X)[2].astype(np.float64)
    return X, ids, *exact.logistic_regression(X, ids, k, C), spread


def converged_to(tol, spread, dtype):
    """The gradient by standardised features, and by the intercept, that a fit without a warning may leave."""
    unit = np.append(np.where(spread > 0, spread, 1.0), 1.0)
    return np.maximum(tol * np.minimum(unit, 1.0), FACTOR * np.finfo(dtype).eps * unit) / unit


@pytest.mark.parametrize("k", [2, 5])
@grid
def test_logistic_regression(scale, offset, shape, dtype, k):
    # Without a penalty, coefficients do not depend on units. Fewer rows than columns need one, in the largest units.
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

"""Classes with known covariances, and the formulas of linear discriminant analysis, for its tests."""

from __future__ import annotations

import numpy as np

SOLVERS = ("svd", "lsqr", "eigen")

# Fitted attributes that every solver sets.
FITTED = ("coef_", "intercept_", "means_", "priors_", "scalings_", "explained_variance_ratio_", "xbar_")


def data(rng, n=200, d=6, k=3, dtype=np.float64, offset=0.0):
    """Correlated samples of overlapping classes, of unequal sizes."""
    y = np.minimum(rng.integers(0, k + 1, n), k - 1)
    mixing = rng.standard_normal((d, d)) / np.sqrt(d) + np.eye(d)
    X = rng.standard_normal((k, d))[y] + rng.standard_normal((n, d)) @ mixing + offset
    return X.astype(dtype), y


def within(X, y, weight=None):
    """The maximum-likelihood within-class covariance and the class means, from the formulas."""
    X, weight = X.astype(np.float64), np.ones(len(X)) if weight is None else weight.astype(np.float64)
    means = np.stack([np.average(X[y == c], axis=0, weights=weight[y == c]) for c in np.unique(y)])
    deviations = X - means[y]
    return (weight[:, None] * deviations).T @ deviations / weight.sum(), means


def functions(W, means, priors):
    """Coefficients and intercepts of the discriminant functions, by solving linear equations."""
    coef = np.linalg.solve(W, means.T).T
    return coef, np.log(priors) - 0.5 * np.einsum("cj,cj->c", coef, means)


def centred(scores):
    return scores if scores.ndim == 1 else scores - scores.mean(axis=1, keepdims=True)


def wide(rng, n=40, d=90, k=3, dtype=np.float64):
    """Data with more features than samples and features of different scales."""
    y = np.arange(n) % k
    X = rng.standard_normal((k, d))[y] + rng.standard_normal((n, d)) @ (np.eye(d) + 0.2 * rng.random((d, d)))
    return (X * 10 ** rng.uniform(-1, 1, d) + 5).astype(dtype), y

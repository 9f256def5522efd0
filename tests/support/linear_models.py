"""Objectives of the linear models in plain float64 NumPy, and data for them."""

from __future__ import annotations

import numpy as np
import sklearn

SCIKIT_LEARN = tuple(int(part) for part in sklearn.__version__.split(".")[:2])


def least_squares(X, Y, sample_weight=None, fit_intercept=True, alpha=0.0):
    """Coefficients (d, m) and intercepts (m,) of the minimum-norm solution, from the SVD of the centred X."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    s = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    x_mean, y_mean = np.zeros(X.shape[1]), np.zeros(Y.shape[1])
    if fit_intercept:
        x_mean, y_mean = np.average(X, 0, s), np.average(Y, 0, s)
    root = np.sqrt(s)[:, None]
    u, singular, v = np.linalg.svd(root * (X - x_mean), full_matrices=False)
    kept = singular > 1e-9 * max(singular[0], 1.0)
    inverse = singular[kept] / (singular[kept] ** 2 + alpha)
    coef = v[kept].T @ (inverse[:, None] * (u[:, kept].T @ (root * (Y - y_mean))))
    return coef, y_mean - x_mean @ coef


def logistic_gradient(X, ids, coef, intercept, sample_weight=None):
    """Gradients of the summed loss of logistic (one row of coef) or softmax regression."""
    X, coef = X.astype(np.float64), coef.astype(np.float64)
    s = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    scores = X @ coef.T + intercept
    if len(coef) == 1:
        residual = 1 / (1 + np.exp(-scores)) - (ids == 1)[:, None]
    else:
        p = np.exp(scores - scores.max(1, keepdims=True))
        residual = p / p.sum(1, keepdims=True) - (ids[:, None] == np.arange(len(coef)))
    residual = s[:, None] * residual
    return residual.T @ X, residual.sum(0)


def logistic_violation(model, X, y, *, C=1.0, l1_ratio=0.0, sample_weight=None, scaled_intercept=None):
    """Infinity norm of the minimum-norm subgradient of the mean objective, which is 0 at the optimum."""
    ids = np.searchsorted(model.classes_, y)
    d_coef, d_intercept = logistic_gradient(X, ids, model.coef_, model.intercept_, sample_weight)
    l1, l2 = l1_ratio / C, (1 - l1_ratio) / C
    parts = [(model.coef_, d_coef, 1.0)]
    if scaled_intercept is not None:
        parts.append((model.intercept_ / scaled_intercept, d_intercept * scaled_intercept, 1.0))
    elif model.fit_intercept:
        parts.append((model.intercept_, d_intercept, 0.0))
    total = len(X) if sample_weight is None else sample_weight.sum()
    worst = 0.0
    for value, gradient, penalised in parts:
        value = value.astype(np.float64)
        gradient = gradient + penalised * l2 * value
        at_zero = np.maximum(np.abs(gradient) - penalised * l1, 0.0)
        elsewhere = np.abs(gradient + penalised * l1 * np.sign(value))
        worst = max(worst, np.where(value == 0.0, at_zero, elsewhere).max() / total)
    return worst


def classes(rng, n, d, k, dtype=np.float64, noise=1.0):
    """X and class ids of overlapping classes; every class occurs."""
    X = rng.standard_normal((n, d)) * np.geomspace(1, 3, d) + 0.5
    scores = (X - 0.5) @ rng.standard_normal((d, k)) / np.sqrt(d) + noise * rng.gumbel(size=(n, k))
    y = scores.argmax(1)
    y[:k] = np.arange(k)
    return X.astype(dtype), y

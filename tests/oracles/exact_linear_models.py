"""Exact linear models: least squares in fractions, logistic and softmax regression in long double.

They serve small problems whose columns have extreme scales and offsets, for which float64 is not accurate enough.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

LONG = np.longdouble


def _fractions(matrix):
    return [[Fraction(float(value)) for value in row] for row in np.atleast_2d(matrix)]


def _product(A, B):
    """The matrix product A B; matrices are lists of rows."""
    columns = list(zip(*B, strict=True))
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in A]


def _solve(A, B):
    """The exact solution of A X = B by Gauss–Jordan elimination, for a non-singular A."""
    rows = [[*a, *b] for a, b in zip(A, B, strict=True)]
    for i in range(len(rows)):
        pivot = next(r for r in range(i, len(rows)) if rows[r][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for r in range(len(rows)):
            if r != i and rows[r][i] != 0:
                factor = rows[r][i]
                rows[r] = [value - factor * base for value, base in zip(rows[r], rows[i], strict=True)]
    return [row[len(A) :] for row in rows]


def least_squares(X, Y, alpha=0.0):
    """Coefficients (d, m) and intercepts (m,) of the minimum-norm solution of ``min |Y - X W - b|^2 + alpha |W|^2``.

    Constant columns get zero coefficients. The other columns must be linearly independent, or the rows must, or alpha
    must not be zero. With fewer rows than columns, ``W = X^T u`` with ``X W + b + alpha u = Y`` and ``sum(u) = 0``.
    """
    kept = np.flatnonzero(np.ptp(X, axis=0))
    rows, targets, ridge = _fractions(X[:, kept]), _fractions(Y), Fraction(float(alpha))
    transposed = [list(column) for column in zip(*rows, strict=True)]
    n, d, m = len(X), len(kept), Y.shape[1]
    coef = np.zeros((X.shape[1], m))
    if d == 0:
        return coef, np.array([float(sum(c) / n) for c in zip(*targets, strict=True)])
    if n > d:
        with_ones = [[*row, Fraction(1)] for row in rows]
        columns = [list(column) for column in zip(*with_ones, strict=True)]
        gram = _product(columns, with_ones)
        for j in range(d):
            gram[j][j] += ridge
        solution = _solve(gram, _product(columns, targets))
    else:
        gram = [[*row, Fraction(1)] for row in _product(rows, transposed)]
        for i in range(n):
            gram[i][i] += ridge
        dual = _solve([*gram, [Fraction(1)] * n + [Fraction(0)]], [*targets, [Fraction(0)] * m])
        solution = [*_product(transposed, dual[:n]), dual[n]]
    coef[kept] = [[float(value) for value in row] for row in solution[:d]]
    return coef, np.array([float(value) for value in solution[d]])


def _cholesky_solve(A, b):
    """The solution of A x = b for a positive definite A, in long double."""
    n, L, x = len(A), np.zeros_like(A), b.copy()
    for j in range(n):
        column = A[j:, j] - L[j:, :j] @ L[j, :j]
        L[j:, j] = column / np.sqrt(column[0])
    for i in range(n):
        x[i] = (x[i] - L[i, :i] @ x[:i]) / L[i, i]
    for i in reversed(range(n)):
        x[i] = (x[i] - L[i + 1 :, i] @ x[i + 1 :]) / L[i, i]
    return x


def standardised(X):
    """(X - means) / deviations in long double, the means and the deviations; a deviation of 0 divides as 1."""
    X = X.astype(LONG)
    mean = X.mean(axis=0)
    mean = np.where(np.ptp(X, axis=0) == 0, X[0], mean)
    deviation = np.sqrt(((X - mean) ** 2).mean(axis=0))
    divisor = np.where(deviation > 0, deviation, LONG(1))
    return (X - mean) / divisor, mean, deviation


def probabilities(scores):
    """Softmax of the rows, or the logistic function of a single column."""
    if scores.shape[1] == 1:
        scores = np.concatenate([0 * scores, scores], axis=1)
        return probabilities(scores)[:, 1:]
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def logistic_hessian(Z, p, penalty):
    """The Hessian (k d, k d) of the mean loss, ordered by class, then column of Z; `penalty` has one item a column."""
    (n, d), k = Z.shape, p.shape[1]
    H = np.zeros((k, d, k, d), LONG)
    for a in range(k):
        for b in range(k):
            weight = p[:, a] * ((a == b) - p[:, b]) / n
            H[a, :, b] = (Z * weight[:, None]).T @ Z
    H = H.reshape(k * d, k * d)
    H[np.diag_indices(k * d)] += np.tile(penalty, k)
    return H


def logistic_regression(X, ids, k, C):
    """Coefficients (k, d) and intercepts (k,), one row for two classes, that minimise ``C sum loss + |W|^2 / 2``.

    Uses Newton's method with step halving on standardised columns. Returns them in long double, and a lower bound of
    the smallest eigenvalue of the Hessian of the standardised problem.
    """
    Z, mean, deviation = standardised(X)
    n, outputs = len(X), 1 if k == 2 else k
    Z = np.concatenate([Z, np.ones((n, 1), LONG)], axis=1)
    unit = np.where(deviation > 0, deviation, LONG(1))
    penalty = np.append(LONG(1) / (LONG(C) * n) / unit**2, LONG(0))
    target = (ids[:, None] == (np.arange(k) if k > 2 else [1])).astype(LONG)
    theta = np.zeros((Z.shape[1], outputs), LONG)

    def value(theta):
        scores = Z @ theta
        if outputs == 1:
            loss = np.logaddexp(LONG(0), scores[:, 0]) - target[:, 0] * scores[:, 0]
        else:
            top = scores.max(axis=1, keepdims=True)
            loss = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0] - (target * scores).sum(axis=1)
        return loss.mean() + (penalty[:, None] * theta * theta).sum() / 2

    for _ in range(60):
        p = probabilities(Z @ theta)
        gradient = Z.T @ (p - target) / n + penalty[:, None] * theta
        H = logistic_hessian(Z, p, penalty)
        # The Hessian is singular along a shift common to all classes, and for constant columns without penalty.
        shift = np.kron(np.full((outputs, outputs), LONG(outputs > 1)), np.eye(len(theta), dtype=LONG))
        flat = np.tile(np.append(deviation == 0, False), outputs)
        A = H + shift + np.diag(flat.astype(LONG))
        step = -_cholesky_solve(A, gradient.T.ravel()).reshape(outputs, -1).T
        length, before = LONG(1), value(theta)
        while value(theta + length * step) > before + 1e-16 * abs(before) and length > 1e-6:
            length /= 2
        theta = theta + length * step
        if np.abs(step).max() <= 1e-17 * np.abs(theta).max():
            break
    W = theta[:-1] / unit[:, None]
    # The huge penalties of columns with a small scale would swamp the rest of the matrix in rounding errors.
    A = logistic_hessian(Z, p, np.minimum(penalty, 1)) + shift + np.diag(flat.astype(LONG))
    least = np.linalg.eigvalsh(A.astype(np.float64))[0]
    return W.T, theta[-1] - mean @ W, least

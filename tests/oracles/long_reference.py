"""Discriminant analysis and principal components in long double, which NumPy's LAPACK does not support."""

from __future__ import annotations

import numpy as np

LONG = np.longdouble


def solve(A, B):
    """The solution of A x = B by Gaussian elimination with scaled partial pivoting."""
    A, B = A.astype(LONG).copy(), B.astype(LONG).copy()
    size = np.abs(A).max(axis=1)
    A, B = A / size[:, None], B / size[:, None]
    n = len(A)
    for i in range(n):
        pivot = i + int(np.abs(A[i:, i]).argmax())
        A[[i, pivot]], B[[i, pivot]] = A[[pivot, i]], B[[pivot, i]]
        factors = A[i + 1 :, i] / A[i, i]
        A[i + 1 :] -= factors[:, None] * A[i]
        B[i + 1 :] -= factors[:, None] * B[i]
    x = np.zeros_like(B)
    for i in range(n - 1, -1, -1):
        x[i] = (B[i] - A[i, i + 1 :] @ x[i + 1 :]) / A[i, i]
    return x


def class_moments(X, y):
    """Class means (k, d), and deviations (n, d) of the samples from the means of their classes."""
    X = X.astype(LONG)
    means = np.stack([X[y == c].mean(axis=0) for c in range(int(y.max()) + 1)])
    return means, X - means[y]


def discriminant_functions(X, y, shrinkage=0.0):
    """log p_c + (x - m)^T W^-1 (m_c - m) - (m_c - m)^T W^-1 (m_c - m) / 2 of the samples, (n, k), minus the row mean.

    W is the within-class covariance of the features divided by their standard deviations. With fewer samples than
    features, its pseudoinverse replaces W^-1.
    """
    n, k = len(y), int(y.max()) + 1
    means, deviations = class_moments(X, y)
    share = np.bincount(y).astype(LONG) / n
    centre = share @ means
    units = np.sqrt((deviations**2).mean(axis=0))
    D, M = deviations / units / np.sqrt(LONG(n)), (means - centre) / units
    if shrinkage:
        # The covariance is shrunk in the features' own units: (1 - s) W + s tr(W) / d I.
        W = (1 - LONG(shrinkage)) * D.T @ D
        W += np.diag(LONG(shrinkage) * (units**2).mean() / units**2)
        solved = solve(W, M.T)
    elif n - k < X.shape[1]:
        rows = np.concatenate([contrasts(int((y == c).sum())) @ D[y == c] for c in range(k)])
        G = rows @ rows.T
        solved = rows.T @ solve(G, solve(G, rows @ M.T))
    else:
        solved = solve(D.T @ D, M.T)
    scores = (X.astype(LONG) - centre) / units @ solved
    scores = scores - (M.T * solved).sum(axis=0) / 2 + np.log(share)
    return scores - scores.mean(axis=1, keepdims=True)


def contrasts(n):
    """Helmert contrasts: n - 1 orthonormal rows that are orthogonal to a constant."""
    rows = np.zeros((n - 1, n), LONG)
    for i in range(1, n):
        rows[i - 1, :i], rows[i - 1, i] = 1, -i
        rows[i - 1] /= np.sqrt(LONG(i * (i + 1)))
    return rows


def covariance(X):
    """Mean and covariance of the samples, with n - 1 degrees of freedom."""
    X = X.astype(LONG)
    mean = X.mean(axis=0)
    return mean, (X - mean).T @ (X - mean) / (len(X) - 1)


def eigenvalues(A):
    """The eigenvalues of a symmetric matrix, largest first, by Jacobi rotations."""
    A = A.astype(LONG).copy()
    n = len(A)
    for _ in range(30):
        for i in range(n):
            for j in range(i + 1, n):
                if A[i, j] == 0:
                    continue
                theta = (A[j, j] - A[i, i]) / (2 * A[i, j])
                t = (LONG(1) if theta >= 0 else LONG(-1)) / (np.abs(theta) + np.sqrt(theta**2 + 1))
                c = 1 / np.sqrt(t**2 + 1)
                s = t * c
                rows = A[[i, j]].copy()
                A[i], A[j] = c * rows[0] - s * rows[1], s * rows[0] + c * rows[1]
                columns = A[:, [i, j]].copy()
                A[:, i], A[:, j] = (
                    c * columns[:, 0] - s * columns[:, 1],
                    s * columns[:, 0] + c * columns[:, 1],
                )
        if (np.abs(A[np.triu_indices(n, 1)]) <= LONG(1e-19) * np.abs(np.diag(A)).max()).all():
            break
    return np.sort(np.diag(A))[::-1]

"""Minimum-norm and non-negative least squares, also for more unknowns than rows."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.optimize

from steepest._runtime.arrays import Float64Array

_NEWTON_STEPS, _HALVINGS = 200, 40


def shortest_solution(A: Float64Array, b: Float64Array) -> Float64Array:
    """Return the minimum-norm solution x of ``A x = b``, for an A of full row rank.

    The solution is ``x = Q R^-T b`` with ``A^T = Q R``. The rows of A^T, one for each unknown, may have any units: with
    rows sorted by size and with pivoting, the error of QR is a few eps of each row (A. Cox and N. Higham, "Stability of
    Householder QR factorization for weighted least squares problems", 1998).

    Parameters
    ----------
    A : ndarray of shape (r, d)
        The matrix, with r at most d.
    b : ndarray of shape (r, m)
        Right-hand sides.

    Returns
    -------
    ndarray of shape (d, m)
        Solutions.
    """
    order = np.argsort(-np.abs(A).max(axis=0, initial=0.0), kind="stable")
    q, r, pivots = scipy.linalg.qr(A.T[order], mode="economic", pivoting=True)
    x = np.empty((A.shape[1], b.shape[1]))
    x[order] = q @ scipy.linalg.solve_triangular(r, b[pivots], trans="T")
    return x


def non_negative(A: Float64Array, B: Float64Array, norms: Float64Array, alpha: float) -> Float64Array:
    """Return the X >= 0 that minimises ``|A X - B|^2 + alpha |X|^2``: non-negative least squares.

    Parameters
    ----------
    A : ndarray of shape (r, d)
        Inputs.
    B : ndarray of shape (r, m)
        Targets.
    norms : ndarray of shape (d,)
        Norms of the columns of A, above 0.
    alpha : float
        Strength of the ridge penalty.

    Returns
    -------
    ndarray of shape (d, m)
        Coefficients.
    """
    r, d = A.shape
    if alpha and r < d:
        columns = [_non_negative_ridge(A, b, alpha) for b in B.T]
    else:
        # With columns of unit norm, SciPy's threshold for zero slopes does not depend on units. A row of zeros is added
        # in case A has no rows.
        scale = np.hypot(norms, np.sqrt(alpha))
        stacked = np.concatenate([A, np.sqrt(alpha) * np.eye(d) if alpha else np.zeros((1, d))]) / scale
        padding = np.zeros(len(stacked) - r)
        columns = [scipy.optimize.nnls(stacked, np.append(b, padding))[0] / scale for b in B.T]
    return np.stack(columns, axis=1)


def _non_negative_ridge(A: Float64Array, b: Float64Array, alpha: float) -> Float64Array:
    """Return the solution ``x = max(0, A^T u) / alpha`` with its residual u = b - A x, by Newton's method for u.

    The residual u, with r items, minimises ``|u|^2 / 2 + |max(0, A^T u)|^2 / (2 alpha) - b^T u``. This function is
    convex, and quadratic where the signs of A^T u are constant, so that Newton's method with step halving ends after
    finitely many steps.
    """
    u, length, last = b.copy(), 0.0, np.zeros(A.shape[1], bool)
    for _ in range(_NEWTON_STEPS):
        slopes = A.T @ u
        positive = slopes > 0.0
        if length == 1.0 and np.array_equal(positive, last):
            break
        last, P = positive, A[:, positive]
        direction, length = _ridge_residual(P, b, alpha) - u, 1.0
        slope = float(direction @ (u + P @ slopes[positive] / alpha - b))
        value = _dual_value(A, b, alpha, u)
        for _ in range(_HALVINGS):
            if _dual_value(A, b, alpha, u + length * direction) <= value + 1e-4 * length * slope:
                break
            length /= 2
        u = u + length * direction
    x = np.zeros(A.shape[1])
    kept = np.flatnonzero(positive)
    stacked = np.concatenate([A[:, kept], np.sqrt(alpha) * np.eye(len(b))], axis=1)
    x[kept] = shortest_solution(stacked, b[:, None])[: len(kept), 0]
    return np.maximum(x, 0.0)


def _ridge_residual(P: Float64Array, b: Float64Array, alpha: float) -> Float64Array:
    """Return ``(I + P P^T / alpha)^-1 b``: the residual of ridge regression on the columns of P."""
    matrix = P @ P.T
    matrix[np.diag_indices(len(b))] += alpha
    residual: Float64Array = scipy.linalg.solve(matrix, alpha * b, assume_a="pos")
    return residual


def _dual_value(A: Float64Array, b: Float64Array, alpha: float, u: Float64Array) -> float:
    positive = np.maximum(A.T @ u, 0.0)
    return float(0.5 * u @ u + positive @ positive / (2 * alpha) - b @ u)

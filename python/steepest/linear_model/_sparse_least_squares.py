"""Least squares for sparse inputs, which stay sparse: LSQR."""

from __future__ import annotations

import numpy as np
import scipy.sparse.linalg

from ._least_squares import Problem, Solution

# Dense operations that take as long as one of a sparse product, and as a call of Python.
_SPARSE, _CALL = 32, 1_000_000
# Fewer steps than this are not worth trying.
_FEWEST_STEPS = 20
# What LSQR says of a solution: it is as exact as was asked for, or as float64 allows.
_SOLVED = (0, 1, 2, 4, 5)


def affordable_steps(problem: Problem) -> int:
    """Return how many steps of LSQR take as long as the moments of the columns do, and their eigenvalues."""
    n, d, nonzero = problem.n, problem.d, problem.X.nnz
    dense = n * (d + problem.m) ** 2 + 10 * d**3
    steps = int(dense // (problem.m * (_SPARSE * (2 * nonzero + 5 * (n + d)) + _CALL)))
    return steps if steps >= _FEWEST_STEPS else 0


def solve_sparse(
    problem: Problem, *, alpha: float, tol: float, most_steps: int
) -> tuple[Solution | None, bool]:
    """Minimise ``sum_i s_i |y_i - x_i w - b|^2 + alpha |w|^2`` by LSQR (C. Paige and M. Saunders, 1982).

    Parameters
    ----------
    problem : Problem
        The data, with a sparse X. Its centre is taken from products with it.
    alpha : float
        L2 penalty of the coefficients.
    tol : float
        Of LSQR, relative; 0 for as exact as float64 allows.
    most_steps : int
        For each target.

    Returns
    -------
    Solution or None
        Without rank and singular values; None where numbers are not finite.
    bool
        Whether the steps sufficed.
    """
    X = problem.X.astype(np.float64)
    n, d = X.shape
    weights = np.ones(n) if problem.sample_weight is None else problem.sample_weight.astype(np.float64)
    root, total = np.sqrt(weights), float(weights.sum())
    Y = problem.Y.astype(np.float64)
    x_mean, y_mean = np.zeros(d), np.zeros(problem.m)
    if problem.fit_intercept:
        x_mean = np.asarray(X.T @ weights) / total
        y_mean = weights @ Y / total
    operator = scipy.sparse.linalg.LinearOperator(
        (n, d),
        matvec=lambda w: root * (X @ w - x_mean @ w),
        rmatvec=lambda r: X.T @ (root * r) - x_mean * (root @ r),
        dtype=np.float64,
    )
    coef, solved = np.empty((d, problem.m)), True
    for j, column in enumerate((Y - y_mean).T):
        coef[:, j], reason, *_ = scipy.sparse.linalg.lsqr(
            operator,
            root * column,
            damp=np.sqrt(alpha),
            atol=tol,
            btol=tol,
            conlim=0.0,
            iter_lim=most_steps,
        )
        solved &= reason in _SOLVED
    if not np.isfinite(coef).all():
        return None, False
    return Solution(coef, y_mean - x_mean @ coef, None, None), solved

"""Least squares for sparse inputs by LSQR, which keeps them sparse."""

from __future__ import annotations

import numpy as np
import scipy.sparse.linalg

from .least_squares import Problem, Solution

# Number of dense operations that take as long as one operation of a sparse product, and as one call from Python.
_SPARSE, _CALL = 32, 1_000_000
# Least number of LSQR steps that is worth trying.
_FEWEST_STEPS = 20
# Codes of SciPy's lsqr for a solution within the tolerance, or as exact as float64 allows.
_SOLVED = (0, 1, 2, 4, 5)


def affordable_steps(problem: Problem) -> int:
    """Return how many steps of LSQR take as long as the dense moments and their eigenvalues; 0 if too few."""
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
        Inputs, targets and weights, with a sparse X. Products with X subtract its means.
    alpha : float
        Strength of the L2 penalty on the coefficients.
    tol : float
        Relative tolerance of LSQR; 0 for a solution as exact as float64 allows.
    most_steps : int
        Largest number of steps for each target.

    Returns
    -------
    Solution or None
        The solution, without rank and singular values; None if numbers are not finite.
    bool
        Whether LSQR converged for all targets.
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

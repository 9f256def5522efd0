"""Linear least squares: moments and residuals by blocks of rows, normal equations, orthogonal factors.

All blocks are ``Z = sqrt(s) * [1, X - c, Y - e]`` for weights s and points c, e near the means, which keeps ``Z.T @ Z``
free of the cancellation that large means bring. With the column of ones first, eliminating it centres the rest exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.optimize
import scipy.sparse

from steepest import kernels as K
from steepest._estimators.row_blocks import block_rows, dense
from steepest._memory import aligned_empty, aligned_zeros, array_namespace, to_device, to_host

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

_CENTRE_ROWS = 1024


@dataclass
class Problem:
    """Weighted least squares with or without an intercept, read in blocks of rows.

    Attributes
    ----------
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        Inputs.
    Y : ndarray or cupy.ndarray of shape (n, m)
        Targets, where X is (on the host for CSR).
    sample_weight : ndarray of shape (n,) or None
        Weights, beside Y.
    fit_intercept : bool
        Whether there is a column of ones, too.
    device : {"cpu", "cuda"}
        Where the blocks are made and multiplied.
    precision : dtype, optional
        That of the blocks; by default that of X.
    """

    X: Any
    Y: Array
    sample_weight: Array | None
    fit_intercept: bool
    device: str = "cpu"
    precision: Any = None

    def __post_init__(self) -> None:
        self.precision = np.dtype(self.X.dtype if self.precision is None else self.precision)
        self.n, self.d = self.X.shape
        self.m = self.Y.shape[1]
        self.first = int(self.fit_intercept)
        # Any point will do: it is the exact mean only after the elimination of the column of ones.
        if self.fit_intercept:
            step = -(-self.n // _CENTRE_ROWS)
            self.x_centre = dense(self.X[::step], self.device).mean(axis=0)
            self.y_centre = self.Y[::step].mean(axis=0)
        else:
            self.x_centre = aligned_zeros((self.d,), self.X.dtype, self.device)
            self.y_centre = aligned_zeros((self.m,), self.X.dtype, self.device)

    def blocks(self) -> Iterator[Array]:
        """Yield Z for consecutive rows; the array is used again for the next."""
        columns = self.first + self.d + self.m
        rows = min(self.n, block_rows(columns, self.device))
        buffer = aligned_empty((rows, columns), self.precision, self.device)
        xp = array_namespace(buffer)
        last = self.first + self.d
        for start in range(0, self.n, rows):
            X = dense(self.X[start : start + rows], self.device)
            Z = buffer[: len(X)]
            Z[:, : self.first] = 1
            xp.subtract(X, self.x_centre, out=Z[:, self.first : last], dtype=self.precision)
            xp.subtract(self.Y[start : start + rows], self.y_centre, out=Z[:, last:], dtype=self.precision)
            if self.sample_weight is not None:
                xp.multiply(Z, xp.sqrt(self.sample_weight[start : start + rows])[:, None], out=Z)
            yield Z

    def moments(self) -> Float64:
        """Return ``Z.T @ Z``, blocks added up in float64."""
        total: Any = 0.0
        for Z in self.blocks():
            total = total + K.matmul(Z.T, Z).astype(np.float64)
        result: Float64 = to_host(total)
        return result

    def gradient(self, coef: Float64, intercept: Float64) -> Float64:
        """Return ``Z[:, :-m].T @ (y - prediction)`` for centred coefficients, the residual computed row by row."""
        table = np.concatenate([intercept[None][: self.first], coef, -np.eye(self.m)])
        table = to_device(table.astype(self.precision), self.device)
        total: Any = 0.0
        for Z in self.blocks():
            total = total - K.matmul(Z.T, K.matmul(Z, table)).astype(np.float64)
        result: Float64 = to_host(total)[: self.first + self.d]
        return result

    def triangle(self) -> Float64:
        """Return the factor R of ``Z = Q R``, by QR of the factors of blocks (TSQR; J. Demmel et al., 2012)."""
        columns = self.first + self.d + self.m
        rows: list[Float64] = []
        waiting = 0
        for Z in self.blocks():
            rows.append(to_host(Z).astype(np.float64))
            waiting += len(Z)
            if waiting > 4 * columns:
                rows, waiting = [_triangular_factor(rows)], 0
        return _triangular_factor(rows)


def _triangular_factor(rows: list[Float64]) -> Float64:
    return np.asarray(np.linalg.qr(np.concatenate(rows), mode="r"))


@dataclass
class Solution:
    """Coefficients (d, m), intercepts (m,), rank and singular values of the centred, weighted X."""

    coef: Float64
    intercept: Float64
    rank: int | None
    singular: Float64 | None


def solve(problem: Problem, *, alpha: float, tol: float, positive: bool) -> Solution | None:
    """Minimise ``sum_i s_i |y_i - x_i w - b|^2 + alpha |w|^2``; of several solutions, the shortest.

    Well-conditioned problems are solved by the normal equations, with one step of refinement from residuals of the rows
    (corrected semi-normal equations; Å. Björck, "Stability analysis of the method of seminormal equations", 1987),
    which costs two passes over X, or three for a float32 X whose condition asks for products in float64; others from
    the triangular factor of X and its singular values.

    Parameters
    ----------
    problem : Problem
        The data.
    alpha : float
        L2 penalty of the coefficients, not of the intercept.
    tol : float
        Singular values below ``tol`` times the largest count as zero.
    positive : bool
        Whether coefficients must not be negative (C. Lawson and R. Hanson's non-negative least squares).

    Returns
    -------
    Solution or None
        None where the numbers overflow or are not finite.
    """
    if not positive and problem.n > problem.d + 1:
        solution = _by_normal_equations(problem, alpha, tol)
        if solution is None and problem.precision != np.float64:
            problem = replace(problem, precision=np.float64)
            solution = _by_normal_equations(problem, alpha, tol)
        if solution is not None:
            return solution
    factor = problem.triangle()
    if not np.isfinite(factor).all():
        return None
    return _by_triangle(problem, factor, alpha, tol, positive)


def _by_normal_equations(problem: Problem, alpha: float, tol: float) -> Solution | None:
    moments = problem.moments()
    if not np.isfinite(moments).all():
        return None
    first, d = problem.first, problem.d
    centred = moments[first:, first:]
    if first:
        centred = centred - np.outer(moments[0, 1:], moments[0, 1:]) / moments[0, 0]
    gram = centred[:d, :d]
    eigenvalues = scipy.linalg.eigvalsh(gram)[::-1]
    penalised = gram + alpha * np.eye(d)
    smallest, largest = eigenvalues[-1] + alpha, eigenvalues[0] + alpha
    # The error of refinement shrinks by (condition of the matrix) * eps; below 1e-3 one step is enough.
    least = max(1e3 * float(np.finfo(problem.precision).eps), (2 * tol) ** 2 if alpha == 0 else 0.0)
    if not smallest > least * largest:
        return None
    factor = scipy.linalg.cho_factor(penalised)
    coef = scipy.linalg.cho_solve(factor, centred[:d, d:])
    intercept = _centred_intercept(problem, moments, coef)
    gradient = problem.gradient(coef, intercept)
    rest = gradient[first:]
    if first:
        rest = rest - np.outer(moments[0, 1 : 1 + d], gradient[0]) / moments[0, 0]
    coef = coef + scipy.linalg.cho_solve(factor, rest - alpha * coef)
    singular = np.sqrt(np.maximum(eigenvalues, 0.0))
    return _solution(problem, moments, coef, int((singular > tol * singular[0]).sum()), singular)


def _by_triangle(problem: Problem, factor: Float64, alpha: float, tol: float, positive: bool) -> Solution:
    first, d = problem.first, problem.d
    inputs, targets = factor[first:, first : first + d], factor[first:, first + d :]
    moments = factor[:first].T @ factor[:1] if first else factor
    if positive:
        # Without a penalty a row of zeros: there may be no other.
        penalty = np.sqrt(alpha) * np.eye(d)[: d if alpha else 1]
        stacked = np.concatenate([inputs, penalty])
        columns = np.concatenate([targets, np.zeros((len(penalty), problem.m))])
        coef = np.stack([scipy.optimize.nnls(stacked, column)[0] for column in columns.T], axis=1)
        return _solution(problem, moments, coef, None, None)
    u, singular, v = np.linalg.svd(inputs, full_matrices=False)
    kept = singular > tol * singular.max(initial=0.0)
    filtered = np.where(kept, singular, 1.0)
    inverse = np.where(kept, 1 / (filtered + alpha / filtered), 0.0)
    coef = v.T @ (inverse[:, None] * (u.T @ targets))
    padded = np.zeros(min(problem.n, d))
    padded[: len(singular)] = singular
    return _solution(problem, moments, coef, int(kept.sum()), padded)


def _centred_intercept(problem: Problem, moments: Float64, coef: Float64) -> Float64:
    """Return the intercept that belongs to coefficients, for X and Y from which their centres were taken."""
    if not problem.first:
        return np.zeros(problem.m)
    means = moments[0, 1:] / moments[0, 0]
    intercept: Float64 = means[problem.d :] - means[: problem.d] @ coef
    return intercept


def _solution(
    problem: Problem, moments: Float64, coef: Float64, rank: int | None, singular: Float64 | None
) -> Solution:
    x_centre, y_centre = (to_host(c).astype(np.float64) for c in (problem.x_centre, problem.y_centre))
    intercept = _centred_intercept(problem, moments, coef) + y_centre - x_centre @ coef
    return Solution(coef, intercept, rank, singular)

"""Linear least squares by normal equations or QR factors, with moments and residuals from blocks of rows.

All blocks are ``Z = sqrt(s) * [1, X - c, Y - e]`` for weights s and points c, e near the means. Subtracting c and e
avoids the cancellation that large means cause in ``Z.T @ Z``. Eliminating the first column, the ones, then centres the
other columns exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import aligned_empty, array_namespace, to_device, to_host
from steepest._symmetric import Cholesky, one_thread_if_small
from steepest.estimators.row_blocks import block_rows, dense

from .column_samples import ColumnSample
from .shortest_solution import non_negative, shortest_solution

# A column counts as constant if exact centring leaves at most this many units of machine epsilon of its sum of squares
# about c. Since c is the mean of 1024 of the n rows, other columns keep at least 1 / (1 + n / 1024) of it.
_CONSTANT = 100.0


@dataclass
class Problem:
    """Weighted least squares with or without an intercept, read in blocks of rows.

    Attributes
    ----------
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        Inputs.
    Y : ndarray or cupy.ndarray of shape (n, m)
        Targets, on the device of X (the host for CSR).
    sample_weight : ndarray of shape (n,) or None
        Weights, on the device of Y.
    fit_intercept : bool
        Whether there is an intercept, hence a column of ones.
    device : {"cpu", "cuda"}
        Device on which the blocks are formed and multiplied.
    precision : dtype, optional
        Dtype of the blocks; by default that of X.
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
        # The centres may be inexact: eliminating the column of ones centres the columns exactly.
        x_centre, y_centre = np.zeros(self.d), np.zeros(self.m)
        if self.fit_intercept:
            x_centre = ColumnSample.of(self.X, self.sample_weight).centre
            y_centre = ColumnSample.of(self.Y, self.sample_weight).centre
        self.x_centre, self.y_centre = (
            to_device(centre.astype(self.X.dtype), self.device) for centre in (x_centre, y_centre)
        )

    def blocks(self) -> Iterator[Array]:
        """Yield Z for consecutive blocks of rows; all blocks share one buffer."""
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

    def moments(self) -> Float64Array:
        """Return ``Z.T @ Z``, with the blocks' products added in float64."""
        total: Any = 0.0
        for Z in self.blocks():
            total = total + K.second_moment(Z, scale=len(Z)).astype(np.float64)
        result: Float64Array = to_host(total)
        return result

    def largest(self) -> Float64Array:
        """Return the largest absolute value in each column of Z."""
        total = np.zeros(self.first + self.d + self.m)
        for Z in self.blocks():
            total = np.maximum(total, to_host(abs(Z).max(axis=0)))
        return total

    def gradient(self, coef: Float64Array, intercept: Float64Array) -> Float64Array:
        """Return ``Z[:, :-m].T @ (y - prediction)`` for centred coefficients, from the residuals of the rows."""
        table = np.concatenate([intercept[None][: self.first], coef, -np.eye(self.m)])
        table = to_device(table.astype(self.precision), self.device)
        total: Any = 0.0
        for Z in self.blocks():
            total = total - K.matmul(Z.T, K.matmul(Z, table)).astype(np.float64)
        result: Float64Array = to_host(total)[: self.first + self.d]
        return result

    def triangle(self) -> Float64Array:
        """Return R of ``Z = Q R`` from the QR factors of blocks (tall-skinny QR; J. Demmel et al., 2012)."""
        columns = self.first + self.d + self.m
        rows: list[Float64Array] = []
        waiting = 0
        for Z in self.blocks():
            rows.append(to_host(Z).astype(np.float64))
            waiting += len(Z)
            if waiting > 4 * columns:
                rows, waiting = [_triangular_factor(rows)], 0
        return _triangular_factor(rows)


def _triangular_factor(rows: list[Float64Array]) -> Float64Array:
    return np.asarray(np.linalg.qr(np.concatenate(rows), mode="r"))


@dataclass
class Solution:
    """Coefficients (d, m) and intercepts (m,), with the rank and singular values of the centred, weighted X."""

    coef: Float64Array
    intercept: Float64Array
    rank: int | None
    singular: Float64Array | None


def solve(problem: Problem, *, alpha: float, tol: float, positive: bool) -> Solution | None:
    """Minimise ``sum_i s_i |y_i - x_i w - b|^2 + alpha |w|^2``; of several solutions, return the one of minimum norm.

    The normal equations solve well-conditioned problems, with one refinement step from the residuals of the rows
    (corrected semi-normal equations; Å. Björck, "Stability analysis of the method of seminormal equations", 1987). This
    takes two passes over X, or three if the condition number of a float32 X requires products in float64. The
    triangular factor of X solves all other problems. The condition number is that of the columns scaled to unit norm,
    so that it does not depend on their units.

    Parameters
    ----------
    problem : Problem
        Inputs, targets and weights.
    alpha : float
        Strength of the L2 penalty on the coefficients, not on the intercept.
    tol : float
        Singular values of X, with columns scaled to unit norm, count as zero below ``tol`` times the largest. With a
        ridge penalty none counts as zero, since the penalty determines all coefficients.
    positive : bool
        Whether coefficients must not be negative (C. Lawson and R. Hanson's non-negative least squares).

    Returns
    -------
    Solution or None
        The solution, or None if numbers overflow or are not finite.
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
    first, d, precision = problem.first, problem.d, np.finfo(problem.precision)
    squares = moments.diagonal()[first : first + d]
    if (squares < precision.tiny / precision.eps).any() and _underflows(problem, squares, precision):
        return None
    centred = moments[first:, first:]
    if first:
        centred = centred - np.outer(moments[0, 1:], moments[0, 1:]) / moments[0, 0]
    kept = np.flatnonzero(centred.diagonal()[:d] > _CONSTANT * precision.eps * squares)
    if not len(kept):
        return _solution(problem, moments[0], np.zeros((d, problem.m)), 0, np.zeros(d))
    gram = centred[np.ix_(kept, kept)]
    # A refinement step shrinks the error by (condition of the matrix) * eps; below 1e-3 one step is enough.
    enough = 1e3 * float(precision.eps)
    found = _factor(gram, alpha, max(enough, (2 * tol) ** 2 if alpha == 0 else 0.0))
    if found is None:
        return None
    factor, scale = found

    def solved(right: Float64Array) -> Float64Array:
        part: Float64Array = factor.solve(right[kept] / scale[:, None]) / scale[:, None]
        result = np.zeros((d, problem.m))
        result[kept] = part
        return result

    coef = solved(centred[:d, d:])
    intercept = _centred_intercept(problem, moments[0], coef)
    gradient = problem.gradient(coef, intercept)
    rest = gradient[first:]
    if first:
        rest = rest - np.outer(moments[0, 1 : 1 + d], gradient[0]) / moments[0, 0]
    coef = coef + solved(rest - alpha * coef)
    singular = np.sqrt(np.maximum(scipy.linalg.eigvalsh(centred[:d, :d])[::-1], 0.0))
    rank = len(kept)
    if alpha and _factor(gram, 0.0, max(enough, (2 * tol) ** 2)) is None:
        norms = np.sqrt(gram.diagonal())
        values = scipy.linalg.eigvalsh(gram / norms / norms[:, None])
        rank = int((values > max(tol**2, d * float(precision.eps)) * values[-1]).sum())
    return _solution(problem, moments[0], coef, rank, singular)


def _underflows(problem: Problem, squares: Float64Array, precision: np.finfo[Any]) -> bool:
    """Return whether the squares of a nonzero column underflow, or lose digits."""
    small = problem.largest()[problem.first : problem.first + problem.d]
    return bool(((squares < precision.tiny / precision.eps) & (small > 0)).any())


def _factor(gram: Float64Array, alpha: float, least: float) -> tuple[Cholesky, Float64Array] | None:
    """Return the Cholesky factor of ``gram + alpha I``, scaled to a unit diagonal, and the scale of each column.

    Return None if the reciprocal condition number of the scaled matrix is below `least`.
    """
    scale = np.sqrt(gram.diagonal() + alpha)
    scaled = gram / scale / scale[:, None]
    scaled[np.diag_indices(len(scaled))] = 1.0
    factor = _well_conditioned(scaled, least)
    return None if factor is None else (factor, scale)


def _well_conditioned(matrix: Float64Array, least: float) -> Cholesky | None:
    """Return the Cholesky factor of a matrix, or None if its reciprocal condition number is below `least`."""
    with one_thread_if_small(len(matrix)):
        factor = Cholesky.of(matrix, "cpu")
        return factor if factor is not None and factor.reciprocal_condition() > least else None


def _by_triangle(
    problem: Problem, factor: Float64Array, alpha: float, tol: float, positive: bool
) -> Solution:
    first, d = problem.first, problem.d
    inputs, targets = factor[first:, first : first + d], factor[first:, first + d :]
    # The first row of Z^T Z, the sums of the columns, is the first row of R times R[0, 0].
    sums = factor[0] * factor[0, 0] if first else factor[0]
    norms = _column_norms(inputs)
    if first:
        whole = np.hypot(norms, factor[0, 1 : 1 + d])
        norms[norms <= np.sqrt(_CONSTANT * np.finfo(np.float64).eps) * whole] = 0.0
    kept = np.flatnonzero(norms)
    inputs, norms = inputs[:, kept], norms[kept]
    coef = np.zeros((d, problem.m))
    if not len(kept):
        return _solution(
            problem, sums, coef, *((None, None) if positive else (0, np.zeros(min(problem.n, d))))
        )
    if positive:
        coef[kept] = non_negative(inputs, targets, norms, alpha)
        return _solution(problem, sums, coef, None, None)
    coef[kept], rank = _minimum(inputs, targets, norms, alpha, tol)
    padded = np.zeros(min(problem.n, d))
    values = np.linalg.svd(inputs, compute_uv=False)
    padded[: len(values)] = values
    return _solution(problem, sums, coef, rank, padded)


def _minimum(
    A: Float64Array, B: Float64Array, norms: Float64Array, alpha: float, tol: float
) -> tuple[Float64Array, int]:
    """Return the minimum-norm X that minimises ``|A X - B|^2 + alpha |X|^2``, and the rank of A (unit-norm columns)."""
    scaled = A / norms
    eps = float(np.finfo(np.float64).eps)
    # If A has fewer rows than columns, the rows are usually independent.
    gram = scaled @ scaled.T if len(A) < len(norms) else np.zeros((0, 0))
    if len(gram) and _well_conditioned(gram, max(1e3 * eps, (2 * tol) ** 2)) is not None:
        rank, u, singular, v = len(A), np.eye(len(A)), np.ones(len(A)), scaled
    else:
        u, singular, v = np.linalg.svd(scaled, full_matrices=False)
        rank = int((singular > max(tol, max(A.shape) * eps) * singular.max(initial=0.0)).sum())
    if alpha:
        # Ridge regression is the minimum-norm solution with one more unknown per row: its residual over sqrt(alpha).
        residuals = np.sqrt(alpha) * np.eye(len(A))
        return shortest_solution(np.concatenate([A, residuals], axis=1), B)[: len(norms)], rank
    leading = (u[:, :rank].T @ B) / singular[:rank, None]
    if rank == len(norms):
        return v.T @ leading / norms[:, None], rank
    return shortest_solution(v[:rank] * norms, leading), rank


def _column_norms(matrix: Float64Array) -> Float64Array:
    """Return the norms of the columns, without overflow or underflow."""
    largest = np.abs(matrix).max(axis=0, initial=0.0)
    unit = np.where(largest > 0.0, largest, 1.0)
    norms: Float64Array = largest * np.sqrt(np.square(matrix / unit).sum(axis=0))
    return norms


def _centred_intercept(problem: Problem, sums: Float64Array, coef: Float64Array) -> Float64Array:
    """Return the intercept for given coefficients, for X and Y less their centres.

    `sums` is the first row of the moments: the sum of the weights, and the weighted sums of the columns.
    """
    if not problem.first:
        return np.zeros(problem.m)
    means = sums[1:] / sums[0]
    intercept: Float64Array = means[problem.d :] - means[: problem.d] @ coef
    return intercept


def _solution(
    problem: Problem, sums: Float64Array, coef: Float64Array, rank: int | None, singular: Float64Array | None
) -> Solution:
    x_centre, y_centre = (to_host(c).astype(np.float64) for c in (problem.x_centre, problem.y_centre))
    intercept = _centred_intercept(problem, sums, coef) + y_centre - x_centre @ coef
    return Solution(coef, intercept, rank, singular)

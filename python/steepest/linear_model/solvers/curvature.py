"""Linear solves with the Hessian of a logistic objective, or an approximation of it, for Newton-like steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from steepest._runtime.arrays import Float64Array
from steepest._symmetric import Cholesky, one_thread_if_small

from .logistic_objective import LogisticObjective
from .quasi_newton import Solve

# Largest number of parameters for which a dense Hessian is factorised.
MOST_PARAMETERS = 2048
# The same for an approximation with several classes, whose Hessian takes k (k + 1) / 2 matrix products.
_MOST_DENSE_PARAMETERS = 256


def dense_solve(objective: LogisticObjective, theta: Float64Array) -> Solve:
    """Return ``v -> H^-1 v`` for the Hessian at theta, or ``v -> H^+ v`` if it is singular.

    A Hessian that is ill conditioned for the precision of X, or overflows there, is computed again in float64.
    """
    rows, k = objective.shape
    for precision in dict.fromkeys((objective.dtype, np.dtype(np.float64))):
        hessian = objective.hessian(theta, precision)
        if k > 1:
            # Adding the same vector to all classes leaves the loss unchanged, and gradients have no such component. The
            # curvature in that direction is arbitrary; the mean of each feature's diagonal keeps its rows well scaled.
            of_features = hessian.diagonal().reshape(k, rows).mean(axis=0)
            # It may not be finite.
            with np.errstate(invalid="ignore"):
                hessian = hessian + np.kron(np.full((k, k), 1 / k), np.diag(of_features))
        apply = _exact_solve(hessian, precision)
        if apply is not None:
            break
    else:
        apply = _pseudo_solve(hessian, precision)
    return lambda v: apply(v.T.ravel()).reshape(k, rows).T  # the Hessian is over the raveled transpose


def _exact_solve(matrix: Float64Array, precision: np.dtype[Any]) -> Solve | None:
    """Return ``v -> matrix^-1 v``; None if it is not finite, or, with a diagonal of ones, singular up to rounding."""
    if not np.isfinite(matrix).all():
        return None
    scale, scaled = _unit_diagonal(matrix)
    with one_thread_if_small(len(matrix)):
        factor = Cholesky.of(scaled, "cpu")
    if factor is None or factor.least_pivot() <= _cut(matrix, precision):
        return None
    return lambda v: factor.solve((v / scale)[:, None])[:, 0] / scale


def _pseudo_solve(matrix: Float64Array, precision: np.dtype[Any]) -> Solve:
    """Return ``v -> matrix^+ v`` for a positive semi-definite matrix, v for one that is not finite."""
    if not np.isfinite(matrix).all():
        return lambda v: v
    scale, scaled = _unit_diagonal(matrix)
    with one_thread_if_small(len(matrix)):
        values, vectors = scipy.linalg.eigh(scaled)
    kept = values > _cut(matrix, precision) * values[-1]
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    return lambda v: vectors @ (inverse * (vectors.T @ (v / scale))) / scale


def _cut(matrix: Float64Array, precision: np.dtype[Any]) -> float:
    """Return the rounding error of zero eigenvalues, relative to the largest eigenvalue."""
    return len(matrix) * float(np.finfo(precision).eps)


def _unit_diagonal(matrix: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the square roots of the diagonal (1 if it is 0), and the matrix scaled by them to a unit diagonal."""
    diagonal = matrix.diagonal()
    scale: Float64Array = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    return scale, matrix / scale / scale[:, None]


def kronecker_solve(objective: LogisticObjective, theta: Float64Array) -> Solve:
    """Return ``v -> (A (x) G + 1 (x) D)^-1 v``, with the factors A and G of the objective at theta, and its penalty D.

    With ``t G + D = L L^T`` for the largest eigenvalue t of A, ``L^-1 D L^-T = Q S Q^T``, and ``A = U a U^T``, the
    matrix is ``(U (x) L Q) (a / t (x) (1 - S) + 1 (x) S) (U (x) L Q)^T``, where S is between 0 and 1 in any units.
    """
    A, G = objective.factors(theta)
    if not (np.isfinite(A).all() and np.isfinite(G).all()):
        return lambda v: v
    k, rows = len(A), len(G)
    values, U = scipy.linalg.eigh(A + np.full((k, k), np.trace(A) / k**2))
    cut, penalty = rows * float(np.finfo(objective.dtype).eps), objective.penalty[:, 0]
    scale, scaled = _unit_diagonal(values[-1] * G + np.diag(penalty))
    inverse = scipy.linalg.solve_triangular(_shifted_factor(scaled, cut), np.eye(rows), lower=True)
    S, Q = scipy.linalg.eigh((inverse * (penalty / scale**2)) @ inverse.T)
    S, M = np.clip(S, 0.0, 1.0)[:, None], inverse.T @ Q / scale[:, None]
    divisor = np.maximum(values / values[-1], cut) * (1 - S) + S
    return lambda v: M @ ((M.T @ v @ U) / divisor) @ U.T


def _shifted_factor(matrix: Float64Array, shift: float) -> Float64Array:
    """Return the lower factor of a matrix plus a multiple of 1: this, or the first of larger ones that has a factor."""
    while True:
        try:
            factor: Float64Array = scipy.linalg.cholesky(matrix + shift * np.eye(len(matrix)), lower=True)
            return factor
        except np.linalg.LinAlgError:
            shift *= 8


def preconditioner(objective: LogisticObjective, theta: Float64Array) -> Solve | None:
    """Return an approximate inverse of the Hessian at theta, or None if there are too many features."""
    rows, k = objective.shape
    if rows * k <= (MOST_PARAMETERS if k == 1 else _MOST_DENSE_PARAMETERS):
        return dense_solve(objective, theta)
    if rows <= MOST_PARAMETERS:
        return kronecker_solve(objective, theta)
    return None

"""Solves with the curvature of a logistic objective, or with an approximation of it, for Newton-like steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from steepest._symmetric import Cholesky, one_thread_if_small

from ._objective import LogisticObjective
from ._quasi_newton import Solve

Float64 = npt.NDArray[np.float64]

# The largest matrix that is factorised.
MOST_PARAMETERS = 2048
# The largest of several classes that is worth its products, k (k + 1) / 2 of them, for an approximation.
_MOST_DENSE_PARAMETERS = 256


def dense_solve(objective: LogisticObjective, theta: Float64) -> Solve:
    """Return ``v -> H^-1 v`` for the Hessian at theta, and for the shortest solution where it is singular."""
    rows, k = objective.shape
    hessian = objective.hessian(theta)
    if k > 1:
        # Adding the same to all classes changes nothing: neither do gradients point there.
        scale = np.trace(hessian) / len(hessian)
        shift = np.kron(np.full((k, k), scale / k), np.eye(rows))
        hessian = hessian + shift
    apply = symmetric_solve(hessian, objective.dtype)
    return lambda v: apply(v.T.ravel()).reshape(k, rows).T  # the Hessian is over the raveled transpose


def symmetric_solve(matrix: Float64, dtype: np.dtype[Any]) -> Solve:
    """Return ``v -> matrix^+ v`` for a positive semi-definite matrix computed in `dtype`."""
    scale = _scale(matrix)
    scaled = matrix / scale / scale[:, None]
    cut = len(matrix) * float(np.finfo(dtype).eps)
    if not np.isfinite(scaled).all():
        return lambda v: v
    with one_thread_if_small(len(matrix)):
        factor = Cholesky.of(scaled, "cpu")
    if factor is not None and factor.least_pivot() > cut:
        return lambda v: _scaled(v, scale, lambda u: factor.solve(u[:, None])[:, 0])
    values, vectors = scipy.linalg.eigh(scaled)
    inverse = np.where(values > cut * values[-1], 1 / np.where(values > 0, values, 1.0), 0.0)
    return lambda v: _scaled(v, scale, lambda u: vectors @ (inverse * (vectors.T @ u)))


def _scale(matrix: Float64) -> Float64:
    """Return the roots of a diagonal, one where it is zero."""
    diagonal = matrix.diagonal()
    root: Float64 = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    return root


def _scaled(v: Float64, scale: Float64, solve: Solve) -> Float64:
    result: Float64 = solve(v / scale) / scale
    return result


def kronecker_solve(objective: LogisticObjective, theta: Float64) -> Solve:
    """Return ``v -> (A (x) G + penalty)^-1 v``, with the factors A and G of the objective at theta.

    With ``G = L L^T``, ``L^-1 D L^-T = Q S Q^T`` for the penalty D, and ``A = U a U^T``, the matrix is
    ``(U (x) L Q) (a (x) 1 + 1 (x) S) (U (x) L Q)^T``.
    """
    A, G = objective.factors(theta)
    if not (np.isfinite(A).all() and np.isfinite(G).all()):
        return lambda v: v
    k, rows = len(A), len(G)
    values, U = scipy.linalg.eigh(A + np.full((k, k), np.trace(A) / k**2))
    cut = rows * float(np.finfo(objective.dtype).eps)
    scale = _scale(G)
    scaled = G / scale / scale[:, None]
    L = scipy.linalg.cholesky(scaled + cut * np.eye(rows), lower=True) * scale[:, None]
    inverse = scipy.linalg.solve_triangular(L, np.eye(rows), lower=True)
    S, Q = scipy.linalg.eigh((inverse * objective.penalty[:, 0]) @ inverse.T)
    values = np.maximum(values, cut * values[-1])
    M = inverse.T @ Q
    divisor = np.maximum(S, 0.0)[:, None] + values
    return lambda v: M @ ((M.T @ v @ U) / divisor) @ U.T


def preconditioner(objective: LogisticObjective, theta: Float64) -> Solve | None:
    """Return an approximate inverse of the Hessian at theta, or None where there are too many features for one."""
    rows, k = objective.shape
    if rows * k <= (MOST_PARAMETERS if k == 1 else _MOST_DENSE_PARAMETERS):
        return dense_solve(objective, theta)
    if rows <= MOST_PARAMETERS:
        return kronecker_solve(objective, theta)
    return None

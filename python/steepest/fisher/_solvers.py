"""Solutions of linear equations with a Fisher matrix that is not formed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._symmetric import Cholesky, eigh, one_thread_if_small

from ._factors import Factors
from ._layout import dot

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

# Parts of a vector that are so many roundings of it are taken as none.
_ROUNDINGS = 1e3


class NotPositiveDefiniteError(ArithmeticError):
    """A matrix that was to be factorised is singular, indefinite or not finite."""


@dataclass(frozen=True)
class SolveReport:
    """How a system of equations was solved.

    Attributes
    ----------
    solver : str
        Which solver: as `FisherMatrix` names them, or the name of the structure that solves by its own factors.
    damping : float
        What was added to the diagonal.
    residual : float
        ``|(F + damping I) x - g| / |g|``; without damping of the part of g that F reaches.
    iterations : int
        Of conjugate gradients; 0 for the others.
    """

    solver: str
    damping: float
    residual: float
    iterations: int


def solve_by_gram(factors: Factors, g: Array, damping: float) -> Array:
    """Return ``(S^T S + damping I)^-1 g`` from the Gram matrix ``G = S S^T`` of the rows of S.

    With damping, ``(g - S^T (G + damping I)^-1 S g) / damping`` (M. Woodbury, 1950). With none, or less than the
    roundings of G, from its eigenvectors: without any, the pseudoinverse ``S^T G^+ G^+ S g``.

    Parameters
    ----------
    factors : Factors
        S.
    g : ndarray of shape (P,)
        The right side, of the network's dtype and device.
    damping : float
        Not negative.
    """
    layout, precision = factors.layout, float(np.finfo(factors.layout.dtype).eps)
    gram, seen = factors.gram(), layout.on_host(factors.rows_times(g))

    def combined(u: Float64) -> Array:
        return factors.combined(layout.on_device(u))

    if not np.isfinite(gram).all() or not np.isfinite(seen).all():
        raise NotPositiveDefiniteError("the Gram matrix is not finite")
    rounding = 8 * len(gram) * precision * float(np.trace(gram))
    if damping > rounding:
        solved = solve_damped(gram, seen, damping, layout.device)
        if solved is not None:
            rest = g - combined(solved)
            rest /= damping
            return rest
    values, vectors = eigh(gram, layout.device)
    kept = values > 8 * len(values) * precision * values.max(initial=0.0)
    along, values = np.where(kept, vectors.T @ seen, 0.0), np.where(kept, values, 1.0)
    solution = combined(vectors @ (along / (values * (values + damping))))
    if damping > 0:
        # What S does not reach, unless that is what roundings have left.
        rest = g - combined(vectors @ (along / values))
        if norm(rest) > _ROUNDINGS * precision * norm(g):
            solution += rest / damping
    return solution


def solve_for_own_gradient(factors: Factors, roots: Float64, damping: float) -> Array | None:
    """Return ``(S^T S + damping I)^-1 g`` for ``g = S^T e``: ``S^T (S S^T + damping I)^-1 e``, where nothing cancels.

    Parameters
    ----------
    factors : Factors
        S, of the empirical kind, whose rows make up the gradient of their batch.
    roots : ndarray of shape (m,)
        e, the roots of the rows' shares in the loss.
    damping : float
        Positive.

    Returns
    -------
    ndarray of shape (P,) or None
        Of the network's dtype and device; None where the matrix is not positive definite.
    """
    gram = factors.gram()
    if not np.isfinite(gram).all():
        raise NotPositiveDefiniteError("the Gram matrix is not finite")
    solved = solve_damped(gram, roots, damping, factors.layout.device)
    return None if solved is None else factors.combined(factors.layout.on_device(solved))


def solve_damped(gram: Float64, right: Float64, damping: float, device: str) -> Float64 | None:
    """Return ``(G + damping I)^-1 right``, or None where that matrix is not positive definite."""
    damped = gram.copy()
    damped.flat[:: len(gram) + 1] += damping
    with one_thread_if_small(len(gram)):
        factor = Cholesky.of(damped, device)
        return None if factor is None else factor.solve(right[:, None])[:, 0]


def norm(flat: Array) -> float:
    """Return the Euclidean norm of a vector on either device."""
    return math.sqrt(dot(flat, flat))


def conjugate_gradients(
    multiply: Callable[[Float64], Float64], g: Float64, damping: float, tolerance: float, most: int
) -> tuple[Float64, int]:
    """Return the solution of ``(F + damping I) x = g``, and the number of iterations.

    It starts at 0 and so stays where F and g reach: without damping it ends at the shortest solution
    (M. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems", 1952).

    Parameters
    ----------
    multiply : callable
        The product with F.
    g : ndarray of shape (P,)
        The right side.
    damping : float
        Not negative.
    tolerance : float
        Of the residual, relative to g.
    most : int
        Number of iterations after which it stops.
    """
    x, residual = np.zeros_like(g), g.copy()
    direction, squared = residual.copy(), float(residual @ residual)
    goal = tolerance**2 * squared
    for iteration in range(most):
        if squared <= goal or squared == 0:
            return x, iteration
        product = multiply(direction) + damping * direction
        curvature = float(direction @ product)
        if curvature <= np.finfo(np.float64).tiny:
            return x, iteration  # nothing is left along which F has curvature
        step = squared / curvature
        x += step * direction
        residual -= step * product
        previous, squared = squared, float(residual @ residual)
        direction = residual + squared / previous * direction
    return x, most


def relative_residual(product: Float64, g: Float64) -> float:
    """Return ``|product - g| / |g|``, 0 for a g of zeros."""
    norm = float(np.linalg.norm(g))
    return float(np.linalg.norm(product - g)) / norm if norm else 0.0

"""Solutions of linear equations with a Fisher matrix that is not formed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steepest._symmetric import Cholesky, eigh

Float64 = npt.NDArray[np.float64]

# Parts of a vector that are so many roundings of it are taken as none.
_ROUNDINGS = 1e3


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


def solve_by_gram(
    gram: Float64,
    rows_times: Callable[[Float64], Float64],
    combined: Callable[[Float64], Float64],
    g: Float64,
    damping: float,
    precision: float,
    device: str,
) -> Float64:
    """Return ``(S^T S + damping I)^-1 g`` from the Gram matrix ``G = S S^T`` of the rows of S.

    With damping, ``(g - S^T (G + damping I)^-1 S g) / damping`` (M. Woodbury, 1950). With none, or less than the
    roundings of G, from its eigenvectors: without any, the pseudoinverse ``S^T G^+ G^+ S g``.

    Parameters
    ----------
    gram : ndarray of shape (m, m)
        G.
    rows_times, combined : callable
        The products with S and with its transpose.
    g : ndarray of shape (P,)
        The right side.
    damping : float
        Not negative.
    precision : float
        Of the numbers that G was computed from.
    device : {"cpu", "cuda"}
        Where to factorise.
    """
    seen = rows_times(g)
    rounding = 8 * len(gram) * precision * float(np.trace(gram))
    if damping > rounding:
        factor = Cholesky.of(gram + damping * np.eye(len(gram)), device)
        if factor is not None:
            return (g - combined(factor.solve(seen))) / damping
    values, vectors = eigh(gram, device)
    kept = values > 8 * len(values) * precision * values.max(initial=0.0)
    along, values = np.where(kept, vectors.T @ seen, 0.0), np.where(kept, values, 1.0)
    solution = combined(vectors @ (along / (values * (values + damping))))
    if damping > 0:
        # What S does not reach, unless that is what roundings have left.
        rest = g - combined(vectors @ (along / values))
        if np.linalg.norm(rest) > _ROUNDINGS * precision * np.linalg.norm(g):
            solution += rest / damping
    return solution


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

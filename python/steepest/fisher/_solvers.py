"""Solutions of linear equations with a Fisher matrix that is not formed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Array, Float64Array
from steepest._symmetric import Cholesky, eigh, one_thread_if_small

from ._batch import Batch
from ._factors import Factors
from ._layout import dot

# Eigenvalues below this multiple of the rounding of the largest are roundings of 0.
_ROUNDINGS = 8.0
# Products with a vector v round to eps times the largest eigenvalue and |v|. Of a damping below this multiple of that,
# rounding changes more than a 64th, which leaves solutions fewer than two digits.
_ROUNDINGS_OF_DAMPING = 64.0
# Parts of a vector below this multiple of its rounding count as none.
_ROUNDINGS_OF_A_PART = 1e3


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
        ``|(F + damping I) x - g| / |g|``, of the solution that was returned. Without damping it is that of the part of
        g that F reaches: for the solver "cg", which does not know that part, ``|F (F x - g)| / |F g|``. Where F does
        not reach all of g, rounding leaves up to ``sqrt(eps) |F| |F x - g| / |F g|`` of it.
    iterations : int
        Of the solver "cg"; 0 for the others.
    """

    solver: str
    damping: float
    residual: float
    iterations: int


def rounding_of(side: int, dtype: npt.DTypeLike) -> float:
    """Return the rounding of the eigenvalues of a matrix, as a multiple of its largest eigenvalue.

    The matrix is made of numbers of a dtype, and is decomposed in float64.

    Parameters
    ----------
    side : int
        Rows of the matrix.
    dtype : data-type
        Of the numbers.
    """
    return _ROUNDINGS * float(np.finfo(dtype).eps + side * np.finfo(np.float64).eps)


def is_within_rounding(damping: float, largest: float, dtype: npt.DTypeLike) -> bool:
    """Return whether vectors of a dtype cannot tell this damping beside the largest eigenvalue, but float64 can."""
    eps = float(np.finfo(dtype).eps)
    return np.dtype(dtype) != np.float64 and damping <= _ROUNDINGS_OF_DAMPING * eps * largest


def is_rounding_of_part(part: float, whole: float, dtype: npt.DTypeLike) -> bool:
    """Return whether a part of a vector of a dtype may be what roundings have left, by the norms of both."""
    return part <= _ROUNDINGS_OF_A_PART * float(np.finfo(dtype).eps) * whole


def solve_by_gram(batch: Batch, g: Array, damping: float) -> tuple[Array, Array]:
    """Return ``x = (S^T S + damping I)^-1 g`` from the Gram matrix ``G = S S^T`` of the rows of S, and what it solves.

    With damping, ``(g - S^T (G + damping I)^-1 S g) / damping`` (M. Woodbury, 1950). With none, or less than the
    roundings of G, from its eigenvectors: without any, the pseudoinverse ``S^T G^+ G^+ S g``.

    Parameters
    ----------
    batch : Batch
        Whose factors S is made of.
    g : ndarray of shape (P,)
        The right side, of float64 on the host, or of the network's dtype and device.
    damping : float
        Not negative.

    Returns
    -------
    solution : ndarray of shape (P,)
        x, of the dtype and device that the solver needed.
    reached : ndarray of shape (P,)
        The right side that x is the solution for: g, or without damping the part of g that S reaches.
    """
    factors = batch.factors
    gram, dtype = factors.gram(), factors.layout.dtype
    if not np.isfinite(gram).all():
        raise NotPositiveDefiniteError("the Gram matrix is not finite")
    if is_within_rounding(damping, float(np.trace(gram)), dtype):
        factors = batch.in_float64.factors
        gram = factors.gram()
    layout = factors.layout
    g = layout.on_device(g)
    seen = layout.on_host(factors.rows_times(g))
    if not np.isfinite(seen).all():
        raise NotPositiveDefiniteError("the products of the scores and the right side are not finite")

    def combined(u: Float64Array) -> Array:
        return factors.combined(layout.on_device(u))

    if damping > rounding_of(len(gram), layout.dtype) * float(np.trace(gram)):
        solved = solve_damped(gram, seen, damping, layout.device)
        if solved is not None:
            rest = g - combined(solved)
            rest /= damping
            return rest, g
    values, vectors = eigh(gram, layout.device)
    kept = values > rounding_of(len(gram), dtype) * values.max(initial=0.0)
    along, values = np.where(kept, vectors.T @ seen, 0.0), np.where(kept, values, 1.0)
    solution = combined(vectors @ (along / (values * (values + damping))))
    reached = combined(vectors @ (along / values))
    if damping == 0:
        return solution, reached
    # What S does not reach, unless that is what roundings have left.
    rest = g - reached
    if not is_rounding_of_part(norm(rest), norm(g), dtype):
        solution += rest / damping
    return solution, g


def solve_for_own_gradient(factors: Factors, roots: Float64Array, damping: float) -> Array | None:
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


def solve_damped(gram: Float64Array, right: Float64Array, damping: float, device: str) -> Float64Array | None:
    """Return ``(G + damping I)^-1 right``, or None where that matrix is not positive definite."""
    damped = gram.copy()
    damped.flat[:: len(gram) + 1] += damping
    with one_thread_if_small(len(gram)):
        factor = Cholesky.of(damped, device)
        return None if factor is None else factor.solve(right[:, None])[:, 0]


def norm(flat: Array) -> float:
    """Return the Euclidean norm of a vector on either device."""
    return math.sqrt(dot(flat, flat))


def conjugate_residuals(
    multiply: Callable[[Float64Array], Float64Array],
    g: Float64Array,
    damping: float,
    tolerance: float,
    most: int,
    rounding: float = 0.0,
) -> tuple[Float64Array, int, bool]:
    """Return the minimum-norm least-squares solution of ``(F + damping I) x = g``.

    Conjugate residuals take a product an iteration, as conjugate gradients do, and each iteration lowers the residual
    ``r = g - F x``, whether F reaches g or not (E. Stiefel, 1955). Where F is singular and does not reach all of g, r
    becomes the part that it does not reach, and x has a multiple of it, which is taken off at the end: ``x - (x^T r /
    r^T r) r`` (Y. Liu, A. Milzarek, F. Roosta, "Obtaining pseudo-inverse solutions with MINRES", 2023).

    That part limits how far they come: ``r^T F r`` is a sum that rounds to ``eps |F| |r|^2``, and where it is no longer
    positive they end. As ``|F r|^2 <= |F| r^T F r``, what is left of ``F r`` may be ``sqrt(eps) |F| |r|``.

    Parameters
    ----------
    multiply : callable
        The product with F.
    g : ndarray of shape (P,)
        The right side.
    damping : float
        Not negative.
    tolerance : float
        Of the residual, relative to g; or of F's product with the residual, relative to F and the residual.
    most : int
        Number of iterations after which it stops.
    rounding : float, default=0.0
        Of the eigenvalues of F, as a multiple of the largest: smaller ones count as 0 without damping.

    Returns
    -------
    solution : ndarray of shape (P,)
        x.
    iterations : int
        How many there were.
    has_converged : bool
        Whether they came to the tolerance.
    """
    x, residual = np.zeros_like(g), g.copy()
    product = multiply(residual) + damping * residual
    direction, moved = residual.copy(), product.copy()
    energy, largest, iteration = float(residual @ product), 0.0, 0
    goal = tolerance * float(np.linalg.norm(g))
    while True:
        left, slope = float(np.linalg.norm(residual)), float(np.linalg.norm(product))
        if left <= goal:
            return x, iteration, True
        # A bound of F's largest eigenvalue, from below.
        largest = max(largest, slope / left)
        has_converged = slope <= max(tolerance, 0.0 if damping else rounding) * largest * left or energy <= 0
        if has_converged or iteration == most:
            break
        step = energy / float(moved @ moved)
        x += step * direction
        residual -= step * moved
        product = multiply(residual) + damping * residual
        energy, before = float(residual @ product), energy
        direction = residual + energy / before * direction
        moved = product + energy / before * moved
        iteration += 1
    if damping == 0:
        x -= float(x @ residual) / float(residual @ residual) * residual
    return x, iteration, has_converged


def relative_residual(product: Float64Array, g: Float64Array) -> float:
    """Return ``|product - g| / |g|``, 0 for a g of zeros."""
    norm = float(np.linalg.norm(g))
    return float(np.linalg.norm(product - g)) / norm if norm else 0.0

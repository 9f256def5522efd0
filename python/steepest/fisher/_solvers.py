"""Solvers for linear equations with a Fisher matrix that is not formed: Gram matrix and conjugate residuals."""

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

# Eigenvalues below this multiple of (eps of the dtype + side * eps of float64) * (largest eigenvalue) count as 0.
_ROUNDINGS = 8.0
# Products with a vector v round to eps times the largest eigenvalue and |v|. Of a damping below this multiple of that,
# rounding changes more than a 64th, which leaves solutions fewer than two digits.
_ROUNDINGS_OF_DAMPING = 64.0
# A component of a vector v whose norm is below this multiple of eps * |v| counts as zero.
_ROUNDINGS_OF_A_PART = 1e3


class NotPositiveDefiniteError(ArithmeticError):
    """Raised when a matrix to be factorised is singular, indefinite or not finite."""


@dataclass(frozen=True)
class SolveReport:
    """How `FisherMatrix.solve` solved a system of equations.

    Attributes
    ----------
    solver : str
        Name of the solver, as in `FisherMatrix`, or name of the structure that solved with its own factors.
    damping : float
        The number that was added to the diagonal of F.
    residual : float
        ``|(F + damping I) x - g| / |g|``, of the solution that was returned. Without damping it is that of the part of
        g that F reaches: for the solver "cg", which does not know that part, ``|F (F x - g)| / |F g|``. Where F does
        not reach all of g, rounding leaves up to ``sqrt(eps) |F| |F x - g| / |F g|`` of it.
    iterations : int
        Number of iterations of the solver "cg"; 0 for the others.
    """

    solver: str
    damping: float
    residual: float
    iterations: int


def rounding_of(side: int, dtype: npt.DTypeLike) -> float:
    """Return the rounding error of the eigenvalues of a matrix, as a multiple of its largest eigenvalue.

    The matrix is computed from numbers of `dtype`, and decomposed in float64.

    Parameters
    ----------
    side : int
        Number of rows of the matrix.
    dtype : data-type
        Dtype of the numbers that the matrix is computed from.
    """
    return _ROUNDINGS * float(np.finfo(dtype).eps + side * np.finfo(np.float64).eps)


def is_within_rounding(damping: float, largest: float, dtype: npt.DTypeLike) -> bool:
    """Return whether the damping is lost in the rounding errors of a dtype, so that float64 is needed."""
    eps = float(np.finfo(dtype).eps)
    return np.dtype(dtype) != np.float64 and damping <= _ROUNDINGS_OF_DAMPING * eps * largest


def is_rounding_of_part(part: float, whole: float, dtype: npt.DTypeLike) -> bool:
    """Return whether a component of a vector may be only rounding error, from the norms of component and vector."""
    return part <= _ROUNDINGS_OF_A_PART * float(np.finfo(dtype).eps) * whole


def solve_by_gram(batch: Batch, g: Array, damping: float) -> tuple[Array, Array]:
    """Solve ``(S^T S + damping I) x = g`` with the Gram matrix ``G = S S^T`` of the rows of S.

    With damping, x is ``(g - S^T (G + damping I)^-1 S g) / damping`` (M. Woodbury, 1950). If the damping is below the
    rounding error of G, x is computed from the eigenvectors of G. Without damping, x is ``S^T G^+ G^+ S g``, the
    pseudoinverse applied to g.

    Parameters
    ----------
    batch : Batch
        The batch whose factors are S.
    g : ndarray of shape (P,)
        The right-hand side: float64 on the host, or in the network's dtype and on its device.
    damping : float
        The number added to the diagonal, at least 0.

    Returns
    -------
    solution : ndarray of shape (P,)
        The solution x, in the dtype and on the device that the solver used.
    reached : ndarray of shape (P,)
        The right-hand side that x solves: g, or without damping its projection on the rows of S.
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
    # The part of g orthogonal to the rows of S, unless it is only rounding error.
    rest = g - reached
    if not is_rounding_of_part(norm(rest), norm(g), dtype):
        solution += rest / damping
    return solution, g


def solve_for_own_gradient(factors: Factors, roots: Float64Array, damping: float) -> Array | None:
    """Return ``(S^T S + damping I)^-1 g`` for ``g = S^T e``, as ``S^T (S S^T + damping I)^-1 e`` without cancellation.

    Parameters
    ----------
    factors : Factors
        S of the empirical kind; the gradient of the batch is a combination of its rows.
    roots : ndarray of shape (m,)
        The coefficients e: square roots of the rows' normalised weights times the scale of the loss.
    damping : float
        The number added to the diagonal, above 0.

    Returns
    -------
    ndarray of shape (P,) or None
        The solution in the network's dtype and on its device; None if the matrix is not positive definite.
    """
    gram = factors.gram()
    if not np.isfinite(gram).all():
        raise NotPositiveDefiniteError("the Gram matrix is not finite")
    solved = solve_damped(gram, roots, damping, factors.layout.device)
    return None if solved is None else factors.combined(factors.layout.on_device(solved))


def solve_damped(gram: Float64Array, right: Float64Array, damping: float, device: str) -> Float64Array | None:
    """Return ``(G + damping I)^-1 right``, or None if ``G + damping I`` is not positive definite."""
    damped = gram.copy()
    damped.flat[:: len(gram) + 1] += damping
    with one_thread_if_small(len(gram)):
        factor = Cholesky.of(damped, device)
        return None if factor is None else factor.solve(right[:, None])[:, 0]


def norm(flat: Array) -> float:
    """Return the Euclidean norm of a vector on the CPU or on CUDA."""
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

    Like conjugate gradients, conjugate residuals take one product with F per iteration. Each iteration lowers the
    norm of the residual ``r = g - F x``, even if g is not in the range of F (E. Stiefel, 1955). In that case r tends to
    the part of g outside the range, and x contains a multiple of r, which is subtracted at the end: ``x - (x^T r / r^T
    r) r`` (Y. Liu, A. Milzarek, F. Roosta, "Obtaining pseudo-inverse solutions with MINRES", 2023).

    That part limits how far they come: ``r^T F r`` is a sum that rounds to ``eps |F| |r|^2``, and where it is no longer
    positive they end. As ``|F r|^2 <= |F| r^T F r``, what is left of ``F r`` may be ``sqrt(eps) |F| |r|``.

    Parameters
    ----------
    multiply : callable
        Function that returns the product of F with a vector.
    g : ndarray of shape (P,)
        The right-hand side.
    damping : float
        The number added to the diagonal, at least 0.
    tolerance : float
        The iterations stop at ``|r| <= tolerance |g|``, or at ``|F r| <= tolerance |F| |r|``.
    most : int
        Largest number of iterations.
    rounding : float, default=0.0
        Rounding error of the eigenvalues of F, as a multiple of the largest; without damping, smaller ones count as 0.

    Returns
    -------
    solution : ndarray of shape (P,)
        The solution x.
    iterations : int
        Number of iterations.
    has_converged : bool
        Whether the residual reached the tolerance.
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
        # A lower bound of F's largest eigenvalue.
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
    """Return ``|product - g| / |g|``, or 0 if g is zero."""
    norm = float(np.linalg.norm(g))
    return float(np.linalg.norm(product - g)) / norm if norm else 0.0

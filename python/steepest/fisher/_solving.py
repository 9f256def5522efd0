"""Solving with a Fisher matrix: the choice of the solver, solutions, inverses and their square roots."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import scipy.sparse.linalg

from steepest._runtime.arrays import Array, Float64Array

from ._batch import Batch, Expectation
from ._layout import Layout, require_no_capture
from ._options import Kind, SolverName, Split, StructureName, require_known
from ._solvers import SolveReport, conjugate_residuals, relative_residual, rounding_of, solve_by_gram
from ._structures import Operator, Structure
from ._structures.kronecker import Kfac

OUTSIDE_OF_CAPTURE = "use it outside of the block"
# Largest matrix in bytes that solver="auto" and averages form, and largest matrix that a caller may ask for.
MOST_BYTES, _MOST_BYTES_ASKED = 2 << 30, 16 << 30
# Relative residual at which conjugate residuals stop, unless the network's own rounding errors are larger; these in
# units of machine epsilon; and the most iterations.
_CG_TOLERANCE, _CG_ROUNDINGS, _CG_ITERATIONS = 1e-10, 100.0, 1000
# "auto" first tries matrix-vector products where forming the matrix takes more operations than this. One operation of a
# product takes as long as several operations of forming the matrix, which use each row again. Fewer products than
# the last number hardly solve any system.
_LARGE_WORK, _OPERATIONS_OF_MATRIX, _FEWEST_PRODUCTS = 2e9, 4.0, 20


class SolvableMatrix:
    """The part of a Fisher matrix that multiplies vectors by the matrix, and by its inverse."""

    kind: Kind
    structure: StructureName
    solver: SolverName
    size: int
    report: SolveReport | None
    _layout: Layout
    _batch: Batch
    _expectation: Expectation
    _structure: Structure
    _averaged: bool

    @overload
    def solve(self, g: Array, damping: float = 0.0) -> Float64Array: ...
    @overload
    def solve(self, g: Sequence[Array], damping: float = 0.0) -> list[Array]: ...
    def solve(self, g: Array | Sequence[Array], damping: float = 0.0) -> Float64Array | list[Array]:
        """Return ``(F + damping I)^-1 g``; without damping the minimum-norm least-squares solution of F x = g.

        Parameters
        ----------
        g : ndarray of shape (P,), or list of ndarray
            The right side.
        damping : float, default=0.0
            Not negative.

        Returns
        -------
        ndarray of shape (P,), or list of ndarray
            The solution. Directions whose eigenvalue is a rounding of 0 count as empty without damping.

        Raises
        ------
        ValueError
            The damping is negative or not finite, or g is not a finite vector of the parameters.
        """
        self._check_damping(damping)
        flat = self._layout.taken(g)
        solver, iterations, reached = self._chosen_solver(), 0, flat
        tried = self._tried(flat, damping, self._products_worth_trying(damping))
        if tried is not None:
            solver, (solution, iterations) = "cg", tried
        elif solver == "gram":
            solution, part = solve_by_gram(self._batch, flat, damping)
            reached = part if damping == 0 else flat
        elif solver == "cg":
            solution, iterations = self._by_conjugate_residuals(flat, damping)
        else:
            self._require_memory(self._largest_block())
            solution = self._structure.inverse(damping)(flat)
            if damping == 0:
                reached = self._structure.power(0.0, 0.0)(flat)
        given_back: Float64Array | list[Array] = self._layout.given_back(g, solution)
        x, right = self._layout.on_host(self._layout.taken(given_back)), self._layout.on_host(reached)
        residual = self._residual(x, right, damping, solver)
        self.report = SolveReport(solver, float(damping), residual, iterations)
        return given_back

    def _by_products(self, flat: Array, damping: float, most: int) -> tuple[Float64Array, int, bool]:
        """Solve with products in the dtype of the right side, to what that can tell."""
        dtype = flat.dtype
        return conjugate_residuals(
            lambda v: self._layout.on_host(self._multiply(v.astype(dtype, copy=False))),
            self._layout.on_host(flat),
            damping,
            max(_CG_TOLERANCE, _CG_ROUNDINGS * float(np.finfo(dtype).eps)),
            most,
            rounding_of(1, self._layout.dtype),
        )

    def _tried(self, flat: Array, damping: float, most: int) -> tuple[Float64Array, int] | None:
        """Return the solution and how many products it took, or None where this number does not find it."""
        if most < _FEWEST_PRODUCTS:
            return None
        right = self._layout.on_host(flat).astype(np.float64, copy=False)
        solution, iterations, has_converged = self._by_products(right, damping, most)
        return (solution, iterations) if has_converged and np.isfinite(solution).all() else None

    def _by_conjugate_residuals(self, flat: Array, damping: float) -> tuple[Float64Array, int]:
        solution, iterations, has_converged = self._by_products(flat, damping, _CG_ITERATIONS)
        if not has_converged:
            warnings.warn(
                f"[FisherMatrix] solver='cg' has not converged in {iterations} iterations: add damping, or take "
                "another solver",
                RuntimeWarning,
                stacklevel=3,
            )
        return solution, iterations

    def _residual(self, solution: Float64Array, reached: Float64Array, damping: float, solver: str) -> float:
        """Return the residual of a solution, as `SolveReport` has it."""
        product = self._layout.on_host(self._multiply(solution)) + damping * solution
        if solver == "cg" and damping == 0:
            product, reached = (self._layout.on_host(self._multiply(v)) for v in (product, reached))
        return relative_residual(product, reached)

    def inverse(
        self, damping: float = 0.0, *, split: Split | None = None
    ) -> scipy.sparse.linalg.LinearOperator:
        """Return ``(F + damping I)^-1`` as an operator, factorised once: ``F.inverse(0.1) @ g`` for flat vectors g.

        Parameters
        ----------
        damping : float, default=0.0
            Not negative. Without damping, directions that F does not have are mapped to 0.
        split : {"pi", "even"} or None, default=None
            For the structure ``"kfac"`` with damping: adds ``pi sqrt(damping) I`` to the factor of a layer's inputs and
            ``sqrt(damping) / pi I`` to that of its gradients, which takes Cholesky factors in place of eigenvectors.
            With ``"pi"`` the square of pi is the ratio of the factors' mean eigenvalues (J. Martens, R. Grosse, 2015,
            §6.3), with ``"even"`` it is 1.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            Of shape (P, P): symmetric. Later calls of `update` do not change it.

        Raises
        ------
        ValueError
            The damping is negative or not finite, or there is nothing to split or nothing to split it to.
        ArithmeticError
            A damped factor is not positive definite: take more damping.
        """
        return self._linear_operator(self._inverse(damping, split))

    def inverse_sqrt(self, damping: float = 0.0) -> Any:
        """Return ``(F + damping I)^(-1/2)`` as an operator: ``F.inverse_sqrt() @ v`` for flat vectors v.

        Parameters
        ----------
        damping : float, default=0.0
            Not negative. Without damping, directions that F does not have are mapped to 0.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            Of shape (P, P): symmetric. Standard normal vectors become those of covariance ``(F + damping I)^-1``.
        """
        self._check_damping(damping)
        self._require_memory(self._largest_block())
        return self._linear_operator(self._structure.power(-0.5, damping))

    def _linear_operator(self, operator: Operator) -> scipy.sparse.linalg.LinearOperator:
        def product(v: Float64Array) -> Float64Array:
            return self._layout.on_host(operator(self._layout.taken(np.asarray(v, np.float64).ravel())))

        return scipy.sparse.linalg.LinearOperator(
            (self.size, self.size), matvec=product, rmatvec=product, dtype=np.float64
        )

    def _multiply(self, flat: Array) -> Array:
        """Return ``F v``, in the dtype and on the device where it was computed."""
        if self._averaged or self.structure != "dense":
            return self._structure.multiply(flat)
        batch = self._batch.in_float64 if flat.dtype == np.float64 else self._batch
        flat = batch.layout.on_device(flat)
        if self.kind == "exact":
            return batch.times_exact(flat)
        return batch.factors.combined(batch.factors.rows_times(flat))

    def _inverse(self, damping: float, split: Split | None) -> Operator:
        """Return `inverse` for vectors as of `Layout.taken`, with results in any dtype and place."""
        self._check_damping(damping)
        structure = self._structure
        if split is not None:
            require_known("FisherMatrix", split=(split, Split))
            if type(structure) is not Kfac or damping == 0:
                raise ValueError(
                    f"[FisherMatrix] split={split!r} takes the structure 'kfac' and a positive damping, "
                    f"not {self.structure!r} and {damping}"
                )
            return structure.factored_inverse(damping, by_traces=split == "pi")
        solver, products = self._chosen_solver(), self._products_worth_trying(damping)
        if not products and solver != "cg":
            return self._inverse_by(solver, damping)
        # Updates give this object another batch, and its structure other matrices.
        now = copy.copy(self)
        now._structure = copy.copy(structure)
        return _ProductsThenMatrix(now, damping, products) if products else now._inverse_by(solver, damping)

    def _inverse_by(self, solver: str, damping: float) -> Operator:
        if solver == "gram":
            batch = self._batch
            return lambda flat: solve_by_gram(batch, flat, damping)[0]
        if solver == "cg":
            return lambda flat: self._by_conjugate_residuals(flat, damping)[0]
        self._require_memory(self._largest_block())
        return self._structure.inverse(damping)

    def _products_worth_trying(self, damping: float) -> int:
        """Return how many products take as long as the matrix that "auto" would form; 0 where none are tried."""
        solver = self._chosen_solver()
        if self.solver != "auto" or damping == 0 or solver not in ("cholesky", "gram") or self._averaged:
            return 0
        p, m = self.size, self._n_scores()
        if solver == "cholesky":
            work = float(m) * p**2 + p**3 / 3
        else:
            work = float(m) ** 2 * sum(sum(sides) for sides in self._layout.layers) + m**3 / 3
        # Forwards and back, each with two matrices of a layer; or the scores twice.
        product = 8.0 * len(self._batch.shares) * p if self.kind == "exact" else 4.0 * m * p
        return int(min(work / (_OPERATIONS_OF_MATRIX * product), _CG_ITERATIONS)) if work > _LARGE_WORK else 0

    def _chosen_solver(self) -> str:
        """Return what solves: for the dense structure the given solver, or the cheapest; its own name for any other."""
        if self.structure != "dense":
            return self.structure
        if self._averaged:
            return "cg" if self.solver == "cg" else "cholesky"
        if self.solver != "auto":
            return self.solver
        p, m = self.size, self._n_scores()
        smaller = "cholesky" if p <= m else "gram"
        return smaller if 8 * min(p, m) ** 2 <= MOST_BYTES else "cg"

    def _n_scores(self) -> int:
        """Return of how many scores the matrix is the sum of squares."""
        return len(self._batch.shares) * self._expectation.repeats(self._n_outputs())

    def _n_outputs(self) -> int:
        return self._layout.n_outputs

    def _largest_block(self) -> int:
        """Return the number of rows of the largest matrix of parameters that the structure forms."""
        largest_layer: int = max(p * m for p, m in self._layout.layers)
        sides: dict[str, int] = {"dense": self.size, "block": largest_layer}
        return sides.get(self.structure, 0)

    def _require_memory(self, side: int) -> None:
        if 8 * side**2 > _MOST_BYTES_ASKED:
            raise MemoryError(
                f"[FisherMatrix] a matrix of {side} x {side} parameters takes {8e-9 * side**2:.0f} GB: take products "
                "F @ v, or another structure or solver"
            )

    def _check_damping(self, damping: float) -> None:
        require_no_capture("FisherMatrix", OUTSIDE_OF_CAPTURE)
        if not (np.isfinite(damping) and damping >= 0):
            raise ValueError(f"[FisherMatrix] damping is {damping}: it must be finite and not negative")


class _ProductsThenMatrix:
    """The inverse that "auto" applies: by products, until they would have paid for the matrix; from then on by that."""

    def __init__(self, matrix: SolvableMatrix, damping: float, products: int) -> None:
        self._matrix, self._damping, self._left = matrix, damping, products
        self._direct: Operator | None = None

    def __call__(self, flat: Array) -> Array:
        if self._direct is None:
            tried = self._matrix._tried(flat, self._damping, self._left)
            if tried is not None:
                self._left -= tried[1]
                return tried[0]
            self._direct = self._matrix._inverse_by(self._matrix._chosen_solver(), self._damping)
        return self._direct(flat)

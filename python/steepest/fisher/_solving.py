"""Solving linear equations with a Fisher matrix: choice of the solver, inverses and inverse square roots."""

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
# solver="auto" first tries conjugate residuals if forming the matrix takes more operations than the first number. One
# operation of a matrix-vector product, which reuses no rows, takes as long as 4 operations of forming the matrix. Fewer
# products than the last number rarely solve a system.
_LARGE_WORK, _OPERATIONS_OF_MATRIX, _FEWEST_PRODUCTS = 2e9, 4.0, 20


class SolvableMatrix:
    """Base of `FisherMatrix` that solves linear equations, and applies the inverse and its square root to vectors."""

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
        """Return ``(F + damping I)^-1 g``, or without damping the minimum-norm least-squares solution of F x = g.

        Parameters
        ----------
        g : ndarray of shape (P,), or list of ndarray
            The right-hand side.
        damping : float, default=0.0
            The number added to the diagonal of F, at least 0.

        Returns
        -------
        ndarray of shape (P,), or list of ndarray
            The solution. Without damping, eigenvalues within rounding error of 0 count as 0.

        Raises
        ------
        ValueError
            If the damping is negative or not finite, or g is not a finite vector of the parameters.
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
        """Solve by conjugate residuals, to the precision of the right-hand side's dtype."""
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
        """Return the solution by at most `most` products and their number, or None if they did not converge."""
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
        """Return the relative residual of a solution, as `SolveReport` defines it."""
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
            The number added to the diagonal of F, at least 0. With 0 the operator maps the null space of F to 0.
        split : {"pi", "even"} or None, default=None
            How the structure ``"kfac"`` splits the damping: it adds ``pi sqrt(damping) I`` to the factor of a layer's
            inputs, and ``sqrt(damping) / pi I`` to that of its gradients. The inverse then needs Cholesky factors
            instead of eigenvectors. With ``"pi"``, pi^2 is the ratio of the factors' mean eigenvalues (J. Martens,
            R. Grosse, 2015, §6.3); with ``"even"``, pi is 1. None does not split the damping.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            A symmetric operator of shape (P, P). Later calls of `update` do not change it.

        Raises
        ------
        ValueError
            If the damping is negative or not finite, or `split` is used without ``"kfac"`` or without damping.
        ArithmeticError
            If a damped factor is not positive definite: use more damping.
        """
        return self._linear_operator(self._inverse(damping, split))

    def inverse_sqrt(self, damping: float = 0.0) -> Any:
        """Return ``(F + damping I)^(-1/2)`` as an operator: ``F.inverse_sqrt() @ v`` for flat vectors v.

        Parameters
        ----------
        damping : float, default=0.0
            The number added to the diagonal of F, at least 0. With 0 the operator maps the null space of F to 0.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            A symmetric operator of shape (P, P). It maps standard normal vectors to the covariance
            ``(F + damping I)^-1``.
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
        """Return ``F v`` in the dtype and on the device of the computation, which may differ from those of v."""
        if self._averaged or self.structure != "dense":
            return self._structure.multiply(flat)
        batch = self._batch.in_float64 if flat.dtype == np.float64 else self._batch
        flat = batch.layout.on_device(flat)
        if self.kind == "exact":
            return batch.times_exact(flat)
        return batch.factors.combined(batch.factors.rows_times(flat))

    def _inverse(self, damping: float, split: Split | None) -> Operator:
        """Return the inverse as a function of flat vectors; its results may have any dtype and device."""
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
        # The operator keeps copies, since `update` replaces the batch of this object and the matrices of its structure.
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
        """Return how many products take as long as forming the matrix that "auto" chose; 0 if it should not try any."""
        solver = self._chosen_solver()
        if self.solver != "auto" or damping == 0 or solver not in ("cholesky", "gram") or self._averaged:
            return 0
        p, m = self.size, self._n_scores()
        if solver == "cholesky":
            work = float(m) * p**2 + p**3 / 3
        else:
            work = float(m) ** 2 * sum(sum(sides) for sides in self._layout.layers) + m**3 / 3
        # Operations of one product: forward and backward pass, each with two matrices per layer; or S and S^T.
        product = 8.0 * len(self._batch.shares) * p if self.kind == "exact" else 4.0 * m * p
        return int(min(work / (_OPERATIONS_OF_MATRIX * product), _CG_ITERATIONS)) if work > _LARGE_WORK else 0

    def _chosen_solver(self) -> str:
        """Return the solver of the dense structure, given or cheapest; for other structures, the structure's name."""
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
        """Return the number of scores whose outer products the matrix adds up."""
        return len(self._batch.shares) * self._expectation.repeats(self._layout.n_outputs)

    def _largest_block(self) -> int:
        """Return the number of rows of the largest matrix that the structure forms, or 0 if it forms none."""
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
    """The inverse for solver="auto": conjugate residuals, until they cost as much as the matrix; then the matrix."""

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

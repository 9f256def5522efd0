"""What an optimizer needs of a Fisher matrix besides products and solutions."""

from __future__ import annotations

import numpy as np

from steepest._runtime.arrays import Array

from ._layout import Layout
from ._options import Split
from ._solvers import solve_for_own_gradient
from ._solving import SolvableMatrix
from ._structures import Operator


class MatrixForSteps(SolvableMatrix):
    """The part of a Fisher matrix that optimizers use; vectors are flat, of the network's dtype and on its device."""

    scale: float

    @property
    def layout(self) -> Layout:
        """Where the parameters stand in a vector."""
        return self._layout

    def gradient_of(self, d: Array) -> Array:
        """Return ``J^T d``, the gradient of the parameters from that of the output, d of shape (n, c)."""
        return self._batch.gradient_of(d)

    def tangent(self, v: Array) -> Array:
        """Return ``J v``, of shape (n, c): how the output changes with the parameters along v."""
        return self._batch.tangent(v)

    def form(self, moved: Array, others: Array) -> float:
        """Return ``u^T F v`` with the exact matrix of the batch, from ``J u`` and ``J v``."""
        return self._batch.form(moved, others)

    def multiply(self, v: Array) -> Array:
        """Return ``F v``."""
        return self._layout.on_device(self._multiply(v))

    def inverse_for_steps(self, damping: float, split: Split | None) -> Operator:
        """Return ``(F + damping I)^-1`` as a function; later averages do not change it.

        Parameters
        ----------
        damping : float
            At least 0.
        split : {"pi", "even"} or None
            As `inverse` takes it.

        Raises
        ------
        NotPositiveDefiniteError
            If the damped matrix is not positive definite.
        """
        solve = self._inverse(damping, split)
        return lambda v: self._layout.on_device(solve(v))

    def is_formed_for(self, damping: float) -> bool:
        """Return whether an inverse with this damping forms the matrix of the structure, and not scores or products."""
        return self._chosen_solver() not in ("gram", "cg") and not self._products_worth_trying(damping)

    def state(self) -> list[Array]:
        """Return copies of what the structure stores, on the host."""
        return self._structure.state()

    def solution_for_own_gradient(self, damping: float) -> Array | None:
        """Return ``(F + damping I)^-1 g`` for the gradient g of the batch's own targets, from their scores.

        Returns
        -------
        ndarray of shape (P,) or None
            None if the dense matrix is not solved by its scores, or is not positive definite.
        """
        if self._chosen_solver() != "gram":
            return None
        roots = np.sqrt(self.scale * self._batch.shares)
        return solve_for_own_gradient(self._batch.factors, roots, damping)

"""The dense and the block structure: the whole Fisher matrix, or its diagonal block for each layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from steepest._runtime.arrays import Array, Float64Array
from steepest._symmetric import Cholesky, eigh, eigvalsh
from steepest.fisher._factors import squares
from steepest.fisher._solvers import NotPositiveDefiniteError, rounding_of

from .base import Converter, Operator, Structure, summed
from .diagonal import Diagonal


class BlockDiagonal(Structure):
    """The exact matrix of each layer's parameters, and nothing between layers."""

    on_host = True

    @cached_property
    def matrices(self) -> list[Float64Array]:
        """The diagonal blocks, in float64 on the host."""
        return summed(
            [squares(factors.rows(layers), self.device) for layers in self._layers]
            for factors in self.batch.in_float64.factors_by_blocks(self.layout.size)
        )

    @property
    def _layers(self) -> list[slice]:
        """The layers of each block."""
        return [slice(i, i + 1) for i in range(len(self.layout.layers))]

    @property
    def _is_formed(self) -> bool:
        return "matrices" in self.__dict__

    def measure(self) -> None:
        _ = self.matrices

    def kept(self) -> list[Array]:
        return list(self.matrices)

    def merge(self, decay: float) -> None:
        before = self.matrices
        self._forget("matrices", "bases", "values")
        self.matrices = [
            decay * old + (1.0 - decay) * new for old, new in zip(before, self.matrices, strict=True)
        ]

    @cached_property
    def bases(self) -> list[tuple[Float64Array, Float64Array]]:
        """Eigenvalues and eigenvectors of each block."""
        self._require_finite(self.matrices)
        return [eigh(matrix, self.device) for matrix in self.matrices]

    def _require_finite(self, matrices: list[Float64Array]) -> None:
        if not all(np.isfinite(matrix).all() for matrix in matrices):
            raise NotPositiveDefiniteError("a block is not finite")

    @cached_property
    def values(self) -> list[Float64Array]:
        """The eigenvalues of the blocks."""
        return [values for values, _ in self.bases]

    def _blocks_of(self, flat: Float64Array) -> list[Float64Array]:
        ends = np.cumsum([len(matrix) for matrix in self.matrices])[:-1]
        return np.split(flat, ends)

    def spectra(self) -> list[Float64Array]:
        n_rows = len(self.batch.shares) * self.batch.expectation.repeats(self.layout.n_outputs)
        if self._is_formed or n_rows >= min(self._sides):
            return self.values
        # If S has fewer rows than columns, S S^T is smaller, and has the same nonzero eigenvalues as S^T S.
        grams = [self.batch.in_float64.factors.gram(layers) for layers in self._layers]
        self._require_finite(grams)
        return [eigvalsh(gram, self.device) for gram in grams]

    @property
    def _sides(self) -> list[int]:
        return [sum(p * m for p, m in self.layout.layers[layers]) for layers in self._layers]

    def roundings(self) -> list[float]:
        return [rounding_of(side, self.layout.dtype) for side in self._sides]

    def eigenbasis(
        self, own: Converter
    ) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        bases = [u for _, u in self.bases]

        def to_basis(flat: Array) -> list[Array]:
            return [u.T @ a for u, a in zip(bases, self._blocks_of(flat), strict=True)]

        def from_basis(coordinates: list[Array]) -> Array:
            return np.concatenate([u @ at for u, at in zip(bases, coordinates, strict=True)])

        return to_basis, from_basis

    def multiply(self, flat: Array) -> Array:
        blocks = self._blocks_of(self.own(flat))
        return np.concatenate([m @ a for m, a in zip(self.matrices, blocks, strict=True)])

    def blocks(self) -> list[Float64Array]:
        return self.matrices

    def diagonal(self) -> Float64Array:
        if not self._is_formed:
            return Diagonal(self.batch).diagonal()
        return np.concatenate([np.diag(matrix) for matrix in self.matrices])

    def inverse(self, damping: float) -> Operator:
        self._require_finite(self.matrices)
        factors = [
            Cholesky.of(matrix + damping * np.eye(len(matrix)), self.device)
            if damping > rounding_of(1, np.float64) * float(np.trace(matrix))
            else None
            for matrix in self.matrices
        ]
        if any(factor is None for factor in factors):
            # A block is singular to within rounding errors, which are larger than the damping.
            return super().inverse(damping)

        def product(flat: Array) -> Array:
            solved = zip(factors, self._blocks_of(self.own(flat)), strict=True)
            return np.concatenate([f.solve(a[:, None])[:, 0] for f, a in solved if f is not None])

        return product


class Dense(BlockDiagonal):
    """The exact matrix of all parameters."""

    @property
    def _layers(self) -> list[slice]:
        return [slice(None)]

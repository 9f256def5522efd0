"""The rows whose outer products a Fisher matrix adds up, a block for each layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import aligned_zeros, to_device, to_host

from ._layout import Layout
from .blocks import Block


@dataclass
class Factors:
    """``F = S^T S``, with r rows of S for each sample, each times the root of the sample's share.

    Attributes
    ----------
    layout : Layout
        Of the vectors.
    blocks : list of Block
        The columns of S that belong to each layer.
    n_rows : int
        Number of rows of S, n * r.
    """

    layout: Layout
    blocks: list[Block]
    n_rows: int

    def in_float64(self) -> Factors:
        """Return the same factors in float64, on the same device."""
        return Factors(self.layout.in_float64(), [block.in_float64() for block in self.blocks], self.n_rows)

    def rows_times(self, flat: Array) -> Array:
        """Return ``S v``, of shape (n * r,), for v of the network's dtype and device."""
        total: Array | None = None
        for block, part in zip(self.blocks, self.layout.parts(flat), strict=True):
            of_block = block.times(part)
            total = of_block if total is None else total + of_block
        assert total is not None
        return total

    def combined(self, u: Array) -> Array:
        """Return ``S^T u`` as a flat vector, for u of shape (n * r,)."""
        flat = self.layout.empty()
        for block, part in zip(self.blocks, self.layout.parts(flat), strict=True):
            block.combine(u, part)
        return flat

    def gram(self, layers: slice = slice(None)) -> Float64Array:
        """Return ``S S^T`` of the parameters of some layers, without S where that is possible, on the host."""
        gram = aligned_zeros((self.n_rows, self.n_rows), np.float64, self.layout.device)
        for block in self.blocks[layers]:
            block.add_gram(gram)
        result: Float64Array = to_host(gram)
        return result

    def rows(self, layers: slice = slice(None)) -> Array:
        """Return S, of the parameters of some layers, on the host."""
        return np.hstack([block.rows() for block in self.blocks[layers]])


def squares(rows: Array, device: str) -> Float64Array:
    """Return ``sum_i r_i r_i^T`` over the rows of an array, in float64 on the host; only one triangle is computed."""
    origin = aligned_zeros((1, rows.shape[1]), rows.dtype, device)
    scatter: Float64Array = to_host(K.class_scatter(to_device(rows, device), None, origin)[2])
    return scatter

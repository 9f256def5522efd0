"""Sparse samples: a CSR matrix whose rows become dense one mini-batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import aligned_empty, to_device, to_host

# Largest number of rows and of items of a dense block; 1 << 22 items are 32 MiB of float64.
_BLOCK_ROWS, _BLOCK_ITEMS = 2048, 1 << 22


class SparseRows:
    """CSR matrix on a device, with dense mini-batches of its rows.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array or csr_matrix
        The samples; on the CPU they are not copied.
    device : {"cpu", "cuda"}
        Device of the data.
    """

    def __init__(self, matrix: Any, device: str) -> None:
        self._matrix = matrix
        self.device = device
        self.shape: tuple[int, int] = matrix.shape
        self.dtype = matrix.dtype
        self._data, self._indices, self._indptr = (
            to_device(array, device) for array in (matrix.data, matrix.indices, matrix.indptr)
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Array) -> SparseRows:
        """Return the rows with these indices."""
        return SparseRows(self._matrix[to_host(rows)], self.device)

    def take(self, rows: Array, out: Array, start: Array | None = None) -> Array:
        """Write the dense rows ``rows[start : start + len(out)]`` into `out`; see `K.take_sparse_rows`."""
        return K.take_sparse_rows(self._data, self._indices, self._indptr, rows, out, start=start)

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield all rows in order as dense blocks, each with the index of its first row.

        All blocks share one buffer, which the next block overwrites.
        """
        size = max(1, min(_BLOCK_ROWS, _BLOCK_ITEMS // max(self.shape[1], 1)))
        rows = to_device(np.arange(len(self)), self.device)
        buffer = aligned_empty((min(size, len(self)), self.shape[1]), self.dtype, self.device)
        for start in range(0, len(self), size):
            block = buffer[: min(size, len(self) - start)]
            yield start, self.take(rows[start : start + len(block)], block)


def is_sparse(X: object) -> bool:
    """Whether X is a sparse matrix or array of SciPy's."""
    return bool(scipy.sparse.issparse(X))

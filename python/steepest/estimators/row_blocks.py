"""Computation with a dense or sparse matrix in blocks of rows on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import aligned_empty, to_device

# Number of items of a block. On the CPU, 1 to 2 MiB, which fit into the second-level cache; more on CUDA, where each
# kernel launch takes time.
_BLOCK_ITEMS = {"cpu": 1 << 18, "cuda": 1 << 25}
# Above this proportion of nonzero items, products of dense blocks are faster than those of a sparse matrix.
_MOST_ITEMS = 0.1


def block_rows(columns: int, device: str) -> int:
    """Return the number of rows of a block of a matrix with this number of columns."""
    return max(64, _BLOCK_ITEMS[device] // max(columns, 1))


def dense(rows: Any, device: str) -> Array:
    """Return rows of a dense or sparse matrix as a dense array on a device."""
    array: Array = to_device(rows.toarray() if scipy.sparse.issparse(rows) else rows, device)
    return array


def is_mostly_zero(X: Any) -> bool:
    """Whether X is sparse, with so few items that sparse products are faster than products of dense blocks."""
    return bool(scipy.sparse.issparse(X) and X.nnz <= _MOST_ITEMS * X.shape[0] * X.shape[1])


def centred_product(X: Any, centre: Array, w: Array, b: Array | None, device: str) -> Array:
    """Return ``(X - centre) @ w + b``; subtracting the centre before the product avoids cancellation of large means.

    Parameters
    ----------
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        Samples.
    centre : ndarray of shape (d,)
        Centre, which is subtracted from each row; on the device.
    w : ndarray of shape (d, m)
        Weights, on the device. All arrays have X's dtype.
    b : ndarray of shape (m,) or None
        Biases, on the device.
    device : {"cpu", "cuda"}
        Device to compute on.
    """
    if is_mostly_zero(X) and device == "cpu":
        return _sparse_product(X, centre, w, b)
    n = X.shape[0]
    result = aligned_empty((n, w.shape[1]), w.dtype, device)
    rows = block_rows(X.shape[1], device)
    for start in range(0, n, rows):
        block = slice(start, start + rows)
        K.linear(dense(X[block], device) - centre, w, b, out=result[block])
    return result


def _sparse_product(X: Any, centre: Array, w: Array, b: Array | None) -> Array:
    """Return `centred_product` of a sparse matrix, centred after the product, in float64 to limit cancellation."""
    product = X.astype(np.float64) @ w.astype(np.float64)
    product -= centre.astype(np.float64) @ w.astype(np.float64)
    if b is not None:
        product += b
    result: Array = product.astype(w.dtype)
    return result

"""Gathering mini-batches."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["take_rows", "take_sparse_rows"]


def take_rows(
    x: Array, indices: Int64Array, out: Array | None = None, *, start: int | Int64Array | None = None
) -> Array:
    """Return ``x[indices[start : start + len(out)]]``, a shuffled mini-batch.

    Parameters
    ----------
    x : ndarray of shape (n,) or (n, d)
        Of any dtype but those that hold references to objects; its rows are contiguous.
    indices : ndarray of int64 of shape (m,)
        Rows of x.
    out : ndarray of shape (batch,) or (batch, d), optional
        Receives the rows. Without it all indices from `start` on are taken.
    start : int or 0-d int64 ndarray, optional
        Where in `indices` the mini-batch begins, 0 by default. A scalar array serves as the cursor of a captured
        step; `out` is needed then.

    Returns
    -------
    ndarray
        The rows, in the order of the indices.

    Raises
    ------
    IndexError
        An index is outside 0..n-1, or the mini-batch goes beyond the indices.
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).take_rows(x, indices, out, start=start)


def take_sparse_rows(
    data: Array,
    indices: Array,
    indptr: Array,
    rows: Int64Array,
    out: Array,
    *,
    start: int | Int64Array | None = None,
) -> Array:
    """Return rows ``rows[start : start + len(out)]`` of a sparse matrix as dense numbers, a shuffled mini-batch.

    The matrix is in CSR form: row r has ``data[p]`` in column ``indices[p]`` for p in ``indptr[r]..indptr[r + 1] - 1``,
    in any order; what stands several times in one column is added up. These are the attributes of
    ``scipy.sparse.csr_array``, which are passed as they are.

    Parameters
    ----------
    data : ndarray of shape (n_items,)
        The numbers.
    indices : ndarray of int32 or int64 of shape (n_items,)
        Their columns.
    indptr : ndarray of int32 or int64 of shape (n + 1,)
        Where each row begins, and the last one ends.
    rows : ndarray of int64 of shape (m,)
        Rows of the matrix.
    out : ndarray of shape (batch, d)
        Receives the rows; d is the number of columns of the matrix.
    start : int or 0-d int64 ndarray, optional
        Where in `rows` the mini-batch begins, 0 by default. A scalar array serves as the cursor of a captured step.

    Returns
    -------
    ndarray of shape (batch, d)
        `out`.

    Raises
    ------
    IndexError
        A row is outside 0..n-1, or a column of the rows taken outside 0..d-1, or the mini-batch goes beyond `rows`.
    ValueError
        `indptr` decreases, or leaves 0..n_items, at a row taken; and see the package's conventions.
    TypeError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> data, indices, indptr = np.array([1.0, 2.0, 3.0]), np.array([2, 0, 1]), np.array([0, 1, 3])
    >>> K.take_sparse_rows(data, indices, indptr, np.array([1, 0]), np.empty((2, 3)))
    array([[2., 3., 0.],
           [0., 0., 1.]])
    """
    return backend_of(data).take_sparse_rows(data, indices, indptr, rows, out, start=start)

"""Rows by index: gathered from a dense or sparse matrix, the gradient of such a gathering, and rows put into places."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["embedding_backward", "put_rows", "take_rows", "take_sparse_rows"]


def take_rows(
    x: Array, indices: Array, out: Array | None = None, *, start: int | Int64Array | None = None
) -> Array:
    """Return ``x[indices[start : start + len(out)]]``, a shuffled mini-batch.

    Parameters
    ----------
    x : ndarray of shape (n,) or (n, d)
        Samples with contiguous rows, of any dtype without references to Python objects.
    indices : ndarray of integers of shape (m,)
        Rows of x. With a table of embeddings as x, the indices are ids, and `embedding_backward` is the gradient.
    out : ndarray of shape (batch,) or (batch, d), optional
        Receives the rows. Without `out`, the mini-batch runs from `start` to the last index.
    start : int or 0-d int64 ndarray, optional
        Position in `indices` of the mini-batch's first row, 0 by default. A scalar array serves as the cursor of a
        captured step, and requires `out`.

    Returns
    -------
    ndarray
        The rows, in the order of the indices.

    Raises
    ------
    IndexError
        If an index is outside 0..n-1, or the mini-batch goes beyond the indices.
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).take_rows(x, indices, out, start=start)


def put_rows(x: Array, indices: Array, out: Array, *, start: int | Int64Array | None = None) -> Array:
    """Write rows into places of an array: ``out[indices[start : start + len(x)]] = x``.

    Parameters
    ----------
    x : ndarray of shape (batch,) or (batch, d)
        The rows, contiguous, of any dtype without references to Python objects.
    indices : ndarray of integers of shape (m,)
        Places in `out`. Those of one call must differ: of two rows in one place, either may stay.
    out : ndarray of shape (n,) or (n, d)
        Receives the rows; its other rows stay as they are.
    start : int or 0-d int64 ndarray, optional
        Position in `indices` of the first row's place, 0 by default. A scalar array serves as the cursor of a captured
        step.

    Returns
    -------
    ndarray
        `out`.

    Raises
    ------
    IndexError
        If an index is outside 0..n-1, or the rows go beyond the indices. Nothing is written then.
    TypeError, ValueError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> K.put_rows(np.array([1.0, 2.0]), np.array([2, 0]), np.zeros(3))
    array([2., 0., 1.])
    """
    return backend_of(x).put_rows(x, indices, out, start=start)


def embedding_backward(d_out: Array, ids: Array, out: Array, *, accumulate: bool = False) -> Array:
    """Return the gradient of ``take_rows(table, ids)`` with respect to the table, an embedding.

    out[r] = the sum of d_out[i] over the rows i with ids[i] = r, added in the order of i. A row of the table that no id
    names gets 0.

    Parameters
    ----------
    d_out : ndarray of shape (n, d)
        Gradient with respect to the rows that were taken.
    ids : ndarray of integers of shape (n,)
        Row of the table for each row of d_out.
    out : ndarray of shape (rows, d)
        Receives the gradient; its shape is that of the table.
    accumulate : bool, default=False
        Add to what `out` holds. Rows that no id names then stay as they are.

    Returns
    -------
    ndarray of shape (rows, d)
        `out`.

    Raises
    ------
    IndexError
        If an id is outside 0..rows-1.
    TypeError, ValueError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> K.embedding_backward(np.array([[1.0], [2.0], [4.0]]), np.array([2, 0, 2]), np.empty((3, 1)))
    array([[2.],
           [0.],
           [5.]])
    """
    return backend_of(d_out).embedding_backward(d_out, ids, out, accumulate=accumulate)


def take_sparse_rows(
    data: Array,
    indices: Array,
    indptr: Array,
    rows: Array,
    out: Array,
    *,
    start: int | Int64Array | None = None,
) -> Array:
    """Return rows ``rows[start : start + len(out)]`` of a CSR matrix as a dense array, a shuffled mini-batch.

    Row r has ``data[p]`` in column ``indices[p]`` for p in ``indptr[r]..indptr[r + 1] - 1``. The columns of a row may
    be in any order; items of the same column add up. `data`, `indices` and `indptr` are the attributes of a
    ``scipy.sparse.csr_array``.

    Parameters
    ----------
    data : ndarray of shape (n_items,)
        Stored items of the matrix.
    indices : ndarray of int32 or int64 of shape (n_items,)
        Column of each item.
    indptr : ndarray of int32 or int64 of shape (n + 1,)
        Position in `data` of each row's first item, and the end of the last row.
    rows : ndarray of integers of shape (m,)
        Indices of rows of the matrix.
    out : ndarray of shape (batch, d)
        Receives the rows; d is the number of columns of the matrix.
    start : int or 0-d int64 ndarray, optional
        Position in `rows` of the mini-batch's first row, 0 by default. A scalar array serves as the cursor of a
        captured step.

    Returns
    -------
    ndarray of shape (batch, d)
        `out`.

    Raises
    ------
    IndexError
        If a row is outside 0..n-1, a column of these rows is outside 0..d-1, or the mini-batch goes beyond `rows`.
    ValueError
        If, at one of these rows, `indptr` decreases or leaves 0..n_items; see also the package's conventions.
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

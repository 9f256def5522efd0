"""Gathering mini-batches."""

from __future__ import annotations

from steepest._backends import backend_of
from steepest.kernels._types import Array, Int64Array


def take_rows(
    x: Array, indices: Int64Array, out: Array | None = None, *, start: int | Int64Array | None = None
) -> Array:
    """Return ``x[indices[start : start + len(out)]]``, a shuffled mini-batch.

    Parameters
    ----------
    x : ndarray of shape (n,) or (n, d)
        Of any dtype; its rows are contiguous.
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

"""Pooling of sequences: one row for each sequence, with its gradient and its derivative.

The rows of an array are the steps of sequences. `spans` (sequences, 2) holds the first row and the number of rows of
each sequence; without it, `sequences` sequences of equal length follow one another.
"""

from __future__ import annotations

from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["pool_spans", "pool_spans_backward", "pool_spans_gather"]


def pool_spans(
    x: Array,
    spans: Int64Array | None = None,
    sequences: int = 1,
    mode: str = "mean",
    out: Array | None = None,
    index: Int64Array | None = None,
) -> Array:
    """Return one row for each sequence: the mean of its rows, its last row, or the maximum of each column.

    A sequence without rows gives zeros. The mean and the last row are linear: ``pool_spans(dx, ...)`` is their
    derivative along dx. That of the maximum is `pool_spans_gather`.

    Parameters
    ----------
    x : ndarray of shape (rows, d)
        The steps.
    spans : ndarray of int64 of shape (sequences, 2), optional
        First row and number of rows of each sequence.
    sequences : int, default=1
        Number of sequences of equal length, without `spans`.
    mode : {"mean", "last", "max"}, default="mean"
        What is computed. The mean is summed in float64. For the maximum, NaN is the largest value.
    out : ndarray of shape (sequences, d), optional
        Receives the result.
    index : ndarray of int64 of shape (sequences, d), optional
        Receives the row of each maximum, for mode "max" alone: the first of several, or the first NaN; -1 in a
        sequence without rows.

    Returns
    -------
    ndarray of shape (sequences, d)
        The pooled rows.

    Raises
    ------
    ValueError
        If a sequence is not within the rows, or `sequences` does not divide them; see also the package's conventions.
    TypeError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> K.pool_spans(np.array([[1.0], [3.0], [5.0]]), np.array([[0, 2], [2, 1]]))
    array([[2.],
           [5.]])
    """
    return backend_of(x).pool_spans(x, spans, sequences, mode, out, index)


def pool_spans_backward(
    d_y: Array,
    spans: Int64Array | None = None,
    sequences: int = 1,
    mode: str = "mean",
    index: Int64Array | None = None,
    *,
    d_x: Array,
) -> Array:
    """Return the gradient of `pool_spans` with respect to x.

    d_x = d_y / (number of rows) in all rows of a sequence for the mean; d_y in the last row, or at the maxima, and 0 in
    the others. Sequences must not share rows.

    Parameters
    ----------
    d_y : ndarray of shape (sequences, d)
        Gradient with respect to the pooled rows.
    spans, sequences, mode
        As in `pool_spans`.
    index : ndarray of int64 of shape (sequences, d), optional
        The rows that `pool_spans` wrote for mode "max", which requires them. A row outside of its sequence selects no
        item.
    d_x : ndarray of shape (rows, d)
        Receives the gradient; its shape is that of x. Rows of no sequence stay as they are.

    Returns
    -------
    ndarray of shape (rows, d)
        `d_x`.

    Raises
    ------
    ValueError
        If a sequence is not within the rows, or `sequences` does not divide them; see also the package's conventions.
    TypeError
        See the package's conventions.
    """
    return backend_of(d_y).pool_spans_backward(d_y, spans, sequences, mode, index, d_x=d_x)


def pool_spans_gather(dx: Array, index: Int64Array, out: Array | None = None) -> Array:
    """Return the derivative of `pool_spans` with mode "max" along a direction: dx at each maximum.

    This is the transpose of `pool_spans_backward`.

    Parameters
    ----------
    dx : ndarray of shape (rows, d)
        The direction.
    index : ndarray of int64 of shape (sequences, d)
        The rows that `pool_spans` wrote. One outside of 0..rows-1 gives 0.
    out : ndarray of shape (sequences, d), optional
        Receives the derivative.

    Returns
    -------
    ndarray of shape (sequences, d)
        The derivative of the maxima.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(dx).pool_spans_gather(dx, index, out)

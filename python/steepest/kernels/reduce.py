"""Reductions: sum, mean, extrema, cumulative sum, argmax. Sums are accumulated in float64 and rounded once."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["argmax", "cumsum", "max", "mean", "min", "sum", "sum_squares"]


def sum(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the sum of all items, or the sums along an axis.

    Parameters
    ----------
    x : ndarray
        Values. With an axis, x has 2 dimensions; otherwise at most 2, or any number if it is contiguous.
    axis : {None, 0, 1}
        None: sum over all items. 0: sum of each column. 1: sum of each row.
    out : ndarray, optional
        Receives the result, in x's dtype.

    Returns
    -------
    ndarray
        The sums: a 0-d array for axis None, of shape (columns,) for 0, of shape (rows,) for 1.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).sum(x, axis, out)


def mean(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the arithmetic mean; parameters as in `sum`. An empty x raises ``ValueError``."""
    return backend_of(x).mean(x, axis, out)


def sum_squares(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the sum of squares; parameters as in `sum`."""
    return backend_of(x).sum_squares(x, axis, out)


def max(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the largest item, or NaN if x has one; parameters as in `sum`. An empty x raises ``ValueError``."""
    return backend_of(x).max(x, axis, out)


def min(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the smallest item, or NaN if x has one; parameters as in `sum`. An empty x raises ``ValueError``."""
    return backend_of(x).min(x, axis, out)


def cumsum(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the cumulative sums along an axis: item i is the sum of items 0 to i.

    Sums are accumulated in float64 and do not depend on the number of threads.

    Parameters
    ----------
    x : ndarray of 1 or 2 dimensions
        Values.
    axis : int, optional
        Axis of the sums. By default the sums run over all items in order; an x of 2 dimensions must then be contiguous.
    out : ndarray, optional
        Receives the sums; it may be x.

    Returns
    -------
    ndarray
        The sums, of x's shape; of shape (x.size,) if `axis` is None.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).cumsum(x, axis, out)


def argmax(x: Array, axis: int = 1, out: Int64Array | None = None) -> Int64Array:
    """Return the column of the first largest item of each row.

    Parameters
    ----------
    x : ndarray of shape (n, c)
        Scores. A NaN counts as the largest.
    axis : {1}
        Only 1 is supported: the maximum of each row.
    out : ndarray of int64 of shape (n,), optional
        Receives the columns.

    Returns
    -------
    ndarray of int64 of shape (n,)
        Column indices, in 0..c-1.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).argmax(x, axis, out)

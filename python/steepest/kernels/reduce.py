"""Reductions. Sums are accumulated in float64 and rounded once."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["argmax", "cumsum", "max", "mean", "min", "sum", "sum_squares"]


def sum(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the sum of all items, or along an axis.

    Parameters
    ----------
    x : ndarray
        Of 2 dimensions where an axis is given; otherwise of at most 2, or contiguous.
    axis : {None, 0, 1}
        None: over all items. 0: down the columns. 1: along the rows.
    out : ndarray, optional
        Receives the result, in x's dtype.

    Returns
    -------
    ndarray
        0-d, or of shape (columns,) or (rows,).

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).sum(x, axis, out)


def mean(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the arithmetic mean; parameters as `sum`. An empty mean is a ``ValueError``."""
    return backend_of(x).mean(x, axis, out)


def sum_squares(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the sum of squares; parameters as `sum`."""
    return backend_of(x).sum_squares(x, axis, out)


def max(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the largest item, NaN if there is one; parameters as `sum`. An empty maximum is a ``ValueError``."""
    return backend_of(x).max(x, axis, out)


def min(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the smallest item, NaN if there is one; parameters as `sum`. An empty minimum is a ``ValueError``."""
    return backend_of(x).min(x, axis, out)


def cumsum(x: Array, axis: int | None = None, out: Array | None = None) -> Array:
    """Return the cumulative sums along an axis: each item is the sum of those up to it.

    Sums are accumulated in float64. They do not depend on the number of threads.

    Parameters
    ----------
    x : ndarray of 1 or 2 dimensions
        Values.
    axis : int, optional
        The axis to run along; by default over all items in their order, for which x of 2 dimensions must be contiguous.
    out : ndarray, optional
        Receives the sums; it may be x.

    Returns
    -------
    ndarray
        Of x's shape; of shape (x.size,) where `axis` is None.

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
        Along the rows.
    out : ndarray of int64 of shape (n,), optional
        Receives the columns.

    Returns
    -------
    ndarray of int64 of shape (n,)
        In 0..c-1.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).argmax(x, axis, out)

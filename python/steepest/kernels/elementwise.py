"""Sums, products and copies of arrays of any strides, item by item."""

from __future__ import annotations

from steepest._runtime.arrays import Array
from steepest._runtime.backends import backend_of

__all__ = ["add", "copy", "multiply"]


def add(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return a + b, item by item.

    Parameters
    ----------
    a : ndarray of at most 5 dimensions
        The first summand, which gives the result its shape.
    b : ndarray
        The second summand, which broadcasts to a's shape by NumPy's rules.
    out : ndarray of a's shape, optional
        Receives the sums; it may be a, or b where b has a's shape.

    Returns
    -------
    ndarray of a's shape
        The sums.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(a).add(a, b, out)


def multiply(a: Array, b: Array, out: Array | None = None, *, accumulate: bool = False) -> Array:
    """Return a * b, item by item, or add the products to ``out``.

    Parameters
    ----------
    a : ndarray of at most 5 dimensions
        The first factor, which gives the result its shape.
    b : ndarray
        The second factor, which broadcasts to a's shape by NumPy's rules.
    out : ndarray of a's shape, optional
        Receives the products; it may be a, or b where b has a's shape.
    accumulate : bool
        Whether the products are added to what `out` holds; `out` must then be given.

    Returns
    -------
    ndarray of a's shape
        The products, or the sums.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(a).multiply(a, b, out, accumulate=accumulate)


def copy(x: Array, out: Array | None = None) -> Array:
    """Return a copy of an array, with any strides on either side.

    Transpositions, concatenations and new shapes are copies: ``copy(x.transpose(0, 2, 1), out=y)`` transposes the last
    two axes of x, and ``copy(a, out=y[:, :3])`` writes a into a part of y.

    Parameters
    ----------
    x : ndarray of at most 5 dimensions
        Values of float32, float64, bool, or an integer dtype.
    out : ndarray of x's shape and dtype, optional
        Receives the values; it may be x.

    Returns
    -------
    ndarray of x's shape and dtype
        The copy, in C order where `out` is not given.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).copy(x, out)

"""Dropout, with masks from Philox random numbers."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["dropout"]


def dropout(x: Array, rate: float, *, seed: int, stream: int | Int64Array, out: Array | None = None) -> Array:
    """Return ``x * mask / (1 - rate)``, where each item of the mask is 1 with probability 1 - rate, else 0.

    The mask of an item depends on `seed`, `stream` and the number of the item, counted along the rows, alone: it is
    the same on every device, for every layout of the array and for every number of threads. Items that are dropped
    become 0, whatever they were. The gradient with respect to x is the same call on the gradient with respect to
    the result.

    Parameters
    ----------
    x : ndarray
        Of at most 2 dimensions, or contiguous.
    rate : float
        Probability in [0, 1) with which an item is dropped, in steps of 2**-32.
    seed : int
        In 0..2**64-1.
    stream : int in 0..2**64-1, or 0-d int64 ndarray
        Each stream of a seed gives masks that are independent of the others'. A scalar array lets a captured step
        draw a new mask in each replay.
    out : ndarray of x's shape, optional
        Receives the result; it may be x.

    Returns
    -------
    ndarray of x's shape
        The items that were kept, scaled so that their expectation is x, and zeros.

    Raises
    ------
    ValueError
        `rate` is outside [0, 1), or `seed` or `stream` is outside 0..2**64-1; and see the package's conventions.
    TypeError
        See the package's conventions.

    References
    ----------
    N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: a simple way to prevent neural
    networks from overfitting", JMLR 15, 2014.
    """
    return backend_of(x).dropout(x, rate, seed=seed, stream=stream, out=out)

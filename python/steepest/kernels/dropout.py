"""Dropout, with masks from Philox random numbers."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["dropout"]


def dropout(x: Array, rate: float, *, seed: int, stream: int | Int64Array, out: Array | None = None) -> Array:
    """Return ``x * mask / (1 - rate)``, where each item of the mask is 1 with probability 1 - rate, else 0.

    The mask of an item depends only on `seed`, `stream` and the number of the item, counted along the rows. It is the
    same on every device, for every layout of the array and for every number of threads. Dropped items become 0, even
    if they were infinite or NaN. For the gradient with respect to x, apply the same call to the gradient with respect
    to the result.

    Parameters
    ----------
    x : ndarray
        Input, of at most 2 dimensions or contiguous.
    rate : float
        Probability in [0, 1) with which an item is dropped, in steps of 2**-32.
    seed : int
        Seed of the random numbers, in 0..2**64-1.
    stream : int in 0..2**64-1, or 0-d int64 ndarray
        Streams of one seed give independent masks. With a scalar array, a captured step uses a new mask in each replay.
    out : ndarray of x's shape, optional
        Receives the result; it may be x.

    Returns
    -------
    ndarray of x's shape
        Kept items, divided by 1 - rate so that the expectation is x, and zeros.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1), or `seed` or `stream` is outside 0..2**64-1; see also the package's conventions.
    TypeError
        See the package's conventions.

    References
    ----------
    N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: a simple way to prevent neural
    networks from overfitting", JMLR 15, 2014.
    """
    return backend_of(x).dropout(x, rate, seed=seed, stream=stream, out=out)

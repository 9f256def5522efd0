"""Random numbers that depend on their seed, stream and position alone.

They come from Philox4x32-10, a counter-based generator: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel
random numbers: as easy as 1, 2, 3", SC 2011. Item i is the same on every device and for every number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from steepest import _cpu
from steepest.kernels._types import Array, Int64Array


def random_uniform(
    shape: int | tuple[int, ...],
    low: float = 0.0,
    high: float = 1.0,
    *,
    seed: int,
    stream: int = 0,
    dtype: npt.DTypeLike = np.float32,
    out: Array | None = None,
) -> Array:
    """Return numbers that are uniform in [low, high).

    Parameters
    ----------
    shape : int or tuple of int
        Shape of the result.
    low, high : float
        The interval. It is divided into 2**24 steps for float32 and 2**53 for float64.
    seed : int
        In 0..2**64-1.
    stream : int
        In 0..2**64-1; each stream of a seed is independent of the others.
    dtype : data-type
        float32 or float64.
    out : ndarray of this shape and dtype, optional
        Contiguous; receives the numbers.

    Returns
    -------
    ndarray
        The numbers.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    shape = (shape,) if isinstance(shape, int | np.integer) else shape
    return _cpu.random_uniform(
        shape, low, high, seed=seed, stream=stream, dtype=np.dtype(dtype).name, out=out
    )


def random_bits(n: int, *, seed: int, stream: int = 0) -> npt.NDArray[np.uint64]:
    """Return n random 64-bit integers; parameters as `random_uniform`."""
    bits: npt.NDArray[Any] = _cpu.random_bits(n, seed=seed, stream=stream)
    return bits


def permutation(n: int, *, seed: int, stream: int = 0) -> Int64Array:
    """Return a random permutation of 0..n-1: the order that sorts n 64-bit random keys.

    Parameters
    ----------
    n : int
        Length.
    seed, stream : int
        As in `random_uniform`; the epoch serves as the stream of a shuffle.

    Returns
    -------
    ndarray of int64 of shape (n,)
        The permutation.

    Raises
    ------
    ValueError
        n is negative, or a graph is being captured.
    """
    if _cpu.is_capturing():
        raise ValueError(
            "[permutation] cannot be captured: sorting is not an operation; permute before the replay"
        )
    if n < 0:
        raise ValueError(f"[permutation] n is {n}; it must not be negative")
    return np.argsort(random_bits(n, seed=seed, stream=stream)).astype(np.int64, copy=False)

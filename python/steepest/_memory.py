"""Arrays that start on a cache line."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

CACHE_LINE = 64  # bytes; also the width of the widest vector register


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """Return an uninitialised C-ordered array whose first byte lies on a cache line.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : data-type
        Its dtype.

    Returns
    -------
    ndarray
        A view into a buffer that is one cache line longer.
    """
    dtype = np.dtype(dtype)
    n_bytes = math.prod(shape) * dtype.itemsize
    raw = np.empty(n_bytes + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + n_bytes].view(dtype).reshape(shape)


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """Return `aligned_empty` filled with zeros."""
    array = aligned_empty(shape, dtype)
    array[...] = 0
    return array

"""Arrays on a device: made there, and moved there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of, import_cupy, is_cupy

CACHE_LINE = 64  # bytes; also the width of the widest vector register


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike, device: str = "cpu") -> Array:
    """Return an uninitialised C-ordered array whose first byte lies on a cache line.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : data-type
        Its dtype.
    device : {"cpu", "cuda"}
        Where it lies.

    Returns
    -------
    ndarray
        On the CPU a view into a buffer that is one cache line longer; on CUDA an array of CuPy, which aligns all of
        its arrays to 512 bytes.
    """
    if device == "cuda":
        array: Array = import_cupy().empty(shape, dtype)
        return array
    return _on_cache_line(np.empty, shape, dtype)


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike, device: str = "cpu") -> Array:
    """Return `aligned_empty` filled with zeros. On the CPU, pages that are never written to take no memory."""
    if device == "cuda":
        array = aligned_empty(shape, dtype, device)
        array[...] = 0
        return array
    return _on_cache_line(np.zeros, shape, dtype)


def _on_cache_line(make: Callable[..., Array], shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    raw = make(n_bytes + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + n_bytes].view(dtype).reshape(shape)


def array_namespace(array: object) -> Any:
    """Return the module of an array's functions, NumPy or CuPy."""
    return import_cupy() if is_cupy(array) else np


def to_host(array: Any) -> Any:
    """Return a CuPy array as a NumPy array, once what is computed on its stream is done; anything else as it is."""
    return import_cupy().asnumpy(array) if is_cupy(array) else array


def to_device(array: Array, device: str) -> Array:
    """Return an array on a device: itself, or a copy if it lies on the other one."""
    if device_of(array) == device:
        return array
    moved: Array = to_host(array) if device == "cpu" else import_cupy().asarray(array)
    return moved


def assign(target: Array, source: Any) -> None:
    """Write `source` into `target`, whichever device each lies on."""
    target[...] = import_cupy().asarray(source) if is_cupy(target) else to_host(source)


def keep_freed_memory() -> None:
    """Let the C library keep some tens of megabytes that are freed, for the arrays that come next.

    glibc gives the top of its heap back to the system once twice as much is free as the largest block that it has seen
    freed, up to 32 MiB. Arrays that come and go in every step are then mapped anew, page by page, which takes a fifth
    of a Fisher-vector product of a small network. A block that is freed untouched costs nothing, and lifts that limit.
    """
    np.empty((32 << 20) - (64 << 10), np.uint8)

"""Allocation of arrays on a device, and copies between host and device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of, import_cupy, is_cupy

CACHE_LINE = 64  # bytes; also the width of the widest vector register
_SMALL_BYTES = 16 << 10


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike, device: str = "cpu") -> Array:
    """Return an uninitialised C-ordered array whose first byte lies on a cache line.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.
    dtype : data-type
        Dtype of the array.
    device : {"cpu", "cuda"}
        Device of the array.

    Returns
    -------
    ndarray
        On the CPU, a view into a buffer that is one cache line longer. On CUDA, a CuPy array; CuPy aligns all of its
        arrays to 512 bytes.
    """
    if device == "cuda":
        array: Array = import_cupy().empty(shape, dtype)
        return array
    return _on_cache_line(np.empty, shape, dtype)


def short_lived_empty(shape: tuple[int, ...], dtype: np.dtype[Any], device: str) -> Array:
    """Return `aligned_empty`, but for small arrays without the alignment, which takes longer than it saves there."""
    if device == "cpu" and math.prod(shape) * dtype.itemsize < _SMALL_BYTES:
        return np.empty(shape, dtype)
    return aligned_empty(shape, dtype, device)


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike, device: str = "cpu") -> Array:
    """Return `aligned_empty` filled with zeros; on the CPU, pages without a write take no memory."""
    if device == "cuda":
        array = aligned_empty(shape, dtype, device)
        array[...] = 0
        return array
    return _on_cache_line(np.zeros, shape, dtype)


def _on_cache_line(make: Callable[..., Array], shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    raw = make(math.prod(shape) * np.dtype(dtype).itemsize + CACHE_LINE, np.uint8)
    return np.ndarray(shape, dtype, raw, -raw.ctypes.data % CACHE_LINE)


def scalar_like(value: float, array: Array) -> Array:
    """Return a number as a 0-d array of an array's dtype on its device, as the kernels for two arrays take it."""
    scalar: Array = array_namespace(array).full((), value, array.dtype)
    return scalar


def array_namespace(array: object) -> Any:
    """Return the module for an array's functions: CuPy for a CuPy array, else NumPy."""
    return import_cupy() if is_cupy(array) else np


def to_host(array: Any) -> Any:
    """Return a CuPy array as a NumPy array, after waiting for its stream; return any other object unchanged."""
    return import_cupy().asnumpy(array) if is_cupy(array) else array


def to_device(array: Array, device: str) -> Array:
    """Return an array on a device: the array itself, or a copy if it is on the other device."""
    if device_of(array) == device:
        return array
    moved: Array = to_host(array) if device == "cpu" else import_cupy().asarray(array)
    return moved


def assign(target: Array, source: Any) -> None:
    """Copy `source` into `target`; each may be on any device."""
    target[...] = import_cupy().asarray(source) if is_cupy(target) else to_host(source)


def keep_freed_memory() -> None:
    """Let the C library keep up to about 64 MiB of freed memory, so that temporary arrays reuse it.

    glibc returns the top of its heap to the system once the free part exceeds a threshold: twice the largest block
    freed so far, counting blocks up to 32 MiB. The arrays of the next step then cause page faults, which take a fifth
    of a Fisher-vector product of a small network. Allocating and freeing one block just below 32 MiB raises the
    threshold; its pages are never touched, so that this costs nothing.
    """
    np.empty((32 << 20) - (64 << 10), np.uint8)

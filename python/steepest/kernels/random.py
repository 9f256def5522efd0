"""Random numbers and permutations that depend only on seed, stream and position.

The numbers come from Philox4x32-10, a counter-based generator: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011. Item i is the same on every device and for every number of
threads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steepest import _cpu
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_for, check_device, import_cupy

__all__ = ["permutation", "random_bits", "random_uniform"]


def random_uniform(
    shape: int | tuple[int, ...],
    low: float = 0.0,
    high: float = 1.0,
    *,
    seed: int,
    stream: int = 0,
    dtype: npt.DTypeLike = np.float32,
    out: Array | None = None,
    device: str | None = None,
) -> Array:
    """Return random numbers, uniform in [low, high).

    Parameters
    ----------
    shape : int or tuple of int
        Shape of the result.
    low, high : float
        Bounds of the interval, ``low <= high``; both, and ``high - low``, must be finite. The interval has 2**24 steps
        for float32 and 2**53 for float64.
    seed : int
        Seed of the random numbers, in 0..2**64-1.
    stream : int
        Stream of the seed, in 0..2**64-1; streams are independent of one another.
    dtype : data-type
        Dtype of the numbers, float32 or float64.
    out : ndarray of this shape and dtype, optional
        Contiguous array that receives the numbers.
    device : {"cpu", "cuda"}, optional
        Device of the result, a NumPy or a CuPy array; by default the device of `out`, or the CPU.

    Returns
    -------
    ndarray
        The numbers.

    Raises
    ------
    ValueError
        If `device` is not the device of `out`, or the interval is not valid; see also the package's conventions.
    TypeError, RuntimeError
        See the package's conventions.
    """
    try:
        name = np.dtype(dtype).name
    except TypeError:
        raise TypeError(f"[random_uniform] dtype {dtype!r} is not float32 or float64") from None
    return backend_for("random_uniform", out, device).random_uniform(
        shape, low, high, seed=seed, stream=stream, dtype=name, out=out
    )


def random_bits(
    n: int,
    *,
    seed: int,
    stream: int = 0,
    out: npt.NDArray[np.uint64] | None = None,
    device: str | None = None,
) -> npt.NDArray[np.uint64]:
    """Return n random 64-bit integers as uint64; other parameters as in `random_uniform`."""
    return backend_for("random_bits", out, device).random_bits(n, seed=seed, stream=stream, out=out)


def permutation(n: int, *, seed: int, stream: int = 0, device: str = "cpu") -> Int64Array:
    """Return a random permutation of 0..n-1, made by sorting n random 64-bit keys.

    Parameters
    ----------
    n : int
        Length of the permutation.
    seed, stream : int
        As in `random_uniform`. To shuffle samples in each epoch, use the epoch as the stream.
    device : {"cpu", "cuda"}, default="cpu"
        Device of the result, a NumPy or a CuPy array. The permutation is the same on both.

    Returns
    -------
    ndarray of int64 of shape (n,)
        The permutation.

    Raises
    ------
    ValueError
        If n is negative, the device is unknown, or a graph is being captured.
    RuntimeError
        See the package's conventions.
    """
    check_device(device, "permutation")
    if _cpu.is_capturing():
        raise ValueError(
            "[permutation] cannot be captured: sorting is not an operation; permute before the replay"
        )
    n = checked_integer("permutation", "n", n, high=2**63 - 1)
    seed = checked_integer("permutation", "seed", seed)
    stream = checked_integer("permutation", "stream", stream)
    keys = random_bits(n, seed=seed, stream=stream, device=device)
    order: Int64Array = (np if device == "cpu" else import_cupy()).argsort(keys).astype(np.int64, copy=False)
    return order

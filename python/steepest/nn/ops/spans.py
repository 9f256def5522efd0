"""Which rows belong to which sequence, for operations on padded sequences of different lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from steepest import kernels as K
from steepest._cpu import is_capturing
from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros, array_namespace, to_host


def check_lengths(name: str, lengths: Int64Array, steps: int) -> None:
    """Raise ValueError unless lengths are in 1..steps; while a graph is captured, they are not known."""
    if is_capturing() or not len(lengths):
        return
    if int(lengths.min()) < 1 or int(lengths.max()) > steps:
        wrong = int(to_host((lengths < 1) | (lengths > steps)).argmax())
        raise ValueError(
            f"[{name}] sequence {wrong} has the length {int(lengths[wrong])}; lengths must be in 1..{steps}"
        )


def padded_spans(lengths: Int64Array, steps: int) -> Int64Array:
    """Return first row and number of rows of each sequence in a padded array of as many steps each.

    In a graph, the lengths are read with every replay.
    """
    spans: Int64Array = array_namespace(lengths).empty((len(lengths), 2), np.int64)
    spans[:, 0] = array_namespace(lengths).arange(len(lengths)) * steps
    K.copy(lengths, out=spans[:, 1])
    return spans


def packed_spans(lengths: Int64Array, steps: int) -> tuple[Int64Array, Int64Array]:
    """Return the rows of a padded array that belong to sequences, and the spans of the sequences among these rows."""
    xp: Any = array_namespace(lengths)
    spans: Int64Array = xp.empty((len(lengths), 2), np.int64)
    spans[:, 1] = lengths
    spans[:, 0] = xp.cumsum(lengths) - lengths
    return xp.flatnonzero(xp.arange(steps) < lengths[:, None]), spans


def clear(array: Array) -> None:
    """Set an array to zero, in a graph too."""
    if array.size:
        zero = aligned_zeros((1,) * array.ndim, array.dtype, device_of(array))
        K.copy(array_namespace(array).broadcast_to(zero, array.shape), out=array)

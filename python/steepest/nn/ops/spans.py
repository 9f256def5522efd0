"""Which rows belong to which sequence, for operations on padded sequences of different lengths."""

from __future__ import annotations

from typing import Any, NamedTuple

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


class Packing(NamedTuple):
    """How the steps of padded sequences become rows without padding, and rows become padded sequences again.

    Attributes
    ----------
    spans : ndarray of shape (n, 2)
        First row and number of rows of each sequence.
    places : ndarray of shape (rows,)
        The row of the padded array that each row is.
    sources : ndarray of shape (n * steps,)
        The row that each row of the padded array is; `rows` in the padding.
    """

    spans: Int64Array
    places: Int64Array
    sources: Int64Array


def packed(lengths: Int64Array, steps: int) -> Packing:
    """Return the packing of padded sequences."""
    xp: Any = array_namespace(lengths)
    spans: Int64Array = xp.empty((len(lengths), 2), np.int64)
    spans[:, 1] = lengths
    spans[:, 0] = xp.cumsum(lengths) - lengths
    step = xp.arange(steps)
    inside = step < spans[:, 1:]
    places = xp.flatnonzero(inside)
    return Packing(spans, places, xp.where(inside, spans[:, :1] + step, len(places)).ravel())


def clear(array: Array) -> None:
    """Set an array to zero, in a graph too."""
    if array.size:
        zero = aligned_zeros((1,) * array.ndim, array.dtype, device_of(array))
        K.copy(array_namespace(array).broadcast_to(zero, array.shape), out=array)

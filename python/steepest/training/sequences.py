"""Sequences as samples: one behind the other in one array, and mini-batches of them, padded to one length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, array_namespace, to_device, to_host

__all__ = ["Sequences"]

# Largest number of sequences and of items of a block for predictions; 1 << 20 items are 4 MiB of float32.
_BLOCK_SEQUENCES, _BLOCK_ITEMS = 2048, 1 << 20


class Sequences:
    """Sequences of different lengths, as an estimator takes them: an X without padding.

    They behave as a list of arrays, ``sequences[i]``, and may be cut as an array is: ``sequences[:100]``,
    ``sequences[rows]``, so that scikit-learn's splits and searches take them.

    Parameters
    ----------
    X : list of array-like of shape (T_i, d) or (T_i,), ndarray of shape (n, T, d) or (n, T), or Sequences
        The sequences: T_i steps of d numbers, or of one number or id; or an array that holds them padded at their ends.
    lengths : array-like of int of shape (n,), optional
        Number of steps of each sequence of an array, from 1 on; all of T by default.

    Attributes
    ----------
    items : ndarray of shape (total, d) or (total,)
        The steps of all sequences, one sequence behind the other.
    lengths : ndarray of int64 of shape (n,)
        Number of steps of each sequence, on the host.
    longest : int
        Number of steps of the longest sequence.
    is_even : bool
        Whether all sequences have the same length.

    Raises
    ------
    ValueError
        If a sequence has no step, the sequences differ in d, a length is not in 1..T, or there are lengths of a list of
        sequences of different lengths.
    TypeError
        If the lengths are not integers.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest.neural_network import Sequences
    >>> padded = np.array([[[1.0], [2.0]], [[3.0], [0.0]]])
    >>> sequences = Sequences(padded, lengths=[2, 1])
    >>> len(sequences), sequences[1]
    (2, array([[3.]]))
    """

    def __init__(self, X: Any, lengths: Any = None) -> None:
        if lengths is not None and (isinstance(X, Sequences) or _has_arrays(X)):
            raise ValueError(
                "[Sequences] lengths are for an array of padded sequences; those of a list have their own"
            )
        if isinstance(X, Sequences):
            self._set(X.items, X.lengths)
            return
        items, counts = _from_list(X) if _is_list(X) and lengths is None else _from_array(X, lengths)
        self._set(items, counts)

    def _set(self, items: Array, lengths: Int64Array) -> None:
        self.items, self.lengths = items, lengths
        self.longest = int(lengths.max(initial=0))
        self.is_even = bool((lengths == self.longest).all())
        self._starts: Int64Array = np.cumsum(lengths) - lengths
        self._full: dict[int, Array] = {}

    @classmethod
    def of_items(cls, items: Array, lengths: Int64Array) -> Sequences:
        """Return sequences whose steps are the rows of an array, one sequence behind the other."""
        made = cls.__new__(cls)
        made._set(items, lengths)
        return made

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sequences, and of the numbers of a step."""
        return len(self.lengths), self.items.shape[1] if self.items.ndim > 1 else 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the steps."""
        return self.items.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the steps."""
        return int(self.items.nbytes)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: Any) -> Any:
        """Return a sequence as an array, for a whole number, or the sequences of a slice or of an array of numbers."""
        if isinstance(rows, tuple):
            # (rows, ...), as scikit-learn cuts an array
            rows = rows[0]
        if isinstance(rows, (int, np.integer)):
            i = range(len(self))[rows]
            return self.items[self._starts[i] : self._starts[i] + self.lengths[i]]
        picked = np.arange(len(self))[to_host(rows) if hasattr(rows, "dtype") else rows]
        if isinstance(rows, slice) and rows.step in (None, 1):
            lengths, first = self.lengths[picked], int(self._starts[picked[0]]) if len(picked) else 0
            return Sequences.of_items(self.items[first : first + int(lengths.sum())], lengths)
        lengths = self.lengths[picked]
        # Step j of picked sequence i is step j of the sequence that it was.
        places = np.repeat(self._starts[picked] - (np.cumsum(lengths) - lengths), lengths) + np.arange(
            lengths.sum()
        )
        return Sequences.of_items(self.items[to_device(places, device_of(self.items))], lengths)

    def __repr__(self) -> str:
        n, width = self.shape
        steps = f"1..{self.longest}" if not self.is_even else f"{self.longest}"
        return f"Sequences({n} of {steps} steps of {width} {self.dtype})"

    # --------------------------------------------------------------------------------------------- for batches

    def to(self, device: str) -> Sequences:
        """Return the sequences with their steps on a device."""
        return Sequences.of_items(to_device(self.items, device), self.lengths)

    def take(self, rows: Array, length: int, start: Array) -> tuple[Array, Array]:
        """Return the sequences ``rows[start : start + length]``, padded, and their lengths.

        For sequences of one length this can be captured.

        Parameters
        ----------
        rows : ndarray of int64
            Indices of sequences, on the device of the steps.
        length : int
            Number of sequences.
        start : ndarray of shape () and dtype int64
            The place of the first.

        Returns
        -------
        x : ndarray of shape (length, steps, d) or (length, steps)
            The steps; those behind the end of a sequence repeat its last one.
        lengths : ndarray of int64 of shape (length,)
            The number of steps of each sequence.
        """
        if self.is_even:
            shape = length, self.longest, *self.items.shape[1:]
            out = aligned_empty(shape, self.dtype, device_of(self.items))
            K.take_rows(self.items.reshape(len(self), -1), rows, out.reshape(length, -1), start=start)
            return out, self._lengths_of(length)
        first = int(start)
        return self.padded(to_host(rows[first : first + length]))

    def _lengths_of(self, n: int) -> Array:
        """Return the lengths of n sequences that are all equally long."""
        if n not in self._full:
            self._full[n] = to_device(np.full(n, self.longest, np.int64), device_of(self.items))
        return self._full[n]

    def padded(self, picked: Int64Array) -> tuple[Array, Array]:
        """Return some sequences as one array, and their lengths."""
        device, lengths = device_of(self.items), self.lengths[picked]
        steps = _rounded_up(int(lengths.max(initial=1)), self.longest)
        places = self._starts[picked, None] + np.minimum(np.arange(steps), lengths[:, None] - 1)
        out = aligned_empty((len(picked), steps, *self.items.shape[1:]), self.dtype, device)
        K.take_rows(self.items, to_device(places.reshape(-1), device), out.reshape(-1, *self.items.shape[1:]))
        return out, to_device(lengths, device)

    def blocks(self) -> Iterator[tuple[Int64Array, tuple[Array, Array]]]:
        """Yield the sequences as padded blocks, those of similar lengths together, each with its rows."""
        order: Int64Array = np.argsort(self.lengths, kind="stable")
        end = len(order)
        while end:
            # From the longest sequences on, so that a block has as many as fit.
            most = max(_BLOCK_ITEMS // max(int(self.lengths[order[end - 1]]) * self.shape[1], 1), 1)
            begin = max(end - min(most, _BLOCK_SEQUENCES), 0)
            yield order[begin:end], self.padded(order[begin:end])
            end = begin


def _is_list(X: Any) -> bool:
    return isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.dtype == object)


def _has_arrays(X: Any) -> bool:
    """Return whether X is a list of sequences of different lengths, which are no array."""
    return _is_list(X) and len({len(item) if hasattr(item, "__len__") else -1 for item in X}) > 1


def _from_list(X: Any) -> tuple[Array, Int64Array]:
    """Return the steps of all sequences of a list, and the length of each."""
    arrays = [np.asarray(sequence) for sequence in X]
    if not arrays:
        raise ValueError("[Sequences] there is no sequence")
    first = arrays[0]
    for i, array in enumerate(arrays):
        if array.ndim not in (1, 2) or array.dtype.kind not in "biuf":
            raise ValueError(
                f"[Sequences] sequence {i} must be an array of numbers of shape (steps,) or (steps, width), but has "
                f"shape {array.shape} and dtype {array.dtype}"
            )
        if array.ndim != first.ndim or array.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"[Sequences] sequence {i} has shape {array.shape}, but sequence 0 has shape {first.shape}: all must "
                "have steps of one width"
            )
        if not len(array):
            raise ValueError(f"[Sequences] sequence {i} has no steps")
    return np.concatenate(arrays), np.array([len(array) for array in arrays], np.int64)


def _from_array(X: Any, lengths: Any) -> tuple[Array, Int64Array]:
    """Return the steps of the sequences that an array holds padded, and the length of each."""
    X = X if hasattr(X, "reshape") else np.asarray(X)
    if X.ndim not in (2, 3) or X.dtype.kind not in "biuf":
        raise ValueError(
            f"[Sequences] an array must hold numbers in the shape (n, steps) or (n, steps, width), but has shape "
            f"{X.shape} and dtype {X.dtype}"
        )
    n, steps = X.shape[:2]
    if not n or not steps:
        raise ValueError(f"[Sequences] there is no step in an array of shape {X.shape}")
    rows = X.reshape(n * steps, *X.shape[2:])
    if lengths is None:
        return rows, np.full(n, steps, np.int64)
    counts = np.asarray(to_host(lengths))
    if counts.dtype.kind not in "iu":
        raise TypeError(f"[Sequences] lengths must be integers, not {counts.dtype}")
    if counts.shape != (n,):
        raise ValueError(f"[Sequences] lengths have shape {counts.shape}, but there are {n} sequences")
    wrong = (counts < 1) | (counts > steps)
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f"[Sequences] sequence {i} has the length {counts[i]}; lengths must be in 1..{steps}"
        )
    counts = counts.astype(np.int64)
    if (counts == steps).all():
        return rows, counts
    inside = array_namespace(rows).asarray((np.arange(steps) < counts[:, None]).reshape(-1))
    return rows[inside], counts


def _rounded_up(steps: int, most: int) -> int:
    """Return a number of steps from few, at most half as many again: a network keeps a program for each of some."""
    if steps <= 4:
        return min(steps, most)
    power = 1 << (steps - 1).bit_length()
    return min(power if steps > 3 * power // 4 else 3 * power // 4, most)

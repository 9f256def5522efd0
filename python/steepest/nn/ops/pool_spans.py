"""Pooling of sequences: their mean step, their last step, or the largest item of each column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty

from .base import Moved, Parameters, Reverse, as_rows
from .kept import KeepingOperation
from .spans import check_lengths, clear, padded_spans


class PoolSpansOperation(KeepingOperation):
    """One row for each sequence; see `kernels.pool_spans`.

    Parameters
    ----------
    mode : {"mean", "last", "max"}
        What is computed.
    has_lengths : bool
        Whether the last input is the lengths of the sequences.
    keeps : bool, default=True
        Whether `forward` keeps the places of the maxima; otherwise derivatives find them again.
    """

    takes_integers = True  # the lengths

    def __init__(self, mode: str, *, has_lengths: bool, keeps: bool = True) -> None:
        super().__init__()
        self._mode, self._has_lengths, self._keeps = mode, has_lengths, keeps
        if not has_lengths and (keeps or mode != "max"):
            self.gradient_reads = frozenset()

    def at_prediction(self) -> PoolSpansOperation:
        if not self._keeps:
            return self
        return PoolSpansOperation(self._mode, has_lengths=self._has_lengths, keeps=False)

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        index = self._kept_index(out) if self._mode == "max" and self._keeps else None
        return K.pool_spans(as_rows(inputs[0]), **self._spans(inputs), mode=self._mode, out=out, index=index)

    def _spans(self, inputs: Sequence[Array]) -> dict[str, Any]:
        x = inputs[0]
        if not self._has_lengths:
            return {"sequences": len(x)}
        check_lengths(repr(self), inputs[1], x.shape[1])
        return {"spans": padded_spans(inputs[1], x.shape[1])}

    def _kept_index(self, like: Array) -> Array:
        def allocate() -> tuple[Array]:
            return (aligned_empty(like.shape, np.int64, device_of(like)),)

        return self.arrays_for(len(like), allocate)[0]

    def _index(self, inputs: Sequence[Array], like: Array) -> Array | None:
        """Return the rows of the maxima of the last forward pass; None for other modes."""
        if self._mode != "max":
            return None
        if self._keeps:
            return self._kept_index(like)
        index = aligned_empty(like.shape, np.int64, device_of(like))
        K.pool_spans(as_rows(inputs[0]), **self._spans(inputs), mode="max", index=index)
        return index

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        d_x = into.d_inputs[0]
        assert d_x is not None
        if self._has_lengths:
            clear(d_x)
        spans = self._spans(inputs) if self._has_lengths else {"sequences": len(d)}
        K.pool_spans_backward(d, **spans, mode=self._mode, index=self._index(inputs, d), d_x=as_rows(d_x))
        return (d_x, *([None] * self._has_lengths))

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        moved = moved_inputs[0]
        assert moved is not None
        index = self._index(inputs, output)
        if index is not None:
            return K.pool_spans_gather(as_rows(moved), index)
        return K.pool_spans(as_rows(moved), **self._spans(inputs), mode=self._mode)

    def __repr__(self) -> str:
        return f"{self._mode} of steps"

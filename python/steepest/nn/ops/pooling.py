"""Pooling of images: the largest items of windows, or their means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty

from .base import Moved, Operation, Parameters, Reverse
from .kept import KeepingOperation


class MaxPoolOperation(KeepingOperation):
    """The largest item of each window.

    Parameters
    ----------
    window : dict
        Size, stride and padding, as `kernels.max_pool2d` takes them.
    keeps : bool, default=True
        Whether `forward` keeps the places of the largest items; otherwise derivatives find them again.
    """

    passes_items = True
    gradient_reads = frozenset()

    def __init__(self, window: dict[str, Any], *, keeps: bool = True) -> None:
        super().__init__()
        self.window, self._keeps = window, keeps
        if not keeps:
            self.gradient_reads = frozenset({"inputs"})

    def at_prediction(self) -> MaxPoolOperation:
        return MaxPoolOperation(self.window, keeps=False) if self._keeps else self

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        index = self._kept_index(out) if self._keeps else None
        K.max_pool2d(inputs[0], **self.window, out=out, index=index)
        return out

    def _kept_index(self, like: Array) -> Array:
        def allocate() -> tuple[Array]:
            return (aligned_empty(like.shape, np.uint8, device_of(like)),)

        (index,) = self.arrays_for(len(like), allocate)
        return index

    def _index(self, inputs: Sequence[Array], like: Array) -> Array:
        """Return the places of the largest items of the last forward pass, in the shape of the output."""
        return self._kept_index(like) if self._keeps else K.max_pool2d(inputs[0], **self.window)[1]

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        (d_x,) = into.d_inputs
        assert d_x is not None
        return (K.max_pool2d_backward(d, self._index(inputs, d), **self.window, d_x=d_x),)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        (moved,) = moved_inputs
        assert moved is not None
        return K.max_pool2d_gather(moved, self._index(inputs, output), **self.window)

    def __repr__(self) -> str:
        return "max pool"


class AvgPoolOperation(Operation):
    """The mean of each window.

    Parameters
    ----------
    window : dict
        Size, stride, padding and `count_padding`, as `kernels.avg_pool2d` takes them.
    """

    gradient_reads = frozenset()

    def __init__(self, window: dict[str, Any]) -> None:
        self.window = window

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        return K.avg_pool2d(inputs[0], **self.window, out=out)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        (d_x,) = into.d_inputs
        assert d_x is not None
        return (K.avg_pool2d_backward(d, **self.window, d_x=d_x),)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        (moved,) = moved_inputs
        assert moved is not None
        return K.avg_pool2d(moved, **self.window)

    def __repr__(self) -> str:
        return "average pool"

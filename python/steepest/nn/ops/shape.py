"""Operations that change the shape of a sample, or the order of its axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array

from .base import Moved, Operation, Parameters, Reverse


class ReshapeOperation(Operation):
    """The same items in another shape.

    Parameters
    ----------
    old, new : tuple of int
        The shapes of a sample of the input and of the output.
    """

    is_view = True
    passes_gradient = True
    takes_integers = True
    passes_integers = True
    gradient_reads = frozenset()

    def __init__(self, old: tuple[int, ...], new: tuple[int, ...]) -> None:
        self.old, self.new = old, new

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        return _reshaped(inputs[0], self.new)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        return (_reshaped(d, self.old),)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        assert moved_inputs[0] is not None
        return _reshaped(moved_inputs[0], self.new)

    def __repr__(self) -> str:
        return f"reshape{self.new}"


def _reshaped(array: Array, shape: tuple[int, ...]) -> Array:
    """Return an array with other shapes of its rows: a view, or a copy where its strides allow none."""
    contiguous = array if array.flags.c_contiguous else K.copy(array)
    return contiguous.reshape(len(array), *shape)


class PermuteOperation(Operation):
    """The axes of a sample in another order.

    Parameters
    ----------
    axes : tuple of int
        For each axis of an output sample, that of the input sample; the first is 0.
    """

    gradient_reads = frozenset()
    takes_integers = True
    passes_integers = True

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes
        self._forth = (0, *(axis + 1 for axis in axes))
        self._back = tuple(int(axis) for axis in np.argsort(self._forth))

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        turned = inputs[0].transpose(self._forth)
        # Integers go into an array of their own.
        return K.copy(turned, out=out if out.dtype == turned.dtype else None)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        d_x = into.d_inputs[0]
        return (None if d_x is None else K.copy(d.transpose(self._back), out=d_x),)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        assert moved_inputs[0] is not None
        return K.copy(moved_inputs[0].transpose(self._forth))

    def __repr__(self) -> str:
        return f"permute{self.axes}"

"""Operations of several inputs: their sum, their product, and one beside the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros

from .base import Moved, Operation, Parameters, Reverse


class AddOperation(Operation):
    """The sum of two or more inputs."""

    each_step = True
    passes_gradient = True
    gradient_reads = frozenset()

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        K.add(inputs[0], inputs[1], out=out)
        for other in inputs[2:]:
            K.add(out, other, out=out)
        return out

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        return (d,) * len(into.d_inputs)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        moved = [m for m in moved_inputs if m is not None]
        result = K.copy(moved[0])
        for other in moved[1:]:
            K.add(result, other, out=result)
        return result


class MultiplyOperation(Operation):
    """The product of two inputs, item by item."""

    each_step = True
    gradient_reads = frozenset({"inputs"})

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        return K.multiply(inputs[0], inputs[1], out=out)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        others = reversed(inputs)
        return tuple(
            None if d_x is None else K.multiply(d, other, out=d_x)
            for d_x, other in zip(into.d_inputs, others, strict=True)
        )

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        products = zip(moved_inputs, reversed(inputs), strict=True)
        (first, by), *rest = [(moved, other) for moved, other in products if moved is not None]
        result = K.multiply(first, by)
        for moved, other in rest:
            K.multiply(moved, other, out=result, accumulate=True)
        return result


class ConcatenateOperation(Operation):
    """The inputs beside one another along the last axis.

    Parameters
    ----------
    widths : sequence of int
        Lengths of the last axes of the inputs.
    """

    each_step = True
    gradient_reads = frozenset()

    def __init__(self, widths: Sequence[int]) -> None:
        self._ends = list(itertools.accumulate(widths))

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        for x, part in zip(inputs, self._parts(out), strict=True):
            K.copy(x, out=part)
        return out

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        return tuple(
            None if d_x is None else K.copy(part, out=d_x)
            for d_x, part in zip(into.d_inputs, self._parts(d), strict=True)
        )

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        result = aligned_zeros(output.shape, output.dtype, device_of(output))
        for moved, part in zip(moved_inputs, self._parts(result), strict=True):
            if moved is not None:
                K.copy(moved, out=part)
        return result

    def _parts(self, whole: Array) -> list[Array]:
        """Return the views of the inputs' columns in an array that holds them side by side."""
        return [whole[..., start:end] for start, end in itertools.pairwise([0, *self._ends])]

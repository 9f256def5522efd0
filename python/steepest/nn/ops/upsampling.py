"""Enlarging images by repeating their pixels."""

from __future__ import annotations

from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, array_namespace, scalar_like

from .base import Moved, Operation, Parameters, Reverse


class UpsampleOperation(Operation):
    """Each pixel as a block of equal pixels.

    Parameters
    ----------
    factor : (int, int)
        Rows and columns of a block.
    """

    gradient_reads = frozenset()

    def __init__(self, factor: tuple[int, int]) -> None:
        self.factor = factor

    def _put(self, x: Array, out: Array) -> None:
        (n, height, width, channels), (down, across) = x.shape, self.factor
        x = x if x.flags.c_contiguous else K.copy(x)
        blocks = x.reshape(n * height, 1, width, 1, channels)
        repeated = array_namespace(x).broadcast_to(blocks, (n * height, down, width, across, channels))
        K.copy(repeated, out=out.reshape(n * height, down, width, across, channels))

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        self._put(inputs[0], out)
        return out

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        (d_x,) = into.d_inputs
        assert d_x is not None
        # The sum over a block: its mean, times its pixels.
        K.avg_pool2d(d, self.factor, out=d_x)
        pixels = self.factor[0] * self.factor[1]
        return (K.multiply(d_x, scalar_like(pixels, d), out=d_x),)

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
        result = aligned_empty(output.shape, output.dtype, device_of(output))
        self._put(moved, result)
        return result

    def __repr__(self) -> str:
        return f"upsample{self.factor}"

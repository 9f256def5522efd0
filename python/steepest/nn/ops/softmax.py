"""The softmax along the last axis."""

from __future__ import annotations

from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Array

from .base import Moved, Operation, Parameters, Reverse, as_rows


class SoftmaxOperation(Operation):
    """``exp(x_j) / sum_k exp(x_k)`` along the last axis."""

    each_step = True
    gradient_reads = frozenset({"output"})

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        K.softmax(as_rows(inputs[0]), out=as_rows(out))
        return out

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        d_x = into.d_inputs[0]
        if d_x is not None:
            K.softmax_backward(as_rows(d), as_rows(output), out=as_rows(d_x))
        return (d_x,)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        # The Jacobian of every row, diag(y) - y y^T, is symmetric.
        assert moved_inputs[0] is not None
        return K.softmax_backward(as_rows(moved_inputs[0]), as_rows(output)).reshape(output.shape)

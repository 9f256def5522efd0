"""A rectifier with learned slopes."""

from __future__ import annotations

from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace

from .base import Moved, Operation, Parameters, Reverse, as_rows


class PReLUOperation(Operation):
    """x where x > 0, and ``slope x`` elsewhere."""

    each_step = True
    gradient_reads = frozenset({"inputs"})

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        K.prelu(as_rows(inputs[0]), parameters["slope"], out=as_rows(out))
        return out

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        d_x, d_slope = into.d_inputs[0], into.d_parameters.get("slope")
        K.prelu_backward(
            as_rows(d),
            as_rows(inputs[0]),
            parameters["slope"],
            d_x=None if d_x is None else as_rows(d_x),
            d_slope=d_slope,
        )
        return (d_x,)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        x, slope, result = as_rows(inputs[0]), parameters["slope"], None
        if moved_inputs[0] is not None:
            result, _ = K.prelu_backward(as_rows(moved_inputs[0]), x, slope)
        if (moved := moved_parameters.get("slope")) is not None:
            minus_one = array_namespace(x).full(1, -1, x.dtype)
            below = K.multiply(K.activation(x, "relu"), minus_one)
            K.add(below, x, out=below)  # min(x, 0)
            K.multiply(below, moved, out=below)
            result = below if result is None else K.add(result, below, out=result)
        assert result is not None
        return result.reshape(output.shape)

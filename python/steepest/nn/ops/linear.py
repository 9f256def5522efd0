"""The linear map ``x @ w + b`` with the activation behind it."""

from __future__ import annotations

from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Activation as Function
from steepest._runtime.arrays import Array

from .affine import AffineOperation, Gradients, function_name
from .base import Moved, Parameters, as_rows


class LinearOperation(AffineOperation):
    """``f(x @ w + b)`` along the last axis of x.

    Parameters
    ----------
    activation : str or tuple, default="identity"
        The activation f; its derivative has to follow from its output.
    precision : str, default="float32"
        Precision of the products, one of `kernels.PRECISIONS`.
    """

    each_step = True

    def __init__(self, activation: Function = "identity", precision: str = "float32") -> None:
        super().__init__(activation)
        self.precision = precision

    def ending_in(self, activation: Function) -> LinearOperation:
        return LinearOperation(activation, self.precision)

    def at_precision(self, precision: str) -> LinearOperation:
        return LinearOperation(self.ends_in, precision)

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        x, w, b = inputs[0], parameters["weight"], parameters.get("bias")
        if x.ndim == 2:
            return K.linear(x, w, b, self.ends_in, out, precision=self.precision)
        K.linear(as_rows(x), w, b, self.ends_in, as_rows(out), precision=self.precision)
        return out

    def put_gradients(self, d: Array, x: Array, w: Array, into: Gradients) -> None:
        d_x = into.d_x
        if d.ndim != 2:
            d, x, d_x = as_rows(d), as_rows(x), None if d_x is None else as_rows(d_x)
        K.linear_backward(
            d,
            x,
            w,
            activation=into.derivative,
            l2=into.l2,
            input_grad=d_x is not None,
            accumulate=into.adds,
            d_x=d_x,
            d_w=into.d_w,
            d_b=into.d_b,
            precision=self.precision,
        )

    def put_input_gradient(self, d: Array, w: Array, d_x: Array) -> None:
        K.matmul(as_rows(d), w.T, out=as_rows(d_x), precision=self.precision)

    def applied(self, x: Array, w: Array, bias: Array | None) -> Array:
        result = K.linear(as_rows(x), w, bias, precision=self.precision)
        return result.reshape(*x.shape[:-1], w.shape[1])

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        v, moved = moved_parameters.get("weight"), moved_inputs[0]
        if v is None:
            return super().jvp(inputs, output, parameters, moved_inputs, moved_parameters)
        # A kernel that adds both products while they are in the caches.
        result = K.linear_tangent(
            as_rows(inputs[0]),
            v,
            moved_parameters.get("bias"),
            None if moved is None else as_rows(moved),
            None if moved is None else parameters["weight"],
            y=as_rows(output),
            activation=self.ends_in,
            precision=self.precision,
        )
        return result.reshape(output.shape)

    def __repr__(self) -> str:
        own = "linear" if self.precision == "float32" else f"linear[{self.precision}]"
        return own if self.ends_in == "identity" else f"{own} + {function_name(self.ends_in)}"

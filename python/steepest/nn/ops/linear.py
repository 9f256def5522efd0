"""The linear map ``x @ w + b`` with the activation behind it."""

from __future__ import annotations

from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Activation as Function
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros

from .base import Moved, Operation, Parameters, Reverse, as_rows


class LinearOperation(Operation):
    """``f(x @ w + b)`` along the last axis of x.

    Parameters
    ----------
    activation : str or tuple, default="identity"
        The activation f; its derivative has to follow from its output.
    precision : str, default="float32"
        Precision of the products, one of `kernels.PRECISIONS`.
    """

    folds_derivative = True
    accumulates = True
    gradient_reads = frozenset()

    def __init__(self, activation: Function = "identity", precision: str = "float32") -> None:
        self.ends_in, self.precision = activation, precision

    def ending_in(self, activation: Function) -> LinearOperation:
        """Return the same linear map with another activation behind it."""
        return LinearOperation(activation, self.precision)

    def at_precision(self, precision: str) -> LinearOperation:
        return LinearOperation(self.ends_in, precision)

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        x, w, b = inputs[0], parameters["weight"], parameters.get("bias")
        if x.ndim == 2:
            return K.linear(x, w, b, self.ends_in, out, precision=self.precision)
        K.linear(as_rows(x), w, b, self.ends_in, as_rows(out), precision=self.precision)
        return out

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        (d_x,), d_parameters, derivative, accumulate, l2 = into
        w, d_w, d_b = parameters["weight"], d_parameters.get("weight"), d_parameters.get("bias")
        if d_w is not None and d.ndim == 2 and not accumulate:
            K.linear_backward(
                d,
                inputs[0],
                w,
                activation=derivative,
                l2=l2,
                input_grad=d_x is not None,
                d_x=d_x,
                d_w=d_w,
                d_b=d_b,
                precision=self.precision,
            )
            return (d_x,)
        rows = as_rows(d)
        if d_w is None:
            if d_x is not None:
                K.matmul(rows, w.T, out=as_rows(d_x), precision=self.precision)
                if derivative != "identity":
                    K.activation_backward(d_x, inputs[0], derivative, out=d_x)
            if d_b is not None:
                _add_sums(rows, d_b, adds="bias" in accumulate)
            return (d_x,)
        # The kernel writes both gradients, and adds to both or to neither.
        adds = bool(accumulate) and "weight" in accumulate
        is_apart = d_b is not None and (bool(accumulate) and "bias" in accumulate) != adds
        sums = None if is_apart else d_b
        if adds and sums is None:
            sums = aligned_zeros(w.shape[1:], w.dtype, device_of(w))
        K.linear_backward(
            rows,
            as_rows(inputs[0]),
            w,
            activation=derivative,
            l2=l2,
            input_grad=d_x is not None,
            accumulate=adds,
            d_x=None if d_x is None else as_rows(d_x),
            d_w=d_w,
            d_b=sums,
            precision=self.precision,
        )
        if is_apart and d_b is not None:
            _add_sums(rows, d_b, adds=not adds)
        return (d_x,)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        x, moved, w = inputs[0], moved_inputs[0], parameters["weight"]
        v, c = moved_parameters.get("weight"), moved_parameters.get("bias")
        if v is not None and x.ndim == 2:
            return self._tangent(x, v, c, moved, w, output)
        x, y, moved = as_rows(x), as_rows(output), None if moved is None else as_rows(moved)
        if v is not None:
            return self._tangent(x, v, c, moved, w, y).reshape(output.shape)
        if moved is None:
            result = aligned_zeros(y.shape, y.dtype, device_of(y))
        else:
            result = K.matmul(moved, w, precision=self.precision)
        if c is not None:
            # Into another array: a captured addition would start from the last replay's sum.
            result = K.add(result, c)
        return K.activation_backward(result, y, self.ends_in, out=result).reshape(output.shape)

    def _tangent(self, x: Array, v: Array, c: Array | None, moved: Array | None, w: Array, y: Array) -> Array:
        return K.linear_tangent(
            x,
            v,
            c,
            moved,
            None if moved is None else w,
            y=y,
            activation=self.ends_in,
            precision=self.precision,
        )

    def __repr__(self) -> str:
        own = "linear" if self.precision == "float32" else f"linear[{self.precision}]"
        return own if self.ends_in == "identity" else f"{own} + {function_name(self.ends_in)}"


def _add_sums(rows: Array, d_b: Array, *, adds: bool) -> None:
    """Write the sums of the columns, the gradient of a bias, or add them."""
    if adds:
        K.add(d_b, K.sum(rows, axis=0, out=aligned_empty(d_b.shape, d_b.dtype, device_of(d_b))), out=d_b)
    else:
        K.sum(rows, axis=0, out=d_b)


def function_name(function: Function) -> str:
    """Return an activation as a program prints it."""
    return function if isinstance(function, str) else f"{function[0]}({function[1]:g})"

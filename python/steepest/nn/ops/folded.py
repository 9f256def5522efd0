"""An affine map and the batch norm behind it in one operation, as a prediction computes them."""

from __future__ import annotations

from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Activation as Function
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros

from .affine import AffineOperation, function_name
from .base import Moved, Operation, Parameters, Reverse, as_rows


class FoldedNormOperation(Operation):
    """``f((A(x) + b - mean) / sqrt(variance + eps) * weight + bias)`` with averages for mean and variance.

    The scale goes into the weights of A, and the rest into its bias, wherever they have fewer items than the output;
    otherwise the norm runs behind A. Derivatives are those of the two operations, which this one stands for only in
    predictions.

    Parameters
    ----------
    affine : AffineOperation
        The map, whose weights have the channels of the output last.
    eps : float
        Is added to the variance.
    activation : str or tuple, default="identity"
        The activation f.
    """

    fuses_activation = True

    def __init__(self, affine: AffineOperation, eps: float, activation: Function = "identity") -> None:
        self.affine, self.eps, self.ends_in = affine, eps, activation
        self._behind = affine.ending_in(activation)

    def ending_in(self, activation: Function) -> FoldedNormOperation:
        return FoldedNormOperation(self.affine, self.eps, activation)

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        weight, bias = parameters["weight"], parameters.get("bias")
        mean, variance = parameters["running_mean"], parameters["running_var"]
        scale, shift = parameters.get("norm_weight"), parameters.get("norm_bias")
        if weight.size > out.size:
            out = self.affine.forward(inputs, parameters, out)
            rows = as_rows(out)
            K.batch_norm_inference(rows, mean, variance, scale, shift, eps=self.eps, out=rows)
            return K.activation(out, self.ends_in, out=out) if self.ends_in != "identity" else out
        zeros = aligned_zeros(mean.shape, mean.dtype, device_of(mean))
        scaled = K.batch_norm_inference(as_rows(weight), zeros, variance, scale, eps=self.eps)
        offset = (zeros if bias is None else bias).reshape(1, -1)
        moved = K.batch_norm_inference(offset, mean, variance, scale, shift, eps=self.eps)
        folded = {"weight": scaled.reshape(weight.shape), "bias": moved.reshape(-1)}
        return self._behind.forward(inputs, folded, out)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        raise NotImplementedError

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        raise NotImplementedError

    def __repr__(self) -> str:
        text = f"{self.affine!r} + batch norm"
        return text if self.ends_in == "identity" else f"{text} + {function_name(self.ends_in)}"

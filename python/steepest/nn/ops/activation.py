"""Element-wise activations that are not fused with a linear map."""

from __future__ import annotations

from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Activation as Function
from steepest._runtime.arrays import Array

from .affine import function_name
from .base import Moved, Operation, Parameters, Reverse


def has_output_derivative(function: Function) -> bool:
    """Return whether the derivative of an activation follows from its output."""
    name = function if isinstance(function, str) else function[0]
    return name not in K.INPUT_DERIVATIVES


class ActivationOperation(Operation):
    """An element-wise function.

    Parameters
    ----------
    function : str or tuple
        The activation.
    """

    each_step = True

    def __init__(self, function: Function) -> None:
        self.function = function
        self.passes_gradient = self.folds_derivative = has_output_derivative(function)
        if self.passes_gradient:
            self.ends_in = function
        self.gradient_reads = frozenset() if self.passes_gradient else frozenset({"inputs"})

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        return K.activation(inputs[0], self.function, out=out)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        d_x = into.d_inputs[0]
        if not self.passes_gradient:
            return (None if d_x is None else K.activation_backward(d, inputs[0], self.function, out=d_x),)
        # The derivative of this activation is in d already.
        if into.derivative == "identity":
            return (d,)
        return (K.activation_backward(d, inputs[0], into.derivative, out=d_x),)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        assert moved_inputs[0] is not None
        return K.activation_backward(
            moved_inputs[0], output if self.passes_gradient else inputs[0], self.function
        )

    def __repr__(self) -> str:
        return function_name(self.function)

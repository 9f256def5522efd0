"""What linear maps and convolutions have in common: weights, a bias, and an activation behind them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from steepest import kernels as K
from steepest._runtime.arrays import Activation as Function
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros

from .base import Moved, Operation, Parameters, Reverse, as_rows


class Gradients(NamedTuple):
    """Where the gradients of an affine map are written, and how.

    Attributes
    ----------
    d_x : ndarray or None
        Receives the gradient of the input, times the derivative of `derivative` at the input.
    d_w, d_b : ndarray
        Receive the gradients of weights and bias, or with `adds` have them added; d_b may be None without `adds`.
    derivative : str or tuple
        The activation that produced the input.
    l2 : float
        ``l2 * w`` is added to the gradient of the weights.
    adds : bool
        Whether gradients are added to what `d_w` and `d_b` hold.
    """

    d_x: Array | None
    d_w: Array
    d_b: Array | None
    derivative: Function
    l2: float
    adds: bool


class AffineOperation(Operation):
    """``f(A(x) + b)`` for a map A that is linear in x and in its weights, with the bias along the last axis.

    Parameters
    ----------
    activation : str or tuple, default="identity"
        The activation f; its derivative has to follow from its output.
    """

    folds_derivative = True
    accumulates = True
    fuses_activation = True
    gradient_reads = frozenset()

    def __init__(self, activation: Function = "identity") -> None:
        self.ends_in = activation

    @abstractmethod
    def put_gradients(self, d: Array, x: Array, w: Array, into: Gradients) -> None:
        """Compute the gradients of weights and bias, and of the input where it is wanted."""

    @abstractmethod
    def put_input_gradient(self, d: Array, w: Array, d_x: Array) -> None:
        """Compute the gradient of the input alone."""

    @abstractmethod
    def applied(self, x: Array, w: Array, bias: Array | None) -> Array:
        """Return ``A(x) + bias`` for other inputs, weights and biases, in a new array."""

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        (d_x,), d_parameters, derivative, accumulate, l2 = into
        w, d_w, d_b = parameters["weight"], d_parameters.get("weight"), d_parameters.get("bias")
        if d_w is None:
            if d_x is not None:
                self.put_input_gradient(d, w, d_x)
                if derivative != "identity":
                    K.activation_backward(d_x, inputs[0], derivative, out=d_x)
            if d_b is not None:
                _add_sums(as_rows(d), d_b, adds="bias" in accumulate)
            return (d_x,)
        # The kernels write both gradients, and add to both or to neither.
        adds = bool(accumulate) and "weight" in accumulate
        is_apart = d_b is not None and (bool(accumulate) and "bias" in accumulate) != adds
        sums = None if is_apart else d_b
        if adds and sums is None:
            sums = aligned_zeros(d.shape[-1:], w.dtype, device_of(w))
        self.put_gradients(d, inputs[0], w, Gradients(d_x, d_w, sums, derivative, l2, adds))
        if is_apart and d_b is not None:
            _add_sums(as_rows(d), d_b, adds=not adds)
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
        if v is not None:
            result = self.applied(x, v, c)
            if moved is not None:
                result = K.add(result, self.applied(moved, w, None), out=result)
        elif moved is not None:
            result = self.applied(moved, w, c)
        else:
            assert c is not None
            # Into another array: a captured addition would start from the last replay's sum.
            result = K.add(aligned_zeros(output.shape, output.dtype, device_of(output)), c)
        return K.activation_backward(result, output, self.ends_in, out=result)


def _add_sums(rows: Array, d_b: Array, *, adds: bool) -> None:
    """Write the sums of the columns, the gradient of a bias, or add them."""
    if adds:
        K.add(d_b, K.sum(rows, axis=0, out=aligned_empty(d_b.shape, d_b.dtype, device_of(d_b))), out=d_b)
    else:
        K.sum(rows, axis=0, out=d_b)


def function_name(function: Function) -> str:
    """Return an activation as a program prints it."""
    return function if isinstance(function, str) else f"{function[0]}({function[1]:g})"

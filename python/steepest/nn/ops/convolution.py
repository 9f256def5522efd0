"""Convolutions of images and sequences, and their transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from steepest import kernels as K
from steepest._runtime.arrays import Activation as Function
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty

from .affine import AffineOperation, Gradients, function_name
from .base import Parameters, as_rows


class Geometry:
    """The window of a convolution over images of known size.

    A sequence (length, channels) is an image of one row, and its weights (taps, channels in, channels out) those of a
    window of one row.

    Parameters
    ----------
    axes : int
        1 for sequences, 2 for images.
    stride, dilation : tuple of int
        As `kernels.conv2d` takes them.
    sides : tuple of (int, int)
        Zeros before and after each axis.
    groups : int
        Groups of channels.
    output_padding : tuple of int
        How many more rows and columns the convolution's image has than its outputs need.
    """

    def __init__(
        self,
        axes: int,
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
        sides: tuple[tuple[int, int], ...],
        groups: int,
        output_padding: tuple[int, ...],
    ) -> None:
        def with_rows(numbers: tuple[Any, ...], of_rows: Any) -> tuple[Any, ...]:
            return numbers if axes == 2 else (of_rows, *numbers)

        self.is_image = axes == 2
        self.arguments: dict[str, Any] = {
            "stride": with_rows(stride, 1),
            "dilation": with_rows(dilation, 1),
            "padding": with_rows(sides, (0, 0)),
            "groups": groups,
        }
        self.output_padding = with_rows(output_padding, 0)

    def image(self, array: Array) -> Array:
        """Return sequences as images of one row."""
        return array if self.is_image else array[:, None]

    def weight(self, array: Array) -> Array:
        """Return weights as those of images."""
        return array if self.is_image else array[None]


class ConvolutionOperation(AffineOperation):
    """A convolution with its activation.

    Parameters
    ----------
    geometry : Geometry
        The window.
    activation : str or tuple, default="identity"
        The activation behind it.
    """

    def __init__(self, geometry: Geometry, activation: Function = "identity") -> None:
        super().__init__(activation)
        self.geometry = geometry

    def ending_in(self, activation: Function) -> ConvolutionOperation:
        return type(self)(self.geometry, activation)

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        g = self.geometry
        weight = g.weight(parameters["weight"])
        K.conv2d(
            g.image(inputs[0]), weight, parameters.get("bias"), self.ends_in, g.image(out), **g.arguments
        )
        return out

    def put_gradients(self, d: Array, x: Array, w: Array, into: Gradients) -> None:
        g, d_b = self.geometry, into.d_b
        if d_b is None:  # the kernel needs a place for it
            d_b = aligned_empty(d.shape[-1:], d.dtype, device_of(d))
        K.conv2d_backward(
            g.image(d),
            g.image(x),
            g.weight(w),
            activation=into.derivative,
            l2=into.l2,
            input_grad=into.d_x is not None,
            d_x=None if into.d_x is None else g.image(into.d_x),
            d_weight=g.weight(into.d_w),
            d_bias=d_b,
            accumulate=into.adds,
            **g.arguments,
        )

    def put_input_gradient(self, d: Array, w: Array, d_x: Array) -> None:
        g = self.geometry
        K.conv2d_transpose(
            g.image(d), g.weight(w), out=g.image(d_x), output_padding=g.output_padding, **g.arguments
        )

    def applied(self, x: Array, w: Array, bias: Array | None) -> Array:
        g = self.geometry
        result = K.conv2d(g.image(x), g.weight(w), bias, **g.arguments)
        return result if g.is_image else result[:, 0]

    def __repr__(self) -> str:
        return "convolution" if self.ends_in == "identity" else f"convolution + {function_name(self.ends_in)}"


class TransposedConvolutionOperation(ConvolutionOperation):
    """The transpose of a convolution, with an activation; the geometry is that of the convolution."""

    weights_act_on_inputs = True

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        g = self.geometry
        weight = g.weight(parameters["weight"])
        K.conv2d_transpose(
            g.image(inputs[0]),
            weight,
            parameters.get("bias"),
            self.ends_in,
            g.image(out),
            output_padding=g.output_padding,
            **g.arguments,
        )
        return out

    def put_gradients(self, d: Array, x: Array, w: Array, into: Gradients) -> None:
        g = self.geometry
        # The inputs of one map are the outputs of the other. The sums of those are not the gradient of the bias.
        unused = aligned_empty(x.shape[-1:], x.dtype, device_of(x))
        K.conv2d_backward(
            g.image(x),
            g.image(d),
            g.weight(w),
            l2=into.l2,
            input_grad=False,
            d_weight=g.weight(into.d_w),
            d_bias=unused,
            accumulate=into.adds,
            **g.arguments,
        )
        if into.d_b is not None:
            sums = K.sum(as_rows(d), axis=0, out=None if into.adds else into.d_b)
            if into.adds:
                K.add(into.d_b, sums, out=into.d_b)
        if into.d_x is not None:
            self.put_input_gradient(d, w, into.d_x)
            if into.derivative != "identity":
                K.activation_backward(into.d_x, x, into.derivative, out=into.d_x)

    def put_input_gradient(self, d: Array, w: Array, d_x: Array) -> None:
        g = self.geometry
        K.conv2d(g.image(d), g.weight(w), out=g.image(d_x), **g.arguments)

    def applied(self, x: Array, w: Array, bias: Array | None) -> Array:
        g = self.geometry
        result = K.conv2d_transpose(
            g.image(x), g.weight(w), bias, output_padding=g.output_padding, **g.arguments
        )
        return result if g.is_image else result[:, 0]

    def __repr__(self) -> str:
        return super().__repr__().replace("convolution", "transposed convolution", 1)

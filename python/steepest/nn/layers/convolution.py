"""Convolutional layers, for images and sequences whose last axis holds the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from steepest.nn.initializers import Initializer, check_initializer
from steepest.nn.ops.convolution import ConvolutionOperation, Geometry, TransposedConvolutionOperation
from steepest.nn.values import Shape
from steepest.nn.windows import Padding, Window, numbers_of

from .base import Layer, ParameterSpec

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class _Convolution(Layer):
    """What the layers of this module share."""

    axes: ClassVar[int]

    in_channels: int
    out_channels: int
    kernel_size: int | tuple[int, ...]
    stride: int | tuple[int, ...] = 1
    padding: Padding = 0
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    bias: bool = True
    init: Initializer | float = "glorot_uniform"

    def __post_init__(self) -> None:
        name = type(self).__name__
        for setting in ("in_channels", "out_channels", "groups"):
            numbers_of(name, setting, getattr(self, setting), 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"[{name}] groups={self.groups} must divide in_channels={self.in_channels} and "
                f"out_channels={self.out_channels}"
            )
        check_initializer(name, self.init)
        self._window()  # checks its arguments

    def _window(self) -> Window:
        name = type(self).__name__
        return Window.of(name, self.axes, self.kernel_size, self.stride, self.padding, self.dilation)

    def _geometry(self, image: tuple[int, ...], outputs: tuple[int, ...]) -> Geometry:
        """Return how the convolution's window lies on an image, which gives so many outputs along each axis."""
        window = self._window()
        sides = window.sides(image)
        rest = tuple(n - c for n, c in zip(image, window.covered(outputs, sides), strict=True))
        return Geometry(self.axes, window.stride, window.dilation, sides, self.groups, rest)

    def _sizes(self, shape: Shape) -> tuple[int | None, ...]:
        """Return the sizes of an image without its channels; ValueError for anything else."""
        what = "images (height, width, channels)" if self.axes == 2 else "sequences (length, channels)"
        if len(shape) != self.axes + 1:
            raise ValueError(f"takes {what}, but samples of shape {shape} come out")
        if shape[-1] not in (None, self.in_channels):
            raise ValueError(f"takes {self.in_channels} channels, the last axis, but {shape[-1]} come out")
        return shape[:-1]

    def _spec(self, inner: int, outer: int) -> dict[str, ParameterSpec]:
        weight = ParameterSpec((*self._window().size, inner, outer), self.init, decays=True)
        return (
            {"weight": weight, "bias": ParameterSpec((self.out_channels,))}
            if self.bias
            else {"weight": weight}
        )


@dataclass(frozen=True)
class Conv2d(_Convolution):
    """A convolution of images of shape (height, width, channels).

    Every pixel of the output sees a window of the input: see `kernels.conv2d`. Images of shape (channels, height,
    width) become such images by ``nn.Permute((1, 2, 0))``, or by ``X.transpose(0, 2, 3, 1)`` before.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of channels. The weights have shape (rows, columns, in_channels / groups, out_channels).
    kernel_size : int or (int, int)
        Rows and columns of the window.
    stride, dilation : int or (int, int), default=1
        How far the windows of neighbouring outputs, and the taps of a window, lie apart.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid", default=0
        Zeros around the image: on all sides; for rows and columns; (above, below) and (left, right); as many as
        ``ceil(size / stride)`` outputs along each axis need; or none.
    groups : int, default=1
        Groups of channels with weights of their own; `in_channels` groups make a depthwise convolution.
    bias : bool, default=True
        Whether there is a bias for each output channel. It starts at zero.
    init : str or float, default="glorot_uniform"
        Distribution of the initial weights, as in `Linear`, with a window of n_in = rows * columns * in_channels /
        groups inputs and n_out = rows * columns * out_channels outputs.

    Raises
    ------
    ValueError
        If a number is too small, the groups do not divide the channels, or `init` or `padding` are not known.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network([nn.Input((28, 28, 1)), nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.Flatten()])
    >>> net.predict(np.zeros((2, 28, 28, 1), np.float32)).shape
    (2, 4704)
    """

    axes: ClassVar[int] = 2

    def output_shape(self, *shapes: Shape) -> Shape:
        return (*self._window().outputs(self._sizes(shapes[0])), self.out_channels)

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        return self._spec(self.in_channels // self.groups, self.out_channels)

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        sizes = build.known_shape(inputs[0])[:-1]
        geometry = self._geometry(sizes, cast("tuple[int, ...]", self._window().outputs(sizes)))
        return build.node(self, ConvolutionOperation(geometry), inputs)


@dataclass(frozen=True)
class Conv1d(Conv2d):
    """A convolution of sequences of shape (length, channels).

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of channels. The weights have shape (taps, in_channels / groups, out_channels).
    kernel_size : int
        Taps of the window.
    stride, dilation, groups : int, default=1
        As in `Conv2d`.
    padding : int, ((int, int),), "same" or "valid", default=0
        Zeros around the sequence: on both sides; before and after; as in `Conv2d`; or none.
    bias, init
        As in `Conv2d`.

    Raises
    ------
    ValueError
        As in `Conv2d`.
    """

    axes: ClassVar[int] = 1


@dataclass(frozen=True)
class ConvTranspose2d(_Convolution):
    """The transpose of a convolution, which enlarges images by its stride: for decoders and generators.

    See `kernels.conv2d_transpose`. V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of channels. The weights have shape (rows, columns, out_channels / groups, in_channels): those of the
        convolution from the output to the input.
    kernel_size, stride, padding, dilation, groups
        Those of that convolution, as in `Conv2d`: padding is taken off the output. With ``padding="same"`` an output
        has ``stride * size`` pixels along each axis.
    bias, init
        As in `Conv2d`.
    output_padding : int or (int, int), default=0
        Rows and columns of the output in addition, less than the stride.

    Raises
    ------
    ValueError
        As in `Conv2d`, or if `output_padding` is not less than the stride.
    """

    axes: ClassVar[int] = 2

    output_padding: int | tuple[int, int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        extra = numbers_of("ConvTranspose2d", "output_padding", self.output_padding, 2, least=0)
        stride = self._window().stride
        if any(more >= s for more, s in zip(extra, stride, strict=True)) and any(extra):
            raise ValueError(
                f"[ConvTranspose2d] output_padding must be less than the stride {stride}, got {self.output_padding}"
            )

    def _image(self, sizes: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the sizes of the output."""
        window = self._window()
        if window.padding == "same":
            return tuple(None if n is None else n * s for n, s in zip(sizes, window.stride, strict=True))
        extra = numbers_of("ConvTranspose2d", "output_padding", self.output_padding, 2, least=0)
        if None in sizes:
            return (None,) * len(sizes)
        known = cast("tuple[int, ...]", sizes)
        covered = window.covered(known, window.padding)
        image = tuple(n + more for n, more in zip(covered, extra, strict=True))
        if min(image) < 1:
            raise ValueError(f"has more padding than what images of {sizes[0]} by {sizes[1]} pixels become")
        return image

    def output_shape(self, *shapes: Shape) -> Shape:
        return (*self._image(self._sizes(shapes[0])), self.out_channels)

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        return self._spec(self.out_channels // self.groups, self.in_channels)

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        sizes = build.known_shape(inputs[0])[:-1]
        geometry = self._geometry(cast("tuple[int, ...]", self._image(sizes)), sizes)
        return build.node(self, TransposedConvolutionOperation(geometry), inputs)

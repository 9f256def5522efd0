"""Layers that make images smaller by pooling, or larger by repeating pixels, and that make one step of a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from steepest.nn.ops.pool_spans import PoolSpansOperation
from steepest.nn.ops.pooling import AvgPoolOperation, MaxPoolOperation
from steepest.nn.ops.shape import ReshapeOperation
from steepest.nn.ops.upsampling import UpsampleOperation
from steepest.nn.values import Shape, Value
from steepest.nn.windows import Window, numbers_of

from .base import Layer

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class _Pool(Layer):
    """What the layers of this module share."""

    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0

    def __post_init__(self) -> None:
        window = self._arguments()
        if any(p >= size for p, size in zip(window["padding"], window["size"], strict=True)):
            raise ValueError(
                f"[{type(self).__name__}] padding must be less than kernel_size, or a window would have no item, "
                f"got {self.padding} and {self.kernel_size}"
            )

    def _window(self) -> Window:
        name, stride = type(self).__name__, self.kernel_size if self.stride is None else self.stride
        return Window.of(
            name, 2, self.kernel_size, stride, numbers_of(name, "padding", self.padding, 2, least=0)
        )

    def _arguments(self) -> dict[str, Any]:
        """Return the window as kernels take it."""
        window = self._window()
        padding = tuple(before for before, _ in window.sides(()))
        return {"size": window.size, "stride": window.stride, "padding": padding}

    def output_shape(self, *shapes: Shape) -> Shape:
        *sizes, channels = images_of(shapes[0])
        return (*self._window().outputs(tuple(sizes)), channels)


def images_of(shape: Shape) -> Shape:
    """Return the shape of an image; ValueError, whose message goes on after the layer, if it is none."""
    if len(shape) != 3:
        raise ValueError(f"takes images (height, width, channels), but samples of shape {shape} come out")
    return shape


@dataclass(frozen=True)
class MaxPool2d(_Pool):
    """The largest item of each window of an image, channel by channel.

    The gradient goes to the first of several largest items; NaN counts as the largest.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Rows and columns of a window, of at most 256 pixels.
    stride : int, (int, int) or None, default=None
        How far windows lie apart; None for `kernel_size`: beside one another.
    padding : int or (int, int), default=0
        Rows above and below, and columns on both sides, that count as minus infinity; less than `kernel_size`.

    Raises
    ------
    ValueError
        If a number is too small, a window too large, or the padding reaches `kernel_size`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        rows, columns = self._window().size
        if rows * columns > 256:
            raise ValueError(f"[MaxPool2d] kernel_size must have at most 256 pixels, got {self.kernel_size}")

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, MaxPoolOperation(self._arguments()), inputs)


@dataclass(frozen=True)
class AvgPool2d(_Pool):
    """The mean of each window of an image, channel by channel.

    Parameters
    ----------
    kernel_size, stride, padding
        As in `MaxPool2d`; padding counts as zeros.
    count_include_pad : bool, default=False
        Whether padding counts in the number of items that a sum is divided by.

    Raises
    ------
    ValueError
        If a number is too small, or the padding reaches `kernel_size`.
    """

    count_include_pad: bool = False

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        window = {**self._arguments(), "count_padding": self.count_include_pad}
        return build.node(self, AvgPoolOperation(window), inputs)


@dataclass(frozen=True)
class GlobalAvgPool2d(Layer):
    """The mean of each channel over all pixels of an image: (height, width, channels) becomes (channels,)."""

    def output_shape(self, *shapes: Shape) -> Shape:
        return (images_of(shapes[0])[-1],)

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        height, width, channels = build.known_shape(inputs[0])
        window = {"size": (height, width), "stride": (1, 1), "padding": (0, 0), "count_padding": False}
        pooled = build.node(self, AvgPoolOperation(window), inputs, shape=(1, 1, channels))
        return build.node(self, ReshapeOperation((1, 1, channels), (channels,)), (pooled,))


@dataclass(frozen=True)
class PoolSteps(Layer):
    """One step for each sequence: (steps, width) becomes (width,).

    Called on values, the layer may also take the lengths of the sequences, an ``nn.Input((), dtype=np.int64)``:
    ``nn.PoolSteps()(x, lengths=lengths)``. Steps behind a sequence's length do not count.

    Parameters
    ----------
    mode : {"mean", "last", "max"}, default="mean"
        What is taken: the mean of the steps, the last one, or the largest number of each column. The gradient of a
        maximum goes to the first of several.

    Raises
    ------
    ValueError
        If the mode is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> x, lengths = nn.Input((4, 1)), nn.Input((), dtype=np.int64, name="lengths")
    >>> net = nn.Network([x, lengths], nn.PoolSteps("mean")(x, lengths=lengths))
    >>> net.predict(np.array([[[1], [3], [0], [0]]], np.float32), np.array([2]))
    array([[2.]], dtype=float32)
    """

    arity = (1, 2)
    mode: Literal["mean", "last", "max"] = "mean"

    def __post_init__(self) -> None:
        if self.mode not in ("mean", "last", "max"):
            raise ValueError(f"[PoolSteps] mode {self.mode!r} is not one of: mean, last, max")

    def __call__(self, *inputs: Value, lengths: Value | None = None) -> Value:
        """Return the pooled steps of sequences, and of their lengths if they are given."""
        return super().__call__(*inputs, *(() if lengths is None else (lengths,)))

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != 2:
            raise ValueError(f"takes sequences (steps, width), but samples of shape {shapes[0]} come out")
        if shapes[1:] not in ((), ((),)):
            raise ValueError(
                f"takes lengths of shape () behind the sequences, but {shapes[1]} comes behind what comes out"
            )
        return shapes[0][1:]

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        if inputs[0] in build.integers:
            raise ValueError("takes floating-point numbers, but integers come out")
        if any(build.integers.get(i) != np.int64 for i in inputs[1:]):
            raise ValueError(
                "takes lengths that are an nn.Input((), dtype=np.int64), behind the sequences that come out"
            )
        return build.node(self, PoolSpansOperation(self.mode, has_lengths=len(inputs) > 1), inputs)


@dataclass(frozen=True)
class Upsample(Layer):
    """Repeats each pixel of an image as a block of pixels: the nearest neighbour in an image of a larger size.

    Parameters
    ----------
    scale_factor : int or (int, int), default=2
        Rows and columns of a block.

    Raises
    ------
    ValueError
        If a number is too small.
    """

    scale_factor: int | tuple[int, int] = 2

    def __post_init__(self) -> None:
        numbers_of("Upsample", "scale_factor", self.scale_factor, 2)

    def output_shape(self, *shapes: Shape) -> Shape:
        down, across = numbers_of("Upsample", "scale_factor", self.scale_factor, 2)
        height, width, channels = images_of(shapes[0])
        return (
            None if height is None else down * height,
            None if width is None else across * width,
            channels,
        )

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        build.known_shape(inputs[0])
        down, across = numbers_of("Upsample", "scale_factor", self.scale_factor, 2)
        return build.node(self, UpsampleOperation((down, across)), inputs)

"""Layers that change the shape of a sample, or the order of its axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest.nn.ops.shape import PermuteOperation, ReshapeOperation
from steepest.nn.values import Shape

from .base import Layer

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class Reshape(Layer):
    """The items of a sample in another shape, in C order.

    Parameters
    ----------
    shape : tuple of int
        Shape of a sample of the output, without the batch axis.

    Raises
    ------
    ValueError
        If a size is not positive.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.shape, tuple) or any(size < 1 for size in self.shape):
            raise ValueError(f"[Reshape] shape must be a tuple of positive integers, got {self.shape!r}")

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = shapes[0]
        if None not in shape and math.prod(shape) != math.prod(self.shape):  # type: ignore[arg-type]
            raise ValueError(
                f"takes samples of {math.prod(self.shape)} items, but samples of shape {shape} come out"
            )
        return self.shape

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, ReshapeOperation(build.known_shape(inputs[0]), self.shape), inputs)


@dataclass(frozen=True)
class Flatten(Layer):
    """The items of a sample in a row, in C order."""

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = shapes[0]
        return (None,) if None in shape else (math.prod(shape),)  # type: ignore[arg-type]

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        if len(build.shape(inputs[0])) == 1:
            return inputs[0]
        shape = build.known_shape(inputs[0])
        return build.node(self, ReshapeOperation(shape, (math.prod(shape),)), inputs)


@dataclass(frozen=True)
class Permute(Layer):
    """The axes of a sample in another order.

    Parameters
    ----------
    axes : tuple of int
        For each axis of a sample of the output the axis of the input, counted from 0 without the batch axis:
        ``(2, 0, 1)`` puts the channels of an image of shape (height, width, channels) first.

    Raises
    ------
    ValueError
        If `axes` is no permutation.
    """

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(self.axes) != list(range(len(self.axes))):
            raise ValueError(
                f"[Permute] axes must be a permutation of 0..{len(self.axes) - 1}, got {self.axes}"
            )

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != len(self.axes):
            raise ValueError(
                f"takes samples of {len(self.axes)} axes, but samples of shape {shapes[0]} come out"
            )
        return tuple(shapes[0][axis] for axis in self.axes)

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, PermuteOperation(self.axes), inputs)

"""Layers of several inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest.nn.ops.merge import AddOperation, ConcatenateOperation, MultiplyOperation
from steepest.nn.values import ConstantShape, Shape

from .base import Layer

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class Add(Layer):
    """The sum of its inputs, which have one shape; a `Constant` may be broadcast to it."""

    arity = (2, None)
    takes_constants = True

    def output_shape(self, *shapes: Shape) -> Shape:
        return _common_shape(shapes, "adds")

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, AddOperation(), _constants_last(build, inputs))


@dataclass(frozen=True)
class Multiply(Layer):
    """The product of its two inputs, item by item; a `Constant` may be broadcast to the shape of the other."""

    arity = (2, 2)
    takes_constants = True

    def output_shape(self, *shapes: Shape) -> Shape:
        return _common_shape(shapes, "multiplies")

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, MultiplyOperation(), _constants_last(build, inputs))


@dataclass(frozen=True)
class Concatenate(Layer):
    """Its inputs beside one another along their last axis; the other axes have equal sizes."""

    arity = (2, None)

    def output_shape(self, *shapes: Shape) -> Shape:
        if any(not shape or shape[:-1] != shapes[0][:-1] or shape[-1] is None for shape in shapes):
            raise ValueError(
                f"puts shapes {_listed(shapes)} beside one another, which differ before the last axis,"
            )
        return (*shapes[0][:-1], sum(shape[-1] or 0 for shape in shapes))

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        widths = [build.shape(number)[-1] or 0 for number in inputs]
        return build.node(self, ConcatenateOperation(widths), inputs)


def _common_shape(shapes: tuple[Shape, ...], what: str) -> Shape:
    """Return the shape of all inputs, which constants may be broadcast to."""
    own = [shape for shape in shapes if not isinstance(shape, ConstantShape)] or [max(shapes, key=len)]
    if any(shape != own[0] for shape in own):
        raise ValueError(
            f"{what} inputs of the shapes {_listed(tuple(own))}, which differ; the first comes out"
        )
    for shape in shapes:
        tail = own[0][len(own[0]) - len(shape) :]
        if len(shape) > len(own[0]) or any(a not in (1, b) for a, b in zip(shape, tail, strict=True)):
            raise ValueError(
                f"{what} a constant of shape {tuple(shape)}, which cannot be broadcast to samples of shape {own[0]} "
                "that come out"
            )
    return own[0]


def _constants_last(build: Builder, inputs: tuple[int, ...]) -> tuple[int, ...]:
    """Return the inputs with those that are broadcast behind one that has the shape of the output."""
    return tuple(sorted(inputs, key=build.is_constant))


def _listed(shapes: tuple[Shape, ...]) -> str:
    return " and ".join(str(tuple(shape)) for shape in shapes)

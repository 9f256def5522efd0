"""The residual connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest.nn.ops.merge import AddOperation
from steepest.nn.values import Shape

from .base import Layer, described

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True, init=False)
class Residual(Layer):
    """Layers with a connection around them, ``y = x + f_k(… f_1(x))``.

    K. He et al., "Deep residual learning for image recognition", CVPR 2016.

    Parameters
    ----------
    *layers : layers
        First to last; what they make of x has the shape of x, or of what the shortcut makes of it.
    shortcut : layer or None, default=None
        What x goes through before it is added, such as a `Linear` that changes its width; None: nothing.

    Raises
    ------
    ValueError, TypeError
        If there is no layer, or one is no layer.

    Examples
    --------
    >>> from steepest import nn
    >>> block = nn.Residual(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    >>> net = nn.Network([nn.Linear(4, 8), nn.ReLU(), block, nn.Linear(8, 2)])
    >>> [p.name for p in net.parameters()][2:4]
    ['2.0.weight', '2.0.bias']
    """

    layers: tuple[Layer, ...]
    shortcut: Layer | None

    def __init__(self, *layers: Layer, shortcut: Layer | None = None) -> None:
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "shortcut", shortcut)
        self.__post_init__()

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("[Residual] needs at least one layer")
        for layer in (*self.layers, *(() if self.shortcut is None else (self.shortcut,))):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"[Residual] takes layers of steepest.nn, but got an object {described(layer)}"
                )
            if layer.arity[0] > 1:
                raise ValueError(
                    f"[Residual] takes layers of one input, but {layer} takes {layer.arity[0]} or more"
                )

    def __str__(self) -> str:
        return f"Residual({', '.join(str(layer) for layer in self.layers)})"

    def output_shape(self, *shapes: Shape) -> Shape:
        shape, before = shapes[0], "its input"
        for i, layer in enumerate(self.layers):
            shape = _shape_within(layer, f"layer {i}", shape, before)
            before = f"layer {i}, {layer}"
        around = shapes[0]
        if self.shortcut is not None:
            around = _shape_within(self.shortcut, "the shortcut", shapes[0], "its input")
        if not _may_be_equal(shape, around):
            raise ValueError(
                f"adds what its layers make, of shape {shape}, to its input of shape {around}, which takes "
                "a shortcut=nn.Linear(...) that changes one to the other, after the input"
            )
        return shape

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        number = inputs[0]
        for i, layer in enumerate(self.layers):
            number = build.call(str(i), layer, (number,))
        around = inputs[0]
        if self.shortcut is not None:
            around = build.call("shortcut", self.shortcut, (around,))
        return build.node(self, AddOperation(), (around, number), shape=build.shape(number))


def _shape_within(layer: Layer, place: str, shape: Shape, before: str) -> Shape:
    """Return the shape that a layer within makes, or raise a ValueError that names it and what comes before it."""
    try:
        return layer.output_shape(shape)
    except ValueError as error:
        text = str(error)
        if text.startswith("["):
            raise
        raise ValueError(f"[Residual] {place}, {layer}, {text} of {before}") from None


def _may_be_equal(first: Shape, second: Shape) -> bool:
    return len(first) == len(second) and all(
        a == b or a is None or b is None for a, b in zip(first, second, strict=True)
    )

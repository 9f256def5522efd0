"""Windows that slide over images, as layers describe them: kernel size, stride, padding and dilation."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Pair: TypeAlias = tuple[int, int]
Sides: TypeAlias = tuple[Pair, Pair]
"""Zeros (above, below) and (left, right) of an image."""
Padding: TypeAlias = int | tuple[int, ...] | tuple[tuple[int, int], ...] | Literal["same", "valid"]
"""What layers take as `padding`."""


def numbers_of(layer: str, name: str, given: Any, axes: int, *, least: int = 1) -> tuple[int, ...]:
    """Return a number for each axis: those that are given, or one for all.

    Raises
    ------
    ValueError
        If there are too few or too many, one is no integer, or one is too small.
    """
    values = given if isinstance(given, (tuple, list)) else (given,) * axes
    try:
        numbers = tuple(operator.index(value) for value in values)
    except TypeError:
        numbers = ()
    if len(numbers) != axes or min(numbers) < least:
        wanted = f"an integer of at least {least}" + (f", or {axes} of them" if axes > 1 else "")
        raise ValueError(f"[{layer}] {name} must be {wanted}, got {given!r}")
    return numbers


@dataclass(frozen=True)
class Window:
    """A window of one or two axes.

    Attributes
    ----------
    size, stride, dilation : tuple of int
        Taps, and how far outputs and taps lie apart, along each axis.
    padding : "same", or tuple of (int, int)
        Zeros before and after each axis; ``"same"`` for as many as ``ceil(size / stride)`` outputs need.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Literal["same"] | tuple[Pair, ...]

    @classmethod
    def of(
        cls, layer: str, axes: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1
    ) -> Window:
        """Return the window of a layer's arguments, which are checked."""
        sides: Any
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"[{layer}] padding {padding!r} is not one of: same, valid")
            sides = "same" if padding == "same" else ((0, 0),) * axes
        elif isinstance(padding, (tuple, list)) and all(isinstance(side, (tuple, list)) for side in padding):
            if len(padding) != axes:
                raise ValueError(f"[{layer}] padding must have a pair for each axis, got {padding!r}")
            sides = tuple(numbers_of(layer, "padding", side, 2, least=0) for side in padding)
        else:
            sides = tuple((p, p) for p in numbers_of(layer, "padding", padding, axes, least=0))
        return cls(
            numbers_of(layer, "kernel_size", kernel_size, axes),
            numbers_of(layer, "stride", stride, axes),
            numbers_of(layer, "dilation", dilation, axes),
            sides,
        )

    def sides(self, sizes: tuple[int, ...]) -> tuple[Pair, ...]:
        """Return the zeros before and after each axis of an image of these sizes."""
        if self.padding != "same":
            return self.padding
        lacking = [
            max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, s, k, d in zip(sizes, self.stride, self.size, self.dilation, strict=True)
        ]
        return tuple((total // 2, total - total // 2) for total in lacking)

    def covered(self, outputs: tuple[int, ...], sides: tuple[Pair, ...]) -> tuple[int, ...]:
        """Return the sizes of the smallest image, without its zeros, on which so many windows have a place."""
        return tuple(
            (n - 1) * s + (k - 1) * d + 1 - sum(side)
            for n, s, k, d, side in zip(outputs, self.stride, self.size, self.dilation, sides, strict=True)
        )

    def outputs(self, sizes: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the number of places along each axis; ValueError, whose message goes on, if there is none."""
        found: list[int | None] = []
        for axis, n in enumerate(sizes):
            if n is None:
                found.append(None)
                continue
            extent = (self.size[axis] - 1) * self.dilation[axis] + 1
            before, after = self.padding[axis] if self.padding != "same" else (0, 0)
            if self.padding == "same":
                found.append(-(-n // self.stride[axis]))
            elif n + before + after < extent:
                raise ValueError(
                    f"has windows that cover {extent} {_along(axis, len(sizes))}, "
                    f"but images of {n} {_along(axis, len(sizes))} come out"
                )
            else:
                found.append((n + before + after - extent) // self.stride[axis] + 1)
        return tuple(found)


def _along(axis: int, axes: int) -> str:
    return "places" if axes == 1 else ("rows", "columns")[axis]

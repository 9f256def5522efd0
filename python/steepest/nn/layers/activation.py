"""The layer of an element-wise activation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest import kernels as K
from steepest._runtime.arrays import Activation as Function
from steepest.nn.ops import ActivationOperation
from steepest.nn.values import Shape

from .base import Layer

if TYPE_CHECKING:
    from steepest._operations import ActivationName
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class Activation(Layer):
    """An element-wise activation, fused into the `Linear` before it where its output gives its derivative.

    Parameters
    ----------
    name : str
        One of ``steepest.kernels.ACTIVATIONS``.
    parameter : float or None, default=None
        Of the activations that have one (the slope of ``"leaky_relu"``, the alpha of ``"elu"``); None is its default.

    Raises
    ------
    ValueError
        Where the name is not known, or the parameter is negative, not finite, or of an activation that has none.
    """

    name: ActivationName
    parameter: float | None = None

    def __post_init__(self) -> None:
        if self.name not in K.ACTIVATIONS:
            raise ValueError(f"[Activation] {self.name!r} is not one of {', '.join(K.ACTIVATIONS)}")
        if self.parameter is None:
            return
        if self.name not in K.ACTIVATION_PARAMETERS:
            raise ValueError(f"[Activation] {self.name!r} takes no parameter")
        if not (math.isfinite(self.parameter) and self.parameter >= 0):
            what = K.ACTIVATION_PARAMETERS[self.name][0]
            raise ValueError(f"[Activation] {what} must be finite and not negative, got {self.parameter}")

    @property
    def function(self) -> Function:
        """The activation as the kernels take it."""
        return self.name if self.parameter is None else (self.name, float(self.parameter))

    def __str__(self) -> str:
        settings = [] if self.parameter is None else [f"{self.parameter:g}"]
        if type(self) is Activation:
            settings.insert(0, repr(self.name))
        return f"{type(self).__name__}({', '.join(settings)})"

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        if self.name == "identity":
            return inputs[0]
        return build.node(self, ActivationOperation(self.function), inputs)

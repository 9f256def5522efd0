"""The dropout layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest.nn.ops import DropoutOperation
from steepest.nn.values import Shape

from .base import Layer

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class Dropout(Layer):
    """Sets items to zero at random while training, and scales the others by 1 / (1 - rate); `predict` does nothing.

    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014. The mask
    is a function of the network's seed, the layer's position and the number of the forward pass.

    Parameters
    ----------
    rate : float, default=0.5
        Probability of zero, in [0, 1).

    Raises
    ------
    ValueError
        Where `rate` is outside [0, 1).
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate < 1.0:
            raise ValueError(f"[Dropout] rate must be in [0, 1), got {self.rate}")

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        if self.rate == 0:
            return inputs[0]
        return build.node(self, DropoutOperation(self.rate, build.seed(), build.passes), inputs)

"""The softmax layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest.nn.ops import SoftmaxOperation
from steepest.nn.values import Shape

from .base import Layer

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class Softmax(Layer):
    """f(x)_j = exp(x_j) / sum_k exp(x_k) in every row.

    In front of a cross-entropy leave it out: `SoftmaxCrossEntropy` takes logits.
    """

    def output_shape(self, *shapes: Shape) -> Shape:
        if not shapes[0]:
            raise ValueError("takes the scores of classes, but a single number comes out")
        return shapes[0]

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, SoftmaxOperation(), inputs)

"""The objective of one batch: its penalised loss, and the quadratic model of that loss about the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest.fisher import FisherMatrix
from steepest.fisher._joint_loss import side_by_side
from steepest.fisher._layout import Layout, dot
from steepest.nn import Network
from steepest.nn.inputs import Inputs, as_inputs

from .step_rules import NaturalStep


@dataclass(frozen=True)
class L2Penalty:
    """The penalty ``l2 / 2 * sum(w**2)`` of a network's weights, without its biases."""

    net: Network
    l2: float

    def of(self, tensors: list[Array]) -> float:
        """Return the penalty at tensors of the parameters' shapes."""
        if not self.l2:
            return 0.0
        named = zip(self.net.parameters(), tensors, strict=True)
        return 0.5 * self.l2 * sum(float(K.sum_squares(a)) for p, a in named if p.decays)

    def now(self) -> float:
        """Return the penalty at the present parameters."""
        return self.of([p.value for p in self.net.parameters()])

    def gradient(self, layout: Layout) -> Array:
        """Return the gradient of the penalty as a flat array on the device, with zeros for the biases."""
        flat = layout.gathered([p.value for p in self.net.parameters()])
        start = 0
        for p in self.net.parameters():
            if not p.decays:
                flat[start : start + p.value.size] = 0
            start += p.value.size
        return self.l2 * flat


@dataclass
class QuadraticModel:
    """Predicted change of a batch's penalised loss by a step d: ``g^T d + d^T F d / 2``, with the exact F."""

    penalty: L2Penalty
    whole: FisherMatrix
    step: NaturalStep
    gradient: Callable[[], Array]

    @cached_property
    def slope(self) -> float:
        """The slope ``g^T d``; the gradient is computed when the slope is first read."""
        return dot(self.gradient(), self.step.move)

    def change(self, factor: float) -> float:
        """Return the predicted change of the loss by `factor` times the step."""
        tensors = self.whole.layout.tensors(self.step.move)
        curved = self.step.curvature_on(self.whole) + 2.0 * self.penalty.of(tensors)
        return factor * self.slope + 0.5 * factor**2 * curved

    def divergence(self, factor: float) -> float:
        """Return the predicted divergence of `factor` times the step, in nats per row."""
        return 0.5 * factor**2 * self.step.curvature_on(self.whole) / self.whole.scale


@dataclass
class BatchLoss:
    """The penalised loss of a batch, before and after a step."""

    net: Network
    loss: Any
    penalty: L2Penalty
    X: Inputs
    y: Any
    sample_weight: Array | None
    before: float

    def after(self) -> tuple[float, Array]:
        """Return the loss of the present parameters, infinite where it is not finite, and their outputs."""
        outputs = side_by_side(self.net.predict(*as_inputs(self.X)))
        try:
            value = float(self.loss(outputs, self.y, self.sample_weight)[0])
        except FloatingPointError:  # raised by a kernel if the loss is not finite
            return math.inf, outputs
        return value + self.penalty.now(), outputs

"""The objective of one batch: its penalised loss, and the quadratic model of that loss about the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest.fisher import FisherMatrix
from steepest.fisher._layout import Layout, dot
from steepest.nn import Loss, Network
from steepest.nn.inputs import Inputs, as_inputs

from ._step_rules import NaturalStep


@dataclass(frozen=True)
class L2Penalty:
    """The penalty ``l2 / 2 * sum(w**2)`` of a network's weights, without its biases."""

    net: Network
    l2: float

    def of(self, tensors: list[Array]) -> float:
        """Return the penalty of tensors of the shapes of the parameters."""
        if not self.l2:
            return 0.0
        named = zip(self.net.parameters(), tensors, strict=True)
        return 0.5 * self.l2 * sum(float(K.sum_squares(a)) for p, a in named if p.decays)

    def now(self) -> float:
        """Return the penalty of the present parameters."""
        return self.of([p.value for p in self.net.parameters()])

    def gradient(self, layout: Layout) -> Array:
        """Return the gradient of the penalty, flat on the device: zeros in the place of biases."""
        flat = layout.gathered([p.value for p in self.net.parameters()])
        start = 0
        for p in self.net.parameters():
            if not p.decays:
                flat[start : start + p.value.size] = 0
            start += p.value.size
        return self.l2 * flat


@dataclass
class QuadraticModel:
    """What the step ``d`` of a batch does to its penalised loss: ``g^T d + d^T F d / 2``, with the exact F."""

    penalty: L2Penalty
    whole: FisherMatrix
    step: NaturalStep
    gradient: Callable[[], Array]

    @cached_property
    def slope(self) -> float:
        """``g^T d``; the gradient is asked for no sooner."""
        return dot(self.gradient(), self.step.move)

    def change(self, factor: float) -> float:
        """Return the predicted change of the loss by a multiple of the step."""
        tensors = self.whole._layout.tensors(self.step.move)
        curved = self.step.curvature_on(self.whole._batch) + 2.0 * self.penalty.of(tensors)
        return factor * self.slope + 0.5 * factor**2 * curved

    def divergence(self, factor: float) -> float:
        """Return the predicted divergence of a multiple of the step, in nats a row."""
        return 0.5 * factor**2 * self.step.curvature_on(self.whole._batch) / self.whole.scale


@dataclass
class BatchLoss:
    """The penalised loss of a batch, before and after a step."""

    net: Network
    loss: Loss
    penalty: L2Penalty
    X: Inputs
    y: Array
    sample_weight: Array | None
    before: float

    def after(self) -> tuple[float, Array]:
        """Return the loss of the present parameters, infinite where it is not finite, and their outputs."""
        outputs = self.net.predict(*as_inputs(self.X))
        try:
            value = float(self.loss(outputs, self.y, self.sample_weight)[0])
        except FloatingPointError:  # a kernel found that it is not finite
            return math.inf, outputs
        return value + self.penalty.now(), outputs

"""Layers of Gaussian distributions: draws whose gradient passes through, and log-variances that are parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest.nn.ops.log_variance import LogVarianceOperation
from steepest.nn.ops.sample_gaussian import SampleGaussianOperation
from steepest.nn.values import Shape

from .base import Layer, ParameterSpec

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class SampleGaussian(Layer):
    """Draws from Gaussian distributions: ``mean + exp(s / 2) * e``, e standard normal; `predict` gives the means.

    The input has the means and, behind them, as many log-variances s. Since e does not depend on them, gradients reach
    both (D. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014: the reparametrisation). The numbers e are
    a function of the network's seed, the layer's position and the number of the forward pass, as a captured step needs.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network([nn.Linear(4, 6), nn.SampleGaussian()], seed=0)
    >>> net.predict(np.ones((2, 4), np.float32)).shape
    (2, 3)
    """

    def output_shape(self, *shapes: Shape) -> Shape:
        width = shapes[0][0] if len(shapes[0]) == 1 else 1
        if width is not None and width % 2:
            raise ValueError(
                f"takes samples of means and as many log-variances, but samples of shape {shapes[0]} come out"
            )
        return (None if width is None else width // 2,)

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, SampleGaussianOperation(build.seed(), build.passes), inputs)


@dataclass(frozen=True)
class LogVariance(Layer):
    """Puts log-variances, which are parameters, behind means: what `Gaussian`, the loss, takes.

    A network with this layer at its end learns how far its targets scatter about its predictions.

    Parameters
    ----------
    shared : bool, default=False
        Whether all outputs have one variance instead of one each.
    init : float, default=0.0
        Initial log-variance.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network([nn.Linear(4, 3), nn.LogVariance()], seed=0)
    >>> net.predict(np.ones((2, 4), np.float32)).shape
    (2, 6)
    """

    shared: bool = False
    init: float = 0.0

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != 1:
            raise ValueError(f"takes samples of one axis, but samples of shape {shapes[0]} come out")
        width = shapes[0][0]
        return (None if width is None else 2 * width,)

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        width = 1 if self.shared else shapes[0][0]
        if width is None:
            raise ValueError("needs the shape of its input: put nn.Input(shape) in front of the layers")
        return {"log_variance": ParameterSpec((width,), float(self.init))}

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, LogVarianceOperation(), inputs)

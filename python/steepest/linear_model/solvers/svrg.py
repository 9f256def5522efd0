"""Stochastic variance-reduced gradients (SVRG): mini-batch steps whose noise vanishes at the minimum.

A constant learning rate therefore converges (R. Johnson, T. Zhang, "Accelerating stochastic gradient descent using
predictive variance reduction", NeurIPS 2013).
"""

from __future__ import annotations

import copy

from steepest import kernels as K
from steepest._runtime.arrays import Float64Array
from steepest.nn import Network
from steepest.nn.inputs import as_inputs
from steepest.nn.losses import Loss
from steepest.optim import Optimizer
from steepest.training.batches import Batch
from steepest.training.programs import GradientDescent


class VarianceReducedDescent(GradientDescent):
    """Gradient descent with stochastic variance-reduced gradients (SVRG), without penalties.

    ``g(w) - g(a) + G(a)`` replaces the gradient g(w) of a mini-batch. The anchor a is the weights at the start of the
    epoch, and G(a) the gradient of all rows there. The mean of the gradient is the same, and its variance tends to 0 as
    w and a approach the minimum.
    """

    def __init__(self, network: Network, loss: Loss, optimizer: Optimizer) -> None:
        super().__init__(network, loss, optimizer)
        self._anchor = copy.copy(network)

    def anchor(self) -> None:
        """Store the network's weights and gradients, which must be of the mean loss over all rows, as the anchor."""
        self._anchor.arena[...] = self.network.arena
        self._anchor.grad_arena[...] = -self.network.grad_arena

    def _loss_gradient(self, batch: Batch, l2: float) -> Float64Array:
        x = as_inputs(batch.x)
        value, d_output = self.loss(self.network.forward(*x), batch.y, batch.sample_weight)
        K.require_finite(value)
        _, d_anchor = self.loss(self._anchor.forward(*x), batch.y, None)
        K.sgd_update([d_output], [d_anchor], lr=1.0)
        self.network.backward(d_output, l2=l2)
        gradients = ([p.grad for p in network.parameters()] for network in (self.network, self._anchor))
        K.sgd_update(*gradients, lr=1.0)
        return value

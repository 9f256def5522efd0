"""Stochastic variance-reduced gradients (SVRG): mini-batch steps whose noise vanishes at the minimum.

A constant learning rate therefore converges (R. Johnson, T. Zhang, "Accelerating stochastic gradient descent using
predictive variance reduction", NeurIPS 2013).
"""

from __future__ import annotations

import copy
from typing import Any

from steepest import kernels as K
from steepest._estimators.training import MiniBatchTrainer
from steepest._runtime.arrays import Array


class SvrgTrainer(MiniBatchTrainer):
    """Mini-batch trainer with stochastic variance-reduced gradients (SVRG).

    ``g(w) - g(a) + G(a)`` replaces the gradient g(w) of a mini-batch. The anchor a is the weights at the start of the
    epoch, and G(a) the gradient of all rows there. The mean of the gradient is the same, and its variance tends to 0 as
    w and a approach the minimum.
    """

    def anchor(self) -> None:
        """Store the network's weights and gradients, which must be of the mean loss over all rows, as the anchor."""
        self._anchor.arena[...] = self.network.arena
        self._anchor.grad_arena[...] = -self.network.grad_arena

    def _capture(self, length: int) -> Any:
        if "_anchor" not in self.__dict__:
            self._anchor = copy.copy(self.network)
        return super()._capture(length)

    def _backward(self, x: Array, y: Array, d_output: Array, l2: float) -> None:
        _, d_anchor = self._loss(self._anchor.forward(x), y, None)
        K.sgd_update([d_output], [d_anchor], lr=1.0)
        super()._backward(x, y, d_output, l2)
        gradients = ([p.grad for p in network.parameters()] for network in (self.network, self._anchor))
        K.sgd_update(*gradients, lr=1.0)

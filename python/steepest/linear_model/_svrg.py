"""Stochastic variance-reduced gradients: steps on a few samples whose noise vanishes at the minimum.

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
    """Stochastic variance reduced gradients (R. Johnson and T. Zhang, NIPS 2013).

    The gradient g of a step's samples is replaced by ``g(w) - g(a) + G(a)`` with an anchor a, the weights at the start
    of the epoch, and the gradient G of all rows there. Its mean is the same, and its variance goes to 0 as w and a go
    to the minimum.
    """

    def anchor(self) -> None:
        """Take the network's weights and gradients, which have to be those of the mean loss of all rows, as anchor."""
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

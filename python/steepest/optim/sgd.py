"""Stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Iterable

from steepest import kernels as K
from steepest.nn import Parameter

from .base import Array, Optimizer, _require


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's form of it.

    With ``g = grad + weight_decay * p``: ``v = momentum * v - lr * g`` and ``p += v``, or, for Nesterov's
    form, ``p += momentum * v - lr * g``. I. Sutskever et al., "On the importance of initialization and
    momentum in deep learning", ICML 2013.

    Parameters
    ----------
    params : iterable of Parameter
        What to update, as `Network.parameters` returns it.
    lr : float, default=1e-3
        Learning rate.
    momentum : float, default=0.0
        Decay of the velocity, in [0, 1].
    nesterov : bool, default=False
        Whether to look ahead.
    weight_decay : float, default=0.0
        Added to the gradient as ``weight_decay * p``, for every parameter.

    Raises
    ------
    ValueError
        Where a number is out of range.
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        _require("SGD", "momentum", momentum, 0.0, math.nextafter(1.0, 2.0))
        _require("SGD", "weight_decay", weight_decay, 0.0, math.inf)
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self._velocities = self._zeros() if momentum > 0 else None

    def step(self) -> None:
        """Update every parameter in place from its gradient."""
        K.sgd_update(
            self._values,
            self._grads,
            self._velocities,
            lr=self._lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )

    def _state(self) -> dict[str, list[Array]]:
        return {} if self._velocities is None else {"velocities": self._velocities}

"""Adam."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from steepest import kernels as K
from steepest._memory import aligned_zeros
from steepest.nn import Parameter

from .base import Array, Optimizer, _require


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``,
    ``p -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)``. D. Kingma, J. Ba, "Adam: a method for
    stochastic optimization", ICLR 2015, Algorithm 1.

    Parameters
    ----------
    params : iterable of Parameter
        What to update, as `Network.parameters` returns it.
    lr : float, default=1e-3
        Learning rate.
    betas : (float, float), default=(0.9, 0.999)
        Decays of the two running means, each in [0, 1).
    eps : float, default=1e-8
        Added to the root.
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
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        for name, beta in zip(("betas[0]", "betas[1]"), betas, strict=True):
            _require("Adam", name, beta, 0.0, 1.0)
        _require("Adam", "eps", eps, 0.0, math.inf)
        _require("Adam", "weight_decay", weight_decay, 0.0, math.inf)
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self._exp_avg = self._zeros()
        self._exp_avg_sq = self._zeros()
        self._steps = aligned_zeros((), np.int64, self._device)

    def step(self) -> None:
        """Update every parameter in place from its gradient."""
        K.increment(self._steps)
        K.adam_update(
            self._values,
            self._grads,
            self._exp_avg,
            self._exp_avg_sq,
            self._steps,
            lr=self._lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            weight_decay=self.weight_decay,
        )

    def _state(self) -> dict[str, list[Array]]:
        return {"exp_avg": self._exp_avg, "exp_avg_sq": self._exp_avg_sq, "steps": [self._steps]}

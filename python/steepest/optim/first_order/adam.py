"""Optimizers that follow running means of the gradients: Adam, AdamW and Lion."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import aligned_zeros
from steepest.nn import Parameter

from .optimizer import Optimizer

__all__ = ["Adam", "AdamW", "Lion"]


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``,
    ``p -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)``. D. Kingma, J. Ba, "Adam: a method for
    stochastic optimization", ICLR 2015, Algorithm 1.

    Parameters
    ----------
    params : iterable of Parameter
        Parameters to update, as `Network.parameters` returns them.
    lr : float, default=1e-3
        Learning rate.
    betas : (float, float), default=(0.9, 0.999)
        Decays of the two running means, each in [0, 1).
    eps : float, default=1e-8
        Number added to the square root in the denominator, to avoid a division by 0.
    l1, l2, weight_decay : float, default=0.0
        Penalties on the weights, not on the biases: `l1` by a proximal step, which makes weights exactly 0; `l2` in the
        gradient; `weight_decay` decoupled from the gradient. See `Optimizer`.
    max_norm : float, optional
        Largest global norm of the gradients; larger gradients are scaled down to it.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    rule = "adam"
    formula = "m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; p ← p − lr m̂ / (√v̂ + ε)"
    source = "Kingma and Ba 2015"

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        max_norm: float | None = None,
    ) -> None:
        super().__init__(params, lr, l1=l1, l2=l2, weight_decay=weight_decay, max_norm=max_norm)
        self._require_betas(betas)
        self._require(0.0, math.inf, eps=eps)
        self.betas = betas
        self.eps = eps
        self._exp_avg = self._zeros()
        self._exp_avg_sq = self._zeros()
        self._steps = aligned_zeros((), np.int64, self._device)

    def _update(self) -> None:
        K.increment(self._steps)
        K.adam_update(
            self._values,
            self._grads,
            self._of_trained(self._exp_avg),
            self._of_trained(self._exp_avg_sq),
            self._steps,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            **self._options(),
        )

    def _state(self) -> dict[str, list[Array]]:
        return {"exp_avg": self._exp_avg, "exp_avg_sq": self._exp_avg_sq, "steps": [self._steps]}


class AdamW(Adam):
    """Adam with decoupled weight decay: ``w -= lr * weight_decay * w`` before the step of `Adam`.

    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, Algorithm 2.

    Parameters
    ----------
    params : iterable of Parameter
        Parameters to update, as `Network.parameters` returns them.
    lr : float, default=1e-3
        Learning rate.
    betas : (float, float), default=(0.9, 0.999)
        Decays of the two running means, each in [0, 1).
    eps : float, default=1e-8
        Number added to the square root in the denominator, to avoid a division by 0.
    l1, l2, weight_decay : float, default=0.0, 0.01 for `weight_decay`
        Penalties on the weights, not on the biases: `l1` by a proximal step, which makes weights exactly 0; `l2` in the
        gradient; `weight_decay` decoupled from the gradient. See `Optimizer`.
    max_norm : float, optional
        Largest global norm of the gradients; larger gradients are scaled down to it.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    formula = "p ← p − lr λ p, then the step of Adam"
    source = "Loshchilov and Hutter 2019"

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        max_norm: float | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, l1=l1, l2=l2, max_norm=max_norm)


class Lion(Optimizer):
    """Lion: steps by the sign of a running mean of the gradients.

    ``p -= lr * sign(b1 m + (1 - b1) g)``, ``m = b2 m + (1 - b2) g``. X. Chen et al., "Symbolic discovery of
    optimization algorithms", NeurIPS 2023. Each step moves every parameter by `lr`, whatever its gradient is. Therefore
    `lr` is usually three to ten times smaller than for Adam, and the decoupled `weight_decay` as much larger.

    Parameters
    ----------
    params : iterable of Parameter
        Parameters to update, as `Network.parameters` returns them.
    lr : float, default=1e-4
        Learning rate.
    betas : (float, float), default=(0.9, 0.99)
        Weight of the mean in the direction of a step, and decay of the mean, each in [0, 1).
    l1, l2, weight_decay : float, default=0.0
        Penalties on the weights, not on the biases: `l1` by a proximal step, which makes weights exactly 0; `l2` in the
        gradient; `weight_decay` decoupled from the gradient. See `Optimizer`.
    max_norm : float, optional
        Largest global norm of the gradients; larger gradients are scaled down to it.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    rule = "lion"
    formula = "p ← p − lr sign(β₁ m + (1 − β₁) g); m ← β₂ m + (1 − β₂) g"
    source = "Chen et al. 2023"

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        max_norm: float | None = None,
    ) -> None:
        super().__init__(params, lr, l1=l1, l2=l2, weight_decay=weight_decay, max_norm=max_norm)
        self._require_betas(betas)
        self.betas = betas
        self._exp_avg = self._zeros()

    def _update(self) -> None:
        beta1, beta2 = self.betas
        averages = self._of_trained(self._exp_avg)
        K.lion_update(self._values, self._grads, averages, beta1=beta1, beta2=beta2, **self._options())

    def _state(self) -> dict[str, list[Array]]:
        return {"exp_avg": self._exp_avg}

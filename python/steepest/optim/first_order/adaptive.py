"""Optimizers that scale each parameter's step by the squares of its gradients: AdaGrad and RMSprop."""

from __future__ import annotations

import math
from collections.abc import Iterable

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest.nn import Parameter

from .optimizer import Optimizer

__all__ = ["AdaGrad", "RMSprop"]


class AdaGrad(Optimizer):
    """AdaGrad: ``s += g^2``, ``p -= lr * g / (sqrt(s) + eps)``.

    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 2011.

    Parameters
    ----------
    params : iterable of Parameter
        Parameters to update, as `Network.parameters` returns them.
    lr : float, default=1e-2
        Learning rate.
    eps : float, default=1e-10
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

    rule = "adagrad"
    formula = "s ← s + g²; p ← p − lr g / (√s + ε)"
    source = "Duchi, Hazan and Singer 2011"

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-2,
        eps: float = 1e-10,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        max_norm: float | None = None,
    ) -> None:
        super().__init__(params, lr, l1=l1, l2=l2, weight_decay=weight_decay, max_norm=max_norm)
        self._require(0.0, math.inf, eps=eps)
        self.eps = eps
        self._sum_sq = self._zeros()

    def _update(self) -> None:
        sums = self._of_trained(self._sum_sq)
        K.adagrad_update(self._values, self._grads, sums, eps=self.eps, **self._options())

    def _state(self) -> dict[str, list[Array]]:
        return {"sum_sq": self._sum_sq}


class RMSprop(Optimizer):
    """RMSprop: ``v = rho * v + (1 - rho) * g^2``, ``p -= lr * g / (sqrt(v) + eps)``.

    T. Tieleman, G. Hinton, "Lecture 6.5 - RMSProp", Coursera: neural networks for machine learning, 2012.

    Parameters
    ----------
    params : iterable of Parameter
        Parameters to update, as `Network.parameters` returns them.
    lr : float, default=1e-2
        Learning rate.
    rho : float, default=0.99
        Decay of the running mean, in [0, 1).
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

    rule = "rmsprop"
    formula = "v ← ρ v + (1 − ρ) g²; p ← p − lr g / (√v + ε)"
    source = "Tieleman and Hinton 2012"

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-2,
        rho: float = 0.99,
        eps: float = 1e-8,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        max_norm: float | None = None,
    ) -> None:
        super().__init__(params, lr, l1=l1, l2=l2, weight_decay=weight_decay, max_norm=max_norm)
        self._require(0.0, 1.0, rho=rho)
        self._require(0.0, math.inf, eps=eps)
        self.rho = rho
        self.eps = eps
        self._exp_avg_sq = self._zeros()

    def _update(self) -> None:
        averages = self._of_trained(self._exp_avg_sq)
        K.rmsprop_update(self._values, self._grads, averages, rho=self.rho, eps=self.eps, **self._options())

    def _state(self) -> dict[str, list[Array]]:
        return {"exp_avg_sq": self._exp_avg_sq}

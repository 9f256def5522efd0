"""Stochastic gradient descent: plain, with momentum, and with Nesterov's momentum."""

from __future__ import annotations

import math
from collections.abc import Iterable

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest.nn import Parameter

from .optimizer import Optimizer

__all__ = ["SGD", "Momentum", "Nesterov"]


class SGD(Optimizer):
    """Stochastic gradient descent: ``p -= lr * g``; with `momentum` the step of `Momentum` or `Nesterov`.

    H. Robbins, S. Monro, "A stochastic approximation method", 1951.

    Parameters
    ----------
    params : iterable of Parameter
        Parameters to update, as `Network.parameters` returns them.
    lr : float, default=1e-3
        Learning rate.
    momentum : float, default=0.0
        Decay of the velocity, in [0, 1]; 0 for no momentum.
    nesterov : bool, default=False
        Whether to use Nesterov's momentum; requires `momentum` above 0.
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

    rule = "sgd"
    formula = "p ← p − lr g"
    source = "Robbins and Monro 1951"

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        max_norm: float | None = None,
    ) -> None:
        super().__init__(params, lr, l1=l1, l2=l2, weight_decay=weight_decay, max_norm=max_norm)
        self._require(0.0, math.nextafter(1.0, 2.0), momentum=momentum)
        if nesterov and momentum == 0:
            raise ValueError(f"[{type(self).__name__}] nesterov needs a momentum above 0")
        self.momentum = momentum
        self.nesterov = nesterov
        self._velocities = self._zeros() if momentum > 0 else None

    def _update(self) -> None:
        K.sgd_update(
            self._values,
            self._grads,
            None if self._velocities is None else self._of_trained(self._velocities),
            momentum=self.momentum,
            nesterov=self.nesterov,
            **self._options(),
        )

    def _state(self) -> dict[str, list[Array]]:
        return {} if self._velocities is None else {"velocities": self._velocities}


class Momentum(SGD):
    """Gradient descent with momentum, the heavy ball: ``v = momentum * v - lr * g``, ``p += v``.

    B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.

    Parameters
    ----------
    params : iterable of Parameter
        Parameters to update, as `Network.parameters` returns them.
    lr : float, default=1e-3
        Learning rate.
    momentum : float, default=0.9
        Decay of the velocity, in (0, 1].
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

    rule = "momentum"
    formula = "v ← μ v − lr g; p ← p + v"
    source = "Polyak 1964"
    _looks_ahead = False

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        momentum: float = 0.9,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        max_norm: float | None = None,
    ) -> None:
        if not momentum > 0:
            raise ValueError(f"[{type(self).__name__}] momentum must be above 0, got {momentum}")
        super().__init__(
            params, lr, momentum, self._looks_ahead, weight_decay, l1=l1, l2=l2, max_norm=max_norm
        )


class Nesterov(Momentum):
    """Gradient descent with Nesterov's momentum: ``v = momentum * v - lr * g``, ``p += momentum * v - lr * g``.

    Y. Nesterov, "A method for solving the convex programming problem with convergence rate O(1/k^2)", 1983, in the form
    of I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.

    Parameters
    ----------
    params : iterable of Parameter
        Parameters to update, as `Network.parameters` returns them.
    lr : float, default=1e-3
        Learning rate.
    momentum : float, default=0.9
        Decay of the velocity, in (0, 1].
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

    rule = "nesterov"
    formula = "v ← μ v − lr g; p ← p + μ v − lr g"
    source = "Nesterov 1983; Sutskever et al. 2013"
    _looks_ahead = True

"""Optimizer steps (SGD, AdaGrad, RMSprop, Adam, Lion) that update all parameters of a model in one launch.

The rules are defined in ``csrc/common/update_rules.h``. All of them take the same options, which need no further pass
over the arrays:

* ``max_norm``: gradient clipping. The gradients are scaled by ``min(1, max_norm / norm)``, where `norm` is the
  Euclidean norm of all gradients of the call together, without penalties. If the norm is NaN, nothing is clipped.
* ``l2``: an L2 penalty, ``l2 * param`` added to the gradient.
* ``weight_decay``: decoupled decay, ``param -= lr * weight_decay * param`` before the step, independent of the rule's
  moments (I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019).
* ``l1``: an L1 penalty by a proximal step after the rule's step, ``sign(param) * max(abs(param) - lr * l1, 0)``, which
  makes parameters exactly 0. With plain gradient descent this is proximal gradient descent, or ISTA (N. Parikh,
  S. Boyd, "Proximal algorithms", 2014).
* ``penalised``: for each parameter, whether these three penalties act on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from steepest import _cpu
from steepest._runtime.arrays import Arrays, Float64Array, Int64Array
from steepest._runtime.backends import backend_of_first

__all__ = ["UPDATE_RULES", "adagrad_update", "adam_update", "lion_update", "rmsprop_update", "sgd_update"]

UPDATE_RULES: Mapping[str, tuple[str, tuple[str, ...]]] = _cpu.UPDATE_RULES
"""Name of each rule -> the function that takes its step, and the names of its state arrays."""

_FLAGS = (bool, np.bool_)

# The backends' `update` takes positional arguments: rule, params, grads, states, lr, step, beta1, beta2, eps, and the
# options of all rules. Keyword arguments would take a quarter of the time of a small update.


def sgd_update(
    params: Arrays,
    grads: Arrays,
    velocities: Arrays | None = None,
    *,
    lr: float | Float64Array,
    momentum: float = 0.0,
    nesterov: bool = False,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    penalised: Sequence[bool] | None = None,
) -> None:
    """Take a step of stochastic gradient descent, in place.

    With the clipped and penalised gradient g, ``param -= lr * g`` without momentum. With momentum,
    ``velocity = momentum * velocity - lr * g``, then ``param += velocity`` [1]_, or in Nesterov's form
    ``param += momentum * velocity - lr * g`` [2]_.

    Parameters
    ----------
    params, grads : array or list of arrays
        Parameters and their gradients, in pairs of the same shape.
    velocities : array or list of arrays, optional
        Accumulated steps, zero at first; required if momentum is not 0.
    lr : float or 0-d float64 ndarray
        Learning rate.
    momentum : float
        Decay of the velocities per step.
    nesterov : bool
        Whether to use Nesterov's form.
    l2, weight_decay, l1 : float
        Strengths of the penalties: L2 in the gradient, decoupled weight decay, and L1 by a proximal step.
    max_norm : float, optional
        Largest norm of all gradients together; larger gradients are scaled down to it.
    penalised : sequence of bool, optional
        For each parameter, whether the penalties act on it; True by default.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    .. [1] B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    .. [2] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep
       learning", ICML 2013.
    """
    if not isinstance(nesterov, _FLAGS):
        raise TypeError(f"[sgd_update] nesterov must be True or False, not {type(nesterov).__name__}")
    if nesterov and momentum == 0:
        raise ValueError("[sgd_update] nesterov needs a momentum above 0")
    rule = "sgd" if velocities is None else "nesterov" if nesterov else "momentum"
    backend_of_first(params).update(
        rule,
        params,
        grads,
        () if velocities is None else (velocities,),
        lr,
        1,
        momentum,
        0.0,
        0.0,
        l2,
        weight_decay,
        l1,
        max_norm,
        penalised,
    )


def adagrad_update(
    params: Arrays,
    grads: Arrays,
    sum_sq: Arrays,
    *,
    lr: float | Float64Array = 1e-2,
    eps: float = 1e-10,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    penalised: Sequence[bool] | None = None,
) -> None:
    """Take a step of AdaGrad, in place.

    With the clipped and penalised gradient g, ``s += g**2`` and ``param -= lr * g / (sqrt(s) + eps)`` [1]_.

    Parameters
    ----------
    params, grads : array or list of arrays
        Parameters and their gradients, in pairs of the same shape.
    sum_sq : array or list of arrays
        The sums s of squared gradients, zero at first.
    lr : float or 0-d float64 ndarray
        Learning rate.
    eps : float
        Small number, added to the square root of the sum.
    l2, weight_decay, l1 : float
        Strengths of the penalties: L2 in the gradient, decoupled weight decay, and L1 by a proximal step.
    max_norm : float, optional
        Largest norm of all gradients together; larger gradients are scaled down to it.
    penalised : sequence of bool, optional
        For each parameter, whether the penalties act on it; True by default.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    .. [1] J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic
       optimization", JMLR 2011.
    """
    backend_of_first(params).update(
        "adagrad", params, grads, (sum_sq,), lr, 1, 0.0, 0.0, eps, l2, weight_decay, l1, max_norm, penalised
    )


def rmsprop_update(
    params: Arrays,
    grads: Arrays,
    exp_avg_sq: Arrays,
    *,
    lr: float | Float64Array = 1e-2,
    rho: float = 0.99,
    eps: float = 1e-8,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    penalised: Sequence[bool] | None = None,
) -> None:
    """Take a step of RMSprop, in place.

    With the clipped and penalised gradient g, ``v = rho * v + (1 - rho) * g**2`` and
    ``param -= lr * g / (sqrt(v) + eps)`` [1]_.

    Parameters
    ----------
    params, grads : array or list of arrays
        Parameters and their gradients, in pairs of the same shape.
    exp_avg_sq : array or list of arrays
        The running means v of squared gradients, zero at first.
    lr : float or 0-d float64 ndarray
        Learning rate.
    rho : float
        Decay of the means per step, in [0, 1).
    eps : float
        Small number, added to the square root of the mean.
    l2, weight_decay, l1 : float
        Strengths of the penalties: L2 in the gradient, decoupled weight decay, and L1 by a proximal step.
    max_norm : float, optional
        Largest norm of all gradients together; larger gradients are scaled down to it.
    penalised : sequence of bool, optional
        For each parameter, whether the penalties act on it; True by default.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, "Lecture 6.5 - RMSProp", Coursera: neural networks for machine learning, 2012.
    """
    backend_of_first(params).update(
        "rmsprop",
        params,
        grads,
        (exp_avg_sq,),
        lr,
        1,
        0.0,
        rho,
        eps,
        l2,
        weight_decay,
        l1,
        max_norm,
        penalised,
    )


def adam_update(
    params: Arrays,
    grads: Arrays,
    exp_avg: Arrays,
    exp_avg_sq: Arrays,
    step: int | Int64Array,
    *,
    lr: float | Float64Array = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    penalised: Sequence[bool] | None = None,
) -> None:
    """Take a step of Adam, or of AdamW with `weight_decay`, in place.

    With the clipped and penalised gradient g, ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g**2`` and
    ``param -= lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)`` ([1]_, Algorithm 1; AdamW: [2]_).

    Parameters
    ----------
    params, grads : array or list of arrays
        Parameters and their gradients, in pairs of the same shape.
    exp_avg, exp_avg_sq : array or list of arrays
        The moments m and v, zero at first.
    step : int or 0-d int64 ndarray
        Number t of this update, counted from 1; a number below 1 in an array counts as 1.
    lr : float or 0-d float64 ndarray
        Learning rate.
    beta1, beta2 : float
        Decay of the moments per step, in [0, 1).
    eps : float
        Small number, added to the square root of the second moment.
    l2, weight_decay, l1 : float
        Strengths of the penalties: L2 in the gradient, decoupled weight decay, and L1 by a proximal step.
    max_norm : float, optional
        Largest norm of all gradients together; larger gradients are scaled down to it.
    penalised : sequence of bool, optional
        For each parameter, whether the penalties act on it; True by default.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    .. [2] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """
    backend_of_first(params).update(
        "adam",
        params,
        grads,
        (exp_avg, exp_avg_sq),
        lr,
        step,
        beta1,
        beta2,
        eps,
        l2,
        weight_decay,
        l1,
        max_norm,
        penalised,
    )


def lion_update(
    params: Arrays,
    grads: Arrays,
    exp_avg: Arrays,
    *,
    lr: float | Float64Array = 1e-4,
    beta1: float = 0.9,
    beta2: float = 0.99,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    penalised: Sequence[bool] | None = None,
) -> None:
    """Take a step of Lion, in place.

    With the clipped and penalised gradient g, ``param -= lr * sign(beta1 * m + (1 - beta1) * g)``, then
    ``m = beta2 * m + (1 - beta2) * g`` ([1]_, Algorithm 2). Each item moves by lr, whatever the size of its gradient,
    so that lr is usually three to ten times smaller than Adam's.

    Parameters
    ----------
    params, grads : array or list of arrays
        Parameters and their gradients, in pairs of the same shape.
    exp_avg : array or list of arrays
        The moments m, zero at first.
    lr : float or 0-d float64 ndarray
        Learning rate.
    beta1 : float
        Weight of the moment in the direction of the step, in [0, 1).
    beta2 : float
        Decay of the moment per step, in [0, 1).
    l2, weight_decay, l1 : float
        Strengths of the penalties: L2 in the gradient, decoupled weight decay, and L1 by a proximal step.
    max_norm : float, optional
        Largest norm of all gradients together; larger gradients are scaled down to it.
    penalised : sequence of bool, optional
        For each parameter, whether the penalties act on it; True by default.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    .. [1] X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.
    """
    backend_of_first(params).update(
        "lion", params, grads, (exp_avg,), lr, 1, beta1, beta2, 0.0, l2, weight_decay, l1, max_norm, penalised
    )

"""Updates of all parameters of a model in one launch."""

from __future__ import annotations

from steepest._backends import backend_of_first
from steepest.kernels._types import Arrays, Float64Array, Int64Array


def sgd_update(
    params: Arrays,
    grads: Arrays,
    velocities: Arrays | None = None,
    *,
    lr: float | Float64Array,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """Take a step of stochastic gradient descent, in place.

    With ``g = grad + weight_decay * param``: ``param -= lr * g`` without momentum, otherwise
    ``velocity = momentum * velocity - lr * g``, then ``param += velocity``, or with Nesterov's form
    ``param += momentum * velocity - lr * g`` [1]_.

    Parameters
    ----------
    params, grads : array or list of arrays
        Parameters and their gradients, pairwise of one shape.
    velocities : array or list of arrays, optional
        Accumulated steps, zero at first; needed where momentum is not 0.
    lr : float or 0-d float64 ndarray
        Learning rate.
    momentum : float
        Decay of the velocities per step.
    nesterov : bool
        Whether to use Nesterov's form.
    weight_decay : float
        Strength of an L2 penalty, added to the gradients.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    .. [1] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep
       learning", ICML 2013.
    """
    backend_of_first(params).sgd_update(
        params, grads, velocities, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
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
    weight_decay: float = 0.0,
) -> None:
    """Take a step of Adam, in place.

    With ``g = grad + weight_decay * param``: ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g**2`` and
    ``param -= lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)`` ([1]_, Algorithm 1).

    Parameters
    ----------
    params, grads : array or list of arrays
        Parameters and their gradients, pairwise of one shape.
    exp_avg, exp_avg_sq : array or list of arrays
        The moments m and v, zero at first.
    step : int or 0-d int64 ndarray
        The number t of this update, counted from 1.
    lr : float or 0-d float64 ndarray
        Learning rate.
    beta1, beta2 : float
        Decay of the moments per step, in [0, 1).
    eps : float
        Added to the root of the second moment.
    weight_decay : float
        Strength of an L2 penalty, added to the gradients.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """
    backend_of_first(params).adam_update(
        params,
        grads,
        exp_avg,
        exp_avg_sq,
        step,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        weight_decay=weight_decay,
    )

"""Linear models with few outputs, for which matrix products are the wrong tool.

`linear_loss` takes one pass over the samples, at the speed of memory; `linear_sgd` takes a step for each sample without
an operation for each.
"""

from __future__ import annotations

from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["linear_loss", "linear_sgd"]


def linear_loss(
    x: Array,
    w: Array,
    b: Array | None,
    target: Array,
    sample_weight: Array | None = None,
    *,
    kind: str = "log_loss",
    parameter: float | None = None,
    half: bool = False,
    reduction: str = "mean",
    l2: float = 0.0,
    gradient: bool = True,
    loss: Float64Array | None = None,
    d_w: Array | None = None,
    d_b: Array | None = None,
) -> tuple[Float64Array, Array | None, Array | None]:
    """Return the loss of the linear model ``z = x @ w + b`` and its gradients, in one pass over x.

    ``loss = s * sum_i u_i l_i / sum_i u_i + l2 / 2 * sum(w**2)`` with the weights u of the samples, s = 1/2 if `half`
    and else 1, and l_i the mean or the sum over the outputs j of ``l(z_ij, target_ij)``, or the softmax cross-entropy
    of row i. Sums are held in float64, in an order that depends on the shapes alone. On CUDA it is made of a matrix
    product, the loss and the product of the gradients, in one operation.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Samples; finite, also where their weight is 0.
    w : ndarray of shape (d, k)
        Weights; k should be small, since all k rows of scores are made anew for each block of samples.
    b : ndarray of shape (k,) or None
        Biases. Their gradient is returned also where there are none.
    target : ndarray of shape (n, k) or (n,)
        Targets of a pointwise loss, (n,) for a single output; class ids, of any integer dtype, for
        ``"softmax_cross_entropy"``.
    sample_weight : ndarray of shape (n,), optional
        Weights of the samples.
    kind : str
        The loss: ``"softmax_cross_entropy"``, or the name of a pointwise loss, one of those in ``LOSSES``.
    parameter : float, optional
        The loss's parameter, where it has one.
    half : bool
        Whether a pointwise loss is halved.
    reduction : {"mean", "sum"}
        Over the outputs of a row; samples are always averaged.
    l2 : float
        Strength of the L2 penalty of the weights, which is part of loss and gradient.
    gradient : bool
        Whether the gradients are wanted.
    loss : 0-d float64 ndarray, optional
        Receives the loss.
    d_w, d_b : ndarray of w's and b's shape, optional
        Receive the gradients.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss.
    d_w : ndarray of shape (d, k), or None
        Its gradient with respect to w.
    d_b : ndarray of shape (k,), or None
        Its gradient with respect to b.

    Raises
    ------
    ValueError
        A class id is outside 0..k-1, `kind` or `reduction` is not known; and see the package's conventions.
    TypeError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> x, w, b = np.eye(2), np.array([[1.0], [3.0]]), np.zeros(1)
    >>> K.linear_loss(x, w, b, np.array([0.0, 1.0]), kind="squared_error", half=True)
    (array(1.25), array([[0.5],
           [1. ]]), array([1.5]))
    """
    return backend_of(x).linear_loss(
        x,
        w,
        b,
        target,
        sample_weight,
        kind=kind,
        parameter=parameter,
        half=half,
        reduction=reduction,
        l2=l2,
        gradient=gradient,
        loss=loss,
        d_w=d_w,
        d_b=d_b,
    )


def linear_sgd(
    x: Array,
    target: Array,
    w: Array,
    b: Array | None,
    step: Int64Array,
    *,
    lr: float | Float64Array,
    kind: str = "log_loss",
    parameter: float | None = None,
    half: bool = False,
    power: float = 0.0,
    t0: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    passive_aggressive: int = 0,
    sample_weight: Array | None = None,
    class_weight: Array | None = None,
    order: Int64Array | None = None,
    l1_applied: Array | None = None,
    l1_total: Float64Array | None = None,
    average_w: Array | None = None,
    average_b: Array | None = None,
    average_start: int = 1,
    objective: Float64Array | None = None,
) -> Float64Array:
    """Take a step of stochastic gradient descent for each sample in turn, for linear models of k outputs side by side.

    For the samples x_i in their order and each output by itself, with t = 1, 2, ... counted from the first sample ever,

    * z = x_i w + b and rate = lr / (t0 + t)**power,
    * w <- max(0, 1 - rate * l2) w - rate * u_i * l'(z, t_i) * x_i and b <- b - rate * u_i * l'(z, t_i),
    * then the L1 penalty takes off each weight what it may have taken in all steps and has not taken yet.

    These are the steps of scikit-learn's `SGDClassifier` and `SGDRegressor`, whose learning rates are: ``"constant"``
    and ``"adaptive"`` (a 0-d array as `lr`), power 0; ``"invscaling"``, its ``power_t``; ``"optimal"``, power 1,
    ``lr = 1 / alpha`` and ``t0 = alpha**-0.75 - 1``; ``"pa1"`` and ``"pa2"``, `passive_aggressive` with ``lr`` as C.
    Its penalties are ``l1 = alpha * l1_ratio`` and ``l2 = alpha * (1 - l1_ratio)``. One call is one epoch, and all
    state is in the arrays, so that the next call, or a replay, goes on. The outputs are shared among the threads; on
    CUDA each has a block of its own, one sample after the other, which is correct but not fast.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Samples.
    target : ndarray of shape (n, k) or (n,)
        Targets, (n,) for a single output; or class ids of any integer dtype and shape (n,). Of these, output j learns
        class j against all others, and a single output learns the positive ids; the others' target is 0 for
        ``"log_loss"`` and -1 for other losses.
    w : ndarray of shape (d, k)
        Weights, changed in place; ``coef_.T`` will do.
    b : ndarray of shape (k,) or None
        Biases, changed in place.
    step : 0-d int64 ndarray
        The number of samples so far, changed in place.
    lr : float or 0-d float64 ndarray
        The rate, before it shrinks; C of passive-aggressive steps.
    kind : str
        The loss, the name of one in ``LOSSES`` that compares predictions with targets one by one. At its kink the hinge
        counts as violated. With ``"hinge"`` and parameter 0, these are the steps of a perceptron.
    parameter : float, optional
        The loss's parameter, where it has one.
    half : bool
        Whether the loss is halved, as scikit-learn's squared error is.
    power, t0 : float
        How the rate shrinks.
    l1, l2 : float
        Strengths of the penalties of the weights.
    passive_aggressive : {0, 1, 2}
        1 and 2 take steps whose length follows from the loss: ``min(lr, l / |x|²)``, or ``l / (|x|² + 1 / (2 lr))``.
        The first passes over samples that are 0.
    sample_weight : ndarray of shape (n,), optional
        Factors of the steps.
    class_weight : ndarray of shape (2, k), optional
        Further factors, for targets that are not positive (row 0) and positive (row 1).
    order : ndarray of int64, optional
        The rows to visit; all of them as they stand, by default.
    l1_applied, l1_total : ndarray of shape (d, k) and float64 ndarray of shape (k,), optional
        State of the L1 penalty, zeros at first: what it has taken off each weight, and what it could have taken.
    average_w, average_b : ndarray of w's and b's shape, optional
        Averages of the weights and biases after each step from the `average_start`-th sample on, zeros at first.
    average_start : int
        The first sample, counted from 1, that is averaged.
    objective : float64 ndarray of shape (k,), optional
        Receives the result.

    Returns
    -------
    ndarray of float64 of shape (k,)
        For each output, the sum over the samples of l(z, t_i) plus the penalty, both before the sample's step.

    Raises
    ------
    IndexError
        `order` has an item outside 0..n-1.
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    L. Bottou, "Stochastic gradient descent tricks", in Neural Networks: Tricks of the Trade, 2012.
    Y. Tsuruoka, J. Tsujii, S. Ananiadou, "Stochastic gradient descent training for L1-regularized log-linear models
    with cumulative penalty", ACL 2009.
    W. Xu, "Towards optimal one pass large scale learning with averaged stochastic gradient descent", 2011.
    K. Crammer, O. Dekel, J. Keshet, S. Shalev-Shwartz, Y. Singer, "Online passive-aggressive algorithms", JMLR 7, 2006.
    """
    return backend_of(x).linear_sgd(
        x,
        target,
        w,
        b,
        step,
        lr=lr,
        kind=kind,
        parameter=parameter,
        half=half,
        power=power,
        t0=t0,
        l1=l1,
        l2=l2,
        passive_aggressive=passive_aggressive,
        sample_weight=sample_weight,
        class_weight=class_weight,
        order=order,
        l1_applied=l1_applied,
        l1_total=l1_total,
        average_w=average_w,
        average_b=average_b,
        average_start=average_start,
        objective=objective,
    )

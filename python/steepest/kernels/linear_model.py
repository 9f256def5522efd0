"""Loss, gradients and stochastic gradient descent of linear models with few outputs.

For few outputs, separate matrix products are slow. `linear_loss` takes one pass over the samples, at memory bandwidth.
`linear_sgd` runs the steps of a whole epoch, one for each sample, as a single operation.
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

    ``loss = s * sum_i u_i l_i / sum_i u_i + l2 / 2 * sum(w**2)``, with the weights u of the samples, and s = 1/2 if
    `half`, else 1. The loss l_i of row i is the mean or sum of ``l(z_ij, target_ij)`` over the outputs j, or the
    softmax cross-entropy. Sums are accumulated in float64, in an order that depends on the shapes alone. On CUDA the
    operation computes a matrix product, the loss, and the product for the gradients, one after the other.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Samples; finite, even if their weight is 0.
    w : ndarray of shape (d, k)
        Weights; k should be small, since each block of samples computes all k scores of its rows.
    b : ndarray of shape (k,) or None
        Biases. Their gradient is returned even if `b` is None.
    target : ndarray of shape (n, k) or (n,)
        Targets of a pointwise loss, of shape (n,) for a single output; for ``"softmax_cross_entropy"``, class ids of
        any integer dtype.
    sample_weight : ndarray of shape (n,), optional
        Weights of the samples.
    kind : str
        The loss: ``"softmax_cross_entropy"``, or the name of a pointwise loss in ``LOSSES``.
    parameter : float, optional
        Parameter of the loss, if it has one.
    half : bool
        Whether a pointwise loss is halved.
    reduction : {"mean", "sum"}
        Reduction of the losses of a row's outputs; samples are always averaged.
    l2 : float
        Strength of the L2 penalty on the weights, which is included in loss and gradient.
    gradient : bool
        Whether to compute the gradients.
    loss : 0-d float64 ndarray, optional
        Receives the loss.
    d_w, d_b : ndarray of w's and b's shape, optional
        Receive the gradients.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss.
    d_w : ndarray of shape (d, k), or None
        Gradient of the loss with respect to w.
    d_b : ndarray of shape (k,), or None
        Gradient of the loss with respect to b.

    Raises
    ------
    ValueError
        If a class id is outside 0..k-1, or `kind` or `reduction` is unknown; see also the package's conventions.
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
    """Run an epoch of stochastic gradient descent for linear models, with one step for each sample.

    The k outputs are independent models. For each output and each sample x_i in order, with t = 1, 2, ... counted over
    all calls:

    * z = x_i w + b and rate = lr / (t0 + t)**power,
    * w <- max(0, 1 - rate * l2) w - rate * u_i * l'(z, t_i) * x_i and b <- b - rate * u_i * l'(z, t_i),
    * then each weight shrinks towards 0 by the L1 penalty accumulated over all steps and not yet applied to it.

    These are the steps of scikit-learn's `SGDClassifier` and `SGDRegressor`. Their learning rates are ``"constant"``
    and ``"adaptive"`` with power 0 (and a 0-d array as `lr`), ``"invscaling"`` with power ``power_t``, and
    ``"optimal"`` with power 1, ``lr = 1 / alpha`` and ``t0 = alpha**-0.75 - 1``. ``"pa1"`` and ``"pa2"`` are
    `passive_aggressive` 1 and 2, with ``lr`` as C. Their penalties are ``l1 = alpha * l1_ratio`` and
    ``l2 = alpha * (1 - l1_ratio)``. All state is in the arrays, so that the next call, or a replay, continues. The
    outputs are divided among the threads. On CUDA each output has one block, which visits the samples one by one: the
    result is correct, but this is not fast.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Samples.
    target : ndarray of shape (n, k) or (n,)
        Targets, of shape (n,) for a single output; or class ids of any integer dtype and shape (n,). With class ids,
        output j learns class j against all others, and a single output learns the positive ids against the others.
        Positive samples have the target 1; the others have 0 for ``"log_loss"`` and -1 for other losses.
    w : ndarray of shape (d, k)
        Weights, changed in place; any strides, such as ``coef_.T``.
    b : ndarray of shape (k,) or None
        Biases, changed in place.
    step : 0-d int64 ndarray
        Number of samples visited so far, over all calls; changed in place.
    lr : float or 0-d float64 ndarray
        Initial learning rate; for passive-aggressive steps, their parameter C.
    kind : str
        Name of a pointwise loss in ``LOSSES``. At its kink, the hinge loss has the gradient of a violated margin. With
        ``"hinge"`` and parameter 0, these are the steps of a perceptron.
    parameter : float, optional
        Parameter of the loss, if it has one.
    half : bool
        Whether the loss is halved, as scikit-learn's squared error is.
    power, t0 : float
        Exponent and offset of the learning rate, ``lr / (t0 + t)**power``.
    l1, l2 : float
        Strengths of the L1 and L2 penalties on the weights.
    passive_aggressive : {0, 1, 2}
        0: plain gradient steps. 1 and 2: steps whose length follows from the loss, ``min(lr, l / |x|²)`` and
        ``l / (|x|² + 1 / (2 lr))``. Variant 1 skips samples whose features are all 0.
    sample_weight : ndarray of shape (n,), optional
        Weights u of the samples, which multiply the steps.
    class_weight : ndarray of shape (2, k), optional
        Further factors of the steps, for targets that are not positive (row 0) and positive (row 1).
    order : ndarray of int64, optional
        The rows to visit, in order; by default all rows from first to last.
    l1_applied, l1_total : ndarray of shape (d, k) and float64 ndarray of shape (k,), optional
        State of the L1 penalty, zeros at first: the penalty applied to each weight, and the penalty accumulated so far.
    average_w, average_b : ndarray of w's and b's shape, optional
        Averages of the weights and biases after each step from the `average_start`-th sample on, zeros at first.
    average_start : int
        First sample of the average, counted from 1.
    objective : float64 ndarray of shape (k,), optional
        Receives the result.

    Returns
    -------
    ndarray of float64 of shape (k,)
        For each output, the sum over the samples of the loss l(z, t_i) plus the penalty, both before the sample's step.

    Raises
    ------
    IndexError
        If `order` has an item outside 0..n-1.
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

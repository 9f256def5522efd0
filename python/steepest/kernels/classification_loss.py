"""Classification losses and their gradients: cross-entropy, hinge and other margin losses, zero-one loss."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import backend_of

__all__ = [
    "exponential",
    "hinge",
    "log_loss",
    "modified_huber",
    "softmax_cross_entropy",
    "squared_hinge",
    "zero_one_loss",
]


def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    sample_weight: Array | None = None,
    ignore_label: int | None = None,
    loss: Float64Array | None = None,
    d_logits: Array | None = None,
    first: int | None = None,
) -> tuple[Float64Array, Array]:
    """Return the softmax cross-entropy of a mini-batch and its gradient, in one pass over the logits.

    The loss of a row is the negative log-likelihood of a categorical distribution with the given logits z,
    ``l_i = logsumexp(z_i) * sum_j t_ij - sum_j t_ij * z_ij``. The loss of the batch is the weighted mean
    ``sum_i w_i l_i / sum_i w_i``.

    Parameters
    ----------
    logits : ndarray of shape (n, c)
        Unnormalised log-probabilities.
    labels : ndarray of integers of shape (n,), or of floats of shape (n, c)
        Class ids in 0..c-1, of any integer width; or the target probabilities t.
    sample_weight : ndarray of shape (n,), optional
        Weights w. A row of weight 0 is ignored, whatever its logits.
    ignore_label : int, optional
        Rows with this class id are ignored.
    loss : 0-d float64 ndarray, optional
        Receives the loss.
    d_logits : ndarray of shape (n, c), optional
        Receives the gradient; it may be `logits`.
    first : int, optional
        The logits are rows `first`, `first` + 1, … of a larger batch, and `labels`, which must be class ids, and
        `sample_weight` are those of the whole batch. Losses and gradients are then parts of the batch's: the part from
        row 0 sets `loss`, and the others add to it. See `linear_cross_entropy`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The mean loss in nats; 0 if every row is ignored.
    d_logits : ndarray of shape (n, c)
        Gradient of the mean loss, ``w_i / sum(w) * (softmax(z_i) * sum_j t_ij - t_i)``.

    Raises
    ------
    ValueError
        If a label is outside 0..c-1, or the batch is empty; see also the package's conventions.
    TypeError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> loss, gradient = K.softmax_cross_entropy(np.zeros((1, 2)), np.array([1]))
    >>> round(float(loss), 6)
    0.693147
    >>> gradient
    array([[ 0.5, -0.5]])
    """
    try:
        return backend_of(logits).softmax_cross_entropy(
            logits, labels, sample_weight, ignore_label, loss, d_logits, first
        )
    except (TypeError, ValueError) as error:
        if getattr(labels, "ndim", 0) == 1 and labels.dtype.kind == "f":
            raise TypeError(
                f"[softmax_cross_entropy] labels of shape {labels.shape} are class ids, which must be integers, but "
                f"these are {labels.dtype}: take labels.astype(int), or probabilities of shape {logits.shape}"
            ) from error
        raise


def log_loss(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the binary cross-entropy of logits, ``l = log(1 + exp(z)) - t * z``, and its gradient ``sigmoid(z) - t``.

    The loss is the negative log-likelihood, in nats, of outcomes whose probability is ``sigmoid(z)``. Outputs are
    independent, so that a row may have several labels. Loss and gradient are accurate to a few units in the last place
    for every logit, and finite for every finite logit. Targets must lie in [0, 1], which is not checked. Other
    parameters, results and errors are those of `squared_error`.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> loss, gradient = K.log_loss(np.array([[0.0], [1000.0]]), np.array([[1.0], [1.0]]))
    >>> round(float(loss), 6)
    0.346574
    >>> gradient
    array([[-0.25],
           [-0.  ]])
    """
    return backend_of(prediction).pointwise_loss(
        "log_loss", prediction, target, sample_weight, None, False, reduction, loss, d_prediction
    )


def hinge(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    margin: float = 1.0,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the hinge loss of a mini-batch, ``l = max(0, margin - t * z)``, and its gradient.

    Targets are ±1. The gradient is -t where ``t * z < margin``, and 0 elsewhere. With an L2 penalty, the hinge loss
    gives the linear support-vector machine (C. Cortes, V. Vapnik, "Support-vector networks", Machine Learning 20,
    1995); with a margin of 0, it is the perceptron criterion.

    Parameters
    ----------
    prediction, target : ndarray of shape (n, m)
        Scores z, and targets t, which are ±1.
    sample_weight : ndarray of shape (n,), optional
        As in `squared_error`.
    margin : float
        Value of ``t * z`` from which the loss is 0, in units of the prediction.
    reduction, loss, d_prediction
        As in `squared_error`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss.
    d_prediction : ndarray of shape (n, m)
        Gradient of the loss with respect to the predictions.

    Raises
    ------
    TypeError, ValueError
        If `margin` is not finite; otherwise as in `squared_error`.
    """
    return backend_of(prediction).pointwise_loss(
        "hinge", prediction, target, sample_weight, margin, False, reduction, loss, d_prediction
    )


def squared_hinge(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the squared hinge loss of a mini-batch, ``l = max(0, 1 - t * z)**2``, and its gradient.

    Targets are ±1. The gradient is ``-2 * t * max(0, 1 - t * z)``. Parameters, results and errors are those of
    `squared_error`.
    """
    return backend_of(prediction).pointwise_loss(
        "squared_hinge", prediction, target, sample_weight, None, False, reduction, loss, d_prediction
    )


def modified_huber(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the modified Huber loss of a mini-batch and its gradient.

    For targets ±1, ``l = max(0, 1 - t * z)**2`` where ``t * z >= -1``, and ``-4 * t * z`` below. It is a squared hinge
    loss in which outliers weigh less. With z clipped to [-1, 1], ``(z + 1) / 2`` estimates the probability of t = 1
    (T. Zhang, "Solving large scale linear prediction problems using stochastic gradient descent algorithms", ICML
    2004). Parameters, results and errors are those of `squared_error`.
    """
    return backend_of(prediction).pointwise_loss(
        "modified_huber", prediction, target, sample_weight, None, False, reduction, loss, d_prediction
    )


def exponential(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the exponential loss of a mini-batch, ``l = exp(-t * z)``, and its gradient ``-t * exp(-t * z)``.

    Targets are ±1. AdaBoost minimises this loss (J. Friedman, T. Hastie, R. Tibshirani, "Additive logistic
    regression", Annals of Statistics 28, 2000); its expectation is least where z is half the log-odds. Parameters,
    results and errors are those of `squared_error`.
    """
    return backend_of(prediction).pointwise_loss(
        "exponential", prediction, target, sample_weight, None, False, reduction, loss, d_prediction
    )


def zero_one_loss(
    scores: Array, labels: Array, ignore_label: int | None = None, out: Float64Array | None = None
) -> Float64Array:
    """Return the misclassification rate: the proportion of rows whose first largest score is not at their label.

    Parameters
    ----------
    scores : ndarray of shape (n, c)
        Logits or probabilities.
    labels : ndarray of integers of shape (n,)
        Class ids in 0..c-1.
    ignore_label : int, optional
        Rows with this class id are ignored.
    out : 0-d float64 ndarray, optional
        Receives the result.

    Returns
    -------
    0-d float64 ndarray
        1 - accuracy; 0 if every row is ignored.

    Raises
    ------
    TypeError, ValueError
        As in `softmax_cross_entropy`.
    """
    return backend_of(scores).zero_one_loss(scores, labels, ignore_label, out)

"""Losses with their gradients."""

from __future__ import annotations

from steepest._backends import backend_of
from steepest.kernels._types import Array, Float64Array


def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    sample_weight: Array | None = None,
    ignore_label: int | None = None,
    loss: Float64Array | None = None,
    d_logits: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the softmax cross-entropy of a mini-batch and its gradient, in one pass over the logits.

    It is the negative log-likelihood of a categorical distribution with the given logits z,
    ``l_i = logsumexp(z_i) * sum_j t_ij - sum_j t_ij * z_ij``, averaged over the batch:
    ``loss = sum_i w_i l_i / sum_i w_i``.

    Parameters
    ----------
    logits : ndarray of shape (n, c)
        Unnormalised log-probabilities.
    labels : ndarray of integers of shape (n,), or of floats of shape (n, c)
        Class ids in 0..c-1, of any integer width; or the target probabilities t.
    sample_weight : ndarray of shape (n,), optional
        Weights w. A row of weight 0 counts for nothing, whatever its logits.
    ignore_label : int, optional
        Rows with this class id count for nothing.
    loss : 0-d float64 ndarray, optional
        Receives the loss.
    d_logits : ndarray of shape (n, c), optional
        Receives the gradient; it may be `logits`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The mean loss in nats; 0 where no row counts.
    d_logits : ndarray of shape (n, c)
        Gradient of the mean loss, ``w_i / sum(w) * (softmax(z_i) * sum_j t_ij - t_i)``.

    Raises
    ------
    ValueError
        A label outside 0..c-1, an empty batch, and as in the package's conventions.
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
    return backend_of(logits).softmax_cross_entropy(
        logits, labels, sample_weight, ignore_label, loss, d_logits
    )


def squared_error(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    half: bool = False,
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the mean squared error of a mini-batch and its gradient.

    ``loss = s * sum_i w_i mean_j (p_ij - t_ij)**2 / sum_i w_i`` with s = 1, or 1/2 for the half-quadratic form. Up to
    constants it is the negative log-likelihood of a Gaussian of fixed variance.

    Parameters
    ----------
    prediction : ndarray of shape (n, m)
        Predictions p.
    target : ndarray of shape (n, m)
        Targets t.
    sample_weight : ndarray of shape (n,), optional
        Weights w.
    half : bool
        Whether the error is halved.
    loss : 0-d float64 ndarray, optional
        Receives the loss.
    d_prediction : ndarray of shape (n, m), optional
        Receives the gradient; it may be `prediction`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The mean loss, in squared units of the target; 0 where all weights are 0.
    d_prediction : ndarray of shape (n, m)
        Gradient of the mean loss.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(prediction).squared_error(prediction, target, sample_weight, half, loss, d_prediction)


def zero_one_loss(
    scores: Array, labels: Array, ignore_label: int | None = None, out: Float64Array | None = None
) -> Float64Array:
    """Return the share of rows whose first largest score is not at their label.

    Parameters
    ----------
    scores : ndarray of shape (n, c)
        Logits or probabilities.
    labels : ndarray of integers of shape (n,)
        Class ids in 0..c-1.
    ignore_label : int, optional
        Rows with this class id are left out.
    out : 0-d float64 ndarray, optional
        Receives the result.

    Returns
    -------
    0-d float64 ndarray
        1 - accuracy; 0 where no row counts.

    Raises
    ------
    TypeError, ValueError
        As `softmax_cross_entropy`.
    """
    return backend_of(scores).zero_one_loss(scores, labels, ignore_label, out)

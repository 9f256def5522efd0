"""Softmax, its gradient and its logarithm."""

from __future__ import annotations

from steepest._runtime.arrays import Array
from steepest._runtime.backends import backend_of

__all__ = ["log_softmax", "softmax", "softmax_backward"]


def softmax(x: Array, out: Array | None = None) -> Array:
    """Return ``exp(x) / exp(x).sum(1)`` for each row, shifted by the row's maximum so that nothing overflows.

    Parameters
    ----------
    x : ndarray of shape (n, c)
        Logits. A row with +inf or NaN, or with -inf only, gives NaN.
    out : ndarray of shape (n, c), optional
        Receives the probabilities; it may be x.

    Returns
    -------
    ndarray of shape (n, c)
        Probabilities; each row sums to 1.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).softmax(x, out)


def softmax_backward(d_y: Array, y: Array, out: Array | None = None) -> Array:
    """Return ``y * (d_y - (d_y * y).sum(1))``, the gradient of a loss with respect to the logits.

    Parameters
    ----------
    d_y : ndarray of shape (n, c)
        Gradient of the loss with respect to the probabilities.
    y : ndarray of shape (n, c)
        The probabilities that `softmax` returned.
    out : ndarray of shape (n, c), optional
        Receives the result; it may be d_y or y.

    Returns
    -------
    ndarray of shape (n, c)
        The gradient.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(d_y).softmax_backward(d_y, y, out)


def log_softmax(x: Array, out: Array | None = None) -> Array:
    """Return ``x - log(exp(x).sum(1))`` for each row, without forming the probabilities.

    Parameters
    ----------
    x : ndarray of shape (n, c)
        Logits, as in `softmax`.
    out : ndarray of shape (n, c), optional
        Receives the log-probabilities; it may be x.

    Returns
    -------
    ndarray of shape (n, c)
        Logarithms of `softmax`, accurate even where the probability underflows to 0.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).log_softmax(x, out)

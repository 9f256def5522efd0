"""Batch norm, whose statistics are those of each channel over a batch, with gradients and directional derivatives."""

from __future__ import annotations

from steepest._runtime.arrays import Array
from steepest._runtime.backends import backend_of

__all__ = ["batch_norm", "batch_norm_backward", "batch_norm_inference", "batch_norm_tangent"]


def batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    momentum: float = 0.1,
    out: Array | None = None,
    mean: Array | None = None,
    rstd: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Return ``(x - mean) * rstd * weight + bias`` with the mean and deviation of each channel over the batch.

    ``rstd = 1 / sqrt(var + eps)``, where var is the biased variance of a channel over all axes but the last (S. Ioffe,
    C. Szegedy, "Batch normalization", 2015). The running statistics become ``(1 - momentum) * running + momentum *
    batch``, with the unbiased variance; in a captured graph they do so in each replay. Common offsets cost no accuracy.
    A NaN or an infinity makes its channel NaN. In float32, deviations beyond 1e18 overflow.

    Parameters
    ----------
    x : ndarray of shape (n, ..., c), of 2 to 5 dimensions
        The batch, of at least two rows; channels are the last axis.
    weight, bias : ndarray of shape (c,), optional
        Scale and offset of each channel; 1 and 0 if absent.
    eps : float
        Added to the variance.
    running_mean, running_var : ndarray of shape (c,), optional
        Running statistics, changed in place; both or neither.
    momentum : float in [0, 1]
        Weight of this batch in the running statistics.
    out : ndarray of x's shape, optional
        Receives the result; it may be x.
    mean, rstd : ndarray of shape (c,), optional
        Receive the statistics.

    Returns
    -------
    tuple of ndarray
        The result, in x's shape, and the statistics of the batch, mean and rstd, for the gradient.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions. ``ValueError`` for fewer than two rows.
    """
    return backend_of(x).batch_norm(
        x,
        weight,
        bias,
        eps=eps,
        running_mean=running_mean,
        running_var=running_var,
        momentum=momentum,
        out=out,
        mean=mean,
        rstd=rstd,
    )


def batch_norm_inference(
    x: Array,
    running_mean: Array,
    running_var: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    out: Array | None = None,
) -> Array:
    """Return ``(x - running_mean) / sqrt(running_var + eps) * weight + bias``, batch norm at prediction time.

    Parameters
    ----------
    x : ndarray of shape (n, ..., c), of 2 to 5 dimensions
        The samples, of any number; channels are the last axis.
    running_mean, running_var : ndarray of shape (c,)
        Statistics of each channel.
    weight, bias : ndarray of shape (c,), optional
        Scale and offset of each channel; 1 and 0 if absent.
    eps : float
        Added to the variance.
    out : ndarray of x's shape, optional
        Receives the result; it may be x.

    Returns
    -------
    ndarray of x's shape
        The result.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).batch_norm_inference(x, running_mean, running_var, weight, bias, eps=eps, out=out)


def batch_norm_backward(
    d_y: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None = None,
    *,
    d_x: Array | None = None,
    d_weight: Array | None = None,
    d_bias: Array | None = None,
    accumulate: bool = False,
    input_grad: bool = True,
    parameter_grad: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients of `batch_norm` in training.

    With ``xh = (x - mean) * rstd`` and averages over the batch, ``d_x = weight * rstd * (d_y - d_y.mean() - xh * (d_y *
    xh).mean())``, ``d_weight = (d_y * xh).sum()`` and ``d_bias = d_y.sum()``, for each channel.

    Parameters
    ----------
    d_y, x : ndarray of shape (n, ..., c)
        Gradient of the result, and the input of `batch_norm`.
    mean, rstd : ndarray of shape (c,)
        The statistics that `batch_norm` returned.
    weight : ndarray of shape (c,), optional
        The scale of `batch_norm`.
    d_x : ndarray of x's shape, optional
        Receives the gradient of the input; it may be d_y or x.
    d_weight, d_bias : ndarray of shape (c,), optional
        Receive the gradients of the scale and the offset.
    accumulate : bool
        Whether the gradients are added to `d_weight` and `d_bias`, which must then be given.
    input_grad, parameter_grad : bool
        Whether d_x, and whether d_weight and d_bias are computed.

    Returns
    -------
    tuple of ndarray or None
        d_x, d_weight and d_bias; None where it is not computed.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(d_y).batch_norm_backward(
        d_y,
        x,
        mean,
        rstd,
        weight,
        d_x=d_x,
        d_weight=d_weight,
        d_bias=d_bias,
        accumulate=accumulate,
        input_grad=input_grad,
        parameter_grad=parameter_grad,
    )


def batch_norm_tangent(
    dx: Array | None,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None = None,
    d_weight: Array | None = None,
    d_bias: Array | None = None,
    out: Array | None = None,
) -> Array:
    """Return the derivative of `batch_norm` in training along a direction of its input, scale and offset.

    With ``xh = (x - mean) * rstd`` and averages over the batch, it is ``weight * rstd * (dx - dx.mean() - xh * (dx *
    xh).mean()) + d_weight * xh + d_bias`` for each channel.

    Parameters
    ----------
    dx : ndarray of x's shape, or None
        Direction of the input; None if the input does not change.
    x : ndarray of shape (n, ..., c)
        The input of `batch_norm`.
    mean, rstd : ndarray of shape (c,)
        The statistics that `batch_norm` returned.
    weight : ndarray of shape (c,), optional
        The scale of `batch_norm`.
    d_weight, d_bias : ndarray of shape (c,), optional
        Directions of the scale and the offset; at least one of dx, d_weight and d_bias is needed.
    out : ndarray of x's shape, optional
        Receives the result; it may be dx or x.

    Returns
    -------
    ndarray of x's shape
        The derivative of the result.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).batch_norm_tangent(dx, x, mean, rstd, weight, d_weight, d_bias, out)

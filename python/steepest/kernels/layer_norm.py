"""Layer, RMS and group norm, whose statistics are those of each sample, with gradients and directional derivatives.

Channels are the last axis: images are (n, height, width, channels).
"""

from __future__ import annotations

from steepest._runtime.arrays import Array
from steepest._runtime.backends import backend_of

__all__ = [
    "group_norm",
    "group_norm_backward",
    "group_norm_tangent",
    "layer_norm",
    "layer_norm_backward",
    "layer_norm_tangent",
    "rms_norm",
    "rms_norm_backward",
    "rms_norm_tangent",
]


def layer_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    out: Array | None = None,
    mean: Array | None = None,
    rstd: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Return ``(x - mean) * rstd * weight + bias`` for each row, with the row's own mean and deviation.

    ``rstd = 1 / sqrt(var + eps)``, where var is the biased variance of the row's items (J. Ba, J. Kiros, G. Hinton,
    "Layer normalization", 2016). Common offsets cost no accuracy. The statistics of a row with a NaN or an infinity
    are NaN, and so is the row of the result. In float32, deviations beyond 1e18 overflow.

    Parameters
    ----------
    x : ndarray of shape (..., c), of at most 5 dimensions
        Rows along the last axis; r is their number.
    weight, bias : ndarray of shape (c,), optional
        Scale and offset of each channel; 1 and 0 if absent.
    eps : float
        Added to the variance. A constant row then has the result `bias`.
    out : ndarray of x's shape, optional
        Receives the result; it may be x.
    mean, rstd : ndarray of shape (r,), optional
        Receive the statistics.

    Returns
    -------
    tuple of ndarray
        The result, in x's shape, and the statistics of the rows, mean and rstd, for the gradient.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions. ``ValueError`` if the rows have no items.
    """
    return backend_of(x).layer_norm(x, weight, bias, eps=eps, out=out, mean=mean, rstd=rstd)


def layer_norm_backward(
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
    """Return the gradients of `layer_norm`.

    With ``xh = (x - mean) * rstd``, ``u = weight * d_y`` and averages over the row, ``d_x = rstd * (u - u.mean() - xh *
    (u * xh).mean())``. Over all rows, ``d_weight = (d_y * xh).sum()`` and ``d_bias = d_y.sum()``.

    Parameters
    ----------
    d_y : ndarray of x's shape
        Gradient of the loss with respect to the result.
    x : ndarray of shape (..., c)
        The input of `layer_norm`.
    mean, rstd : ndarray of shape (r,)
        The statistics that `layer_norm` returned.
    weight : ndarray of shape (c,), optional
        The scale of `layer_norm`.
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
    return backend_of(d_y).layer_norm_backward(
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


def layer_norm_tangent(
    dx: Array | None,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None = None,
    d_weight: Array | None = None,
    d_bias: Array | None = None,
    out: Array | None = None,
) -> Array:
    """Return the derivative of `layer_norm` along a direction of its input, scale and offset.

    With ``xh = (x - mean) * rstd`` and averages over the row, it is ``weight * rstd * (dx - dx.mean() - xh * (dx *
    xh).mean()) + d_weight * xh + d_bias``.

    Parameters
    ----------
    dx : ndarray of x's shape, or None
        Direction of the input; None if the input does not change.
    x : ndarray of shape (..., c)
        The input of `layer_norm`.
    mean, rstd : ndarray of shape (r,)
        The statistics that `layer_norm` returned.
    weight : ndarray of shape (c,), optional
        The scale of `layer_norm`.
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
    return backend_of(x).layer_norm_tangent(dx, x, mean, rstd, weight, d_weight, d_bias, out)


def rms_norm(
    x: Array,
    weight: Array | None = None,
    *,
    eps: float = 1e-5,
    out: Array | None = None,
    rstd: Array | None = None,
) -> tuple[Array, Array]:
    """Return ``x * rstd * weight`` for each row, with ``rstd = 1 / sqrt(mean(x**2) + eps)``.

    This is `layer_norm` without the mean (B. Zhang, R. Sennrich, "Root mean square layer normalization", 2019).

    Parameters
    ----------
    x : ndarray of shape (..., c), of at most 5 dimensions
        Rows along the last axis; r is their number.
    weight : ndarray of shape (c,), optional
        Scale of each channel; 1 if absent.
    eps : float
        Added to the mean square.
    out : ndarray of x's shape, optional
        Receives the result; it may be x.
    rstd : ndarray of shape (r,), optional
        Receives the statistics.

    Returns
    -------
    tuple of ndarray
        The result, in x's shape, and rstd, for the gradient.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions. ``ValueError`` if the rows have no items.
    """
    return backend_of(x).rms_norm(x, weight, eps=eps, out=out, rstd=rstd)


def rms_norm_backward(
    d_y: Array,
    x: Array,
    rstd: Array,
    weight: Array | None = None,
    *,
    d_x: Array | None = None,
    d_weight: Array | None = None,
    accumulate: bool = False,
    input_grad: bool = True,
    parameter_grad: bool = True,
) -> tuple[Array | None, Array | None]:
    """Return the gradients of `rms_norm`.

    With ``xh = x * rstd``, ``u = weight * d_y`` and the average over the row, ``d_x = rstd * (u - xh * (u *
    xh).mean())``, and over all rows ``d_weight = (d_y * xh).sum()``. The parameters and results are those of
    `layer_norm_backward`, without mean and bias.

    Parameters
    ----------
    d_y, x : ndarray of shape (..., c)
        Gradient of the result, and the input of `rms_norm`.
    rstd : ndarray of shape (r,)
        The statistics that `rms_norm` returned.
    weight : ndarray of shape (c,), optional
        The scale of `rms_norm`.
    d_x : ndarray of x's shape, optional
        Receives the gradient of the input; it may be d_y or x.
    d_weight : ndarray of shape (c,), optional
        Receives the gradient of the scale.
    accumulate : bool
        Whether the gradient is added to `d_weight`, which must then be given.
    input_grad, parameter_grad : bool
        Whether d_x, and whether d_weight is computed.

    Returns
    -------
    tuple of ndarray or None
        d_x and d_weight; None where it is not computed.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(d_y).rms_norm_backward(
        d_y,
        x,
        rstd,
        weight,
        d_x=d_x,
        d_weight=d_weight,
        accumulate=accumulate,
        input_grad=input_grad,
        parameter_grad=parameter_grad,
    )


def rms_norm_tangent(
    dx: Array | None,
    x: Array,
    rstd: Array,
    weight: Array | None = None,
    d_weight: Array | None = None,
    out: Array | None = None,
) -> Array:
    """Return the derivative of `rms_norm` along a direction of its input and scale.

    With ``xh = x * rstd`` it is ``weight * rstd * (dx - xh * (dx * xh).mean()) + d_weight * xh``.

    Parameters
    ----------
    dx : ndarray of x's shape, or None
        Direction of the input; None if the input does not change.
    x : ndarray of shape (..., c)
        The input of `rms_norm`.
    rstd : ndarray of shape (r,)
        The statistics that `rms_norm` returned.
    weight, d_weight : ndarray of shape (c,), optional
        The scale of `rms_norm`, and its direction; dx or d_weight is needed.
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
    return backend_of(x).rms_norm_tangent(dx, x, rstd, weight, d_weight, out)


def group_norm(
    x: Array,
    groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    out: Array | None = None,
    mean: Array | None = None,
    rstd: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Return ``(x - mean) * rstd * weight + bias`` with statistics of groups of neighbouring channels of each sample.

    A group of a sample holds c / groups channels at all places between the first and the last axis (Y. Wu, K. He,
    "Group normalization", 2018). With one group this is layer norm over a whole sample, with c groups instance norm.
    ``rstd = 1 / sqrt(var + eps)`` with the biased variance. A NaN or an infinity makes its group NaN.

    Parameters
    ----------
    x : ndarray of shape (n, ..., c), of 2 to 5 dimensions
        Samples along the first axis, channels along the last.
    groups : int
        Number of groups, which divides c.
    weight, bias : ndarray of shape (c,), optional
        Scale and offset of each channel; 1 and 0 if absent.
    eps : float
        Added to the variance.
    out : ndarray of x's shape, optional
        Receives the result; it may be x.
    mean, rstd : ndarray of shape (n, groups), optional
        Receive the statistics.

    Returns
    -------
    tuple of ndarray
        The result, in x's shape, and the statistics mean and rstd, for the gradient.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions. ``ValueError`` if groups does not divide c, or a group has no items.
    """
    return backend_of(x).group_norm(x, groups, weight, bias, eps=eps, out=out, mean=mean, rstd=rstd)


def group_norm_backward(
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
    """Return the gradients of `group_norm`: those of `layer_norm_backward`, with averages over groups.

    Parameters
    ----------
    d_y, x : ndarray of shape (n, ..., c)
        Gradient of the result, and the input of `group_norm`.
    mean, rstd : ndarray of shape (n, groups)
        The statistics that `group_norm` returned; their shape says how many groups there are.
    weight : ndarray of shape (c,), optional
        The scale of `group_norm`.
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
    return backend_of(d_y).group_norm_backward(
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


def group_norm_tangent(
    dx: Array | None,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None = None,
    d_weight: Array | None = None,
    d_bias: Array | None = None,
    out: Array | None = None,
) -> Array:
    """Return the derivative of `group_norm` along a direction: that of `layer_norm_tangent`, with averages over groups.

    Parameters
    ----------
    dx : ndarray of x's shape, or None
        Direction of the input; None if the input does not change.
    x : ndarray of shape (n, ..., c)
        The input of `group_norm`.
    mean, rstd : ndarray of shape (n, groups)
        The statistics that `group_norm` returned.
    weight : ndarray of shape (c,), optional
        The scale of `group_norm`.
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
    return backend_of(x).group_norm_tangent(dx, x, mean, rstd, weight, d_weight, d_bias, out)

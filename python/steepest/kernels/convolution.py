"""Convolutions of images and their gradients.

Images are arrays of shape (n, height, width, channels): channels last. Images of shape (n, channels, height, width) are
such arrays after ``x.transpose(0, 2, 3, 1)``, which copies nothing. Weights have the shape (rows, columns, channels of
x / groups, channels of the result).

* ``stride``, ``dilation``: a number for both axes, or one for rows and one for columns.
* ``padding``: zeros around the image: a number for all sides, (rows, columns), or ((above, below), (left, right));
  ``"valid"`` for none; ``"same"`` for as many as ``ceil(size / stride)`` outputs along each axis need, an odd one
  behind.
* ``groups``: channels are divided into so many groups, each with weights of its own. With as many groups as channels
  of x and of the result, a convolution is depthwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from steepest._runtime.arrays import Activation, Array, IntOrPair
from steepest._runtime.backends import backend_of

__all__ = ["conv2d", "conv2d_backward", "conv2d_transpose"]

Padding: TypeAlias = IntOrPair | Sequence[Sequence[int]] | str


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    activation: Activation = "identity",
    out: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Array:
    """Return f(x * weight + bias): a convolution of images with its activation, in one pass.

    With strides s, dilations d and padding p::

        out[n, y, x, k] = f(bias[k] + sum_ijc weight[i, j, c, k] x[n, s y + d i - p, s x + d j - p, c])

    where c runs over the channels of k's group, and pixels outside of the image are zeros. As in all libraries of
    networks, the weights are not flipped (V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning",
    2016). Sums are in x's dtype, and their order does not depend on the number of threads.

    Parameters
    ----------
    x : ndarray of shape (n, height, width, channels)
        Images.
    weight : ndarray of shape (rows, columns, channels / groups, out channels)
        Weights.
    bias : ndarray of shape (out channels,), optional
        Biases.
    activation : str or (str, float)
        The function f, as in `activation`.
    out : ndarray, optional
        Receives the result; it must not overlap the inputs.
    stride, padding, dilation, groups
        See the module's description.

    Returns
    -------
    ndarray of shape (n, out height, out width, out channels)
        The result, of ``(height + padding - d (rows - 1) - 1) // s + 1`` rows, and as many columns likewise.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions; also if the image has no place for the window, or the groups do not divide the
        channels.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> edges = np.array([[-1.0, 1.0]]).reshape(1, 2, 1, 1)
    >>> K.conv2d(np.array([0.0, 0.0, 5.0, 5.0]).reshape(1, 1, 4, 1), edges).ravel()
    array([0., 5., 0.])
    """
    return backend_of(x).conv2d(
        x,
        weight,
        bias,
        activation,
        out,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def conv2d_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    activation: Activation = "identity",
    out: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    output_padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Array:
    """Return f(the transposed convolution of x + bias), which enlarges images by the stride.

    Without bias and activation it is the transpose of the linear map that `conv2d` is with the same weights, stride,
    padding and dilation, and so the gradient of its input. Each pixel of x adds a multiple of the weights.

    Parameters
    ----------
    x : ndarray of shape (n, height, width, channels)
        Images.
    weight : ndarray of shape (rows, columns, out channels / groups, channels)
        Weights: those of the convolution that this is the transpose of.
    bias : ndarray of shape (out channels,), optional
        Biases.
    activation : str or (str, float)
        The function f, as in `activation`.
    out : ndarray, optional
        Receives the result; it must not overlap the inputs.
    stride, padding, dilation, groups
        See the module's description; padding is taken off the result. ``"same"`` gives ``stride * size`` pixels.
    output_padding : int or (int, int), default=0
        Rows and columns that the result has in addition, less than the stride: several sizes of an image lead to one
        size of a convolution.

    Returns
    -------
    ndarray of shape (n, out height, out width, out channels)
        The result, of ``(height - 1) s - padding + d (rows - 1) + 1 + output_padding`` rows, and columns likewise.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).conv2d_transpose(
        x,
        weight,
        bias,
        activation,
        out,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )


def conv2d_backward(
    d_out: Array,
    x: Array,
    weight: Array,
    *,
    activation: Activation = "identity",
    l2: float = 0.0,
    input_grad: bool = True,
    d_x: Array | None = None,
    d_weight: Array | None = None,
    d_bias: Array | None = None,
    accumulate: bool = False,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array | None, Array, Array]:
    """Return the gradients (d_x, d_weight, d_bias) of a convolution.

    ``d_weight[i, j, c, k] = sum_nyx x[n, s y + d i - p, s x + d j - p, c] d_out[n, y, x, k] + l2 weight[i, j, c, k]``,
    ``d_bias[k] = sum_nyx d_out[n, y, x, k]``, and ``d_x`` is the transposed convolution of d_out, times ``f'``.

    Parameters
    ----------
    d_out : ndarray of shape (n, out height, out width, out channels)
        Gradient with respect to the convolution's result.
    x, weight
        As `conv2d` took them.
    activation : str or (str, float)
        The function f that produced x, whose derivative d_x is multiplied by, as in `linear_backward`.
    l2 : float
        Factor of the weights in their gradient.
    input_grad : bool
        Whether d_x is computed.
    d_x, d_weight, d_bias : ndarray, optional
        Receive the gradients; they must not overlap the inputs.
    accumulate : bool
        Whether the gradients are added to `d_weight` and `d_bias`, which must then be given.
    stride, padding, dilation, groups
        As `conv2d` took them.

    Returns
    -------
    (ndarray or None, ndarray, ndarray)
        The gradients; None in place of d_x without `input_grad`.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(d_out).conv2d_backward(
        d_out,
        x,
        weight,
        activation=activation,
        l2=l2,
        input_grad=input_grad,
        d_x=d_x,
        d_weight=d_weight,
        d_bias=d_bias,
        accumulate=accumulate,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )

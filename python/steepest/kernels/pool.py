"""Pooling: maxima and means over windows of images, with their gradients and derivatives.

Images are arrays (n, h, w, c) with the channels last; sequences are images with h = 1. A window of `size` items slides
over the rows and columns by `stride`, over the image and `padding` items beyond each of its edges. Window (i, k) covers
the rows from i stride - padding on, and the columns from k stride - padding on. The results have
floor((h + 2 padding - size) / stride) + 1 rows, and as many columns for w. `size`, `stride` and `padding` are integers
or pairs (rows, columns).
"""

from __future__ import annotations

from steepest._runtime.arrays import Array, IntOrPair
from steepest._runtime.backends import backend_of

__all__ = ["avg_pool2d", "avg_pool2d_backward", "max_pool2d", "max_pool2d_backward", "max_pool2d_gather"]


def max_pool2d(
    x: Array,
    size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    out: Array | None = None,
    index: Array | None = None,
) -> tuple[Array, Array]:
    """Return the maximum of each window, and its position there.

    y = max over the items of the window in the image (K. Yamaguchi et al., "A neural network for speaker-independent
    isolated word recognition", ICSLP 1990). The padding counts as -inf.

    Parameters
    ----------
    x : ndarray (n, h, w, c)
        Images, with the channels last.
    size : int or pair
        Rows and columns of a window, at most 256 items.
    stride : int or pair, optional
        Rows and columns from one window to the next; `size` by default.
    padding : int or pair
        Rows and columns beyond each edge of the image, less than `size`.
    out : ndarray (n, oh, ow, c), optional
        Receives the maxima.
    index : uint8 ndarray (n, oh, ow, c), optional
        Receives the positions.

    Returns
    -------
    y : ndarray (n, oh, ow, c)
        The maxima. NaN counts as the largest value.
    index : uint8 ndarray (n, oh, ow, c)
        Row * (columns of a window) + column of each maximum in its window: the first of several, or the first NaN.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions; also if no window fits, or if `padding` is not less than `size`.
    """
    return backend_of(x).max_pool2d(x, size, stride, padding, out, index)


def max_pool2d_backward(
    d_y: Array,
    index: Array,
    size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    d_x: Array,
) -> Array:
    """Return the gradient of `max_pool2d` with respect to x.

    d_x = the sum of d_y over the windows whose maximum the item is, added in the order of the windows.

    Parameters
    ----------
    d_y : ndarray (n, oh, ow, c)
        Gradient with respect to the maxima.
    index : uint8 ndarray (n, oh, ow, c)
        The positions that `max_pool2d` returned. One outside of its window, or in the padding, selects no item.
    size, stride, padding : int or pair
        As in `max_pool2d`.
    d_x : ndarray (n, h, w, c)
        Receives the gradient; its shape is that of x.

    Returns
    -------
    ndarray (n, h, w, c)
        d_x.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions; also if the shapes of d_y and index do not follow from that of d_x.
    """
    return backend_of(d_y).max_pool2d_backward(d_y, index, size, stride, padding, d_x=d_x)


def max_pool2d_gather(
    dx: Array,
    index: Array,
    size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    out: Array | None = None,
) -> Array:
    """Return the derivative of `max_pool2d` along a direction: dx at the position of each window's maximum.

    This is the transpose of `max_pool2d_backward`.

    Parameters
    ----------
    dx : ndarray (n, h, w, c)
        The direction.
    index : uint8 ndarray (n, oh, ow, c)
        The positions that `max_pool2d` returned. One outside of its window, or in the padding, gives 0.
    size, stride, padding : int or pair
        As in `max_pool2d`.
    out : ndarray (n, oh, ow, c), optional
        Receives the derivative.

    Returns
    -------
    ndarray (n, oh, ow, c)
        The derivative of the maxima.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions; also if the shape of index does not follow from that of dx.
    """
    return backend_of(dx).max_pool2d_gather(dx, index, size, stride, padding, out)


def avg_pool2d(
    x: Array,
    size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    out: Array | None = None,
    *,
    count_padding: bool = False,
) -> Array:
    """Return the mean of each window.

    y = (the sum over the items of the window in the image) / m, where m is the number of these items, or
    that of all places in the window with `count_padding` (Y. LeCun et al., "Gradient-based learning applied to document
    recognition", Proc. IEEE 86, 1998). A window of (h, w) is global average pooling. The mean is linear, so that
    ``avg_pool2d(dx, ...)`` is its derivative along dx.

    Parameters
    ----------
    x : ndarray (n, h, w, c)
        Images, with the channels last.
    size : int or pair
        Rows and columns of a window.
    stride : int or pair, optional
        Rows and columns from one window to the next; `size` by default.
    padding : int or pair
        Rows and columns of zeros beyond each edge of the image, less than `size`.
    out : ndarray (n, oh, ow, c), optional
        Receives the means.
    count_padding : bool
        Whether places in the padding count in m.

    Returns
    -------
    ndarray (n, oh, ow, c)
        The means.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions; also if no window fits, or if `padding` is not less than `size`.
    """
    return backend_of(x).avg_pool2d(x, size, stride, padding, out, count_padding=count_padding)


def avg_pool2d_backward(
    d_y: Array,
    size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    d_x: Array,
    count_padding: bool = False,
) -> Array:
    """Return the gradient of `avg_pool2d` with respect to x.

    d_x = the sum of d_y / m over the windows that contain the item, added in the order of the windows.

    Parameters
    ----------
    d_y : ndarray (n, oh, ow, c)
        Gradient with respect to the means.
    size, stride, padding : int or pair
        As in `avg_pool2d`.
    d_x : ndarray (n, h, w, c)
        Receives the gradient; its shape is that of x.
    count_padding : bool
        As in `avg_pool2d`.

    Returns
    -------
    ndarray (n, h, w, c)
        d_x.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions; also if the shape of d_y does not follow from that of d_x.
    """
    return backend_of(d_y).avg_pool2d_backward(
        d_y, size, stride, padding, d_x=d_x, count_padding=count_padding
    )

"""Gathering of mini-batches of images, with conversion, random augmentation and mix-up."""

from __future__ import annotations

from collections.abc import Sequence

from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["mix_rows", "take_images"]


def take_images(
    images: Array,
    rows: Array,
    out: Array | None = None,
    *,
    start: int | Int64Array | None = None,
    scale: float | Sequence[float] | None = None,
    offset: float | Sequence[float] = 0.0,
    crop: int | Sequence[int] | None = None,
    shift: int | Sequence[int] = 0,
    flip: bool = False,
    flip_vertical: bool = False,
    cutout: int = 0,
    fill: float = 0.0,
    mixup: float = 0.0,
    mix_weights: Array | None = None,
    seed: int | None = None,
    stream: int | Int64Array = 0,
) -> Array:
    """Return ``scale * images[rows[start : start + len(out)]] + offset``, a mini-batch, at random augmented.

    The steps for each image, of which all but the first are optional:

    1. Conversion: a product and a sum, each rounded to the dtype of the result.
    2. Shift and crop: the image is padded by `shift` pixels of `fill` on each side, and a window of the size `crop`
       is taken from a uniformly drawn place. Without a seed, the window is in the middle.
    3. Flips: left to right (`flip`) and upside down (`flip_vertical`), each with probability 1/2.
    4. Cutout [1]_: a square around a uniformly drawn pixel, clipped at the borders, becomes `fill`.
    5. Mix-up [2]_: image i of the mini-batch becomes ``w[i] * image[i] + (1 - w[i]) * image[i + 1]``, where image 0
       follows the last one, with w[i] from Beta(mixup, mixup). `mix_rows` mixes the targets by the same weights.

    The random numbers of an image depend only on `seed`, `stream` and its position ``start + i`` in `rows`. They are
    the same on every device, for every batch size and for every number of threads.

    Parameters
    ----------
    images : ndarray of uint8, float32 or float64 of shape (n, h, w) or (n, h, w, c)
        Images of one or of c channels.
    rows : ndarray of integers of shape (m,)
        Indices of images.
    out : ndarray of shape (batch, h_out, w_out) or (batch, h_out, w_out, c), optional
        Receives the mini-batch, in float32 or float64 for images of uint8, else in the dtype of the images. Without
        `out`, the mini-batch runs from `start` to the last row, in float32 for images of uint8.
    start : int or 0-d int64 ndarray, optional
        Position in `rows` of the first image, 0 by default. A scalar array serves as the cursor of a captured step, and
        requires `out`.
    scale : float or tuple of c floats, optional
        Factor, or one for each of at most 16 channels: 1/255 for uint8 and 1 for other images by default. For the
        usual (x / 255 - mean) / std take 1 / (255 std), and ``offset=-mean / std``.
    offset : float or tuple of c floats
        Number added, or one for each channel.
    crop : int or (rows, columns), optional
        Size h_out, w_out of the window; that of the images by default. It may exceed the images, but not their padding.
    shift : int or (rows, columns)
        Pixels of padding on each side, by which the window may thus move beyond the images.
    flip, flip_vertical : bool
        Whether images are flipped at random.
    cutout : int
        Side of the square in pixels; 0 for none.
    fill : float
        Value of the padding and of the square, in the units of the result.
    mixup : float
        Parameter alpha of the beta distribution; 0 for none.
    mix_weights : ndarray of shape (batch,), optional
        Receives the weights w, which are multiples of 2**-24; required with `mixup`. It has the dtype of the result.
    seed : int, optional
        Seed of the random numbers, in 0..2**64-1; required for all that is random. Without a seed, nothing is drawn.
    stream : int in 0..2**64-1, or 0-d int64 ndarray
        Streams of one seed give independent numbers, for example one for each epoch. A scalar array is read when the
        operation runs.

    Returns
    -------
    ndarray of shape (batch, h_out, w_out) or (batch, h_out, w_out, c)
        The mini-batch.

    Raises
    ------
    IndexError
        If a row is outside 0..n-1, or the mini-batch goes beyond `rows`.
    ValueError
        If the window does not fit, the seed or `mix_weights` is missing, or a number is out of range; see also the
        package's conventions.
    TypeError
        See the package's conventions.

    References
    ----------
    .. [1] T. DeVries, G. Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
    .. [2] H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> images = np.array([[[0, 255], [255, 0]], [[0, 0], [0, 255]]], np.uint8)
    >>> K.take_images(images, np.array([1]))
    array([[[0., 0.],
            [0., 1.]]], dtype=float32)
    >>> K.take_images(images, np.zeros(500, np.int64), shift=2, flip=True, cutout=1, seed=0).shape
    (500, 2, 2)
    """
    return backend_of(images).take_images(
        images,
        rows,
        out,
        start=start,
        scale=scale,
        offset=offset,
        crop=crop,
        shift=shift,
        flip=flip,
        flip_vertical=flip_vertical,
        cutout=cutout,
        fill=fill,
        mixup=mixup,
        mix_weights=mix_weights,
        seed=seed,
        stream=stream,
    )


def mix_rows(x: Array, weights: Array, out: Array | None = None) -> Array:
    """Return ``weights[i] * x[i] + (1 - weights[i]) * x[i + 1]`` in row i, where row 0 follows the last one.

    These are the targets of images that `take_images` has mixed by ``mixup`` with the same weights: probabilities or
    real numbers. Class ids become rows of the identity matrix first, ``K.take_rows(np.eye(n_classes), ids)``.

    Parameters
    ----------
    x : ndarray of shape (n,) or (n, d)
        Rows.
    weights : ndarray of shape (n,)
        Weight of each row in its mixture.
    out : ndarray of x's shape, optional
        Receives the result.

    Returns
    -------
    ndarray of x's shape
        The mixtures.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> K.mix_rows(np.eye(3), np.array([1.0, 0.75, 0.5]))
    array([[1.  , 0.  , 0.  ],
           [0.  , 0.75, 0.25],
           [0.5 , 0.  , 0.5 ]])
    """
    return backend_of(x).mix_rows(x, weights, out)

"""Windows of images as rows: a convolution is a linear map of these rows, which a sample passes at many positions."""

from __future__ import annotations

import math

from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros, array_namespace
from steepest.nn.ops.convolution import Geometry

# Windows are copied for so many samples that they have at most the first number of items, or the second number of
# windows, or one sample. The copies of small windows stay in the second-level cache, and a product of large ones has
# enough rows to be worth its result, whose sides are the windows' length.
_ITEMS, _WINDOWS = 1 << 18, 256


def samples_in_a_block(windows: int, width: int) -> int:
    """Return for how many samples at a time windows are copied.

    Parameters
    ----------
    windows : int
        Windows of a sample.
    width : int
        Items of a window, over all groups of channels.
    """
    return max(1, max(_ITEMS, _WINDOWS * width) // max(windows * width, 1))


def patches(
    images: Array, geometry: Geometry, taps: tuple[int, ...], places: tuple[int, ...], *, ones: bool = False
) -> Array:
    """Return copies of what the window of a convolution sees at each place, with whichever strides are faster.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels) or (n, length, channels)
        The convolution's inputs.
    geometry : Geometry
        How the window lies on the images.
    taps, places : tuple of int
        Rows and columns of the window, and of the convolution's outputs; for sequences their columns.
    ones : bool, default=False
        Whether to append an item of 1, the input of a bias.

    Returns
    -------
    ndarray of shape (groups, n, places, window + ones)
        The windows of each group of channels, in the order of the weights: rows, columns, channels.
    """
    images, groups = geometry.image(images), geometry.arguments["groups"]
    taps, places = ((1, *both) if len(both) == 1 else both for both in (taps, places))
    padded = _padded(images, geometry.arguments["padding"])
    n, channels = len(images), images.shape[-1] // groups
    by_sample, by_row, by_column, by_item = padded.strides
    (down, right), (dilated, spread) = geometry.arguments["stride"], geometry.arguments["dilation"]
    view = array_namespace(padded).lib.stride_tricks.as_strided(
        padded,
        (groups, n, *places, *taps, channels),
        (
            channels * by_item,
            by_sample,
            down * by_row,
            right * by_column,
            dilated * by_row,
            spread * by_column,
            by_item,
        ),
    )
    window, xp = math.prod(taps) * channels, array_namespace(images)
    if places[1] > channels * (taps[1] if spread == 1 else 1):
        # The items of a window that follow one another are fewer than the windows that do: items come first in memory.
        turned: Array = xp.empty((groups, window + ones, n, math.prod(places)), images.dtype)
        rows, seen = (
            turned.transpose(0, 2, 3, 1),
            turned[:, :window].reshape(groups, *taps, channels, n, *places),
        )
        seen[...] = view.transpose(0, 4, 5, 6, 1, 2, 3)
    else:
        rows = xp.empty((groups, n, math.prod(places), window + ones), images.dtype)
        seen = rows[..., :window].reshape(view.shape)
        seen[...] = view
    if ones:
        rows[..., -1] = 1
    return rows


def _padded(images: Array, padding: tuple[tuple[int, int], tuple[int, int]]) -> Array:
    """Return images with a border of zeros, in C order."""
    (above, below), (before, after) = padding
    n, height, width, channels = images.shape
    shape = n, above + height + below, before + width + after, channels
    if shape == images.shape and images.flags.c_contiguous:
        return images
    padded = aligned_zeros(shape, images.dtype, device_of(images))
    padded[:, above : above + height, before : before + width] = images
    return padded

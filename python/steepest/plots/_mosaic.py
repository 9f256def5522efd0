"""Small images side by side, as one image."""

from __future__ import annotations

import math

import numpy as np

from steepest._runtime.arrays import Array

# Colours of numbers of either sign, white at zero, and of numbers that are never negative. Both are for all kinds of
# colour vision.
WEIGHTS, AMOUNTS = "RdBu_r", "viridis"


def mosaic_of(rows: Array, shape: tuple[int, int] | None, columns: int, name: str) -> Array:
    """Return the rows as images side by side, separated by one pixel of NaN, which is not drawn.

    Parameters
    ----------
    rows : ndarray of shape (n, n_pixels)
        The images.
    shape : (int, int) or None
        Their height and width; None if they are square.
    columns : int
        Number of images beside one another.
    name : str
        Name of the plot, for messages.

    Raises
    ------
    ValueError
        If the shape does not match the number of pixels.
    """
    n, n_pixels = rows.shape
    height, width = shape_of(n_pixels, shape, name)
    lines = -(-n // columns)
    mosaic = np.full((lines, columns, height + 1, width + 1), np.nan)
    mosaic.reshape(-1, height + 1, width + 1)[:n, :height, :width] = rows.reshape(n, height, width)
    whole = mosaic.transpose(0, 2, 1, 3).reshape(lines * (height + 1), columns * (width + 1))
    return whole[:-1, :-1]


def shape_of(n_pixels: int, shape: tuple[int, int] | None, name: str) -> tuple[int, int]:
    """Return the height and width of an image of so many pixels; ValueError if they are not `shape`."""
    if shape is None:
        side = math.isqrt(n_pixels)
        shape = (side, side)
    height, width = shape
    if height * width != n_pixels:
        raise ValueError(
            f"[{name}] {n_pixels} pixels are no image of {height} x {width}: pass shape=(height, width)"
        )
    return height, width

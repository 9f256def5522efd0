"""Rows or columns of numbers as images: weights of units, data and their reconstructions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_host

from ._style import make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def weight_images(
    weights: Any,
    shape: tuple[int, int] | None = None,
    *,
    ax: Axes | None = None,
    n_units: int = 32,
    columns: int = 8,
) -> Axes:
    """Draw the weights of each unit of a layer as an image: what the unit looks for.

    Parameters
    ----------
    weights : ndarray of shape (n_pixels, n_units), or fitted estimator
        Weights of a layer, such as ``coefs_[0]``; of an estimator its first layer's, or the components of a PCA.
    shape : (int, int) or None, default=None
        Height and width of the images; None where n_pixels is a square.
    ax : Axes or None, default=None
        Where to draw.
    n_units : int, default=32
        The most units to show: the first ones.
    columns : int, default=8
        Images in a row.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. All images share one scale of colours, symmetric about zero.

    Raises
    ------
    ImportError
        Where Matplotlib is not installed.
    ValueError
        Where the shape does not fit.
    """
    rows = _weights_of(weights).T[:n_units]
    mosaic = _mosaic(rows, shape, min(columns, len(rows)), "weight_images")
    ax = make_axes(ax, (6.0, 6.0 * mosaic.shape[0] / mosaic.shape[1] + 0.2))
    limit = float(np.abs(rows).max()) or 1.0
    drawn = ax.imshow(mosaic, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8, label="weight")
    ax.set_axis_off()
    return ax


def reconstructions(
    X: Any, reconstructed: Any, shape: tuple[int, int] | None = None, *, ax: Axes | None = None, n: int = 10
) -> Axes:
    """Draw images above what a model has made of them.

    Parameters
    ----------
    X, reconstructed : array-like of shape (n_samples, n_pixels)
        Images as rows, such as `Autoencoder.reconstruct` returns them.
    shape : (int, int) or None, default=None
        Height and width of the images; None where n_pixels is a square.
    ax : Axes or None, default=None
        Where to draw.
    n : int, default=10
        The most samples to show: the first ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ImportError
        Where Matplotlib is not installed.
    ValueError
        Where the shapes do not fit.
    """
    given, made = (np.asarray(to_host(array), dtype=np.float64)[:n] for array in (X, reconstructed))
    if given.shape != made.shape:
        raise ValueError(f"[reconstructions] X has shape {given.shape}, its reconstruction {made.shape}")
    mosaic = _mosaic(np.concatenate([given, made]), shape, len(given), "reconstructions")
    ax = make_axes(ax, (0.7 * len(given) + 1.2, 1.8))
    # Of the data's own range: what the model exceeds it by is no brighter than its extremes.
    ax.imshow(
        mosaic, cmap="gray_r", vmin=float(given.min()), vmax=float(given.max()), interpolation="nearest"
    )
    height = mosaic.shape[0]
    ax.set_yticks([height / 4 - 0.5, 3 * height / 4 - 0.5], ["data", "reconstruction"])
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def _weights_of(weights: Any) -> Array:
    """Return weights (n_pixels, n_units) of an array or an estimator."""
    if hasattr(weights, "coefs_"):
        weights = weights.coefs_[0]
    elif hasattr(weights, "components_"):
        weights = weights.components_.T
    elif hasattr(weights, "coef_"):
        weights = weights.coef_.T
    array: Array = np.asarray(to_host(weights), dtype=np.float64)
    return array.reshape(len(array), -1)


def _mosaic(rows: Array, shape: tuple[int, int] | None, columns: int, name: str) -> Array:
    """Return the rows as images side by side, with a pixel of NaN, which is not drawn, between them."""
    n, n_pixels = rows.shape
    if shape is None:
        side = math.isqrt(n_pixels)
        shape = (side, side)
    height, width = shape
    if height * width != n_pixels:
        raise ValueError(
            f"[{name}] {n_pixels} pixels are no image of {height} x {width}: pass shape=(height, width)"
        )
    lines = -(-n // columns)
    mosaic = np.full((lines, columns, height + 1, width + 1), np.nan)
    mosaic.reshape(-1, height + 1, width + 1)[:n, :height, :width] = rows.reshape(n, height, width)
    whole = mosaic.transpose(0, 2, 1, 3).reshape(lines * (height + 1), columns * (width + 1))
    return whole[:-1, :-1]

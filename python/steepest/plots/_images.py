"""Plots of weights and samples as images: the weights of units, and data above their reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_host

from ._mosaic import WEIGHTS, mosaic_of
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
    """Draw the weights of each unit of a layer as an image, the pattern that the unit responds to.

    Parameters
    ----------
    weights : ndarray of shape (n_pixels, n_units), or fitted estimator
        Weights of a layer, such as ``coefs_[0]``. For an estimator, the weights of its first layer, its coefficients,
        or the components of a PCA.
    shape : (int, int) or None, default=None
        Height and width of the images; None if the images are square.
    ax : Axes or None, default=None
        Axes to draw into; None for a new figure.
    n_units : int, default=32
        Largest number of units to show; the first ones are shown.
    columns : int, default=8
        Number of images in a row.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. All images share one colour scale, symmetric about zero.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If the shape does not match the number of pixels.
    """
    rows = _weights_of(weights).T[:n_units]
    mosaic = mosaic_of(rows, shape, min(columns, len(rows)), "weight_images")
    ax = make_axes(ax, (6.0, 6.0 * mosaic.shape[0] / mosaic.shape[1] + 0.2))
    limit = float(np.abs(rows).max()) or 1.0
    drawn = ax.imshow(mosaic, cmap=WEIGHTS, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8, label="weight")
    ax.set_axis_off()
    return ax


def reconstructions(
    X: Any, reconstructed: Any, shape: tuple[int, int] | None = None, *, ax: Axes | None = None, n: int = 10
) -> Axes:
    """Draw images above their reconstructions by a model.

    Parameters
    ----------
    X, reconstructed : array-like of shape (n_samples, n_pixels)
        Images, and their reconstructions as `Autoencoder.reconstruct` returns them; one a row.
    shape : (int, int) or None, default=None
        Height and width of the images; None if the images are square.
    ax : Axes or None, default=None
        Axes to draw into; None for a new figure.
    n : int, default=10
        Largest number of samples to show; the first ones are shown.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If X and the reconstruction differ in shape, or `shape` does not match the number of pixels.
    """
    given, made = (np.asarray(to_host(array), dtype=np.float64)[:n] for array in (X, reconstructed))
    if given.shape != made.shape:
        raise ValueError(f"[reconstructions] X has shape {given.shape}, its reconstruction {made.shape}")
    mosaic = mosaic_of(np.concatenate([given, made]), shape, len(given), "reconstructions")
    ax = make_axes(ax, (0.7 * len(given) + 1.2, 1.8))
    # The grey scale spans the range of the data; values of the reconstruction outside it are clipped.
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


def image_grid(
    X: Any, shape: tuple[int, int] | None = None, *, ax: Axes | None = None, columns: int = 10
) -> Axes:
    """Draw images side by side, such as samples of a generative model.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_pixels) or (n_samples, height, width)
        The images, dark where the numbers are large.
    shape : (int, int) or None, default=None
        Height and width of images that are rows of pixels; None if the images are square.
    ax : Axes or None, default=None
        Axes to draw into; None for a new figure.
    columns : int, default=10
        Number of images in a row.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If there is no image, or `shape` does not match the number of pixels.
    """
    images = np.asarray(to_host(X), dtype=np.float64)
    if not len(images):
        raise ValueError("[image_grid] X has no images")
    if images.ndim == 3:
        shape = images.shape[1:]
    rows = images.reshape(len(images), -1)
    mosaic = mosaic_of(rows, shape, min(columns, len(rows)), "image_grid")
    ax = make_axes(ax, (6.0, 6.0 * mosaic.shape[0] / mosaic.shape[1]))
    ax.imshow(mosaic, cmap="gray_r", vmin=float(rows.min()), vmax=float(rows.max()), interpolation="nearest")
    ax.set_axis_off()
    return ax


def _weights_of(weights: Any) -> Array:
    """Return weights of shape (n_pixels, n_units) from an array or an estimator."""
    if hasattr(weights, "coefs_"):
        weights = weights.coefs_[0]
    elif hasattr(weights, "components_"):
        weights = weights.components_.T
    elif hasattr(weights, "coef_"):
        weights = weights.coef_.T
    array: Array = np.asarray(to_host(weights), dtype=np.float64)
    return array.reshape(len(array), -1)

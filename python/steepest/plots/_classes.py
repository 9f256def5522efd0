"""What a model says in the plane of two features, and which classes it takes for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_host

from ._samples import axis_names, scatter_classes
from ._style import colours, make_axes, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_MARGIN = 0.05  # of the data's extent, around it


def decision_regions(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    ax: Axes | None = None,
    probabilities: bool = False,
    resolution: int = 200,
) -> Axes:
    """Draw what a model says in the plane of its two features, and the samples.

    The class that a classifier predicts is a colour, with lines around its regions. A model without `classes_`, such as
    a regressor, predicts real numbers, on a scale of colours that the samples' y share.

    Parameters
    ----------
    model : classifier or regressor
        Fitted to two features.
    X : array-like of shape (n, 2)
        Samples; they give the extent.
    y : array-like of shape (n,) or None, default=None
        Their true classes or numbers.
    ax : Axes or None, default=None
        Where to draw.
    probabilities : bool, default=False
        Whether the regions fade where the classes are about equally probable.
    resolution : int, default=200
        Points at which the model is asked, in each direction.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ImportError
        Where Matplotlib is not installed.
    ValueError
        Where X does not have two columns, a regressor predicts several numbers for a sample, or is asked for
        probabilities.
    """
    points = np.asarray(to_host(X), dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"[decision_regions] X has shape {points.shape}, but the plane has two features")
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * np.where(high > low, high - low, 1.0)
    low, high = low - margin, high + margin
    axis_x, axis_y = (np.linspace(a, b, resolution) for a, b in zip(low, high, strict=True))
    grid: Any = np.stack(np.meshgrid(axis_x, axis_y), axis=-1).reshape(-1, 2)
    if hasattr(X, "columns"):
        # A data frame: the model knows its columns by name.
        grid = type(X)(grid, columns=X.columns)
    predicted = to_host(model.predict(grid))
    image: dict[str, Any] = {
        "extent": (low[0], high[0], low[1], high[1]),
        "origin": "lower",
        "aspect": "auto",
        "interpolation": "bilinear" if probabilities else "nearest",
    }
    targets = None if y is None else np.asarray(to_host(y))
    first, second = axis_names(X, model)
    if not hasattr(model, "classes_"):
        if probabilities:
            raise ValueError("[decision_regions] probabilities=True needs a classifier")
        if predicted.size != resolution**2:
            raise ValueError(
                f"[decision_regions] the model predicts {predicted.shape[1]} numbers for a sample"
            )
        ax = make_axes(ax, (5.0, 4.0))
        _draw_numbers(ax, predicted.reshape(resolution, resolution), image, points, targets)
    else:
        ax = make_axes(ax, (5.0, 4.0))
        classes = np.asarray(to_host(model.classes_))
        region = np.searchsorted(classes, predicted).reshape(resolution, resolution)
        weight = to_host(model.predict_proba(grid)).astype(np.float64) if probabilities else None
        ax.imshow(_colours_of(region, weight, len(classes)), **image)
        for i in range(len(classes)):
            if 0 < (region == i).sum() < region.size:
                ax.contour(axis_x, axis_y, region == i, levels=[0.5], colors="#444444", linewidths=0.8)
        if targets is not None:
            scatter_classes(ax, points, targets, classes)
    ax.set(xlabel=first, ylabel=second, xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return ax


def _colours_of(region: Array, weight: Array | None, n_classes: int) -> Array:
    """Return the pixels of the regions: pale colours, and whiter where the classes' weights are more alike."""
    palette = colours(n_classes)
    if weight is None:
        mixed: Array = palette[region]
        sureness: Any = 1.0
    else:
        mixed = (weight @ palette).reshape(*region.shape, 3)
        # White where all are equally probable.
        least = 1.0 / n_classes
        sureness = ((weight.max(axis=1) - least) / (1.0 - least)).reshape(*region.shape, 1)
    pixels: Array = 1.0 - 0.45 * sureness * (1.0 - mixed)
    return pixels


def _draw_numbers(ax: Axes, predicted: Array, image: dict[str, Any], points: Array, y: Array | None) -> None:
    """Draw predictions and samples on one scale of colours."""
    shown = predicted.ravel() if y is None else np.concatenate([predicted.ravel(), y])
    scale: dict[str, Any] = {"cmap": "viridis", "vmin": float(shown.min()), "vmax": float(shown.max())}
    drawn = ax.imshow(predicted, **image, **scale)
    if y is not None:
        size = 30 if len(points) < 500 else 14
        ax.scatter(points[:, 0], points[:, 1], s=size, c=y, edgecolors="white", linewidths=0.6, **scale)
    ax.figure.colorbar(drawn, ax=ax, label="prediction" if y is None else "prediction and y")


def confusion_matrix(
    y_true: Any,
    y_predicted: Any,
    *,
    ax: Axes | None = None,
    labels: Sequence[str] | None = None,
    normalize: bool = False,
) -> Axes:
    """Draw how often each class was taken for which.

    Parameters
    ----------
    y_true, y_predicted : array-like of shape (n,)
        True and predicted classes.
    ax : Axes or None, default=None
        Where to draw.
    labels : sequence of str or None, default=None
        Names of the classes, in their sorted order.
    normalize : bool, default=False
        Whether to write shares of the true class, in percent, instead of numbers.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. Colours are shares of the true class either way.

    Raises
    ------
    ImportError
        Where Matplotlib is not installed.
    """
    from sklearn.metrics import confusion_matrix as count

    y_true, y_predicted = np.asarray(to_host(y_true)), np.asarray(to_host(y_predicted))
    classes = np.unique(np.concatenate([y_true, y_predicted]))
    counts = count(y_true, y_predicted, labels=classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = max(3.2, 0.45 * len(classes) + 1.4)
    ax = make_axes(ax, (size, size))
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        if counts[i, j]:
            text = f"{100 * shares[i, j]:.0f}" if normalize else str(counts[i, j])
            colour = "white" if shares[i, j] > 0.5 else "#222222"
            ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)
    shown = names(classes) if labels is None else list(labels)
    ax.set_xticks(range(len(classes)), shown)
    if max(map(len, shown)) > 3:
        # They would overlap.
        for tick in ax.get_xticklabels():
            tick.set(rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(classes)), shown)
    ax.set(xlabel="predicted", ylabel="true" + (", % of each row" if normalize else ""))
    return ax

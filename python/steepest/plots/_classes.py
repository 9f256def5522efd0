"""Plots of predictions: decision regions in the plane of two features, and confusion matrices."""

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


_MARGIN = 0.05  # width of the margin around the data, as a fraction of their extent


def decision_regions(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    ax: Axes | None = None,
    probabilities: bool = False,
    resolution: int = 200,
) -> Axes:
    """Draw the decision regions of a classifier, or the predictions of a regressor, over two features.

    For a classifier, each predicted class has a colour, with lines around its regions. For a model without `classes_`,
    such as a regressor, predictions and the samples' y share a colour scale.

    Parameters
    ----------
    model : classifier or regressor
        Model that is fitted to two features.
    X : array-like of shape (n, 2)
        Samples; they define the extent of the plot.
    y : array-like of shape (n,) or None, default=None
        True classes or numbers of the samples; None draws no samples.
    ax : Axes or None, default=None
        Axes to draw into; None for a new figure.
    probabilities : bool, default=False
        Whether the regions fade where the classes are about equally probable.
    resolution : int, default=200
        Number of grid points in each direction at which the model predicts.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If X does not have two columns, a regressor predicts several numbers for a sample, or `probabilities` is set
        for a regressor.
    """
    points = np.asarray(to_host(X), dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"[decision_regions] X must have two columns, got shape {points.shape}")
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * np.where(high > low, high - low, 1.0)
    low, high = low - margin, high + margin
    axis_x, axis_y = (np.linspace(a, b, resolution) for a, b in zip(low, high, strict=True))
    grid: Any = np.stack(np.meshgrid(axis_x, axis_y), axis=-1).reshape(-1, 2)
    if hasattr(X, "columns"):
        # For a data frame, the model checks the names of the columns.
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
                f"[decision_regions] the model predicts {predicted.shape[1]} numbers for a sample, expected 1"
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
    """Return the pixels of the regions, in pale colours; with probabilities, whiter where these are more alike."""
    palette = colours(n_classes)
    if weight is None:
        mixed: Array = palette[region]
        sureness: Any = 1.0
    else:
        mixed = (weight @ palette).reshape(*region.shape, 3)
        # A pixel is white where all classes are equally probable.
        least = 1.0 / n_classes
        sureness = ((weight.max(axis=1) - least) / (1.0 - least)).reshape(*region.shape, 1)
    pixels: Array = 1.0 - 0.45 * sureness * (1.0 - mixed)
    return pixels


def _draw_numbers(ax: Axes, predicted: Array, image: dict[str, Any], points: Array, y: Array | None) -> None:
    """Draw the predictions of a regressor and the samples' y with the same colour scale."""
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
    X: Any = None,
    *,
    ax: Axes | None = None,
    labels: Sequence[str] | None = None,
    normalize: bool = False,
) -> Axes:
    """Draw a confusion matrix: how often each true class is predicted as each class.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True classes.
    y_predicted : array-like of shape (n,), or fitted classifier
        Predicted classes, or a classifier that predicts them for X.
    X : array-like of shape (n, ...), default=None
        Samples, for a classifier.
    ax : Axes or None, default=None
        Axes to draw into; None for a new figure.
    labels : sequence of str or None, default=None
        Names of the classes, in sorted order of the classes.
    normalize : bool, default=False
        Whether to write percentages of the true class instead of counts.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. The colours always show proportions of the true class.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        If there is a classifier without X, or X without a classifier.
    ValueError
        If the numbers of true and predicted classes differ, or those of labels and classes.
    """
    from sklearn.metrics import confusion_matrix as count

    if hasattr(y_predicted, "predict") != (X is not None):
        raise TypeError("[confusion_matrix] X must be given with a classifier as y_predicted, and only then")
    if X is not None:
        y_predicted = y_predicted.predict(X)
    y_true, y_predicted = np.asarray(to_host(y_true)), np.asarray(to_host(y_predicted))
    if y_true.shape != y_predicted.shape or y_true.ndim != 1:
        raise ValueError(
            f"[confusion_matrix] true and predicted classes must have one shape (n,), got {y_true.shape} and "
            f"{y_predicted.shape}"
        )
    classes = np.unique(np.concatenate([y_true, y_predicted]))
    if labels is not None and len(labels) != len(classes):
        raise ValueError(f"[confusion_matrix] there are {len(labels)} labels for {len(classes)} classes")
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
        # Longer names are rotated, since they would overlap.
        for tick in ax.get_xticklabels():
            tick.set(rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(classes)), shown)
    ax.set(xlabel="predicted", ylabel="true" + (", % of each row" if normalize else ""))
    return ax

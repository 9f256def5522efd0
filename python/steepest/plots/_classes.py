"""Classes: where a model tells them apart, and which it takes for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from steepest._memory import to_host

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
    """Draw what a classifier says in the plane of its two features, and the samples.

    Parameters
    ----------
    model : classifier
        Fitted to two features.
    X : array-like of shape (n, 2)
        Samples; they give the extent.
    y : array-like of shape (n,) or None, default=None
        Their true classes.
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
        Where X does not have two columns.
    """
    points = np.asarray(to_host(X), dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"[decision_regions] X has shape {points.shape}, but the plane has two features")
    ax = make_axes(ax, (5.0, 4.0))
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * np.where(high > low, high - low, 1.0)
    low, high = low - margin, high + margin
    axis_x, axis_y = (np.linspace(a, b, resolution) for a, b in zip(low, high, strict=True))
    grid: Any = np.stack(np.meshgrid(axis_x, axis_y), axis=-1).reshape(-1, 2)
    if hasattr(X, "columns"):
        # A data frame: the model knows its columns by name.
        grid = type(X)(grid, columns=X.columns)
    classes = np.asarray(to_host(model.classes_))
    region = np.searchsorted(classes, to_host(model.predict(grid))).reshape(resolution, resolution)
    palette = colours(len(classes))
    if probabilities:
        weight = to_host(model.predict_proba(grid)).astype(np.float64)
        mixed = (weight @ palette).reshape(resolution, resolution, 3)
        # White where all are equally probable.
        least = 1.0 / len(classes)
        sureness = ((weight.max(axis=1) - least) / (1.0 - least)).reshape(resolution, resolution, 1)
    else:
        mixed, sureness = palette[region], 1.0
    ax.imshow(
        1.0 - 0.45 * sureness * (1.0 - mixed),
        extent=(low[0], high[0], low[1], high[1]),
        origin="lower",
        aspect="auto",
        interpolation="bilinear" if probabilities else "nearest",
    )
    for i in range(len(classes)):
        if 0 < (region == i).sum() < region.size:
            ax.contour(axis_x, axis_y, region == i, levels=[0.5], colors="#444444", linewidths=0.8)
    if y is not None:
        scatter_classes(ax, points, np.asarray(to_host(y)), classes)
    first, second = axis_names(X, model)
    ax.set(xlabel=first, ylabel=second, xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return ax


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

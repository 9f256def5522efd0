"""Scatter plots and histograms of projected samples, for one model or several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_host

from ._samples import add_legend, scatter_classes, write_name
from ._style import colours, make_axes, make_panels, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase


_BINS = 20  # number of bins of a histogram
_WRITTEN = 5  # with more classes than this, their names are written among the samples


def projection(
    X: Any,
    y: Any = None,
    *,
    ax: Axes | None = None,
    labels: Sequence[str] | None = None,
    name: str = "component",
) -> Axes:
    """Draw the first two components of projected samples, each class in its colour.

    A projection with one column, such as the discriminant axis of two classes, is drawn as a histogram of each class.

    Parameters
    ----------
    X : array-like of shape (n, at least 1)
        The projected samples, such as `PCA.transform` returns them.
    y : array-like of shape (n,) or None, default=None
        Classes, or real numbers. Names of more than five classes are written among the samples. Real numbers are shown
        by a colour scale, or with a single column by the vertical axis. Without `labels`, an array of floats always
        counts as real numbers, even if they are whole.
    ax : Axes or None, default=None
        Axes to draw into; None for a new figure.
    labels : sequence of str or None, default=None
        Names of the classes, in sorted order of the classes.
    name : str, default="component"
        Name of the axes, which precedes their number.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If X does not have rows of numbers, or the numbers of labels and classes differ.
    """
    points = np.asarray(to_host(X), dtype=np.float64)
    if points.ndim != 2 or points.shape[1] < 1:
        raise ValueError(f"[projection] X has shape {points.shape}, but rows of numbers are needed")
    ax = make_axes(ax, (5.5, 4.5))
    y = None if y is None else np.asarray(to_host(y))
    one_column = points.shape[1] == 1
    plain: dict[str, Any] = {"s": 14, "alpha": 0.7, "linewidths": 0}
    second = "samples" if one_column else f"{name} 2"
    if y is None:
        if one_column:
            _histograms(ax, [points[:, 0]])
        else:
            ax.scatter(points[:, 0], points[:, 1], color=colours(1)[0], **plain)
    elif y.dtype.kind == "f" and labels is None:
        if one_column:
            ax.scatter(points[:, 0], y, color=colours(1)[0], **plain)
            second = "y"
        else:
            drawn = ax.scatter(points[:, 0], points[:, 1], c=y, cmap="viridis", **plain)
            ax.figure.colorbar(drawn, ax=ax)
    else:
        classes = np.unique(y)
        shown = names(classes) if labels is None else labels
        if len(shown) != len(classes):
            raise ValueError(f"[projection] there are {len(shown)} labels for {len(classes)} classes")
        at_medians = len(classes) > _WRITTEN
        if one_column:
            _histograms(ax, [points[y == label, 0] for label in classes], shown, at_medians=at_medians)
        else:
            scatter_classes(ax, points, y, classes, shown, at_medians=at_medians)
    ax.set(xlabel=f"{name} 1", ylabel=second)
    return ax


def projections(
    X: Any,
    y: Any,
    models: Sequence[Any] | Mapping[str, Any],
    *,
    figure: FigureBase | None = None,
    labels: Sequence[str] | None = None,
    name: str = "component",
) -> Array:
    """Draw the projections of the same samples by several fitted models, side by side.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        Samples, as each model's `transform` takes them.
    y : array-like of shape (n,) or None
        Classes, or real numbers, as in `projection`.
    models : sequence of transformers, or mapping of names to them
        Fitted models, one for each panel. The title is the name in the mapping, or the name of the model's class.
    figure : Figure, SubFigure or None, default=None
        Figure to add the panels to; None for a new one.
    labels : sequence of str or None, default=None
        Names of the classes, in sorted order of the classes.
    name : str, default="component"
        Name of the axes, which precedes their number.

    Returns
    -------
    ndarray of shape (n_models,)
        The axes. All panels share one legend, beside the last.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If there is no model, or the numbers of labels and classes differ.
    """
    if isinstance(models, Mapping):
        titled = list(models.items())
    else:
        titled = [(type(model).__name__, model) for model in models]
    if not titled:
        raise ValueError("[projections] models must have at least one item")
    panels = make_panels(figure, len(titled), (4.2, 3.8))
    shows_markers = panels[0]
    for panel, (title, model) in zip(panels, titled, strict=True):
        projection(model.transform(X), y, ax=panel, labels=labels, name=name)
        panel.set_title(title)
        if panel.collections:
            shows_markers = panel
    if panels[-1].get_legend() is not None:
        for panel in panels:
            panel.get_legend().remove()
        add_legend(panels[-1], shows_markers.get_legend_handles_labels()[0])
    return panels


def _histograms(
    ax: Axes, parts: Sequence[Array], shown: Sequence[str] | None = None, *, at_medians: bool = False
) -> None:
    """Draw a histogram of each class with the same bins; the names are in a legend, or also at the medians."""
    edges = np.histogram_bin_edges(np.concatenate(parts), _BINS)
    for i, (part, colour) in enumerate(zip(parts, colours(len(parts)), strict=True)):
        counts = np.histogram(part, edges)[0]
        label = None if shown is None else shown[i]
        ax.stairs(
            counts, edges, fill=True, facecolor=(*colour, 0.45), edgecolor=colour, linewidth=1, label=label
        )
        if at_medians and label is not None:
            middle = float(np.median(part))
            own_bin = np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, _BINS - 1)
            write_name(ax, label, [middle, float(counts[own_bin])])
    if shown is not None:
        add_legend(ax, ax.get_legend_handles_labels()[0])

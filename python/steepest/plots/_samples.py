"""Scatter plots of samples by class, with legends, class names and axis names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from steepest._runtime.arrays import Array

from ._style import colours, marker, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_LEGEND = 10  # with more classes than this, there is no legend


def scatter_classes(
    ax: Axes,
    points: Array,
    y: Array,
    classes: Array,
    labels: Sequence[str] | None = None,
    *,
    at_medians: bool = False,
) -> None:
    """Draw points by class, with a legend if the classes are few, and on request with the names at the medians."""
    shown = names(classes) if labels is None else labels
    size = 30 if len(points) < 500 else 14
    for i, colour in enumerate(colours(len(classes))):
        part = points[y == classes[i]]
        ax.scatter(
            part[:, 0],
            part[:, 1],
            s=size,
            marker=marker(i),
            color=colour,
            edgecolors="white",
            linewidths=0.4,
            alpha=0.9,
            label=shown[i],
        )
        if at_medians and len(part):
            write_name(ax, shown[i], np.median(part, axis=0).tolist())
    add_legend(ax, ax.get_legend_handles_labels()[0])


def write_name(ax: Axes, name: str, at: Sequence[float]) -> None:
    """Write the name of a class among its samples."""
    from matplotlib.patheffects import withStroke

    ax.annotate(
        name,
        (at[0], at[1]),
        ha="center",
        va="center",
        fontsize=12,
        fontweight="bold",
        path_effects=[withStroke(linewidth=3, foreground="white")],
        zorder=5,
    )


def add_legend(ax: Axes, handles: Sequence[Any]) -> None:
    """Add a legend beside the axes, where it hides no points, if the classes are few."""
    if len(handles) <= _LEGEND:
        ax.legend(
            handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handlelength=1.0
        )


def axis_names(X: Any, model: Any = None) -> list[str]:
    """Return the names of the two features: those of X or of the model, if known."""
    known = getattr(X, "columns", None)
    known = getattr(model, "feature_names_in_", None) if known is None else known
    return ["feature 1", "feature 2"] if known is None else [str(name) for name in known]

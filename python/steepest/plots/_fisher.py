"""Fisher's discriminant of two classes in a plane, beside the difference of their means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_host

from ._samples import axis_names, scatter_classes
from ._style import colours, make_panels, marker, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase


_NAME = "fisher_discriminant"
_HISTOGRAM = 0.35  # height of the histograms, of the samples' extent
_GAP = 0.06  # between samples and projection, and around both, of the same
_SINGULAR = 1e12  # condition number of correlations that are taken as singular
_INK = "#222222"
_TITLES = (
    r"difference of the means, $\mu_1-\mu_0$",
    r"Fisher's discriminant, $W^{-1}(\mu_1-\mu_0)$",
)


class _Projection(NamedTuple):
    """Two classes on a line; points of the plane are ``t * direction + s * normal``."""

    direction: Array  # of unit length
    normal: Array  # the same, from the samples to where their projection is drawn
    projected: tuple[Array, Array]  # of each class
    edges: Array  # of the bins
    cloud: tuple[float, float]  # the samples' extent along the normal
    base: float  # where the projection is drawn, along the normal
    heights: tuple[Array, Array]  # of the histograms

    def at(self, t: Any, s: Any) -> Array:
        """Return points of the plane as rows."""
        t, s = np.broadcast_arrays(t, s)
        points: Array = np.multiply.outer(t, self.direction) + np.multiply.outer(s, self.normal)
        return points


def fisher_discriminant(
    X: Any,
    y: Any,
    *,
    figure: FigureBase | None = None,
    labels: Sequence[str] | None = None,
    bins: int = 20,
) -> Array:
    """Draw two classes in a plane, projected on the line through their means and on Fisher's discriminant.

    The line through the means, on the left, only parts the means. Fisher's, on the right, is W⁻¹(μ₁ − μ₀), with the
    covariance W within classes: the axis of `LinearDiscriminantAnalysis`. The projections stand beside the samples as
    histograms, in shares of each class. A dashed line goes through the middle between the means, at right angles to the
    projection.

    The titles say Fisher's criterion J = (m₁ − m₀)² / s², with the means of the projected classes and the variance
    within them (pooled: both classes' squares, divided by the number of samples), and the share of samples that lie on
    the wrong side of the dashed line. No direction has a larger J than the right one.

    Parameters
    ----------
    X : array-like of shape (n, 2)
        Samples. Lengths and angles are those of the plane: features in different units should be standardised.
    y : array-like of shape (n,)
        Their classes: two.
    figure : Figure, SubFigure or None, default=None
        Where to add the panels.
    labels : sequence of str or None, default=None
        Names of the classes, in their sorted order.
    bins : int, default=20
        Bins of each histogram.

    Returns
    -------
    ndarray of shape (2,)
        The axes.

    Raises
    ------
    ImportError
        Where Matplotlib is not installed.
    ValueError
        Where X does not have two finite columns, y not two classes, their means are equal, the covariance within them
        is singular, or there are not as many labels as classes.

    References
    ----------
    R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7, 1936.

    C. M. Bishop, "Pattern recognition and machine learning", §4.1.4, 2006.
    """
    points = np.asarray(to_host(X), dtype=np.float64)
    y = np.asarray(to_host(y))
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"[{_NAME}] X has shape {points.shape}, but the plane has two features")
    if y.shape != (len(points),):
        raise ValueError(f"[{_NAME}] y has shape {y.shape}, but X has {len(points)} samples")
    for row, column in np.argwhere(~np.isfinite(points))[:1]:
        raise ValueError(f"[{_NAME}] X is {points[row, column]} at row {row}, column {column}")
    classes = np.unique(y)
    if len(classes) != 2:
        raise ValueError(f"[{_NAME}] y has {len(classes)} classes, but two are needed")
    if labels is not None and len(labels) != 2:
        raise ValueError(f"[{_NAME}] there are {len(labels)} labels for 2 classes")
    if bins < 1:
        raise ValueError(f"[{_NAME}] bins must be at least 1, got {bins}")
    parts = points[y == classes[0]], points[y == classes[1]]
    lines = [_project(parts, direction, bins) for direction in _directions(parts)]
    low, high = _extent(points, lines)
    # Wide enough for the titles, and as high as the plane then is, with an inch for what is written.
    slope = float((high[1] - low[1]) / (high[0] - low[0]))
    panels = make_panels(figure, 2, (4.6, 1.0 + 3.6 * min(max(slope, 0.6), 1.6)))
    first, second = axis_names(X)
    shown = names(classes) if labels is None else labels
    for panel, line, title in zip(panels, lines, _TITLES, strict=True):
        scatter_classes(panel, points, y, classes, shown)
        _draw(panel, line, [part.mean(axis=0) for part in parts])
        criterion, wrong = _merit(line.projected)
        panel.set_title(f"{title}\nJ = {criterion:.3g}, {wrong:.1%} on the wrong side", fontsize="medium")
        panel.set(xlabel=first, ylabel=second)
        # The same part of the plane in both, where right angles look right.
        panel.update_datalim([low, high])
        panel.margins(0)
        panel.set_aspect("equal", adjustable="datalim")
    panels[0].get_legend().remove()
    return panels


def _directions(parts: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the difference of the class means, and Fisher's discriminant."""
    means = [part.mean(axis=0) for part in parts]
    difference = means[1] - means[0]
    if not difference.any():
        raise ValueError(f"[{_NAME}] the class means are equal: no direction parts them")
    centred = np.concatenate([part - mean for part, mean in zip(parts, means, strict=True)])
    deviations = np.sqrt(np.mean(centred**2, axis=0))
    if deviations.all():
        standardised = centred / deviations
        correlations = standardised.T @ standardised / len(centred)
        if np.linalg.cond(correlations) < _SINGULAR:
            return difference, np.linalg.solve(correlations, difference / deviations) / deviations
    raise ValueError(f"[{_NAME}] the covariance within classes is singular")


def _project(parts: tuple[Array, Array], direction: Array, bins: int) -> _Projection:
    direction = direction / np.linalg.norm(direction)
    # Below the samples, or on their right.
    normal = np.array([direction[1], -direction[0]])
    if normal[1] > 0 or (normal[1] == 0 and normal[0] < 0):
        normal = -normal
    points = np.concatenate(parts)
    across = points @ normal
    extent = float(np.ptp(points, axis=0).max())
    projected = parts[0] @ direction, parts[1] @ direction
    edges = np.histogram_bin_edges(np.concatenate(projected), bins)
    shares = [np.histogram(t, edges)[0] / len(t) for t in projected]
    scale = _HISTOGRAM * extent / max(share.max() for share in shares)
    return _Projection(
        direction,
        normal,
        projected,
        edges,
        (float(across.min()), float(across.max())),
        float(across.max()) + _GAP * extent,
        (scale * shares[0], scale * shares[1]),
    )


def _merit(projected: tuple[Array, Array]) -> tuple[float, float]:
    """Return Fisher's criterion, and the share of samples on the wrong side of the middle between the means."""
    means = [float(t.mean()) for t in projected]
    squares = sum(float(np.sum((t - mean) ** 2)) for t, mean in zip(projected, means, strict=True))
    n = sum(map(len, projected))
    middle = sum(means) / 2
    wrong = int((projected[0] > middle).sum() + (projected[1] < middle).sum())
    return (means[1] - means[0]) ** 2 / (squares / n), wrong / n


def _outline(line: _Projection, heights: Array) -> Array:
    """Return the corners of a histogram."""
    steps = np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
    return line.at(np.repeat(line.edges, 2), line.base + steps)


def _threshold(line: _Projection) -> Array:
    """Return the ends of the line between the classes, through samples and histograms."""
    middle = sum(float(t.mean()) for t in line.projected) / 2
    tallest = max(heights.max() for heights in line.heights)
    return line.at(middle, [line.cloud[0], line.base + tallest])


def _extent(points: Array, lines: Sequence[_Projection]) -> tuple[Array, Array]:
    """Return the corners of a plane in which everything has room."""
    drawn = [_outline(line, heights) for line in lines for heights in line.heights]
    every = np.concatenate([points, *drawn, *map(_threshold, lines)])
    low, high = every.min(axis=0), every.max(axis=0)
    margin = _GAP / 2 * (high - low)
    return low - margin, high + margin


def _draw(ax: Axes, line: _Projection, means: Sequence[Array]) -> None:
    """Draw the axis of the projection, its histograms, the means, and the line between the classes."""
    from matplotlib.patches import Polygon

    for i, (mean, colour) in enumerate(zip(means, colours(2), strict=True)):
        ax.add_patch(Polygon(_outline(line, line.heights[i]), facecolor=(*colour, 0.45), edgecolor=colour))
        foot = line.at(mean @ line.direction, line.base)
        ax.plot(*np.stack([mean, foot]).T, color=_INK, linewidth=1)
        ax.plot(*mean, marker(i), color=colour, markeredgecolor=_INK, markeredgewidth=1.5, markersize=10)
    ax.plot(*line.at(line.edges[[0, -1]], line.base).T, color=_INK, linewidth=1.5)
    ax.plot(*_threshold(line).T, "--", color=_INK, linewidth=1)

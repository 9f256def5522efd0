"""Plot of Fisher's linear discriminant of two classes, compared with the difference of their means."""

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
_HISTOGRAM = 0.35  # height of the histograms, as a fraction of the samples' extent
_GAP = 0.06  # gap between samples and projection, and around both, as a fraction of the samples' extent
_SINGULAR = 1e12  # condition number from which a correlation matrix counts as singular
_INK = "#222222"
_TITLES = (
    r"difference of the means, $\mu_1-\mu_0$",
    r"Fisher's discriminant, $W^{-1}(\mu_1-\mu_0)$",
)


class _Projection(NamedTuple):
    """Projection of two classes on a line; points of the plane are ``t * direction + s * normal``."""

    direction: Array  # unit vector along the line
    normal: Array  # unit vector from the samples to the drawn projection
    projected: tuple[Array, Array]  # coordinates t of the samples of each class
    edges: Array  # edges of the bins
    cloud: tuple[float, float]  # smallest and largest coordinate s of the samples
    base: float  # coordinate s of the drawn projection
    heights: tuple[Array, Array]  # heights of the histogram of each class

    def at(self, t: Any, s: Any) -> Array:
        """Return the points with coordinates t and s as rows."""
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

    The left panel projects on the line through the means, which ignores the covariance. The right panel projects on
    Fisher's discriminant W⁻¹(μ₁ − μ₀), with the covariance W within classes: the axis of `LinearDiscriminantAnalysis`.
    Histograms beside the samples show the projections, normalised for each class. A dashed line goes through the
    midpoint of the means, perpendicular to the direction of projection.

    The titles show Fisher's criterion J = (m₁ − m₀)² / s² and the proportion of samples on the wrong side of the dashed
    line. m₀ and m₁ are the means of the projected classes; s² is their pooled variance, the sum of both classes'
    squared deviations divided by the number of samples. Fisher's discriminant has the largest J of all directions.

    Parameters
    ----------
    X : array-like of shape (n, 2)
        Samples. Standardise features in different units, since both axes of the plot have the same scale.
    y : array-like of shape (n,)
        Classes of the samples, exactly two.
    figure : Figure, SubFigure or None, default=None
        Figure to add the panels to; None for a new one.
    labels : sequence of str or None, default=None
        Names of the classes, in sorted order of the classes.
    bins : int, default=20
        Number of bins of each histogram.

    Returns
    -------
    ndarray of shape (2,)
        The axes.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If X does not have two finite columns, y does not have two classes, the class means are equal, the covariance
        within classes is singular, or there are not two labels.

    References
    ----------
    R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7, 1936.

    C. M. Bishop, "Pattern recognition and machine learning", §4.1.4, 2006.
    """
    points = np.asarray(to_host(X), dtype=np.float64)
    y = np.asarray(to_host(y))
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"[{_NAME}] X must have two columns, got shape {points.shape}")
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
    # Panels are 4.6 inches wide, for the titles. Their height follows the plane, with an inch for labels and title.
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
        # Both panels show the same part of the plane, with equal scales so that right angles look right.
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
        raise ValueError(f"[{_NAME}] the class means are equal: no direction separates them")
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
    # The normal points downwards, or to the right, so that the projection is below the samples or on their right.
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
    """Return Fisher's criterion, and the proportion of samples on the wrong side of the midpoint of the means."""
    means = [float(t.mean()) for t in projected]
    squares = sum(float(np.sum((t - mean) ** 2)) for t, mean in zip(projected, means, strict=True))
    n = sum(map(len, projected))
    middle = sum(means) / 2
    wrong = int((projected[0] > middle).sum() + (projected[1] < middle).sum())
    return (means[1] - means[0]) ** 2 / (squares / n), wrong / n


def _outline(line: _Projection, heights: Array) -> Array:
    """Return the corners of a histogram as points of the plane."""
    steps = np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
    return line.at(np.repeat(line.edges, 2), line.base + steps)


def _threshold(line: _Projection) -> Array:
    """Return the ends of the dashed line between the classes, which crosses samples and histograms."""
    middle = sum(float(t.mean()) for t in line.projected) / 2
    tallest = max(heights.max() for heights in line.heights)
    return line.at(middle, [line.cloud[0], line.base + tallest])


def _extent(points: Array, lines: Sequence[_Projection]) -> tuple[Array, Array]:
    """Return the lower left and upper right corner of a rectangle that contains all drawn points, with a margin."""
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

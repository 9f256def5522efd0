"""Axes, colours and markers that the plots share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steepest._runtime.arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase


# The palette of Okabe and Ito (2008), starting with the colours that differ most.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#444444")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
POSITIVE, NEGATIVE = "#0072B2", "#D55E00"

MISSING = "plots need Matplotlib: pip install matplotlib"


def make_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return `ax`, or the axes of a new figure of this size in inches.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    """
    return make_panels(None, 1, size)[0] if ax is None else ax


def make_panels(figure: FigureBase | None, n: int, size: tuple[float, float]) -> Array:
    """Return n axes in a row of the figure, or of a new figure with panels of this size in inches.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    """
    try:
        from ._picture import Picture, PictureAxes
    except ImportError as error:
        raise ImportError(MISSING) from error
    width, height = size
    if figure is None:
        figure = Picture(figsize=(n * width, height), layout="constrained")
    panels: Array = figure.subplots(1, n, squeeze=False, subplot_kw={"axes_class": PictureAxes})[0]
    return panels


def colours(n: int) -> Array:
    """Return n colours of the palette, which repeats, as rows of red, green and blue in [0, 1]."""
    from matplotlib.colors import to_rgb

    return np.array([to_rgb(COLOURS[i % len(COLOURS)]) for i in range(n)])


def marker(i: int) -> str:
    """Return the marker of class i; markers repeat after 10 classes, colours after 8, so that pairs differ longer."""
    return MARKERS[i % len(MARKERS)]


def names(values: Any) -> list[str]:
    """Return the names of classes as text."""
    return [f"{value:g}" if isinstance(value, float) else str(value) for value in np.asarray(values).tolist()]

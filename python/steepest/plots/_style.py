"""Axes, colours and markers that the plots share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steepest._runtime.arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase


# Okabe and Ito's palette, the ones that differ most first.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#444444")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
POSITIVE, NEGATIVE = "#0072B2", "#D55E00"

MISSING = "plots need Matplotlib: pip install matplotlib"


def make_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the axes, or those of a new figure of this size in inches.

    Raises
    ------
    ImportError
        Where Matplotlib is not installed.
    """
    return make_panels(None, 1, size)[0] if ax is None else ax


def make_panels(figure: FigureBase | None, n: int, size: tuple[float, float]) -> Array:
    """Return n axes in a row of the figure, or of a new one in which each has this size in inches.

    Raises
    ------
    ImportError
        Where Matplotlib is not installed.
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
    """Return n colours as rows of red, green and blue, the palette again and again."""
    from matplotlib.colors import to_rgb

    return np.array([to_rgb(COLOURS[i % len(COLOURS)]) for i in range(n)])


def marker(i: int) -> str:
    """Return the marker of class i; colours and markers repeat after different numbers of classes."""
    return MARKERS[i % len(MARKERS)]


def names(values: Any) -> list[str]:
    """Return what to call classes."""
    return [f"{value:g}" if isinstance(value, float) else str(value) for value in np.asarray(values).tolist()]

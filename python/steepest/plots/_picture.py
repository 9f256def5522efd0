"""A Matplotlib figure and axes that notebooks display without pyplot."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def png_of(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    written = BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()


class Picture(Figure):
    """Figure without pyplot; IPython displays it by `_repr_png_` as the result of a cell."""

    _repr_png_ = png_of


class PictureAxes(Axes):
    """Axes that notebooks display with their whole figure."""

    def _repr_png_(self) -> bytes:
        whole: Any = self.get_figure(root=True)
        return png_of(whole)

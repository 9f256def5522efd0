"""A figure of Matplotlib's, and axes, that notebooks show as a picture; for those of pyplot's alone it sees to that."""

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
    """A figure without pyplot. IPython calls `_repr_png_` of what the last line of a cell gives."""

    _repr_png_ = png_of


class PictureAxes(Axes):
    """Axes in a picture, shown with all that is beside them."""

    def _repr_png_(self) -> bytes:
        whole: Any = self.get_figure(root=True)
        return png_of(whole)

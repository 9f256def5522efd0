"""Plot of learning curves: losses and scores against the epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._style import COLOURS, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CURVES = {"loss_curve_": "training loss", "validation_loss_curve_": "validation loss"}


def learning_curve(
    source: Any | Mapping[str, Sequence[float]],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    scores: Mapping[str, Sequence[float]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the learning curve of a model: losses, and scores if any, against the epoch.

    Parameters
    ----------
    source : estimator or mapping
        A fitted estimator with `loss_curve_`, or a mapping of names to losses per epoch.
    path : path or None, default=None
        File to save the figure to; its suffix chooses the format. None saves nothing.
    title : str or None, default=None
        Title of the axes.
    scores : mapping or None, default=None
        Scores per epoch by name, drawn as dashed lines with their own scale on the right; by default
        `validation_scores_` of the estimator.
    ax : matplotlib.axes.Axes or None, default=None
        Axes to draw into; None for a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes of the losses.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If there is no loss to draw.
    """
    if isinstance(source, Mapping):
        losses = dict(source)
    else:
        losses = {label: getattr(source, name, None) or [] for name, label in _CURVES.items()}
        if scores is None:
            scores = {"validation score": getattr(source, "validation_scores_", None) or []}
    losses = {label: curve for label, curve in losses.items() if len(curve)}
    scores = {label: curve for label, curve in (scores or {}).items() if len(curve)}
    if not losses:
        raise ValueError(
            "[learning_curve] there is no loss to draw: fit the model first, by a stochastic solver"
        )

    axes = make_axes(ax, (6.0, 4.0))
    from matplotlib.ticker import MaxNLocator

    lines: list[Any] = []
    panels = [(axes, losses, "loss", "-")]
    if scores:
        panels.append((axes.twinx(), scores, "score", "--"))
    for panel, curves, label, style in panels:
        for name, curve in curves.items():
            epochs, few = range(1, len(curve) + 1), len(curve) < 20
            colour = COLOURS[len(lines) % len(COLOURS)]
            lines += panel.plot(epochs, curve, style, label=name, color=colour, marker="o" if few else None)
        panel.set_ylabel(label)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    # The legend belongs to the axes that are drawn last, so that no line covers it. The centre right is usually free,
    # between falling losses and rising scores.
    panel.legend(handles=lines, loc="center right")
    if title is not None:
        axes.set_title(title)
    if path is not None:
        whole: Any = axes.figure
        whole.figure.savefig(path, dpi=150)  # `.figure` of a subfigure is the whole figure
    return axes

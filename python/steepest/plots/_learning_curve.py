"""Losses and scores against the epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._style import MISSING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURVES = {"loss_curve_": "training loss", "validation_loss_curve_": "validation loss"}


def learning_curve(
    source: Any | Mapping[str, Sequence[float]],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    scores: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Draw the loss, and scores if any, against the epoch.

    Parameters
    ----------
    source : estimator or mapping
        A fitted estimator with `loss_curve_`, or losses per epoch by name.
    path : path or None, default=None
        Where to save the figure; its suffix chooses the format.
    title : str or None, default=None
        Title of the figure.
    scores : mapping or None, default=None
        Scores per epoch by name, on an axis of their own; by default `validation_scores_` of the estimator.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ImportError
        Where Matplotlib is not installed.
    ValueError
        Where there is nothing to draw.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise ImportError(MISSING) from error

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

    figure = Figure(figsize=(9.0 if scores else 5.5, 4.0), layout="constrained")
    panels = figure.subplots(1, 2 if scores else 1, squeeze=False)[0]
    for axes, curves, label in zip(panels, (losses, scores), ("loss", "score"), strict=False):
        for name, curve in curves.items():
            axes.plot(range(1, len(curve) + 1), curve, label=name, marker="o" if len(curve) < 20 else None)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    if title is not None:
        figure.suptitle(title)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure

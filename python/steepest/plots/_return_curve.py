"""Plot of what an agent gains while it learns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._style import COLOURS, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def return_curve(
    source: Any | Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
    *,
    best: float | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean return of the last 100 episodes against the steps that an agent has learned from.

    Parameters
    ----------
    source : agent, or mapping of str to agent or sequence of agents
        Agents of `steepest.reinforcement` that have learned. Agents of one name, as of several seeds, share a colour.
    path : path or None, default=None
        File to save the figure to; its suffix chooses the format. None saves nothing.
    best : float or None, default=None
        Largest return that there is, drawn as a line.
    title : str or None, default=None
        Title of the axes.
    ax : matplotlib.axes.Axes or None, default=None
        Axes to draw into; None for a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If an agent has not learned.
    """
    groups = dict(source) if isinstance(source, Mapping) else {type(source).__name__: source}
    agents = {
        name: list(group) if isinstance(group, (list, tuple)) else [group] for name, group in groups.items()
    }
    if not agents or any(
        not getattr(agent, "history_", None) for group in agents.values() for agent in group
    ):
        raise ValueError("[return_curve] there is nothing to draw: call the agent's learn first")
    axes = make_axes(ax, (6.0, 4.0))
    if best is not None:
        axes.axhline(best, color="0.6", linewidth=1, zorder=0)
    for i, (name, group) in enumerate(agents.items()):
        for j, agent in enumerate(group):
            history = agent.history_
            axes.plot(
                history["steps"],
                history["mean_return"],
                color=COLOURS[i % len(COLOURS)],
                alpha=1.0 if len(group) == 1 else 0.7,
                label=name if j == 0 else None,
            )
    axes.set_xlabel("steps")
    axes.set_ylabel("mean return of the last 100 episodes")
    axes.grid(alpha=0.3)
    if isinstance(source, Mapping):
        axes.legend(loc="best")
    if title is not None:
        axes.set_title(title)
    if path is not None:
        whole: Any = axes.figure
        whole.figure.savefig(path, dpi=150)  # `.figure` of a subfigure is the whole figure
    return axes

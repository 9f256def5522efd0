"""Diagram of a network: units as circles, weights as lines."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from steepest import nn
from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_host

from ._models import find_network
from ._program import draw_program
from ._style import NEGATIVE, POSITIVE, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_WIDEST = 3.0  # line width of the largest weight, in points
_FAINT = 0.02  # weights below this fraction of the largest weight are not drawn


class _Column(NamedTuple):
    """Drawn units of a layer: their indices, their heights in the plot, and the label below them."""

    units: Array
    heights: Array
    gap: float | None  # height of the gap, if some units are not drawn
    label: str


def network_topology(model: Any, *, ax: Axes | None = None, max_units: int = 12) -> Axes:
    """Draw the units of a network as circles and its weights as lines, or the operations of a network that is no chain.

    A chain of linear layers and activations is drawn with its units. Any other network is drawn as its program: a box
    for each operation, with the shape of a sample of its output, from the inputs on the left to the outputs.

    Width and darkness of a line are proportional to the weight, relative to the largest weight between the same two
    layers. Positive weights are blue, negative ones orange. A wide layer shows its first and last units only.

    Parameters
    ----------
    model : Network or fitted estimator
        The network, or an estimator with a network.
    ax : Axes or None, default=None
        Axes to draw into; None for a new figure.
    max_units : int, default=12
        Largest number of units to draw for a layer, at least 2.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError, ValueError
        If the model has no weights, or `max_units` is below 2.
    """
    if max_units < 2:
        raise ValueError(f"[network_topology] max_units must be at least 2, got {max_units}")
    network = find_network(model)
    if network is not None and not _is_drawn_by_units(network):
        return draw_program(network._main.training, ax)
    weights, labels = _weights_and_labels(model)
    sizes = [len(weights[0]), *(w.shape[1] for w in weights)]
    tallest = min(max(sizes), max_units)
    columns = [
        _column(size, max_units, 1.0 / max(tallest - 1, 4), label)
        for size, label in zip(sizes, labels, strict=True)
    ]
    ax = make_axes(ax, (1.6 * len(columns) + 1.0, 4.2))
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    for x, ((left, right), w) in enumerate(zip(pairwise(columns), weights, strict=True)):
        shown = w[np.ix_(left.units, right.units)]
        scale = float(np.abs(w).max()) or 1.0
        share = shown.ravel() / scale
        # The largest weights are drawn last, on top of the others.
        order = [int(i) for i in np.abs(share).argsort() if abs(share[i]) >= _FAINT]
        i, j = np.unravel_index(order, shown.shape)
        ends = [
            [(float(x), float(left.heights[a])), (x + 1.0, float(right.heights[b]))]
            for a, b in zip(i, j, strict=True)
        ]
        strength = np.abs(share[order])
        drawn = [
            to_rgba(POSITIVE if share[k] > 0 else NEGATIVE, alpha=0.15 + 0.75 * float(s))
            for k, s in zip(order, strength, strict=True)
        ]
        ax.add_collection(
            LineCollection(ends, colors=drawn, linewidths=(0.2 + _WIDEST * strength).tolist(), zorder=1)
        )
    _draw_units(ax, columns)
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, linewidth=_WIDEST, label=name)
        for colour, name in ((POSITIVE, "positive weight"), (NEGATIVE, "negative weight"))
    ]
    ax.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=8
    )
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.75, 0.6))
    ax.set_axis_off()
    return ax


def _draw_units(ax: Axes, columns: list[_Column]) -> None:
    # Diameter of the circles in points: they do not touch, since the units of the tallest column share about 3 inches.
    tallest = max(len(column.heights) for column in columns)
    size = min(16.0, 130.0 / tallest)
    for x, column in enumerate(columns):
        at = [x] * len(column.heights)
        ax.plot(at, column.heights, "o", markersize=size, color="white", markeredgecolor="#444444", zorder=2)
        if column.gap is not None:
            ax.text(x, column.gap, "⋮", ha="center", va="center", fontsize=16, color="#444444", zorder=3)
        ax.text(x, -0.56, column.label, ha="center", va="top", fontsize=9)


def _column(size: int, max_units: int, spacing: float, label: str) -> _Column:
    if size <= max_units:
        units, slots = np.arange(size), np.arange(size, dtype=np.float64)
        gap = None
    else:
        first = max_units // 2
        last = max_units - first - 1
        units = np.concatenate([np.arange(first), np.arange(size - last, size)])
        slots = np.concatenate([np.arange(first), np.arange(first + 1, max_units)]).astype(np.float64)
        gap = float(first)
    middle = (min(size, max_units) - 1) / 2
    # Units are numbered from the top down.
    heights = (middle - slots) * spacing
    return _Column(units, heights, None if gap is None else (middle - gap) * spacing, label)


def _is_drawn_by_units(network: nn.Network) -> bool:
    """Return whether a network is a chain of layers that keep or change the number of units."""
    by_units = nn.Linear | nn.Activation | nn.PReLU | nn.Softmax | nn.Dropout
    return network._is_sequence and all(isinstance(layer, by_units) for layer in network.layers)


def _weights_and_labels(model: Any) -> tuple[list[Array], list[str]]:
    """Return the weights between layers, and the label of each layer of units."""
    network = find_network(model)
    if network is None:
        if not hasattr(model, "coefs_"):
            raise TypeError(
                f"[network_topology] an object of type {type(model).__name__} has no network, or is not fitted"
            )
        weights = [np.asarray(to_host(w), dtype=np.float64) for w in model.coefs_]
        sizes = [len(weights[0]), *(w.shape[1] for w in weights)]
        return weights, [str(size) for size in sizes]
    values = {p.name: to_host(p.value).astype(np.float64) for p in network.parameters()}
    weights = []
    labels: list[str] = []
    for i, layer in enumerate(network.layers):
        if isinstance(layer, nn.Linear):
            tied_to = layer.tied_to
            weights.append(values[f"{i}.weight"] if tied_to is None else values[f"{tied_to}.weight"].T)
            if not labels:
                labels.append(f"{layer.n_in}\ninputs")
            labels.append(str(layer.n_out))
        elif labels and isinstance(layer, nn.Activation) and layer.name != "identity":
            labels[-1] += f"\n{layer.name}"
    if not weights:
        raise ValueError("[network_topology] the network has no linear layer")
    output = getattr(model, "out_activation_", "identity")
    if "\n" not in labels[-1] and output != "identity":
        labels[-1] += f"\n{output}"
    return weights, labels

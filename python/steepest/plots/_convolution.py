"""Plots of convolutional networks: the filters of a layer, and what it makes of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steepest import nn
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_host
from steepest.nn.ops.convolution import ConvolutionOperation, TransposedConvolutionOperation
from steepest.nn.program import Node

from ._models import as_batch, network_of
from ._mosaic import AMOUNTS, WEIGHTS, mosaic_of
from ._style import make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TICKS = 16
_WIDEST, _HIGHEST = 7.5, 6.5  # inches of a mosaic in a new figure


def filters(
    model: Any,
    layer: int | str | None = None,
    *,
    ax: Axes | None = None,
    n_filters: int = 32,
    n_channels: int = 16,
    columns: int = 8,
) -> Axes:
    """Draw the filters of a convolution, its weights, as images: the patterns that its outputs respond to.

    Filters of one input channel are images side by side. Filters of several have a column each, with an image for each
    input channel. Filters of sequences are images of one row. A transposed convolution has a filter for each input
    channel, the pattern that this channel adds to the output, with an image for each output channel.

    Parameters
    ----------
    model : Network or fitted estimator
        The network, or an estimator with a network.
    layer : int, str or None, default=None
        Position of the convolution in the network, or place within another layer, such as ``"2.0"``; None for the first
        convolution.
    ax : Axes or None, default=None
        Axes to draw into; None for a new figure.
    n_filters, n_channels : int, default=32 and 16
        Largest numbers of filters, and of channels of each, to show; the first ones are shown.
    columns : int, default=8
        Number of images in a row, for filters of one channel.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. All images share one colour scale, symmetric about zero.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        If the model has no network, or is not fitted.
    ValueError
        If the network has no convolution, or none at `layer`, or a number is below 1.

    See Also
    --------
    weight_images : The same of the units of a linear layer.
    """
    n_filters, n_channels, columns = (
        checked_integer("filters", name, number, 1)
        for name, number in (("n_filters", n_filters), ("n_channels", n_channels), ("columns", columns))
    )
    network = network_of("filters", model)
    node = _convolution(network, layer)
    weight = to_host(node.parameters["weight"].of(network._values)).astype(np.float64)
    is_sequence = weight.ndim == 3
    if is_sequence:
        weight = weight[None]  # a sequence is an image of one row
    height, width, total_channels, total = weight.shape
    shown = weight[:, :, :n_channels, :n_filters].transpose(2, 3, 0, 1)
    channels, n = shown.shape[:2]
    is_grid = total_channels > 1
    across = n if is_grid else min(columns, n)
    mosaic = mosaic_of(shown.reshape(channels * n, -1), (height, width), across, "filters")
    limit = float(np.abs(shown).max()) or 1.0
    ax = _draw(ax, mosaic, (height, width), 0.6, is_sequence, "weight", cmap=WEIGHTS, vmin=-limit, vmax=limit)
    _frame(ax, n * channels, (height, width), across)
    if is_grid:
        is_transposed = isinstance(node.operation, TransposedConvolutionOperation)
        ax.set(
            xlabel="input channel" if is_transposed else "filter",
            ylabel="output channel" if is_transposed else "input channel",
        )
        ax.set_xticks(*_ticks(n, width))
        ax.set_yticks(*_ticks(channels, height))
    size = f"{width} taps" if is_sequence else f"{height} × {width}"
    ax.set_title(f"{_named(network, node)}: {_count(n, total, 'filter')} of {size}", fontsize="medium")
    return ax


def feature_maps(
    model: Any,
    image: Any,
    layer: int | None = None,
    *,
    ax: Axes | None = None,
    n_maps: int = 32,
    columns: int = 8,
) -> Axes:
    """Draw the output of a layer for one image, channel by channel: where the layer finds its patterns.

    Parameters
    ----------
    model : Network or fitted estimator
        A chain of layers, or an estimator with one.
    image : array-like of shape (height, width, channels), (height, width) or (n_pixels,)
        The image, as the network takes it or with as many numbers.
    layer : int or None, default=None
        Position in the network of the layer whose output to draw; None for the first convolution, with the activation
        behind it if there is one.
    ax : Axes or None, default=None
        Axes to draw into; None for a new figure.
    n_maps : int, default=32
        Largest number of channels to show; the first ones are shown.
    columns : int, default=8
        Number of images in a row.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. All maps share one colour scale, which is symmetric about zero if numbers are negative.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        If the model has no network, or is not fitted.
    ValueError
        If the network is no chain or has no convolution, the image does not fit it, the layer's output is no image, or
        a number is out of range.

    References
    ----------
    M. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", 2014.
    """
    n_maps, columns = (
        checked_integer("feature_maps", name, number, 1)
        for name, number in (("n_maps", n_maps), ("columns", columns))
    )
    network = network_of("feature_maps", model)
    batch = as_batch("feature_maps", model, network, np.asarray(to_host(image))[None])
    if layer is None:
        at = int(_convolution(network, None, "feature_maps").path.partition(".")[0])
        follower = network.layers[at + 1 : at + 2]
        at += bool(follower) and isinstance(follower[0], nn.Activation)
    else:
        n = len(network.layers)
        at = checked_integer("feature_maps", "layer", layer, -n, n - 1) % n
    if not network._is_sequence:
        raise ValueError("[feature_maps] the network must be a chain of layers")
    output = to_host(network.predict(batch, layers=slice(at + 1)))[0].astype(np.float64)
    is_sequence = output.ndim == 2
    if is_sequence:
        output = output[None]
    if output.ndim != 3:
        raise ValueError(
            f"[feature_maps] layer {at}, {type(network.layers[at]).__name__}, gives samples of shape {output.shape}, "
            "not images (height, width, channels)"
        )
    height, width, total = output.shape
    rows = output.reshape(height * width, total).T[:n_maps]
    across = 1 if is_sequence else min(columns, len(rows))
    mosaic = mosaic_of(rows, (height, width), across, "feature_maps")
    largest = float(np.abs(rows).max()) or 1.0
    has_signs = bool((rows < 0).any())
    look = {"cmap": WEIGHTS, "vmin": -largest} if has_signs else {"cmap": AMOUNTS, "vmin": 0.0}
    ax = _draw(ax, mosaic, (height, width), 1.0, is_sequence, "output", vmax=largest, **look)
    _frame(ax, len(rows), (height, width), across)
    size = f"{width} places" if is_sequence else f"{height} × {width}"
    name = type(network.layers[at]).__name__
    ax.set_title(f"layer {at}, {name}: {_count(len(rows), total, 'map')} of {size}", fontsize="medium")
    return ax


def _convolution(network: nn.Network, layer: int | str | None, name: str = "filters") -> Node:
    """Return the convolution at a place of a network, or the first one."""
    kinds = ConvolutionOperation | TransposedConvolutionOperation
    found = {node.path: node for node in network._main.training.nodes if isinstance(node.operation, kinds)}
    if not found:
        raise ValueError(f"[{name}] the network has no convolution")
    if layer is None:
        return next(iter(found.values()))
    if str(layer) not in found:
        raise ValueError(f"[{name}] there is no convolution at {layer!r}, but at: {', '.join(found)}")
    return found[str(layer)]


def _named(network: nn.Network, node: Node) -> str:
    """Return the place and the kind of a convolution."""
    kind = (
        "transposed convolution"
        if isinstance(node.operation, TransposedConvolutionOperation)
        else "convolution"
    )
    return f"layer {node.path}, {kind}"


def _count(shown: int, total: int, what: str) -> str:
    """Return how many filters or maps there are, and how many of them are shown."""
    number = str(total) if shown == total else f"{shown} of {total}"
    return f"{number} {what}" + "s" * (total > 1)


def _draw(
    ax: Axes | None,
    mosaic: Array,
    size: tuple[int, int],
    inches: float,
    is_sequence: bool,
    label: str,
    **scale: Any,
) -> Axes:
    """Draw a mosaic of images of a size, each of about so many inches in a new figure, and its colour scale."""
    lines, columns = mosaic.shape
    inch = min(inches / max(size), _WIDEST / columns, _HIGHEST / lines)  # of a pixel
    # Sequences are higher than their pixels are wide, so that they can be told apart.
    high = max(0.15 * (lines + 1) if is_sequence else inch * lines, 1.0)
    ax = make_axes(ax, (max(inch * columns, 2.8) + 1.4, high + 0.9))
    drawn = ax.imshow(mosaic, aspect="auto" if is_sequence else "equal", interpolation="nearest", **scale)
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8, label=label)
    return ax


def _ticks(n: int, size: int) -> tuple[list[float], list[str]]:
    """Return the middles of images in a row or column, and their numbers; every second one, … if there are many."""
    step = -(-n // _MOST_TICKS)
    numbers = range(0, n, step)
    return [i * (size + 1) + (size - 1) / 2 for i in numbers], [str(i) for i in numbers]


def _frame(ax: Axes, n: int, size: tuple[int, int], across: int) -> None:
    """Frame each image of a mosaic, whose edges may be white, instead of the axes."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    height, width = size
    corners = [((width + 1) * (i % across) - 0.5, (height + 1) * (i // across) - 0.5) for i in range(n)]
    frames = PatchCollection(
        [Rectangle(corner, width, height) for corner in corners],
        facecolor="none",
        edgecolor="#888888",
        linewidth=0.6,
        clip_on=False,
    )
    ax.add_collection(frames, autolim=False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)

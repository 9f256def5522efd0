"""Layers of a convolutional network from its blocks, and the named architectures."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias, cast, get_args

from steepest import nn
from steepest.estimators.data import is_size
from steepest.nn.layers import Layer

from ._architecture import dropout_rates, hidden_sizes, initializer, make_activation
from ._parameters import ConvolutionalParameters, prefixed

ImageShape: TypeAlias = tuple[int, int, int]

# kept by hand: type checkers take names from the source
ArchitectureName: TypeAlias = Literal["lenet", "small", "resnet8"]

POOLED = 2  # rows and columns of the windows of a "pool" block


class Named(NamedTuple):
    """A named architecture: its blocks for an activation and a number of channels, and the units behind them."""

    blocks: Callable[[nn.Activation, int], list[Any]]
    hidden: tuple[int, ...] = ()


def _lenet(activation: nn.Activation, channels: int) -> list[Any]:
    first = nn.Conv2d(channels, 6, 5, padding=2)
    return [first, activation, "pool", nn.Conv2d(6, 16, 5), activation, "pool"]


def _small(activation: nn.Activation, channels: int) -> list[Any]:
    return [nn.Conv2d(channels, 32, 3), activation, "pool", nn.Conv2d(32, 64, 3), activation, "pool"]


def _resnet8(activation: nn.Activation, channels: int) -> list[Any]:
    def convolution(before: int, after: int, size: int, stride: int = 1) -> nn.Conv2d:
        # The norm behind it has a bias.
        return nn.Conv2d(before, after, size, stride=stride, padding="same", bias=False, init="he_normal")

    blocks: list[Any] = [convolution(channels, 16, 3), nn.BatchNorm(16), activation]
    for before, after in pairwise((16, 16, 32, 64)):
        stride = 1 if before == after else 2
        layers = (
            convolution(before, after, 3, stride),
            nn.BatchNorm(after),
            activation,
            convolution(after, after, 3),
            nn.BatchNorm(after),
        )
        shortcut = None if before == after else convolution(before, after, 1, stride)
        blocks += [nn.Residual(*layers, shortcut=shortcut), activation]
    return [*blocks, nn.GlobalAvgPool2d()]


ARCHITECTURES: dict[str, Named] = {
    "lenet": Named(_lenet, (120, 84)),
    "small": Named(_small),
    "resnet8": Named(_resnet8),
}
assert set(ARCHITECTURES) == set(get_args(ArchitectureName))


class Placed(NamedTuple):
    """A layer and the shape of the features that it takes."""

    layer: Layer
    shape: Any


def placed_layers(model: ConvolutionalParameters, shape: ImageShape) -> tuple[list[Placed], Any]:
    """Return the layers of the blocks with their places, and the shape of the features behind them.

    Parameters
    ----------
    model : ConvolutionalParameters
        The parameters of the estimator.
    shape : (int, int, int)
        Height, width and channels of the images.

    Raises
    ------
    ValueError
        If a block is none, or leaves no pixel; the message names the block and the shape before it.
    """
    activation = make_activation(model, model.activation)
    placed, now = [], cast("Any", shape)
    for number, block in enumerate(_blocks_of(model, activation, shape[-1])):
        for layer in _layers_of(model, number, block, now, activation):
            placed.append(Placed(layer, now))
            now = _shape_behind(model, number, layer, now)
    return placed, now


def feature_layers(placed: list[Placed], shape: ImageShape) -> list[Layer]:
    """Return the layers from flat rows, which are images of a shape, to flat features."""
    return [nn.Reshape(shape), *(layer for layer, _ in placed), nn.Flatten()]


def convolutional_layers(model: ConvolutionalParameters, shape: ImageShape, n_out: int) -> tuple[Layer, ...]:
    """Return the layers of a classifier or regressor, without the activation of the output.

    Raises
    ------
    ValueError
        If a parameter is not valid, or a block leaves no pixel.
    """
    placed, features = placed_layers(model, shape)
    layers, sizes = feature_layers(placed, shape), units_behind(model)
    activation, init = make_activation(model, model.activation), initializer(model)
    rates = dropout_rates(model, len(sizes) + 1, "dense layers")
    for before, after, rate in zip([math.prod(features), *sizes], [*sizes, n_out], rates, strict=True):
        layers += [nn.Dropout(rate)] if rate else []
        layers += [nn.Linear(before, after, init=init), activation]
    return tuple(layers[:-1])


def units_behind(model: ConvolutionalParameters) -> list[int]:
    """Return the numbers of units of the hidden layers behind the blocks."""
    given: Any = model.hidden_layer_sizes
    if not isinstance(given, str):
        return hidden_sizes(model)
    return list(ARCHITECTURES[model.blocks].hidden) if isinstance(model.blocks, str) else []


def _blocks_of(model: ConvolutionalParameters, activation: nn.Activation, channels: int) -> list[Any]:
    given: Any = model.blocks
    if not isinstance(given, str):
        return list(given)
    if given not in ARCHITECTURES:
        raise ValueError(
            prefixed(model, f"blocks must be one of {', '.join(ARCHITECTURES)}, or a list, got {given!r}")
        )
    return ARCHITECTURES[given].blocks(activation, channels)


def _layers_of(
    model: ConvolutionalParameters, number: int, block: Any, shape: Any, activation: nn.Activation
) -> list[Layer]:
    """Return the layers of a block behind features of a shape."""
    if isinstance(block, Layer):
        return [block]
    if isinstance(block, str) and block == "pool":
        return [nn.MaxPool2d(POOLED)]
    numbers = list(block) if isinstance(block, (tuple, list)) else [block]
    if len(numbers) not in (1, 2) or not all(is_size(n) for n in numbers):
        raise ValueError(
            prefixed(
                model,
                f"block {number} must be a number of maps, a pair (maps, kernel_size), 'pool' or a layer of "
                f"steepest.nn, got {block!r}",
            )
        )
    if len(shape) != 3:
        raise ValueError(
            prefixed(
                model, f"block {number}, {block!r}, takes images, but features of shape {shape} come out"
            )
        )
    maps, size = int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 3
    convolution = nn.Conv2d(int(shape[-1]), maps, size, padding="same", init=initializer(model))
    norm = [nn.BatchNorm(maps)] if model.batch_norm else []
    return [convolution, *norm, activation]


def _shape_behind(model: ConvolutionalParameters, number: int, layer: Layer, shape: Any) -> Any:
    """Return the shape of what a layer makes of features of a shape."""
    try:
        after = layer.output_shape(shape)
    except ValueError as error:
        text = str(error)
        text = text if text.startswith("[") else f"{text} of what comes before"
        raise ValueError(
            prefixed(model, f"block {number}, {layer}, {text}, which has shape {shape}")
        ) from error
    if any(size is not None and size < 1 for size in after):
        raise ValueError(
            prefixed(model, f"block {number}, {layer}, leaves nothing of features of shape {shape}")
        )
    return after

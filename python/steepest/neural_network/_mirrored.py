"""The decoder of a convolutional autoencoder: the layers of its encoder in reverse, each undoing a change of shape."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

from steepest import nn
from steepest.nn.layers import Layer

from ._architecture import initializer, make_activation
from ._blocks import ImageShape, Placed, feature_layers, placed_layers, units_behind
from ._parameters import ConvolutionalParameters, prefixed


def encoder_layers(model: ConvolutionalParameters, shape: ImageShape) -> tuple[Layer, ...]:
    """Return the layers from flat rows to the code, the last of the hidden layers.

    Raises
    ------
    ValueError
        If there is no hidden layer, or a parameter is not valid.
    """
    placed, features = placed_layers(model, shape)
    layers = feature_layers(placed, shape)
    sizes = units_behind(model)
    if not sizes:
        raise ValueError(
            prefixed(model, "hidden_layer_sizes must have at least one item, the size of the code")
        )
    return (*layers, *_dense(model, [math.prod(features), *sizes]))


def decoder_layers(model: ConvolutionalParameters, shape: ImageShape) -> tuple[Layer, ...]:
    """Return the layers from the code to flat rows, without the activation of the output.

    Raises
    ------
    ValueError
        If a layer of the encoder has no mirror image.
    """
    placed, features = placed_layers(model, shape)
    activation = make_activation(model, model.activation)
    layers = [
        *_dense(model, [*units_behind(model)[::-1], math.prod(features)]),
        activation,
        nn.Reshape(cast("tuple[int, ...]", features)),
    ]
    normed = False
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer, _ in placed)
    for place in reversed(placed):
        layer = place.layer
        if isinstance(layer, nn.Activation):
            continue
        if isinstance(layer, nn.BatchNorm):
            normed = True
            continue
        layers.append(_mirror(model, place))
        if isinstance(layer, nn.Conv2d):
            convolutions -= 1
            if convolutions:  # the last one makes the output
                layers += [nn.BatchNorm(layer.in_channels)] if normed else []
                layers.append(activation)
            normed = False
    return (*layers, nn.Flatten())


def _dense(model: ConvolutionalParameters, sizes: list[int]) -> list[Layer]:
    """Return dense layers with these numbers of units, and the activation between them."""
    activation, init = make_activation(model, model.activation), initializer(model)
    layers: list[Layer] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after, init=init), activation]
    return layers[:-1]


def _mirror(model: ConvolutionalParameters, place: Placed) -> Layer:
    """Return the layer whose output has the shape of what a layer of the encoder takes."""
    layer, shape = place
    mirror: Layer | None = None
    if type(layer) is nn.Conv2d:
        mirror = nn.ConvTranspose2d(
            layer.out_channels,
            layer.in_channels,
            cast("Any", layer.kernel_size),
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            init=layer.init,
        )
    elif isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
        mirror = nn.Upsample(cast("Any", layer.kernel_size))
    if mirror is None:
        raise ValueError(
            prefixed(
                model,
                f"{layer} has no mirror image for the decoder: take convolutions, pooling and activations",
            )
        )
    made = mirror.output_shape(layer.output_shape(shape))
    if made != shape:
        raise ValueError(
            prefixed(
                model,
                f"{layer} takes images of shape {shape}, but its mirror image in the decoder makes {made}: "
                "choose sizes that strides and windows divide",
            )
        )
    return mirror

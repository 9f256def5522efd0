"""Layers of generative networks: from samples to features, and from codes to samples, dense or convolutional."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from steepest import nn
from steepest.estimators.data import is_size
from steepest.nn.initializers import Initializer
from steepest.nn.layers import Layer

from .._architecture import make_activation
from .._blocks import ImageShape
from .._parameters import prefixed

# kept by hand: type checkers take names from the source
Named: TypeAlias = Literal["auto", "dense", "convolutional"]
NAMES = ("auto", "dense", "convolutional")
DENSE = (128, 128)  # units of the hidden layers of "dense"
_SMALLEST_SIDE = 4  # images are halved as long as they stay at least so large
_LARGE_SIDE = 16  # from which "auto" takes convolutions
_WINDOW = 4  # of convolutions with stride 2, which the stride divides


def layers_to_features(
    model: Any, given: Any, shape: ImageShape | None, n_in: int, n_out: int, name: str
) -> list[Layer]:
    """Return layers from rows of samples to outputs, such as those of an encoder or a discriminator.

    Parameters
    ----------
    model : estimator
        The estimator, with `activation` and `n_maps`.
    given : str, sequence of int or list of layers
        What describes the layers: "auto", "dense", "convolutional", numbers of units, or layers.
    shape : (int, int, int) or None
        Height, width and channels of samples that are images.
    n_in, n_out : int
        Items of a row, and outputs.
    name : str
        Name of the parameter that describes the layers, for messages.

    Raises
    ------
    ValueError
        If the parameter is not valid, or layers have another number of outputs.
    """
    activation = make_activation(model, model.activation)
    before: list[Layer] = [] if shape is None else [nn.Reshape(shape)]
    layers = _own_layers(model, name, given)
    if layers is not None:
        found = [*before, *layers, nn.Flatten()]
        _require_outputs(model, name, found, n_in, n_out)
        return found
    init: Initializer = "he_uniform"
    if not _is_convolutional(model, name, given, shape):
        return _dense([n_in, *_units(model, name, given)], n_out, activation, init)
    assert shape is not None
    channels, found = shape[2], before
    halved = _halved(shape)
    for number, _ in enumerate(halved):
        maps = model.n_maps << number
        found += [nn.Conv2d(channels, maps, _WINDOW, stride=2, padding=1, init=init), activation]
        channels = maps
    last = halved[-1] if halved else shape[:2]
    return [*found, nn.Flatten(), nn.Linear(math.prod(last) * channels, n_out, init="glorot_uniform")]


def layers_to_samples(
    model: Any, given: Any, shape: ImageShape | None, n_in: int, n_out: int, name: str
) -> list[Layer]:
    """Return layers from codes to rows of samples, such as those of a decoder or a generator.

    Parameters are as those of `layers_to_features`, with `n_in` items of a code and `n_out` of a sample.
    """
    activation = make_activation(model, model.activation)
    layers = _own_layers(model, name, given)
    if layers is not None:
        found = [*layers, nn.Flatten()]
        _require_outputs(model, name, found, n_in, n_out)
        return found
    init: Initializer = "he_uniform"
    if not _is_convolutional(model, name, given, shape):
        return _dense([n_in, *_units(model, name, given)], n_out, activation, init)
    assert shape is not None
    halved = _halved(shape)
    first = (*(halved[-1] if halved else shape[:2]), model.n_maps << max(len(halved) - 1, 0))
    found = [nn.Linear(n_in, math.prod(first), init=init), activation, nn.Reshape(first)]
    maps = [model.n_maps << number for number in reversed(range(len(halved)))]
    for before, after in pairwise([*maps, shape[2]]):
        found += [nn.ConvTranspose2d(before, after, _WINDOW, stride=2, padding=1, init=init), activation]
    if not maps:
        found += [nn.Conv2d(first[2], shape[2], 3, padding="same", init=init), activation]
    return [*found[:-1], nn.Flatten()]


def behind(n_in: int, layers: list[Layer]) -> list[Any]:
    """Return a chain of layers behind an input of so many numbers."""
    return [nn.Input(n_in), *layers]


def require_valid(model: Any, name: str) -> None:
    """Raise ValueError unless a parameter describes layers; shapes are checked when the layers are made."""
    given: Any = getattr(model, name)
    if isinstance(given, str):
        if given not in NAMES:
            raise ValueError(
                prefixed(
                    model,
                    f"{name} must be one of {', '.join(NAMES)}, numbers of units or layers, got {given!r}",
                )
            )
    elif _own_layers(model, name, given) is None:
        _units(model, name, given)


def _own_layers(model: Any, name: str, given: Any) -> list[Layer] | None:
    """Return the layers that a user has listed, or None."""
    listed = list(given) if isinstance(given, (list, tuple)) else []
    if not any(isinstance(one, Layer) for one in listed):
        return None
    if not all(isinstance(one, Layer) for one in listed):
        raise ValueError(prefixed(model, f"{name} must have layers only, or numbers only, got {given!r}"))
    return listed


def _require_outputs(model: Any, name: str, layers: list[Layer], n_in: int, n_out: int) -> None:
    """Raise ValueError if layers do not make so many outputs of so many inputs."""
    shape: Any = (n_in,)
    for layer in layers:
        try:
            shape = layer.output_shape(shape)
        except ValueError as error:
            raise ValueError(prefixed(model, f"{name}: {layer} {error} of what comes before")) from error
    if shape != (n_out,):
        raise ValueError(prefixed(model, f"{name} has {shape[0]} outputs, but must have {n_out}"))


def _is_convolutional(model: Any, name: str, given: Any, shape: ImageShape | None) -> bool:
    if given == "convolutional" and shape is None:
        raise ValueError(
            prefixed(
                model,
                f"{name}='convolutional' takes images: pass image_shape=(height, width), or X of shape "
                "(n, height, width)",
            )
        )
    if given != "auto":
        return bool(given == "convolutional")
    return shape is not None and min(shape[:2]) >= _LARGE_SIDE


def _units(model: Any, name: str, given: Any) -> tuple[int, ...]:
    """Return numbers of units of hidden layers."""
    if isinstance(given, str):
        return DENSE
    sizes = tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(is_size(size) for size in sizes):
        raise ValueError(
            prefixed(
                model,
                f"{name} must be a name, positive numbers of units or layers of steepest.nn, got {given!r}",
            )
        )
    return tuple(int(size) for size in sizes)


def _dense(sizes: list[int], n_out: int, activation: nn.Activation, init: Any) -> list[Layer]:
    layers: list[Layer] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after, init=init), activation]
    return [*layers, nn.Linear(sizes[-1], n_out, init="glorot_uniform")]


def _halved(shape: ImageShape) -> list[tuple[int, int]]:
    """Return the sizes of an image that is halved as often as both sides are even and large enough."""
    sizes, (height, width) = [], shape[:2]
    while height % 2 == width % 2 == 0 and min(height, width) >= 2 * _SMALLEST_SIDE:
        height, width = height // 2, width // 2
        sizes.append((height, width))
    return sizes

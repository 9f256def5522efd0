"""The network of a model, and images as its inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from steepest import nn
from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_device, to_host


def find_network(model: Any) -> nn.Network | None:
    """Return the network that a model is or has; None if it has none, or is not fitted."""
    return model if isinstance(model, nn.Network) else getattr(model, "_network", None)


def network_of(name: str, model: Any) -> nn.Network:
    """Return the network that a model is or has.

    Raises
    ------
    TypeError
        If it has none, or is not fitted; `name` is that of the plot.
    """
    network = find_network(model)
    if network is None:
        raise TypeError(f"[{name}] an object of type {type(model).__name__} has no network, or is not fitted")
    return network


def image_shape_of(network: nn.Network) -> tuple[int, ...] | None:
    """Return the shape (height, width, channels) of the images that a network takes.

    They are its input, or what its first layer makes of flat rows. None if there are no images.
    """
    program = network._main.training
    shape = program.shapes[program.inputs[0]]
    first = network.layers[0]
    if len(shape) == 1 and isinstance(first, nn.Reshape):
        shape = tuple(first.shape)
    return shape if len(shape) == 3 and None not in shape else None  # type: ignore[return-value]


def as_batch(name: str, model: Any, network: nn.Network, X: Any) -> Array:
    """Return samples in the shape, the dtype and on the device that a network of one input takes.

    Parameters
    ----------
    name : str
        Name of the plot, for messages.
    model : Network or fitted estimator
        The model that was given; the bytes that an estimator of images takes are divided by 255, as it does.
    network : Network
        Its network.
    X : array-like of shape (n, ...)
        Samples, with as many numbers as those of the network: rows of pixels are images of the network's shape.

    Raises
    ------
    ValueError
        If samples have another number of items.
    """
    if network._n_inputs != 1:
        raise ValueError(f"[{name}] the network has {network._n_inputs} inputs, but 1 is needed")
    X = np.asarray(to_host(X))
    is_scaled = X.dtype == np.uint8 and getattr(model, "_keeps_bytes", False)
    X = X.astype(network.dtype) / 255 if is_scaled else X.astype(network.dtype)
    program = network._main.training
    shape = program.shapes[program.inputs[0]]
    n_items = math.prod(X.shape[1:])
    if None in shape:
        shape = (n_items,)
    if X.ndim < 2 or n_items != math.prod(shape):  # type: ignore[arg-type]
        wanted = ", ".join(["n", *map(str, shape)])
        raise ValueError(
            f"[{name}] samples of shape {X.shape} do not fit the network, which takes ({wanted})"
        )
    batch: Array = to_device(X.reshape(len(X), *shape), network.device)
    return batch

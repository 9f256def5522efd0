"""From the parameters of a multilayer perceptron to the layers of its network, and their initial values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from steepest import kernels as K
from steepest import nn
from steepest._memory import assign

if TYPE_CHECKING:
    from ._base import BaseMultilayerPerceptron

# scikit-learn's name of an activation -> that of the kernels.
_ALIASES = {"logistic": "sigmoid"}
ACTIVATIONS = (*K.ACTIVATIONS, *_ALIASES)


def hidden_sizes(model: BaseMultilayerPerceptron) -> list[int]:
    """Return the numbers of units of the hidden layers.

    Raises
    ------
    ValueError
        One of them is not positive.
    """
    sizes: Any = model.hidden_layer_sizes
    sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]
    if any(size <= 0 for size in sizes):
        raise ValueError(model._prefix(f"hidden_layer_sizes must be > 0, got {sizes}."))
    return [int(size) for size in sizes]


def make_layers(model: BaseMultilayerPerceptron, n_in: int, n_out: int) -> tuple[nn.layers.Layer, ...]:
    """Return the layers of the model's network, from the inputs to the output before its activation.

    Raises
    ------
    ValueError
        The model's parameters ask for none, or for lists of the wrong length.
    """
    sizes = hidden_sizes(model)
    activations = _activations(model, len(sizes))
    units = [n_in, *sizes, n_out]
    layers: list[nn.layers.Layer] = []
    for (before, after), activation in zip(pairwise(units), [*activations, None], strict=True):
        layers.append(nn.Linear(before, after))
        if activation is not None:
            layers.append(activation)
    return tuple(layers)


def _activations(model: BaseMultilayerPerceptron, n: int) -> list[nn.Activation]:
    given = model.activation
    listed = given if isinstance(given, list) else [given] * n
    if len(listed) != n:
        raise ValueError(
            model._prefix(
                f"activation has {len(listed)} items, but there are {n} hidden layers: one each is needed"
            )
        )
    return [_activation(model, one) for one in listed]


def _activation(model: BaseMultilayerPerceptron, given: Any) -> nn.Activation:
    try:
        return nn.Activation(_ALIASES.get(given, given)) if isinstance(given, str) else nn.Activation(*given)
    except (TypeError, ValueError) as error:
        raise ValueError(
            model._prefix(f"The 'activation' parameter must be of {', '.join(ACTIVATIONS)}, got {given!r}")
        ) from error


def draw_initial_values(network: nn.Network, random_state: np.random.RandomState) -> None:
    """Draw weights and biases as scikit-learn does, in its order: the same numbers for the same random state.

    Both are uniform in (-a, a), with Glorot's ``a = sqrt(6 / (n_in + n_out))``, and ``sqrt(2 / (n_in + n_out))`` where
    the activation is the logistic function.
    """
    values = {parameter.name: parameter.value for parameter in network.parameters()}
    factor = 6.0
    for i, layer in enumerate(network.layers):
        if isinstance(layer, nn.Linear):
            behind = network.layers[i + 1] if i + 1 < len(network.layers) else None
            if isinstance(behind, nn.Activation):
                factor = 2.0 if behind.name == "sigmoid" else 6.0
            bound = math.sqrt(factor / (layer.n_in + layer.n_out))
            if layer.tied_to is None:
                assign(values[f"{i}.weight"], random_state.uniform(-bound, bound, (layer.n_in, layer.n_out)))
            assign(values[f"{i}.bias"], random_state.uniform(-bound, bound, layer.n_out))

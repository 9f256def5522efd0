"""Layers of a multilayer perceptron's network from its parameters, and scikit-learn's initial weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest import nn
from steepest._runtime.memory import assign
from steepest.estimators.data import is_number
from steepest.nn.initializers import Initializer

from ._parameters import ACTIVATIONS, ALIASES, PerceptronParameters, prefixed, require_stochastic

# Initial weight of a network whose weights `draw_initial_values` samples later.
_DRAWN_LATER = 0.0


def hidden_sizes(model: PerceptronParameters) -> list[int]:
    """Return the numbers of units of the hidden layers.

    Raises
    ------
    ValueError
        If one of them is not a whole number, or not positive.
    """
    sizes: Any = model.hidden_layer_sizes
    sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]
    if not all(isinstance(size, Integral) for size in sizes):
        raise ValueError(prefixed(model, f"hidden_layer_sizes must be whole numbers, got {sizes}"))
    if any(size <= 0 for size in sizes):
        raise ValueError(prefixed(model, f"hidden_layer_sizes must be > 0, got {sizes}."))
    return [int(size) for size in sizes]


def make_layers(model: PerceptronParameters, n_in: int, n_out: int) -> tuple[nn.layers.Layer, ...]:
    """Return the layers of the model's network, without the activation of the output.

    Raises
    ------
    ValueError
        If a parameter is not valid, or a list has the wrong length.
    """
    sizes = hidden_sizes(model)
    activations, rates = _activations(model, len(sizes)), dropout_rates(model, len(sizes))
    init = initializer(model)
    layers: list[nn.layers.Layer] = []
    for (before, after), activation, rate in zip(pairwise([n_in, *sizes]), activations, rates, strict=True):
        layers += [nn.Linear(before, after, init=init), activation]
        if rate > 0:
            layers.append(nn.Dropout(rate))
    return (*layers, nn.Linear(sizes[-1] if sizes else n_in, n_out, init=init))


def depth_of(layers: Iterable[nn.layers.Layer]) -> int:
    """Return the number of layers with matrices of weights, dense, convolutions and more; shortcuts do not count."""
    return sum(
        depth_of(layer.layers)
        if isinstance(layer, nn.Residual)
        else layer.n_layers
        if isinstance(layer, (nn.RNN, nn.LSTM, nn.GRU, nn.TransformerEncoder))
        else isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding))
        for layer in layers
    )


def initializer(model: PerceptronParameters) -> Initializer | float:
    """Return the `init` of the model's linear layers: the name of an initializer, or a constant for "auto"."""
    return _DRAWN_LATER if model.init == "auto" else model.init


def _activations(model: PerceptronParameters, n: int) -> list[nn.Activation]:
    given = model.activation
    listed = given if isinstance(given, list) else [given] * n
    if len(listed) != n:
        raise ValueError(
            prefixed(
                model,
                f"activation has {len(listed)} items, but there are {n} hidden layers: one each is needed",
            )
        )
    return [make_activation(model, one) for one in listed]


def dropout_rates(model: PerceptronParameters, n: int, places: str = "hidden layers") -> list[float]:
    """Return the `dropout` of the model for n places.

    Raises
    ------
    ValueError
        If a list has another number of items, or a rate is not in [0, 1).
    """
    given: Any = model.dropout
    rates: list[Any] = list(given) if isinstance(given, Iterable) else [given] * n
    if len(rates) != n:
        raise ValueError(
            prefixed(model, f"dropout has {len(rates)} items, but there are {n} {places}: one each is needed")
        )
    if not all(is_number(rate) and 0 <= rate < 1 for rate in rates):
        raise ValueError(prefixed(model, f"dropout must be in [0, 1), got {given}"))
    if any(rates):
        require_stochastic(model, "dropout")
    return [float(rate) for rate in rates]


def make_activation(model: PerceptronParameters, given: Any) -> nn.Activation:
    name, *parameters = given if isinstance(given, (tuple, list)) and given else [given]
    if isinstance(name, str):
        name = ALIASES.get(name, name)
    if name not in K.ACTIVATIONS or len(parameters) > (name in K.ACTIVATION_PARAMETERS):
        raise ValueError(
            prefixed(
                model,
                f"The 'activation' parameter must be one of {', '.join(ACTIVATIONS)}, or a pair of "
                f"{' or '.join(K.ACTIVATION_PARAMETERS)} and its parameter, got {given!r}",
            )
        )
    try:
        return nn.Activation(name, *parameters)
    except (TypeError, ValueError) as error:
        raise ValueError(prefixed(model, f"activation={given!r}: {error}")) from error


def draw_initial_values(network: nn.Network, random_state: np.random.RandomState, activation: Any) -> None:
    """Sample initial weights and biases as scikit-learn does: the same numbers for the same random state.

    Weights and biases are uniform in (-a, a), with Glorot's ``a = sqrt(6 / (n_in + n_out))``, or
    ``a = sqrt(2 / (n_in + n_out))`` before a logistic activation. The output layer uses the factor of the activation
    before it.

    Parameters
    ----------
    network : Network
        Network whose parameters are set.
    random_state : RandomState
        Generator of the numbers.
    activation : str, pair or list
        The model's parameter; it decides the factor of the output layer if there are no hidden layers.
    """
    values = {parameter.name: parameter.value for parameter in network.parameters()}
    factor = 2.0 if activation in ("logistic", "sigmoid") else 6.0
    for i, layer in enumerate(network.layers):
        if isinstance(layer, nn.Linear):
            behind = network.layers[i + 1] if i + 1 < len(network.layers) else None
            if isinstance(behind, nn.Activation):
                factor = 2.0 if behind.name == "sigmoid" else 6.0
            bound = math.sqrt(factor / (layer.n_in + layer.n_out))
            if layer.tied_to is None:
                assign(values[f"{i}.weight"], random_state.uniform(-bound, bound, (layer.n_in, layer.n_out)))
            assign(values[f"{i}.bias"], random_state.uniform(-bound, bound, layer.n_out))

"""The two halves of an autoencoder's network: its layers, and either half as a network of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from steepest import nn
from steepest._memory import assign

from ._architecture import _activation, hidden_sizes

if TYPE_CHECKING:
    from ._autoencoder import Autoencoder

Array = npt.NDArray[Any]


def autoencoder_layers(model: Autoencoder, n_features: int) -> tuple[nn.layers.Layer, ...]:
    """Return the layers: dropout of the input where there is any, then as many for the encoder as for the decoder.

    Raises
    ------
    ValueError
        The model's parameters ask for none, or for lists of the wrong length.
    """
    if model.dropout and model.solver == "lbfgs":
        raise ValueError(
            model._prefix("dropout needs a stochastic solver: lbfgs minimises one fixed function")
        )
    units = [n_features, *hidden_sizes(model)]
    depth = len(units) - 1
    if depth == 0:
        raise ValueError(
            model._prefix("hidden_layer_sizes must have at least one item, the size of the code")
        )
    encoder = _listed(model, "activation", depth - 1)
    decoder = (
        encoder[::-1] if model.decoder_activation is None else _listed(model, "decoder_activation", depth - 1)
    )
    rate: Any = model.dropout
    layers: list[nn.layers.Layer] = [nn.Dropout(float(rate))] if rate else []
    positions = []
    for i, activation in enumerate([*encoder, model.code_activation]):
        positions.append(len(layers))
        layers += [nn.Linear(units[i], units[i + 1]), _activation(model, activation)]
    for i, activation in zip(range(depth, 0, -1), [*decoder, _last_activation(model)], strict=True):
        tied_to = positions[i - 1] if model.tied_weights else None
        layers += [nn.Linear(units[i], units[i - 1], tied_to=tied_to), _activation(model, activation)]
    return tuple(layers)


def _last_activation(model: Autoencoder) -> Any:
    """Return the activation of the network's last layer, whose output the loss takes: for the log loss, logits."""
    given = model.output_activation
    if model.loss != "log_loss":
        return "identity" if given == "auto" else given
    if given not in ("auto", "logistic"):
        raise ValueError(
            model._prefix(f"output_activation is the logistic function with loss='log_loss', got {given!r}")
        )
    return "identity"


def _listed(model: Autoencoder, name: str, n: int) -> list[Any]:
    """Return an activation for each of the n layers between the data and the code."""
    given = getattr(model, name)
    listed = given if isinstance(given, list) else [given] * n
    if len(listed) != n:
        raise ValueError(
            model._prefix(
                f"{name} has {len(listed)} items, but there are {n} layers beside the code: one each"
            )
        )
    return listed


def half_of(network: nn.Network, decoder: bool) -> nn.Network:
    """Return a copy of one half of the network, on its device; a decoder with tied weights gets them transposed."""
    layers = network.layers
    start = int(isinstance(layers[0], nn.Dropout))
    code = start + (len(layers) - start) // 2
    values = {parameter.name: parameter.value for parameter in network.parameters()}
    half: list[nn.layers.Layer] = []
    arrays: dict[str, Array] = {}
    for i in range(code, len(layers)) if decoder else range(start, code):
        layer = layers[i]
        if isinstance(layer, nn.Linear):
            tied_to = layer.tied_to
            weight = values[f"{i}.weight"] if tied_to is None else values[f"{tied_to}.weight"].T
            arrays[f"{len(half)}.weight"], arrays[f"{len(half)}.bias"] = weight, values[f"{i}.bias"]
            # Weights of its own, and none drawn.
            layer = replace(layer, tied_to=None, init=0.0)
        half.append(layer)
    copy = nn.Network(half, dtype=network.dtype, device=network.device)
    for parameter in copy.parameters():
        assign(parameter.value, arrays[parameter.name])
    return copy

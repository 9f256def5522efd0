"""Layers of an autoencoder's network, and their split into encoder and decoder."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval, StrOptions

from steepest import nn

from ._architecture import hidden_sizes, initializer, make_activation
from ._parameters import ACTIVATIONS, PerceptronParameters, prefixed, require_stochastic


class AutoencoderParameters(PerceptronParameters):
    """Parameters of `Autoencoder`, whose docstring describes them."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PerceptronParameters._parameter_constraints,
        "code_activation": [StrOptions(set(ACTIVATIONS)), tuple],
        "decoder_activation": [StrOptions(set(ACTIVATIONS)), tuple, list, None],
        "output_activation": [StrOptions({"auto", *ACTIVATIONS}), tuple],
        "loss": [StrOptions({"squared_error", "log_loss"})],
        "tied_weights": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    code_activation: Any
    decoder_activation: Any
    output_activation: Any
    tied_weights: bool


def autoencoder_layers(model: AutoencoderParameters, n_features: int) -> tuple[nn.layers.Layer, ...]:
    """Return the layers: dropout of the input, if any, then equal numbers of layers for encoder and decoder.

    Raises
    ------
    ValueError
        If a parameter is not valid, or a list has the wrong length.
    """
    units = [n_features, *hidden_sizes(model)]
    depth = len(units) - 1
    if depth == 0:
        raise ValueError(
            prefixed(model, "hidden_layer_sizes must have at least one item, the size of the code")
        )
    encoder = _listed(model, "activation", depth - 1)
    decoder = (
        encoder[::-1] if model.decoder_activation is None else _listed(model, "decoder_activation", depth - 1)
    )
    init = initializer(model)
    layers = noise_layers(model)
    positions = []
    for i, activation in enumerate([*encoder, model.code_activation]):
        positions.append(len(layers))
        layers += [nn.Linear(units[i], units[i + 1], init=init), make_activation(model, activation)]
    for i, activation in zip(range(depth, 0, -1), [*decoder, last_activation(model)], strict=True):
        tied_to = positions[i - 1] if model.tied_weights else None
        layers += [
            nn.Linear(units[i], units[i - 1], init=init, tied_to=tied_to),
            make_activation(model, activation),
        ]
    return tuple(layers)


def noise_layers(model: AutoencoderParameters) -> list[nn.layers.Layer]:
    """Return the dropout of the input, if there is any."""
    rate: Any = model.dropout
    if rate:
        require_stochastic(model, "dropout")
    return [nn.Dropout(float(rate))] if rate else []


def last_activation(model: AutoencoderParameters) -> Any:
    """Return the activation of the network's last layer; for the log loss, the identity, since it takes logits."""
    given = model.output_activation
    if model.loss != "log_loss":
        return "identity" if given == "auto" else given
    if given not in ("auto", "logistic"):
        raise ValueError(
            prefixed(
                model, f"output_activation must be 'auto' or 'logistic' if loss='log_loss', got {given!r}"
            )
        )
    return "identity"


def _listed(model: AutoencoderParameters, name: str, n: int) -> list[Any]:
    """Return an activation for each of the n layers between the data and the code."""
    given = getattr(model, name)
    listed = given if isinstance(given, list) else [given] * n
    if len(listed) != n:
        raise ValueError(
            prefixed(
                model,
                f"{name} has {len(listed)} items, but there are {n} layers beside the code: pass one for each",
            )
        )
    return listed


def encoder_and_decoder(layers: tuple[nn.layers.Layer, ...]) -> tuple[slice, slice]:
    """Return the slices of the encoder's and the decoder's layers; dropout of the input belongs to neither."""
    start = int(isinstance(layers[0], nn.Dropout))
    code = start + (len(layers) - start) // 2
    return slice(start, code), slice(code, len(layers))

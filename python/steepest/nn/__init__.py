"""Layers, losses and networks: forward, backward, parameters, all capturable by `steepest.capture`."""

from ._stages import Parameter
from .layers import (
    Activation,
    Dropout,
    Identity,
    Linear,
    ReLU,
    Sigmoid,
    Tanh,
)
from .losses import MeanSquaredError, SoftmaxCrossEntropy
from .network import Network

__all__ = [
    "Activation",
    "Dropout",
    "Identity",
    "Linear",
    "MeanSquaredError",
    "Network",
    "Parameter",
    "ReLU",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Tanh",
]

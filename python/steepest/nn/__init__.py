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
from .losses import (
    BinaryCrossEntropy,
    Exponential,
    Gaussian,
    Hinge,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
    SoftmaxCrossEntropy,
    SquaredHinge,
)
from .network import Network

__all__ = [
    "Activation",
    "BinaryCrossEntropy",
    "Dropout",
    "Exponential",
    "Gaussian",
    "Hinge",
    "Huber",
    "Identity",
    "Linear",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Network",
    "Parameter",
    "Poisson",
    "Quantile",
    "ReLU",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "SquaredHinge",
    "Tanh",
]

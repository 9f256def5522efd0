"""Layers, as descriptions: a `Network` allocates their parameters and runs them.

A layer holds no arrays, so one layer may stand in several networks, and a network is pickled as its layers
and values.
"""

from .activation import Activation
from .base import Layer, ParameterSpec
from .convolution import Conv1d, Conv2d, ConvTranspose2d
from .custom import CustomLayer
from .dropout import Dropout
from .linear import Linear
from .merge import Add, Concatenate, Multiply
from .prelu import PReLU
from .residual import Residual
from .shape import Flatten, Permute, Reshape
from .softmax import Softmax

__all__ = [
    "Activation",
    "Add",
    "Concatenate",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CustomLayer",
    "Dropout",
    "Flatten",
    "Layer",
    "Linear",
    "Multiply",
    "PReLU",
    "ParameterSpec",
    "Permute",
    "Reshape",
    "Residual",
    "Softmax",
]

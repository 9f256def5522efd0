"""Layers, as descriptions: a `Network` allocates their parameters and runs them.

A layer holds no arrays, so one layer may stand in several networks, and a network is pickled as its layers
and values.
"""

from .activation import Activation
from .attention import MultiHeadAttention, TransformerDecoder, TransformerEncoder
from .base import Layer, ParameterSpec
from .convolution import Conv1d, Conv2d, ConvTranspose2d
from .custom import CustomLayer
from .dropout import Dropout
from .embedding import Embedding, PositionalEncoding
from .gaussian import LogVariance, SampleGaussian
from .linear import Linear
from .merge import Add, Concatenate, Multiply
from .normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from .pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d, PoolSteps, Upsample
from .prelu import PReLU
from .recurrent import GRU, LSTM, RNN
from .residual import Residual
from .shape import Flatten, Permute, Reshape
from .softmax import Softmax

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Add",
    "AvgPool2d",
    "BatchNorm",
    "Concatenate",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CustomLayer",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Layer",
    "LayerNorm",
    "Linear",
    "LogVariance",
    "MaxPool2d",
    "MultiHeadAttention",
    "Multiply",
    "PReLU",
    "ParameterSpec",
    "Permute",
    "PoolSteps",
    "PositionalEncoding",
    "RMSNorm",
    "Reshape",
    "Residual",
    "SampleGaussian",
    "Softmax",
    "TransformerDecoder",
    "TransformerEncoder",
    "Upsample",
]

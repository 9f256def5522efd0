"""The types of activations in the kernels' signatures."""

from __future__ import annotations

from typing import Literal, TypeAlias

ActivationName: TypeAlias = Literal[
    "identity",
    "relu",
    "leaky_relu",
    "elu",
    "sigmoid",
    "hard_sigmoid",
    "tanh",
    "softplus",
    "gelu",
    "silu",
]

# The name of an activation function, alone or with its parameter.
Activation: TypeAlias = str | tuple[str, float]

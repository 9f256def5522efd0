"""Parts of a network: its parameters, the kernel calls of a forward pass, and what backward needs of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from steepest import kernels as K

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Parameter:
    """A named tensor of a network with its gradient; both are views into the network's arenas.

    Attributes
    ----------
    name : str
        Position of the layer and role, such as ``"0.weight"``.
    value, grad : ndarray
        The tensor and its gradient, of one shape and dtype.
    """

    name: str
    value: Array
    grad: Array


@dataclass(frozen=True, eq=False)
class Stage:
    """One kernel call of a forward pass: a linear layer fused with its activation, or a lone activation."""

    activation: str
    weight: Parameter | None = None
    bias: Parameter | None = None
    n_out: int | None = None


@dataclass(eq=False)
class Buffers:
    """What forward keeps: x[i] is the input of stage i, x[-1] the output; d_x[i] the gradient of x[i]."""

    x: list[Array]
    d_x: list[Array | None]
    d_output: Array | None  # where the last stage has an activation of its own to differentiate
    d_bias: dict[int, Array]  # where a linear stage has no bias: the kernel's sums have to go somewhere


def run(stage: Stage, x: Array, out: Array) -> Array:
    """Compute the stage on x into `out`, and return that."""
    if stage.weight is None:
        return K.activation(x, stage.activation, out=out)
    bias = stage.bias.value if stage.bias is not None else None
    return K.linear(x, stage.weight.value, bias, stage.activation, out=out)

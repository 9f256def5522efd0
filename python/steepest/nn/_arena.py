"""The parameters of a network in one flat array, and their gradients in another of the same layout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._memory import CACHE_LINE, aligned_zeros

from ._stages import Parameter
from .layers import Layer, shapes_of

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Arena:
    """All parameters: the weights first, so that the part that is penalised is contiguous, then all others.

    Attributes
    ----------
    values, grads : ndarray of shape (size,)
        Every tensor starts on a 64-byte boundary; the gaps stay zero.
    weights : ndarray
        The first part of `values`, which holds the weights of linear layers.
    parameters : dict
        The tensors by name, layer by layer.
    """

    values: Array
    grads: Array
    weights: Array
    parameters: dict[str, Parameter]


def allocate(layers: tuple[Layer, ...], dtype: np.dtype[Any], device: str) -> Arena:
    """Return the parameters of layers, all of them zero."""
    shapes = {
        f"{i}.{role}": shape for i, layer in enumerate(layers) for role, shape in shapes_of(layer).items()
    }
    line = CACHE_LINE // dtype.itemsize
    places, end, weights_end = {}, 0, 0
    for name in sorted(shapes, key=lambda name: not name.endswith("weight")):  # stable
        size = math.prod(shapes[name])
        places[name] = slice(end, end + size)
        end += -(-size // line) * line
        if name.endswith("weight"):
            weights_end = end
    values, grads = aligned_zeros((end,), dtype, device), aligned_zeros((end,), dtype, device)
    parameters = {
        name: Parameter(name, values[places[name]].reshape(shape), grads[places[name]].reshape(shape))
        for name, shape in shapes.items()
    }
    return Arena(values, grads, values[:weights_end], parameters)

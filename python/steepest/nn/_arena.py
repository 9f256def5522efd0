"""The parameters of a network in one flat array, and their gradients in another of the same layout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from steepest._runtime.memory import CACHE_LINE, aligned_zeros, assign, to_host

from ._stages import Parameter
from .layers import Layer, shapes_of


def parameter_shapes(layers: tuple[Layer, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters of layers by name, layer by layer."""
    return {
        f"{i}.{role}": shape for i, layer in enumerate(layers) for role, shape in shapes_of(layer).items()
    }


class Arena:
    """All parameters, zero at first: the weights first, so that the part that is penalised is contiguous.

    A deep copy or a pickle of a `Parameter` takes its arena along. What shares an arena, as a network and its optimizer
    do, therefore shares the copy's. Gradients are not copied. A copy lies on the same device, a pickle on the CPU.

    Parameters
    ----------
    layers : tuple of layers
        Whose parameters these are.
    dtype : dtype
        Of the parameters.
    device : {"cpu", "cuda"}
        Where they lie.

    Attributes
    ----------
    values, grads : ndarray of shape (size,)
        Every tensor starts on a 64-byte boundary; the gaps stay zero.
    weights : ndarray
        The first part of `values`, which holds the weights of linear layers.
    """

    def __init__(self, layers: tuple[Layer, ...], dtype: np.dtype[Any], device: str) -> None:
        self.layers, self.dtype, self.device = layers, dtype, device
        self._shapes = parameter_shapes(layers)
        line = CACHE_LINE // dtype.itemsize
        self._places, end, weights_end = {}, 0, 0
        for name in sorted(self._shapes, key=lambda name: not name.endswith("weight")):  # stable
            size = math.prod(self._shapes[name])
            self._places[name] = slice(end, end + size)
            end += -(-size // line) * line
            if name.endswith("weight"):
                weights_end = end
        self.values, self.grads = aligned_zeros((end,), dtype, device), aligned_zeros((end,), dtype, device)
        self.weights = self.values[:weights_end]

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of a name."""
        place, shape = self._places[name], self._shapes[name]
        return Parameter(name, self.values[place].reshape(shape), self.grads[place].reshape(shape), self)

    def parameters(self) -> list[Parameter]:
        """Return all parameters, layer by layer."""
        return [self.parameter(name) for name in self._shapes]

    def copy_to(self, device: str) -> Arena:
        """Return a copy on a device."""
        twin = Arena(self.layers, self.dtype, device)
        assign(twin.values, self.values)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Arena:
        return self.copy_to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        # A NumPy array: a pickle can be read where there is no CUDA.
        return {"layers": self.layers, "dtype": self.dtype, "values": to_host(self.values)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Tensors that pickle restores are not aligned, nor views of one array.
        self.__init__(state["layers"], state["dtype"], "cpu")  # type: ignore[misc]
        self.values[...] = state["values"]

"""The parameters of a network in one flat array, and their gradients in another of the same layout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import CACHE_LINE, aligned_zeros, assign, to_host

from .architecture import Architecture, chain
from .layers.base import Layer, ParameterSpec
from .lowering import Asked, asked_of_layers
from .parameter import Parameter


class Arena:
    """All parameters, zero at first: those that decay first, so that the part that is penalised is contiguous.

    A deep copy or a pickle of a `Parameter` takes its arena along. What shares an arena, as a network and its optimizer
    do, therefore shares the copy's. Gradients are not copied. A copy lies on the same device, a pickle on the CPU.

    Parameters
    ----------
    architecture : Architecture
        The network whose parameters these are.
    dtype : dtype
        Dtype of the parameters.
    device : {"cpu", "cuda"}
        Where they lie.

    asked : Asked, optional
        What its layers ask for, where that is known.

    Attributes
    ----------
    values, grads : ndarray of shape (size,)
        All parameters and all gradients. Every tensor starts on a 64-byte boundary; the gaps stay zero.
    weights : ndarray
        The first part of `values`, which holds the parameters that decay.
    specs : mapping of str to ParameterSpec
        What the layers ask for, by name.
    states : dict of str to ndarray
        Arrays that are no parameters: operations write them while training.
    frozen : frozenset of str
        Names of the parameters that are not trained; `Freezable` replaces it.
    """

    def __init__(
        self,
        architecture: Architecture,
        dtype: np.dtype[Any],
        device: str,
        asked: Asked | None = None,
    ) -> None:
        self.architecture, self.dtype, self.device = architecture, dtype, device
        self.asked = asked_of_layers(architecture) if asked is None else asked
        self.specs = self.asked.parameters
        self.states = {name: _filled(spec, dtype, device) for name, spec in self.asked.states.items()}
        line = CACHE_LINE // dtype.itemsize
        self._places, end, weights_end = {}, 0, 0
        for name in sorted(self.specs, key=lambda name: not self.specs[name].decays):  # stable
            size = math.prod(self.specs[name].shape)
            self._places[name] = slice(end, end + size)
            end += -(-size // line) * line
            if self.specs[name].decays:
                weights_end = end
        self.values, self.grads = aligned_zeros((end,), dtype, device), aligned_zeros((end,), dtype, device)
        self.weights = self.values[:weights_end]
        self.frozen: frozenset[str] = frozenset()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the network."""
        return self.architecture.layers

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of a name."""
        place, spec = self._places[name], self.specs[name]
        value, grad = self.values[place].reshape(spec.shape), self.grads[place].reshape(spec.shape)
        return Parameter(name, value, grad, spec.decays, self)

    def parameters(self) -> list[Parameter]:
        """Return all parameters, layer by layer."""
        return [self.parameter(name) for name in self.specs]

    def views(self, flat: Array) -> list[Array]:
        """Return views of an array of the arena's size in the shapes of the parameters, layer by layer."""
        return [flat[self._places[name]].reshape(spec.shape) for name, spec in self.specs.items()]

    def copy_to(self, device: str) -> Arena:
        """Return a copy on a device."""
        twin = Arena(self.architecture, self.dtype, device, self.asked)
        assign(twin.values, self.values)
        for name, state in self.states.items():
            assign(twin.states[name], state)
        twin.frozen = self.frozen
        return twin

    def copy_as(self, dtype: np.dtype[Any]) -> Arena:
        """Return a copy with another dtype on the same device."""
        twin = Arena(self.architecture, dtype, self.device, self.asked)
        for name in self.specs:
            twin.parameter(name).value[...] = self.parameter(name).value
        for name, state in self.states.items():
            twin.states[name][...] = state
        twin.frozen = self.frozen
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Arena:
        return self.copy_to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        # A NumPy array: a pickle can be read where there is no CUDA.
        return {
            "architecture": self.architecture,
            "dtype": self.dtype,
            "values": to_host(self.values),
            "frozen": self.frozen,
            "states": {name: to_host(state) for name, state in self.states.items()},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Before 0.2 there were chains of layers only. Tensors that pickle restores are neither aligned nor views of
        # one array.
        architecture = state["architecture"] if "architecture" in state else chain(state["layers"])
        self.__init__(architecture, state["dtype"], "cpu")  # type: ignore[misc]
        self.values[...] = state["values"]
        self.frozen = state.get("frozen", frozenset())
        for name, values in state.get("states", {}).items():
            self.states[name][...] = values


def _filled(spec: ParameterSpec, dtype: np.dtype[Any], device: str) -> Array:
    array = aligned_zeros(spec.shape, dtype, device)
    array[...] = spec.init
    return array

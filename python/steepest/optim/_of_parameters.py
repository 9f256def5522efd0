"""What optimizers and averages share: a list of parameters, arrays of their own, and copies together with a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device, to_host
from steepest.nn import Parameter


class OfParameters(ABC):
    """Base of objects that belong to parameters, with arrays of their own on the same device."""

    _looked_up: ClassVar[tuple[str, ...]]
    """Attributes that `_look_up_arrays` sets from `params`, so that copies and pickles leave them out."""
    params: list[Parameter]
    _device: str

    @abstractmethod
    def _look_up_arrays(self) -> None:
        """Set the attributes that follow from `params`, `_device` among them."""

    def __getstate__(self) -> dict[str, Any]:
        # Copies of views would no longer share memory with the parameters, so __setstate__ looks them up again. All
        # other arrays are pickled as NumPy arrays, since a pickle may be loaded on a machine without CUDA.
        own = {name: value for name, value in vars(self).items() if name not in self._looked_up}
        return {name: _each_array(to_host, value) for name, value in own.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._look_up_arrays()
        for name, value in state.items():
            setattr(self, name, _each_array(lambda array: to_device(array, self._device), value))


def _each_array(change: Callable[[Array], Array], value: Any) -> Any:
    """Apply `change` to an attribute that is an array, or to the arrays in a list; return other values unchanged."""
    if isinstance(value, list):
        return [_each_array(change, item) for item in value]
    return change(value) if isinstance(value, np.ndarray) or is_cupy(value) else value


def list_parameters(params: object, name: str, what: str = "update") -> list[Parameter]:
    """Return parameters as a list; raise TypeError or ValueError if they are none, or something else."""
    listed: list[Any] = list(params) if isinstance(params, Iterable) else [params]
    if not all(isinstance(parameter, Parameter) for parameter in listed):
        raise TypeError(
            f"[{name}] params must be parameters, as net.parameters() returns them, got {type(params).__name__}"
        )
    if not listed:
        raise ValueError(f"[{name}] there are no parameters to {what}")
    return listed

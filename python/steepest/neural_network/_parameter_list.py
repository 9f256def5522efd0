"""The list type of `coefs_` and `intercepts_`: setting an item writes into the network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace, assign, to_host


class ParameterList(list[Array]):
    """List of a network's arrays, one for each layer; ``list[i] = values`` writes into the array of layer i.

    Parameters
    ----------
    arrays : list of ndarray
        Views of the network's parameters.
    name : str
        Name of the list in error messages.

    Raises
    ------
    ValueError
        If the new values have another shape, or the array is a read-only copy.
    """

    def __init__(self, arrays: Iterable[Array], name: str) -> None:
        super().__init__(arrays)
        self._name = name

    def __setitem__(self, index: Any, values: Any) -> None:
        if not isinstance(index, SupportsIndex):
            raise TypeError(f"{self._name} takes one array at a time: write {self._name}[i] = values")
        target = self[index]
        shape = np.shape(to_host(values))
        if shape != target.shape:
            raise ValueError(f"{self._name}[{index}] has shape {target.shape}, not {shape}")
        assign(target, values)

    def assign(self, arrays: Iterable[Any]) -> None:
        """Write into all arrays; if their number, a shape or a dtype is wrong, nothing is written."""
        values = list(arrays)
        shapes, own = [np.shape(to_host(a)) for a in values], [a.shape for a in self]
        if shapes != own:
            raise ValueError(f"{self._name} has arrays of shapes {own}, not {shapes}")
        # All values are converted before the first array is written.
        numbers = [
            array_namespace(value).asarray(value, dtype=target.dtype)
            for target, value in zip(self, values, strict=True)
        ]
        for target, value in zip(self, numbers, strict=True):
            assign(target, value)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy or a pickle is a plain list with copies of the arrays.
        return (list, ([np.array(to_host(a)) for a in self],))

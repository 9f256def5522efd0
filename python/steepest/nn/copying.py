"""Copies of networks: on another device, by `copy`, by `pickle`, and what files say of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Int64Array
from steepest._runtime.backends import check_device, cuda_problem
from steepest._runtime.memory import assign

from .freezing import Freezable

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._arena import Arena
    from .architecture import Architecture


class Copyable(Freezable):
    """Base of `Network` that copies it: a copy has parameters of its own, and neither gradients nor buffers."""

    seed: int
    dtype: np.dtype[Any]
    device: str
    _architecture: Architecture
    _precision: str
    _passes: Int64Array

    def _use(self, arena: Arena, seed: int, precision: str) -> None:
        raise NotImplementedError

    def to(self, device: str) -> Self:
        """Return this network on a device: itself, or a copy if it lies on the other one.

        Parameters
        ----------
        device : {"cpu", "cuda"}
            The device.

        Returns
        -------
        Network
            A network of the same layers and parameters; gradients and buffers are not copied.

        Raises
        ------
        ValueError, RuntimeError
            If the device is not known or not available.
        """
        if device == self.device:
            return self
        require_device(device)
        return self._twin(self._arena.copy_to(device))

    def _twin(self, arena: Arena) -> Self:
        """Return this network with other parameters."""
        twin = type(self).__new__(type(self))
        twin._use(arena, self.seed, self._precision)
        assign(twin._passes, self._passes)
        return twin

    def _configuration(self) -> dict[str, Any]:
        """Return what makes up the network besides its parameters."""
        own = {"layers": self.layers, "seed": self.seed, "dtype": self.dtype, "passes": int(self._passes)}
        if self._precision != "float32":
            own["precision"] = self._precision
        if self.frozen:
            own["frozen"] = sorted(self.frozen)
        return own if self._architecture.is_chain else {**own, **self._architecture.parts()}

    def __getstate__(self) -> dict[str, Any]:
        passes = int(self._passes)
        return {
            "arena": self._arena,
            "seed": self.seed,
            "passes": passes,
            "precision": self._precision,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._use(state["arena"], state["seed"], state.get("precision", "float32"))
        self._passes[...] = state["passes"]

    def __copy__(self) -> Self:
        return self._twin(self._arena.copy_to(self.device))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self._twin(copy.deepcopy(self._arena, memo))


def checked_precision(name: Any) -> str:
    """Return the name of a precision; ValueError if there is none of that name."""
    if name not in K.PRECISIONS:
        raise ValueError(f"[Network] precision {name!r} is not one of: {', '.join(K.PRECISIONS)}")
    return str(name)


def require_device(device: str) -> None:
    """Raise ValueError or RuntimeError if a device is not known or not available."""
    check_device(device, "Network")
    if device == "cuda" and (problem := cuda_problem()):
        raise RuntimeError(f"[Network] device='cuda' is not available: {problem}")

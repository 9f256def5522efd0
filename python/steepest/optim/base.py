"""What all update rules share: the parameters, the learning rate and the state that is saved."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._backends import device_of
from steepest._memory import aligned_zeros, assign, to_host
from steepest.nn import Parameter

Array = npt.NDArray[Any]


class Optimizer(ABC):
    """Base of the update rules. `step` can be called inside `steepest.capture`.

    The state lies where the parameters do, on the CPU or on CUDA.

    Parameters
    ----------
    params : iterable of Parameter
        What to update, as `Network.parameters` returns it.
    lr : float
        Learning rate.

    Raises
    ------
    ValueError
        Where there are no parameters or `lr` is negative or not finite.
    """

    def __init__(self, params: Iterable[Parameter], lr: float) -> None:
        self.params = list(params)
        if not self.params:
            raise ValueError(f"[{type(self).__name__}] there are no parameters to update")
        self._values = [p.value for p in self.params]
        self._grads = [p.grad for p in self.params]
        self._device = device_of(self._values[0])
        # An array, so that a captured step reads the rate anew each time it is replayed.
        self._lr: npt.NDArray[np.float64] = aligned_zeros((), np.float64, self._device)
        self.lr = lr

    @property
    def lr(self) -> float:
        """Learning rate; a captured step sees what it is set to. On CUDA, reading it waits for the device."""
        return float(self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        _require(type(self).__name__, "lr", value, 0.0, math.inf)
        self._lr[...] = value

    @abstractmethod
    def step(self) -> None:
        """Update every parameter in place from its gradient."""

    @abstractmethod
    def _state(self) -> dict[str, list[Array]]:
        """State arrays by name; `state_dict` copies them and `load_state_dict` writes into them."""

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: the learning rate and the arrays that the rule keeps.

        Returns
        -------
        dict
            The name of the rule, ``"lr"``, and lists of NumPy arrays by name.
        """
        copies = {name: [np.array(to_host(a)) for a in arrays] for name, arrays in self._state().items()}
        return {"rule": type(self).__name__, "lr": self.lr, **copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, in place: graphs captured before stay valid.

        Parameters
        ----------
        state : mapping
            The state of an optimizer of the same rule over tensors of the same shapes.

        Raises
        ------
        ValueError
            Where the state is that of another rule or of other shapes; nothing is changed then.
        """
        name, own = type(self).__name__, self._state()
        if state.get("rule") != name:
            raise ValueError(f"[{name}] this is the state of {state.get('rule')}")
        for key, arrays in own.items():
            shapes, saved = [a.shape for a in arrays], [np.shape(a) for a in state.get(key, [])]
            if shapes != saved:
                raise ValueError(f"[{name}] {key} has shapes {saved} in the state, but {shapes} here")
        self.lr = state["lr"]
        for key, arrays in own.items():
            for array, value in zip(arrays, state[key], strict=True):
                assign(array, value)

    def _zeros(self) -> list[Array]:
        return [aligned_zeros(p.value.shape, p.value.dtype, self._device) for p in self.params]


def _require(name: str, what: str, value: float, low: float, high: float) -> None:
    """Raise ValueError unless low <= value < high."""
    if not low <= value < high:
        raise ValueError(f"[{name}] {what} must be in [{low:g}, {high:g}), got {value}")

"""Conversion of a training run to plain data: networks, optimizers, random states and data by name.

The description is ``{"objects": [...], "items": {...}}``. Objects have a state that changes during training; an
optimizer comes after the networks whose parameters it updates. In the items ``{"$state": i}`` stands for object i, so
that an object that is there twice is restored as one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest._saving.model_state import ESTIMATOR_MODULES, Encoder, public_name
from steepest._saving.random_states import BIT_GENERATORS
from steepest.nn import Network, Parameter
from steepest.optim import RULES, NaturalGradient, Optimizer
from steepest.optim.schedules import Adaptive

AnyOptimizer = Optimizer | NaturalGradient

# Optimizers that a file can make, by the names that it gives them.
OPTIMIZERS: dict[str, type[AnyOptimizer]] = {
    f"steepest.optim.{kind.__name__}": kind for kind in (*RULES, NaturalGradient)
}
# Letters of a network's text that a file keeps for messages.
_MOST_TEXT = 1000


def encode_run(items: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return named items as JSON values, and the tensors that they refer to.

    Parameters
    ----------
    items : mapping of str to object
        Networks, optimizers, random states and plain data, also in lists, tuples and dicts.

    Returns
    -------
    description : dict
        Description of the items in JSON types only.
    tensors : dict of str to ndarray
        C-ordered NumPy arrays by name.

    Raises
    ------
    TypeError
        If an item cannot be stored as data, or the network of an optimizer is missing.
    """
    encoder = _RunEncoder()
    for name, value in items.items():
        encoder.add_networks(value, name)
    described = {name: encoder.encode(value, name, name) for name, value in items.items()}
    return {"objects": encoder.objects, "items": described}, encoder.tensors


def name_of_optimizer(kind: type) -> str:
    """Return the name of an optimizer's class in files; one of the user's has the name that it has in Python."""
    return next((name for name, known in OPTIMIZERS.items() if known is kind), kind.__qualname__)


def arguments_of(optimizer: AnyOptimizer) -> dict[str, Any]:
    """Return what an optimizer was made with, as Python numbers and tuples; nothing for a class of the user's."""
    if type(optimizer) not in OPTIMIZERS.values():
        return {}
    return {name: _as_plain(value) for name, value in optimizer._arguments().items()}


def _as_plain(argument: Any) -> Any:
    """Return a NumPy scalar as a Python number and a list as a tuple; other arguments as they are."""
    if isinstance(argument, np.generic):
        return argument.item()
    return tuple(argument) if isinstance(argument, list) else argument


def parameters_of(optimizer: AnyOptimizer) -> list[Parameter]:
    """Return the parameters that an optimizer updates."""
    return optimizer.net.parameters() if isinstance(optimizer, NaturalGradient) else optimizer.params


class NetworkEncoder(Encoder):
    """Encoder of networks, which names the code of custom layers instead of refusing them."""

    def encode(self, value: Any, where: str, name: str) -> Any:
        """Return `value` in JSON types; what is no plain data becomes the name of its class or function."""
        try:
            return super().encode(value, where, name)
        except TypeError:
            own = value if hasattr(value, "__qualname__") else type(value)
            fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
            values = {f.name: getattr(value, f.name) for f in fields}
            return {"$code": own.__qualname__, "fields": self._items(values, where, name)}

    def architecture(self, network: Network) -> dict[str, Any]:
        """Return the description of a network without its parameters."""
        return self._items(network._configuration(), "", "")


class _RunEncoder(Encoder):
    """Encoder of the items of a run; `objects` collects what has a state."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: list[dict[str, Any]] = []
        self._numbers: dict[int, int] = {}

    def add_networks(self, value: Any, name: str) -> None:
        """Encode the networks in an item, before the optimizers that refer to them."""
        if isinstance(value, Network):
            self._number(value, name)
        elif isinstance(value, list | tuple):
            for i, item in enumerate(value):
                self.add_networks(item, f"{name}.{i}")
        elif isinstance(value, dict):
            for key, item in value.items():
                self.add_networks(item, f"{name}.{key}")

    def encode(self, value: Any, where: str, name: str) -> Any:
        """Return `value` in JSON types; an object with a state becomes its number."""
        if any(isinstance(value, kinds) for kinds, _ in self._KINDS):
            return {"$state": self._number(value, name)}
        if isinstance(value, Parameter):
            raise TypeError(f"{where} is a parameter: its network has to be kept, not the parameter alone")
        if public_name(type(value), ESTIMATOR_MODULES):
            raise TypeError(f"{where} is an estimator: steepest.save keeps it with its optimizer")
        return super().encode(value, where, name)

    def _number(self, value: Any, name: str) -> int:
        """Return the number of an object with a state; it is encoded when it is first met."""
        number = self._numbers.get(id(value))
        if number is None:
            method: Callable[..., dict[str, Any]] = next(m for k, m in self._KINDS if isinstance(value, k))
            described = {**method(self, value, name), "name": name}
            number = self._numbers[id(value)] = len(self.objects)
            self.objects.append(described)
            if isinstance(value, Network):
                self._numbers[id(value._arena)] = number
        return number

    def _described_network(self, network: Network, name: str) -> dict[str, Any]:
        encoder = NetworkEncoder()
        encoder.tensors = self.tensors
        return {**encoder._network(network, name, name), "text": repr(network)[:_MOST_TEXT]}

    def _described_optimizer(self, optimizer: AnyOptimizer, name: str) -> dict[str, Any]:
        places: list[list[Any]] = []
        for p in parameters_of(optimizer):
            number = self._numbers.get(id(p.arena))
            if number is None:
                raise TypeError(
                    f"{name} updates parameters of a network that is not there: pass the network too"
                )
            if not places or places[-1][0] != number:
                places.append([number, []])
            places[-1][1].append(p.name)
        found = {
            "$optimizer": name_of_optimizer(type(optimizer)),
            "parameters": places,
            "arguments": self._items(arguments_of(optimizer), name, f"{name}.arguments"),
            "state": self._items(optimizer.state_dict(), name, name),
        }
        if isinstance(optimizer, Optimizer) and optimizer._rates is not None:
            found["rates"] = self._array(optimizer._rates, name, f"{name}.rates")
        return found

    def _described_generator(self, generator: np.random.Generator, name: str) -> dict[str, Any]:
        state: dict[str, Any] = dict(generator.bit_generator.state)
        if state.get("bit_generator") not in BIT_GENERATORS:
            raise TypeError(f"{name} has a bit generator that is none of {', '.join(BIT_GENERATORS)}")
        return {"$generator": self._mapping(state, name, name)}

    def _described_random_state(self, state: np.random.RandomState, name: str) -> dict[str, Any]:
        return self._random_state(state, name, name)

    def _described_adaptive(self, schedule: Adaptive, name: str) -> dict[str, Any]:
        return {"$adaptive": self._items(vars(schedule), name, name)}

    _KINDS: tuple[tuple[Any, Callable[..., dict[str, Any]]], ...] = (
        (Network, _described_network),
        ((Optimizer, NaturalGradient), _described_optimizer),
        (np.random.Generator, _described_generator),
        (np.random.RandomState, _described_random_state),
        (Adaptive, _described_adaptive),
    )

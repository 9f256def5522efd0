"""Conversion of a model to plain data and back: JSON for its configuration, named tensors for its numbers.

A value without a JSON type is an object whose first key starts with ``$``. Decoding makes only the kinds that are
listed here, and only public classes of this package, so that a file cannot run code.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace, to_host
from steepest._saving.random_states import checked_state
from steepest._saving.tensor_file import StoredTensor
from steepest.kernels import PRECISIONS
from steepest.nn import Constant, Input, Network
from steepest.nn.architecture import Architecture, chain
from steepest.nn.lowering import asked_of_layers

# Modules of the classes that a file may name. In files, a class has the name of the first module that exports it.
ESTIMATOR_MODULES = (
    "steepest.neural_network",
    "steepest.linear_model",
    "steepest.decomposition",
    "steepest.discriminant_analysis",
    "steepest.reinforcement",
)
PART_MODULES = ("steepest.nn", "steepest.optim", "steepest.optim.schedules", "steepest.training.images")

# NumPy dtype kinds that the file format stores as tensors: bool, signed and unsigned integers, floating point.
_TENSOR_KINDS = "biuf"
# Largest total size of string arrays, in bytes. NumPy pads strings to the width in their dtype, so that a few letters
# in a file could otherwise claim any amount of memory.
_MOST_STRING_BYTES = 64 << 20


class StateError(ValueError):
    """The content of a file is not a valid model state; the message names the field."""


def encode_model(model: Any) -> tuple[Any, dict[str, Array]]:
    """Return a model as JSON values, and the tensors that they refer to.

    Parameters
    ----------
    model : estimator or Network
        The model to encode. An estimator is encoded as its parameters and the rest of its `__getstate__`.

    Returns
    -------
    description : dict
        Description of the model in JSON types only.
    tensors : dict of str to ndarray
        C-ordered NumPy arrays by name.

    Raises
    ------
    TypeError
        If the model is not of this package, or contains a value that cannot be stored as data.
    """
    encoder = Encoder()
    if not (isinstance(model, Network) or public_name(type(model), ESTIMATOR_MODULES)):
        raise TypeError(
            f"an object of type {type(model).__name__} is neither a Network nor an estimator of steepest: "
            "pickle or joblib can keep other objects"
        )
    return encoder.encode(model, type(model).__name__, ""), encoder.tensors


def decode_model(description: Any, tensors: Mapping[str, StoredTensor]) -> Any:
    """Return the model that `encode_model` described, on the CPU.

    Sizes are checked before memory is allocated: a network is built only if its tensors fit its layers. Each tensor is
    read once, directly into its array.

    Parameters
    ----------
    description : dict
        Description of the model, as `encode_model` returns it.
    tensors : mapping of str to StoredTensor
        The tensors by name.

    Returns
    -------
    estimator or Network
        A new model.

    Raises
    ------
    StateError
        If the description is not a model, or not one that this version knows; the message names the field.
    OSError, MemoryError
        If the file cannot be read, or the model does not fit into memory.
    """
    if not (isinstance(description, dict) and ("$network" in description or "$estimator" in description)):
        raise StateError("it describes neither a network nor an estimator")
    decoder = Decoder(tensors)
    with decoder.naming_fields():
        return decoder.decode(description)


def public_name(kind: type, modules: tuple[str, ...]) -> str | None:
    """Return "module.Class" with the first of the modules that exports a class, or None."""
    if kind.__module__.startswith("steepest."):
        for module in modules:
            if _exports(module).get(kind.__name__) is kind:
                return f"{module}.{kind.__name__}"
    return None


def _find_class(name: Any, modules: tuple[str, ...]) -> type:
    """Return the class with a name from `public_name`; only the listed modules are imported."""
    module, _, class_name = str(name).rpartition(".")
    found = _exports(module).get(class_name) if module in modules else None
    if found is None:
        raise StateError(f"this version of steepest has no {name}")
    return found


def _exports(module: str) -> dict[str, type]:
    """Return the classes that a module exports, by name; of a module of estimators no parts."""
    exported = importlib.import_module(module)
    values = {name: getattr(exported, name) for name in exported.__all__}
    parts_too = module in PART_MODULES
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, type) and (parts_too or not dataclasses.is_dataclass(value))
    }


def _dtype(text: Any) -> np.dtype[Any]:
    """Return the dtype of a code such as "<f4"; other text, which NumPy might parse, raises StateError."""
    if not re.fullmatch(r"[<>=|][?biufOU]\d{0,6}", str(text)):
        raise StateError(f"{text!r} is not a supported dtype")
    dtype: np.dtype[Any] = np.dtype(text)
    return dtype


class Encoder:
    """Encoder of values as JSON types; `tensors` collects the arrays."""

    def __init__(self) -> None:
        self.tensors: dict[str, Array] = {}
        self._string_bytes = 0

    def encode(self, value: Any, where: str, name: str) -> Any:
        """Return `value` in JSON types; messages name the place `where`, and tensor names start with `name`."""
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        for kinds, method in self._METHODS:
            if isinstance(value, kinds):
                return method(self, value, where, name)
        if array_namespace(value) is not np:
            return self._array(to_host(value), where, name)
        if dataclasses.is_dataclass(value) and (public := public_name(type(value), PART_MODULES)):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return {"$object": public, "fields": self._items(fields, where, name)}
        if public := public_name(type(value), ESTIMATOR_MODULES):
            return self._estimator(value, public, where, name)
        raise TypeError(
            f"{where} is of type {type(value).__module__}.{type(value).__qualname__}, "
            "which cannot be kept as plain data: "
            "use pickle or joblib"
        )

    def _items(self, items: Mapping[str, Any], where: str, name: str) -> dict[str, Any]:
        return {
            key: self.encode(value, f"{where}.{key}", f"{name}.{key.lstrip('_')}".lstrip("."))
            for key, value in items.items()
        }

    def _estimator(self, model: Any, public: str, where: str, name: str) -> dict[str, Any]:
        state = dict(model.__getstate__())
        parameters = {key: state.pop(key) for key in model.get_params(deep=False) if key in state}
        if "callbacks" in parameters:
            # Callbacks may be any objects, which cannot be stored as data.
            parameters["callbacks"] = None
        if not isinstance(parameters.get("env"), str):
            # Neither can environments be, nor functions that make them.
            parameters.pop("env", None)
        return {
            "$estimator": public,
            "parameters": self._items(parameters, where, f"{name}.parameters".lstrip(".")),
            "state": self._items(state, where, name),
        }

    def _network(self, network: Network, where: str, name: str) -> dict[str, Any]:
        prefix = f"{name}." if name else ""
        values = {key: self._array(tensor, where, prefix + key) for key, tensor in network._values.items()}
        return {"$network": {**self._items(network._configuration(), where, name), "parameters": values}}

    def _sequence(self, values: Any, where: str, name: str) -> Any:
        items = [self.encode(v, f"{where}[{i}]", f"{name}.{i}") for i, v in enumerate(values)]
        return {"$tuple": items} if isinstance(values, tuple) else items

    def _mapping(self, values: dict[Any, Any], where: str, name: str) -> Any:
        if all(type(key) is str and not key.startswith("$") for key in values):
            return self._items(values, where, name)
        return {"$dict": self._sequence([list(pair) for pair in values.items()], where, name)}

    def _array(self, array: Any, where: str, name: str) -> dict[str, Any]:
        # np.ascontiguousarray would turn a 0-d array into a 1-d array.
        array = np.array(to_host(array), order="C", copy=None)
        if array.dtype.kind in "OU":
            self._string_bytes += array.nbytes
            if self._string_bytes > _MOST_STRING_BYTES:
                raise TypeError(
                    f"{where} is an array of dtype {array.dtype} and shape {array.shape}; with it, the strings take "
                    f"more than {_MOST_STRING_BYTES >> 20} MiB: shorten the longest strings, or use pickle"
                )
            items = self._sequence(array.ravel().tolist(), where, name)
            return {"$array": items, "shape": list(array.shape), "dtype": array.dtype.str}
        if array.dtype.kind not in _TENSOR_KINDS or array.dtype.itemsize > 8:
            raise TypeError(f"{where} is an array of dtype {array.dtype}, which cannot be kept: use pickle")
        unique, i = name, 1
        while unique in self.tensors:
            unique, i = f"{name}:{i}", i + 1
        self.tensors[unique] = array.astype(array.dtype.newbyteorder("="), copy=False)
        return {"$tensor": unique}

    def _scalar(self, value: np.generic, where: str, name: str) -> dict[str, Any]:
        return {"$scalar": self._array(np.asarray(value), where, name)}

    def _random_state(self, value: np.random.RandomState, where: str, name: str) -> dict[str, Any]:
        state: dict[str, Any] = dict(value.get_state(legacy=False))
        if state["bit_generator"] != "MT19937":
            raise TypeError(
                f"{where} is a RandomState of {state['bit_generator']}: use numpy.random.Generator"
            )
        return {"$random_state": self._mapping(state, where, name)}

    _METHODS: tuple[tuple[Any, Callable[..., Any]], ...] = (
        (Network, _network),
        (np.ndarray, _array),
        (np.generic, _scalar),
        (np.dtype, lambda self, value, where, name: {"$dtype": value.str}),
        (np.random.RandomState, _random_state),
        ((list, tuple), _sequence),
        (dict, _mapping),
    )


class Decoder:
    """Decoder of values from JSON types and tensors; `field` is the path to the value that is being decoded."""

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        self.field: list[object] = []
        self._tensors = dict(tensors)
        self._string_bytes = 0

    @contextmanager
    def naming_fields(self, *passing: type[Exception]) -> Iterator[None]:
        """Raise StateError with the current field for exceptions other than OSError, MemoryError and `passing`."""
        unchanged: tuple[type[Exception], ...] = (OSError, MemoryError, *passing)
        try:
            yield
        except unchanged:
            raise
        except Exception as error:
            # The classes of a damaged description may raise any exception.
            text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            field = ".".join(map(str, self.field))
            raise StateError(f"{field}: {text}" if field else text) from error

    def decode(self, value: Any, *field: object) -> Any:
        """Return the decoded value; `field` is its path relative to the current field."""
        # After an exception, the path stays as it is, for the message.
        self.field += field
        found = self._decode(value)
        del self.field[len(self.field) - len(field) :]
        return found

    def _decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(item, i) for i, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        kind = next(iter(value), "")
        if not kind.startswith("$"):
            return self._items(value)
        if kind not in self._METHODS:
            raise StateError(f"this version of steepest knows no {kind}")
        return self._METHODS[kind](self, value)

    def _items(self, values: Mapping[str, Any], *field: object) -> dict[str, Any]:
        return {key: self.decode(value, *field, key) for key, value in values.items()}

    def _estimator(self, value: dict[str, Any]) -> Any:
        kind = _find_class(value["$estimator"], ESTIMATOR_MODULES)
        model = kind()
        if unknown := sorted(set(value["parameters"]) - set(model.get_params(deep=False))):
            raise StateError(
                f"this version of steepest's {kind.__name__} has no parameter {', '.join(unknown)}"
            )
        parameters = self._items(value["parameters"], "parameters")
        # Parameters that a file of an older version does not have keep their defaults.
        model.__setstate__({**parameters, **self._items(value["state"], "state")})
        return model

    def _network(self, value: dict[str, Any]) -> Network:
        described = {name: item for name, item in value["$network"].items() if name != "parameters"}
        state = {"seed": 0, "passes": 0, **self._items(described)}
        architecture, frozen = self._architecture(state), set(state.pop("frozen", ()))
        precision = state.pop("precision", "float32")
        if precision not in PRECISIONS:
            raise StateError(f"a network of this version of steepest has no precision {precision!r:.80}")
        if unknown := sorted(set(state) - {"seed", "dtype", "passes"}):
            raise StateError(f"a network of this version of steepest has no {', '.join(unknown)}")
        dtype = state["dtype"]
        seed, passes = operator.index(state["seed"]), operator.index(state["passes"])
        tensors = {name: self._stored(item) for name, item in value["$network"]["parameters"].items()}
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        asked = asked_of_layers(architecture)
        wanted = {name: spec.shape for name, spec in (*asked.parameters.items(), *asked.states.items())}
        if shapes != wanted or any(t.dtype != dtype for t in tensors.values()):
            raise StateError("the parameters of its network do not fit its layers")
        if not frozen <= set(asked.parameters):
            raise StateError("parameters are frozen that its network does not have")
        network = Network.__new__(Network)
        network._build(architecture, seed, dtype, "cpu", precision)
        network._passes[...] = passes
        for name, tensor in network._values.items():
            tensors[name].read_into(tensor)
        network._set_frozen(frozen)
        return network

    def _architecture(self, state: dict[str, Any]) -> Architecture:
        """Take what describes the layers of a network out of its state, and return it."""
        layers = tuple(state.pop("layers"))
        if "calls" not in state:
            return chain(layers)
        inputs = [Input(tuple(shape), dtype, name) for shape, dtype, name in state.pop("inputs")]
        constants = [Constant(array) for array in state.pop("constants")]
        return Architecture.of_parts(layers, inputs, constants, state.pop("calls"), state.pop("outputs"))

    def _object(self, value: dict[str, Any]) -> Any:
        kind = _find_class(value["$object"], PART_MODULES)
        known = {f.name for f in dataclasses.fields(kind)}
        if unknown := sorted(set(value["fields"]) - known):
            raise StateError(f"this version of steepest's {kind.__name__} has no {', '.join(unknown)}")
        # The constructor is skipped: subclasses such as ReLU have no argument for the fields that they fix.
        part: Any = object.__new__(kind)
        for name, item in self._items(value["fields"]).items():
            object.__setattr__(part, name, item)
        if hasattr(part, "__post_init__"):
            part.__post_init__()
        return part

    def _array(self, value: dict[str, Any]) -> Array:
        dtype = _dtype(value["dtype"])
        if dtype.kind not in "OU":
            raise StateError(f"an array of strings cannot have dtype {dtype}")
        self._string_bytes += len(value["$array"]) * dtype.itemsize
        if self._string_bytes > _MOST_STRING_BYTES:
            raise StateError(f"its strings would take more than {_MOST_STRING_BYTES >> 20} MiB of memory")
        items: Array = np.empty(len(value["$array"]), dtype)
        items[:] = self.decode(value["$array"])
        return items.reshape(value["shape"])

    def _stored(self, value: dict[str, Any]) -> StoredTensor:
        # Each tensor may be used once, so that a small file cannot allocate the same bytes repeatedly.
        tensor = self._tensors.pop(value["$tensor"], None)
        if tensor is None:
            raise StateError(f"there is no tensor {value['$tensor']!r}, or another field has it")
        return tensor

    def _tensor(self, value: dict[str, Any]) -> Array:
        return self._stored(value).read()

    def _scalar(self, value: dict[str, Any]) -> Any:
        return self.decode(value["$scalar"])[()]

    def _random_state(self, value: dict[str, Any]) -> np.random.RandomState:
        state = self.decode(value["$random_state"])
        checked_state(state)
        if state["bit_generator"] != "MT19937" or state["has_gauss"] not in (0, 1):
            raise StateError("this is no state of MT19937")
        random_state = np.random.RandomState()
        random_state.set_state(state)
        return random_state

    _METHODS: dict[str, Callable[..., Any]] = {  # noqa: RUF012
        "$estimator": _estimator,
        "$network": _network,
        "$object": _object,
        "$array": _array,
        "$tensor": _tensor,
        "$scalar": _scalar,
        "$random_state": _random_state,
        "$float": lambda self, value: float(value["$float"]),
        "$tuple": lambda self, value: tuple(self.decode(value["$tuple"])),
        "$dict": lambda self, value: dict(self.decode(value["$dict"])),
        "$dtype": lambda self, value: _dtype(value["$dtype"]),
    }

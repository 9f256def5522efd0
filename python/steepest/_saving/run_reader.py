"""Restoring of a training run from plain data, into new objects or into those of the caller."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import assign, to_device
from steepest._saving.container import MismatchError
from steepest._saving.model_state import Decoder, Encoder, StateError
from steepest._saving.random_states import BIT_GENERATORS, checked_state
from steepest._saving.run_state import (
    OPTIMIZERS,
    AnyOptimizer,
    NetworkEncoder,
    arguments_of,
    name_of_optimizer,
    parameters_of,
)
from steepest._saving.tensor_file import StoredTensor
from steepest.nn import Network
from steepest.optim import NaturalGradient, Optimizer
from steepest.optim.schedules import Adaptive

# Letters of a text of a file in a message.
_MOST_TEXT = 300


def decode_run(
    description: Any, tensors: Mapping[str, StoredTensor], into: Mapping[str, Any], device: str | None
) -> dict[str, Any]:
    """Return the items that `encode_run` described.

    Parameters
    ----------
    description : dict
        Description of the items, as `encode_run` returns it.
    tensors : mapping of str to StoredTensor
        The tensors by name.
    into : mapping of str to object
        The caller's objects, which take the states of the items of their names. They change only after everything has
        been checked.
    device : {"cpu", "cuda"} or None
        Device of networks that are made.

    Returns
    -------
    dict of str to object
        All items.

    Raises
    ------
    MismatchError
        If an object of the caller is of another kind, or another network or optimizer, than the saved one.
    StateError
        If the description is not valid.
    OSError, MemoryError
        If the file cannot be read, or an object does not fit into memory.
    """
    decoder = _RunDecoder(tensors, device)
    with decoder.naming_fields(MismatchError):
        items, objects = description["items"], description["objects"]
        for name, own in into.items():
            if name not in items:
                raise MismatchError(
                    f"holds no {name}, but {', '.join(items) or 'nothing'}: leave it out of into"
                )
            decoder.place(items[name], own, name)
        for number, described in enumerate(objects):
            decoder.add_object(number, described)
        found = {name: decoder.decode(value, name) for name, value in items.items()}
    for write in decoder.writes:
        write()
    return found


class _RunDecoder(Decoder):
    """Decoder of a run; `writes` collects the functions that change the caller's objects."""

    def __init__(self, tensors: Mapping[str, StoredTensor], device: str | None) -> None:
        super().__init__(tensors)
        self.writes: list[Callable[[], None]] = []
        self._device = device or "cpu"
        self._objects: list[Any] = []
        # The caller's objects by number, and the caller's arrays by the tensor's name.
        self._own: dict[int, Any] = {}
        self._own_arrays: dict[str, Array] = {}

    def place(self, value: Any, own: Any, where: str) -> None:
        """Note which objects of the caller take the states in the description of an item."""
        if isinstance(value, dict) and "$tuple" in value:
            value = value["$tuple"]
        is_dict = isinstance(value, dict) and not next(iter(value), "").startswith("$")
        if isinstance(value, dict) and "$dict" in value:
            value, is_dict = {key: item for key, item in value["$dict"] if isinstance(key, int | str)}, True
        if isinstance(value, list) and isinstance(own, list | tuple) and len(own) == len(value):
            for i, item in enumerate(value):
                self.place(item, own[i], f"{where}.{i}")
        elif is_dict and isinstance(own, dict) and own.keys() <= value.keys():
            for key, item in own.items():
                self.place(value[key], item, f"{where}.{key}")
        elif isinstance(value, dict) and "$state" in value and not is_dict:
            number = operator.index(value["$state"])
            if self._own.setdefault(number, own) is not own:
                raise MismatchError(f"holds one object as {where} and elsewhere, but into has two")
        elif (
            isinstance(value, dict)
            and "$tensor" in value
            and not is_dict
            and (isinstance(own, np.ndarray) or is_cupy(own))
        ):
            self._own_arrays[value["$tensor"]] = own
        else:
            raise MismatchError(
                f"holds nothing as {where} that can be loaded into an object of type {type(own).__name__}: "
                "leave it out of into, and take it from what load_checkpoint returns"
            )

    def add_object(self, number: int, described: dict[str, Any]) -> None:
        """Restore object `number`, or check that the caller's own can take its state."""
        kind, where = next(iter(described)), str(described["name"])[:_MOST_TEXT]
        if kind not in self._KINDS:
            raise StateError(f"this version of steepest knows no object {kind}")
        own, (types, method) = self._own.get(number), self._KINDS[kind]
        if own is not None and not isinstance(own, types):
            raise MismatchError(
                f"holds an object of kind {kind[1:]} as {where}, but into has one of type {type(own).__name__}"
            )
        self.field[:] = [where]
        self._objects.append(method(self, described, own, where))
        self.field.clear()

    # ------------------------------------------------------------------------------------------------ networks

    def _run_network(self, described: dict[str, Any], own: Network | None, where: str) -> Network:
        saved, text = described["$network"], str(described["text"])[:_MOST_TEXT]
        passes = operator.index(saved["passes"])
        if not 0 <= passes < 2**63:
            raise StateError(f"its number of passes is {passes:.3g}")
        if own is None:
            return self._network(described).to(self._device)
        encoder = NetworkEncoder()
        state_names = {"parameters", "seed", "passes"}
        mine, theirs = (
            {key: value for key, value in each.items() if key not in state_names}
            for each in (encoder.architecture(own), saved)
        )
        place = self._difference(mine, theirs, encoder.tensors)
        stored = {name: self._stored(value) for name, value in saved["parameters"].items()}
        if place is None:
            shapes = {name: tensor.shape for name, tensor in own._values.items()}
            if {name: tensor.shape for name, tensor in stored.items()} != shapes:
                place = "the shapes of their parameters"
            elif own.draws and saved["seed"] != own.seed:
                place = f"the seed of dropout, {saved['seed']} in the file and {own.seed} in into"
        if place is not None:
            raise MismatchError(
                f"holds another network as {where}: {text}, but into has {repr(own)[:_MOST_TEXT]}. "
                f"They differ in {place or 'their form'}"
            )
        if any(tensor.dtype != own.dtype for tensor in stored.values()):
            raise StateError("the parameters of its network do not fit its layers")

        def write() -> None:
            for name, tensor in stored.items():
                value = own._values[name]
                if own.device == "cpu":
                    tensor.read_into(value)
                else:
                    assign(value, tensor.read())
            own._passes[...] = passes

        self.writes.append(write)
        return own

    def _code(self, value: dict[str, Any]) -> Any:
        raise MismatchError(
            f"holds a network with {str(value['$code'])[:_MOST_TEXT]}, which is code of your program: make the "
            "network yourself, and pass it in into"
        )

    # ---------------------------------------------------------------------------------------------- optimizers

    def _run_optimizer(self, described: dict[str, Any], own: AnyOptimizer | None, where: str) -> AnyOptimizer:
        kind, rates = described["$optimizer"], described.get("rates")
        places = [
            (operator.index(number), name) for number, names in described["parameters"] for name in names
        ]
        if len(set(places)) < len(places):
            raise StateError("a parameter is there twice")
        networks = {number: self._network_at(number) for number, _ in places}
        known = {number: {p.name: p for p in network.parameters()} for number, network in networks.items()}
        params = [known[number][name] for number, name in places]
        state = self.decode(described["state"])
        table = None if rates is None else self._checked_rates(self.decode(rates))
        if own is not None:
            mine = [(id(p.arena), p.name) for p in parameters_of(own)]
            if mine != [(id(p.arena), p.name) for p in params]:
                raise MismatchError(
                    f"holds an optimizer of other parameters as {where}: pass its network in into too, and make the "
                    "optimizer from the same parameters in the same order"
                )
            self._check_same_optimizer(own, described, where)
            self._check_same_schedule(own, table, where)
            if table is not None:
                assert isinstance(own, Optimizer)
                target = own._rates
                self.writes.append(lambda: assign(target, table))  # type: ignore[arg-type]
            self.writes.append(own._checked_state(state))
            return own
        if kind not in OPTIMIZERS:
            raise MismatchError(
                f"holds the state of {str(kind)[:_MOST_TEXT]} as {where}, which is code of your program: make the "
                "optimizer yourself, and pass it in into with its network"
            )
        arguments = self._items(described["arguments"])
        if unknown := sorted(set(arguments) - set(inspect.signature(OPTIMIZERS[kind]).parameters)):
            raise StateError(f"this version of steepest's {kind} has no argument {', '.join(unknown)}")
        (network, *others) = networks.values()
        make: Any = OPTIMIZERS[kind]
        if make is not NaturalGradient:
            made = make(params, **arguments)
            made._rates = None if table is None else to_device(table, made._device)
        elif others or len(params) != len(network.parameters()) or table is not None:
            raise StateError(
                "a natural gradient updates all parameters of one network, without a table of rates"
            )
        else:
            made = make(network, **arguments)
        made._checked_state(state)()
        return made  # type: ignore[no-any-return]

    def _network_at(self, number: int) -> Network:
        network = self._objects[number] if 0 <= number < len(self._objects) else None
        if not isinstance(network, Network):
            raise StateError(f"object {number} is no network that comes before it")
        return network

    def _checked_rates(self, rates: Array) -> Array:
        is_valid = rates.dtype == np.float64 and rates.ndim == 1 and len(rates) > 0
        if not is_valid or not (np.isfinite(rates) & (rates >= 0)).all():
            raise StateError("its rates are no learning rates")
        return rates

    def _check_same_optimizer(self, own: AnyOptimizer, described: dict[str, Any], where: str) -> None:
        mine, theirs = name_of_optimizer(type(own)), described["$optimizer"]
        if mine != theirs:
            raise MismatchError(f"holds the state of {theirs!s:.300} as {where}, but into has {mine}")
        encoder = Encoder()
        arguments = encoder._items(arguments_of(own), where, "")
        place = self._difference(arguments, described["arguments"], encoder.tensors)
        if place is not None:
            name = place.partition(".")[0]
            saved = described["arguments"].get(name)
            raise MismatchError(
                f"holds another optimizer as {where}: {mine} with {name}={saved!s:.300}, but into has one with "
                f"{name}={arguments.get(name)}"
            )

    def _check_same_schedule(self, own: AnyOptimizer, table: Array | None, where: str) -> None:
        followed = own._rates if isinstance(own, Optimizer) else None
        mine, theirs = (0 if rates is None else len(rates) for rates in (followed, table))
        if mine != theirs:
            raise MismatchError(
                f"holds an optimizer as {where} that follows a schedule of {theirs} steps, but the one in into follows "
                f"{mine}: call follow with as many steps, or with None for 0"
            )

    # ------------------------------------------------------------------------------------------- other objects

    def _run_generator(
        self, described: dict[str, Any], own: np.random.Generator | None, where: str
    ) -> np.random.Generator:
        state = checked_state(self.decode(described["$generator"]))
        kind = BIT_GENERATORS[state["bit_generator"]]
        if own is None:
            own = np.random.Generator(kind())
        elif type(own.bit_generator) is not kind:
            raise MismatchError(
                f"holds the state of {kind.__name__} as {where}, but into has {type(own.bit_generator).__name__}"
            )
        bits: Any = own.bit_generator
        self.writes.append(lambda: setattr(bits, "state", state))
        return own

    def _run_random_state(
        self, described: dict[str, Any], own: np.random.RandomState | None, where: str
    ) -> np.random.RandomState:
        saved = self._random_state(described)
        if own is None:
            return saved
        target = own
        self.writes.append(lambda: target.set_state(saved.get_state(legacy=False)))
        return own

    def _run_adaptive(self, described: dict[str, Any], own: Adaptive | None, where: str) -> Adaptive:
        state = self._items(described["$adaptive"])
        best, without, finished = (state.pop(name) for name in ("_best", "_without", "finished"))
        saved = Adaptive(**state)
        saved._best, saved._without, saved.finished = float(best), operator.index(without), bool(finished)
        if own is None:
            return saved
        target = own
        self.writes.append(lambda: vars(target).update(vars(saved)))
        return own

    # ------------------------------------------------------------------------------------------------- values

    def _tensor(self, value: dict[str, Any]) -> Array:
        own, stored = self._own_arrays.get(value["$tensor"]), self._stored(value)
        if own is None:
            return stored.read()
        if (own.shape, own.dtype) != (stored.shape, stored.dtype):
            raise MismatchError(
                f"holds an array of shape {stored.shape} and dtype {stored.dtype} as {'.'.join(map(str, self.field))}, "
                f"but into has one of {own.shape} and {own.dtype}"
            )
        self.writes.append(lambda: assign(own, stored.read()))
        return own

    def _state(self, value: dict[str, Any]) -> Any:
        number = operator.index(value["$state"])
        if not 0 <= number < len(self._objects):
            raise StateError(f"there is no object {number}")
        return self._objects[number]

    def _difference(self, own: Any, saved: Any, arrays: Mapping[str, Array]) -> str | None:
        """Return the first place where two descriptions differ, or None; `arrays` are the tensors of the first."""
        if isinstance(own, dict) and isinstance(saved, dict) and own.keys() == saved.keys():
            if "$tensor" in own:
                stored, array = self._tensors.get(saved["$tensor"]), arrays[own["$tensor"]]
                is_same = stored is not None and (stored.shape, stored.dtype) == (array.shape, array.dtype)
                return None if stored and is_same and stored.read().tobytes() == array.tobytes() else ""
            keys: Iterator[Any] = iter(own)
        elif isinstance(own, list) and isinstance(saved, list) and len(own) == len(saved):
            keys = iter(range(len(own)))
        else:
            return None if own == saved else ""
        for key in keys:
            place = self._difference(own[key], saved[key], arrays)
            if place is not None:
                # The keys of the format itself mean nothing to a reader.
                shown = "" if str(key).startswith("$") or key == "fields" else str(key)
                return f"{shown}.{place}".strip(".")
        return None

    _METHODS = {  # noqa: RUF012
        **{k: v for k, v in Decoder._METHODS.items() if k not in ("$estimator", "$network", "$random_state")},
        "$tensor": _tensor,
        "$state": _state,
        "$code": _code,
    }
    _KINDS: dict[str, tuple[Any, Callable[..., Any]]] = {  # noqa: RUF012
        "$network": (Network, _run_network),
        "$optimizer": ((Optimizer, NaturalGradient), _run_optimizer),
        "$generator": (np.random.Generator, _run_generator),
        "$random_state": (np.random.RandomState, _run_random_state),
        "$adaptive": (Adaptive, _run_adaptive),
    }

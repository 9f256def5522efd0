"""The architecture of a network: its layers, and what each is applied to."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from .layers.base import Layer, described
from .layers.linear import Linear
from .values import Constant, Input, Value


@dataclass(frozen=True)
class Call:
    """A layer that is applied to values: the position of the layer, and the numbers of the values."""

    layer: int
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """The layers of a network, and what each is applied to.

    Values are numbered: first the inputs, then the constants, then the outputs of the calls.

    Attributes
    ----------
    layers : tuple of layers
        Each layer once, in the order of their first calls.
    inputs : tuple of Input
        The inputs; empty for a chain, whose one input has the width that the layers ask for.
    constants : tuple of Constant
        The constants.
    calls : tuple of Call
        The layers as they are applied, in order.
    outputs : tuple of int
        Numbers of the outputs.
    """

    layers: tuple[Layer, ...]
    inputs: tuple[Input, ...]
    constants: tuple[Constant, ...]
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]

    @property
    def is_chain(self) -> bool:
        """Whether it is a list of layers whose input has any width."""
        return not self.inputs

    def parts(self) -> dict[str, Any]:
        """Return all but the layers as plain data, for files."""
        return {
            "inputs": [[value.shape, value.dtype, value.name] for value in self.inputs],
            "constants": [value.array for value in self.constants],
            "calls": [[call.layer, call.inputs] for call in self.calls],
            "outputs": self.outputs,
        }

    @classmethod
    def of_parts(
        cls, layers: tuple[Any, ...], inputs: list[Input], constants: list[Constant], calls: Any, outputs: Any
    ) -> Architecture:
        """Return an architecture of what `parts` returned.

        Raises
        ------
        ValueError, TypeError
            If an object is no layer, or a number is not that of a layer or of an earlier value.
        """
        known = len(inputs) + len(constants)
        made: list[Call] = []
        for layer, numbers in calls:
            call = Call(operator.index(layer), tuple(operator.index(i) for i in numbers))
            if not 0 <= call.layer < len(layers) or not isinstance(layers[call.layer], Layer):
                raise ValueError(f"[Network] there is no layer {call.layer}")
            if not call.inputs or not all(0 <= i < known + len(made) for i in call.inputs):
                raise ValueError(
                    f"[Network] layer {call.layer} is called on values that come later or are missing"
                )
            made.append(call)
        last = tuple(operator.index(i) for i in outputs)
        values = [*range(len(inputs)), *range(known, known + len(made))]
        if not inputs or not last or not all(i in values for i in last):
            raise ValueError(
                "[Network] there must be inputs, and outputs among the values that are no constants"
            )
        return cls(tuple(layers), tuple(inputs), tuple(constants), tuple(made), last)


def chain(layers: tuple[Any, ...]) -> Architecture:
    """Return the architecture of layers that follow one another; an `Input` may stand first.

    Raises
    ------
    ValueError, TypeError
        If there is no layer, or one of the objects is no layer.
    """
    inputs: tuple[Input, ...] = ()
    if layers and isinstance(layers[0], Input):
        inputs, layers = (layers[0],), layers[1:]
    if not layers:
        raise ValueError("[Network] there must be at least one layer")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"[Network] layer {i} is {described(layer)}, not a layer of steepest.nn")
        if layer.arity[0] > 1:
            raise ValueError(
                f"[Network] layer {i}, {layer}, takes {layer.arity[0]} inputs or more: call it on values, as in "
                "nn.Add()(a, b), and pass inputs and outputs to Network"
            )
    calls = tuple(Call(i, (i,)) for i in range(len(layers)))
    positions = {id(layer): i for i, layer in reversed(list(enumerate(layers)))}
    return Architecture(_with_positions_of_ties(layers, positions), inputs, (), calls, (len(layers),))


def between(inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> Architecture:
    """Return the architecture of what lies between inputs and outputs.

    Raises
    ------
    ValueError, TypeError
        If an input is no `Input` or is not used, if an output depends on no input, or on another network's.
    """
    for value in inputs:
        if not isinstance(value, Input):
            raise TypeError(f"[Network] inputs must be nn.Input values, got {value!r}")
    for value in outputs:
        if not isinstance(value, Value):
            raise TypeError(f"[Network] outputs must be values, got an object of type {type(value).__name__}")
    if len({id(value) for value in inputs}) < len(inputs) or not inputs:
        raise ValueError("[Network] inputs must be one or more different values")
    if not outputs:
        raise ValueError("[Network] there must be at least one output")
    walk = _Walk(inputs)
    for value in outputs:
        if not walk.reaches_input(value):
            raise ValueError(f"[Network] the output of {value.origin} depends on no input")
    unused = [value.origin for value in inputs if id(value) not in walk.used]
    if unused:
        raise ValueError(f"[Network] no output depends on {' and '.join(unused)}")
    numbers = {id(value): i for i, value in enumerate([*inputs, *walk.constants])}
    layers: list[Layer] = []
    positions: dict[int, int] = {}
    calls = []
    for value in walk.order:
        assert value.layer is not None
        if id(value.layer) not in positions:
            positions[id(value.layer)] = len(layers)
            layers.append(value.layer)
        calls.append(Call(positions[id(value.layer)], tuple(numbers[id(v)] for v in value.inputs)))
        numbers[id(value)] = len(numbers)
    return Architecture(
        _with_positions_of_ties(layers, positions),
        cast("tuple[Input, ...]", inputs),
        tuple(walk.constants),
        tuple(calls),
        tuple(numbers[id(value)] for value in outputs),
    )


def _with_positions_of_ties(layers: Sequence[Layer], positions: Mapping[int, int]) -> tuple[Layer, ...]:
    """Return layers whose `tied_to` are positions, given those of the layers by their identities."""
    tied = []
    for layer in layers:
        if isinstance(layer, Linear) and isinstance(layer.tied_to, Layer):
            if id(layer.tied_to) not in positions:
                raise ValueError(f"[Network] {layer} is tied to a layer that is not in this network")
            layer = replace(layer, tied_to=positions[id(layer.tied_to)])
        tied.append(layer)
    return tuple(tied)


class _Walk:
    """Visits what outputs depend on, each value once and after what it depends on."""

    def __init__(self, inputs: tuple[Value, ...]) -> None:
        self._known = {id(value) for value in inputs}
        self._depends: dict[int, bool] = {}
        self.used: set[int] = set()
        self.order: list[Value] = []
        self.constants: list[Constant] = []

    def reaches_input(self, last: Value) -> bool:
        # With a stack, since networks may be deeper than Python's recursion.
        stack = [(last, False)]
        while stack:
            value, inputs_are_done = stack.pop()
            if id(value) in self._depends:
                continue
            if isinstance(value, Input):
                if id(value) not in self._known:
                    raise ValueError(
                        f"[Network] an output depends on {value.origin}, {value!r}, which is not among the inputs"
                    )
                self.used.add(id(value))
                self._depends[id(value)] = True
            elif isinstance(value, Constant):
                self.constants.append(value)
                self._depends[id(value)] = False
            elif inputs_are_done:
                self._depends[id(value)] = any(self._depends[id(v)] for v in value.inputs)
                self.order.append(value)
            else:
                stack.append((value, True))
                stack.extend((v, False) for v in reversed(value.inputs))
        return self._depends[id(last)]

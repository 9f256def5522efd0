"""From layers to a program: the architecture of a network, and what lowers it."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from steepest._runtime.arrays import Array

from .layers.base import Layer, ParameterSpec, described
from .layers.linear import Linear
from .ops import Operation
from .program import Node, Program, Reference
from .values import Constant, Input, Shape, Value

# Weyl's sequence, the fractional parts of multiples of the golden ratio, sends neighbouring seeds and layers far apart.
_WEYL = 0x9E3779B97F4A7C15


def _mixed(state: int) -> int:
    """Return the number that SplitMix64 makes of a state (G. Steele, D. Lea, C. Flood, 2014)."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


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
        if isinstance(layer, Linear) and isinstance(layer.tied_to, Linear):
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


class Builder:
    """Builds a program, layer by layer.

    Parameters
    ----------
    layers : tuple of layers
        All layers of the network.
    specs : mapping of str to ParameterSpec
        Parameters of the network that are known already, by name.
    seed : int
        Seed of the network.
    passes : 0-d int64 ndarray
        Counts the forward passes of the network.
    """

    def __init__(
        self, layers: tuple[Layer, ...], specs: Mapping[str, ParameterSpec], seed: int, passes: Array
    ) -> None:
        self.passes = passes
        self.nodes: list[Node] = []
        self.specs = dict(specs)
        self.states: dict[str, ParameterSpec] = {}
        self.integers: dict[int, np.dtype[Any]] = {}
        self._seed = seed
        self._shapes: dict[int, Shape] = {}
        self._origins: dict[int, tuple[str, Layer | None]] = {}
        self._constants: set[int] = set()
        self._layers = layers
        self._path: tuple[str, ...] = ()
        self._seeds: dict[tuple[str, ...], int] = {}

    def seed(self) -> int:
        """Return the seed of what the present layer draws."""
        state = (self._seed + (int(self._path[0]) + 1) * _WEYL) % 2**64
        for part in self._path[1:]:
            # Layers within a layer: a step of SplitMix64 each, so that no place has the seed of another.
            state = _mixed((state + (int(part) + 2 if part.isdigit() else 1) * _WEYL) % 2**64)
        calls = self._seeds.get(self._path, 0)
        self._seeds[self._path] = calls + 1
        # A layer that is called again draws anew.
        return state if calls == 0 else _mixed(state ^ calls)

    def shape(self, number: int) -> Shape:
        """Return the shape of a sample of a value."""
        return self._shapes[number]

    def known_shape(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample of a value, all of whose sizes are known."""
        shape = self._shapes[number]
        if None in shape:
            raise ValueError(
                "needs the shape of its input: put nn.Input(shape), with all sizes, in front of the layers, behind one"
            )
        return shape  # type: ignore[return-value]

    def is_constant(self, number: int) -> bool:
        """Return whether a value is a constant."""
        return number in self._constants

    def value(
        self, shape: Shape, origin: str, layer: Layer | None = None, *, is_constant: bool = False
    ) -> int:
        """Return the number of a new value, which comes from an input, or from a layer at a place."""
        number = len(self._shapes)
        self._shapes[number], self._origins[number] = shape, (origin, layer)
        if is_constant:
            self._constants.add(number)
        return number

    def call(self, part: str, layer: Layer, inputs: tuple[int, ...]) -> int:
        """Add a layer, whose place within the present one is `part`, and return the number of its output."""
        outer, self._path = self._path, (*self._path, part)
        try:
            layer.check_inputs(tuple(self._shapes[number] for number in inputs))
            layer.output_shape(*(self._shapes[number] for number in inputs))
            output = layer.lower(self, inputs)
        except ValueError as error:
            text = str(error)
            if text.startswith("["):
                raise
            source, before = self._origins[inputs[0]]
            origin = source if before is None else f"layer {source}, {before}"
            path = ".".join(self._path)
            raise ValueError(f"[Network] layer {path} {text} of {origin}: {layer}") from None
        finally:
            self._path = outer
        return output

    def node(
        self,
        layer: Layer,
        operation: Operation,
        inputs: tuple[int, ...],
        others: Mapping[str, Reference] | None = None,
        shape: Shape | None = None,
    ) -> int:
        """Add an operation of a layer, and return the number of its output.

        Parameters
        ----------
        layer : layer
            The layer, which knows the parameters of the operation.
        operation : Operation
            The operation.
        inputs : tuple of int
            Numbers of its inputs.
        others : mapping of str to Reference, optional
            Parameters of other layers that it uses, by role.
        shape : tuple of int, optional
            Shape of a sample of the output; that of the layer's output if it is not given.
        """
        path = ".".join(self._path)
        shapes = tuple(self._shapes[number] for number in inputs)
        references = {**(others or {}), **self._asked_for(path, layer.parameters(*shapes), self.specs)}
        states = self._asked_for(path, layer.states(*shapes), self.states)
        integers = [self.integers[number] for number in inputs if number in self.integers]
        if integers and not operation.takes_integers:
            raise ValueError("takes floating-point numbers, but integers come out")
        output = self.value(layer.output_shape(*shapes) if shape is None else shape, path, layer)
        if integers and operation.passes_integers:
            self.integers[output] = integers[0]
        self.nodes.append(Node(operation, inputs, output, references, path, states))
        return output

    @staticmethod
    def _asked_for(
        path: str, asked: Mapping[str, ParameterSpec], specs: dict[str, ParameterSpec]
    ) -> dict[str, Reference]:
        """Return references to what a layer asks for, by role, and add it to what the network has."""
        for role, spec in asked.items():
            known = specs.setdefault(f"{path}.{role}", spec)
            if known.shape != spec.shape:
                raise ValueError(
                    f"is called on inputs that ask for a parameter {role} of the shapes {known.shape} and "
                    f"{spec.shape}, which it shares, the second on what comes out"
                )
        return {role: Reference(f"{path}.{role}") for role in asked}

    def tied_weight(self, layer: Linear) -> Reference:
        """Return the weights that a linear layer takes from another one, transposed."""
        tied_to, path = layer.tied_to, ".".join(self._path)
        here = int(self._path[0])
        if len(self._path) > 1 or not isinstance(tied_to, int):
            raise ValueError(
                f"[Network] layer {path} is tied to another layer, which a layer within a layer cannot be"
            )
        other = self._layers[tied_to] if 0 <= tied_to < len(self._layers) and tied_to != here else None
        name = f"{tied_to}.weight"
        if not isinstance(other, Linear) or other.tied_to is not None or name not in self.specs:
            raise ValueError(
                f"[Network] layer {path} is tied to {tied_to}, which is not an earlier Linear with weights of its own"
            )
        if (other.n_in, other.n_out) != (layer.n_out, layer.n_in):
            raise ValueError(
                f"[Network] layer {path} is tied to layer {tied_to}, whose weights have shape "
                f"({other.n_in}, {other.n_out}): it must have n_in={other.n_out} and n_out={other.n_in}"
            )
        return Reference(name, transposed=True)

    @property
    def shapes(self) -> dict[int, Shape]:
        """Shapes of the samples of all values."""
        return dict(self._shapes)


@dataclass(frozen=True)
class Asked:
    """The parameters and states that a program asks for, by name, in the order of the layers' first calls."""

    parameters: Mapping[str, ParameterSpec]
    states: Mapping[str, ParameterSpec]


@dataclass(frozen=True)
class Lowered:
    """A program with what it asks for."""

    program: Program
    asked: Asked


def lower(
    architecture: Architecture,
    shapes: tuple[Shape, ...],
    seed: int,
    passes: Array,
    *,
    specs: Mapping[str, ParameterSpec] | None = None,
    part: slice = slice(None),
) -> Lowered:
    """Return the program of a network, before all passes over it.

    Parameters
    ----------
    architecture : Architecture
        The layers and what they are applied to.
    shapes : tuple of tuple
        Shapes of a sample of each input.
    seed : int
        Seed of the network.
    passes : 0-d int64 ndarray
        Counts the forward passes of the network.
    specs : mapping of str to ParameterSpec, optional
        The parameters of the whole network, where a part is lowered.
    part : slice, optional
        Which calls of a chain to lower.

    Raises
    ------
    ValueError
        If a layer cannot take what comes before it; the message names both.
    """
    build = Builder(architecture.layers, specs or {}, seed, passes)
    inputs = architecture.inputs
    origins = [value.origin for value in inputs] or ["the input x"]
    numbers = [build.value(shape, origin) for origin, shape in zip(origins, shapes, strict=True)]
    for number, value in zip(numbers, inputs, strict=False):
        if value.dtype is not None and value.dtype.kind in "iu":
            build.integers[number] = value.dtype
    numbers += [build.value(c.shape, c.origin, is_constant=True) for c in architecture.constants]
    n_inputs, outputs = len(numbers) - len(architecture.constants), architecture.outputs
    calls = architecture.calls[part]
    if len(calls) < len(architecture.calls):
        # A part of a chain: its first layer takes the input, its last one makes the output.
        calls = tuple(Call(call.layer, (i,)) for i, call in enumerate(calls))
        outputs = (len(calls),)
    for call in calls:
        layer = architecture.layers[call.layer]
        numbers.append(build.call(str(call.layer), layer, tuple(numbers[i] for i in call.inputs)))
    program = Program(
        inputs=tuple(numbers[:n_inputs]),
        outputs=tuple(numbers[number] for number in outputs),
        nodes=tuple(build.nodes),
        shapes=build.shapes,
        constants=dict(zip(numbers[n_inputs:], [c.array for c in architecture.constants], strict=False)),
        integers=build.integers,
    )
    return Lowered(program, Asked(build.specs, build.states))


def input_shapes(architecture: Architecture) -> tuple[Shape, ...]:
    """Return the shapes of a sample of the inputs; that of a chain follows from its first linear layer, if it does."""
    if architecture.inputs:
        return tuple(value.shape for value in architecture.inputs)
    for i, layer in enumerate(architecture.layers):
        if isinstance(layer, Linear):
            return ((layer.n_in,),)
        try:
            keeps_width = layer.output_shape((None,)) == (None,)
        except ValueError:
            raise ValueError(
                f"[Network] layer {i}, {layer}, needs the shape of its input: put nn.Input(shape) in front of the "
                "layers"
            ) from None
        if not keeps_width:
            break
    return ((None,),)


def asked_of_layers(architecture: Architecture) -> Asked:
    """Return what the layers of a network ask for.

    Raises
    ------
    ValueError
        If a layer cannot take what comes before it.
    """
    return lower(architecture, input_shapes(architecture), 0, np.zeros((), np.int64)).asked

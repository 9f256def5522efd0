"""From layers to a program: what lowers the architecture of a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array

from .architecture import Architecture, Call
from .layers.base import Layer, ParameterSpec
from .layers.embedding import Embedding
from .layers.linear import Linear
from .ops import Operation
from .program import Node, Program, Reference
from .values import Constant, Shape

# States of layers that carry them: by path of the layer and number of its call, then by number of sequences.
Carried = dict[tuple[str, int], dict[int, Array]]

# Weyl's sequence, the fractional parts of multiples of the golden ratio, sends neighbouring seeds and layers far apart.
_WEYL = 0x9E3779B97F4A7C15


def _mixed(state: int) -> int:
    """Return the number that SplitMix64 makes of a state (G. Steele, D. Lea, C. Flood, 2014)."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


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
    carried : dict
        States that batches leave to the next ones, by call of a layer and number of sequences.
    """

    def __init__(
        self,
        layers: tuple[Layer, ...],
        specs: Mapping[str, ParameterSpec],
        seed: int,
        passes: Array,
        carried: Carried,
    ) -> None:
        self.passes = passes
        self.nodes: list[Node] = []
        self.specs = dict(specs)
        self.states: dict[str, ParameterSpec] = {}
        self.integers: dict[int, np.dtype[Any]] = {}
        self._seed = seed
        self._shapes: dict[int, Shape] = {}
        self._origins: dict[int, tuple[str, Layer | None]] = {}
        self._constants: dict[int, Array] = {}
        self._layers = layers
        self._path: tuple[str, ...] = ()
        self._seeds: dict[tuple[str, ...], int] = {}
        self._carried = carried
        self._carrying: Counter[str] = Counter()

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

    def carried(self) -> dict[int, Array]:
        """Return the states that the present call of the present layer carries from batch to batch."""
        path = ".".join(self._path)
        self._carrying[path] += 1
        return self._carried.setdefault((path, self._carrying[path]), {})

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

    def constant(self, number: int) -> Array:
        """Return the array of a constant, as it was given."""
        return self._constants[number]

    def value(self, shape: Shape, origin: str, layer: Layer | None = None) -> int:
        """Return the number of a new value, which comes from an input, or from a layer at a place."""
        number = len(self._shapes)
        self._shapes[number], self._origins[number] = shape, (origin, layer)
        return number

    def constant_value(self, constant: Constant) -> int:
        """Return the number of a new value that is a constant."""
        number = self.value(constant.shape, constant.origin)
        self._constants[number] = constant.array
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
            what = "booleans" if integers[0].kind == "b" else "integers"
            raise ValueError(f"takes floating-point numbers, but {what} come out")
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
        """Return the weights that a linear layer takes from another one, or from an embedding, transposed."""
        tied_to, path = layer.tied_to, ".".join(self._path)
        here = int(self._path[0])
        if len(self._path) > 1 or not isinstance(tied_to, int):
            raise ValueError(
                f"[Network] layer {path} is tied to another layer, which a layer within a layer cannot be"
            )
        other = self._layers[tied_to] if 0 <= tied_to < len(self._layers) and tied_to != here else None
        name = f"{tied_to}.weight"
        is_tied_itself = isinstance(other, Linear) and other.tied_to is not None
        if not isinstance(other, (Linear, Embedding)) or is_tied_itself or name not in self.specs:
            raise ValueError(
                f"[Network] layer {path} is tied to {tied_to}, which is not an earlier Linear with weights of its own "
                "or an Embedding"
            )
        shape = self.specs[name].shape
        if shape != (layer.n_out, layer.n_in):
            raise ValueError(
                f"[Network] layer {path} is tied to layer {tied_to}, whose weights have shape {shape}: it must have "
                f"n_in={shape[1]} and n_out={shape[0]}"
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
    """A program with what it asks for, and the states that it carries from batch to batch."""

    program: Program
    asked: Asked
    carried: Carried


def lower(
    architecture: Architecture,
    shapes: tuple[Shape, ...],
    seed: int,
    passes: Array,
    *,
    specs: Mapping[str, ParameterSpec] | None = None,
    carried: Carried | None = None,
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
    carried : dict, optional
        The states that other programs of the network carry from batch to batch, and that this one then shares.
    part : slice, optional
        Which calls of a chain to lower.

    Raises
    ------
    ValueError
        If a layer cannot take what comes before it; the message names both.
    """
    carried = {} if carried is None else carried
    build = Builder(architecture.layers, specs or {}, seed, passes, carried)
    inputs = architecture.inputs
    origins = [value.origin for value in inputs] or ["the input x"]
    numbers = [build.value(shape, origin) for origin, shape in zip(origins, shapes, strict=True)]
    for number, value in zip(numbers, inputs, strict=False):
        if value.dtype is not None and value.dtype.kind in "iub":
            build.integers[number] = value.dtype
    numbers += [build.constant_value(constant) for constant in architecture.constants]
    n_inputs, outputs = len(numbers) - len(architecture.constants), architecture.outputs
    calls = architecture.calls[part]
    if len(calls) < len(architecture.calls):
        # A part of a chain: its first layer takes the input, its last one makes the output.
        calls = tuple(Call(call.layer, (i,)) for i, call in enumerate(calls))
        outputs = (len(calls),)
    for call in calls:
        layer = architecture.layers[call.layer]
        numbers.append(build.call(str(call.layer), layer, tuple(numbers[i] for i in call.inputs)))
    read = {number for node in build.nodes for number in node.inputs}
    constants = zip(numbers[n_inputs:], architecture.constants, strict=False)
    program = Program(
        inputs=tuple(numbers[:n_inputs]),
        outputs=tuple(numbers[number] for number in outputs),
        nodes=tuple(build.nodes),
        shapes=build.shapes,
        constants={number: constant.array for number, constant in constants if number in read},
        integers=build.integers,
    )
    return Lowered(program, Asked(build.specs, build.states), carried)


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

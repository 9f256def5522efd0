"""The program of a network: its operations in single-assignment form, and passes that change how they are computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from steepest._runtime.arrays import Array

from .ops import ActivationOperation, Operation
from .ops.affine import AffineOperation
from .ops.folded import FoldedNormOperation
from .ops.linear import LinearOperation
from .ops.normalization import RunningNormOperation
from .values import Shape


@dataclass(frozen=True)
class Reference:
    """Which parameter of a network an operation uses."""

    name: str
    transposed: bool = False

    def of(self, arrays: Mapping[str, Array]) -> Array:
        """Return the array of this parameter, transposed where the operation uses it so."""
        array = arrays[self.name]
        return array.T if self.transposed else array

    def __str__(self) -> str:
        return f"{self.name}.T" if self.transposed else self.name


@dataclass(frozen=True)
class Node:
    """An operation of a program with what it reads and writes.

    Attributes
    ----------
    operation : Operation
        What is computed.
    inputs : tuple of int
        Numbers of the values that it reads.
    output : int
        Number of the value that it defines; no other node defines it.
    parameters : mapping of str to Reference
        Its parameters by role.
    path : str
        Where in the network its layer stands, such as ``"3"`` or ``"2.0"``.
    states : mapping of str to Reference
        Arrays that it writes while training, by role.
    """

    operation: Operation
    inputs: tuple[int, ...]
    output: int
    parameters: Mapping[str, Reference] = field(default_factory=dict)
    path: str = ""
    states: Mapping[str, Reference] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """Operations in the order in which they run; each value is defined once, before it is read.

    Attributes
    ----------
    inputs, outputs : tuple of int
        Numbers of the values at both ends.
    nodes : tuple of Node
        The operations.
    shapes : mapping of int to tuple
        Shape of a sample of every value.
    constants : mapping of int to ndarray
        Values without a batch axis.
    integers : mapping of int to dtype
        Inputs of integers or booleans, which have no gradient.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nodes: tuple[Node, ...]
    shapes: Mapping[int, Shape]
    constants: Mapping[int, Array] = field(default_factory=dict)
    integers: Mapping[int, np.dtype[Any]] = field(default_factory=dict)

    def uses(self) -> dict[int, int]:
        """Return how often each value is read, as an output of the program too."""
        counts = dict.fromkeys(self.shapes, 0)
        for number in [*self.outputs, *(i for node in self.nodes for i in node.inputs)]:
            counts[number] += 1
        return counts

    def shape(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample of a value, all of whose sizes are known."""
        return cast("tuple[int, ...]", self.shapes[number])

    @property
    def has_known_shapes(self) -> bool:
        """Whether the size of every value is known before there is a batch."""
        return all(None not in shape for shape in self.shapes.values())

    def __str__(self) -> str:
        names = {number: f"%{number}" for number in self.shapes}
        lines = [f"{names[number]} = input {self.shapes[number]}" for number in self.inputs]
        lines += [f"{names[number]} = constant {array.shape}" for number, array in self.constants.items()]
        for node in self.nodes:
            arguments = [names[i] for i in node.inputs] + [
                str(p) for p in (*node.parameters.values(), *node.states.values())
            ]
            shape = self.shapes[node.output]
            lines.append(
                f"{names[node.output]} = {node.operation!r}({', '.join(arguments)}) {shape}  # layer {node.path}"
            )
        return "\n".join([*lines, f"return {', '.join(names[number] for number in self.outputs)}"])


def with_known_size(shape: Shape) -> int:
    """Return the number of items of a sample, all of whose sizes are known."""
    return math.prod(cast("tuple[int, ...]", shape))


Pass = Callable[[Program], Program]
"""A function that changes how a program computes its outputs, and not what they are."""


def differs_at_prediction(program: Program) -> bool:
    """Return whether an operation does something else in a prediction than while training."""
    return any(node.operation.at_prediction() is not node.operation for node in program.nodes)


def for_prediction(program: Program) -> Program:
    """Let each operation do what it does in a prediction; leave out those that do nothing there, such as dropout."""
    return _with_operations(program, lambda node: node.operation.at_prediction())


def _with_operations(program: Program, operation_of: Callable[[Node], Operation | None]) -> Program:
    """Put another operation in the place of each, or its first input in that of its output."""
    renamed: dict[int, int] = {}
    nodes = []
    for node in program.nodes:
        inputs = tuple(renamed.get(i, i) for i in node.inputs)
        operation = operation_of(node)
        if operation is None:
            renamed[node.output] = inputs[0]
        else:
            nodes.append(replace(node, operation=operation, inputs=inputs))
    outputs = tuple(renamed.get(number, number) for number in program.outputs)
    return replace(program, nodes=tuple(nodes), outputs=outputs)


def for_streaming(program: Program) -> Program:
    """Let each operation compute the next step of a sequence after those before.

    Raises
    ------
    ValueError
        If an operation needs whole sequences.
    """

    def streaming(node: Node) -> Operation | None:
        try:
            return node.operation.streaming()
        except ValueError as error:
            raise ValueError(f"[Network.stream] layer {node.path}, {node.operation!r}, {error}") from None

    return _with_operations(program, streaming)


Join = Callable[[Node, Node], Node | None]
"""Returns one node for a node and the one behind it, or None for two that stay apart."""


def _joined(program: Program, join: Join) -> Program:
    """Put one node in the place of two, where nothing but the second reads what the first writes."""
    uses, nodes, done = program.uses(), list[Node](), set[int]()
    by_input = {node.inputs[0]: node for node in program.nodes if len(node.inputs) == 1}
    for node in program.nodes:
        if node.output in done:
            continue
        follower = by_input.get(node.output)
        both = join(node, follower) if follower is not None and uses[node.output] == 1 else None
        if both is not None:
            done.add(both.output)
            node = both
        nodes.append(node)
    return replace(program, nodes=tuple(nodes))


def fold_norms(program: Program) -> Program:
    """Let an affine map scale and shift as the batch norm behind it does in a prediction, if nothing else reads it."""

    def fold(node: Node, norm: Node) -> Node | None:
        affine = node.operation
        if (
            not isinstance(affine, AffineOperation)
            or affine.weights_act_on_inputs
            or affine.ends_in != "identity"
            or not isinstance(norm.operation, RunningNormOperation)
        ):
            return None
        of_norm = {f"norm_{role}": reference for role, reference in norm.parameters.items()}
        return replace(
            node,
            operation=FoldedNormOperation(affine, norm.operation.eps),
            output=norm.output,
            parameters={**node.parameters, **of_norm},
            states=norm.states,
        )

    return _joined(program, fold)


def fuse_activations(program: Program) -> Program:
    """Let the kernel of an affine map apply the activation behind it, if nothing else reads what is in between.

    The derivative of such an activation has to follow from its output, since its input is not kept.
    """

    def fuse(node: Node, behind: Node) -> Node | None:
        if (
            not node.operation.fuses_activation
            or node.operation.ends_in != "identity"
            or not isinstance(behind.operation, ActivationOperation)
            or not behind.operation.passes_gradient
        ):
            return None
        return replace(
            node, operation=node.operation.ending_in(behind.operation.function), output=behind.output
        )

    return _joined(program, fuse)


def without_last_linear(program: Program) -> tuple[Program, Node] | None:
    """Return a program up to the linear map that computes its only output, and that map; None if there is no such map.

    Nothing but the output may be the map's result, and an operation has to stand before it.
    """
    *others, last = program.nodes
    if (
        not others
        or program.outputs != (last.output,)
        or not isinstance(last.operation, LinearOperation)
        or last.operation.ends_in != "identity"
        or last.inputs[0] in program.inputs
    ):
        return None
    shapes = {number: shape for number, shape in program.shapes.items() if number != last.output}
    return replace(program, nodes=tuple(others), outputs=last.inputs, shapes=shapes), last


def at_precision(program: Program, precision: str) -> Program:
    """Let the operations that multiply matrices do so at a precision. This is no pass: the values change."""
    nodes = (replace(node, operation=node.operation.at_precision(precision)) for node in program.nodes)
    return replace(program, nodes=tuple(nodes))


PASSES: tuple[Pass, ...] = (fuse_activations,)
"""The passes that every program goes through, in order."""


def optimized(program: Program, passes: tuple[Pass, ...] = PASSES) -> Program:
    """Return a program after some passes."""
    for change in passes:
        program = change(program)
    return program

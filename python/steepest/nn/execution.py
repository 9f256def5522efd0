"""Runs programs on arrays: forward, backward, and forward with tangents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, array_namespace

from .gradient import Backward, Derive, Places, Pull
from .ops import Reverse
from .program import Node, Program

Arrays = list[Any]
"""An array for each value of a program, by its number; None for those that are not computed."""


@dataclass(frozen=True)
class Step:
    """A node with the arrays of its parameters."""

    node: Node
    parameters: Mapping[str, Array]


def bound(program: Program, values: Mapping[str, Array]) -> list[Step]:
    """Return the nodes of a program with their parameters, among arrays by name."""
    return [
        Step(node, {role: reference.of(values) for role, reference in node.parameters.items()})
        for node in program.nodes
    ]


def run_forward(steps: Sequence[Step], arrays: Arrays, outs: Arrays) -> None:
    """Compute all values of a program.

    Parameters
    ----------
    steps : sequence of Step
        The nodes.
    arrays : list of ndarray or None
        The inputs and constants at their numbers; receives the other values.
    outs : list of ndarray or None
        Where to write each value, by number.
    """
    for step in steps:
        node = step.node
        inputs = [arrays[i] for i in node.inputs]
        arrays[node.output] = node.operation.forward(inputs, step.parameters, outs[node.output])


def run_backward(
    backward: Backward,
    arrays: Arrays,
    steps: Mapping[int, Step],
    grads: Arrays,
    outs: Sequence[Array | None],
    d_parameters: Mapping[str, Array],
    *,
    l2: float = 0.0,
    accumulate: bool = False,
    decaying: frozenset[str] = frozenset(),
    repeats: int = 1,
) -> None:
    """Compute the gradients of a backward pass.

    Parameters
    ----------
    backward : Backward
        The pass.
    arrays : list of ndarray or None
        The values of the forward pass, by number.
    steps : mapping of int to Step
        The nodes of the program by the number of their output.
    grads : list of ndarray or None
        The gradients of the outputs at the numbers of the seeds; receives all others.
    outs : sequence of ndarray or None
        Where to write each gradient, by number.
    d_parameters : mapping of str to ndarray
        Receives the gradients of the parameters, by name.
    l2 : float, default=0.0
        ``l2 * w`` is added to the gradient of each decaying parameter.
    accumulate : bool, default=False
        Whether gradients of parameters are added to what is there.
    decaying : frozenset of str
        Names of the parameters that the penalty acts on.
    repeats : int, default=1
        Rows of the gradients for each sample, one after the other.
    """
    for instruction in backward.instructions:
        if isinstance(instruction, Pull):
            step = steps[instruction.node.output]
            node, operation = instruction.node, instruction.node.operation
            d, inputs, output = grads[instruction.d], [arrays[i] for i in node.inputs], arrays[node.output]
            if repeats > 1:
                reads_inputs = "inputs" in operation.gradient_reads or instruction.derivative != "identity"
                inputs = [_repeated(x, repeats) if reads_inputs else x for x in inputs]
                output = _repeated(output, repeats) if "output" in operation.gradient_reads else output
            d_inputs = tuple(None if number is None else outs[number] for number in instruction.d_inputs)
            if not instruction.roles:
                into = Reverse(d_inputs, {}, instruction.derivative)
                found = operation.vjp(d, inputs, output, step.parameters, into)
            else:
                found = _pull_parameters(
                    instruction, step, d, inputs, output, d_inputs, d_parameters, l2, accumulate, decaying
                )
            for number, array in zip(instruction.d_inputs, found, strict=True):
                if number is not None:
                    grads[number] = array
        elif isinstance(instruction, Derive):
            at = arrays[instruction.value]
            at = _repeated(at, repeats) if repeats > 1 else at
            grads[instruction.result] = K.activation_backward(
                grads[instruction.d],
                at,
                instruction.function,
                out=outs[instruction.result],
            )
        else:
            grads[instruction.result] = K.add(
                grads[instruction.first],
                grads[instruction.second],
                out=outs[instruction.result],
            )


def _pull_parameters(
    pull: Pull,
    step: Step,
    d: Array,
    inputs: Arrays,
    output: Array,
    d_inputs: tuple[Array | None, ...],
    d_parameters: Mapping[str, Array],
    l2: float,
    accumulate: bool,
    decaying: frozenset[str],
) -> Sequence[Array | None]:
    """Compute the gradients of a node's parameters and inputs; where the operation cannot add to them, do it here."""
    references = pull.node.parameters
    targets = {role: references[role].of(d_parameters) for role in pull.roles}
    adds = pull.roles if accumulate else pull.adds
    penalised = [r for r in pull.roles if l2 and r not in pull.adds and references[r].name in decaying]
    if pull.is_direct:
        own_l2 = l2 if penalised else 0.0
        into = Reverse(d_inputs, targets, pull.derivative, adds, own_l2)
        return pull.node.operation.vjp(d, inputs, output, step.parameters, into)
    apart = {role: _like(target) if role in adds else target for role, target in targets.items()}
    into = Reverse(d_inputs, apart, pull.derivative)
    found = pull.node.operation.vjp(d, inputs, output, step.parameters, into)
    for role, target in targets.items():
        if role in adds:
            K.add(target, apart[role], out=target)
        if role in penalised:
            factor = array_namespace(target).full((), l2, target.dtype)
            K.multiply(step.parameters[role], factor, out=target, accumulate=True)
    return found


def run_tangent(
    steps: Sequence[Step],
    arrays: Arrays,
    moved: Arrays,
    moved_parameters: Mapping[str, Array],
) -> None:
    """Compute how all values change with the inputs and parameters of a program.

    Parameters
    ----------
    steps : sequence of Step
        The nodes.
    arrays : list of ndarray or None
        The values of the forward pass, by number.
    moved : list of ndarray or None
        The changes of the inputs at their numbers, None for none; receives those of the other values.
    moved_parameters : mapping of str to ndarray
        The changes of parameters, by name; those that are missing do not change.
    """
    for step in steps:
        node = step.node
        inputs_moved = [moved[i] for i in node.inputs]
        parameters_moved = {
            role: reference.of(moved_parameters)
            for role, reference in node.parameters.items()
            if reference.name in moved_parameters
        }
        if not parameters_moved and all(change is None for change in inputs_moved):
            continue
        moved[node.output] = node.operation.jvp(
            [arrays[i] for i in node.inputs],
            arrays[node.output],
            step.parameters,
            inputs_moved,
            parameters_moved,
        )


def value_buffers(program: Program, n: int, allocate: Callable[[tuple[int, ...]], Array]) -> Arrays:
    """Return an array of n rows for each value that an operation writes, each of its own."""
    outs: Arrays = [None] * len(program.shapes)
    for node in program.nodes:
        if not (node.operation.is_view or node.operation.allocates):
            outs[node.output] = allocate((n, *program.shape(node.output)))
    return outs


def gradient_buffers(
    backward: Backward, places: Places, program: Program, n: int, allocate: Callable[[tuple[int, ...]], Array]
) -> Arrays:
    """Return an array of n rows for each gradient that an instruction writes."""
    flats = [allocate((n * size,)) for size in places.sizes]
    outs: Arrays = [None] * len(backward.values)
    for number, buffer in places.buffers.items():
        shape = (n, *program.shape(backward.values[number]))
        size = math.prod(shape)
        outs[number] = flats[buffer][:size].reshape(shape)
    return outs


def _like(array: Array) -> Array:
    return aligned_empty(array.shape, array.dtype, device_of(array))


def _repeated(array: Any, times: int) -> Any:
    return None if array is None else array_namespace(array).repeat(array, times, axis=0)

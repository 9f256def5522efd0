"""Runs programs on arrays: forward, backward, and forward with tangents."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, array_namespace, scalar_like

from .gradient import Backward, Derive, Places, Pull, Sum
from .ops import Reverse
from .ops.base import NO_PARAMETERS
from .program import Node, Program

Arrays = list[Any]
"""An array for each value of a program, by its number; None for those that are not computed."""


class Step:
    """A node with the arrays of its parameters and states, and what of it every pass reads."""

    __slots__ = ("forward", "inputs", "jvp", "node", "output", "parameters")

    def __init__(self, node: Node, parameters: Mapping[str, Array]) -> None:
        self.node, self.parameters = node, parameters
        self.inputs, self.output = node.inputs, node.output
        self.forward, self.jvp = node.operation.forward, node.operation.jvp


def bound(program: Program, values: Mapping[str, Array]) -> list[Step]:
    """Return the nodes of a program with their parameters, among arrays by name."""
    return [
        Step(node, {role: r.of(values) for role, r in (*node.parameters.items(), *node.states.items())})
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
        output = step.output
        arrays[output] = step.forward([arrays[i] for i in step.inputs], step.parameters, outs[output])


class Targets(NamedTuple):
    """Where the gradients of parameters go, and what is added to them.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        Receive the gradients, by name.
    l2 : float
        ``l2 * w`` is added to the gradient of each decaying parameter.
    accumulate : bool
        Whether gradients are added to what is there.
    decaying : frozenset of str
        Names of the parameters that the penalty acts on.
    """

    arrays: Mapping[str, Array] = NO_PARAMETERS
    l2: float = 0.0
    accumulate: bool = False
    decaying: frozenset[str] = frozenset()


Ready = list[Callable[[Arrays, Arrays], None]]
"""Instructions of a backward pass with their arrays: functions of the values and of the gradients."""

Aim = Callable[[Mapping[str, Array]], None]
"""A function that changes where an instruction writes gradients of parameters, by name."""


def make_ready(
    backward: Backward,
    steps: Mapping[int, Step],
    outs: Sequence[Array | None],
    targets: Targets,
    aims: list[Aim] | None = None,
) -> Ready:
    """Return the instructions of a backward pass with the arrays that they write.

    Parameters
    ----------
    backward : Backward
        The pass.
    steps : mapping of int to Step
        The nodes of the program by the number of their output.
    outs : sequence of ndarray or None
        Where to write each gradient, by number.
    targets : Targets
        Where to write the gradients of the parameters.
    aims : list, optional
        Receives functions that change where gradients of parameters are written.
    """
    ready: Ready = []
    for instruction in backward.instructions:
        if isinstance(instruction, Pull):
            pull = _ReadyPull(instruction, steps[instruction.node.output], outs, targets)
            ready.append(pull.run)
            if aims is not None and instruction.roles:
                aims.append(pull.aim)
        elif isinstance(instruction, Derive):
            ready.append(partial(_derive, instruction, outs[instruction.result]))
        else:
            ready.append(partial(_add, instruction, outs[instruction.result]))
    return ready


def _derive(derive: Derive, out: Array | None, arrays: Arrays, grads: Arrays) -> None:
    grads[derive.result] = K.activation_backward(grads[derive.d], arrays[derive.value], derive.function, out)


def _add(add: Sum, out: Array | None, arrays: Arrays, grads: Arrays) -> None:
    grads[add.result] = K.add(grads[add.first], grads[add.second], out)


class _ReadyPull:
    """A `Pull` with its arrays. Where the operation cannot add to gradients of parameters, that is done here."""

    def __init__(self, pull: Pull, step: Step, outs: Sequence[Array | None], targets: Targets) -> None:
        node = pull.node
        operation = node.operation
        self._pull, self._operation, self._vjp = pull, operation, operation.vjp
        self._parameters, self._l2, self._decaying = step.parameters, targets.l2, targets.decaying
        self._d, self._adds = pull.d, pull.roles if targets.accumulate else pull.adds
        self._results = [(place, number) for place, number in enumerate(pull.d_inputs) if number is not None]
        reads = operation.gradient_reads
        self._inputs: tuple[int, ...] = node.inputs
        self._output: int | None = node.output
        if not pull.roles:
            if "inputs" not in reads and pull.derivative == "identity":
                self._inputs = ()
            if "output" not in reads:
                self._output = None
        self._only_input = self._inputs[0] if len(self._inputs) == 1 else None
        self._d_inputs = tuple([None if number is None else outs[number] for number in pull.d_inputs])
        self._has_more = False
        if pull.roles:
            self.aim(targets.arrays)
        else:
            self._into = Reverse(self._d_inputs, derivative=pull.derivative)

    def aim(self, targets: Mapping[str, Array]) -> None:
        """Write gradients of parameters into other arrays, by name."""
        pull, references, adds = self._pull, self._pull.node.parameters, self._adds
        arrays = {role: references[role].of(targets) for role in pull.roles}
        penalised = (
            [r for r in pull.roles if r not in pull.adds and references[r].name in self._decaying]
            if self._l2
            else []
        )
        if pull.is_direct:
            l2 = self._l2 if penalised else 0.0
            self._into = Reverse(self._d_inputs, arrays, pull.derivative, adds, l2)
            return
        apart = {role: _like(array) if role in adds else array for role, array in arrays.items()}
        self._into = Reverse(self._d_inputs, apart, pull.derivative)
        self._added = [(arrays[role], apart[role]) for role in sorted(adds)]
        self._penalised = [
            (arrays[role], self._parameters[role], scalar_like(self._l2, arrays[role])) for role in penalised
        ]
        self._has_more = bool(self._added or self._penalised)

    def run(self, arrays: Arrays, grads: Arrays) -> None:
        output, only = self._output, self._only_input
        found = self._vjp(
            grads[self._d],
            [arrays[i] for i in self._inputs] if only is None else (arrays[only],),
            None if output is None else arrays[output],  # type: ignore[arg-type]
            self._parameters,
            self._into,
        )
        for place, number in self._results:
            grads[number] = gradient = found[place]
            if gradient is None:
                raise ValueError(
                    f"[{self._operation!r}] vjp returned None for input {place}, which needs a gradient"
                )
        if self._has_more:
            self._finish()

    def _finish(self) -> None:
        """Add gradients of parameters, and the penalty's, where the operation cannot."""
        for target, addend in self._added:
            K.add(target, addend, target)
        for target, parameter, factor in self._penalised:
            K.multiply(parameter, factor, target, accumulate=True)


class Repeated(list[Any]):
    """The values of a forward pass, with a row for each gradient of a sample; they are made when they are read."""

    def __init__(self, arrays: Arrays, times: int, constants: Container[int]) -> None:
        super().__init__(arrays)
        self._times, self._constants = times, constants

    def __getitem__(self, number: Any) -> Any:
        array = super().__getitem__(number)
        if number in self._constants:
            return array
        return array_namespace(array).repeat(array, self._times, axis=0)


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
        inputs, output = step.inputs, step.output
        inputs_moved = [moved[i] for i in inputs]
        parameters_moved = {
            role: reference.of(moved_parameters)
            for role, reference in step.node.parameters.items()
            if reference.name in moved_parameters
        }
        if not parameters_moved and all(change is None for change in inputs_moved):
            continue
        moved[output] = step.jvp(
            [arrays[i] for i in inputs], arrays[output], step.parameters, inputs_moved, parameters_moved
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

"""The backward pass of a program in single-assignment form, and passes over it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from steepest._runtime.arrays import Activation as Function

from .program import Node, Program


@dataclass(frozen=True)
class Pull:
    """Takes the gradient of a node's output back to its inputs and parameters, by `Operation.vjp`.

    Attributes
    ----------
    node : Node
        The node.
    d : int
        Number of the gradient of its output.
    d_inputs : tuple of int or None
        Numbers of the gradients of its inputs; None for those that are not needed.
    roles : frozenset of str
        Roles of the parameters whose gradients are needed.
    derivative : str or tuple
        Activation before the node whose derivative is applied to the first of `d_inputs` in the same pass.
    adds : frozenset of str
        Roles whose gradients are added to what an earlier instruction has written for the same parameter.
    is_direct : bool
        Whether the operation adds to gradients of parameters and adds the gradient of an L2 penalty itself.
    """

    node: Node
    d: int
    d_inputs: tuple[int | None, ...]
    roles: frozenset[str]
    derivative: Function = "identity"
    adds: frozenset[str] = frozenset()
    is_direct: bool = False

    @property
    def defines(self) -> tuple[int, ...]:
        """The gradients that the instruction defines."""
        return tuple(number for number in self.d_inputs if number is not None)

    @property
    def reads(self) -> tuple[int, ...]:
        """The gradients that it reads."""
        return (self.d,)

    def __str__(self) -> str:
        results = [f"d{number}" for number in self.defines]
        results += [
            ("+" if role in self.adds else "") + f"d {self.node.parameters[role]}"
            for role in sorted(self.roles)
        ]
        then = "" if self.derivative == "identity" else f" * {self.derivative}'"
        return (
            f"{', '.join(results)} = back {self.node.operation!r}(d{self.d}){then}  # layer {self.node.path}"
        )


@dataclass(frozen=True)
class Derive:
    """Multiplies a gradient by the derivative of the activation that a value ends in."""

    value: int
    function: Function
    d: int
    result: int

    @property
    def defines(self) -> tuple[int, ...]:
        """The gradient that the instruction defines."""
        return (self.result,)

    @property
    def reads(self) -> tuple[int, ...]:
        """The gradient that it reads."""
        return (self.d,)

    def __str__(self) -> str:
        return f"d{self.result} = d{self.d} * {self.function}'(%{self.value})"


@dataclass(frozen=True)
class Sum:
    """Adds two gradients of a value that is used more than once."""

    first: int
    second: int
    result: int

    @property
    def defines(self) -> tuple[int, ...]:
        """The gradient that the instruction defines."""
        return (self.result,)

    @property
    def reads(self) -> tuple[int, ...]:
        """The gradients that it reads."""
        return (self.first, self.second)

    def __str__(self) -> str:
        return f"d{self.result} = d{self.first} + d{self.second}"


Instruction = Pull | Derive | Sum


@dataclass(frozen=True)
class Backward:
    """A backward pass.

    Attributes
    ----------
    instructions : tuple of Pull, Derive or Sum
        What is done, in order.
    seeds : tuple of int
        Number of the gradient with respect to each output of the program, which the caller gives.
    of_inputs : tuple of int or None
        Numbers of the gradients with respect to the inputs of the program; None for those that are not computed.
    values : mapping of int to int
        For each gradient the value that it belongs to.
    """

    instructions: tuple[Instruction, ...]
    seeds: tuple[int, ...]
    of_inputs: tuple[int | None, ...]
    values: Mapping[int, int] = field(repr=False)

    def __str__(self) -> str:
        lines = [f"gradients d{', d'.join(str(number) for number in self.seeds)}"]
        return "\n".join([*lines, *(str(instruction) for instruction in self.instructions)])


def backward_of(program: Program) -> Backward:
    """Return the backward pass of a program, with all gradients and nothing fused.

    The gradients of a value that is used several times are added up in a fixed order: an output of the program comes
    first, then the last use, the use before it, and so on.
    """
    values: dict[int, int] = {}
    instructions: list[Instruction] = []
    found: dict[int, int] = {}

    def gradient_of(value: int) -> int:
        values[len(values)] = value
        return len(values) - 1

    def add(value: int, number: int) -> None:
        if value in found:
            result = gradient_of(value)
            instructions.append(Sum(found[value], number, result))
            number = result
        found[value] = number

    seeds = tuple(gradient_of(value) for value in program.outputs)
    for value, seed in zip(program.outputs, seeds, strict=True):
        add(value, seed)
    for node in reversed(program.nodes):
        if node.output not in found:
            continue
        d, function = found[node.output], node.operation.ends_in
        if function != "identity":
            result = gradient_of(node.output)
            instructions.append(Derive(node.output, function, d, result))
            d = result
        d_inputs = tuple(
            None if i in program.constants or i in program.integers else gradient_of(i) for i in node.inputs
        )
        instructions.append(Pull(node, d, d_inputs, frozenset(node.parameters)))
        for value, number_or_none in zip(node.inputs, d_inputs, strict=True):
            if number_or_none is not None:
                add(value, number_or_none)
    of_inputs = tuple(found.get(value) for value in program.inputs)
    return Backward(tuple(instructions), seeds, of_inputs, values)


def without_dead_gradients(
    backward: Backward, *, inputs: bool = False, frozen: frozenset[str] | None = frozenset()
) -> Backward:
    """Leave out what neither a parameter nor an input needs.

    Parameters
    ----------
    backward : Backward
        The pass.
    inputs : bool, default=False
        Whether the gradients with respect to the inputs are needed.
    frozen : frozenset of str or None, default=frozenset()
        Names of the parameters whose gradients are not needed; None for all of them.
    """
    live = {number for number in backward.of_inputs if inputs and number is not None}
    kept: list[Instruction] = []
    for instruction in reversed(backward.instructions):
        if isinstance(instruction, Pull):
            names = instruction.node.parameters
            roles = frozenset(
                role for role in instruction.roles if frozen is not None and names[role].name not in frozen
            )
            d_inputs: tuple[int | None, ...] = tuple(i if i in live else None for i in instruction.d_inputs)
            if not roles and not any(number is not None for number in d_inputs):
                continue
            instruction = replace(instruction, roles=roles, d_inputs=d_inputs)
        elif not live.intersection(instruction.defines):
            continue
        live.update(instruction.reads)
        kept.append(instruction)
    of_inputs = backward.of_inputs if inputs else tuple(None for _ in backward.of_inputs)
    return replace(backward, instructions=tuple(kept[::-1]), of_inputs=of_inputs)


def derive_selected(backward: Backward) -> Backward:
    """Take the derivative of an activation at what an operation such as a maximum selects, and not at all items.

    The gradient of the output has fewer items, and the kernel that writes it may apply the derivative.
    """
    derived, values = _derived_alone(backward), dict(backward.values)
    instructions: list[Instruction] = []
    done: set[int] = set()
    for instruction in backward.instructions:
        if isinstance(instruction, Derive) and instruction.result in done:
            continue
        if isinstance(instruction, Pull) and instruction.node.operation.passes_items:
            then = derived.get(instruction.d_inputs[0])
            if then is not None:
                done.add(then.result)
                result = len(values)
                values[result] = output = instruction.node.output
                instructions.append(Derive(output, then.function, instruction.d, result))
                instruction = replace(instruction, d=result, d_inputs=(then.result,))
        instructions.append(instruction)
    return replace(backward, instructions=tuple(instructions), values=values)


def _derived_alone(backward: Backward) -> dict[int | None, Derive]:
    """Return the derivatives of activations by the gradient that they multiply, if nothing else reads that."""
    uses: dict[int, int] = {}
    for instruction in backward.instructions:
        for number in instruction.reads:
            uses[number] = uses.get(number, 0) + 1
    for of_input in backward.of_inputs:
        if of_input is not None:
            uses[of_input] = uses.get(of_input, 0) + 1
    return {i.d: i for i in backward.instructions if isinstance(i, Derive) and uses[i.d] == 1}


def fold_derivatives(backward: Backward) -> Backward:
    """Let the kernel that writes a gradient apply the derivative of the activation before it, if it can."""
    folded = _derived_alone(backward)
    instructions: list[Instruction] = []
    done: set[int] = set()
    for instruction in backward.instructions:
        if isinstance(instruction, Derive) and instruction.result in done:
            continue
        if isinstance(instruction, Pull) and instruction.node.operation.folds_derivative:
            first = instruction.d_inputs[0]
            if first is not None and first in folded:
                then = folded[first]
                done.add(then.result)
                instruction = replace(
                    instruction, derivative=then.function, d_inputs=(then.result, *instruction.d_inputs[1:])
                )
        instructions.append(instruction)
    return replace(backward, instructions=tuple(instructions))


def mark_accumulation(backward: Backward, before: frozenset[str] = frozenset()) -> Backward:
    """Let the first gradient of a parameter be written, and later ones of a shared parameter be added to it.

    Parameters
    ----------
    backward : Backward
        The pass.
    before : frozenset of str, default=frozenset()
        Names of the parameters whose first gradients are written before this pass.
    """
    written = set(before)
    instructions: list[Instruction] = []
    for instruction in backward.instructions:
        if isinstance(instruction, Pull):
            names = {role: instruction.node.parameters[role].name for role in instruction.roles}
            adds = frozenset(role for role, name in names.items() if name in written)
            written.update(names.values())
            instruction = replace(instruction, adds=adds)
        instructions.append(instruction)
    return replace(backward, instructions=tuple(instructions))


def fold_accumulation(backward: Backward) -> Backward:
    """Let kernels that write gradients of parameters add to them, and add the penalty's gradient, if they can."""
    return replace(
        backward,
        instructions=tuple(
            replace(i, is_direct=i.node.operation.accumulates) if isinstance(i, Pull) else i
            for i in backward.instructions
        ),
    )


@dataclass(frozen=True)
class Places:
    """Where the gradients of a backward pass are written.

    Attributes
    ----------
    buffers : mapping of int to int
        For each gradient that an instruction writes the number of a buffer.
    sizes : tuple of int
        Items for a sample of each buffer.
    """

    buffers: Mapping[int, int]
    sizes: tuple[int, ...]


def assign_buffers(
    backward: Backward, program: Program, *, reuse: bool = True, keep: Iterable[int] = ()
) -> Places:
    """Give each gradient a buffer; with `reuse`, one whose last reader has run.

    Not written over are gradients that the caller gave, those that are returned, those that are passed on, and those
    to `keep`.
    """
    last_use: dict[int, int] = {}
    for at, instruction in enumerate(backward.instructions):
        for number in instruction.reads:
            last_use[number] = at
    end = len(backward.instructions)
    for of_input in backward.of_inputs:
        if of_input is not None:
            last_use[of_input] = end
    last_use.update(dict.fromkeys(keep, end))
    # The gradient whose memory a gradient shares; itself for one with a buffer of its own.
    roots: dict[int, int] = {}
    # Gradients that may be views of others with their items in another order.
    foreign: set[int] = set()
    for instruction in backward.instructions:
        if isinstance(instruction, Pull):
            if instruction.node.operation.allocates or instruction.d in foreign:
                foreign.update(instruction.defines)
            operation = instruction.node.operation
            # An operation that allocates may return the gradient that it was given, too.
            shares = operation.allocates or (
                operation.passes_gradient and instruction.derivative == "identity"
            )
            for number in instruction.defines:
                if shares:
                    roots[number] = roots.get(instruction.d, instruction.d)
    until: dict[int, int] = {}
    for number, at in last_use.items():
        root = roots.get(number, number)
        until[root] = max(until.get(root, -1), at)
    buffers: dict[int, int] = {}
    sizes: list[int] = []
    free: list[int] = []

    def taken(number: int) -> int:
        size = math.prod(program.shape(backward.values[number]))
        fitting = [b for b in free if sizes[b] >= size] if reuse else []
        if fitting:
            buffer = min(fitting, key=lambda b: (sizes[b], b))
            free.remove(buffer)
            return buffer
        if free and reuse:
            # A larger buffer in the place of the largest free one takes less memory than both.
            buffer = max(free, key=lambda b: (sizes[b], b))
            free.remove(buffer)
            sizes[buffer] = size
            return buffer
        sizes.append(size)
        return len(sizes) - 1

    for at, instruction in enumerate(backward.instructions):
        source = roots.get(instruction.reads[0], instruction.reads[0])
        for number in instruction.defines:
            if number in roots:
                continue
            in_place = (
                reuse
                and not isinstance(instruction, Pull)
                and foreign.isdisjoint(instruction.reads)
                and source in buffers
                and until[source] == at
                and sizes[buffers[source]] >= math.prod(program.shape(backward.values[number]))
            )
            if in_place:
                buffers[number] = buffers[source]
                until[source] = -1  # its buffer goes on as that of the result
            else:
                buffers[number] = taken(number)
        for root in {roots.get(number, number) for number in instruction.reads}:
            if reuse and root in buffers and until[root] == at:
                free.append(buffers[root])
        for number in instruction.defines:
            # What nobody reads, such as the gradient of one input of two.
            if reuse and number in buffers and number not in until:
                free.append(buffers[number])
    return Places(buffers, tuple(sizes))

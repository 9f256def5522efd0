"""The block of a part, found by the kinds of the operations that use it."""

from __future__ import annotations

from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace
from steepest.fisher._tape import Tape
from steepest.nn.execution import Step
from steepest.nn.ops import LinearOperation
from steepest.nn.ops.convolution import ConvolutionOperation

from . import differentiated, linear, normalization
from .base import Block, ExplicitRows, Part
from .convolution import ConvolutionPass, ConvolutionRows
from .linear import LinearPass, LinearRows, SharedLinearRows


def block_of(part: Part, tape: Tape, grads: dict[int, Array]) -> Block:
    """Return the rows of a part for a batch.

    Parameters
    ----------
    part : Part
        The part.
    tape : Tape
        The forward pass of the batch.
    grads : dict of int to ndarray
        The gradients that reach the operations, as `Tape.backward` returns them.
    """
    n, steps = len(tape.output), {step.node.output: step for step in tape.steps}
    if part.is_linear:
        passes = [
            LinearPass(
                tape.inputs_of(steps[use.value])[0], grads[use.value], use.references["weight"].transposed
            )
            for use in part.uses
        ]
        if not part.is_shared:
            x, d, _ = passes[0]
            return LinearRows(part, x, d, steps[part.uses[0].value].parameters["weight"])
        return SharedLinearRows(part, n, passes)
    if part.is_convolution:
        return ConvolutionRows(
            part, n, [_convolution(tape, steps[use.value], grads[use.value]) for use in part.uses]
        )
    sums: dict[str, Array] = {}
    for use in part.uses:
        step, d = steps[use.value], grads[use.value]
        inputs, references = tape.inputs_of(step), dict(use.references)
        if isinstance(step.node.operation, LinearOperation):
            found = linear.sample_gradients(inputs[0], d, references)
        elif part.form == "normalization":
            found = normalization.sample_gradients(step, inputs[0], d, references)
        else:
            found = differentiated.sample_gradients(
                step, inputs, tape.constants, tape.output_of(step), d, references
            )
        for role, array in found.items():
            name = references[role].name
            sums[name] = sums[name] + array if name in sums else array
    rows = [sums[name].reshape(len(sums[name]), -1) for name in part.names]
    return ExplicitRows(part, n, array_namespace(rows[0]).concatenate(rows, axis=1))


def _convolution(tape: Tape, step: Step, d: Array) -> ConvolutionPass:
    """Return a use of a convolution with its arrays."""
    operation = step.node.operation
    assert isinstance(operation, ConvolutionOperation)
    return ConvolutionPass(operation, tape.inputs_of(step)[0], d, step.parameters["weight"])

"""The gradients of single samples of any operation, by differentiating it sample by sample."""

from __future__ import annotations

from collections.abc import Container, Mapping

from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty
from steepest.nn.execution import Step
from steepest.nn.ops import Reverse
from steepest.nn.program import Reference


def sample_gradients(
    step: Step,
    inputs: list[Array],
    constants: Container[int],
    output: Array,
    d: Array,
    references: Mapping[str, Reference],
) -> dict[str, Array]:
    """Return the gradients of single samples of an operation's parameters.

    Parameters
    ----------
    step : Step
        The operation with its parameters.
    inputs, output
        Its inputs and its output for n samples.
    constants : container of int
        Numbers of the values that have no batch axis.
    d : ndarray of shape (n * r, ...)
        Gradients of its output, r in sequence for each sample.
    references : mapping of str to Reference
        The parameters whose gradients are wanted, by role.

    Returns
    -------
    dict of str to ndarray of shape (n * r, *shape)
        By role.
    """
    device, repeats = device_of(d), len(d) // max(len(output), 1)
    found = {
        role: aligned_empty((len(d), *step.parameters[role].shape), d.dtype, device) for role in references
    }
    nothing = tuple(None for _ in inputs)
    for row in range(len(d)):
        sample = slice(row // repeats, row // repeats + 1)
        into = Reverse(nothing, {role: array[row] for role, array in found.items()})
        own = [
            x if number in constants else x[sample]
            for number, x in zip(step.node.inputs, inputs, strict=True)
        ]
        step.node.operation.vjp(d[row : row + 1], own, output[sample], step.parameters, into)
    return found

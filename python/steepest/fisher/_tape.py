"""A forward pass of a network on a batch, kept with the parameters of that moment, and its derivatives."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from typing import cast

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace, short_lived_empty
from steepest.nn import Network
from steepest.nn.compiled import Compiled
from steepest.nn.execution import (
    Aim,
    Arrays,
    Ready,
    Repeated,
    Step,
    Targets,
    gradient_buffers,
    make_ready,
    run_forward,
    run_tangent,
    value_buffers,
)
from steepest.nn.gradient import Backward, Pull
from steepest.nn.ops import LinearOperation

from ._joint_loss import apart, side_by_side


class Tape:
    """A forward pass without dropout; it keeps all values and weights, so that the network may change afterwards.

    Parameters
    ----------
    net : Network
        The network.
    inputs : tuple of ndarray of shape (n, ...)
        Its inputs, on its device.

    Attributes
    ----------
    steps : list of Step
        The operations that have parameters, in the order of the program.
    output : ndarray of shape (n, c)
        Outputs of the network, side by side.

    Raises
    ------
    ValueError
        If the network has no parameters.
    """

    def __init__(self, net: Network, inputs: tuple[Array, ...]) -> None:
        compiled = compiled_for(net, inputs)
        self._program = compiled.predicting
        self._arrays = compiled.arrays(inputs)
        self._dtype, self._device = net.dtype, net.device
        # Not the compiled program itself, which holds the arrays of the network.
        self._to_parameters, self._to_operations = compiled.to_parameters, compiled.to_operations
        run_forward(
            compiled.predicting_steps,
            self._arrays,
            value_buffers(self._program, len(inputs[0]), self._allocate),
        )
        self._all_steps = [
            step if _only_its_shape_counts(self._to_parameters[0], step) else _with_copies(step)
            for step in compiled.predicting_steps
        ]
        self._step_of = {step.node.output: step for step in self._all_steps}
        self.steps = [step for step in self._all_steps if step.parameters]
        self._begin()

    def _begin(self) -> None:
        # The instructions of `pullback` with their arrays, and functions that change where these write. A product takes
        # them out of the list, so that one on another thread makes its own.
        self._spare: list[tuple[Ready, list[Aim]]] = []
        outputs = [cast("Array", self._arrays[number]) for number in self._program.outputs]
        self._widths = [output.shape[1] for output in outputs]
        self.output = outputs[0] if len(outputs) == 1 else side_by_side(outputs)

    def _allocate(self, shape: tuple[int, ...]) -> Array:
        return short_lived_empty(shape, self._dtype, self._device)

    @property
    def numbers_of_a_row(self) -> int:
        """How many numbers `backward` keeps or needs for each row of gradients."""
        return sum(self._to_operations[1].sizes)

    @property
    def constants(self) -> Container[int]:
        """Numbers of the values that have no batch axis."""
        return self._program.constants

    def inputs_of(self, step: Step) -> list[Array]:
        """Return what an operation takes in."""
        return [self._arrays[number] for number in step.node.inputs]

    def input_of(self, value: int) -> Array:
        """Return what the operation takes in that defines a value, for one with a single input."""
        array: Array = self._arrays[self._step_of[value].node.inputs[0]]
        return array

    def output_of(self, step: Step) -> Array:
        """Return what an operation gives."""
        output: Array = self._arrays[step.node.output]
        return output

    def of_rows(self, rows: slice) -> Tape:
        """Return the forward pass of some of the samples."""
        part = copy.copy(self)
        part._arrays = [
            array if array is None or number in self._program.constants else array[rows]
            for number, array in enumerate(self._arrays)
        ]
        part._begin()
        return part

    def in_float64(self) -> Tape:
        """Return the same pass, with its values and the parameters in float64."""
        double = copy.copy(self)
        kept = self._program.integers
        double._arrays = [
            array if array is None or number in kept else array.astype(np.float64)
            for number, array in enumerate(self._arrays)
        ]
        double._all_steps = [
            Step(step.node, {role: a.astype(np.float64) for role, a in step.parameters.items()})
            for step in self._all_steps
        ]
        double._step_of = {step.node.output: step for step in double._all_steps}
        double.steps = [step for step in double._all_steps if step.parameters]
        double._dtype = np.dtype(np.float64)
        double._begin()
        return double

    def backward(self, d: Array) -> dict[int, Array]:
        """Return the gradients that reach operations with parameters, by the number of the value that each defines.

        Of an operation that ends in an activation it is the gradient before that activation.

        Parameters
        ----------
        d : ndarray of shape (n * r, c)
            Gradients with respect to the outputs, r in sequence for each sample.
        """
        (backward, places), repeats = self._to_operations, len(d) // max(len(self.output), 1)
        outs = gradient_buffers(backward, places, self._program, len(d), self._allocate)
        arrays = Repeated(self._arrays, repeats, self._program.constants) if repeats > 1 else self._arrays
        grads = self._run(make_ready(backward, self._step_of, outs, Targets()), backward, d, arrays)
        return {
            i.node.output: grads[i.d]
            for i in backward.instructions
            if isinstance(i, Pull) and i.node.parameters
        }

    def pullback(self, d: Array, into: Mapping[str, Array]) -> None:
        """Write ``J^T d`` for d of the shape of `output` into arrays of the parameters, by name."""
        backward, places = self._to_parameters
        try:
            ready, aims = self._spare.pop()
            for aim in aims:
                aim(into)
        except IndexError:
            aims = []
            outs = gradient_buffers(backward, places, self._program, len(d), self._allocate)
            ready = make_ready(backward, self._step_of, outs, Targets(into), aims)
        self._run(ready, backward, d, self._arrays)
        self._spare.append((ready, aims))

    def _run(self, ready: Ready, backward: Backward, d: Array, arrays: Arrays) -> Arrays:
        grads: Arrays = [None] * len(backward.values)
        for seed, part in zip(backward.seeds, apart(d, self._widths), strict=True):
            grads[seed] = part
        for run in ready:
            run(arrays, grads)
        return grads

    def tangent(self, changes: Mapping[str, Array]) -> Array:
        """Return how the outputs change with the parameters, ``J v``, of shape (n, c).

        Parameters
        ----------
        changes : mapping of str to ndarray
            The change v of each parameter, by name.
        """
        moved: Arrays = [None] * len(self._arrays)
        run_tangent(self._all_steps, self._arrays, moved, changes)
        if len(self._widths) == 1:
            return cast("Array", moved[self._program.outputs[0]])
        # An output that depends on no parameter does not move.
        xp = array_namespace(self.output)
        return side_by_side(
            [
                xp.zeros_like(self._arrays[number]) if moved[number] is None else moved[number]
                for number in self._program.outputs
            ]
        )


def compiled_for(net: Network, inputs: tuple[Array, ...] | None = None) -> Compiled:
    """Return the program of a network.

    Raises
    ------
    ValueError
        If the network has no parameters.
    """
    compiled = net._main if inputs is None else net._program_for(inputs)
    if not net.parameters():
        raise ValueError("[FisherMatrix] the network has no parameters: add a layer that has some")
    return compiled


def _only_its_shape_counts(backward: Backward, step: Step) -> bool:
    """Return whether a linear layer's weights are read by no derivative, since nothing before it needs a gradient."""
    return isinstance(step.node.operation, LinearOperation) and all(
        i.node.output != step.node.output or all(number is None for number in i.d_inputs)
        for i in backward.instructions
        if isinstance(i, Pull)
    )


def _with_copies(step: Step) -> Step:
    return Step(step.node, {role: array.copy() for role, array in step.parameters.items()})

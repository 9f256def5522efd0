"""Predictions: a program without derivatives, block by block, in buffers that are used again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from steepest import kernels as K
from steepest._runtime.arrays import Array

from .compiled import Compiled
from .execution import Arrays, run_forward
from .program import Program


def predict_in_blocks(
    compiled: Compiled, inputs: tuple[Array, ...], rows: int, allocate: Callable[[tuple[int, ...]], Array]
) -> list[Array]:
    """Return the outputs of a program in new arrays.

    Parameters
    ----------
    compiled : Compiled
        The program.
    inputs : tuple of ndarray of shape (n, ...)
        Its inputs.
    rows : int
        Rows of a block.
    allocate : callable
        Returns an array of a shape.
    """
    program, n = compiled.predicting, len(inputs[0])
    results: dict[int, Array] = {}
    for number in program.outputs:
        if number in program.inputs:
            results[number] = inputs[program.inputs.index(number)].copy()
        elif number not in results:
            results[number] = allocate((n, *program.shape(number)))
    for start in range(0, n, rows) if program.nodes else ():
        block = slice(start, min(start + rows, n))
        parts = {number: result[block] for number, result in results.items()}
        arrays = compiled.arrays(tuple(x[block] for x in inputs), program)
        run_forward(
            compiled.predicting_steps,
            arrays,
            prediction_buffers(program, len(parts[program.outputs[0]]), allocate, parts),
        )
        for number, part in parts.items():
            if arrays[number] is not part and number not in program.inputs:
                K.copy(arrays[number], out=part)
    return [results[number] for number in program.outputs]


def prediction_buffers(
    program: Program, n: int, allocate: Callable[[tuple[int, ...]], Array], outputs: Mapping[int, Array]
) -> Arrays:
    """Return an array of n rows for each value of a prediction; an array whose last reader has run is used again.

    Parameters
    ----------
    program : Program
        The program.
    n : int
        Number of rows.
    allocate : callable
        Returns an array of a shape.
    outputs : mapping of int to ndarray
        Arrays for the outputs, by number.
    """
    root: dict[int, int] = {}
    last: dict[int, int] = {}
    for at, node in enumerate(program.nodes):
        if node.operation.is_view or node.operation.allocates:
            root[node.output] = root.get(node.inputs[0], node.inputs[0])
        for i in node.inputs:
            last[root.get(i, i)] = at
    kept = {root.get(number, number) for number in program.outputs}
    outs: Arrays = [None] * len(program.shapes)
    buffers: dict[int, Array] = {}
    free: list[Array] = []
    for at, node in enumerate(program.nodes):
        if not (node.operation.is_view or node.operation.allocates):
            shape = (n, *program.shape(node.output))
            size = math.prod(shape)
            if node.output in outputs:
                outs[node.output] = outputs[node.output]
            else:
                fitting = [b for b in free if b.size >= size]
                if fitting:
                    flat = min(fitting, key=lambda b: b.size)
                    free = [b for b in free if b is not flat]
                else:
                    flat = allocate((size,))
                buffers[node.output] = flat
                outs[node.output] = flat[:size].reshape(shape)
        for i in {root.get(i, i) for i in node.inputs}:
            if last.get(i) == at and i in buffers and i not in kept:
                free.append(buffers[i])
    return outs

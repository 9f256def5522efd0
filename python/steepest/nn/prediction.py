"""Predictions: a program without derivatives, block by block, in buffers that are used again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import short_lived_empty

from .program import Program, with_known_size

if TYPE_CHECKING:
    from .compiled import Compiled


class Place(NamedTuple):
    """Where a prediction writes the value of a node.

    Attributes
    ----------
    buffer : int or None
        Number of the buffer; None for outputs, which go into arrays of their own, and for views.
    shape : tuple of int
        Shape of a sample.
    size : int
        Number of its items.
    """

    buffer: int | None
    shape: tuple[int, ...]
    size: int


class PredictionPlan(NamedTuple):
    """The place of each node's value, and the items for a sample of each buffer."""

    places: tuple[Place, ...]
    sizes: tuple[int, ...]


def plan_prediction(program: Program) -> PredictionPlan:
    """Give each value of a program without derivatives a buffer: one whose last reader has run is used again."""
    root: dict[int, int] = {}
    last: dict[int, int] = {}
    for at, node in enumerate(program.nodes):
        if node.operation.is_view:
            root[node.output] = root.get(node.inputs[0], node.inputs[0])
        for i in node.inputs:
            last[root.get(i, i)] = at
    kept = {root.get(number, number) for number in program.outputs}
    places, sizes, free = [], list[int](), list[int]()
    buffers: dict[int, int] = {}
    for at, node in enumerate(program.nodes):
        buffer: int | None = None
        size = with_known_size(program.shapes[node.output])
        written = not (node.operation.is_view or node.operation.allocates)
        if written and node.output not in program.outputs:
            fitting = [b for b in free if sizes[b] >= size]
            if fitting:
                buffer = min(fitting, key=lambda b: sizes[b])
                free.remove(buffer)
            elif free:
                # A larger buffer in the place of the largest free one takes less memory than both.
                buffer = max(free, key=lambda b: sizes[b])
                free.remove(buffer)
                sizes[buffer] = size
            else:
                buffer = len(sizes)
                sizes.append(size)
            buffers[node.output] = buffer
        places.append(Place(buffer, program.shape(node.output), size))
        for i in {root.get(i, i) for i in node.inputs}:
            if last.get(i) == at and i in buffers and i not in kept:
                free.append(buffers[i])
    return PredictionPlan(tuple(places), tuple(sizes))


def predict_in_blocks(
    compiled: Compiled, inputs: tuple[Array, ...], rows: int, dtype: np.dtype[Any], device: str
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
    dtype : dtype
        Dtype of the network.
    device : {"cpu", "cuda"}
        Device of the network.
    """

    def compute(given: tuple[Array, ...]) -> list[Array]:
        return _predict_rows(compiled, given, rows, dtype, device)

    found = compiled.replays.outputs(inputs, compute) if device == "cpu" else None
    return compute(inputs) if found is None else found


def _predict_rows(
    compiled: Compiled, inputs: tuple[Array, ...], rows: int, dtype: np.dtype[Any], device: str
) -> list[Array]:
    """Return the outputs of a program in new arrays, without a graph."""
    program, n = compiled.folded, len(inputs[0])
    results: dict[int, Array] = {}
    for number in program.outputs:
        if number in program.inputs:
            results[number] = inputs[program.inputs.index(number)].copy()
        elif number not in results:
            own = program.integers.get(number, dtype)
            results[number] = short_lived_empty((n, *program.shape(number)), own, device)
    if n <= rows:
        _predict_block(compiled, inputs, results, n, dtype, device)
    else:
        for start in range(0, n, rows):
            block = slice(start, min(start + rows, n))
            parts = {number: result[block] for number, result in results.items()}
            _predict_block(
                compiled, tuple([x[block] for x in inputs]), parts, block.stop - block.start, dtype, device
            )
    # An output that is there twice has an array for each.
    first = {number: place for place, number in reversed(list(enumerate(program.outputs)))}
    return [
        results[number] if first[number] == place else results[number].copy()
        for place, number in enumerate(program.outputs)
    ]


def _predict_block(
    compiled: Compiled,
    inputs: tuple[Array, ...],
    results: dict[int, Array],
    n: int,
    dtype: np.dtype[Any],
    device: str,
) -> None:
    """Compute the outputs for n rows into arrays by number."""
    arrays, plan = compiled.arrays(inputs), compiled.prediction_plan
    flats = [short_lived_empty((n * size,), dtype, device) for size in plan.sizes]
    for step, (buffer, shape, size) in zip(compiled.folded_steps, plan.places, strict=True):
        out = results.get(step.output) if buffer is None else flats[buffer][: n * size].reshape(n, *shape)
        read = [arrays[i] for i in step.inputs]
        arrays[step.output] = step.forward(read, step.parameters, out)  # type: ignore[arg-type]
    for number, result in results.items():
        if arrays[number] is not result and number not in compiled.folded.inputs:
            K.copy(arrays[number], out=result)

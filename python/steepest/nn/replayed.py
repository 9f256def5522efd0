"""Predictions for few rows that are asked for again: captured once, and then replayed without Python."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from steepest._cpu import is_capturing
from steepest._runtime.arrays import Array
from steepest._runtime.graph import capture

from .ops.custom import CustomOperation
from .program import Program

Compute = Callable[[tuple[Array, ...]], list[Array]]
"""Returns the outputs of a program in new arrays."""

# A prediction is captured when it is computed for as many rows for the third time.
_USES = 3
_KEPT = 4  # numbers of rows
# Items of all arrays together, beyond which calls of kernels take longer than what a graph saves.
_MOST_ITEMS = 1 << 17


class _Replayed:
    """A captured prediction with the arrays that it reads and writes."""

    def __init__(self, inputs: tuple[Array, ...], compute: Compute) -> None:
        self._lock = threading.Lock()
        self._inputs = tuple(x.copy() for x in inputs)
        with capture() as self._graph:
            self._outputs = compute(self._inputs)

    def outputs(self, inputs: tuple[Array, ...]) -> list[Array] | None:
        """Return the outputs in new arrays; None for other shapes, and while another thread uses these arrays."""
        # Copying would repeat a single column, where the operations find it too narrow.
        for own, x in zip(self._inputs, inputs, strict=True):
            if own.shape != x.shape:
                return None
        if not self._lock.acquire(blocking=False):
            return None
        try:
            for own, x in zip(self._inputs, inputs, strict=True):
                np.copyto(own, x)
            self._graph.replay()
            return [output.copy() for output in self._outputs]
        finally:
            self._lock.release()


class Replays:
    """The captured predictions of a program, by number of rows.

    Parameters
    ----------
    program : Program
        The program of the predictions.
    items : int
        Items that a prediction holds for each row.
    """

    def __init__(self, program: Program, items: int) -> None:
        self._items = items
        # A graph holds what kernels do, and neither layers of users nor copies of inputs.
        self._possible = not (
            any(isinstance(node.operation, CustomOperation) for node in program.nodes)
            or set(program.outputs) & set(program.inputs)
            or len(set(program.outputs)) < len(program.outputs)
            or program.integers
        )
        self._uses: dict[int, int] = {}
        self._kept: OrderedDict[int, _Replayed] = OrderedDict()

    def outputs(self, inputs: tuple[Array, ...], compute: Compute) -> list[Array] | None:
        """Return the outputs for some inputs, or None if they are to be computed without a graph.

        Parameters
        ----------
        inputs : tuple of ndarray of shape (n, ...)
            The inputs, on the CPU.
        compute : callable
            What is captured.
        """
        n = len(inputs[0])
        if not self._possible or n * self._items > _MOST_ITEMS or is_capturing():
            return None
        found = self._kept.get(n)
        if found is None:
            uses = self._uses[n] = self._uses.get(n, 0) + 1
            if uses < _USES:
                return None
            found = self._kept[n] = _Replayed(inputs, compute)
            self._uses.pop(n, None)  # another thread may have captured this number of rows too
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found.outputs(inputs)

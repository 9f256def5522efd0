"""Rows of a table: embeddings of ids, and of positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros

from .base import Moved, Operation, Parameters, Reverse, as_rows
from .spans import clear
from .stream import StreamOperation


class EmbeddingOperation(Operation):
    """The rows of a table at ids."""

    takes_integers = True
    multiplies = frozenset()
    gradient_reads = frozenset({"inputs"})
    each_step = True

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        K.take_rows(parameters["weight"], inputs[0].reshape(-1), as_rows(out))
        return out

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        d_weight = into.d_parameters.get("weight")
        if d_weight is not None:
            K.embedding_backward(as_rows(d), inputs[0].reshape(-1), d_weight)
        return (None,)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        return K.take_rows(moved_parameters["weight"], inputs[0].reshape(-1)).reshape(output.shape)

    def __repr__(self) -> str:
        return "embedding"


class PositionOperation(Operation):
    """The input and, for each step of a sequence, the row of a table at the step's position.

    The table is the parameter ``"weight"``, or one of sinusoidal encodings.

    Parameters
    ----------
    positions : int
        Rows of the table.
    learned : bool
        Whether the table is a parameter.
    """

    gradient_reads = frozenset()
    passes_gradient = True
    multiplies = frozenset()

    def __init__(self, positions: int, *, learned: bool) -> None:
        self.positions, self.learned = positions, learned
        self._table: Array | None = None

    def table_for(self, x: Array, parameters: Parameters) -> Array:
        """Return the table in the dtype and on the device of an input."""
        if self.learned:
            return parameters["weight"]
        if self._table is None or self._table.dtype != x.dtype or device_of(self._table) != device_of(x):
            self._table = K.sinusoidal(self.positions, x.shape[-1], x.dtype, device=device_of(x))
        return self._table

    def streaming(self) -> Operation:
        return NextPositionOperation(self)

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        x = inputs[0]
        return K.add(x, self.table_for(x, parameters)[: x.shape[1]], out=out)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        d_weight = into.d_parameters.get("weight")
        if d_weight is not None:
            steps = d.shape[1]
            K.sum(d.reshape(len(d), -1), axis=0, out=d_weight[:steps].reshape(-1))
            clear(d_weight[steps:])
        return (d,)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        moved, table = moved_inputs[0], moved_parameters.get("weight")
        if moved is None:
            moved = aligned_zeros(output.shape, output.dtype, device_of(output))
        return K.copy(moved) if table is None else K.add(moved, table[: output.shape[1]])

    def __repr__(self) -> str:
        return "learned positions" if self.learned else "sinusoidal positions"


class NextPositionOperation(StreamOperation):
    """The same for the steps of a stream, which counts them.

    Parameters
    ----------
    positions : PositionOperation
        The operation on whole sequences.
    """

    def __init__(self, positions: PositionOperation) -> None:
        self._positions = positions
        self._step: Array | None = None

    def forget_state(self) -> None:
        if self._step is not None:
            self._step[...] = 0

    def make_room(self, steps: int) -> bool:
        most = self._positions.positions
        if steps > most:
            raise ValueError(
                f"[Stream.step] {self._positions!r} end after {most} steps: call reset to begin new sequences"
            )
        return False

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        x, device = inputs[0], device_of(inputs[0])
        table = self._positions.table_for(x, parameters)
        if self._step is None:
            self._step = aligned_zeros((), np.int64, device)
            self._all = K.positions(len(table), device=device)
            self._row = aligned_empty((1, x.shape[-1]), x.dtype, device)
        K.take_rows(table, self._all, self._row, start=self._step)
        K.increment(self._step)
        return K.add(x, self._row, out=out)

    def __repr__(self) -> str:
        return f"next {self._positions!r}"

"""What the forward pass of an operation keeps for its derivatives."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from steepest._runtime.arrays import Array

from .base import Operation

# A network keeps buffers for this many batch sizes: full and last mini-batches, and some for validation.
KEPT_BATCH_SIZES = 8


class KeepingOperation(Operation):
    """Base of operations whose `forward` keeps arrays for `vjp` and `jvp`: those of the last pass of each batch size.

    Predictions may come between a forward and a backward pass, so `at_prediction` returns another operation.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[int, dict[str, tuple[Array, ...]]] = OrderedDict()

    def arrays_for(
        self, n: int, allocate: Callable[[], tuple[Array, ...]], part: str = ""
    ) -> tuple[Array, ...]:
        """Return the arrays of a batch size, which a pass fills; an operation may keep several parts of them."""
        parts = self._kept.get(n)
        if parts is None:
            parts = self._kept[n] = {}
            if len(self._kept) > KEPT_BATCH_SIZES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(n)
        found = parts.get(part)
        if found is None:
            found = parts[part] = allocate()
        return found

    def release(self) -> None:
        self._kept.clear()

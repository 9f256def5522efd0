"""What computes the next step of a sequence after those before it."""

from __future__ import annotations

from collections.abc import Sequence

from steepest._runtime.arrays import Array

from .base import Moved, Operation, Parameters, Reverse


class StreamOperation(Operation):
    """Base of operations that remember the steps before, and have no derivatives."""

    def make_room(self, steps: int) -> bool:
        """Make room for so many steps, and return whether arrays are others now than a graph has captured.

        Raises
        ------
        ValueError
            If there cannot be as many steps.
        """
        return False

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        raise NotImplementedError(f"[{self!r}] a stream has no derivatives")

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        raise NotImplementedError(f"[{self!r}] a stream has no derivatives")

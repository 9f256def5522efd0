"""Dropout, whose mask is drawn anew in every forward pass."""

from __future__ import annotations

from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Array

from .base import Moved, Operation, Parameters, Reverse


class DropoutOperation(Operation):
    """Items are zero with a probability, the others scaled by 1 / (1 - rate); derivatives draw the same mask again.

    Parameters
    ----------
    rate : float
        Probability of zero.
    seed : int
        Seed of the masks.
    passes : 0-d int64 ndarray
        Number of the forward pass, which is the random stream.
    """

    each_step = True
    draws = True
    gradient_reads = frozenset()

    def __init__(self, rate: float, seed: int, passes: Array) -> None:
        self.rate, self.seed, self.passes = rate, seed, passes

    def _masked(self, x: Array, out: Array | None = None) -> Array:
        return K.dropout(x, self.rate, seed=self.seed, stream=self.passes, out=out)

    def at_prediction(self) -> None:
        return None

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        return self._masked(inputs[0], out)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        d_x = into.d_inputs[0]
        return (None if d_x is None else self._masked(d, d_x),)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        assert moved_inputs[0] is not None
        return self._masked(moved_inputs[0])

    def __repr__(self) -> str:
        return f"dropout({self.rate:g})"

"""The diagonal structure of a Fisher matrix."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from steepest._runtime.arrays import Array, Float64Array
from steepest.fisher._factors import Factors

from .base import Converter, Structure, summed


class Diagonal(Structure):
    """The diagonal of the Fisher matrix; all other entries count as 0."""

    @cached_property
    def squared(self) -> Array:
        """The diagonal, in the network's dtype and on its device."""
        return self.layout.gathered(summed(self._squares_of(f) for f in self.batch.factors_by_blocks()))

    def _squares_of(self, factors: Factors) -> list[Array]:
        return [block.squares() for block in factors.blocks]

    def measure(self) -> None:
        _ = self.squared

    def kept(self) -> list[Array]:
        return [self.squared]

    def merge(self, decay: float) -> None:
        before = self.squared
        self._forget("squared", "values")
        self.squared = decay * before + (1.0 - decay) * self.squared

    @cached_property
    def values(self) -> list[Float64Array]:
        """The diagonal itself."""
        return [self.layout.on_host(self.squared)]

    def roundings(self) -> list[float]:
        # Each eigenvalue is a sum of squares of its own: the sum of zeros is exactly 0.
        return [0.0]

    def eigenbasis(
        self, own: Converter
    ) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        return lambda flat: [flat.copy()], lambda coordinates: coordinates[0]

    def multiply(self, flat: Array) -> Array:
        own = self.place_of(flat)
        product: Array = own(self.squared) * own(flat)
        return product

    def blocks(self) -> list[Float64Array]:
        return [np.diag(part.ravel()) for part in self.layout.parts(self.values[0])]

    def diagonal(self) -> Float64Array:
        return self.values[0].copy()

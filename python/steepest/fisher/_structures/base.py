"""What every structure of a Fisher matrix offers: averages, products, inverses and spectra in its own basis."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import assign, to_host
from steepest.fisher._batch import Batch
from steepest.fisher._solvers import (
    NotPositiveDefiniteError,
    is_rounding_of_part,
    is_within_rounding,
    norm,
    rounding_of,
)

Operator = Callable[[Array], Array]
"""A linear map of flat vectors of any dtype and device."""
Converter = Callable[[Array], Array]
"""What brings an array to a dtype and a device."""


class Structure(ABC):
    """A symmetric positive semidefinite matrix of the parameters; vectors are flat.

    Parameters
    ----------
    batch : Batch
        Of whose factors it is made, when they are first needed.
    """

    on_host: ClassVar[bool] = False
    """Whether vectors are of float64 on the host, instead of the network's dtype on its device."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.layout = batch, batch.layout
        self.device = self.layout.device

    def average(self, batch: Batch, decay: float) -> None:
        """Become ``decay`` times this matrix plus ``1 - decay`` times that of another batch."""
        self.measure()
        self.batch = batch
        self.merge(decay)

    def state(self) -> list[Array]:
        """Return copies of what is kept of the batches, on the host."""
        self.measure()
        return [np.array(to_host(array)) for array in self.kept()]

    def restore(self, state: list[Array]) -> None:
        """Take what `state` returned in place of what is kept of the batch.

        Raises
        ------
        ValueError
            It is that of another structure, or of other shapes.
        """
        self.measure()
        own = self.kept()
        shapes, saved = [tuple(a.shape) for a in own], [np.shape(a) for a in state]
        if shapes != saved:
            raise ValueError(
                f"[FisherMatrix] the averages have the shapes {saved}, those of this structure are {shapes}"
            )
        for array, value in zip(own, state, strict=True):
            assign(array, value)
        self._forget("bases")

    def own(self, flat: Array) -> Array:
        """Return a vector where and as this structure computes."""
        return self.layout.on_host(flat) if self.on_host else self.layout.on_device(flat)

    def place_of(self, flat: Array) -> Converter:
        """Return what brings arrays to where a vector is: float64 on the host, or where this structure computes."""
        return self.layout.on_host if flat.dtype == np.float64 and not is_cupy(flat) else self.own

    # ------------------------------------------------------------------------ what each structure says of itself

    @abstractmethod
    def measure(self) -> None:
        """Compute what is kept of the batch."""

    @abstractmethod
    def kept(self) -> list[Array]:
        """Return the arrays that `measure` made."""

    @abstractmethod
    def merge(self, decay: float) -> None:
        """Average what was kept with what is measured of `batch` now, which replaces all that followed from it."""

    @property
    @abstractmethod
    def values(self) -> list[Float64Array]:
        """The eigenvalues, in any shapes, on the host."""

    @abstractmethod
    def roundings(self) -> list[float]:
        """Return for each array of `spectra` the rounding of its items, as a multiple of the largest of them."""

    @abstractmethod
    def eigenbasis(
        self, own: Converter
    ) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        """Return the map to coordinates along the eigenvectors, in the shapes of `values`, and its inverse.

        Later averages do not change them. Both compute with arrays that `own` has converted.
        """

    @abstractmethod
    def multiply(self, flat: Array) -> Array:
        """Return the product with a vector: of float64 on the host in float64, of any other where it computes."""

    @abstractmethod
    def blocks(self) -> list[Float64Array]:
        """Return the matrices along the diagonal, of the parameters of a layer each, or of all."""

    @abstractmethod
    def diagonal(self) -> Float64Array:
        """Return the diagonal."""

    # --------------------------------------------------------------------------------------- what follows from it

    def spectra(self) -> list[Float64Array]:
        """Return eigenvalues as `values`, whose eigenvectors are not asked for; those that are missing are 0."""
        return self.values

    def spectrum(self) -> Float64Array:
        """Return all eigenvalues, ascending, as they were computed, but for negative ones: those are 0."""
        return self._sorted([np.maximum(values, 0.0) for values in self.spectra()])

    def eigenvalues(self) -> Float64Array:
        """Return all eigenvalues, ascending; roundings of 0 are 0."""
        found = self.spectra()
        kept = zip(found, self.nonzero(found), strict=True)
        return self._sorted([np.where(is_kept, values, 0.0) for values, is_kept in kept])

    def _sorted(self, values: list[Float64Array]) -> Float64Array:
        flat = np.concatenate([part.ravel() for part in values])
        return np.sort(np.concatenate([np.zeros(self.layout.size - len(flat)), flat]))

    def nonzero(self, values: list[Float64Array]) -> list[npt.NDArray[np.bool_]]:
        """Return which of the eigenvalues are more than roundings of 0."""
        largest = [float(part.max(initial=0.0)) for part in values]
        if not all(math.isfinite(value) for value in largest):
            raise NotPositiveDefiniteError("an eigenvalue is not finite")
        cutoffs = (rounding * value for rounding, value in zip(self.roundings(), largest, strict=True))
        return [part > cutoff for part, cutoff in zip(values, cutoffs, strict=True)]

    def power(self, exponent: float, damping: float) -> Operator:
        """Return ``(F + damping I)^exponent``; without damping of the directions that F has, and 0 in the others.

        With little damping or none, vectors are computed with in float64: the roundings of large coordinates would be
        larger than small ones.
        """
        nonzero = self.nonzero(self.values)
        largest = max(float(values.max(initial=0.0)) for values in self.values)
        precise = is_within_rounding(damping, largest, self.layout.dtype)
        own = self.layout.on_host if precise else self.own
        to_basis, from_basis = self.eigenbasis(own)
        multipliers = []
        for values, is_nonzero in zip(self.values, nonzero, strict=True):
            if damping > 0:
                # Roundings of 0 may be negative, and outweigh the damping.
                multiplier = (np.maximum(values, -0.5 * damping) + damping) ** exponent
            else:
                multiplier = np.where(is_nonzero, np.where(is_nonzero, values, 1.0) ** exponent, 0.0)
            multipliers.append(own(multiplier))

        # With less damping than the roundings of F, those of v would become the largest parts of the solution.
        is_tiny = 0 < damping <= rounding_of(1, self.layout.dtype) * largest
        reached = [own(part.astype(np.float64)) for part in nonzero] if is_tiny else []

        def product(flat: Array) -> Array:
            coordinates = to_basis(own(flat))
            if is_tiny:
                within = [at * part for at, part in zip(coordinates, reached, strict=True)]
                beyond = math.hypot(
                    *(norm((a - b).ravel()) for a, b in zip(coordinates, within, strict=True))
                )
                if is_rounding_of_part(beyond, norm(own(flat)), self.layout.dtype):
                    coordinates = within
            for at, multiplier in zip(coordinates, multipliers, strict=True):
                at *= multiplier
            return from_basis(coordinates)

        return product

    def inverse(self, damping: float) -> Operator:
        """Return ``(F + damping I)^-1``, or the pseudoinverse without damping; later averages do not change it."""
        return self.power(-1.0, damping)

    def _forget(self, *names: str) -> None:
        for name in names:
            self.__dict__.pop(name, None)


def summed(parts: Iterator[list[Array]]) -> list[Array]:
    """Return the sums of the arrays of several lists, item by item."""
    total = next(parts)
    for part in parts:
        for own, other in zip(total, part, strict=True):
            own += other
    return total

"""Base class of a Fisher matrix's structures: averages, products, inverses and spectra in an eigenbasis."""

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
"""A function that converts an array to a dtype and a device."""


class Structure(ABC):
    """A symmetric positive semidefinite matrix over the flat vectors of parameters.

    Parameters
    ----------
    batch : Batch
        The batch whose factors the matrix is computed from, when it is first needed.
    """

    on_host: ClassVar[bool] = False
    """Whether the structure computes in float64 on the host, instead of in the network's dtype on its device."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.layout = batch, batch.layout
        self.device = self.layout.device

    def average(self, batch: Batch, decay: float) -> None:
        """Replace this matrix M by ``decay M + (1 - decay) M_batch``, with the matrix of another batch."""
        self.measure()
        self.batch = batch
        self.merge(decay)

    def state(self) -> list[Array]:
        """Return copies of the averaged arrays, on the host."""
        self.measure()
        return [np.array(to_host(array)) for array in self.kept()]

    def restore(self, state: list[Array]) -> None:
        """Replace the averaged arrays by saved ones, which `state` returned.

        Raises
        ------
        ValueError
            If the saved arrays have other shapes, as those of another structure do.
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
        """Return a vector in the dtype and on the device in which this structure computes."""
        return self.layout.on_host(flat) if self.on_host else self.layout.on_device(flat)

    def place_of(self, flat: Array) -> Converter:
        """Return a converter to float64 on the host if the vector is so, and otherwise `own`."""
        return self.layout.on_host if flat.dtype == np.float64 and not is_cupy(flat) else self.own

    # ------------------------------------------------------------------------------ what each structure implements

    @abstractmethod
    def measure(self) -> None:
        """Compute the arrays that are kept and averaged, from the batch."""

    @abstractmethod
    def kept(self) -> list[Array]:
        """Return the arrays that `measure` made."""

    @abstractmethod
    def merge(self, decay: float) -> None:
        """Average the kept arrays with those of the new `batch`, and discard everything derived from the old ones."""

    @property
    @abstractmethod
    def values(self) -> list[Float64Array]:
        """The eigenvalues, in any shapes, on the host."""

    @abstractmethod
    def roundings(self) -> list[float]:
        """Return for each array of `spectra` the rounding error of its items, as a multiple of the largest item."""

    @abstractmethod
    def eigenbasis(
        self, own: Converter
    ) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        """Return the map to coordinates along the eigenvectors, in the shapes of `values`, and its inverse map.

        Both maps compute with arrays that `own` has converted. Later averages do not change the maps.
        """

    @abstractmethod
    def multiply(self, flat: Array) -> Array:
        """Return the product with a vector; a float64 vector on the host is multiplied there, in float64."""

    @abstractmethod
    def blocks(self) -> list[Float64Array]:
        """Return the diagonal blocks: one per layer, or one for all parameters."""

    @abstractmethod
    def diagonal(self) -> Float64Array:
        """Return the diagonal."""

    # ------------------------------------------------------------------------------- what the methods above imply

    def spectra(self) -> list[Float64Array]:
        """Return the eigenvalues without computing eigenvectors; eigenvalues that are left out are 0."""
        return self.values

    def spectrum(self) -> Float64Array:
        """Return all eigenvalues as computed, in ascending order; negative ones are set to 0."""
        return self._sorted([np.maximum(values, 0.0) for values in self.spectra()])

    def eigenvalues(self) -> Float64Array:
        """Return all eigenvalues in ascending order; those within rounding error of 0 are set to 0."""
        found = self.spectra()
        kept = zip(found, self.nonzero(found), strict=True)
        return self._sorted([np.where(is_kept, values, 0.0) for values, is_kept in kept])

    def _sorted(self, values: list[Float64Array]) -> Float64Array:
        flat = np.concatenate([part.ravel() for part in values])
        return np.sort(np.concatenate([np.zeros(self.layout.size - len(flat)), flat]))

    def nonzero(self, values: list[Float64Array]) -> list[npt.NDArray[np.bool_]]:
        """Return masks of the eigenvalues that exceed the rounding error of 0."""
        largest = [float(part.max(initial=0.0)) for part in values]
        if not all(math.isfinite(value) for value in largest):
            raise NotPositiveDefiniteError("an eigenvalue is not finite")
        cutoffs = (rounding * value for rounding, value in zip(self.roundings(), largest, strict=True))
        return [part > cutoff for part, cutoff in zip(values, cutoffs, strict=True)]

    def power(self, exponent: float, damping: float) -> Operator:
        """Return the map ``(F + damping I)^exponent``; without damping it maps the null space of F to 0.

        With little damping or none, the map computes in float64: otherwise the rounding errors of large coordinates
        would exceed the small coordinates.
        """
        nonzero = self.nonzero(self.values)
        largest = max(float(values.max(initial=0.0)) for values in self.values)
        precise = is_within_rounding(damping, largest, self.layout.dtype)
        own = self.layout.on_host if precise else self.own
        to_basis, from_basis = self.eigenbasis(own)
        multipliers = []
        for values, is_nonzero in zip(self.values, nonzero, strict=True):
            if damping > 0:
                # Rounding errors of zero eigenvalues may be negative and larger than the damping.
                multiplier = (np.maximum(values, -0.5 * damping) + damping) ** exponent
            else:
                multiplier = np.where(is_nonzero, np.where(is_nonzero, values, 1.0) ** exponent, 0.0)
            multipliers.append(own(multiplier))

        # If the damping is below the rounding error of F, the map would amplify rounding errors of v in F's null space.
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
        """Return the map ``(F + damping I)^-1``, or the pseudoinverse; later averages do not change it."""
        return self.power(-1.0, damping)

    def _forget(self, *names: str) -> None:
        for name in names:
            self.__dict__.pop(name, None)


def summed(parts: Iterator[list[Array]]) -> list[Array]:
    """Return the element-wise sum of several lists of arrays; the first list is overwritten."""
    total = next(parts)
    for part in parts:
        for own, other in zip(total, part, strict=True):
            own += other
    return total

"""Approximations of a Fisher matrix, each with a basis in which it is diagonal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._memory import to_host
from steepest._symmetric import Cholesky, eigh

from ._factors import Factors, squares

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
HostParts = list[Float64]

# Of the largest eigenvalue, times the size: those below are roundings of 0.
_ROUNDING = 8.0


class Structure(ABC):
    """A symmetric positive semidefinite matrix of the parameters; vectors are lists of a matrix a layer, in float64.

    Parameters
    ----------
    source : callable
        Returns the factors of the Fisher matrix; called when they are first needed.
    shapes : list of tuple of int
        Of the matrix of each layer in a vector.
    dtype : dtype
        Of the factors.
    device : {"cpu", "cuda"}
        Where it is computed.
    """

    def __init__(
        self,
        source: Callable[[], Factors],
        shapes: list[tuple[int, int]],
        dtype: npt.DTypeLike,
        device: str,
    ) -> None:
        self._source, self.shapes, self.device = source, shapes, device
        self.precision = float(np.finfo(dtype).eps)

    @cached_property
    def factors(self) -> Factors:
        """The factors of the Fisher matrix."""
        return self._source()

    # ------------------------------------------------------------------------ what each structure says of itself

    @property
    @abstractmethod
    def values(self) -> HostParts:
        """The eigenvalues, in any shapes."""

    @abstractmethod
    def to_basis(self, parts: HostParts) -> HostParts:
        """Return the coordinates of a vector along the eigenvectors, in the shapes of `values`."""

    @abstractmethod
    def from_basis(self, coordinates: HostParts) -> HostParts:
        """Return the vector of these coordinates."""

    @abstractmethod
    def multiply(self, parts: HostParts) -> HostParts:
        """Return the product with a vector."""

    @abstractmethod
    def blocks(self) -> HostParts:
        """Return the matrices along the diagonal, of the parameters of a layer each, or of all."""

    @abstractmethod
    def diagonal(self) -> HostParts:
        """Return the diagonal as a vector."""

    # --------------------------------------------------------------------------------------- what follows from it

    def eigenvalues(self) -> Float64:
        """Return all eigenvalues, ascending; roundings of 0 are 0."""
        values = np.sort(np.concatenate([v.ravel() for v in self.values]))
        return np.where(values > self.cutoff(values), values, 0.0)

    def cutoff(self, values: Float64) -> float:
        """Return what eigenvalues up to are roundings of 0."""
        return _ROUNDING * self.precision * values.size * float(values.max(initial=0.0))

    def function(self, parts: HostParts, power: float, damping: float) -> HostParts:
        """Return ``(F + damping I)^power v``; without damping of the directions that F has, and 0 in the others."""
        cutoff = self.cutoff(np.concatenate([v.ravel() for v in self.values]))
        coordinates = self.to_basis(parts)
        for at, values in zip(coordinates, self.values, strict=True):
            known = (values > cutoff) if damping == 0 else np.ones(values.shape, bool)
            kept = np.where(known, np.maximum(values, 0.0) + damping, 1.0)
            at *= np.where(known, kept**power, 0.0)
        return self.from_basis(coordinates)

    def solve(self, parts: HostParts, damping: float) -> HostParts:
        """Return ``(F + damping I)^-1 v``, or the pseudoinverse's product without damping."""
        return self.function(parts, -1.0, damping)


class Diagonal(Structure):
    """The diagonal alone."""

    @cached_property
    def values(self) -> HostParts:
        """The diagonal itself."""
        factors, found = self.factors, []
        for x, d in zip(factors.inputs, factors.grads, strict=True):
            x, d = (to_host(a).astype(np.float64) for a in (x, d))
            found.append((x**2).T @ (d**2).reshape(len(x), factors.repeats, -1).sum(axis=1))
        return found

    def to_basis(self, parts: HostParts) -> HostParts:
        return [part.copy() for part in parts]

    def from_basis(self, coordinates: HostParts) -> HostParts:
        return coordinates

    def multiply(self, parts: HostParts) -> HostParts:
        return [value * part for value, part in zip(self.values, parts, strict=True)]

    def blocks(self) -> HostParts:
        return [np.diag(value.ravel()) for value in self.values]

    def diagonal(self) -> HostParts:
        return [value.copy() for value in self.values]


class Kfac(Structure):
    """A Kronecker product a layer, ``E[a a^T] x E[d d^T]`` of its inputs a and the gradients d of its outputs.

    J. Martens and R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015.
    """

    @cached_property
    def kronecker(self) -> list[tuple[Float64, Float64]]:
        """The two factors of each layer."""
        factors = self.factors
        return [
            (squares(x, self.device, factors.shares), squares(d, self.device))
            for x, d in zip(factors.inputs, factors.grads, strict=True)
        ]

    @cached_property
    def bases(self) -> list[tuple[Float64, Float64, Float64, Float64]]:
        """The eigenvalues and eigenvectors of the two factors of each layer."""
        return [(*eigh(a, self.device), *eigh(g, self.device)) for a, g in self.kronecker]

    @cached_property
    def values(self) -> HostParts:
        """Products of the factors' eigenvalues."""
        return [np.outer(np.maximum(a, 0.0), np.maximum(g, 0.0)) for a, _, g, _ in self.bases]

    def to_basis(self, parts: HostParts) -> HostParts:
        return [u.T @ part @ v for (_, u, _, v), part in zip(self.bases, parts, strict=True)]

    def from_basis(self, coordinates: HostParts) -> HostParts:
        return [u @ at @ v.T for (_, u, _, v), at in zip(self.bases, coordinates, strict=True)]

    def multiply(self, parts: HostParts) -> HostParts:
        return [a @ part @ g for (a, g), part in zip(self.kronecker, parts, strict=True)]

    def blocks(self) -> HostParts:
        return [np.kron(a, g).astype(np.float64, copy=False) for a, g in self.kronecker]

    def diagonal(self) -> HostParts:
        return [np.outer(np.diag(a), np.diag(g)) for a, g in self.kronecker]


class Ekfac(Kfac):
    """The eigenvectors of K-FAC, with the second moments along them as eigenvalues.

    T. George et al., "Fast approximate natural gradient descent in a Kronecker-factored eigenbasis", 2018.
    """

    @cached_property
    def values(self) -> HostParts:
        """The diagonal of the Fisher matrix in K-FAC's eigenbasis."""
        factors, found = self.factors, []
        for x, d, (_, u, _, v) in zip(factors.inputs, factors.grads, self.bases, strict=True):
            along, back = to_host(x).astype(np.float64) @ u, to_host(d).astype(np.float64) @ v
            found.append((along**2).T @ (back**2).reshape(len(along), factors.repeats, -1).sum(axis=1))
        return found

    def multiply(self, parts: HostParts) -> HostParts:
        coordinates = self.to_basis(parts)
        return self.from_basis([v * at for v, at in zip(self.values, coordinates, strict=True)])

    def blocks(self) -> HostParts:
        found = []
        for values, (_, u, _, v) in zip(self.values, self.bases, strict=True):
            basis = np.kron(u, v)
            found.append((basis * values.ravel()) @ basis.T)
        return found

    def diagonal(self) -> HostParts:
        found: HostParts = []
        for values, (_, u, _, v) in zip(self.values, self.bases, strict=True):
            found.append((u**2) @ values @ (v**2).T)
        return found


class Block(Structure):
    """The exact matrix of each layer's parameters, and nothing between layers."""

    @cached_property
    def matrices(self) -> HostParts:
        """The blocks."""
        layers = range(len(self.shapes))
        return [squares(self.factors.rows(slice(i, i + 1)), self.device) for i in layers]

    @cached_property
    def bases(self) -> list[tuple[Float64, Float64]]:
        """Eigenvalues and eigenvectors of each block."""
        return [eigh(matrix, self.device) for matrix in self.matrices]

    @cached_property
    def values(self) -> HostParts:
        """The eigenvalues of the blocks."""
        return [values for values, _ in self.bases]

    def flat(self, parts: HostParts) -> HostParts:
        """Return a vector as one array for each block."""
        return [part.ravel() for part in parts]

    def parts(self, flat: HostParts) -> HostParts:
        """Return one matrix a layer again."""
        return [a.reshape(shape) for a, shape in zip(flat, self.shapes, strict=True)]

    def to_basis(self, parts: HostParts) -> HostParts:
        return [u.T @ a for (_, u), a in zip(self.bases, self.flat(parts), strict=True)]

    def from_basis(self, coordinates: HostParts) -> HostParts:
        return self.parts([u @ a for (_, u), a in zip(self.bases, coordinates, strict=True)])

    def multiply(self, parts: HostParts) -> HostParts:
        return self.parts([m @ a for m, a in zip(self.matrices, self.flat(parts), strict=True)])

    def blocks(self) -> HostParts:
        return self.matrices

    def diagonal(self) -> HostParts:
        return self.parts([np.diag(matrix).copy() for matrix in self.matrices])

    def solve(self, parts: HostParts, damping: float) -> HostParts:
        factors = [
            Cholesky.of(matrix + damping * np.eye(len(matrix)), self.device) if damping > 0 else None
            for matrix in self.matrices
        ]
        if any(factor is None for factor in factors):
            # Singular, or so but for roundings that are larger than the damping.
            return super().solve(parts, damping)
        solved = zip(factors, self.flat(parts), strict=True)
        return self.parts([factor.solve(a[:, None])[:, 0] for factor, a in solved if factor is not None])


class Dense(Block):
    """The exact matrix of all parameters."""

    @cached_property
    def matrices(self) -> HostParts:
        """The matrix, as the only block."""
        return [squares(self.factors.rows(), self.device)]

    def flat(self, parts: HostParts) -> HostParts:
        return [np.concatenate([part.ravel() for part in parts])]

    def parts(self, flat: HostParts) -> HostParts:
        ends = np.cumsum([p * m for p, m in self.shapes])[:-1]
        return super().parts(np.split(flat[0], ends))


STRUCTURES: dict[str, type[Structure]] = {
    "dense": Dense,
    "block": Block,
    "kfac": Kfac,
    "ekfac": Ekfac,
    "diagonal": Diagonal,
}

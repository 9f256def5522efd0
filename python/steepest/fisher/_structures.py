"""Approximations of a Fisher matrix, each with a basis in which it is diagonal."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._memory import assign, to_device, to_host
from steepest._symmetric import Cholesky, eigh, one_thread_if_small

from ._batch import Batch
from ._factors import squares
from ._solvers import NotPositiveDefiniteError, norm

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Operator = Callable[[Array], Array]
"""A linear map of flat vectors of the structure's dtype and device."""

# Of the largest eigenvalue, times the size: those below are roundings of 0.
_ROUNDING = 8.0
# Parts of a vector that are so many roundings of it are taken as none.
_ROUNDINGS_OF_A_PART = 1e3


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
        self.precision = float(np.finfo(self.layout.dtype).eps)

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
    def values(self) -> list[Float64]:
        """The eigenvalues, in any shapes, on the host."""

    @abstractmethod
    def eigenbasis(self) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        """Return the map to coordinates along the eigenvectors, in the shapes of `values`, and its inverse.

        Later averages do not change them.
        """

    @abstractmethod
    def multiply(self, flat: Array) -> Array:
        """Return the product with a vector."""

    @abstractmethod
    def blocks(self) -> list[Float64]:
        """Return the matrices along the diagonal, of the parameters of a layer each, or of all."""

    @abstractmethod
    def diagonal(self) -> Float64:
        """Return the diagonal."""

    # --------------------------------------------------------------------------------------- what follows from it

    def eigenvalues(self) -> Float64:
        """Return all eigenvalues, ascending; roundings of 0 are 0."""
        values = np.sort(np.concatenate([v.ravel() for v in self.values]))
        return np.where(values > self.cutoff(), values, 0.0)

    def cutoff(self) -> float:
        """Return what eigenvalues up to are roundings of 0."""
        largest = max(float(values.max(initial=0.0)) for values in self.values)
        if not math.isfinite(largest):
            raise NotPositiveDefiniteError("an eigenvalue is not finite")
        cutoff: float = _ROUNDING * self.precision * self.layout.size * largest
        return cutoff

    def power(self, exponent: float, damping: float) -> Operator:
        """Return ``(F + damping I)^exponent``; without damping of the directions that F has, and 0 in the others."""
        cutoff, (to_basis, from_basis) = self.cutoff(), self.eigenbasis()
        empty = [values <= cutoff for values in self.values]
        multipliers = []
        for values, is_empty in zip(self.values, empty, strict=True):
            left = is_empty if damping == 0 else np.zeros(values.shape, bool)
            kept = np.where(left, 1.0, np.maximum(values, 0.0) + damping)
            multipliers.append(self.own(np.where(left, 0.0, kept**exponent)))
        # Less damping than the eigenvalues have roundings would make large numbers of the roundings of v.
        least = _ROUNDINGS_OF_A_PART * self.precision if 0 < damping <= cutoff else 0.0
        masks = [to_device(is_empty, self.device if not self.on_host else "cpu") for is_empty in empty]

        def product(flat: Array) -> Array:
            coordinates = to_basis(flat)
            bound = least * norm(flat)
            for at, multiplier, is_empty in zip(coordinates, multipliers, masks, strict=True):
                if bound > 0:
                    at[is_empty & (abs(at) <= bound)] = 0
                at *= multiplier
            return from_basis(coordinates)

        return product

    def inverse(self, damping: float) -> Operator:
        """Return ``(F + damping I)^-1``, or the pseudoinverse without damping; later averages do not change it."""
        return self.power(-1.0, damping)

    def _forget(self, *names: str) -> None:
        for name in names:
            self.__dict__.pop(name, None)


class Diagonal(Structure):
    """The diagonal alone."""

    @cached_property
    def squared(self) -> Array:
        """The diagonal, in the network's dtype and on its device."""
        factors, found = self.batch.factors, []
        for x, d in zip(factors.inputs_with_ones(), factors.grads, strict=True):
            by_sample = (d * d).reshape(len(x), factors.repeats, -1).sum(axis=1)
            found.append(K.matmul((x * x).T, by_sample))
        return self.layout.gathered(found)

    def measure(self) -> None:
        _ = self.squared

    def kept(self) -> list[Array]:
        return [self.squared]

    def merge(self, decay: float) -> None:
        before = self.squared
        self._forget("squared", "values")
        self.squared = decay * before + (1.0 - decay) * self.squared

    @cached_property
    def values(self) -> list[Float64]:
        """The diagonal itself."""
        return [self.layout.on_host(self.squared)]

    def eigenbasis(self) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        return lambda flat: [flat.copy()], lambda coordinates: coordinates[0]

    def multiply(self, flat: Array) -> Array:
        product: Array = self.squared * flat
        return product

    def blocks(self) -> list[Float64]:
        return [np.diag(part.ravel()) for part in self.layout.parts(self.values[0])]

    def diagonal(self) -> Float64:
        return self.values[0].copy()


class Kfac(Structure):
    """A Kronecker product a layer, ``E[a a^T] x E[d d^T]`` of its inputs a and the gradients d of its outputs.

    J. Martens and R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015.
    """

    @cached_property
    def kronecker(self) -> list[tuple[Array, Array]]:
        """The two factors of each layer, in the network's dtype and on its device."""
        return self._second_moments([(None, None) for _ in self.layout.layers], 0.0)

    def measure(self) -> None:
        _ = self.kronecker

    def kept(self) -> list[Array]:
        return [factor for factors in self.kronecker for factor in factors]

    def merge(self, decay: float) -> None:
        self.kronecker = self._second_moments(self.kronecker, decay)
        self._forget("bases", "values")

    def _second_moments(
        self, into: Sequence[tuple[Array | None, Array | None]], decay: float
    ) -> list[tuple[Array, Array]]:
        """Return the factors of the batch, averaged in place with what they were."""
        factors = self.batch.factors
        layers = zip(factors.inputs, factors.grads, self.layout.biases, into, strict=True)
        return [
            (
                K.second_moment(x, factors.shares, ones=bias, scale=1.0 - decay, decay=decay, out=a),
                K.second_moment(d, scale=(1.0 - decay) * len(d), decay=decay, out=g),
            )
            for x, d, bias, (a, g) in layers
        ]

    @cached_property
    def bases(self) -> list[tuple[Float64, Float64, Float64, Float64]]:
        """The eigenvalues and eigenvectors of the two factors of each layer."""
        with one_thread_if_small(self._largest):
            return [(*self._eigh(a), *self._eigh(g)) for a, g in self.kronecker]

    @property
    def _largest(self) -> int:
        largest: int = max(max(shape) for shape in self.layout.layers)
        return largest

    def _eigh(self, matrix: Array) -> tuple[Float64, Float64]:
        on_host = self.layout.on_host(matrix)
        if not np.isfinite(on_host).all():
            raise NotPositiveDefiniteError("a factor of K-FAC is not finite")
        return eigh(on_host, self.device)

    @cached_property
    def values(self) -> list[Float64]:
        """Products of the factors' eigenvalues."""
        return [np.outer(np.maximum(a, 0.0), np.maximum(g, 0.0)) for a, _, g, _ in self.bases]

    def eigenbasis(self) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        bases = [(self.own(u), self.own(v)) for _, u, _, v in self.bases]

        def to_basis(flat: Array) -> list[Array]:
            parts = zip(bases, self.layout.parts(flat), strict=True)
            return [K.matmul(K.matmul(u.T, part), v) for (u, v), part in parts]

        def from_basis(coordinates: list[Array]) -> Array:
            flat = self.layout.empty()
            for (u, v), at, part in zip(bases, coordinates, self.layout.parts(flat), strict=True):
                K.matmul(K.matmul(u, at), v.T, out=part)
            return flat

        return to_basis, from_basis

    def multiply(self, flat: Array) -> Array:
        return self._kronecker_product(self.kronecker, flat)

    def _kronecker_product(self, factors: list[tuple[Array, Array]], flat: Array) -> Array:
        """Return the product of ``A x G`` of each layer with a vector."""
        product = self.layout.empty()
        parts = zip(factors, self.layout.parts(flat), self.layout.parts(product), strict=True)
        for (a, g), part, of_part in parts:
            K.matmul(K.matmul(a, part), g, out=of_part)
        return product

    def factored_inverse(self, damping: float, by_traces: bool) -> Operator:
        """Return the inverse of ``(A + pi sqrt(damping) I) x (G + sqrt(damping) / pi I)`` of each layer.

        Parameters
        ----------
        damping : float
            Positive.
        by_traces : bool
            Whether pi is the root of the ratio of the mean eigenvalues of A and G, which bounds the error most closely
            (§6.3 of the paper); otherwise it is 1.

        Raises
        ------
        NotPositiveDefiniteError
            A damped factor is not positive definite in float64.
        """
        inverses, root = [], math.sqrt(damping)
        with one_thread_if_small(self._largest):
            for a, g in self.kronecker:
                pi = 1.0
                if by_traces:
                    ratio = (
                        float(a.trace()) / len(a) * len(g) / max(float(g.trace()), np.finfo(np.float64).tiny)
                    )
                    pi = math.sqrt(ratio) if 0 < ratio < math.inf else 1.0
                inverses.append((self._damped_inverse(a, pi * root), self._damped_inverse(g, root / pi)))

        return lambda flat: self._kronecker_product(inverses, flat)

    def _damped_inverse(self, matrix: Array, damping: float) -> Array:
        damped = np.array(self.layout.on_host(matrix))
        damped.flat[:: len(damped) + 1] += damping
        factor = Cholesky.of(damped, self.device) if np.isfinite(damped).all() else None
        if factor is None:
            raise NotPositiveDefiniteError("a damped factor of K-FAC is not positive definite")
        return self.layout.on_device(factor.inverse_of_matrix())

    def blocks(self) -> list[Float64]:
        return [
            np.kron(self.layout.on_host(a), self.layout.on_host(g)).astype(np.float64, copy=False)
            for a, g in self.kronecker
        ]

    def diagonal(self) -> Float64:
        diagonals = [tuple(np.diag(self.layout.on_host(f)) for f in factors) for factors in self.kronecker]
        return np.concatenate([np.outer(a, g).ravel() for a, g in diagonals])


class Ekfac(Kfac):
    """The eigenvectors of K-FAC, with the second moments along them as eigenvalues.

    T. George et al., "Fast approximate natural gradient descent in a Kronecker-factored eigenbasis", 2018.
    """

    @cached_property
    def values(self) -> list[Float64]:
        """The diagonal of the Fisher matrix in K-FAC's eigenbasis."""
        factors, found = self.batch.factors, []
        layers = zip(factors.inputs, factors.grads, self.bases, self.layout.biases, strict=True)
        for x, d, (_, u, _, v), bias in layers:
            u, v = self.layout.on_device(u), self.layout.on_device(v)
            along = K.linear(x, u[: x.shape[1]], u[-1].copy() if bias else None)
            back = K.matmul(d, v)
            along *= along
            back *= back
            by_sample = back.reshape(len(x), factors.repeats, -1).sum(axis=1)
            found.append(self.layout.on_host(K.matmul(along.T, by_sample)))
        return found

    def measure(self) -> None:
        _ = self.kronecker, self.values

    def kept(self) -> list[Array]:
        return [*super().kept(), *self.values]

    def merge(self, decay: float) -> None:
        bases, values = self.bases, self.values
        super().merge(decay)
        fresh = self.values
        # The diagonal in the new basis of what stood in the old one.
        for (_, u, _, v), (_, new_u, _, new_v), old, new in zip(
            bases, self.bases, values, fresh, strict=True
        ):
            carried = (new_u.T @ u) ** 2 @ old @ ((new_v.T @ v) ** 2).T
            new *= 1.0 - decay
            new += decay * carried

    def multiply(self, flat: Array) -> Array:
        to_basis, from_basis = self.eigenbasis()
        products = zip(to_basis(flat), self.values, strict=True)
        return from_basis([at * self.own(values) for at, values in products])

    def blocks(self) -> list[Float64]:
        found = []
        for values, (_, u, _, v) in zip(self.values, self.bases, strict=True):
            basis = np.kron(u, v)
            found.append((basis * values.ravel()) @ basis.T)
        return found

    def diagonal(self) -> Float64:
        layers = zip(self.values, self.bases, strict=True)
        return np.concatenate([((u**2) @ values @ (v**2).T).ravel() for values, (_, u, _, v) in layers])


class Block(Structure):
    """The exact matrix of each layer's parameters, and nothing between layers."""

    on_host = True

    @cached_property
    def matrices(self) -> list[Float64]:
        """The blocks."""
        layers = range(len(self.layout.layers))
        return [squares(self.batch.factors.rows(slice(i, i + 1)), self.device) for i in layers]

    def measure(self) -> None:
        _ = self.matrices

    def kept(self) -> list[Array]:
        return list(self.matrices)

    def merge(self, decay: float) -> None:
        before = self.matrices
        self._forget("matrices", "bases", "values")
        self.matrices = [
            decay * old + (1.0 - decay) * new for old, new in zip(before, self.matrices, strict=True)
        ]

    @cached_property
    def bases(self) -> list[tuple[Float64, Float64]]:
        """Eigenvalues and eigenvectors of each block."""
        self._require_finite()
        return [eigh(matrix, self.device) for matrix in self.matrices]

    def _require_finite(self) -> None:
        if not all(np.isfinite(matrix).all() for matrix in self.matrices):
            raise NotPositiveDefiniteError("a block is not finite")

    @cached_property
    def values(self) -> list[Float64]:
        """The eigenvalues of the blocks."""
        return [values for values, _ in self.bases]

    def _blocks_of(self, flat: Float64) -> list[Float64]:
        ends = np.cumsum([len(matrix) for matrix in self.matrices])[:-1]
        return np.split(flat, ends)

    def eigenbasis(self) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        bases = [u for _, u in self.bases]

        def to_basis(flat: Array) -> list[Array]:
            return [u.T @ a for u, a in zip(bases, self._blocks_of(flat), strict=True)]

        def from_basis(coordinates: list[Array]) -> Array:
            return np.concatenate([u @ at for u, at in zip(bases, coordinates, strict=True)])

        return to_basis, from_basis

    def multiply(self, flat: Array) -> Array:
        return np.concatenate([m @ a for m, a in zip(self.matrices, self._blocks_of(flat), strict=True)])

    def blocks(self) -> list[Float64]:
        return self.matrices

    def diagonal(self) -> Float64:
        return np.concatenate([np.diag(matrix) for matrix in self.matrices])

    def inverse(self, damping: float) -> Operator:
        self._require_finite()
        factors = [
            Cholesky.of(matrix + damping * np.eye(len(matrix)), self.device)
            if damping > _ROUNDING * self.precision * float(np.trace(matrix))
            else None
            for matrix in self.matrices
        ]
        if any(factor is None for factor in factors):
            # Singular, or so but for roundings that are larger than the damping.
            return super().inverse(damping)

        def product(flat: Array) -> Array:
            solved = zip(factors, self._blocks_of(flat), strict=True)
            return np.concatenate([f.solve(a[:, None])[:, 0] for f, a in solved if f is not None])

        return product


class Dense(Block):
    """The exact matrix of all parameters."""

    @cached_property
    def matrices(self) -> list[Float64]:
        """The matrix, as the only block."""
        return [squares(self.batch.factors.rows(), self.device)]


STRUCTURES: dict[str, type[Structure]] = {
    "dense": Dense,
    "block": Block,
    "kfac": Kfac,
    "ekfac": Ekfac,
    "diagonal": Diagonal,
}

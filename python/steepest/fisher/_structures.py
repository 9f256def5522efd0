"""Approximations of a Fisher matrix, each with a basis in which it is diagonal."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._backends import is_cupy
from steepest._memory import assign, to_host
from steepest._symmetric import Cholesky, eigh, eigvalsh, one_thread_if_small

from ._batch import Batch
from ._factors import Factors, squares
from ._solvers import NotPositiveDefiniteError, is_rounding_of_part, is_within_rounding, norm, rounding_of

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
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
    def values(self) -> list[Float64]:
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
    def blocks(self) -> list[Float64]:
        """Return the matrices along the diagonal, of the parameters of a layer each, or of all."""

    @abstractmethod
    def diagonal(self) -> Float64:
        """Return the diagonal."""

    # --------------------------------------------------------------------------------------- what follows from it

    def spectra(self) -> list[Float64]:
        """Return eigenvalues as `values`, whose eigenvectors are not asked for; those that are missing are 0."""
        return self.values

    def spectrum(self) -> Float64:
        """Return all eigenvalues, ascending, as they were computed, but for negative ones: those are 0."""
        return self._sorted([np.maximum(values, 0.0) for values in self.spectra()])

    def eigenvalues(self) -> Float64:
        """Return all eigenvalues, ascending; roundings of 0 are 0."""
        found = self.spectra()
        kept = zip(found, self.nonzero(found), strict=True)
        return self._sorted([np.where(is_kept, values, 0.0) for values, is_kept in kept])

    def _sorted(self, values: list[Float64]) -> Float64:
        flat = np.concatenate([part.ravel() for part in values])
        return np.sort(np.concatenate([np.zeros(self.layout.size - len(flat)), flat]))

    def nonzero(self, values: list[Float64]) -> list[npt.NDArray[np.bool_]]:
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


class Diagonal(Structure):
    """The diagonal alone."""

    @cached_property
    def squared(self) -> Array:
        """The diagonal, in the network's dtype and on its device."""
        return self.layout.gathered(_summed(self._squares_of(f) for f in self.batch.factors_by_blocks()))

    def _squares_of(self, factors: Factors) -> list[Array]:
        found = []
        for x, d in zip(factors.inputs_with_ones(), factors.grads, strict=True):
            by_sample = (d * d).reshape(len(x), factors.repeats, -1).sum(axis=1)
            found.append(K.matmul((x * x).T, by_sample))
        return found

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

    def roundings(self) -> list[float]:
        # Sums of squares, which nothing is mixed with: those of 0 are exactly 0.
        return [0.0]

    def eigenbasis(
        self, own: Converter
    ) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        return lambda flat: [flat.copy()], lambda coordinates: coordinates[0]

    def multiply(self, flat: Array) -> Array:
        own = self.place_of(flat)
        product: Array = own(self.squared) * own(flat)
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
        batch = self.batch
        layers = zip(batch.tape.inputs, self.layout.biases, into, strict=True)
        of_inputs = [
            K.second_moment(x, batch.device_shares, ones=bias, scale=1.0 - decay, decay=decay, out=a)
            for x, bias, (a, _) in layers
        ]
        of_grads: list[Array] = []
        for factors in batch.factors_by_blocks():
            scaled = [(d, (1.0 - decay) * len(d)) for d in factors.grads]
            if not of_grads:
                first = zip(scaled, into, strict=True)
                of_grads = [
                    K.second_moment(d, scale=scale, decay=decay, out=g) for (d, scale), (_, g) in first
                ]
                continue
            for g, (d, scale) in zip(of_grads, scaled, strict=True):
                g += K.second_moment(d, scale=scale)
        return list(zip(of_inputs, of_grads, strict=True))

    @cached_property
    def bases(self) -> list[tuple[Float64, Float64, Float64, Float64]]:
        """The eigenvalues and eigenvectors of the two factors of each layer."""
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
        return [np.outer(a, g) for a, _, g, _ in self.bases]

    def roundings(self) -> list[float]:
        return [rounding_of(max(shape), np.float64) for shape in self.layout.layers]

    def nonzero(self, values: list[Float64]) -> list[npt.NDArray[np.bool_]]:
        # The factors are of the network's dtype: what has no eigenvalue in one of them has none in their product.
        def in_factor(part: Float64) -> npt.NDArray[np.bool_]:
            is_kept: npt.NDArray[np.bool_] = part > rounding_of(len(part), self.layout.dtype) * part.max()
            return is_kept

        in_factors = [np.outer(in_factor(a), in_factor(g)) for a, _, g, _ in self.bases]
        return [kept & both for kept, both in zip(super().nonzero(values), in_factors, strict=True)]

    def eigenbasis(
        self, own: Converter
    ) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        bases = [(own(u), own(v)) for _, u, _, v in self.bases]

        def to_basis(flat: Array) -> list[Array]:
            parts = zip(bases, self.layout.parts(flat), strict=True)
            return [K.matmul(K.matmul(u.T, part), v) for (u, v), part in parts]

        def from_basis(coordinates: list[Array]) -> Array:
            flat = self.layout.empty_like(coordinates[0])
            for (u, v), at, part in zip(bases, coordinates, self.layout.parts(flat), strict=True):
                K.matmul(K.matmul(u, at), v.T, out=part)
            return flat

        return to_basis, from_basis

    def multiply(self, flat: Array) -> Array:
        return self._kronecker_product(self.kronecker, flat)

    def _kronecker_product(self, factors: list[tuple[Array, Array]], flat: Array) -> Array:
        """Return the product of ``A x G`` of each layer with a vector."""
        own = self.place_of(flat)
        flat = own(flat)
        product = self.layout.empty_like(flat)
        parts = zip(factors, self.layout.parts(flat), self.layout.parts(product), strict=True)
        for (a, g), part, of_part in parts:
            K.matmul(K.matmul(own(a), part), own(g), out=of_part)
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
                of_a, of_g = float(a.trace()) / len(a), float(g.trace()) / len(g)
                # Where no gradient reaches a layer, or nothing but zeros goes into it, there is no ratio.
                pi = math.sqrt(of_a) / math.sqrt(of_g) if by_traces and of_a > 0 and of_g > 0 else 1.0
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
        return _summed(self._moments_of(factors) for factors in self.batch.factors_by_blocks())

    def _moments_of(self, factors: Factors) -> list[Float64]:
        found = []
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
        own = self.place_of(flat)
        to_basis, from_basis = self.eigenbasis(own)
        products = zip(to_basis(own(flat)), self.values, strict=True)
        return from_basis([at * own(values) for at, values in products])

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
        return _summed(
            [squares(factors.rows(layers), self.device) for layers in self._layers]
            for factors in self.batch.in_float64.factors_by_blocks(self.layout.size)
        )

    @property
    def _layers(self) -> list[slice]:
        """The layers of each block."""
        return [slice(i, i + 1) for i in range(len(self.layout.layers))]

    @property
    def _is_formed(self) -> bool:
        return "matrices" in self.__dict__

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
        self._require_finite(self.matrices)
        return [eigh(matrix, self.device) for matrix in self.matrices]

    def _require_finite(self, matrices: list[Float64]) -> None:
        if not all(np.isfinite(matrix).all() for matrix in matrices):
            raise NotPositiveDefiniteError("a block is not finite")

    @cached_property
    def values(self) -> list[Float64]:
        """The eigenvalues of the blocks."""
        return [values for values, _ in self.bases]

    def _blocks_of(self, flat: Float64) -> list[Float64]:
        ends = np.cumsum([len(matrix) for matrix in self.matrices])[:-1]
        return np.split(flat, ends)

    def spectra(self) -> list[Float64]:
        n_rows = len(self.batch.shares) * self.batch.expectation.repeats(self.layout.layers[-1][1])
        if self._is_formed or n_rows >= min(self._sides):
            return self.values
        # S S^T of fewer rows than parameters has the eigenvalues of S^T S but for zeros.
        grams = [self.batch.in_float64.factors.gram(layers) for layers in self._layers]
        self._require_finite(grams)
        return [eigvalsh(gram, self.device) for gram in grams]

    @property
    def _sides(self) -> list[int]:
        return [sum(p * m for p, m in self.layout.layers[layers]) for layers in self._layers]

    def roundings(self) -> list[float]:
        return [rounding_of(side, self.layout.dtype) for side in self._sides]

    def eigenbasis(
        self, own: Converter
    ) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        bases = [u for _, u in self.bases]

        def to_basis(flat: Array) -> list[Array]:
            return [u.T @ a for u, a in zip(bases, self._blocks_of(flat), strict=True)]

        def from_basis(coordinates: list[Array]) -> Array:
            return np.concatenate([u @ at for u, at in zip(bases, coordinates, strict=True)])

        return to_basis, from_basis

    def multiply(self, flat: Array) -> Array:
        blocks = self._blocks_of(self.own(flat))
        return np.concatenate([m @ a for m, a in zip(self.matrices, blocks, strict=True)])

    def blocks(self) -> list[Float64]:
        return self.matrices

    def diagonal(self) -> Float64:
        if not self._is_formed:
            return Diagonal(self.batch).diagonal()
        return np.concatenate([np.diag(matrix) for matrix in self.matrices])

    def inverse(self, damping: float) -> Operator:
        self._require_finite(self.matrices)
        factors = [
            Cholesky.of(matrix + damping * np.eye(len(matrix)), self.device)
            if damping > rounding_of(1, np.float64) * float(np.trace(matrix))
            else None
            for matrix in self.matrices
        ]
        if any(factor is None for factor in factors):
            # Singular, or so but for roundings that are larger than the damping.
            return super().inverse(damping)

        def product(flat: Array) -> Array:
            solved = zip(factors, self._blocks_of(self.own(flat)), strict=True)
            return np.concatenate([f.solve(a[:, None])[:, 0] for f, a in solved if f is not None])

        return product


class Dense(Block):
    """The exact matrix of all parameters."""

    @property
    def _layers(self) -> list[slice]:
        return [slice(None)]


def _summed(parts: Iterator[list[Array]]) -> list[Array]:
    """Return the sums of the arrays of several lists, item by item."""
    total = next(parts)
    for part in parts:
        for own, other in zip(total, part, strict=True):
            own += other
    return total


STRUCTURES: dict[str, type[Structure]] = {
    "dense": Dense,
    "block": Block,
    "kfac": Kfac,
    "ekfac": Ekfac,
    "diagonal": Diagonal,
}

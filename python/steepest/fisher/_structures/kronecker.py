"""K-FAC and EKFAC: one Kronecker product of two small factors per layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import array_namespace
from steepest._symmetric import Cholesky, eigh, one_thread_if_small
from steepest.fisher._factors import Factors
from steepest.fisher._layout import Layout
from steepest.fisher._solvers import NotPositiveDefiniteError, rounding_of
from steepest.fisher.blocks import Block, LinearRows, Part, SharedLinearRows

from .base import Converter, Operator, Structure, summed
from .shared_weights import TiedFactors, gradient_rows, input_rows

# Parameters of a layer that is not linear, whose exact block K-FAC takes; a matrix of this side takes 128 MiB.
_LARGEST_EXACT = 4096


def require_factors(layout: Layout, structure: str) -> None:
    """Raise ValueError where K-FAC has neither factors of a layer's block, nor room for the block itself."""
    if structure not in ("kfac", "kfac_reduce", "ekfac"):
        return
    for part in layout.blocks:
        if not part.is_linear and part.size > _LARGEST_EXACT:
            raise ValueError(
                f"[FisherMatrix] structure={structure!r} has no factors for the {part.size} parameters "
                f"{' and '.join(part.names)} of a layer other than Linear, and their exact block is too large: take "
                "structure='diagonal', or structure='dense' with solver='cg'"
            )


class Kfac(Structure):
    """K-FAC: one Kronecker product per layer, ``E[a a^T] x E[d d^T]``, of its inputs a and its output gradients d.

    J. Martens and R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015.
    """

    sums_positions = False
    """Whether a layer that a sample passes several times sums over them before the moments, instead of after."""

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
        batch, kept, parts = self.batch, 1.0 - decay, self.layout.blocks
        found: list[tuple[Array | None, Array | None]] = [
            (self._moment_of_inputs(part, a, decay) if part.is_linear and not part.is_tied else None, None)
            for part, (a, _) in zip(parts, into, strict=True)
        ]
        tied = {
            k: TiedFactors(self.layout, self.sums_positions) for k, part in enumerate(parts) if part.is_tied
        }
        for i, factors in enumerate(batch.factors_by_blocks()):
            for k, block in enumerate(factors.blocks):
                first, second = found[k]
                if k in tied:
                    tied[k].add(block)
                elif block.part.is_linear:
                    d = self._gradients(block)
                    old = into[k][1] if i == 0 else second
                    found[k] = first, _add_moment(d, old, kept, decay if i == 0 else None)
                else:
                    # The exact block of a layer that is not linear, with a factor of 1 beside it.
                    rows = self.layout.on_device(block.rows())
                    old = into[k][0] if i == 0 else first
                    one = array_namespace(rows).ones((1, 1), rows.dtype)
                    found[k] = _add_moment(rows, old, kept, decay if i == 0 else None), one
        for k, sums in tied.items():
            fresh = sums.factors(batch, parts[k])
            found[k] = cast("tuple[Array, Array]", tuple(map(_averaged, into[k], fresh, [decay, decay])))
        return cast("list[tuple[Array, Array]]", found)

    def _moment_of_inputs(self, part: Part, out: Array | None, decay: float) -> Array:
        """Return the second moment of what goes into a linear layer, averaged with what it was."""
        batch = self.batch
        inputs = [batch.tape.input_of(use.value) for use in part.uses]
        if not part.is_shared:
            x, shares = inputs[0], batch.device_shares
        else:
            x, shares = input_rows(inputs, batch.device_shares, self.sums_positions)
        return K.second_moment(x, shares, ones=part.has_bias, scale=1.0 - decay, decay=decay, out=out)

    def _gradients(self, block: Block) -> Array:
        """Return the gradients of a linear layer's outputs as rows."""
        if isinstance(block, LinearRows):
            return block.d
        assert isinstance(block, SharedLinearRows)
        return gradient_rows([use.d for use in block.passes], self.sums_positions)

    @cached_property
    def bases(self) -> list[tuple[Float64Array, Float64Array, Float64Array, Float64Array]]:
        """The eigenvalues and eigenvectors of the two factors of each layer, input factor first."""
        return [(*self._eigh(a), *self._eigh(g)) for a, g in self.kronecker]

    @property
    def _largest(self) -> int:
        largest: int = max(max(shape) for shape in self.layout.layers)
        return largest

    def _eigh(self, matrix: Array) -> tuple[Float64Array, Float64Array]:
        on_host = self.layout.on_host(matrix)
        if not np.isfinite(on_host).all():
            raise NotPositiveDefiniteError("a factor of K-FAC is not finite")
        return eigh(on_host, self.device)

    @cached_property
    def values(self) -> list[Float64Array]:
        """Products of the factors' eigenvalues."""
        return [np.outer(a, g) for a, _, g, _ in self.bases]

    def roundings(self) -> list[float]:
        return [rounding_of(max(shape), np.float64) for shape in self.layout.layers]

    def nonzero(self, values: list[Float64Array]) -> list[npt.NDArray[np.bool_]]:
        # The factors have the network's dtype: an eigenvalue within rounding error of 0 makes its products 0.
        def in_factor(part: Float64Array) -> npt.NDArray[np.bool_]:
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
        """Return the product of each layer's ``A x G`` with its part of a vector."""
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
            The damping to split, above 0.
        by_traces : bool
            Whether pi^2 is the ratio of the mean eigenvalues of A and G, which minimises a bound on the error (§6.3 of
            the paper); otherwise pi is 1.

        Raises
        ------
        NotPositiveDefiniteError
            If a damped factor is not positive definite in float64.
        """
        inverses, root = [], math.sqrt(damping)
        with one_thread_if_small(self._largest):
            for a, g in self.kronecker:
                of_a, of_g = float(a.trace()) / len(a), float(g.trace()) / len(g)
                # If all gradients or all inputs of a layer are 0, the ratio is undefined.
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

    def blocks(self) -> list[Float64Array]:
        return [
            np.kron(self.layout.on_host(a), self.layout.on_host(g)).astype(np.float64, copy=False)
            for a, g in self.kronecker
        ]

    def diagonal(self) -> Float64Array:
        diagonals = [tuple(np.diag(self.layout.on_host(f)) for f in factors) for factors in self.kronecker]
        return np.concatenate([np.outer(a, g).ravel() for a, g in diagonals])


def _add_moment(rows: Array, out: Array | None, scale: float, decay: float | None) -> Array:
    """Return ``scale`` times the sum of the rows' outer products, added to ``decay`` times what is there, or to all."""
    if out is not None and decay is None:
        out += K.second_moment(rows, scale=scale * len(rows))
        return out
    return K.second_moment(rows, scale=scale * len(rows), decay=decay or 0.0, out=out)


def _averaged(old: Array | None, new: Array, decay: float) -> Array:
    """Return ``decay * old + (1 - decay) * new``, in the place of the old array."""
    if old is None:
        return new
    old *= decay
    old += (1.0 - decay) * new
    return old


class KfacReduce(Kfac):
    """K-FAC that takes the mean of a layer's inputs, and the sum of its gradients, over the positions of a sample."""

    sums_positions = True


class Ekfac(Kfac):
    """EKFAC: the eigenvectors of K-FAC, with second moments of the gradients along them as eigenvalues.

    T. George et al., "Fast approximate natural gradient descent in a Kronecker-factored eigenbasis", 2018.
    """

    @cached_property
    def values(self) -> list[Float64Array]:
        """The diagonal of the Fisher matrix in K-FAC's eigenbasis."""
        return summed(self._moments_of(factors) for factors in self.batch.factors_by_blocks())

    def _moments_of(self, factors: Factors) -> list[Float64Array]:
        found = []
        for block, (_, u, _, v) in zip(factors.blocks, self.bases, strict=True):
            along = block.moments_along(self.layout.on_device(u), self.layout.on_device(v))
            found.append(self.layout.on_host(along))
        return found

    def measure(self) -> None:
        _ = self.kronecker, self.values

    def kept(self) -> list[Array]:
        return [*super().kept(), *self.values]

    def merge(self, decay: float) -> None:
        bases, values = self.bases, self.values
        super().merge(decay)
        fresh = self.values
        # The diagonal, in the new eigenbasis, of the average that was diagonal in the old one.
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

    def blocks(self) -> list[Float64Array]:
        found = []
        for values, (_, u, _, v) in zip(self.values, self.bases, strict=True):
            basis = np.kron(u, v)
            found.append((basis * values.ravel()) @ basis.T)
        return found

    def diagonal(self) -> Float64Array:
        layers = zip(self.values, self.bases, strict=True)
        return np.concatenate([((u**2) @ values @ (v**2).T).ravel() for values, (_, u, _, v) in layers])

"""K-FAC and EKFAC: one Kronecker product of two small factors per layer, or for each group of a convolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import array_namespace
from steepest._symmetric import Cholesky, eigh, one_thread_if_small
from steepest.fisher._factors import Factors
from steepest.fisher._layout import Layout
from steepest.fisher._solvers import NotPositiveDefiniteError, rounding_of
from steepest.fisher.blocks import Block, LinearRows, Part, SharedLinearRows, Stack

from .base import Converter, Operator, Structure, summed
from .layer_factors import ConvolutionFactors, ExactFactors, LayerFactors
from .shared_weights import TiedFactors, gradient_rows, input_rows

# Parameters of a layer without factors, whose exact block K-FAC takes; a matrix of this side takes 128 MiB.
_LARGEST_EXACT = 4096

_Item = TypeVar("_Item")


def require_factors(layout: Layout, structure: str) -> None:
    """Raise ValueError where K-FAC has neither factors of a layer's block, nor room for the block itself."""
    if structure not in ("kfac", "kfac_reduce", "ekfac"):
        return
    for part in layout.blocks:
        if part.form == "other" and part.size > _LARGEST_EXACT:
            raise ValueError(
                f"[FisherMatrix] structure={structure!r} has no factors for the {part.size} parameters "
                f"{' and '.join(part.names)}, whose layer is no linear map, convolution or normalization, and their "
                "exact block is too large: take structure='diagonal', or structure='dense' with solver='cg'"
            )


class Kfac(Structure):
    """K-FAC: one Kronecker product per layer, ``E[a a^T] x E[d d^T]``, of its inputs a and its output gradients d.

    J. Martens and R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015.
    """

    sums_positions = False
    """Whether a layer that a sample passes several times sums over them before the moments, instead of after."""

    @cached_property
    def kronecker(self) -> list[tuple[Array, Array]]:
        """The two factors of each stack of each part, in the network's dtype and on its device."""
        return self._second_moments([(None, None) for _ in self._stacks], 0.0)

    @cached_property
    def _stacks(self) -> list[Stack]:
        return [stack for part in self.layout.blocks for stack in part.stacks]

    def _by_part(self, items: Sequence[_Item]) -> list[list[_Item]]:
        """Return what belongs to the stacks as a list for each part."""
        left = iter(items)
        return [[next(left) for _ in part.stacks] for part in self.layout.blocks]

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
        batch, kept, parts, before = self.batch, 1.0 - decay, self.layout.blocks, self._by_part(into)
        others = {
            k: self._factors_of(part) for k, part in enumerate(parts) if part.is_tied or not part.is_linear
        }
        of_inputs = {
            k: self._moment_of_inputs(part, before[k][0][0], decay)
            for k, part in enumerate(parts)
            if k not in others
        }
        of_grads: dict[int, Array] = {}
        for factors in batch.factors_by_blocks():
            for k, block in enumerate(factors.blocks):
                if k in others:
                    others[k].add(block)
                    continue
                d, is_first = self._gradients(block), k not in of_grads
                old = before[k][0][1] if is_first else of_grads[k]
                of_grads[k] = _add_moment(d, old, kept, decay if is_first else None)
        found: list[tuple[Array, Array]] = []
        for k, olds in enumerate(before):
            if k not in others:
                found.append((of_inputs[k], of_grads[k]))
                continue
            for (a, g), (new_a, new_g) in zip(olds, others[k].factors(), strict=True):
                found.append((_averaged(a, new_a, decay), _averaged(g, new_g, decay)))
        return found

    def _factors_of(self, part: Part) -> LayerFactors:
        """Return what collects the factors of a part that is no plain linear map."""
        kind = TiedFactors if part.is_linear else ConvolutionFactors if part.is_convolution else ExactFactors
        return kind(part, self.batch, self.sums_positions)

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
        """The eigenvalues and eigenvectors of the two factors of each stack, input factor first."""
        return [(*self._eigh(a), *self._eigh(g)) for a, g in self.kronecker]

    @property
    def _largest(self) -> int:
        largest: int = max(max(stack.rows, stack.columns) for stack in self._stacks)
        return largest

    def _eigh(self, matrix: Array) -> tuple[Float64Array, Float64Array]:
        on_host = self.layout.on_host(matrix)
        if not np.isfinite(on_host).all():
            raise NotPositiveDefiniteError("a factor of K-FAC is not finite")
        if on_host.ndim == 2:
            return eigh(on_host, self.device)
        values, vectors = np.linalg.eigh(on_host)
        return values, vectors

    @cached_property
    def values(self) -> list[Float64Array]:
        """Products of the factors' eigenvalues."""
        return [a[..., :, None] * g[..., None, :] for a, _, g, _ in self.bases]

    def roundings(self) -> list[float]:
        return [rounding_of(max(stack.rows, stack.columns), np.float64) for stack in self._stacks]

    def nonzero(self, values: list[Float64Array]) -> list[npt.NDArray[np.bool_]]:
        # The factors have the network's dtype: an eigenvalue within rounding error of 0 makes its products 0.
        def in_factor(part: Float64Array) -> npt.NDArray[np.bool_]:
            cutoff = rounding_of(part.shape[-1], self.layout.dtype) * part.max(axis=-1, keepdims=True)
            is_kept: npt.NDArray[np.bool_] = part > cutoff
            return is_kept

        in_factors = [in_factor(a)[..., :, None] & in_factor(g)[..., None, :] for a, _, g, _ in self.bases]
        return [kept & both for kept, both in zip(super().nonzero(values), in_factors, strict=True)]

    def eigenbasis(
        self, own: Converter
    ) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        bases = [(own(u), own(v)) for _, u, _, v in self.bases]

        def to_basis(flat: Array) -> list[Array]:
            stacks = zip(bases, self.layout.stacks(flat), strict=True)
            return [_product(_product(_turned(u), at), v) for (u, v), at in stacks]

        def from_basis(coordinates: list[Array]) -> Array:
            flat = self.layout.empty_like(coordinates[0])
            for (u, v), at, stack in zip(bases, coordinates, self.layout.stacks(flat), strict=True):
                _product(_product(u, at), _turned(v), out=stack)
            return flat

        return to_basis, from_basis

    def multiply(self, flat: Array) -> Array:
        return self._kronecker_product(self.kronecker, flat)

    def _kronecker_product(self, factors: list[tuple[Array, Array]], flat: Array) -> Array:
        """Return the product of each stack's ``A x G`` with its place in a vector."""
        own = self.place_of(flat)
        flat = own(flat)
        product = self.layout.empty_like(flat)
        stacks = zip(factors, self.layout.stacks(flat), self.layout.stacks(product), strict=True)
        for (a, g), at, of_stack in stacks:
            _product(_product(own(a), at), own(g), out=of_stack)
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
                on_host, beside = self.layout.on_host(a), self.layout.on_host(g)
                # If all gradients or all inputs of a layer are 0, the ratio is undefined.
                of_a, of_g = _mean_diagonal(on_host), _mean_diagonal(beside)
                is_defined = by_traces & (of_a > 0) & (of_g > 0)
                pi = np.sqrt(np.where(is_defined, of_a, 1.0)) / np.sqrt(np.where(is_defined, of_g, 1.0))
                inverses.append(
                    (self._damped_inverse(on_host, pi * root), self._damped_inverse(beside, root / pi))
                )

        return lambda flat: self._kronecker_product(inverses, flat)

    def _damped_inverse(self, matrix: Float64Array, damping: Float64Array) -> Array:
        """Return the inverses of matrices with a damping for each, on the device."""
        damped = matrix.copy()
        np.einsum("...ii->...i", damped)[...] += damping[..., None]
        try:
            if not np.isfinite(damped).all():
                raise np.linalg.LinAlgError
            if damped.ndim == 2:
                factor = Cholesky.of(damped, self.device)
                if factor is None:
                    raise np.linalg.LinAlgError
                return self.layout.on_device(factor.inverse_of_matrix())
            lower = np.linalg.inv(np.linalg.cholesky(damped))
        except np.linalg.LinAlgError:
            raise NotPositiveDefiniteError("a damped factor of K-FAC is not positive definite") from None
        return self.layout.on_device(_turned(lower) @ lower)

    def blocks(self) -> list[Float64Array]:
        on_host = self.layout.on_host
        return self._blocks_of([(on_host(a), on_host(g), None) for a, g in self.kronecker])

    def _blocks_of(
        self, factors: list[tuple[Float64Array, Float64Array, Float64Array | None]]
    ) -> list[Float64Array]:
        """Return the matrix of each part: Kronecker products, or with eigenvalues those of eigenvectors."""
        found = []
        for part, own in zip(self.layout.blocks, self._by_part(factors), strict=True):
            whole, places = np.zeros((part.size, part.size)), np.arange(part.size)
            for stack, (a, g, values) in zip(part.stacks, own, strict=True):
                for group in range(stack.groups):
                    at = stack.of(places)[group if stack.groups > 1 else ...].ravel()
                    here = ... if stack.groups == 1 else group
                    product = np.kron(a[here], g[here])
                    if values is not None:
                        product = (product * values[here].ravel()) @ product.T
                    whole[np.ix_(at, at)] = product
            found.append(whole)
        return found

    def diagonal(self) -> Float64Array:
        diagonals = [tuple(_diagonal(self.layout.on_host(f)) for f in factors) for factors in self.kronecker]
        return self._gathered([a[..., :, None] * g[..., None, :] for a, g in diagonals])

    def _gathered(self, arrays: list[Float64Array]) -> Float64Array:
        """Return a vector on the host whose stacks hold arrays."""
        flat = np.empty(self.layout.size)
        for stack, array in zip(self.layout.stacks(flat), arrays, strict=True):
            stack[...] = array
        return flat


def _turned(matrices: Array) -> Array:
    """Return the transposes of one or many matrices."""
    return matrices.swapaxes(-1, -2)


def _product(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return the products of one or many matrices, written into an array that may be a view."""
    if a.ndim == 2:
        return K.matmul(a, b, out=out)
    product: Array = array_namespace(a).matmul(a, b)
    if out is not None:
        out[...] = product
    return product


def _diagonal(matrices: Float64Array) -> Float64Array:
    return np.diagonal(matrices, axis1=-2, axis2=-1)


def _mean_diagonal(matrices: Float64Array) -> Float64Array:
    return np.asarray(_diagonal(matrices).mean(axis=-1))


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
        for block, bases in zip(factors.blocks, self._by_part(self.bases), strict=True):
            for stack, (_, u, _, v) in zip(block.part.stacks, bases, strict=True):
                along = block.moments_along(self.layout.on_device(u), self.layout.on_device(v), stack)
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
            carried = (_turned(new_u) @ u) ** 2 @ old @ _turned((_turned(new_v) @ v) ** 2)
            new *= 1.0 - decay
            new += decay * carried

    def multiply(self, flat: Array) -> Array:
        own = self.place_of(flat)
        to_basis, from_basis = self.eigenbasis(own)
        products = zip(to_basis(own(flat)), self.values, strict=True)
        return from_basis([at * own(values) for at, values in products])

    def blocks(self) -> list[Float64Array]:
        stacks = zip(self.values, self.bases, strict=True)
        return self._blocks_of([(u, v, values) for values, (_, u, _, v) in stacks])

    def diagonal(self) -> Float64Array:
        stacks = zip(self.values, self.bases, strict=True)
        return self._gathered([u**2 @ values @ _turned(v**2) for values, (_, u, _, v) in stacks])

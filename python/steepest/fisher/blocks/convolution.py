"""Blocks of convolutions: a sample's gradient is a sum of outer products over the positions of the window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, array_namespace, to_host
from steepest.nn.ops import Reverse
from steepest.nn.ops.convolution import ConvolutionOperation, TransposedConvolutionOperation

from .base import Block, Part, Stack, moments_of_rows
from .patches import patches

# Most items of the gradients of single samples, or of products of their windows, that are in memory at a time: 32 MiB
# in float64. One sample is worked off in one piece.
_ITEMS = 1 << 22


class ConvolutionPass(NamedTuple):
    """A use of a convolution, or of a transposed one: inputs (n, ..., channels), gradients (n * r, ..., channels)."""

    operation: ConvolutionOperation
    x: Array
    d: Array
    w: Array

    @property
    def is_transposed(self) -> bool:
        """Whether the windows are those of the output."""
        return isinstance(self.operation, TransposedConvolutionOperation)

    @property
    def windowed(self) -> Array:
        """What the windows are cut from: the inputs, or the gradients of a transposed convolution's outputs."""
        return self.d if self.is_transposed else self.x

    @property
    def other(self) -> Array:
        """What has a pixel for each window."""
        return self.x if self.is_transposed else self.d

    @property
    def windows(self) -> int:
        """Windows of a sample."""
        return math.prod(self.other.shape[1:-1])

    @property
    def width(self) -> int:
        """Items of a window over all groups, without a bias."""
        return math.prod(self.w.shape[:-1]) * self.groups

    @property
    def groups(self) -> int:
        """Groups of channels."""
        groups: int = self.operation.geometry.arguments["groups"]
        return groups

    def patches(self, samples: slice, *, ones: bool = False) -> Array:
        """Return the windows of some rows of `windowed`, of shape (groups, rows, windows, items)."""
        images, w = self.windowed[samples], self.w
        return patches(images, self.operation.geometry, w.shape[:-2], self.other.shape[1:-1], ones=ones)

    def pixels(self, samples: slice = slice(None)) -> Array:
        """Return some rows of `other`, of shape (groups, rows, windows, channels of a group)."""
        images = self.other[samples]
        by_group = images.reshape(len(images), self.windows, self.groups, -1).transpose(2, 0, 1, 3)
        pixels: Array = array_namespace(images).ascontiguousarray(by_group)
        return pixels

    def sums(self, rows: slice = slice(None)) -> Array:
        """Return the gradients of the bias, of shape (rows, channels)."""
        d = self.d[rows]
        sums: Array = d.reshape(len(d), -1, d.shape[-1]).sum(axis=1)
        return sums


class ConvolutionRows(Block):
    """Convolutions: row (i, s) is the sum of outer products of the windows of ``x[i]`` and the pixels of ``d[i, s]``.

    For a transposed convolution, the windows are those of ``d[i, s]``, and the pixels those of ``x[i]``. Products with
    vectors are convolutions, which copy no windows. Otherwise gradients of single samples are formed and used in blocks
    of 2^22 items, that is 32 MiB in float64, or of one sample where that has more. Only the Gram matrix, and `rows`,
    take what belongs to all samples at once.

    Parameters
    ----------
    part : Part
        The part.
    n : int
        Number of samples.
    passes : list of ConvolutionPass
        The uses.
    """

    def __init__(self, part: Part, n: int, passes: list[ConvolutionPass]) -> None:
        self.part, self.n, self.passes = part, n, passes
        self._repeats = len(passes[0].d) // max(n, 1)
        self._size_of_weights = math.prod(part.shapes[0])

    # -------------------------------------------------------------------------------------- products with vectors

    def times(self, part: Array) -> Array:
        weight, bias = self._tensors(part)
        total: Array | None = None
        for operation, x, d, _ in self.passes:
            moved = operation.applied(x, weight, bias)
            by_sample = d.reshape(self.n, self._repeats, -1)
            sums = array_namespace(d).matmul(by_sample, moved.reshape(self.n, -1, 1)).reshape(-1)
            total = sums if total is None else total + sums
        assert total is not None
        return total

    def combine(self, u: Array, part: Array) -> None:
        weight, bias = self._tensors(part)
        into = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        for i, (operation, x, d, w) in enumerate(self.passes):
            by_sample, factors = d.reshape(self.n, self._repeats, -1), u.reshape(self.n, 1, -1)
            weighted = array_namespace(d).matmul(factors, by_sample).reshape(self.n, *d.shape[1:])
            adds = frozenset(into) if i else frozenset()
            # The output, the third argument, is read by no gradient of an affine map.
            operation.vjp(weighted, [x], weighted, {"weight": w}, Reverse((None,), into, accumulate=adds))

    def _tensors(self, part: Array) -> tuple[Array, Array | None]:
        """Return the weights and the bias as views of the part of a vector."""
        flat = part.reshape(-1)
        weight = flat[: self._size_of_weights].reshape(self.part.shapes[0])
        return weight, flat[self._size_of_weights :] if self.part.has_bias else None

    # ------------------------------------------------------------------------------------- gradients of single samples

    def gradients(self) -> Iterator[tuple[slice, Array]]:
        """Yield the rows block by block, with their places, as arrays of shape (rows, size)."""
        items = self._repeats * self.part.size + sum(
            use.windows * use.width * (self._repeats if use.is_transposed else 1) for use in self.passes
        )
        for samples in self._blocks(items):
            rows = slice(samples.start * self._repeats, samples.stop * self._repeats)
            yield rows, self._gradients_of(samples, rows)

    def _blocks(self, items: int) -> Iterator[slice]:
        """Yield slices of samples of which each has so many items."""
        size = max(1, _ITEMS // items)
        for start in range(0, self.n, size):
            yield slice(start, min(start + size, self.n))

    def _gradients_of(self, samples: slice, rows: slice) -> Array:
        n, d = samples.stop - samples.start, self.passes[0].d
        found = aligned_empty((n * self._repeats, self.part.size), d.dtype, device_of(d))
        into = self.part.stacks[0].of(found)
        window = math.prod(self.part.shapes[0][:-1])
        for i, use in enumerate(self.passes):
            seen, pixels = (
                (use.patches(rows), use.pixels(samples))
                if use.is_transposed
                else (
                    use.patches(samples),
                    use.pixels(rows),
                )
            )
            # (groups, samples, rows of the sample or 1, windows, items)
            seen, pixels = (a.reshape(len(a), n, -1, *a.shape[2:]) for a in (seen, pixels))
            outer = array_namespace(d).matmul(seen.swapaxes(-1, -2), pixels)
            outer = outer.reshape(len(outer), -1, *outer.shape[3:])
            matrices = outer[0] if use.groups == 1 else outer.swapaxes(0, 1)
            places = into[..., :window, :]
            if i:
                places += matrices
            else:
                places[...] = matrices
            if self.part.has_bias:
                sums, bias = use.sums(rows), found[:, self._size_of_weights :]
                bias[...] = bias + sums if i else sums
        return found

    def squares(self) -> Array:
        total: Array = sum_of((rows * rows).sum(axis=0) for _, rows in self.gradients())
        return total.reshape(self.part.matrix)

    def moments_along(self, u: Array, v: Array, stack: Stack) -> Array:
        return sum_of(moments_of_rows(rows, u, v, stack) for _, rows in self.gradients())

    def rows(self) -> Array:
        return np.concatenate([to_host(rows) for _, rows in self.gradients()])

    def in_float64(self) -> Block:
        passes = [
            ConvolutionPass(use.operation, *(array.astype(np.float64, copy=False) for array in use[1:]))
            for use in self.passes
        ]
        return ConvolutionRows(self.part, self.n, passes)

    # --------------------------------------------------------------------------------------------- inner products

    def add_gram(self, gram: Array) -> None:
        if self._is_cheaper_by_windows(self.n):
            self._add_gram_by_windows(gram)
            return
        rows = aligned_empty((len(gram), self.part.size), np.float64, device_of(gram))
        for places, found in self.gradients():
            rows[places] = found
        gram += K.second_moment(rows.T, scale=rows.shape[1])

    def add_squared_norms(self, norms: Array) -> None:
        by_windows = self._is_cheaper_by_windows(1)
        for places, products in self._norms_by_windows() if by_windows else self._norms_by_gradients():
            norms[places] += products

    def _norms_by_gradients(self) -> Iterator[tuple[slice, Array]]:
        for places, rows in self.gradients():
            rows = rows.astype(np.float64, copy=False)
            yield places, (rows * rows).sum(axis=1)

    def _is_cheaper_by_windows(self, others: int) -> bool:
        """Return whether inner products of windows take fewer operations than those of gradients.

        A gradient of a sample has T p m products of its T windows of p items with m channels, and an inner product with
        that of another sample p m. Without the gradients, there are T^2 products of p items and T^2 of m.
        """
        windows = sum(use.windows for use in self.passes)
        use, r = self.passes[0], self._repeats
        width, channels = use.width, use.other.shape[-1]
        of_windows, of_pixels = (r * r, 1) if use.is_transposed else (1, r * r)
        by_windows = others * windows**2 * (of_windows * width + of_pixels * channels)
        by_gradients = r * windows * width * channels / use.groups + others * r * r * self.part.size
        return bool(by_windows < by_gradients)

    def _norms_by_windows(self) -> Iterator[tuple[slice, Array]]:
        windows, r = sum(use.windows for use in self.passes), self._repeats
        for samples in self._blocks(r * windows**2 * len(self.passes)):
            rows = slice(samples.start * r, samples.stop * r)
            (seen, pixels), n = self._all_positions(samples), samples.stop - samples.start
            xp = array_namespace(seen)
            # (groups, samples, rows of the sample or 1, windows, windows)
            first, second = (
                xp.matmul(a, a.swapaxes(-1, -2))
                for a in (part.reshape(len(part), n, -1, windows, part.shape[-1]) for part in (seen, pixels))
            )
            products = (first * second).sum(axis=(0, -1, -2)).reshape(-1)
            if (sums := self._bias_sums(rows)) is not None:
                products = products + (sums * sums).sum(axis=1)
            yield rows, products

    def _add_gram_by_windows(self, gram: Array) -> None:
        """Add the inner products of all gradients, a block of rows after the other."""
        windows, r, n = sum(use.windows for use in self.passes), self._repeats, self.n
        seen, pixels = self._all_positions(slice(0, n))
        xp = array_namespace(seen)
        found = aligned_empty(gram.shape, np.float64, device_of(gram))
        for samples in self._blocks(n * (r * windows) ** 2):
            count = samples.stop - samples.start
            into = found[samples.start * r : samples.stop * r].reshape(count, r, n, r)
            into[...] = 0
            for group in range(len(seen)):
                products = []
                for part in (seen[group], pixels[group]):
                    times = len(part) // n
                    own = part[samples.start * times : samples.stop * times].reshape(-1, part.shape[-1])
                    product = xp.matmul(own, part.reshape(-1, part.shape[-1]).T)
                    products.append(product.reshape(count, times, windows, n, times, windows))
                into += (products[0] * products[1]).sum(axis=(2, 5))
        # Products of different blocks may round differently.
        gram += 0.5 * (found + found.T)
        if (sums := self._bias_sums(slice(0, n * r))) is not None:
            gram += K.second_moment(sums.T, scale=sums.shape[1])

    def _all_positions(self, samples: slice) -> tuple[Array, Array]:
        """Return the windows and the pixels of all uses for some samples, in float64, positions along axis 2."""
        rows = slice(samples.start * self._repeats, samples.stop * self._repeats)
        seen, pixels = [], []
        for use in self.passes:
            of_windows, of_pixels = (rows, samples) if use.is_transposed else (samples, rows)
            seen.append(use.patches(of_windows).astype(np.float64, copy=False))
            pixels.append(use.pixels(of_pixels).astype(np.float64, copy=False))
        xp = array_namespace(seen[0])
        return xp.concatenate(seen, axis=2), xp.concatenate(pixels, axis=2)

    def _bias_sums(self, rows: slice) -> Array | None:
        """Return the gradients of the bias in float64, if there is one."""
        if not self.part.has_bias:
            return None
        return sum_of(use.sums(rows).astype(np.float64) for use in self.passes)


def sum_of(arrays: Iterable[Array]) -> Array:
    """Return the sum of one or several arrays of the same shape, in a new array or in the first."""
    left = iter(arrays)
    total = next(left)
    for array in left:
        total += array
    return total

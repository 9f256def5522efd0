"""K-FAC's factors of layers that are no plain linear maps: convolutions, and those whose exact blocks are taken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace
from steepest.fisher._batch import Batch
from steepest.fisher.blocks import Block, ConvolutionPass, ConvolutionRows, ExplicitRows, Part
from steepest.fisher.blocks.convolution import sum_of
from steepest.fisher.blocks.patches import samples_in_a_block


class LayerFactors(ABC):
    """The two factors of each stack of a part, for one batch.

    Parameters
    ----------
    part : Part
        The part.
    batch : Batch
        The batch.
    sums_positions : bool
        Whether a layer that a sample passes at several positions sums over them before the moments, instead of after.
    """

    def __init__(self, part: Part, batch: Batch, sums_positions: bool) -> None:
        self.part, self.batch, self.sums_positions = part, batch, sums_positions

    @abstractmethod
    def add(self, block: Block) -> None:
        """Add the moments of some samples; the blocks of a batch follow one another."""

    @abstractmethod
    def factors(self) -> list[tuple[Array, Array]]:
        """Return the factors of rows and columns of each stack, after all samples were added."""


class ExactFactors(LayerFactors):
    """Stacks of columns, whose factors are the exact matrix and 1."""

    def __init__(self, part: Part, batch: Batch, sums_positions: bool) -> None:
        super().__init__(part, batch, sums_positions)
        self._moments: list[Array] = []

    def add(self, block: Block) -> None:
        assert isinstance(block, ExplicitRows)
        columns = [stack.of(block.matrix)[..., 0] for stack in self.part.stacks]
        fresh = [moments(rows[None] if rows.ndim == 2 else rows.swapaxes(0, 1), 1.0) for rows in columns]
        if not self._moments:
            self._moments = fresh
            return
        for total, moment in zip(self._moments, fresh, strict=True):
            total += moment

    def factors(self) -> list[tuple[Array, Array]]:
        return [(moment, _ones_beside(moment)) for moment in self._moments]


class ConvolutionFactors(LayerFactors):
    """The factors of a convolution: a linear map that each sample passes at many positions of its window.

    With the windows a_t and the gradients d_t of the outputs, the factors are the mean of ``a_t a_t^T`` over samples
    and positions, and the sum of ``d_t d_t^T`` over the positions. Up to the number of positions, which cancels in
    their product, they are the Omega and Gamma of R. Grosse and J. Martens, "A Kronecker-factored approximate Fisher
    matrix for convolution layers", 2016, and the setting "expand" of R. Eschenhagen et al., 2023. In its setting
    "reduce", they are the moments of the mean of a_t and of the sum of d_t. Each group of channels has its own factors.

    A transposed convolution is a linear map of each pixel of its input, so that a_t is that pixel, and d_t the window
    of the gradients of its outputs. The bias is added behind that map, and has its exact block.
    """

    def __init__(self, part: Part, batch: Batch, sums_positions: bool) -> None:
        super().__init__(part, batch, sums_positions)
        self._of_windows: Array | None = None
        self._of_pixels: Array | None = None
        self._of_bias: Array | None = None
        self._done = 0

    def add(self, block: Block) -> None:
        assert isinstance(block, ConvolutionRows)
        passes, is_transposed = block.passes, self.part.form == "transposed convolution"
        shares = self.batch.device_shares
        if shares is not None:
            shares = shares[self._done : self._done + block.n]
        self._done += block.n
        positions = sum(use.windows for use in passes)
        scale = (1.0 if self.batch.is_weighted else 1.0 / len(self.batch.shares)) / (
            positions**2 if self.sums_positions else positions
        )
        windows, pixels = self._windows(passes, positions), [(slice(None), [use.pixels() for use in passes])]
        if is_transposed:
            self._of_pixels = self._added(self._of_pixels, pixels, scale, shares)
            self._of_windows = self._added(self._of_windows, windows, 1.0, None)
        else:
            self._of_windows = self._added(self._of_windows, windows, scale, shares)
            self._of_pixels = self._added(self._of_pixels, pixels, 1.0, None)
        if is_transposed and self.part.has_bias:
            sums = sum_of(use.sums() for use in passes)
            self._of_bias = _sum(self._of_bias, moments(sums[None], 1.0))

    def _windows(self, passes: list[ConvolutionPass], positions: int) -> Iterator[tuple[slice, list[Array]]]:
        """Yield the windows of all passes, for some rows of the images at a time."""
        ones = self.part.has_bias and self.part.form == "convolution"
        rows, size = len(passes[0].windowed), samples_in_a_block(positions, passes[0].width + ones)
        for start in range(0, rows, size):
            block = slice(start, min(start + size, rows))
            yield block, [use.patches(block, ones=ones) for use in passes]

    def _added(
        self,
        total: Array | None,
        blocks: Iterable[tuple[slice, list[Array]]],
        scale: float,
        shares: Array | None,
    ) -> Array:
        """Return a sum of moments with those of windows or pixels, of shape (groups, rows, positions, items)."""
        for rows, found in blocks:
            if self.sums_positions:
                found = [sum_of(array.sum(axis=2, keepdims=True) for array in found)]
            for array in found:
                if shares is not None:
                    array = array * array_namespace(array).sqrt(shares[rows])[:, None, None]
                total = _sum(total, moments(array.reshape(len(array), -1, array.shape[-1]), scale))
        assert total is not None
        return total

    def factors(self) -> list[tuple[Array, Array]]:
        assert self._of_windows is not None
        assert self._of_pixels is not None
        pair = self._of_windows, self._of_pixels
        return [pair] if self._of_bias is None else [pair, (self._of_bias, _ones_beside(self._of_bias))]


def moments(rows: Array, scale: float) -> Array:
    """Return ``scale`` times the sums of the outer products of rows, of shape (groups, n, m): (groups, m, m).

    A single group has no axis of its own in the result.
    """
    if len(rows) == 1:
        return K.second_moment(rows[0], scale=scale * rows.shape[1])
    product: Array = array_namespace(rows).matmul(rows.swapaxes(1, 2), rows)
    product *= scale
    return product


def _sum(total: Array | None, fresh: Array) -> Array:
    """Return the sum of two arrays, in the place of the first."""
    if total is None:
        return fresh
    total += fresh
    return total


def _ones_beside(moment: Array) -> Array:
    """Return the second factor of exact blocks: a matrix of 1 for each."""
    ones: Array = array_namespace(moment).ones((*moment.shape[:-2], 1, 1), moment.dtype)
    return ones

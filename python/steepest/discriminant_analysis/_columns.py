"""Blocks of columns of the samples, and Gram matrices summed over them, for fewer samples than features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import aligned_zeros, array_namespace, to_device, to_host
from steepest.estimators.row_blocks import dense

from ._samples import LabelledSamples

# Number of float64 items in a block of columns, with which the kernel for products reaches its full speed.
_BLOCK_ITEMS = {"cpu": 1 << 21, "cuda": 1 << 25}
# Least number of columns in a block.
_LEAST_COLUMNS = 256


@dataclass
class ColumnBlock:
    """Some features of all samples.

    Attributes
    ----------
    columns : slice
        The features in the block.
    means : ndarray of shape (k, columns)
        Class means, on the host; 0 for a class without weight.
    deviations : ndarray of shape (n, columns)
        Deviations of the samples from the means of their classes, in float64 on the device.
    """

    columns: slice
    means: Float64Array
    deviations: Float64Array


def column_blocks(samples: LabelledSamples, means: Float64Array | None = None) -> Iterator[ColumnBlock]:
    """Yield the features of samples, block by block; compute the class means unless `means` holds them."""
    X, device = samples.X, samples.device
    X = X.tocsc() if hasattr(X, "tocsc") else X
    ids = to_device(samples.ids, device)
    averaging = to_device(averaging_matrix(samples), device) if means is None else None
    present = (samples.class_weights > 0).astype(np.float64)
    step = max(_LEAST_COLUMNS, _BLOCK_ITEMS[device] // samples.n_samples)
    for start in range(0, samples.n_features, step):
        columns = slice(start, min(start + step, samples.n_features))
        # In one order, whatever that of the samples, so that sparse and dense ones give the same digits.
        block = dense(X[:, columns], device).astype(np.float64, order="C")
        if averaging is not None:
            # Subtract a sample first: the rounding error of a large mean may exceed the variation of its feature.
            origin = block[:1].copy()
            block -= origin
            from_origin = K.matmul(averaging, block)
            block -= from_origin[ids]
            own = to_host(from_origin) + np.outer(present, to_host(origin))
        elif means is not None:
            own = np.ascontiguousarray(means[:, columns])
            block -= to_device(own, device)[ids]
        yield ColumnBlock(columns, own, block)


def averaging_matrix(samples: LabelledSamples) -> Float64Array:
    """Return the matrix of shape (k, n) whose product with the samples gives the class means."""
    matrix = np.zeros((samples.n_classes, samples.n_samples))
    totals = samples.class_weights[samples.ids]
    matrix[samples.ids, np.arange(samples.n_samples)] = samples.weights / np.where(totals > 0, totals, 1.0)
    return matrix


class Gram:
    """The Gram matrix of n rows, summed over blocks of columns.

    Parameters
    ----------
    n : int
        Number of rows.
    dtype : dtype
        Dtype of the products; their sums are float64.
    device : {"cpu", "cuda"}
        Device of the computation.
    """

    def __init__(self, n: int, dtype: npt.DTypeLike, device: str) -> None:
        self._dtype = dtype
        self._origin = aligned_zeros((1, n), dtype, device)
        shapes = {"weights": (1,), "sums": (1, n), "scatter": (n, n)}
        self._sums = {name: aligned_zeros(shape, np.float64, device) for name, shape in shapes.items()}

    def add(self, block: Array) -> None:
        """Add the products of a block of shape (n, columns)."""
        # The kernel computes one triangle of the scatter about the origin, with the columns as samples of one class.
        rows = array_namespace(block).ascontiguousarray(block.T.astype(self._dtype))
        K.class_scatter(rows, None, self._origin, accumulate=True, **self._sums)

    def result(self) -> Float64Array:
        """Return the Gram matrix of shape (n, n), on the host."""
        gram: Float64Array = to_host(self._sums["scatter"])
        return gram

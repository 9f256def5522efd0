"""Samples by blocks of columns, for matrices that have fewer rows than columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._estimators.row_blocks import dense
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import aligned_zeros, array_namespace, to_device, to_host

from ._samples import LabelledSamples

# Items of a block in float64: enough columns for the kernel that multiplies them to be at its full speed.
_BLOCK_ITEMS = {"cpu": 1 << 21, "cuda": 1 << 25}
_LEAST_COLUMNS = 256


@dataclass
class ColumnBlock:
    """Some features of all samples.

    Attributes
    ----------
    columns : slice
        Which.
    means : ndarray of shape (k, columns)
        Of the classes, on the host; zero for one without weight.
    deviations : ndarray of shape (n, columns)
        Of the samples from the means of their classes, in float64, where they are computed.
    """

    columns: slice
    means: Float64Array
    deviations: Float64Array


def column_blocks(samples: LabelledSamples, means: Float64Array | None = None) -> Iterator[ColumnBlock]:
    """Yield the features of samples, block by block; the means of the classes are computed, unless they are given."""
    X, device = samples.X, samples.device
    X = X.tocsc() if hasattr(X, "tocsc") else X
    ids = to_device(samples.ids, device)
    averaging = to_device(averaging_matrix(samples), device) if means is None else None
    present = (samples.class_weights > 0).astype(np.float64)
    step = max(_LEAST_COLUMNS, _BLOCK_ITEMS[device] // samples.n_samples)
    for start in range(0, samples.n_features, step):
        columns = slice(start, min(start + step, samples.n_features))
        block = dense(X[:, columns], device).astype(np.float64)
        if averaging is not None:
            # Away from a sample first: large means would be rounded by more than features may vary.
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
    """Return the matrix of shape (k, n) whose product with the samples is the means of the classes."""
    matrix = np.zeros((samples.n_classes, samples.n_samples))
    totals = samples.class_weights[samples.ids]
    matrix[samples.ids, np.arange(samples.n_samples)] = samples.weights / np.where(totals > 0, totals, 1.0)
    return matrix


class Gram:
    """The products of n rows with one another, summed over blocks of columns.

    Parameters
    ----------
    n : int
        Number of rows.
    dtype : dtype
        Of the products; their sums are float64.
    device : {"cpu", "cuda"}
        Where they are computed.
    """

    def __init__(self, n: int, dtype: npt.DTypeLike, device: str) -> None:
        self._dtype = dtype
        self._origin = aligned_zeros((1, n), dtype, device)
        shapes = {"weights": (1,), "sums": (1, n), "scatter": (n, n)}
        self._sums = {name: aligned_zeros(shape, np.float64, device) for name, shape in shapes.items()}

    def add(self, block: Array) -> None:
        """Add those of a block of shape (n, columns)."""
        # The columns are the kernel's samples, one class about the origin: it computes one triangle.
        rows = array_namespace(block).ascontiguousarray(block.T.astype(self._dtype))
        K.class_scatter(rows, None, self._origin, accumulate=True, **self._sums)

    def result(self) -> Float64Array:
        """Return the sums, of shape (n, n), on the host."""
        gram: Float64Array = to_host(self._sums["scatter"])
        return gram

"""`LabelledSamples`: the validated samples, classes and weights of a fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import to_device, to_host
from steepest.estimators.class_statistics import ClassStatistics
from steepest.estimators.row_blocks import block_rows, dense

# Rows of a block for QR, as a multiple of the number of features; blocks of 4 take a quarter more work than one block.
_QR_ROWS = 4


@dataclass
class LabelledSamples:
    """Samples with their classes and weights, and the device of the computation.

    Attributes
    ----------
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        Samples.
    ids : ndarray of shape (n,)
        Class ids in 0..k-1, on the host.
    n_classes : int
        Number of classes, k.
    given_weights : ndarray of shape (n,) or None
        Weights in X's dtype, on the host; None if all are 1.
    device : {"cpu", "cuda"}
        Device of the computation.
    """

    X: Any
    ids: Int64Array
    n_classes: int
    given_weights: Array | None
    device: str

    @property
    def n_samples(self) -> int:
        """The number of samples, n."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """The number of features, d."""
        return int(self.X.shape[1])

    @property
    def weights(self) -> Float64Array:
        """The weights of the samples, shape (n,)."""
        return (
            np.ones(self.n_samples) if self.given_weights is None else self.given_weights.astype(np.float64)
        )

    @property
    def class_weights(self) -> Float64Array:
        """The sums of the weights of each class, shape (k,)."""
        return np.bincount(self.ids, self.given_weights, self.n_classes).astype(np.float64)

    def rows(self, index: Array) -> LabelledSamples:
        """Return some of the samples."""
        weights = None if self.given_weights is None else self.given_weights[index]
        part = self.X[to_device(index, device_of(self.X))]
        return LabelledSamples(part, self.ids[index], self.n_classes, weights, self.device)

    def statistics(self, dtype: npt.DTypeLike = np.float64) -> ClassStatistics:
        """Return the class statistics of the samples, with products in a dtype."""
        return ClassStatistics.of(
            self.X, self.ids, self.n_classes, self.given_weights, self.device, dtype=dtype
        )

    def weighted_deviations(self, means: Float64Array, divisor: float) -> Iterator[Float64Array]:
        """Yield, block by block, the rows of D, where ``D^T D`` is the scatter about the class means over a divisor.

        Parameters
        ----------
        means : ndarray of shape (k, d)
            Class means.
        divisor : float
            Divisor of the scatter.

        Yields
        ------
        ndarray of shape (b, d)
            Rows in float64 on the host; b is at least 4 d, or all remaining rows, for efficient QR decompositions.
        """
        roots = np.sqrt(self.weights / divisor)[:, None]
        step = max(_QR_ROWS * self.n_features, block_rows(self.n_features, "cpu"))
        for start in range(0, self.n_samples, step):
            rows = slice(start, start + step)
            block = dense(to_host(self.X[rows]), "cpu").astype(np.float64)
            block -= means[self.ids[rows]]
            block *= roots[rows]
            yield block

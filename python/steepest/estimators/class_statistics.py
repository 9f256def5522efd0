"""Mergeable class statistics (weights, means, scatter) for discriminant analysis and principal component analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros, to_device, to_host

from .row_blocks import block_rows, dense

_CENTRE_ROWS = 4096


@dataclass
class ClassStatistics:
    """Class weights, class means and the pooled within-class scatter matrix, in float64 on the host.

    Attributes
    ----------
    weights : ndarray of shape (k,)
        Sum of the sample weights of each class.
    means : ndarray of shape (k, d)
        Mean of each class; zero for a class without samples.
    scatter : ndarray of shape (d, d)
        ``sum_i s_i (x_i - mean of its class)(x_i - mean of its class)^T`` with the sample weights s.
    """

    weights: Float64Array
    means: Float64Array
    scatter: Float64Array

    @classmethod
    def empty(cls, n_classes: int, n_features: int) -> ClassStatistics:
        """Return the statistics of no samples."""
        return cls(np.zeros(n_classes), np.zeros((n_classes, n_features)), np.zeros((n_features, n_features)))

    @classmethod
    def of(
        cls,
        X: Any,
        ids: Int64Array | None,
        n_classes: int,
        sample_weight: Array | None,
        device: str,
        dtype: npt.DTypeLike | None = None,
    ) -> ClassStatistics:
        """Compute the statistics of samples in one pass.

        Parameters
        ----------
        X : ndarray, cupy.ndarray or CSR of shape (n, d)
            Samples; a sparse matrix is made dense block by block.
        ids : ndarray of shape (n,) or None
            Classes in 0..k-1, on the host; None for one class.
        n_classes : int
            Number of classes, k.
        sample_weight : ndarray of shape (n,) or None
            Sample weights, not negative, of X's dtype, on the host.
        device : {"cpu", "cuda"}
            Device to compute on.
        dtype : dtype, optional
            Dtype of the products; by default that of X.
        """
        dtype = np.dtype(X.dtype if dtype is None else dtype)
        centre = to_device(_provisional_means(X, ids, n_classes).astype(dtype), device)
        d = X.shape[1]
        shapes = {"weights": (n_classes,), "sums": (n_classes, d), "scatter": (d, d)}
        totals = {name: aligned_zeros(shape, np.float64, device) for name, shape in shapes.items()}
        # A matrix that must be made dense, converted or copied to the device is processed in blocks.
        as_it_is = not scipy.sparse.issparse(X) and device_of(X) == device and X.dtype == dtype
        step = max(X.shape[0], 1) if as_it_is else block_rows(d, device)
        for start in range(0, X.shape[0], step):
            rows = slice(start, start + step)
            K.class_scatter(
                dense(X[rows], device).astype(dtype, copy=False),
                None if ids is None else to_device(ids[rows], device),
                centre,
                None if sample_weight is None else to_device(sample_weight[rows].astype(dtype), device),
                accumulate=True,
                **totals,
            )
        weights, sums, scatter = (to_host(totals[name]) for name in shapes)
        divisor = np.where(weights > 0, weights, 1.0)[:, None]
        with np.errstate(over="ignore", invalid="ignore"):  # callers check is_finite()
            scaled = sums / np.sqrt(divisor)
            means = np.where(weights[:, None] > 0, to_host(centre).astype(np.float64) + sums / divisor, 0.0)
            return cls(weights, means, scatter - scaled.T @ scaled)

    @property
    def total(self) -> float:
        """The sum of all sample weights."""
        return float(self.weights.sum())

    @property
    def covariance(self) -> Float64Array:
        """The pooled within-class covariance, ``scatter / total``: the maximum-likelihood estimate."""
        covariance: Float64Array = self.scatter / self.total
        return covariance

    def is_finite(self) -> bool:
        """Whether means and scatter are finite, so that no sum has overflowed."""
        return bool(np.isfinite(self.means).all() and np.isfinite(self.scatter).all())

    def merge(self, other: ClassStatistics) -> ClassStatistics:
        """Return the statistics of the union of two sets of samples with the same classes.

        The scatter of a class grows by ``w_a w_b / (w_a + w_b)`` times the outer product of the difference of its means
        (T. Chan, G. Golub and R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
        1979).
        """
        weights = self.weights + other.weights
        share = other.weights / np.where(weights > 0, weights, 1.0)
        between = other.means - self.means
        # A class without samples in one set takes the mean of the other set, and adds no scatter.
        moved = np.sqrt(self.weights * share)[:, None] * between
        means = np.where(self.weights[:, None] > 0, self.means + share[:, None] * between, other.means)
        return ClassStatistics(weights, means, self.scatter + other.scatter + moved.T @ moved)

    def of_classes(self, positions: Int64Array, n_classes: int) -> ClassStatistics:
        """Return the same statistics with class i at ``positions[i]`` of `n_classes`."""
        wider = ClassStatistics.empty(n_classes, self.means.shape[1])
        wider.weights[positions], wider.means[positions] = self.weights, self.means
        wider.scatter = self.scatter
        return wider


@np.errstate(over="ignore", invalid="ignore")  # callers check is_finite()
def _provisional_means(X: Any, ids: Int64Array | None, n_classes: int) -> Float64Array:
    """Return approximate class means, computed from at most `_CENTRE_ROWS` samples.

    Points near the means keep cancellation small. A class without samples in this subset gets the overall mean.
    """
    some = slice(None, None, max(1, -(-X.shape[0] // _CENTRE_ROWS)))
    rows = dense(to_host(X[some]), "cpu").astype(np.float64)
    overall = rows.mean(axis=0) if len(rows) else np.zeros(X.shape[1])
    if ids is None:
        return overall[None]
    members = scipy.sparse.csc_array(
        (np.ones(len(rows)), ids[some], np.arange(len(rows) + 1)), (n_classes, len(rows))
    )
    sums = members @ rows
    counts = np.bincount(ids[some], minlength=n_classes)[:, None]
    means: Float64Array = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
    return means

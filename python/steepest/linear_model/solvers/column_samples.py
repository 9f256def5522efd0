"""Means and standard deviations of the columns of a matrix, estimated from a sample of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import to_device, to_host

# Most rows of a sample, and most numbers in it; a sample has at least 64 rows, however many columns X has.
_ROWS, _ITEMS = 1024, 1 << 22


@dataclass(frozen=True)
class ColumnSample:
    """Weighted means and standard deviations of the columns, in the units of each column.

    Attributes
    ----------
    centre : ndarray of shape (d,)
        The mean; for a column that is constant in the sample, exactly that constant.
    spread : ndarray of shape (d,)
        The root mean square of the deviations from the centre.
    """

    centre: Float64Array
    spread: Float64Array

    @classmethod
    def of(cls, X: Any, sample_weight: Array | None = None) -> ColumnSample:
        """Return the means and deviations of at most 1024 evenly spaced rows.

        Parameters
        ----------
        X : ndarray, cupy.ndarray or CSR of shape (n, d)
            Samples. A sparse X stays sparse.
        sample_weight : ndarray of shape (n,) or None
            Weights of the samples, at least 0.
        """
        n, d = X.shape
        step = -(-n // min(_ROWS, max(64, _ITEMS // max(d, 1))))
        rows = X[::step]
        weights = np.ones(rows.shape[0])
        if sample_weight is not None and (given := to_host(sample_weight[::step])).any():
            weights = given.astype(np.float64)
        weights /= weights.sum()
        # Infinite or NaN entries are detected later, in the results.
        with np.errstate(invalid="ignore", over="ignore"):
            return (_of_sparse if scipy.sparse.issparse(rows) else _of_dense)(rows, weights)

    def sizes(self, less: Float64Array | None = None) -> Float64Array:
        """Return ``|c| + spread`` of the columns, of the centres c that are left when some are subtracted."""
        size: Float64Array = np.abs(self.centre if less is None else self.centre - less) + self.spread
        return size


def less_centre(X: Any, centre: Float64Array, device: str) -> Any:
    """Return a copy ``X - centre`` in X's dtype and on its device.

    Parameters
    ----------
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        Samples. A sparse X stays sparse, except for the columns whose centre is not zero.
    centre : ndarray of shape (d,)
        Number to subtract from each column.
    device : {"cpu", "cuda"}
        Device of X.
    """
    if not scipy.sparse.issparse(X):
        return X - to_device(centre.astype(X.dtype), device)
    (n, _), moved = X.shape, np.flatnonzero(centre)
    columns = X[:, moved].toarray() - centre[moved].astype(X.dtype)
    row_ends = np.arange(n + 1) * len(moved)
    full = scipy.sparse.csr_array((columns.ravel(), np.tile(moved, n), row_ends), X.shape)
    kept = scipy.sparse.csr_array(X.multiply((centre == 0).astype(X.dtype)))
    return kept + full


def _of_dense(rows: Array, weights: Float64Array) -> ColumnSample:
    values: Float64Array = to_host(rows).astype(np.float64)
    centre = weights @ values
    # The mean of equal numbers may differ from them by a rounding error.
    centre = np.where((values == values[0]).all(axis=0), values[0], centre)
    deviations = values - centre
    unit = np.abs(deviations).max(axis=0)
    unit[unit == 0.0] = 1.0
    return ColumnSample(centre, unit * np.sqrt(weights @ (deviations / unit) ** 2))


def _of_sparse(rows: Any, weights: Float64Array) -> ColumnSample:
    n, d = rows.shape
    values, columns = rows.data.astype(np.float64), rows.indices
    shares = np.repeat(weights, np.diff(rows.indptr))

    def total(terms: Float64Array) -> Float64Array:
        return np.bincount(columns, terms, minlength=d).astype(np.float64, copy=False)

    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    np.minimum.at(low, columns, values)
    np.maximum.at(high, columns, values)
    full = np.bincount(columns, minlength=d) == n
    centre = np.where(full & (low == high), low, total(shares * values))
    absent = np.where(full, 0.0, np.maximum(1.0 - total(shares), 0.0))
    deviations = values - centre[columns]
    unit = np.abs(centre)
    np.maximum.at(unit, columns, np.abs(deviations))
    unit[unit == 0.0] = 1.0
    squares = total(shares * (deviations / unit[columns]) ** 2) + absent * (centre / unit) ** 2
    return ColumnSample(centre, unit * np.sqrt(squares))

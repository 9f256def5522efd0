"""Principal axes of sparse samples, from products with the centred matrix, which is never formed."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, svds

from steepest._runtime.arrays import Float64Array
from steepest._symmetric import one_thread_if_small

from ._factors import Factors, of_products, with_signs

# From this value of min(n, d) on, Lanczos' method finds up to this fraction of the axes faster than eigh finds all.
_LANCZOS_SIDE, _LANCZOS_SHARE = 500, 0.1


class CentredMatrix:
    """Linear operator of the centred matrix ``X - 1 m^T``, with sparse samples X and their means m.

    Products with the means are subtracted from products with X, which loses digits if means are large. Only columns
    with few zeros have large means. These columns are centred as dense arrays, with at most twice as many items.

    Parameters
    ----------
    X : sparse matrix of shape (n, d)
        Samples.
    """

    def __init__(self, X: Any) -> None:
        X = X.tocsc().astype(np.float64)
        self.shape: tuple[int, int] = X.shape
        n, d = X.shape
        is_full = np.diff(X.indptr) > n / 2
        # Internally, columns that are more than half full come first.
        self._order = np.argsort(~is_full, kind="stable")
        self._full: Float64Array = X[:, is_full].toarray()
        self._rest = X[:, ~is_full].tocsr()
        self._means = np.asarray(self._rest.sum(axis=0)).ravel() / n
        self.mean = np.zeros(d)
        self.mean[~is_full] = self._means
        for _ in range(2):  # the second mean corrects the rounding error of the first
            rest = self._full.mean(axis=0)
            self._full -= rest
            self.mean[is_full] += rest

    def total(self) -> float:
        """Return the sum of the squares of all items."""
        squares = (self._rest.data**2).sum() - self.shape[0] * (self._means**2).sum()
        return float(max(squares, 0.0) + (self._full**2).sum())

    def matmat(self, V: Float64Array) -> Float64Array:
        """Return the product of the centred matrix with V of shape (d, m)."""
        V = V.reshape(self.shape[1], -1)[self._order]
        full, rest = np.split(V, [self._full.shape[1]])
        product: Float64Array = self._full @ full + (self._rest @ rest - self._means @ rest)
        return product

    def rmatmat(self, U: Float64Array) -> Float64Array:
        """Return the product of the transposed centred matrix with U of shape (n, m)."""
        U = U.reshape(self.shape[0], -1)
        result = np.empty((self.shape[1], U.shape[1]))
        rest = self._rest.T @ U - np.outer(self._means, U.sum(axis=0))
        result[self._order] = np.concatenate([self._full.T @ U, rest])
        return result

    def gram(self) -> Float64Array:
        """Return the Gram matrix of the rows, of shape (n, n)."""
        along = self._rest @ self._means
        products: Float64Array = (self._rest @ self._rest.T).toarray()
        products -= along[:, None] + along - self._means @ self._means
        return products + self._full @ self._full.T

    def scatter(self) -> Float64Array:
        """Return the scatter matrix of the columns, of shape (d, d)."""
        n_full, of_rest = self._full.shape[1], self._order[self._full.shape[1] :]
        of_full = self._order[:n_full]
        result = np.empty((self.shape[1], self.shape[1]))
        result[np.ix_(of_full, of_full)] = self._full.T @ self._full
        # The full columns have mean 0, so that the means of the other columns cancel in their products.
        across = self._rest.T @ self._full
        result[np.ix_(of_rest, of_full)], result[np.ix_(of_full, of_rest)] = across, across.T
        squares: Float64Array = (self._rest.T @ self._rest).toarray()
        squares -= self.shape[0] * np.outer(self._means, self._means)
        result[np.ix_(of_rest, of_rest)] = squares
        return result

    def leading(self, k: int) -> tuple[Float64Array, Float64Array] | None:
        """Return the k largest singular values and their right vectors (k, d), or None if they do not converge.

        The implicitly restarted Lanczos method computes them to the precision of float64 (R. Lehoucq, D. Sorensen,
        C. Yang, "ARPACK users' guide", 1998).
        """
        operator = LinearOperator(
            self.shape,
            matvec=self.matmat,
            rmatvec=self.rmatmat,
            matmat=self.matmat,
            rmatmat=self.rmatmat,
            dtype=np.float64,
        )
        start = np.random.default_rng(0).standard_normal(min(self.shape))
        try:
            _, singular, axes = svds(operator, k, tol=0, v0=start)
        except ArpackNoConvergence:
            return None
        return singular[::-1], axes[::-1]


def by_sparse_products(X: Any, n_axes: int | None) -> Factors:
    """Return the principal axes of sparse samples from products with X, without a dense copy of X.

    Lanczos' method finds few of many axes. Otherwise they are eigenvectors of the scatter matrix of the columns, or
    follow from the Gram matrix of the rows, whichever is smaller.

    Parameters
    ----------
    X : sparse matrix of shape (n, d)
        Samples.
    n_axes : int or None
        Least number of axes to return; None for all.

    Returns
    -------
    Factors
        The axes, in float64.
    """
    n, d = X.shape
    centred, side = CentredMatrix(X), min(n, d)
    k = side if n_axes is None else n_axes
    total, found = centred.total(), None
    with one_thread_if_small(side):
        if 0 < k <= _LANCZOS_SHARE * side and side >= _LANCZOS_SIDE and total > 0:
            found = centred.leading(k)
        if found is None and d <= n:
            squares, axes = _leading_eigenvectors(centred.scatter(), k)
            found = np.sqrt(np.maximum(squares, 0.0)), axes
        elif found is None:
            # Without rounding errors, the rows of U^T (X - 1 m^T) would be orthogonal already.
            combined = centred.rmatmat(_leading_eigenvectors(centred.gram(), k)[1].T)
            _, singular, axes = scipy.linalg.svd(combined.T, full_matrices=False)
            found = singular, axes
    singular, axes = found
    return Factors(
        centred.mean, singular**2 / (n - 1), with_signs(axes), total / (n - 1), of_products(np.float64)
    )


def _leading_eigenvectors(matrix: Float64Array, k: int) -> tuple[Float64Array, Float64Array]:
    """Return the k largest eigenvalues in descending order, and their eigenvectors as rows."""
    side = len(matrix)
    if k == 0:
        return np.zeros(0), np.zeros((0, side))
    values, vectors = scipy.linalg.eigh(matrix, subset_by_index=(side - k, side - 1))
    return values[::-1], vectors.T[::-1]

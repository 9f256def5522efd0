"""Principal axes of a data matrix, from its covariance or its singular value decomposition; Minka's dimension."""

from __future__ import annotations

from math import lgamma, log, pi
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import array_namespace, to_device, to_host
from steepest._symmetric import eigh
from steepest.estimators.class_statistics import ClassStatistics

# Below this fraction of the eigenvectors, LAPACK computes some of them faster than all.
_FEW = 0.25
# Largest computed value of an eigenvalue or singular value that is 0, in units of eps times the largest one.
_ROUNDINGS = 10.0
# Least variance with two correct digits, in units of eps times the largest variance.
_CLEAR_OF_ROUNDING = 1e3


class Factors(NamedTuple):
    """The principal axes, with the largest variance first, and the total variance.

    Attributes
    ----------
    mean : ndarray of shape (d,)
        Means of the columns.
    variances : ndarray of shape (k,)
        Variances along the axes, in descending order.
    axes : ndarray of shape (k, d)
        The axes: orthonormal rows, each with its largest item positive.
    total : float
        Sum of the variances along all axes.
    resolution : float
        Standard deviations below this multiple of the largest are rounding errors.
    """

    mean: Array
    variances: Array
    axes: Array
    total: float
    resolution: float


def by_covariance(X: Any, device: str, n_axes: int | None, dtype: npt.DTypeLike) -> Factors | None:
    """Return the principal axes as eigenvectors of the covariance.

    X is read once. A point near the mean is subtracted from each row before the products, so that large means cost no
    accuracy, and products are added in float64. Discriminant analysis uses the same statistics for each class.

    Parameters
    ----------
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        Samples; a sparse X is converted to dense blocks of rows.
    device : {"cpu", "cuda"}
        Device of the computation.
    n_axes : int or None
        Least number of axes to return; None for all.
    dtype : dtype
        Dtype of the products.

    Returns
    -------
    Factors or None
        The axes in float64 on the host, or None if squares overflow.
    """
    n, d = X.shape
    statistics = ClassStatistics.of(X, None, 1, None, device, dtype=dtype)
    if not statistics.is_finite():
        return None
    covariance = statistics.scatter / (n - 1)
    some = n_axes is not None and 0 < n_axes < _FEW * d
    if some and n_axes is not None and device == "cpu":
        variances, vectors = scipy.linalg.eigh(covariance, subset_by_index=(d - n_axes, d - 1))
    else:
        some = False
        variances, vectors = eigh(covariance, device)
    # Rounding errors may make the smallest variances negative.
    variances = np.maximum(variances[::-1], 0.0)
    total = float(np.trace(covariance)) if some else float(variances.sum())
    return Factors(statistics.means[0], variances, with_signs(vectors.T[::-1]), total, of_products(dtype))


def of_products(dtype: npt.DTypeLike) -> float:
    """Return the resolution (see `Factors`) of standard deviations from the covariance, for products of a dtype."""
    return float(np.sqrt(_ROUNDINGS * np.finfo(dtype).eps))


def of_samples(dtype: npt.DTypeLike) -> float:
    """Return the resolution (see `Factors`) of standard deviations from singular values, for samples of a dtype."""
    return float(_ROUNDINGS * np.finfo(dtype).eps)


def is_clear_of_rounding(variances: Float64Array, dtype: npt.DTypeLike) -> bool:
    """Return whether the last of the descending variances exceeds the rounding error of products of a dtype."""
    if not len(variances):
        return True
    eps, tiny = (float(getattr(np.finfo(dtype), name)) for name in ("eps", "tiny"))
    return bool(variances[-1] >= max(_CLEAR_OF_ROUNDING * eps * variances[0], tiny / eps))


@np.errstate(over="ignore", invalid="ignore")
def by_svd(X: Array, overwrite: bool) -> Factors | None:
    """Return the principal axes by a singular value decomposition of the centred X, in its dtype and library.

    Parameters
    ----------
    X : ndarray or cupy.ndarray of shape (n, d)
        Samples.
    overwrite : bool
        Whether X may be overwritten.

    Returns
    -------
    Factors or None
        All min(n, d) axes on the host, or None if squares overflow.
    """
    xp = array_namespace(X)
    mean = X.mean(axis=0, dtype=np.float64)
    centred = X if overwrite else X.copy()
    centred -= mean.astype(X.dtype)
    # The first mean is rounded; subtracting the mean of the remainder corrects its rounding error.
    centred -= centred.mean(axis=0, dtype=np.float64).astype(X.dtype)
    if not bool(xp.isfinite(centred).all()):
        return None
    if xp is np:
        _, singular, axes = scipy.linalg.svd(
            centred, full_matrices=False, overwrite_a=True, check_finite=False
        )
    else:
        _, singular, axes = map(to_host, xp.linalg.svd(centred, full_matrices=False))
    variances = singular.astype(np.float64) ** 2 / (len(X) - 1)
    if not np.isfinite(variances).all():
        return None
    return Factors(to_host(mean), variances, with_signs(axes), float(variances.sum()), of_samples(X.dtype))


def with_signs(axes: Array) -> Array:
    """Return the axes with signs that make the largest item of each positive, as in scikit-learn."""
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    signs: Array = np.where(largest < 0, -1, 1).astype(axes.dtype)
    return axes * signs[:, None]


def minka_dimension(variances: Float64Array, n_samples: int) -> int:
    """Return Minka's estimate of the dimension: the number of axes, from 1 to d - 1, with the largest evidence.

    T. Minka, "Automatic choice of dimensionality for PCA", NIPS 2000, equations 28 to 31 (Laplace's approximation).

    Parameters
    ----------
    variances : ndarray of shape (d,)
        Variances along all axes, in descending order.
    n_samples : int
        Number of samples.

    Returns
    -------
    int
        The dimension; it does not depend on the units of the samples.
    """
    variances = variances / (variances[0] or 1.0)
    evidences = [_log_evidence(variances, k, n_samples) for k in range(1, len(variances))]
    return 1 + int(np.argmax(evidences)) if evidences else 1


def _log_evidence(variances: Float64Array, k: int, n_samples: int) -> float:
    tiny, d = 1e-15, len(variances)
    if variances[k - 1] < tiny:
        return -np.inf
    noise = max(tiny, float(variances[k:].mean()))
    # The prior of the axes, a uniform distribution on a Stiefel manifold.
    prior = -k * log(2.0) + sum(lgamma((d - i) / 2.0) - log(pi) * (d - i) / 2.0 for i in range(k))
    likelihood = -n_samples / 2.0 * (float(np.log(variances[:k]).sum()) + log(noise) * (d - k))
    parameters = d * k - k * (k + 1.0) / 2.0
    volume = log(2.0 * pi) * (parameters + k) / 2.0
    # The determinant of the Hessian, over the pairs i < j with i < k.
    shrunk = np.where(np.arange(d) < k, variances, noise)
    i, j = np.triu_indices(k, 1, d)
    with np.errstate(divide="ignore"):
        hessian = np.log((variances[i] - variances[j]) * (1.0 / shrunk[j] - 1.0 / shrunk[i])).sum()
    return float(
        prior + likelihood + volume - (hessian + parameters * log(n_samples)) / 2.0 - k * log(n_samples) / 2.0
    )


def working_copy(array: Any, dtype: Any, device: str) -> Array:
    """Return a copy or view of a fitted array for a computation: C-ordered, with the given dtype and device."""
    return to_device(np.ascontiguousarray(to_host(array), dtype=dtype), device)

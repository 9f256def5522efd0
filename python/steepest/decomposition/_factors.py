"""Principal axes of a data matrix: from its covariance, or from its singular value decomposition."""

from __future__ import annotations

from math import lgamma, log, pi
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse

from steepest._estimators.class_statistics import ClassStatistics
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import array_namespace, to_device, to_host
from steepest._symmetric import eigh

# LAPACK computes this share of the eigenvectors faster than all of them.
_FEW = 0.25
# Eigenvalues and singular values that are 0 come out as up to so many eps of the largest.
_ROUNDINGS = 10.0
# Variances have at least two digits from so many eps of the largest on.
_CLEAR_OF_ROUNDING = 1e3


class Factors(NamedTuple):
    """The principal axes, leading first, and what was not computed.

    Attributes
    ----------
    mean : ndarray of shape (d,)
        Means of the columns.
    variances : ndarray of shape (k,)
        Variances along the axes.
    axes : ndarray of shape (k, d)
        Orthonormal rows, each with its largest item positive.
    total : float
        Sum of the variances along all axes.
    resolution : float
        Deviations below this, where the largest is 1, are roundings.
    """

    mean: Array
    variances: Array
    axes: Array
    total: float
    resolution: float


def by_covariance(X: Any, device: str, n_axes: int | None, dtype: npt.DTypeLike) -> Factors | None:
    """Return the principal axes as eigenvectors of the covariance.

    X is read once. From each row a point near the mean is taken away before anything is squared, so that means that are
    large against the spread cost no accuracy, and products are added up in float64: as for discriminant analysis, of
    one class.

    Parameters
    ----------
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        Samples; blocks of sparse ones are made dense.
    device : {"cpu", "cuda"}
        Where to compute.
    n_axes : int or None
        How many axes are wanted at least; None for all.
    dtype : dtype
        Of the products.

    Returns
    -------
    Factors or None
        On the host, in float64; None where squares overflow.
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
    # Rounding may make the smallest ones negative.
    variances = np.maximum(variances[::-1], 0.0)
    total = float(np.trace(covariance)) if some else float(variances.sum())
    return Factors(statistics.means[0], variances, with_signs(vectors.T[::-1]), total, of_products(dtype))


def of_products(dtype: npt.DTypeLike) -> float:
    """Return the resolution of deviations whose squares are computed from products of a dtype."""
    return float(np.sqrt(_ROUNDINGS * np.finfo(dtype).eps))


def of_samples(dtype: npt.DTypeLike) -> float:
    """Return the resolution of deviations that are computed from samples of a dtype."""
    return float(_ROUNDINGS * np.finfo(dtype).eps)


def is_clear_of_rounding(variances: Float64Array, dtype: npt.DTypeLike) -> bool:
    """Whether products of a dtype tell the least of the variances, given in order, from their rounding."""
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
        Whether X may be changed.

    Returns
    -------
    Factors or None
        With min(n, d) axes, on the host; None where squares overflow.
    """
    xp = array_namespace(X)
    mean = X.mean(axis=0, dtype=np.float64)
    centred = X if overwrite else X.copy()
    centred -= mean.astype(X.dtype)
    # The mean is rounded; what is left of it can be told apart once it is small.
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
    """Return the axes with the sign that makes the largest item of each positive, as scikit-learn chooses it."""
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    signs: Array = np.where(largest < 0, -1, 1).astype(axes.dtype)
    return axes * signs[:, None]


def minka_dimension(variances: Float64Array, n_samples: int) -> int:
    """Return the number of axes, at least 1 and less than all, with the largest evidence.

    T. Minka, "Automatic choice of dimensionality for PCA", NIPS 2000, equations 28 to 31 (Laplace's approximation).

    Parameters
    ----------
    variances : ndarray of shape (d,)
        All of them, leading first.
    n_samples : int
        Number of samples.

    Returns
    -------
    int
        The dimension; it does not depend on the unit of the samples.
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
    """Return an array of the model as a computation takes it: C-ordered, of its dtype and on its device."""
    return to_device(np.ascontiguousarray(to_host(array), dtype=dtype), device)

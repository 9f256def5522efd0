"""Linear discriminant analysis from class statistics, a function for each step of the textbook.

With the covariance W within classes and the covariance B of the class means, the discriminant axes are the vectors a
that make ``a^T B a / a^T W a`` largest: the leading generalised eigenvectors of (B, W), of which k classes have at most
k - 1 (R. Fisher, "The use of multiple measurements in taxonomic problems", 1936; C. Rao, "The utilization of multiple
measurements in problems of biological classification", 1948; T. Hastie, R. Tibshirani and J. Friedman, "The elements
of statistical learning", §4.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Float64Array
from steepest._symmetric import Cholesky, eigh, one_thread_if_small

Mask = npt.NDArray[np.bool_]

# A feature has a part in empty directions that counts from this share of the largest part on.
_PART = 0.1
# Of the deviation of the class means, where a feature has none within the classes.
_LEAST_DEVIATION = 1e-6
# A constant that was computed in float64 has deviations of up to this many roundings.
_ROUNDINGS = 32.0


@dataclass
class Discriminants:
    """What a fit comes to, in float64.

    Attributes
    ----------
    coef : ndarray of shape (k, d)
        Coefficients of the discriminant functions ``x @ coef.T + intercept``.
    intercept : ndarray of shape (k,)
        Intercepts for inputs less `centre`.
    centre : ndarray of shape (d,)
        The mean of the class means, weighted by the priors.
    axes : ndarray of shape (d, r)
        Discriminant axes, the most discriminating first, whose covariance within classes is the identity; the item of
        each that is largest in units of the features' deviations is positive.
    ratio : ndarray of shape (r,)
        Shares of the variance of the class means along the axes.
    smallest : float
        At most the deviation of the least of all directions, where the largest is 1; 0 if there are empty ones.
    least_kept : float
        The same of the directions that are not empty.
    constant : ndarray of bool of shape (d,)
        The features without deviation within the classes.
    collinear : ndarray of bool of shape (d,)
        The features that have a part in other empty directions.
    """

    coef: Float64Array
    intercept: Float64Array
    centre: Float64Array
    axes: Float64Array
    ratio: Float64Array
    smallest: float
    least_kept: float
    constant: Mask
    collinear: Mask


@dataclass
class Whitening:
    """What makes a covariance the identity.

    Attributes
    ----------
    matrix : ndarray of shape (d, rank)
        V with ``V^T covariance V = I``, for the directions in which there is variance.
    smallest : float
        At most the deviation of the least of all directions, where the largest is 1; 0 if there are empty ones.
    least_kept : float
        The same of the directions that are not empty.
    collinear : ndarray of bool of shape (d,)
        The features that have a part in empty directions.
    """

    matrix: Float64Array
    smallest: float
    least_kept: float
    collinear: Mask


def whitening(covariance: Float64Array, deviations: Float64Array, tol: float, device: str) -> Whitening:
    """Return what makes the covariance the identity.

    It is divided by the deviations of the features first, so that their units do not matter; directions whose deviation
    is at most `tol` times the largest then count as empty. Without such directions any V will do, and that of
    Cholesky's factor is computed faster than the eigenvectors.

    Parameters
    ----------
    covariance : ndarray of shape (d, d)
        Symmetric, positive semidefinite.
    deviations : ndarray of shape (d,)
        Standard deviations of the features; 0 for one that is left out.
    tol : float
        The smallest deviation of a direction.
    device : {"cpu", "cuda"}
        Where to factorise.
    """
    used = np.flatnonzero(deviations > 0)
    scaled = covariance[np.ix_(used, used)] / np.outer(deviations[used], deviations[used])
    largest = min(len(used), np.abs(scaled).sum(axis=0).max(initial=0.0))  # a bound of the largest variance
    matrix = np.zeros((len(deviations), len(used)))
    factor = Cholesky.of(scaled, device) if len(used) else None
    if factor is not None:
        inverse = factor.inverse()
        smallest = float(1.0 / (np.linalg.norm(inverse) * np.sqrt(largest)))
        if smallest > tol:
            matrix[used] = inverse.T / deviations[used, None]
            return Whitening(matrix, smallest, smallest, np.zeros(len(deviations), bool))
    variances, directions = (
        (a[..., ::-1] for a in eigh(scaled, device)) if len(used) else (np.zeros(0), scaled)
    )
    return _without_empty(np.sqrt(np.maximum(variances, 0.0)), directions, deviations, tol)


def whitening_of_rows(
    blocks: Iterable[Float64Array], deviations: Float64Array, constant: Mask, tol: float
) -> Whitening:
    """Return what makes the covariance D^T D the identity, from the rows of D instead of their products.

    The triangle of a QR decomposition has the singular values of D, whereas D^T D has their squares, and loses half of
    the digits of the least (G. Golub, C. Van Loan, "Matrix computations", §5.3). Each block joins the triangle of those
    before it, so that memory is that of one block.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (b, d)
        The rows, in the units of the features.
    deviations : ndarray of shape (d,)
        Of the features; 0 for one that is left out.
    constant : ndarray of bool of shape (d,)
        Features of which `deviations` has what stands in for their deviation: their columns of D count as 0.
    tol : float
        See `whitening`.
    """
    used = np.flatnonzero(deviations > 0)
    scale = np.where(constant[used], 0.0, 1.0 / deviations[used])
    triangle = np.diag(np.where(constant[used], 1.0, 0.0))
    with one_thread_if_small(len(used)):
        for rows in blocks:
            joined = np.concatenate([triangle, rows[:, used] * scale])
            triangle = np.asarray(np.linalg.qr(joined, mode="r"))
        _, roots, directions = np.linalg.svd(triangle)
    return _without_empty(roots, directions.T, deviations, tol)


def _without_empty(
    roots: Float64Array, directions: Float64Array, deviations: Float64Array, tol: float
) -> Whitening:
    """Return the whitening by the principal axes of the scaled covariance that are not empty.

    Parameters
    ----------
    roots : ndarray of shape (u,)
        Deviations along the axes, the largest first.
    directions : ndarray of shape (u, u)
        The axes, as columns.
    deviations : ndarray of shape (d,)
        Of the features, of which u are not 0.
    tol : float
        See `whitening`.
    """
    used = np.flatnonzero(deviations > 0)
    matrix = np.zeros((len(deviations), len(used)))
    kept = (roots > tol * roots.max(initial=0.0)) & (roots > 0)
    matrix[used] = np.where(kept, directions / np.where(kept, roots, 1.0), 0.0) / deviations[used, None]
    collinear = np.zeros(len(deviations), bool)
    if not kept.all():
        part = np.sqrt((directions[:, ~kept] ** 2).sum(axis=1))
        collinear[used] = part > _PART * part.max()
    rank = int(kept.sum())
    least_kept = float(roots[rank - 1] / roots[0]) if rank else 0.0
    return Whitening(matrix[:, :rank], least_kept if kept.all() else 0.0, least_kept, collinear)


def between_roots(means: Float64Array, centre: Float64Array, priors: Float64Array) -> Float64Array:
    """Return R of shape (k, d) with ``R^T R`` the covariance of the class means, ``sum_c p_c (m_c - m)(m_c - m)^T``."""
    roots: Float64Array = np.sqrt(priors)[:, None] * (means - centre)
    return roots


def discriminant_axes(
    white: Float64Array, roots: Float64Array, tol: float
) -> tuple[Float64Array, Float64Array]:
    """Return the axes and their shares: the principal axes of the class means, once W is made the identity."""
    if not white.shape[1]:
        return white[:, :0], np.zeros(0)
    _, singular, directions = np.linalg.svd(roots @ white, full_matrices=False)
    kept = (singular > tol * singular[0]) & (singular > 0)
    variances = singular[kept] ** 2
    return white @ directions[kept].T, variances / variances.sum() if kept.any() else variances


def with_signs(axes: Float64Array, deviations: Float64Array) -> Float64Array:
    """Return the axes, each with its largest item positive, where items are those of features of deviation 1."""
    size = np.abs(axes) * deviations[:, None]
    if not size.size:
        return axes
    largest = axes[size.argmax(axis=0), np.arange(axes.shape[1])]
    signed: Float64Array = axes * np.where(largest < 0, -1.0, 1.0)
    return signed


def rounding_of(means: Float64Array, dtype: npt.DTypeLike) -> Float64Array:
    """Return the largest deviations that rounding gives to constant features of such means; shape (d,).

    Rounded to the dtype of the samples, a constant becomes one of two neighbouring numbers, at most eps |mean| apart.
    Computed in float64, it may be off by a few roundings more.

    Parameters
    ----------
    means : ndarray of shape (d,) or (k, d)
        Of the features.
    dtype : dtype
        Of the samples.
    """
    relative = max(float(np.finfo(dtype).eps), _ROUNDINGS * float(np.finfo(np.float64).eps))
    bound: Float64Array = relative * np.abs(np.atleast_2d(means)).max(axis=0)
    return bound


def feature_deviations(
    variances: Float64Array,
    own: Float64Array,
    means: Float64Array,
    share: Float64Array,
    tol: float,
    dtype: npt.DTypeLike,
) -> tuple[Float64Array, Mask]:
    """Return the standard deviations of the features, 0 for those to leave out, and which are constant.

    A feature that is constant in each class, but not the same in all, tells the classes apart: some deviation has to
    stand for none.

    Parameters
    ----------
    variances : ndarray of shape (d,)
        Within the classes, of the covariance to invert.
    own : ndarray of shape (d,)
        Within the classes, before shrinkage: a feature that varies is not constant, whatever shrinkage makes of it.
    means : ndarray of shape (k, d)
        Of the classes.
    share : ndarray of shape (k,)
        Shares of the classes in the samples.
    tol : float
        See `whitening`.
    dtype : dtype
        Of the samples.
    """
    deviations = np.sqrt(np.maximum(variances, 0.0))
    between = np.sqrt(share @ (means - share @ means) ** 2)
    rounding = rounding_of(means, dtype)
    constant = (deviations <= rounding) & (np.sqrt(np.maximum(own, 0.0)) <= rounding)
    # Classes that overlap by their roundings are not parted exactly.
    least = np.maximum(deviations, max(tol, _LEAST_DEVIATION) * between)
    stands_in = np.where(between > rounding, least, 0.0)
    return np.where(constant, stands_in, deviations), constant


def class_log_priors(priors: Float64Array) -> Float64Array:
    """Return the logarithms of the priors; a class of prior 0 is never predicted."""
    with np.errstate(divide="ignore"):
        logarithms: Float64Array = np.log(priors)
    return logarithms


def solve(
    covariance: Float64Array,
    means: Float64Array,
    share: Float64Array,
    priors: Float64Array,
    tol: float,
    dtype: npt.DTypeLike,
    device: str = "cpu",
    own: Float64Array | None = None,
    rows: Iterable[Float64Array] | None = None,
) -> Discriminants:
    """Return the discriminant functions and axes.

    The functions are the logarithms of the classes' densities, normal with one covariance, and of the priors, less what
    is the same for all: ``x @ W^-1 m_c - m_c^T W^-1 m_c / 2 + log p_c``. Where W is singular, its pseudoinverse stands
    for the inverse.

    Parameters
    ----------
    covariance : ndarray of shape (d, d)
        Within classes. The variances of features that are constant, but not the same in all classes, are set.
    means : ndarray of shape (k, d)
        Of the classes.
    share : ndarray of shape (k,)
        Shares of the classes in the samples.
    priors : ndarray of shape (k,)
        Probabilities of the classes.
    tol : float
        See `whitening`; the same for the directions of the class means.
    dtype : dtype
        Of the samples.
    device : {"cpu", "cuda"}
        Where to factorise.
    own : ndarray of shape (d,), optional
        Variances of the features before shrinkage; by default the diagonal of the covariance.
    rows : iterable of ndarray of shape (b, d), optional
        Those of D with ``covariance = D^T D``, by blocks: they are factorised in its place.
    """
    variances = np.diag(covariance)
    own = variances if own is None else own
    deviations, constant = feature_deviations(variances, own, means, share, tol, dtype)
    centre = priors @ means
    if rows is None:
        np.fill_diagonal(covariance, np.where(constant, deviations**2, variances))
        whitened = whitening(covariance, deviations, tol, device)
    else:
        whitened = whitening_of_rows(rows, deviations, constant, tol)
    white = whitened.matrix
    axes, ratio = discriminant_axes(white, between_roots(means, centre, priors), tol)
    # All that is left of the means, also those of classes whose prior is 0.
    scores = (means - centre) @ white
    intercept = class_log_priors(priors) - 0.5 * (scores**2).sum(axis=1)
    signed = with_signs(axes, deviations)
    return Discriminants(
        scores @ white.T,
        intercept,
        centre,
        signed,
        ratio,
        whitened.smallest,
        whitened.least_kept,
        constant,
        whitened.collinear,
    )

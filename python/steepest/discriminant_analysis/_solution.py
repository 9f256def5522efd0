"""Linear discriminant analysis from class statistics, with a function for each step of the textbook.

Let W be the covariance within classes, and B the covariance of the class means. The discriminant axes are the vectors
a that maximise ``a^T B a / a^T W a``: the leading generalised eigenvectors of (B, W), at most ``k - 1`` for k classes
(R. Fisher, "The use of multiple measurements in taxonomic problems", 1936; C. Rao, "The utilization of multiple
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

# A feature is collinear if its component in the empty directions is above this fraction of the largest component.
_PART = 0.1
# Deviation of a feature that is constant within the classes, relative to the deviation of its class means.
_LEAST_DEVIATION = 1e-6
# Largest deviation of a constant that was computed in float64, in units of machine epsilon.
_CONSTANT_EPSILONS = 32.0


@dataclass
class Discriminants:
    """Discriminant functions and axes of a fit, in float64.

    Attributes
    ----------
    coef : ndarray of shape (k, d)
        Coefficients of the discriminant functions ``x @ coef.T + intercept``.
    intercept : ndarray of shape (k,)
        Intercepts for inputs less `centre`.
    centre : ndarray of shape (d,)
        The mean of the class means, weighted by the priors.
    axes : ndarray of shape (d, r)
        Discriminant axes, the most discriminating first. The covariance within classes is the identity along them. The
        largest item of each axis, in units of the features' deviations, is positive.
    ratio : ndarray of shape (r,)
        Proportions of the variance of the class means along the axes.
    smallest : float
        Lower bound of the smallest deviation of a direction, relative to the largest; 0 if there are empty directions.
    least_kept : float
        The same bound for the nonempty directions.
    constant : ndarray of bool of shape (d,)
        Mask of the features that are constant within the classes.
    collinear : ndarray of bool of shape (d,)
        Mask of the features with a component in other empty directions.
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
    """A linear map that makes a covariance the identity.

    Attributes
    ----------
    matrix : ndarray of shape (d, rank)
        V with ``V^T covariance V = I``, for the directions with variance.
    smallest : float
        Lower bound of the smallest deviation of a direction, relative to the largest; 0 if there are empty directions.
    least_kept : float
        The same bound for the nonempty directions.
    collinear : ndarray of bool of shape (d,)
        Mask of the features with a component in empty directions.
    """

    matrix: Float64Array
    smallest: float
    least_kept: float
    collinear: Mask


def whitening(covariance: Float64Array, deviations: Float64Array, tol: float, device: str) -> Whitening:
    """Return the linear map that makes the covariance the identity.

    The covariance is first divided by the deviations of the features, so that their units do not matter. Directions
    whose deviation is at most `tol` times the largest then count as empty. Without empty directions any V serves, and
    the Cholesky factor is computed faster than the eigenvectors.

    Parameters
    ----------
    covariance : ndarray of shape (d, d)
        Symmetric positive semidefinite matrix.
    deviations : ndarray of shape (d,)
        Standard deviations of the features; 0 for features that are left out.
    tol : float
        Directions whose deviation is at most `tol` times the largest count as empty.
    device : {"cpu", "cuda"}
        Device of the factorisation.
    """
    used = np.flatnonzero(deviations > 0)
    scaled = covariance[np.ix_(used, used)] / np.outer(deviations[used], deviations[used])
    largest = min(
        len(used), np.abs(scaled).sum(axis=0).max(initial=0.0)
    )  # an upper bound of the largest variance
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
    """Return the linear map that makes the covariance D^T D the identity, from the rows of D instead of D^T D.

    The triangular factor of a QR decomposition has the singular values of D. D^T D has their squares, and loses half of
    the digits of the smallest one (G. Golub, C. Van Loan, "Matrix computations", §5.3). Each block is joined to the
    triangular factor of the blocks before it, so that memory holds one block.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (b, d)
        The rows, in the units of the features.
    deviations : ndarray of shape (d,)
        Standard deviations of the features; 0 for features that are left out.
    constant : ndarray of bool of shape (d,)
        Features that are constant within the classes. `deviations` holds substitutes for them; their columns of D count
        as 0.
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
        Standard deviations of the features; u of them are not 0.
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


def between_factor(means: Float64Array, centre: Float64Array, priors: Float64Array) -> Float64Array:
    """Return R (k, d), a factor of the covariance of the class means: ``R^T R = sum_c p_c (m_c - m)(m_c - m)^T``."""
    roots: Float64Array = np.sqrt(priors)[:, None] * (means - centre)
    return roots


def discriminant_axes(
    white: Float64Array, roots: Float64Array, tol: float
) -> tuple[Float64Array, Float64Array]:
    """Return the principal axes of the whitened class means, and their proportions of the variance."""
    if not white.shape[1]:
        return white[:, :0], np.zeros(0)
    _, singular, directions = np.linalg.svd(roots @ white, full_matrices=False)
    kept = (singular > tol * singular[0]) & (singular > 0)
    variances = singular[kept] ** 2
    return white @ directions[kept].T, variances / variances.sum() if kept.any() else variances


def with_signs(axes: Float64Array, deviations: Float64Array) -> Float64Array:
    """Return the axes with signs that make the largest item of each, in units of the deviations, positive."""
    size = np.abs(axes) * deviations[:, None]
    if not size.size:
        return axes
    largest = axes[size.argmax(axis=0), np.arange(axes.shape[1])]
    signed: Float64Array = axes * np.where(largest < 0, -1.0, 1.0)
    return signed


def rounding_of(means: Float64Array, dtype: npt.DTypeLike) -> Float64Array:
    """Return the largest deviations that rounding errors give to constant features of these means; shape (d,).

    Rounded to the dtype of the samples, a constant becomes one of two neighbouring numbers, at most eps |mean| apart.
    Computing it in float64 adds a few units of machine epsilon.

    Parameters
    ----------
    means : ndarray of shape (d,) or (k, d)
        Means of the features.
    dtype : dtype
        Dtype of the samples.
    """
    relative = max(float(np.finfo(dtype).eps), _CONSTANT_EPSILONS * float(np.finfo(np.float64).eps))
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
    """Return the standard deviations of the features, 0 for those to leave out, and a mask of constant features.

    A feature that is constant in each class, but differs between classes, separates the classes. It gets a small
    deviation in place of 0.

    Parameters
    ----------
    variances : ndarray of shape (d,)
        Variances within the classes, of the covariance to invert.
    own : ndarray of shape (d,)
        Variances within the classes before shrinkage, which decide whether a feature is constant.
    means : ndarray of shape (k, d)
        Class means.
    share : ndarray of shape (k,)
        Proportions of the classes among the samples.
    tol : float
        See `whitening`.
    dtype : dtype
        Dtype of the samples.
    """
    deviations = np.sqrt(np.maximum(variances, 0.0))
    between = np.sqrt(share @ (means - share @ means) ** 2)
    rounding = rounding_of(means, dtype)
    constant = (deviations <= rounding) & (np.sqrt(np.maximum(own, 0.0)) <= rounding)
    # Classes that overlap within rounding errors cannot be separated exactly.
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

    The functions are ``x @ W^-1 m_c - m_c^T W^-1 m_c / 2 + log p_c``: the logarithm of prior times density, if all
    classes are normal with the covariance W, without the terms that all classes share. If W is singular, its
    pseudoinverse replaces the inverse.

    Parameters
    ----------
    covariance : ndarray of shape (d, d)
        Covariance within classes. The variances of features that are constant within the classes are overwritten.
    means : ndarray of shape (k, d)
        Class means.
    share : ndarray of shape (k,)
        Proportions of the classes among the samples.
    priors : ndarray of shape (k,)
        Probabilities of the classes.
    tol : float
        See `whitening`; it also applies to the directions of the class means.
    dtype : dtype
        Dtype of the samples.
    device : {"cpu", "cuda"}
        Device of the factorisation.
    own : ndarray of shape (d,), optional
        Variances of the features before shrinkage; by default the diagonal of the covariance.
    rows : iterable of ndarray of shape (b, d), optional
        Blocks of rows of D with ``covariance = D^T D``; D is factorised instead of the covariance.
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
    axes, ratio = discriminant_axes(white, between_factor(means, centre, priors), tol)
    # Whitened class means, including those of classes whose prior is 0.
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

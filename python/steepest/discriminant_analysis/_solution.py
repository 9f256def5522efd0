"""Linear discriminant analysis from class statistics, a function for each step of the textbook.

With the covariance W within classes and the covariance B of the class means, the discriminant axes are the vectors a
that make ``a^T B a / a^T W a`` largest: the leading generalised eigenvectors of (B, W), of which k classes have at most
k - 1 (R. Fisher, "The use of multiple measurements in taxonomic problems", 1936; C. Rao, "The utilization of multiple
measurements in problems of biological classification", 1948; T. Hastie, R. Tibshirani and J. Friedman, "The elements
of statistical learning", §4.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steepest._symmetric import Cholesky, eigh

Float64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# A feature has a part in empty directions that counts from this share of the largest part on.
_PART = 0.1
# Of the deviation of the class means, where a feature has none within the classes.
_LEAST_DEVIATION = 1e-6
# Deviations of a feature that are so many roundings of its mean are taken as none.
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
    constant : ndarray of bool of shape (d,)
        The features without deviation within the classes.
    collinear : ndarray of bool of shape (d,)
        The features that have a part in other empty directions.
    """

    coef: Float64
    intercept: Float64
    centre: Float64
    axes: Float64
    ratio: Float64
    smallest: float
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
    collinear : ndarray of bool of shape (d,)
        The features that have a part in empty directions.
    """

    matrix: Float64
    smallest: float
    collinear: Mask


def whitening(covariance: Float64, deviations: Float64, tol: float, device: str) -> Whitening:
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
            return Whitening(matrix, smallest, np.zeros(len(deviations), bool))
    variances, directions = (
        (a[..., ::-1] for a in eigh(scaled, device)) if len(used) else (np.zeros(0), scaled)
    )
    roots = np.sqrt(np.maximum(variances, 0.0))
    kept = (roots > tol * roots.max(initial=0.0)) & (roots > 0)
    matrix[used] = np.where(kept, directions / np.where(kept, roots, 1.0), 0.0) / deviations[used, None]
    collinear = np.zeros(len(deviations), bool)
    if not kept.all():
        part = np.sqrt((directions[:, ~kept] ** 2).sum(axis=1))
        collinear[used] = part > _PART * part.max()
    smallest = float(roots[-1] / roots[0]) if kept.all() and len(used) else 0.0
    return Whitening(matrix[:, : int(kept.sum())], smallest, collinear)


def between_roots(means: Float64, centre: Float64, priors: Float64) -> Float64:
    """Return R of shape (k, d) with ``R^T R`` the covariance of the class means, ``sum_c p_c (m_c - m)(m_c - m)^T``."""
    roots: Float64 = np.sqrt(priors)[:, None] * (means - centre)
    return roots


def discriminant_axes(white: Float64, roots: Float64, tol: float) -> tuple[Float64, Float64]:
    """Return the axes and their shares: the principal axes of the class means, once W is made the identity."""
    if not white.shape[1]:
        return white[:, :0], np.zeros(0)
    _, singular, directions = np.linalg.svd(roots @ white, full_matrices=False)
    kept = (singular > tol * singular[0]) & (singular > 0)
    variances = singular[kept] ** 2
    return white @ directions[kept].T, variances / variances.sum() if kept.any() else variances


def with_signs(axes: Float64, deviations: Float64) -> Float64:
    """Return the axes, each with its largest item positive, where items are those of features of deviation 1."""
    size = np.abs(axes) * deviations[:, None]
    if not size.size:
        return axes
    largest = axes[size.argmax(axis=0), np.arange(axes.shape[1])]
    signed: Float64 = axes * np.where(largest < 0, -1.0, 1.0)
    return signed


def rounding_of(means: Float64, dtype: npt.DTypeLike) -> Float64:
    """Return deviations of features of such means that may be roundings of numbers of a dtype; shape (d,)."""
    bound: Float64 = _ROUNDINGS * np.finfo(dtype).eps * np.abs(np.atleast_2d(means)).max(axis=0)
    return bound


def feature_deviations(
    variances: Float64, means: Float64, share: Float64, tol: float, dtype: npt.DTypeLike
) -> tuple[Float64, Mask]:
    """Return the standard deviations of the features, 0 for those to leave out, and which are constant.

    A feature that is constant in each class, but not the same in all, tells the classes apart: some deviation has to
    stand for none.

    Parameters
    ----------
    variances : ndarray of shape (d,)
        Within the classes.
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
    constant = deviations <= rounding
    stands_in = np.where(between > rounding, max(tol, _LEAST_DEVIATION) * between, 0.0)
    return np.where(constant, stands_in, deviations), constant


def class_log_priors(priors: Float64) -> Float64:
    """Return the logarithms of the priors; a class of prior 0 is never predicted."""
    with np.errstate(divide="ignore"):
        logarithms: Float64 = np.log(priors)
    return logarithms


def solve(
    covariance: Float64,
    means: Float64,
    share: Float64,
    priors: Float64,
    tol: float,
    dtype: npt.DTypeLike,
    device: str = "cpu",
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
    """
    deviations, constant = feature_deviations(np.diag(covariance), means, share, tol, dtype)
    np.fill_diagonal(covariance, np.where(constant, deviations**2, np.diag(covariance)))
    centre = priors @ means
    whitened = whitening(covariance, deviations, tol, device)
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
        constant,
        whitened.collinear,
    )

"""Coordinates in which the scatter within classes is diagonal, and with it every shrunk covariance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg

from steepest import kernels as K
from steepest._runtime.arrays import Float64Array, Int64Array
from steepest._runtime.memory import to_device, to_host
from steepest._symmetric import eigh
from steepest.estimators.row_blocks import dense

from ._columns import Gram, column_blocks
from ._samples import LabelledSamples
from ._solution import feature_deviations, whitening

Ids = Int64Array

# Variances below this fraction of the largest are 0 within rounding errors.
_ROUNDING = 1e-14


@dataclass
class ScatterAxes:
    """Samples and class means in r coordinates, in which the scatter within classes is diagonal.

    Attributes
    ----------
    deviations_of : callable
        Function from indices of samples, of any shape, to the deviations from their class means. These have one more
        axis, of length r.
    means : ndarray of shape (k, r)
        Class means less `centre`.
    centre : ndarray of shape (d,)
        The mean of all samples.
    variances : ndarray of shape (r,)
        The diagonal of the scatter.
    n_features : int
        The number of features, d: the scatter has d - r more zeros on its diagonal.
    to_features : callable
        Function that converts coefficients from these coordinates (m, r) to the features (m, d).
    """

    deviations_of: Callable[[Ids], Float64Array]
    means: Float64Array
    centre: Float64Array
    variances: Float64Array
    n_features: int
    to_features: Callable[[Float64Array], Float64Array]

    def precisions(self, shrinkage: float, trace: Float64Array | float) -> Float64Array:
        """Return the diagonal of the inverse of ``(1 - shrinkage) S + shrinkage * trace / d * I``.

        Parameters
        ----------
        shrinkage : float
            The shrinkage, in [0, 1].
        trace : float or ndarray of shape (b,)
            Trace in the formula: that of S, or those of b downdated scatter matrices.

        Returns
        -------
        ndarray of shape (r,) or (b, r)
            The diagonal, with 0 in place of the inverse of 0.
        """
        added = shrinkage / self.n_features * np.asarray(trace)
        diagonal = (1.0 - shrinkage) * self.variances + added[..., None]
        return np.divide(1.0, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)


class Decompositions:
    """The axes of samples; each decomposition is computed when it is first needed.

    Parameters
    ----------
    samples : LabelledSamples
        All samples.
    tol : float
        See `whitening`.
    """

    def __init__(self, samples: LabelledSamples, tol: float) -> None:
        self.samples, self._tol = samples, tol

    @cached_property
    def principal(self) -> ScatterAxes:
        """The principal axes of the scatter within classes, for any shrinkage but 0."""
        return principal_axes(self.samples)

    @cached_property
    def white(self) -> ScatterAxes | None:
        """Axes for a shrinkage of 0, or None if the covariance is singular."""
        return whitened_axes(self.samples, self._tol)


def principal_axes(samples: LabelledSamples) -> ScatterAxes:
    """Return the principal axes of the scatter within classes, and axes of the class means outside its range."""
    if samples.n_samples < samples.n_features:
        return _axes_of_samples(samples)
    statistics = samples.statistics()
    variances, directions = eigh(statistics.scatter, samples.device)
    return _axes_of_features(samples, statistics.means, np.maximum(variances, 0.0), directions)


def whitened_axes(samples: LabelledSamples, tol: float) -> ScatterAxes | None:
    """Return axes in which the covariance within classes is the identity, or None if it is singular.

    Unlike principal axes, they keep the precision of features with small variances beside features with large ones.
    """
    if samples.n_samples < samples.n_features:
        return None
    statistics = samples.statistics()
    means, covariance = statistics.means, statistics.covariance
    share = statistics.weights / statistics.total
    variances = np.diag(covariance)
    deviations, constant = feature_deviations(variances, variances, means, share, tol, samples.X.dtype)
    whitened = whitening(covariance, deviations, tol, samples.device)
    # Without some samples, constant features stay constant, but substitutes for their deviations change.
    if deviations[constant].any() or whitened.collinear.any():
        return None
    scatter = np.full(whitened.matrix.shape[1], statistics.total)
    return _axes_of_features(samples, means, scatter, whitened.matrix)


def _axes_of_features(
    samples: LabelledSamples, means: Float64Array, variances: Float64Array, directions: Float64Array
) -> ScatterAxes:
    """Return the axes along the columns of `directions`, of shape (d, r)."""
    device = samples.device
    on_device = to_device(directions, device)

    def deviations_of(index: Ids) -> Float64Array:
        rows = samples.rows(index.ravel())
        centred = dense(rows.X, device).astype(np.float64) - to_device(means[rows.ids], device)
        product: Float64Array = to_host(K.matmul(centred, on_device))
        return product.reshape(*index.shape, -1)

    centre = samples.class_weights @ means / samples.class_weights.sum()
    return ScatterAxes(
        deviations_of,
        (means - centre) @ directions,
        centre,
        variances,
        samples.n_features,
        lambda coef: coef @ directions.T,
    )


def _axes_of_samples(samples: LabelledSamples) -> ScatterAxes:
    """Return the axes from the Gram matrix of the samples, without forming a d × d matrix."""
    n, k, device = samples.n_samples, samples.n_classes, samples.device
    share = samples.class_weights / samples.class_weights.sum()
    centre = np.zeros(samples.n_features)
    gram, of_means, between = Gram(n, np.float64, device), np.zeros((n, k)), np.zeros((k, k))
    for block in column_blocks(samples):
        centre[block.columns] = share @ block.means
        means = block.means - centre[block.columns]
        gram.add(block.deviations)
        of_means += to_host(K.matmul(block.deviations, to_device(np.ascontiguousarray(means.T), device)))
        between += means @ means.T
    # With A the deviations and D = sqrt(s) A: D D^T = U L U^T has the axes D^T U / sqrt(L).
    products, weights = gram.result(), np.sqrt(samples.weights)
    variances, directions = eigh(weights[:, None] * products * weights, device)
    used = variances > _ROUNDING * n * max(variances[-1], np.finfo(np.float64).tiny)
    variances = variances[used]
    combined = weights[:, None] * directions[:, used] / np.sqrt(variances)
    along, means_along = products @ combined, of_means.T @ combined
    # Axes for the part of the class means outside the span of the deviations.
    rest, outside = scipy.linalg.eigh(between - means_along @ means_along.T)
    far = rest > _ROUNDING * k * max(float(np.trace(between)), np.finfo(np.float64).tiny)
    outside = outside[:, far] / np.sqrt(rest[far])
    deviations = np.hstack([along, (of_means - along @ means_along.T) @ outside])
    means = np.hstack([means_along, (between - means_along @ means_along.T) @ outside])
    of_rows = np.hstack([combined, -combined @ (means_along.T @ outside)])
    of_centres = np.hstack([np.zeros((k, len(variances))), outside])

    def to_features(coef: Float64Array) -> Float64Array:
        rows, centres = to_device(coef @ of_rows.T, device), coef @ of_centres.T
        result = np.empty((len(coef), samples.n_features))
        for block in column_blocks(samples):
            part = to_host(K.matmul(rows, block.deviations))
            result[:, block.columns] = part + centres @ (block.means - centre[block.columns])
        return result

    return ScatterAxes(
        lambda index: deviations[index],
        means,
        centre,
        np.concatenate([variances, np.zeros(int(far.sum()))]),
        samples.n_features,
        to_features,
    )

"""Discriminant functions of left-out samples in closed form, by a low-rank downdate of the scatter matrix.

Let S be the scatter within classes, and let the rows of A be the deviations of f left-out samples from their class
means. Without these samples S becomes ``S - A^T M A``, whose inverse follows from that of S and an f × f inverse (M.
Woodbury, 1950). For discriminant analysis see P. Lachenbruch, "An almost unbiased method of obtaining confidence
intervals for the probability of misclassification in discriminant analysis", 1967, and M. Treder, "Cross-validation in
high-dimensional spaces", 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Float64Array, Int64Array

from ._samples import LabelledSamples
from ._scatter_axes import ScatterAxes
from ._solution import class_log_priors

Ids = Int64Array
Mask = npt.NDArray[np.bool_]

# Smallest fraction of the scatter in a direction that may remain: below it, too many digits have cancelled.
_LEAST_REST = 1e-6


def scores_without(
    axes: ScatterAxes,
    samples: LabelledSamples,
    folds: Ids,
    shrinkages: Sequence[float],
    priors: Float64Array | None,
    unbiased: bool,
) -> tuple[Float64Array, Mask]:
    """Return the discriminant functions of the samples in each fold, fitted without that fold.

    Parameters
    ----------
    axes : ScatterAxes
        Axes of all samples.
    samples : LabelledSamples
        All samples.
    folds : ndarray of shape (b, f)
        Indices of the samples in b folds of f samples each.
    shrinkages : sequence of float
        The g shrinkages; see `shrink`.
    priors : ndarray of shape (k,) or None
        Probabilities of the classes; None for their proportions among the samples that are not left out.
    unbiased : bool
        See `LinearDiscriminantAnalysis`.

    Returns
    -------
    scores : ndarray of shape (g, b, f, k)
        Values of the functions of `Discriminants`; -inf for a class without samples outside the fold.
    is_exact : ndarray of bool of shape (g, b)
        Whether the scores are accurate. They are not if hardly any scatter remains in some direction, or if fewer than
        two classes remain.
    """
    ids, k = samples.ids[folds], samples.n_classes
    deviations = axes.deviations_of(folds)
    weights = np.ones(folds.shape) if samples.given_weights is None else samples.weights[folds]
    membership = (ids[..., None] == np.arange(k)) * weights[..., None]  # (b, f, k)
    totals = samples.class_weights
    left = totals - membership.sum(axis=1)  # (b, k)
    # Sums of the same weights in another order differ by rounding errors.
    left[left <= 1e-12 * totals] = 0.0
    inverse = np.divide(1.0, left, out=np.zeros_like(left), where=left > 0)
    sums = membership.swapaxes(1, 2) @ deviations  # (b, k, r)
    means = axes.means - sums * inverse[..., None]
    fold_priors = (
        left / left.sum(axis=1, keepdims=True) if priors is None else np.broadcast_to(priors, left.shape)
    )
    centre = fold_priors[:, None, :] @ means
    divisor = left.sum(axis=1) - (np.count_nonzero(left, axis=1) if unbiased else 0)

    # S loses A^T A and the scatter due to the shift of the class means; the sum of both is lost^T lost.
    removed = totals - left
    stretch = np.sqrt(totals * inverse) - 1.0
    stretch = np.divide(stretch, removed, out=np.zeros_like(left), where=(removed > 0) & (left > 0))
    roots = np.sqrt(weights)
    lost = roots[..., None] * deviations
    own = np.take_along_axis(stretch, ids, axis=1) * roots
    lost += own[..., None] * np.take_along_axis(sums, ids[..., None], axis=1)
    trace = axes.variances.sum() - (lost**2).sum(axis=(1, 2))

    centred = means - centre
    inputs = deviations + axes.means[ids] - centre
    log_priors = class_log_priors(fold_priors)
    shape = (len(shrinkages), *folds.shape, k)
    scores, is_exact = np.empty(shape), np.empty(shape[:2], bool)
    for scored, exact, shrinkage in zip(scores, is_exact, shrinkages, strict=True):
        precisions = axes.precisions(shrinkage, trace)[:, None, :]
        solved = lost * precisions
        rest = np.eye(folds.shape[1]) - (1.0 - shrinkage) * (solved @ lost.swapaxes(1, 2))
        least, directions = np.linalg.eigh(rest)
        exact[:] = least[:, 0] > _LEAST_REST
        if shrinkage > 0:
            exact &= trace > _LEAST_REST * axes.variances.sum()
        least = np.maximum(least, _LEAST_REST)
        seen = (centred @ solved.swapaxes(1, 2)) @ directions
        coef = centred * precisions
        coef += (1.0 - shrinkage) * (seen / least[:, None, :]) @ (directions.swapaxes(1, 2) @ solved)
        squares = (coef * centred).sum(axis=2)
        scored[:] = divisor[:, None, None] * (inputs @ coef.swapaxes(1, 2) - 0.5 * squares[:, None, :])
        scored += log_priors[:, None, :]
    scores[np.broadcast_to((left == 0)[:, None, :], scores.shape)] = -np.inf
    is_exact &= (divisor > 0) & (np.count_nonzero(left, axis=1) > 1)
    if priors is not None:
        is_exact &= (left > 0).all(axis=1)
    return scores, is_exact

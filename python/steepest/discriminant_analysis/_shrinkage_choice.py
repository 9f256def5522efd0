"""Choice of the shrinkage by leave-one-out cross-validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.special

from steepest._runtime.arrays import Float64Array, Int64Array

from ._fitting import FitOptions
from ._held_out import LEAVE_ONE_OUT, CrossValidation, folds_of
from ._samples import LabelledSamples
from ._scatter_axes import Decompositions

Ids = Int64Array


def default_grid(with_zero: bool) -> Float64Array:
    """Return the shrinkages to try: 21 from 1e-5 to 1, four per factor of ten, and 0 if `with_zero`."""
    grid = np.logspace(-5, 0, 21)
    return np.concatenate([[0.0], grid]) if with_zero else grid


def best_shrinkage(shrinkages: Float64Array, log_loss: Float64Array) -> float:
    """Return the shrinkage with the least log loss; of several, the largest."""
    return float(shrinkages[log_loss <= np.nanmin(log_loss)].max())


def held_out_losses(
    decompositions: Decompositions,
    priors: Float64Array | None,
    options: FitOptions,
    shrinkages: Float64Array,
    folds: Sequence[Ids],
) -> tuple[Float64Array, Float64Array]:
    """Return the cross-validated mean log loss and accuracy of each shrinkage.

    Parameters
    ----------
    decompositions : Decompositions
        Decompositions of all samples; their weights also weight the means.
    priors : ndarray of shape (k,) or None
        Probabilities of the classes, as for `CrossValidation`.
    options : FitOptions
        Options of the fits; their shrinkage is not used.
    shrinkages : ndarray of shape (g,)
        The shrinkages.
    folds : sequence of ndarray
        The folds, as `folds_of` returns them.

    Returns
    -------
    log_loss, accuracy : ndarray of shape (g,)
        Means over the samples. The log loss excludes samples whose class does not occur outside their fold.
    """
    samples = decompositions.samples
    weights = samples.weights
    loss, right, counted = np.zeros(len(shrinkages)), np.zeros(len(shrinkages)), 0.0
    for part, scores in CrossValidation(decompositions, priors, options).scores(folds, shrinkages.tolist()):
        truth, weight = samples.ids[part], weights[part]
        right += ((scores.argmax(axis=-1) == truth) * weight).sum(axis=(1, 2))
        logs = scipy.special.log_softmax(scores, axis=-1)
        of_truth = np.take_along_axis(logs, np.broadcast_to(truth[..., None], (*logs.shape[:-1], 1)), axis=-1)
        known = np.isfinite(of_truth[..., 0])
        loss -= np.where(known, weight * of_truth[..., 0], 0.0).sum(axis=(1, 2))
        counted += float((known[0] * weight).sum())
    return loss / counted if counted else np.full(len(loss), np.nan), right / weights.sum()


def choose_shrinkage(
    samples: LabelledSamples, priors: Float64Array | None, options: FitOptions
) -> tuple[float, dict[str, Float64Array]]:
    """Return the best shrinkage in leave-one-out cross-validation, and the results for each one tried."""
    decompositions = Decompositions(samples, options.tol)
    grid = default_grid(decompositions.white is not None)
    folds = folds_of(LEAVE_ONE_OUT, samples.X, samples.ids, None, options.name)
    log_loss, accuracy = held_out_losses(decompositions, priors, options, grid, folds)
    results = {"shrinkage": grid, "log_loss": log_loss, "accuracy": accuracy}
    return best_shrinkage(grid, log_loss), results

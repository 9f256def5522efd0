"""Shrinkage of the covariance within classes, and covariances estimated class by class, as by Ledoit and Wolf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from steepest._runtime.arrays import Float64Array
from steepest._runtime.memory import to_device, to_host
from steepest.estimators.class_statistics import ClassStatistics
from steepest.estimators.row_blocks import dense

from ._columns import Gram, column_blocks
from ._samples import LabelledSamples
from ._solution import rounding_of


def shrink(covariance: Float64Array, share: float) -> Float64Array:
    """Return ``(1 - share) * S + share * trace(S) / d * I``."""
    d = len(covariance)
    shrunk = (1.0 - share) * covariance
    shrunk.flat[:: d + 1] += share * float(np.trace(covariance)) / d
    return shrunk


def ledoit_wolf_share(squares: float, mean_variance: float, fourth: float, n: float, d: int) -> float:
    """Return the Ledoit-Wolf coefficient r: the shrinkage ``(1 - r) S + r mu I`` with the least expected squared error.

    O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.

    Parameters
    ----------
    squares : float
        Sum of the squares of the entries of S.
    mean_variance : float
        Mean variance ``mu = trace(S) / d``.
    fourth : float
        Weighted sum ``sum_i s_i |z_i|^4`` over the centred samples z.
    n : float
        Sum of the weights s.
    d : int
        Number of features.
    """
    spread = squares - d * mean_variance**2  # squared distance of the covariance from mu I
    noise = min((fourth / n - squares) / n, spread)
    return noise / spread if noise > 0 else 0.0


def standard_deviations(variances: Float64Array, means: Float64Array) -> Float64Array:
    """Return the square roots of variances summed in float64, with 1 for variances within rounding error of 0."""
    deviations = np.sqrt(np.maximum(variances, 0.0))
    return np.where(deviations > rounding_of(means, np.float64), deviations, 1.0)


def ledoit_wolf(statistics: ClassStatistics, deviations: Float64Array, fourth: float) -> Float64Array:
    """Return the Ledoit-Wolf covariance of one class, with the shrinkage applied to standardised features.

    Parameters
    ----------
    statistics : ClassStatistics
        Statistics of this class alone.
    deviations : ndarray of shape (d,)
        Standard deviations of the features.
    fourth : float
        Sum of fourth powers of the standardised samples, as for `ledoit_wolf_share`.
    """
    covariance = statistics.covariance
    scaled = covariance / np.outer(deviations, deviations)
    d = len(scaled)
    squares, mean_variance = float((scaled**2).sum()), float(np.trace(scaled)) / d
    share = ledoit_wolf_share(squares, mean_variance, fourth, statistics.total, d)
    shrunk: Float64Array = shrink(scaled, share) * np.outer(deviations, deviations)
    return shrunk


def classes_with_weight(samples: LabelledSamples) -> list[LabelledSamples]:
    """Return the samples of each class that has weight, as samples of a single class."""
    parts = []
    for c in np.flatnonzero(samples.class_weights > 0):
        part = samples.rows(np.flatnonzero(samples.ids == c))
        parts.append(
            LabelledSamples(part.X, np.zeros(part.n_samples, np.int64), 1, part.given_weights, part.device)
        )
    return parts


def shrunk_by_class(samples: LabelledSamples) -> Float64Array:
    """Return the mean of the classes' Ledoit-Wolf covariances, weighted by the weights of the classes."""
    total, covariance = 0.0, np.zeros((samples.n_features, samples.n_features))
    for part in classes_with_weight(samples):
        statistics = part.statistics()
        deviations = standard_deviations(np.diag(statistics.covariance), statistics.means[0])
        scaled = (dense(to_host(part.X), "cpu") - statistics.means[0]) / deviations
        lengths = (scaled**2).sum(axis=1, dtype=np.float64)
        covariance += statistics.total * ledoit_wolf(statistics, deviations, float(part.weights @ lengths**2))
        total += statistics.total
    return covariance / total


@dataclass
class DiagonalShrinkage:
    """Shrinkage as a factor of the scatter of each class, and a diagonal that is added.

    Attributes
    ----------
    kept : ndarray of shape (k,)
        The fraction of the scatter of each class that is kept.
    added : ndarray of shape (d,)
        The numbers that are added to the diagonal of the sum of the scatters.
    """

    kept: Float64Array
    added: Float64Array

    @classmethod
    def by_number(cls, share: float, squares: Float64Array) -> DiagonalShrinkage:
        """Return the shrinkage of `shrink`, for class scatters whose diagonals are the rows of `squares`."""
        d = squares.shape[1]
        return cls(np.full(len(squares), 1.0 - share), np.full(d, share * squares.sum() / d))

    @classmethod
    def by_ledoit_wolf(
        cls, samples: LabelledSamples, means: Float64Array, squares: Float64Array
    ) -> DiagonalShrinkage:
        """Return the shrinkage of `shrunk_by_class`, for class scatters about `means` with the diagonals `squares`.

        The sum of squares of a covariance equals that of the samples' Gram matrix, so no d × d matrix is formed.
        """
        weights = samples.class_weights
        kept, added = np.ones(len(weights)), np.zeros(samples.n_features)
        present = np.flatnonzero(weights > 0)
        for c, part in zip(present, classes_with_weight(samples), strict=True):
            total, d = weights[c], part.n_features
            deviations = standard_deviations(squares[c] / total, means[c])
            gram = Gram(part.n_samples, np.float64, part.device)
            for block in column_blocks(part):
                gram.add(block.deviations / to_device(deviations[block.columns], part.device))
            products, s = gram.result(), part.weights
            mean_variance = float(s @ np.diag(products)) / (total * d)
            fourth = float(s @ np.diag(products) ** 2)
            share = ledoit_wolf_share(float(s @ products**2 @ s) / total**2, mean_variance, fourth, total, d)
            kept[c] = 1.0 - share
            added += total * share * mean_variance * deviations**2
        return cls(kept, added)


def estimated_by_class(samples: LabelledSamples, estimator: Any, name: str) -> Float64Array:
    """Return the mean of an estimator's covariances of the classes, weighted by the sizes of the classes."""
    X = dense(to_host(samples.X), "cpu")
    covariance = np.zeros((X.shape[1], X.shape[1]))
    for c in range(samples.n_classes):
        rows = X[samples.ids == c]
        if not len(rows):
            continue
        fitted = clone(estimator, safe=False)
        fitted.fit(rows)
        if not hasattr(fitted, "covariance_"):
            raise ValueError(f"[{name}] {type(estimator).__name__} does not have a covariance_ attribute")
        covariance += len(rows) / len(X) * np.asarray(fitted.covariance_, np.float64)
    return covariance

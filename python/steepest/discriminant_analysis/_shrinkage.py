"""Covariances within classes, estimated class by class: Ledoit and Wolf's shrinkage, and estimators of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from steepest._estimators.class_statistics import ClassStatistics
from steepest._estimators.row_blocks import dense
from steepest._memory import to_host

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]


def shrink(covariance: Float64, share: float) -> Float64:
    """Return ``(1 - share) * S + share * trace(S) / d * I``."""
    d = len(covariance)
    shrunk = (1.0 - share) * covariance
    shrunk.flat[:: d + 1] += share * float(np.trace(covariance)) / d
    return shrunk


def ledoit_wolf(statistics: ClassStatistics, fourth: float) -> Float64:
    """Return the shrunk covariance of one class.

    Of the standardised samples z, whose covariance S has the mean variance mu, it is ``(1 - r) S + r mu I`` with the
    share r that is best in expectation, in the units of the samples again (O. Ledoit and M. Wolf, "A well-conditioned
    estimator for large-dimensional covariance matrices", 2004).

    Parameters
    ----------
    statistics : ClassStatistics
        Of the class alone.
    fourth : float
        ``sum_i s_i |z_i|^4``.
    """
    n, d = statistics.total, len(statistics.scatter)
    covariance = statistics.covariance
    deviations = standard_deviations(covariance)
    scaled = covariance / np.outer(deviations, deviations)
    mean_variance = float(np.trace(scaled)) / d
    squares = float((scaled**2).sum())
    spread = squares - d * mean_variance**2  # of the covariance about mu I
    noise = min((fourth / n - squares) / n, spread)
    share = noise / spread if noise > 0 else 0.0
    shrunk: Float64 = shrink(scaled, share) * np.outer(deviations, deviations)
    return shrunk


def standard_deviations(covariance: Float64) -> Float64:
    """Return the roots of the diagonal, and 1 for those that are 0."""
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return np.where(deviations > 0, deviations, 1.0)


def shrunk_by_class(
    X: Any, ids: npt.NDArray[np.int64], n_classes: int, sample_weight: Array | None, device: str
) -> Float64:
    """Return the mean of the classes' Ledoit-Wolf covariances, weighted by the weights of the classes."""
    total, covariance = 0.0, np.zeros((X.shape[1], X.shape[1]))
    for c in range(n_classes):
        rows = np.flatnonzero(ids == c)
        weight = np.ones(len(rows)) if sample_weight is None else sample_weight[rows].astype(np.float64)
        if not weight.sum() > 0:
            continue
        part = X[rows]
        given = None if sample_weight is None else sample_weight[rows]
        statistics = ClassStatistics.of(part, None, 1, given, device, dtype=np.float64)
        deviations = standard_deviations(statistics.covariance)
        scaled = (dense(to_host(part), "cpu") - statistics.means[0]) / deviations
        lengths = (scaled**2).sum(axis=1, dtype=np.float64)
        covariance += statistics.total * ledoit_wolf(statistics, float(weight @ lengths**2))
        total += statistics.total
    return covariance / total


def estimated_by_class(
    X: Any, ids: npt.NDArray[np.int64], n_classes: int, estimator: Any, name: str
) -> Float64:
    """Return the mean of what an estimator makes of each class, weighted by the sizes of the classes."""
    X = dense(to_host(X), "cpu")
    covariance = np.zeros((X.shape[1], X.shape[1]))
    for c in range(n_classes):
        rows = X[ids == c]
        fitted = clone(estimator, safe=False)
        fitted.fit(rows)
        if not hasattr(fitted, "covariance_"):
            raise ValueError(f"[{name}] {type(estimator).__name__} does not have a covariance_ attribute")
        covariance += len(rows) / len(X) * np.asarray(fitted.covariance_, np.float64)
    return covariance

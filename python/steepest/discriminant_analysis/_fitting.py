"""Fits of linear discriminant analysis: choice of feature or sample space, precision and covariance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Float64Array
from steepest.estimators.class_statistics import ClassStatistics

from ._sample_space import SampleProducts, solve_by_samples
from ._samples import LabelledSamples
from ._shrinkage import estimated_by_class, shrink, shrunk_by_class
from ._solution import Discriminants, rounding_of, solve

# Smallest relative deviation of a direction above which the rounding errors of float32 products do not matter.
_CLEAR_OF_ROUNDING = 1e-2
# The same for float64 products: below it W^-1, whose error is eps over the square, has lost half of its digits.
_LEAST_OF_PRODUCTS = 1e-4


@dataclass
class Fit:
    """The result of a fit, in float64.

    Attributes
    ----------
    found : Discriminants
        Discriminant functions and axes.
    weights : ndarray of shape (k,)
        Sums of the weights of the classes.
    means : ndarray of shape (k, d)
        Class means.
    scatter, covariance : ndarray of shape (d, d) or None
        Scatter and covariance within classes; None if they were not formed.
    priors : ndarray of shape (k,)
        Probabilities of the classes.
    """

    found: Discriminants
    weights: Float64Array
    means: Float64Array
    scatter: Float64Array | None
    covariance: Float64Array | None
    priors: Float64Array


@dataclass(frozen=True)
class FitOptions:
    """Parameters of `LinearDiscriminantAnalysis`, its name for messages, and the device of factorisations."""

    name: str
    shrinkage: float | str
    covariance_estimator: Any
    store_covariance: bool
    unbiased: bool
    tol: float
    device: str

    def divisor(self, weights: Float64Array) -> float:
        """Return the divisor of the scatter within classes, from the weights of the classes."""
        total = float(weights.sum())
        divisor = total - np.count_nonzero(weights) if self.unbiased else total
        if not divisor > 0:
            raise ValueError(
                f"[{self.name}] unbiased=True needs weights whose sum, {total:g}, is more than the number of classes"
            )
        return divisor

    def refuse_overflow(self, is_finite: bool) -> None:
        """Raise ValueError unless `is_finite`: sums of squares have overflowed."""
        if not is_finite:
            raise ValueError(
                f"[{self.name}] squares of X overflow: scale it, with StandardScaler for instance"
            )


def fit_to_samples(samples: LabelledSamples, priors: Float64Array, options: FitOptions) -> Fit:
    """Return the fit, in the space of the features, or in that of the samples if there are fewer samples."""
    options.divisor(samples.class_weights)
    by_class = None
    if options.covariance_estimator is not None:
        by_class = estimated_by_class(samples, options.covariance_estimator, options.name)
    elif samples.n_samples < samples.n_features and not options.store_covariance:
        return _fit_in_sample_space(samples, priors, options)
    elif options.shrinkage == "auto":
        by_class = shrunk_by_class(samples)
    # Sums of float32 products may overflow, and lose directions of small variance in rounding errors.
    for dtype in _dtypes(samples):
        statistics = samples.statistics(dtype)
        if dtype == np.float64 or (statistics.is_finite() and not _underflows(statistics, dtype)):
            fit = fit_to_statistics(statistics, priors, options, samples.X.dtype, by_class)
            if fit.found.smallest >= _CLEAR_OF_ROUNDING:
                break
    if by_class is None and not options.shrinkage and 0 < fit.found.least_kept < _LEAST_OF_PRODUCTS:
        rows = samples.weighted_deviations(statistics.means, options.divisor(statistics.weights))
        fit = fit_to_statistics(statistics, priors, options, samples.X.dtype, rows=rows)
    return fit


def _underflows(statistics: ClassStatistics, dtype: npt.DTypeLike) -> bool:
    """Return whether squares of a feature underflow in a dtype, although the feature may vary."""
    least = float(np.finfo(dtype).tiny / np.finfo(dtype).eps)
    rounding = rounding_of(statistics.means, dtype)
    may_vary = (rounding > 0) & (rounding**2 < least)
    return bool((may_vary & (np.diag(statistics.covariance) < least)).any())


def fit_to_statistics(
    statistics: ClassStatistics,
    priors: Float64Array,
    options: FitOptions,
    dtype: npt.DTypeLike,
    by_class: Float64Array | None = None,
    rows: Iterable[Float64Array] | None = None,
) -> Fit:
    """Return the fit to samples of a dtype, with the covariance from their statistics or from `by_class`.

    If `rows` yields the rows of D with ``D^T D`` the covariance, D is factorised instead of the covariance.
    """
    options.refuse_overflow(statistics.is_finite())
    weights, means, scatter = statistics.weights, statistics.means, statistics.scatter
    if options.covariance_estimator is not None and by_class is not None:
        covariance = by_class
    else:
        if by_class is None:
            by_class = shrink(statistics.covariance, float(options.shrinkage))
        covariance = statistics.total / options.divisor(weights) * by_class
    own = np.diag(statistics.covariance)
    share = weights / statistics.total
    found = solve(covariance, means, share, priors, options.tol, dtype, options.device, own, rows)
    return Fit(found, weights, means, scatter, covariance, priors)


def _fit_in_sample_space(samples: LabelledSamples, priors: Float64Array, options: FitOptions) -> Fit:
    weights = samples.class_weights
    divisor = options.divisor(weights)
    for dtype in _dtypes(samples):
        products = SampleProducts.of(samples, options.shrinkage, divisor, options.tol, dtype)
        if products.is_finite():
            found = solve_by_samples(products, priors, options.tol)
            if found.smallest >= _CLEAR_OF_ROUNDING:
                break
    options.refuse_overflow(products.is_finite())
    return Fit(found, weights, products.means, None, None, priors)


def _dtypes(samples: LabelledSamples) -> list[np.dtype[Any]]:
    """Return the dtypes of products to try, the fastest first."""
    return list(dict.fromkeys((samples.X.dtype, np.dtype(np.float64))))

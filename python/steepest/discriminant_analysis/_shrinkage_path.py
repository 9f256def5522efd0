"""Linear discriminant analysis for many values of the shrinkage, from one decomposition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from steepest._runtime.arrays import Float64Array
from steepest._runtime.memory import to_host

from ._held_out import LEAVE_ONE_OUT, folds_of
from ._lda import LinearDiscriminantAnalysis
from ._scatter_axes import Decompositions, ScatterAxes
from ._shrinkage_choice import best_shrinkage, default_grid, held_out_losses
from ._solution import class_log_priors


@dataclass
class ShrinkagePath:
    """Linear discriminant analysis with many values of the shrinkage.

    Attributes
    ----------
    shrinkages : ndarray of shape (g,)
        The shrinkages.
    coef : ndarray of shape (g, 1, n_features) or (g, n_classes, n_features)
        The attribute `coef_` for each shrinkage.
    intercept : ndarray of shape (g, 1) or (g, n_classes)
        The attribute `intercept_` for each shrinkage.
    log_loss : ndarray of shape (g,)
        Cross-validated log loss in nats: the mean over the samples of -log(probability of the true class), predicted by
        a fit without their fold. It excludes samples whose class does not occur outside their fold.
    accuracy : ndarray of shape (g,)
        Cross-validated accuracy: the proportion of samples that a fit without their fold classifies correctly.
    """

    shrinkages: Float64Array
    coef: Float64Array
    intercept: Float64Array
    log_loss: Float64Array
    accuracy: Float64Array

    @property
    def best(self) -> float:
        """The shrinkage with the least log loss; of several, the largest."""
        return best_shrinkage(self.shrinkages, self.log_loss)


def shrinkage_path(
    X: Any,
    y: Any,
    shrinkages: Any = None,
    *,
    cv: Any = LEAVE_ONE_OUT,
    groups: Any = None,
    sample_weight: Any = None,
    **parameters: Any,
) -> ShrinkagePath:
    """Fit and cross-validate linear discriminant analysis for many values of the shrinkage, from one decomposition.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Class labels.
    shrinkages : array-like of shape (g,), default=None
        Shrinkages in [0, 1]. None takes 21 from 1e-5 to 1, four per factor of ten, and also 0 if the covariance is
        invertible without shrinkage.
    cv : "leave-one-out", int, splitter or iterable, default="leave-one-out"
        The folds, see `cross_val_predict`.
    groups : array-like of shape (n_samples,), default=None
        Groups of the samples, for splitters that use them.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the fits, and in the means of log loss and accuracy.
    **parameters
        Parameters of `LinearDiscriminantAnalysis`: `priors`, `unbiased`, `tol`, `device`.

    Returns
    -------
    ShrinkagePath
        Coefficients and cross-validation results, as NumPy arrays.

    Raises
    ------
    ValueError
        For the reasons of `LinearDiscriminantAnalysis.fit` and `cross_val_predict`; or if a shrinkage is not in [0, 1],
        or is 0 although the covariance is singular.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from steepest.discriminant_analysis import shrinkage_path
    >>> path = shrinkage_path(*load_wine(return_X_y=True), [0.0, 0.001, 0.1])
    >>> path.best, path.accuracy.round(3)
    (0.0, array([0.989, 0.713, 0.708]))
    """
    name = "shrinkage_path"
    model = LinearDiscriminantAnalysis(**parameters)
    if model.shrinkage is not None or model.covariance_estimator is not None:
        raise ValueError(f"[{name}] shrinkage and covariance_estimator are not parameters of a path")
    samples, _, priors = model._validate_samples(X, y, sample_weight)
    options = model._options(samples.device)
    decompositions = Decompositions(samples, options.tol)
    white = decompositions.white
    shares = default_grid(white is not None) if shrinkages is None else checked_shares(shrinkages, name)
    if white is None and (shares == 0).any():
        raise ValueError(
            f"[{name}] the covariance within classes has no inverse without shrinkage: leave out the shrinkage 0"
        )
    coef = np.empty((len(shares), samples.n_classes, samples.n_features))
    intercept = np.empty(coef.shape[:2])
    divisor = options.divisor(samples.class_weights)
    for axes, which in ((white, shares == 0), (decompositions.principal, shares > 0)):
        if axes is not None and which.any():
            coef[which], intercept[which] = functions(axes, shares[which], priors, divisor)
    if samples.n_classes == 2:
        coef, intercept = np.diff(coef, axis=1), np.diff(intercept, axis=1)
    folds = folds_of(cv, X, samples.ids, groups, name)
    given = None if model.priors is None else priors
    log_loss, accuracy = held_out_losses(decompositions, given, options, shares, folds)
    return ShrinkagePath(shares, coef, intercept, log_loss, accuracy)


def checked_shares(shrinkages: Any, name: str) -> Float64Array:
    """Return the shrinkages as an array; raise ValueError unless they are numbers in [0, 1]."""
    shares = np.asarray(to_host(shrinkages), np.float64)
    if shares.ndim != 1 or not len(shares) or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"[{name}] shrinkages must be a one-dimensional array of numbers in [0, 1]")
    return shares


def functions(
    axes: ScatterAxes, shares: Float64Array, priors: Float64Array, divisor: float
) -> tuple[Float64Array, Float64Array]:
    """Return the coefficients (g, k, d) and intercepts (g, k) of the discriminant functions of each shrinkage."""
    centre = priors @ axes.means
    means = axes.means - centre
    trace = float(axes.variances.sum())
    coef = np.stack([divisor * means * axes.precisions(share, trace) for share in shares])
    squares = (coef * means).sum(axis=2)
    of_features = axes.to_features(coef.reshape(-1, means.shape[1])).reshape(*coef.shape[:2], -1)
    intercept = class_log_priors(priors) - 0.5 * squares - coef @ centre - of_features @ axes.centre
    return of_features, intercept

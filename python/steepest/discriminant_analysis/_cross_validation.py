"""Cross-validated predictions of linear discriminant analysis from a single fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special
from sklearn.base import clone

from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device
from steepest.estimators.data import in_library_of

from ._held_out import CrossValidation, folds_of
from ._lda import LinearDiscriminantAnalysis
from ._scatter_axes import Decompositions
from ._shrinkage_choice import choose_shrinkage

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def cross_val_predict(
    estimator: LinearDiscriminantAnalysis,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    cv: Any = None,
    method: str = "predict",
    sample_weight: Any = None,
) -> Array:
    """Predict each sample by a model fitted without its fold, like scikit-learn's function, but with a single fit.

    The results equal those of refitting, up to rounding errors. Small folds cost one fit and one matrix product, so
    that leave-one-out takes hardly longer than a fit. For folds with at least as many samples as features, X is read
    once. The model is refitted for each fold with ``shrinkage="auto"`` or ``"cv"``, with a covariance estimator, and if
    the covariance without shrinkage is singular. If `priors` is None, each fold takes the class proportions of the
    samples outside it (``CV = TRUE`` of R's MASS keeps the proportions of all samples).

    Parameters
    ----------
    estimator : LinearDiscriminantAnalysis
        Estimator whose parameters are used; it need not be fitted, and does not change.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Class labels.
    groups : array-like of shape (n_samples,), default=None
        Groups of the samples, for splitters that use them.
    cv : "leave-one-out", int, splitter, iterable of (train, test) or None, default=None
        The folds. An int is a number of stratified folds, and None takes five of them. Each sample must be in exactly
        one test fold, and each training fold must hold every sample outside its test fold.
    method : {"predict", "predict_proba", "predict_log_proba", "decision_function"}, default="predict"
        The method whose results are returned.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the fits.

    Returns
    -------
    ndarray of shape (n_samples,) or (n_samples, n_classes)
        Results of that method, in the array library of X. A class without samples outside a fold has probability 0 in
        that fold.

    Raises
    ------
    ValueError
        For the reasons of `LinearDiscriminantAnalysis.fit`; if the folds are not as described; or if the samples
        outside a fold have a single class, or are not more than the classes.

    References
    ----------
    P. Lachenbruch, "An almost unbiased method of obtaining confidence intervals for the probability of
    misclassification in discriminant analysis", Biometrics 23, 1967. M. Treder, "Cross-validation in high-dimensional
    spaces: a lifeline for least-squares models and multi-class LDA", 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from steepest.discriminant_analysis import LinearDiscriminantAnalysis, cross_val_predict
    >>> X, y = load_wine(return_X_y=True)
    >>> int((cross_val_predict(LinearDiscriminantAnalysis(), X, y, cv="leave-one-out") != y).sum())
    2
    """
    name = "cross_val_predict"
    if not isinstance(estimator, LinearDiscriminantAnalysis):
        raise TypeError(
            f"[{name}] the estimator is a {type(estimator).__name__}, not a LinearDiscriminantAnalysis of steepest"
        )
    if method not in METHODS:
        raise ValueError(f"[{name}] method {method!r} is not one of: {', '.join(METHODS)}")
    model = clone(estimator)
    samples, classes, priors = model._validate_samples(X, y, sample_weight)
    folds = folds_of(cv, X, samples.ids, groups, name)
    given = None if model.priors is None else priors
    options = model._options(samples.device)
    scores = np.empty((samples.n_samples, samples.n_classes))
    validation = CrossValidation(
        Decompositions(samples, options.tol),
        given,
        options,
        lambda others: choose_shrinkage(others, given, options)[0],
    )
    for part, found in validation.scores(folds, [options.shrinkage]):
        scores[part] = found[0]
    if method == "predict":
        labels = classes[scores.argmax(axis=1)]
        numeric = classes.dtype.kind in "biuf"
        return to_device(labels, "cuda") if is_cupy(X) and is_cupy(y) and numeric else labels
    if method == "decision_function":
        result = scores[:, 1] - scores[:, 0] if samples.n_classes == 2 else scores
    else:
        function = scipy.special.softmax if method == "predict_proba" else scipy.special.log_softmax
        result = function(scores, axis=1)
    return in_library_of(X, np.ascontiguousarray(result, dtype=samples.X.dtype))

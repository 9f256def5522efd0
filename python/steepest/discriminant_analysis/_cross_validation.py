"""Cross-validated predictions of linear discriminant analysis."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special
from sklearn.base import clone

from steepest._estimators.data import in_library_of
from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device

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
    """Predict each sample by a fit without its fold, as scikit-learn's function of this name, but fit only once.

    The answers are those of refitting, to rounding; only their cost is another. With small folds, it is that of one
    fit and of one product of matrices: leaving out one sample at a time costs hardly more than not doing so. With
    folds of at least as many samples as there are features, X is read once. Where there is no such way, the folds
    are fitted: with ``shrinkage="auto"`` or ``"cv"`` or a covariance estimator, and where the covariance without
    shrinkage has no inverse. Priors that are not given are the shares of the samples outside each fold (``CV =
    TRUE`` of R's MASS keeps those of all samples).

    Parameters
    ----------
    estimator : LinearDiscriminantAnalysis
        Its parameters are taken; it need not be fitted, and is not changed.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Class labels.
    groups : array-like of shape (n_samples,), default=None
        For a splitter of groups.
    cv : "leave-one-out", int, splitter, iterable of (train, test) or None, default=None
        The folds. An int: so many, with the classes in equal shares; None: five of these. Each sample has to be tested
        once, and each fit to be to all samples but the tested ones.
    method : {"predict", "predict_proba", "predict_log_proba", "decision_function"}, default="predict"
        What to return.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights in the fits.

    Returns
    -------
    ndarray of shape (n_samples,) or (n_samples, n_classes)
        As of that method, in the library of X. Of a class of which there is no sample outside a fold, the probability
        there is 0.

    Raises
    ------
    ValueError
        As of `LinearDiscriminantAnalysis.fit`; or the folds are not as described, or without one of them there is only
        one class, or not more samples than classes.

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

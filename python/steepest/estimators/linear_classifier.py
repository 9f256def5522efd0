"""Base classes of the linear classifiers: decisions, probabilities, sparse coefficients."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import scipy.sparse
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of, is_cupy
from steepest._runtime.memory import aligned_zeros, to_device, to_host
from steepest.estimators.data import in_library_of

from .linear_model import LinearModel

Self = TypeVar("Self", bound="SparseCoefficients")


class SparseCoefficients(LinearModel):
    """Linear model whose `coef_` can be stored as a sparse matrix."""

    def sparsify(self: Self) -> Self:
        """Convert `coef_` to a CSR matrix, which is smaller if most coefficients are zero.

        Returns
        -------
        estimator
            Itself.
        """
        check_is_fitted(self, msg="Estimator, %(name)s, must be fitted before sparsifying.")
        if not scipy.sparse.issparse(self.coef_):
            self.coef_ = scipy.sparse.csr_matrix(np.atleast_2d(to_host(self.coef_)))
        return self

    def densify(self: Self) -> Self:
        """Convert `coef_` back to an array.

        Returns
        -------
        estimator
            Itself.
        """
        check_is_fitted(self, msg="Estimator, %(name)s, must be fitted before densifying.")
        if scipy.sparse.issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self


class LinearClassifier(ClassifierMixin, LinearModel):
    """Base class of the classifiers: one linear function for two classes, or one for each of more classes."""

    classes_: Array
    class_weight: Any

    def _store_classes(self, classes: Array, like: Any) -> None:
        """Store the labels: numbers as a CuPy array if `like` is one, otherwise a NumPy array."""
        self.classes_ = to_device(
            classes, "cuda" if is_cupy(like) and classes.dtype.kind in "biuf" else "cpu"
        )

    # ------------------------------------------------------------------------------------------- predictions

    def decision_function(self, X: Any) -> Array:
        """Return the decision function of X: the value of each linear function.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, a positive value means the second class. For more classes, the largest value decides.
        """
        scores = in_library_of(X, self._linear_output(X))
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> Array:
        """Predict class labels.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels from `classes_`: a NumPy array for NumPy inputs; for CuPy inputs, in the library of `classes_`.
        """
        scores = self._linear_output(X)
        ids = (scores[:, 0] > 0).astype(np.int64) if scores.shape[1] == 1 else K.argmax(scores)
        if is_cupy(X) and is_cupy(self.classes_):
            labels: Array = self.classes_[to_device(ids, "cuda")]
        else:
            labels = to_host(self.classes_)[to_host(ids)]
        return labels

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of `predict`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            True labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            Proportion of the samples whose label is predicted correctly.
        """
        predicted = to_host(self.predict(X))
        return float(accuracy_score(to_host(y), predicted, sample_weight=to_host(sample_weight)))


class LogisticClassifier(LinearClassifier):
    """Base class of the classifiers whose linear functions are log-odds or logits."""

    def _logits(self, X: Any) -> Array:
        """Return the logits, a column for every class; for two classes, zero and the log-odds."""
        scores = self._linear_output(X)
        if scores.shape[1] > 1:
            return scores
        logits = aligned_zeros((len(scores), 2), scores.dtype, device_of(scores))
        logits[:, 1:] = scores
        return logits

    def predict_proba(self, X: Any) -> Array:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of `classes_` and in the library of X.
        """
        return in_library_of(X, K.softmax(self._logits(X)))

    def predict_log_proba(self, X: Any) -> Array:
        """Predict logarithms of class probabilities, finite where a probability underflows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log-probabilities, in the order of `classes_` and in the library of X.
        """
        return in_library_of(X, K.log_softmax(self._logits(X)))

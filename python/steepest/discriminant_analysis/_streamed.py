"""Incremental linear discriminant analysis: `partial_fit`, `fit_chunks` and `merge` from class statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from steepest._runtime.arrays import Float64Array
from steepest._runtime.memory import to_host
from steepest.estimators.class_statistics import ClassStatistics
from steepest.estimators.labels import number_labels
from steepest.estimators.linear_classifier import LogisticClassifier
from steepest.estimators.validation import labels_of_stream, validate, validate_labels, validate_weights

from ._fitting import Fit, FitOptions, fit_to_statistics
from ._samples import LabelledSamples

if TYPE_CHECKING:
    from typing_extensions import Self


def _learns_from_statistics(estimator: Any) -> bool:
    """Return True if class statistics suffice to fit the estimator; otherwise raise AttributeError."""
    for what, is_on in (
        (f"shrinkage={estimator.shrinkage!r}", isinstance(estimator.shrinkage, str)),
        ("covariance_estimator", estimator.covariance_estimator is not None),
    ):
        if is_on:
            name = type(estimator).__name__
            raise AttributeError(
                f"[{name}] {what} needs all samples at once: there is no partial_fit, fit_chunks or merge"
            )
    return True


class StreamedDiscriminantAnalysis(LogisticClassifier):
    """Base of `LinearDiscriminantAnalysis` that learns from batches of samples, and merges fitted models."""

    _statistics: tuple[Float64Array, Float64Array, Float64Array | None]

    if TYPE_CHECKING:
        # Methods of the subclass.
        def _check_parameters(self) -> None: ...
        def _check_priors(self, weights: Float64Array) -> Float64Array: ...
        def _check_n_components(self, n_classes: int, n_features: int) -> int: ...
        def _options(self, device: str) -> FitOptions: ...
        def _keep(self, fitted: Fit, dtype: np.dtype[Any], like: Any) -> None: ...

    @available_if(_learns_from_statistics)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Update the model with a batch of samples; after all calls it equals a `fit` to all samples.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Class labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that later calls may contain; required in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        LinearDiscriminantAnalysis
            The fitted estimator.

        Raises
        ------
        ValueError
            For the reasons of `fit`, or if a label is not among the classes.
        AttributeError
            If `shrinkage` is ``"auto"`` or ``"cv"``, or with a covariance estimator: these need all samples at once.
        """
        self._check_parameters()
        first = not hasattr(self, "_statistics")
        given, given_y = X, y
        X, y = validate(self, X, y, reset=first, accept_sparse=True)
        validate_labels(self, y)
        labels = labels_of_stream(self, classes, None if first else self.classes_)
        ids = np.searchsorted(labels, y)
        ids[ids == len(labels)] = 0
        if (unknown := labels[ids] != y).any():
            raise ValueError(
                self._prefix(f"y contains a label that is not among the classes: {y[unknown][0]!r}")
            )
        sample_weight = validate_weights(self, sample_weight, X)
        if len(labels) < 2:
            raise ValueError(self._prefix(f"there is {len(labels)} class; at least 2 classes are needed"))
        device = self._resolve_device(given)
        statistics = LabelledSamples(X, ids, len(labels), sample_weight, device).statistics()
        if not first:
            statistics = self._known_statistics().merge(statistics)
        self._refit(statistics, X.dtype, given, device)
        if first:
            self._store_classes(labels, given_y)
        self.device_ = device
        return self

    @available_if(_learns_from_statistics)
    def fit_chunks(self, chunks: Iterable[tuple[Any, ...]]) -> Self:
        """Fit to chunks of samples, each read once; the model equals a `fit` to the samples of all chunks.

        Parameters
        ----------
        chunks : iterable of (X, y) or (X, y, sample_weight)
            Samples, labels and weights, as for `fit`. A chunk need not have samples of all classes.

        Returns
        -------
        LinearDiscriminantAnalysis
            The fitted estimator.

        Raises
        ------
        ValueError
            For the reasons of `fit`, or if there is no chunk, or a chunk is not such a tuple.
        AttributeError
            If `shrinkage` is ``"auto"`` or ``"cv"``, or with a covariance estimator: these need all samples at once.
        """
        self._check_parameters()
        labels, statistics, like = None, None, None
        for chunk in chunks:
            if not isinstance(chunk, tuple) or len(chunk) not in (2, 3):
                raise ValueError(self._prefix("each chunk has to be (X, y) or (X, y, sample_weight)"))
            X, y = validate(self, *chunk[:2], reset=labels is None, accept_sparse=True)
            validate_labels(self, y)
            sample_weight = validate_weights(self, chunk[2] if len(chunk) == 3 else None, X)
            present, ids = number_labels(y)
            device = self._resolve_device(chunk[0])
            new = LabelledSamples(X, ids, len(present), sample_weight, device).statistics()
            if labels is None or statistics is None:
                labels, statistics, like, like_y, dtype = present, new, chunk[0], chunk[1], X.dtype
                continue
            union = np.union1d(labels, present)
            old = statistics.of_classes(np.searchsorted(union, labels), len(union))
            statistics = old.merge(new.of_classes(np.searchsorted(union, present), len(union)))
            labels = union
        if labels is None or statistics is None:
            raise ValueError(self._prefix("there is no chunk"))
        if len(labels) < 2:
            raise ValueError(self._prefix(f"y has {len(labels)} class; at least 2 classes are needed"))
        self._refit(statistics, dtype, like, device)
        self._store_classes(labels, like_y)
        self.device_ = device
        return self

    @available_if(_learns_from_statistics)
    def merge(self, other: Any) -> Self:
        """Merge with another fitted model; afterwards this model equals a `fit` to the samples of both.

        Parameters
        ----------
        other : LinearDiscriminantAnalysis
            Fitted model with the same number of features; its classes may differ. It is not changed.

        Returns
        -------
        LinearDiscriminantAnalysis
            The fitted estimator.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        if other.n_features_in_ != self.n_features_in_:
            raise ValueError(
                self._prefix(
                    f"cannot merge: {self.n_features_in_} features here, {other.n_features_in_} there"
                )
            )
        mine, theirs = (to_host(model.classes_) for model in (self, other))
        labels = np.union1d(mine, theirs)
        parts = [
            model._known_statistics().of_classes(np.searchsorted(labels, known), len(labels))
            for model, known in ((self, mine), (other, theirs))
        ]
        device = getattr(self, "device_", "cpu")
        self._refit(parts[0].merge(parts[1]), self.coef_.dtype, self.coef_, device)
        self._store_classes(labels, self.classes_)
        return self

    def _known_statistics(self) -> ClassStatistics:
        weights, means, scatter = self._statistics
        if scatter is None:
            raise ValueError(
                self._prefix(
                    "cannot add samples to a model fitted to fewer samples than features, which has no scatter matrix: "
                    "start with partial_fit, or fit with store_covariance=True"
                )
            )
        return ClassStatistics(weights, means, scatter)

    def _refit(self, statistics: ClassStatistics, dtype: np.dtype[Any], like: Any, device: str) -> None:
        self._check_n_components(*statistics.means.shape)
        priors = self._check_priors(statistics.weights)
        self._keep(fit_to_statistics(statistics, priors, self._options(device), dtype), dtype, like)

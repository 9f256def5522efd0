"""`SGDClassifier`: linear classification by stochastic gradient descent."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar, TypeVar

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros, array_namespace, to_host
from steepest.estimators.class_weights import class_weights
from steepest.estimators.data import in_library_of
from steepest.estimators.linear_classifier import LinearClassifier, SparseCoefficients
from steepest.estimators.validation import labels_of_stream, validate, validate_labels, validate_weights

from ._sgd_base import LOSSES, SGD_PARAMETERS, StochasticLinearModel

Self = TypeVar("Self", bound="StochasticClassifier")


def _gives_probabilities(estimator: SGDClassifier) -> bool:
    if estimator.loss not in ("log_loss", "modified_huber"):
        raise AttributeError(f"probability estimates are not available for loss={estimator.loss!r}")
    return True


def _shares(scores: Array) -> Array:
    """Return the normalised probabilities ``(1 + z) / 2`` of scores z, which are clipped to [-1, 1]."""
    shares = (array_namespace(scores).clip(scores, -1, 1) + 1) / 2
    if shares.shape[1] == 1:
        both: Array = array_namespace(shares).concatenate([1 - shares, shares], axis=1)
        return both
    # If all probabilities of a row are zero, the classes become equally likely.
    shares = shares + (K.sum(shares, axis=1)[:, None] == 0)
    normalised: Array = shares / K.sum(shares, axis=1)[:, None]
    return normalised


def _logits(scores: Array) -> Array:
    """Return logits whose softmax gives the class probabilities of log-odds z.

    With more than two classes, the probabilities are normalised sigmoids of one-versus-rest log-odds. Their logarithms
    ``-log(1 + exp(-z))`` do not underflow.
    """
    if scores.shape[1] > 1:
        logarithms: Array = -K.softplus(-scores)
        return logarithms
    logits = aligned_zeros((len(scores), 2), scores.dtype, device_of(scores))
    logits[:, 1:] = scores
    return logits


class StochasticClassifier(LinearClassifier, SparseCoefficients, StochasticLinearModel):
    """Base of the classifiers: one linear function for two classes, one-versus-rest for more."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **StochasticLinearModel._parameter_constraints,
        "n_jobs": [Integral, None],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }
    _aggressive_loss = "hinge"

    def _split(self, y: Array, weights: Array | None) -> tuple[Array, Array]:
        splitter = StratifiedShuffleSplit(test_size=self.validation_fraction, random_state=self.random_state)
        train, held_out = next(splitter.split(np.zeros((len(y), 1)), y))
        if weights is not None and not weights[held_out].any():
            raise ValueError(
                self._prefix(
                    "The sample weights for validation set are all zero, consider using a different random state."
                )
            )
        return np.sort(train), held_out

    def _score_outputs(
        self, outputs: Array, target: Array, weights: Array | None, classes: Array
    ) -> Float64Array:
        positive = target[:, None] == (classes if len(self.classes_) > 2 else 1)
        scores: Float64Array = np.average((outputs > 0) == positive, axis=0, weights=weights)
        return scores

    def _is_worse_than_a_constant(self, outputs: Array, target: Array, weights: Array | None) -> bool:
        of_class = class_weights(self.class_weight, to_host(self.classes_), target, None, type(self).__name__)
        of_row = of_class[target] * (1.0 if weights is None else weights)
        ids = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0
        return bool(of_row[ids == target].sum() < np.bincount(target, of_row).max() * (1 - 1e-9))

    def _fit(
        self: Self,
        X: Any,
        y: Any,
        sample_weight: Any,
        start: tuple[Any, Any],
        incremental: bool,
        classes: Any,
    ) -> Self:
        device = self._resolve_device(X)
        with self._unless_it_fails():
            reset = not incremental or "classes_" not in self.__dict__
            given_y = y
            X, y = validate(self, X, y, reset=reset, accept_sparse=True)
            validate_labels(self, y)
            if reset:
                self._store_classes(np.unique(y) if classes is None else classes, given_y)
            known = to_host(self.classes_)
            if len(known) < 2:
                raise ValueError(
                    self._prefix(f"The number of classes has to be greater than one; got {len(known)} class")
                )
            unseen = np.setdiff1d(y, known)
            if unseen.size:
                raise ValueError(
                    self._prefix(f"`y` has classes not in `self.classes_`: {unseen} are not among {known}")
                )
            weights = validate_weights(self, sample_weight, X, all_zero=incremental)
            if not incremental:
                self._forget()
            if "t_" not in self.__dict__:
                self.t_ = 1.0
            n_outputs = 1 if len(known) == 2 else len(known)
            self._set_start(*start, (n_outputs, X.shape[1]), X.dtype)
            data = X, np.searchsorted(known, y).astype(np.int64), weights
            class_weight = self._weights_of_outputs(data[1], known, X.dtype)
            self._train(data, class_weight, n_outputs, 1 if incremental else self.max_iter, device)
        return self

    def _weights_of_outputs(self, ids: Array, classes: Array, dtype: np.dtype[Any]) -> Array | None:
        """Return the class weights of each output's negative (row 0) and positive (row 1) targets, of shape (2, k)."""
        if self.class_weight is None:
            return None
        weights = class_weights(self.class_weight, classes, ids, None, type(self).__name__)
        pairs = np.ones((2, 1 if len(classes) == 2 else len(classes)), dtype)
        if len(classes) == 2:
            pairs[:, 0] = weights
        else:
            pairs[1] = weights
        return pairs

    def fit(
        self: Self,
        X: Any,
        y: Any,
        coef_init: Any = None,
        intercept_init: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs; float32 stays float32, everything else becomes float64.
        y : array-like of shape (n_samples,)
            Class labels: numbers or strings.
        coef_init, intercept_init : array-like, default=None
            Initial coefficients and intercepts; None for zeros, or with `warm_start` the last solution.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, at least 0.

        Returns
        -------
        estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, y, the weights or a parameter are not as described.
        DivergenceError
            If a coefficient becomes infinite or NaN; the model is as it was before.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` epochs do not suffice, or a constant would predict the training samples better.
        """
        self._validate_params()
        self._check_parameters(incremental=False)
        self._fit(X, y, sample_weight, (coef_init, intercept_init), incremental=False, classes=None)
        self._warn_if_not_converged()
        return self

    def partial_fit(self: Self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Continue the training: take one step for each of the given samples.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            Class labels.
        classes : array-like of shape (n_classes,), default=None
            All classes that occur in any call; required in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            As for `fit`, and if `classes` is missing in the first call, changes later, or lacks a label of y.
        DivergenceError
            As for `fit`.
        """
        self._validate_params()
        self._check_parameters(incremental=True)
        if isinstance(self.class_weight, str):
            raise ValueError(
                self._prefix(
                    f"class_weight '{self.class_weight}' is not supported for partial_fit. In order to use 'balanced' "
                    "weights, use compute_class_weight('balanced', classes=classes, y=y). In place of y you can use a "
                    "large enough sample of the full training set target to properly estimate the class frequency "
                    "distributions. Pass the resulting weights as the class_weight parameter."
                )
            )
        labels = labels_of_stream(self, classes, self.__dict__.get("classes_"))
        return self._fit(X, y, sample_weight, (None, None), incremental=True, classes=labels)


class SGDClassifier(StochasticClassifier):
    """Linear classifier trained by stochastic gradient descent, one step per sample.

    The hinge loss gives a linear support-vector machine, ``"log_loss"`` logistic regression, and ``"perceptron"`` the
    perceptron. Parameters, defaults and attributes are those of ``sklearn.linear_model.SGDClassifier``, with
    `batch_size` and `device` in addition. Steps are the same as scikit-learn's, and without shuffling so are the
    coefficients, up to rounding errors. More than two classes are trained one-versus-rest, all in the same pass.

    Parameters
    ----------
    loss : str, default="hinge"
        ``"hinge"``, ``"log_loss"``, ``"modified_huber"``, ``"squared_hinge"``, ``"perceptron"``, ``"exponential"``, or
        a loss of `SGDRegressor`, with targets ±1.
    penalty : {"l2", "l1", "elasticnet", None}, default="l2"
        Penalty on the coefficients.
    alpha : float, default=1e-4
        Strength of the penalty, relative to the mean loss.
    l1_ratio : float, default=0.15
        Fraction of the L1 penalty in ``"elasticnet"``.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    max_iter : int, default=1000
        Largest number of epochs of `fit`.
    tol : float or None, default=1e-3
        Least decrease of an epoch's mean objective that counts as an improvement; None never stops early.
    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch.
    verbose : int, default=0
        Whether to print a line per epoch.
    epsilon : float, default=0.1
        Threshold of the Huber and epsilon-insensitive losses.
    n_jobs : int or None, default=None
        Accepted for compatibility; `steepest.set_num_threads` sets the number of threads.
    random_state : int, RandomState or None, default=None
        Seed of the sample orders and the validation split.
    learning_rate : str, default="optimal"
        Schedule of the learning rate in step t: ``"constant"``, `eta0`; ``"optimal"``, ``1 / (alpha (t + t0))``;
        ``"invscaling"``, ``eta0 / t^power_t``; ``"adaptive"``, `eta0`, divided by 5 on each plateau. ``"pa1"`` and
        ``"pa2"`` take passive-aggressive steps.
    eta0 : float, default=0.01
        Initial learning rate.
    power_t : float, default=0.5
        Exponent of the learning rate ``"invscaling"``.
    early_stopping : bool, default=False
        Whether the accuracy on held-out samples, instead of the objective, decides when to stop.
    validation_fraction : float, default=0.1
        Fraction of the samples to hold out for validation.
    n_iter_no_change : int, default=5
        Number of consecutive epochs without improvement after which to stop.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; ``"balanced"`` takes weights inversely proportional to the class frequencies.
    warm_start : bool, default=False
        Whether `fit` starts at the last solution.
    average : bool or int, default=False
        Whether to average the coefficients over the steps (averaged SGD); an integer is the first sample to average.
    batch_size : int, default=1
        Number of samples in a step. Above 1, a step follows the mean gradient of a mini-batch, and t counts steps.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device of the computation; ``"auto"`` takes the device of X.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, in the dtype and the array library of X.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    n_iter_ : int
        Number of epochs of the last fit, the largest of all classes.
    t_ : float
        Number of steps so far, plus 1.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, if X had names.
    device_ : str
        Device of the last fit.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **StochasticClassifier._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
        **SGD_PARAMETERS,
    }

    def __init__(
        self,
        loss: str = "hinge",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        n_jobs: int | None = None,
        random_state: Any = None,
        learning_rate: str = "optimal",
        eta0: float = 0.01,
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
        average: bool | int = False,
        batch_size: int = 1,
        device: str = "auto",
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.epsilon = epsilon
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.average = average
        self.batch_size = batch_size
        self.device = device

    @available_if(_gives_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """Predict class probabilities; for more than two classes, normalised one-versus-rest probabilities.

        For ``loss="modified_huber"``, the probability of a class is (1 + z) / 2, with the score z clipped to [-1, 1].

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities in the order of `classes_`, in the array library of X.
        """
        scores = self._linear_output(X)
        probabilities = _shares(scores) if self.loss == "modified_huber" else K.softmax(_logits(scores))
        return in_library_of(X, probabilities)

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """Predict log-probabilities of the classes; with the log loss they are finite even if a probability underflows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Logarithms of `predict_proba`, in the array library of X.
        """
        if self.loss == "log_loss":
            return in_library_of(X, K.log_softmax(_logits(self._linear_output(X))))
        with np.errstate(divide="ignore"):
            return in_library_of(X, np.log(to_host(self.predict_proba(X))))

"""`SGDRegressor`: linear regression by stochastic gradient descent."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.model_selection import ShuffleSplit
from sklearn.utils._param_validation import StrOptions

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import to_host
from steepest.estimators.linear_classifier import SparseCoefficients
from steepest.estimators.validation import validate, validate_weights

from ._sgd_base import SGD_PARAMETERS, StochasticLinearModel

_LOSSES = {"squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"}


class SGDRegressor(RegressorMixin, SparseCoefficients, StochasticLinearModel):
    """Linear regression trained by stochastic gradient descent, one step per sample.

    Parameters, defaults and attributes are those of ``sklearn.linear_model.SGDRegressor``, with `batch_size` and
    `device` in addition. Steps are the same as scikit-learn's, and without shuffling so are the coefficients, up to
    rounding errors.

    Parameters
    ----------
    loss : str, default="squared_error"
        ``"squared_error"`` (half the squared error), ``"huber"`` with the threshold `epsilon`,
        ``"epsilon_insensitive"`` (linear support-vector regression) or ``"squared_epsilon_insensitive"``.
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
    random_state : int, RandomState or None, default=None
        Seed of the sample orders and the validation split.
    learning_rate : {"constant", "optimal", "invscaling", "adaptive"}, default="invscaling"
        Schedule of the learning rate in step t: ``"constant"``, `eta0`; ``"optimal"``, ``1 / (alpha (t + t0))``;
        ``"invscaling"``, ``eta0 / t^power_t``; ``"adaptive"``, `eta0`, divided by 5 on each plateau.
    eta0 : float, default=0.01
        Initial learning rate.
    power_t : float, default=0.25
        Exponent of the learning rate ``"invscaling"``.
    early_stopping : bool, default=False
        Whether the score on held-out samples, instead of the objective, decides when to stop.
    validation_fraction : float, default=0.1
        Fraction of the samples to hold out for validation.
    n_iter_no_change : int, default=5
        Number of consecutive epochs without improvement after which to stop.
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
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the dtype and the array library of X.
    intercept_ : ndarray of shape (1,)
        Intercept.
    n_iter_ : int
        Number of epochs of the last fit.
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
        **StochasticLinearModel._parameter_constraints,
        "loss": [StrOptions(_LOSSES)],
        **SGD_PARAMETERS,
    }
    _aggressive_loss = "epsilon_insensitive"

    def __init__(
        self,
        loss: str = "squared_error",
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
        random_state: Any = None,
        learning_rate: str = "invscaling",
        eta0: float = 0.01,
        power_t: float = 0.25,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
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
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.average = average
        self.batch_size = batch_size
        self.device = device

    def _split(self, y: Array, weights: Array | None) -> tuple[Array, Array]:
        splitter = ShuffleSplit(test_size=self.validation_fraction, random_state=self.random_state)
        train, held_out = next(splitter.split(np.zeros((len(y), 1))))
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
        return np.array([r2_score(target, outputs[:, 0], sample_weight=weights)])

    def _is_worse_than_a_constant(self, outputs: Array, target: Array, weights: Array | None) -> bool:
        # Descent starts at 0. A fit with more than twice the squared error of predicting 0 has diverged.
        target = target.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            error, at_zero = (np.average(e**2, weights=weights) for e in (target - outputs[:, 0], target))
        return not error <= 2.0 * at_zero

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, start: tuple[Any, Any], incremental: bool
    ) -> SGDRegressor:
        device = self._resolve_device(X)
        with self._unless_it_fails():
            reset = not incremental or self.__dict__.get("coef_") is None
            X, y = validate(self, X, y, reset=reset, accept_sparse=True, y_numeric=True)
            weights = validate_weights(self, sample_weight, X, all_zero=incremental)
            if not incremental:
                self._forget()
            if "t_" not in self.__dict__:
                self.t_ = 1.0
            self._set_start(*start, (1, X.shape[1]), X.dtype)
            data = X, y.astype(X.dtype, copy=False), weights
            self._train(data, None, 1, 1 if incremental else self.max_iter, device)
        return self

    def _store_model(self, coef: Array, intercept: Array) -> None:
        self.coef_, self.intercept_ = coef.reshape(-1), intercept

    def fit(
        self, X: Any, y: Any, coef_init: Any = None, intercept_init: Any = None, sample_weight: Any = None
    ) -> SGDRegressor:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs; float32 stays float32, everything else becomes float64.
        y : array-like of shape (n_samples,)
            Targets.
        coef_init, intercept_init : array-like, default=None
            Initial coefficients and intercepts; None for zeros, or with `warm_start` the last solution.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, at least 0.

        Returns
        -------
        SGDRegressor
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
        self._fit(X, y, sample_weight, (coef_init, intercept_init), incremental=False)
        self._warn_if_not_converged()
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> SGDRegressor:
        """Continue the training: take one step for each of the given samples.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        SGDRegressor
            The fitted estimator.

        Raises
        ------
        ValueError, DivergenceError
            As for `fit`.
        """
        self._validate_params()
        self._check_parameters(incremental=True)
        return self._fit(X, y, sample_weight, (None, None), incremental=True)

    def predict(self, X: Any) -> Array:
        """Predict targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predictions, in the array library of X.
        """
        output = self._outputs(X)
        return output if output.ndim == 1 else output[:, 0]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R^2 of `predict`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            The score ``1 - sum (y - prediction)^2 / sum (y - mean)^2``.
        """
        return float(r2_score(to_host(y), to_host(self.predict(X)), sample_weight=to_host(sample_weight)))

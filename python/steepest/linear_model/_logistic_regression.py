"""`LogisticRegression`: logistic regression for two classes, softmax regression for more."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Hidden, Interval, StrOptions

from steepest._cpu import DivergenceError
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device, to_host
from steepest.estimators.class_weights import class_weights
from steepest.estimators.data import to_estimator_device
from steepest.estimators.labels import number_labels
from steepest.estimators.linear_classifier import LogisticClassifier, SparseCoefficients
from steepest.estimators.linear_model import DEVICE
from steepest.estimators.validation import validate, validate_labels, validate_weights

from ._penalties import resolve_penalty
from .solvers.batch_modes import BATCH_MODE_PARAMETERS, BATCH_MODES, Descent
from .solvers.column_samples import ColumnSample
from .solvers.gradient_descent import Descended
from .solvers.logistic import minimize_by_descent, minimize_by_newton, minimize_smooth, minimize_with_l1
from .solvers.logistic_objective import LogisticObjective
from .solvers.quasi_newton import Minimum
from .solvers.tolerance import ROUNDING, gradient_tolerance, remote_centre

SOLVERS = ("lbfgs", "liblinear", "natural", "newton-cg", "newton-cholesky", "sag", "saga", *BATCH_MODES)
# Solvers with Newton's method: the Hessian of a linear model's log-loss is its Fisher matrix.
_NEWTON = ("natural", "newton-cg", "newton-cholesky")


class LogisticRegression(LogisticClassifier, SparseCoefficients):
    """Logistic regression for two classes, softmax regression for more.

    Minimises ``C * sum_i s_i loss_i + (1 - l1_ratio) / 2 |w|^2 + l1_ratio |w|_1`` with negative log-likelihoods as
    losses. Parameters, defaults and attributes are those of ``sklearn.linear_model.LogisticRegression``, with `device`
    and the options of gradient descent in addition. Every solver minimises the same objective as scikit-learn's solver
    of the same name, by a method that needs few passes over X.

    Parameters
    ----------
    penalty : {"l2", "l1", "elasticnet", None}
        Deprecated, as in scikit-learn; use `l1_ratio` and `C` instead.
    C : float, default=1.0
        Inverse of the strength of the penalty; ``np.inf`` for no penalty.
    l1_ratio : float, default=0.0
        Fraction of the L1 penalty: 0 for ridge, 1 for the lasso, which sets some coefficients to exactly zero.
    dual : bool, default=False
        Accepted with ``solver="liblinear"`` and an L2 penalty; it does not change the solution.
    tol : float, default=1e-4
        Infinity norm of the gradient of the mean objective at which to stop; with an L1 penalty, of its smallest
        subgradient. For features with a standard deviation below 1, the tolerance is `tol` times that deviation.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    intercept_scaling : float, default=1
        Value of the constant input of the intercept for ``solver="liblinear"``, which penalises the intercept.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; ``"balanced"`` takes weights inversely proportional to the class frequencies.
    random_state : int, RandomState or None, default=None
        Seed of the sampled rows from which solvers compute initial values and curvature, and of the sample orders. The
        solution does not depend on it beyond `tol`.
    solver : str, default="lbfgs"
        - ``"lbfgs"``, ``"sag"``: L-BFGS, preconditioned by the Hessian of a sample; L2 penalty or none. For at most
          128 parameters and fewer than 8,192 rows it is Newton's method, which takes less time there.
        - ``"natural"``: the natural gradient, each step the solution with the Fisher matrix (Fisher scoring). For this
          model it is Newton's method, or iteratively reweighted least squares: ``"newton-cholesky"``, ``"newton-cg"``.
          Of many rows, the start is found on samples of them.
        - ``"saga"``: as ``"lbfgs"``, and proximal Newton steps for an L1 penalty or a mixture of both.
        - ``"liblinear"``: the same for two classes, with a penalised intercept.
        - ``"batch"``, ``"mini-batch"``, ``"stochastic"``: gradient descent by steps on all rows, some, or one.
    max_iter : int, default=100
        Largest number of iterations, or of epochs for gradient descent.
    verbose : int, default=0
        Whether to print a line per iteration.
    warm_start : bool, default=False
        Whether `fit` starts at the last solution.
    n_jobs : None
        Deprecated, as in scikit-learn.
    rule : {"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"}, default="nesterov"
        Update rule of gradient descent, by its name in `steepest.optim`; with an L1 penalty, one of the first three.
    learning_rate_init : float or None, default=None
        Initial learning rate of gradient descent. None takes the largest rate that the curvature of the loss allows, or
        0.05 for rules that scale the gradient.
    momentum : float, default=0.9
        Decay of the velocity, for the rules ``"momentum"`` and ``"nesterov"``.
    batch_size : int, default=32
        Number of rows in a step of ``"mini-batch"``.
    n_iter_no_change : int, default=5
        Number of consecutive epochs without a decrease of the objective after which the learning rate is divided by 5.
        Full-batch steps of ``"sgd"``, ``"momentum"`` and ``"nesterov"`` keep their rate.
    shuffle : bool, default=True
        Whether ``"mini-batch"`` and ``"stochastic"`` shuffle the samples before each epoch.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device of the passes over X; ``"auto"`` takes the device of X.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, in the dtype and the array library of X.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts; zeros if `fit_intercept` is False.
    n_iter_ : ndarray of shape (1,)
        Number of iterations over all rows.
    loss_curve_ : list of float
        Mean objective after each epoch of gradient descent; not set by the other solvers.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, if X had names.
    device_ : str
        Device of the last fit.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from steepest.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> round(LogisticRegression().fit(X, y).score(X, y), 2)
    0.97
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "penalty": [StrOptions({"l1", "l2", "elasticnet"}), None, Hidden(StrOptions({"deprecated"}))],
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "dual": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "random_state": ["random_state"],
        "solver": [StrOptions(set(SOLVERS))],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "n_jobs": [None, Integral],
        **BATCH_MODE_PARAMETERS,
        **DEVICE,
    }

    def __init__(
        self,
        penalty: str | None = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
        rule: str = "nesterov",
        learning_rate_init: float | None = None,
        momentum: float = 0.9,
        batch_size: int = 32,
        n_iter_no_change: int = 5,
        shuffle: bool = True,
        device: str = "auto",
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.rule = rule
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.batch_size = batch_size
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.device = device

    # ---------------------------------------------------------------------------------------------- checking

    def _check_labels(self, y: Array) -> tuple[Array, Array]:
        validate_labels(self, y)
        classes, ids = number_labels(y)
        if len(classes) < 2:
            raise ValueError(
                self._prefix(
                    "This solver needs samples of at least 2 classes in the data, but the data contains only one "
                    f"class: {classes[0]!r}"
                )
            )
        if self.solver == "liblinear" and len(classes) > 2:
            raise ValueError(
                self._prefix(
                    "Only binary classification is supported. The type of the target is multiclass. "
                    "The 'liblinear' solver does not support multiclass classification (n_classes >= 3). Either "
                    "use another solver or wrap the estimator in a OneVsRestClassifier to keep applying a "
                    "one-versus-rest scheme."
                )
            )
        return classes, ids.astype(np.int64, copy=False)

    # ----------------------------------------------------------------------------------------------- fitting

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LogisticRegression:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs; float32 stays float32, everything else becomes float64.
        y : array-like of shape (n_samples,)
            Class labels: numbers or strings.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, at least 0.

        Returns
        -------
        LogisticRegression
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, y, the weights or a parameter are not as described; the message names the first item of X that is
            not finite.
        DivergenceError
            If the objective of finite data is not finite, which leaves an earlier fit unchanged; or if gradient descent
            diverges, which keeps the last finite coefficients.
        """
        self._validate_params()
        penalty = resolve_penalty(self)
        if self.n_jobs is not None:
            warnings.warn(
                f"'n_jobs' has no effect. You provided 'n_jobs={self.n_jobs}', please leave it unspecified.",
                FutureWarning,
                stacklevel=2,
            )
        device = self._resolve_device(X)
        given, given_y = X, y
        X, y = validate(self, X, y, reset=True, accept_sparse=True, finite=self.solver in BATCH_MODES)
        classes, ids = self._check_labels(y)
        weights = self._row_weights(X, y, classes, ids, sample_weight)
        cupy_input = is_cupy(X)
        if not scipy.sparse.issparse(X):
            X, ids, weights = to_estimator_device((X, ids, weights), device, type(self).__name__)
        total = X.shape[0] if weights is None else float(weights.sum(dtype=np.float64))
        scaled = self.solver == "liblinear"
        columns = ColumnSample.of(X, weights)
        tol = gradient_tolerance(float(self.tol), columns, X.dtype)
        # Centring the features would change a penalised intercept, and the steps of gradient descent.
        movable = self.fit_intercept and not scaled and self.solver not in BATCH_MODES
        centre = remote_centre(tol, columns, X.dtype, by_coordinates=penalty.l1 > 0) if movable else None
        # Numbers that are not finite are found by the value of the objective.
        with np.errstate(invalid="ignore"):
            objective = LogisticObjective(
                X,
                ids,
                len(classes),
                weights,
                l2=penalty.l2 / total,
                intercept=float(self.intercept_scaling if scaled else 1.0) if self.fit_intercept else 0.0,
                l2_intercept=penalty.l2 / total if scaled else 0.0,
                centre=centre,
                sizes=columns.sizes(centre),
            )
        l1 = np.full((objective.shape[0], 1), penalty.l1 / total)
        if not scaled:
            l1[objective.d :] = 0.0
        start = self._start(objective, classes)
        descended: Descended | None = None
        if self.solver in BATCH_MODES:
            descent = Descent.of(self, bool(self.verbose))
            minimum, descended = minimize_by_descent(
                objective, start, penalty.l1 / total, descent, type(self).__name__
            )
        else:
            minimum = self._minimise(objective, start, l1 if penalty.l1 else None, tol)
        if not np.isfinite(minimum.value):
            # Validation names the item of X that is not finite, if there is one.
            validate(self, given, given_y, reset=True, accept_sparse=True)
            raise DivergenceError(
                self._prefix(
                    "the objective is not finite: scale the inputs, for instance with "
                    "sklearn.preprocessing.StandardScaler"
                )
            )
        self._store_classes(classes, given_y)
        self.device_ = device
        self._store(objective, minimum, X.dtype, cupy_input)
        self.__dict__.pop("loss_curve_", None)
        if descended is not None:
            self.loss_curve_ = descended.loss_curve
            if descended.error is not None:
                raise descended.error
        self._warn_unless_converged(minimum)
        return self

    def _row_weights(self, X: Any, y: Array, classes: Array, ids: Array, sample_weight: Any) -> Array | None:
        weights = validate_weights(self, sample_weight, X)
        if self.class_weight is None:
            return weights
        by_class = class_weights(self.class_weight, classes, ids, weights, type(self).__name__)
        rows: Array = by_class.astype(X.dtype)[ids]
        return rows if weights is None else rows * weights

    def _start(self, objective: LogisticObjective, classes: Array) -> Float64Array | None:
        """Return the last solution if `warm_start` is set and there is one, else None."""
        coef = self.__dict__.get("coef_") if self.warm_start else None
        if coef is None:
            return None
        coef = np.atleast_2d(to_host(coef.toarray() if scipy.sparse.issparse(coef) else coef))
        if coef.shape != (objective.shape[1], objective.d):
            raise ValueError(
                self._prefix(
                    f"warm_start needs as many features and classes as before: coef_ has shape {coef.shape}, "
                    f"expected {(objective.shape[1], objective.d)}"
                )
            )
        start = np.zeros(objective.shape)
        start[: objective.d] = coef.T
        if objective.intercept:
            start[objective.d :] = to_host(self.intercept_) / objective.intercept
        return objective.centred(start)

    def _minimise(
        self, objective: LogisticObjective, start: Float64Array | None, l1: Any, tol: Array
    ) -> Minimum:
        if objective.intercept:
            tol = np.append(tol, max(float(self.tol), ROUNDING * objective.eps * objective.intercept))
        options: dict[str, Any] = {
            "tol": tol[:, None],
            "max_iter": int(self.max_iter),
            "seed": int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            "report": self._report if self.verbose else None,
        }
        if l1 is not None:
            return minimize_with_l1(objective, start, l1, **options)
        if self.solver in _NEWTON:
            return minimize_by_newton(objective, start, **options)
        return minimize_smooth(objective, start, **options)

    def _warn_unless_converged(self, minimum: Minimum) -> None:
        if minimum.converged:
            return
        if minimum.n_iter < self.max_iter:
            reason = f"rounding keeps the gradient above tol={self.tol}. Scale the data, or raise tol."
        else:
            reason = (
                "the max_iter was reached which means the coef_ did not converge. Increase the number of iterations "
                f"(max_iter={self.max_iter}) or scale the data."
            )
        warnings.warn(
            f"{self.solver} failed to converge after {minimum.n_iter} iteration(s): {reason}",
            ConvergenceWarning,
            stacklevel=3,
        )

    def _report(self, n_iter: int, value: float, gradient: float) -> None:
        print(
            f"Iteration {n_iter}, objective = {value:.8f}, largest component of the gradient = {gradient:.2e}"
        )

    def _store(
        self, objective: LogisticObjective, minimum: Minimum, dtype: np.dtype[Any], cupy: bool
    ) -> None:
        library = "cuda" if cupy else "cpu"
        d, theta = objective.d, objective.uncentred(minimum.point)
        coef = np.ascontiguousarray(theta[:d].T.astype(dtype))
        intercept = objective.intercept * theta[d:].sum(axis=0)
        if len(intercept) > 1:
            # Softmax does not depend on a constant added to all intercepts: they are shifted to mean zero.
            intercept = intercept - intercept.mean()
        self.coef_ = to_device(coef, library)
        self.intercept_ = to_device(intercept.astype(dtype), library)
        self.n_iter_ = np.array([minimum.n_iter], np.int32)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if self.solver == "liblinear":
            tags.classifier_tags.multi_class = False
        return tags

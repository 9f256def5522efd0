"""`LinearRegression`: linear least squares and ridge regression."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions

from steepest import nn
from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device, to_host
from steepest.estimators.data import to_estimator_device
from steepest.estimators.linear_model import DEVICE, LinearModel
from steepest.estimators.validation import validate, validate_weights

from .solvers.batch_modes import BATCH_MODE_PARAMETERS, BATCH_MODES, Descent, Objective
from .solvers.gradient_descent import descend
from .solvers.least_squares import Problem, Solution, solve
from .solvers.sparse_least_squares import affordable_steps, solve_sparse

# Number of columns d above which LSQR solves for a sparse X, instead of forming a (d, d) matrix of moments.
_MOST_DENSE_COLUMNS = 4096
# Most steps of LSQR, as a multiple of min(n_samples, n_features).
_STEPS_OF_LSQR = 4


class LinearRegression(MultiOutputMixin, RegressorMixin, LinearModel):
    """Linear regression by least squares, with an optional ridge penalty.

    Minimises ``sum_i s_i |y_i - x_i w - b|^2 + alpha |w|^2`` over coefficients w and intercept b. Parameters, defaults
    and attributes are those of ``sklearn.linear_model.LinearRegression``, with `alpha`, `device` and the options of
    gradient descent in addition. Of several solutions, the closed form returns the one of minimum norm.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    copy_X : bool, default=True
        Accepted for compatibility; X is never overwritten.
    tol : float, default=1e-6
        The closed form treats singular values of X below ``tol`` times the largest as zero, where X has columns centred
        and scaled to unit norm. With a ridge penalty it treats none as zero. `tol` is also the tolerance of LSQR, which
        solves for a sparse X with many columns. Gradient descent stops when the infinity norm of the gradient of the
        mean objective is at most ``tol`` times the standard deviation of y.
    n_jobs : int or None, default=None
        Accepted for compatibility; `steepest.set_num_threads` sets the number of threads.
    positive : bool, default=False
        Whether to constrain the coefficients to be at least 0.
    alpha : float, default=0.0
        Strength of the ridge penalty, as in ``sklearn.linear_model.Ridge``.
    solver : {"auto", "closed", "natural", "batch", "mini-batch", "stochastic"}, default="auto"
        ``"closed"`` uses normal equations or QR factors, and so does ``"auto"``. ``"natural"`` takes one step of the
        natural gradient, which gives the same solution. ``"batch"``, ``"mini-batch"`` and ``"stochastic"`` are gradient
        descent by steps on all rows, some, or one; standardise X for them.
    rule : {"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"}, default="nesterov"
        Update rule of gradient descent, by its name in `steepest.optim`.
    learning_rate_init : float or None, default=None
        Initial learning rate of gradient descent. None takes the largest rate that the curvature of the objective
        allows, or for rules that scale the gradient 0.05 times the standard deviation of y.
    momentum : float, default=0.9
        Decay of the velocity, for the rules ``"momentum"`` and ``"nesterov"``.
    batch_size : int, default=32
        Number of rows in a step of ``"mini-batch"``.
    n_iter_no_change : int, default=5
        Number of consecutive epochs without a decrease of the objective after which the learning rate is divided by 5.
        Full-batch steps of ``"sgd"``, ``"momentum"`` and ``"nesterov"`` keep their rate.
    shuffle : bool, default=True
        Whether ``"mini-batch"`` and ``"stochastic"`` shuffle the samples before each epoch.
    max_iter : int, default=1000
        Largest number of epochs of gradient descent.
    random_state : int, RandomState or None, default=None
        Seed of the sample orders.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device of the computation; ``"auto"`` takes the device of X. Passes over X run there; the CPU
        factorises matrices of shape (n_features, n_features).

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, in the dtype and the array library of X.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercepts.
    rank_ : int
        Rank of the centred, weighted X; not set with `positive`, by gradient descent or by LSQR for a sparse X.
    singular_ : ndarray of shape (min(n_samples, n_features),)
        Singular values of the centred, weighted X in descending order; set if `rank_` is.
    n_iter_ : int
        Number of epochs of gradient descent; 1 for the closed form.
    loss_curve_ : list of float
        Half the mean squared error plus the penalty after each epoch of gradient descent; not set by the closed form.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, if X had names.
    device_ : str
        Device of the last fit.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest.linear_model import LinearRegression
    >>> X = np.array([[1.0], [2.0], [4.0]])
    >>> model = LinearRegression().fit(X, 3 * X[:, 0] + 1)
    >>> bool(np.isclose(model.predict([[5.0]])[0], 16.0))
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "fit_intercept": ["boolean"],
        "copy_X": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [None, Integral],
        "positive": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions({"auto", "closed", "natural", *BATCH_MODES})],
        **BATCH_MODE_PARAMETERS,
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        **DEVICE,
    }

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        tol: float = 1e-6,
        n_jobs: int | None = None,
        positive: bool = False,
        alpha: float = 0.0,
        solver: str = "auto",
        rule: str = "nesterov",
        learning_rate_init: float | None = None,
        momentum: float = 0.9,
        batch_size: int = 32,
        n_iter_no_change: int = 5,
        shuffle: bool = True,
        max_iter: int = 1000,
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.tol = tol
        self.n_jobs = n_jobs
        self.positive = positive
        self.alpha = alpha
        self.solver = solver
        self.rule = rule
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.batch_size = batch_size
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.max_iter = max_iter
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearRegression:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs; float32 stays float32, everything else becomes float64.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, at least 0.

        Returns
        -------
        LinearRegression
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, y, the weights or a parameter are not as described; the message names the first item of X that is
            not finite.
        DivergenceError
            If gradient descent diverges; the last finite coefficients are kept.
        """
        self._validate_params()
        descending = self.solver in BATCH_MODES
        if descending and self.positive:
            raise ValueError(
                self._prefix(f"positive=True is for the closed form, not for solver={self.solver!r}")
            )
        device = self._resolve_device(X)
        options: dict[str, Any] = {"y_numeric": True, "multi_output": True}
        given = X
        X, y = validate(self, X, y, reset=True, accept_sparse=not self.positive, finite=descending, **options)
        weights = validate_weights(self, sample_weight, X)
        targets = np.asarray(y, dtype=X.dtype).reshape(len(y), -1)
        cupy_input = is_cupy(X)
        if not scipy.sparse.issparse(X):
            X, targets, weights = to_estimator_device((X, targets, weights), device, type(self).__name__)
        for name in ("rank_", "singular_", "loss_curve_"):
            self.__dict__.pop(name, None)
        if descending:
            self.device_ = device
            self._descend(X, targets, weights, flat=y.ndim == 1, cupy=cupy_input)
            return self
        # Infinite or NaN entries are detected in the solution.
        with np.errstate(invalid="ignore", over="ignore"):
            solution = self._solve(Problem(X, targets, weights, self.fit_intercept, device))
        if solution is None:
            # Validation names the item of X that is not finite. If all items are finite, their sums overflow.
            validate(self, given, y, reset=True, accept_sparse=not self.positive, **options)
            raise ValueError(self._prefix("sums of the numbers in X or y overflow; scale them"))
        self.device_, self.n_iter_ = device, 1
        self._store(solution, X.dtype, flat=y.ndim == 1, cupy=cupy_input)
        return self

    def _store(self, solution: Solution, dtype: np.dtype[Any], *, flat: bool, cupy: bool) -> None:
        library = "cuda" if cupy else "cpu"
        coef, intercept = solution.coef.T.astype(dtype), solution.intercept.astype(dtype)
        self.coef_ = to_device(np.ascontiguousarray(coef[0] if flat else coef), library)
        if not self.fit_intercept:
            self.intercept_: Any = 0.0
        else:
            self.intercept_ = intercept[0] if flat else to_device(intercept, library)
        if solution.rank is not None and solution.singular is not None:
            self.rank_ = solution.rank
            self.singular_ = to_device(solution.singular.astype(dtype), library)

    def _descend(self, X: Any, targets: Array, weights: Array | None, *, flat: bool, cupy: bool) -> None:
        """Fit by gradient descent, starting at zero coefficients and the mean of the targets."""
        total = len(targets) if weights is None else float(weights.sum(dtype=np.float64))
        start = np.zeros((X.shape[1], targets.shape[1])), np.zeros(targets.shape[1])
        if self.fit_intercept:
            start = start[0], np.average(to_host(targets).astype(np.float64), 0, to_host(weights))
        loss = nn.MeanSquaredError(half=True, reduction="sum")
        objective = Objective(
            X,
            targets,
            weights,
            loss,
            len(start[1]),
            self.fit_intercept,
            self.alpha / total,
            0.0,
            self.device_,
        )
        found = descend(objective, Descent.of(self), start, type(self).__name__)
        self._store(Solution(found.coef, found.intercept, None, None), X.dtype, flat=flat, cupy=cupy)
        self.n_iter_, self.loss_curve_ = found.n_iter, found.loss_curve
        if found.error is not None:
            raise found.error
        if not found.converged:
            warnings.warn(
                f"Gradient descent did not converge in {found.n_iter} epochs: increase max_iter={self.max_iter}, or "
                "scale the inputs, for instance with sklearn.preprocessing.StandardScaler",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _solve(self, problem: Problem) -> Solution | None:
        """Return the solution of the closed form, or None if numbers overflow or are not finite."""
        alpha, tol = float(self.alpha), float(self.tol)
        if scipy.sparse.issparse(problem.X):
            if problem.d > _MOST_DENSE_COLUMNS:
                steps = _STEPS_OF_LSQR * min(problem.n, problem.d)
                found, solved = solve_sparse(problem, alpha=alpha, tol=tol, most_steps=steps)
                if found is not None and not solved:
                    warnings.warn(
                        f"LSQR did not converge to tol={self.tol} in {steps} steps: scale the columns of X, for "
                        "instance with sklearn.preprocessing.MaxAbsScaler, or raise tol",
                        ConvergenceWarning,
                        stacklevel=4,
                    )
                return found
            if steps := affordable_steps(problem):
                found, solved = solve_sparse(problem, alpha=alpha, tol=0.0, most_steps=steps)
                if solved:
                    return found
        return solve(problem, alpha=alpha, tol=tol, positive=self.positive)

    def predict(self, X: Any) -> Array:
        """Predict targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions, in the array library of X.
        """
        return self._outputs(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R^2 of `predict`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            The score ``1 - sum (y - prediction)^2 / sum (y - mean)^2``.
        """
        return float(r2_score(to_host(y), to_host(self.predict(X)), sample_weight=to_host(sample_weight)))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.positive
        return tags

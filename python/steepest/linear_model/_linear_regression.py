"""Linear least squares and ridge regression."""

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
from steepest._estimators.data import to_estimator_device
from steepest._estimators.linear_model import DEVICE, LinearModel
from steepest._estimators.validation import validate, validate_weights
from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device, to_host

from ._batch_modes import BATCH_MODE_PARAMETERS, BATCH_MODES, Descent, Objective
from ._gradient_descent import descend
from ._least_squares import Problem, Solution, solve
from ._sparse_least_squares import affordable_steps, solve_sparse

# A sparse X with more columns than this is not multiplied out to a (d, d) matrix of moments.
_MOST_DENSE_COLUMNS = 4096
# The most steps of LSQR, for each of the rows or columns, whichever are fewer.
_STEPS_OF_LSQR = 4


class LinearRegression(MultiOutputMixin, RegressorMixin, LinearModel):
    """Linear regression by least squares, with an optional ridge penalty.

    Minimises ``sum_i s_i |y_i - x_i w - b|^2 + alpha |w|^2`` over coefficients w and intercept b. Parameters, defaults
    and attributes are those of ``sklearn.linear_model.LinearRegression``, `alpha`, `device`, and those of gradient
    descent. Of several solutions, the closed form returns the one with the smallest coefficients.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether there is an intercept.
    copy_X : bool, default=True
        Accepted for compatibility: X is never written to.
    tol : float, default=1e-6
        Singular values of the centred columns of X, scaled to unit norm, below ``tol`` times the largest count as zero;
        with a ridge penalty none does. Also the tolerance of LSQR, for a sparse X of many columns. Gradient descent
        stops where the largest component of the gradient of the mean objective is at most ``tol`` times the standard
        deviation of y.
    n_jobs : int or None, default=None
        Accepted for compatibility: the number of threads is `steepest.set_num_threads`.
    positive : bool, default=False
        Whether coefficients must not be negative.
    alpha : float, default=0.0
        Ridge penalty, as that of ``sklearn.linear_model.Ridge``.
    solver : {"auto", "closed", "natural", "batch", "mini-batch", "stochastic"}, default="auto"
        ``"closed"``: normal equations or orthogonal factors, also what ``"auto"`` takes; ``"natural"``: the natural
        gradient, of which one step, with the Fisher matrix, is that same solution; or gradient descent by steps on all
        rows, some, or one, for which X should be standardised.
    rule : {"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"}, default="nesterov"
        Rule of gradient descent, by its name in `steepest.optim`.
    learning_rate_init : float or None, default=None
        Its first rate; None for the largest that the curvature of the objective allows.
    momentum : float, default=0.9
        Of ``"momentum"`` and ``"nesterov"``.
    batch_size : int, default=32
        Rows of a step of ``"mini-batch"``.
    n_iter_no_change : int, default=5
        Epochs in a row without a fall of the objective after which the rate is divided by 5; plain steps on all
        rows keep theirs.
    shuffle : bool, default=True
        Whether each epoch of ``"mini-batch"`` and ``"stochastic"`` has an order of its own.
    max_iter : int, default=1000
        The most epochs of gradient descent.
    random_state : int, RandomState or None, default=None
        Seeds the orders.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to compute; ``"auto"`` is where X lies. Passes over X are made there, matrices of (n_features, n_features)
        are factorised on the CPU.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, of the dtype of X and in its library.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercepts.
    rank_ : int
        Rank of the centred, weighted X; not there for `positive`, for gradient descent, nor for a sparse X that LSQR
        solved.
    singular_ : ndarray of shape (min(n_samples, n_features),)
        Its singular values, descending; there where `rank_` is.
    n_iter_ : int
        Epochs of gradient descent; 1 for the closed form.
    loss_curve_ : list of float
        Half the mean squared error, with the penalty, after each epoch of gradient descent; not there for the closed
        form.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, where X had names.
    device_ : str
        Where it was fitted.

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
            Weights of the samples, not negative.

        Returns
        -------
        LinearRegression
            Itself.

        Raises
        ------
        ValueError
            Where X, y, the weights or a parameter are not as described; the message names the first item of X that is
            not finite.
        DivergenceError
            Where gradient descent diverged; the last finite coefficients are kept.
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
        # Numbers that are not finite are found by what comes of them.
        with np.errstate(invalid="ignore", over="ignore"):
            solution = self._solve(Problem(X, targets, weights, self.fit_intercept, device))
        if solution is None:
            # Says which item of X is not finite; where all are, sums of them overflow.
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
        """Fit by gradient descent, from the mean of the targets."""
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
        """Return the closed form's solution; None where the numbers overflow or are not finite."""
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
            Predictions, in the library of X.
        """
        return self._outputs(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination of `predict`.

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
            ``1 - sum (y - prediction)^2 / sum (y - mean)^2``.
        """
        return float(r2_score(to_host(y), to_host(self.predict(X)), sample_weight=to_host(sample_weight)))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.positive
        return tags

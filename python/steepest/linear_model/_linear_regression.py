"""Linear least squares and ridge regression."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse
import scipy.sparse.linalg
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval

from steepest._backends import is_cupy
from steepest._estimators.data import to_estimator_device
from steepest._estimators.validation import validate, validate_weights
from steepest._memory import to_device, to_host

from ._base import DEVICE, LinearModel
from ._least_squares import Problem, Solution, solve

Array = npt.NDArray[Any]

# A sparse X with more columns than this is not multiplied out to a (d, d) matrix of moments.
_MOST_DENSE_COLUMNS = 4096


class LinearRegression(MultiOutputMixin, RegressorMixin, LinearModel):
    """Linear regression by least squares, with an optional ridge penalty.

    Minimises ``sum_i s_i |y_i - x_i w - b|^2 + alpha |w|^2`` over coefficients w and intercept b. Parameters, defaults
    and attributes are those of ``sklearn.linear_model.LinearRegression``, and `alpha` and `device`. Of several
    solutions, the one with the smallest coefficients is returned.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether there is an intercept.
    copy_X : bool, default=True
        Accepted for compatibility: X is never written to.
    tol : float, default=1e-6
        Singular values of X below ``tol`` times the largest count as zero.
    n_jobs : int or None, default=None
        Accepted for compatibility: the number of threads is `steepest.set_num_threads`.
    positive : bool, default=False
        Whether coefficients must not be negative.
    alpha : float, default=0.0
        Ridge penalty, as that of ``sklearn.linear_model.Ridge``.
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
        Rank of the centred, weighted X; not there for `positive`, nor for a sparse X of many columns.
    singular_ : ndarray of shape (min(n_samples, n_features),)
        Its singular values, descending; there where `rank_` is.
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
        device: str = "auto",
    ) -> None:
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.tol = tol
        self.n_jobs = n_jobs
        self.positive = positive
        self.alpha = alpha
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
        """
        self._validate_params()
        device = self._resolve_device(X)
        options: dict[str, Any] = {"y_numeric": True, "multi_output": True}
        given = X
        X, y = validate(self, X, y, reset=True, accept_sparse=not self.positive, finite=False, **options)
        weights = validate_weights(self, sample_weight, X)
        targets = np.asarray(y, dtype=X.dtype).reshape(len(y), -1)
        cupy_input = is_cupy(X)
        if not scipy.sparse.issparse(X):
            X, targets, weights = to_estimator_device((X, targets, weights), device, type(self).__name__)
        # Numbers that are not finite are found by what comes of them.
        with np.errstate(invalid="ignore", over="ignore"):
            problem = Problem(X, targets, weights, self.fit_intercept, device)
            if scipy.sparse.issparse(X) and X.shape[1] > _MOST_DENSE_COLUMNS:
                solution: Solution | None = self._solve_iteratively(problem)
            else:
                solution = solve(
                    problem, alpha=float(self.alpha), tol=float(self.tol), positive=self.positive
                )
        if solution is None:
            # Says which item of X is not finite; where all are, sums of them overflow.
            validate(self, given, y, reset=True, accept_sparse=not self.positive, **options)
            raise ValueError(self._prefix("sums of the numbers in X or y overflow; scale them"))
        self.device_ = device
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
        for name in ("rank_", "singular_"):
            self.__dict__.pop(name, None)
        if solution.rank is not None and solution.singular is not None:
            self.rank_ = solution.rank
            self.singular_ = to_device(solution.singular.astype(dtype), library)

    def _solve_iteratively(self, problem: Problem) -> Solution:
        """LSQR (C. Paige and M. Saunders, 1982) on the centred X, which stays sparse."""
        X = problem.X
        n, d = X.shape
        root = (
            np.ones(n) if problem.sample_weight is None else np.sqrt(problem.sample_weight.astype(np.float64))
        )
        total = float(root @ root)
        x_mean, y_mean = np.zeros(d), np.zeros(problem.m)
        if self.fit_intercept:
            x_mean = np.asarray(X.T @ root**2) / total
            y_mean = (root**2) @ problem.Y.astype(np.float64) / total
        operator = scipy.sparse.linalg.LinearOperator(
            (n, d),
            matvec=lambda w: root * (X @ w - x_mean @ w),
            rmatvec=lambda r: X.T @ (root * r) - x_mean * (root @ r),
            dtype=np.float64,
        )
        coef = np.stack(
            [
                scipy.sparse.linalg.lsqr(
                    operator, root * column, damp=np.sqrt(self.alpha), atol=self.tol, btol=self.tol
                )[0]
                for column in (problem.Y - y_mean).T
            ],
            axis=1,
        )
        return Solution(coef, y_mean - x_mean @ coef, None, None)

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

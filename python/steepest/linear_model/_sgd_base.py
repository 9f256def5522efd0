"""Base class of `SGDClassifier`, `Perceptron` and `SGDRegressor`: parameters, checks, training and averages."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device, to_host
from steepest.estimators.data import to_estimator_device
from steepest.estimators.linear_model import DEVICE, LinearModel

from .sgd.mini_batches import MiniBatchTraining
from .sgd.steps import Rule, State, TrainingSet
from .sgd.training import Stopping, train

LEARNING_RATES = ("constant", "optimal", "invscaling", "adaptive", "pa1", "pa2")
# scikit-learn's name of a loss: its name in the kernels, its fixed parameter, and whether it is halved.
LOSSES: dict[str, tuple[str, float | None, bool]] = {
    "hinge": ("hinge", 1.0, False),
    "squared_hinge": ("squared_hinge", None, False),
    "perceptron": ("hinge", 0.0, False),
    "log_loss": ("log_loss", None, False),
    "exponential": ("exponential", None, False),
    "squared_error": ("squared_error", None, True),
    "huber": ("huber", None, False),
    "modified_huber": ("modified_huber", None, False),
    "epsilon_insensitive": ("epsilon_insensitive", None, False),
    "squared_epsilon_insensitive": ("squared_epsilon_insensitive", None, False),
}
# Constraints of the parameters that SGDClassifier and SGDRegressor share.
SGD_PARAMETERS: dict[str, list[Any]] = {
    "epsilon": [Interval(Real, 0, None, closed="left")],
    "learning_rate": [StrOptions(set(LEARNING_RATES))],
    "power_t": [Interval(Real, None, None, closed="neither")],
    "average": [Interval(Integral, 0, None, closed="neither"), "boolean"],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
}
# Losses that are equal to those with epsilon=0.
_WITHOUT_EPSILON = {"epsilon_insensitive": "absolute_error", "squared_epsilon_insensitive": "squared_error"}
# Losses whose parameter is `epsilon`.
_TAKES_EPSILON = ("huber", "epsilon_insensitive", "squared_epsilon_insensitive")


class StochasticLinearModel(LinearModel):
    """Base of the linear models trained by stochastic gradient descent; see `SGDClassifier` and `SGDRegressor`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "shuffle": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        **DEVICE,
    }

    # Set by the constructors of the subclasses, as scikit-learn's `clone` requires.
    loss: str
    penalty: str | None
    alpha: float
    l1_ratio: float | None
    fit_intercept: bool
    max_iter: int
    tol: float | None
    shuffle: bool
    verbose: int
    epsilon: float
    random_state: Any
    learning_rate: str
    eta0: float
    power_t: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool
    average: bool | int
    # A parameter of all subclasses but Perceptron.
    batch_size: int = 1

    _standard_coef: Any
    _standard_intercept: Any
    _average_coef: Any
    _average_intercept: Any

    _aggressive_loss: ClassVar[str]

    @abstractmethod
    def _split(self, y: Array, weights: Array | None) -> tuple[Array, Array] | None:
        """Return the rows to train on and the held-out rows, or None without held-out rows."""

    @abstractmethod
    def _score_outputs(
        self, outputs: Array, target: Array, weights: Array | None, classes: Array
    ) -> Float64Array:
        """Return the score of each column of outputs, on the host."""

    @abstractmethod
    def _is_worse_than_a_constant(self, outputs: Array, target: Array, weights: Array | None) -> bool:
        """Return whether a constant prediction would be better than these outputs of the model."""

    # ---------------------------------------------------------------------------------------------- checking

    def _check_parameters(self, incremental: bool) -> None:
        if self.early_stopping and incremental:
            raise ValueError(self._prefix("early_stopping should be False with partial_fit"))
        if self.learning_rate == "optimal" and self.alpha == 0:
            raise ValueError(
                self._prefix(
                    "alpha must be > 0 since learning_rate is 'optimal'. alpha is used to compute the optimal "
                    "learning rate."
                )
            )
        if self.learning_rate in ("pa1", "pa2") and self.loss != self._aggressive_loss:
            raise ValueError(
                self._prefix(
                    f"Learning rate '{self.learning_rate}' only works with loss '{self._aggressive_loss}'."
                )
            )
        if self.loss == "huber" and self.epsilon == 0:
            raise ValueError(
                self._prefix("epsilon must be positive for loss='huber', which is zero everywhere without it")
            )
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError(self._prefix("l1_ratio must be set when penalty is 'elasticnet'"))
        if self.batch_size > 1 and (self.average or self.learning_rate in ("pa1", "pa2")):
            what = "average" if self.average else f"learning_rate={self.learning_rate!r}"
            raise ValueError(self._prefix(f"{what} requires batch_size=1, got {self.batch_size}"))

    def _rule(self) -> Rule:
        kind, parameter, half = LOSSES[self.loss]
        if self.loss in _TAKES_EPSILON:
            parameter = float(self.epsilon)
            if parameter == 0 and kind in _WITHOUT_EPSILON:
                kind, parameter = _WITHOUT_EPSILON[kind], None
        share = {"l1": 1.0, "elasticnet": self.l1_ratio}.get(self.penalty or "", 0.0)
        strength = 0.0 if self.penalty is None else float(self.alpha)
        assert share is not None
        schedule = self.learning_rate
        lr, power, t0 = float(self.eta0), 0.0, 0.0
        if schedule == "optimal":
            # L. Bottou, "Stochastic gradient descent tricks", 2012: the first step has the size of a typical weight.
            lr, power, t0 = 1.0 / self.alpha, 1.0, float(self.alpha) ** -0.75 - 1.0
        elif schedule == "invscaling":
            power = float(self.power_t)
        return Rule(
            kind,
            parameter,
            half,
            lr,
            power,
            t0,
            schedule == "adaptive",
            strength * share,
            strength * (1 - share),
            {"pa1": 1, "pa2": 2}.get(schedule, 0),
        )

    # ----------------------------------------------------------------------------------------------- fitting

    def _train(
        self,
        data: tuple[Any, Array, Array | None],
        class_weight: Array | None,
        n_outputs: int,
        max_iter: int,
        device: str,
    ) -> None:
        """Train on validated X, y and weights, starting at the current model or at zeros, and store the result."""
        (X, y, weights), name = data, type(self).__name__
        dtype = X.dtype
        split = self._split(y, weights) if self.early_stopping else None
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        rows = np.arange(X.shape[0]) if split is None else split[0]
        cupy = is_cupy(X)
        if not scipy.sparse.issparse(X):
            # The targets stay on the host, which computes those of each output.
            empty = np.empty(0, dtype)
            X, _, weights = to_estimator_device((X, empty, weights), device, name)
        samples = TrainingSet(X, y, weights, class_weight, rows.astype(np.int64), n_outputs, device)
        state, intercept = self._begin(X.shape[1], n_outputs, dtype, device)
        self.n_iter_ = train(
            samples,
            state,
            self._rule(),
            Stopping(max_iter, -np.inf if self.tol is None else float(self.tol), int(self.n_iter_no_change)),
            average_start=int(self.average) or 1,
            shuffle=self.shuffle,
            seed=seed,
            score=None if split is None else self._validation(samples, split[1]),
            report=self._report if self.verbose else None,
            name=name,
            make=None
            if self.batch_size == 1
            else partial(MiniBatchTraining, batch_size=self.batch_size, name=name),
        )
        steps = X.shape[0] if self.batch_size == 1 else -(-len(rows) // self.batch_size)
        self.t_ += float(self.n_iter_ * steps)
        self.device_ = device
        self._store(state, intercept, "cuda" if cupy else "cpu")
        if max_iter > 1:
            self._warn_if_worse_than_a_constant(samples, n_outputs)

    def _warn_if_worse_than_a_constant(self, samples: TrainingSet, n_outputs: int) -> None:
        """Warn if steps were too long: then the objective stays large without improving, and training stops."""
        coef = to_device(self.coef_.reshape(n_outputs, -1), samples.device)
        outputs = _raw_output(samples.X, coef, to_device(self.intercept_, samples.device))
        weights = None if samples.sample_weight is None else to_host(samples.sample_weight)
        if self._is_worse_than_a_constant(outputs.astype(np.float64), samples.target, weights):
            warnings.warn(
                self._prefix(
                    "The fit predicts its own training samples worse than a constant would: steps are too long for "
                    "these features. Scale them with sklearn.preprocessing.StandardScaler, or lower eta0."
                ),
                ConvergenceWarning,
                stacklevel=5,
            )

    def _begin(self, d: int, n_outputs: int, dtype: np.dtype[Any], device: str) -> tuple[State, Array]:
        """Return the initial state, copies of the parameters or zeros, and the intercept, even if it is not fitted."""
        averaging = bool(self.average)
        known = self.__dict__.get("coef_") is not None

        def copy(name: str, shape: tuple[int, ...]) -> Array:
            value = self.__dict__.get(name) if known else None
            if value is None:
                return to_device(np.zeros(shape, dtype), device)
            if scipy.sparse.issparse(value):
                value = value.toarray()
            return to_device(np.array(to_host(value), dtype, order="C").reshape(shape), device)

        of_model = ("_standard_coef", "_standard_intercept") if averaging else ("coef_", "intercept_")
        if averaging and known and self.__dict__.get("_standard_coef") is None:
            self._standard_coef, self._standard_intercept = self.coef_, self.intercept_
        coef, intercept = copy(of_model[0], (n_outputs, d)), copy(of_model[1], (n_outputs,))
        averages = (copy("_average_coef", (n_outputs, d)), copy("_average_intercept", (n_outputs,)))
        state = State(
            coef,
            intercept if self.fit_intercept else None,
            averages[0] if averaging else None,
            averages[1] if averaging and self.fit_intercept else None,
            int(self.t_) - 1,
        )
        return state, intercept

    def _store(self, state: State, intercept: Array, library: str) -> None:
        coef, intercept = to_device(state.coef, library), to_device(intercept, library)
        if state.average_coef is not None:
            self._standard_coef, self._standard_intercept = coef, intercept
            self._average_coef = to_device(state.average_coef, library)
            self._average_intercept = (
                intercept if state.average_intercept is None else to_device(state.average_intercept, library)
            )
            if int(self.average) <= self.t_ - 1.0:
                coef, intercept = self._average_coef, self._average_intercept
        self._store_model(coef, intercept)

    def _store_model(self, coef: Array, intercept: Array) -> None:
        self.coef_, self.intercept_ = coef, intercept

    def _validation(self, samples: TrainingSet, held_out: Array) -> Any:
        X = samples.X[to_device(held_out, samples.device)]
        weights = None if samples.sample_weight is None else to_host(samples.sample_weight)[held_out]
        target = samples.target[held_out]

        def score(state: State, outputs: Array) -> Float64Array:
            return self._score_outputs(_raw_output(X, state.coef, state.intercept), target, weights, outputs)

        return score

    def _report(self, epoch: int, values: Float64Array) -> None:
        what = "validation score" if self.early_stopping else "objective"
        print(f"-- Epoch {epoch}: {what} = {', '.join(f'{value:.6f}' for value in values)}")

    @contextmanager
    def _unless_it_fails(self) -> Iterator[None]:
        """Restore the attributes of the model if the body raises an error or is interrupted."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _forget(self) -> None:
        """Reset the count of steps and the averages, and without `warm_start` the coefficients."""
        self.t_ = 1.0
        if not self.warm_start or "coef_" not in self.__dict__:
            self.coef_ = self.intercept_ = None
        for name in ("_standard_coef", "_standard_intercept", "_average_coef", "_average_intercept"):
            self.__dict__.pop(name, None)

    def _set_start(self, coef: Any, intercept: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        """Set the initial coefficients and intercepts that `fit` was given."""
        if coef is not None:
            start = np.array(to_host(coef), dtype)
            if start.size != shape[0] * shape[1] or (shape[0] > 1 and start.shape != shape):
                raise ValueError(self._prefix("Provided coef_init does not match dataset."))
            self.coef_ = start.reshape(shape)
            if self.intercept_ is None:
                self.intercept_ = np.zeros(shape[0], dtype)
        if intercept is not None:
            offset = np.array(to_host(intercept), dtype)
            if offset.size != shape[0]:
                raise ValueError(self._prefix("Provided intercept_init does not match dataset."))
            self.intercept_ = offset.reshape(shape[0])
            if self.coef_ is None:
                self.coef_ = np.zeros(shape, dtype)

    def _warn_if_not_converged(self) -> None:
        if self.tol is not None and self.n_iter_ == self.max_iter:
            warnings.warn(
                "Maximum number of iteration reached before convergence. Consider increasing max_iter to improve "
                "the fit.",
                ConvergenceWarning,
                stacklevel=3,
            )
        if self.power_t < 0:
            warnings.warn(
                "Negative values for `power_t` are deprecated. Use values in the range [0.0, inf) instead.",
                FutureWarning,
                stacklevel=3,
            )


def _raw_output(X: Any, coef: Array, intercept: Array | None) -> Array:
    """Return ``X coef^T + intercept`` on the host, for X on the device of the model."""
    if scipy.sparse.issparse(X):
        product: Array = X @ coef.T + (0 if intercept is None else intercept)
        return product
    result: Array = to_host(K.linear(X, coef.T, intercept))
    return result

"""`Perceptron`: Rosenblatt's linear classifier."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval

from ._sgd_classifier import StochasticClassifier


class Perceptron(StochasticClassifier):
    """Perceptron classifier (F. Rosenblatt): one step for each misclassified sample.

    The step is ``w <- w + eta0 t x`` for every sample x of class t = ±1 with ``t (x w + b) <= 0``. This is stochastic
    gradient descent on the hinge loss with a margin of 0, the same as ``SGDClassifier(loss="perceptron",
    learning_rate="constant", eta0=1.0, penalty=None)``. Parameters, defaults and attributes are those of
    ``sklearn.linear_model.Perceptron``, and `device`.

    Parameters
    ----------
    penalty : {"l2", "l1", "elasticnet"} or None, default=None
        Penalty on the coefficients.
    alpha : float, default=1e-4
        Strength of the penalty.
    l1_ratio : float, default=0.15
        Fraction of the L1 penalty in ``"elasticnet"``.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    max_iter : int, default=1000
        Largest number of epochs of `fit`.
    tol : float or None, default=1e-3
        Least decrease of an epoch's mean loss that counts as an improvement; None never stops early.
    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch.
    verbose : int, default=0
        Whether to print a line per epoch.
    eta0 : float, default=1.0
        Learning rate: the factor of each step.
    n_jobs : int or None, default=None
        Accepted for compatibility; `steepest.set_num_threads` sets the number of threads.
    random_state : int, RandomState or None, default=0
        Seed of the sample orders and the validation split.
    early_stopping : bool, default=False
        Whether the accuracy on held-out samples decides when to stop.
    validation_fraction : float, default=0.1
        Fraction of the samples to hold out for validation.
    n_iter_no_change : int, default=5
        Number of consecutive epochs without improvement after which to stop.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes.
    warm_start : bool, default=False
        Whether `fit` starts at the last solution.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device of the computation; ``"auto"`` takes the device of X.

    Attributes
    ----------
    classes_, coef_, intercept_, n_iter_, t_, n_features_in_, feature_names_in_, device_
        As for `SGDClassifier`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **StochasticClassifier._parameter_constraints,
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    }
    # Options that scikit-learn's Perceptron fixes; class attributes, since they are no parameters.
    loss = "perceptron"
    learning_rate = "constant"
    power_t = 0.5
    average = False

    def __init__(
        self,
        *,
        penalty: str | None = None,
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        eta0: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
        device: str = "auto",
    ) -> None:
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.eta0 = eta0
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.device = device

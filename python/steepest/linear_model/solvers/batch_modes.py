"""Objective and batch mode of gradient descent on a linear model: full-batch, mini-batch or stochastic."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from steepest import nn
from steepest._runtime.arrays import Array

LinearLoss = nn.MeanSquaredError | nn.BinaryCrossEntropy | nn.SoftmaxCrossEntropy

BATCH_MODES = ("batch", "mini-batch", "stochastic")
BATCH_MODE_PARAMETERS: dict[str, list[Any]] = {
    # kept by hand: the rules for which `_gradient_descent` has a default learning rate.
    "rule": [StrOptions({"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither"), None],
    "momentum": [Interval(Real, 0, 1, closed="neither")],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
}


@dataclass(frozen=True)
class Descent:
    """Options of gradient descent; the estimators' docstrings describe those not listed here.

    Attributes
    ----------
    batch_mode : {"batch", "mini-batch", "stochastic"}
        Batch mode: all samples in a step, some, or one.
    tol : float
        Infinity norm of the gradient at which to stop; for least squares, relative to the standard deviation of y.
    seed : int
        Seed of the sample orders.
    """

    batch_mode: str
    rule: str
    learning_rate_init: float | None
    momentum: float
    batch_size: int
    max_iter: int
    tol: float
    n_iter_no_change: int
    shuffle: bool
    seed: int
    verbose: bool = False

    @classmethod
    def of(cls, model: Any, verbose: bool = False) -> Descent:
        """Return the options from the parameters of an estimator."""
        return cls(
            batch_mode=model.solver,
            rule=model.rule,
            learning_rate_init=model.learning_rate_init,
            momentum=float(model.momentum),
            batch_size=int(model.batch_size),
            max_iter=int(model.max_iter),
            tol=float(model.tol),
            n_iter_no_change=int(model.n_iter_no_change),
            shuffle=bool(model.shuffle),
            seed=int(check_random_state(model.random_state).randint(np.iinfo(np.int32).max)),
            verbose=verbose,
        )

    def rows_of_a_step(self, n: int) -> int:
        """Return the number of samples in a step, out of n."""
        return {"batch": n, "stochastic": 1}.get(self.batch_mode, min(self.batch_size, n))


@dataclass(frozen=True)
class Objective:
    """Penalised mean loss: ``sum_i s_i loss(x_i w + b, y_i) / sum_i s_i + l2 / 2 |w|^2 + l1 |w|_1``.

    Attributes
    ----------
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        Inputs.
    target : ndarray
        Targets as the loss takes them, on the device of X.
    sample_weight : ndarray of shape (n,) or None
        Weights s, in the dtype of X and on its device.
    loss : SoftmaxCrossEntropy, BinaryCrossEntropy or MeanSquaredError
        The loss, summed over the outputs of a row.
    n_outputs : int
        Number of outputs.
    fit_intercept : bool
        Whether there is an intercept b.
    l2, l1 : float
        Strengths of the L2 and L1 penalty.
    device : {"cpu", "cuda"}
        Device of the computation.
    """

    X: Any
    target: Array
    sample_weight: Array | None
    loss: LinearLoss
    n_outputs: int
    fit_intercept: bool
    l2: float
    l1: float
    device: str

"""Regression on sequences by recurrent networks and Transformers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from steepest.callbacks import Callback
from steepest.nn.initializers import Initializer
from steepest.optim.schedules import Schedule

from ._bodies import Body
from ._parameters import Device, LearningRate, Precision, Rule, store_parameters
from ._regression_losses import LossName
from ._regressor import MLPRegressor
from ._sequences import SequenceInputs, SequenceParameters


class SequenceRegressor(SequenceInputs, MLPRegressor):
    """Network for regression on sequences, recurrent or of attention.

    A body reads each sequence, and a multilayer perceptron predicts from what comes out. The class has the methods,
    losses and attributes of `MLPRegressor`, and takes an X as `SequenceClassifier` does.

    Parameters
    ----------
    body, n_units, n_layers, bidirectional, n_heads, n_ids : object
        The layers that read the sequences; see `SequenceClassifier`.
    hidden_layer_sizes, activation : object
        Hidden layers behind them; see `SequenceClassifier`.
    loss : str or pair, default="squared_error"
        The loss. For this and all parameters below, see `MLPRegressor`.
    solver, alpha : str and float, default="adam" and 1e-4
        Optimizer, one of those of `SequenceClassifier`; strength of the L2 penalty on the weights.
    batch_size, max_iter : int, default="auto" and 50
        Sequences in a mini-batch, by default min(32, n_samples); largest number of epochs.
    learning_rate, learning_rate_init, power_t : object
        Schedule of the learning rate, its initial value, by default 0.003, and the exponent of ``"invscaling"``.
    shuffle, random_state : object
        Whether to shuffle the samples in each epoch; seed of everything random.
    tol, n_iter_no_change : float, default=1e-4 and 10
        Smallest change that counts as an improvement; number of epochs without improvement after which to stop.
    verbose, warm_start : bool, default=False
        Whether to print a line for each epoch; whether `fit` continues from the last solution.
    momentum, nesterovs_momentum : float and bool, default=0.9 and True
        Momentum of SGD; whether SGD uses Nesterov's momentum.
    early_stopping, validation_fraction : bool and float, default=False and 0.1
        Whether to hold out this proportion of the samples, stop once their score no longer improves, and restore the
        best weights.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999 and 1e-8
        Parameters of Adam.
    l1_ratio, max_norm : float, default=0.0 and 1.0
        Proportion of L1 in the penalty; largest norm of all gradients together in a step.
    dropout, init, callbacks, device, precision : object
        As in `SequenceClassifier`.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        As in `SequenceClassifier`.
    loss_, loss_curve_, best_loss_, validation_scores_, validation_loss_curve_, best_validation_score_ : object
        See `MLPRegressor`.
    stopped_early_, n_iter_, t_, n_layers_, n_outputs_, out_activation_ : object
        See `MLPRegressor`.
    device_, n_features_in_ : object
        As in `SequenceClassifier`.

    Examples
    --------
    The mean of a series, whose length differs:

    >>> import numpy as np
    >>> from steepest.neural_network import SequenceRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.random(n) for n in rng.integers(3, 12, 300)]
    >>> y = np.array([series.mean() for series in X])
    >>> model = SequenceRegressor(n_units=16, max_iter=60, random_state=0).fit(X[:200], y[:200])
    >>> model.score(X[200:], y[200:]) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MLPRegressor._parameter_constraints,
        **SequenceParameters._sequence_constraints,
    }

    def __init__(
        self,
        body: Body = "gru",
        n_units: int = 64,
        n_layers: int = 1,
        *,
        bidirectional: bool = False,
        n_heads: int = 4,
        n_ids: int | None = None,
        hidden_layer_sizes: int | Iterable[int] = (),
        activation: Any = "relu",
        loss: LossName | tuple[Literal["huber", "quantile"], float] = "squared_error",
        solver: Rule = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: LearningRate | Schedule = "constant",
        learning_rate_init: float = 0.003,
        power_t: float = 0.5,
        max_iter: int = 50,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        l1_ratio: float = 0.0,
        max_norm: float | None = 1.0,
        dropout: float = 0.0,
        init: Initializer = "glorot_uniform",
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
        precision: Precision = "float32",
    ) -> None:
        store_parameters(self, locals())

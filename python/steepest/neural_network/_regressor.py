"""The multilayer perceptron for regression."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from steepest._estimators.data import in_library_of
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace, to_host
from steepest.callbacks import Callback
from steepest.nn.losses import Loss
from steepest.optim.schedules import Schedule

from ._base import BaseMultilayerPerceptron, _is_stochastic
from ._parameters import Device, InitialWeights, LearningRate, Solver
from ._regression_losses import LOSSES, LossName, loss_name, regression_loss


def _drop_axis(values: Array) -> Array:
    return values[:, 0] if values.shape[1] == 1 else values


class MLPRegressor(RegressorMixin, BaseMultilayerPerceptron):
    """Multilayer perceptron for regression, by default with half the mean squared error.

    Parameters, defaults and attributes are those of ``sklearn.neural_network.MLPRegressor``, and more. The same
    `random_state` gives the same fit, with these differences: the loss of several outputs is their sum, whose
    gradient scikit-learn follows, too, while it reports their mean; the penalty in `loss_` is averaged over the ends of
    the epoch; `warm_start` keeps the moments of the optimizer; a loss that stops being finite is an error.

    Parameters
    ----------
    loss : str or pair, default="squared_error"
        ``"squared_error"`` (half of it), ``"absolute_error"``, ``"huber"`` or ``("huber", delta)``, ``"quantile"`` or
        ``("quantile", q)``, ``"poisson"`` (counts, or other y >= 0, whose mean is the exponential of the network's
        output), or ``"gaussian"`` (the network gives mean and log-variance, and `predict` the deviations too). A mean
        over the samples, and for several outputs the sum over these.
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Number of units of each hidden layer.
    activation : str, pair or list, default="relu"
        Activation of the hidden layers: one of ``kernels.ACTIVATIONS``, or ``"logistic"``, which is ``"sigmoid"``; a
        pair of a name and its parameter, such as ``("elu", 0.5)``; or a list of these, one for each hidden layer.
    solver : {"adam", "sgd", "lbfgs", "momentum", "nesterov", "adagrad", "rmsprop", "adamw", "natural"}, default="adam"
        Rule of the steps on mini-batches, or ``"lbfgs"``: L-BFGS on all samples. ``"sgd"`` is ``"nesterov"``, or
        ``"momentum"`` without `nesterovs_momentum`, or plain descent with `momentum` 0. ``"adamw"`` takes `alpha` as
        its decoupled decay. ``"natural"`` takes steps along the natural gradient, for the losses ``"squared_error"``,
        ``"poisson"`` and ``"gaussian"``: few epochs, each of which takes longer; it sets lengths of steps, momentum and
        damping itself.
    alpha : float, default=1e-4
        L2 penalty of the weights, ``alpha / 2 * sum(w^2)`` per mini-batch, divided by the number of its
        samples.
    batch_size : int or "auto", default="auto"
        Samples in a mini-batch; ``"auto"`` is min(200, n_samples). A shorter last batch is trained on as
        well. ``"natural"`` has batches of about the same length instead, and with ``"auto"`` makes them twice as long
        after each epoch of `fit` that has not lowered the loss by a twentieth.
    learning_rate : str or Schedule, default="constant"
        For ``solver="sgd"`` ``"constant"``, ``"invscaling"``: ``learning_rate_init / (t_ + 1)^power_t`` after each
        epoch, or ``"adaptive"``: divided by 5 whenever `n_iter_no_change` epochs bring no improvement. For all rules
        ``"cosine"`` or ``"one_cycle"``, over the steps of `max_iter` epochs, or an object of
        ``steepest.optim.schedules``, which gives the rate of each step.
    learning_rate_init : float, default=1e-3
        Initial learning rate, or with ``"one_cycle"`` the largest. Not of ``"natural"``.
    power_t : float, default=0.5
        Exponent of ``"invscaling"``.
    max_iter : int, default=200
        The most epochs, or iterations of L-BFGS.
    shuffle : bool, default=True
        Whether each epoch has an order of its own.
    random_state : int, RandomState or None, default=None
        Seeds initial weights, shuffles and the validation split, which are those of scikit-learn. The result for an
        int does not depend on the number of threads.
    tol : float, default=1e-4
        Least improvement of the loss (or validation score) that counts; for L-BFGS, the gradient's largest
        component.
    verbose : bool or int, default=False
        Whether to print a line per epoch.
    warm_start : bool, default=False
        Whether `fit` goes on from the last solution.
    momentum : float, default=0.9
        Momentum of ``"sgd"``, ``"momentum"`` and ``"nesterov"``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether SGD with momentum looks ahead.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, stop once their score no longer improves,
        and restore the weights of the best epoch.
    validation_fraction : float, default=0.1
        Share of the samples held out for early stopping.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decays of Adam's running means, in [0, 1); `beta_2` is RMSprop's too.
    epsilon : float, default=1e-8
        Added to the root of Adam's second moment, after the correction of its bias (scikit-learn: before).
    n_iter_no_change : int, default=10
        Epochs without improvement after which to stop.
    max_fun : int, default=15000
        The most loss evaluations of L-BFGS.
    l1_ratio : float, default=0.0
        Share of L1 in the penalty: ``alpha * (l1_ratio * sum(abs(w)) + (1 - l1_ratio) / 2 * sum(w^2))``. The L1 part
        makes weights exactly 0. Not with ``"lbfgs"``, ``"adamw"`` and ``"natural"``.
    max_norm : float or None, default=None
        Largest norm of all gradients together in a step; longer ones are scaled down to it. Not with
        ``"lbfgs"`` and ``"natural"``.
    dropout : float or list of float, default=0.0
        Share of the units of every hidden layer, or of each, that are left out at random in each step, in [0, 1).
        Not with ``"lbfgs"``.
    init : {"auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", \
"orthogonal"}, default="auto"
        Initial weights: ``"auto"`` draws scikit-learn's weights and biases; the others are those of `nn.Linear`, with
        biases of 0.
    callbacks : list of Callback or None, default=None
        Are told of every epoch and may end the fit (`steepest.callbacks`).
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to compute. ``"auto"`` is CUDA for a CuPy X and the CPU for any other: from which size on a NumPy X is
        worth copying to a GPU has not been measured yet. ``"cuda"`` copies a NumPy X to the GPU once, and is an error
        where CUDA is not available.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer. Views into one array: setting an item
        writes into it. Of a model on CUDA they are CuPy arrays if X was one, and read-only copies in NumPy otherwise.
    loss_ : float
        Loss of the last epoch, with the penalty.
    loss_curve_ : list of float
        Loss of each epoch, a mean over its mini-batches while they trained.
    best_loss_ : float or None
        Smallest loss; None with early stopping.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score, and loss without the penalty, of the validation samples after each epoch; None where there are none.
    best_validation_score_ : float or None
        Largest validation score.
    stopped_early_ : bool
        Whether early stopping has ended the training.
    n_iter_ : int
        Epochs (or L-BFGS iterations) of the last fit.
    t_ : int
        Number of training samples seen.
    n_layers_, n_outputs_ : int
        Number of layers, input and output included, and of outputs.
    out_activation_ : str
        Activation of the last layer.
    device_ : str
        Where the model is, "cpu" or "cuda". An unpickled model is on the CPU.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, where X had names that are all strings.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest.neural_network import MLPRegressor
    >>> X = np.linspace(-3, 3, 200)[:, None]
    >>> model = MLPRegressor(hidden_layer_sizes=(50,), activation="tanh", solver="lbfgs", random_state=0)
    >>> model = model.set_params(max_iter=1000).fit(X, np.sin(X[:, 0]))
    >>> model.score(X, np.sin(X[:, 0])) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMultilayerPerceptron._parameter_constraints,
        "loss": [StrOptions(set(LOSSES)), tuple],
    }
    _accepts_sparse: ClassVar[bool] = True
    _fewest_scored: ClassVar[int] = 2
    _validation_options: ClassVar[dict[str, Any]] = {"multi_output": True, "y_numeric": True}

    def __init__(
        self,
        loss: LossName | tuple[Literal["huber", "quantile"], float] = "squared_error",
        hidden_layer_sizes: int | Iterable[int] = (100,),
        activation: Any = "relu",
        *,
        solver: Solver = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: LearningRate | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
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
        max_fun: int = 15000,
        l1_ratio: float = 0.0,
        max_norm: float | None = None,
        dropout: float | Iterable[float] = 0.0,
        init: InitialWeights = "auto",
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.l1_ratio = l1_ratio
        self.max_norm = max_norm
        self.dropout = dropout
        self.init = init
        self.callbacks = callbacks
        self.device = device

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _validate_targets(self, y: Array, X: Array, first_pass: bool, incremental: bool) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        with np.errstate(over="ignore"):
            y = y.reshape(len(y), -1).astype(X.dtype, order="C")
        if not np.isfinite(y).all():
            raise ValueError(self._prefix(f"y has a value too large for {X.dtype}"))
        if loss_name(self.loss) == "poisson" and (y < 0).any():
            raise ValueError(
                self._prefix("y has a negative value, of which loss='poisson' has no probability")
            )
        if first_pass:
            self._n_targets = y.shape[1]
        elif y.shape[1] != self._n_targets:
            raise ValueError(self._prefix(f"y has {y.shape[1]} outputs, but the model {self._n_targets}"))
        return y

    def _loss_function(self) -> Loss:
        return regression_loss(self.loss, type(self).__name__)

    def _output_shape(self, y: Array) -> tuple[int, str]:
        self._loss_function()
        name = loss_name(self.loss)
        # Of a Gaussian the means, then the log-variances.
        return (2 if name == "gaussian" else 1) * y.shape[1], "exp" if name == "poisson" else "identity"

    def _mean(self, output: Array) -> Array:
        """Return what is predicted, (n, n_targets), from the network's output."""
        mean: Array = output[:, : self._n_targets]
        return array_namespace(mean).exp(mean) if self.out_activation_ == "exp" else mean

    def _score_output(self, output: Array, y: Array, sample_weight: Array | None) -> float:
        predicted = to_host(self._mean(output))
        if not np.isfinite(predicted).all():
            return float("nan")
        return float(r2_score(to_host(y), predicted, sample_weight=to_host(sample_weight)))

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> MLPRegressor:
        """Fit the network.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs; float32 stays float32, everything else becomes float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative.
        eval_set : tuple (X, y) or (X, y, sample_weight), default=None
            Samples to validate on after each epoch, for `validation_scores_` and `validation_loss_curve_`; with
            `early_stopping` in place of a part of the training samples.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        ValueError
            Where X, y, the weights or a parameter are not as described; the message names the first bad item
            of X.
        DivergenceError
            Where the loss stops being finite. The last finite weights remain.
        """
        self._fit(X, y, sample_weight, incremental=False, eval_set=eval_set)
        return self

    @available_if(_is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> MLPRegressor:
        """Train for one epoch over the samples given, going on from the last call.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        eval_set : tuple (X, y) or (X, y, sample_weight), default=None
            Samples to validate on after this epoch; with `early_stopping`, needed in every call.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        ValueError, DivergenceError
            As `fit`.
        """
        self._fit(X, y, sample_weight, incremental=True, eval_set=eval_set)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Predict values.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.
        return_std : bool, default=False
            Whether to return the standard deviation of each prediction, too; for ``loss="gaussian"``.

        Returns
        -------
        mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions, of the dtype that was fitted and in the library of X.
        std : ndarray of the same shape
            Standard deviations, with `return_std`.

        Raises
        ------
        ValueError
            Where X is not as in `fit`, or the loss predicts no standard deviation.
        """
        if not return_std:
            return self._predict(X, lambda output: _drop_axis(self._mean(output)))
        output = self._decision(X)
        if output.shape[1] != 2 * self._n_targets:
            raise ValueError(self._prefix("return_std needs a fit with loss='gaussian'"))
        deviation = array_namespace(output).exp(output[:, self._n_targets :] / 2)
        return in_library_of(X, _drop_axis(self._mean(output))), in_library_of(X, _drop_axis(deviation))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R2 of `predict`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            1 for perfect predictions, 0 for the mean of y; for several outputs the mean over them.
        """
        predicted = to_host(self._predict(X, self._mean))
        return float(r2_score(to_host(y), predicted, sample_weight=to_host(sample_weight)))

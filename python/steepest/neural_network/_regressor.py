"""Multilayer perceptron for regression."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace, to_host
from steepest.callbacks import Callback
from steepest.estimators.data import in_library_of
from steepest.estimators.validation import float_dtype
from steepest.nn.losses import Loss
from steepest.optim.schedules import Schedule

from ._base import BaseMultilayerPerceptron, _is_stochastic
from ._parameters import Device, InitialWeights, LearningRate, Precision, Solver, store_parameters
from ._regression_losses import LOSSES, LossName, loss_name, regression_loss


def _drop_axis(values: Array) -> Array:
    return values[:, 0] if values.shape[1] == 1 else values


class MLPRegressor(RegressorMixin, BaseMultilayerPerceptron):
    """Multilayer perceptron for regression, by default with half the mean squared error.

    The class has the parameters, defaults and attributes of ``sklearn.neural_network.MLPRegressor``, and more. The same
    `random_state` gives the same fit, with these differences: the reported loss is the sum over several outputs, as in
    scikit-learn's gradient, while scikit-learn reports their mean; the penalty in `loss_` is the mean of its values at
    the start and the end of the epoch; `warm_start` keeps the moments of the optimizer; a loss that is not finite
    raises an error.

    Parameters
    ----------
    loss : str or pair, default="squared_error"
        ``"squared_error"`` (half the squared error), ``"absolute_error"``, ``"huber"`` or ``("huber", delta)``,
        ``"quantile"`` or ``("quantile", q)``, ``"poisson"`` (y >= 0, such as counts, whose mean is the exponential of
        the network's output), or ``"gaussian"`` (the network predicts mean and log-variance, and `predict` can return
        standard deviations). The loss is averaged over the samples and summed over several outputs.
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Number of units of each hidden layer.
    activation : str, pair or list, default="relu"
        Activation of the hidden layers: one of ``kernels.ACTIVATIONS``, or ``"logistic"``, which is ``"sigmoid"``; a
        pair of a name and its parameter, such as ``("elu", 0.5)``; or a list of these, one for each hidden layer.
    solver : {"adam", "sgd", "lbfgs", "momentum", "nesterov", "adagrad", "rmsprop", "adamw", "natural"}, default="adam"
        Optimizer of the mini-batches, or ``"lbfgs"``: L-BFGS on all samples. ``"sgd"`` is ``"nesterov"``, or
        ``"momentum"`` without `nesterovs_momentum`, or plain descent with `momentum` 0. ``"adamw"`` uses `alpha` as
        decoupled weight decay. ``"natural"`` is the natural gradient, for the losses ``"squared_error"``,
        ``"poisson"`` and ``"gaussian"`` only: it needs few epochs, each of which takes longer, and chooses step sizes,
        momentum and damping itself.
    alpha : float, default=1e-4
        Strength of the L2 penalty on the weights, ``alpha / 2 * sum(w^2)`` for each mini-batch, divided by the number
        of its samples.
    batch_size : int or "auto", default="auto"
        Samples in a mini-batch; ``"auto"`` is min(200, n_samples). The last batch of an epoch may be smaller.
        ``"natural"`` divides the samples into batches of nearly equal size instead. With ``"auto"`` it doubles the
        batch size after each epoch of `fit` whose loss is above 95 % of the lowest loss so far.
    learning_rate : str or Schedule, default="constant"
        Schedule of the learning rate. For ``solver="sgd"``: ``"constant"``; ``"invscaling"``, which is
        ``learning_rate_init / (t_ + 1)^power_t`` after each epoch; or ``"adaptive"``, which divides the rate by 5
        whenever `n_iter_no_change` epochs bring no improvement. For all first-order solvers: ``"cosine"`` or
        ``"one_cycle"``, over the steps of `max_iter` epochs; or an object of ``steepest.optim.schedules``, which gives
        the rate of each step.
    learning_rate_init : float, default=1e-3
        Initial learning rate; with ``"one_cycle"``, the largest rate. ``"natural"`` does not use it.
    power_t : float, default=0.5
        Exponent of the ``"invscaling"`` schedule.
    max_iter : int, default=200
        Largest number of epochs, or of iterations of L-BFGS.
    shuffle : bool, default=True
        Whether to shuffle the samples in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, shuffles and the validation split, which are those of scikit-learn. The result for an
        int does not depend on the number of threads.
    tol : float, default=1e-4
        Smallest change of the loss (or validation score) that counts as an improvement; for L-BFGS, the infinity norm
        of the gradient at which to stop.
    verbose : bool or int, default=False
        Whether to print a line for each epoch.
    warm_start : bool, default=False
        Whether `fit` continues from the last solution.
    momentum : float, default=0.9
        Momentum of ``"sgd"``, ``"momentum"`` and ``"nesterov"``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether SGD uses Nesterov's momentum.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, stop once their score no longer improves,
        and restore the weights of the best epoch.
    validation_fraction : float, default=0.1
        Proportion of the samples that early stopping holds out.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of Adam's first and second moments, in [0, 1); RMSprop uses `beta_2`.
    epsilon : float, default=1e-8
        Small number, added to the root of Adam's second moment after its bias correction (scikit-learn: before).
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which to stop.
    max_fun : int, default=15000
        Largest number of loss evaluations of L-BFGS.
    l1_ratio : float, default=0.0
        Proportion of L1 in the penalty, ``alpha * (l1_ratio * sum(abs(w)) + (1 - l1_ratio) / 2 * sum(w^2))``. The L1
        part makes weights exactly 0. Not with ``"lbfgs"``, ``"adamw"`` and ``"natural"``.
    max_norm : float or None, default=None
        Largest norm of all gradients together in a step; larger gradients are scaled down to it. Not with ``"lbfgs"``
        and ``"natural"``.
    dropout : float or list of float, default=0.0
        Probability in [0, 1) with which each step drops a hidden unit: one for all hidden layers, or one for each. Not
        with ``"lbfgs"``.
    init : {"auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", \
"orthogonal"}, default="auto"
        Initial weights: ``"auto"`` samples weights and biases as scikit-learn does; the others are those of
        `nn.Linear`, with biases of 0.
    callbacks : list of Callback or None, default=None
        Objects that are called after every epoch and may end the fit (`steepest.callbacks`).
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device to compute on. ``"auto"`` is CUDA for a CuPy X, and the CPU for any other X: the size from which copying
        a NumPy X to a GPU pays off has not been measured yet. ``"cuda"`` copies a NumPy X to the GPU once, and raises
        an error if CUDA is not available.
    precision : {"float32", "high", "tf32", "bfloat16"}, default="float32"
        Precision of the products of matrices for a float32 X (`steepest.kernels.matmul`). With ``"bfloat16"`` their
        operands are rounded to 8 significant bits, on processors and GPUs that gain by it; weights, gradients and
        updates stay float32.
    pretrain : {None, "rbm", "autoencoder"}, default=None
        Greedy training of the layers, one after the other, before the first `fit`: by Boltzmann machines, for layers
        with the logistic function, or by autoencoders of one layer. It lets deep networks of such units learn at all.
    pretrain_iter : int, default=20
        Epochs of the greedy training of each layer.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer. They are views into one array, so that setting an item
        changes the model. For a model on CUDA they are CuPy arrays if X was one, else read-only NumPy copies.
    loss_ : float
        Loss of the last epoch, with the penalty.
    loss_curve_ : list of float
        Loss of each epoch, averaged over its mini-batches during training.
    best_loss_ : float or None
        Smallest loss; None with early stopping.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score, and loss without the penalty, on the validation samples after each epoch; None without such samples.
    best_validation_score_ : float or None
        Largest validation score.
    stopped_early_ : bool
        Whether early stopping has ended the training.
    n_iter_ : int
        Epochs (or L-BFGS iterations) of the last fit.
    t_ : int
        Number of training samples seen.
    n_layers_, n_outputs_ : int
        Number of layers, including input and output, and number of outputs.
    out_activation_ : str
        Activation of the last layer.
    device_ : str
        Device of the model, "cpu" or "cuda". An unpickled model is on the CPU.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names that are all strings.

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
        precision: Precision = "float32",
        pretrain: Literal["rbm", "autoencoder"] | None = None,
        pretrain_iter: int = 20,
    ) -> None:
        store_parameters(self, locals())

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _validate_targets(self, y: Array, X: Array, first_pass: bool, incremental: bool) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        with np.errstate(over="ignore"):
            y = y.reshape(len(y), -1).astype(float_dtype(X), order="C")
        if not np.isfinite(y).all():
            raise ValueError(self._prefix(f"y has a value too large for {float_dtype(X)}"))
        if loss_name(self.loss) == "poisson" and (y < 0).any():
            raise ValueError(
                self._prefix("y has a negative value, but loss='poisson' needs targets that are >= 0")
            )
        if first_pass:
            self._n_targets = y.shape[1]
        elif y.shape[1] != self._n_targets:
            raise ValueError(self._prefix(f"y has {y.shape[1]} outputs, expected {self._n_targets}"))
        return y

    def _loss_function(self) -> Loss:
        return regression_loss(self.loss, type(self).__name__)

    def _output_shape(self, y: Array) -> tuple[int, str]:
        self._loss_function()
        name = loss_name(self.loss)
        # A Gaussian has two outputs for each target: first all means, then all log-variances.
        return (2 if name == "gaussian" else 1) * y.shape[1], "exp" if name == "poisson" else "identity"

    def _mean(self, output: Array) -> Array:
        """Return the predicted means, of shape (n, n_targets), from the network's output."""
        mean: Array = output[:, : self._n_targets]
        return array_namespace(mean).exp(mean) if self.out_activation_ == "exp" else mean

    def _score_output(self, output: Array, y: Array, sample_weight: Array | None) -> float:
        predicted = to_host(self._mean(output))
        if not np.isfinite(predicted).all():
            return float("nan")
        return float(r2_score(to_host(y), predicted, sample_weight=to_host(sample_weight)))

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None, *, pretrain_X: Any = None
    ) -> MLPRegressor:
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
            Validation samples, for `validation_scores_` and `validation_loss_curve_` after each epoch. With
            `early_stopping`, they replace the held-out part of the training samples.
        pretrain_X : array-like or sparse matrix of shape (n, n_features), default=None
            Samples for `pretrain`, which need no targets; by default X.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        ValueError
            If X, y, the weights or a parameter are not as described; the message names the first NaN or infinite item
            of X.
        DivergenceError
            If the loss is no longer finite. The last finite weights remain.
        """
        self._fit(X, y, sample_weight, incremental=False, eval_set=eval_set, pretrain_X=pretrain_X)
        return self

    @available_if(_is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> MLPRegressor:
        """Train for one epoch on the given samples, continuing from the last call.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        eval_set : tuple (X, y) or (X, y, sample_weight), default=None
            Validation samples for the score after this epoch; with `early_stopping`, required in every call.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        ValueError, DivergenceError
            As in `fit`.
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
            Whether to return the standard deviation of each prediction, too; only with ``loss="gaussian"``.

        Returns
        -------
        mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions, in the network's dtype and the library of X.
        std : ndarray of the same shape
            Standard deviations; only with `return_std`.

        Raises
        ------
        ValueError
            If X is not as in `fit`, or the loss predicts no standard deviation.
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

"""Autoencoder: a multilayer perceptron that reconstructs its inputs, as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from steepest import kernels as K
from steepest import nn
from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_device, to_host
from steepest.callbacks import Callback
from steepest.estimators.data import in_library_of
from steepest.estimators.validation import validate_transformed
from steepest.nn.losses import Loss
from steepest.optim.schedules import Schedule

from ._architecture import hidden_sizes
from ._base import BaseMultilayerPerceptron, _is_stochastic
from ._encoder_decoder import AutoencoderParameters, autoencoder_layers, encoder_and_decoder
from ._parameters import Device, InitialWeights, LearningRate, Precision, Solver, store_parameters


class Autoencoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, AutoencoderParameters, BaseMultilayerPerceptron
):
    """Autoencoder: a network that learns to reconstruct its inputs from a narrow layer, the code.

    The encoder's layers have the sizes in `hidden_layer_sizes`; the last is the size of the code. The decoder's layers
    have the same sizes in reverse order. `transform` is the encoder, `inverse_transform` the decoder. With a single
    layer, identity activations and the squared error, the code spans the principal components [1]_.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(32,)
        Numbers of units of the encoder's layers; the last is the size of the code.
    activation : str, pair or list, default="relu"
        Activation of the encoder's layers before the code: a name, a pair of a name and its parameter, or a list of
        these, one for each layer.
    code_activation : str or pair, default="identity"
        Activation of the code.
    decoder_activation : str, pair, list or None, default=None
        Activation of the decoder's layers before the output, starting after the code; None: that of the encoder, in
        reverse order.
    output_activation : str or pair, default="auto"
        Activation of the output; ``"auto"`` is the identity for the squared error. For the log loss it is the logistic
        function, and no other is allowed.
    loss : {"squared_error", "log_loss"}, default="squared_error"
        Half the squared error, or the cross-entropy of data in [0, 1]; both are averaged over the features.
    tied_weights : bool, default=False
        Whether the decoder's weights are the transposed weights of the encoder; the decoder has its own biases.
    dropout : float, default=0.0
        Probability in [0, 1) with which each training step sets an input to zero; the others are divided by 1 -
        dropout. The result is a denoising autoencoder [2]_, which reconstructs missing inputs. Not with ``"lbfgs"``.
    solver : {"adam", "sgd", "lbfgs", "momentum", "nesterov", "adagrad", "rmsprop", "adamw", "natural"}, default="adam"
        Optimizer; ``"natural"`` does not support tied weights. For this and all parameters below, see `MLPRegressor`.
    alpha : float, default=0.0
        Strength of the L2 penalty on the weights; tied weights count once.
    batch_size : int or "auto", default="auto"
        Samples in a mini-batch. With ``"natural"``, ``"auto"`` is only the initial batch size.
    learning_rate : str or Schedule, default="constant"
        Schedule of the learning rate: a name, or an object of ``steepest.optim.schedules``.
    learning_rate_init, power_t : float, default=1e-3 and 0.5
        Initial learning rate, with ``"one_cycle"`` the largest rate; exponent of the ``"invscaling"`` schedule.
    max_iter : int, default=200
        Largest number of epochs, or of iterations of L-BFGS.
    shuffle, random_state : object
        Whether to shuffle the samples in each epoch; seed of initial weights, dropout, shuffles and validation split.
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
    max_fun : int, default=15000
        Largest number of loss evaluations of L-BFGS.
    l1_ratio, max_norm, init : float, float or None, and str, default=0.0, None and "auto"
        Proportion of L1 in the penalty; largest norm of all gradients together in a step; initial weights.
    callbacks, device, precision : object
        Objects of `steepest.callbacks` that are called after every epoch; device to compute on; precision of the
        products of matrices.
    pretrain : {None, "rbm", "autoencoder"}, default=None
        Greedy training of the layers, one after the other, before the first `fit`: by Boltzmann machines, for layers
        with the logistic function, or by autoencoders of one layer. It lets deep networks of such units learn at all.
    pretrain_iter : int, default=20
        Epochs of the greedy training of each layer.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases of each layer of encoder and decoder; tied weights are listed once.
    loss_, loss_curve_, best_loss_, validation_scores_, validation_loss_curve_, best_validation_score_ : object
        Losses and scores; see `MLPRegressor`.
    n_iter_, t_, n_layers_, n_outputs_, n_features_in_, device_ : object
        Counts, and the device of the model; see `MLPRegressor`.

    References
    ----------
    .. [1] P. Baldi, K. Hornik, "Neural networks and principal component analysis: learning from examples without local
       minima", Neural Networks 2, 1989.
    .. [2] P. Vincent et al., "Extracting and composing robust features with denoising autoencoders", ICML 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from steepest.neural_network import Autoencoder
    >>> X = load_digits().data / 16
    >>> model = Autoencoder((64, 8), learning_rate_init=0.01, max_iter=50, n_iter_no_change=50, random_state=0)
    >>> model.fit_transform(X).shape
    (1797, 8)
    """

    _validation_options: ClassVar[dict[str, Any]] = {}
    _fewest_scored: ClassVar[int] = 2

    def __init__(
        self,
        hidden_layer_sizes: int | Iterable[int] = (32,),
        activation: Any = "relu",
        *,
        code_activation: Any = "identity",
        decoder_activation: Any = None,
        output_activation: Any = "auto",
        loss: Literal["squared_error", "log_loss"] = "squared_error",
        tied_weights: bool = False,
        dropout: float = 0.0,
        solver: Solver = "adam",
        alpha: float = 0.0,
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
        init: InitialWeights = "auto",
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
        precision: Precision = "float32",
        pretrain: Literal["rbm", "autoencoder"] | None = None,
        pretrain_iter: int = 20,
    ) -> None:
        store_parameters(self, locals())

    # ------------------------------------------------------------------------------------------ public methods

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        eval_set: Any = None,
        pretrain_X: Any = None,
    ) -> Autoencoder:
        """Train the network to reconstruct X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples; float32 stays float32, everything else becomes float64.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative.
        eval_set : array-like of shape (n, n_features), default=None
            Validation samples for the score after each epoch.
        pretrain_X : array-like or sparse matrix of shape (n, n_features), default=None
            Samples for `pretrain`, which need no targets; by default X.

        Returns
        -------
        Autoencoder
            Itself.

        Raises
        ------
        ValueError
            If X, the weights or a parameter are not as described; the message names the first NaN or infinite item of
            X.
        DivergenceError
            If the loss is no longer finite. The last finite weights remain.
        """
        eval_set = self._twice(eval_set)
        self._fit(X, None, sample_weight, incremental=False, eval_set=eval_set, pretrain_X=pretrain_X)
        return self

    @available_if(_is_stochastic)
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, eval_set: Any = None
    ) -> Autoencoder:
        """Train for one epoch on the given samples, continuing from the last call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        eval_set : array-like of shape (n, n_features), default=None
            Validation samples for the score after this epoch.

        Returns
        -------
        Autoencoder
            Itself.

        Raises
        ------
        ValueError, DivergenceError
            As in `fit`.
        """
        self._fit(X, None, sample_weight, incremental=True, eval_set=self._twice(eval_set))
        return self

    def transform(self, X: Any) -> Array:
        """Return the code of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_code)
            The encoder's output, in the network's dtype and the library of X.
        """
        check_is_fitted(self)
        encoder, _ = self._parts(self._network.layers)
        return in_library_of(X, self._decision(X, encoder))

    def inverse_transform(self, X: Any) -> Array:
        """Reconstruct samples from their codes with the decoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_code)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The decoder's output, in the network's dtype and the library of X.

        Raises
        ------
        ValueError
            If X does not have n_code columns, or is not finite.
        """
        check_is_fitted(self)
        code = validate_transformed(self, X, self._n_features_out, self._network.dtype)
        network = self._network_for(X)
        _, decoder = self._parts(network.layers)
        output = network.predict(to_device(code, network.device), layers=decoder)
        return in_library_of(X, self._activated(output))

    def reconstruct(self, X: Any) -> Array:
        """Return the reconstruction of X by encoder and decoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            ``inverse_transform(transform(X))``, in the library of X.
        """
        return self._predict(X, self._activated)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the proportion of the variance of X that its reconstruction explains.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            ``1 - sum((X - reconstruction)^2) / sum((X - mean)^2)``: 1 for a perfect reconstruction, 0 if every
            reconstruction is the mean. For PCA, it corresponds to ``explained_variance_ratio_.sum()``.
        """
        return _explained(to_host(X), to_host(self.reconstruct(X)), to_host(sample_weight))

    # --------------------------------------------------------------------------------------------- for the base

    def _check_data(self, X: Any, y: Any, reset: bool) -> Any:
        checked = super()._check_data(X, "no_validation", reset)
        return checked if isinstance(y, str) else (checked, checked)

    def _validate_targets(self, y: Array, X: Array, first_pass: bool, incremental: bool) -> Array:
        if self.loss == "log_loss" and not bool(((X >= 0) & (X <= 1)).all()):
            raise ValueError(self._prefix("X must be in [0, 1] with loss='log_loss'"))
        return X

    def _loss_function(self) -> Loss:
        return nn.BinaryCrossEntropy() if self.loss == "log_loss" else nn.MeanSquaredError(half=True)

    def _output_shape(self, y: Array) -> tuple[int, str]:
        given = self.output_activation
        if given == "auto":
            given = "logistic" if self.loss == "log_loss" else "identity"
        return y.shape[1], str(given)

    def _activated(self, output: Array) -> Array:
        """Return the reconstruction from the network's output, which consists of logits for the log loss."""
        return K.activation(output, "sigmoid") if self.loss == "log_loss" else output

    def _score_output(self, output: Array, y: Array, sample_weight: Array | None) -> float:
        output = to_host(self._activated(output))
        if not np.isfinite(output).all():
            return float("nan")
        return _explained(to_host(y), output, to_host(sample_weight))

    def _twice(self, eval_set: Any) -> Any:
        """Return the validation samples as a pair of inputs and targets, which are the same."""
        if isinstance(eval_set, tuple):
            raise ValueError(self._prefix("eval_set must be samples alone, as X is, and not a tuple"))
        return None if eval_set is None else (eval_set, eval_set)

    def _make_layers(self, n_in: int, n_out: int) -> tuple[nn.layers.Layer, ...]:
        return autoencoder_layers(self, n_in)

    def _parts(self, layers: tuple[nn.layers.Layer, ...]) -> tuple[slice, slice]:
        """Return which layers are the encoder, and which the decoder."""
        return encoder_and_decoder(layers)

    @property
    def _n_features_out(self) -> int:
        return hidden_sizes(self)[-1]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _explained(X: Any, reconstruction: Array, sample_weight: Any) -> float:
    return float(r2_score(X, reconstruction, sample_weight=sample_weight, multioutput="variance_weighted"))

"""Convolutional autoencoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

from sklearn.utils.validation import check_is_fitted

from steepest import nn
from steepest._runtime.arrays import Array
from steepest.callbacks import Callback
from steepest.nn.initializers import Initializer
from steepest.optim.schedules import Schedule
from steepest.training.images import as_floats

from ._architecture import make_activation
from ._autoencoder import Autoencoder
from ._blocks import ArchitectureName
from ._encoder_decoder import last_activation, noise_layers
from ._images import ImageInputs, as_rows, shape_of
from ._mirrored import decoder_layers, encoder_layers
from ._parameters import ConvolutionalParameters, Device, LearningRate, Precision, Solver, store_parameters


class ConvAutoencoder(ImageInputs, Autoencoder):
    """Autoencoder of images: convolutions to a code, and their mirror images back.

    The decoder has the layers of the encoder in reverse: transposed convolutions, and repeated pixels where the encoder
    pools. It has the methods, solvers and attributes of `Autoencoder`, and takes an X as `ConvClassifier` does.

    Parameters
    ----------
    blocks : {"lenet", "small"} or list, default="lenet"
        The encoder's layers in front; see `ConvClassifier`. Layers of `steepest.nn` in a list have to be convolutions,
        pooling, activations or batch norms.
    hidden_layer_sizes : int or sequence of int, default=(32,)
        Numbers of units of the dense layers behind the blocks; the last is the size of the code.
    activation : str or pair, default="relu"
        Activation of all layers but the code and the output.
    image_shape, batch_norm : object
        The shape of the images; whether convolutions are followed by batch normalisation. See `ConvClassifier`.
    code_activation, output_activation : str or pair, default="identity" and "auto"
        Activations of the code and of the output; see `Autoencoder`.
    loss : {"squared_error", "log_loss"}, default="squared_error"
        Half the squared error, or the cross-entropy of data in [0, 1]; both are averaged over the pixels.
    dropout : float, default=0.0
        Probability in [0, 1) with which each training step sets a pixel to zero, which the network reconstructs. Not
        with ``"lbfgs"``.
    solver, alpha : str and float, default="adam" and 0.0
        Optimizer; strength of the L2 penalty on the weights. For this and all parameters below, see `MLPRegressor`.
    batch_size, max_iter : int, default="auto" and 20
        Samples in a mini-batch, by default min(200, n_samples); largest number of epochs.
    learning_rate, learning_rate_init, power_t : object
        Schedule of the learning rate, its initial value, and the exponent of ``"invscaling"``.
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
    max_fun : int, default=15000
        Largest number of loss evaluations of L-BFGS.
    l1_ratio, max_norm, init : float, float or None, and str, default=0.0, None and "glorot_uniform"
        Proportion of L1 in the penalty; largest norm of all gradients together in a step; initial weights.
    callbacks, device, precision : object
        Objects of `steepest.callbacks` that are called after every epoch; device to compute on; precision of the
        products of matrices.

    Attributes
    ----------
    image_shape_ : (int, int, int)
        Height, width and channels of the images.
    coefs_, intercepts_ : list of ndarray
        Weights and biases of the layers of encoder and decoder; see `ConvClassifier`.
    loss_, loss_curve_, best_loss_, validation_scores_, validation_loss_curve_, best_validation_score_ : object
        Losses and scores; see `MLPRegressor`.
    n_iter_, t_, n_layers_, n_outputs_, n_features_in_, device_ : object
        Counts, and the device of the model; see `MLPRegressor`.

    Examples
    --------
    >>> from steepest import datasets
    >>> from steepest.neural_network import ConvAutoencoder
    >>> X, y = datasets.load_digits()
    >>> model = ConvAutoencoder([16, "pool"], (16,), image_shape=(8, 8), max_iter=20, random_state=0).fit(X)
    >>> model.transform(X).shape, model.reconstruct(X[:3]).shape
    ((1797, 16), (3, 64))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Autoencoder._parameter_constraints,
        **ConvolutionalParameters._layer_constraints,
    }

    def __init__(
        self,
        blocks: ArchitectureName | Sequence[Any] = "lenet",
        hidden_layer_sizes: int | Iterable[int] = (32,),
        activation: Any = "relu",
        *,
        image_shape: tuple[int, ...] | None = None,
        batch_norm: bool = False,
        code_activation: Any = "identity",
        output_activation: Any = "auto",
        loss: Literal["squared_error", "log_loss"] = "squared_error",
        dropout: float = 0.0,
        solver: Solver = "adam",
        alpha: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: LearningRate | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 20,
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
        init: Initializer = "glorot_uniform",
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
        precision: Precision = "float32",
    ) -> None:
        store_parameters(self, locals())

    # ------------------------------------------------------------------------------------------ public methods

    def inverse_transform(self, X: Any) -> Array:
        """Reconstruct images from their codes with the decoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_code)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, ...)
            Images of the shape that a sample had at fit, in the network's dtype and the library of X.

        Raises
        ------
        ValueError
            If X does not have n_code columns, or is not finite.
        """
        check_is_fitted(self)
        rows = super().inverse_transform(X)
        return rows.reshape(len(rows), *self._sample_shape)

    def reconstruct(self, X: Any) -> Array:
        """Return the reconstruction of X by encoder and decoder.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels) or (n, n_features)
            Images.

        Returns
        -------
        ndarray
            ``inverse_transform(transform(X))`` in the shape and the library of X.
        """
        return super().reconstruct(X).reshape(shape_of(X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the proportion of the variance of the pixels that the reconstruction explains.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels) or (n, n_features)
            Images.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            As `Autoencoder.score`.
        """
        check_is_fitted(self)
        return super().score(as_floats(as_rows(X)), y, sample_weight)

    # --------------------------------------------------------------------------------------------- for the base

    def _check_data(self, X: Any, y: Any, reset: bool) -> Any:
        checked = super()._check_data(X, y, reset)
        if reset:
            self._sample_shape = shape_of(X)[1:]
        return checked

    def _validate_targets(self, y: Array, X: Array, first_pass: bool, incremental: bool) -> Array:
        return super()._validate_targets(y, as_floats(X), first_pass, incremental)

    def _make_layers(self, n_in: int, n_out: int) -> tuple[nn.layers.Layer, ...]:
        shape = self._layers_shape()
        code, output = (make_activation(self, each) for each in (self.code_activation, last_activation(self)))
        return (*noise_layers(self), *encoder_layers(self, shape), code, *decoder_layers(self, shape), output)

    def _parts(self, layers: tuple[nn.layers.Layer, ...]) -> tuple[slice, slice]:
        dense = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
        code = dense[len(dense) // 2]
        return slice(int(isinstance(layers[0], nn.Dropout)), code), slice(code, len(layers))

"""Convolutional network for regression."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

from steepest.callbacks import Callback
from steepest.nn.initializers import Initializer
from steepest.optim.schedules import Schedule
from steepest.training.images import Augmentation

from ._blocks import ArchitectureName
from ._images import ImageInputs
from ._parameters import ConvolutionalParameters, Device, LearningRate, Precision, Solver, store_parameters
from ._regression_losses import LossName
from ._regressor import MLPRegressor


class ConvRegressor(ImageInputs, MLPRegressor):
    """Convolutional network for regression on images.

    A multilayer perceptron behind convolutions: it has the methods, solvers, losses and attributes of `MLPRegressor`,
    and takes an X as `ConvClassifier` does.

    Parameters
    ----------
    blocks, hidden_layer_sizes, activation, image_shape, batch_norm, augment : object
        The layers, the shape of the images, and what augments them; see `ConvClassifier`.
    loss : str or pair, default="squared_error"
        The loss. For this and all parameters below, see `MLPRegressor`.
    solver, alpha : str and float, default="adam" and 1e-4
        Optimizer; strength of the L2 penalty on the weights.
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
    l1_ratio, max_norm : float, default=0.0 and None
        Proportion of L1 in the penalty; largest norm of all gradients together in a step.
    dropout, init, callbacks, device, precision : object
        As in `ConvClassifier`.

    Attributes
    ----------
    image_shape_ : (int, int, int)
        Height, width and channels of the images.
    coefs_, intercepts_ : list of ndarray
        As in `ConvClassifier`.
    loss_, loss_curve_, best_loss_, validation_scores_, validation_loss_curve_, best_validation_score_ : object
        See `MLPRegressor`.
    stopped_early_, n_iter_, t_, n_layers_, n_outputs_, out_activation_ : object
        See `MLPRegressor`.
    device_, n_features_in_, feature_names_in_ : object
        See `MLPRegressor`.

    Examples
    --------
    >>> from steepest import datasets
    >>> from steepest.neural_network import ConvRegressor
    >>> X, y = datasets.load_digits()
    >>> images = X.reshape(-1, 8, 8)
    >>> ink = images.mean(axis=(1, 2))
    >>> model = ConvRegressor([8, "pool"], max_iter=30, random_state=0)
    >>> model.fit(images, ink).score(images, ink) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MLPRegressor._parameter_constraints,
        **ConvolutionalParameters._image_constraints,
    }

    def __init__(
        self,
        blocks: ArchitectureName | Sequence[Any] = "lenet",
        hidden_layer_sizes: int | Iterable[int] | Literal["auto"] = "auto",
        activation: Any = "relu",
        *,
        image_shape: tuple[int, ...] | None = None,
        batch_norm: bool = False,
        augment: Augmentation | None = None,
        loss: LossName | tuple[Literal["huber", "quantile"], float] = "squared_error",
        solver: Solver = "adam",
        alpha: float = 0.0001,
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
        dropout: float | Iterable[float] = 0.0,
        init: Initializer = "glorot_uniform",
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
        precision: Precision = "float32",
    ) -> None:
        store_parameters(self, locals())

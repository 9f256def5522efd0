"""Convolutional network for classification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from steepest.callbacks import Callback
from steepest.nn.initializers import Initializer
from steepest.optim.schedules import Schedule
from steepest.training.images import Augmentation

from ._blocks import ArchitectureName
from ._classifier import MLPClassifier
from ._images import ImageInputs
from ._labels import LossName
from ._parameters import ConvolutionalParameters, Device, LearningRate, Precision, Solver, store_parameters


class ConvClassifier(ImageInputs, MLPClassifier):
    """Convolutional network for classification of images.

    A multilayer perceptron behind convolutions: it has the methods, solvers, losses and attributes of `MLPClassifier`.

    An X has shape (n, height, width), (n, height, width, channels), or (n, features) with `image_shape`. Images of
    bytes (uint8) are taken as they are, divided by 255 as each batch is gathered, and trained on in float32. Images of
    shape (n, channels, height, width) become such an X by ``X.transpose(0, 2, 3, 1)``.

    Parameters
    ----------
    blocks : {"lenet", "small", "resnet8"} or list, default="lenet"
        The layers in front. In a list, a block is one of these:

        * a number of maps, or a pair (maps, kernel_size): a convolution with zeros around it, so that the image keeps
          its size, and the activation; the kernel has 3 rows and columns if nothing else is said,
        * ``"pool"``: the maximum of each 2 x 2 pixels,
        * a layer of `steepest.nn`, such as ``nn.Residual(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())``.

        ``"lenet"`` is LeNet-5 [1]_ with maximum pooling: 6 and 16 maps of 5 x 5 kernels, and hidden layers of 120 and
        84 units, for images from 12 x 12 on. ``"small"`` has 32 and 64 maps of 3 x 3 kernels, each pooled, for images
        from 10 x 10 on. ``"resnet8"`` has three residual blocks [2]_ of 16, 32 and 64 maps with batch normalisation,
        and the means of the maps behind them.
    hidden_layer_sizes : "auto", int or sequence of int, default="auto"
        Numbers of units of the hidden layers behind the blocks; ``"auto"``: those of a named architecture, and none
        behind a list.
    activation : str or pair, default="relu"
        Activation of the convolutions and of the hidden layers; see `MLPClassifier`.
    image_shape : (height, width) or (height, width, channels), default=None
        Shape of the images, for an X of flat rows; other X know it.
    batch_norm : bool, default=False
        Whether each convolution that a list gives by numbers is followed by batch normalisation, before its activation.
    augment : Augmentation or None, default=None
        Random shifts, flips and more of the images during training; see `Augmentation`. Not with ``"lbfgs"``.
    loss : {"log_loss", "hinge", "squared_hinge", "exponential"}, default="log_loss"
        The loss. For this and all parameters below, see `MLPClassifier`.
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
    class_weight : mapping, "balanced" or list of mappings, default=None
        Weights by class.
    l1_ratio, max_norm : float, default=0.0 and None
        Proportion of L1 in the penalty; largest norm of all gradients together in a step.
    dropout : float or list of float, default=0.0
        Probability in [0, 1) with which each step drops an input of a dense layer: one for all, or one for each.
    init : str, default="glorot_uniform"
        Initial weights of all layers that are given by numbers; see `nn.Linear`. Biases start at 0.
    callbacks, device, precision : object
        Objects of `steepest.callbacks` that are called after every epoch; device to compute on; precision of the
        products of matrices.

    Attributes
    ----------
    image_shape_ : (int, int, int)
        Height, width and channels of the images.
    coefs_, intercepts_ : list of ndarray
        Weights and biases of the layers, first to last: (rows, columns, channels, maps) of a convolution, (n_in, n_out)
        of a dense layer. The scales and offsets of norms are among them.
    classes_, loss_, loss_curve_, best_loss_, validation_scores_, validation_loss_curve_ : object
        See `MLPClassifier`.
    best_validation_score_, stopped_early_, n_iter_, t_, n_layers_, n_outputs_, out_activation_ : object
        See `MLPClassifier`.
    device_, n_features_in_, feature_names_in_ : object
        See `MLPClassifier`.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
       Proceedings of the IEEE 86, 1998.
    .. [2] K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016.

    Examples
    --------
    >>> from steepest import datasets
    >>> from steepest.neural_network import ConvClassifier
    >>> X, y = datasets.load_digits()
    >>> model = ConvClassifier(
    ...     [16, "pool", 32, "pool"], image_shape=(8, 8), max_iter=10, learning_rate_init=0.01, random_state=0
    ... )
    >>> model.fit(X[:1400], y[:1400]).score(X[1400:], y[1400:]) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MLPClassifier._parameter_constraints,
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
        loss: LossName = "log_loss",
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
        class_weight: Mapping[Any, float] | list[Mapping[int, float]] | Literal["balanced"] | None = None,
        l1_ratio: float = 0.0,
        max_norm: float | None = None,
        dropout: float | Iterable[float] = 0.0,
        init: Initializer = "glorot_uniform",
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
        precision: Precision = "float32",
    ) -> None:
        store_parameters(self, locals())

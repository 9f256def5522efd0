"""Generative adversarial network."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from steepest import nn, optim
from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import array_namespace, assign, to_device
from steepest.callbacks import Callback, Epoch, above_bars
from steepest.estimators.data import in_library_of
from steepest.estimators.device import resolve_device
from steepest.estimators.labels import number_labels, one_hot_rows
from steepest.estimators.validation import float_dtype, validate_labels, validate_targets
from steepest.training.adversarial import (
    DiscriminatorSteps,
    GeneratorSteps,
    Judge,
    Latent,
    SimultaneousSteps,
    generator_input,
    score_of,
    with_ones,
)
from steepest.training.adversarial_losses import ADVERSARIAL_LOSSES, AdversarialLoss, AdversarialName
from steepest.training.batches import Batches, Samples
from steepest.training.gradient_penalty import GradientPenalty, length_of
from steepest.training.loop import Monitor
from steepest.training.programs import Program
from steepest.training.trainer import Trainer

from ._architecture import make_activation
from ._generative.base import GenerativeModel, rows_in_unit_interval
from ._generative.diagnosis import ADVICE, diagnose, total_variance
from ._generative.layers import Named, behind, layers_to_features, layers_to_samples, require_valid
from ._parameters import ACTIVATIONS, Device, Precision, prefixed, store_parameters

_DIAGNOSED = 512  # samples whose variance is compared with that of the data


class GAN(GenerativeModel):
    """Generative adversarial network: a generator of samples, and a discriminator that it learns to deceive.

    The generator makes samples of normal numbers. The discriminator gives scores, high ones for samples of the data and
    low ones for generated samples. Both are trained in turns [1]_, each by a captured graph.

    Parameters
    ----------
    n_latent : int, default=16
        Normal numbers that a sample is made of.
    generator, discriminator : {"auto", "dense", "convolutional"}, sequence of int or list of layers, default="auto"
        Numbers of units of the hidden layers; ``"dense"`` has (128, 128). ``"convolutional"`` is for images: strided
        convolutions that halve height and width, with `n_maps` maps and twice as many each time, and transposed ones in
        the generator [2]_; ``"auto"`` takes it for images of 16 x 16 pixels or more. Layers of `steepest.nn` of the
        generator take ``n_latent`` numbers, and with labels a one among ``n_classes`` behind them, and make the
        features of a sample; those of the discriminator take rows, or images of `image_shape_`, and have one output,
        with labels ``1 + n_classes``.
    activation : str or pair, default=("leaky_relu", 0.2)
        Activation of the hidden layers.
    output_activation : str, pair or "auto", default="auto"
        Activation of the generated samples; ``"auto"`` is the logistic function for images in [0, 1], else the
        identity.
    n_maps : int, default=16
        Maps of the largest convolution.
    loss : {"non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"}, default="non_saturating"
        What the two minimise. The relativistic loss compares a sample with a generated one, and misses parts of the
        data less often [6]_.
    r1 : float, default=0.0
        Strength of the R1 penalty, half the mean squared length of the gradient of the score at the samples [3]_. With
        it, training converges near the equilibrium; 0.1 to 10 are usual.
    clip : float or None, default=None
        Bound of the size of the discriminator's parameters after each step, for ``loss="wasserstein"`` [4]_.
    updates : {"alternating", "simultaneous"}, default="alternating"
        Whether the generator's step sees the discriminator's last step, or both take their steps from the same
        parameters.
    discriminator_steps : int, default=1
        Steps of the discriminator, each on other samples, for one of the generator; 1 with simultaneous updates.
    average_decay : float or None, default=0.999
        Decay of a moving average of the generator's parameters, which `sample` uses [5]_; None for the last parameters.
    image_shape : (int, int) or (int, int, int), default=None
        Height and width, and channels, of images that are flat rows; an X of three or four axes says them itself.
    solver : {"adam", "sgd", "momentum", "nesterov", "adagrad", "rmsprop"}, default="adam"
        Optimizer of both.
    learning_rate_init : float, default=1e-3
        Learning rate of the generator.
    discriminator_learning_rate_init : float or None, default=None
        Learning rate of the discriminator; None for that of the generator.
    batch_size, max_iter : int, default=128 and 100
        Samples in a mini-batch; number of epochs.
    momentum, beta_1, beta_2, epsilon : float, default=0.0, 0.5, 0.99 and 1e-8
        Momentum of the rules that have one; parameters of Adam.
    max_norm : float or None, default=None
        Largest norm of all gradients of a network together in a step.
    shuffle, random_state : object
        Whether to shuffle the samples in each epoch; seed of initial weights, draws and shuffles.
    verbose : bool, default=False
        Whether to print a line for each epoch.
    callbacks, device, precision : object
        Objects of `steepest.callbacks` that are called after every epoch; device to compute on; precision of the
        products of matrices.

    Attributes
    ----------
    generator_, discriminator_ : Network
        The networks; the generator's parameters are the averages.
    classes_, class_prior_ : ndarray of shape (n_classes,)
        Labels and their proportions, after a fit with y.
    generator_loss_curve_, discriminator_loss_curve_ : list of float
        Mean losses of each epoch; that of the discriminator has the penalty.
    loss_curve_ : list of float
        Their sum.
    diagnosis_ : list of str
        What has gone wrong by the end of the fit: "discriminator_won", "divergence", "mode_collapse". `fit` warns of
        each, with advice.
    image_shape_ : (int, int, int) or None
        Height, width and channels of samples that are images.
    n_iter_, n_features_in_, device_ : object
        Number of epochs; number of features; device of the model.

    References
    ----------
    .. [1] I. Goodfellow et al., "Generative adversarial nets", NIPS 2014.
    .. [2] A. Radford, L. Metz, S. Chintala, "Unsupervised representation learning with deep convolutional generative
       adversarial networks", ICLR 2016.
    .. [3] L. Mescheder, A. Geiger, S. Nowozin, "Which training methods for GANs do actually converge?", ICML 2018.
    .. [4] M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein generative adversarial networks", ICML 2017.
    .. [5] Y. Yazıcı et al., "The unusual effectiveness of averaging in GAN training", ICLR 2019.
    .. [6] R. Sun, T. Fang, A. Schwing, "Towards a better global loss landscape of GANs", NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest.neural_network import GAN
    >>> angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 2000)
    >>> X = np.column_stack([np.cos(angles), np.sin(angles)])
    >>> model = GAN(4, r1=0.1, max_iter=60, random_state=0).fit(X)
    >>> bool(abs(np.linalg.norm(model.sample(500, seed=0), axis=1) - 1).mean() < 0.1)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GenerativeModel._shared_constraints,
        "generator": [str, list, tuple, Interval(Integral, 1, None, closed="left")],
        "discriminator": [str, list, tuple, Interval(Integral, 1, None, closed="left")],
        "output_activation": [StrOptions({"auto", *ACTIVATIONS}), tuple],
        "loss": [StrOptions(set(ADVERSARIAL_LOSSES))],
        "r1": [Interval(Real, 0, None, closed="left")],
        "clip": [Interval(Real, 0, None, closed="neither"), None],
        "updates": [StrOptions({"alternating", "simultaneous"})],
        "discriminator_steps": [Interval(Integral, 1, None, closed="left")],
        "average_decay": [Interval(Real, 0, 1, closed="left"), None],
        "discriminator_learning_rate_init": [Interval(Real, 0, None, closed="neither"), None],
    }

    generator_: nn.Network
    discriminator_: nn.Network
    classes_: Array
    class_prior_: Array
    generator_loss_curve_: list[float]
    discriminator_loss_curve_: list[float]
    diagnosis_: list[str]

    def __init__(
        self,
        n_latent: int = 16,
        generator: Named | Sequence[Any] = "auto",
        discriminator: Named | Sequence[Any] = "auto",
        activation: Any = ("leaky_relu", 0.2),
        *,
        output_activation: Any = "auto",
        n_maps: int = 16,
        loss: AdversarialName = "non_saturating",
        r1: float = 0.0,
        clip: float | None = None,
        updates: Literal["alternating", "simultaneous"] = "alternating",
        discriminator_steps: int = 1,
        average_decay: float | None = 0.999,
        image_shape: tuple[int, ...] | None = None,
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        discriminator_learning_rate_init: float | None = None,
        batch_size: int = 128,
        max_iter: int = 100,
        momentum: float = 0.0,
        beta_1: float = 0.5,
        beta_2: float = 0.99,
        epsilon: float = 1e-8,
        max_norm: float | None = None,
        shuffle: bool = True,
        random_state: Any = None,
        verbose: bool | int = False,
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
        precision: Precision = "float32",
    ) -> None:
        store_parameters(self, locals())

    # ------------------------------------------------------------------------------------------------- fitting

    def fit(self, X: Any, y: Any = None) -> GAN:
        """Train generator and discriminator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n, height, width) or (n, height, width, channels)
            Samples; float32 stays float32, bytes are divided by 255, everything else becomes float64.
        y : array-like of shape (n_samples,) or None, default=None
            Labels of the samples, by which `sample` can then choose what it makes.

        Returns
        -------
        GAN
            Itself.

        Raises
        ------
        ValueError
            If X, y or a parameter is not as described.
        DivergenceError
            If a loss is no longer finite. The last finite weights remain.
        """
        self._fit(X, y)
        return self

    def _fit(self, X: Any, y: Any = None, monitor: Monitor | None = None) -> bool:
        """Fit the model, and return whether the user interrupted the fit."""
        self._check_parameters()
        for name in ("generator", "discriminator"):
            require_valid(self, name)
        if self.updates == "simultaneous" and self.discriminator_steps != 1:
            raise ValueError(
                prefixed(
                    self,
                    f"discriminator_steps must be 1 with updates='simultaneous', got {self.discriminator_steps}",
                )
            )
        device = resolve_device(self.device, type(self).__name__, X)
        cupy_inputs, rows = is_cupy(X), self._check_rows(X, reset=True)
        classes, ids = self._check_labels(y, len(rows))
        dtype, d = float_dtype(rows), rows.shape[1]
        n_classes = 0 if classes is None else len(classes)
        seeds = check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=4)
        X = to_device(rows, device)
        n_in = self.n_latent + n_classes
        outputs = layers_to_features(
            self, self.discriminator, self.image_shape_, d, 1 + n_classes, "discriminator"
        )
        samples = [
            *layers_to_samples(self, self.generator, self.image_shape_, n_in, d, "generator"),
            self._last_activation(X),
        ]
        options: dict[str, Any] = {"dtype": dtype, "device": device, "precision": self.precision}
        generator = nn.Network(behind(n_in, samples), seed=int(seeds[0]), **options)
        self.discriminator_ = nn.Network(behind(d, outputs), seed=int(seeds[1]), **options)
        # What samples are made with: the averages, beside the network that is trained.
        self.generator_ = nn.Network(behind(n_in, samples), seed=int(seeds[0]), **options)
        self.device_, self._cupy_inputs = device, cupy_inputs
        self._set_classes(classes, ids)
        self.loss_curve_, self.n_iter_, self.diagnosis_ = [], 0, []
        self.generator_loss_curve_, self.discriminator_loss_curve_ = [], []

        loss = AdversarialLoss(self.loss)
        average = None
        if self.average_decay is not None and generator.parameters():
            average = optim.ParameterAverage(generator.parameters(), float(self.average_decay))
        of_discriminator, of_generator = self._programs(generator, X, loss, average, int(seeds[2]))
        programs: dict[str, Program] = {"discriminator": of_discriminator, "generator": of_generator}
        if self.updates == "simultaneous":
            programs = {"both": SimultaneousSteps(of_discriminator, of_generator)}
        xp = array_namespace(X)
        targets = xp.zeros(len(X), np.uint8)
        if ids is not None:
            targets = to_device(np.eye(n_classes, dtype=dtype)[ids], device)
        batches = Batches(Samples(X, targets), shuffle=self.shuffle, seed=int(seeds[3]), dtype=dtype)
        trainer = Trainer(programs, batches, min(self.batch_size, len(X)))

        def take_over() -> None:
            """Let the network of the samples have the averages, and the running averages of norms."""
            values = [p.value for p in generator.parameters()]
            if average is not None and average.steps:
                values = average.values()
            if not all(bool(xp.isfinite(value).all()) for value in values):
                return  # The last steps of a fit that diverges join the average, too: that of the epoch before stays.
            for parameter, value in zip(self.generator_.parameters(), values, strict=True):
                assign(parameter.value, value)
            for name, state in generator.states.items():
                assign(self.generator_.states[name], state)

        def record(epoch: Epoch) -> str:
            self.discriminator_loss_curve_.append(of_discriminator.mean_loss)
            self.generator_loss_curve_.append(of_generator.mean_loss)
            take_over()
            return f"discriminator {of_discriminator.mean_loss:.4f}, generator {of_generator.mean_loss:.4f}"

        try:
            interrupted = self._train(trainer, record, monitor)
        finally:
            take_over()
        self._warn_of_faults(loss, X)
        return interrupted

    def _programs(
        self,
        generator: nn.Network,
        X: Array,
        loss: AdversarialLoss,
        average: optim.ParameterAverage | None,
        seed: int,
    ) -> tuple[DiscriminatorSteps, GeneratorSteps]:
        """Return what the two networks do with a batch."""
        judge, latent = Judge(self.discriminator_), Latent(generator, self.n_latent, seed)
        rate = self.discriminator_learning_rate_init or self.learning_rate_init
        penalty = GradientPenalty(self.discriminator_, float(self.r1), length_of(X)) if self.r1 else None
        return (
            DiscriminatorSteps(
                judge,
                latent,
                loss,
                self._optimizer([self.discriminator_], rate),
                penalty=penalty,
                clip=None if self.clip is None else float(self.clip),
            ),
            GeneratorSteps(
                judge,
                latent,
                loss,
                self._optimizer([generator], self.learning_rate_init),
                period=self.discriminator_steps,
                average=average,
            ),
        )

    def _last_activation(self, X: Array) -> nn.Activation:
        given = self.output_activation
        if given == "auto":
            is_image = self.image_shape_ is not None
            given = "sigmoid" if is_image and rows_in_unit_interval(X) else "identity"
        return make_activation(self, given)

    # ------------------------------------------------------------------------------------------------- labels

    def _check_labels(self, y: Any, n: int) -> tuple[Array | None, Array | None]:
        """Return the distinct labels and the index of that of each sample, or None and None."""
        if y is None:
            return None, None
        y = validate_targets(self, y, n)
        validate_labels(self, y)
        return number_labels(y)

    def _set_classes(self, classes: Array | None, ids: Array | None) -> None:
        for name in ("classes_", "class_prior_"):
            self.__dict__.pop(name, None)
        if classes is not None and ids is not None:
            self.classes_ = classes
            self.class_prior_ = np.bincount(ids, minlength=len(classes)) / len(ids)

    def _rows_of_labels(self, y: Any, n: int) -> Array | None:
        """Return a row with a one at the class of each label, on the device of the networks.

        Raises
        ------
        ValueError
            If the model knows no labels, or does not know one of them, or their number is not n.
        """
        classes = self.__dict__.get("classes_")
        if classes is None:
            if y is not None:
                raise ValueError(prefixed(self, "y is for a model that was fitted with labels: fit(X, y)"))
            return None
        rows = one_hot_rows(self, y, n, classes, self._main.dtype)
        return to_device(rows, self._main.device)

    # ------------------------------------------------------------------------------------------------- samples

    def sample(self, n: int = 1, y: Any = None, *, seed: int | None = None) -> Array:
        """Return generated samples.

        Parameters
        ----------
        n : int, default=1
            Number of samples.
        y : label or array-like of shape (n,), default=None
            Labels of the samples, after a fit with labels; by default they are drawn in the proportions of the data.
        seed : int or None, default=None
            Seed of the draws; by default they differ from call to call.

        Returns
        -------
        ndarray of shape (n, n_features), or of the shape that the samples had at fit
            The samples, in the networks' dtype.

        Raises
        ------
        ValueError
            If n or the seed is negative, or a label is not known.
        """
        check_is_fitted(self)
        n, seed = self._checked_draw(n, seed)
        if y is None and "classes_" in self.__dict__:
            y = np.random.default_rng(seed).choice(self.classes_, n, p=self.class_prior_)
        return self._as_samples(self._generated(n, self._rows_of_labels(y, n), seed))

    def _generated(self, n: int, labels: Array | None, seed: int) -> Array:
        n_classes = 0 if labels is None else labels.shape[1]
        compiled = self.generator_._main.plain
        n_latent = int(compiled.shape(compiled.inputs[0])[0]) - n_classes
        z = generator_input(n, n_latent, labels, self.generator_.arena, seed=seed, stream=0)
        rows: Array = self.generator_.predict(z)
        return rows

    def discriminate(self, X: Any, y: Any = None) -> Array:
        """Return the discriminator's scores: high for what it takes for samples of the data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or of images
            Samples.
        y : label or array-like of shape (n_samples,), default=None
            Labels of the samples, needed after a fit with labels.

        Returns
        -------
        ndarray of shape (n_samples,)
            The scores, in the library of X; with ``loss="non_saturating"`` the log-odds of being a sample of the data.

        Raises
        ------
        ValueError
            If X or y is not as described.
        """
        check_is_fitted(self)
        rows = self._on_device(X)
        if y is None and "classes_" in self.__dict__:
            raise ValueError(prefixed(self, "the model was fitted with labels: pass y"))
        labels = self._rows_of_labels(y, len(rows))
        chosen = None if labels is None else with_ones(labels)
        return in_library_of(X, score_of(self.discriminator_.predict(rows), chosen)[:, 0].copy())

    # ------------------------------------------------------------------------------------------------- internals

    def _warn_of_faults(self, loss: AdversarialLoss, X: Array) -> None:
        """Warn of what the losses, and the variance of some samples, say has gone wrong."""
        n, labels = min(_DIAGNOSED, len(X)), None
        if "classes_" in self.__dict__:
            y = np.repeat(self.classes_, np.ceil(self.class_prior_ * n).astype(int))
            labels, n = self._rows_of_labels(y, len(y)), len(y)
        whole = total_variance(X)
        spread = total_variance(self._generated(n, labels, 0)) / whole if whole and n > 1 else 1.0
        self.diagnosis_ = diagnose(loss, self.discriminator_loss_curve_, self.generator_loss_curve_, spread)
        for name in self.diagnosis_:
            with above_bars():
                warnings.warn(prefixed(self, f"{name}: {ADVICE[name]}"), ConvergenceWarning, stacklevel=4)

    @property
    def _main(self) -> nn.Network:
        return self.generator_

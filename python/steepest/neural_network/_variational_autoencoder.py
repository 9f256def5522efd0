"""Variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from steepest import kernels as K
from steepest import nn
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import array_namespace, to_device
from steepest.callbacks import Callback, Epoch
from steepest.estimators.data import in_library_of
from steepest.estimators.device import resolve_device
from steepest.estimators.validation import float_dtype, validate_transformed
from steepest.nn.layers import Layer
from steepest.nn.ops.sample_gaussian import standard_normal
from steepest.training.batches import Batches, Samples
from steepest.training.loop import Monitor
from steepest.training.trainer import Trainer
from steepest.training.variational import VariationalDescent

from ._generative.base import GenerativeModel, rows_in_unit_interval
from ._generative.layers import Named, layers_to_features, layers_to_samples, require_valid
from ._generative.likelihoods import LIKELIHOODS, Likelihood
from ._images import shape_of
from ._parameters import Device, Precision, prefixed, store_parameters

_SCORE_DRAWS = 10  # of the code of each sample
_BLOCK = 2048  # rows that are decoded at once for scores


class VariationalAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, GenerativeModel):
    """Variational autoencoder: a density of samples, with codes that are normally distributed.

    A sample x is made of a code z with the density N(0, I) by a network, the decoder, which gives the mean of each
    feature. A second network, the encoder, gives mean and variance of a Gaussian q(z | x), which approximates the
    density of the code of a sample. Both are trained to maximise the evidence lower bound of the log-likelihood,
    ``E_q[log p(x | z)] - beta KL(q(z | x) || p(z))`` [1]_ [2]_.

    Parameters
    ----------
    n_latent : int, default=8
        Numbers in a code.
    encoder : {"auto", "dense", "convolutional"}, sequence of int or list of layers, default="auto"
        Numbers of units of the encoder's hidden layers; ``"dense"`` has (128, 128). ``"convolutional"`` is for images:
        convolutions that halve height and width, with `n_maps` maps and twice as many each time; ``"auto"`` takes it
        for images of 16 x 16 pixels or more. Layers of `steepest.nn` take rows, or images of `image_shape_`, and must
        have ``2 * n_latent`` outputs.
    decoder : as `encoder`, or None, default=None
        Layers of the decoder; None for those of the encoder in reverse. A list of layers takes ``n_latent`` numbers and
        makes the features: logits for ``likelihood="bernoulli"``.
    activation : str or pair, default="relu"
        Activation of the hidden layers.
    n_maps : int, default=16
        Maps of the largest convolution.
    likelihood : {"gaussian", "bernoulli"}, default="gaussian"
        Distribution of a feature, given the code: a Gaussian whose variance is the same for all, or for features in
        [0, 1] a Bernoulli distribution.
    noise_variance : float or "learned", default="learned"
        Variance of the Gaussian.
    beta : float, default=1.0
        Weight of the divergence; above 1 codes tend to be disentangled, below 1 reconstructions to be sharper.
    image_shape : (int, int) or (int, int, int), default=None
        Height and width, and channels, of images that are flat rows; an X of three or four axes says them itself.
    solver : {"adam", "sgd", "momentum", "nesterov", "adagrad", "rmsprop"}, default="adam"
        Optimizer.
    learning_rate_init : float, default=1e-3
        Learning rate.
    batch_size, max_iter : int, default=128 and 50
        Samples in a mini-batch; number of epochs.
    momentum, beta_1, beta_2, epsilon : float, default=0.9, 0.9, 0.999 and 1e-8
        Momentum of the rules that have one; parameters of Adam.
    max_norm : float or None, default=None
        Largest norm of all gradients together in a step.
    shuffle, random_state : object
        Whether to shuffle the samples in each epoch; seed of initial weights, draws and shuffles.
    verbose : bool, default=False
        Whether to print a line for each epoch.
    callbacks, device, precision : object
        Objects of `steepest.callbacks` that are called after every epoch; device to compute on; precision of the
        products of matrices.

    Attributes
    ----------
    encoder_, decoder_ : Network
        The networks. Those of the encoder have two outputs, means with log-variances and a draw; the decoder's output
        is the parameters of the likelihood.
    noise_variance_ : float or None
        Variance of the Gaussian likelihood.
    loss_curve_ : list of float
        Negative evidence lower bound of each epoch, in nats a sample, with the divergence times beta.
    reconstruction_curve_, divergence_curve_ : list of float
        Its two parts: the negative log-likelihood, and the divergence.
    image_shape_ : (int, int, int) or None
        Height, width and channels of samples that are images.
    n_iter_, n_features_in_, device_ : object
        Number of epochs; number of features; device of the model.

    References
    ----------
    .. [1] D. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014.
    .. [2] I. Higgins et al., "beta-VAE: learning basic visual concepts with a constrained variational framework", ICLR
       2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from steepest.neural_network import VariationalAutoencoder
    >>> X = load_digits().data / 16
    >>> model = VariationalAutoencoder(2, likelihood="bernoulli", max_iter=20, random_state=0).fit(X)
    >>> model.transform(X).shape, model.sample(5, seed=0).shape
    ((1797, 2), (5, 64))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GenerativeModel._shared_constraints,
        "encoder": [str, list, tuple, Interval(Integral, 1, None, closed="left")],
        "decoder": [str, list, tuple, Interval(Integral, 1, None, closed="left"), None],
        "likelihood": [StrOptions(set(LIKELIHOODS))],
        "noise_variance": [StrOptions({"learned"}), Interval(Real, 0, None, closed="neither")],
        "beta": [Interval(Real, 0, None, closed="left")],
    }

    encoder_: nn.Network
    decoder_: nn.Network
    reconstruction_curve_: list[float]
    divergence_curve_: list[float]

    def __init__(
        self,
        n_latent: int = 8,
        encoder: Named | Sequence[Any] = "auto",
        decoder: Named | Sequence[Any] | None = None,
        activation: Any = "relu",
        *,
        n_maps: int = 16,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        noise_variance: float | Literal["learned"] = "learned",
        beta: float = 1.0,
        image_shape: tuple[int, ...] | None = None,
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        batch_size: int = 128,
        max_iter: int = 50,
        momentum: float = 0.9,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
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

    def fit(self, X: Any, y: Any = None) -> VariationalAutoencoder:
        """Train encoder and decoder on X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n, height, width) or (n, height, width, channels)
            Samples; float32 stays float32, bytes are divided by 255, everything else becomes float64.
        y : None
            Ignored.

        Returns
        -------
        VariationalAutoencoder
            Itself.

        Raises
        ------
        ValueError
            If X or a parameter is not as described.
        DivergenceError
            If the loss is no longer finite. The last finite weights remain.
        """
        self._fit(X)
        return self

    def _fit(self, X: Any, monitor: Monitor | None = None) -> bool:
        """Fit the model, and return whether the user interrupted the fit."""
        self._check_parameters()
        for name in ("encoder", "decoder"):
            if getattr(self, name) is not None:
                require_valid(self, name)
        device = resolve_device(self.device, type(self).__name__, X)
        cupy_inputs, rows = is_cupy(X), self._check_rows(X, reset=True)
        if self.likelihood == "bernoulli" and not rows_in_unit_interval(rows):
            raise ValueError(prefixed(self, "X must be in [0, 1] with likelihood='bernoulli'"))
        dtype, d = float_dtype(rows), rows.shape[1]
        random_state = check_random_state(self.random_state)
        seeds = random_state.randint(np.iinfo(np.int32).max, size=3)
        X = to_device(rows, device)
        likelihood = Likelihood.of(self, X)
        encoder, decoder = self._make_layers(d)
        options: dict[str, Any] = {"dtype": dtype, "device": device, "precision": self.precision}
        x = nn.Input(d)
        code: Any = x
        for layer in encoder:
            code = layer(code)
        draw = nn.SampleGaussian()(code)
        self.encoder_ = nn.Network(x, [code, draw], seed=int(seeds[0]), **options)
        self.decoder_ = likelihood.network(self.n_latent, decoder, seed=int(seeds[1]), **options)
        self.device_, self._cupy_inputs = device, cupy_inputs
        self.loss_curve_, self.n_iter_ = [], 0
        self.reconstruction_curve_, self.divergence_curve_ = [], []
        program = VariationalDescent(
            self.encoder_,
            self.decoder_,
            likelihood.loss,
            self._optimizer([self.encoder_, self.decoder_], self.learning_rate_init),
            float(self.beta),
            constant=likelihood.constant(d),
        )
        place_holders = array_namespace(X).zeros(len(X), np.uint8)
        batches = Batches(Samples(X, place_holders), shuffle=self.shuffle, seed=int(seeds[2]), dtype=dtype)
        trainer = Trainer({"network": program}, batches, min(self.batch_size, len(X)))

        def record(epoch: Epoch) -> str:
            self.reconstruction_curve_.append(program.reconstruction)
            self.divergence_curve_.append(program.divergence)
            return (
                f"loss {epoch.loss:.4f} = {program.reconstruction:.4f} of reconstruction + "
                f"{self.beta:g} * {program.divergence:.4f} of divergence"
            )

        return self._train(trainer, record, monitor)

    def _make_layers(self, d: int) -> tuple[list[Layer], list[Layer]]:
        """Return the layers of the encoder, and those of the decoder as far as means or logits."""
        encoder = layers_to_features(self, self.encoder, self.image_shape_, d, 2 * self.n_latent, "encoder")
        if self.decoder is not None:
            return encoder, layers_to_samples(
                self, self.decoder, self.image_shape_, self.n_latent, d, "decoder"
            )
        given: Any = self.encoder
        if any(isinstance(one, Layer) for one in (given if isinstance(given, (list, tuple)) else ())):
            raise ValueError(prefixed(self, "decoder must be given beside an encoder of layers"))
        if isinstance(given, (list, tuple)):
            given = given[::-1]
        return encoder, layers_to_samples(self, given, self.image_shape_, self.n_latent, d, "decoder")

    # ------------------------------------------------------------------------------------------------- codes

    def transform(self, X: Any) -> Array:
        """Return the means of the codes of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or of images
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_latent)
            The means, in the networks' dtype and the library of X.
        """
        return self.posterior(X)[0]

    def posterior(self, X: Any) -> tuple[Array, Array]:
        """Return means and variances of the Gaussians q(z | x) that the encoder gives for X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or of images
            Samples.

        Returns
        -------
        mean, variance : ndarray of shape (n_samples, n_latent)
            In the networks' dtype and the library of X.
        """
        check_is_fitted(self)
        code = self._code(self._on_device(X))
        mean, variance = code[:, : self._n_latent], K.exp(code[:, self._n_latent :])
        return in_library_of(X, mean.copy()), in_library_of(X, variance)

    def inverse_transform(self, X: Any) -> Array:
        """Decode codes: the mean of the features for each.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_latent)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features), or of the shape that the samples had at fit
            The means, probabilities with ``likelihood="bernoulli"``, in the library of X.

        Raises
        ------
        ValueError
            If X does not have n_latent columns, or is not finite.
        """
        check_is_fitted(self)
        code = validate_transformed(self, X, self._n_latent, self.decoder_.dtype)
        mean = self._likelihood.mean(self.decoder_.predict(to_device(code, self.decoder_.device)))
        return in_library_of(X, mean.reshape(len(mean), *self._sample_shape))

    def reconstruct(self, X: Any) -> Array:
        """Return ``inverse_transform(transform(X))`` in the shape and the library of X."""
        found: Array = self.inverse_transform(self.transform(X))
        return found.reshape(shape_of(X))

    def sample(self, n: int = 1, *, noise: bool = False, seed: int | None = None) -> Array:
        """Return new samples.

        Parameters
        ----------
        n : int, default=1
            Number of samples.
        noise : bool, default=False
            Whether features are drawn from their distribution, given the code; otherwise they are its means.
        seed : int or None, default=None
            Seed of the draws; by default they differ from call to call.

        Returns
        -------
        ndarray of shape (n, n_features), or of the shape that the samples had at fit
            The samples.

        Raises
        ------
        ValueError
            If n or the seed is negative.
        """
        check_is_fitted(self)
        n, seed = self._checked_draw(n, seed)
        z = standard_normal((n, self._n_latent), seed, 0, self.decoder_.arena)
        output = self.decoder_.predict(z)
        made = self._likelihood.drawn(output, seed) if noise else self._likelihood.mean(output)
        return self._as_samples(made)

    # ------------------------------------------------------------------------------------------------- scores

    def score_samples(
        self,
        X: Any,
        n_draws: int = 32,
        *,
        bound: Literal["evidence", "importance"] = "evidence",
        seed: int = 0,
    ) -> Array:
        """Return lower bounds of the log-likelihood of each sample.

        The evidence lower bound is ``E_q[log p(x | z)] - KL(q(z | x) || p(z))``, whose expectation is estimated by a
        mean over draws and whose divergence is exact. The importance-weighted bound ``log mean_j p(x, z_j) / q(z_j |
        x)`` tends to the log-likelihood with the number of draws (Y. Burda, R. Grosse, R. Salakhutdinov, "Importance
        weighted autoencoders", ICLR 2016). All samples share the normal numbers of a draw, so that the bound of one
        does not depend on the others; the errors of the draws do not average out over samples, as they do in `score`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or of images
            Samples.
        n_draws : int, default=32
            Draws of a code for each sample.
        bound : {"evidence", "importance"}, default="evidence"
            Which bound.
        seed : int, default=0
            Seed of the draws.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            The bounds in nats; a density for ``likelihood="gaussian"``. `beta` has no influence.

        Raises
        ------
        ValueError
            If an argument is not as described.
        """
        check_is_fitted(self)
        name = type(self).__name__
        n_draws = checked_integer(name, "n_draws", n_draws, low=1, high=2**31)
        seed = checked_integer(name, "seed", seed)
        if bound not in ("evidence", "importance"):
            raise ValueError(prefixed(self, f"bound must be 'evidence' or 'importance', got {bound!r}"))
        return in_library_of(X, self._bounds(self._on_device(X), n_draws, bound, seed, shared=True))

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean evidence lower bound of samples, in nats, from ten draws of its own for each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or of images
            Samples.
        y : None
            Ignored.

        Returns
        -------
        float
            The mean; the error of its draws falls with the number of samples.
        """
        check_is_fitted(self)
        return float(self._bounds(self._on_device(X), _SCORE_DRAWS, "evidence", 0, shared=False).mean())

    @property
    def noise_variance_(self) -> float | None:
        """Variance of the Gaussian likelihood; None for a Bernoulli distribution."""
        if "decoder_" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no noise_variance_ before it is fitted")
        if self._likelihood.name == "bernoulli":
            return None
        return math.exp(float(self.decoder_.parameters()[-1].value[0]))

    # ------------------------------------------------------------------------------------------------- internals

    def _code(self, rows: Array) -> Array:
        code: Array = self.encoder_.predict(rows)[0]
        return code

    def _bounds(self, rows: Array, n_draws: int, bound: str, seed: int, *, shared: bool) -> Array:
        """Return the bounds of `score_samples`, by draws that all rows share or by own ones for each."""
        xp, k, code = array_namespace(rows), self._n_latent, self._code(rows)
        mean, s = code[:, :k], code[:, k:]
        total = xp.full(len(rows), -math.inf if bound == "importance" else 0.0)
        for draw in range(n_draws):
            noise = standard_normal((1 if shared else len(rows), k), seed, draw, rows)
            z = mean + xp.exp(s / 2) * noise
            likely = self._log_likelihoods(rows, z)
            if bound == "evidence":
                total += likely
                continue
            # log p(z) - log q(z | x), item by item
            ratio = 0.5 * (noise.astype(np.float64) ** 2 + s - z.astype(np.float64) ** 2)
            total = xp.logaddexp(total, likely + ratio.sum(axis=1))
        if bound == "importance":
            found: Array = total - math.log(n_draws)
            return found
        m, s = mean.astype(np.float64), s.astype(np.float64)
        found = total / n_draws
        found -= 0.5 * (m**2 + xp.expm1(s) - s).sum(axis=1)
        return found

    def _log_likelihoods(self, rows: Array, z: Array) -> Array:
        """Return log p(x | z) of each row in float64."""
        xp = array_namespace(rows)
        parts = [
            self._likelihood.log_likelihoods(rows[start : start + _BLOCK], self.decoder_.predict(block))
            for start in range(0, len(rows), _BLOCK)
            for block in [z[start : start + _BLOCK]]
        ]
        found: Array = xp.concatenate(parts)
        return found

    @property
    def _likelihood(self) -> Likelihood:
        """The likelihood of the fit, whatever the parameters are now."""
        is_gaussian = isinstance(self.decoder_.layers[-1], nn.LogVariance)
        return Likelihood("gaussian" if is_gaussian else "bernoulli")

    @property
    def _n_latent(self) -> int:
        """Numbers of a code of the fitted model, whatever the parameter is now."""
        return int(self.decoder_._main.plain.shape(self.decoder_._main.plain.inputs[0])[0])

    @property
    def _main(self) -> nn.Network:
        return self.encoder_

    @property
    def _n_features_out(self) -> int:
        return self._n_latent

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

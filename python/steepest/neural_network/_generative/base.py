"""Base of the generative estimators: parameters, samples that may be images, and the loop of a fit."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any, ClassVar, get_args

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions

from steepest import kernels as K
from steepest import nn, optim
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_device, to_host
from steepest.callbacks import Callback, Epoch, above_bars, check_callbacks
from steepest.estimators.validation import validate
from steepest.training.images import as_floats
from steepest.training.loop import Monitor, train, warn_of_interrupt
from steepest.training.trainer import Trainer

from .._blocks import ImageShape
from .._images import as_rows, images_shape, require_items, shape_of, wanted_shape
from .._optimizers import first_order_rule
from .._parameters import ACTIVATIONS, RULES, Device

# kept by hand: adamw would need a strength of its decay
GENERATIVE_RULES = tuple(rule for rule in RULES if rule != "adamw")


class GenerativeModel(BaseEstimator, metaclass=ABCMeta):
    """Base class of `VariationalAutoencoder` and `GAN`, whose docstrings describe the parameters."""

    _shared_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_latent": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS)), tuple],
        "n_maps": [Interval(Integral, 1, None, closed="left")],
        "image_shape": [tuple, list, None],
        "solver": [StrOptions(set(GENERATIVE_RULES))],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
        "device": [StrOptions(set(get_args(Device)))],
        "precision": [StrOptions(set(K.PRECISIONS))],
    }

    n_latent: int
    activation: Any
    n_maps: int
    image_shape: Any
    solver: str
    learning_rate_init: float
    batch_size: int
    max_iter: int
    momentum: float
    beta_1: float
    beta_2: float
    epsilon: float
    max_norm: float | None
    shuffle: bool
    random_state: Any
    verbose: bool | int
    callbacks: Iterable[Callback] | None
    device: str
    precision: str

    # Set by a fit.
    image_shape_: ImageShape | None
    n_features_in_: int
    device_: str
    loss_curve_: list[float]
    n_iter_: int
    _sample_shape: tuple[int, ...]
    _cupy_inputs: bool

    @property
    @abstractmethod
    def _main(self) -> nn.Network:
        """The network that decides dtype and device of what the model computes."""

    # ------------------------------------------------------------------------------------------------- samples

    def _check_rows(self, X: Any, reset: bool) -> Any:
        """Validate X and return its rows, C-ordered, of uint8 if they are; at a fit the shape of a sample is kept."""
        sizes, wanted = shape_of(X), wanted_shape(self) if reset else self.image_shape_
        shape, rows = images_shape(self, X, wanted, reset), as_rows(X)
        if not reset:
            rows = as_floats(rows, self._main.dtype)
        checked = validate(
            self, rows, reset=reset, dtype=None if reset else self._main.dtype, keeps_bytes=reset
        )
        if reset:
            shape = shape or wanted
            if shape is not None:
                require_items(self, shape, checked.shape[1])
            self.image_shape_ = shape
            self._sample_shape = tuple(sizes[1:]) if len(sizes) > 2 else (checked.shape[1],)
        return checked

    def _on_device(self, X: Any) -> Array:
        """Return a validated X on the device of the networks."""
        return to_device(self._check_rows(X, reset=False), self._main.device)

    def _as_samples(self, rows: Array) -> Array:
        """Return rows in the shape that a sample had at fit, and in the library of the X of the fit."""
        shaped = rows.reshape(len(rows), *self._sample_shape)
        found: Array = shaped if self._cupy_inputs and self._main.device == "cuda" else to_host(shaped)
        return found

    def _checked_draw(self, n: Any, seed: Any) -> tuple[int, int]:
        """Return the number of samples and a seed, which is a random one for None."""
        name = type(self).__name__
        n = checked_integer(name, "n", n, low=0, high=2**31)
        if seed is None:
            seed = np.random.default_rng().integers(2**63)
        return n, checked_integer(name, "seed", seed)

    # ------------------------------------------------------------------------------------------------- fitting

    def _check_parameters(self) -> None:
        self._validate_params()
        check_callbacks(type(self).__name__, self.callbacks)

    def _optimizer(self, networks: Iterable[nn.Network], rate: float) -> optim.Optimizer:
        parameters = [p for network in networks for p in network.parameters()]
        return first_order_rule(
            self.solver,
            parameters,
            float(rate),
            momentum=float(self.momentum),
            nesterov=False,
            betas=(float(self.beta_1), float(self.beta_2)),
            eps=float(self.epsilon),
            max_norm=self.max_norm,
        )

    def _train(
        self,
        trainer: Trainer,
        record: Callable[[Epoch], str],
        monitor: Monitor | None,
    ) -> bool:
        """Run the epochs, and return whether the user interrupted them.

        Parameters
        ----------
        trainer : Trainer
            The trainer.
        record : callable
            Keeps the results of an epoch, and returns what the line of the epoch says of it.
        monitor : Monitor or None
            A callback beside those of the user.
        """
        callbacks = [*(self.callbacks or ()), *([] if monitor is None else [monitor])]

        def after_epoch(epoch: Epoch) -> bool:
            self.n_iter_ += 1
            self.loss_curve_.append(epoch.loss)
            text = record(epoch)
            if self.verbose:
                with above_bars():
                    print(f"Epoch {epoch.number}, {text}")
            answers = [callback.epoch_done(self, epoch) for callback in callbacks]
            return any(answers)

        for callback in callbacks:
            callback.fit_begun(self)
        try:
            interrupted = train(
                trainer,
                self.max_iter,
                after_epoch,
                name=type(self).__name__,
                on_progress=None if monitor is None else monitor.steps_done,
            )
        finally:
            for network in trainer.networks:
                network.release_buffers()
            for callback in callbacks:
                callback.fit_done(self)
        if interrupted:
            warn_of_interrupt(stacklevel=4)
        return interrupted

    def _move_to(self, device: str) -> None:
        """Move the networks to a device, as loading for a device asks."""
        self.device_ = device
        for name, value in vars(self).items():
            if isinstance(value, nn.Network) and value.device != device:
                setattr(self, name, value.to(device))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        networks = [value for value in vars(self).values() if isinstance(value, nn.Network)]
        if networks:
            # An unpickled network is on the CPU; the networks of a copied estimator stay on their device.
            self.device_ = networks[0].device

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def rows_in_unit_interval(X: Array) -> bool:
    """Return whether all items lie in [0, 1]; those of uint8 do, since they are divided by 255."""
    return bool(X.dtype == np.uint8) or bool(((X >= 0) & (X <= 1)).all())

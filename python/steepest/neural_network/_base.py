"""Base class of `MLPClassifier`, `MLPRegressor` and `Autoencoder`: checks, network, fitting and pickling."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from steepest import nn
from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device, to_host
from steepest.callbacks import Callback, Epoch, check_callbacks
from steepest.estimators.data import in_library_of, resume, to_estimator_device
from steepest.estimators.device import resolve_device
from steepest.estimators.random_states import copied, seed_of
from steepest.estimators.validation import float_dtype, validate, validate_weights
from steepest.nn.losses import Loss
from steepest.optim import NaturalGradient, Optimizer
from steepest.training.batches import Samples, predict
from steepest.training.loop import Monitor
from steepest.training.sparse_rows import SparseRows, is_sparse

from ._architecture import depth_of, draw_initial_values, make_layers
from ._full_batch import fit_lbfgs
from ._optimizers import make_optimizer
from ._parameter_list import ParameterList
from ._parameters import STOCHASTIC, PerceptronParameters, prefixed, require_stochastic
from ._progress import Progress
from ._records import Recorder
from ._stochastic import StochasticFit
from ._validation_split import hold_out

# Largest number of items of X for which `predict` checks X itself, faster than scikit-learn's validation.
_SMALL = 4096


def _is_stochastic(estimator: BaseMultilayerPerceptron) -> bool:
    """Return True if the estimator has `partial_fit`; otherwise raise an AttributeError with the reason."""
    if estimator.solver not in STOCHASTIC:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


def _arrays_of(network: nn.Network, kind: str) -> list[Array]:
    """Return the values of all weights or biases; a recurrent layer has several, such as ``"recurrent_weight"``."""
    return [p.value for p in network.parameters() if p.role.endswith(kind)]


class BaseMultilayerPerceptron(PerceptronParameters, BaseEstimator, metaclass=ABCMeta):
    """Base class of the multilayer perceptrons; see `MLPClassifier` and `MLPRegressor`."""

    @property
    def coefs_(self) -> list[Array]:
        """Weights of each layer, of shape (n_in, n_out): views into the network, so that setting an item changes it.

        For a model on CUDA that was fitted to NumPy arrays, they are read-only copies. To set initial values, assign
        `coefs_` and `intercepts_` before the first `partial_fit`, or the first `fit` with `warm_start`.
        """
        return self._parameter_arrays("coefs_", "weight")

    @coefs_.setter
    def coefs_(self, arrays: Iterable[Any]) -> None:
        self._set_parameter_arrays("coefs_", "weight", arrays)

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of each layer, of shape (n_out,); like `coefs_`, views into the network."""
        return self._parameter_arrays("intercepts_", "bias")

    @intercepts_.setter
    def intercepts_(self, arrays: Iterable[Any]) -> None:
        self._set_parameter_arrays("intercepts_", "bias", arrays)

    def _parameter_arrays(self, attribute: str, role: str) -> list[Array]:
        if "_network" not in self.__dict__ and attribute in self.__dict__.get("_given", {}):
            given: list[Array] = self._given[attribute]
            return given
        network = self._fitted_network(attribute)
        arrays = _arrays_of(network, role)
        if network.device == "cpu" or self._cupy_inputs:
            return ParameterList(arrays, attribute)
        copies = ParameterList((to_host(array) for array in arrays), attribute)
        for array in copies:
            # Values written into a copy would be lost without an error.
            array.flags.writeable = False
        return copies

    def _set_parameter_arrays(self, attribute: str, role: str, arrays: Iterable[Any]) -> None:
        if "_network" not in self.__dict__:
            self.__dict__.setdefault("_given", {})[attribute] = list(arrays)
            return
        own = _arrays_of(self._network, role)
        ParameterList(own, attribute).assign(arrays)

    def _fitted_network(self, attribute: str) -> nn.Network:
        network: nn.Network | None = self.__dict__.get("_network")
        if network is None:
            raise AttributeError(f"{type(self).__name__} has no {attribute} before it is fitted")
        return network

    # ------------------------------------------------------------------------------------- for the subclasses

    @abstractmethod
    def _validate_targets(self, y: Array, X: Array, first_pass: bool, incremental: bool) -> Array:
        """Check y, a NumPy array, and return it as targets of the loss."""

    @abstractmethod
    def _loss_function(self) -> Loss:
        """Return the loss to minimise."""

    @abstractmethod
    def _score_output(self, output: Array, y: Array, sample_weight: Array | None) -> float:
        """Score a network's output against targets as `_validate_targets` returns them, on the network's device."""

    def _strata(self, y: Array) -> Array | None:
        """Return the labels by which to stratify the validation split, or None."""
        return None

    def _make_layers(self, n_in: int, n_out: int) -> tuple[nn.layers.Layer, ...]:
        """Return the layers of the network, without the activation of its output."""
        return make_layers(self, n_in, n_out)

    def _augmentation(self, y: Array) -> dict[str, Any]:
        """Return the arguments of `Batches` that augment the samples, for targets as the loss takes them."""
        return {}

    def _inputs(self) -> tuple[nn.Input, ...]:
        """Return what stands in front of layers that need the shape of their input."""
        return ()

    def _make_network(self, layers: tuple[nn.layers.Layer, ...], **options: Any) -> nn.Network:
        """Return the network of the layers."""
        chain: list[Any] = [*self._inputs(), *layers]
        return nn.Network(chain, **options)

    def _weigh(self, y: Array, sample_weight: Array | None, dtype: Any) -> Array | None:
        """Return the weights of the samples, multiplied by the weights of their classes if there are any."""
        return sample_weight

    @abstractmethod
    def _output_shape(self, y: Array) -> tuple[int, str]:
        """Return the number of outputs and the name of the activation of the last layer."""

    # Set by the first fit.
    _network: nn.Network
    _optimizer: Optimizer | NaturalGradient
    _random_state: np.random.RandomState
    device_: str
    stopped_early_: bool

    _validation_options: ClassVar[dict[str, Any]]
    _accepts_sparse: ClassVar[bool] = False
    _keeps_bytes: ClassVar[bool] = (
        False  # whether X may be uint8, which the first layer then sees divided by 255
    )
    _shaping: ClassVar[tuple[str, ...]] = (
        "hidden_layer_sizes",
        "activation",
        "dropout",
        "init",
    )  # the layers
    _fewest_scored: ClassVar[int] = 1  # smallest number of samples for which the score is defined

    # ---------------------------------------------------------------------------------------------- checking

    def _prefix(self, text: object) -> str:
        return prefixed(self, text)

    def _check_data(self, X: Any, y: Any, reset: bool) -> Any:
        """Validate X and y as scikit-learn does; convert X to the network's dtype unless `reset` is set.

        X stays in its library; y becomes a NumPy array.
        """
        options = {} if isinstance(y, str) else self._validation_options
        dtype = None if reset else self._network.dtype
        return validate(
            self,
            X,
            y,
            reset=reset,
            accept_sparse=self._accepts_sparse,
            dtype=dtype,
            keeps_bytes=self._keeps_bytes,
            **options,
        )

    def _on_device(self, X: Any, y: Array, sample_weight: Array | None) -> Samples:
        """Return validated data on the device of the network."""
        return Samples(
            *to_estimator_device(
                (X, y, sample_weight), self._network.device, type(self).__name__, self._samples_on
            )
        )

    def _samples_on(self, X: Any, device: str) -> Any:
        """Return a validated X on a device, as batches and predictions take it."""
        return SparseRows(X, device) if is_sparse(X) else to_device(X, device)

    def _decision(self, X: Any, layers: slice | None = None) -> Array:
        """Validate X and return the output of the network, or of its first layers, on the device that computed it."""
        if "_network" not in self.__dict__:
            check_is_fitted(self)
        rows = self._valid_rows(X)
        if rows is not None:
            return cast("Array", self._network.predict(rows, layers=layers))
        network = self._network_for(X)
        X = self._check_data(X, "no_validation", reset=False)
        return predict(network, self._samples_on(X, network.device), layers=layers)

    def _network_for(self, X: Any) -> nn.Network:
        """Return the network, on CUDA for a CuPy X; an unpickled network is on the CPU until it is fitted again."""
        if not is_cupy(X):
            return self._network
        return self._network.to(resolve_device(self.device, type(self).__name__, X))

    def _valid_rows(self, X: Any) -> Array | None:
        """Return a small valid X, for which scikit-learn's validation would take longer than predicting, or None."""
        network = self._network
        is_valid = (
            type(X) is np.ndarray
            and X.dtype == network.dtype
            and X.ndim == 2
            and 0 < X.size <= _SMALL
            and X.shape[1] == self.n_features_in_
            and X.flags.c_contiguous
            and network.device == "cpu"
            and "feature_names_in_" not in self.__dict__
            and bool(np.isfinite(X).all())
        )
        return X if is_valid else None

    def _predict(self, X: Any, function: Callable[[Array], Array]) -> Array:
        """Return a function of the network's output, in the library of X."""
        return in_library_of(X, function(self._decision(X)))

    # ----------------------------------------------------------------------------------------------- fitting

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        incremental: bool,
        eval_set: Any = None,
        monitor: Monitor | None = None,
        pretrain_X: Any = None,
    ) -> bool:
        """Fit the network, and return whether the user interrupted the fit."""
        self._validate_params()
        check_callbacks(type(self).__name__, self.callbacks)
        if self.alpha and self.l1_ratio:
            require_stochastic(self, "l1_ratio")
            if self.solver == "adamw":
                raise ValueError(self._prefix("l1_ratio is not for solver='adamw': alpha is weight decay"))
        device = resolve_device(self.device, type(self).__name__, X)
        if incremental and self.early_stopping and eval_set is None:
            raise ValueError(
                self._prefix(
                    "partial_fit does not support early_stopping=True without eval_set: "
                    "each call would hold out another validation set, and scores could not be compared"
                )
            )
        goes_on = self.warm_start or incremental
        first_pass = "_network" not in self.__dict__ or not goes_on
        cupy_inputs, cupy_labels = is_cupy(X), is_cupy(y)
        X, y = self._check_data(X, y, reset=first_pass)
        y = self._validate_targets(y, X, first_pass, incremental)
        dtype = float_dtype(X)
        sample_weight = self._weigh(y, validate_weights(self, sample_weight, X), dtype)

        n_outputs, out_activation = self._output_shape(y)
        layers = self._make_layers(X.shape[1], n_outputs)
        if first_pass:
            self.n_outputs_, self.out_activation_ = n_outputs, out_activation
            self._build_network(layers, dtype, device, self.__dict__.pop("_given", {}) if goes_on else {})
            if self.pretrain is not None:
                self._pretrain(X, pretrain_X, incremental)
            self._start_layers(self.__dict__.pop("_start", ([], [])))
        elif layers != self._network.layers:
            raise ValueError(
                self._prefix(
                    f"{', '.join(self._shaping)} and the number of outputs cannot change once fitted"
                )
            )
        self._move_to(device)
        self._network.precision = self.precision
        # The libraries of X and y decide the library of coefs_, classes_ and predictions.
        self._cupy_inputs, self._cupy_labels = cupy_inputs, cupy_labels
        samples = self._on_device(X, y, sample_weight)
        validation = self._validation_samples(eval_set)
        callbacks = [*(self.callbacks or ()), *([] if monitor is None else [monitor])]
        try:
            for callback in callbacks:
                callback.fit_begun(self)
            if incremental and self.early_stopping and self.stopped_early_:
                return False
            return self._train(samples, validation, callbacks, incremental)
        finally:
            # A fitted model keeps no batch buffers, except between calls of partial_fit.
            if not incremental:
                self._network.release_buffers()
            for callback in callbacks:
                callback.fit_done(self)

    def _train(
        self, samples: Samples, validation: Samples | None, callbacks: list[Callback], incremental: bool
    ) -> bool:
        """Train the network, and return whether the user interrupted it."""
        network, loss, name = self._network, self._loss_function(), type(self).__name__
        progress = Progress.of(self)

        def validate(held_out: Samples) -> tuple[float, float]:
            output = predict(network, held_out.X)
            value = float(loss(output, held_out.y, held_out.sample_weight)[0])
            return value, self._score_output(output, held_out.y, held_out.sample_weight)

        def call_back(epoch: Epoch) -> bool:
            progress.publish(self)
            answers = [callback.epoch_done(self, epoch) for callback in callbacks]
            progress.take(self)  # what a callback has set
            return any(answers)

        def tell_monitors(done: int) -> None:
            for monitor in monitors:
                monitor.steps_done(done)

        try:
            rows = None
            if self.early_stopping and validation is None and self.solver != "lbfgs":
                random_state = copied(progress.split_state) if progress.t else progress.random_state
                rows, validation = hold_out(self, samples, random_state, self._strata)
            validates = None if validation is None else partial(validate, validation)
            recorder = Recorder(progress, validates, call_back, bool(self.verbose))
            augmentation = self._augmentation(samples.y)
            if self.solver == "lbfgs":
                return fit_lbfgs(self, network, loss, progress, samples, recorder, name)
            monitors = [callback for callback in callbacks if isinstance(callback, Monitor)]
            fit = StochasticFit(
                self,
                network,
                loss,
                progress,
                samples,
                rows,
                recorder,
                augmentation=augmentation,
                incremental=incremental,
                # Errors are counted by the largest of several outputs, which a single output does not have.
                track_accuracy=self.out_activation_ == "softmax" and any(m.track_accuracy for m in monitors),
            )
            return fit.run(name, tell_monitors if monitors else None)
        finally:
            progress.publish(self)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._accepts_sparse
        return tags

    def _validation_samples(self, eval_set: Any) -> Samples | None:
        if eval_set is None:
            return None
        if not (isinstance(eval_set, (tuple, list)) and len(eval_set) in (2, 3)):
            raise ValueError(self._prefix("eval_set must be (X, y) or (X, y, sample_weight)"))
        try:
            X, y = self._check_data(eval_set[0], eval_set[1], reset=False)
            y = self._validate_targets(y, X, first_pass=False, incremental=True)
            weights = validate_weights(self, eval_set[2] if len(eval_set) == 3 else None, X)
            if self.early_stopping and X.shape[0] < self._fewest_scored:
                raise ValueError(
                    self._prefix(
                        f"X has {X.shape[0]} sample, for which the score of early_stopping, R2, is not "
                        f"defined: pass at least {self._fewest_scored} samples"
                    )
                )
        except ValueError as error:
            raise ValueError(f"{error} (in eval_set)") from error
        return self._on_device(X, y, weights)

    def _build_network(
        self, layers: tuple[nn.layers.Layer, ...], dtype: Any, device: str, given: dict[str, list[Array]]
    ) -> None:
        """Build the network, with weights that the user has set or with initial weights."""
        random_state = check_random_state(self.random_state)
        # The validation split of the first fit is that of later ones, too. The seed comes from its copy, which leaves
        # initial weights and shuffles those of scikit-learn.
        split_state = copied(random_state)
        seed = seed_of(split_state)
        network = self._make_network(layers, seed=seed, dtype=dtype, device=device, precision=self.precision)
        if len(given) == 2:
            for attribute, role in (("coefs_", "weight"), ("intercepts_", "bias")):
                own = _arrays_of(network, role)
                ParameterList(own, attribute).assign(given[attribute])
        elif self.init == "auto":
            draw_initial_values(network, random_state, self.activation)
        self._network = network
        self.n_layers_ = depth_of(layers) + 1
        Progress.begun(random_state, split_state, self.early_stopping).publish(self)

    def _pretrain(self, X: Any, pretrain_X: Any, incremental: bool) -> None:
        """Train the first layers without targets; `_start_layers` then begins with them."""
        if incremental:
            raise ValueError(self._prefix("pretrain needs all samples at once: use fit"))
        if pretrain_X is not None:
            X = validate(self, pretrain_X, reset=False, accept_sparse=True, dtype=float_dtype(X))
        self._start = self._pretrained(X)

    # Set by _pretraining.py, whose layers are trained by estimators.
    _pretrained: Callable[..., tuple[list[Array], list[Array]]]

    def _start_layers(self, start: tuple[list[Array], list[Array]]) -> None:
        """Set the weights and the biases of the first layers."""
        for arrays, role in zip(start, ("weight", "bias"), strict=True):
            own = _arrays_of(self._network, role)
            ParameterList(own[: len(arrays)], f"the first layers' {role}").assign(arrays)

    def _move_to(self, device: str) -> None:
        """Move the network and the state of the optimizer to a device."""
        self.device_ = device
        if self._network.device == device:
            return
        self._network = self._network.to(device)
        optimizer = self.__dict__.pop("_optimizer", None)
        if optimizer is not None:
            self._restore_optimizer(optimizer.state_dict())

    def _restore_optimizer(self, state: dict[str, Any]) -> None:
        """Make an optimizer for the current network, and load a saved state into it."""
        self._optimizer = make_optimizer(self, self._network, self._loss_function(), self._random_state)
        resume(self._optimizer, state)

    # ---------------------------------------------------------------------------------------------- pickling

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "_optimizer" in state:
            # An optimizer holds views into the network, which pickling would turn into copies.
            state["_optimizer"] = state["_optimizer"].state_dict()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_network" in self.__dict__:
            # An unpickled network is on the CPU; the network of a copied estimator stays on its device.
            self.device_ = self._network.device
        saved = self.__dict__.pop("_optimizer", None)
        if saved is not None:
            self._restore_optimizer(saved)

"""`DeepBeliefNetwork`: Boltzmann machines on top of one another, and what they are tuned to."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from steepest import kernels as K
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_device, to_host
from steepest.callbacks import Epoch, above_bars
from steepest.estimators.data import in_library_of
from steepest.estimators.device import resolve_device
from steepest.estimators.validation import validate, validate_labels, validate_targets
from steepest.training.loop import train, warn_of_interrupt

from ._architecture import hidden_sizes
from ._classifier import MLPClassifier
from ._parameters import Device, prefixed, store_parameters
from ._pretraining import greedy_machines, start_from
from ._rbm import BernoulliRBM
from .boltzmann.divergence import ContrastiveDivergence, StepOptions
from .boltzmann.draws import PhiloxDraws
from .boltzmann.epochs import DivergenceEpochs
from .boltzmann.machine import Machine, moved
from .boltzmann.wake_sleep import DirectedLayer, WakeSleep, drawn_down


def _needs_labels(model: Any) -> bool:
    return bool(model.label_units or model.tuning == "backprop")


def _predicts(model: Any) -> bool:
    """Whether the model knows classes: after a fit those of the fit, whatever the parameters are now."""
    return hasattr(model, "classes_") if hasattr(model, "top_") else _needs_labels(model)


class DeepBeliefNetwork(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Deep belief network: a Boltzmann machine at the top, and directed layers of binary units below it.

    The layers are first trained greedily, as Boltzmann machines [1]_. They may then be tuned together: as a generative
    model by the wake-sleep algorithm, which gives each directed layer weights of its own for recognition and for
    generation; or as a classifier, by back-propagation from these weights [2]_.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Numbers of units of the layers, from the data upwards; the last are the hidden units of the top machine.
    learning_rate, batch_size, n_iter, n_gibbs, persistent, momentum, l2 : object
        Parameters of the machines of the greedy training, see `BernoulliRBM`; by default 0.1, 20, 30 epochs for each
        layer, 1, False, 0.5 and 1e-4.
    visible : {"bernoulli", "gaussian"}, default="bernoulli"
        Units of the data.
    label_units : bool, default=False
        Whether `fit` joins units for the classes of y to those that the top machine sees.
    tuning : {None, "wake_sleep", "backprop"}, default=None
        What follows the greedy training. ``"backprop"`` fits these layers and a softmax layer to y.
    tuning_iter : int, default=30
        Epochs of the tuning.
    tuning_learning_rate : float, default=0.02
        Size of the steps of the wake-sleep algorithm; for ``"backprop"``, a tenth of it is the rate of Adam.
    tuning_gibbs : int, default=3
        Steps of the top machine's chains in the wake-sleep algorithm.
    verbose : int, default=0
        Whether to print a line for each epoch.
    random_state : int, RandomState or None, default=None
        Generator of the seeds of weights, chains and shuffles.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device of the computation; ``"auto"`` is CUDA for a CuPy X, and the CPU for any other.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Recognition weights (n_below, n_above) and biases (n_above,) of the directed layers.
    generative_coefs_, generative_intercepts_ : list of ndarray
        Generative weights (n_above, n_below) and biases (n_below,) of the directed layers.
    top_ : BernoulliRBM
        The machine at the top.
    classifier_ : MLPClassifier
        The classifier that back-propagation has tuned.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_, feature_names_in_, device_ : object
        Number and names of the features; device of the last fit.

    References
    ----------
    .. [1] G. E. Hinton, S. Osindero, Y.-W. Teh, "A fast learning algorithm for deep belief nets", Neural Computation
       18, 2006.
    .. [2] G. E. Hinton, R. R. Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313,
       2006.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from steepest.neural_network import DeepBeliefNetwork
    >>> X = load_digits().data / 16
    >>> model = DeepBeliefNetwork((64, 32), n_iter=2, random_state=0).fit(X)
    >>> model.transform(X).shape, model.sample(5, n_steps=50).shape
    ((1797, 32), (5, 64))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        **{
            name: BernoulliRBM._parameter_constraints[name]
            for name in (
                *("learning_rate", "batch_size", "n_iter", "n_gibbs", "persistent", "momentum", "l2"),
                *("visible", "label_units", "verbose", "random_state", "device"),
            )
        },
        "tuning": [StrOptions({"wake_sleep", "backprop"}), None],
        "tuning_iter": [Interval(Integral, 1, None, closed="left")],
        "tuning_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "tuning_gibbs": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: int | Iterable[int] = (256, 256),
        *,
        learning_rate: float = 0.1,
        batch_size: int = 20,
        n_iter: int = 30,
        n_gibbs: int = 1,
        persistent: bool = False,
        momentum: float = 0.5,
        l2: float = 1e-4,
        visible: Literal["bernoulli", "gaussian"] = "bernoulli",
        label_units: bool = False,
        tuning: Literal["wake_sleep", "backprop"] | None = None,
        tuning_iter: int = 30,
        tuning_learning_rate: float = 0.02,
        tuning_gibbs: int = 3,
        verbose: int = 0,
        random_state: Any = None,
        device: Device = "auto",
    ) -> None:
        store_parameters(self, locals())

    def fit(self, X: Any, y: Any = None) -> DeepBeliefNetwork:
        """Train the layers greedily, then tune them together as `tuning` says.

        Ctrl-C ends the training of all layers. The model can be used then: layers that have had no turn have random
        weights, and a classifier gets one epoch.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, for binary units in [0, 1]. float32 stays float32, everything else becomes float64.
        y : array-like of shape (n_samples,), default=None
            Class labels, for label units and back-propagation; else ignored.

        Returns
        -------
        DeepBeliefNetwork
            Itself.

        Raises
        ------
        ValueError
            If X, y or a parameter is not as described.
        DivergenceError
            If a parameter is no longer finite. The last finite parameters of that stage remain.
        """
        self._validate_params()
        sizes = hidden_sizes(self)
        if not sizes:
            raise ValueError(prefixed(self, "hidden_layer_sizes must name at least one layer"))
        if self.tuning == "wake_sleep" and len(sizes) < 2:
            raise ValueError(prefixed(self, "tuning='wake_sleep' needs at least two layers"))
        device = resolve_device(self.device, type(self).__name__, X)
        X = validate(self, X, reset=True)
        labels = self._checked_labels(y, X.shape[0])
        random_state = check_random_state(self.random_state)
        self.device_ = device
        machines = greedy_machines(
            X,
            sizes,
            random_state,
            y=labels if self.label_units else None,
            visible=self.visible,
            shuffle=True,
            device=self.device,
            **{name: getattr(self, name) for name in _OF_MACHINES},
        )
        self.coefs_ = [m.components_.T.copy() for m in machines[:-1]]
        self.intercepts_ = [m.intercept_hidden_ for m in machines[:-1]]
        self.generative_coefs_ = [m.components_.T.copy().T for m in machines[:-1]]
        self.generative_intercepts_ = [m.intercept_visible_ for m in machines[:-1]]
        self.top_ = machines[-1]
        self._gaussian = self.visible == "gaussian"
        self._n_features_out = sizes[-1]
        for name in ("classifier_", *(() if _needs_labels(self) else ("classes_",))):
            self.__dict__.pop(name, None)
        seed = int(random_state.randint(np.iinfo(np.int32).max))
        interrupted = any(m.n_iter_ < self.n_iter for m in machines)
        if self.tuning == "wake_sleep" and not interrupted:
            self._tune_generation(X, labels, seed)
        elif self.tuning == "backprop":
            self._tune_classes(X, labels, sizes, seed, 1 if interrupted else int(self.tuning_iter))
        return self

    def transform(self, X: Any) -> Array:
        """Return the probabilities of the units at the top, by the recognition weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, hidden_layer_sizes[-1])
            The probabilities, in the library of X.
        """
        return in_library_of(X, self.top_.transform(self._up(X)))

    def reconstruct(self, X: Any) -> Array:
        """Return the means of the features after a pass of means to the top and down again.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The reconstructions, in the library of X.
        """
        states = self.top_.reconstruct(self._up(X))
        for layer in reversed(self._layers(resolve_device(self.device, type(self).__name__, X))):
            states = layer.down.visible_means(states)
        return in_library_of(X, states)

    def sample(
        self, n_samples: int = 1, seed: int = 0, *, n_steps: int = 1000, y: Any = None, means: bool = False
    ) -> Array:
        """Draw samples of the generative model: Gibbs chains of the top machine, then a pass down.

        Parameters
        ----------
        n_samples, seed, n_steps, y : object
            As in `BernoulliRBM.sample`: number of samples, seed, steps of the top machine's chains, classes to keep.
        means : bool, default=False
            Whether to return the means of the features instead of a draw.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The samples.
        """
        check_is_fitted(self)
        seed = checked_integer(type(self).__name__, "seed", seed)
        layers = self._layers(device := resolve_device(self.device, type(self).__name__, None))
        states = self.top_.sample(n_samples, seed, n_steps=n_steps, y=y, means=means and not layers)
        draws = PhiloxDraws(seed + 1, device)
        draws.begin()
        samples: Array = to_host(drawn_down(layers, to_device(states, device), draws.next, means=means))
        return samples

    @available_if(_predicts)
    def predict(self, X: Any) -> Array:
        """Return the class of each sample: by back-propagation's classifier, else by the top machine's free energy.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            Class labels.
        """
        check_is_fitted(self)
        model, inputs = self._classifier_of(X)
        labels: Array = model.predict(inputs)
        return labels

    @available_if(_predicts)
    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities of the classes, of shape (n_samples, n_classes); see `predict`."""
        check_is_fitted(self)
        model, inputs = self._classifier_of(X)
        probabilities: Array = model.predict_proba(inputs)
        return probabilities

    # ------------------------------------------------------------------------------------------------- internals

    def _checked_labels(self, y: Any, n_samples: int) -> Array | None:
        if not _needs_labels(self):
            return None
        if y is None:
            cause = "label_units=True" if self.label_units else "tuning='backprop'"
            raise ValueError(prefixed(self, f"{cause} requires y to be passed, but the target y is None"))
        checked = validate_targets(self, y, n_samples)
        validate_labels(self, checked)
        self.classes_ = np.unique(checked)
        return checked

    def _classifier_of(self, X: Any) -> tuple[Any, Any]:
        """Return the model that knows the classes, and what it is to be given for X."""
        return (self.classifier_, X) if hasattr(self, "classifier_") else (self.top_, self._up(X))

    def _up(self, X: Any) -> Array:
        """Return the means of the units that the top machine sees."""
        check_is_fitted(self)
        dtype = self.top_.components_.dtype
        checked = validate(self, X, reset=False, dtype=dtype)
        device = resolve_device(self.device, type(self).__name__, X)
        states = to_device(checked, device)
        for layer in self._layers(device):
            states = layer.up.hidden_means(states)
        return states

    def _layers(self, device: str) -> list[DirectedLayer]:
        """Return the directed layers on a device; on the CPU their arrays are the attributes."""
        layers = []
        down_weights = [w.T for w in self.generative_coefs_]
        parts = zip(self.coefs_, self.intercepts_, down_weights, self.generative_intercepts_, strict=True)
        for i, arrays in enumerate(parts):
            up, above, down, below = (to_device(a, device) for a in arrays)
            gaussian = self._gaussian and i == 0
            layers.append(DirectedLayer(*(Machine(w, above, below, gaussian) for w in (up, down))))
        return layers

    def _tune_generation(self, X: Array, y: Array | None, seed: int) -> None:
        """Take steps of the wake-sleep algorithm."""
        device, n = self.device_, len(X)
        samples = to_device(X, device)
        if self.label_units:
            assert y is not None
            one_hot = to_device((y[:, None] == self.classes_).astype(X.dtype), device)
            joined = to_device(np.zeros((n, X.shape[1] + len(self.classes_)), X.dtype), device)
            K.copy(samples, out=joined[:, : X.shape[1]])
            K.copy(one_hot, out=joined[:, X.shape[1] :])
            samples = joined
        layers = self._layers(device)
        host, arena = self.top_._own_machine()
        machine, arena = moved(host, arena, device)
        batch_size = min(int(self.batch_size), n)
        options = StepOptions(
            float(self.tuning_learning_rate), int(self.tuning_gibbs), persistent=False, l2=float(self.l2)
        )
        chain = to_device(np.zeros((1, machine.weights.shape[1]), X.dtype), device)
        top = ContrastiveDivergence(machine, arena, options, chain, batch_size)
        steps = WakeSleep(layers, top, float(self.tuning_learning_rate), batch_size, seed)
        arenas = [a for layer in layers for a in layer.arrays()]
        draws = PhiloxDraws(seed + 1, device)
        epochs = DivergenceEpochs(
            steps, [arena, *arenas], samples, batch_size, lambda _: draws, shuffle_seed=seed
        )

        def after_epoch(epoch: Epoch) -> bool:
            if self.verbose:
                with above_bars():
                    print(
                        f"[{type(self).__name__}] Wake-sleep epoch {epoch.number}, time = {epoch.seconds:.2f}s"
                    )
            return False

        interrupted = False
        try:
            interrupted = train(epochs, int(self.tuning_iter), after_epoch, name=type(self).__name__)
        finally:
            self.top_._keep(machine)
            self.coefs_ = [to_host(layer.up.weights) for layer in layers]
            self.intercepts_ = [to_host(layer.up.hidden_bias) for layer in layers]
            self.generative_coefs_ = [to_host(layer.down.weights.T) for layer in layers]
            self.generative_intercepts_ = [to_host(layer.down.visible_bias) for layer in layers]
        if interrupted:
            warn_of_interrupt(stacklevel=3)

    def _tune_classes(self, X: Array, y: Array | None, sizes: list[int], seed: int, n_epochs: int) -> None:
        """Fit a classifier that begins with the recognition weights."""
        top = self.top_
        coefs = [*self.coefs_, np.ascontiguousarray(top.components_.T)]
        intercepts = [*self.intercepts_, top.intercept_hidden_]
        self.classifier_ = MLPClassifier(
            sizes,
            activation="logistic",
            solver="adam",
            learning_rate_init=float(self.tuning_learning_rate) / 10,
            batch_size=min(int(self.batch_size), len(X)),
            max_iter=n_epochs,
            n_iter_no_change=np.inf,
            verbose=self.verbose,
            random_state=seed,
            device=self.device,
        )
        start_from(self.classifier_, coefs, intercepts)
        with warnings.catch_warnings():
            # The number of epochs is that of `tuning_iter`.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.classifier_.fit(X, y)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.target_tags.required = _needs_labels(self)
        return tags


# Parameters of the greedy training that `BernoulliRBM` takes under the same names.
_OF_MACHINES = ("learning_rate", "batch_size", "n_iter", "n_gibbs", "persistent", "momentum", "l2", "verbose")

"""`BernoulliRBM`: restricted Boltzmann machines."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_host
from steepest.callbacks import Callback, check_callbacks
from steepest.estimators.data import in_library_of
from steepest.estimators.device import resolve_device
from steepest.estimators.validation import validate, validate_labels, validate_targets

from ._parameters import Device, prefixed, store_parameters
from ._rbm_distribution import BoltzmannDistribution, has_labels
from ._rbm_fit import draws_on_host, fit_machine, update_machine
from .boltzmann.machine import Machine


class BernoulliRBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BoltzmannDistribution, BaseEstimator):
    """Restricted Boltzmann machine, trained by contrastive divergence or by the natural gradient.

    Parameters, defaults and attributes are those of ``sklearn.neural_network.BernoulliRBM``, and a fit with these takes
    the same steps with the same random numbers. The parameters after `random_state` are additions.

    The machine gives visible units v and binary hidden units h the probability ``exp(-E(v, h)) / Z``, with the energy
    ``E = -b v - c h - h W v`` [1]_. With Gaussian units, ``|v - b|^2 / 2`` replaces ``-b v``: standardise X for these.

    Parameters
    ----------
    n_components : int, default=256
        Number of hidden units.
    learning_rate : float, default=0.1
        Size of a step along the mean gradient of a mini-batch.
    batch_size : int, default=10
        Samples in a mini-batch, and number of persistent chains.
    n_iter : int, default=10
        Number of epochs; with ``solver="natural"`` of steps.
    verbose : int, default=0
        Whether to print a line after each epoch, with the pseudo-likelihood of at most 500 samples. It draws no numbers
        from `random_state`.
    random_state : int, RandomState or None, default=None
        Generator of initial weights and chains.
    n_gibbs : int, default=1
        Steps of the chains before each update: CD-k.
    persistent : bool, default=True
        Whether chains go on from update to update [2]_; with False they begin at the samples of the mini-batch [3]_.
    momentum : float, default=0.0
        Decay of the accumulated step in [0, 1).
    l1, l2 : float, default=0.0
        Strengths of the penalties ``l1 |W|_1`` and ``l2 / 2 |W|^2`` on the mean negative log-likelihood.
    sparsity : float or None, default=None
        Activity in (0, 1) towards which the hidden units are drawn.
    sparsity_strength : float, default=0.1
        Strength with which the hidden biases follow the difference to that activity.
    shuffle : bool, default=False
        Whether to visit the samples in a new order in each epoch.
    visible : {"bernoulli", "gaussian"}, default="bernoulli"
        Visible units: binary, or real numbers with variance 1 given the hidden units.
    label_units : bool, default=False
        Whether `fit` joins one visible unit for each class of y, one of which is active. The machine then classifies
        by `predict`.
    solver : {"divergence", "natural"}, default="divergence"
        Contrastive divergence, or steps of the exact natural gradient on all samples [4]_, for binary machines whose
        smaller layer has at most 20 units. It adapts its damping, and uses neither the learning rate nor chains.
    draws : {"auto", "numpy", "philox"}, default="auto"
        ``"numpy"`` draws from `random_state` in scikit-learn's order, and trains in float64. ``"philox"`` draws in the
        kernels, in less time and alike on every device. ``"auto"`` is ``"numpy"`` for what scikit-learn knows (binary
        units without labels, n_gibbs=1, persistent chains, no shuffling), so that results are the same, and
        ``"philox"`` for all else.
    callbacks : list of Callback or None, default=None
        Objects of `steepest.callbacks`, called after each epoch with the negative pseudo-likelihood as the loss; with
        the natural gradient, with the negative log-likelihood.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device of the computation; ``"auto"`` is CUDA for a CuPy X, and the CPU for any other.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features_in_)
        Weights W.
    intercept_hidden_, intercept_visible_ : ndarray of shape (n_components,) and (n_features_in_,)
        Biases c and b.
    h_samples_ : ndarray of shape (batch_size, n_components)
        States of the hidden units of the persistent chains.
    classes_ : ndarray of shape (n_classes,)
        Class labels, with `label_units`.
    label_components_, intercept_label_ : ndarray of shape (n_components, n_classes) and (n_classes,)
        Weights and biases of the label units.
    n_iter_ : int
        Number of epochs of the last fit.
    loss_curve_ : list of float
        Loss after each epoch, if it was computed: with `verbose`, callbacks, or the natural gradient.
    n_features_in_, feature_names_in_, device_ : object
        Number and names of the features; device of the last fit.

    References
    ----------
    .. [1] P. Smolensky, "Information processing in dynamical systems: foundations of harmony theory", 1986.
    .. [2] T. Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", ICML
       2008.
    .. [3] G. E. Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14,
       2002.
    .. [4] S. Amari, K. Kurata, H. Nagaoka, "Information geometry of Boltzmann machines", IEEE Transactions on Neural
       Networks 3, 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest.neural_network import BernoulliRBM
    >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    >>> model = BernoulliRBM(n_components=2)
    >>> model.fit(X)
    BernoulliRBM(n_components=2)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_iter": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "n_gibbs": [Interval(Integral, 1, None, closed="left")],
        "persistent": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "l1": [Interval(Real, 0, None, closed="left")],
        "l2": [Interval(Real, 0, None, closed="left")],
        "sparsity": [Interval(Real, 0, 1, closed="neither"), None],
        "sparsity_strength": [Interval(Real, 0, None, closed="left")],
        "shuffle": ["boolean"],
        "visible": [StrOptions({"bernoulli", "gaussian"})],
        "label_units": ["boolean"],
        "solver": [StrOptions({"divergence", "natural"})],
        "draws": [StrOptions({"auto", "numpy", "philox"})],
        "callbacks": [list, tuple, None],
        "device": [StrOptions({"auto", "cpu", "cuda"})],
    }

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        verbose: int = 0,
        random_state: Any = None,
        n_gibbs: int = 1,
        persistent: bool = True,
        momentum: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
        sparsity: float | None = None,
        sparsity_strength: float = 0.1,
        shuffle: bool = False,
        visible: Literal["bernoulli", "gaussian"] = "bernoulli",
        label_units: bool = False,
        solver: Literal["divergence", "natural"] = "divergence",
        draws: Literal["auto", "numpy", "philox"] = "auto",
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
    ) -> None:
        store_parameters(self, locals())

    # ------------------------------------------------------------------------------------------------------ fits

    def fit(self, X: Any, y: Any = None) -> BernoulliRBM:
        """Fit the machine to X and, with label units, to y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples, for binary units in [0, 1]: numbers in between count as probabilities. float32 stays float32,
            everything else becomes float64.
        y : array-like of shape (n_samples,), default=None
            Class labels; ignored without label units.

        Returns
        -------
        BernoulliRBM
            Itself.

        Raises
        ------
        ValueError
            If X, y or a parameter is not as described; the message names the first NaN or infinite item of X.
        DivergenceError
            If a parameter is no longer finite. The last finite parameters remain.
        """
        device = self._checked_device(X)
        X = validate(self, X, reset=True, accept_sparse=True)
        labels = self._labels_of(y, X.shape[0])
        random_state = check_random_state(self.random_state)
        machine, arena = self._new_machine(X, random_state)
        self.device_ = device
        fit_machine(self, machine, arena, _joined(X, labels), random_state)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> BernoulliRBM:
        """Take one step on X as a mini-batch, continuing from the last call.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples of one mini-batch.
        y : array-like of shape (n_samples,), default=None
            Class labels, with label units; the first call must have all classes.

        Returns
        -------
        BernoulliRBM
            Itself.

        Raises
        ------
        ValueError, DivergenceError
            As in `fit`; also with the natural gradient, which needs all samples.
        """
        device = self._checked_device(X)
        if self.solver == "natural":
            raise ValueError(prefixed(self, "solver='natural' needs all samples at once: use fit"))
        first = not hasattr(self, "components_")
        kind = self.visible == "gaussian", bool(self.label_units)
        if not first and kind != (self._is_gaussian(), has_labels(self)):
            raise ValueError(
                prefixed(self, "visible and label_units have changed since the first call: call fit")
            )
        dtype = None if first else self.components_.dtype
        X = validate(self, X, reset=first, accept_sparse=True, dtype=dtype)
        labels = self._labels_of(y, X.shape[0], known=None if first else getattr(self, "classes_", None))
        if not hasattr(self, "random_state_"):
            self.random_state_ = check_random_state(self.random_state)
        if first:
            machine, arena = self._new_machine(X, self.random_state_)
        else:
            machine, arena = self._own_machine(np.float64 if draws_on_host(self) else None)
        self.device_ = device
        update_machine(self, machine, arena, _joined(X, labels), self.random_state_)
        return self

    # ---------------------------------------------------------------------------------------------- predictions

    def transform(self, X: Any) -> Array:
        """Return the probabilities of the hidden units given X, without label units.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            ``sigmoid(X @ components_.T + intercept_hidden_)``, in the library of X.
        """
        check_is_fitted(self)
        checked = validate(self, X, reset=False, accept_sparse=True, dtype=self.components_.dtype)
        return in_library_of(X, self._by_blocks(checked, lambda m, x: m.features.hidden_means(x)))

    @available_if(has_labels)
    def predict(self, X: Any) -> Array:
        """Return the class of the lowest free energy, the most probable one given X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            Class labels.
        """
        labels: Array = self.classes_[self._label_energies(X).argmin(axis=1)]
        return labels

    @available_if(has_labels)
    def predict_proba(self, X: Any) -> Array:
        """Return the exact probabilities of the classes given X, of shape (n_samples, n_classes)."""
        energies = self._label_energies(X)
        weights = np.exp(energies.min(axis=1, keepdims=True) - energies)
        probabilities: Array = weights / weights.sum(axis=1, keepdims=True)
        return probabilities

    def _label_energies(self, X: Any) -> Array:
        check_is_fitted(self)
        checked = validate(self, X, reset=False, accept_sparse=True, dtype=self.components_.dtype)
        energies: Array = to_host(self._by_blocks(checked, lambda m, x: m.label_energies(x)))
        return energies

    # ------------------------------------------------------------------------------------------------- internals

    def _checked_device(self, X: Any) -> str:
        """Check the parameters, and return the device of a fit."""
        self._validate_params()
        name = type(self).__name__
        check_callbacks(name, self.callbacks)
        binary = self.visible == "bernoulli" and not self.label_units
        if not binary and self.draws == "numpy":
            raise ValueError(
                prefixed(self, "draws='numpy' has neither Gaussian nor label units: use draws='philox'")
            )
        if not binary and self.solver == "natural":
            raise ValueError(prefixed(self, "solver='natural' needs binary visible units without labels"))
        return resolve_device(self.device, name, X)

    def _labels_of(self, y: Any, n_samples: int, known: Array | None = None) -> Array | None:
        """Return the label units of y, one row for each sample, and keep the classes; None without label units."""
        if not self.label_units:
            return None
        if y is None:
            raise ValueError(
                prefixed(self, "label_units=True requires y to be passed, but the target y is None")
            )
        y = validate_targets(self, y, n_samples)
        validate_labels(self, y)
        if known is None:
            self.classes_ = np.unique(y)
        elif not np.isin(y, known).all():
            raise ValueError(
                prefixed(self, f"y has classes that the first call has not had: {known} are known")
            )
        one_hot: Array = (y[:, None] == self.classes_).astype(np.float64)
        return one_hot

    def _new_machine(self, X: Any, random_state: np.random.RandomState) -> tuple[Machine, Array]:
        """Return a machine with small random weights, on the host, as scikit-learn draws them."""
        n_labels = len(self.classes_) if self.label_units else 0
        n_visible = X.shape[1] + n_labels
        machine, arena = Machine.zeros(
            n_visible,
            self.n_components,
            np.float64 if draws_on_host(self) else X.dtype,
            "cpu",
            gaussian=self.visible == "gaussian",
            n_labels=n_labels,
        )
        machine.weights[...] = random_state.normal(0, 0.01, (self.n_components, n_visible)).T
        self.h_samples_ = np.zeros((self.batch_size, self.n_components), X.dtype)
        self.__dict__.pop("_velocity", None)
        self._gaussian = self.visible == "gaussian"
        self._n_features_out = self.n_components
        self._keep(machine)
        return machine, arena

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = self.label_units
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _joined(X: Any, labels: Array | None) -> Any:
    """Return samples with their label units as further columns."""
    if labels is None:
        return X
    if scipy.sparse.issparse(X):
        return scipy.sparse.hstack([X, labels.astype(X.dtype)], format="csr")
    return np.concatenate([to_host(X), labels.astype(X.dtype)], axis=1)

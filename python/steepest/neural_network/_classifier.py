"""The multilayer perceptron for classification."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from steepest import kernels as K
from steepest import nn
from steepest._backends import is_cupy
from steepest._memory import array_namespace, to_device, to_host
from steepest.callbacks import Callback
from steepest.nn.losses import Loss

from ._base import BaseMultilayerPerceptron, _is_stochastic

Array = npt.NDArray[Any]


class MLPClassifier(ClassifierMixin, BaseMultilayerPerceptron):
    """Multilayer perceptron that minimises the cross-entropy of a softmax.

    Parameters, defaults and attributes are those of ``sklearn.neural_network.MLPClassifier``, and `device`.
    The differences: two classes are two softmax outputs, not one logistic output; the
    penalty in `loss_` is averaged over the epoch's ends; `warm_start` keeps the moments of the optimizer;
    there are no multilabel targets and no sparse inputs; numbers are computed in the dtype of the X that was
    fitted.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Number of units of each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of the hidden layers.
    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        Adam or stochastic gradient descent on mini-batches, or L-BFGS on all samples.
    alpha : float, default=1e-4
        L2 penalty of the weights, ``alpha / 2 * sum(w^2)`` per mini-batch, divided by the number of its
        samples.
    batch_size : int or "auto", default="auto"
        Samples in a mini-batch; ``"auto"`` is min(200, n_samples). A shorter last batch is trained on as
        well.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Schedule for ``solver="sgd"``: constant, ``learning_rate_init / (t_ + 1)^power_t`` after each epoch,
        or divided by 5 whenever `n_iter_no_change` epochs bring no improvement.
    learning_rate_init : float, default=1e-3
        Initial learning rate of Adam and SGD.
    power_t : float, default=0.5
        Exponent of ``"invscaling"``.
    max_iter : int, default=200
        The most epochs, or iterations of L-BFGS.
    shuffle : bool, default=True
        Whether each epoch has an order of its own.
    random_state : int, RandomState or None, default=None
        Seeds initial weights, shuffles and the validation split, which are those of scikit-learn. The result for an
        int does not depend on the number of threads.
    tol : float, default=1e-4
        Least improvement of the loss (or validation score) that counts; for L-BFGS, the gradient's largest
        component.
    verbose : bool or int, default=False
        Whether to print a line per epoch.
    warm_start : bool, default=False
        Whether `fit` goes on from the last solution.
    momentum : float, default=0.9
        Momentum of SGD, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether SGD with momentum looks ahead.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, stop once their score no longer improves,
        and restore the weights of the best epoch.
    validation_fraction : float, default=0.1
        Share of the samples held out for early stopping.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decays of Adam's running means, in [0, 1).
    epsilon : float, default=1e-8
        Added to the root of Adam's second moment, after the correction of its bias (scikit-learn: before).
    n_iter_no_change : int, default=10
        Epochs without improvement after which to stop.
    max_fun : int, default=15000
        The most loss evaluations of L-BFGS.
    callbacks : list of Callback or None, default=None
        Are told of every epoch and may end the fit (`steepest.callbacks`).
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to compute. ``"auto"`` is CUDA for a CuPy X and the CPU for any other: from which size on a NumPy X is
        worth copying to a GPU has not been measured yet. ``"cuda"`` copies a NumPy X to the GPU once, and is an error
        where CUDA is not available.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; a CuPy array where the model is on CUDA and y was one.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer. Views into one array: setting an item
        writes into it. Of a model on CUDA they are CuPy arrays if X was one, and read-only copies in NumPy otherwise.
    loss_ : float
        Loss of the last epoch, with the penalty.
    loss_curve_ : list of float
        Loss of each epoch, a mean over its mini-batches while they trained.
    best_loss_ : float or None
        Smallest loss; None with early stopping.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score, and loss without the penalty, of the validation samples after each epoch; None where there are none.
    best_validation_score_ : float or None
        Largest validation score.
    stopped_early_ : bool
        Whether early stopping has ended the training.
    n_iter_ : int
        Epochs (or L-BFGS iterations) of the last fit.
    t_ : int
        Number of training samples seen.
    n_layers_, n_outputs_ : int
        Number of layers, input and output included, and of outputs.
    out_activation_ : str
        Activation of the last layer.
    device_ : str
        Where the model is, "cpu" or "cuda". An unpickled model is on the CPU.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, where X had names that are all strings.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from steepest.neural_network import MLPClassifier
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> model = MLPClassifier((32,), learning_rate_init=0.01, max_iter=300, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    _classes: Array  # classes_ as a NumPy array
    _validation_options: ClassVar[dict[str, Any]] = {"multi_output": True}

    def __init__(
        self,
        hidden_layer_sizes: int | Iterable[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
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
        callbacks: Iterable[Callback] | None = None,
        device: str = "auto",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.callbacks = callbacks
        self.device = device

    def _validate_targets(self, y: Array, X: Array, first_pass: bool, incremental: bool) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if y.ndim == 2 or type_of_target(y, input_name="y").startswith("multilabel"):
            raise ValueError(self._prefix(f"y has shape {y.shape}: multilabel targets are not supported"))
        check_classification_targets(y)
        classes, ids = np.unique(y, return_inverse=True)
        # partial_fit has set _classes before its first pass.
        if first_pass and not incremental:
            self._classes = classes
            return ids.astype(np.int64, copy=False)
        if not incremental and not np.array_equal(classes, self._classes):
            raise ValueError(
                self._prefix(
                    "warm_start can only be used where `y` has the same classes as in the previous call "
                    f"to fit. Previously got {self._classes}, `y` has {classes}"
                )
            )
        unseen = np.setdiff1d(classes, self._classes)
        if unseen.size:
            raise ValueError(
                self._prefix(
                    f"`y` has classes not in `self.classes_`: {unseen} are not among {self._classes}"
                )
            )
        return np.searchsorted(self._classes, classes)[ids].astype(np.int64, copy=False)

    def _strata(self, y: Array) -> Array | None:
        # As in scikit-learn, for two classes only.
        return y.astype(bool)[:, None] if len(self._classes) == 2 else None

    def _loss_function(self) -> Loss:
        return nn.SoftmaxCrossEntropy()

    def _output_shape(self, y: Array) -> tuple[int, str]:
        return len(self._classes), "softmax"

    def _score_output(self, output: Array, y: Array, sample_weight: Array | None) -> float:
        hits = K.argmax(output) == y
        return float(array_namespace(hits).average(hits, weights=sample_weight))

    @property
    def classes_(self) -> Array:
        """Class labels, sorted: a CuPy array where the model is on CUDA and y was one, else a NumPy array."""
        if "_classes" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no classes_ before it is fitted")
        return to_device(self._classes, "cuda") if self._has_cupy_labels() else self._classes

    def _has_cupy_labels(self) -> bool:
        state = self.__dict__
        return bool(state.get("_cupy_labels", False)) and state.get("device_") == "cuda"

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> MLPClassifier:
        """Fit the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs; float32 stays float32, everything else becomes float64.
        y : array-like of shape (n_samples,)
            Class labels, numbers or strings.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative.
        eval_set : tuple (X, y) or (X, y, sample_weight), default=None
            Samples to validate on after each epoch, for `validation_scores_` and `validation_loss_curve_`; with
            `early_stopping` in place of a part of the training samples.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        ValueError
            Where X, y, the weights or a parameter are not as described; the message names the first bad item
            of X.
        DivergenceError
            Where the loss stops being finite. The last finite weights remain.
        """
        self._fit(X, y, sample_weight, incremental=False, eval_set=eval_set)
        return self

    @available_if(_is_stochastic)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None, eval_set: Any = None
    ) -> MLPClassifier:
        """Train for one epoch over the samples given, going on from the last call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        classes : array-like of shape (n_classes,), default=None
            All classes of all calls; needed in the first.
        eval_set : tuple (X, y) or (X, y, sample_weight), default=None
            Samples to validate on after this epoch; with `early_stopping`, needed in every call.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        ValueError
            As `fit`; and where `classes` is missing in the first call or changes later.
        DivergenceError
            As `fit`.
        """
        if "_network" not in self.__dict__:
            if classes is None:
                raise ValueError(self._prefix("classes must be passed on the first call to partial_fit."))
            self._classes = np.unique(np.asarray(to_host(classes)))
        elif classes is not None and not np.array_equal(
            np.unique(np.asarray(to_host(classes))), self._classes
        ):
            raise ValueError(
                self._prefix(
                    f"`classes={classes}` is not the same as on last call to partial_fit, "
                    f"was: {self._classes}"
                )
            )
        self._fit(X, y, sample_weight, incremental=True, eval_set=eval_set)
        return self

    def predict(self, X: Any) -> Array:
        """Predict class labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels from `classes_`: a NumPy array for NumPy inputs; for CuPy inputs of the library of `classes_`.
        """
        ids = K.argmax(self._decision(X))
        on_cuda = is_cupy(X) and self._has_cupy_labels()
        labels: Array = self.classes_[ids] if on_cuda else self._classes[to_host(ids)]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of `classes_`, of the dtype that was fitted and in the library of X.
        """
        return self._predict(X, K.softmax)

    def predict_log_proba(self, X: Any) -> Array:
        """Predict logarithms of class probabilities, finite where a probability underflows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log-probabilities, in the order of `classes_` and in the library of X.
        """
        return self._predict(X, K.log_softmax)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of `predict`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            True labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            Share of the samples whose label is predicted.
        """
        predicted = to_host(self.predict(X))
        return float(accuracy_score(to_host(y), predicted, sample_weight=to_host(sample_weight)))

"""The multilayer perceptron for classification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if

from steepest._estimators.data import in_library_of
from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_host
from steepest.callbacks import Callback
from steepest.optim.schedules import Schedule

from ._base import _is_stochastic
from ._class_targets import ClassTargets
from ._labels import LossName, decide, log_probabilities, probabilities
from ._parameters import Device, InitialWeights, LearningRate, Solver


def _has_probabilities(estimator: MLPClassifier) -> bool:
    """Whether there is a `predict_proba`; raises the AttributeError that says why not."""
    if estimator.loss != "log_loss":
        raise AttributeError(f"probabilities are not available for loss={estimator.loss!r}")
    return True


class MLPClassifier(ClassifierMixin, ClassTargets):
    """Multilayer perceptron for classification, by default with the cross-entropy.

    Parameters, defaults and attributes are those of ``sklearn.neural_network.MLPClassifier``, and more. The same
    `random_state` gives the same fit, with these differences: the penalty in `loss_` is averaged over the ends of
    the epoch; `warm_start` keeps the moments of the optimizer; a loss that stops being finite is an error.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Number of units of each hidden layer.
    activation : str, pair or list, default="relu"
        Activation of the hidden layers: one of ``kernels.ACTIVATIONS``, or ``"logistic"``, which is ``"sigmoid"``; a
        pair of a name and its parameter, such as ``("elu", 0.5)``; or a list of these, one for each hidden layer.
    loss : {"log_loss", "hinge", "squared_hinge", "exponential"}, default="log_loss"
        Cross-entropy: of one logistic output for two classes, of a softmax for more, and for several labels the sum of
        those of their logistic outputs. The others, of a margin, are summed over the classes, each against the rest;
        they give no probabilities.
    solver : {"adam", "sgd", "lbfgs", "momentum", "nesterov", "adagrad", "rmsprop", "adamw", "natural"}, default="adam"
        Rule of the steps on mini-batches, or ``"lbfgs"``: L-BFGS on all samples. ``"sgd"`` is ``"nesterov"``, or
        ``"momentum"`` without `nesterovs_momentum`, or plain descent with `momentum` 0. ``"adamw"`` takes `alpha` as
        its decoupled decay. ``"natural"`` takes steps along the natural gradient, for ``loss="log_loss"``: few epochs,
        each of which takes longer; it sets lengths of steps, momentum and damping itself.
    alpha : float, default=1e-4
        L2 penalty of the weights, ``alpha / 2 * sum(w^2)`` per mini-batch, divided by the number of its
        samples.
    batch_size : int or "auto", default="auto"
        Samples in a mini-batch; ``"auto"`` is min(200, n_samples). A shorter last batch is trained on as
        well. ``"natural"`` has batches of about the same length instead, and with ``"auto"`` makes them twice as long
        after each epoch of `fit` that has not lowered the loss by a twentieth.
    learning_rate : str or Schedule, default="constant"
        For ``solver="sgd"`` ``"constant"``, ``"invscaling"``: ``learning_rate_init / (t_ + 1)^power_t`` after each
        epoch, or ``"adaptive"``: divided by 5 whenever `n_iter_no_change` epochs bring no improvement. For all rules
        ``"cosine"`` or ``"one_cycle"``, over the steps of `max_iter` epochs, or an object of
        ``steepest.optim.schedules``, which gives the rate of each step.
    learning_rate_init : float, default=1e-3
        Initial learning rate, or with ``"one_cycle"`` the largest. Not of ``"natural"``.
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
        Momentum of ``"sgd"``, ``"momentum"`` and ``"nesterov"``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether SGD with momentum looks ahead.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, stop once their score no longer improves,
        and restore the weights of the best epoch.
    validation_fraction : float, default=0.1
        Share of the samples held out for early stopping.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decays of Adam's running means, in [0, 1); `beta_2` is RMSprop's too.
    epsilon : float, default=1e-8
        Added to the root of Adam's second moment, after the correction of its bias (scikit-learn: before).
    n_iter_no_change : int, default=10
        Epochs without improvement after which to stop.
    max_fun : int, default=15000
        The most loss evaluations of L-BFGS.
    class_weight : mapping, "balanced" or list of mappings, default=None
        Weights by class, 1 for those not named, which multiply `sample_weight`; ``"balanced"`` gives all classes the
        same share (not in `partial_fit`). For several labels, a list of mappings of 0 and 1, one for each label.
    l1_ratio : float, default=0.0
        Share of L1 in the penalty: ``alpha * (l1_ratio * sum(abs(w)) + (1 - l1_ratio) / 2 * sum(w^2))``. The L1 part
        makes weights exactly 0. Not with ``"lbfgs"``, ``"adamw"`` and ``"natural"``.
    max_norm : float or None, default=None
        Largest norm of all gradients together in a step; longer ones are scaled down to it. Not with
        ``"lbfgs"`` and ``"natural"``.
    dropout : float or list of float, default=0.0
        Share of the units of every hidden layer, or of each, that are left out at random in each step, in [0, 1).
        Not with ``"lbfgs"``.
    init : {"auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", \
"orthogonal"}, default="auto"
        Initial weights: ``"auto"`` draws scikit-learn's weights and biases; the others are those of `nn.Linear`, with
        biases of 0.
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

    def __init__(
        self,
        hidden_layer_sizes: int | Iterable[int] = (100,),
        activation: Any = "relu",
        *,
        loss: LossName = "log_loss",
        solver: Solver = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: LearningRate | Schedule = "constant",
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
        class_weight: Mapping[Any, float] | list[Mapping[int, float]] | Literal["balanced"] | None = None,
        l1_ratio: float = 0.0,
        max_norm: float | None = None,
        dropout: float | Iterable[float] = 0.0,
        init: InitialWeights = "auto",
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
    ) -> None:
        self.loss = loss
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
        self.class_weight = class_weight
        self.l1_ratio = l1_ratio
        self.max_norm = max_norm
        self.dropout = dropout
        self.init = init
        self.callbacks = callbacks
        self.device = device

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> MLPClassifier:
        """Fit the network.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs; float32 stays float32, everything else becomes float64.
        y : array-like of shape (n_samples,), or (n_samples, n_labels)
            Class labels, numbers or strings; or for each label whether it holds, 1 or 0.
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
        X : array-like or sparse matrix of shape (n_samples, n_features)
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
        self._check_partial_fit(y, classes)
        self._fit(X, y, sample_weight, incremental=True, eval_set=eval_set)
        return self

    def predict(self, X: Any) -> Array:
        """Predict class labels.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels from `classes_`: a NumPy array for NumPy inputs; for CuPy inputs of the library of `classes_`.
        """
        ids = decide(self._decision(X), self._task)
        if self._task == "multilabel":
            return in_library_of(X, ids)
        on_cuda = is_cupy(X) and self._has_cupy_labels()
        labels: Array = self.classes_[ids] if on_cuda else self._classes[to_host(ids)]
        return labels

    def decision_function(self, X: Any) -> Array:
        """Return the network's output, before the logistic function or the softmax.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
            Scores: of the second of two classes, or of each class or label, in the library of X.
        """
        return self._predict(X, lambda output: output[:, 0] if self._task == "binary" else output)

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of `classes_`, of the dtype that was fitted and in the library of X.
        """
        return self._predict(X, lambda output: probabilities(output, self._task))

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """Predict logarithms of class probabilities, finite where a probability underflows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log-probabilities, in the order of `classes_` and in the library of X.
        """
        return self._predict(X, lambda output: log_probabilities(output, self._task))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of `predict`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
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

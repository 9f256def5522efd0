"""Multilayer perceptron for classification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if

from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_host
from steepest.callbacks import Callback
from steepest.estimators.data import in_library_of
from steepest.optim.schedules import Schedule

from ._base import _is_stochastic
from ._class_targets import ClassTargets
from ._labels import LossName, decide, log_probabilities, probabilities
from ._parameters import Device, InitialWeights, LearningRate, Precision, Solver, store_parameters


def _has_probabilities(estimator: MLPClassifier) -> bool:
    """Return True if the estimator has `predict_proba`; otherwise raise an AttributeError with the reason."""
    if estimator.loss != "log_loss":
        raise AttributeError(f"probabilities are not available for loss={estimator.loss!r}")
    return True


class MLPClassifier(ClassifierMixin, ClassTargets):
    """Multilayer perceptron for classification, by default with the cross-entropy loss.

    The class has the parameters, defaults and attributes of ``sklearn.neural_network.MLPClassifier``, and more. The
    same `random_state` gives the same fit, with these differences: the penalty in `loss_` is the mean of its values at
    the start and the end of the epoch; `warm_start` keeps the moments of the optimizer; a loss that is not finite
    raises an error.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Number of units of each hidden layer.
    activation : str, pair or list, default="relu"
        Activation of the hidden layers: one of ``kernels.ACTIVATIONS``, or ``"logistic"``, which is ``"sigmoid"``; a
        pair of a name and its parameter, such as ``("elu", 0.5)``; or a list of these, one for each hidden layer.
    loss : {"log_loss", "hinge", "squared_hinge", "exponential"}, default="log_loss"
        ``"log_loss"`` is the cross-entropy: of one logistic output for two classes, of a softmax for more classes, and
        for multilabel targets the sum over one logistic output for each label. The other losses are margin losses,
        summed over the classes, each against the rest; they give no probabilities.
    solver : {"adam", "sgd", "lbfgs", "momentum", "nesterov", "adagrad", "rmsprop", "adamw", "natural"}, default="adam"
        Optimizer of the mini-batches, or ``"lbfgs"``: L-BFGS on all samples. ``"sgd"`` is ``"nesterov"``, or
        ``"momentum"`` without `nesterovs_momentum`, or plain descent with `momentum` 0. ``"adamw"`` uses `alpha` as
        decoupled weight decay. ``"natural"`` is the natural gradient, for ``loss="log_loss"`` only: it needs few
        epochs, each of which takes longer, and chooses step sizes, momentum and damping itself.
    alpha : float, default=1e-4
        Strength of the L2 penalty on the weights, ``alpha / 2 * sum(w^2)`` for each mini-batch, divided by the number
        of its samples.
    batch_size : int or "auto", default="auto"
        Samples in a mini-batch; ``"auto"`` is min(200, n_samples). The last batch of an epoch may be smaller.
        ``"natural"`` divides the samples into batches of nearly equal size instead. With ``"auto"`` it doubles the
        batch size after each epoch of `fit` whose loss is above 95 % of the lowest loss so far.
    learning_rate : str or Schedule, default="constant"
        Schedule of the learning rate. For ``solver="sgd"``: ``"constant"``; ``"invscaling"``, which is
        ``learning_rate_init / (t_ + 1)^power_t`` after each epoch; or ``"adaptive"``, which divides the rate by 5
        whenever `n_iter_no_change` epochs bring no improvement. For all first-order solvers: ``"cosine"`` or
        ``"one_cycle"``, over the steps of `max_iter` epochs; or an object of ``steepest.optim.schedules``, which gives
        the rate of each step.
    learning_rate_init : float, default=1e-3
        Initial learning rate; with ``"one_cycle"``, the largest rate. ``"natural"`` does not use it.
    power_t : float, default=0.5
        Exponent of the ``"invscaling"`` schedule.
    max_iter : int, default=200
        Largest number of epochs, or of iterations of L-BFGS.
    shuffle : bool, default=True
        Whether to shuffle the samples in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, shuffles and the validation split, which are those of scikit-learn. The result for an
        int does not depend on the number of threads.
    tol : float, default=1e-4
        Smallest change of the loss (or validation score) that counts as an improvement; for L-BFGS, the infinity norm
        of the gradient at which to stop.
    verbose : bool or int, default=False
        Whether to print a line for each epoch.
    warm_start : bool, default=False
        Whether `fit` continues from the last solution.
    momentum : float, default=0.9
        Momentum of ``"sgd"``, ``"momentum"`` and ``"nesterov"``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether SGD uses Nesterov's momentum.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, stop once their score no longer improves,
        and restore the weights of the best epoch.
    validation_fraction : float, default=0.1
        Proportion of the samples that early stopping holds out.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of Adam's first and second moments, in [0, 1); RMSprop uses `beta_2`.
    epsilon : float, default=1e-8
        Small number, added to the root of Adam's second moment after its bias correction (scikit-learn: before).
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which to stop.
    max_fun : int, default=15000
        Largest number of loss evaluations of L-BFGS.
    class_weight : mapping, "balanced" or list of mappings, default=None
        Weights by class, which multiply `sample_weight`; classes that are not named have the weight 1. ``"balanced"``
        gives all classes the same total weight (not in `partial_fit`). For multilabel targets, a list with a mapping
        of 0 and 1 to weights for each label.
    l1_ratio : float, default=0.0
        Proportion of L1 in the penalty, ``alpha * (l1_ratio * sum(abs(w)) + (1 - l1_ratio) / 2 * sum(w^2))``. The L1
        part makes weights exactly 0. Not with ``"lbfgs"``, ``"adamw"`` and ``"natural"``.
    max_norm : float or None, default=None
        Largest norm of all gradients together in a step; larger gradients are scaled down to it. Not with ``"lbfgs"``
        and ``"natural"``.
    dropout : float or list of float, default=0.0
        Probability in [0, 1) with which each step drops a hidden unit: one for all hidden layers, or one for each. Not
        with ``"lbfgs"``.
    init : {"auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", \
"orthogonal"}, default="auto"
        Initial weights: ``"auto"`` samples weights and biases as scikit-learn does; the others are those of
        `nn.Linear`, with biases of 0.
    callbacks : list of Callback or None, default=None
        Objects that are called after every epoch and may end the fit (`steepest.callbacks`).
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device to compute on. ``"auto"`` is CUDA for a CuPy X, and the CPU for any other X: the size from which copying
        a NumPy X to a GPU pays off has not been measured yet. ``"cuda"`` copies a NumPy X to the GPU once, and raises
        an error if CUDA is not available.
    precision : {"float32", "high", "tf32", "bfloat16"}, default="float32"
        Precision of the products of matrices for a float32 X (`steepest.kernels.matmul`). With ``"bfloat16"`` their
        operands are rounded to 8 significant bits, on processors and GPUs that gain by it; weights, gradients and
        updates stay float32.
    pretrain : {None, "rbm", "autoencoder"}, default=None
        Greedy training of the layers, one after the other, before the first `fit`: by Boltzmann machines, for layers
        with the logistic function, or by autoencoders of one layer. It lets deep networks of such units learn at all.
    pretrain_iter : int, default=20
        Epochs of the greedy training of each layer.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted; a CuPy array if the model is on CUDA and y was a CuPy array.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer. They are views into one array, so that setting an item
        changes the model. For a model on CUDA they are CuPy arrays if X was one, else read-only NumPy copies.
    loss_ : float
        Loss of the last epoch, with the penalty.
    loss_curve_ : list of float
        Loss of each epoch, averaged over its mini-batches during training.
    best_loss_ : float or None
        Smallest loss; None with early stopping.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score, and loss without the penalty, on the validation samples after each epoch; None without such samples.
    best_validation_score_ : float or None
        Largest validation score.
    stopped_early_ : bool
        Whether early stopping has ended the training.
    n_iter_ : int
        Epochs (or L-BFGS iterations) of the last fit.
    t_ : int
        Number of training samples seen.
    n_layers_, n_outputs_ : int
        Number of layers, including input and output, and number of outputs.
    out_activation_ : str
        Activation of the last layer.
    device_ : str
        Device of the model, "cpu" or "cuda". An unpickled model is on the CPU.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names that are all strings.

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
        precision: Precision = "float32",
        pretrain: Literal["rbm", "autoencoder"] | None = None,
        pretrain_iter: int = 20,
    ) -> None:
        store_parameters(self, locals())

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None, *, pretrain_X: Any = None
    ) -> MLPClassifier:
        """Fit the network.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs; float32 stays float32, everything else becomes float64.
        y : array-like of shape (n_samples,), or (n_samples, n_labels)
            Class labels, numbers or strings; or multilabel targets, 1 for each label of a sample and 0 for the others.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative.
        eval_set : tuple (X, y) or (X, y, sample_weight), default=None
            Validation samples, for `validation_scores_` and `validation_loss_curve_` after each epoch. With
            `early_stopping`, they replace the held-out part of the training samples.
        pretrain_X : array-like or sparse matrix of shape (n, n_features), default=None
            Samples for `pretrain`, which need no targets; by default X.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        ValueError
            If X, y, the weights or a parameter are not as described; the message names the first NaN or infinite item
            of X.
        DivergenceError
            If the loss is no longer finite. The last finite weights remain.
        """
        self._fit(X, y, sample_weight, incremental=False, eval_set=eval_set, pretrain_X=pretrain_X)
        return self

    @available_if(_is_stochastic)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None, eval_set: Any = None
    ) -> MLPClassifier:
        """Train for one epoch on the given samples, continuing from the last call.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        classes : array-like of shape (n_classes,), default=None
            All classes of all calls; required in the first call.
        eval_set : tuple (X, y) or (X, y, sample_weight), default=None
            Validation samples for the score after this epoch; with `early_stopping`, required in every call.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        ValueError
            As in `fit`; also if `classes` is missing in the first call or changes later.
        DivergenceError
            As in `fit`.
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
            Labels from `classes_`: a NumPy array for NumPy inputs; for CuPy inputs, in the library of `classes_`.
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
            Scores of the second of two classes, or of each class or label, in the library of X.
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
            Proportion of the samples whose label is predicted correctly.
        """
        predicted = to_host(self.predict(X))
        return float(accuracy_score(to_host(y), predicted, sample_weight=to_host(sample_weight)))

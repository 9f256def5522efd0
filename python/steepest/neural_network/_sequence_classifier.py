"""Classification of sequences by recurrent networks and Transformers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from steepest.callbacks import Callback
from steepest.nn.initializers import Initializer
from steepest.optim.schedules import Schedule

from ._bodies import Body
from ._classifier import MLPClassifier
from ._labels import LossName
from ._parameters import Device, LearningRate, Precision, Rule, store_parameters
from ._sequences import SequenceInputs, SequenceParameters


class SequenceClassifier(SequenceInputs, MLPClassifier):
    """Network for classification of sequences, recurrent or of attention.

    A body reads each sequence, and a multilayer perceptron classifies what comes out: the state after the last step of
    a recurrent body, or the mean of all steps of a Transformer. The class has the methods and attributes of
    `MLPClassifier`.

    An X is one of these:

    * a list of arrays of shape (T_i, d): sequences of T_i steps of d numbers, or (T_i,) for one number a step,
    * an array of shape (n, T, d), for sequences of one length,
    * ``Sequences(X, lengths)``: an array that holds sequences padded at their ends, and their lengths,
    * an array of shape (n, T): series of T numbers, as many for each sequence in fit and prediction.

    With `n_ids`, a step is an id, such as that of a word or a character: T_i or T integers for each sequence.
    Padding costs nothing: sequences of different lengths are packed, and never mixed with what fills an array up.

    Parameters
    ----------
    body : {"gru", "lstm", "rnn", "transformer"}, default="gru"
        The layers that read the sequences: `nn.GRU`, `nn.LSTM`, `nn.RNN`, or `nn.TransformerEncoder` with rotary
        positions.
    n_units : int, default=64
        Units of each of these layers; with `n_ids`, also the width of the embedding.
    n_layers : int, default=1
        Number of layers.
    bidirectional : bool, default=False
        Whether each recurrent layer also reads from the last step to the first.
    n_heads : int, default=4
        Heads of the attention of a Transformer; they divide `n_units` into parts of even width.
    n_ids : int or None, default=None
        Number of different ids 0 to n_ids - 1 if X holds ids; None if X holds numbers.
    hidden_layer_sizes : int or sequence of int, default=()
        Numbers of units of hidden layers behind the body.
    activation : str, pair or list, default="relu"
        Activation of these layers; see `MLPClassifier`.
    loss : {"log_loss", "hinge", "squared_hinge", "exponential"}, default="log_loss"
        The loss. For this and all parameters below, see `MLPClassifier`.
    solver : {"adam", "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adamw"}, default="adam"
        Optimizer of the mini-batches.
    alpha : float, default=1e-4
        Strength of the L2 penalty on the weights.
    batch_size, max_iter : int, default="auto" and 50
        Sequences in a mini-batch, by default min(32, n_samples); largest number of epochs.
    learning_rate, learning_rate_init, power_t : object
        Schedule of the learning rate, its initial value, by default 0.003, and the exponent of ``"invscaling"``.
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
    class_weight : mapping, "balanced" or list of mappings, default=None
        Weights by class.
    l1_ratio : float, default=0.0
        Proportion of L1 in the penalty.
    max_norm : float or None, default=1.0
        Largest norm of all gradients together in a step: gradients through many steps may grow very large.
    dropout : float, default=0.0
        Probability in [0, 1) with which each training step drops an item between layers.
    init : str, default="glorot_uniform"
        Initial weights, but those between the states of recurrent layers, which are orthogonal; see `nn.Linear`.
    callbacks, device, precision : object
        Objects of `steepest.callbacks` that are called after every epoch; device to compute on; precision of the
        products of matrices.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights and biases of the layers, first to last, in the shapes of `nn`'s layers.
    classes_, loss_, loss_curve_, best_loss_, validation_scores_, validation_loss_curve_ : object
        See `MLPClassifier`.
    best_validation_score_, stopped_early_, n_iter_, t_, n_layers_, n_outputs_, out_activation_ : object
        See `MLPClassifier`.
    device_ : str
        See `MLPClassifier`.
    n_features_in_ : int
        Numbers of a step, or T for an X of shape (n, T); absent for ids.

    Examples
    --------
    Does a series rise or fall?

    >>> import numpy as np
    >>> from steepest.neural_network import SequenceClassifier
    >>> rng = np.random.default_rng(0)
    >>> rises = rng.integers(0, 2, 200)
    >>> lengths = rng.integers(5, 20, 200)
    >>> X = [np.cumsum(rng.standard_normal(n) + (0.7 if up else -0.7)) for up, n in zip(rises, lengths)]
    >>> model = SequenceClassifier(n_units=16, max_iter=20, random_state=0).fit(X[:150], rises[:150])
    >>> model.score(X[150:], rises[150:]) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MLPClassifier._parameter_constraints,
        **SequenceParameters._sequence_constraints,
    }

    def __init__(
        self,
        body: Body = "gru",
        n_units: int = 64,
        n_layers: int = 1,
        *,
        bidirectional: bool = False,
        n_heads: int = 4,
        n_ids: int | None = None,
        hidden_layer_sizes: int | Iterable[int] = (),
        activation: Any = "relu",
        loss: LossName = "log_loss",
        solver: Rule = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: LearningRate | Schedule = "constant",
        learning_rate_init: float = 0.003,
        power_t: float = 0.5,
        max_iter: int = 50,
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
        class_weight: Mapping[Any, float] | list[Mapping[int, float]] | Literal["balanced"] | None = None,
        l1_ratio: float = 0.0,
        max_norm: float | None = 1.0,
        dropout: float = 0.0,
        init: Initializer = "glorot_uniform",
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
        precision: Precision = "float32",
    ) -> None:
        store_parameters(self, locals())

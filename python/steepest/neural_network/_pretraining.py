"""Greedy layer-wise pretraining: a machine or an autoencoder for each layer, on the output of the one before."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_host
from steepest.estimators.random_states import copied, seed_of

from ._architecture import hidden_sizes
from ._autoencoder import Autoencoder
from ._base import BaseMultilayerPerceptron
from ._parameters import ALIASES, PerceptronParameters, prefixed
from ._rbm import BernoulliRBM

_BATCH_SIZE = 20  # samples of a mini-batch
Layers = tuple[list[Array], list[Array]]  # weights and biases of the first layers of a network


def greedy_machines(
    X: Array,
    sizes: Sequence[int],
    random_state: np.random.RandomState,
    *,
    y: Array | None = None,
    visible: str = "bernoulli",
    **options: Any,
) -> list[BernoulliRBM]:
    """Return a Boltzmann machine for each layer, fitted to the means of the hidden units of the one before.

    After Ctrl-C, the machines that have had no turn have the weights that they begin with.

    G. E. Hinton, S. Osindero, Y.-W. Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18, 2006.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Samples.
    sizes : sequence of int
        Numbers of hidden units.
    random_state : RandomState
        Generator of the seeds.
    y : ndarray or None
        Class labels, which the last machine joins.
    visible : {"bernoulli", "gaussian"}
        Units of the samples.
    **options
        Parameters of `BernoulliRBM`.
    """
    machines: list[BernoulliRBM] = []
    for i, size in enumerate(sizes):
        machine = BernoulliRBM(
            size,
            visible=visible if i == 0 else "bernoulli",  # type: ignore[arg-type]
            label_units=y is not None and i + 1 == len(sizes),
            draws="philox",
            random_state=int(random_state.randint(np.iinfo(np.int32).max)),
            **options,
        ).fit(X, y)
        machines.append(machine)
        if machine.n_iter_ < machine.n_iter:  # Ctrl-C
            options["n_iter"] = 0
        X = machine.transform(X)
    return machines


def start_from(model: Any, coefs: Sequence[Array], intercepts: Sequence[Array]) -> None:
    """Let the next first fit of a perceptron begin with these weights and biases of its first layers."""
    model._start = (list(coefs), list(intercepts))


def pretrained(model: PerceptronParameters, X: Any) -> Layers:
    """Return weights and biases of the hidden layers of a perceptron, trained greedily on samples without targets.

    An `Autoencoder` gets those of its decoder, too.

    Parameters
    ----------
    model : PerceptronParameters
        The estimator; `pretrain` says by what its layers are trained, and `pretrain_iter` for how many epochs.
    X : ndarray or sparse matrix of shape (n, n_features)
        Samples.

    Raises
    ------
    ValueError
        If ``pretrain="rbm"`` meets an activation other than the logistic function.
    """
    X = to_host(X.toarray() if scipy.sparse.issparse(X) else X)
    random_state = np.random.RandomState(seed_of(copied(check_random_state(model.random_state))))
    decodes = isinstance(model, Autoencoder)
    sizes, activations = hidden_sizes(model), _activations(model)
    if model.pretrain == "rbm":
        up, down = _by_machines(model, X, sizes, activations, random_state)
    else:
        up, down = _by_autoencoders(model, X, sizes, activations, random_state, decodes)
    layers = [*up, *(down[::-1] if decodes else [])]
    ties = isinstance(model, Autoencoder) and model.tied_weights
    return [w for w, _ in (up if ties else layers)], [b for _, b in layers]


def _activations(model: PerceptronParameters) -> list[Any]:
    """Return the activation of each hidden layer, or of each layer of the encoder."""
    n = len(hidden_sizes(model))
    if isinstance(model, Autoencoder):
        given = model.activation
        return [*(given if isinstance(given, list) else [given] * (n - 1)), model.code_activation]
    return list(model.activation) if isinstance(model.activation, list) else [model.activation] * n


def _by_machines(
    model: PerceptronParameters,
    X: Array,
    sizes: list[int],
    activations: list[Any],
    random_state: np.random.RandomState,
) -> tuple[list[tuple[Array, Array]], list[tuple[Array, Array]]]:
    for activation in activations:
        if ALIASES.get(activation, activation) != "sigmoid":
            raise ValueError(
                prefixed(
                    model,
                    f"pretrain='rbm' trains units with the logistic function, but a layer has {activation!r}: use "
                    "activation='logistic' (of an autoencoder also code_activation), or pretrain='autoencoder'",
                )
            )
    binary = bool(((X >= 0) & (X <= 1)).all())
    machines = greedy_machines(
        X,
        sizes,
        random_state,
        visible="bernoulli" if binary else "gaussian",
        learning_rate=0.1 if binary else 0.01,
        batch_size=_BATCH_SIZE,
        n_iter=model.pretrain_iter,
        persistent=False,
        momentum=0.5,
        l2=1e-4,
        shuffle=True,
    )
    up = [(m.components_.T, m.intercept_hidden_) for m in machines]
    return up, [(m.components_, m.intercept_visible_) for m in machines]


def _by_autoencoders(
    model: PerceptronParameters,
    X: Array,
    sizes: list[int],
    activations: list[Any],
    random_state: np.random.RandomState,
    decodes: bool,
) -> tuple[list[tuple[Array, Array]], list[tuple[Array, Array]]]:
    up, down = [], []
    n_epochs = int(model.pretrain_iter)
    for i, (size, activation) in enumerate(zip(sizes, activations, strict=True)):
        # The decoder of a layer ends with the activation of the layer below, whose output it reconstructs.
        layer = Autoencoder(
            (size,),
            code_activation=activation,
            output_activation=activations[i - 1] if i and decodes else "identity",
            tied_weights=isinstance(model, Autoencoder) and model.tied_weights,
            batch_size=min(_BATCH_SIZE, len(X)),
            max_iter=n_epochs,
            n_iter_no_change=np.inf,
            random_state=int(random_state.randint(np.iinfo(np.int32).max)),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            layer.fit(X)
        if layer.n_iter_ < n_epochs:  # Ctrl-C
            n_epochs = 1
        up.append((layer.coefs_[0], layer.intercepts_[0]))
        down.append(
            (layer.coefs_[-1], layer.intercepts_[1])
        )  # tied weights are listed once, and not taken twice
        X = layer.transform(X)
    return up, down


BaseMultilayerPerceptron._pretrained = pretrained

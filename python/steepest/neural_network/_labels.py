"""Between labels and what a classifier's loss takes, and between the network's output and what is predicted."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from steepest import kernels as K
from steepest import nn
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace
from steepest.nn.losses import Loss

# What a classifier tells apart: two classes by the sign of one output, several by the largest of theirs, or labels of
# which each has an output whose sign says whether it holds.
Task = Literal["binary", "multiclass", "multilabel"]

# Losses of targets ±1, one output for each class (one against the others) or label.
_MARGIN_LOSSES = {"hinge": nn.Hinge, "squared_hinge": nn.SquaredHinge, "exponential": nn.Exponential}
LOSSES = ("log_loss", *_MARGIN_LOSSES)
LossName: TypeAlias = Literal["log_loss", "hinge", "squared_hinge", "exponential"]


def loss_of(task: Task, loss: str) -> Loss:
    """Return the loss to minimise: for several outputs, the sum of theirs."""
    if loss != "log_loss":
        made: Loss = _MARGIN_LOSSES[loss](reduction="sum")
        return made
    return nn.SoftmaxCrossEntropy() if task == "multiclass" else nn.BinaryCrossEntropy(reduction="sum")


def out_activation(task: Task, loss: str) -> str:
    """Return scikit-learn's name of what turns the network's output into a prediction."""
    if loss != "log_loss":
        return "identity"
    return "softmax" if task == "multiclass" else "logistic"


def encode(ids: Array, n_classes: int, task: Task, loss: str, dtype: Any) -> Array:
    """Return the targets as the loss takes them.

    Parameters
    ----------
    ids : ndarray of shape (n,), or (n, n_labels) of 0 and 1 for several labels
        The classes, as indices.
    n_classes : int
        Their number.
    task : {"binary", "multiclass", "multilabel"}
        What the classifier tells apart.
    loss : str
        One of `LOSSES`.
    dtype : dtype
        That of the network.
    """
    if task == "multiclass":
        if loss == "log_loss":
            return ids.astype(np.int64, copy=False)
        holds = ids[:, None] == np.arange(n_classes)
    else:
        holds = ids.reshape(len(ids), -1) == 1
    # In C order, whatever that of the labels: the kernels take rows.
    targets: Array = holds.astype(dtype, order="C")
    return targets if loss == "log_loss" else 2 * targets - 1


def class_ids(targets: Array, task: Task) -> list[Array]:
    """Return the class of each row as an index; of several labels, for each of them whether it holds.

    Parameters
    ----------
    targets : ndarray
        As `encode` returns them.
    task : {"binary", "multiclass", "multilabel"}
        What the classifier tells apart.
    """
    if task == "multiclass":
        return [targets if targets.ndim == 1 else targets.argmax(axis=1)]
    return list((targets.T > 0).astype(np.int64))


def decide(output: Array, task: Task) -> Array:
    """Return the class of each row as an index, or whether each label holds."""
    if task == "multiclass":
        return K.argmax(output)
    holds: Array = (output > 0).astype(np.int64)
    return holds if task == "multilabel" else holds[:, 0]


def probabilities(output: Array, task: Task) -> Array:
    """Return the probability of each class, or of each label."""
    if task == "multiclass":
        return K.softmax(output)
    holds = K.activation(output, "sigmoid")
    if task == "multilabel":
        return holds
    both: Array = array_namespace(output).concatenate([K.activation(-output, "sigmoid"), holds], axis=1)
    return both


def log_probabilities(output: Array, task: Task) -> Array:
    """Return the logarithms of `probabilities`, finite where these underflow."""
    if task == "multiclass":
        return K.log_softmax(output)
    if task == "multilabel":
        return _log_sigmoid(output)
    both: Array = array_namespace(output).concatenate([_log_sigmoid(-output), _log_sigmoid(output)], axis=1)
    return both


def _log_sigmoid(z: Array) -> Array:
    """Return log(sigmoid(z)): of the probability that `probabilities` gives, where that is not small."""
    xp = array_namespace(z)
    small = xp.minimum(z, 0)
    logarithm: Array = xp.where(
        z > 0, xp.log(K.activation(xp.maximum(z, 0), "sigmoid")), small - xp.log1p(xp.exp(small))
    )
    return logarithm


def hits(output: Array, targets: Array, task: Task) -> Array:
    """Return whether each row is decided as its target says; of several labels, all of them.

    Parameters
    ----------
    output : ndarray of shape (n, n_outputs)
        Of the network.
    targets : ndarray
        As `encode` returns them.
    task : {"binary", "multiclass", "multilabel"}
        What the classifier tells apart.
    """
    if task == "multiclass":
        right: Array = K.argmax(output) == class_ids(targets, task)[0]
        return right
    agrees: Array = ((output > 0) == (targets > 0)).all(axis=1)
    return agrees

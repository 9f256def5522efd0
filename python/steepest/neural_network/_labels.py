"""Encoding of labels as targets of a loss, and decoding of a network's output into classes and probabilities."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from steepest import kernels as K
from steepest import nn
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace
from steepest.nn.losses import Loss

# Kinds of classification. "binary": the sign of one output decides between two classes. "multiclass": the largest of
# several outputs decides. "multilabel": each label has an output, whose sign decides whether a sample has the label.
Task = Literal["binary", "multiclass", "multilabel"]

# Losses for targets ±1, with one output for each class (one against the rest) or label.
_MARGIN_LOSSES = {"hinge": nn.Hinge, "squared_hinge": nn.SquaredHinge, "exponential": nn.Exponential}
LOSSES = ("log_loss", *_MARGIN_LOSSES)
LossName: TypeAlias = Literal["log_loss", "hinge", "squared_hinge", "exponential"]


def loss_of(task: Task, loss: str) -> Loss:
    """Return the loss to minimise, which is summed over several outputs."""
    if loss != "log_loss":
        made: Loss = _MARGIN_LOSSES[loss](reduction="sum")
        return made
    return nn.SoftmaxCrossEntropy() if task == "multiclass" else nn.BinaryCrossEntropy(reduction="sum")


def out_activation(task: Task, loss: str) -> str:
    """Return scikit-learn's name of the output activation: "identity", "softmax" or "logistic"."""
    if loss != "log_loss":
        return "identity"
    return "softmax" if task == "multiclass" else "logistic"


def encode(ids: Array, n_classes: int, task: Task, loss: str, dtype: Any) -> Array:
    """Return the targets of the loss: class ids, or numbers 0 and 1, or ±1 for margin losses.

    Parameters
    ----------
    ids : ndarray of shape (n,), or (n, n_labels) of 0 and 1 for multilabel targets
        Class of each sample as an index, or whether it has each label.
    n_classes : int
        Number of classes.
    task : {"binary", "multiclass", "multilabel"}
        Kind of classification.
    loss : str
        Name of the loss, one of `LOSSES`.
    dtype : dtype
        Dtype of the network.
    """
    if task == "multiclass":
        if loss == "log_loss":
            return ids.astype(np.int64, copy=False)
        holds = ids[:, None] == np.arange(n_classes)
    else:
        holds = ids.reshape(len(ids), -1) == 1
    # C order, since the labels may be in Fortran order and the trainer needs contiguous rows.
    targets: Array = holds.astype(dtype, order="C")
    return targets if loss == "log_loss" else 2 * targets - 1


def class_ids(targets: Array, task: Task) -> list[Array]:
    """Return a list of arrays: the class index of each row, or for each label whether the rows have it (0 or 1).

    Parameters
    ----------
    targets : ndarray
        Targets, as `encode` returns them.
    task : {"binary", "multiclass", "multilabel"}
        Kind of classification.
    """
    if task == "multiclass":
        return [targets if targets.ndim == 1 else targets.argmax(axis=1)]
    return list((targets.T > 0).astype(np.int64))


def decide(output: Array, task: Task) -> Array:
    """Return the predicted class index of each row, or 0 or 1 for each label."""
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
    """Return the logarithms of `probabilities`, finite even where the probabilities underflow."""
    if task == "multiclass":
        return K.log_softmax(output)
    if task == "multilabel":
        return _log_sigmoid(output)
    both: Array = array_namespace(output).concatenate([_log_sigmoid(-output), _log_sigmoid(output)], axis=1)
    return both


def _log_sigmoid(z: Array) -> Array:
    """Return log(sigmoid(z)); for z > 0, it is the logarithm of the result of `probabilities`."""
    xp = array_namespace(z)
    small = xp.minimum(z, 0)
    logarithm: Array = xp.where(
        z > 0, xp.log(K.activation(xp.maximum(z, 0), "sigmoid")), small - xp.log1p(xp.exp(small))
    )
    return logarithm


def hits(output: Array, targets: Array, task: Task) -> Array:
    """Return whether each row is predicted correctly; a multilabel row needs all its labels to be correct.

    Parameters
    ----------
    output : ndarray of shape (n, n_outputs)
        Output of the network.
    targets : ndarray
        Targets, as `encode` returns them.
    task : {"binary", "multiclass", "multilabel"}
        Kind of classification.
    """
    if task == "multiclass":
        right: Array = K.argmax(output) == class_ids(targets, task)[0]
        return right
    agrees: Array = ((output > 0) == (targets > 0)).all(axis=1)
    return agrees

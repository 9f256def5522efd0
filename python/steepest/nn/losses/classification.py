"""Losses of classifiers: cross-entropies, and margin losses of scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest.nn.ops.base import as_rows

from .base import Formula, KernelLoss, OutputLoss, Result, require_between

__all__ = [
    "BinaryCrossEntropy",
    "Exponential",
    "Hinge",
    "ModifiedHuber",
    "SoftmaxCrossEntropy",
    "SquaredHinge",
]


@dataclass(frozen=True)
class SoftmaxCrossEntropy(KernelLoss):
    """Cross-entropy of a softmax, ``sum_i w_i (logsumexp(z_i) - z_i[t_i]) / sum_i w_i``.

    It is the negative log-likelihood of a categorical distribution with logits z; see
    `steepest.kernels.softmax_cross_entropy`.

    Parameters
    ----------
    ignore_label : int or None, default=None
        Rows with this label count for nothing.
    """

    ignore_label: int | None = None
    kernel: ClassVar[str] = "softmax_cross_entropy"
    formula = Formula(
        "−log softmax(z)[t]", "softmax(z) − one-hot(t)", "logits: P(t = k) = softmax(z)[k]", "classes"
    )

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Result:
        """Compute the loss of a batch and its gradient.

        Parameters
        ----------
        prediction : ndarray of shape (n, c), or (n, ..., c) for a class at each place of a sample
            Logits.
        target : ndarray of shape (n, ...) or (n, ..., c)
            Class ids of an integer dtype, or probabilities of the logits' dtype.
        sample_weight : ndarray of shape (n, ...) or None
            Weights of the rows, and of their places, of the logits' dtype.

        Returns
        -------
        value : ndarray of shape (), float64
            The loss.
        d_prediction : ndarray of the logits' shape
            Its gradient.
        """
        if prediction.ndim == 2:
            return K.softmax_cross_entropy(prediction, target, sample_weight, ignore_label=self.ignore_label)
        shape, weight = prediction.shape, sample_weight
        for what, array in (("target", target), ("sample_weight", weight)):
            if array is not None and array.shape not in (
                shape[:-1],
                shape[: len(shape) * (what == "target")],
            ):
                raise ValueError(
                    f"[softmax_cross_entropy] {what} has shape {array.shape}, but the logits have {shape}: "
                    "each place needs one"
                )
        rows = prediction.reshape(-1, shape[-1])
        labels = target.reshape(rows.shape if target.ndim == len(shape) else -1)
        weights = None if weight is None else weight.reshape(-1)
        value, d = K.softmax_cross_entropy(rows, labels, weights, ignore_label=self.ignore_label)
        return value, d.reshape(shape)

    def of_linear(
        self,
        x: Array,
        w: Array,
        b: Array | None,
        target: Array,
        sample_weight: Array | None = None,
        **options: Any,
    ) -> Float64Array:
        """Compute the loss of the logits ``x @ w + b`` and its gradients, without storing all logits.

        Parameters
        ----------
        x : ndarray of shape (n, ..., n_in)
            Inputs of the linear map.
        w : ndarray of shape (n_in, c)
            Its weights.
        b : ndarray of shape (c,) or None
            Its biases.
        target : ndarray of shape (n, ...)
            Class ids of an integer dtype.
        sample_weight : ndarray of shape (n, ...) or None
            Weights of the rows, and of their places.
        **options
            Where to write the gradients, and how: those of `steepest.kernels.linear_cross_entropy`. `d_x` has the
            shape of `x`.

        Returns
        -------
        ndarray of shape (), float64
            The loss.
        """
        for what, array in (("target", target), ("sample_weight", sample_weight)):
            if array is not None and array.shape != x.shape[:-1]:
                raise ValueError(
                    f"[linear_cross_entropy] {what} has shape {array.shape}, but the inputs {x.shape}: each place "
                    "needs one"
                )
        weight, d_x = None if sample_weight is None else sample_weight.reshape(-1), options.pop("d_x", None)
        return K.linear_cross_entropy(
            as_rows(x),
            w,
            b,
            target.reshape(-1),
            weight,
            self.ignore_label,
            d_x=None if d_x is None else as_rows(d_x),
            **options,
        )[0]


@dataclass(frozen=True)
class BinaryCrossEntropy(OutputLoss):
    """Binary cross-entropy of logits, ``log(1 + exp(z)) - t z``, for targets in 0..1.

    It is the negative log-likelihood of a Bernoulli distribution for every output, so that several labels may hold at
    once; see `steepest.kernels.log_loss`.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    kernel: ClassVar[str] = "log_loss"
    formula = Formula(
        "log(1 + exp(z)) − t z",
        "sigmoid(z) − t",
        "logit: P(t = 1) = sigmoid(z)",
        "two classes, several labels at once",
    )

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.log_loss(prediction, target, sample_weight, reduction=self.reduction)


@dataclass(frozen=True)
class Hinge(OutputLoss):
    """Hinge loss, ``max(0, margin - t z)``, for targets ±1.

    See `steepest.kernels.hinge`.

    Parameters
    ----------
    margin : float, default=1.0
        A score from which nothing is lost; 0 for the perceptron's criterion.
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    margin: float = 1.0
    kernel: ClassVar[str] = "hinge"
    formula = Formula(
        "max(0, margin − t z)", "−t within the margin", "sign of t", "linear support-vector machines"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("margin", self.margin, -math.inf, math.inf)

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.hinge(prediction, target, sample_weight, margin=self.margin, reduction=self.reduction)


@dataclass(frozen=True)
class SquaredHinge(OutputLoss):
    """Squared hinge loss, ``max(0, 1 - t z)^2``, for targets ±1.

    See `steepest.kernels.squared_hinge`.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    kernel: ClassVar[str] = "squared_hinge"
    formula = Formula(
        "max(0, 1 − t z)²", "−2 t max(0, 1 − t z)", "sign of t", "smooth support-vector machines"
    )

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.squared_hinge(prediction, target, sample_weight, reduction=self.reduction)


@dataclass(frozen=True)
class ModifiedHuber(OutputLoss):
    """Modified Huber loss for targets ±1: the squared hinge, but linear where ``t z < -1``.

    See `steepest.kernels.modified_huber`.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    kernel: ClassVar[str] = "modified_huber"
    formula = Formula(
        "max(0, 1 − t z)² up to t z = −1, −4 t z beyond",
        "−2 t min(2, max(0, 1 − t z))",
        "sign of t",
        "support-vector machines with outliers",
    )

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.modified_huber(prediction, target, sample_weight, reduction=self.reduction)


@dataclass(frozen=True)
class Exponential(OutputLoss):
    """Exponential loss, ``exp(-t z)``, for targets ±1.

    See `steepest.kernels.exponential`.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    kernel: ClassVar[str] = "exponential"
    formula = Formula("exp(−t z)", "−t exp(−t z)", "half the log odds of t = 1", "boosting")

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.exponential(prediction, target, sample_weight, reduction=self.reduction)

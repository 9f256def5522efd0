"""Losses of regressions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from steepest import kernels as K
from steepest._runtime.arrays import Array

from .base import Formula, OutputLoss, Result, require_between

__all__ = [
    "EpsilonInsensitive",
    "Gaussian",
    "Huber",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "Quantile",
    "SquaredEpsilonInsensitive",
]


@dataclass(frozen=True)
class MeanSquaredError(OutputLoss):
    """Squared error, ``s (z - t)^2``, a mean over rows and outputs.

    It is the negative log-likelihood of a Gaussian of fixed variance; see `steepest.kernels.squared_error`.

    Parameters
    ----------
    half : bool, default=False
        Whether s is 1/2 instead of 1.
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    half: bool = False
    kernel: ClassVar[str] = "squared_error"
    formula = Formula("s (z − t)²", "2 s (z − t)", "mean of t", "regression")

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.squared_error(prediction, target, sample_weight, half=self.half, reduction=self.reduction)


@dataclass(frozen=True)
class MeanAbsoluteError(OutputLoss):
    """Absolute error, ``|z - t|``, a mean over rows and outputs.

    It is the negative log-likelihood of a Laplace distribution of fixed width; see `steepest.kernels.absolute_error`.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    kernel: ClassVar[str] = "absolute_error"
    formula = Formula("|z − t|", "sign(z − t)", "median of t", "regression with outliers")

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.absolute_error(prediction, target, sample_weight, reduction=self.reduction)


@dataclass(frozen=True)
class Huber(OutputLoss):
    """Huber's loss: half the squared error up to delta, then in proportion to the absolute error.

    See `steepest.kernels.huber`.

    Parameters
    ----------
    delta : float, default=1.0
        Where the one becomes the other, above 0.
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    delta: float = 1.0
    kernel: ClassVar[str] = "huber"
    formula = Formula(
        "e²/2 up to δ, δ (|e| − δ/2) beyond, e = z − t",
        "e within ±δ, ±δ beyond",
        "between mean and median of t",
        "regression with outliers",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("delta", self.delta, 0.0, math.inf)

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.huber(prediction, target, sample_weight, delta=self.delta, reduction=self.reduction)


@dataclass(frozen=True)
class LogCosh(OutputLoss):
    """Log-cosh loss, ``log(cosh(z - t))``: half the squared error near 0, the absolute error less log(2) far from it.

    See `steepest.kernels.log_cosh`.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    kernel: ClassVar[str] = "log_cosh"
    formula = Formula(
        "log(cosh(z − t))", "tanh(z − t)", "between mean and median of t", "smooth regression with outliers"
    )

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.log_cosh(prediction, target, sample_weight, reduction=self.reduction)


@dataclass(frozen=True)
class EpsilonInsensitive(OutputLoss):
    """Epsilon-insensitive loss, ``max(0, |z - t| - epsilon)``: that of support-vector regression.

    See `steepest.kernels.epsilon_insensitive`.

    Parameters
    ----------
    epsilon : float, default=0.1
        Size of the errors that count for nothing, above 0.
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    epsilon: float = 0.1
    kernel: ClassVar[str] = "epsilon_insensitive"
    formula = Formula(
        "max(0, |z − t| − ε)", "sign(z − t) beyond ε, 0 within", "t within ±ε", "support-vector regression"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("epsilon", self.epsilon, 0.0, math.inf)

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.epsilon_insensitive(
            prediction, target, sample_weight, epsilon=self.epsilon, reduction=self.reduction
        )


@dataclass(frozen=True)
class SquaredEpsilonInsensitive(EpsilonInsensitive):
    """The square of the epsilon-insensitive loss.

    See `steepest.kernels.squared_epsilon_insensitive`; parameters as `EpsilonInsensitive`.
    """

    kernel: ClassVar[str] = "squared_epsilon_insensitive"
    formula = Formula(
        "max(0, |z − t| − ε)²",
        "2 sign(z − t) max(0, |z − t| − ε)",
        "t within ±ε",
        "smooth support-vector regression",
    )

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.squared_epsilon_insensitive(
            prediction, target, sample_weight, epsilon=self.epsilon, reduction=self.reduction
        )


@dataclass(frozen=True)
class Quantile(OutputLoss):
    """Quantile (pinball) loss, ``q (t - z)`` below the target, ``(1 - q) (z - t)`` above it.

    See `steepest.kernels.quantile`.

    Parameters
    ----------
    quantile : float, default=0.5
        q, between 0 and 1.
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    quantile: float = 0.5
    kernel: ClassVar[str] = "quantile"
    formula = Formula(
        "q (t − z) below t, (1 − q) (z − t) above",
        "−q below t, 1 − q above",
        "q-quantile of t",
        "prediction intervals",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("quantile", self.quantile, 0.0, 1.0)

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.quantile(prediction, target, sample_weight, quantile=self.quantile, reduction=self.reduction)


@dataclass(frozen=True)
class Poisson(OutputLoss):
    """Poisson loss, ``exp(z) - t z``: counts of mean exp(z).

    It is the negative log-likelihood of a Poisson distribution, without log(t!); see `steepest.kernels.poisson`.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    kernel: ClassVar[str] = "poisson"
    formula = Formula("exp(z) − t z", "exp(z) − t", "log: the mean of t is exp(z)", "counts")

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.poisson(prediction, target, sample_weight, reduction=self.reduction)


@dataclass(frozen=True)
class Gaussian(OutputLoss):
    """Gaussian of learned variance, ``(s + (t - mu)^2 exp(-s)) / 2``.

    The network gives 2 m outputs for m targets: the means mu, then the log-variances s. It is the negative
    log-likelihood, without log(2 pi) / 2; see `steepest.kernels.gaussian`.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default="mean"
        What becomes of the losses of a row's outputs.
    """

    _columns: ClassVar[int] = 2
    kernel: ClassVar[str] = "gaussian"
    formula = Formula(
        "(s + (t − μ)² exp(−s)) / 2",
        "(μ − t) exp(−s); (1 − (t − μ)² exp(−s)) / 2",
        "mean μ and variance exp(s) of t",
        "regression that knows how sure it is",
    )

    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result:
        return K.gaussian(prediction, target, sample_weight, reduction=self.reduction)

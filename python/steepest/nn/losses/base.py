"""What losses have in common: the interface, the formula for the documentation, and outputs that add up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array

Result = tuple[Float64Array, Array]
Reduction = Literal["mean", "sum"]


class Loss(Protocol):
    """What networks, optimizers and estimators ask of a loss."""

    @property
    def distribution(self) -> str | None:
        """The distribution behind the loss, or None."""

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Result:
        """Compute the loss of a batch and its gradient by the prediction."""


@dataclass(frozen=True)
class Formula:
    """What documentation says of a loss of prediction z and target t."""

    value: str
    derivative: str  # by z
    predicts: str  # what the best z is
    use: str


class KernelLoss:
    """A loss that a function of `steepest.kernels` computes."""

    kernel: ClassVar[str]
    """Name of the function."""
    formula: ClassVar[Formula]

    @property
    def distribution(self) -> str | None:
        """The distribution whose negative log-likelihood the loss is, or None."""
        return K.LOSSES[self.kernel]


@dataclass(frozen=True)
class OutputLoss(KernelLoss, ABC):
    """A loss of every output of a row: of these, a row's loss is the mean or the sum."""

    _columns: ClassVar[int] = 1  # of the prediction, for a target
    reduction: Reduction = field(default="mean", kw_only=True)

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f"reduction is {self.reduction!r}, not 'mean' or 'sum'")

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Result:
        """Compute the loss of a batch and its gradient.

        Parameters
        ----------
        prediction : ndarray of shape (n, m)
            Predictions; for `Gaussian`, of shape (n, 2 m).
        target : ndarray of shape (n, m), or (n,) where m is 1
            Targets, of the prediction's dtype.
        sample_weight : ndarray of shape (n,) or None
            Weights of the rows, of the prediction's dtype.

        Returns
        -------
        value : ndarray of shape (), float64
            The loss.
        d_prediction : ndarray of the prediction's shape
            Its gradient.

        Raises
        ------
        TypeError, ValueError
            See the conventions of `steepest.kernels`.
        """
        if target.ndim == 1:
            if prediction.shape[-1] != self._columns:
                raise ValueError(
                    f"[{self.kernel}] target has shape {target.shape}, but prediction {prediction.shape}: "
                    "each output needs a target"
                )
            target = target[:, None]
        return self._kernel(prediction, target, sample_weight)

    @abstractmethod
    def _kernel(self, prediction: Array, target: Array, sample_weight: Array | None) -> Result: ...


def require_between(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError unless low < value < high."""
    if not low < value < high:
        raise ValueError(f"{name} is {value}; it must lie strictly between {low} and {high}")

"""What a trainer does with each batch: a step of a first-order rule, or of the natural gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steepest import kernels as K
from steepest._cpu import DivergenceError
from steepest._runtime.arrays import Float64Array
from steepest._runtime.memory import aligned_zeros, array_namespace, to_host
from steepest.nn import Network
from steepest.nn.inputs import as_inputs
from steepest.nn.losses import Loss
from steepest.optim import NaturalGradient, Optimizer

from .batches import Batch


@dataclass(frozen=True)
class Totals:
    """Sums over the rows of an epoch: of the losses with their penalties, and of classification errors.

    Attributes
    ----------
    loss : float
        Sum of the losses.
    errors : float or None
        Number of errors; None if they are not counted.
    samples : float or None
        Number of the rows, if the program did not take a step on every batch.
    """

    loss: float
    errors: float | None
    samples: float | None = None


class Program(ABC):
    """Interface of what a `Trainer` does with each batch.

    Attributes
    ----------
    network : Network
        The network that it changes, or the first of them.
    """

    captured: ClassVar[bool] = True
    """Whether `step` only launches operations of a graph, which is then captured once and replayed."""
    period: int = 1
    """The program takes a step on every batch, or on one of so many, if there are several programs."""
    network: Network

    @property
    def networks(self) -> list[Network]:
        """All networks that it changes."""
        return [self.network]

    @property
    @abstractmethod
    def remedy(self) -> str:
        """Advice for the error message after divergence."""

    @abstractmethod
    def step(self, batch: Batch) -> None:
        """Take a step on a batch, and add its loss to the totals of the epoch.

        Raises
        ------
        DivergenceError
            If the loss is not finite; the parameters stay as they were before this step.
        """

    @abstractmethod
    def begin(self) -> None:
        """Begin an epoch: reset the totals."""

    @abstractmethod
    def end(self, steps: int) -> Totals:
        """Return the totals of an epoch of so many steps.

        Raises
        ------
        DivergenceError
            If a parameter is not finite.
        """

    def require_finite_parameters(self, steps: int) -> None:
        """Raise DivergenceError if a parameter of a network is not finite after so many steps of an epoch."""
        for network in self.networks:
            if not array_namespace(network.arena).isfinite(network.arena).all():
                raise divergence("a parameter is not finite", steps - 1)


class GradientDescent(Program):
    """Mini-batch steps of a first-order optimizer: ``forward -> loss -> backward -> update``.

    Numbers that change from step to step (the loss so far, the step count) are small arrays, so that a step can be
    captured. One copy from the device reads all results of an epoch.

    Parameters
    ----------
    network : Network
        The network to train.
    loss : Loss
        The loss to minimise.
    optimizer : Optimizer
        Optimizer of the parameters of `network`.
    alpha : float
        Strength of the L2 penalty ``alpha / 2 * sum(w^2)`` on a batch's summed loss, or ``alpha / batch`` on its mean.
    l1 : float
        Strength of the L1 penalty ``l1 * sum(abs(w))`` on a batch's summed loss, applied by a proximal step.
    track_accuracy : bool
        Whether to count classification errors.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        *,
        alpha: float = 0.0,
        l1: float = 0.0,
        track_accuracy: bool = False,
    ) -> None:
        self.network, self.loss, self.optimizer = network, loss, optimizer
        self._alpha, self._l1, self._track_accuracy = alpha, l1, track_accuracy
        # One copy reads all four numbers: sum of the losses, sum of the errors, penalty of a summed loss, and whether
        # all parameters are finite.
        self._totals = aligned_zeros((4,), np.float64, network.device)
        self._loss_total, self._error_total, self._penalty, self._all_finite = (
            self._totals[i : i + 1].reshape(()) for i in range(4)
        )
        self._last_penalty = self._read_totals()[2]

    @property
    def remedy(self) -> str:
        """Advice to lower the learning rate."""
        return lower_rate(self.optimizer)

    def step(self, batch: Batch) -> None:
        """Take a step on a batch."""
        length = len(batch)
        l2 = self._alpha / length
        clipped = self.optimizer.max_norm is not None
        # The backward pass adds the penalty's gradient, which costs nothing. With clipping, the optimizer adds it
        # instead, since only the gradient of the loss is clipped.
        if self._l1:
            self.optimizer.l1 = self._l1 / length
        if clipped and l2:
            self.optimizer.l2 = l2
        value = self._loss_gradient(batch, 0.0 if clipped else l2)
        K.accumulate(self._loss_total, value, scale=length)
        self.optimizer.step()

    def _loss_gradient(self, batch: Batch, l2: float) -> Float64Array:
        """Compute the mean loss of a step, which has to be finite, and its gradient, including the penalty."""
        if not self._track_accuracy:
            return self.network.loss_gradient(
                self.loss, batch.x, batch.y, batch.sample_weight, l2=l2, require_finite=True
            )
        output = self.network.forward(*as_inputs(batch.x))
        value, d_output = self.loss(output, batch.y, batch.sample_weight)
        K.require_finite(value)
        K.accumulate(self._error_total, K.zero_one_loss(output, batch.y), scale=len(batch))
        self.network.backward(d_output, l2=l2)
        return value

    def begin(self) -> None:
        """Begin an epoch: reset the totals."""
        self._totals[...] = 0

    def end(self, steps: int) -> Totals:
        """Return the totals of an epoch.

        The mean penalty over the epoch follows from its start and end by the trapezium rule. The weights change little
        within an epoch, and a sum of squares in every step would take too long.
        """
        loss, errors, last_penalty, all_finite = self._read_totals()
        if not all_finite:
            raise divergence("a parameter is not finite", steps - 1)
        loss += 0.5 * (self._last_penalty + last_penalty) * steps
        self._last_penalty = last_penalty
        return Totals(loss, errors if self._track_accuracy else None)

    def _read_totals(self) -> list[float]:
        """Return the four items of `_totals`; without a penalty, the penalty is 0."""
        arena, weights = self.network.arena, self.network.weight_arena
        xp = array_namespace(arena)
        if self._alpha != 0.0 and weights.size:
            self._penalty[...] = 0.5 * self._alpha * K.sum_squares(weights)
        if self._l1 != 0.0:
            self._penalty[...] += self._l1 * xp.abs(weights).sum(dtype=np.float64)
        self._all_finite[...] = xp.isfinite(arena).all()
        totals: list[float] = to_host(self._totals).tolist()
        return totals


class NaturalDescent(Program):
    """Steps of the natural gradient, whose sizes depend on results, so that they cannot be captured.

    Parameters
    ----------
    optimizer : NaturalGradient
        Optimizer of the network.
    alpha : float
        Strength of the L2 penalty ``alpha / 2 * sum(w^2)`` on the summed loss of a batch.
    track_accuracy : bool
        Whether to count classification errors.
    """

    captured = False

    def __init__(
        self, optimizer: NaturalGradient, *, alpha: float = 0.0, track_accuracy: bool = False
    ) -> None:
        self.network, self.optimizer = optimizer.net, optimizer
        self._alpha, self._track_accuracy = alpha, track_accuracy
        self._loss = self._errors = 0.0

    @property
    def remedy(self) -> str:
        """Advice to reduce the noise of the quadratic models."""
        return "Take a larger batch_size"

    def step(self, batch: Batch) -> None:
        """Take a step on a batch."""
        length = len(batch)
        self.optimizer.l2 = self._alpha / length
        self._loss += length * self.optimizer.step(batch.x, batch.y, batch.sample_weight).loss
        if self._track_accuracy and self.optimizer.output is not None:
            self._errors += length * float(K.zero_one_loss(self.optimizer.output, batch.y))

    def begin(self) -> None:
        """Begin an epoch: reset the totals."""
        self._loss = self._errors = 0.0

    def end(self, steps: int) -> Totals:
        """Return the totals of an epoch; each step has checked its loss."""
        return Totals(self._loss, self._errors if self._track_accuracy else None)


def lower_rate(optimizer: Optimizer) -> str:
    """Return the advice to lower the learning rate of an optimizer."""
    return f"Lower learning_rate_init (the rate was {optimizer.lr:g})"


def divergence(text: str, step: int) -> DivergenceError:
    """Return a DivergenceError with its step, counted from 0."""
    error = DivergenceError(text)
    error.step = step
    return error

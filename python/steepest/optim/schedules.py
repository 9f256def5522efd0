"""Learning-rate schedules: functions of the step number, counted from 0; `Adaptive` depends on the loss instead.

``schedule(t)`` is the rate of step t, a float for a number and an array for an array. ``schedule.rates(n)`` is the
array of the first n rates. `Optimizer.follow` makes an optimizer follow a schedule, in captured steps too.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import overload

import numpy as np

from steepest._runtime.arrays import Array, Float64Array

__all__ = ["Adaptive", "Constant", "Cosine", "InverseScaling", "OneCycle", "Schedule", "Step", "WarmUp"]

Rates = Float64Array


class Schedule(ABC):
    """Base class of the learning-rate schedules: functions of the step number."""

    @overload
    def __call__(self, step: float) -> float: ...
    @overload
    def __call__(self, step: Array) -> Rates: ...
    def __call__(self, step: float | Array) -> float | Rates:
        """Return the rate of a step, or an array of rates for an array of steps.

        Parameters
        ----------
        step : number or ndarray
            Step numbers, counted from 0.

        Returns
        -------
        float or ndarray of float64
            The rates, in the shape of `step`.
        """
        rates = self._rate(np.asarray(step, np.float64))
        return rates if np.ndim(step) else float(rates)

    def rates(self, steps: int) -> Rates:
        """Return the rates of the first `steps` steps.

        Parameters
        ----------
        steps : int
            Number of steps.

        Returns
        -------
        float64 ndarray of shape (steps,)
            The rate of each step.
        """
        return self(np.arange(steps))

    @abstractmethod
    def _rate(self, t: Rates) -> Rates:
        """Return the rates of the steps t, in t's shape."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate in every step.

    Parameters
    ----------
    rate : float
        The rate.
    """

    rate: float

    def __post_init__(self) -> None:
        _require(self, rate=self.rate)

    def _rate(self, t: Rates) -> Rates:
        return np.full(t.shape, float(self.rate))


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """Inverse scaling: ``rate / (t + 1)**power``.

    With a power in (1/2, 1] the sum of the rates is infinite and the sum of their squares is finite, as the convergence
    of stochastic gradient descent requires.

    H. Robbins, S. Monro, "A stochastic approximation method", 1951; scikit-learn's ``learning_rate="invscaling"``.

    Parameters
    ----------
    rate : float
        Rate of step 0.
    power : float, default=0.5
        The exponent.
    """

    rate: float
    power: float = 0.5

    def __post_init__(self) -> None:
        _require(self, rate=self.rate, power=self.power)

    def _rate(self, t: Rates) -> Rates:
        return self.rate / (t + 1.0) ** self.power


@dataclass(frozen=True)
class Step(Schedule):
    """Step decay: ``rate * factor**(t // every)``.

    Parameters
    ----------
    rate : float
        Rate of step 0.
    every : int
        Number of steps with the same rate.
    factor : float, default=0.1
        Factor that multiplies the rate after every `every` steps.
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _require(self, rate=self.rate, factor=self.factor)
        _require_steps(self, every=self.every)

    def _rate(self, t: Rates) -> Rates:
        return self.rate * self.factor ** (t // self.every)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Cosine decay: ``final + (rate - final) * (1 + cos(pi t / steps)) / 2``, and `final` from step `steps` on.

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts.

    Parameters
    ----------
    rate : float
        Rate of step 0.
    steps : int
        Number of steps until the rate is `final`.
    final : float, default=0.0
        Rate at the end.
    """

    rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _require(self, rate=self.rate, final=self.final)
        _require_steps(self, steps=self.steps)

    def _rate(self, t: Rates) -> Rates:
        return _cosine(self.rate, self.final, t / self.steps)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Linear warm-up: ``then(0) * (t + 1) / (steps + 1)``, and ``then(t - steps)`` from step `steps` on.

    P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017.

    Parameters
    ----------
    steps : int
        Number of warm-up steps.
    then : Schedule
        Schedule that follows the warm-up.
    """

    steps: int
    then: Schedule

    def __post_init__(self) -> None:
        _require_steps(self, steps=self.steps)

    def _rate(self, t: Rates) -> Rates:
        line = self.then(0) * (t + 1.0) / (self.steps + 1.0)
        after = self.then(np.maximum(t - self.steps, 0.0))
        return np.where(t < self.steps, line, after)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """One-cycle schedule: the rate rises from ``rate / divide_by`` to `rate`, and then falls to its smallest value.

    The smallest rate is the first rate divided by `final_divide_by`. Both parts follow a half cosine. The last step,
    number ``steps - 1``, has the smallest rate, and later steps keep it.
    L. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2019.

    Parameters
    ----------
    rate : float
        The highest rate.
    steps : int
        Number of steps of the cycle, at least 2.
    rising : float, default=0.3
        Fraction of the steps in which the rate rises, in (0, 1).
    divide_by : float, default=25.0
        Ratio of the highest rate to the first.
    final_divide_by : float, default=1e4
        Ratio of the first rate to the last.
    """

    rate: float
    steps: int
    rising: float = 0.3
    divide_by: float = 25.0
    final_divide_by: float = 1e4

    def __post_init__(self) -> None:
        _require(self, rate=self.rate)
        _require_steps(self, steps=self.steps)
        if self.steps < 2:
            raise ValueError("[OneCycle] steps must be at least 2, got 1")
        if not 0 < self.rising < 1:
            raise ValueError(f"[OneCycle] rising must be in (0, 1), got {self.rising}")
        for name in ("divide_by", "final_divide_by"):
            if not 1 <= getattr(self, name) < math.inf:
                raise ValueError(f"[OneCycle] {name} must be in [1, inf), got {getattr(self, name)}")

    def _rate(self, t: Rates) -> Rates:
        first, top, end = self.rate / self.divide_by, self.rising * self.steps - 1.0, self.steps - 1.0
        # If the rising part is shorter than one step, the schedule starts at the highest rate.
        up = np.clip(t / top, 0.0, 1.0) if top > 0 else np.ones_like(t)
        down = np.clip((t - top) / (end - top), 0.0, 1.0)
        return np.where(
            t <= top,
            _cosine(first, self.rate, up),
            _cosine(self.rate, first / self.final_divide_by, down),
        )


class Adaptive:
    """Reduce the learning rate when the loss stops falling; call it with the loss of every epoch.

    Use it as ``optimizer.lr = adaptive(loss)``. Like scikit-learn's ``learning_rate="adaptive"``, it divides the rate
    after more than `patience` consecutive epochs whose loss is not below the best loss by more than `tol`.

    Parameters
    ----------
    rate : float
        Initial rate.
    divide_by : float, default=5.0
        Divisor of the rate, above 1.
    tol : float, default=1e-4
        Least decrease of the loss that counts as an improvement.
    patience : int, default=10
        Number of consecutive epochs without improvement that leave the rate unchanged.
    smallest : float, default=1e-6
        At or below this rate, `finished` becomes True instead of a further division.

    Attributes
    ----------
    rate : float
        The present rate.
    finished : bool
        Whether the loss has stopped falling at the smallest rate.
    """

    def __init__(
        self,
        rate: float,
        divide_by: float = 5.0,
        tol: float = 1e-4,
        patience: int = 10,
        smallest: float = 1e-6,
    ) -> None:
        _require(self, rate=rate, tol=tol, smallest=smallest, patience=patience)
        if not 1 < divide_by < math.inf:
            raise ValueError(f"[Adaptive] divide_by must be in (1, inf), got {divide_by}")
        self.rate = rate
        self.divide_by = divide_by
        self.tol = tol
        self.patience = patience
        self.smallest = smallest
        self.finished = False
        self._best = math.inf
        self._without = 0  # consecutive epochs without improvement

    def __call__(self, loss: float) -> float:
        """Record the loss of an epoch, and return the rate of the next epoch.

        Parameters
        ----------
        loss : float
            Training or validation loss; NaN counts as no improvement.

        Returns
        -------
        float
            The rate of the next epoch.
        """
        # The best loss is infinite at first, and an infinite loss is no improvement on it.
        self._without = 0 if loss < self._best - self.tol else self._without + 1
        self._best = min(self._best, loss) if loss == loss else self._best
        if self._without > self.patience:
            self._without = 0
            if self.rate > self.smallest:
                self.rate /= self.divide_by
            else:
                self.finished = True
        return self.rate


def _cosine(begin: float, end: float, share: Rates) -> Rates:
    """Interpolate from `begin` to `end` along a half cosine, for fractions of the way that are clipped at 1."""
    return end + (begin - end) * 0.5 * (1.0 + np.cos(np.pi * np.minimum(share, 1.0)))


def _require(schedule: object, **numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"[{type(schedule).__name__}] {name} must be in [0, inf), got {value}")


def _require_steps(schedule: object, **counts: int) -> None:
    for name, value in counts.items():
        if not value >= 1:
            raise ValueError(f"[{type(schedule).__name__}] {name} must be at least 1, got {value}")

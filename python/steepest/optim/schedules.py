"""Schedules of the learning rate: functions of the step number, counted from 0; `Adaptive` is one of the loss.

``schedule(t)`` is the rate of step t, a float for a number and an array for an array; ``schedule.rates(n)`` are those
of the first n steps. `Optimizer.follow` makes an optimizer take its rates from there, in captured steps too.
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
    """A function of the step number."""

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
            Of the step's shape.
        """
        rates = self._rate(np.asarray(step, np.float64))
        return rates if np.ndim(step) else float(rates)

    def rates(self, steps: int) -> Rates:
        """Return the rates of the first `steps` steps.

        Parameters
        ----------
        steps : int
            How many.

        Returns
        -------
        float64 ndarray of shape (steps,)
            One rate a step.
        """
        return self(np.arange(steps))

    @abstractmethod
    def _rate(self, t: Rates) -> Rates:
        """Rates of the steps t, of t's shape."""


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
    """``rate / (t + 1)**power``: with a power in (1/2, 1] the steps add up to infinity and their squares do not.

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
    """``rate * factor**(t // every)``: a staircase.

    Parameters
    ----------
    rate : float
        Rate of step 0.
    every : int
        Steps on one stair.
    factor : float, default=0.1
        From stair to stair.
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
    """``final + (rate - final) * (1 + cos(pi t / steps)) / 2``, and `final` from step `steps` on.

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts.

    Parameters
    ----------
    rate : float
        Rate of step 0.
    steps : int
        Steps down to `final`.
    final : float, default=0.0
        The last rate.
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
    """A straight line up, ``then(0) * (t + 1) / (steps + 1)``, and from step `steps` on ``then(t - steps)``.

    P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017.

    Parameters
    ----------
    steps : int
        Steps before `then`.
    then : Schedule
        What follows.
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
    """Up from ``rate / divide_by`` to `rate`, then down to the first rate divided by `final_divide_by`.

    Both ways along a half cosine; the last step, number ``steps - 1``, has the smallest rate, and later ones keep it.
    L. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2019.

    Parameters
    ----------
    rate : float
        The highest rate.
    steps : int
        Steps of the cycle, at least 2.
    rising : float, default=0.3
        Share of them on the way up, in (0, 1).
    divide_by : float, default=25.0
        The highest rate over the first.
    final_divide_by : float, default=1e4
        The first rate over the last.
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
        # A rising part of less than one step begins at the top.
        up = np.clip(t / top, 0.0, 1.0) if top > 0 else np.ones_like(t)
        down = np.clip((t - top) / (end - top), 0.0, 1.0)
        return np.where(
            t <= top,
            _cosine(first, self.rate, up),
            _cosine(self.rate, first / self.final_divide_by, down),
        )


class Adaptive:
    """A rate that is divided where the loss has stopped falling; call it with the loss of every epoch.

    ``optimizer.lr = adaptive(loss)``. As scikit-learn's ``learning_rate="adaptive"``: the loss has to fall below the
    best one by `tol`; after more than `patience` epochs in a row in which it does not, the rate is divided.

    Parameters
    ----------
    rate : float
        The first rate.
    divide_by : float, default=5.0
        What the rate is divided by, above 1.
    tol : float, default=1e-4
        How much the loss has to fall.
    patience : int, default=10
        Epochs without that in a row that are borne.
    smallest : float, default=1e-6
        The rate is not divided once it is this small: `finished` is true instead.

    Attributes
    ----------
    rate : float
        The rate by now.
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
        self._without = 0  # epochs in a row

    def __call__(self, loss: float) -> float:
        """Take note of an epoch's loss, and return the rate of the next.

        Parameters
        ----------
        loss : float
            Of training or validation; NaN counts as one that has not fallen.

        Returns
        -------
        float
            The rate.
        """
        # The best loss is infinite at first; infinity less a number is no threshold that infinity passes.
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
    """Go from `begin` to `end` along a half cosine, for shares of the way that are cut off at 1."""
    return end + (begin - end) * 0.5 * (1.0 + np.cos(np.pi * np.minimum(share, 1.0)))


def _require(schedule: object, **numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"[{type(schedule).__name__}] {name} must be in [0, inf), got {value}")


def _require_steps(schedule: object, **counts: int) -> None:
    for name, value in counts.items():
        if not value >= 1:
            raise ValueError(f"[{type(schedule).__name__}] {name} must be at least 1, got {value}")

"""Steps of stochastic gradient descent on a linear model: the rule, the data, the state, and calls of the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros, to_device, to_host


@dataclass(frozen=True)
class Rule:
    """The update rule of a step: the arguments of `steepest.kernels.linear_sgd`.

    Attributes
    ----------
    kind, parameter, half
        Name and parameter of the loss, and whether it is halved.
    lr, power, t0 : float
        The learning rate, ``lr / (t0 + t) ** power``.
    adaptive : bool
        Whether the learning rate is divided by 5 when training would stop.
    l1, l2 : float
        Strengths of the L1 and L2 penalty.
    passive_aggressive : {0, 1, 2}
        Type of passive-aggressive steps; 0 for none.
    """

    kind: str
    parameter: float | None
    half: bool
    lr: float
    power: float
    t0: float
    adaptive: bool
    l1: float
    l2: float
    passive_aggressive: int


@dataclass
class State:
    """The state of training: arrays of k rows on the device, which belong to the fit.

    Attributes
    ----------
    coef, intercept : ndarray of shape (k, d) and (k,)
        The model; the intercept is None for a model without one.
    average_coef, average_intercept : ndarray or None
        Averages of the parameters over the samples; None without averaging.
    seen : int
        Number of samples seen so far.
    """

    coef: Array
    intercept: Array | None
    average_coef: Array | None
    average_intercept: Array | None
    seen: int

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Yield the names and arrays that are not None."""
        for name in ("coef", "intercept", "average_coef", "average_intercept"):
            if getattr(self, name) is not None:
                yield name, getattr(self, name)

    def take(self, outputs: Int64Array) -> State:
        """Return a copy of the state of some outputs."""
        outputs = to_device(outputs, device_of(self.coef))
        intercept, mean, mean_intercept = (
            None if a is None else a[outputs]
            for a in (self.intercept, self.average_coef, self.average_intercept)
        )
        return State(self.coef[outputs], intercept, mean, mean_intercept, self.seen)

    def put(self, outputs: Int64Array, part: State) -> None:
        """Write the state of some outputs back."""
        outputs = to_device(outputs, device_of(self.coef))
        for name, array in part.arrays():
            getattr(self, name)[outputs] = array

    def is_finite(self) -> bool:
        """Return whether all numbers are finite."""
        return all(np.isfinite(to_host(array)).all() for _, array in self.arrays())


@dataclass
class TrainingSet:
    """The data of a fit: inputs, targets, weights and the rows to train on.

    Attributes
    ----------
    X : ndarray or CSR of shape (n, d)
        Inputs, on the device.
    target : ndarray of shape (n,)
        Targets of a regression, or class ids, on the host.
    sample_weight : ndarray of shape (n,) or None
        Weights, on the device.
    class_weight : ndarray of shape (2, k) or None
        Weights of negative targets (row 0) and positive targets (row 1) of each output, on the host.
    rows : ndarray of int64
        The rows to train on, on the host.
    n_outputs : int
        Number k of outputs; with more than one, each is a class against the rest.
    device : {"cpu", "cuda"}
        Device of the computation.
    """

    X: Any
    target: Array
    sample_weight: Array | None
    class_weight: Array | None
    rows: Int64Array
    n_outputs: int
    device: str

    def targets_of(self, outputs: Int64Array) -> Array:
        """Return the targets of some outputs as the kernel takes them, on the device."""
        target = self.target
        if self.n_outputs > 1:
            # Index of each class among the outputs, or -1; for a single output, 1 if it is that class.
            position = np.full(self.n_outputs, -1, np.int64)
            position[outputs] = np.arange(len(outputs)) if len(outputs) > 1 else 1
            target = position[target]
        return to_device(target, self.device)


class Steps:
    """Steps for single samples, on some outputs side by side."""

    def __init__(
        self, samples: TrainingSet, state: State, outputs: Int64Array, rule: Rule, average_start: int
    ) -> None:
        self.samples, self.rule, self.average_start = samples, rule, average_start
        # Number of all samples so far, for decreasing rates and for averages that start later.
        self.step = aligned_zeros((), np.int64, samples.device)
        self.step[...] = state.seen
        self.lr = rule.lr
        shape = state.coef.shape
        self._begin(outputs, state, np.zeros(shape, state.coef.dtype), np.zeros(shape[0]))

    def _begin(self, outputs: Int64Array, state: State, taken: Array, allowed: Float64Array) -> None:
        """Continue with these outputs, and with the L1 penalty that was applied to them and that was due."""
        samples, device = self.samples, self.samples.device
        self.outputs, self.state = outputs, state
        self.target = samples.targets_of(outputs)
        weight = samples.class_weight
        self._class_weight = None if weight is None else to_device(weight[:, outputs], device)
        self._taken, self._allowed = to_device(taken, device), to_device(allowed, device)
        self.objective = aligned_zeros((len(outputs),), np.float64, device)

    def take(
        self,
        X: Array,
        target: Array,
        sample_weight: Array | None,
        order: Int64Array | None,
        coef: Array | None = None,
    ) -> None:
        """Take a step for each row in order, on all coefficients or on those of some columns."""
        rule, state = self.rule, self.state
        averages = state.average_coef is not None
        K.linear_sgd(
            X,
            target,
            (state.coef if coef is None else coef).T,
            state.intercept,
            self.step,
            lr=self.lr,
            kind=rule.kind,
            parameter=rule.parameter,
            half=rule.half,
            power=rule.power,
            t0=rule.t0,
            l1=rule.l1,
            l2=rule.l2,
            passive_aggressive=rule.passive_aggressive,
            sample_weight=sample_weight,
            class_weight=self._class_weight,
            order=order,
            l1_applied=self._taken.T if rule.l1 else None,
            l1_total=self._allowed if rule.l1 else None,
            average_w=state.average_coef.T if state.average_coef is not None else None,
            average_b=state.average_intercept,
            average_start=self.average_start if averages else 1,
            objective=self.objective,
        )

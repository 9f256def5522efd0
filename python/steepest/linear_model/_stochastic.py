"""Stochastic gradient descent for linear models: one step per sample, with a stopping rule for each output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from steepest import kernels as K
from steepest._cpu import DivergenceError
from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros, to_device, to_host

from ._sparse_steps import sparse_epoch

# Learning rate at or below which "adaptive" stops instead of dividing it by 5 again.
_SMALLEST_ADAPTIVE_RATE = 1e-6
# Number of rows above which another thread shuffles them: below it, starting the thread takes longer.
_DRAWN_AHEAD = 1 << 13


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


@dataclass(frozen=True)
class Stopping:
    """The stopping rule: stop after `patience` epochs in a row that do not improve by `tol`, or after `max_iter`."""

    max_iter: int
    tol: float
    patience: int


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


def train(
    samples: TrainingSet,
    state: State,
    rule: Rule,
    stopping: Stopping,
    *,
    average_start: int,
    shuffle: bool,
    seed: int,
    score: Callable[[State, Int64Array], Float64Array] | None,
    report: Callable[[int, Float64Array], None] | None,
    name: str,
    make: Callable[..., Training] | None = None,
) -> int:
    """Train every output until it stops.

    Parameters
    ----------
    samples, rule, stopping
        The data, the update rule and the stopping rule.
    state : State
        The initial state; holds the result afterwards.
    average_start : int
        Number of the first sample that averages include, counted from 1.
    shuffle : bool
        Whether the rows are shuffled before each epoch.
    seed : int
        Seed of the shuffling.
    score : callable or None
        Scores outputs on validation samples, if early stopping uses a validation score.
    report : callable or None
        Called with the number of the epoch and the objective, or score, of each output.
    name : str
        Name that error messages start with.
    make : callable or None, default=None
        Constructor with the arguments of `Training`, for the training of one output; None for `Training`.

    Returns
    -------
    int
        The largest number of epochs of an output.

    Raises
    ------
    DivergenceError
        If a parameter is not finite after an epoch; `state` keeps the initial values of the outputs in that group.
    """
    everything = np.arange(samples.n_outputs)
    # Adaptive rates differ between outputs, but the kernel takes one rate for all outputs.
    groups = [everything[i : i + 1] for i in everything] if rule.adaptive or make else [everything]
    epochs = 0
    for group in groups:
        training = (make or Training)(samples, state.take(group), group, rule, average_start)
        epochs = max(epochs, training.run(stopping, shuffle, seed, score, report, name, state))
    return epochs


class Training:
    """Training of some outputs side by side, with one step for each sample."""

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

    def run(
        self,
        stopping: Stopping,
        shuffle: bool,
        seed: int,
        score: Callable[[State, Int64Array], Float64Array] | None,
        report: Callable[[int, Float64Array], None] | None,
        name: str,
        result: State,
    ) -> int:
        """Train until all outputs have stopped, and write the state of each into `result`."""
        orders = _orders(self.samples.rows, seed if shuffle else None)
        best, waited = np.full(len(self.outputs), np.inf), np.zeros(len(self.outputs), np.int64)
        for epoch in range(1, stopping.max_iter + 1):
            order = next(orders)
            cost = self._epoch(order) / len(order)
            if not (np.isfinite(cost).all() and self.state.is_finite()):
                raise _divergence(name, epoch)
            if score is not None:
                cost = -score(self.state, self.outputs)
            if report is not None:
                report(epoch, cost if score is None else -cost)
            waited = np.where((stopping.tol > -np.inf) & (cost > best - stopping.tol), waited + 1, 0)
            best = np.minimum(best, cost)
            stopped = waited >= stopping.patience
            if stopped.any() and self.rule.adaptive and self.lr > _SMALLEST_ADAPTIVE_RATE:
                self.lr /= 5
                waited[:] = 0
            elif stopped.any():
                result.put(self.outputs[stopped], self.state.take(np.flatnonzero(stopped)))
                kept = np.flatnonzero(~stopped)
                if not len(kept):
                    return epoch
                penalty = to_host(self._taken)[kept], to_host(self._allowed)[kept]
                self._begin(self.outputs[kept], self.state.take(kept), *penalty)
                best, waited = best[kept], waited[kept]
        result.put(self.outputs, self.state)
        return stopping.max_iter

    def _epoch(self, order: Int64Array) -> Float64Array:
        """Take a step for each row in order, and return the sum of the objective of each output."""
        samples = self.samples
        if not scipy.sparse.issparse(samples.X):
            self.steps(samples.X, self.target, samples.sample_weight, to_device(order, samples.device))
            result: Float64Array = to_host(self.objective)
            return result
        return sparse_epoch(self, order)

    def steps(
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


def _orders(rows: Int64Array, seed: int | None) -> Iterator[Int64Array]:
    """Yield the order of the rows in each epoch: as they are, or shuffled.

    Steps on single samples are sequential and use one core; meanwhile another thread shuffles the next order.
    """
    if seed is None:
        while True:
            yield rows
    random = np.random.default_rng(seed)

    def draw() -> Int64Array:
        return rows[random.permutation(len(rows))]

    if len(rows) < _DRAWN_AHEAD:
        while True:
            yield draw()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(draw)
        while True:
            order, coming = coming.result(), pool.submit(draw)
            yield order


def _divergence(name: str, epoch: int) -> DivergenceError:
    error = DivergenceError(
        f"[{name}] Floating-point under-/overflow occurred at epoch #{epoch}. Scaling input data with "
        "sklearn.preprocessing.StandardScaler, or a lower eta0, might help. The last finite parameters were kept"
    )
    error.epoch = epoch  # type: ignore[attr-defined]
    return error

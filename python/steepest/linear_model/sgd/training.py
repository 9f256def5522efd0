"""Training of linear models by stochastic gradient descent, with a stopping rule for each output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from steepest._cpu import DivergenceError
from steepest._runtime.arrays import Float64Array, Int64Array
from steepest._runtime.memory import to_device, to_host

from .sparse_steps import sparse_epoch
from .steps import Rule, State, Steps, TrainingSet

# Learning rate at or below which "adaptive" stops instead of dividing it by 5 again.
_SMALLEST_ADAPTIVE_RATE = 1e-6
# Number of rows above which another thread shuffles them: below it, starting the thread takes longer.
_DRAWN_AHEAD = 1 << 13


@dataclass(frozen=True)
class Stopping:
    """The stopping rule: stop after `patience` epochs in a row that do not improve by `tol`, or after `max_iter`."""

    max_iter: int
    tol: float
    patience: int


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


class Training(Steps):
    """Training of some outputs side by side, with one step for each sample."""

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
            self.take(samples.X, self.target, samples.sample_weight, to_device(order, samples.device))
            result: Float64Array = to_host(self.objective)
            return result
        return sparse_epoch(self, order)


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

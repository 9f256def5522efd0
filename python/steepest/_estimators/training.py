"""Mini-batch training by captured graphs: trainers, and the loop over epochs of estimators and command line."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Protocol

import numpy as np

from steepest import kernels as K
from steepest._cpu import DivergenceError
from steepest._runtime.arrays import Array
from steepest._runtime.graph import Graph, capture
from steepest._runtime.memory import aligned_empty, aligned_zeros, array_namespace, assign, to_device, to_host
from steepest.callbacks import Callback, Epoch, above_bars
from steepest.nn import Network
from steepest.nn.losses import Loss
from steepest.optim import Optimizer

from .sparse_rows import SparseRows

# Number of parts in which an epoch is replayed if its progress is reported.
_PROGRESS_PARTS = 40


class Monitor(Callback):
    """Internal callback that is also called during an epoch, after each part of it."""

    track_accuracy = False

    def steps_done(self, samples: int) -> None:
        """Receive the number of samples of the part of an epoch that has just been trained on."""


class Trainer(Protocol):
    """Interface of the trainers that `train` uses; see `MiniBatchTrainer`."""

    network: Network
    samples: int
    steps: int
    track_accuracy: bool

    @property
    def remedy(self) -> str:
        """Advice for the error message after divergence."""

    def run_epoch(self, stream: int, on_progress: Callable[[int], None] | None = None) -> tuple[float, float]:
        """Train on every row once; return loss and accuracy."""


class ShuffledRows:
    """Training data on the network's device, and the shuffled order of the rows in each epoch.

    Parameters
    ----------
    network : Network
        The network to train.
    X : ndarray or SparseRows of shape (n, n_in)
        Inputs, in the network's dtype and on its device; they are not copied.
    y : ndarray of shape (n,) or (n, m)
        Targets as the loss takes them, on the network's device.
    sample_weight : ndarray of shape (n,) or None
        Sample weights, in the network's dtype and on its device.
    rows : ndarray of shape (k,), int64, or None
        The rows to train on; None for all.
    shuffle : bool
        Whether to shuffle the rows in each epoch.
    seed : int
        Seed of the shuffles; epoch e uses stream e.
    random_state : RandomState or None
        Generator of the shuffles in place of `seed`, on the host. Each epoch shuffles the order of the previous one, as
        in scikit-learn's multilayer perceptrons.
    """

    def __init__(
        self,
        network: Network,
        X: Array | SparseRows,
        y: Array,
        sample_weight: Array | None = None,
        *,
        rows: Array | None = None,
        shuffle: bool = True,
        seed: int = 0,
        random_state: np.random.RandomState | None = None,
    ) -> None:
        self.network = network
        self._X, self._y, self._sample_weight = X, y, sample_weight
        rows = np.arange(len(X)) if rows is None else rows
        # The rows are copied, since `visit` overwrites them.
        self._rows = to_device(rows, network.device).astype(np.int64)
        self.samples = len(self._rows)
        self._shuffle = shuffle
        self._seed = seed
        self._random_state = random_state
        self._order = self._rows.copy()
        self._cursor = aligned_zeros((), np.int64, network.device)

    @property
    def _mean_weight(self) -> float:
        """Mean sample weight, by which penalties on the summed loss are divided.

        The loss of a weighted batch is divided by the sum of its weights, whose expected value is the batch size times
        this mean.
        """
        if self._sample_weight is None:
            return 1.0
        return float(self._sample_weight[self._rows].mean(dtype=np.float64))

    def _take_inputs(self, length: int) -> Array:
        if not isinstance(self._X, SparseRows):
            return self._take(self._X, length)
        out = aligned_empty((length, self._X.shape[1]), self._X.dtype, self.network.device)
        return self._X.take(self._order, out, start=self._cursor)

    def _take(self, source: Array, length: int) -> Array:
        """Return the next `length` rows of the order, from the cursor on."""
        out = aligned_empty((length, *source.shape[1:]), source.dtype, self.network.device)
        return K.take_rows(source, self._order, out=out, start=self._cursor)

    def _take_weights(self, length: int) -> Array | None:
        return None if self._sample_weight is None else self._take(self._sample_weight, length)

    def _draw_order(self, stream: int) -> None:
        if not self._shuffle:
            return
        if self._random_state is None:
            device = self.network.device
            permutation = K.permutation(self.samples, seed=self._seed, stream=stream, device=device)
            K.take_rows(self._rows, permutation, out=self._order)
            return
        permutation = np.arange(self.samples)
        self._random_state.shuffle(permutation)
        before = to_host(self._order)
        assign(self._order, before[permutation])

    def visit(self, rows: Array) -> None:
        """Train on other rows, of the same number, from the next epoch on.

        Parameters
        ----------
        rows : ndarray of shape (k,), int64
            Indices of the rows, on the host.
        """
        assign(self._rows, rows)
        assign(self._order, rows)


class MiniBatchTrainer(ShuffledRows):
    """Trainer of a network by a first-order optimizer; an epoch is one replay, and one more for a shorter last batch.

    A step is ``take_rows -> forward -> loss -> backward -> update``. Numbers that change from step to step (the cursor
    into the shuffled order, the loss so far, the step count) are small arrays, so that the step is captured only once.
    One copy from the device reads all results of an epoch.

    Parameters
    ----------
    network, X, y, sample_weight, rows, shuffle, seed, random_state
        See `ShuffledRows`.
    loss : Loss
        The loss to minimise.
    optimizer : Optimizer
        Optimizer of the parameters of `network`.
    batch_size : int
        Samples in a mini-batch, at most k.
    alpha : float
        Strength of the L2 penalty ``alpha / 2 * sum(w^2)`` on a batch's summed loss, or ``alpha / batch`` on its mean.
    l1 : float
        Strength of the L1 penalty ``l1 * sum(abs(w))`` on a batch's summed loss, applied by a proximal step.
    track_accuracy : bool
        Whether to count classification errors while training.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        X: Array | SparseRows,
        y: Array,
        sample_weight: Array | None = None,
        *,
        rows: Array | None = None,
        batch_size: int,
        alpha: float = 0.0,
        l1: float = 0.0,
        shuffle: bool = True,
        seed: int = 0,
        random_state: np.random.RandomState | None = None,
        track_accuracy: bool = False,
    ) -> None:
        super().__init__(
            network, X, y, sample_weight, rows=rows, shuffle=shuffle, seed=seed, random_state=random_state
        )
        self.optimizer = optimizer
        self._loss = loss
        self._alpha, self._l1 = alpha / self._mean_weight, l1 / self._mean_weight
        self.track_accuracy = track_accuracy
        # One copy reads all four numbers: sum of the losses, sum of the errors, penalty of a summed loss, and whether
        # all parameters are finite.
        self._totals = aligned_zeros((4,), np.float64, network.device)
        self._loss_total, self._error_total, self._penalty, self._all_finite = (
            self._totals[i : i + 1].reshape(()) for i in range(4)
        )
        n_full, tail = divmod(self.samples, batch_size)
        lengths = [(batch_size, n_full), (tail, 1)]
        self._plan = [
            (self._capture(length), length, replays) for length, replays in lengths if length and replays
        ]
        self.steps = sum(replays for _, _, replays in self._plan)
        self._last_penalty = self._read_totals()[2]

    def _capture(self, length: int) -> Graph:
        with capture() as graph:
            self._step(length)
        return graph

    def _step(self, length: int) -> None:
        x, y = self._take_inputs(length), self._take(self._y, length)
        sample_weight = self._take_weights(length)
        K.increment(self._cursor, by=length)
        output = self.network.forward(x)
        value, d_output = self._loss(output, y, sample_weight)
        K.require_finite(value)
        K.accumulate(self._loss_total, value, scale=length)
        if self.track_accuracy:
            K.accumulate(self._error_total, K.zero_one_loss(output, y), scale=length)
        l2 = self._alpha / length
        clipped = self.optimizer.max_norm is not None
        # The backward pass adds the penalty's gradient, which costs nothing. With clipping, the optimizer adds it
        # instead, since only the gradient of the loss is clipped.
        if self._l1:
            self.optimizer.l1 = self._l1 / length
        if clipped and l2:
            self.optimizer.l2 = l2
        self._backward(x, y, d_output, 0.0 if clipped else l2)
        self.optimizer.step()

    def _backward(self, x: Array, y: Array, d_output: Array, l2: float) -> None:
        """Compute the network's gradient of the mean loss of a step, including the penalty."""
        self.network.backward(d_output, l2=l2)

    @property
    def remedy(self) -> str:
        """Advice for the error message after divergence."""
        return lower_rate(self.optimizer)

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

    def run_epoch(self, stream: int, on_progress: Callable[[int], None] | None = None) -> tuple[float, float]:
        """Train on every row once.

        Parameters
        ----------
        stream : int
            Random stream of this epoch's shuffle.
        on_progress : callable or None
            Called after each part of the epoch with its number of samples.

        Returns
        -------
        loss, accuracy : float
            Means over the samples; the accuracy is meaningless unless `track_accuracy` is set.

        Raises
        ------
        DivergenceError
            If the loss of a step, or a parameter after the epoch, is not finite; `step` is the index of the step.
        """
        self._draw_order(stream)
        for counter in (self._cursor, self._totals):
            counter[...] = 0
        step = 0
        for graph, length, replays in self._plan:
            part = replays if on_progress is None else -(-replays // _PROGRESS_PARTS)
            for start in range(0, replays, part):
                n = min(part, replays - start)
                try:
                    graph.replay(n)
                except DivergenceError as error:
                    error.step = step + error.step
                    raise
                step += n
                if on_progress is not None:
                    on_progress(n * length)
        loss_total, error_total, last_penalty, all_finite = self._read_totals()
        if not all_finite:
            raise divergence("a parameter is not finite", self.steps - 1)
        # The mean penalty over the epoch follows from its start and end by the trapezium rule. The weights change
        # little within an epoch, and a sum of squares in every step would take too long.
        penalty = 0.5 * (self._last_penalty + last_penalty) * self.steps
        self._last_penalty = last_penalty
        return (loss_total + penalty) / self.samples, 1.0 - error_total / self.samples


def lower_rate(optimizer: Optimizer) -> str:
    """Return the advice to lower the learning rate of an optimizer."""
    return f"Lower learning_rate_init (the rate was {optimizer.lr:g})"


def divergence(text: str, step: int) -> DivergenceError:
    """Return a DivergenceError with its step, counted from 0."""
    error = DivergenceError(text)
    error.step = step
    return error


def train(
    trainer: Trainer,
    max_epochs: int,
    after_epoch: Callable[[Epoch], bool],
    *,
    name: str,
    first_stream: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> bool:
    """Train until `after_epoch` stops the loop, the epochs are done, training diverges, or the user interrupts it.

    Parameters
    ----------
    trainer : Trainer
        The trainer of the network.
    max_epochs : int
        Largest number of epochs.
    after_epoch : callable
        Called with the `Epoch` after each epoch; returns whether to stop.
    name : str
        Name that error messages start with.
    first_stream : int, default=0
        Random stream of the first epoch's shuffle.
    on_progress : callable or None, default=None
        Called after each part of an epoch with its number of samples.

    Returns
    -------
    bool
        Whether the user interrupted the training. The network is then usable, and a warning has been issued.

    Raises
    ------
    DivergenceError
        If training diverged. The error has the epoch (`epoch`, from 1) and the step (`step`, from 0); its message says
        what to try. The last finite parameters remain: those after the previous step, or from the start of the epoch.
    """
    arena = trainer.network.arena
    snapshot = arena.copy()
    epoch = 0
    try:
        for epoch in range(1, max_epochs + 1):
            snapshot[...] = arena
            start = time.perf_counter()
            loss, accuracy = trainer.run_epoch(first_stream + epoch - 1, on_progress)
            seconds = time.perf_counter() - start
            tracked = accuracy if trainer.track_accuracy else None
            if after_epoch(Epoch(epoch, loss, tracked, trainer.samples, seconds)):
                break
    except DivergenceError as error:
        if not array_namespace(arena).isfinite(arena).all():
            arena[...] = snapshot
        message = (
            f"[{name}] training diverged in epoch {epoch}, "
            f"step {error.step + 1} of {trainer.steps}: {error}. "
            f"{trainer.remedy}, or scale the inputs, for instance with sklearn.preprocessing.StandardScaler. "
            "The last finite weights were kept"
        )
        described = divergence(message, error.step)
        described.epoch = epoch  # type: ignore[attr-defined]
        raise described from error
    except KeyboardInterrupt:
        with above_bars():
            warnings.warn("Training interrupted by user.", stacklevel=3)
        return True
    return False

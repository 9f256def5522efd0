"""Epochs of contrastive divergence over samples, as replays of captured steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.graph import capture
from steepest._runtime.memory import array_namespace, to_device
from steepest.training.programs import divergence
from steepest.training.sparse_rows import SparseRows

from .draws import Draws


class Steps(Protocol):
    """What takes the steps of an epoch; `ContrastiveDivergence` is one."""

    batch: Array

    def step(self, n: int, draws: Draws) -> None:
        """Take a step on the first n rows of `batch`."""


class Arena:
    """What `train` keeps of a machine: its parameters."""

    def __init__(self, arena: Array) -> None:
        self.arena = arena


class DivergenceEpochs:
    """Epochs for `steepest.training.loop.train`.

    Parameters
    ----------
    steps_of : object
        Has a `batch`, whose first rows receive the samples, and ``step(n, draws)``, which takes a step on n of them.
    arenas : list of ndarray
        Parameters that the steps change.
    X : ndarray or SparseRows of shape (n, n_visible)
        Samples on the device, with label units.
    batch_size : int
        Samples in a mini-batch; the last one of an epoch may have fewer.
    make_draws : callable
        Returns the source of random numbers of the steps on batches of n samples.
    monitor : callable or None
        Returns the loss after an epoch; None without one, whose loss is then NaN.
    shuffle_seed : int or None
        Seed of the shuffles of the samples in each epoch; None visits them in their order.
    """

    remedy = "Try a smaller learning_rate"

    def __init__(
        self,
        steps_of: Steps,
        arenas: list[Array],
        X: Array | SparseRows,
        batch_size: int,
        make_draws: Callable[[int], Draws],
        monitor: Callable[[], float] | None = None,
        shuffle_seed: int | None = None,
    ) -> None:
        self.networks: list[Any] = [Arena(arena) for arena in arenas]
        self._arenas, self._X = arenas, X
        self._monitor, self._shuffle_seed = monitor, shuffle_seed
        self.samples: int = X.shape[0]
        whole, rest = divmod(self.samples, batch_size)
        self.steps = whole + bool(rest)
        self._device = device = device_of(arenas[0])
        self._order = to_device(np.arange(self.samples), device)
        self._cursor = to_device(np.array(0, np.int64), device)
        self._parts = []
        for n, repeats in ((batch_size, whole), (rest, 1)):
            if n and repeats:
                draws = make_draws(n)
                with capture() as graph:
                    self._take(steps_of.batch[:n])
                    steps_of.step(n, draws)
                    K.increment(self._cursor, n)
                self._parts.append((graph, draws, repeats))

    def _take(self, batch: Array) -> None:
        if isinstance(self._X, SparseRows):
            self._X.take(self._order, batch, self._cursor)
        else:
            K.take_rows(self._X, self._order, out=batch, start=self._cursor)

    def run_epoch(
        self, stream: int, on_progress: Callable[[int], None] | None = None
    ) -> tuple[float, float | None]:
        """Train on every sample once; see `steepest.training.trainer.Trainer.run_epoch`."""
        self._cursor[...] = 0
        if self._shuffle_seed is not None:
            self._order[...] = K.permutation(
                self.samples, seed=self._shuffle_seed, stream=stream, device=self._device
            )
        for graph, draws, repeats in self._parts:
            draws.run(graph.replay, repeats)
        if not all(bool(array_namespace(arena).isfinite(arena).all()) for arena in self._arenas):
            raise divergence("a parameter is not finite", self.steps - 1)
        return (float("nan") if self._monitor is None else self._monitor()), None

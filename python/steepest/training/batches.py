"""Training data on a device, and batches of their rows in the order of an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros, array_namespace, assign, to_device, to_host
from steepest.nn import Network

from .sparse_rows import SparseRows


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples on one device.

    Attributes
    ----------
    X : ndarray or SparseRows of shape (n, n_in)
        Inputs.
    y : ndarray of shape (n,) or (n, m)
        Targets, as the loss takes them.
    sample_weight : ndarray of shape (n,) or None
        Weights, of the dtype of X.
    """

    X: Array | SparseRows
    y: Array
    sample_weight: Array | None = None

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, rows: Array) -> Samples:
        """Return the samples with these indices."""
        weight = self.sample_weight
        return Samples(self.X[rows], self.y[rows], None if weight is None else weight[rows])

    @property
    def device(self) -> str:
        """The device that they lie on."""
        return device_of(self.y)

    @property
    def total_weight(self) -> float:
        """The sum of the weights; without weights, the number of samples."""
        weight = self.sample_weight
        return float(len(self)) if weight is None else float(weight.sum(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of one step, dense and on the device: inputs, targets, and weights or None."""

    x: Array
    y: Array
    sample_weight: Array | None

    def __len__(self) -> int:
        return len(self.y)

    def copy(self) -> Batch:
        """Return the same rows in arrays of their own."""
        weight = self.sample_weight
        return Batch(self.x.copy(), self.y.copy(), None if weight is None else weight.copy())


class Batches:
    """Samples, and the order of their rows in each epoch.

    Parameters
    ----------
    samples : Samples
        The samples; they are not copied.
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
        samples: Samples,
        *,
        rows: Array | None = None,
        shuffle: bool = True,
        seed: int = 0,
        random_state: np.random.RandomState | None = None,
    ) -> None:
        self.samples, self.device = samples, samples.device
        rows = np.arange(len(samples)) if rows is None else rows
        # The rows are copied, since `visit` overwrites them.
        self._rows = to_device(rows, self.device).astype(np.int64)
        self._shuffle, self._seed, self._random_state = shuffle, seed, random_state
        self.order = self._rows.copy()
        self._cursor = aligned_zeros((), np.int64, self.device)

    def __len__(self) -> int:
        """Return the number of rows of an epoch."""
        return len(self._rows)

    @property
    def mean_weight(self) -> float:
        """Mean sample weight of the rows, by which penalties on the summed loss of a batch are divided.

        The loss of a weighted batch is divided by the sum of its weights, whose expected value is the batch size times
        this mean.
        """
        weight = self.samples.sample_weight
        return 1.0 if weight is None else float(weight[self._rows].mean(dtype=np.float64))

    def take(self, length: int) -> Batch:
        """Return the next rows of the order, and move the cursor behind them; both can be captured."""
        X, weight = self.samples.X, self.samples.sample_weight
        if isinstance(X, SparseRows):
            out = aligned_empty((length, X.shape[1]), X.dtype, self.device)
            x = X.take(self.order, out, start=self._cursor)
        else:
            x = self._rows_of(X, length)
        y = self._rows_of(self.samples.y, length)
        batch = Batch(x, y, None if weight is None else self._rows_of(weight, length))
        K.increment(self._cursor, by=length)
        return batch

    def _rows_of(self, source: Array, length: int) -> Array:
        out = aligned_empty((length, *source.shape[1:]), source.dtype, self.device)
        return K.take_rows(source, self.order, out=out, start=self._cursor)

    def begin(self, stream: int) -> None:
        """Begin an epoch: shuffle the rows with this random stream, and move the cursor to the first one."""
        self._cursor[...] = 0
        if self._shuffle:
            self._draw_order(stream)

    def _draw_order(self, stream: int) -> None:
        if self._random_state is None:
            permutation = K.permutation(len(self), seed=self._seed, stream=stream, device=self.device)
            K.take_rows(self._rows, permutation, out=self.order)
            return
        permutation = np.arange(len(self))
        self._random_state.shuffle(permutation)
        before = to_host(self.order)
        assign(self.order, before[permutation])

    def visit(self, rows: Array) -> None:
        """Train on other rows, of the same number, from the next epoch on.

        Parameters
        ----------
        rows : ndarray of shape (k,), int64
            Indices of the rows, on the host.
        """
        assign(self._rows, rows)
        assign(self.order, rows)


def predict(network: Network, X: Array | SparseRows) -> Array:
    """Return the output of a network for all rows."""
    if not isinstance(X, SparseRows):
        return cast("Array", network.predict(X))
    output: Array = array_namespace(network.arena).concatenate([network.predict(x) for _, x in X.blocks()])
    return output

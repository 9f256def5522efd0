"""Training data on a device, and batches of their rows in the order of an epoch, images augmented at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros, array_namespace, assign, to_device, to_host
from steepest.nn import Network
from steepest.nn.inputs import Inputs

from .images import Augmentation, Images
from .sequences import Sequences
from .sparse_rows import SparseRows

# Random streams of augmentation begin here; those below belong to the shuffles, which have the same seed.
_AUGMENTATION_STREAMS = 1 << 62


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples on one device.

    Attributes
    ----------
    X : ndarray or SparseRows of shape (n, n_in), ndarray of shape (n, h, w, c), or Sequences
        Inputs. Those of uint8 are images, which are divided by 255 when they become batches.
    y : ndarray of shape (n,) or (n, m)
        Targets, as the loss takes them.
    sample_weight : ndarray of shape (n,) or None
        Weights, of the dtype of the network.
    """

    X: Array | SparseRows | Sequences
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
    """The rows of one step, dense and on the device: inputs, one or several, targets, and weights or None."""

    x: Inputs
    y: Array
    sample_weight: Array | None

    def __len__(self) -> int:
        return len(self.y)

    def copy(self) -> Batch:
        """Return the same rows in arrays of their own."""
        weight = self.sample_weight
        x = tuple(one.copy() for one in self.x) if isinstance(self.x, tuple) else self.x.copy()
        return Batch(x, self.y.copy(), None if weight is None else weight.copy())


class Batches:
    """Samples, and the order of their rows in each epoch.

    Attributes
    ----------
    mixes : bool
        Whether inputs and targets of different samples are mixed.
    captured : bool
        Whether `take` may be captured: not for sequences of different lengths, whose batches differ in shape.

    Parameters
    ----------
    samples : Samples
        The samples; they are not copied.
    rows : ndarray of shape (k,), int64, or None
        The rows to train on; None for all.
    shuffle : bool
        Whether to shuffle the rows in each epoch.
    seed : int
        Seed of the shuffles and of the augmentation; epoch e uses stream e.
    random_state : RandomState or None
        Generator of the shuffles in place of `seed`, on the host. Each epoch shuffles the order of the previous one, as
        in scikit-learn's multilayer perceptrons.
    dtype : data-type
        Dtype of the inputs in batches if X is of uint8; otherwise they have that of X.
    augmentation : Augmentation or None
        Random changes of the images.
    image_shape : (h, w, c) or None
        Shape of the images in the rows of X, if these are flat.
    n_classes : int or None
        Number of classes of targets that are class ids. With mix-up these become rows of probabilities, since a mixture
        belongs to two classes: accuracies cannot be counted then.

    Raises
    ------
    ValueError
        If the images' shape is missing or does not fit, or mix-up has sparse inputs, or class ids without `n_classes`.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        rows: Array | None = None,
        shuffle: bool = True,
        seed: int = 0,
        random_state: np.random.RandomState | None = None,
        dtype: npt.DTypeLike = np.float32,
        augmentation: Augmentation | None = None,
        image_shape: tuple[int, int, int] | None = None,
        n_classes: int | None = None,
    ) -> None:
        self.samples, self.device = samples, samples.device
        rows = np.arange(len(samples)) if rows is None else rows
        # The rows are copied, since `visit` overwrites them.
        self._rows = to_device(rows, self.device).astype(np.int64)
        self._shuffle, self._seed, self._random_state = shuffle, seed, random_state
        self.order = self._rows.copy()
        self._cursor, self._stream = (aligned_zeros((), np.int64, self.device) for _ in range(2))
        self._images = _images_of(samples.X, dtype, image_shape, augmentation, seed)
        self._targets, self._one_hot = samples.y, None
        self.captured = not isinstance(samples.X, Sequences) or samples.X.is_even
        self.mixes = augmentation is not None and bool(augmentation.mixup)
        if self.mixes and self._images is not None:
            self._targets, self._one_hot = _mixable(samples.y, n_classes, self._images.dtype)

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
        """Return the next rows of the order, and move the cursor behind them."""
        X, weight = self.samples.X, self.samples.sample_weight
        mix_weights, x = None, cast("Inputs", ())
        if isinstance(X, Sequences):
            x = X.take(self.order, length, self._cursor)
        elif isinstance(X, SparseRows):
            out = aligned_empty((length, X.shape[1]), X.dtype, self.device)
            x = X.take(self.order, out, start=self._cursor)
        elif self._images is not None:
            x, mix_weights = self._images.take(self.order, length, start=self._cursor, stream=self._stream)
        else:
            x = self._rows_of(X, length)
        y = self._rows_of(self._targets, length)
        taken = None if weight is None else self._rows_of(weight, length)
        if mix_weights is not None:
            y = K.mix_rows(self._as_rows(y), mix_weights)
            taken = None if taken is None else K.mix_rows(taken, mix_weights)
        K.increment(self._cursor, by=length)
        return Batch(x, y, taken)

    def _as_rows(self, y: Array) -> Array:
        """Return targets that can be mixed: class ids become rows of probabilities."""
        return y if self._one_hot is None else K.take_rows(self._one_hot, y)

    def _rows_of(self, source: Array, length: int) -> Array:
        out = aligned_empty((length, *source.shape[1:]), source.dtype, self.device)
        return K.take_rows(source, self.order, out=out, start=self._cursor)

    def begin(self, stream: int) -> None:
        """Begin an epoch of this random stream: shuffle the rows, and move the cursor to the first one."""
        self._cursor[...] = 0
        self._stream[...] = _AUGMENTATION_STREAMS + stream
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


def _images_of(
    X: Array | SparseRows | Sequences,
    dtype: npt.DTypeLike,
    shape: tuple[int, int, int] | None,
    augmentation: Augmentation | None,
    seed: int = 0,
) -> Images | None:
    """Return inputs as images, if they must be converted or augmented; else None."""
    if isinstance(X, (SparseRows, Sequences)):
        if augmentation is not None:
            raise ValueError("[Augmentation] the images must be dense, not a sparse matrix or sequences")
        return None
    if X.dtype != np.uint8 and augmentation is None:
        return None
    return Images(X, dtype, shape=shape, augmentation=augmentation, seed=seed)


def _mixable(y: Array, n_classes: int | None, dtype: npt.DTypeLike) -> tuple[Array, Array | None]:
    """Return targets for mix-up and, if they are class ids, the row of probabilities of each class."""
    if y.dtype.kind == "f":
        return y, None
    if y.ndim != 1 or n_classes is None:
        raise ValueError(
            "[Augmentation] mixup takes numbers or probabilities as targets, or class ids together with n_classes"
        )
    return y.astype(np.int64), to_device(np.eye(n_classes, dtype=dtype), device_of(y))


def predict(
    network: Network,
    X: Array | SparseRows | Sequences,
    *,
    layers: slice | None = None,
    augmentation: Augmentation | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> Array:
    """Return the output of a network for all rows.

    Parameters
    ----------
    network : Network
        The network.
    X : ndarray, SparseRows or Sequences
        Inputs. Those of uint8 are images, which are divided by 255.
    layers : slice or None
        Which layers of a chain to compute; None for all.
    augmentation : Augmentation or None
        What the network was trained with: if it crops images, their middle is taken, and nothing else is changed.
    image_shape : (h, w, c) or None
        Shape of the images in the rows of X, if these are flat.
    """
    if isinstance(X, Sequences):
        return _predict_sequences(network, X)
    crops = augmentation is not None and augmentation.crop is not None
    images = _images_of(X, network.dtype, image_shape, augmentation if crops else None)
    if images is None and not isinstance(X, SparseRows):
        return cast("Array", network.predict(X, layers=layers))
    blocks = images.blocks() if images is not None else (x for _, x in cast("SparseRows", X).blocks())
    outputs = [network.predict(x, layers=layers) for x in blocks]
    output: Array = array_namespace(network.arena).concatenate(outputs)
    return output


def _predict_sequences(network: Network, X: Sequences) -> Array:
    """Return the output for all sequences, in their order."""
    output: Array | None = None
    for rows, inputs in X.blocks():
        found: Array = network.predict(*inputs)
        if output is None:
            output = aligned_empty((len(X), *found.shape[1:]), found.dtype, device_of(found))
        output[to_device(rows, device_of(found))] = found
    assert output is not None
    return output

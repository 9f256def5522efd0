"""Images as samples: mini-batches of them, converted and augmented at random, and blocks of them for predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, to_device

__all__ = ["Augmentation"]

# Largest number of images and of items of a block for predictions; 1 << 22 items are 32 MiB of float64.
_BLOCK_IMAGES, _BLOCK_ITEMS = 2048, 1 << 22


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images, drawn anew for each image in each epoch.

    An image is shifted and cropped, then flipped, then a square of it is erased, and it is mixed with another image.

    Parameters
    ----------
    shift : int or (rows, columns), default=0
        Most pixels by which an image moves in each direction; pixels from outside are `fill`.
    flip : bool, default=False
        Whether images are flipped left to right, with probability 1/2.
    flip_vertical : bool, default=False
        Whether images are flipped upside down, with probability 1/2.
    crop : int or (rows, columns), default=None
        Size of a window that is taken from a random place of the image, and of its padding by `shift`. Predictions take
        the window in the middle. None for the size of the images.
    cutout : int, default=0
        Side, in pixels, of a square at a random place that becomes `fill`; 0 for none.
    mixup : float, default=0.0
        Parameter alpha of mix-up: an image and its target become averages with another image of the batch and its
        target, with weights w and 1 - w, w from Beta(alpha, alpha). Usual values are 0.1 to 0.4; 0 for none. Sample
        weights are averaged in the same way, but do not change w. The other image is the next one of the batch.
    fill : float, default=0.0
        Value of pixels from outside and of the square. Images of uint8 are scaled to 0..1 before.

    References
    ----------
    T. DeVries, G. Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.

    H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.

    Examples
    --------
    >>> from steepest.neural_network import Augmentation
    >>> Augmentation(shift=4, flip=True, cutout=8)
    Augmentation(shift=4, flip=True, flip_vertical=False, crop=None, cutout=8, mixup=0.0, fill=0.0)
    """

    shift: int | tuple[int, int] = 0
    flip: bool = False
    flip_vertical: bool = False
    crop: int | tuple[int, int] | None = None
    cutout: int = 0
    mixup: float = 0.0
    fill: float = 0.0

    def window(self, rows: int, columns: int) -> tuple[int, int]:
        """Return the size of what is taken from images of so many rows and columns."""
        if self.crop is None:
            return rows, columns
        return self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)


class ImageBatch(NamedTuple):
    """A mini-batch of images, and the weight of each in its mixture, or None if they are not mixed."""

    x: Array
    mix_weights: Array | None


class Images:
    """Images on a device, whose mini-batches are converted and augmented while they are gathered.

    Parameters
    ----------
    X : ndarray of shape (n, d) or (n, h, w, c)
        The images, of uint8, float32 or float64; uint8 is divided by 255. They are not copied if their rows are
        contiguous.
    dtype : data-type
        Dtype of the mini-batches of images of uint8; others keep theirs.
    shape : (h, w, c) or None
        Shape of the images in the rows of X; None for ``X.shape[1:]``, or if nothing depends on it.
    augmentation : Augmentation or None
        What is changed at random.
    seed : int
        Seed of the augmentation.

    Raises
    ------
    ValueError
        If the images' shape is missing, or does not have the items of a row.
    """

    def __init__(
        self,
        X: Array,
        dtype: npt.DTypeLike,
        *,
        shape: tuple[int, int, int] | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        items = math.prod(X.shape[1:])
        if shape is None and augmentation is not None:
            if X.ndim != 4:
                raise ValueError(
                    f"[Augmentation] image_shape = (h, w, c) is required for samples of shape {X.shape[1:]}"
                )
            shape = X.shape[1:]
        h, w, c = (1, items, 1) if shape is None else shape
        if h * w * c != items:
            raise ValueError(
                f"[Augmentation] image_shape {shape} has {h * w * c} items, but samples have shape {X.shape[1:]}"
            )
        self.device = device_of(X)
        self.dtype: np.dtype[Any] = np.dtype(dtype) if X.dtype == np.uint8 else X.dtype
        self._images = X.reshape(len(X), h, w, c)
        self._augmentation, self._seed = augmentation, seed
        self._window = (h, w, c) if augmentation is None else (*augmentation.window(h, w), c)
        # The shape of a sample, as a network takes it: flat samples stay flat.
        self.sample_shape = X.shape[1:]
        if math.prod(self._window) != items:
            self.sample_shape = (math.prod(self._window),) if X.ndim == 2 else self._window

    def __len__(self) -> int:
        return len(self._images)

    def take(self, rows: Array, length: int, *, start: Array, stream: Array) -> ImageBatch:
        """Return the augmented images ``rows[start : start + length]``; see `K.take_images`. It can be captured."""
        out = aligned_empty((length, *self.sample_shape), self.dtype, self.device)
        windows, rules = out.reshape(length, *self._window), self._augmentation
        if rules is None:
            K.take_images(self._images, rows, windows, start=start)
            return ImageBatch(out, None)
        weights = aligned_empty((length,), self.dtype, self.device) if rules.mixup else None
        K.take_images(
            self._images,
            rows,
            windows,
            start=start,
            crop=rules.crop,
            shift=rules.shift,
            flip=rules.flip,
            flip_vertical=rules.flip_vertical,
            cutout=rules.cutout,
            fill=rules.fill,
            mixup=rules.mixup,
            mix_weights=weights,
            seed=self._seed,
            stream=stream,
        )
        return ImageBatch(out, weights)

    def blocks(self) -> Iterator[Array]:
        """Yield all images in order as blocks, without augmentation, but with a crop in the middle.

        All blocks share one buffer, which the next block overwrites.
        """
        size = max(1, min(_BLOCK_IMAGES, _BLOCK_ITEMS // max(math.prod(self._window), 1)))
        rows = to_device(np.arange(len(self)), self.device)
        buffer = aligned_empty((min(size, len(self)), *self.sample_shape), self.dtype, self.device)
        for start in range(0, len(self), size):
            block = buffer[: min(size, len(self) - start)]
            windows = block.reshape(len(block), *self._window)
            K.take_images(self._images, rows, windows, start=start, crop=self._window[:2])
            yield block


def as_floats(X: Any, dtype: npt.DTypeLike = np.float32) -> Any:
    """Return images of uint8 in [0, 1] as floats of a dtype, and any other X as it is."""
    return X.astype(dtype) / np.dtype(dtype).type(255) if getattr(X, "dtype", None) == np.uint8 else X

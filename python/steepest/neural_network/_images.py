"""Images as the inputs of an estimator: their shapes, and their bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import Tags

from steepest import nn
from steepest._runtime.arrays import Array
from steepest.estimators.data import is_size
from steepest.nn.layers import Layer
from steepest.training.images import as_floats

from ._base import BaseMultilayerPerceptron
from ._blocks import ImageShape, convolutional_layers
from ._parameters import ConvolutionalParameters, prefixed, require_stochastic

# Where the validation has found an item that is not finite, in flat rows.
_PLACE = re.compile(r"at row (\d+), column (\d+)\b")


class ImageInputs(ConvolutionalParameters, BaseMultilayerPerceptron):
    """An estimator whose samples are images; see `ConvClassifier`.

    Images reach the network as flat rows, which its first layer gives their shape: validation, batches and files treat
    them as they treat rows of features.

    Attributes
    ----------
    image_shape_ : (int, int, int)
        Height, width and channels of the images that the model was fitted to.
    """

    _keeps_bytes: ClassVar[bool] = True
    _shaping: ClassVar[tuple[str, ...]] = (
        "blocks",
        "batch_norm",
        "image_shape",
        *BaseMultilayerPerceptron._shaping,
    )
    image_shape_: ImageShape

    def _check_data(self, X: Any, y: Any, reset: bool) -> Any:
        shape, rows = self._shape_of_images(X, reset), as_rows(X)
        if not reset and self._network.dtype != np.float32:
            rows = as_floats(rows, self._network.dtype)  # bytes that stay become float32 in batches
        try:
            checked = super()._check_data(rows, y, reset)
        except ValueError as error:
            raise ValueError(_in_images(str(error), shape)) from error
        if reset:
            found = checked if isinstance(y, str) else checked[0]
            self.image_shape_ = shape or self._given_shape(found.shape[1])
        return checked

    def _shape_of_images(self, X: Any, reset: bool) -> ImageShape | None:
        """Return the shape of the images of an X that is not flat; ValueError if it is not that at fit."""
        return images_shape(self, X, self._wanted_shape() if reset else self.image_shape_, reset)

    def _wanted_shape(self) -> ImageShape | None:
        """Return `image_shape` with its channels."""
        return wanted_shape(self)

    def _given_shape(self, n_features: int) -> ImageShape:
        """Return the shape of the images in flat rows."""
        shape = self._wanted_shape()
        if shape is None:
            raise ValueError(
                self._prefix(
                    f"X has flat rows of {n_features} features: pass image_shape=(height, width) or (height, width, "
                    "channels), or X of shape (n, height, width) or (n, height, width, channels)"
                )
            )
        require_items(self, shape, n_features)
        return shape

    def _valid_rows(self, X: Any) -> Array | None:
        is_one_of_ours = type(X) is np.ndarray and X.ndim > 2 and (*X.shape[1:], 1)[:3] == self.image_shape_
        return super()._valid_rows(as_rows(X) if is_one_of_ours else X)

    def _make_layers(self, n_in: int, n_out: int) -> tuple[Layer, ...]:
        return convolutional_layers(self, self._layers_shape(), n_out)

    def _layers_shape(self) -> ImageShape:
        """Return the shape for which layers are made, by which a fit that goes on finds a change of `image_shape`."""
        return self._wanted_shape() or self.image_shape_

    def _augmentation(self, y: Array) -> dict[str, Any]:
        rules = self.augment
        if rules is None:
            return {}
        require_stochastic(self, "augment")
        if rules.crop is not None:
            raise ValueError(
                self._prefix(
                    "augment.crop changes the size of the images, which predictions do not: use shift"
                )
            )
        is_class_id = y.dtype.kind != "f"
        return {
            "augmentation": rules,
            "image_shape": self.image_shape_,
            "n_classes": self.n_outputs_ if is_class_id else None,
        }

    def _inputs(self) -> tuple[nn.Input, ...]:
        return (nn.Input(math.prod(self.image_shape_)),)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Flat rows are images only where their shape is known.
        tags.input_tags.two_d_array = self.image_shape is not None
        tags.input_tags.three_d_array = True
        return tags


def images_shape(model: object, X: Any, expected: ImageShape | None, reset: bool) -> ImageShape | None:
    """Return the shape of the images of an X, or None if it has flat rows.

    Raises
    ------
    ValueError
        If X has more than four axes, or its images have another shape than `expected`, that of `image_shape` at a fit
        (`reset`) and that of the fit later.
    """
    sizes = shape_of(X)
    if len(sizes) > 4:
        raise ValueError(
            prefixed(
                model,
                "X must have shape (n, height, width), (n, height, width, channels) or (n, n_features), got "
                f"{sizes}",
            )
        )
    if len(sizes) < 3:
        return None
    found = as_image_shape(model, "X", sizes[1:])
    if expected is not None and found != expected:
        where = "image_shape is" if reset else "those at fit had shape"
        raise ValueError(prefixed(model, f"X has images of shape {found}, but {where} {expected}"))
    return found


def wanted_shape(model: Any) -> ImageShape | None:
    """Return the parameter `image_shape` of an estimator with its channels, or None."""
    given = model.image_shape
    return None if given is None else as_image_shape(model, "image_shape", given)


def require_items(model: Any, shape: ImageShape, n_features: int) -> None:
    """Raise ValueError unless images of a shape have as many items as X has features."""
    if math.prod(shape) != n_features:
        raise ValueError(
            prefixed(
                model,
                f"image_shape={model.image_shape} has {math.prod(shape)} items, but X has {n_features} features",
            )
        )


def as_image_shape(model: object, name: str, sizes: Sequence[Any]) -> ImageShape:
    """Return sizes as height, width and channels.

    Raises
    ------
    ValueError
        If they are not two or three positive whole numbers; the message says `name` of them.
    """
    if len(sizes) not in (2, 3) or not all(is_size(n) for n in sizes):
        raise ValueError(
            prefixed(
                model,
                f"{name} must have a shape (height, width) or (height, width, channels) of positive whole numbers, "
                f"got {tuple(sizes)}",
            )
        )
    height, width, *channels = (int(n) for n in sizes)
    return height, width, channels[0] if channels else 1


def as_rows(X: Any) -> Any:
    """Return images as flat rows, and any other X as it is."""
    sizes = shape_of(X)
    if not hasattr(X, "reshape"):
        X = np.asarray(X) if len(sizes) in (3, 4) else X
    return X.reshape(sizes[0], math.prod(sizes[1:])) if len(sizes) in (3, 4) else X


def shape_of(X: Any) -> tuple[int, ...]:
    """Return the shape of an array, or of what can be made one; () for anything else."""
    sizes = getattr(X, "shape", None)
    if sizes is None:
        try:
            sizes = np.asarray(X).shape
        except ValueError:  # lists of different lengths, about which the validation says more
            sizes = ()
    return tuple(sizes)


def _in_images(message: str, shape: ImageShape | None) -> str:
    """Return an error message in which the column of a flat row is a place in an image of a shape."""
    found = _PLACE.search(message)
    if shape is None or found is None:
        return message
    row, column, channel = np.unravel_index(int(found[2]), shape)
    place = f"in image {found[1]} at row {row}, column {column}, channel {channel}"
    return message.replace(found[0], place, 1)

"""Plot of saliency maps: which pixels of an image decide on the score of a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steepest import nn
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_device, to_host

from ._models import as_batch, image_shape_of, network_of
from ._mosaic import AMOUNTS, mosaic_of, shape_of
from ._style import make_axes, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAME = "saliency"


def saliency(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    shape: tuple[int, int] | None = None,
    ax: Axes | None = None,
    n: int = 8,
) -> Axes:
    """Draw images above their saliency maps, the pixels that change the score of a class most.

    The saliency of a pixel is the absolute value of the derivative of the score by that pixel, the largest one of its
    channels: a change of the most salient pixels changes the score most. Each map is divided by its largest number. The
    derivatives are those of a prediction, without dropout: see `nn.input_gradient`.

    Parameters
    ----------
    model : Network or fitted estimator
        The network, or an estimator with a network. The score of a class is its output, before a `Softmax` at the end
        of a chain: probabilities that are near one hardly change with the pixels.
    X : array-like of shape (n, height, width, channels), (n, height, width) or (n, n_pixels)
        The images.
    y : array-like of shape (n,) or None, default=None
        The class whose score is differentiated, for each image, from the estimator's `classes_` or as the number of an
        output; None for the predicted class, or the first output of a regressor. It stands above the image.
    shape : (int, int) or None, default=None
        Height and width of images that are given as rows of pixels to a network without an image as input; None if
        they are square.
    ax : Axes or None, default=None
        Axes to draw into; None for a new figure.
    n : int, default=8
        Largest number of images to show; the first ones are shown.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        If the model has no network, or is not fitted.
    ValueError
        If there is no image, the images do not fit the network, the network has several outputs, or y has another
        length than X or classes that the model does not know.

    References
    ----------
    K. Simonyan, A. Vedaldi, A. Zisserman, "Deep inside convolutional networks: visualising image classification models
    and saliency maps", 2014.
    """
    n = checked_integer(_NAME, "n", n, 1)
    network = network_of(_NAME, model)
    given = np.asarray(to_host(X))
    if not len(given):
        raise ValueError(f"[{_NAME}] X must have at least one image")
    if y is not None:
        y = np.asarray(to_host(y))
        if y.shape != given.shape[:1]:
            raise ValueError(f"[{_NAME}] y has shape {y.shape}, but X has {len(given)} samples")
        y = y[:n]
    given = given[:n]
    batch = as_batch(_NAME, model, network, given)
    scores, layers = _scores(network, batch)
    ids, labels, what = _targets(model, scores, y)
    weights = np.zeros_like(scores)
    weights[np.arange(len(scores)), ids if scores.shape[1] > 1 else 0] = 1
    gradient = to_host(nn.input_gradient(network, batch, to_device(weights, network.device), layers=layers))
    sample = image_shape_of(network) or (given.shape[1:] if batch.ndim == 2 < given.ndim else batch.shape[1:])
    images, maps = (_with_channels(array, sample) for array in (to_host(batch), np.abs(gradient)))
    size = images.shape[1:3] if len(sample) > 1 else shape_of(images.shape[1], shape, _NAME)
    images = images.reshape(len(images), -1, images.shape[-1]).astype(np.float64)
    salient = maps.reshape(len(maps), -1, maps.shape[-1]).max(axis=2).astype(np.float64)
    salient /= np.maximum(salient.max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    ax = make_axes(ax, (0.95 * len(images) + 1.0, 2.4))
    _draw(ax, images, salient, size)
    width = size[1]
    middles = [i * (width + 1) + (width - 1) / 2 for i in range(len(images))]
    ax.set_xticks(middles, labels)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.set_xlabel(what)
    ax.xaxis.set_label_position("top")
    return ax


def _scores(network: nn.Network, batch: Array) -> tuple[Array, slice | None]:
    """Return the scores of the classes, of shape (n, n_outputs), and the layers that compute them."""
    layers = None
    if network._is_sequence and len(network.layers) > 1 and isinstance(network.layers[-1], nn.Softmax):
        layers = slice(len(network.layers) - 1)
    output = network.predict(batch, layers=layers)
    if isinstance(output, tuple) or output.ndim != 2:
        what = f"{len(output)} outputs" if isinstance(output, tuple) else f"an output of shape {output.shape}"
        raise ValueError(f"[{_NAME}] the network has {what}, but one score for each class is needed")
    return to_host(output), layers


def _targets(model: Any, scores: Array, y: Array | None) -> tuple[Array, list[str], str]:
    """Return the number of the class whose score is differentiated for each image, its name, and what it is."""
    known = getattr(model, "classes_", None)
    n_outputs = scores.shape[1]
    is_regressor = known is None and not isinstance(model, nn.Network)
    if is_regressor:
        classes = np.arange(n_outputs)
    else:
        # A single output is the score of the second of two classes.
        classes = np.arange(max(2, n_outputs)) if known is None else np.asarray(to_host(known))
    if y is not None:
        ids = np.searchsorted(classes, y)
        is_known = classes[np.minimum(ids, len(classes) - 1)] == y
        for row in np.flatnonzero(~is_known)[:1]:
            raise ValueError(f"[{_NAME}] y is {y[row]} at row {row}, which is no class of the model")
    elif is_regressor:
        ids = np.zeros(len(scores), np.intp)
    else:
        ids = scores.argmax(axis=1) if n_outputs > 1 else (scores[:, 0] > 0).astype(np.intp)
    what = "output" if is_regressor else "class" if y is not None else "predicted class"
    return ids, names(classes[ids]), what


def _with_channels(array: Array, sample: tuple[int, ...]) -> Array:
    """Return images with an axis of channels; images that are rows of pixels stay rows."""
    array = array.reshape(len(array), *sample)
    return array if len(sample) == 3 else array[..., None]


def _draw(ax: Axes, images: Array, salient: Array, size: tuple[int, int]) -> None:
    """Draw images above their maps."""
    n, _, channels = images.shape
    low, high = float(images.min()), float(images.max())
    shares = (images - low) / ((high - low) or 1.0)
    look: dict[str, Any] = {"interpolation": "nearest", "vmin": 0.0, "vmax": 1.0}
    if channels == 3:
        colours = [mosaic_of(shares[:, :, c], size, n, _NAME) for c in range(3)]
        upper = np.nan_to_num(np.stack(colours, axis=-1), nan=1.0)
    else:
        # Ink on paper: the largest numbers are black.
        upper, look["cmap"] = mosaic_of(shares.mean(axis=2), size, n, _NAME), "gray_r"
    height, width = upper.shape[:2]
    ax.imshow(upper, extent=(-0.5, width - 0.5, height - 0.5, -0.5), **look)
    look["cmap"] = AMOUNTS
    lower = mosaic_of(salient, size, n, _NAME)
    ax.imshow(lower, extent=(-0.5, width - 0.5, 2 * height + 0.5, height + 0.5), **look)
    ax.set(xlim=(-0.5, width - 0.5), ylim=(2 * height + 0.5, -0.5))
    ax.set_yticks([height / 2 - 0.5, 3 * height / 2 + 0.5], ["image", "saliency"])
    for spine in ax.spines.values():
        spine.set_visible(False)

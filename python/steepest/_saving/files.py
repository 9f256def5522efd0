"""Saving models to files and loading them: `save` and `load`."""

from __future__ import annotations

from typing import Any

from steepest._saving.container import MODEL, FilePath, read_file, require_device, write_file
from steepest._saving.model_state import decode_model, encode_model
from steepest.nn import Network


def save(model: Any, path: FilePath) -> None:
    """Save a model to a file in the safetensors format.

    The tensors are the parameters of the network, the moments of its optimizer and other fitted arrays. The rest
    (class, parameters, fitted attributes, labels) is JSON in the file's header. A loaded model makes bit-identical
    predictions, and `partial_fit` and `warm_start` continue its training. The file contains no code, and `load` runs
    none. A checksum lets `load` detect damage.

    `save` writes a temporary file beside `path`, flushes it to the disk, and then renames it. At any time, `path` is
    either the complete old file or the complete new one, even if the program or the machine stops. A killed process may
    leave behind a file whose name ends in ``.tmp``. The new file has the mode of the old one, and its owner and group
    if the system allows that.

    Parameters
    ----------
    model : estimator or Network
        An estimator of steepest, fitted or not, or a `steepest.nn.Network`, on any device. The `callbacks` of an
        estimator are not saved.
    path : path
        The file, which is replaced. A symbolic link is followed. Another hard link to the old file keeps the old
        content.

    Raises
    ------
    TypeError
        If the model is of another library or cannot be stored as data. It must not contain a function, an object of a
        user-defined class, a reference to itself or too much text; the message names the attribute.
    OSError
        If the file cannot be written, or `path` is a folder, a device or a pipe. An old file at `path` is unchanged.

    Examples
    --------
    >>> import numpy as np, steepest
    >>> from steepest import nn
    >>> net = nn.Network([nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)], seed=0)
    >>> steepest.save(net, "/tmp/net.safetensors")
    >>> bool((steepest.load("/tmp/net.safetensors").arena == net.arena).all())
    True
    """
    write_file(path, MODEL, lambda: encode_model(model))


def load(path: FilePath, device: str | None = None) -> Any:
    """Load a model from a file that `save` has written.

    Parameters
    ----------
    path : path
        The file.
    device : {"cpu", "cuda"} or None, default=None
        Device of the model. For an estimator, the parameter `device` is set to it, so that later fits use it too. With
        None, the parameter stays as it was saved, and the model is on the CPU, even if it was trained on CUDA.

    Returns
    -------
    estimator or Network
        The model.

    Raises
    ------
    FileNotFoundError, OSError
        If the file does not exist or cannot be read.
    ValueError
        If the file is empty, truncated, damaged, not a model of steepest, or from a newer version; the message says
        which, and what to do. The checksum detects a single changed bit; files of the first versions have no checksum.
    MemoryError
        If the model does not fit into memory. Damaged files raise ValueError before large memory is allocated.
    RuntimeError
        If `device` is "cuda" and CUDA is not available.
    """
    require_device(device, "load")
    model = read_file(path, MODEL, decode_model)
    return model if device is None else _move(model, device)


def _move(model: Any, device: str) -> Any:
    if isinstance(model, Network):
        return model.to(device)
    if "device" in model.get_params(deep=False):
        model.set_params(device=device)
    # Fitted attributes end with an underscore. An estimator without `_move_to` computes on the device of its data.
    if hasattr(model, "_move_to") and any(name.endswith("_") for name in vars(model)):
        model._move_to(device)
    return model

"""Models in files: `save` and `load`."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import safetensors
import safetensors.numpy

from steepest._backends import check_device, cuda_problem
from steepest._model_state import StateError, decode_model, encode_model
from steepest._version import __version__
from steepest.nn import Network

Array = npt.NDArray[Any]
_Path = str | os.PathLike[str]

# Raised where older versions would misread a file. Versions that only add kinds of values do not raise it: an older one
# names what it does not know.
FORMAT_VERSION = 1


def save(model: Any, path: _Path) -> None:
    """Write a model into a file in the safetensors format.

    The tensors are the parameters of the network, the moments of its optimizer and other fitted arrays; the rest
    (class, parameters, fitted attributes, labels) is JSON in the file's header. A model that was loaded predicts the
    same bits, and `partial_fit` and `warm_start` go on from where it was. There is no code in the file, and none is run
    by `load`.

    The file is written beside `path`, flushed to the disk, and then renamed: at any time `path` is either the old
    file or the new one, whole, whatever stops the program or the machine. A process that is killed may leave a file
    behind whose name ends in ``.tmp``.

    Parameters
    ----------
    model : estimator or Network
        An estimator of steepest, fitted or not, or a `steepest.nn.Network`, on any device. The `callbacks` of an
        estimator are not saved.
    path : path
        The file. It is replaced; a symbolic link is followed.

    Raises
    ------
    TypeError
        The model is of another library, or holds what cannot be kept as data (a function, an object of a class of the
        user's); the message says where.
    OSError
        The file cannot be written. What was at `path` is as it was.

    Examples
    --------
    >>> import numpy as np, steepest
    >>> from steepest import nn
    >>> net = nn.Network([nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)], seed=0)
    >>> steepest.save(net, "/tmp/net.safetensors")
    >>> bool((steepest.load("/tmp/net.safetensors").arena == net.arena).all())
    True
    """
    try:
        description, tensors = encode_model(model)
    except TypeError as error:
        raise TypeError(f"[save] {error}") from error
    header = {
        "format": "steepest",
        "format_version": str(FORMAT_VERSION),
        "steepest_version": __version__,
        "model": json.dumps(description, allow_nan=False),
    }
    _replace(Path(os.path.realpath(path)), safetensors.numpy.save(tensors, header))


def load(path: _Path, device: str | None = None) -> Any:
    """Read a model that `save` has written.

    Parameters
    ----------
    path : path
        The file.
    device : {"cpu", "cuda"} or None, default=None
        Where the model is to lie and, for an estimator, to be fitted from then on: its parameter `device` is set. None
        leaves the parameter as it was saved, and the model lies on the CPU, where it also predicts what was trained on
        CUDA.

    Returns
    -------
    estimator or Network
        The model.

    Raises
    ------
    FileNotFoundError, OSError
        There is no such file, or it cannot be read.
    ValueError
        The file is empty, truncated, damaged, no model of steepest, or of a newer version; the message says which, and
        what to do.
    RuntimeError
        CUDA is asked for and not available.
    """
    if device is not None:
        check_device(device, "load")
        if device == "cuda" and (problem := cuda_problem()):
            raise RuntimeError(f"[load] device='cuda' is not available: {problem}")
    header, tensors = _read(path)
    try:
        model = decode_model(json.loads(header["model"]), tensors)
    except (KeyError, json.JSONDecodeError, StateError) as error:
        raise ValueError(
            f"[load] {os.fspath(path)} was written by steepest {_writer(header)}, and steepest {__version__} cannot "
            f"read it: {error}. If it comes from a newer version: pip install --upgrade steepest"
        ) from error
    return model if device is None else _move(model, device)


def _move(model: Any, device: str) -> Any:
    if isinstance(model, Network):
        return model.to(device)
    if "device" in model.get_params(deep=False):
        model.set_params(device=device)
    # Fitted attributes end with an underscore. An estimator without a way to move computes where the data are.
    if hasattr(model, "_move_to") and any(name.endswith("_") for name in vars(model)):
        model._move_to(device)
    return model


def _replace(path: Path, content: bytes) -> None:
    """Write a file anew such that at any time either the old or the new one is there, whole."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "[save] there is no folder", str(path.parent))
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(new, "xb") as file:
            file.write(content)
            file.flush()
            # Before the rename: otherwise the new name may reach the disk before the data do.
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, new)
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Bring a folder's new names to the disk, on systems that can; the file itself is safe either way."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(path: _Path) -> tuple[Mapping[str, str], dict[str, Array]]:
    """Return the header and the tensors of a file of `save`."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            size, start = os.fstat(file.fileno()).st_size, file.read(16)
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, f"[load] there is no file {name}", name) from error
    try:
        with safetensors.safe_open(name, framework="np") as opened:
            header = opened.metadata() or {}
            foreign = header.get("format") != "steepest"
            tensors = {} if foreign else {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"[load] {name} {_what_it_is(start, size)} ({error})") from error
    if foreign:
        raise ValueError(
            f"[load] {name} is a safetensors file of another program: safetensors.numpy.load_file reads its tensors"
        )
    version = header.get("format_version", "")
    if not version.isdecimal() or int(version) > FORMAT_VERSION:
        raise ValueError(
            f"[load] {name} has format {version or '(unknown)'}, written by steepest {_writer(header)}; steepest "
            f"{__version__} reads formats up to {FORMAT_VERSION}: pip install --upgrade steepest"
        )
    return header, tensors


def _writer(header: Mapping[str, str]) -> str:
    return header.get("steepest_version", "(unknown)")


def _what_it_is(start: bytes, size: int) -> str:
    """Say what a file is that safetensors could not read, from its first bytes."""
    if size == 0:
        return "is empty: it was not written to its end. Save the model again"
    # A header of JSON follows its length, a number of eight bytes.
    if size <= 8 or start[8:9] == b"{":
        return "is truncated or damaged: copy it again, or save the model again"
    if (start[:1] == b"\x80" and 2 <= start[1] <= 5) or start[:2] in (b"x\x9c", b"x\x01", b"x^", b"x\xda"):
        return "looks like a pickle: joblib.load or pickle.load reads it, if you trust where it comes from"
    return "is no model of steepest.save"

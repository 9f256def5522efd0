"""Saving models to files and loading them: `save` and `load`."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from steepest._runtime.backends import check_device, cuda_problem
from steepest._saving.model_state import decode_model, encode_model
from steepest._saving.tensor_file import DamagedError, encode_tensors, read_header, verify_checksum
from steepest._version import __version__
from steepest.nn import Network

_Path = str | os.PathLike[str]

# This number increases when older versions of steepest would misread a file. New kinds of values do not increase it: an
# older version rejects them by name.
FORMAT_VERSION = 1

# Metadata keys of the first files, which have no checksum.
_FIRST_KEYS = {"format", "format_version", "steepest_version", "model"}
# Number of letters of the file's name that the name of its temporary file repeats.
_NAME_LETTERS = 32


class _UnreadableError(ValueError):
    """Fault of a file; its message continues a sentence that starts with the file's name."""


def save(model: Any, path: _Path) -> None:
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
    try:
        description, tensors = encode_model(model)
        header = {
            "format": "steepest",
            "format_version": str(FORMAT_VERSION),
            "steepest_version": __version__,
            "model": json.dumps(description, allow_nan=False),
        }
        parts = encode_tensors(tensors, header)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"[save] {error}") from error
    with _replacing(path) as file:
        for part in parts:
            file.write(part)


def load(path: _Path, device: str | None = None) -> Any:
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
    if device is not None:
        check_device(device, "load")
        if device == "cuda" and (problem := cuda_problem()):
            raise RuntimeError(f"[load] device='cuda' is not available: {problem}")
    name = os.fspath(path)
    try:
        with _open(name) as file:
            model = _read_model(file)
    except _UnreadableError as error:
        raise ValueError(f"[load] {name} {error}") from error.__cause__
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


@contextlib.contextmanager
def _replacing(path: _Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` when the block ends without an exception."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "[save] there is no folder", str(target.parent))
    old = _status(path, "save")
    new = target.with_name(f".{target.name[:_NAME_LETTERS]}.{secrets.token_hex(4)}.tmp")
    # While it is written, only the owner may read a file that replaces an old one, whose mode may be restrictive.
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if old is None else 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            if old is not None:
                _keep_owner_and_mode(descriptor, old)
            # Flush before the rename: otherwise the new name may reach the disk before the data.
            os.fsync(descriptor)
        os.replace(new, target)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    _flush_folder(target.parent)


def _status(path: _Path, function: str) -> os.stat_result | None:
    """Return the status of a regular file, or None if it does not exist; raise OSError for anything else."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, f"[{function}] this is a directory", os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, f"[{function}] this is a device or a pipe, not a file", os.fspath(path))
    return status


def _keep_owner_and_mode(descriptor: int, old: os.stat_result) -> None:
    # A process that may not change the owner of a file can still change its group to one of its own groups.
    for owner in (old.st_uid, -1):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, owner, old.st_gid)
            break
    # The mode comes last, since a change of the owner clears bits of the mode.
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _flush_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, if the system can; the file's content is already flushed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _open(name: str) -> BinaryIO:
    # The check comes before `open`, which would block on a pipe.
    if _status(name, "load") is None:
        raise FileNotFoundError(errno.ENOENT, f"[load] there is no file {name}", name)
    return open(name, "rb")


def _read_model(file: BinaryIO) -> Any:
    """Return the model in a file that is open at its beginning, or raise _UnreadableError."""
    with _whatever_is_raised(lambda error: f"{_what_it_is(file)} ({error})"):
        header, tensors = read_header(file)
    if header.get("format") != "steepest":
        raise _UnreadableError(
            "is a safetensors file of another program: safetensors.numpy.load_file reads its tensors"
        )
    writer, version = header.get("steepest_version", "(unknown)"), header.get("format_version", "")
    if version not in map(str, range(1, FORMAT_VERSION + 1)):
        raise _UnreadableError(
            f"has format {version or '(unknown)':.20}, written by steepest {writer}; steepest {__version__} reads "
            f"formats up to {FORMAT_VERSION}: install a newer version of steepest"
        )
    with _whatever_is_raised(lambda error: f"is damaged: {error}. Copy it again, or save the model again"):
        # Only files of the first versions have no checksum. One with newer keys has lost its checksum by damage.
        if not verify_checksum(file) and (unknown := sorted(set(header) - _FIRST_KEYS)):
            raise DamagedError(f"it has no checksum, but {', '.join(unknown)}")
    with _whatever_is_raised(
        lambda error: (
            f"was written by steepest {writer}, and steepest {__version__} cannot read it: {error}. If it comes from "
            "a newer version, install that"
        )
    ):
        return decode_model(json.loads(header["model"]), tensors)


@contextlib.contextmanager
def _whatever_is_raised(describe: Callable[[Exception], str]) -> Iterator[None]:
    """Convert any exception from a damaged file into _UnreadableError; OSError and MemoryError pass unchanged."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise _UnreadableError(describe(error)) from error


def _what_it_is(file: BinaryIO) -> str:
    """Describe a file without a readable header by its first bytes: empty, truncated, a pickle, or unknown."""
    file.seek(0)
    start = file.read(16)
    if not start:
        return "is empty: it was not written to its end. Save the model again"
    # A safetensors file starts with the length of its header, 8 bytes, and the JSON header.
    if len(start) <= 8 or start[8:9] == b"{":
        return "is truncated or damaged: copy it again, or save the model again"
    if (start[:1] == b"\x80" and 2 <= start[1] <= 5) or start[:2] in (b"x\x9c", b"x\x01", b"x^", b"x\xda"):
        return "looks like a pickle: joblib.load or pickle.load reads it, if you trust where it comes from"
    return "is no model of steepest.save"

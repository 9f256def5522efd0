"""Models in files: `save` and `load`."""

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

# Raised where older versions would misread a file. Versions that only add kinds of values do not raise it: an older one
# names what it does not know.
FORMAT_VERSION = 1

# The strings of the first files, which have no checksum.
_FIRST_KEYS = {"format", "format_version", "steepest_version", "model"}
# Letters of a file's name in that of the file beside it which is written first.
_NAME_LETTERS = 32


class _UnreadableError(ValueError):
    """Says of a file what is wrong with it; the file's name comes before."""


def save(model: Any, path: _Path) -> None:
    """Write a model into a file in the safetensors format.

    The tensors are the parameters of the network, the moments of its optimizer and other fitted arrays; the rest
    (class, parameters, fitted attributes, labels) is JSON in the file's header. A model that was loaded predicts the
    same bits, and `partial_fit` and `warm_start` go on from where it was. There is no code in the file, and none is run
    by `load`. A checksum lets `load` notice damage.

    The file is written beside `path`, flushed to the disk, and then renamed: at any time `path` is either the old
    file or the new one, whole, whatever stops the program or the machine. A process that is killed may leave a file
    behind whose name ends in ``.tmp``. The new file has the mode of the old one, and its owner and group where the
    system allows that.

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
        The model is of another library, or holds what cannot be kept as data (a function, an object of a class of the
        user's), or that holds itself or too much text; the message says where.
    OSError
        The file cannot be written, or `path` is a folder, a device or a pipe. What was at `path` is as it was.

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
        what to do. Files that `save` has written have a checksum, so that a single changed bit is noticed; those of
        the first versions have none.
    MemoryError
        The model does not fit into memory. What is no whole model is refused before there is memory for it.
    RuntimeError
        CUDA is asked for and not available.
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
    # Fitted attributes end with an underscore. An estimator without a way to move computes where the data are.
    if hasattr(model, "_move_to") and any(name.endswith("_") for name in vars(model)):
        model._move_to(device)
    return model


@contextlib.contextmanager
def _replacing(path: _Path) -> Iterator[BinaryIO]:
    """Open a file to be written anew such that at any time either the old or the new one is there, whole."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "[save] there is no folder", str(target.parent))
    old = _status(path, "save")
    new = target.with_name(f".{target.name[:_NAME_LETTERS]}.{secrets.token_hex(4)}.tmp")
    # What only some may read, only the owner may read while it is written.
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if old is None else 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            if old is not None:
                _keep_owner_and_mode(descriptor, old)
            # Before the rename: otherwise the new name may reach the disk before the data do.
            os.fsync(descriptor)
        os.replace(new, target)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    _flush_folder(target.parent)


def _status(path: _Path, function: str) -> os.stat_result | None:
    """Return what the system knows of a file, or None where there is none; raise OSError for what is no file."""
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
    # A process that may not give a file away can still give it to one of its groups.
    for owner in (old.st_uid, -1):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, owner, old.st_gid)
            break
    # After the owner, whose change takes bits of the mode away.
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _flush_folder(folder: Path) -> None:
    """Bring a folder's new names to the disk, on systems that can; the file itself is safe either way."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _open(name: str) -> BinaryIO:
    # Before it is opened: that would wait for somebody to write into a pipe.
    if _status(name, "load") is None:
        raise FileNotFoundError(errno.ENOENT, f"[load] there is no file {name}", name)
    return open(name, "rb")


def _read_model(file: BinaryIO) -> Any:
    """Return the model in a file that is open at its beginning; raise _UnreadableError where it is none."""
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
        # A file with anything that the first ones do not have has a checksum, unless the checksum's name is damaged.
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
    """Make one error of all that reading a damaged file may raise; the machine's own failures stay what they are."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise _UnreadableError(describe(error)) from error


def _what_it_is(file: BinaryIO) -> str:
    """Say what a file is whose header cannot be read, from its first bytes."""
    file.seek(0)
    start = file.read(16)
    if not start:
        return "is empty: it was not written to its end. Save the model again"
    # A header of JSON follows its length, a number of eight bytes.
    if len(start) <= 8 or start[8:9] == b"{":
        return "is truncated or damaged: copy it again, or save the model again"
    if (start[:1] == b"\x80" and 2 <= start[1] <= 5) or start[:2] in (b"x\x9c", b"x\x01", b"x^", b"x\xda"):
        return "looks like a pickle: joblib.load or pickle.load reads it, if you trust where it comes from"
    return "is no model of steepest.save"

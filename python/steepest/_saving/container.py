"""Files that hold a description in JSON and named tensors: written atomically, and read without running code."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from steepest._runtime.arrays import Array
from steepest._runtime.backends import check_device, cuda_problem
from steepest._saving.tensor_file import (
    DamagedError,
    StoredTensor,
    encode_tensors,
    read_header,
    verify_checksum,
)
from steepest._version import __version__

FilePath = str | os.PathLike[str]
_Read = TypeVar("_Read")

# This number increases when older versions of steepest would misread a file. New kinds of values do not increase it: an
# older version rejects them by name.
FORMAT_VERSION = 1

# Metadata keys of the first files, which have no checksum.
_FIRST_KEYS = {"format", "format_version", "steepest_version", "model"}
# Number of letters of the file's name that the name of its temporary file repeats.
_NAME_LETTERS = 32


@dataclass(frozen=True)
class Content:
    """What a file holds: the key of its description, a noun for messages, and the functions that write and read it."""

    key: str
    save: str
    load: str


MODEL = Content("model", "save", "load")
CHECKPOINT = Content("checkpoint", "save_checkpoint", "load_checkpoint")


class MismatchError(ValueError):
    """A sound file that does not fit what the caller asked for; its message continues after the file's name."""


class _UnreadableError(ValueError):
    """Fault of a file; its message continues a sentence that starts with the file's name."""


def require_device(device: str | None, function: str) -> None:
    """Raise ValueError or RuntimeError unless a device exists; None stands for no choice."""
    if device is None:
        return
    check_device(device, function)
    if device == "cuda" and (problem := cuda_problem()):
        raise RuntimeError(f"[{function}] device='cuda' is not available: {problem}")


def write_file(
    path: FilePath, content: Content, encode: Callable[[], tuple[Any, Mapping[str, Array]]]
) -> None:
    """Write a description and its tensors to a file, which replaces an old one when it is complete.

    Parameters
    ----------
    path : path
        The file.
    content : Content
        What the file holds.
    encode : callable
        Function that returns the description, in JSON types, and the tensors by name.

    Raises
    ------
    TypeError
        If `encode` raises a TypeError, ValueError or RecursionError, or there is too much text.
    OSError
        If the file cannot be written.
    """
    try:
        description, tensors = encode()
        header = {
            "format": "steepest",
            "format_version": str(FORMAT_VERSION),
            "steepest_version": __version__,
            content.key: json.dumps(description, allow_nan=False),
        }
        parts = encode_tensors(tensors, header)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"[{content.save}] {error}") from error
    with _replacing(path, content.save) as file:
        for part in parts:
            file.write(part)


def read_file(
    path: FilePath, content: Content, decode: Callable[[Any, Mapping[str, StoredTensor]], _Read]
) -> _Read:
    """Return what `decode` makes of the description and the tensors in a file.

    Parameters
    ----------
    path : path
        The file.
    content : Content
        What the file has to hold.
    decode : callable
        Function of the description and the tensors, which are read from the file while it is called.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is damaged, holds something else or does not fit; the message names it.
    """
    name = os.fspath(path)
    try:
        with _open(name, content.load) as file:
            return _read_content(file, content, decode)
    except (_UnreadableError, MismatchError) as error:
        raise ValueError(f"[{content.load}] {name} {error}") from error.__cause__


@contextlib.contextmanager
def _replacing(path: FilePath, function: str) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` when the block ends without an exception."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"[{function}] there is no folder", str(target.parent))
    old = _status(path, function)
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


def _status(path: FilePath, function: str) -> os.stat_result | None:
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


def _open(name: str, function: str) -> BinaryIO:
    # The check comes before `open`, which would block on a pipe.
    if _status(name, function) is None:
        raise FileNotFoundError(errno.ENOENT, f"[{function}] there is no file {name}", name)
    return open(name, "rb")


def _read_content(
    file: BinaryIO, content: Content, decode: Callable[[Any, Mapping[str, StoredTensor]], _Read]
) -> _Read:
    """Return what is in a file that is open at its beginning, or raise _UnreadableError."""
    with _whatever_is_raised(lambda error: f"{_what_it_is(file, content)} ({error})"):
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
    again = f"save the {content.key} again"
    with _whatever_is_raised(lambda error: f"is damaged: {error}. Copy it again, or {again}"):
        # Only files of the first versions have no checksum. One with newer keys has lost its checksum by damage.
        if not verify_checksum(file) and (unknown := sorted(set(header) - _FIRST_KEYS)):
            raise DamagedError(f"it has no checksum, but {', '.join(unknown)}")
    if content.key not in header:
        for other in (MODEL, CHECKPOINT):
            if other.key in header:
                raise _UnreadableError(f"holds a {other.key}: steepest.{other.load} reads it")
    with _whatever_is_raised(
        lambda error: (
            f"was written by steepest {writer}, and steepest {__version__} cannot read it: {error}. If it comes from "
            "a newer version, install that"
        )
    ):
        return decode(json.loads(header[content.key]), tensors)


@contextlib.contextmanager
def _whatever_is_raised(describe: Callable[[Exception], str]) -> Iterator[None]:
    """Convert any exception from a damaged file into _UnreadableError; others pass.

    OSError, MemoryError and MismatchError do not come from damage.
    """
    try:
        yield
    except (OSError, MemoryError, MismatchError):
        raise
    except Exception as error:
        raise _UnreadableError(describe(error)) from error


def _what_it_is(file: BinaryIO, content: Content) -> str:
    """Describe a file without a readable header by its first bytes: empty, truncated, a pickle, or unknown."""
    file.seek(0)
    start = file.read(16)
    if not start:
        return f"is empty: it was not written to its end. Save the {content.key} again"
    # A safetensors file starts with the length of its header, 8 bytes, and the JSON header.
    if len(start) <= 8 or start[8:9] == b"{":
        return f"is truncated or damaged: copy it again, or save the {content.key} again"
    if (start[:1] == b"\x80" and 2 <= start[1] <= 5) or start[:2] in (b"x\x9c", b"x\x01", b"x^", b"x\xda"):
        return "looks like a pickle: joblib.load or pickle.load reads it, if you trust where it comes from"
    return f"is no {content.key} of steepest.{content.save}"

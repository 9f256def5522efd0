"""Data sets: scikit-learn's digits, and MNIST from a folder of the reader's own."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The third byte of an IDX file -> dtype of its items, which are big-endian.
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_MNIST_SIDE = 28  # pixels
_READ_BYTES = 1 << 24


class MNIST(NamedTuple):
    """The two parts of MNIST: images as rows of 784 intensities in [0, 1], labels as int64 ids 0 to 9."""

    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array


def load_digits(dtype: npt.DTypeLike = np.float32) -> tuple[Array, Array]:
    """Load the 1797 handwritten digits of 8 x 8 pixels that scikit-learn carries.

    Parameters
    ----------
    dtype : data-type, default=float32
        Dtype of X.

    Returns
    -------
    X : ndarray of shape (1797, 64)
        Intensities in [0, 1].
    y : ndarray of shape (1797,), int64
        Labels 0 to 9.
    """
    from sklearn.datasets import load_digits as sklearn_load_digits

    X, y = sklearn_load_digits(return_X_y=True)
    return (X / 16.0).astype(dtype), y.astype(np.int64)


def load_mnist(folder: str | os.PathLike[str], dtype: npt.DTypeLike = np.float32) -> MNIST:
    """Load MNIST, or a set of the same form such as Fashion-MNIST, from its four IDX files.

    Parameters
    ----------
    folder : path
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the two ``t10k-`` files, each as it
        is or with gzip (``.gz``). Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
    dtype : data-type, default=float32
        Dtype of the images.

    Returns
    -------
    MNIST
        ``(X_train, y_train, X_test, y_test)``; images have shape (n, 784), intensities in [0, 1].

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        Where the folder or a file is missing, or the folder is a file.
    ValueError
        Where a file is not what it should be; the message names it, and the byte.
    """
    folder = Path(folder)
    if not folder.is_dir():
        if folder.exists():
            raise NotADirectoryError(f"[load_mnist] {folder} is a file, not a folder")
        raise FileNotFoundError(f"[load_mnist] there is no folder {folder}")
    parts: list[Array] = []
    for images_name, labels_name in _MNIST_FILES.values():
        images_path, labels_path = _find(folder, images_name), _find(folder, labels_name)
        images = _read_bytes(images_path, n_dims=3)
        labels = _read_bytes(labels_path, n_dims=1)
        if images.shape[1:] != (_MNIST_SIDE, _MNIST_SIDE):
            raise _bad(
                images_path, 8, f"images are {images.shape[1]} x {images.shape[2]} pixels, not 28 x 28"
            )
        if len(images) != len(labels):
            raise _bad(
                labels_path,
                4,
                f"there are {len(labels)} labels, but {images_path.name} has {len(images)} images",
            )
        if labels.size and labels.max() > 9:
            first = int(np.argmax(labels > 9))
            raise _bad(labels_path, 8 + first, f"label {labels[first]} of image {first} is outside 0..9")
        pixels = images.reshape(len(images), -1).astype(dtype)
        pixels /= 255
        parts += [pixels, labels.astype(np.int64)]
    return MNIST(*parts)


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Read an array from an IDX file, plain or with gzip (told by its content, not by its name).

    Two zero bytes, a byte for the dtype, a byte for the number of dimensions, each dimension as a big-endian
    unsigned 32-bit integer, then the items in C order, big-endian.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    ndarray
        The array, in native byte order.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where it is no IDX file, is truncated or has bytes left over; the message names the file and the byte.
    """
    path = Path(path)
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not is_gzip:
            return _parse_idx(path, raw)
        try:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _parse_idx(path, unpacked)  # type: ignore[arg-type]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _bad(
                path, raw.tell(), f"the gzip stream is damaged or truncated before here ({error})"
            ) from error


def _parse_idx(path: Path, stream: BinaryIO) -> Array:
    magic = _read(stream, 4)
    if len(magic) < 4:
        raise _bad(path, len(magic), "truncated: the file ends within the 4 bytes of the magic number")
    if magic[:2] != b"\0\0" or magic[2] not in _IDX_DTYPES or magic[3] == 0:
        raise _bad(path, 0, f"not an IDX file: the magic number is 0x{magic.hex()}")
    dtype, n_dims = np.dtype(_IDX_DTYPES[magic[2]]), magic[3]
    header = _read(stream, 4 * n_dims)
    if len(header) < 4 * n_dims:
        raise _bad(path, 4 + len(header), f"truncated: the file ends within the {n_dims} dimensions")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    start = 4 + len(header)
    expected = math.prod(shape) * dtype.itemsize
    data = _read(stream, expected + 1)
    if len(data) < expected:
        raise _bad(
            path,
            start + len(data),
            f"truncated: the file ends here, but an array of shape {shape} needs {start + expected} bytes",
        )
    if len(data) > expected:
        raise _bad(path, start + expected, f"bytes are left over behind the array of shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read(stream: BinaryIO, n: int) -> bytes:
    """Read n bytes, or to the end: in parts, as a damaged header may ask for more than there is memory."""
    parts = []
    while n > 0 and (part := stream.read(min(n, _READ_BYTES))):
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def _read_bytes(path: Path, n_dims: int) -> Array:
    """Read an IDX file of unsigned bytes with the given number of dimensions."""
    array = read_idx(path)
    if array.dtype != np.uint8:
        raise _bad(path, 2, f"wrong magic number: the items are {array.dtype}, not unsigned bytes")
    if array.ndim != n_dims:
        raise _bad(path, 3, f"wrong magic number: there are {array.ndim} dimensions, not {n_dims}")
    return array


def _find(folder: Path, name: str) -> Path:
    for candidate in (name, f"{name}.gz"):
        path = folder / candidate
        if path.is_file():
            return path
    raise FileNotFoundError(f"[load_mnist] {folder} has neither {name} nor {name}.gz")


def _bad(path: Path, byte: int, what: str) -> ValueError:
    return ValueError(f"[load_mnist] {path}, byte {byte}: {what}")

"""Data sets of handwritten digits: scikit-learn's 8 x 8 digits, and MNIST from IDX files in a folder."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Array

# The third byte of an IDX file -> dtype of its items, which are big-endian.
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_MNIST_SIDE = 28  # pixels
_READ_BYTES = 1 << 20
_MOST_DIMENSIONS = 64  # of a NumPy array
# Largest compression ratio of gzip: a match of 258 bytes takes at least two bits (RFC 1951), 258 * 8 / 2 = 1032.
_MOST_UNPACKED = 1032


class MNIST(NamedTuple):
    """Training and test set of MNIST: images as rows of 784 intensities in [0, 1], labels 0 to 9 as int64."""

    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array


def load_digits(dtype: npt.DTypeLike = np.float32) -> tuple[Array, Array]:
    """Load scikit-learn's 1797 handwritten digits of 8 x 8 pixels.

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
    """Load MNIST, or a data set in the same format such as Fashion-MNIST, from its four IDX files.

    Parameters
    ----------
    folder : path
        Folder that contains ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the two ``t10k-`` files, each
        plain or compressed with gzip (``.gz``). Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten
        digits".
    dtype : data-type, default=float32
        Dtype of the images.

    Returns
    -------
    MNIST
        ``(X_train, y_train, X_test, y_test)``; images have shape (n, 784), intensities in [0, 1].

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder or a file is missing, or `folder` is a file.
    ValueError
        If a file is damaged or does not contain MNIST images or labels; the message names the file and the byte.
    """
    folder = Path(folder)
    if not folder.is_dir():
        if folder.exists():
            raise NotADirectoryError(f"[load_mnist] {folder} is a file, not a folder")
        raise FileNotFoundError(f"[load_mnist] there is no folder {folder}")
    parts: list[Array] = []
    for images_name, labels_name in _MNIST_FILES.values():
        images_path, labels_path = _find(folder, images_name), _find(folder, labels_name)
        with _Idx(images_path, "load_mnist") as image_file, _Idx(labels_path, "load_mnist") as label_file:
            # The headers are checked before the items are read: a small gzip file may unpack to any size.
            _require_images_and_labels(image_file, label_file)
            images, labels = image_file.read(), label_file.read()
        if labels.size and labels.max() > 9:
            first = int(np.argmax(labels > 9))
            raise label_file.bad(8 + first, f"label {labels[first]} of image {first} is outside 0..9")
        pixels = images.reshape(len(images), -1).astype(dtype)
        pixels /= 255
        parts += [pixels, labels.astype(np.int64)]
    return MNIST(*parts)


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Read an array from an IDX file, plain or compressed with gzip (recognised by content, not by name).

    The format: two zero bytes, a byte for the dtype, a byte for the number of dimensions, each dimension as a
    big-endian unsigned 32-bit integer, then the items in C order, big-endian.

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
        If the file does not exist.
    ValueError
        If it is not an IDX file, is truncated or has extra bytes; the message names the file and the byte. Memory is
        allocated as the items are read, so that a damaged header cannot claim too much.
    """
    with _Idx(Path(path), "read_idx") as file:
        return file.read()


class _Idx:
    """Open IDX file whose header has been read.

    Parameters
    ----------
    path : path
        The file.
    function : str
        Name of the calling function, which error messages start with.

    Attributes
    ----------
    dtype : dtype
        Dtype of the items, big-endian.
    shape : tuple of int
        Shape of the array. A file whose length shows that it holds fewer items is already rejected.
    """

    def __init__(self, path: Path, function: str) -> None:
        self.path, self._function = path, function
        self._raw = path.open("rb")
        try:
            self._size = os.fstat(self._raw.fileno()).st_size
            self._is_gzip = self._raw.read(2) == b"\x1f\x8b"
            self._raw.seek(0)
            self._stream: Any = gzip.GzipFile(fileobj=self._raw) if self._is_gzip else self._raw
            self.dtype, self.shape = self._read_header()
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> _Idx:
        return self

    def __exit__(self, *error: object) -> None:
        self._raw.close()

    def bad(self, byte: int, what: str) -> ValueError:
        """Return a ValueError that names the file, the byte and the fault."""
        return ValueError(f"[{self._function}] {self.path}, byte {byte}: {what}")

    def _read_header(self) -> tuple[np.dtype[Any], tuple[int, ...]]:
        magic = self._read(4)
        if len(magic) < 4:
            raise self.bad(len(magic), "truncated: the file ends within the 4 bytes of the magic number")
        if magic[:2] != b"\0\0" or magic[2] not in _IDX_DTYPES or magic[3] == 0:
            raise self.bad(0, f"not an IDX file: the magic number is 0x{magic.hex()}")
        dtype, n_dims = np.dtype(_IDX_DTYPES[magic[2]]), magic[3]
        if n_dims > _MOST_DIMENSIONS:
            raise self.bad(3, f"there are {n_dims} dimensions, and arrays have {_MOST_DIMENSIONS} at most")
        header = self._read(4 * n_dims)
        if len(header) < 4 * n_dims:
            raise self.bad(4 + len(header), f"truncated: the file ends within the {n_dims} dimensions")
        shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
        self._start = 4 + len(header)
        self._expected = math.prod(shape) * dtype.itemsize
        needed = f"an array of shape {shape} needs {self._start + self._expected} bytes"
        if not self._is_gzip and self._start + self._expected > self._size:
            raise self.bad(self._size, f"truncated: the file ends here, but {needed}")
        if self._expected > _MOST_UNPACKED * self._size:
            raise self.bad(4, f"truncated: {needed}, more than {self._size} bytes of gzip can hold")
        return dtype, shape

    def read(self) -> Array:
        """Return the items, in native byte order."""
        data = self._read(self._expected + 1)
        end = self._start + len(data)
        if len(data) < self._expected:
            raise self.bad(
                end, f"truncated: the file ends here, {self._expected - len(data)} bytes too early"
            )
        if len(data) > self._expected:
            raise self.bad(end - 1, f"bytes are left over behind the array of shape {self.shape}")
        array: Array = np.frombuffer(data, self.dtype)
        if not array.dtype.isnative:
            array = array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))
        try:
            return array.reshape(self.shape)
        except ValueError as error:  # one dimension is 0, and the product of the others is too large
            raise self.bad(4, f"there is no array of shape {self.shape}: {error}") from error

    def _read(self, n: int) -> bytearray:
        """Read n bytes, or fewer at the end of the file."""
        data = bytearray()
        try:
            while len(data) < n and (part := self._stream.read(min(n - len(data), _READ_BYTES))):
                data += part
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            what = f"the gzip stream is damaged or truncated before here ({error})"
            raise self.bad(self._raw.tell(), what) from error
        return data


def _require_images_and_labels(images: _Idx, labels: _Idx) -> None:
    """Raise ValueError unless one file holds images of 28 x 28 bytes, and the other a label byte for each."""
    for file, n_dims in ((images, 3), (labels, 1)):
        if file.dtype != np.uint8:
            native = file.dtype.newbyteorder("=")
            raise file.bad(2, f"wrong magic number: the items are {native}, not unsigned bytes")
        if len(file.shape) != n_dims:
            raise file.bad(3, f"wrong magic number: there are {len(file.shape)} dimensions, not {n_dims}")
    n, *side = images.shape
    if n == 0:
        raise images.bad(4, "there are no images")
    if side != [_MNIST_SIDE, _MNIST_SIDE]:
        raise images.bad(8, f"images are {side[0]} x {side[1]} pixels, not 28 x 28")
    if labels.shape != (n,):
        raise labels.bad(4, f"there are {labels.shape[0]} labels, but {images.path.name} has {n} images")


def _find(folder: Path, name: str) -> Path:
    for candidate in (name, f"{name}.gz"):
        path = folder / candidate
        if path.is_file():
            return path
    raise FileNotFoundError(f"[load_mnist] {folder} has neither {name} nor {name}.gz")

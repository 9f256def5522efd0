"""Files of named tensors in the safetensors format, with a checksum.

A file is the length of its header (8 bytes, little-endian), the header (JSON: the tensors' names, dtypes, shapes and
places, and a table of strings), and the bytes of the tensors, without gaps, in C order and little-endian
(https://github.com/huggingface/safetensors). They are read straight into the arrays of a model, block by block.

The checksum is an entry of the table of strings: the CRC-32 of the whole file without the eight digits themselves. The
table and this entry come first, so that the digits are at the same place in every file.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from steepest._runtime.arrays import Array

_DTYPES = {
    "BOOL": np.dtype("?"),
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
# In bytes. Other readers of the format refuse longer headers.
_LONGEST_HEADER = 100_000_000
_MOST_DIMENSIONS = 64  # of NumPy's arrays
_BEFORE_CHECKSUM = b'{"__metadata__":{"checksum":"'
_CHECKSUM_DIGITS = 8
_BLOCK_BYTES = 1 << 20


class DamagedError(ValueError):
    """A file is no whole file of tensors; the message says why."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in an open file, which has not been read yet.

    Attributes
    ----------
    file : binary file
        Open for reading.
    start : int
        Position of its first byte.
    dtype : dtype
        Of its items, in native byte order.
    shape : tuple of int
        Its shape.
    """

    file: BinaryIO
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def read(self) -> Array:
        """Return the tensor as a new array."""
        array = np.empty(self.shape, self.dtype)
        self.read_into(array)
        return array

    def read_into(self, out: Array) -> None:
        """Read the tensor into a C-ordered array of its shape and dtype.

        Raises
        ------
        DamagedError
            The file has become shorter since its header was read.
        """
        items = out.reshape(-1)
        # A byte that is neither 0 nor 1 is no bool of NumPy's, but a number that can be made one.
        stored = np.dtype(np.uint8) if self.dtype == np.bool_ else self.dtype.newbyteorder("<")
        self.file.seek(self.start)
        step = _BLOCK_BYTES // stored.itemsize
        for begin in range(0, len(items), step):
            part = items[begin : begin + step]
            part[...] = np.frombuffer(_read(self.file, part.nbytes), stored)


def encode_tensors(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """Return a file as the parts to be written one after the other: its header, and the bytes of each array.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Arrays of bool, integers or floating point by name.
    metadata : mapping of str to str
        The table of strings. The checksum is added to it.

    Returns
    -------
    list of bytes and of memoryview
        The parts. Where it is possible, they are views of the tensors.

    Raises
    ------
    ValueError
        The header is too long for readers of the format.
    """
    # The widest items first, so that every tensor begins at a multiple of its item size.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))
    entries: dict[str, Any] = {"__metadata__": {"checksum": "0" * _CHECKSUM_DIGITS, **metadata}}
    parts: list[bytes | memoryview] = []
    end = 0
    for name, array in ordered:
        stored = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        begin, end = end, end + stored.nbytes
        entries[name] = {
            "dtype": _CODES[stored.dtype],
            "shape": list(stored.shape),
            "data_offsets": [begin, end],
        }
        parts.append(stored.reshape(-1).view(np.uint8).data)
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > _LONGEST_HEADER:
        raise ValueError(
            f"what is not tensors takes {len(header)} bytes, and the format has room for {_LONGEST_HEADER}"
        )
    place = 8 + len(_BEFORE_CHECKSUM)
    start = len(header).to_bytes(8, "little") + header
    before, after = start[:place], start[place + _CHECKSUM_DIGITS :]
    checksum = 0
    for part in [before, after, *parts]:
        checksum = zlib.crc32(part, checksum)
    return [before + _digits(checksum) + after, *parts]


def read_header(file: BinaryIO) -> tuple[dict[str, str], dict[str, StoredTensor]]:
    """Read the table of strings, and find the tensors.

    Memory grows with the length of the header alone, which is never longer than the file.

    Parameters
    ----------
    file : binary file
        Open for reading, at its beginning.

    Returns
    -------
    metadata : dict of str to str
        The table of strings.
    tensors : dict of str to StoredTensor
        The tensors by name. Each lies within the file.

    Raises
    ------
    DamagedError, ValueError, TypeError, KeyError, RecursionError
        The header is not one of this format.
    """
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(_read(file, 8), "little")
    if length > min(_LONGEST_HEADER, size - 8):
        raise DamagedError(f"its header would take {length} bytes")
    entries = json.loads(_read(file, length))
    metadata = entries.pop("__metadata__", {})
    if not all(isinstance(value, str) for value in metadata.values()):
        raise DamagedError("its table of strings holds something else")
    tensors, end = {}, 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
        if len(shape) > _MOST_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
            raise DamagedError(f"tensor {name} has no shape of an array")
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        if entry["data_offsets"] != [begin, end]:
            raise DamagedError(f"tensor {name} does not fit into its place")
        tensors[name] = StoredTensor(file, 8 + length + begin, dtype.newbyteorder("="), shape)
    if 8 + length + end != size:
        raise DamagedError(f"its tensors take {end} bytes, but {size - 8 - length} are there")
    return metadata, tensors


def verify_checksum(file: BinaryIO) -> bool:
    """Compare the checksum of a file with its content; return whether there is one.

    Raises
    ------
    DamagedError
        It is another.
    """
    file.seek(0)
    before, saved = file.read(8 + len(_BEFORE_CHECKSUM)), file.read(_CHECKSUM_DIGITS)
    if before[8:] != _BEFORE_CHECKSUM:
        return False
    checksum = zlib.crc32(before)
    while block := file.read(_BLOCK_BYTES):
        checksum = zlib.crc32(block, checksum)
    if saved != _digits(checksum):
        raise DamagedError(f"its checksum is {_digits(checksum).decode()}, but {ascii(saved)[1:]} was saved")
    return True


def _digits(checksum: int) -> bytes:
    return f"{checksum:0{_CHECKSUM_DIGITS}x}".encode()


def _read(file: BinaryIO, n: int) -> bytes:
    data = file.read(n)
    if len(data) != n:
        raise DamagedError(f"{n - len(data)} bytes are missing at its end")
    return data

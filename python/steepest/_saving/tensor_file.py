"""Files of named tensors in the safetensors format, with a checksum.

A file consists of three parts (https://github.com/huggingface/safetensors): the length of the header (8 bytes,
little-endian); the header, which is JSON with the tensors' names, dtypes, shapes and offsets, and a table of strings,
the metadata; and the bytes of the tensors, without gaps, in C order and little-endian. Tensors are read directly into
the arrays of a model, block by block.

The checksum is an entry of the metadata: the CRC-32 of the whole file without the eight digits of the checksum. The
metadata and this entry come first, so that the digits are at the same position in every file.
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
# Longest header in bytes: the limit of the safetensors library.
_LONGEST_HEADER = 100_000_000
_MOST_DIMENSIONS = 64  # of a NumPy array
_BEFORE_CHECKSUM = b'{"__metadata__":{"checksum":"'
_CHECKSUM_DIGITS = 8
_BLOCK_BYTES = 1 << 20


class DamagedError(ValueError):
    """A tensor file is damaged or incomplete; the message says why."""


@dataclass(frozen=True)
class StoredTensor:
    """Tensor in an open file, which has not been read yet.

    Attributes
    ----------
    file : binary file
        The file, open for reading.
    start : int
        Position of the tensor's first byte in the file.
    dtype : dtype
        Dtype of the tensor, in native byte order.
    shape : tuple of int
        Shape of the tensor.
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
            If the file has become shorter since its header was read.
        """
        items = out.reshape(-1)
        # Bools are read as uint8 and converted: a byte other than 0 and 1 is not a valid NumPy bool.
        stored = np.dtype(np.uint8) if self.dtype == np.bool_ else self.dtype.newbyteorder("<")
        self.file.seek(self.start)
        step = _BLOCK_BYTES // stored.itemsize
        for begin in range(0, len(items), step):
            part = items[begin : begin + step]
            part[...] = np.frombuffer(_read(self.file, part.nbytes), stored)


def encode_tensors(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """Return the content of a tensor file as a list of parts: its header, and the bytes of each array.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Arrays of bool, integers or floating point by name.
    metadata : mapping of str to str
        Strings of the header; the checksum is added to them.

    Returns
    -------
    list of bytes and of memoryview
        The parts, to be written in this order. If possible, they are views of the tensors.

    Raises
    ------
    ValueError
        If the header is longer than the format allows.
    """
    # Tensors with the widest items come first, so that every tensor starts at a multiple of its item size.
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
            f"the data other than tensors take {len(header)} bytes, but the format allows {_LONGEST_HEADER}"
        )
    place = 8 + len(_BEFORE_CHECKSUM)
    start = len(header).to_bytes(8, "little") + header
    before, after = start[:place], start[place + _CHECKSUM_DIGITS :]
    checksum = 0
    for part in [before, after, *parts]:
        checksum = zlib.crc32(part, checksum)
    return [before + _digits(checksum) + after, *parts]


def read_header(file: BinaryIO) -> tuple[dict[str, str], dict[str, StoredTensor]]:
    """Read the header of a tensor file: its metadata, and the positions of its tensors.

    Memory grows only with the length of the header, which is never longer than the file.

    Parameters
    ----------
    file : binary file
        The file, open for reading at its beginning.

    Returns
    -------
    metadata : dict of str to str
        Strings of the header.
    tensors : dict of str to StoredTensor
        Tensors by name; each lies within the file.

    Raises
    ------
    DamagedError, ValueError, TypeError, KeyError, RecursionError
        If the header does not follow the format.
    """
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(_read(file, 8), "little")
    if length > min(_LONGEST_HEADER, size - 8):
        raise DamagedError(f"its header would take {length} bytes")
    entries = json.loads(_read(file, length))
    metadata = entries.pop("__metadata__", {})
    if not all(isinstance(value, str) for value in metadata.values()):
        raise DamagedError("its metadata hold values that are not strings")
    tensors, end = {}, 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
        if len(shape) > _MOST_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
            raise DamagedError(f"tensor {name} has an invalid shape")
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        if entry["data_offsets"] != [begin, end]:
            raise DamagedError(f"tensor {name} does not fit its position in the file")
        tensors[name] = StoredTensor(file, 8 + length + begin, dtype.newbyteorder("="), shape)
    if 8 + length + end != size:
        raise DamagedError(f"its tensors take {end} bytes, but {size - 8 - length} are there")
    return metadata, tensors


def verify_checksum(file: BinaryIO) -> bool:
    """Compare the checksum in a file with its content; return whether the file has a checksum.

    Raises
    ------
    DamagedError
        If the content has another checksum.
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

"""Reading of IDX files: valid files are read, and errors name the file, the byte and the fault."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from backends import run_python
from memory import PEAK

from steepest import datasets

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "mnist"
NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def idx(array, code=0x08):
    header = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def digits(n, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A folder with four small files; the test set is compressed with gzip."""
    for part, n in (("train", 12), ("test", 5)):
        for kind, array in zip(("images", "labels"), digits(n, seed=n), strict=True):
            name, content = NAMES[f"{part}_{kind}"], idx(array)
            if part == "test":
                name, content = f"{name}.gz", gzip.compress(content)
            (tmp_path / name).write_bytes(content)
    return tmp_path


def test_load_mnist(folder, dtype):
    data = datasets.load_mnist(folder, dtype=dtype)
    images, labels = digits(12, seed=12)
    assert data.X_train.dtype == dtype
    assert data.y_train.dtype == np.int64
    assert data.X_train.flags.c_contiguous
    np.testing.assert_array_equal(data.X_train, images.reshape(12, 784).astype(dtype) / dtype(255))
    np.testing.assert_array_equal(data.y_train, labels)
    assert data.X_test.shape == (5, 784)
    assert data.X_test.max() <= 1


def test_the_real_files():
    if not FOLDER.is_dir():
        pytest.skip("the MNIST files are not in the folder beside the repository")
    data = datasets.load_mnist(FOLDER)
    assert data.X_train.shape == (60_000, 784)
    assert data.X_test.shape == (10_000, 784)
    assert data.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_load_digits(dtype):
    X, y = datasets.load_digits(dtype)
    assert X.shape == (1797, 64)
    assert X.dtype == dtype
    assert (X.min(), X.max()) == (0, 1)
    assert set(y.tolist()) == set(range(10))


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x08, "u1"), (0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")],
)
def test_every_dtype(tmp_path, code, dtype):
    array = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    (tmp_path / "x").write_bytes(idx(array, code))
    result = datasets.read_idx(tmp_path / "x")
    assert result.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(result, array)


IMAGES, LABELS = NAMES["train_images"], NAMES["train_labels"]


@pytest.mark.parametrize(
    ("name", "change", "byte", "message"),
    [
        (IMAGES, lambda c: b"", 0, "truncated: the file ends within the 4 bytes of the magic number"),
        (IMAGES, lambda c: b"\x89PNG" + c[4:], 0, "not an IDX file: the magic number is 0x89504e47"),
        (IMAGES, lambda c: c[:2] + b"\x07" + c[3:], 0, "not an IDX file: the magic number is 0x00000703"),
        (IMAGES, lambda c: c[:10], 10, "truncated: the file ends within the 3 dimensions"),
        (
            IMAGES,
            lambda c: c[:1000],
            1000,
            "truncated: the file ends here, but an array of shape (12, 28, 28) needs 9424",
        ),
        (IMAGES, lambda c: c + b"\0", 9424, "bytes are left over"),
        (IMAGES, lambda c: c[:4] + b"\xff" * 12 + c[16:], 9424, "truncated"),
        (
            IMAGES,
            lambda c: idx(np.zeros((12, 784), np.uint8)),
            3,
            "wrong magic number: there are 2 dimensions, not 3",
        ),
        (
            IMAGES,
            lambda c: idx(np.zeros((3, 28, 28), ">i4"), 0x0C),
            2,
            "wrong magic number: the items are int32",
        ),
        (
            IMAGES,
            lambda c: idx(np.zeros((12, 28, 27), np.uint8)),
            8,
            "images are 28 x 27 pixels, not 28 x 28",
        ),
        (IMAGES, lambda c: idx(np.zeros((0, 28, 28), np.uint8)), 4, "there are no images"),
        (
            LABELS,
            lambda c: idx(np.zeros((11,), np.uint8)),
            4,
            f"there are 11 labels, but {IMAGES} has 12 images",
        ),
        (LABELS, lambda c: c[:15] + b"\x0c" + c[16:], 15, "label 12 of image 7 is outside 0..9"),
        (LABELS, lambda c: gzip.compress(c)[:-6], 24, "the gzip stream is damaged or truncated"),
    ],
)
def test_what_is_wrong_is_named(folder, name, change, byte, message):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    where = r"\d+" if "gzip" in message else byte
    with pytest.raises(
        ValueError, match=rf"^\[load_mnist\] {re.escape(str(path))}, byte {where}: {re.escape(message)}"
    ):
        datasets.load_mnist(folder)


def test_a_corrupt_gzip_stream(folder):
    path = folder / f"{NAMES['test_images']}.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}, byte \d+: "):
        datasets.load_mnist(folder)


def test_a_header_that_asks_for_more_than_the_file_can_hold(tmp_path):
    """Such a file is rejected before it is decompressed and before memory is allocated."""
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(struct.pack(">BBBB2I", 0, 0, 8, 2, 2**31, 2**31) + bytes(10**6)))
    with pytest.raises(
        ValueError, match=rf"^\[read_idx\] {re.escape(str(path))}, byte 4: truncated: .*of gzip can"
    ):
        datasets.read_idx(path)
    path.write_bytes(struct.pack(">BBBB2I", 0, 0, 8, 2, 2**31, 2**31))
    with pytest.raises(ValueError, match=rf"byte {path.stat().st_size}: truncated: the file ends here"):
        datasets.read_idx(path)


@pytest.mark.parametrize("part", [0, 1], ids=["images", "labels"])
def test_images_and_labels_are_compared_before_they_are_unpacked(folder, part, monkeypatch):
    """One file is a decompression bomb: small with gzip, but with far more items than the other file."""
    path = folder / f"{list(NAMES.values())[2 + part]}.gz"
    n = 20_000
    path.write_bytes(gzip.compress(idx(np.zeros((n, 28, 28) if part == 0 else n, np.uint8))))
    unpacked = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, n: unpacked.append(read(self, n)) or unpacked[-1])
    with pytest.raises(ValueError, match=r"there are \d+ labels, but .* images"):
        datasets.load_mnist(folder)
    assert sum(map(len, unpacked)) < 100


def test_memory_is_that_of_the_array(tmp_path):
    """A small compressed file with a large array takes the memory of this array only once."""
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(idx(np.zeros((64, 1 << 20), np.uint8))))
    run_python(
        f"""{PEAK}
from steepest import datasets
before = peak()
array = datasets.read_idx({str(path)!r})
assert array.shape == (64, 1 << 20) and array.flags.writeable
assert peak() - before < 1.5 * array.nbytes
"""
    )


@pytest.mark.parametrize(
    ("shape", "byte", "message"),
    [
        ((1,) * 65, 3, "there are 65 dimensions, and arrays have 64 at most"),
        ((0,) + (2**32 - 1,) * 5, 4, "there is no array of shape (0, 4294967295"),
    ],
)
def test_shapes_that_no_array_has(tmp_path, shape, byte, message):
    path = tmp_path / "x"
    path.write_bytes(struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + b"\0")
    if 0 in shape:
        path.write_bytes(path.read_bytes()[:-1])
    pattern = rf"^\[read_idx\] {re.escape(str(path))}, byte {byte}: {re.escape(message)}"
    with pytest.raises(ValueError, match=pattern):
        datasets.read_idx(path)


def test_missing_files(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^\[load_mnist\] there is no folder .*nowhere"):
        datasets.load_mnist(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"^\[load_mnist\] .* is a file, not a folder"):
        datasets.load_mnist(folder / LABELS)
    (folder / LABELS).unlink()
    with pytest.raises(FileNotFoundError, match=rf"has neither {LABELS} nor {LABELS}\.gz"):
        datasets.load_mnist(folder)

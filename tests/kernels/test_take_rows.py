"""`take_rows` and `put_rows`: rows gathered by index, and put into places, for every dtype."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import pytest
from backends import LAYOUTS, GuardedOutput, lay_out

import steepest
from steepest import kernels as K

NAMES = "float32 float64 int8 uint8 int16 int32 int64 uint64 bool complex64 complex128"


@pytest.mark.parametrize("any_dtype", NAMES.split())
@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 3), (60, 33), (1, 7)], ids=str)
def test_every_dtype(rng, any_dtype, shape):
    x = rng.integers(0, 100, shape).astype(any_dtype)
    indices = rng.integers(0, len(x), 41)
    rows = K.take_rows(x, indices)
    assert rows.dtype == x.dtype
    assert (rows == x[indices]).all()


CONTIGUOUS_ROWS = ("c", "offset", "at_end", "columns")


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((50,), layout) for layout in LAYOUTS] + [((50, 19), layout) for layout in CONTIGUOUS_ROWS],
    ids=str,
)
def test_layouts(rng, dtype, layout, shape):
    x = rng.standard_normal(shape).astype(dtype)
    indices = rng.permutation(50)[:31]
    out = GuardedOutput((31, *shape[1:]), dtype, layout)
    assert K.take_rows(lay_out(x, layout), lay_out(indices, layout), out=out.view) is out.view
    assert (out.view == x[indices]).all()
    out.assert_margin_untouched()
    assert (K.take_rows(lay_out(x, layout), lay_out(indices, layout)) == x[indices]).all()


def test_rows_in_any_order(rng, dtype):
    x, indices = rng.standard_normal((50, 19)).astype(dtype), rng.permutation(50)
    out = np.zeros((50, 19), dtype)
    K.take_rows(x[::-2], indices[indices < 25][::-1], out=out[::-1][:25])
    assert (out[::-1][:25] == x[::-2][indices[indices < 25][::-1]]).all()
    assert (out[:25] == 0).all()


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in CONTIGUOUS_ROWS])
def test_rows_must_be_contiguous(rng, dtype, layout):
    x = rng.standard_normal((50, 19)).astype(dtype)
    indices = rng.permutation(50)
    with pytest.raises(ValueError, match=r"^\[take_rows\] .*x must be contiguous"):
        K.take_rows(lay_out(x, layout), indices)
    with pytest.raises(ValueError, match=r"^\[take_rows\] .*out must be contiguous"):
        K.take_rows(x, indices, out=lay_out(x, layout))


@pytest.mark.parametrize("start", [0, 1, 30, 59, 60])
def test_start(rng, start):
    x = rng.standard_normal((70, 5))
    indices = rng.permutation(70)[:60]
    assert (K.take_rows(x, indices, start=start) == x[indices[start:]]).all()
    length = min(10, 60 - start)
    out = np.full((length, 5), np.nan)
    K.take_rows(x, indices, out=out, start=start)
    assert (out == x[indices[start : start + length]]).all()


def test_start_from_an_array(rng):
    x = rng.standard_normal((70, 5))
    indices = rng.permutation(70)
    cursor, out = np.array(0), np.empty((7, 5))
    for begin in range(0, 70, 7):
        cursor[...] = begin
        K.take_rows(x, indices, out=out, start=cursor)
        assert (out == x[indices[begin : begin + 7]]).all()
        assert cursor == begin


def test_large(rng, dtype, threads):
    x = rng.standard_normal((5000, 97)).astype(dtype)
    indices = rng.integers(0, 5000, 4000)
    assert (K.take_rows(x, indices) == x[indices]).all()


def test_nothing_to_take(dtype):
    assert K.take_rows(np.ones((5, 3), dtype), np.zeros(0, np.int64)).shape == (0, 3)
    assert K.take_rows(np.ones((5, 0), dtype), np.zeros(4, np.int64)).shape == (4, 0)


def test_bits_are_kept():
    x = np.array([[np.nan, -0.0, np.inf]] * 3)
    x.view(np.uint64)[1, 0] |= 0xABC  # a NaN payload
    assert K.take_rows(x, np.array([1, 0])).tobytes() == x[[1, 0]].tobytes()


@pytest.mark.parametrize(("index", "position"), [(70, 3), (60, 0), (-1, 5), (-60, 2), (2**62, 4)])
def test_index_out_of_range(index, position):
    indices = np.arange(6)
    indices[position] = index
    out = np.full((6, 2), 7.0)
    with pytest.raises(
        IndexError, match=rf"^\[take_rows\] index {index} at position {position} is outside 0\.\.59"
    ):
        K.take_rows(np.ones((60, 2)), indices, out=out)
    assert (out == 7.0).all()


@pytest.mark.parametrize("start", [-1, 3, 100, 2**63 - 1])
@pytest.mark.parametrize("as_array", [False, True], ids=["int", "array"])
def test_start_out_of_range(start, as_array):
    out = np.full((4, 2), 7.0)
    with pytest.raises((IndexError, ValueError), match=r"^\[take_rows\] "):
        K.take_rows(np.ones((60, 2)), np.arange(6), out=out, start=np.array(start) if as_array else start)
    assert (out == 7.0).all()


class Counted:
    """An object whose reference count the test checks."""


@pytest.mark.not_on_gpu("CuPy has no object arrays")
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize(
    "references",
    [object, [("weight", "f8"), ("who", object)], [("pair", object, (2,))], np.dtypes.StringDType()],
    ids=str,
)
def test_references_are_not_moved_as_bytes(references, captured):
    whole = np.zeros(4, references)
    item = Counted()
    if whole.dtype.names:
        whole[whole.dtype.names[-1]] = item
    elif whole.dtype == object:
        whole[:] = item
    before = sys.getrefcount(item)
    for out in (None, np.zeros(3, references)):
        refused = pytest.raises(TypeError, match=r"^\[take_rows\] x has dtype .* references")
        with steepest.capture() if captured else contextlib.nullcontext(), refused:
            K.take_rows(whole, np.array([0, 0, 1]), out)
    assert sys.getrefcount(item) == before


def test_records_without_references_are_moved():
    x = np.array([(1, 2.5), (3, 4.5)], [("a", "i4"), ("b", "f8")])
    assert (K.take_rows(x, np.array([1, 1, 0])) == x[[1, 1, 0]]).all()


# A small batch is checked by the kernel that copies it, a large one by a kernel before.
@pytest.mark.parametrize("n", [40, 40_000])
def test_a_bad_index_further_down_than_there_are_columns(n):
    indices = np.zeros(n, np.int64)
    indices[n - 3] = 9
    with pytest.raises(IndexError, match=rf"^\[take_rows\] index 9 at position {n - 3} is outside 0\.\.4"):
        K.take_rows(np.zeros((5, 2), np.float32), indices)


# --------------------------------------------------------------------------------------------------- put_rows


@pytest.mark.parametrize("any_dtype", NAMES.split())
@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 3), (60, 33), (60, 300), (1, 7)], ids=str)
def test_rows_are_put_into_their_places(rng, any_dtype, shape, threads):
    out = rng.integers(0, 100, shape).astype(any_dtype)
    indices = rng.permutation(len(out))[: 1 + len(out) // 2]
    x = rng.integers(0, 100, (len(indices), *shape[1:])).astype(any_dtype)
    expected = out.copy()
    expected[indices] = x
    assert K.put_rows(x, indices, out) is out
    assert out.tobytes() == expected.tobytes()
    assert K.take_rows(out, indices).tobytes() == x.tobytes()


def test_rows_are_put_at_a_cursor(rng, dtype):
    places, cursor, out = rng.permutation(30).astype(np.int32), np.array(0), np.zeros((30, 5), dtype)
    x = rng.standard_normal((3, 5)).astype(dtype)
    with steepest.capture() as graph:
        K.put_rows(x, places, out[::-1], start=cursor)
        K.increment(cursor, by=3)
    graph.replay(4)
    expected = np.zeros((30, 5), dtype)
    expected[places[:12]] = np.tile(x, (4, 1))
    assert (out[::-1] == expected).all()
    assert (K.put_rows(x, places, out, start=27)[places[27:]] == x).all()


@pytest.mark.parametrize("n", [5, 40_000])
def test_nothing_is_put_if_a_place_is_wrong(n):
    out, places = np.full((n, 2), 7.0), np.arange(n)
    for index, position in ((n, n - 1), (-1, 2)):
        places[position] = index
        with pytest.raises(
            IndexError, match=rf"^\[put_rows\] index {index} at position {position} is outside 0\.\.{n - 1}"
        ):
            K.put_rows(np.ones((n, 2)), places, out)
    assert (out == 7.0).all()
    places = np.arange(4)
    for start in (-1, 1, np.array(1)):
        with pytest.raises((IndexError, ValueError), match=r"^\[put_rows\] "):
            K.put_rows(np.ones((4, 2)), places, out, start=start)
    assert (out == 7.0).all()


def test_rows_that_cannot_be_put():
    places, out = np.arange(2), np.zeros((3, 2))
    for x, into, error, text in (
        (np.ones((2, 3)), out, ValueError, r"out has shape \(3, 2\), but x has shape \(2, 3\)"),
        (np.ones((2, 2), np.float32), out, TypeError, "out has dtype float64, but x has float32"),
        (np.ones((3, 2)), out, ValueError, "x has 3 rows, but there are only 2 indices"),
        (np.ones((2, 2)), np.zeros((3, 4))[:, ::2], ValueError, "the rows of out must be contiguous"),
        (out[:2], out, ValueError, "overlap|share"),
    ):
        with pytest.raises(error, match=rf"^\[put_rows\] .*({text})"):
            K.put_rows(x, places, into)
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"^\[put_rows\] out is read-only|not writeable|writeable"):
        K.put_rows(np.ones((2, 2)), places, out)

"""`take_sparse_rows`: rows of CSR matrices as dense mini-batches."""

from __future__ import annotations

import numpy as np
import pytest
from backends import LAYOUTS, GuardedOutput, identical, lay_out

import steepest
from steepest import kernels as K

scipy_sparse = pytest.importorskip("scipy.sparse")


def random_csr(rng, dtype, n, d, density=0.3, index=np.int32):
    matrix = scipy_sparse.random_array((n, d), density=density, format="csr", rng=rng, dtype=np.float64)
    return (
        matrix.data.astype(dtype),
        matrix.indices.astype(index),
        matrix.indptr.astype(index),
        matrix.toarray(),
    )


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(1, 1), (9, 31), (40, 33), (70, 64), (30, 3)], ids=str)
def test_rows(rng, dtype, shape, layout, index):
    data, indices, indptr, dense = random_csr(rng, dtype, *shape, index=index)
    rows = rng.integers(0, shape[0], 37)
    out = GuardedOutput((37, shape[1]), dtype, layout)
    arrays = [lay_out(a, layout) for a in (data, indices, indptr, rows)]
    assert K.take_sparse_rows(*arrays, out.view) is out.view
    out.assert_margin_untouched()
    assert (out.view == dense[rows].astype(dtype)).all()


def test_index_dtypes_may_differ(rng):
    data, indices, indptr, dense = random_csr(rng, np.float64, 20, 11)
    out = np.empty((20, 11))
    K.take_sparse_rows(data, indices.astype(np.int64), indptr, np.arange(20), out)
    assert (out == dense).all()


def test_repeated_columns_are_added_up_in_order(dtype):
    data = np.array([1e8, 1.0, -1e8, 0.5, 7.0, 2.0], dtype)
    out = np.empty((2, 40), dtype)
    K.take_sparse_rows(data, np.array([33, 33, 33, 33, 2, 1]), np.array([0, 4, 6]), np.array([0, 1]), out)
    expected = np.zeros((2, 40), dtype)
    for value in data[:4]:
        expected[0, 33] += value
    expected[1, [2, 1]] = [7.0, 2.0]
    assert (out == expected).all()


@pytest.mark.parametrize("start", [0, 1, 30, 53, 60])
def test_start(rng, start):
    data, indices, indptr, dense = random_csr(rng, np.float64, 70, 5)
    rows = rng.permutation(70)[:60]
    out = np.full((min(7, 60 - start), 5), np.nan)
    K.take_sparse_rows(data, indices, indptr, rows, out, start=start)
    assert (out == dense[rows[start : start + len(out)]]).all()


def test_an_epoch_is_captured(rng):
    data, indices, indptr, dense = random_csr(rng, np.float32, 70, 13)
    rows = rng.permutation(70)
    cursor, out = np.array(0), np.empty((7, 13), np.float32)
    with steepest.capture() as graph:
        K.take_sparse_rows(data, indices, indptr, rows, out, start=cursor)
        K.increment(cursor, 7)
    for begin in range(0, 70, 7):
        graph.replay()
        assert (out == dense[rows[begin : begin + 7]].astype(np.float32)).all()


def test_large(rng, dtype, threads):
    data, indices, indptr, dense = random_csr(rng, dtype, 3000, 97, 0.1)
    rows = rng.integers(0, 3000, 4000)
    out = np.empty((4000, 97), dtype)
    assert identical(K.take_sparse_rows(data, indices, indptr, rows, out), dense[rows].astype(dtype))


def test_bits_are_kept():
    data = np.array([np.nan, np.inf, -1.0])
    out = np.empty((1, 4))
    K.take_sparse_rows(data, np.array([0, 1, 3]), np.array([0, 3]), np.array([0]), out)
    np.testing.assert_array_equal(out, [[np.nan, np.inf, 0.0, -1.0]])


def test_nothing_to_take(dtype):
    none = np.zeros(0, np.int32)
    nothing = np.zeros(0, dtype)
    for shape, rows in [((0, 3), []), ((2, 3), [0, 0]), ((2, 0), [0, 0])]:
        out = np.full(shape, 7.0, dtype)
        K.take_sparse_rows(nothing, none, np.zeros(2, np.int32), np.array(rows, np.int64), out)
        assert (out == 0).all()


def fresh():
    """Make a CSR matrix of three rows and four columns, the rows to take, and an output that no error may change."""
    return {
        "data": np.arange(6.0),
        "indices": np.array([0, 3, 1, 2, 0, 1]),
        "indptr": np.array([0, 2, 4, 6]),
        "rows": np.array([2, 0, 1]),
        "out": np.full((3, 4), 7.0),
    }


@pytest.mark.parametrize(
    ("name", "position", "value", "error", "text"),
    [
        ("rows", 1, 3, IndexError, r"index 3 at position 1 is outside 0\.\.2"),
        ("rows", 0, -1, IndexError, r"index -1 at position 0 is outside 0\.\.2"),
        ("indices", 3, 4, IndexError, r"column 4 of item 3 is outside 0\.\.3"),
        ("indices", 5, -1, IndexError, r"column -1 of item 5 is outside 0\.\.3"),
        ("indices", 0, 2**40, IndexError, rf"column {2**40} of item 0 is outside 0\.\.3"),
        ("indptr", 0, -1, ValueError, r"indptr is -1 at position 0: .* 0\.\.6"),
        ("indptr", 1, 5, ValueError, r"indptr is 4 at position 2: it must not decrease"),
        ("indptr", 3, 7, ValueError, r"indptr is 7 at position 3: .* 0\.\.6"),
        ("indptr", 3, 3, ValueError, r"indptr is 3 at position 3: it must not decrease"),
    ],
)
def test_bad_data(name, position, value, error, text, threads):
    arguments = fresh()
    arguments[name][position] = value
    with pytest.raises(error, match=rf"^\[take_sparse_rows\] {text}"):
        K.take_sparse_rows(**arguments)
    assert (arguments["out"] == 7.0).all()


def test_the_first_bad_row_is_named(rng, threads):
    data, indices, indptr, _ = random_csr(rng, np.float64, 500, 60)
    rows = np.arange(500)
    rows[[477, 123, 124]] = [-1, 1000, 2000]
    with pytest.raises(IndexError, match=r"index 1000 at position 123"):
        K.take_sparse_rows(data, indices, indptr, rows, np.empty((500, 60)))


@pytest.mark.parametrize("bad", [0, 1, 250, 499])
def test_a_bad_row_is_found_wherever_it_is(rng, threads, bad):
    data, indices, indptr, _ = random_csr(rng, np.float64, 500, 60)
    rows = np.arange(500)
    rows[bad] = -1
    with pytest.raises(IndexError, match=rf"index -1 at position {bad} "):
        K.take_sparse_rows(data, indices, indptr, rows, np.empty((500, 60)))


def test_what_is_not_taken_is_not_looked_at():
    arguments = fresh()
    arguments["indices"][5] = 99
    arguments["rows"][0] = 1
    K.take_sparse_rows(**arguments)


@pytest.mark.parametrize("start", [-1, 2, 2**63 - 1])
@pytest.mark.parametrize("as_array", [False, True], ids=["int", "array"])
def test_start_out_of_range(start, as_array):
    arguments = fresh()
    arguments["out"] = arguments["out"][:2]
    with pytest.raises(IndexError, match=r"^\[take_sparse_rows\] 2 rows from position"):
        K.take_sparse_rows(**arguments, start=np.array(start) if as_array else start)
    assert (arguments["out"] == 7.0).all()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("indices", np.array([0, 3, 1]), ValueError),
        ("indptr", np.zeros(0, np.int32), ValueError),
        ("rows", np.array([0, 1]), ValueError),
        ("rows", np.array([2.0, 0.0, 1.0]), TypeError),
        ("indices", np.zeros(6, np.uint32), TypeError),
        ("indptr", np.zeros(4, np.int16), TypeError),
        ("data", np.arange(6), TypeError),
        ("data", np.arange(6, dtype=np.float32), TypeError),
        ("out", None, TypeError),
    ],
)
def test_bad_arguments(name, value, error):
    arguments = fresh()
    out = arguments["out"]
    with pytest.raises(error, match=r"^\[take_sparse_rows\] "):
        K.take_sparse_rows(**{**arguments, name: value})
    assert (out == 7.0).all()

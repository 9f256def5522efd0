"""`embedding_backward` against the product with one-hot rows, and bit for bit against additions one after the other."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, check, identical, on_each_number_of_threads

import steepest
from steepest import kernels as K

INTEGERS = sorted({np.dtype(code).name for code in np.typecodes["AllInteger"]})


def into_table(table, *, accumulate=False):
    """The kernel with an output that may be left out."""

    def embedding_backward(d_out, ids, out=None):
        out = np.empty_like(table) if out is None else out
        out[...] = table  # what a call without `accumulate` has to overwrite
        return K.embedding_backward(d_out, ids, out, accumulate=accumulate)

    return embedding_backward


def added_one_by_one(d_out, ids, table):
    table = table.copy()
    np.add.at(table, ids, d_out)
    return table


# (rows of d_out, columns, rows of the table): one and several tiles of ids, one to three digits of them.
SHAPES = [(1, 1, 1), (40, 19, 7), (7, 1, 300), (300, 33, 5), (1025, 2, 700), (60, 3, 70_000), (33, 70, 256)]


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize(("n", "d", "rows"), SHAPES, ids=str)
def test_sums(rng, dtype, n, d, rows, accumulate):
    d_out, table = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((rows, d)).astype(dtype)
    # Some ids are frequent, others rare or absent.
    ids = np.minimum(rng.integers(0, rows, n), rng.integers(0, rows, n))
    options = {"out": table, "accumulate": accumulate}
    expected = reference.embedding_backward(d_out, ids, **options)
    tolerance = tolerances.embedding_backward(dtype, d_out, ids, **options)
    layouts = ("c", "reversed") if rows > 1000 else LAYOUTS
    function = into_table(table, accumulate=accumulate)
    check(function, (d_out, ids), ("out",), [expected], [tolerance], layouts=layouts)
    start = table if accumulate else np.zeros_like(table)
    assert identical(function(d_out, ids), added_one_by_one(d_out, ids, start))


@pytest.mark.parametrize("integer", INTEGERS)
def test_integers_of_any_width(rng, integer):
    ids, table = rng.integers(0, 100, 50).astype(integer), rng.standard_normal((100, 3))
    rows = K.take_rows(table, ids)
    assert identical(rows, table[ids])
    assert identical(
        K.embedding_backward(rows, ids, table.copy()), added_one_by_one(rows, ids, np.zeros((100, 3)))
    )


def test_transpose_of_take_rows(rng):
    """<table[ids], d> = <table, backward(d)>."""
    table, ids = rng.standard_normal((30, 8)), rng.integers(0, 30, 200)
    d_out = rng.standard_normal((200, 8))
    gradient = K.embedding_backward(d_out, ids, np.empty_like(table))
    np.testing.assert_allclose(np.vdot(K.take_rows(table, ids), d_out), np.vdot(table, gradient), rtol=1e-12)


def test_rows_that_no_id_names(rng, dtype):
    table = rng.standard_normal((9, 4)).astype(dtype)
    d_out, ids = np.ones((3, 4), dtype), np.array([4, 2, 4])
    gradient = K.embedding_backward(d_out, ids, table.copy())
    assert (gradient == np.array([0, 0, 1, 0, 2, 0, 0, 0, 0])[:, None]).all()
    kept = np.full((9, 4), np.nan, dtype)
    K.embedding_backward(d_out, ids, kept, accumulate=True)
    assert np.isnan(kept).all()


def test_nothing_to_add(dtype):
    none = np.zeros(0, np.int64)
    assert (K.embedding_backward(np.ones((0, 3), dtype), none, np.ones((5, 3), dtype)) == 0).all()
    assert K.embedding_backward(np.ones((4, 0), dtype), np.zeros(4, int), np.ones((5, 0), dtype)).size == 0
    assert K.embedding_backward(np.ones((0, 3), dtype), none, np.ones((0, 3), dtype)).shape == (0, 3)


@pytest.mark.cpu_only("a GPU has no teams")
@pytest.mark.parametrize("d", [3, 200])
def test_threads_change_nothing(rng, dtype, d):
    d_out, ids = rng.standard_normal((6000, d)).astype(dtype), rng.integers(0, 40, 6000)
    results = [K.embedding_backward(d_out, ids, np.ones((50, d), dtype)) for _ in on_each_number_of_threads()]
    assert all(identical(r, results[0]) for r in results)


def test_replay(rng, dtype):
    d_out, ids = rng.standard_normal((20, 5)).astype(dtype), rng.integers(0, 6, 20)
    out = np.empty((6, 5), dtype)
    with steepest.capture() as graph:
        K.embedding_backward(d_out, ids, out)
    for _ in range(2):
        d_out[...], ids[...] = rng.standard_normal(d_out.shape), rng.integers(0, 6, 20)
        graph.replay()
        assert identical(out, added_one_by_one(d_out, ids, np.zeros_like(out)))


# A few ids, and more than one block checks.
@pytest.mark.parametrize("n", [6, 6000])
@pytest.mark.parametrize("bad", [-1, 60, 2**40])
def test_id_out_of_range(n, bad):
    ids, out = np.zeros(n, np.int64), np.full((60, 2), 7.0)
    ids[[3, n - 1]] = bad
    message = rf"^\[embedding_backward\] index {bad} at position 3 is outside 0\.\.59"
    with pytest.raises(IndexError, match=message):
        K.embedding_backward(np.ones((n, 2)), ids, out)
    assert (out == 7.0).all()


D, IDS, TABLE = np.ones((3, 4), np.float32), np.zeros(3, np.int64), np.ones((5, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: K.embedding_backward(D, IDS[:2], TABLE),
            ValueError,
            "ids has 2 items, but d_out has 3 rows",
        ),
        (
            lambda: K.embedding_backward(D[:, :2], IDS, TABLE),
            ValueError,
            "out has 4 columns, but d_out has 2",
        ),
        (lambda: K.embedding_backward(D, IDS * 1.0, TABLE), TypeError, "ids has dtype float64"),
        (lambda: K.embedding_backward(D, IDS[:, None], TABLE), ValueError, "ids must be 1-D"),
        (lambda: K.embedding_backward(D, IDS, None), TypeError, "out"),
        (lambda: K.embedding_backward(D, IDS, TABLE.astype(float)), TypeError, "out has dtype float64"),
        (lambda: K.embedding_backward(TABLE[:3], IDS, TABLE), ValueError, "out overlaps d_out"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=rf"^\[embedding_backward\] .*{re.escape(message)}"):
        call()
    assert (TABLE == 1).all()

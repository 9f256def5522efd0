"""`cumsum` against NumPy's in float64: layouts, lengths around the block sizes, threads, replay."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import assert_close, check, identical

import steepest
from steepest import kernels as K


def assert_agrees(out, x, axis):
    assert_close(out, reference.cumsum(x, axis), tolerances.cumsum(x.dtype, x, axis), "out")


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (70, 33), (3, 130)], ids=str)
def test_layouts(rng, dtype, shape, axis):
    x = rng.standard_normal(shape).astype(dtype)
    expected, tolerance = reference.cumsum(x, axis), tolerances.cumsum(dtype, x, axis)
    check(K.cumsum, (x,), ("out",), [expected], [tolerance], axis=axis)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 31, 32, 33, 1023, 1024, 1025, 4096, 4097, 8191, 12289])
def test_lengths(rng, dtype, size):
    """Lengths around the sizes of vectors, warps and blocks of a long row, on both devices."""
    x = rng.standard_normal(size).astype(dtype)
    assert_agrees(K.cumsum(x), x, None)
    assert_agrees(K.cumsum(x, axis=-1), x, None)
    assert_agrees(K.cumsum(np.repeat(x, 2)[::2]), x, None)


@pytest.mark.parametrize("shape", [(3, 5000), (5000, 3), (65, 4100), (4100, 70)], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_long_rows_in_pieces(rng, dtype, shape, axis):
    x = rng.standard_normal(shape).astype(dtype)
    assert_agrees(K.cumsum(x, axis), x, axis)
    assert_agrees(K.cumsum(np.asfortranarray(x), axis), x, axis)


def test_all_items(rng, dtype):
    x = rng.standard_normal((40, 30)).astype(dtype)
    out = K.cumsum(x)
    assert out.shape == (1200,)
    assert_agrees(out, x, None)


def test_in_place(rng, dtype):
    x = rng.standard_normal((9, 5000)).astype(dtype)
    expected = K.cumsum(x, axis=1)
    assert K.cumsum(x, axis=1, out=x) is x
    assert identical(x, expected)


@pytest.mark.cpu_only("a GPU has no thread teams")
def test_threads_change_nothing(rng, dtype):
    before = steepest.get_num_threads()
    results = []
    try:
        for shape in ((1, 200_001), (3, 60_000), (300, 700)):
            x = rng.standard_normal(shape).astype(dtype)
            for axis in (0, 1):
                for threads in (1, 2, 3):
                    steepest.set_num_threads(threads)
                    results.append(K.cumsum(x, axis))
                assert identical(results[-1], results[-2])
                assert identical(results[-2], results[-3])
    finally:
        steepest.set_num_threads(before)


def test_not_finite(dtype):
    x = np.array([1.0, np.inf, 2.0, -np.inf, 3.0, 4.0], dtype)
    np.testing.assert_array_equal(K.cumsum(x), np.array([1, np.inf, np.inf, np.nan, np.nan, np.nan], dtype))


def test_small_numbers_are_not_lost(dtype):
    """Adding ones to 2**24 would change nothing in float32."""
    x = np.ones(64, dtype)
    x[0] = 2.0**24
    assert K.cumsum(x)[-1] == dtype(2.0**24 + 63)


def test_replay(rng, dtype):
    x = rng.standard_normal((2, 9000)).astype(dtype)
    out = np.empty_like(x)
    with steepest.capture() as graph:
        K.cumsum(x, axis=1, out=out)
    x[...] = rng.standard_normal(x.shape)
    graph.replay()
    assert identical(out, K.cumsum(x, axis=1))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"axis": 2}, ValueError),
        ({"axis": 1.0}, TypeError),
        ({"x": np.ones((2, 3, 4), np.float32), "axis": 1}, ValueError),
        ({"x": np.ones((4, 6), np.float32)[:, ::2], "axis": None}, ValueError),
        ({"x": np.ones((4, 6), np.int64)}, TypeError),
        ({"out": np.ones((4, 5), np.float32)}, ValueError),
        ({"out": np.ones((4, 6))}, TypeError),
    ],
    ids=str,
)
def test_errors(changes, error):
    with pytest.raises(error, match=r"^\[cumsum\] "):
        K.cumsum(**{"x": np.ones((4, 6), np.float32), "axis": 1, **changes})

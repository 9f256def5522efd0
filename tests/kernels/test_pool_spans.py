"""`pool_spans` with its gradient and derivative, against loops over sequences."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, check, identical, on_each_number_of_threads
from by_kernel.spans import random_spans

import steepest
from steepest import kernels as K

MODES = ("mean", "last", "max")
# (lengths of the sequences, columns): empty sequences, columns around blocks and vectors, many sequences.
SHAPES = [
    ((5, 0, 3), 7),
    ((1,) * 30, 3),
    ((), 4),
    ((0, 0), 3),
    ((70, 2), 64),
    ((9, 4, 5), 65),
    ((6,), 130),
    ((300,), 1),
]


def pooled(mode):
    """`pool_spans` in a mode, which also returns the rows of the maxima."""

    def pool_spans(x, spans, sequences=1, out=None, index=None):
        n = sequences if spans is None else len(spans)
        if mode != "max":
            return K.pool_spans(x, spans, sequences, mode, out)
        index = np.full((n, x.shape[1]), 77) if index is None else index
        return K.pool_spans(x, spans, sequences, mode, out, index), index

    return pool_spans


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("lengths", "d"), SHAPES, ids=str)
def test_pooling(rng, dtype, lengths, d, mode):
    """Small integers give many ties."""
    spans, rows = random_spans(rng, lengths, 2)
    for x in (rng.standard_normal((rows, d)), rng.integers(-2, 3, (rows, d))):
        x = x.astype(dtype)
        expected = [reference.pool_spans(x, spans, mode=mode)]
        tolerance = [tolerances.pool_spans(dtype, x, spans, mode=mode)]
        if mode == "max":
            expected, tolerance = [*expected, reference.rows_of_maxima(x, spans)], [*tolerance, 0]
        names = ("out", "index")[: len(expected)]
        layouts = LAYOUTS if expected[0].size else ("c",)
        check(pooled(mode), (x, spans), names, expected, tolerance, layouts=layouts)
        if mode == "max":  # without the index
            assert identical(K.pool_spans(x, spans, mode=mode), pooled(mode)(x, spans)[0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("rows", "sequences"), [(12, 3), (12, 1), (12, 12), (0, 2), (0, 0)])
def test_equal_sequences(rng, dtype, rows, sequences, mode):
    x = rng.standard_normal((rows, 5)).astype(dtype)
    expected = reference.pool_spans(x, None, sequences, mode)
    found = K.pool_spans(x, sequences=sequences, mode=mode)
    assert found.shape == expected.shape
    assert (np.abs(found - expected) <= tolerances.pool_spans(dtype, x, None, sequences, mode)).all()


def test_overlapping_sequences(rng, dtype):
    """Windows over a sequence may share rows."""
    x, spans = rng.standard_normal((9, 4)).astype(dtype), np.array([[0, 5], [2, 5], [4, 5]])
    for mode in MODES:
        expected = reference.pool_spans(x, spans, mode=mode)
        found = K.pool_spans(x, spans, mode=mode)
        assert (np.abs(found - expected) <= tolerances.pool_spans(dtype, x, spans, mode=mode)).all()


def test_not_finite(rng, dtype):
    """The first NaN of a column is its maximum; where all items are -inf, the first of them is."""
    x = rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], dtype), (60, 40))
    x[:5] = -np.inf
    spans = np.array([[0, 5], [5, 3], [8, 20], [28, 32]])
    found, index = pooled("max")(x, spans)
    np.testing.assert_array_equal(found, reference.pool_spans(x, spans, mode="max"))
    np.testing.assert_array_equal(index, reference.rows_of_maxima(x, spans))
    np.testing.assert_array_equal(K.pool_spans_gather(x, index), found)


def test_a_long_sequence_in_float32():
    """A mean is summed in float64: with 2**24 beside ones, float32 would lose every one of them."""
    x = np.ones((1001, 1), np.float32)
    x[0] = 2.0**24
    assert K.pool_spans(x)[0, 0] == np.float32((2.0**24 + 1000) / 1001)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("lengths", "d"), SHAPES, ids=str)
def test_gradients(rng, dtype, lengths, d, mode):
    """With rows of maxima in other sequences, too, and rows of no sequence, which stay as they are."""
    spans, rows = random_spans(rng, lengths, 2)
    d_y, kept = (rng.standard_normal((n, d)).astype(dtype) for n in (len(lengths), rows))
    index = (rng.integers(-1, rows + 1, (len(lengths), d)),) if mode == "max" else ()
    args = (d_y, spans, 1, mode, *index)

    def pool_spans_backward(*args, d_x=None):
        d_x = np.empty_like(kept) if d_x is None else d_x
        d_x[...] = kept
        return K.pool_spans_backward(*args[:2], 1, mode, *args[2:], d_x=d_x)

    expected = reference.pool_spans_backward(*args, d_x=kept)
    tolerance = tolerances.pool_spans_backward(dtype, *args, d_x=kept)
    layouts = LAYOUTS if d_y.size else ("c",)
    check(pool_spans_backward, (d_y, spans, *index), ("d_x",), [expected], [tolerance], layouts=layouts)


def test_derivative_of_the_maximum(rng, dtype):
    dx, index = rng.standard_normal((11, 5)).astype(dtype), rng.integers(-2, 13, (7, 5))
    check(K.pool_spans_gather, (dx, index), ("out",), [reference.pool_spans_gather(dx, index)], [0])


@pytest.mark.parametrize("mode", MODES)
def test_adjoint_and_derivative(rng, mode):
    """<derivative(u), v> = <u, backward(v)>, and a short step moves the result by the derivative."""
    spans, rows = random_spans(rng, (4, 0, 9, 1))
    x, u = rng.standard_normal((2, rows, 6))
    v, index = rng.standard_normal((4, 6)), np.empty((4, 6), np.int64)
    y = K.pool_spans(x, spans, 1, mode, None, index if mode == "max" else None)
    derivative = K.pool_spans_gather(u, index) if mode == "max" else K.pool_spans(u, spans, mode=mode)
    kept = (index,) if mode == "max" else ()
    d_x = K.pool_spans_backward(v, spans, 1, mode, *kept, d_x=np.empty_like(x))
    np.testing.assert_allclose(np.vdot(derivative, v), np.vdot(u, d_x), rtol=1e-11)
    step = 1e-9  # so small that no other item becomes the largest
    moved = reference.pool_spans(x + step * u, spans, mode=mode)
    np.testing.assert_allclose((moved - y) / step, derivative, atol=1e-5)


@pytest.mark.cpu_only("a GPU has no teams")
@pytest.mark.parametrize("lengths", [(3000,), (20,) * 200], ids=["one", "many"])
def test_threads_change_nothing(rng, dtype, lengths):
    spans, rows = random_spans(rng, lengths, 1)
    x, d_y = (rng.standard_normal((n, 70)).astype(dtype) for n in (rows, len(lengths)))
    results = []
    for _ in on_each_number_of_threads((1, 2, 3)):
        y, index = pooled("max")(x, spans)
        results.append([y, index, K.pool_spans(x, spans), K.pool_spans_gather(x, index)])
        for mode, kept in (("mean", ()), ("last", ()), ("max", (index,))):
            d_x = np.zeros_like(x)
            results[-1].append(K.pool_spans_backward(d_y, spans, 1, mode, *kept, d_x=d_x))
    for other in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], other, strict=True))


def test_replay(rng, dtype):
    x, spans = rng.standard_normal((9, 5)).astype(dtype), np.array([[0, 4], [4, 5]])
    index, d_x = np.empty((2, 5), np.int64), np.zeros((9, 5), dtype)
    with steepest.capture() as graph:
        y = K.pool_spans(x, spans, 1, "max", None, index)
        K.pool_spans_backward(y, spans, 1, "max", index, d_x=d_x)
        z = K.pool_spans_gather(d_x, index)
    assert tuple(graph.operations) == ("pool_spans", "pool_spans_backward", "pool_spans_gather")
    x[...], spans[...] = rng.standard_normal(x.shape), [[1, 2], [3, 6]]
    graph.replay()
    assert identical(y, K.pool_spans(x, spans, mode="max"))
    assert (index == reference.rows_of_maxima(x, spans)).all()
    assert (d_x == reference.pool_spans_backward(y, spans, 1, "max", index, d_x=np.zeros_like(x))).all()
    assert identical(z, y)


X, Y, INDEX = np.ones((6, 4), np.float32), np.ones((2, 4), np.float32), np.zeros((2, 4), np.int64)
BAD = np.array([[0, 3], [4, 3]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: K.pool_spans(X, BAD),
            ValueError,
            "sequence 1 has 3 rows from row 4 on, which are not within",
        ),
        (lambda: K.pool_spans_backward(Y, BAD, d_x=X), ValueError, "sequence 1 has 3 rows from row 4 on"),
        (lambda: K.pool_spans(X, sequences=4), ValueError, "6 rows cannot be divided into 4 sequences"),
        (lambda: K.pool_spans(X, mode="min"), ValueError, "mode 'min' is not one of: mean, last, max"),
        (lambda: K.pool_spans(X, mode=1), TypeError, "mode must be a string"),
        (lambda: K.pool_spans(X, None, 2, index=INDEX), ValueError, "index is for mode 'max' alone"),
        (lambda: K.pool_spans(X, None, 2, "max", None, INDEX[:1]), ValueError, "index has shape (1, 4)"),
        (lambda: K.pool_spans(X, None, 2, "max", None, Y), TypeError, "index has dtype float32; int64 is"),
        (lambda: K.pool_spans(X, None, 2, out=X), ValueError, "out has shape (6, 4); (2, 4) is needed"),
        (lambda: K.pool_spans(X, None, 2, out=X[:2]), ValueError, "out overlaps x in memory"),
        (lambda: K.pool_spans_backward(Y, None, 2, "max", d_x=X), ValueError, "mode 'max' requires index"),
        (
            lambda: K.pool_spans_backward(Y, None, 2, "mean", INDEX, d_x=X),
            ValueError,
            "index is for mode 'max' alone",
        ),
        (
            lambda: K.pool_spans_backward(Y, None, 3, d_x=X),
            ValueError,
            "d_y has shape (2, 4), but there are 3 sequences of rows of d_x of shape (6, 4)",
        ),
        (
            lambda: K.pool_spans_backward(Y, None, 2, "max", INDEX[:, :2], d_x=X),
            ValueError,
            "index has shape (2, 2), but there are 2 sequences",
        ),
        (lambda: K.pool_spans_backward(X[:2], None, 2, d_x=X), ValueError, "d_x overlaps d_y in memory"),
        (lambda: K.pool_spans_gather(X, INDEX[:, :2]), ValueError, "index has 2 columns, but dx has 4"),
        (lambda: K.pool_spans_gather(X, Y), TypeError, "index has dtype float32; an integer dtype is needed"),
        (lambda: K.pool_spans_gather(X, INDEX[0]), ValueError, "index must be 2-D"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=rf"^\[pool_spans(_\w+)?\] .*{re.escape(message)}"):
        call()
    assert (X == 1).all()
    assert (INDEX == 0).all()

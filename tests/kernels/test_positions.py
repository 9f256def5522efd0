"""`positions`, `rotary` and `sinusoidal` against their definitions, and what rotations leave unchanged."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
import tolerances
from backends import check, identical, on_each_number_of_threads
from by_kernel.spans import random_spans

import steepest
from steepest import kernels as K

# Lengths of sequences: none, empty ones, single steps, and more than blocks of a GPU take at once.
LENGTHS = [(), (0,), (1,), (5, 0, 3), (1,) * 40, (300, 1, 33)]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_positions(rng, lengths):
    spans, rows = random_spans(rng, lengths, 2)
    expected = reference.positions(rows, spans)
    found = K.positions(rows, spans)
    assert found.dtype == np.int64
    assert (found == expected).all()
    out = np.full(2 * rows, -7)[::2]
    assert K.positions(rows, spans[::-1], out=out) is out
    inside = np.isin(np.arange(rows), np.concatenate([np.arange(f, f + n) for f, n in spans] or [[]]))
    assert (out == np.where(inside, expected, -7)).all()


@pytest.mark.parametrize(("rows", "sequences"), [(0, 0), (0, 3), (6, 1), (6, 2), (6, 6), (9000, 3)])
def test_positions_in_equal_sequences(rows, sequences):
    expected = reference.positions(rows, None, sequences)
    assert (K.positions(rows, sequences=sequences) == expected).all()


HEADS = [(1, 2), (3, 4), (2, 64), (1, 34), (5, 6), (2, 18)]


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("heads", "size"), HEADS, ids=str)
def test_rotations(rng, dtype, heads, size, inverse):
    spans, rows = random_spans(rng, (5, 0, 9, 2))
    x, first = rng.standard_normal((rows, heads * size)).astype(dtype), rng.integers(0, 50, 4)
    options = {"base": 10.0 ** rng.integers(1, 6), "inverse": inverse}
    for args in ((spans,), (None, 2), (spans, 1, first), (None, 4, first), (spans, 1, 7)):
        expected = reference.rotary(x, heads, *args, **options)
        tolerance = tolerances.rotary(dtype, x, heads, *args, **options)
        check(K.rotary, (x, heads, *args), ("out",), [expected], [tolerance], **options)


@pytest.mark.parametrize("first", [1000, 10**6, -(10**6), 10**9])
def test_far_positions(rng, dtype, first):
    """At each position the angles of the highest frequency lie near other multiples of a quarter turn."""
    x = rng.standard_normal((700, 16)).astype(dtype)
    expected = reference.rotary(x, 1, first=first)
    found = K.rotary(x, 1, first=first)
    assert (np.abs(found - expected) <= tolerances.rotary(dtype, x, 1, first=first)).all()


@pytest.mark.parametrize("position", [11, 22, 33, 44, 355, 710, -11, -22, -33])
def test_near_quarter_turns(position):
    """With base 1 all pairs turn by the position, which here is nearly a multiple of a quarter turn."""
    found = K.rotary(np.array([[1.0, 0.0]]), 1, first=position, base=1.0)
    np.testing.assert_allclose(found, [[np.cos(position), np.sin(position)]], rtol=0, atol=3e-16)


def test_lengths_and_differences_of_positions(rng):
    """A rotation keeps lengths; inner products of two rotated heads depend on the difference of their positions."""
    q, k = rng.standard_normal((2, 1, 24))
    products = [
        np.vdot(K.rotary(q, 1, first=place), K.rotary(k, 1, first=place + 5)) for place in (0, 3, 1000)
    ]
    np.testing.assert_allclose(products, products[0], rtol=1e-11)
    x = rng.standard_normal((50, 24))
    y = K.rotary(x, 3)
    squares = [(a.reshape(50, 3, 2, 4) ** 2).sum(axis=2) for a in (x, y)]
    np.testing.assert_allclose(*squares, rtol=1e-13)


def test_transpose_and_inverse(rng):
    u, v = rng.standard_normal((2, 30, 24))
    options = {"sequences": 3, "first": np.array([4, 0, 9])}
    rotated, back = K.rotary(u, 2, **options), K.rotary(v, 2, **options, inverse=True)
    np.testing.assert_allclose(np.vdot(rotated, v), np.vdot(u, back), rtol=1e-12)
    np.testing.assert_allclose(K.rotary(rotated, 2, **options, inverse=True), u, atol=1e-14)


def test_in_place_and_rows_of_no_sequence(rng, dtype):
    x, spans = rng.standard_normal((9, 4)).astype(dtype), np.array([[6, 2], [1, 3]])
    y = K.rotary(x, 1, spans)
    outside = [0, 4, 5, 8]
    assert (y[outside] == 0).all()
    place = x.copy()
    assert K.rotary(place, 1, spans, out=place) is place
    assert identical(place[outside], x[outside])
    place[outside] = 0
    assert identical(place, y)


def test_a_slice_of_columns(rng, dtype):
    """Queries and keys are rotated where they lie beside the values."""
    qkv = rng.standard_normal((8, 3 * 2 * 6)).astype(dtype)
    before, part = qkv.copy(), qkv[:, :24]
    K.rotary(part, 4, sequences=2, out=part)
    assert identical(part.copy(), K.rotary(before[:, :24].copy(), 4, sequences=2))
    assert identical(qkv[:, 24:].copy(), before[:, 24:].copy())


@pytest.mark.cpu_only("a GPU has no teams")
def test_threads_change_nothing(rng, dtype):
    spans, rows = random_spans(rng, (2000, 1, 0, 700, 1300), 3)
    x = rng.standard_normal((rows, 72)).astype(dtype)
    results = []
    for _ in on_each_number_of_threads():
        results.append([K.positions(20 * rows, sequences=5), K.positions(rows, spans)])
        results[-1].append(K.rotary(x, 3, spans, first=np.arange(5)))
    for other in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], other, strict=True))


def test_replay(rng, dtype):
    """Spans and first positions are read when a graph is replayed."""
    x, spans, first = rng.standard_normal((12, 8)).astype(dtype), np.array([[0, 4], [6, 5]]), np.array(0)
    firsts = np.array([3, 1])
    with steepest.capture() as graph:
        place = K.positions(12, spans)
        y = K.rotary(x, 2, spans, first=first)
        z = K.rotary(x, 2, spans, first=firsts)
    assert tuple(graph.operations) == ("positions", "rotary", "rotary")
    spans[...], first[...], firsts[...] = [[1, 3], [5, 6]], 7, [2, 0]
    graph.replay()
    assert (place == reference.positions(12, spans)).all()
    assert identical(y, K.rotary(x, 2, spans, first=7))
    assert identical(z, K.rotary(x, 2, spans, first=firsts))


@pytest.mark.parametrize(("n", "d"), [(0, 3), (5, 0), (1, 1), (7, 5), (300, 16)])
def test_sinusoidal(dtype, n, d):
    table = K.sinusoidal(n, d, dtype, 500.0)
    assert table.dtype == dtype
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(table, reference.sinusoidal(n, d, 500.0), rtol=0, atol=eps + 1e-15 * n)


def test_sinusoidal_by_default():
    assert K.sinusoidal(3, 4).dtype == np.float32
    assert identical(K.sinusoidal(3, 4), K.sinusoidal(3, 4, "float32", 10000.0, device="cpu"))


X, SPANS = np.ones((4, 6), np.float32), np.array([[0, 4]])


@pytest.mark.parametrize("call", [lambda s: K.positions(4, s), lambda s: K.rotary(X, 1, s)])
@pytest.mark.parametrize("span", [(-1, 2), (0, 5), (4, 1), (2, -1), (2**62, 2**62)])
def test_spans_beyond_the_rows(call, span):
    spans = np.array([[0, 1], span, span])
    message = rf"^\[\w+\] sequence 1 has {span[1]} rows from row {span[0]} on, .* the 4 rows"
    with pytest.raises(ValueError, match=message):
        call(spans)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: K.positions(-1), ValueError, "rows is -1"),
        (lambda: K.positions(4, sequences=3), ValueError, "4 rows cannot be divided into 3 sequences"),
        (lambda: K.positions(4, sequences=0), ValueError, "4 rows cannot be divided into 0 sequences"),
        (lambda: K.positions(4, sequences=-2), ValueError, "4 rows cannot be divided into -2 sequences"),
        (lambda: K.positions(4, SPANS[0]), ValueError, "spans must be 2-D"),
        (lambda: K.positions(4, SPANS[:, :1]), ValueError, "spans must be (n, 2)"),
        (lambda: K.positions(4, SPANS * 1.0), TypeError, "spans has dtype float64"),
        (lambda: K.positions(4, out=np.zeros(5, int)), ValueError, "out has shape (5,); (4,) is needed"),
        (lambda: K.positions(4, out=np.zeros(4)), TypeError, "out has dtype float64; int64 is needed"),
        (lambda: K.positions(4, device="gpu"), ValueError, "device 'gpu' is not one of"),
        (lambda: K.rotary(X, 2), ValueError, "x has 6 columns, which are not 2 heads of an even number"),
        (lambda: K.rotary(X, 4), ValueError, "x has 6 columns, which are not 4 heads"),
        (lambda: K.rotary(X, 0), ValueError, "heads is 0; it must be at least 1"),
        (lambda: K.rotary(X, 1, base=0.5), ValueError, "base is 0.5; it must be finite and at least 1"),
        (lambda: K.rotary(X, 1, base=np.inf), ValueError, "base is inf"),
        (lambda: K.rotary(X, 1, base=np.nan), ValueError, "base is nan"),
        (lambda: K.rotary(X, 1, first=1.5), TypeError, "first must be a number or a 0-d int64 array"),
        (lambda: K.rotary(X, 1, first=np.zeros(1)), TypeError, "first has dtype float64"),
        (
            lambda: K.rotary(X, 1, first=np.zeros(2, int)),
            ValueError,
            "first has 2 items, but there are 1 seq",
        ),
        (lambda: K.rotary(X, 1, first=np.zeros((1, 1), int)), ValueError, "first must be 1-D"),
        (lambda: K.rotary(X, 1, out=X[:, ::-1]), ValueError, "out overlaps x in memory"),
        (lambda: K.sinusoidal(-1, 2), ValueError, "n is -1"),
        (lambda: K.sinusoidal(1, 2.0), TypeError, "d must be an integer"),
        (lambda: K.sinusoidal(1, 2, np.int32), TypeError, "is not float32 or float64"),
        (lambda: K.sinusoidal(1, 2, "number"), TypeError, "dtype 'number' is not float32 or float64"),
        (lambda: K.sinusoidal(1, 2, base=0.0), ValueError, "base is 0.0"),
        (lambda: K.sinusoidal(1, 2, base="1"), TypeError, "base must be a number"),
        (lambda: K.sinusoidal(1, 2, device="gpu"), ValueError, "device 'gpu'"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=rf"^\[\w+\] .*{re.escape(message)}"):
        call()
    assert (X == 1).all()

"""`dropout`: masks from the oracle's Philox words, the same for every layout, dtype and number of threads."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import check, identical, lay_out

import steepest
from steepest import kernels as K

# Sizes around the blocks of random words (8, 16 and 32), the vectors in them, and the items of one thread (1024).
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100, 129, 1023, 1025, 2060)
HALF = {"seed": 0x299F31D0A4093822, "stream": 0x0370734413198A2E}


def check_dropout(x, rate, seed, stream, **options):
    expected = reference.dropout(x, rate, seed, stream)
    tolerance = [tolerances.dropout(x.dtype, expected)]
    check(K.dropout, (x,), ("out",), [expected], tolerance, rate=rate, seed=seed, stream=stream, **options)


@pytest.mark.parametrize("shape", [(37,), (1, 1), (7, 5), (5, 33), (3, 64), (64, 3)], ids=str)
def test_layouts(rng, dtype, shape):
    check_dropout(rng.standard_normal(shape).astype(dtype), 0.3, **HALF)


@pytest.mark.parametrize("n", SIZES)
def test_edges(rng, dtype, n):
    check_dropout(rng.standard_normal(n).astype(dtype), 0.5, 2**64 - 1, 2**64 - 1, layouts=("c", "at_end"))


@pytest.mark.parametrize("rate", [0.0, 2.0**-32, 0.1, 0.9, 1.0 - 2.0**-32, np.nextafter(1.0, 0.0)])
def test_rates(rng, dtype, rate):
    check_dropout(rng.standard_normal(300).astype(dtype), rate, 7, 1, layouts=("c",))


def test_threshold_is_exact(dtype):
    """An item is kept if rate * 2**32 <= its word, and dropped if the rate is 2**-32 larger."""
    word = reference.philox4x32((0, 0, 5, 0), (3, 0))[2]
    ones = np.ones(3, dtype)
    assert K.dropout(ones, word / 2**32, seed=3, stream=5)[2] > 0
    assert K.dropout(ones, (word + 1) / 2**32, seed=3, stream=5)[2] == 0


def test_shapes_hold_the_same_mask(rng, dtype):
    x = rng.standard_normal(60).astype(dtype)
    flat = K.dropout(x, 0.5, **HALF)
    for shape in [(60, 1), (1, 60), (6, 10), (3, 4, 5)]:
        assert identical(K.dropout(x.reshape(shape), 0.5, **HALF), flat)
    assert K.dropout(np.zeros((0, 3), dtype), 0.5, **HALF).shape == (0, 3)


def test_dtypes_hold_the_same_mask():
    ones = [K.dropout(np.ones((13, 21), dtype), 0.5, **HALF) for dtype in (np.float32, np.float64)]
    assert (ones[0] == ones[1]).all()


@pytest.mark.parametrize("layout", ["c", "strided", "transposed_slice"])
def test_in_place(rng, dtype, layout):
    x = lay_out(rng.standard_normal((9, 35)).astype(dtype), layout)
    expected = K.dropout(x, 0.4, **HALF)
    assert K.dropout(x, 0.4, **HALF, out=x) is x
    assert identical(x, expected)


def test_what_is_dropped_becomes_zero(dtype):
    x = np.array([np.nan, np.inf, -np.inf, -1.0] * 40, dtype)
    y = K.dropout(x, 0.5, **HALF)
    kept = reference.dropout(np.ones(x.shape), 0.5, **HALF) > 0
    assert (y[~kept] == 0).all()
    assert not np.signbit(y[~kept]).any()
    assert identical(y[kept], (2 * x)[kept])


def test_stream_from_an_array(rng, dtype):
    x = rng.standard_normal((4, 50)).astype(dtype)
    stream, out = np.array(0), np.empty_like(x)
    with steepest.capture() as graph:
        K.dropout(x, 0.5, seed=9, stream=stream, out=out)
        K.increment(stream)
    for t in range(3):
        graph.replay()
        assert identical(out, K.dropout(x, 0.5, seed=9, stream=t))
    assert stream == 3
    # A negative stream has the bits of a large unsigned one.
    assert identical(
        K.dropout(x, 0.5, seed=9, stream=np.array(-2)), K.dropout(x, 0.5, seed=9, stream=2**64 - 2)
    )


def test_large(rng, dtype, threads):
    x = np.ones((811, 373), dtype)
    y = K.dropout(x, 0.25, seed=2**63 + 1, stream=4).ravel()
    for e in [0, 1023, 1024, 151_000, x.size - 1]:
        word = reference.philox4x32((e // 4, 0, 4, 0), (1, 2**31))[e % 4]
        assert (y[e] > 0) == (word >= 2**30)
    # The proportion of kept items is that of independent samples, and neighbours are uncorrelated.
    kept = (y > 0).astype(np.float64)
    z = tolerances.standard_errors(kept.size)
    assert abs(kept.mean() - 0.75) < z * np.sqrt(0.75 * 0.25)
    assert abs(((kept[1:] - 0.75) * (kept[:-1] - 0.75)).mean()) < z * 0.75 * 0.25
    assert (K.dropout(x[:, ::-1], 0.25, seed=2**63 + 1, stream=4).ravel() == y).all()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, np.nan, np.inf])
def test_rate_out_of_range(rate):
    x = np.ones(5)
    with pytest.raises(ValueError, match=r"^\[dropout\] rate is .*; it must be in \[0, 1\)"):
        K.dropout(x, rate, seed=0, stream=0, out=x)
    assert (x == 1).all()


@pytest.mark.parametrize("name", ["seed", "stream"])
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (2**64, ValueError), (0.5, TypeError)])
def test_words_out_of_range(name, value, error):
    with pytest.raises(error, match=rf"^\[dropout\] {name} "):
        K.dropout(np.ones(5), 0.5, **{"seed": 0, "stream": 0, name: value})


def test_stream_of_another_dtype():
    with pytest.raises(TypeError, match=r"^\[dropout\] stream must be a number or a 0-d int64 array"):
        K.dropout(np.ones(5), 0.5, seed=0, stream=np.array(1, np.int32))

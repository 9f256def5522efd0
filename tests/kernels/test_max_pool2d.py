"""Max pooling against its definition: windows, layouts, ties, NaN, gradients, directions, threads, replay."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
import tolerances
from backends import assert_close, check, identical, on_each_number_of_threads
from by_kernel.pool import Pooling
from pooling import WINDOWS, channels_first, into, layouts_of

import steepest
from steepest import kernels as K


def random_positions(rng, pooling):
    return rng.integers(0, np.prod(pooling.size), pooling.pooled_shape, np.uint8)


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), WINDOWS, ids=str)
def test_windows(rng, dtype, shape, size, stride, padding):
    """Small integers give many ties."""
    geometry, layouts = {"size": size, "stride": stride, "padding": padding}, layouts_of(shape)
    for x in (rng.standard_normal(shape), rng.integers(-2, 2, shape)):
        x = x.astype(dtype)
        expected = reference.max_pool2d(x, **geometry)
        check(K.max_pool2d, (x,), ("out", "index"), expected, (0, 0), layouts=layouts, **geometry)


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), WINDOWS, ids=str)
def test_gradients_and_directions(rng, dtype, shape, size, stride, padding):
    """With any positions in the windows, in the padding too."""
    geometry, layouts = {"size": size, "stride": stride, "padding": padding}, layouts_of(shape)
    pooling = Pooling(shape, **geometry)
    dx, d_y = (rng.standard_normal(s).astype(dtype) for s in (shape, pooling.pooled_shape))
    index = random_positions(rng, pooling)
    expected = reference.max_pool2d_gather(dx, index, **geometry)
    check(K.max_pool2d_gather, (dx, index), ("out",), [expected], [0], layouts=layouts, **geometry)
    expected = reference.max_pool2d_backward(d_y, index, **geometry, d_x=dx)
    tolerance = tolerances.max_pool2d_backward(dtype, d_y, index, **geometry, d_x=dx)
    backward = into(K.max_pool2d_backward, dx)
    check(backward, (d_y, index), ("d_x",), [expected], [tolerance], layouts=layouts, **geometry)


@pytest.mark.parametrize("geometry", [(2,), (3, 2, 1), (2, 1)], ids=str)
def test_channels_first_in_memory(rng, dtype, geometry):
    x = rng.standard_normal((3, 6, 8, 5)).astype(dtype)
    y, index = K.max_pool2d(x, *geometry)
    y_first, index_first, d_x = channels_first(y), channels_first(index), channels_first(x)
    K.max_pool2d(channels_first(x), *geometry, out=y_first, index=index_first)
    assert identical(y_first, y)
    assert identical(index_first, index)
    assert identical(K.max_pool2d_gather(channels_first(x), index_first, *geometry), y)
    K.max_pool2d_backward(y_first, index_first, *geometry, d_x=d_x)
    assert identical(d_x, K.max_pool2d_backward(y, index, *geometry, d_x=x.copy()))


@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("geometry", [(2,), (3, 2, 1), (3, 1, 2)], ids=str)
def test_not_finite(rng, dtype, channels, geometry):
    """The first NaN of a window is its maximum; where all items are -inf, the first of them, and no padding, is."""
    x = rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], dtype), (4, 9, 10, channels))
    x[0] = -np.inf
    y, index = K.max_pool2d(x, *geometry)
    expected_y, expected_index = reference.max_pool2d(x, *geometry)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_array_equal(K.max_pool2d_gather(x, index, *geometry), y)
    # A gradient that is not finite reaches the items of its own windows alone.
    d_y = np.zeros_like(y)
    d_y[1, 0, 0, 0] = np.nan
    d_x = K.max_pool2d_backward(d_y, index, *geometry, d_x=np.ones_like(x))
    assert np.isnan(d_x).sum() == 1
    assert (np.nan_to_num(d_x) == 0).all()


def test_the_largest_window(rng, dtype):
    x = -np.arange(256.0).reshape(1, 16, 16, 1).astype(dtype)
    assert K.max_pool2d(x, 16)[1] == 0
    assert K.max_pool2d(-x, 16)[1] == 255
    d_x = K.max_pool2d_backward(x[:, 1:2, :1] + 17, np.full((1, 1, 1, 1), 255, np.uint8), 16, d_x=x)
    assert d_x.sum() == d_x[0, 15, 15, 0] == 1


@pytest.mark.parametrize("geometry", [(2,), (3, 2, 1), (2, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("channels", [1, 6, 16])
def test_adjoint_and_derivative(rng, geometry, channels):
    """<gather(u), v> = <u, backward(v)>, and a short step moves the maxima by the derivative."""
    x, u = (rng.standard_normal((3, 9, 8, channels)) for _ in range(2))
    y, index = K.max_pool2d(x, *geometry)
    v = rng.standard_normal(y.shape)
    derivative = K.max_pool2d_gather(u, index, *geometry)
    d_x = K.max_pool2d_backward(v, index, *geometry, d_x=np.empty_like(x))
    np.testing.assert_allclose(np.vdot(derivative, v), np.vdot(u, d_x), rtol=1e-11)
    step = 1e-9  # so small that no other item becomes the largest
    moved, _ = reference.max_pool2d(x + step * u, *geometry)
    np.testing.assert_allclose((moved - y) / step, derivative, atol=1e-5)


@pytest.mark.cpu_only("a GPU has no teams")
@pytest.mark.parametrize("images", [1, 40])
def test_threads_change_nothing(rng, dtype, images):
    large, small = (rng.standard_normal((images, 4000 // images, 61, c)).astype(dtype) for c in (9, 1))
    results = []
    for _ in on_each_number_of_threads((1, 2, 3)):
        results.append([])
        for x, geometry in ((large, (2,)), (large, (3, 2, 1)), (small, (2,)), (small, (3, 1, 1))):
            y, index = K.max_pool2d(x, *geometry)
            d_x = K.max_pool2d_backward(y, index, *geometry, d_x=np.empty_like(x))
            results[-1] += [y, index, d_x, K.max_pool2d_gather(x, index, *geometry)]
    for other in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], other, strict=True))


def test_replay(rng, dtype):
    x = rng.standard_normal((3, 8, 9, 5)).astype(dtype)
    d_x = np.empty_like(x)
    with steepest.capture() as graph:
        y, index = K.max_pool2d(x, 3, 2, 1)
        K.max_pool2d_backward(y, index, 3, 2, 1, d_x=d_x)
        z = K.max_pool2d_gather(d_x, index, 3, 2, 1)
    assert tuple(graph.operations) == ("max_pool2d", "max_pool2d_backward", "max_pool2d_gather")
    x[...] = rng.standard_normal(x.shape)
    graph.replay(2)
    expected_y, expected_index = K.max_pool2d(x, 3, 2, 1)
    expected_d_x = K.max_pool2d_backward(expected_y, expected_index, 3, 2, 1, d_x=np.empty_like(x))
    assert identical(y, expected_y)
    assert identical(index, expected_index)
    assert identical(d_x, expected_d_x)
    assert identical(z, K.max_pool2d_gather(expected_d_x, expected_index, 3, 2, 1))


def test_pairs_and_lists(rng, dtype):
    x = rng.standard_normal((2, 6, 8, 3)).astype(dtype)
    assert_close(
        K.max_pool2d(x, [2, 3], (1, 2), [1, 2])[0], reference.max_pool2d(x, (2, 3), (1, 2), (1, 2))[0], 0
    )


X, INDEX = np.ones((2, 3, 3, 4), np.float32), np.zeros((2, 1, 1, 4), np.uint8)
Y = np.ones((2, 1, 1, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: K.max_pool2d(X, 5),
            ValueError,
            "x of 3 x 3 has no place for a window of 5 x 5 without padding",
        ),
        (
            lambda: K.max_pool2d(X, (2, 6), padding=(0, 1)),
            ValueError,
            "x of 3 x 3 has no place for a window of 2 x 6 with a padding of 0 x 1",
        ),
        (lambda: K.max_pool2d(X[:, :0], 2), ValueError, "x of 0 x 3 has no place for a window of 2 x 2"),
        (lambda: K.max_pool2d(X[:, :0], 3, padding=2), ValueError, "x of 0 x 3 has no place"),
        (
            lambda: K.max_pool2d(X, 2, padding=2),
            ValueError,
            "padding is (2, 2); it must be less than the size",
        ),
        (
            lambda: K.max_pool2d(X, 2, padding=(0, -1)),
            ValueError,
            "padding is (0, -1); it must not be negative",
        ),
        (lambda: K.max_pool2d(X, (0, 2)), ValueError, "size is (0, 2); it must be at least 1"),
        (lambda: K.max_pool2d(X, 2, (1, 0)), ValueError, "stride is (1, 0); it must be at least 1"),
        (lambda: K.max_pool2d(X, 2**62, 1, 2**62 - 1), ValueError, "it must be less than 2**31"),
        (lambda: K.max_pool2d(X, (1, 2, 3)), ValueError, "size must be an integer or a pair (rows, columns)"),
        (lambda: K.max_pool2d(X, (2,)), ValueError, "size must be an integer or a pair (rows, columns)"),
        (lambda: K.max_pool2d(X, 2.0), TypeError, "size must be an integer"),
        (lambda: K.max_pool2d(X, None), TypeError, "size must be an integer"),
        (lambda: K.max_pool2d(X, 2, (1, "1")), TypeError, "stride must be an integer"),
        (lambda: K.max_pool2d(X[0], 2), ValueError, "x must be 4-D"),
        (lambda: K.max_pool2d(X.astype(np.int32), 2), TypeError, "x has dtype int32"),
        (
            lambda: K.max_pool2d(np.ones((1, 17, 17, 1)), (16, 17)),
            ValueError,
            "a window of 16 x 17 has more than 256 positions",
        ),
        (lambda: K.max_pool2d(X, 2, out=X), ValueError, "out has shape (2, 3, 3, 4); (2, 1, 1, 4) is needed"),
        (lambda: K.max_pool2d(X, 2, out=X[:, 1:2, 1:2]), ValueError, "out overlaps x in memory"),
        (lambda: K.max_pool2d(X, 2, index=INDEX.astype(np.int64)), TypeError, "index has dtype int64"),
        (lambda: K.max_pool2d(X, 2, index=INDEX[:1]), ValueError, "index has shape (1, 1, 1, 4)"),
        (
            lambda: K.max_pool2d_gather(X, INDEX, 1),
            ValueError,
            "index has shape (2, 1, 1, 4); (2, 3, 3, 4) is",
        ),
        (lambda: K.max_pool2d_gather(X, Y, 2), TypeError, "index has dtype float32; uint8 is needed"),
        (lambda: K.max_pool2d_gather(X, INDEX[0], 2), ValueError, "index must be 4-D"),
        (lambda: K.max_pool2d_gather(X, INDEX, 4), ValueError, "dx of 3 x 3 has no place"),
        (lambda: K.max_pool2d_gather(X, INDEX, 17, padding=16), ValueError, "has more than 256 positions"),
        (
            lambda: K.max_pool2d_backward(X, INDEX, 2, d_x=X.copy()),
            ValueError,
            "d_y has shape (2, 3, 3, 4); (2, 1, 1, 4) is needed for d_x of shape (2, 3, 3, 4)",
        ),
        (lambda: K.max_pool2d_backward(Y, INDEX[:1], 2, d_x=X), ValueError, "index has shape (1, 1, 1, 4)"),
        (lambda: K.max_pool2d_backward(Y, INDEX, 2, d_x=X[:1]), ValueError, "d_y has shape (2, 1, 1, 4)"),
        (lambda: K.max_pool2d_backward(Y, INDEX, 2, d_x=None), TypeError, "d_x"),
        (lambda: K.max_pool2d_backward(Y, INDEX, 4, d_x=X), ValueError, "d_x of 3 x 3 has no place"),
        (
            lambda: K.max_pool2d_backward(X[:, :1, :1], INDEX, 2, d_x=X),
            ValueError,
            "d_x overlaps d_y in memory",
        ),
        (
            lambda: K.max_pool2d_backward(Y, INDEX, 2, d_x=X.astype(np.float64)),
            TypeError,
            "d_x has dtype float64",
        ),
    ],
)
def test_errors(call, error, message):
    before = X.tobytes()
    with pytest.raises(error, match=rf"^\[max_pool2d(_\w+)?\] .*{re.escape(message)}"):
        call()
    assert X.tobytes() == before

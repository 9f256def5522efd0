"""Average pooling against its definition: windows, layouts, long sums, gradients, threads, replay."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
import tolerances
from backends import check, identical, on_each_number_of_threads
from by_kernel.pool import Pooling
from pooling import WINDOWS, channels_first, into, layouts_of

import steepest
from steepest import kernels as K


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), WINDOWS, ids=str)
def test_windows(rng, dtype, shape, size, stride, padding):
    geometry, layouts = {"size": size, "stride": stride, "padding": padding}, layouts_of(shape)
    x = rng.standard_normal(shape).astype(dtype)
    for count_padding in (False, True) if padding else (False,):
        options = {**geometry, "count_padding": count_padding}
        expected = reference.avg_pool2d(x, **options)
        tolerance = tolerances.avg_pool2d(dtype, x, **options)
        check(K.avg_pool2d, (x,), ("out",), [expected], [tolerance], layouts=layouts, **options)


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), WINDOWS, ids=str)
def test_gradients(rng, dtype, shape, size, stride, padding):
    geometry, layouts = {"size": size, "stride": stride, "padding": padding}, layouts_of(shape)
    d_x = np.empty(shape, dtype)
    d_y = rng.standard_normal(Pooling(shape, **geometry).pooled_shape).astype(dtype)
    backward = into(K.avg_pool2d_backward, d_x)
    for count_padding in (False, True) if padding else (False,):
        options = {**geometry, "count_padding": count_padding}
        expected = reference.avg_pool2d_backward(d_y, **options, d_x=d_x)
        tolerance = tolerances.avg_pool2d_backward(dtype, d_y, **options, d_x=d_x)
        check(backward, (d_y,), ("d_x",), [expected], [tolerance], layouts=layouts, **options)


@pytest.mark.parametrize("geometry", [(2,), (3, 2, 1), (2, 1)], ids=str)
def test_channels_first_in_memory(rng, dtype, geometry):
    x = rng.standard_normal((3, 6, 8, 5)).astype(dtype)
    y, d_x = K.avg_pool2d(x, *geometry), np.empty_like(x)
    y_first, d_x_first = channels_first(y), channels_first(x)
    K.avg_pool2d(channels_first(x), *geometry, out=y_first)
    assert identical(y_first, y)
    K.avg_pool2d_backward(y_first, *geometry, d_x=d_x_first)
    assert identical(d_x_first, K.avg_pool2d_backward(y, *geometry, d_x=d_x))


@pytest.mark.parametrize("channels", [1, 20, 70])
def test_many_items(rng, channels):
    """Blocks keep float32 sums of 9000 items, all of them near 1, within the error of 530 additions."""
    x = (1 + 0.1 * rng.random((2, 90, 100, channels))).astype(np.float32)
    exact = x.astype(np.float64).mean((1, 2))
    np.testing.assert_allclose(K.avg_pool2d(x, (90, 100))[:, 0, 0], exact, rtol=530 * 2.0**-24 / 4)


def test_constant_images_stay_constant(dtype):
    """Sums of small integers are exact, and so is their division."""
    for geometry in ((2,), (3, 2, 1), (5,), ((3, 7), 1, (2, 3))):
        assert (K.avg_pool2d(np.full((2, 9, 11, 5), 3, dtype), *geometry) == 3).all()


@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("geometry", [(2,), (3, 2, 1)], ids=str)
def test_not_finite(rng, dtype, channels, geometry):
    """NaN and infinities reach the windows that contain them, and come back to the items of these windows."""
    x = rng.choice(np.array([np.nan, np.inf, -np.inf, *range(9)], dtype), (2, 9, 10, channels))
    y, expected = K.avg_pool2d(x, *geometry), reference.avg_pool2d(x, *geometry)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(y[~finite], expected[~finite])
    assert np.isfinite(y[finite]).all()
    d_y = np.zeros_like(y)
    d_y[0, 1, 1, 0] = np.nan
    d_x = K.avg_pool2d_backward(d_y, *geometry, d_x=np.ones_like(x))
    assert np.isnan(d_x).sum() == geometry[0] ** 2
    assert (np.nan_to_num(d_x) == 0).all()


@pytest.mark.parametrize("geometry", [(2,), (3, 2, 1), (2, 1), (2, 3), ((9, 8),)], ids=str)
@pytest.mark.parametrize("count_padding", [False, True])
def test_adjoint(rng, geometry, count_padding):
    """The mean is linear: <avg(u), v> = <u, backward(v)>."""
    u = rng.standard_normal((3, 9, 8, 6))
    y = K.avg_pool2d(u, *geometry, count_padding=count_padding)
    v = rng.standard_normal(y.shape)
    d_x = K.avg_pool2d_backward(v, *geometry, d_x=np.empty_like(u), count_padding=count_padding)
    np.testing.assert_allclose(np.vdot(y, v), np.vdot(u, d_x), rtol=1e-11)


@pytest.mark.cpu_only("a GPU has no teams")
@pytest.mark.parametrize("images", [1, 40])
def test_threads_change_nothing(rng, dtype, images):
    large, small = (rng.standard_normal((images, 4000 // images, 61, c)).astype(dtype) for c in (9, 1))
    results = []
    for _ in on_each_number_of_threads((1, 2, 3)):
        results.append([])
        for x, geometry in ((large, (2,)), (large, (3, 2, 1)), (small, (2,)), (small, (3, 1, 1))):
            y = K.avg_pool2d(x, *geometry)
            results[-1] += [y, K.avg_pool2d_backward(y, *geometry, d_x=np.empty_like(x))]
    for other in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], other, strict=True))


def test_replay(rng, dtype):
    x = rng.standard_normal((3, 8, 9, 5)).astype(dtype)
    d_x = np.empty_like(x)
    with steepest.capture() as graph:
        y = K.avg_pool2d(x, 3, 2, 1)
        K.avg_pool2d_backward(y, 3, 2, 1, d_x=d_x)
    assert tuple(graph.operations) == ("avg_pool2d", "avg_pool2d_backward")
    x[...] = rng.standard_normal(x.shape)
    graph.replay(2)
    expected = K.avg_pool2d(x, 3, 2, 1)
    assert identical(y, expected)
    assert identical(d_x, K.avg_pool2d_backward(expected, 3, 2, 1, d_x=np.empty_like(x)))


X, Y = np.ones((2, 3, 3, 4), np.float32), np.ones((2, 1, 1, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: K.avg_pool2d(X, 5),
            ValueError,
            "x of 3 x 3 has no place for a window of 5 x 5 without padding",
        ),
        (
            lambda: K.avg_pool2d(X, 2, padding=2),
            ValueError,
            "padding is (2, 2); it must be less than the size",
        ),
        (lambda: K.avg_pool2d(X, 2, 0), ValueError, "stride is (0, 0); it must be at least 1"),
        (lambda: K.avg_pool2d(X, [2]), ValueError, "size must be an integer or a pair (rows, columns)"),
        (lambda: K.avg_pool2d(X[0], 2), ValueError, "x must be 4-D"),
        (lambda: K.avg_pool2d(X, 2, out=X), ValueError, "out has shape (2, 3, 3, 4); (2, 1, 1, 4) is needed"),
        (lambda: K.avg_pool2d(X, 2, out=X[:, 1:2, 1:2]), ValueError, "out overlaps x in memory"),
        (lambda: K.avg_pool2d(X, 2, count_padding=1), TypeError, "count_padding must be True or False"),
        (
            lambda: K.avg_pool2d_backward(X, 2, d_x=X.copy()),
            ValueError,
            "d_y has shape (2, 3, 3, 4); (2, 1, 1, 4) is needed for d_x of shape (2, 3, 3, 4)",
        ),
        (lambda: K.avg_pool2d_backward(Y, 4, d_x=X), ValueError, "d_x of 3 x 3 has no place"),
        (lambda: K.avg_pool2d_backward(X[:, :1, :1], 2, d_x=X), ValueError, "d_x overlaps d_y in memory"),
        (lambda: K.avg_pool2d_backward(Y, 2, d_x=X.astype(np.float64)), TypeError, "d_x has dtype float64"),
    ],
)
def test_errors(call, error, message):
    before = X.tobytes()
    with pytest.raises(error, match=rf"^\[avg_pool2d(_backward)?\] {re.escape(message)}"):
        call()
    assert X.tobytes() == before

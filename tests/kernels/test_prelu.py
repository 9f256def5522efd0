"""`prelu` and its gradients, with a slope for each column or one for all."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, check, identical, lay_out

import steepest
from steepest import kernels as K

# Shapes around chunks of rows (64), and with more columns than one thread takes (64).
SHAPES = [(1, 1), (1, 17), (13, 33), (64, 65), (65, 3), (129, 7), (200, 130)]


def make(rng, dtype, n, m, one):
    """Make (d_y, x, slope); x has zeros, and slopes have both signs."""
    x = rng.standard_normal((n, m)).astype(dtype)
    x.flat[::5] = 0.0
    x.flat[3::7] = -0.0
    return rng.standard_normal((n, m)).astype(dtype), x, rng.standard_normal(1 if one else m).astype(dtype)


def check_prelu(d_y, x, slope, **kwargs):
    y = reference.prelu(x, slope)
    dtype, one = x.dtype, len(slope) != x.shape[1]
    tolerance = tolerances.eps(dtype) * np.nan_to_num(np.abs(y), posinf=0.0) + tolerances.tiny(dtype)
    check(K.prelu, (x, slope), ("out",), (y,), (tolerance,), **kwargs)
    expected = reference.prelu_backward(d_y, x, slope)
    tolerance = tolerances.prelu_backward(dtype, d_y, x, expected[0], one)
    return check(K.prelu_backward, (d_y, x, slope), ("d_x", "d_slope"), expected, tolerance, **kwargs)


@pytest.mark.parametrize("one", [False, True], ids=["columns", "one"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layouts(rng, dtype, shape, one):
    check_prelu(*make(rng, dtype, *shape, one))


@pytest.mark.parametrize("one", [False, True], ids=["columns", "one"])
def test_every_width(rng, dtype, one):
    for m in SIZES:
        check_prelu(*make(rng, dtype, 67, m, one), layouts=("c", "at_end"))


@pytest.mark.parametrize("one", [False, True], ids=["columns", "one"])
@pytest.mark.parametrize("shape", [(5000, 1), (4097, 20), (900, 70), (70, 900), (3, 40_000)], ids=str)
def test_threads(rng, dtype, threads, shape, one):
    check_prelu(*make(rng, dtype, *shape, one), layouts=("c", "strided"))


@pytest.mark.cpu_only("threads are the CPU's")
@pytest.mark.parametrize("one", [False, True], ids=["columns", "one"])
@pytest.mark.parametrize("shape", [(5000, 2), (4097, 20), (900, 150), (100, 900), (20_000, 600)], ids=str)
def test_sums_do_not_depend_on_threads(rng, dtype, shape, one):
    arguments = make(rng, dtype, *shape, one)
    before = steepest.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            steepest.set_num_threads(threads)
            results.append(K.prelu_backward(*arguments))
    finally:
        steepest.set_num_threads(before)
    for d_x, d_slope in results[1:]:
        assert identical(d_x, results[0][0])
        assert identical(d_slope, results[0][1])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("one", [False, True], ids=["columns", "one"])
def test_in_place(rng, dtype, layout, one):
    d_y, x, slope = make(rng, dtype, 19, 23, one)
    expected = K.prelu(x, slope)
    own = lay_out(x, layout)
    assert K.prelu(own, slope, out=own) is own
    np.testing.assert_array_equal(own, expected)
    expected_d_x, expected_d_slope = K.prelu_backward(d_y, x, slope)
    for position in (0, 1):
        arrays = [lay_out(a, layout) for a in (d_y, x)]
        d_x, d_slope = K.prelu_backward(*arrays, slope, d_x=arrays[position])
        assert d_x is arrays[position]
        np.testing.assert_array_equal(d_x, expected_d_x)
        # Strided rows are summed in a different order from contiguous ones.
        np.testing.assert_allclose(d_slope, expected_d_slope, rtol=0, atol=64 * tolerances.eps(dtype))


@pytest.mark.parametrize("one", [False, True], ids=["columns", "one"])
def test_nan_and_infinities(rng, dtype, one):
    d_y, x, slope = make(rng, dtype, 20, 9, one)
    x[3, 2], x[4, 5], x[5, 6] = np.nan, np.inf, -np.inf
    d_y[7, 8] = np.nan
    x[7, 8] = -1.0
    slope[0] = 0.5
    check_prelu(d_y, x, slope, layouts=("c", "strided"))


def test_the_derivative_at_zero_is_the_slope(dtype):
    x, slope = np.array([[0.0, -0.0]], dtype), np.array([0.25], dtype)
    d_x, d_slope = K.prelu_backward(np.ones_like(x), x, slope)
    assert d_x.tolist() == [[0.25, 0.25]]
    assert d_slope.tolist() == [0.0]


def test_a_constant_slope_is_the_leaky_rectifier(rng, dtype):
    x = rng.standard_normal((30, 7)).astype(dtype)
    slope = dtype(0.125)
    assert identical(K.prelu(x, np.full(1, slope)), K.leaky_relu(x, 0.125))
    assert identical(K.prelu(x, np.full(7, slope)), K.leaky_relu(x, 0.125))


def test_empty(dtype):
    for n, m in [(0, 4), (4, 0), (0, 0)]:
        for size in {1, m}:
            x, slope = np.ones((n, m), dtype), np.ones(size, dtype)
            assert K.prelu(x, slope).shape == (n, m)
            d_x, d_slope = K.prelu_backward(x, x, slope)
            assert d_x.shape == (n, m)
            assert d_slope.tolist() == [0.0] * size


def test_slopes_apart_from_what_is_written(rng):
    d_y, x, slope = make(rng, np.float32, 6, 6, False)
    memory = np.zeros((7, 6), np.float32)
    with pytest.raises(ValueError, match=r"^\[prelu\] out overlaps slope"):
        K.prelu(x, memory[3], out=memory[:6])
    with pytest.raises(ValueError, match=r"^\[prelu_backward\] d_x overlaps slope"):
        K.prelu_backward(d_y, x, memory[3], d_x=memory[:6])
    with pytest.raises(ValueError, match=r"^\[prelu_backward\] d_slope overlaps slope"):
        K.prelu_backward(d_y, x, slope, d_slope=slope)
    with pytest.raises(ValueError, match=r"^\[prelu_backward\] d_slope overlaps d_x"):
        K.prelu_backward(d_y, x, slope, d_x=memory[:6], d_slope=memory[2])
    with pytest.raises(ValueError, match=r"^\[prelu_backward\] d_slope has shape \(3,\)"):
        K.prelu_backward(d_y, x, slope, d_slope=np.zeros(3, np.float32))
    assert (memory == 0).all()


@pytest.mark.parametrize("one", [False, True], ids=["columns", "one"])
def test_oracle_by_finite_differences(rng, one):
    x, d_y = rng.standard_normal((5, 4)), rng.standard_normal((5, 4))
    x = np.where(np.abs(x) < 0.05, 0.1, x)  # away from the kink
    slope = rng.standard_normal(1 if one else 4)

    def objective(x, slope):
        return (reference.prelu(x, slope) * d_y).sum()

    d_x, d_slope = reference.prelu_backward(d_y, x, slope)
    np.testing.assert_allclose(d_x, reference.finite_difference(lambda v: objective(v, slope), x), atol=1e-8)
    np.testing.assert_allclose(
        d_slope, reference.finite_difference(lambda v: objective(x, v), slope), atol=1e-8
    )

"""`softmax_backward`: the gradient of softmax, from its output."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, check, identical, lay_out

from steepest import kernels as K


def make(rng, dtype, n, c):
    """Make gradients and probabilities, some of them 0 and some nearly 1."""
    return (
        rng.standard_normal((n, c)).astype(dtype),
        reference.softmax(8.0 * rng.standard_normal((n, c))).astype(dtype),
    )


def check_backward(d_y, y, **kwargs):
    expected = reference.softmax_backward(d_y, y)
    tolerance = tolerances.softmax_backward(y.dtype, d_y, y)
    return check(K.softmax_backward, (d_y, y), ("out",), (expected,), (tolerance,), **kwargs)[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 10), (6, 3), (33, 10), (17, 64), (5, 1000)], ids=str)
def test_layouts(rng, dtype, shape):
    check_backward(*make(rng, dtype, *shape))


def test_every_number_of_classes(rng, dtype):
    for c in SIZES:
        check_backward(*make(rng, dtype, 7, c), layouts=("c", "at_end"))


def test_threads(rng, dtype, threads):
    check_backward(*make(rng, dtype, 3001, 37), layouts=("c",))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_place(rng, dtype, layout):
    d_y, y = make(rng, dtype, 19, 23)
    expected = K.softmax_backward(d_y, y)
    for position in (0, 1):
        arrays = [lay_out(a, layout) for a in (d_y, y)]
        assert K.softmax_backward(*arrays, out=arrays[position]) is arrays[position]
        np.testing.assert_array_equal(arrays[position], expected)


@pytest.mark.parametrize("c", [2, 10, 65, 301])
def test_nearly_certain_classes_keep_their_digits(rng, dtype, c):
    """A probability that rounds to 1 in the dtype still has a gradient: minus the sum of the others."""
    gaps = np.array([5.0, 15.0, 20.0, 30.0, 50.0, 65.0])
    z, d_y = rng.standard_normal((6, c)), (3.0 + rng.standard_normal((6, c))).astype(dtype)
    z[np.arange(6), rng.integers(0, c, 6)] += gaps
    y = K.softmax(z.astype(dtype))
    expected = reference.softmax_product(z.astype(dtype), d_y)
    tolerance = tolerances.softmax_product(dtype, z.astype(dtype), d_y)
    np.testing.assert_array_less(np.abs(K.softmax_backward(d_y, y) - expected), tolerance)


def test_rows_of_a_constant_gradient_have_none(rng):
    _, y = make(rng, np.float64, 9, 12)
    np.testing.assert_allclose(K.softmax_backward(np.full_like(y, 3.0), y), 0.0, atol=1e-14)


def test_nan_stays_in_its_row(rng, dtype):
    d_y, y = make(rng, dtype, 5, 20)
    d_y[2, 7] = np.nan
    d_y[3, 1] = np.inf
    out = check_backward(d_y, y, layouts=("c", "strided"))
    assert np.isnan(out[2]).all()
    assert np.isfinite(out[[0, 1, 4]]).all()


def test_empty(dtype):
    for shape in [(0, 4), (4, 0), (0, 0)]:
        assert K.softmax_backward(np.ones(shape, dtype), np.ones(shape, dtype)).shape == shape


def test_softmax_and_its_gradient_agree_in_place_of_the_loss(rng, dtype):
    """With d_y = -target / y the result is the cross-entropy's gradient, softmax - target."""
    logits = rng.standard_normal((31, 9)).astype(dtype)
    labels = rng.integers(0, 9, 31)
    y = K.softmax(logits)
    d_y = (-reference.one_hot(labels, 9) / y).astype(dtype)
    expected = reference.softmax(logits) - reference.one_hot(labels, 9)
    np.testing.assert_allclose(K.softmax_backward(d_y, y), expected, atol=32 * tolerances.eps(dtype))


def test_oracle_by_finite_differences(rng):
    x, d_y = rng.standard_normal((4, 5)), rng.standard_normal((4, 5))
    difference = reference.finite_difference(lambda v: (reference.softmax(v) * d_y).sum(), x)
    np.testing.assert_allclose(reference.softmax_backward(d_y, reference.softmax(x)), difference, atol=1e-8)


def test_same_bits_again(rng, dtype):
    d_y, y = make(rng, dtype, 50, 300)
    assert identical(K.softmax_backward(d_y, y), K.softmax_backward(d_y, y))

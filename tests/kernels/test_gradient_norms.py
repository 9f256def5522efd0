"""`gradient_norms`: squared norms of per-sample gradients, against gradients formed in float64."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import assert_close, check, identical

import steepest
from steepest import kernels as K


def make(rng, dtype, n, p, m, r=1):
    return rng.standard_normal((n, p)).astype(dtype), rng.standard_normal((n * r, m)).astype(dtype)


def assert_agrees(out, x, d, bias=True):
    assert out.dtype == np.float64
    expected, tolerance = reference.gradient_norms(x, d, bias), tolerances.gradient_norms(x.dtype, x, d, bias)
    assert_close(out, expected, tolerance, "out")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("shape", "r"), [((1, 1, 1), 1), ((41, 17, 9), 1), ((23, 70, 33), 3)], ids=str)
def test_layouts(rng, dtype, shape, r, bias):
    x, d = make(rng, dtype, *shape, r)
    expected, tolerance = (
        reference.gradient_norms(x, d, bias),
        tolerances.gradient_norms(dtype, x, d, bias),
    )
    check(K.gradient_norms, (x, d), ("out",), [expected], [tolerance], bias=bias)


@pytest.mark.parametrize(
    "width", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1030]
)
def test_widths(rng, dtype, width):
    """Widths of x and of d around one and two vectors."""
    for p, m in ((width, 3), (3, width)):
        x, d = make(rng, dtype, 6, p, m, 2)
        assert_agrees(K.gradient_norms(x, d), x, d)


@pytest.mark.parametrize("r", [1, 2, 10])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 31, 32, 33, 257])
def test_heights(rng, dtype, n, r):
    """Numbers of samples around the groups of threads that share a block."""
    for p in (6, 70):
        x, d = make(rng, dtype, n, p, 4, r)
        assert_agrees(K.gradient_norms(x, d), x, d)


@pytest.mark.parametrize("bias", [False, True])
def test_they_are_the_diagonal(rng, dtype, bias):
    """The norms are the diagonal of the Gram matrix, and layers add up."""
    layers = [make(rng, dtype, 17, 20, 12, 2), make(rng, dtype, 17, 12, 5, 2)]
    out, products = np.zeros(34), np.zeros((34, 34))
    for x, d in layers:
        assert K.gradient_norms(x, d, bias=bias, accumulate=True, out=out) is out
        K.gradient_gram(x, d, bias=bias, accumulate=True, out=products)
    tolerance = sum(np.diag(tolerances.gradient_gram(dtype, x, d, bias)) for x, d in layers)
    assert_close(out, np.diag(products), tolerance, "out")


def test_nothing_to_multiply(dtype):
    x, d = np.ones((6, 4), dtype), np.ones((12, 5), dtype)
    assert K.gradient_norms(x[:0], d[:0]).shape == (0,)
    assert (K.gradient_norms(x[:, :0], d) == 5.0).all()
    assert (K.gradient_norms(x[:, :0], d, bias=False) == 0.0).all()
    assert (K.gradient_norms(x, d[:, :0]) == 0.0).all()


def test_not_a_number_stays(rng, dtype):
    x, d = make(rng, dtype, 40, 37, 3, 2)
    x[17, 33] = np.nan
    d[5, 1] = np.inf
    out = K.gradient_norms(x, d)
    assert (np.flatnonzero(np.isnan(out)) == (34, 35)).all()
    assert (np.flatnonzero(np.isinf(out)) == 5).all()


def test_squares_beyond_the_range_of_float32():
    x, d = np.full((2, 3), 1e25, np.float32), np.full((2, 2), 1e-25, np.float32)
    assert_agrees(K.gradient_norms(x, d), x, d)


@pytest.mark.parametrize(("shape", "r"), [((3000, 40, 7), 1), ((900, 600, 30), 3)], ids=str)
def test_threads_change_nothing(rng, dtype, shape, r):
    x, d = make(rng, dtype, *shape, r)
    before = steepest.get_num_threads()
    results = []
    for threads in (1, 2, 3, 5):
        steepest.set_num_threads(threads)
        results.append(K.gradient_norms(x, d))
    steepest.set_num_threads(before)
    for other in results[1:]:
        assert identical(results[0], other)


# ---------------------------------------------------------------------------------------------------- bad input


def arguments():
    return {"x": np.ones((4, 3)), "d": np.ones((8, 2))}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"d": np.ones((7, 2))}, ValueError),
        ({"d": np.ones((2, 2))}, ValueError),
        ({"d": np.ones((0, 2))}, ValueError),
        ({"x": np.ones((0, 3))}, ValueError),
        ({"d": np.ones(8)}, ValueError),
        ({"d": np.ones((8, 2), np.float32)}, TypeError),
        ({"x": np.ones((4, 3), int)}, TypeError),
        ({"accumulate": True}, ValueError),
        ({"out": np.zeros(4)}, ValueError),
        ({"out": np.zeros((8, 1))}, ValueError),
        ({"out": np.zeros(8, np.float32)}, TypeError),
    ],
    ids=str,
)
def test_bad_arguments(changes, error):
    with pytest.raises(error, match=r"^\[gradient_norms\] "):
        K.gradient_norms(**{**arguments(), **changes})
